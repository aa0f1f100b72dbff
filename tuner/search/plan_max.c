#include "tuner/search/plan_max.h"

#include <assert.h>
#include <string.h>

#include "tuner/search/search.h"

#define EVALUATIONS_MAX 128         /* the safeguards keep it below 2 * 30 + a few */

struct evaluation {
    int64_t batch;
    struct fm_plan_need need;
};

struct finder {
    const struct fm_plan_max_query *query;
    struct evaluation done[EVALUATIONS_MAX];    /* in order of evaluation */
    int count;
    struct evaluation fit, fit_before;          /* largest two that fit; batch 0: none */
    struct evaluation misfit;                   /* smallest above fit that does not; batch 0: none */
    int extrapolations;                         /* since the start */
    int misses;                                 /* interpolations that were not the end */
};

static fm_status evaluate(struct finder *f, int64_t batch, struct fm_err *err)
{
    assert(f->count < EVALUATIONS_MAX);
    struct evaluation *e = &f->done[f->count];
    *e = (struct evaluation){ .batch = batch };
    fm_status status = f->query->need(f->query->context, batch, &e->need, err);
    if (status != FM_OK) return status;
    f->count++;
    if (e->need.fits) {
        f->fit_before = f->fit;
        f->fit = *e;
    } else {
        f->misfit = *e;
    }
    return FM_OK;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* where the line through two evaluations meets the capacity, rounded down; -1: it says nothing */
static int64_t secant(const struct finder *f, const struct evaluation *a, const struct evaluation *b)
{
    if (!a->need.bytes || a->need.bytes >= b->need.bytes || f->query->capacity_bytes < a->need.bytes) return -1;
    double share = (double)(f->query->capacity_bytes - a->need.bytes) / (double)(b->need.bytes - a->need.bytes);
    double batch = (double)a->batch + share * (double)(b->batch - a->batch);
    return batch < (double)FM_SEARCH_BATCH_LIMIT ? (int64_t)batch : FM_SEARCH_BATCH_LIMIT;
}

/* 0, 0, 1, 2, 4, ...: how far a step must go at least, so that wrong lines cannot make it crawl */
static int64_t least_step(int steps)
{
    return steps < 2 ? 0 : INT64_C(1) << (steps - 2 < 30 ? steps - 2 : 30);
}

static int64_t extrapolate(struct finder *f)
{
    const struct evaluation *last = &f->fit;
    int64_t batch;
    if (f->fit_before.batch)
        batch = secant(f, &f->fit_before, last);
    else        /* a line through the origin: needs less than the true one there, if any bytes are fixed */
        batch = last->need.bytes ? (int64_t)(f->query->capacity_bytes / last->need.bytes) : -1;
    if (batch < 0) batch = 2 * last->batch;
    int64_t least = last->batch + least_step(++f->extrapolations);
    if (batch < least) batch = least;
    return clamp(batch, last->batch + 1, f->query->max_batch);
}

static int64_t interpolate(const struct finder *f)
{
    int64_t low = f->fit.batch, high = f->misfit.batch, middle = low + (high - low) / 2;
    int64_t batch = secant(f, &f->fit, &f->misfit);
    if (batch < 0) return middle;
    int64_t step = least_step(f->misses);
    if (f->done[f->count - 1].need.fits) {
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
    while (status == FM_OK && f.fit.batch < query->max_batch
           && (!f.misfit.batch || f.misfit.batch - f.fit.batch > 1)) {
        if (!f.misfit.batch) {
            status = evaluate(&f, extrapolate(&f), err);
        } else {
            status = evaluate(&f, interpolate(&f), err);
            f.misses++;
        }
    }
    answer->evaluations = f.count;
    if (status != FM_OK) return status;
    answer->max_batch = f.fit.batch;
    answer->bytes = f.fit.need.bytes;
    answer->at_limit = f.fit.batch == query->max_batch;
    answer->non_monotone = is_non_monotone(&f);
    return FM_OK;
}
