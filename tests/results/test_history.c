/* Trends of nights, and the file that keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "results/history.h"
#include "tests/results/support_journal.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define MAX ((size_t)1 << 20)

static void noisy(double *value, size_t nights, double error, size_t change, double factor, uint64_t seed)
{
    for (size_t i = 0; i < nights; i++) value[i] = 100 * exp(error * fm_rng_normal(seed, 5, i)) * (i >= change ? factor : 1);
}

static void test_exact(void **state)
{
    static const double value[] = { 8, 8, 7, 7, 9, 9, 9 };
    struct fm_trend t;
    (void)state;
    assert_int_equal(fm_trend_of(value, 7, true, 1, &t, NULL), FM_OK);
    assert_true(t.changed && t.change == 4 && t.before == 7 && t.after == 9 && t.lowest == 7 && t.highest == 9);
    assert_true(isnan(t.p) && isnan(t.night_error.error));
    assert_int_equal(fm_trend_of(value, 2, true, 1, &t, NULL), FM_OK);
    assert_false(t.changed);
    assert_int_equal(fm_trend_of(value, 0, true, 1, &t, NULL), FM_INVALID);
    assert_int_equal(fm_trend_of(&(double){ -1 }, 1, false, 1, &t, NULL), FM_INVALID);
}

/* a change of five standard deviations is found where it is; noise alone is seldom taken for one; a drift is not noise */
static void test_noisy(void **state)
{
    double value[40];
    int found = 0, near = 0, alarms = 0;
    struct fm_trend t;
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        size_t change = 5 + seed % 30;
        noisy(value, 40, 0.01, change, 0.95, seed);
        assert_int_equal(fm_trend_of(value, 40, false, 1, &t, NULL), FM_OK);
        found += t.changed;
        near += t.changed && (t.change > change ? t.change - change : change - t.change) <= 1;
        assert_true(t.night_error.error > 0.004 && t.night_error.error < 0.02);
        noisy(value, 40, 0.01, 40, 1, seed + 1000);
        assert_int_equal(fm_trend_of(value, 40, false, 1, &t, NULL), FM_OK);
        alarms += t.changed;
    }
    assert_in_range(found, 98, 100);
    assert_in_range(near, 95, 100);
    assert_in_range(alarms, 0, 4);          /* level 0.01 */
    noisy(value, 4, 0.01, 4, 1, 3);
    assert_int_equal(fm_trend_of(value, 4, false, 1, &t, NULL), FM_OK);
    assert_true(isnan(t.night_error.error) && !t.changed);
}

/* ---- the file ---- */

struct night { struct fm_records records; struct fm_result result; };

static void make(struct night *night, int day, double step_ms, int max_batch, const char *library)
{
    char text[4096];
    struct fm_err err = { 0 };
    (void)snprintf(text, sizeof text,
        "{'kind':'run','v':1,'tool':'1','started':'2026-01-%02dT00:00:00Z','devices':[{'id':'cpu','name':'X','library':'%s'}]}\n"
        "{'kind':'cell','v':1,'id':'c','train_id':'t','device':'cpu','workload':'w','set':{},'strategies':{},'model_id':'m',"
        "'changes_model':[],'parameters':7,'flops_per_sample':10}\n"
        "{'kind':'row','v':1,'cell':'c','batch':4,'val_batch':0,'phase':'train','role':'boundary','launch':1,'outcome':'ok',"
        "'measured':{'reserved_bytes':1000,'step_ns':[%.0f]}}\n"
        "{'kind':'verdict','v':1,'cell':'c','outcome':'ok','max_batch':{'train':%d,'val':0},'certified':true}\n",
        day, library, step_ms * 1e6, max_batch);
    fm_test_records(text, &night->records);
    if (fm_result_fold(&night->records, &night->result, &err) != FM_OK) fail_msg("%s", err.text);
}

static void end(struct night *night)
{
    fm_result_release(&night->result);
    fm_records_release(&night->records);
}

static char path[64];

static int enter(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/fillmark-history-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0 || unlink(path) != 0 ? -1 : 0;
}

static int leave(void **state)
{
    (void)state;
    (void)unlink(path);
    return 0;
}

