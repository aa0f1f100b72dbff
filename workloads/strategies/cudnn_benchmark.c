/* torch.backends.cudnn.benchmark: the first call of each convolution times up to ten of cuDNN's engines and the fastest one
 * stays (rule 40), instead of the first that cuDNN's heuristics name. */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int index = 0;
    fm_status status = fm_strategy_choice("cudnn_benchmark", "off,on", value, &index, err);
    if (status == FM_OK) r->policy.cudnn_benchmark = index == 1;
    return status;
}

const struct fm_strategy fm_strategy_cudnn_benchmark = {
    .name = "cudnn_benchmark", .text = "off", .values = "off,on", .apply = apply,
    .help = "convolutions by the engine that is fastest, timed (GPUs alone), or by the first that cuDNN names",
};
