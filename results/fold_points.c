#include "results/fold_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "probes/measure/knee.h"
#include "results/json.h"
#include "tuner/base/memory.h"

static bool shares_training(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    return a == b || (strcmp(a->train_id, b->train_id) == 0 && strcmp(a->device, b->device) == 0);
}

static bool is_timed(const struct fm_result_row *row)
{
    const cJSON *steps = fm_json_array(fm_json_object(row->record, "measured"), "step_ns");
    return !row->val && !row->superseded && row->outcome == FM_OUTCOME_ok && row->batch > 0 && steps && steps->child;
}

/* did a smaller validation fit at this batch? Then what failed is the search for the largest validation. */
static bool smaller_val_fits(const struct fm_result *result, const struct fm_result_row *failed)
{
    for (size_t i = 0; i < result->row_count; i++) {
        const struct fm_result_row *row = &result->rows[i];
        if (row->cell == failed->cell && row->val && !row->superseded && row->outcome == FM_OUTCOME_ok &&
            row->batch == failed->batch && row->val_batch < failed->val_batch)
            return true;
    }
    return false;
}

/* may the cell claim what was measured at this batch? */
static bool may_claim(const struct fm_result *result, size_t cell, int64_t batch)
{
    bool own = false;
    for (size_t i = 0; i < result->row_count; i++) {
        const struct fm_result_row *row = &result->rows[i];
        if (row->cell != cell || row->batch != batch || row->superseded) continue;
        own = true;
        if (row->outcome == FM_OUTCOME_oom_device && !(row->val && smaller_val_fits(result, row))) return false;
    }
    int64_t max = result->cells[cell].max_train;
    return max >= 0 ? batch <= max : own;
}

/* ---- throughput ---- */

struct samples {
    struct fm_sample *item;
    struct fm_launch *launch;
    size_t *start;              /* of each launch in item */
    size_t item_capacity, launch_capacity, start_capacity, count, launches;
};

static void samples_release(struct samples *s)
{
    fm_free(s->item);
    fm_free(s->launch);
    fm_free(s->start);
}

static bool is_throttled(const cJSON *throttled, int64_t index)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, throttled)
        if (cJSON_IsNumber(item) && item->valuedouble == (double)index) return true;
    return false;
}

static fm_status add_launch(struct samples *s, const struct fm_result_row *row, struct fm_err *err)
{
    const cJSON *measured = fm_json_object(row->record, "measured"), *step = NULL;
    const cJSON *throttled = fm_json_array(measured, "throttled");
    struct fm_launch *launch = fm_grow(s->launch, &s->launch_capacity, s->launches + 1, sizeof *launch);
    if (launch) s->launch = launch;
    size_t *start = fm_grow(s->start, &s->start_capacity, s->launches + 1, sizeof *start);
    if (start) s->start = start;
    if (!launch || !start) return FM_FAIL(err, FM_NOMEM, "no memory for step times");
    start[s->launches] = s->count;
    int64_t index = 0;
    cJSON_ArrayForEach(step, fm_json_array(measured, "step_ns")) {
        if (!cJSON_IsNumber(step) || !(step->valuedouble > 0 && step->valuedouble <= (double)FM_JSON_EXACT_MAX))
            return FM_FAIL(err, FM_INVALID, "batch %lld: step_ns[%lld] is no time", (long long)row->batch, (long long)index);
        struct fm_sample *item = fm_grow(s->item, &s->item_capacity, s->count + 1, sizeof *item);
        if (!item) return FM_FAIL(err, FM_NOMEM, "no memory for step times");
        s->item = item;
        item[s->count++] = (struct fm_sample){ (int64_t)step->valuedouble, is_throttled(throttled, index++) };
    }
    launch[s->launches].count = s->count - start[s->launches];
    s->launches++;
    return FM_OK;
}

