#include "tests/cuda/support_cuda.h"

#include "tuner/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- problems ---- */

int64_t fm_draw(struct fm_draw *draw, int64_t low, int64_t high)
{
    return low + (int64_t)(fm_rng_u64(draw->seed, 77, draw->drawn++) % (uint64_t)(high - low + 1));
}

enum fm_dtype fm_draw_float(struct fm_draw *draw)
{
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F16, FM_BF16 };
    return dtypes[fm_draw(draw, 0, 2)];
}

int fm_draw_sizes(struct fm_draw *draw, int64_t size[FM_MAX_DIMS])
{
    int ndim = (int)fm_draw(draw, 1, 5);
    int64_t room = fm_draw(draw, 0, 5) ? 600 : 9000;
    for (int d = 0; d < ndim; d++) {
        int64_t most = room < 40 ? room : fm_draw(draw, 0, 3) ? 40 : room;
        size[d] = fm_draw(draw, 1, most < 1 ? 1 : most);
        if (fm_draw(draw, 0, 1) && size[d] > 8) size[d] -= size[d] % 8;
        room /= size[d];
    }
    return ndim;
}

int fm_draw_image(struct fm_draw *draw, int64_t size[FM_MAX_DIMS])
{
    static const int64_t channels[] = { 1, 2, 3, 4, 8, 16, 32, 48, 71 };
    int ndim = (int)fm_draw(draw, 2, 5);
    int64_t most = ndim == 2 ? 150 : ndim == 3 ? 60 : ndim == 4 ? 9 : 4;
    size[0] = ndim == 2 ? fm_draw(draw, 2, most) : fm_draw(draw, 1, 3);
    size[1] = channels[fm_draw(draw, 0, 8)];
    for (int d = 2; d < ndim; d++) size[d] = fm_draw(draw, 0, 2) ? fm_draw(draw, 1, most) : (most + 7) / 8 * 8;
    return ndim;
}

void fm_draw_layout(struct fm_draw *draw, struct fm_case *c, uint32_t i, int kept)
{
    struct fm_operand *o = &c->operand[i];
    int dim = (int)fm_draw(draw, 0, o->ndim - 1), other = (int)fm_draw(draw, 0, o->ndim - 1);
    int64_t layout = fm_draw(draw, 0, 8), start = fm_draw(draw, 0, 2), more = fm_draw(draw, 0, 2);
    if (layout <= 4 && layout >= 1 && o->ndim >= 3) fm_case_image(c, i);
    if (layout == 4 || layout == 5) fm_case_slice(c, i, dim, start, o->size[dim] + start + more);
    if (layout == 6) fm_case_swap(c, i, dim, other);
    if (layout == 7 && i >= c->n_out && dim != kept) fm_case_expand(c, i, dim);
}

void fm_draw_share(struct fm_case *c, uint32_t with)
{
    if (c->operand[0].dtype != c->operand[with].dtype) return;
    for (int d = 0; d < c->operand[with].ndim; d++)
        if (c->operand[with].stride[d] == 0) return;
    fm_case_share(c, 0, with);
}

void fm_case_randomize(struct fm_case *c, double low, double high, uint64_t seed, bool all)
{
    for (uint32_t i = all ? 0 : c->n_out; i < c->n_out + c->n_in; i++)
        if (c->operand[i].storage == i) fm_case_random(c, i, low, high, seed + i);
}

double fm_cuda_tolerance(const struct fm_case *c)
{
    double tolerance = 1e-5;
    for (uint32_t i = 0; i < c->n_out + c->n_in; i++) {
        if (c->operand[i].storage == FM_NONE) continue;
        if (c->operand[i].dtype == FM_F16 && tolerance < 1e-3) tolerance = 1e-3;
        if (c->operand[i].dtype == FM_BF16) tolerance = 8e-3;
    }
    return tolerance;
}

/* ---- comparison ---- */

void fm_describe(const struct fm_case *c)
{
    for (uint32_t k = 0; k < c->n_out + c->n_in; k++) {
        const struct fm_operand *o = &c->operand[k];
        if (o->storage == FM_NONE) continue;
        print_error("  operand %u %s offset %lld channels %u:", k, fm_dtype_name((enum fm_dtype)o->dtype),
                    (long long)o->offset, o->channels);
        for (int d = 0; d < o->ndim; d++) print_error(" %lld/%lld", (long long)o->size[d], (long long)o->stride[d]);
        print_error("\n");
    }
}

void fm_compare(const struct fm_case *got, const struct fm_case *wanted, double tolerance, const char *against)
{
    for (uint32_t i = 0; i < got->n_out; i++) {
        if (got->operand[i].storage == FM_NONE) continue;
        double difference = fm_case_difference(got, wanted, i);
        if (difference <= tolerance) continue;
        print_error("%s: output %u (%s) differs from %s by %g, at most %g\n", fm_kernel_name(got->kernel), i,
                    fm_dtype_name((enum fm_dtype)got->operand[i].dtype), against, difference, tolerance);
        fm_describe(got);
        fail();
    }
}
