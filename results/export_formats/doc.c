#include "results/export_formats/doc.h"

#include <cjson/cJSON.h>
#include <yaml.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

/* ---- errors ---- */

fm_status fm_doc_fail(const struct fm_doc *doc, size_t node, struct fm_err *err, const char *format, ...)
{
    char text[FM_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (node == FM_DOC_NONE) return FM_FAIL(err, FM_INVALID, "%s: %s", doc->name, text);
    return FM_FAIL(err, FM_INVALID, "%s:%zu:%zu: %s", doc->name, doc->node[node].line, doc->node[node].column, text);
}

static fm_status no_memory(const struct fm_doc *doc, struct fm_err *err)
{
    return FM_FAIL(err, FM_NOMEM, "%s: no memory to read it", doc->name);
}

/* ---- reading ---- */

struct reader {
    struct fm_doc *doc;
    yaml_parser_t parser;
    /* libyaml counts characters, not bytes: where the last asked-for character begins */
    size_t character, byte;
    size_t open[FM_DOC_DEPTH];
    size_t depth;
    struct fm_err *err;
};

static size_t mark_bytes(struct reader *r, const yaml_mark_t *mark)
{
    const struct fm_doc *doc = r->doc;
    size_t start = doc->bytes >= 3 && memcmp(doc->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (mark->index < r->character || r->byte < start) r->character = 0, r->byte = start;
    while (r->character < mark->index && r->byte < doc->bytes) {
        r->byte++;
        while (r->byte < doc->bytes && ((unsigned char)doc->text[r->byte] & 0xc0) == 0x80) r->byte++;
        r->character++;
    }
    return r->byte;
}

static fm_status syntax(const struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_MEMORY_ERROR) return no_memory(r->doc, r->err);
    if (p->error == YAML_READER_ERROR)
        return FM_FAIL(r->err, FM_INVALID, "%s: byte %zu: %s; the file must be UTF-8 text", r->doc->name, p->problem_offset, problem);
    return FM_FAIL(r->err, FM_INVALID, "%s:%zu:%zu: %s%s", r->doc->name, p->problem_mark.line + 1, p->problem_mark.column + 1, problem,
                   strstr(problem, "cannot start any token") ? " (a tab as indentation?)" : "");
}

/* links the node into the open collection; FM_DOC_NONE: no memory */
static size_t add_node(struct reader *r, const yaml_event_t *e, enum fm_doc_kind kind)
{
    struct fm_doc *doc = r->doc;
    struct fm_doc_node *node = fm_grow(doc->node, &doc->capacity, doc->count + 1, sizeof *node);
    if (!node) return FM_DOC_NONE;
    doc->node = node;
    size_t index = doc->count++;
    size_t parent = r->depth ? r->open[r->depth - 1] : FM_DOC_NONE;
    node[index] = (struct fm_doc_node){ .kind = kind, .line = e->start_mark.line + 1, .column = e->start_mark.column + 1,
                                        .parent = parent, .first = FM_DOC_NONE, .last = FM_DOC_NONE, .next = FM_DOC_NONE };
    node[index].start = mark_bytes(r, &e->start_mark);
    node[index].end = mark_bytes(r, &e->end_mark);
    if (parent == FM_DOC_NONE) doc->root = index;
    else if (node[parent].first == FM_DOC_NONE) node[parent].first = index;
    else node[node[parent].last].next = index;
    if (parent != FM_DOC_NONE) node[parent].last = index;
    return index;
}

static fm_status add_scalar(struct reader *r, const yaml_event_t *e)
{
    struct fm_doc *doc = r->doc;
    size_t index = add_node(r, e, FM_DOC_SCALAR);
    char **texts = fm_grow(doc->texts, &doc->text_capacity, doc->text_count + 1, sizeof *texts);
    if (texts) doc->texts = texts;
    if (index == FM_DOC_NONE || !texts) return no_memory(doc, r->err);
    char *text = fm_strndup((const char *)e->data.scalar.value, e->data.scalar.length);
    if (!text) return no_memory(doc, r->err);
    doc->texts[doc->text_count++] = text;
    struct fm_doc_node *node = &doc->node[index];
    node->text = text;
    node->anchored = e->data.scalar.anchor != NULL;
    node->tagged = e->data.scalar.tag != NULL;
    switch (e->data.scalar.style) {
    case YAML_SINGLE_QUOTED_SCALAR_STYLE: node->style = FM_DOC_SINGLE_QUOTED; break;
    case YAML_DOUBLE_QUOTED_SCALAR_STYLE: node->style = FM_DOC_DOUBLE_QUOTED; break;
    case YAML_LITERAL_SCALAR_STYLE: case YAML_FOLDED_SCALAR_STYLE: node->style = FM_DOC_BLOCK; break;
    case YAML_ANY_SCALAR_STYLE: case YAML_PLAIN_SCALAR_STYLE: node->style = FM_DOC_PLAIN; break;
    }
    return FM_OK;
}

static fm_status open_collection(struct reader *r, const yaml_event_t *e)
{
    bool mapping = e->type == YAML_MAPPING_START_EVENT;
    if (r->depth == FM_DOC_DEPTH)
        return FM_FAIL(r->err, FM_INVALID, "%s:%zu:%zu: nested deeper than %d levels", r->doc->name, e->start_mark.line + 1,
                       e->start_mark.column + 1, FM_DOC_DEPTH);
    size_t index = add_node(r, e, mapping ? FM_DOC_MAPPING : FM_DOC_SEQUENCE);
    if (index == FM_DOC_NONE) return no_memory(r->doc, r->err);
    struct fm_doc_node *node = &r->doc->node[index];
    node->flow = mapping ? e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
                         : e->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    node->anchored = (mapping ? e->data.mapping_start.anchor : e->data.sequence_start.anchor) != NULL;
    node->tagged = (mapping ? e->data.mapping_start.tag : e->data.sequence_start.tag) != NULL;
    r->open[r->depth++] = index;
    return FM_OK;
}

static void close_collection(struct reader *r, const yaml_event_t *e)
{
    struct fm_doc_node *node = &r->doc->node[r->open[--r->depth]];
    if (node->flow) node->end = mark_bytes(r, &e->end_mark);
    else if (node->last != FM_DOC_NONE) node->end = r->doc->node[node->last].end;
}

static fm_status take(struct reader *r, const yaml_event_t *e, size_t *documents)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1)
            return FM_FAIL(r->err, FM_INVALID, "%s:%zu:%zu: a second document; split the file, or use --format template",
                           r->doc->name, e->start_mark.line + 1, e->start_mark.column + 1);
        return FM_OK;
    case YAML_SCALAR_EVENT: return add_scalar(r, e);
    case YAML_ALIAS_EVENT: return add_node(r, e, FM_DOC_ALIAS) == FM_DOC_NONE ? no_memory(r->doc, r->err) : FM_OK;
    case YAML_SEQUENCE_START_EVENT: case YAML_MAPPING_START_EVENT: return open_collection(r, e);
    case YAML_SEQUENCE_END_EVENT: case YAML_MAPPING_END_EVENT: close_collection(r, e); return FM_OK;
    case YAML_NO_EVENT: case YAML_STREAM_START_EVENT: case YAML_STREAM_END_EVENT: case YAML_DOCUMENT_END_EVENT: break;
    }
    return FM_OK;
}

