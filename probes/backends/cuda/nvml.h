/* What facts.c and watch.c ask NVML for alike: a GPU's handle, and the processes that compute on it.
 *
 * Every function of NVML may be absent in an old driver, and any may say no (NVML API Reference); so both only say whether
 * there is an answer. */
#ifndef FM_PROBES_BACKENDS_CUDA_NVML_H
#define FM_PROBES_BACKENDS_CUDA_NVML_H

#include "probes/backends/backend.h"
#include "probes/backends/cuda/abi.h"

#include <stdbool.h>

#define FM_NVML_PROCESSES 64

/* By UUID, or else by PCI address: NVML counts devices its own way. NULL: it does not know it. A PCI address is that of a
 * whole GPU, so that of a MIG instance leads to what it is a part of: *whole says so. */
struct nvmlDevice_st *fm_nvml_device(const struct fm_nvml_api *nvml, const char *uuid, const char *pci, bool *whole);

/* Processes with memory of the device for computing, at most FM_NVML_PROCESSES of them in process[]; how many there are, or
 * -1: unknown. */
int32_t fm_nvml_processes(const struct fm_nvml_api *nvml, struct nvmlDevice_st *device, struct fm_nvml_process *process);
/* name of its program, "" if that is not told; its memory, -1 where NVML must not tell */
struct fm_holder fm_nvml_holder(const struct fm_nvml_api *nvml, const struct fm_nvml_process *process);
/* into a list that stays sorted by bytes, descending; the last one falls out where it is full */
void fm_nvml_keep(struct fm_holder *list, uint32_t *count, const struct fm_holder *holder);

#endif
