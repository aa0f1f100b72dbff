/* What a cell means. */
#include "workloads/strategies/rows.h"

#include "tuner/base/hash.h"
#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

void fm_cell_default(struct fm_cell *cell, const struct fm_workload *workload)
{
    *cell = (struct fm_cell){ 0 };
    fm_settings_default(&cell->settings, workload);
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) {
        const char *text = fm_strategies[i]->text ? fm_strategies[i]->text : workload->optimizer;
        (void)snprintf(cell->value[i], FM_VALUE_BYTES, "%s", text);
    }
}

/* "2/4" and "0.5" are "1/2"; a whole scale has no denominator */
static void canonical_channels(const struct fm_recipe *r, char *text)
{
    int n = r->settings.channels_numerator, d = r->settings.channels_denominator, a = n, b = d;
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    if (d == a) (void)snprintf(text, FM_VALUE_BYTES, "%d", n / a);
    else (void)snprintf(text, FM_VALUE_BYTES, "%d/%d", n / a, d / a);
}

fm_status fm_cell_set(struct fm_cell *cell, enum fm_strategy_id id, const char *value, struct fm_err *err)
{
    struct fm_recipe r = { .settings = cell->settings, .policy = fm_policy_default() };
    fm_status status = fm_strategies[id]->apply(&r, value, err);
    if (status != FM_OK) return status;
    if (id == FM_STRATEGY_CHANNELS) canonical_channels(&r, cell->value[id]);
    else (void)snprintf(cell->value[id], FM_VALUE_BYTES, "%s", value);
    return FM_OK;
}

