/* DROPOUT, DROPOUT_BWD, BERNOULLI, INIT, INPUT: the numbers of tuner/base/rng.h and the data set of
 * probes/backends/data.h, drawn on the device. */
#include "probes/backends/cuda/kernels/elementwise.cuh"

namespace {

/* fm_rng_u64() of tuner/base/rng.h */
__device__ uint64_t random_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15) * (stream * UINT64_C(0xd1342543de82ef95) + index + 1);
    z ^= stream << 32;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

__device__ uint32_t random_u24(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (uint32_t)(random_u64(seed, stream, index) >> 40);
}

__device__ float random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (float)random_u24(seed, stream, index) * (1.0f / 16777216);
}

__device__ double random_uniform_f64(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(random_u64(seed, stream, index) >> 11) * (1.0 / 9007199254740992.0);
}

/* uniform >= p exactly when its 24 bits are at least this: no f64 on the device */
static uint32_t threshold(double p)
{
    double bits = ceil(p * 16777216);
    return bits <= 0 ? 0 : bits >= 16777216 ? 16777216 : (uint32_t)bits;
}

static uint64_t stream_now(const struct fm_cuda_call *call)
{
    return call->problem.attr->stream + call->step * FM_STREAMS_PER_STEP;
}

/* y, mask, x, index */
struct dropout {
    static constexpr int VIEWS = 4, WRITES = 2, UPDATES = 0;
    static constexpr bool INDEXED = true;
    uint64_t seed, stream;
    uint32_t least;
    float keep_share;
    template <class A, int V> __device__ void operator()(A (&x)[4][V], int64_t index, int64_t step) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) {
            bool keep = random_u24(seed, stream, (uint64_t)(index + k * step)) >= least;
            x[0][k] = keep ? x[2][k] / keep_share : (A)0;
            x[1][k] = (A)keep;
        }
    }
};

/* dx, g, mask */
struct dropout_bwd {
    static constexpr int VIEWS = 3, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    float keep_share;
    template <class A, int V> __device__ void operator()(A (&x)[3][V], int64_t, int64_t) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) x[0][k] = x[2][k] > 0 ? x[1][k] / keep_share : (A)0;
    }
};

struct bernoulli {
    static constexpr int VIEWS = 2, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = true;
    uint64_t seed, stream;
    uint32_t limit;
    float value;
    template <class A, int V> __device__ void operator()(A (&x)[2][V], int64_t index, int64_t step) const
    {
#pragma unroll
        for (int k = 0; k < V; k++)
            x[0][k] = random_u24(seed, stream, (uint64_t)(index + k * step)) < limit ? (A)value : (A)0;
    }
};

struct init {
    static constexpr int VIEWS = 2, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = true;
    uint64_t seed, stream;
    int mode;
    double alpha;
    __device__ double value(uint64_t i) const
    {
        if (mode == 0) return alpha;
        if (mode == 1) return alpha * (2 * (double)random_uniform(seed, stream, i) - 1);
        double u = 1 - random_uniform_f64(seed, stream, 2 * i), v = random_uniform_f64(seed, stream, 2 * i + 1);
        return alpha * sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
    }
    template <class A, int V> __device__ void operator()(A (&x)[2][V], int64_t index, int64_t step) const
    {
#pragma unroll 1
        for (int k = 0; k < V; k++) x[0][k] = (A)value((uint64_t)(index + k * step));
    }
};

/* fm_example_label() and fm_example_value() of probes/backends/data.c */
struct example {
    static constexpr int VIEWS = 2, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = true;
    struct fm_example first;

