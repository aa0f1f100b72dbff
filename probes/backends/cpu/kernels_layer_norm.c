/* LAYER_NORM and its gradient: rows along the last dimension. */
#include "probes/backends/cpu/kernels_internal.h"

#define MAX_ROW    FM_BLOCK
#define BLOCK_ROWS 64 /* rows whose weight gradients are added in f32 before going to f64 */

struct layer {
    struct fm_cpu_view view[5]; /* y, x, mean, rstd | dx, g, x, mean, rstd; the statistics expanded along the row */
    const float *weight, *bias;
    int64_t n, rows;
    float eps;
    double *sums; /* parts x 2 x n: dweight, dbias */
};

struct moments {
    float mean, rstd;
};

/* Step by step over the rows of a block: a row's reductions are long chains that only other rows can hide. */
FM_CLONES static void normalize_block(float *y, const float *x, const struct layer *s, int64_t rows, struct moments *m)
{
    const float *weight = s->weight, *bias = s->bias;
    int64_t n = s->n;
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * n;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < n; i++) sum += row[i];
        m[r].mean = sum / (float)n;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * n;
        float square = 0, mean = m[r].mean;
#pragma omp simd reduction(+ : square)
        for (int64_t i = 0; i < n; i++) square += (row[i] - mean) * (row[i] - mean);
        m[r].rstd = 1.0f / sqrtf(square / (float)n + s->eps);
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * n;
        float *to = y + r * n, mean = m[r].mean, rstd = m[r].rstd;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = (row[i] - mean) * rstd * weight[i] + bias[i];
    }
}

/* Row i of a view of the statistics, which is expanded along the row. */
static void store_stat(const struct fm_cpu_view *view, int64_t i, float value)
{
    int64_t at = 0;
    for (int d = 1; d < view->ndim; d++) at += i % view->size[d] * view->stride[d], i /= view->size[d];
    if (view->dtype == FM_F32)
        ((float *)(void *)view->data)[at] = value;
    else
        fm_cpu_row_store(view->data + at * fm_dtype_bytes(view->dtype), &value, view->dtype, 1, 1);
}

static float load_stat(const struct fm_cpu_view *view, int64_t i)
{
    int64_t at = 0;
    float value;
    for (int d = 1; d < view->ndim; d++) at += i % view->size[d] * view->stride[d], i /= view->size[d];
    if (view->dtype == FM_F32) return ((const float *)(const void *)view->data)[at];
    fm_cpu_row_load(&value, view->data + at * fm_dtype_bytes(view->dtype), view->dtype, 1, 1);
    return value;
}

static void normalize_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct layer *s = context;
    float in[MAX_ROW], out[MAX_ROW];
    int64_t n = s->n, block = fm_max_i64(1, FM_TILE / n);
    struct moments m[FM_TILE];
    (void)part;
    for (int64_t row = begin; row < end; row += block) {
        int64_t rows = fm_min_i64(block, end - row);
        const float *x = fm_cpu_view_load(&s->view[1], row * n, rows * n, in);
        float *y = fm_cpu_view_open(&s->view[0], row * n, rows * n, out);
        normalize_block(y, x, s, rows, m);
        for (int64_t r = 0; r < rows; r++) {
            store_stat(&s->view[2], row + r, m[r].mean);
            store_stat(&s->view[3], row + r, m[r].rstd);
        }
        fm_cpu_view_close(&s->view[0], row * n, rows * n, y);
    }
}

static void load_vector(float *values, const struct fm_operand *operand, const void *data, int64_t n, float absent)
{
    if (data) fm_cpu_row_load(values, data, operand->dtype, operand->stride[0], n);
    for (int64_t i = 0; !data && i < n; i++) values[i] = absent;
}

/* joins operands index[0 .. count) with the last dimension innermost; those after `full` are expanded along it */
static fm_status join_rows(struct layer *s, const struct fm_cpu_call *call, const int *index, int count,
                           struct fm_err *err)
{
    struct fm_operand expanded[5];
    const struct fm_operand *operand[5], *like = &call->problem.operand[0];
    void *data[5];
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    for (int k = 0; k < count; k++) {
        expanded[k] = fm_cpu_expand(&call->problem.operand[index[k]], like);
        operand[k] = &expanded[k];
        data[k] = call->data[index[k]];
    }
    s->n = like->size[like->ndim - 1];
    if (s->n > MAX_ROW)
        return FM_FAIL(err, FM_UNSUPPORTED, "cpu %s: rows of %lld elements, at most %d",
                       fm_kernel_name(call->problem.kernel), (long long)s->n, MAX_ROW);
    s->rows = fm_cpu_join(s->view, operand, data, count, like->ndim - 1) / fm_max_i64(1, s->n);
    return FM_OK;
}

