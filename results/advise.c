#include "results/advise.h"

#include <math.h>
#include <string.h>

#include "probes/measure/knee.h"
#include "results/json.h"
#include "tuner/base/memory.h"

#define GRADIENT_BYTES 4            /* of a parameter: gradients are kept in f32 */

const char *fm_objective_name(enum fm_objective objective)
{
#define X(name, text) text,
    static const char *const names[] = { FM_OBJECTIVE_LIST(X) };
#undef X
    return objective < FM_OBJECTIVE_COUNT ? names[objective] : "?";
}

const char *fm_lr_rule_name(enum fm_lr_rule rule)
{
#define X(name, text) text,
    static const char *const names[] = { FM_LR_RULE_LIST(X) };
#undef X
    return rule < FM_LR_RULE_COUNT ? names[rule] : "?";
}

double fm_lr_scaled(double base_lr, int64_t base_batch, int64_t global_batch, enum fm_lr_rule rule)
{
    if (rule == FM_LR_NONE) return base_lr;
    if (base_batch < 1 || global_batch < 1) return NAN;
    double ratio = (double)global_batch / (double)base_batch;
    return base_lr * (rule == FM_LR_SQRT ? sqrt(ratio) : ratio);
}

/* ---- models ---- */

static bool add_name(const char *names[FM_ADVISE_ALLOW_MAX], size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0) return true;
    if (*count == FM_ADVISE_ALLOW_MAX) return false;
    names[(*count)++] = name;
    return true;
}

static const char *value_of(const cJSON *object, const char *name)
{
    const char *text = fm_json_text(object, name);
    return text ? text : "";
}

size_t fm_advise_differences(const struct fm_result_cell *a, const struct fm_result_cell *b, const char *names[FM_ADVISE_ALLOW_MAX])
{
    const cJSON *item = NULL;
    size_t count = 0;
    if (strcmp(a->model_id, b->model_id) == 0) return 0;
    cJSON_ArrayForEach(item, a->changes_model)
        if (cJSON_IsString(item)) (void)add_name(names, &count, item->valuestring);
    cJSON_ArrayForEach(item, a->set)
        if (strcmp(value_of(a->set, item->string), value_of(b->set, item->string)) != 0) (void)add_name(names, &count, item->string);
    return count;
}

static bool allowed(const struct fm_advise_query *q, const struct fm_result_cell *cell, const struct fm_result_cell *base)
{
    const char *names[FM_ADVISE_ALLOW_MAX];
    size_t count = fm_advise_differences(cell, base, names);
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < q->allows && strcmp(q->allow[k], names[i]) != 0) k++;
        if (k == q->allows) return false;
    }
    return true;
}

static bool asked_for(const struct fm_advise_query *q, const struct fm_result_cell *cell)
{
    if (strcmp(cell->workload, q->workload) != 0 || (q->device && strcmp(cell->device, q->device) != 0)) return false;
    for (size_t i = 0; i < q->wants; i++) {
        const char *text = fm_json_text(cell->set, q->want[i].name);
        if (!text) text = fm_json_text(cell->strategies, q->want[i].name);
        if (!text || strcmp(text, q->want[i].value) != 0) return false;
    }
    return true;
}

/* the unchanged model with most FLOPs a sample; one that only a strategy changed where there is no other */
static const struct fm_result_cell *find_base(const struct fm_result *r, const struct fm_advise_query *q)
{
    const struct fm_result_cell *base = NULL;
    for (size_t i = 0; i < r->cell_count; i++) {
        const struct fm_result_cell *c = &r->cells[i];
        if (!asked_for(q, c)) continue;
        bool better = !base || (base->changes && !c->changes) ||
                      (base->changes == c->changes && c->flops_per_sample > base->flops_per_sample);
        if (better) base = c;
    }
    return base;
}

/* ---- candidates ---- */

struct candidates { struct fm_advised *item; size_t count, capacity; };

struct maker {
    const struct fm_result *result;
    const struct fm_advise_query *query;
    const struct fm_result_cell *base;
    struct candidates *out;
    struct fm_err *err;
};

