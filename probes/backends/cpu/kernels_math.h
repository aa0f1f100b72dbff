/* Float functions that compilers vectorize: branch-free, no library call. Errors: exp, log 2 ulp in the normal range;
 * erf 1e-6 absolute; results below the smallest normal number are 0. */
#ifndef FM_PROBES_BACKENDS_CPU_KERNELS_MATH_H
#define FM_PROBES_BACKENDS_CPU_KERNELS_MATH_H

#include "probes/backends/cpu/kernels_internal.h"

/* for x <= 88.37, as after a row's maximum is taken off; coefficients: Cephes expf (Moshier 1989) */
static inline float fm_exp_nonpositive(float x)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    union fm_bits turns, scale;
    float c = x < -87.0f ? -87.0f : x;
    turns.f = c * 1.44269504088896341f + magic;
    float n = turns.f - magic;
    float r = c - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    scale.u = (turns.u + 127u - 0x4b400000u) << 23;
    float y = p * scale.f;
    return x < -87.0f ? 0.0f : y;
}

static inline float fm_expf(float x)
{
    float y = fm_exp_nonpositive(x > 88.37f ? 88.37f : x);
    return x > 88.37f ? (float)INFINITY : y;
}

/* coefficients: Cephes logf */
static inline float fm_logf(float x)
{
    union fm_bits bits = { .f = x };
    float small = bits.u < 0x00800000u ? 23.0f : 0.0f; /* subnormal or zero */
    bits.f = x * (bits.u < 0x00800000u ? 8388608.0f : 1.0f);
    int32_t e = (int32_t)(bits.u - 0x3f3504f3u) >> 23;
    bits.u -= (uint32_t)e << 23;
    float m = bits.f - 1.0f, z = m * m, n = (float)e - small;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float y = p * m * z - n * 2.12194440e-4f - 0.5f * z;
    y = m + y + n * 0.693359375f;
    /* 0, infinity, and what has no logarithm: by bits, since chains of float comparisons become branches */
    union fm_bits in = { .f = x }, out = { .f = y };
    out.u = in.u >= 0x7f800000u ? 0x7fc00000u : out.u;
    out.u = in.u == 0x7f800000u ? in.u : out.u;
    out.u = in.u << 1 == 0 ? 0xff800000u : out.u;
    return out.f;
}

/* rational approximation on [-4, 4] (the coefficients of Eigen and XLA); at 3.95 erf is 1 in float */
static inline float fm_erff(float x)
{
    float c = x < -4.0f ? -4.0f : x;
    c = c > 4.0f ? 4.0f : c;
    float z = c * c;
    float p = -2.72614225801306e-10f;
    p = p * z + 2.77068142495902e-08f;
    p = p * z - 2.10102402082508e-06f;
    p = p * z - 5.69250639462346e-05f;
    p = p * z - 7.34990630326855e-04f;
    p = p * z - 2.95459980854025e-03f;
    p = p * z - 1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * z - 2.13374055278905e-04f;
    q = q * z - 1.68282697438203e-03f;
    q = q * z - 7.37332916720468e-03f;
    q = q * z - 1.42647390514189e-02f;
    float y = c * p / q;
    y = x > 3.95f ? 1.0f : y;
    return x < -3.95f ? -1.0f : y;
}

static inline float fm_sigmoidf(float x)
{
    return 1.0f / (1.0f + fm_expf(-x));
}

static inline float fm_geluf(float x)
{
    return 0.5f * x * (1.0f + fm_erff(x * 0.70710678118654752f));
}

/* Phi(x) + x * phi(x) */
static inline float fm_gelu_slope(float x)
{
    return 0.5f * (1.0f + fm_erff(x * 0.70710678118654752f)) + x * 0.39894228040143268f * fm_expf(-0.5f * x * x);
}

#endif
