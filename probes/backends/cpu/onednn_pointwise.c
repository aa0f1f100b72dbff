/* A 1x1 convolution (no padding, one group) is a matrix product over positions: channels-last activations are matrices
 * of positions x channels as they lie, channel slices too. With strides the positions that count are gathered
 * first, or scattered into zeros afterwards.
 *
 * In low precision this is the only way taken: oneDNN 2.6's bf16 1x1 data gradient is wrong for odd channel counts
 * above 16 (71 classes: relative error 1.2 against the oracle), and its weight gradient of such a head at 64^3 takes
 * 96 MiB of scratch for two samples where the product takes 0.3. With strides its f32 weight gradient writes beyond its
 * scratchpad (8 to 8 channels). */
#include "probes/backends/cpu/onednn_internal.h"

#include <string.h>

bool fm_dnn_is_pointwise(const struct fm_problem *problem)
{
    const struct fm_attr *attr = problem->attr;
    const struct fm_operand *w = &problem->operand[problem->kernel == FM_K_CONV_WGRAD ? 0 : 2];
    if (attr->groups != 1) return false;
    for (int d = 0; d < w->ndim - 2; d++)
        if (w->size[2 + d] != 1 || attr->padding[d] != 0) return false;
    return true;
}

/* the operand on the wide side of the strides, and the one on the other */
static int wide_side(const struct fm_problem *problem, int *other)
{
    bool transposed = problem->attr->transposed;
    if (problem->kernel == FM_K_CONV_WGRAD) {   /* dw; g, x */
        *other = transposed ? 2 : 1;
        return transposed ? 1 : 2;
    }
    bool input_is_wide = (problem->kernel == FM_K_CONV) != transposed;
    *other = input_is_wide ? 0 : 1;
    return input_is_wide ? 1 : 0;
}

/* operand i at every stride-th position, as many as the other side has */
static struct fm_operand sampled(const struct fm_problem *problem, int i)
{
    struct fm_operand o = problem->operand[i];
    int other, wide = wide_side(problem, &other);
    if (i != wide) return o;
    for (int d = 2; d < o.ndim; d++) {
        int64_t step = problem->attr->stride[d - 2];
        if (step == 1) continue;
        o.stride[d] *= step;
        o.size[d] = problem->operand[other].size[d];
    }
    return o;
}

/* does the product give only some positions of the output? */
static bool scatters(const struct fm_problem *problem)
{
    int other;
    if (wide_side(problem, &other) != 0) return false;
    for (int d = 0; d < problem->operand[0].ndim - 2; d++)
        if (problem->attr->stride[d] != 1) return true;
    return false;
}

/* (B, C, spatial...) as (positions, C); false if the positions are not one stride apart */
static bool flatten(const struct fm_operand *o, struct fm_operand *matrix)
{
    int64_t count = 1, stride = 1;
    for (int k = 0; k < o->ndim - 1; k++) {
        int d = k == o->ndim - 2 ? 0 : o->ndim - 1 - k;         /* innermost of space first, then the batch */
        if (o->size[d] == 1) continue;
        if (count > 1 && o->stride[d] != stride * count) return false;
        if (count == 1) stride = o->stride[d];
        count *= o->size[d];
    }
    *matrix = *o;
    matrix->ndim = 2;
    matrix->size[0] = count;
    matrix->size[1] = o->size[1];
    matrix->stride[0] = stride;
    matrix->stride[1] = o->stride[1];
    return true;
}

static void turn(struct fm_operand *matrix)
{
    int64_t size = matrix->size[0], stride = matrix->stride[0];
    matrix->size[0] = matrix->size[1];
    matrix->stride[0] = matrix->stride[1];
    matrix->size[1] = size;
    matrix->stride[1] = stride;
}

struct pointwise {
    const struct fm_problem *problem;
    struct fm_dnn_plan *plan;
    struct fm_operand matrix[4];        /* as MATMUL wants them: y, a, b, bias */
    struct fm_dnn_place place[4];
    bool copied_back;                   /* y is computed in the workspace, then copied */
    struct fm_dnn_tensor inner, outer;
};

