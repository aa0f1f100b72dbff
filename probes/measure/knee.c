#include "probes/measure/knee.h"

#include <math.h>
#include <stdbool.h>

#include "probes/measure/statistics.h"

static bool is_measured(const struct fm_knee_point *point)
{
    return isfinite(point->samples_per_s) && point->samples_per_s > 0;
}

int64_t fm_knee(const struct fm_knee_point *points, size_t count, double tolerance)
{
    double best = 0;
    for (size_t i = 0; i < count; i++)
        if (is_measured(&points[i]) && points[i].samples_per_s > best) best = points[i].samples_per_s;
    int64_t knee = 0;
    for (size_t i = 0; i < count; i++)
        if (is_measured(&points[i]) && points[i].samples_per_s >= (1 - tolerance) * best
            && (!knee || points[i].batch < knee))
            knee = points[i].batch;
    return knee;
}

double fm_rate_of_launches(double *rates, size_t count)
{
    if (!count) return NAN;
    fm_sort_f64(rates, count);
    return count % 2 ? rates[count / 2] : sqrt(rates[count / 2 - 1]) * sqrt(rates[count / 2]);
}
