/* What PyTorch 2.6 does with a call on an NVIDIA GPU, as far as that follows from the call and the GPU's architecture alone:
 * the one place that the cuda backend and plans for GPUs that are not here take it from. Pure; no library.
 *
 * Source: rule 22 (aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp), rule 46 (aten/src/ATen/native/cuda/Blas.cpp, cuda/CublasHandlePool.cpp), rule 44 (native/Convolution.cpp). */
#ifndef FM_WORKLOADS_PROGRAM_PYTORCH_H
#define FM_WORKLOADS_PROGRAM_PYTORCH_H

#include "workloads/program/candidates.h"
#include "workloads/program/program.h"

/* A MATMUL is an addmm with a bias vector that goes through cuBLASLt with the bias in its epilogue; the bias need not be
 * there to be added otherwise. */
bool fm_pytorch_bias_in_epilogue(const struct fm_problem *problem);
/* Workspaces of a MATMUL: cuBLAS's, which each of PyTorch's two threads keeps from its first product on (32 MiB on sm_90, else
 * 8 MiB + 128 KiB), and cuBLASLt's 1 MiB for the time of a call that has its bias in the epilogue. capability: 90 for 9.0.
 * A product without elements takes neither. */
void fm_pytorch_product(const struct fm_problem *problem, int capability, struct fm_candidates *out);

/* is_channels_last_strides of c10/core/MemoryFormat.h: ambiguous strides count as contiguous */
bool fm_pytorch_is_channels_last(const struct fm_operand *operand);
/* A CONV, CONV_DGRAD or CONV_WGRAD that runs in a depthwise kernel of PyTorch's, without workspace, not in cuDNN: those that
 * are not channels-last, but for fp16 in 2-D at some sizes. */
bool fm_pytorch_is_depthwise(const struct fm_problem *problem);

/* Attention in one kernel, PyTorch's flash kernel as cuDNN's engines, is for GPUs from this compute capability on: 8.0 (rule 22;
 * cuDNN Graph API, "Fused Attention fprop / bprop"). Without it: FM_UNSUPPORTED, and why. */
#define FM_FLASH_CAPABILITY_MIN 80
fm_status fm_pytorch_flash_check(int capability, struct fm_err *err) FM_MUST_USE;
/* What PyTorch's flash kernel holds besides its results while an SDPA_BWD runs: in fp32, a number a query and the sum of the
 * gradient of q, queries rounded up to 128 and channels to 32; blocks of 512 bytes. Not what is executed here. */
int64_t fm_pytorch_flash_temporaries_bytes(const struct fm_problem *problem);

#endif
