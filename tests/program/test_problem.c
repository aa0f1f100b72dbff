/* Problems: keys, operation counts, and views rewritten to channels-last. */
#include "tuner/base/rng.h"
#include "workloads/program/program.h"
#include "workloads/program/pytorch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t draws;
static int64_t draw(int64_t low, int64_t high)
{
    return low + (int64_t)(fm_rng_u64(11, 0, draws++) % (uint64_t)(high - low + 1));
}

static struct fm_operand dense(int ndim, const int64_t *size)
{
    struct fm_operand o = { .ndim = (uint8_t)ndim };
    int64_t stride = 1;
    for (int d = ndim - 1; d >= 0; d--) {
        o.size[d] = size[d];
        o.stride[d] = stride;
        stride *= size[d];
    }
    return o;
}

struct conv { struct fm_operand o[3]; struct fm_attr attr; struct fm_problem problem; };

/* y (B, O, 8, 9, 10), x (B, C, 8, 9, 10), w (O, C, 3, 3, 3) */
static void conv_init(struct conv *c, int64_t batch, int64_t in, int64_t out)
{
    static const struct fm_attr attr = { .stride = { 1, 1, 1 }, .padding = { 1, 1, 1 }, .dilation = { 1, 1, 1 },
                                         .groups = 1 };
    *c = (struct conv){ .attr = attr };
    c->o[0] = dense(5, (int64_t[]){ batch, out, 8, 9, 10 });
    c->o[1] = dense(5, (int64_t[]){ batch, in, 8, 9, 10 });
    c->o[2] = dense(5, (int64_t[]){ out, in, 3, 3, 3 });
    c->problem = (struct fm_problem){ FM_K_CONV, 1, 2, c->o, &c->attr };
}

