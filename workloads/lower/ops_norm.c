/* Normalizations. */
#include "workloads/lower/internal.h"

#include <string.h>

enum { X, WEIGHT, MEAN, RSTD };     /* saved, in rule 54's order (bias last where it is saved) */

static void three_gradients(struct lower *l, struct node *n, enum fm_kernel kernel, struct tensor *x, struct tensor *g,
                            struct tensor **out)
{
    out[0] = new_from_meta(l, &n->meta[0], (enum fm_dtype)n->meta[0].dtype);
    out[1] = new_vector(l, n->meta[1].size[0], (enum fm_dtype)n->meta[1].dtype);
    out[2] = new_vector(l, n->meta[2].size[0], (enum fm_dtype)n->meta[2].dtype);
    record(l, kernel, n->attr, out, 3,
           (struct tensor *[]){ g, x, n->unpacked[WEIGHT], n->unpacked[MEAN], n->unpacked[RSTD] }, 5);
}

static void batch_norm_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *gc = is_dense(g) ? keep(g) : kernel_contiguous(l, g);
    three_gradients(l, n, FM_K_BATCH_NORM_BWD, n->unpacked[X], gc, out);
    drop(l, gc);
}

static struct var *batch_norm_eval(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct fm_attr attr = attr_of(op);
    struct tensor *y = new_like(l, in[0]->x, (enum fm_dtype)in[0]->x->dtype);
    record(l, FM_K_BATCH_NORM_EVAL, &attr, &y, 1,
           (struct tensor *[]){ in[0]->x, in[1]->x, in[2]->x, in[3]->x, in[4]->x }, 5);
    return result(l, y, NULL);
}

struct var *op_batch_norm(struct lower *l, const struct fm_node *op, struct var **in)
{
    if (!l->training) return batch_norm_eval(l, op, in);
    struct fm_attr attr = attr_of(op);
    enum fm_dtype stat = in[1]->x->dtype == FM_F64 ? FM_F64 : FM_F32;
    if (op->n_in > 5) record_unary(l, FM_SCALE, 1, 1, in[5]->x, in[5]->x);      /* num_batches_tracked += 1 */
    struct node *n = new_node(l, batch_norm_backward, in, 3);
    save(l, n, in[0]->x);
    save(l, n, in[1]->x);
    if (l->stopped) return NULL;
    set_attr(l, n, &attr);
    struct tensor *y = new_like(l, in[0]->x, (enum fm_dtype)in[0]->x->dtype);
    struct tensor *mean = new_vector(l, in[0]->x->size[1], stat), *invstd = new_vector(l, in[0]->x->size[1], stat);
    record(l, FM_K_BATCH_NORM, &attr, (struct tensor *[]){ y, mean, invstd, in[3]->x, in[4]->x }, 5,
           (struct tensor *[]){ in[0]->x, in[1]->x, in[2]->x }, 3);
    save(l, n, mean);
    save(l, n, invstd);
    struct var *v = result(l, y, n);
    drop(l, mean);
    drop(l, invstd);
    return v;
}

/* ---- group norm, layer norm: fp32 under autocast; their inputs contiguous inside the kernel ---- */

static void group_norm_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *gc = kernel_contiguous(l, g), *xc = kernel_contiguous(l, n->unpacked[X]);
    three_gradients(l, n, FM_K_GROUP_NORM_BWD, xc, gc, out);
    drop(l, xc);
    drop(l, gc);
}

static void layer_norm_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *xc = kernel_contiguous(l, n->unpacked[X]);
    const struct meta *m = &n->meta[0];
    out[0] = new_tensor(l, m->size, m->ndim, (enum fm_dtype)m->dtype, PLAIN);
    out[1] = new_vector(l, n->meta[1].size[0], (enum fm_dtype)n->meta[1].dtype);
    out[2] = new_vector(l, n->meta[2].size[0], (enum fm_dtype)n->meta[2].dtype);
    struct tensor *gc = kernel_contiguous(l, g);        /* inside the kernel, after its outputs exist */
    record(l, FM_K_LAYER_NORM_BWD, n->attr, out, 3,
           (struct tensor *[]){ gc, xc, n->unpacked[WEIGHT], n->unpacked[MEAN], n->unpacked[RSTD] }, 5);
    drop(l, xc);
    drop(l, gc);
}

static struct var *norm_f32(struct lower *l, const struct fm_node *op, struct var **in, const int64_t *stat_size,
                            uint32_t stat_ndim)
{
    bool group = op->op == FM_OP_group_norm;
    struct var *x = cast_f32(l, in[0]), *v = NULL;
    if (!failed(l)) {
        struct fm_attr attr = attr_of(op);
        struct node *n =
            new_node(l, group ? group_norm_backward : layer_norm_backward, (struct var *[]){ x, in[1], in[2] }, 3);
        set_attr(l, n, &attr);
        save(l, n, x->x);
        save(l, n, in[1]->x);
        if (!l->stopped) {
            enum fm_dtype dtype = (enum fm_dtype)x->x->dtype;
            struct tensor *xc = kernel_contiguous(l, x->x);
            struct tensor *y = group ? new_like(l, x->x, dtype) : new_tensor(l, x->x->size, x->x->ndim, dtype, PLAIN);
            struct tensor *mean = new_tensor(l, stat_size, stat_ndim, dtype, PLAIN),
                          *rstd = new_tensor(l, stat_size, stat_ndim, dtype, PLAIN);
            record(l, group ? FM_K_GROUP_NORM : FM_K_LAYER_NORM, &attr, (struct tensor *[]){ y, mean, rstd }, 3,
                   (struct tensor *[]){ xc, in[1]->x, in[2]->x }, 3);
            drop(l, xc);
            save(l, n, mean);
            save(l, n, rstd);
            v = result(l, y, n);
            drop(l, mean);
            drop(l, rstd);
        }
    }
    drop_var(l, x);
    return v;
}

struct var *op_group_norm(struct lower *l, const struct fm_node *op, struct var **in)
{
    return norm_f32(l, op, in, (int64_t[]){ in[0]->x->size[0], op->attr.groups }, 2);
}

struct var *op_layer_norm(struct lower *l, const struct fm_node *op, struct var **in)
{
    int64_t size[FM_RANK];
    memcpy(size, in[0]->x->size, sizeof size);
    size[in[0]->x->ndim - 1] = 1;
    return norm_f32(l, op, in, size, in[0]->x->ndim);
}
