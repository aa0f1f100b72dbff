/* BATCH_NORM, BATCH_NORM_EVAL, BATCH_NORM_BWD, GROUP_NORM, GROUP_NORM_BWD: a reduction for the statistics, then a pass
 * over the elements. Any layout: what is contiguous decides how threads lie. */
#include "probes/backends/cuda/kernels/elementwise.cuh"
#include "probes/backends/cuda/kernels/pair.cuh"
#include "probes/backends/cuda/kernels/reduce.cuh"

namespace {

/* count, mean and squared deviations, merged as Chan, Golub and LeVeque (1979): no cancellation whatever the mean.
 * Views: x; mean, rstd and, for a batch norm, the running ones. */
struct moments {
    typedef float T;
    struct part { float count, mean, square; };
    static constexpr int INPUTS = 1, VALUES = 1, WORDS = 3, MOST_WIDTH = 8;
    float count, eps, momentum;
    __device__ void clear(part &p) const { p.count = p.mean = p.square = 0; }
    template <int V>
    __device__ void read(float (&x)[1][V], const fm_reduce_args &a, const int64_t (&at)[1], const int64_t *step) const
    {
        load<float, V>(x[0], a.data[0], a.dtype[0], at[0], step[0]);
    }
    template <int V> __device__ void add(part &p, const float (&x)[1][V], int first, int number) const
    {
        part q;
        float sum = 0;
#pragma unroll
        for (int k = 0; k < V; k++)
            if (k >= first && k < first + number) sum += x[0][k];
        q.count = (float)number;
        q.mean = sum / q.count;
        q.square = 0;
#pragma unroll
        for (int k = 0; k < V; k++)
            if (k >= first && k < first + number) q.square += (x[0][k] - q.mean) * (x[0][k] - q.mean);
        merge(p, q);
    }
    __device__ void merge(part &p, const part &other) const
    {
        float all = p.count + other.count, away = other.mean - p.mean;
        if (!(other.count > 0)) return;
        float share = other.count / all;
        p.mean += away * share;
        p.square += other.square + away * away * p.count * share;
        p.count = all;
    }
    __device__ void move(const fm_reduce_args &a, int v, int64_t at, float value) const
    {
        if (a.dtype[v] == FM_INDEX) return;
        float old = load_one<float>(a.data[v], a.dtype[v], at);
        store_one<float>(a.data[v], a.dtype[v], at, (1 - momentum) * old + momentum * value);
    }
    __device__ void finish(const part &p, const fm_reduce_args &a, const int64_t (&at)[FM_SPACE_VIEWS]) const
    {
        float variance = p.square / count;
        store_if(a.data[1], a.dtype[1], at[1], p.mean);
        store_if(a.data[2], a.dtype[2], at[2], 1 / sqrtf(variance + eps));
        move(a, 3, at[3], p.mean);
        move(a, 4, at[4], variance * (count / (count - 1)));
    }
};

/* y, x, weight, bias, mean, rstd (a variance if eps >= 0) */
struct normalize {
    static constexpr int VIEWS = 6, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    bool weighted;
    float eps;
    template <class A, int V> __device__ void operator()(A (&x)[6][V], int64_t, int64_t) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) {
            A rstd = eps >= 0 ? 1 / sqrt(x[5][k] + eps) : x[5][k], w = weighted ? x[2][k] : (A)1;
            x[0][k] = (x[1][k] - x[4][k]) * rstd * w + x[3][k];
        }
    }
};

/* dx, g, x, weight, mean, rstd, sum of g (w g), sum of g hat (w g hat) */
struct gradient {
    static constexpr int VIEWS = 8, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    bool weighted, sums_weighted;
    float share;                /* 1 / elements of a part */
    template <class A, int V> __device__ void operator()(A (&x)[8][V], int64_t, int64_t) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) {
            A w = weighted ? x[3][k] : (A)1, hat = (x[2][k] - x[4][k]) * x[5][k];
            A mean = (x[6][k] + hat * x[7][k]) * share;
            x[0][k] = x[5][k] * (sums_weighted ? w * x[1][k] - mean : w * (x[1][k] - mean));
        }
    }
};

/* what is left of a group norm's backward sums: of its groups, and of its channels over the batch */
struct group_sums {
    const float *sum, *hat;     /* (batch, channels) */
    float *group_sum, *group_hat;
    const void *weight;
    void *dweight, *dbias;
    int64_t batch, groups, width, weight_stride, dweight_stride, dbias_stride;
    uint8_t weight_dtype, dweight_dtype, dbias_dtype;
};

