/* Convolutions. All three directions of a plain convolution are oneDNN's own; a transposed convolution is the adjoint
 * of a plain one with the same weights, so its forward is that one's data gradient, and so on round.
 *
 * Activations are handed over channels-last: the fast implementations of every network here take that layout
 * (measured: 170-660 GFLOP/s on two cores of an EPYC 9005, plain layouts fall to a reference loop at 1). Weights go
 * in the layout that the implementation asks for. */
#include "probes/backends/cpu/onednn_internal.h"

#include <stdio.h>
#include <string.h>

#define FLIP_POSITIONS 4096

/* the problem as oneDNN sees it: which operand is what */
struct roles {
    enum fm_dnn_direction direction;
    int src, weights, dst;
    int bias;                   /* -1: none */
    int late_bias;              /* the same where the primitive has none: added afterwards; -1: none */
    int output;
    bool flipped;               /* a data gradient run as the forward convolution with its weights turned round */
};

enum layout { CHANNELS_LAST, LIBRARY };         /* of the activations */

struct conv {
    struct fm_dnn *dnn;
    const struct fm_problem *problem;
    struct fm_dnn_plan *plan;
    struct roles roles;
    enum fm_dtype compute;                      /* of the inputs */
    enum fm_dtype result;                       /* of the output as the primitive writes it */
    struct fm_dnn_desc src, weights, bias, dst; /* as asked for, then as the primitive wants them */
    dnnl_primitive_desc_t pd;
};

static struct roles find_roles(const struct fm_problem *problem)
{
    bool transposed = problem->attr->transposed;
    int third = problem->n_in > 2 ? 3 : -1;
    switch (problem->kernel) {
    case FM_K_CONV:                             /* y; x, w, [bias] */
        if (!transposed) return (struct roles){ FM_DNN_FORWARD, 1, 2, 0, third, -1, 0, false };
        return (struct roles){ FM_DNN_DGRAD, 0, 2, 1, -1, third, 0, false };
    case FM_K_CONV_DGRAD:                       /* dx; g, w */
        if (!transposed) return (struct roles){ FM_DNN_DGRAD, 0, 2, 1, -1, -1, 0, false };
        return (struct roles){ FM_DNN_FORWARD, 1, 2, 0, -1, -1, 0, false };
    default:                                    /* dw; g, x */
        if (!transposed) return (struct roles){ FM_DNN_WGRAD, 2, 0, 1, -1, -1, 0, false };
        return (struct roles){ FM_DNN_WGRAD, 1, 0, 2, -1, -1, 0, false };
    }
}

static const struct fm_operand *operand(const struct conv *c, int i)
{
    return &c->problem->operand[i];
}

static void row_major(struct fm_operand *o)
{
    int64_t stride = 1;
    for (int d = o->ndim - 1; d >= 0; d--) {
        o->stride[d] = stride;
        stride *= o->size[d];
    }
}

static bool same_layout(const struct fm_operand *a, const struct fm_operand *b)
{
    if (a->dtype != b->dtype) return false;
    for (int d = 0; d < a->ndim; d++)
        if (a->size[d] > 1 && a->stride[d] != b->stride[d]) return false;
    return true;
}

/* operand i as the primitive shall get it: dense channels-last, in the type it computes in */
static struct fm_operand wanted_activation(const struct conv *c, int i)
{
    struct fm_operand o = *operand(c, i);
    o.dtype = (uint8_t)(i == c->roles.output ? c->result : c->compute);
    fm_dnn_channels_last(&o);
    return o;
}

/* weights as they lie, or dense in the computed type if they lie in another */
static struct fm_operand wanted_weights(const struct conv *c)
{
    struct fm_operand o = *operand(c, c->roles.weights);
    enum fm_dtype dtype = c->roles.weights == c->roles.output ? c->result : c->compute;
    bool copy = c->roles.flipped || o.dtype != dtype;
    for (int d = 0; d < o.ndim; d++) copy |= o.size[d] > 1 && o.stride[d] == 0;
    if (!copy) return o;
    o.dtype = (uint8_t)dtype;
    row_major(&o);
    return o;
}

