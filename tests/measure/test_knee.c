/* The knee, by hand-made curves, and the rate of launches against that of fm_interval_of_launches. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probes/measure/interval.h"
#include "probes/measure/knee.h"
#include "tuner/base/rng.h"

static void test_knee(void **state)
{
    const struct fm_knee_point saturating[] = { { 16, 100 }, { 1, 40 }, { 4, 94.9 }, { 8, 95 }, { 2, 70 }, { 32, 96 } };
    const struct fm_knee_point unknown[] = { { 1, NAN }, { 2, 0 } };
    (void)state;
    assert_int_equal(fm_knee(saturating, 6, FM_KNEE_TOLERANCE), 8);
    assert_int_equal(fm_knee(saturating, 6, 0), 16);
    assert_int_equal(fm_knee(saturating + 1, 1, FM_KNEE_TOLERANCE), 1);
    assert_int_equal(fm_knee(unknown, 2, FM_KNEE_TOLERANCE), 0);
    assert_int_equal(fm_knee(NULL, 0, FM_KNEE_TOLERANCE), 0);
}

/* a launch of one step takes 1 s / rate: the point of the results and that of the campaign are one */
static void test_rate_of_launches(void **state)
{
    (void)state;
    assert_true(isnan(fm_rate_of_launches(NULL, 0)));
    for (uint64_t seed = 0; seed < 200; seed++) {
        double rates[6];
        struct fm_sample sample[6];
        struct fm_launch launch[6];
        struct fm_interval interval;
        size_t count = 1 + seed % 6;
        for (size_t i = 0; i < count; i++) {
            sample[i] = (struct fm_sample){ .step_ns = 1 + (int64_t)(fm_rng_u64(seed, 1, i) % 1000000000) };
            launch[i] = (struct fm_launch){ &sample[i], 1 };
            rates[i] = 8 * 1e9 / (double)sample[i].step_ns;
        }
        assert_int_equal(fm_interval_of_launches(launch, count, seed, &interval, NULL), FM_OK);
        double want = fm_interval_rate(&interval, 8).point, got = fm_rate_of_launches(rates, count);
        assert_true(fabs(got - want) <= 1e-12 * want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knee),
        cmocka_unit_test(test_rate_of_launches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
