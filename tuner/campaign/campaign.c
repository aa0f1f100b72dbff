#include "tuner/campaign/campaign_internal.h"

#include "probes/worker/cell_spec.h"
#include "tuner/base/hash.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"
#include "tuner/search/ladder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEASURED_MIN 3
#define MEASURED_MAX 200
#define RELATIVE_ERROR 0.01
#define LEARN_STEPS 20
#define POINTS_MAX (FM_LADDER_CAPACITY + 2)

enum role { BOUNDARY, LADDER, REPLICATE };
static const char *const role_name[] = { "boundary", "ladder", "replicate" };

/* ---- small things ---- */

static bool cancelled(const struct fm_campaign *c)
{
    return c->config.session->config.cancel && atomic_load(c->config.session->config.cancel);
}

static int64_t elapsed(const struct fm_campaign *c) { return fm_now_ns(c->config.clock) - c->start_ns; }

/* is there time for one more probe of about this length? */
static bool time_for(struct fm_campaign *c, double expected_ns)
{
    if (!c->config.time_budget_ns) return true;
    if ((double)elapsed(c) + expected_ns <= (double)c->config.time_budget_ns) return true;
    c->out_of_time = true;
    return false;
}

/* a record, or an array of records that belong together; names the device, since others may run the same cell */
static fm_status put(struct fm_campaign *c, cJSON *record, struct fm_err *err)
{
    const char *device = c->config.session->device->device_id;
    bool good = record != NULL;
    cJSON *one = NULL;
    if (cJSON_IsArray(record)) {
        cJSON_ArrayForEach(one, record) good = good && cJSON_AddStringToObject(one, "device", device);
    } else if (good && !cJSON_GetObjectItemCaseSensitive(record, "device")) {
        good = cJSON_AddStringToObject(record, "device", device) != NULL;
    }
    fm_status status = good ? c->config.record(c->config.context, record, err) : FM_FAIL(err, FM_NOMEM, "a journal record");
    cJSON_Delete(record);
    return status;
}

static void tell_progress(struct fm_campaign *c, const struct fm_cell *cell, int64_t batch, const char *last)
{
    if (!c->config.progress) return;
    c->progress.cell = cell;
    c->progress.cell_index = (size_t)(cell - c->config.cell);
    c->progress.batch = batch;
    c->progress.last = last;
    c->progress.left_ns = c->config.time_budget_ns ? c->config.time_budget_ns - elapsed(c) : -1;
    c->config.progress(c->config.context, &c->progress);
}

/* ---- one probe ---- */

struct probe {
    size_t cell;
    int64_t batch, val_batch;
    enum role role;
    uint32_t launch;
    bool timed;
};

/* both rows of a probe in one journal line: a kill never splits them */
static fm_status put_rows(struct fm_campaign *c, const struct probe *p, const struct fm_planned *planned, const struct fm_reply *reply,
                          struct fm_err *err)
{
    struct fm_row row = { .cell = &c->config.cell[p->cell], .batch = p->batch, .val_batch = p->val_batch, .role = role_name[p->role],
                          .launch = p->launch, .planned = planned, .reply = reply,
                          .outcome = reply->failed_in_val ? FM_OUTCOME_ok : reply->outcome };
    cJSON *rows = cJSON_CreateArray(), *train = fm_record_row(&row), *val = NULL;
    bool good = rows && train && cJSON_AddItemToArray(rows, train);
    if (good && reply->val.known) {
        row.val = true;
        row.outcome = reply->failed_in_val ? reply->outcome : FM_OUTCOME_ok;
        val = fm_record_row(&row);
        good = val && cJSON_AddItemToArray(rows, val);
    }
    if (good) return put(c, rows, err);
    cJSON_Delete(rows);
    return FM_FAIL(err, FM_NOMEM, "rows of a probe");
}

static void fill_request(const struct fm_campaign *c, const struct probe *p, const struct fm_planned *planned, struct fm_request *q)
{
    *q = (struct fm_request){
        .id = 1, .kind = FM_REQUEST_PROBE, .batch = p->batch, .val_batch = p->val_batch, .program = planned->program,
        .memory_bytes = c->config.session->capacity_bytes, .seed = c->config.seed, .deadline_ms = c->config.deadline_ns / 1000000,
        .train_steps = planned->plan.train_steps, .val_steps = planned->plan.val_steps, .relative_error = RELATIVE_ERROR,
        .measured_min = MEASURED_MIN, .measured_max = p->timed ? MEASURED_MAX : 0, .measured_max_ms = c->config.measured_ns / 1000000,
        .poison = c->config.poison,
    };
    fm_cell_to_spec(&c->config.cell[p->cell], &q->cell);
}

