#include "workloads/graph/attributes.h"

#include <string.h>

#define AT(field)   offsetof(struct fm_op_attr, field)
#define ANY         1e30
#define MAX_CLASSES 1e6
/* so that no product of a size with one of these leaves 64 bits: sizes stay below 2^45 */
#define MAX_STEP   16384
#define MAX_GROUPS 131072

#define CONVOLUTION(op)                                                                                                \
    { op, "stride", FM_ATTRIBUTE_SPATIAL, AT(stride), 1, MAX_STEP, false, 1 },                                         \
        { op, "padding", FM_ATTRIBUTE_SPATIAL, AT(padding), 0, MAX_STEP, false, 0 },                                   \
        { op, "dilation", FM_ATTRIBUTE_SPATIAL, AT(dilation), 1, MAX_STEP, false, 1 },                                 \
    {                                                                                                                  \
        op, "groups", FM_ATTRIBUTE_INT, AT(groups), 1, MAX_GROUPS, false, 1                                            \
    }
#define DIM(op)                                                                                                        \
    {                                                                                                                  \
        op, "dim", FM_ATTRIBUTE_INT, AT(dim), 0, FM_RANK - 1, true, 0                                                  \
    }

const struct fm_attribute fm_attributes[] = {
    { FM_OP_input, "input", FM_ATTRIBUTE_INPUT, AT(input), 0, 0, true, 0 },
    { FM_OP_input, "classes", FM_ATTRIBUTE_I64, AT(classes), 1, MAX_CLASSES, true, 0 },
    { FM_OP_input, "shape", FM_ATTRIBUTE_SHAPE, AT(shape), 0, 0, true, 0 },
    CONVOLUTION(FM_OP_conv),
    CONVOLUTION(FM_OP_conv_transpose),
    { FM_OP_sdpa, "scale", FM_ATTRIBUTE_REAL, AT(alpha), -ANY, ANY, true, 0 },
    { FM_OP_batch_norm, "eps", FM_ATTRIBUTE_REAL, AT(eps), 0, 1, false, 1e-5 },
    { FM_OP_batch_norm, "momentum", FM_ATTRIBUTE_REAL, AT(momentum), 0, 1, false, 0.1 },
    { FM_OP_group_norm, "groups", FM_ATTRIBUTE_INT, AT(groups), 1, MAX_GROUPS, true, 0 },
    { FM_OP_group_norm, "eps", FM_ATTRIBUTE_REAL, AT(eps), 0, 1, false, 1e-5 },
    { FM_OP_layer_norm, "eps", FM_ATTRIBUTE_REAL, AT(eps), 0, 1, false, 1e-5 },
    { FM_OP_leaky_relu, "slope", FM_ATTRIBUTE_REAL, AT(alpha), 0, ANY, false, 0.01 },
    { FM_OP_leaky_relu_, "slope", FM_ATTRIBUTE_REAL, AT(alpha), 0, ANY, false, 0.01 },
    { FM_OP_dropout, "probability", FM_ATTRIBUTE_REAL, AT(alpha), 0, 0.99, true, 0 },
    { FM_OP_drop_path, "probability", FM_ATTRIBUTE_REAL, AT(alpha), 0, 0.99, true, 0 },
    DIM(FM_OP_softmax),
    DIM(FM_OP_log_softmax),
    { FM_OP_nll_loss, "ignore_index", FM_ATTRIBUTE_I64, AT(ignore_index), -1e9, 1e9, false, -100 },
    { FM_OP_interpolate, "size", FM_ATTRIBUTE_PLANE, AT(shape), 0, 0, true, 0 },
    DIM(FM_OP_cat),
    { FM_OP_affine, "alpha", FM_ATTRIBUTE_REAL, AT(alpha), -ANY, ANY, false, 1 },
    { FM_OP_affine, "beta", FM_ATTRIBUTE_REAL, AT(beta), -ANY, ANY, false, 0 },
    { FM_OP_log, "beta", FM_ATTRIBUTE_REAL, AT(beta), -ANY, ANY, false, 0 },
    { FM_OP_sum, "dims", FM_ATTRIBUTE_DIMS, AT(dims), 0, 0, true, 0 },
    { FM_OP_sum, "keepdim", FM_ATTRIBUTE_FLAG, AT(keepdim), 0, 0, false, 0 },
    { FM_OP_mean, "dims", FM_ATTRIBUTE_DIMS, AT(dims), 0, 0, false, 0 },
    { FM_OP_mean, "keepdim", FM_ATTRIBUTE_FLAG, AT(keepdim), 0, 0, false, 0 },
    { FM_OP_reshape, "shape", FM_ATTRIBUTE_SHAPE, AT(shape), 0, 0, true, 0 },
    { FM_OP_transpose, "dims", FM_ATTRIBUTE_PAIR, AT(dim), 0, 0, true, 0 },
    { FM_OP_permute, "order", FM_ATTRIBUTE_ORDER, AT(order), 0, 0, true, 0 },
    { FM_OP_one_hot, "classes", FM_ATTRIBUTE_I64, AT(classes), 1, MAX_CLASSES, true, 0 },
    DIM(FM_OP_argmax),
    { FM_OP_equal_scalar, "value", FM_ATTRIBUTE_REAL, AT(alpha), -ANY, ANY, true, 0 },
};
const size_t fm_attribute_count = sizeof fm_attributes / sizeof fm_attributes[0];

