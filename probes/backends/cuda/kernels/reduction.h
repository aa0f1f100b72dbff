/* How a reduction is cut into blocks of threads, and the scratch that needs. Plain C: a function of shapes, strides and
 * dtypes, so that a plan for another machine's GPU gets the same bytes. */
#ifndef FM_PROBES_BACKENDS_CUDA_KERNELS_REDUCTION_H
#define FM_PROBES_BACKENDS_CUDA_KERNELS_REDUCTION_H

#include "probes/backends/cuda/kernels/space.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FM_REDUCTION_THREADS 256

/* Of every point of `kept` over all points of `rest`. rows: the threads of a group walk `rest` side by side; columns:
 * side by side they own points of `kept`, and groups walk `rest`. Whichever the first view's memory is contiguous in. */
struct fm_cuda_reduction {
    struct fm_cuda_space kept, rest;
    int32_t columns;
    int32_t splits;                 /* parts of `rest` that different blocks add; > 1: through the workspace */
};

/* views: unjoined; reduced: bit d set where dimension d is summed over */
void fm_cuda_reduction_plan(struct fm_cuda_reduction *plan, const struct fm_cuda_views *views, uint32_t reduced);
/* scratch for partial results of so many bytes an output */
int64_t fm_cuda_reduction_bytes(const struct fm_cuda_reduction *plan, int64_t bytes);

/* threads that share one row of n elements: a power of two up to 32, or 256 */
int fm_cuda_lanes(int64_t n);

/* the views of a kernel's reduction, unjoined, first what it reads: for launching and for sizing alike. data of the
 * call, or NULL. Return the mask of summed dimensions. */
uint32_t fm_cuda_sum_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data);
uint32_t fm_cuda_nll_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data);
/* x of a forward norm: parts of dimension 1, groups or (0) its channels each for itself over the batch */
uint32_t fm_cuda_moments_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data);
/* g, x, mean, rstd of a backward norm; per channel (batch norm), per sample and channel (group norm), per element of
 * the last dimension (layer norm) */
uint32_t fm_cuda_gradient_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data);

#define FM_MOMENTS_BYTES 12         /* count, mean, sum of squared deviations */
#define FM_PAIR_BYTES 8             /* two f32 sums */

static inline int64_t fm_cuda_align(int64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

#ifdef __cplusplus
}
#endif

#endif
