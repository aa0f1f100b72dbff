/* Running moments, order statistics, summaries and the stopping rule, against closed forms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "probes/measure/statistics.h"
#include "probes/measure/stopping.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define assert_close(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

static void test_running_moments(void **state)
{
    struct fm_running r = {0};
    double v;
    (void)state;
    assert_false(fm_running_variance(&r, &v));
    for (int i = 1; i <= 1000; i++) {
        fm_running_add(&r, 1e9 + i);        /* a large offset: sums of squares would lose all digits */
        assert_true(fm_running_variance(&r, &v) == (i >= 2));
    }
    assert_close(r.mean, 1e9 + 500.5, 1e-6);
    assert_close(v, 1000 * 1001 / 12.0, 1e-4);       /* (n^2 + n) / 12 for 1 ... n, unbiased */
    r = (struct fm_running){0};
    fm_running_add(&r, 90);
    assert_false(fm_running_relative_error(&r, &v));
    fm_running_add(&r, 110);
    assert_true(fm_running_noise(&r, &v));
    assert_close(v, sqrt(200) / 100, 1e-12);
    assert_true(fm_running_relative_error(&r, &v));
    assert_close(v, 0.1, 1e-12);
    r = (struct fm_running){0};             /* a mean of 0 has no relative error */
    fm_running_add(&r, 0);
    fm_running_add(&r, 0);
    assert_false(fm_running_noise(&r, &v));
}

static void test_order_statistics(void **state)
{
    double v, four[] = { 4, 1, 3, 2 }, five[] = { 1, 1, 2, 7, 100 };
    (void)state;
    assert_false(fm_median(four, 0, &v));
    assert_false(fm_mad(four, 0, &v));
    fm_sort_f64(four, 4);
    assert_true(fm_median(four, 4, &v));
    assert_close(v, 2.5, 0);
    assert_true(fm_quantile(four, 4, 0, &v) && v == 1);
    assert_true(fm_quantile(four, 4, 1, &v) && v == 4);
    assert_true(fm_quantile(four, 4, 0.25, &v) && v == 1.75);
    assert_true(fm_quantile(four, 1, 0.9, &v) && v == 1);
    assert_true(fm_mad(five, 5, &v));       /* deviations 1 1 0 5 98 */
    assert_close(v, 1, 0);
}

/* the rank definition of the median and of quantiles, by counting, on random inputs with ties */
static void test_median_by_counting(void **state)
{
    double values[40], m;
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        size_t n = 1 + fm_rng_u64(seed, 1, 0) % 40, below = 0, above = 0;
        for (size_t i = 0; i < n; i++) values[i] = (double)(fm_rng_u64(seed, 2, i) % 12);
        fm_sort_f64(values, n);
        assert_true(fm_median(values, n, &m));
        for (size_t i = 0; i < n; i++) {
            below += values[i] < m;
            above += values[i] > m;
            if (i) assert_true(values[i - 1] <= values[i]);
        }
        assert_true(below <= n / 2 && above <= n / 2);
    }
}

static void test_summary(void **state)
{
    const struct fm_sample s[] = { { 30, false }, { 10, false }, { 900, true }, { 20, false } };
    struct fm_summary m;
    (void)state;
    assert_int_equal(fm_summarize(s, 4, &m, NULL), FM_OK);
    assert_int_equal(m.accepted, 3);
    assert_int_equal(m.throttled, 1);
    assert_true(m.known && m.spread_known);
    assert_close(m.median_ns, 20, 0);
    assert_close(m.mean_ns, 20, 1e-12);
    assert_close(m.stdev_ns, 10, 1e-12);
    assert_close(m.mad_ns, 10, 0);
    assert_close(m.min_ns, 10, 0);
    assert_close(m.max_ns, 30, 0);
    assert_int_equal(fm_summarize(s + 2, 1, &m, NULL), FM_OK);      /* throttled alone: nothing is known */
    assert_false(m.known);
    assert_int_equal(m.throttled, 1);
    assert_int_equal(fm_summarize(NULL, 0, &m, NULL), FM_OK);
    assert_false(m.known);
    assert_int_equal(fm_summarize(s, 1, &m, NULL), FM_OK);
    assert_true(m.known && !m.spread_known);
    fm_fault = (struct fm_fault){ .armed = true };
    assert_int_equal(fm_summarize(s, 4, &m, NULL), FM_NOMEM);
    fm_fault = (struct fm_fault){0};
    assert_int_equal(fm_memory_live, 0);
}

/* --- the stopping rule ----------------------------------------------------------------------------- */

typedef struct fm_sample (*sampler)(uint64_t i);

static struct fm_stop feed(const struct fm_stop_rule *rule, sampler next)
{
    struct fm_stop stop;
    assert_int_equal(fm_stop_init(&stop, rule, NULL), FM_OK);
    for (uint64_t i = 0; fm_stop_reason(&stop) == FM_STOP_RUNNING; i++) {
        assert_true(i < 100000);
        fm_stop_add(&stop, next(i));
    }
    return stop;
}

