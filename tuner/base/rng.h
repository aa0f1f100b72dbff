/* Counter-based random numbers: value i of stream s under a seed is a pure function of (seed, s, i),
 * so that every backend, thread count and recomputation draws the same dropout masks and weights. */
#ifndef FM_TUNER_BASE_RNG_H
#define FM_TUNER_BASE_RNG_H

#include <stdint.h>

/* the finalizer of splitmix64 (Steele, Lea, Flood 2014) over the three counters */
static inline uint64_t fm_rng_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15) * (stream * UINT64_C(0xd1342543de82ef95) + index + 1);
    z ^= stream << 32;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* uniform in [0, 1), 24 bits: exact in float */
static inline float fm_rng_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (float)(fm_rng_u64(seed, stream, index) >> 40) * 0x1p-24f;
}

/* uniform in [0, 1), 53 bits */
static inline double fm_rng_uniform_f64(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(fm_rng_u64(seed, stream, index) >> 11) * 0x1p-53;
}

/* standard normal, by Box and Muller */
double fm_rng_normal(uint64_t seed, uint64_t stream, uint64_t index);

#endif
