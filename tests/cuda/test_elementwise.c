/* FILL, COPY, CAT, UNARY, UNARY_BWD, BINARY, ARANGE on the cuda kernels (run on the CPU) against ref. */
#include "tests/cuda/support_cuda.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static enum fm_dtype any_dtype(struct fm_draw *draw)
{
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F32, FM_BF16, FM_F16, FM_BF16, FM_F16, FM_BOOL, FM_I64 };
    return dtypes[fm_draw(draw, 0, 7)];
}

static void test_fill(void **state)
{
    (void)state;
    struct fm_draw draw = { 1, 0 };
    for (int round = 0; round < 60; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_sizes(&draw, size);
        struct fm_case c;
        fm_case_init(&c, round % 3 ? FM_K_FILL : FM_K_ARANGE);
        c.attr.alpha = (double)fm_draw(&draw, -3, 3) / 2;
        fm_case_out(&c, any_dtype(&draw), ndim, size);
        fm_draw_layout(&draw, &c, 0, -1);
        fm_case_random(&c, 0, -3, 3, 4);
        fm_expect_as_ref(&c, 0);
        fm_case_release(&c);
    }
}

/* one rounding: bit for bit */
static void test_copy(void **state)
{
    (void)state;
    struct fm_draw draw = { 2, 0 };
    for (int round = 0; round < 150; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_sizes(&draw, size);
        enum fm_dtype from = any_dtype(&draw), to = fm_draw(&draw, 0, 1) ? from : any_dtype(&draw);
        struct fm_case c;
        fm_case_init(&c, FM_K_COPY);
        fm_case_out(&c, to, ndim, size);
        fm_case_in(&c, from, ndim, size);
        fm_draw_layout(&draw, &c, 0, -1);
        fm_draw_layout(&draw, &c, 1, -1);
        fm_case_random(&c, 1, -50, 50, (uint64_t)round);
        fm_expect_as_ref(&c, 0);
        fm_case_release(&c);
    }
}

static void test_copy_special(void **state)
{
    (void)state;
    static const double values[] = { 0.0, -0.0, INFINITY, -INFINITY, NAN, 65504, 65519.9, 65520, 6e-8, 1e-7, -3e-5,
                                     6.1e-5, 1e-40, 3.4e38, -1e30, 1, 2049, 2051, 4099, 257, 259, 0.3, -0.3 };
    for (int to = 0; to < 3; to++) {
        for (int from = 0; from < 3; from++) {
            struct fm_case c;
            fm_case_init(&c, FM_K_COPY);
            fm_case_out(&c, (enum fm_dtype)to, 1, (int64_t[]){ 23 });
            fm_case_in(&c, (enum fm_dtype)from, 1, (int64_t[]){ 23 });
            fm_case_set(&c, 1, values);
            fm_expect_as_ref(&c, 0);
            fm_case_release(&c);
        }
    }
}

/* larger than a tile in both directions, and every kind of element */
static void test_copy_transposed(void **state)
{
    (void)state;
    static const enum fm_dtype dtypes[] = { FM_F32, FM_BF16, FM_I64, FM_BOOL };
    static const struct {
        int64_t size[4];
        int a, b;
    } shapes[] = { { { 2, 67, 1, 41 }, 1, 3 }, { { 2, 5, 41, 33 }, 1, 2 }, { { 1, 4, 64, 32 }, 2, 3 } };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        for (int d = 0; d < 16; d++) {
            struct fm_case c;
            fm_case_init(&c, FM_K_COPY);
            fm_case_out(&c, dtypes[d / 4], 4, shapes[k].size);
            fm_case_in(&c, dtypes[d % 4], 4, shapes[k].size);
            fm_case_swap(&c, 1, shapes[k].a, shapes[k].b);
            fm_case_random(&c, 1, -3, 3, 5);
            fm_expect_as_ref(&c, 0);
            fm_case_release(&c);
        }
    }
}

