#include "workloads/graph/build_internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void fm_build_fail(struct fm_build *b, const char *format, ...)
{
    if (b->err.status != FM_OK) return;
    va_list args;
    char text[FM_ERR_TEXT_BYTES];
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)FM_FAIL(&b->err, FM_INVALID, "%s", text);
}

void *fm_build_append(struct fm_build *b, void *array, size_t *count, size_t *room, size_t item_bytes)
{
    void **items = array;
    if (fm_build_broken(b)) return NULL;
    if (*count >= FM_GRAPH_MAX_NODES * 4) {
        fm_build_fail(b, "%s: more than %d operators", b->graph.name, FM_GRAPH_MAX_NODES);
        return NULL;
    }
    void *grown = fm_grow(*items, room, *count + 1, item_bytes);
    if (!grown) {
        (void)FM_FAIL(&b->err, FM_NOMEM, "graph %s", b->graph.name);
        return NULL;
    }
    *items = grown;
    char *slot = (char *)grown + *count * item_bytes;
    memset(slot, 0, item_bytes);
    (*count)++;
    return slot;
}

struct fm_name fm_name(const char *format, ...)
{
    struct fm_name name;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(name.text, sizeof name.text, format, args);
    va_end(args);
    return name;
}

/* networks have thousands of parts: a printf for each takes a good part of a graph's time */
struct fm_name fm_part(const char *owner, const char *part)
{
    struct fm_name name;
    size_t bytes = fm_text_copy(name.text, sizeof name.text, owner);
    if (bytes + 1 < sizeof name.text) {
        name.text[bytes] = '.';
        (void)fm_text_copy(name.text + bytes + 1, sizeof name.text - bytes - 1, part);
    }
    return name;
}

struct fm_build *fm_build_new(const char *name, struct fm_err *err)
{
    struct fm_build *b = fm_calloc(1, sizeof *b);
    if (!b) {
        (void)FM_FAIL(err, FM_NOMEM, "graph %s", name);
        return NULL;
    }
    (void)snprintf(b->graph.name, sizeof b->graph.name, "%s", name);
    return b;
}

void fm_build_free(struct fm_build *b)
{
    if (!b) return;
    fm_graph_release(&b->graph);
    fm_free(b->last_use);
    fm_free(b->hold_end);
    fm_free(b->param_value);
    fm_free(b);
}

bool fm_build_training(const struct fm_build *b) { return b->kind == FM_BODY_TRAIN; }
int64_t fm_build_batch(const struct fm_build *b) { return b->graph.batch[b->kind]; }

struct fm_shape fm_shape_of(const struct fm_build *b, fm_value x)
{
    return fm_build_broken(b) || x == FM_NO_VALUE ? (struct fm_shape){ 0 } : b->body->value[x].shape;
}

static void stmt(struct fm_build *b, enum fm_stmt_kind kind, uint32_t a, uint32_t c)
{
    struct fm_stmt *s = fm_build_append(b, &b->body->stmt, &b->body->stmt_count, &b->body->stmt_room, sizeof *s);
    if (s) *s = (struct fm_stmt){ .kind = kind, .a = a, .b = c };
}

static fm_value new_value(struct fm_build *b, struct fm_value_info info)
{
    struct fm_body *body = b->body;
    size_t n = body->value_count;
    uint32_t *last = fm_build_broken(b) ? NULL : fm_grow(b->last_use, &b->last_use_room, n + 1, sizeof *last);
    if (last) b->last_use = last;
    uint32_t *hold = !last ? NULL : fm_grow(b->hold_end, &b->hold_end_room, n + 1, sizeof *hold);
    if (hold) b->hold_end = hold;
    if (!hold && !fm_build_broken(b)) (void)FM_FAIL(&b->err, FM_NOMEM, "graph %s", b->graph.name);
    struct fm_value_info *slot = fm_build_append(b, &body->value, &body->value_count, &body->value_room, sizeof *slot);
    if (!slot) return FM_NO_VALUE;
    *slot = info;
    b->last_use[n] = b->hold_end[n] = (uint32_t)body->stmt_count;
    return (fm_value)n;
}

static void close_body(struct fm_build *b);

void fm_build_body(struct fm_build *b, enum fm_body_kind kind, int64_t batch)
{
    close_body(b);
    b->kind = kind;
    b->body = &b->graph.body[kind];
    b->graph.batch[kind] = batch;
    b->body->output = b->body->loss = FM_NO_VALUE;
    if (batch < 1) fm_build_fail(b, "%s: batch must be at least 1", b->graph.name);
    fm_value *map = fm_build_broken(b) ? NULL : fm_grow(b->param_value, &b->param_value_room, b->graph.param_count + 1, sizeof *map);
    if (!map) {
        if (!fm_build_broken(b)) (void)FM_FAIL(&b->err, FM_NOMEM, "graph %s", b->graph.name);
        return;
    }
    b->param_value = map;
    for (size_t i = 0; i <= b->graph.param_count; i++) map[i] = FM_NO_VALUE;
}

