/* The stages of a campaign: their order, time budget, learning, replications, cancelling. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/campaign/support_trial.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"

static struct fm_fake_entry entry[4096];

static void run(struct fm_trial *t)
{
    struct fm_err err = { 0 };
    if (fm_trial_run(t, &err) != FM_OK) fail_msg("%s", err.text);
}

static double max_train(const struct fm_trial *t, size_t cell)
{
    return fm_number(cJSON_GetObjectItemCaseSensitive(fm_trial_verdict(t, cell), "max_batch"), "train");
}

/* ---- order ---- */

static int stage_of(const char *role)
{
    return strcmp(role, "boundary") == 0 ? 0 : strcmp(role, "ladder") == 0 ? 2 : 3;
}

struct order { int stage; size_t cells, rows[4]; };

static void in_order(void *context, const cJSON *one)
{
    struct order *o = context;
    const char *kind = fm_words(one, "kind");
    int stage = strcmp(kind, "learn") == 0 ? 1 : strcmp(kind, "start") == 0 ? stage_of(fm_words(one, "role")) : o->stage;
    assert_true(stage >= o->stage);
    o->stage = stage;
    if (strcmp(kind, "start") == 0) o->rows[stage]++;
    /* a cell is described before it is spoken of */
    if (strcmp(kind, "cell") == 0) o->cells++;
    else assert_true(o->cells > 0);
    assert_string_equal(fm_words(one, "device"), "fake");
}

static void stages_come_in_order(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", "val_batch=half", "accumulate=2", NULL });
    t.config.launches = 3;
    t.config.learn = true;
    t.script.step_fixed_ns = 0;     /* all batches are as fast: the knee is 1 */
    run(&t);
    struct order o = { .stage = 0 };
    fm_trial_each(&t, in_order, &o);
    assert_int_equal(o.stage, 3);
    /* two trainings: the ladder below each boundary, once */
    size_t ladder = 0;
    for (int64_t b = 1; b < t.planned_batch; b *= 2) ladder++;
    assert_int_equal(o.rows[2], 2 * ladder);
    assert_int_equal(fm_trial_count(&t, "learn", FM_TRIAL_CELLS), 2);
    /* knee and largest batch, two launches more, two trainings */
    assert_int_equal(o.rows[3], 2 * 2 * 2);
    /* verdicts tell of all probes in the end */
    double told = 0;
    for (size_t i = 0; i < t.cells; i++) {
        const cJSON *probes = cJSON_GetObjectItemCaseSensitive(fm_trial_verdict(&t, i), "probes");
        told += fm_number(probes, "boundary") + fm_number(probes, "ladder") + fm_number(probes, "replicate");
    }
    assert_true(told == (double)fm_trial_count(&t, "start", FM_TRIAL_CELLS));
    assert_int_equal(t.totals.probes, fm_trial_count(&t, "start", FM_TRIAL_CELLS));
    fm_trial_close(&t);
}

/* a step's time is fixed + per sample: the knee is the smallest batch within 5 % of the largest one's throughput */
static void the_knee_is_replicated(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "edge=8", NULL });
    assert_true(t.planned_batch > 200);
    t.script.step_fixed_ns = 1000, t.script.step_sample_ns = 1000;
    t.config.launches = 2;
    run(&t);
    int64_t knee = 0;
    double best = (double)t.planned_batch / (1 + (double)t.planned_batch);
    for (int64_t b = 1; b < t.planned_batch && !knee; b *= 2)
        if ((double)b / (1 + (double)b) >= 0.95 * best) knee = b;
    size_t n = fm_trial_probes(entry);
    assert_int_equal(entry[n - 2].batch, knee);
    assert_int_equal(entry[n - 1].batch, t.planned_batch);
    fm_trial_close(&t);
}

/* ---- the time budget ---- */

