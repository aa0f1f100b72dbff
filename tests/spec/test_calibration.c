/* Efficiencies from synthetic steps whose efficiencies are known: exact, noisy, with outliers, and where points cannot tell. */
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "tuner/campaign/calibration.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define N FM_ROOFLINE_CLASS_COUNT
#define POINTS 48

/* points of `cells` cells that mix the classes in `mask`; measured time = sum of bound / efficiency, with relative noise */
struct world {
    unsigned mask;
    double efficiency[N], noise;
    uint32_t cells;
};

/* draws of one stream, one after the other */
struct draws { uint64_t stream, next; };

static double uniform(struct draws *d) { return fm_rng_uniform_f64(1, d->stream, d->next++); }
static double normal(struct draws *d) { return fm_rng_normal(2, d->stream, d->next++); }
static unsigned below(struct draws *d, unsigned end) { return (unsigned)(fm_rng_u64(3, d->stream, d->next++) % end); }

static double true_seconds(const struct world *w, const struct fm_roofline *bound)
{
    double sum = 0;
    for (int c = 0; c < N; c++)
        if (bound->seconds[c] > 0) sum += bound->seconds[c] / w->efficiency[c];
    return sum;
}

static struct fm_roofline mixed(struct draws *d, unsigned mask, double scale)
{
    struct fm_roofline bound = { .seconds = { 0 } };
    for (int c = 0; c < N; c++)
        if (mask >> c & 1) bound.seconds[c] = scale * (0.05 + uniform(d));
    return bound;
}

static void make(struct draws *d, const struct world *w, struct fm_calibration_point point[POINTS])
{
    for (int i = 0; i < POINTS; i++) {
        point[i].bound = mixed(d, w->mask, pow(10, 4 * uniform(d) - 3));
        point[i].seconds = true_seconds(w, &point[i].bound) * (1 + w->noise * normal(d));
        point[i].cell = (uint32_t)i % w->cells;
    }
}

static struct world some_world(struct draws *d, double noise)
{
    struct world w = { .noise = noise, .cells = 3 + below(d, 20) };
    w.mask = (1u << FM_ROOFLINE_REST) | below(d, 1u << N);
    for (int c = 0; c < N; c++) w.efficiency[c] = 0.15 + 0.8 * uniform(d);
    return w;
}

static void fit(const struct fm_calibration_point *point, size_t count, struct fm_calibration *out)
{
    struct fm_err err = { 0 };
    if (fm_calibration_fit(point, count, out, &err) != FM_OK) fail_msg("%s", err.text);
}

static void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance * want)) fail_msg("%s: %g, not %g", what, got, want);
}

static void known_efficiencies_come_back(void **state)
{
    (void)state;
    struct draws rng = { .stream = 1 };
    struct fm_calibration_point point[POINTS];
    for (int t = 0; t < 60; t++) {
        struct world w = some_world(&rng, t % 2 ? 0.02 : 0);
        struct fm_calibration c;
        make(&rng, &w, point);
        fit(point, POINTS, &c);
        assert_int_equal(c.points, POINTS);
        for (int k = 0; k < N; k++) {
            assert_int_equal(c.known[k], w.mask >> k & 1);
            if (c.known[k]) near(c.efficiency[k], w.efficiency[k], t % 2 ? 0.25 : 0.002, fm_roofline_class_name((enum fm_roofline_class)k));
            else assert_true(isnan(c.efficiency[k]));
        }
        /* a step that was not among them */
        enum fm_roofline_class missing;
        struct fm_roofline other = mixed(&rng, w.mask, 1);
        near(fm_calibration_seconds(&c, &other, &missing), true_seconds(&w, &other), t % 2 ? 0.04 : 0.001, "another step");
        assert_true(c.error <= (t % 2 ? 0.12 : 0.002));
    }
}

/* a fifth of the steps took one and a half to three times as long, as on a GPU that was throttled or shared */
static void outliers_have_no_say(void **state)
{
    (void)state;
    struct draws rng = { .stream = 2 };
    struct fm_calibration_point point[POINTS];
    for (int t = 0; t < 40; t++) {
        struct world w = some_world(&rng, 0.01);
        struct fm_calibration c;
        make(&rng, &w, point);
        for (int i = 0; i < POINTS; i += 5) point[i].seconds *= 1.5 + 1.5 * uniform(&rng);
        fit(point, POINTS, &c);
        assert_true(c.left_out >= 8 && c.left_out <= 24);
        enum fm_roofline_class missing;
        struct fm_roofline other = mixed(&rng, w.mask, 1);
        near(fm_calibration_seconds(&c, &other, &missing), true_seconds(&w, &other), 0.04, "another step");
    }
}

/* One point, or points of one mixture alone: the classes cannot be told apart, so they are alike, and the mixture is met. */
static void what_cannot_be_told_is_alike(void **state)
{
    (void)state;
    struct draws rng = { .stream = 3 };
    for (size_t count = 1; count <= 12; count++) {
        struct fm_calibration_point point[12];
        struct world w = some_world(&rng, 0);
        struct fm_roofline bound = mixed(&rng, w.mask, 1);
        double whole = fm_roofline_seconds(&bound), one = whole / true_seconds(&w, &bound);
        for (size_t i = 0; i < count; i++) {
            double scale = 1 + 3 * uniform(&rng);
            point[i] = (struct fm_calibration_point){ .seconds = scale * true_seconds(&w, &bound), .cell = (uint32_t)i };
            for (int c = 0; c < N; c++) point[i].bound.seconds[c] = scale * bound.seconds[c];
        }
        struct fm_calibration c;
        fit(point, count, &c);
        for (int k = 0; k < N; k++)
            if (c.known[k]) near(c.efficiency[k], one, 1e-6, "efficiency");
        assert_true(count < 3 ? isnan(c.error) : c.error < 1e-6);
        assert_int_equal(c.left_out, 0);
    }
}

