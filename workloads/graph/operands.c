#include "workloads/graph/operands.h"

#include <string.h>

#define MAX_KERNEL 16384
#define MAX_JOINED 64

#define BAD(c, ...) FM_FAIL((c)->err, FM_INVALID, __VA_ARGS__)

struct check {
    const struct fm_graph *graph;
    const struct fm_body *body;
    const struct fm_node *node;
    struct fm_err *err;
};

/* a letter an input, the last for all that follow: f32, i64, bool, n: f32 or i64, *: any */
static const struct rule {
    uint32_t most;
    const char *dtypes;
} rules[FM_OP_COUNT] = {
    [FM_OP_input] = { 0, "*" },
    [FM_OP_conv] = { 3, "f" },
    [FM_OP_conv_transpose] = { 3, "f" },
    [FM_OP_linear] = { 3, "f" },
    [FM_OP_matmul] = { 2, "f" },
    [FM_OP_sdpa] = { 3, "f" },
    [FM_OP_batch_norm] = { 6, "fffffi" },
    [FM_OP_group_norm] = { 3, "f" },
    [FM_OP_layer_norm] = { 3, "f" },
    [FM_OP_relu] = { 1, "f" },
    [FM_OP_relu_] = { 1, "f" },
    [FM_OP_leaky_relu] = { 1, "f" },
    [FM_OP_leaky_relu_] = { 1, "f" },
    [FM_OP_gelu] = { 1, "f" },
    [FM_OP_silu] = { 1, "f" },
    [FM_OP_dropout] = { 1, "f" },
    [FM_OP_drop_path] = { 1, "f" },
    [FM_OP_softmax] = { 1, "f" },
    [FM_OP_log_softmax] = { 1, "f" },
    [FM_OP_nll_loss] = { 3, "fif" },
    [FM_OP_interpolate] = { 1, "f" },
    [FM_OP_cat] = { MAX_JOINED, "*" },
    [FM_OP_stack] = { MAX_JOINED, "*" },
    [FM_OP_add] = { 2, "n" },
    [FM_OP_sub] = { 2, "n" },
    [FM_OP_mul] = { 2, "n" },
    [FM_OP_div] = { 2, "f" },
    [FM_OP_add_] = { 2, "n" },
    [FM_OP_affine] = { 1, "f" },
    [FM_OP_log] = { 1, "f" },
    [FM_OP_sum] = { 1, "*" },
    [FM_OP_mean] = { 1, "f" },
    [FM_OP_reshape] = { 1, "*" },
    [FM_OP_transpose] = { 1, "*" },
    [FM_OP_permute] = { 1, "*" },
    [FM_OP_clone] = { 1, "*" },
    [FM_OP_one_hot] = { 1, "i" },
    [FM_OP_argmax] = { 1, "f" },
    [FM_OP_equal_scalar] = { 1, "n" },
    [FM_OP_equal] = { 2, "n" },
    [FM_OP_logical_and] = { 2, "b" },
    [FM_OP_logical_or] = { 2, "b" },
};

static const struct fm_value_info *input(const struct check *c, uint32_t i)
{
    return &c->body->value[c->body->arg[c->node->in + i]];
}

static fm_status check_dtype(const struct check *c, uint32_t i, char letter)
{
    enum fm_dtype dtype = input(c, i)->dtype;
    bool fits = letter == '*' || (letter == 'f' && dtype == FM_F32) || (letter == 'i' && dtype == FM_I64) ||
                (letter == 'b' && dtype == FM_BOOL) || (letter == 'n' && dtype != FM_BOOL);
    const char *want = letter == 'f' ? "f32" : letter == 'i' ? "i64" : letter == 'b' ? "bool" : "f32 or i64";
    if (!fits)
        return BAD(c, "%s: input %u of %s must be %s, not %s", c->node->name, i, fm_op_row(c->node->op)->name, want,
                   fm_dtype_name(dtype));
    return FM_OK;
}

/* input i is there: a vector of n elements */
static fm_status check_vector(const struct check *c, uint32_t i, int64_t n)
{
    const struct fm_shape *x = &input(c, i)->shape;
    if (x->ndim != 1 || x->size[0] != n)
        return BAD(c, "%s: input %u of %s must be a vector of %lld elements", c->node->name, i,
                   fm_op_row(c->node->op)->name, (long long)n);
    return FM_OK;
}

