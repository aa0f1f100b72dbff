/* What the cpu backend's own kernels share: views, tiles, row converters, a parallel for.
 *
 * A *view* is an operand seen through the dimension order that suits all operands of a call: innermost first,
 * sizes 1 dropped, dimensions merged where every operand allows it. Flat index i of a view counts in that order, so a
 * range [begin, begin + count) means the same elements in each view of a join. Kernels walk such ranges in tiles of
 * at most FM_TILE elements as float: fm_cpu_view_load() hands out the storage itself where it is dense f32 and converts
 * into the given buffer (first-level cache) otherwise, so that one loop serves every dtype and layout.
 *
 * Work is cut into parts by the problem and the thread count alone, so results repeat for a given thread count. */
#ifndef FM_PROBES_BACKENDS_CPU_KERNELS_INTERNAL_H
#define FM_PROBES_BACKENDS_CPU_KERNELS_INTERNAL_H

#include "probes/backends/cpu/kernels.h"

#include <math.h>
#include <string.h>

/* Function multiversioning: one binary, the widest vectors of the machine. Thread sanitizer's runtime is not up when
 * the resolvers run; clang 14 and gcc 11 do not know the levels. */
#if !defined(__x86_64__) || !defined(__gnu_linux__) || !defined(__GNUC__) || defined(__clang__) ||                     \
    defined(__SANITIZE_THREAD__) || defined(FM_NO_CLONES)
#define FM_CLONES
#elif __GNUC__ >= 12
#define FM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FM_CLONES __attribute__((target_clones("avx2", "default")))
#endif

#define FM_TILE    1024 /* elements; a few float buffers of it stay in the first-level cache */
#define FM_BLOCK   8192 /* elements of a block of rows: added in f32 before sums go on in f64 */
#define FM_COLUMNS 512  /* columns handled side by side */
#define FM_SMALL   8192 /* elements below which a second thread costs more than it brings */
#define FM_ALIGN   64

struct fm_cpu_view {
    char *data;
    enum fm_dtype dtype;
    int ndim;
    bool dense;                                     /* flat index = element offset */
    int64_t size[FM_MAX_DIMS], stride[FM_MAX_DIMS]; /* innermost first; stride in elements */
};

/* Joins count operands of equal sizes (0 stride where expanded) into views; data[k] belongs to operand[k]. The order
 * of dimensions is the first operand's. inner >= 0: that dimension stays alone as the innermost one. Returns the
 * number of elements. */
int64_t fm_cpu_join(struct fm_cpu_view *view, const struct fm_operand *const *operand, void *const *data, int count,
                    int inner);
/* one operand expanded to the sizes of another: dimensions of size 1 get stride 0 */
struct fm_operand fm_cpu_expand(const struct fm_operand *operand, const struct fm_operand *like);

const float *fm_cpu_view_load(const struct fm_cpu_view *view, int64_t begin, int64_t count, float *buffer);
/* where to write count elements from begin; fm_cpu_view_close() stores them if that was the buffer */
float *fm_cpu_view_open(const struct fm_cpu_view *view, int64_t begin, int64_t count, float *buffer);
void fm_cpu_view_close(const struct fm_cpu_view *view, int64_t begin, int64_t count, const float *place);
/* the exact twin for i64 and f64 operands */
void fm_cpu_view_load_f64(const struct fm_cpu_view *view, int64_t begin, int64_t count, double *buffer);
void fm_cpu_view_store_f64(const struct fm_cpu_view *view, int64_t begin, int64_t count, const double *from);

/* Runs of a view: maximal pieces of a flat range that lie in one innermost row. */
struct fm_cpu_runs {
    const struct fm_cpu_view *view;
    int64_t index[FM_MAX_DIMS];
    int64_t offset; /* of the current run's first element */
    int64_t left;   /* elements of the range not yet handed out */
};
void fm_cpu_runs_begin(struct fm_cpu_runs *runs, const struct fm_cpu_view *view, int64_t begin, int64_t count);
/* length of the next run, its element offset in *offset; 0 at the end */
int64_t fm_cpu_runs_next(struct fm_cpu_runs *runs, int64_t *offset);

