/* FILL, COPY, CAT, UNARY, UNARY_BWD, BINARY, DROPOUT_BWD, DROPOUT, BERNOULLI, INIT, ARANGE, INPUT against the oracle:
 * random shapes, dtypes and layouts. */
#include "tests/cpu/support_kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* up to 5 dimensions; now and then long ones, so that tiles and threads come into play */
static int random_sizes(struct fm_choice *choice, int64_t size[FM_MAX_DIMS])
{
    int ndim = (int)fm_choose(choice, 1, 5);
    int64_t room = fm_choose(choice, 0, 3) ? 600 : 40000;
    for (int d = 0; d < ndim; d++) {
        int64_t most = room < 40 ? room : fm_choose(choice, 0, 3) ? 40 : room;
        size[d] = fm_choose(choice, 1, most < 1 ? 1 : most);
        room /= size[d];
    }
    return ndim;
}

static enum fm_dtype random_dtype(struct fm_choice *choice)
{
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F32, FM_BF16, FM_BF16, FM_F16, FM_BOOL, FM_I64 };
    return dtypes[fm_choose(choice, 0, 6)];
}

static void test_copy(void **state)
{
    (void)state;
    struct fm_choice choice = { 1, 0 };
    for (int round = 0; round < 150; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = random_sizes(&choice, size);
        enum fm_dtype from = random_dtype(&choice), to = fm_choose(&choice, 0, 1) ? from : random_dtype(&choice);
        struct fm_case c;
        fm_case_init(&c, FM_K_COPY);
        fm_case_out(&c, to, ndim, size);
        fm_case_in(&c, from, ndim, size);
        fm_random_layout(&choice, &c, 0, -1);
        fm_random_layout(&choice, &c, 1, -1);
        fm_case_random(&c, 1, -50, 50, (uint64_t)round);
        /* one rounding, so bit for bit */
        fm_expect_same(&c, 0);
        fm_case_release(&c);
    }
}

/* the transpositions of networks, larger than a block in both directions */
static void test_copy_transposed(void **state)
{
    (void)state;
    static const enum fm_dtype dtypes[] = { FM_F32, FM_BF16, FM_I64, FM_BOOL };
    static const struct {
        int64_t size[4];
        int a, b;
    } shapes[] = {
        { { 2, 67, 1, 81 }, 1, 3 },
        { { 2, 5, 81, 33 }, 1, 2 },
        { { 1, 4, 96, 64 }, 2, 3 },
        { { 3, 33, 2, 65 }, 0, 3 },
    };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        for (int d = 0; d < 16; d++) {
            struct fm_case c;
            fm_case_init(&c, FM_K_COPY);
            fm_case_out(&c, dtypes[d / 4], 4, shapes[k].size);
            fm_case_in(&c, dtypes[d % 4], 4, shapes[k].size);
            fm_case_swap(&c, 1, shapes[k].a, shapes[k].b);
            fm_case_random(&c, 1, -3, 3, 5);
            fm_expect_same(&c, 0);
            fm_case_release(&c);
        }
    }
}

static void test_cat(void **state)
{
    (void)state;
    struct fm_choice choice = { 2, 0 };
    for (int round = 0; round < 150; round++) {
        int64_t size[FM_MAX_DIMS], part[FM_MAX_DIMS], total = 0;
        int ndim = random_sizes(&choice, size), dim = (int)fm_choose(&choice, 0, ndim - 1),
            inputs = (int)fm_choose(&choice, 1, 10);
        bool image = ndim >= 3 && fm_choose(&choice, 0, 1);
        enum fm_dtype dtype = random_dtype(&choice);
        int64_t widths[10];
        for (int k = 0; k < inputs; k++) total += widths[k] = fm_choose(&choice, 1, 20);
        struct fm_case c;
        fm_case_init(&c, FM_K_CAT);
        if (image && fm_choose(&choice, 0, 1)) dim = 1;
        c.attr.dim = (uint8_t)dim;
        for (int d = 0; d < ndim; d++) part[d] = size[d];
        part[dim] = total;
        fm_case_out(&c, dtype, ndim, part);
        if (image) fm_case_image(&c, 0);
        for (int k = 0; k < inputs; k++) {
            part[dim] = widths[k];
            fm_case_in(&c, fm_choose(&choice, 0, 9) ? dtype : FM_F32, ndim, part);
            if (image)
                fm_case_image(&c, (uint32_t)k + 1);
            else if (!fm_choose(&choice, 0, 3))
                fm_random_layout(&choice, &c, (uint32_t)k + 1, -1);
            fm_case_random(&c, (uint32_t)k + 1, -9, 9, (uint64_t)round);
        }
        fm_expect_same(&c, 0);
        fm_case_release(&c);
    }
}

