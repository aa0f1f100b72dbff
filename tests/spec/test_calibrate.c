/* A run's journal to planned speed: synthetic runs whose steps took what known efficiencies say. */
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/commands/calibrate.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define CONV 0.55               /* efficiencies of the synthetic device */
#define REST 0.7
#define CARD "Card of a test"

/* what is wrong with a cell's record, or nothing */
enum flaw { SOUND, OTHER_PROGRAM, MISTRUSTED, UNKNOWN_STRATEGY, OTHER_DEVICE, FAILED };

struct run {
    struct fm_records records;
    struct fm_result result;
    struct fm_gpu gpu;
    double slow;                /* steps of the cells that are added take so many times as long */
};

static void cell_of(const char *workload, const char *input, const char *precision, struct fm_cell *cell)
{
    struct fm_err err = { 0 };
    const struct fm_workload *w = fm_workload_find(workload, &err);
    assert_non_null(w);
    fm_cell_default(cell, w);
    if (fm_settings_set(&cell->settings, "input", input, &err) != FM_OK) fail_msg("%s", err.text);
    if (strcmp(workload, "denseunet3d") == 0) assert_int_equal(fm_settings_set(&cell->settings, "base_channels", "4", &err), FM_OK);
    assert_int_equal(fm_cell_set(cell, FM_STRATEGY_PRECISION, precision, &err), FM_OK);
}

static double step_seconds(const struct run *run, const struct fm_cell *cell, int64_t batch, uint64_t *program, struct fm_roofline *bound)
{
    struct fm_program p = { 0 };
    struct fm_err err = { 0 };
    if (fm_cell_lower(cell, (struct fm_cell_batch){ .train = batch, .val = batch }, &p, &err) != FM_OK) fail_msg("%s", err.text);
    *bound = fm_roofline_step(&run->gpu, &p);
    *program = fm_program_hash(&p);
    fm_program_release(&p);
    double whole = fm_roofline_seconds(bound), rest = bound->seconds[FM_ROOFLINE_REST];
    return (whole - rest) / CONV + rest / REST;
}

static void add(struct run *run, const struct fm_buf *text)
{
    struct fm_err err = { 0 };
    assert_true(fm_buf_ok(text));
    cJSON *record = cJSON_Parse(fm_buf_text(text));
    if (!record) fail_msg("no JSON: %s", fm_buf_text(text));
    assert_int_equal(fm_records_add(&run->records, record, &err), FM_OK);
}

/* three launches of one batch, whose median took what it should */
static void add_rows(struct run *run, const struct fm_cell *cell, const char *id, int64_t batch, enum flaw flaw)
{
    static const double noise[] = { 0.9, 1, 1.2 };
    uint64_t program;
    struct fm_roofline bound;
    double seconds = step_seconds(run, cell, batch, &program, &bound) * run->slow;
    if (flaw == OTHER_PROGRAM) program++;
    for (int l = 0; l < 3; l++) {
        struct fm_buf text = FM_BUF(4096);
        fm_buf_printf(&text, "{\"kind\":\"row\",\"v\":1,\"cell\":\"%s\",\"batch\":%" PRId64 ",\"val_batch\":%" PRId64 ",\"phase\":\"train\","
                      "\"role\":\"boundary\",\"launch\":%d,\"outcome\":\"%s\",\"program\":\"%016" PRIx64 "\"", id, batch, batch, l + 1,
                      flaw == FAILED ? "crash" : "ok", program);
        if (flaw != FAILED) fm_buf_printf(&text, ",\"measured\":{\"reserved_bytes\":1,\"step_ns\":[%.0f]}", seconds * noise[l] * 1e9);
        fm_buf_puts(&text, "}");
        add(run, &text);
        fm_buf_release(&text);
    }
}

