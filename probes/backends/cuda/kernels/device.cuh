/* What all kernels share: elements of every dtype, vectors of them, walking a space, sums of a group of threads.
 *
 * Compiled by nvcc, or as C++ for the host with the names of CUDA's that it uses defined beforehand (FM_CUDA_SHIM):
 * then the kernels run on the CPU. Beyond what stands here, kernels use __global__, __device__, threadIdx, blockIdx,
 * blockDim, gridDim and __syncthreads. */
#ifndef FM_PROBES_BACKENDS_CUDA_KERNELS_DEVICE_CUH
#define FM_PROBES_BACKENDS_CUDA_KERNELS_DEVICE_CUH

#include <math.h>
#include <stdint.h>

#include <stdbool.h>
#include <stddef.h>

/* C headers that say nothing about C++ */
extern "C" {
#include "probes/backends/data.h"
}
#include "probes/backends/cuda/kernels.h"
#include "probes/backends/cuda/kernels/reduction.h"
#include "probes/backends/cuda/kernels/space.h"

#ifndef FM_CUDA_SHIM
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#define FM_LAUNCH(kernel, grid, block, stream, ...) (kernel)<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__)
#define FM_SHARED(type, name, count) __shared__ type name[count]
static __device__ __forceinline__ float fm_f16_to_f32(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
static __device__ __forceinline__ uint16_t fm_f32_to_f16(float x) { return __half_as_ushort(__float2half_rn(x)); }
static __device__ __forceinline__ uint16_t fm_f64_to_f16(double x) { return __half_as_ushort(__double2half(x)); }
static __device__ __forceinline__ uint16_t fm_f32_to_bf16(float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); }
static __device__ __forceinline__ uint16_t fm_f64_to_bf16(double x) { return __bfloat16_as_ushort(__double2bfloat16(x)); }
static __device__ __forceinline__ float fm_f32_of(uint32_t bits) { return __uint_as_float(bits); }
#endif

#define FM_THREADS 256
#define FM_INDEX FM_DTYPE_COUNT

/* ---- elements ---- */

template <class A> static __device__ __forceinline__ A load_one(const void *data, int dtype, int64_t i)
{
    switch (dtype) {
    case FM_F32: return (A)((const float *)data)[i];
    case FM_F16: return (A)fm_f16_to_f32(((const uint16_t *)data)[i]);
    case FM_BF16: return (A)fm_f32_of((uint32_t)((const uint16_t *)data)[i] << 16);
    case FM_F64: return (A)((const double *)data)[i];
    case FM_I64: return (A)((const int64_t *)data)[i];
    default: return (A)((const uint8_t *)data)[i];
    }
}

static __device__ __forceinline__ uint16_t to_f16(float x) { return fm_f32_to_f16(x); }
static __device__ __forceinline__ uint16_t to_f16(double x) { return fm_f64_to_f16(x); }
static __device__ __forceinline__ uint16_t to_f16(int64_t x) { return fm_f64_to_f16((double)x); }
static __device__ __forceinline__ uint16_t to_bf16(float x) { return fm_f32_to_bf16(x); }
static __device__ __forceinline__ uint16_t to_bf16(double x) { return fm_f64_to_bf16(x); }
static __device__ __forceinline__ uint16_t to_bf16(int64_t x) { return fm_f64_to_bf16((double)x); }
/* truncates; what has no i64 becomes 0, as on the ref backend */
static __device__ __forceinline__ int64_t to_i64(double x) { return fabs(x) < 9223372036854775808.0 ? (int64_t)x : 0; }
static __device__ __forceinline__ int64_t to_i64(float x) { return to_i64((double)x); }
static __device__ __forceinline__ int64_t to_i64(int64_t x) { return x; }
/* NaN is not zero */
static __device__ __forceinline__ uint8_t to_bool(double x) { return (uint8_t)!(x >= 0 && x <= 0); }
static __device__ __forceinline__ uint8_t to_bool(float x) { return (uint8_t)!(x >= 0 && x <= 0); }
static __device__ __forceinline__ uint8_t to_bool(int64_t x) { return (uint8_t)(x != 0); }

