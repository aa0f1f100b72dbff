/* FILL, UNARY, UNARY_BWD, BINARY, ARANGE. */
#include "probes/backends/cuda/kernels/elementwise.cuh"

namespace {

struct fill {
    static constexpr int VIEWS = 1, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    double value;
    template <class A, int V> __device__ void operator()(A (&x)[1][V], int64_t, int64_t) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) x[0][k] = (A)value;
    }
};

struct arange {
    static constexpr int VIEWS = 2, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = true;
    template <class A, int V> __device__ void operator()(A (&x)[2][V], int64_t index, int64_t step) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) x[0][k] = (A)(index + k * step);
    }
};

template <class A> __device__ A normal_cdf(A x) { return (A)0.5 * (1 + erf(x * (A)0.70710678118654752440)); }

/* the function is chosen once for V elements */
#define EACH(expression)                                                                                               \
    _Pragma("unroll") for (int k = 0; k < V; k++) x[0][k] = (expression);                                              \
    break

struct unary {
    static constexpr int VIEWS = 2, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    int mode;
    double alpha, beta;
    template <class A, int V> __device__ void operator()(A (&x)[2][V], int64_t, int64_t) const
    {
        const A a = (A)alpha, b = (A)beta;
        switch (mode) {
        case FM_RELU: EACH(x[1][k] < 0 ? (A)0 : x[1][k]);       /* NaN stays */
        case FM_LEAKY_RELU: EACH(x[1][k] > 0 ? x[1][k] : a * x[1][k]);
        case FM_GELU: EACH(x[1][k] * normal_cdf(x[1][k]));
        case FM_SILU: EACH(x[1][k] / (1 + exp(-x[1][k])));
        case FM_SCALE: EACH(a * x[1][k] + b);
        case FM_LOG: EACH(log(x[1][k]));
        case FM_EXP: EACH(exp(x[1][k]));
        case FM_EQUAL: EACH((A)(x[1][k] <= a && x[1][k] >= a));
        default: EACH(sqrt(x[1][k]));
        }
    }
};

template <class A> __device__ A silu_slope(A s)
{
    A sigmoid = 1 / (1 + exp(-s));
    return sigmoid * (1 + s * (1 - sigmoid));
}

/* dx, g, s: the output for RELU, EXP and SQRT, the input for the others */
struct unary_bwd {
    static constexpr int VIEWS = 3, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    int mode;
    double alpha;
    template <class A, int V> __device__ void operator()(A (&x)[3][V], int64_t, int64_t) const
    {
        const A a = (A)alpha;
        switch (mode) {
        /* where RELU is flat the gradient is 0 even if an infinite one arrives */
        case FM_RELU: EACH(x[2][k] > 0 ? x[1][k] : (A)0);
        case FM_LEAKY_RELU: EACH(x[1][k] * (x[2][k] > 0 ? (A)1 : a));
        case FM_GELU:
            EACH(x[1][k] * (normal_cdf(x[2][k]) + x[2][k] * exp(-x[2][k] * x[2][k] / 2) * (A)0.39894228040143267794));
        case FM_SILU: EACH(x[1][k] * silu_slope(x[2][k]));
        case FM_SCALE: EACH(x[1][k] * a);
        case FM_LOG: EACH(x[1][k] / x[2][k]);
        case FM_EXP: EACH(x[1][k] * x[2][k]);
        default: EACH(x[1][k] / (2 * x[2][k]));
        }
    }
};

template <class A> __device__ bool truth(A x) { return x < 0 || x > 0; }

struct binary {
    static constexpr int VIEWS = 3, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    int mode;
    double alpha;
    template <class A, int V> __device__ void operator()(A (&x)[3][V], int64_t, int64_t) const
    {
        const A a = (A)alpha;
        switch (mode) {
        case FM_ADD: EACH(x[1][k] + a * x[2][k]);
        case FM_SUB: EACH(x[1][k] - a * x[2][k]);
        case FM_MUL: EACH(x[1][k] * x[2][k]);
        case FM_DIV: EACH(x[1][k] / x[2][k]);
        case FM_AND: EACH((A)(truth(x[1][k]) && truth(x[2][k])));
        case FM_EQ: EACH((A)(x[1][k] <= x[2][k] && x[1][k] >= x[2][k]));
        case FM_OR: EACH((A)(truth(x[1][k]) || truth(x[2][k])));
        default: EACH(x[1][k] > x[2][k] || !(x[1][k] >= x[1][k]) ? x[1][k] : x[2][k]);      /* FM_MAX; NaN stays */
        }
    }
};

#undef EACH

/* output 0 and so many inputs, all of the output's sizes */
static void gather(struct fm_cuda_views *views, const struct fm_cuda_call *call, uint32_t inputs)
{
    fm_cuda_views_begin(views, &call->problem.operand[0]);
    fm_cuda_views_add(views, &call->problem.operand[0], call->data[0]);
    for (uint32_t i = 0; i < inputs; i++) fm_cuda_views_add(views, fm_in(call, i), fm_in_data(call, i));
}

} // namespace

extern "C" fm_status fm_cuda_launch_fill(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                         struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 0, err);
    if (status != FM_OK) return status;
    gather(&views, call, 0);
    elementwise_any(&views, fill{ call->problem.attr->alpha }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_arange(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                           struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 0, err);
    if (status != FM_OK) return status;
    gather(&views, call, 0);
    fm_cuda_views_index(&views);
    elementwise<arange, double>(&views, arange{}, stream);      /* beyond 2^24 as well */
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_unary(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                          struct fm_err *err)
{
    const struct fm_attr *attr = call->problem.attr;
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 1, err);
    if (status != FM_OK) return status;
    if (attr->mode >= FM_UNARY_COUNT) return FM_FAIL(err, FM_INVALID, "UNARY: no function %u", attr->mode);
    gather(&views, call, 1);
    elementwise_any(&views, unary{ attr->mode, attr->alpha, attr->beta }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_unary_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                              struct fm_err *err)
{
    const struct fm_attr *attr = call->problem.attr;
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 2, err);
    if (status != FM_OK) return status;
    if (attr->mode >= FM_UNARY_COUNT || attr->mode == FM_EQUAL)
        return FM_FAIL(err, FM_INVALID, "UNARY_BWD: function %u has no derivative", attr->mode);
    gather(&views, call, 2);
    elementwise<unary_bwd, float>(&views, unary_bwd{ attr->mode, attr->alpha }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_binary(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                           struct fm_err *err)
{
    const struct fm_attr *attr = call->problem.attr;
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 2, err);
    if (status != FM_OK) return status;
    if (attr->mode >= FM_BINARY_COUNT) return FM_FAIL(err, FM_INVALID, "BINARY: no function %u", attr->mode);
    gather(&views, call, 2);
    elementwise_any(&views, binary{ attr->mode, attr->alpha }, stream);
    return fm_launched(call, err);
}
