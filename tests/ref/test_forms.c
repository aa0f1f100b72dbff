/* The ref backend's forward kernels where the answer is known: closed forms, hand-made cases, the random streams. */
#include "probes/backends/data.h"
#include "probes/backends/ref/element.h"
#include "probes/backends/ref/ref.h"
#include "tests/support/case.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define V(...) ((const double[]){ __VA_ARGS__ })
#define S(...) ((const int64_t[]){ __VA_ARGS__ })

static struct fm_backend *backend;

static void run(struct fm_case *c)
{
    struct fm_err err = { 0 };
    if (fm_case_run(c, &fm_backend_ref, backend, &err) != FM_OK)
        fail_msg("%s: %s", fm_kernel_name(c->kernel), err.text);
}

static void expect(const struct fm_case *c, uint32_t i, const double *values, double tolerance)
{
    for (int64_t k = 0; k < fm_operand_numel(&c->operand[i]); k++) {
        double found = fm_case_get_one(c, i, k);
        bool same = (isnan(found) && isnan(values[k])) || fabs(found - values[k]) <= tolerance ||
                    (isinf(values[k]) && found >= values[k] && found <= values[k]);
        if (!same)
            fail_msg("%s, operand %u, element %lld: %.17g, not %.17g", fm_kernel_name(c->kernel), i, (long long)k,
                     found, values[k]);
    }
}

/* y = kernel(x) of one input, both f64 vectors of n */
static void vector_case(struct fm_case *c, enum fm_kernel kernel, struct fm_attr attr, int64_t n, const double *x)
{
    fm_case_init(c, kernel);
    c->attr = attr;
    fm_case_out(c, FM_F64, 1, &n), fm_case_in(c, FM_F64, 1, &n);
    fm_case_set(c, 1, x);
}

static void sixteen_bits_round_to_nearest_even(void **state)
{
    (void)state;
    const enum fm_dtype dtypes[] = { FM_F16, FM_BF16 };
    for (int t = 0; t < 2; t++) {
        for (unsigned bits = 0; bits < 65536; bits++) {         /* there and back */
            uint16_t before = (uint16_t)bits, after = 0;
            double value = fm_element_load(&before, dtypes[t], 0);
            fm_element_store(&after, dtypes[t], 0, value);
            if (isnan(value)) assert_true(isnan(fm_element_load(&after, dtypes[t], 0)));
            else assert_int_equal(after, before);
            if (dtypes[t] == FM_BF16 && !isnan(value)) {        /* the upper half of a float */
                uint32_t wide = (uint32_t)bits << 16;
                float expected;
                memcpy(&expected, &wide, 4);
                assert_true(memcmp(&(float){ (float)value }, &expected, 4) == 0);
            }
        }
        uint16_t infinity = dtypes[t] == FM_F16 ? 0x7c00 : 0x7f80;
        for (uint16_t bits = 0; bits + 1 < infinity; bits++) {  /* between neighbours, and just beside the middle */
            uint16_t next = bits + 1, stored = 0;
            double low = fm_element_load(&bits, dtypes[t], 0), high = fm_element_load(&next, dtypes[t], 0);
            assert_true(low < high);
            double middle = low + (high - low) / 2;
            double offsets[] = { nextafter(middle, low), middle, nextafter(middle, high) };
            for (int k = 0; k < 3; k++) {
                fm_element_store(&stored, dtypes[t], 0, offsets[k]);
                assert_int_equal(stored, k == 0 ? bits : k == 2 ? next : bits % 2 ? next : bits);
                fm_element_store(&stored, dtypes[t], 0, -offsets[k]);
                assert_int_equal(stored & 0x7fff, k == 0 ? bits : k == 2 ? next : bits % 2 ? next : bits);
            }
        }
    }
    uint16_t half = 0;
    fm_element_store(&half, FM_F16, 0, 65504), assert_int_equal(half, 0x7bff);
    fm_element_store(&half, FM_F16, 0, 65519.99), assert_int_equal(half, 0x7bff);
    fm_element_store(&half, FM_F16, 0, 65520), assert_int_equal(half, 0x7c00);
    fm_element_store(&half, FM_F16, 0, 1), assert_int_equal(half, 0x3c00);
    fm_element_store(&half, FM_F16, 0, 0x1p-24), assert_int_equal(half, 1);
    fm_element_store(&half, FM_F16, 0, -INFINITY), assert_int_equal(half, 0xfc00);
}

