#include "probes/backends/cpu/onednn_internal.h"

#include "probes/backends/cpu/kernels.h"
#include "tuner/base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define ALIGN 64

fm_status fm_dnn_check(dnnl_status_t status, const char *doing, struct fm_err *err)
{
    switch (status) {
    case dnnl_success: return FM_OK;
    case dnnl_out_of_memory: return FM_FAIL(err, FM_NOMEM, "oneDNN: %s: out of host memory", doing);
    case dnnl_unimplemented: return FM_FAIL(err, FM_UNSUPPORTED, "oneDNN: %s: not implemented for this CPU", doing);
    case dnnl_invalid_arguments: return FM_FAIL(err, FM_INVALID, "oneDNN: %s: sizes or attributes do not fit together", doing);
    default: return FM_FAIL(err, FM_FAILED, "oneDNN: %s: status %d", doing, (int)status);
    }
}

fm_status fm_dnn_open(struct fm_dnn **out, int threads, struct fm_err *err)
{
    fm_status status = FM_OK;
    struct fm_dnn *dnn = fm_calloc(1, sizeof *dnn);
    *out = NULL;
    if (!dnn) return FM_FAIL(err, FM_NOMEM, "oneDNN handle");
    const dnnl_version_t *version = dnnl_version();
    snprintf(dnn->version, sizeof dnn->version, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
    dnn->threads = threads;
    if (version->major != DNNL_VERSION_MAJOR) {
        status = FM_FAIL(err, FM_UNSUPPORTED, "compiled with the %d.x API but %s is loaded: rebuild", DNNL_VERSION_MAJOR,
                         dnn->version);
        goto out;
    }
    if (version->major == 2 && version->minor < 6) {
        status = FM_FAIL(err, FM_UNSUPPORTED, "%s is loaded: its results are wrong; 2.6 or newer is needed", dnn->version);
        goto out;
    }
    /* The process's cache takes layouts that differ in strides of size-1 dimensions for one: an answer about workspace
     * would depend on what ran before. Plans are kept by problem here, so that nothing is made twice without it. */
    FM_TRY(fm_dnn_check(dnnl_set_primitive_cache_capacity(0), "primitive cache", err));
    FM_TRY(fm_dnn_check(dnnl_engine_create(&dnn->engine, dnnl_cpu, 0), "CPU engine", err));
    FM_TRY(fm_dnn_check(dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags), "stream", err));
    *out = dnn;
    dnn = NULL;
out:
    fm_dnn_close(dnn);
    return status;
}

void fm_dnn_close(struct fm_dnn *dnn)
{
    if (!dnn) return;
    if (dnn->stream) dnnl_stream_destroy(dnn->stream);
    if (dnn->engine) dnnl_engine_destroy(dnn->engine);
    fm_free(dnn);
}

const char *fm_dnn_version(const struct fm_dnn *dnn)
{
    return dnn->version;
}

const char *fm_dnn_cpu(const struct fm_dnn *dnn)
{
    (void)dnn;
    return fm_dnn_isa();
}

bool fm_dnn_serves(enum fm_kernel kernel)
{
    return kernel == FM_K_CONV || kernel == FM_K_CONV_DGRAD || kernel == FM_K_CONV_WGRAD || kernel == FM_K_MATMUL;
}

dnnl_data_type_t fm_dnn_type(enum fm_dtype dtype)
{
    switch (dtype) {
    case FM_F32: return dnnl_f32;
    case FM_F16: return dnnl_f16;
    case FM_BF16: return dnnl_bf16;
    default: return dnnl_data_type_undef;
    }
}

bool fm_dnn_is_reference(const char *implementation)
{
    return strncmp(implementation, "ref", 3) == 0 || strncmp(implementation, "simple", 6) == 0;
}

