/* A norm works on parts: a channel of a batch norm, a group of channels of one sample, a row. Within a part mean and
 * rstd are constant; weights are views with the part's dimensions, standing still along all but the channels. */
#include "probes/backends/ref/kernels.h"

#include <math.h>

struct moments { double mean, variance, rstd; };

/* part of a view that begins at `at` and has the sizes of `shape`; *part keeps the operand */
static struct fm_view part_of(const struct fm_view *view, const struct fm_index *at, const struct fm_operand *shape,
                              struct fm_operand *part)
{
    int64_t distance = fm_view_distance(view, at);
    *part = *view->o;
    for (int d = 0; d < part->ndim; d++) part->size[d] = shape->size[d];
    return (struct fm_view){ part, view->first + distance * fm_dtype_bytes((enum fm_dtype)view->o->dtype) };
}

/* a vector over dimension dim of `like`, expanded over the others; .first NULL if absent */
static struct fm_view along(const struct fm_view *vector, const struct fm_operand *like, int dim, struct fm_operand *o)
{
    int64_t stride = vector->o ? vector->o->stride[0] : 0;
    uint8_t dtype = vector->o ? vector->o->dtype : like->dtype;
    *o = *like;
    o->dtype = dtype;
    for (int d = 0; d < o->ndim; d++) o->stride[d] = d == dim ? stride : 0;
    return (struct fm_view){ o, vector->first };
}

static double load_or(const struct fm_view *view, const struct fm_index *at, double absent)
{
    return view->first ? fm_view_load(view, fm_view_distance(view, at)) : absent;
}

static struct moments measure(const struct fm_view *part, double eps)
{
    int64_t count = fm_operand_numel(part->o);
    struct moments m = { 0, 0, 0 };
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < count; i++, fm_view_next(part, &at))
        m.mean += fm_view_load(part, fm_view_distance(part, &at)) / (double)count;
    for (int64_t i = 0; i < count; i++, fm_view_next(part, &at)) {
        double away = fm_view_load(part, fm_view_distance(part, &at)) - m.mean;
        m.variance += away * away / (double)count;
    }
    m.rstd = 1 / sqrt(m.variance + eps);
    return m;
}

/* what a norm's kernels see of x, with views of the other operands that take x's indices */
struct norm {
    struct fm_view x, y, g, dx, weight, bias;       /* y, bias forward; g, dx backward */
    struct fm_operand weight_operand, bias_operand;
};

static void normalize(const struct norm *n, const struct fm_index *from, const struct fm_operand *shape,
                      struct moments m)
{
    struct fm_operand ox, oy, ow, ob;
    struct fm_view x = part_of(&n->x, from, shape, &ox), y = part_of(&n->y, from, shape, &oy);
    struct fm_view w = n->weight, b = n->bias;
    if (w.first) w = part_of(&n->weight, from, shape, &ow);
    if (b.first) b = part_of(&n->bias, from, shape, &ob);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(x.o); i++, fm_view_next(&x, &at)) {
        double hat = (fm_view_load(&x, fm_view_distance(&x, &at)) - m.mean) * m.rstd;
        fm_view_store(&y, fm_view_distance(&y, &at), hat * load_or(&w, &at, 1) + load_or(&b, &at, 0));
    }
}

/* dx of one part: rstd * (wg - mean(wg) - hat * mean(wg * hat)) */
static void input_gradient(const struct norm *n, const struct fm_index *from, const struct fm_operand *shape,
                           struct moments m)
{
    struct fm_operand ox, og, od, ow;
    struct fm_view x = part_of(&n->x, from, shape, &ox), g = part_of(&n->g, from, shape, &og);
    struct fm_view dx = part_of(&n->dx, from, shape, &od), w = n->weight;
    if (w.first) w = part_of(&n->weight, from, shape, &ow);
    double sum = 0, sum_hat = 0, count = (double)fm_operand_numel(x.o);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(x.o); i++, fm_view_next(&x, &at)) {
        double hat = (fm_view_load(&x, fm_view_distance(&x, &at)) - m.mean) * m.rstd;
        double wg = fm_view_load(&g, fm_view_distance(&g, &at)) * load_or(&w, &at, 1);
        sum += wg;
        sum_hat += wg * hat;
    }
    for (int64_t i = 0; i < fm_operand_numel(x.o); i++, fm_view_next(&x, &at)) {
        double hat = (fm_view_load(&x, fm_view_distance(&x, &at)) - m.mean) * m.rstd;
        double wg = fm_view_load(&g, fm_view_distance(&g, &at)) * load_or(&w, &at, 1);
        fm_view_store(&dx, fm_view_distance(&dx, &at), m.rstd * (wg - sum / count - hat * sum_hat / count));
    }
}

