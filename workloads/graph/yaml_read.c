/* Reading a graph from YAML: the builder is driven by the file's statements, and every error says where it stands. */
#include "workloads/graph/yaml_internal.h"

#include "tuner/base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_PARAMS 100000
#define MAX_BLOCKS 512
#define MAX_BATCH  (INT64_C(1) << 32)

/* ---- parameters ---- */

static fm_status read_init(struct fm_reader *r, uint32_t mapping, struct fm_param *p)
{
    static const char *const keys[] = {
        [FM_INIT_CONSTANT] = "constant", [FM_INIT_UNIFORM] = "uniform", [FM_INIT_NORMAL] = "normal"
    };
    uint32_t found = FM_DOCUMENT_NOTHING;
    for (int i = 0; i < 3; i++) {
        uint32_t node = get(r, mapping, keys[i]);
        if (!node) continue;
        if (found) return BAD(r, node, "one of constant, uniform and normal is enough");
        found = node;
        p->init = (enum fm_init)i;
        fm_status status = fm_read_real(r, node, i ? 0 : -1e30, 1e30, &p->value);
        if (status != FM_OK) return status;
    }
    if (!found)
        return BAD(r, mapping,
                   "what are its first values? constant: 0, uniform: 0.1 (from -0.1 to 0.1) or normal: 0.02");
    return FM_OK;
}

static fm_status read_param_fields(struct fm_reader *r, uint32_t node, struct fm_param *p)
{
    uint32_t shape = get(r, node, "shape"), dtype = get(r, node, "dtype"), buffer = get(r, node, "buffer"),
             order = get(r, node, "order");
    fm_status status;
    int64_t number = 0;
    if (!shape) return BAD(r, node, "a parameter needs a shape");
    FM_TRY(fm_read_shape(r, shape, 0, &p->shape, NULL));
    FM_TRY(read_init(r, node, p));
    if (buffer) FM_TRY(fm_read_flag(r, buffer, &p->buffer));
    if (order) FM_TRY(fm_read_integer(r, order, 0, 1e6, &number));
    p->order = (uint32_t)number;
    p->dtype = FM_F32;
    if (dtype && strcmp(text(r, dtype), "i64") == 0)
        p->dtype = FM_I64;
    else if (dtype && strcmp(text(r, dtype), "f32") != 0)
        return BAD(r, dtype, "f32 or i64, please");
    if (p->dtype == FM_I64 && !p->buffer) return BAD(r, dtype, "whole numbers are not trained: buffer: true, please");
out:
    return status;
}

static fm_status read_param(struct fm_reader *r, uint32_t node)
{
    static const char *const keys[] = { "name", "shape", "dtype", "constant", "uniform", "normal", "buffer", "order" };
    struct fm_graph *g = &r->b->graph;
    struct fm_param param = { .init = FM_INIT_CONSTANT };
    const char *name = NULL;
    fm_status status;
    if (!is_a(r, node, FM_DOCUMENT_MAPPING))
        return BAD(r, node, "a parameter is a mapping: {name: conv.weight, shape: [8, 1, 3, 3], uniform: 0.3}");
    FM_TRY(fm_document_check_keys(&r->document, node, keys, sizeof keys / sizeof keys[0], r->err));
    if (!get(r, node, "name")) return BAD(r, node, "a parameter needs a name");
    FM_TRY(fm_read_name(r, get(r, node, "name"), FM_NAME_BYTES, &name));
    if (fm_names_find(&r->params, name) != FM_NO_NUMBER) return BAD(r, node, "there is a parameter '%s' already", name);
    FM_TRY(read_param_fields(r, node, &param));
    if (g->param_count >= MAX_PARAMS) return BAD(r, node, "more than %d parameters", MAX_PARAMS);
    (void)snprintf(param.name, sizeof param.name, "%s", name);
    fm_names_add(&r->params, name, (uint32_t)g->param_count);
    struct fm_param *slot = fm_build_append(r->b, &g->param, &g->param_count, &g->param_room, sizeof *slot);
    if (!slot || r->params.failed) return fm_read_no_memory(r);
    *slot = param;
out:
    return status;
}

/* ---- statements ---- */

