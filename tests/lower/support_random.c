#include "tests/lower/support_random.h"

#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct draw { uint64_t seed, count; };

static uint32_t below(struct draw *d, uint32_t n) { return (uint32_t)(fm_rng_u64(d->seed, 1, d->count++) % n); }
static bool coin(struct draw *d) { return below(d, 2); }

static void set(struct fm_settings *s, const char *key, const char *value)
{
    struct fm_err err = { 0 };
    if (fm_settings_set(s, key, value, &err) != FM_OK) fail_msg("%s", err.text);
}

static void draw_network(struct random_cell *cell, struct draw *d)
{
    static const char *const bases[] = { "1", "3", "4", "6" }, *const levels[] = { "1", "2", "3" };
    static const char *const volumes[] = { "8x8x8", "8x16x24", "16x16x16" }, *const images[] = { "32x32", "64x32",
                                                                                                 "96x64" };
    static const char *const classes[] = { "2", "4", "7" }, *const infers[] = { "1", "2", "3" };
    static const char *const ensembles[] = { "keep_all", "sum", "running" };
    bool unet = below(d, 4) != 0;
    fm_settings_default(&cell->settings, unet ? &fm_denseunet3d : &fm_segformer);
    set(&cell->settings, "classes", classes[below(d, 3)]);
    if (unet) {
        set(&cell->settings, "base_channels", bases[below(d, 4)]);
        set(&cell->settings, "levels", levels[below(d, 3)]);
        set(&cell->settings, "input", volumes[below(d, 3)]);
        set(&cell->settings, "dropout", coin(d) ? "on" : "off");
        set(&cell->settings, "n_infers", infers[below(d, 3)]);
        set(&cell->settings, "ensemble", ensembles[below(d, 3)]);
    } else {
        set(&cell->settings, "input", images[below(d, 3)]);
        set(&cell->settings, "dropout", coin(d) ? "0.1" : "0");
        set(&cell->settings, "drop_path", coin(d) ? "0.2" : "0");
        cell->settings.channels_denominator = coin(d) ? 2 : 1;
    }
}

static void draw_policy(struct random_cell *cell, struct draw *d)
{
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F16, FM_BF16 };
    struct fm_policy p = fm_policy_default();
    p.autocast = dtypes[below(d, 3)];
    if (p.autocast == FM_F32 && below(d, 8) == 0) p.base = p.autocast = FM_F64;
    p.loss_scaler = p.autocast == FM_F16 && coin(d);
    for (int i = 0; i < RANDOM_BLOCKS; i++) cell->checkpoint[i] = (uint8_t)coin(d);
    if (coin(d)) p.checkpoint = cell->checkpoint;
    p.accumulate = 1 + below(d, 3);
    p.optimizer.kind = (enum fm_optimizer_kind)below(d, 3);
    p.optimizer.form = (enum fm_optimizer_form)below(d, 3);
    p.optimizer.amsgrad = p.optimizer.kind != FM_OPTIMIZER_SGD && coin(d);
    p.optimizer.nesterov = p.optimizer.kind == FM_OPTIMIZER_SGD && coin(d);
    p.optimizer.momentum = p.optimizer.nesterov || coin(d) ? 0.9 : 0;
    p.optimizer.weight_decay = coin(d) ? 0.01 : 0;
    p.loop = coin(d) ? FM_LOOP_LOADER : FM_LOOP_PLAIN;
    p.accounting = coin(d) ? FM_ACCOUNTING_EAGER : FM_ACCOUNTING_DISPATCH;
    p.keep_grads = coin(d);
    p.fixed_batch = coin(d);
    cell->policy = p;
}

void random_cell(struct random_cell *cell, uint64_t seed)
{
    struct draw d = { .seed = seed };
    *cell = (struct random_cell){ 0 };
    draw_network(cell, &d);
    cell->train_batch = below(&d, 4);
    cell->val_batch = cell->train_batch ? below(&d, 3) : 1 + below(&d, 3);
    draw_policy(cell, &d);
    struct fm_buf model = FM_BUF(1 << 12);
    const struct fm_policy *p = &cell->policy;
    fm_settings_model(&cell->settings, &model);
    (void)snprintf(cell->text, sizeof cell->text,
                   "%s, batch %lld, val %lld, %s, checkpoint %d, accumulate %u, optimizer %d "
                   "form %d, loop %d, accounting %d",
                   fm_buf_text(&model), (long long)cell->train_batch, (long long)cell->val_batch,
                   fm_dtype_name(p->autocast), p->checkpoint != NULL, p->accumulate, p->optimizer.kind,
                   p->optimizer.form, p->loop, p->accounting);
    fm_buf_release(&model);
}

void random_cell_build(const struct random_cell *cell, struct fm_graph *graph)
{
    struct fm_err err = { 0 };
    if (fm_settings_build(&cell->settings, cell->train_batch, cell->val_batch, graph, &err) != FM_OK)
        fail_msg("%s: %s", cell->text, err.text);
    for (int b = 0; b < FM_BODY_COUNT; b++) assert_true(graph->body[b].block_count <= RANDOM_BLOCKS);
}