/* a fresh worker for each probe: whatever happens to it costs this probe alone */
static fm_status call_worker(struct fm_campaign *c, const struct fm_request *request, struct fm_reply *reply, struct fm_err *err)
{
    const struct fm_session *s = c->config.session;
    struct fm_worker *worker = NULL;
    struct fm_err why = { 0 };
    fm_reply_init(reply);
    if (fm_session_worker(s, &worker, &why) != FM_OK) {
        reply->outcome = FM_OUTCOME_crash;
        (void)snprintf(reply->reason, sizeof reply->reason, "%.230s", why.text);
        return FM_OK;
    }
    fm_status status = fm_worker_call(worker, request, fm_now_ns(fm_clock_system()) + c->config.deadline_ns, s->config.cancel, reply, err);
    fm_worker_stop(worker);
    return status;
}

static void account(struct fm_campaign *c, const struct probe *p, const struct fm_reply *reply, int64_t wall_ns)
{
    c->totals.probes++;
    c->state[p->cell].probes[p->role]++;
    c->progress.probes++;
    if (reply->outcome == FM_OUTCOME_oom_device) c->progress.ooms++;
    else if (reply->outcome != FM_OUTCOME_ok && reply->outcome != FM_OUTCOME_nonfinite) c->progress.failures++;
    if (reply->wall_ns > reply->setup_ns) c->totals.steps_ns += reply->wall_ns - reply->setup_ns;
    double n = c->totals.probes;
    c->probe_ns_mean += ((double)wall_ns - c->probe_ns_mean) / n;
}

static fm_status execute(struct fm_campaign *c, const struct probe *p, struct fm_shown *out, struct fm_err *err)
{
    const struct fm_cell *cell = &c->config.cell[p->cell];
    struct fm_reply *reply = fm_calloc(1, sizeof *reply);
    struct fm_request request = { 0 };
    struct fm_planned planned;
    fm_status status = reply ? FM_OK : FM_FAIL(err, FM_NOMEM, "a probe");
    if (status == FM_OK)
        status = fm_session_plan(c->config.session, cell, (struct fm_cell_batch){ .train = p->batch, .val = p->val_batch }, &planned, err);
    if (status == FM_OK) status = put(c, fm_record_start(cell, p->batch, p->val_batch, role_name[p->role], p->launch), err);
    if (status == FM_OK) {
        tell_progress(c, cell, p->batch, NULL);
        int64_t before = fm_now_ns(c->config.clock);
        fill_request(c, p, &planned, &request);
        status = call_worker(c, &request, reply, err);
        if (status == FM_OK) {
            account(c, p, reply, fm_now_ns(c->config.clock) - before);
            tell_progress(c, cell, p->batch, fm_outcome_name(reply->outcome));
            status = put_rows(c, p, &planned, reply, err);
        }
    }
    if (status == FM_OK) {
        *out = (struct fm_shown){ .cell_id = c->state[p->cell].id, .train_id = c->state[p->cell].train_id, .batch = p->batch,
                               .val_batch = p->val_batch, .launch = p->launch, .outcome = reply->outcome,
                               .failed_in_val = reply->failed_in_val,
                               .samples_per_s = fm_reply_samples_per_s(reply, fm_cell_samples(cell, p->batch)) };
        status = fm_shown_add(c, out, err);
    }
    if (reply) fm_reply_release(reply);
    fm_free(reply);
    return status;
}

/* ---- stage 1: boundaries ---- */

static enum fm_search_outcome to_search(enum fm_outcome outcome)
{
    switch (outcome) {
    case FM_OUTCOME_ok: return FM_SEARCH_FIT;
    case FM_OUTCOME_nonfinite: return FM_SEARCH_NONFINITE;
    case FM_OUTCOME_oom_device: return FM_SEARCH_OOM_DEVICE;
    case FM_OUTCOME_oom_host: return FM_SEARCH_OOM_HOST;
    case FM_OUTCOME_unsupported: return FM_SEARCH_UNSUPPORTED;
    case FM_OUTCOME_timeout: return FM_SEARCH_TIMEOUT;
    case FM_OUTCOME_crash: return FM_SEARCH_CRASH;
    default: return FM_SEARCH_PROTOCOL;
    }
}

/* Runs a search to its end. train_batch 0: the training batch is searched, validation follows by the cell's rule;
 * otherwise the validation batch is searched beside that training batch. */
