/* INTERPOLATE, INTERPOLATE_BWD: bilinear, align_corners False. Positions are exact: integers over 2 * size. The gradient
 * is gathered, each input from the outputs that drew on it, so no two threads add to one place. */
#include "probes/backends/cuda/kernels/device.cuh"

namespace {

#define MOST_SIZE 32767         /* products of two sizes fit 32 bits */

/* views: result; source at (b, c, 0, 0); row and column of the result as indices */
struct resample_args {
    struct fm_cuda_views views;
    int64_t row_stride, column_stride;      /* of the source */
    int32_t result[2], source[2];           /* rows, columns */
};

struct tap { int low, high; float fraction; };

/* where output `out` lies among the inputs */
static __device__ __forceinline__ tap tap_of(int out, int size_in, int size_out)
{
    int position = (2 * out + 1) * size_in - size_out, unit = 2 * size_out;
    if (position < 0) position = 0;
    tap t;
    t.low = position / unit;
    t.fraction = (float)(position - t.low * unit) / (float)unit;
    t.high = t.low + (t.low < size_in - 1);
    return t;
}

static __device__ __forceinline__ float weight_of(const tap &t, int in)
{
    return (t.low == in ? 1 - t.fraction : 0) + (t.high == in ? t.fraction : 0);
}

template <int V> static __global__ void __launch_bounds__(FM_THREADS) interpolate_kernel(const resample_args a)
{
    int64_t all = (int64_t)gridDim.x * FM_THREADS;
    for (int64_t i = (int64_t)blockIdx.x * FM_THREADS + threadIdx.x; i < a.views.space.steps; i += all) {
        int64_t at[4];
        locate(a.views.space, i, at);
        tap h = tap_of((int)at[2], a.source[0], a.result[0]), w = tap_of((int)at[3], a.source[1], a.result[1]);
        float y[V] = {};
#pragma unroll
        for (int corner = 0; corner < 4; corner++) {
            float x[V], weight = (corner / 2 ? h.fraction : 1 - h.fraction) * (corner % 2 ? w.fraction : 1 - w.fraction);
            int64_t from = at[1] + (corner / 2 ? h.high : h.low) * a.row_stride + (corner % 2 ? w.high : w.low) * a.column_stride;
            fm_vector_io<float, V>::load(x, a.views.data[1], a.views.dtype[1], from);
#pragma unroll
            for (int k = 0; k < V; k++) y[k] += weight * x[k];
        }
        fm_vector_io<float, V>::store(y, a.views.data[0], a.views.dtype[0], at[0]);
    }
}

/* outputs that may draw on input `in`: [first, end) */
static __device__ __forceinline__ void reached(int in, int size_in, int size_out, int &first, int &end)
{
    int unit = 2 * size_in;
    first = in > 0 ? (size_out * (2 * in - 1) - size_in) / unit : 0;
    if (first < 0) first = 0;
    end = (size_out * (2 * in + 3) - size_in) / unit + 1;
    if (end > size_out) end = size_out;
}

template <int V> static __global__ void __launch_bounds__(FM_THREADS) interpolate_bwd_kernel(const resample_args a)
{
    int64_t all = (int64_t)gridDim.x * FM_THREADS;
    for (int64_t i = (int64_t)blockIdx.x * FM_THREADS + threadIdx.x; i < a.views.space.steps; i += all) {
        int64_t at[4];
        locate(a.views.space, i, at);
        int row = (int)at[2], column = (int)at[3], first_row, end_row, first, end;
        reached(row, a.result[0], a.source[0], first_row, end_row);
        reached(column, a.result[1], a.source[1], first, end);
        float dx[V] = {};
        for (int h = first_row; h < end_row; h++) {
            float row_weight = weight_of(tap_of(h, a.result[0], a.source[0]), row);
            if (!(row_weight > 0)) continue;
            for (int w = first; w < end; w++) {
                float g[V], weight = row_weight * weight_of(tap_of(w, a.result[1], a.source[1]), column);
                if (!(weight > 0)) continue;
                fm_vector_io<float, V>::load(g, a.views.data[1], a.views.dtype[1],
                                             at[1] + h * a.row_stride + w * a.column_stride);
#pragma unroll
                for (int k = 0; k < V; k++) dx[k] += weight * g[k];
            }
        }
        fm_vector_io<float, V>::store(dx, a.views.data[0], a.views.dtype[0], at[0]);
    }
}

static fm_status prepare(struct resample_args *a, const struct fm_cuda_call *call, struct fm_err *err)
{
    const struct fm_operand *to = &call->problem.operand[0], *from = fm_in(call, 0);
    fm_status status = fm_check(call, FM_TAKES_FLOAT, 1, 1, err);
    if (status != FM_OK) return status;
    const char *name = fm_kernel_name(call->problem.kernel);
    if (to->ndim != 4 || from->ndim != 4) return FM_FAIL(err, FM_INVALID, "%s: not (B, C, H, W)", name);
    for (int d = 2; d < 4; d++)
        if (to->size[d] > MOST_SIZE || from->size[d] > MOST_SIZE)
            return FM_FAIL(err, FM_UNSUPPORTED, "%s: sizes above %d, which the cuda kernel does not take", name, MOST_SIZE);
    int64_t source[FM_SPACE_DIMS] = { from->stride[0], from->stride[1] };
    int64_t row[FM_SPACE_DIMS] = { 0, 0, 1 }, column[FM_SPACE_DIMS] = { 0, 0, 0, 1 };
    fm_cuda_views_begin(&a->views, to);
    fm_cuda_views_add(&a->views, to, call->data[0]);
    fm_cuda_views_strided(&a->views, source, (enum fm_dtype)from->dtype, fm_in_data(call, 0));
    fm_cuda_views_strided(&a->views, row, FM_INDEX, NULL);
    fm_cuda_views_strided(&a->views, column, FM_INDEX, NULL);
    fm_cuda_space_join(&a->views.space);
    a->row_stride = from->stride[2];
    a->column_stride = from->stride[3];
    for (int d = 0; d < 2; d++) {
        a->result[d] = (int32_t)to->size[d + 2];
        a->source[d] = (int32_t)from->size[d + 2];
    }
    return FM_OK;
}

/* vectors along channels, where these are innermost and all that is loaded stays aligned */
static int width_of(struct resample_args *a)
{
    const struct fm_cuda_space *space = &a->views.space;
    struct fm_cuda_space taps = {};
    if (space->stride[0][0] != 1 || space->stride[0][1] != 1) return 1;
    if (space->stride[0][2] != 0 || space->stride[0][3] != 0) return 1;
    taps.ndim = 2;
    taps.size[0] = taps.size[1] = 2;
    taps.stride[0][1] = a->row_stride;
    taps.stride[1][1] = a->column_stride;
    return fm_cuda_parts_width(space, &taps, &a->views, 3, fm_cuda_views_widest(&a->views, 3));
}

} // namespace