static int64_t limit_of(const struct fm_advise_query *q, const struct fm_result_cell *cell)
{
    int64_t limit = cell->capacity_bytes > 0 ? cell->capacity_bytes : INT64_MAX, room = q->headroom_bytes;
    if (q->max_memory_bytes > 0 && q->max_memory_bytes < limit) limit = q->max_memory_bytes;
    if (limit == INT64_MAX) return -1;
    int64_t share = (int64_t)((double)limit * ((double)q->headroom_ppm / 1e6));
    if (share > room) room = share;
    return limit > room ? limit - room : 0;
}

/* accumulation that comes nearest to the target global batch, at least 1 */
static int64_t accumulation_for(const struct fm_advise_query *q, int64_t batch)
{
    int64_t pass = batch * q->devices, low = q->target_global_batch / pass;
    if (low < 1) return 1;
    return q->target_global_batch - low * pass <= (low + 1) * pass - q->target_global_batch ? low : low + 1;
}

static void set_global(const struct fm_advise_query *q, struct fm_advised *a, int64_t parameters)
{
    struct fm_choice *c = &a->choice;
    int64_t own = c->accumulation > 0 ? c->accumulation : 1;
    c->devices = q->devices;
    c->accumulation = q->target_global_batch ? accumulation_for(q, c->batch) : own;
    c->global_batch = c->batch * c->accumulation * c->devices;
    a->exact = !q->target_global_batch || c->global_batch == q->target_global_batch;
    if (c->accumulation > 1 && own == 1 && parameters > 0) a->accumulation_bytes = parameters * GRADIENT_BYTES;
    if (a->memory_bytes >= 0) a->memory_bytes += a->accumulation_bytes;
    c->learning_rate = isfinite(q->base_lr) ? fm_lr_scaled(q->base_lr, q->base_batch, c->global_batch, q->lr_rule) : NAN;
    a->epoch_s = NAN;
    a->epoch_steps = -1;
    if (!q->samples_per_epoch) return;
    a->epoch_steps = (q->samples_per_epoch + c->global_batch - 1) / c->global_batch;
    if (isfinite(a->samples_per_s)) a->epoch_s = (double)q->samples_per_epoch / (a->samples_per_s * (double)q->devices);
}

static fm_status offer(const struct maker *m, size_t cell, struct fm_advised a)
{
    const struct fm_result_cell *c = &m->result->cells[cell];
    struct fm_advised *item = fm_grow(m->out->item, &m->out->capacity, m->out->count + 1, sizeof *item);
    if (!item) return FM_FAIL(m->err, FM_NOMEM, "%zu configurations", m->out->count);
    m->out->item = item;
    int64_t batch = a.choice.batch;
    fm_choice_of(m->result, cell, batch, &a.choice);
    a.cell = cell;
    a.limit_bytes = limit_of(m->query, c);
    a.unchanged = strcmp(c->model_id, m->base->model_id) == 0;
    a.model_share = m->base->flops_per_sample > 0 ? c->flops_per_sample / m->base->flops_per_sample : NAN;
    set_global(m->query, &a, c->parameters);
    item[m->out->count++] = a;
    return FM_OK;
}

/* a batch that was not run: between `below` (may be NULL) and `above` */
static fm_status offer_between(const struct maker *m, size_t cell, int64_t batch, const struct fm_result_point *below,
                               const struct fm_result_point *above)
{
    const struct fm_result_point *near = below ? below : above;
    struct fm_advised a = { .choice.batch = batch, .memory_bytes = above->peak_hi_bytes, .memory_bound = true,
                            .samples_per_s = near->samples_per_s.point, .speed_batch = near->batch };
    return offer(m, cell, a);
}

/* per pass and device; 0: none, or the devices cannot share it equally */
static int64_t share_of_target(const struct fm_advise_query *q)
{
    return q->target_global_batch % q->devices == 0 ? q->target_global_batch / q->devices : 0;
}

