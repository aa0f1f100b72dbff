/* The tests of tests/cuda and tests/cuda_step on a GPU: in place of their stand-ins, the cuda backend itself. A problem's
 * operands are copied to the GPU with the guards around them, run there, and copied back, guards included. */
#include "tests/gpu/support_gpu.h"

#include "probes/backends/ref/ref.h"
#include "tests/cuda/support_cuda.h"
#include "tests/cuda_host/support_host.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GUARD INT64_C(64)                   /* bytes that fm_case_run keeps around a block */
#define ALIGNED INT64_C(512)
#define ARENA_BYTES (INT64_C(1) << 29)
#define WORKSPACE_COPIED (INT64_C(1) << 20)

/* ---- what was seen ---- */

enum { F32, TF32, HALF, EXACT, CLASSES };
static const char *const class_name[CLASSES] = { "fp32", "tf32", "fp16/bf16", "exact" };
static const double class_limit[CLASSES] = { 1e-4, 3e-3, 2e-2, 0 };
static struct { long cases; double worst; } seen[FM_KERNEL_COUNT][CLASSES];

static void tell(void)
{
    for (int k = 0; k < FM_KERNEL_COUNT; k++)
        for (int i = 0; i < CLASSES; i++)
            if (seen[k][i].cases)
                (void)printf("worst %s %s cases %ld difference %.3g limit %.3g\n", fm_kernel_name((enum fm_kernel)k), class_name[i],
                             seen[k][i].cases, seen[k][i].worst, class_limit[i]);
}

static int class_of(const struct fm_case *c, double tolerance)
{
    if (tolerance <= 0) return EXACT;
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++)
        if (c->operand[i].storage != FM_NONE && (c->operand[i].dtype == FM_F16 || c->operand[i].dtype == FM_BF16)) return HALF;
    return c->attr.tf32 ? TF32 : F32;
}

/* ---- the GPU, and its memory in one piece ---- */

static struct fm_backend *gpu;
static uint64_t arena;
static int64_t arena_used;

static void give_up(const char *why)
{
    (void)fprintf(stderr, "no GPU to test: %s\n", why);
    (void)fflush(NULL);
    _exit(FM_UNSUPPORTED);
}

static void close_gpu(void)
{
    fm_backend_cuda.close(gpu);
    gpu = NULL;
}

struct fm_backend *fm_gpu(void)
{
    static struct fm_segment_source source;
    struct fm_err err = { 0 };
    if (gpu) return gpu;
    if (fm_backend_cuda.open(&(struct fm_backend_config){ .device = "cuda:0" }, &gpu, &err) != FM_OK) give_up(err.text);
    if (fm_backend_cuda.source(gpu, ARENA_BYTES, &source, &err) != FM_OK) give_up(err.text);
    if (source.segment_alloc(source.context, ARENA_BYTES, &arena, &err) != FM_OK) give_up("512 MiB of its memory are not free");
    (void)atexit(close_gpu);
    (void)atexit(tell);
    return gpu;
}

/* ---- one call: host blocks and their copies ---- */

struct block { char *host; int64_t bytes, copied; void *device; };

static int64_t reach_bytes(const struct fm_operand *o)
{
    int64_t last = o->offset;
    if (fm_operand_numel(o) == 0) return 0;
    for (int d = 0; d < o->ndim; d++) last += (o->size[d] - 1) * o->stride[d];
    return (last + 1) * fm_dtype_bytes((enum fm_dtype)o->dtype);
}

static fm_status place(struct block *block, struct fm_err *err)
{
    int64_t room = (block->bytes + 3 * ALIGNED - 1) / ALIGNED * ALIGNED;
    if (arena_used + room > ARENA_BYTES)
        return FM_FAIL(err, FM_NOMEM, "a problem of the test needs more than %lld bytes", (long long)ARENA_BYTES);
    block->device = (char *)(uintptr_t)arena + arena_used + ALIGNED;
    arena_used += room;
    return FM_OK;
}

static fm_status copy(const struct block *b, bool back, struct fm_err *err)
{
    /* whole, or a large workspace's beginning and what follows it */
    const int64_t from[2] = { -GUARD, b->bytes }, bytes[2] = { GUARD + b->copied, GUARD };
    fm_status status = FM_OK;
    for (int i = 0; i < 2 && status == FM_OK; i++) {
        char *host = b->host + from[i], *device = (char *)b->device + from[i];
        status = back ? fm_backend_cuda.read(fm_gpu(), host, device, bytes[i], err) : fm_backend_cuda.write(fm_gpu(), device, host, bytes[i], err);
    }
    return status;
}

/* ---- as a backend ---- */

struct fm_backend { bool channels_last; };

static fm_status mirror_resolve(const struct fm_backend *b, const struct fm_problem *p, struct fm_operand *operand, struct fm_err *err)
{
    for (uint32_t i = 0; i < p->n_out + p->n_in; i++) {
        operand[i] = p->operand[i];
        if (b && b->channels_last && operand[i].storage != FM_NONE && !fm_operand_channels_last(&operand[i]))
            return FM_FAIL(err, FM_UNSUPPORTED, "operand %u has no channels-last strides", i);
    }
    return FM_OK;
}

static fm_status mirror_candidates(struct fm_backend *b, const struct fm_problem *p, struct fm_candidates *out, struct fm_err *err)
{
    struct fm_operand operand[FM_CASE_OPERANDS];
    struct fm_problem resolved = *p;
    fm_status status = mirror_resolve(b, p, operand, err);
    resolved.operand = operand;
    return status == FM_OK ? fm_backend_cuda.candidates(fm_gpu(), &resolved, out, err) : status;
}

