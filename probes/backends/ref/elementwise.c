#include "probes/backends/ref/kernels.h"

#include <math.h>

static bool is_integer(const struct fm_view *view)
{
    return view->o->dtype == FM_I64 || view->o->dtype == FM_BOOL;
}

fm_status fm_ref_fill(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct fm_view y = fm_ref_out(launch, 0);
    struct fm_index x = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &x))
        fm_view_store(&y, fm_view_distance(&y, &x), launch->problem.attr->alpha);
    return FM_OK;
}

static void copy(const struct fm_view *to, const struct fm_view *from)
{
    bool exact = is_integer(to) && is_integer(from);
    struct fm_index x = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(to->o); i++, fm_view_next(to, &x)) {
        int64_t t = fm_view_distance(to, &x), f = fm_view_distance(from, &x);
        if (exact) fm_view_store_i64(to, t, fm_view_load_i64(from, f));
        else fm_view_store(to, t, fm_view_load(from, f));
    }
}

fm_status fm_ref_copy(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct fm_view y = fm_ref_out(launch, 0), x = fm_ref_in(launch, 0);
    copy(&y, &x);
    return FM_OK;
}

fm_status fm_ref_cat(const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_view y = fm_ref_out(launch, 0), part = y;
    struct fm_operand shape = *y.o;
    int dim = launch->problem.attr->dim;
    int64_t start = 0;
    for (uint32_t k = 0; k < launch->problem.n_in; k++) {
        struct fm_view x = fm_ref_in(launch, k);
        shape.size[dim] = x.o->size[dim];
        part.o = &shape;
        part.first = y.first + start * y.o->stride[dim] * fm_dtype_bytes((enum fm_dtype)y.o->dtype);
        start += x.o->size[dim];
        if (start > y.o->size[dim]) break;
        copy(&part, &x);
    }
    if (start == y.o->size[dim]) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "CAT: the inputs add up to %lld along dimension %d, the output has %lld",
                   (long long)start, dim, (long long)y.o->size[dim]);
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

static double unary(const struct fm_attr *attr, double x)
{
    switch ((enum fm_unary)attr->mode) {
    case FM_RELU: return x < 0 ? 0 : x;         /* NaN stays */
    case FM_LEAKY_RELU: return x > 0 ? x : attr->alpha * x;
    case FM_GELU: return x * normal_cdf(x);
    case FM_SILU: return x / (1 + exp(-x));
    case FM_SCALE: return attr->alpha * x + attr->beta;
    case FM_LOG: return log(x);
    case FM_EXP: return exp(x);
    case FM_EQUAL: return x <= attr->alpha && x >= attr->alpha;
    case FM_SQRT: return sqrt(x);
    default: return NAN;
    }
}

fm_status fm_ref_unary(const struct fm_launch *launch, struct fm_err *err)
{
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view y = fm_ref_out(launch, 0), x = fm_ref_in(launch, 0);
    if (attr->mode >= FM_UNARY_COUNT) return FM_FAIL(err, FM_INVALID, "UNARY: no function %u", attr->mode);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at))
        fm_view_store(&y, fm_view_distance(&y, &at), unary(attr, fm_view_load(&x, fm_view_distance(&x, &at))));
    return FM_OK;
}

/* s: output for RELU, EXP and SQRT, input for the others (LEAKY_RELU: either) */
static double unary_derivative(const struct fm_attr *attr, double s)
{
    double sigmoid = 1 / (1 + exp(-s));
    switch ((enum fm_unary)attr->mode) {
    case FM_RELU: return s > 0;
    case FM_LEAKY_RELU: return s > 0 ? 1 : attr->alpha;
    case FM_GELU: return normal_cdf(s) + s * exp(-s * s / 2) / sqrt(2 * acos(-1));
    case FM_SILU: return sigmoid * (1 + s * (1 - sigmoid));
    case FM_SCALE: return attr->alpha;
    case FM_LOG: return 1 / s;
    case FM_EXP: return s;
    case FM_SQRT: return 1 / (2 * s);
    default: return NAN;
    }
}

