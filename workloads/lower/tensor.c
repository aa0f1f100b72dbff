/* Stores, tensors and variables: reference counts decide the allocations and frees that are recorded. */
#include "workloads/lower/internal.h"

#include "tuner/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)1 << 16)
#define CHUNK_DOUBLINGS 4           /* chunks grow, so that a few of them hold a large graph */

void lower_fail(struct lower *l, fm_status status, const char *format, ...)
{
    if (failed(l)) return;
    char text[FM_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    l->status = FM_FAIL(l->err, status, "%s", text);
}

/* ---- memory ---- */

/* the next chunk with room for an object: one that was there before the last reset, or a fresh one */
static struct chunk *next_chunk(struct lower *l, struct arena *arena, size_t bytes)
{
    arena->used = 0;
    while (arena->at < arena->chunks)
        if (arena->chunk[arena->at++].bytes >= bytes) return &arena->chunk[arena->at - 1];
    size_t doublings = arena->chunks < CHUNK_DOUBLINGS ? arena->chunks : CHUNK_DOUBLINGS;
    size_t fresh_bytes = CHUNK_BYTES << doublings;
    struct chunk *grown = fm_grow(arena->chunk, &arena->chunk_room, arena->chunks + 1, sizeof *grown);
    if (grown) arena->chunk = grown;
    struct chunk fresh = { .bytes = fresh_bytes > bytes ? fresh_bytes : bytes };
    fresh.memory = grown ? fm_realloc(NULL, fresh.bytes, 1) : NULL;
    if (!fresh.memory) {
        lower_fail(l, FM_NOMEM, "lowering: %zu bytes", fresh.bytes);
        return NULL;
    }
    arena->chunk[arena->chunks++] = fresh;
    arena->at = arena->chunks;
    return &arena->chunk[arena->at - 1];
}

void *lower_alloc(struct lower *l, struct arena *arena, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    struct chunk *chunk = arena->at ? &arena->chunk[arena->at - 1] : NULL;
    if (!chunk || chunk->bytes - arena->used < bytes) chunk = next_chunk(l, arena, bytes);
    if (!chunk) return NULL;
    void *item = chunk->memory + arena->used;
    arena->used += bytes;
    return memset(item, 0, bytes);
}

void arena_reset(struct arena *arena)
{
    arena->at = 0;
    arena->used = 0;
}

void arena_release(struct arena *arena)
{
    for (size_t i = 0; i < arena->chunks; i++) fm_free(arena->chunk[i].memory);
    fm_free(arena->chunk);
    *arena = (struct arena){ 0 };
}

void pool_release(struct pool *pool)
{
    fm_free(pool->free_item);
    arena_release(&pool->arena);
    *pool = (struct pool){ 0 };
}

static void *pool_take(struct lower *l, struct pool *pool, size_t bytes)
{
    if (!pool->free_count) return lower_alloc(l, &pool->arena, bytes);
    void *item = pool->free_item[--pool->free_count];
    memset(item, 0, bytes);
    return item;
}

static void pool_give(struct lower *l, struct pool *pool, void *item)
{
    void **grown = fm_grow(pool->free_item, &pool->free_room, pool->free_count + 1, sizeof *grown);
    if (!grown) {
        lower_fail(l, FM_NOMEM, "lowering");
        return;
    }
    pool->free_item = grown;
    pool->free_item[pool->free_count++] = item;
}

/* ---- strides ---- */

int64_t numel_of(const struct tensor *x)
{
    int64_t n = 1;
    for (uint32_t d = 0; d < x->ndim; d++) n *= x->size[d];
    return n;
}

void contiguous_strides(const int64_t *size, uint32_t ndim, int64_t *stride)
{
    int64_t step = 1;
    for (uint32_t d = ndim; d-- > 0;) {
        stride[d] = step;
        step *= size[d];
    }
}

void channels_last_strides(const int64_t *size, uint32_t ndim, int64_t *stride)
{
    int64_t step = size[1];
    stride[1] = 1;
    for (uint32_t d = ndim; d-- > 2;) {
        stride[d] = step;
        step *= size[d];
    }
    stride[0] = step;
}

static bool strides_equal(const struct tensor *x, const int64_t *stride)
{
    for (uint32_t d = 0; d < x->ndim; d++)
        if (x->size[d] != 1 && x->stride[d] != stride[d]) return false;
    return true;
}

bool is_contiguous(const struct tensor *x)
{
    int64_t stride[FM_RANK];
    contiguous_strides(x->size, x->ndim, stride);
    return strides_equal(x, stride);
}

/* torch's rule (is_channels_last_strides): one sample's strides may be ambiguous, and then count as contiguous */
bool is_channels_last(const struct tensor *x)
{
    if (x->ndim < 4 || x->stride[1] == 0) return false;
    int64_t least = 0;
    for (uint32_t i = 0; i < x->ndim; i++) {
        uint32_t d = i == 0 ? 1 : i + 1 < x->ndim ? x->ndim - i : 0;        /* channels, innermost space, .., batch */
        if (x->stride[d] < least || (d == 0 && least == x->stride[1])) return false;
        least = x->stride[d] * (x->size[d] > 1 ? x->size[d] : 1);
    }
    return true;
}

bool is_dense(const struct tensor *x)
{
    if (is_contiguous(x)) return true;
    uint32_t order[FM_RANK], n = 0;
    for (uint32_t d = 0; d < x->ndim; d++) {
        if (x->size[d] == 1) continue;
        uint32_t i = n++;
        while (i > 0 && x->stride[order[i - 1]] > x->stride[d]) {
            order[i] = order[i - 1];
            i--;
        }
        order[i] = d;
    }
    int64_t step = 1;
    for (uint32_t i = 0; i < n; i++) {
        if (x->stride[order[i]] != step) return false;
        step *= x->size[order[i]];
    }
    return true;
}

bool view_strides(const struct tensor *x, const int64_t *size, uint32_t ndim, int64_t *stride)
{
    int64_t chunk_size[FM_RANK], chunk_stride[FM_RANK];      /* dimensions merged from the right */
    uint32_t chunks = 0;
    for (uint32_t d = x->ndim; d-- > 0;) {
        if (x->size[d] == 1) continue;
        if (chunks && x->stride[d] == chunk_stride[chunks - 1] * chunk_size[chunks - 1]) {
            chunk_size[chunks - 1] *= x->size[d];
        } else {
            chunk_size[chunks] = x->size[d];
            chunk_stride[chunks++] = x->stride[d];
        }
    }
    if (!chunks) {
        contiguous_strides(size, ndim, stride);
        return true;
    }
    int64_t d = (int64_t)ndim - 1;
    for (uint32_t c = 0; c < chunks; c++) {
        int64_t filled = 1;
        while (d >= 0 && (filled < chunk_size[c] || size[d] == 1)) {
            stride[d] = filled * chunk_stride[c];
            filled *= size[d--];
        }
        if (filled != chunk_size[c]) return false;
    }
    return d < 0;
}

/* ---- stores and tensors ---- */

static struct store *new_store(struct lower *l, int64_t bytes, enum fm_dtype dtype)
{
    struct store *s = pool_take(l, &l->stores, sizeof *s);
    if (!s) return NULL;
    s->bytes = bytes;
    s->id = fm_program_storage(
        l->program, (struct fm_storage){
                        .bytes = bytes, .label = l->label, .kind = FM_STORAGE_ACTIVATION, .dtype = (uint8_t)dtype });
    fm_program_instr(l->program, FM_ALLOC, s->id, 0);
    return s;
}

static struct tensor *bare_tensor(struct lower *l, struct store *store, uint32_t ndim, enum fm_dtype dtype)
{
    struct tensor *x = store ? pool_take(l, &l->tensors, sizeof *x) : NULL;
    if (!x) return NULL;
    x->store = store;
    store->refs++;
    x->refs = 1;
    x->ndim = (uint8_t)ndim;
    x->dtype = (uint8_t)dtype;
    return x;
}

struct tensor *new_tensor(struct lower *l, const int64_t *size, uint32_t ndim, enum fm_dtype dtype, enum layout layout)
{
    if (failed(l)) return NULL;
    int64_t n = 1;
    for (uint32_t d = 0; d < ndim; d++) n *= size[d];
    struct store *store = new_store(l, n * fm_dtype_bytes(dtype), dtype);
    struct tensor *x = bare_tensor(l, store, ndim, dtype);
    if (!x) return NULL;
    for (uint32_t d = 0; d < ndim; d++) x->size[d] = size[d];
    if (layout == CHANNELS_LAST && ndim >= 4) channels_last_strides(size, ndim, x->stride);
    else contiguous_strides(size, ndim, x->stride);
    if (layout == IMAGE && ndim >= 4) {
        store->channels = (uint32_t)size[1];
        store->spatial = (uint32_t)(n / size[0] / size[1]);
    }
    return x;
}

struct tensor *new_vector(struct lower *l, int64_t n, enum fm_dtype dtype)
{
    return new_tensor(l, &n, 1, dtype, PLAIN);
}

struct tensor *new_scalar(struct lower *l, enum fm_dtype dtype)
{
    return new_tensor(l, NULL, 0, dtype, PLAIN);
}

struct tensor *new_like(struct lower *l, const struct tensor *x, enum fm_dtype dtype)
{
    if (!x || failed(l)) return NULL;
    bool dense = is_dense(x);
    enum layout layout = x->store->channels && x->ndim >= 4 ? IMAGE : PLAIN;
    /* a narrow view is not dense, but its order of dimensions stays (infer_dense_strides) */
    if (!dense && is_channels_last(x)) layout = CHANNELS_LAST;
    struct tensor *y = new_tensor(l, x->size, x->ndim, dtype, layout);
    if (!y || !dense) return y;
    for (uint32_t d = 0; d < x->ndim; d++) y->stride[d] = x->stride[d];
    bool whole = numel_of(x) * fm_dtype_bytes(x->dtype) == x->store->bytes;
    y->store->channels = whole ? x->store->channels : is_contiguous(x) ? y->store->channels : 0;
    y->store->spatial = whole ? x->store->spatial : is_contiguous(x) ? y->store->spatial : 0;
    return y;
}

struct tensor *new_from_meta(struct lower *l, const struct meta *m, enum fm_dtype dtype)
{
    struct tensor *y = new_tensor(l, m->size, m->ndim, dtype, PLAIN);
    if (!y) return NULL;
    struct tensor probe = *y;
    for (uint32_t d = 0; d < m->ndim; d++) probe.stride[d] = m->stride[d];
    if (is_dense(&probe))
        for (uint32_t d = 0; d < m->ndim; d++) y->stride[d] = m->stride[d];
    y->store->channels = m->channels;
    y->store->spatial = m->spatial;
    return y;
}

struct tensor *new_view(struct lower *l, struct tensor *x, const int64_t *size, const int64_t *stride, uint32_t ndim,
                        int64_t offset)
{
    struct tensor *y = x && !failed(l) ? bare_tensor(l, x->store, ndim, x->dtype) : NULL;
    if (!y) return NULL;
    y->offset = offset;
    for (uint32_t d = 0; d < ndim; d++) {
        y->size[d] = size[d];
        y->stride[d] = stride[d];
    }
    if (!y->store->channels) return y;
    struct fm_operand view = operand_of(y);
    if (!fm_operand_channels_last(&view)) become_plain(l, y->store);
    return y;
}

void become_plain(struct lower *l, struct store *store)
{
    uint8_t *grown = fm_grow(l->plain, &l->plain_room, (size_t)store->id + 1, 1);
    if (!grown) {
        lower_fail(l, FM_NOMEM, "lowering");
        return;
    }
    l->plain = grown;
    l->plain[store->id] = 1;
    l->any_image_plain = true;
    store->channels = store->spatial = 0;
}

struct tensor *keep(struct tensor *x)
{
    if (x) x->refs++;
    return x;
}

void drop(struct lower *l, struct tensor *x)
{
    if (!x || --x->refs) return;
    struct store *s = x->store;
    pool_give(l, &l->tensors, x);
    if (--s->refs) return;
    fm_program_instr(l->program, FM_FREE, s->id, 0);
    pool_give(l, &l->stores, s);
}

void set_kind(struct lower *l, struct tensor *x, enum fm_storage_kind kind)
{
    if (x && x->store->id < l->program->storage_count) l->program->storage[x->store->id].kind = (uint8_t)kind;
}

/* ---- variables ---- */

struct var *new_var(struct lower *l, struct tensor *x)
{
    struct var *v = x ? pool_take(l, &l->vars, sizeof *v) : NULL;
    if (!v) {
        drop(l, x);
        return NULL;
    }
    v->x = x;
    v->refs = 1;
    v->param = -1;
    return v;
}

struct var *keep_var(struct var *v)
{
    if (v) v->refs++;
    return v;
}

void drop_var(struct lower *l, struct var *v)
{
    if (!v || --v->refs) return;
    drop(l, v->x);
    pool_give(l, &l->vars, v);
}