static fm_status mirror_run(struct fm_backend *b, const struct fm_launch *launch, struct fm_err *err)
{
    fm_status status = FM_OK;
    struct fm_operand operand[FM_CASE_OPERANDS];
    struct block block[FM_CASE_OPERANDS + 1] = { 0 };
    void *address[FM_CASE_OPERANDS] = { 0 };
    uint32_t count = launch->problem.n_out + launch->problem.n_in, blocks = 0, of[FM_CASE_OPERANDS] = { 0 };
    struct fm_launch run = *launch;
    (void)fm_gpu();
    FM_TRY(mirror_resolve(b, &launch->problem, operand, err));
    for (uint32_t i = 0; i < count; i++) {
        if (!launch->address[i]) continue;
        int64_t bytes = reach_bytes(&operand[i]);
        for (of[i] = 0; of[i] < blocks && block[of[i]].host != launch->address[i];) of[i]++;
        if (of[i] == blocks) block[blocks++].host = launch->address[i];
        if (bytes > block[of[i]].bytes) block[of[i]].bytes = block[of[i]].copied = bytes;
    }
    uint32_t work = blocks;
    if (launch->workspace) {
        int64_t bytes = launch->workspace_bytes;
        block[blocks++] = (struct block){ launch->workspace, bytes, bytes < WORKSPACE_COPIED ? bytes : WORKSPACE_COPIED, NULL };
    }
    arena_used = 0;
    for (uint32_t k = 0; k < blocks; k++) {
        FM_TRY(place(&block[k], err));
        FM_TRY(copy(&block[k], false, err));
    }
    for (uint32_t i = 0; i < count; i++)
        if (launch->address[i]) address[i] = block[of[i]].device;
    run.problem.operand = operand;
    run.address = address;
    run.workspace = launch->workspace ? block[work].device : NULL;
    FM_TRY(fm_backend_cuda.run(fm_gpu(), &run, err));
    FM_TRY(fm_backend_cuda.synchronize(fm_gpu(), err));
    for (uint32_t k = 0; k < blocks; k++) FM_TRY(copy(&block[k], true, err));
out:
    return status;
}

static fm_status mirror_synchronize(struct fm_backend *b, struct fm_err *err)
{
    (void)b, (void)err;
    return FM_OK;
}

static const struct fm_backend_ops mirror[2] = {
    { .abi = FM_BACKEND_ABI, .name = "cuda", .candidates = mirror_candidates, .run = mirror_run, .synchronize = mirror_synchronize },
    { .abi = FM_BACKEND_ABI, .name = "cuda, channels-last", .candidates = mirror_candidates, .run = mirror_run,
      .synchronize = mirror_synchronize, .channels_last = true },
};

/* ---- what tests call ---- */

static void run_well(struct fm_case *c, int layout)
{
    struct fm_err err = { 0 };
    if (fm_case_run(c, &mirror[layout], &(struct fm_backend){ layout == 1 }, &err) == FM_OK) return;
    fm_describe(c);
    fail_msg("%s on %s: %s", fm_kernel_name(c->kernel), mirror[layout].name, err.text);
}

static void compare_with(const struct fm_case *got, const struct fm_case *wanted, double tolerance)
{
    int class = class_of(got, tolerance);
    seen[got->kernel][class].cases++;
    for (uint32_t i = 0; i < got->n_out; i++) {
        if (got->operand[i].storage == FM_NONE) continue;
        double difference = fm_case_difference(got, wanted, i);
        if (!(difference <= seen[got->kernel][class].worst)) seen[got->kernel][class].worst = difference;
    }
    fm_compare(got, wanted, fmax(tolerance, class_limit[class]), "ref");
}

void fm_expect_as_ref(const struct fm_case *c, double tolerance)
{
    struct fm_case wanted, got, again;
    struct fm_err err = { 0 };
    bool images = false;
    fm_case_copy(&wanted, c);
    wanted.attr.tf32 = 0;
    if (fm_case_run(&wanted, &fm_backend_ref, NULL, &err) != FM_OK) fail_msg("%s on ref: %s", fm_kernel_name(c->kernel), err.text);
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++) images = images || c->operand[i].channels;
    for (int layout = 0; layout < 1 + images; layout++) {
        fm_case_copy(&got, c);
        fm_case_copy(&again, c);
        run_well(&got, layout);
        compare_with(&got, &wanted, tolerance);
        if (!fm_gpu_library(c->kernel)) {
            run_well(&again, layout);
            fm_compare(&again, &got, 0, "itself run again");
        }
        fm_case_release(&again);
        fm_case_release(&got);
    }
    fm_case_release(&wanted);
}

fm_status fm_run_shim(struct fm_case *c, struct fm_err *err)
{
    return fm_case_run(c, &mirror[0], &(struct fm_backend){ false }, err);
}

bool fm_gpu_library(enum fm_kernel kernel)
{
    return kernel == FM_K_MATMUL || kernel == FM_K_CONV || kernel == FM_K_CONV_DGRAD || kernel == FM_K_CONV_WGRAD ||
           kernel == FM_K_SDPA || kernel == FM_K_SDPA_BWD;
}

struct fm_backend *fm_fake_open(const char *options)
{
    struct fm_backend *backend = NULL;
    struct fm_err err = { 0 };
    (void)options;
    if (fm_backend_cuda.open(&(struct fm_backend_config){ .device = "cuda:0" }, &backend, &err) != FM_OK) give_up(err.text);
    return backend;
}

double fm_host_tolerance(double most) { return fmax(most, 3e-3); }
