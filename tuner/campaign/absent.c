#include "tuner/campaign/absent.h"

#include "workloads/program/pytorch.h"

#include <stdio.h>
#include <string.h>

fm_status fm_absent_describe(struct fm_session *s, struct fm_err *err)
{
    const struct fm_gpu *gpu = s->config.gpu;
    struct fm_buf json = FM_BUF(sizeof s->description);
    bool known;
    fm_gpu_cudnn_json(gpu, &json);
    bool good = fm_buf_ok(&json) && json.bytes < sizeof s->description;
    if (good) memcpy(s->description, fm_buf_text(&json), json.bytes + 1);
    fm_buf_release(&json);
    if (!good) return FM_FAIL(err, FM_NOMEM, "the description of %s", gpu->name);
    (void)snprintf(s->device->device_id, sizeof s->device->device_id, "%s", gpu->name);
    (void)snprintf(s->device->device_name, sizeof s->device->device_name, "%s", gpu->title);
    (void)snprintf(s->device->device_isa, sizeof s->device->device_isa, "sm_%d", gpu->capability);
    s->device->device_total_bytes = s->device->device_free_bytes = fm_gpu_total_bytes(gpu, &known);
    if (s->capacity_bytes > s->device->device_total_bytes)
        return FM_FAIL(err, FM_INVALID, "--memory: %lld bytes are more than the %lld of %s", (long long)s->capacity_bytes,
                       (long long)s->device->device_total_bytes, gpu->name);
    if (s->capacity_bytes) return FM_OK;
    s->framework_bytes = FM_FRAMEWORK_BYTES;
    s->capacity_bytes = s->device->device_total_bytes - FM_FRAMEWORK_BYTES;
    if (s->capacity_bytes <= 0) return FM_FAIL(err, FM_INVALID, "%s: less memory than the framework takes; give --memory", gpu->name);
    return FM_OK;
}

void fm_absent_answered(struct fm_session *s, const struct fm_reply *inventory, fm_status status, const struct fm_err *why)
{
    s->without_workspaces = status != FM_OK;
    if (status == FM_OK) {
        (void)snprintf(s->device->device_library, sizeof s->device->device_library, "%s", inventory->device_library);
        (void)snprintf(s->note, sizeof s->note, "planned, never run: workspaces as PyTorch 2.6 would choose them from what this "
                       "cuDNN says; PyTorch 2.6 came with cuDNN 9.1, and is met only where both agree");
        return;
    }
    (void)snprintf(s->device->device_library, sizeof s->device->device_library, "no cuDNN");
    (void)snprintf(s->note, sizeof s->note, "planned with workspace 0 for convolutions, so batches come out too large: %.*s",
                   (int)sizeof s->note - 100, why->text);
}

fm_status fm_absent_can_train(const struct fm_gpu *gpu, const struct fm_cell *cell, struct fm_err *err)
{
    const char *precision = cell->value[FM_STRATEGY_PRECISION];
    static const struct { const char *precision; enum fm_gpu_field rate; } needs[] = {
        { "tf32", FM_GPU_TF32_TFLOPS }, { "fp16", FM_GPU_FP16_TFLOPS }, { "bf16", FM_GPU_BF16_TFLOPS },
    };
    bool good = true;
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
        if (strcmp(precision, needs[i].precision) == 0) good = fm_gpu_has(gpu, needs[i].rate);
    if (good) return FM_OK;
    return FM_FAIL(err, FM_UNSUPPORTED, "%s: sm_%d does not compute in %s, by the device table", gpu->name, gpu->capability, precision);
}

fm_status fm_absent_workspaces(const struct fm_program *p, const struct fm_gpu *gpu, struct fm_workspaces *table, struct fm_err *err)
{
    for (uint32_t i = 0; i < p->call_count; i++) {
        struct fm_workspace_entry entry = { .key = p->call[i].key };
        if (!entry.key || fm_workspaces_find(table, entry.key)) continue;
        struct fm_problem problem = fm_program_problem(p, i);
        if (problem.kernel == FM_K_MATMUL) fm_pytorch_product(&problem, gpu->capability, &entry.candidates);
        if (problem.kernel == FM_K_SDPA || problem.kernel == FM_K_SDPA_BWD) {
            struct fm_err why = { 0 };
            entry.unsupported = fm_pytorch_flash_check(gpu->capability, &why) != FM_OK;
            (void)snprintf(entry.reason, sizeof entry.reason, "%.*s", (int)sizeof entry.reason - 1, why.text);
        }
        fm_status status = fm_workspaces_add(table, &entry, err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}
