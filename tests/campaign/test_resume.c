/* A campaign that was cut anywhere goes on from its records: the same verdicts, nothing measured twice, nothing lost. */
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
#include "tuner/base/rng.h"
#include "tuner/campaign/record.h"

#define MAX_KEYS 512

/* large samples: small batches, short ladders */
static const char *const words[] = { "edge=96 val_batch=same", "edge=96 val_batch=max", "edge=96 accumulate=2", NULL };

/* the plan is too low by one, batch 2 does not fit, the third cell crashes at batch 1 of its ladder */
static void open_trial(struct fm_trial *t)
{
    fm_trial_open(t, words);
    t->config.learn = true;
    t->config.launches = 2;
    t->script.fits_batch = t->planned_batch + 1;
    t->script.val_fits_batch = t->planned_batch + 3;
    t->script.misfit_batch[0] = 2;
    t->script.act = FM_FAKE_CRASH, t->script.act_batch = 1, t->script.act_special = true;
    (void)snprintf(t->script.special_key, sizeof t->script.special_key, "accumulate");
    (void)snprintf(t->script.special_value, sizeof t->script.special_value, "2");
}

static void run(struct fm_trial *t)
{
    struct fm_err err = { 0 };
    if (fm_trial_run(t, &err) != FM_OK) fail_msg("%s", err.text);
}

struct keys {
    const char *kind;
    char text[MAX_KEYS][128];
    size_t count;
};

static void add_key(void *context, const cJSON *one)
{
    struct keys *k = context;
    if (strcmp(fm_words(one, "kind"), k->kind) != 0) return;
    assert_true(k->count < MAX_KEYS);
    (void)snprintf(k->text[k->count++], sizeof k->text[0], "%s %.0f %.0f %s %s %.0f %s", fm_words(one, "cell"), fm_number(one, "batch"),
                   fm_number(one, "val_batch"), fm_words(one, "phase"), fm_words(one, "role"), fm_number(one, "launch"),
                   fm_words(one, "outcome"));
}

static void keys_of(const struct fm_trial *t, const char *kind, struct keys *out)
{
    out->kind = kind;
    out->count = 0;
    fm_trial_each(t, add_key, out);
}

static size_t count_key(const struct keys *k, const char *text)
{
    size_t count = 0;
    for (size_t i = 0; i < k->count; i++) count += strcmp(k->text[i], text) == 0;
    return count;
}

static void assert_same_end(const struct fm_trial *whole, const struct fm_trial *t, size_t deaths)
{
    static struct keys want, got;
    for (size_t i = 0; i < whole->cells; i++) {
        char *then = cJSON_PrintUnformatted(fm_trial_verdict(whole, i)), *now = cJSON_PrintUnformatted(fm_trial_verdict(t, i));
        assert_string_equal(now, then);
        cJSON_free(then);
        cJSON_free(now);
    }
    static const char *const kinds[] = { "cell", "row", "learn" };
    for (size_t k = 0; k < 3; k++) {
        keys_of(whole, kinds[k], &want);
        keys_of(t, kinds[k], &got);
        assert_int_equal(got.count, want.count);
        for (size_t i = 0; i < want.count; i++) assert_int_equal(count_key(&got, want.text[i]), count_key(&want, want.text[i]));
    }
    keys_of(whole, "start", &want);
    keys_of(t, "start", &got);
    assert_in_range(got.count, want.count, want.count + deaths);
}

static void copy_lines(const struct fm_trial *from, size_t lines, struct fm_trial *to)
{
    for (size_t i = 0; i < lines; i++) {
        char *text = cJSON_PrintUnformatted(from->line[i]);
        fm_trial_add(to, text);
        cJSON_free(text);
    }
}

static void cut_at_every_record(void **state)
{
    (void)state;
    struct fm_trial whole, t;
    open_trial(&whole);
    run(&whole);
    assert_in_range(whole.lines, 30, 100);
    for (size_t cut = 0; cut <= whole.lines; cut += FM_TRIAL_STRIDE) {
        open_trial(&t);
        copy_lines(&whole, cut, &t);
        run(&t);
        assert_same_end(&whole, &t, 1);
        fm_trial_close(&t);
    }
    /* and a campaign that is over has nothing left to do */
    size_t probes = fm_trial_count(&whole, "start", FM_TRIAL_CELLS);
    assert_int_equal(whole.totals.probes, probes);
    run(&whole);
    assert_int_equal(whole.totals.probes, 0);
    assert_int_equal(fm_trial_count(&whole, "start", FM_TRIAL_CELLS), probes);
    fm_trial_close(&whole);
}

/* again and again, each time after a few records more */
static void cut_many_times(void **state)
{
    (void)state;
    struct fm_trial whole, t;
    open_trial(&whole);
    run(&whole);
    for (uint64_t k = 0; k < (FM_TRIAL_STRIDE == 1 ? 2 : 1); k++) {
        size_t cut = 0, deaths = 0;
        open_trial(&t);
        for (run(&t); deaths < 40; deaths++, run(&t)) {
            /* at least one whole probe more: one that fillmark dies in twice is given up */
            while (cut < t.lines && !cJSON_IsArray(t.line[cut])) cut++;
            cut += 1 + (size_t)(fm_rng_u64(3, k, deaths) % 8);
            if (cut >= t.lines) break;
            fm_trial_cut(&t, cut);
            fm_trial_add(&t, "{\"kind\":\"resume\",\"v\":1}");
        }
        assert_in_range(deaths, 3, 39);
        assert_same_end(&whole, &t, deaths);
        fm_trial_close(&t);
    }
    fm_trial_close(&whole);
}

