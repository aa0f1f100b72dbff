/* Convolutions and matrix products of the cpu backend against the ref backend: every direction, layout and type, sizes
 * that no vector width divides, views that the library cannot take, workspaces to the byte (tests/support/case.h puts
 * canaries around them). */
#include "probes/backends/cpu/backend.h"
#include "probes/backends/ref/ref.h"
#include "tests/support/case.h"
#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct fm_backend *cpu, *ref;

struct conv_case {
    const char *name;
    int space;                  /* 2 or 3 */
    int64_t batch, in, out;
    int groups, transposed, bias;
    int64_t size[3], kernel[3];
    int stride[3], padding[3], dilation[3], extra[3];   /* extra: output padding of a transposed one */
};

static const struct conv_case conv_cases[] = {
    { "stem 3d", 3, 2, 1, 16, 1, 0, 0, { 7, 6, 9 }, { 3, 3, 3 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 } },
    { "16 to 16", 3, 2, 16, 16, 1, 0, 0, { 6, 5, 9 }, { 3, 3, 3 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 } },
    { "8 to 8", 3, 1, 8, 8, 1, 0, 1, { 6, 5, 9 }, { 3, 3, 3 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 } },
    { "32 to 16", 3, 1, 32, 16, 1, 0, 0, { 4, 5, 7 }, { 3, 3, 3 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 } },
    { "many positions", 3, 1, 4, 5, 1, 0, 1, { 19, 15, 16 }, { 3, 3, 3 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 } },
    { "many positions, lopsided", 2, 1, 8, 12, 2, 0, 1, { 68, 65 }, { 2, 3 }, { 1, 1 }, { 0, 2 }, { 2, 1 }, { 0 } },
    { "many positions, depthwise", 2, 1, 19, 19, 19, 0, 1, { 72, 65 }, { 3, 5 }, { 1, 1 }, { 1, 2 }, { 1, 1 }, { 0 } },
    { "many positions, turned", 2, 1, 9, 5, 1, 1, 1, { 72, 65 }, { 3, 2 }, { 1, 1 }, { 1, 0 }, { 1, 1 }, { 0 } },
    { "5 to 7", 3, 2, 5, 7, 1, 0, 1, { 4, 5, 6 }, { 3, 2, 1 }, { 1, 2, 1 }, { 1, 0, 0 }, { 1, 1, 1 }, { 0 } },
    { "down", 3, 2, 16, 32, 1, 0, 0, { 6, 8, 4 }, { 2, 2, 2 }, { 2, 2, 2 }, { 0, 0, 0 }, { 1, 1, 1 }, { 0 } },
    { "down, odd", 3, 1, 8, 16, 1, 0, 0, { 7, 9, 5 }, { 2, 2, 2 }, { 2, 2, 2 }, { 0, 0, 0 }, { 1, 1, 1 }, { 0 } },
    { "up", 3, 2, 32, 16, 1, 1, 0, { 3, 4, 2 }, { 2, 2, 2 }, { 2, 2, 2 }, { 0, 0, 0 }, { 1, 1, 1 }, { 0 } },
    { "up, bias, extra", 3, 1, 6, 5, 1, 1, 1, { 3, 4, 2 }, { 3, 3, 3 }, { 2, 2, 2 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 0, 1 } },
    { "head", 3, 2, 16, 71, 1, 0, 1, { 5, 6, 7 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0, 0, 0 }, { 1, 1, 1 }, { 0 } },
    { "head of 8", 3, 1, 8, 71, 1, 0, 1, { 5, 6, 7 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0, 0, 0 }, { 1, 1, 1 }, { 0 } },
    { "patches", 2, 2, 3, 64, 1, 0, 1, { 23, 31 }, { 7, 7 }, { 4, 4 }, { 3, 3 }, { 1, 1 }, { 0 } },
    { "merge", 2, 2, 32, 64, 1, 0, 1, { 13, 9 }, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1 }, { 0 } },
    { "reduce 8", 2, 1, 32, 32, 1, 0, 1, { 24, 16 }, { 8, 8 }, { 8, 8 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "reduce 4, rest", 2, 1, 64, 64, 1, 0, 1, { 14, 9 }, { 4, 4 }, { 4, 4 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "depthwise", 2, 2, 32, 32, 32, 0, 1, { 7, 9 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 } },
    { "depthwise, 20", 2, 1, 20, 20, 20, 0, 1, { 6, 5 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 } },
    { "groups", 2, 2, 32, 48, 2, 0, 0, { 9, 7 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 } },
    { "groups, up", 2, 1, 32, 16, 2, 1, 0, { 5, 4 }, { 2, 2 }, { 2, 2 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "dilated", 2, 2, 16, 16, 1, 0, 0, { 11, 13 }, { 3, 3 }, { 1, 1 }, { 2, 2 }, { 2, 2 }, { 0 } },
    { "1x1", 2, 2, 96, 40, 1, 0, 0, { 9, 9 }, { 1, 1 }, { 1, 1 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "to 4", 2, 2, 64, 4, 1, 0, 1, { 9, 7 }, { 1, 1 }, { 1, 1 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "odd, 3x3", 2, 2, 35, 33, 1, 0, 0, { 9, 7 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 } },
    { "odd, 1x1", 2, 2, 71, 33, 1, 0, 1, { 9, 7 }, { 1, 1 }, { 1, 1 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "odd, 1x1, stride 2", 2, 1, 33, 71, 1, 0, 1, { 9, 7 }, { 1, 1 }, { 2, 2 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "odd, 1x1, up", 2, 2, 33, 71, 1, 1, 1, { 9, 7 }, { 1, 1 }, { 1, 1 }, { 0, 0 }, { 1, 1 }, { 0 } },
    { "odd, 1x1, padded", 2, 2, 33, 71, 1, 0, 1, { 9, 7 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 } },
    { "1x1, stride 2", 2, 1, 24, 40, 1, 0, 0, { 9, 8 }, { 1, 1 }, { 2, 2 }, { 0, 0 }, { 1, 1 }, { 0 } },
};

enum layout { IMAGES, PLAIN, SLICED, EXPANDED, LAYOUTS };
static const char *const layout_names[] = { "images", "plain", "sliced", "expanded" };

static int64_t out_size(const struct conv_case *t, int d)
{
    int64_t reach = (t->kernel[d] - 1) * t->dilation[d] + 1;
    if (t->transposed) return (t->size[d] - 1) * t->stride[d] - 2 * t->padding[d] + reach + t->extra[d];
    return (t->size[d] + 2 * t->padding[d] - reach) / t->stride[d] + 1;
}

static void build_conv(struct fm_case *c, const struct conv_case *t, enum fm_kernel kernel, enum fm_dtype dtype, enum layout layout)
{
    int n = t->space + 2;
    int64_t x[5] = { t->batch, t->in }, y[5] = { t->batch, t->out }, w[5] = { t->out, t->in / t->groups };
    if (t->transposed) w[0] = t->in, w[1] = t->out / t->groups;
    fm_case_init(c, kernel);
    c->attr.groups = t->groups;
    c->attr.transposed = (uint8_t)t->transposed;
    for (int d = 0; d < t->space; d++) {
        x[2 + d] = t->size[d], y[2 + d] = out_size(t, d), w[2 + d] = t->kernel[d];
        c->attr.stride[d] = t->stride[d], c->attr.padding[d] = t->padding[d], c->attr.dilation[d] = t->dilation[d];
    }
    int64_t *all[3][3] = { { y, x, w }, { x, y, w }, { w, y, x } };
    int64_t **size = all[kernel - FM_K_CONV];
    fm_case_out(c, dtype, n, size[0]);
    fm_case_in(c, dtype, n, size[1]);
    fm_case_in(c, dtype, n, size[2]);
    if (kernel == FM_K_CONV && t->bias) fm_case_in(c, dtype, 1, &t->out);
    for (uint32_t i = 0; i < 3; i++) {
        bool is_weight = size[i] == w;
        if (layout == IMAGES || layout == SLICED) fm_case_image(c, i);
        if (layout == SLICED && !is_weight) fm_case_slice(c, i, 1, 3, size[i][1] + 5);
        if (layout == EXPANDED && i == 1 && !is_weight) fm_case_expand(c, i, 2);
    }
    for (uint32_t i = 1; i < 3 + (c->n_in > 2); i++) fm_case_random(c, i, -1, 1, 11 + i);
}

static double tolerance(enum fm_dtype dtype)
{
    return dtype == FM_F32 ? 1e-5 : 1e-2;
}

/* runs both and compares; reports the case by name */
static void agree(struct fm_case *c, const char *name, const char *layout, enum fm_dtype dtype, bool fast)
{
    struct fm_err err = { 0 };
    struct fm_case expected;
    fm_case_copy(&expected, c);
    fm_status status = fm_case_run(&expected, &fm_backend_ref, ref, &err);
    if (status == FM_OK) status = fm_case_run(c, &fm_backend_cpu, cpu, &err);
    if (status == FM_UNSUPPORTED && dtype != FM_F32) {
        print_message("%s: %s\n", name, err.text);
    } else {
        if (status != FM_OK) fail_msg("%s %s (%s, %s): %s", fm_kernel_name(c->kernel), name, layout, fm_dtype_name(dtype), err.text);
        double difference = fm_case_difference(c, &expected, 0);
        if (!(difference <= tolerance(dtype)))
            fail_msg("%s %s (%s, %s, %s): difference %g", fm_kernel_name(c->kernel), name, layout, fm_dtype_name(dtype), c->what, difference);
#ifdef __x86_64__
        if (fast && strncmp(c->what, "ref", 3) == 0)
            fail_msg("%s %s (%s, %s): %s", fm_kernel_name(c->kernel), name, layout, fm_dtype_name(dtype), c->what);
#else
        (void)fast;
#endif
    }
    fm_case_release(&expected);
    fm_case_release(c);
}

static void every_convolution(enum fm_dtype dtype, enum layout layout)
{
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++)
        for (enum fm_kernel kernel = FM_K_CONV; kernel <= FM_K_CONV_WGRAD; kernel++) {
            struct fm_case c;
            build_conv(&c, &conv_cases[i], kernel, dtype, layout);
            agree(&c, conv_cases[i].name, layout_names[layout], dtype, true);
        }
}

static void convolutions_f32(void **state)
{
    (void)state;
    for (enum layout layout = IMAGES; layout < LAYOUTS; layout++) every_convolution(FM_F32, layout);
}

static void convolutions_bf16(void **state)
{
    (void)state;
    every_convolution(FM_BF16, IMAGES);
    every_convolution(FM_BF16, SLICED);
}

static uint64_t draws;

static int64_t draw(int64_t below)
{
    return (int64_t)(fm_rng_u64(2026, 1, draws++) % (uint64_t)below);
}

/* Shapes nobody would write by hand; they found what onednn_conv.c and onednn_pointwise.c go round. */
static struct conv_case random_conv(void)
{
    static const int64_t channels[] = { 1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 31, 32, 33 };
    enum { CHANNELS = sizeof channels / sizeof *channels };
    struct conv_case t = { .name = "random", .space = 2 + (int)draw(2), .batch = 1 + draw(3), .groups = 1 };
    t.in = channels[draw(CHANNELS)], t.out = channels[draw(CHANNELS)];
    t.bias = (int)draw(2), t.transposed = draw(4) == 0;
    switch (draw(6)) {
    case 0: t.groups = 2, t.in *= 2, t.out *= 2; break;
    case 1: t.out = t.in, t.groups = (int)t.in; break;
    default: break;
    }
    bool uniform = draw(3) > 0, wide = draw(5) == 0;
    for (int d = 0; d < t.space; d++) {
        bool same = uniform && d > 0;
        t.kernel[d] = same ? t.kernel[0] : 1 + draw(4);
        t.stride[d] = same ? t.stride[0] : draw(2) ? 1 : 1 + (int)draw(3);
        t.dilation[d] = same ? t.dilation[0] : draw(4) ? 1 : 2;
        t.padding[d] = same ? t.padding[0] : (int)draw((t.kernel[d] - 1) * t.dilation[d] + 1);
        t.size[d] = (t.kernel[d] - 1) * t.dilation[d] + 1 + draw(t.space == 2 ? 14 : 6);
    }
    if (wide) t.size[t.space - 1] += 50;
    return t;
}

static void random_convolutions(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        struct conv_case t = random_conv();
        enum layout layout = (enum layout)draw(LAYOUTS);
        enum fm_dtype dtype = draw(2) ? FM_F32 : FM_BF16;
        for (enum fm_kernel kernel = FM_K_CONV; kernel <= FM_K_CONV_WGRAD; kernel++) {
            struct fm_case c;
            build_conv(&c, &t, kernel, dtype, layout);
            char name[128];
            snprintf(name, sizeof name, "random %d: %lld to %lld, %d groups, kernel %lld %lld, stride %d %d, padding %d %d, dilation %d %d",
                     i, (long long)t.in, (long long)t.out, t.groups, (long long)t.kernel[0], (long long)t.kernel[1], t.stride[0],
                     t.stride[1], t.padding[0], t.padding[1], t.dilation[0], t.dilation[1]);
            agree(&c, name, layout_names[layout], dtype, true);
        }
    }
}

struct product_case {
    const char *name;
    int64_t batch, m, n, k;     /* batch 0: two dimensions */
    int swap;                   /* bit i: operand i (y, a, b) transposed in memory */
    int slice;                  /* bit i: operand i is a part of wider rows */
    int expand;                 /* bit i: operand i has stride 0 in its first dimension */
    int bias;                   /* 1: a row; 2: of full size */
    double alpha;
};

static const struct product_case product_cases[] = {
    { "linear", 0, 77, 40, 24, 4, 0, 0, 1, 1 },
    { "linear, input gradient", 0, 77, 24, 40, 0, 0, 0, 0, 1 },
    { "linear, weight gradient", 0, 40, 24, 77, 2, 0, 0, 0, 1 },
    { "one column", 0, 33, 1, 17, 4, 0, 0, 1, 1 },
    { "one row", 0, 1, 33, 17, 4, 0, 0, 1, 1 },
    { "one deep", 0, 19, 33, 1, 2, 0, 0, 0, 1 },
    { "one", 0, 1, 1, 1, 0, 0, 0, 0, 1 },
    { "rows within wider rows", 0, 21, 32, 48, 0, 7, 0, 1, 1 },
    { "columns within", 0, 21, 32, 48, 6, 6, 0, 1, 1 },
    { "y transposed", 0, 21, 32, 48, 1, 0, 0, 1, 1 },
    { "full bias", 0, 21, 32, 48, 0, 0, 0, 2, 1 },
    { "scaled", 0, 21, 32, 48, 4, 0, 0, 0, 0.125 },
    { "scaled, bias", 0, 21, 32, 48, 4, 0, 0, 1, -0.5 },
    { "expanded rows", 0, 21, 32, 48, 0, 0, 2, 0, 1 },
    { "scores", 6, 49, 13, 8, 4, 0, 0, 0, 1 },
    { "values", 6, 49, 8, 13, 0, 0, 0, 0, 1 },
    { "scores, gradient of keys", 6, 8, 13, 49, 2, 0, 0, 0, 1 },
    { "scores, gradient of keys, turned", 6, 13, 8, 49, 2, 0, 0, 0, 0.35355339059327379 },
    { "heads within", 5, 21, 16, 32, 4, 7, 0, 0, 1 },
    { "shared b", 5, 21, 16, 32, 0, 0, 4, 0, 1 },
    { "shared a", 5, 21, 16, 32, 0, 0, 2, 0, 1 },
    { "batched bias", 3, 21, 16, 32, 0, 0, 0, 1, 1 },
    { "larger", 0, 300, 256, 130, 4, 0, 0, 1, 1 },
};

static void build_product(struct fm_case *c, const struct product_case *t, enum fm_dtype dtype)
{
    int n = t->batch ? 3 : 2;
    int64_t y[3] = { t->batch, t->m, t->n }, a[3] = { t->batch, t->m, t->k }, b[3] = { t->batch, t->k, t->n };
    int64_t *size[3] = { y + 3 - n, a + 3 - n, b + 3 - n };
    fm_case_init(c, FM_K_MATMUL);
    c->attr.alpha = t->alpha;
    fm_case_out(c, dtype, n, size[0]);
    fm_case_in(c, dtype, n, size[1]);
    fm_case_in(c, dtype, n, size[2]);
    if (t->bias) fm_case_in(c, dtype, n, size[0]);
    for (uint32_t i = 0; i < 3; i++) {
        int last = n - 1 - (t->swap >> i & 1);      /* the dimension that is dense in memory */
        if (t->slice >> i & 1) fm_case_slice(c, i, last, 2, size[i][last] + 7);
        else if (t->swap >> i & 1) fm_case_swap(c, i, n - 2, n - 1);
        if (t->expand >> i & 1) fm_case_expand(c, i, 0);
    }
    for (int d = 0; t->bias == 1 && d < n - 1; d++) fm_case_expand(c, 3, d);
    for (uint32_t i = 1; i < 1 + c->n_in; i++) fm_case_random(c, i, -1, 1, 5 + i);
}

/* inputs of two types, outputs of a third: computed in f32 */
static void mixed_types(void **state)
{
    (void)state;
    static const enum fm_dtype mixes[][3] = { { FM_F32, FM_BF16, FM_BF16 }, { FM_BF16, FM_F32, FM_F32 },
                                              { FM_F32, FM_BF16, FM_F32 }, { FM_BF16, FM_F32, FM_BF16 } };
    for (size_t m = 0; m < sizeof mixes / sizeof *mixes; m++) {
        struct fm_case c;
        for (enum fm_kernel kernel = FM_K_CONV; kernel <= FM_K_CONV_WGRAD; kernel++)
            for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i += 5) {
                build_conv(&c, &conv_cases[i], kernel, FM_F32, IMAGES);
                for (uint32_t k = 0; k < 3; k++) c.operand[k].dtype = (uint8_t)mixes[m][k];
                for (uint32_t k = 1; k < 3; k++) fm_case_random(&c, k, -1, 1, 3 + k);
                agree(&c, conv_cases[i].name, "mixed", FM_BF16, true);
            }
        for (size_t i = 0; i < sizeof product_cases / sizeof *product_cases; i++) {
            build_product(&c, &product_cases[i], FM_F32);
            for (uint32_t k = 0; k < 3; k++) c.operand[k].dtype = (uint8_t)mixes[m][k];
            for (uint32_t k = 1; k < 3; k++) fm_case_random(&c, k, -1, 1, 3 + k);
            agree(&c, product_cases[i].name, "mixed", FM_BF16, true);
        }
    }
}

static void every_product(enum fm_dtype dtype)
{
    for (size_t i = 0; i < sizeof product_cases / sizeof *product_cases; i++) {
        struct fm_case c;
        build_product(&c, &product_cases[i], dtype);
        agree(&c, product_cases[i].name, "", dtype, true);
    }
}

static void products_f32(void **state)
{
    (void)state;
    every_product(FM_F32);
}

static void products_bf16(void **state)
{
    (void)state;
    every_product(FM_BF16);
}

int main(void)
{
    struct fm_err err = { 0 };
    if (fm_backend_cpu.open(&(struct fm_backend_config){ .threads = 2 }, &cpu, &err) != FM_OK ||
        fm_backend_ref.open(&(struct fm_backend_config){ .threads = 0 }, &ref, &err) != FM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_f32),
        cmocka_unit_test(convolutions_bf16),
        cmocka_unit_test(products_f32),
        cmocka_unit_test(products_bf16),
        cmocka_unit_test(mixed_types),
        cmocka_unit_test(random_convolutions),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fm_backend_cpu.close(cpu);
    fm_backend_ref.close(ref);
    return failed;
}
