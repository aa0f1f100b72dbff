/* SUM and ARGMAX.
 *
 * SUM joins x with y expanded (stride 0 where reduced), and splits x's dimensions into kept and reduced ones. Where
 * few results are kept, threads take parts of the reduced range and leave partial sums in workspace; where many are,
 * threads take results. Floats are added in f32 within blocks and in f64 across them; integers in i64. */
#include "probes/backends/cpu/kernels_internal.h"

#define MANY_RESULTS 4096

struct axes {
    int ndim;
    int64_t size[FM_MAX_DIMS], from[FM_MAX_DIMS], to[FM_MAX_DIMS]; /* innermost first; strides in x and in y */
    int64_t numel;
};

struct sum {
    const char *x;
    char *y;
    enum fm_dtype dtype, to_dtype;
    bool integer, by_column;
    struct axes kept, reduced;       /* without the innermost run */
    int64_t run, run_stride, run_to; /* the innermost dimension: reduced, or kept if by_column */
    int64_t results;                 /* kept.numel times the columns */
    int64_t units;                   /* reduced.numel, of whole runs */
    double alpha;
    int parts;       /* > 1: partials of the reduced range in workspace */
    double *partial; /* parts x results */
    int64_t *exact;  /* the same memory, for integers */
};

static void axes_push(struct axes *axes, int64_t size, int64_t from, int64_t to)
{
    axes->size[axes->ndim] = size;
    axes->from[axes->ndim] = from;
    axes->to[axes->ndim++] = to;
    axes->numel *= size;
}

static void axes_at(const struct axes *axes, int64_t index, int64_t *from, int64_t *to)
{
    *from = *to = 0;
    for (int d = 0; d < axes->ndim; d++) {
        *from += index % axes->size[d] * axes->from[d];
        *to += index % axes->size[d] * axes->to[d];
        index /= axes->size[d];
    }
}

static void sum_plan(struct sum *s, const struct fm_problem *problem, void *const *data, int threads)
{
    const struct fm_operand *x = &problem->operand[problem->n_out];
    struct fm_operand y = fm_cpu_expand(&problem->operand[0], x);
    const struct fm_operand *operand[2] = { x, &y };
    void *pointer[2] = { data ? data[problem->n_out] : NULL, data ? data[0] : NULL };
    struct fm_cpu_view view[2];
    int64_t numel = fm_cpu_join(view, operand, pointer, 2, -1);
    *s = (struct sum){ .x = pointer[0], .y = pointer[1], .dtype = x->dtype, .to_dtype = y.dtype };
    s->integer = x->dtype == FM_I64 || x->dtype == FM_BOOL;
    s->kept.numel = s->reduced.numel = 1;
    s->by_column = view[1].stride[0] != 0;
    s->run = view[0].size[0];
    s->run_stride = view[0].stride[0];
    s->run_to = view[1].stride[0];
    for (int d = 1; d < view[0].ndim; d++) {
        struct axes *axes = view[1].stride[d] ? &s->kept : &s->reduced;
        axes_push(axes, view[0].size[d], view[0].stride[d], view[1].stride[d]);
    }
    s->units = s->reduced.numel;
    s->results = s->kept.numel * (s->by_column ? s->run : 1);
    bool few = s->results < MANY_RESULTS && s->results * 16 < numel;
    /* a full reduction has one run only: cut it */
    if (!s->by_column && few && s->units < threads && s->run >= FM_SMALL) {
        int64_t cut = s->run;
        for (int64_t piece = 4096; piece >= 64 && cut == s->run; piece /= 2) {
            if (s->run % piece == 0) cut = piece;
        }
        if (cut != s->run) {
            axes_push(&s->reduced, s->run / cut, s->run_stride * cut, 0);
            s->units = s->reduced.numel;
            s->run = cut;
        }
    }
    s->parts =
        few ? fm_cpu_parts(threads, s->units, fm_max_i64(1, FM_SMALL / fm_max_i64(1, numel / fm_max_i64(1, s->units))))
            : 1;
}

FM_CLONES static double add_row(const float *x, int64_t n)
{
    double total = 0;
    for (int64_t i = 0; i < n; i += FM_TILE) {
        int64_t m = n - i < FM_TILE ? n - i : FM_TILE;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < m; k++) sum += x[i + k];
        total += (double)sum;
    }
    return total;
}

static int64_t add_integers(const char *x, enum fm_dtype dtype, int64_t stride, int64_t n)
{
    int64_t total = 0;
    if (dtype == FM_I64) {
        const int64_t *value = (const int64_t *)(const void *)x;
        for (int64_t i = 0; i < n; i++) total += value[i * stride];
    } else if (stride == 1) {
        const uint8_t *value = (const uint8_t *)x;
        for (int64_t i = 0; i < n; i++) total += value[i] != 0;
    } else {
        for (int64_t i = 0; i < n; i++) total += x[i * stride] != 0;
    }
    return total;
}