/* adds the part's sums of g * hat and g, which are the gradients of weight and bias of its channel */
static void parameter_gradient(const struct norm *n, const struct fm_index *from, const struct fm_operand *shape,
                               struct moments m, double sums[2])
{
    struct fm_operand ox, og;
    struct fm_view x = part_of(&n->x, from, shape, &ox), g = part_of(&n->g, from, shape, &og);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(x.o); i++, fm_view_next(&x, &at)) {
        double gradient = fm_view_load(&g, fm_view_distance(&g, &at));
        sums[0] += gradient * (fm_view_load(&x, fm_view_distance(&x, &at)) - m.mean) * m.rstd;
        sums[1] += gradient;
    }
}

static void store_at(const struct fm_view *vector, int64_t i, double value)
{
    if (vector->first) fm_view_store(vector, i * vector->o->stride[0], value);
}

static double load_at(const struct fm_view *vector, int64_t i)
{
    return fm_view_load(vector, i * vector->o->stride[0]);
}

/* the operands of a forward or a backward kernel, channels along dimension dim */
static void forward(struct norm *n, const struct fm_launch *launch, int dim)
{
    struct fm_view weight = fm_ref_in(launch, 1), bias = fm_ref_in(launch, 2);
    *n = (struct norm){ .x = fm_ref_in(launch, 0), .y = fm_ref_out(launch, 0) };
    n->weight = along(&weight, n->x.o, dim, &n->weight_operand);
    n->bias = along(&bias, n->x.o, dim, &n->bias_operand);
}

static void backward(struct norm *n, const struct fm_launch *launch, int dim)
{
    struct fm_view weight = fm_ref_in(launch, 2);
    *n = (struct norm){ .x = fm_ref_in(launch, 1), .g = fm_ref_in(launch, 0), .dx = fm_ref_out(launch, 0) };
    n->weight = along(&weight, n->x.o, dim, &n->weight_operand);
}

static void move_towards(const struct fm_view *running, int64_t c, double momentum, double value)
{
    if (running->first) store_at(running, c, (1 - momentum) * load_at(running, c) + momentum * value);
}

fm_status fm_ref_batch_norm(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct norm n;
    forward(&n, launch, 1);
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view mean = fm_ref_out(launch, 1), invstd = fm_ref_out(launch, 2);
    struct fm_view running_mean = fm_ref_out(launch, 3), running_var = fm_ref_out(launch, 4);
    struct fm_operand channel = *n.x.o;
    channel.size[1] = 1;
    double count = (double)fm_operand_numel(&channel);
    for (int64_t c = 0; c < n.x.o->size[1]; c++) {
        struct fm_index from = { { 0, c } };
        struct fm_operand part;
        struct fm_view x = part_of(&n.x, &from, &channel, &part);
        struct moments m = measure(&x, attr->eps);
        normalize(&n, &from, &channel, m);
        store_at(&mean, c, m.mean);
        store_at(&invstd, c, m.rstd);
        move_towards(&running_mean, c, attr->momentum, m.mean);
        move_towards(&running_var, c, attr->momentum, m.variance * count / (count - 1));
    }
    return FM_OK;
}

fm_status fm_ref_batch_norm_eval(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct norm n;
    forward(&n, launch, 1);
    struct fm_view mean = fm_ref_in(launch, 3), variance = fm_ref_in(launch, 4);
    struct fm_operand channel = *n.x.o;
    channel.size[1] = 1;
    for (int64_t c = 0; c < n.x.o->size[1]; c++) {
        struct fm_index from = { { 0, c } };
        struct moments m = { load_at(&mean, c), 0, 1 / sqrt(load_at(&variance, c) + launch->problem.attr->eps) };
        normalize(&n, &from, &channel, m);
    }
    return FM_OK;
}

fm_status fm_ref_batch_norm_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct norm n;
    backward(&n, launch, 1);
    struct fm_view dweight = fm_ref_out(launch, 1), dbias = fm_ref_out(launch, 2);
    struct fm_view mean = fm_ref_in(launch, 3), invstd = fm_ref_in(launch, 4);
    struct fm_operand channel = *n.x.o;
    channel.size[1] = 1;
    for (int64_t c = 0; c < n.x.o->size[1]; c++) {
        struct fm_index from = { { 0, c } };
        struct moments m = { load_at(&mean, c), 0, load_at(&invstd, c) };
        double sums[2] = { 0, 0 };
        parameter_gradient(&n, &from, &channel, m, sums);
        input_gradient(&n, &from, &channel, m);
        store_at(&dweight, c, sums[0]);
        store_at(&dbias, c, sums[1]);
    }
    return FM_OK;
}

