/* Activations, arithmetic, dropout, reductions. */
#include "workloads/lower/internal.h"

#include <string.h>

/* ---- activations ---- */

static enum fm_unary activation(enum fm_op op)
{
    switch (op) {
    case FM_OP_leaky_relu: case FM_OP_leaky_relu_: return FM_LEAKY_RELU;
    case FM_OP_gelu: return FM_GELU;
    case FM_OP_silu: return FM_SILU;
    default: return FM_RELU;
    }
}

static void activation_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *s = n->unpacked[0];
    out[0] = new_like(l, is_dense(g) ? g : s, (enum fm_dtype)g->dtype);
    record(l, FM_K_UNARY_BWD, n->attr, &out[0], 1, (struct tensor *[]){ g, s }, 2);
}

static struct fm_attr activation_attr(const struct fm_node *op)
{
    return (struct fm_attr){ .mode = (uint8_t)activation(op->op), .alpha = op->attr.alpha };
}

/* relu saves its output, the others their input */
struct var *op_activation(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct fm_attr attr = activation_attr(op);
    bool save_output = attr.mode == FM_RELU;
    struct node *n = new_node(l, activation_backward, in, 1);
    set_attr(l, n, &attr);
    if (!save_output) save(l, n, in[0]->x);
    if (l->stopped) return NULL;
    struct tensor *y = new_like(l, in[0]->x, (enum fm_dtype)in[0]->x->dtype);
    record(l, FM_K_UNARY, &attr, &y, 1, &in[0]->x, 1);
    if (save_output) save(l, n, y);
    return result(l, y, n);
}

struct var *op_activation_(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct fm_attr attr = activation_attr(op);
    struct node *n = new_node(l, activation_backward, in, 1);
    set_attr(l, n, &attr);
    record(l, FM_K_UNARY, &attr, &in[0]->x, 1, &in[0]->x, 1);
    save(l, n, in[0]->x);
    in[0]->fn = n;
    in[0]->requires_grad = n != NULL;
    return keep_var(in[0]);
}

/* ---- dropout ---- */

/* a stream of random numbers of its own for each site and micro-batch; the same when recomputed */
static uint64_t stream_of(const struct lower *l)
{
    return ((uint64_t)l->micro * 4096 + l->op_index) % FM_STREAMS_PER_STEP;
}

static void dropout_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = new_like(l, g, (enum fm_dtype)g->dtype);
    record(l, FM_K_DROPOUT_BWD, n->attr, &out[0], 1, (struct tensor *[]){ g, n->unpacked[0] }, 2);
}

struct var *op_dropout(struct lower *l, const struct fm_node *op, struct var **in)
{
    if (!l->training || op->attr.alpha <= 0) return keep_var(in[0]);
    struct fm_attr attr = { .alpha = op->attr.alpha, .stream = stream_of(l) };
    struct node *n = new_node(l, dropout_backward, in, 1);
    set_attr(l, n, &attr);
    struct tensor *y = new_like(l, in[0]->x, (enum fm_dtype)in[0]->x->dtype), *mask = new_like(l, in[0]->x, FM_BOOL);
    record(l, FM_K_DROPOUT, &attr, (struct tensor *[]){ y, mask }, 2, &in[0]->x, 1);
    save(l, n, mask);
    struct var *v = result(l, y, n);
    drop(l, mask);
    return v;
}

static void scaled_by_saved_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = new_like(l, g, (enum fm_dtype)g->dtype);
    record_binary(l, FM_MUL, 0, out[0], g, n->unpacked[0]);
}

struct var *op_drop_path(struct lower *l, const struct fm_node *op, struct var **in)
{
    if (!l->training || op->attr.alpha <= 0) return keep_var(in[0]);
    int64_t size[FM_RANK];
    for (uint32_t d = 0; d < FM_RANK; d++) size[d] = d ? 1 : in[0]->x->size[0];
    struct tensor *kept = new_tensor(l, size, in[0]->x->ndim, (enum fm_dtype)in[0]->x->dtype, PLAIN);
    record(l, FM_K_BERNOULLI, &(struct fm_attr){ .alpha = 1 - op->attr.alpha, .stream = stream_of(l) }, &kept, 1, NULL,
           0);
    struct node *n = new_node(l, scaled_by_saved_backward, in, 1);
    save(l, n, kept);
    struct var *v = NULL;
    if (!l->stopped) {
        struct tensor *y = new_like(l, in[0]->x, (enum fm_dtype)in[0]->x->dtype);
        record_binary(l, FM_MUL, 0, y, in[0]->x, kept);
        v = result(l, y, n);
    }
    drop(l, kept);
    return v;
}

/* ---- arithmetic ---- */

