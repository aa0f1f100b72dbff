/* BATCH_NORM, BATCH_NORM_EVAL, GROUP_NORM and their gradients.
 *
 * One machinery: rows of channels in segments (group norm: a segment a batch element; batch norm: one for all), groups
 * of channels (batch norm: each channel its own). Batch and group norm then read
 *     mean, rstd of a (segment, group);  y = (x - mean) * a + b
 *     dx = g * a + (x - mean) * b + d
 * with a, b, d by (segment, channel). First pass: moments of blocks by two passes in cache, merged as Chan, Golub and
 * LeVeque (1979) do, so that a large mean costs no digits. Second pass: the affine map. */
#include "probes/backends/cpu/kernels_internal.h"

#define MAX_CHANNELS FM_BLOCK
#define SUM_BLOCK    (4 * FM_BLOCK) /* elements of a block of many channels */
#define WIDE         (MAX_CHANNELS > FM_COLUMNS ? MAX_CHANNELS : FM_COLUMNS)

struct norm {
    const struct fm_cpu_call *call;
    struct fm_cpu_view view[3];               /* of the first segment: y, x | dx, g, x */
    int64_t step[3];                          /* bytes between segments */
    int64_t channels, groups, rows, segments; /* rows of a segment */
    double *sums;                  /* parts x segments x 2 x channels: mean, m2 | sum g, sum g * (x - mean) */
    const struct fm_operand *stat; /* mean's operand; rstd's has the same shape */
    void *mean, *rstd;
    const float *weight, *bias; /* as floats, channels long; on the caller's stack */
    double eps;
};

/* Patterns: what each channel's elements are mapped with, repeated to `width` floats. */
struct pattern {
    float mean[WIDE], a[WIDE], b[WIDE], d[WIDE];
    int64_t width;
};

static double *sums_of(const struct norm *s, int part, int64_t segment)
{
    return s->sums + ((int64_t)part * s->segments + segment) * 2 * s->channels;
}

static float *float_at(float *values, const struct fm_operand *operand, const void *data, int64_t n, float absent)
{
    if (data) fm_cpu_row_load(values, data, operand->dtype, operand->ndim ? operand->stride[0] : 1, n);
    for (int64_t i = 0; !data && i < n; i++) values[i] = absent;
    return values;
}

/* operand k of the call: 0 y, then the others given by index */
static fm_status norm_init(struct norm *s, const struct fm_cpu_call *call, const int index[3], int count,
                           struct fm_err *err)
{
    bool grouped = call->problem.kernel == FM_K_GROUP_NORM || call->problem.kernel == FM_K_GROUP_NORM_BWD;
    struct fm_operand operand[3];
    const struct fm_operand *pointer[3];
    void *data[3];
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    *s = (struct norm){ .call = call, .segments = 1, .sums = call->workspace, .eps = call->problem.attr->eps };
    for (int k = 0; k < count; k++) {
        operand[k] = call->problem.operand[index[k]];
        data[k] = call->data[index[k]];
        pointer[k] = &operand[k];
        s->step[k] = operand[k].stride[0] * fm_dtype_bytes(operand[k].dtype);
        if (grouped) s->segments = operand[k].size[0], operand[k].size[0] = fm_min_i64(1, s->segments);
    }
    s->channels = operand[0].size[1];
    s->groups = grouped ? call->problem.attr->groups : s->channels;
    if (s->channels > MAX_CHANNELS)
        return FM_FAIL(err, FM_UNSUPPORTED, "cpu %s: %lld channels, at most %d", fm_kernel_name(call->problem.kernel),
                       (long long)s->channels, MAX_CHANNELS);
    if (s->groups <= 0 || s->channels % s->groups)
        return FM_FAIL(err, FM_INVALID, "cpu %s: %lld channels do not divide into %lld groups",
                       fm_kernel_name(call->problem.kernel), (long long)s->channels, (long long)s->groups);
    s->rows = fm_cpu_join(s->view, pointer, data, count, 1) / fm_max_i64(1, s->channels);
    return FM_OK;
}

