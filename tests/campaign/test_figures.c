/* The figures that the results show, the largest batch and the knee of each cell, have the launches that were asked for; what
 * was left out is named. The judge is the fold of the campaign's own records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "results/fold.h"
#include "results/table.h"
#include "tests/campaign/support_trial.h"
#include "tuner/base/memory.h"

#define LAUNCHES 3
#define RUN_RECORD "{\"kind\":\"run\",\"v\":1,\"tool\":\"test\",\"seed\":1}"

static struct fm_fake_entry entry[4096];

struct folded {
    struct fm_records records;
    struct fm_result result;
};

static void add_record(void *context, const cJSON *record)
{
    assert_int_equal(fm_records_add(context, cJSON_Duplicate(record, 1), NULL), FM_OK);
}

static void fold(const struct fm_trial *t, struct folded *f)
{
    struct fm_err err = { 0 };
    *f = (struct folded){ .result = { .cells = NULL } };
    assert_int_equal(fm_records_add(&f->records, cJSON_Parse(RUN_RECORD), NULL), FM_OK);
    fm_trial_each(t, add_record, &f->records);
    if (fm_result_fold(&f->records, &f->result, &err) != FM_OK) fail_msg("%s", err.text);
}

static void unfold(struct folded *f)
{
    fm_result_release(&f->result);
    fm_records_release(&f->records);
}

static void run(struct fm_trial *t)
{
    struct fm_err err = { 0 };
    if (fm_trial_run(t, &err) != FM_OK) fail_msg("%s", err.text);
}

static size_t launches_at(const struct fm_result *r, const struct fm_result_cell *cell, int64_t batch)
{
    for (size_t i = cell->first_point; i < cell->first_point + cell->points; i++)
        if (r->points[i].batch == batch) return r->points[i].samples_per_s.launches;
    return 0;
}

static void assert_figures(const struct fm_trial *t)
{
    struct folded f;
    fold(t, &f);
    assert_int_equal(f.result.cell_count, t->cells);
    for (size_t i = 0; i < f.result.cell_count; i++) {
        const struct fm_result_cell *cell = &f.result.cells[i];
        assert_true(cell->certified && cell->max_train > 0 && cell->knee != FM_NO_POINT);
        assert_null(cell->skipped);
        assert_int_equal(launches_at(&f.result, cell, cell->max_train), LAUNCHES);
        assert_int_equal(f.result.points[cell->knee].samples_per_s.launches, LAUNCHES);
    }
    unfold(&f);
}

/* ---- the knee is chosen again from what replication showed ---- */

static void the_knee_that_is_shown_has_its_launches(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed += FM_TRIAL_STRIDE) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "edge=16", NULL });
        t.config.launches = LAUNCHES;
        t.script.fits_batch = 50;
        t.script.step_fixed_ns = 1000000, t.script.step_sample_ns = 1000000;
        t.script.noise_percent = 40, t.script.noise_seed = seed;
        run(&t);
        assert_figures(&t);
        /* at most each batch of the curve, the last of the search included, LAUNCHES times, and the one above it */
        assert_in_range(fm_trial_probes(entry), 0, 64);
        fm_trial_close(&t);
    }
}

/* cells of one training whose largest batches differ: each has its own */
static void each_cells_largest_batch_has_its_launches(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed += FM_TRIAL_STRIDE) {
        struct fm_trial t;
        fm_trial_open(&t, (const char *const[]){ "edge=16 val_batch=same", "edge=16 val_batch=half", "edge=16 val_batch=max", NULL });
        t.config.launches = LAUNCHES;
        t.script.fits_batch = 50, t.script.val_fits_batch = 20;
        t.script.noise_percent = seed ? 30 : 0, t.script.noise_seed = seed;
        run(&t);
        const int64_t want[] = { 20, 41, 50 };
        for (size_t i = 0; i < 3; i++) {
            const cJSON *max = cJSON_GetObjectItemCaseSensitive(fm_trial_verdict(&t, i), "max_batch");
            assert_true(fm_number(max, "train") == (double)want[i]);
        }
        assert_figures(&t);
        /* a resumed run has nothing left to measure */
        size_t probes = fm_trial_probes(entry);
        run(&t);
        assert_int_equal(fm_trial_probes(entry), probes);
        fm_trial_close(&t);
    }
}

