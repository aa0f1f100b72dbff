/* INTERPOLATE and INTERPOLATE_BWD on the cuda kernels (run on the CPU) against ref. */
#include "tests/cuda/support_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_interpolate(void **state)
{
    (void)state;
    struct fm_draw draw = { 81, 0 };
    static const int64_t channels[] = { 1, 3, 8, 16, 5 };
    for (int round = 0; round < 120; round++) {
        int64_t to[4] = { fm_draw(&draw, 1, 2), channels[fm_draw(&draw, 0, 4)] }, from[4];
        struct fm_case c;
        fm_case_init(&c, round % 2 ? FM_K_INTERPOLATE_BWD : FM_K_INTERPOLATE);
        memcpy(from, to, sizeof from);
        for (int d = 2; d < 4; d++) {
            to[d] = fm_draw(&draw, 1, 20);
            /* whole factors up and down, and any others */
            from[d] = round % 3 == 0 ? to[d] * 2 : round % 3 == 1 && to[d] % 4 == 0 ? to[d] / 4 : fm_draw(&draw, 1, 20);
        }
        fm_case_out(&c, fm_draw_float(&draw), 4, to);
        fm_case_in(&c, fm_draw_float(&draw), 4, from);
        for (uint32_t i = 0; i < 2; i++) fm_draw_layout(&draw, &c, i, -1);
        fm_case_randomize(&c, -1, 2, (uint64_t)round, false);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* sizes of networks: positions must not drift along a long line */
static void test_long_lines(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = { { 1024, 256 }, { 2048, 32 }, { 511, 1000 }, { 1000, 511 }, { 7, 3000 }, { 3000, 7 } };
    for (int k = 0; k < 24; k++) {
        bool high = k % 2;
        int64_t a = sizes[k / 4][0], b = sizes[k / 4][1];
        struct fm_case c;
        fm_case_init(&c, k / 2 % 2 ? FM_K_INTERPOLATE_BWD : FM_K_INTERPOLATE);
        fm_case_out(&c, FM_F32, 4, (int64_t[]){ 1, 1, high ? a : 1, high ? 1 : a });
        fm_case_in(&c, FM_F32, 4, (int64_t[]){ 1, 1, high ? b : 1, high ? 1 : b });
        fm_case_randomize(&c, -1, 2, (uint64_t)k, false);
        fm_expect_as_ref(&c, 1e-6);
        fm_case_release(&c);
    }
}

static void test_errors(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    fm_case_init(&c, FM_K_INTERPOLATE);
    fm_case_out(&c, FM_F32, 3, (int64_t[]){ 1, 1, 4 });
    fm_case_in(&c, FM_F32, 3, (int64_t[]){ 1, 1, 2 });
    assert_int_equal(fm_run_shim(&c, &err), FM_INVALID);
    fm_case_release(&c);
    err = (struct fm_err){ 0 };
    fm_case_init(&c, FM_K_INTERPOLATE);
    fm_case_out(&c, FM_F32, 4, (int64_t[]){ 1, 1, 1, 32768 });
    fm_case_in(&c, FM_F32, 4, (int64_t[]){ 1, 1, 1, 2 });
    assert_int_equal(fm_run_shim(&c, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "32767"));
    fm_case_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interpolate),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