/* rows of a block whose sums are taken in f32: in first-level cache if that leaves enough rows */
static int64_t block_rows(int64_t channels, int64_t elements)
{
    return fm_max_i64(1, (channels < 128 ? elements / 4 : elements) / channels);
}
static int64_t grain_of(const struct norm *s)
{
    return fm_max_i64(1, FM_SMALL / s->channels);
}
static int parts_of(const struct norm *s)
{
    return fm_cpu_parts(s->call->threads, s->rows * s->segments, grain_of(s));
}

static struct fm_cpu_view segment_view(const struct norm *s, int k, int64_t segment)
{
    struct fm_cpu_view view = s->view[k];
    view.data += segment * s->step[k];
    return view;
}

/* sum of squares of x - shift by column, added to square[] */
FM_CLONES static void square_columns(double *square, const float *shift, const float *x, int64_t pitch, int64_t rows,
                                     int64_t n)
{
    float wide[FM_COLUMNS] = { 0 }, from[FM_COLUMNS];
    int64_t fold = pitch == n ? fm_fold(n) : 1, width = n * fold, r = 0;
    for (int64_t k = 0; k < fold; k++) {
        for (int64_t c = 0; c < n; c++) from[k * n + c] = shift[c];
    }
    for (; r + fold <= rows; r += fold) {
        const float *row = x + r * pitch;
#pragma omp simd
        for (int64_t c = 0; c < width; c++) wide[c] += (row[c] - from[c]) * (row[c] - from[c]);
    }
    for (; r < rows; r++) {
        for (int64_t c = 0; c < n; c++) wide[c] += (x[r * pitch + c] - from[c]) * (x[r * pitch + c] - from[c]);
    }
    for (int64_t k = 0; k < fold; k++) {
        for (int64_t c = 0; c < n; c++) square[c] += (double)wide[k * n + c];
    }
}

/* merges a block's moments into mean[], m2[] of `before` rows */
static void merge_block(double *mean, double *m2, double before, const float *x, int64_t pitch, int64_t rows, int64_t n)
{
    double sum[FM_COLUMNS] = { 0 }, square[FM_COLUMNS] = { 0 };
    float shift[FM_COLUMNS];
    double count = (double)rows, share = count / (before + count);
    fm_cpu_columns_add(sum, x, pitch, rows, n);
    for (int64_t c = 0; c < n; c++) shift[c] = (float)(sum[c] / count);
    square_columns(square, shift, x, pitch, rows, n);
    for (int64_t c = 0; c < n; c++) {
        double delta = (double)shift[c] - mean[c];
        mean[c] += delta * share;
        m2[c] += square[c] + delta * delta * before * share;
    }
}

static void moments_part(void *context, int64_t begin, int64_t end, int part)
{
    const struct norm *s = context;
    float buffer[SUM_BLOCK];
    int64_t channels = s->channels, block = block_rows(channels, SUM_BLOCK);
    for (int64_t segment = 0; segment < s->segments; segment++) {
        double *mean = sums_of(s, part, segment), *m2 = mean + channels;
        int64_t first = fm_max_i64(begin - segment * s->rows, 0), last = fm_min_i64(end - segment * s->rows, s->rows);
        memset(mean, 0, (size_t)channels * 2 * sizeof *mean);
        struct fm_cpu_view x = segment_view(s, 1, segment);
        for (int64_t row = first; row < last; row += block) {
            int64_t rows = fm_min_i64(block, last - row);
            const float *from = fm_cpu_view_load(&x, row * channels, rows * channels, buffer);
            for (int64_t c = 0; c < channels; c += FM_COLUMNS)
                merge_block(mean + c, m2 + c, (double)(row - first), from + c, channels, rows,
                            fm_min_i64(FM_COLUMNS, channels - c));
        }
    }
}

/* rows of a segment that a part saw */
static double rows_seen(const struct norm *s, int parts, int part, int64_t segment)
{
    int64_t total = s->rows * s->segments;
    int64_t first = fm_max_i64(fm_cpu_part_begin(total, parts, part), segment * s->rows);
    int64_t last = fm_min_i64(fm_cpu_part_begin(total, parts, part + 1), (segment + 1) * s->rows);
    return (double)fm_max_i64(0, last - first);
}

