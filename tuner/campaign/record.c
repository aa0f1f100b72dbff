#include "tuner/campaign/record.h"

#include "probes/protocol/json.h"
#include "tuner/base/hash.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fm_cell_id_text(const struct fm_cell *cell, char text[17])
{
    fm_hash_print(fm_cell_id(cell), text);
}

int64_t fm_cell_samples(const struct fm_cell *cell, int64_t batch)
{
    return batch * strtoll(cell->value[FM_STRATEGY_ACCUMULATE], NULL, 10);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

double fm_reply_samples_per_s(const struct fm_reply *reply, int64_t samples)
{
    const struct fm_measured *m = &reply->train;
    int64_t sorted[FM_MAX_STEPS_KEPT];
    uint32_t n = 0, slow = 0;
    for (uint32_t i = 0; i < m->step_count; i++) {
        bool throttled = slow < m->throttled_count && m->throttled[slow] == i;
        if (throttled) slow++;
        else sorted[n++] = m->step_ns[i];
    }
    if (!n) return NAN;
    qsort(sorted, n, sizeof *sorted, by_value);
    double median = n % 2 ? (double)sorted[n / 2] : ((double)sorted[n / 2 - 1] + (double)sorted[n / 2]) / 2;
    return median > 0 ? (double)samples * 1e9 / median : NAN;
}

/* ---- building blocks: a failed add makes the whole record NULL ---- */

static cJSON *begin(const char *kind)
{
    cJSON *o = cJSON_CreateObject();
    if (o && (!cJSON_AddStringToObject(o, "kind", kind) || !cJSON_AddNumberToObject(o, "v", 1))) {
        cJSON_Delete(o);
        return NULL;
    }
    return o;
}

static bool text(cJSON *o, const char *key, const char *value) { return cJSON_AddStringToObject(o, key, value) != NULL; }
static bool number(cJSON *o, const char *key, double value)
{
    return isfinite(value) ? cJSON_AddNumberToObject(o, key, value) != NULL : true;     /* unknown is absent */
}
static bool whole(cJSON *o, const char *key, int64_t value) { return fm_json_add_i64(o, key, value); }
static bool known(cJSON *o, const char *key, int64_t value) { return value < 0 || whole(o, key, value); }       /* -1: unknown, absent */
static bool truth(cJSON *o, const char *key, bool value) { return cJSON_AddBoolToObject(o, key, value) != NULL; }

static bool hash_text(cJSON *o, const char *key, uint64_t hash)
{
    char digits[FM_HASH_TEXT_BYTES];
    fm_hash_print(hash, digits);
    return text(o, key, digits);
}

static bool cell_id(cJSON *o, const struct fm_cell *cell) { return hash_text(o, "cell", fm_cell_id(cell)); }

static cJSON *finish(cJSON *o, bool good)
{
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}

/* ---- records ---- */

static bool settings(cJSON *o, const struct fm_cell *cell)
{
    const struct fm_workload *w = cell->settings.workload;
    cJSON *set = cJSON_AddObjectToObject(o, "set"), *strategies = cJSON_AddObjectToObject(o, "strategies");
    bool good = set && strategies;
    for (uint32_t i = 0; good && i < w->settings; i++) good = text(set, w->setting[i].name, cell->settings.value[i].text);
    for (int i = 0; good && i < FM_STRATEGY_COUNT; i++) good = text(strategies, fm_strategies[i]->name, cell->value[i]);
    return good;
}

static bool changes(cJSON *o, const struct fm_cell *cell)
{
    cJSON *list = cJSON_AddArrayToObject(o, "changes_model");
    bool good = list != NULL;
    for (int i = 0; good && i < FM_STRATEGY_COUNT; i++) {
        if (!fm_strategies[i]->changes_model || strcmp(cell->value[i], fm_strategies[i]->text) == 0) continue;
        cJSON *name = cJSON_CreateString(fm_strategies[i]->name);
        good = name && cJSON_AddItemToArray(list, name);
    }
    return good;
}

cJSON *fm_record_cell(const struct fm_session *session, const struct fm_cell *cell, const char *reproduce, struct fm_err *err)
{
    struct fm_graph graph = { 0 };
    struct fm_err why = { 0 };
    cJSON *o = begin("cell");
    if (!o) return NULL;
    /* a network that cannot be built is a cell all the same; its figures are unknown */
    fm_status status = fm_cell_graph(cell, 1, 0, &graph, &why);
    if (status == FM_NOMEM) (void)FM_FAIL(err, status, "%s", why.text);
    if (status == FM_NOMEM) return finish(o, false);
    bool good = hash_text(o, "id", fm_cell_id(cell)) && hash_text(o, "train_id", fm_cell_train_id(cell)) &&
                text(o, "device", session->device->device_id) && text(o, "workload", cell->settings.workload->name) &&
                settings(o, cell) && hash_text(o, "model_id", fm_cell_model_id(cell)) && changes(o, cell) &&
                text(o, "reproduce", reproduce);
    if (good && status == FM_OK)
        good = whole(o, "parameters", fm_graph_parameters(&graph)) && fm_json_add_whole(o, "flops_per_sample", 2 * fm_graph_macs(&graph));
    if (good && session->capacity_bytes != INT64_MAX) good = whole(o, "capacity_bytes", session->capacity_bytes);
    fm_graph_release(&graph);
    return finish(o, good);
}

cJSON *fm_record_start(const struct fm_cell *cell, int64_t batch, int64_t val_batch, const char *role, uint32_t launch)
{
    cJSON *o = begin("start");
    if (!o) return NULL;
    return finish(o, cell_id(o, cell) && whole(o, "batch", batch) && whole(o, "val_batch", val_batch) &&
                         text(o, "role", role) && number(o, "launch", launch));
}

static bool breakdown(cJSON *o, const int64_t *bytes, int count)
{
    cJSON *b = cJSON_AddObjectToObject(o, "breakdown");
    bool good = b != NULL;
    for (int i = 0; good && i < count; i++) good = whole(b, fm_breakdown_name(i), bytes[i]);
    return good;
}

/* allocated as the accounting counts it */
static int64_t allocated(const struct fm_cell *cell, int64_t whole_blocks, int64_t counted)
{
    return strcmp(cell->value[FM_STRATEGY_ACCOUNTING], "dispatch") == 0 ? counted : whole_blocks;
}

static bool planned(cJSON *o, const struct fm_row *row)
{
    const struct fm_peak *p = row->val ? &row->planned->plan.val : &row->planned->plan.train;
    cJSON *j = cJSON_AddObjectToObject(o, "planned");
    return j && truth(j, "fits", row->planned->plan.fits) &&
           whole(j, "allocated_bytes", allocated(row->cell, p->allocated_bytes, p->counted_bytes)) &&
           whole(j, "reserved_bytes", p->reserved_bytes) && whole(j, "workspace_bytes", p->workspace_bytes) &&
           whole(j, "needed_bytes", row->planned->needed_bytes) && breakdown(j, p->breakdown_bytes, FM_BREAKDOWN_COUNT);
}

static bool steps(cJSON *j, const struct fm_measured *m)
{
    cJSON *list = cJSON_AddArrayToObject(j, "step_ns");
    bool good = list != NULL;
    for (uint32_t i = 0; good && i < m->step_count; i++) {
        cJSON *ns = fm_json_new_i64(m->step_ns[i]);
        good = ns && cJSON_AddItemToArray(list, ns);
    }
    return good;
}

/* ---- the device while steps were timed; what is unknown is absent ---- */

static double or_nan(int32_t value, double scale) { return value < 0 ? NAN : value * scale; }

static bool pair(cJSON *j, const char *key, const char *const name[2], double a, double b)
{
    if (!isfinite(a) && !isfinite(b)) return true;
    cJSON *o = cJSON_AddObjectToObject(j, key);
    return o && number(o, name[0], a) && number(o, name[1], b);
}

static bool reasons(cJSON *j, const char *slow)
{
    if (!slow[0]) return true;
    cJSON *list = cJSON_AddArrayToObject(j, "throttle_reasons");
    bool good = list != NULL;
    for (const char *name = strcmp(slow, "none") == 0 ? "" : slow; good && *name;) {
        char one[48];
        size_t n = strcspn(name, ",");
        (void)snprintf(one, sizeof one, "%.*s", (int)n, name);
        good = cJSON_AddItemToArray(list, cJSON_CreateString(one));
        name += n + (name[n] == ',');
    }
    return good;
}

static bool marks(cJSON *j, const struct fm_measured *m)
{
    if (!m->marked) return true;
    cJSON *list = cJSON_AddArrayToObject(j, "throttled");
    bool good = list && number(j, "throttled_share", (double)m->throttled_count / m->step_count);
    for (uint32_t i = 0; good && i < m->throttled_count; i++) good = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)m->throttled[i]));
    return good;
}