static __global__ void __launch_bounds__(FM_THREADS) group_sums_kernel(const group_sums s)
{
    int64_t first = (int64_t)blockIdx.x * FM_THREADS + threadIdx.x, all = (int64_t)gridDim.x * FM_THREADS;
    int64_t channels = s.groups * s.width;
    for (int64_t i = first; i < s.batch * s.groups; i += all) {
        float sum = 0, hat = 0;
        for (int64_t k = 0; k < s.width; k++) {
            int64_t c = i % s.groups * s.width + k, at = i / s.groups * channels + c;
            float w = s.weight ? load_one<float>(s.weight, s.weight_dtype, c * s.weight_stride) : 1.0f;
            sum += w * s.sum[at];
            hat += w * s.hat[at];
        }
        s.group_sum[i] = sum;
        s.group_hat[i] = hat;
    }
    for (int64_t i = first; i < channels; i += all) {
        float sum = 0, hat = 0;
        for (int64_t b = 0; b < s.batch; b++) {
            sum += s.sum[b * channels + i];
            hat += s.hat[b * channels + i];
        }
        if (s.dweight) store_one<float>(s.dweight, s.dweight_dtype, i * s.dweight_stride, hat);
        if (s.dbias) store_one<float>(s.dbias, s.dbias_dtype, i * s.dbias_stride, sum);
    }
}

/* strides of a (batch, groups) operand in a space whose dimension 1 was divided; NULL: dense f32 */
static void along_groups(struct fm_cuda_views *views, const struct fm_operand *o, void *data, int64_t groups)
{
    int64_t stride[FM_SPACE_DIMS] = { o ? o->stride[0] : groups, o ? o->stride[1] : 1 };
    fm_cuda_views_strided(views, stride, o ? (enum fm_dtype)o->dtype : FM_F32, data);
}

/* a dense f32 vector of the workspace along dimension 1 */
static void along_channels(struct fm_cuda_views *views, void *data)
{
    int64_t stride[FM_SPACE_DIMS] = { 0, 1 };
    fm_cuda_views_strided(views, stride, FM_F32, data);
}

/* y, x, weight, bias of a forward norm */
static void begin_forward(struct fm_cuda_views *views, const struct fm_cuda_call *call)
{
    const struct fm_operand *y = &call->problem.operand[0];
    fm_cuda_views_begin(views, y);
    fm_cuda_views_add(views, y, call->data[0]);
    fm_cuda_views_add(views, fm_in(call, 0), fm_in_data(call, 0));
    fm_cuda_views_along(views, 1, fm_in(call, 1), fm_in_data(call, 1));
    fm_cuda_views_along(views, 1, fm_in(call, 2), fm_in_data(call, 2));
}

/* dx, g, x, weight of a backward one */
static void begin_backward(struct fm_cuda_views *views, const struct fm_cuda_call *call)
{
    const struct fm_operand *dx = &call->problem.operand[0];
    fm_cuda_views_begin(views, dx);
    fm_cuda_views_add(views, dx, call->data[0]);
    fm_cuda_views_add(views, fm_in(call, 0), fm_in_data(call, 0));
    fm_cuda_views_add(views, fm_in(call, 1), fm_in_data(call, 1));
    fm_cuda_views_along(views, 1, fm_in(call, 2), fm_in_data(call, 2));
}

/* elements over which a mean is taken */
static float part_numel(const struct fm_operand *x, int64_t parts)
{
    return (float)(fm_operand_numel(x) / (parts > 0 ? parts : 1));
}

} // namespace

extern "C" fm_status fm_cuda_launch_batch_norm(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                               struct fm_err *err)
{
    const struct fm_operand *out = call->problem.operand, *x = fm_in(call, 0);
    const struct fm_attr *attr = call->problem.attr;
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 5, 3, err);
    if (status != FM_OK) return status;
    uint32_t reduced = fm_cuda_moments_views(&views, &call->problem, call->data);
    for (uint32_t i = 1; i < 5; i++) fm_cuda_views_along(&views, 1, &out[i], call->data[i]);
    struct moments statistics = { part_numel(x, x->size[1]), (float)attr->eps, (float)attr->momentum };
    reduce(&views, reduced, call->workspace, statistics, stream);
    begin_forward(&views, call);
    for (uint32_t i = 1; i < 3; i++) fm_cuda_views_along(&views, 1, &out[i], call->data[i]);
    elementwise<normalize, float>(&views, normalize{ fm_in_data(call, 1) != NULL, -1 }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_batch_norm_eval(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                    struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 5, err);
    if (status != FM_OK) return status;
    begin_forward(&views, call);
    for (uint32_t i = 3; i < 5; i++) fm_cuda_views_along(&views, 1, fm_in(call, i), fm_in_data(call, i));
    elementwise<normalize, float>(&views, normalize{ fm_in_data(call, 1) != NULL, (float)call->problem.attr->eps },
                                  stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_batch_norm_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                   struct fm_err *err)
{
    const struct fm_operand *out = call->problem.operand;
    int64_t channels = out[0].size[1];
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 3, 5, err);
    if (status != FM_OK) return status;
    char *sum = (char *)call->workspace, *hat = sum + fm_cuda_align(channels * 4), *rest = hat + fm_cuda_align(channels * 4);
    uint32_t reduced = fm_cuda_gradient_views(&views, &call->problem, call->data);
    along_channels(&views, hat);
    along_channels(&views, sum);
    fm_cuda_views_along(&views, 1, &out[1], call->data[1]);
    fm_cuda_views_along(&views, 1, &out[2], call->data[2]);
    reduce(&views, reduced, rest, fm_pair{}, stream);
    begin_backward(&views, call);
    for (uint32_t i = 3; i < 5; i++) fm_cuda_views_along(&views, 1, fm_in(call, i), fm_in_data(call, i));
    along_channels(&views, sum);
    along_channels(&views, hat);
    struct gradient op = { fm_in_data(call, 2) != NULL, false, 1 / part_numel(&out[0], channels) };
    elementwise<gradient, float>(&views, op, stream);
    return fm_launched(call, err);
}

