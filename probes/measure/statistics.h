/* Statistics of step times: running moments, order statistics, and the summary of a launch's samples.
 *
 * Pure functions. What cannot be known is a state: a function that has no answer returns false, or
 * leaves its `..._known` false, and never writes 0 instead. Units are those of the samples: ns. */
#ifndef FM_PROBES_MEASURE_STATISTICS_H
#define FM_PROBES_MEASURE_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tuner/base/status.h"

struct fm_sample {
    int64_t step_ns;            /* one whole step, >= 0 */
    bool throttled;             /* the device was slowed down meanwhile: kept, counted, not summarized */
};

/* count, mean and sum of squared deviations, updated one by one (Welford 1962). Zero-initialize. */
struct fm_running {
    uint64_t count;
    double mean, m2;
};

void fm_running_add(struct fm_running *running, double value);
/* unbiased; false with fewer than two values */
bool fm_running_variance(const struct fm_running *running, double *variance);
/* standard deviation / mean; false with fewer than two values or a mean that is not positive */
bool fm_running_noise(const struct fm_running *running, double *noise);
/* standard error of the mean / mean = noise / sqrt(count); false as above */
bool fm_running_relative_error(const struct fm_running *running, double *error);

void fm_sort_f64(double *values, size_t count);     /* ascending; no NAN */
/* q in [0, 1], linear between order statistics (Hyndman and Fan 1996, type 7); false if count is 0 */
bool fm_quantile(const double *sorted, size_t count, double q, double *quantile);
bool fm_median(const double *sorted, size_t count, double *median);
/* median absolute deviation from the median, not scaled; overwrites values, in any order */
bool fm_mad(double *values, size_t count, double *mad);

struct fm_summary {
    size_t accepted, throttled;
    bool known;                 /* at least one accepted: median, mad, mean, min, max hold */
    bool spread_known;          /* at least two: stdev holds */
    double median_ns, mad_ns, mean_ns, stdev_ns, min_ns, max_ns;
};

/* NOMEM */
FM_MUST_USE fm_status fm_summarize(const struct fm_sample *samples, size_t count,
                                   struct fm_summary *summary, struct fm_err *err);

#endif
