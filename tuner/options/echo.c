/* The effective configuration in words that the parser takes. */
#include "tuner/options/internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <inttypes.h>
#include <stdio.h>

struct echo { const struct fm_options *options; fm_options_pair pair; void *context; };

static void number_text(const struct fm_option *o, int64_t n, char *text, size_t bytes)
{
    if (o->word && n == o->word_value) {
        (void)snprintf(text, bytes, "%s", o->word);
        return;
    }
    if (o->kind == FM_OPTION_DURATION) {
        bool whole = n % 1000000000 == 0;
        (void)snprintf(text, bytes, "%" PRId64 "%s", n / (whole ? 1000000000 : 1000000), whole ? "s" : "ms");
        return;
    }
    if (o->kind == FM_OPTION_SHARE) {
        (void)snprintf(text, bytes, "%.10g%%", (double)n / 10000);
        return;
    }
    if (o->kind == FM_OPTION_BYTES) {
        char size[FM_BYTES_TEXT_BYTES];
        fm_bytes_print(n, size);
        (void)snprintf(text, bytes, "%s", size);
        return;
    }
    (void)snprintf(text, bytes, "%" PRId64, n);
}

static fm_status echo_texts(const struct echo *e, const char *key, const struct fm_texts *texts)
{
    struct fm_buf text = FM_BUF(FM_LIST_MAX * (FM_VALUE_TEXT_BYTES + 1));
    if (!texts->count) return FM_OK;
    for (size_t i = 0; i < texts->count; i++) {
        if (i) fm_buf_putc(&text, ',');
        fm_buf_puts(&text, texts->item[i]);
    }
    fm_status status = fm_buf_ok(&text) ? e->pair(e->context, key, fm_buf_text(&text)) : FM_NOMEM;
    fm_buf_release(&text);
    return status;
}

static fm_status echo_sets(const struct echo *e)
{
    for (size_t i = 0; i < e->options->set_count; i++) {
        const struct fm_set *set = &e->options->set[i];
        char key[128];
        (void)snprintf(key, sizeof key, "set.%s.%s", set->workload->name, set->key);
        fm_status status = echo_texts(e, key, &set->values);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

static const char *method_name(enum fm_search_method method)
{
    switch (method) {
#define X(name, text) case FM_SEARCH_##name: return text;
        FM_SEARCH_METHOD_LIST(X)
#undef X
    }
    return "plan";
}

static fm_status echo_option(const struct echo *e, const struct fm_option *o)
{
    const struct fm_options *options = e->options;
    const void *field = (const char *)options + o->offset;
    char text[48];
    switch (o->kind) {
    case FM_OPTION_SWITCH: return *(const bool *)field ? e->pair(e->context, o->name, "true") : FM_OK;
    case FM_OPTION_INTEGER: case FM_OPTION_BYTES: case FM_OPTION_DURATION: case FM_OPTION_SHARE:
        number_text(o, *(const int64_t *)field, text, sizeof text);
        return e->pair(e->context, o->name, text);
    case FM_OPTION_METHOD: return e->pair(e->context, o->name, method_name(options->search));
    case FM_OPTION_PATH: case FM_OPTION_WORD: {
        const char *word = *(char *const *)field;
        return word ? e->pair(e->context, o->name, word) : FM_OK;
    }
    case FM_OPTION_DEVICES: case FM_OPTION_WORKLOADS: case FM_OPTION_CELLS: return echo_texts(e, o->name, field);
    case FM_OPTION_STRATEGY: return echo_texts(e, o->name, &options->strategy[o->strategy]);
    case FM_OPTION_SETTING: return echo_sets(e);
    }
    return FM_OK;
}

fm_status fm_options_echo_one(const struct fm_options *options, enum fm_option_id id, fm_options_pair pair, void *context)
{
    const struct echo e = { options, pair, context };
    return echo_option(&e, &fm_option_table[id]);
}

fm_status fm_options_echo(const struct fm_options *options, fm_options_pair pair, void *context)
{
    const struct echo e = { options, pair, context };
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        if (!fm_option_of((enum fm_option_id)id, options->command)) continue;
        fm_status status = echo_option(&e, &fm_option_table[id]);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}
