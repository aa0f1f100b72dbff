/* libcuda.so.1 */
#include "tests/cuda_host/fake/fake.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_BLOCKS 65536

static struct { uint64_t address; size_t bytes; } block[MAX_BLOCKS];
static size_t blocks, used_bytes;
static long allocations, waits;
static int dead, contexts, token;
static int64_t stamp[64];
static size_t stamps;

/* what tests look at */
EXPORT size_t fake_cuda_used(void);
EXPORT size_t fake_cuda_blocks(void);
EXPORT int fake_cuda_contexts(void);
size_t fake_cuda_used(void) { return used_bytes; }

static int64_t passed_ns;
EXPORT void fake_cuda_pass(int64_t ns);
void fake_cuda_pass(int64_t ns) { passed_ns += ns; }
size_t fake_cuda_blocks(void) { return blocks; }
int fake_cuda_contexts(void) { return contexts; }

#define FUNCTION(name, ...)     \
    EXPORT int name(__VA_ARGS__); \
    int name(__VA_ARGS__)

FUNCTION(cuInit, unsigned flags)
{
    (void)flags;
    allocations = waits = 0;
    dead = 0;
    return (int)fake_option("init", 0);
}

FUNCTION(cuDriverGetVersion, int *version)
{
    *version = (int)fake_option("driver", 13000);
    return 0;
}

FUNCTION(cuDeviceGetCount, int *count)
{
    *count = (int)fake_option("devices", 2);
    return dead;
}

FUNCTION(cuDeviceGet, int *device, int ordinal)
{
    *device = ordinal;
    return dead;
}

FUNCTION(cuDeviceGetName, char *name, int bytes, int device)
{
    (void)device;
    (void)snprintf(name, (size_t)bytes, "Fake GPU%s", fake_option("mig", 0) ? " MIG 1g.5gb" : "");
    return dead;
}

FUNCTION(cuDeviceGetUuid_v2, unsigned char *uuid, int device)
{
    long batch = fake_option("uuid", 0);        /* GPUs of another machine: their second byte */
    for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(i * 16 + device + (i == 1 ? batch : 0));
    return dead;
}

FUNCTION(cuDeviceTotalMem_v2, size_t *bytes, int device)
{
    (void)device;
    *bytes = (size_t)fake_option("memory", 4096) * FAKE_MIB;
    return dead;
}

FUNCTION(cuDeviceGetAttribute, int *value, int attribute, int device)
{
    (void)device;
    long sm = fake_option("sm", 90);
    *value = attribute == 75 ? (int)(sm / 10) : attribute == 76 ? (int)(sm % 10) : attribute == 16 ? 4 : 0;
    return dead;
}

FUNCTION(cuDeviceGetPCIBusId, char *id, int bytes, int device)
{
    (void)snprintf(id, (size_t)bytes, "00000000:%02x:00.0", device + 1);
    return dead;
}

/* ---- contexts and memory ---- */

static size_t free_now(void)
{
    size_t total = (size_t)fake_option("memory", 4096) * FAKE_MIB, taken = used_bytes + (size_t)fake_option("held", 0) * FAKE_MIB;
    if (contexts) taken += (size_t)fake_option("context", 300) * FAKE_MIB;
    return taken < total ? total - taken : 0;
}

FUNCTION(cuDevicePrimaryCtxRetain, void **context, int device)
{
    (void)device;
    if (dead) return dead;
    if (free_now() < (size_t)fake_option("context", 300) * FAKE_MIB) return 2;
    contexts++;
    *context = &token;
    return 0;
}

FUNCTION(cuDevicePrimaryCtxRelease_v2, int device)
{
    (void)device;
    contexts--;
    return dead;
}

FUNCTION(cuCtxSetCurrent, void *context)
{
    return context ? dead : 201;
}

FUNCTION(cuMemGetInfo_v2, size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = free_now();
    *total_bytes = (size_t)fake_option("memory", 4096) * FAKE_MIB;
    return dead;
}