static fm_status read_drop(struct fm_reader *r, uint32_t node)
{
    uint32_t list = get(r, node, "drop"), item = 0;
    fm_status status = fm_read_list(r, list, 1, FM_GRAPH_MAX_NODES, &item);
    for (; status == FM_OK && item; item = fm_read_next_item(r, list, item)) {
        fm_value v = FM_NO_VALUE;
        status = fm_find_value(r, item, true, &v);
        if (status != FM_OK) return status;
        struct fm_body *body = r->b->body;
        if (body->value[v].role == FM_ROLE_PARAM)
            return BAD(r, item, "'%s' is a parameter, which lives on", text(r, item));
        r->known[v].dropped = item;
        struct fm_stmt *stmt = fm_build_append(r->b, &body->stmt, &body->stmt_count, &body->stmt_room, sizeof *stmt);
        if (!stmt) return fm_read_builder_says(r, item);
        *stmt = (struct fm_stmt){ .kind = FM_STMT_DROP, .a = v };
    }
    return status;
}

static fm_status read_bind(struct fm_reader *r, uint32_t node)
{
    const char *variable = NULL;
    fm_value v = FM_NO_VALUE;
    fm_status status;
    if (!get(r, node, "to")) return BAD(r, node, "bind needs 'to': the value that the variable gets");
    if (r->block) return BAD(r, node, "a variable of the loop cannot be bound within a block; end the block first");
    FM_TRY(fm_read_name(r, get(r, node, "bind"), FM_NAME_BYTES, &variable));
    FM_TRY(fm_find_value(r, get(r, node, "to"), true, &v));
    if (r->b->body->value[v].role == FM_ROLE_PARAM)
        return BAD(r, node, "'%s' is a parameter, which no variable holds", text(r, get(r, node, "to")));
    fm_bind_loop(r->b, variable, v);
    status = fm_read_builder_says(r, node);
out:
    return status;
}

static fm_status read_block(struct fm_reader *r, uint32_t node)
{
    const char *name = NULL;
    fm_status status = fm_read_name(r, get(r, node, "block"), FM_NAME_BYTES, &name);
    if (status != FM_OK) return status;
    if (r->block)
        return BAD(r, node, "blocks do not nest; end the one from line %" PRIu32 " first",
                   r->document.node[r->block].line);
    const struct fm_body *body = r->b->body;
    if (body->block_count >= MAX_BLOCKS) return BAD(r, node, "more than %d blocks", MAX_BLOCKS);
    r->block = node;
    r->block_values = (uint32_t)body->value_count;
    fm_block_begin(r->b, "%s", name);
    return fm_read_builder_says(r, node);
}

static fm_status read_end(struct fm_reader *r, uint32_t node)
{
    uint32_t result = get(r, node, "end");
    fm_value v = FM_NO_VALUE;
    if (!r->block) return BAD(r, node, "no block is open here");
    fm_status status = fm_find_value(r, result, true, &v);
    if (status != FM_OK) return status;
    if (v < r->block_values || r->b->body->value[v].role == FM_ROLE_PARAM)
        return BAD(r, result, "'%s' was not made in the block; a block ends with its own result", text(r, result));
    r->block = FM_DOCUMENT_NOTHING;
    (void)fm_block_end(r->b, v);
    return fm_read_builder_says(r, node);
}

static fm_status read_statement(struct fm_reader *r, uint32_t node)
{
    static const struct {
        const char *key, *keys[2];
        fm_status (*read)(struct fm_reader *r, uint32_t node);
    } kinds[] = {
        { "op", { NULL, NULL }, fm_read_call },  { "drop", { "drop", NULL }, read_drop },
        { "bind", { "bind", "to" }, read_bind }, { "block", { "block", NULL }, read_block },
        { "end", { "end", NULL }, read_end },
    };
    if (!is_a(r, node, FM_DOCUMENT_MAPPING))
        return BAD(r, node, "a step is a mapping, such as {op: relu, name: a, in: [x]}");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!get(r, node, kinds[i].key)) continue;
        fm_status status = FM_OK;
        if (kinds[i].keys[0])
            status = fm_document_check_keys(&r->document, node, kinds[i].keys, kinds[i].keys[1] ? 2 : 1, r->err);
        return status == FM_OK ? kinds[i].read(r, node) : status;
    }
    return BAD(r, node, "a step has one of these: op, drop, bind, block, end");
}

/* ---- bodies ---- */