fm_status fm_dnn_unsupported(const struct fm_problem *problem, enum fm_dtype dtype, struct fm_err *err)
{
    const dnnl_version_t *version = dnnl_version();
    const char *why = dtype == FM_BF16   ? "bf16 needs AVX-512"
                      : dtype == FM_F16  ? "f16 needs oneDNN 3 and a CPU with AVX512-FP16"
                                         : "no fast implementation";
    return FM_FAIL(err, FM_UNSUPPORTED, "%s in %s: %s; oneDNN %d.%d.%d uses %s here", fm_kernel_name(problem->kernel),
                   fm_dtype_name(dtype), why, version->major, version->minor, version->patch, fm_dnn_isa());
}

void fm_dnn_channels_last(struct fm_operand *o)
{
    int64_t stride = o->size[1];
    o->stride[1] = 1;
    for (int d = o->ndim - 1; d >= 2; d--) {
        o->stride[d] = stride;
        stride *= o->size[d];
    }
    o->stride[0] = stride;
}

struct fm_dnn_place fm_dnn_take(struct fm_dnn_plan *plan, size_t bytes)
{
    struct fm_dnn_place place = { -1, plan->workspace_bytes };
    plan->workspace_bytes += ((int64_t)bytes + ALIGN - 1) / ALIGN * ALIGN;
    return place;
}

static struct fm_dnn_step *next_step(struct fm_dnn_plan *plan)
{
    assert(plan->steps < FM_DNN_STEPS);         /* the longest, a convolution with every operand copied, has 10 */
    return &plan->step[plan->steps++];
}

void fm_dnn_add_own(struct fm_dnn_plan *plan, const struct fm_dnn_tensor *out, const struct fm_dnn_tensor *a,
                    const struct fm_dnn_tensor *b)
{
    struct fm_dnn_step *step = next_step(plan);
    const struct fm_dnn_tensor *all[3] = { out, a, b };
    step->kind = FM_DNN_OWN;
    step->kernel = b ? FM_K_BINARY : a ? FM_K_COPY : FM_K_FILL;
    step->operands = 1 + (a != NULL) + (b != NULL);
    for (int i = 0; i < step->operands; i++) {
        step->operand[i] = all[i]->operand;
        step->place[i] = all[i]->place;
    }
}

void fm_dnn_add_flip(struct fm_dnn_plan *plan, const struct fm_dnn_tensor *out, const struct fm_dnn_tensor *in)
{
    struct fm_dnn_step *step = next_step(plan);
    step->kind = FM_DNN_FLIP;
    step->operands = 2;
    step->operand[0] = out->operand, step->place[0] = out->place;
    step->operand[1] = in->operand, step->place[1] = in->place;
}

fm_status fm_dnn_add_primitive(struct fm_dnn *dnn, struct fm_dnn_plan *plan, dnnl_primitive_desc_t pd,
                               const struct fm_dnn_binding *binding, int bindings, struct fm_err *err)
{
    struct fm_dnn_step *step = next_step(plan);
    fm_status status = FM_OK;
    struct fm_dnn_desc scratch = { 0 };
    step->kind = FM_DNN_PRIMITIVE;
    step->pd = pd;
    FM_TRY(fm_dnn_check(fm_dnn_desc_query(&scratch, pd, dnnl_query_scratchpad_md), "scratchpad", err));
    struct fm_dnn_binding last = { DNNL_ARG_SCRATCHPAD, { -1, 0 }, &scratch };
    size_t scratch_bytes = fm_dnn_desc_bytes(&scratch);
    if (scratch_bytes > 0) last.place = fm_dnn_take(plan, scratch_bytes);
    for (int i = 0; i < bindings + (scratch_bytes > 0); i++) {
        const struct fm_dnn_binding *b = i < bindings ? &binding[i] : &last;
        struct fm_dnn_arg *arg = &step->arg[step->args];
        *arg = (struct fm_dnn_arg){ .id = b->id, .place = b->place };
        FM_TRY(fm_dnn_check(fm_dnn_memory_create(&arg->memory, b->desc, dnn->engine), "memory object", err));
        step->args++;
    }
out:
    fm_dnn_desc_release(&scratch);
    return status;
}

