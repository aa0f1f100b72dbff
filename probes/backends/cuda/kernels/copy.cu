/* COPY and CAT: element by element where output and input are contiguous in the same dimension, else by tiles through
 * shared memory, so that both sides are read and written in whole lines. */
#include "probes/backends/cuda/kernels/elementwise.cuh"

namespace {

struct copy {
    static constexpr int VIEWS = 2, WRITES = 1, UPDATES = 0;
    static constexpr bool INDEXED = false;
    template <class A, int V> __device__ void operator()(A (&x)[2][V], int64_t, int64_t) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) x[0][k] = x[1][k];
    }
};

#define TILE 32
#define TILE_ROWS (FM_THREADS / TILE)

/* One tile: TILE elements of dimension 0, in which the output is contiguous, times TILE of dimension `other`, in which
 * the input is. outer: the points of the remaining dimensions. */
struct tiles {
    struct fm_cuda_views views;         /* output, input: of the remaining dimensions */
    int64_t size[2], to[2], from[2];    /* of the two dimensions: output's, input's strides */
    int64_t across, along;              /* tiles in each */
};

template <class A> static __global__ void __launch_bounds__(FM_THREADS) transpose_kernel(const tiles t)
{
    FM_SHARED(A, tile, TILE * (TILE + 1));      /* one more: columns lie in different banks */
    int column = (int)threadIdx.x % TILE, row = (int)threadIdx.x / TILE;
    int64_t count = t.across * t.along * t.views.space.steps;
    for (int64_t i = blockIdx.x; i < count; i += gridDim.x) {
        int64_t offset[2], first = i % t.across * TILE, second = i / t.across % t.along * TILE;
        locate(t.views.space, i / t.across / t.along, offset);
        for (int k = row; k < TILE; k += TILE_ROWS)
            if (first + k < t.size[0] && second + column < t.size[1])
                tile[k * (TILE + 1) + column] =
                    load_one<A>(t.views.data[1], t.views.dtype[1],
                                offset[1] + (first + k) * t.from[0] + (second + column) * t.from[1]);
        __syncthreads();
        for (int k = row; k < TILE; k += TILE_ROWS)
            if (second + k < t.size[1] && first + column < t.size[0])
                store_one<A>(t.views.data[0], t.views.dtype[0],
                             offset[0] + (first + column) * t.to[0] + (second + k) * t.to[1],
                             tile[column * (TILE + 1) + k]);
        __syncthreads();
    }
}

/* the dimension in which the input is contiguous, if it is another one than the output's and both are long enough for
 * tiles; else 0 */
static int crossing(const struct fm_cuda_space *space)
{
    if (space->stride[0][0] != 1 || space->stride[0][1] <= 1 || space->size[0] < 8) return 0;
    for (int d = 1; d < space->ndim; d++)
        if (space->stride[d][1] == 1 && space->size[d] >= 8) return d;
    return 0;
}

template <class A> static void copy_views(struct fm_cuda_views *views, struct CUstream_st *stream)
{
    struct fm_cuda_space space = views->space;
    fm_cuda_space_join(&space);
    int other = crossing(&space);
    if (!other || space.numel == 0) {
        elementwise<copy, A>(views, copy{}, stream);
        return;
    }
    struct tiles t;
    t.views = *views;
    t.views.space = space;
    for (int k = 0; k < 2; k++) {
        int d = k ? other : 0;
        t.size[k] = space.size[d];
        t.to[k] = space.stride[d][0];
        t.from[k] = space.stride[d][1];
        t.views.space.size[d] = 1;
    }
    t.across = (t.size[0] + TILE - 1) / TILE;
    t.along = (t.size[1] + TILE - 1) / TILE;
    fm_cuda_space_join(&t.views.space);
    auto kernel = transpose_kernel<A>;
    FM_LAUNCH(kernel, fm_blocks(t.across * t.along * t.views.space.steps, 1), FM_THREADS, stream, t);
}

static bool is_integer(uint8_t dtype)
{
    return dtype == FM_I64 || dtype == FM_BOOL;
}

static void copy_any(struct fm_cuda_views *views, struct CUstream_st *stream)
{
    if (!fm_wide(views)) copy_views<float>(views, stream);
    else if (is_integer(views->dtype[0]) && is_integer(views->dtype[1])) copy_views<int64_t>(views, stream);
    else copy_views<double>(views, stream);
}

} // namespace

extern "C" fm_status fm_cuda_launch_copy(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                         struct fm_err *err)
{
    struct fm_cuda_views views;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 1, err);
    if (status != FM_OK) return status;
    fm_cuda_views_begin(&views, &call->problem.operand[0]);
    fm_cuda_views_add(&views, &call->problem.operand[0], call->data[0]);
    fm_cuda_views_add(&views, fm_in(call, 0), fm_in_data(call, 0));
    copy_any(&views, stream);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_cat(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                        struct fm_err *err)
{
    const struct fm_operand *y = &call->problem.operand[0];
    int dim = call->problem.attr->dim;
    int64_t start = 0;
    fm_status status = fm_check(call, FM_TAKES_ANY, 1, 1, err);
    if (status != FM_OK) return status;
    for (uint32_t i = 0; i < call->problem.n_in; i++) start += fm_in(call, i)->size[dim];
    if (start != y->size[dim])
        return FM_FAIL(err, FM_INVALID, "CAT: the inputs add up to %lld along dimension %d, the output has %lld",
                       (long long)start, dim, (long long)y->size[dim]);
    start = 0;
    for (uint32_t i = 0; i < call->problem.n_in; i++) {
        const struct fm_operand *x = fm_in(call, i);
        struct fm_cuda_views views;
        struct fm_operand part = *y;
        part.size[dim] = x->size[dim];
        char *to = (char *)call->data[0] + start * y->stride[dim] * fm_dtype_bytes((enum fm_dtype)y->dtype);
        fm_cuda_views_begin(&views, x);
        fm_cuda_views_add(&views, &part, to);
        fm_cuda_views_add(&views, x, fm_in_data(call, i));
        copy_any(&views, stream);
        start += x->size[dim];
    }
    return fm_launched(call, err);
}
