/* Advice for people and for programs. */
#include "results/advise.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "results/grid.h"
#include "results/json.h"
#include "results/numbers.h"

static void field(struct fm_buf *out, const char *name) { fm_buf_printf(out, "  %-18s ", name); }

static void put_text(struct fm_buf *out, const char *text)
{
    if (text) fm_put_plain(out, text);
    else fm_buf_puts(out, FM_UNKNOWN_TEXT);
}

static void put_batches(const struct fm_advise_query *q, const struct fm_advised *a, struct fm_buf *out)
{
    const struct fm_choice *c = &a->choice;
    field(out, "batch");
    fm_buf_printf(out, "%" PRId64 ", accumulated over %" PRId64 ", on %" PRId64 " device%s: global batch %" PRId64, c->batch, c->accumulation,
                  c->devices, c->devices == 1 ? "" : "s", c->global_batch);
    if (q->target_global_batch && a->exact) fm_buf_puts(out, ", as asked");
    if (!a->exact) {
        fm_buf_printf(out, ", the nearest to %" PRId64, q->target_global_batch);
        if (q->target_global_batch % q->devices) fm_buf_printf(out, ", which %" PRId64 " devices cannot share equally", q->devices);
        else fm_buf_puts(out, ": no batch that fits divides it");
    }
    fm_buf_putc(out, '\n');
    field(out, "validation batch");
    if (c->val_batch) fm_put_count(out, c->val_batch);
    else fm_buf_puts(out, "none");
    fm_buf_printf(out, "\n");
    field(out, "largest batch");
    fm_put_count(out, c->max_batch);
    fm_buf_puts(out, c->planned ? " (planned)\n"
                   : c->at_limit ? " (it ran; it is the limit that was given, larger ones were not tried)\n"
                   : c->certified ? " (certified: it ran, the next did not)\n" : " (not certified)\n");
}

static void put_pairs(const cJSON *object, struct fm_buf *out)
{
    const cJSON *item = NULL;
    const char *between = "";
    cJSON_ArrayForEach(item, object) {
        if (!cJSON_IsString(item)) continue;
        fm_buf_puts(out, between);
        fm_put_plain(out, item->string);
        fm_buf_putc(out, '=');
        fm_put_plain(out, item->valuestring);
        between = " ";
    }
    if (!*between) fm_buf_puts(out, FM_UNKNOWN_TEXT);
    fm_buf_putc(out, '\n');
}

static void put_memory(const struct fm_advised *a, struct fm_buf *out)
{
    field(out, "memory");
    if (a->memory_bound && a->memory_bytes >= 0) fm_buf_puts(out, "at most ");
    fm_put_size(out, a->memory_bytes);
    fm_buf_puts(out, a->choice.planned ? " reserved, planned" : " reserved, measured");
    if (a->memory_bound && a->memory_bytes >= 0) fm_buf_puts(out, a->choice.planned ? " at the largest batch" : " at the next larger batch");
    if (a->accumulation_bytes) {
        fm_buf_puts(out, "; of it ");
        fm_put_size(out, a->accumulation_bytes);
        fm_buf_puts(out, " by calculation: gradients that stay while accumulating");
    }
    if (a->limit_bytes >= 0) {
        fm_buf_puts(out, "; limit ");
        fm_put_size(out, a->limit_bytes);
    }
    fm_buf_putc(out, '\n');
}

static void put_speed(const struct fm_advise_query *q, const struct fm_advised *a, struct fm_buf *out)
{
    field(out, "samples/s");
    fm_put_f64(out, a->samples_per_s);
    if (a->speed_batch && a->speed_batch != a->choice.batch)
        fm_buf_printf(out, " a device, measured at batch %" PRId64 ", the next %s one that was run", a->speed_batch,
                      a->speed_batch < a->choice.batch ? "smaller" : "larger");
    else if (a->speed_batch) fm_buf_puts(out, " a device, measured");
    else fm_buf_puts(out, a->choice.planned ? " (plans have no speed)" : "");
    fm_buf_putc(out, '\n');
    if (!q->samples_per_epoch) return;
    field(out, "an epoch");
    fm_buf_printf(out, "%" PRId64 " optimizer steps", a->epoch_steps);
    if (isfinite(a->epoch_s)) {
        fm_buf_puts(out, ", ");
        fm_put_duration(out, (int64_t)(a->epoch_s * 1e9));
        if (q->devices > 1) fm_buf_puts(out, " if devices did not wait for each other");
    }
    fm_buf_putc(out, '\n');
}

static void put_rate(const struct fm_advise_query *q, const struct fm_advised *a, struct fm_buf *out)
{
    field(out, "optimizer");
    put_text(out, a->choice.optimizer);
    if (isfinite(a->choice.learning_rate)) {
        fm_buf_printf(out, ", learning rate %.6g", a->choice.learning_rate);
        if (q->lr_rule != FM_LR_NONE) fm_buf_printf(out, " (%.6g at %" PRId64 ", %s)", q->base_lr, q->base_batch, fm_lr_rule_name(q->lr_rule));
    }
    fm_buf_putc(out, '\n');
}

