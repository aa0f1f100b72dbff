/* SOFTMAX, ARGMAX, LAYER_NORM and their gradients on the cuda kernels (run on the CPU) against ref. */
#include "tests/cuda/support_cuda.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_argmax(void **state)
{
    (void)state;
    struct fm_draw draw = { 51, 0 };
    for (int round = 0; round < 90; round++) {
        int64_t size[FM_MAX_DIMS], one[FM_MAX_DIMS];
        int ndim = fm_draw_image(&draw, size), dim = (int)fm_draw(&draw, 0, ndim - 1);
        if (round % 15 == 0) ndim = 2, dim = 1, size[0] = 12, size[1] = 1500;
        memcpy(one, size, sizeof one);
        one[dim] = 1;
        struct fm_case c;
        fm_case_init(&c, FM_K_ARGMAX);
        c.attr.dim = (uint8_t)dim;
        fm_case_out(&c, FM_I64, ndim, one);
        fm_case_in(&c, fm_draw_float(&draw), ndim, size);
        fm_draw_layout(&draw, &c, 0, -1);
        fm_draw_layout(&draw, &c, 1, -1);
        fm_case_random(&c, 1, -3, 3, (uint64_t)round);
        /* equals are common, and NaN counts as the greatest */
        for (int64_t i = 0; round % 2 && i < fm_operand_numel(&c.operand[1]); i++)
            fm_case_set_one(&c, 1, i, fm_draw(&draw, 0, 40) ? (double)fm_draw(&draw, -2, 2) : (double)NAN);
        if (round % 7 == 3)
            for (int64_t i = 0; i < fm_operand_numel(&c.operand[1]); i++) fm_case_set_one(&c, 1, i, -INFINITY);
        fm_expect_as_ref(&c, 0);
        fm_case_release(&c);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    struct fm_draw draw = { 52, 0 };
    for (int round = 0; round < 140; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_image(&draw, size), bwd = round % 2;
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_SOFTMAX_BWD : FM_K_SOFTMAX);
        c.attr.mode = (uint8_t)(round / 2 % 2);
        c.attr.dim = (uint8_t)(fm_draw(&draw, 0, 1) ? 1 : fm_draw(&draw, 0, ndim - 1));
        fm_case_out(&c, fm_draw_float(&draw), ndim, size);
        for (int i = 0; i < 1 + bwd; i++) fm_case_in(&c, fm_draw_float(&draw), ndim, size);
        for (uint32_t i = 0; i < 2u + (uint32_t)bwd; i++) fm_draw_layout(&draw, &c, i, -1);
        fm_case_randomize(&c, -4, bwd ? 0 : 9, (uint64_t)round, false);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* rows for a group of lanes, a warp and a block, in vectors and in pieces */
static void test_softmax_lengths(void **state)
{
    (void)state;
    static const int64_t lengths[] = { 1, 2, 7, 16, 33, 64, 250, 1023, 1024, 1025, 4096, 5000 };
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths * 4; k++) {
        const int64_t size[2] = { 3, lengths[k / 4] };
        enum fm_dtype dtype = k % 3 == 0 ? FM_F32 : k % 3 == 1 ? FM_F16 : FM_BF16;
        struct fm_case c;
        fm_case_init(&c, k % 2 ? FM_K_SOFTMAX_BWD : FM_K_SOFTMAX);
        c.attr.mode = (uint8_t)(k / 2 % 2);
        c.attr.dim = 1;
        fm_case_out(&c, FM_F32, 2, size);
        for (size_t i = 0; i < 1 + k % 2; i++) fm_case_in(&c, dtype, 2, size);
        fm_case_randomize(&c, -4, k % 2 ? 0 : 9, k, false);
        fm_expect_as_ref(&c, 1e-5);
        fm_case_release(&c);
    }
}

/* masked attention: minus infinity is a probability of exactly 0; a row of nothing else is NaN */
static void test_softmax_masked(void **state)
{
    (void)state;
    for (int64_t n = 2; n < 80; n += 6) {
        for (int mode = 0; mode < 2; mode++) {
            struct fm_case c;
            fm_case_init(&c, FM_K_SOFTMAX);
            c.attr.dim = 1;
            c.attr.mode = (uint8_t)mode;
            fm_case_out(&c, FM_F32, 2, (int64_t[]){ 5, n });
            fm_case_in(&c, FM_F32, 2, (int64_t[]){ 5, n });
            fm_case_random(&c, 1, -300, 300, 1);
            for (int64_t i = 0; i < 4 * n; i += 2) fm_case_set_one(&c, 1, i, -INFINITY);
            for (int64_t i = 0; i < n; i++) fm_case_set_one(&c, 1, 4 * n + i, i == 1 && n > 20 ? (double)NAN : -INFINITY);
            fm_expect_as_ref(&c, 1e-5);
            fm_case_release(&c);
        }
    }
}

static void layer_norm_case(struct fm_draw *draw, struct fm_case *c, int ndim, const int64_t *size)
{
    int64_t stats[FM_MAX_DIMS];
    bool bwd = c->kernel == FM_K_LAYER_NORM_BWD, affine = fm_draw(draw, 0, 4);
    memcpy(stats, size, sizeof stats);
    stats[ndim - 1] = 1;
    const int64_t *width = &size[ndim - 1];
    enum fm_dtype dtype = fm_draw_float(draw), weights = fm_draw(draw, 0, 1) ? FM_F32 : dtype;
    fm_case_out(c, dtype, ndim, size);
    if (bwd) {
        for (int i = 0; i < 2; i++) affine ? fm_case_out(c, weights, 1, width) : fm_case_absent(c, true);
        for (int i = 0; i < 2; i++) fm_case_in(c, dtype, ndim, size);
        affine ? fm_case_in(c, weights, 1, width) : fm_case_absent(c, false);
        for (int i = 0; i < 2; i++) fm_case_in(c, FM_F32, ndim, stats);
    } else {
        for (int i = 0; i < 2; i++) fm_case_out(c, FM_F32, ndim, stats);
        fm_case_in(c, dtype, ndim, size);
        for (int i = 0; i < 2; i++) affine ? fm_case_in(c, weights, 1, width) : fm_case_absent(c, false);
    }
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++)
        if (c->operand[i].storage != FM_NONE && c->operand[i].ndim == ndim && c->operand[i].size[ndim - 1] > 1)
            fm_draw_layout(draw, c, i, ndim - 1);
}