/* mean and biased variance of a group, over parts and the group's channels */
static void group_moments(const struct norm *s, int parts, int64_t segment, int64_t group, double out[2])
{
    int64_t width = s->channels / s->groups;
    double mean = 0, m2 = 0, count = 0;
    for (int p = 0; p < parts; p++) {
        double rows = rows_seen(s, parts, p, segment);
        const double *part = sums_of(s, p, segment);
        for (int64_t c = group * width; rows > 0 && c < (group + 1) * width; c++) {
            double delta = part[c] - mean, share = rows / (count + rows);
            mean += delta * share;
            m2 += part[s->channels + c] + delta * delta * count * share;
            count += rows;
        }
    }
    out[0] = mean;
    out[1] = m2 / count;
}

static void store_at(void *data, const struct fm_operand *operand, int64_t offset, double value)
{
    float narrow = (float)value;
    if (data) fm_cpu_row_store((char *)data + offset * fm_dtype_bytes(operand->dtype), &narrow, operand->dtype, 1, 1);
}

/* element offset of a (segment, group) statistic: operands (channels) or (segments, groups) */
static int64_t stat_offset(const struct fm_operand *operand, int64_t segment, int64_t group)
{
    if (operand->ndim == 1) return group * operand->stride[0];
    return segment * operand->stride[0] + group * operand->stride[1];
}

static double stat_load(const struct fm_operand *operand, const void *data, int64_t segment, int64_t group)
{
    float value;
    fm_cpu_row_load(&value, (const char *)data + stat_offset(operand, segment, group) * fm_dtype_bytes(operand->dtype),
                    operand->dtype, 1, 1);
    return (double)value;
}

/* y = (x - mean) * a + b, rows of a pattern's width */
FM_CLONES static void affine(float *y, const float *x, const struct pattern *p, int64_t count)
{
    for (int64_t i = 0; i < count; i += p->width) {
        int64_t n = p->width < count - i ? p->width : count - i;
#pragma omp simd
        for (int64_t c = 0; c < n; c++) y[i + c] = (x[i + c] - p->mean[c]) * p->a[c] + p->b[c];
    }
}

FM_CLONES static void affine_bwd(float *dx, const float *g, const float *x, const struct pattern *p, int64_t count)
{
    for (int64_t i = 0; i < count; i += p->width) {
        int64_t n = p->width < count - i ? p->width : count - i;
#pragma omp simd
        for (int64_t c = 0; c < n; c++) dx[i + c] = g[i + c] * p->a[c] + (x[i + c] - p->mean[c]) * p->b[c] + p->d[c];
    }
}

static void repeat(struct pattern *p, int64_t channels)
{
    p->width = channels * fm_fold(channels);
    for (int64_t c = channels; c < p->width; c++) {
        p->mean[c] = p->mean[c - channels];
        p->a[c] = p->a[c - channels];
        p->b[c] = p->b[c - channels];
        p->d[c] = p->d[c - channels];
    }
}

/* the rows of a part that lie in a segment */
static bool segment_rows(const struct norm *s, int64_t begin, int64_t end, int64_t segment, int64_t rows[2])
{
    rows[0] = fm_max_i64(begin - segment * s->rows, 0);
    rows[1] = fm_min_i64(end - segment * s->rows, s->rows);
    return rows[0] < rows[1];
}

static void normalize_part(void *context, int64_t begin, int64_t end, int part)
{
    const struct norm *s = context;
    struct pattern p;
    float in[FM_BLOCK], out[FM_BLOCK];
    /* half the tile for each operand, in whole patterns: bf16 rows then stay in the first-level cache */
    int64_t channels = s->channels, width = s->channels / s->groups, range[2];
    (void)part;
    memset(p.d, 0, sizeof p.d);
    for (int64_t segment = begin / s->rows; segment < s->segments && segment_rows(s, begin, end, segment, range);
         segment++) {
        for (int64_t c = 0; c < channels; c++) {
            p.mean[c] = (float)stat_load(s->stat, s->mean, segment, c / width);
            p.a[c] = (float)(stat_load(s->stat, s->rstd, segment, c / width) * (double)s->weight[c]);
            p.b[c] = s->bias[c];
        }
        repeat(&p, channels);
        int64_t block = p.width / channels * fm_max_i64(1, FM_TILE / p.width);
        struct fm_cpu_view y = segment_view(s, 0, segment), x = segment_view(s, 1, segment);
        for (int64_t row = range[0]; row < range[1]; row += block) {
            int64_t at = row * channels, count = fm_min_i64(block, range[1] - row) * channels;
            const float *from = fm_cpu_view_load(&x, at, count, in);
            float *to = fm_cpu_view_open(&y, at, count, out);
            affine(to, from, &p, count);
            fm_cpu_view_close(&y, at, count, to);
        }
    }
}

