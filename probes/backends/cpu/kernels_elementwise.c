/* FILL, UNARY, UNARY_BWD, BINARY, DROPOUT_BWD: one pass over tiles (kernels_internal.h). */
#include "probes/backends/cpu/kernels_internal.h"
#include "probes/backends/cpu/kernels_math.h"

/* y = f(a, b) over a tile; b is NULL for one input */
typedef void tile_fn(const struct fm_attr *attr, int64_t n, float *y, const float *a, const float *b);
typedef double wide_fn(const struct fm_attr *attr, double a, double b);

struct tiles {
    struct fm_cpu_view view[3]; /* y, a, b */
    int inputs;
    int64_t numel;
    const struct fm_attr *attr;
    tile_fn *fn;
    wide_fn *wide;
};

static void run_tiles(void *context, int64_t begin, int64_t end, int part)
{
    const struct tiles *t = context;
    float buffer[3][FM_TILE];
    (void)part;
    for (int64_t i = begin * FM_TILE; i < fm_min_i64(end * FM_TILE, t->numel); i += FM_TILE) {
        int64_t n = fm_min_i64(FM_TILE, t->numel - i);
        const float *a = t->inputs > 0 ? fm_cpu_view_load(&t->view[1], i, n, buffer[1]) : NULL;
        const float *b = t->inputs > 1 ? fm_cpu_view_load(&t->view[2], i, n, buffer[2]) : NULL;
        float *y = fm_cpu_view_open(&t->view[0], i, n, buffer[0]);
        t->fn(t->attr, n, y, a, b);
        fm_cpu_view_close(&t->view[0], i, n, y);
    }
}

static void run_wide(void *context, int64_t begin, int64_t end, int part)
{
    const struct tiles *t = context;
    double y[FM_TILE], a[FM_TILE], b[FM_TILE];
    (void)part;
    for (int64_t i = begin * FM_TILE; i < fm_min_i64(end * FM_TILE, t->numel); i += FM_TILE) {
        int64_t n = fm_min_i64(FM_TILE, t->numel - i);
        if (t->inputs > 0) fm_cpu_view_load_f64(&t->view[1], i, n, a);
        if (t->inputs > 1) fm_cpu_view_load_f64(&t->view[2], i, n, b);
        for (int64_t k = 0; k < n; k++) y[k] = t->wide(t->attr, t->inputs > 0 ? a[k] : 0, t->inputs > 1 ? b[k] : 0);
        fm_cpu_view_store_f64(&t->view[0], i, n, y);
    }
}

static fm_status elementwise(const struct fm_cpu_call *call, tile_fn *fn, wide_fn *wide, struct fm_err *err)
{
    struct tiles t = { .inputs = (int)call->problem.n_in, .attr = call->problem.attr, .fn = fn, .wide = wide };
    const struct fm_operand *operand[3] = { 0 };
    bool exact = false;
    for (int k = 0; k <= t.inputs; k++) {
        operand[k] = &call->problem.operand[k];
        exact |= operand[k]->dtype == FM_I64 || operand[k]->dtype == FM_F64;
    }
    if (exact && !wide) return fm_cpu_need_float(call, err);
    t.numel = fm_cpu_join(t.view, operand, call->data, t.inputs + 1, -1);
    fm_cpu_parallel(call->threads, fm_ceil_div(t.numel, FM_TILE), FM_SMALL / FM_TILE, exact ? run_wide : run_tiles, &t);
    return FM_OK;
}

