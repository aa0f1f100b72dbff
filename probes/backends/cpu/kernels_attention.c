/* SDPA and SDPA_BWD: attention that keeps no scores, tile by tile.
 *
 * Forward: a tile of queries meets all tiles of keys, with the largest score so far and the sum of exponentials carried
 * along (online softmax, Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022). Backward makes each tile's scores
 * again, once for the queries' gradients and once for those of keys and values: two products more than one pass would
 * take, but no sums across threads, so results do not depend on their number. All in f32. */
#include "probes/backends/cpu/kernels_internal.h"
#include "probes/backends/cpu/kernels_math.h"

#define TILE      32        /* queries, or keys */
#define DEPTH_MAX 256

enum { BATCH, HEAD, ROW, COLUMN };

/* rows first .. first + n of one head of an operand */
struct part {
    const struct fm_operand *operand;
    char *data;
    int64_t n;
};

struct attention {
    const struct fm_cpu_call *call;
    int64_t heads, queries, keys, depth;
    float scale;
    bool by_key;            /* backward: gradients of keys and values */
};

static struct part part_of(const struct fm_cpu_call *call, uint32_t i, const int64_t at[3])
{
    const struct fm_operand *o = &call->problem.operand[i];
    int64_t offset = at[0] * o->stride[BATCH] + at[1] * o->stride[HEAD] + at[2] * o->stride[ROW];
    struct part p = { o, (char *)call->data[i] + offset * fm_dtype_bytes((enum fm_dtype)o->dtype), o->size[ROW] - at[2] };
    p.n = fm_min_i64(p.n, TILE);
    return p;
}

static char *row_of(const struct part *p, int64_t row)
{
    return p->data + row * p->operand->stride[ROW] * fm_dtype_bytes((enum fm_dtype)p->operand->dtype);
}

/* [row][depth] */
static void load(float *to, const struct part *p, int64_t depth)
{
    for (int64_t r = 0; r < p->n; r++)
        fm_cpu_row_load(to + r * depth, row_of(p, r), (enum fm_dtype)p->operand->dtype, p->operand->stride[COLUMN], depth);
}

static void store(const struct part *p, const float *from, int64_t depth)
{
    for (int64_t r = 0; r < p->n; r++)
        fm_cpu_row_store(row_of(p, r), from + r * depth, (enum fm_dtype)p->operand->dtype, p->operand->stride[COLUMN], depth);
}

/* [row][depth] to [depth][TILE], zeros where no row is */
FM_CLONES static void turn(float *to, const float *from, int64_t n, int64_t depth)
{
    memset(to, 0, (size_t)(depth * TILE) * sizeof *to);
    for (int64_t r = 0; r < n; r++)
        for (int64_t d = 0; d < depth; d++) to[d * TILE + r] = from[r * depth + d];
}

/* s[i][j] = a_i . b_j, b turned */
FM_CLONES static void scores(float *s, const float *a, const float *turned, int64_t n, int64_t depth)
{
    for (int64_t i = 0; i < n; i++) {
        float sum[TILE] = { 0 };
        for (int64_t d = 0; d < depth; d++) {
            float x = a[i * depth + d];
            const float *row = turned + d * TILE;
#pragma omp simd
            for (int j = 0; j < TILE; j++) sum[j] += x * row[j];
        }
        memcpy(s + i * TILE, sum, sizeof sum);
    }
}

/* y += sum of w[j] * rows[j] */
FM_CLONES static void add_rows(float *y, const float *w, const float *rows, int64_t n, int64_t depth)
{
    for (int64_t j = 0; j < n; j++) {
        float x = w[j];
        const float *row = rows + j * depth;
#pragma omp simd
        for (int64_t d = 0; d < depth; d++) y[d] += x * row[d];
    }
}

/* ---- forward ---- */

/* what a query has seen so far */
struct seen { float top[TILE], sum[TILE], y[TILE * DEPTH_MAX]; };

/* the scores of one query with n keys */
FM_CLONES static void meet(struct seen *seen, int64_t i, float *s, int64_t n, float scale, int64_t depth)
{
    float top = seen->top[i], sum = 0, *y = seen->y + i * depth;
    for (int64_t j = 0; j < n; j++) {
        s[j] *= scale;
        top = s[j] > top || s[j] != s[j] ? s[j] : top;
    }
    float shrink = fm_expf(seen->top[i] - top);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        s[j] = fm_expf(s[j] - top);
        sum += s[j];
    }
    seen->top[i] = top;
    seen->sum[i] = seen->sum[i] * shrink + sum;
