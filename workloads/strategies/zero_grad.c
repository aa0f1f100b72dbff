/* zero_grad(set_to_none=True), PyTorch's default: gradients are absent during forward; or kept and zeroed (rule 18). */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int index = 0;
    fm_status status = fm_strategy_choice("zero_grad", "none,keep", value, &index, err);
    if (status == FM_OK) r->policy.keep_grads = index == 1;
    return status;
}

const struct fm_strategy fm_strategy_zero_grad = {
    .name = "zero_grad", .text = "none", .values = "none,keep", .apply = apply,
    .help = "gradients set to none after a step, or kept and zeroed",
};
