#include "tuner/campaign/campaign_internal.h"

#include "probes/worker/cell_spec.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MEASURED_MIN 3
#define MEASURED_MAX 200
#define RELATIVE_ERROR 0.01

const char *const fm_role_name[FM_ROLE_COUNT] = { "boundary", "ladder", "replicate" };

/* ---- small things ---- */

bool fm_campaign_cancelled(const struct fm_campaign *c)
{
    return c->config.session->config.cancel && atomic_load(c->config.session->config.cancel);
}

static int64_t elapsed(const struct fm_campaign *c) { return fm_now_ns(c->config.clock) - c->start_ns; }

bool fm_campaign_has_time(struct fm_campaign *c)
{
    if (!c->config.time_budget_ns) return true;
    if ((double)elapsed(c) + c->probe_ns_mean <= (double)c->config.time_budget_ns) return true;
    c->out_of_time = true;
    return false;
}

/* names the device, since others may run the same cell */
fm_status fm_campaign_put(struct fm_campaign *c, cJSON *record, struct fm_err *err)
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

fm_status fm_campaign_skip(struct fm_campaign *c, size_t index, const char *what, const char *reason, struct fm_err *err)
{
    c->totals.skipped++;
    return fm_campaign_put(c, fm_record_skipped(&c->config.cell[index], what, reason), err);
}

static void tell_progress(struct fm_campaign *c, const struct fm_cell *cell, int64_t batch, const char *last)
{
    if (!c->config.progress) return;
    c->progress.cell = cell;
    c->progress.cell_index = (size_t)(cell - c->config.cell);
    c->progress.batch = batch;
    c->progress.last = last;
    c->progress.left_ns = -1;
    if (c->config.time_budget_ns) {
        int64_t left = c->config.time_budget_ns - elapsed(c);
        c->progress.left_ns = left > 0 ? left : 0;
    }
    c->config.progress(c->config.context, &c->progress);
}

/* ---- one probe ---- */

/* both rows of a probe in one journal line: a kill never splits them */
static fm_status put_rows(struct fm_campaign *c, const struct fm_probe *p, const struct fm_planned *planned, const struct fm_reply *reply,
                          struct fm_err *err)
{
    struct fm_row row = { .cell = &c->config.cell[p->cell], .batch = p->batch, .val_batch = p->val_batch, .role = fm_role_name[p->role],
                          .launch = p->launch, .planned = planned, .reply = reply,
                          .outcome = reply->failed_in_val ? FM_OUTCOME_ok : reply->outcome };
    cJSON *rows = cJSON_CreateArray(), *one = rows ? fm_record_row(&row) : NULL;
    bool good = one && cJSON_AddItemToArray(rows, one);
    if (good && reply->val.known) {
        row.val = true;
        row.outcome = reply->failed_in_val ? reply->outcome : FM_OUTCOME_ok;
        one = fm_record_row(&row);
        good = one && cJSON_AddItemToArray(rows, one);
    }
    if (good) return fm_campaign_put(c, rows, err);
    cJSON_Delete(rows);
    return FM_FAIL(err, FM_NOMEM, "rows of a probe");
}

void fm_campaign_request(const struct fm_campaign *c, const struct fm_probe *p, const struct fm_planned *planned, struct fm_request *q)
{
    *q = (struct fm_request){
        .id = 1, .kind = FM_REQUEST_PROBE, .batch = p->batch, .val_batch = p->val_batch, .program = planned->program,
        .memory_bytes = c->config.session->capacity_bytes, .seed = c->config.seed, .deadline_ms = c->config.deadline_ns / 1000000,
        .train_steps = planned->plan.train_steps, .val_steps = planned->plan.val_steps,
        .tail_steps = planned->plan.tail_steps, .relative_error = RELATIVE_ERROR,
        .measured_min = MEASURED_MIN, .measured_max = p->timed ? MEASURED_MAX : 0, .measured_max_ms = c->config.measured_ns / 1000000,
        .poison = c->config.poison, .shared = c->config.shared,
    };
    fm_cell_to_spec(&c->config.cell[p->cell], &q->cell);
}