FM_CLONES static void unary_tile(const struct fm_attr *attr, int64_t n, float *y, const float *a, const float *b)
{
    float alpha = (float)attr->alpha, beta = (float)attr->beta;
    (void)b;
#define LOOP(expression)                                                                                               \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                                \
    {                                                                                                                  \
        float x = a[i];                                                                                                \
        y[i] = (expression);                                                                                           \
    }                                                                                                                  \
    break
    switch ((enum fm_unary)attr->mode) {
    case FM_RELU: LOOP(x < 0.0f ? 0.0f : x);
    case FM_LEAKY_RELU: LOOP(x > 0.0f ? x : x * alpha);
    case FM_GELU: LOOP(fm_geluf(x));
    case FM_SILU: LOOP(x * fm_sigmoidf(x));
    case FM_SCALE: LOOP(alpha * x + beta);
    case FM_LOG: LOOP(fm_logf(x));
    case FM_EXP: LOOP(fm_expf(x));
    case FM_EQUAL: LOOP(x == alpha ? 1.0f : 0.0f);
    case FM_SQRT: LOOP(sqrtf(x));
    case FM_UNARY_COUNT: break;
    }
#undef LOOP
}

static double unary_wide(const struct fm_attr *attr, double x, double unused)
{
    (void)unused;
    switch ((enum fm_unary)attr->mode) {
    case FM_RELU: return x < 0 ? 0 : x;
    case FM_LEAKY_RELU: return x > 0 ? x : x * attr->alpha;
    case FM_GELU: return 0.5 * x * (1 + erf(x * 0.70710678118654752));
    case FM_SILU: return x / (1 + exp(-x));
    case FM_SCALE: return attr->alpha * x + attr->beta;
    case FM_LOG: return log(x);
    case FM_EXP: return exp(x);
    case FM_EQUAL: return x == attr->alpha;
    case FM_SQRT: return sqrt(x);
    case FM_UNARY_COUNT: break;
    }
    return NAN;
}

FM_CLONES static void equal_integers(uint8_t *y, const int64_t *x, int64_t value, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] == value;
}

static void run_equal(void *context, int64_t begin, int64_t end, int part)
{
    const struct tiles *t = context;
    (void)part;
    equal_integers((uint8_t *)t->view[0].data + begin, (const int64_t *)(const void *)t->view[1].data + begin,
                   (int64_t)t->attr->alpha, end - begin);
}

/* class masks of metrics: dense labels, a whole number */
static bool equal_dense(const struct fm_cpu_call *call)
{
    const struct fm_operand *operand[2] = { &call->problem.operand[0], &call->problem.operand[1] };
    struct tiles t = { .attr = call->problem.attr };
    if (t.attr->mode != FM_EQUAL || operand[0]->dtype != FM_BOOL || operand[1]->dtype != FM_I64) return false;
    if (!(fabs(t.attr->alpha) < 0x1p53) || t.attr->alpha != (double)(int64_t)t.attr->alpha) return false;
    t.numel = fm_cpu_join(t.view, operand, call->data, 2, -1);
    if (!t.view[0].dense || !t.view[1].dense) return false;
    fm_cpu_parallel(call->threads, t.numel, 4 * FM_SMALL, run_equal, &t);
    return true;
}

fm_status fm_cpu_unary(const struct fm_cpu_call *call, struct fm_err *err)
{
    if (call->problem.attr->mode >= FM_UNARY_COUNT)
        return FM_FAIL(err, FM_UNSUPPORTED, "cpu UNARY: unknown mode %u", call->problem.attr->mode);
    if (equal_dense(call)) return FM_OK;
    return elementwise(call, unary_tile, unary_wide, err);
}

FM_CLONES static void unary_bwd_tile(const struct fm_attr *attr, int64_t n, float *y, const float *a, const float *b)
{
    float alpha = (float)attr->alpha;
#define LOOP(expression)                                                                                               \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                                \
    {                                                                                                                  \
        float g = a[i], s = b[i];                                                                                      \
        (void)s;                                                                                                       \
        y[i] = (expression);                                                                                           \
    }                                                                                                                  \
    break
    switch ((enum fm_unary)attr->mode) {
    case FM_RELU: LOOP(s > 0.0f ? g : 0.0f);
    case FM_LEAKY_RELU: LOOP(s > 0.0f ? g : g * alpha);
    case FM_GELU: LOOP(g * fm_gelu_slope(s));
    case FM_SILU: LOOP(g * fm_sigmoidf(s) * (1.0f + s * (1.0f - fm_sigmoidf(s))));
    case FM_SCALE: LOOP(g * alpha);
    case FM_LOG: LOOP(g / s);
    case FM_EXP: LOOP(g * s);
    case FM_SQRT: LOOP(g / (2.0f * s));
    default: break;
    }
#undef LOOP
}

