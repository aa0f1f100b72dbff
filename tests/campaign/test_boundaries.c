/* Boundaries on a scripted device equal the closed form, however the plan errs and whatever workers do. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "probes/worker/cell_spec.h"
#include "tests/campaign/support_trial.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
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

static double max_val(const struct fm_trial *t, size_t cell)
{
    return fm_number(cJSON_GetObjectItemCaseSensitive(fm_trial_verdict(t, cell), "max_batch"), "val");
}

static bool fits(const struct fm_trial *t, size_t cell, int64_t batch)
{
    struct fm_cell_spec spec;
    fm_cell_to_spec(&t->cell[cell], &spec);
    return fm_fake_fits(&t->script, &spec, batch, fm_cell_val_batch(&t->cell[cell], batch));
}

struct evidence { char id[17]; double batch; bool fit, misfit; };

static void look(void *context, const cJSON *one)
{
    struct evidence *e = context;
    if (strcmp(fm_words(one, "kind"), "row") != 0 || strcmp(fm_words(one, "cell"), e->id) != 0) return;
    if (fm_number(one, "batch") == e->batch && strcmp(fm_words(one, "outcome"), "ok") == 0) e->fit = true;
    if (fm_number(one, "batch") == e->batch + 1 && strcmp(fm_words(one, "outcome"), "oom_device") == 0) e->misfit = true;
}

/* certified means: rows of a fit at b and of a failure at b + 1, or b is the limit, or 0; and the closed form agrees */
static void assert_certified(const struct fm_trial *t, size_t cell)
{
    struct evidence e = { .batch = max_train(t, cell) };
    assert_true(fm_truth(fm_trial_verdict(t, cell), "certified"));
    fm_cell_id_text(&t->cell[cell], e.id);
    fm_trial_each(t, look, &e);
    assert_true(e.batch == 0 || e.fit);
    assert_true(e.misfit || e.batch == (double)t->config.max_batch);
    assert_true(e.batch == 0 || fits(t, cell, (int64_t)e.batch));
    if (e.batch != (double)t->config.max_batch) assert_false(fits(t, cell, (int64_t)e.batch + 1));
}

/* ---- where the device is as planned ---- */

static void two_probes_where_the_plan_is_right(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", "val_batch=half accumulate=2", "checkpoint=blocks", "zero_grad=none", NULL });
    assert_in_range(t.planned_batch, 3, 1000);
    run(&t);
    double boundary = 0;
    for (size_t i = 0; i < t.cells; i++) {
        assert_certified(&t, i);
        assert_true(max_train(&t, i) == (double)t.planned_batch);
        boundary += fm_number(cJSON_GetObjectItemCaseSensitive(fm_trial_verdict(&t, i), "probes"), "boundary");
    }
    assert_true(boundary <= 2.1 * (double)t.cells);
    fm_trial_close(&t);
}

static void the_plan_errs_by_a_few(void **state)
{
    (void)state;
    for (int64_t error = -4; error <= 6; error += 2) {
        for (enum fm_search_method method = FM_SEARCH_PLAN; method <= FM_SEARCH_POWER; method++) {
            struct fm_trial t;
            fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
            t.script.fits_batch = t.planned_batch + error > 0 ? t.planned_batch + error : 0;
            t.config.search = method;
            run(&t);
            assert_certified(&t, 0);
            assert_true(max_train(&t, 0) == (double)t.script.fits_batch);
            assert_true(fm_number(fm_trial_verdict(&t, 0), "planned_batch") == (double)t.planned_batch);
            fm_trial_close(&t);
        }
    }
}

static void batch_one_does_not_fit(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
    t.script.fits_batch = 0;
    t.config.launches = 2;
    t.config.learn = true;
    run(&t);
    assert_certified(&t, 0);
    assert_true(max_train(&t, 0) == 0);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 0), "outcome"), "oom_device");
    assert_int_equal(fm_trial_count(&t, "learn", 0), 0);
    fm_trial_close(&t);
}

