#include "probes/backends/ref/kernels.h"

#include <math.h>

/* The two source pixels of an output pixel along one dimension and the weight of the second (align_corners False). */
struct tap { int64_t low, high; double fraction; };

static struct tap source(int64_t out, int64_t size_in, int64_t size_out)
{
    double position = ((double)out + 0.5) * (double)size_in / (double)size_out - 0.5;
    if (position < 0) position = 0;
    struct tap tap = { .low = (int64_t)position };
    if (tap.low > size_in - 1) tap.low = size_in - 1;
    tap.high = tap.low + (tap.low < size_in - 1);
    tap.fraction = position - (double)tap.low;
    return tap;
}

static double weight_of(struct tap tap, int64_t in)
{
    return (tap.low == in ? 1 - tap.fraction : 0) + (tap.high == in ? tap.fraction : 0);
}

fm_status fm_ref_interpolate(const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_view y = fm_ref_out(launch, 0), x = fm_ref_in(launch, 0);
    if (x.o->ndim != 4 || y.o->ndim != 4) return FM_FAIL(err, FM_INVALID, "INTERPOLATE: not (B, C, H, W)");
    int64_t sh = x.o->stride[2], sw = x.o->stride[3];
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        struct tap h = source(at.at[2], x.o->size[2], y.o->size[2]), w = source(at.at[3], x.o->size[3], y.o->size[3]);
        int64_t base = at.at[0] * x.o->stride[0] + at.at[1] * x.o->stride[1];
        double top = (1 - w.fraction) * fm_view_load(&x, base + h.low * sh + w.low * sw) +
                     w.fraction * fm_view_load(&x, base + h.low * sh + w.high * sw);
        double bottom = (1 - w.fraction) * fm_view_load(&x, base + h.high * sh + w.low * sw) +
                        w.fraction * fm_view_load(&x, base + h.high * sh + w.high * sw);
        fm_view_store(&y, fm_view_distance(&y, &at), (1 - h.fraction) * top + h.fraction * bottom);
    }
    return FM_OK;
}

/* outputs that may draw on input `in`: first, and one past the last */
static void reached_by(int64_t in, int64_t size_in, int64_t size_out, int64_t range[2])
{
    double ratio = (double)size_out / (double)size_in;
    range[0] = (int64_t)floor(((double)in - 0.5) * ratio - 0.5) - 1;
    range[1] = (int64_t)ceil(((double)in + 1.5) * ratio - 0.5) + 2;
    if (range[0] < 0) range[0] = 0;
    if (range[1] > size_out) range[1] = size_out;
}

fm_status fm_ref_interpolate_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_view dx = fm_ref_out(launch, 0), g = fm_ref_in(launch, 0);
    if (dx.o->ndim != 4 || g.o->ndim != 4) return FM_FAIL(err, FM_INVALID, "INTERPOLATE_BWD: not (B, C, H, W)");
    const int64_t *in = dx.o->size, *out = g.o->size;
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(dx.o); i++, fm_view_next(&dx, &at)) {
        int64_t rows[2], columns[2], base = at.at[0] * g.o->stride[0] + at.at[1] * g.o->stride[1];
        reached_by(at.at[2], in[2], out[2], rows);
        reached_by(at.at[3], in[3], out[3], columns);
        double sum = 0;
        for (int64_t h = rows[0]; h < rows[1]; h++) {
            double weight = weight_of(source(h, in[2], out[2]), at.at[2]);
            for (int64_t w = columns[0]; weight > 0 && w < columns[1]; w++)
                sum += weight * weight_of(source(w, in[3], out[3]), at.at[3]) *
                       fm_view_load(&g, base + h * g.o->stride[2] + w * g.o->stride[3]);
        }
        fm_view_store(&dx, fm_view_distance(&dx, &at), sum);
    }
    return FM_OK;
}