static fm_status check_groups(const struct fm_cuda_call *call, struct fm_err *err)
{
    int64_t groups = call->problem.attr->groups, channels = call->problem.operand[0].size[1];
    if (groups >= 1 && channels % groups == 0) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "%s: %lld groups of %lld channels", fm_kernel_name(call->problem.kernel),
                   (long long)groups, (long long)channels);
}

extern "C" fm_status fm_cuda_launch_group_norm(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                               struct fm_err *err)
{
    const struct fm_operand *out = call->problem.operand;
    int64_t groups = call->problem.attr->groups;
    struct fm_cuda_views views;
    fm_status status = check_groups(call, err);
    if (status == FM_OK) status = fm_check(call, FM_TAKES_FLOAT, 3, 3, err);
    if (status != FM_OK) return status;
    uint32_t reduced = fm_cuda_moments_views(&views, &call->problem, call->data);
    for (uint32_t i = 1; i < 3; i++) along_groups(&views, &out[i], call->data[i], groups);
    struct moments statistics = { part_numel(&out[0], out[0].size[0] * groups), (float)call->problem.attr->eps, 0 };
    reduce(&views, reduced, call->workspace, statistics, stream);
    begin_forward(&views, call);
    fm_cuda_views_group(&views, 1, groups);
    for (uint32_t i = 1; i < 3; i++) along_groups(&views, &out[i], call->data[i], groups);
    elementwise<normalize, float>(&views, normalize{ fm_in_data(call, 1) != NULL, -1 }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_group_norm_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                   struct fm_err *err)
{
    const struct fm_operand *out = call->problem.operand;
    int64_t batch = out[0].size[0], channels = out[0].size[1], groups = call->problem.attr->groups;
    struct fm_cuda_views views;
    fm_status status = check_groups(call, err);
    if (status == FM_OK) status = fm_check(call, FM_TAKES_FLOAT, 3, 5, err);
    if (status != FM_OK) return status;
    int64_t each = fm_cuda_align(batch * channels * 4), group = fm_cuda_align(batch * groups * 4);
    char *sum = (char *)call->workspace, *hat = sum + each, *group_sum = hat + each, *group_hat = group_sum + group;
    uint32_t reduced = fm_cuda_gradient_views(&views, &call->problem, call->data);
    int64_t stride[FM_SPACE_DIMS] = { channels, channels / groups, 1 };
    fm_cuda_views_strided(&views, stride, FM_F32, hat);
    fm_cuda_views_strided(&views, stride, FM_F32, sum);
    reduce(&views, reduced, group_hat + group, fm_pair{}, stream);

    struct group_sums s = {};
    s.sum = (const float *)sum, s.hat = (const float *)hat;
    s.group_sum = (float *)group_sum, s.group_hat = (float *)group_hat;
    s.batch = batch, s.groups = groups, s.width = channels / groups;
    s.weight = fm_in_data(call, 2), s.dweight = call->data[1], s.dbias = call->data[2];
    if (s.weight) s.weight_stride = fm_in(call, 2)->stride[0], s.weight_dtype = fm_in(call, 2)->dtype;
    if (s.dweight) s.dweight_stride = out[1].stride[0], s.dweight_dtype = out[1].dtype;
    if (s.dbias) s.dbias_stride = out[2].stride[0], s.dbias_dtype = out[2].dtype;
    int64_t threads = batch * groups > channels ? batch * groups : channels;
    if (threads > 0) FM_LAUNCH(group_sums_kernel, fm_blocks(threads, FM_THREADS), FM_THREADS, stream, s);

    begin_backward(&views, call);
    fm_cuda_views_group(&views, 1, groups);
    for (uint32_t i = 3; i < 5; i++) along_groups(&views, fm_in(call, i), fm_in_data(call, i), groups);
    along_groups(&views, NULL, group_sum, groups);
    along_groups(&views, NULL, group_hat, groups);
    struct gradient op = { s.weight != NULL, true, 1 / part_numel(&out[0], batch * groups) };
    elementwise<gradient, float>(&views, op, stream);
    return fm_launched(call, err);
}
