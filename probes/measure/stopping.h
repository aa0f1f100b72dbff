/* When to stop taking samples: an object that is fed them, without a clock or a device.
 *
 *     struct fm_stop stop;
 *     fm_stop_init(&stop, &rule, err);
 *     while (fm_stop_reason(&stop) == FM_STOP_RUNNING) fm_stop_add(&stop, take_a_sample());
 *
 * The first warmup_count samples are not judged, nor are throttled ones. Then, after each sample:
 *   precise   the standard error of the mean is below max_relative_error of it
 *   settled   the noise (standard deviation / mean) itself stopped changing: its last noise_window
 *             estimates lie within noise_tolerance of their mean. More samples would not tell more
 *             about this machine (the stdrel criterion of nvbench does the same).
 *   count     max_count samples after the warm-up, throttled ones included: it cannot run forever
 *   time      max_total_ns of samples, warm-up and throttled ones included, but never before one
 *             sample after the warm-up
 * Precise and settled need min_count accepted samples. */
#ifndef FM_PROBES_MEASURE_STOPPING_H
#define FM_PROBES_MEASURE_STOPPING_H

#include <stdint.h>

#include "probes/measure/statistics.h"
#include "tuner/base/status.h"

#define FM_STOP_WINDOW_MAX 64

struct fm_stop_rule {
    uint32_t warmup_count;
    uint32_t min_count;             /* >= 2 */
    uint32_t max_count;             /* >= min_count */
    double max_relative_error;      /* > 0 */
    uint32_t noise_window;          /* 2 ... FM_STOP_WINDOW_MAX */
    double noise_tolerance;         /* > 0 */
    int64_t max_total_ns;           /* > 0 */
};

#define FM_STOP_RULE_DEFAULT                                                              \
    ((struct fm_stop_rule){ .warmup_count = 2, .min_count = 5, .max_count = 200,          \
                            .max_relative_error = 0.005, .noise_window = 16,              \
                            .noise_tolerance = 0.05, .max_total_ns = INT64_C(10000000000) })

enum fm_stop_reason {
    FM_STOP_RUNNING, FM_STOP_PRECISE, FM_STOP_SETTLED, FM_STOP_COUNT, FM_STOP_TIME
};

struct fm_stop {                    /* read the counts; the rest is private */
    struct fm_stop_rule rule;
    struct fm_running accepted;
    uint32_t warmup, throttled;     /* samples of each kind; warm-up ones are not told apart */
    int64_t total_ns;
    double noise[FM_STOP_WINDOW_MAX];
    uint64_t noise_count;
    enum fm_stop_reason reason;
};

/* INVALID: a rule that could not stop or not start */
FM_MUST_USE fm_status fm_stop_init(struct fm_stop *stop, const struct fm_stop_rule *rule, struct fm_err *err);
void fm_stop_add(struct fm_stop *stop, struct fm_sample sample);    /* ignored once stopped */
enum fm_stop_reason fm_stop_reason(const struct fm_stop *stop);
const char *fm_stop_reason_name(enum fm_stop_reason reason);        /* "running", "precise", ... */

#endif
