/* Views, linear layers and matmul (rules 54, 61, 62). */
#include "workloads/lower/internal.h"

#include <string.h>

/* ---- views ---- */

/* grad.reshape(sizes): a view where strides allow it, else a copy; owned */
static struct tensor *reshape_tensor(struct lower *l, struct tensor *g, const int64_t *size, uint32_t ndim)
{
    int64_t stride[FM_RANK];
    if (!g || failed(l)) return NULL;
    if (view_strides(g, size, ndim, stride)) return new_view(l, g, size, stride, ndim, g->offset);
    struct tensor *y = new_tensor(l, g->size, g->ndim, (enum fm_dtype)g->dtype, PLAIN);
    record_copy(l, y, g);
    if (!y || !view_strides(y, size, ndim, stride)) return y;
    struct tensor *v = new_view(l, y, size, stride, ndim, 0);
    drop(l, y);
    return v;
}

static void view_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = reshape_tensor(l, g, n->meta[0].size, n->meta[0].ndim);
}

static void pass_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    (void)l;
    (void)n;
    out[0] = keep(g);
}

struct var *op_clone(struct lower *l, const struct fm_node *op, struct var **in)
{
    (void)op;
    struct node *n = new_node(l, pass_backward, in, 1);
    struct tensor *y = new_like(l, in[0]->x, (enum fm_dtype)in[0]->x->dtype);
    record_copy(l, y, in[0]->x);
    return result(l, y, n);
}

/* clone(memory_format=torch.contiguous_format), what reshape does when it cannot view */
static struct var *clone_contiguous(struct lower *l, struct var *v)
{
    struct node *n = new_node(l, pass_backward, &v, 1);
    struct tensor *y = new_tensor(l, v->x->size, v->x->ndim, (enum fm_dtype)v->x->dtype, PLAIN);
    record_copy(l, y, v->x);
    return result(l, y, n);
}

struct var *reshape_var(struct lower *l, struct var *v, const int64_t *size, uint32_t ndim)
{
    int64_t stride[FM_RANK];
    if (!v || failed(l)) return NULL;
    struct var *from = view_strides(v->x, size, ndim, stride) ? keep_var(v) : clone_contiguous(l, v);
    if (!from) return NULL;
    if (!view_strides(from->x, size, ndim, stride)) contiguous_strides(size, ndim, stride);
    struct node *n = new_node(l, view_backward, &from, 1);
    struct var *out = result(l, new_view(l, from->x, size, stride, ndim, from->x->offset), n);
    drop_var(l, from);
    return out;
}

static struct tensor *swap_dims(struct lower *l, struct tensor *x, int a, int b)
{
    int64_t size[FM_RANK], stride[FM_RANK];
    if (!x) return NULL;
    memcpy(size, x->size, sizeof size);
    memcpy(stride, x->stride, sizeof stride);
    size[a] = x->size[b], size[b] = x->size[a];
    stride[a] = x->stride[b], stride[b] = x->stride[a];
    return new_view(l, x, size, stride, x->ndim, x->offset);
}

static void transpose_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = swap_dims(l, g, n->attr->dim, n->attr->mode);
}

struct var *transpose_var(struct lower *l, struct var *v, int dim, int dim2)
{
    if (!v || failed(l)) return NULL;
    struct node *n = new_node(l, transpose_backward, &v, 1);
    set_attr(l, n, &(struct fm_attr){ .dim = (uint8_t)dim, .mode = (uint8_t)dim2 });
    return result(l, swap_dims(l, v->x, dim, dim2), n);
}

struct var *op_reshape(struct lower *l, const struct fm_node *op, struct var **in)
{
    return reshape_var(l, in[0], op->attr.shape.size, op->attr.shape.ndim);
}

struct var *op_transpose(struct lower *l, const struct fm_node *op, struct var **in)
{
    return transpose_var(l, in[0], op->attr.dim, op->attr.dim2);
}

static void permute_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    int64_t size[FM_RANK], stride[FM_RANK];
    for (uint32_t d = 0; d < g->ndim; d++) {
        size[n->op->attr.order[d]] = g->size[d];
        stride[n->op->attr.order[d]] = g->stride[d];
    }
    out[0] = new_view(l, g, size, stride, g->ndim, g->offset);
}

struct var *op_permute(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct tensor *x = in[0]->x;
    int64_t size[FM_RANK], stride[FM_RANK];
    struct node *n = new_node(l, permute_backward, in, 1);
    for (uint32_t d = 0; d < x->ndim; d++) {
        size[d] = x->size[op->attr.order[d]];
        stride[d] = x->stride[op->attr.order[d]];
    }
    return result(l, new_view(l, in[0]->x, size, stride, x->ndim, x->offset), n);
}

