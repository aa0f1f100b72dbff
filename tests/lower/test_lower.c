/* What holds for every lowering: programs that check, one program for one cell, peaks that move the way they must,
 * no leak whatever fails. */
#include "tests/lower/support_random.h"

#include "probes/memory/planner.h"
#include "tuner/base/memory.h"
#include "workloads/graph/build.h"
#include "workloads/strategies/strategies.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ROUND INT64_C(512)
#define LONG_STEPS 40               /* far more than a plan replays */

static void lower(const struct fm_graph *graph, const struct fm_policy *policy, struct fm_program *program,
                  const char *what)
{
    struct fm_err err = { 0 };
    if (fm_lower(graph, policy, program, &err) != FM_OK) fail_msg("%s: %s", what, err.text);
    if (fm_program_check(program, &err) != FM_OK) fail_msg("%s: %s", what, err.text);
}

static struct fm_plan plan_of(struct fm_planner *planner, const struct fm_program *program)
{
    struct fm_plan plan;
    struct fm_err err = { 0 };
    if (fm_planner_run(planner, program, NULL, INT64_MAX, &plan, &err) != FM_OK) fail_msg("%s", err.text);
    assert_true(plan.fits);
    return plan;
}

static void assert_peaks_equal(const struct fm_peak *a, const struct fm_peak *b, const char *what)
{
    if (a->counted_bytes != b->counted_bytes || a->allocated_bytes != b->allocated_bytes ||
        a->reserved_bytes != b->reserved_bytes)
        fail_msg("%s: peaks %" PRId64 " %" PRId64 " %" PRId64 " and %" PRId64 " %" PRId64 " %" PRId64, what,
                 a->counted_bytes, a->allocated_bytes, a->reserved_bytes, b->counted_bytes, b->allocated_bytes,
                 b->reserved_bytes);
}

/* ---- random cells ---- */

static void random_cells_check(void **state)
{
    (void)state;
    struct fm_program reused = { 0 }, fresh = { 0 };
    struct fm_planner planner = { 0 };
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct random_cell cell;
        struct fm_graph graph;
        random_cell(&cell, seed);
        random_cell_build(&cell, &graph);
        lower(&graph, &cell.policy, &reused, cell.text);            /* after any other program */
        lower(&graph, &cell.policy, &fresh, cell.text);
        if (fm_program_hash(&reused) != fm_program_hash(&fresh)) fail_msg("%s: a reused program differs", cell.text);
        struct fm_plan a = plan_of(&planner, &reused), b = plan_of(&planner, &fresh);
        assert_peaks_equal(&a.train, &b.train, cell.text);
        assert_peaks_equal(&a.val, &b.val, cell.text);
        assert_int_equal(fresh.samples,
                         (cell.train_batch ? cell.train_batch : cell.val_batch) * cell.policy.accumulate);
        fm_graph_release(&graph);
        fm_program_release(&fresh);
    }
    fm_program_release(&reused);
    fm_planner_release(&planner);
}

/* A plan stops at the first state it has seen: no later step may take more. By replaying many steps. */
static void plans_are_settled(void **state)
{
    (void)state;
    struct fm_planner planner = { 0 };
    struct fm_program program = { 0 };
    int settled = 0, all = 0;
    for (uint64_t seed = 1000; seed < 1060; seed++) {
        struct random_cell cell;
        struct fm_graph graph;
        struct fm_err err = { 0 };
        random_cell(&cell, seed);
        cell.val_batch = 0;
        if (!cell.train_batch) cell.train_batch = 1;
        random_cell_build(&cell, &graph);
        lower(&graph, &cell.policy, &program, cell.text);
        struct fm_plan plan = plan_of(&planner, &program);
        fm_allocator_clear(&planner.allocator);
        struct fm_replay r = { .program = &program, .allocator = &planner.allocator };
        assert_int_equal(fm_replay_init(&r, &err), FM_OK);
        assert_int_equal(fm_replay_section(&r, FM_SECTION_INIT, &err), FM_OK);
        assert_int_equal(fm_replay_section(&r, FM_SECTION_TRAIN_FIRST, &err), FM_OK);
        for (int step = 0; step < LONG_STEPS; step++)
            assert_int_equal(fm_replay_section(&r, FM_SECTION_TRAIN, &err), FM_OK);
        all++;
        settled += plan.train_steps < FM_REPLAY_MAX_STEPS;
        assert_in_range(plan.train_steps + plan.tail_steps, 1, LONG_STEPS);
        assert_peaks_equal(&plan.train, &r.peak[0], cell.text);
        fm_replay_release(&r);
        fm_graph_release(&graph);
    }
    print_message("%d of %d plans settled within %d steps\n", settled, all, FM_REPLAY_MAX_STEPS);
    assert_true(settled * 3 >= all);
    fm_program_release(&program);
    fm_planner_release(&planner);
}

