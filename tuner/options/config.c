/* The YAML file: a mapping whose keys are the names of the flags.
 *
 *     workload: [denseunet3d, segformer]
 *     precision: fp32,bf16
 *     set:
 *       classes: 4                      # of every workload that has it
 *       segformer: { variant: [b0, b1] }
 *
 * Read by libyaml's events. Anchors, aliases and tags are refused, and so is a second key of the same name; the shape
 * is fixed (mapping, at most two mappings below, lists of values), so depth is bounded. */
#include "tuner/options/internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define FILE_BYTES ((size_t)1 << 20)
#define FILE_VALUES 4096                    /* keys and values */

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;                     /* the current one */
    bool live;                              /* event is to be deleted */
    size_t values;
    const char *text;                       /* all of it */
    size_t bytes;
    struct fm_givens *givens;
    struct fm_err *err;
};

#define FAIL_AT(r, mark, ...) fail_at((r), (mark).line + 1, (mark).column + 1, __VA_ARGS__)

static fm_status fail_at(const struct reader *r, size_t line, size_t column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static fm_status fail_at(const struct reader *r, size_t line, size_t column, const char *format, ...)
{
    char text[FM_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return FM_FAIL(r->err, FM_INVALID, "%s:%zu:%zu: %s", r->givens->file, line, column, text);
}

/* The place of a byte, counted as libyaml counts: lines end with LF, CR or both, a column is a character. */
static void place(const struct reader *r, size_t offset, size_t *line, size_t *column)
{
    size_t i = r->bytes >= 3 && memcmp(r->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    *line = *column = 1;
    for (; i < offset && i < r->bytes; i++) {
        unsigned char c = (unsigned char)r->text[i];
        bool ends = c == '\n' || (c == '\r' && !(i + 1 < r->bytes && r->text[i + 1] == '\n'));
        if (ends) *line += 1, *column = 1;
        else if ((c & 0xc0) != 0x80 && c != '\r') *column += 1;
    }
}

/* bytes that are no text: libyaml knows their offset alone */
static fm_status no_text(const struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    size_t line, column;
    if (p->encoding != YAML_UTF8_ENCODING)
        return FM_FAIL(r->err, FM_INVALID, "%s: byte %zu: %s; the file must be UTF-8 text", r->givens->file, p->problem_offset, p->problem);
    place(r, p->problem_offset, &line, &column);
    return fail_at(r, line, column, "%s; the file must be UTF-8 text", p->problem);
}

/* what libyaml stumbles over without a word about it */
static bool tab_indents(const struct reader *r, size_t line)
{
    const char *at = r->text, *end = r->text + r->bytes;
    for (; line && at; line--) {
        at = memchr(at, '\n', (size_t)(end - at));
        if (at) at++;
    }
    while (at && at < end && *at == ' ') at++;
    return at && at < end && *at == '\t';
}

static fm_status syntax(const struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_MEMORY_ERROR) return FM_OPTIONS_NOMEM(r->err);
    if (p->error == YAML_READER_ERROR && p->problem) return no_text(r);
    return FAIL_AT(r, p->problem_mark, "%s%s", problem,
                   tab_indents(r, p->problem_mark.line) ? "; the line is indented with a tab, which YAML does not take: use blanks" : "");
}

/* the next event, which carries nothing that the file may not use */
static fm_status advance(struct reader *r)
{
    if (r->live) yaml_event_delete(&r->event);
    r->live = false;
    if (!yaml_parser_parse(&r->parser, &r->event)) return syntax(r);
    r->live = true;
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
    if (e->type == YAML_SEQUENCE_START_EVENT) anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
    if (e->type == YAML_MAPPING_START_EVENT) anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
    if (e->type == YAML_ALIAS_EVENT)
        return FAIL_AT(r, e->start_mark, "aliases (*name) are not supported; write the value out");
    if (anchor) return FAIL_AT(r, e->start_mark, "anchors (&name) are not supported");
    if (tag) return FAIL_AT(r, e->start_mark, "tags (!name) are not supported");
    if (e->type != YAML_SCALAR_EVENT) return FM_OK;
    if (memchr(e->data.scalar.value, '\0', e->data.scalar.length))
        return FAIL_AT(r, e->start_mark, "a NUL byte in a text");
    if (++r->values > FILE_VALUES) return FAIL_AT(r, e->start_mark, "more than %d keys and values", FILE_VALUES);
    return FM_OK;
}

static const char *scalar(const struct reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* ---- values ---- */

/* The current scalar as one value, or as a comma list. Only a plain one has the columns of its parts. */
static fm_status read_scalar(struct reader *r, struct fm_given *g, bool split)
{
    const yaml_event_t *e = &r->event;
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct fm_given_value raw = { .line = e->start_mark.line + 1, .column = e->start_mark.column + 1 };
    bool null = plain && (strcmp(scalar(r), "~") == 0 || strcmp(scalar(r), "null") == 0);
    size_t parts = g->count;
    raw.text = fm_strdup(null ? "" : scalar(r));
    if (!raw.text) return FM_OPTIONS_NOMEM(r->err);
    fm_status status = FM_OK;
    if (!split) {
        if (!fm_given_add(g, raw.text, strlen(raw.text), raw.line, raw.column)) status = FM_OPTIONS_NOMEM(r->err);
    } else {
        status = fm_given_split(r->givens, g, &raw, r->err);
        for (size_t i = parts; i < g->count && (!plain || e->end_mark.line != e->start_mark.line); i++)
            g->value[i].column = raw.column;
    }
    fm_free(raw.text);
    return status;
}

/* A value or a list of them; the current event is its first. */
static fm_status read_values(struct reader *r, struct fm_given *g)
{
    fm_status status = FM_OK;
    if (r->event.type == YAML_SCALAR_EVENT) return read_scalar(r, g, true);
    if (r->event.type != YAML_SEQUENCE_START_EVENT || !fm_option_is_list(g->id))
        return fm_given_fail(r->givens, g, FM_AT_KEY, r->err, "%s, not a %s",
                             fm_option_is_list(g->id) ? "a value or a list of values" : "one value",
                             r->event.type == YAML_SEQUENCE_START_EVENT ? "list" : "mapping");
    FM_TRY(advance(r));
    while (r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT) return FAIL_AT(r, r->event.start_mark, "%s: a list holds values alone",
                                                               fm_option_table[g->id].name);
        FM_TRY(read_scalar(r, g, false));
        FM_TRY(advance(r));
    }
out:
    return status;
}

/* ---- set ---- */

static bool is_workload(const char *name)
{
    for (size_t i = 0; i < fm_workload_count; i++)
        if (strcmp(fm_workloads[i]->name, name) == 0) return true;
    return false;
}

static bool is_setting(const char *name)
{
    for (size_t i = 0; i < fm_workload_count; i++)
        for (uint32_t k = 0; k < fm_workloads[i]->settings; k++)
            if (strcmp(fm_workloads[i]->setting[k].name, name) == 0) return true;
    return false;
}

static struct fm_given *add_here(struct reader *r, enum fm_option_id id)
{
    struct fm_given *g = fm_givens_add(r->givens, id, FM_ORIGIN_FILE);
    if (!g) return NULL;
    g->line = r->event.start_mark.line + 1;
    g->column = r->event.start_mark.column + 1;
    return g;
}

/* One key of `set` and what is behind it; the current event is the key. */
static fm_status read_setting(struct reader *r, const char *workload)
{
    fm_status status = FM_OK;
    struct fm_given *g = add_here(r, FM_OPTION_SET);
    if (!g) return FM_OPTIONS_NOMEM(r->err);
    if (workload && strchr(scalar(r), '.'))
        return FAIL_AT(r, r->event.start_mark, "set: a setting of %s is named without its workload, not '%.60s'",
                       workload, scalar(r));
    if (workload) {
        g->workload = fm_strdup(workload);
        if (!g->workload) return FM_OPTIONS_NOMEM(r->err);
    }
    if (!fm_given_key(g, scalar(r), strlen(scalar(r)))) return FM_OPTIONS_NOMEM(r->err);
    FM_TRY(advance(r));
    /* settings are below a workload's name alone */
    if (r->event.type == YAML_MAPPING_START_EVENT && !g->workload && !is_setting(g->key)) {
        struct fm_err inner = { 0 };
        if (!fm_workload_find(g->key, &inner)) return fm_given_pass(r->givens, g, FM_AT_KEY, r->err, &inner, "workload");
    }
    status = read_values(r, g);
out:
    return status;
}

/* A mapping of settings, with a workload's settings below its name where workload is NULL. */
static fm_status read_settings(struct reader *r, const char *workload)
{
    char seen[8][32];
    size_t count = 0;
    fm_status status = FM_OK;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return FAIL_AT(r, r->event.start_mark, "set: settings are 'key: value' lines below it");
    FM_TRY(advance(r));
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT) return FAIL_AT(r, r->event.start_mark, "set: a key must be a name");
        if (!workload && is_workload(scalar(r))) {
            char name[32];
            (void)snprintf(name, sizeof name, "%s", scalar(r));
            for (size_t i = 0; i < count; i++)
                if (strcmp(seen[i], name) == 0)
                    return FAIL_AT(r, r->event.start_mark, "set: key '%s' is there twice", name);
            if (count < sizeof seen / sizeof seen[0]) (void)snprintf(seen[count++], sizeof seen[0], "%s", name);
            FM_TRY(advance(r));
            FM_TRY(read_settings(r, name));
        } else {
            FM_TRY(read_setting(r, workload));
        }
        FM_TRY(advance(r));
    }
out:
    return status;
}