static void the_limit_certifies_itself(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
    t.config.max_batch = 3;
    run(&t);
    assert_certified(&t, 0);
    assert_true(max_train(&t, 0) == 3);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 0), "limited_by"), "max_batch");
    size_t n = fm_trial_probes(entry);
    for (size_t i = 0; i < n; i++) assert_in_range(entry[i].batch, 1, 3);
    fm_trial_close(&t);
}

/* random devices, monotone and not: each verdict is a boundary of the closed form */
static void random_devices(void **state)
{
    (void)state;
    for (uint64_t k = 0; k < 6; k++) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "val_batch=half", NULL });
        t.script.fits_batch = (int64_t)(fm_rng_u64(7, 0, k) % (uint64_t)(2 * t.planned_batch));
        for (int i = 0; i < 4; i++) t.script.misfit_batch[i] = (int64_t)(fm_rng_u64(7, 1 + (uint64_t)i, k) % (uint64_t)(2 * t.planned_batch));
        t.script.val_fits_batch = 1 + (int64_t)(fm_rng_u64(7, 9, k) % (uint64_t)t.planned_batch);
        run(&t);
        assert_certified(&t, 0);
        fm_trial_close(&t);
    }
}

static void a_hole_below_the_boundary_is_told(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
    t.script.misfit_batch[0] = 2;       /* the ladder meets it */
    run(&t);
    assert_true(max_train(&t, 0) == (double)t.planned_batch);
    assert_true(fm_truth(fm_trial_verdict(&t, 0), "non_monotone"));
    fm_trial_close(&t);
}

/* ---- validation ---- */

static void validation_limits(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", "val_batch=half", "val_batch=max", NULL });
    t.script.val_fits_batch = 2;
    run(&t);
    for (size_t i = 0; i < 3; i++) assert_true(fm_truth(fm_trial_verdict(&t, i), "certified"));
    assert_true(max_train(&t, 0) == 2 && max_val(&t, 0) == 2);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 0), "limited_by"), "val");
    assert_true(max_train(&t, 1) == (double)(t.planned_batch < 5 ? t.planned_batch : 5) && max_val(&t, 1) == 2);
    assert_true(max_train(&t, 2) == (double)t.planned_batch && max_val(&t, 2) == 2);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 2), "limited_by"), "train");
    fm_trial_close(&t);
}

static void cells_that_differ_in_validation_share_misfits(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", "val_batch=half", "val_batch=max", NULL });
    t.script.val_fits_batch = t.planned_batch + 5;
    run(&t);
    for (size_t i = 0; i < 3; i++) assert_true(max_train(&t, i) == (double)t.planned_batch);
    assert_int_equal(t.totals.shared, 2);
    size_t n = fm_trial_probes(entry), misfits = 0;
    for (size_t i = 0; i < n; i++) misfits += entry[i].batch == t.planned_batch + 1;
    assert_int_equal(misfits, 1);
    fm_trial_close(&t);
}

/* training that fails because validation ran before it says nothing of a cell without validation */
static void misfits_after_validation_are_not_shared(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", "val_batch=max", NULL });
    t.script.after_val_batch = 3;
    t.script.val_fits_batch = 1000;
    run(&t);
    assert_true(max_train(&t, 0) == 2);
    assert_true(max_train(&t, 1) == (double)t.planned_batch);
    fm_trial_close(&t);
}

/* ---- workers that misbehave ---- */

static void once_is_forgiven(void **state)
{
    (void)state;
    static const enum fm_fake_act acts[] = { FM_FAKE_CRASH, FM_FAKE_BABBLE };
    for (size_t k = 0; k < sizeof acts / sizeof acts[0]; k++) {
        for (int64_t at = 1; at <= 2; at++) {
            struct fm_trial t;
            fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
            t.script.act = acts[k], t.script.act_probe = at, t.script.act_count = 1;
            run(&t);
            assert_certified(&t, 0);
            assert_true(max_train(&t, 0) == (double)t.planned_batch);
            fm_trial_close(&t);
        }
    }
}

