/* The law of memory: what the planner says by arithmetic is what execution takes, to the byte, and where it ends.
 *
 * Random cells run on the cpu backend with its real workspaces: without a limit, with exactly the planned peak, with one
 * byte less, and with random capacities below. Every time worker and planner must agree on whether it fits, on what was
 * being allocated when it did not, and on every peak up to there. */
#include "probes/backends/cpu/cpu.h"
#include "probes/memory/planner.h"
#include "tests/engine/support_session.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define CELLS 16
#define MIB (INT64_C(1) << 20)
#define UNLIMITED (INT64_C(2) << 30)

static struct fm_backend *cpu;
static bool bf16;
static long retreats, wrong_workspaces, executed, out_of_memory;

/* ---- a cpu that offers larger workspaces before the one it needs ---- */

static fm_status generous_candidates(struct fm_backend *backend, const struct fm_problem *problem, struct fm_candidates *out,
                                     struct fm_err *err)
{
    fm_status status = fm_backend_cpu.candidates(backend, problem, out, err);
    if (status != FM_OK || !out->count) return status;
    int64_t need = out->item[0].workspace_bytes;
    *out = (struct fm_candidates){ .count = 3, .item = { { need + 5 * MIB, "largest" }, { need + 3 * MIB, "larger" }, { need, "least" } } };
    return FM_OK;
}

static fm_status generous_run(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_launch plain = *launch;
    struct fm_candidates offered;
    fm_status status = generous_candidates(backend, &launch->problem, &offered, err);
    if (status != FM_OK) return status;
    if (offered.count && launch->workspace_bytes) {
        wrong_workspaces += launch->workspace_bytes != offered.item[launch->candidate].workspace_bytes;
        memset(launch->workspace, 0xA5, 1);
        memset((char *)launch->workspace + launch->workspace_bytes - 1, 0xA5, 1);
    }
    retreats += launch->candidate > 0;
    plain.candidate = 0;
    return fm_backend_cpu.run(backend, &plain, err);
}

/* ---- random cells ---- */

static uint64_t draws;

static uint32_t below(uint32_t n)
{
    return (uint32_t)(fm_rng_u64(11, 1, draws++) % n);
}

/* appends " KEY=VALUE" with one of the values, which are divided by spaces. One draw a call: arguments of one call would
 * be drawn in an order that compilers are free to choose. */
static void add(char *words, size_t room, const char *key, const char *values)
{
    uint32_t count = 1;
    for (const char *c = values; *c; c++) count += *c == ' ';
    for (uint32_t skip = below(count); skip > 0; skip--) values += strcspn(values, " ") + 1;
    size_t used = strlen(words);
    (void)snprintf(words + used, room - used, " %s=%.*s", key, (int)strcspn(values, " "), values);
}

struct axis { const char *key, *values; };

static const struct axis common[] = {
    { "+optimizer", "adamw adamw-amsgrad adam sgd" }, { "+optimizer_form", "foreach fused for-loop" },
    { "+accumulate", "1 1 2" }, { "+zero_grad", "none keep" }, { "+val_batch", "same half" },
    { "+loop", "loader plain" }, { "+accounting", "eager eager dispatch" },
};

static const struct axis segformer[] = {
    { "input", "32x32 64x32 96x64" }, { "classes", "2 4 19" }, { "drop_path", "0 0.2" }, { "+channels", "1/8 1/4 1/2" },
    { "+checkpoint", "none blocks s1.b0+s3.b1" },
};

static const struct axis unet[] = {
    { "base_channels", "2 5 8" }, { "levels", "2 3" }, { "classes", "2 9" }, { "input", "8x8x8 8x24x8 16x16x16" },
    { "dropout", "off on" }, { "n_infers", "1 3" }, { "ensemble", "keep_all sum running" },
    { "+checkpoint", "none blocks init+dec1" },
};

static void random_cell(char *words, size_t room, int number)
{
    (void)snprintf(words, room, "%s", number % 2 ? "segformer" : "denseunet3d");
    if (number % 2)
        for (size_t i = 0; i < sizeof segformer / sizeof *segformer; i++) add(words, room, segformer[i].key, segformer[i].values);
    else
        for (size_t i = 0; i < sizeof unet / sizeof *unet; i++) add(words, room, unet[i].key, unet[i].values);
    add(words, room, "+precision", bf16 ? "fp32 bf16" : "fp32");
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) add(words, room, common[i].key, common[i].values);
}

/* ---- one probe ---- */

static fm_status execute(struct fm_engine *e, bool *val, struct fm_err *err)
{
    fm_status status = FM_OK;
    *val = false;
    FM_TRY(fm_engine_run(e, FM_SECTION_INIT, NULL, err));
    FM_TRY(fm_engine_run(e, FM_SECTION_TRAIN_FIRST, NULL, err));
    FM_TRY(fm_engine_settle(e, FM_SECTION_TRAIN, 1, err));
    *val = true;
    FM_TRY(fm_engine_run(e, FM_SECTION_VAL_FIRST, NULL, err));
    FM_TRY(fm_engine_settle(e, FM_SECTION_VAL, 1, err));
    FM_TRY(fm_engine_run(e, FM_SECTION_VAL_EXIT, NULL, err));
    *val = false;
    FM_TRY(fm_engine_settle(e, FM_SECTION_TRAIN, 1, err));
out:
    return status;
}

