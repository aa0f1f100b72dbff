/* What memory is counted: what a device sees, or what PyTorch's own accounting under a dispatch mode sees (rule 50). */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int index = 0;
    fm_status status = fm_strategy_choice("accounting", "eager,dispatch", value, &index, err);
    if (status == FM_OK) r->policy.accounting = (enum fm_accounting)index;
    return status;
}

const struct fm_strategy fm_strategy_accounting = {
    .name = "accounting", .text = "eager", .values = "eager,dispatch", .apply = apply,
    .help = "eager: as on a device; dispatch: as PyTorch counts under a dispatch mode",
};
