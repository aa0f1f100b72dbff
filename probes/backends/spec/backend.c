#include "probes/backends/spec/query.h"
#include "probes/backends/spec/spec.h"

#include "probes/backends/attention_graph.h"
#include "tuner/base/memory.h"
#include "workloads/program/pytorch.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

struct fm_backend {
    struct fm_spec_device *device;      /* made at the first question: it loads half of cuDNN */
    char *description;
    struct fm_workspaces known;         /* answered before: a cell's next question has most problems of the last */
    char name[FM_TEXT_BYTES], version[32];
    int capability;
    int64_t total_bytes;
};

static void spec_close(struct fm_backend *b)
{
    if (!b) return;
    fm_spec_device_close(b->device);
    fm_free(b->description);
    fm_workspaces_release(&b->known);
    fm_free(b);
}

/* what is shown of the device, from the description that cuDNN gets */
static fm_status read_description(struct fm_backend *b, const char *json, struct fm_err *err)
{
    cJSON *o = cJSON_ParseWithOpts(json, NULL, 1);
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "deviceName"));
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(o, "deviceVer");
    const cJSON *total = cJSON_GetObjectItemCaseSensitive(o, "totalGlobalMem");
    fm_status status = FM_OK;
    if (!name || !cJSON_IsNumber(version) || !cJSON_IsNumber(total)) {
        status = FM_FAIL(err, FM_INVALID, "spec: --device is cuDNN's description of a device, JSON with deviceName, deviceVer, "
                         "totalGlobalMem and more");
    } else {
        (void)snprintf(b->name, sizeof b->name, "%s", name);
        b->capability = version->valueint / 10;
        b->total_bytes = (int64_t)total->valuedouble;
    }
    cJSON_Delete(o);
    return status;
}

static fm_status spec_open(const struct fm_backend_config *config, struct fm_backend **out, struct fm_err *err)
{
    *out = NULL;
    if (!config->device) return FM_FAIL(err, FM_INVALID, "spec: which device? give cuDNN's description of it with --device");
    struct fm_backend *b = fm_calloc(1, sizeof *b);
    if (!b) return FM_FAIL(err, FM_NOMEM, "spec backend");
    fm_spec_cudnn_version(b->version, sizeof b->version);
    fm_status status = read_description(b, config->device, err);
    if (status == FM_OK) {
        b->description = fm_strdup(config->device);
        if (!b->description) status = FM_FAIL(err, FM_NOMEM, "spec backend");
    }
    if (status != FM_OK) {
        spec_close(b);
        return status;
    }
    *out = b;
    return FM_OK;
}

static fm_status check_capability(const struct fm_backend *b, struct fm_err *err)
{
    if (b->capability >= FM_SPEC_CAPABILITY_MIN) return FM_OK;
    return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN %s plans for sm_%d and later; for sm_%d one up to 9.10 with CUDA 12 does",
                   b->version, FM_SPEC_CAPABILITY_MIN, b->capability);
}

static fm_status spec_info(struct fm_backend *b, struct fm_device_info *out, struct fm_err *err)
{
    fm_status status = check_capability(b, err);
    if (status != FM_OK) return status;
    *out = (struct fm_device_info){ .total_bytes = b->total_bytes, .free_bytes = b->total_bytes };
    (void)snprintf(out->id, sizeof out->id, "spec");
    (void)snprintf(out->name, sizeof out->name, "%s", b->name);
    (void)snprintf(out->isa, sizeof out->isa, "sm_%d", b->capability);
    (void)snprintf(out->library, sizeof out->library, "cuDNN %s, asked without the device", b->version);
    return FM_OK;
}

static fm_status conv_candidates(struct fm_backend *b, const struct fm_problem *problem, struct fm_candidates *out,
                                 struct fm_err *err)
{
    struct fm_spec_conv conv;
    if (problem->operand[problem->n_out].ndim < 4 || problem->operand[problem->n_out].ndim > 5)
        return FM_FAIL(err, FM_UNSUPPORTED, "spec: a convolution of %d dimensions", problem->operand[problem->n_out].ndim);
    if (fm_operand_numel(&problem->operand[0]) == 0) return FM_OK;
    if (fm_pytorch_is_depthwise(problem)) return FM_OK;
    fm_status status = check_capability(b, err);
    if (status == FM_OK && !b->device) status = fm_spec_device_open(b->description, &b->device, err);
    if (status != FM_OK) return status;
    fm_spec_conv(problem, &conv);
    status = fm_spec_conv_candidates(b->device, &conv, out, err);
    if (status != FM_OK || out->count) return status;
    return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN %s has no engine for this %s convolution on sm_%d", b->version,
                   fm_dtype_name(conv.dtype), b->capability);
}

