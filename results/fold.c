#include "results/fold.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results/fold_internal.h"
#include "results/json.h"
#include "results/resume.h"
#include "tuner/base/memory.h"

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int64_t i64_or_unknown(const cJSON *object, const char *name)
{
    int64_t value = -1;
    (void)fm_json_i64(object, name, &value);
    return value;
}

static double whole_or_unknown(const cJSON *object, const char *name)
{
    double value = NAN;
    (void)fm_json_whole(object, name, &value);
    return value;
}

/* a text that the record must have */
static fm_status need(const cJSON *record, const char *name, const char **out, struct fm_err *err)
{
    *out = fm_json_text(record, name);
    return *out ? FM_OK : FM_FAIL(err, FM_INVALID, "'%s' is missing or no text", name);
}

static fm_status need_count(const cJSON *record, const char *name, int64_t *out, struct fm_err *err)
{
    if (fm_json_i64(record, name, out) && *out >= 0) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "'%s' is missing or no count", name);
}

/* ---- cells ---- */

/* the cell a record speaks of. A record without a device is of the only cell with that id. */
static fm_status cell_of(const struct fm_result *result, const cJSON *record, size_t *out, struct fm_err *err)
{
    const char *id, *device = fm_json_text(record, "device");
    size_t found = 0;
    fm_status status = need(record, "cell", &id, err);
    if (status != FM_OK) return status;
    for (size_t i = 0; i < result->cell_count; i++) {
        const struct fm_result_cell *cell = &result->cells[i];
        if (!same(cell->id, id) || (device && !same(cell->device, device))) continue;
        *out = i;
        found++;
    }
    if (found == 1) return FM_OK;
    if (found) return FM_FAIL(err, FM_INVALID, "cell %s is run on several devices and the record names none", id);
    return FM_FAIL(err, FM_INVALID, "cell %s%s%s was not described before", id, device ? " on " : "", device ? device : "");
}

static fm_status samples_of(struct fm_result_cell *cell, struct fm_err *err)
{
    const cJSON *accumulate = fm_json_get(cell->strategies, "accumulate");
    cell->samples_per_batch = 1;        /* no such strategy: a step takes one batch */
    if (!accumulate) return FM_OK;
    if (fm_json_i64(cell->strategies, "accumulate", &cell->samples_per_batch) && cell->samples_per_batch >= 1) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "strategy accumulate is no count");
}

static fm_status read_cell(const cJSON *record, struct fm_result_cell *cell, struct fm_err *err)
{
    fm_status status = FM_OK;
    *cell = (struct fm_result_cell){
        .record = record,
        .reproduce = fm_json_text(record, "reproduce"),
        .set = fm_json_object(record, "set"),
        .strategies = fm_json_object(record, "strategies"),
        .changes_model = fm_json_array(record, "changes_model"),
        .parameters = i64_or_unknown(record, "parameters"),
        .capacity_bytes = i64_or_unknown(record, "capacity_bytes"),
        .flops_per_sample = whole_or_unknown(record, "flops_per_sample"),
        .relative_speed = NAN,
        .max_train = -1,
        .max_val = -1,
        .planned_batch = -1,
        .knee = FM_NO_POINT,
        .best = FM_NO_POINT,
        .outcome = "untested",
    };
    FM_TRY(need(record, "id", &cell->id, err));
    FM_TRY(need(record, "train_id", &cell->train_id, err));
    FM_TRY(need(record, "device", &cell->device, err));
    FM_TRY(need(record, "workload", &cell->workload, err));
    FM_TRY(need(record, "model_id", &cell->model_id, err));
    if (!cell->set || !cell->strategies || !cell->changes_model)
        return FM_FAIL(err, FM_INVALID, "'set', 'strategies' or 'changes_model' is missing");
    cell->changes = cJSON_GetArraySize(cell->changes_model) > 0;
    status = samples_of(cell, err);
out:
    return status;
}

