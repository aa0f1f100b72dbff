/* Intervals over launches: closed forms, coverage of a known truth, determinism, unknown as a state. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "probes/measure/interval.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define assert_close(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))
#define STEPS 9
#define LAUNCHES_MAX 12

struct campaign {
    struct fm_sample samples[LAUNCHES_MAX][STEPS];
    struct fm_launch launches[LAUNCHES_MAX];
};

/* launches differ by `between`, steps within one by `within`: relative standard deviations */
static void synthesize(struct campaign *c, size_t launches, double between, double within, uint64_t seed)
{
    for (size_t l = 0; l < launches; l++) {
        double level = 1e8 * exp(between * fm_rng_normal(seed, 1, l));
        for (size_t i = 0; i < STEPS; i++) {
            double step = level * exp(within * fm_rng_normal(seed, 2, l * STEPS + i));
            c->samples[l][i] = (struct fm_sample){ (int64_t)step, false };
        }
        c->launches[l] = (struct fm_launch){ c->samples[l], STEPS };
    }
}

static struct fm_interval interval_of(const struct fm_launch *launches, size_t count, uint64_t seed)
{
    struct fm_interval interval;
    assert_int_equal(fm_interval_of_launches(launches, count, seed, &interval, NULL), FM_OK);
    if (interval.interval_known)
        assert_true(interval.lo <= interval.point && interval.point <= interval.hi && interval.lo > 0);
    return interval;
}

static void test_closed_forms(void **state)
{
    const struct fm_sample s[] = { { 100, false }, { 200, false }, { 400, false }, { 7, true } };
    const struct fm_launch l[] = { { s, 1 }, { s + 2, 2 }, { s + 1, 1 }, { s + 3, 1 } };
    (void)state;
    struct fm_interval v = interval_of(l, 4, 1);        /* the last launch was throttled throughout */
    assert_int_equal(v.launches, 3);
    assert_close(v.point, 200, 1e-9);
    /* medians of 3 resampled of 3, a factor 2 apart: 7, 13, 7 of 27; variance 14/27 log(2)^2 */
    assert_close(v.log_error, sqrt(14.0 / 27) * log(2), 0.03);
    assert_close(v.hi / v.point, exp(4.3027 * v.log_error), 1e-6);
    assert_close(v.point / v.lo, v.hi / v.point, 1e-9);
    v = interval_of(l, 2, 1);                           /* two: as the mean of two */
    assert_close(v.point, 200, 1e-9);
    assert_close(v.log_error, log(4) / 2, 0.03);
}

static void test_unknown_is_a_state(void **state)
{
    const struct fm_sample good = { 100, false }, slow = { 300, true };
    const struct fm_launch l[] = { { &slow, 1 }, { &good, 1 }, { &good, 0 } };
    (void)state;
    struct fm_interval v = interval_of(NULL, 0, 1);
    assert_false(v.point_known || v.interval_known);
    v = interval_of(l, 1, 1);
    assert_false(v.point_known || v.interval_known);
    v = interval_of(l, 3, 1);
    assert_true(v.point_known);
    assert_false(v.interval_known);
    assert_close(v.point, 100, 1e-9);
    struct fm_interval rate = fm_interval_rate(&v, 4);
    assert_close(rate.point, 4e7, 1e-3);
    assert_false(rate.interval_known);
    struct fm_interval ratio = fm_interval_ratio(&v, &v);
    assert_true(ratio.point_known);
    assert_false(ratio.interval_known);
}

static void test_equal_launches_have_no_width(void **state)
{
    const struct fm_sample s = { 12345, false };
    const struct fm_launch l[] = { { &s, 1 }, { &s, 1 }, { &s, 1 } };
    (void)state;
    struct fm_interval v = interval_of(l, 3, 1);
    assert_true(v.interval_known);
    assert_true(v.lo == v.point && v.point == v.hi);
    struct fm_interval ratio = fm_interval_ratio(&v, &v);
    assert_true(ratio.interval_known && ratio.lo == 1 && ratio.hi == 1);
}

static void test_deterministic(void **state)
{
    struct campaign c;
    (void)state;
    synthesize(&c, 5, 0.01, 0.05, 3);
    struct fm_interval a = interval_of(c.launches, 5, 11), b = interval_of(c.launches, 5, 11);
    struct fm_interval other = interval_of(c.launches, 5, 12);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(other.lo != a.lo);
    assert_close(other.lo / a.lo, 1, 0.01);
    struct fm_launch shuffled[5];                       /* the order of the launches says nothing */
    for (size_t i = 0; i < 5; i++) shuffled[i] = c.launches[(i * 3 + 1) % 5];
    b = interval_of(shuffled, 5, 11);
    assert_memory_equal(&a, &b, sizeof a);
}

