/* Every backward kernel of the ref backend against central differences of its forward kernel, in f64. */
#include "probes/backends/ref/ref.h"
#include "tests/support/case.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define STEP 1e-5
#define TOLERANCE 1e-7

static struct fm_backend *backend;

static void run(struct fm_case *c)
{
    struct fm_err err = { 0 };
    if (fm_case_run(c, &fm_backend_ref, backend, &err) != FM_OK)
        fail_msg("%s: %s", fm_kernel_name(c->kernel), err.text);
}

static void feed(struct fm_case *to, uint32_t i, const struct fm_case *from, uint32_t j)
{
    for (int64_t k = 0; k < fm_operand_numel(&from->operand[j]); k++)
        fm_case_set_one(to, i, k, fm_case_get_one(from, j, k));
}

/* sum of g * (output 0) of a fresh run of `forward` with element k of operand i moved by `by` */
static double moved(const struct fm_case *forward, uint32_t i, int64_t k, double by, const struct fm_case *backward)
{
    struct fm_case c;
    fm_case_copy(&c, forward);
    fm_case_set_one(&c, i, k, fm_case_get_one(&c, i, k) + by);
    run(&c);
    double sum = 0;
    for (int64_t n = 0; n < fm_operand_numel(&c.operand[0]); n++)
        sum += fm_case_get_one(&c, 0, n) * fm_case_get_one(backward, backward->n_out, n);
    fm_case_release(&c);
    return sum;
}

/* backward's output `out` must be the gradient by forward's operand i; the first input of backward is g */
static void compare(const struct fm_case *forward, uint32_t i, const struct fm_case *backward, uint32_t out)
{
    double error = 0, norm = 0;
    for (int64_t k = 0; k < fm_operand_numel(&forward->operand[i]); k++) {
        double up = moved(forward, i, k, STEP, backward), down = moved(forward, i, k, -STEP, backward);
        double numeric = (up - down) / (2 * STEP), found = fm_case_get_one(backward, out, k);
        error += (numeric - found) * (numeric - found);
        norm += numeric * numeric;
    }
    if (!(sqrt(error) <= TOLERANCE * (1 + sqrt(norm))))
        fail_msg("%s, output %u: error %g of %g", fm_kernel_name(backward->kernel), out, sqrt(error), sqrt(norm));
}

struct conv_row {
    const char *name;
    int dims;
    int64_t batch, in, out, size[3], kernel[3];
    int32_t stride[3], padding[3], dilation[3], groups, extra[3];   /* extra: output padding of transposed ones */
    uint8_t transposed;
};