/* operand i of the convolution as the product's operand k; what is no matrix is copied to be one */
static void take_activation(struct pointwise *p, int i, int k)
{
    struct fm_operand o = sampled(p->problem, i);
    p->place[k] = (struct fm_dnn_place){ i, 0 };
    if (!(k == 0 && scatters(p->problem)) && flatten(&o, &p->matrix[k])) return;
    struct fm_dnn_tensor dense = { o, { -1, 0 }, { 0 } }, own = { o, { i, 0 }, { 0 } };
    fm_dnn_channels_last(&dense.operand);
    dense.place = fm_dnn_take(p->plan, (size_t)(fm_operand_numel(&o) * fm_dtype_bytes((enum fm_dtype)o.dtype)));
    p->place[k] = dense.place;
    flatten(&dense.operand, &p->matrix[k]);
    if (k > 0) {
        fm_dnn_add_own(p->plan, &dense, &own, NULL);
        return;
    }
    p->copied_back = true;
    p->inner = dense;
    p->outer = own;
}

/* weights (D0, D1, 1...) as a matrix D0 x D1 */
static void take_weights(struct pointwise *p, int i, int k)
{
    p->matrix[k] = p->problem->operand[i];
    p->matrix[k].ndim = 2;
    p->place[k] = (struct fm_dnn_place){ i, 0 };
}

static void take_bias(struct pointwise *p)
{
    const struct fm_operand *bias = &p->problem->operand[3];
    p->matrix[3] = p->matrix[0];
    p->matrix[3].dtype = bias->dtype;
    p->matrix[3].stride[0] = 0;
    p->matrix[3].stride[1] = bias->stride[0];
    p->place[3] = (struct fm_dnn_place){ 3, 0 };
}

fm_status fm_dnn_plan_pointwise(struct fm_dnn *dnn, const struct fm_problem *problem, struct fm_dnn_plan *plan,
                                struct fm_err *err)
{
    static const struct fm_attr plain = { .alpha = 1 };
    bool transposed = problem->attr->transposed;
    struct pointwise p = { .problem = problem, .plan = plan };
    if (problem->kernel == FM_K_CONV_WGRAD) {
        /* (O, C) = g^T x, whose transpose the weights of a transposed convolution are */
        take_weights(&p, 0, 0);
        take_activation(&p, 1, 1);
        take_activation(&p, 2, 2);
        turn(&p.matrix[1]);
        if (transposed) turn(&p.matrix[0]);
    } else {
        take_activation(&p, 0, 0);
        take_activation(&p, 1, 1);
        take_weights(&p, 2, 2);
        /* weights are (O, C), or (C, O) if transposed; the product wants (in, out) */
        if ((problem->kernel == FM_K_CONV) != transposed) turn(&p.matrix[2]);
        if (problem->n_in > 2) take_bias(&p);
    }
    struct fm_dnn_tensor y = { problem->operand[0], { 0, 0 }, { 0 } };
    bool late_bias = scatters(problem) && problem->n_in > 2;
    struct fm_problem product = { FM_K_MATMUL, 1, problem->n_in - late_bias, p.matrix, &plain };
    fm_status status = fm_dnn_plan_matmul(dnn, &product, p.place, plan, err);
    if (status != FM_OK) return status;
    if (scatters(problem)) fm_dnn_add_own(plan, &y, NULL, NULL);
    if (p.copied_back) fm_dnn_add_own(plan, &p.outer, &p.inner, NULL);
    if (late_bias) {
        struct fm_dnn_tensor bias = { problem->operand[0], { 3, 0 }, { 0 } };
        bias.operand.dtype = problem->operand[3].dtype;
        for (int d = 0; d < bias.operand.ndim; d++) bias.operand.stride[d] = d == 1 ? problem->operand[3].stride[0] : 0;
        fm_dnn_add_own(plan, &y, &y, &bias);
    }
    return FM_OK;
}