/* ---- matrix products ---- */

/* y (.., M, N) = a @ b; b given transposed where bt */
static void record_matmul(struct lower *l, struct tensor *y, struct tensor *a, bool at, struct tensor *b, bool bt)
{
    if (!y || !a || !b || failed(l)) return;
    int last = a->ndim - 1;
    struct tensor *av = at ? swap_dims(l, a, last - 1, last) : keep(a),
                  *bv = bt ? swap_dims(l, b, last - 1, last) : keep(b);
    record(l, FM_K_MATMUL, &(struct fm_attr){ .alpha = 1 }, &y, 1, (struct tensor *[]){ av, bv }, 2);
    drop(l, av);
    drop(l, bv);
}

/* gradient of a (K, O) operand that is a transposed weight: computed as (O, K), seen transposed */
static struct tensor *weight_gradient(struct lower *l, struct tensor *g, struct tensor *x, const struct meta *m)
{
    struct tensor *gw = new_tensor(l, (int64_t[]){ m->size[1], m->size[0] }, 2, (enum fm_dtype)g->dtype, PLAIN);
    record_matmul(l, gw, g, true, x, false);
    struct tensor *v = gw ? swap_dims(l, gw, 0, 1) : NULL;
    drop(l, gw);
    return v;
}

/* A factor is saved for the other one's gradient alone, and only if that is wanted; so the first and the second that may
 * be saved are found in what was unpacked. */
static void save_factors(struct lower *l, struct node *n, struct var *const factor[2], const uint32_t edge[2])
{
    for (int i = 0; n && i < 2; i++)
        if (n->meta[edge[1 - i]].need) save(l, n, factor[i]->x);
}

static void find_factors(const struct node *n, const uint32_t edge[2], struct tensor *out[2])
{
    uint32_t at = 0;
    for (int i = 0; i < 2; i++) out[i] = n->meta[edge[1 - i]].need ? n->unpacked[at++] : NULL;
}

enum { BIAS, MAT1, MAT2 };
static const uint32_t addmm_order[2] = { MAT1, MAT2 }, mm_order[2] = { 1, 0 };

/* edges bias, mat1, mat2; computed mat1, mat2; the engine sums the bias's */
static void addmm_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *factor[2];
    find_factors(n, addmm_order, factor);
    struct tensor *x = factor[0], *wt = factor[1];
    if (n->meta[MAT1].need) {
        out[MAT1] = new_tensor(l, n->meta[MAT1].size, 2, (enum fm_dtype)g->dtype, PLAIN);
        record_matmul(l, out[MAT1], g, false, wt, true);
    }
    if (n->meta[MAT2].need) out[MAT2] = weight_gradient(l, g, x, &n->meta[MAT2]);
    if (n->meta[BIAS].need) out[BIAS] = keep(g);
}

static struct var *addmm(struct lower *l, struct var *bias, struct var *x, struct var *wt)
{
    if (!bias || !x || !wt || failed(l)) return NULL;
    struct node *n = new_node(l, addmm_backward, (struct var *[]){ bias, x, wt }, 3);
    save_factors(l, n, (struct var *const[]){ x, wt }, addmm_order);
    if (l->stopped) return NULL;
    struct tensor *y =
        new_tensor(l, (int64_t[]){ x->x->size[0], wt->x->size[1] }, 2, (enum fm_dtype)x->x->dtype, PLAIN);
    if (!y) return NULL;
    struct tensor *row = new_view(l, bias->x, y->size, (int64_t[]){ 0, 1 }, 2, bias->x->offset);
    record(l, FM_K_MATMUL, &(struct fm_attr){ .alpha = 1 }, &y, 1, (struct tensor *[]){ x->x, wt->x, row }, 3);
    drop(l, row);
    return result(l, y, n);
}

/* edges self, mat2; saved and computed mat2 first (rule 54) */
static void mm_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *factor[2];
    find_factors(n, mm_order, factor);
    struct tensor *wt = factor[0], *x = factor[1];
    if (n->meta[1].need) out[1] = weight_gradient(l, g, x, &n->meta[1]);
    if (n->meta[0].need) {
        out[0] = new_tensor(l, n->meta[0].size, 2, (enum fm_dtype)g->dtype, PLAIN);
        record_matmul(l, out[0], g, false, wt, true);
    }
}

static void bmm_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *factor[2];
    find_factors(n, mm_order, factor);
    struct tensor *b = factor[0], *a = factor[1];
    if (n->meta[1].need) {
        out[1] = new_tensor(l, n->meta[1].size, 3, (enum fm_dtype)g->dtype, PLAIN);
        record_matmul(l, out[1], a, true, g, false);
    }
    if (n->meta[0].need) {
        out[0] = new_tensor(l, n->meta[0].size, 3, (enum fm_dtype)g->dtype, PLAIN);
        record_matmul(l, out[0], g, false, b, true);
    }
}

