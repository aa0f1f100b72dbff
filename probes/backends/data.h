/* The synthetic data set: what INPUT draws, the same on every backend, and learnable.
 *
 * Batch element b of micro-batch m (attr.stream) in step s is example e = (s * attr.groups + m) * batch + b, attr.groups
 * being the micro-batches a step; with attr.beta = 1 every step draws step 0 (one fixed batch). Labels are a fixed
 * function of the input so that a network can learn them: a few axis-aligned boxes (balls in volumes) of random class are
 * painted over background class 0; the input is the class's level plus noise. Values depend on (seed, example, position)
 * alone.
 *
 * Volume (B, C, D, H, W): occupancy plus small noise: 0 outside and, by class, 0.75 to 1.25 inside a ball. Image
 * (B, 3, H, W): a class-specific colour plus noise. Labels i64 in [0, classes). attr.alpha = number of classes. */
#ifndef FM_PROBES_BACKENDS_DATA_H
#define FM_PROBES_BACKENDS_DATA_H

#include "workloads/program/program.h"

#include <stdint.h>

/* values of one example into `values` (channels x numel positions, channel-major) or, for labels, into `labels` */
struct fm_example {
    enum fm_input input;
    uint64_t seed, example;
    int32_t classes;
    int32_t ndim;               /* spatial: 2 or 3 */
    int64_t size[3];            /* spatial, 1 where unused (last ones) */
    int32_t channels;           /* of the input; 0 for labels */
};

/* What an INPUT call draws as element 0 of its batch; element b is the same with example + b. Images and volumes are
 * (B, C, spatial...), labels (B, spatial...). */
struct fm_example fm_example_first(const struct fm_problem *problem, uint64_t seed, uint64_t step);
/* class at a position; x in [0, size). Cheap: a handful of comparisons. */
int64_t fm_example_label(const struct fm_example *example, const int64_t x[3]);
/* input value of channel c there */
float fm_example_value(const struct fm_example *example, int32_t channel, const int64_t x[3]);

#endif
