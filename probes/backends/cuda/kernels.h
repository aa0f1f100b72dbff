/* The cuda backend's own kernels behind a C interface: all that workloads/program/kernels.h names but MATMUL, which is
 * cuBLASLt's, and CONV, CONV_DGRAD and CONV_WGRAD, which are cuDNN's unless they are depthwise.
 *
 * A launch enqueues on the stream and returns; nothing is allocated, copied or waited for. Operands are views as they
 * lie in device memory: any strides, contiguous or channels-last (whoever keeps channels-last rewrites them with
 * fm_operand_channels_last() first). Elements are f32, f16, bf16 and bool, and i64 where the kernel's row says so or in
 * FILL, COPY, CAT, UNARY, BINARY, SUM; sums are kept in f32, f64 operands are refused. Dense operands of equal order
 * and operands broadcast along them are read and written 16 bytes at a time where their alignment permits.
 *
 * Reductions add in an order that the shapes alone decide, without atomics: the same call gives the same bits on every
 * GPU of one architecture. Random numbers are those of tuner/base/rng.h: the ref backend's masks, bit for bit.
 *
 * Two contracts of the ref backend cannot be kept on a device that reports nothing back: NLL with a target that is no
 * class makes the loss NaN, and optimizer steps read found_inf on the device.
 *
 * Errors: FM_UNSUPPORTED for a dtype or size no kernel takes, FM_INVALID for operands that do not fit the kernel or too
 * small a workspace, FM_FAILED where CUDA refuses a launch (the error's text is CUDA's). */
#ifndef FM_PROBES_BACKENDS_CUDA_KERNELS_H
#define FM_PROBES_BACKENDS_CUDA_KERNELS_H

#include "workloads/program/program.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* *cudaStream_t */

struct fm_cuda_call {
    struct fm_problem problem;      /* strides as they lie in memory; offsets are already in data[] */
    void *const *data;              /* on the host: n_out + n_in device pointers to first elements; NULL where absent */
    void *workspace;                /* device memory, 256-byte aligned; NULL if none is needed */
    int64_t workspace_bytes;
    uint64_t seed, step;            /* as in struct fm_launch */
};

/* Scratch that the call needs: a function of shapes, strides and dtypes, not of the GPU. 0 for kernels that are not
 * ours. In plain C, without CUDA: planning for another machine's GPU asks it too. */
int64_t fm_cuda_workspace_bytes(const struct fm_problem *physical);

typedef fm_status fm_cuda_launch_fn(const struct fm_cuda_call *call, struct CUstream_st *stream, struct fm_err *err);

/* by the names of FM_KERNEL_LIST */
fm_cuda_launch_fn fm_cuda_launch_fill, fm_cuda_launch_copy, fm_cuda_launch_unary, fm_cuda_launch_unary_bwd,
    fm_cuda_launch_binary, fm_cuda_launch_cat, fm_cuda_launch_arange;               /* elementwise.cu, copy.cu */
fm_cuda_launch_fn fm_cuda_launch_dropout, fm_cuda_launch_dropout_bwd, fm_cuda_launch_bernoulli, fm_cuda_launch_init,
    fm_cuda_launch_input;                                                           /* random.cu */
fm_cuda_launch_fn fm_cuda_launch_sum, fm_cuda_launch_nll, fm_cuda_launch_nll_bwd;   /* reduce.cu */
fm_cuda_launch_fn fm_cuda_launch_softmax, fm_cuda_launch_softmax_bwd, fm_cuda_launch_argmax,
    fm_cuda_launch_layer_norm, fm_cuda_launch_layer_norm_bwd;                       /* rows.cu */
fm_cuda_launch_fn fm_cuda_launch_batch_norm, fm_cuda_launch_batch_norm_eval, fm_cuda_launch_batch_norm_bwd,
    fm_cuda_launch_group_norm, fm_cuda_launch_group_norm_bwd;                       /* norm.cu */
fm_cuda_launch_fn fm_cuda_launch_interpolate, fm_cuda_launch_interpolate_bwd;       /* resample.cu */
fm_cuda_launch_fn fm_cuda_launch_depthwise;                                        /* depthwise.cu */
fm_cuda_launch_fn fm_cuda_launch_sgd, fm_cuda_launch_adam, fm_cuda_launch_amp_unscale,
    fm_cuda_launch_amp_update;                                                      /* optimizer.cu */

/* the launch of a kernel; NULL for those that are cuBLASLt's. Of convolutions it takes depthwise ones alone. */
fm_cuda_launch_fn *fm_cuda_launch_of(enum fm_kernel kernel);

#ifdef __cplusplus
}
#endif

#endif