static fm_status search_batches(struct fm_campaign *c, size_t index, struct fm_search *search, int64_t train_batch, struct fm_err *err)
{
    struct fm_cell_state *s = &c->state[index];
    fm_status status = FM_OK;
    int64_t batch;
    uint32_t launch = 1;
    while (status == FM_OK && (batch = fm_search_next(search)) != FM_SEARCH_DONE) {
        struct probe p = { .cell = index, .role = BOUNDARY, .batch = train_batch ? train_batch : batch, .launch = launch };
        p.val_batch = train_batch ? batch : fm_cell_val_batch(&c->config.cell[index], batch);
        p.timed = !train_batch && !fm_shown_timed(c, s->train_id, p.batch, 1);
        struct fm_shown fresh;
        const struct fm_shown *shown = fm_shown_find(c, s->id, p.batch, p.val_batch, launch);
        if (!shown && (shown = fm_shown_shared(c, s, p.batch)) != NULL) c->totals.shared++;
        if (!shown) {
            if (!time_for(c, c->probe_ns_mean)) {
                s->skipped = true;
                return FM_OK;
            }
            status = execute(c, &p, &fresh, err);
            shown = &fresh;
        }
        if (status != FM_OK) break;
        if (shown->outcome == FM_OUTCOME_oom_device && !train_batch) s->limited_by_val = shown->failed_in_val;
        /* a second try of the same batch is another launch */
        bool tried = shown->outcome == FM_OUTCOME_timeout || shown->outcome == FM_OUTCOME_crash || shown->outcome == FM_OUTCOME_protocol;
        launch = tried ? launch + 1 : 1;
        status = fm_search_tell(search, &(struct fm_search_probe){ .batch = batch, .outcome = to_search(shown->outcome) }, err);
    }
    return status;
}

static fm_status search_cell(struct fm_campaign *c, size_t index, struct fm_err *err)
{
    const struct fm_cell *cell = &c->config.cell[index];
    struct fm_cell_state *s = &c->state[index];
    struct fm_search_config config = { .method = c->config.search, .max_batch = c->config.max_batch, .finish = true,
                                       .planned_batch = FM_SEARCH_UNKNOWN };
    struct fm_plan_max_answer plan = { .max_batch = FM_SEARCH_UNKNOWN };
    struct fm_err why = { 0 };
    fm_status status = fm_session_max_batch(c->config.session, cell, c->config.max_batch, 0, &plan, &why);
    if (status == FM_UNSUPPORTED || status == FM_INVALID) {
        s->early = FM_OUTCOME_unsupported;
        (void)snprintf(s->reason, sizeof s->reason, "%.230s", why.text);
        s->searched = true;
        return FM_OK;
    }
    if (status != FM_OK) return FM_FAIL(err, status, "%s", why.text);
    s->planned_batch = plan.max_batch;
    s->planned_gap = plan.misfit_below > 0;
    if (c->config.search == FM_SEARCH_PLAN) config.planned_batch = plan.max_batch;
    status = fm_search_init(&s->search, &config, err);
    if (status == FM_OK) status = search_batches(c, index, &s->search, 0, err);
    struct fm_search_result r;
    fm_search_result(&s->search, &r);
    if (status != FM_OK || s->skipped) return status;
    if (strcmp(cell->value[FM_STRATEGY_VAL_BATCH], "max") == 0 && r.state == FM_SEARCH_CERTIFIED && r.max_batch > 0) {
        s->val_searched = true;
        status = fm_session_max_batch(c->config.session, cell, c->config.max_batch, r.max_batch, &plan, err);
        if (status != FM_OK) return status;
        config.planned_batch = c->config.search == FM_SEARCH_PLAN ? plan.max_batch : FM_SEARCH_UNKNOWN;
        status = fm_search_init(&s->val_search, &config, err);
        if (status == FM_OK) status = search_batches(c, index, &s->val_search, r.max_batch, err);
    }
    s->searched = status == FM_OK && !s->skipped;
    return status;
}

