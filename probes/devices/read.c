/* The table's file, by libyaml's events. Anchors, aliases and tags are refused, and so are second keys of one name. */
#include "probes/devices/internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define FILE_BYTES ((size_t)1 << 20)
#define DEVICES_MAX 256
#define SOURCES_MAX 256
#define CAPABILITIES_MAX 64
#define PATH_BYTES 80

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;                     /* the current one */
    bool live;                              /* event is to be deleted */
    const char *file;
    struct fm_gpus *gpus;
    struct fm_err *err;
};

#define FAIL_HERE(r, ...) fail_at((r), (r)->event.start_mark, __VA_ARGS__)
#define NOMEM(r) FM_FAIL((r)->err, FM_NOMEM, "%s: host memory exhausted", (r)->file)

static fm_status fail_at(const struct reader *r, yaml_mark_t mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static fm_status fail_at(const struct reader *r, yaml_mark_t mark, const char *format, ...)
{
    char text[FM_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return FM_FAIL(r->err, FM_INVALID, "%.200s:%zu:%zu: %.250s", r->file, mark.line + 1, mark.column + 1, text);
}

/* the next event, which carries nothing that the file may not use */
static fm_status advance(struct reader *r)
{
    if (r->live) yaml_event_delete(&r->event);
    r->live = false;
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        const yaml_parser_t *p = &r->parser;
        if (p->error == YAML_MEMORY_ERROR) return NOMEM(r);
        if (p->error == YAML_READER_ERROR)
            return FM_FAIL(r->err, FM_INVALID, "%.200s: byte %zu: the file must be UTF-8 text", r->file, p->problem_offset);
        return fail_at(r, p->problem_mark, "%s", p->problem ? p->problem : "not YAML");
    }
    r->live = true;
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
    if (e->type == YAML_SEQUENCE_START_EVENT) anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
    if (e->type == YAML_MAPPING_START_EVENT) anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
    if (e->type == YAML_ALIAS_EVENT || anchor || tag)
        return FAIL_HERE(r, "anchors (&name), aliases (*name) and tags (!name) are not supported; write the value out");
    if (e->type == YAML_SCALAR_EVENT && memchr(e->data.scalar.value, '\0', e->data.scalar.length))
        return FAIL_HERE(r, "a NUL byte in a text");
    return FM_OK;
}

static const char *scalar(const struct reader *r) { return (const char *)r->event.data.scalar.value; }

/* the current event is a text of 1 to bytes - 1 bytes; `what` it is, for the message */
static fm_status take_text(const struct reader *r, const char *what, char *out, size_t bytes)
{
    if (r->event.type != YAML_SCALAR_EVENT) return FAIL_HERE(r, "%s: one value is wanted here", what);
    size_t n = strlen(scalar(r));
    if (n == 0 || n >= bytes) return FAIL_HERE(r, "%s: from 1 to %zu characters, not %zu", what, bytes - 1, n);
    memcpy(out, scalar(r), n + 1);
    return FM_OK;
}

static fm_status open_mapping(struct reader *r, const char *what)
{
    if (r->event.type != YAML_MAPPING_START_EVENT) return FAIL_HERE(r, "%s: lines of 'key: value' are wanted here", what);
    return advance(r);
}

/* ---- sources ---- */

static uint32_t find_source(const struct fm_gpus *g, const char *key)
{
    for (size_t i = 0; i < g->sources; i++)
        if (strcmp(g->source[i].key, key) == 0) return (uint32_t)i + 1;
    return 0;
}

static fm_status read_source(struct reader *r)
{
    fm_status status = FM_OK;
    struct fm_gpu_source s;
    FM_TRY(take_text(r, "sources", s.key, sizeof s.key));
    if (find_source(r->gpus, s.key)) return FAIL_HERE(r, "sources: '%s' is there already; give yours another name", s.key);
    FM_TRY(advance(r));
    FM_TRY(take_text(r, s.key, s.text, sizeof s.text));
    if (r->gpus->sources == SOURCES_MAX) return FAIL_HERE(r, "more than %d sources", SOURCES_MAX);
    struct fm_gpu_source *grown = fm_grow(r->gpus->source, &r->gpus->source_room, r->gpus->sources + 1, sizeof s);
    if (!grown) return NOMEM(r);
    r->gpus->source = grown;
    grown[r->gpus->sources++] = s;
    status = advance(r);
out:
    return status;
}

/* ---- figures ---- */

static enum fm_gpu_field find_field(const char *key)
{
    int i = 0;
    while (i < FM_GPU_FIELD_COUNT && strcmp(fm_gpu_rules[i].key, key) != 0) i++;
    return (enum fm_gpu_field)i;
}

static fm_status unknown_key(const struct reader *r, const char *path)
{
    const char *names[FM_GPU_FIELD_COUNT + 2] = { "name", "capability" };
    for (int i = 0; i < FM_GPU_FIELD_COUNT; i++) names[i + 2] = fm_gpu_rules[i].key;
    const char *near = fm_nearest(scalar(r), names, FM_GPU_FIELD_COUNT + 2);
    return FAIL_HERE(r, "%s: unknown key '%.40s'%s%s%s", path, scalar(r), near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
}

/* "8.9" is 89; one digit behind the point */
static bool parse_capability(const char *text, int *out)
{
    const char *dot = strchr(text, '.');
    int64_t major, minor;
    char head[8];
    size_t n = dot ? (size_t)(dot - text) : 0;
    if (!dot || n == 0 || n >= sizeof head || strlen(dot + 1) != 1) return false;
    memcpy(head, text, n);
    head[n] = '\0';
    if (!fm_parse_i64(head, &major) || !fm_parse_i64(dot + 1, &minor) || major < 1 || major > 99 || minor < 0) return false;
    *out = (int)(major * 10 + minor);
    return true;
}

/* "[VALUE, SOURCE]" behind a key; the current event is the list's start, afterwards what follows its end */
static fm_status read_pair(struct reader *r, const char *path, char *value, size_t bytes, uint32_t *source)
{
    char key[sizeof r->gpus->source->key];
    fm_status status = FM_OK;
    if (r->event.type != YAML_SEQUENCE_START_EVENT) return FAIL_HERE(r, "%s: [VALUE, SOURCE] is wanted here", path);
    FM_TRY(advance(r));
    FM_TRY(take_text(r, path, value, bytes));
    yaml_mark_t mark = r->event.start_mark;
    FM_TRY(advance(r));
    if (r->event.type != YAML_SCALAR_EVENT) return fail_at(r, mark, "%s: the source is missing: [%s, SOURCE]", path, value);
    FM_TRY(take_text(r, path, key, sizeof key));
    *source = find_source(r->gpus, key);
    if (!*source) return FAIL_HERE(r, "%s: '%s' is not among the sources above", path, key);
    FM_TRY(advance(r));
    if (r->event.type != YAML_SEQUENCE_END_EVENT) return FAIL_HERE(r, "%s: more than [VALUE, SOURCE]", path);
    status = advance(r);
out:
    return status;
}

static fm_status read_figure(struct reader *r, const char *path, enum fm_gpu_field field, struct fm_gpu_figure *out)
{
    char full[PATH_BYTES + 32], text[32];
    const struct fm_gpu_rule *rule = &fm_gpu_rules[field];
    fm_status status = FM_OK;
    (void)snprintf(full, sizeof full, "%s.%s", path, rule->key);
    if (out->source) return FAIL_HERE(r, "%s: the key is there twice", full);
    FM_TRY(advance(r));
    yaml_mark_t mark = r->event.start_mark;
    FM_TRY(read_pair(r, full, text, sizeof text, &out->source));
    int64_t n;
    if (rule->whole ? !fm_parse_i64(text, &n) : !fm_parse_f64(text, &out->value))
        return fail_at(r, mark, "%s: '%s' is not a %snumber", full, text, rule->whole ? "whole " : "");
    if (rule->whole) out->value = (double)n;
    if (out->value < rule->lo || out->value > rule->hi)
        return fail_at(r, mark, "%s: '%s' is not from %g to %g", full, text, rule->lo, rule->hi);
out:
    return status;
}

/* ---- capabilities ---- */

static const struct fm_gpu_capability *find_capability(const struct fm_gpus *g, int capability)
{
    for (size_t i = 0; i < g->capabilities; i++)
        if (g->capability[i].capability == capability) return &g->capability[i];
    return NULL;
}

static fm_status read_capability(struct reader *r)
{
    char text[8], path[PATH_BYTES];
    fm_status status = FM_OK;
    struct fm_gpu_capability c = { 0 };
    FM_TRY(take_text(r, "capabilities", text, sizeof text));
    if (!parse_capability(text, &c.capability)) return FAIL_HERE(r, "capabilities: '%s' is not like 8.9", text);
    if (find_capability(r->gpus, c.capability)) return FAIL_HERE(r, "capabilities: '%s' is there already", text);
    (void)snprintf(path, sizeof path, "capabilities.%s", text);
    FM_TRY(advance(r));
    FM_TRY(open_mapping(r, path));
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT) return FAIL_HERE(r, "%s: a key must be a name", path);
        enum fm_gpu_field field = find_field(scalar(r));
        if (field == FM_GPU_FIELD_COUNT) return unknown_key(r, path);
        FM_TRY(read_figure(r, path, field, &c.figure[field]));
    }
    if (r->gpus->capabilities == CAPABILITIES_MAX) return FAIL_HERE(r, "more than %d capabilities", CAPABILITIES_MAX);
    struct fm_gpu_capability *grown =
        fm_grow(r->gpus->capability, &r->gpus->capability_room, r->gpus->capabilities + 1, sizeof c);
    if (!grown) return NOMEM(r);
    r->gpus->capability = grown;
    grown[r->gpus->capabilities++] = c;
    status = advance(r);
out:
    return status;
}