/* mm (2-D) or bmm (3-D) */
static struct var *mm(struct lower *l, struct var *a, struct var *b)
{
    if (!a || !b || failed(l) || l->stopped) return NULL;
    uint32_t ndim = a->x->ndim;
    struct node *n = new_node(l, ndim == 2 ? mm_backward : bmm_backward, (struct var *[]){ a, b }, 2);
    save_factors(l, n, (struct var *const[]){ b, a }, mm_order);
    if (l->stopped) return NULL;
    int64_t size[FM_RANK];
    memcpy(size, a->x->size, sizeof size);
    size[ndim - 1] = b->x->size[ndim - 1];
    struct tensor *y = new_tensor(l, size, ndim, (enum fm_dtype)a->x->dtype, PLAIN);
    record_matmul(l, y, a->x, false, b->x, false);
    return result(l, y, n);
}

/* ---- linear ---- */

static void bias_add_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    (void)l;
    for (uint32_t i = 0; i < 2; i++)
        if (n->meta[i].need) out[i] = keep(g);
}

/* matmul's result + bias: in place in eager, out of place under a dispatch mode (rule 69) */
static struct var *bias_add(struct lower *l, struct var *y, struct var *bias)
{
    if (!y || failed(l) || l->stopped) return y;
    struct node *n = new_node(l, bias_add_backward, (struct var *[]){ y, bias }, 2);
    if (l->policy->accounting == FM_ACCOUNTING_DISPATCH) {
        struct tensor *sum = new_like(l, y->x, (enum fm_dtype)y->x->dtype);
        record_binary(l, FM_ADD, 1, sum, y->x, bias->x);
        drop_var(l, y);
        return result(l, sum, n);
    }
    record_binary(l, FM_ADD, 1, y->x, y->x, bias->x);
    y->fn = n;
    y->requires_grad = n != NULL;
    return y;
}

struct var *op_linear(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct var *b = op->n_in > 2 ? cast_low(l, in[2]) : NULL, *w = cast_low(l, in[1]), *x = cast_low(l, in[0]);
    struct var *out = NULL;
    if (!failed(l)) {
        const struct fm_shape *s = &l->body->value[op->out].shape;
        int64_t k = x->x->size[x->x->ndim - 1], rows = numel_of(x->x) / k;
        int64_t flat[2] = { rows, k };
        bool direct = b && (x->x->ndim == 2 || (x->x->ndim == 3 && is_contiguous(x->x)));
        struct var *wt, *x2, *y2;
        if (direct) {                           /* addmm on a view */
            x2 = reshape_var(l, x, flat, 2);
            wt = transpose_var(l, w, 0, 1);
            y2 = addmm(l, b, x2, wt);
        } else {                                /* matmul: a copy where no view is possible; then the bias */
            wt = transpose_var(l, w, 0, 1);
            x2 = reshape_var(l, x, flat, 2);
            y2 = mm(l, x2, wt);
        }
        if (y2 && !l->stopped) out = reshape_var(l, y2, s->size, s->ndim);
        drop_var(l, y2);
        drop_var(l, x2);
        drop_var(l, wt);
        if (b && !direct) out = bias_add(l, out, b);
    }
    drop_var(l, x);
    drop_var(l, w);
    drop_var(l, b);
    return out;
}

/* (B, h, M, K) @ (B, h, K, N) through (B*h, ..) (rule 62) */
struct var *op_matmul(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct var *b = cast_low(l, in[1]), *a = cast_low(l, in[0]), *out = NULL;
    if (!failed(l)) {
        const struct fm_shape *s = &l->body->value[op->out].shape;
        uint32_t n = a->x->ndim;
        int64_t lead = 1;
        for (uint32_t d = 0; d + 2 < n; d++) lead *= a->x->size[d];
        if (n <= 3) {
            out = mm(l, a, b);
        } else {
            struct var *a3 = reshape_var(l, a, (int64_t[]){ lead, a->x->size[n - 2], a->x->size[n - 1] }, 3);
            struct var *b3 = reshape_var(l, b, (int64_t[]){ lead, b->x->size[n - 2], b->x->size[n - 1] }, 3);
            struct var *y3 = mm(l, a3, b3);
            if (y3 && !l->stopped) out = reshape_var(l, y3, s->size, s->ndim);
            drop_var(l, y3);
            drop_var(l, b3);
            drop_var(l, a3);
        }
    }
    drop_var(l, a);
    drop_var(l, b);
    return out;
}