/* weights (O, C, k..) read as (C, O, k..), within each group */
static void exchange_channels(struct fm_dnn_shape *shape, int first)
{
    dnnl_dim_t size = shape->size[first], stride = shape->stride[first];
    shape->size[first] = shape->size[first + 1];
    shape->stride[first] = shape->stride[first + 1];
    shape->size[first + 1] = size;
    shape->stride[first + 1] = stride;
}

static fm_status describe_weights(struct fm_dnn_desc *desc, const struct conv *c, const struct fm_operand *o, bool any,
                                  struct fm_err *err)
{
    int groups = c->problem->attr->groups, split = groups > 1;
    struct fm_dnn_shape shape = { .ndim = split, .any = any, .type = fm_dnn_type((enum fm_dtype)o->dtype) };
    shape.size[0] = groups;
    shape.stride[0] = o->size[0] / groups * o->stride[0];
    for (int d = 0; d < o->ndim; d++, shape.ndim++) {
        shape.size[shape.ndim] = d == 0 ? o->size[0] / groups : o->size[d];
        shape.stride[shape.ndim] = o->stride[d];
    }
    if (c->roles.flipped) exchange_channels(&shape, split);
    return fm_dnn_check(fm_dnn_desc_init(desc, &shape), "convolution weights", err);
}

static fm_status describe(struct fm_dnn_desc *desc, const struct fm_operand *o, bool any, struct fm_err *err)
{
    struct fm_dnn_shape shape = { .ndim = o->ndim, .any = any, .type = fm_dnn_type((enum fm_dtype)o->dtype) };
    for (int d = 0; d < o->ndim; d++) {
        shape.size[d] = o->size[d];
        shape.stride[d] = o->stride[d];
    }
    return fm_dnn_check(fm_dnn_desc_init(desc, &shape), "convolution operand", err);
}

static fm_status describe_bias(struct conv *c, struct fm_err *err)
{
    if (c->roles.bias < 0) return FM_OK;
    const struct fm_operand *o = operand(c, c->roles.bias);
    struct fm_dnn_shape shape = { .ndim = 1, .type = fm_dnn_type((enum fm_dtype)o->dtype), .size = { o->size[0] },
                                  .stride = { 1 } };
    if (o->size[0] > 1 && o->stride[0] != 1)
        return FM_FAIL(err, FM_UNSUPPORTED, "convolution bias with stride %lld", (long long)o->stride[0]);
    return fm_dnn_check(fm_dnn_desc_init(&c->bias, &shape), "convolution bias", err);
}

/* strides, dilation and padding; the right padding is whatever makes the given sizes fit */
static fm_status geometry(const struct conv *c, struct fm_dnn_conv *conv, struct fm_err *err)
{
    const struct fm_attr *attr = c->problem->attr;
    const struct fm_operand *src = operand(c, c->roles.src), *dst = operand(c, c->roles.dst);
    const struct fm_operand *w = operand(c, c->roles.weights);
    for (int d = 0; d < src->ndim - 2; d++) {
        int64_t step = attr->stride[d], dilation = attr->dilation[d], left = attr->padding[d];
        int64_t in = src->size[d + 2], out = dst->size[d + 2], reach = (w->size[d + 2] - 1) * dilation + 1;
        if (c->roles.flipped) left = reach - 1 - left;
        int64_t right = left;
        if (step < 1 || dilation < 1 || left < 0)
            return FM_FAIL(err, FM_INVALID, "%s: stride %lld, dilation %lld, padding %lld in dimension %d",
                           fm_kernel_name(c->problem->kernel), (long long)step, (long long)dilation, (long long)left, d);
        if ((in + left + right - reach) / step + 1 != out || in + left + right < reach)
            right = (out - 1) * step + reach - in - left;
        conv->stride[d] = step;
        conv->dilation[d] = dilation - 1;
        conv->padding_left[d] = left;
        conv->padding_right[d] = right;
    }
    return FM_OK;
}

