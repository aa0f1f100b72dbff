#include "tuner/campaign/campaign_internal.h"

#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"
#include "tuner/search/ladder.h"

#include <math.h>
#include <stdio.h>

#define LEARN_STEPS 20
#define LEARN_TRIES 2               /* an answer that says nothing is asked for once more */
#define POINTS_MAX (FM_SEARCH_CAPACITY + FM_LADDER_CAPACITY)

/* ---- the throughput curve ---- */

/* largest training batch a cell is known to run; 0: none */
static int64_t top_batch(const struct fm_cell_state *s)
{
    struct fm_search_result r;
    if (!s->searched || s->early != FM_OUTCOME_ok) return 0;
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

/* a misfit of the ladder or a replication: what does it mean for the cells of this training? */
static fm_status heed(struct fm_campaign *c, size_t leader, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = leader; i < c->config.cells && status == FM_OK; i++)
        if (c->state[i].leader == leader && c->state[i].searched && c->state[i].early == FM_OUTCOME_ok)
            status = fm_campaign_search_on(c, i, err);
    return status;
}

/* one timed launch, unless it was made already; of the ladder with validation, so that the memory of each point is known */
static fm_status time_point(struct fm_campaign *c, size_t leader, int64_t batch, enum fm_role role, uint32_t launch, struct fm_err *err)
{
    struct fm_probe p = { .cell = leader, .batch = batch, .role = role, .launch = launch, .timed = true };
    struct fm_shown shown;
    if (role == FM_ROLE_LADDER) p.val_batch = fm_cell_val_batch(&c->config.cell[leader], batch);
    if (fm_shown_timed(c, c->state[leader].train_id, batch, launch)) return FM_OK;
    if (fm_shown_find(c, c->state[leader].id, batch, p.val_batch, launch)) return FM_OK;    /* it ran and gave no time */
    if (!fm_campaign_has_time(c)) return fm_campaign_skip(c, leader, fm_role_name[role], "time budget", err);
    uint32_t before = c->totals.probes;
    fm_status status = fm_campaign_execute(c, &p, &shown, err);
    if (status == FM_OK && c->totals.probes == before) return fm_campaign_skip(c, leader, fm_role_name[role], shown.reason, err);
    return status == FM_OK && shown.outcome == FM_OUTCOME_oom_device ? heed(c, leader, err) : status;
}

fm_status fm_campaign_ladders(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
        if (fm_campaign_cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
        int64_t batch[FM_LADDER_CAPACITY];
        size_t n = c->state[i].leader == i ? fm_ladder(shared_top(c, i), NULL, 0, batch) : 0;
        for (size_t k = n; k-- > 0 && status == FM_OK;) {
            c->progress.stage = fm_role_name[FM_ROLE_LADDER];
            status = time_point(c, i, batch[k], FM_ROLE_LADDER, 1, err);
        }
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
fm_status fm_campaign_replications(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (uint32_t launch = 2; launch <= c->config.launches; launch++) {
        for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
            if (fm_campaign_cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
            int64_t top = c->state[i].leader == i ? shared_top(c, i) : 0, knee = top ? knee_of(c, i) : 0;
            c->progress.stage = fm_role_name[FM_ROLE_REPLICATE];
            if (knee) status = time_point(c, i, knee, FM_ROLE_REPLICATE, launch, err);
            if (status == FM_OK && top && top != knee) status = time_point(c, i, top, FM_ROLE_REPLICATE, launch, err);
        }
    }
    return status;
}

/* ---- does it learn? ---- */

static bool says_something(enum fm_outcome outcome)
{
    return outcome != FM_OUTCOME_crash && outcome != FM_OUTCOME_timeout && outcome != FM_OUTCOME_protocol;
}

static fm_status ask_learning(struct fm_campaign *c, size_t leader, const struct fm_planned *planned, int64_t batch, struct fm_err *err)
{
    struct fm_probe p = { .cell = leader, .batch = batch, .timed = true };
    struct fm_request q;
    fm_status status = FM_OK;
    struct fm_reply *reply = fm_calloc(1, sizeof *reply);
    if (!reply) return FM_FAIL(err, FM_NOMEM, "a probe");
    fm_campaign_request(c, &p, planned, &q);
    q.fixed_batch = true;
    q.measured_min = q.measured_max = LEARN_STEPS;
    q.measured_max_ms = c->config.deadline_ns / 1000000;
    for (int i = 0; i < LEARN_TRIES && status == FM_OK; i++) {
        status = fm_campaign_call(c, &q, reply, err);
        if (says_something(reply->outcome)) break;
    }
    if (status == FM_OK && reply->wall_ns > reply->setup_ns) c->totals.steps_ns += reply->wall_ns - reply->setup_ns;
    bool learned = reply->outcome == FM_OUTCOME_ok && reply->train.loss_last < reply->train.loss_first;
    if (status == FM_OK) status = fm_campaign_put(c, fm_record_learn(&c->config.cell[leader], batch, reply, learned), err);
    for (size_t i = leader; i < c->config.cells && status == FM_OK; i++) {
        if (c->state[i].leader != leader || learned) continue;
        c->state[i].mistrusted = true;
        if (c->state[i].searched) status = fm_campaign_put_verdict(c, i, err);
    }
    fm_reply_release(reply);
    fm_free(reply);
    return status;
}

/* once for each training: one batch again and again, dropout off; the loss must fall */
static fm_status learn_cell(struct fm_campaign *c, size_t leader, struct fm_err *err)
{
    int64_t top = shared_top(c, leader);
    struct fm_cell_batch batch = { .train = top < FM_SMALL_BATCH ? top : FM_SMALL_BATCH, .fixed_batch = true };
    struct fm_planned planned;
    struct fm_err why = { 0 };
    fm_status status = fm_session_plan(c->config.session, &c->config.cell[leader], batch, &planned, &why);
    if (status != FM_OK && fm_campaign_plan_outcome(c, status) == FM_OUTCOME_COUNT) return FM_FAIL(err, status, "%s", why.text);
    if (status != FM_OK) return fm_campaign_skip(c, leader, "learning check", why.text, err);
    if (!planned.plan.fits) return fm_campaign_skip(c, leader, "learning check", "by the plan the learning check does not fit", err);
    return ask_learning(c, leader, &planned, batch.train, err);
}

fm_status fm_campaign_learning(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < c->config.cells && status == FM_OK && c->config.learn; i++) {
        if (c->state[i].leader != i || c->state[i].learn_checked || !shared_top(c, i)) continue;
        if (fm_campaign_cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
        status = fm_campaign_has_time(c) ? learn_cell(c, i, err) : fm_campaign_skip(c, i, "learning check", "time budget", err);
    }
    return status;
}