fm_status fm_dnn_add_reorder(struct fm_dnn *dnn, struct fm_dnn_plan *plan, const struct fm_dnn_binding *from,
                             const struct fm_dnn_binding *to, struct fm_err *err)
{
    dnnl_primitive_desc_t pd;
    fm_status status = fm_dnn_check(fm_dnn_reorder_create(&pd, from->desc, to->desc, dnn->engine), "reorder", err);
    if (status != FM_OK) return status;
    struct fm_dnn_binding both[2] = { *from, *to };
    both[0].id = DNNL_ARG_FROM;
    both[1].id = DNNL_ARG_TO;
    return fm_dnn_add_primitive(dnn, plan, pd, both, 2, err);
}

/* what every oneDNN kernel asks of its operands before one looks at their sizes */
static fm_status check_problem(const struct fm_problem *problem, struct fm_err *err)
{
    bool forward = problem->kernel == FM_K_CONV || problem->kernel == FM_K_MATMUL;
    const char *name = fm_kernel_name(problem->kernel);
    if (problem->n_out != 1 || problem->n_in < 2 || problem->n_in > (forward ? 3 : 2))
        return FM_FAIL(err, FM_INVALID, "%s: %u outputs and %u inputs", name, problem->n_out, problem->n_in);
    for (uint32_t i = 0; i < 1 + problem->n_in; i++) {
        const struct fm_operand *o = &problem->operand[i];
        if (o->storage == FM_NONE) return FM_FAIL(err, FM_INVALID, "%s: operand %u is absent", name, i);
        if (fm_dnn_type((enum fm_dtype)o->dtype) == dnnl_data_type_undef)
            return FM_FAIL(err, FM_UNSUPPORTED, "%s in %s: oneDNN computes in f32, bf16 and f16", name,
                           fm_dtype_name((enum fm_dtype)o->dtype));
    }
    return FM_OK;
}

fm_status fm_dnn_plan_create(struct fm_dnn *dnn, const struct fm_problem *physical, struct fm_dnn_plan **out,
                             struct fm_err *err)
{
    *out = NULL;
    fm_status status = check_problem(physical, err);
    if (status != FM_OK) return status;
    struct fm_dnn_plan *plan = fm_calloc(1, sizeof *plan);
    if (!plan) return FM_FAIL(err, FM_NOMEM, "oneDNN plan");
    status = physical->kernel == FM_K_MATMUL ? fm_dnn_plan_matmul(dnn, physical, NULL, plan, err)
                                             : fm_dnn_plan_conv(dnn, physical, plan, err);
    if (status != FM_OK) {
        fm_dnn_plan_destroy(plan);
        return status;
    }
    *out = plan;
    return FM_OK;
}

void fm_dnn_plan_destroy(struct fm_dnn_plan *plan)
{
    if (!plan) return;
    for (int s = 0; s < plan->steps; s++) {
        struct fm_dnn_step *step = &plan->step[s];
        for (int i = 0; i < step->args; i++) dnnl_memory_destroy(step->arg[i].memory);
        if (step->primitive) dnnl_primitive_destroy(step->primitive);
        if (step->pd) dnnl_primitive_desc_destroy(step->pd);
    }
    fm_free(plan);
}

int64_t fm_dnn_plan_bytes(const struct fm_dnn_plan *plan)
{
    return plan->workspace_bytes;
}

const char *fm_dnn_plan_what(const struct fm_dnn_plan *plan)
{
    return plan->what;
}

static void *locate(const struct fm_dnn_place *place, void *const *data, void *workspace)
{
    return place->operand >= 0 ? data[place->operand] : (char *)workspace + place->offset;
}

