/* SGD, ADAM and the loss scaler on the cuda kernels (run on the CPU) against ref: lists of tensors. */
#include "tests/cuda/support_cuda.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void tensor(struct fm_draw *draw, struct fm_case *c, enum fm_dtype dtype, const int64_t size[2], double low)
{
    uint32_t i = c->n_out;
    fm_case_out(c, dtype, 2, size);
    int64_t layout = fm_draw(draw, 0, 9);
    if (layout == 0) fm_case_swap(c, i, 0, 1);
    if (layout == 1) fm_case_slice(c, i, 1, 1, size[1] + 2);
    fm_case_random(c, i, low, 1, draw->drawn);
}

static void tensor_size(struct fm_draw *draw, int64_t size[2])
{
    size[0] = fm_draw(draw, 1, 50);
    size[1] = fm_draw(draw, 1, fm_draw(draw, 0, 3) ? 20 : 200);
}

static void scaler_input(struct fm_case *c, int round)
{
    fm_case_in(c, FM_F32, 1, (int64_t[]){ 1 });
    fm_case_set_one(c, c->n_out, 0, (double)(round % 2));
}

static void test_sgd(void **state)
{
    (void)state;
    struct fm_draw draw = { 71, 0 };
    for (int round = 0; round < 60; round++) {
        struct fm_case c;
        bool momentum = fm_draw(&draw, 0, 2);
        fm_case_init(&c, FM_K_SGD);
        c.step = (uint64_t)fm_draw(&draw, 0, 2);
        c.attr.lr = 0.1;
        c.attr.weight_decay = (double)fm_draw(&draw, 0, 1) * 0.01;
        c.attr.momentum = momentum ? 0.9 : 0;
        c.attr.nesterov = momentum && fm_draw(&draw, 0, 1);
        for (int t = (int)fm_draw(&draw, 1, 6); t > 0; t--) {
            int64_t size[2];
            enum fm_dtype dtype = fm_draw_float(&draw);
            tensor_size(&draw, size);
            for (int i = 0; i < 3; i++) i < 2 || momentum ? tensor(&draw, &c, dtype, size, -1) : fm_case_absent(&c, true);
        }
        if (round % 3 == 0) scaler_input(&c, round);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_adam(void **state)
{
    (void)state;
    struct fm_draw draw = { 72, 0 };
    for (int round = 0; round < 60; round++) {
        struct fm_case c;
        fm_case_init(&c, FM_K_ADAM);
        c.step = (uint64_t)fm_draw(&draw, 0, 30);
        c.attr = (struct fm_attr){ .alpha = 0.9, .beta = 0.999, .eps = 1e-8, .lr = 1e-2, .weight_decay = 0.01 };
        c.attr.decoupled = (uint8_t)fm_draw(&draw, 0, 1);
        c.attr.amsgrad = (uint8_t)fm_draw(&draw, 0, 1);
        for (int t = (int)fm_draw(&draw, 1, 3); t > 0; t--) {
            int64_t size[2];
            enum fm_dtype dtype = fm_draw_float(&draw);
            tensor_size(&draw, size);
            tensor(&draw, &c, dtype, size, -1);
            tensor(&draw, &c, FM_F32, size, -1);
            tensor(&draw, &c, FM_F32, size, 0.01);
            c.attr.amsgrad ? tensor(&draw, &c, FM_F32, size, 0.01) : fm_case_absent(&c, true);
            fm_case_absent(&c, true);
            tensor(&draw, &c, dtype, size, -1);
        }
        if (round % 3 == 0) scaler_input(&c, round);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_amp_unscale(void **state)
{
    (void)state;
    struct fm_draw draw = { 73, 0 };
    for (int round = 0; round < 60; round++) {
        static const double bad[] = { 1, INFINITY, -INFINITY, NAN };
        struct fm_case c;
        fm_case_init(&c, FM_K_AMP_UNSCALE);
        fm_case_out(&c, FM_F32, 1, (int64_t[]){ 1 });
        int tensors = (int)fm_draw(&draw, 1, 6);
        for (int t = 0; t < tensors; t++) {
            int64_t size[2];
            tensor_size(&draw, size);
            tensor(&draw, &c, fm_draw_float(&draw), size, -1);
        }
        fm_case_in(&c, FM_F32, 1, (int64_t[]){ 1 });
        fm_case_set_one(&c, c.n_out, 0, 64);
        uint32_t hit = (uint32_t)fm_draw(&draw, 1, tensors);
        fm_case_set_one(&c, hit, fm_draw(&draw, 0, fm_operand_numel(&c.operand[hit]) - 1), bad[round % 4]);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_amp_update(void **state)
{
    (void)state;
    static const double trackers[] = { 0, 7, 1998, 1999 };
    for (int k = 0; k < 8; k++) {
        struct fm_case c;
        fm_case_init(&c, FM_K_AMP_UPDATE);
        fm_case_out(&c, FM_F32, 1, (int64_t[]){ 1 });
        fm_case_out(&c, k % 3 ? FM_I64 : FM_F32, 1, (int64_t[]){ 1 });
        fm_case_in(&c, FM_F32, 1, (int64_t[]){ 1 });
        fm_case_set_one(&c, 0, 0, 1024);
        fm_case_set_one(&c, 1, 0, trackers[k / 2]);
        fm_case_set_one(&c, 2, 0, k % 2);
        fm_expect_as_ref(&c, 0);
        fm_case_release(&c);
    }
}

static void test_errors(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    fm_case_init(&c, FM_K_ADAM);
    c.attr.amsgrad = 1;
    for (int i = 0; i < 6; i++) i == 3 || i == 4 ? fm_case_absent(&c, true) : fm_case_out(&c, FM_F32, 1, (int64_t[]){ 4 });
    assert_int_equal(fm_run_shim(&c, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "amsgrad"));
    fm_case_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sgd),        cmocka_unit_test(test_adam),   cmocka_unit_test(test_amp_unscale),
        cmocka_unit_test(test_amp_update), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