/* of all launches that trained as this cell does, at this batch */
static fm_status measure(const struct fm_result *result, struct fm_result_point *point, uint64_t seed, struct fm_err *err)
{
    const size_t cell = point->cell;
    const int64_t batch = point->batch;
    struct samples s = { 0 };
    struct fm_interval step_ns;
    fm_status status = FM_OK;
    for (size_t i = 0; i < result->row_count; i++) {
        const struct fm_result_row *row = &result->rows[i];
        if (row->batch == batch && is_timed(row) && shares_training(&result->cells[row->cell], &result->cells[cell]))
            FM_TRY(add_launch(&s, row, err));
    }
    for (size_t i = 0; i < s.launches; i++) s.launch[i].samples = s.item + s.start[i];
    FM_TRY(fm_interval_of_launches(s.launch, s.launches, seed, &step_ns, err));
    point->samples_per_s = fm_interval_rate(&step_ns, (double)batch * (double)result->cells[cell].samples_per_batch);
out:
    samples_release(&s);
    return status;
}

/* ---- memory ---- */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* does `a` validate with at least the batch that `b` does, at any training batch? */
static bool validates_more(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    const char *of_a = fm_json_text(a->strategies, "val_batch");
    const char *of_b = fm_json_text(b->strategies, "val_batch");
    return of_a && of_b && strcmp(of_a, "same") == 0 && (strcmp(of_b, "half") == 0 || strcmp(of_b, "same") == 0);
}

/* reserved bytes of a row's kind of figures */
static int64_t reserved(const struct fm_result_row *row, bool planned)
{
    return planned ? row->planned.reserved_bytes : row->measured.reserved_bytes;
}

/* Bounds of a point's peak. Of a cell that did not validate at this batch itself: one that did, with more, bounds it; so does
 * its own next larger. */
static void set_bounds(const struct fm_result *result, const struct fm_result_point *point, bool planned, int64_t *lo, int64_t *hi)
{
    const struct fm_result_cell *cell = &result->cells[point->cell];
    int64_t train = -1, val = -1, more = -1, above = -1, above_batch = INT64_MAX;
    for (size_t i = 0; i < result->row_count; i++) {
        const struct fm_result_row *row = &result->rows[i];
        const struct fm_result_cell *other = &result->cells[row->cell];
        int64_t bytes = reserved(row, planned);
        if (row->superseded || row->outcome != FM_OUTCOME_ok || bytes < 0) continue;
        bool here = row->batch == point->batch, own = row->cell == point->cell;
        if (!row->val && here && shares_training(other, cell)) train = larger(train, bytes);
        if (row->val && here && !own && shares_training(other, cell) && validates_more(other, cell)) more = larger(more, bytes);
        if (row->val && here && own) val = larger(val, bytes);
        if (!row->val || !own || row->batch <= point->batch || row->batch > above_batch) continue;
        above = row->batch == above_batch ? larger(above, bytes) : bytes;
        above_batch = row->batch;
    }
    *lo = *hi = -1;
    if (more >= 0 && (above < 0 || more < above)) above = more;
    if (train < 0 || (cell->validates && val < 0 && above < 0)) return;
    *lo = larger(train, val);
    *hi = cell->validates && val < 0 ? larger(train, above) : *lo;
}

static void set_peak(const struct fm_result *result, struct fm_result_point *point)
{
    set_bounds(result, point, false, &point->peak_lo_bytes, &point->peak_hi_bytes);
    set_bounds(result, point, true, &point->planned_lo_bytes, &point->planned_hi_bytes);
    point->planned_peak_bytes = point->planned_lo_bytes == point->planned_hi_bytes ? point->planned_lo_bytes : -1;
}

/* ---- points ---- */

/* what its times are worth, over its launches */
static void set_worth(const struct fm_result *result, struct fm_result_point *point)
{
    double steps = 0, throttled = 0;
    point->shared = 0;
    for (size_t i = 0; i < result->row_count; i++) {
        const struct fm_result_row *row = &result->rows[i];
        if (row->batch != point->batch || !is_timed(row) || !shares_training(&result->cells[row->cell], &result->cells[point->cell])) continue;
        steps += (double)row->timed_steps;
        throttled += row->throttled_steps < 0 ? NAN : (double)row->throttled_steps;
        if (row->shared == 1 || point->shared == 1) point->shared = 1;
        else if (row->shared < 0) point->shared = -1;
    }
    point->throttled_share = throttled / steps;
}

