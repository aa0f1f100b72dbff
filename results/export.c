#include "results/export.h"

#include <math.h>
#include <string.h>

#include "results/files.h"
#include "results/json.h"
#include "results/table.h"

#define TEXT_MAX_BYTES ((size_t)1 << 30)

/* ---- fields; false: memory ---- */

static bool put_text(cJSON *o, const char *key, const char *text)
{
    return fm_json_put(o, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

/* negative is not known */
static bool put_count(cJSON *o, const char *key, int64_t value)
{
    return fm_json_put(o, key, value < 0 ? cJSON_CreateNull() : fm_json_new_i64(value));
}

static bool put_f64(cJSON *o, const char *key, double value)
{
    return fm_json_put(o, key, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static bool put_bool(cJSON *o, const char *key, bool value)
{
    return fm_json_put(o, key, cJSON_CreateBool(value));
}

static cJSON *object_in(cJSON *o, const char *key)
{
    return cJSON_AddObjectToObject(o, key);
}

/* a copy in which these fields are there, null if they were not; null if there is nothing to copy */
static bool put_filled(cJSON *o, const char *key, const cJSON *source, const char *const *names, size_t count)
{
    if (!fm_json_put_copy(o, key, source)) return false;
    cJSON *copy = cJSON_GetObjectItemCaseSensitive(o, key);
    for (size_t i = 0; i < count && source; i++)
        if (!cJSON_GetObjectItemCaseSensitive(copy, names[i]) && !fm_json_put(copy, names[i], cJSON_CreateNull())) return false;
    return true;
}

/* ---- rows ---- */

/* takes the object if it is good, else deletes it */
static cJSON *finish(cJSON *o, bool good)
{
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}

static cJSON *row_json(const struct fm_result *result, const struct fm_result_row *row)
{
    static const char *const memory[] = { "allocated_bytes", "reserved_bytes", "workspace_bytes", "breakdown" };
    static const char *const measured[] = {
        "allocated_bytes", "reserved_bytes", "workspace_bytes", "breakdown", "samples_per_s", "sm_clock_mhz", "memory_clock_mhz",
        "power_w", "temperature_c", "throttle_reasons", "throttled_share",
    };
    const struct fm_result_cell *cell = &result->cells[row->cell];
    const cJSON *record = row->record;
    bool pareto = row->outcome == FM_OUTCOME_ok && !row->superseded && row->point != FM_NO_POINT &&
                  result->points[row->point].front.member;
    cJSON *o = cJSON_CreateObject();
    return finish(o, o && put_text(o, "device", cell->device) && put_text(o, "workload", cell->workload) &&
                         put_text(o, "cell", cell->id) && fm_json_put_copy(o, "set", cell->set) &&
                         fm_json_put_copy(o, "strategies", cell->strategies) && put_count(o, "batch", row->batch) &&
                         put_count(o, "val_batch", row->val_batch) && put_text(o, "phase", row->val ? "val" : "train") &&
                         put_text(o, "role", row->role) && put_count(o, "launch", row->launch) &&
                         put_text(o, "outcome", fm_outcome_name(row->outcome)) && put_text(o, "reason", row->reason) &&
                         put_bool(o, "superseded", row->superseded) && put_bool(o, "mistrusted", cell->mistrusted) &&
                         put_bool(o, "pareto", pareto) && put_text(o, "program", fm_json_text(record, "program")) &&
                         put_filled(o, "planned", fm_json_object(record, "planned"), memory, 4) &&
                         put_filled(o, "measured", fm_json_object(record, "measured"), measured, sizeof measured / sizeof *measured) &&
                         put_text(o, "untimed", row->untimed) && fm_json_put_copy(o, "shared", fm_json_get(record, "shared")) &&
                         fm_json_put_copy(o, "others", fm_json_array(record, "others")) &&
                         fm_json_put_copy(o, "at", fm_json_object(record, "at")) &&
                         fm_json_put_copy(o, "wall_ns", fm_json_get(record, "wall_ns")));
}

static bool put_rows(cJSON *o, const struct fm_result *result)
{
    cJSON *rows = cJSON_AddArrayToObject(o, "rows");
    for (size_t i = 0; i < result->row_count && rows; i++)
        if (!fm_json_push(rows, row_json(result, &result->rows[i]))) return false;
    return rows != NULL;
}

/* ---- cells ---- */

static bool put_rate(cJSON *o, const struct fm_interval *rate)
{
    cJSON *r = object_in(o, "samples_per_s");
    return r && put_f64(r, "median", rate->point) && put_f64(r, "lo", rate->interval_known ? rate->lo : NAN) &&
           put_f64(r, "hi", rate->interval_known ? rate->hi : NAN) && put_count(r, "launches", (int64_t)rate->launches);
}

static bool put_bounds(cJSON *o, const char *name, int64_t lo, int64_t hi)
{
    cJSON *bounds = object_in(o, name);
    return bounds && put_count(bounds, "lo", lo) && put_count(bounds, "hi", hi);
}

static cJSON *point_json(const struct fm_result_point *p)
{
    cJSON *o = cJSON_CreateObject();
    if (!o) return NULL;
    bool good = put_count(o, "batch", p->batch) && put_rate(o, &p->samples_per_s);
    return finish(o, good && put_bounds(o, "peak_bytes", p->peak_lo_bytes, p->peak_hi_bytes) &&
                         put_bounds(o, "planned_bounds_bytes", p->planned_lo_bytes, p->planned_hi_bytes) &&
                         put_count(o, "planned_peak_bytes", p->planned_peak_bytes) && put_f64(o, "throttled_share", p->throttled_share) &&
                         fm_json_put(o, "shared", p->shared < 0 ? cJSON_CreateNull() : cJSON_CreateBool(p->shared)) &&
                         put_bool(o, "pareto", p->front.member) &&
                         put_bool(o, "pareto_tentative", p->front.tentative) &&
                         put_bool(o, "model_front", p->model_front.member));
}

static bool put_points(cJSON *o, const struct fm_result *result, const struct fm_result_cell *cell)
{
    cJSON *points = cJSON_AddArrayToObject(o, "points");
    for (size_t i = 0; i < cell->points && points; i++)
        if (!fm_json_push(points, point_json(&result->points[cell->first_point + i]))) return false;
    return points != NULL;
}

static int64_t batch_at(const struct fm_result *result, size_t point)
{
    return point == FM_NO_POINT ? -1 : result->points[point].batch;
}

/* what the cell is */
static bool put_identity(cJSON *o, const struct fm_result_cell *cell)
{
    return put_text(o, "device", cell->device) && put_text(o, "workload", cell->workload) && put_text(o, "id", cell->id) &&
           put_text(o, "train_id", cell->train_id) && put_text(o, "model_id", cell->model_id) &&
           fm_json_put_copy(o, "set", cell->set) && fm_json_put_copy(o, "strategies", cell->strategies) &&
           put_bool(o, "changes_model", cell->changes) && fm_json_put_copy(o, "changed_by", cell->changes_model) &&
           put_count(o, "parameters", cell->parameters) && fm_json_put(o, "flops_per_sample", fm_json_new_whole(cell->flops_per_sample)) &&
           put_count(o, "capacity_bytes", cell->capacity_bytes) && put_text(o, "reproduce", cell->reproduce);
}

/* what its search said */
static bool put_verdict(cJSON *o, const struct fm_result_cell *cell)
{
    cJSON *max = object_in(o, "max_batch");
    return max && put_count(max, "train", cell->max_train) && put_count(max, "val", cell->max_val) &&
           put_text(o, "outcome", cell->outcome) && put_text(o, "reason", cell->reason) &&
           put_bool(o, "certified", cell->certified) && put_text(o, "limited_by", cell->limited_by) &&
           put_bool(o, "non_monotone", cell->non_monotone) && put_bool(o, "mistrusted", cell->mistrusted) &&
           put_text(o, "mistrusted_reason", fm_result_mistrust(cell)) && put_count(o, "planned_batch", cell->planned_batch) && put_text(o, "skipped", cell->skipped) &&
           put_count(o, "suspects", cell->suspects) && fm_json_put_copy(o, "search", fm_json_get(cell->verdict, "search")) &&
           fm_json_put_copy(o, "probes", fm_json_get(cell->verdict, "probes")) &&
           fm_json_put_copy(o, "raw_answer", fm_json_get(cell->verdict, "raw_answer")) &&
           fm_json_put_copy(o, "raw_probes", fm_json_get(cell->verdict, "raw_probes"));
}

static bool put_left_out(cJSON *o, const struct fm_result *result, const struct fm_result_cell *cell)
{
    cJSON *list = cJSON_AddArrayToObject(o, "left_out");
    for (size_t i = 0; i < result->left_out_count && list; i++) {
        const struct fm_result_left_out *one = &result->left_out[i];
        if (&result->cells[one->cell] != cell) continue;
        cJSON *item = cJSON_CreateObject();
        if (!fm_json_push(list, finish(item, item && put_text(item, "what", one->what) && put_text(item, "reason", one->reason)))) return false;
    }
    return list != NULL;
}

static cJSON *cell_json(const struct fm_result *result, const struct fm_result_cell *cell)
{
    cJSON *o = cJSON_CreateObject();
    return finish(o, o && put_identity(o, cell) && put_verdict(o, cell) && put_left_out(o, result, cell) &&
                         put_count(o, "knee_batch", batch_at(result, cell->knee)) &&
                         put_count(o, "best_batch", batch_at(result, cell->best)) &&
                         put_count(o, "rank", cell->rank ? (int64_t)cell->rank : -1) &&
                         put_bool(o, "pareto", cell->front.member) && put_bool(o, "pareto_tentative", cell->front.tentative) &&
                         put_bool(o, "model_front", cell->model_front.member) &&
                         put_f64(o, "relative_speed", cell->relative_speed) && put_points(o, result, cell));
}

static bool put_cells(cJSON *o, const struct fm_result *result)
{
    cJSON *cells = cJSON_AddArrayToObject(o, "cells");
    for (size_t i = 0; i < result->cell_count && cells; i++)
        if (!fm_json_push(cells, cell_json(result, &result->cells[i]))) return false;
    return cells != NULL;
}

/* ---- the whole ---- */

static bool put_time(cJSON *o, const struct fm_result *result)
{
    cJSON *time = object_in(o, "time");
    return time && put_count(time, "wall_ns", result->wall_ns) && put_count(time, "measured_ns", result->measured_ns) &&
           put_count(time, "overhead_ns", result->overhead_ns);
}

fm_status fm_result_json(const struct fm_result *result, cJSON **out, struct fm_err *err)
{
    const cJSON *run = result->run;
    cJSON *o = cJSON_CreateObject();
    *out = finish(o, o && put_text(o, "schema", FM_RESULT_SCHEMA) && put_text(o, "tool", result->tool) &&
                         put_text(o, "started", fm_json_text(run, "started")) && put_text(o, "host", fm_json_text(run, "host")) &&
                         fm_json_put_copy(o, "seed", fm_json_get(run, "seed")) &&
                         fm_json_put_copy(o, "config", fm_json_object(run, "config")) &&
                         put_bool(o, "complete", result->complete) && put_bool(o, "torn", result->torn) &&
                         fm_json_put_copy(o, "devices", fm_json_array(run, "devices")) && put_rows(o, result) &&
                         put_cells(o, result) && put_time(o, result));
    return *out ? FM_OK : FM_FAIL(err, FM_NOMEM, "no memory for the result as JSON");
}

fm_status fm_result_json_text(const struct fm_result *result, bool compact, struct fm_buf *out, struct fm_err *err)
{
    cJSON *json = NULL;
    fm_status status = fm_result_json(result, &json, err);
    if (status != FM_OK) return status;
    char *text = compact ? cJSON_PrintUnformatted(json) : cJSON_Print(json);
    cJSON_Delete(json);
    if (text) {
        fm_buf_puts(out, text);
        fm_buf_putc(out, '\n');
    }
    bool good = text && fm_buf_ok(out);
    cJSON_free(text);
    return good ? FM_OK : FM_FAIL(err, FM_NOMEM, "JSON of more than %zu bytes, or no memory", out->max_bytes);
}

fm_status fm_result_rows_text(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    for (size_t i = 0; i < result->row_count; i++) {
        const struct fm_result_cell *cell = &result->cells[result->rows[i].cell];
        cJSON *row = row_json(result, &result->rows[i]);
        bool good = row && put_text(row, "schema", FM_ROW_SCHEMA) && put_text(row, "tool", result->tool) &&
                    fm_json_put_copy(row, "seed", fm_json_get(result->run, "seed")) &&
                    fm_json_put_copy(row, "fingerprint", fm_result_device(result, cell->device));
        fm_status status = good ? fm_json_print(row, out, err) : FM_FAIL(err, FM_NOMEM, "no memory for row %zu", i + 1);
        cJSON_Delete(row);
        if (status != FM_OK) return status;
        fm_buf_putc(out, '\n');
    }
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "rows of more than %zu bytes, or no memory", out->max_bytes);
}

static fm_status indented(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    return fm_result_json_text(result, false, out, err);
}

fm_status fm_result_write(const struct fm_result *result, const char *folder, struct fm_err *err)
{
    static const struct {
        const char *name;
        fm_status (*text)(const struct fm_result *result, struct fm_buf *out, struct fm_err *err);
    } files[] = {
        { "rows.jsonl", fm_result_rows_text }, { "table.csv", fm_table_csv }, { "table.md", fm_table_markdown },
        { "result.json", indented },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct fm_buf text = FM_BUF(TEXT_MAX_BYTES);
        fm_status status = files[i].text(result, &text, err);
        if (status == FM_OK) status = fm_file_replace(folder, files[i].name, &text, err);
        fm_buf_release(&text);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}