/* ---- peaks move the way they must ---- */

struct bench {
    struct fm_settings settings;
    struct fm_policy policy;
    struct fm_program program;
    struct fm_planner planner;
};

static struct bench unet(const char *input)
{
    struct bench b = { .policy = fm_policy_default() };
    struct fm_err err = { 0 };
    fm_settings_default(&b.settings, &fm_denseunet3d);
    if (fm_settings_set(&b.settings, "input", input, &err) != FM_OK) fail_msg("%s", err.text);
    b.policy.accounting = FM_ACCOUNTING_DISPATCH;
    b.policy.loop = FM_LOOP_PLAIN;
    return b;
}

static int64_t counted(struct bench *b, int64_t batch)
{
    struct fm_graph graph;
    struct fm_err err = { 0 };
    if (fm_settings_build(&b->settings, batch, 0, &graph, &err) != FM_OK) fail_msg("%s", err.text);
    lower(&graph, &b->policy, &b->program, b->settings.workload->name);
    struct fm_plan plan = plan_of(&b->planner, &b->program);
    fm_graph_release(&graph);
    return plan.train.counted_bytes;
}

static void release(struct bench *b)
{
    fm_program_release(&b->program);
    fm_planner_release(&b->planner);
}

/* what a network needs beside its samples is constant, where sizes of a sample are multiples of 512 bytes */
static void peak_is_affine_in_batch(void **state)
{
    (void)state;
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F16 };
    for (int i = 0; i < 2; i++) {
        struct bench b = unet("64x64x64");
        b.policy.autocast = dtypes[i];
        int64_t one = counted(&b, 1), step = counted(&b, 2) - one;
        assert_true(step > 0);
        for (int64_t batch = 3; batch <= 9; batch++) assert_int_equal(counted(&b, batch), one + (batch - 1) * step);
        release(&b);
    }
}

static void peak_grows_with_batch(void **state)
{
    (void)state;
    struct bench b = { .policy = fm_policy_default() };
    fm_settings_default(&b.settings, &fm_segformer);
    for (int loop = 0; loop < 2; loop++) {
        b.policy.loop = loop ? FM_LOOP_LOADER : FM_LOOP_PLAIN;
        for (int64_t batch = 1, last = 0; batch <= 8; batch++) {
            int64_t now = counted(&b, batch);
            assert_true(now > last);
            last = now;
        }
    }
    release(&b);
}

static void checkpointing_lowers_the_peak(void **state)
{
    (void)state;
    uint8_t all[16];
    struct bench b = unet("160x160x256");
    int64_t plain = counted(&b, 1);
    memset(all, 1, sizeof all);
    b.policy.checkpoint = all;
    assert_true(counted(&b, 1) < plain);
    release(&b);
}

static int64_t gradient_bytes(const struct fm_program *p)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < p->storage_count; i++)
        if (p->storage[i].kind == FM_STORAGE_PARAMETER) bytes += (p->storage[i].bytes + ROUND - 1) / ROUND * ROUND;
    return bytes;
}

/* Later passes find the gradients of the first: between nothing and all of them more, and the two scalars of the loss's
 * division. A third pass adds nothing. So do gradients that are kept, without the division. */
static void accumulation_adds_gradients_alone(void **state)
{
    (void)state;
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F16, FM_BF16 };
    for (int i = 0; i < 3; i++) {
        struct bench b = unet("32x32x32");
        b.policy.autocast = dtypes[i];
        int64_t once = counted(&b, 2), gradients = gradient_bytes(&b.program);
        b.policy.accumulate = 2;
        int64_t twice = counted(&b, 2);
        b.policy.accumulate = 3;
        assert_int_equal(counted(&b, 2), twice);
        assert_in_range(twice - once, 0, gradients + 2 * ROUND);
        b.policy.accumulate = 1;
        b.policy.keep_grads = true;
        assert_in_range(counted(&b, 2) - once, 0, gradients);
        release(&b);
    }
}

/* One sample: slices of a concatenation's gradient are dense, no kernel copies, and adding in place can only save. */
static void eager_takes_no_more_than_dispatch(void **state)
{
    (void)state;
    struct bench b = unet("32x64x64");
    int64_t dispatch = counted(&b, 1);
    b.policy.accounting = FM_ACCOUNTING_EAGER;
    assert_true(counted(&b, 1) <= dispatch);
    release(&b);
}

/* ---- recomputation ---- */

