#include "workloads/graph/graph.h"

#include "tuner/base/memory.h"

#include <string.h>

static const struct fm_op_row rows[] = {
#define OP(op, n, cast, inplace) { .name = #op, .inputs = (n), .autocast = FM_AUTOCAST_##cast, .in_place = (inplace) },
#include "workloads/graph/ops.def"
#undef OP
};

const struct fm_op_row *fm_op_row(enum fm_op op)
{
    return &rows[op];
}

enum fm_op fm_op_parse(const char *name)
{
    int op = 0;
    while (op < FM_OP_COUNT && strcmp(rows[op].name, name) != 0) op++;
    return (enum fm_op)op;
}

int64_t fm_shape_numel(const struct fm_shape *shape)
{
    int64_t n = 1;
    for (uint32_t d = 0; d < shape->ndim; d++) n *= shape->size[d];
    return n;
}

bool fm_shape_equal(const struct fm_shape *a, const struct fm_shape *b)
{
    if (a->ndim != b->ndim) return false;
    for (uint32_t d = 0; d < a->ndim; d++)
        if (a->size[d] != b->size[d]) return false;
    return true;
}

static void body_release(struct fm_body *body)
{
    fm_free(body->value);
    fm_free(body->node);
    fm_free(body->arg);
    fm_free(body->stmt);
    fm_free(body->block);
    *body = (struct fm_body){ 0 };
}

void fm_graph_release(struct fm_graph *graph)
{
    if (!graph) return;
    fm_free(graph->param);
    for (int k = 0; k < FM_BODY_COUNT; k++) body_release(&graph->body[k]);
    *graph = (struct fm_graph){ 0 };
}

int64_t fm_graph_parameters(const struct fm_graph *graph)
{
    int64_t n = 0;
    for (size_t i = 0; i < graph->param_count; i++)
        if (!graph->param[i].buffer) n += fm_shape_numel(&graph->param[i].shape);
    return n;
}

double fm_node_macs(const struct fm_body *body, const struct fm_node *node)
{
    const struct fm_shape *out = &body->value[node->out].shape;
    const fm_value *in = &body->arg[node->in];
    double numel = (double)fm_shape_numel(out);
    switch (node->op) {
    case FM_OP_conv: {
        const struct fm_shape *w = &body->value[in[1]].shape;
        double taps = 1;
        for (uint32_t d = 1; d < w->ndim; d++) taps *= (double)w->size[d];
        return numel * taps;
    }
    case FM_OP_conv_transpose: {
        const struct fm_shape *w = &body->value[in[1]].shape;
        double taps = 1;
        for (uint32_t d = 1; d < w->ndim; d++) taps *= (double)w->size[d];
        return (double)fm_shape_numel(&body->value[in[0]].shape) * taps;
    }
    case FM_OP_linear:
        return numel * (double)body->value[in[1]].shape.size[1];
    case FM_OP_matmul: {
        const struct fm_shape *a = &body->value[in[0]].shape;
        return numel * (double)a->size[a->ndim - 1];
    }
    case FM_OP_sdpa:
        return 2 * numel * (double)body->value[in[1]].shape.size[2];
    default:
        return 0;
    }
}

double fm_graph_macs(const struct fm_graph *graph)
{
    const struct fm_body *body = &graph->body[FM_BODY_TRAIN];
    double macs = 0;
    for (size_t i = 0; i < body->node_count; i++) macs += fm_node_macs(body, &body->node[i]);
    return macs;
}
