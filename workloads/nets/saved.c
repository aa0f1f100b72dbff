/* What autograd keeps of a training body in fp32: one rule an operator, every storage counted once. */
#include "workloads/nets/layers.h"

#include "tuner/base/memory.h"

struct count {
    const struct fm_body *body;
    fm_value *root; /* per value: the one whose storage it shares */
    uint8_t *grad;  /* per value: needs a gradient */
    uint8_t *saved; /* per root */
};

static bool is_view(enum fm_op op)
{
    return op == FM_OP_reshape || op == FM_OP_transpose || op == FM_OP_permute;
}

static void save(struct count *c, fm_value v)
{
    const struct fm_value_info *info = &c->body->value[c->root[v]];
    /* parameters live anyway; one number a sample or a channel is a statistic */
    if (info->role != FM_ROLE_PARAM && info->shape.ndim > 2) c->saved[c->root[v]] = 1;
}

/* what the gradient of one factor needs is the other factor */
static void save_factors(struct count *c, const fm_value *in)
{
    if (c->grad[in[1]]) save(c, in[0]);
    if (c->grad[in[0]]) save(c, in[1]);
}

static void save_for(struct count *c, const struct fm_node *node)
{
    const fm_value *in = &c->body->arg[node->in];
    switch (node->op) {
    case FM_OP_conv:
    case FM_OP_conv_transpose:
    case FM_OP_linear:
    case FM_OP_batch_norm:
    case FM_OP_group_norm:
    case FM_OP_layer_norm:
    case FM_OP_gelu:
    case FM_OP_silu:
    case FM_OP_leaky_relu:
    case FM_OP_log: save(c, in[0]); break;
    case FM_OP_relu:
    case FM_OP_relu_:
    case FM_OP_leaky_relu_:
    case FM_OP_softmax:
    case FM_OP_log_softmax: save(c, node->out); break;
    case FM_OP_matmul:
    case FM_OP_mul: save_factors(c, in); break;
    case FM_OP_div:
        save(c, in[1]);
        if (c->grad[in[1]]) save(c, in[0]);
        break;
    case FM_OP_sdpa: /* one number a query, its log-sum-exp, is a statistic */
        for (uint32_t i = 0; i < 3; i++) save(c, in[i]);
        save(c, node->out);
        break;
    case FM_OP_nll_loss:
        save(c, in[0]);
        save(c, in[1]);
        break;
    default: break;
    }
}

static int64_t count_body(const struct fm_graph *graph, struct count *c)
{
    const struct fm_body *body = c->body;
    for (size_t v = 0; v < body->value_count; v++) {
        const struct fm_value_info *info = &body->value[v];
        c->root[v] = (fm_value)v;
        c->grad[v] = info->role == FM_ROLE_PARAM && !graph->param[info->index].buffer;
    }
    for (size_t i = 0; i < body->node_count; i++) {
        const struct fm_node *node = &body->node[i];
        bool wanted = false;
        for (uint32_t k = 0; k < node->n_in; k++) wanted |= c->grad[body->arg[node->in + k]];
        c->grad[node->out] = wanted && body->value[node->out].dtype == FM_F32;
        if (node->n_in && (is_view(node->op) || fm_op_row(node->op)->in_place))
            c->root[node->out] = c->root[body->arg[node->in]];
        if (c->grad[node->out]) save_for(c, node);
    }
    int64_t bytes = 0;
    for (size_t v = 0; v < body->value_count; v++)
        if (c->saved[v]) bytes += fm_shape_numel(&body->value[v].shape) * fm_dtype_bytes(body->value[v].dtype);
    return bytes;
}

int64_t fm_saved_bytes(const struct fm_graph *graph)
{
    struct count c = { .body = &graph->body[FM_BODY_TRAIN] };
    size_t n = c.body->value_count + 1;
    c.root = fm_calloc(n, sizeof *c.root);
    c.grad = fm_calloc(n, 1);
    c.saved = fm_calloc(n, 1);
    int64_t bytes = c.root && c.grad && c.saved ? count_body(graph, &c) : -1;
    fm_free(c.root);
    fm_free(c.grad);
    fm_free(c.saved);
    return bytes;
}