/* 95 % wanted; simulated for the method 95 to 97.5 %. Binomial deviation of 2000 trials: 0.5 %. */
static void check_coverage(size_t launches, double between, double within)
{
    enum { TRIALS = 2000 };
    struct campaign a, b;
    int covered = 0, ratio_covered = 0;
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        synthesize(&a, launches, between, within, 2 * trial);
        struct fm_interval va = interval_of(a.launches, launches, trial);
        covered += va.lo <= 1e8 && 1e8 <= va.hi;
        if (trial % 4) continue;
        synthesize(&b, launches, 3 * between, within, 2 * trial + 1);
        struct fm_interval vb = interval_of(b.launches, launches, trial), ratio = fm_interval_ratio(&va, &vb);
        ratio_covered += ratio.lo <= 1 && 1 <= ratio.hi;
    }
    const double trials = TRIALS;
    double share = covered / trials, ratio_share = ratio_covered / (trials / 4);
    print_message("%zu launches, %.1f %% between, %.1f %% within: %.1f %% covered; ratios %.1f %%\n",
                  launches, 100 * between, 100 * within, 100 * share, 100 * ratio_share);
    assert_true(share >= 0.95 - 0.02 && share <= 0.99);
    assert_true(ratio_share >= 0.95 - 0.04);
}

static void test_coverage(void **state)
{
    (void)state;
    check_coverage(2, 0.02, 0.01);
    check_coverage(3, 0.02, 0.01);
    check_coverage(3, 0.001, 0.05);
    check_coverage(5, 0.02, 0.05);
    check_coverage(10, 0.05, 0.02);
}

static void test_rates_and_ratios(void **state)
{
    struct campaign c;
    (void)state;
    synthesize(&c, 4, 0.02, 0.02, 8);
    struct fm_interval t = interval_of(c.launches, 4, 1), rate = fm_interval_rate(&t, 8);
    assert_close(rate.point * t.point / 8e9, 1, 1e-12);
    assert_close(rate.lo * t.hi / 8e9, 1, 1e-12);
    assert_close(rate.hi * t.lo / 8e9, 1, 1e-12);
    struct fm_interval twice = fm_interval_rate(&t, 16), ratio = fm_interval_ratio(&twice, &rate);
    assert_close(ratio.point, 2, 1e-12);
    assert_close(ratio.freedom, 6, 1e-9);               /* equal variances: all 4 + 4 - 2 */
    assert_close(ratio.log_error, t.log_error * sqrt(2), 1e-12);
}

static void test_student(void **state)
{
    (void)state;
    assert_close(fm_student_975(1), 12.706, 1e-3);
    assert_close(fm_student_975(2.99), 4.3027, 1e-4);
    assert_close(fm_student_975(40), 2.02108, 2e-5);
    assert_close(fm_student_975(120), 1.97993, 2e-5);
    assert_close(fm_student_975(1e9), 1.959964, 1e-6);
    for (double n = 1; n < 100; n++) assert_true(fm_student_975(n) > fm_student_975(n + 1));
}

static void test_errors(void **state)
{
    const struct fm_sample s[] = { { 100, false }, { 0, false }, { 110, false } };
    const struct fm_launch l[] = { { s, 1 }, { s + 2, 1 }, { s + 1, 1 } };
    struct fm_interval v;
    struct fm_err err = { .status = FM_OK };
    (void)state;
    assert_int_equal(fm_interval_of_launches(l, 3, 1, &v, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "0 ns"));
    for (long n = 0;; n++) {
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_interval_of_launches(l, 2, 1, &v, NULL);
        assert_int_equal(status, fm_fault.hits ? FM_NOMEM : FM_OK);
        assert_int_equal(fm_memory_live, 0);
        if (!fm_fault.hits) break;
    }
    fm_fault = (struct fm_fault){0};
}

/* by a further error: none changes nothing; as large a one as its own gives what a ratio of two such intervals has */
static void test_widen(void **state)
{
    (void)state;
    struct fm_interval v = { .point_known = true, .interval_known = true, .point = 5, .lo = 4, .hi = 6, .launches = 4,
                             .log_error = 0.03, .freedom = 3 };
    struct fm_interval same = fm_interval_widen(v, 0, 7), ratio = fm_interval_ratio(&v, &v), wide = fm_interval_widen(v, 0.03, 3);
    assert_true(same.lo == v.lo && same.hi == v.hi && same.freedom == v.freedom);
    assert_true(fabs(wide.log_error - ratio.log_error) < 1e-15 && fabs(wide.freedom - ratio.freedom) < 1e-12);
    assert_true(wide.point == 5 && fabs(wide.lo / 5 - ratio.lo) < 1e-12 && fabs(wide.hi / 5 - ratio.hi) < 1e-12);
    v.log_error = 0;                    /* the other error is all there is */
    wide = fm_interval_widen(v, 0.02, 4);
    assert_true(fabs(wide.log_error - 0.02) < 1e-15 && fabs(wide.freedom - 4) < 1e-12);
    v.interval_known = false;
    assert_false(fm_interval_widen(v, 0.02, 4).interval_known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_unknown_is_a_state),
        cmocka_unit_test(test_equal_launches_have_no_width),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_rates_and_ratios),
        cmocka_unit_test(test_widen),
        cmocka_unit_test(test_student),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
