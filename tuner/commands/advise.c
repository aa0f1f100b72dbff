/* fillmark advise: which configuration to train with, from a run's folder, or from plans where there is none. */
#include "tuner/commands/commands.h"

#include "tuner/commands/advise_query.h"
#include "results/json.h"
#include "results/numbers.h"
#include "tuner/base/memory.h"
#include "tuner/base/text.h"
#include "tuner/explain/changes.h"
#include "tuner/options/table.h"
#include "tuner/commands/recorded_cell.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SUGGESTIONS 6

/* ---- what was asked ---- */

static fm_status unknown_word(const char *option, const char *word, const char *const *names, size_t count, struct fm_err *err)
{
    struct fm_buf all = FM_BUF(256);
    const char *near = fm_nearest(word, names, count);
    for (size_t i = 0; i < count; i++) fm_buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
    fm_status status = FM_FAIL(err, FM_INVALID, "--%s: unknown value '%.40s'%s%s%s (%s)", option, word, near ? "; did you mean '" : "",
                               near ? near : "", near ? "'?" : "", fm_buf_text(&all));
    fm_buf_release(&all);
    return status;
}

static fm_status read_words(const struct fm_options *o, struct fm_advise_query *q, struct fm_err *err)
{
    const char *names[FM_OBJECTIVE_COUNT], *rules[FM_LR_RULE_COUNT];
    int i = 0;
    for (i = 0; i < FM_OBJECTIVE_COUNT; i++) names[i] = fm_objective_name((enum fm_objective)i);
    for (i = 0; i < FM_OBJECTIVE_COUNT && strcmp(names[i], o->objective) != 0; i++) continue;
    if (i == FM_OBJECTIVE_COUNT) return unknown_word("objective", o->objective, names, FM_OBJECTIVE_COUNT, err);
    q->objective = (enum fm_objective)i;
    for (i = 0; i < FM_LR_RULE_COUNT; i++) rules[i] = fm_lr_rule_name((enum fm_lr_rule)i);
    for (i = 0; i < FM_LR_RULE_COUNT && strcmp(rules[i], o->lr_rule) != 0; i++) continue;
    if (i == FM_LR_RULE_COUNT) return unknown_word("lr-rule", o->lr_rule, rules, FM_LR_RULE_COUNT, err);
    q->lr_rule = (enum fm_lr_rule)i;
    q->base_lr = NAN;
    if (o->base_lr && (!fm_parse_f64(o->base_lr, &q->base_lr) || !(q->base_lr > 0)))
        return FM_FAIL(err, FM_INVALID, "--base-lr: '%.40s' is not a positive number", o->base_lr);
    if (o->headroom && !fm_parse_share_ppm(o->headroom, &q->headroom_ppm) && !fm_parse_bytes(o->headroom, &q->headroom_bytes))
        return FM_FAIL(err, FM_INVALID, "--headroom: '%.40s' is neither a size like 1GiB nor a share like 10%%", o->headroom);
    if (q->headroom_ppm >= 1000000 || q->headroom_ppm < 0) return FM_FAIL(err, FM_INVALID, "--headroom: '%.40s' leaves nothing", o->headroom);
    return FM_OK;
}

/* "channels,input" as names of their own; they live in `text` */
static fm_status read_allow(const struct fm_workload *w, char *text, struct fm_advise_query *q, struct fm_err *err)
{
    const char *names[FM_MAX_SETTINGS + FM_STRATEGY_COUNT];
    size_t count = 0;
    for (uint32_t i = 0; i < w->settings; i++)
        if (!w->setting[i].validation_only) names[count++] = w->setting[i].name;
    for (int i = 0; i < FM_STRATEGY_COUNT; i++)
        if (fm_strategies[i]->changes_model) names[count++] = fm_strategies[i]->name;
    for (char *at = text, *end; at; at = end) {
        size_t k = 0;
        end = strchr(at, ',');
        if (end) *end++ = '\0';
        while (k < count && strcmp(names[k], at) != 0) k++;
        if (k == count) return unknown_word("allow", at, names, count, err);
        if (q->allows == FM_ADVISE_ALLOW_MAX) return FM_FAIL(err, FM_INVALID, "--allow: more than %d names", FM_ADVISE_ALLOW_MAX);
        q->allow[q->allows++] = at;
    }
    return FM_OK;
}

