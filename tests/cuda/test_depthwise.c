/* Depthwise convolutions on the cuda kernels (run on the CPU) against ref: each pass, 2-D and 3-D, one filter and several a
 * channel, steps, padding and dilation of their own in each dimension, any layout; and what is not depthwise. */
#include "tests/cuda/support_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const enum fm_kernel passes[] = { FM_K_CONV, FM_K_CONV_DGRAD, FM_K_CONV_WGRAD };

struct shape { int ndim; int64_t x[5], w[5], y[5]; struct fm_attr attr; };

static void draw_shape(struct fm_draw *draw, struct shape *s)
{
    static const int64_t channels[] = { 1, 2, 3, 8, 33 };
    memset(s, 0, sizeof *s);
    s->ndim = (int)fm_draw(draw, 4, 5);
    s->x[0] = s->y[0] = fm_draw(draw, 1, 3);
    s->x[1] = channels[fm_draw(draw, 0, 4)];
    s->y[1] = s->w[0] = s->x[1] * fm_draw(draw, 1, 3);
    s->w[1] = 1;
    s->attr.groups = (int32_t)s->x[1];
    for (int d = 0; d < s->ndim - 2; d++) {
        int64_t kernel = fm_draw(draw, 1, 4), step = fm_draw(draw, 1, 3), spread = fm_draw(draw, 1, 2);
        int64_t padding = fm_draw(draw, 0, kernel), reach = spread * (kernel - 1) + 1;
        int64_t least = reach - 2 * padding < 1 ? 1 : reach - 2 * padding;
        s->w[2 + d] = kernel;
        s->x[2 + d] = least + fm_draw(draw, 0, s->ndim == 4 ? 9 : 4);
        s->y[2 + d] = (s->x[2 + d] + 2 * padding - reach) / step + 1;
        s->attr.stride[d] = (int32_t)step, s->attr.padding[d] = (int32_t)padding, s->attr.dilation[d] = (int32_t)spread;
    }
}

static void make(struct fm_case *c, const struct shape *s, enum fm_kernel kernel, const enum fm_dtype dtype[3])
{
    fm_case_init(c, kernel);
    fm_case_out(c, dtype[0], s->ndim, kernel == FM_K_CONV ? s->y : kernel == FM_K_CONV_DGRAD ? s->x : s->w);
    fm_case_in(c, dtype[1], s->ndim, kernel == FM_K_CONV ? s->x : s->y);
    fm_case_in(c, dtype[2], s->ndim, kernel == FM_K_CONV_WGRAD ? s->x : s->w);
    c->attr = s->attr;
}

static void test_depthwise(void **state)
{
    (void)state;
    struct fm_draw draw = { 44, 0 };
    for (int round = 0; round < 150; round++) {
        const enum fm_dtype dtype[] = { fm_draw_float(&draw), fm_draw_float(&draw), fm_draw_float(&draw) };
        struct shape s;
        struct fm_case c;
        draw_shape(&draw, &s);
        make(&c, &s, passes[round % 3], dtype);
        if (round % 3 == 0 && fm_draw(&draw, 0, 1)) fm_case_in(&c, dtype[1], 1, &s.y[1]);
        for (uint32_t i = 0; i < 3; i++) fm_draw_layout(&draw, &c, i, -1);
        fm_case_randomize(&c, -1, 2, (uint64_t)round, false);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const enum fm_dtype dtype[] = { FM_F32, FM_F32, FM_F32 };
    for (int kind = 0; kind < 3; kind++) {
        struct shape s = { .ndim = 4, .x = { 1, 4, 3, 3 }, .w = { 4, 1, 3, 3 }, .y = { 1, 4, 3, 3 },
                           .attr = { .stride = { 1, 1 }, .padding = { 1, 1 }, .dilation = { 1, 1 }, .groups = 4 } };
        struct fm_err err = { 0 };
        struct fm_case c;
        if (kind == 0) s.attr.groups = 2, s.w[1] = 2;
        if (kind == 1) s.attr.transposed = 1;
        make(&c, &s, FM_K_CONV, dtype);
        if (kind == 2) c.operand[0].dtype = FM_BOOL;
        assert_int_equal(fm_run_shim(&c, &err), FM_UNSUPPORTED);
        assert_non_null(strstr(err.text, kind == 2 ? "bool" : "not depthwise"));
        fm_case_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_depthwise), cmocka_unit_test(test_errors) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