template <class A> static __device__ __forceinline__ void store_one(void *data, int dtype, int64_t i, A x)
{
    switch (dtype) {
    case FM_F32: ((float *)data)[i] = (float)x; break;
    case FM_F16: ((uint16_t *)data)[i] = to_f16(x); break;
    case FM_BF16: ((uint16_t *)data)[i] = to_bf16(x); break;
    case FM_F64: ((double *)data)[i] = (double)x; break;
    case FM_I64: ((int64_t *)data)[i] = to_i64(x); break;
    default: ((uint8_t *)data)[i] = to_bool(x); break;
    }
}

/* ---- vectors: V elements of one view, 16 bytes an access (8, 4 where the vector is shorter) ---- */

template <int BYTES> struct fm_line;
template <> struct alignas(16) fm_line<16> { uint32_t word[4]; };
template <> struct alignas(8) fm_line<8> { uint32_t word[2]; };
template <> struct alignas(4) fm_line<4> { uint32_t word[1]; };

template <int V, int BYTES> struct fm_pack {                    /* V elements of BYTES each as words */
    static constexpr int line = V * BYTES < 16 ? V * BYTES : 16, lines = V * BYTES / line, words = line / 4;
    uint32_t word[V * BYTES / 4];
    __device__ __forceinline__ void load(const void *data, int64_t offset)
    {
        const fm_line<line> *from = (const fm_line<line> *)((const char *)data + offset * BYTES);
#pragma unroll
        for (int i = 0; i < lines; i++) {
            fm_line<line> l = from[i];
#pragma unroll
            for (int k = 0; k < words; k++) word[i * words + k] = l.word[k];
        }
    }
    __device__ __forceinline__ void store(void *data, int64_t offset) const
    {
        fm_line<line> *to = (fm_line<line> *)((char *)data + offset * BYTES);
#pragma unroll
        for (int i = 0; i < lines; i++) {
            fm_line<line> l;
#pragma unroll
            for (int k = 0; k < words; k++) l.word[k] = word[i * words + k];
            to[i] = l;
        }
    }
};

template <class A, int V> struct fm_vector_io {
    static __device__ __forceinline__ void load(A (&x)[V], const void *data, int dtype, int64_t offset)
    {
        if (dtype == FM_F32) {
            fm_pack<V, 4> p;
            p.load(data, offset);
#pragma unroll
            for (int k = 0; k < V; k++) x[k] = (A)fm_f32_of(p.word[k]);
        } else if (dtype == FM_F16 || dtype == FM_BF16) {
            fm_pack<V, 2> p;
            p.load(data, offset);
#pragma unroll
            for (int k = 0; k < V; k++) {
                uint32_t bits = p.word[k / 2] >> (k % 2 * 16) & 0xffffu;
                x[k] = (A)(dtype == FM_F16 ? fm_f16_to_f32((uint16_t)bits) : fm_f32_of(bits << 16));
            }
        } else if (dtype == FM_I64) {       /* of labels, beside narrower elements */
#pragma unroll
            for (int k = 0; k < V; k++) x[k] = (A)((const int64_t *)data)[offset + k];
        } else {
            fm_pack<V, 1> p;
            p.load(data, offset);
#pragma unroll
            for (int k = 0; k < V; k++) x[k] = (A)(p.word[k / 4] >> (k % 4 * 8) & 0xffu);
        }
    }
    static __device__ __forceinline__ void store(const A (&x)[V], void *data, int dtype, int64_t offset)
    {
        if (dtype == FM_F32) {
            fm_pack<V, 4> p;
#pragma unroll
            for (int k = 0; k < V; k++) p.word[k] = fm_bits_of((float)x[k]);
            p.store(data, offset);
        } else if (dtype == FM_F16 || dtype == FM_BF16) {
            fm_pack<V, 2> p;
#pragma unroll
            for (int k = 0; k < V; k += 2) {
                uint32_t low = dtype == FM_F16 ? to_f16(x[k]) : to_bf16(x[k]);
                uint32_t high = dtype == FM_F16 ? to_f16(x[k + 1]) : to_bf16(x[k + 1]);
                p.word[k / 2] = low | high << 16;
            }
            p.store(data, offset);
        } else {
            fm_pack<V, 1> p;
#pragma unroll
            for (int k = 0; k < V; k += 4)
                p.word[k / 4] = (uint32_t)to_bool(x[k]) | (uint32_t)to_bool(x[k + 1]) << 8 |
                                (uint32_t)to_bool(x[k + 2]) << 16 | (uint32_t)to_bool(x[k + 3]) << 24;
            p.store(data, offset);
        }
    }
    static __device__ __forceinline__ uint32_t fm_bits_of(float x)
    {
        union { float f; uint32_t u; } bits;
        bits.f = x;
        return bits.u;
    }
};
template <class A> struct fm_vector_io<A, 1> {
    static __device__ __forceinline__ void load(A (&x)[1], const void *data, int dtype, int64_t offset)
    {
        x[0] = load_one<A>(data, dtype, offset);
    }
    static __device__ __forceinline__ void store(const A (&x)[1], void *data, int dtype, int64_t offset)
    {
        store_one<A>(data, dtype, offset, x[0]);
    }
};