/* n elements, stride in elements */
void fm_cpu_row_load(float *to, const void *from, enum fm_dtype dtype, int64_t stride, int64_t n);
void fm_cpu_row_store(void *to, const float *from, enum fm_dtype dtype, int64_t stride, int64_t n);

/* the same for f32 and bf16 rows that lie apart: shape is rows, elements from row to row, elements of a row */
void fm_cpu_rows_load(float *to, const void *from, enum fm_dtype dtype, const int64_t shape[3]);
void fm_cpu_rows_store(void *to, const float *from, enum fm_dtype dtype, const int64_t shape[3]);

/* Column sums of rows x n floats, rows pitch apart, n <= FM_COLUMNS, rows * n <= FM_BLOCK, added to sum[n]. */
void fm_cpu_columns_add(double *sum, const float *x, int64_t pitch, int64_t rows, int64_t n);
/* how many dense rows of n go side by side as one row of FM_COLUMNS or fewer */
static inline int64_t fm_fold(int64_t n)
{
    return n < 128 ? 256 / n : 1;
}

/* fn(context, begin, end, part) for parts of [0, count), part < threads; at least grain items a part */
typedef void fm_cpu_range_fn(void *context, int64_t begin, int64_t end, int part);
void fm_cpu_parallel(int threads, int64_t count, int64_t grain, fm_cpu_range_fn *fn, void *context);
/* number of parts that fm_cpu_parallel() makes */
int fm_cpu_parts(int threads, int64_t count, int64_t grain);
/* bounds of part p of parts over [0, count): begin of p, end is begin of p + 1 */
int64_t fm_cpu_part_begin(int64_t count, int parts, int p);

fm_status fm_cpu_unsupported(const struct fm_cpu_call *call, int operand, const char *why, struct fm_err *err);
/* FM_UNSUPPORTED unless every operand is one of f32, bf16, f16, bool (the dtypes of the float path) */
fm_status fm_cpu_need_float(const struct fm_cpu_call *call, struct fm_err *err) FM_MUST_USE;

static inline const struct fm_operand *fm_cpu_in(const struct fm_cpu_call *call, uint32_t i)
{
    return &call->problem.operand[call->problem.n_out + i];
}
static inline void *fm_cpu_in_data(const struct fm_cpu_call *call, uint32_t i)
{
    return call->data[call->problem.n_out + i];
}
static inline int64_t fm_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t fm_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
static inline int64_t fm_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}
static inline int64_t fm_align(int64_t bytes)
{
    return (bytes + FM_ALIGN - 1) / FM_ALIGN * FM_ALIGN;
}

union fm_bits {
    float f;
    uint32_t u;
};

static inline float fm_from_bf16(uint16_t x)
{
    union fm_bits bits = { .u = (uint32_t)x << 16 };
    return bits.f;
}
/* round to nearest even; NaN stays NaN */
static inline uint16_t fm_to_bf16(float x)
{
    union fm_bits bits = { .f = x };
    uint32_t rounded = (bits.u + 0x7fffu + ((bits.u >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits.u >> 16) | 0x40u;
    return (uint16_t)((bits.u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

fm_status fm_cpu_fill(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_unary(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_unary_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_binary(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_copy(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_cat(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_sum(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_softmax(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_softmax_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_nll(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_nll_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_arange(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_argmax(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_sdpa(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_sdpa_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_batch_norm(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_batch_norm_eval(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_batch_norm_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_group_norm(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_group_norm_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_layer_norm(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_layer_norm_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_interpolate(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_interpolate_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_dropout(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_dropout_bwd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_bernoulli(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_input(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_init(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_sgd(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_adam(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_amp_unscale(const struct fm_cpu_call *call, struct fm_err *err);
fm_status fm_cpu_amp_update(const struct fm_cpu_call *call, struct fm_err *err);

int64_t fm_cpu_sum_bytes(const struct fm_problem *problem, int threads);
int64_t fm_cpu_nll_bytes(const struct fm_problem *problem, int threads);
int64_t fm_cpu_batch_norm_bytes(const struct fm_problem *problem, int threads);
int64_t fm_cpu_group_norm_bytes(const struct fm_problem *problem, int threads);
int64_t fm_cpu_layer_norm_bwd_bytes(const struct fm_problem *problem, int threads);
int64_t fm_cpu_interpolate_bwd_bytes(const struct fm_problem *problem, int threads);

#endif
