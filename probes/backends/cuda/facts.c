#include "probes/backends/cuda/facts.h"

#include <stdio.h>
#include <string.h>

/* NVML, if it starts, and its handle of the GPU: NVML counts devices its own way, so by name */
static struct nvmlDevice_st *nvml_device(const struct fm_cuda *c)
{
    const struct fm_nvml_api *nvml = &c->lib.nvml;
    struct nvmlDevice_st *device = NULL;
    if (!c->lib.found[FM_CUDA_NVML].here || nvml->init() != FM_NVML_SUCCESS) return NULL;
    if (c->uuid[0] && nvml->by_uuid && nvml->by_uuid(c->uuid, &device) == FM_NVML_SUCCESS) return device;
    if (c->pci[0] && nvml->by_pci && nvml->by_pci(c->pci, &device) == FM_NVML_SUCCESS) return device;
    return NULL;
}

static void versions(const struct fm_cuda *c, struct fm_device_info *out)
{
    char dnn[24], lt[24], cuda[24], driver[64] = "";
    fm_cudnn_version_text(c->lib.found[FM_CUDA_CUDNN].version, dnn);
    fm_cudnn_version_text(c->lib.found[FM_CUDA_LT].version, lt);
    fm_cuda_version_text(c->lib.found[FM_CUDA_DRIVER].version, cuda);
    (void)snprintf(out->library, sizeof out->library, "cuDNN %s · cuBLASLt %s", dnn, lt);
    if (!c->lib.nvml.system_driver || c->lib.nvml.system_driver(driver, sizeof driver) != FM_NVML_SUCCESS) driver[0] = '\0';
    (void)snprintf(out->driver, sizeof out->driver, "%.60s%sCUDA %s", driver, driver[0] ? " · " : "", cuda);
}

void fm_cuda_info(const struct fm_cuda *c, struct fm_device_info *out)
{
    struct fm_nvml_memory memory;
    struct nvmlDevice_st *device = nvml_device(c);
    *out = (struct fm_device_info){ .total_bytes = c->total_bytes, .free_bytes = -1 };
    (void)snprintf(out->id, sizeof out->id, "cuda:%d", c->ordinal);
    (void)snprintf(out->name, sizeof out->name, "%.120s", c->name);
    (void)snprintf(out->isa, sizeof out->isa, "sm_%d", c->sm);
    versions(c, out);
    if (device && c->lib.nvml.memory && c->lib.nvml.memory(device, &memory) == FM_NVML_SUCCESS) out->free_bytes = (int64_t)memory.free;
}
