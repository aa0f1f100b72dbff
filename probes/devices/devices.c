#include "probes/devices/devices.h"

#include "probes/devices/internal.h"
#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <math.h>
#include <string.h>

#define NAMES_MAX 256

const struct fm_gpu_rule fm_gpu_rules[FM_GPU_FIELD_COUNT] = {
#define X(name, key, lo, hi, whole, needed) [FM_GPU_##name] = { key, lo, hi, whole, needed },
    FM_GPU_FIELDS(X)
#undef X
};

const char *fm_gpu_field_key(enum fm_gpu_field field) { return fm_gpu_rules[field].key; }

void fm_gpus_release(struct fm_gpus *gpus)
{
    if (!gpus) return;
    fm_free(gpus->item);
    fm_free(gpus->source);
    fm_free(gpus->capability);
    *gpus = (struct fm_gpus){ 0 };
}

fm_status fm_gpus_builtin(struct fm_gpus *gpus, struct fm_err *err)
{
    fm_status status = fm_gpus_parse(gpus, "probes/devices.yaml", (const char *)fm_gpu_table_text, fm_gpu_table_bytes, err);
    for (size_t i = 0; i < gpus->count; i++) gpus->item[i].own = false;
    return status;
}

const struct fm_gpu *fm_gpus_find(const struct fm_gpus *gpus, const char *name)
{
    for (size_t i = 0; i < gpus->count; i++)
        if (strcmp(gpus->item[i].name, name) == 0) return &gpus->item[i];
    return NULL;
}

const char *fm_gpus_nearest(const struct fm_gpus *gpus, const char *name)
{
    const char *names[NAMES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < gpus->count && n < NAMES_MAX; i++) names[n++] = gpus->item[i].name;
    return fm_nearest(name, names, n);
}

bool fm_gpu_has(const struct fm_gpu *gpu, enum fm_gpu_field field) { return gpu->figure[field].source != 0; }

double fm_gpu_value(const struct fm_gpu *gpu, enum fm_gpu_field field)
{
    return fm_gpu_has(gpu, field) ? gpu->figure[field].value : NAN;
}

int64_t fm_gpu_total_bytes(const struct fm_gpu *gpu, bool *total_known)
{
    *total_known = fm_gpu_has(gpu, FM_GPU_TOTAL_MIB);
    if (*total_known) return (int64_t)(gpu->figure[FM_GPU_TOTAL_MIB].value * 1048576);
    return (int64_t)(gpu->figure[FM_GPU_MEMORY_GIB].value * 1073741824);
}

static long long whole(const struct fm_gpu *gpu, enum fm_gpu_field field) { return llround(gpu->figure[field].value); }

void fm_gpu_cudnn_json(const struct fm_gpu *gpu, struct fm_buf *out)
{
    bool known;
    double memory_khz = gpu->figure[FM_GPU_BANDWIDTH_GBS].value * 8 / gpu->figure[FM_GPU_BUS_BITS].value / 2 * 1e6;
    fm_buf_puts(out, "{\"deviceName\":\"");
    for (const char *c = gpu->title; *c; c++)
        if (*c != '"' && *c != '\\' && (unsigned char)*c >= ' ') fm_buf_putc(out, *c);
    fm_buf_printf(out, "\",\"cudaDeviceId\":0,\"deviceVer\":%d,\"driverVer\":13000,\"totalGlobalMem\":%lld,"
                  "\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"
                  "\"multiProcessorCount\":%lld,\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,",
                  gpu->capability * 10, (long long)fm_gpu_total_bytes(gpu, &known), whole(gpu, FM_GPU_SMS));
    fm_buf_printf(out, "\"maxSharedMemoryPerBlockOptin\":%lld,\"reservedSharedMemoryPerBlock\":%lld,"
                  "\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":%lld,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%lld,",
                  1024 * whole(gpu, FM_GPU_SHARED_OPTIN_KIB), whole(gpu, FM_GPU_SHARED_RESERVED_BYTES),
                  whole(gpu, FM_GPU_BLOCKS_PER_SM), whole(gpu, FM_GPU_THREADS_PER_SM));
    fm_buf_printf(out, "\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,\"smClockRateKHz\":%lld,"
                  "\"memClockRateKHz\":%lld,\"l2CacheSize\":%lld}",
                  1000 * whole(gpu, FM_GPU_BOOST_MHZ), llround(memory_khz), 1024 * whole(gpu, FM_GPU_L2_KIB));
}
