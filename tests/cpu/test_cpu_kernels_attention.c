/* SDPA and its gradients against the oracle: sizes that fill tiles, exceed them by one and do not fill one, heads of one
 * channel to the most there may be, layouts as networks have them and others. */
#include "probes/backends/ref/ref.h"
#include "tests/cpu/support_kernels.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct sizes { int64_t batch, heads, queries, keys, depth; };

/* (B, H, L, D) as (B, L, H, D) lies in memory, or in any order */
static void layout(struct fm_choice *choice, struct fm_case *c, uint32_t i)
{
    if (fm_choose(choice, 0, 2)) fm_case_swap(c, i, 1, 2);
    else fm_random_layout(choice, c, i, -1);
}

/* an exponential's relative error is its argument's absolute one, which grows with the scale */
static double tolerance(const struct fm_case *c)
{
    return c->operand[2].dtype == FM_F32 && c->operand[0].dtype == FM_F32 ? 4e-6 * (1 + fabs(c->attr.alpha)) : 1e-2;
}

/* a forward pass whose result and log-sum-exps are the backward pass's inputs */
static void check(const struct sizes *s, double scale, enum fm_dtype dtype, struct fm_choice *choice)
{
    const int64_t q[] = { s->batch, s->heads, s->queries, s->depth }, k[] = { s->batch, s->heads, s->keys, s->depth };
    struct fm_case f, b, done;
    struct fm_err err = { 0 };
    fm_case_init(&f, FM_K_SDPA), fm_case_init(&b, FM_K_SDPA_BWD);
    f.attr.alpha = b.attr.alpha = scale;
    fm_case_out(&f, dtype, 4, q), fm_case_out(&f, FM_F32, 3, q);
    fm_case_in(&f, dtype, 4, q), fm_case_in(&f, dtype, 4, k), fm_case_in(&f, dtype, 4, k);
    fm_case_out(&b, dtype, 4, q), fm_case_out(&b, dtype, 4, k), fm_case_out(&b, dtype, 4, k);
    for (int n = 0; n < 6; n++) fm_case_in(&b, n == 5 ? FM_F32 : dtype, n == 5 ? 3 : 4, n == 2 || n == 3 ? k : q);
    layout(choice, &f, 0);
    for (uint32_t n = 2; n < 5; n++) layout(choice, &f, n), fm_case_random(&f, n, -2, 2, choice->drawn + n);
    for (uint32_t n = 0; n < 8; n++) layout(choice, &b, n);
    fm_expect_same(&f, tolerance(&f));
    fm_case_copy(&done, &f);
    if (fm_case_run(&done, &fm_backend_ref, NULL, &err) != FM_OK) fail_msg("%s", err.text);
    fm_case_random(&b, 3, -1, 1, choice->drawn);
    static const uint32_t from[] = { 2, 3, 4, 0, 1 };
    for (uint32_t n = 0; n < 5; n++)
        for (int64_t i = 0; i < fm_operand_numel(&b.operand[4 + n]); i++)
            fm_case_set_one(&b, 4 + n, i, fm_case_get_one(&done, from[n], i));
    fm_expect_same(&b, 3 * tolerance(&f));
    fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct sizes rows[] = {
        { 1, 1, 1, 1, 1 },    { 2, 3, 32, 32, 8 },   { 1, 2, 33, 31, 16 },  { 2, 1, 7, 65, 24 },  { 1, 5, 64, 1, 32 },
        { 1, 2, 40, 70, 20 }, { 1, 1, 5, 9, 256 },   { 3, 2, 3, 100, 4 },   { 1, 8, 49, 49, 32 }, { 1, 1, 96, 33, 64 },
    };
    struct fm_choice choice = { 41, 0 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int half = 0; half < 2; half++)
            check(&rows[i], 1 / sqrt((double)rows[i].depth), half ? FM_BF16 : FM_F32, &choice);
    check(&rows[3], 20, FM_F32, &choice);       /* one key takes nearly all */
    check(&rows[3], -1, FM_F32, &choice);
    check(&rows[3], 0, FM_F32, &choice);        /* an average */
}

static void test_random(void **state)
{
    (void)state;
    struct fm_choice choice = { 43, 0 };
    for (int round = 0; round < 40; round++) {
        struct sizes s = { fm_choose(&choice, 1, 2), fm_choose(&choice, 1, 3), fm_choose(&choice, 1, 70), fm_choose(&choice, 1, 70),
                           fm_choose(&choice, 1, 40) };
        check(&s, 0.1 * (double)fm_choose(&choice, 1, 9), fm_random_float(&choice), &choice);
    }
}

/* scores that overflow exp unless the largest is taken off, in a tile after the first: no infinity, and it wins */
static void test_large_scores(void **state)
{
    (void)state;
    const int64_t q[] = { 1, 1, 2, 1 }, k[] = { 1, 1, 50, 1 };
    struct fm_case c;
    fm_case_init(&c, FM_K_SDPA);
    c.attr.alpha = 1;
    fm_case_out(&c, FM_F32, 4, q), fm_case_out(&c, FM_F32, 3, q);
    fm_case_in(&c, FM_F32, 4, q), fm_case_in(&c, FM_F32, 4, k), fm_case_in(&c, FM_F32, 4, k);
    for (int64_t i = 0; i < 2; i++) fm_case_set_one(&c, 2, i, 100);
    for (int64_t j = 0; j < 50; j++) fm_case_set_one(&c, 3, j, j == 45 ? 9 : (double)(j % 7)), fm_case_set_one(&c, 4, j, (double)j);
    fm_expect_same(&c, 1e-6);
    assert_int_equal(fm_case_run(&c, &fm_backend_ref, NULL, NULL), FM_OK);
    assert_true(fm_case_get_one(&c, 0, 0) > 44.999 && fm_case_get_one(&c, 1, 1) >= 900);
    fm_case_release(&c);
}

static void test_refusals(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    for (int f64 = 0; f64 < 2; f64++) {
        const int64_t q[] = { 1, 1, 2, f64 ? 8 : 257 };
        enum fm_dtype dtype = f64 ? FM_F64 : FM_BF16;
        struct fm_case c;
        fm_case_init(&c, FM_K_SDPA);
        fm_case_out(&c, dtype, 4, q), fm_case_out(&c, f64 ? FM_F64 : FM_F32, 3, q);
        for (int i = 0; i < 3; i++) fm_case_in(&c, dtype, 4, q);
        for (uint32_t i = 2; i < 5; i++) fm_case_random(&c, i, -1, 1, i);
        assert_int_equal(fm_own_status(&c, &err), FM_UNSUPPORTED);
        fm_case_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_random), cmocka_unit_test(test_large_scores),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
