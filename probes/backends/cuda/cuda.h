/* NVIDIA GPUs as a device: convolutions by cuDNN, products by cuBLASLt, all else by own kernels (kernels.h).
 *
 * Tensors lie in memory as PyTorch's do (contiguous, unless the step program says otherwise); attention is products and
 * softmax, as the program has it. One stream, as in PyTorch eager; steps are timed by events around them.
 *
 * Opening takes no memory of the device and makes no context; the first segment, call or copy does.
 *
 * What could be tried of it without a GPU was tried against stand-ins for NVIDIA's libraries (tests/cuda_host). */
#ifndef FM_PROBES_BACKENDS_CUDA_CUDA_H
#define FM_PROBES_BACKENDS_CUDA_CUDA_H

#include "probes/backends/backend.h"

/* What PyTorch's context and libraries hold of a device's memory, beside what its allocator reserves: assumed, since
 * reports are of 300 to 430 MiB (rule 12) and nothing was measured here. Not free for a campaign. */
#define FM_CUDA_FRAMEWORK_BYTES (INT64_C(512) << 20)

#define FM_CUDA_SM_TF32 80              /* the first whose tensor cores take TF32 */

extern const struct fm_backend_ops fm_backend_cuda;

#endif
