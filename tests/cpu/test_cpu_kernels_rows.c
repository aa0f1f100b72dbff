/* SUM, ARGMAX, SOFTMAX, NLL, norms, INTERPOLATE and their gradients against the oracle. */
#include "tests/cpu/support_kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const int64_t channel_counts[] = { 1, 2, 3, 4, 7, 8, 16, 31, 64, 71, 100, 130 };

/* an image-like or plain shape of 2 to 5 dimensions, (B, C, ...), with a channel count of networks */
static int random_image(struct fm_choice *choice, int64_t size[FM_MAX_DIMS])
{
    int ndim = (int)fm_choose(choice, 2, 5);
    int64_t most = ndim == 2 ? 300 : ndim == 3 ? 120 : ndim == 4 ? 14 : 6;
    size[0] = fm_choose(choice, 1, 3);
    size[1] = channel_counts[fm_choose(choice, 0, 11)];
    for (int d = 2; d < ndim; d++) size[d] = fm_choose(choice, 1, most);
    if (ndim == 2) size[0] = fm_choose(choice, 2, most);
    return ndim;
}

static void random_inputs(struct fm_case *c, double low, double high, uint64_t seed)
{
    for (uint32_t i = c->n_out; i < c->n_out + c->n_in; i++) {
        if (c->operand[i].storage != FM_NONE) fm_case_random(c, i, low, high, seed + i);
    }
}

static void test_sum(void **state)
{
    (void)state;
    struct fm_choice choice = { 11, 0 };
    for (int round = 0; round < 120; round++) {
        int64_t size[FM_MAX_DIMS], kept[FM_MAX_DIMS];
        int ndim = random_image(&choice, size);
        int64_t reduced = fm_choose(&choice, 0, (1 << ndim) - 1);
        bool integers = fm_choose(&choice, 0, 4) == 0;
        for (int d = 0; d < ndim; d++) kept[d] = reduced >> d & 1 ? 1 : size[d];
        struct fm_case c;
        fm_case_init(&c, FM_K_SUM);
        c.attr.alpha = fm_choose(&choice, 0, 1) ? 1 : 0.125;
        fm_case_out(&c, integers && c.attr.alpha == 1 ? FM_I64 : fm_random_float(&choice), ndim, kept);
        fm_case_in(&c, integers ? fm_choose(&choice, 0, 1) ? FM_I64 : FM_BOOL : fm_random_float(&choice), ndim, size);
        fm_random_layout(&choice, &c, 0, -1);
        fm_random_layout(&choice, &c, 1, -1);
        fm_case_random(&c, 1, integers ? -20 : -1, integers ? 30 : 2, (uint64_t)round);
        fm_expect_same(&c, integers && c.attr.alpha == 1 ? 0 : fm_tolerance(&c));
        fm_case_release(&c);
    }
}

/* the reductions of networks: bias gradients, losses, whole tensors */
static void test_sum_large(void **state)
{
    (void)state;
    static const struct {
        int64_t size[3], kept[3];
    } shapes[] = {
        { { 1, 30000, 16 }, { 1, 1, 16 } },   { { 1, 2000, 71 }, { 1, 1, 71 } },  { { 1, 1, 65536 }, { 1, 1, 1 } },
        { { 1, 1, 65537 }, { 1, 1, 1 } },     { { 1, 500, 700 }, { 1, 1, 700 } }, { { 2, 40, 6000 }, { 2, 40, 1 } },
        { { 1, 3, 20000 }, { 1, 1, 20000 } }, { { 3, 20000, 1 }, { 3, 1, 1 } },
    };
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        for (int dtype = 0; dtype < 3; dtype++) {
            static const enum fm_dtype dtypes[] = { FM_F32, FM_BF16, FM_I64 };
            struct fm_case c;
            fm_case_init(&c, FM_K_SUM);
            c.attr.alpha = 1;
            fm_case_out(&c, dtypes[dtype], 3, shapes[k].kept);
            fm_case_in(&c, dtypes[dtype], 3, shapes[k].size);
            fm_case_random(&c, 1, dtype == 2 ? -1e15 : 0, dtype == 2 ? 1e15 : 1, 3);
            fm_expect_same(&c, dtype == 2 ? 0 : fm_tolerance(&c));
            fm_case_release(&c);
        }
    }
}

