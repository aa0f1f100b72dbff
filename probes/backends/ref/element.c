#include "probes/backends/ref/element.h"

#include <math.h>
#include <string.h>

/* the two 16-bit formats: bits of fraction and the exponent of the smallest normal number */
struct narrow { int fraction, least; };
static const struct narrow f16 = { 10, -14 }, bf16 = { 7, -126 };

static double widen(uint16_t bits, struct narrow format)
{
    int exponent = (bits & 0x7fff) >> format.fraction, ones = 0x7fff >> format.fraction;
    int fraction = bits & ((1 << format.fraction) - 1);
    double magnitude;
    if (exponent == ones) magnitude = fraction ? NAN : INFINITY;
    else if (exponent == 0) magnitude = ldexp(fraction, format.least - format.fraction);
    else magnitude = ldexp(fraction + (1 << format.fraction), format.least + exponent - 1 - format.fraction);
    return bits & 0x8000 ? -magnitude : magnitude;
}

/* A number is scaled so that its last kept bit weighs one; a carry out of the fraction runs into the exponent by
 * itself, and subnormals are those whose scale no longer shrinks. */
static uint16_t narrowed(double value, struct narrow format)
{
    unsigned sign = signbit(value) ? 0x8000 : 0, infinity = (0x7fffu >> format.fraction) << format.fraction;
    if (isnan(value)) return (uint16_t)(sign | infinity | 1u << (format.fraction - 1));
    int exponent = 0;
    (void)frexp(value, &exponent);
    bool normal = isfinite(value) && fabs(value) >= ldexp(1, format.least);
    exponent = normal ? exponent - 1 : format.least;
    double scaled = nearbyint(ldexp(fabs(value), format.fraction - exponent));
    double bits = ldexp(exponent - format.least, format.fraction) + scaled;
    return (uint16_t)(sign | (bits < infinity ? (unsigned)bits : infinity));
}

double fm_element_load(const void *elements, enum fm_dtype dtype, int64_t index)
{
    switch (dtype) {
    case FM_F32: return (double)((const float *)elements)[index];
    case FM_F64: return ((const double *)elements)[index];
    case FM_F16: return widen(((const uint16_t *)elements)[index], f16);
    case FM_BF16: return widen(((const uint16_t *)elements)[index], bf16);
    case FM_I64: return (double)((const int64_t *)elements)[index];
    default: return ((const uint8_t *)elements)[index];
    }
}

void fm_element_store(void *elements, enum fm_dtype dtype, int64_t index, double value)
{
    switch (dtype) {
    case FM_F32: ((float *)elements)[index] = (float)value; break;
    case FM_F64: ((double *)elements)[index] = value; break;
    case FM_F16: ((uint16_t *)elements)[index] = narrowed(value, f16); break;
    case FM_BF16: ((uint16_t *)elements)[index] = narrowed(value, bf16); break;
    /* out of range and NaN have no meaning in C; 0 is as good as any */
    case FM_I64: ((int64_t *)elements)[index] = fabs(value) < 0x1p63 ? (int64_t)value : 0; break;
    default: ((uint8_t *)elements)[index] = value < 0 || value > 0 || isnan(value); break;
    }
}

int64_t fm_view_load_i64(const struct fm_view *view, int64_t distance)
{
    if (view->o->dtype == FM_I64) return ((const int64_t *)(const void *)view->first)[distance];
    return (int64_t)fm_view_load(view, distance);
}

void fm_view_store_i64(const struct fm_view *view, int64_t distance, int64_t value)
{
    if (view->o->dtype == FM_I64) ((int64_t *)(void *)view->first)[distance] = value;
    else fm_view_store(view, distance, (double)value);
}

int64_t fm_view_distance(const struct fm_view *view, const struct fm_index *index)
{
    int64_t distance = 0;
    for (int d = 0; d < view->o->ndim; d++)
        if (view->o->size[d] != 1) distance += index->at[d] * view->o->stride[d];
    return distance;
}

void fm_view_next(const struct fm_view *view, struct fm_index *index)
{
    for (int d = view->o->ndim - 1; d >= 0; d--) {
        if (++index->at[d] < view->o->size[d]) return;
        index->at[d] = 0;
    }
}