static void put_advised(const struct fm_result *r, const struct fm_advise_query *q, const struct fm_advised *a, struct fm_buf *out)
{
    const struct fm_choice *c = &a->choice;
    put_batches(q, a, out);
    field(out, "precision");
    put_text(out, c->precision);
    fm_buf_putc(out, '\n');
    field(out, "checkpointing");
    put_text(out, c->checkpoint);
    fm_buf_putc(out, '\n');
    if (c->memory_format) {
        field(out, "memory format");
        put_text(out, c->memory_format);
        fm_buf_putc(out, '\n');
    }
    put_rate(q, a, out);
    put_memory(a, out);
    put_speed(q, a, out);
    field(out, "settings");
    put_pairs(c->set, out);
    field(out, "strategies");
    put_pairs(c->strategies, out);
    if (!a->unchanged) fm_buf_printf(out, "  ANOTHER MODEL: %.0f %% of the FLOPs a sample of the unchanged one\n", 100 * a->model_share);
    if (c->note) {
        field(out, "plans");
        put_text(out, c->note);
        fm_buf_putc(out, '\n');
    }
    if (c->planned) return;         /* nothing ran that could be run again */
    field(out, "again");
    put_text(out, r->cells[a->cell].reproduce);
    fm_buf_putc(out, '\n');
}

/* ---- what the runner-up trades ---- */

static void put_differences(const cJSON *a, const cJSON *b, struct fm_buf *out, const char **between)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, b) {
        const char *was = fm_json_text(a, item->string);
        if (!cJSON_IsString(item) || (was && strcmp(was, item->valuestring) == 0)) continue;
        fm_buf_puts(out, *between);
        fm_put_plain(out, item->string);
        fm_buf_putc(out, '=');
        fm_put_plain(out, item->valuestring);
        *between = ", ";
    }
}

static void put_runner_up(const struct fm_advised *best, const struct fm_advised *a, struct fm_buf *out)
{
    const char *between = "";
    fm_buf_puts(out, "runner-up\n  ");
    put_differences(best->choice.set, a->choice.set, out, &between);
    put_differences(best->choice.strategies, a->choice.strategies, out, &between);
    fm_buf_printf(out, "%sbatch %" PRId64 ", accumulated over %" PRId64 "\n  trades", *between ? ", " : "", a->choice.batch, a->choice.accumulation);
    between = " ";
    if (isfinite(best->samples_per_s) && isfinite(a->samples_per_s)) {
        fm_buf_printf(out, "%s%+.1f %% samples/s", between, 100 * (a->samples_per_s / best->samples_per_s - 1));
        between = ", ";
    }
    if (best->memory_bytes >= 0 && a->memory_bytes >= 0) {
        int64_t more_bytes = a->memory_bytes - best->memory_bytes;
        fm_buf_printf(out, "%s%s", between, more_bytes < 0 ? "-" : "+");
        fm_put_size(out, more_bytes < 0 ? -more_bytes : more_bytes);
        fm_buf_puts(out, " memory");
        between = ", ";
    }
    if (a->exact != best->exact || a->choice.global_batch != best->choice.global_batch) {
        fm_buf_printf(out, "%sa global batch of %" PRId64 " for %" PRId64, between, a->choice.global_batch, best->choice.global_batch);
        between = ", ";
    }
    if (a->unchanged != best->unchanged) {
        fm_buf_printf(out, "%s%s", between, a->unchanged ? "the unchanged model" : "another model: ");
        if (!a->unchanged) fm_buf_printf(out, "%.0f %% of its FLOPs a sample", 100 * a->model_share);
        between = ", ";
    }
    if (*between == ' ') fm_buf_puts(out, " nothing that is known");
    fm_buf_putc(out, '\n');
}

static void put_ladder(const struct fm_result *r, const struct fm_advice *x, struct fm_buf *out)
{
    if (!x->ladder_count) return;
    fm_buf_puts(out, "what fits, with another model (name it with --allow)\n");
    for (size_t i = 0; i < x->ladder_count; i++) {
        const struct fm_advised *a = &x->ladder[i];
        const char *between = "", *names[FM_ADVISE_ALLOW_MAX];
        size_t n = 0;
        for (size_t k = 0; k < r->cell_count && !n; k++)
            if (!r->cells[k].changes && strcmp(r->cells[k].workload, a->choice.workload) == 0 && strcmp(r->cells[k].device, a->choice.device) == 0)
                n = fm_advise_differences(&r->cells[a->cell], &r->cells[k], names);
        fm_buf_puts(out, "  --allow ");
        for (size_t k = 0; k < n; k++) {
            fm_buf_puts(out, between);
            fm_put_plain(out, names[k]);
            between = ",";
        }
        fm_buf_printf(out, ": batch %" PRId64 ", ", a->choice.batch);
        fm_put_size(out, a->memory_bytes);
        fm_buf_puts(out, a->choice.planned ? " planned, " : " measured, ");
        fm_put_f64(out, a->samples_per_s);
        fm_buf_printf(out, " samples/s, %.0f %% of the FLOPs a sample\n    ", 100 * a->model_share);
        put_pairs(a->choice.set, out);
        fm_buf_puts(out, "    ");
        put_pairs(a->choice.strategies, out);
    }
}

