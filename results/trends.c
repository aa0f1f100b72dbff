#include "results/trends.h"

#include <math.h>
#include <string.h>

#include "probes/measure/statistics.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define PERMUTATIONS 999
#define SIDE_MIN 2
#define TEST_NIGHTS_MIN 6       /* below it no permutation can reach the level */
#define LEVEL 0.01
#define LEAST_CHANGE 0.01
#define STREAM 0x74726e64
/* Degrees of freedom of night_error's square, a night: simulated for normal nights, 5 to 60 of them, 0.29 to 0.51 */
#define FREEDOM_A_NIGHT 0.3

/* largest two-sample t over all splits; *split: first index of the right side. Sums over prefixes: one pass. */
static double largest_t(const double *x, size_t n, size_t *split)
{
    double sum = 0, squares = 0, left = 0, left_squares = 0, best = -1;
    for (size_t i = 0; i < n; i++) sum += x[i], squares += x[i] * x[i];
    for (size_t k = 1; k + SIDE_MIN <= n; k++) {
        left += x[k - 1];
        left_squares += x[k - 1] * x[k - 1];
        if (k < SIDE_MIN) continue;
        double a = (double)k, b = (double)(n - k), right = sum - left, right_squares = squares - left_squares;
        double within = (left_squares - left * left / a + right_squares - right * right / b) / ((double)n - 2);
        double distance = fabs(left / a - right / b);
        double t = distance / sqrt((within > 1e-18 ? within : 1e-18) * (1 / a + 1 / b));
        if (t > best) best = t, *split = k;
    }
    return best;
}

static void shuffle(double *x, size_t n, uint64_t seed, uint64_t round)
{
    for (size_t i = n - 1; i > 0; i--) {
        size_t k = (size_t)(fm_rng_u64(seed, STREAM, round * FM_TREND_NIGHTS_MAX + i) % (i + 1));
        double keep = x[i];
        x[i] = x[k];
        x[k] = keep;
    }
}

static double median_of(const double *value, size_t n, double *scratch)
{
    double median = NAN;
    memcpy(scratch, value, n * sizeof *value);
    fm_sort_f64(scratch, n);
    (void)fm_median(scratch, n, &median);
    return median;
}

static void find_noisy(const double *value, const double *logs, size_t n, double *scratch, uint64_t seed, struct fm_trend *out)
{
    size_t split = 0, other;
    if (n < TEST_NIGHTS_MIN) return;
    double t = largest_t(logs, n, &split);
    uint32_t beyond = 0;
    memcpy(scratch, logs, n * sizeof *logs);
    for (uint32_t round = 0; round < PERMUTATIONS; round++) {
        shuffle(scratch, n, seed, round);
        beyond += largest_t(scratch, n, &other) >= t;
    }
    out->p = (1.0 + beyond) / (1.0 + PERMUTATIONS);
    out->change = split;
    out->before = median_of(value, split, scratch);
    out->after = median_of(value + split, n - split, scratch);
    out->changed = out->p <= LEVEL && fabs(out->after / out->before - 1) >= LEAST_CHANGE;
}

static void find_exact(const double *value, size_t n, struct fm_trend *out)
{
    for (size_t i = n - 1; i > 0 && !out->changed; i--) {
        if (value[i] == value[i - 1]) continue;
        out->changed = true;
        out->change = i;
        out->before = value[i - 1];
        out->after = value[i];
    }
}

/* the median of |differences| is 0.6745 * sqrt(2) standard deviations */
static struct fm_night_error night_error(const double *logs, size_t n, double *scratch)
{
    double median;
    if (n < FM_TREND_NIGHTS_MIN) return FM_NIGHT_ERROR_UNKNOWN;
    for (size_t i = 1; i < n; i++) scratch[i - 1] = fabs(logs[i] - logs[i - 1]);
    fm_sort_f64(scratch, n - 1);
    if (!fm_median(scratch, n - 1, &median)) return FM_NIGHT_ERROR_UNKNOWN;
    return (struct fm_night_error){ .error = median / (0.674489750196 * sqrt(2)), .freedom = FREEDOM_A_NIGHT * (double)(n - 1) };
}

struct fm_night_error fm_night_error_moderated(struct fm_night_error known)
{
    double squares = FM_NIGHT_FREEDOM_ASSUMED * FM_NIGHT_ERROR_ASSUMED * FM_NIGHT_ERROR_ASSUMED, freedom = FM_NIGHT_FREEDOM_ASSUMED;
    if (isfinite(known.error) && known.freedom > 0) {
        squares += known.freedom * known.error * known.error;
        freedom += known.freedom;
    }
    return (struct fm_night_error){ .error = sqrt(squares / freedom), .freedom = freedom };
}

fm_status fm_trend_of(const double *value, size_t nights, bool exact, uint64_t seed, struct fm_trend *out, struct fm_err *err)
{
    *out = (struct fm_trend){ .nights = nights, .before = NAN, .after = NAN, .p = NAN,
                              .night_error = FM_NIGHT_ERROR_UNKNOWN };
    if (!nights || nights > FM_TREND_NIGHTS_MAX)
        return FM_FAIL(err, FM_INVALID, "%zu nights; from 1 to %d are taken", nights, FM_TREND_NIGHTS_MAX);
    out->first = out->lowest = out->highest = value[0];
    out->last = value[nights - 1];
    double *logs = fm_calloc(nights, sizeof *logs), *scratch = fm_calloc(nights, sizeof *scratch);
    fm_status status = logs && scratch ? FM_OK : FM_FAIL(err, FM_NOMEM, "%zu nights", nights);
    for (size_t i = 0; i < nights && status == FM_OK; i++) {
        if (!isfinite(value[i]) || (!exact && value[i] <= 0)) status = FM_FAIL(err, FM_INVALID, "night %zu: %g is no figure", i, value[i]);
        else logs[i] = exact ? 0 : log(value[i]);
        if (value[i] < out->lowest) out->lowest = value[i];
        if (value[i] > out->highest) out->highest = value[i];
    }
    if (status == FM_OK && exact) {
        find_exact(value, nights, out);
    } else if (status == FM_OK) {
        out->night_error = night_error(logs, nights, scratch);
        find_noisy(value, logs, nights, scratch, seed, out);
    }
    fm_free(logs);
    fm_free(scratch);
    return status;
}