/* a cell that is described again, by a resumed run, stays one */
static fm_status add_cell(struct fm_result *result, const cJSON *record, struct fm_err *err)
{
    struct fm_result_cell cell;
    fm_status status = read_cell(record, &cell, err);
    if (status != FM_OK) return status;
    for (size_t i = 0; i < result->cell_count; i++) {
        if (!same(result->cells[i].id, cell.id) || !same(result->cells[i].device, cell.device)) continue;
        if (cJSON_Compare(result->cells[i].record, record, true)) return FM_OK;
        return FM_FAIL(err, FM_INVALID, "cell %s on %s was described otherwise before", cell.id, cell.device);
    }
    struct fm_result_cell *cells =
        fm_grow(result->cells, &result->cell_capacity, result->cell_count + 1, sizeof *result->cells);
    if (!cells) return FM_FAIL(err, FM_NOMEM, "no memory for a cell");
    result->cells = cells;
    cells[result->cell_count++] = cell;
    return FM_OK;
}

static fm_status add_verdict(struct fm_result *result, const cJSON *record, struct fm_err *err)
{
    size_t index;
    fm_status status = cell_of(result, record, &index, err);
    if (status != FM_OK) return status;
    struct fm_result_cell *cell = &result->cells[index];
    const cJSON *max = fm_json_object(record, "max_batch");
    status = need(record, "outcome", &cell->outcome, err);
    if (status != FM_OK) return status;
    cell->verdict = record;
    cell->reason = fm_json_text(record, "reason");
    cell->limited_by = fm_json_text(record, "limited_by");
    cell->max_train = i64_or_unknown(max, "train");
    cell->max_val = i64_or_unknown(max, "val");
    cell->planned = strcmp(cell->outcome, "planned") == 0;
    cell->planned_batch = cell->planned ? cell->max_train : i64_or_unknown(record, "planned_batch");
    cell->certified = fm_json_true(record, "certified");
    cell->at_limit = cell->certified && cell->limited_by && strcmp(cell->limited_by, "max_batch") == 0;
    cell->non_monotone = fm_json_true(record, "non_monotone");
    cell->mistrusted = fm_json_true(record, "mistrusted");
    return status;
}

static fm_status add_skipped(struct fm_result *result, const cJSON *record, struct fm_err *err)
{
    size_t index;
    fm_status status = cell_of(result, record, &index, err);
    struct fm_result_left_out one = { .cell = index };
    if (status == FM_OK) status = need(record, "what", &one.what, err);
    if (status == FM_OK) status = need(record, "reason", &one.reason, err);
    if (status != FM_OK) return status;
    result->cells[index].skipped = one.reason;
    for (size_t i = 0; i < result->left_out_count; i++) {
        const struct fm_result_left_out *other = &result->left_out[i];
        if (other->cell == index && same(other->what, one.what) && same(other->reason, one.reason)) return FM_OK;
    }
    struct fm_result_left_out *list = fm_grow(result->left_out, &result->left_out_capacity, result->left_out_count + 1, sizeof *list);
    if (!list) return FM_FAIL(err, FM_NOMEM, "no memory for what was left out");
    result->left_out = list;
    list[result->left_out_count++] = one;
    return FM_OK;
}

/* ---- rows ---- */

static struct fm_result_memory read_memory(const cJSON *object)
{
    return (struct fm_result_memory){
        .known = object != NULL,
        .allocated_bytes = i64_or_unknown(object, "allocated_bytes"),
        .reserved_bytes = i64_or_unknown(object, "reserved_bytes"),
        .workspace_bytes = i64_or_unknown(object, "workspace_bytes"),
    };
}

/* what was timed, and what that is worth */
static void read_timing(struct fm_result_row *row)
{
    const cJSON *measured = fm_json_object(row->record, "measured"), *shared = fm_json_get(row->record, "shared");
    const cJSON *steps = fm_json_array(measured, "step_ns"), *throttled = fm_json_array(measured, "throttled");
    row->untimed = fm_json_text(row->record, "untimed");
    row->timed_steps = steps ? cJSON_GetArraySize(steps) : 0;
    row->throttled_steps = throttled ? cJSON_GetArraySize(throttled) : row->timed_steps ? -1 : 0;
    row->shared = cJSON_IsBool(shared) ? cJSON_IsTrue(shared) : -1;
}

