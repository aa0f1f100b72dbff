#include "workloads/program/program.h"

#include "tuner/base/hash.h"

#include <string.h>

int64_t fm_operand_numel(const struct fm_operand *operand)
{
    int64_t count = 1;
    for (int d = 0; d < operand->ndim; d++) count *= operand->size[d];
    return count;
}

bool fm_operand_contiguous(const struct fm_operand *operand)
{
    int64_t expected = 1;
    for (int d = operand->ndim - 1; d >= 0; d--) {
        if (operand->size[d] != 1 && operand->stride[d] != expected) return false;
        expected *= operand->size[d];
    }
    return true;
}

/* A logical distance t splits uniquely into b*C*S + c*S + s and moves b*C*S + s*C + c elements in channels-last
 * order, as long as no combination of indices carries from space into channels or from channels into the batch. */
bool fm_operand_channels_last(struct fm_operand *operand)
{
    int64_t c = operand->channels, s = operand->spatial;
    if (c <= 1 || s <= 1) return true;          /* plain, or both orders are the same */
    int64_t image = c * s;
    struct fm_operand moved = *operand;
    int64_t within = operand->offset % image, last_s = within % s, last_c = within / s;
    moved.offset = operand->offset - within + last_s * c + last_c;
    for (int d = 0; d < operand->ndim; d++) {
        if (operand->size[d] == 0) return true; /* no element, no address */
        int64_t step = operand->stride[d] % image, step_s = step % s, step_c = step / s;
        moved.stride[d] = operand->stride[d] - step + step_s * c + step_c;
        last_s += (operand->size[d] - 1) * step_s;
        last_c += (operand->size[d] - 1) * step_c;
    }
    if (last_s >= s || last_c >= c) return false;
    *operand = moved;
    return true;
}

/* Three independent chains, so that the multiplications overlap: sizes and strides, headers, attributes. */
uint64_t fm_problem_key(const struct fm_problem *problem)
{
    uint64_t sizes = FM_HASH_INIT, strides = FM_HASH_INIT + 1, heads = FM_HASH_INIT + 2;
    heads = fm_hash_word(heads, (uint64_t)problem->kernel << 48 | (uint64_t)problem->n_out << 24 | problem->n_in);
    uint32_t count = problem->n_out + problem->n_in;
    for (uint32_t i = 0; i < count; i++) {
        const struct fm_operand *o = &problem->operand[i];
        uint64_t absent = o->storage == FM_NONE;
        heads = fm_hash_word(heads, (uint64_t)o->channels << 32 | o->spatial);
        heads = fm_hash_word(heads, absent << 16 | (uint64_t)o->ndim << 8 | o->dtype);
        for (int d = 0; d < o->ndim; d++) {
            sizes = fm_hash_word(sizes, (uint64_t)o->size[d]);
            strides = fm_hash_word(strides, (uint64_t)o->stride[d]);
        }
    }
    /* every attribute but the last one, the random stream */
    uint64_t words[sizeof(struct fm_attr) / 8], attrs = FM_HASH_INIT + 3;
    _Static_assert(offsetof(struct fm_attr, stream) == sizeof(struct fm_attr) - 8, "stream is last");
    memcpy(words, problem->attr, sizeof words);
    for (size_t i = 0; i + 1 < sizeof words / 8; i++) attrs = fm_hash_word(attrs, words[i]);
    uint64_t key = fm_hash_word(fm_hash_word(fm_hash_word(heads, sizes), strides), attrs);
    return key ? key : 1;
}

static double product_from(const struct fm_operand *operand, int first)
{
    double count = 1;
    for (int d = first; d < operand->ndim; d++) count *= (double)operand->size[d];
    return count;
}

/* each element of the convolution's narrow side (output, or input if transposed) meets one weight slice w[i] */
static double conv_flops(const struct fm_problem *problem)
{
    const struct fm_operand *out = &problem->operand[0], *in = &problem->operand[problem->n_out];
    const struct fm_operand *x = in, *y = out, *w = in + 1;
    if (problem->kernel == FM_K_CONV_DGRAD) x = out, y = in;
    if (problem->kernel == FM_K_CONV_WGRAD) x = in + 1, y = in, w = out;
    double bias = problem->kernel == FM_K_CONV && problem->n_in > 2 ? product_from(y, 0) : 0;
    return 2 * product_from(problem->attr->transposed ? x : y, 0) * product_from(w, 1) + bias;
}