static struct fm_sample constant(uint64_t i) { (void)i; return (struct fm_sample){ 1000, false }; }
static struct fm_sample warming(uint64_t i) { return (struct fm_sample){ i < 3 ? 9000 : 1000, false }; }
static struct fm_sample alternating(uint64_t i) { return (struct fm_sample){ i % 2 ? 900 : 1100, false }; }
static struct fm_sample throttled(uint64_t i) { (void)i; return (struct fm_sample){ 1000, true }; }
static struct fm_sample half_throttled(uint64_t i) { return (struct fm_sample){ i % 2 ? 9000 : 1000, i % 2 == 1 }; }
static struct fm_sample drifting(uint64_t i)
{
    return (struct fm_sample){ (int64_t)(1000 * pow(1.1, (double)i)), false };
}
static struct fm_sample hour(uint64_t i) { (void)i; return (struct fm_sample){ INT64_C(3600000000000), false }; }
static struct fm_sample zero(uint64_t i) { (void)i; return (struct fm_sample){ 0, false }; }

static void test_stops_when_precise(void **state)
{
    struct fm_stop_rule rule = FM_STOP_RULE_DEFAULT;
    (void)state;
    struct fm_stop stop = feed(&rule, constant);
    assert_int_equal(stop.reason, FM_STOP_PRECISE);
    assert_int_equal(stop.accepted.count, rule.min_count);
    assert_int_equal(stop.warmup, rule.warmup_count);
    fm_stop_add(&stop, hour(0));                /* ignored once stopped */
    assert_int_equal(stop.accepted.count, rule.min_count);

    /* 900, 1100, ...: stdev -> 100, error 0.1 / sqrt(n): below 1 % just beyond n = 100 */
    rule.max_relative_error = 0.01;
    rule.noise_tolerance = 1e-9;
    stop = feed(&rule, alternating);
    assert_int_equal(stop.reason, FM_STOP_PRECISE);
    assert_in_range(stop.accepted.count, 100, 103);
    assert_close(stop.accepted.mean, 1000, 1.1);

    rule.warmup_count = 3;                      /* slow first steps are not judged, their time counts */
    stop = feed(&rule, warming);
    assert_int_equal(stop.reason, FM_STOP_PRECISE);
    assert_close(stop.accepted.mean, 1000, 0);
    assert_int_equal(stop.total_ns, 3 * 9000 + rule.min_count * 1000);
}

static void test_stops_when_noise_settles(void **state)
{
    struct fm_stop_rule rule = FM_STOP_RULE_DEFAULT;
    (void)state;
    rule.max_relative_error = 1e-6;
    struct fm_stop stop = feed(&rule, alternating);
    assert_int_equal(stop.reason, FM_STOP_SETTLED);
    assert_in_range(stop.accepted.count, rule.noise_window + 1, 40);
    rule.noise_tolerance = 0.01;
    rule.max_total_ns = INT64_MAX;          /* ever slower: nothing settles, it runs into the limit */
    stop = feed(&rule, drifting);
    assert_int_equal(stop.reason, FM_STOP_COUNT);
    assert_int_equal(stop.accepted.count, rule.max_count);
}

static void test_limits(void **state)
{
    struct fm_stop_rule rule = FM_STOP_RULE_DEFAULT;
    (void)state;
    struct fm_stop stop = feed(&rule, throttled);       /* none accepted: stops, with nothing */
    assert_int_equal(stop.reason, FM_STOP_COUNT);
    assert_int_equal(stop.accepted.count, 0);
    assert_int_equal(stop.throttled, rule.max_count);
    stop = feed(&rule, half_throttled);
    assert_int_equal(stop.reason, FM_STOP_PRECISE);
    assert_close(stop.accepted.mean, 1000, 0);
    stop = feed(&rule, hour);                           /* too slow: one sample after the warm-up */
    assert_int_equal(stop.reason, FM_STOP_TIME);
    assert_int_equal(stop.accepted.count, 1);
    stop = feed(&rule, zero);                           /* no time at all: no relative error */
    assert_int_equal(stop.reason, FM_STOP_COUNT);
    assert_string_equal(fm_stop_reason_name(stop.reason), "count");
}

static void test_bad_rules(void **state)
{
    struct fm_stop stop;
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct fm_stop_rule rule = FM_STOP_RULE_DEFAULT;
        struct fm_err err = { .status = FM_OK };
        if (i == 0) rule.min_count = 1;
        if (i == 1) rule.max_count = rule.min_count - 1;
        if (i == 2) rule.max_relative_error = 0;
        if (i == 3) rule.noise_tolerance = NAN;
        if (i == 4) rule.noise_window = 1;
        if (i == 5) rule.noise_window = FM_STOP_WINDOW_MAX + 1;
        if (i == 6) rule.max_total_ns = 0;
        assert_int_equal(fm_stop_init(&stop, &rule, &err), i == 7 ? FM_OK : FM_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_running_moments),
        cmocka_unit_test(test_order_statistics),
        cmocka_unit_test(test_median_by_counting),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_stops_when_precise),
        cmocka_unit_test(test_stops_when_noise_settles),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bad_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
