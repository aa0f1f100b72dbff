/* One kernel for everything that adds up: of each point of `kept` over all points of `rest` (reduction.h). Partial
 * results of several blocks go through the workspace and are added by a second kernel; the order of additions is fixed.
 *
 * A reduction says
 *     INPUTS, VALUES       views it reads, the first ones (the others are where results go); numbers it makes of them
 *     MOST_WIDTH           of vectors: 1, 4 or 8
 *     struct part          an accumulator of `WORDS` numbers of type T
 *     clear(part &)                                    nothing yet
 *     read<V>(x, views, offset, step)                  V elements of each input; x[VALUES][V] of type T
 *     add(part &, x[VALUES][V], first, count)          adds elements [first, first + count) of a vector
 *     merge(part &, const part &)                      adds what another thread has
 *     finish(part, views, offset)                      stores the result of one point; offsets of all views there
 * Threads of a group merge by shuffles of T. */
#ifndef FM_PROBES_BACKENDS_CUDA_KERNELS_REDUCE_CUH
#define FM_PROBES_BACKENDS_CUDA_KERNELS_REDUCE_CUH

#include "probes/backends/cuda/kernels/device.cuh"

struct fm_reduce_args {
    fm_cuda_space kept, rest;
    void *data[FM_SPACE_VIEWS];
    uint8_t dtype[FM_SPACE_VIEWS];
    int64_t chunk;              /* steps of `rest` a split */
    void *partial;              /* NULL: finish at once */
    int32_t splits, lanes, views;
};

template <class R> union fm_part {
    typename R::part part;
    typename R::T word[R::WORDS];
};

/* adds the parts of `lanes` threads that lie side by side, at most a warp; every lane gets all */
template <class R> static __device__ __forceinline__ void merge_lanes(const R &r, fm_part<R> &p, int lanes)
{
    for (int away = 1; away < lanes; away *= 2) {
        fm_part<R> other;
#pragma unroll
        for (int w = 0; w < R::WORDS; w++) other.word[w] = __shfl_xor_sync(FM_ALL_LANES, p.word[w], away);
        /* in the order of lanes, so that both partners get the same bits */
        if ((int)threadIdx.x & away) {
            r.merge(other.part, p.part);
            p = other;
        } else {
            r.merge(p.part, other.part);
        }
    }
}

template <class R>
static __device__ __forceinline__ void put(const R &r, const fm_reduce_args &a, const fm_part<R> &p, int64_t point,
                                           const int64_t (&offset)[FM_SPACE_VIEWS], int split)
{
    if (!a.partial) {
        r.finish(p.part, a, offset);
        return;
    }
    typename R::T *to = (typename R::T *)a.partial + (int64_t)split * R::WORDS * a.kept.numel + point;
#pragma unroll
    for (int w = 0; w < R::WORDS; w++) to[w * a.kept.numel] = p.word[w];
}

/* a.lanes threads side by side walk `rest`; FM_THREADS / a.lanes points a block */
template <class R, int V> static __global__ void __launch_bounds__(FM_THREADS) rows_kernel(const fm_reduce_args a, const R r)
{
    int lane = (int)threadIdx.x % a.lanes, group = (int)threadIdx.x / a.lanes, groups = FM_THREADS / a.lanes;
    int64_t begin = (int64_t)blockIdx.y * a.chunk, end = begin + a.chunk;
    if (end > a.rest.steps) end = a.rest.steps;
    for (int64_t base = (int64_t)blockIdx.x * groups; base < a.kept.numel; base += (int64_t)gridDim.x * groups) {
        int64_t point = base + group, offset[FM_SPACE_VIEWS];
        fm_part<R> p;
        r.clear(p.part);
        locate(a.kept, point < a.kept.numel ? point : base, offset);
        for (int64_t i = begin + lane; i < end; i += a.lanes) {
            int64_t at[R::INPUTS];
            typename R::T x[R::VALUES][V];
            locate(a.rest, i, at);
#pragma unroll
            for (int v = 0; v < R::INPUTS; v++) at[v] += offset[v];
            r.template read<V>(x, a, at, a.rest.step);
            r.template add<V>(p.part, x, 0, V);
        }
        merge_lanes(r, p, a.lanes < 32 ? a.lanes : 32);
        if (a.lanes > 32) {
            FM_SHARED(fm_part<R>, part, FM_THREADS / 32);
            __syncthreads();
            if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = p;
            __syncthreads();
            if (lane == 0)
                for (int w = 1; w < FM_THREADS / 32; w++) r.merge(p.part, part[w].part);
        }
        if (lane == 0 && point < a.kept.numel) put(r, a, p, point, offset, (int)blockIdx.y);
    }
}