/* one result of the row form over units [begin, end) of the reduced range */
static void sum_rows(const struct sum *s, int64_t at, int64_t begin, int64_t end, double *result, int64_t *exact)
{
    int64_t bytes = fm_dtype_bytes(s->dtype), from, to;
    float buffer[FM_TILE];
    for (int64_t unit = begin; unit < end; unit++) {
        axes_at(&s->reduced, unit, &from, &to);
        const char *x = s->x + (at + from) * bytes;
        if (s->integer) {
            *exact += add_integers(x, s->dtype, s->run_stride, s->run);
        } else if (s->dtype == FM_F32 && s->run_stride == 1) {
            *result += add_row((const float *)(const void *)x, s->run);
        } else {
            for (int64_t i = 0; i < s->run; i += FM_TILE) {
                int64_t n = fm_min_i64(FM_TILE, s->run - i);
                fm_cpu_row_load(buffer, x + i * s->run_stride * bytes, s->dtype, s->run_stride, n);
                *result += add_row(buffer, n);
            }
        }
    }
}

/* n columns of the column form */
static void sum_columns(const struct sum *s, int64_t at, int64_t begin, int64_t end, double *result, int64_t *exact,
                        int64_t n)
{
    int64_t bytes = fm_dtype_bytes(s->dtype), from, to;
    float buffer[FM_BLOCK];
    for (int64_t unit = begin; unit < end;) {
        int64_t rows = fm_min_i64(FM_BLOCK / n, end - unit);
        axes_at(&s->reduced, unit, &from, &to);
        const char *x = s->x + (at + from) * bytes;
        bool dense = s->run_stride == 1 && s->reduced.ndim && s->reduced.from[0] == n;
        if (s->reduced.ndim) rows = fm_min_i64(rows, s->reduced.size[0] - unit % s->reduced.size[0]);
        for (int64_t c = 0; s->integer && c < n; c++)
            exact[c] +=
                add_integers(x + c * s->run_stride * bytes, s->dtype, s->reduced.ndim ? s->reduced.from[0] : 0, rows);
        if (!s->integer && s->dtype == FM_F32 && dense) {
            fm_cpu_columns_add(result, (const float *)(const void *)x, n, rows, n);
        } else if (!s->integer) {
            if (dense) fm_cpu_row_load(buffer, x, s->dtype, 1, rows * n);
            for (int64_t r = 0; !dense && r < rows; r++)
                fm_cpu_row_load(buffer + r * n, x + r * (s->reduced.ndim ? s->reduced.from[0] : 0) * bytes, s->dtype,
                                s->run_stride, n);
            fm_cpu_columns_add(result, buffer, n, rows, n);
        }
        unit += rows;
    }
}

static void store_results(const struct sum *s, int64_t to, int64_t stride, const double *result, const int64_t *exact,
                          int64_t n)
{
    int64_t bytes = fm_dtype_bytes(s->to_dtype);
    for (int64_t i = 0; i < n; i++) {
        char *y = s->y + (to + i * stride) * bytes;
        double value = s->alpha * (s->integer ? (double)exact[i] : result[i]);
        float narrow = (float)value;
        int64_t whole = s->integer && s->alpha == 1.0 ? exact[i] : (int64_t)value;
        if (s->to_dtype == FM_I64)
            memcpy(y, &whole, sizeof whole);
        else
            fm_cpu_row_store(y, &narrow, s->to_dtype, 1, 1);
    }
}

/* sums of kept index k over units [begin, end), for the columns [first, first + n) */
static void sum_piece(const struct sum *s, int64_t k, const int64_t units[2], int64_t first, int64_t n, double *result,
                      int64_t *exact)
{
    int64_t from, to;
    axes_at(&s->kept, k, &from, &to);
    if (s->by_column)
        sum_columns(s, from + first * s->run_stride, units[0], units[1], result, exact, n);
    else
        sum_rows(s, from, units[0], units[1], result, exact);
}

/* many results: a range of (kept index, column group) */
static void sum_results(void *context, int64_t begin, int64_t end, int part)
{
    const struct sum *s = context;
    int64_t groups = s->by_column ? fm_ceil_div(s->run, FM_COLUMNS) : 1, from, to;
    (void)part;
    for (int64_t i = begin; i < end; i++) {
        double result[FM_COLUMNS] = { 0 };
        int64_t exact[FM_COLUMNS] = { 0 }, units[2] = { 0, s->units };
        int64_t first = i % groups * FM_COLUMNS, n = s->by_column ? fm_min_i64(FM_COLUMNS, s->run - first) : 1;
        sum_piece(s, i / groups, units, first, n, result, exact);
        axes_at(&s->kept, i / groups, &from, &to);
        store_results(s, to + first * s->run_to, s->run_to, result, exact, n);
    }
}

