#include "results/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "results/json.h"
#include "tuner/base/memory.h"

#define ALARM 0.025             /* one-sided: the tail that a 95 % interval leaves */

const char *fm_change_name(enum fm_change change)
{
    switch (change) {
    case FM_CHANGE_SAME: return "same";
    case FM_CHANGE_BETTER: return "better";
    case FM_CHANGE_WORSE: return "worse";
    case FM_CHANGE_UNDECIDED: return "undecided";
    case FM_CHANGE_INCOMPARABLE: return "incomparable";
    }
    return "?";
}

static struct fm_compared *add(struct fm_comparison *c, const struct fm_compared *row, struct fm_err *err)
{
    struct fm_compared *grown = fm_grow(c->item, &c->capacity, c->count + 1, sizeof *grown);
    if (!grown) {
        (void)FM_FAIL(err, FM_NOMEM, "%zu compared figures", c->count);
        return NULL;
    }
    c->item = grown;
    grown[c->count] = *row;
    return &grown[c->count++];
}

/* ---- what changed around ---- */

static const char *text_of(const cJSON *o, const char *name, char number[32])
{
    const cJSON *value = fm_json_get(o, name);
    if (cJSON_IsString(value)) return value->valuestring;
    if (!cJSON_IsNumber(value)) return NULL;
    (void)snprintf(number, 32, "%.15g", value->valuedouble);
    return number;
}

/* notes a difference; true if there is one */
static bool differs(struct fm_comparison *c, const char *of, const cJSON *was, const cJSON *is, const char *name)
{
    char a[32], b[32];
    const char *then = text_of(was, name, a), *now = text_of(is, name, b);
    if ((!then && !now) || (then && now && strcmp(then, now) == 0)) return false;
    if (c->differences < sizeof c->difference / sizeof *c->difference)
        (void)snprintf(c->difference[c->differences++], sizeof *c->difference, "%.40s%s%s: %.60s, now %.60s", of, *of ? " " : "", name,
                       then ? then : "unknown", now ? now : "unknown");
    return true;
}

/* is there a device of the same id, of the same kind? */
static bool same_device(struct fm_comparison *c, const char *id)
{
    static const char *const decisive[] = { "name", "isa", "threads", "capacity_bytes" };
    const cJSON *was = fm_result_device(c->base, id), *is = fm_result_device(c->now, id);
    bool same = was && is;
    for (size_t i = 0; same && i < sizeof decisive / sizeof *decisive; i++) {
        char a[32], b[32];
        const char *then = text_of(was, decisive[i], a), *now = text_of(is, decisive[i], b);
        same = (!then && !now) || (then && now && strcmp(then, now) == 0);
    }
    return same;
}

static void list_differences(struct fm_comparison *c)
{
    static const char *const of_run[] = { "tool", "host", "seed" };
    static const char *const of_device[] = { "name", "isa", "threads", "capacity_bytes", "driver", "library", "total_bytes" };
    for (size_t i = 0; i < sizeof of_run / sizeof *of_run; i++) (void)differs(c, "", c->base->run, c->now->run, of_run[i]);
    const cJSON *device = NULL;
    cJSON_ArrayForEach(device, fm_json_array(c->base->run, "devices")) {
        const char *id = fm_json_text(device, "id");
        const cJSON *is = id ? fm_result_device(c->now, id) : NULL;
        for (size_t i = 0; is && i < sizeof of_device / sizeof *of_device; i++) (void)differs(c, id, device, is, of_device[i]);
    }
}

/* ---- a cell ---- */

static const struct fm_result_cell *find_cell(const struct fm_result *r, const struct fm_result_cell *cell)
{
    for (size_t i = 0; i < r->cell_count; i++)
        if (strcmp(r->cells[i].id, cell->id) == 0 && strcmp(r->cells[i].device, cell->device) == 0) return &r->cells[i];
    return NULL;
}

static bool is_good(const struct fm_result_cell *cell)
{
    return strcmp(cell->outcome, "ok") == 0 && cell->certified && !cell->mistrusted;
}

