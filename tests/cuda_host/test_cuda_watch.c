/* What a probe says of the GPU it was timed on: clocks, power, heat, throttled steps, other processes; and when it does
 * not time. Over a stand-in of NVML whose looks are scheduled: the first one comes before the GPU is used, the second
 * before steps are timed, the third begins the timing. */
#include "probes/worker/probe.h"
#include "probes/worker/cell_spec.h"
#include "tests/cuda_host/support_host.h"
#include "tuner/base/clock.h"
#include "tuner/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define UNET "denseunet3d base_channels=2 levels=2 classes=2 input=8x8x8"

static struct fm_request request;
static struct fm_reply *reply;

static int enter(void **state)
{
    (void)state;
    struct fm_cell cell;
    struct fm_program program = { 0 };
    fm_host_cell(&cell, UNET);
    assert_int_equal(fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 1, .val = 1 }, &program, NULL), FM_OK);
    request = (struct fm_request){ .kind = FM_REQUEST_PROBE, .batch = 1, .val_batch = 1, .program = fm_program_hash(&program),
                                   .memory_bytes = INT64_C(1) << 30, .train_steps = 2, .val_steps = 1, .measured_min = 3,
                                   .measured_max = 5, .measured_max_ms = 200, .relative_error = 0.01 };
    fm_cell_to_spec(&cell, &request.cell);
    fm_program_release(&program);
    reply = fm_calloc(1, sizeof *reply);
    return !reply;
}

static int leave(void **state)
{
    (void)state;
    fm_free(reply);
    return fm_memory_live != 0;
}

/* NVML's stand-in stays loaded from the first backend on: its counts are set back between probes */
static void probe(const char *options, bool shared)
{
    struct fm_backend *backend = fm_fake_open(options);
    (void)fm_fake_int("libnvidia-ml.so.1", "fake_nvml_reset");
    fm_reply_init(reply);
    request.shared = shared;
    fm_worker_probe(&fm_backend_cuda, backend, &request, reply);
    fm_backend_cuda.close(backend);
    if (reply->outcome != FM_OUTCOME_ok) fail_msg("%s: %s", options, reply->reason);
    assert_true(reply->train.known && reply->val.known);
}

/* refused by the limit, or by a device that has less than the limit says */
static void whose_limit(void **state)
{
    (void)state;
    struct fm_request whole = request;
    static const struct { const char *options; int64_t memory_bytes; bool below; } row[] = {
        { "idle=1,memory=301", INT64_C(1) << 30, true },
        { "idle=1", INT64_C(1) << 20, false },
        { "idle=1,conv_fail=4004", INT64_C(1) << 30, true },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct fm_backend *backend = fm_fake_open(row[i].options);
        fm_reply_init(reply);
        request.memory_bytes = row[i].memory_bytes;
        fm_worker_probe(&fm_backend_cuda, backend, &request, reply);
        fm_backend_cuda.close(backend);
        if (reply->outcome != FM_OUTCOME_oom_device) fail_msg("%s: %d %s, reserved %lld", row[i].options, (int)reply->outcome, reply->reason, (long long)reply->train.reserved_bytes);
        if (reply->below_limit != row[i].below) fail_msg("%s: %s at %s, %lld bytes", row[i].options, reply->reason, reply->at_op, (long long)reply->at_bytes);
    }
    request = whole;
}

/* steps that the plan wants besides those that settle */
static void a_tail_is_run(void **state)
{
    (void)state;
    struct fm_request whole = request;
    uint32_t steps[2] = { 0 };
    request.measured_max = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct fm_backend *backend = fm_fake_open("idle=1");
        fm_reply_init(reply);
        request.tail_steps = 7 * i;
        fm_worker_probe(&fm_backend_cuda, backend, &request, reply);
        fm_backend_cuda.close(backend);
        assert_int_equal(reply->outcome, FM_OUTCOME_ok);
        steps[i] = reply->train.steps;
    }
    assert_int_equal(steps[1], steps[0] + 7);
    request = whole;
}

static void contains(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("'%s' is not in: %s", part, text);
}

static void figures(void **state)
{
    (void)state;
    probe("idle=1", false);
    const struct fm_reply_state *s = &reply->state;
    assert_true(reply->watched && s->looks >= 2);
    assert_in_range(s->sm_mhz_min, 1500, 1501);
    assert_in_range(s->sm_mhz_median, 1500, 1501);
    assert_int_equal(s->memory_mhz_min, 2600);
    assert_int_equal(s->power_mw_median, 250500);
    assert_int_equal(s->power_mw_max, 250500);
    assert_int_equal(s->temperature_c_max, 41);
    assert_string_equal(s->slow, "none");
    assert_string_equal(s->note, "");
    assert_int_equal(s->others, 0);
    assert_true(reply->train.marked && reply->train.step_count >= 3);
    assert_int_equal(reply->train.throttled_count, 0);
    assert_string_equal(reply->untimed, "");
    assert_int_equal(reply->holders, 0);
}

static void throttling(void **state)
{
    (void)state;
    static const struct { const char *options, *slow; bool marks; } row[] = {
        { "idle=1,slow=64", "hw_thermal_slowdown", true },
        { "idle=1,slow=32", "sw_thermal_slowdown", true },
        { "idle=1,slow=136", "hw_slowdown,hw_power_brake", true },
        { "idle=1,slow=4", "sw_power_cap", false },             /* its power limit: told, and no more */
        { "idle=1,slow=16", "sync_boost", false },
        { "idle=1,slow=3", "none", false },                     /* idle, and clocks that were asked for */
        { "idle=1,slow=68", "sw_power_cap,hw_thermal_slowdown", true },
        { "idle=1,slow=64,slow_until=2", "none", false },       /* over before timing began */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        probe(row[i].options, false);
        if (strcmp(reply->state.slow, row[i].slow) != 0) fail_msg("%s: %s", row[i].options, reply->state.slow);
        assert_true(reply->train.marked && reply->train.step_count >= 3);
        assert_int_equal(reply->train.throttled_count, row[i].marks ? reply->train.step_count : 0);
    }
}