static const struct conv_row convs[] = {
    { "3d", 3, 2, 2, 3, { 4, 3, 5 }, { 3, 3, 3 }, { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, 1, { 0 }, 0 },
    { "3d stride 2", 3, 1, 2, 2, { 4, 4, 6 }, { 2, 2, 2 }, { 2, 2, 2 }, { 0 }, { 1, 1, 1 }, 1, { 0 }, 0 },
    { "3d dilated", 3, 1, 2, 2, { 5, 5, 5 }, { 2, 3, 1 }, { 1, 2, 1 }, { 1, 2, 0 }, { 2, 2, 1 }, 1, { 0 }, 0 },
    { "3d 1x1x1", 3, 2, 3, 4, { 2, 3, 2 }, { 1, 1, 1 }, { 1, 1, 1 }, { 0 }, { 1, 1, 1 }, 1, { 0 }, 0 },
    { "2d 7x7 stride 4", 2, 1, 3, 2, { 9, 11 }, { 7, 7 }, { 4, 4 }, { 3, 3 }, { 1, 1 }, 1, { 0 }, 0 },
    { "2d grouped", 2, 2, 4, 6, { 5, 4 }, { 3, 2 }, { 1, 2 }, { 1, 0 }, { 1, 1 }, 2, { 0 }, 0 },
    { "2d depthwise", 2, 2, 4, 4, { 5, 5 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, 4, { 0 }, 0 },
    { "3d depthwise to 2", 3, 1, 2, 4, { 3, 3, 3 }, { 3, 3, 3 }, { 2, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 }, 2, { 0 }, 0 },
    { "3d transposed 2x2x2", 3, 1, 3, 2, { 2, 3, 2 }, { 2, 2, 2 }, { 2, 2, 2 }, { 0 }, { 1, 1, 1 }, 1, { 0 }, 1 },
    { "2d transposed 3x3", 2, 2, 2, 3, { 3, 4 }, { 3, 3 }, { 2, 2 }, { 1, 1 }, { 1, 1 }, 1, { 1, 0 }, 1 },
    { "2d transposed, grouped, dilated", 2, 1, 4, 6, { 3, 3 }, { 2, 3 }, { 1, 2 }, { 1, 0 }, { 2, 1 }, 2, { 0 }, 1 },
};

static void conv_sizes(const struct conv_row *r, int64_t x[5], int64_t y[5], int64_t w[5])
{
    x[0] = y[0] = r->batch, x[1] = r->in, y[1] = r->out;
    w[0] = r->transposed ? r->in : r->out;
    w[1] = (r->transposed ? r->out : r->in) / r->groups;
    for (int d = 0; d < r->dims; d++) {
        int64_t reach = (r->kernel[d] - 1) * r->dilation[d] + 1;
        x[d + 2] = r->size[d], w[d + 2] = r->kernel[d];
        y[d + 2] = r->transposed ? (r->size[d] - 1) * r->stride[d] - 2 * r->padding[d] + reach + r->extra[d]
                                 : (r->size[d] + 2 * r->padding[d] - reach) / r->stride[d] + 1;
    }
}

static void conv_attr(const struct conv_row *r, struct fm_attr *attr)
{
    *attr = (struct fm_attr){ .groups = r->groups, .transposed = r->transposed };
    for (int d = 0; d < r->dims; d++)
        attr->stride[d] = r->stride[d], attr->padding[d] = r->padding[d], attr->dilation[d] = r->dilation[d];
}

/* Every pair of a source element and a weight of its channel, thrown where it lands: another way round than ref. */
static void scatter(const struct fm_case *c, const struct conv_row *r, double *y)
{
    const struct fm_operand *o = c->operand;
    int64_t count_y = fm_operand_numel(&o[0]), per_channel = 1, taps = 1;
    for (int d = 0; d < r->dims; d++) per_channel *= o[0].size[d + 2], taps *= r->kernel[d];
    for (int64_t i = 0; i < count_y; i++) y[i] = fm_case_get_one(c, 3, i / per_channel % r->out);
    for (int64_t i = 0; i < fm_operand_numel(&o[1]); i++)
        for (int64_t out = 0; out < r->out; out++)
            for (int64_t tap = 0; tap < taps; tap++) {
                int64_t rest = i, tap_rest = tap, at = 0, scale = 1, per = o[1].size[1];
                bool lands = true;
                for (int d = r->dims - 1; d >= 0; d--) {
                    int64_t x = rest % o[1].size[d + 2], k = tap_rest % r->kernel[d] * r->dilation[d];
                    rest /= o[1].size[d + 2], tap_rest /= r->kernel[d];
                    int64_t to = r->transposed ? x * r->stride[d] - r->padding[d] + k : x + r->padding[d] - k;
                    if (!r->transposed && (to < 0 || to % r->stride[d])) lands = false;
                    if (!r->transposed) to /= r->stride[d];
                    if (to < 0 || to >= o[0].size[d + 2]) lands = false;
                    at += to * scale, scale *= o[0].size[d + 2];
                }
                int64_t in = rest % per, b = rest / per, group_in = r->in / r->groups, group_out = r->out / r->groups;
                if (!lands || in / group_in != out / group_out) continue;
                int64_t w = r->transposed ? in * group_out + out % group_out : out * group_in + in % group_in;
                y[(b * r->out + out) * per_channel + at] += fm_case_get_one(c, 1, i) *
                                                                     fm_case_get_one(c, 2, w * taps + tap);
            }
}

static void convolutions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
        const struct conv_row *r = &convs[i];
        int64_t x[5], y[5], w[5];
        struct fm_case forward, dgrad, wgrad;
        conv_sizes(r, x, y, w);
        fm_case_init(&forward, FM_K_CONV), fm_case_init(&dgrad, FM_K_CONV_DGRAD), fm_case_init(&wgrad, FM_K_CONV_WGRAD);
        conv_attr(r, &forward.attr), conv_attr(r, &dgrad.attr), conv_attr(r, &wgrad.attr);
        fm_case_out(&forward, FM_F64, r->dims + 2, y);
        fm_case_in(&forward, FM_F64, r->dims + 2, x), fm_case_in(&forward, FM_F64, r->dims + 2, w);
        fm_case_in(&forward, FM_F64, 1, &r->out);
        fm_case_out(&dgrad, FM_F64, r->dims + 2, x), fm_case_out(&wgrad, FM_F64, r->dims + 2, w);
        fm_case_in(&dgrad, FM_F64, r->dims + 2, y), fm_case_in(&wgrad, FM_F64, r->dims + 2, y);
        fm_case_in(&dgrad, FM_F64, r->dims + 2, w), fm_case_in(&wgrad, FM_F64, r->dims + 2, x);
        for (uint32_t k = 1; k < 4; k++) fm_case_random(&forward, k, -1, 1, 3);
        fm_case_random(&dgrad, 1, -1, 1, 4);
        feed(&wgrad, 1, &dgrad, 1), feed(&dgrad, 2, &forward, 2), feed(&wgrad, 2, &forward, 1);
        run(&dgrad), run(&wgrad);
        compare(&forward, 1, &dgrad, 0), compare(&forward, 2, &wgrad, 0);

        run(&forward);
        double *expected = fm_calloc((size_t)fm_operand_numel(&forward.operand[0]), sizeof *expected);
        scatter(&forward, r, expected);
        for (int64_t k = 0; k < fm_operand_numel(&forward.operand[0]); k++)
            if (!(fabs(fm_case_get_one(&forward, 0, k) - expected[k]) < 1e-12))
                fail_msg("%s: element %lld", r->name, (long long)k);
        fm_free(expected);
        fm_case_release(&forward), fm_case_release(&dgrad), fm_case_release(&wgrad);
    }
    assert_int_equal(fm_memory_live, 1);    /* the backend */
}

