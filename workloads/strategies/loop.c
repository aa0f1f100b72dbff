/* The training loop around the step: `loader` still holds the previous batch, output and loss (rule 47); `plain` deletes
 * the loss and reuses one batch, as reference scripts do. */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int index = 0;
    fm_status status = fm_strategy_choice("loop", "loader,plain", value, &index, err);
    if (status == FM_OK) r->policy.loop = (enum fm_loop)index;
    return status;
}

const struct fm_strategy fm_strategy_loop = {
    .name = "loop", .text = "loader", .values = "loader,plain", .apply = apply,
    .help = "loader: the previous batch, output and loss still live; plain: they do not",
};
