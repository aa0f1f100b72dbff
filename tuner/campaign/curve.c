#include "tuner/campaign/campaign_internal.h"

#include "probes/measure/knee.h"
#include "tuner/base/buf.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"
#include "tuner/search/ladder.h"

#include <math.h>
#include <stdio.h>

#define LEARN_STEPS 20
#define LEARN_TRIES 2               /* an answer that says nothing is asked for once more */

/* ---- the throughput curve ---- */

/* largest training batch a cell is known to run; 0: none */
static int64_t top_batch(const struct fm_cell_state *s)
{
    struct fm_search_result r;
    if (!s->begun || s->early != FM_OUTCOME_ok) return 0;
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

/* for each cell of this training that has a figure */
static fm_status skip_all(struct fm_campaign *c, size_t leader, const char *what, const char *reason, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = leader; i < c->config.cells && status == FM_OK; i++)
        if (c->state[i].leader == leader && top_batch(&c->state[i])) status = fm_campaign_skip(c, i, what, reason, err);
    return status;
}

/* a misfit of the ladder or a replication: what does it mean for the cells of this training? */
static fm_status heed(struct fm_campaign *c, size_t leader, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = leader; i < c->config.cells && status == FM_OK; i++) {
        struct fm_cell_state *s = &c->state[i];
        if (s->leader != leader || !s->searched || s->early != FM_OUTCOME_ok) continue;
        bool before = s->skipped;
        status = fm_campaign_search_on(c, i, err);
        if (status == FM_OK && s->skipped && !before) status = fm_campaign_skip(c, i, FM_UNCERTIFIED, FM_NO_TIME, err);
    }
    return status;
}

/* Of the ladder with validation, so that the memory of each point is known: the validation of a cell that fits there. */
static struct fm_probe point_probe(const struct fm_campaign *c, size_t leader, int64_t batch, enum fm_role role, uint32_t launch)
{
    struct fm_probe p = { .cell = leader, .batch = batch, .role = role, .launch = launch, .timed = true };
    if (role != FM_ROLE_LADDER) return p;
    for (size_t i = c->config.cells; i-- > leader;)
        if (c->state[i].leader == leader && top_batch(&c->state[i]) >= batch) p.cell = i;
    p.val_batch = fm_cell_val_batch(&c->config.cell[p.cell], batch);
    return p;
}

/* was it made already, be it that it ran and gave no time? */
static bool is_made(const struct fm_campaign *c, const struct fm_probe *p)
{
    const struct fm_cell_state *s = &c->state[p->cell];
    return fm_shown_timed(c, s->train_id, p->batch, p->launch) || fm_shown_find(c, s->id, p->batch, p->val_batch, p->launch);
}

static fm_status time_point(struct fm_campaign *c, const struct fm_probe *p, struct fm_err *err)
{
    struct fm_shown shown;
    size_t leader = c->state[p->cell].leader;
    uint32_t before = c->totals.probes;
    c->progress.stage = fm_role_name[p->role];
    fm_status status = fm_campaign_execute(c, p, &shown, err);
    if (status == FM_OK && c->totals.probes == before) return skip_all(c, leader, fm_role_name[p->role], shown.reason, err);
    return status == FM_OK && shown.outcome == FM_OUTCOME_oom_device ? heed(c, leader, err) : status;
}

/* which of the ladder's batches, as far as they are of use to the cell, were left out? */
static fm_status say_ladder(struct fm_campaign *c, size_t index, const int64_t *batch, size_t n, struct fm_err *err)
{
    struct fm_buf what = FM_BUF(1024);
    for (size_t k = 0; k < n; k++) {
        struct fm_probe p = point_probe(c, c->state[index].leader, batch[k], FM_ROLE_LADDER, 1);
        if (batch[k] > top_batch(&c->state[index]) || is_made(c, &p)) continue;
        fm_buf_printf(&what, "%s%lld", what.bytes ? ", " : "ladder at batch ", (long long)batch[k]);
    }
    fm_status status = fm_buf_ok(&what) ? FM_OK : FM_FAIL(err, FM_NOMEM, "what was left out");
    if (status == FM_OK && what.bytes) status = fm_campaign_skip(c, index, fm_buf_text(&what), FM_NO_TIME, err);
    fm_buf_release(&what);
    return status;
}

