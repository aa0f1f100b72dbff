/* fp32 throughout; tf32: the same tensors, but convolutions and products may use TF32 tensor cores; or autocast to half
 * precision with fp32 weights, fp16 with a loss scaler (rules 23-29). PyTorch's own default for fp32 tensors lies between the
 * first two: convolutions in TF32, products in fp32 (rule 39). */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    static const struct { enum fm_dtype autocast; bool tf32; } rows[] = {
        { FM_F32, false }, { FM_F32, true }, { FM_F16, false }, { FM_BF16, false },
    };
    int index = 0;
    fm_status status = fm_strategy_choice("precision", "fp32,tf32,fp16,bf16", value, &index, err);
    if (status != FM_OK) return status;
    r->policy.autocast = rows[index].autocast;
    r->policy.tf32 = rows[index].tf32;
    r->policy.loss_scaler = rows[index].autocast == FM_F16;
    return FM_OK;
}

const struct fm_strategy fm_strategy_precision = {
    .name = "precision", .text = "fp32", .values = "fp32,tf32,fp16,bf16", .apply = apply,
    .help = "fp32, without TF32; tf32 (GPUs alone); or autocast to fp16 (with a loss scaler) or bf16",
};
