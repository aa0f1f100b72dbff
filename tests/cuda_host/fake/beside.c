/* libcudart and libnccl, as far as their versions go */
#include "tests/cuda_host/fake/fake.h"

#define EXPORT __attribute__((visibility("default")))

#ifdef FAKE_NCCL
/* as NCCL has it, for what it prints when it starts */
EXPORT const char fake_nccl_text[] = "NCCL version 2.28.9+cuda" FAKE_NCCL;
EXPORT int ncclGetVersion(int *version);
int ncclGetVersion(int *version)
{
    *version = (int)fake_option("nccl", 22809);
    return 0;
}
#else
EXPORT int cudaRuntimeGetVersion(int *version);
int cudaRuntimeGetVersion(int *version)
{
    *version = (int)fake_option("runtime", 13000);
    return 0;
}
#endif
