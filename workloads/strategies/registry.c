#include "workloads/strategies/rows.h"

#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

const struct fm_strategy *const fm_strategies[FM_STRATEGY_COUNT] = {
    [FM_STRATEGY_CHANNELS] = &fm_strategy_channels, [FM_STRATEGY_PRECISION] = &fm_strategy_precision,
    [FM_STRATEGY_MEMORY_FORMAT] = &fm_strategy_memory_format, [FM_STRATEGY_ATTENTION] = &fm_strategy_attention,
    [FM_STRATEGY_OPTIMIZER] = &fm_strategy_optimizer, [FM_STRATEGY_OPTIMIZER_FORM] = &fm_strategy_optimizer_form,
    [FM_STRATEGY_ACCUMULATE] = &fm_strategy_accumulate, [FM_STRATEGY_CHECKPOINT] = &fm_strategy_checkpoint,
    [FM_STRATEGY_ZERO_GRAD] = &fm_strategy_zero_grad,
    [FM_STRATEGY_CUDNN_BENCHMARK] = &fm_strategy_cudnn_benchmark, [FM_STRATEGY_VAL_BATCH] = &fm_strategy_val_batch,
    [FM_STRATEGY_LOOP] = &fm_strategy_loop, [FM_STRATEGY_ACCOUNTING] = &fm_strategy_accounting,
};

enum fm_strategy_id fm_strategy_find(const char *name)
{
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) {
        const char *a = fm_strategies[i]->name, *b = name;
        while (*a && (*a == *b || (*a == '_' && *b == '-'))) a++, b++;
        if (!*a && !*b) return (enum fm_strategy_id)i;
    }
    return FM_STRATEGY_COUNT;
}

fm_status fm_strategy_choice(const char *strategy, const char *choices, const char *value, int *index, struct fm_err *err)
{
    char text[160];
    const char *name[16];
    size_t n = 0;
    (void)snprintf(text, sizeof text, "%s", choices);
    for (char *at = text; at && n < 16;) {
        char *comma = strchr(at, ',');
        if (comma) *comma++ = '\0';
        name[n++] = at;
        at = comma;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(name[i], value) != 0) continue;
        *index = (int)i;
        return FM_OK;
    }
    const char *near = fm_nearest(value, name, n);
    return FM_FAIL(err, FM_INVALID, "%s: unknown value '%s'%s%s%s (%s)", strategy, value, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "", choices);
}