static fm_status read_row(const struct fm_result *result, const cJSON *record, struct fm_result_row *row, struct fm_err *err)
{
    fm_status status = FM_OK;
    const char *phase, *outcome;
    *row = (struct fm_result_row){ .record = record, .launch = -1, .point = FM_NO_POINT };
    FM_TRY(cell_of(result, record, &row->cell, err));
    FM_TRY(need_count(record, "batch", &row->batch, err));
    FM_TRY(need_count(record, "val_batch", &row->val_batch, err));
    FM_TRY(need(record, "phase", &phase, err));
    FM_TRY(need(record, "outcome", &outcome, err));
    row->val = strcmp(phase, "val") == 0;
    if (!row->val && strcmp(phase, "train") != 0) return FM_FAIL(err, FM_INVALID, "phase '%s' is neither train nor val", phase);
    row->outcome = fm_outcome_parse(outcome);
    if (row->outcome == FM_OUTCOME_COUNT) return FM_FAIL(err, FM_INVALID, "unknown outcome '%s'", outcome);
    row->launch = i64_or_unknown(record, "launch");
    row->role = fm_json_text(record, "role");
    row->reason = fm_json_text(record, "reason");
    row->planned = read_memory(fm_json_object(record, "planned"));
    row->measured = read_memory(fm_json_object(record, "measured"));
    read_timing(row);
out:
    return status;
}

static bool same_probe(const struct fm_result_row *a, const struct fm_result_row *b)
{
    return a->cell == b->cell && a->batch == b->batch && a->val_batch == b->val_batch && a->launch == b->launch &&
           same(a->role, b->role);
}

static fm_status add_row(struct fm_result *result, const cJSON *record, struct fm_err *err)
{
    struct fm_result_row row;
    fm_status status = read_row(result, record, &row, err);
    if (status != FM_OK) return status;
    for (size_t i = 0; i < result->row_count; i++)
        if (result->rows[i].val == row.val && same_probe(&result->rows[i], &row)) result->rows[i].superseded = true;
    struct fm_result_row *rows = fm_grow(result->rows, &result->row_capacity, result->row_count + 1, sizeof *result->rows);
    if (!rows) return FM_FAIL(err, FM_NOMEM, "no memory for a row");
    result->rows = rows;
    rows[result->row_count++] = row;
    struct fm_result_cell *cell = &result->cells[row.cell];
    cell->validates = cell->validates || row.val_batch > 0;
    return FM_OK;
}

/* ---- runs ---- */

static fm_status add_end(struct fm_result *result, const cJSON *record)
{
    static const char *const names[] = { "wall_ns", "measured_ns", "overhead_ns" };
    int64_t *const sums[] = { &result->wall_ns, &result->measured_ns, &result->overhead_ns };
    for (int i = 0; i < 3; i++) {
        int64_t ns;
        if (fm_json_i64(record, names[i], &ns)) *sums[i] = (*sums[i] < 0 ? 0 : *sums[i]) + ns;
    }
    result->complete = !fm_json_true(record, "interrupted");
    return FM_OK;
}

static fm_status add(struct fm_result *result, const cJSON *record, struct fm_err *err)
{
    const char *kind = fm_record_kind(record);
    size_t cell;
    if (strcmp(kind, "run") == 0 || strcmp(kind, "resume") == 0) result->complete = false;
    /* a run that goes on says again what it leaves out */
    for (size_t i = 0; strcmp(kind, "resume") == 0 && i < result->cell_count; i++) result->cells[i].skipped = NULL;
    if (strcmp(kind, "resume") == 0) result->left_out_count = 0;
    if (strcmp(kind, "start") == 0) return cell_of(result, record, &cell, err);
    if (strcmp(kind, "cell") == 0) return add_cell(result, record, err);
    if (strcmp(kind, "row") == 0) return add_row(result, record, err);
    if (strcmp(kind, "verdict") == 0) return add_verdict(result, record, err);
    if (strcmp(kind, "skipped") == 0) return add_skipped(result, record, err);
    if (strcmp(kind, "end") == 0) return add_end(result, record);
    return FM_OK;
}

/* has the probe a row, or another start, after its start at index i? */
static bool was_followed(const struct fm_records *records, size_t i, const struct fm_probe_key *key)
{
    for (size_t j = i + 1; j < records->count; j++) {
        const char *kind = fm_record_kind(records->item[j]);
        bool of_probe = strcmp(kind, "row") == 0 || strcmp(kind, "start") == 0;
        if (of_probe && fm_probe_has(key, records->item[j])) return true;
    }
    return false;
}