void fm_advice_text(const struct fm_result *r, const struct fm_advise_query *q, const struct fm_advice *x, struct fm_buf *out)
{
    fm_put_plain(out, q->workload);
    if (!x->found) {
        fm_buf_puts(out, x->planned ? ": nothing fits (planned)" : ": nothing fits");
        if (x->limit_bytes >= 0) {
            fm_buf_puts(out, " into ");
            fm_put_size(out, x->limit_bytes);
        }
        fm_buf_puts(out, "; the least that the model takes");
        fm_buf_puts(out, x->planned ? " is planned as " : " in this run is ");
        fm_put_size(out, x->least_bytes);
        fm_buf_putc(out, '\n');
        put_ladder(r, x, out);
        return;
    }
    fm_buf_puts(out, " on ");
    put_text(out, x->best.choice.device_name ? x->best.choice.device_name : x->best.choice.device);
    fm_buf_printf(out, ", %s, objective %s\n", x->best.choice.planned ? "PLANNED: nothing was run" : "measured", fm_objective_name(q->objective));
    put_advised(r, q, &x->best, out);
    if (x->has_runner_up) put_runner_up(&x->best, &x->runner_up, out);
}

/* ---- JSON ---- */

static bool put_i64(cJSON *o, const char *key, int64_t value) { return fm_json_put(o, key, value < 0 ? cJSON_CreateNull() : fm_json_new_i64(value)); }

static bool put_f64(cJSON *o, const char *key, double value) { return fm_json_put(o, key, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull()); }

static bool put_string(cJSON *o, const char *key, const char *text) { return fm_json_put(o, key, text ? cJSON_CreateString(text) : cJSON_CreateNull()); }

static cJSON *advised_json(const struct fm_result *r, const struct fm_advised *a)
{
    const struct fm_choice *c = &a->choice;
    cJSON *o = cJSON_CreateObject();
    bool good = o && put_string(o, "cell", c->cell) && put_string(o, "device", c->device) && put_string(o, "device_name", c->device_name) &&
                put_string(o, "origin", c->planned ? "planned" : "measured") && fm_json_put(o, "changes_model", cJSON_CreateBool(!a->unchanged)) &&
                put_f64(o, "model_share", a->model_share) && put_i64(o, "batch", c->batch) && put_i64(o, "val_batch", c->val_batch) &&
                put_i64(o, "max_batch", c->max_batch) && fm_json_put(o, "certified", cJSON_CreateBool(c->certified)) &&
                fm_json_put(o, "at_limit", cJSON_CreateBool(c->at_limit)) && put_string(o, "note", c->note) &&
                put_i64(o, "accumulation", c->accumulation) && put_i64(o, "devices", c->devices) && put_i64(o, "global_batch", c->global_batch) &&
                fm_json_put(o, "global_batch_exact", cJSON_CreateBool(a->exact)) && put_f64(o, "learning_rate", c->learning_rate) &&
                put_i64(o, "memory_bytes", a->memory_bytes) && fm_json_put(o, "memory_is_bound", cJSON_CreateBool(a->memory_bound)) &&
                put_i64(o, "accumulation_bytes", a->accumulation_bytes) && put_i64(o, "limit_bytes", a->limit_bytes) &&
                put_f64(o, "samples_per_s", a->samples_per_s) && put_i64(o, "samples_per_s_batch", a->speed_batch ? a->speed_batch : -1) &&
                put_f64(o, "epoch_s", a->epoch_s) && put_i64(o, "epoch_steps", a->epoch_steps) && fm_json_put_copy(o, "set", c->set) &&
                fm_json_put_copy(o, "strategies", c->strategies) && put_string(o, "reproduce", r->cells[a->cell].reproduce);
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}

cJSON *fm_advice_json(const struct fm_result *r, const struct fm_advise_query *q, const struct fm_advice *x)
{
    cJSON *o = cJSON_CreateObject(), *ladder = o ? cJSON_AddArrayToObject(o, "ladder") : NULL;
    bool good = ladder && put_string(o, "schema", "fillmark.advice/1") && put_string(o, "workload", q->workload) &&
                put_string(o, "objective", fm_objective_name(q->objective)) && put_i64(o, "target_global_batch", q->target_global_batch ? q->target_global_batch : -1) &&
                fm_json_put(o, "found", cJSON_CreateBool(x->found)) && put_i64(o, "limit_bytes", x->limit_bytes) && put_i64(o, "least_bytes", x->least_bytes) &&
                fm_json_put(o, "best", x->found ? advised_json(r, &x->best) : cJSON_CreateNull()) &&
                fm_json_put(o, "runner_up", x->has_runner_up ? advised_json(r, &x->runner_up) : cJSON_CreateNull());
    for (size_t i = 0; i < x->ladder_count && good; i++) good = fm_json_push(ladder, advised_json(r, &x->ladder[i]));
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}