static void release(struct conv *c)
{
    fm_dnn_desc_release(&c->src);
    fm_dnn_desc_release(&c->weights);
    fm_dnn_desc_release(&c->bias);
    fm_dnn_desc_release(&c->dst);
    if (c->pd) dnnl_primitive_desc_destroy(c->pd);
    c->pd = NULL;
}

/* oneDNN 3.7's blocked forward is wrong with one channel a group where a stride leaves rows one position, and in low
 * precision over a depth of one that a deeper kernel is padded over. */
static bool blocked_is_wrong(const struct conv *c)
{
    const struct fm_operand *w = operand(c, c->roles.weights), *src = operand(c, c->roles.src);
    const struct fm_operand *dst = operand(c, c->roles.dst);
    int last = dst->ndim - 1;
    bool single = dst->size[last] == 1 && c->problem->attr->stride[last - 2] > 1;
    bool flat = dst->ndim == 5 && src->size[2] == 1 && w->size[2] > 1 && c->compute != FM_F32;
    return DNNL_VERSION_MAJOR > 2 && c->roles.direction == FM_DNN_FORWARD && w->size[1] == 1 && (single || flat) &&
           strncmp(c->plan->what, "br", 2) == 0;
}

/* one try: a primitive descriptor with the activations laid out so */
static fm_status choose(struct conv *c, enum layout layout, struct fm_err *err)
{
    fm_status status = FM_OK;
    struct fm_dnn_conv conv = { .direction = c->roles.direction, .src = &c->src, .weights = &c->weights, .dst = &c->dst };
    struct fm_operand src = wanted_activation(c, c->roles.src), dst = wanted_activation(c, c->roles.dst);
    struct fm_operand weights = wanted_weights(c);
    release(c);
    FM_TRY(geometry(c, &conv, err));
    FM_TRY(describe(&c->src, &src, layout == LIBRARY, err));
    FM_TRY(describe(&c->dst, &dst, layout == LIBRARY, err));
    FM_TRY(describe_weights(&c->weights, c, &weights, true, err));
    FM_TRY(describe_bias(c, err));
    if (c->roles.bias >= 0) conv.bias = &c->bias;
    dnnl_status_t created = fm_dnn_conv_create(&c->pd, &conv, c->dnn->engine);
    if (created == dnnl_success) {
        snprintf(c->plan->what, sizeof c->plan->what, "%s", fm_dnn_implementation(c->pd));
        if (!blocked_is_wrong(c)) return FM_OK;
        return FM_FAIL(err, FM_UNSUPPORTED, "%s: %s is wrong with one channel and so few positions",
                       fm_kernel_name(c->problem->kernel), c->plan->what);
    }
    c->pd = NULL;
    if (created == dnnl_unimplemented) return fm_dnn_unsupported(c->problem, c->compute, err);
    return fm_dnn_check(created, "convolution", err);
out:
    return status;
}

/* A data gradient of stride 1 is the forward convolution of the gradient with the weights turned round in space.
 * oneDNN 2.6's forward is the faster of the two in f32 (16 channels at 64^3: 198 GFLOP/s a core against 168) and for
 * depthwise ones; oneDNN 3 does the same by itself. Few positions do not repay turning the weights. */
static bool may_flip(const struct conv *c)
{
    const struct fm_attr *attr = c->problem->attr;
    const struct fm_operand *w = operand(c, c->roles.weights), *dx = operand(c, c->roles.src);
    bool depthwise = attr->groups > 1 && w->size[0] == attr->groups && w->size[1] == 1;
    int64_t positions = dx->size[0], volume = 1;
    if (DNNL_VERSION_MAJOR > 2 || c->roles.direction != FM_DNN_DGRAD || c->compute != (enum fm_dtype)w->dtype) return false;
    for (int d = 0; d < w->ndim - 2; d++) {
        if (attr->stride[d] != 1 || attr->padding[d] > (w->size[d + 2] - 1) * attr->dilation[d]) return false;
        positions *= dx->size[d + 2];
        volume *= w->size[d + 2];
    }
    return volume > 1 && positions >= FLIP_POSITIONS && (depthwise || c->compute == FM_F32);
}