static fm_status ladder(struct fm_campaign *c, size_t leader, struct fm_err *err)
{
    int64_t batch[FM_LADDER_CAPACITY];
    size_t n = fm_ladder(shared_top(c, leader), NULL, 0, batch);
    fm_status status = FM_OK;
    bool cut = false;
    for (size_t k = n; k-- > 0 && status == FM_OK;) {
        struct fm_probe p = point_probe(c, leader, batch[k], FM_ROLE_LADDER, 1);
        /* what the ladder itself showed may have moved the boundary */
        if (batch[k] > shared_top(c, leader) || is_made(c, &p)) continue;
        if (fm_campaign_has_time(c)) status = time_point(c, &p, err);
        else cut = true;
    }
    for (size_t i = leader; i < c->config.cells && status == FM_OK && cut; i++)
        if (c->state[i].leader == leader && top_batch(&c->state[i])) status = say_ladder(c, i, batch, n, err);
    return status;
}

fm_status fm_campaign_ladders(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
        if (fm_campaign_cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
        if (c->state[i].leader == i) status = ladder(c, i, err);
    }
    return status;
}

/* ---- replications ---- */

static bool is_point(const struct fm_shown *s, uint64_t train_id)
{
    return s->train_id == train_id && s->outcome == FM_OUTCOME_ok && isfinite(s->samples_per_s);
}

/* did the cell's own probe of this batch not fit? A validation that is searched alone may, next to one that does. */
static bool misfits(const struct fm_campaign *c, uint64_t id, int64_t batch)
{
    for (size_t i = 0; i < c->shown_count; i++) {
        const struct fm_shown *s = &c->shown[i];
        if (s->cell_id != id || s->batch != batch || s->outcome != FM_OUTCOME_oom_device) continue;
        bool smaller = false;
        for (size_t k = 0; k < c->shown_count && s->failed_in_val; k++) {
            const struct fm_shown *o = &c->shown[k];
            smaller = smaller || (o->cell_id == id && o->batch == batch && o->outcome == FM_OUTCOME_ok && o->val_batch > 0 &&
                                  o->val_batch < s->val_batch);
        }
        if (!smaller) return true;
    }
    return false;
}

/* The knee of a cell as the results show it: over the medians of launches, among the batches that it may claim
 * (results/fold.h). 0: nothing was timed. */
static fm_status knee_of(const struct fm_campaign *c, size_t index, int64_t *knee, struct fm_err *err)
{
    const struct fm_cell_state *s = &c->state[index];
    struct fm_knee_point *point = fm_calloc(c->shown_count, sizeof *point);
    double *rate = fm_calloc(c->shown_count, sizeof *rate);
    size_t points = 0;
    for (size_t i = 0; i < c->shown_count && point && rate; i++) {
        int64_t batch = c->shown[i].batch;
        size_t rates = 0;
        bool said = !is_point(&c->shown[i], s->train_id) || batch > top_batch(s) || misfits(c, s->id, batch);
        for (size_t k = 0; k < points && !said; k++) said = point[k].batch == batch;
        if (said) continue;
        for (size_t k = i; k < c->shown_count; k++)
            if (c->shown[k].batch == batch && is_point(&c->shown[k], s->train_id)) rate[rates++] = c->shown[k].samples_per_s;
        point[points++] = (struct fm_knee_point){ .batch = batch, .samples_per_s = fm_rate_of_launches(rate, rates) };
    }
    if (point && rate) *knee = fm_knee(point, points, FM_KNEE_TOLERANCE);
    fm_status status = point && rate ? FM_OK : FM_FAIL(err, FM_NOMEM, "a curve of %zu probes", c->shown_count);
    fm_free(rate);
    fm_free(point);
    return status;
}

