#include "probes/backends/cpu/kernels_internal.h"

#include <assert.h>

/* must dimension a lie outside dimension b? Strides of 0 say nothing; the first operand that decides wins. */
static bool lies_outside(const struct fm_operand *const *operand, int count, int a, int b)
{
    for (int k = 0; k < count; k++) {
        int64_t outer = operand[k]->stride[a], within = operand[k]->stride[b];
        if (!outer || !within || outer == within) continue;
        return outer > within;
    }
    return false;
}

/* the dimensions of size > 1, innermost first, into order[]; returns their number */
static int order_dims(const struct fm_operand *const *operand, int count, int inner, int order[FM_MAX_DIMS])
{
    int n = 0;
    if (inner >= 0) order[n++] = inner;
    int fixed = n;
    for (int d = operand[0]->ndim - 1; d >= 0; d--) {
        if (d == inner || operand[0]->size[d] == 1) continue;
        int at = n;
        while (at > fixed && lies_outside(operand, count, order[at - 1], d)) at--;
        memmove(&order[at + 1], &order[at], (size_t)(n - at) * sizeof order[0]);
        order[at] = d;
        n++;
    }
    return n;
}

static bool can_merge(const struct fm_cpu_view *view, int count, const struct fm_operand *const *operand, int dim,
                      int last)
{
    for (int k = 0; k < count; k++) {
        if (operand[k]->stride[dim] != view[k].stride[last] * view[k].size[last]) return false;
    }
    return true;
}

int64_t fm_cpu_join(struct fm_cpu_view *view, const struct fm_operand *const *operand, void *const *data, int count,
                    int inner)
{
    int order[FM_MAX_DIMS];
    int n = order_dims(operand, count, inner, order);
    for (int k = 0; k < count; k++) {
        view[k] = (struct fm_cpu_view){
            .data = data[k], .dtype = operand[k]->dtype, .ndim = 1, .size = { 1 }, .stride = { 1 }
        };
        if (n) view[k].size[0] = operand[0]->size[order[0]], view[k].stride[0] = operand[k]->stride[order[0]];
    }
    for (int i = 1; i < n; i++) {
        int last = view[0].ndim - 1, d = order[i];
        bool merge = (last > 0 || inner < 0) && can_merge(view, count, operand, d, last);
        for (int k = 0; k < count; k++) {
            if (merge) {
                view[k].size[last] *= operand[0]->size[d];
            } else {
                view[k].size[last + 1] = operand[0]->size[d];
                view[k].stride[last + 1] = operand[k]->stride[d];
                view[k].ndim = last + 2;
            }
        }
    }
    int64_t numel = 1;
    for (int d = 0; d < view[0].ndim; d++) numel *= view[0].size[d];
    for (int k = 0; k < count; k++) {
        int64_t expect = 1;
        view[k].dense = true;
        for (int d = 0; d < view[k].ndim; d++) {
            if (view[k].size[d] != 1 && view[k].stride[d] != expect) view[k].dense = false;
            expect *= view[k].size[d];
        }
    }
    return numel;
}

struct fm_operand fm_cpu_expand(const struct fm_operand *operand, const struct fm_operand *like)
{
    struct fm_operand out = *operand;
    for (int d = 0; d < like->ndim; d++) {
        if (out.size[d] != like->size[d]) out.stride[d] = 0;
        out.size[d] = like->size[d];
    }
    return out;
}

void fm_cpu_runs_begin(struct fm_cpu_runs *runs, const struct fm_cpu_view *view, int64_t begin, int64_t count)
{
    runs->view = view;
    runs->left = count;
    runs->offset = 0;
    for (int d = 0; d < view->ndim; d++) {
        int64_t index = begin % view->size[d];
        begin /= view->size[d];
        runs->index[d] = index;
        runs->offset += index * view->stride[d];
    }
}

int64_t fm_cpu_runs_next(struct fm_cpu_runs *runs, int64_t *offset)
{
    const struct fm_cpu_view *view = runs->view;
    if (!runs->left) return 0;
    int64_t n = fm_min_i64(view->size[0] - runs->index[0], runs->left);
    *offset = runs->offset;
    runs->left -= n;
    runs->offset -= runs->index[0] * view->stride[0];
    runs->index[0] = 0;
    for (int d = 1; d < view->ndim; d++) {
        runs->offset += view->stride[d];
        if (++runs->index[d] < view->size[d]) break;
        runs->offset -= runs->index[d] * view->stride[d];
        runs->index[d] = 0;
    }
    return n;
}

/* Is the range whole innermost rows that lie evenly apart, as those of a channel slice do? Then without runs. */
static bool even_rows(const struct fm_cpu_view *view, int64_t begin, int64_t count, int64_t shape[3], int64_t *offset)
{
    int64_t n = view->size[0];
    if (view->ndim < 2 || view->stride[0] != 1 || n > count || (view->dtype != FM_F32 && view->dtype != FM_BF16))
        return false;
    if (begin % n || count % n) return false;
    int64_t row = begin / n, rows = count / n;
    if (row % view->size[1] + rows > view->size[1]) return false;
    *offset = 0;
    for (int d = 1; d < view->ndim; d++) *offset += row % view->size[d] * view->stride[d], row /= view->size[d];
    shape[0] = rows;
    shape[1] = view->stride[1];
    shape[2] = n;
    return true;
}

