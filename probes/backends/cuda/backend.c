#include "probes/backends/cuda/cuda.h"

#include "probes/backends/cuda/context.h"
#include "probes/backends/cuda/conv.h"
#include "probes/backends/cuda/facts.h"
#include "probes/backends/cuda/kernels.h"
#include "probes/backends/cuda/matmul.h"
#include "probes/backends/cuda/software.h"
#include "probes/backends/cuda/watch.h"
#include "tuner/base/memory.h"
#include "workloads/program/pytorch.h"

#include <stdio.h>
#include <string.h>

struct fm_backend {
    struct fm_cuda cuda;
    struct fm_cuda_conv *conv;
    struct fm_cuda_matmul *matmul;
    void **data;                        /* of the call at hand */
    size_t data_room;
};

static void cuda_close(struct fm_backend *b)
{
    if (!b) return;
    fm_cuda_matmul_close(b->matmul);
    fm_cuda_conv_close(b->conv);
    fm_cuda_release(&b->cuda);
    fm_free(b->data);
    fm_free(b);
}

static fm_status cuda_open(const struct fm_backend_config *config, struct fm_backend **out, struct fm_err *err)
{
    fm_status status = FM_OK;
    *out = NULL;
    struct fm_backend *b = fm_calloc(1, sizeof *b);
    if (!b) return FM_FAIL(err, FM_NOMEM, "cuda backend");
    FM_TRY(fm_cuda_choose(&b->cuda, config->device, err));
    FM_TRY(fm_cuda_conv_open(&b->cuda, &b->conv, err));
    FM_TRY(fm_cuda_matmul_open(&b->cuda, &b->matmul, err));
    *out = b;
    b = NULL;
out:
    cuda_close(b);
    return status;
}

static fm_status cuda_info(struct fm_backend *b, struct fm_device_info *out, struct fm_err *err)
{
    (void)err;
    fm_cuda_info(&b->cuda, out);
    return FM_OK;
}

static void cuda_software(struct fm_device_info *out)
{
    struct fm_cuda_libraries libraries;
    fm_cuda_libraries_load(&libraries);
    fm_cuda_software(&libraries, "", out);
}

/* ---- candidates ---- */

static bool is_empty(const struct fm_problem *p)
{
    return p->n_out == 1 && fm_operand_numel(&p->operand[0]) == 0;
}

/* PyTorch has kernels of its own for some convolutions, and so have we */
static bool by_cudnn(const struct fm_problem *p)
{
    return fm_cuda_conv_serves(p->kernel) && !fm_pytorch_is_depthwise(p);
}

static fm_status own_candidates(const struct fm_problem *p, struct fm_candidates *out, struct fm_err *err)
{
    int64_t bytes = fm_cuda_workspace_bytes(p);
    if (!fm_cuda_launch_of(p->kernel)) return FM_FAIL(err, FM_UNSUPPORTED, "cuda has no %s", fm_kernel_name(p->kernel));
    if (bytes == 0) return FM_OK;
    out->count = 1;
    out->item[0].workspace_bytes = bytes;
    (void)snprintf(out->item[0].what, sizeof out->item[0].what, "own");
    return FM_OK;
}

static fm_status cuda_candidates(struct fm_backend *b, const struct fm_problem *p, struct fm_candidates *out, struct fm_err *err)
{
    *out = (struct fm_candidates){ 0 };
    if (p->kernel >= FM_KERNEL_COUNT) return FM_FAIL(err, FM_INVALID, "cuda: kernel %d", (int)p->kernel);
    if (p->attr->tf32 && b->cuda.sm < FM_CUDA_SM_TF32)
        return FM_FAIL(err, FM_UNSUPPORTED, "TF32 needs compute capability 8.0; this is sm_%d", b->cuda.sm);
    if (by_cudnn(p)) return is_empty(p) ? FM_OK : fm_cuda_conv_candidates(b->conv, p, out, err);
    if (p->kernel == FM_K_MATMUL) return is_empty(p) ? FM_OK : fm_cuda_matmul_candidates(&b->cuda, p, out, err);
    return own_candidates(p, out, err);
}

/* ---- running ---- */

static fm_status launch_own(struct fm_backend *b, const struct fm_cuda_call *call, struct fm_err *err)
{
    struct fm_err why = { 0 };
    const char *name = fm_kernel_name(call->problem.kernel);
    fm_cuda_launch_fn *launch = fm_cuda_launch_of(call->problem.kernel);
    if (!launch) return FM_FAIL(err, FM_UNSUPPORTED, "cuda has no %s", name);
    fm_status status = launch(call, b->cuda.stream, &why);
    if (status == FM_OK) return FM_OK;
    /* a launch that fails may only tell of an earlier kernel that ended the context */
    fm_status alive = status == FM_FAILED ? fm_cuda_alive(&b->cuda, name, err) : FM_OK;
    return alive != FM_OK ? alive : FM_FAIL(err, status, "%s", why.text[0] ? why.text : name);
}

/* y += bias, which is a vector along y's channels, or already as large as y */
static fm_status add_bias(struct fm_backend *b, const struct fm_problem *p, void *const *data, struct fm_err *err)
{
    const struct fm_attr attr = { .mode = FM_ADD, .alpha = 1 };
    const struct fm_operand *y = &p->operand[0], *bias = &p->operand[3];
    struct fm_operand operand[3] = { *y, *y, *y };
    void *const pointer[3] = { data[0], data[0], data[3] };
    operand[2].dtype = bias->dtype;
    operand[2].channels = operand[2].spatial = 0;
    for (int d = 0; d < y->ndim; d++) {
        if (bias->ndim == y->ndim) operand[2].stride[d] = bias->size[d] == 1 ? 0 : bias->stride[d];
        else operand[2].stride[d] = d == 1 ? bias->stride[0] : 0;
    }
    struct fm_cuda_call call = { .problem = { .kernel = FM_K_BINARY, .n_out = 1, .n_in = 2, .operand = operand, .attr = &attr },
                                 .data = pointer };
    return launch_own(b, &call, err);
}

