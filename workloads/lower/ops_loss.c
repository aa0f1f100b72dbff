/* Softmax, losses, labels, inputs; and the table of all operators. */
#include "workloads/lower/internal.h"

/* ---- softmax ---- */

static void softmax_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    struct tensor *gc = kernel_contiguous(l, g);
    out[0] = new_like(l, n->unpacked[0], (enum fm_dtype)n->meta[0].dtype);
    record(l, FM_K_SOFTMAX_BWD, n->attr, &out[0], 1, (struct tensor *[]){ gc, n->unpacked[0] }, 2);
    drop(l, gc);
}

static struct var *softmax(struct lower *l, struct var *x, enum fm_dtype dtype, struct fm_attr attr)
{
    if (!x || failed(l)) return NULL;
    struct node *n = new_node(l, softmax_backward, &x, 1);
    set_attr(l, n, &attr);
    struct tensor *xc = kernel_contiguous(l, x->x);
    /* contiguous whatever came (LEGACY_CONTIGUOUS_MEMORY_FORMAT) */
    struct tensor *y = new_tensor(l, xc->size, xc->ndim, dtype, xc->store->channels && xc->ndim >= 4 ? IMAGE : PLAIN);
    record(l, FM_K_SOFTMAX, &attr, &y, 1, &xc, 1);
    drop(l, xc);
    save(l, n, y);
    return result(l, y, n);
}

/* under autocast: f32 out of f16 in one kernel; bf16 is copied to f32 first (rules 27, 63) */
struct var *op_softmax(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct fm_attr attr = { .dim = (uint8_t)op->attr.dim };
    enum fm_dtype dtype = (enum fm_dtype)in[0]->x->dtype;
    if (!l->autocast || dtype == FM_F32 || dtype == FM_F64) return softmax(l, in[0], dtype, attr);
    if (dtype == FM_F16) return softmax(l, in[0], FM_F32, attr);
    struct var *x = cast_to(l, in[0], FM_F32), *y = softmax(l, x, FM_F32, attr);
    drop_var(l, x);
    return y;
}

struct var *op_log_softmax(struct lower *l, const struct fm_node *op, struct var **in)
{
    return softmax(l, in[0], (enum fm_dtype)in[0]->x->dtype,
                   (struct fm_attr){ .dim = (uint8_t)op->attr.dim, .mode = 1 });
}

/* ---- negative log likelihood ---- */

static void nll_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    const struct meta *m = &n->meta[0];
    bool weighted = n->saved_count > 3;
    struct tensor *total = n->unpacked[2], *weight = weighted ? n->unpacked[3] : NULL;
    out[0] = new_tensor(l, m->size, m->ndim, (enum fm_dtype)m->dtype, m->channels ? IMAGE : PLAIN);
    record(l, FM_K_NLL_BWD, n->attr, &out[0], 1, (struct tensor *[]){ g, n->unpacked[1], total, weight },
           weighted ? 4 : 3);
}

struct var *op_nll_loss(struct lower *l, const struct fm_node *op, struct var **in)
{
    struct var *x = cast_f32(l, in[0]), *v = NULL;
    if (!failed(l)) {
        struct fm_attr attr = { .ignore_index = op->attr.ignore_index };
        bool weighted = op->n_in > 2;
        struct node *n = new_node(l, nll_backward, (struct var *[]){ x, in[1] }, 2);
        set_attr(l, n, &attr);
        save(l, n, x->x);
        save(l, n, in[1]->x);
        if (!l->stopped) {
            enum fm_dtype dtype = (enum fm_dtype)x->x->dtype;
            struct tensor *loss = new_scalar(l, dtype), *total = new_scalar(l, dtype), *xc = kernel_contiguous(l, x->x);
            record(l, FM_K_NLL, &attr, (struct tensor *[]){ loss, total }, 2,
                   (struct tensor *[]){ xc, in[1]->x, weighted ? in[2]->x : NULL }, op->n_in);
            drop(l, xc);
            save(l, n, total);
            if (weighted) save(l, n, in[2]->x);
            v = result(l, loss, n);
            drop(l, total);
        }
    }
    drop_var(l, x);
    return v;
}

/* ---- labels ---- */

/* eager: zeros + scatter. Under a dispatch mode: arange, a boolean comparison, a cast (rule 65). Recorded as a
 * comparison either way; the eager form writes it straight into the i64 result. */
struct var *op_one_hot(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct fm_shape *s = &l->body->value[op->out].shape;
    struct tensor *x = in[0]->x, *classes = new_vector(l, op->attr.classes, FM_I64);
    record(l, FM_K_ARANGE, NULL, &classes, 1, NULL, 0);
    int64_t stride[FM_RANK] = { 0 };
    for (uint32_t d = 0; d < x->ndim; d++) stride[d] = x->stride[d];
    struct tensor *wide = new_view(l, x, s->size, stride, s->ndim, x->offset);
    struct tensor *y = NULL;
    if (l->policy->accounting == FM_ACCOUNTING_EAGER) {
        y = new_tensor(l, s->size, s->ndim, FM_I64, PLAIN);
        record_binary(l, FM_EQ, 0, y, wide, classes);
        drop(l, classes);
    } else {
        struct tensor *hot = new_tensor(l, s->size, s->ndim, FM_BOOL, PLAIN);
        record_binary(l, FM_EQ, 0, hot, wide, classes);
        y = new_tensor(l, s->size, s->ndim, FM_I64, PLAIN);
        record_copy(l, y, hot);
        drop(l, hot);
        drop(l, classes);
    }
    drop(l, wide);
    return result(l, y, NULL);
}