static uint32_t stream_calls(const struct fm_program *p, uint64_t stream)
{
    uint32_t calls = 0;
    for (size_t i = p->section[FM_SECTION_TRAIN]; i < p->section[FM_SECTION_TRAIN + 1]; i++) {
        if (p->instr[i].kind != FM_CALL) continue;
        const struct fm_call *c = &p->call[p->instr[i].a];
        calls += c->kernel == FM_K_DROPOUT && p->attr[c->attr].stream == stream;
    }
    return calls;
}

/* a recomputed dropout draws the mask of the forward pass; every site and micro-batch draws its own */
static void recomputation_repeats_dropout(void **state)
{
    (void)state;
    uint8_t all[16];
    struct bench b = unet("32x32x32");
    struct fm_err err = { 0 };
    memset(all, 1, sizeof all);
    if (fm_settings_set(&b.settings, "dropout", "on", &err) != FM_OK) fail_msg("%s", err.text);
    b.policy.accumulate = 2;
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        b.policy.checkpoint = checkpoint ? all : NULL;
        (void)counted(&b, 1);
        const struct fm_program *p = &b.program;
        uint32_t sites = 0;
        for (size_t i = p->section[FM_SECTION_TRAIN]; i < p->section[FM_SECTION_TRAIN + 1]; i++) {
            if (p->instr[i].kind != FM_CALL || p->call[p->instr[i].a].kernel != FM_K_DROPOUT) continue;
            assert_int_equal(stream_calls(p, p->attr[p->call[p->instr[i].a].attr].stream), checkpoint ? 2 : 1);
            sites++;
        }
        assert_int_equal(sites, 5 * 2 * (checkpoint ? 2 : 1));
    }
    release(&b);
}

/* a block that saves more than any fixed table would hold */
static void long_block(void **state)
{
    (void)state;
    enum { LENGTH = 20000 };
    struct fm_err err = { 0 };
    struct fm_graph graph;
    struct fm_build *b = fm_build_new("long", &err);
    struct fm_module conv = fm_new_conv(b, "conv", (struct fm_conv){ .dims = 3, .in = 1, .out = 1, .kernel = 1 });
    fm_build_body(b, FM_BODY_TRAIN, 1);
    fm_value x = fm_apply(b, &conv, fm_input(b, "x", FM_INPUT_VOLUME, 2, (struct fm_shape){ 5, { 1, 1, 2, 2, 2 } }));
    fm_body_output(b, x);
    fm_block_begin(b, "block");
    for (int i = 0; i < LENGTH; i++) x = fm_silu(b, "silu", x);
    fm_body_loss(b, fm_mean(b, "mean", fm_block_end(b, x)));
    if (fm_build_finish(b, &graph, &err) != FM_OK) fail_msg("%s", err.text);
    fm_build_free(b);
    struct bench bench = { .policy = fm_policy_default() };
    bench.policy.accounting = FM_ACCOUNTING_DISPATCH;
    lower(&graph, &bench.policy, &bench.program, "long");
    int64_t plain = plan_of(&bench.planner, &bench.program).train.counted_bytes;
    assert_true(plain >= LENGTH * ROUND);
    uint8_t one = 1;
    bench.policy.checkpoint = &one;
    lower(&graph, &bench.policy, &bench.program, "long");
    assert_in_range(plan_of(&bench.planner, &bench.program).train.counted_bytes - plain, 0, 4 * ROUND);
    fm_graph_release(&graph);
    release(&bench);
}

/* ---- what is refused, and what fails ---- */

static void bad_policies_are_refused(void **state)
{
    (void)state;
    struct bench b = unet("16x16x16");
    struct fm_graph graph, empty = { .name = "empty" };
    struct fm_err err = { 0 };
    assert_int_equal(fm_settings_build(&b.settings, 1, 0, &graph, &err), FM_OK);
    static const uint32_t counts[] = { 0, 1025, UINT32_MAX };
    for (int i = 0; i < 3; i++) {
        err = (struct fm_err){ 0 };
        b.policy.accumulate = counts[i];
        assert_int_equal(fm_lower(&graph, &b.policy, &b.program, &err), FM_INVALID);
        assert_non_null(strstr(err.text, "accumulate"));
    }
    b.policy.accumulate = 1;
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_lower(&empty, &b.policy, &b.program, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "empty"));
    fm_graph_release(&graph);
    release(&b);
}