static void what_does_not_fit_into_the_time_is_skipped(void **state)
{
    (void)state;
    const char *const words[] = { "val_batch=same", "accumulate=2", "accumulate=4", NULL };
    struct fm_trial t;
    fm_trial_open(&t, words);
    t.config.launches = 2;
    run(&t);
    size_t all = fm_trial_probes(entry);
    fm_trial_close(&t);
    for (size_t budget = 1; budget <= all + 1; budget += FM_TRIAL_STRIDE) {
        fm_trial_open(&t, words);
        t.config.launches = 2;
        t.probe_ns = 1000;
        t.config.time_budget_ns = (int64_t)budget * t.probe_ns;
        run(&t);
        assert_int_equal(fm_trial_probes(entry), budget < all ? budget : all);
        assert_int_equal(t.totals.skipped > 0, budget < all);
        assert_int_equal(fm_trial_count(&t, "skipped", FM_TRIAL_CELLS), t.totals.skipped);
        for (size_t i = 0; i < t.cells; i++) {
            /* each cell is described, and has a verdict or is skipped */
            assert_int_equal(fm_trial_count(&t, "cell", i), 1);
            assert_true(fm_trial_verdict(&t, i) || fm_trial_count(&t, "skipped", i) == 1);
            if (!fm_trial_verdict(&t, i)) continue;
            bool certified = fm_truth(fm_trial_verdict(&t, i), "certified");
            assert_true(max_train(&t, i) == (double)t.planned_batch);       /* the first probe: it fits */
            assert_string_equal(fm_words(fm_trial_verdict(&t, i), "reason"), certified ? "" : "time budget");
        }
        fm_trial_close(&t);
    }
}

/* a cell that cannot be probed any more is not planned either: its questions would take the time of what is over */
static void no_planning_after_the_time(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "edge=64", "edge=7", "edge=9", NULL });
    t.probe_ns = 1000;
    t.config.time_budget_ns = 2000;
    uint64_t asked = t.session.workspace_questions;
    run(&t);
    assert_int_equal(fm_trial_probes(entry), 2);
    assert_int_equal(t.session.workspace_questions, asked);
    assert_int_equal(t.totals.skipped > 0, 1);
    fm_trial_close(&t);
}

/* ---- does it learn? ---- */

static void what_does_not_learn_is_mistrusted(void **state)
{
    (void)state;
    static const struct { bool unlearned; enum fm_fake_act act; bool mistrusted; const char *outcome; size_t asked; } cases[] = {
        { false, FM_FAKE_ANSWER, false, "ok", 1 }, { true, FM_FAKE_ANSWER, true, "ok", 1 },
        { false, FM_FAKE_NONFINITE, true, "nonfinite", 1 }, { false, FM_FAKE_CRASH, true, "crash", 2 },
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "val_batch=same", "val_batch=half", NULL });
        t.config.learn = true;
        t.script.unlearned = cases[k].unlearned, t.script.learn_act = cases[k].act;
        size_t before = fm_trial_requests(FM_REQUEST_PROBE);
        run(&t);
        assert_int_equal(fm_trial_requests(FM_REQUEST_PROBE) - before, t.totals.probes + cases[k].asked);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(fm_truth(fm_trial_verdict(&t, i), "mistrusted"), cases[k].mistrusted);
            assert_string_equal(fm_words(fm_trial_verdict(&t, i), "outcome"), "ok");
        }
        assert_int_equal(fm_trial_count(&t, "learn", 0), 1);
        fm_trial_close(&t);
    }
}

/* ---- a boundary that a later stage refutes ---- */

static void a_replication_that_does_not_fit_moves_the_boundary(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "edge=64", NULL });
    t.config.launches = 1;
    run(&t);
    int64_t first = (int64_t)fm_trial_probes(entry);
    fm_trial_close(&t);
    fm_trial_open(&t, (const char *const[]){ "edge=64", NULL });
    t.config.launches = 3;
    t.script.act = FM_FAKE_OOM_DEVICE, t.script.act_probe = first + 2, t.script.act_count = 1;
    t.script.step_fixed_ns = 1;     /* all batches are as fast: the knee is 1, then the largest follows */
    run(&t);
    size_t n = fm_trial_probes(entry);
    assert_int_equal(entry[first + 1].batch, t.planned_batch);
    assert_true(n > (size_t)first + 2);
    assert_true(fm_truth(fm_trial_verdict(&t, 0), "certified"));
    assert_true(max_train(&t, 0) == (double)t.planned_batch - 1);
    assert_non_null(strstr(fm_words(fm_trial_verdict(&t, 0), "reason"), "once did not"));
    /* resumed, it is the same */
    run(&t);
    assert_true(fm_truth(fm_trial_verdict(&t, 0), "certified"));
    assert_true(max_train(&t, 0) == (double)t.planned_batch - 1);
    fm_trial_close(&t);
}

