/* fp32, or autocast to half precision with fp32 weights; fp16 with a loss scaler (rules 23-29). */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    static const enum fm_dtype dtype[] = { FM_F32, FM_F16, FM_BF16 };
    int index = 0;
    fm_status status = fm_strategy_choice("precision", "fp32,fp16,bf16", value, &index, err);
    if (status != FM_OK) return status;
    r->policy.autocast = dtype[index];
    r->policy.loss_scaler = dtype[index] == FM_F16;
    return FM_OK;
}

const struct fm_strategy fm_strategy_precision = {
    .name = "precision", .text = "fp32", .values = "fp32,fp16,bf16", .apply = apply,
    .help = "fp32, or autocast to fp16 (with a loss scaler) or bf16",
};