static bool state(cJSON *j, const struct fm_reply *reply)
{
    static const char *const low[] = { "min", "median" }, *const high[] = { "median", "max" };
    const struct fm_reply_state *s = &reply->state;
    if (!reply->watched) return true;
    return number(j, "looks", s->looks) && pair(j, "sm_clock_mhz", low, or_nan(s->sm_mhz_min, 1), or_nan(s->sm_mhz_median, 1)) &&
           pair(j, "memory_clock_mhz", low, or_nan(s->memory_mhz_min, 1), or_nan(s->memory_mhz_median, 1)) &&
           pair(j, "power_w", high, or_nan(s->power_mw_median, 0.001), or_nan(s->power_mw_max, 0.001)) &&
           pair(j, "temperature_c", high, or_nan(s->temperature_c_median, 1), or_nan(s->temperature_c_max, 1)) &&
           reasons(j, s->slow) && (!s->note[0] || text(j, "state_unknown", s->note));
}

/* who else used the device: only where that was looked at */
static bool sharing(cJSON *o, const struct fm_row *row)
{
    const struct fm_reply *r = row->reply;
    bool timed = r->train.step_count > 0;
    if (row->val) return true;
    if (r->untimed[0] && !text(o, "untimed", r->untimed)) return false;
    if (timed && r->watched && r->state.others >= 0 && !truth(o, "shared", r->state.others > 0)) return false;
    if (!r->holders) return true;
    cJSON *list = cJSON_AddArrayToObject(o, "others");
    bool good = list != NULL;
    for (uint32_t i = 0; good && i < r->holders; i++) {
        const struct fm_reply_holder *h = &r->holder[i];
        cJSON *one = cJSON_CreateObject();
        good = one && cJSON_AddItemToArray(list, one) && whole(one, "pid", h->pid) && text(one, "name", h->name) &&
               known(one, "bytes", h->bytes);
    }
    return good;
}