/* ---- devices ---- */

static bool good_name(const char *name)
{
    static const char *const taken[] = { "cpu", "ref", "none", "all" };
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (strcmp(taken[i], name) == 0) return false;
    return name[0] >= 'a' && name[0] <= 'z' && name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_")] == '\0';
}

static fm_status read_device_key(struct reader *r, const char *path, struct fm_gpu *gpu)
{
    char full[PATH_BYTES + 32], text[8];
    fm_status status = FM_OK;
    if (r->event.type != YAML_SCALAR_EVENT) return FAIL_HERE(r, "%s: a key must be a name", path);
    bool name = strcmp(scalar(r), "name") == 0, capability = strcmp(scalar(r), "capability") == 0;
    enum fm_gpu_field field = find_field(scalar(r));
    if (!name && !capability)
        return field == FM_GPU_FIELD_COUNT ? unknown_key(r, path) : read_figure(r, path, field, &gpu->figure[field]);
    (void)snprintf(full, sizeof full, "%s.%s", path, scalar(r));
    if (name ? gpu->title[0] != '\0' : gpu->capability != 0) return FAIL_HERE(r, "%s: the key is there twice", full);
    FM_TRY(advance(r));
    if (name) {
        FM_TRY(take_text(r, full, gpu->title, sizeof gpu->title));
        return advance(r);
    }
    yaml_mark_t mark = r->event.start_mark;
    FM_TRY(read_pair(r, full, text, sizeof text, &gpu->capability_source));
    if (!parse_capability(text, &gpu->capability)) return fail_at(r, mark, "%s: '%s' is not like 8.9", full, text);
out:
    return status;
}

