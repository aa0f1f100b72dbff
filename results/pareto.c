#include "results/pareto.h"

#include <math.h>
#include <string.h>

#include "tuner/base/memory.h"

bool fm_pareto_dominates(const struct fm_pareto_bounds *a, const struct fm_pareto_bounds *b)
{
    if (a->bytes_hi > b->bytes_lo || a->samples_per_s_lo < b->samples_per_s_hi
        || a->flops_per_sample < b->flops_per_sample)
        return false;
    return a->bytes_hi < b->bytes_lo || a->samples_per_s_lo > b->samples_per_s_hi
        || a->flops_per_sample > b->flops_per_sample;
}

/* cells of one front have one number: the index of the first of them */
struct groups {
    size_t *model, *workload;
};

static void find_groups(const struct fm_pareto_cell *cells, size_t count, struct groups *groups)
{
    for (size_t i = 0; i < count; i++) {
        groups->model[i] = groups->workload[i] = i;
        for (size_t j = i; j-- > 0;) {
            if (strcmp(cells[i].device, cells[j].device) != 0) continue;
            if (strcmp(cells[i].model_id, cells[j].model_id) == 0) groups->model[i] = groups->model[j];
            if (strcmp(cells[i].workload, cells[j].workload) == 0) groups->workload[i] = groups->workload[j];
        }
    }
}

static fm_status check_cell(const struct fm_pareto_cell *cell, size_t index, struct fm_err *err)
{
    if (!cell->device || !cell->workload || !cell->model_id)
        return FM_FAIL(err, FM_INVALID, "cell %zu has no device, workload or model_id", index);
    if (cell->flops_known && !(isfinite(cell->flops_per_sample) && cell->flops_per_sample >= 0))
        return FM_FAIL(err, FM_INVALID, "cell %zu: %g FLOPs a sample", index, cell->flops_per_sample);
    return FM_OK;
}

static fm_status check_point(const struct fm_pareto_point *p, size_t index, size_t cell_count, struct fm_err *err)
{
    if (p->cell >= cell_count)
        return FM_FAIL(err, FM_INVALID, "point %zu is of cell %zu of %zu", index, p->cell, cell_count);
    if (p->batch < 1)
        return FM_FAIL(err, FM_INVALID, "point %zu of cell %zu: batch %lld", index, p->cell, (long long)p->batch);
    if (p->bytes_lo > p->bytes_hi)
        return FM_FAIL(err, FM_INVALID, "cell %zu, batch %lld: %llu bytes at least, %llu at most", p->cell,
                       (long long)p->batch, (unsigned long long)p->bytes_lo, (unsigned long long)p->bytes_hi);
    bool good = isfinite(p->samples_per_s) && p->samples_per_s > 0;
    if (good && p->interval_known)
        good = p->samples_per_s_lo <= p->samples_per_s && p->samples_per_s <= p->samples_per_s_hi;
    if (!good)
        return FM_FAIL(err, FM_INVALID, "cell %zu, batch %lld: %g samples/s in [%g, %g]; measured points only",
                       p->cell, (long long)p->batch, p->samples_per_s, p->samples_per_s_lo, p->samples_per_s_hi);
    return FM_OK;
}

static fm_status check(const struct fm_pareto_cell *cells, size_t cell_count,
                       const struct fm_pareto_point *points, size_t point_count, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < cell_count; i++) FM_TRY(check_cell(&cells[i], i, err));
    for (size_t i = 0; i < point_count; i++) {
        FM_TRY(check_point(&points[i], i, cell_count, err));
        for (size_t j = 0; j < i; j++)
            if (points[j].cell == points[i].cell && points[j].batch == points[i].batch)
                return FM_FAIL(err, FM_INVALID, "cell %zu: batch %lld is there twice", points[i].cell,
                               (long long)points[i].batch);
    }
out:
    return status;
}

static struct fm_pareto_bounds bounds_of(const struct fm_pareto_point *p, double flops_per_sample)
{
    return (struct fm_pareto_bounds){
        .bytes_lo = p->bytes_lo,
        .bytes_hi = p->bytes_hi,
        .samples_per_s_lo = p->interval_known ? p->samples_per_s_lo : p->samples_per_s,
        .samples_per_s_hi = p->interval_known ? p->samples_per_s_hi : p->samples_per_s,
        .flops_per_sample = flops_per_sample,
    };
}

