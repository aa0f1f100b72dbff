#include "tuner/campaign/absent.h"

#include "probes/memory/replay.h"
#include "tuner/base/memory.h"

#include <stdio.h>
#include <string.h>

/* :4096:8 on sm_90, :4096:2:16:8 elsewhere (CublasHandlePool.cpp) */
#define BLAS_BYTES_SM90 (INT64_C(4096) * 8 * 1024)
#define BLAS_BYTES (INT64_C(4096) * 2 * 1024 + INT64_C(16) * 8 * 1024)

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

/* ---- cuBLAS ---- */

/* before instruction `at` of TRAIN_FIRST */
static fm_status insert_alloc(struct fm_program *p, size_t at, int64_t bytes, struct fm_err *err)
{
    struct fm_storage storage = { .bytes = bytes, .label = fm_program_name(p, "cublas.workspace"),
                                  .kind = FM_BREAKDOWN_WORKSPACE, .dtype = FM_BOOL };
    uint32_t id = fm_program_storage(p, storage);
    struct fm_instr *grown = p->failed ? NULL : fm_grow(p->instr, &p->instr_room, p->instr_count + 1, sizeof *grown);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "cuBLAS' workspace");
    p->instr = grown;
    memmove(&grown[at + 1], &grown[at], (p->instr_count - at) * sizeof *grown);
    grown[at] = (struct fm_instr){ .kind = FM_ALLOC, .a = id };
    p->instr_count++;
    for (int s = FM_SECTION_TRAIN_FIRST + 1; s <= FM_SECTION_COUNT; s++) p->section[s]++;
    return FM_OK;
}

fm_status fm_absent_add_blas(struct fm_program *p, int capability, struct fm_err *err)
{
    int64_t bytes = capability == 90 ? BLAS_BYTES_SM90 : BLAS_BYTES;
    bool has[FM_PHASE_COUNT] = { false };
    uint32_t phase = FM_PHASE_FORWARD;
    for (size_t i = p->section[FM_SECTION_TRAIN_FIRST]; i < p->section[FM_SECTION_TRAIN_FIRST + 1]; i++) {
        struct fm_instr instr = p->instr[i];
        if (instr.kind == FM_PHASE) phase = instr.a;
        if (instr.kind != FM_CALL || p->call[instr.a].kernel != FM_K_MATMUL || phase >= FM_PHASE_COUNT || has[phase]) continue;
        has[phase] = true;
        fm_status status = insert_alloc(p, i++, bytes, err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}