/* few results: a range of the reduced units, all results */
static void sum_part(void *context, int64_t begin, int64_t end, int part)
{
    const struct sum *s = context;
    int64_t width = s->by_column ? s->run : 1, units[2] = { begin, end };
    memset(s->partial + part * s->results, 0, (size_t)s->results * sizeof *s->partial);
    for (int64_t k = 0; k < s->kept.numel; k++) {
        for (int64_t first = 0; first < width; first += FM_COLUMNS) {
            int64_t at = part * s->results + k * width + first;
            sum_piece(s, k, units, first, fm_min_i64(FM_COLUMNS, width - first), s->partial + at, s->exact + at);
        }
    }
}

static void sum_combine(const struct sum *s)
{
    int64_t width = s->by_column ? s->run : 1, from, to;
    for (int64_t i = 0; i < s->results; i++) {
        double total = 0;
        int64_t exact = 0;
        for (int p = 0; p < s->parts; p++) {
            if (s->integer)
                exact += s->exact[p * s->results + i];
            else
                total += s->partial[p * s->results + i];
        }
        axes_at(&s->kept, i / width, &from, &to);
        store_results(s, to + i % width * s->run_to, 0, &total, &exact, 1);
    }
}

int64_t fm_cpu_sum_bytes(const struct fm_problem *problem, int threads)
{
    struct sum s;
    sum_plan(&s, problem, NULL, threads);
    return s.parts > 1 ? fm_align(s.parts * s.results * (int64_t)sizeof(double)) : 0;
}

fm_status fm_cpu_sum(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct sum s;
    sum_plan(&s, &call->problem, call->data, call->threads);
    s.alpha = call->problem.attr->alpha;
    s.partial = call->workspace;
    s.exact = call->workspace;
    if (s.dtype == FM_F64 || s.to_dtype == FM_F64) return fm_cpu_unsupported(call, 0, "f64 is the oracle's", err);
    if (s.parts > 1) {
        fm_cpu_parallel(s.parts, s.units, 1, sum_part, &s);
        sum_combine(&s);
        return FM_OK;
    }
    int64_t work = s.kept.numel * (s.by_column ? fm_ceil_div(s.run, FM_COLUMNS) : 1);
    int64_t cost = s.units * (s.by_column ? fm_min_i64(FM_COLUMNS, s.run) : s.run);
    fm_cpu_parallel(call->threads, work, FM_SMALL / fm_max_i64(1, cost), sum_results, &s);
    return FM_OK;
}

struct argmax {
    struct fm_cpu_view view[2]; /* x with the dimension innermost, y expanded */
    int64_t n, rows;
};

/* NaN counts as the greatest */
FM_CLONES static int64_t first_greatest(const float *x, int64_t n)
{
    float top = x[0];
    uint32_t nan = 0;
#pragma omp simd reduction(max : top) reduction(| : nan)
    for (int64_t i = 0; i < n; i++) {
        top = x[i] > top ? x[i] : top;
        nan |= (uint32_t)(x[i] != x[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        if (nan ? x[i] != x[i] : x[i] == top) return i;
    }
    return 0;
}

static void argmax_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct argmax *a = context;
    float buffer[FM_TILE];
    (void)part;
    struct fm_cpu_runs runs;
    int64_t to = 0;
    fm_cpu_runs_begin(&runs, &a->view[1], begin * a->n, (end - begin) * a->n);
    for (int64_t row = begin; row < end; row++) {
        int64_t best = 0;
        float greatest = 0;
        for (int64_t i = 0; i < a->n; i += FM_TILE) {
            int64_t n = fm_min_i64(FM_TILE, a->n - i);
            const float *x = fm_cpu_view_load(&a->view[0], row * a->n + i, n, buffer);
            int64_t at = first_greatest(x, n);
            if (i == 0 || x[at] > greatest || (x[at] != x[at] && greatest == greatest)) best = i + at, greatest = x[at];
        }
        fm_cpu_runs_next(&runs, &to);
        ((int64_t *)(void *)a->view[1].data)[to] = best;
    }
}

fm_status fm_cpu_argmax(const struct fm_cpu_call *call, struct fm_err *err)
{
    int dim = call->problem.attr->dim;
    const struct fm_operand *x = fm_cpu_in(call, 0);
    struct fm_operand y = fm_cpu_expand(&call->problem.operand[0], x);
    const struct fm_operand *operand[2] = { x, &y };
    void *data[2] = { fm_cpu_in_data(call, 0), call->data[0] };
    struct argmax a = { .n = x->size[dim] };
    if (x->dtype == FM_I64 || x->dtype == FM_F64)
        return fm_cpu_unsupported(call, 1, "has ARGMAX for f32, bf16, f16 and bool", err);
    if (y.dtype != FM_I64) return fm_cpu_unsupported(call, 0, "ARGMAX gives i64", err);
    int64_t numel = fm_cpu_join(a.view, operand, data, 2, dim);
    if (numel == 0) return FM_OK;
    a.rows = numel / a.n;
    fm_cpu_parallel(call->threads, a.rows, FM_SMALL / a.n, argmax_rows, &a);
    return FM_OK;
}
