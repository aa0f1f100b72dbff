/* locate() of the kernels' device.cuh, for tests of spaces. */
#ifndef FM_TESTS_CUDA_SHIM_LOCATE_H
#define FM_TESTS_CUDA_SHIM_LOCATE_H

#include "probes/backends/cuda/kernels/space.h"

#ifdef __cplusplus
extern "C" {
#endif

/* offsets of all views at point i, counted in vectors */
void fm_locate(const struct fm_cuda_space *space, int64_t i, int64_t offset[FM_SPACE_VIEWS]);

#ifdef __cplusplus
}
#endif

#endif