/* fills in what its capability says, and looks for what is missing */
static fm_status complete(const struct reader *r, yaml_mark_t mark, const char *path, struct fm_gpu *gpu)
{
    if (!gpu->title[0]) return fail_at(r, mark, "%s: 'name' is missing", path);
    if (!gpu->capability) return fail_at(r, mark, "%s: 'capability' is missing", path);
    const struct fm_gpu_capability *c = find_capability(r->gpus, gpu->capability);
    for (int i = 0; i < FM_GPU_FIELD_COUNT; i++) {
        if (!gpu->figure[i].source && c) gpu->figure[i] = c->figure[i];
        if (fm_gpu_rules[i].needed && !gpu->figure[i].source)
            return fail_at(r, mark, "%s: '%s' is missing, here and under capabilities", path, fm_gpu_rules[i].key);
    }
    return FM_OK;
}

static fm_status read_device(struct reader *r)
{
    char path[PATH_BYTES];
    fm_status status = FM_OK;
    struct fm_gpu gpu = { .own = true };
    yaml_mark_t mark = r->event.start_mark;
    FM_TRY(take_text(r, "devices", gpu.name, sizeof gpu.name));
    gpu.line = mark.line + 1;
    if (!good_name(gpu.name))
        return FAIL_HERE(r, "devices: '%s' is no name for a device: small letters, digits, - and _, and none that --device "
                         "has already", gpu.name);
    const struct fm_gpu *same = fm_gpus_find(r->gpus, gpu.name);
    if (same) return FAIL_HERE(r, "devices: '%s' is there already (line %zu); give yours another name", gpu.name, same->line);
    (void)snprintf(path, sizeof path, "devices.%s", gpu.name);
    FM_TRY(advance(r));
    FM_TRY(open_mapping(r, path));
    while (r->event.type != YAML_MAPPING_END_EVENT) FM_TRY(read_device_key(r, path, &gpu));
    FM_TRY(complete(r, mark, path, &gpu));
    if (r->gpus->count == DEVICES_MAX) return FAIL_HERE(r, "more than %d devices", DEVICES_MAX);
    struct fm_gpu *grown = fm_grow(r->gpus->item, &r->gpus->room, r->gpus->count + 1, sizeof gpu);
    if (!grown) return NOMEM(r);
    r->gpus->item = grown;
    grown[r->gpus->count++] = gpu;
    status = advance(r);
out:
    return status;
}