FUNCTION(cuMemAlloc_v2, uint64_t *address, size_t bytes)
{
    if (dead) return dead;
    if (!contexts) return 201;
    if (++allocations == fake_option("oom_at", 0)) return (int)fake_option("alloc_fail", 2);
    if (bytes > free_now() || blocks == MAX_BLOCKS) return 2;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return 2;
    *address = (uint64_t)(uintptr_t)memory;
    block[blocks].address = *address;
    block[blocks++].bytes = bytes;
    used_bytes += bytes;
    return 0;
}

FUNCTION(cuMemFree_v2, uint64_t address)
{
    if (dead) return dead;
    for (size_t i = 0; i < blocks; i++) {
        if (block[i].address != address) continue;
        (void)munmap((void *)(uintptr_t)address, block[i].bytes);
        used_bytes -= block[i].bytes;
        block[i] = block[--blocks];
        return 0;
    }
    return 1;
}

FUNCTION(cuMemsetD8Async, uint64_t address, unsigned char value, size_t bytes, void *stream)
{
    if (dead || !stream) return dead ? dead : 400;
    memset((void *)(uintptr_t)address, value, bytes);
    return 0;
}

FUNCTION(cuMemcpyDtoHAsync_v2, void *host, uint64_t address, size_t bytes, void *stream)
{
    if (dead || !stream) return dead ? dead : 400;
    memcpy(host, (void *)(uintptr_t)address, bytes);
    return 0;
}

FUNCTION(cuMemcpyHtoDAsync_v2, uint64_t address, const void *host, size_t bytes, void *stream)
{
    if (dead || !stream) return dead ? dead : 400;
    memcpy((void *)(uintptr_t)address, host, bytes);
    return 0;
}

/* ---- streams and events ---- */

static int wait_here(void)
{
    if (dead) return dead;
    waits++;
    if (waits == fake_option("hang_at", 0))
        for (;;) (void)pause();
    if (waits == fake_option("sync_at", 0)) dead = (int)fake_option("sync_fail", 719);
    return dead;
}

FUNCTION(cuStreamCreate, void **stream, unsigned flags)
{
    (void)flags;
    *stream = &token;
    return contexts ? dead : 201;
}

FUNCTION(cuStreamDestroy_v2, void *stream)
{
    return stream ? dead : 400;
}

FUNCTION(cuStreamSynchronize, void *stream)
{
    return stream ? wait_here() : 400;
}

FUNCTION(cuEventCreate, void **event, unsigned flags)
{
    (void)flags;
    *event = &stamp[stamps++ % 64];
    return contexts ? dead : 201;
}

FUNCTION(cuEventDestroy_v2, void *event)
{
    return event ? dead : 400;
}

FUNCTION(cuEventRecord, void *event, void *stream)
{
    struct timespec now;
    if (dead || !stream) return dead ? dead : 400;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    /* where engines take a given time, nothing else takes any */
    *(int64_t *)event = fake_option("fast", -1) >= 0 ? passed_ns : (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    return 0;
}

FUNCTION(cuEventSynchronize, void *event)
{
    return event ? wait_here() : 400;
}

FUNCTION(cuEventElapsedTime, float *ms, void *start, void *end)
{
    *ms = (float)(*(int64_t *)end - *(int64_t *)start) / 1e6F;
    return dead;
}

FUNCTION(cuGetErrorName, int error, const char **text)
{
    *text = error == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : error == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : error == 214 ? "CUDA_ERROR_ECC_UNCORRECTABLE"
            : error == 999 ? "CUDA_ERROR_UNKNOWN" : "CUDA_ERROR_OTHER";
    return 0;
}

#ifndef FAKE_PARTIAL
FUNCTION(cuGetErrorString, int error, const char **text)
{
    (void)error;
    *text = "a scheduled failure";
    return 0;
}
#endif
