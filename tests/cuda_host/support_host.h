/* The cuda backend over stand-ins for NVIDIA's libraries (fake/fake.h), and cells for it. */
#ifndef FM_TESTS_CUDA_HOST_SUPPORT_HOST_H
#define FM_TESTS_CUDA_HOST_SUPPORT_HOST_H

#include "probes/backends/cuda/cuda.h"
#include "workloads/strategies/strategies.h"

/* what the stand-ins shall do, e.g. "memory=2048,oom_at=3"; where they are: the folder fake_cuda, or one below it */
void fm_fake(const char *options);
void fm_fake_folder(const char *below);
/* the backend of such a GPU; fails the test if it does not open */
struct fm_backend *fm_fake_open(const char *options);
/* a counter of a stand-in: "libcuda.so.1", "fake_cuda_used" (bytes) or "fake_cuda_blocks"; the others return int or long */
size_t fm_fake_size(const char *file, const char *counter);
int fm_fake_int(const char *file, const char *counter);

/* "segformer input=32x32 +precision=bf16": a workload, its settings, strategies after a plus sign */
void fm_host_cell(struct fm_cell *cell, const char *words);

/* what a test may allow that wants `most` of stand-ins: more on a GPU (tests/gpu), whose libraries add in other orders */
double fm_host_tolerance(double most);

#endif