static fm_status offer_measured(const struct maker *m, size_t cell)
{
    const struct fm_result_cell *c = &m->result->cells[cell];
    const struct fm_result_point *p = &m->result->points[c->first_point], *below = NULL;
    int64_t share = share_of_target(m->query);
    for (size_t i = 0; i < c->points; i++) {
        for (int64_t b = below ? below->batch + 1 : 1; share && b < p[i].batch && b <= share; b++) {
            if (share % b != 0) continue;
            fm_status status = offer_between(m, cell, b, below, &p[i]);
            if (status != FM_OK) return status;
        }
        struct fm_advised a = { .choice.batch = p[i].batch, .memory_bytes = p[i].peak_hi_bytes, .speed_batch = p[i].batch,
                                .samples_per_s = p[i].samples_per_s.point, .memory_bound = p[i].peak_lo_bytes != p[i].peak_hi_bytes };
        fm_status status = offer(m, cell, a);
        if (status != FM_OK) return status;
        below = &p[i];
    }
    return FM_OK;
}

/* The planned peak of a cell that nothing was run of: its rows', the larger of both phases. Where it did not fit, reserved
 * is how far the plan came, and needed what it would take. */
static int64_t planned_bytes(const struct fm_result *r, size_t cell, int64_t batch)
{
    int64_t bytes = -1;
    for (size_t i = 0; i < r->row_count; i++) {
        const struct fm_result_row *row = &r->rows[i];
        int64_t needed = row->planned.reserved_bytes;
        if (row->cell != cell || row->batch != batch || !row->planned.known) continue;
        (void)fm_json_i64(fm_json_object(row->record, "planned"), "needed_bytes", &needed);
        if (needed < row->planned.reserved_bytes) needed = row->planned.reserved_bytes;
        if (needed > bytes) bytes = needed;
    }
    return bytes;
}

static fm_status offer_planned(const struct maker *m, size_t cell)
{
    const struct fm_result_cell *c = &m->result->cells[cell];
    int64_t max = c->max_train > 0 ? c->max_train : 1;      /* batch 1 was planned where it does not fit */
    int64_t bytes = planned_bytes(m->result, cell, max), share = share_of_target(m->query);
    fm_status status = FM_OK;
    struct fm_advised a = { .choice.batch = max, .memory_bytes = bytes, .samples_per_s = NAN };
    status = offer(m, cell, a);
    for (int64_t b = 1; share && b < max && b <= share && status == FM_OK; b++) {
        if (share % b) continue;
        int64_t own_bytes = planned_bytes(m->result, cell, b);
        a.choice.batch = b;
        a.memory_bound = own_bytes < 0;
        a.memory_bytes = own_bytes < 0 ? bytes : own_bytes;
        status = offer(m, cell, a);
    }
    return status;
}

/* ---- the order ---- */

static bool fits(const struct fm_advised *a) { return a->limit_bytes < 0 || (a->memory_bytes >= 0 && a->memory_bytes <= a->limit_bytes); }

static int64_t distance(const struct fm_advise_query *q, const struct fm_advised *a)
{
    int64_t d = a->choice.global_batch - q->target_global_batch;
    return q->target_global_batch ? (d < 0 ? -d : d) : 0;
}

static int less_memory(const struct fm_advised *a, const struct fm_advised *b)
{
    uint64_t x = (uint64_t)a->memory_bytes, y = (uint64_t)b->memory_bytes;      /* unknown is the most */
    return x < y ? -1 : x > y;
}

static int faster(const struct fm_advised *a, const struct fm_advised *b)
{
    double x = isfinite(a->samples_per_s) ? a->samples_per_s : -1, y = isfinite(b->samples_per_s) ? b->samples_per_s : -1;
    return x > y ? -1 : x < y;
}

static bool recomputes(const struct fm_advised *a) { return a->choice.checkpoint && strcmp(a->choice.checkpoint, "none") != 0; }

