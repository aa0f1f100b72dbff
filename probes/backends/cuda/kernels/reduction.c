#include "probes/backends/cuda/kernels/reduction.h"

#include "probes/backends/cuda/kernels.h"

#define BLOCKS 1024         /* fill the largest GPU there is about once */
#define ROW_PART 4096       /* elements of a row, positions below a column, worth a block of their own */
#define COLUMN_PART 64
#define MOST_SPLITS 256
#define LONG_ROW 1024       /* from here on a block for each row */

int fm_cuda_lanes(int64_t n)
{
    int lanes = 1;
    if (n >= LONG_ROW) return FM_REDUCTION_THREADS;
    while (lanes < 32 && lanes < n) lanes *= 2;
    return lanes;
}

void fm_cuda_reduction_plan(struct fm_cuda_reduction *plan, const struct fm_cuda_views *views, uint32_t reduced)
{
    fm_cuda_space_split(&views->space, reduced, &plan->kept, &plan->rest);
    int64_t across = plan->kept.stride[0][0], along = plan->rest.stride[0][0];
    plan->columns = plan->kept.numel > 1 && across && (!along || plan->rest.numel == 1 || across < along);
    int64_t groups = plan->columns ? 32 : FM_REDUCTION_THREADS / fm_cuda_lanes(plan->rest.numel);
    int64_t blocks = (plan->kept.numel + groups - 1) / groups;
    int64_t parts = plan->rest.numel / (plan->columns ? COLUMN_PART : ROW_PART);
    int64_t splits = blocks > 0 ? BLOCKS / blocks : 1;
    if (splits > parts) splits = parts;
    if (splits > MOST_SPLITS) splits = MOST_SPLITS;
    plan->splits = splits < 1 ? 1 : (int32_t)splits;
}

int64_t fm_cuda_reduction_bytes(const struct fm_cuda_reduction *plan, int64_t bytes)
{
    return plan->splits > 1 ? fm_cuda_align(plan->splits * plan->kept.numel * bytes) : 0;
}

static void *at(void *const *data, uint32_t i)
{
    return data ? data[i] : NULL;
}

uint32_t fm_cuda_sum_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data)
{
    const struct fm_operand *y = &problem->operand[0], *x = &problem->operand[1];
    uint32_t reduced = 0;
    fm_cuda_views_begin(views, x);
    fm_cuda_views_add(views, x, at(data, 1));
    fm_cuda_views_add(views, y, at(data, 0));
    for (int d = 0; d < x->ndim; d++) reduced |= (uint32_t)(y->size[d] != x->size[d]) << d;
    return reduced;
}

/* target, the class-0 elements of logp that belong to it */
uint32_t fm_cuda_nll_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data)
{
    const struct fm_operand *logp = &problem->operand[2], *target = &problem->operand[3];
    int64_t stride[FM_SPACE_DIMS] = { 0 };
    fm_cuda_views_begin(views, target);
    fm_cuda_views_add(views, target, at(data, 3));
    for (int d = 0; d < target->ndim; d++) stride[d] = logp->stride[d == 0 ? 0 : d + 1];
    fm_cuda_views_strided(views, stride, (enum fm_dtype)logp->dtype, at(data, 2));
    return (1u << target->ndim) - 1;
}

uint32_t fm_cuda_moments_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data)
{
    const struct fm_operand *x = &problem->operand[problem->n_out];
    uint32_t all = (1u << x->ndim) - 1;
    fm_cuda_views_begin(views, x);
    fm_cuda_views_add(views, x, at(data, problem->n_out));
    if (problem->kernel == FM_K_BATCH_NORM) return all & ~2u;
    fm_cuda_views_group(views, 1, problem->attr->groups);
    return (all << 1 | 1u) & ~3u;
}

uint32_t fm_cuda_gradient_views(struct fm_cuda_views *views, const struct fm_problem *problem, void *const *data)
{
    const struct fm_operand *in = &problem->operand[problem->n_out], *mean = &in[3], *rstd = &in[4];
    void *const *from = data ? data + problem->n_out : NULL;
    uint32_t all = (1u << in[1].ndim) - 1;
    int64_t stride[2][FM_SPACE_DIMS] = { { 0 } };
    fm_cuda_views_begin(views, &in[1]);
    fm_cuda_views_add(views, &in[0], at(from, 0));
    fm_cuda_views_add(views, &in[1], at(from, 1));
    switch (problem->kernel) {
    case FM_K_BATCH_NORM_BWD:
        stride[0][1] = mean->stride[0];
        stride[1][1] = rstd->stride[0];
        all &= ~2u;
        break;
    case FM_K_GROUP_NORM_BWD:           /* kept: sample, group, channel of the group */
        fm_cuda_views_group(views, 1, problem->attr->groups);
        for (int d = 0; d < 2; d++) stride[0][d] = mean->stride[d], stride[1][d] = rstd->stride[d];
        all = (all << 1 | 1u) & ~7u;
        break;
    default:                            /* layer norm: mean has size 1 in the last dimension */
        for (int d = 0; d + 1 < mean->ndim; d++) stride[0][d] = mean->stride[d], stride[1][d] = rstd->stride[d];
        all >>= 1;
        break;
    }
    fm_cuda_views_strided(views, stride[0], (enum fm_dtype)mean->dtype, at(from, 3));
    fm_cuda_views_strided(views, stride[1], (enum fm_dtype)rstd->dtype, at(from, 4));
    return all;
}

static bool bad_groups(const struct fm_problem *problem)
{
    if (problem->kernel != FM_K_GROUP_NORM && problem->kernel != FM_K_GROUP_NORM_BWD) return false;
    return problem->attr->groups < 1 || problem->operand[0].size[1] % problem->attr->groups != 0;
}

int64_t fm_cuda_workspace_bytes(const struct fm_problem *problem)
{
    struct fm_cuda_views views;
    struct fm_cuda_reduction plan;
    const struct fm_operand *x = &problem->operand[problem->n_out];
    int64_t each = FM_PAIR_BYTES, more = 0;
    uint32_t reduced;
    if (bad_groups(problem)) return 0;      /* the launch says so */
    switch (problem->kernel) {
    case FM_K_SUM:
        reduced = fm_cuda_sum_views(&views, problem, NULL);
        break;
    case FM_K_NLL:
        reduced = fm_cuda_nll_views(&views, problem, NULL);
        break;
    case FM_K_BATCH_NORM: case FM_K_GROUP_NORM:
        reduced = fm_cuda_moments_views(&views, problem, NULL);
        each = FM_MOMENTS_BYTES;
        break;
    case FM_K_BATCH_NORM_BWD: case FM_K_GROUP_NORM_BWD: case FM_K_LAYER_NORM_BWD:
        reduced = fm_cuda_gradient_views(&views, problem, NULL);
        if (problem->kernel == FM_K_BATCH_NORM_BWD) more = 2 * fm_cuda_align(x[1].size[1] * 4);
        if (problem->kernel == FM_K_GROUP_NORM_BWD)
            more = 2 * fm_cuda_align(x[1].size[0] * x[1].size[1] * 4) +
                   2 * fm_cuda_align(x[1].size[0] * problem->attr->groups * 4);
        break;
    default:
        return 0;
    }
    fm_cuda_reduction_plan(&plan, &views, reduced);
    return fm_cuda_reduction_bytes(&plan, each) + more;
}