static void test_cat(void **state)
{
    (void)state;
    struct fm_draw draw = { 3, 0 };
    for (int round = 0; round < 60; round++) {
        int64_t size[FM_MAX_DIMS], part[4];
        int ndim = fm_draw_sizes(&draw, size), dim = (int)fm_draw(&draw, 0, ndim - 1), parts = (int)fm_draw(&draw, 1, 4);
        enum fm_dtype dtype = fm_draw(&draw, 0, 5) ? fm_draw_float(&draw) : FM_I64;
        struct fm_case c;
        fm_case_init(&c, FM_K_CAT);
        c.attr.dim = (uint8_t)dim;
        size[dim] = 0;
        for (int i = 0; i < parts; i++) size[dim] += part[i] = fm_draw(&draw, 1, 9);
        fm_case_out(&c, dtype, ndim, size);
        for (int i = 0; i < parts; i++) {
            size[dim] = part[i];
            fm_case_in(&c, dtype, ndim, size);
            fm_draw_layout(&draw, &c, (uint32_t)i + 1, -1);
        }
        if (ndim > 2 && fm_draw(&draw, 0, 1)) fm_case_image(&c, 0);
        fm_case_randomize(&c, -9, 9, (uint64_t)round, false);
        fm_expect_as_ref(&c, 0);
        fm_case_release(&c);
    }
}