static bool choose_flipped(struct conv *c)
{
    struct roles before = c->roles;
    if (!may_flip(c)) return false;
    c->roles.direction = FM_DNN_FORWARD;
    c->roles.src = before.dst;
    c->roles.dst = before.src;
    c->roles.flipped = true;
    if (choose(c, CHANNELS_LAST, NULL) == FM_OK && strncmp(c->plan->what, "br", 2) == 0) return true;
    c->roles = before;
    return false;
}

/* the layouts in order of preference, until one is fast */
static fm_status choose_best(struct conv *c, struct fm_err *err)
{
    if (choose_flipped(c)) return FM_OK;
    fm_status status = choose(c, CHANNELS_LAST, NULL);
    if (status == FM_OK && !fm_dnn_is_reference(c->plan->what)) return FM_OK;
    status = choose(c, LIBRARY, NULL);
    if (status == FM_OK && !fm_dnn_is_reference(c->plan->what)) return FM_OK;
    /* a CPU for which oneDNN has nothing better; in low precision it would only be slower than f32 */
    status = choose(c, CHANNELS_LAST, err);
    if (status == FM_OK && c->compute != FM_F32) status = fm_dnn_unsupported(c->problem, c->compute, err);
    return status;
}

/* replaces the descriptors asked for by those the primitive wants */
static fm_status wanted(struct conv *c, struct fm_err *err)
{
    static const dnnl_query_t query[3][3] = {
        [FM_DNN_FORWARD] = { dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md },
        [FM_DNN_DGRAD] = { dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md },
        [FM_DNN_WGRAD] = { dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md },
    };
    struct fm_dnn_desc *desc[3] = { &c->src, &c->weights, &c->dst };
    for (int i = 0; i < 3; i++) {
        fm_dnn_desc_release(desc[i]);
        fm_status status = fm_dnn_check(fm_dnn_desc_query(desc[i], c->pd, query[c->roles.direction][i]), "layout", err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

/* One operand between where the caller has it and where the primitive wants it. */
struct passage {
    int index;                                  /* of the operand */
    bool cast;                                  /* a copy stands between */
    struct fm_dnn_tensor outer, inner;          /* the caller's; the copy, or the caller's again */
    struct fm_dnn_desc desc;                    /* of inner */
    struct fm_dnn_place place;                  /* where the primitive finds it */
};

static fm_status open_passage(struct conv *c, int index, const struct fm_operand *want, const struct fm_dnn_desc *primitive,
                              struct passage *p, struct fm_err *err)
{
    bool weights = index == c->roles.weights;
    *p = (struct passage){ .index = index, .outer = { *operand(c, index), { index, 0 }, { 0 } } };
    p->cast = !same_layout(&p->outer.operand, want) || (weights && c->roles.flipped);
    p->inner = p->outer;
    p->inner.operand = *want;
    if (p->cast) {
        size_t bytes = (size_t)(fm_operand_numel(want) * fm_dtype_bytes((enum fm_dtype)want->dtype));
        p->inner.place = fm_dnn_take(c->plan, bytes);
        p->inner.operand.offset = 0;
    }
    p->place = p->inner.place;
    fm_status status = weights ? describe_weights(&p->desc, c, want, false, err) : describe(&p->desc, want, false, err);
    if (status != FM_OK) return status;
    if (!fm_dnn_desc_equal(&p->desc, primitive)) p->place = fm_dnn_take(c->plan, fm_dnn_desc_bytes(primitive));
    if (index == c->roles.output) return FM_OK;
    if (weights && c->roles.flipped) fm_dnn_add_flip(c->plan, &p->inner, &p->outer);
    else if (p->cast) fm_dnn_add_own(c->plan, &p->inner, &p->outer, NULL);
    if (fm_dnn_desc_equal(&p->desc, primitive)) return FM_OK;
    struct fm_dnn_binding from = { 0, p->inner.place, &p->desc }, to = { 0, p->place, primitive };
    return fm_dnn_add_reorder(c->dnn, c->plan, &from, &to, err);
}

/* the way back of the output */
static fm_status close_passage(struct conv *c, const struct fm_dnn_desc *primitive, const struct passage *p, struct fm_err *err)
{
    fm_status status = FM_OK;
    if (!fm_dnn_desc_equal(&p->desc, primitive)) {
        struct fm_dnn_binding from = { 0, p->place, primitive }, to = { 0, p->inner.place, &p->desc };
        status = fm_dnn_add_reorder(c->dnn, c->plan, &from, &to, err);
    }
    if (status == FM_OK && p->cast) fm_dnn_add_own(c->plan, &p->outer, &p->inner, NULL);
    return status;
}

/* the bias of a transposed convolution, in place */
static void add_late_bias(struct conv *c)
{
    if (c->roles.late_bias < 0) return;
    struct fm_dnn_tensor y = { *operand(c, c->roles.output), { c->roles.output, 0 }, { 0 } }, b = y;
    const struct fm_operand *bias = operand(c, c->roles.late_bias);
    b.operand.dtype = bias->dtype;
    for (int d = 0; d < b.operand.ndim; d++) b.operand.stride[d] = d == 1 ? bias->stride[0] : 0;
    b.place.operand = c->roles.late_bias;
    fm_dnn_add_own(c->plan, &y, &y, &b);
}

static fm_status build(struct conv *c, struct fm_err *err)
{
    static const int ids[3][3] = {
        [FM_DNN_FORWARD] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST },
        [FM_DNN_DGRAD] = { DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST },
        [FM_DNN_WGRAD] = { DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST },
    };
    fm_status status = FM_OK;
    const int index[3] = { c->roles.src, c->roles.weights, c->roles.dst };
    struct fm_operand want[3] = { wanted_activation(c, index[0]), wanted_weights(c), wanted_activation(c, index[2]) };
    struct fm_dnn_desc *primitive[3] = { &c->src, &c->weights, &c->dst };
    struct fm_dnn_binding binding[4];
    struct passage passage[3] = { 0 };
    int output = 0, bindings = 3;
    for (int i = 0; i < 3; i++) {
        FM_TRY(open_passage(c, index[i], &want[i], primitive[i], &passage[i], err));
        binding[i] = (struct fm_dnn_binding){ ids[c->roles.direction][i], passage[i].place, primitive[i] };
        if (index[i] == c->roles.output) output = i;
    }
    if (c->roles.bias >= 0)
        binding[bindings++] = (struct fm_dnn_binding){ DNNL_ARG_BIAS, { c->roles.bias, 0 }, &c->bias };
    dnnl_primitive_desc_t pd = c->pd;
    c->pd = NULL;
    FM_TRY(fm_dnn_add_primitive(c->dnn, c->plan, pd, binding, bindings, err));
    FM_TRY(close_passage(c, primitive[output], &passage[output], err));
    add_late_bias(c);
out:
    for (int i = 0; i < 3; i++) fm_dnn_desc_release(&passage[i].desc);
    return status;
}

static fm_status check_sizes(const struct conv *c, struct fm_err *err)
{
    const struct fm_operand *src = operand(c, c->roles.src), *w = operand(c, c->roles.weights), *dst = operand(c, c->roles.dst);
    int groups = c->problem->attr->groups, ndim = src->ndim;
    if (ndim < 4 || ndim > 5 || w->ndim != ndim || dst->ndim != ndim || groups < 1 || w->size[0] % groups != 0 ||
        w->size[0] != dst->size[1] || w->size[1] * groups != src->size[1] || src->size[0] != dst->size[0])
        return FM_FAIL(err, FM_INVALID, "%s: operands of %d, %d and %d dimensions with %lld and %lld channels in %d groups do not fit",
                       fm_kernel_name(c->problem->kernel), ndim, w->ndim, dst->ndim, (long long)src->size[1],
                       (long long)dst->size[1], groups);
    return FM_OK;
}

/* A product where it is one, with less workspace and at least as fast (measured: 768 x 3072 weight gradient 238 ms
 * against 312) but for an f32 weight gradient with few channels, where the convolution is (71 x 16 at 64^3: 9 ms
 * against 12). In low precision and with strides always: see onednn_pointwise.c. */
static bool as_product(const struct conv *c)
{
    if (!fm_dnn_is_pointwise(c->problem)) return false;
    const struct fm_operand *w = operand(c, c->roles.weights);
    bool strides = false;
    for (int d = 0; d < w->ndim - 2; d++) strides |= c->problem->attr->stride[d] != 1;
    return strides || c->compute != FM_F32 || c->roles.direction != FM_DNN_WGRAD || (w->size[0] >= 64 && w->size[1] >= 64);
}

/* oneDNN's bf16 weight gradient (2.6, 3.1, 3.7) is wrong for some unusual shapes (found by random trials against the
 * oracle): 3-D ones with stride and padding in depth, or narrower than the kernel in any dimension (3.x leaves taps
 * unwritten and writes beyond its scratchpad), and those with dilation or more padding than keeps the size. They are
 * computed in f32. */
static bool low_precision_is_wrong(const struct conv *c)
{
    const struct fm_attr *attr = c->problem->attr;
    const struct fm_operand *w = operand(c, c->roles.weights);
    if (c->compute == FM_F32 || c->roles.direction != FM_DNN_WGRAD) return false;
    if (w->ndim == 5 && attr->stride[0] > 1 && attr->padding[0] > 0) return true;
    for (int d = 0; d < w->ndim - 2; d++) {
        if (attr->dilation[d] != 1 || 2 * attr->padding[d] >= w->size[d + 2]) return true;
        if (w->ndim == 5 && operand(c, c->roles.src)->size[d + 2] < w->size[d + 2]) return true;
    }
    return false;
}

/* Its f32 one (2.6, 3.1, 3.7) is wrong too, and writes beyond its scratchpad, where a kernel is about as deep as the
 * volume and padded by more than its stride; there is nothing to compute that in. */
static fm_status check_right(const struct conv *c, struct fm_err *err)
{
    const struct fm_attr *attr = c->problem->attr;
    const struct fm_operand *w = operand(c, c->roles.weights), *src = operand(c, c->roles.src);
    if (c->roles.direction != FM_DNN_WGRAD || w->ndim != 5 || attr->stride[0] < 2 || attr->padding[0] <= attr->stride[0] ||
        src->size[2] > w->size[2] + attr->stride[0])
        return FM_OK;
    return FM_FAIL(err, FM_UNSUPPORTED, "%s: oneDNN's is wrong at depth %lld with kernel %lld, stride %d, padding %d",
                   fm_kernel_name(c->problem->kernel), (long long)src->size[2], (long long)w->size[2], attr->stride[0],
                   attr->padding[0]);
}

fm_status fm_dnn_plan_conv(struct fm_dnn *dnn, const struct fm_problem *problem, struct fm_dnn_plan *plan, struct fm_err *err)
{
    fm_status status = FM_OK;
    struct conv c = { .dnn = dnn, .problem = problem, .plan = plan, .roles = find_roles(problem) };
    enum fm_dtype a = (enum fm_dtype)operand(&c, 1)->dtype, b = (enum fm_dtype)operand(&c, 2)->dtype;
    enum fm_dtype out = (enum fm_dtype)operand(&c, 0)->dtype;
    c.compute = a == b ? a : FM_F32;
    c.result = out == c.compute ? out : FM_F32;
    FM_TRY(check_sizes(&c, err));
    FM_TRY(check_right(&c, err));
    if (as_product(&c)) return fm_dnn_plan_pointwise(dnn, problem, plan, err);
    if (low_precision_is_wrong(&c)) c.compute = c.result = FM_F32;
    FM_TRY(choose_best(&c, err));
    FM_TRY(wanted(&c, err));
    FM_TRY(build(&c, err));
out:
    release(&c);
    return status;
}