/* ---- the file ---- */

/* sources, capabilities, devices: each once, in this order, since the later ones refer to the earlier */
static fm_status read_document(struct reader *r)
{
    static const char *const names[] = { "sources", "capabilities", "devices" };
    static fm_status (*const readers[])(struct reader *) = { read_source, read_capability, read_device };
    fm_status status = FM_OK;
    int next = 0;
    FM_TRY(advance(r));
    FM_TRY(open_mapping(r, "the file"));
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        int part = 0;
        if (r->event.type != YAML_SCALAR_EVENT) return FAIL_HERE(r, "a key must be a name");
        while (part < 3 && strcmp(scalar(r), names[part]) != 0) part++;
        if (part == 3) return FAIL_HERE(r, "unknown key '%.40s' (sources, capabilities, devices)", scalar(r));
        if (part < next) return FAIL_HERE(r, "%s: once, and before '%s'", names[part], names[next - 1]);
        next = part + 1;
        FM_TRY(advance(r));
        FM_TRY(open_mapping(r, names[part]));
        while (r->event.type != YAML_MAPPING_END_EVENT) FM_TRY(readers[part](r));
        FM_TRY(advance(r));
    }
    if (next < 3) return FAIL_HERE(r, "'devices' is missing");
    FM_TRY(advance(r));
out:
    return status;
}

fm_status fm_gpus_parse(struct fm_gpus *gpus, const char *file, const char *text, size_t bytes, struct fm_err *err)
{
    struct reader r = { .file = file, .gpus = gpus, .err = err };
    fm_status status = FM_OK;
    if (!yaml_parser_initialize(&r.parser)) return NOMEM(&r);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    FM_TRY(advance(&r));    /* the stream's start */
    FM_TRY(advance(&r));
    if (r.event.type == YAML_STREAM_END_EVENT) {
        status = FM_FAIL(err, FM_INVALID, "%.200s:1:1: the file is empty; it has sources, capabilities, devices", file);
        goto out;
    }
    FM_TRY(read_document(&r));
    FM_TRY(advance(&r));
    if (r.event.type != YAML_STREAM_END_EVENT) status = FAIL_HERE(&r, "a second document; one file is one table");
out:
    if (r.live) yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return status;
}

fm_status fm_gpus_read(struct fm_gpus *gpus, const char *path, struct fm_err *err)
{
    struct fm_buf text = FM_BUF(FILE_BYTES + 1);
    char block[4096];
    size_t n;
    FILE *file = fm_fault_here() ? NULL : fopen(path, "rbe");
    if (!file) return FM_FAIL(err, FM_IO, "%.200s: cannot be opened: %s", path, strerror(errno));
    while ((n = fread(block, 1, sizeof block, file)) > 0 && text.bytes + n <= FILE_BYTES) fm_buf_add(&text, block, n);
    fm_status status = FM_OK;
    if (ferror(file)) status = FM_FAIL(err, FM_IO, "%.200s: cannot be read: %s", path, strerror(errno));
    else if (n > 0) status = FM_FAIL(err, FM_INVALID, "%.200s: longer than %zu bytes; is it a device table?", path, FILE_BYTES);
    else if (!fm_buf_ok(&text)) status = FM_FAIL(err, FM_NOMEM, "%.200s: host memory exhausted", path);
    (void)fclose(file);
    if (status == FM_OK) status = fm_gpus_parse(gpus, path, fm_buf_text(&text), text.bytes, err);
    fm_buf_release(&text);
    return status;
}