static void test_cat_wrong_sum(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    fm_case_init(&c, FM_K_CAT);
    fm_case_out(&c, FM_F32, 2, (int64_t[]){ 2, 5 });
    fm_case_in(&c, FM_F32, 2, (int64_t[]){ 2, 4 });
    c.attr.dim = 1;
    assert_int_equal(fm_own_status(&c, &err), FM_INVALID);
    fm_case_release(&c);
}

static void test_unary(void **state)
{
    (void)state;
    struct fm_choice choice = { 3, 0 };
    for (int round = 0; round < 150; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = random_sizes(&choice, size);
        enum fm_unary mode = (enum fm_unary)(round % FM_UNARY_COUNT);
        enum fm_dtype dtype = fm_random_float(&choice);
        bool positive = mode == FM_LOG || mode == FM_SQRT;
        struct fm_case c;
        fm_case_init(&c, FM_K_UNARY);
        c.attr.mode = (uint8_t)mode;
        c.attr.alpha = mode == FM_EQUAL ? (double)fm_choose(&choice, -2, 2) : 0.25;
        c.attr.beta = 0.5;
        fm_case_out(&c, mode == FM_EQUAL ? FM_BOOL : fm_random_float(&choice), ndim, size);
        fm_case_in(&c, mode == FM_EQUAL && fm_choose(&choice, 0, 1) ? FM_I64 : dtype, ndim, size);
        fm_random_layout(&choice, &c, 0, -1);
        fm_random_layout(&choice, &c, 1, -1);
        fm_case_random(&c, 1, positive ? 0.001 : -5, 5, (uint64_t)round);
        if (fm_choose(&choice, 0, 1)) fm_share_if_possible(&c, 1);
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_unary_extremes(void **state)
{
    (void)state;
    const double values[] = { 0,      -0.0, 1e-45, 1e-40, 1.2e-38, 1e-30, 1,   3.4e38, INFINITY, -INFINITY, NAN, -1,
                              -1e-40, 80,   -80,   86,    -86,     88,    -88, 89,     -104,     6,         -2 };
    const int64_t n = sizeof values / sizeof *values;
    for (int mode = 0; mode < FM_UNARY_COUNT; mode++) {
        struct fm_case c;
        fm_case_init(&c, FM_K_UNARY);
        c.attr.mode = (uint8_t)mode;
        c.attr.alpha = 0.5;
        fm_case_out(&c, FM_F32, 1, &n);
        fm_case_in(&c, FM_F32, 1, &n);
        for (int64_t i = 0; i < n; i++) {
            struct fm_case one;
            fm_case_copy(&one, &c);
            /* GELU and SILU at infinity are NaN by their formulas here and there */
            bool fits = (mode != FM_GELU && mode != FM_SILU) || isfinite(values[i]);
            for (int64_t k = 0; k < n; k++) fm_case_set_one(&one, 1, k, fits ? values[i] : 1);
            /* results below the smallest normal number may be 0 */
            fm_expect_same(&one, (mode == FM_EXP || mode == FM_SILU) && values[i] < -87 ? 1.0 : 2e-6);
            fm_case_release(&one);
        }
        fm_case_release(&c);
    }
}

static void test_unary_bwd(void **state)
{
    (void)state;
    struct fm_choice choice = { 4, 0 };
    for (int round = 0; round < 120; round++) {
        static const enum fm_unary modes[] = { FM_RELU,  FM_LEAKY_RELU, FM_GELU, FM_SILU,
                                               FM_SCALE, FM_LOG,        FM_EXP,  FM_SQRT };
        int64_t size[FM_MAX_DIMS];
        int ndim = random_sizes(&choice, size);
        enum fm_unary mode = modes[round % 8];
        struct fm_case c;
        fm_case_init(&c, FM_K_UNARY_BWD);
        c.attr.mode = (uint8_t)mode;
        c.attr.alpha = 0.1;
        fm_case_out(&c, fm_random_float(&choice), ndim, size);
        for (uint32_t i = 1; i < 3; i++) fm_case_in(&c, fm_random_float(&choice), ndim, size);
        for (uint32_t i = 0; i < 3; i++) fm_random_layout(&choice, &c, i, -1);
        for (uint32_t i = 1; i < 3; i++)
            fm_case_random(&c, i, i == 2 && (mode == FM_SQRT || mode == FM_LOG) ? 0.1 : -4, 4, (uint64_t)round);
        if (fm_choose(&choice, 0, 2) == 0) fm_share_if_possible(&c, 1);
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_binary(void **state)
{
    (void)state;
    struct fm_choice choice = { 5, 0 };
    for (int round = 0; round < 200; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = random_sizes(&choice, size);
        enum fm_binary mode = (enum fm_binary)(round % FM_BINARY_COUNT);
        bool logical = mode == FM_AND || mode == FM_OR, test = logical || mode == FM_EQ;
        struct fm_case c;
        fm_case_init(&c, FM_K_BINARY);
        c.attr.mode = (uint8_t)mode;
        c.attr.alpha = 0.75;
        fm_case_out(&c, test ? FM_BOOL : fm_random_float(&choice), ndim, size);
        for (uint32_t i = 1; i < 3; i++) {
            enum fm_dtype dtype = logical                    ? FM_BOOL
                                  : fm_choose(&choice, 0, 4) ? fm_random_float(&choice)
                                  : mode == FM_EQ            ? FM_I64
                                                             : FM_BOOL;
            fm_case_in(&c, dtype, ndim, size);
        }
        for (uint32_t i = 0; i < 3; i++) fm_random_layout(&choice, &c, i, -1);
        for (uint32_t i = 1; i < 3; i++) fm_case_random(&c, i, mode == FM_DIV ? 0.5 : -3, 3, (uint64_t)round);
        uint32_t with = (uint32_t)fm_choose(&choice, 1, 2);
        if (fm_choose(&choice, 0, 1)) fm_share_if_possible(&c, with);
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_binary_integers(void **state)
{
    (void)state;
    const double large = 9007199254740991.0; /* 2^53 - 1: beyond float */
    struct fm_case c;
    fm_case_init(&c, FM_K_BINARY);
    c.attr.mode = FM_SUB;
    c.attr.alpha = 1;
    fm_case_out(&c, FM_I64, 1, (int64_t[]){ 5 });
    for (uint32_t i = 1; i < 3; i++) {
        fm_case_in(&c, FM_I64, 1, (int64_t[]){ 5 });
        for (int64_t k = 0; k < 5; k++) fm_case_set_one(&c, i, k, i == 1 ? large : (double)k);
    }
    fm_expect_same(&c, 0);
    fm_case_release(&c);
}

static void test_fill_and_arange(void **state)
{
    (void)state;
    struct fm_choice choice = { 6, 0 };
    for (int round = 0; round < 100; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = random_sizes(&choice, size);
        struct fm_case c;
        fm_case_init(&c, round % 2 ? FM_K_FILL : FM_K_ARANGE);
        c.attr.alpha = 3;
        fm_case_out(&c, round % 2 ? random_dtype(&choice) : FM_I64, ndim, size);
        fm_random_layout(&choice, &c, 0, -1);
        fm_expect_same(&c, 0);
        fm_case_release(&c);
    }
}

static void test_random_kernels(void **state)
{
    (void)state;
    struct fm_choice choice = { 7, 0 };
    for (int round = 0; round < 200; round++) {
        static const enum fm_kernel kernels[] = { FM_K_DROPOUT, FM_K_BERNOULLI, FM_K_INIT, FM_K_DROPOUT_BWD };
        static const double rates[] = { 0.1, 0.25, 0.3333333333333333, 0.9 };
        int64_t size[FM_MAX_DIMS];
        int ndim = random_sizes(&choice, size);
        struct fm_case c;
        fm_case_init(&c, kernels[round % 4]);
        c.seed = (uint64_t)round * 0x1234567;
        c.step = (uint64_t)fm_choose(&choice, 0, 3);
        c.attr.stream = (uint64_t)fm_choose(&choice, 0, 70000);
        c.attr.alpha = rates[fm_choose(&choice, 0, 3)];
        c.attr.mode = c.kernel == FM_K_INIT ? (uint8_t)fm_choose(&choice, 0, 2) : 0;
        fm_case_out(&c, fm_random_float(&choice), ndim, size);
        if (c.kernel == FM_K_DROPOUT) fm_case_out(&c, FM_BOOL, ndim, size);
        if (c.kernel == FM_K_DROPOUT || c.kernel == FM_K_DROPOUT_BWD)
            fm_case_in(&c, fm_random_float(&choice), ndim, size);
        if (c.kernel == FM_K_DROPOUT_BWD) fm_case_in(&c, FM_BOOL, ndim, size);
        for (uint32_t i = 0; i < c.n_out + c.n_in; i++) fm_random_layout(&choice, &c, i, -1);
        for (uint32_t i = c.n_out; i < c.n_out + c.n_in; i++) fm_case_random(&c, i, -2, 2, (uint64_t)round);
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_input(void **state)
{
    (void)state;
    struct fm_choice choice = { 8, 0 };
    for (int round = 0; round < 60; round++) {
        enum fm_input mode = (enum fm_input)(round % 4);
        bool labels = mode == FM_INPUT_VOLUME_LABELS || mode == FM_INPUT_IMAGE_LABELS,
             volume = mode == FM_INPUT_VOLUME || mode == FM_INPUT_VOLUME_LABELS;
        int64_t size[FM_MAX_DIMS];
        int ndim = 0;
        size[ndim++] = fm_choose(&choice, 1, 3);
        if (!labels) size[ndim++] = volume ? 1 : 3;
        for (int d = 0; d < (volume ? 3 : 2); d++) size[ndim++] = fm_choose(&choice, 1, 17);
        struct fm_case c;
        fm_case_init(&c, FM_K_INPUT);
        c.attr.mode = (uint8_t)mode;
        c.attr.alpha = 5;
        c.attr.beta = (double)fm_choose(&choice, 0, 1);
        c.attr.groups = (int32_t)fm_choose(&choice, 1, 3);
        c.attr.stream = (uint64_t)fm_choose(&choice, 0, 2);
        c.step = (uint64_t)fm_choose(&choice, 0, 5);
        fm_case_out(&c, labels ? FM_I64 : fm_random_float(&choice), ndim, size);
        if (!labels && fm_choose(&choice, 0, 1)) fm_case_image(&c, 0);
        fm_expect_same(&c, labels ? 0 : fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    fm_case_init(&c, FM_K_UNARY_BWD);
    c.attr.mode = FM_GELU;
    fm_case_out(&c, FM_F64, 1, (int64_t[]){ 5 });
    for (int i = 0; i < 2; i++) fm_case_in(&c, FM_F64, 1, (int64_t[]){ 5 });
    assert_int_equal(fm_own_status(&c, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "f64"));
    fm_case_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_copy_transposed),
        cmocka_unit_test(test_cat),
        cmocka_unit_test(test_cat_wrong_sum),
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_unary_extremes),
        cmocka_unit_test(test_unary_bwd),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_binary_integers),
        cmocka_unit_test(test_fill_and_arange),
        cmocka_unit_test(test_random_kernels),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