struct var *op_argmax(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct fm_shape *s = &l->body->value[op->out].shape;
    const struct tensor *x = in[0]->x;
    uint32_t dim = (uint32_t)op->attr.dim;
    struct tensor *y = new_tensor(l, s->size, s->ndim, FM_I64, PLAIN);
    if (failed(l)) return NULL;
    struct fm_operand out = operand_of(y), from = out;
    out.ndim = x->ndim;
    for (uint32_t d = 0; d < x->ndim; d++) {
        out.size[d] = d == dim ? 1 : from.size[d < dim ? d : d - 1];
        out.stride[d] = d == dim ? 0 : from.stride[d < dim ? d : d - 1];
    }
    record_operands(l, FM_K_ARGMAX, &(struct fm_attr){ .dim = (uint8_t)dim },
                    (struct fm_operand[]){ out, operand_of(x) }, 1, 1);
    return result(l, y, NULL);
}

struct var *op_compare(struct lower *l, const struct fm_node *op, struct var **in)
{
    const struct fm_shape *s = &l->body->value[op->out].shape;
    struct tensor *y = new_tensor(l, s->size, s->ndim, FM_BOOL, PLAIN);
    enum fm_binary mode = op->op == FM_OP_equal ? FM_EQ : op->op == FM_OP_logical_and ? FM_AND : FM_OR;
    if (op->op == FM_OP_equal_scalar) record_unary(l, FM_EQUAL, op->attr.alpha, 0, y, in[0]->x);
    else record_binary(l, mode, 0, y, in[0]->x, in[1]->x);
    return result(l, y, NULL);
}

/* ---- inputs ---- */

/* loader: a tensor of its own each time; plain: the resident one is filled again */
struct var *op_input(struct lower *l, const struct fm_node *op, struct var **in)
{
    (void)in;
    const struct fm_op_attr *a = &op->attr;
    bool labels = a->input == FM_INPUT_VOLUME_LABELS || a->input == FM_INPUT_IMAGE_LABELS;
    struct tensor *x = keep(l->resident[op->out]);
    if (!x) x = new_tensor(l, a->shape.size, a->shape.ndim, labels ? FM_I64 : l->policy->base, labels ? PLAIN : image_layout(l));
    set_kind(l, x, FM_STORAGE_INPUT);
    struct fm_attr attr = { .mode = (uint8_t)a->input, .alpha = (double)a->classes, .beta = l->policy->fixed_batch,
                            .groups = (int32_t)l->policy->accumulate, .stream = l->micro };
    record(l, FM_K_INPUT, &attr, &x, 1, NULL, 0);
    return result(l, x, NULL);
}

const op_fn lower_ops[FM_OP_COUNT] = {
    [FM_OP_input] = op_input,
    [FM_OP_conv] = op_conv,
    [FM_OP_conv_transpose] = op_conv,
    [FM_OP_linear] = op_linear,
    [FM_OP_matmul] = op_matmul,
    [FM_OP_sdpa] = op_sdpa,
    [FM_OP_batch_norm] = op_batch_norm,
    [FM_OP_group_norm] = op_group_norm,
    [FM_OP_layer_norm] = op_layer_norm,
    [FM_OP_relu] = op_activation,
    [FM_OP_relu_] = op_activation_,
    [FM_OP_leaky_relu] = op_activation,
    [FM_OP_leaky_relu_] = op_activation_,
    [FM_OP_gelu] = op_activation,
    [FM_OP_silu] = op_activation,
    [FM_OP_dropout] = op_dropout,
    [FM_OP_drop_path] = op_drop_path,
    [FM_OP_softmax] = op_softmax,
    [FM_OP_log_softmax] = op_log_softmax,
    [FM_OP_nll_loss] = op_nll_loss,
    [FM_OP_interpolate] = op_interpolate,
    [FM_OP_cat] = op_cat,
    [FM_OP_stack] = op_stack,
    [FM_OP_add] = op_add_sub,
    [FM_OP_sub] = op_add_sub,
    [FM_OP_mul] = op_mul,
    [FM_OP_div] = op_div,
    [FM_OP_add_] = op_add_,
    [FM_OP_affine] = op_affine,
    [FM_OP_log] = op_log,
    [FM_OP_sum] = op_sum,
    [FM_OP_mean] = op_mean,
    [FM_OP_reshape] = op_reshape,
    [FM_OP_transpose] = op_transpose,
    [FM_OP_permute] = op_permute,
    [FM_OP_clone] = op_clone,
    [FM_OP_one_hot] = op_one_hot,
    [FM_OP_argmax] = op_argmax,
    [FM_OP_equal_scalar] = op_compare,
    [FM_OP_equal] = op_compare,
    [FM_OP_logical_and] = op_compare,
    [FM_OP_logical_or] = op_compare,
};
