/* SOFTMAX and its gradient, over rows: the dimension is made the innermost one of a join. */
#include "probes/backends/cpu/kernels_internal.h"
#include "probes/backends/cpu/kernels_math.h"

struct softmax {
    struct fm_cpu_view view[3]; /* y, x | dx, g, y */
    int64_t n, rows;
    bool log;
};

/* Rows are handled a block at a time, FM_TILE elements or one row if rows are longer. Very long rows are walked
 * in pieces, three times. */
#define LONG_ROW (2 * FM_TILE)

FM_CLONES static float row_max(const float *x, int64_t n)
{
    float top = x[0];
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

FM_CLONES static float row_exp(float *y, const float *x, float top, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        y[i] = fm_expf(x[i] - top);
        sum += y[i];
    }
    return sum;
}

FM_CLONES static float row_exp_sum(const float *x, float top, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += fm_expf(x[i] - top);
    return sum;
}

/* y = x * scale - shift */
FM_CLONES static void row_scale(float *y, const float *x, float scale, float shift, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale - shift;
}

/* Rows of at most NARROW elements: rows side by side in vectors, x and y as [element][row]. */
#define NARROW 8
#define LANES  (FM_TILE / NARROW)

FM_CLONES static void narrow_softmax(float *y, const float *x, int64_t n, int64_t rows, bool log)
{
    float top[LANES], sum[LANES];
    float in[NARROW][LANES];
    for (int64_t k = 0; k < n; k++) {
#pragma omp simd
        for (int64_t r = 0; r < rows; r++) in[k][r] = x[r * n + k];
    }
    for (int64_t r = 0; r < rows; r++) top[r] = in[0][r], sum[r] = 0;
    for (int64_t k = 1; k < n; k++) {
#pragma omp simd
        for (int64_t r = 0; r < rows; r++) top[r] = in[k][r] > top[r] ? in[k][r] : top[r];
    }
    for (int64_t k = 0; k < n; k++) {
#pragma omp simd
        for (int64_t r = 0; r < rows; r++) {
            float e = fm_exp_nonpositive(in[k][r] - top[r]);
            sum[r] += e;
            in[k][r] = log ? in[k][r] - top[r] : e;
        }
    }
#pragma omp simd
    for (int64_t r = 0; r < rows; r++) sum[r] = log ? fm_logf(sum[r]) : 1.0f / sum[r];
    for (int64_t k = 0; k < n; k++) {
#pragma omp simd
        for (int64_t r = 0; r < rows; r++) y[r * n + k] = log ? in[k][r] - sum[r] : in[k][r] * sum[r];
    }
}

/* Rows padded to whole vectors: loops over them have no remainder, whose exponentials would cost more than the rest.
 * Step by step over all rows of a block, since a row's reductions are long chains that only other rows can hide. */
#define LANE      16
#define PADDED(n) (((n) + LANE - 1) / LANE * LANE)

FM_CLONES static void padded_softmax(float *y, const float *x, int64_t n, int64_t rows, bool log)
{
    float block[PADDED(LONG_ROW)], result[FM_TILE / NARROW];
    int64_t whole = PADDED(n);
    for (int64_t r = 0; r < rows; r++) {
        float *row = block + r * whole, top = -(float)INFINITY;
        for (int64_t i = n; i < whole; i++) row[i] = -(float)INFINITY;
        memcpy(row, x + r * n, (size_t)n * sizeof *x);
#pragma omp simd reduction(max : top)
        for (int64_t i = 0; i < whole; i++) top = row[i] > top ? row[i] : top;
        result[r] = top;
    }
    for (int64_t r = 0; r < rows; r++) {
        float *row = block + r * whole, sum = 0, top = result[r];
        if (log) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < whole; i++) sum += fm_exp_nonpositive(row[i] - top);
            result[r] = top + logf(sum);
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < whole; i++) {
                row[i] = fm_exp_nonpositive(row[i] - top);
                sum += row[i];
            }
            result[r] = 1.0f / sum;
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *row = block + r * whole;
        float factor = log ? 1.0f : result[r], shift = log ? result[r] : 0.0f;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[r * n + i] = row[i] * factor - shift;
    }
}

static void softmax_block(const struct softmax *s, float *y, const float *x, int64_t rows)
{
    int64_t n = s->n;
    if (n > NARROW) padded_softmax(y, x, n, rows, s->log);
    for (int64_t r = 0; n <= NARROW && r < rows; r += LANES)
        narrow_softmax(y + r * n, x + r * n, n, fm_min_i64(LANES, rows - r), s->log);
}