/* with a run: settings and strategies that were named choose among its cells */
static fm_status read_wants(const struct fm_options *o, struct fm_advise_query *q, struct fm_err *err)
{
    for (size_t i = 0; i < o->set_count && q->wants < FM_ADVISE_WANT_MAX; i++) {
        if (o->set[i].values.count != 1) return FM_FAIL(err, FM_INVALID, "--set %s: one value, please; it chooses among the run's cells", o->set[i].key);
        q->want[q->wants].name = o->set[i].key;
        q->want[q->wants++].value = o->set[i].values.item[0];
    }
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        enum fm_strategy_id s = fm_option_table[id].strategy;
        const struct fm_texts *values = &o->strategy[s];
        if (fm_option_table[id].kind != FM_OPTION_STRATEGY || o->origin[id] != FM_ORIGIN_FLAG) continue;
        if (values->count != 1) return FM_FAIL(err, FM_INVALID, "--%s: one value, please; it chooses among the run's cells", fm_strategies[s]->name);
        if (q->wants == FM_ADVISE_WANT_MAX) break;
        q->want[q->wants].name = fm_strategies[s]->name;
        q->want[q->wants++].value = values->item[0];
    }
    return FM_OK;
}

fm_status fm_advise_query_of(const struct fm_options *o, char *allow, struct fm_advise_query *q, struct fm_err *err)
{
    const char *command = fm_commands[o->command].name;
    *q = (struct fm_advise_query){ .target_global_batch = o->target_global_batch, .devices = o->devices, .max_memory_bytes = o->max_memory_bytes,
                                   .base_batch = o->base_batch, .samples_per_epoch = o->samples_per_epoch };
    if (o->workload.count != 1) return FM_FAIL(err, FM_INVALID, "%s: --workload: which network? one, please", command);
    q->workload = o->workload.item[0];
    if (o->device.count > 1) return FM_FAIL(err, FM_INVALID, "%s: --device: one, please", command);
    if (o->operand[0] && o->device.count && strcmp(o->device.item[0], "all") != 0) q->device = o->device.item[0];
    fm_status status = read_words(o, q, err);
    if (status == FM_OK && allow) status = read_allow(fm_workload_find(q->workload, NULL), allow, q, err);
    if (status == FM_OK && o->operand[0]) status = read_wants(o, q, err);
    return status;
}

/* ---- plans instead of a run ---- */

static int64_t limit_of(const struct fm_advise_query *q, int64_t capacity_bytes)
{
    int64_t limit = q->max_memory_bytes && q->max_memory_bytes < capacity_bytes ? q->max_memory_bytes : capacity_bytes;
    int64_t share = (int64_t)((double)limit * ((double)q->headroom_ppm / 1e6)), room = share > q->headroom_bytes ? share : q->headroom_bytes;
    return limit > room ? limit - room : 1;
}

/* Plans twice where a headroom or limit is asked for: the capacity is known after the first, and holds them after the
 * second. */
static fm_status plan(const struct fm_options *o, struct fm_advise_query *q, struct fm_records *records, struct fm_result *out, struct fm_err *err)
{
    struct fm_options own = *o;
    if (q->max_memory_bytes && !own.memory_bytes && strcmp(o->device.item[0], "none") == 0) own.memory_bytes = q->max_memory_bytes;
    if (strcmp(o->device.item[0], "none") == 0 && !own.memory_bytes)
        return FM_FAIL(err, FM_INVALID, "without a run or a device, how much memory is there? (--memory SIZE)");
    for (int pass = 0; pass < 2; pass++) {
        fm_status status = fm_plan_records(&own, records, err);
        if (status != FM_OK) return status;
        status = fm_result_fold(records, out, err);
        if (status != FM_OK) {
            fm_records_release(records);
            return status;
        }
        int64_t capacity = out->cell_count ? out->cells[0].capacity_bytes : -1, limit = capacity > 0 ? limit_of(q, capacity) : -1;
        if (pass || limit < 0 || limit >= capacity) return FM_OK;
        fm_result_release(out);
        fm_records_release(records);
        own.memory_bytes = limit;
        q->headroom_bytes = q->headroom_ppm = q->max_memory_bytes = 0;
    }
    return FM_OK;
}

fm_status fm_advise_result(const struct fm_options *o, struct fm_advise_query *q, struct fm_records *planned, struct fm_result *out,
                           struct fm_err *err)
{
    *planned = (struct fm_records){ 0 };
    return o->operand[0] ? fm_result_read(o->operand[0], out, err) : plan(o, q, planned, out, err);
}

/* ---- where nothing fits ---- */

/* the run's plainest cell of the unchanged model */
static const struct fm_result_cell *plain_cell(const struct fm_result *r, const struct fm_advise_query *q)
{
    for (size_t i = 0; i < r->cell_count; i++)
        if (strcmp(r->cells[i].workload, q->workload) == 0 && !r->cells[i].changes) return &r->cells[i];
    return NULL;
}

static fm_status plan_changes(const struct fm_result *r, const struct fm_advise_query *q, const struct fm_advice *advice,
                              struct fm_changes *out, struct fm_err *err)
{
    const struct fm_result_cell *from = plain_cell(r, q);
    struct fm_cell cell;
    *out = (struct fm_changes){ 0 };
    if (!from || !fm_recorded_cell(from, &cell)) return FM_OK;
    struct fm_change_query query = { .cell = &cell, .batch = { .train = 1, .val = from->validates || from->planned },
                                     .capacity_bytes = advice->limit_bytes < 0 ? INT64_MAX : advice->limit_bytes };
    struct fm_err why = { 0 };
    fm_status status = fm_changes_plan(&query, out, &why);
    return status == FM_NOMEM ? FM_FAIL(err, status, "%s", why.text) : FM_OK;
}

