/* Memory that runs out, at every allocation of a campaign: a clean error or the right answer, and nothing is lost. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/campaign/support_trial.h"
#include "tuner/base/memory.h"

/* cJSON's memory is fillmark's here, so that faults meet it too */
static void *allocate(size_t bytes) { return fm_calloc(1, bytes); }

static long points_of(const char *const *words)
{
    struct fm_trial t;
    fm_trial_open(&t, words);
    t.config.learn = true;
    t.script.val_fits_batch = t.planned_batch + 3;
    fm_fault = (struct fm_fault){ .left = LONG_MAX, .armed = true };
    assert_int_equal(fm_trial_run(&t, NULL), FM_OK);
    long points = LONG_MAX - fm_fault.left;
    fm_fault = (struct fm_fault){ 0 };
    fm_trial_close(&t);
    return points;
}

static void sweep(const char *const *words, bool sticky, long samples)
{
    long points = points_of(words), stride = points / samples + 1;
    assert_true(points > 10 * samples);
    long met = 0;
    for (long n = stride / 2; n < points; n += stride) {
        struct fm_trial t;
        struct fm_err err = { 0 };
        fm_trial_open(&t, words);
        t.config.learn = true;
        t.script.val_fits_batch = t.planned_batch + 3;
        long live = fm_memory_live;
        fm_fault = (struct fm_fault){ .left = n, .armed = true, .sticky = sticky };
        fm_status status = fm_trial_run(&t, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        met += hits > 0;
        if (!hits) assert_int_equal(status, FM_OK);
        if (status == FM_OK) {
            /* only what may be lost was lost: an entry of the cache */
            assert_true(fm_truth(fm_trial_verdict(&t, 0), "certified"));
            assert_true(fm_number(cJSON_GetObjectItemCaseSensitive(fm_trial_verdict(&t, 0), "max_batch"), "train") == (double)t.planned_batch);
        } else {
            assert_int_equal(status, FM_NOMEM);
            assert_int_equal(err.status, FM_NOMEM);
            assert_true(strlen(err.text) > 0);
        }
        /* and what was recorded is whole: it can be gone on from */
        assert_int_equal(fm_trial_run(&t, &err), FM_OK);
        assert_true(fm_truth(fm_trial_verdict(&t, 0), "certified"));
        assert_true(fm_memory_live >= live);
        fm_trial_close(&t);
        assert_int_equal(fm_memory_live, 0);
    }
    assert_true(met > samples / 2);
}

static void one_allocation_fails(void **state)
{
    (void)state;
    cJSON_Hooks hooks = { .malloc_fn = allocate, .free_fn = fm_free };
    cJSON_InitHooks(&hooks);
    /* a sample of the points: a few in each part of a campaign. No cache: what devices answered is asked again */
    const char *more = getenv("FM_FAULT_SAMPLES");
    assert_int_equal(setenv("FILLMARK_CACHE_DIR", "/dev/null/none", 1), 0);
    sweep((const char *const[]){ "edge=64", NULL }, false, more ? strtol(more, NULL, 10) : 50 / FM_TRIAL_STRIDE);
    sweep((const char *const[]){ "val_batch=max", NULL }, true, 15 / FM_TRIAL_STRIDE);
    cJSON_InitHooks(NULL);
}

int main(int argc, char **argv)
{
    if (argc > 0) fm_fake_worker(argv[0]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(one_allocation_fails) };
    return cmocka_run_group_tests(tests, fm_trial_setup, fm_trial_teardown);
}