static void test_unary(void **state)
{
    (void)state;
    struct fm_draw draw = { 4, 0 };
    for (int round = 0; round < 180; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_sizes(&draw, size), backward = round / 9 % 2;
        enum fm_unary mode = (enum fm_unary)(round % 9);
        bool positive = mode == FM_LOG || mode == FM_SQRT;
        if (backward && mode == FM_EQUAL) continue;
        struct fm_case c;
        fm_case_init(&c, backward ? FM_K_UNARY_BWD : FM_K_UNARY);
        c.attr = (struct fm_attr){ .mode = (uint8_t)mode, .alpha = mode == FM_EQUAL ? 1 : 0.25, .beta = -0.5 };
        fm_case_out(&c, mode == FM_EQUAL ? FM_BOOL : fm_draw_float(&draw), ndim, size);
        for (int i = 0; i < 1 + backward; i++) fm_case_in(&c, mode == FM_EQUAL ? FM_I64 : fm_draw_float(&draw), ndim, size);
        for (uint32_t i = 0; i < 2u + (uint32_t)backward; i++) fm_draw_layout(&draw, &c, i, -1);
        if (fm_draw(&draw, 0, 2) == 0) fm_draw_share(&c, 1);
        fm_case_randomize(&c, positive ? 0.1 : -4, 4, (uint64_t)round, false);
        fm_expect_as_ref(&c, mode == FM_EQUAL ? 0 : fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* what is said of infinities and NaN */
static void test_unary_special(void **state)
{
    (void)state;
    static const double values[] = { -INFINITY, INFINITY, NAN, 0.0, -1, 2, 3, 4 };
    for (int mode = 0; mode < FM_UNARY_COUNT; mode++) {
        for (int backward = 0; backward < 1 + (mode == FM_RELU || mode == FM_LEAKY_RELU); backward++) {
            struct fm_case c;
            fm_case_init(&c, backward ? FM_K_UNARY_BWD : FM_K_UNARY);
            c.attr = (struct fm_attr){ .mode = (uint8_t)mode, .alpha = 0.25 };
            fm_case_out(&c, FM_F32, 1, (int64_t[]){ 8 });
            for (int i = 0; i < 1 + backward; i++) fm_case_in(&c, FM_F32, 1, (int64_t[]){ 8 });
            fm_case_set(&c, 1, values);
            if (backward) fm_case_random(&c, 2, -1, 1, 3);
            /* ref: -inf * sigmoid(-inf) and -inf * cdf(-inf) are NaN in one and 0 in the other form of writing it */
            if (mode == FM_SILU || mode == FM_GELU) fm_case_set_one(&c, 1, 0, -30);
            fm_expect_as_ref(&c, 1e-6);
            fm_case_release(&c);
        }
    }
}

static void test_binary(void **state)
{
    (void)state;
    struct fm_draw draw = { 5, 0 };
    for (int round = 0; round < 160; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_sizes(&draw, size);
        enum fm_binary mode = (enum fm_binary)(round % FM_BINARY_COUNT);
        bool truth = mode == FM_AND || mode == FM_OR || mode == FM_EQ;
        struct fm_case c;
        fm_case_init(&c, FM_K_BINARY);
        c.attr = (struct fm_attr){ .mode = (uint8_t)mode, .alpha = 0.75 };
        enum fm_dtype in = truth ? any_dtype(&draw) : fm_draw_float(&draw);
        fm_case_out(&c, truth ? FM_BOOL : fm_draw_float(&draw), ndim, size);
        for (int i = 0; i < 2; i++) fm_case_in(&c, truth ? in : fm_draw_float(&draw), ndim, size);
        for (uint32_t i = 0; i < 3; i++) fm_draw_layout(&draw, &c, i, -1);
        if (!truth && fm_draw(&draw, 0, 2) == 0) fm_draw_share(&c, (uint32_t)fm_draw(&draw, 1, 2));
        for (uint32_t i = 1; i < 3; i++) fm_case_random(&c, i, mode == FM_DIV ? 0.5 : -2, 3, (uint64_t)round + i);
        fm_expect_as_ref(&c, truth ? 0 : fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* sums of two i64 are exact where f64 holds them */
static void test_binary_integers(void **state)
{
    (void)state;
    struct fm_case c;
    fm_case_init(&c, FM_K_BINARY);
    c.attr = (struct fm_attr){ .mode = FM_ADD, .alpha = 1 };
    fm_case_out(&c, FM_I64, 1, (int64_t[]){ 1000 });
    for (int i = 0; i < 2; i++) fm_case_in(&c, FM_I64, 1, (int64_t[]){ 1000 });
    fm_case_randomize(&c, -1e15, 1e15, 3, false);
    fm_expect_as_ref(&c, 0);
    fm_case_release(&c);
}

static void test_errors(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    fm_case_init(&c, FM_K_UNARY);
    fm_case_out(&c, FM_F64, 1, (int64_t[]){ 4 });
    fm_case_in(&c, FM_F32, 1, (int64_t[]){ 4 });
    assert_int_equal(fm_run_shim(&c, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "UNARY: operand 0 is f64"));
    fm_case_release(&c);

    err = (struct fm_err){ 0 };
    fm_case_init(&c, FM_K_CAT);
    fm_case_out(&c, FM_F32, 1, (int64_t[]){ 4 });
    fm_case_in(&c, FM_F32, 1, (int64_t[]){ 3 });
    assert_int_equal(fm_run_shim(&c, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "add up to 3"));
    fm_case_release(&c);

    for (int kernel = 0; kernel < 3; kernel++) {
        static const enum fm_kernel kernels[] = { FM_K_UNARY, FM_K_UNARY_BWD, FM_K_BINARY };
        err = (struct fm_err){ 0 };
        fm_case_init(&c, kernels[kernel]);
        c.attr.mode = 200;
        fm_case_out(&c, FM_F32, 1, (int64_t[]){ 4 });
        for (int i = 0; i < 1 + (kernel > 0); i++) fm_case_in(&c, FM_F32, 1, (int64_t[]){ 4 });
        assert_int_equal(fm_run_shim(&c, &err), FM_INVALID);
        assert_non_null(strstr(err.text, "200"));
        fm_case_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_special),
        cmocka_unit_test(test_copy_transposed),
        cmocka_unit_test(test_cat),
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_unary_special),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_binary_integers),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
