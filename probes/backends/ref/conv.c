/* All six convolutions (three gradients, plain and transposed) are sums of the same products
 *     narrow[b, n, p] * wide[b, w, p * stride - padding + tap * dilation] * weight[n, w within its group, tap].
 * The narrow side is a plain convolution's output and a transposed one's input. Each function below fixes one
 * element of the side it computes and sums over the rest. */
#include "probes/backends/ref/kernels.h"

struct conv {
    struct fm_view narrow, wide, weight, bias;
    int dims;                                       /* spatial */
    int64_t group_narrow, group_wide;               /* channels a group */
    const struct fm_attr *attr;
};

static fm_status conv_open(struct conv *c, const struct fm_launch *launch, struct fm_view x, struct fm_view y,
                           struct fm_view w, struct fm_err *err)
{
    const struct fm_attr *attr = launch->problem.attr;
    bool transposed = attr->transposed;
    *c = (struct conv){ .narrow = transposed ? x : y, .wide = transposed ? y : x, .weight = w, .attr = attr,
                        .dims = x.o->ndim - 2 };
    int64_t groups = attr->groups;
    if ((c->dims != 2 && c->dims != 3) || y.o->ndim != x.o->ndim || w.o->ndim != x.o->ndim || groups < 1)
        return FM_FAIL(err, FM_INVALID, "CONV: operands of %u, %u and %u dimensions (4 or 5, all the same), %d groups",
                       x.o->ndim, y.o->ndim, w.o->ndim, attr->groups);
    c->group_narrow = c->narrow.o->size[1] / groups;
    c->group_wide = c->wide.o->size[1] / groups;
    if (w.o->size[0] != c->narrow.o->size[1] || w.o->size[1] != c->group_wide)
        return FM_FAIL(err, FM_INVALID, "CONV: weight of %lld x %lld channels for %lld and %lld in %lld groups",
                       (long long)w.o->size[0], (long long)w.o->size[1], (long long)c->narrow.o->size[1],
                       (long long)c->wide.o->size[1], (long long)groups);
    for (int d = 0; d < c->dims; d++)
        if (attr->stride[d] < 1 || attr->dilation[d] < 1 || attr->padding[d] < 0)
            return FM_FAIL(err, FM_INVALID, "CONV: stride %d, dilation %d, padding %d of dimension %d", attr->stride[d],
                           attr->dilation[d], attr->padding[d], d);
    return FM_OK;
}

/* spatial taps of the weight, as a view to walk over (its channels set to one) */
static struct fm_operand taps_of(const struct conv *c)
{
    struct fm_operand taps = *c->weight.o;
    taps.size[0] = taps.size[1] = 1;
    return taps;
}

/* position on the wide side for a narrow one and a tap; false: in the padding */
static bool to_wide(const struct conv *c, const struct fm_index *narrow, const struct fm_index *tap,
                    struct fm_index *wide)
{
    for (int d = 0; d < c->dims; d++) {
        wide->at[d + 2] = narrow->at[d + 2] * c->attr->stride[d] - c->attr->padding[d] +
                          tap->at[d + 2] * c->attr->dilation[d];
        if (wide->at[d + 2] < 0 || wide->at[d + 2] >= c->wide.o->size[d + 2]) return false;
    }
    return true;
}

/* and back; false: no narrow position reaches it with this tap */
static bool to_narrow(const struct conv *c, const struct fm_index *wide, const struct fm_index *tap,
                      struct fm_index *narrow)
{
    for (int d = 0; d < c->dims; d++) {
        int64_t reach = wide->at[d + 2] + c->attr->padding[d] - tap->at[d + 2] * c->attr->dilation[d];
        narrow->at[d + 2] = reach / c->attr->stride[d];
        if (reach < 0 || reach % c->attr->stride[d] || narrow->at[d + 2] >= c->narrow.o->size[d + 2]) return false;
    }
    return true;
}

static double bias_of(const struct conv *c, int64_t channel)
{
    return c->bias.first ? fm_view_load(&c->bias, channel * c->bias.o->stride[0]) : 0;
}

