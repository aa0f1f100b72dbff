/* BATCH_NORM, BATCH_NORM_EVAL, GROUP_NORM and their gradients on the cuda kernels (run on the CPU) against ref. */
#include "tests/cuda/support_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void image(struct fm_draw *draw, struct fm_case *c, bool output, int ndim, const int64_t *size)
{
    uint32_t i = c->n_out + c->n_in;
    if (output) fm_case_out(c, fm_draw_float(draw), ndim, size);
    else fm_case_in(c, fm_draw_float(draw), ndim, size);
    /* rows that are not constant: where there is no deviation, 1/sqrt(eps) magnifies rounding */
    fm_draw_layout(draw, c, i, ndim - 1);
}

static void vectors(struct fm_case *c, bool output, int count, int ndim, const int64_t *size)
{
    for (int i = 0; i < count; i++) output ? fm_case_out(c, FM_F32, ndim, size) : fm_case_in(c, FM_F32, ndim, size);
}

/* now and then long enough for several blocks */
static int norm_image(struct fm_draw *draw, int round, int64_t size[FM_MAX_DIMS])
{
    int ndim = fm_draw_image(draw, size);
    if (round % 12 == 5) ndim = 3, size[0] = 2, size[1] = 2, size[2] = 2503 + round % 24;
    if (ndim == 3 && size[2] == 1) size[2] = 2;
    return ndim;
}

static void test_batch_norm(void **state)
{
    (void)state;
    struct fm_draw draw = { 61, 0 };
    for (int round = 0; round < 120; round++) {
        static const enum fm_kernel kernels[] = { FM_K_BATCH_NORM, FM_K_BATCH_NORM_BWD, FM_K_BATCH_NORM_EVAL };
        int64_t size[FM_MAX_DIMS];
        int ndim = norm_image(&draw, round, size);
        struct fm_case c;
        fm_case_init(&c, kernels[round % 3]);
        bool bwd = c.kernel == FM_K_BATCH_NORM_BWD;
        c.attr.eps = 1e-5;
        c.attr.momentum = 0.1;
        size[0] += 1; /* a variance needs two values */
        image(&draw, &c, true, ndim, size);
        if (c.kernel == FM_K_BATCH_NORM) vectors(&c, true, 4, 1, &size[1]);
        if (bwd) vectors(&c, true, 2, 1, &size[1]), image(&draw, &c, false, ndim, size);
        image(&draw, &c, false, ndim, size);
        vectors(&c, false, c.kernel == FM_K_BATCH_NORM ? 2 : bwd ? 3 : 4, 1, &size[1]);
        fm_case_randomize(&c, 0.5, 3, (uint64_t)round, false);
        for (uint32_t i = 3; c.kernel == FM_K_BATCH_NORM && i < 5; i++) fm_case_random(&c, i, 0.5, 2, 4);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* without weight, bias, running statistics, gradients of either */
static void test_batch_norm_absent(void **state)
{
    (void)state;
    const int64_t size[4] = { 3, 8, 5, 8 }, channels = 8;
    for (int bwd = 0; bwd < 2; bwd++) {
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_BATCH_NORM_BWD : FM_K_BATCH_NORM);
        c.attr.eps = 1e-5;
        fm_case_out(&c, FM_F32, 4, size);
        if (!bwd) vectors(&c, true, 2, 1, &channels);
        for (int i = 0; i < 2; i++) fm_case_absent(&c, true);
        for (int i = 0; i < 1 + bwd; i++) fm_case_in(&c, FM_F32, 4, size);
        for (int i = 0; i < 2 - bwd; i++) fm_case_absent(&c, false);
        if (bwd) vectors(&c, false, 2, 1, &channels);
        fm_case_randomize(&c, 0.5, 3, 1, false);
        fm_expect_as_ref(&c, 1e-5);
        fm_case_release(&c);
    }
}

/* a mean two thousand times the deviation costs the digits that a float mean has not, and no more */
static void test_batch_norm_large_mean(void **state)
{
    (void)state;
    for (int images = 0; images < 2; images++) {
        struct fm_case c;
        const int64_t size[4] = { 2, 5, 40, 33 }, channels = 5;
        fm_case_init(&c, FM_K_BATCH_NORM);
        c.attr.eps = 1e-5;
        c.attr.momentum = 0.1;
        fm_case_out(&c, FM_F32, 4, size);
        vectors(&c, true, 4, 1, &channels);
        fm_case_in(&c, FM_F32, 4, size);
        if (images) fm_case_image(&c, 0), fm_case_image(&c, 5);
        vectors(&c, false, 2, 1, &channels);
        fm_case_random(&c, 5, 999, 1001, 1);
        for (uint32_t i = 6; i < 8; i++) fm_case_random(&c, i, 0.5, 2, i);
        for (uint32_t i = 3; i < 5; i++) fm_case_random(&c, i, 0.5, 2, i);
        fm_expect_as_ref(&c, 2e-4);
        fm_case_release(&c);
    }
}

static void test_group_norm(void **state)
{
    (void)state;
    struct fm_draw draw = { 62, 0 };
    int compared = 0;
    for (int round = 0; round < 150; round++) {
        int64_t size[FM_MAX_DIMS], stats[2];
        int ndim = norm_image(&draw, round, size), bwd = round % 2;
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_GROUP_NORM_BWD : FM_K_GROUP_NORM);
        do c.attr.groups = (int32_t)fm_draw(&draw, 1, size[1]);
        while (size[1] % c.attr.groups);
        c.attr.eps = 1e-6;
        if (ndim == 2) size[0] = fm_draw(&draw, 1, 4);
        stats[0] = size[0];
        stats[1] = c.attr.groups;
        image(&draw, &c, true, ndim, size);
        if (bwd) vectors(&c, true, 2, 1, &size[1]), image(&draw, &c, false, ndim, size);
        else vectors(&c, true, 2, 2, stats);
        image(&draw, &c, false, ndim, size);
        vectors(&c, false, bwd ? 1 : 2, 1, &size[1]);
        if (bwd) vectors(&c, false, 2, 2, stats);
        fm_case_randomize(&c, 0.5, 3, (uint64_t)round, false);
        if (fm_operand_numel(&c.operand[0]) / stats[0] / stats[1] >= 8) {
            fm_expect_as_ref(&c, fm_cuda_tolerance(&c) * 2);
            compared++;
        }
        fm_case_release(&c);
    }
    assert_true(compared > 75);
}