/* starts whose last try left nothing: each counts once, at its last start */
static void count_suspects(struct fm_result *result, const struct fm_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        const cJSON *start = records->item[i];
        size_t cell;
        if (strcmp(fm_record_kind(start), "start") != 0 || cell_of(result, start, &cell, NULL) != FM_OK) continue;
        struct fm_probe_key key = { .cell = result->cells[cell].id, .device = result->cells[cell].device,
                                    .batch = i64_or_unknown(start, "batch"), .val_batch = i64_or_unknown(start, "val_batch"),
                                    .role = fm_json_text(start, "role"), .launch = i64_or_unknown(start, "launch") };
        result->cells[cell].suspects += !was_followed(records, i, &key);
    }
}

/* The last check that a training learns is all its cells', also where a run ended before their verdicts said so. */
static void mark_unlearned(struct fm_result *result, const struct fm_records *records)
{
    for (size_t i = 0; i < result->cell_count; i++) {
        struct fm_result_cell *cell = &result->cells[i];
        for (size_t j = 0; j < records->count; j++) {
            const cJSON *learn = records->item[j];
            size_t of;
            if (strcmp(fm_record_kind(learn), "learn") != 0 || cell_of(result, learn, &of, NULL) != FM_OK) continue;
            if (!same(result->cells[of].train_id, cell->train_id) || !same(result->cells[of].device, cell->device)) continue;
            cell->mistrusted = !fm_json_true(learn, "learned");
            cell->learn_outcome = fm_json_text(learn, "outcome");
        }
    }
}

bool fm_result_is_plan(const struct fm_result *result)
{
    bool plan = result->cell_count > 0;
    for (size_t i = 0; i < result->cell_count && plan; i++) {
        const struct fm_result_cell *cell = &result->cells[i];
        /* a run counts its probes */
        plan = cell->verdict && !fm_json_get(cell->verdict, "probes") && (cell->planned || strcmp(cell->outcome, "unsupported") == 0);
    }
    for (size_t i = 0; i < result->row_count && plan; i++) plan = result->rows[i].outcome == FM_OUTCOME_planned;
    return plan;
}

const char *fm_result_mistrust(const struct fm_result_cell *cell)
{
    if (!cell->mistrusted) return NULL;
    switch (cell->learn_outcome ? fm_outcome_parse(cell->learn_outcome) : FM_OUTCOME_COUNT) {
    case FM_OUTCOME_ok: return "it did not learn when it was checked";
    case FM_OUTCOME_nonfinite: return "its loss was not finite in the check that it learns";
    case FM_OUTCOME_crash: return "the worker died in the check that it learns";
    case FM_OUTCOME_timeout: return "the deadline passed in the check that it learns";
    case FM_OUTCOME_protocol: return "the worker's answer to the check that it learns was not understood";
    case FM_OUTCOME_oom_device: return "the check that it learns exhausted the device's memory";
    case FM_OUTCOME_oom_host: return "the check that it learns exhausted the host's memory";
    case FM_OUTCOME_unsupported: return "the check that it learns is not supported";
    default: return "the check that it learns did not pass";
    }
}

static void finish_cells(struct fm_result *result)
{
    for (size_t i = 0; i < result->cell_count; i++) {
        struct fm_result_cell *cell = &result->cells[i];
        cell->validates = cell->validates || cell->max_val > 0;
        if (cell->verdict) continue;
        bool rows = false, ran = false;
        for (size_t j = 0; j < result->row_count; j++) {
            rows = rows || result->rows[j].cell == i;
            ran = ran || (result->rows[j].cell == i && result->rows[j].outcome != FM_OUTCOME_planned);
        }
        if (ran) cell->outcome = "unfinished";
        else if (cell->skipped) cell->outcome = "skipped";
        else if (rows) cell->outcome = "planned";
        if (!cell->reason) cell->reason = cell->skipped;
    }
}

/* of the bootstrap: any 64 bits. A run without one is folded with 0. */
static fm_status read_seed(const cJSON *run, uint64_t *seed, struct fm_err *err)
{
    int64_t small;
    const char *text = fm_json_text(run, "seed");
    if (!fm_json_get(run, "seed")) return FM_OK;
    if (fm_json_i64(run, "seed", &small)) {
        *seed = (uint64_t)small;
        return FM_OK;
    }
    char *end = NULL;
    errno = 0;
    if (text && text[0] >= '0' && text[0] <= '9') *seed = strtoull(text, &end, 10);
    if (end && !*end && !errno) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "record 1 (run): 'seed' is no integer of 64 bits");
}

