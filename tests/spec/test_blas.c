/* cuBLAS' workspaces in a plan: at the first matrix product of the forward pass and of backward, once, and kept. */
#include "probes/memory/planner.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/absent.h"
#include "workloads/strategies/strategies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

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

/* the instructions before it, apart from the ones that were added */
static void check_rest_unchanged(const struct fm_program *before, const struct fm_program *after, size_t added)
{
    size_t k = 0, seen = 0;
    assert_int_equal(after->instr_count, before->instr_count + added);
    for (size_t i = 0; i < after->instr_count; i++) {
        if (after->instr[i].kind == FM_ALLOC && after->instr[i].a >= before->storage_count) {
            seen++;
            continue;
        }
        assert_memory_equal(&after->instr[i], &before->instr[k], sizeof before->instr[k]);
        k++;
    }
    assert_int_equal(seen, added);
    for (int s = 0; s <= FM_SECTION_COUNT; s++)
        assert_int_equal(after->section[s], before->section[s] + (s > FM_SECTION_TRAIN_FIRST ? added : 0));
}

static void two_workspaces_at_the_first_products(void **state)
{
    (void)state;
    static const struct { int capability; int64_t bytes; } cases[] = { { 89, 8519680 }, { 90, 33554432 }, { 100, 8519680 } };
    for (size_t c = 0; c < 3; c++) {
        struct fm_program before = { 0 }, after = { 0 };
        struct fm_err err = { 0 };
        lower("segformer", &before);
        lower("segformer", &after);
        assert_int_equal(fm_absent_add_blas(&after, cases[c].capability, &err), FM_OK);
        check_rest_unchanged(&before, &after, 2);
        bool backward = false, product[2] = { false };
        size_t at[2] = { 0 };
        for (size_t i = after.section[FM_SECTION_TRAIN_FIRST]; i < after.section[FM_SECTION_TRAIN_FIRST + 1]; i++) {
            const struct fm_instr *n = &after.instr[i];
            if (n->kind == FM_PHASE) backward = n->a == FM_PHASE_BACKWARD;
            if (n->kind == FM_CALL && after.call[n->a].kernel == FM_K_MATMUL) product[backward] = true;
            if (n->kind != FM_ALLOC || n->a < before.storage_count) continue;
            assert_false(product[backward]);
            assert_true(after.instr[i + 1].kind == FM_CALL && after.call[after.instr[i + 1].a].kernel == FM_K_MATMUL);
            assert_true(after.storage[n->a].bytes == cases[c].bytes);
            at[backward] = i;
        }
        assert_true(at[0] && at[1] && at[0] < at[1]);
        fm_program_release(&before);
        fm_program_release(&after);
    }
    assert_int_equal(fm_memory_live, 0);
}

static void no_product_no_workspace(void **state)
{
    (void)state;
    struct fm_program before = { 0 }, after = { 0 };
    struct fm_err err = { 0 };
    lower("denseunet3d", &before);
    lower("denseunet3d", &after);
    assert_int_equal(fm_absent_add_blas(&after, 90, &err), FM_OK);
    check_rest_unchanged(&before, &after, 0);
    fm_program_release(&before);
    fm_program_release(&after);
}

/* all that is alive at the peak grows by the two, if the peak is after both */
static void plans_hold_them(void **state)
{
    (void)state;
    struct fm_program program = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_plan plain, with;
    struct fm_err err = { 0 };
    lower("segformer", &program);
    assert_int_equal(fm_planner_run(&planner, &program, NULL, INT64_MAX, &plain, &err), FM_OK);
    assert_int_equal(fm_absent_add_blas(&program, 90, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &program, NULL, INT64_MAX, &with, &err), FM_OK);
    int64_t grown = with.train.allocated_bytes - plain.train.allocated_bytes;
    assert_true(grown == 2 * INT64_C(33554432) || grown == INT64_C(33554432));
    assert_true(with.train.breakdown_bytes[FM_BREAKDOWN_WORKSPACE] == plain.train.breakdown_bytes[FM_BREAKDOWN_WORKSPACE] + grown);
    assert_true(with.val.allocated_bytes >= plain.val.allocated_bytes + 2 * INT64_C(33554432));
    fm_planner_release(&planner);
    fm_program_release(&program);
    assert_int_equal(fm_memory_live, 0);
}

static void every_refused_allocation_is_told(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct fm_program program = { 0 };
        struct fm_err err = { 0 };
        lower("segformer", &program);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_absent_add_blas(&program, 80, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_program_release(&program);
        assert_int_equal(fm_memory_live, 0);
        assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
        if (!hits) return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_workspaces_at_the_first_products),
        cmocka_unit_test(no_product_no_workspace),
        cmocka_unit_test(plans_hold_them),
        cmocka_unit_test(every_refused_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
