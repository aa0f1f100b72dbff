/* The largest batch a plan says fits, with few evaluations: each one lowers and replays a step program.
 *
 * Memory is nearly affine in the batch, so the search steps along secants (regula falsi), and gallops and bisects where they
 * do not converge. 3 to 5 evaluations for an affine cost, 5 to 6 on average for a stepped one, and never more than about
 * 2 log2(max_batch) + 4 to a boundary. The answer is always a boundary that was evaluated on both sides: fits at max_batch,
 * does not fit at max_batch + 1 (or max_batch is the limit).
 *
 * Where the callback knows `least_bytes`, batches far below the answer are only asked for that, and the verdict is asked for
 * where the answer turns out to be one of them. What is needed beyond it, fragments of memory, is taken to be the same share
 * at neighbouring batches: about 10 evaluations where it is. Where memory is not monotone in the batch (fragmentation,
 * convolution workspaces) a larger one may fit: batches above the first boundary are evaluated one by one as long as
 * `least_bytes` leaves them a chance, at most FM_PLAN_MAX_AHEAD in a row. `non_monotone` is set when one evaluation needed
 * less than another at a smaller batch, `misfit_below` when one below the answer does not fit.
 *
 * Units: bytes, samples. Pure but for the callback. */
#ifndef FM_TUNER_SEARCH_PLAN_MAX_H
#define FM_TUNER_SEARCH_PLAN_MAX_H

#include <stdbool.h>
#include <stdint.h>

#include "tuner/base/status.h"

#define FM_PLAN_MAX_AHEAD 4

struct fm_plan_need {
    bool verdict_only;          /* given: `bytes` is not looked at unless it fits */
    bool least_only;            /* given: far from the answer; `least_bytes` will do, if it is less work */
    bool assumed;               /* `fits` says only that least_bytes is within the capacity; if least_only */
    uint64_t bytes;             /* what the batch would take; 0 if not known: only slows the search */
    uint64_t least_bytes;       /* a part of it that never shrinks as the batch grows; 0: not known */
    bool fits;                  /* the verdict; it counts, not the bytes */
};

struct fm_plan_max_query {
    fm_status (*need)(void *context, int64_t batch, struct fm_plan_need *need, struct fm_err *err);
    void *context;              /* borrowed */
    uint64_t capacity_bytes;    /* where the secants aim */
    int64_t max_batch;          /* 1 ... FM_SEARCH_BATCH_LIMIT: none above is evaluated */
};

struct fm_plan_max_answer {
    int64_t max_batch;          /* 0: batch 1 does not fit */
    uint64_t bytes;             /* needed at max_batch; 0 if max_batch is 0 or it is not known */
    bool at_limit;              /* it fits at the limit; nothing above was evaluated */
    bool non_monotone;
    int64_t misfit_below;       /* the largest batch below max_batch found not to fit; 0: none was */
    int evaluations;
};

/* INVALID: max_batch out of range; or what the callback failed with */
FM_MUST_USE fm_status fm_plan_max_batch(const struct fm_plan_max_query *query,
                                        struct fm_plan_max_answer *answer, struct fm_err *err);

#endif
