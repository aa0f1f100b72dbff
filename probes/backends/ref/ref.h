/* The oracle: every kernel in plain C, double arithmetic, one thread, any dtype and strides, no workspace.
 * Tensors are in PyTorch's logical order; device memory is host memory. */
#ifndef FM_PROBES_BACKENDS_REF_REF_H
#define FM_PROBES_BACKENDS_REF_REF_H

#include "probes/backends/backend.h"

extern const struct fm_backend_ops fm_backend_ref;

#endif
