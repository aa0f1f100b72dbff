/* The planner's peaks against PyTorch's, counted alike: storages rounded up to 512 bytes, gradients that meet added out
 * of place (rules 48 and 50). Every row of the tables that tests/reference/memory_peaks.py wrote. */
#include "tests/lower/support_stacks.h"
#include "tests/lower/support_torch.h"

#include "probes/memory/planner.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What accumulation adds here and not there: the loss divided by the number of passes, and that division's gradient. */
#define DIVIDE_BYTES 1024

#define LINE_BYTES 2048

struct tally {
    int rows, exact, skipped, failed;
    int64_t worst_bytes;
};

struct table {
    FILE *file;
    char header[LINE_BYTES], row[LINE_BYTES];
};

static void open_table(struct table *t, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", FM_TEST_DATA_DIR, name);
    t->file = fopen(path, "r");
    if (!t->file) fail_msg("no %s", path);
    do assert_non_null(fgets(t->header, sizeof t->header, t->file));
    while (t->header[0] == '#');
}

static bool next_row(struct table *t, struct torch_case *c)
{
    if (!fgets(t->row, sizeof t->row, t->file)) {
        (void)fclose(t->file);
        return false;
    }
    torch_case_row(c, t->header, t->row);
    return true;
}

static int64_t planned(struct fm_planner *planner, const struct fm_program *program)
{
    struct fm_plan plan;
    struct fm_err err = { 0 };
    if (fm_planner_run(planner, program, NULL, INT64_MAX, &plan, &err) != FM_OK) fail_msg("%s", err.text);
    assert_true(plan.fits);
    return plan.train.counted_bytes > plan.val.counted_bytes ? plan.train.counted_bytes : plan.val.counted_bytes;
}

/* ours may be up to extra_bytes more, never less */
static void judge(struct tally *tally, const char *name, int64_t ours, int64_t torch, int64_t extra_bytes)
{
    int64_t more = ours - torch;
    bool good = more >= 0 && more <= extra_bytes;
    tally->rows++;
    tally->exact += more == 0;
    tally->failed += !good;
    if (llabs(more) > tally->worst_bytes) tally->worst_bytes = llabs(more);
    if (more) print_message("%s: %+" PRId64 " bytes of %" PRId64 "%s\n", name, more, torch, good ? "" : ": WRONG");
}

static void report(const struct tally *t)
{
    print_message("%d rows, %d to the byte, worst %" PRId64 " bytes, %d skipped\n", t->rows, t->exact, t->worst_bytes,
                  t->skipped);
    assert_int_equal(t->failed, 0);
}

static void check_whole_steps(const char *name, int rows)
{
    struct table table;
    struct torch_case c;
    struct tally tally = { 0 };
    struct fm_program program = { 0 };
    struct fm_planner planner = { 0 };
    open_table(&table, name);
    while (next_row(&table, &c)) {
        torch_case_lower(&c, &program);
        judge(&tally, torch_case_text(&c, "name"), planned(&planner, &program), torch_case_number(&c, "peak_bytes"),
              torch_case_number(&c, "accumulate") > 1 ? DIVIDE_BYTES : 0);
    }
    report(&tally);
    assert_int_equal(tally.rows, rows);
    fm_program_release(&program);
    fm_planner_release(&planner);
}

static void whole_steps(void **state)
{
    (void)state;
    check_whole_steps("torch_peaks.tsv", 69);
}

static void whole_steps_channels_last(void **state)
{
    (void)state;
    check_whole_steps("torch_peaks_channels_last.tsv", 54);
}

static void whole_steps_flash(void **state)
{
    (void)state;
    check_whole_steps("torch_peaks_flash.tsv", 17);
}

static void stacks(void **state)
{
    (void)state;
    struct table table;
    struct torch_case c;
    struct tally tally = { 0 };
    struct fm_program program = { 0 };
    struct fm_planner planner = { 0 };
    open_table(&table, "torch_peaks_blocks.tsv");
    while (next_row(&table, &c)) {
        const char *name = torch_case_text(&c, "name"), *reason;
        int64_t extra_bytes;
        if (!torch_stack_lower(name, &program, &extra_bytes, &reason)) {
            print_message("skipped: %s: %s\n", name, reason);
            tally.skipped++;
            continue;
        }
        judge(&tally, name, planned(&planner, &program), torch_case_number(&c, "peak_bytes"), extra_bytes);
    }
    report(&tally);
    assert_int_equal(tally.rows, 37);
    assert_int_equal(tally.skipped, 7);
    fm_program_release(&program);
    fm_planner_release(&planner);
}

/* Validation of three passes at full size, against a hand calculation of what its tensors take (GiB, two digits): every
 * pass's logits and probabilities; the probabilities and a sum; the sum alone. */
static void ensemble_validation(void **state)
{
    (void)state;
    static const struct { const char *ensemble; int64_t batch; double gib; } rows[] = {
        { "keep_all", 1, 17.6 }, { "sum", 1, 8.9 },  { "running", 1, 5.4 },
        { "keep_all", 2, 34.9 }, { "sum", 2, 17.6 }, { "running", 2, 10.7 },
    };
    struct fm_program program = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_policy policy = fm_policy_default();
    policy.loop = FM_LOOP_PLAIN;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fm_err err = { 0 };
        struct fm_settings settings;
        struct fm_graph graph;
        fm_settings_default(&settings, &fm_denseunet3d);
        assert_int_equal(fm_settings_set(&settings, "n_infers", "3", &err), FM_OK);
        assert_int_equal(fm_settings_set(&settings, "ensemble", rows[i].ensemble, &err), FM_OK);
        if (fm_settings_build(&settings, 0, rows[i].batch, &graph, &err) != FM_OK) fail_msg("%s", err.text);
        if (fm_lower(&graph, &policy, &program, &err) != FM_OK) fail_msg("%s", err.text);
        double gib = (double)planned(&planner, &program) / 0x1p30;
        print_message("%-8s batch %" PRId64 ": %.3f GiB planned, %.1f by hand\n", rows[i].ensemble, rows[i].batch, gib,
                      rows[i].gib);
        assert_true(gib > rows[i].gib * 0.98 && gib < rows[i].gib * 1.02);
        fm_graph_release(&graph);
    }
    fm_program_release(&program);
    fm_planner_release(&planner);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(whole_steps), cmocka_unit_test(whole_steps_channels_last),
                                        cmocka_unit_test(whole_steps_flash),
                                        cmocka_unit_test(stacks), cmocka_unit_test(ensemble_validation) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