static int64_t sums_bytes(const struct fm_problem *problem, int threads, int64_t segments)
{
    int64_t channels = fm_max_i64(1, problem->operand[0].size[1]);
    int parts =
        fm_cpu_parts(threads, fm_operand_numel(&problem->operand[0]) / channels, fm_max_i64(1, FM_SMALL / channels));
    return fm_align(parts * segments * 2 * channels * (int64_t)sizeof(double));
}

int64_t fm_cpu_batch_norm_bytes(const struct fm_problem *problem, int threads)
{
    return sums_bytes(problem, threads, 1);
}

int64_t fm_cpu_group_norm_bytes(const struct fm_problem *problem, int threads)
{
    return sums_bytes(problem, threads, problem->operand[0].size[0]);
}

static void normalize(struct norm *s)
{
    fm_cpu_parallel(s->call->threads, s->rows * s->segments, grain_of(s), normalize_part, s);
}

/* moments, then mean and rstd into outputs 1 and 2, running statistics into 3 and 4 if there are */
static void write_moments(struct norm *s)
{
    const struct fm_cpu_call *call = s->call;
    const struct fm_operand *operand = call->problem.operand;
    int parts = parts_of(s);
    double momentum = call->problem.attr->momentum;
    fm_cpu_parallel(call->threads, s->rows * s->segments, grain_of(s), moments_part, s);
    for (int64_t i = 0; i < s->segments * s->groups; i++) {
        int64_t segment = i / s->groups, group = i % s->groups;
        double moment[2], count = (double)(s->rows * (s->channels / s->groups));
        group_moments(s, parts, segment, group, moment);
        store_at(s->mean, s->stat, stat_offset(s->stat, segment, group), moment[0]);
        store_at(s->rstd, s->stat, stat_offset(s->stat, segment, group), 1 / sqrt(moment[1] + s->eps));
        if (call->problem.kernel != FM_K_BATCH_NORM || !call->data[3] || !call->data[4]) continue;
        int64_t at[2] = { stat_offset(&operand[3], 0, group), stat_offset(&operand[4], 0, group) };
        double mean = stat_load(&operand[3], call->data[3], 0, group),
               variance = stat_load(&operand[4], call->data[4], 0, group);
        store_at(call->data[3], &operand[3], at[0], (1 - momentum) * mean + momentum * moment[0]);
        store_at(call->data[4], &operand[4], at[1],
                 (1 - momentum) * variance + momentum * moment[1] * count / (count - 1));
    }
}

static fm_status norm_forward(const struct fm_cpu_call *call, struct fm_err *err)
{
    float weight[MAX_CHANNELS], bias[MAX_CHANNELS];
    const int in = (int)call->problem.n_out, index[3] = { 0, in, in };
    struct norm s;
    fm_status status = norm_init(&s, call, index, 2, err);
    if (status != FM_OK || s.rows * s.segments == 0) return status;
    s.stat = &call->problem.operand[1];
    s.mean = call->data[1];
    s.rstd = call->data[2];
    s.weight = float_at(weight, &call->problem.operand[in + 1], call->data[in + 1], s.channels, 1.0f);
    s.bias = float_at(bias, &call->problem.operand[in + 2], call->data[in + 2], s.channels, 0.0f);
    write_moments(&s);
    normalize(&s);
    return FM_OK;
}

fm_status fm_cpu_batch_norm(const struct fm_cpu_call *call, struct fm_err *err)
{
    return norm_forward(call, err);
}
fm_status fm_cpu_group_norm(const struct fm_cpu_call *call, struct fm_err *err)
{
    return norm_forward(call, err);
}

