/* COPY and CAT: dense, by rows, or transposed in blocks. */
#include "probes/backends/cpu/kernels_internal.h"

#define ROWS    32 /* of a transposed block, along y's innermost dimension */
#define COLUMNS 32 /* along x's */

struct copy {
    struct fm_cpu_view view[2]; /* y, x */
    int64_t numel;
    int column;        /* dimension in which x is contiguous, when that is not the innermost one */
    int64_t blocks[2]; /* along dimension 0 and along column */
};

/* whole vectors inline where a row is too short for a call: 16 to 64 channels */
static inline void move_bytes(char *to, const char *from, int64_t n)
{
    int64_t i = 0;
    for (; n <= 512 && i + 32 <= n; i += 32) memcpy(to + i, from + i, 32);
    if (i < n) memcpy(to + i, from + i, (size_t)(n - i));
}

/* rows of n bytes, by whole vectors */
FM_CLONES static void move_rows(char *to, int64_t to_pitch, const char *from, int64_t from_pitch, int64_t rows,
                                int64_t n)
{
    for (int64_t r = 0; r < rows; r++, to += to_pitch, from += from_pitch) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = from[i];
    }
}

/* n elements of `bytes` each; strides in elements */
static void move_row(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n, int64_t bytes)
{
    if (to_stride == 1 && from_stride == 1) {
        move_bytes(to, from, n * bytes);
        return;
    }
#define MOVE(type)                                                                                                     \
    do {                                                                                                               \
        type *y = (type *)(void *)to;                                                                                  \
        const type *x = (const type *)(const void *)from;                                                              \
        for (int64_t i = 0; i < n; i++) y[i * to_stride] = x[i * from_stride];                                         \
    } while (0)
    if (bytes == 4)
        MOVE(uint32_t);
    else if (bytes == 2)
        MOVE(uint16_t);
    else if (bytes == 8)
        MOVE(uint64_t);
    else
        MOVE(uint8_t);
#undef MOVE
}

/* equal dtypes: runs of both views are cut at the same places */
static void copy_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct copy *c = context;
    const struct fm_cpu_view *y = &c->view[0], *x = &c->view[1];
    int64_t bytes = fm_dtype_bytes(y->dtype), to = 0, from = 0, n;
    struct fm_cpu_runs out, in;
    (void)part;
    if (y->dense && x->dense) {
        memcpy(y->data + begin * bytes, x->data + begin * bytes, (size_t)((end - begin) * bytes));
        return;
    }
    fm_cpu_runs_begin(&out, y, begin, end - begin);
    fm_cpu_runs_begin(&in, x, begin, end - begin);
    while ((n = fm_cpu_runs_next(&out, &to)) > 0 && fm_cpu_runs_next(&in, &from) == n)
        move_row(y->data + to * bytes, y->stride[0], x->data + from * bytes, x->stride[0], n, bytes);
}

/* equal dtypes, innermost runs contiguous in both: rows [begin, end) */
static void copy_even_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct copy *c = context;
    const struct fm_cpu_view *y = &c->view[0], *x = &c->view[1];
    int64_t bytes = fm_dtype_bytes(y->dtype), n = y->size[0] * bytes;
    (void)part;
    for (int64_t row = begin; row < end;) {
        int64_t rest = row, to = 0, from = 0, rows = fm_min_i64(end - row, y->size[1] - row % y->size[1]);
        for (int d = 1; d < y->ndim; d++) {
            to += rest % y->size[d] * y->stride[d];
            from += rest % y->size[d] * x->stride[d];
            rest /= y->size[d];
        }
        const char *source = x->data + from * bytes;
        if (n <= 1024) move_rows(y->data + to * bytes, y->stride[1] * bytes, source, x->stride[1] * bytes, rows, n);
        for (int64_t r = 0; n > 1024 && r < rows; r++)
            memcpy(y->data + (to + r * y->stride[1]) * bytes, source + r * x->stride[1] * bytes, (size_t)n);
        row += rows;
    }
}

static bool exact_only(enum fm_dtype dtype)
{
    return dtype == FM_I64 || dtype == FM_F64;
}

static void convert_tile(const struct copy *c, int64_t begin, int64_t n)
{
    float buffer[FM_TILE];
    const struct fm_cpu_view *y = &c->view[0], *x = &c->view[1];
    if (y->dense && y->dtype == FM_F32 && x->dense) {
        fm_cpu_row_load((float *)(void *)y->data + begin, x->data + begin * fm_dtype_bytes(x->dtype), x->dtype, 1, n);
    } else if (exact_only(y->dtype) || x->dtype == FM_F64) {
        double wide[FM_TILE];
        fm_cpu_view_load_f64(x, begin, n, wide);
        fm_cpu_view_store_f64(y, begin, n, wide);
    } else {
        const float *from = fm_cpu_view_load(x, begin, n, buffer);
        if (y->dtype == FM_F32 && y->dense)
            memcpy((float *)(void *)y->data + begin, from, (size_t)n * sizeof *from);
        else
            fm_cpu_view_close(y, begin, n, from);
    }
}

