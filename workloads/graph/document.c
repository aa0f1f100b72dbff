#include "workloads/graph/document.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define MAX_DEPTH      8
#define MAX_NODES      ((size_t)4 << 20)
#define MAX_TEXT_BYTES ((size_t)64 << 20)
#define MAX_KEYS       16 /* of a mapping: no mapping of the format has more */

struct parse {
    struct fm_document *document;
    yaml_parser_t parser;
    uint32_t open[MAX_DEPTH + 1], last[MAX_DEPTH + 1]; /* containers being read, and their last children */
    uint32_t depth;
    struct fm_err *err;
};

void fm_document_release(struct fm_document *document)
{
    fm_free(document->node);
    fm_buf_release(&document->text);
    *document = (struct fm_document){ 0 };
}

const char *fm_document_text(const struct fm_document *document, uint32_t node)
{
    const struct fm_document_node *n = &document->node[node];
    return node && n->kind == FM_DOCUMENT_SCALAR ? fm_buf_text(&document->text) + n->text : "";
}

static fm_status fail_at(const struct fm_document *document, uint32_t line, uint32_t column, struct fm_err *err,
                         const char *text)
{
    return FM_FAIL(err, FM_INVALID, "%s:%u:%u: %s", document->path, line, column, text);
}

fm_status fm_document_fail(const struct fm_document *document, uint32_t node, struct fm_err *err, const char *format,
                           ...)
{
    char text[FM_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail_at(document, document->node[node].line, document->node[node].column, err, text);
}

uint32_t fm_document_next_key(const struct fm_document *document, uint32_t key)
{
    return document->node[document->node[key].next].next;
}

uint32_t fm_document_get(const struct fm_document *document, uint32_t mapping, const char *key)
{
    if (document->node[mapping].kind != FM_DOCUMENT_MAPPING) return FM_DOCUMENT_NOTHING;
    for (uint32_t k = document->node[mapping].first; k; k = fm_document_next_key(document, k))
        if (strcmp(fm_document_text(document, k), key) == 0) return document->node[k].next;
    return FM_DOCUMENT_NOTHING;
}

fm_status fm_document_check_keys(const struct fm_document *document, uint32_t mapping, const char *const *keys,
                                 size_t count, struct fm_err *err)
{
    for (uint32_t k = document->node[mapping].first; k; k = fm_document_next_key(document, k)) {
        const char *text = fm_document_text(document, k);
        size_t i = 0;
        while (i < count && strcmp(keys[i], text) != 0) i++;
        if (i < count) continue;
        const char *near = fm_nearest(text, keys, count);
        if (near) return fm_document_fail(document, k, err, "unknown key '%s'; did you mean '%s'?", text, near);
        struct fm_buf list = FM_BUF(256);
        for (i = 0; i < count; i++) fm_buf_printf(&list, i ? ", %s" : "%s", keys[i]);
        fm_status status =
            fm_document_fail(document, k, err, "unknown key '%s'; here are known: %s", text, fm_buf_text(&list));
        fm_buf_release(&list);
        return status;
    }
    return FM_OK;
}

/* ---- parsing ---- */

static fm_status no_memory(struct parse *p)
{
    return FM_FAIL(p->err, FM_NOMEM, "reading %s", p->document->path);
}

static fm_status fail_mark(struct parse *p, yaml_mark_t mark, const char *text)
{
    return fail_at(p->document, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1, p->err, text);
}

static fm_status syntax_error(struct parse *p)
{
    char text[256];
    if (p->parser.error == YAML_MEMORY_ERROR) return no_memory(p);
    (void)snprintf(text, sizeof text, "this is not YAML: %s", p->parser.problem ? p->parser.problem : "unknown reason");
    return fail_mark(p, p->parser.error == YAML_READER_ERROR ? p->parser.mark : p->parser.problem_mark, text);
}

/* a mapping's keys are scalars, each there once */
static fm_status check_key(struct parse *p, uint32_t mapping, uint32_t key)
{
    const struct fm_document *d = p->document;
    if (d->node[key].kind != FM_DOCUMENT_SCALAR) return fm_document_fail(d, key, p->err, "a key must be a word");
    if (d->node[mapping].count > 2 * MAX_KEYS)
        return fm_document_fail(d, key, p->err, "a mapping has at most %d keys", MAX_KEYS);
    for (uint32_t k = d->node[mapping].first; k && k != key; k = fm_document_next_key(d, k))
        if (strcmp(fm_document_text(d, k), fm_document_text(d, key)) == 0)
            return fm_document_fail(d, key, p->err, "key '%s' is here twice; the first is on line %u",
                                    fm_document_text(d, key), d->node[k].line);
    return FM_OK;
}

/* appends a node to the innermost open container */
static fm_status add_node(struct parse *p, enum fm_document_kind kind, yaml_mark_t mark, uint32_t *out)
{
    struct fm_document *d = p->document;
    if (d->node_count >= MAX_NODES) return fail_mark(p, mark, "more than 4 million items");
    struct fm_document_node *grown = fm_grow(d->node, &d->node_room, d->node_count + 1, sizeof *grown);
    if (!grown) return no_memory(p);
    d->node = grown;
    uint32_t index = (uint32_t)d->node_count++;
    d->node[index] = (struct fm_document_node){
        .kind = kind, .line = (uint32_t)mark.line + 1, .column = (uint32_t)mark.column + 1, .text = d->text.bytes
    };
    *out = index;
    if (!p->depth) {
        d->root = index;
        return FM_OK;
    }
    uint32_t parent = p->open[p->depth], *last = &p->last[p->depth];
    if (*last)
        d->node[*last].next = index;
    else
        d->node[parent].first = index;
    *last = index;
    return FM_OK;
}

/* in a mapping keys and values take turns; a key is checked when it is whole, that is at once */
static fm_status count_child(struct parse *p, uint32_t index)
{
    if (!p->depth) return FM_OK;
    struct fm_document_node *parent = &p->document->node[p->open[p->depth]];
    bool is_key = parent->kind == FM_DOCUMENT_MAPPING && parent->count % 2 == 0;
    parent->count++;
    return is_key ? check_key(p, p->open[p->depth], index) : FM_OK;
}

static fm_status add_scalar(struct parse *p, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t bytes = event->data.scalar.length;
    uint32_t index = FM_DOCUMENT_NOTHING;
    if (event->data.scalar.anchor) return fail_mark(p, event->start_mark, "anchors are not read here; write it out");
    if (event->data.scalar.tag) return fail_mark(p, event->start_mark, "tags are not read here; leave it out");
    if (bytes > FM_DOCUMENT_SCALAR_BYTES) return fail_mark(p, event->start_mark, "this is longer than 200 bytes");
    if (!bytes) return fail_mark(p, event->start_mark, "something is missing here");
    for (size_t i = 0; i < bytes; i++)
        if (value[i] < ' ' || value[i] > '~')
            return fail_mark(p, event->start_mark, "only printable ASCII is read here");
    fm_status status = add_node(p, FM_DOCUMENT_SCALAR, event->start_mark, &index);
    if (status != FM_OK) return status;
    fm_buf_add(&p->document->text, value, bytes);
    fm_buf_putc(&p->document->text, '\0');
    return fm_buf_ok(&p->document->text) ? count_child(p, index) : no_memory(p);
}

static fm_status open_container(struct parse *p, enum fm_document_kind kind, const yaml_event_t *event)
{
    bool sequence = kind == FM_DOCUMENT_SEQUENCE;
    uint32_t index = FM_DOCUMENT_NOTHING;
    if (sequence ? event->data.sequence_start.anchor : event->data.mapping_start.anchor)
        return fail_mark(p, event->start_mark, "anchors are not read here; write it out");
    if (sequence ? event->data.sequence_start.tag : event->data.mapping_start.tag)
        return fail_mark(p, event->start_mark, "tags are not read here; leave it out");
    if (p->depth == MAX_DEPTH) return fail_mark(p, event->start_mark, "this is nested too deep");
    fm_status status = add_node(p, kind, event->start_mark, &index);
    if (status == FM_OK) status = count_child(p, index);
    if (status != FM_OK) return status;
    p->open[++p->depth] = index;
    p->last[p->depth] = FM_DOCUMENT_NOTHING;
    return FM_OK;
}

static fm_status take_event(struct parse *p, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (p->document->root) return fail_mark(p, event->start_mark, "a second document; a file holds one graph");
        if (event->data.document_start.tag_directives.start != event->data.document_start.tag_directives.end)
            return fail_mark(p, event->start_mark, "tags are not read here; leave %TAG out");
        return FM_OK;
    case YAML_ALIAS_EVENT: return fail_mark(p, event->start_mark, "aliases are not read here; write it out");
    case YAML_SCALAR_EVENT: return add_scalar(p, event);
    case YAML_SEQUENCE_START_EVENT: return open_container(p, FM_DOCUMENT_SEQUENCE, event);
    case YAML_MAPPING_START_EVENT: return open_container(p, FM_DOCUMENT_MAPPING, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: p->depth--; return FM_OK;
    default: return FM_OK;
    }
}

static fm_status parse_events(struct parse *p)
{
    for (bool done = false; !done;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&p->parser, &event)) return syntax_error(p);
        fm_status status = take_event(p, &event);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (status != FM_OK) return status;
    }
    if (!p->document->root)
        return fail_at(p->document, 1, 1, p->err, "the file is empty; see docs/graph-yaml.md for what it holds");
    return FM_OK;
}

fm_status fm_document_parse(struct fm_document *document, const char *path, const char *text, size_t bytes,
                            struct fm_err *err)
{
    struct parse p = { .document = document, .err = err };
    *document = (struct fm_document){ .path = path };
    document->text = FM_BUF(MAX_TEXT_BYTES);    /* apart: as an initializer gcc 11 warns of the fields after it */
    document->node = fm_grow(NULL, &document->node_room, 1, sizeof *document->node);
    if (!document->node || !yaml_parser_initialize(&p.parser)) {
        fm_document_release(document);
        return FM_FAIL(err, FM_NOMEM, "reading %s", path);
    }
    document->node[document->node_count++] = (struct fm_document_node){ 0 };
    yaml_parser_set_input_string(&p.parser, (const unsigned char *)text, bytes);
    fm_status status = parse_events(&p);
    yaml_parser_delete(&p.parser);
    if (status != FM_OK) fm_document_release(document);
    return status;
}
