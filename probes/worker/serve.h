/* The worker's loop: a request a line on stdin, a reply a line on stdout, logs on stderr, until stdin ends. Where the backend
 * does not open, the replies say why. */
#ifndef FM_PROBES_WORKER_SERVE_H
#define FM_PROBES_WORKER_SERVE_H

#include "probes/backends/backend.h"

/* each backend's worker has one file that defines it */
const struct fm_backend_ops *fm_worker_backend(void);
/* the process' exit code */
int fm_worker_serve(const struct fm_backend_ops *ops, int in_fd, int out_fd, const struct fm_backend_config *config);

#endif
