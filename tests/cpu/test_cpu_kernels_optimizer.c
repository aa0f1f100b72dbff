/* SGD, ADAM and the loss scaler against the oracle, over several steps of lists of tensors. */
#include "tests/cpu/support_kernels.h"

#include "probes/backends/cpu/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void absent_output(struct fm_case *c)
{
    fm_case_absent(c, true);
}

static void tensor(struct fm_choice *choice, struct fm_case *c, enum fm_dtype dtype, const int64_t size[2], double low)
{
    uint32_t i = c->n_out;
    fm_case_out(c, dtype, 2, size);
    if (fm_choose(choice, 0, 5) == 0) fm_case_swap(c, i, 0, 1);
    fm_case_random(c, i, low, 1, choice->drawn);
}

static void test_sgd(void **state)
{
    (void)state;
    struct fm_choice choice = { 21, 0 };
    for (int round = 0; round < 60; round++) {
        struct fm_case c;
        bool momentum = fm_choose(&choice, 0, 2), scaler = fm_choose(&choice, 0, 2) == 0;
        fm_case_init(&c, FM_K_SGD);
        c.step = (uint64_t)fm_choose(&choice, 0, 2);
        c.attr.lr = 0.1;
        c.attr.weight_decay = (double)fm_choose(&choice, 0, 1) * 0.01;
        c.attr.momentum = momentum ? 0.9 : 0;
        c.attr.nesterov = momentum && fm_choose(&choice, 0, 1);
        for (int t = (int)fm_choose(&choice, 1, 6); t > 0; t--) {
            int64_t size[2] = { fm_choose(&choice, 1, 70), fm_choose(&choice, 1, fm_choose(&choice, 0, 3) ? 20 : 400) };
            enum fm_dtype dtype = fm_random_float(&choice);
            tensor(&choice, &c, dtype, size, -1);
            tensor(&choice, &c, dtype, size, -1);
            if (momentum)
                tensor(&choice, &c, dtype, size, -1);
            else
                absent_output(&c);
        }
        if (scaler) {
            fm_case_in(&c, FM_F32, 1, (int64_t[]){ 1 });
            fm_case_set_one(&c, c.n_out, 0, (double)(round % 2));
        }
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_adam(void **state)
{
    (void)state;
    struct fm_choice choice = { 22, 0 };
    for (int round = 0; round < 60; round++) {
        struct fm_case c;
        fm_case_init(&c, FM_K_ADAM);
        c.step = (uint64_t)fm_choose(&choice, 0, 30);
        c.attr = (struct fm_attr){ .alpha = 0.9, .beta = 0.999, .eps = 1e-8, .lr = 1e-2, .weight_decay = 0.01 };
        c.attr.decoupled = (uint8_t)fm_choose(&choice, 0, 1);
        c.attr.amsgrad = (uint8_t)fm_choose(&choice, 0, 1);
        for (int t = (int)fm_choose(&choice, 1, 3); t > 0; t--) {
            int64_t size[2] = { fm_choose(&choice, 1, 70), fm_choose(&choice, 1, fm_choose(&choice, 0, 3) ? 20 : 400) };
            enum fm_dtype dtype = fm_random_float(&choice);
            tensor(&choice, &c, dtype, size, -1);
            tensor(&choice, &c, FM_F32, size, -1);
            tensor(&choice, &c, FM_F32, size, 0.01);
            if (c.attr.amsgrad)
                tensor(&choice, &c, FM_F32, size, 0.01);
            else
                absent_output(&c);
            absent_output(&c);
            tensor(&choice, &c, dtype, size, -1);
        }
        if (round % 3 == 0) {
            fm_case_in(&c, FM_F32, 1, (int64_t[]){ 1 });
            fm_case_set_one(&c, c.n_out, 0, (double)(round % 2));
        }
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

/* a closed form: with a constant gradient every bias-corrected step of Adam is lr (eps 0) */
static void test_adam_constant_gradient(void **state)
{
    (void)state;
    float p = 1, m = 0, v = 0, g = 0.25f;
    struct fm_operand operand[6];
    void *data[6] = { &p, &m, &v, NULL, NULL, &g };
    for (int i = 0; i < 6; i++)
        operand[i] = (struct fm_operand){ .dtype = FM_F32, .ndim = 1, .size = { 1 }, .stride = { 1 } };
    struct fm_attr attr = { .alpha = 0.9, .beta = 0.999, .lr = 0.01 };
    struct fm_cpu_call call = { .problem = { FM_K_ADAM, 6, 0, operand, &attr }, .data = data, .threads = 1 };
    for (call.step = 0; call.step < 20; call.step++) {
        assert_int_equal(fm_cpu_kernels[FM_K_ADAM].run(&call, NULL), FM_OK);
        assert_true(fabs((double)p - (1 - 0.01 * (double)(call.step + 1))) < 2e-6);
    }
}

static void test_amp_unscale(void **state)
{
    (void)state;
    struct fm_choice choice = { 23, 0 };
    for (int round = 0; round < 60; round++) {
        static const double bad[] = { 1, INFINITY, -INFINITY, NAN };
        struct fm_case c;
        fm_case_init(&c, FM_K_AMP_UNSCALE);
        fm_case_out(&c, FM_F32, 1, (int64_t[]){ 1 });
        int tensors = (int)fm_choose(&choice, 1, 6);
        for (int t = 0; t < tensors; t++) {
            int64_t size[2] = { fm_choose(&choice, 1, 70), fm_choose(&choice, 1, fm_choose(&choice, 0, 3) ? 20 : 400) };
            tensor(&choice, &c, fm_random_float(&choice), size, -1);
        }
        fm_case_in(&c, FM_F32, 1, (int64_t[]){ 1 });
        fm_case_set_one(&c, c.n_out, 0, 65536);
        uint32_t hit = (uint32_t)fm_choose(&choice, 1, tensors);
        fm_case_set_one(&c, hit, fm_choose(&choice, 0, fm_operand_numel(&c.operand[hit]) - 1), bad[round % 4]);
        fm_expect_same(&c, fm_tolerance(&c));
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
        fm_expect_same(&c, 0);
        fm_case_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_adam_constant_gradient),
        cmocka_unit_test(test_amp_unscale),
        cmocka_unit_test(test_amp_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
