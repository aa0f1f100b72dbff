/* INTERPOLATE (bilinear, align_corners False) and its gradient over rows of channels.
 *
 * The gradient is a gather: a thread owns whole rows of dx and adds, in a fixed order, the rows of g that touch them. */
#include "probes/backends/cpu/kernels_internal.h"

struct taps {
    int64_t low, high;
    float weight[2];
};

struct resample {
    const struct fm_operand *big, *small; /* y or g; x or dx: (B, C, H, W) each */
    const char *from;
    char *to;
    int64_t in[2], out[2]; /* H, W of x and of y */
    int64_t channels;
    float *rows; /* gradient: W * C floats a part */
};

/* PyTorch's: source = scale * (i + 0.5) - 0.5, not below 0; the upper tap stays inside */
static struct taps taps_at(int64_t i, int64_t in, int64_t out)
{
    float source = (float)in / (float)out * ((float)i + 0.5f) - 0.5f;
    if (source < 0) source = 0;
    struct taps t = { .low = fm_min_i64((int64_t)source, in - 1) };
    t.high = t.low + (t.low < in - 1);
    float fraction = source - (float)t.low;
    if (fraction > 1) fraction = 1;
    t.weight[0] = 1.0f - fraction;
    t.weight[1] = fraction;
    return t;
}

static int64_t offset_at(const struct fm_operand *o, int64_t b, int64_t h, int64_t w)
{
    return b * o->stride[0] + h * o->stride[2] + w * o->stride[3];
}

/* n channels at (b, h, w) as floats */
static const float *load_at(const struct fm_operand *o, const char *data, int64_t at, int64_t n, float *buffer)
{
    const char *from = data + at * fm_dtype_bytes(o->dtype);
    if (o->dtype == FM_F32 && o->stride[1] == 1) return (const float *)(const void *)from;
    fm_cpu_row_load(buffer, from, o->dtype, o->stride[1], n);
    return buffer;
}

FM_CLONES static void blend(float *y, const float *const x[4], const float weight[4], int64_t n)
{
    const float *a = x[0], *b = x[1], *c = x[2], *d = x[3];
    float p = weight[0], q = weight[1], r = weight[2], s = weight[3];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = (a[i] * p + b[i] * q) + (c[i] * r + d[i] * s);
}

static void interpolate_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct resample *s = context;
    float buffer[5][FM_TILE];
    (void)part;
    for (int64_t row = begin; row < end; row++) {
        int64_t b = row / s->out[0], oh = row % s->out[0];
        struct taps h = taps_at(oh, s->in[0], s->out[0]);
        for (int64_t ow = 0; ow < s->out[1]; ow++) {
            struct taps w = taps_at(ow, s->in[1], s->out[1]);
            const float weight[4] = { h.weight[0] * w.weight[0], h.weight[0] * w.weight[1], h.weight[1] * w.weight[0],
                                      h.weight[1] * w.weight[1] };
            const int64_t corner[4] = { offset_at(s->small, b, h.low, w.low), offset_at(s->small, b, h.low, w.high),
                                        offset_at(s->small, b, h.high, w.low), offset_at(s->small, b, h.high, w.high) };
            for (int64_t c = 0; c < s->channels; c += FM_TILE) {
                int64_t n = fm_min_i64(FM_TILE, s->channels - c),
                        at = offset_at(s->big, b, oh, ow) + c * s->big->stride[1];
                const float *x[4];
                for (int k = 0; k < 4; k++)
                    x[k] = load_at(s->small, s->from, corner[k] + c * s->small->stride[1], n, buffer[k]);
                bool direct = s->big->dtype == FM_F32 && s->big->stride[1] == 1;
                char *place = s->to + at * fm_dtype_bytes(s->big->dtype);
                float *y = direct ? (float *)(void *)place : buffer[4];
                blend(y, x, weight, n);
                if (!direct) fm_cpu_row_store(place, y, s->big->dtype, s->big->stride[1], n);
            }
        }
    }
}

