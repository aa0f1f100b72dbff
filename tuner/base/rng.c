#include "tuner/base/rng.h"

#include <math.h>

double fm_rng_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    double u = 1.0 - fm_rng_uniform_f64(seed, stream, 2 * index);
    double v = fm_rng_uniform_f64(seed, stream, 2 * index + 1);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
