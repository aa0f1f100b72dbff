#include "tests/cuda/support_cuda.h"

#include "probes/backends/cuda/kernels.h"
#include "probes/backends/ref/ref.h"
#include "tests/cuda/shim/shim.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <math.h>
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

/* ---- problems ---- */

int64_t fm_draw(struct fm_draw *draw, int64_t low, int64_t high)
{
    return low + (int64_t)(fm_rng_u64(draw->seed, 77, draw->drawn++) % (uint64_t)(high - low + 1));
}

enum fm_dtype fm_draw_float(struct fm_draw *draw)
{
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F16, FM_BF16 };
    return dtypes[fm_draw(draw, 0, 2)];
}

int fm_draw_sizes(struct fm_draw *draw, int64_t size[FM_MAX_DIMS])
{
    int ndim = (int)fm_draw(draw, 1, 5);
    int64_t room = fm_draw(draw, 0, 5) ? 600 : 9000;
    for (int d = 0; d < ndim; d++) {
        int64_t most = room < 40 ? room : fm_draw(draw, 0, 3) ? 40 : room;
        size[d] = fm_draw(draw, 1, most < 1 ? 1 : most);
        if (fm_draw(draw, 0, 1) && size[d] > 8) size[d] -= size[d] % 8;
        room /= size[d];
    }
    return ndim;
}

int fm_draw_image(struct fm_draw *draw, int64_t size[FM_MAX_DIMS])
{
    static const int64_t channels[] = { 1, 2, 3, 4, 8, 16, 32, 48, 71 };
    int ndim = (int)fm_draw(draw, 2, 5);
    int64_t most = ndim == 2 ? 150 : ndim == 3 ? 60 : ndim == 4 ? 9 : 4;
    size[0] = ndim == 2 ? fm_draw(draw, 2, most) : fm_draw(draw, 1, 3);
    size[1] = channels[fm_draw(draw, 0, 8)];
    for (int d = 2; d < ndim; d++) size[d] = fm_draw(draw, 0, 2) ? fm_draw(draw, 1, most) : (most + 7) / 8 * 8;
    return ndim;
}

void fm_draw_layout(struct fm_draw *draw, struct fm_case *c, uint32_t i, int kept)
{
    struct fm_operand *o = &c->operand[i];
    int dim = (int)fm_draw(draw, 0, o->ndim - 1), other = (int)fm_draw(draw, 0, o->ndim - 1);
    int64_t layout = fm_draw(draw, 0, 8), start = fm_draw(draw, 0, 2), more = fm_draw(draw, 0, 2);
    if (layout <= 4 && layout >= 1 && o->ndim >= 3) fm_case_image(c, i);
    if (layout == 4 || layout == 5) fm_case_slice(c, i, dim, start, o->size[dim] + start + more);
    if (layout == 6) fm_case_swap(c, i, dim, other);
    if (layout == 7 && i >= c->n_out && dim != kept) fm_case_expand(c, i, dim);
}

void fm_draw_share(struct fm_case *c, uint32_t with)
{
    if (c->operand[0].dtype != c->operand[with].dtype) return;
    for (int d = 0; d < c->operand[with].ndim; d++)
        if (c->operand[with].stride[d] == 0) return;
    fm_case_share(c, 0, with);
}

void fm_case_randomize(struct fm_case *c, double low, double high, uint64_t seed, bool all)
{
    for (uint32_t i = all ? 0 : c->n_out; i < c->n_out + c->n_in; i++)
        if (c->operand[i].storage == i) fm_case_random(c, i, low, high, seed + i);
}

double fm_cuda_tolerance(const struct fm_case *c)
{
    double tolerance = 1e-5;
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++) {
        if (c->operand[i].storage == FM_NONE) continue;
        if (c->operand[i].dtype == FM_F16 && tolerance < 1e-3) tolerance = 1e-3;
        if (c->operand[i].dtype == FM_BF16) tolerance = 8e-3;
    }
    return tolerance;
}

/* ---- comparison ---- */

static void describe(const struct fm_case *c)
{
    for (uint32_t k = 0; k < c->n_out + c->n_in; k++) {
        const struct fm_operand *o = &c->operand[k];
        if (o->storage == FM_NONE) continue;
        print_error("  operand %u %s offset %lld channels %u:", k, fm_dtype_name((enum fm_dtype)o->dtype),
                    (long long)o->offset, o->channels);
        for (int d = 0; d < o->ndim; d++) print_error(" %lld/%lld", (long long)o->size[d], (long long)o->stride[d]);
        print_error("\n");
    }
}

static void compare(const struct fm_case *got, const struct fm_case *wanted, double tolerance, const char *against)
{
    for (uint32_t i = 0; i < got->n_out; i++) {
        if (got->operand[i].storage == FM_NONE) continue;
        double difference = fm_case_difference(got, wanted, i);
        if (difference <= tolerance) continue;
        print_error("%s: output %u (%s) differs from %s by %g, at most %g\n", fm_kernel_name(got->kernel), i,
                    fm_dtype_name((enum fm_dtype)got->operand[i].dtype), against, difference, tolerance);
        describe(got);
        fail();
    }
}

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
    describe(c);
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
        compare(&got, &wanted, tolerance, "ref");
        for (uint32_t order = 1; order < 4; order += 2) {
            fm_case_copy(&again, c);
            fm_shim_order(order);
            run_well(&again, ops[layout]);
            compare(&again, &got, 0, "itself in another order of threads");
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