static void convert_tiles(void *context, int64_t begin, int64_t end, int part)
{
    const struct copy *c = context;
    (void)part;
    for (int64_t i = begin * FM_TILE; i < fm_min_i64(end * FM_TILE, c->numel); i += FM_TILE)
        convert_tile(c, i, fm_min_i64(FM_TILE, c->numel - i));
}

/* y[j * pitch + i] = x[i * COLUMNS + j]: a packed block to memory, conversion included. inner loop along i */
#define UNPACK(out_t, in_t, convert)                                                                                   \
    do {                                                                                                               \
        const in_t *x = packed;                                                                                        \
        for (int64_t j = 0; j < columns; j++) {                                                                        \
            out_t *y = (out_t *)(void *)to + j * pitch;                                                                \
            _Pragma("omp simd") for (int64_t i = 0; i < rows; i++) y[i] = convert(x[i * COLUMNS + j]);                 \
        }                                                                                                              \
    } while (0)
#define SAME(value) (value)

FM_CLONES static void unpack(char *to, int64_t pitch, enum fm_dtype to_dtype, const void *packed, enum fm_dtype dtype,
                             const int64_t size[2])
{
    int64_t rows = size[0], columns = size[1];
    if (to_dtype == FM_BF16 && dtype == FM_F32)
        UNPACK(uint16_t, float, fm_to_bf16);
    else if (to_dtype == FM_F32 && dtype == FM_BF16)
        UNPACK(float, uint16_t, fm_from_bf16);
    else if (fm_dtype_bytes(dtype) == 4)
        UNPACK(uint32_t, uint32_t, SAME);
    else if (fm_dtype_bytes(dtype) == 2)
        UNPACK(uint16_t, uint16_t, SAME);
    else if (fm_dtype_bytes(dtype) == 8)
        UNPACK(uint64_t, uint64_t, SAME);
    else
        UNPACK(uint8_t, uint8_t, SAME);
}

/* Through a packed block in the first-level cache: rows that lie a power of two apart would evict each other. */
static void transpose_block(const struct copy *c, int64_t to, int64_t from, const int64_t size[2])
{
    const struct fm_cpu_view *y = &c->view[0], *x = &c->view[1];
    _Alignas(FM_ALIGN) char packed[ROWS * COLUMNS * 8];
    int64_t bytes = fm_dtype_bytes(x->dtype);
    for (int64_t i = 0; i < size[0]; i++) {
        const char *row = x->data + (from + i * x->stride[0]) * bytes;
        memcpy(packed + i * COLUMNS * bytes, row, (size_t)(size[1] * bytes));
    }
    unpack(y->data + to * fm_dtype_bytes(y->dtype), y->stride[c->column], y->dtype, packed, x->dtype, size);
}

static void transpose_blocks(void *context, int64_t begin, int64_t end, int part)
{
    const struct copy *c = context;
    const struct fm_cpu_view *y = &c->view[0], *x = &c->view[1];
    (void)part;
    for (int64_t block = begin; block < end; block++) {
        int64_t rest = block, at[2], size[2], to, from;
        at[0] = rest % c->blocks[0] * ROWS;
        rest /= c->blocks[0];
        at[1] = rest % c->blocks[1] * COLUMNS;
        rest /= c->blocks[1];
        to = at[0] * y->stride[0] + at[1] * y->stride[c->column];
        from = at[0] * x->stride[0] + at[1] * x->stride[c->column];
        for (int d = 1; d < y->ndim; d++) {
            if (d == c->column) continue;
            to += rest % y->size[d] * y->stride[d];
            from += rest % y->size[d] * x->stride[d];
            rest /= y->size[d];
        }
        size[0] = fm_min_i64(ROWS, y->size[0] - at[0]);
        size[1] = fm_min_i64(COLUMNS, y->size[c->column] - at[1]);
        transpose_block(c, to, from, size);
    }
}

/* the dimension to transpose with, 0 if rows are as good */
static int find_column(const struct copy *c)
{
    const struct fm_cpu_view *y = &c->view[0], *x = &c->view[1];
    bool cast = (y->dtype == FM_F32 && x->dtype == FM_BF16) || (y->dtype == FM_BF16 && x->dtype == FM_F32);
    if (y->stride[0] != 1 || x->stride[0] <= 1 || (y->dtype != x->dtype && !cast)) return 0;
    for (int d = 1; d < x->ndim; d++) {
        if (x->stride[d] == 1 && x->size[d] >= 4 && y->size[0] >= 4) return d;
    }
    return 0;
}