/* more groups and channels than one turn of the blocks takes */
static void test_group_norm_wide(void **state)
{
    (void)state;
    const int64_t size[3] = { 2, 1400, 4 }, stats[2] = { 2, 700 };
    struct fm_case c;
    fm_case_init(&c, FM_K_GROUP_NORM_BWD);
    c.attr.groups = 700;
    fm_case_out(&c, FM_F32, 3, size);
    vectors(&c, true, 2, 1, &size[1]);
    for (int i = 0; i < 2; i++) fm_case_in(&c, FM_F32, 3, size);
    vectors(&c, false, 1, 1, &size[1]);
    vectors(&c, false, 2, 2, stats);
    fm_case_randomize(&c, 0.5, 3, 1, false);
    fm_expect_as_ref(&c, 1e-5);
    fm_case_release(&c);
}

static void test_errors(void **state)
{
    (void)state;
    const int64_t size[3] = { 1, 6, 4 }, stats[2] = { 1, 4 };
    struct fm_err err = { 0 };
    struct fm_case c;
    fm_case_init(&c, FM_K_GROUP_NORM);
    c.attr.groups = 4;
    fm_case_out(&c, FM_F32, 3, size);
    vectors(&c, true, 2, 2, stats);
    fm_case_in(&c, FM_F32, 3, size);
    vectors(&c, false, 2, 1, &size[1]);
    assert_int_equal(fm_run_shim(&c, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "4 groups of 6 channels"));
    fm_case_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm),            cmocka_unit_test(test_batch_norm_absent),
        cmocka_unit_test(test_batch_norm_large_mean), cmocka_unit_test(test_group_norm),
        cmocka_unit_test(test_group_norm_wide),       cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
