#include "probes/backends/cuda/watch.h"

#include "probes/backends/cuda/nvml.h"
#include "tuner/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct watch {
    struct fm_nvml_api nvml;
    bool here, begun, whole;
    char uuid[48], pci[32];
    struct nvmlDevice_st *device, *chip;        /* chip: what has clocks; of a MIG instance, the GPU it is part of */
    unsigned before[FM_NVML_PROCESSES];         /* listed at the first look */
    int32_t before_count;                       /* -1: unknown */
};

static const struct { unsigned nvml; int32_t slow; } reasons[] = {
    { FM_NVML_SLOW_SW_POWER, FM_SLOW_sw_power_cap },           { FM_NVML_SLOW_HW, FM_SLOW_hw_slowdown },
    { FM_NVML_SLOW_SYNC, FM_SLOW_sync_boost },                 { FM_NVML_SLOW_SW_THERMAL, FM_SLOW_sw_thermal_slowdown },
    { FM_NVML_SLOW_HW_THERMAL, FM_SLOW_hw_thermal_slowdown },  { FM_NVML_SLOW_HW_POWER, FM_SLOW_hw_power_brake },
};

static void find_device(struct watch *w)
{
    if (!w->here || w->nvml.init() != FM_NVML_SUCCESS) return;
    w->device = w->chip = fm_nvml_device(&w->nvml, w->uuid, w->pci, &w->whole);
    if (!w->device || w->whole) return;
    if (!w->nvml.mig_parent || w->nvml.mig_parent(w->device, &w->chip) != FM_NVML_SUCCESS) w->chip = NULL;
}

/* ---- its state ---- */

static int32_t clock_of(const struct watch *w, unsigned kind)
{
    unsigned mhz = 0;
    return w->nvml.clock && w->nvml.clock(w->chip, kind, &mhz) == FM_NVML_SUCCESS && mhz <= INT32_MAX ? (int32_t)mhz : -1;
}

static void look_at_chip(const struct watch *w, struct fm_device_sample *out)
{
    unsigned celsius = 0, milliwatts = 0;
    unsigned long long bits = 0;
    out->sm_mhz = clock_of(w, FM_NVML_CLOCK_SM);
    out->memory_mhz = clock_of(w, FM_NVML_CLOCK_MEMORY);
    if (w->nvml.temperature && w->nvml.temperature(w->chip, 0, &celsius) == FM_NVML_SUCCESS && celsius <= INT32_MAX)
        out->temperature_c = (int32_t)celsius;
    if (w->nvml.power && w->nvml.power(w->chip, &milliwatts) == FM_NVML_SUCCESS && milliwatts <= INT32_MAX)
        out->power_mw = (int32_t)milliwatts;
    if (!w->nvml.slow_reasons || w->nvml.slow_reasons(w->chip, &bits) != FM_NVML_SUCCESS) return;
    out->slow = 0;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (bits & reasons[i].nvml) out->slow |= reasons[i].slow;
}

/* ---- who else ---- */

/* started by the same fillmark: its other workers compute nothing while a probe runs */
static bool is_sibling(unsigned pid)
{
    char path[64], line[512];
    (void)snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool good = fgets(line, sizeof line, file) != NULL;
    (void)fclose(file);
    /* "pid (name) state parent ...", and a name may hold anything */
    const char *end = good ? strrchr(line, ')') : NULL;
    return end && end[1] && end[2] && strtol(end + 3, NULL, 10) == (long)getppid();
}

static bool was_before(const struct watch *w, unsigned pid)
{
    for (int32_t i = 0; i < w->before_count; i++)
        if (w->before[i] == pid) return true;
    return false;
}

/* the index of this process in the list, by its number, or else as the first that came later; -1: it is not there */
static int32_t self_in(const struct watch *w, const struct fm_nvml_process *process, int32_t count, bool first)
{
    for (int32_t i = 0; i < count; i++)
        if (process[i].pid == (unsigned)getpid()) return i;
    for (int32_t i = 0; i < count && !first && w->before_count >= 0; i++)
        if (!was_before(w, process[i].pid) && !is_sibling(process[i].pid)) return i;
    return -1;
}

static void look_at_processes(struct watch *w, bool first, struct fm_device_sample *out)
{
    struct fm_nvml_process process[FM_NVML_PROCESSES];
    /* a whole GPU's list tells nothing of one of its MIG instances */
    bool apart = strncmp(w->uuid, "MIG-", 4) == 0 && w->whole;
    int32_t count = apart ? -1 : fm_nvml_processes(&w->nvml, w->device, process);
    if (first) w->before_count = count > FM_NVML_PROCESSES ? -1 : count;
    if (count > FM_NVML_PROCESSES) out->others = count - 1;
    if (count < 0 || count > FM_NVML_PROCESSES || (count == 0 && !first)) return;
    int32_t self = self_in(w, process, count, first);
    out->others = 0;
    for (int32_t i = 0; i < count; i++) {
        if (first) w->before[i] = process[i].pid;
        if (i == self || is_sibling(process[i].pid)) continue;
        struct fm_holder h = fm_nvml_holder(&w->nvml, &process[i]);
        fm_nvml_keep(out->other, &out->others_listed, &h);
        out->others++;
    }
}

static void look(void *context, bool processes, struct fm_device_sample *out)
{
    struct watch *w = context;
    bool first = !w->begun;
    *out = (struct fm_device_sample){ .sm_mhz = -1, .memory_mhz = -1, .temperature_c = -1, .power_mw = -1, .slow = -1, .others = -1 };
    if (first) find_device(w);
    w->begun = true;
    if (w->chip) look_at_chip(w, out);
    if (w->device && (processes || first)) look_at_processes(w, first, out);
}

static void release(void *context) { fm_free(context); }

fm_status fm_cuda_watch(const struct fm_cuda *cuda, struct fm_device_watch *out, struct fm_err *err)
{
    struct watch *w = fm_calloc(1, sizeof *w);
    if (!w) return FM_FAIL(err, FM_NOMEM, "a watch of the GPU");
    w->nvml = cuda->lib.nvml;
    w->here = cuda->lib.found[FM_CUDA_NVML].here;
    memcpy(w->uuid, cuda->uuid, sizeof w->uuid);
    memcpy(w->pci, cuda->pci, sizeof w->pci);
    w->before_count = -1;
    *out = (struct fm_device_watch){ .context = w, .look = look, .release = release };
    return FM_OK;
}
