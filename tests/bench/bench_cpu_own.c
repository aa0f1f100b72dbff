/* Bandwidth of the cpu backend's own kernels at the shapes of DenseUNet3D and SegFormer, in GB/s of the bytes that
 * must be moved (each operand once), against a STREAM-like triad of the same run.
 *
 *     bench_cpu_own [threads [part of a name]]
 *
 * `bound` is bytes / (triad bandwidth); `share` is bound / time: 100 % is as fast as memory allows. */
#include "probes/backends/cpu/kernels.h"
#include "tuner/base/clock.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERANDS 12
#define ROUNDS   15

struct bench {
    struct fm_cpu_call call;
    struct fm_operand operand[OPERANDS];
    void *data[OPERANDS], *block[OPERANDS + 1];
    struct fm_attr attr;
};

static int threads = 2;
static const char *filter = "";
static double triad_gbs;

static double seconds_now(void)
{
    return (double)fm_now_ns(fm_clock_system()) * 1e-9;
}

static void *aligned(struct bench *b, int i, int64_t bytes)
{
    b->block[i] = fm_calloc((size_t)bytes + 64, 1);
    if (!b->block[i]) exit(1);
    return (char *)b->block[i] + (64 - (uintptr_t)b->block[i] % 64) % 64;
}

/* appends a channels-last (image) or plain operand */
static void operand(struct bench *b, bool output, enum fm_dtype dtype, bool image, const int64_t *size)
{
    uint32_t i = b->call.problem.n_out + b->call.problem.n_in;
    struct fm_operand *o = &b->operand[i];
    int64_t numel = 1, stride = 1;
    *(output ? &b->call.problem.n_out : &b->call.problem.n_in) += 1;
    *o = (struct fm_operand){ .dtype = (uint8_t)dtype };
    for (; size[o->ndim]; o->ndim++) o->size[o->ndim] = size[o->ndim], numel *= size[o->ndim];
    if (image) o->stride[1] = 1, stride = o->size[1];
    for (int d = o->ndim - 1; d >= 0; d--) {
        if (image && d == 1) continue;
        o->stride[d] = stride;
        stride *= o->size[d];
    }
    b->data[i] = aligned(b, (int)i, numel * fm_dtype_bytes(dtype));
    for (int64_t k = 0; k < numel; k++) {
        float value = (float)(k * 7919 % 1013) / 1013.0f - 0.4f;
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (dtype == FM_F32) ((float *)b->data[i])[k] = value;
        if (dtype == FM_BF16) ((uint16_t *)b->data[i])[k] = (uint16_t)(bits >> 16);
        if (dtype == FM_I64) ((int64_t *)b->data[i])[k] = k % 4;
        if (dtype == FM_BOOL) ((uint8_t *)b->data[i])[k] = k % 10 != 0;
    }
}

static void begin(struct bench *b, enum fm_kernel kernel)
{
    *b = (struct bench){
        .attr = { .alpha = 0.1, .beta = 0.999, .eps = 1e-5, .momentum = 0.1, .dim = 1, .groups = 4, .lr = 1e-3 }
    };
    b->call = (struct fm_cpu_call){ .problem = { .kernel = kernel }, .threads = threads };
}

static double best_seconds(struct bench *b)
{
    double best = INFINITY;
    struct fm_err err = { 0 };
    b->call.problem.operand = b->operand;
    b->call.problem.attr = &b->attr;
    b->call.data = b->data;
    const struct fm_cpu_kernel *kernel = &fm_cpu_kernels[b->call.problem.kernel];
    if (kernel->workspace_bytes)
        b->call.workspace = aligned(b, OPERANDS, kernel->workspace_bytes(&b->call.problem, threads));
    for (int round = 0; round < ROUNDS; round++) {
        double start = seconds_now();
        if (kernel->run(&b->call, &err) != FM_OK) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        best = fmin(best, seconds_now() - start);
    }
    return best;
}

