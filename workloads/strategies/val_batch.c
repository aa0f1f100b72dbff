/* The validation batch: the training batch, half of it (at least 1), or as large as fits (searched alone). */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int index = 0;
    fm_status status = fm_strategy_choice("val_batch", "same,half,max", value, &index, err);
    if (status == FM_OK) r->val_batch = (enum fm_val_batch)index;
    return status;
}

const struct fm_strategy fm_strategy_val_batch = {
    .name = "val_batch", .text = "same", .values = "same,half,max", .apply = apply,
    .help = "validation batch: as in training, half of it, or searched alone",
};
