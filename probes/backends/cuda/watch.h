/* Looks at a GPU while it is used: NVML's clocks, power, temperature, what holds the clocks down, other processes.
 *
 * Nothing is set: no clock, no mode. A MIG instance's clocks, power and temperature are those of the whole GPU, its
 * processes its own. NVML starts at the first look, in the thread that looks.
 *
 * Other processes: those that NVML lists with memory for computing (displays are not among them), without this one and
 * those that the same fillmark started. In a container NVML may list this process under another number: the one that
 * came after the first look is then it. A list that is empty although this process uses the GPU says nothing of others. */
#ifndef FM_PROBES_BACKENDS_CUDA_WATCH_H
#define FM_PROBES_BACKENDS_CUDA_WATCH_H

#include "probes/backends/backend.h"
#include "probes/backends/cuda/context.h"

/* keeps nothing of *cuda. NOMEM */
fm_status fm_cuda_watch(const struct fm_cuda *cuda, struct fm_device_watch *out, struct fm_err *err) FM_MUST_USE;

#endif