static void unary_and_binary(void **state)
{
    (void)state;
    const double x[] = { -2, -0.5, 0, 1, 3 };
    const struct { struct fm_attr attr; double y[5]; } rows[] = {
        { { .mode = FM_RELU }, { 0, 0, 0, 1, 3 } },
        { { .mode = FM_LEAKY_RELU, .alpha = 0.25 }, { -0.5, -0.125, 0, 1, 3 } },
        { { .mode = FM_GELU }, { -0.04550026389635841, -0.1542687693629935, 0, 0.841344746068543, 2.995950305905109 } },
        { { .mode = FM_SILU }, { -0.2384058440442351, -0.1887703343990727, 0, 0.7310585786300049, 2.85772238046729 } },
        { { .mode = FM_SCALE, .alpha = 2, .beta = 1 }, { -3, 0, 1, 3, 7 } },
        { { .mode = FM_EXP }, { 0.1353352832366127, 0.60653065971263342, 1, 2.7182818284590451, 20.085536923187668 } },
        { { .mode = FM_LOG }, { NAN, NAN, -INFINITY, 0, 1.0986122886681098 } },
        { { .mode = FM_SQRT }, { NAN, NAN, 0, 1, 1.7320508075688772 } },
        { { .mode = FM_EQUAL, .alpha = 1 }, { 0, 0, 0, 1, 0 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fm_case c;
        vector_case(&c, FM_K_UNARY, rows[i].attr, 5, x);
        run(&c);
        expect(&c, 0, rows[i].y, 1e-13);
        fm_case_release(&c);
    }
    const double b[] = { 2, -0.5, 0, 0, 2 };
    const struct { struct fm_attr attr; double y[5]; } pairs[] = {
        { { .mode = FM_ADD, .alpha = 2 }, { 2, -1.5, 0, 1, 7 } },
        { { .mode = FM_SUB, .alpha = 1 }, { -4, 0, 0, 1, 1 } },
        { { .mode = FM_MUL }, { -4, 0.25, 0, 0, 6 } }, { { .mode = FM_DIV }, { -1, 1, NAN, INFINITY, 1.5 } },
        { { .mode = FM_AND }, { 1, 1, 0, 0, 1 } }, { { .mode = FM_OR }, { 1, 1, 0, 1, 1 } },
        { { .mode = FM_EQ }, { 0, 1, 1, 0, 0 } }, { { .mode = FM_MAX }, { 2, -0.5, 0, 1, 3 } },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct fm_case c;
        vector_case(&c, FM_K_BINARY, pairs[i].attr, 5, x);
        fm_case_in(&c, FM_F64, 1, S(5)), fm_case_set(&c, 2, b);
        run(&c);
        expect(&c, 0, pairs[i].y, 0);
        fm_case_release(&c);
    }
}

static void moving_data(void **state)
{
    (void)state;
    struct fm_case c;
    fm_case_init(&c, FM_K_CAT);
    c.attr.dim = 1;
    fm_case_out(&c, FM_F32, 2, S(2, 3)), fm_case_in(&c, FM_F32, 2, S(2, 1)), fm_case_in(&c, FM_F64, 2, S(2, 2));
    fm_case_set(&c, 1, V(1, 2)), fm_case_set(&c, 2, V(3, 4, 5, 6));
    run(&c);
    expect(&c, 0, V(1, 3, 4, 2, 5, 6), 0);
    c.operand[0].size[1] = 2;       /* the inputs add up to more */
    assert_int_equal(fm_case_run(&c, &fm_backend_ref, backend, NULL), FM_INVALID);
    fm_case_release(&c);

    fm_case_init(&c, FM_K_COPY);    /* casts */
    fm_case_out(&c, FM_I64, 1, S(4)), fm_case_in(&c, FM_F32, 1, S(4)), fm_case_set(&c, 1, V(-1.75, 2.5, 0, 9));
    run(&c);
    expect(&c, 0, V(-1, 2, 0, 9), 0);
    fm_case_release(&c);
    fm_case_init(&c, FM_K_COPY);
    fm_case_out(&c, FM_BOOL, 1, S(3)), fm_case_in(&c, FM_F32, 1, S(3)), fm_case_set(&c, 1, V(-0.25, 0, 3));
    run(&c);
    expect(&c, 0, V(1, 0, 1), 0);
    fm_case_release(&c);

    int64_t big[3] = { INT64_MAX, -7, 5 }, total = 0;       /* sums of i64 are exact */
    struct fm_operand o[2] = { { .dtype = FM_I64, .ndim = 1, .size = { 1 }, .stride = { 1 } },
                               { .dtype = FM_I64, .ndim = 1, .size = { 3 }, .stride = { 1 } } };
    struct fm_attr one = { .alpha = 1 };
    void *address[] = { &total, big };
    struct fm_launch launch = { .problem = { FM_K_SUM, 1, 1, o, &one }, .address = address };
    assert_int_equal(fm_backend_ref.run(backend, &launch, NULL), FM_OK);
    assert_true(total == INT64_MAX - 2);

    fm_case_init(&c, FM_K_ARGMAX);
    c.attr.dim = 1;
    fm_case_out(&c, FM_I64, 2, S(3, 1)), fm_case_in(&c, FM_F32, 2, S(3, 4));
    fm_case_set(&c, 1, V(1, 3, 3, 2, -1, -2, -3, -4, 0, 5, NAN, 9));
    run(&c);
    expect(&c, 0, V(1, 0, 2), 0);
    fm_case_release(&c);
    fm_case_init(&c, FM_K_ARANGE);
    fm_case_out(&c, FM_I64, 1, S(4));
    run(&c);
    expect(&c, 0, V(0, 1, 2, 3), 0);
    fm_case_release(&c);
}

static void losses(void **state)
{
    (void)state;
    struct fm_case c;
    const double l2 = log(2), l4 = log(4);
    fm_case_init(&c, FM_K_NLL);     /* B 2, C 3, 2 positions; weights 1, 2, 4; class 1 ignored where told */
    c.attr.ignore_index = 1;
    fm_case_out(&c, FM_F64, 1, S(1)), fm_case_out(&c, FM_F64, 1, S(1));
    fm_case_in(&c, FM_F64, 3, S(2, 3, 2)), fm_case_in(&c, FM_I64, 2, S(2, 2)), fm_case_in(&c, FM_F64, 1, S(3));
    fm_case_set(&c, 2, V(-l2, -l4, -1, -1, -l4, -l2, -l4, -l2, -1, -1, -l2, -l4));
    fm_case_set(&c, 3, V(0, 1, 2, 2)), fm_case_set(&c, 4, V(1, 2, 4));
    run(&c);
    expect(&c, 1, V(9), 0);
    expect(&c, 0, V((l2 + 4 * l2 + 4 * l4) / 9), 1e-15);
    fm_case_set(&c, 3, V(1, 1, 1, 1));      /* nothing left: NaN, as torch */
    run(&c);
    expect(&c, 1, V(0), 0);
    expect(&c, 0, V(NAN), 0);
    fm_case_set(&c, 3, V(0, 3, 0, 0));
    assert_int_equal(fm_case_run(&c, &fm_backend_ref, backend, NULL), FM_INVALID);
    fm_case_release(&c);

    vector_case(&c, FM_K_SOFTMAX, (struct fm_attr){ .dim = 0 }, 3, V(1000, 1000 + l2, 1000 + l2 + l2));
    run(&c);
    expect(&c, 0, V(1.0 / 7, 2.0 / 7, 4.0 / 7), 1e-12);
    c.attr.mode = 1;
    run(&c);
    expect(&c, 0, V(-log(7), l2 - log(7), l4 - log(7)), 1e-12);
    fm_case_release(&c);

    const double half = 0.5;
    fm_case_init(&c, FM_K_INTERPOLATE);     /* one row of two pixels, doubled */
    fm_case_out(&c, FM_F64, 4, S(1, 1, 1, 4)), fm_case_in(&c, FM_F64, 4, S(1, 1, 1, 2)), fm_case_set(&c, 1, V(0, 1));
    run(&c);
    expect(&c, 0, V(0, half / 2, 1 - half / 2, 1), 1e-15);
    fm_case_release(&c);
}

static void norms(void **state)
{
    (void)state;
    struct fm_case c;
    fm_case_init(&c, FM_K_BATCH_NORM);      /* channel 0: 1, 2, 3, 6; channel 1: constant */
    c.attr = (struct fm_attr){ .eps = 0.5, .momentum = 0.25 };
    fm_case_out(&c, FM_F64, 3, S(2, 2, 2));
    for (int i = 0; i < 4; i++) fm_case_out(&c, FM_F64, 1, S(2));
    fm_case_in(&c, FM_F64, 3, S(2, 2, 2)), fm_case_in(&c, FM_F64, 1, S(2)), fm_case_in(&c, FM_F64, 1, S(2));
    fm_case_set(&c, 3, V(8, 4)), fm_case_set(&c, 4, V(1, 2));
    fm_case_set(&c, 5, V(1, 2, 5, 5, 3, 6, 5, 5)), fm_case_set(&c, 6, V(2, 3)), fm_case_set(&c, 7, V(10, 20));
    run(&c);        /* variance 3.5, unbiased 14 / 3 */
    expect(&c, 0, V(8, 9, 20, 20, 10, 13, 20, 20), 1e-15);
    expect(&c, 1, V(3, 5), 1e-15), expect(&c, 2, V(0.5, 1 / sqrt(0.5)), 1e-15);
    expect(&c, 3, V(0.75 * 8 + 0.25 * 3, 0.75 * 4 + 0.25 * 5), 1e-15);
    expect(&c, 4, V(0.75 + 0.25 * 14 / 3, 1.5), 1e-15);
    fm_case_release(&c);

    fm_case_init(&c, FM_K_BATCH_NORM_EVAL);
    c.attr.eps = 1;
    fm_case_out(&c, FM_F64, 2, S(1, 2)), fm_case_in(&c, FM_F64, 2, S(1, 2)), fm_case_set(&c, 1, V(7, 8));
    for (int i = 0; i < 4; i++) fm_case_in(&c, FM_F64, 1, S(2));
    fm_case_set(&c, 2, V(2, 3)), fm_case_set(&c, 3, V(10, 20)), fm_case_set(&c, 4, V(3, 4));
    fm_case_set(&c, 5, V(3, 0));
    run(&c);
    expect(&c, 0, V(14, 32), 1e-15);
    fm_case_release(&c);

    fm_case_init(&c, FM_K_LAYER_NORM);      /* the same as a group norm of one group over a row */
    fm_case_out(&c, FM_F64, 2, S(1, 2)), fm_case_out(&c, FM_F64, 2, S(1, 1)), fm_case_out(&c, FM_F64, 2, S(1, 1));
    fm_case_in(&c, FM_F64, 2, S(1, 2)), fm_case_in(&c, FM_F64, 1, S(2)), fm_case_in(&c, FM_F64, 1, S(2));
    fm_case_set(&c, 3, V(2, 6)), fm_case_set(&c, 4, V(1, 3)), fm_case_set(&c, 5, V(0, 1));
    run(&c);
    expect(&c, 0, V(-1, 4), 1e-15), expect(&c, 1, V(4), 0), expect(&c, 2, V(0.5), 0);
    fm_case_release(&c);
}

static void list_case(struct fm_case *c, enum fm_kernel kernel, struct fm_attr attr, int operands)
{
    fm_case_init(c, kernel);
    c->attr = attr;
    for (int i = 0; i < operands; i++) fm_case_out(c, FM_F64, 1, S(1));
}

static void sgd(void **state)
{
    (void)state;
    const struct { struct fm_attr attr; double p[3]; } rows[] = {      /* gradient 1, three steps from 1 */
        { { .lr = 0.5 }, { 0.5, 0, -0.5 } },
        { { .lr = 0.5, .momentum = 0.5 }, { 0.5, -0.25, -1.125 } },                     /* buf 1, 1.5, 1.75 */
        { { .lr = 0.5, .momentum = 0.5, .nesterov = 1 }, { 0.25, -0.625, -1.5625 } },   /* 1.5, 1.75, 1.875 */
        { { .lr = 0.5, .weight_decay = 1 }, { 0, -0.5, -0.75 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fm_case c;
        list_case(&c, FM_K_SGD, rows[i].attr, rows[i].attr.momentum > 0 ? 3 : 2);
        if (c.n_out == 2) fm_case_absent(&c, true);
        fm_case_set_one(&c, 0, 0, 1);
        for (c.step = 0; c.step < 3; c.step++) {
            fm_case_set_one(&c, 1, 0, 1);
            run(&c);
            expect(&c, 0, &rows[i].p[c.step], 1e-15);
        }
        fm_case_release(&c);
    }
}

/* Adam's formula written down once more, over three steps with changing gradients */
static void adam(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        bool decoupled = variant & 1, amsgrad = variant & 2;
        struct fm_case c;
        struct fm_attr attr = { .lr = 0.1, .alpha = 0.9, .beta = 0.5, .eps = 1e-3, .weight_decay = 0.2,
                                .decoupled = decoupled, .amsgrad = amsgrad };
        list_case(&c, FM_K_ADAM, attr, 6);
        const double g[] = { 3, -0.5, 0.25 }, wd = attr.weight_decay, lr = attr.lr;
        double p = 2, m = 0, v = 0, most = 0, b1 = 1, b2 = 1;
        for (uint32_t i = 0; i < 5; i++) fm_case_set_one(&c, i, 0, i ? 0 : p);
        for (c.step = 0; c.step < 3; c.step++) {
            double gradient = g[c.step] + (decoupled ? 0 : wd * p);
            if (decoupled) p -= lr * wd * p;
            m += 0.1 * (gradient - m), v += 0.5 * (gradient * gradient - v), most = fmax(most, v);
            b1 *= 0.9, b2 *= 0.5;
            p -= lr * (m / (1 - b1)) / (sqrt((amsgrad ? most : v) / (1 - b2)) + 1e-3);
            fm_case_set_one(&c, 5, 0, g[c.step]);
            run(&c);
            expect(&c, 0, &p, 1e-14), expect(&c, 1, &m, 1e-14), expect(&c, 2, &v, 1e-14);
            if (amsgrad) expect(&c, 3, &most, 1e-14);
            expect(&c, 5, &g[c.step], 0);
        }
        fm_case_release(&c);
    }
}

static void loss_scaling(void **state)
{
    (void)state;
    struct fm_case c;
    fm_case_init(&c, FM_K_AMP_UNSCALE);
    fm_case_out(&c, FM_F32, 1, S(1)), fm_case_out(&c, FM_F32, 1, S(2)), fm_case_out(&c, FM_F16, 1, S(1));
    fm_case_in(&c, FM_F32, 1, S(1));
    fm_case_set(&c, 1, V(8, 4)), fm_case_set(&c, 2, V(16)), fm_case_set(&c, 3, V(4));
    run(&c);
    expect(&c, 0, V(0), 0), expect(&c, 1, V(2, 1), 0), expect(&c, 2, V(4), 0);
    fm_case_set(&c, 2, V(INFINITY));
    run(&c);
    expect(&c, 0, V(1), 0);
    fm_case_release(&c);

    const double rows[][5] = { /* scale, tracker, found -> scale, tracker */
        { 8, 5, 0, 8, 6 }, { 8, 1999, 0, 16, 0 }, { 8, 1998, 0, 8, 1999 }, { 8, 1999, 1, 4, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fm_case_init(&c, FM_K_AMP_UPDATE);
        fm_case_out(&c, FM_F32, 1, S(1)), fm_case_out(&c, FM_I64, 1, S(1)), fm_case_in(&c, FM_F32, 1, S(1));
        for (uint32_t k = 0; k < 3; k++) fm_case_set(&c, k, &rows[i][k]);
        run(&c);
        expect(&c, 0, &rows[i][3], 0), expect(&c, 1, &rows[i][4], 0);
        fm_case_release(&c);
    }
    list_case(&c, FM_K_SGD, (struct fm_attr){ .lr = 1 }, 2);    /* infinities found: nothing happens */
    fm_case_absent(&c, true);
    fm_case_in(&c, FM_F32, 1, S(1));
    for (uint32_t k = 0; k < 2; k++) fm_case_set_one(&c, k, 0, 5);
    fm_case_set(&c, 3, V(1));
    run(&c);
    expect(&c, 0, V(5), 0);
    fm_case_set(&c, 3, V(0));
    run(&c);
    expect(&c, 0, V(0), 0);
    fm_case_release(&c);
}

static void random_streams(void **state)
{
    (void)state;
    const int64_t n = 4000;
    struct fm_case c;
    fm_case_init(&c, FM_K_DROPOUT);
    c.attr = (struct fm_attr){ .alpha = 0.25, .stream = 5 };
    c.seed = 9, c.step = 2;
    fm_case_out(&c, FM_F32, 1, &n), fm_case_out(&c, FM_BOOL, 1, &n), fm_case_in(&c, FM_F32, 1, &n);
    for (int64_t i = 0; i < n; i++) fm_case_set_one(&c, 2, i, 3);
    run(&c);
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        bool keep = fm_rng_uniform(9, 5 + 2 * FM_STREAMS_PER_STEP, (uint64_t)i) >= 0.25f;
        assert_true(fm_case_get_one(&c, 1, i) == keep);
        assert_true(fm_case_get_one(&c, 0, i) == (keep ? 4 : 0));
        kept += keep;
    }
    assert_in_range(kept, 2900, 3100);
    fm_case_release(&c);

    fm_case_init(&c, FM_K_BERNOULLI);
    c.attr.alpha = 0.5;
    fm_case_out(&c, FM_F32, 1, &n);
    run(&c);
    for (int64_t i = 0; i < n; i++)
        assert_true(fm_case_get_one(&c, 0, i) == (fm_rng_uniform(1, 0, (uint64_t)i) < 0.5f ? 2 : 0));
    fm_case_release(&c);

    for (uint8_t mode = 0; mode < 3; mode++) {
        double mean = 0, square = 0, alpha = 0.5;
        fm_case_init(&c, FM_K_INIT);
        c.attr = (struct fm_attr){ .mode = mode, .alpha = alpha, .stream = 3 };
        c.step = 7;     /* does not matter */
        fm_case_out(&c, FM_F64, 1, &n);
        run(&c);
        for (int64_t i = 0; i < n; i++) {
            double x = fm_case_get_one(&c, 0, i);
            mean += x / (double)n, square += x * x / (double)n;
            if (mode == 1) assert_true(x == alpha * (2 * (double)fm_rng_uniform(1, 3, (uint64_t)i) - 1));
        }
        double expected = mode == 0 ? alpha * alpha : mode == 1 ? alpha * alpha / 3 : alpha * alpha;
        assert_true(fabs(mean - (mode ? 0 : alpha)) < 0.03 && fabs(square / expected - 1) < 0.06);
        fm_case_release(&c);
    }
}

/* labels fit inputs: every class is about as frequent as chance has it and one level tells it */
static void the_data_set(void **state)
{
    (void)state;
    const enum fm_input kinds[][2] = { { FM_INPUT_VOLUME, FM_INPUT_VOLUME_LABELS },
                                       { FM_INPUT_IMAGE, FM_INPUT_IMAGE_LABELS } };
    for (int k = 0; k < 2; k++) {
        const int64_t sizes[2][5] = { { 3, 1, 16, 12, 14 }, { 3, 3, 40, 50 } }, *size = sizes[k];
        int ndim = k ? 4 : 5;
        int64_t channels = size[1], positions = k ? 2000 : 16 * 12 * 14;
        const int64_t label_sizes[2][4] = { { 3, 16, 12, 14 }, { 3, 40, 50 } };
        struct fm_case x, y;
        fm_case_init(&x, FM_K_INPUT), fm_case_init(&y, FM_K_INPUT);
        x.attr = (struct fm_attr){ .mode = (uint8_t)kinds[k][0], .alpha = 4, .groups = 2, .stream = 1 };
        y.attr = x.attr, y.attr.mode = (uint8_t)kinds[k][1];
        fm_case_out(&x, FM_F64, ndim, size), fm_case_out(&y, FM_I64, ndim - 1, label_sizes[k]);
        double low[4][3], high[4][3];
        int64_t count[4] = { 0 };
        for (int i = 0; i < 12; i++) low[i / 3][i % 3] = INFINITY, high[i / 3][i % 3] = -INFINITY;
        for (x.step = y.step = 0; x.step < 20; x.step++, y.step++) {
            run(&x), run(&y);
            for (int64_t i = 0; i < 3 * positions; i++) {
                int64_t label = (int64_t)fm_case_get_one(&y, 0, i);
                assert_in_range(label, 0, 3);
                count[label]++;
                for (int64_t c = 0; c < channels; c++) {
                    int64_t at = (i / positions * channels + c) * positions + i % positions;
                    double v = fm_case_get_one(&x, 0, at);
                    low[label][c] = fmin(low[label][c], v), high[label][c] = fmax(high[label][c], v);
                }
            }
        }
        for (int a = 0; a < 4; a++) {
            assert_true(count[a] > 1000);
            for (int b = 0; b < a; b++) {       /* some channel's ranges do not overlap */
                bool apart = false;
                for (int64_t c = 0; c < channels; c++)
                    apart = apart || high[a][c] < low[b][c] || high[b][c] < low[a][c];
                assert_true(apart);
            }
        }
        fm_case_release(&x), fm_case_release(&y);
    }
}

/* element b of micro-batch m in step s is one example, however batches are cut */
static void examples_are_numbered(void **state)
{
    (void)state;
    struct fm_case small, large;
    fm_case_init(&small, FM_K_INPUT), fm_case_init(&large, FM_K_INPUT);
    small.attr = large.attr = (struct fm_attr){ .mode = FM_INPUT_IMAGE, .alpha = 3, .groups = 2, .stream = 1 };
    large.attr.groups = 1, large.attr.stream = 0;
    fm_case_out(&small, FM_F32, 4, S(2, 3, 4, 5)), fm_case_out(&large, FM_F32, 4, S(4, 3, 4, 5));
    small.step = large.step = 3;
    run(&small), run(&large);
    for (int64_t i = 0; i < 120; i++)       /* the second half of the large batch */
        assert_true(fm_case_get_one(&small, 0, i) == fm_case_get_one(&large, 0, 120 + i));
    small.attr.beta = large.attr.beta = 1;  /* one fixed batch */
    run(&large);
    double first = fm_case_get_one(&large, 0, 0);
    large.step = 9;
    run(&large);
    assert_true(fm_case_get_one(&large, 0, 0) == first);
    fm_case_release(&small), fm_case_release(&large);
}

static void bad_problems_are_refused(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_case c;
    for (int kernel = 0; kernel < FM_KERNEL_COUNT; kernel++) {     /* none takes 7 outputs and 9 inputs */
        fm_case_init(&c, (enum fm_kernel)kernel);
        for (int i = 0; i < 7; i++) fm_case_out(&c, FM_F32, 0, NULL);
        for (int i = 0; i < 9; i++) fm_case_in(&c, FM_F32, 0, NULL);
        assert_int_equal(fm_case_run(&c, &fm_backend_ref, backend, NULL), FM_INVALID);
        fm_case_release(&c);
    }
    vector_case(&c, FM_K_SOFTMAX, (struct fm_attr){ .dim = 1 }, 3, V(1, 2, 3));
    assert_int_equal(fm_case_run(&c, &fm_backend_ref, backend, &err), FM_INVALID);
    assert_string_equal(err.text, "SOFTMAX: dimension 1 of 1");
    fm_case_release(&c);
    struct fm_device_info info;
    assert_int_equal(fm_backend_ref.info(backend, &info, NULL), FM_OK);
    assert_string_equal(info.id, "ref");
    struct fm_backend *none = NULL;
    fm_fault = (struct fm_fault){ .armed = true };
    fm_status status = fm_backend_ref.open(NULL, &none, NULL);
    fm_fault = (struct fm_fault){ 0 };
    assert_int_equal(status, FM_NOMEM);
    fm_backend_ref.close(NULL);
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
        cmocka_unit_test(sixteen_bits_round_to_nearest_even), cmocka_unit_test(unary_and_binary),
        cmocka_unit_test(moving_data), cmocka_unit_test(losses), cmocka_unit_test(norms), cmocka_unit_test(sgd),
        cmocka_unit_test(adam), cmocka_unit_test(loss_scaling), cmocka_unit_test(random_streams),
        cmocka_unit_test(the_data_set), cmocka_unit_test(examples_are_numbered),
        cmocka_unit_test(bad_problems_are_refused),
    };
    return cmocka_run_group_tests(tests, open_backend, close_backend);
}