/* it begins while steps run: those after it are marked, and those before it are not */
static void throttling_begins(void **state)
{
    (void)state;
    struct fm_request before = request;
    request.measured_min = request.measured_max = FM_MAX_STEPS_KEPT;
    request.measured_max_ms = 400;
    probe("idle=1,slow=64,slow_from=6", false);
    request = before;
    uint32_t n = reply->train.step_count, marked = reply->train.throttled_count;
    if (marked == 0 || marked >= n) fail_msg("%u of %u steps", marked, n);
    assert_int_equal(reply->train.throttled[marked - 1], n - 1);
    assert_int_equal(reply->train.throttled[0], n - marked);
}

static void others(void **state)
{
    (void)state;
    probe("idle=1,held=100", false);
    assert_int_equal(reply->train.step_count, 0);
    contains(reply->untimed, "1 other process computed on this device: other4242 (pid 4242); stop it, or time all the same with --shared");
    assert_int_equal(reply->holders, 1);
    assert_int_equal(reply->holder[0].pid, 4242);
    assert_int_equal(reply->holder[0].bytes, INT64_C(100) << 20);
    assert_true(reply->train.reserved_bytes > 0);           /* its memory is known all the same */
    /* asked to */
    probe("idle=1,held=100", true);
    assert_true(reply->train.step_count >= 3);
    assert_string_equal(reply->untimed, "");
    assert_int_equal(reply->state.others, 1);
    assert_int_equal(reply->holders, 1);
    /* they come while steps are timed */
    probe("idle=1,held=100,others_from=3", false);
    assert_int_equal(reply->train.step_count, 0);
    contains(reply->untimed, "other4242");
    assert_int_equal(reply->state.others, 1);
    /* one that just ended is waited for */
    probe("idle=1,held=100,others_until=3", false);
    assert_true(reply->train.step_count >= 3);
    assert_int_equal(reply->state.others, 0);
    assert_int_equal(reply->holders, 0);
}

/* in a container NVML knows this process by another number, or does not list it */
static void containers(void **state)
{
    (void)state;
    probe("idle=1,self=777", false);
    assert_int_equal(reply->state.others, 0);
    assert_true(reply->train.step_count >= 3);
    probe("idle=1,self=777,held=100", false);
    assert_int_equal(reply->train.step_count, 0);
    contains(reply->untimed, "1 other process computed on this device: other4242");
    probe("idle=1,self=-1", false);
    assert_int_equal(reply->state.others, -1);              /* an empty list says nothing */
    assert_true(reply->train.step_count >= 3);
    probe("idle=1,self=-1,held=100", false);
    assert_int_equal(reply->train.step_count, 0);
}

/* learning is checked on a shared GPU too: what it takes is no figure */
static void learning(void **state)
{
    (void)state;
    struct fm_request before = request;
    struct fm_cell cell;
    struct fm_program program = { 0 };
    fm_host_cell(&cell, UNET);
    assert_int_equal(fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 1, .val = 1, .fixed_batch = true }, &program, NULL), FM_OK);
    request.fixed_batch = true;
    request.program = fm_program_hash(&program);
    fm_program_release(&program);
    probe("idle=1,held=100", false);
    request = before;
    assert_true(reply->train.step_count >= 3);
    assert_false(reply->watched);
    assert_string_equal(reply->untimed, "");
}

static void unknown(void **state)
{
    (void)state;
    probe("idle=1,nvml=0", false);
    assert_true(reply->train.step_count >= 3);
    assert_false(reply->train.marked);
    assert_int_equal(reply->state.sm_mhz_min, -1);
    assert_int_equal(reply->state.others, -1);
    assert_string_equal(reply->state.slow, "");
    contains(reply->state.note, "NVML does not tell");
    /* of a MIG instance the clocks are its GPU's */
    probe("idle=1,mig=1", false);
    assert_in_range(reply->state.sm_mhz_min, 1500, 1501);
    assert_int_equal(reply->state.others, 0);
    probe("idle=1,mig=1,mig_parent=0", false);
    assert_int_equal(reply->state.sm_mhz_min, -1);
    assert_false(reply->train.marked);
    assert_int_equal(reply->state.others, 0);
}

/* a driver that does not answer costs seconds, not the probe. Last: the threads left behind keep waiting. */
static void hanging(void **state)
{
    (void)state;
    static const char *const options[] = { "idle=1,nvml_hang_at=1", "idle=1,nvml_hang_at=2", "idle=1,nvml_hang_at=3" };
    for (size_t i = 0; i < 3; i++) {
        long live = fm_memory_live;
        int64_t begin = fm_now_ns(fm_clock_system());
        probe(options[i], false);
        assert_true(reply->train.step_count >= 3);
        assert_false(reply->train.marked);
        contains(reply->state.note, "did not answer within a second");
        if (fm_now_ns(fm_clock_system()) - begin > INT64_C(10000000000)) fail_msg("%s took too long", options[i]);
        fm_memory_live = live;          /* what a thread that hangs keeps is its own */
    }
}

int main(void)
{
    (void)unsetenv("CUDA_VISIBLE_DEVICES");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_limit), cmocka_unit_test(a_tail_is_run), cmocka_unit_test(figures), cmocka_unit_test(throttling), cmocka_unit_test(throttling_begins), cmocka_unit_test(others),
        cmocka_unit_test(containers), cmocka_unit_test(learning), cmocka_unit_test(unknown), cmocka_unit_test(hanging),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