static void what_ends_a_cell(void **state)
{
    (void)state;
    static const struct { enum fm_fake_act act; const char *outcome; size_t probes; } cases[] = {
        { FM_FAKE_CRASH, "crash", 2 }, { FM_FAKE_BABBLE, "protocol", 2 }, { FM_FAKE_HANG, "timeout", 2 },
        { FM_FAKE_KILLED, "oom_host", 1 }, { FM_FAKE_OOM_HOST, "oom_host", 1 }, { FM_FAKE_UNSUPPORTED, "unsupported", 1 },
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "accumulate=2", "accumulate=1", NULL });
        t.script.act = cases[k].act, t.script.act_special = true;
        (void)snprintf(t.script.special_key, sizeof t.script.special_key, "accumulate");
        (void)snprintf(t.script.special_value, sizeof t.script.special_value, "2");
        if (cases[k].act == FM_FAKE_HANG) t.config.deadline_ns = 1000000000;
        run(&t);
        const cJSON *bad = fm_trial_verdict(&t, 0);
        assert_false(fm_truth(bad, "certified"));
        assert_string_equal(fm_words(bad, "outcome"), cases[k].outcome);
        assert_true(fm_number(cJSON_GetObjectItemCaseSensitive(bad, "probes"), "boundary") == (double)cases[k].probes);
        /* the next cell is none the worse */
        assert_certified(&t, 1);
        assert_true(max_train(&t, 1) == (double)t.planned_batch);
        fm_trial_close(&t);
    }
}

static void slow_is_not_dead_and_nonfinite_fits(void **state)
{
    (void)state;
    static const enum fm_fake_act acts[] = { FM_FAKE_SLOW, FM_FAKE_NONFINITE };
    for (size_t k = 0; k < 2; k++) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
        t.script.act = acts[k], t.script.act_batch = t.planned_batch;
        run(&t);
        assert_true(max_train(&t, 0) == (double)t.planned_batch);
        assert_true(fm_truth(fm_trial_verdict(&t, 0), "certified"));
        if (acts[k] == FM_FAKE_NONFINITE) assert_non_null(strstr(fm_words(fm_trial_verdict(&t, 0), "reason"), "finite"));
        fm_trial_close(&t);
    }
}

/* A device that has less than its limit says: the batch is tried again. Once is no harm; twice, and the boundary below is
 * not certified. What one cell met so says nothing of another. */
static void a_device_without_the_room_its_limit_has(void **state)
{
    (void)state;
    for (int64_t times = 1; times <= 2; times++) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "val_batch=same", "val_batch=half", NULL });
        t.script.act = FM_FAKE_REFUSED, t.script.act_probe = 1, t.script.act_count = times;
        run(&t);
        const cJSON *v = fm_trial_verdict(&t, 0);
        assert_int_equal(fm_truth(v, "certified"), times == 1);
        assert_true(max_train(&t, 0) == (double)(times == 1 ? t.planned_batch : t.planned_batch - 1));
        if (times == 2) assert_non_null(strstr(fm_words(v, "reason"), "what others hold"));
        assert_true(fm_truth(fm_trial_verdict(&t, 1), "certified"));
        assert_true(max_train(&t, 1) == (double)t.planned_batch);
        fm_trial_close(&t);
    }
}

/* a question about workspaces that kills, hangs or confuses the worker costs its cell, not the campaign */
static void questions_that_go_wrong(void **state)
{
    (void)state;
    static const struct { enum fm_fake_act act; const char *outcome; } cases[] = {
        { FM_FAKE_CRASH, "crash" }, { FM_FAKE_BABBLE, "protocol" }, { FM_FAKE_KILLED, "oom_host" },
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "edge=64", "edge=4", "accumulate=2", NULL });
        /* only the second cell has batches so large */
        assert_in_range(t.planned_batch, 1, 400);
        t.script.question_act = cases[k].act, t.script.question_batch = 500;
        run(&t);
        assert_string_equal(fm_words(fm_trial_verdict(&t, 1), "outcome"), cases[k].outcome);
        assert_false(fm_truth(fm_trial_verdict(&t, 1), "certified"));
        assert_true(strlen(fm_words(fm_trial_verdict(&t, 1), "reason")) > 0);
        assert_certified(&t, 0);
        assert_certified(&t, 2);
        fm_trial_close(&t);
    }
}