fm_status fm_cpu_layer_norm(const struct fm_cpu_call *call, struct fm_err *err)
{
    const int in = (int)call->problem.n_out, index[4] = { 0, in, 1, 2 };
    float weight[MAX_ROW], bias[MAX_ROW];
    struct layer s = { .weight = weight, .bias = bias, .eps = (float)call->problem.attr->eps };
    fm_status status = join_rows(&s, call, index, 4, err);
    if (status != FM_OK || s.rows == 0) return status;
    load_vector(weight, fm_cpu_in(call, 1), fm_cpu_in_data(call, 1), s.n, 1.0f);
    load_vector(bias, fm_cpu_in(call, 2), fm_cpu_in_data(call, 2), s.n, 0.0f);
    fm_cpu_parallel(call->threads, s.rows, fm_max_i64(1, FM_SMALL / s.n), normalize_rows, &s);
    return FM_OK;
}

/* one row of dx; adds the row's share of dweight and dbias */
FM_CLONES static void bwd_row(float *dx, const float *g, const float *x, struct moments m, const struct layer *s,
                              float *sums)
{
    const float *weight = s->weight;
    float *dweight = sums, *dbias = sums + s->n;
    int64_t n = s->n;
    float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t i = 0; i < n; i++) {
        float unit = (x[i] - m.mean) * m.rstd;
        sum += g[i] * weight[i];
        product += g[i] * weight[i] * unit;
        dweight[i] += g[i] * unit;
        dbias[i] += g[i];
    }
    sum /= (float)n;
    product /= (float)n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float unit = (x[i] - m.mean) * m.rstd;
        dx[i] = m.rstd * (g[i] * weight[i] - sum - unit * product);
    }
}

static void bwd_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct layer *s = context;
    float gb[MAX_ROW], xb[MAX_ROW], out[MAX_ROW], block_sums[2 * MAX_ROW];
    int64_t n = s->n, block = fm_max_i64(1, fm_min_i64(BLOCK_ROWS, MAX_ROW / 4 / n));
    double *sums = s->sums + (int64_t)part * 2 * n;
    memset(sums, 0, (size_t)n * 2 * sizeof *sums);
    for (int64_t row = begin; row < end; row += block) {
        int64_t rows = fm_min_i64(block, end - row);
        const float *g = fm_cpu_view_load(&s->view[1], row * n, rows * n, gb),
                    *x = fm_cpu_view_load(&s->view[2], row * n, rows * n, xb);
        float *dx = fm_cpu_view_open(&s->view[0], row * n, rows * n, out);
        memset(block_sums, 0, (size_t)n * 2 * sizeof *block_sums);
        for (int64_t r = 0; r < rows; r++) {
            struct moments m = { load_stat(&s->view[3], row + r), load_stat(&s->view[4], row + r) };
            bwd_row(dx + r * n, g + r * n, x + r * n, m, s, block_sums);
        }
        for (int64_t i = 0; i < 2 * n; i++) sums[i] += (double)block_sums[i];
        fm_cpu_view_close(&s->view[0], row * n, rows * n, dx);
    }
}

static int bwd_parts(const struct fm_problem *problem, int threads)
{
    const struct fm_operand *dx = &problem->operand[0];
    int64_t n = fm_max_i64(1, dx->size[dx->ndim - 1]);
    return fm_cpu_parts(threads, fm_operand_numel(dx) / n, fm_max_i64(1, FM_SMALL / n));
}

int64_t fm_cpu_layer_norm_bwd_bytes(const struct fm_problem *problem, int threads)
{
    int64_t n = problem->operand[0].size[problem->operand[0].ndim - 1];
    return fm_align(bwd_parts(problem, threads) * 2 * n * (int64_t)sizeof(double));
}

fm_status fm_cpu_layer_norm_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    const int index[5] = { 0, 3, 4, 6, 7 };
    const struct fm_operand *operand = call->problem.operand;
    float weight[MAX_ROW];
    struct layer s = { .weight = weight, .sums = call->workspace };
    fm_status status = join_rows(&s, call, index, 5, err);
    if (status != FM_OK || s.rows == 0) return status;
    load_vector(weight, fm_cpu_in(call, 2), fm_cpu_in_data(call, 2), s.n, 1.0f);
    fm_cpu_parallel(call->threads, s.rows, fm_max_i64(1, FM_SMALL / s.n), bwd_rows, &s);
    int parts = bwd_parts(&call->problem, call->threads);
    for (int64_t i = 0; i < 2 * s.n; i++) {
        int k = i < s.n ? 1 : 2;
        double sum = 0;
        for (int p = 0; p < parts; p++) sum += s.sums[p * 2 * s.n + i];
        float value = (float)sum;
        char *to = (char *)call->data[k] + i % s.n * operand[k].stride[0] * fm_dtype_bytes(operand[k].dtype);
        if (call->data[k]) fm_cpu_row_store(to, &value, operand[k].dtype, 1, 1);
    }
    return FM_OK;
}
