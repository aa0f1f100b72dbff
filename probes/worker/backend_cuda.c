#include "probes/backends/cuda/cuda.h"
#include "probes/worker/serve.h"

const struct fm_backend_ops *fm_worker_backend(void) { return &fm_backend_cuda; }
