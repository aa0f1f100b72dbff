#include "tuner/search/plan_max.h"

#include <assert.h>
#include <string.h>

#include "tuner/search/search.h"

#define BOUNDARIES_MAX 8            /* where memory is not monotone, this many are looked for */
#define FEW 10
#define AIMED_MAX 16                /* more plans than that, and the middle is always next */
#define COARSE 32                   /* where fragments matter, they take some per cent: steps are this part of the batch at first */
#define EVALUATIONS_MAX (BOUNDARIES_MAX * (160 + FM_PLAN_MAX_AHEAD))    /* the safeguards keep one below 5 * 30 + a few */

struct evaluation {
    int64_t batch;
    struct fm_plan_need need;
};

struct finder {
    const struct fm_plan_max_query *query;
    struct evaluation done[EVALUATIONS_MAX];    /* in order of evaluation */
    int count, calls;
    struct evaluation fit, fit_before;          /* largest two that fit; batch 0: none */
    struct evaluation misfit;                   /* smallest above fit that does not; batch 0: none */
    int extrapolations;                         /* since the start */
    int misses;                                 /* interpolations that were not the end */
    int near;                                   /* those of them below a misfit that only fragments keep out */
    int in_a_row;                               /* of the same verdict, up to the last one */
    bool last_fits;
};

/* each batch once, and once more where its verdict was only assumed; *out is where its answer is kept */
static fm_status ask(struct finder *f, int64_t batch, struct fm_plan_need want, const struct evaluation **out, struct fm_err *err)
{
    int at = 0;
    while (at < f->count && f->done[at].batch != batch) at++;
    *out = &f->done[at < EVALUATIONS_MAX ? at : 0];
    if (at == EVALUATIONS_MAX) return FM_FAIL(err, FM_FAILED, "no end of the search after %d plans", EVALUATIONS_MAX);
    if (at < f->count && (want.least_only || !f->done[at].need.assumed)) return FM_OK;
    struct evaluation e = { .batch = batch, .need = want };
    fm_status status = f->query->need(f->query->context, batch, &e.need, err);
    if (status != FM_OK) return status;
    assert(want.least_only || !e.need.assumed);
    f->calls++;
    f->done[at] = e;
    if (at == f->count) f->count++;
    return FM_OK;
}

/* The first two are far below the answer, as a rule: but where few samples fill the memory, the second is near it. */
static fm_status evaluate(struct finder *f, int64_t batch, struct fm_err *err)
{
    struct fm_plan_need want = { .verdict_only = f->fit.need.least_bytes != 0, .least_only = !f->count || (f->count == 1 && batch > FEW) };
    const struct evaluation *e;
    fm_status status = ask(f, batch, want, &e, err);
    if (status != FM_OK) return status;
    f->in_a_row = e->need.fits == f->last_fits ? f->in_a_row + 1 : 1;
    f->last_fits = e->need.fits;
    if (e->need.fits) {
        f->fit_before = f->fit;
        f->fit = *e;
    } else {
        f->misfit = *e;
    }
    return FM_OK;
}