static fm_status attention_candidates(struct fm_backend *b, const struct fm_problem *problem, struct fm_candidates *out,
                                      struct fm_err *err)
{
    fm_status status = check_capability(b, err);
    if (status == FM_OK) status = fm_pytorch_flash_check(b->capability, err);
    if (status == FM_OK && !b->device) status = fm_spec_device_open(b->description, &b->device, err);
    if (status == FM_OK) status = fm_spec_attention_candidates(b->device, problem, out, err);
    if (status != FM_OK || out->count) return status;
    return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN %s has no engine for this %s %s on sm_%d", b->version,
                   fm_dtype_name((enum fm_dtype)problem->operand[0].dtype), fm_kernel_name(problem->kernel), b->capability);
}

static fm_status remember(struct fm_backend *b, const struct fm_workspace_entry *entry, struct fm_err *err)
{
    fm_status status = fm_workspaces_add(&b->known, entry, err);
    if (status != FM_OK || !entry->unsupported) return status;
    return FM_FAIL(err, FM_UNSUPPORTED, "%s", entry->reason);
}

static fm_status spec_candidates(struct fm_backend *b, const struct fm_problem *problem, struct fm_candidates *out,
                                 struct fm_err *err)
{
    struct fm_workspace_entry entry = { .key = fm_problem_key(problem) };
    struct fm_err why = { 0 };
    *out = (struct fm_candidates){ 0 };
    if (problem->attr->tf32 && b->capability < FM_SPEC_CAPABILITY_TF32)
        return FM_FAIL(err, FM_UNSUPPORTED, "TF32 needs compute capability 8.0; this is sm_%d", b->capability);
    if (problem->kernel == FM_K_MATMUL) fm_pytorch_product(problem, b->capability, out);
    bool attention = problem->kernel == FM_K_SDPA || problem->kernel == FM_K_SDPA_BWD;
    bool conv = problem->kernel == FM_K_CONV || problem->kernel == FM_K_CONV_DGRAD || problem->kernel == FM_K_CONV_WGRAD;
    if (!attention && !conv) return FM_OK;
    const struct fm_workspace_entry *known = fm_workspaces_find(&b->known, entry.key);
    if (known) {
        *out = known->candidates;
        return known->unsupported ? FM_FAIL(err, FM_UNSUPPORTED, "%s", known->reason) : FM_OK;
    }
    fm_status status = attention ? attention_candidates(b, problem, &entry.candidates, &why)
                                 : conv_candidates(b, problem, &entry.candidates, &why);
    if (status != FM_OK && status != FM_UNSUPPORTED) return FM_FAIL(err, status, "%s", why.text);
    entry.unsupported = status == FM_UNSUPPORTED;
    (void)snprintf(entry.reason, sizeof entry.reason, "%.*s", (int)sizeof entry.reason - 1, why.text);
    *out = entry.candidates;
    return remember(b, &entry, err);
}

static fm_status nothing_runs(struct fm_err *err)
{
    return FM_FAIL(err, FM_UNSUPPORTED, "a GPU that is not here executes nothing; plan for it instead");
}

static fm_status spec_run(struct fm_backend *b, const struct fm_launch *launch, struct fm_err *err)
{
    (void)b, (void)launch;
    return nothing_runs(err);
}

static fm_status spec_synchronize(struct fm_backend *b, struct fm_err *err)
{
    (void)b;
    return nothing_runs(err);
}

static fm_status spec_read(struct fm_backend *b, void *host, const void *device, int64_t bytes, struct fm_err *err)
{
    (void)b, (void)host, (void)device, (void)bytes;
    return nothing_runs(err);
}

static fm_status spec_write(struct fm_backend *b, void *device, const void *host, int64_t bytes, struct fm_err *err)
{
    (void)b, (void)device, (void)host, (void)bytes;
    return nothing_runs(err);
}

const struct fm_backend_ops fm_backend_spec = {
    .abi = FM_BACKEND_ABI,
    .name = "spec",
    .open = spec_open,
    .close = spec_close,
    .info = spec_info,
    .candidates = spec_candidates,
    .run = spec_run,
    .synchronize = spec_synchronize,
    .read = spec_read,
    .write = spec_write,
};
