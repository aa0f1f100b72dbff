/* SUM, NLL, NLL_BWD. */
#include "probes/backends/cuda/kernels/elementwise.cuh"
#include "probes/backends/cuda/kernels/reduce.cuh"

namespace {

struct sum_floats {
    typedef float T;
    struct part { float sum; };
    static constexpr int INPUTS = 1, VALUES = 1, WORDS = 1, MOST_WIDTH = 8;
    float alpha;
    __device__ void clear(part &p) const { p.sum = 0; }
    template <int V>
    __device__ void read(float (&x)[1][V], const fm_reduce_args &a, const int64_t (&at)[1], const int64_t *step) const
    {
        load<float, V>(x[0], a.data[0], a.dtype[0], at[0], step[0]);
    }
    template <int V> __device__ void add(part &p, const float (&x)[1][V], int first, int count) const
    {
        float sum = 0;
#pragma unroll
        for (int k = 0; k < V; k++)
            if (k >= first && k < first + count) sum += x[0][k];
        p.sum += sum;
    }
    __device__ void merge(part &p, const part &other) const { p.sum += other.sum; }
    __device__ void finish(const part &p, const fm_reduce_args &a, const int64_t (&at)[FM_SPACE_VIEWS]) const
    {
        if (a.dtype[1] == FM_I64) store_one<double>(a.data[1], a.dtype[1], at[1], (double)(alpha * p.sum));
        else store_one<float>(a.data[1], a.dtype[1], at[1], alpha * p.sum);
    }
};

/* of bool and i64, exact; one element at a time */
struct sum_integers {
    typedef int64_t T;
    struct part { int64_t sum; };
    static constexpr int INPUTS = 1, VALUES = 1, WORDS = 1, MOST_WIDTH = 1;
    double alpha;
    __device__ void clear(part &p) const { p.sum = 0; }
    template <int V>
    __device__ void read(int64_t (&x)[1][V], const fm_reduce_args &a, const int64_t (&at)[1], const int64_t *step) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) x[0][k] = load_one<int64_t>(a.data[0], a.dtype[0], at[0] + k * step[0]);
    }
    template <int V> __device__ void add(part &p, const int64_t (&x)[1][V], int first, int count) const
    {
#pragma unroll
        for (int k = 0; k < V; k++)
            if (k >= first && k < first + count) p.sum += x[0][k];
    }
    __device__ void merge(part &p, const part &other) const { p.sum += other.sum; }
    __device__ void finish(const part &p, const fm_reduce_args &a, const int64_t (&at)[FM_SPACE_VIEWS]) const
    {
        if (a.dtype[1] == FM_I64 && alpha >= 1 && alpha <= 1) store_one<int64_t>(a.data[1], a.dtype[1], at[1], p.sum);
        else store_one<double>(a.data[1], a.dtype[1], at[1], alpha * (double)p.sum);
    }
};

/* the loss's numerator and denominator. Views: target, logp at class 0 of the target's place. */
struct nll {
    typedef float T;
    struct part { float loss, weight; };
    static constexpr int INPUTS = 2, VALUES = 2, WORDS = 2, MOST_WIDTH = 1;
    int64_t classes, ignored, class_stride, weight_stride;
    const void *weight;
    void *loss, *total;
    uint8_t weight_dtype, loss_dtype, total_dtype;
    __device__ void clear(part &p) const { p.loss = p.weight = 0; }
    template <int V>
    __device__ void read(float (&x)[2][V], const fm_reduce_args &a, const int64_t (&at)[2], const int64_t *step) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) {
            int64_t of = load_one<int64_t>(a.data[0], a.dtype[0], at[0] + k * step[0]);
            bool counts = of != ignored, valid = of >= 0 && of < classes;
            x[0][k] = x[1][k] = 0;
            if (!counts) continue;
            float w = weight && valid ? load_one<float>(weight, weight_dtype, of * weight_stride) : 1.0f;
            x[0][k] = valid ? -w * load_one<float>(a.data[1], a.dtype[1], at[1] + k * step[1] + of * class_stride)
                            : (float)NAN;       /* no such class: the loss says so */
            x[1][k] = w;
        }
    }
    template <int V> __device__ void add(part &p, const float (&x)[2][V], int first, int count) const
    {
#pragma unroll
        for (int k = 0; k < V; k++)
            if (k >= first && k < first + count) p.loss += x[0][k], p.weight += x[1][k];
    }
    __device__ void merge(part &p, const part &other) const
    {
        p.loss += other.loss;
        p.weight += other.weight;
    }
    __device__ void finish(const part &p, const fm_reduce_args &, const int64_t (&)[FM_SPACE_VIEWS]) const
    {
        store_one<float>(loss, loss_dtype, 0, p.loss / p.weight);
        store_one<float>(total, total_dtype, 0, p.weight);
    }
};

