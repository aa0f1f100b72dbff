#include "results/choice.h"

#include <math.h>
#include <string.h>

#include "results/json.h"
#include "tuner/base/buf.h"
#include "tuner/base/text.h"

#define NAMED_MAX 6                     /* candidates that an error names */

/* ---- one cell at one batch ---- */

static int64_t val_batch_of(const struct fm_result_cell *cell, int64_t batch)
{
    const char *rule = fm_json_text(cell->strategies, "val_batch");
    if (!cell->validates) return 0;
    if (!rule) return -1;
    if (strcmp(rule, "same") == 0) return batch;
    if (strcmp(rule, "half") == 0) return batch > 1 ? batch / 2 : 1;
    return strcmp(rule, "max") == 0 ? cell->max_val : -1;
}

/* "160x160x256" of the setting "input" */
static uint32_t read_input(const cJSON *set, int64_t input[FM_CHOICE_DIMS])
{
    const char *text = fm_json_text(set, "input");
    for (uint32_t dims = 1; text && dims <= FM_CHOICE_DIMS; dims++)
        if (fm_parse_sizes(text, input, dims)) return dims;
    return 0;
}

static const struct fm_result_point *point_at(const struct fm_result *result, const struct fm_result_cell *cell, int64_t batch)
{
    for (size_t i = 0; i < cell->points; i++)
        if (result->points[cell->first_point + i].batch == batch) return &result->points[cell->first_point + i];
    return NULL;
}

static int64_t accumulation_of(const cJSON *strategies)
{
    const char *text = fm_json_text(strategies, "accumulate");
    int64_t n = -1;
    return text && fm_parse_i64(text, &n) && n > 0 ? n : -1;
}

void fm_choice_of(const struct fm_result *result, size_t index, int64_t batch, struct fm_choice *out)
{
    const struct fm_result_cell *cell = &result->cells[index];
    const struct fm_result_point *point = point_at(result, cell, batch);
    const cJSON *s = cell->strategies;
    const cJSON *device = fm_result_device(result, cell->device);
    const char *note = cell->planned ? fm_json_text(device, "note") : NULL;
    *out = (struct fm_choice){
        .tool = result->tool, .workload = cell->workload, .cell = cell->id, .device = cell->device,
        .device_name = fm_json_text(device, "name"),
        .planned = cell->planned, .certified = cell->certified, .at_limit = cell->at_limit, .note = note && *note ? note : NULL, .changes_model = cell->changes,
        .batch = batch, .val_batch = val_batch_of(cell, batch), .max_batch = cell->max_train, .max_val_batch = cell->max_val,
        .accumulation = accumulation_of(s), .devices = 1, .global_batch = -1,
        .precision = fm_json_text(s, "precision"), .checkpoint = fm_json_text(s, "checkpoint"),
        .channels = fm_json_text(s, "channels"), .memory_format = fm_json_text(s, "memory_format"),
        .optimizer = fm_json_text(s, "optimizer"), .learning_rate = NAN, .samples_per_s = NAN,
        .peak_bytes = -1, .planned_peak_bytes = -1, .capacity_bytes = cell->capacity_bytes, .set = cell->set, .strategies = s,
    };
    out->input_dims = read_input(cell->set, out->input);
    if (out->accumulation > 0 && batch > 0) out->global_batch = batch * out->accumulation;
    if (!point) return;
    out->samples_per_s = point->samples_per_s.point;
    out->peak_bytes = point->peak_hi_bytes;
    out->planned_peak_bytes = point->planned_peak_bytes;
}

/* ---- the best cell ---- */

static bool asked_for(const struct fm_choice_query *query, const struct fm_result_cell *cell)
{
    return strcmp(cell->workload, query->workload) == 0 && (!query->device || strcmp(cell->device, query->device) == 0) &&
           (!query->only || strncmp(cell->id, query->only, strlen(query->only)) == 0);
}

/* The batch to use; 0: none is known. */
static int64_t batch_of(const struct fm_result *result, const struct fm_result_cell *cell, bool largest)
{
    int64_t max = cell->max_train > 0 ? cell->max_train : 0;
    if (cell->planned || largest || cell->knee == FM_NO_POINT) return max;
    return result->points[cell->knee].batch;
}

/* a model that a strategy changed is taken only where it is asked for by its id */
static bool eligible(const struct fm_choice_query *query, const struct fm_result_cell *cell)
{
    return asked_for(query, cell) && (!cell->changes || query->only);
}

