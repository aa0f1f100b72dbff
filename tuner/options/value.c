/* One option's values: checked, made canonical, stored. */
#include "tuner/options/internal.h"

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

struct store {
    const struct fm_givens *givens;
    const struct fm_given *given;
    const struct fm_option *option;
    struct fm_options *options;
    struct fm_err *err;
};

#define FAIL(s, index, ...) fm_given_fail((s)->givens, (s)->given, (index), (s)->err, __VA_ARGS__)

static void *field(const struct store *s)
{
    return (char *)s->options + s->option->offset;
}

static fm_status add_once(const struct store *s, struct fm_texts *list, size_t index, const char *text)
{
    if (fm_texts_has(list, text)) return FAIL(s, index, "'%s' is there twice", text);
    if (list->count == FM_LIST_MAX) return FAIL(s, index, "more than %d values", FM_LIST_MAX);
    return fm_texts_add(list, text) ? FM_OK : FM_OPTIONS_NOMEM(s->err);
}

/* ---- numbers ---- */

static void quantity(const struct fm_option *o, int64_t n, char *text, size_t bytes)
{
    if (o->kind == FM_OPTION_DURATION) (void)snprintf(text, bytes, n >= INT64_C(1000000000) ? "%.10gs" : "%.10gms",
                                                      (double)n / (n >= INT64_C(1000000000) ? 1e9 : 1e6));
    else if (o->kind == FM_OPTION_SHARE) (void)snprintf(text, bytes, "%.10g%%", (double)n / 10000);
    else (void)snprintf(text, bytes, "%lld", (long long)n);
}

/* A size out of range: a bare number is bytes, where GiB were meant more often than not. */
static fm_status wrong_size(const struct store *s, const char *text, int64_t n)
{
    const struct fm_option *o = s->option;
    char lo[FM_BYTES_TEXT_BYTES], hi[FM_BYTES_TEXT_BYTES];
    bool bare = text[strspn(text, "0123456789.")] == '\0' && n > 0 && n <= 4096;
    fm_bytes_print(o->lo, lo), fm_bytes_print(o->hi, hi);
    if (n > o->hi) return FAIL(s, 0, "'%s' is too large: at most %s", text, hi);
    return FAIL(s, 0, "'%s' is %s%lld byte%s, less than %s, the smallest segment of PyTorch's allocator; %s%s%s", text, bare ? "" : "only ",
                (long long)n, n == 1 ? "" : "s", lo, bare ? "did you mean '" : "give a size like 2GiB", bare ? text : "",
                bare ? "GiB'?" : "");
}

static fm_status store_number(const struct store *s, const char *text)
{
    const struct fm_option *o = s->option;
    int64_t n = 0;
    if (o->word && strcmp(text, o->word) == 0) {
        *(int64_t *)field(s) = o->word_value;
        return FM_OK;
    }
    bool good = o->kind == FM_OPTION_BYTES ? fm_parse_bytes(text, &n)
              : o->kind == FM_OPTION_DURATION ? fm_parse_duration_ns(text, &n)
              : o->kind == FM_OPTION_SHARE ? fm_parse_share_ppm(text, &n) : fm_parse_i64(text, &n);
    const char *what = o->kind == FM_OPTION_BYTES ? "a size like 2GiB, 512MiB or 1.5GB"
                     : o->kind == FM_OPTION_DURATION ? "a time like 90s, 4m, 1.5h or 250ms"
                     : o->kind == FM_OPTION_SHARE ? "a share like 5% or 0.5%" : "a whole number";
    if (!good && o->kind == FM_OPTION_BYTES && fm_bytes_too_many(text)) good = true, n = INT64_MAX;
    if (!good)
        return FAIL(s, 0, "'%s' is not %s%s%s%s", text, what, o->word ? ", or '" : "", o->word ? o->word : "",
                    o->word ? "'" : "");
    if (n > o->hi && o->kind == FM_OPTION_BYTES) return wrong_size(s, text, n);
    if (n < o->lo && s->given->id == FM_OPTION_MEMORY) return wrong_size(s, text, n);
    if (n < o->lo || n > o->hi) {
        char lo[32], hi[32];
        quantity(o, o->lo, lo, sizeof lo), quantity(o, o->hi, hi, sizeof hi);
        return FAIL(s, 0, "'%s' is not from %s to %s", text, lo, hi);
    }
    /* whole milliseconds, so that the echo says all of it */
    if (o->kind == FM_OPTION_DURATION) n -= n % 1000000;
    *(int64_t *)field(s) = n;
    return FM_OK;
}

static fm_status store_switch(const struct store *s, const char *text)
{
    bool on = strcmp(text, "true") == 0;
    if (!on && strcmp(text, "false") != 0) return FAIL(s, 0, "'%s' is neither true nor false", text);
    *(bool *)field(s) = on;
    return FM_OK;
}