/* result sizes and dtype of a broadcasting operator: like the first input that has them */
static struct tensor *binary_result(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct fm_shape *s = &l->body->value[op->out].shape;
    enum fm_dtype a = (enum fm_dtype)in[0]->x->dtype, b = (enum fm_dtype)in[1]->x->dtype, dtype = a;
    if (dtype == FM_I64 || dtype == FM_BOOL || b == FM_F64 || (b == FM_F32 && a != FM_F64))
        dtype = b == FM_I64 || b == FM_BOOL ? a : b;
    for (int i = 0; i < 2; i++) {
        const struct tensor *x = in[i]->x;
        if (x->ndim == s->ndim && memcmp(x->size, s->size, s->ndim * sizeof x->size[0]) == 0)
            return new_like(l, x, dtype);
    }
    return new_tensor(l, s->size, s->ndim, dtype, PLAIN);
}

/* `other` before `self` (rule 54) */
static void add_sub_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    if (n->meta[1].need && n->op->op == FM_OP_sub) {
        out[1] = new_like(l, g, (enum fm_dtype)g->dtype);
        record_unary(l, FM_SCALE, -1, 0, out[1], g);
    } else if (n->meta[1].need) {
        out[1] = keep(g);
    }
    if (n->meta[0].need) out[0] = keep(g);
}

struct var *op_add_sub(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct node *n = new_node(l, add_sub_backward, in, 2);
    struct tensor *y = binary_result(l, op, in);
    record_binary(l, op->op == FM_OP_add ? FM_ADD : FM_SUB, 1, y, in[0]->x, in[1]->x);
    return result(l, y, n);
}

struct var *op_add_(struct lower *l, const struct fm_node *op, struct var **in)
{
    if (l->grad && (needs(in[0]) || needs(in[1]))) {
        lower_fail(l, FM_UNSUPPORTED, "%s: add_ has no backward here; use add", op->name);
        return NULL;
    }
    record_binary(l, FM_ADD, 1, in[0]->x, in[0]->x, in[1]->x);
    return keep_var(in[0]);
}

static struct tensor *grad_times(struct lower *l, struct tensor *g, struct tensor *x)
{
    /* an expanded gradient has no order of its own: the other factor's is taken (TensorIterator) */
    bool same = g->ndim == x->ndim && memcmp(g->size, x->size, g->ndim * sizeof g->size[0]) == 0;
    struct tensor *r = new_like(l, same && !is_dense(g) && is_dense(x) ? x : g, (enum fm_dtype)g->dtype);
    record_binary(l, FM_MUL, 0, r, g, x);
    return r;
}

/* saves an operand only if the other one needs a gradient; attr.mode bits: 1 other saved, 2 self saved */
static void mul_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    uint32_t k = 0;
    struct tensor *other = n->attr->mode & 1 ? n->unpacked[k++] : NULL,
                  *self = n->attr->mode & 2 ? n->unpacked[k] : NULL;
    if (n->meta[1].need) out[1] = grad_times(l, g, self);
    if (n->meta[0].need) out[0] = grad_times(l, g, other);
}

struct var *op_mul(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct node *n = new_node(l, mul_backward, in, 2);
    set_attr(l, n, &(struct fm_attr){ .mode = (uint8_t)((needs(in[0]) ? 1 : 0) | (needs(in[1]) ? 2 : 0)) });
    if (n && needs(in[0])) save(l, n, in[1]->x);
    if (n && needs(in[1])) save(l, n, in[0]->x);
    if (l->stopped) return NULL;
    struct tensor *y = binary_result(l, op, in);
    record_binary(l, FM_MUL, 0, y, in[0]->x, in[1]->x);
    return result(l, y, n);
}

/* other: -g * ((self / other) / other); self: g / other */
static void div_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *other = n->unpacked[0], *self = n->saved_count > 1 ? n->unpacked[1] : NULL;
    if (n->meta[1].need) {
        struct tensor *ratio = new_like(l, g, (enum fm_dtype)g->dtype);
        record_binary(l, FM_DIV, 0, ratio, self, other);
        struct tensor *again = new_like(l, g, (enum fm_dtype)g->dtype);
        record_binary(l, FM_DIV, 0, again, ratio, other);
        struct tensor *neg = new_like(l, g, (enum fm_dtype)g->dtype);
        record_unary(l, FM_SCALE, -1, 0, neg, g);
        out[1] = grad_times(l, neg, again);
        drop(l, ratio);                         /* temporaries of one expression: they die together */
        drop(l, again);
        drop(l, neg);
    }
    if (n->meta[0].need) {
        out[0] = new_like(l, g, (enum fm_dtype)g->dtype);
        record_binary(l, FM_DIV, 0, out[0], g, other);
    }
}