static void finish(struct bench *b, const char *name, enum fm_dtype dtype)
{
    char text[96];
    snprintf(text, sizeof text, "%s %s", name, fm_dtype_name(dtype));
    if (strstr(text, filter)) {
        double seconds = best_seconds(b), bytes = fm_problem_bytes(&b->call.problem);
        printf("%-44s %9.3f ms %7.2f GB/s  share %4.0f %%\n", text, seconds * 1e3, bytes / seconds * 1e-9,
               100 * bytes / seconds * 1e-9 / triad_gbs);
    }
    for (int i = 0; i <= OPERANDS; i++) fm_free(b->block[i]);
}

static const int64_t unet[] = { 2, 16, 64, 64, 64, 0 }, logits[] = { 2, 71, 64, 64, 64, 0 },
                     label[] = { 2, 64, 64, 64, 0 };
static const int64_t small[] = { 2, 128, 8, 8, 8, 0 }, label_argmax[] = { 2, 1, 64, 64, 64, 0 };
static const int64_t tokens[] = { 4, 5184, 64, 0 }, token_stats[] = { 4, 5184, 1, 0 }, attention[] = { 4, 5184, 81, 0 };
static const int64_t tokens4[] = { 4, 324, 320, 0 }, token4_stats[] = { 4, 324, 1, 0 };
static const int64_t one[] = { 1, 0 }, c16[] = { 16, 0 }, c64[] = { 64, 0 }, c128[] = { 128, 0 }, c320[] = { 320, 0 },
                     c768[] = { 768, 0 };
static const int64_t seg[] = { 4, 4, 288, 288, 0 }, seg_small[] = { 4, 4, 72, 72, 0 }, head[] = { 4, 768, 72, 72, 0 },
                     head_small[] = { 4, 768, 18, 18, 0 };

static void elementwise(enum fm_dtype dtype)
{
    static const struct {
        const char *name;
        enum fm_kernel kernel;
        int mode, inputs;
    } list[] = {
        { "relu", FM_K_UNARY, FM_RELU, 1 }, { "relu_bwd", FM_K_UNARY_BWD, FM_RELU, 2 },
        { "gelu", FM_K_UNARY, FM_GELU, 1 }, { "gelu_bwd", FM_K_UNARY_BWD, FM_GELU, 2 },
        { "silu", FM_K_UNARY, FM_SILU, 1 }, { "log", FM_K_UNARY, FM_LOG, 1 },
        { "add", FM_K_BINARY, FM_ADD, 2 },  { "mul", FM_K_BINARY, FM_MUL, 2 },
        { "copy", FM_K_COPY, 0, 1 },        { "fill", FM_K_FILL, 0, 0 },
    };
    struct bench b;
    for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
        char name[64];
        begin(&b, list[k].kernel);
        b.attr.mode = (uint8_t)list[k].mode;
        operand(&b, true, dtype, true, unet);
        for (int i = 0; i < list[k].inputs; i++) operand(&b, false, dtype, true, unet);
        snprintf(name, sizeof name, "%s 2x16x64^3", list[k].name);
        finish(&b, name, dtype);
    }
    begin(&b, FM_K_COPY);
    operand(&b, true, dtype, true, unet);
    operand(&b, false, dtype == FM_F32 ? FM_BF16 : FM_F32, true, unet);
    finish(&b, "cast 2x16x64^3 to", dtype);
    begin(&b, FM_K_BINARY);
    b.attr.mode = FM_MUL;
    operand(&b, true, dtype, false, tokens);
    operand(&b, false, dtype, false, tokens);
    operand(&b, false, dtype, false, (const int64_t[]){ 4, 1, 1, 0 });
    b.operand[2].size[1] = 5184, b.operand[2].size[2] = 64, b.operand[2].stride[1] = b.operand[2].stride[2] = 0;
    finish(&b, "mul by (B,1,1) tokens", dtype);
    begin(&b, FM_K_DROPOUT);
    operand(&b, true, dtype, true, head);
    operand(&b, true, FM_BOOL, true, head);
    operand(&b, false, dtype, true, head);
    finish(&b, "dropout 4x768x72^2", dtype);
    begin(&b, FM_K_DROPOUT_BWD);
    operand(&b, true, dtype, true, head);
    operand(&b, false, dtype, true, head);
    operand(&b, false, FM_BOOL, true, head);
    finish(&b, "dropout_bwd 4x768x72^2", dtype);
}

