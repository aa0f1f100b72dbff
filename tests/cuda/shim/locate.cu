#include "tests/cuda/shim/locate.h"

#include "probes/backends/cuda/kernels/device.cuh"

extern "C" void fm_locate(const struct fm_cuda_space *space, int64_t i, int64_t offset[FM_SPACE_VIEWS])
{
    int64_t at[FM_SPACE_VIEWS];
    locate(*space, i, at);
    for (int v = 0; v < FM_SPACE_VIEWS; v++) offset[v] = at[v];
}
