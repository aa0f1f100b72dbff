#include "probes/backends/cuda/context.h"

#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VISIBLE "CUDA_VISIBLE_DEVICES"
#define UUID_BYTES 48

/* ---- errors ---- */

/* after one of these the context answers nothing but it; what people can do about it */
static const struct { int result; const char *remedy; } deadly[] = {
    { FM_CU_ECC_UNCORRECTABLE, "the GPU's memory had an error that ECC could not correct: nvidia-smi -q -d ECC, then reset it or reboot" },
    { FM_CU_NVLINK_UNCORRECTABLE, "an NVLink error: nvidia-smi nvlink -e, then reset the GPU or reboot" },
    { FM_CU_CONTAINED, "the GPU's memory had an error that was contained: the GPU goes on, this run cannot" },
    { FM_CU_LAUNCH_TIMEOUT, "a kernel ran longer than the display's watchdog lets it: use a GPU without a display" },
    { FM_CU_HARDWARE_STACK_ERROR, "a hardware error: dmesg has its Xid" },
    { FM_CU_DEVICE_UNAVAILABLE, "the GPU is in exclusive mode and another process has it, or it is being reset" },
    { FM_CU_SYSTEM_NOT_READY, "a service that the GPU needs does not run (fabric manager, persistence daemon)" },
    { FM_CU_UNKNOWN, "the GPU may be lost: dmesg has its Xid; reset it or reboot" },
    { FM_CU_DEINITIALIZED, "the driver has shut down under this process" },
};

static const char *remedy_of(int result)
{
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        if (deadly[i].result == result) return deadly[i].remedy;
    return result >= FM_CU_ILLEGAL_ADDRESS && result <= FM_CU_LAUNCH_FAILED ? "a kernel failed: a bug of fillmark or of a library" : NULL;
}

fm_status fm_cuda_result(struct fm_cuda *c, int result, const char *what, struct fm_err *err)
{
    const char *name = NULL, *text = NULL, *remedy = remedy_of(result);
    if (c->dead[0]) return FM_FAIL(err, FM_FAILED, "%s: the GPU was lost before: %s", what, c->dead);
    if (result == FM_CU_SUCCESS) return FM_OK;
    if (c->lib.cu.error_name(result, &name) != FM_CU_SUCCESS || !name) name = "an error without a name";
    if (c->lib.cu.error_text(result, &text) != FM_CU_SUCCESS || !text) text = "";
    if (remedy) {
        (void)snprintf(c->dead, sizeof c->dead, "%s (%d): %s", name, result, remedy);
        return FM_FAIL(err, FM_FAILED, "%s: %s", what, c->dead);
    }
    if (result == FM_CU_NO_BINARY_FOR_GPU || result == FM_CU_UNSUPPORTED_PTX_VERSION)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s: this build has no kernels for sm_%d: build it with that architecture", what, c->sm);
    fm_status status = result == FM_CU_NOT_SUPPORTED ? FM_UNSUPPORTED : FM_FAILED;
    return FM_FAIL(err, status, "%s: %s (%d): %s", what, name, result, text);
}

fm_status fm_cuda_alive(struct fm_cuda *c, const char *what, struct fm_err *err)
{
    return c->context ? fm_cuda_result(c, c->lib.cu.stream_synchronize(c->stream), what, err) : FM_OK;
}

/* ---- choosing ---- */

static void uuid_text(const struct fm_cu_uuid *uuid, bool mig, char text[UUID_BYTES])
{
    int n = snprintf(text, UUID_BYTES, mig ? "MIG-" : "GPU-");
    for (int i = 0; i < 16; i++)
        n += snprintf(text + n, (size_t)(UUID_BYTES - n), "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid->byte[i]);
}

/* the driver gives a MIG instance's name as that of its GPU with the profile: "NVIDIA A100-SXM4-40GB MIG 1g.5gb" */
static bool is_mig(const char *name)
{
    return strstr(name, " MIG ") != NULL;
}

static fm_status describe(struct fm_cuda *c, int ordinal, struct fm_err *err)
{
    const struct fm_cu_api *cu = &c->lib.cu;
    struct fm_cu_uuid uuid;
    size_t total = 0;
    int major = 0, minor = 0;
    fm_status status;
    c->ordinal = ordinal;
    FM_TRY(fm_cuda_result(c, cu->device(&c->device, ordinal), "a GPU's handle", err));
    FM_TRY(fm_cuda_result(c, cu->device_name(c->name, sizeof c->name, c->device), "a GPU's name", err));
    FM_TRY(fm_cuda_result(c, cu->device_total(&total, c->device), "a GPU's memory", err));
    FM_TRY(fm_cuda_result(c, cu->device_attribute(&major, FM_CU_SM_MAJOR, c->device), "a GPU's architecture", err));
    FM_TRY(fm_cuda_result(c, cu->device_attribute(&minor, FM_CU_SM_MINOR, c->device), "a GPU's architecture", err));
    FM_TRY(fm_cuda_result(c, cu->device_attribute(&c->sm_count, FM_CU_SM_COUNT, c->device), "a GPU's processors", err));
    c->total_bytes = (int64_t)total;
    c->sm = 10 * major + minor;
    c->uuid[0] = c->pci[0] = '\0';
    if (cu->device_uuid(&uuid, c->device) == FM_CU_SUCCESS) uuid_text(&uuid, is_mig(c->name), c->uuid);
    (void)cu->device_pci(c->pci, sizeof c->pci, c->device);
out:
    return status;
}

static void list_devices(struct fm_cuda *c, int count, char *text, size_t room)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && used + 1 < room; i++) {
        if (describe(c, i, NULL) != FM_OK) continue;
        int n = snprintf(text + used, room - used, "%scuda:%d %s %s", used ? ", " : "", i, c->name, c->uuid);
        used += n > 0 ? (size_t)n : 0;
    }
}