static void copies(enum fm_dtype dtype)
{
    static const int64_t swapped[] = { 4, 64, 5184, 0 }, heads[] = { 4, 8, 324, 40, 0 },
                         cat[] = { 2, 32, 64, 64, 64, 0 };
    struct bench b;
    begin(&b, FM_K_COPY);
    operand(&b, true, dtype, false, swapped);
    operand(&b, false, dtype, false, tokens);
    b.operand[1] = (struct fm_operand){
        .dtype = (uint8_t)dtype, .ndim = 3, .size = { 4, 64, 5184 }, .stride = { 5184 * 64, 1, 64 }
    };
    finish(&b, "copy (B,N,C) to (B,C,N)", dtype);
    begin(&b, FM_K_COPY);
    operand(&b, true, dtype, false, heads);
    operand(&b, false, dtype, false, tokens4);
    b.operand[1] = (struct fm_operand){
        .dtype = (uint8_t)dtype, .ndim = 4, .size = { 4, 8, 324, 40 }, .stride = { 324 * 320, 40, 320, 1 }
    };
    finish(&b, "copy (B,N,h,d) to (B,h,N,d)", dtype);
    begin(&b, FM_K_COPY);
    operand(&b, true, dtype, false, unet);
    operand(&b, false, dtype, true, unet);
    finish(&b, "copy 2x16x64^3 channels-last to plain", dtype);
    begin(&b, FM_K_COPY);
    operand(&b, true, dtype, true, unet);
    operand(&b, false, dtype, false, unet);
    finish(&b, "copy 2x16x64^3 plain to channels-last", dtype);
    begin(&b, FM_K_COPY);
    operand(&b, true, dtype, true, unet);
    operand(&b, false, dtype, true, cat);
    b.operand[1].size[1] = 16;
    finish(&b, "copy slice 16 of 32 channels", dtype);
    begin(&b, FM_K_CAT);
    operand(&b, true, dtype, true, cat);
    operand(&b, false, dtype, true, unet);
    operand(&b, false, dtype, true, unet);
    finish(&b, "cat 2 of 2x16x64^3", dtype);
    begin(&b, FM_K_BINARY);
    operand(&b, true, dtype, true, unet);
    operand(&b, false, dtype, true, unet);
    operand(&b, false, dtype, true, cat);
    b.operand[2].size[1] = 16;
    finish(&b, "add slice 16 of 32 channels", dtype);
}

static void norms(enum fm_dtype dtype)
{
    static const struct {
        const char *name;
        const int64_t *shape, *channels;
    } shapes[] = { { "2x16x64^3", unet, c16 }, { "2x128x8^3", small, c128 }, { "4x768x72^2", head, c768 } };
    struct bench b;
    char name[64];
    for (size_t k = 0; k < 3; k++) {
        begin(&b, FM_K_BATCH_NORM);
        operand(&b, true, dtype, true, shapes[k].shape);
        for (int i = 0; i < 4; i++) operand(&b, true, FM_F32, false, shapes[k].channels);
        operand(&b, false, dtype, true, shapes[k].shape);
        for (int i = 0; i < 2; i++) operand(&b, false, FM_F32, false, shapes[k].channels);
        snprintf(name, sizeof name, "batch_norm %s", shapes[k].name);
        finish(&b, name, dtype);
        begin(&b, FM_K_BATCH_NORM_BWD);
        operand(&b, true, dtype, true, shapes[k].shape);
        for (int i = 0; i < 2; i++) operand(&b, true, FM_F32, false, shapes[k].channels);
        for (int i = 0; i < 2; i++) operand(&b, false, dtype, true, shapes[k].shape);
        for (int i = 0; i < 3; i++) operand(&b, false, FM_F32, false, shapes[k].channels);
        snprintf(name, sizeof name, "batch_norm_bwd %s", shapes[k].name);
        finish(&b, name, dtype);
    }
    begin(&b, FM_K_GROUP_NORM);
    operand(&b, true, dtype, true, unet);
    for (int i = 0; i < 2; i++) operand(&b, true, FM_F32, false, (const int64_t[]){ 2, 4, 0 });
    operand(&b, false, dtype, true, unet);
    for (int i = 0; i < 2; i++) operand(&b, false, FM_F32, false, c16);
    finish(&b, "group_norm 2x16x64^3", dtype);
    for (int k = 0; k < 2; k++) {
        const int64_t *shape = k ? tokens4 : tokens, *stats = k ? token4_stats : token_stats, *c = k ? c320 : c64;
        begin(&b, FM_K_LAYER_NORM);
        operand(&b, true, dtype, false, shape);
        for (int i = 0; i < 2; i++) operand(&b, true, FM_F32, false, stats);
        operand(&b, false, dtype, false, shape);
        for (int i = 0; i < 2; i++) operand(&b, false, FM_F32, false, c);
        finish(&b, k ? "layer_norm 4x324x320" : "layer_norm 4x5184x64", dtype);
        begin(&b, FM_K_LAYER_NORM_BWD);
        operand(&b, true, dtype, false, shape);
        for (int i = 0; i < 2; i++) operand(&b, true, FM_F32, false, c);
        for (int i = 0; i < 2; i++) operand(&b, false, dtype, false, shape);
        operand(&b, false, FM_F32, false, c);
        for (int i = 0; i < 2; i++) operand(&b, false, FM_F32, false, stats);
        finish(&b, k ? "layer_norm_bwd 4x324x320" : "layer_norm_bwd 4x5184x64", dtype);
    }
}