static void same_peak(const char *words, const char *phase, const struct fm_peak *planned, const struct fm_peak *measured)
{
    const struct { const char *what; int64_t planned, measured; } row[] = {
        { "allocated", planned->allocated_bytes, measured->allocated_bytes },
        { "reserved", planned->reserved_bytes, measured->reserved_bytes },
        { "counted", planned->counted_bytes, measured->counted_bytes },
        { "workspace", planned->workspace_bytes, measured->workspace_bytes },
        { "instruction", planned->instr, measured->instr },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (row[i].planned != row[i].measured)
            fail_msg("%s: %s, %s: planned %lld, measured %lld", words, phase, row[i].what, (long long)row[i].planned,
                     (long long)row[i].measured);
    for (int i = 0; i < FM_BREAKDOWN_COUNT; i++)
        if (planned->breakdown_bytes[i] != measured->breakdown_bytes[i])
            fail_msg("%s: %s, %s: planned %lld, measured %lld", words, phase, fm_breakdown_name(i),
                     (long long)planned->breakdown_bytes[i], (long long)measured->breakdown_bytes[i]);
}

/* runs a program under a capacity and compares; returns the plan */
static struct fm_plan agree(const char *words, const struct fm_program *program, const struct fm_backend_ops *ops, int64_t capacity)
{
    static struct fm_engine engine;
    static struct fm_planner planner;
    struct fm_plan plan;
    struct fm_err err = { 0 };
    bool val = false;
    struct fm_engine_config config = { .ops = ops, .backend = cpu, .program = program, .memory_bytes = capacity, .seed = 3 };
    if (fm_engine_open(&engine, &config, &err) != FM_OK) fail_msg("%s: %s", words, err.text);
    if (fm_planner_run(&planner, program, &engine.workspaces, capacity, &plan, &err) != FM_OK) fail_msg("%s: %s", words, err.text);
    fm_status status = execute(&engine, &val, &err);
    const struct fm_replay *r = &engine.replay;
    if (status != FM_OK && status != FM_OOM) fail_msg("%s: %s", words, err.text);
    if (plan.fits != (status == FM_OK))
        fail_msg("%s in %lld bytes: planned to %s, but it %s", words, (long long)capacity, plan.fits ? "fit" : "fail",
                 status == FM_OK ? "fits" : "fails");
    same_peak(words, "training", &plan.train, &r->peak[0]);
    same_peak(words, "validation", &plan.val, &r->peak[1]);
    assert_true(engine.source.used_bytes <= capacity);
    if (status == FM_OOM) {
        const struct fm_instr *at = &program->instr[r->oom_instr];
        uint32_t label = at->kind == FM_CALL ? program->call[at->a].label : program->storage[at->a].label;
        assert_string_equal(plan.oom_at, program->names + label);
        assert_int_equal(plan.oom_bytes, r->oom_bytes);
        assert_int_equal(plan.limited_by_val, val);
    }
    executed++;
    out_of_memory += status == FM_OOM;
    fm_planner_release(&planner);
    fm_engine_close(&engine);
    return plan;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static void random_cells(const struct fm_backend_ops *ops, int cells)
{
    static struct fm_program program;
    for (int n = 0; n < cells; n++) {
        char words[512];
        struct fm_cell cell;
        struct fm_err err = { 0 };
        random_cell(words, sizeof words, n);
        fm_session_cell(&cell, words);
        int64_t batch = 1 + below(3);
        struct fm_cell_batch batches = { .train = batch, .val = fm_cell_val_batch(&cell, batch) };
        if (fm_cell_lower(&cell, batches, &program, &err) != FM_OK) fail_msg("%s: %s", words, err.text);
        struct fm_plan plan = agree(words, &program, ops, UNLIMITED);
        assert_true(plan.fits && plan.train.workspace_bytes > 0);
        int64_t peak = larger(plan.train.reserved_bytes, plan.val.reserved_bytes);
        assert_true(agree(words, &program, ops, peak).fits);
        (void)agree(words, &program, ops, peak - 1);
        (void)agree(words, &program, ops, peak * (40 + below(58)) / 100);
        (void)agree(words, &program, ops, peak * (1 + below(20)) / 100);
    }
    fm_program_release(&program);
}

static void planned_peaks_and_limits_are_measured_ones(void **state)
{
    (void)state;
    executed = out_of_memory = 0;
    random_cells(&fm_backend_cpu, CELLS);
    if (executed < 50 || out_of_memory < 25) fail_msg("only %ld runs, %ld of them out of memory", executed, out_of_memory);
}

static void workspaces_retreat_alike(void **state)
{
    (void)state;
    struct fm_backend_ops ops = fm_backend_cpu;
    ops.candidates = generous_candidates;
    ops.run = generous_run;
    executed = out_of_memory = retreats = 0;
    random_cells(&ops, 6);
    assert_int_equal(wrong_workspaces, 0);
    if (retreats < 100 || out_of_memory < 3) fail_msg("only %ld retreats, %ld out of memory", retreats, out_of_memory);
}

static int open_cpu(void **state)
{
    (void)state;
    struct fm_cell volumes, images;           /* a CPU may have the one's kernels in bf16 and not the other's */
    fm_session_cell(&volumes, "denseunet3d base_channels=2 levels=2 input=8x8x8 +precision=bf16");
    fm_session_cell(&images, "segformer input=32x32 +precision=bf16");
    bf16 = fm_session_supported(&fm_backend_cpu, &volumes) && fm_session_supported(&fm_backend_cpu, &images);
    return fm_backend_cpu.open(&(struct fm_backend_config){ .threads = 1 }, &cpu, NULL);
}

static int close_cpu(void **state)
{
    (void)state;
    fm_backend_cpu.close(cpu);
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_peaks_and_limits_are_measured_ones),
        cmocka_unit_test(workspaces_retreat_alike),
    };
    return cmocka_run_group_tests(tests, open_cpu, close_cpu);
}