static fm_status check_conv(const struct check *c)
{
    const struct fm_op_attr *a = &c->node->attr;
    const struct fm_shape *w = &input(c, 1)->shape;
    bool transposed = c->node->op == FM_OP_conv_transpose;
    if (w->ndim < 4 || w->ndim > 5) return FM_OK; /* the shape rule says so */
    for (uint32_t d = 2; d < w->ndim; d++)
        if (w->size[d] > MAX_KERNEL || a->kernel[d - 2] != w->size[d])
            return BAD(c, "%s: a kernel is as large as its weight and has at most %d taps a dimension", c->node->name,
                       MAX_KERNEL);
    if (a->groups < 1 || w->size[0] % a->groups)
        return BAD(c, "%s: %d groups do not divide the weight's %lld channels", c->node->name, a->groups,
                   (long long)w->size[0]);
    return c->node->n_in > 2 ? check_vector(c, 2, transposed ? w->size[1] * a->groups : w->size[0]) : FM_OK;
}

static fm_status check_norm(const struct check *c)
{
    int64_t channels = fm_shape_numel(&input(c, 1)->shape);
    for (uint32_t i = 1; i < c->node->n_in && i < 5; i++) {
        fm_status status = check_vector(c, i, channels);
        if (status != FM_OK) return status;
    }
    for (uint32_t i = 3; i < c->node->n_in; i++) { /* written in training */
        const struct fm_value_info *info = input(c, i);
        if (info->role != FM_ROLE_PARAM || !c->graph->param[info->index].buffer)
            return BAD(c, "%s: input %u of %s must be a buffer", c->node->name, i, fm_op_row(c->node->op)->name);
    }
    if (c->node->n_in > 5 && fm_shape_numel(&input(c, 5)->shape) != 1)
        return BAD(c, "%s: input 5 of batch_norm counts: one element", c->node->name);
    return FM_OK;
}

static fm_status check_joined(const struct check *c)
{
    for (uint32_t i = 1; i < c->node->n_in; i++)
        if (input(c, i)->dtype != input(c, 0)->dtype)
            return BAD(c, "%s: input %u has another dtype than the first", c->node->name, i);
    return FM_OK;
}

static fm_status check_sizes(const struct check *c)
{
    switch (c->node->op) {
    case FM_OP_conv:
    case FM_OP_conv_transpose: return check_conv(c);
    case FM_OP_linear: return c->node->n_in > 2 ? check_vector(c, 2, input(c, 1)->shape.size[0]) : FM_OK;
    case FM_OP_batch_norm:
    case FM_OP_group_norm:
    case FM_OP_layer_norm: return check_norm(c);
    case FM_OP_nll_loss: return c->node->n_in > 2 ? check_vector(c, 2, input(c, 0)->shape.size[1]) : FM_OK;
    case FM_OP_cat:
    case FM_OP_stack:
    case FM_OP_equal: return check_joined(c);
    default: return FM_OK;
    }
}

fm_status fm_operands_check(const struct fm_graph *graph, const struct fm_body *body, const struct fm_node *node,
                            struct fm_err *err)
{
    struct check c = { .graph = graph, .body = body, .node = node, .err = err };
    const struct fm_op_row *row = fm_op_row(node->op);
    const struct rule *rule = &rules[node->op];
    if (node->n_in < row->inputs || node->n_in > rule->most)
        return BAD(&c, "%s: %s takes %u to %u inputs, not %u", node->name, row->name, row->inputs, rule->most,
                   node->n_in);
    size_t letters = strlen(rule->dtypes);
    for (uint32_t i = 0; i < node->n_in; i++) {
        fm_status status = check_dtype(&c, i, rule->dtypes[i < letters ? i : letters - 1]);
        if (status != FM_OK) return status;
    }
    if (row->in_place && input(&c, 0)->role == FM_ROLE_PARAM)
        return BAD(&c, "%s: a parameter is not changed in place", node->name);
    if (node->op == FM_OP_add_ && input(&c, 0)->dtype != FM_F32 && input(&c, 1)->dtype == FM_F32)
        return BAD(&c, "%s: whole numbers cannot take f32 in place", node->name);
    return check_sizes(&c);
}