static fm_status read_end_of_body(struct fm_reader *r, uint32_t mapping, enum fm_body_kind kind)
{
    uint32_t output = get(r, mapping, "output"), loss = get(r, mapping, "loss");
    struct fm_body *body = r->b->body;
    fm_value v = FM_NO_VALUE;
    fm_status status;
    if (r->block) return BAD(r, r->block, "this block never ends: {end: its result}, please");
    for (size_t i = 0; r->drops && i < body->value_count; i++)
        if (body->value[i].role == FM_ROLE_RESULT && !r->known[i].dropped)
            return BAD(
                r, r->known[i].made,
                "this result is never dropped; drop it, or write no drop at all: then values die after their last use");
    if (!output) return BAD(r, mapping, "a body needs 'output': the logits");
    FM_TRY(fm_find_value(r, output, false, &v));
    if (body->value[v].role != FM_ROLE_RESULT) return BAD(r, output, "the output is a parameter");
    fm_body_output(r->b, v);
    if (kind == FM_BODY_VAL) return FM_OK;
    if (!loss) return BAD(r, mapping, "training needs 'loss': what backward starts from");
    FM_TRY(fm_find_value(r, loss, false, &v));
    const struct fm_value_info *info = &body->value[v];
    if (info->role != FM_ROLE_RESULT || info->dtype != FM_F32 || fm_shape_numel(&info->shape) != 1)
        return BAD(r, loss, "the loss must be one f32 element that the body computes");
    fm_body_loss(r->b, v);
    status = fm_check_gradients(r, loss);
out:
    return status;
}

/* `mapping` as the body of a kind: validation may be read from training's */
static fm_status read_body(struct fm_reader *r, uint32_t mapping, enum fm_body_kind kind, int64_t batch)
{
    uint32_t steps = get(r, mapping, "steps");
    fm_status status = FM_OK;
    if (!steps || !is_a(r, steps, FM_DOCUMENT_SEQUENCE) || !first_of(r, steps))
        return BAD(r, mapping, "a body needs 'steps': a list of what it does");
    fm_names_clear(&r->values);
    r->known_count = 0;
    r->drops = false;
    for (uint32_t s = first_of(r, steps); s; s = next_of(r, s)) r->drops |= get(r, s, "drop") != FM_DOCUMENT_NOTHING;
    fm_build_body(r->b, kind, batch);
    r->b->drops_given = r->drops;
    status = fm_read_builder_says(r, mapping);
    for (uint32_t s = first_of(r, steps); s && status == FM_OK; s = next_of(r, s)) status = read_statement(r, s);
    return status == FM_OK ? read_end_of_body(r, mapping, kind) : status;
}

/* batch 0: the body is read all the same, so that what is wrong does not depend on what is asked for */
static fm_status read_bodies(struct fm_reader *r, const int64_t batch[FM_BODY_COUNT])
{
    static const char *const keys[] = { "steps", "output", "loss" }, *const names[] = { "training", "validation" };
    uint32_t root = r->document.root, training = get(r, root, "training");
    for (int kind = 0; kind < FM_BODY_COUNT; kind++) {
        uint32_t mapping = get(r, root, names[kind]);
        if (!mapping && !batch[kind]) continue;
        if (!mapping)
            return BAD(r, root, "there is no %s body%s", names[kind],
                       kind == FM_BODY_VAL ? "; write 'validation: as training' if it is the same, without gradients"
                                           : "");
        size_t count = kind == FM_BODY_VAL ? 2 : 3;
        if (kind == FM_BODY_VAL && training && strcmp(text(r, mapping), "as training") == 0) {
            mapping = training;
            count = 3;
        }
        if (!is_a(r, mapping, FM_DOCUMENT_MAPPING))
            return BAD(r, mapping, "a body is a mapping of steps, output%s", kind ? "" : " and loss");
        fm_status status = fm_document_check_keys(&r->document, mapping, keys, count, r->err);
        if (status == FM_OK) status = read_body(r, mapping, (enum fm_body_kind)kind, batch[kind] ? batch[kind] : 1);
        if (status != FM_OK) return status;
    }
    if (!training && !get(r, root, "validation")) return BAD(r, root, "a graph needs a training or a validation body");
    return FM_OK;
}

/* ---- graphs ---- */

