#include "probes/backends/cuda/facts.h"

#include "probes/backends/cuda/cuda.h"
#include "probes/backends/cuda/nvml.h"
#include "probes/backends/cuda/software.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB 1048576.0

struct look {
    const struct fm_cuda *cuda;
    const struct fm_nvml_api *nvml;
    struct nvmlDevice_st *device;       /* NULL: NVML does not know it */
    struct fm_device_info *out;
    char unknown[96];                   /* what NVML did not tell, by commas */
};

__attribute__((format(printf, 3, 4)))
static void found(struct look *l, const char *remedy, const char *format, ...)
{
    va_list args;
    if (l->out->findings == FM_MAX_FINDINGS) return;
    struct fm_finding *f = &l->out->finding[l->out->findings++];
    va_start(args, format);
    (void)vsnprintf(f->what, sizeof f->what, format, args);
    va_end(args);
    (void)snprintf(f->remedy, sizeof f->remedy, "%s", remedy);
}

__attribute__((format(printf, 2, 3)))
static void fact(struct look *l, const char *format, ...)
{
    va_list args;
    char *facts = l->out->facts;
    size_t used = strlen(facts), room = sizeof l->out->facts;
    if (used) used += (size_t)snprintf(facts + used, room - used, " · ");
    if (used >= room) return;
    va_start(args, format);
    (void)vsnprintf(facts + used, room - used, format, args);
    va_end(args);
}

static void unknown(struct look *l, const char *what)
{
    size_t used = strlen(l->unknown);
    (void)snprintf(l->unknown + used, sizeof l->unknown - used, "%s%s", used ? ", " : "", what);
}

/* a value of NVML's, if there is such a function and it answers */
static bool asked(int (*function)(struct nvmlDevice_st *, unsigned *), struct nvmlDevice_st *device, unsigned *value)
{
    return function && function(device, value) == FM_NVML_SUCCESS;
}

/* NVML's handle of the GPU: it counts devices its own way, so by name */
static void open_nvml(struct look *l)
{
    const struct fm_cuda *c = l->cuda;
    const struct fm_cuda_found *library = &c->lib.found[FM_CUDA_NVML];
    if (!library->here || l->nvml->init() != FM_NVML_SUCCESS) {
        found(l, "it comes with the driver; without it free memory, clocks and other processes are unknown", "NVML is not here or does not start");
        return;
    }
    bool whole;
    l->device = fm_nvml_device(l->nvml, c->uuid, c->pci, &whole);
    if (l->device) return;
    found(l, "nvidia-smi shows which GPUs it knows", "NVML does not know the GPU %.60s", c->uuid);
}

/* ---- what others hold ---- */

static void look_at_memory(struct look *l)
{
    struct fm_nvml_memory memory;
    struct fm_nvml_process process[FM_NVML_PROCESSES];
    if (!l->nvml->memory || l->nvml->memory(l->device, &memory) != FM_NVML_SUCCESS) return;
    l->out->free_bytes = (int64_t)memory.free;
    int32_t count = fm_nvml_processes(l->nvml, l->device, process), others = 0;
    for (int32_t i = 0; i < count && i < FM_NVML_PROCESSES; i++) {
        if (process[i].pid == (unsigned)getpid()) continue;
        others++;
        struct fm_holder h = fm_nvml_holder(l->nvml, &process[i]);
        fm_nvml_keep(l->out->holder, &l->out->holders, &h);
    }
    if (count > FM_NVML_PROCESSES) others = count;
    if (others > 0)
        found(l, "stop them, or time all the same with --shared", "%d other process%s on this GPU, %.0f MiB in use", others,
              others == 1 ? "" : "es", (double)memory.used / MIB);
}

/* ---- its state ---- */

static void look_at_clocks(struct look *l)
{
    static const struct { unsigned bit; const char *why, *remedy; } slow[] = {
        { FM_NVML_SLOW_HW_THERMAL, "it is too hot", "let it cool; look at fans and air flow" },
        { FM_NVML_SLOW_SW_THERMAL, "it is hot", "let it cool; look at fans and air flow" },
        { FM_NVML_SLOW_HW_POWER, "of the power supply", "look at its power cables and supply" },
        { FM_NVML_SLOW_HW, "of the hardware: power or heat", "nvidia-smi -q -d PERFORMANCE" },
        { FM_NVML_SLOW_SYNC, "it waits for another GPU of a sync group", "nvidia-smi -q -d PERFORMANCE" },
        { FM_NVML_SLOW_SW_POWER, "of its power limit", "nvidia-smi -q -d POWER; figures are those of this limit" },
    };
    unsigned now = 0, most = 0, celsius = 0, power = 0, limit = 0;
    unsigned long long bits = 0;
    if (l->nvml->clock && l->nvml->clock(l->device, FM_NVML_CLOCK_SM, &now) == FM_NVML_SUCCESS && l->nvml->clock_max &&
        l->nvml->clock_max(l->device, FM_NVML_CLOCK_SM, &most) == FM_NVML_SUCCESS)
        fact(l, "%u of %u MHz", now, most);
    else
        unknown(l, "clocks");
    if (l->nvml->temperature && l->nvml->temperature(l->device, 0, &celsius) == FM_NVML_SUCCESS) fact(l, "%u °C", celsius);
    else unknown(l, "temperature");
    if (asked(l->nvml->power, l->device, &power) && asked(l->nvml->power_limit, l->device, &limit))
        fact(l, "%u of %u W", power / 1000, limit / 1000);
    else
        unknown(l, "power");
    if (!l->nvml->slow_reasons || l->nvml->slow_reasons(l->device, &bits) != FM_NVML_SUCCESS) {
        unknown(l, "throttling");
        return;
    }
    for (size_t i = 0; i < sizeof slow / sizeof *slow; i++)
        if (bits & slow[i].bit) found(l, slow[i].remedy, "clocks are held down because %s", slow[i].why);
}

