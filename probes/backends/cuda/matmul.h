/* Matrix products by cuBLASLt, with the workspaces that PyTorch 2.6 gives them (rule 46, workloads/program/pytorch.h):
 *
 *   a product with a bias vector      cublasLt's default, for the time of the call
 *   any other                         cuBLAS's, which PyTorch, and so the replay, keeps for each thread
 *
 * f32 is computed in f32, PyTorch's default for products, and in TF32 where the problem says so. Operands are row- or column-dense with any
 * distance between rows, as in cuBLAS; anything else is FM_UNSUPPORTED. */
#ifndef FM_PROBES_BACKENDS_CUDA_MATMUL_H
#define FM_PROBES_BACKENDS_CUDA_MATMUL_H

#include "probes/backends/cuda/context.h"
#include "workloads/program/candidates.h"
#include "workloads/program/program.h"

struct fm_cuda_matmul;

fm_status fm_cuda_matmul_open(struct fm_cuda *cuda, struct fm_cuda_matmul **out, struct fm_err *err) FM_MUST_USE;
void fm_cuda_matmul_close(struct fm_cuda_matmul *matmul);
fm_status fm_cuda_matmul_candidates(const struct fm_cuda *cuda, const struct fm_problem *problem, struct fm_candidates *out,
                                    struct fm_err *err) FM_MUST_USE;

struct fm_cuda_matmul_run {
    struct fm_problem problem;
    void *const *data;              /* first elements of y, a, b, [bias] */
    void *workspace;
    int64_t workspace_bytes;
};
/* *bias_added: false if there is a bias that the caller is to add to y */
fm_status fm_cuda_matmul_execute(struct fm_cuda_matmul *matmul, const struct fm_cuda_matmul_run *run, bool *bias_added,
                                 struct fm_err *err) FM_MUST_USE;

#endif
