/* CONV, CONV_DGRAD, CONV_WGRAD of depthwise convolutions, as PyTorch has kernels of its own for them: no workspace (rule 44).
 * 2-D and 3-D, any strides of memory, one filter or several a channel; sums in f32. Forward and the data gradient gather, a
 * thread an element; the weight gradient is a block an element of the weight, in a fixed order of additions. */
#include "probes/backends/cuda/kernels/device.cuh"

namespace {

enum { MOST = 3 };                      /* spatial dimensions */
/* views of the space that is walked: results, two sources, bias, positions */
enum { RESULT, FIRST, SECOND, BIAS, POSITION };

struct depthwise_args {
    struct fm_cuda_views views;         /* of the result; for the weight gradient of one channel of g, with x for each sample */
    int32_t dims;
    int32_t size[MOST], kernel[MOST], stride[MOST], padding[MOST], dilation[MOST];     /* size: of what is gathered from */
    int64_t from[MOST], tap[MOST];      /* strides of what is gathered from; of the weight */
    int64_t filter_step;                /* data gradient: from one filter of a channel to the next, in g and in w */
    int64_t filter_weight;
    int64_t weights, channel_of_g, channel_of_x, weight_channel;        /* weight gradient: elements of dw; strides of channels */
    int32_t filters;                    /* of a channel */
};

static __device__ __forceinline__ float element(const depthwise_args &a, int view, int64_t at)
{
    return load_one<float>(a.views.data[view], a.views.dtype[view], at);
}

/* tap k of the window, last dimension fastest */
static __device__ __forceinline__ void tap_of(const depthwise_args &a, int k, int (&at)[MOST])
{
#pragma unroll
    for (int d = MOST - 1; d >= 0; d--) {
        int size = d < a.dims ? a.kernel[d] : 1;
        at[d] = k % size;
        k /= size;
    }
}

static __device__ __forceinline__ int taps_of(const depthwise_args &a)
{
    int taps = 1;
    for (int d = 0; d < a.dims; d++) taps *= a.kernel[d];
    return taps;
}

/* where output position p reads at this tap; false: in the padding */
static __device__ __forceinline__ bool reads(const depthwise_args &a, const int64_t *position, const int (&tap)[MOST], int64_t &offset)
{
    for (int d = 0; d < a.dims; d++) {
        int at = (int)position[d] * a.stride[d] - a.padding[d] + tap[d] * a.dilation[d];
        if (at < 0 || at >= a.size[d]) return false;
        offset += at * a.from[d];
    }
    return true;
}

/* the output that input position p goes into at this tap; false: none */
static __device__ __forceinline__ bool goes(const depthwise_args &a, const int64_t *position, const int (&tap)[MOST], int64_t &offset)
{
    for (int d = 0; d < a.dims; d++) {
        int at = (int)position[d] + a.padding[d] - tap[d] * a.dilation[d];
        if (at < 0 || at % a.stride[d] || at / a.stride[d] >= a.size[d]) return false;
        offset += at / a.stride[d] * a.from[d];
    }
    return true;
}

static __device__ __forceinline__ int64_t weight_offset(const depthwise_args &a, const int (&tap)[MOST])
{
    int64_t offset = 0;
    for (int d = 0; d < a.dims; d++) offset += tap[d] * a.tap[d];
    return offset;
}

/* GRADIENT: by the data, of all filters of the channel; else forward, one filter and a bias */
template <bool GRADIENT> static __global__ void __launch_bounds__(FM_THREADS) gather_kernel(const depthwise_args a)
{
    int64_t all = (int64_t)gridDim.x * FM_THREADS;
    int taps = taps_of(a);
    for (int64_t i = (int64_t)blockIdx.x * FM_THREADS + threadIdx.x; i < a.views.space.steps; i += all) {
        int64_t at[POSITION + MOST];
        locate(a.views.space, i, at);
        float sum = !GRADIENT && a.views.dtype[BIAS] != FM_INDEX ? element(a, BIAS, at[BIAS]) : 0;
        for (int k = 0; k < taps; k++) {
            int tap[MOST];
            int64_t from = at[FIRST];
            tap_of(a, k, tap);
            bool there = GRADIENT ? goes(a, at + POSITION, tap, from) : reads(a, at + POSITION, tap, from);
            if (!there) continue;
            int64_t weight = at[SECOND] + weight_offset(a, tap);
            for (int f = 0; f < a.filters; f++)
                sum += element(a, FIRST, from + f * a.filter_step) * element(a, SECOND, weight + f * a.filter_weight);
        }
        store_one<float>(a.views.data[RESULT], a.views.dtype[RESULT], at[RESULT], sum);
    }
}

/* the space is that of one output channel: FIRST g, SECOND x of the sample */
static __global__ void __launch_bounds__(FM_THREADS) weight_kernel(const depthwise_args a)
{
    int taps = taps_of(a);
    for (int64_t e = blockIdx.x; e < a.weights; e += gridDim.x) {
        int64_t channel = e / taps;
        int tap[MOST];
        float sum = 0;
        tap_of(a, (int)(e - channel * taps), tap);
        for (int64_t i = threadIdx.x; i < a.views.space.steps; i += FM_THREADS) {
            int64_t at[POSITION + MOST];
            locate(a.views.space, i, at);
            int64_t from = at[SECOND] + channel / a.filters * a.channel_of_x;
            if (!reads(a, at + POSITION, tap, from)) continue;
            sum += element(a, FIRST, at[FIRST] + channel * a.channel_of_g) * element(a, SECOND, from);
        }
        sum = group_sum(sum, FM_THREADS);
        if (threadIdx.x == 0)
            store_one<float>(a.views.data[RESULT], a.views.dtype[RESULT], channel * a.weight_channel + weight_offset(a, tap), sum);
    }
}

/* the operands by their roles: x (B, C, ...), w (C * filters, 1, ...), y (B, C * filters, ...) */
struct roles { const struct fm_operand *x, *w, *y; };

static fm_status roles_of(struct roles *r, const struct fm_cuda_call *call, struct fm_err *err)
{
    const struct fm_problem *p = &call->problem;
    const char *name = fm_kernel_name(p->kernel);
    fm_status status = fm_check(call, 1u << FM_F32 | 1u << FM_F16 | 1u << FM_BF16, 1, 2, err);
    if (status != FM_OK) return status;
    const struct fm_operand *out = &p->operand[0], *first = fm_in(call, 0), *second = fm_in(call, 1);
    r->x = p->kernel == FM_K_CONV ? first : p->kernel == FM_K_CONV_DGRAD ? out : second;
    r->w = p->kernel == FM_K_CONV_WGRAD ? out : second;
    r->y = p->kernel == FM_K_CONV ? out : first;
    int64_t groups = p->attr->groups;
    if (r->x->ndim < 4 || r->x->ndim > 5 || r->w->ndim != r->x->ndim || r->y->ndim != r->x->ndim)
        return FM_FAIL(err, FM_INVALID, "%s: not (B, C, ...) of 2 or 3 spatial dimensions", name);
    if (p->attr->transposed || r->x->size[1] != groups || r->w->size[1] != 1 || r->w->size[0] % groups)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s: not depthwise, for which alone there is an own kernel", name);
    for (int d = 2; d < r->x->ndim; d++)
        if (r->x->size[d] > INT32_MAX / 2 || r->y->size[d] > INT32_MAX / 2)
            return FM_FAIL(err, FM_UNSUPPORTED, "%s: a size above %d, which the cuda kernel does not take", name, INT32_MAX / 2);
    return FM_OK;
}

/* views of positions along each spatial dimension; `shift`: dimensions that were inserted before them */
static void add_positions(struct depthwise_args *a, int shift)
{
    for (int d = 0; d < MOST; d++) {
        int64_t along[FM_SPACE_DIMS] = { 0 };
        if (d < a->dims) along[2 + shift + d] = 1;
        fm_cuda_views_strided(&a->views, along, (enum fm_dtype)FM_INDEX, NULL);
    }
    fm_cuda_space_join(&a->views.space);
    fm_cuda_space_vectorize(&a->views.space, 1);
}

static void begin(struct depthwise_args *a, const struct roles *r, const struct fm_attr *attr, const struct fm_operand *from)
{
    memset(a, 0, sizeof *a);
    a->dims = r->x->ndim - 2;
    a->filters = (int32_t)(r->w->size[0] / attr->groups);
    for (int d = 0; d < a->dims; d++) {
        a->size[d] = (int32_t)from->size[2 + d];
        a->from[d] = from->stride[2 + d];
        a->kernel[d] = (int32_t)r->w->size[2 + d];
        a->tap[d] = r->w->stride[2 + d];
        a->stride[d] = attr->stride[d];
        a->padding[d] = attr->padding[d];
        a->dilation[d] = attr->dilation[d];
    }
}

static void plan_forward(struct depthwise_args *a, const struct roles *r, const struct fm_cuda_call *call)
{
    begin(a, r, call->problem.attr, r->x);
    int64_t m = a->filters;
    const int64_t x[FM_SPACE_DIMS] = { r->x->stride[0], r->x->stride[1] };
    const int64_t w[FM_SPACE_DIMS] = { 0, m * r->w->stride[0], r->w->stride[0] };
    void *bias = fm_in_data(call, 2);
    int64_t step = bias ? fm_in(call, 2)->stride[0] : 0;
    const int64_t along[FM_SPACE_DIMS] = { 0, m * step, step };
    fm_cuda_views_begin(&a->views, r->y);
    fm_cuda_views_add(&a->views, r->y, call->data[0]);
    fm_cuda_views_group(&a->views, 1, call->problem.attr->groups);
    fm_cuda_views_strided(&a->views, x, (enum fm_dtype)r->x->dtype, fm_in_data(call, 0));
    fm_cuda_views_strided(&a->views, w, (enum fm_dtype)r->w->dtype, fm_in_data(call, 1));
    fm_cuda_views_strided(&a->views, along, bias ? (enum fm_dtype)fm_in(call, 2)->dtype : (enum fm_dtype)FM_INDEX, bias);
    add_positions(a, 1);
    a->filters = 1;
}

static void plan_data(struct depthwise_args *a, const struct roles *r, const struct fm_cuda_call *call)
{
    begin(a, r, call->problem.attr, r->y);
    int64_t m = a->filters;
    const int64_t g[FM_SPACE_DIMS] = { r->y->stride[0], m * r->y->stride[1] }, w[FM_SPACE_DIMS] = { 0, m * r->w->stride[0] };
    const int64_t none[FM_SPACE_DIMS] = { 0 };
    fm_cuda_views_begin(&a->views, r->x);
    fm_cuda_views_add(&a->views, r->x, call->data[0]);
    fm_cuda_views_strided(&a->views, g, (enum fm_dtype)r->y->dtype, fm_in_data(call, 0));
    fm_cuda_views_strided(&a->views, w, (enum fm_dtype)r->w->dtype, fm_in_data(call, 1));
    fm_cuda_views_strided(&a->views, none, (enum fm_dtype)FM_INDEX, NULL);
    add_positions(a, 0);
    a->filter_step = r->y->stride[1];
    a->filter_weight = r->w->stride[0];
}

static void plan_weight(struct depthwise_args *a, const struct roles *r, const struct fm_cuda_call *call)
{
    struct fm_operand channel = *r->y;          /* one channel of g */
    begin(a, r, call->problem.attr, r->x);
    channel.size[1] = 1;
    channel.stride[1] = 0;
    const int64_t x[FM_SPACE_DIMS] = { r->x->stride[0] }, none[FM_SPACE_DIMS] = { 0 };
    fm_cuda_views_begin(&a->views, &channel);
    fm_cuda_views_strided(&a->views, none, (enum fm_dtype)r->w->dtype, call->data[0]);
    fm_cuda_views_add(&a->views, &channel, fm_in_data(call, 0));
    fm_cuda_views_strided(&a->views, x, (enum fm_dtype)r->x->dtype, fm_in_data(call, 1));
    fm_cuda_views_strided(&a->views, none, (enum fm_dtype)FM_INDEX, NULL);
    add_positions(a, 0);
    a->weights = fm_operand_numel(r->w);
    a->channel_of_g = r->y->stride[1];
    a->channel_of_x = r->x->stride[1];
    a->weight_channel = r->w->stride[0];
}

} // namespace

extern "C" fm_status fm_cuda_launch_depthwise(const struct fm_cuda_call *call, struct CUstream_st *stream, struct fm_err *err)
{
    struct depthwise_args a;
    struct roles r;
    fm_status status = roles_of(&r, call, err);
    if (status != FM_OK || fm_operand_numel(&call->problem.operand[0]) == 0) return status;
    if (call->problem.kernel == FM_K_CONV_WGRAD) {
        plan_weight(&a, &r, call);
        FM_LAUNCH(weight_kernel, fm_blocks(a.weights, 1), FM_THREADS, stream, a);
        return fm_launched(call, err);
    }
    bool gradient = call->problem.kernel == FM_K_CONV_DGRAD;
    if (gradient) plan_data(&a, &r, call);
    else plan_forward(&a, &r, call);
    auto kernel = gradient ? gather_kernel<true> : gather_kernel<false>;
    FM_LAUNCH(kernel, fm_blocks(a.views.space.steps, FM_THREADS), FM_THREADS, stream, a);
    return fm_launched(call, err);
}