static void losses(enum fm_dtype dtype)
{
    static const struct {
        const char *name;
        const int64_t *shape;
        int dim;
        bool image;
    } rows[] = { { "2x71x64^3", logits, 1, true },
                 { "4x5184x81", attention, 2, false },
                 { "4x4x288^2", seg, 1, true } };
    struct bench b;
    char name[64];
    for (size_t k = 0; k < 12; k++) {
        int bwd = k % 2, log = k / 2 % 2;
        begin(&b, bwd ? FM_K_SOFTMAX_BWD : FM_K_SOFTMAX);
        b.attr.mode = (uint8_t)log;
        b.attr.dim = (uint8_t)rows[k / 4].dim;
        operand(&b, true, dtype, rows[k / 4].image, rows[k / 4].shape);
        for (int i = 0; i < 1 + bwd; i++) operand(&b, false, dtype, rows[k / 4].image, rows[k / 4].shape);
        snprintf(name, sizeof name, "%ssoftmax%s %s", log ? "log_" : "", bwd ? "_bwd" : "", rows[k / 4].name);
        finish(&b, name, dtype);
    }
    begin(&b, FM_K_NLL);
    b.attr.ignore_index = -100;
    for (int i = 0; i < 2; i++) operand(&b, true, FM_F32, false, one);
    operand(&b, false, dtype, true, logits);
    operand(&b, false, FM_I64, false, label);
    finish(&b, "nll 2x71x64^3", dtype);
    begin(&b, FM_K_NLL_BWD);
    operand(&b, true, dtype, true, logits);
    operand(&b, false, FM_F32, false, one);
    operand(&b, false, FM_I64, false, label);
    operand(&b, false, FM_F32, false, one);
    finish(&b, "nll_bwd 2x71x64^3", dtype);
    begin(&b, FM_K_ARGMAX);
    operand(&b, true, FM_I64, false, label_argmax);
    operand(&b, false, dtype, true, logits);
    finish(&b, "argmax 2x71x64^3", dtype);
    begin(&b, FM_K_SUM);
    operand(&b, true, dtype, false, (const int64_t[]){ 1, 71, 1, 1, 1, 0 });
    operand(&b, false, dtype, true, logits);
    finish(&b, "sum 2x71x64^3 to 71", dtype);
    begin(&b, FM_K_SUM);
    operand(&b, true, dtype, false, (const int64_t[]){ 1, 1, 64, 0 });
    operand(&b, false, dtype, false, tokens);
    finish(&b, "sum 4x5184x64 to 64", dtype);
    begin(&b, FM_K_SUM);
    operand(&b, true, dtype, false, (const int64_t[]){ 4, 1, 1, 1, 0 });
    operand(&b, false, dtype, true, head);
    finish(&b, "sum 4x768x72^2 to 4", dtype);
}

