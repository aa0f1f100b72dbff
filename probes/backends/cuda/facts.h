/* What is known of a GPU without using it: from the driver, NVML and the libraries' versions. */
#ifndef FM_PROBES_BACKENDS_CUDA_FACTS_H
#define FM_PROBES_BACKENDS_CUDA_FACTS_H

#include "probes/backends/backend.h"
#include "probes/backends/cuda/context.h"

/* Free memory is -1 where NVML is not there: asking CUDA for it would take some. */
void fm_cuda_info(const struct fm_cuda *cuda, struct fm_device_info *out);

#endif
