/* The CPU as a device: oneDNN where it has a primitive, own kernels elsewhere; image-like storages channels-last. */
#ifndef FM_PROBES_BACKENDS_CPU_CPU_H
#define FM_PROBES_BACKENDS_CPU_CPU_H

#include "probes/backends/backend.h"

extern const struct fm_backend_ops fm_backend_cpu;

#endif
