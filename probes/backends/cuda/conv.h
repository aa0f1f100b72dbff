/* Convolutions by cuDNN's backend (graph) API, with plans chosen and retreated from as PyTorch's Conv_v8.cpp does with
 * benchmark off (rules 39 to 42): the list of the instant heuristic, then the fallback list; without engines that
 * convert inputs down; of f32 without those that use tensor cores (TF32), unless the problem says so; tensors with their
 * real strides.
 *
 * PyTorch takes the first configuration that builds, allocates and runs. Of the list only those whose workspace is
 * smaller than that of all before them can ever be taken, since an allocation that failed fails for more bytes too.
 * These are the candidates, at most FM_MAX_CANDIDATES: the first ones and the least one. They are built here, and one
 * that then refuses to run makes way for the next that needs no more workspace.
 *
 * With benchmark on the first ones are all candidates, whatever they need, and the fastest is looked for
 * (fm_cuda_conv_rank).
 *
 * Asking makes no context where cuDNN can describe the device without one (9.8 and later were tried without a GPU). */
#ifndef FM_PROBES_BACKENDS_CUDA_CONV_H
#define FM_PROBES_BACKENDS_CUDA_CONV_H

#include "probes/backends/cuda/context.h"
#include "workloads/program/candidates.h"
#include "workloads/program/program.h"

struct fm_cuda_conv;

fm_status fm_cuda_conv_open(struct fm_cuda *cuda, struct fm_cuda_conv **out, struct fm_err *err) FM_MUST_USE;
void fm_cuda_conv_close(struct fm_cuda_conv *conv);
/* CONV, CONV_DGRAD, CONV_WGRAD, and attention in one kernel, whose graph goes the same way: SDPA, SDPA_BWD? */
bool fm_cuda_conv_serves(enum fm_kernel kernel);
/* FM_UNSUPPORTED with the reason: no engine, mixed element types, or a version of cuDNN that is wrong there */
fm_status fm_cuda_conv_candidates(struct fm_cuda_conv *conv, const struct fm_problem *problem, struct fm_candidates *out,
                                  struct fm_err *err) FM_MUST_USE;

struct fm_cuda_conv_run {
    struct fm_problem problem;
    void *const *data;              /* first elements of the operands as the kernel has them; a bias is not added here */
    void *workspace;
    int64_t workspace_bytes;
    uint32_t candidate;
};
fm_status fm_cuda_conv_execute(struct fm_cuda_conv *conv, const struct fm_cuda_conv_run *run, struct fm_err *err) FM_MUST_USE;

/* Times the candidates whose bit in `valid` is 1, each once after a first call, as PyTorch does with benchmark on (rule 40):
 * the fastest first; those that do not run are left out. */
fm_status fm_cuda_conv_rank(struct fm_cuda_conv *conv, const struct fm_cuda_conv_run *run, uint32_t valid, struct fm_ranking *out,
                            struct fm_err *err) FM_MUST_USE;

#endif
