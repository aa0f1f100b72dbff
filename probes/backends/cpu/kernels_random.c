/* What is drawn or counted by logical index: DROPOUT, BERNOULLI, INIT, ARANGE, INPUT.
 *
 * The logical row-major index is one more operand of the join, so that a view of it gives the index of each run's
 * first element and its step, whatever the layout of the storages. */
#include "probes/backends/cpu/kernels_internal.h"
#include "probes/backends/data.h"
#include "tuner/base/rng.h"

struct draw {
    struct fm_cpu_view view[4]; /* y, index, x, mask */
    int64_t numel;
    uint64_t seed, stream;
    uint32_t threshold; /* of 2^24: below it for uniform < alpha */
    float scale;
    const struct fm_attr *attr;
    struct fm_example example; /* INPUT */
    int64_t spatial, channels;
};

static struct fm_operand index_operand(const struct fm_operand *like)
{
    struct fm_operand index = *like;
    int64_t stride = 1;
    for (int d = like->ndim - 1; d >= 0; stride *= like->size[d--]) index.stride[d] = stride;
    index.dtype = FM_BOOL;
    return index;
}

static void draw_init(struct draw *s, const struct fm_cpu_call *call)
{
    struct fm_operand index = index_operand(&call->problem.operand[0]);
    const struct fm_operand *operand[4] = { &call->problem.operand[0], &index, NULL, NULL };
    void *data[4] = { call->data[0], NULL, NULL, NULL };
    int count = 2;
    *s = (struct draw){ .seed = call->seed, .stream = call->problem.attr->stream, .attr = call->problem.attr };
    if (call->problem.kernel == FM_K_DROPOUT) {
        operand[2] = fm_cpu_in(call, 0), data[2] = fm_cpu_in_data(call, 0);
        operand[3] = &call->problem.operand[1], data[3] = call->data[1];
        count = 4;
    }
    s->numel = fm_cpu_join(s->view, operand, data, count, -1);
}

/* u[i] = 24 uniform bits of index first + i * step */
FM_CLONES static void draw_bits(uint32_t *u, uint64_t seed, uint64_t stream, uint64_t first, uint64_t step, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) u[i] = (uint32_t)(fm_rng_u64(seed, stream, first + (uint64_t)i * step) >> 40);
}

static void draw_tile(const struct draw *s, int64_t begin, int64_t count, uint32_t *u)
{
    struct fm_cpu_runs runs;
    int64_t at = 0, n;
    fm_cpu_runs_begin(&runs, &s->view[1], begin, count);
    for (; (n = fm_cpu_runs_next(&runs, &at)) > 0; u += n)
        draw_bits(u, s->seed, s->stream, (uint64_t)at, (uint64_t)s->view[1].stride[0], n);
}

FM_CLONES static void drop(float *y, float *mask, const float *x, const uint32_t *u, const struct draw *s, int64_t n)
{
    uint32_t threshold = s->threshold;
    float scale = s->scale;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float in = x[i];
        mask[i] = u[i] >= threshold ? 1.0f : 0.0f;
        y[i] = u[i] >= threshold ? in * scale : 0.0f;
    }
}

static void dropout_tiles(void *context, int64_t begin, int64_t end, int part)
{
    const struct draw *s = context;
    float in[FM_TILE], out[FM_TILE], mask[FM_TILE];
    uint32_t u[FM_TILE];
    (void)part;
    for (int64_t i = begin * FM_TILE; i < fm_min_i64(end * FM_TILE, s->numel); i += FM_TILE) {
        int64_t n = fm_min_i64(FM_TILE, s->numel - i);
        const float *x = fm_cpu_view_load(&s->view[2], i, n, in);
        float *y = fm_cpu_view_open(&s->view[0], i, n, out), *m = fm_cpu_view_open(&s->view[3], i, n, mask);
        draw_tile(s, i, n, u);
        drop(y, m, x, u, s, n);
        fm_cpu_view_close(&s->view[0], i, n, y);
        fm_cpu_view_close(&s->view[3], i, n, m);
    }
}