const char *const fm_input_names[4] = { "volume", "image", "volume_labels", "image_labels" };

static bool spatial_equal(const int32_t *a, const int32_t *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static bool real_equal(double a, double b)
{
    return !(a < b) && !(a > b);
}

bool fm_attr_equal(const struct fm_op_attr *a, const struct fm_op_attr *b)
{
    for (int d = 0; d < FM_RANK; d++)
        if (a->order[d] != b->order[d]) return false;
    return spatial_equal(a->kernel, b->kernel) && spatial_equal(a->stride, b->stride) &&
           spatial_equal(a->padding, b->padding) && spatial_equal(a->dilation, b->dilation) && a->groups == b->groups &&
           a->dim == b->dim && a->dim2 == b->dim2 && a->dims == b->dims && a->keepdim == b->keepdim &&
           a->all == b->all && real_equal(a->alpha, b->alpha) && real_equal(a->beta, b->beta) &&
           real_equal(a->eps, b->eps) && real_equal(a->momentum, b->momentum) && a->ignore_index == b->ignore_index &&
           a->classes == b->classes && a->input == b->input && a->shape.ndim == b->shape.ndim;
}

void fm_attr_clear_known(enum fm_op op, struct fm_op_attr *attr)
{
    static const size_t bytes[] = {
        [FM_ATTRIBUTE_INT] = sizeof(int32_t),           [FM_ATTRIBUTE_I64] = sizeof(int64_t),
        [FM_ATTRIBUTE_REAL] = sizeof(double),           [FM_ATTRIBUTE_FLAG] = sizeof(bool),
        [FM_ATTRIBUTE_SPATIAL] = 3 * sizeof(int32_t),   [FM_ATTRIBUTE_DIMS] = sizeof(uint32_t),
        [FM_ATTRIBUTE_PAIR] = 2 * sizeof(int32_t),      [FM_ATTRIBUTE_ORDER] = FM_RANK * sizeof(uint32_t),
        [FM_ATTRIBUTE_SHAPE] = sizeof(struct fm_shape), [FM_ATTRIBUTE_PLANE] = sizeof(struct fm_shape),
        [FM_ATTRIBUTE_INPUT] = sizeof(enum fm_input),
    };
    for (size_t i = 0; i < fm_attribute_count; i++)
        if (fm_attributes[i].op == op) memset((char *)attr + fm_attributes[i].offset, 0, bytes[fm_attributes[i].kind]);
    /* what follows from the inputs */
    if (op == FM_OP_conv || op == FM_OP_conv_transpose) memset(attr->kernel, 0, sizeof attr->kernel);
    if (op == FM_OP_mean) attr->all = false;
}
