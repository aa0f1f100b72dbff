/* What a series of nights says about one figure. Pure.
 *
 * change      the night from which on the figure is another one. A noisy figure (samples/s): the split with the largest
 *             two-sample t of the logarithms, at least 2 nights on each side, and its p-value by 999 seeded permutations
 *             (the maximum over splits is permuted too, so that searching for the split is paid for). It counts if
 *             p <= 0.01 and the medians differ by 1 % or more. An exact figure (largest batch, bytes): the last night that
 *             differs from the one before.
 * night_error standard deviation of the logarithm from night to night, from differences of successive nights, so that a
 *             change or a drift does not count as noise (von Neumann 1941); by their median, so that one bad night does
 *             not either. Needs FM_TREND_NIGHTS_MIN nights, else NaN.
 * moderated   what a comparison reckons with. A few nights say little: of five, every eighth estimate is below half of the
 *             truth (simulated). So it begins with an assumption and goes over to what the nights say, variances weighted by
 *             their degrees of freedom (Smyth 2004, the moderated t). The assumption is that, no measurement: 2 %, with eight
 *             degrees. Simulated in tests/results: with it, nights that move by 2 % raise no alarm at the default limits. */
#ifndef FM_RESULTS_TRENDS_H
#define FM_RESULTS_TRENDS_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tuner/base/status.h"

#define FM_TREND_NIGHTS_MIN 5
#define FM_TREND_NIGHTS_MAX 4096
#define FM_NIGHT_ERROR_ASSUMED 0.02
#define FM_NIGHT_FREEDOM_ASSUMED 8.0

struct fm_night_error {
    double error;               /* standard deviation of the logarithm from night to night; NaN: not known */
    double freedom;             /* degrees of freedom behind it; 0: not known */
};
#define FM_NIGHT_ERROR_UNKNOWN ((struct fm_night_error){ .error = NAN })

/* never unknown */
struct fm_night_error fm_night_error_moderated(struct fm_night_error known);

struct fm_trend {
    size_t nights;
    double first, last, lowest, highest;
    bool changed;
    size_t change;              /* index of the first night of the new figure */
    double before, after;       /* medians on both sides */
    double p;                   /* NaN: exact, or too few nights for a test */
    struct fm_night_error night_error;
};

/* value[nights], oldest first, each > 0 if noisy; nights >= 1. INVALID, NOMEM */
fm_status fm_trend_of(const double *value, size_t nights, bool exact, uint64_t seed, struct fm_trend *out,
                      struct fm_err *err) FM_MUST_USE;

#endif
