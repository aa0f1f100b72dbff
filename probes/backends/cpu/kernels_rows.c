/* Row converters, parallel for, refusals. */
#include "probes/backends/cpu/kernels_internal.h"

#include <omp.h>

static inline float from_f16(uint16_t x)
{
    /* exponent rebias by a multiplication, so that subnormals come out right (public domain, Giesen 2012) */
    union fm_bits bits = { .u = (uint32_t)(x & 0x7fffu) << 13 }, magic = { .u = 113u << 23 };
    if ((bits.u & (0x7c00u << 13)) == (0x7c00u << 13))
        bits.u += (128u - 16u) << 23;
    else if (!(bits.u & (0x7c00u << 13)))
        bits.u += 1u << 23, bits.f -= magic.f, bits.u -= (127u - 15u) << 23;
    bits.u += (127u - 15u) << 23;
    bits.u |= (uint32_t)(x & 0x8000u) << 16;
    return bits.f;
}

static inline uint16_t to_f16(float x)
{
    union fm_bits bits = { .f = x };
    uint32_t sign = bits.u & 0x80000000u, half;
    bits.u ^= sign;
    if (bits.u >= (127u + 16u) << 23) {
        half = bits.u > 0x7f800000u ? 0x7e00u : 0x7c00u;
    } else if (bits.u < 113u << 23) {
        /* adding 0.5 aligns the mantissa so that the hardware rounds to a subnormal */
        bits.f += 0.5f;
        half = bits.u - (126u << 23);
    } else {
        uint32_t odd = (bits.u >> 13) & 1u;
        half = (bits.u - ((127u - 15u) << 23) + 0xfffu + odd) >> 13;
    }
    return (uint16_t)(half | sign >> 16);
}

FM_CLONES static void load_dense(float *to, const void *from, enum fm_dtype dtype, int64_t n)
{
    switch (dtype) {
    case FM_F32: {
        const float *x = from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = x[i];
        break;
    }
    case FM_BF16: {
        const uint16_t *x = from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = fm_from_bf16(x[i]);
        break;
    }
    case FM_F16: {
        const uint16_t *x = from;
        for (int64_t i = 0; i < n; i++) to[i] = from_f16(x[i]);
        break;
    }
    case FM_BOOL: {
        const uint8_t *x = from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = x[i] ? 1.0f : 0.0f;
        break;
    }
    case FM_I64: {
        const int64_t *x = from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = (float)x[i];
        break;
    }
    default: {
        const double *x = from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = (float)x[i];
        break;
    }
    }
}

FM_CLONES static void store_dense(void *to, const float *from, enum fm_dtype dtype, int64_t n)
{
    switch (dtype) {
    case FM_F32: {
        float *y = to;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = from[i];
        break;
    }
    case FM_BF16: {
        uint16_t *y = to;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = fm_to_bf16(from[i]);
        break;
    }
    case FM_F16: {
        uint16_t *y = to;
        for (int64_t i = 0; i < n; i++) y[i] = to_f16(from[i]);
        break;
    }
    case FM_BOOL: {
        uint8_t *y = to;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = (uint8_t)(from[i] != 0.0f);
        break;
    }
    case FM_I64: {
        int64_t *y = to;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = (int64_t)from[i];
        break;
    }
    default: {
        double *y = to;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = (double)from[i];
        break;
    }
    }
}

FM_CLONES void fm_cpu_rows_load(float *to, const void *from, enum fm_dtype dtype, const int64_t shape[3])
{
    int64_t rows = shape[0], pitch = shape[1], n = shape[2];
    if (dtype == FM_F32) {
        const float *x = from;
        for (int64_t r = 0; r < rows; r++, x += pitch, to += n) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) to[i] = x[i];
        }
    } else {
        const uint16_t *x = from;
        for (int64_t r = 0; r < rows; r++, x += pitch, to += n) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) to[i] = fm_from_bf16(x[i]);
        }
    }
}

FM_CLONES void fm_cpu_rows_store(void *to, const float *from, enum fm_dtype dtype, const int64_t shape[3])
{
    int64_t rows = shape[0], pitch = shape[1], n = shape[2];
    if (dtype == FM_F32) {
        float *y = to;
        for (int64_t r = 0; r < rows; r++, y += pitch, from += n) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = from[i];
        }
    } else {
        uint16_t *y = to;
        for (int64_t r = 0; r < rows; r++, y += pitch, from += n) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) y[i] = fm_to_bf16(from[i]);
        }
    }
}

