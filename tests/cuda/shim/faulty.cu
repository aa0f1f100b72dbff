/* Kernels with a fault each, and their correct twins: what the shim must find. */
#include "tests/cuda/shim/faulty.h"

#include "probes/backends/cuda/kernels/device.cuh"

static __global__ void reverse_kernel(const float *x, float *y, int fault)
{
    FM_SHARED(float, part, 64);
    unsigned i = threadIdx.x;
    part[i] = x[blockIdx.x * 64 + i];
    if (fault != FM_FAULT_NO_BARRIER) __syncthreads();
    y[blockIdx.x * 64 + i] = part[63 - i];
}

static __global__ void divergent_kernel(float *y, int fault)
{
    if (fault == FM_FAULT_BARRIER_DIVERGES && threadIdx.x >= 40) return;
    if (fault == FM_FAULT_SHUFFLE_DIVERGES && threadIdx.x % 32 < 5) return;
    float sum = group_sum(1.0f, 32);
    __syncthreads();
    y[blockIdx.x * 64 + threadIdx.x] = sum;
}

/* blocks that race: the last one wins */
static __global__ void racing_kernel(float *y)
{
    if (threadIdx.x == 0) y[0] = (float)blockIdx.x;
}

static __global__ void unwritten_kernel(float *y)
{
    FM_SHARED(float, part, 64);
    y[blockIdx.x * 64 + threadIdx.x] = part[threadIdx.x];
}

static __global__ void greedy_kernel(float *y)
{
    FM_SHARED(float, part, 20000);
    part[threadIdx.x] = 1;
    y[threadIdx.x] = part[threadIdx.x];
}

extern "C" int fm_faulty_launch(enum fm_fault_kind fault, const float *x, float *y, const char **text)
{
    switch (fault) {
    case FM_FAULT_NONE: case FM_FAULT_NO_BARRIER: FM_LAUNCH(reverse_kernel, 3, 64, 0, x, y, (int)fault); break;
    case FM_FAULT_NONE_EITHER: case FM_FAULT_BARRIER_DIVERGES: case FM_FAULT_SHUFFLE_DIVERGES:
        FM_LAUNCH(divergent_kernel, 3, 64, 0, y, (int)fault);
        break;
    case FM_FAULT_BLOCKS_RACE: FM_LAUNCH(racing_kernel, 3, 64, 0, y); break;
    case FM_FAULT_UNWRITTEN: FM_LAUNCH(unwritten_kernel, 3, 64, 0, y); break;
    case FM_FAULT_TOO_MUCH_SHARED: FM_LAUNCH(greedy_kernel, 1, 64, 0, y); break;
    default: FM_LAUNCH(racing_kernel, 1, 2048, 0, y); break;
    }
    cudaError_t error = cudaGetLastError();
    *text = cudaGetErrorString(error);
    return error;
}