/* step: 0 (broadcast) or 1 where V > 1. dtype FM_INDEX: no memory, zeros. */
template <class A, int V>
static __device__ __forceinline__ void load(A (&x)[V], const void *data, int dtype, int64_t offset, int64_t step)
{
    if (dtype == FM_INDEX || (V > 1 && step == 0)) {
        A one = dtype == FM_INDEX ? (A)0 : load_one<A>(data, dtype, offset);
#pragma unroll
        for (int k = 0; k < V; k++) x[k] = one;
    } else {
        fm_vector_io<A, V>::load(x, data, dtype, offset);
    }
}

/* ---- spaces ---- */

static __device__ __forceinline__ uint32_t high_product(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}

/* offsets of the first N views at point i (counted in vectors) */
template <int N>
static __device__ __forceinline__ void locate(const fm_cuda_space &space, int64_t i, int64_t (&offset)[N])
{
#pragma unroll
    for (int v = 0; v < N; v++) offset[v] = 0;
    for (int d = 0; d + 1 < space.ndim; d++) {
        int64_t at, next;
        if (space.narrow) {
            uint32_t n = (uint32_t)i, q = (high_product(n, space.magic[d]) + n) >> space.shift[d];
            at = n - q * (uint32_t)space.size[d];
            next = q;
        } else {
            next = i / space.size[d];
            at = i - next * space.size[d];
        }
#pragma unroll
        for (int v = 0; v < N; v++) offset[v] += at * space.stride[d][v];
        i = next;
    }
    int last = space.ndim - 1;
#pragma unroll
    for (int v = 0; v < N; v++) offset[v] += i * space.stride[last][v];
}

/* ---- groups of threads ---- */

#define FM_ALL_LANES 0xffffffffu

/* Sum over `lanes` threads that lie side by side: a power of two within a warp, or the whole block of FM_THREADS.
 * All threads of the warp (the block) call it. Every thread gets the result. */
template <class T> static __device__ __forceinline__ T group_sum(T x, int lanes)
{
    for (int away = (lanes < 32 ? lanes : 32) / 2; away > 0; away /= 2) x += __shfl_xor_sync(FM_ALL_LANES, x, away);
    if (lanes <= 32) return x;
    FM_SHARED(T, part, FM_THREADS / 32);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    x = part[0];
    for (int w = 1; w < FM_THREADS / 32; w++) x += part[w];
    __syncthreads();
    return x;
}