/* false: no figure of this cell can be compared */
static bool compare_outcome(struct fm_comparison *c, struct fm_compared *row, bool same_seed)
{
    const struct fm_result_cell *base = row->base, *now = row->now;
    row->what = "outcome";
    row->change = FM_CHANGE_SAME;
    if (!same_device(c, base->device) || !same_seed) {
        row->change = FM_CHANGE_INCOMPARABLE;
        (void)snprintf(row->note, sizeof row->note, "another device, seed or memory limit");
    } else if (!is_good(base)) {
        row->change = now && is_good(now) ? FM_CHANGE_BETTER : FM_CHANGE_INCOMPARABLE;
        (void)snprintf(row->note, sizeof row->note, "in the base run: %s%s", base->outcome,
                       base->mistrusted ? ", mistrusted" : base->certified ? "" : ", not certified");
    } else if (!now) {
        row->change = FM_CHANGE_WORSE;
        (void)snprintf(row->note, sizeof row->note, "missing in the new run");
    } else if (!is_good(now)) {
        row->change = FM_CHANGE_WORSE;
        (void)snprintf(row->note, sizeof row->note, "%s%s", now->outcome,
                       now->mistrusted ? ", mistrusted" : now->certified ? "" : ", not certified");
    }
    return now && row->change == FM_CHANGE_SAME;
}

static enum fm_change exact(int64_t was, int64_t is)
{
    return is < was ? FM_CHANGE_WORSE : is > was ? FM_CHANGE_BETTER : FM_CHANGE_SAME;
}

static double known(int64_t value) { return value < 0 ? NAN : (double)value; }

static fm_status compare_max(struct fm_comparison *c, const struct fm_compared *of, const char *what, int64_t was, int64_t is,
                             struct fm_err *err)
{
    struct fm_compared row = *of;
    row.what = what;
    row.was = known(was);
    row.is = known(is);
    row.change = was < 0 ? FM_CHANGE_INCOMPARABLE : is < 0 ? FM_CHANGE_WORSE : exact(was, is);
    if (was < 0 && is < 0) return FM_OK;
    return add(c, &row, err) ? FM_OK : FM_NOMEM;
}

static const struct fm_result_point *find_point(const struct fm_result *r, const struct fm_result_cell *cell, int64_t batch)
{
    for (size_t i = 0; i < cell->points; i++)
        if (r->points[cell->first_point + i].batch == batch) return &r->points[cell->first_point + i];
    return NULL;
}

static fm_status compare_peak(struct fm_comparison *c, const struct fm_compared *of, const struct fm_result_point *was,
                              const struct fm_result_point *is, struct fm_err *err)
{
    struct fm_compared row = *of;
    bool both = was->peak_lo_bytes >= 0 && is->peak_lo_bytes >= 0 && was->peak_lo_bytes == was->peak_hi_bytes &&
                is->peak_lo_bytes == is->peak_hi_bytes;
    if (!both) return FM_OK;        /* known only within bounds: the max batch still tells */
    row.what = "peak";
    row.batch = was->batch;
    row.was = (double)was->peak_lo_bytes;
    row.is = (double)is->peak_lo_bytes;
    row.change = row.is > row.was * (1 + c->limits.max_memory_growth) ? FM_CHANGE_WORSE
                 : row.is < row.was * (1 - c->limits.max_memory_growth) ? FM_CHANGE_BETTER : FM_CHANGE_SAME;
    return add(c, &row, err) ? FM_OK : FM_NOMEM;
}

/* ---- throughput: the ratio now, the verdict when all are known ---- */

/* the ratio, its p-value */
static void set_ratio(struct fm_comparison *c, struct fm_compared *row, const struct fm_interval *was, const struct fm_interval *is)
{
    struct fm_night_error known = FM_NIGHT_ERROR_UNKNOWN;
    if (c->limits.night_error) known = c->limits.night_error(c->limits.context, row->base, row->batch);
    struct fm_night_error night = fm_night_error_moderated(known);
    row->ratio = fm_interval_ratio(is, was);
    row->ratio = fm_interval_widen(row->ratio, sqrt(2) * night.error, night.freedom);
    if (!row->ratio.interval_known) {
        (void)snprintf(row->note, sizeof row->note, "%zu and %zu launches: two of each are needed", was->launches, is->launches);
        return;
    }
    double distance = log(row->ratio.point) - log(1 - c->limits.max_slowdown);
    row->night_error = night.error;
    row->night_assumed = !isfinite(known.error);
    row->p = fm_student_cdf(distance / row->ratio.log_error, row->ratio.freedom);
}

