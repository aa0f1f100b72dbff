#include "results/export_formats/template.h"

#include <stdio.h>
#include <string.h>

#include "results/export_formats/names.h"
#include "tuner/base/text.h"

#define NAME_BYTES 80

struct filler {
    const char *file, *text;
    size_t bytes;
    const struct fm_choice *choice;
    struct fm_buf *out;
    struct fm_err *err;
};

static fm_status fail(const struct filler *f, size_t at, const char *what, const char *name)
{
    const char *near = fm_nearest(name, fm_choice_names, fm_choice_name_count);
    size_t line = 1, column = 1;
    bool unknown = strcmp(what, "unknown name") == 0;
    for (size_t i = 0; i < at; i++) {
        column = f->text[i] == '\n' ? 1 : column + (((unsigned char)f->text[i] & 0xc0) != 0x80);
        line += f->text[i] == '\n';
    }
    return FM_FAIL(f->err, FM_INVALID, "%s:%zu:%zu: %s%s%s%s%s%s%s", f->file, line, column, what, *name ? " '" : "", name, *name ? "'" : "",
                   unknown && near ? "; did you mean '" : "", unknown && near ? near : "", unknown && near ? "'?" : "");
}

static void put(struct fm_buf *out, const struct fm_value *value)
{
    if (value->kind == FM_VALUE_TEXT) fm_buf_puts(out, value->text);
    else if (value->kind != FM_VALUE_INTS) fm_put_value(out, value, FM_NOTATION_YAML);
    else for (uint32_t i = 0; i < value->items; i++) fm_buf_printf(out, "%s%lld", i ? "x" : "", (long long)value->item[i]);
}

/* "{{ name }}" at `at`; *next: behind it */
static fm_status fill_one(const struct filler *f, size_t at, size_t *next)
{
    char name[NAME_BYTES];
    struct fm_value value;
    size_t from = at + 2, to;
    while (from < f->bytes && (f->text[from] == ' ' || f->text[from] == '\t')) from++;
    for (to = from; to < f->bytes && !strchr(" \t\r\n{}", f->text[to]);) to++;
    size_t close = to;
    while (close < f->bytes && (f->text[close] == ' ' || f->text[close] == '\t')) close++;
    if (close + 2 > f->bytes || memcmp(f->text + close, "}}", 2) != 0) return fail(f, at, "'{{' without a name and '}}' ('{{{{' is a literal one)", "");
    if (to == from || to - from >= sizeof name) return fail(f, at, "no name between '{{' and '}}'", "");
    memcpy(name, f->text + from, to - from);
    name[to - from] = '\0';
    switch (fm_choice_get(f->choice, name, &value)) {
    case FM_NAME_NONE: return fail(f, at, "unknown name", name);
    case FM_NAME_UNKNOWN: return fail(f, at, "the run does not know", name);
    case FM_NAME_KNOWN: break;
    }
    put(f->out, &value);
    *next = close + 2;
    return FM_OK;
}

fm_status fm_template_fill(const char *name, const char *text, size_t bytes, const struct fm_choice *choice, struct fm_buf *out,
                           struct fm_err *err)
{
    const struct filler f = { name, text, bytes, choice, out, err };
    for (size_t at = 0; at < bytes;) {
        const char *brace = at + 2 <= bytes ? memmem(text + at, bytes - at, "{{", 2) : NULL;
        size_t stop = brace ? (size_t)(brace - text) : bytes;
        fm_buf_add(out, text + at, stop - at);
        if (!brace) break;
        if (stop + 4 <= bytes && memcmp(brace, "{{{{", 4) == 0) {
            fm_buf_puts(out, "{{");
            at = stop + 4;
            continue;
        }
        fm_status status = fill_one(&f, stop, &at);
        if (status != FM_OK) return status;
    }
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "%s: no memory for its text", name);
}