#pragma omp simd
    for (int64_t d = 0; d < depth; d++) y[d] *= shrink;
}

static void forward_tile(const struct attention *a, const int64_t at[3])
{
    const struct fm_cpu_call *call = a->call;
    int64_t depth = a->depth;
    float q[TILE * DEPTH_MAX], k[TILE * DEPTH_MAX], turned[TILE * DEPTH_MAX], s[TILE * TILE];
    struct seen seen;
    struct part queries = part_of(call, 2, at), y = part_of(call, 0, at);
    load(q, &queries, depth);
    for (int64_t i = 0; i < TILE; i++) seen.top[i] = -(float)INFINITY, seen.sum[i] = 0;
    memset(seen.y, 0, (size_t)(queries.n * depth) * sizeof *seen.y);
    for (int64_t first = 0; first < a->keys; first += TILE) {
        const int64_t there[] = { at[0], at[1], first };
        struct part keys = part_of(call, 3, there), values = part_of(call, 4, there);
        load(k, &keys, depth);
        turn(turned, k, keys.n, depth);
        load(k, &values, depth);
        scores(s, q, turned, queries.n, depth);
        for (int64_t i = 0; i < queries.n; i++) {
            meet(&seen, i, s + i * TILE, keys.n, a->scale, depth);
            add_rows(seen.y + i * depth, s + i * TILE, k, keys.n, depth);
        }
    }
    struct part lse = part_of(call, 1, at);
    for (int64_t i = 0; i < queries.n; i++) {
        float whole = 1.0f / seen.sum[i], log_sum = seen.top[i] + logf(seen.sum[i]);
        for (int64_t d = 0; d < depth; d++) seen.y[i * depth + d] *= whole;
        fm_cpu_row_store(row_of(&lse, i), &log_sum, (enum fm_dtype)lse.operand->dtype, 1, 1);
    }
    store(&y, seen.y, depth);
}

/* ---- backward ---- */

enum { DQ, DK, DV, G, Q, K, V, Y, LSE };

/* of each query: its log-sum-exp and g . y */
static void statistics(const struct attention *a, const int64_t at[3], const float *g, float lse[TILE], float inner[TILE])
{
    struct part y = part_of(a->call, Y, at), sums = part_of(a->call, LSE, at);
    float row[DEPTH_MAX];
    for (int64_t i = 0; i < y.n; i++) {
        float sum = 0;
        fm_cpu_row_load(row, row_of(&y, i), (enum fm_dtype)y.operand->dtype, y.operand->stride[COLUMN], a->depth);
        for (int64_t d = 0; d < a->depth; d++) sum += row[d] * g[i * a->depth + d];
        inner[i] = sum;
        fm_cpu_row_load(&lse[i], row_of(&sums, i), (enum fm_dtype)sums.operand->dtype, 1, 1);
    }
}

/* scores become p, and products of gradient and value ds; statistics are those of the row, or of each column */
FM_CLONES static void weigh(float *p, float *ds, const float *lse, const float *inner, float scale, bool by_column)
{
#pragma omp simd
    for (int j = 0; j < TILE; j++) {
        int of = by_column ? j : 0;
        float e = fm_expf(p[j] * scale - lse[of]);
        ds[j] = e * (ds[j] - inner[of]) * scale;
        p[j] = e;
    }
}

/* A tile of queries with gradients (own) and all keys with values (other), or the other way round. */
struct side {
    float rows[2][TILE * DEPTH_MAX], turned[2][TILE * DEPTH_MAX];
    float lse[TILE], inner[TILE];
    int64_t n;
};

static void load_side(const struct attention *a, struct side *side, const int64_t at[3], bool keys)
{
    struct part first = part_of(a->call, keys ? K : Q, at), second = part_of(a->call, keys ? V : G, at);
    side->n = first.n;
    load(side->rows[0], &first, a->depth);
    load(side->rows[1], &second, a->depth);
    memset(side->lse, 0, sizeof side->lse);
    memset(side->inner, 0, sizeof side->inner);
    if (!keys) statistics(a, at, side->rows[1], side->lse, side->inner);
}