fm_status fm_ref_group_norm(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct norm n;
    forward(&n, launch, 1);
    struct fm_view mean = fm_ref_out(launch, 1), rstd = fm_ref_out(launch, 2);
    struct fm_operand shape = *n.x.o, part;
    int64_t groups = launch->problem.attr->groups;
    shape.size[0] = 1;
    shape.size[1] = n.x.o->size[1] / groups;
    for (int64_t i = 0; i < n.x.o->size[0] * groups; i++) {
        struct fm_index pair = { { i / groups, i % groups } }, from = { { i / groups, i % groups * shape.size[1] } };
        struct fm_view x = part_of(&n.x, &from, &shape, &part);
        struct moments m = measure(&x, launch->problem.attr->eps);
        normalize(&n, &from, &shape, m);
        fm_view_store(&mean, fm_view_distance(&mean, &pair), m.mean);
        fm_view_store(&rstd, fm_view_distance(&rstd, &pair), m.rstd);
    }
    return FM_OK;
}

static struct moments saved(const struct fm_view *mean, const struct fm_view *rstd, const struct fm_index *at)
{
    return (struct moments){ fm_view_load(mean, fm_view_distance(mean, at)), 0,
                             fm_view_load(rstd, fm_view_distance(rstd, at)) };
}

fm_status fm_ref_group_norm_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct norm n;
    backward(&n, launch, 1);
    struct fm_view dweight = fm_ref_out(launch, 1), dbias = fm_ref_out(launch, 2);
    struct fm_view mean = fm_ref_in(launch, 3), rstd = fm_ref_in(launch, 4);
    struct fm_operand group = *n.x.o, channel = *n.x.o;
    int64_t groups = launch->problem.attr->groups, width = n.x.o->size[1] / groups;
    group.size[0] = channel.size[0] = channel.size[1] = 1;
    group.size[1] = width;
    for (int64_t i = 0; i < n.x.o->size[0] * groups; i++) {
        struct fm_index pair = { { i / groups, i % groups } }, from = { { i / groups, i % groups * width } };
        input_gradient(&n, &from, &group, saved(&mean, &rstd, &pair));
    }
    for (int64_t c = 0; c < n.x.o->size[1]; c++) {
        double sums[2] = { 0, 0 };
        for (int64_t b = 0; b < n.x.o->size[0]; b++) {
            struct fm_index pair = { { b, c / width } }, from = { { b, c } };
            parameter_gradient(&n, &from, &channel, saved(&mean, &rstd, &pair), sums);
        }
        store_at(&dweight, c, sums[0]);
        store_at(&dbias, c, sums[1]);
    }
    return FM_OK;
}

fm_status fm_ref_layer_norm(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct norm n;
    int last = launch->problem.operand[0].ndim - 1;
    forward(&n, launch, last);
    struct fm_view mean = fm_ref_out(launch, 1), rstd = fm_ref_out(launch, 2);
    struct fm_operand row = *n.x.o, part;
    for (int d = 0; d < last; d++) row.size[d] = 1;
    struct fm_index at = { { 0 } };     /* walks over mean, which has size 1 in the last dimension */
    for (int64_t i = 0; i < fm_operand_numel(mean.o); i++, fm_view_next(&mean, &at)) {
        struct fm_view x = part_of(&n.x, &at, &row, &part);
        struct moments m = measure(&x, launch->problem.attr->eps);
        normalize(&n, &at, &row, m);
        fm_view_store(&mean, fm_view_distance(&mean, &at), m.mean);
        fm_view_store(&rstd, fm_view_distance(&rstd, &at), m.rstd);
    }
    return FM_OK;
}

fm_status fm_ref_layer_norm_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct norm n;
    int last = launch->problem.operand[0].ndim - 1;
    backward(&n, launch, last);
    struct fm_view dweight = fm_ref_out(launch, 1), dbias = fm_ref_out(launch, 2);
    struct fm_view mean = fm_ref_in(launch, 3), rstd = fm_ref_in(launch, 4);
    struct fm_operand row = *n.x.o, one = *n.x.o;
    for (int d = 0; d <= last; d++) one.size[d] = 1;
    for (int d = 0; d < last; d++) row.size[d] = 1;
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(mean.o); i++, fm_view_next(&mean, &at))
        input_gradient(&n, &at, &row, saved(&mean, &rstd, &at));
    for (int64_t c = 0; c < n.x.o->size[last]; c++) {
        double sums[2] = { 0, 0 };
        for (int64_t i = 0; i < fm_operand_numel(mean.o); i++, fm_view_next(&mean, &at)) {
            struct fm_index from = at;
            from.at[last] = c;
            parameter_gradient(&n, &from, &one, saved(&mean, &rstd, &at), sums);
        }
        store_at(&dweight, c, sums[0]);
        store_at(&dbias, c, sums[1]);
    }
    return FM_OK;
}