static fm_status no_such(struct fm_cuda *c, const char *name, int count, struct fm_err *err)
{
    char list[300];
    const char *visible = getenv(VISIBLE);
    list_devices(c, count, list, sizeof list);
    return FM_FAIL(err, FM_UNSUPPORTED, "no GPU '%s' here; there %s %d: %s%s%s%s", name, count == 1 ? "is" : "are", count, list,
                   visible ? " (" VISIBLE " is '" : "", visible ? visible : "", visible ? "')" : "");
}

static bool by_uuid(const char *name)
{
    return name && (strncmp(name, "GPU-", 4) == 0 || strncmp(name, "MIG-", 4) == 0);
}

static fm_status find(struct fm_cuda *c, const char *name, struct fm_err *err)
{
    int count = 0;
    int64_t index = 0;
    fm_status status = fm_cuda_result(c, c->lib.cu.device_count(&count), "counting GPUs", err);
    if (status != FM_OK) return status;
    if (by_uuid(name)) {
        for (int i = 0; i < count; i++) {
            status = describe(c, i, err);
            if (status != FM_OK) return status;
            if (strncasecmp(c->uuid, name, strlen(name)) == 0) return FM_OK;
        }
        return no_such(c, name, count, err);
    }
    bool numbered = name && strncmp(name, "cuda:", 5) == 0;
    if (name && strcmp(name, "cuda") != 0 && (!numbered || !fm_parse_i64(name + 5, &index)))
        return FM_FAIL(err, FM_INVALID, "'%s' names no GPU: cuda:0, GPU-<uuid>, MIG-<uuid>", name);
    if (index < 0 || index >= count) return no_such(c, name ? name : "cuda:0", count, err);
    return describe(c, (int)index, err);
}

fm_status fm_cuda_choose(struct fm_cuda *c, const char *name, struct fm_err *err)
{
    *c = (struct fm_cuda){ 0 };
    /* CUDA shows at most one MIG instance, and that only by name; before it starts it can be told which */
    if (by_uuid(name) && !getenv(VISIBLE)) (void)setenv(VISIBLE, name, 0);
    fm_cuda_libraries_load(&c->lib);
    fm_status status = fm_cuda_libraries_check(&c->lib, err);
    return status == FM_OK ? find(c, name, err) : status;
}

void fm_cuda_release(struct fm_cuda *c)
{
    /* a device that died answers no call, and may answer none ever */
    if (c->context && !c->dead[0]) {
        const struct fm_cu_api *cu = &c->lib.cu;
        for (int i = 0; i < FM_CUDA_EVENTS; i++)
            if (c->event[i]) (void)cu->event_destroy(c->event[i]);
        if (c->stream) (void)cu->stream_destroy(c->stream);
        (void)cu->context_release(c->device);
    }
    c->context = NULL;
    c->stream = NULL;
}

fm_status fm_cuda_use(struct fm_cuda *c, struct fm_err *err)
{
    const struct fm_cu_api *cu = &c->lib.cu;
    fm_status status = FM_OK;
    if (c->context) return fm_cuda_result(c, FM_CU_SUCCESS, "a call", err);
    int result = cu->context_retain(&c->context, c->device);
    if (result == FM_CU_OUT_OF_MEMORY)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s has no memory left for a context: other processes hold it (fillmark devices lists them)", c->name);
    if (result == FM_CU_DEVICE_UNAVAILABLE)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s is in exclusive mode, and another process has it, or it is in prohibited mode", c->name);
    if (result != FM_CU_SUCCESS) c->context = NULL;
    FM_TRY(fm_cuda_result(c, result, "making a context", err));
    FM_TRY(fm_cuda_result(c, cu->context_set(c->context), "entering a context", err));
    FM_TRY(fm_cuda_result(c, cu->stream_create(&c->stream, FM_CU_STREAM_NON_BLOCKING), "making a stream", err));
    for (int i = 0; i < FM_CUDA_EVENTS; i++) FM_TRY(fm_cuda_result(c, cu->event_create(&c->event[i], 0), "making an event", err));
out:
    return status;
}

/* ---- waiting, timing, copying ---- */

