#include "tests/cpu/support_kernels.h"

#include "probes/backends/cpu/kernels.h"
#include "probes/backends/ref/ref.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fm_backend {
    int threads;
};

static fm_status own_open(const struct fm_backend_config *config, struct fm_backend **out, struct fm_err *err)
{
    *out = fm_calloc(1, sizeof **out);
    if (!*out) return FM_FAIL(err, FM_NOMEM, "backend");
    (*out)->threads = config->threads;
    return FM_OK;
}

static void own_close(struct fm_backend *backend)
{
    fm_free(backend);
}

/* operands as the kernels see them */
static fm_status resolve(const struct fm_problem *problem, struct fm_operand *operand, struct fm_err *err)
{
    for (uint32_t i = 0; i < problem->n_out + problem->n_in; i++) {
        operand[i] = problem->operand[i];
        if (operand[i].storage != FM_NONE && !fm_operand_channels_last(&operand[i]))
            return FM_FAIL(err, FM_UNSUPPORTED, "operand %u has no channels-last strides", i);
    }
    return FM_OK;
}

static fm_status own_candidates(struct fm_backend *backend, const struct fm_problem *problem, struct fm_candidates *out,
                                struct fm_err *err)
{
    const struct fm_cpu_kernel *kernel = &fm_cpu_kernels[problem->kernel];
    struct fm_operand operand[FM_CASE_OPERANDS];
    struct fm_problem resolved = *problem;
    fm_status status = resolve(problem, operand, err);
    if (status != FM_OK) return status;
    resolved.operand = operand;
    *out = (struct fm_candidates){ 0 };
    if (!kernel->workspace_bytes) return FM_OK;
    out->count = 1;
    out->item[0].workspace_bytes = kernel->workspace_bytes(&resolved, backend->threads);
    return FM_OK;
}

static fm_status own_run(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_operand operand[FM_CASE_OPERANDS];
    void *data[FM_CASE_OPERANDS] = { 0 };
    struct fm_cpu_call call = { .problem = launch->problem,
                                .data = data,
                                .workspace = launch->workspace,
                                .seed = launch->seed,
                                .step = launch->step,
                                .threads = backend->threads };
    fm_status status = resolve(&launch->problem, operand, err);
    if (status != FM_OK) return status;
    call.problem.operand = operand;
    for (uint32_t i = 0; i < launch->problem.n_out + launch->problem.n_in; i++) {
        if (!launch->address[i]) continue;
        data[i] = (char *)launch->address[i] + operand[i].offset * fm_dtype_bytes((enum fm_dtype)operand[i].dtype);
    }
    return fm_cpu_kernels[launch->problem.kernel].run(&call, err);
}

static fm_status own_synchronize(struct fm_backend *backend, struct fm_err *err)
{
    (void)backend, (void)err;
    return FM_OK;
}

const struct fm_backend_ops fm_own_ops = {
    .abi = FM_BACKEND_ABI,
    .name = "cpu kernels",
    .open = own_open,
    .close = own_close,
    .candidates = own_candidates,
    .run = own_run,
    .synchronize = own_synchronize,
    .channels_last = true,
};

int64_t fm_choose(struct fm_choice *choice, int64_t low, int64_t high)
{
    return low + (int64_t)(fm_rng_u64(choice->seed, 99, choice->drawn++) % (uint64_t)(high - low + 1));
}

void fm_random_layout(struct fm_choice *choice, struct fm_case *c, uint32_t i, int kept)
{
    struct fm_operand *o = &c->operand[i];
    int dim = (int)fm_choose(choice, 0, o->ndim - 1), other = (int)fm_choose(choice, 0, o->ndim - 1);
    int64_t layout = fm_choose(choice, 0, 6), start = fm_choose(choice, 0, 2), more = fm_choose(choice, 0, 2);
    if ((layout == 1 || layout == 2 || layout == 3) && o->ndim >= 3) fm_case_image(c, i);
    if (layout == 2 || layout == 4) fm_case_slice(c, i, dim, start, o->size[dim] + start + more);
    if (layout == 5) fm_case_swap(c, i, dim, other);
    if (layout == 6 && i >= c->n_out && dim != kept) fm_case_expand(c, i, dim);
}

void fm_share_if_possible(struct fm_case *c, uint32_t with)
{
    if (c->operand[0].dtype != c->operand[with].dtype) return;
    for (int d = 0; d < c->operand[with].ndim; d++) {
        if (c->operand[with].stride[d] == 0) return;
    }
    fm_case_share(c, 0, with);
}

enum fm_dtype fm_random_float(struct fm_choice *choice)
{
    return fm_choose(choice, 0, 2) ? FM_F32 : FM_BF16;
}

double fm_tolerance(const struct fm_case *c)
{
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++) {
        if (c->operand[i].dtype == FM_BF16 || c->operand[i].dtype == FM_F16) return 1e-2;
    }
    return 1e-6;
}

static void expect_close(const struct fm_case *got, const struct fm_case *wanted, double tolerance, int threads)
{
    for (uint32_t i = 0; i < got->n_out; i++) {
        if (got->operand[i].storage == FM_NONE) continue;
        double difference = fm_case_difference(got, wanted, i);
        if (difference <= tolerance) continue;
        print_error("%s, %d threads: output %u (%s) differs by %g, at most %g\n", fm_kernel_name(got->kernel), threads,
                    i, fm_dtype_name((enum fm_dtype)got->operand[i].dtype), difference, tolerance);
        for (uint32_t k = 0; k < got->n_out + got->n_in; k++) {
            const struct fm_operand *o = &got->operand[k];
            print_error("  operand %u %s offset %lld channels %u:", k, fm_dtype_name((enum fm_dtype)o->dtype),
                        (long long)o->offset, o->channels);
            for (int d = 0; d < o->ndim; d++) print_error(" %lld/%lld", (long long)o->size[d], (long long)o->stride[d]);
            print_error("\n");
        }
        fail();
    }
}

static void run_on(struct fm_case *c, const struct fm_backend_ops *ops, int threads)
{
    struct fm_backend *backend = NULL;
    struct fm_backend_config config = { .threads = threads };
    struct fm_err err = { 0 };
    assert_int_equal(ops->open(&config, &backend, &err), FM_OK);
    fm_status status = fm_case_run(c, ops, backend, &err);
    ops->close(backend);
    if (status != FM_OK) fail_msg("%s on %s, %d threads: %s", fm_kernel_name(c->kernel), ops->name, threads, err.text);
}

void fm_expect_same(const struct fm_case *c, double tolerance)
{
    struct fm_case wanted, got, again;
    fm_case_copy(&wanted, c);
    run_on(&wanted, &fm_backend_ref, 1);
    for (int threads = 1; threads <= 3; threads++) {
        fm_case_copy(&got, c);
        fm_case_copy(&again, c);
        run_on(&got, &fm_own_ops, threads);
        expect_close(&got, &wanted, tolerance, threads);
        run_on(&again, &fm_own_ops, threads);
        expect_close(&again, &got, 0, threads);
        fm_case_release(&got);
        fm_case_release(&again);
    }
    fm_case_release(&wanted);
}

fm_status fm_own_status(const struct fm_case *c, struct fm_err *err)
{
    struct fm_backend *backend = NULL;
    struct fm_backend_config config = { .threads = 2 };
    struct fm_case copy;
    fm_case_copy(&copy, c);
    fm_status status = own_open(&config, &backend, err);
    if (status == FM_OK) status = fm_case_run(&copy, &fm_own_ops, backend, err);
    own_close(backend);
    fm_case_release(&copy);
    return status;
}
