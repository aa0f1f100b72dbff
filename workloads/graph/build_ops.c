/* Operators: each builds its attributes and emits one node. */
#include "workloads/graph/build_internal.h"

#include <stdio.h>

static const struct fm_op_attr none = { 0 };

static fm_value unary(struct fm_build *b, enum fm_op op, const char *name, fm_value x, struct fm_op_attr attr)
{
    return fm_build_emit(b, op, name, &x, 1, &attr);
}

fm_value fm_input(struct fm_build *b, const char *name, enum fm_input kind, int64_t classes, struct fm_shape shape)
{
    struct fm_op_attr attr = { .input = kind, .classes = classes, .shape = shape };
    return fm_build_emit(b, FM_OP_input, name, NULL, 0, &attr);
}

fm_value fm_relu(struct fm_build *b, const char *name, fm_value x) { return unary(b, FM_OP_relu, name, x, none); }
fm_value fm_relu_(struct fm_build *b, const char *name, fm_value x) { return unary(b, FM_OP_relu_, name, x, none); }
fm_value fm_gelu(struct fm_build *b, const char *name, fm_value x) { return unary(b, FM_OP_gelu, name, x, none); }
fm_value fm_silu(struct fm_build *b, const char *name, fm_value x) { return unary(b, FM_OP_silu, name, x, none); }
fm_value fm_clone(struct fm_build *b, const char *name, fm_value x) { return unary(b, FM_OP_clone, name, x, none); }

fm_value fm_leaky_relu(struct fm_build *b, const char *name, fm_value x, double slope)
{
    return unary(b, FM_OP_leaky_relu, name, x, (struct fm_op_attr){ .alpha = slope });
}

fm_value fm_leaky_relu_(struct fm_build *b, const char *name, fm_value x, double slope)
{
    return unary(b, FM_OP_leaky_relu_, name, x, (struct fm_op_attr){ .alpha = slope });
}

fm_value fm_dropout(struct fm_build *b, const char *name, fm_value x, double probability)
{
    return unary(b, FM_OP_dropout, name, x, (struct fm_op_attr){ .alpha = probability });
}

fm_value fm_drop_path(struct fm_build *b, const char *name, fm_value x, double probability)
{
    return unary(b, FM_OP_drop_path, name, x, (struct fm_op_attr){ .alpha = probability });
}

fm_value fm_softmax(struct fm_build *b, const char *name, fm_value x, int dim)
{
    return unary(b, FM_OP_softmax, name, x, (struct fm_op_attr){ .dim = dim });
}

fm_value fm_log_softmax(struct fm_build *b, const char *name, fm_value x, int dim)
{
    return unary(b, FM_OP_log_softmax, name, x, (struct fm_op_attr){ .dim = dim });
}

fm_value fm_nll_loss(struct fm_build *b, const char *name, fm_value logp, fm_value target, int64_t ignore_index)
{
    struct fm_op_attr attr = { .ignore_index = ignore_index };
    return fm_build_emit(b, FM_OP_nll_loss, name, (fm_value[]){ logp, target }, 2, &attr);
}

fm_value fm_cross_entropy(struct fm_build *b, const char *name, fm_value logits, fm_value target, int64_t ignore_index)
{
    char part[FM_NAME_BYTES];
    (void)snprintf(part, sizeof part, "%.40s.log_softmax", name);
    fm_value logp = fm_log_softmax(b, part, logits, 1);
    (void)snprintf(part, sizeof part, "%.40s.nll", name);
    return fm_nll_loss(b, part, logp, target, ignore_index);
}

fm_value fm_matmul(struct fm_build *b, const char *name, fm_value a, fm_value c)
{
    return fm_build_emit(b, FM_OP_matmul, name, (fm_value[]){ a, c }, 2, &none);
}

fm_value fm_sdpa(struct fm_build *b, const char *name, const fm_value qkv[3], double scale)
{
    struct fm_op_attr attr = { .alpha = scale };
    return fm_build_emit(b, FM_OP_sdpa, name, qkv, 3, &attr);
}