static fm_status read_events(struct reader *r)
{
    size_t documents = 0;
    bool done = false;
    fm_status status = FM_OK;
    while (status == FM_OK && !done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&r->parser, &event)) return syntax(r);
        done = event.type == YAML_STREAM_END_EVENT;
        status = take(r, &event, &documents);
        yaml_event_delete(&event);
    }
    return status;
}

static fm_status check_json(const struct fm_doc *doc, struct fm_err *err)
{
    const char *end = doc->text;
    cJSON *json = cJSON_ParseWithLengthOpts(doc->text, doc->bytes + 1, &end, 1);
    size_t line = 1, column = 1;
    if (json) {
        cJSON_Delete(json);
        return FM_OK;
    }
    for (const char *c = doc->text; c < end; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    return FM_FAIL(err, FM_INVALID, "%s:%zu:%zu: not JSON from here on", doc->name, line, column);
}

static fm_status check_root(const struct fm_doc *doc, struct fm_err *err)
{
    const struct fm_doc_node *root = doc->root == FM_DOC_NONE ? NULL : &doc->node[doc->root];
    bool empty = !root || (root->kind == FM_DOC_SCALAR && root->style == FM_DOC_PLAIN && !*root->text && !root->tagged && !root->anchored);
    if (empty || root->kind == FM_DOC_MAPPING) return FM_OK;
    return fm_doc_fail(doc, doc->root, err, "the file is not a mapping of keys to values");
}

fm_status fm_doc_read(const char *name, const char *text, size_t bytes, struct fm_doc *out, struct fm_err *err)
{
    struct reader r = { .doc = out, .err = err };
    fm_status status = FM_OK;
    *out = (struct fm_doc){ .name = name, .text = text, .bytes = bytes, .root = FM_DOC_NONE };
    assert(text[bytes] == '\0');        /* check_json() reads up to there */
    if (bytes > FM_DOC_MAX_BYTES) return FM_FAIL(err, FM_INVALID, "%s: longer than %zu bytes; is it a configuration?", name, FM_DOC_MAX_BYTES);
    if (bytes >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
        return FM_FAIL(err, FM_INVALID, "%s: UTF-16; the file must be UTF-8", name);
    if (memchr(text, '\0', bytes)) return FM_FAIL(err, FM_INVALID, "%s: a NUL byte; the file must be text", name);
    out->json = fm_doc_is_json(name, text, bytes);
    if (out->json) {
        status = check_json(out, err);
        if (status != FM_OK) return status;
    }
    if (fm_fault_here() || !yaml_parser_initialize(&r.parser)) return no_memory(out, err);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
    status = read_events(&r);
    yaml_parser_delete(&r.parser);
    if (status == FM_OK) status = check_root(out, err);
    /* an empty plain scalar as root is nothing at all */
    if (status == FM_OK && out->root != FM_DOC_NONE && out->node[out->root].kind == FM_DOC_SCALAR) out->root = FM_DOC_NONE;
    if (status != FM_OK) fm_doc_release(out);
    return status;
}

void fm_doc_release(struct fm_doc *doc)
{
    for (size_t i = 0; i < doc->text_count; i++) fm_free(doc->texts[i]);
    fm_free(doc->texts);
    fm_free(doc->node);
    *doc = (struct fm_doc){ .root = FM_DOC_NONE };
}

bool fm_doc_is_json(const char *name, const char *text, size_t bytes)
{
    size_t n = strlen(name);
    const char *at = text;
    if (n >= 5 && strcmp(name + n - 5, ".json") == 0) return true;
    if (bytes && strspn(at, " \t\r\n") < bytes && at[strspn(at, " \t\r\n")] != '{') return false;
    cJSON *json = cJSON_ParseWithLengthOpts(text, bytes + 1, NULL, 1);
    cJSON_Delete(json);
    return json != NULL;
}

/* ---- looking things up ---- */

size_t fm_doc_find(const struct fm_doc *doc, size_t mapping, const char *key, size_t key_bytes, size_t *twice)
{
    size_t found = FM_DOC_NONE;
    if (twice) *twice = FM_DOC_NONE;
    for (size_t k = doc->node[mapping].first; k != FM_DOC_NONE; k = doc->node[doc->node[k].next].next) {
        const struct fm_doc_node *node = &doc->node[k];
        if (node->kind != FM_DOC_SCALAR || strlen(node->text) != key_bytes || memcmp(node->text, key, key_bytes) != 0) continue;
        if (found == FM_DOC_NONE) found = node->next;
        else if (twice) *twice = k;
    }
    return found;
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0) return true;
    return false;
}

/* [-+]? digits, with '_' between, or hexadecimal, octal, binary */
static bool is_integer(const char *text)
{
    if (*text == '-' || *text == '+') text++;
    if (strncmp(text, "0x", 2) == 0) return text[2] && strspn(text + 2, "0123456789abcdefABCDEF_") == strlen(text + 2);
    if (strncmp(text, "0b", 2) == 0 || strncmp(text, "0o", 2) == 0) return text[2] && strspn(text + 2, "01234567_") == strlen(text + 2);
    return *text >= '0' && *text <= '9' && strspn(text, "0123456789_") == strlen(text);
}

static bool is_real(const char *text)
{
    static const char *const words[] = { ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN" };
    double value;
    if (*text == '-' || *text == '+') text++;
    if (is_one_of(text, words, sizeof words / sizeof words[0])) return true;
    return strspn(text, "0123456789.eE+-_") == strlen(text) && (*text == '.' || (*text >= '0' && *text <= '9')) && fm_parse_f64(text, &value);
}

enum fm_value_kind fm_doc_kind_of(const struct fm_doc_node *scalar)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    static const char *const bools[] = { "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No", "NO",
                                         "on", "On", "ON", "off", "Off", "OFF" };
    if (scalar->style != FM_DOC_PLAIN) return FM_VALUE_TEXT;
    if (is_one_of(scalar->text, nulls, sizeof nulls / sizeof nulls[0])) return FM_VALUE_NULL;
    if (is_one_of(scalar->text, bools, sizeof bools / sizeof bools[0])) return FM_VALUE_BOOL;
    if (is_integer(scalar->text)) return FM_VALUE_INT;
    return is_real(scalar->text) ? FM_VALUE_REAL : FM_VALUE_TEXT;
}