static void backward_tile(const struct attention *a, const int64_t at[3])
{
    int64_t depth = a->depth, others = a->by_key ? a->queries : a->keys;
    float p[TILE * TILE], ds[TILE * TILE], sum[2][TILE * DEPTH_MAX];
    struct side own, other;
    load_side(a, &own, at, a->by_key);
    memset(sum, 0, sizeof sum);
    for (int64_t first = 0; first < others; first += TILE) {
        load_side(a, &other, (const int64_t[]){ at[0], at[1], first }, !a->by_key);
        const struct side *queries = a->by_key ? &other : &own;
        for (int k = 0; k < 2; k++) turn(other.turned[k], other.rows[k], other.n, depth);
        scores(p, own.rows[0], other.turned[0], own.n, depth);
        scores(ds, own.rows[1], other.turned[1], own.n, depth);
        for (int64_t i = 0; i < own.n; i++) {
            int64_t of = a->by_key ? 0 : i;
            weigh(p + i * TILE, ds + i * TILE, queries->lse + of, queries->inner + of, a->scale, a->by_key);
            add_rows(sum[0] + i * depth, ds + i * TILE, other.rows[0], other.n, depth);
            if (a->by_key) add_rows(sum[1] + i * depth, p + i * TILE, other.rows[1], other.n, depth);
        }
    }
    struct part first = part_of(a->call, a->by_key ? DK : DQ, at), second = part_of(a->call, DV, at);
    store(&first, sum[0], depth);
    if (a->by_key) store(&second, sum[1], depth);
}

/* ---- both ---- */

static void tiles(const struct attention *a, int64_t rows, int64_t begin, int64_t end,
                  void (*run)(const struct attention *a, const int64_t at[3]))
{
    int64_t count = fm_ceil_div(rows, TILE);
    for (int64_t t = begin; t < end; t++)
        run(a, (const int64_t[]){ t / count / a->heads, t / count % a->heads, t % count * TILE });
}

static void forward_range(void *context, int64_t begin, int64_t end, int part)
{
    const struct attention *a = context;
    (void)part;
    tiles(a, a->queries, begin, end, forward_tile);
}

static void backward_range(void *context, int64_t begin, int64_t end, int part)
{
    const struct attention *a = context;
    (void)part;
    tiles(a, a->by_key ? a->keys : a->queries, begin, end, backward_tile);
}

static fm_status describe(const struct fm_cpu_call *call, uint32_t q, struct attention *a, struct fm_err *err)
{
    const struct fm_operand *o = &call->problem.operand[q];
    fm_status status = fm_cpu_need_float(call, err);
    if (status != FM_OK) return status;
    if (o->ndim != 4 || o[1].ndim != 4) return FM_FAIL(err, FM_INVALID, "SDPA takes (B, H, L, D)");
    if (o->size[COLUMN] > DEPTH_MAX)
        return FM_FAIL(err, FM_UNSUPPORTED, "cpu: attention in one kernel has heads of up to %d channels, not %lld", DEPTH_MAX,
                       (long long)o->size[COLUMN]);
    *a = (struct attention){ .call = call, .heads = o->size[HEAD], .queries = o->size[ROW], .keys = o[1].size[ROW],
                             .depth = o->size[COLUMN], .scale = (float)call->problem.attr->alpha };
    return FM_OK;
}

fm_status fm_cpu_sdpa(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct attention a;
    fm_status status = describe(call, 2, &a, err);
    if (status != FM_OK) return status;
    int64_t batch = call->problem.operand[0].size[BATCH];
    fm_cpu_parallel(call->threads, batch * a.heads * fm_ceil_div(a.queries, TILE), 1, forward_range, &a);
    return FM_OK;
}

fm_status fm_cpu_sdpa_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct attention a;
    fm_status status = describe(call, Q, &a, err);
    if (status != FM_OK) return status;
    int64_t heads = call->problem.operand[0].size[BATCH] * a.heads;
    fm_cpu_parallel(call->threads, heads * fm_ceil_div(a.queries, TILE), 1, backward_range, &a);
    a.by_key = true;
    fm_cpu_parallel(call->threads, heads * fm_ceil_div(a.keys, TILE), 1, backward_range, &a);
    return FM_OK;
}