fm_status fm_cpu_unary_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    if (call->problem.attr->mode >= FM_UNARY_COUNT || call->problem.attr->mode == FM_EQUAL)
        return FM_FAIL(err, FM_UNSUPPORTED, "cpu UNARY_BWD: mode %u has no derivative", call->problem.attr->mode);
    return elementwise(call, unary_bwd_tile, NULL, err);
}

FM_CLONES static void binary_tile(const struct fm_attr *attr, int64_t n, float *y, const float *a, const float *b)
{
    float alpha = (float)attr->alpha;
#define LOOP(expression)                                                                                               \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++)                                                                \
    {                                                                                                                  \
        float p = a[i], q = b[i];                                                                                      \
        y[i] = (expression);                                                                                           \
    }                                                                                                                  \
    break
    switch ((enum fm_binary)attr->mode) {
    case FM_ADD: LOOP(p + alpha * q);
    case FM_SUB: LOOP(p - alpha * q);
    case FM_MUL: LOOP(p * q);
    case FM_DIV: LOOP(p / q);
    case FM_AND: LOOP((float)((p != 0.0f) & (q != 0.0f)));
    case FM_EQ: LOOP(p == q ? 1.0f : 0.0f);
    case FM_OR: LOOP((float)((p != 0.0f) | (q != 0.0f)));
    case FM_MAX: LOOP(p > q ? p : (p == p ? q : p));
    case FM_BINARY_COUNT: break;
    }
#undef LOOP
}

static double binary_wide(const struct fm_attr *attr, double p, double q)
{
    switch ((enum fm_binary)attr->mode) {
    case FM_ADD: return p + attr->alpha * q;
    case FM_SUB: return p - attr->alpha * q;
    case FM_MUL: return p * q;
    case FM_DIV: return p / q;
    case FM_AND: return p != 0 && q != 0;
    case FM_EQ: return p == q;
    case FM_OR: return p != 0 || q != 0;
    case FM_MAX: return p > q || p != p ? p : q;
    case FM_BINARY_COUNT: break;
    }
    return NAN;
}

fm_status fm_cpu_binary(const struct fm_cpu_call *call, struct fm_err *err)
{
    if (call->problem.attr->mode >= FM_BINARY_COUNT)
        return FM_FAIL(err, FM_UNSUPPORTED, "cpu BINARY: unknown mode %u", call->problem.attr->mode);
    return elementwise(call, binary_tile, binary_wide, err);
}

FM_CLONES static void fill_tile(const struct fm_attr *attr, int64_t n, float *y, const float *a, const float *b)
{
    float alpha = (float)attr->alpha;
    (void)a, (void)b;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = alpha;
}

static double fill_wide(const struct fm_attr *attr, double a, double b)
{
    (void)a, (void)b;
    return attr->alpha;
}

fm_status fm_cpu_fill(const struct fm_cpu_call *call, struct fm_err *err)
{
    return elementwise(call, fill_tile, fill_wide, err);
}

FM_CLONES static void dropout_bwd_tile(const struct fm_attr *attr, int64_t n, float *y, const float *a, const float *b)
{
    float scale = (float)(1.0 / (1.0 - attr->alpha));
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = b[i] != 0.0f ? a[i] * scale : 0.0f;
}

fm_status fm_cpu_dropout_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    return elementwise(call, dropout_bwd_tile, NULL, err);
}
