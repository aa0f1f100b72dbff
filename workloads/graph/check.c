/* What the lowering relies on, checked for graphs that were read and for graphs that were built. */
#include "workloads/graph/graph.h"

#include "tuner/base/memory.h"

enum { UNWRITTEN, ALIVE, DROPPED };

struct check {
    const struct fm_graph *graph;
    const struct fm_body *body;
    const char *where;              /* "training" or "validation" */
    uint8_t *state;                 /* per value */
    struct fm_err *err;
};

#define BAD(c, ...) FM_FAIL((c)->err, FM_INVALID, __VA_ARGS__)

static fm_status check_node(struct check *c, uint32_t index)
{
    const struct fm_body *body = c->body;
    if (index >= body->node_count) return BAD(c, "%s: a statement names operator %u of %zu", c->where, index, body->node_count);
    const struct fm_node *node = &body->node[index];
    if (node->op >= FM_OP_COUNT || node->out >= body->value_count || (size_t)node->in + node->n_in > body->arg_count)
        return BAD(c, "%s: operator %u (%s) is malformed", c->where, index, node->name);
    for (uint32_t i = 0; i < node->n_in; i++) {
        fm_value v = body->arg[node->in + i];
        if (v >= body->value_count) return BAD(c, "%s: %s reads value %u of %zu", c->where, node->name, v, body->value_count);
        if (c->state[v] != ALIVE)
            return BAD(c, "%s: %s reads a value that is %s", c->where, node->name,
                       c->state[v] == DROPPED ? "already dropped; drop it later" : "not made yet");
    }
    const struct fm_value_info *out = &body->value[node->out];
    if (c->state[node->out] != UNWRITTEN) return BAD(c, "%s: %s writes a value a second time", c->where, node->name);
    struct fm_value_info want;
    fm_status status = fm_infer(c->graph, body, node, &want, c->err);
    if (status != FM_OK) return status;
    if (out->role != FM_ROLE_RESULT || out->index != index || out->dtype != want.dtype || out->alias != want.alias ||
        !fm_shape_equal(&out->shape, &want.shape))
        return BAD(c, "%s: the result of %s is not what its inputs give", c->where, node->name);
    c->state[node->out] = ALIVE;
    return FM_OK;
}

static fm_status check_body(struct check *c)
{
    const struct fm_body *body = c->body;
    for (size_t v = 0; v < body->value_count; v++) {
        const struct fm_value_info *info = &body->value[v];
        if (info->role != FM_ROLE_PARAM) continue;
        if (info->index >= c->graph->param_count) return BAD(c, "%s: value %zu names no parameter", c->where, v);
        const struct fm_param *p = &c->graph->param[info->index];
        if (p->dtype != info->dtype || !fm_shape_equal(&p->shape, &info->shape))
            return BAD(c, "%s: parameter %s has another shape where it is used", c->where, p->name);
        c->state[v] = ALIVE;
    }
    uint32_t open = FM_NO_VALUE;
    for (size_t s = 0; s < body->stmt_count; s++) {
        const struct fm_stmt *stmt = &body->stmt[s];
        switch (stmt->kind) {
        case FM_STMT_OP: {
            fm_status status = check_node(c, stmt->a);
            if (status != FM_OK) return status;
            break;
        }
        case FM_STMT_DROP:
            if (stmt->a >= body->value_count || c->state[stmt->a] != ALIVE || body->value[stmt->a].role == FM_ROLE_PARAM)
                return BAD(c, "%s: statement %zu drops what is not alive", c->where, s);
            c->state[stmt->a] = DROPPED;
            break;
        case FM_STMT_BIND:
            if (stmt->a >= body->loop_variable_count || stmt->b >= body->value_count || c->state[stmt->b] != ALIVE)
                return BAD(c, "%s: statement %zu binds what is not alive", c->where, s);
            break;
        case FM_STMT_BLOCK_BEGIN:
            if (open != FM_NO_VALUE || stmt->a >= body->block_count || body->block[stmt->a].first != s)
                return BAD(c, "%s: blocks must not nest and must name their statements", c->where);
            open = stmt->a;
            break;
        case FM_STMT_BLOCK_END:
            if (open != stmt->a || body->block[open].last != s || body->block[open].result >= body->value_count ||
                c->state[body->block[open].result] != ALIVE)
                return BAD(c, "%s: block %u ends without a result that is alive", c->where, stmt->a);
            open = FM_NO_VALUE;
            break;
        }
    }
    if (open != FM_NO_VALUE) return BAD(c, "%s: block %s never ends", c->where, body->block[open].name);
    for (size_t v = 0; v < body->value_count; v++)
        if (body->value[v].role == FM_ROLE_RESULT && c->state[v] != DROPPED)
            return BAD(c, "%s: value %zu is never dropped", c->where, v);
    return FM_OK;
}

fm_status fm_graph_check(const struct fm_graph *graph, struct fm_err *err)
{
    for (size_t i = 0; i < graph->param_count; i++) {
        const struct fm_param *p = &graph->param[i];
        double numel = 1;
        for (uint32_t d = 0; d < p->shape.ndim && d < FM_RANK; d++) numel *= (double)p->shape.size[d];
        if (p->shape.ndim > FM_RANK || !(numel >= 1) || numel > (double)FM_GRAPH_MAX_NUMEL)
            return FM_FAIL(err, FM_INVALID, "parameter %s: between 1 and 2^45 elements, please", p->name);
    }
    for (int k = 0; k < FM_BODY_COUNT; k++) {
        struct check c = { .graph = graph, .body = &graph->body[k], .err = err, .where = k ? "validation" : "training" };
        if (!c.body->stmt_count) continue;
        c.state = fm_calloc(c.body->value_count + 1, 1);
        if (!c.state) return FM_FAIL(err, FM_NOMEM, "checking graph %s", graph->name);
        fm_status status = check_body(&c);
        fm_free(c.state);
        if (status != FM_OK) return status;
        fm_value loss = c.body->loss;
        if (k == FM_BODY_TRAIN && (loss >= c.body->value_count || fm_shape_numel(&c.body->value[loss].shape) != 1))
            return BAD(&c, "training: the loss must be one element");
    }
    return FM_OK;
}
