#include "probes/backends/ref/kernels.h"

#include <math.h>

/* One (batch, head) of SDPA or SDPA_BWD: matrices whose element (i, d) is at first + i * row + d * column. */
struct matrix {
    const struct fm_view *view;
    int64_t first, row, column;
};

static struct matrix matrix(const struct fm_view *view, int64_t batch, int64_t head)
{
    const struct fm_operand *o = view->o;
    return (struct matrix){ view, batch * o->stride[0] + head * o->stride[1], o->stride[2], o->ndim > 3 ? o->stride[3] : 0 };
}

static double get(const struct matrix *m, int64_t i, int64_t d)
{
    return fm_view_load(m->view, m->first + i * m->row + d * m->column);
}

static void put(const struct matrix *m, int64_t i, int64_t d, double value)
{
    fm_view_store(m->view, m->first + i * m->row + d * m->column, value);
}

/* a row of a with a row of b */
static double dot(const struct matrix *a, int64_t i, const struct matrix *b, int64_t j, int64_t depth)
{
    double sum = 0;
    for (int64_t d = 0; d < depth; d++) sum += get(a, i, d) * get(b, j, d);
    return sum;
}

#define CHUNK 64        /* channels that are summed side by side, so that their weights are computed once */

/* sum[d] += weight * m[j][first + d] */
static void add(double sum[CHUNK], double weight, const struct matrix *m, int64_t j, int64_t first, int64_t depth)
{
    for (int64_t d = 0; d < CHUNK && first + d < depth; d++) sum[d] += weight * get(m, j, first + d);
}

static void put_chunk(const struct matrix *m, int64_t i, int64_t first, int64_t depth, const double sum[CHUNK])
{
    for (int64_t d = 0; d < CHUNK && first + d < depth; d++) put(m, i, first + d, sum[d]);
}

/* operands: the first `wide` (B, H, L or M, D), lse (B, H, L) */
static fm_status check(const struct fm_view *wide, int count, const struct fm_view *lse, struct fm_err *err)
{
    bool fits = lse->o->ndim == 3;
    for (int i = 0; i < count; i++) fits = fits && wide[i].o->ndim == 4;
    return fits ? FM_OK : FM_FAIL(err, FM_INVALID, "SDPA takes (B, H, L, D) and log-sum-exps (B, H, L)");
}

static void forward(const struct matrix m[4], const struct matrix *lse, const int64_t size[3], double scale)
{
    const struct matrix *y = &m[0], *q = &m[1], *k = &m[2], *v = &m[3];
    int64_t rows = size[0], keys = size[1], depth = size[2];
    for (int64_t i = 0; i < rows; i++) {
        double most = -INFINITY, total = 0;
        for (int64_t j = 0; j < keys; j++) most = fmax(most, scale * dot(q, i, k, j, depth));
        for (int64_t j = 0; j < keys; j++) total += exp(scale * dot(q, i, k, j, depth) - most);
        put(lse, i, 0, most + log(total));
        for (int64_t first = 0; first < depth; first += CHUNK) {
            double sum[CHUNK] = { 0 };
            for (int64_t j = 0; j < keys; j++) add(sum, exp(scale * dot(q, i, k, j, depth) - most) / total, v, j, first, depth);
            put_chunk(y, i, first, depth, sum);
        }
    }
}

fm_status fm_ref_sdpa(const struct fm_launch *launch, struct fm_err *err)
{
    const struct fm_view view[4] = { fm_ref_out(launch, 0), fm_ref_in(launch, 0), fm_ref_in(launch, 1), fm_ref_in(launch, 2) };
    const struct fm_view lse = fm_ref_out(launch, 1);
    fm_status status = check(view, 4, &lse, err);
    if (status != FM_OK) return status;
    const int64_t *q = view[1].o->size, size[3] = { q[2], view[2].o->size[2], q[3] };
    for (int64_t b = 0; b < q[0]; b++)
        for (int64_t h = 0; h < q[1]; h++) {
            struct matrix m[4], l = matrix(&lse, b, h);
            for (int i = 0; i < 4; i++) m[i] = matrix(&view[i], b, h);
            forward(m, &l, size, launch->problem.attr->alpha);
        }
    return FM_OK;
}

enum { DQ, DK, DV, G, Q, K, V, Y, WIDE };

/* p and ds of query i and key j */
static void weights(const struct matrix m[WIDE], const struct matrix *lse, const int64_t at[3], double scale, double out[2])
{
    int64_t i = at[0], j = at[1], depth = at[2];
    double p = exp(scale * dot(&m[Q], i, &m[K], j, depth) - get(lse, i, 0));
    out[0] = p;
    out[1] = p * (dot(&m[G], i, &m[V], j, depth) - dot(&m[G], i, &m[Y], i, depth));
}

static void backward(const struct matrix m[WIDE], const struct matrix *lse, const int64_t size[3], double scale)
{
    int64_t rows = size[0], keys = size[1], depth = size[2];
    double w[2];
    for (int64_t first = 0; first < depth; first += CHUNK) {
        for (int64_t i = 0; i < rows; i++) {
            double dq[CHUNK] = { 0 };
            for (int64_t j = 0; j < keys; j++) {
                weights(m, lse, (const int64_t[]){ i, j, depth }, scale, w);
                add(dq, scale * w[1], &m[K], j, first, depth);
            }
            put_chunk(&m[DQ], i, first, depth, dq);
        }
        for (int64_t j = 0; j < keys; j++) {
            double dk[CHUNK] = { 0 }, dv[CHUNK] = { 0 };
            for (int64_t i = 0; i < rows; i++) {
                weights(m, lse, (const int64_t[]){ i, j, depth }, scale, w);
                add(dk, scale * w[1], &m[Q], i, first, depth);
                add(dv, w[0], &m[G], i, first, depth);
            }
            put_chunk(&m[DK], j, first, depth, dk);
            put_chunk(&m[DV], j, first, depth, dv);
        }
    }
}

fm_status fm_ref_sdpa_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_view view[WIDE], lse = fm_ref_in(launch, 5);
    for (uint32_t i = 0; i < 3; i++) view[i] = fm_ref_out(launch, i);
    for (uint32_t i = 0; i < 5; i++) view[G + i] = fm_ref_in(launch, i);
    fm_status status = check(view, WIDE, &lse, err);
    if (status != FM_OK) return status;
    const int64_t *q = view[Q].o->size, size[3] = { q[2], view[K].o->size[2], q[3] };
    for (int64_t b = 0; b < q[0]; b++)
        for (int64_t h = 0; h < q[1]; h++) {
            struct matrix m[WIDE], l = matrix(&lse, b, h);
            for (int i = 0; i < WIDE; i++) m[i] = matrix(&view[i], b, h);
            backward(m, &l, size, launch->problem.attr->alpha);
        }
    return FM_OK;
}