/* the batches whose figures the results show of a cell: its knee, its largest; 0: none, or the same */
static fm_status figures_of(const struct fm_campaign *c, size_t index, int64_t batch[2], struct fm_err *err)
{
    batch[0] = 0;
    batch[1] = top_batch(&c->state[index]);
    fm_status status = batch[1] ? knee_of(c, index, &batch[0], err) : FM_OK;
    if (batch[0] == batch[1]) batch[0] = 0;
    return status;
}

/* launches of this training at this batch that gave a time */
static uint32_t launches_of(const struct fm_campaign *c, size_t leader, int64_t batch)
{
    uint32_t count = 0;
    for (uint32_t launch = 1; launch <= c->config.launches + 1; launch++)
        count += fm_shown_timed(c, c->state[leader].train_id, batch, launch);
    return count;
}

/* the next one to make: one that gave no time is made up for, once. 0: there is none */
static uint32_t next_launch(const struct fm_campaign *c, size_t leader, int64_t batch)
{
    for (uint32_t launch = 1; launch <= c->config.launches + 1; launch++) {
        struct fm_probe p = point_probe(c, leader, batch, FM_ROLE_REPLICATE, launch);
        if (!is_made(c, &p)) return launch;
    }
    return 0;
}

/* One pass, launch by launch over all cells, so that a drift of the machine meets all alike. What a launch shows may move a
 * knee, so figures are chosen anew each time. */
static fm_status replicate(struct fm_campaign *c, bool *ran, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (uint32_t want = 1; want <= c->config.launches; want++) {
        for (size_t i = 0; i < c->config.cells; i++) {
            int64_t batch[2];
            size_t leader = c->state[i].leader;
            FM_TRY(figures_of(c, i, batch, err));
            for (int k = 0; k < 2; k++) {
                uint32_t launch = batch[k] && launches_of(c, leader, batch[k]) < want ? next_launch(c, leader, batch[k]) : 0;
                if (!launch || !fm_campaign_has_time(c)) continue;
                uint32_t before = c->totals.probes;
                struct fm_probe p = point_probe(c, leader, batch[k], FM_ROLE_REPLICATE, launch);
                FM_TRY(time_point(c, &p, err));
                *ran = *ran || c->totals.probes != before;
            }
        }
    }
out:
    return status;
}

static fm_status say_replications(struct fm_campaign *c, size_t index, struct fm_err *err)
{
    int64_t batch[2];
    size_t leader = c->state[index].leader;
    fm_status status = figures_of(c, index, batch, err);
    for (int k = 0; k < 2 && status == FM_OK; k++) {
        char what[64];
        if (!batch[k] || launches_of(c, leader, batch[k]) >= c->config.launches || !next_launch(c, leader, batch[k])) continue;
        (void)snprintf(what, sizeof what, "replications of batch %lld", (long long)batch[k]);
        status = fm_campaign_skip(c, index, what, FM_NO_TIME, err);
    }
    return status;
}

/* Until the knee and the largest batch of each cell have their launches. Each pass makes launches that were not made, of
 * which there are finitely many. */
fm_status fm_campaign_replications(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (bool ran = true; ran && status == FM_OK;) {
        ran = false;
        status = replicate(c, &ran, err);
    }
    for (size_t i = 0; i < c->config.cells && status == FM_OK && c->out_of_time; i++) status = say_replications(c, i, err);
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
    if (status != FM_OK) return skip_all(c, leader, "learning check", why.text, err);
    if (!planned.plan.fits) return skip_all(c, leader, "learning check", "by the plan the learning check does not fit", err);
    return ask_learning(c, leader, &planned, batch.train, err);
}

fm_status fm_campaign_learning(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < c->config.cells && status == FM_OK && c->config.learn; i++) {
        if (c->state[i].leader != i || c->state[i].learn_checked || !shared_top(c, i)) continue;
        if (fm_campaign_cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
        status = fm_campaign_has_time(c) ? learn_cell(c, i, err) : skip_all(c, i, "learning check", FM_NO_TIME, err);
    }
    return status;
}
