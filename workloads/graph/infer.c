/* Shape inference, one rule an op. */
#include "workloads/graph/operands.h"

#include <string.h>

struct infer {
    const struct fm_graph *graph;
    const struct fm_body *body;
    const struct fm_node *node;
    const struct fm_shape *in[4];       /* the first inputs' shapes */
    enum fm_dtype dtype[4];
    struct fm_value_info *out;
    struct fm_err *err;
};

#define BAD(c, ...) FM_FAIL((c)->err, FM_INVALID, __VA_ARGS__)

static fm_status same_as_first(struct infer *c)
{
    c->out->shape = *c->in[0];
    c->out->dtype = c->dtype[0];
    return FM_OK;
}

static fm_status infer_conv(struct infer *c)
{
    const struct fm_op_attr *a = &c->node->attr;
    const struct fm_shape *x = c->in[0], *w = c->in[1];
    bool transposed = c->node->op == FM_OP_conv_transpose;
    if (x->ndim < 4 || x->ndim > 5 || w->ndim != x->ndim)
        return BAD(c, "%s: conv takes (B, C, H, W) or (B, C, D, H, W) and a weight of as many dimensions", c->node->name);
    if (a->groups < 1) return BAD(c, "%s: groups must be at least 1", c->node->name);
    int64_t channels = transposed ? w->size[0] : w->size[1] * a->groups;
    if (x->size[1] != channels)
        return BAD(c, "%s: the input has %lld channels, the weight wants %lld", c->node->name, (long long)x->size[1],
                   (long long)channels);
    struct fm_shape *y = &c->out->shape;
    *y = (struct fm_shape){ .ndim = x->ndim };
    y->size[0] = x->size[0];
    y->size[1] = transposed ? w->size[1] * a->groups : w->size[0];
    for (uint32_t d = 0; d + 2 < x->ndim; d++) {
        int64_t in = x->size[d + 2], k = w->size[d + 2];
        if (a->stride[d] < 1 || a->dilation[d] < 1 || a->padding[d] < 0)
            return BAD(c, "%s: stride and dilation must be at least 1, padding at least 0", c->node->name);
        int64_t reach = (int64_t)a->dilation[d] * (k - 1) + 1;
        int64_t size = transposed ? (in - 1) * a->stride[d] - 2 * (int64_t)a->padding[d] + reach
                                  : (in + 2 * (int64_t)a->padding[d] - reach) / a->stride[d] + 1;
        if (size < 1 || (!transposed && in + 2 * (int64_t)a->padding[d] < reach))
            return BAD(c, "%s: nothing is left of dimension %u (size %lld, kernel %lld); use a larger input or fewer levels",
                       c->node->name, d + 2, (long long)in, (long long)k);
        y->size[d + 2] = size;
    }
    c->out->dtype = c->dtype[0];
    return FM_OK;
}

static fm_status infer_linear(struct infer *c)
{
    const struct fm_shape *x = c->in[0], *w = c->in[1];
    if (x->ndim < 2 || w->ndim != 2 || x->size[x->ndim - 1] != w->size[1])
        return BAD(c, "%s: linear takes (.., K) and a weight (O, K)", c->node->name);
    c->out->shape = *x;
    c->out->shape.size[x->ndim - 1] = w->size[0];
    c->out->dtype = c->dtype[0];
    return FM_OK;
}

static fm_status infer_matmul(struct infer *c)
{
    const struct fm_shape *a = c->in[0], *b = c->in[1];
    uint32_t n = a->ndim;
    bool fits = n >= 2 && b->ndim == n && a->size[n - 1] == b->size[n - 2];
    for (uint32_t d = 0; fits && d + 2 < n; d++) fits = a->size[d] == b->size[d];
    if (!fits) return BAD(c, "%s: matmul takes (.., M, K) and (.., K, N) with equal leading sizes", c->node->name);
    c->out->shape = *a;
    c->out->shape.size[n - 1] = b->size[n - 1];
    c->out->dtype = c->dtype[0];
    return FM_OK;
}

static fm_status infer_sdpa(struct infer *c)
{
    const struct fm_shape *q = c->in[0], *k = c->in[1], *v = c->in[2];
    bool fits = q->ndim == 4 && k->ndim == 4 && fm_shape_equal(k, v) && q->size[0] == k->size[0] &&
                q->size[1] == k->size[1] && q->size[3] == k->size[3];
    if (!fits)
        return BAD(c, "%s: sdpa takes q (B, H, L, D), k and v (B, H, M, D)", c->node->name);
    return same_as_first(c);
}

static fm_status infer_norm(struct infer *c)
{
    const struct fm_shape *x = c->in[0];
    uint32_t dim = c->node->op == FM_OP_layer_norm ? x->ndim - 1 : 1;
    if (x->ndim < 2 || fm_shape_numel(c->in[1]) != x->size[dim])
        return BAD(c, "%s: the input's dimension %u must have as many elements as the weight", c->node->name, dim);
    if (c->node->op == FM_OP_group_norm && (c->node->attr.groups < 1 || x->size[1] % c->node->attr.groups))
        return BAD(c, "%s: %lld channels do not divide into %d groups", c->node->name, (long long)x->size[1],
                   c->node->attr.groups);
    return same_as_first(c);
}