/* no efficiency above 1, even where a class seems faster than its bound: the others are then fitted without it */
static void never_above_one(void **state)
{
    (void)state;
    struct draws rng = { .stream = 4 };
    struct fm_calibration_point point[POINTS];
    for (int t = 0; t < 40; t++) {
        struct world w = some_world(&rng, 0.01);
        struct fm_calibration c;
        int fast = (int)below(&rng, N);
        w.mask |= 1u << fast;
        w.efficiency[fast] = 1.3;
        make(&rng, &w, point);
        fit(point, POINTS, &c);
        for (int k = 0; k < N; k++) assert_true(!c.known[k] || (c.efficiency[k] > 0 && c.efficiency[k] <= 1));
        assert_true(c.efficiency[fast] > 0.9);
    }
    /* all of it faster than possible: efficiency 1, and the error says that it does not suit */
    struct world impossible = { .mask = 1u << FM_ROOFLINE_REST, .cells = POINTS };
    for (int k = 0; k < N; k++) impossible.efficiency[k] = 2;
    struct fm_calibration c;
    make(&rng, &impossible, point);
    fit(point, POINTS, &c);
    assert_true(c.efficiency[FM_ROOFLINE_REST] == 1);
    near(c.error, 1, 1e-9, "error");
}

/* a class that no measured step had: not known, unless it is next to nothing of the step */
static void nothing_is_extrapolated_silently(void **state)
{
    (void)state;
    struct draws rng = { .stream = 5 };
    struct fm_calibration_point point[POINTS];
    struct world w = { .mask = 1u << FM_ROOFLINE_CONV_FP32 | 1u << FM_ROOFLINE_REST, .cells = 8 };
    for (int k = 0; k < N; k++) w.efficiency[k] = 0.5;
    make(&rng, &w, point);
    struct fm_calibration c;
    fit(point, POINTS, &c);
    for (int k = 0; k < N; k++) {
        enum fm_roofline_class missing = FM_ROOFLINE_REST;
        struct fm_roofline bound = { .seconds = { 0 } };
        bound.seconds[FM_ROOFLINE_REST] = 1;
        bound.seconds[k] += 0.04;
        near(fm_calibration_seconds(&c, &bound, &missing), 2 * fm_roofline_seconds(&bound), 1e-6, "a trace of it");
        bound.seconds[k] += 0.2;
        double seconds = fm_calibration_seconds(&c, &bound, &missing);
        assert_int_equal(isnan(seconds) != 0, !c.known[k]);
        if (!c.known[k]) assert_int_equal(missing, k);
    }
    assert_true(!c.known[FM_ROOFLINE_CONV_FP16] && c.known[FM_ROOFLINE_CONV_FP32]);
}

/* the same points in another order, or in another unit of time */
static void order_and_scale_change_nothing(void **state)
{
    (void)state;
    struct draws rng = { .stream = 6 };
    struct fm_calibration_point point[POINTS], turned[POINTS];
    for (int t = 0; t < 10; t++) {
        struct world w = some_world(&rng, 0.03);
        struct fm_calibration a, b;
        make(&rng, &w, point);
        for (int i = 0; i < POINTS; i++) {
            turned[POINTS - 1 - i] = point[i];
            for (int k = 0; k < N; k++) turned[POINTS - 1 - i].bound.seconds[k] *= 8;
            turned[POINTS - 1 - i].seconds *= 8;
        }
        fit(point, POINTS, &a);
        fit(turned, POINTS, &b);
        for (int k = 0; k < N; k++)
            if (a.known[k]) near(b.efficiency[k], a.efficiency[k], 1e-6, "efficiency");
        near(b.error, a.error, 1e-6, "error");
    }
}

static void bad_points_and_faults(void **state)
{
    (void)state;
    struct fm_calibration c;
    struct fm_err err = { 0 };
    struct fm_calibration_point point[3] = { 0 };
    assert_int_equal(fm_calibration_fit(point, 0, &c, &err), FM_INVALID);
    assert_int_equal(fm_calibration_fit(point, 1, &c, &err), FM_INVALID);
    point[0].bound.seconds[0] = 1;
    assert_int_equal(fm_calibration_fit(point, 1, &c, &err), FM_INVALID);
    point[0].seconds = NAN;
    assert_int_equal(fm_calibration_fit(point, 1, &c, &err), FM_INVALID);
    point[0].seconds = 2;
    point[0].bound.seconds[1] = NAN;
    assert_int_equal(fm_calibration_fit(point, 1, &c, &err), FM_INVALID);
    point[0].bound.seconds[1] = 0;
    assert_int_equal(fm_calibration_fit(point, 1, &c, &err), FM_OK);
    near(c.efficiency[0], 0.5, 1e-9, "one point");
    fm_fault = (struct fm_fault){ .armed = true };
    assert_int_equal(fm_calibration_fit(point, 1, &c, &err), FM_NOMEM);
    fm_fault = (struct fm_fault){ 0 };
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_efficiencies_come_back), cmocka_unit_test(outliers_have_no_say),
        cmocka_unit_test(what_cannot_be_told_is_alike), cmocka_unit_test(never_above_one),
        cmocka_unit_test(nothing_is_extrapolated_silently), cmocka_unit_test(order_and_scale_change_nothing),
        cmocka_unit_test(bad_points_and_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