fm_value fm_interpolate(struct fm_build *b, const char *name, fm_value x, int64_t height, int64_t width)
{
    struct fm_op_attr attr = { .shape = fm_shape_of(b, x) };
    attr.shape.size[2] = height;
    attr.shape.size[3] = width;
    return fm_build_emit(b, FM_OP_interpolate, name, &x, 1, &attr);
}

fm_value fm_cat(struct fm_build *b, const char *name, const fm_value *x, uint32_t n, int dim)
{
    struct fm_op_attr attr = { .dim = dim };
    return fm_build_emit(b, FM_OP_cat, name, x, n, &attr);
}

fm_value fm_stack(struct fm_build *b, const char *name, const fm_value *x, uint32_t n)
{
    return fm_build_emit(b, FM_OP_stack, name, x, n, &none);
}

fm_value fm_binary(struct fm_build *b, enum fm_op op, const char *name, fm_value x, fm_value y)
{
    return fm_build_emit(b, op, name, (fm_value[]){ x, y }, 2, &none);
}

fm_value fm_affine(struct fm_build *b, const char *name, fm_value x, double alpha, double beta)
{
    return unary(b, FM_OP_affine, name, x, (struct fm_op_attr){ .alpha = alpha, .beta = beta });
}

fm_value fm_log_plus(struct fm_build *b, const char *name, fm_value x, double beta)
{
    return unary(b, FM_OP_log, name, x, (struct fm_op_attr){ .beta = beta });
}

fm_value fm_sum(struct fm_build *b, const char *name, fm_value x, uint32_t dims, bool keepdim)
{
    return unary(b, FM_OP_sum, name, x, (struct fm_op_attr){ .dims = dims, .keepdim = keepdim });
}

fm_value fm_mean(struct fm_build *b, const char *name, fm_value x)
{
    return unary(b, FM_OP_mean, name, x, (struct fm_op_attr){ .all = true });
}

fm_value fm_mean_dims(struct fm_build *b, const char *name, fm_value x, uint32_t dims, bool keepdim)
{
    return unary(b, FM_OP_mean, name, x, (struct fm_op_attr){ .dims = dims, .keepdim = keepdim });
}

fm_value fm_reshape(struct fm_build *b, fm_value x, uint32_t ndim, const int64_t *size)
{
    if (fm_build_broken(b) || ndim > FM_RANK) return FM_NO_VALUE;
    struct fm_op_attr attr = { .shape.ndim = ndim };
    struct fm_shape from = fm_shape_of(b, x);
    int64_t known = 1;
    for (uint32_t d = 0; d < ndim; d++) known *= size[d] == -1 ? 1 : size[d];
    for (uint32_t d = 0; d < ndim; d++) attr.shape.size[d] = size[d] == -1 && known ? fm_shape_numel(&from) / known : size[d];
    return fm_build_emit(b, FM_OP_reshape, "reshape", &x, 1, &attr);
}

fm_value fm_transpose(struct fm_build *b, fm_value x, int dim, int dim2)
{
    return unary(b, FM_OP_transpose, "transpose", x, (struct fm_op_attr){ .dim = dim, .dim2 = dim2 });
}

fm_value fm_permute(struct fm_build *b, fm_value x, const uint32_t *order)
{
    struct fm_op_attr attr = { 0 };
    struct fm_shape shape = fm_shape_of(b, x);
    for (uint32_t d = 0; d < shape.ndim; d++) attr.order[d] = order[d];
    return fm_build_emit(b, FM_OP_permute, "permute", &x, 1, &attr);
}

fm_value fm_one_hot(struct fm_build *b, const char *name, fm_value x, int64_t classes)
{
    return unary(b, FM_OP_one_hot, name, x, (struct fm_op_attr){ .classes = classes });
}

fm_value fm_argmax(struct fm_build *b, const char *name, fm_value x, int dim)
{
    return unary(b, FM_OP_argmax, name, x, (struct fm_op_attr){ .dim = dim });
}

fm_value fm_equal_scalar(struct fm_build *b, const char *name, fm_value x, double value)
{
    return unary(b, FM_OP_equal_scalar, name, x, (struct fm_op_attr){ .alpha = value });
}
