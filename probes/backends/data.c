#include "probes/backends/data.h"

#include "tuner/base/rng.h"

/* painted over the background, later ones over earlier ones */
#define SHAPES 4
/* the data set's own streams, apart from those of dropout and of parameters */
#define STREAM_SHAPES (UINT64_C(1) << 60)
#define STREAM_NOISE (UINT64_C(2) << 60)
#define STREAM_LEVELS (UINT64_C(3) << 60)
#define NOISE 0.1f

struct fm_example fm_example_first(const struct fm_problem *problem, uint64_t seed, uint64_t step)
{
    const struct fm_operand *y = &problem->operand[0];
    const struct fm_attr *attr = problem->attr;
    enum fm_input input = (enum fm_input)attr->mode;
    bool labels = input == FM_INPUT_VOLUME_LABELS || input == FM_INPUT_IMAGE_LABELS;
    uint64_t micro_batches = attr->groups > 0 ? (uint64_t)attr->groups : 1;
    uint64_t drawn_step = attr->beta > 0 ? 0 : step;
    struct fm_example example = {
        .input = input, .seed = seed,
        .example = (drawn_step * micro_batches + attr->stream) * (uint64_t)y->size[0],
        .classes = (int32_t)attr->alpha,
        .ndim = input == FM_INPUT_VOLUME || input == FM_INPUT_VOLUME_LABELS ? 3 : 2,
        .size = { 1, 1, 1 },
        .channels = labels ? 0 : (int32_t)y->size[1],
    };
    for (int d = 0; d < example.ndim && y->ndim - example.ndim + d < FM_MAX_DIMS; d++)
        example.size[d] = y->size[y->ndim - example.ndim + d];
    return example;
}

/* One draw holds a shape: 3 x 14 bits of centre, 6 of size (half extent 1/8 to 3/8), 16 of class. */
static bool inside(const struct fm_example *example, uint64_t draw, const int64_t x[3])
{
    int64_t extent = 32 + (int64_t)((draw >> 16) & 63);           /* in 256ths of the size */
    int64_t least = example->size[0], square = 0;
    for (int d = 0; d < example->ndim; d++) {
        int64_t centre = (int64_t)((draw >> (22 + 14 * d)) & 0x3fff) * example->size[d] >> 14;
        int64_t away = x[d] > centre ? x[d] - centre : centre - x[d];
        if (example->ndim == 2 && away * 256 > example->size[d] * extent) return false;
        if (example->size[d] < least) least = example->size[d];
        square += away * away;
    }
    return example->ndim == 2 || square * 65536 <= least * least * extent * extent;
}

int64_t fm_example_label(const struct fm_example *example, const int64_t x[3])
{
    if (example->classes <= 1) return 0;
    for (uint64_t shape = SHAPES; shape-- > 0;) {
        uint64_t draw = fm_rng_u64(example->seed, STREAM_SHAPES + shape, example->example);
        if (inside(example, draw, x)) return 1 + (int64_t)(draw & 0xffff) % (example->classes - 1);
    }
    return 0;
}

float fm_example_value(const struct fm_example *example, int32_t channel, const int64_t x[3])
{
    int64_t label = fm_example_label(example, x), at = channel;
    for (int d = 0; d < example->ndim; d++) at = at * example->size[d] + x[d];
    uint64_t stream = STREAM_NOISE + example->example;
    float noise = (fm_rng_uniform(example->seed, stream, (uint64_t)at) - 0.5f) * NOISE;
    if (example->ndim == 2)     /* the class's colour, the same under every seed */
        return 2.0f * fm_rng_uniform(0, STREAM_LEVELS + (uint64_t)label, (uint64_t)channel) - 1.0f + noise;
    if (label == 0) return noise;
    return 0.75f + 0.5f * (float)label / (float)(example->classes - 1) + noise;
}