static fm_status everything_once(struct fm_err *err)
{
    static const uint8_t some[8] = { 1, 0, 1, 1 };
    struct fm_settings settings;
    struct fm_graph graph = { 0 };
    struct fm_program program = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_plan plan;
    struct fm_policy policy = fm_policy_default();
    fm_status status = FM_OK;
    policy.autocast = FM_F16;
    policy.loss_scaler = true;
    policy.checkpoint = some;
    policy.accumulate = 2;
    fm_settings_default(&settings, &fm_denseunet3d);
    FM_TRY(fm_settings_set(&settings, "base_channels", "1", err));
    FM_TRY(fm_settings_set(&settings, "levels", "1", err));
    FM_TRY(fm_settings_set(&settings, "classes", "2", err));
    FM_TRY(fm_settings_set(&settings, "input", "4x4x4", err));
    FM_TRY(fm_settings_build(&settings, 2, 1, &graph, err));
    FM_TRY(fm_lower(&graph, &policy, &program, err));
    FM_TRY(fm_planner_run(&planner, &program, NULL, INT64_MAX, &plan, err));
out:
    fm_planner_release(&planner);
    fm_program_release(&program);
    fm_graph_release(&graph);
    return status;
}

static void no_memory_anywhere(void **state)
{
    (void)state;
    long live = fm_memory_live, faults = 0;
    for (;; faults++) {
        for (int sticky = 0; sticky < 2; sticky++) {
            struct fm_err err = { 0 };
            fm_fault = (struct fm_fault){ .left = faults, .armed = true, .sticky = sticky };
            fm_status status = everything_once(&err);
            long hits = fm_fault.hits;
            fm_fault = (struct fm_fault){ 0 };
            assert_int_equal(fm_memory_live, live);
            assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
            if (hits) continue;
            print_message("%ld places where memory could run out\n", faults);
            assert_true(faults > 50);
            return;
        }
    }
}

/* Fragmentation that settles late: who lives where comes back only after dozens of steps, and a peak grows on the way. */
static void late_peaks_are_planned(void **state)
{
    (void)state;
    static const struct { const char *channels, *precision, *checkpoint; int64_t batch; } cases[] = {
        { "1", "fp32", "blocks", 9 }, { "1/2", "fp32", "none", 9 }, { "1/2", "bf16", "none", 13 }, { "1/2", "bf16", "none", 18 },
    };
    struct fm_program program = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_err err = { 0 };
    int late = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_cell cell;
        fm_cell_default(&cell, &fm_segformer);
        assert_int_equal(fm_settings_set(&cell.settings, "input", "128x128", &err), FM_OK);
        assert_int_equal(fm_cell_set(&cell, FM_STRATEGY_CHANNELS, cases[i].channels, &err), FM_OK);
        assert_int_equal(fm_cell_set(&cell, FM_STRATEGY_PRECISION, cases[i].precision, &err), FM_OK);
        assert_int_equal(fm_cell_set(&cell, FM_STRATEGY_CHECKPOINT, cases[i].checkpoint, &err), FM_OK);
        assert_int_equal(fm_cell_lower(&cell, (struct fm_cell_batch){ .train = cases[i].batch }, &program, &err), FM_OK);
        struct fm_plan plan = plan_of(&planner, &program);
        fm_allocator_clear(&planner.allocator);
        struct fm_replay r = { .program = &program, .allocator = &planner.allocator };
        assert_int_equal(fm_replay_init(&r, &err), FM_OK);
        assert_int_equal(fm_replay_section(&r, FM_SECTION_INIT, &err), FM_OK);
        assert_int_equal(fm_replay_section(&r, FM_SECTION_TRAIN_FIRST, &err), FM_OK);
        for (uint32_t step = 0; step < 200; step++) {
            assert_int_equal(fm_replay_section(&r, FM_SECTION_TRAIN, &err), FM_OK);
            /* as many steps as the plan names are enough to see its peaks */
            if (step + 1 == plan.train_steps + plan.tail_steps) assert_peaks_equal(&plan.train, &r.peak[0], "then");
        }
        assert_peaks_equal(&plan.train, &r.peak[0], "later");
        late += plan.tail_steps > 0;
        fm_replay_release(&r);
    }
    assert_true(late > 1);
    fm_program_release(&program);
    fm_planner_release(&planner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_cells_check),        cmocka_unit_test(plans_are_settled),
        cmocka_unit_test(peak_is_affine_in_batch),   cmocka_unit_test(peak_grows_with_batch),
        cmocka_unit_test(checkpointing_lowers_the_peak), cmocka_unit_test(accumulation_adds_gradients_alone),
        cmocka_unit_test(eager_takes_no_more_than_dispatch), cmocka_unit_test(recomputation_repeats_dropout),
        cmocka_unit_test(late_peaks_are_planned),   cmocka_unit_test(long_block),                cmocka_unit_test(bad_policies_are_refused),
        cmocka_unit_test(no_memory_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