/* ---- the file ---- */

static fm_status unknown_key(const struct reader *r)
{
    enum fm_option_id id = fm_option_find(scalar(r), strlen(scalar(r)));
    if (id != FM_OPTION_COUNT)
        return FAIL_AT(r, r->event.start_mark, "%s: not a key for 'fillmark %s'", scalar(r),
                       fm_commands[r->givens->command].name);
    const char *near = fm_option_nearest(scalar(r), r->givens->command);
    return FAIL_AT(r, r->event.start_mark, "unknown key '%.60s'%s%s%s (fillmark %s --help)", scalar(r),
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "",
                   fm_commands[r->givens->command].name);
}

static fm_status read_key(struct reader *r, size_t seen_line[FM_OPTION_COUNT])
{
    fm_status status = FM_OK;
    if (r->event.type != YAML_SCALAR_EVENT) return FAIL_AT(r, r->event.start_mark, "a key must be a name");
    enum fm_option_id id = fm_option_find(scalar(r), strlen(scalar(r)));
    if (id == FM_OPTION_COUNT || !fm_option_in_file(id, r->givens->command)) return unknown_key(r);
    if (seen_line[id])
        return FAIL_AT(r, r->event.start_mark, "%s: key is there twice (first in line %zu)", scalar(r), seen_line[id]);
    seen_line[id] = r->event.start_mark.line + 1;
    if (id == FM_OPTION_SET) {
        FM_TRY(advance(r));
        return read_settings(r, NULL);
    }
    struct fm_given *g = add_here(r, id);
    if (!g) return FM_OPTIONS_NOMEM(r->err);
    FM_TRY(advance(r));
    status = read_values(r, g);
out:
    return status;
}

