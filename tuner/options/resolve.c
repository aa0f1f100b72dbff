/* From what was given to what holds: defaults, the file, the flags, and what must fit together. */
#include "tuner/options/internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"
#include "tuner/options/device_table.h"

#include <stdio.h>
#include <string.h>

static fm_status store_default(const struct fm_givens *givens, enum fm_option_id id, const char *text,
                               struct fm_options *options, struct fm_err *err)
{
    struct fm_givens one = { .file = givens->file, .command = givens->command };
    struct fm_given *g = fm_givens_add(&one, id, FM_ORIGIN_DEFAULT);
    struct fm_given_value raw = { .text = fm_strdup(text) };
    fm_status status = FM_OK;
    if (!g || !raw.text) {
        status = FM_OPTIONS_NOMEM(err);
        goto out;
    }
    FM_TRY(fm_given_split(&one, g, &raw, err));
    FM_TRY(fm_option_store(&one, g, options, err));
out:
    fm_free(raw.text);
    fm_givens_release(&one);
    return status;
}

static fm_status store_defaults(const struct fm_givens *givens, struct fm_options *options, struct fm_err *err)
{
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *o = &fm_option_table[id];
        if (o->kind == FM_OPTION_STRATEGY || !o->text || !fm_option_of((enum fm_option_id)id, givens->command))
            continue;
        fm_status status = store_default(givens, (enum fm_option_id)id, o->text, options, err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

/* Asked for nothing in particular: several strategies are tried. */
static bool default_campaign(const struct fm_givens *givens)
{
    for (size_t i = 0; i < givens->count; i++) {
        const struct fm_option *o = &fm_option_table[givens->item[i].id];
        if (o->group == FM_GROUP_WORKLOADS || (o->group == FM_GROUP_STRATEGIES && !o->single)) return false;
    }
    return true;
}

static fm_status store_strategy_defaults(const struct fm_givens *givens, struct fm_options *options, struct fm_err *err)
{
    bool campaign = default_campaign(givens), advises = givens->command == FM_COMMAND_ADVISE || givens->command == FM_COMMAND_EXPORT;
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *o = &fm_option_table[id];
        if (o->kind != FM_OPTION_STRATEGY || options->strategy[o->strategy].count) continue;
        const char *text = (campaign || (advises && !fm_strategies[o->strategy]->changes_model)) && o->campaign ? o->campaign : fm_strategies[o->strategy]->text;
        if (!text) continue;            /* each workload's own */
        fm_status status = store_default(givens, (enum fm_option_id)id, text, options, err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

fm_status fm_options_resolve(const struct fm_givens *givens, struct fm_options *options, struct fm_err *err)
{
    bool measures = givens->command == FM_COMMAND_RUN || givens->command == FM_COMMAND_PLAN;
    fm_status status = FM_OK;
    FM_TRY(store_defaults(givens, options, err));
    for (int origin = FM_ORIGIN_RECORD; origin <= FM_ORIGIN_FLAG; origin++)
        for (size_t i = 0; i < givens->count; i++)
            if (givens->item[i].origin == (enum fm_origin)origin && givens->item[i].id != FM_OPTION_SET)
                FM_TRY(fm_option_store(givens, &givens->item[i], options, err));
    if (givens->command == FM_COMMAND_EXPLAIN || givens->command == FM_COMMAND_ADVISE || givens->command == FM_COMMAND_EXPORT)
        measures = options->workload.count > 0;
    if (measures && !options->workload.count)
        for (size_t i = 0; i < fm_workload_count; i++)
            if (!fm_texts_add(&options->workload, fm_workloads[i]->name)) {
                status = FM_OPTIONS_NOMEM(err);
                goto out;
            }
    if (measures) FM_TRY(store_strategy_defaults(givens, options, err));
    FM_TRY(fm_options_resolve_sets(givens, options, err));
    FM_TRY(fm_options_check(givens, options, err));
out:
    return status;
}

/* ---- what must fit together ---- */

/* what decided an option; NULL: its default */
static const struct fm_given *decided(const struct fm_givens *givens, enum fm_option_id id)
{
    const struct fm_given *best = NULL;
    for (size_t i = 0; i < givens->count; i++)
        if (givens->item[i].id == id && (!best || givens->item[i].origin > best->origin)) best = &givens->item[i];
    return best;
}

static fm_status unknown_block(const struct fm_givens *givens, size_t index, const char *name,
                               const struct fm_graph *graph, struct fm_err *err)
{
    const struct fm_body *body = &graph->body[FM_BODY_TRAIN];
    const char *names[FM_MAX_BLOCKS + 2] = { "none", "blocks" };
    size_t n = 2;
    for (size_t i = 0; i < body->block_count && n < FM_MAX_BLOCKS + 2; i++) names[n++] = body->block[i].name;
    const char *near = fm_nearest(name, names, n);
    const struct fm_given *g = decided(givens, FM_OPTION_CHECKPOINT);
    return fm_given_fail(givens, g, index, err,
                         "unknown value '%s'%s%s%s (none, blocks, or block names: fillmark show workload %s)", name,
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", graph->name);
}

/* each name in a checkpoint value is a block of the graph */
static fm_status check_names(const struct fm_givens *givens, const struct fm_options *options,
                             const struct fm_graph *graph, struct fm_err *err)
{
    const struct fm_body *body = &graph->body[FM_BODY_TRAIN];
    const struct fm_texts *values = &options->strategy[FM_STRATEGY_CHECKPOINT];
    for (size_t v = 0; v < values->count; v++) {
        const char *value = values->item[v];
        if (strcmp(value, "none") == 0 || strcmp(value, "blocks") == 0) continue;
        for (const char *at = value; at;) {
            char name[FM_VALUE_TEXT_BYTES + 1];
            size_t bytes = strcspn(at, "+"), b = 0;
            (void)snprintf(name, sizeof name, "%.*s", (int)bytes, at);
            while (b < body->block_count && strcmp(body->block[b].name, name) != 0) b++;
            if (b == body->block_count) return unknown_block(givens, v, name, graph, err);
            at = at[bytes] ? at + bytes + 1 : NULL;
        }
    }
    return FM_OK;
}

/* the blocks of a workload at the first value of each of its settings */
static fm_status check_blocks(const struct fm_givens *givens, const struct fm_options *options,
                              const struct fm_workload *w, struct fm_err *err)
{
    struct fm_cell cell;
    struct fm_graph graph = { 0 };
    fm_status status = FM_OK;
    fm_cell_default(&cell, w);
    for (size_t i = 0; i < options->set_count; i++)
        if (options->set[i].workload == w)
            FM_TRY(fm_settings_set(&cell.settings, options->set[i].key, options->set[i].values.item[0], err));
    FM_TRY(fm_cell_graph(&cell, 1, 0, &graph, err));
    FM_TRY(check_names(givens, options, &graph, err));
out:
    fm_graph_release(&graph);
    return status;
}

/* the parameters at a scale of channels and the first value of each setting; 0: there is no such network, as its cell will say */
static fm_status count_parameters(const struct fm_options *options, const struct fm_workload *w, const char *scale, int64_t *out,
                                  struct fm_err *err)
{
    struct fm_cell cell;
    struct fm_graph graph = { 0 };
    struct fm_err why = { 0 };
    fm_status status = FM_OK;
    *out = 0;
    fm_cell_default(&cell, w);
    for (size_t i = 0; i < options->set_count; i++)
        if (options->set[i].workload == w)
            FM_TRY(fm_settings_set(&cell.settings, options->set[i].key, options->set[i].values.item[0], err));
    FM_TRY(fm_cell_set(&cell, FM_STRATEGY_CHANNELS, scale, err));
    status = fm_cell_graph(&cell, 1, 0, &graph, &why);
    if (status == FM_OK) *out = fm_graph_parameters(&graph);
    else status = status == FM_NOMEM ? FM_OPTIONS_NOMEM(err) : FM_OK;
out:
    fm_graph_release(&graph);
    return status;
}

/* Channels are rounded down, so two scales may make one network: each number of channels, and with it the number of parameters,
 * only grows with the scale, so the same number of parameters is the same network. */
static fm_status check_scales(const struct fm_givens *givens, const struct fm_options *options, const struct fm_workload *w,
                              struct fm_err *err)
{
    const struct fm_given *g = decided(givens, FM_OPTION_CHANNELS);
    const struct fm_texts *scales = &options->strategy[FM_STRATEGY_CHANNELS];
    int64_t parameters[FM_LIST_MAX];
    for (size_t i = 0; i < options->set_count; i++)
        if (options->set[i].workload == w && options->set[i].values.count > 1) return FM_OK;
    for (size_t i = 0; i < scales->count; i++) {
        fm_status status = count_parameters(options, w, scales->item[i], &parameters[i], err);
        if (status != FM_OK) return status;
        for (size_t k = 0; k < i; k++)
            if (parameters[i] && parameters[i] == parameters[k])
                return fm_given_fail(givens, g, i, err, "'%s' makes the same network of %s as '%s', as channels are rounded down; leave one out",
                                     scales->item[i], w->name, scales->item[k]);
    }
    return FM_OK;
}

static fm_status check_count(const struct fm_options *options, struct fm_err *err)
{
    size_t cells = 0;
    for (size_t i = 0; i < options->workload.count; i++) {
        size_t n = 1;
        for (int k = 0; k < FM_STRATEGY_COUNT && n <= FM_CELLS_MAX; k++)
            if (options->strategy[k].count) n *= options->strategy[k].count;
        for (size_t k = 0; k < options->set_count && n <= FM_CELLS_MAX; k++)
            if (strcmp(options->set[k].workload->name, options->workload.item[i]) == 0)
                n *= options->set[k].values.count;
        cells += n;
        if (cells > FM_CELLS_MAX)
            return FM_FAIL(err, FM_INVALID, "the lists of workloads, settings and strategies make more than %d cells; "
                           "give fewer values, or several runs", FM_CELLS_MAX);
    }
    return FM_OK;
}

static const char *nearest_device(const struct fm_gpus *gpus, const char *name)
{
    static const char *const others[] = { "cpu", "all", "ref", "none", "cuda:0" };
    const char *other = fm_nearest(name, others, sizeof others / sizeof others[0]), *gpu = fm_gpus_nearest(gpus, name);
    const char *both[] = { gpu, other };
    return gpu && other ? fm_nearest(name, both, 2) : gpu ? gpu : other;
}

/* what --device names and is no backend's device is a GPU of the table */
static fm_status check_devices(const struct fm_givens *givens, const struct fm_options *options, struct fm_err *err)
{
    struct fm_gpus gpus = { 0 };
    fm_status status = FM_OK;
    for (size_t i = 0; i < options->device.count && status == FM_OK; i++) {
        const char *name = options->device.item[i];
        if (!fm_device_is_planned_for(name)) continue;
        if (!gpus.count) status = fm_device_table(options, &gpus, err);
        if (status != FM_OK || fm_gpus_find(&gpus, name)) continue;
        const char *near = nearest_device(&gpus, name);
        status = fm_given_fail(givens, decided(givens, FM_OPTION_DEVICE), i, err,
                               "unknown device '%s'%s%s%s (fillmark show devices, fillmark devices)", name,
                               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    fm_gpus_release(&gpus);
    return status;
}

fm_status fm_options_check(const struct fm_givens *givens, const struct fm_options *options, struct fm_err *err)
{
    const struct fm_texts *checkpoint = &options->strategy[FM_STRATEGY_CHECKPOINT];
    fm_status status = check_count(options, err);
    if (status == FM_OK) status = check_devices(givens, options, err);
    bool blocks = false;
    if (status != FM_OK) return status;
    if (options->resume && !options->out)
        return fm_given_fail(givens, decided(givens, FM_OPTION_RESUME), FM_AT_KEY, err,
                             "which run? give its folder with --out DIR");
    const struct fm_given *channels = decided(givens, FM_OPTION_CHANNELS);
    for (size_t i = 0; channels && channels->origin >= FM_ORIGIN_FILE && channels->count > 1 && i < options->workload.count; i++) {
        status = check_scales(givens, options, fm_workload_find(options->workload.item[i], NULL), err);
        if (status != FM_OK) return status;
    }
    for (size_t i = 0; i < checkpoint->count; i++)
        blocks |= strcmp(checkpoint->item[i], "none") != 0 && strcmp(checkpoint->item[i], "blocks") != 0;
    if (!blocks) return FM_OK;
    for (size_t i = 0; i < options->workload.count; i++) {
        status = check_blocks(givens, options, fm_workload_find(options->workload.item[i], NULL), err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}