fm_value fm_build_param(struct fm_build *b, uint32_t param)
{
    if (fm_build_broken(b)) return FM_NO_VALUE;
    if (b->param_value[param] == FM_NO_VALUE) {
        const struct fm_param *p = &b->graph.param[param];
        b->param_value[param] = new_value(b, (struct fm_value_info){
            .shape = p->shape, .dtype = p->dtype, .role = FM_ROLE_PARAM, .index = param, .alias = FM_NO_VALUE });
    }
    return b->param_value[param];
}

fm_value fm_build_emit(struct fm_build *b, enum fm_op op, const char *name, const fm_value *in, uint32_t n_in,
                       const struct fm_op_attr *attr)
{
    if (fm_build_broken(b)) return FM_NO_VALUE;
    struct fm_body *body = b->body;
    struct fm_node node = { .op = op, .in = (uint32_t)body->arg_count, .n_in = n_in, .attr = *attr };
    (void)fm_text_copy(node.name, sizeof node.name, name);
    for (uint32_t i = 0; i < n_in; i++) {
        if (in[i] == FM_NO_VALUE) fm_build_fail(b, "%s: input %u is missing", name, i);
        fm_value *arg = fm_build_append(b, &body->arg, &body->arg_count, &body->arg_room, sizeof *arg);
        if (!arg) return FM_NO_VALUE;
        *arg = in[i];
    }
    struct fm_value_info info;
    if (fm_infer(&b->graph, body, &node, &info, &b->err) != FM_OK) return FM_NO_VALUE;
    info.index = (uint32_t)body->node_count;
    node.out = (fm_value)body->value_count;
    struct fm_node *slot = fm_build_append(b, &body->node, &body->node_count, &body->node_room, sizeof *slot);
    if (!slot) return FM_NO_VALUE;
    *slot = node;
    stmt(b, FM_STMT_OP, (uint32_t)body->node_count - 1, 0);
    for (uint32_t i = 0; i < n_in && !fm_build_broken(b); i++) b->last_use[in[i]] = (uint32_t)body->stmt_count;
    return new_value(b, info);
}

/* ---- lifetimes ---- */

void fm_scope_begin(struct fm_build *b, const fm_value *argument, uint32_t n)
{
    if (b->scope_count == MAX_SCOPES) {
        fm_build_fail(b, "%s: scopes nest deeper than %d", b->graph.name, MAX_SCOPES);
        return;
    }
    b->scope_first[b->scope_count++] = b->held_count;
    for (uint32_t i = 0; i < n; i++) fm_hold(b, argument[i]);
    b->scope_locals[b->scope_count - 1] = b->held_count;
}

void fm_hold(struct fm_build *b, fm_value x)
{
    if (fm_build_broken(b) || x == FM_NO_VALUE) return;
    if (b->held_count == MAX_HELD || !b->scope_count) {
        fm_build_fail(b, "%s: a hold needs an open scope and at most %d values held", b->graph.name, MAX_HELD);
        return;
    }
    b->held[b->held_count++] = x;
}

static void held_until_now(struct fm_build *b, fm_value x)
{
    uint32_t now = (uint32_t)b->body->stmt_count;
    if (b->hold_end[x] < now) b->hold_end[x] = now;
}

void fm_scope_end(struct fm_build *b)
{
    if (!b->scope_count) return;
    uint32_t first = b->scope_first[--b->scope_count];
    if (!fm_build_broken(b))
        for (uint32_t i = first; i < b->held_count; i++) held_until_now(b, b->held[i]);
    b->held_count = first;
}

void fm_rebind(struct fm_build *b, fm_value *variable, fm_value x)
{
    if (fm_build_broken(b)) return;
    if (*variable != FM_NO_VALUE && b->scope_count) {
        held_until_now(b, *variable);
        for (uint32_t i = b->held_count; i-- > b->scope_locals[b->scope_count - 1];) {      /* the call keeps its arguments */
            if (b->held[i] != *variable) continue;
            b->held[i] = x;
            *variable = x;
            return;
        }
    }
    *variable = x;
    fm_hold(b, x);
}

