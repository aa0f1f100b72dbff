#include "tests/campaign/support_toy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "workloads/graph/build.h"

static fm_value forward(struct fm_build *b, const struct fm_settings *s, const struct fm_module *conv)
{
    int64_t edge = fm_setting_get(s, "edge")->number;
    fm_value x = fm_input(b, "x", FM_INPUT_VOLUME, 2, (struct fm_shape){ 5, { fm_build_batch(b), 1, edge, edge, edge } });
    fm_value y = fm_apply(b, conv, x);
    fm_body_output(b, y);
    return y;
}

static fm_status build(const struct fm_settings *s, int64_t train_batch, int64_t val_batch, struct fm_graph *out, struct fm_err *err)
{
    *out = (struct fm_graph){ 0 };
    struct fm_build *b = fm_build_new("toy", err);
    if (!b) return FM_NOMEM;
    int64_t broken = fm_setting_get(s, "broken")->number;
    if (broken && train_batch >= broken) fm_build_fail(b, "toy: no batch of %lld", (long long)train_batch);
    struct fm_module conv = fm_new_conv(b, "conv", (struct fm_conv){ .dims = 3, .in = 1, .out = 2, .kernel = 1 });
    if (train_batch) {
        fm_build_body(b, FM_BODY_TRAIN, train_batch);
        fm_body_loss(b, fm_mean(b, "loss", forward(b, s, &conv)));
    }
    if (val_batch) {
        fm_build_body(b, FM_BODY_VAL, val_batch);
        for (int64_t i = 0; i < fm_setting_get(s, "infers")->number; i++) (void)forward(b, s, &conv);
    }
    fm_status status = fm_build_finish(b, out, err);
    fm_build_free(b);
    return status;
}

static const struct fm_setting settings[] = {
    { .name = "edge", .help = "of the volume", .text = "64", .kind = FM_SETTING_INT, .lo = 1, .hi = 256 },
    { .name = "infers", .help = "passes", .text = "1", .kind = FM_SETTING_INT, .lo = 1, .hi = 8, .validation_only = true },
    { .name = "broken", .help = "from this batch on", .text = "0", .kind = FM_SETTING_INT, .lo = 0, .hi = 1000 },
};

const struct fm_workload fm_toy = {
    .name = "toy", .title = "one convolution", .sample = "volume", .setting = settings,
    .settings = sizeof settings / sizeof settings[0], .build = build, .optimizer = "sgd", .lr = 1e-3,
};

struct fm_cell fm_toy_cell(const char *words)
{
    struct fm_cell cell;
    struct fm_err err = { 0 };
    char key[40], value[FM_VALUE_BYTES];
    int used = 0;
    fm_cell_default(&cell, &fm_toy);
    for (const char *at = words; sscanf(at, " %39[^=]=%95s%n", key, value, &used) == 2; at += used) {
        enum fm_strategy_id id = fm_strategy_find(key);
        fm_status status = id == FM_STRATEGY_COUNT ? fm_settings_set(&cell.settings, key, value, &err) : fm_cell_set(&cell, id, value, &err);
        if (status != FM_OK) fail_msg("%s=%s: %s", key, value, err.text);
    }
    return cell;
}
