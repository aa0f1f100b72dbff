#include "probes/measure/statistics.h"

#include <math.h>
#include <stdlib.h>

#include "tuner/base/memory.h"

void fm_running_add(struct fm_running *running, double value)
{
    running->count++;
    double delta = value - running->mean;
    running->mean += delta / (double)running->count;
    running->m2 += delta * (value - running->mean);
}

bool fm_running_variance(const struct fm_running *running, double *variance)
{
    if (running->count < 2) return false;
    *variance = running->m2 / (double)(running->count - 1);
    return true;
}

bool fm_running_noise(const struct fm_running *running, double *noise)
{
    double variance;
    if (!(running->mean > 0) || !fm_running_variance(running, &variance)) return false;
    *noise = sqrt(variance) / running->mean;
    return true;
}

bool fm_running_relative_error(const struct fm_running *running, double *error)
{
    if (!fm_running_noise(running, error)) return false;
    *error /= sqrt((double)running->count);
    return true;
}

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void fm_sort_f64(double *values, size_t count)
{
    if (count > 1) qsort(values, count, sizeof *values, compare_f64);
}

bool fm_quantile(const double *sorted, size_t count, double q, double *quantile)
{
    if (!count) return false;
    double at = q * (double)(count - 1);
    size_t low = (size_t)at, high = low + 1 < count ? low + 1 : low;
    *quantile = sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
    return true;
}

bool fm_median(const double *sorted, size_t count, double *median)
{
    return fm_quantile(sorted, count, 0.5, median);
}

bool fm_mad(double *values, size_t count, double *mad)
{
    double median;
    fm_sort_f64(values, count);
    if (!fm_median(values, count, &median)) return false;
    for (size_t i = 0; i < count; i++) values[i] = fabs(values[i] - median);
    fm_sort_f64(values, count);
    return fm_median(values, count, mad);
}

fm_status fm_summarize(const struct fm_sample *samples, size_t count, struct fm_summary *summary,
                       struct fm_err *err)
{
    *summary = (struct fm_summary){0};
    double *accepted = fm_calloc(count, sizeof *accepted);
    if (!accepted) return FM_FAIL(err, FM_NOMEM, "summary of %zu samples", count);
    struct fm_running running = {0};
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (samples[i].throttled) continue;
        accepted[n++] = (double)samples[i].step_ns;
        fm_running_add(&running, (double)samples[i].step_ns);
    }
    summary->accepted = n;
    summary->throttled = count - n;
    fm_sort_f64(accepted, n);
    summary->known = fm_median(accepted, n, &summary->median_ns);
    if (summary->known) {
        double variance;
        summary->mean_ns = running.mean;
        summary->min_ns = accepted[0];
        summary->max_ns = accepted[n - 1];
        summary->spread_known = fm_running_variance(&running, &variance);
        if (summary->spread_known) summary->stdev_ns = sqrt(variance);
        (void)fm_mad(accepted, n, &summary->mad_ns);
    }
    fm_free(accepted);
    return FM_OK;
}