static void compute_narrow(const struct conv *c)
{
    struct fm_operand taps = taps_of(c);
    struct fm_view walk = { &taps, c->weight.first };
    struct fm_index n = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(c->narrow.o); i++, fm_view_next(&c->narrow, &n)) {
        double sum = bias_of(c, n.at[1]);
        struct fm_index tap = { { 0 } }, w = n;
        for (int64_t t = 0; t < fm_operand_numel(&taps); t++, fm_view_next(&walk, &tap)) {
            if (!to_wide(c, &n, &tap, &w)) continue;
            w.at[1] = n.at[1] / c->group_narrow * c->group_wide;
            int64_t at_wide = fm_view_distance(&c->wide, &w);
            int64_t at_weight = n.at[1] * c->weight.o->stride[0] + fm_view_distance(&walk, &tap);
            for (int64_t k = 0; k < c->group_wide; k++)
                sum += fm_view_load(&c->wide, at_wide + k * c->wide.o->stride[1]) *
                       fm_view_load(&c->weight, at_weight + k * c->weight.o->stride[1]);
        }
        fm_view_store(&c->narrow, fm_view_distance(&c->narrow, &n), sum);
    }
}

static void compute_wide(const struct conv *c)
{
    struct fm_operand taps = taps_of(c);
    struct fm_view walk = { &taps, c->weight.first };
    struct fm_index w = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(c->wide.o); i++, fm_view_next(&c->wide, &w)) {
        double sum = bias_of(c, w.at[1]);
        struct fm_index tap = { { 0 } }, n = w;
        for (int64_t t = 0; t < fm_operand_numel(&taps); t++, fm_view_next(&walk, &tap)) {
            if (!to_narrow(c, &w, &tap, &n)) continue;
            n.at[1] = w.at[1] / c->group_wide * c->group_narrow;
            int64_t at_narrow = fm_view_distance(&c->narrow, &n);
            int64_t at_weight = n.at[1] * c->weight.o->stride[0] + w.at[1] % c->group_wide * c->weight.o->stride[1] +
                                fm_view_distance(&walk, &tap);
            for (int64_t k = 0; k < c->group_narrow; k++)
                sum += fm_view_load(&c->narrow, at_narrow + k * c->narrow.o->stride[1]) *
                       fm_view_load(&c->weight, at_weight + k * c->weight.o->stride[0]);
        }
        fm_view_store(&c->wide, fm_view_distance(&c->wide, &w), sum);
    }
}

static void compute_weight(const struct conv *c)
{
    struct fm_operand positions = *c->narrow.o;     /* of one channel */
    positions.size[1] = 1;
    struct fm_view walk = { &positions, c->narrow.first };
    struct fm_index q = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(c->weight.o); i++, fm_view_next(&c->weight, &q)) {
        double sum = 0;
        struct fm_index n = { { 0 } };
        int64_t wide_channel = q.at[0] / c->group_narrow * c->group_wide + q.at[1];
        for (int64_t p = 0; p < fm_operand_numel(&positions); p++, fm_view_next(&walk, &n)) {
            struct fm_index w = { { n.at[0], wide_channel } };
            if (!to_wide(c, &n, &q, &w)) continue;
            sum += fm_view_load(&c->narrow, fm_view_distance(&walk, &n) + q.at[0] * c->narrow.o->stride[1]) *
                   fm_view_load(&c->wide, fm_view_distance(&c->wide, &w));
        }
        fm_view_store(&c->weight, fm_view_distance(&c->weight, &q), sum);
    }
}

fm_status fm_ref_conv(const struct fm_launch *launch, struct fm_err *err)
{
    struct conv c;
    fm_status status = conv_open(&c, launch, fm_ref_in(launch, 0), fm_ref_out(launch, 0), fm_ref_in(launch, 1), err);
    if (status != FM_OK) return status;
    c.bias = fm_ref_in(launch, 2);
    if (c.attr->transposed) compute_wide(&c);
    else compute_narrow(&c);
    return FM_OK;
}

fm_status fm_ref_conv_dgrad(const struct fm_launch *launch, struct fm_err *err)
{
    struct conv c;
    fm_status status = conv_open(&c, launch, fm_ref_out(launch, 0), fm_ref_in(launch, 0), fm_ref_in(launch, 1), err);
    if (status != FM_OK) return status;
    if (c.attr->transposed) compute_narrow(&c);
    else compute_wide(&c);
    return FM_OK;
}

fm_status fm_ref_conv_wgrad(const struct fm_launch *launch, struct fm_err *err)
{
    struct conv c;
    fm_status status = conv_open(&c, launch, fm_ref_in(launch, 1), fm_ref_in(launch, 0), fm_ref_out(launch, 0), err);
    if (status != FM_OK) return status;
    compute_weight(&c);
    return FM_OK;
}