fm_status fm_cpu_batch_norm_eval(const struct fm_cpu_call *call, struct fm_err *err)
{
    float weight[MAX_CHANNELS], bias[MAX_CHANNELS], rstd[MAX_CHANNELS], mean[MAX_CHANNELS];
    const int index[3] = { 0, 1, 1 };
    struct norm s;
    fm_status status = norm_init(&s, call, index, 2, err);
    if (status != FM_OK || s.rows == 0) return status;
    struct fm_operand stat = { .dtype = FM_F32, .ndim = 1, .size = { s.channels }, .stride = { 1 } };
    s.weight = float_at(weight, fm_cpu_in(call, 1), fm_cpu_in_data(call, 1), s.channels, 1.0f);
    s.bias = float_at(bias, fm_cpu_in(call, 2), fm_cpu_in_data(call, 2), s.channels, 0.0f);
    float_at(mean, fm_cpu_in(call, 3), fm_cpu_in_data(call, 3), s.channels, 0.0f);
    float_at(rstd, fm_cpu_in(call, 4), fm_cpu_in_data(call, 4), s.channels, 1.0f);
    for (int64_t c = 0; c < s.channels; c++) rstd[c] = (float)(1 / sqrt((double)rstd[c] + s.eps));
    s.stat = &stat;
    s.mean = mean;
    s.rstd = rstd;
    normalize(&s);
    return FM_OK;
}

/* sums by column of g and of g * (x - mean), added to sum[0 .. n) and product[0 .. n) */
FM_CLONES static void bwd_columns(double *sum, double *product, const float *mean, const float *g, const float *x,
                                  const int64_t shape[3])
{
    float total[FM_COLUMNS] = { 0 }, cross[FM_COLUMNS] = { 0 }, from[FM_COLUMNS];
    int64_t pitch = shape[0], rows = shape[1], n = shape[2], r = 0;
    int64_t fold = pitch == n ? fm_fold(n) : 1, width = n * fold;
    for (int64_t k = 0; k < fold; k++) {
        for (int64_t c = 0; c < n; c++) from[k * n + c] = mean[c];
    }
    for (; r + fold <= rows; r += fold) {
        const float *gr = g + r * pitch, *xr = x + r * pitch;
#pragma omp simd
        for (int64_t c = 0; c < width; c++) {
            total[c] += gr[c];
            cross[c] += gr[c] * (xr[c] - from[c]);
        }
    }
    for (; r < rows; r++) {
        for (int64_t c = 0; c < n; c++) {
            total[c] += g[r * pitch + c];
            cross[c] += g[r * pitch + c] * (x[r * pitch + c] - from[c]);
        }
    }
    for (int64_t k = 0; k < fold; k++) {
        for (int64_t c = 0; c < n; c++) {
            sum[c] += (double)total[k * n + c];
            product[c] += (double)cross[k * n + c];
        }
    }
}

static void bwd_sums_part(void *context, int64_t begin, int64_t end, int part)
{
    const struct norm *s = context;
    float gb[SUM_BLOCK / 2], xb[SUM_BLOCK / 2], mean[MAX_CHANNELS];
    int64_t channels = s->channels, block = block_rows(channels, SUM_BLOCK / 2), range[2], width = channels / s->groups;
    for (int64_t segment = 0; segment < s->segments; segment++) {
        double *sum = sums_of(s, part, segment);
        memset(sum, 0, (size_t)channels * 2 * sizeof *sum);
        if (!segment_rows(s, begin, end, segment, range)) continue;
        for (int64_t c = 0; c < channels; c++) mean[c] = (float)stat_load(s->stat, s->mean, segment, c / width);
        struct fm_cpu_view g = segment_view(s, 1, segment), x = segment_view(s, 2, segment);
        for (int64_t row = range[0]; row < range[1]; row += block) {
            int64_t rows = fm_min_i64(block, range[1] - row), at = row * channels;
            const float *gr = fm_cpu_view_load(&g, at, rows * channels, gb),
                        *xr = fm_cpu_view_load(&x, at, rows * channels, xb);
            for (int64_t c = 0; c < channels; c += FM_COLUMNS) {
                int64_t shape[3] = { channels, rows, fm_min_i64(FM_COLUMNS, channels - c) };
                bwd_columns(sum + c, sum + channels + c, mean + c, gr + c, xr + c, shape);
            }
        }
    }
}

