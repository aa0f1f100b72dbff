/* In place of the cuda backend's kernels: each call is the ref backend's, at once. Device memory is the host's here. */
#include "probes/backends/cuda/kernels.h"
#include "probes/backends/ref/ref.h"
#include "tests/cuda_host/fake/fake.h"
#include "tests/cuda_host/support_kernels.h"

#include <assert.h>
#include <string.h>

#define OPERANDS 4096

long fm_fake_kernels_fail_at, fm_fake_kernels_run;

static fm_status run(const struct fm_cuda_call *call, struct CUstream_st *stream, struct fm_err *err)
{
    static struct fm_operand operand[OPERANDS];
    struct fm_problem p = call->problem;
    uint32_t count = p.n_out + p.n_in;
    assert(stream && count <= OPERANDS);
    if (++fm_fake_kernels_run == fm_fake_kernels_fail_at) return FM_FAIL(err, FM_FAILED, "a scheduled failure");
    int64_t bytes = fm_cuda_workspace_bytes(&p);
    assert(call->workspace_bytes >= bytes);
    if (bytes) memset(call->workspace, 0x5A, (size_t)bytes);
    if (fake_option("idle", 0)) return FM_OK;
    for (uint32_t i = 0; i < count; i++) {
        operand[i] = p.operand[i];
        operand[i].offset = 0;
    }
    p.operand = operand;
    struct fm_launch launch = { .problem = p, .address = call->data, .seed = call->seed, .step = call->step };
    return fm_backend_ref.run(NULL, &launch, err);
}

fm_cuda_launch_fn *fm_cuda_launch_of(enum fm_kernel kernel)
{
    bool vendor = kernel == FM_K_MATMUL || kernel == FM_K_SDPA || kernel == FM_K_SDPA_BWD;
    return vendor || kernel >= FM_KERNEL_COUNT ? NULL : run;
}