fm_status fm_result_fold(const struct fm_records *records, struct fm_result *out, struct fm_err *err)
{
    fm_status status = FM_OK;
    uint64_t seed = 0;
    *out = (struct fm_result){ .wall_ns = -1, .measured_ns = -1, .overhead_ns = -1 };
    FM_TRY(fm_resume_run(records, &out->run, err));
    FM_TRY(need(out->run, "tool", &out->tool, err));
    FM_TRY(read_seed(out->run, &seed, err));
    for (size_t i = 0; i < records->count; i++) {
        struct fm_err cause = { 0 };
        status = add(out, records->item[i], &cause);
        if (status == FM_OK) continue;
        status = FM_FAIL(err, status, "record %zu (%s): %s", i + 1, fm_record_kind(records->item[i]), cause.text);
        goto out;
    }
    count_suspects(out, records);
    mark_unlearned(out, records);
    finish_cells(out);
    status = fm_fold_points(out, seed, err);
out:
    if (status != FM_OK) fm_result_release(out);
    return status;
}

fm_status fm_result_read(const char *folder, struct fm_result *out, struct fm_err *err)
{
    struct fm_records records = { 0 };
    bool torn = false;
    fm_status status = fm_journal_read(folder, &records, &torn, err);
    *out = (struct fm_result){ 0 };
    if (status == FM_OK) {
        struct fm_err cause = { 0 };
        status = fm_result_fold(&records, out, &cause);
        if (status != FM_OK) status = FM_FAIL(err, status, "%s/%s: %s", folder, FM_JOURNAL_FILE, cause.text);
    }
    if (status != FM_OK) {
        fm_records_release(&records);
        return status;
    }
    out->own = records;
    out->torn = torn;
    return FM_OK;
}

void fm_result_release(struct fm_result *result)
{
    fm_free(result->cells);
    fm_free(result->rows);
    fm_free(result->points);
    fm_free(result->left_out);
    fm_records_release(&result->own);
    *result = (struct fm_result){ 0 };
}

void fm_result_put_left_out(const struct fm_result *result, size_t cell, struct fm_buf *out)
{
    const struct fm_result_left_out *list = result->left_out;
    const char *between = "";
    for (size_t i = 0; i < result->left_out_count; i++) {
        bool said = list[i].cell != cell;
        for (size_t k = 0; k < i && !said; k++) said = list[k].cell == cell && same(list[k].reason, list[i].reason);
        if (said) continue;
        fm_buf_printf(out, "%s%s: %s", between, list[i].reason, list[i].what);
        for (size_t k = i + 1; k < result->left_out_count; k++)
            if (list[k].cell == cell && same(list[k].reason, list[i].reason)) fm_buf_printf(out, "; %s", list[k].what);
        between = " · ";
    }
}

const cJSON *fm_result_device(const struct fm_result *result, const char *id)
{
    const cJSON *device = NULL;
    cJSON_ArrayForEach(device, fm_json_array(result->run, "devices"))
        if (same(fm_json_text(device, "id"), id)) return device;
    return NULL;
}

bool fm_result_differs(const struct fm_result *result, const struct fm_result_row *row, const char **what, int64_t *planned_bytes,
                       int64_t *counted_bytes)
{
    /* which of a convolution's engines is fastest no plan knows */
    const char *timed = fm_json_text(result->cells[row->cell].strategies, "cudnn_benchmark");
    if (timed && strcmp(timed, "on") == 0) return false;
    /* a run cut short has not reached its peak */
    if (row->outcome != FM_OUTCOME_ok && row->outcome != FM_OUTCOME_nonfinite) return false;
    const int64_t planned[] = { row->planned.allocated_bytes, row->planned.reserved_bytes };
    const int64_t counted[] = { row->measured.allocated_bytes, row->measured.reserved_bytes };
    for (int i = 0; i < 2; i++) {
        if (!row->planned.known || !row->measured.known || planned[i] < 0 || counted[i] < 0 || planned[i] == counted[i]) continue;
        *what = i ? "reserved" : "allocated";
        *planned_bytes = planned[i];
        *counted_bytes = counted[i];
        return true;
    }
    return false;
}
