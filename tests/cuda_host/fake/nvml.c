/* libnvidia-ml.so.1; of old drivers, some functions are not there */
#include "tests/cuda_host/fake/fake.h"

#include "probes/backends/cuda/abi.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define FUNCTION(name, ...)       \
    EXPORT int name(__VA_ARGS__); \
    int name(__VA_ARGS__)

static int device[8];
static long clock_looks, slow_looks, process_looks;

/* is the n-th look one of those from `from` to `until`? Without a first one all are. */
static int scheduled(const char *from, const char *until, long n)
{
    long first = fake_option(from, 0), last = fake_option(until, 0);
    return n >= first && (last == 0 || n <= last);
}

static void wait_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    (void)nanosleep(&t, NULL);
}

/* what tests look at, and set back */
EXPORT int fake_nvml_looks(void);
EXPORT int fake_nvml_reset(void);
int fake_nvml_looks(void) { return (int)slow_looks; }
int fake_nvml_reset(void)
{
    clock_looks = slow_looks = process_looks = 0;
    return 0;
}

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

FUNCTION(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, void *mig, void **out)
{
    *out = mig;
    return fake_option("mig_parent", 1) ? 0 : 3;
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
    unsigned n = 0, room = *count, pid[2];
    long self = fake_option("self", 0);
    process_looks++;
    if (fake_option("held", 0) && scheduled("others_from", "others_until", process_looks)) pid[n++] = 4242;
    if (self == 0) pid[n++] = (unsigned)getpid();
    else if (self > 0 && process_looks > 1) pid[n++] = (unsigned)self;
    *count = n;
    if (room < n) return FM_NVML_INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < n; i++)
        p[i] = (struct fm_nvml_process){ .pid = pid[i], .used_bytes = (unsigned long long)fake_option("held", 0) * FAKE_MIB };
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
    if (kind == FM_NVML_CLOCK_SM && ++clock_looks == fake_option("nvml_hang_at", 0)) (void)pause();
    if (fake_option("nvml_slow_ms", 0)) wait_ms(fake_option("nvml_slow_ms", 0));
    *mhz = kind == FM_NVML_CLOCK_SM ? 1500 + (unsigned)(clock_looks % 2) : 2600;
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
    slow_looks++;
    *bits = scheduled("slow_from", "slow_until", slow_looks) ? (unsigned long long)fake_option("slow", 0) : 1;     /* 1: idle */
    return 0;
}

FUNCTION(nvmlDeviceGetTemperature, void *d, unsigned sensor, unsigned *celsius)
{
    (void)d;
    *celsius = 41;
    return sensor ? 2 : 0;
}

FUNCTION(nvmlDeviceGetPowerUsage, void *d, unsigned *milliwatts)
{
    (void)d;
    *milliwatts = 250500;
    return 0;
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