static fm_status store_method(const struct store *s, const char *text)
{
#define X(name, text) text,
    static const char *const names[] = { FM_SEARCH_METHOD_LIST(X) };
#undef X
#define X(name, text) FM_SEARCH_##name,
    static const enum fm_search_method methods[] = { FM_SEARCH_METHOD_LIST(X) };
#undef X
    size_t count = sizeof names / sizeof names[0];
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], text) != 0) continue;
        s->options->search = methods[i];
        return FM_OK;
    }
    const char *near = fm_nearest(text, names, count);
    return FAIL(s, 0, "unknown value '%s'%s%s%s (plan,binsearch,power)", text, near ? "; did you mean '" : "",
                near ? near : "", near ? "'?" : "");
}

static fm_status store_path(const struct store *s, const char *text)
{
    char *copy = fm_strdup(text);
    if (!copy) return FM_OPTIONS_NOMEM(s->err);
    char **place = (char **)field(s);
    fm_free(*place);
    *place = copy;
    return FM_OK;
}

/* ---- strategies ---- */

/* "0.5" and the sign for a half as "1/2"; what cannot be said so in small parts is left to the strategy's own check */
static void as_fraction(const char *text, char *out, size_t bytes)
{
    static const char *const sign[][2] = {
        { "\xc2\xbd", "1/2" },     { "\xc2\xbc", "1/4" },     { "\xc2\xbe", "3/4" },
        { "\xe2\x85\x93", "1/3" }, { "\xe2\x85\x94", "2/3" }, { "\xe2\x85\x9b", "1/8" },
    };
    (void)snprintf(out, bytes, "%s", text);
    for (size_t i = 0; i < sizeof sign / sizeof sign[0]; i++)
        if (strcmp(text, sign[i][0]) == 0) (void)snprintf(out, bytes, "%s", sign[i][1]);
    const char *dot = strchr(text, '.');
    size_t digits = strlen(text);
    if (!dot || digits > 9 || strspn(text, "0123456789.") != digits || strchr(dot + 1, '.') || !dot[1] || dot == text)
        return;
    int64_t n = 0, d = 1;
    for (const char *c = text; *c; c++) {
        if (c != dot) n = 10 * n + (*c - '0');
        if (c > dot) d *= 10;
    }
    int64_t a = n, b = d;
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    if (n && n / a <= 64 && d / a <= 64)
        (void)snprintf(out, bytes, "%lld/%lld", (long long)(n / a), (long long)(d / a));
}

/* "a+b": no part empty, none twice, `none` and `blocks` alone */
static fm_status check_blocks(const struct store *s, size_t index, const char *text)
{
    if (!strchr(text, '+')) return FM_OK;
    for (const char *at = text; at;) {
        size_t n = strcspn(at, "+");
        if (!n) return FAIL(s, index, "an empty block name in '%s'", text);
        for (const char *other = text; other < at; other += strcspn(other, "+") + 1)
            if (strcspn(other, "+") == n && memcmp(other, at, n) == 0)
                return FAIL(s, index, "block '%.*s' is there twice", (int)n, at);
        if ((n == 4 && memcmp(at, "none", n) == 0) || (n == 6 && memcmp(at, "blocks", n) == 0))
            return FAIL(s, index, "'%.*s' stands alone, not in '%s'", (int)n, at, text);
        at = at[n] ? at + n + 1 : NULL;
    }
    return FM_OK;
}

static fm_status store_strategy(const struct store *s, size_t index)
{
    const struct fm_option *o = s->option;
    const char *text = s->given->value[index].text, *canonical = text;
    struct fm_err inner = { 0 };
    struct fm_cell cell;
    char changed[FM_VALUE_TEXT_BYTES + 1];
    int64_t n;
    if (o->strategy == FM_STRATEGY_CHANNELS) {
        as_fraction(text, changed, sizeof changed);
        canonical = changed;
    } else if (o->strategy == FM_STRATEGY_ACCUMULATE && fm_parse_i64(text, &n)) {
        (void)snprintf(changed, sizeof changed, "%lld", (long long)n);      /* "04" is "4" */
        canonical = changed;
    } else if (o->strategy == FM_STRATEGY_CHECKPOINT) {
        fm_status status = check_blocks(s, index, text);
        if (status != FM_OK) return status;
    }
    fm_cell_default(&cell, fm_workloads[0]);
    if (fm_cell_set(&cell, o->strategy, canonical, &inner) != FM_OK)
        return fm_given_pass(s->givens, s->given, index, s->err, &inner, fm_strategies[o->strategy]->name);
    return add_once(s, &s->options->strategy[o->strategy], index, cell.value[o->strategy]);
}

/* ---- names ---- */

/* cuda:N with a small number, or what NVIDIA calls a UUID */
static bool is_gpu(const char *text)
{
    int64_t n;
    if (strncmp(text, "cuda:", 5) == 0)
        return text[5] != '-' && (text[5] != '0' || !text[6]) && fm_parse_i64(text + 5, &n) && n < 1024;
    if (strncmp(text, "GPU-", 4) != 0 && strncmp(text, "MIG-", 4) != 0) return false;
    return strlen(text) == 40 && strspn(text + 4, "0123456789abcdef-") == 36;
}