static void test_argmax(void **state)
{
    (void)state;
    struct fm_choice choice = { 12, 0 };
    for (int round = 0; round < 80; round++) {
        int64_t size[FM_MAX_DIMS], one[FM_MAX_DIMS];
        int ndim = random_image(&choice, size), dim = (int)fm_choose(&choice, 0, ndim - 1);
        memcpy(one, size, sizeof one);
        one[dim] = 1;
        struct fm_case c;
        fm_case_init(&c, FM_K_ARGMAX);
        c.attr.dim = (uint8_t)dim;
        fm_case_out(&c, FM_I64, ndim, one);
        fm_case_in(&c, fm_random_float(&choice), ndim, size);
        fm_random_layout(&choice, &c, 0, -1);
        fm_random_layout(&choice, &c, 1, -1);
        fm_case_random(&c, 1, -3, 3, (uint64_t)round);
        /* equals are common, and NaN counts as the greatest */
        for (int64_t i = 0; round % 2 && i < fm_operand_numel(&c.operand[1]); i++)
            fm_case_set_one(&c, 1, i, fm_choose(&choice, 0, 40) ? (double)fm_choose(&choice, -2, 2) : (double)NAN);
        fm_expect_same(&c, 0);
        fm_case_release(&c);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    struct fm_choice choice = { 13, 0 };
    for (int round = 0; round < 120; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = random_image(&choice, size), bwd = round % 2;
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_SOFTMAX_BWD : FM_K_SOFTMAX);
        c.attr.mode = (uint8_t)(round / 2 % 2);
        c.attr.dim = (uint8_t)(fm_choose(&choice, 0, 1) ? 1 : fm_choose(&choice, 0, ndim - 1));
        fm_case_out(&c, fm_random_float(&choice), ndim, size);
        for (int i = 0; i < 1 + bwd; i++) fm_case_in(&c, fm_random_float(&choice), ndim, size);
        for (uint32_t i = 0; i < 2u + (uint32_t)bwd; i++) fm_random_layout(&choice, &c, i, -1);
        random_inputs(&c, -4, bwd ? 0 : 9, (uint64_t)round);
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_softmax_long(void **state)
{
    (void)state;
    static const int64_t lengths[] = { 1023, 1024, 1025, 2500, 8192, 8193, 20000 };
    for (size_t k = 0; k < 7 * 4; k++) {
        struct fm_case c;
        const int64_t size[2] = { 3, lengths[k / 4] };
        fm_case_init(&c, k % 2 ? FM_K_SOFTMAX_BWD : FM_K_SOFTMAX);
        c.attr.mode = (uint8_t)(k / 2 % 2);
        c.attr.dim = 1;
        fm_case_out(&c, FM_F32, 2, size);
        for (size_t i = 0; i < 1 + k % 2; i++) fm_case_in(&c, k > 13 ? FM_F32 : FM_BF16, 2, size);
        random_inputs(&c, -4, k % 2 ? 0 : 9, k);
        fm_expect_same(&c, 2e-6);
        fm_case_release(&c);
    }
}

/* masked attention: minus infinity is a probability of exactly 0 */
static void test_softmax_masked(void **state)
{
    (void)state;
    for (int64_t n = 2; n < 40; n += 5) {
        struct fm_case c;
        fm_case_init(&c, FM_K_SOFTMAX);
        c.attr.dim = 1;
        fm_case_out(&c, FM_F32, 2, (int64_t[]){ 5, n });
        fm_case_in(&c, FM_F32, 2, (int64_t[]){ 5, n });
        fm_case_random(&c, 1, -300, 300, 1);
        for (int64_t i = 0; i < 5 * n; i += 2) fm_case_set_one(&c, 1, i, -INFINITY);
        fm_expect_same(&c, 1e-6);
        fm_case_release(&c);
    }
}

static void test_nll(void **state)
{
    (void)state;
    struct fm_choice choice = { 14, 0 };
    for (int round = 0; round < 80; round++) {
        int64_t size[FM_MAX_DIMS], spatial[FM_MAX_DIMS];
        int ndim = random_image(&choice, size), bwd = round % 2;
        bool weighted = fm_choose(&choice, 0, 1);
        spatial[0] = size[0];
        for (int d = 2; d < ndim; d++) spatial[d - 1] = size[d];
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_NLL_BWD : FM_K_NLL);
        c.attr.ignore_index = fm_choose(&choice, 0, 1) ? -100 : 0;
        uint32_t target, logits = bwd ? 0 : 2;
        if (bwd) {
            fm_case_out(&c, fm_random_float(&choice), ndim, size);
            fm_case_in(&c, FM_F32, 1, (int64_t[]){ 1 });
        } else {
            fm_case_out(&c, FM_F32, 1, (int64_t[]){ 1 });
            fm_case_out(&c, FM_F32, 1, (int64_t[]){ 1 });
            fm_case_in(&c, fm_random_float(&choice), ndim, size);
        }
        target = c.n_out + c.n_in;
        fm_case_in(&c, FM_I64, ndim - 1, spatial);
        if (bwd) fm_case_in(&c, FM_F32, 1, (int64_t[]){ 1 });
        if (weighted) fm_case_in(&c, FM_F32, 1, &size[1]);
        fm_random_layout(&choice, &c, logits, -1);
        random_inputs(&c, bwd ? 0.5 : -4, bwd ? 3 : 0, (uint64_t)round);
        if (weighted) fm_case_random(&c, c.n_out + c.n_in - 1, 0.1, 2, 9);
        for (int64_t i = 0; i < fm_operand_numel(&c.operand[target]); i++) {
            int64_t class = fm_choose(&choice, 0, size[1] - 1);
            fm_case_set_one(&c, target, i, (double)(fm_choose(&choice, 0, 5) ? class : c.attr.ignore_index));
        }
        fm_expect_same(&c, fm_tolerance(&c));
        fm_case_release(&c);
    }
}

static void test_nll_bad_target(void **state)
{
    (void)state;
    for (int class = -3; class <= 4; class ++) {
        struct fm_err err = { 0 };
        struct fm_case c;
        fm_case_init(&c, FM_K_NLL);
        c.attr.ignore_index = -2;
        for (int i = 0; i < 2; i++) fm_case_out(&c, FM_F32, 1, (int64_t[]){ 1 });
        fm_case_in(&c, FM_F32, 2, (int64_t[]){ 2, 4 });
        fm_case_in(&c, FM_I64, 1, (int64_t[]){ 2 });
        fm_case_random(&c, 2, -1, 0, 1);
        fm_case_set(&c, 3, (double[]){ 1, class });
        bool good = class == -2 || (class >= 0 && class < 4);
        assert_int_equal(fm_own_status(&c, &err), good ? FM_OK : FM_INVALID);
        fm_case_release(&c);
    }
}

/* (B, C, ...) operands of a norm: dtype and layout at random */
static void norm_image(struct fm_choice *choice, struct fm_case *c, bool output, int ndim, const int64_t *size)
{
    uint32_t i = c->n_out + c->n_in;
    if (output)
        fm_case_out(c, fm_random_float(choice), ndim, size);
    else
        fm_case_in(c, fm_random_float(choice), ndim, size);
    /* rows that are not constant: where there is no deviation, 1/sqrt(eps) magnifies rounding */
    fm_random_layout(choice, c, i, ndim - 1);
}

static void norm_vectors(struct fm_case *c, bool output, int count, int ndim, const int64_t *size)
{
    for (int i = 0; i < count; i++) {
        if (output)
            fm_case_out(c, FM_F32, ndim, size);
        else
            fm_case_in(c, FM_F32, ndim, size);
    }
}

static void test_batch_norm(void **state)
{
    (void)state;
    struct fm_choice choice = { 15, 0 };
    for (int round = 0; round < 80; round++) {
        static const enum fm_kernel kernels[] = { FM_K_BATCH_NORM, FM_K_BATCH_NORM_BWD, FM_K_BATCH_NORM_EVAL };
        int64_t size[FM_MAX_DIMS];
        int ndim = random_image(&choice, size);
        struct fm_case c;
        fm_case_init(&c, kernels[round % 3]);
        c.attr.eps = 1e-5;
        c.attr.momentum = 0.1;
        if (ndim == 3 && size[2] == 1) size[2] = 2;
        size[0] += 1; /* a variance needs two values */
        norm_image(&choice, &c, true, ndim, size);
        if (c.kernel == FM_K_BATCH_NORM) norm_vectors(&c, true, 4, 1, &size[1]);
        if (c.kernel == FM_K_BATCH_NORM_BWD) {
            norm_vectors(&c, true, 2, 1, &size[1]);
            norm_image(&choice, &c, false, ndim, size);
        }
        norm_image(&choice, &c, false, ndim, size);
        norm_vectors(&c, false, c.kernel == FM_K_BATCH_NORM ? 2 : c.kernel == FM_K_BATCH_NORM_BWD ? 3 : 4, 1, &size[1]);
        random_inputs(&c, 0.5, 3, (uint64_t)round);
        for (uint32_t i = 3; c.kernel == FM_K_BATCH_NORM && i < 5; i++) fm_case_random(&c, i, 0.5, 2, 4);
        fm_expect_same(&c, fm_tolerance(&c) * 3);
        fm_case_release(&c);
    }
}

/* a mean two thousand times the deviation costs the digits that a float mean has not, and no more */
static void test_batch_norm_large_mean(void **state)
{
    (void)state;
    struct fm_case c;
    const int64_t size[4] = { 2, 5, 40, 33 }, channels = 5;
    fm_case_init(&c, FM_K_BATCH_NORM);
    c.attr.eps = 1e-5;
    c.attr.momentum = 0.1;
    fm_case_out(&c, FM_F32, 4, size);
    norm_vectors(&c, true, 4, 1, &channels);
    fm_case_in(&c, FM_F32, 4, size);
    fm_case_image(&c, 0);
    fm_case_image(&c, 5);
    norm_vectors(&c, false, 2, 1, &channels);
    fm_case_random(&c, 5, 999, 1001, 1);
    for (uint32_t i = 6; i < 8; i++) fm_case_random(&c, i, 0.5, 2, i);
    for (uint32_t i = 3; i < 5; i++) fm_case_random(&c, i, 0.5, 2, i);
    fm_expect_same(&c, 1e-4);
    fm_case_release(&c);
}

static void test_group_norm(void **state)
{
    (void)state;
    struct fm_choice choice = { 16, 0 };
    for (int round = 0; round < 120; round++) {
        int64_t size[FM_MAX_DIMS], stats[2];
        int ndim = random_image(&choice, size), bwd = round % 2;
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_GROUP_NORM_BWD : FM_K_GROUP_NORM);
        do c.attr.groups = (int32_t)fm_choose(&choice, 1, size[1]);
        while (size[1] % c.attr.groups);
        if (ndim == 2 && size[1] / c.attr.groups == 1) c.attr.groups = 1;
        c.attr.eps = 1e-6;
        if (ndim == 2) size[0] = fm_choose(&choice, 1, 4);
        stats[0] = size[0];
        stats[1] = c.attr.groups;
        norm_image(&choice, &c, true, ndim, size);
        if (bwd)
            norm_vectors(&c, true, 2, 1, &size[1]), norm_image(&choice, &c, false, ndim, size);
        else
            norm_vectors(&c, true, 2, 2, stats);
        norm_image(&choice, &c, false, ndim, size);
        norm_vectors(&c, false, bwd ? 1 : 2, 1, &size[1]);
        if (bwd) norm_vectors(&c, false, 2, 2, stats);
        random_inputs(&c, 0.5, 3, (uint64_t)round);
        /* one element has no deviation: 1/sqrt(eps) would magnify rounding */
        if (fm_operand_numel(&c.operand[0]) / stats[0] / stats[1] >= 8) fm_expect_same(&c, fm_tolerance(&c) * 3);
        fm_case_release(&c);
    }
}

