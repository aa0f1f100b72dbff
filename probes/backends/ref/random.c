#include "probes/backends/data.h"
#include "probes/backends/ref/kernels.h"
#include "tuner/base/rng.h"

static uint64_t stream_now(const struct fm_launch *launch)
{
    return launch->problem.attr->stream + launch->step * FM_STREAMS_PER_STEP;
}

fm_status fm_ref_dropout(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    double rate = launch->problem.attr->alpha;
    struct fm_view y = fm_ref_out(launch, 0), mask = fm_ref_out(launch, 1), x = fm_ref_in(launch, 0);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        bool keep = (double)fm_rng_uniform(launch->seed, stream_now(launch), (uint64_t)i) >= rate;
        double kept = keep ? fm_view_load(&x, fm_view_distance(&x, &at)) / (1 - rate) : 0;
        fm_view_store(&mask, fm_view_distance(&mask, &at), keep);
        fm_view_store(&y, fm_view_distance(&y, &at), kept);
    }
    return FM_OK;
}

fm_status fm_ref_dropout_bwd(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    double rate = launch->problem.attr->alpha;
    struct fm_view dx = fm_ref_out(launch, 0), g = fm_ref_in(launch, 0), mask = fm_ref_in(launch, 1);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(dx.o); i++, fm_view_next(&dx, &at)) {
        double keep = fm_view_load(&mask, fm_view_distance(&mask, &at));
        double gradient = fm_view_load(&g, fm_view_distance(&g, &at));
        fm_view_store(&dx, fm_view_distance(&dx, &at), keep > 0 ? gradient / (1 - rate) : 0);
    }
    return FM_OK;
}

fm_status fm_ref_bernoulli(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    double keep = launch->problem.attr->alpha;
    struct fm_view y = fm_ref_out(launch, 0);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        double drawn = (double)fm_rng_uniform(launch->seed, stream_now(launch), (uint64_t)i);
        fm_view_store(&y, fm_view_distance(&y, &at), drawn < keep ? 1 / keep : 0);
    }
    return FM_OK;
}

fm_status fm_ref_init(const struct fm_launch *launch, struct fm_err *err)
{
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view y = fm_ref_out(launch, 0);
    if (attr->mode > 2) return FM_FAIL(err, FM_INVALID, "INIT: no mode %u", attr->mode);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        double value = attr->alpha;
        if (attr->mode == 1) value *= 2 * (double)fm_rng_uniform(launch->seed, attr->stream, (uint64_t)i) - 1;
        if (attr->mode == 2) value *= fm_rng_normal(launch->seed, attr->stream, (uint64_t)i);
        fm_view_store(&y, fm_view_distance(&y, &at), value);
    }
    return FM_OK;
}

fm_status fm_ref_input(const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_view y = fm_ref_out(launch, 0);
    struct fm_example first = fm_example_first(&launch->problem, launch->seed, launch->step);
    int spatial = y.o->ndim - first.ndim;       /* its first dimension: 2 after the channels, 1 for labels */
    if (launch->problem.attr->mode > FM_INPUT_IMAGE_LABELS || spatial != (first.channels ? 2 : 1))
        return FM_FAIL(err, FM_INVALID, "INPUT: %u dimensions for kind %u", y.o->ndim, launch->problem.attr->mode);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        struct fm_example example = first;
        int64_t position[3] = { 0, 0, 0 };
        example.example += (uint64_t)at.at[0];
        for (int d = 0; d < first.ndim; d++) position[d] = at.at[spatial + d];
        int64_t distance = fm_view_distance(&y, &at);
        if (first.channels)
            fm_view_store(&y, distance, (double)fm_example_value(&example, (int32_t)at.at[1], position));
        else fm_view_store_i64(&y, distance, fm_example_label(&example, position));
    }
    return FM_OK;
}