/* the marks of point i among the points whose cells have its number in `group` */
static struct fm_pareto_front judge(const struct fm_pareto_cell *cells, const struct fm_pareto_point *points,
                                    size_t point_count, const size_t *group, size_t i, bool by_model)
{
    const struct fm_pareto_point *p = &points[i];
    const struct fm_pareto_cell *own = &cells[p->cell];
    if (!by_model && !own->flops_known) return (struct fm_pareto_front){ .member = false };
    struct fm_pareto_bounds mine = bounds_of(p, by_model ? 0 : own->flops_per_sample);
    bool dominated = false, sure = false;
    for (size_t j = 0; j < point_count; j++) {
        const struct fm_pareto_cell *other = &cells[points[j].cell];
        if (group[points[j].cell] != group[p->cell] || (!by_model && !other->flops_known)) continue;
        struct fm_pareto_bounds theirs = bounds_of(&points[j], by_model ? 0 : other->flops_per_sample);
        if (!fm_pareto_dominates(&theirs, &mine)) continue;
        dominated = true;
        sure = sure || (points[j].interval_known && p->interval_known);
    }
    return (struct fm_pareto_front){ .member = !dominated, .tentative = dominated && !sure };
}

/* a cell is on the front if a point is; else it is surely off only if all its points are */
static void join(struct fm_pareto_front *cell, const struct fm_pareto_front *point)
{
    cell->member = cell->member || point->member;
    cell->tentative = !cell->member && (cell->tentative || point->tentative);
}

static const struct fm_pareto_point *knee_of(const struct fm_pareto_cell *cells, size_t cell,
                                             const struct fm_pareto_point *points, size_t point_count)
{
    for (size_t i = 0; i < point_count; i++)
        if (points[i].cell == cell && points[i].batch == cells[cell].knee_batch) return &points[i];
    return NULL;
}

static bool ranks_before(const struct fm_pareto_point *a, const struct fm_pareto_point *b)
{
    if (a->samples_per_s != b->samples_per_s) return a->samples_per_s > b->samples_per_s;
    if (a->bytes_hi != b->bytes_hi) return a->bytes_hi < b->bytes_hi;
    return a->bytes_lo < b->bytes_lo;
}

static void rank(struct fm_pareto_cell *cells, size_t count, const size_t *group,
                 const struct fm_pareto_point *const *knees)
{
    for (size_t i = 0; i < count; i++) {
        cells[i].rank = knees[i] ? 1 : 0;
        for (size_t j = 0; j < count && knees[i]; j++)
            cells[i].rank += group[j] == group[i] && knees[j] && ranks_before(knees[j], knees[i]);
    }
}

fm_status fm_pareto(struct fm_pareto_cell *cells, size_t cell_count,
                    struct fm_pareto_point *points, size_t point_count, struct fm_err *err)
{
    fm_status status = check(cells, cell_count, points, point_count, err);
    if (status != FM_OK) return status;
    struct groups groups = { fm_calloc(cell_count, sizeof(size_t)), fm_calloc(cell_count, sizeof(size_t)) };
    const struct fm_pareto_point **knees = fm_calloc(cell_count, sizeof *knees);
    if (!groups.model || !groups.workload || !knees) {
        status = FM_FAIL(err, FM_NOMEM, "Pareto fronts of %zu cells", cell_count);
        goto out;
    }
    find_groups(cells, cell_count, &groups);
    for (size_t i = 0; i < cell_count; i++) {
        cells[i].front = cells[i].model_front = (struct fm_pareto_front){ .member = false };
        knees[i] = knee_of(cells, i, points, point_count);
    }
    for (size_t i = 0; i < point_count; i++) {
        points[i].front = judge(cells, points, point_count, groups.model, i, true);
        points[i].model_front = judge(cells, points, point_count, groups.workload, i, false);
        join(&cells[points[i].cell].front, &points[i].front);
        join(&cells[points[i].cell].model_front, &points[i].model_front);
    }
    rank(cells, cell_count, groups.model, knees);
out:
    fm_free(knees);
    fm_free(groups.workload);
    fm_free(groups.model);
    return status;
}