static uint32_t threshold_of(double alpha)
{
    return (uint32_t)ceil(alpha * 0x1p24);
}
static uint64_t stream_of(const struct fm_cpu_call *call)
{
    return call->problem.attr->stream + call->step * FM_STREAMS_PER_STEP;
}

fm_status fm_cpu_dropout(const struct fm_cpu_call *call, struct fm_err *err)
{
    double alpha = call->problem.attr->alpha;
    struct draw s;
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    if (!(alpha >= 0 && alpha < 1))
        return FM_FAIL(err, FM_INVALID, "cpu DROPOUT: probability %g, wanted in [0, 1)", alpha);
    draw_init(&s, call);
    s.stream = stream_of(call);
    s.threshold = threshold_of(alpha);
    s.scale = (float)(1 / (1 - alpha));
    fm_cpu_parallel(call->threads, fm_ceil_div(s.numel, FM_TILE), FM_SMALL / FM_TILE, dropout_tiles, &s);
    return FM_OK;
}

static void bernoulli_tile(const struct draw *s, int64_t begin, int64_t n, float *y)
{
    uint32_t u[FM_TILE];
    draw_tile(s, begin, n, u);
    for (int64_t i = 0; i < n; i++) y[i] = u[i] < s->threshold ? s->scale : 0.0f;
}

static void init_tile(const struct draw *s, int64_t begin, int64_t count, float *y)
{
    float alpha = (float)s->attr->alpha;
    uint32_t u[FM_TILE];
    struct fm_cpu_runs runs;
    int64_t at = 0, n;
    if (s->attr->mode == 0) {
        for (int64_t i = 0; i < count; i++) y[i] = alpha;
    } else if (s->attr->mode == 1) {
        draw_tile(s, begin, count, u);
        for (int64_t i = 0; i < count; i++) y[i] = (float)(s->attr->alpha * (2 * ((double)u[i] * 0x1p-24) - 1));
    } else {
        fm_cpu_runs_begin(&runs, &s->view[1], begin, count);
        while ((n = fm_cpu_runs_next(&runs, &at)) > 0) {
            for (int64_t i = 0; i < n; i++)
                *y++ = (float)(s->attr->alpha *
                               fm_rng_normal(s->seed, s->stream, (uint64_t)(at + i * s->view[1].stride[0])));
        }
    }
}

typedef void make_fn(const struct draw *s, int64_t begin, int64_t n, float *y);

struct make {
    struct draw *draw;
    make_fn *fn;
};

static void make_tiles(void *context, int64_t begin, int64_t end, int part)
{
    const struct make *m = context;
    const struct draw *s = m->draw;
    float out[FM_TILE];
    (void)part;
    for (int64_t i = begin * FM_TILE; i < fm_min_i64(end * FM_TILE, s->numel); i += FM_TILE) {
        int64_t n = fm_min_i64(FM_TILE, s->numel - i);
        float *y = fm_cpu_view_open(&s->view[0], i, n, out);
        m->fn(s, i, n, y);
        fm_cpu_view_close(&s->view[0], i, n, y);
    }
}

static fm_status make(const struct fm_cpu_call *call, struct draw *s, make_fn *fn)
{
    struct make m = { .draw = s, .fn = fn };
    fm_cpu_parallel(call->threads, fm_ceil_div(s->numel, FM_TILE), FM_SMALL / FM_TILE, make_tiles, &m);
    return FM_OK;
}

fm_status fm_cpu_bernoulli(const struct fm_cpu_call *call, struct fm_err *err)
{
    double alpha = call->problem.attr->alpha;
    struct draw s;
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    if (!(alpha > 0 && alpha <= 1))
        return FM_FAIL(err, FM_INVALID, "cpu BERNOULLI: keep probability %g, wanted in (0, 1]", alpha);
    draw_init(&s, call);
    s.stream = stream_of(call);
    s.threshold = threshold_of(alpha);
    s.scale = (float)(1 / alpha);
    return make(call, &s, bernoulli_tile);
}