/* the same for the largest; a NaN loses */
static __device__ __forceinline__ float group_max(float x, int lanes)
{
    for (int away = (lanes < 32 ? lanes : 32) / 2; away > 0; away /= 2)
        x = fmaxf(x, __shfl_xor_sync(FM_ALL_LANES, x, away));
    if (lanes <= 32) return x;
    FM_SHARED(float, part, FM_THREADS / 32);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
    __syncthreads();
    x = part[0];
    for (int w = 1; w < FM_THREADS / 32; w++) x = fmaxf(x, part[w]);
    __syncthreads();
    return x;
}

/* a result of one point; absent operands have the dtype FM_INDEX */
static __device__ __forceinline__ void store_if(void *data, int dtype, int64_t offset, float x)
{
    if (dtype != FM_INDEX) store_one<float>(data, dtype, offset, x);
}

/* ---- host ---- */

#ifndef FM_MOST_BLOCKS
#define FM_MOST_BLOCKS (1 << 22)
#endif

/* kernels loop where there are more */
static inline unsigned fm_blocks(int64_t count, int64_t each)
{
    int64_t blocks = (count + each - 1) / each;
    return (unsigned)(blocks < 1 ? 1 : blocks < FM_MOST_BLOCKS ? blocks : FM_MOST_BLOCKS);
}

static inline fm_status fm_launched(const struct fm_cuda_call *call, struct fm_err *err)
{
    cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess) return FM_OK;
    return FM_FAIL(err, FM_FAILED, "%s: CUDA refused the launch: %s", fm_kernel_name(call->problem.kernel),
                   cudaGetErrorString(error));
}

static inline const struct fm_operand *fm_in(const struct fm_cuda_call *call, uint32_t i)
{
    return &call->problem.operand[call->problem.n_out + i];
}

/* NULL if absent or beyond the count */
static inline void *fm_in_data(const struct fm_cuda_call *call, uint32_t i)
{
    return i < call->problem.n_in ? call->data[call->problem.n_out + i] : NULL;
}

static inline void *fm_out_data(const struct fm_cuda_call *call, uint32_t i)
{
    return i < call->problem.n_out ? call->data[i] : NULL;
}

/* dtypes as bits, for what a kernel takes */
#define FM_TAKES_FLOAT (1u << FM_F32 | 1u << FM_F16 | 1u << FM_BF16 | 1u << FM_BOOL)
#define FM_TAKES_ANY   (FM_TAKES_FLOAT | 1u << FM_I64)

/* present operands have a dtype of `takes`, counts are as the kernel's definition says, the workspace suffices */
static inline fm_status fm_check(const struct fm_cuda_call *call, uint32_t takes, uint32_t min_out, uint32_t min_in,
                                 struct fm_err *err)
{
    const struct fm_problem *p = &call->problem;
    if (p->n_out < min_out || p->n_in < min_in)
        return FM_FAIL(err, FM_INVALID, "%s: %u outputs and %u inputs are too few", fm_kernel_name(p->kernel), p->n_out,
                       p->n_in);
    for (uint32_t i = 0; i < p->n_out + p->n_in; i++) {
        if (!call->data[i] || takes >> p->operand[i].dtype & 1) continue;
        return FM_FAIL(err, FM_UNSUPPORTED, "%s: operand %u is %s, which the cuda kernel does not take",
                       fm_kernel_name(p->kernel), i, fm_dtype_name((enum fm_dtype)p->operand[i].dtype));
    }
    int64_t need = fm_cuda_workspace_bytes(p);
    if (call->workspace_bytes >= need && (call->workspace || !need)) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "%s: a workspace of %lld bytes is needed, there are %lld", fm_kernel_name(p->kernel),
                   (long long)need, (long long)call->workspace_bytes);
}

#endif