/* was it not timed because of others? */
static bool is_untimed(const struct fm_result *r, const struct fm_result_cell *cell, int64_t batch)
{
    for (size_t i = 0; i < r->row_count; i++) {
        const struct fm_result_row *row = &r->rows[i];
        if (row->untimed && !row->superseded && row->batch == batch && strcmp(r->cells[row->cell].train_id, cell->train_id) == 0 &&
            strcmp(r->cells[row->cell].device, cell->device) == 0)
            return true;
    }
    return false;
}

static fm_status compare_rate(struct fm_comparison *c, const struct fm_compared *of, int64_t batch, struct fm_err *err)
{
    const struct fm_result_point *was = find_point(c->base, of->base, batch), *is = find_point(c->now, of->now, batch);
    struct fm_compared row = *of;
    if (!was) return FM_OK;
    row.what = "samples/s";
    row.batch = batch;
    row.was = was->samples_per_s.point;
    row.change = FM_CHANGE_WORSE;
    if (is) {
        row.is = is->samples_per_s.point;
        row.change = FM_CHANGE_UNDECIDED;
        if (was->shared == 1 || is->shared == 1) {
            /* who else used the device, and how much, differs from run to run */
            row.change = FM_CHANGE_INCOMPARABLE;
            (void)snprintf(row.note, sizeof row.note, "others used the device while it was timed%s", was->shared != 1 ? " in the new run"
                           : is->shared != 1 ? " in the base run" : "");
        } else {
            set_ratio(c, &row, &was->samples_per_s, &is->samples_per_s);
        }
    } else if (batch > of->now->max_train) {
        return FM_OK;               /* the max batch says it */
    } else {
        row.change = FM_CHANGE_UNDECIDED;
        (void)snprintf(row.note, sizeof row.note, "not timed at this batch in the new run%s",
                       is_untimed(c->now, of->now, batch) ? ": others used the device" : "");
    }
    if (!add(c, &row, err)) return FM_NOMEM;
    return is ? compare_peak(c, of, was, is, err) : FM_OK;
}

static int64_t knee_of(const struct fm_result *r, const struct fm_result_cell *cell)
{
    return cell->knee == FM_NO_POINT ? -1 : r->points[cell->knee].batch;
}

static bool has_interval(const struct fm_result *r, const struct fm_result_cell *cell, int64_t batch)
{
    const struct fm_result_point *p = find_point(r, cell, batch);
    return p && p->samples_per_s.interval_known;
}

/* At the base's knee, the new run's and the base's largest batch, wherever both runs have the launches to tell: noise moves
 * the knee from run to run, and only the knee and the largest batch are launched again. Where none of them does, the first is
 * compared for what it says: undecided. */
static fm_status compare_rates(struct fm_comparison *c, const struct fm_compared *of, struct fm_err *err)
{
    const int64_t batch[] = { knee_of(c->base, of->base), knee_of(c->now, of->now), of->base->max_train };
    fm_status status = FM_OK;
    bool any = false;
    for (size_t i = 0; i < 3; i++) {
        bool again = (i > 0 && batch[i] == batch[0]) || (i > 1 && batch[i] == batch[1]);
        if (again || batch[i] <= 0 || !has_interval(c->base, of->base, batch[i]) || !has_interval(c->now, of->now, batch[i])) continue;
        FM_TRY(compare_rate(c, of, batch[i], err));
        any = true;
    }
    for (size_t i = 0; i < 3 && !any; i += 2) {
        if (batch[i] <= 0) continue;
        FM_TRY(compare_rate(c, of, batch[i], err));
        any = true;
    }
out:
    return status;
}