static void resampling(enum fm_dtype dtype)
{
    static const struct {
        const char *name;
        const int64_t *big, *small;
    } list[] = { { "4x4x72^2 to 288^2", seg, seg_small }, { "4x768x18^2 to 72^2", head, head_small } };
    struct bench b;
    char name[64];
    for (int k = 0; k < 4; k++) {
        begin(&b, k % 2 ? FM_K_INTERPOLATE_BWD : FM_K_INTERPOLATE);
        operand(&b, true, dtype, true, k % 2 ? list[k / 2].small : list[k / 2].big);
        operand(&b, false, dtype, true, k % 2 ? list[k / 2].big : list[k / 2].small);
        snprintf(name, sizeof name, "interpolate%s %s", k % 2 ? "_bwd" : "", list[k / 2].name);
        finish(&b, name, dtype);
    }
}

static void metrics(void)
{
    static const int64_t volume[] = { 2, 64, 64, 64, 0 };
    struct bench b;
    begin(&b, FM_K_UNARY);
    b.attr.mode = FM_EQUAL;
    b.attr.alpha = 3;
    operand(&b, true, FM_BOOL, false, volume);
    operand(&b, false, FM_I64, false, volume);
    finish(&b, "equal 2x64^3", FM_I64);
    begin(&b, FM_K_BINARY);
    b.attr.mode = FM_AND;
    operand(&b, true, FM_BOOL, false, volume);
    for (int i = 0; i < 2; i++) operand(&b, false, FM_BOOL, false, volume);
    finish(&b, "and 2x64^3", FM_BOOL);
    begin(&b, FM_K_SUM);
    b.attr.alpha = 1;
    operand(&b, true, FM_I64, false, (const int64_t[]){ 1, 1, 1, 1, 0 });
    operand(&b, false, FM_BOOL, false, volume);
    finish(&b, "sum 2x64^3", FM_BOOL);
}

static void optimizers(void)
{
    struct bench b;
    for (int k = 0; k < 2; k++) {
        int apart = k ? FM_ADAM_OPERANDS : FM_SGD_OPERANDS;
        begin(&b, k ? FM_K_ADAM : FM_K_SGD);
        b.attr.alpha = 0.9;
        b.attr.amsgrad = (uint8_t)k;
        for (int i = 0; i < 2 * apart; i++) operand(&b, true, FM_F32, false, (const int64_t[]){ 4000000, 0 });
        if (k) b.data[4] = b.data[10] = NULL;
        finish(&b, k ? "adam amsgrad 2x4M" : "sgd 2x4M", FM_F32);
    }
}

static void measure_triad(void)
{
    const int64_t n = 16 << 20;
    float *a = fm_calloc((size_t)n, 4), *x = fm_calloc((size_t)n, 4), *y = fm_calloc((size_t)n, 4);
    double best = INFINITY;
    if (!a || !x || !y) exit(1);
    for (int round = 0; round < 8; round++) {
        double start = seconds_now();
#pragma omp parallel for simd num_threads(threads)
        for (int64_t i = 0; i < n; i++) a[i] = x[i] + 3.0f * y[i];
        best = fmin(best, seconds_now() - start);
    }
    triad_gbs = 3.0 * (double)n * 4 / best * 1e-9;
    printf("%d threads; triad %.2f GB/s (%g)\n", threads, triad_gbs, (double)a[n - 1]);
    fm_free(a), fm_free(x), fm_free(y);
}

int main(int argc, char **argv)
{
    if (argc > 1) threads = (int)strtol(argv[1], NULL, 10);
    if (argc > 2) filter = argv[2];
    measure_triad();
    for (int k = 0; k < 2; k++) {
        enum fm_dtype dtype = k ? FM_BF16 : FM_F32;
        elementwise(dtype);
        copies(dtype);
        norms(dtype);
        losses(dtype);
        resampling(dtype);
    }
    metrics();
    optimizers();
    return 0;
}
