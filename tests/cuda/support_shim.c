/* The kernels on the CPU, through the shim. */
#include "tests/cuda/support_cuda.h"

#include "probes/backends/cuda/kernels.h"
#include "probes/backends/ref/ref.h"
#include "tests/cuda/shim/shim.h"
#include "tuner/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fm_backend { bool channels_last; };

static fm_status shim_open(const struct fm_backend_config *config, struct fm_backend **out, struct fm_err *err)
{
    (void)config;
    *out = fm_calloc(1, sizeof **out);
    return *out ? FM_OK : FM_FAIL(err, FM_NOMEM, "shim");
}

static fm_status shim_open_channels_last(const struct fm_backend_config *config, struct fm_backend **out,
                                         struct fm_err *err)
{
    fm_status status = shim_open(config, out, err);
    if (status == FM_OK) (*out)->channels_last = true;
    return status;
}

static void shim_close(struct fm_backend *backend)
{
    fm_free(backend);
}

static fm_status resolve(const struct fm_backend *backend, const struct fm_problem *problem, struct fm_operand *operand,
                         struct fm_err *err)
{
    for (uint32_t i = 0; i < problem->n_out + problem->n_in; i++) {
        operand[i] = problem->operand[i];
        if (operand[i].storage == FM_NONE || !backend->channels_last) continue;
        if (!fm_operand_channels_last(&operand[i]))
            return FM_FAIL(err, FM_UNSUPPORTED, "operand %u has no channels-last strides", i);
    }
    return FM_OK;
}

static fm_status shim_candidates(struct fm_backend *backend, const struct fm_problem *problem,
                                 struct fm_candidates *out, struct fm_err *err)
{
    struct fm_operand operand[FM_CASE_OPERANDS];
    struct fm_problem resolved = *problem;
    fm_status status = resolve(backend, problem, operand, err);
    if (status != FM_OK) return status;
    resolved.operand = operand;
    *out = (struct fm_candidates){ 0 };
    int64_t bytes = fm_cuda_workspace_bytes(&resolved);
    if (bytes > 0 && !fm_kernel_scratch(problem->kernel))
        return FM_FAIL(err, FM_MISMATCH, "%s may have no workspace", fm_kernel_name(problem->kernel));
    out->count = bytes > 0;
    out->item[0].workspace_bytes = bytes;
    return FM_OK;
}

static fm_status shim_run(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_operand operand[FM_CASE_OPERANDS];
    void *data[FM_CASE_OPERANDS] = { 0 };
    struct fm_cuda_call call = { .problem = launch->problem,
                                 .data = data,
                                 .workspace = launch->workspace,
                                 .workspace_bytes = launch->workspace_bytes,
                                 .seed = launch->seed,
                                 .step = launch->step };
    fm_status status = resolve(backend, &launch->problem, operand, err);
    if (status != FM_OK) return status;
    call.problem.operand = operand;
    for (uint32_t i = 0; i < launch->problem.n_out + launch->problem.n_in; i++) {
        if (!launch->address[i]) continue;
        data[i] = (char *)launch->address[i] + operand[i].offset * fm_dtype_bytes((enum fm_dtype)operand[i].dtype);
    }
    fm_cuda_launch_fn *run = fm_cuda_launch_of(launch->problem.kernel);
    return run ? run(&call, NULL, err) : FM_FAIL(err, FM_UNSUPPORTED, "%s", fm_kernel_name(launch->problem.kernel));
}

static fm_status shim_synchronize(struct fm_backend *backend, struct fm_err *err)
{
    (void)backend, (void)err;
    return FM_OK;
}

#define SHIM(opens, last)                                                                                              \
    {                                                                                                                  \
        .abi = FM_BACKEND_ABI, .name = "cuda shim", .open = opens, .close = shim_close,                                \
        .candidates = shim_candidates, .run = shim_run, .synchronize = shim_synchronize, .channels_last = last,        \
    }
const struct fm_backend_ops fm_cuda_shim = SHIM(shim_open, false);
const struct fm_backend_ops fm_cuda_shim_channels_last = SHIM(shim_open_channels_last, true);

/* ---- comparison ---- */

static fm_status run_on(struct fm_case *c, const struct fm_backend_ops *ops, struct fm_err *err)
{
    struct fm_backend *backend = NULL;
    struct fm_backend_config config = { .threads = 1 };
    fm_status status = ops->open(&config, &backend, err);
    if (status == FM_OK) status = fm_case_run(c, ops, backend, err);
    ops->close(backend);
    return status;
}

static void run_well(struct fm_case *c, const struct fm_backend_ops *ops)
{
    struct fm_err err = { 0 };
    if (run_on(c, ops, &err) == FM_OK) return;
    fm_describe(c);
    fail_msg("%s on %s: %s", fm_kernel_name(c->kernel), ops->name, err.text);
}

void fm_expect_as_ref(const struct fm_case *c, double tolerance)
{
    static const struct fm_backend_ops *const ops[] = { &fm_cuda_shim, &fm_cuda_shim_channels_last };
    struct fm_case wanted, got, again;
    bool images = false;
    fm_case_copy(&wanted, c);
    run_well(&wanted, &fm_backend_ref);
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++) images = images || c->operand[i].channels;
    for (int layout = 0; layout < 1 + images; layout++) {
        fm_case_copy(&got, c);
        fm_shim_order(0);
        run_well(&got, ops[layout]);
        fm_compare(&got, &wanted, tolerance, "ref");
        for (uint32_t order = 1; order < 4; order += 2) {
            fm_case_copy(&again, c);
            fm_shim_order(order);
            run_well(&again, ops[layout]);
            fm_compare(&again, &got, 0, "itself in another order of threads");
            fm_case_release(&again);
        }
        fm_case_release(&got);
    }
    fm_case_release(&wanted);
}

fm_status fm_run_shim(struct fm_case *c, struct fm_err *err)
{
    fm_shim_order(0);
    return run_on(c, &fm_cuda_shim, err);
}