static bool is_candidate(const struct fm_result *result, const struct fm_choice_query *query,
                         const struct fm_result_cell *cell, bool ranked)
{
    return eligible(query, cell) && batch_of(result, cell, query->largest) > 0 &&
           (ranked ? query->only ? cell->rank > 0 : cell->rank == 1 : true);
}

/* Does `a` come before `b`, both of one device and model? Only cells that share a rank are left to compare. */
static bool interchangeable(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    return a->rank > 0 && a->rank == b->rank && strcmp(a->device, b->device) == 0 && strcmp(a->model_id, b->model_id) == 0;
}

static void name_cell(struct fm_buf *text, const struct fm_result_cell *cell)
{
    const cJSON *item = NULL;
    fm_buf_printf(text, "%.8s on %s (", cell->id, cell->device);
    const char *between = "";
    cJSON_ArrayForEach(item, cell->set) {
        if (!cJSON_IsString(item)) continue;
        fm_buf_printf(text, "%s%s=%s", between, item->string, item->valuestring);
        between = " ";
    }
    const char *precision = fm_json_text(cell->strategies, "precision");
    fm_buf_printf(text, "%s%s)", *between && precision ? " " : "", precision ? precision : "");
}

static fm_status ambiguous(const struct fm_result *result, const struct fm_choice_query *query, bool ranked, struct fm_err *err)
{
    struct fm_buf text = FM_BUF(4096);
    size_t n = 0;
    for (size_t i = 0; i < result->cell_count; i++) {
        const struct fm_result_cell *cell = &result->cells[i];
        if (!is_candidate(result, query, cell, ranked)) continue;
        if (n++ >= NAMED_MAX) continue;
        fm_buf_puts(&text, n > 1 ? "; " : "");
        name_cell(&text, cell);
    }
    fm_status status = fm_buf_ok(&text)
        ? FM_FAIL(err, FM_INVALID, "%s: more than one to choose from, %s: say which with --only CELL or --device: %s%s", query->workload,
                  ranked ? "on several devices or of several models" : "and none is ranked", fm_buf_text(&text),
                  n > NAMED_MAX ? "; ..." : "")
        : FM_FAIL(err, FM_NOMEM, "no memory to name the cells");
    fm_buf_release(&text);
    return status;
}

static fm_status none(const struct fm_result *result, const struct fm_choice_query *query, struct fm_err *err)
{
    const char *why = NULL;
    bool any = false, workload = false, changed = false;
    for (size_t i = 0; i < result->cell_count; i++) {
        const struct fm_result_cell *cell = &result->cells[i];
        workload = workload || strcmp(cell->workload, query->workload) == 0;
        if (!asked_for(query, cell)) continue;
        any = true;
        changed = changed || (cell->changes && batch_of(result, cell, query->largest) > 0);
        if (!why && !cell->changes) why = cell->reason ? cell->reason : cell->outcome;
    }
    if (!workload) {
        const char *there = result->cell_count ? result->cells[0].workload : "nothing";
        return FM_FAIL(err, FM_INVALID, "--workload %s: the run has no such workload (it has %s)", query->workload, there);
    }
    if (!any) return FM_FAIL(err, FM_INVALID, "%s: no cell of the run is of the asked device and id", query->workload);
    return FM_FAIL(err, FM_INVALID, "%s: no cell of the unchanged model has a batch that fits (%s)%s", query->workload,
                   why ? why : "none was tried",
                   changed ? "; a changed model has: name its cell with --only" : "; fillmark report shows what was found");
}

fm_status fm_choice_best(const struct fm_result *result, const struct fm_choice_query *query, struct fm_choice *out,
                         struct fm_err *err)
{
    size_t best = FM_NO_POINT;
    for (int ranked = 1; ranked >= 0 && best == FM_NO_POINT; ranked--)
        for (size_t i = 0; i < result->cell_count; i++) {
            if (!is_candidate(result, query, &result->cells[i], ranked)) continue;
            if (best == FM_NO_POINT) best = i;
            else if (!interchangeable(&result->cells[best], &result->cells[i])) return ambiguous(result, query, ranked, err);
        }
    if (best == FM_NO_POINT) return none(result, query, err);
    fm_choice_of(result, best, batch_of(result, &result->cells[best], query->largest), out);
    return FM_OK;
}