static void test_layer_norm(void **state)
{
    (void)state;
    static const int64_t lengths[] = { 2, 3, 8, 15, 32, 64, 65, 160, 512, 1024, 1500 };
    struct fm_draw draw = { 53, 0 };
    for (int round = 0; round < 110; round++) {
        int64_t size[FM_MAX_DIMS] = { 0 };
        int ndim = (int)fm_draw(&draw, 1, 4);
        struct fm_case c;
        fm_case_init(&c, round % 2 ? FM_K_LAYER_NORM_BWD : FM_K_LAYER_NORM);
        c.attr.eps = 1e-5;
        for (int d = 0; d < ndim; d++) size[d] = fm_draw(&draw, 1, 5);
        if (ndim == 2 && fm_draw(&draw, 0, 1)) size[0] = 150;
        size[ndim - 1] = lengths[round / 2 % 11];
        layer_norm_case(&draw, &c, ndim, size);
        fm_case_randomize(&c, 0.5, 3, (uint64_t)round, false);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c) * 2);
        fm_case_release(&c);
    }
}

static void test_errors(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    fm_case_init(&c, FM_K_SOFTMAX);
    c.attr.dim = 2;
    fm_case_out(&c, FM_F32, 2, (int64_t[]){ 2, 2 });
    fm_case_in(&c, FM_F32, 2, (int64_t[]){ 2, 2 });
    assert_int_equal(fm_run_shim(&c, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "dimension 2 of 2"));
    c.attr.dim = 0;
    c.operand[1].dtype = FM_I64;
    c.kernel = FM_K_ARGMAX;
    c.operand[0].size[0] = 1;
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_run_shim(&c, &err), FM_UNSUPPORTED);
    fm_case_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_argmax),          cmocka_unit_test(test_softmax),    cmocka_unit_test(test_softmax_lengths),
        cmocka_unit_test(test_softmax_masked),  cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
