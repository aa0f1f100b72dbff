/* SOFTMAX, SOFTMAX_BWD, ARGMAX, LAYER_NORM, LAYER_NORM_BWD: what works row by row. A row is shared by so many threads
 * that they read it in whole lines: some of a warp, a block, or one thread where rows lie side by side instead. It is
 * read from memory once, further passes find it in the first-level cache. */
#include "probes/backends/cuda/kernels/pair.cuh"
#include "probes/backends/cuda/kernels/reduce.cuh"

namespace {

struct row_args {
    fm_cuda_space rows;                 /* all dimensions but one; offsets of each row's first element */
    void *data[FM_SPACE_VIEWS];
    uint8_t dtype[FM_SPACE_VIEWS];
    int64_t stride[FM_SPACE_VIEWS];     /* along the row, an element */
    int64_t steps;                      /* of a row, in vectors */
    int32_t lanes;
};

/* one row, as a thread of its group sees it */
struct row {
    const row_args &a;
    const int64_t (&offset)[FM_SPACE_VIEWS];
    int lane;
    bool real;                          /* false: a row that exists twice, not to be stored */
    template <int V> __device__ __forceinline__ void get(float (&x)[V], int v, int64_t i) const
    {
        load<float, V>(x, a.data[v], a.dtype[v], offset[v] + i * V * a.stride[v], a.stride[v]);
    }
    template <int V> __device__ __forceinline__ void put(const float (&x)[V], int v, int64_t i) const
    {
        if (real) fm_vector_io<float, V>::store(x, a.data[v], a.dtype[v], offset[v] + i * V * a.stride[v]);
    }
    __device__ __forceinline__ void put_one(int v, float x) const
    {
        if (real && lane == 0) store_one<float>(a.data[v], a.dtype[v], offset[v], x);
    }
};

template <class Op, int V> static __global__ void __launch_bounds__(FM_THREADS) row_kernel(const row_args a, const Op op)
{
    int lane = (int)threadIdx.x % a.lanes, group = (int)threadIdx.x / a.lanes, groups = FM_THREADS / a.lanes;
    for (int64_t base = (int64_t)blockIdx.x * groups; base < a.rows.steps; base += (int64_t)gridDim.x * groups) {
        int64_t at = base + group, offset[FM_SPACE_VIEWS];
        locate(a.rows, at < a.rows.steps ? at : base, offset);
        op.template run<V>(row{ a, offset, lane, at < a.rows.steps });
    }
}

/* y, x */
struct softmax {
    static constexpr int MOST_WIDTH = 8;
    bool logarithm;
    template <int V> __device__ void run(const row &r) const
    {
        float most = -INFINITY, total = 0, x[V];
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(x, 1, i);
            float now = most;
#pragma unroll
            for (int k = 0; k < V; k++) now = fmaxf(now, x[k]);
            if (now > most) total *= expf(most - now), most = now;
#pragma unroll
            for (int k = 0; k < V; k++) total += x[k] <= -INFINITY ? 0 : expf(x[k] - most);
        }
        float all = group_max(most, r.a.lanes);
        if (all > most) total *= expf(most - all);
        total = group_sum(total, r.a.lanes);
        float log_total = logf(total);
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(x, 1, i);
#pragma unroll
            for (int k = 0; k < V; k++) x[k] = logarithm ? x[k] - all - log_total : expf(x[k] - all) / total;
            r.put<V>(x, 0, i);
        }
    }
};

/* dx, g, y */
struct softmax_bwd {
    static constexpr int MOST_WIDTH = 8;
    bool logarithm;
    template <int V> __device__ void run(const row &r) const
    {
        float total = 0, g[V], y[V];
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(g, 1, i);
            if (!logarithm) r.get<V>(y, 2, i);
#pragma unroll
            for (int k = 0; k < V; k++) total += logarithm ? g[k] : g[k] * y[k];
        }
        total = group_sum(total, r.a.lanes);
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(g, 1, i);
            r.get<V>(y, 2, i);
#pragma unroll
            for (int k = 0; k < V; k++) g[k] = logarithm ? g[k] - expf(y[k]) * total : (g[k] - total) * y[k];
            r.put<V>(g, 0, i);
        }
    }
};

/* y, mean, rstd, x, weight, bias */
struct layer_norm {
    static constexpr int MOST_WIDTH = 8;
    float count, eps;
    bool weighted;
    template <int V> __device__ void run(const row &r) const
    {
        float sum = 0, square = 0, x[V], w[V], b[V];
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(x, 3, i);
#pragma unroll
            for (int k = 0; k < V; k++) sum += x[k];
        }
        float mean = group_sum(sum, r.a.lanes) / count;
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(x, 3, i);
#pragma unroll
            for (int k = 0; k < V; k++) square += (x[k] - mean) * (x[k] - mean);
        }
        float rstd = 1 / sqrtf(group_sum(square, r.a.lanes) / count + eps);
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(x, 3, i);
            r.get<V>(w, 4, i);
            r.get<V>(b, 5, i);