/* a.lanes threads side by side own V points each; FM_THREADS / a.lanes rows of them walk `rest` */
template <class R, int V> static __global__ void __launch_bounds__(FM_THREADS) columns_kernel(const fm_reduce_args a, const R r)
{
    FM_SHARED(fm_part<R>, part, FM_THREADS);
    int lane = (int)threadIdx.x % a.lanes, row = (int)threadIdx.x / a.lanes, rows = FM_THREADS / a.lanes;
    int64_t begin = (int64_t)blockIdx.y * a.chunk, end = begin + a.chunk;
    if (end > a.rest.numel) end = a.rest.numel;
    for (int64_t base = (int64_t)blockIdx.x * a.lanes; base < a.kept.steps; base += (int64_t)gridDim.x * a.lanes) {
        int64_t step = base + lane, offset[FM_SPACE_VIEWS];
        fm_part<R> p[V];
#pragma unroll
        for (int k = 0; k < V; k++) r.clear(p[k].part);
        locate(a.kept, step < a.kept.steps ? step : base, offset);
        for (int64_t i = begin + row; i < end; i += rows) {
            int64_t at[R::INPUTS];
            typename R::T x[R::VALUES][V];
            locate(a.rest, i, at);
#pragma unroll
            for (int v = 0; v < R::INPUTS; v++) at[v] += offset[v];
            r.template read<V>(x, a, at, a.kept.step);
#pragma unroll
            for (int k = 0; k < V; k++) r.template add<V>(p[k].part, x, k, 1);
        }
#pragma unroll
        for (int k = 0; k < V; k++) {
            part[threadIdx.x] = p[k];
            for (int half = rows / 2; half > 0; half /= 2) {
                __syncthreads();
                if (row < half) r.merge(part[threadIdx.x].part, part[(int)threadIdx.x + half * a.lanes].part);
            }
            if (row == 0 && step < a.kept.steps) {
                int64_t to[FM_SPACE_VIEWS];
#pragma unroll
                for (int v = 0; v < FM_SPACE_VIEWS; v++) to[v] = offset[v] + k * a.kept.step[v];
                put(r, a, part[threadIdx.x], step * V + k, to, (int)blockIdx.y);
            }
            __syncthreads();
        }
    }
}

/* a warp a point adds the splits' partial results */
template <class R> static __global__ void __launch_bounds__(FM_THREADS) splits_kernel(const fm_reduce_args a, const R r)
{
    int lane = (int)threadIdx.x % 32, group = (int)threadIdx.x / 32, groups = FM_THREADS / 32;
    const typename R::T *from = (const typename R::T *)a.partial;
    for (int64_t base = (int64_t)blockIdx.x * groups; base < a.kept.numel; base += (int64_t)gridDim.x * groups) {
        int64_t point = base + group;
        fm_part<R> p;
        r.clear(p.part);
        for (int64_t s = lane; s < a.splits && point < a.kept.numel; s += 32) {
            fm_part<R> other;
#pragma unroll
            for (int w = 0; w < R::WORDS; w++) other.word[w] = from[(s * R::WORDS + w) * a.kept.numel + point];
            r.merge(p.part, other.part);
        }
        merge_lanes(r, p, 32);
        if (lane == 0 && point < a.kept.numel) {
            int64_t offset[FM_SPACE_VIEWS];
            locate(a.kept, point, offset);
            r.finish(p.part, a, offset);
        }
    }
}

/* views: unjoined. partial: in the workspace, fm_cuda_reduction_bytes(). */
template <class R>
static void reduce(const struct fm_cuda_views *views, uint32_t reduced, void *partial, const R &r,
                   struct CUstream_st *stream)
{
    struct fm_cuda_reduction plan;
    struct fm_reduce_args a;
    uint32_t mask = (1u << R::INPUTS) - 1;
    fm_cuda_reduction_plan(&plan, views, reduced);
    if (plan.kept.numel == 0) return;
    struct fm_cuda_space *vectors = plan.columns ? &plan.kept : &plan.rest;
    int width = fm_cuda_views_widest(views, mask);
    if (width > R::MOST_WIDTH) width = R::MOST_WIDTH;
    width = fm_cuda_parts_width(vectors, plan.columns ? &plan.rest : &plan.kept, views, mask, width);
    fm_cuda_space_vectorize(vectors, width);
    a.kept = plan.kept;
    a.rest = plan.rest;
    a.views = views->space.views;
    for (int v = 0; v < FM_SPACE_VIEWS; v++) {
        a.data[v] = views->data[v];
        a.dtype[v] = v < a.views ? views->dtype[v] : (uint8_t)FM_INDEX;
    }
    a.splits = plan.splits;
    a.partial = plan.splits > 1 ? partial : NULL;
    int64_t walked = plan.columns ? plan.rest.numel : plan.rest.steps;
    a.chunk = (walked + plan.splits - 1) / plan.splits;
    a.lanes = plan.columns ? fm_cuda_lanes(plan.kept.steps < 32 ? plan.kept.steps : 32) : fm_cuda_lanes(plan.rest.numel);
    int64_t across = plan.columns ? plan.kept.steps : plan.kept.numel, each = plan.columns ? a.lanes : FM_THREADS / a.lanes;
    dim3 grid(fm_blocks(across, each), (unsigned)plan.splits, 1);
    auto kernel = plan.columns ? columns_kernel<R, 1> : rows_kernel<R, 1>;
    if constexpr (R::MOST_WIDTH >= 4) {
        if (width == 4) kernel = plan.columns ? columns_kernel<R, 4> : rows_kernel<R, 4>;
    }
    if constexpr (R::MOST_WIDTH == 8) {
        if (width == 8) kernel = plan.columns ? columns_kernel<R, 8> : rows_kernel<R, 8>;
    }
    FM_LAUNCH(kernel, grid, FM_THREADS, stream, a, r);
    if (!a.partial) return;
    auto add = splits_kernel<R>;
    /* points are counted one by one there */
    if (plan.columns && width > 1) {
        struct fm_cuda_reduction again;
        fm_cuda_reduction_plan(&again, views, reduced);
        a.kept = again.kept;
    }
    FM_LAUNCH(add, fm_blocks(a.kept.numel, FM_THREADS / 32), FM_THREADS, stream, a, r);
}

#endif