static bool measured(cJSON *o, const struct fm_row *row)
{
    const struct fm_measured *m = row->val ? &row->reply->val : &row->reply->train;
    if (!m->known) return true;
    cJSON *j = cJSON_AddObjectToObject(o, "measured");
    bool good = j && whole(j, "allocated_bytes", allocated(row->cell, m->allocated_bytes, m->counted_bytes)) &&
                whole(j, "reserved_bytes", m->reserved_bytes) && whole(j, "workspace_bytes", m->workspace_bytes) &&
                breakdown(j, m->breakdown_bytes, FM_BREAKDOWN_COUNT) && number(j, "steps", m->steps);
    if (!good || row->val) return good;
    good = number(j, "loss_first", m->loss_first) && number(j, "loss_last", m->loss_last) && known(j, "rss_peak_bytes",
           row->reply->rss_peak_bytes) && text(j, "stop", row->reply->stop_reason);
    if (!good || !m->step_count) return good;
    return steps(j, m) && marks(j, m) && state(j, row->reply) && number(j, "samples_per_s", fm_reply_samples_per_s(row->reply, fm_cell_samples(row->cell, row->batch)));
}

cJSON *fm_record_row(const struct fm_row *row)
{
    cJSON *o = begin("row");
    if (!o) return NULL;
    bool good = cell_id(o, row->cell) && whole(o, "batch", row->batch) && whole(o, "val_batch", row->val_batch) &&
                text(o, "phase", row->val ? "val" : "train") && text(o, "role", row->role) && number(o, "launch", row->launch) &&
                text(o, "outcome", fm_outcome_name(row->outcome));
    if (good && row->planned) good = planned(o, row) && hash_text(o, "program", row->planned->program);
    if (good && row->reply) {
        good = (row->outcome == FM_OUTCOME_ok || text(o, "reason", row->reply->reason)) && measured(o, row) &&
               sharing(o, row) && whole(o, "wall_ns", row->reply->wall_ns);
        if (good && row->outcome == FM_OUTCOME_oom_device) {
            cJSON *at = cJSON_AddObjectToObject(o, "at");
            good = at && text(at, "op", row->reply->at_op) && whole(at, "wanted_bytes", row->reply->at_bytes) &&
                   (!row->reply->below_limit || truth(at, "below_limit", true));
        }
    }
    return finish(o, good);
}

