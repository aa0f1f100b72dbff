/* The CPU as a device: oneDNN for convolutions and matrix products, own kernels for the rest; channels-last.
 *
 * "Device" memory is host memory: addresses are ordinary pointers and every call has finished when run() returns.
 * One thread uses a backend at a time. */
#ifndef FM_PROBES_BACKENDS_CPU_BACKEND_H
#define FM_PROBES_BACKENDS_CPU_BACKEND_H

#include "probes/backends/backend.h"

extern const struct fm_backend_ops fm_backend_cpu;

#endif
