/* libnvidia-ml.so.1; of old drivers, some functions are not there */
#include "tests/cuda_host/fake/fake.h"

#include "probes/backends/cuda/abi.h"

#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))
#define FUNCTION(name, ...)       \
    EXPORT int name(__VA_ARGS__); \
    int name(__VA_ARGS__)

static int device[8];

FUNCTION(nvmlInit_v2, void) { return fake_option("nvml", 1) ? 0 : 9; }
FUNCTION(nvmlShutdown, void) { return 0; }

FUNCTION(nvmlSystemGetDriverVersion, char *text, unsigned bytes)
{
    (void)snprintf(text, bytes, "580.65.06");
    return 0;
}

FUNCTION(nvmlDeviceGetCount_v2, unsigned *count)
{
    *count = (unsigned)fake_option("devices", 2);
    return 0;
}

FUNCTION(nvmlDeviceGetHandleByUUID, const char *uuid, void **out)
{
    /* the last digit of the fake driver's UUIDs is the device's number */
    size_t n = strlen(uuid);
    int i = n ? uuid[n - 1] - '0' : -1;
    if (i < 0 || i >= 8) return 6;
    *out = &device[i];
    return 0;
}

FUNCTION(nvmlDeviceGetName, void *d, char *text, unsigned bytes)
{
    (void)d;
    (void)snprintf(text, bytes, "Fake GPU");
    return 0;
}

FUNCTION(nvmlDeviceGetMemoryInfo, void *d, struct fm_nvml_memory *m)
{
    (void)d;
    m->total = (unsigned long long)fake_option("memory", 4096) * FAKE_MIB;
    m->used = (unsigned long long)fake_option("held", 0) * FAKE_MIB;
    m->free = m->total - m->used;
    return 0;
}

FUNCTION(nvmlDeviceGetComputeRunningProcesses_v3, void *d, unsigned *count, struct fm_nvml_process *p)
{
    (void)d;
    unsigned n = fake_option("held", 0) ? 1 : 0, room = *count;
    *count = n;
    if (room < n) return FM_NVML_INSUFFICIENT_SIZE;
    if (n) p[0] = (struct fm_nvml_process){ .pid = 4242, .used_bytes = (unsigned long long)fake_option("held", 0) * FAKE_MIB };
    return 0;
}

FUNCTION(nvmlSystemGetProcessName, unsigned pid, char *text, unsigned bytes)
{
    (void)snprintf(text, bytes, "/usr/bin/other%u", pid);
    return 0;
}

FUNCTION(nvmlDeviceGetClockInfo, void *d, unsigned kind, unsigned *mhz)
{
    (void)d;
    *mhz = kind == FM_NVML_CLOCK_SM ? 1500 : 2600;
    return 0;
}

FUNCTION(nvmlDeviceGetMaxClockInfo, void *d, unsigned kind, unsigned *mhz)
{
    (void)d;
    *mhz = kind == FM_NVML_CLOCK_SM ? 1980 : 2619;
    return 0;
}

FUNCTION(nvmlDeviceGetCurrentClocksThrottleReasons, void *d, unsigned long long *bits)
{
    (void)d;
    *bits = (unsigned long long)fake_option("slow", 0);
    return 0;
}

FUNCTION(nvmlDeviceGetTemperature, void *d, unsigned sensor, unsigned *celsius)
{
    (void)d;
    *celsius = 41;
    return sensor ? 2 : 0;
}

FUNCTION(nvmlDeviceGetTotalEccErrors, void *d, unsigned type, unsigned counter, unsigned long long *count)
{
    (void)d;
    *count = (unsigned long long)fake_option("ecc", 0);
    return type == 1 && counter == 0 ? 0 : 2;
}

FUNCTION(nvmlDeviceGetEccMode, void *d, unsigned *current, unsigned *pending)
{
    (void)d;
    *current = *pending = 1;
    return 0;
}

FUNCTION(nvmlDeviceGetMigMode, void *d, unsigned *current, unsigned *pending)
{
    (void)d;
    *current = *pending = (unsigned)fake_option("mig", 0);
    return 0;
}

FUNCTION(nvmlDeviceGetCurrPcieLinkGeneration, void *d, unsigned *value)
{
    (void)d;
    *value = (unsigned)fake_option("link", 5);
    return 0;
}

FUNCTION(nvmlDeviceGetMaxPcieLinkGeneration, void *d, unsigned *value)
{
    (void)d;
    *value = 5;
    return 0;
}

FUNCTION(nvmlDeviceGetCurrPcieLinkWidth, void *d, unsigned *value)
{
    (void)d;
    *value = (unsigned)fake_option("width", 16);
    return 0;
}

FUNCTION(nvmlDeviceGetMaxPcieLinkWidth, void *d, unsigned *value)
{
    (void)d;
    *value = 16;
    return 0;
}
