/* cuBLAS' workspaces (rule 46): taken at the first matrix product of forward and of backward, once each, and kept; a product
 * with its bias in the epilogue has cuBLASLt's for the time of its call. */
#include "probes/memory/planner.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/absent.h"
#include "workloads/program/pytorch.h"
#include "workloads/strategies/strategies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define SM90_BYTES INT64_C(33554432)

static const struct fm_gpu hopper = { .name = "x", .capability = 90 }, ada = { .name = "y", .capability = 89 };

static void lower(const char *workload, struct fm_program *program)
{
    struct fm_cell cell;
    struct fm_err err = { 0 };
    const struct fm_workload *w = fm_workload_find(workload, &err);
    assert_non_null(w);
    fm_cell_default(&cell, w);
    assert_int_equal(fm_settings_set(&cell.settings, "input", strcmp(workload, "segformer") == 0 ? "64x64" : "32x32x32", &err), FM_OK);
    if (fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 2, .val = 2 }, program, &err) != FM_OK) fail_msg("%s", err.text);
}

/* ---- one product ---- */

static void sizes_by_architecture_and_bias(void **state)
{
    (void)state;
    static const struct { int capability; int64_t n, k; int bias; int64_t kept, own; } rows[] = {
        { 75, 5, 3, 0, 8519680, 0 },  { 89, 5, 3, 1, 8519680, 1048576 }, { 90, 5, 3, 0, SM90_BYTES, 0 }, { 90, 5, 3, 1, SM90_BYTES, 1048576 },
        { 100, 5, 3, 0, 8519680, 0 }, { 80, 1, 3, 1, 8519680, 0 },       { 80, 5, 1, 1, 8519680, 0 },    { 80, 0, 3, 1, 0, 0 },
        { 80, 5, 3, 2, 8519680, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t n = rows[i].n, k = rows[i].k;
        struct fm_attr attr = { .alpha = 1 };
        /* the bias: none, a row for all rows, or a whole matrix */
        struct fm_operand o[4] = { { .ndim = 2, .size = { 4, n }, .stride = { n, 1 } }, { .ndim = 2, .size = { 4, k }, .stride = { k, 1 } },
                                   { .ndim = 2, .size = { k, n }, .stride = { n, 1 } },
                                   { .ndim = 2, .size = { 4, n }, .stride = { rows[i].bias == 1 ? 0 : n, 1 } } };
        struct fm_problem p = { FM_K_MATMUL, 1, rows[i].bias ? 3 : 2, o, &attr };
        struct fm_candidates got;
        fm_pytorch_product(&p, rows[i].capability, &got);
        assert_true(got.kept_bytes == rows[i].kept);
        assert_int_equal(got.count, rows[i].own > 0);
        if (got.count) assert_true(got.item[0].workspace_bytes == rows[i].own);
    }
}

/* ---- whole steps ---- */

struct seen {
    bool backward;
    uint64_t address[2];        /* of the kept one, by thread; 0: not seen yet */
    long products[2], epilogues;
};

static void note_phase(void *context, enum fm_phase phase)
{
    struct seen *s = context;
    s->backward = phase == FM_PHASE_BACKWARD;
}

static fm_status note_launch(void *context, const struct fm_replay *r, const struct fm_replay_launch *l, struct fm_err *err)
{
    struct seen *s = context;
    struct fm_problem p = fm_program_problem(r->program, l->call);
    (void)err;
    if (p.kernel != FM_K_MATMUL) {
        assert_int_equal(l->workspace_bytes, 0);
        return FM_OK;
    }
    s->products[s->backward]++;
    if (p.n_in > 2) {
        s->epilogues++;
        assert_int_equal(l->workspace_bytes, 1048576);
        assert_true(l->workspace_address && l->workspace_address != s->address[0] && l->workspace_address != s->address[1]);
        return FM_OK;
    }
    assert_true(l->workspace_bytes == SM90_BYTES && l->workspace_address);
    if (!s->address[s->backward]) s->address[s->backward] = l->workspace_address;
    assert_true(l->workspace_address == s->address[s->backward]);
    return FM_OK;
}

static void each_thread_keeps_one(void **state)
{
    (void)state;
    struct fm_program p = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_arithmetic_source source;
    struct fm_allocator allocator;
    struct fm_err err = { 0 };
    struct seen seen = { 0 };
    lower("segformer", &p);
    assert_int_equal(fm_absent_workspaces(&p, &hopper, &table, &err), FM_OK);
    fm_arithmetic_source_init(&source, INT64_MAX);
    struct fm_allocator_config config = fm_allocator_config_default();
    assert_int_equal(fm_allocator_init(&allocator, &config, fm_arithmetic_source_interface(&source), &err), FM_OK);
    struct fm_replay r = { .program = &p, .allocator = &allocator, .workspaces = &table, .launch = note_launch, .phase = note_phase, .context = &seen };
    assert_int_equal(fm_replay_init(&r, &err), FM_OK);
    for (int s = 0; s < FM_SECTION_COUNT; s++) assert_int_equal(fm_replay_section(&r, (enum fm_section)s, &err), FM_OK);
    assert_true(seen.products[0] > 0 && seen.products[1] > 0 && seen.epilogues > 0);
    assert_true(seen.address[0] && seen.address[1] && seen.address[0] != seen.address[1]);
    assert_true(r.live_bytes[FM_BREAKDOWN_WORKSPACE] == 2 * SM90_BYTES);
    fm_replay_release(&r);
    fm_allocator_release(&allocator);
    fm_arithmetic_source_release(&source);
    fm_workspaces_release(&table);
    fm_program_release(&p);
    assert_int_equal(fm_memory_live, 0);
}

static void no_product_no_workspace(void **state)
{
    (void)state;
    struct fm_program p = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_plan plain, with;
    struct fm_err err = { 0 };
    lower("denseunet3d", &p);
    assert_int_equal(fm_absent_workspaces(&p, &ada, &table, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &p, NULL, INT64_MAX, &plain, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &p, &table, INT64_MAX, &with, &err), FM_OK);
    assert_true(plain.train.reserved_bytes == with.train.reserved_bytes && plain.val.allocated_bytes == with.val.allocated_bytes);
    assert_true(fm_plan_least_bytes(&p, &table) == fm_plan_least_bytes(&p, NULL));
    fm_workspaces_release(&table);
    fm_planner_release(&planner);
    fm_program_release(&p);
}

/* all that is alive at the peak grows by them, if the peak is after both; one cannot do with less */
static void plans_hold_them(void **state)
{
    (void)state;
    struct fm_program program = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_plan plain, with;
    struct fm_err err = { 0 };
    lower("segformer", &program);
    assert_int_equal(fm_planner_run(&planner, &program, NULL, INT64_MAX, &plain, &err), FM_OK);
    assert_int_equal(fm_absent_workspaces(&program, &hopper, &table, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &program, &table, INT64_MAX, &with, &err), FM_OK);
    int64_t grown = with.train.allocated_bytes - plain.train.allocated_bytes;
    assert_true(grown >= 2 * SM90_BYTES && grown <= 2 * SM90_BYTES + 1048576);
    assert_true(with.train.breakdown_bytes[FM_BREAKDOWN_WORKSPACE] == plain.train.breakdown_bytes[FM_BREAKDOWN_WORKSPACE] + grown);
    assert_true(with.val.allocated_bytes >= plain.val.allocated_bytes + 2 * SM90_BYTES);
    assert_true(with.train.workspace_bytes == SM90_BYTES);
    int64_t least = fm_plan_least_bytes(&program, &table);
    assert_true(least >= fm_plan_least_bytes(&program, NULL) + 2 * SM90_BYTES && least <= with.train.reserved_bytes);
    /* with ever less room, the first one is what there is none for at some point: told as what it is */
    bool told = false;
    for (int64_t room = with.train.reserved_bytes; room > 0 && !told; room -= 4 * 1048576) {
        assert_int_equal(fm_planner_run(&planner, &program, &table, room, &with, &err), FM_OK);
        told = !with.fits && with.oom_bytes == SM90_BYTES;
    }
    assert_true(told);
    fm_workspaces_release(&table);
    fm_planner_release(&planner);
    fm_program_release(&program);
    assert_int_equal(fm_memory_live, 0);
}

static void every_refused_allocation_is_told(void **state)
{
    (void)state;
    struct fm_program program = { 0 };
    lower("segformer", &program);
    for (long n = 0;; n++) {
        struct fm_workspaces table = { 0 };
        struct fm_err err = { 0 };
        long live = fm_memory_live;
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_absent_workspaces(&program, &ada, &table, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_workspaces_release(&table);
        assert_int_equal(fm_memory_live, live);
        assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
        if (!hits) break;
    }
    fm_program_release(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_by_architecture_and_bias),
        cmocka_unit_test(each_thread_keeps_one),
        cmocka_unit_test(no_product_no_workspace),
        cmocka_unit_test(plans_hold_them),
        cmocka_unit_test(every_refused_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
