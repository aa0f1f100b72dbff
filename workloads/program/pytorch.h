/* What PyTorch 2.6 does with a call on an NVIDIA GPU, as far as that follows from the call and the GPU's architecture alone:
 * the one place that the cuda backend and plans for GPUs that are not here take it from. Pure; no library.
 *
 * Source: rule 46 (aten/src/ATen/native/cuda/Blas.cpp, cuda/CublasHandlePool.cpp), rule 44 (native/Convolution.cpp). */
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

#endif