/* Two products forward; five backward, one of them the scores once more. Of each score the scaling and the softmax's
 * four, and backward its exponential and the three that make ds of it. */
static double sdpa_flops(const struct fm_problem *problem)
{
    bool forward = problem->kernel == FM_K_SDPA;
    const struct fm_operand *q = &problem->operand[forward ? 2 : 4], *k = q + 1;
    double scores = product_from(q, 0) / (double)q->size[3] * (double)k->size[2], depth = (double)q->size[3];
    return scores * (forward ? 4 * depth + 5 : 10 * depth + 5) + (forward ? 0 : 2 * product_from(q, 0));
}

/* operations an element of the counted operand; the transcendental functions count as one. 0: data movement */
static const struct { uint8_t flops; bool of_input; } element_flops[FM_KERNEL_COUNT] = {
    [FM_K_UNARY] = { 1, false }, [FM_K_UNARY_BWD] = { 2, false }, [FM_K_BINARY] = { 1, false },
    [FM_K_SUM] = { 1, true }, [FM_K_SOFTMAX] = { 4, false }, [FM_K_SOFTMAX_BWD] = { 4, false },
    [FM_K_NLL] = { 2, false }, [FM_K_NLL_BWD] = { 1, false },
    [FM_K_BATCH_NORM] = { 7, false }, [FM_K_BATCH_NORM_EVAL] = { 4, false }, [FM_K_BATCH_NORM_BWD] = { 11, false },
    [FM_K_GROUP_NORM] = { 7, false }, [FM_K_GROUP_NORM_BWD] = { 11, false },
    [FM_K_LAYER_NORM] = { 7, false }, [FM_K_LAYER_NORM_BWD] = { 11, false },
    [FM_K_INTERPOLATE] = { 8, false }, [FM_K_INTERPOLATE_BWD] = { 8, true },
    [FM_K_DROPOUT] = { 1, false }, [FM_K_DROPOUT_BWD] = { 1, false },
};

double fm_problem_flops(const struct fm_problem *problem)
{
    const struct fm_operand *out = &problem->operand[0], *in = &problem->operand[problem->n_out];
    double total = 0;
    switch (problem->kernel) {
    case FM_K_CONV: case FM_K_CONV_DGRAD: case FM_K_CONV_WGRAD:
        return conv_flops(problem);
    case FM_K_MATMUL:
        return product_from(out, 0) * (2 * (double)in[0].size[in[0].ndim - 1] + (problem->n_in > 2 ? 1 : 0));
    case FM_K_SDPA: case FM_K_SDPA_BWD:
        return sdpa_flops(problem);
    case FM_K_NLL:
        return product_from(&in[1], 0) * element_flops[FM_K_NLL].flops;
    case FM_K_SGD:
        for (uint32_t i = 0; i + FM_SGD_OPERANDS <= problem->n_out; i += FM_SGD_OPERANDS)
            total += 6 * product_from(&out[i], 0);
        return total;
    case FM_K_ADAM:
        for (uint32_t i = 0; i + FM_ADAM_OPERANDS <= problem->n_out; i += FM_ADAM_OPERANDS)
            total += 14 * product_from(&out[i], 0);
        return total;
    case FM_K_AMP_UNSCALE:
        for (uint32_t i = 1; i < problem->n_out; i++) total += product_from(&out[i], 0);
        return total;
    default:
        return element_flops[problem->kernel].flops *
               product_from(element_flops[problem->kernel].of_input ? in : out, 0);
    }
}

double fm_problem_bytes(const struct fm_problem *problem)
{
    double total = 0;
    for (uint32_t i = 0; i < problem->n_out + problem->n_in; i++) {
        const struct fm_operand *o = &problem->operand[i];
        if (o->storage == FM_NONE) continue;
        double count = 1;
        for (int d = 0; d < o->ndim; d++)
            if (o->size[d] == 0 || o->stride[d] != 0) count *= (double)o->size[d];  /* expanded: read once */
        total += count * (double)fm_dtype_bytes((enum fm_dtype)o->dtype);
    }
    return total;
}
