#include "probes/measure/stopping.h"

#include <assert.h>
#include <math.h>

fm_status fm_stop_init(struct fm_stop *stop, const struct fm_stop_rule *rule, struct fm_err *err)
{
    if (rule->min_count < 2 || rule->max_count < rule->min_count)
        return FM_FAIL(err, FM_INVALID, "stopping rule: counts %u ... %u; need 2 <= minimum <= maximum",
                       rule->min_count, rule->max_count);
    if (!(rule->max_relative_error > 0) || !(rule->noise_tolerance > 0))
        return FM_FAIL(err, FM_INVALID, "stopping rule: error %g and noise tolerance %g must be above 0",
                       rule->max_relative_error, rule->noise_tolerance);
    if (rule->noise_window < 2 || rule->noise_window > FM_STOP_WINDOW_MAX)
        return FM_FAIL(err, FM_INVALID, "stopping rule: noise window %u is not in 2 ... %d",
                       rule->noise_window, FM_STOP_WINDOW_MAX);
    if (rule->max_total_ns <= 0)
        return FM_FAIL(err, FM_INVALID, "stopping rule: time limit %lld ns must be above 0",
                       (long long)rule->max_total_ns);
    *stop = (struct fm_stop){ .rule = *rule };
    return FM_OK;
}

static bool noise_settled(const struct fm_stop *stop)
{
    uint32_t window = stop->rule.noise_window;
    if (stop->noise_count < window) return false;
    double low = INFINITY, high = 0, sum = 0;
    for (uint32_t i = 0; i < window; i++) {
        double noise = stop->noise[i];
        if (noise < low) low = noise;
        if (noise > high) high = noise;
        sum += noise;
    }
    return high - low <= stop->rule.noise_tolerance * sum / window;
}

static enum fm_stop_reason judge(const struct fm_stop *stop)
{
    const struct fm_stop_rule *rule = &stop->rule;
    double error;
    if (stop->accepted.count >= rule->min_count && fm_running_relative_error(&stop->accepted, &error)) {
        if (error < rule->max_relative_error) return FM_STOP_PRECISE;
        if (noise_settled(stop)) return FM_STOP_SETTLED;
    }
    if (stop->accepted.count + stop->throttled >= rule->max_count) return FM_STOP_COUNT;
    if (stop->total_ns >= rule->max_total_ns) return FM_STOP_TIME;
    return FM_STOP_RUNNING;
}

void fm_stop_add(struct fm_stop *stop, struct fm_sample sample)
{
    assert(sample.step_ns >= 0);
    if (stop->reason != FM_STOP_RUNNING) return;
    if (sample.step_ns > INT64_MAX - stop->total_ns) stop->total_ns = INT64_MAX;
    else stop->total_ns += sample.step_ns;
    if (stop->warmup < stop->rule.warmup_count) {
        stop->warmup++;
        return;
    }
    if (sample.throttled) {
        stop->throttled++;
    } else {
        double noise;
        fm_running_add(&stop->accepted, (double)sample.step_ns);
        if (fm_running_noise(&stop->accepted, &noise))
            stop->noise[stop->noise_count++ % stop->rule.noise_window] = noise;
    }
    stop->reason = judge(stop);
}

enum fm_stop_reason fm_stop_reason(const struct fm_stop *stop)
{
    return stop->reason;
}

const char *fm_stop_reason_name(enum fm_stop_reason reason)
{
    switch (reason) {
    case FM_STOP_RUNNING: return "running";
    case FM_STOP_PRECISE: return "precise";
    case FM_STOP_SETTLED: return "settled";
    case FM_STOP_COUNT: return "count";
    case FM_STOP_TIME: return "time";
    }
    return "unknown";
}