static void test_layer_norm(void **state)
{
    (void)state;
    static const int64_t lengths[] = { 2, 3, 8, 15, 32, 64, 65, 160, 512, 1024, 1500 };
    struct fm_choice choice = { 17, 0 };
    for (int round = 0; round < 80; round++) {
        int64_t size[FM_MAX_DIMS], stats[FM_MAX_DIMS];
        int ndim = (int)fm_choose(&choice, 1, 4), bwd = round % 2;
        for (int d = 0; d < ndim - 1; d++) size[d] = stats[d] = fm_choose(&choice, 1, ndim == 2 ? 400 : 18);
        size[ndim - 1] = lengths[fm_choose(&choice, 0, 10)];
        stats[ndim - 1] = 1;
        if (ndim > 2 && size[ndim - 1] > 200) size[ndim - 1] = 200;
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_LAYER_NORM_BWD : FM_K_LAYER_NORM);
        c.attr.eps = 1e-6;
        norm_image(&choice, &c, true, ndim, size);
        if (bwd)
            norm_vectors(&c, true, 2, 1, &size[ndim - 1]), norm_image(&choice, &c, false, ndim, size);
        else
            norm_vectors(&c, true, 2, ndim, stats);
        norm_image(&choice, &c, false, ndim, size);
        norm_vectors(&c, false, bwd ? 1 : 2, 1, &size[ndim - 1]);
        if (bwd) norm_vectors(&c, false, 2, ndim, stats);
        random_inputs(&c, -1, 3, (uint64_t)round);
        fm_expect_same(&c, fm_tolerance(&c) * 3);
        fm_case_release(&c);
    }
}