static void add_cell(struct run *run, const struct fm_cell *cell, const int64_t *batches, enum flaw flaw)
{
    struct fm_buf text = FM_BUF(16384);
    char id[32];
    (void)snprintf(id, sizeof id, "c%zu", run->records.count);
    fm_buf_printf(&text, "{\"kind\":\"cell\",\"v\":1,\"id\":\"%s\",\"train_id\":\"t%s\",\"device\":\"%s\",\"workload\":\"%s\",\"model_id\":\"m\","
                  "\"changes_model\":[],\"set\":{", id, id, flaw == OTHER_DEVICE ? "cpu" : "cuda:0", cell->settings.workload->name);
    for (uint32_t i = 0; i < cell->settings.workload->settings; i++)
        fm_buf_printf(&text, "%s\"%s\":\"%s\"", i ? "," : "", cell->settings.workload->setting[i].name, cell->settings.value[i].text);
    fm_buf_puts(&text, "},\"strategies\":{");
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) fm_buf_printf(&text, "%s\"%s\":\"%s\"", i ? "," : "", fm_strategies[i]->name, cell->value[i]);
    fm_buf_puts(&text, flaw == UNKNOWN_STRATEGY ? ",\"levitation\":\"on\"}}" : "}}");
    add(run, &text);
    for (int b = 0; b < 2; b++) add_rows(run, cell, id, batches[b], flaw);
    fm_buf_clear(&text);
    fm_buf_printf(&text, "{\"kind\":\"verdict\",\"v\":1,\"cell\":\"%s\",\"outcome\":\"ok\",\"max_batch\":{\"train\":%" PRId64 ",\"val\":0},"
                  "\"certified\":true,\"mistrusted\":%s}", id, batches[1], flaw == MISTRUSTED ? "true" : "false");
    add(run, &text);
    fm_buf_release(&text);
}

static void begin(struct run *run)
{
    struct fm_buf text = FM_BUF(4096);
    *run = (struct run){ .slow = 1, .gpu = { .capability = 80, .title = CARD } };
    static const struct { enum fm_gpu_field field; double value; } figures[] = {
        { FM_GPU_FP32_TFLOPS, 1 }, { FM_GPU_FP16_TFLOPS, 4 }, { FM_GPU_BF16_TFLOPS, 4 }, { FM_GPU_BANDWIDTH_GBS, 500 },
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        run->gpu.figure[figures[i].field] = (struct fm_gpu_figure){ figures[i].value, 1 };
    fm_buf_puts(&text, "{\"kind\":\"run\",\"v\":1,\"tool\":\"1\",\"seed\":\"1\",\"devices\":[{\"id\":\"cuda:0\",\"name\":\"" CARD "\"},"
                "{\"id\":\"cpu\",\"name\":\"Another\"}]}");
    add(run, &text);
    fm_buf_release(&text);
}

static void end(struct run *run)
{
    fm_result_release(&run->result);
    fm_records_release(&run->records);
}

static void calibrate(struct run *run, struct fm_calibrated *out)
{
    struct fm_err err = { 0 };
    if (fm_result_fold(&run->records, &run->result, &err) != FM_OK) fail_msg("%s", err.text);
    if (fm_calibrate(&run->result, "runs/a", &run->gpu, out, &err) != FM_OK) fail_msg("%s", err.text);
}

static const char *const inputs[] = { "16x16x16", "32x16x16", "32x32x16", "32x32x32" };

static void add_unets(struct run *run)
{
    struct fm_cell cell;
    for (int i = 0; i < 4; i++) {
        cell_of("denseunet3d", inputs[i], "fp32", &cell);
        add_cell(run, &cell, (const int64_t[]){ 1 + i % 2, 3 + i }, SOUND);
    }
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * want)) fail_msg("%g, not %g", got, want);
}

/* planned for a batch that did not run, and the basis */
static void check(const struct run *run, const struct fm_calibrated *c, const struct fm_cell *cell, const char *basis)
{
    struct fm_buf text = FM_BUF(2048);
    struct fm_roofline bound;
    uint64_t program;
    double want = step_seconds(run, cell, 9, &program, &bound), got = fm_calibrated_seconds(c, cell, &bound, &text);
    if (strncmp(basis, "bound", 5) == 0) assert_true(isnan(got));
    else near(got, want, 0.01);
    if (!strstr(fm_buf_text(&text), basis)) fail_msg("'%s' does not say '%s'", fm_buf_text(&text), basis);
    fm_buf_release(&text);
}

static void speed_of_what_did_not_run(void **state)
{
    (void)state;
    struct run run;
    struct fm_calibrated c;
    struct fm_cell cell;
    begin(&run);
    add_unets(&run);
    calibrate(&run, &c);
    assert_true(c.known && c.cells == 4 && c.fit.points == 8);
    near(c.fit.efficiency[FM_ROOFLINE_CONV_FP32], CONV, 0.01);
    near(c.fit.efficiency[FM_ROOFLINE_REST], REST, 0.01);
    cell_of("denseunet3d", "32x48x32", "fp32", &cell);
    check(&run, &c, &cell, "calibrated from 4 cells of runs/a on " CARD "; a cell left out of the fit is off by 0 % (median)");
    check(&run, NULL, &cell, "bound (uncalibrated)");
    cell_of("denseunet3d", "32x48x32", "fp16", &cell);
    check(&run, &c, &cell, "bound (uncalibrated: no fp16 convolutions in runs/a on " CARD ")");
    cell_of("segformer", "64x64", "fp32", &cell);
    check(&run, &c, &cell, "bound (uncalibrated: no fp32 products in runs/a on " CARD ")");
    end(&run);
    assert_int_equal(fm_memory_live, 0);
}