static fm_status add_point(struct fm_result *result, size_t cell, int64_t batch, uint64_t seed, struct fm_err *err)
{
    struct fm_result_point point = { .cell = cell, .batch = batch };
    struct fm_result_cell *owner = &result->cells[cell];
    for (size_t i = 0; i < owner->points; i++)
        if (result->points[owner->first_point + i].batch == batch) return FM_OK;
    fm_status status = measure(result, &point, seed, err);
    /* every step may have been throttled */
    if (status != FM_OK || !point.samples_per_s.point_known) return status;
    set_peak(result, &point);
    set_worth(result, &point);
    struct fm_result_point *points =
        fm_grow(result->points, &result->point_capacity, result->point_count + 1, sizeof *result->points);
    if (!points) return FM_FAIL(err, FM_NOMEM, "no memory for a point");
    result->points = points;
    points[result->point_count++] = point;
    owner->points++;
    return FM_OK;
}

static int by_batch(const void *a, const void *b)
{
    int64_t x = ((const struct fm_result_point *)a)->batch, y = ((const struct fm_result_point *)b)->batch;
    return x < y ? -1 : x > y;
}

static fm_status set_knee(struct fm_result *result, struct fm_result_cell *cell, struct fm_err *err)
{
    double best = 0;
    struct fm_knee_point *curve = fm_calloc(cell->points, sizeof *curve);
    if (!curve) return FM_FAIL(err, FM_NOMEM, "no memory for a curve of %zu points", cell->points);
    for (size_t i = 0; i < cell->points; i++) {
        const struct fm_result_point *p = &result->points[cell->first_point + i];
        curve[i] = (struct fm_knee_point){ .batch = p->batch, .samples_per_s = p->samples_per_s.point };
        if (p->samples_per_s.point <= best) continue;
        best = p->samples_per_s.point;
        cell->best = cell->first_point + i;
    }
    int64_t knee = fm_knee(curve, cell->points, FM_KNEE_TOLERANCE);
    for (size_t i = 0; i < cell->points; i++)
        if (curve[i].batch == knee) cell->knee = cell->first_point + i;
    fm_free(curve);
    return FM_OK;
}

static fm_status add_points(struct fm_result *result, size_t cell, uint64_t seed, struct fm_err *err)
{
    struct fm_result_cell *owner = &result->cells[cell];
    owner->first_point = result->point_count;
    for (size_t i = 0; i < result->row_count; i++) {
        const struct fm_result_row *row = &result->rows[i];
        if (!is_timed(row) || !shares_training(&result->cells[row->cell], owner) || !may_claim(result, cell, row->batch)) continue;
        struct fm_err cause = { 0 };
        fm_status status = add_point(result, cell, row->batch, seed, &cause);
        if (status != FM_OK) return FM_FAIL(err, status, "cell %s: %s", owner->id, cause.text);
    }
    if (owner->points) qsort(result->points + owner->first_point, owner->points, sizeof *result->points, by_batch);
    return set_knee(result, owner, err);
}

/* ---- fronts and ranks ---- */

/* the cells and points as fm_pareto() takes them; index: of a point there, the point here */
struct fronts {
    struct fm_pareto_cell *cells;
    struct fm_pareto_point *points;
    size_t *index, count;
};