static fm_status put_verdict(struct fm_campaign *c, size_t index, struct fm_err *err)
{
    struct fm_cell_state *s = &c->state[index];
    struct fm_verdict v = { .cell = &c->config.cell[index], .val_searched = s->val_searched, .limited_by_val = s->limited_by_val,
                            .planned_batch = s->planned_batch, .planned_gap = s->planned_gap, .search = fm_search_method_name(c->config.search), .reason = s->reason,
                            .mistrusted = s->mistrusted };
    memcpy(v.probes, s->probes, sizeof v.probes);
    if (s->early == FM_OUTCOME_unsupported) {
        v.train = (struct fm_search_result){ .state = FM_SEARCH_UNCERTIFIED, .outcome = FM_SEARCH_UNSUPPORTED, .fits_batch = FM_SEARCH_UNKNOWN,
                                             .max_batch = FM_SEARCH_UNKNOWN, .raw_answer = FM_SEARCH_UNKNOWN };
    } else {
        fm_search_result(&s->search, &v.train);
        if (s->val_searched) fm_search_result(&s->val_search, &v.val);
    }
    return put(c, fm_record_verdict(&v), err);
}

static fm_status skip(struct fm_campaign *c, size_t index, const char *what, struct fm_err *err)
{
    c->totals.skipped++;
    return put(c, fm_record_skipped(&c->config.cell[index], what, "time budget"), err);
}

static fm_status boundaries(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    c->progress.stage = role_name[BOUNDARY];
    for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
        if (cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
        if (!c->state[i].recorded)
            status = put(c, fm_record_cell(c->config.session, &c->config.cell[i], c->config.reproduce[i], err), err);
        c->state[i].recorded = true;
        if (status == FM_OK) status = search_cell(c, i, err);
        if (status == FM_OK) status = c->state[i].searched ? put_verdict(c, i, err) : skip(c, i, "boundary", err);
    }
    return status;
}

/* ---- stages 2 and 3: the throughput curve ---- */

/* largest training batch a cell is known to run; 0: none */
static int64_t top_batch(const struct fm_cell_state *s)
{
    struct fm_search_result r;
    if (!s->searched || s->early == FM_OUTCOME_unsupported) return 0;
    fm_search_result(&s->search, &r);
    int64_t batch = r.state == FM_SEARCH_CERTIFIED ? r.max_batch : r.fits_batch;
    return batch > 0 ? batch : 0;
}

/* largest among the cells that share this training */
static int64_t shared_top(const struct fm_campaign *c, size_t leader)
{
    int64_t top = 0;
    for (size_t i = leader; i < c->config.cells; i++)
        if (c->state[i].leader == leader && top_batch(&c->state[i]) > top) top = top_batch(&c->state[i]);
    return top;
}

/* one timed launch, unless it was made already; of the ladder with validation, so that the memory of each point is known */
static fm_status time_point(struct fm_campaign *c, size_t leader, int64_t batch, enum role role, uint32_t launch, struct fm_err *err)
{
    struct probe p = { .cell = leader, .batch = batch, .role = role, .launch = launch, .timed = true };
    struct fm_shown shown;
    if (role == LADDER) p.val_batch = fm_cell_val_batch(&c->config.cell[leader], batch);
    if (fm_shown_timed(c, c->state[leader].train_id, batch, launch)) return FM_OK;
    if (fm_shown_find(c, c->state[leader].id, batch, p.val_batch, launch)) return FM_OK;    /* it ran and gave no time */
    if (!time_for(c, c->probe_ns_mean)) return skip(c, leader, role_name[role], err);
    return execute(c, &p, &shown, err);
}

static fm_status ladders(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    c->progress.stage = role_name[LADDER];
    for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
        if (cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
        int64_t batch[FM_LADDER_CAPACITY];
        size_t n = c->state[i].leader == i ? fm_ladder(shared_top(c, i), NULL, 0, batch) : 0;
        for (size_t k = n; k-- > 0 && status == FM_OK;) status = time_point(c, i, batch[k], LADDER, 1, err);
    }
    return status;
}

static int64_t knee_of(const struct fm_campaign *c, size_t leader)
{
    struct fm_knee_point point[POINTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c->shown_count && n < POINTS_MAX; i++) {
        const struct fm_shown *s = &c->shown[i];
        if (s->train_id == c->state[leader].train_id && s->launch == 1 && isfinite(s->samples_per_s))
            point[n++] = (struct fm_knee_point){ .batch = s->batch, .samples_per_s = s->samples_per_s };
    }
    return fm_knee(point, n, FM_KNEE_TOLERANCE);
}

/* launch by launch over all cells, so that a drift of the machine meets all alike */
static fm_status replications(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    c->progress.stage = role_name[REPLICATE];
    for (uint32_t launch = 2; launch <= c->config.launches; launch++) {
        for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
            if (cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
            int64_t top = c->state[i].leader == i ? shared_top(c, i) : 0, knee = top ? knee_of(c, i) : 0;
            if (knee) status = time_point(c, i, knee, REPLICATE, launch, err);
            if (status == FM_OK && top && top != knee) status = time_point(c, i, top, REPLICATE, launch, err);
        }
    }
    return status;
}

