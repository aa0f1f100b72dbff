/* Convolution, interpolation, concatenation. */
#include "workloads/lower/internal.h"

#include <string.h>

struct fm_attr attr_of(const struct fm_node *op)
{
    struct fm_attr a = { .groups = op->attr.groups,
                         .alpha = op->attr.alpha,
                         .beta = op->attr.beta,
                         .eps = op->attr.eps,
                         .momentum = op->attr.momentum,
                         .dim = (uint8_t)op->attr.dim,
                         .ignore_index = op->attr.ignore_index };
    memcpy(a.stride, op->attr.stride, sizeof a.stride);
    memcpy(a.padding, op->attr.padding, sizeof a.padding);
    memcpy(a.dilation, op->attr.dilation, sizeof a.dilation);
    a.transposed = op->op == FM_OP_conv_transpose;
    return a;
}

static bool eager(const struct lower *l) { return l->policy->accounting == FM_ACCOUNTING_EAGER; }

struct tensor *kernel_contiguous(struct lower *l, struct tensor *x)
{
    if (!eager(l) || !x || is_contiguous(x)) return keep(x);
    struct tensor *y =
        new_tensor(l, x->size, x->ndim, (enum fm_dtype)x->dtype, x->store->channels && x->ndim >= 4 ? IMAGE : PLAIN);
    record_copy(l, y, x);
    return y;
}

/* x.contiguous(memory_format=torch.channels_last) where `wanted`, else .contiguous(); rule 69: eager only */
static struct tensor *in_format(struct lower *l, struct tensor *x, bool channels_last)
{
    if (!channels_last) return kernel_contiguous(l, x);
    if (!eager(l) || !x) return keep(x);
    int64_t stride[FM_RANK];
    bool already = true;
    channels_last_strides(x->size, x->ndim, stride);
    for (uint32_t d = 0; d < x->ndim; d++) already &= x->size[d] == 1 || x->stride[d] == stride[d];
    if (already) return keep(x);
    struct tensor *y = new_tensor(l, x->size, x->ndim, (enum fm_dtype)x->dtype, CHANNELS_LAST);
    record_copy(l, y, x);
    return y;
}

static void conv_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *x = n->unpacked[0], *w = n->unpacked[1];
    bool cl = is_channels_last(x) || is_channels_last(w);
    struct tensor *gc = in_format(l, g, cl), *xc = in_format(l, x, cl), *wc = in_format(l, w, cl);
    if (n->meta[0].need) {
        out[0] = new_tensor(l, n->meta[0].size, n->meta[0].ndim, (enum fm_dtype)g->dtype, cl ? CHANNELS_LAST : IMAGE);
        record(l, FM_K_CONV_DGRAD, n->attr, &out[0], 1, (struct tensor *[]){ gc, wc }, 2);
    }
    if (n->meta[1].need) {
        out[1] = new_tensor(l, n->meta[1].size, n->meta[1].ndim, (enum fm_dtype)g->dtype, cl ? CHANNELS_LAST : IMAGE);
        record(l, FM_K_CONV_WGRAD, n->attr, &out[1], 1, (struct tensor *[]){ gc, xc }, 2);
    }
    drop(l, wc);
    drop(l, xc);
    if (n->edges > 2 && n->meta[2].need) {
        out[2] = new_vector(l, g->size[1], (enum fm_dtype)g->dtype);
        record_sum(l, 1, out[2], gc, ~2u & ((1u << g->ndim) - 1));
    }
    drop(l, gc);
}

struct var *op_conv(struct lower *l, const struct fm_node *op, struct var **in)
{
    uint32_t n_in = op->n_in;
    struct var *b = n_in > 2 ? cast_low(l, in[2]) : NULL, *w = cast_low(l, in[1]), *x = cast_low(l, in[0]);
    struct var *v = NULL;
    if (!failed(l)) {
        struct node *n = new_node(l, conv_backward, (struct var *[]){ x, w, b }, n_in);
        save(l, n, x->x);
        save(l, n, w->x);
        struct fm_attr attr = attr_of(op);
        set_attr(l, n, &attr);
        if (!l->stopped) {
            bool cl = is_channels_last(x->x) || is_channels_last(w->x);
            struct tensor *xc = in_format(l, x->x, cl), *wc = in_format(l, w->x, cl);
            const struct fm_shape *s = &l->body->value[op->out].shape;
            struct tensor *y = new_tensor(l, s->size, s->ndim, (enum fm_dtype)x->x->dtype, cl ? CHANNELS_LAST : IMAGE);
            record(l, FM_K_CONV, &attr, &y, 1, (struct tensor *[]){ xc, wc, b ? b->x : NULL }, n_in);
            drop(l, wc);
            drop(l, xc);
            v = result(l, y, n);
        }
    }
    drop_var(l, x);
    drop_var(l, w);
    drop_var(l, b);
    return v;
}