/* a fresh worker for each probe: whatever happens to it costs this probe alone */
fm_status fm_campaign_call(struct fm_campaign *c, const struct fm_request *request, struct fm_reply *reply, struct fm_err *err)
{
    const struct fm_session *s = c->config.session;
    struct fm_worker *worker = NULL;
    struct fm_err why = { 0 };
    fm_reply_init(reply);
    fm_status status = fm_session_worker(s, &worker, &why);
    if (status == FM_NOMEM) return FM_FAIL(err, status, "%s", why.text);
    if (status != FM_OK) {
        reply->outcome = FM_OUTCOME_crash;
        (void)snprintf(reply->reason, sizeof reply->reason, "%.230s", why.text);
        return FM_OK;
    }
    status = fm_worker_call(worker, request, fm_now_ns(fm_clock_system()) + c->config.deadline_ns, s->config.cancel, reply, err);
    fm_worker_stop(worker);
    return status;
}

static void account(struct fm_campaign *c, const struct fm_probe *p, const struct fm_reply *reply, int64_t wall_ns)
{
    c->totals.probes++;
    c->state[p->cell].probes[p->role]++;
    c->state[p->cell].dirty = true;
    c->progress.probes++;
    if (reply->outcome == FM_OUTCOME_oom_device) c->progress.ooms++;
    else if (reply->outcome != FM_OUTCOME_ok && reply->outcome != FM_OUTCOME_nonfinite) c->progress.failures++;
    if (reply->wall_ns > reply->setup_ns) c->totals.steps_ns += reply->wall_ns - reply->setup_ns;
    double n = c->totals.probes;
    c->probe_ns_mean += ((double)wall_ns - c->probe_ns_mean) / n;
}

static fm_status run_probe(struct fm_campaign *c, const struct fm_probe *p, const struct fm_planned *planned, struct fm_shown *out,
                           struct fm_err *err)
{
    const struct fm_cell *cell = &c->config.cell[p->cell];
    struct fm_request request;
    struct fm_reply *reply = fm_calloc(1, sizeof *reply);
    if (!reply) return FM_FAIL(err, FM_NOMEM, "a probe");
    tell_progress(c, cell, p->batch, NULL);
    int64_t before = fm_now_ns(c->config.clock);
    fm_campaign_request(c, p, planned, &request);
    fm_status status = fm_campaign_call(c, &request, reply, err);
    if (status == FM_OK) {
        account(c, p, reply, fm_now_ns(c->config.clock) - before);
        tell_progress(c, cell, p->batch, fm_outcome_name(reply->outcome));
        status = put_rows(c, p, planned, reply, err);
    }
    if (status == FM_OK) {
        *out = (struct fm_shown){ .cell_id = c->state[p->cell].id, .train_id = c->state[p->cell].train_id, .batch = p->batch,
                               .val_batch = p->val_batch, .launch = p->launch, .outcome = reply->outcome,
                               .failed_in_val = reply->failed_in_val, .disturbed = reply->below_limit, .reached_val = reply->val.known,
                               .samples_per_s = fm_reply_samples_per_s(reply, fm_cell_samples(cell, p->batch)) };
        (void)snprintf(out->reason, sizeof out->reason, "%s", reply->reason);
        status = fm_shown_add(c, out, err);
    }
    fm_reply_release(reply);
    fm_free(reply);
    return status;
}

enum fm_outcome fm_campaign_plan_outcome(const struct fm_campaign *c, fm_status status)
{
    if (status == FM_UNSUPPORTED || status == FM_INVALID) return FM_OUTCOME_unsupported;
    enum fm_outcome asked = c->config.session->question_outcome;
    return status == FM_FAILED && asked != FM_OUTCOME_ok ? asked : FM_OUTCOME_COUNT;
}

fm_status fm_campaign_execute(struct fm_campaign *c, const struct fm_probe *p, struct fm_shown *out, struct fm_err *err)
{
    const struct fm_cell *cell = &c->config.cell[p->cell];
    struct fm_planned planned;
    struct fm_err why = { 0 };
    if (fm_campaign_cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
    fm_status status = fm_session_plan(c->config.session, cell, (struct fm_cell_batch){ .train = p->batch, .val = p->val_batch }, &planned, &why);
    if (status != FM_OK) {
        enum fm_outcome outcome = fm_campaign_plan_outcome(c, status);
        if (outcome == FM_OUTCOME_COUNT) return FM_FAIL(err, status, "%s", why.text);
        *out = (struct fm_shown){ .cell_id = c->state[p->cell].id, .outcome = outcome, .samples_per_s = NAN };
        (void)snprintf(out->reason, sizeof out->reason, "%.230s", why.text);
        return FM_OK;
    }
    status = fm_campaign_put(c, fm_record_start(cell, p->batch, p->val_batch, fm_role_name[p->role], p->launch), err);
    return status == FM_OK ? run_probe(c, p, &planned, out, err) : status;
}