/* ---- does it learn? ---- */

/* once for each training: one batch again and again, dropout off; the loss must fall */
static fm_status learn_cell(struct fm_campaign *c, size_t leader, struct fm_err *err)
{
    const struct fm_cell *cell = &c->config.cell[leader];
    int64_t top = shared_top(c, leader);
    struct fm_cell_batch batch = { .train = top < FM_SMALL_BATCH ? top : FM_SMALL_BATCH, .fixed_batch = true };
    struct fm_planned planned;
    struct fm_request q;
    struct fm_reply *reply = fm_calloc(1, sizeof *reply);
    fm_status status = reply ? fm_session_plan(c->config.session, cell, batch, &planned, err) : FM_FAIL(err, FM_NOMEM, "a probe");
    if (status == FM_OK && planned.plan.fits) {
        struct probe p = { .cell = leader, .batch = batch.train, .timed = true };
        fill_request(c, &p, &planned, &q);
        q.fixed_batch = true;
        q.measured_min = q.measured_max = LEARN_STEPS;
        q.measured_max_ms = c->config.deadline_ns / 1000000;
        status = call_worker(c, &q, reply, err);
        if (status == FM_OK && reply->wall_ns > reply->setup_ns) c->totals.steps_ns += reply->wall_ns - reply->setup_ns;
        bool learned = reply->outcome == FM_OUTCOME_ok && reply->train.loss_last < reply->train.loss_first;
        if (status == FM_OK) status = put(c, fm_record_learn(cell, batch.train, reply, learned), err);
        for (size_t i = leader; i < c->config.cells; i++)
            if (c->state[i].leader == leader && !learned && status == FM_OK) c->state[i].mistrusted = true;
    }
    if (reply) fm_reply_release(reply);
    fm_free(reply);
    return status;
}

static fm_status learning(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    c->progress.stage = "learning";
    for (size_t i = 0; i < c->config.cells && status == FM_OK && c->config.learn; i++) {
        if (c->state[i].leader != i || c->state[i].learn_checked || !shared_top(c, i)) continue;
        if (!time_for(c, c->probe_ns_mean)) {
            status = skip(c, i, "learning check", err);
            continue;
        }
        status = learn_cell(c, i, err);
        for (size_t k = i; k < c->config.cells && status == FM_OK; k++)
            if (c->state[k].leader == i && c->state[k].mistrusted) status = put_verdict(c, k, err);
    }
    return status;
}

/* ---- the campaign ---- */

struct fm_campaign *fm_campaign_new(const struct fm_campaign_config *config, struct fm_err *err)
{
    struct fm_campaign *c = fm_calloc(1, sizeof *c);
    if (c) c->state = fm_calloc(config->cells + 1, sizeof *c->state);
    if (!c || !c->state) {
        fm_free(c);
        (void)FM_FAIL(err, FM_NOMEM, "a campaign of %zu cells", config->cells);
        return NULL;
    }
    c->config = *config;
    c->progress = (struct fm_progress){ .device = config->session->device->device_id, .cells = config->cells };
    for (size_t i = 0; i < config->cells; i++) {
        struct fm_cell_state *s = &c->state[i];
        *s = (struct fm_cell_state){ .id = fm_cell_id(&config->cell[i]), .train_id = fm_cell_train_id(&config->cell[i]), .leader = i,
                                  .planned_batch = FM_SEARCH_UNKNOWN, .early = FM_OUTCOME_ok };
        for (size_t k = 0; k < i && s->leader == i; k++)
            if (c->state[k].train_id == s->train_id) s->leader = k;
    }
    return c;
}

void fm_campaign_free(struct fm_campaign *c)
{
    if (!c) return;
    fm_free(c->state);
    fm_free(c->shown);
    fm_free(c);
}

fm_status fm_campaign_run(struct fm_campaign *c, struct fm_err *err)
{
    c->start_ns = fm_now_ns(c->config.clock);
    fm_status status = boundaries(c, err);
    if (status == FM_OK) status = learning(c, err);
    if (status == FM_OK) status = ladders(c, err);
    if (status == FM_OK) status = replications(c, err);
    c->totals.wall_ns = elapsed(c);
    return status;
}

struct fm_campaign_totals fm_campaign_totals(const struct fm_campaign *c) { return c->totals; }