static void the_key_sees_what_matters(void **state)
{
    (void)state;
    struct conv c;
    conv_init(&c, 2, 3, 4);
    uint64_t key = fm_problem_key(&c.problem);
    assert_true(key != 0);
    c.o[0].storage = 7, c.o[1].offset = 5, c.attr.stream = 9;
    c.o[0].size[5] = 99, c.o[0].stride[5] = 98;     /* beyond its dimensions */
    assert_true(fm_problem_key(&c.problem) == key);
    struct { void *at; } fields[] = {
        { &c.problem.kernel }, { &c.problem.n_in }, { &c.o[2].dtype }, { &c.o[2].ndim }, { &c.o[2].channels },
        { &c.o[2].spatial }, { &c.o[2].size[4] }, { &c.o[0].size[0] }, { &c.o[1].stride[1] }, { &c.o[0].stride[4] },
        { &c.attr.stride[2] }, { &c.attr.padding[0] }, { &c.attr.dilation[1] }, { &c.attr.groups },
        { &c.attr.transposed }, { &c.attr.mode }, { &c.attr.dim }, { &c.attr.alpha }, { &c.attr.eps },
        { &c.attr.ignore_index },
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *(uint8_t *)fields[i].at ^= 1;
        if (fm_problem_key(&c.problem) == key) fail_msg("the key misses field %zu", i);
        *(uint8_t *)fields[i].at ^= 1;
    }
    c.o[2].storage = FM_NONE;
    assert_true(fm_problem_key(&c.problem) != key);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void keys_do_not_collide(void **state)
{
    (void)state;
    static uint64_t keys[64 * 40 * 40];
    size_t count = 0;
    for (int64_t b = 1; b <= 64; b++)
        for (int64_t in = 1; in <= 40; in++)
            for (int64_t out = 1; out <= 40; out++) {
                struct conv c;
                conv_init(&c, b, in, out);
                keys[count++] = fm_problem_key(&c.problem);
            }
    qsort(keys, count, sizeof *keys, by_value);
    for (size_t i = 1; i < count; i++) assert_true(keys[i] != keys[i - 1]);
}

static void operations_are_counted(void **state)
{
    (void)state;
    struct conv c;
    conv_init(&c, 2, 3, 4);
    double expected = 2.0 * (2 * 4 * 720) * (3 * 27);
    assert_true(fm_problem_flops(&c.problem) == expected);
    struct fm_operand dgrad[] = { c.o[1], c.o[0], c.o[2] }, wgrad[] = { c.o[2], c.o[0], c.o[1] };
    struct fm_problem d = { FM_K_CONV_DGRAD, 1, 2, dgrad, &c.attr }, w = { FM_K_CONV_WGRAD, 1, 2, wgrad, &c.attr };
    assert_true(fm_problem_flops(&d) == expected);
    assert_true(fm_problem_flops(&w) == expected);
    /* transposed, 2x2x2, stride 2: each input element meets each weight of its channel once */
    struct fm_attr up = { .stride = { 2, 2, 2 }, .dilation = { 1, 1, 1 }, .groups = 1, .transposed = 1 };
    struct fm_operand t[] = { dense(5, (int64_t[]){ 2, 4, 8, 8, 8 }), dense(5, (int64_t[]){ 2, 6, 4, 4, 4 }),
                              dense(5, (int64_t[]){ 6, 4, 2, 2, 2 }) };
    struct fm_problem transposed = { FM_K_CONV, 1, 2, t, &up };
    assert_true(fm_problem_flops(&transposed) == 2.0 * (2 * 6 * 64) * (4 * 8));
    struct fm_operand m[] = { dense(3, (int64_t[]){ 5, 7, 11 }), dense(3, (int64_t[]){ 5, 7, 13 }),
                              dense(3, (int64_t[]){ 5, 13, 11 }) };
    struct fm_attr attr = { .alpha = 1 };
    struct fm_problem matmul = { FM_K_MATMUL, 1, 2, m, &attr };
    assert_true(fm_problem_flops(&matmul) == 2.0 * 5 * 7 * 11 * 13);
    assert_true(fm_problem_bytes(&matmul) == 4.0 * (5 * 7 * 11 + 5 * 7 * 13 + 5 * 13 * 11));
    m[2].stride[0] = 0;
    m[1].storage = FM_NONE;
    assert_true(fm_problem_bytes(&matmul) == 4.0 * (5 * 7 * 11 + 13 * 11));
    struct fm_problem copy = { FM_K_COPY, 1, 1, m, &attr };
    assert_true(fm_problem_flops(&copy) == 0);
}

static int64_t element_at(const struct fm_operand *o, int64_t logical)
{
    int64_t at = o->offset;
    for (int d = o->ndim - 1; d >= 0; d--) {
        at += logical % o->size[d] * o->stride[d];
        logical /= o->size[d];
    }
    return at;
}

/* every element of the view must lie where the definition puts it */
static bool rewritten_right(const struct fm_operand *before)
{
    struct fm_operand after = *before;
    if (!fm_operand_channels_last(&after)) return false;
    int64_t c = before->channels, s = before->spatial, count = fm_operand_numel(before);
    for (int64_t i = 0; i < count; i++) {
        int64_t logical = element_at(before, i), image = c * s;
        int64_t b = logical / image, within = logical % image;
        assert_int_equal(element_at(&after, i), b * image + within % s * c + within / s);
    }
    return true;
}

static void views_of_images_become_channels_last(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        int64_t size[5] = { draw(1, 3), draw(1, 5), draw(1, 4), draw(1, 4), draw(1, 4) };
        struct fm_operand o = dense(5, size);
        o.channels = (uint32_t)size[1];
        o.spatial = (uint32_t)(size[2] * size[3] * size[4]);
        for (int d = 0; d < 5; d++) {       /* a part, perhaps every second element of it */
            int64_t start = draw(0, size[d] - 1);
            o.size[d] = draw(1, size[d] - start);
            o.offset += start * o.stride[d];
            if (draw(0, 3) == 0) {
                o.size[d] = (o.size[d] + 1) / 2;
                o.stride[d] *= 2;
            }
            if (draw(0, 7) == 0) o.size[d] = draw(1, 4), o.stride[d] = 0;
        }
        for (int k = 0; k < 3; k++) {       /* permuted */
            int a = (int)draw(0, 4), b = (int)draw(0, 4);
            int64_t n = o.size[a], t = o.stride[a];
            o.size[a] = o.size[b], o.stride[a] = o.stride[b];
            o.size[b] = n, o.stride[b] = t;
        }
        assert_true(rewritten_right(&o));
    }
}

