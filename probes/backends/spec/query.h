/* cuDNN's answers for a device that is described, not present. Within probes/backends/spec.
 *
 * Sequence: a device description from JSON; tensors, operation and graph without a handle; heuristics of the graph for the
 * description; of each engine configuration its notes and, from a finalized plan, its workspace. */
#ifndef FM_PROBES_BACKENDS_SPEC_QUERY_H
#define FM_PROBES_BACKENDS_SPEC_QUERY_H

#include "probes/backends/spec/conv.h"
#include "workloads/program/candidates.h"

struct fm_spec_device;                  /* cuDNN's device description */

/* json is borrowed while it opens. FM_UNSUPPORTED: what cuDNN says of it */
fm_status fm_spec_device_open(const char *json, struct fm_spec_device **out, struct fm_err *err) FM_MUST_USE;
void fm_spec_device_close(struct fm_spec_device *device);       /* NULL is fine */

/* "9.19.0" */
void fm_spec_cudnn_version(char *text, size_t bytes);

/* count 0: cuDNN has no engine. FM_FAILED: cuDNN does not answer, with where and why. */
fm_status fm_spec_conv_candidates(const struct fm_spec_device *device, const struct fm_spec_conv *conv,
                                  struct fm_candidates *out, struct fm_err *err) FM_MUST_USE;

/* SDPA or SDPA_BWD, from sm_80 on: scratch of the graph included. FM_UNSUPPORTED with the reason, or count 0, as above. */
fm_status fm_spec_attention_candidates(const struct fm_spec_device *device, const struct fm_problem *problem,
                                       struct fm_candidates *out, struct fm_err *err) FM_MUST_USE;

#endif