/* by the objective alone; `enough`: samples/s that KNEE asks for */
static int by_objective(const struct fm_advise_query *q, double enough, const struct fm_advised *a, const struct fm_advised *b)
{
    int order = 0;
    if (q->objective == FM_OBJECTIVE_MEMORY) {
        order = less_memory(a, b);
        return order ? order : faster(a, b);
    }
    if (a->choice.planned) {
        if (recomputes(a) != recomputes(b)) return recomputes(a) ? 1 : -1;
        if (a->choice.batch != b->choice.batch) return a->choice.batch > b->choice.batch ? -1 : 1;
        return less_memory(a, b);
    }
    bool x = a->samples_per_s >= enough, y = b->samples_per_s >= enough;
    if (q->objective == FM_OBJECTIVE_KNEE && x && y) {
        order = less_memory(a, b);
        return order ? order : faster(a, b);
    }
    order = faster(a, b);
    return order ? order : less_memory(a, b);
}

/* negative: `a` before `b` */
static int compare(const struct fm_advise_query *q, double enough, const struct fm_advised *a, const struct fm_advised *b)
{
    if (a->unchanged != b->unchanged) return a->unchanged ? -1 : 1;
    if (a->choice.planned != b->choice.planned) return a->choice.planned ? 1 : -1;
    int64_t x = distance(q, a), y = distance(q, b);
    if (x != y) return x < y ? -1 : 1;
    int order = by_objective(q, enough, a, b);
    if (order) return order;
    /* a batch that was run, then the larger one */
    bool ran_a = a->speed_batch == a->choice.batch, ran_b = b->speed_batch == b->choice.batch;
    if (ran_a != ran_b) return ran_a ? -1 : 1;
    if (a->choice.batch != b->choice.batch) return a->choice.batch > b->choice.batch ? -1 : 1;
    return a->cell < b->cell ? -1 : a->cell > b->cell;
}

/* 95 % of the most samples/s among what is as good in all that comes before speed */
static double enough_speed(const struct fm_advise_query *q, const struct candidates *c, const bool *eligible, bool unchanged)
{
    double best = -1;
    int64_t least = INT64_MAX;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < c->count; i++) {
            const struct fm_advised *a = &c->item[i];
            if (!eligible[i] || a->unchanged != unchanged || a->choice.planned) continue;
            if (!pass && distance(q, a) < least) least = distance(q, a);
            else if (pass && distance(q, a) == least && a->samples_per_s > best) best = a->samples_per_s;
        }
    return best > 0 ? (1 - FM_KNEE_TOLERANCE) * best : INFINITY;
}

/* the best of those that are eligible, leaving out cells that train alike (NULL: none) */
static const struct fm_advised *pick(const struct maker *m, const bool *eligible, const char *without)
{
    const struct fm_advise_query *q = m->query;
    const struct candidates *c = m->out;
    double enough[2] = { enough_speed(q, c, eligible, false), enough_speed(q, c, eligible, true) };
    const struct fm_advised *best = NULL;
    for (size_t i = 0; i < c->count; i++) {
        const struct fm_advised *a = &c->item[i];
        if (!eligible[i] || (without && strcmp(m->result->cells[a->cell].train_id, without) == 0)) continue;
        if (!best || compare(q, enough[a->unchanged], a, best) < 0) best = a;
    }
    return best;
}

/* ---- the advice ---- */

/* what fits but is not allowed: the best of each model, the largest model first */
static void make_ladder(const struct maker *m, struct fm_advice *out)
{
    for (size_t i = 0; i < m->out->count; i++) {
        const struct fm_advised *a = &m->out->item[i];
        const struct fm_result_cell *cell = &m->result->cells[a->cell];
        if (!fits(a) || a->unchanged) continue;
        size_t at = 0;
        while (at < out->ladder_count && strcmp(m->result->cells[out->ladder[at].cell].model_id, cell->model_id) != 0) at++;
        if (at < out->ladder_count) {
            if (compare(m->query, INFINITY, a, &out->ladder[at]) < 0) out->ladder[at] = *a;
            continue;
        }
        if (at == FM_ADVISE_LADDER_MAX) continue;
        out->ladder[out->ladder_count++] = *a;
    }
    for (size_t i = 1; i < out->ladder_count; i++)
        for (size_t k = i; k && out->ladder[k].model_share > out->ladder[k - 1].model_share; k--) {
            struct fm_advised other = out->ladder[k];
            out->ladder[k] = out->ladder[k - 1];
            out->ladder[k - 1] = other;
        }
}