static void merged_dimensions_are_told_apart(void **state)
{
    (void)state;
    struct fm_operand o = dense(3, (int64_t[]){ 2, 5, 12 });    /* (B, C, HW) of (2, 5, 3, 4) */
    o.channels = 5, o.spatial = 12;
    assert_true(rewritten_right(&o));
    struct fm_operand flat = dense(2, (int64_t[]){ 2, 60 }), before;    /* channels and space in one dimension */
    flat.channels = 5, flat.spatial = 12;
    before = flat;
    assert_false(fm_operand_channels_last(&flat));
    assert_memory_equal(&flat, &before, sizeof flat);           /* and left as it was */
    flat.channels = 60, flat.spatial = 1;                       /* both orders are one */
    assert_true(rewritten_right(&flat));
    struct fm_operand merged = dense(2, (int64_t[]){ 10, 12 }); /* batch and channels in one dimension */
    merged.channels = 5, merged.spatial = 12;
    assert_false(fm_operand_channels_last(&merged));
    int accepted = 0;
    for (int round = 0; round < 20000; round++) {               /* any strides at all: right or refused */
        struct fm_operand any = { .ndim = 3, .channels = (uint32_t)draw(1, 4), .spatial = (uint32_t)draw(1, 6) };
        any.offset = draw(0, 20);
        for (int d = 0; d < 3; d++) any.size[d] = draw(1, 3), any.stride[d] = draw(0, 30);
        accepted += rewritten_right(&any);
    }
    assert_true(accepted > 1000);
}

/* two and five products of (queries, keys, channels) a head, and a few operations a score */
static void attention_is_counted(void **state)
{
    (void)state;
    const struct fm_attr attr = { .alpha = 0.5 };
    struct fm_operand q = dense(4, (int64_t[]){ 2, 3, 130, 40 }), k = dense(4, (int64_t[]){ 2, 3, 7, 40 });
    struct fm_operand lse = dense(3, (int64_t[]){ 2, 3, 130 });
    const struct fm_operand forward[] = { q, lse, q, k, k }, backward[] = { q, k, k, q, q, k, k, q, lse };
    struct fm_problem f = { FM_K_SDPA, 2, 3, forward, &attr }, b = { FM_K_SDPA_BWD, 3, 6, backward, &attr };
    double scores = 2.0 * 3 * 130 * 7;
    assert_true(fm_problem_flops(&f) == scores * (2 * 2 * 40 + 5));
    assert_true(fm_problem_flops(&b) == scores * (5 * 2 * 40 + 5) + 2 * 2.0 * 3 * 130 * 40);
    assert_true(fm_problem_key(&f) != fm_problem_key(&b));
    struct fm_attr other = attr;
    other.alpha = 0.25;
    struct fm_problem scaled = f;
    scaled.attr = &other;
    assert_true(fm_problem_key(&f) != fm_problem_key(&scaled));
    /* 130 queries count as 256, 40 channels as 64 */
    assert_int_equal(fm_pytorch_flash_temporaries_bytes(&b), 2 * 3 * 256 * 4 + 2 * 3 * 256 * 64 * 4);
    /* one head of one query: both blocks rounded up: 128 numbers are 512 bytes */
    struct fm_operand one = dense(4, (int64_t[]){ 1, 1, 1, 8 });
    const struct fm_operand small[] = { one, one, one, one, one, one, one, one, lse };
    struct fm_problem least = { FM_K_SDPA_BWD, 3, 6, small, &attr };
    assert_int_equal(fm_pytorch_flash_temporaries_bytes(&least), 512 + 128 * 32 * 4);
}

static void contiguity_ignores_ones(void **state)
{
    (void)state;
    struct fm_operand o = dense(4, (int64_t[]){ 2, 1, 3, 1 });
    assert_true(fm_operand_contiguous(&o));
    o.stride[1] = 77;
    assert_true(fm_operand_contiguous(&o));
    o.stride[0] = 4;
    assert_false(fm_operand_contiguous(&o));
    assert_int_equal(fm_operand_numel(&o), 6);
    struct fm_operand scalar = { .ndim = 0 };
    assert_int_equal(fm_operand_numel(&scalar), 1);
    assert_true(fm_operand_contiguous(&scalar));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_sees_what_matters), cmocka_unit_test(keys_do_not_collide),
        cmocka_unit_test(operations_are_counted), cmocka_unit_test(views_of_images_become_channels_last),
        cmocka_unit_test(attention_is_counted), cmocka_unit_test(merged_dimensions_are_told_apart), cmocka_unit_test(contiguity_ignores_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