static void bwd_pattern(const struct norm *s, struct pattern *p, int64_t segment)
{
    int64_t channels = s->channels, width = channels / s->groups;
    double count = (double)(s->rows * width);
    const double *sum = sums_of(s, 0, segment);
    for (int64_t group = 0; group < s->groups; group++) {
        double rstd = stat_load(s->stat, s->rstd, segment, group), mean_g = 0, mean_gx = 0;
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            mean_g += (double)s->weight[c] * sum[c] / count;
            mean_gx += (double)s->weight[c] * sum[channels + c] / count;
        }
        for (int64_t c = group * width; c < (group + 1) * width; c++) {
            p->mean[c] = (float)stat_load(s->stat, s->mean, segment, group);
            p->a[c] = (float)(rstd * (double)s->weight[c]);
            p->b[c] = (float)(-rstd * rstd * rstd * mean_gx);
            p->d[c] = (float)(-rstd * mean_g);
        }
    }
    repeat(p, channels);
}

static void bwd_part(void *context, int64_t begin, int64_t end, int part)
{
    const struct norm *s = context;
    struct pattern p;
    float gb[FM_BLOCK], xb[FM_BLOCK], out[FM_BLOCK];
    int64_t channels = s->channels, range[2];
    (void)part;
    for (int64_t segment = begin / s->rows; segment < s->segments && segment_rows(s, begin, end, segment, range);
         segment++) {
        bwd_pattern(s, &p, segment);
        int64_t block = p.width / channels * fm_max_i64(1, FM_TILE / p.width);
        struct fm_cpu_view dx = segment_view(s, 0, segment), g = segment_view(s, 1, segment),
                           x = segment_view(s, 2, segment);
        for (int64_t row = range[0]; row < range[1]; row += block) {
            int64_t at = row * channels, count = fm_min_i64(block, range[1] - row) * channels;
            const float *gr = fm_cpu_view_load(&g, at, count, gb), *xr = fm_cpu_view_load(&x, at, count, xb);
            float *to = fm_cpu_view_open(&dx, at, count, out);
            affine_bwd(to, gr, xr, &p, count);
            fm_cpu_view_close(&dx, at, count, to);
        }
    }
}

/* all parts' sums into part 0, and the gradients of weight and bias */
static void bwd_combine(const struct norm *s, int parts)
{
    const struct fm_operand *operand = s->call->problem.operand;
    int64_t channels = s->channels, width = channels / s->groups;
    for (int p = 1; p < parts; p++) {
        double *into = sums_of(s, 0, 0), *from = sums_of(s, p, 0);
        for (int64_t i = 0; i < s->segments * 2 * channels; i++) into[i] += from[i];
    }
    for (int64_t c = 0; c < channels; c++) {
        double weight = 0, bias = 0;
        for (int64_t segment = 0; segment < s->segments; segment++) {
            const double *sum = sums_of(s, 0, segment);
            weight += sum[channels + c] * stat_load(s->stat, s->rstd, segment, c / width);
            bias += sum[c];
        }
        store_at(s->call->data[1], &operand[1], c * operand[1].stride[0], weight);
        store_at(s->call->data[2], &operand[2], c * operand[2].stride[0], bias);
    }
}

static fm_status norm_backward(const struct fm_cpu_call *call, struct fm_err *err)
{
    float weight[MAX_CHANNELS];
    const int index[3] = { 0, 3, 4 };
    struct norm s;
    fm_status status = norm_init(&s, call, index, 3, err);
    if (status != FM_OK || s.rows * s.segments == 0) return status;
    s.stat = fm_cpu_in(call, 3);
    s.mean = fm_cpu_in_data(call, 3);
    s.rstd = fm_cpu_in_data(call, 4);
    s.weight = float_at(weight, fm_cpu_in(call, 2), fm_cpu_in_data(call, 2), s.channels, 1.0f);
    fm_cpu_parallel(call->threads, s.rows * s.segments, grain_of(&s), bwd_sums_part, &s);
    bwd_combine(&s, parts_of(&s));
    fm_cpu_parallel(call->threads, s.rows * s.segments, grain_of(&s), bwd_part, &s);
    return FM_OK;
}

fm_status fm_cpu_batch_norm_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    return norm_backward(call, err);
}
fm_status fm_cpu_group_norm_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    return norm_backward(call, err);
}
