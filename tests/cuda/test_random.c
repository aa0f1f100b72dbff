/* DROPOUT, DROPOUT_BWD, BERNOULLI, INIT, INPUT on the cuda kernels (run on the CPU) against ref: the same bits drawn. */
#include "tests/cuda/support_cuda.h"

#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* masks are compared bit for bit by comparing y: a single other decision is a large difference */
static void test_dropout(void **state)
{
    (void)state;
    struct fm_draw draw = { 31, 0 };
    static const double rates[] = { 0, 0.1, 0.5, 0.25, 0.999 };
    for (int round = 0; round < 60; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_sizes(&draw, size);
        enum fm_dtype dtype = fm_draw_float(&draw);
        struct fm_case c;
        fm_case_init(&c, FM_K_DROPOUT);
        c.seed = (uint64_t)fm_draw(&draw, 0, 1 << 30);
        c.step = (uint64_t)fm_draw(&draw, 0, 1000);
        c.attr.alpha = rates[round % 5];
        c.attr.stream = (uint64_t)fm_draw(&draw, 0, 60000);
        fm_case_out(&c, dtype, ndim, size);
        fm_case_out(&c, FM_BOOL, ndim, size);
        fm_case_in(&c, dtype, ndim, size);
        for (uint32_t i = 0; i < 3; i++) fm_draw_layout(&draw, &c, i, -1);
        fm_case_randomize(&c, 0.5, 2, (uint64_t)round, false);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

/* a probability that is a number drawn: element 5 lies on the edge */
static void test_edge(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int keep = 0; keep < 2; keep++) {
            struct fm_case c;
            fm_case_init(&c, keep ? FM_K_BERNOULLI : FM_K_DROPOUT);
            c.seed = seed;
            c.attr.stream = 9;
            c.attr.alpha = (double)fm_rng_uniform(seed, 9, 5);
            fm_case_out(&c, FM_F32, 1, (int64_t[]){ 16 });
            if (!keep) {
                fm_case_out(&c, FM_BOOL, 1, (int64_t[]){ 16 });
                fm_case_in(&c, FM_F32, 1, (int64_t[]){ 16 });
                fm_case_random(&c, 2, 1, 2, seed);
            }
            fm_expect_as_ref(&c, 1e-6);
            fm_case_release(&c);
        }
    }
}

static void test_dropout_bwd(void **state)
{
    (void)state;
    struct fm_draw draw = { 32, 0 };
    for (int round = 0; round < 40; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_sizes(&draw, size);
        enum fm_dtype dtype = fm_draw_float(&draw);
        struct fm_case c;
        fm_case_init(&c, FM_K_DROPOUT_BWD);
        c.attr.alpha = 0.3;
        fm_case_out(&c, dtype, ndim, size);
        fm_case_in(&c, dtype, ndim, size);
        fm_case_in(&c, FM_BOOL, ndim, size);
        for (uint32_t i = 0; i < 3; i++) fm_draw_layout(&draw, &c, i, -1);
        if (fm_draw(&draw, 0, 2) == 0) fm_draw_share(&c, 1);
        fm_case_randomize(&c, -1, 1, (uint64_t)round, false);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_bernoulli(void **state)
{
    (void)state;
    struct fm_draw draw = { 33, 0 };
    static const double keeps[] = { 1, 0.9, 0.5, 1e-3 };
    for (int round = 0; round < 24; round++) {
        int64_t size[] = { fm_draw(&draw, 1, 300), 1, 1, fm_draw(&draw, 1, 5) };
        struct fm_case c;
        fm_case_init(&c, FM_K_BERNOULLI);
        c.step = (uint64_t)fm_draw(&draw, 0, 1000);
        c.attr.alpha = keeps[round % 4];
        c.attr.stream = 17;
        fm_case_out(&c, fm_draw_float(&draw), 4, size);
        fm_draw_layout(&draw, &c, 0, -1);
        fm_case_random(&c, 0, -1, 1, 2);
        fm_expect_as_ref(&c, 1e-7);
        fm_case_release(&c);
    }
}

static void test_init(void **state)
{
    (void)state;
    struct fm_draw draw = { 34, 0 };
    for (int round = 0; round < 45; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_sizes(&draw, size);
        struct fm_case c;
        fm_case_init(&c, FM_K_INIT);
        c.seed = (uint64_t)round;
        c.attr.mode = (uint8_t)(round % 3);
        c.attr.alpha = 0.125;
        c.attr.stream = (uint64_t)fm_draw(&draw, 0, 60000);
        fm_case_out(&c, round % 5 ? FM_F32 : fm_draw_float(&draw), ndim, size);
        fm_draw_layout(&draw, &c, 0, -1);
        fm_case_random(&c, 0, -1, 1, 2);
        fm_expect_as_ref(&c, fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_input(void **state)
{
    (void)state;
    struct fm_draw draw = { 35, 0 };
    for (int round = 0; round < 32; round++) {
        int64_t size[5] = { fm_draw(&draw, 1, 3) };
        enum fm_input mode = (enum fm_input)(round % 4);
        bool volume = mode == FM_INPUT_VOLUME || mode == FM_INPUT_VOLUME_LABELS;
        bool labels = mode == FM_INPUT_VOLUME_LABELS || mode == FM_INPUT_IMAGE_LABELS;
        int ndim = 1;
        if (!labels) size[ndim++] = volume ? 1 + round % 2 : 3;
        for (int d = 0; d < 2 + volume; d++) size[ndim++] = fm_draw(&draw, 3, volume ? 12 : 30);
        struct fm_case c;
        fm_case_init(&c, FM_K_INPUT);
        c.seed = (uint64_t)round;
        c.step = (uint64_t)fm_draw(&draw, 0, 5);
        c.attr.mode = (uint8_t)mode;
        c.attr.alpha = (double)fm_draw(&draw, 1, 8);
        c.attr.beta = (double)fm_draw(&draw, 0, 1);
        c.attr.groups = (int32_t)fm_draw(&draw, 0, 3);
        c.attr.stream = (uint64_t)fm_draw(&draw, 0, 3);
        fm_case_out(&c, labels ? FM_I64 : fm_draw_float(&draw), ndim, size);
        if (ndim > 2 && fm_draw(&draw, 0, 1) && !labels) fm_case_image(&c, 0);
        fm_expect_as_ref(&c, labels ? 0 : fm_cuda_tolerance(&c));
        fm_case_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout), cmocka_unit_test(test_edge), cmocka_unit_test(test_dropout_bwd),
        cmocka_unit_test(test_bernoulli), cmocka_unit_test(test_init), cmocka_unit_test(test_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
