#include "probes/backends/ref/kernels.h"

#include <math.h>

/* One row along attr.dim: `lines` has size 1 there and walks over the rows. */
static struct fm_operand lines_of(const struct fm_operand *o, int dim)
{
    struct fm_operand lines = *o;
    lines.size[dim] = 1;
    return lines;
}

fm_status fm_ref_softmax(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view y = fm_ref_out(launch, 0), x = fm_ref_in(launch, 0);
    struct fm_operand shape = lines_of(x.o, attr->dim);
    struct fm_view lines = { &shape, x.first };
    int64_t n = x.o->size[attr->dim], sx = x.o->stride[attr->dim], sy = y.o->stride[attr->dim];
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(&shape); i++, fm_view_next(&lines, &at)) {
        int64_t bx = fm_view_distance(&x, &at), by = fm_view_distance(&y, &at);
        double most = -INFINITY, total = 0;
        for (int64_t k = 0; k < n; k++) most = fmax(most, fm_view_load(&x, bx + k * sx));
        for (int64_t k = 0; k < n; k++) total += exp(fm_view_load(&x, bx + k * sx) - most);
        for (int64_t k = 0; k < n; k++) {
            double shifted = fm_view_load(&x, bx + k * sx) - most;
            fm_view_store(&y, by + k * sy, attr->mode ? shifted - log(total) : exp(shifted) / total);
        }
    }
    return FM_OK;
}

fm_status fm_ref_softmax_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view dx = fm_ref_out(launch, 0), g = fm_ref_in(launch, 0), y = fm_ref_in(launch, 1);
    struct fm_operand shape = lines_of(dx.o, attr->dim);
    struct fm_view lines = { &shape, dx.first };
    int64_t n = dx.o->size[attr->dim], sd = dx.o->stride[attr->dim];
    int64_t sg = g.o->stride[attr->dim], sy = y.o->stride[attr->dim];
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(&shape); i++, fm_view_next(&lines, &at)) {
        int64_t bd = fm_view_distance(&dx, &at), bg = fm_view_distance(&g, &at), by = fm_view_distance(&y, &at);
        double total = 0;
        for (int64_t k = 0; k < n; k++)
            total += fm_view_load(&g, bg + k * sg) * (attr->mode ? 1 : fm_view_load(&y, by + k * sy));
        for (int64_t k = 0; k < n; k++) {
            double gk = fm_view_load(&g, bg + k * sg), yk = fm_view_load(&y, by + k * sy);
            fm_view_store(&dx, bd + k * sd, attr->mode ? gk - exp(yk) * total : (gk - total) * yk);
        }
    }
    return FM_OK;
}

/* index (b, class, ...) of the element of logp that a target at (b, ...) picks */
static struct fm_index picked(const struct fm_index *target, int64_t class)
{
    struct fm_index at = { { target->at[0], class } };
    for (int d = 2; d < FM_MAX_DIMS; d++) at.at[d] = target->at[d - 1];
    return at;
}

static double class_weight(const struct fm_view *weight, int64_t class)
{
    return weight->first ? fm_view_load(weight, class * weight->o->stride[0]) : 1;
}

fm_status fm_ref_nll(const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_view loss = fm_ref_out(launch, 0), total_weight = fm_ref_out(launch, 1);
    struct fm_view logp = fm_ref_in(launch, 0), target = fm_ref_in(launch, 1), weight = fm_ref_in(launch, 2);
    double sum = 0, total = 0;
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(target.o); i++, fm_view_next(&target, &at)) {
        int64_t class = fm_view_load_i64(&target, fm_view_distance(&target, &at));
        if (class == launch->problem.attr->ignore_index) continue;
        if (class < 0 || class >= logp.o->size[1])
            return FM_FAIL(err, FM_INVALID, "NLL: target %lld of element %lld is none of the %lld classes",
                           (long long)class, (long long)i, (long long)logp.o->size[1]);
        struct fm_index p = picked(&at, class);
        double w = class_weight(&weight, class);
        sum -= w * fm_view_load(&logp, fm_view_distance(&logp, &p));
        total += w;
    }
    fm_view_store(&loss, 0, sum / total);
    fm_view_store(&total_weight, 0, total);
    return FM_OK;
}

fm_status fm_ref_nll_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct fm_view dx = fm_ref_out(launch, 0), g = fm_ref_in(launch, 0), target = fm_ref_in(launch, 1);
    struct fm_view total_weight = fm_ref_in(launch, 2), weight = fm_ref_in(launch, 3);
    double scale = -fm_view_load(&g, 0) / fm_view_load(&total_weight, 0);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(dx.o); i++, fm_view_next(&dx, &at)) {
        struct fm_index t = { { at.at[0] } };
        for (int d = 1; d + 1 < FM_MAX_DIMS; d++) t.at[d] = at.at[d + 1];
        int64_t class = fm_view_load_i64(&target, fm_view_distance(&target, &t));
        bool hit = class == at.at[1] && class != launch->problem.attr->ignore_index;
        fm_view_store(&dx, fm_view_distance(&dx, &at), hit ? scale * class_weight(&weight, class) : 0);
    }
    return FM_OK;
}