static const char *outcome_text(const struct fm_verdict *v)
{
    if (v->train.state == FM_SEARCH_CERTIFIED && v->train.max_batch == 0) return fm_outcome_name(FM_OUTCOME_oom_device);
    return fm_search_outcome_name(v->train.outcome);
}

static double batch_or_nan(int64_t batch) { return batch == FM_SEARCH_UNKNOWN ? NAN : (double)batch; }

cJSON *fm_record_verdict(const struct fm_verdict *v)
{
    static const char *const roles[] = { "boundary", "ladder", "replicate" };
    cJSON *o = begin("verdict");
    if (!o) return NULL;
    bool certified = v->train.state == FM_SEARCH_CERTIFIED && (!v->val_searched || v->val.state == FM_SEARCH_CERTIFIED);
    int64_t train = v->train.state == FM_SEARCH_CERTIFIED ? v->train.max_batch : v->train.fits_batch;
    int64_t val = v->val_searched ? v->val.state == FM_SEARCH_CERTIFIED ? v->val.max_batch : v->val.fits_batch
                                  : train > 0 ? fm_cell_val_batch(v->cell, train) : train;
    cJSON *max = cJSON_AddObjectToObject(o, "max_batch"), *probes = cJSON_AddObjectToObject(o, "probes");
    bool good = max && probes && cell_id(o, v->cell) && text(o, "outcome", outcome_text(v)) && text(o, "reason", v->reason) &&
                number(max, "train", batch_or_nan(train)) && number(max, "val", batch_or_nan(val)) && truth(o, "certified", certified) &&
                text(o, "limited_by", v->train.at_limit ? "max_batch" : v->limited_by_val ? "val" : "train") &&
                truth(o, "non_monotone", v->train.non_monotone || v->val.non_monotone || v->planned_gap) && truth(o, "mistrusted", v->mistrusted) &&
                text(o, "search", v->search) && number(o, "planned_batch", batch_or_nan(v->planned_batch)) &&
                number(o, "raw_answer", batch_or_nan(v->train.raw_answer)) && whole(o, "raw_probes", v->train.raw_probes);
    for (int i = 0; good && i < 3; i++) good = number(probes, roles[i], v->probes[i]);
    return finish(o, good);
}

cJSON *fm_record_skipped(const struct fm_cell *cell, const char *what, const char *reason)
{
    cJSON *o = begin("skipped");
    if (!o) return NULL;
    return finish(o, cell_id(o, cell) && text(o, "what", what) && text(o, "reason", reason));
}

cJSON *fm_record_learn(const struct fm_cell *cell, int64_t batch, const struct fm_reply *reply, bool learned)
{
    cJSON *o = begin("learn");
    if (!o) return NULL;
    return finish(o, cell_id(o, cell) && whole(o, "batch", batch) && text(o, "outcome", fm_outcome_name(reply->outcome)) &&
                         number(o, "loss_first", reply->train.loss_first) && number(o, "loss_last", reply->train.loss_last) &&
                         number(o, "steps", reply->train.steps) && truth(o, "learned", learned));
}