/* dx, target (stands still along classes), class (an index view) */
struct nll_bwd {
    static constexpr int VIEWS = 3, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = true;
    int64_t ignored, weight_stride;
    const void *g, *total, *weight;
    uint8_t g_dtype, total_dtype, weight_dtype;
    template <class A, int V> __device__ void operator()(A (&x)[3][V], int64_t index, int64_t step) const
    {
        float scale = -load_one<float>(g, g_dtype, 0) / load_one<float>(total, total_dtype, 0);
#pragma unroll
        for (int k = 0; k < V; k++) {
            int64_t of = (int64_t)x[1][k], mine = index + k * step;
            bool hit = of == mine && of != ignored;
            float w = hit && weight ? load_one<float>(weight, weight_dtype, of * weight_stride) : 1.0f;
            x[0][k] = hit ? (A)(scale * w) : (A)0;
        }
    }
};

static bool is_integer(uint8_t dtype)
{
    return dtype == FM_I64 || dtype == FM_BOOL;
}

} // namespace

extern "C" fm_status fm_cuda_launch_sum(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                        struct fm_err *err)
{
    struct fm_cuda_views views;
    double alpha = call->problem.attr->alpha;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 1, err);
    if (status != FM_OK) return status;
    uint32_t reduced = fm_cuda_sum_views(&views, &call->problem, call->data);
    if (is_integer(fm_in(call, 0)->dtype))
        reduce(&views, reduced, call->workspace, sum_integers{ alpha }, stream);
    else
        reduce(&views, reduced, call->workspace, sum_floats{ (float)alpha }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_nll(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                        struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 2, 2, err);
    if (status != FM_OK) return status;
    uint32_t reduced = fm_cuda_nll_views(&views, &call->problem, call->data);
    const struct fm_operand *logp = fm_in(call, 0), *out = call->problem.operand;
    struct nll r = {};
    r.classes = logp->size[1];
    r.class_stride = logp->stride[1];
    r.ignored = call->problem.attr->ignore_index;
    r.weight = fm_in_data(call, 2);
    if (r.weight) r.weight_stride = fm_in(call, 2)->stride[0], r.weight_dtype = fm_in(call, 2)->dtype;
    r.loss = call->data[0];
    r.total = call->data[1];
    r.loss_dtype = out[0].dtype;
    r.total_dtype = out[1].dtype;
    reduce(&views, reduced, call->workspace, r, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_nll_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                            struct fm_err *err)
{
    struct fm_cuda_views views;
    int64_t target[FM_SPACE_DIMS] = { 0 }, classes[FM_SPACE_DIMS] = { 0, 1 };
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 3, err);
    if (status != FM_OK) return status;
    const struct fm_operand *dx = &call->problem.operand[0], *t = fm_in(call, 1);
    fm_cuda_views_begin(&views, dx);
    fm_cuda_views_add(&views, dx, call->data[0]);
    for (int d = 0; d < t->ndim; d++) target[d == 0 ? 0 : d + 1] = t->stride[d];
    fm_cuda_views_strided(&views, target, (enum fm_dtype)t->dtype, fm_in_data(call, 1));
    fm_cuda_views_strided(&views, classes, FM_INDEX, NULL);
    struct nll_bwd op = {};
    op.ignored = call->problem.attr->ignore_index;
    op.g = fm_in_data(call, 0);
    op.g_dtype = fm_in(call, 0)->dtype;
    op.total = fm_in_data(call, 2);
    op.total_dtype = fm_in(call, 2)->dtype;
    op.weight = fm_in_data(call, 3);
    if (op.weight) op.weight_stride = fm_in(call, 3)->stride[0], op.weight_dtype = fm_in(call, 3)->dtype;
    elementwise<nll_bwd, float>(&views, op, stream);
    return fm_launched(call, err);
}