static void test_interpolate(void **state)
{
    (void)state;
    struct fm_choice choice = { 18, 0 };
    for (int round = 0; round < 80; round++) {
        int bwd = round % 2;
        int64_t small[4] = { fm_choose(&choice, 1, 2), channel_counts[fm_choose(&choice, 0, 11)],
                             fm_choose(&choice, 1, 12), fm_choose(&choice, 1, 12) };
        int64_t big[4] = { small[0], small[1], fm_choose(&choice, 1, 20), fm_choose(&choice, 1, 20) };
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_INTERPOLATE_BWD : FM_K_INTERPOLATE);
        norm_image(&choice, &c, true, 4, bwd ? small : big);
        norm_image(&choice, &c, false, 4, bwd ? big : small);
        fm_case_random(&c, 1, -1, 3, (uint64_t)round);
        fm_expect_same(&c, fm_tolerance(&c) * 2);
        fm_case_release(&c);
    }
}

static void test_interpolate_wide(void **state)
{
    (void)state;
    for (int bwd = 0; bwd < 2; bwd++) {
        const int64_t small[4] = { 1, 1100, 3, 4 }, big[4] = { 1, 1100, 6, 8 };
        struct fm_case c;
        fm_case_init(&c, bwd ? FM_K_INTERPOLATE_BWD : FM_K_INTERPOLATE);
        fm_case_out(&c, FM_F32, 4, bwd ? small : big);
        fm_case_in(&c, FM_F32, 4, bwd ? big : small);
        fm_case_image(&c, 0);
        fm_case_image(&c, 1);
        fm_case_random(&c, 1, -1, 3, 1);
        fm_expect_same(&c, 1e-6);
        fm_case_release(&c);
    }
}

static void test_too_many_channels(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    const int64_t channels = 8193;
    fm_case_init(&c, FM_K_BATCH_NORM_EVAL);
    fm_case_out(&c, FM_F32, 2, (int64_t[]){ 2, channels });
    fm_case_in(&c, FM_F32, 2, (int64_t[]){ 2, channels });
    norm_vectors(&c, false, 4, 1, &channels);
    assert_int_equal(fm_own_status(&c, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "8193 channels"));
    fm_case_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_sum_large),
        cmocka_unit_test(test_argmax),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_softmax_long),
        cmocka_unit_test(test_softmax_masked),
        cmocka_unit_test(test_nll),
        cmocka_unit_test(test_nll_bad_target),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_batch_norm_large_mean),
        cmocka_unit_test(test_group_norm),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_interpolate),
        cmocka_unit_test(test_interpolate_wide),
        cmocka_unit_test(test_too_many_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