struct var *op_div(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct node *n = new_node(l, div_backward, in, 2);
    save(l, n, in[1]->x);
    if (needs(in[1])) save(l, n, in[0]->x);
    if (l->stopped) return NULL;
    struct tensor *y = binary_result(l, op, in);
    record_binary(l, FM_DIV, 0, y, in[0]->x, in[1]->x);
    return result(l, y, n);
}

static void affine_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    double alpha = n->op->attr.alpha;
    if (alpha == 1) {
        out[0] = keep(g);
        return;
    }
    out[0] = new_like(l, g, (enum fm_dtype)g->dtype);
    record_unary(l, FM_SCALE, alpha, 0, out[0], g);
}

struct var *op_affine(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct node *n = new_node(l, affine_backward, in, 1);
    struct tensor *y = new_like(l, in[0]->x, (enum fm_dtype)in[0]->x->dtype);
    record_unary(l, FM_SCALE, op->attr.alpha, op->attr.beta, y, in[0]->x);
    return result(l, y, n);
}

/* log(x + beta): the sum is a tensor of its own while the logarithm is taken */
struct var *op_log(struct lower *l, const struct fm_node *op, struct var **in)
{
    if (l->grad && needs(in[0])) {
        lower_fail(l, FM_UNSUPPORTED, "%s: log has no backward here", op->name);
        return NULL;
    }
    struct var *x = cast_f32(l, in[0]);
    if (failed(l)) return NULL;
    struct tensor *from = keep(x->x);
    if (op->attr.beta != 0) {
        drop(l, from);
        from = new_like(l, x->x, (enum fm_dtype)x->x->dtype);
        record_unary(l, FM_SCALE, 1, op->attr.beta, from, x->x);
    }
    struct tensor *y = new_like(l, x->x, (enum fm_dtype)x->x->dtype);
    record_unary(l, FM_LOG, 0, 0, y, from);
    drop(l, from);
    drop_var(l, x);
    return result(l, y, NULL);
}

/* ---- reductions ---- */

/* the gradient seen by each element: a view with stride 0 in the reduced dimensions (rules 57, 58) */
static struct tensor *expand(struct lower *l, struct tensor *g, const struct meta *m, uint32_t dims)
{
    int64_t stride[FM_RANK];
    uint32_t k = 0;
    bool keepdim = g->ndim == m->ndim;
    for (uint32_t d = 0; d < m->ndim; d++) {
        bool reduced = dims >> d & 1;
        stride[d] = reduced ? 0 : g->stride[keepdim ? d : k];
        if (!reduced || keepdim) k++;
    }
    return new_view(l, g, m->size, stride, m->ndim, g->offset);
}

static uint32_t reduced_dims(const struct fm_node *op, uint32_t ndim)
{
    return op->attr.all ? (1u << ndim) - 1 : op->attr.dims;
}

static void sum_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = expand(l, g, &n->meta[0], reduced_dims(n->op, n->meta[0].ndim));
}

struct var *op_sum(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct fm_shape *s = &l->body->value[op->out].shape;
    enum fm_dtype dtype = (enum fm_dtype)in[0]->x->dtype;
    if (dtype == FM_BOOL) dtype = FM_I64;
    else if (l->autocast && dtype != FM_I64 && dtype != FM_F64) dtype = FM_F32;
    struct node *n = new_node(l, sum_backward, in, 1);
    struct tensor *y = new_tensor(l, s->size, s->ndim, dtype, PLAIN);
    record_sum(l, 1, y, in[0]->x, reduced_dims(op, in[0]->x->ndim));
    return result(l, y, n);
}

static void mean_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    const struct meta *m = &n->meta[0];
    double count = 1;
    uint32_t dims = reduced_dims(n->op, m->ndim);
    for (uint32_t d = 0; d < m->ndim; d++)
        if (dims >> d & 1) count *= (double)m->size[d];
    struct tensor *wide = expand(l, g, m, dims);
    out[0] = new_from_meta(l, m, (enum fm_dtype)m->dtype);
    record_unary(l, FM_SCALE, 1 / count, 0, out[0], wide);
    drop(l, wide);
}

struct var *op_mean(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct fm_shape *s = &l->body->value[op->out].shape;
    const struct tensor *x = in[0]->x;
    uint32_t dims = reduced_dims(op, x->ndim);
    double count = 1;
    for (uint32_t d = 0; d < x->ndim; d++)
        if (dims >> d & 1) count *= (double)x->size[d];
    struct node *n = new_node(l, mean_backward, in, 1);
    struct tensor *y = new_tensor(l, s->size, s->ndim, (enum fm_dtype)x->dtype, PLAIN);
    record_sum(l, 1 / count, y, x, dims);
    return result(l, y, n);
}