fm_status fm_cell_recipe(const struct fm_cell *cell, struct fm_recipe *r, struct fm_err *err)
{
    *r = (struct fm_recipe){ .settings = cell->settings, .policy = fm_policy_default() };
    r->policy.optimizer.lr = cell->settings.workload->lr;
    r->policy.optimizer.weight_decay = cell->settings.workload->weight_decay;
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) {
        fm_status status = fm_strategies[i]->apply(r, cell->value[i], err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

int64_t fm_cell_val_batch(const struct fm_cell *cell, int64_t train_batch)
{
    const char *value = cell->value[FM_STRATEGY_VAL_BATCH];
    if (strcmp(value, "max") == 0) return 0;
    if (strcmp(value, "half") == 0) return train_batch > 1 ? train_batch / 2 : 1;
    return train_batch;
}

void fm_cell_describe(const struct fm_cell *cell, struct fm_buf *out)
{
    const struct fm_workload *w = cell->settings.workload;
    fm_buf_printf(out, "%s %s", w->name, cell->value[FM_STRATEGY_PRECISION]);
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) {
        const char *text = fm_strategies[i]->text ? fm_strategies[i]->text : w->optimizer;
        if (i != FM_STRATEGY_PRECISION && strcmp(cell->value[i], text) != 0)
            fm_buf_printf(out, " %s=%s", fm_strategies[i]->name, cell->value[i]);
    }
}

bool fm_cell_changes_model(const struct fm_cell *cell)
{
    for (int i = 0; i < FM_STRATEGY_COUNT; i++)
        if (fm_strategies[i]->changes_model && strcmp(cell->value[i], fm_strategies[i]->text) != 0) return true;
    return false;
}

static uint64_t hash_settings(const struct fm_cell *cell, uint64_t hash, bool validation_too)
{
    const struct fm_workload *w = cell->settings.workload;
    hash = fm_hash_text(hash, w->name);
    for (uint32_t i = 0; i < w->settings; i++)
        if (validation_too || !w->setting[i].validation_only) hash = fm_hash_text(hash, cell->settings.value[i].text);
    return hash;
}

uint64_t fm_cell_model_id(const struct fm_cell *cell)
{
    uint64_t hash = hash_settings(cell, FM_HASH_INIT, false);
    for (int i = 0; i < FM_STRATEGY_COUNT; i++)
        if (fm_strategies[i]->changes_model) hash = fm_hash_text(hash, cell->value[i]);
    return hash;
}

/* A strategy that came later than recorded runs is only in the ids of cells that use it, so that the others keep theirs. */
static bool in_ids(const struct fm_cell *cell, int strategy)
{
    return strategy != FM_STRATEGY_CUDNN_BENCHMARK || strcmp(cell->value[strategy], fm_strategies[strategy]->text) != 0;
}

uint64_t fm_cell_id(const struct fm_cell *cell)
{
    uint64_t hash = hash_settings(cell, FM_HASH_INIT, true);
    for (int i = 0; i < FM_STRATEGY_COUNT; i++)
        if (in_ids(cell, i)) hash = fm_hash_text(hash, cell->value[i]);
    return hash;
}

uint64_t fm_cell_train_id(const struct fm_cell *cell)
{
    uint64_t hash = hash_settings(cell, FM_HASH_INIT, false);
    for (int i = 0; i < FM_STRATEGY_COUNT; i++)
        if (i != FM_STRATEGY_VAL_BATCH && in_ids(cell, i)) hash = fm_hash_text(hash, cell->value[i]);
    return hash;
}

/* ---- lowering ---- */

fm_status fm_cell_graph(const struct fm_cell *cell, int64_t train_batch, int64_t val_batch, struct fm_graph *out, struct fm_err *err)
{
    struct fm_recipe r;
    fm_status status = fm_cell_recipe(cell, &r, err);
    return status == FM_OK ? fm_settings_build(&r.settings, train_batch, val_batch, out, err) : status;
}

static fm_status no_block(const struct fm_body *body, const char *name, struct fm_err *err)
{
    const char *names[FM_MAX_BLOCKS];
    size_t n = body->block_count < FM_MAX_BLOCKS ? body->block_count : FM_MAX_BLOCKS;
    for (size_t i = 0; i < n; i++) names[i] = body->block[i].name;
    const char *near = fm_nearest(name, names, n);
    if (!near && strncmp(name, "block", 5) == 0) near = "blocks";
    return FM_FAIL(err, FM_INVALID, "checkpoint: unknown value '%s'%s%s%s (none, blocks, or block names: fillmark show workload NAME)",
                   name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* which blocks "none", "blocks" or "enc1+dec1" name */
static fm_status resolve_blocks(const struct fm_body *body, const char *text, uint8_t *chosen, struct fm_err *err)
{
    memset(chosen, strcmp(text, "blocks") == 0, FM_MAX_BLOCKS);
    if (strcmp(text, "blocks") == 0 || strcmp(text, "none") == 0) return FM_OK;
    for (const char *at = text; at;) {
        const char *plus = strchr(at, '+');
        char name[FM_NAME_BYTES];
        (void)snprintf(name, sizeof name, "%.*s", plus ? (int)(plus - at) : (int)strlen(at), at);
        size_t i = 0;
        while (i < body->block_count && strcmp(body->block[i].name, name) != 0) i++;
        if (i == body->block_count) return no_block(body, name, err);
        chosen[i] = 1;
        at = plus ? plus + 1 : NULL;
    }
    return FM_OK;
}

/* flash attention is where the network has attention and the precision is one that PyTorch's kernel takes */
static fm_status check_attention(const struct fm_recipe *r, struct fm_err *err)
{
    if (!r->settings.flash_attention) return FM_OK;
    if (!r->settings.workload->attention)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s has no attention, flash or other", r->settings.workload->name);
    if (r->policy.autocast == r->policy.base)
        return FM_FAIL(err, FM_UNSUPPORTED, "flash attention is for fp16 and bf16: in fp32 PyTorch takes another kernel, not modelled");
    return FM_OK;
}

/* what would keep a network from learning one batch by heart */
static void dropout_off(struct fm_settings *s)
{
    static const char *const off[][2] = { { "dropout", "off" }, { "dropout", "0" }, { "drop_path", "0" } };
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++)
        if (fm_setting_get(s, off[i][0]) && fm_settings_set(s, off[i][0], off[i][1], NULL) != FM_OK) continue;
}

fm_status fm_cell_lower(const struct fm_cell *cell, struct fm_cell_batch batch, struct fm_program *program, struct fm_err *err)
{
    struct fm_recipe r;
    struct fm_graph graph = { 0 };
    uint8_t chosen[FM_MAX_BLOCKS];
    fm_status status = fm_cell_recipe(cell, &r, err);
    if (status == FM_OK) status = check_attention(&r, err);
    if (status != FM_OK) return status;
    if (batch.fixed_batch) dropout_off(&r.settings);
    r.policy.fixed_batch = batch.fixed_batch;
    FM_TRY(fm_settings_build(&r.settings, batch.train, batch.val, &graph, err));
    if (graph.body[FM_BODY_TRAIN].block_count > FM_MAX_BLOCKS) {
        status = FM_FAIL(err, FM_UNSUPPORTED, "%s has more than %d checkpoint blocks", graph.name, FM_MAX_BLOCKS);
        goto out;
    }
    if (batch.train) FM_TRY(resolve_blocks(&graph.body[FM_BODY_TRAIN], r.checkpoint, chosen, err));
    r.policy.checkpoint = chosen;
    status = fm_lower(&graph, &r.policy, program, err);
out:
    fm_graph_release(&graph);
    return status;
}