static void fill_fronts(const struct fm_result *result, struct fronts *f)
{
    for (size_t i = 0; i < result->cell_count; i++) {
        const struct fm_result_cell *cell = &result->cells[i];
        f->cells[i] = (struct fm_pareto_cell){
            .device = cell->device, .workload = cell->workload, .model_id = cell->model_id,
            .flops_per_sample = cell->flops_per_sample, .flops_known = isfinite(cell->flops_per_sample),
            .knee_batch = cell->knee == FM_NO_POINT ? 0 : result->points[cell->knee].batch,
        };
    }
    for (size_t i = 0; i < result->point_count; i++) {
        const struct fm_result_point *p = &result->points[i];
        if (p->peak_lo_bytes < 0) continue;
        f->index[f->count] = i;
        f->points[f->count++] = (struct fm_pareto_point){
            .cell = p->cell, .batch = p->batch,
            .bytes_lo = (uint64_t)p->peak_lo_bytes, .bytes_hi = (uint64_t)p->peak_hi_bytes,
            .samples_per_s = p->samples_per_s.point, .samples_per_s_lo = p->samples_per_s.lo,
            .samples_per_s_hi = p->samples_per_s.hi, .interval_known = p->samples_per_s.interval_known,
        };
    }
}

static void take_fronts(struct fm_result *result, const struct fronts *f)
{
    for (size_t i = 0; i < f->count; i++) {
        result->points[f->index[i]].front = f->points[i].front;
        result->points[f->index[i]].model_front = f->points[i].model_front;
    }
    for (size_t i = 0; i < result->cell_count; i++) {
        result->cells[i].rank = f->cells[i].rank;
        result->cells[i].front = f->cells[i].front;
        result->cells[i].model_front = f->cells[i].model_front;
    }
}

static fm_status set_fronts(struct fm_result *result, struct fm_err *err)
{
    fm_status status = FM_OK;
    struct fronts f = {
        .cells = fm_calloc(result->cell_count, sizeof *f.cells),
        .points = fm_calloc(result->point_count, sizeof *f.points),
        .index = fm_calloc(result->point_count, sizeof *f.index),
    };
    if (!f.cells || !f.points || !f.index) {
        status = FM_FAIL(err, FM_NOMEM, "no memory for the fronts of %zu points", result->point_count);
        goto out;
    }
    fill_fronts(result, &f);
    FM_TRY(fm_pareto(f.cells, result->cell_count, f.points, f.count, err));
    take_fronts(result, &f);
out:
    fm_free(f.index);
    fm_free(f.points);
    fm_free(f.cells);
    return status;
}

static double knee_rate(const struct fm_result *result, const struct fm_result_cell *cell)
{
    return cell->knee == FM_NO_POINT ? NAN : result->points[cell->knee].samples_per_s.point;
}

/* what a cell's speed is relative to */
static const struct fm_result_cell *reference_of(const struct fm_result *result, const struct fm_result_cell *cell)
{
    const struct fm_result_cell *own = NULL;
    for (size_t i = 0; i < result->cell_count; i++) {
        const struct fm_result_cell *other = &result->cells[i];
        if (other->rank != 1 || strcmp(other->device, cell->device) != 0) continue;
        if (strcmp(other->model_id, cell->model_id) == 0 && !own) own = other;
        if (!other->changes && strcmp(other->workload, cell->workload) == 0 && cJSON_Compare(other->set, cell->set, true))
            return other;
    }
    return own;
}

fm_status fm_fold_points(struct fm_result *result, uint64_t seed, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < result->cell_count; i++) FM_TRY(add_points(result, i, seed, err));
    FM_TRY(set_fronts(result, err));
    for (size_t i = 0; i < result->cell_count; i++) {
        const struct fm_result_cell *reference = reference_of(result, &result->cells[i]);
        if (reference) result->cells[i].relative_speed = knee_rate(result, &result->cells[i]) / knee_rate(result, reference);
    }
    for (size_t i = 0; i < result->row_count; i++) {
        struct fm_result_row *row = &result->rows[i];
        const struct fm_result_cell *cell = &result->cells[row->cell];
        for (size_t j = cell->first_point; j < cell->first_point + cell->points; j++)
            if (result->points[j].batch == row->batch && row->batch > 0) row->point = j;
    }
out:
    return status;
}