fm_status fm_ref_unary_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view dx = fm_ref_out(launch, 0), g = fm_ref_in(launch, 0), s = fm_ref_in(launch, 1);
    if (attr->mode >= FM_UNARY_COUNT || attr->mode == FM_EQUAL)
        return FM_FAIL(err, FM_INVALID, "UNARY_BWD: function %u has no derivative", attr->mode);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(dx.o); i++, fm_view_next(&dx, &at)) {
        double slope = unary_derivative(attr, fm_view_load(&s, fm_view_distance(&s, &at)));
        double gradient = fm_view_load(&g, fm_view_distance(&g, &at));
        /* where RELU is flat the gradient is 0 even if an infinite one arrives, as in torch */
        bool flat = attr->mode == FM_RELU && slope <= 0;
        fm_view_store(&dx, fm_view_distance(&dx, &at), flat ? 0 : gradient * slope);
    }
    return FM_OK;
}

static double binary(const struct fm_attr *attr, double a, double b)
{
    switch ((enum fm_binary)attr->mode) {
    case FM_ADD: return a + attr->alpha * b;
    case FM_SUB: return a - attr->alpha * b;
    case FM_MUL: return a * b;
    case FM_DIV: return a / b;
    case FM_AND: return (a < 0 || a > 0) && (b < 0 || b > 0);
    case FM_EQ: return a <= b && a >= b;
    case FM_OR: return a < 0 || a > 0 || b < 0 || b > 0;
    case FM_MAX: return a > b || isnan(a) ? a : b;
    default: return NAN;
    }
}

fm_status fm_ref_binary(const struct fm_launch *launch, struct fm_err *err)
{
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view y = fm_ref_out(launch, 0), a = fm_ref_in(launch, 0), b = fm_ref_in(launch, 1);
    if (attr->mode >= FM_BINARY_COUNT) return FM_FAIL(err, FM_INVALID, "BINARY: no function %u", attr->mode);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        double va = fm_view_load(&a, fm_view_distance(&a, &at)), vb = fm_view_load(&b, fm_view_distance(&b, &at));
        fm_view_store(&y, fm_view_distance(&y, &at), binary(attr, va, vb));
    }
    return FM_OK;
}

fm_status fm_ref_sum(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    double alpha = launch->problem.attr->alpha;
    struct fm_view y = fm_ref_out(launch, 0), x = fm_ref_in(launch, 0), part = x;
    struct fm_operand reduced = *x.o;       /* the dimensions that are summed over, at one index of y */
    for (int d = 0; d < x.o->ndim; d++)
        if (y.o->size[d] == x.o->size[d]) reduced.size[d] = 1;
    part.o = &reduced;
    bool exact = is_integer(&x) && y.o->dtype == FM_I64;
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        int64_t base = fm_view_distance(&x, &at), count = 0;
        double total = 0;
        struct fm_index in = { { 0 } };
        for (int64_t k = 0; k < fm_operand_numel(&reduced); k++, fm_view_next(&part, &in)) {
            int64_t distance = base + fm_view_distance(&part, &in);
            if (exact) count += fm_view_load_i64(&x, distance);
            else total += fm_view_load(&x, distance);
        }
        if (exact && alpha <= 1 && alpha >= 1) fm_view_store_i64(&y, fm_view_distance(&y, &at), count);
        else fm_view_store(&y, fm_view_distance(&y, &at), alpha * (exact ? (double)count : total));
    }
    return FM_OK;
}

fm_status fm_ref_arange(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct fm_view y = fm_ref_out(launch, 0);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at))
        fm_view_store(&y, fm_view_distance(&y, &at), (double)i);
    return FM_OK;
}

/* the first of equals; NaN is larger than any number, as in torch */
fm_status fm_ref_argmax(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct fm_view y = fm_ref_out(launch, 0), x = fm_ref_in(launch, 0);
    int dim = launch->problem.attr->dim;
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        int64_t base = fm_view_distance(&x, &at), best = 0;
        for (int64_t k = 1; k < x.o->size[dim]; k++) {
            double value = fm_view_load(&x, base + k * x.o->stride[dim]);
            double most = fm_view_load(&x, base + best * x.o->stride[dim]);
            if (value > most || (isnan(value) && !isnan(most))) best = k;
        }
        fm_view_store_i64(&y, fm_view_distance(&y, &at), best);
    }
    return FM_OK;
}
