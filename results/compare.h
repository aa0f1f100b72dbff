/* Is a new run worse than an earlier one? Cells are matched by id and device; judged are, cell by cell:
 *
 *   outcome      ok became something else, or the cell is missing, not finished, not certified any more, or mistrusted:
 *                worse. Never a pass.
 *   max batch    training and validation, exactly: smaller is worse
 *   memory       measured peak at a batch that both ran, exactly: worse beyond max_memory_growth
 *   throughput   samples/s at both runs' knees and the base's largest batch, where both have two launches or more. The unit is the worker launch (probes/measure/interval.h),
 *                the figure the ratio new / base on a logarithmic scale. Worse only where the ratio's interval lies wholly
 *                beyond the limit: Student's one-sided test of "not slower than the limit", its p-values corrected over all
 *                throughput figures of the comparison (Holm 1979) at 2.5 %. Undecided where either side has fewer than two
 *                launches, or where the ratio itself is beyond the limit and its interval is not.
 *
 * How much a figure moves from night to night is added to the error of the ratio, once for each side: launches of one night
 * share more than launches of two. History tells it; while it knows few nights, or there is none, trends.h assumes it. A night
 * of history has its launches' error in it too, which so counts twice: on the cautious side.
 *
 * Devices of another name, instruction set or thread count, and runs of another seed or memory limit, are not comparable.
 * Other drivers, libraries and versions of fillmark are what a comparison is for: they are listed first.
 * Pure; texts are borrowed from the two results, which must outlive the comparison. */
#ifndef FM_RESULTS_COMPARE_H
#define FM_RESULTS_COMPARE_H

#include "results/fold.h"
#include "results/trends.h"
#include "tuner/base/buf.h"

enum fm_change { FM_CHANGE_SAME, FM_CHANGE_BETTER, FM_CHANGE_WORSE, FM_CHANGE_UNDECIDED, FM_CHANGE_INCOMPARABLE };
const char *fm_change_name(enum fm_change change);

struct fm_compare_limits {
    double max_slowdown;            /* 0.05: five percent fewer samples/s are tolerated; in [0, 1) */
    double max_memory_growth;       /* 0.02; >= 0 */
    /* of samples/s; NULL: no history */
    struct fm_night_error (*night_error)(void *context, const struct fm_result_cell *cell, int64_t batch);
    void *context;
};

struct fm_compared {
    const struct fm_result_cell *base, *now;    /* now NULL: missing */
    const char *what;               /* "outcome", "max batch", "max val batch", "peak", "samples/s" */
    int64_t batch;                  /* of peak and samples/s; else -1 */
    double was, is;                 /* NaN: none, or unknown */
    struct fm_interval ratio;       /* samples/s: is / was */
    double night_error;             /* samples/s: reckoned with; NaN: no test */
    bool night_assumed;             /* history knows too little of it */
    double p;                       /* samples/s: of a slowdown within the limit; NaN: no test */
    enum fm_change change;
    char note[160];                 /* why, where the figures do not say it */
};

struct fm_comparison {
    const struct fm_result *base, *now;
    struct fm_compare_limits limits;
    struct fm_compared *item;
    size_t count, capacity;
    char difference[16][200];       /* driver, library, tool, host: "library: oneDNN 2.6, now oneDNN 3.1" */
    size_t differences;
    enum fm_change change;          /* of all: worse, else incomparable (nothing was comparable), else undecided, else same */
    uint32_t worse, better, undecided, incomparable;
};

/* INVALID: limits out of range; NOMEM. On failure there is nothing to release. */
fm_status fm_compare(const struct fm_result *base, const struct fm_result *now, const struct fm_compare_limits *limits,
                     struct fm_comparison *out, struct fm_err *err) FM_MUST_USE;
void fm_comparison_release(struct fm_comparison *comparison);

/* what changed around, what is worse, undecided, better; then a line that sums up. NOMEM */
fm_status fm_comparison_text(const struct fm_comparison *comparison, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
/* one JSON object, docs/schema/comparison.schema.json. NOMEM */
fm_status fm_comparison_json(const struct fm_comparison *comparison, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