/* what may be the name of a GPU of the device table, or of a user's own: checked once the table is known, which has no
 * capitals but can say which name was meant */
static bool is_table_name(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    bool letter = (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z');
    return letter && !text[strspn(text, letters)] && strncmp(text, "GPU-", 4) != 0 && strncmp(text, "MIG-", 4) != 0;
}

static fm_status store_device(const struct store *s, size_t index)
{
    static const char *const names[] = { "cpu", "all", "ref", "none", "cuda:0" };
    const char *text = s->given->value[index].text;
    bool none = strcmp(text, "none") == 0, all = strcmp(text, "all") == 0;
    bool plan = s->givens->command == FM_COMMAND_PLAN || s->givens->command == FM_COMMAND_EXPORT ||
                s->givens->command == FM_COMMAND_ADVISE;
    if (none && !plan) return FAIL(s, index, "'none' is for 'fillmark plan': a run needs a device");
    if (!none && !all && strcmp(text, "cpu") != 0 && strcmp(text, "ref") != 0 && !is_gpu(text) && !(plan && is_table_name(text))) {
        const char *near = fm_nearest(text, names, sizeof names / sizeof names[0]);
        return FAIL(s, index,
                    "unknown device '%s'%s%s%s (cpu, cuda:N, GPU-<uuid>, all, ref; fillmark devices lists them%s)", text,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                    plan ? "; those of fillmark show devices" : "");
    }
    if ((none || all) && s->given->count > 1) return FAIL(s, index, "'%s' stands alone", text);
    return add_once(s, &s->options->device, index, text);
}

static fm_status store_workload(const struct store *s, size_t index)
{
    struct fm_err inner = { 0 };
    const char *text = s->given->value[index].text;
    if (!fm_workload_find(text, &inner)) return fm_given_pass(s->givens, s->given, index, s->err, &inner, "workload");
    return add_once(s, &s->options->workload, index, text);
}

static fm_status store_cell(const struct store *s, size_t index)
{
    char id[FM_HASH_TEXT_BYTES] = "";
    const char *text = s->given->value[index].text;
    size_t n = strlen(text);
    if (n >= sizeof id || strspn(text, "0123456789abcdefABCDEF") != n)
        return FAIL(s, index, "'%s' is not the beginning of a cell's id: 1 to 16 hexadecimal digits, from a table",
                    text);
    for (size_t i = 0; i < n; i++) id[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
    return add_once(s, &s->options->only, index, id);
}

static fm_status store_value(const struct store *s, size_t index)
{
    const char *text = s->given->value[index].text;
    switch (s->option->kind) {
    case FM_OPTION_SWITCH: return store_switch(s, text);
    case FM_OPTION_INTEGER: case FM_OPTION_BYTES: case FM_OPTION_DURATION: case FM_OPTION_SHARE: return store_number(s, text);
    case FM_OPTION_METHOD: return store_method(s, text);
    case FM_OPTION_PATH: case FM_OPTION_WORD: return store_path(s, text);
    case FM_OPTION_DEVICES: return store_device(s, index);
    case FM_OPTION_WORKLOADS: return store_workload(s, index);
    case FM_OPTION_CELLS: return store_cell(s, index);
    case FM_OPTION_STRATEGY: return store_strategy(s, index);
    case FM_OPTION_SETTING: break;      /* sets.c */
    }
    return FM_OK;
}

/* what an earlier layer put there: flags override the file, the file the defaults */
static void forget(struct fm_options *options, const struct fm_option *o)
{
    if (o->kind == FM_OPTION_STRATEGY) fm_texts_release(&options->strategy[o->strategy]);
    else if (o->kind == FM_OPTION_DEVICES) fm_texts_release(&options->device);
    else if (o->kind == FM_OPTION_WORKLOADS) fm_texts_release(&options->workload);
    else if (o->kind == FM_OPTION_CELLS) fm_texts_release(&options->only);
}

fm_status fm_option_store(const struct fm_givens *givens, const struct fm_given *given, struct fm_options *options,
                          struct fm_err *err)
{
    const struct store s = { givens, given, &fm_option_table[given->id], options, err };
    size_t limit = s.option->kind == FM_OPTION_PATH ? FM_PATH_TEXT_BYTES : FM_VALUE_TEXT_BYTES;
    forget(options, s.option);
    options->origin[given->id] = given->origin;
    if (!given->count) return FAIL(&s, FM_AT_KEY, "an empty list; leave it out for the default");
    for (size_t i = 0; i < given->count; i++) {
        size_t n = strlen(given->value[i].text);
        if (!n) return FAIL(&s, i, "its value is missing");
        if (n > limit) return FAIL(&s, i, "a value of %zu bytes is too long (at most %zu)", n, limit);
        fm_status status = store_value(&s, i);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}
