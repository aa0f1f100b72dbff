#include "tuner/options/internal.h"

#include "tuner/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- lists of texts ---- */

void fm_texts_release(struct fm_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) fm_free(texts->item[i]);
    fm_free(texts->item);
    *texts = (struct fm_texts){ 0 };
}

bool fm_texts_add(struct fm_texts *texts, const char *text)
{
    char **item = fm_grow(texts->item, &texts->capacity, texts->count + 1, sizeof *item);
    if (!item) return false;
    texts->item = item;
    texts->item[texts->count] = fm_strdup(text);
    if (!texts->item[texts->count]) return false;
    texts->count++;
    return true;
}

bool fm_texts_has(const struct fm_texts *texts, const char *text)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->item[i], text) == 0) return true;
    return false;
}

/* ---- what was given ---- */

void fm_givens_release(struct fm_givens *givens)
{
    for (size_t i = 0; i < givens->count; i++) {
        struct fm_given *g = &givens->item[i];
        for (size_t k = 0; k < g->count; k++) fm_free(g->value[k].text);
        fm_free(g->value);
        fm_free(g->workload);
        fm_free(g->key);
    }
    fm_free(givens->item);
    givens->item = NULL;
    givens->count = givens->capacity = 0;
}

struct fm_given *fm_givens_add(struct fm_givens *givens, enum fm_option_id id, enum fm_origin origin)
{
    struct fm_given *item = fm_grow(givens->item, &givens->capacity, givens->count + 1, sizeof *item);
    if (!item) return NULL;
    givens->item = item;
    struct fm_given *given = &givens->item[givens->count++];
    *given = (struct fm_given){ .id = id, .origin = origin };
    return given;
}

bool fm_given_add(struct fm_given *given, const char *text, size_t bytes, size_t line, size_t column)
{
    struct fm_given_value *value = fm_grow(given->value, &given->capacity, given->count + 1, sizeof *value);
    if (!value) return false;
    given->value = value;
    char *copy = fm_strndup(text, bytes);
    if (!copy) return false;
    given->value[given->count++] = (struct fm_given_value){ copy, line, column };
    return true;
}

bool fm_given_key(struct fm_given *given, const char *key, size_t bytes)
{
    const char *dot = memchr(key, '.', bytes);
    if (dot) {
        given->workload = fm_strndup(key, (size_t)(dot - key));
        if (!given->workload) return false;
        bytes -= (size_t)(dot + 1 - key);
        key = dot + 1;
    }
    given->key = fm_strndup(key, bytes);
    return given->key != NULL;
}

static size_t characters(const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

fm_status fm_given_split(const struct fm_givens *givens, struct fm_given *given, const struct fm_given_value *raw,
                         struct fm_err *err)
{
    const char *text = raw->text;
    bool list = fm_option_is_list(given->id);
    for (const char *at = text; at;) {
        const char *comma = list ? strchr(at, ',') : NULL;
        size_t bytes = comma ? (size_t)(comma - at) : strlen(at);
        size_t column = raw->column ? raw->column + characters(text, (size_t)(at - text)) : 0;
        if (!fm_given_add(given, at, bytes, raw->line, column)) return FM_OPTIONS_NOMEM(err);
        if (!bytes && *text)
            return fm_given_fail(givens, given, given->count - 1, err, "an empty value in the list '%.60s'", text);
        at = comma ? comma + 1 : NULL;
    }
    return FM_OK;
}

/* "config.yaml:14:16: checkpoint: ", "--set segformer.input: " */
static void add_place(struct fm_buf *out, const struct fm_givens *givens, const struct fm_given *given, size_t value)
{
    bool of_value = value != FM_AT_KEY && value < given->count && given->value[value].line;
    if (given->origin == FM_ORIGIN_FLAG) fm_buf_puts(out, "--");
    else if (given->origin == FM_ORIGIN_RECORD) fm_buf_puts(out, "the recorded run: ");
    else if (given->origin == FM_ORIGIN_FILE)
        fm_buf_printf(out, "%s:%zu:%zu: ", givens->file, of_value ? given->value[value].line : given->line,
                      of_value ? given->value[value].column : given->column);
    fm_buf_puts(out, fm_option_table[given->id].name);
    if (given->key)
        fm_buf_printf(out, " %.40s%s%.40s", given->workload ? given->workload : "", given->workload ? "." : "",
                      given->key);
    fm_buf_puts(out, ": ");
}

fm_status fm_given_fail(const struct fm_givens *givens, const struct fm_given *given, size_t value, struct fm_err *err,
                        const char *format, ...)
{
    struct fm_buf text = FM_BUF(FM_PATH_TEXT_BYTES + FM_ERR_TEXT_BYTES);
    va_list args;
    va_start(args, format);
    add_place(&text, givens, given, value);
    fm_buf_vprintf(&text, format, args);
    va_end(args);
    fm_status status = fm_buf_ok(&text) ? FM_FAIL(err, FM_INVALID, "%s", fm_buf_text(&text)) : FM_OPTIONS_NOMEM(err);
    fm_buf_release(&text);
    return status;
}

fm_status fm_given_pass(const struct fm_givens *givens, const struct fm_given *given, size_t value, struct fm_err *err,
                        const struct fm_err *inner, const char *name)
{
    if (inner->status != FM_INVALID) return FM_FAIL(err, inner->status, "%s", inner->text);
    size_t n = strlen(name);
    bool named = n && strncmp(inner->text, name, n) == 0 && strncmp(inner->text + n, ": ", 2) == 0;
    return fm_given_fail(givens, given, value, err, "%s", inner->text + (named ? n + 2 : 0));
}
