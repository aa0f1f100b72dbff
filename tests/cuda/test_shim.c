/* The shim finds what is wrong with faulty kernels, and nothing in their correct twins. */
#include "probes/backends/cuda/kernels.h"
#include "tests/cuda/shim/faulty.h"
#include "tests/cuda/shim/shim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static float x[192], y[192];

static int launch(enum fm_fault_kind fault, uint32_t order, const char **text)
{
    for (int i = 0; i < 192; i++) x[i] = (float)i, y[i] = -1;
    fm_shim_order(order);
    return fm_faulty_launch(fault, x, y, text);
}

static void test_correct(void **state)
{
    (void)state;
    const char *text;
    for (uint32_t order = 0; order < 6; order++) {
        assert_int_equal(launch(FM_FAULT_NONE, order, &text), 0);
        for (int i = 0; i < 192; i++) assert_true(y[i] == (float)(i / 64 * 64 + 63 - i % 64));
        assert_int_equal(launch(FM_FAULT_NONE_EITHER, order, &text), 0);
        for (int i = 0; i < 192; i++) assert_true(y[i] == 32);
    }
}

/* in no order do all threads see what they should */
static void test_missing_barrier(void **state)
{
    (void)state;
    const char *text;
    for (uint32_t order = 0; order < 6; order++) {
        int wrong = 0;
        assert_int_equal(launch(FM_FAULT_NO_BARRIER, order, &text), 0);
        for (int i = 0; i < 192; i++) wrong += !(y[i] == (float)(i / 64 * 64 + 63 - i % 64));
        assert_true(wrong > 0);
    }
}

static void test_divergence(void **state)
{
    (void)state;
    const char *text;
    for (uint32_t order = 0; order < 6; order++) {
        assert_int_not_equal(launch(FM_FAULT_BARRIER_DIVERGES, order, &text), 0);
        assert_non_null(strstr(text, "diverge"));
        assert_int_not_equal(launch(FM_FAULT_SHUFFLE_DIVERGES, order, &text), 0);
        assert_non_null(strstr(text, "at a shuffle"));
        assert_int_equal(launch(FM_FAULT_NONE, order, &text), 0);   /* and goes on well */
    }
}

static void test_racing_blocks(void **state)
{
    (void)state;
    const char *text;
    launch(FM_FAULT_BLOCKS_RACE, 0, &text);
    float first = y[0];
    launch(FM_FAULT_BLOCKS_RACE, 1, &text);
    assert_true(first > y[0] || first < y[0]);
}

static void test_limits(void **state)
{
    (void)state;
    const char *text;
    assert_int_equal(launch(FM_FAULT_UNWRITTEN, 0, &text), 0);
    for (int i = 0; i < 192; i++) assert_true(isnan(y[i]));
    assert_int_not_equal(launch(FM_FAULT_TOO_MUCH_SHARED, 0, &text), 0);
    assert_non_null(strstr(text, "48 KiB"));
    assert_int_not_equal(launch(FM_FAULT_TOO_MANY_THREADS, 0, &text), 0);
    assert_non_null(strstr(text, "invalid configuration"));
    assert_int_equal(launch(FM_FAULT_NONE, 0, &text), 0);
}

/* every kernel with a row has a launch, but for those of the vendor's libraries; a refused one is an error */
static void test_table(void **state)
{
    (void)state;
    for (int k = 0; k < FM_KERNEL_COUNT; k++) {
        bool vendor = k == FM_K_MATMUL || k == FM_K_SDPA || k == FM_K_SDPA_BWD;
        assert_true(vendor == !fm_cuda_launch_of((enum fm_kernel)k));
    }
    assert_null(fm_cuda_launch_of(FM_KERNEL_COUNT));
    struct fm_err err = { 0 };
    struct fm_operand operand = { .dtype = FM_F32, .ndim = 1, .size = { 192 }, .stride = { 1 } };
    struct fm_attr attr = { .alpha = 3 };
    void *data[] = { y };
    struct fm_cuda_call call = { .problem = { FM_K_FILL, 1, 0, &operand, &attr }, .data = data };
    fm_shim_refuse(98);
    assert_int_equal(fm_cuda_launch_fill(&call, NULL, &err), FM_FAILED);
    assert_non_null(strstr(err.text, "FILL: CUDA refused the launch: refused"));
    assert_int_equal(fm_cuda_launch_fill(&call, NULL, &err), FM_OK);
    for (int i = 0; i < 192; i++) assert_true(y[i] == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_correct),       cmocka_unit_test(test_missing_barrier), cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_racing_blocks), cmocka_unit_test(test_limits),          cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
