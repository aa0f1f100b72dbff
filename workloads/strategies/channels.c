/* Fewer (or more) channels in every layer: a smaller model, not the same one trained in less memory. */
#include "workloads/strategies/rows.h"

#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

static fm_status apply(struct fm_recipe *r, const char *value, struct fm_err *err)
{
    int64_t n = 0, d = 1;
    char top[24];
    const char *slash = strchr(value, '/');
    size_t length = slash ? (size_t)(slash - value) : strlen(value);
    bool good = length && length < sizeof top;
    if (good) {
        (void)snprintf(top, sizeof top, "%.*s", (int)length, value);
        good = fm_parse_i64(top, &n) && (!slash || fm_parse_i64(slash + 1, &d));
    }
    if (!good || n < 1 || d < 1 || n > 64 || d > 64)
        return FM_FAIL(err, FM_INVALID, "channels: '%s' is not a scale like 1, 1/2 or 3/4 (parts from 1 to 64)", value);
    r->settings.channels_numerator = (int32_t)n;
    r->settings.channels_denominator = (int32_t)d;
    return FM_OK;
}

const struct fm_strategy fm_strategy_channels = {
    .name = "channels", .text = "1", .values = "1, 1/2, 3/4, ...", .changes_model = true, .apply = apply,
    .help = "scale of every layer's channels, rounded down; another model",
};