/* ---- interpolate ---- */

static void interpolate_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    bool cl = is_channels_last(g);
    struct tensor *gc = in_format(l, g, cl);
    out[0] =
        new_tensor(l, n->meta[0].size, n->meta[0].ndim, (enum fm_dtype)n->meta[0].dtype, cl ? CHANNELS_LAST : IMAGE);
    record(l, FM_K_INTERPOLATE_BWD, NULL, &out[0], 1, &gc, 1);
    drop(l, gc);
}

struct var *op_interpolate(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct var *x = cast_f32(l, in[0]), *v = NULL;
    if (!failed(l)) {
        struct node *n = new_node(l, interpolate_backward, &x, 1);
        const struct fm_shape *s = &l->body->value[op->out].shape;
        bool cl = is_channels_last(x->x);
        struct tensor *y = new_tensor(l, s->size, s->ndim, (enum fm_dtype)x->x->dtype, cl ? CHANNELS_LAST : IMAGE);
        struct tensor *xc = in_format(l, x->x, cl);
        record(l, FM_K_INTERPOLATE, NULL, &y, 1, &xc, 1);
        drop(l, xc);
        v = result(l, y, n);
    }
    drop_var(l, x);
    return v;
}

/* ---- cat, stack ---- */

/* gradients are narrow views of the whole (rule 15) */
static void cat_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    uint32_t dim = n->attr->dim;
    int64_t offset = g->offset;
    for (uint32_t i = 0; i < n->edges; i++) {
        const struct meta *m = &n->meta[i];
        if (m->need) out[i] = new_view(l, g, m->size, g->stride, m->ndim, offset);
        offset += m->size[dim] * g->stride[dim];
    }
}

static enum fm_dtype promoted(struct var **in, uint32_t n)
{
    enum fm_dtype dtype = (enum fm_dtype)in[0]->x->dtype;
    for (uint32_t i = 1; i < n; i++) {
        enum fm_dtype d = (enum fm_dtype)in[i]->x->dtype;
        if (d == FM_F64 || (d == FM_F32 && dtype != FM_F64)) dtype = d;
    }
    return dtype;
}

struct var *op_cat(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct tensor *x[64];
    bool cl = true, image = false;
    for (uint32_t i = 0; i < op->n_in; i++) {
        x[i] = in[i]->x;
        cl &= is_channels_last(x[i]);
        image |= x[i]->store->channels != 0;
    }
    struct node *n = new_node(l, cat_backward, in, op->n_in);
    set_attr(l, n, &(struct fm_attr){ .dim = (uint8_t)op->attr.dim });
    const struct fm_shape *s = &l->body->value[op->out].shape;
    struct tensor *y = new_tensor(l, s->size, s->ndim, promoted(in, op->n_in),
                                  cl      ? CHANNELS_LAST
                                  : image ? IMAGE
                                          : PLAIN);
    record(l, FM_K_CAT, &(struct fm_attr){ .dim = (uint8_t)op->attr.dim }, &y, 1, x, op->n_in);
    return result(l, y, n);
}

/* stack = cat of unsqueezed views; only where nothing needs a gradient */
struct var *op_stack(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct fm_shape *s = &l->body->value[op->out].shape;
    if (l->grad) {
        lower_fail(l, FM_UNSUPPORTED, "%s: stack has no backward here; use cat", op->name);
        return NULL;
    }
    struct tensor *y = new_tensor(l, s->size, s->ndim, promoted(in, op->n_in), PLAIN);
    for (uint32_t i = 0; i < op->n_in && y; i++) {
        struct tensor *slot = new_view(l, y, s->size + 1, y->stride + 1, s->ndim - 1, (int64_t)i * y->stride[0]);
        record_copy(l, slot, in[i]->x);
        drop(l, slot);
    }
    return result(l, y, NULL);
}