#pragma unroll
            for (int k = 0; k < V; k++) x[k] = (x[k] - mean) * rstd * (weighted ? w[k] : 1) + b[k];
            r.put<V>(x, 0, i);
        }
        r.put_one(1, mean);
        r.put_one(2, rstd);
    }
};

/* dx, g, x, weight, mean, rstd */
struct layer_norm_bwd {
    static constexpr int MOST_WIDTH = 8;
    float count;
    bool weighted;
    template <int V> __device__ void run(const row &r) const
    {
        float sum = 0, hats = 0, g[V], x[V], w[V], mean[1], rstd[1];
        fm_vector_io<float, 1>::load(mean, r.a.data[4], r.a.dtype[4], r.offset[4]);
        fm_vector_io<float, 1>::load(rstd, r.a.data[5], r.a.dtype[5], r.offset[5]);
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(g, 1, i);
            r.get<V>(x, 2, i);
            r.get<V>(w, 3, i);
#pragma unroll
            for (int k = 0; k < V; k++) {
                float wg = weighted ? g[k] * w[k] : g[k];
                sum += wg;
                hats += wg * (x[k] - mean[0]) * rstd[0];
            }
        }
        sum = group_sum(sum, r.a.lanes) / count;
        hats = group_sum(hats, r.a.lanes) / count;
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<V>(g, 1, i);
            r.get<V>(x, 2, i);
            r.get<V>(w, 3, i);
#pragma unroll
            for (int k = 0; k < V; k++)
                g[k] = rstd[0] * ((weighted ? g[k] * w[k] : g[k]) - sum - (x[k] - mean[0]) * rstd[0] * hats);
            r.put<V>(g, 0, i);
        }
    }
};

/* is candidate (x, i) before (best, at)? NaN is larger than any number; of equals the first */
static __device__ bool precedes(float x, int64_t i, float best, int64_t at)
{
    bool nan = !(x >= x), best_nan = !(best >= best);
    if (nan != best_nan) return nan;
    if (!nan && (x > best || x < best)) return x > best;
    return i < at;
}

/* y, x; one element a vector */
struct argmax {
    static constexpr int MOST_WIDTH = 1;
    template <int V> __device__ void run(const row &r) const
    {
        static_assert(V == 1, "vectors");
        float best = -INFINITY, x[1];
        int64_t at = INT64_MAX;
        for (int64_t i = r.lane; i < r.a.steps; i += r.a.lanes) {
            r.get<1>(x, 1, i);
            if (precedes(x[0], i, best, at)) best = x[0], at = i;
        }
        for (int away = 1; away < (r.a.lanes < 32 ? r.a.lanes : 32); away *= 2) {
            float other = __shfl_xor_sync(FM_ALL_LANES, best, away);
            int64_t where = __shfl_xor_sync(FM_ALL_LANES, at, away);
            if (precedes(other, where, best, at)) best = other, at = where;
        }
        if (r.a.lanes > 32) {
            FM_SHARED(float, bests, FM_THREADS / 32);
            FM_SHARED(int64_t, places, FM_THREADS / 32);
            if (threadIdx.x % 32 == 0) bests[threadIdx.x / 32] = best, places[threadIdx.x / 32] = at;
            __syncthreads();
            for (int w = 0; w < FM_THREADS / 32; w++)
                if (precedes(bests[w], places[w], best, at)) best = bests[w], at = places[w];
            __syncthreads();
        }
        if (r.real && r.lane == 0) store_one<int64_t>(r.a.data[0], r.a.dtype[0], r.offset[0], at);
    }
};

/* threads a row: lines are read whole, and a GPU is kept busy by few rows too */
static int lanes_of(const struct fm_cuda_space *row, const struct fm_cuda_space *rows, int main_view)
{
    bool side_by_side = row->step[main_view] != 1 && rows->stride[0][main_view] == 1;
    if (side_by_side && (rows->numel >= 4096 || row->steps < 32)) return 1;
    if (row->steps >= 1024 || (row->steps >= 128 && rows->numel <= 4096)) return FM_THREADS;
    return fm_cuda_lanes(row->steps < 32 ? row->steps : 32);
}