static fm_status run_conv(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    const struct fm_problem *p = &l->problem;
    struct fm_cuda_conv_run run = { .problem = *p, .data = b->data, .workspace = l->workspace,
                                    .workspace_bytes = l->workspace_bytes, .candidate = l->candidate };
    fm_status status = fm_cuda_conv_execute(b->conv, &run, err);
    bool bias = p->kernel == FM_K_CONV && p->n_in > 2 && b->data[3];
    return status == FM_OK && bias ? add_bias(b, p, b->data, err) : status;
}

static fm_status run_matmul(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    struct fm_cuda_matmul_run run = { .problem = l->problem, .data = b->data, .workspace = l->workspace,
                                      .workspace_bytes = l->workspace_bytes };
    bool added = true;
    fm_status status = fm_cuda_matmul_execute(b->matmul, &run, &added, err);
    return status == FM_OK && !added && b->data[3] ? add_bias(b, &l->problem, b->data, err) : status;
}

/* the addresses of a call's operands, with their offsets, into b->data */
static fm_status resolve(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    const struct fm_problem *p = &l->problem;
    uint32_t count = p->n_out + p->n_in;
    if (p->kernel >= FM_KERNEL_COUNT) return FM_FAIL(err, FM_INVALID, "cuda: kernel %d", (int)p->kernel);
    fm_status status = fm_cuda_use(&b->cuda, err);
    if (status != FM_OK) return status;
    void *grown = fm_grow(b->data, &b->data_room, count, sizeof *b->data);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "cuda: %u operands", count);
    b->data = grown;
    for (uint32_t i = 0; i < count; i++) {
        const struct fm_operand *o = &p->operand[i];
        bool absent = o->storage == FM_NONE || !l->address[i];
        b->data[i] = absent ? NULL : (char *)l->address[i] + o->offset * fm_dtype_bytes((enum fm_dtype)o->dtype);
    }
    return FM_OK;
}

static fm_status cuda_run(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    const struct fm_problem *p = &l->problem;
    fm_status status = resolve(b, l, err);
    if (status != FM_OK) return status;
    bool conv = by_cudnn(p), library = conv || p->kernel == FM_K_MATMUL;
    if (library && is_empty(p)) return FM_OK;
    if (conv) return run_conv(b, l, err);
    if (p->kernel == FM_K_MATMUL) return run_matmul(b, l, err);
    struct fm_cuda_call call = { .problem = *p, .data = b->data, .workspace = l->workspace, .workspace_bytes = l->workspace_bytes,
                                 .seed = l->seed, .step = l->step };
    return launch_own(b, &call, err);
}

static fm_status cuda_rank(struct fm_backend *b, const struct fm_launch *l, uint32_t valid, struct fm_ranking *out, struct fm_err *err)
{
    *out = (struct fm_ranking){ 0 };
    fm_status status = resolve(b, l, err);
    if (status != FM_OK || !by_cudnn(&l->problem) || is_empty(&l->problem)) return status;
    struct fm_cuda_conv_run run = { .problem = l->problem, .data = b->data, .workspace = l->workspace,
                                    .workspace_bytes = l->workspace_bytes };
    return fm_cuda_conv_rank(b->conv, &run, valid, out, err);
}

/* ---- memory and time ---- */

static fm_status cuda_synchronize(struct fm_backend *b, struct fm_err *err) { return fm_cuda_synchronize(&b->cuda, err); }

static fm_status cuda_read(struct fm_backend *b, void *host, const void *device, int64_t bytes, struct fm_err *err)
{
    return fm_cuda_read(&b->cuda, host, device, bytes, err);
}

static fm_status cuda_write(struct fm_backend *b, void *device, const void *host, int64_t bytes, struct fm_err *err)
{
    return fm_cuda_write(&b->cuda, device, host, bytes, err);
}

static fm_status cuda_source(struct fm_backend *b, int64_t memory_bytes, struct fm_segment_source *out, struct fm_err *err)
{
    fm_status status = fm_cuda_use(&b->cuda, err);
    if (status == FM_OK) *out = fm_cuda_source(&b->cuda, memory_bytes);
    return status;
}

static fm_status cuda_time_begin(struct fm_backend *b, struct fm_err *err) { return fm_cuda_time_begin(&b->cuda, err); }

static fm_status cuda_time_end(struct fm_backend *b, int64_t *ns, struct fm_err *err)
{
    return fm_cuda_time_end(&b->cuda, ns, err);
}

static fm_status cuda_watch(struct fm_backend *b, struct fm_device_watch *out, struct fm_err *err)
{
    return fm_cuda_watch(&b->cuda, out, err);
}

const struct fm_backend_ops fm_backend_cuda = {
    .abi = FM_BACKEND_ABI,
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .info = cuda_info,
    .software = cuda_software,
    .candidates = cuda_candidates,
    .run = cuda_run,
    .rank = cuda_rank,
    .synchronize = cuda_synchronize,
    .read = cuda_read,
    .write = cuda_write,
    .source = cuda_source,
    .time_begin = cuda_time_begin,
    .time_end = cuda_time_end,
    .watch = cuda_watch,
};