/* the other network's products were measured, the network was not */
static void other_network_is_said(void **state)
{
    (void)state;
    struct run run;
    struct fm_calibrated c;
    struct fm_cell cell;
    begin(&run);
    cell_of("segformer", "64x64", "fp32", &cell);
    add_cell(&run, &cell, (const int64_t[]){ 2, 5 }, SOUND);
    cell_of("segformer", "128x64", "fp32", &cell);
    add_cell(&run, &cell, (const int64_t[]){ 1, 4 }, SOUND);
    calibrate(&run, &c);
    assert_true(c.known && c.cells == 2 && isnan(c.fit.error));
    check(&run, &c, &cell, "calibrated from 2 cells of runs/a on " CARD "; too few cells to tell how well");
    struct fm_buf text = FM_BUF(2048);
    struct fm_roofline bound;
    uint64_t program;
    cell_of("denseunet3d", "16x16x16", "fp32", &cell);
    (void)step_seconds(&run, &cell, 2, &program, &bound);
    (void)fm_calibrated_seconds(&c, &cell, &bound, &text);
    if (!strstr(fm_buf_text(&text), "; extrapolated: no denseunet3d in it")) fail_msg("%s", fm_buf_text(&text));
    fm_buf_release(&text);
    end(&run);
}

/* steps that took five times as long, in cells that must not count: nothing of them is seen */
static void what_cannot_be_trusted_is_left_out(void **state)
{
    (void)state;
    for (enum flaw flaw = OTHER_PROGRAM; flaw <= FAILED; flaw++) {
        struct run run;
        struct fm_calibrated c;
        struct fm_cell cell;
        begin(&run);
        run.slow = 5;
        for (int i = 0; i < 4; i++) {
            cell_of("denseunet3d", inputs[3 - i], "fp32", &cell);
            add_cell(&run, &cell, (const int64_t[]){ 2, 7 }, flaw);
        }
        run.slow = 1;
        calibrate(&run, &c);
        assert_false(c.known);
        bool version = flaw == OTHER_PROGRAM || flaw == UNKNOWN_STRATEGY;
        assert_int_equal(c.other_programs, version ? 8 : 0);
        cell_of("denseunet3d", "32x48x32", "fp32", &cell);
        check(&run, &c, &cell, version ? "bound (uncalibrated: the steps measured in runs/a are of another version of fillmark)"
                                       : "bound (uncalibrated: runs/a has no measured steps of " CARD ")");
        fm_result_release(&run.result);
        add_unets(&run);
        calibrate(&run, &c);
        assert_true(c.known && c.cells == 4 && c.fit.points == 8);
        check(&run, &c, &cell, version ? "8 points of another version left out" : "calibrated from 4 cells of");
        end(&run);
    }
}

static void faults(void **state)
{
    (void)state;
    struct run run;
    struct fm_err err = { 0 };
    struct fm_calibrated c;
    begin(&run);
    struct fm_cell cell;
    cell_of("denseunet3d", inputs[0], "fp32", &cell);
    assert_int_equal(fm_settings_set(&cell.settings, "levels", "1", &err), FM_OK);
    add_cell(&run, &cell, (const int64_t[]){ 1, 2 }, SOUND);
    if (fm_result_fold(&run.records, &run.result, &err) != FM_OK) fail_msg("%s", err.text);
    long live = fm_memory_live, n = 0;
    for (bool hit = true; hit; n++) {
        fm_fault = (struct fm_fault){ .armed = true, .left = n };
        fm_status status = fm_calibrate(&run.result, "runs/a", &run.gpu, &c, &err);
        hit = fm_fault.hits > 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status, hit ? FM_NOMEM : FM_OK);
        assert_int_equal(c.known, !hit);
        assert_int_equal(fm_memory_live, live);
    }
    assert_true(n > 10);
    end(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speed_of_what_did_not_run), cmocka_unit_test(other_network_is_said),
        cmocka_unit_test(what_cannot_be_trusted_is_left_out), cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