static void add(struct fm_history *h, const struct night *n, const char *folder, const char *verdict, bool want)
{
    bool added;
    struct fm_err err = { 0 };
    if (fm_history_add(h, &n->result, folder, verdict, &added, &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(added, want);
}

static void test_file(void **state)
{
    struct fm_history *h = NULL;
    struct night night;
    struct fm_buf text = FM_BUF(MAX), folder = FM_BUF(MAX);
    struct fm_err err = { 0 };
    bool found;
    struct fm_night_error error;
    (void)state;
    assert_int_equal(fm_history_open(&h, path, false, &err), FM_IO);        /* nothing is made by reading */
    assert_int_equal(fm_history_open(&h, path, true, NULL), FM_OK);
    assert_int_equal(fm_history_last_good(h, &folder, &found, NULL), FM_OK);
    assert_false(found);
    for (int day = 1; day <= 12; day++) {
        char where[16];
        (void)snprintf(where, sizeof where, "night-%d", day);
        make(&night, day, 100 + day % 2 + (day >= 8 ? 20 : 0), day < 10 ? 8 : 7, day < 8 ? "L 1" : "L 2");
        add(h, &night, where, day == 1 ? "first" : day == 8 ? "worse" : "same", true);
        add(h, &night, where, day == 12 ? "worse" : day == 1 ? "first" : "same", false);        /* twice is once */
        end(&night);
    }
    fm_history_close(h);
    assert_int_equal(fm_history_open(&h, path, false, NULL), FM_OK);
    assert_int_equal(fm_history_last_good(h, &folder, &found, NULL), FM_OK);
    assert_true(found);
    assert_string_equal(fm_buf_text(&folder), "night-11");
    assert_int_equal(fm_history_list(h, false, &text, NULL), FM_OK);
    const char *changed = strstr(fm_buf_text(&text), "2026-01-08T00:00:00Z: 39");
    if (!changed) fail_msg("the slower night is not found:\n%s", fm_buf_text(&text));
    assert_non_null(strstr(fm_buf_text(&text), "2026-01-10T00:00:00Z: 8 -> 7 (-12.5 %)"));
    fm_buf_clear(&text);
    assert_int_equal(fm_history_list(h, true, &text, NULL), FM_OK);
    cJSON *json = cJSON_Parse(fm_buf_text(&text));
    /* the largest batch, and samples/s and peak at batch 4 */
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "series")), 3);
    cJSON_Delete(json);
    make(&night, 20, 100, 8, "L 3");
    assert_int_equal(fm_history_night_error(h, &night.result, &night.result.cells[0], 4, &error, NULL), FM_OK);
    assert_true(error.error > 0.005 && error.error < 0.02 && error.freedom > 0);        /* the jump is not noise */
    assert_int_equal(fm_history_night_error(h, &night.result, &night.result.cells[0], 5, &error, NULL), FM_OK);
    assert_true(isnan(error.error) && error.freedom == 0);
    end(&night);
    fm_history_close(h);
    fm_buf_release(&text);
    fm_buf_release(&folder);
    assert_int_equal(fm_memory_live, 0);
}

/* of plans nothing was measured: no night, and nothing is written */
static void test_plans(void **state)
{
    struct fm_history *h = NULL;
    struct night plans;
    struct fm_err err = { 0 };
    bool added = true, found = true;
    struct fm_buf folder = FM_BUF(MAX);
    (void)state;
    fm_test_records("{'kind':'run','v':1,'tool':'t','devices':[]}\n"
                    "{'kind':'cell','v':1,'id':'c','train_id':'t','device':'none','workload':'w','set':{},'strategies':{},'model_id':'m','changes_model':[]}\n"
                    "{'kind':'verdict','v':1,'cell':'c','outcome':'planned','max_batch':{'train':7},'certified':false}\n", &plans.records);
    assert_int_equal(fm_result_fold(&plans.records, &plans.result, NULL), FM_OK);
    assert_true(fm_result_is_plan(&plans.result));
    assert_int_equal(fm_history_open(&h, path, true, NULL), FM_OK);
    assert_int_equal(fm_history_add(h, &plans.result, "plans", "first", &added, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "plans: plans, of which nothing was measured"));
    assert_false(added);
    assert_int_equal(fm_history_last_good(h, &folder, &found, NULL), FM_OK);
    assert_false(found);
    fm_history_close(h);
    fm_buf_release(&folder);
    fm_result_release(&plans.result);
    fm_records_release(&plans.records);
    /* a run, also one of which nothing could be tried, is none */
    struct night run;
    make(&run, 1, 10, 8, "lib");
    assert_false(fm_result_is_plan(&run.result));
    fm_result_release(&run.result);
    fm_records_release(&run.records);
}

static void test_strange_files(void **state)
{
    struct fm_history *h = NULL;
    struct fm_err err = { 0 };
    (void)state;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 4096; i++) (void)fputs("no database ", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(fm_history_open(&h, path, true, &err), FM_MISMATCH);
    assert_null(h);
    assert_non_null(strstr(err.text, "no history"));
}

/* whatever fails, the night is there whole or not at all */
static void test_faults(void **state)
{
    struct night night;
    (void)state;
    make(&night, 1, 100, 8, "L");
    long before = fm_memory_live;
    for (long n = 0;; n++) {
        struct fm_history *h = NULL;
        struct fm_buf text = FM_BUF(MAX);
        bool added = false;
        (void)unlink(path);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_history_open(&h, path, true, NULL);
        if (status == FM_OK) status = fm_history_add(h, &night.result, "f", "first", &added, NULL);
        if (status == FM_OK) status = fm_history_list(h, false, &text, NULL);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_buf_release(&text);
        fm_history_close(h);
        assert_int_equal(fm_memory_live, before);
        if (!hits) {
            assert_int_equal(status, FM_OK);
            break;
        }
        assert_int_not_equal(status, FM_OK);
        if (fm_history_open(&h, path, false, NULL) == FM_OK) {
            struct fm_buf after = FM_BUF(MAX);
            assert_int_equal(fm_history_list(h, true, &after, NULL), FM_OK);
            bool there = strstr(fm_buf_text(&after), "max batch") != NULL, all = strstr(fm_buf_text(&after), "peak bytes") != NULL;
            assert_int_equal(there, all);
            assert_int_equal(there, added);
            fm_buf_release(&after);
            fm_history_close(h);
        }
    }
    end(&night);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact), cmocka_unit_test(test_noisy), cmocka_unit_test_setup_teardown(test_file, enter, leave), cmocka_unit_test_setup_teardown(test_plans, enter, leave),
        cmocka_unit_test_setup_teardown(test_strange_files, enter, leave), cmocka_unit_test_setup_teardown(test_faults, enter, leave),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