static fm_status infer_nll(struct infer *c)
{
    const struct fm_shape *x = c->in[0], *t = c->in[1];
    bool fits = x->ndim == t->ndim + 1 && t->ndim >= 1 && x->size[0] == t->size[0] && c->dtype[1] == FM_I64;
    for (uint32_t d = 1; fits && d < t->ndim; d++) fits = x->size[d + 1] == t->size[d];
    if (!fits) return BAD(c, "%s: nll_loss takes (B, C, ..) and an i64 target (B, ..)", c->node->name);
    c->out->shape = (struct fm_shape){ 0 };
    c->out->dtype = FM_F32;
    return FM_OK;
}

static fm_status infer_join(struct infer *c)
{
    const struct fm_node *node = c->node;
    bool stack = node->op == FM_OP_stack;
    uint32_t dim = stack ? 0 : (uint32_t)node->attr.dim;
    const struct fm_shape *first = c->in[0];
    if (!stack && dim >= first->ndim) return BAD(c, "%s: no dimension %u", node->name, dim);
    int64_t total = 0;
    for (uint32_t i = 0; i < node->n_in; i++) {
        const struct fm_shape *x = &c->body->value[c->body->arg[node->in + i]].shape;
        bool fits = x->ndim == first->ndim;
        for (uint32_t d = 0; fits && d < x->ndim; d++) fits = (!stack && d == dim) || x->size[d] == first->size[d];
        if (!fits) return BAD(c, "%s: input %u does not fit the first one", node->name, i);
        total += stack ? 1 : x->size[dim];
    }
    c->out->dtype = c->dtype[0];
    c->out->shape = *first;
    if (!stack) {
        c->out->shape.size[dim] = total;
        return FM_OK;
    }
    if (first->ndim == FM_RANK) return BAD(c, "%s: too many dimensions", node->name);
    c->out->shape.ndim = first->ndim + 1;
    memmove(&c->out->shape.size[1], first->size, first->ndim * sizeof first->size[0]);
    c->out->shape.size[0] = total;
    return FM_OK;
}

static fm_status infer_binary(struct infer *c)
{
    const struct fm_shape *a = c->in[0], *b = c->in[1];
    struct fm_shape *y = &c->out->shape;
    bool fits = a->ndim == b->ndim;
    *y = *a;
    for (uint32_t d = 0; fits && d < a->ndim; d++) {
        fits = a->size[d] == b->size[d] || a->size[d] == 1 || b->size[d] == 1;
        if (a->size[d] == 1) y->size[d] = b->size[d];
    }
    if (!fits) return BAD(c, "%s: sizes neither equal nor 1", c->node->name);
    if (c->node->op == FM_OP_add_ && !fm_shape_equal(y, a)) return BAD(c, "%s: add_ cannot grow its target", c->node->name);
    bool logic = c->node->op == FM_OP_equal || c->node->op == FM_OP_logical_and || c->node->op == FM_OP_logical_or;
    c->out->dtype = logic ? FM_BOOL : c->dtype[0] == FM_F32 || c->dtype[1] == FM_F32 ? FM_F32 : c->dtype[0];
    return FM_OK;
}

static fm_status infer_reduce(struct infer *c)
{
    const struct fm_op_attr *a = &c->node->attr;
    struct fm_shape *y = &c->out->shape;
    *y = (struct fm_shape){ 0 };
    if (!a->all) {
        if (!a->dims || a->dims >> c->in[0]->ndim) return BAD(c, "%s: dims names no dimension of the input", c->node->name);
        for (uint32_t d = 0; d < c->in[0]->ndim; d++) {
            bool reduced = a->dims >> d & 1;
            if (!reduced || a->keepdim) y->size[y->ndim++] = reduced ? 1 : c->in[0]->size[d];
        }
    }
    c->out->dtype = c->dtype[0] == FM_BOOL ? FM_I64 : c->dtype[0];
    return FM_OK;
}

static fm_status infer_view(struct infer *c)
{
    const struct fm_op_attr *a = &c->node->attr;
    const struct fm_shape *x = c->in[0];
    struct fm_shape *y = &c->out->shape;
    c->out->dtype = c->dtype[0];
    if (c->node->op == FM_OP_reshape) {
        *y = a->shape;
        if (fm_shape_numel(y) != fm_shape_numel(x))
            return BAD(c, "%s: reshape from %lld to %lld elements", c->node->name, (long long)fm_shape_numel(x),
                       (long long)fm_shape_numel(y));
        return FM_OK;
    }
    *y = *x;
    if (c->node->op == FM_OP_transpose) {
        if ((uint32_t)a->dim >= x->ndim || (uint32_t)a->dim2 >= x->ndim)
            return BAD(c, "%s: transpose of a dimension that is not there", c->node->name);
        y->size[a->dim] = x->size[a->dim2];
        y->size[a->dim2] = x->size[a->dim];
        return FM_OK;
    }
    uint32_t seen = 0;
    for (uint32_t d = 0; d < x->ndim; d++) {
        if (a->order[d] >= x->ndim || (seen >> a->order[d] & 1)) return BAD(c, "%s: order is no permutation", c->node->name);
        seen |= 1u << a->order[d];
        y->size[d] = x->size[a->order[d]];
    }
    return FM_OK;
}