static void look_at_health(struct look *l)
{
    unsigned long long errors = 0;
    unsigned now = 0, next = 0, generation = 0, width = 0, width_max = 0, generation_max = 0;
    int ecc = l->nvml->ecc_mode ? l->nvml->ecc_mode(l->device, &now, &next) : -1;
    if (ecc == FM_NVML_SUCCESS) fact(l, "ECC %s", now ? "on" : "off");
    else if (ecc == FM_NVML_NOT_SUPPORTED) fact(l, "no ECC");
    else unknown(l, "ECC");
    /* uncorrected, since the driver was loaded */
    if (l->nvml->ecc_errors && l->nvml->ecc_errors(l->device, 1, 0, &errors) == FM_NVML_SUCCESS && errors)
        found(l, "nvidia-smi -q -d ECC; reset the GPU or reboot, and have it looked at", "%llu uncorrected ECC errors", errors);
    int mig = l->nvml->mig_mode ? l->nvml->mig_mode(l->device, &now, &next) : -1;
    if (mig == FM_NVML_SUCCESS) fact(l, now ? "MIG" : "MIG off");
    else if (mig != FM_NVML_NOT_SUPPORTED) unknown(l, "MIG");
    if (!asked(l->nvml->link_generation, l->device, &generation) || !asked(l->nvml->link_width, l->device, &width)) {
        unknown(l, "PCIe");
        return;
    }
    bool most = asked(l->nvml->link_width_max, l->device, &width_max);
    bool below = asked(l->nvml->link_generation_max, l->device, &generation_max) && generation < generation_max;
    /* the generation drops while a GPU is idle; the width does not */
    if (below) fact(l, "PCIe %u x%u (generation %u under load)", generation, width, generation_max);
    else fact(l, "PCIe %u x%u", generation, width);
    if (most && width < width_max)
        found(l, "seat it in a slot with all lanes; copies from the host are slower so", "PCIe x%u of x%u lanes", width, width_max);
}

/* ---- software ---- */

static void look_at_versions(struct look *l)
{
    const struct fm_cuda_found *library = l->cuda->lib.found;
    char dnn[24], lt[24], cuda[24], driver[64] = "";
    fm_cudnn_version_text(library[FM_CUDA_CUDNN].version, dnn);
    fm_cudnn_version_text(library[FM_CUDA_LT].version, lt);
    fm_cuda_version_text(library[FM_CUDA_DRIVER].version, cuda);
    (void)snprintf(l->out->library, sizeof l->out->library, "cuDNN %s · cuBLASLt %s", dnn, lt);
    if (!l->nvml->system_driver || l->nvml->system_driver(driver, sizeof driver) != FM_NVML_SUCCESS) driver[0] = '\0';
    (void)snprintf(l->out->driver, sizeof l->out->driver, "%.60s%sCUDA %s", driver, driver[0] ? " · " : "", cuda);
    if (fm_cudnn_wrong_half_conv3d(library[FM_CUDA_CUDNN].version))
        found(l, "install cuDNN 9.16 or later; until then such cells are unsupported here",
              "cuDNN %s computes 3-D convolutions in fp16 and bf16 wrongly", dnn);
    if (fm_cudnn_wrong_tf32_conv3d(library[FM_CUDA_CUDNN].version))
        found(l, "install cuDNN 9.16 or later; until then such cells are unsupported here", "cuDNN %s computes 3-D convolutions in TF32 wrongly", dnn);
    fm_cuda_software(&l->cuda->lib, driver, l->out);
}

void fm_cuda_info(const struct fm_cuda *c, struct fm_device_info *out)
{
    struct look l = { .cuda = c, .nvml = &c->lib.nvml, .out = out };
    int count = 0;
    *out = (struct fm_device_info){ .total_bytes = c->total_bytes, .free_bytes = -1, .framework_bytes = FM_CUDA_FRAMEWORK_BYTES };
    (void)snprintf(out->id, sizeof out->id, "cuda:%d", c->ordinal);
    (void)snprintf(out->name, sizeof out->name, "%.120s", c->name);
    (void)snprintf(out->isa, sizeof out->isa, "sm_%d", c->sm);
    (void)snprintf(out->uuid, sizeof out->uuid, "%s", c->uuid);
    if (c->lib.cu.device_count(&count) == FM_CU_SUCCESS) out->count = count;
    open_nvml(&l);
    look_at_versions(&l);
    if (!l.device) return;
    look_at_memory(&l);
    look_at_clocks(&l);
    look_at_health(&l);
    if (l.unknown[0]) fact(&l, "unknown: %s", l.unknown);
}
