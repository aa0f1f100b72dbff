/* How sure a step time or a throughput is: 95 % intervals that bootstrap over worker launches.
 *
 * Steps within one launch share their memory layout, clocks and neighbours, so they are correlated:
 * the unit of replication is the launch (Kalibera and Jones 2013). The statistic is the median of the
 * launches' medians. Its standard error comes from resampling launches (Efron 1979) on the logarithms
 * of their medians, so that an interval of times turns into one of rates; the interval is Student's
 * with launches - 1 degrees of freedom. The plain percentile bootstrap is not used because it cannot
 * leave the range of the data: with 3 launches it covers the true value in 75 % of cases, not in 95 %.
 *
 * Fewer than 2 launches with an accepted sample: the point may be known, the interval is not.
 * Deterministic given the seed. Nothing is owned. */
#ifndef FM_PROBES_MEASURE_INTERVAL_H
#define FM_PROBES_MEASURE_INTERVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probes/measure/statistics.h"
#include "tuner/base/status.h"

struct fm_launch {
    const struct fm_sample *samples;    /* borrowed; throttled ones are left out */
    size_t count;
};

struct fm_interval {
    bool point_known, interval_known;
    double point;                       /* > 0 */
    double lo, hi;                      /* lo <= point <= hi; 95 % */
    size_t launches;                    /* that had an accepted sample */
    double log_error;                   /* standard error of log(point), if interval_known */
    double freedom;                     /* degrees of freedom, if interval_known */
};

/* Of the median step time, in ns. INVALID: an accepted sample of 0 ns or less. NOMEM */
FM_MUST_USE fm_status fm_interval_of_launches(const struct fm_launch *launches, size_t count, uint64_t seed,
                                              struct fm_interval *interval, struct fm_err *err);
/* samples/s, from a step time in ns and the samples one optimizer step takes */
struct fm_interval fm_interval_rate(const struct fm_interval *step_ns, double samples_per_step);
/* a / b of two independent measurements; degrees of freedom by Welch and Satterthwaite */
struct fm_interval fm_interval_ratio(const struct fm_interval *a, const struct fm_interval *b);

/* The same, with an independent further error of its logarithm: both errors squared add up, degrees of freedom by Welch and
 * Satterthwaite. freedom > 0. Unchanged if it is no interval or log_error is not above 0. */
struct fm_interval fm_interval_widen(struct fm_interval interval, double log_error, double freedom);

/* 0.975 quantile of Student's distribution; freedom >= 1, rounded down */
double fm_student_975(double freedom);
/* P(T <= t) of Student's distribution, freedom > 0, to about 1e-12; NaN for NaN */
double fm_student_cdf(double t, double freedom);

#endif
