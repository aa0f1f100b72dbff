#include "probes/backends/ref/ref.h"
#include "probes/worker/serve.h"

const struct fm_backend_ops *fm_worker_backend(void) { return &fm_backend_ref; }