/* ---- cancelling ---- */

static void cancelled_at_every_record(void **state)
{
    (void)state;
    const char *const words[] = { "val_batch=same", "accumulate=2", NULL };
    struct fm_trial t;
    fm_trial_open(&t, words);
    t.config.learn = true;
    t.config.launches = 2;
    run(&t);
    size_t lines = t.lines, probes = fm_trial_probes(entry), last_start = lines;
    while (strcmp(fm_words(t.line[last_start - 1], "kind"), "start") != 0) last_start--;
    fm_trial_close(&t);
    for (size_t at = 1; at < lines; at += FM_TRIAL_STRIDE) {
        struct fm_err err = { 0 };
        fm_trial_open(&t, words);
        t.config.learn = true;
        t.config.launches = 2;
        t.cancel_at = (int64_t)at;
        fm_status status = fm_trial_run(&t, &err);
        /* once the last probe is over there is nothing to interrupt */
        assert_true(status == FM_INTERRUPTED || (at > last_start && status == FM_OK));
        assert_int_equal(err.status, status);
        /* no probe begins after that; at most what was being recorded is completed */
        assert_true(status == FM_OK || t.lines <= at + 2);
        assert_true(fm_trial_count(&t, "start", FM_TRIAL_CELLS) <= fm_trial_count(&t, "row", FM_TRIAL_CELLS) + 1);
        /* it goes on as if nothing had been: the interruption is no probe's fault */
        fm_trial_add(&t, "{\"kind\":\"end\",\"v\":1,\"interrupted\":true}");
        t.cancel_at = 0;
        run(&t);
        for (size_t i = 0; i < t.cells; i++) {
            assert_true(fm_truth(fm_trial_verdict(&t, i), "certified"));
            assert_true(max_train(&t, i) == (double)t.planned_batch);
        }
        assert_in_range(fm_trial_probes(entry), probes, probes + 1);
        fm_trial_close(&t);
    }
}

/* interrupted twice during the same probe: still not its fault */
static void interruptions_do_not_count_as_deaths(void **state)
{
    (void)state;
    struct fm_trial t;
    struct fm_err err = { 0 };
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
    for (int i = 0; i < 3; i++) {
        t.cancel_at = i ? 1 : 2;            /* the cell's record came in the first run */
        err = (struct fm_err){ 0 };
        assert_int_equal(fm_trial_run(&t, &err), FM_INTERRUPTED);
        assert_string_equal(fm_words(t.line[t.lines - 1], "kind"), "start");
        fm_trial_add(&t, "{\"kind\":\"end\",\"v\":1,\"interrupted\":true}");
        fm_trial_add(&t, "{\"kind\":\"resume\",\"v\":1}");
    }
    t.cancel_at = 0;
    run(&t);
    assert_true(fm_truth(fm_trial_verdict(&t, 0), "certified"));
    assert_true(max_train(&t, 0) == (double)t.planned_batch);
    fm_trial_close(&t);
}

static int leave(void **state)
{
    assert_int_equal(fm_memory_live, 0);
    return fm_trial_teardown(state);
}

int main(int argc, char **argv)
{
    if (argc > 0) fm_fake_worker(argv[0]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_come_in_order),
        cmocka_unit_test(the_knee_is_replicated),
        cmocka_unit_test(what_does_not_fit_into_the_time_is_skipped),
        cmocka_unit_test(no_planning_after_the_time),
        cmocka_unit_test(what_does_not_learn_is_mistrusted),
        cmocka_unit_test(a_replication_that_does_not_fit_moves_the_boundary),
        cmocka_unit_test(cancelled_at_every_record),
        cmocka_unit_test(interruptions_do_not_count_as_deaths),
    };
    return cmocka_run_group_tests(tests, fm_trial_setup, leave);
}