fm_status fm_cuda_synchronize(struct fm_cuda *c, struct fm_err *err)
{
    if (c->dead[0] || !c->context) return fm_cuda_result(c, FM_CU_SUCCESS, "waiting for the GPU", err);
    return fm_cuda_result(c, c->lib.cu.stream_synchronize(c->stream), "waiting for the GPU", err);
}

fm_status fm_cuda_time_begin(struct fm_cuda *c, struct fm_err *err)
{
    fm_status status = fm_cuda_use(c, err);
    return status == FM_OK ? fm_cuda_result(c, c->lib.cu.event_record(c->event[0], c->stream), "timing", err) : status;
}

fm_status fm_cuda_time_end(struct fm_cuda *c, int64_t *ns, struct fm_err *err)
{
    const struct fm_cu_api *cu = &c->lib.cu;
    float ms = 0;
    fm_status status;
    *ns = 0;
    FM_TRY(fm_cuda_result(c, cu->event_record(c->event[1], c->stream), "timing", err));
    FM_TRY(fm_cuda_result(c, cu->event_synchronize(c->event[1]), "waiting for the GPU", err));
    FM_TRY(fm_cuda_result(c, cu->event_elapsed(&ms, c->event[0], c->event[1]), "timing", err));
    *ns = (int64_t)llround((double)ms * 1e6);
out:
    return status;
}

fm_status fm_cuda_read(struct fm_cuda *c, void *host, const void *device, int64_t bytes, struct fm_err *err)
{
    fm_status status;
    FM_TRY(fm_cuda_use(c, err));
    FM_TRY(fm_cuda_result(c, c->lib.cu.to_host(host, (uint64_t)(uintptr_t)device, (size_t)bytes, c->stream), "copying to the host", err));
    FM_TRY(fm_cuda_synchronize(c, err));
out:
    return status;
}

fm_status fm_cuda_write(struct fm_cuda *c, void *device, const void *host, int64_t bytes, struct fm_err *err)
{
    fm_status status;
    FM_TRY(fm_cuda_use(c, err));
    FM_TRY(fm_cuda_result(c, c->lib.cu.to_device((uint64_t)(uintptr_t)device, host, (size_t)bytes, c->stream), "copying to the GPU", err));
    FM_TRY(fm_cuda_synchronize(c, err));
out:
    return status;
}

/* ---- memory ---- */

static fm_status segment_alloc(void *context, int64_t bytes, uint64_t *address, struct fm_err *err)
{
    struct fm_cuda *c = context;
    if (bytes > c->budget_bytes - c->used_bytes) return FM_OOM;
    fm_status status = fm_cuda_use(c, err);
    if (status != FM_OK) return status;
    if (fm_fault_here()) return FM_FAIL(err, FM_NOMEM, "a segment's record");
    int result = c->lib.cu.memory_alloc(address, (size_t)bytes);
    if (result == FM_CU_OUT_OF_MEMORY) return FM_OOM;
    status = fm_cuda_result(c, result, "allocating a segment", err);
    if (status == FM_OK) c->used_bytes += bytes;
    return status;
}

static void segment_free(void *context, uint64_t address, int64_t bytes)
{
    struct fm_cuda *c = context;
    struct fm_err err = { 0 };
    c->used_bytes -= bytes;
    if (c->dead[0] || !c->context) return;
    /* what failed before is told here, and again by the next call */
    if (fm_cuda_result(c, c->lib.cu.memory_free(address), "freeing a segment", &err) != FM_OK) fm_log(FM_LOG_WARN, "%s", err.text);
}

static void fill(void *context, uint64_t address, int64_t bytes, uint8_t value)
{
    struct fm_cuda *c = context;
    fm_status ignored = fm_cuda_result(c, c->lib.cu.memset_async(address, value, (size_t)bytes, c->stream), "filling memory", NULL);
    (void)ignored;
}

static bool holds(void *context, uint64_t address, int64_t bytes, uint8_t value)
{
    struct fm_cuda *c = context;
    unsigned char chunk[65536];
    for (int64_t done = 0; done < bytes;) {
        size_t n = (size_t)(bytes - done) < sizeof chunk ? (size_t)(bytes - done) : sizeof chunk;
        if (fm_cuda_read(c, chunk, (const void *)(uintptr_t)(address + (uint64_t)done), (int64_t)n, NULL) != FM_OK) return false;
        if (chunk[0] != value || memcmp(chunk, chunk + 1, n - 1) != 0) return false;
        done += (int64_t)n;
    }
    return true;
}

static int64_t free_bytes(void *context)
{
    const struct fm_cuda *c = context;
    return c->budget_bytes - c->used_bytes;
}

struct fm_segment_source fm_cuda_source(struct fm_cuda *c, int64_t memory_bytes)
{
    c->budget_bytes = memory_bytes;
    c->used_bytes = 0;
    return (struct fm_segment_source){ .segment_alloc = segment_alloc, .segment_free = segment_free, .fill = fill, .holds = holds, .free_bytes = free_bytes,
                                       .context = c };
}