static fm_status read_graph(struct fm_reader *r, const int64_t batch[FM_BODY_COUNT])
{
    static const char *const keys[] = { "fillmark_graph", "name", "parameters", "training", "validation" };
    uint32_t root = r->document.root;
    int64_t version = 0;
    const char *name = NULL;
    fm_status status;
    if (!is_a(r, root, FM_DOCUMENT_MAPPING) || !get(r, root, "fillmark_graph"))
        return BAD(r, root, "this is no graph: it must say 'fillmark_graph: 1' (docs/graph-yaml.md)");
    FM_TRY(fm_document_check_keys(&r->document, root, keys, sizeof keys / sizeof keys[0], r->err));
    FM_TRY(fm_read_integer(r, get(r, root, "fillmark_graph"), 1, 1, &version));
    if (!get(r, root, "name")) return BAD(r, root, "a graph needs a name");
    FM_TRY(fm_read_name(r, get(r, root, "name"), FM_NAME_BYTES, &name));
    r->b = fm_build_new(name, r->err);
    if (!r->b) return FM_NOMEM;
    uint32_t parameters = get(r, root, "parameters");
    if (!parameters || !is_a(r, parameters, FM_DOCUMENT_SEQUENCE))
        return BAD(r, parameters ? parameters : root, "a graph needs a list of 'parameters'");
    for (uint32_t p = first_of(r, parameters); p; p = next_of(r, p)) FM_TRY(read_param(r, p));
    status = read_bodies(r, batch);
out:
    return status;
}

static void drop_body(struct fm_graph *graph, enum fm_body_kind kind)
{
    struct fm_body *body = &graph->body[kind];
    fm_free(body->value);
    fm_free(body->node);
    fm_free(body->arg);
    fm_free(body->stmt);
    fm_free(body->block);
    *body = (struct fm_body){ .output = FM_NO_VALUE, .loss = FM_NO_VALUE };
    graph->batch[kind] = 0;
}

fm_status fm_graph_read(const char *path, const char *bytes_text, size_t bytes, const int64_t batch[FM_BODY_COUNT],
                        struct fm_graph *out, struct fm_err *err)
{
    struct fm_reader r = { .err = err };
    struct fm_err own = { 0 };
    *out = (struct fm_graph){ 0 };
    for (int k = 0; k < FM_BODY_COUNT; k++)
        if (batch[k] < 0 || batch[k] > MAX_BATCH)
            return FM_FAIL(err, FM_INVALID, "%s: a batch is from 0 to 2^32", path);
    if (bytes > FM_GRAPH_FILE_BYTES)
        return FM_FAIL(err, FM_INVALID, "%s:1:1: a graph has at most 16 MiB, this has %zu bytes", path, bytes);
    fm_status status = fm_document_parse(&r.document, path, bytes_text, bytes, err);
    if (status == FM_OK) status = read_graph(&r, batch);
    if (status == FM_OK) {
        status = fm_build_finish(r.b, out, &own);
        if (status != FM_OK) (void)FM_FAIL(err, status, "%s: %s", path, own.text);
    }
    for (int k = 0; k < FM_BODY_COUNT && status == FM_OK; k++)
        if (!batch[k]) drop_body(out, (enum fm_body_kind)k);
    fm_build_free(r.b);
    fm_names_release(&r.params);
    fm_names_release(&r.values);
    fm_free(r.known);
    fm_document_release(&r.document);
    return status;
}

fm_status fm_graph_read_file(const char *path, int64_t train_batch, int64_t val_batch, struct fm_graph *out,
                             struct fm_err *err)
{
    *out = (struct fm_graph){ 0 };
    FILE *file = fopen(path, "rb");
    if (!file) return FM_FAIL(err, FM_IO, "%s: %s", path, strerror(errno));
    struct fm_buf content = FM_BUF(FM_GRAPH_FILE_BYTES + 1);
    char part[16384];
    for (size_t n = 1; n && fm_buf_ok(&content) && content.bytes <= FM_GRAPH_FILE_BYTES;) {
        n = fread(part, 1, sizeof part, file);
        if (n > FM_GRAPH_FILE_BYTES + 1 - content.bytes) n = FM_GRAPH_FILE_BYTES + 1 - content.bytes;
        fm_buf_add(&content, part, n);
    }
    fm_status status = FM_OK;
    if (ferror(file))
        status = FM_FAIL(err, FM_IO, "%s: cannot be read", path);
    else if (!fm_buf_ok(&content))
        status = FM_FAIL(err, FM_NOMEM, "reading %s", path);
    (void)fclose(file);
    if (status == FM_OK)
        status = fm_graph_read(path, fm_buf_text(&content), content.bytes, (const int64_t[]){ train_batch, val_batch },
                               out, err);
    fm_buf_release(&content);
    return status;
}