const float *fm_cpu_view_load(const struct fm_cpu_view *view, int64_t begin, int64_t count, float *buffer)
{
    int64_t bytes = fm_dtype_bytes(view->dtype);
    if (view->dense) {
        const char *from = view->data + begin * bytes;
        if (view->dtype == FM_F32) return (const float *)(const void *)from;
        fm_cpu_row_load(buffer, from, view->dtype, 1, count);
        return buffer;
    }
    struct fm_cpu_runs runs;
    float *to = buffer;
    int64_t offset = 0, n, shape[3];
    if (even_rows(view, begin, count, shape, &offset)) {
        fm_cpu_rows_load(buffer, view->data + offset * bytes, view->dtype, shape);
        return buffer;
    }
    fm_cpu_runs_begin(&runs, view, begin, count);
    while ((n = fm_cpu_runs_next(&runs, &offset)) > 0) {
        fm_cpu_row_load(to, view->data + offset * bytes, view->dtype, view->stride[0], n);
        to += n;
    }
    return buffer;
}

float *fm_cpu_view_open(const struct fm_cpu_view *view, int64_t begin, int64_t count, float *buffer)
{
    (void)count;
    if (view->dense && view->dtype == FM_F32) return (float *)(void *)view->data + begin;
    return buffer;
}

void fm_cpu_view_close(const struct fm_cpu_view *view, int64_t begin, int64_t count, const float *place)
{
    int64_t bytes = fm_dtype_bytes(view->dtype);
    if (view->dense) {
        if (view->dtype != FM_F32) fm_cpu_row_store(view->data + begin * bytes, place, view->dtype, 1, count);
        return;
    }
    struct fm_cpu_runs runs;
    int64_t offset = 0, n, shape[3];
    if (even_rows(view, begin, count, shape, &offset)) {
        fm_cpu_rows_store(view->data + offset * bytes, place, view->dtype, shape);
        return;
    }
    fm_cpu_runs_begin(&runs, view, begin, count);
    while ((n = fm_cpu_runs_next(&runs, &offset)) > 0) {
        fm_cpu_row_store(view->data + offset * bytes, place, view->dtype, view->stride[0], n);
        place += n;
    }
}

/* one element; the general and slow way */
static double element_load(const char *from, enum fm_dtype dtype)
{
    float narrow;
    double wide;
    int64_t integer;
    switch (dtype) {
    case FM_F64: memcpy(&wide, from, sizeof wide); return wide;
    case FM_I64: memcpy(&integer, from, sizeof integer); return (double)integer;
    default: fm_cpu_row_load(&narrow, from, dtype, 1, 1); return (double)narrow;
    }
}

void fm_cpu_view_load_f64(const struct fm_cpu_view *view, int64_t begin, int64_t count, double *buffer)
{
    int64_t bytes = fm_dtype_bytes(view->dtype), offset = 0, n;
    struct fm_cpu_runs runs;
    fm_cpu_runs_begin(&runs, view, begin, count);
    while ((n = fm_cpu_runs_next(&runs, &offset)) > 0) {
        const char *from = view->data + offset * bytes;
        int64_t step = view->stride[0] * bytes;
        if (view->dtype == FM_I64) {
            const int64_t *integer = (const int64_t *)(const void *)from;
            for (int64_t i = 0; i < n; i++) buffer[i] = (double)integer[i * view->stride[0]];
        } else if (view->dtype == FM_F32) {
            const float *narrow = (const float *)(const void *)from;
            for (int64_t i = 0; i < n; i++) buffer[i] = (double)narrow[i * view->stride[0]];
        } else {
            for (int64_t i = 0; i < n; i++) buffer[i] = element_load(from + i * step, view->dtype);
        }
        buffer += n;
    }
}

void fm_cpu_view_store_f64(const struct fm_cpu_view *view, int64_t begin, int64_t count, const double *from)
{
    int64_t bytes = fm_dtype_bytes(view->dtype), offset = 0, n;
    float narrow[FM_TILE];
    struct fm_cpu_runs runs;
    assert(count <= FM_TILE);
    fm_cpu_runs_begin(&runs, view, begin, count);
    while ((n = fm_cpu_runs_next(&runs, &offset)) > 0) {
        char *to = view->data + offset * bytes;
        int64_t stride = view->stride[0];
        if (view->dtype == FM_F64) {
            double *wide = (double *)(void *)to;
            for (int64_t i = 0; i < n; i++) wide[i * stride] = from[i];
        } else if (view->dtype == FM_I64) {
            int64_t *integer = (int64_t *)(void *)to;
            for (int64_t i = 0; i < n; i++) integer[i * stride] = (int64_t)from[i];
        } else {
            for (int64_t i = 0; i < n; i++) narrow[i] = (float)from[i];
            fm_cpu_row_store(to, narrow, view->dtype, stride, n);
        }
        from += n;
    }
}