void fm_bind_loop(struct fm_build *b, const char *variable, fm_value x)
{
    if (fm_build_broken(b)) return;
    struct fm_body *body = b->body;
    uint32_t i = 0;
    while (i < body->loop_variable_count && strcmp(body->loop_variable[i], variable) != 0) i++;
    if (i == FM_MAX_LOOP_VARIABLES) {
        fm_build_fail(b, "%s: more than %d loop variables", b->graph.name, FM_MAX_LOOP_VARIABLES);
        return;
    }
    if (i == body->loop_variable_count) {
        (void)snprintf(body->loop_variable[i], FM_NAME_BYTES, "%s", variable);
        body->loop_variable_count++;
    }
    held_until_now(b, x);
    stmt(b, FM_STMT_BIND, i, x);
    held_until_now(b, x);
}

void fm_block_begin(struct fm_build *b, const char *format, ...)
{
    if (fm_build_broken(b)) return;
    if (b->in_block) fm_build_fail(b, "%s: blocks do not nest", b->graph.name);
    struct fm_body *body = b->body;
    struct fm_block *block = fm_build_append(b, &body->block, &body->block_count, &body->block_room, sizeof *block);
    if (!block) return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(block->name, sizeof block->name, format, args);
    va_end(args);
    b->in_block = true;
    stmt(b, FM_STMT_BLOCK_BEGIN, (uint32_t)body->block_count - 1, 0);
}

fm_value fm_block_end(struct fm_build *b, fm_value result)
{
    if (fm_build_broken(b)) return FM_NO_VALUE;
    b->in_block = false;
    b->body->block[b->body->block_count - 1].result = result;
    stmt(b, FM_STMT_BLOCK_END, (uint32_t)b->body->block_count - 1, 0);
    held_until_now(b, result);
    return result;
}

void fm_body_output(struct fm_build *b, fm_value logits) { if (!fm_build_broken(b)) b->body->output = logits; }
void fm_body_loss(struct fm_build *b, fm_value loss) { if (!fm_build_broken(b)) b->body->loss = loss; }

/* whether a DROP is still to be placed: parameters live on */
static bool wants_drop(const struct fm_build *b, const struct fm_body *body, size_t v)
{
    return body->value[v].role == FM_ROLE_RESULT && !b->drops_given;
}

/* Puts a DROP after each value's last use or hold, whichever is later, and notes where blocks begin and end. */
static void place_drops(struct fm_build *b, struct fm_body *body)
{
    size_t drops = 0;
    for (size_t v = 0; v < body->value_count; v++) drops += wants_drop(b, body, v);
    size_t total = body->stmt_count + drops, room = 0;
    struct fm_stmt *all = fm_grow(NULL, &room, total + 1, sizeof *all);
    uint32_t *head = fm_calloc(body->stmt_count + 1, sizeof *head);         /* values dying at a statement, as a list */
    uint32_t *next = fm_calloc(body->value_count + 1, sizeof *next);
    if (!all || !head || !next) {
        (void)FM_FAIL(&b->err, FM_NOMEM, "graph %s", b->graph.name);
    } else {
        for (size_t v = body->value_count; v-- > 0;) {
            if (!wants_drop(b, body, v)) continue;
            uint32_t at = b->last_use[v] > b->hold_end[v] ? b->last_use[v] : b->hold_end[v];
            next[v] = head[at];
            head[at] = (uint32_t)v + 1;
        }
        size_t n = 0;
        for (size_t s = 0; s <= body->stmt_count; s++) {
            for (uint32_t v = head[s]; v; v = next[v - 1]) all[n++] = (struct fm_stmt){ .kind = FM_STMT_DROP, .a = v - 1 };
            if (s == body->stmt_count) break;
            const struct fm_stmt *old = &body->stmt[s];
            if (old->kind == FM_STMT_BLOCK_BEGIN) body->block[old->a].first = (uint32_t)n;
            if (old->kind == FM_STMT_BLOCK_END) body->block[old->a].last = (uint32_t)n;
            all[n++] = *old;
        }
        fm_free(body->stmt);
        body->stmt = all;
        body->stmt_count = n;
        body->stmt_room = room;
        all = NULL;
    }
    fm_free(all);
    fm_free(head);
    fm_free(next);
}

/* closes the body being traced; called before the next one starts and at the end */
static void close_body(struct fm_build *b)
{
    if (!b->body || fm_build_broken(b)) return;
    if (b->scope_count || b->in_block) fm_build_fail(b, "%s: a scope or block is still open", b->graph.name);
    if (!fm_build_broken(b)) place_drops(b, b->body);
    b->body = NULL;
}

fm_status fm_build_finish(struct fm_build *b, struct fm_graph *out, struct fm_err *err)
{
    close_body(b);
    *out = (struct fm_graph){ 0 };
    if (fm_build_broken(b)) return FM_FAIL(err, b->err.status, "%s", b->err.text);
    fm_status status = fm_graph_check(&b->graph, err);
    if (status != FM_OK) return status;
    *out = b->graph;
    b->graph = (struct fm_graph){ 0 };
    return FM_OK;
}
