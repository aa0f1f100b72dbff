#include "probes/backends/ref/kernels.h"

#include <math.h>

#define SCALER_GROWTH_STEPS 2000

/* a loss scaler met infinities: this step does nothing */
static bool skipped(const struct fm_launch *launch)
{
    struct fm_view found_inf = fm_ref_in(launch, 0);
    double found = found_inf.first ? fm_view_load(&found_inf, 0) : 0;
    return found > 0 || found < 0;
}

static void sgd_tensor(const struct fm_launch *launch, uint32_t first)
{
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view p = fm_ref_out(launch, first), g = fm_ref_out(launch, first + 1);
    struct fm_view buf = fm_ref_out(launch, first + 2);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(p.o); i++, fm_view_next(&p, &at)) {
        int64_t dp = fm_view_distance(&p, &at), dg = fm_view_distance(&g, &at);
        double param = fm_view_load(&p, dp), gradient = fm_view_load(&g, dg) + attr->weight_decay * param;
        double direction = gradient;
        if (buf.first) {
            int64_t db = fm_view_distance(&buf, &at);
            double kept = launch->step == 0 ? gradient : attr->momentum * fm_view_load(&buf, db) + gradient;
            if (attr->nesterov) gradient += attr->momentum * kept;
            direction = attr->nesterov ? gradient : kept;
            fm_view_store(&buf, db, kept);
        }
        fm_view_store(&g, dg, gradient);
        fm_view_store(&p, dp, param - attr->lr * direction);
    }
}

fm_status fm_ref_sgd(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    if (skipped(launch)) return FM_OK;
    for (uint32_t i = 0; i < launch->problem.n_out; i += FM_SGD_OPERANDS) sgd_tensor(launch, i);
    return FM_OK;
}

static void adam_tensor(const struct fm_launch *launch, uint32_t first)
{
    const struct fm_attr *attr = launch->problem.attr;
    struct fm_view p = fm_ref_out(launch, first), m = fm_ref_out(launch, first + 1), v = fm_ref_out(launch, first + 2);
    struct fm_view vmax = fm_ref_out(launch, first + 3), g = fm_ref_out(launch, first + 5);
    double count = (double)launch->step + 1, beta1 = attr->alpha, beta2 = attr->beta;
    double correction1 = 1 - pow(beta1, count), correction2 = 1 - pow(beta2, count);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(p.o); i++, fm_view_next(&p, &at)) {
        int64_t dp = fm_view_distance(&p, &at), dm = fm_view_distance(&m, &at), dv = fm_view_distance(&v, &at);
        double param = fm_view_load(&p, dp), gradient = fm_view_load(&g, fm_view_distance(&g, &at));
        if (attr->decoupled) param *= 1 - attr->lr * attr->weight_decay;
        else gradient += attr->weight_decay * param;
        double first_moment = beta1 * fm_view_load(&m, dm) + (1 - beta1) * gradient;
        double second_moment = beta2 * fm_view_load(&v, dv) + (1 - beta2) * gradient * gradient;
        double largest = second_moment;
        if (attr->amsgrad) {
            int64_t dx = fm_view_distance(&vmax, &at);
            largest = fmax(fm_view_load(&vmax, dx), second_moment);
            fm_view_store(&vmax, dx, largest);
        }
        fm_view_store(&m, dm, first_moment);
        fm_view_store(&v, dv, second_moment);
        double denominator = sqrt(largest) / sqrt(correction2) + attr->eps;
        fm_view_store(&p, dp, param - attr->lr / correction1 * first_moment / denominator);
    }
}

fm_status fm_ref_adam(const struct fm_launch *launch, struct fm_err *err)
{
    const struct fm_problem *problem = &launch->problem;
    for (uint32_t i = 0; problem->attr->amsgrad && i < problem->n_out; i += FM_ADAM_OPERANDS)
        if (!fm_ref_out(launch, i + 3).first) return FM_FAIL(err, FM_INVALID, "ADAM: amsgrad without its maximum");
    if (skipped(launch)) return FM_OK;
    for (uint32_t i = 0; i < problem->n_out; i += FM_ADAM_OPERANDS) adam_tensor(launch, i);
    return FM_OK;
}

fm_status fm_ref_amp_unscale(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct fm_view found_inf = fm_ref_out(launch, 0), scale = fm_ref_in(launch, 0);
    double factor = 1 / fm_view_load(&scale, 0);
    bool found = false;
    for (uint32_t k = 1; k < launch->problem.n_out; k++) {
        struct fm_view g = fm_ref_out(launch, k);
        struct fm_index at = { { 0 } };
        for (int64_t i = 0; i < fm_operand_numel(g.o); i++, fm_view_next(&g, &at)) {
            int64_t distance = fm_view_distance(&g, &at);
            double gradient = fm_view_load(&g, distance);
            found = found || !isfinite(gradient);
            fm_view_store(&g, distance, gradient * factor);
        }
    }
    fm_view_store(&found_inf, 0, found);
    return FM_OK;
}

fm_status fm_ref_amp_update(const struct fm_launch *launch, struct fm_err *err)
{
    (void)err;
    struct fm_view scale = fm_ref_out(launch, 0), tracker = fm_ref_out(launch, 1);
    bool found = skipped(launch);
    double good_steps = found ? 0 : fm_view_load(&tracker, 0) + 1, factor = found ? 0.5 : 1;
    if (good_steps >= SCALER_GROWTH_STEPS) {
        good_steps = 0;
        factor = 2;
    }
    fm_view_store(&scale, 0, fm_view_load(&scale, 0) * factor);
    fm_view_store(&tracker, 0, good_steps);
    return FM_OK;
}