/* a norm's forward and backward kernels over x; mean and rstd of the given shape, weight and bias of `channels` */
struct norm {
    enum fm_kernel forward, backward;
    int ndim, stat_ndim;
    int64_t size[5], stat[5], channels;
    int32_t groups;
};

static void check_norm(const struct norm *n)
{
    struct fm_case f, b;
    fm_case_init(&f, n->forward), fm_case_init(&b, n->backward);
    f.attr = b.attr = (struct fm_attr){ .eps = 1e-3, .momentum = 0.1, .groups = n->groups };
    fm_case_out(&f, FM_F64, n->ndim, n->size);
    fm_case_out(&f, FM_F64, n->stat_ndim, n->stat), fm_case_out(&f, FM_F64, n->stat_ndim, n->stat);
    uint32_t x = 3;
    if (n->forward == FM_K_BATCH_NORM) {
        fm_case_out(&f, FM_F64, 1, &n->channels), fm_case_out(&f, FM_F64, 1, &n->channels);
        fm_case_random(&f, 3, -1, 1, 2), fm_case_random(&f, 4, 1, 2, 2);
        x = 5;
    }
    fm_case_in(&f, FM_F64, n->ndim, n->size);
    fm_case_in(&f, FM_F64, 1, &n->channels), fm_case_in(&f, FM_F64, 1, &n->channels);
    for (uint32_t k = x; k < x + 3; k++) fm_case_random(&f, k, -1, 1.5, 5);
    fm_case_out(&b, FM_F64, n->ndim, n->size);
    fm_case_out(&b, FM_F64, 1, &n->channels), fm_case_out(&b, FM_F64, 1, &n->channels);
    fm_case_in(&b, FM_F64, n->ndim, n->size), fm_case_in(&b, FM_F64, n->ndim, n->size);
    fm_case_in(&b, FM_F64, 1, &n->channels);
    fm_case_in(&b, FM_F64, n->stat_ndim, n->stat), fm_case_in(&b, FM_F64, n->stat_ndim, n->stat);
    struct fm_case done;
    fm_case_copy(&done, &f);
    run(&done);
    fm_case_random(&b, 3, -1, 1, 6);
    feed(&b, 4, &f, x), feed(&b, 5, &f, x + 1), feed(&b, 6, &done, 1), feed(&b, 7, &done, 2);
    run(&b);
    for (uint32_t k = 0; k < 3; k++) compare(&f, x + k, &b, k);
    fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
}

