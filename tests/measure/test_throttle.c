/* Which steps were throttled: cases by hand, and random looks and steps against the definition, read aloud. */
#include "probes/measure/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/base/rng.h"

#define MOST 40

static struct fm_look look(int64_t begin_ns, int64_t end_ns, char state)
{
    return (struct fm_look){ .span = { begin_ns, end_ns }, .known = state != '?', .throttled = state == 't' };
}

static void by_hand(void **state)
{
    (void)state;
    bool throttled[3] = { true, true, true };
    const struct fm_span step[3] = { { 10, 19 }, { 20, 29 }, { 30, 39 } };
    assert_false(fm_throttled_steps(NULL, 0, step, 3, throttled));
    const struct fm_look unknown[] = { look(0, 1, '?'), look(25, 26, '?') };
    assert_false(fm_throttled_steps(unknown, 2, step, 3, throttled));
    assert_true(throttled[0] && throttled[2]);          /* nothing was written */
    /* seen in the second step: the others lie between looks of which one saw it, unless they were looked at themselves */
    const struct fm_look around[] = { look(0, 1, '-'), look(24, 25, 't'), look(50, 51, '-') };
    assert_true(fm_throttled_steps(around, 3, step, 3, throttled));
    assert_true(throttled[0] && throttled[1] && throttled[2]);
    const struct fm_look each[] = { look(0, 1, 't'), look(12, 13, '-'), look(24, 25, 't'), look(26, 27, '-'), look(33, 34, '-'), look(50, 51, 't') };
    assert_true(fm_throttled_steps(each, 6, step, 3, throttled));
    assert_true(!throttled[0] && throttled[1] && !throttled[2]);
    /* a look that lasts over several steps is of all of them; what was not told is no look */
    const struct fm_look slow[] = { look(15, 33, 't'), look(34, 34, '?') };
    assert_true(fm_throttled_steps(slow, 2, step, 3, throttled));
    assert_true(throttled[0] && throttled[1] && throttled[2]);
    /* looks at one end alone */
    const struct fm_look late[] = { look(35, 35, '-') };
    assert_true(fm_throttled_steps(late, 1, step, 3, throttled));
    assert_false(throttled[0] || throttled[1] || throttled[2]);
}

static bool by_definition(const struct fm_look *l, size_t looks, const struct fm_span *step)
{
    bool any = false, throttled = false, before = false, after = false, has_after = false;
    for (size_t i = 0; i < looks; i++) {
        if (!l[i].known) continue;
        if (l[i].span.end_ns < step->begin_ns) {
            before = l[i].throttled;
        } else if (l[i].span.begin_ns > step->end_ns) {
            if (!has_after) after = l[i].throttled;
            has_after = true;
        } else {
            any = true;
            throttled = throttled || l[i].throttled;
        }
    }
    return any ? throttled : before || after;
}

static void random_ones(void **state)
{
    (void)state;
    uint64_t index = 0;
    size_t marked = 0, steps_in_all = 0;
    for (int round = 0; round < 4000; round++) {
        struct fm_look l[MOST];
        struct fm_span step[MOST];
        bool throttled[MOST], known = false;
        size_t looks = fm_rng_u64(1, 1, index++) % MOST, steps = fm_rng_u64(1, 1, index++) % MOST;
        int64_t t = 0;
        for (size_t i = 0; i < looks; i++) {
            int64_t begin = t + (int64_t)(fm_rng_u64(1, 1, index++) % 9), end = begin + (int64_t)(fm_rng_u64(1, 1, index++) % 9);
            l[i] = look(begin, end, "--t?"[fm_rng_u64(1, 1, index++) % 4]);
            known = known || l[i].known;
            t = end + 1;
        }
        t = (int64_t)(fm_rng_u64(1, 1, index++) % 20);
        for (size_t i = 0; i < steps; i++) {
            step[i].begin_ns = t + (int64_t)(fm_rng_u64(1, 1, index++) % 3);
            step[i].end_ns = step[i].begin_ns + (int64_t)(fm_rng_u64(1, 1, index++) % 15);
            t = step[i].end_ns + 1;
        }
        assert_int_equal(fm_throttled_steps(l, looks, step, steps, throttled), known);
        for (size_t i = 0; known && i < steps; i++) {
            if (throttled[i] != by_definition(l, looks, &step[i])) fail_msg("round %d, step %zu: %d", round, i, throttled[i]);
            marked += throttled[i];
            steps_in_all++;
        }
    }
    if (marked < steps_in_all / 10 || marked > steps_in_all * 9 / 10) fail_msg("%zu of %zu marked: not much of a test", marked, steps_in_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(by_hand), cmocka_unit_test(random_ones) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