static void long_row(const struct softmax *s, int64_t row)
{
    float in[FM_TILE], out[FM_TILE], top = -(float)INFINITY;
    double sum = 0;
    for (int pass = 0; pass < 3; pass++) {
        for (int64_t i = 0; i < s->n; i += FM_TILE) {
            int64_t n = fm_min_i64(FM_TILE, s->n - i), at = row * s->n + i;
            const float *x = fm_cpu_view_load(&s->view[1], at, n, in);
            float most = pass == 0 ? row_max(x, n) : 0;
            if (pass == 0) top = most > top || most != most ? most : top;
            if (pass == 1) sum += (double)row_exp_sum(x, top, n);
            if (pass < 2) continue;
            float *y = fm_cpu_view_open(&s->view[0], at, n, out);
            if (s->log)
                row_scale(y, x, 1.0f, top + (float)log(sum), n);
            else
                row_exp(y, x, top, n), row_scale(y, y, (float)(1 / sum), 0.0f, n);
            fm_cpu_view_close(&s->view[0], at, n, y);
        }
    }
}

static void softmax_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct softmax *s = context;
    float in[LONG_ROW], out[LONG_ROW];
    int64_t block = fm_max_i64(1, FM_TILE / s->n);
    (void)part;
    for (int64_t row = begin; row < end && s->n > LONG_ROW; row++) long_row(s, row);
    for (int64_t row = begin; row < end && s->n <= LONG_ROW; row += block) {
        int64_t rows = fm_min_i64(block, end - row), count = rows * s->n;
        const float *x = fm_cpu_view_load(&s->view[1], row * s->n, count, in);
        float *y = fm_cpu_view_open(&s->view[0], row * s->n, count, out);
        softmax_block(s, y, x, rows);
        fm_cpu_view_close(&s->view[0], row * s->n, count, y);
    }
}

/* joins the operands with attr.dim innermost; rows 0 if there is nothing to do */
static void join_rows(struct softmax *s, const struct fm_cpu_call *call, int count)
{
    const struct fm_operand *operand[3];
    int dim = call->problem.attr->dim;
    for (int k = 0; k < count; k++) operand[k] = &call->problem.operand[k];
    int64_t numel = fm_cpu_join(s->view, operand, call->data, count, dim);
    s->n = operand[0]->size[dim];
    s->rows = numel ? numel / s->n : 0;
    s->log = call->problem.attr->mode == 1;
}

fm_status fm_cpu_softmax(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct softmax s;
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    join_rows(&s, call, 2);
    if (s.rows) fm_cpu_parallel(call->threads, s.rows, FM_SMALL / s.n, softmax_rows, &s);
    return FM_OK;
}

/* the sum of g * y, or of g */
FM_CLONES static float bwd_sum(const float *g, const float *y, int64_t n, bool log)
{
    float sum = 0;
    if (log) {
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) sum += g[i];
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) sum += g[i] * y[i];
    }
    return sum;
}

/* whole rows of n, or one piece of a long row whose sum is given */
FM_CLONES static void bwd_rows(float *dx, const float *g, const float *y, int64_t n, int64_t rows, const float *given,
                               bool log)
{
    float e[FM_TILE], sums[FM_TILE];
    if (log) {
        /* over all rows at once: no remainders */
#pragma omp simd
        for (int64_t i = 0; i < n * rows; i++) e[i] = fm_expf(y[i]);
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *gr = g + r * n, *yr = y + r * n;
        float sum = 0;
        if (given) {
            sum = *given;
        } else if (log) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < n; i++) sum += gr[i];
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < n; i++) sum += gr[i] * yr[i];
        }
        sums[r] = sum;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *gr = g + r * n, *yr = y + r * n, *power = e + r * n;
        float *to = dx + r * n, sum = sums[r];
        if (log) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) to[i] = gr[i] - power[i] * sum;
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) to[i] = (gr[i] - sum) * yr[i];
        }
    }
}

static void softmax_bwd_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct softmax *s = context;
    float buffer[3][FM_TILE];
    int64_t block = s->n <= FM_TILE ? FM_TILE / s->n : 1;
    (void)part;
    for (int64_t row = begin; row < end; row += block) {
        int64_t rows = fm_min_i64(block, end - row);
        double total = 0;
        /* rows longer than a tile: a pass for the sum, a pass for the result */
        for (int pass = s->n > FM_TILE ? 0 : 1; pass < 2; pass++) {
            for (int64_t i = 0; i < s->n * rows; i += FM_TILE) {
                int64_t count = fm_min_i64(FM_TILE, rows * s->n - i), at = row * s->n + i;
                const float *g = fm_cpu_view_load(&s->view[1], at, count, buffer[1]);
                const float *y = fm_cpu_view_load(&s->view[2], at, count, buffer[2]);
                if (pass == 0) {
                    total += (double)bwd_sum(g, y, count, s->log);
                    continue;
                }
                float *dx = fm_cpu_view_open(&s->view[0], at, count, buffer[0]), sum = (float)total;
                if (s->n > FM_TILE)
                    bwd_rows(dx, g, y, count, 1, &sum, s->log);
                else
                    bwd_rows(dx, g, y, s->n, rows, NULL, s->log);
                fm_cpu_view_close(&s->view[0], at, count, dx);
            }
        }
    }
}

fm_status fm_cpu_softmax_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct softmax s;
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    join_rows(&s, call, 3);
    if (s.rows) fm_cpu_parallel(call->threads, s.rows, fm_max_i64(1, FM_SMALL / s.n), softmax_bwd_rows, &s);
    return FM_OK;
}