static void copy_view(int threads, const struct fm_operand *y, void *to, const struct fm_operand *x, void *from)
{
    struct copy c = { .column = 0 };
    const struct fm_operand *operand[2] = { y, x };
    void *data[2] = { to, from };
    c.numel = fm_cpu_join(c.view, operand, data, 2, -1);
    c.column = find_column(&c);
    if (c.numel == 0) return;
    if (c.column) {
        c.blocks[0] = fm_ceil_div(c.view[0].size[0], ROWS);
        c.blocks[1] = fm_ceil_div(c.view[0].size[c.column], COLUMNS);
        int64_t outer = c.numel / (c.view[0].size[0] * c.view[0].size[c.column]);
        fm_cpu_parallel(threads, c.blocks[0] * c.blocks[1] * outer, FM_SMALL / (ROWS * COLUMNS), transpose_blocks, &c);
    } else if (y->dtype == x->dtype && c.view[0].ndim > 1 && c.view[0].stride[0] == 1 && c.view[1].stride[0] == 1) {
        int64_t n = c.view[0].size[0];
        fm_cpu_parallel(threads, c.numel / n, fm_max_i64(1, FM_SMALL / n), copy_even_rows, &c);
    } else if (y->dtype == x->dtype) {
        fm_cpu_parallel(threads, c.numel, FM_SMALL, copy_rows, &c);
    } else {
        fm_cpu_parallel(threads, fm_ceil_div(c.numel, FM_TILE), FM_SMALL / FM_TILE, convert_tiles, &c);
    }
}

fm_status fm_cpu_copy(const struct fm_cpu_call *call, struct fm_err *err)
{
    (void)err;
    copy_view(call->threads, &call->problem.operand[0], call->data[0], fm_cpu_in(call, 0), fm_cpu_in_data(call, 0));
    return FM_OK;
}

/* Inputs whose rows lie innermost, side by side: each output row is written in one go. */
#define MAX_PIECES 8
struct pieces {
    int count;
    char *to;
    int64_t to_pitch; /* bytes between rows */
    const char *from[MAX_PIECES];
    int64_t pitch[MAX_PIECES], bytes[MAX_PIECES];
};

static void cat_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct pieces *p = context;
    (void)part;
    for (int64_t row = begin; row < end; row++) {
        char *to = p->to + row * p->to_pitch;
        for (int k = 0; k < p->count; k++) {
            move_bytes(to, p->from[k] + row * p->pitch[k], p->bytes[k]);
            to += p->bytes[k];
        }
    }
}

static bool find_pieces(const struct fm_cpu_call *call, struct pieces *p, int64_t *rows)
{
    const struct fm_operand *y = &call->problem.operand[0];
    int dim = call->problem.attr->dim;
    int64_t bytes = fm_dtype_bytes(y->dtype);
    if (call->problem.n_in > MAX_PIECES || y->stride[dim] != 1) return false;
    *p = (struct pieces){ .count = (int)call->problem.n_in, .to = call->data[0] };
    for (int k = 0; k < p->count; k++) {
        struct fm_operand slice = *y;
        struct fm_cpu_view view[2];
        const struct fm_operand *x = fm_cpu_in(call, (uint32_t)k);
        const struct fm_operand *operand[2] = { &slice, x };
        void *data[2] = { call->data[0], fm_cpu_in_data(call, (uint32_t)k) };
        slice.size[dim] = x->size[dim];
        if (x->dtype != y->dtype || (x->stride[dim] != 1 && x->size[dim] != 1)) return false;
        fm_cpu_join(view, operand, data, 2, dim);
        if (view[0].ndim > 2) return false;
        p->from[k] = data[1];
        p->bytes[k] = x->size[dim] * bytes;
        *rows = view[0].ndim > 1 ? view[0].size[1] : 1;
        p->to_pitch = view[0].ndim > 1 ? view[0].stride[1] * bytes : 0;
        p->pitch[k] = view[0].ndim > 1 ? view[1].stride[1] * bytes : 0;
    }
    return true;
}

fm_status fm_cpu_cat(const struct fm_cpu_call *call, struct fm_err *err)
{
    struct fm_operand slice = call->problem.operand[0];
    struct pieces p;
    int dim = call->problem.attr->dim;
    int64_t rows = 0, numel = fm_operand_numel(&slice), at = 0;
    for (uint32_t k = 0; k < call->problem.n_in; k++) at += fm_cpu_in(call, k)->size[dim];
    if (at != slice.size[dim])
        return FM_FAIL(err, FM_INVALID, "cpu CAT: the inputs add up to %lld along dimension %d, the output has %lld",
                       (long long)at, dim, (long long)slice.size[dim]);
    if (numel == 0) return FM_OK;
    if (find_pieces(call, &p, &rows)) {
        fm_cpu_parallel(call->threads, rows, fm_max_i64(1, FM_SMALL * rows / numel), cat_rows, &p);
        return FM_OK;
    }
    at = 0;
    for (uint32_t k = 0; k < call->problem.n_in; k++) {
        const struct fm_operand *x = fm_cpu_in(call, k);
        slice.size[dim] = x->size[dim];
        char *to = (char *)call->data[0] + at * slice.stride[dim] * fm_dtype_bytes(slice.dtype);
        copy_view(call->threads, &slice, to, x, fm_cpu_in_data(call, k));
        at += x->size[dim];
    }
    return FM_OK;
}