static fm_status infer_interpolate(struct infer *c)
{
    const struct fm_shape *x = c->in[0], *y = &c->node->attr.shape;
    if (x->ndim != 4 || y->ndim != 4 || x->size[0] != y->size[0] || x->size[1] != y->size[1])
        return BAD(c, "%s: interpolate takes (B, C, H, W) and changes H and W only", c->node->name);
    c->out->shape = *y;
    c->out->dtype = c->dtype[0];
    return FM_OK;
}

static fm_status infer_labels(struct infer *c)
{
    struct fm_shape *y = &c->out->shape;
    const struct fm_op_attr *a = &c->node->attr;
    *y = *c->in[0];
    switch (c->node->op) {
    case FM_OP_one_hot:
        if (y->ndim == FM_RANK || a->classes < 1 || c->dtype[0] != FM_I64)
            return BAD(c, "%s: one_hot takes i64 labels and at least 1 class", c->node->name);
        y->size[y->ndim++] = a->classes;
        c->out->dtype = FM_I64;
        return FM_OK;
    case FM_OP_argmax:
        if ((uint32_t)a->dim >= y->ndim) return BAD(c, "%s: no dimension %d", c->node->name, a->dim);
        memmove(&y->size[a->dim], &y->size[a->dim + 1], (y->ndim - (uint32_t)a->dim - 1) * sizeof y->size[0]);
        y->size[--y->ndim] = 0;
        c->out->dtype = FM_I64;
        return FM_OK;
    default:
        c->out->dtype = FM_BOOL;
        return FM_OK;
    }
}

static fm_status infer_input(struct infer *c)
{
    enum fm_input kind = c->node->attr.input;
    c->out->shape = c->node->attr.shape;
    c->out->dtype = kind == FM_INPUT_VOLUME_LABELS || kind == FM_INPUT_IMAGE_LABELS ? FM_I64 : FM_F32;
    return FM_OK;
}

static fm_status infer_op(struct infer *c)
{
    switch (c->node->op) {
    case FM_OP_input: return infer_input(c);
    case FM_OP_conv: case FM_OP_conv_transpose: return infer_conv(c);
    case FM_OP_linear: return infer_linear(c);
    case FM_OP_matmul: return infer_matmul(c);
    case FM_OP_sdpa: return infer_sdpa(c);
    case FM_OP_batch_norm: case FM_OP_group_norm: case FM_OP_layer_norm: return infer_norm(c);
    case FM_OP_softmax: case FM_OP_log_softmax:
        if ((uint32_t)c->node->attr.dim >= c->in[0]->ndim) return BAD(c, "%s: no dimension %d", c->node->name, c->node->attr.dim);
        return same_as_first(c);
    case FM_OP_nll_loss: return infer_nll(c);
    case FM_OP_interpolate: return infer_interpolate(c);
    case FM_OP_cat: case FM_OP_stack: return infer_join(c);
    case FM_OP_add: case FM_OP_sub: case FM_OP_mul: case FM_OP_div: case FM_OP_add_:
    case FM_OP_equal: case FM_OP_logical_and: case FM_OP_logical_or: return infer_binary(c);
    case FM_OP_sum: case FM_OP_mean: return infer_reduce(c);
    case FM_OP_reshape: case FM_OP_transpose: case FM_OP_permute: return infer_view(c);
    case FM_OP_one_hot: case FM_OP_argmax: case FM_OP_equal_scalar: return infer_labels(c);
    default: return same_as_first(c);
    }
}

fm_status fm_infer(const struct fm_graph *graph, const struct fm_body *body, const struct fm_node *node,
                   struct fm_value_info *out, struct fm_err *err)
{
    struct infer c = { .graph = graph, .body = body, .node = node, .out = out, .err = err };
    fm_status status = fm_operands_check(graph, body, node, err);
    if (status != FM_OK) return status;
    for (uint32_t i = 0; i < node->n_in && i < 4; i++) {
        const struct fm_value_info *in = &body->value[body->arg[node->in + i]];
        c.in[i] = &in->shape;
        c.dtype[i] = in->dtype;
    }
    *out = (struct fm_value_info){ .role = FM_ROLE_RESULT, .alias = FM_NO_VALUE };
    status = infer_op(&c);
    if (status != FM_OK) return status;
    double numel = 1;
    for (uint32_t d = 0; d < out->shape.ndim; d++) {
        if (out->shape.size[d] < 1) return BAD(&c, "%s: dimension %u of its result is empty", node->name, d);
        numel *= (double)out->shape.size[d];
    }
    if (numel > (double)FM_GRAPH_MAX_NUMEL) return BAD(&c, "%s: its result has more than 2^45 elements", node->name);
    if (fm_op_row(node->op)->in_place) out->alias = body->arg[node->in];
    return FM_OK;
}