static void norms(void **state)
{
    (void)state;
    const struct norm rows[] = {
        { FM_K_BATCH_NORM, FM_K_BATCH_NORM_BWD, 5, 1, { 2, 3, 2, 3, 2 }, { 3 }, 3, 0 },
        { FM_K_BATCH_NORM, FM_K_BATCH_NORM_BWD, 4, 1, { 3, 2, 3, 3 }, { 2 }, 2, 0 },
        { FM_K_GROUP_NORM, FM_K_GROUP_NORM_BWD, 5, 2, { 2, 6, 2, 1, 3 }, { 2, 3 }, 6, 3 },
        { FM_K_GROUP_NORM, FM_K_GROUP_NORM_BWD, 4, 2, { 2, 4, 2, 3 }, { 2, 4 }, 4, 4 },
        { FM_K_LAYER_NORM, FM_K_LAYER_NORM_BWD, 3, 3, { 2, 3, 7 }, { 2, 3, 1 }, 7, 0 },
        { FM_K_LAYER_NORM, FM_K_LAYER_NORM_BWD, 2, 2, { 4, 5 }, { 4, 1 }, 5, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_norm(&rows[i]);
}

static void unary_functions(void **state)
{
    (void)state;
    const struct { enum fm_unary mode; bool keeps_output; } rows[] = {
        { FM_RELU, true }, { FM_LEAKY_RELU, false }, { FM_LEAKY_RELU, true }, { FM_GELU, false }, { FM_SILU, false },
        { FM_SCALE, false }, { FM_LOG, false }, { FM_EXP, true }, { FM_SQRT, true },
    };
    const int64_t size[] = { 4, 9 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fm_case f, b, done;
        bool positive = rows[i].mode == FM_LOG || rows[i].mode == FM_SQRT;
        fm_case_init(&f, FM_K_UNARY), fm_case_init(&b, FM_K_UNARY_BWD);
        f.attr = b.attr = (struct fm_attr){ .mode = (uint8_t)rows[i].mode, .alpha = 0.2, .beta = 3 };
        fm_case_out(&f, FM_F64, 2, size), fm_case_in(&f, FM_F64, 2, size);
        fm_case_random(&f, 1, positive ? 0.5 : -3, 3, 8);
        fm_case_out(&b, FM_F64, 2, size), fm_case_in(&b, FM_F64, 2, size), fm_case_in(&b, FM_F64, 2, size);
        fm_case_random(&b, 1, -1, 1, 9);
        fm_case_copy(&done, &f);
        run(&done);
        feed(&b, 2, &done, rows[i].keeps_output ? 0 : 1);
        run(&b);
        compare(&f, 1, &b, 0);
        fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
    }
}

static void softmax(void **state)
{
    (void)state;
    const int64_t size[] = { 2, 5, 3 };
    for (int variant = 0; variant < 6; variant++) {
        struct fm_case f, b, done;
        fm_case_init(&f, FM_K_SOFTMAX), fm_case_init(&b, FM_K_SOFTMAX_BWD);
        f.attr = b.attr = (struct fm_attr){ .mode = (uint8_t)(variant % 2), .dim = (uint8_t)(variant / 2) };
        fm_case_out(&f, FM_F64, 3, size), fm_case_in(&f, FM_F64, 3, size), fm_case_random(&f, 1, -2, 2, 8);
        fm_case_out(&b, FM_F64, 3, size), fm_case_in(&b, FM_F64, 3, size), fm_case_in(&b, FM_F64, 3, size);
        fm_case_random(&b, 1, -1, 1, 9);
        fm_case_copy(&done, &f);
        run(&done);
        feed(&b, 2, &done, 0);
        run(&b);
        compare(&f, 1, &b, 0);
        fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
    }
}

/* queries that look at more keys than there are of them, and at fewer; a softmax that is flat, and one that is steep */
static void attention(void **state)
{
    (void)state;
    static const struct { int64_t batch, heads, queries, keys, depth; double scale; } rows[] = {
        { 2, 2, 3, 5, 4, 0.5 }, { 1, 3, 5, 2, 3, 1.0 / 3 }, { 2, 1, 4, 1, 2, 1 }, { 1, 1, 4, 6, 5, 2.5 }, { 1, 2, 3, 3, 1, -1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int64_t q[] = { rows[i].batch, rows[i].heads, rows[i].queries, rows[i].depth };
        const int64_t k[] = { q[0], q[1], rows[i].keys, q[3] };
        struct fm_case f, b, done;
        fm_case_init(&f, FM_K_SDPA), fm_case_init(&b, FM_K_SDPA_BWD);
        f.attr.alpha = b.attr.alpha = rows[i].scale;
        fm_case_out(&f, FM_F64, 4, q), fm_case_out(&f, FM_F64, 3, q);
        fm_case_in(&f, FM_F64, 4, q), fm_case_in(&f, FM_F64, 4, k), fm_case_in(&f, FM_F64, 4, k);
        for (uint32_t n = 2; n < 5; n++) fm_case_random(&f, n, -2, 2, 30 + n);
        fm_case_out(&b, FM_F64, 4, q), fm_case_out(&b, FM_F64, 4, k), fm_case_out(&b, FM_F64, 4, k);
        for (int n = 0; n < 6; n++) fm_case_in(&b, FM_F64, n == 5 ? 3 : 4, n == 2 || n == 3 ? k : q);
        fm_case_random(&b, 3, -1, 1, 40);
        fm_case_copy(&done, &f);
        run(&done);
        for (uint32_t n = 0; n < 3; n++) feed(&b, 4 + n, &f, 2 + n);
        feed(&b, 7, &done, 0), feed(&b, 8, &done, 1);
        run(&b);
        for (uint32_t n = 0; n < 3; n++) compare(&f, 2 + n, &b, n);
        fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
    }
}

static void nll(void **state)
{
    (void)state;
    const int64_t size[] = { 2, 4, 3, 2 }, target_size[] = { 2, 3, 2 }, one = 1;
    for (int weighted = 0; weighted < 2; weighted++) {
        struct fm_case f, b, done;
        fm_case_init(&f, FM_K_NLL), fm_case_init(&b, FM_K_NLL_BWD);
        f.attr.ignore_index = b.attr.ignore_index = 2;
        fm_case_out(&f, FM_F64, 1, &one), fm_case_out(&f, FM_F64, 1, &one);
        fm_case_in(&f, FM_F64, 4, size), fm_case_in(&f, FM_I64, 3, target_size);
        fm_case_out(&b, FM_F64, 4, size);
        fm_case_in(&b, FM_F64, 1, &one), fm_case_in(&b, FM_I64, 3, target_size), fm_case_in(&b, FM_F64, 1, &one);
        fm_case_random(&f, 2, -3, 0, 8), fm_case_random(&f, 3, 0, 4, 8);
        if (weighted) {
            fm_case_in(&f, FM_F64, 1, &size[1]), fm_case_in(&b, FM_F64, 1, &size[1]);
            fm_case_random(&f, 4, 0.1, 2, 9), feed(&b, 4, &f, 4);
        }
        fm_case_copy(&done, &f);
        run(&done);
        fm_case_set_one(&b, 1, 0, 1.7), feed(&b, 2, &f, 3), feed(&b, 3, &done, 1);
        run(&b);
        compare(&f, 2, &b, 0);
        fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
    }
}

static void resampling_and_dropout(void **state)
{
    (void)state;
    const int64_t rows[][4] = {         /* from height, width to height, width */
        { 3, 4, 6, 8 }, { 5, 7, 2, 3 }, { 4, 4, 4, 4 }, { 1, 3, 5, 1 }, { 7, 5, 12, 3 }, { 2, 2, 9, 16 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int64_t in[] = { 2, 2, rows[i][0], rows[i][1] }, out[] = { 2, 2, rows[i][2], rows[i][3] };
        struct fm_case f, b;
        fm_case_init(&f, FM_K_INTERPOLATE), fm_case_init(&b, FM_K_INTERPOLATE_BWD);
        fm_case_out(&f, FM_F64, 4, out), fm_case_in(&f, FM_F64, 4, in), fm_case_random(&f, 1, -1, 1, 1);
        fm_case_out(&b, FM_F64, 4, in), fm_case_in(&b, FM_F64, 4, out), fm_case_random(&b, 1, -1, 1, 2);
        run(&b);
        compare(&f, 1, &b, 0);
        fm_case_release(&f), fm_case_release(&b);
    }
    const int64_t size[] = { 5, 8 };
    struct fm_case f, b, done;
    fm_case_init(&f, FM_K_DROPOUT), fm_case_init(&b, FM_K_DROPOUT_BWD);
    f.attr.alpha = b.attr.alpha = 0.3;
    fm_case_out(&f, FM_F64, 2, size), fm_case_out(&f, FM_BOOL, 2, size), fm_case_in(&f, FM_F64, 2, size);
    fm_case_random(&f, 2, -1, 1, 1);
    fm_case_out(&b, FM_F64, 2, size), fm_case_in(&b, FM_F64, 2, size), fm_case_in(&b, FM_BOOL, 2, size);
    fm_case_random(&b, 1, -1, 1, 2);
    fm_case_copy(&done, &f);
    run(&done);
    feed(&b, 2, &done, 1);
    run(&b);
    compare(&f, 2, &b, 0);
    fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
}

static int open_backend(void **state)
{
    (void)state;
    return fm_backend_ref.open(NULL, &backend, NULL);
}

static int close_backend(void **state)
{
    (void)state;
    fm_backend_ref.close(backend);
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions), cmocka_unit_test(norms), cmocka_unit_test(unary_functions),
        cmocka_unit_test(softmax), cmocka_unit_test(attention), cmocka_unit_test(nll), cmocka_unit_test(resampling_and_dropout),
    };
    return cmocka_run_group_tests(tests, open_backend, close_backend);
}