/* ---- a probe that fillmark died in ---- */

static void two_deaths_are_a_crash(void **state)
{
    (void)state;
    static struct keys starts;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", "accumulate=2", NULL });
    for (int deaths = 0; deaths <= 2; deaths++) {
        run(&t);
        bool certified = fm_truth(fm_trial_verdict(&t, 0), "certified");
        assert_int_equal(certified, deaths < 2);
        assert_true(fm_truth(fm_trial_verdict(&t, 1), "certified"));
        if (deaths == 2) break;
        /* both cells, start, and then it died */
        fm_trial_cut(&t, deaths ? 5 : 3);
        assert_string_equal(fm_words(t.line[t.lines - 1], "kind"), "start");
        if (!deaths) fm_trial_add(&t, "{\"kind\":\"resume\",\"v\":1}");
    }
    assert_string_equal(fm_words(fm_trial_verdict(&t, 0), "outcome"), "crash");
    assert_non_null(strstr(fm_words(fm_trial_verdict(&t, 0), "reason"), "fillmark itself ended"));
    /* it was not begun a third time */
    char id[17];
    fm_cell_id_text(&t.cell[0], id);
    keys_of(&t, "start", &starts);
    size_t begun = 0;
    for (size_t i = 0; i < starts.count; i++) begun += strncmp(starts.text[i], id, 16) == 0;
    assert_int_equal(begun, 2);
    /* nor ever again */
    size_t lines = t.lines;
    uint32_t probes = t.totals.probes;
    run(&t);
    assert_true(probes > 0);
    assert_int_equal(t.totals.probes, 0);
    assert_true(t.lines > lines);
    assert_string_equal(fm_words(fm_trial_verdict(&t, 0), "outcome"), "crash");
    fm_trial_close(&t);
}

/* all cells are recorded before any probe begins, also those that are left out for time */
static void cells_come_first(void **state)
{
    struct fm_trial t;
    (void)state;
    open_trial(&t);
    run(&t);
    assert_true(t.lines > t.cells);
    for (size_t i = 0; i < t.lines; i++) assert_int_equal(strcmp(fm_words(t.line[i], "kind"), "cell") == 0, i < t.cells);
    fm_trial_close(&t);
}

/* ---- records that are not understood ---- */

static fm_status remember(struct fm_trial *t, const char *format)
{
    char id[17], text[512];
    struct fm_err err = { 0 };
    fm_cell_id_text(&t->cell[0], id);
    (void)snprintf(text, sizeof text, "{\"kind\":\"%s\",\"v\":1,\"cell\":\"%s\"%s}", strchr(format, '|') ? "start" : "row", id,
                   strchr(format, '|') ? strchr(format, '|') + 1 : format);
    fm_trial_add(t, text);
    fm_status status = fm_trial_run(t, &err);
    if (status != FM_OK) assert_true(strlen(err.text) > 0);
    fm_trial_cut(t, 0);
    return status;
}

static void damaged_records_are_refused(void **state)
{
    (void)state;
    struct fm_trial t;
    fm_trial_open(&t, (const char *const[]){ "val_batch=same", NULL });
    static const char *const bad[] = {
        "", ",\"batch\":1", ",\"batch\":1,\"val_batch\":1", ",\"batch\":1,\"val_batch\":1,\"launch\":1",
        ",\"batch\":1,\"val_batch\":1,\"launch\":1,\"outcome\":\"ok\"",
        ",\"batch\":1,\"val_batch\":1,\"launch\":1,\"outcome\":\"fine\",\"phase\":\"train\"",
        ",\"batch\":-1,\"val_batch\":1,\"launch\":1,\"outcome\":\"ok\",\"phase\":\"train\"",
        ",\"batch\":1e30,\"val_batch\":1,\"launch\":1,\"outcome\":\"ok\",\"phase\":\"train\"",
        "|", "|,\"batch\":1", "|,\"batch\":\"1\",\"val_batch\":1,\"launch\":1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_int_equal(remember(&t, bad[i]), FM_MISMATCH);
    assert_int_equal(remember(&t, "|,\"batch\":1,\"val_batch\":1,\"launch\":1"), FM_OK);
    /* what is not of this campaign, or of no kind that it knows */
    static const char *const others[] = {
        "{}", "{\"kind\":7}", "{\"kind\":\"poem\"}", "{\"kind\":\"row\",\"cell\":\"0000000000000000\"}", "{\"kind\":\"row\"}", "{\"kind\":\"cell\"}",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) fm_trial_add(&t, others[i]);
    run(&t);
    assert_true(fm_truth(fm_trial_verdict(&t, 0), "certified"));
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
        cmocka_unit_test(cells_come_first),
        cmocka_unit_test(cut_at_every_record),
        cmocka_unit_test(cut_many_times),
        cmocka_unit_test(two_deaths_are_a_crash),
        cmocka_unit_test(damaged_records_are_refused),
    };
    return cmocka_run_group_tests(tests, fm_trial_setup, leave);
}
