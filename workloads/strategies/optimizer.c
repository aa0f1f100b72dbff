/* The optimizer, and the form of its step (rules 33-35, 67). Learning rate and decay are the workload's. */
#include "workloads/strategies/rows.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    static const struct { enum fm_optimizer_kind kind; bool amsgrad; } rows[] = {
        { FM_OPTIMIZER_ADAMW, false }, { FM_OPTIMIZER_ADAMW, true }, { FM_OPTIMIZER_ADAM, false }, { FM_OPTIMIZER_SGD, false },
    };
    int index = 0;
    fm_status status = fm_strategy_choice("optimizer", "adamw,adamw-amsgrad,adam,sgd", value, &index, err);
    if (status != FM_OK) return status;
    r->policy.optimizer.kind = rows[index].kind;
    r->policy.optimizer.amsgrad = rows[index].amsgrad;
    return FM_OK;
}

const struct fm_strategy fm_strategy_optimizer = {
    .name = "optimizer", .text = NULL, .values = "adamw,adamw-amsgrad,adam,sgd", .apply = apply,
    .help = "optimizer; sgd has momentum 0.9 (default: the workload's)",
};