extern "C" fm_status fm_cuda_launch_interpolate(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                struct fm_err *err)
{
    struct resample_args a;
    fm_status status = prepare(&a, call, err);
    if (status != FM_OK || a.views.space.numel == 0) return status;
    int width = width_of(&a);
    fm_cuda_space_vectorize(&a.views.space, width);
    auto kernel = width == 8 ? interpolate_kernel<8> : width == 4 ? interpolate_kernel<4> : interpolate_kernel<1>;
    FM_LAUNCH(kernel, fm_blocks(a.views.space.steps, FM_THREADS), FM_THREADS, stream, a);
    return fm_launched(call, err);
}

extern "C" fm_status fm_cuda_launch_interpolate_bwd(const struct fm_cuda_call *call, struct CUstream_st *stream,
                                                    struct fm_err *err)
{
    struct resample_args a;
    fm_status status = prepare(&a, call, err);
    if (status != FM_OK || a.views.space.numel == 0) return status;
    int width = width_of(&a);
    fm_cuda_space_vectorize(&a.views.space, width);
    auto kernel = width == 8 ? interpolate_bwd_kernel<8> : width == 4 ? interpolate_bwd_kernel<4> : interpolate_bwd_kernel<1>;
    FM_LAUNCH(kernel, fm_blocks(a.views.space.steps, FM_THREADS), FM_THREADS, stream, a);
    return fm_launched(call, err);
}
