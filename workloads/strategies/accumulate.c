/* Gradient accumulation: several forward-backward passes a step. It saves nothing by itself: a smaller batch does. */
#include "workloads/strategies/rows.h"

#include "tuner/base/text.h"

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int64_t n;
    if (!fm_parse_i64(value, &n) || n < 1 || n > 1024)
        return FM_FAIL(err, FM_INVALID, "accumulate: '%s' is not a whole number from 1 to 1024", value);
    r->policy.accumulate = (uint32_t)n;
    return FM_OK;
}

const struct fm_strategy fm_strategy_accumulate = {
    .name = "accumulate", .text = "1", .values = "1, 2, 4, ...", .apply = apply,
    .help = "forward-backward passes an optimizer step",
};