static fm_status read_document(struct reader *r)
{
    size_t seen_line[FM_OPTION_COUNT] = { 0 };
    fm_status status = FM_OK;
    FM_TRY(advance(r));
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return FAIL_AT(r, r->event.start_mark, "a configuration is lines of 'key: value' (fillmark %s --help)",
                       fm_commands[r->givens->command].name);
    FM_TRY(advance(r));
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        FM_TRY(read_key(r, seen_line));
        FM_TRY(advance(r));
    }
    FM_TRY(advance(r));     /* the document's end */
out:
    return status;
}

fm_status fm_config_parse(const char *text, size_t bytes, struct fm_givens *givens, struct fm_err *err)
{
    struct reader r = { .text = text, .bytes = bytes, .givens = givens, .err = err };
    fm_status status = FM_OK;
    if (!yaml_parser_initialize(&r.parser)) return FM_OPTIONS_NOMEM(err);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    FM_TRY(advance(&r));    /* the stream's start */
    FM_TRY(advance(&r));
    if (r.event.type == YAML_STREAM_END_EVENT) {
        status = FM_FAIL(err, FM_INVALID, "%s: says nothing; write lines of 'key: value' (fillmark %s --help), or leave the file out "
                         "for the default campaign", givens->file, fm_commands[givens->command].name);
        goto out;
    }
    FM_TRY(read_document(&r));
    FM_TRY(advance(&r));
    if (r.event.type != YAML_STREAM_END_EVENT)
        status = FAIL_AT(&r, r.event.start_mark, "a second document; one file is one configuration");
out:
    if (r.live) yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return status;
}

static fm_status read_bytes(FILE *file, const char *path, struct fm_buf *out, struct fm_err *err)
{
    char block[4096];
    size_t n;
    while ((n = fread(block, 1, sizeof block, file)) > 0) {
        if (out->bytes + n > FILE_BYTES)
            return FM_FAIL(err, FM_INVALID, "%s: longer than %zu bytes; is it a configuration?", path, FILE_BYTES);
        fm_buf_add(out, block, n);
        if (!fm_buf_ok(out)) return FM_OPTIONS_NOMEM(err);
    }
    if (ferror(file) || fm_fault_here()) return FM_FAIL(err, FM_IO, "%s: cannot be read: %s", path, strerror(errno));
    return FM_OK;
}

fm_status fm_config_read(const char *path, struct fm_givens *givens, struct fm_err *err)
{
    struct fm_buf text = FM_BUF(FILE_BYTES + 1);
    FILE *file = fm_fault_here() ? NULL : fopen(path, "rbe");
    if (!file) return FM_FAIL(err, FM_IO, "%s: cannot be opened: %s", path, strerror(errno));
    givens->file = path;
    fm_status status = read_bytes(file, path, &text, err);
    if (fclose(file) != 0 && status == FM_OK)
        status = FM_FAIL(err, FM_IO, "%s: cannot be read: %s", path, strerror(errno));
    if (status == FM_OK) status = fm_config_parse(fm_buf_text(&text), text.bytes, givens, err);
    fm_buf_release(&text);
    return status;
}
