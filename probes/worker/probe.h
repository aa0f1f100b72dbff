/* The three requests, answered. */
#ifndef FM_PROBES_WORKER_PROBE_H
#define FM_PROBES_WORKER_PROBE_H

#include "probes/backends/backend.h"
#include "probes/protocol/protocol.h"

/* Fill *reply; what went wrong is in its outcome and reason. They never fail otherwise. */
/* of a backend that did not open: unsupported with the reason; an inventory tells what software there is */
void fm_worker_refuse(const struct fm_backend_ops *ops, const struct fm_err *why, struct fm_reply *reply);
void fm_worker_inventory(const struct fm_backend_ops *ops, struct fm_backend *backend, struct fm_reply *reply);
void fm_worker_workspaces(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_request *request,
                          struct fm_reply *reply);
void fm_worker_probe(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_request *request,
                     struct fm_reply *reply);

/* the status of a failed step as an outcome: only an allocation of the device's that failed is oom_device */
enum fm_outcome fm_outcome_of(fm_status status);

#endif