/* views: unjoined; mask: those that vary along the row; main_view: the largest */
template <class Op>
static void launch_rows(const struct fm_cuda_views *views, int dim, uint32_t mask, int main_view, const Op &op,
                        struct CUstream_st *stream)
{
    struct fm_cuda_space row;
    struct row_args a;
    fm_cuda_space_split(&views->space, 1u << dim, &a.rows, &row);
    if (a.rows.numel == 0 || row.numel == 0) return;
    int width = 1;
    auto kernel = row_kernel<Op, 1>;
    if constexpr (Op::MOST_WIDTH > 1) {
        width = fm_cuda_parts_width(&row, &a.rows, views, mask, fm_cuda_views_widest(views, mask));
        if (width == 4) kernel = row_kernel<Op, 4>;
        if (width == 8) kernel = row_kernel<Op, 8>;
    }
    fm_cuda_space_vectorize(&row, width);
    for (int v = 0; v < FM_SPACE_VIEWS; v++) {
        a.data[v] = views->data[v];
        a.dtype[v] = v < views->space.views ? views->dtype[v] : (uint8_t)FM_INDEX;
        a.stride[v] = row.step[v];
    }
    a.steps = row.steps;
    a.lanes = lanes_of(&row, &a.rows, main_view);
    FM_LAUNCH(kernel, fm_blocks(a.rows.numel, FM_THREADS / a.lanes), FM_THREADS, stream, a, op);
}

/* the first so many operands, all of the first one's sizes */
static void gather(struct fm_cuda_views *views, const struct fm_cuda_call *call, uint32_t count)
{
    fm_cuda_views_begin(views, &call->problem.operand[0]);
    for (uint32_t i = 0; i < count; i++) fm_cuda_views_add(views, &call->problem.operand[i], call->data[i]);
}

static fm_status check_dim(const struct fm_cuda_call *call, struct fm_err *err)
{
    if (call->problem.attr->dim < call->problem.operand[0].ndim) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "%s: dimension %u of %u", fm_kernel_name(call->problem.kernel),
                   call->problem.attr->dim, call->problem.operand[0].ndim);
}

} // namespace

extern "C" fm_status fm_cuda_launch_softmax(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                            struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 1, err);
    if (status == FM_OK) status = check_dim(call, err);
    if (status != FM_OK) return status;
    gather(&views, call, 2);
    launch_rows(&views, call->problem.attr->dim, 3, 1, softmax{ call->problem.attr->mode != 0 }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_softmax_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 2, err);
    if (status == FM_OK) status = check_dim(call, err);
    if (status != FM_OK) return status;
    gather(&views, call, 3);
    launch_rows(&views, call->problem.attr->dim, 7, 2, softmax_bwd{ call->problem.attr->mode != 0 }, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_argmax(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                           struct fm_err *err)
{
    struct fm_cuda_views views;
    int dim = call->problem.attr->dim;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 1, err);
    if (status == FM_OK) status = check_dim(call, err);
    if (status != FM_OK) return status;
    if (fm_in(call, 0)->dtype == FM_I64)
        return FM_FAIL(err, FM_UNSUPPORTED, "ARGMAX: operand 1 is i64, which the cuda kernel does not take");
    fm_cuda_views_begin(&views, fm_in(call, 0));
    fm_cuda_views_add(&views, &call->problem.operand[0], call->data[0]);
    fm_cuda_views_add(&views, fm_in(call, 0), fm_in_data(call, 0));
    views.space.stride[dim][0] = 0;
    launch_rows(&views, dim, 2, 1, argmax{}, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_layer_norm(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                               struct fm_err *err)
{
    struct fm_cuda_views views;
    int last = call->problem.operand[0].ndim - 1;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 3, 3, err);
    if (status != FM_OK) return status;
    gather(&views, call, 4);
    for (int v = 1; v < 3; v++) views.space.stride[last][v] = 0;
    for (uint32_t i = 1; i < 3; i++) fm_cuda_views_along(&views, last, fm_in(call, i), fm_in_data(call, i));
    struct layer_norm op = { (float)fm_in(call, 0)->size[last], (float)call->problem.attr->eps, fm_in_data(call, 1) != NULL };
    launch_rows(&views, last, 0x39, 3, op, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_layer_norm_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                   struct fm_err *err)
{
    const struct fm_operand *out = call->problem.operand;
    struct fm_cuda_views views;
    int last = out[0].ndim - 1;
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 3, 5, err);
    if (status != FM_OK) return status;
    fm_cuda_views_begin(&views, &out[0]);
    fm_cuda_views_add(&views, &out[0], call->data[0]);
    for (uint32_t i = 0; i < 5; i++) {
        if (i == 2) fm_cuda_views_along(&views, last, fm_in(call, 2), fm_in_data(call, 2));
        else fm_cuda_views_add(&views, fm_in(call, i), fm_in_data(call, i));
    }
    for (int v = 4; v < 6; v++) views.space.stride[last][v] = 0;
    struct layer_norm_bwd op = { (float)out[0].size[last], fm_in_data(call, 2) != NULL };
    launch_rows(&views, last, 0x0f, 2, op, stream);
    if (call->data[1] || call->data[2]) {
        uint32_t reduced = fm_cuda_gradient_views(&views, &call->problem, call->data);
        for (uint32_t i = 1; i < 3; i++) fm_cuda_views_along(&views, last, &out[i], call->data[i]);
        reduce(&views, reduced, call->workspace, fm_pair{}, stream);
    }
    return fm_launched(call, err);
}