/* what the device cannot run at any batch is not run; from some batch on, it is searched below that */
static void questions_that_are_answered_no(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "edge=64", "edge=5", NULL });
    t.script.question_act = FM_FAKE_UNSUPPORTED, t.script.question_batch = 1;
    run(&t);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 1), "outcome"), "unsupported");
    assert_string_equal(fm_words(fm_trial_verdict(&t, 1), "reason"), "scripted");
    assert_certified(&t, 0);
    fm_trial_close(&t);
    fm_trial_open(&t, (const char *const[]){ "edge=64", "edge=6", NULL });
    t.script.question_act = FM_FAKE_UNSUPPORTED, t.script.question_batch = t.planned_batch + 20;
    t.script.special_fits_batch = t.planned_batch + 30;
    (void)snprintf(t.script.special_key, sizeof t.script.special_key, "accumulate");
    (void)snprintf(t.script.special_value, sizeof t.script.special_value, "1");
    t.config.cell = &t.cell[1], t.config.cells = 1;
    run(&t);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 1), "outcome"), "unsupported");
    assert_true(max_train(&t, 1) == (double)t.planned_batch + 19);
    fm_trial_close(&t);
}

/* a graph that cannot be built from some batch on, beyond what was planned */
static void a_batch_that_cannot_be_built_ends_the_search(void **state)
{
    (void)state;
    struct fm_trial t;
    char words[40];
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
    int64_t planned = t.planned_batch;
    fm_trial_close(&t);
    (void)snprintf(words, sizeof words, "broken=%lld", (long long)planned + 3);
    fm_trial_open(&t, (const char *const[]){ words, "val_batch=same", NULL });
    t.script.fits_batch = planned + 8;
    run(&t);
    const cJSON *v = fm_trial_verdict(&t, 0);
    assert_false(fm_truth(v, "certified"));
    assert_string_equal(fm_words(v, "outcome"), "unsupported");
    assert_true(max_train(&t, 0) == (double)planned + 2);
    assert_non_null(strstr(fm_words(v, "reason"), "no batch of"));
    assert_certified(&t, 1);
    fm_trial_close(&t);
}

/* a graph that cannot be built at all: its cell is unsupported, the others run */
static void a_cell_that_cannot_be_built(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "broken=1", "val_batch=same", NULL });
    t.script.fits_batch = 5;
    run(&t);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 0), "outcome"), "unsupported");
    assert_non_null(strstr(fm_words(fm_trial_verdict(&t, 0), "reason"), "no batch of 1"));
    assert_int_equal(fm_trial_count(&t, "cell", 0), 1);
    assert_true(max_train(&t, 1) == 5);
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
        cmocka_unit_test(two_probes_where_the_plan_is_right),
        cmocka_unit_test(the_plan_errs_by_a_few),
        cmocka_unit_test(batch_one_does_not_fit),
        cmocka_unit_test(the_limit_certifies_itself),
        cmocka_unit_test(random_devices),
        cmocka_unit_test(a_hole_below_the_boundary_is_told),
        cmocka_unit_test(validation_limits),
        cmocka_unit_test(cells_that_differ_in_validation_share_misfits),
        cmocka_unit_test(misfits_after_validation_are_not_shared),
        cmocka_unit_test(once_is_forgiven),
        cmocka_unit_test(what_ends_a_cell),
        cmocka_unit_test(slow_is_not_dead_and_nonfinite_fits), cmocka_unit_test(a_device_without_the_room_its_limit_has),
        cmocka_unit_test(questions_that_go_wrong),
        cmocka_unit_test(questions_that_are_answered_no),
        cmocka_unit_test(a_batch_that_cannot_be_built_ends_the_search),
        cmocka_unit_test(a_cell_that_cannot_be_built),
    };
    return cmocka_run_group_tests(tests, fm_trial_setup, leave);
}