static fm_status compare_cell(struct fm_comparison *c, const struct fm_result_cell *base, struct fm_err *err)
{
    char a[32], b[32];
    const char *was_seed = text_of(c->base->run, "seed", a), *is_seed = text_of(c->now->run, "seed", b);
    struct fm_compared row = { .base = base, .now = find_cell(c->now, base), .batch = -1, .was = NAN, .is = NAN,
                               .night_error = NAN, .p = NAN };
    struct fm_compared outcome = row;
    fm_status status = FM_OK;
    if (base->planned) return FM_OK;            /* a plan is no measurement */
    bool go_on = compare_outcome(c, &outcome, (!was_seed && !is_seed) || (was_seed && is_seed && strcmp(was_seed, is_seed) == 0));
    if (!add(c, &outcome, err)) return FM_NOMEM;
    if (!go_on) return FM_OK;
    FM_TRY(compare_max(c, &row, "max batch", base->max_train, row.now->max_train, err));
    if (base->validates) FM_TRY(compare_max(c, &row, "max val batch", base->max_val, row.now->max_val, err));
    FM_TRY(compare_rates(c, &row, err));
out:
    return status;
}

/* ---- Holm ---- */

static int by_p(const void *a, const void *b)
{
    const struct fm_compared *x = *(const struct fm_compared *const *)a, *y = *(const struct fm_compared *const *)b;
    return x->p < y->p ? -1 : x->p > y->p;
}

/* Holm's step-down: the smallest p is held against ALARM / n, the next against ALARM / (n - 1), until one does not alarm */
static fm_status judge_rates(struct fm_comparison *c, struct fm_err *err)
{
    size_t n = 0;
    struct fm_compared **test = fm_calloc(c->count + 1, sizeof *test);
    if (!test) return FM_FAIL(err, FM_NOMEM, "%zu tests", c->count);
    for (size_t i = 0; i < c->count; i++)
        if (!isnan(c->item[i].p)) test[n++] = &c->item[i];
    qsort(test, n, sizeof *test, by_p);
    bool alarm = true;
    for (size_t i = 0; i < n; i++) {
        struct fm_compared *row = test[i];
        alarm = alarm && row->p < ALARM / (double)(n - i);
        bool beyond = row->ratio.point < 1 - c->limits.max_slowdown;
        row->change = alarm ? FM_CHANGE_WORSE : beyond ? FM_CHANGE_UNDECIDED : row->ratio.lo > 1 + c->limits.max_slowdown ? FM_CHANGE_BETTER
                                                                                                                     : FM_CHANGE_SAME;
        if (!alarm && beyond) (void)snprintf(row->note, sizeof row->note, "slower than the limit, not surely: more launches or nights would tell");
    }
    fm_free(test);
    return FM_OK;
}

static void sum_up(struct fm_comparison *c)
{
    size_t judged = 0;
    for (size_t i = 0; i < c->count; i++) {
        enum fm_change change = c->item[i].change;
        c->worse += change == FM_CHANGE_WORSE;
        c->better += change == FM_CHANGE_BETTER;
        c->undecided += change == FM_CHANGE_UNDECIDED;
        c->incomparable += change == FM_CHANGE_INCOMPARABLE;
        judged += change != FM_CHANGE_INCOMPARABLE;
    }
    c->change = c->worse ? FM_CHANGE_WORSE : !judged ? FM_CHANGE_INCOMPARABLE : c->undecided ? FM_CHANGE_UNDECIDED
                : c->better ? FM_CHANGE_BETTER : FM_CHANGE_SAME;
}

fm_status fm_compare(const struct fm_result *base, const struct fm_result *now, const struct fm_compare_limits *limits,
                     struct fm_comparison *out, struct fm_err *err)
{
    fm_status status = FM_OK;
    *out = (struct fm_comparison){ .base = base, .now = now, .limits = *limits };
    if (!(limits->max_slowdown >= 0 && limits->max_slowdown < 1))
        return FM_FAIL(err, FM_INVALID, "the tolerated slowdown is %g; it must be at least 0 and below 1", limits->max_slowdown);
    if (!(limits->max_memory_growth >= 0) || !isfinite(limits->max_memory_growth))
        return FM_FAIL(err, FM_INVALID, "the tolerated growth of memory is %g; it must be 0 or more", limits->max_memory_growth);
    list_differences(out);
    for (size_t i = 0; i < base->cell_count; i++) FM_TRY(compare_cell(out, &base->cells[i], err));
    FM_TRY(judge_rates(out, err));
    sum_up(out);
out:
    if (status != FM_OK) fm_comparison_release(out);
    return status;
}

void fm_comparison_release(struct fm_comparison *comparison)
{
    fm_free(comparison->item);
    *comparison = (struct fm_comparison){ 0 };
}
