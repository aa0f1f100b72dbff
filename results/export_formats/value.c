#include "results/export_formats/value.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- values ---- */

struct fm_value fm_value_null(void)
{
    return (struct fm_value){ .kind = FM_VALUE_NULL };
}

struct fm_value fm_value_bool(bool on)
{
    return (struct fm_value){ .kind = FM_VALUE_BOOL, .on = on };
}

struct fm_value fm_value_int(int64_t number)
{
    return (struct fm_value){ .kind = FM_VALUE_INT, .number = number };
}

struct fm_value fm_value_real(double real)
{
    return (struct fm_value){ .kind = FM_VALUE_REAL, .real = real };
}

struct fm_value fm_value_rounded(double real)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.12g", real);
    return fm_value_real(strtod(text, NULL));
}

struct fm_value fm_value_text(const char *text)
{
    struct fm_value value = { .kind = FM_VALUE_TEXT };
    (void)snprintf(value.text, sizeof value.text, "%s", text);
    return value;
}

struct fm_value fm_value_ints(const int64_t *item, uint32_t items)
{
    struct fm_value value = { .kind = FM_VALUE_INTS, .items = items };
    assert(items <= FM_VALUE_ITEMS);
    memcpy(value.item, item, items * sizeof *item);
    return value;
}

const char *fm_value_kind_name(enum fm_value_kind kind)
{
    static const char *const names[] = {
        [FM_VALUE_NULL] = "null", [FM_VALUE_BOOL] = "true or false", [FM_VALUE_INT] = "an integer",
        [FM_VALUE_REAL] = "a number", [FM_VALUE_TEXT] = "text", [FM_VALUE_INTS] = "a list of integers",
    };
    return names[kind];
}

struct fm_entry *fm_entries_add(struct fm_entries *entries, const char *path, struct fm_value value)
{
    assert(entries->count < FM_ENTRIES_MAX && strlen(path) < FM_ENTRY_PATH_BYTES);
    struct fm_entry *entry = &entries->entry[entries->count++];
    *entry = (struct fm_entry){ .value = value };
    (void)snprintf(entry->path, sizeof entry->path, "%s", path);
    return entry;
}

void fm_entries_note(struct fm_entries *entries, const char *format, ...)
{
    va_list args;
    assert(entries->notes < FM_NOTES_MAX);
    va_start(args, format);
    (void)vsnprintf(entries->note[entries->notes++], FM_NOTE_BYTES, format, args);
    va_end(args);
}

/* ---- how they are written ---- */

bool fm_text_is_plain(const char *text)
{
    static const char *const words[] = { "y", "n", "yes", "no", "true", "false", "on", "off", "null", "none", "nan", "inf" };
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (!*text || !strchr(first, *text)) return false;
    for (const char *c = text; *c; c++)
        if (!strchr(first, *c) && !strchr("0123456789_-./", *c)) return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(words[i], text) == 0) return false;
    return true;
}

void fm_put_quoted(struct fm_buf *out, const char *text)
{
    fm_buf_putc(out, '"');
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') fm_buf_printf(out, "\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f) fm_buf_printf(out, "\\u%04x", (unsigned)(unsigned char)*c);
        else fm_buf_putc(out, *c);
    }
    fm_buf_putc(out, '"');
}

void fm_put_real(struct fm_buf *out, double real)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtod(text, NULL) == real) break;
    }
    size_t mantissa = strcspn(text, "e");
    fm_buf_add(out, text, mantissa);
    if (!memchr(text, '.', mantissa)) fm_buf_puts(out, ".0");
    fm_buf_puts(out, text + mantissa);      /* printf writes the exponent's sign */
}

static void put_text(struct fm_buf *out, const char *text, enum fm_notation notation)
{
    if (notation == FM_NOTATION_YAML && fm_text_is_plain(text)) fm_buf_puts(out, text);
    else fm_put_quoted(out, text);
}

void fm_put_value(struct fm_buf *out, const struct fm_value *value, enum fm_notation notation)
{
    bool python = notation == FM_NOTATION_PYTHON;
    switch (value->kind) {
    case FM_VALUE_NULL: fm_buf_puts(out, python ? "None" : "null"); break;
    case FM_VALUE_BOOL: fm_buf_puts(out, python ? value->on ? "True" : "False" : value->on ? "true" : "false"); break;
    case FM_VALUE_INT: fm_buf_printf(out, "%lld", (long long)value->number); break;
    case FM_VALUE_REAL: fm_put_real(out, value->real); break;
    case FM_VALUE_TEXT: put_text(out, value->text, notation); break;
    case FM_VALUE_INTS:
        for (uint32_t i = 0; i < value->items; i++) fm_buf_printf(out, "%s%lld", i ? ", " : "[", (long long)value->item[i]);
        fm_buf_puts(out, value->items ? "]" : "[]");
        break;
    }
}
