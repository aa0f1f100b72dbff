/* SUM, NLL, NLL_BWD on the cuda kernels (run on the CPU) against ref. */
#include "tests/cuda/support_cuda.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_sum(void **state)
{
    (void)state;
    struct fm_draw draw = { 41, 0 };
    for (int round = 0; round < 150; round++) {
        int64_t size[FM_MAX_DIMS], kept[FM_MAX_DIMS];
        int ndim = fm_draw_image(&draw, size);
        int64_t reduced = fm_draw(&draw, 0, (1 << ndim) - 1);
        bool integers = fm_draw(&draw, 0, 5) == 0;
        for (int d = 0; d < ndim; d++) kept[d] = reduced >> d & 1 ? 1 : size[d];
        struct fm_case c;
        fm_case_init(&c, FM_K_SUM);
        c.attr.alpha = fm_draw(&draw, 0, 1) ? 1 : 0.125;
        bool exact = integers && c.attr.alpha >= 1;
        fm_case_out(&c, exact ? FM_I64 : fm_draw_float(&draw), ndim, kept);
        fm_case_in(&c, integers ? fm_draw(&draw, 0, 1) ? FM_I64 : FM_BOOL : fm_draw_float(&draw), ndim, size);
        fm_draw_layout(&draw, &c, 0, -1);
        fm_draw_layout(&draw, &c, 1, -1);
        fm_case_random(&c, 1, integers ? -20 : -1, integers ? 30 : 2, (uint64_t)round);
        fm_expect_as_ref(&c, exact ? 0 : fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* long ones, cut into parts: bias gradients, losses, whole tensors */
static void test_sum_large(void **state)
{
    (void)state;
    static const struct { int64_t size[3], kept[3]; } shapes[] = {
        { { 1, 1500, 16 }, { 1, 1, 16 } }, { { 1, 700, 71 }, { 1, 1, 71 } },   { { 1, 1, 16384 }, { 1, 1, 1 } },
        { { 1, 1, 20001 }, { 1, 1, 1 } },  { { 2, 3, 8200 }, { 2, 3, 1 } },    { { 1, 3, 4096 }, { 1, 1, 4096 } },
        { { 3, 9000, 1 }, { 3, 1, 1 } },   { { 4, 24, 300 }, { 1, 24, 1 } },   { { 1, 130, 64 }, { 1, 1, 64 } },
    };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        for (int dtype = 0; dtype < 4; dtype++) {
            static const enum fm_dtype dtypes[] = { FM_F32, FM_BF16, FM_F16, FM_I64 };
            bool exact = dtypes[dtype] == FM_I64;
            struct fm_case c;
            fm_case_init(&c, FM_K_SUM);
            c.attr.alpha = 1;
            fm_case_out(&c, exact ? FM_I64 : FM_F32, 3, shapes[k].kept);
            fm_case_in(&c, dtypes[dtype], 3, shapes[k].size);
            fm_case_random(&c, 1, exact ? -1e14 : 0, exact ? 1e14 : 1, 3);
            fm_expect_as_ref(&c, exact ? 0 : 1e-6);
            fm_case_release(&c);
        }
    }
}

static void spatial_of(const int64_t *size, int ndim, int64_t *spatial)
{
    spatial[0] = size[0];
    for (int d = 2; d < ndim; d++) spatial[d - 1] = size[d];
}

static void draw_targets(struct fm_draw *draw, struct fm_case *c, uint32_t target, int64_t classes)
{
    for (int64_t i = 0; i < fm_operand_numel(&c->operand[target]); i++)
        fm_case_set_one(c, target, i,
                        (double)(fm_draw(draw, 0, 5) ? fm_draw(draw, 0, classes - 1) : c->attr.ignore_index));
}

static void test_nll(void **state)
{
    (void)state;
    struct fm_draw draw = { 42, 0 };
    for (int round = 0; round < 100; round++) {
        int64_t size[FM_MAX_DIMS], spatial[FM_MAX_DIMS], one = 1;
        int ndim = fm_draw_image(&draw, size), bwd = round % 2;
        bool weighted = fm_draw(&draw, 0, 1);
        if (round % 10 > 7) ndim = 3, size[0] = 2, size[1] = 4, size[2] = 5000;
        spatial_of(size, ndim, spatial);
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_NLL_BWD : FM_K_NLL);
        c.attr.ignore_index = fm_draw(&draw, 0, 1) ? -100 : 0;
        if (bwd) {
            fm_case_out(&c, fm_draw_float(&draw), ndim, size);
            fm_case_in(&c, FM_F32, 1, &one);
        } else {
            for (int i = 0; i < 2; i++) fm_case_out(&c, FM_F32, 1, &one);
            fm_case_in(&c, fm_draw_float(&draw), ndim, size);
        }
        uint32_t target = c.n_out + c.n_in, logits = bwd ? 0 : 2;
        fm_case_in(&c, FM_I64, ndim - 1, spatial);
        if (bwd) fm_case_in(&c, FM_F32, 1, &one);
        if (weighted) fm_case_in(&c, FM_F32, 1, &size[1]);
        fm_draw_layout(&draw, &c, logits, -1);
        fm_case_randomize(&c, bwd ? 0.5 : -4, bwd ? 3 : 0, (uint64_t)round, false);
        if (weighted) fm_case_random(&c, c.n_out + c.n_in - 1, 0.1, 2, 9);
        draw_targets(&draw, &c, target, size[1]);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* nothing counted: NaN, as in torch; a target that is no class: NaN, where ref refuses */
static void test_nll_special(void **state)
{
    (void)state;
    for (int class = -3; class <= 4; class ++) {
        for (int both = 0; both < 2; both++) {
            struct fm_err err = { 0 };
            struct fm_case c;
            bool ignored = class == -2, good = class >= 0 && class < 4;
            fm_case_init(&c, FM_K_NLL);
            c.attr.ignore_index = -2;
            for (int i = 0; i < 2; i++) fm_case_out(&c, FM_F32, 1, (int64_t[]){ 1 });
            fm_case_in(&c, FM_F32, 2, (int64_t[]){ 2, 4 });
            fm_case_in(&c, FM_I64, 1, (int64_t[]){ 2 });
            fm_case_random(&c, 2, -1, 0, 1);
            fm_case_set(&c, 3, (double[]){ both ? class : 1, class });
            assert_int_equal(fm_run_shim(&c, &err), FM_OK);
            assert_true(isnan(fm_case_get_one(&c, 0, 0)) == (both ? !good : !good && !ignored));
            fm_case_release(&c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_sum_large),
        cmocka_unit_test(test_nll),
        cmocka_unit_test(test_nll_special),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
