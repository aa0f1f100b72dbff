/* Runs the cuda backend's kernels on the CPU: included before each .cu file, which is then compiled as C++.
 *
 * One fiber a CUDA thread, one block after the other. A fiber runs until it meets a barrier or a shuffle, so threads of
 * a block interleave there only: what a missing barrier would let another thread see depends on the order in which
 * threads run. fm_shim_order() chooses it (and that of the blocks); correct kernels give the same bits under every one.
 *
 * Found besides: barriers and shuffles that some threads of the block or warp do not reach (a launch that ends as CUDA's
 * error, with the counts), shared memory read before it was written (it begins as NaN in each block), more of it than
 * 48 KiB, launches beyond CUDA's limits, and, with the address sanitizer, accesses outside of arrays. Not modelled: the
 * memory model within a warp, occupancy, registers, speed. */
#ifndef FM_TESTS_CUDA_SHIM_HPP
#define FM_TESTS_CUDA_SHIM_HPP

#define FM_CUDA_SHIM 1

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cuda/shim/shim.h"

/* few blocks, so that each has several turns of what it loops over */
#define FM_MOST_BLOCKS 5

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define FM_SHARED(type, name, count)                                                                                   \
    static char name##_site;                                                                                           \
    type *const name = (type *)fm_shim_shared(&name##_site, sizeof(type) * (count))

#define threadIdx fm_shim_thread_index()
#define blockIdx  (fm_shim_block.block)
#define blockDim  (fm_shim_block.threads)
#define gridDim   (fm_shim_block.grid)

typedef int cudaError_t;
enum { cudaSuccess = 0 };
static inline cudaError_t cudaGetLastError(void) { return fm_shim_last_error(); }
static inline const char *cudaGetErrorString(cudaError_t error) { return fm_shim_error_text(error); }

static inline void __syncthreads(void) { fm_shim_barrier(); }

template <class T> static inline T __shfl_xor_sync(uint32_t mask, T value, int away)
{
    static_assert(sizeof(T) <= 8, "shuffled type");
    uint64_t word = 0;
    memcpy(&word, &value, sizeof value);
    word = fm_shim_shuffle(mask, word, away);
    memcpy(&value, &word, sizeof value);
    return value;
}

struct fm_shim_size {           /* dim3 */
    uint32_t x, y, z;
    fm_shim_size(uint32_t sx, uint32_t sy = 1, uint32_t sz = 1) : x(sx), y(sy), z(sz) {}
};
typedef fm_shim_size dim3;

template <class... T> constexpr size_t fm_shim_bytes = (sizeof(T) + ... + 0);

/* parameters are copied, as CUDA does at the launch */
template <class... P, class... T>
static void fm_shim_launch(void (*kernel)(P...), fm_shim_size grid, fm_shim_size threads, T... argument)
{
    static_assert(fm_shim_bytes<P...> <= 4096, "CUDA before 12.1 takes 4 KiB of parameters");
    auto body = [&]() { kernel(argument...); };
    struct call { static void run(void *context) { (*(decltype(body) *)context)(); } };
    struct fm_shim_launch_shape shape = { { grid.x, grid.y, grid.z }, { threads.x, threads.y, threads.z } };
    fm_shim_run(&shape, call::run, &body);
}
#define FM_LAUNCH(kernel, grid, block, stream, ...) ((void)(stream), fm_shim_launch(kernel, grid, block, __VA_ARGS__))

static inline float fm_f32_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline float fm_f16_to_f32(uint16_t bits) { return fm_shim_widen_f16(bits); }
static inline uint16_t fm_f32_to_f16(float x) { return fm_shim_narrow((double)x, 10, -14); }
static inline uint16_t fm_f64_to_f16(double x) { return fm_shim_narrow(x, 10, -14); }
static inline uint16_t fm_f32_to_bf16(float x) { return fm_shim_narrow((double)x, 7, -126); }
static inline uint16_t fm_f64_to_bf16(double x) { return fm_shim_narrow(x, 7, -126); }

#endif