static fm_status run_primitive(struct fm_dnn *dnn, struct fm_dnn_step *step, void *const *data, void *workspace,
                               struct fm_err *err)
{
    fm_status status = FM_OK;
    dnnl_exec_arg_t args[FM_DNN_ARGS];
    if (!step->primitive) {
        FM_TRY(fm_dnn_check(dnnl_primitive_create(&step->primitive, step->pd), "code generation", err));
        dnnl_primitive_desc_destroy(step->pd);
        step->pd = NULL;
    }
    for (int i = 0; i < step->args; i++) {
        struct fm_dnn_arg *arg = &step->arg[i];
        FM_TRY(fm_dnn_check(dnnl_memory_set_data_handle(arg->memory, locate(&arg->place, data, workspace)), "address", err));
        args[i] = (dnnl_exec_arg_t){ arg->id, arg->memory };
    }
    FM_TRY(fm_dnn_check(dnnl_primitive_execute(step->primitive, dnn->stream, step->args, args), "execution", err));
out:
    return status;
}

static fm_status run_own(const struct fm_dnn *dnn, struct fm_dnn_step *step, void *const *data, void *workspace,
                         struct fm_err *err)
{
    static const struct fm_attr sum = { .mode = FM_ADD, .alpha = 1 }, zero = { .alpha = 0 };
    void *address[3];
    for (int i = 0; i < step->operands; i++) address[i] = locate(&step->place[i], data, workspace);
    struct fm_cpu_call call = {
        .problem = { step->kernel, 1, (uint32_t)step->operands - 1, step->operand, step->kernel == FM_K_FILL ? &zero : &sum },
        .data = address,
        .threads = dnn->threads,
    };
    return fm_cpu_kernels[step->kernel].run(&call, err);
}

/* one filter's taps, last first */
static void flip_filter(char *to, const char *from, const struct fm_operand *in, size_t element)
{
    int64_t depth = in->ndim > 4 ? in->size[2] : 1, depth_stride = in->ndim > 4 ? in->stride[2] : 0;
    int64_t rows = in->size[in->ndim - 2], columns = in->size[in->ndim - 1];
    int64_t row_stride = in->stride[in->ndim - 2], column_stride = in->stride[in->ndim - 1];
    for (int64_t z = depth; z-- > 0;)
        for (int64_t y = rows; y-- > 0;)
            for (int64_t x = columns; x-- > 0; to += element)
                memcpy(to, from + (z * depth_stride + y * row_stride + x * column_stride) * (int64_t)element, element);
}

static void run_flip(const struct fm_dnn *dnn, const struct fm_dnn_step *step, void *const *data, void *workspace)
{
    const struct fm_operand *in = &step->operand[1];
    size_t element = (size_t)fm_dtype_bytes((enum fm_dtype)in->dtype);
    int64_t taps = fm_operand_numel(in) / (in->size[0] * in->size[1]);
    char *to = locate(&step->place[0], data, workspace);
    const char *from = locate(&step->place[1], data, workspace);
#pragma omp parallel for num_threads(dnn->threads) if (in->size[0] * in->size[1] > 4096)
    for (int64_t i = 0; i < in->size[0]; i++)
        for (int64_t k = 0; k < in->size[1]; k++)
            flip_filter(to + (i * in->size[1] + k) * taps * (int64_t)element,
                        from + (i * in->stride[0] + k * in->stride[1]) * (int64_t)element, in, element);
}

fm_status fm_dnn_plan_run(struct fm_dnn *dnn, struct fm_dnn_plan *plan, void *const *data, void *workspace,
                          struct fm_err *err)
{
    for (int s = 0; s < plan->steps; s++) {
        struct fm_dnn_step *step = &plan->step[s];
        fm_status status = FM_OK;
        switch (step->kind) {
        case FM_DNN_PRIMITIVE: status = run_primitive(dnn, step, data, workspace, err); break;
        case FM_DNN_OWN: status = run_own(dnn, step, data, workspace, err); break;
        case FM_DNN_FLIP: run_flip(dnn, step, data, workspace); break;
        }
        if (status != FM_OK) return status;
    }
    return FM_OK;
}