static void survey(const struct maker *m, struct fm_advice *out)
{
    out->least_bytes = out->limit_bytes = -1;
    out->planned = true;
    for (size_t i = 0; i < m->out->count; i++) {
        const struct fm_advised *a = &m->out->item[i];
        if (!a->choice.planned) out->planned = false;
        if (a->limit_bytes > out->limit_bytes) out->limit_bytes = a->limit_bytes;
        if (!fits(a)) out->over_limit++;
        if (a->unchanged && a->memory_bytes >= 0 && (out->least_bytes < 0 || a->memory_bytes < out->least_bytes)) out->least_bytes = a->memory_bytes;
    }
    out->candidates = m->out->count;
}

static fm_status choose(const struct maker *m, struct fm_advice *out)
{
    bool *eligible = fm_calloc(m->out->count + 1, sizeof *eligible);
    if (!eligible) return FM_FAIL(m->err, FM_NOMEM, "%zu configurations", m->out->count);
    for (size_t i = 0; i < m->out->count; i++)
        eligible[i] = fits(&m->out->item[i]) && allowed(m->query, &m->result->cells[m->out->item[i].cell], m->base);
    const struct fm_advised *best = pick(m, eligible, NULL);
    if (best) {
        const struct fm_advised *second = pick(m, eligible, m->result->cells[best->cell].train_id);
        out->found = true;
        out->best = *best;
        if (!second) {          /* of one cell alone: another batch */
            eligible[best - m->out->item] = false;
            second = pick(m, eligible, NULL);
        }
        if (second) out->runner_up = *second;
        out->has_runner_up = second != NULL;
    } else {
        make_ladder(m, out);
    }
    fm_free(eligible);
    return FM_OK;
}

static fm_status check(const struct fm_result *r, const struct fm_advise_query *q, struct fm_err *err)
{
    const char *device = NULL;
    if (q->devices < 1 || q->target_global_batch < 0 || q->headroom_bytes < 0 || q->headroom_ppm < 0 || q->headroom_ppm >= 1000000)
        return FM_FAIL(err, FM_INVALID, "devices, target global batch or headroom out of range");
    if (q->target_global_batch && q->target_global_batch < q->devices)
        return FM_FAIL(err, FM_INVALID, "a global batch of %lld is less than one sample for each of %lld devices",
                       (long long)q->target_global_batch, (long long)q->devices);
    if (q->lr_rule != FM_LR_NONE && (!(q->base_lr > 0) || q->base_batch < 1))
        return FM_FAIL(err, FM_INVALID, "a learning rate is scaled from one and its global batch: give both");
    for (size_t i = 0; i < r->cell_count; i++) {
        if (!asked_for(q, &r->cells[i])) continue;
        if (device && strcmp(device, r->cells[i].device) != 0)
            return FM_FAIL(err, FM_INVALID, "%s was run on several devices: %s, %s, ...; say which", q->workload, device, r->cells[i].device);
        device = r->cells[i].device;
    }
    if (!device) return FM_FAIL(err, FM_INVALID, "no cell of %s%s%s%s in this run", q->workload, q->device ? " on " : "",
                       q->device ? q->device : "", q->wants ? " with these settings" : "");
    return FM_OK;
}

fm_status fm_advise(const struct fm_result *r, const struct fm_advise_query *q, struct fm_advice *out, struct fm_err *err)
{
    struct candidates all = { 0 };
    *out = (struct fm_advice){ 0 };
    fm_status status = check(r, q, err);
    if (status != FM_OK) return status;
    const struct maker m = { r, q, find_base(r, q), &all, err };
    for (size_t i = 0; i < r->cell_count && status == FM_OK; i++) {
        const struct fm_result_cell *c = &r->cells[i];
        if (!asked_for(q, c) || c->mistrusted) continue;
        status = c->planned ? offer_planned(&m, i) : offer_measured(&m, i);
    }
    if (status == FM_OK) survey(&m, out);
    if (status == FM_OK) status = choose(&m, out);
    fm_free(all.item);
    return status;
}