fm_status fm_cpu_init(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct draw s;
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    if (call->problem.attr->mode > 2)
        return FM_FAIL(err, FM_UNSUPPORTED, "cpu INIT: unknown mode %u", call->problem.attr->mode);
    draw_init(&s, call);
    return make(call, &s, init_tile);
}

fm_status fm_cpu_arange(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct draw s;
    double values[FM_TILE];
    (void)err;
    draw_init(&s, call);
    for (int64_t i = 0; i < s.numel; i += FM_TILE) {
        struct fm_cpu_runs runs;
        int64_t at = 0, n, count = fm_min_i64(FM_TILE, s.numel - i);
        double *to = values;
        fm_cpu_runs_begin(&runs, &s.view[1], i, count);
        while ((n = fm_cpu_runs_next(&runs, &at)) > 0) {
            for (int64_t k = 0; k < n; k++) *to++ = (double)(at + k * s.view[1].stride[0]);
        }
        fm_cpu_view_store_f64(&s.view[0], i, count, values);
    }
    return FM_OK;
}

/* the value at a logical index of the batch */
static void input_value(const struct draw *s, int64_t index, float *value, int64_t *label)
{
    struct fm_example example = s->example;
    int64_t x[3] = { 0, 0, 0 }, position = index % s->spatial, rest = index / s->spatial;
    for (int d = example.ndim - 1; d >= 0; d--) x[d] = position % example.size[d], position /= example.size[d];
    int32_t channel = s->channels ? (int32_t)(rest % s->channels) : 0;
    example.example += (uint64_t)(s->channels ? rest / s->channels : rest);
    if (s->channels)
        *value = fm_example_value(&example, channel, x);
    else
        *label = fm_example_label(&example, x);
}

static void input_tiles(void *context, int64_t begin, int64_t end, int part)
{
    const struct draw *s = context;
    float buffer[FM_TILE];
    (void)part;
    for (int64_t i = begin * FM_TILE; i < fm_min_i64(end * FM_TILE, s->numel); i += FM_TILE) {
        int64_t count = fm_min_i64(FM_TILE, s->numel - i), at = 0, to = 0, n;
        float *y = buffer;
        struct fm_cpu_runs index, out;
        fm_cpu_runs_begin(&index, &s->view[1], i, count);
        fm_cpu_runs_begin(&out, &s->view[0], i, count);
        while ((n = fm_cpu_runs_next(&index, &at)) > 0 && fm_cpu_runs_next(&out, &to) == n) {
            int64_t *labels = (int64_t *)(void *)s->view[0].data;
            for (int64_t k = 0; k < n; k++) {
                int64_t *label = s->channels ? NULL : labels + to + k * s->view[0].stride[0];
                input_value(s, at + k * s->view[1].stride[0], y + k, label);
            }
            y += n;
        }
        if (!s->channels) continue;
        const float *from = buffer;
        fm_cpu_view_close(&s->view[0], i, count, from);
        if (s->view[0].dense && s->view[0].dtype == FM_F32)
            memcpy((float *)(void *)s->view[0].data + i, from, (size_t)count * sizeof *from);
    }
}

fm_status fm_cpu_input(const struct fm_cpu_call *call, struct fm_err *err)
{
    const struct fm_operand *y = &call->problem.operand[0];
    struct fm_example example = fm_example_first(&call->problem, call->seed, call->step);
    struct draw s;
    fm_status status = example.channels ? fm_cpu_need_float(call, err) : FM_OK;
    if (status != FM_OK) return status;
    if (!example.channels && y->dtype != FM_I64) return fm_cpu_unsupported(call, 0, "labels are i64", err);
    if (call->problem.attr->mode > FM_INPUT_IMAGE_LABELS || y->ndim != example.ndim + (example.channels ? 2 : 1))
        return FM_FAIL(err, FM_INVALID, "cpu INPUT: %u dimensions for kind %u", y->ndim, call->problem.attr->mode);
    draw_init(&s, call);
    s.channels = example.channels;
    s.example = example;
    s.spatial = example.size[0] * example.size[1] * example.size[2];
    fm_cpu_parallel(call->threads, fm_ceil_div(s.numel, FM_TILE), 1, input_tiles, &s);
    return FM_OK;
}
