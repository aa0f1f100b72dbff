/* Contiguous, or model and batches .to(memory_format=torch.channels_last), channels_last_3d for volumes: weights with spatial
 * dimensions and images keep their channels innermost, and so does what is computed from them (rules 42 and 69). */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int index = 0;
    fm_status status = fm_strategy_choice("memory_format", "contiguous,channels_last", value, &index, err);
    if (status == FM_OK) r->policy.channels_last = index == 1;
    return status;
}

const struct fm_strategy fm_strategy_memory_format = {
    .name = "memory_format", .text = "contiguous", .values = "contiguous,channels_last", .apply = apply,
    .help = "of images and convolutions' weights",
};
