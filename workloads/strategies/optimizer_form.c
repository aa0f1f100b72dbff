#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    static const enum fm_optimizer_form form[] = { FM_FORM_FOREACH, FM_FORM_FUSED, FM_FORM_LOOP };
    int index = 0;
    fm_status status = fm_strategy_choice("optimizer_form", "foreach,fused,for-loop", value, &index, err);
    if (status == FM_OK) r->policy.optimizer.form = form[index];
    return status;
}

const struct fm_strategy fm_strategy_optimizer_form = {
    .name = "optimizer_form", .text = "foreach", .values = "foreach,fused,for-loop", .apply = apply,
    .help = "foreach (PyTorch's default), fused, or for-loop",
};
