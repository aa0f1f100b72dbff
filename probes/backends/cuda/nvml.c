#include "probes/backends/cuda/nvml.h"

#include <stdio.h>
#include <string.h>

struct nvmlDevice_st *fm_nvml_device(const struct fm_nvml_api *nvml, const char *uuid, const char *pci, bool *whole)
{
    struct nvmlDevice_st *device = NULL;
    *whole = strncmp(uuid, "MIG-", 4) != 0;
    if (uuid[0] && nvml->by_uuid && nvml->by_uuid(uuid, &device) == FM_NVML_SUCCESS) return device;
    *whole = true;
    if (pci[0] && nvml->by_pci && nvml->by_pci(pci, &device) == FM_NVML_SUCCESS) return device;
    return NULL;
}

int32_t fm_nvml_processes(const struct fm_nvml_api *nvml, struct nvmlDevice_st *device, struct fm_nvml_process *process)
{
    unsigned count = FM_NVML_PROCESSES;
    int result = nvml->processes ? nvml->processes(device, &count, process) : -1;
    if (result == FM_NVML_INSUFFICIENT_SIZE && count > FM_NVML_PROCESSES) {
        /* which they are is not told; that they are many is */
        memset(process, 0, FM_NVML_PROCESSES * sizeof *process);
        return (int32_t)count;
    }
    return result == FM_NVML_SUCCESS && count <= FM_NVML_PROCESSES ? (int32_t)count : -1;
}

struct fm_holder fm_nvml_holder(const struct fm_nvml_api *nvml, const struct fm_nvml_process *process)
{
    /* NVML says ULLONG_MAX where it must not tell, as to other users in containers */
    bool told = process->used_bytes != (unsigned long long)-1;
    struct fm_holder h = { .pid = process->pid, .bytes = told ? (int64_t)process->used_bytes : -1 };
    char path[256] = "";
    if (nvml->process_name && nvml->process_name(process->pid, path, sizeof path) != FM_NVML_SUCCESS) path[0] = '\0';
    const char *name = strrchr(path, '/');
    (void)snprintf(h.name, sizeof h.name, "%.60s", name ? name + 1 : path);
    return h;
}

void fm_nvml_keep(struct fm_holder *list, uint32_t *count, const struct fm_holder *holder)
{
    uint32_t at = *count;
    while (at > 0 && list[at - 1].bytes < holder->bytes) at--;
    if (at == FM_MAX_HOLDERS) return;
    uint32_t last = *count < FM_MAX_HOLDERS ? *count : FM_MAX_HOLDERS - 1;
    memmove(&list[at + 1], &list[at], (last - at) * sizeof *list);
    list[at] = *holder;
    if (*count < FM_MAX_HOLDERS) ++*count;
}
