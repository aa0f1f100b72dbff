/* Attention in one kernel, as PyTorch's flash backend has it (rule 22): F.scaled_dot_product_attention without a mask
 * or dropout, on a GPU, in half precision. What the math backend does is written in the graph as its operators. */
#include "workloads/lower/internal.h"

#include <string.h>

#define DEPTH 3          /* dimension of q, k, v that the scores are summed over */
#define DEPTH_STEP 8
#define DEPTH_MAX 256

/* x[.., :depth], a view */
static struct tensor *narrow(struct lower *l, struct tensor *x, int64_t depth)
{
    int64_t size[FM_RANK];
    if (!x || failed(l)) return NULL;
    memcpy(size, x->size, sizeof size);
    size[DEPTH] = depth;
    return new_view(l, x, size, x->stride, x->ndim, x->offset);
}

/* x with zeros up to `depth`: always contiguous */
static struct tensor *padded(struct lower *l, struct tensor *x, int64_t depth)
{
    int64_t size[FM_RANK];
    if (!x || failed(l)) return NULL;
    memcpy(size, x->size, sizeof size);
    size[DEPTH] = depth;
    struct tensor *y = new_tensor(l, size, x->ndim, (enum fm_dtype)x->dtype, PLAIN);
    record_fill(l, y, 0);
    struct tensor *inside = narrow(l, y, x->size[DEPTH]);
    record_copy(l, inside, x);
    drop(l, inside);
    return y;
}

/* constant_pad_nd with a negative pad: the part, cloned */
static void pad_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *inside = narrow(l, g, n->meta[0].size[DEPTH]);
    out[0] = new_like(l, inside, (enum fm_dtype)g->dtype);
    record_copy(l, out[0], inside);
    drop(l, inside);
}

static struct var *pad(struct lower *l, struct var *v, int64_t depth)
{
    if (!v || failed(l) || v->x->size[DEPTH] == depth) return keep_var(v);
    struct node *n = new_node(l, pad_backward, &v, 1);
    return result(l, padded(l, v->x, depth), n);
}

/* slice_backward: zeros, and the gradient in its place */
static void slice_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = padded(l, g, n->meta[0].size[DEPTH]);
}

static struct var *slice(struct lower *l, struct var *v, int64_t depth)
{
    if (!v || failed(l) || v->x->size[DEPTH] == depth) return keep_var(v);
    struct node *n = new_node(l, slice_backward, &v, 1);
    return result(l, narrow(l, v->x, depth), n);
}

/* The kernel wants (B, L, H, D) without gaps, seen here as (B, H, L, D): x itself or a copy; owned. */
static struct tensor *contiguous_by_token(struct lower *l, struct tensor *x)
{
    if (!x || failed(l)) return NULL;
    const int64_t by_token[] = { x->size[0], x->size[2], x->size[1], x->size[3] };
    int64_t order[4], stride[4];
    contiguous_strides(by_token, 4, order);
    stride[0] = order[0], stride[1] = order[2], stride[2] = order[1], stride[3] = order[3];
    bool fits = l->policy->accounting == FM_ACCOUNTING_DISPATCH;
    if (!fits) {
        fits = true;
        for (int d = 0; d < 4; d++) fits = fits && (x->size[d] == 1 || x->stride[d] == stride[d]);
    }
    if (fits) return keep(x);
    struct tensor *y = new_tensor(l, by_token, 4, (enum fm_dtype)x->dtype, PLAIN);
    struct tensor *seen = y ? new_view(l, y, x->size, stride, 4, 0) : NULL;
    drop(l, y);
    if (seen) record_copy(l, seen, x);
    return seen;
}

enum { Q, K, V, Y, LSE };

/* all three gradients, whoever wants them */
static void sdpa_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor **saved = n->unpacked;
    struct tensor *gc = contiguous_by_token(l, g), *yc = contiguous_by_token(l, saved[Y]);
    for (int i = Q; i <= V; i++) out[i] = new_like(l, saved[i], (enum fm_dtype)saved[i]->dtype);
    record(l, FM_K_SDPA_BWD, n->attr, out, 3, (struct tensor *[]){ gc, saved[Q], saved[K], saved[V], yc, saved[LSE] }, 6);
    drop(l, yc);
    drop(l, gc);
}

static struct var *sdpa(struct lower *l, struct var *const *in, double scale)
{
    if (!in[Q] || !in[K] || !in[V] || failed(l)) return NULL;
    struct fm_attr attr = { .alpha = scale };
    const struct tensor *q = in[Q]->x;
    struct node *n = new_node(l, sdpa_backward, in, 3);
    set_attr(l, n, &attr);
    for (int i = Q; i <= V; i++) save(l, n, in[i]->x);
    enum fm_dtype dtype = (enum fm_dtype)q->dtype;
    struct tensor *y = new_like(l, q, dtype);
    struct tensor *lse = new_tensor(l, q->size, DEPTH, dtype == FM_F64 ? FM_F64 : FM_F32, PLAIN);
    record(l, FM_K_SDPA, &attr, (struct tensor *[]){ y, lse }, 2, (struct tensor *[]){ in[Q]->x, in[K]->x, in[V]->x }, 3);
    save(l, n, y);
    save(l, n, lse);
    drop(l, lse);
    if (!l->stopped) return result(l, y, n);
    drop(l, y);
    return NULL;
}

/* what PyTorch's flash backend takes; f64 is the oracle's */
static bool flash_takes(struct lower *l, const struct fm_node *op, struct var *const *qkv)
{
    if (failed(l)) return false;
    enum fm_dtype dtype = (enum fm_dtype)qkv[Q]->x->dtype;
    int64_t depth = qkv[Q]->x->size[DEPTH];
    if (dtype != FM_F16 && dtype != FM_BF16 && dtype != FM_F64)
        lower_fail(l, FM_UNSUPPORTED, "%s: flash attention is for fp16 and bf16; in fp32 PyTorch takes another kernel", op->name);
    else if (depth > DEPTH_MAX)
        lower_fail(l, FM_UNSUPPORTED, "%s: flash attention takes heads of up to %d channels, not %lld", op->name, DEPTH_MAX,
                   (long long)depth);
    return !failed(l);
}

struct var *op_sdpa(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct var *low[3] = { NULL }, *whole[3] = { NULL }, *y = NULL, *out = NULL;
    for (int i = V; i >= Q; i--) low[i] = cast_low(l, in[i]);
    if (flash_takes(l, op, low)) {
        int64_t depth = low[Q]->x->size[DEPTH], full = (depth + DEPTH_STEP - 1) / DEPTH_STEP * DEPTH_STEP;
        for (int i = Q; i <= V; i++) whole[i] = pad(l, low[i], full);
        y = sdpa(l, whole, op->attr.alpha);
        out = y && !l->stopped ? slice(l, y, depth) : NULL;
    }
    drop_var(l, y);
    for (int i = V; i >= Q; i--) {
        drop_var(l, whole[i]);
        drop_var(l, low[i]);
    }
    return out;
}
