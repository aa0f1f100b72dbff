/* A GPU that is not there: workspaces and engine support from the real cuDNN, given the GPU's description. Executes nothing.
 *
 * The device of struct fm_backend_config is cuDNN's device JSON (fm_gpu_cudnn_json). One device a process: no driver, stub
 * or GPU is touched, convolutions alone are asked about, and their engines are precompiled, so that none is needed.
 *
 * The candidates of a convolution are what PyTorch 2.6 would go through with benchmark off (rule 39): cuDNN's heuristics
 * (mode A, then its fallback list), without engines that convert inputs down and, for f32 that is not to be TF32, those on
 * tensor cores, in order. Those that need at least as much
 * workspace as an earlier one are left out: where the earlier did not fit they do not either. No engine: FM_UNSUPPORTED.
 * Products have the workspaces of cuBLAS and cuBLASLt (workloads/program/pytorch.h); what else PyTorch runs takes none here. */
#ifndef FM_PROBES_BACKENDS_SPEC_SPEC_H
#define FM_PROBES_BACKENDS_SPEC_SPEC_H

#include "probes/backends/backend.h"

/* the least that the cuDNN of CUDA 13 plans for; sm_70 has engines in cuDNN up to 9.10 for CUDA 12 */
#define FM_SPEC_CAPABILITY_MIN 75

/* the first whose tensor cores take TF32 */
#define FM_SPEC_CAPABILITY_TF32 80

extern const struct fm_backend_ops fm_backend_spec;

#endif