static void put_changes(const struct fm_changes *c, int64_t limit_bytes, struct fm_buf *out)
{
    size_t shown = 0;
    if (!c->needed_bytes) return;
    if (limit_bytes >= 0 && c->needed_bytes <= limit_bytes) {
        fm_buf_puts(out, "the unchanged model would fit at batch 1, planned without workspaces: ");
        fm_put_size(out, c->needed_bytes);
        fm_buf_puts(out, "; it was not run there\n");
        return;
    }
    fm_buf_puts(out, "the smallest changes that would fit, planned at batch 1, without workspaces; cheapest first (unchanged: ");
    fm_put_size(out, c->needed_bytes);
    fm_buf_puts(out, ")\n");
    for (size_t i = 0; i < c->count && shown < SUGGESTIONS && c->item[i].fits; i++, shown++) {
        const struct fm_change *change = &c->item[i];
        fm_buf_puts(out, "  ");
        fm_put_size(out, change->needed_bytes);
        fm_buf_printf(out, "  %s, %+.0f %% compute a sample", change->text, 100 * (change->compute - 1));
        if (change->kind == FM_CHANGE_MODEL) fm_buf_printf(out, ", another model: %.0f %% of its FLOPs (--allow %s)", 100 * change->capacity, change->option);
        fm_buf_putc(out, '\n');
    }
    if (!shown) fm_buf_puts(out, "  none of those that are known here\n");
}

static bool put_changes_json(const struct fm_changes *c, cJSON *o)
{
    cJSON *items = cJSON_AddArrayToObject(o, "planned_changes");
    bool good = items != NULL;
    for (size_t i = 0; i < c->count && good; i++) {
        const struct fm_change *change = &c->item[i];
        cJSON *item = cJSON_CreateObject();
        good = fm_json_push(items, item) && cJSON_AddStringToObject(item, "change", change->text) && cJSON_AddBoolToObject(item, "fits", change->fits) &&
               fm_json_put(item, "needed_bytes", fm_json_new_i64(change->needed_bytes)) &&
               cJSON_AddBoolToObject(item, "changes_model", change->kind == FM_CHANGE_MODEL) &&
               cJSON_AddNumberToObject(item, "compute_share", change->compute) && cJSON_AddNumberToObject(item, "model_share", change->capacity);
    }
    return good;
}

/* ---- the command ---- */

static fm_status write_advice(const struct fm_options *o, const struct fm_result *r, const struct fm_advise_query *q, const struct fm_advice *advice,
                              struct fm_err *err)
{
    struct fm_buf text = FM_BUF((size_t)16 << 20);
    struct fm_changes *changes = fm_calloc(1, sizeof *changes);
    fm_status status = changes ? FM_OK : FM_FAIL(err, FM_NOMEM, "changes");
    if (status == FM_OK && !advice->found) status = plan_changes(r, q, advice, changes, err);
    if (status == FM_OK && o->json) {
        cJSON *tree = fm_advice_json(r, q, advice);
        char *printed = tree && put_changes_json(changes, tree) ? cJSON_Print(tree) : NULL;
        if (printed) fm_buf_printf(&text, "%s\n", printed);
        else text.failed = true;
        cJSON_free(printed);
        cJSON_Delete(tree);
    } else if (status == FM_OK) {
        fm_advice_text(r, q, advice, &text);
        put_changes(changes, advice->limit_bytes, &text);
    }
    if (status == FM_OK && !fm_buf_ok(&text)) status = FM_FAIL(err, FM_NOMEM, "the advice");
    if (status == FM_OK && fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes)
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    if (status == FM_OK && !advice->found) status = FM_FAIL(err, FM_OOM, "%s: nothing fits", q->workload);
    fm_free(changes);
    fm_buf_release(&text);
    return status;
}

fm_status fm_command_advise(const struct fm_options *o, struct fm_err *err)
{
    struct fm_advise_query q;
    struct fm_advice advice;
    struct fm_records planned = { 0 };
    struct fm_result r;
    char *allow = o->allow ? fm_strdup(o->allow) : NULL;
    fm_status status = o->allow && !allow ? FM_FAIL(err, FM_NOMEM, "the options") : fm_advise_query_of(o, allow, &q, err);
    if (status == FM_OK) status = fm_advise_result(o, &q, &planned, &r, err);
    if (status == FM_OK) {
        status = fm_advise(&r, &q, &advice, err);
        if (status == FM_OK) status = write_advice(o, &r, &q, &advice, err);
        fm_result_release(&r);
        fm_records_release(&planned);
    }
    fm_free(allow);
    return status;
}