    __device__ bool inside(uint64_t draw, const int64_t (&x)[3]) const
    {
        int64_t extent = 32 + (int64_t)((draw >> 16) & 63), least = first.size[0], square = 0;
        for (int d = 0; d < first.ndim; d++) {
            int64_t centre = (int64_t)((draw >> (22 + 14 * d)) & 0x3fff) * first.size[d] >> 14;
            int64_t away = x[d] > centre ? x[d] - centre : centre - x[d];
            if (first.ndim == 2 && away * 256 > first.size[d] * extent) return false;
            if (first.size[d] < least) least = first.size[d];
            square += away * away;
        }
        return first.ndim == 2 || square * 65536 <= least * least * extent * extent;
    }
    __device__ int64_t label(uint64_t which, const int64_t (&x)[3]) const
    {
        if (first.classes <= 1) return 0;
        for (uint64_t shape = 4; shape-- > 0;) {
            uint64_t draw = random_u64(first.seed, (UINT64_C(1) << 60) + shape, which);
            if (inside(draw, x)) return 1 + (int64_t)(draw & 0xffff) % (first.classes - 1);
        }
        return 0;
    }
    __device__ double value(int64_t index) const
    {
        int64_t x[3] = { 0, 0, 0 };
        for (int d = first.ndim - 1; d >= 0; d--) {
            x[d] = index % first.size[d];
            index /= first.size[d];
        }
        int64_t channels = first.channels ? first.channels : 1, channel = index % channels, at = channel;
        uint64_t which = first.example + (uint64_t)(index / channels);
        int64_t of = label(which, x);
        if (!first.channels) return (double)of;
        for (int d = 0; d < first.ndim; d++) at = at * first.size[d] + x[d];
        float noise = (random_uniform(first.seed, (UINT64_C(2) << 60) + which, (uint64_t)at) - 0.5f) * 0.1f;
        if (first.ndim == 2)
            return 2.0f * random_uniform(0, (UINT64_C(3) << 60) + (uint64_t)of, (uint64_t)channel) - 1.0f + noise;
        return of == 0 ? noise : 0.75f + 0.5f * (float)of / (float)(first.classes - 1) + noise;
    }
    template <class A, int V> __device__ void operator()(A (&x)[2][V], int64_t index, int64_t step) const
    {
#pragma unroll 1
        for (int k = 0; k < V; k++) x[0][k] = (A)value(index + k * step);
    }
};

static void output_and_index(struct fm_cuda_views *views, const struct fm_cuda_call *call)
{
    fm_cuda_views_begin(views, &call->problem.operand[0]);
    fm_cuda_views_add(views, &call->problem.operand[0], call->data[0]);
    fm_cuda_views_index(views);
}

} // namespace

extern "C" fm_status fm_cuda_launch_dropout(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                            struct fm_err *err)
{
    double rate = call->problem.attr->alpha;
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 2, 1, err);
    if (status != FM_OK) return status;
    fm_cuda_views_begin(&views, &call->problem.operand[0]);
    for (uint32_t i = 0; i < 3; i++) fm_cuda_views_add(&views, &call->problem.operand[i], call->data[i]);
    fm_cuda_views_index(&views);
    elementwise<dropout, float>(&views, dropout{ call->seed, stream_now(call), threshold(rate), (float)(1 - rate) },
                                stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_dropout_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 2, err);
    if (status != FM_OK) return status;
    fm_cuda_views_begin(&views, &call->problem.operand[0]);
    for (uint32_t i = 0; i < 3; i++) fm_cuda_views_add(&views, &call->problem.operand[i], call->data[i]);
    elementwise<dropout_bwd, float>(&views, dropout_bwd{ (float)(1 - call->problem.attr->alpha) }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_bernoulli(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                              struct fm_err *err)
{
    double keep = call->problem.attr->alpha;
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 0, err);
    if (status != FM_OK) return status;
    output_and_index(&views, call);
    elementwise<bernoulli, float>(&views, bernoulli{ call->seed, stream_now(call), threshold(keep), (float)(1 / keep) },
                                  stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_init(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                         struct fm_err *err)
{
    const struct fm_attr *attr = call->problem.attr;
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 0, err);
    if (status != FM_OK) return status;
    if (attr->mode > 2) return FM_FAIL(err, FM_INVALID, "INIT: no mode %u", attr->mode);
    output_and_index(&views, call);
    elementwise_any(&views, init{ call->seed, attr->stream, attr->mode, attr->alpha }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_input(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                          struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 0, err);
    if (status != FM_OK) return status;
    struct fm_example first = fm_example_first(&call->problem, call->seed, call->step);
    int spatial = call->problem.operand[0].ndim - first.ndim;
    if (call->problem.attr->mode > FM_INPUT_IMAGE_LABELS || spatial != (first.channels ? 2 : 1))
        return FM_FAIL(err, FM_INVALID, "INPUT: %u dimensions for kind %u", call->problem.operand[0].ndim,
                       call->problem.attr->mode);
    output_and_index(&views, call);
    elementwise_any(&views, example{ first }, stream);
    return fm_launched(call, err);
}
