/* One kernel for everything that works element by element: it reads views, calls an operation on vectors of elements in
 * registers, and writes views.
 *
 * An operation has
 *     VIEWS, WRITES    views in all; those that it writes come first
 *     UPDATES          WRITES if they are read before, too, else 0
 *     INDEXED          the last view is no memory but an index, as fm_cuda_views_index() makes
 *     template <class A, int V> __device__ void operator()(A (&x)[VIEWS][V], int64_t index, int64_t step) const
 * x[v] are V elements of view v, computed with as A; index is that of the first one, step from one to the next. */
#ifndef FM_PROBES_BACKENDS_CUDA_KERNELS_ELEMENTWISE_CUH
#define FM_PROBES_BACKENDS_CUDA_KERNELS_ELEMENTWISE_CUH

#include "probes/backends/cuda/kernels/device.cuh"

template <class Op, class A, int V>
static __device__ __forceinline__ void run_vector(const fm_cuda_views &views, const Op &op,
                                                  const int64_t (&offset)[Op::VIEWS], int64_t element)
{
    constexpr int N = Op::VIEWS, M = N - (Op::INDEXED ? 1 : 0);
    A x[N][V];
#pragma unroll
    for (int v = Op::WRITES - Op::UPDATES; v < M; v++)
        load<A, V>(x[v], views.data[v], views.dtype[v], offset[v] + element * views.space.step[v], views.space.step[v]);
    int64_t step = views.space.step[N - 1];
    op.template operator()<A, V>(x, offset[N - 1] + element * step, step);
#pragma unroll
    for (int v = 0; v < Op::WRITES; v++)
        if (views.dtype[v] != FM_INDEX)     /* absent */
            fm_vector_io<A, V>::store(x[v], views.data[v], views.dtype[v], offset[v] + element * views.space.step[v]);
}

template <class Op, class A, int V>
static __global__ void __launch_bounds__(FM_THREADS) elementwise_kernel(const fm_cuda_views views, const Op op)
{
    int64_t all = (int64_t)gridDim.x * FM_THREADS;
    for (int64_t i = (int64_t)blockIdx.x * FM_THREADS + threadIdx.x; i < views.space.steps; i += all) {
        int64_t offset[Op::VIEWS];
        locate(views.space, i, offset);
        int64_t left = V > 1 && views.space.ndim == 1 ? views.space.numel - i * V : V;
        if (left >= V) {
            run_vector<Op, A, V>(views, op, offset, 0);
        } else {
            for (int64_t k = 0; k < left; k++) run_vector<Op, A, 1>(views, op, offset, k);
        }
    }
}

/* views: unjoined. Not for i64 and f64 unless A holds them (double, int64_t). */
template <class Op, class A>
static void elementwise(struct fm_cuda_views *views, const Op &op, struct CUstream_st *stream)
{
    static_assert(Op::VIEWS <= FM_SPACE_VIEWS, "views");
    uint32_t mask = (1u << (Op::VIEWS - (Op::INDEXED ? 1 : 0))) - 1;
    fm_cuda_space_join(&views->space);
    if (views->space.numel == 0) return;
    int width = sizeof(A) == 4 ? fm_cuda_views_width(&views->space, views, mask, fm_cuda_views_widest(views, mask), true) : 1;
    fm_cuda_space_vectorize(&views->space, width);
    unsigned blocks = fm_blocks(views->space.steps, FM_THREADS);
    auto kernel = elementwise_kernel<Op, A, 1>;
    if constexpr (sizeof(A) == 4) {
        if (width == 8) kernel = elementwise_kernel<Op, A, 8>;
        if (width == 4) kernel = elementwise_kernel<Op, A, 4>;
    }
    FM_LAUNCH(kernel, blocks, FM_THREADS, stream, *views, op);
}

/* does any view hold elements that a float does not? */
static inline bool fm_wide(const struct fm_cuda_views *views)
{
    for (int v = 0; v < views->space.views; v++)
        if (views->dtype[v] == FM_I64 || views->dtype[v] == FM_F64) return true;
    return false;
}

template <class Op> static void elementwise_any(struct fm_cuda_views *views, const Op &op, struct CUstream_st *stream)
{
    if (fm_wide(views)) elementwise<Op, double>(views, op, stream);
    else elementwise<Op, float>(views, op, stream);
}

#endif
