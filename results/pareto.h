/* Which measured points are worth having, and the order of the cells.
 *
 * A point is one measured (cell, batch). Objectives: peak device bytes (less is better), samples/s
 * (more is better), and in the second front FLOPs a sample (more is better: a larger model).
 *
 * A dominates B when A's worst bound is at least as good as B's best bound in each objective, and
 * strictly better in one. With exact figures that is the usual Pareto dominance; with intervals it
 * claims only what the measurement shows. It is a strict partial order.
 *
 * A rate whose interval is not known (one launch) counts as exact, so that a run cut short still has a
 * front. Any true interval holds the point, so it could only take dominance away: who is on the front
 * stays there. Who is off it only because of such figures is `tentative`.
 *
 * Fronts: `on_front` among the points of one device and model_id; `on_model_front` among those of one
 * device and workload, with FLOPs a sample as third objective. A cell is on a front if any of its
 * points is. Rank: within device and model_id, by samples/s at the knee, ties by peak bytes there;
 * cells equal in both share a rank.
 *
 * Pure. The order of cells and points in the arrays changes nothing. Strings are borrowed. */
#ifndef FM_RESULTS_PARETO_H
#define FM_RESULTS_PARETO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tuner/base/status.h"

struct fm_pareto_front {
    bool member;
    bool tentative;             /* not a member, but each point that dominates it, or it itself, has no interval */
};

struct fm_pareto_cell {
    const char *device, *workload, *model_id;
    double flops_per_sample;
    bool flops_known;           /* else it takes no part in the model front */
    int64_t knee_batch;         /* 0: not known; the cell is not ranked */
    /* set by fm_pareto() */
    size_t rank;                /* from 1; 0: not ranked, no knee or no point there */
    struct fm_pareto_front front, model_front;
};

struct fm_pareto_point {
    size_t cell;                /* index */
    int64_t batch;              /* >= 1; once a cell */
    uint64_t bytes_lo, bytes_hi;                /* peak device bytes; equal if exact */
    double samples_per_s;                       /* > 0 */
    double samples_per_s_lo, samples_per_s_hi;  /* if interval_known: lo <= samples_per_s <= hi */
    bool interval_known;
    /* set by fm_pareto() */
    struct fm_pareto_front front, model_front;
};

/* what dominance compares; leave flops_per_sample equal to compare without it */
struct fm_pareto_bounds {
    uint64_t bytes_lo, bytes_hi;
    double samples_per_s_lo, samples_per_s_hi;
    double flops_per_sample;
};

bool fm_pareto_dominates(const struct fm_pareto_bounds *a, const struct fm_pareto_bounds *b);

/* Sets the marks of all cells and points. INVALID: a figure that cannot be (not finite, bounds the
 * wrong way round, a batch twice), naming the point. NOMEM */
FM_MUST_USE fm_status fm_pareto(struct fm_pareto_cell *cells, size_t cell_count,
                                struct fm_pareto_point *points, size_t point_count, struct fm_err *err);

#endif