void fm_cpu_row_load(float *to, const void *from, enum fm_dtype dtype, int64_t stride, int64_t n)
{
    if (stride == 1 || n == 1) {
        load_dense(to, from, dtype, n);
    } else if (stride == 0) {
        float value;
        load_dense(&value, from, dtype, 1);
        for (int64_t i = 0; i < n; i++) to[i] = value;
    } else if (dtype == FM_F32) {
        const float *x = from;
        for (int64_t i = 0; i < n; i++) to[i] = x[i * stride];
    } else if (dtype == FM_BF16) {
        const uint16_t *x = from;
        for (int64_t i = 0; i < n; i++) to[i] = fm_from_bf16(x[i * stride]);
    } else {
        const char *x = from;
        int64_t step = stride * fm_dtype_bytes(dtype);
        for (int64_t i = 0; i < n; i++) load_dense(to + i, x + i * step, dtype, 1);
    }
}

void fm_cpu_row_store(void *to, const float *from, enum fm_dtype dtype, int64_t stride, int64_t n)
{
    if (stride == 1 || n == 1) {
        store_dense(to, from, dtype, n);
    } else if (dtype == FM_F32) {
        float *y = to;
        for (int64_t i = 0; i < n; i++) y[i * stride] = from[i];
    } else if (dtype == FM_BF16) {
        uint16_t *y = to;
        for (int64_t i = 0; i < n; i++) y[i * stride] = fm_to_bf16(from[i]);
    } else {
        char *y = to;
        int64_t step = stride * fm_dtype_bytes(dtype);
        for (int64_t i = 0; i < n; i++) store_dense(y + i * step, from + i, dtype, 1);
    }
}

/* Several narrow rows count as one wide row, so that additions do not wait for each other; folded at the end. */
FM_CLONES void fm_cpu_columns_add(double *sum, const float *x, int64_t pitch, int64_t rows, int64_t n)
{
    float wide[FM_COLUMNS] = { 0 };
    int64_t fold = pitch == n ? fm_fold(n) : 1, width = n * fold, r = 0;
    for (; r + fold <= rows; r += fold) {
        const float *row = x + r * pitch;
#pragma omp simd
        for (int64_t c = 0; c < width; c++) wide[c] += row[c];
    }
    for (; r < rows; r++) {
        for (int64_t c = 0; c < n; c++) wide[c] += x[r * pitch + c];
    }
    for (int64_t k = 0; k < fold; k++) {
        for (int64_t c = 0; c < n; c++) sum[c] += (double)wide[k * n + c];
    }
}

int fm_cpu_parts(int threads, int64_t count, int64_t grain)
{
    int64_t parts = fm_max_i64(1, count / fm_max_i64(1, grain));
    return (int)fm_min_i64(threads < 1 ? 1 : threads, parts);
}

int64_t fm_cpu_part_begin(int64_t count, int parts, int p)
{
    return count / parts * p + fm_min_i64(p, count % parts);
}

void fm_cpu_parallel(int threads, int64_t count, int64_t grain, fm_cpu_range_fn *fn, void *context)
{
    int parts = fm_cpu_parts(threads, count, grain);
    if (count <= 0) return;
    if (parts == 1) {
        fn(context, 0, count, 0);
        return;
    }
#pragma omp parallel num_threads(parts)
    {
        /* the runtime may give fewer threads than asked: parts stay the same */
        for (int p = omp_get_thread_num(); p < parts; p += omp_get_num_threads())
            fn(context, fm_cpu_part_begin(count, parts, p), fm_cpu_part_begin(count, parts, p + 1), p);
    }
}

fm_status fm_cpu_unsupported(const struct fm_cpu_call *call, int operand, const char *why, struct fm_err *err)
{
    const char *name = fm_kernel_name(call->problem.kernel);
    if (operand < 0) return FM_FAIL(err, FM_UNSUPPORTED, "cpu %s: %s", name, why);
    return FM_FAIL(err, FM_UNSUPPORTED, "cpu %s: operand %d is %s: %s", name, operand,
                   fm_dtype_name(call->problem.operand[operand].dtype), why);
}

fm_status fm_cpu_need_float(const struct fm_cpu_call *call, struct fm_err *err)
{
    for (uint32_t i = 0; i < call->problem.n_out + call->problem.n_in; i++) {
        enum fm_dtype dtype = call->problem.operand[i].dtype;
        if (!call->data[i] || dtype == FM_F32 || dtype == FM_BF16 || dtype == FM_F16 || dtype == FM_BOOL) continue;
        return fm_cpu_unsupported(call, (int)i, "has kernels for f32, bf16, f16 and bool here", err);
    }
    return FM_OK;
}
