/* The knee of a throughput curve, and the throughput of a batch over its launches: one definition for the campaign, which
 * decides by it what to measure again, and for the results, which show it. Pure; nothing is owned. */
#ifndef FM_PROBES_MEASURE_KNEE_H
#define FM_PROBES_MEASURE_KNEE_H

#include <stddef.h>
#include <stdint.h>

#define FM_KNEE_TOLERANCE 0.05

struct fm_knee_point {
    int64_t batch;
    double samples_per_s;       /* NAN or not positive: not measured, left out */
};

/* The smallest batch whose samples/s is at least (1 - tolerance) of the best; 0: none was measured.
 * Points in any order; tolerance in [0, 1). */
int64_t fm_knee(const struct fm_knee_point *points, size_t count, double tolerance);

/* Median of the launches' rates, on their logarithms as interval.h takes it of times; sorts them. NAN: none. Rates > 0. */
double fm_rate_of_launches(double *rates, size_t count);

#endif