/* Dense rows: the two input rows are mixed first, then pixels of the mix. Fits where a row of x has at most MIX floats
 * and a row of y at most WIDE pixels. */
#define MIX  (2 * FM_BLOCK)
#define WIDE 1024

struct mixer {
    const struct resample *s;
    struct taps column[WIDE];
};

FM_CLONES static void mix_rows(float *mix, const float *low, const float *high, const struct taps *h, int64_t n)
{
    float p = h->weight[0], q = h->weight[1];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) mix[i] = low[i] * p + high[i] * q;
}

/* pixels of a row, one after another in y */
FM_CLONES static void mix_columns(float *y, const float *mix, const struct taps *column, int64_t pixels, int64_t n)
{
    for (int64_t i = 0; i < pixels; i++, y += n) {
        const float *low = mix + column[i].low * n, *high = mix + column[i].high * n;
        float p = column[i].weight[0], q = column[i].weight[1];
#pragma omp simd
        for (int64_t c = 0; c < n; c++) y[c] = low[c] * p + high[c] * q;
    }
}

static void mixed_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct mixer *m = context;
    const struct resample *s = m->s;
    float buffer[2][MIX], mix[MIX], out[FM_BLOCK];
    int64_t length = s->in[1] * s->channels, chunk = fm_max_i64(1, FM_TILE / s->channels);
    enum fm_dtype from = s->small->dtype, to = s->big->dtype;
    (void)part;
    for (int64_t row = begin; row < end; row++) {
        int64_t b = row / s->out[0], oh = row % s->out[0];
        struct taps h = taps_at(oh, s->in[0], s->out[0]);
        const float *rows[2];
        for (int k = 0; k < 2; k++) {
            const char *at = s->from + offset_at(s->small, b, k ? h.high : h.low, 0) * fm_dtype_bytes(from);
            rows[k] = from == FM_F32 ? (const float *)(const void *)at : buffer[k];
            if (from != FM_F32) fm_cpu_row_load(buffer[k], at, from, 1, length);
        }
        mix_rows(mix, rows[0], rows[1], &h, length);
        for (int64_t ow = 0; ow < s->out[1]; ow += chunk) {
            int64_t pixels = fm_min_i64(chunk, s->out[1] - ow);
            char *place = s->to + offset_at(s->big, b, oh, ow) * fm_dtype_bytes(to);
            mix_columns(to == FM_F32 ? (float *)(void *)place : out, mix, m->column + ow, pixels, s->channels);
            if (to != FM_F32) fm_cpu_row_store(place, out, to, 1, pixels * s->channels);
        }
    }
}

static bool pixels_dense(const struct fm_operand *o)
{
    return (o->stride[1] == 1 || o->size[1] == 1) && (o->stride[3] == o->size[1] || o->size[3] == 1);
}

static fm_status resample_init(struct resample *s, const struct fm_cpu_call *call, bool backward, struct fm_err *err)
{
    const struct fm_operand *operand = call->problem.operand;
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    if (operand[0].ndim != 4) return fm_cpu_unsupported(call, 0, "operands are (B, C, H, W)", err);
    *s = (struct resample){ .big = &operand[backward],
                            .small = &operand[!backward],
                            .from = call->data[1],
                            .to = call->data[0],
                            .channels = operand[0].size[1],
                            .rows = call->workspace };
    for (int d = 0; d < 2; d++) s->in[d] = s->small->size[d + 2], s->out[d] = s->big->size[d + 2];
    return FM_OK;
}

