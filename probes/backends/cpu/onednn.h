/* Convolutions and matrix products on oneDNN: planned once a problem, then run with a few pointers.
 *
 * A plan is a short list of steps: copies of operands that the fast implementation cannot take as they lie, reorders
 * of weights into the layout it prefers, the primitive, and the way back. All that these need beyond the operands is
 * one workspace, the sum of its parts, each 64-byte aligned; workspace_bytes is exactly what is used, and depends on
 * the problem, the library, the CPU and the thread count.
 *
 * Problems are *physical*: strides as they lie in memory. A plan holds descriptors until its first run, which
 * generates the code; later runs allocate nothing.
 *
 * Errors: FM_UNSUPPORTED where the library or the CPU lacks the data type; FM_INVALID for a problem that is none. */
#ifndef FM_PROBES_BACKENDS_CPU_ONEDNN_H
#define FM_PROBES_BACKENDS_CPU_ONEDNN_H

#include "tuner/base/status.h"
#include "workloads/program/program.h"

struct fm_dnn;
struct fm_dnn_plan;

fm_status fm_dnn_open(struct fm_dnn **out, int threads, struct fm_err *err) FM_MUST_USE;
void fm_dnn_close(struct fm_dnn *dnn);                          /* NULL is fine */
const char *fm_dnn_version(const struct fm_dnn *dnn);           /* "oneDNN 2.6.3": what runs, not what was compiled with */
const char *fm_dnn_cpu(const struct fm_dnn *dnn);               /* "avx512_core_bf16" */

/* is it one of the kernels served here? */
bool fm_dnn_serves(enum fm_kernel kernel);
fm_status fm_dnn_plan_create(struct fm_dnn *dnn, const struct fm_problem *physical, struct fm_dnn_plan **out,
                             struct fm_err *err) FM_MUST_USE;
void fm_dnn_plan_destroy(struct fm_dnn_plan *plan);             /* NULL is fine */
int64_t fm_dnn_plan_bytes(const struct fm_dnn_plan *plan);
const char *fm_dnn_plan_what(const struct fm_dnn_plan *plan);   /* "jit:avx512_core" */
/* data: the first element of each operand, outputs first */
fm_status fm_dnn_plan_run(struct fm_dnn *dnn, struct fm_dnn_plan *plan, void *const *data, void *workspace,
                          struct fm_err *err) FM_MUST_USE;

#endif
