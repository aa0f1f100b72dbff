/* Recompute blocks in backward instead of keeping their activations (non-reentrant; rules 31, 32, 55). The block names
 * are the workload's; they are resolved when the graph is there (cell.c). */
#include "workloads/strategies/rows.h"

#include <stdio.h>
#include <string.h>

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    if (!*value || strlen(value) >= sizeof r->checkpoint)
        return FM_FAIL(err, FM_INVALID, "checkpoint: none, blocks, or block names joined by '+', not '%s'", value);
    (void)snprintf(r->checkpoint, sizeof r->checkpoint, "%s", value);
    return FM_OK;
}

const struct fm_strategy fm_strategy_checkpoint = {
    .name = "checkpoint", .text = "none", .values = "none, blocks, or names joined by '+'", .apply = apply,
    .help = "blocks whose activations are recomputed in backward",
};
