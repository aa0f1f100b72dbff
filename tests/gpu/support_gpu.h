/* Tests on a GPU: the functions of tests/cuda/support_cuda.h and tests/cuda_host/support_host.h that run something, run it
 * there. Differences from ref may be a relative L2 of 1e-4 in fp32, 3e-3 where TF32 may be, 2e-2 where operands are
 * fp16 or bf16; what must be equal to the bit, must be so here. At its end a program prints the worst difference of each
 * kernel, one a line: worst KERNEL CLASS cases N difference D limit L.
 *
 * Without a GPU the program ends with one sentence on stderr and exit code 11. */
#ifndef FM_TESTS_GPU_SUPPORT_GPU_H
#define FM_TESTS_GPU_SUPPORT_GPU_H

#include "probes/backends/cuda/cuda.h"
#include "workloads/program/kernels.h"

/* the first visible GPU, opened when first asked for */
struct fm_backend *fm_gpu(void);
/* by cuDNN or cuBLASLt, whose sums have no fixed order */
bool fm_gpu_library(enum fm_kernel kernel);

#endif
