/* The thread that looks at a device: what it reports of a device that says what it is told, that is slow, that hangs. */
#include "probes/worker/watch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/base/clock.h"
#include "tuner/base/memory.h"

/* a device: what the next look says; released once */
static struct {
    atomic_int looks, process_looks, released, slow, others, mhz;
    atomic_int hang_at, look_ms;
    atomic_bool let_go;
} device;

static void pause_ms(int ms)
{
    (void)nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

static void look(void *context, bool processes, struct fm_device_sample *out)
{
    (void)context;
    int n = atomic_fetch_add(&device.looks, 1) + 1;
    if (processes) atomic_fetch_add(&device.process_looks, 1);
    while (n == atomic_load(&device.hang_at) && !atomic_load(&device.let_go)) pause_ms(5);
    if (atomic_load(&device.look_ms)) pause_ms(atomic_load(&device.look_ms));
    *out = (struct fm_device_sample){ .memory_mhz = 2000, .temperature_c = -1, .power_mw = 100000 + n };
    out->sm_mhz = atomic_load(&device.mhz);
    out->slow = atomic_load(&device.slow);
    out->others = processes ? atomic_load(&device.others) : -1;
    if (out->others > 0) out->other[out->others_listed++] = (struct fm_holder){ .pid = 7, .bytes = 5, .name = "other" };
}

static void release(void *context)
{
    (void)context;
    atomic_fetch_add(&device.released, 1);
}

static struct fm_watch *start(void)
{
    struct fm_watch *w = NULL;
    atomic_store(&device.looks, 0);
    atomic_store(&device.process_looks, 0);
    atomic_store(&device.released, 0);
    atomic_store(&device.slow, 0);
    atomic_store(&device.others, 0);
    atomic_store(&device.mhz, 1500);
    atomic_store(&device.look_ms, 0);
    atomic_store(&device.let_go, false);
    const struct fm_device_watch d = { .look = look, .release = release };
    assert_int_equal(fm_watch_start(&w, &d, NULL), FM_OK);
    return w;
}

static int64_t now(void) { return fm_now_ns(fm_clock_system()); }

/* steps of some milliseconds, of two looks where ms is 0; the device throttles in those of from ... until - 1 */
static void run_steps(struct fm_span *step, size_t steps, size_t from, size_t until, int ms)
{
    for (size_t i = 0; i < steps; i++) {
        atomic_store(&device.slow, i >= from && i < until ? FM_SLOW_hw_thermal_slowdown | FM_SLOW_sw_power_cap : FM_SLOW_sw_power_cap);
        step[i].begin_ns = now();
        if (ms) pause_ms(ms);
        for (int seen = atomic_load(&device.looks), i_ms = 0; !ms && atomic_load(&device.looks) < seen + 2 && i_ms < 5000; i_ms++) pause_ms(1);
        step[i].end_ns = now();
    }
}

static void marks_and_figures(void **state)
{
    (void)state;
    struct fm_span step[6];
    bool throttled[6];
    struct fm_watched seen;
    atomic_store(&device.hang_at, 0);
    struct fm_watch *w = start();
    assert_int_equal(atomic_load(&device.looks), 1);        /* before the device is used */
    fm_watch_begin(w);
    assert_false(fm_watch_throttled(w));
    run_steps(step, 6, 2, 4, 0);
    atomic_store(&device.mhz, 900);
    fm_watch_end(w, step, 6, throttled, &seen);
    assert_true(seen.marked);
    /* the first and the last step are away from any edge */
    assert_false(throttled[0]);
    assert_true(throttled[2] && throttled[3]);
    assert_false(throttled[5]);
    assert_int_equal(seen.slow, FM_SLOW_hw_thermal_slowdown | FM_SLOW_sw_power_cap);
    assert_int_equal(seen.sm_mhz.min, 900);                 /* the look at the end */
    assert_int_equal(seen.sm_mhz.median, 1500);
    assert_int_equal(seen.memory_mhz.max, 2000);
    assert_int_equal(seen.temperature_c.median, -1);
    assert_true(seen.power_mw.min > 100000 && seen.power_mw.max >= seen.power_mw.median);
    assert_int_equal(seen.others, 0);
    assert_true(seen.looks >= 8);
    /* it rests when nothing is timed */
    int before = atomic_load(&device.looks);
    pause_ms(100);
    assert_int_equal(atomic_load(&device.looks), before);
    fm_watch_stop(w);
    assert_int_equal(atomic_load(&device.released), 1);
    assert_int_equal(fm_memory_live, 0);
}

/* a power limit is told and marks nothing; others are seen when they come */
static void power_limit_and_others(void **state)
{
    (void)state;
    struct fm_span step[2];
    bool throttled[2];
    struct fm_watched seen;
    struct fm_device_sample sample;
    struct fm_watch *w = start();
    assert_true(fm_watch_look(w, &sample));
    assert_int_equal(sample.others, 0);
    fm_watch_begin(w);
    atomic_store(&device.others, 1);
    run_steps(step, 2, 2, 2, 10);
    fm_watch_end(w, step, 2, throttled, &seen);
    assert_true(seen.marked && !throttled[0] && !throttled[1]);
    assert_int_equal(seen.slow, FM_SLOW_sw_power_cap);
    assert_int_equal(seen.others, 1);                       /* at the latest by the look at the end */
    assert_int_equal(seen.others_listed, 1);
    assert_int_equal(seen.other[0].pid, 7);
    /* what was before counts no more */
    atomic_store(&device.others, 0);
    fm_watch_begin(w);
    fm_watch_end(w, step, 0, throttled, &seen);
    assert_int_equal(seen.others, 0);
    fm_watch_stop(w);
}

/* looking takes at most a tenth of the time, however slow it is */
static void slow_looks_are_few(void **state)
{
    (void)state;
    struct fm_span step[1];
    bool throttled[1];
    struct fm_watched seen;
    struct fm_watch *w = start();
    atomic_store(&device.look_ms, 30);
    fm_watch_begin(w);
    run_steps(step, 1, 0, 0, 700);
    fm_watch_end(w, step, 1, throttled, &seen);
    /* one at the begin, one at the end, and 700 / 300 between */
    if (seen.looks > 5) fail_msg("%u looks of 30 ms within 700 ms", seen.looks);
    assert_true(seen.marked);
    fm_watch_stop(w);
}

static void thousands_of_looks(void **state)
{
    (void)state;
    struct fm_span step[1];
    bool throttled[1];
    struct fm_watched seen;
    struct fm_device_sample sample;
    struct fm_watch *w = start();
    fm_watch_begin(w);
    step[0].begin_ns = now();
    for (int i = 0; i < 2 * FM_WATCH_LOOKS; i++) {
        atomic_store(&device.slow, i == 100 ? FM_SLOW_hw_power_brake : 0);
        assert_true(fm_watch_look(w, &sample));
    }
    step[0].end_ns = now();
    fm_watch_end(w, step, 1, throttled, &seen);
    assert_true(seen.looks <= FM_WATCH_LOOKS);
    assert_true(seen.marked && throttled[0]);               /* no neighbour hides it */
    assert_int_equal(seen.slow, FM_SLOW_hw_power_brake);
    fm_watch_stop(w);
}

/* whichever look hangs: each call returns, nothing is claimed, the thread is left behind with what it needs */
static void hanging_looks(void **state)
{
    (void)state;
    for (int at = 1; at <= 3; at++) {
        struct fm_span step[1];
        bool throttled[1] = { true };
        struct fm_watched seen;
        struct fm_device_sample sample;
        long live = fm_memory_live;
        atomic_store(&device.hang_at, at);
        int64_t begin = now();
        struct fm_watch *w = start();
        assert_int_equal(fm_watch_look(w, &sample), at > 2);
        fm_watch_begin(w);
        run_steps(step, 1, 0, 0, 1);
        fm_watch_end(w, step, 1, throttled, &seen);
        assert_false(seen.marked);
        fm_watch_stop(w);
        int64_t took = now() - begin;
        if (took > 2 * FM_WATCH_PATIENCE_NS) fail_msg("a hang at look %d cost %lld ms", at, (long long)(took / 1000000));
        assert_int_equal(atomic_load(&device.released), 0);
        atomic_store(&device.let_go, true);
        for (int i = 0; i < 1000 && !atomic_load(&device.released); i++) pause_ms(5);
        assert_int_equal(atomic_load(&device.released), 1);
        /* the counter is a thread's own: what the other one released is not in it */
        fm_memory_live = live;
    }
    atomic_store(&device.hang_at, 0);
}

static void faults(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct fm_watch *w = NULL;
        const struct fm_device_watch d = { .look = look, .release = release };
        atomic_store(&device.released, 0);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_watch_start(&w, &d, NULL);
        bool hit = fm_fault.hits > 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status, hit ? FM_NOMEM : FM_OK);
        fm_watch_stop(w);
        assert_int_equal(atomic_load(&device.released), 1);
        assert_int_equal(fm_memory_live, 0);
        if (!hit) break;
        assert_null(w);
    }
    fm_watch_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_and_figures), cmocka_unit_test(power_limit_and_others), cmocka_unit_test(slow_looks_are_few),
        cmocka_unit_test(thousands_of_looks), cmocka_unit_test(hanging_looks), cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