/* The verdict on a fit that was assumed. Where it is not one, the largest below that may be takes its place. */
static fm_status confirm(struct finder *f, struct fm_err *err)
{
    const struct evaluation *e;
    fm_status status = ask(f, f->fit.batch, (struct fm_plan_need){ .verdict_only = true }, &e, err);
    if (status != FM_OK) return status;
    if (e->need.fits) {
        f->fit = *e;
        return FM_OK;
    }
    f->misfit = *e;
    f->fit = f->fit_before = (struct evaluation){ 0 };
    for (int i = 0; i < f->count; i++)
        if (f->done[i].need.fits && f->done[i].batch < f->misfit.batch && f->done[i].batch > f->fit.batch) f->fit = f->done[i];
    return FM_OK;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* where the line through two points (batch, bytes) meets the capacity, rounded down; -1: it says nothing */
static int64_t meets_capacity(const struct finder *f, int64_t a, uint64_t a_bytes, int64_t b, uint64_t b_bytes)
{
    if (!a_bytes || a_bytes >= b_bytes || f->query->capacity_bytes < a_bytes) return -1;
    double share = (double)(f->query->capacity_bytes - a_bytes) / (double)(b_bytes - a_bytes);
    double batch = (double)a + share * (double)(b - a);
    return batch < (double)FM_SEARCH_BATCH_LIMIT ? (int64_t)batch : FM_SEARCH_BATCH_LIMIT;
}

/* by what is needed, or, where it is known, by what never shrinks: that is nearly a line, and bounds the answer from above */
static int64_t secant(const struct finder *f, const struct evaluation *a, const struct evaluation *b)
{
    bool least = a->need.least_bytes && b->need.least_bytes;
    return meets_capacity(f, a->batch, least ? a->need.least_bytes : a->need.bytes, b->batch, least ? b->need.least_bytes : b->need.bytes);
}

/* 0, 0, 1, 2, 4, ...: how far a step must go at least, so that wrong lines cannot make it crawl */
static int64_t least_step(int steps)
{
    return steps < 2 ? 0 : INT64_C(1) << (steps - 2 < 30 ? steps - 2 : 30);
}

static int64_t extrapolate(struct finder *f)
{
    const struct evaluation *last = &f->fit;
    uint64_t bytes = last->need.least_bytes ? last->need.least_bytes : last->need.bytes;
    int64_t batch;
    if (f->fit_before.batch)
        batch = secant(f, &f->fit_before, last);
    else        /* a line through the origin: needs less than the true one there, if any bytes are fixed */
        batch = bytes ? (int64_t)(f->query->capacity_bytes / bytes) : -1;
    if (batch < 0) batch = 2 * last->batch;
    int64_t least = last->batch + least_step(++f->extrapolations);
    if (batch < least) batch = least;
    return clamp(batch, last->batch + 1, f->query->max_batch);
}

/* only fragments keep the misfit out */
static bool is_near(const struct finder *f)
{
    uint64_t least_bytes = f->misfit.need.least_bytes;
    return f->fit.need.least_bytes && least_bytes && least_bytes <= f->query->capacity_bytes;
}

/* down from such a misfit, as long as no fit says what fragments take */
static int64_t coarse_step(const struct finder *f)
{
    int64_t step = least_step(f->in_a_row);
    return (f->misfit.batch / COARSE + 1) * (step + !step);
}

/* going down so far came to the middle: is what was assumed to fit none? */
static bool is_doubtful(const struct finder *f)
{
    return f->fit.need.assumed && is_near(f) && coarse_step(f) > (f->misfit.batch - f->fit.batch) / 2;
}

/* Where it is known what share fragments take of a fit, there that share ends; else, and where that did not lead, in growing
 * steps from the last verdict; never past the middle. */
static int64_t approach(struct finder *f)
{
    const struct fm_plan_need *fit = &f->fit.need;
    int64_t low = f->fit.batch, high = f->misfit.batch, middle = low + (high - low) / 2;
    int64_t step = least_step(f->in_a_row);
    f->near++;
    if (!fit->bytes) return clamp(high - coarse_step(f), middle > low ? middle : low + 1, high - 1);
    double share = (double)fit->bytes / (double)fit->least_bytes;
    int64_t aim = meets_capacity(f, low, fit->bytes, high, (uint64_t)(share * (double)f->misfit.need.least_bytes));
    if (aim < 0 || f->near > AIMED_MAX) aim = middle;
    if (f->last_fits) aim = clamp(aim, low + step < middle ? low + step : middle, high);
    else aim = clamp(aim, low, high - step > middle ? high - step : middle);
    return clamp(aim, low + 1, high - 1);
}

static int64_t interpolate(struct finder *f)
{
    int64_t low = f->fit.batch, high = f->misfit.batch, middle = low + (high - low) / 2;
    if (is_near(f)) return approach(f);
    int64_t batch = secant(f, &f->fit, &f->misfit);
    if (batch < 0) return middle;
    int64_t step = least_step(f->misses);
    if (f->last_fits) {
        int64_t least = clamp(low + step, low, middle);
        if (batch < least) batch = least;
    } else {
        int64_t most = clamp(high - step, middle, high);
        if (batch > most) batch = most;
    }
    return clamp(batch, low + 1, high - 1);
}

static bool is_non_monotone(const struct finder *f)
{
    for (int i = 0; i < f->count; i++)
        for (int j = 0; j < f->count; j++) {
            const struct evaluation *a = &f->done[i], *b = &f->done[j];
            if (a->batch < b->batch && b->need.bytes && b->need.bytes < a->need.bytes) return true;
        }
    return false;
}

/* from the largest fit, if there is one, to the next boundary */
static fm_status find_boundary(struct finder *f, struct fm_err *err)
{
    const int64_t limit = f->query->max_batch;
    fm_status status = FM_OK;
    for (;;) {
        bool open = f->fit.batch < limit && (!f->misfit.batch || f->misfit.batch - f->fit.batch > 1);
        if (status != FM_OK || (!open && !f->fit.need.assumed)) break;
        if (!open || is_doubtful(f)) {
            status = confirm(f, err);
        } else if (!f->misfit.batch) {
            status = evaluate(f, extrapolate(f), err);
        } else {
            status = evaluate(f, interpolate(f), err);
            f->misses++;
        }
    }
    return status;
}

/* Above a boundary: does a larger batch fit, where less is wasted? One by one, until one needs too much for certain. */
static fm_status look_ahead(struct finder *f, bool *found, struct fm_err *err)
{
    struct evaluation at = f->misfit;
    int64_t last = at.batch + FM_PLAN_MAX_AHEAD;
    *found = false;
    if (last > f->query->max_batch) last = f->query->max_batch;
    while (at.batch < last && at.need.least_bytes && at.need.least_bytes <= f->query->capacity_bytes) {
        const struct evaluation *next;
        fm_status status = ask(f, at.batch + 1, (struct fm_plan_need){ .verdict_only = true }, &next, err);
        if (status != FM_OK) return status;
        at = *next;
        if (!at.need.fits) continue;
        f->fit = at;
        f->fit_before = f->misfit = (struct evaluation){ 0 };
        f->extrapolations = f->misses = f->near = f->in_a_row = 0;
        *found = true;
        break;
    }
    return FM_OK;
}

/* the largest batch below the answer that does not fit; 0: none was seen */
static int64_t misfit_below(const struct finder *f)
{
    int64_t batch = 0;
    for (int i = 0; i < f->count; i++)
        if (!f->done[i].need.fits && f->done[i].batch < f->fit.batch && f->done[i].batch > batch) batch = f->done[i].batch;
    return batch;
}

fm_status fm_plan_max_batch(const struct fm_plan_max_query *query, struct fm_plan_max_answer *answer,
                            struct fm_err *err)
{
    *answer = (struct fm_plan_max_answer){0};
    if (query->max_batch < 1 || query->max_batch > FM_SEARCH_BATCH_LIMIT)
        return FM_FAIL(err, FM_INVALID, "plan: max batch %lld is not in 1 ... %lld",
                       (long long)query->max_batch, (long long)FM_SEARCH_BATCH_LIMIT);
    struct finder f;
    memset(&f, 0, sizeof f);
    f.query = query;
    fm_status status = evaluate(&f, 1, err);
    bool again = f.fit.batch > 0;
    for (int i = 0; i < BOUNDARIES_MAX && again && status == FM_OK; i++) {
        again = false;
        status = find_boundary(&f, err);
        if (status == FM_OK && f.misfit.batch && i + 1 < BOUNDARIES_MAX) status = look_ahead(&f, &again, err);
    }
    answer->evaluations = f.calls;
    if (status != FM_OK) return status;
    answer->max_batch = f.fit.batch;
    answer->bytes = f.fit.need.bytes;
    answer->at_limit = f.fit.batch == query->max_batch;
    answer->non_monotone = is_non_monotone(&f);
    answer->misfit_below = misfit_below(&f);
    return FM_OK;
}