/* a worker that died has cost one launch; another takes its place, once */
static void a_launch_that_died_is_made_up_for(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "edge=16", NULL });
    t.config.launches = 1;
    run(&t);
    int64_t first = (int64_t)fm_trial_probes(entry);
    fm_trial_close(&t);
    fm_trial_open(&t, (const char *const[]){ "edge=16", NULL });
    t.config.launches = LAUNCHES;
    t.script.act = FM_FAKE_CRASH, t.script.act_probe = first + 1, t.script.act_count = 1;
    run(&t);
    assert_figures(&t);
    fm_trial_close(&t);
}

/* ---- what the time left out is named ---- */

/* does a record of what was left out, of this cell, begin so? */
static bool names(const struct fm_result *r, size_t cell, const char *what)
{
    for (size_t i = 0; i < r->left_out_count; i++)
        if (r->left_out[i].cell == cell && strcmp(r->left_out[i].reason, "time budget") == 0 &&
            strncmp(r->left_out[i].what, what, strlen(what)) == 0)
            return true;
    return false;
}

static void assert_named(const struct fm_result *r, size_t index, int64_t fits)
{
    const struct fm_result_cell *cell = &r->cells[index];
    char what[64];
    if (strcmp(cell->outcome, "skipped") == 0 || strcmp(cell->outcome, "unfinished") == 0) {
        assert_true(names(r, index, "boundary"));
        return;
    }
    /* what ran and fits is a bound, certified or not */
    assert_string_equal(cell->outcome, "ok");
    assert_in_range(cell->max_train, 1, fits);
    if (cell->certified) assert_int_equal(cell->max_train, fits);
    assert_int_equal(names(r, index, "boundary not certified"), !cell->certified);
    bool ladder = false;
    for (int64_t b = 1; b < cell->max_train; b *= 2) ladder = ladder || !launches_at(r, cell, b);
    assert_int_equal(names(r, index, "ladder at batch "), ladder);
    const int64_t figure[] = { cell->max_train, cell->knee == FM_NO_POINT ? cell->max_train : r->points[cell->knee].batch };
    for (int i = 0; i < 2; i++) {
        (void)snprintf(what, sizeof what, "replications of batch %lld", (long long)figure[i]);
        assert_int_equal(names(r, index, what), launches_at(r, cell, figure[i]) < LAUNCHES);
    }
}

static void what_the_time_left_out_is_named(void **state)
{
    (void)state;
    const int64_t want[] = { 20, 41, 50 };
    size_t left = 1;
    for (int64_t budget = 1; left; budget += 2 + FM_TRIAL_STRIDE) {
        struct fm_trial t;
        struct folded f;
        struct fm_buf text = FM_BUF(1 << 16);
        fm_trial_open(&t, (const char *const[]){ "edge=16 val_batch=same", "edge=16 val_batch=half", "edge=16 val_batch=max", NULL });
        t.config.launches = LAUNCHES;
        t.script.fits_batch = 50, t.script.val_fits_batch = 20;
        t.probe_ns = 1000;
        t.config.time_budget_ns = budget * t.probe_ns;
        run(&t);
        fold(&t, &f);
        left = f.result.left_out_count;
        assert_int_equal(fm_table_text(&f.result, &text, NULL), FM_OK);
        for (size_t i = 0; i < 3; i++) {
            struct fm_buf said = FM_BUF(1 << 12);
            assert_named(&f.result, i, want[i]);
            fm_result_put_left_out(&f.result, i, &said);
            if (f.result.cells[i].max_train > 0) assert_non_null(strstr(fm_buf_text(&text), fm_buf_text(&said)));
            fm_buf_release(&said);
        }
        assert_true(budget < 200);
        fm_buf_release(&text);
        unfold(&f);
        fm_trial_close(&t);
    }
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
        cmocka_unit_test(the_knee_that_is_shown_has_its_launches),
        cmocka_unit_test(each_cells_largest_batch_has_its_launches),
        cmocka_unit_test(a_launch_that_died_is_made_up_for),
        cmocka_unit_test(what_the_time_left_out_is_named),
    };
    return cmocka_run_group_tests(tests, fm_trial_setup, leave);
}
