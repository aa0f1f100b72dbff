/* Attention as the products and the softmax it is made of, or as one kernel that keeps no scores (rule 22). */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int index = 0;
    fm_status status = fm_strategy_choice("attention", "math,flash", value, &index, err);
    if (status == FM_OK) r->settings.flash_attention = index == 1;
    return status;
}

const struct fm_strategy fm_strategy_attention = {
    .name = "attention", .text = "math", .values = "math,flash", .apply = apply,
    .help = "attention as products and a softmax, or in one kernel (fp16, bf16)",
};