fm_status fm_cpu_interpolate(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct resample s;
    fm_status status = resample_init(&s, call, false, err);
    if (status != FM_OK) return status;
    int64_t row = fm_max_i64(1, s.channels * s.out[1]);
    if (s.channels > 0 && pixels_dense(s.big) && pixels_dense(s.small) && s.channels * s.in[1] <= MIX &&
        s.channels <= FM_BLOCK && s.out[1] <= WIDE) {
        struct mixer m = { .s = &s };
        for (int64_t ow = 0; ow < s.out[1]; ow++) m.column[ow] = taps_at(ow, s.in[1], s.out[1]);
        fm_cpu_parallel(call->threads, s.big->size[0] * s.out[0], fm_max_i64(1, FM_SMALL / row), mixed_rows, &m);
        return FM_OK;
    }
    fm_cpu_parallel(call->threads, s.big->size[0] * s.out[0], fm_max_i64(1, FM_SMALL / row), interpolate_rows, &s);
    return FM_OK;
}

/* row[low] += g * a, row[high] += g * b */
FM_CLONES static void spread(float *low, float *high, const float *g, float a, float b, int64_t n)
{
    if (low == high) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) low[i] += g[i] * a + g[i] * b;
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        low[i] += g[i] * a;
        high[i] += g[i] * b;
    }
}

/* adds row oh of g, times weight, to row[W][C] */
static void spread_row(const struct resample *s, float *row, int64_t b, int64_t oh, float weight)
{
    float buffer[FM_TILE];
    for (int64_t ow = 0; ow < s->out[1]; ow++) {
        struct taps w = taps_at(ow, s->in[1], s->out[1]);
        int64_t at = offset_at(s->big, b, oh, ow);
        for (int64_t c = 0; c < s->channels; c += FM_TILE) {
            int64_t n = fm_min_i64(FM_TILE, s->channels - c);
            const float *g = load_at(s->big, s->from, at + c * s->big->stride[1], n, buffer);
            spread(row + w.low * s->channels + c, row + w.high * s->channels + c, g, weight * w.weight[0],
                   weight * w.weight[1], n);
        }
    }
}

static void interpolate_bwd_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct resample *s = context;
    int64_t in = s->in[0], out = s->out[0], length = s->in[1] * s->channels;
    float *row = s->rows + part * (fm_align(length * (int64_t)sizeof(float)) / (int64_t)sizeof(float));
    for (int64_t item = begin; item < end; item++) {
        int64_t b = item / in, ih = item % in;
        /* rows of g with a tap at ih: a range, a little wider here than need be */
        int64_t first = fm_max_i64(0, (ih - 1) * out / in - 2), last = fm_min_i64(out, (ih + 2) * out / in + 3);
        memset(row, 0, (size_t)length * sizeof *row);
        for (int64_t oh = first; oh < last; oh++) {
            struct taps h = taps_at(oh, in, out);
            float weight = (h.low == ih ? h.weight[0] : 0) + (h.high == ih ? h.weight[1] : 0);
            if (h.low == ih || h.high == ih) spread_row(s, row, b, oh, weight);
        }
        for (int64_t w = 0; w < s->in[1]; w++) {
            char *to = s->to + offset_at(s->small, b, ih, w) * fm_dtype_bytes(s->small->dtype);
            fm_cpu_row_store(to, row + w * s->channels, s->small->dtype, s->small->stride[1], s->channels);
        }
    }
}

static int64_t bwd_grain(const struct fm_operand *g, const struct fm_operand *dx)
{
    return fm_max_i64(1, FM_SMALL / fm_max_i64(1, fm_operand_numel(g) / fm_max_i64(1, dx->size[0] * dx->size[2])));
}

int64_t fm_cpu_interpolate_bwd_bytes(const struct fm_problem *problem, int threads)
{
    const struct fm_operand *dx = &problem->operand[0], *g = &problem->operand[1];
    int parts = fm_cpu_parts(threads, dx->size[0] * dx->size[2], bwd_grain(g, dx));
    return parts * fm_align(dx->size[1] * dx->size[3] * (int64_t)sizeof(float));
}

fm_status fm_cpu_interpolate_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct resample s;
    fm_status status = resample_init(&s, call, true, err);
    if (status != FM_OK) return status;
    fm_cpu_parallel(call->threads, s.small->size[0] * s.in[0], bwd_grain(s.big, s.small), interpolate_bwd_rows, &s);
    return FM_OK;
}
