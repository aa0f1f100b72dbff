#include "tuner/campaign/campaign_internal.h"

#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"

#include <stdio.h>
#include <string.h>

/* ---- boundaries ---- */

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

/* Is it known already? A second try of the same batch is another launch; a probe that fillmark died in twice has had both. */
static const struct fm_shown *known(struct fm_campaign *c, const struct fm_cell_state *s, const struct fm_probe *p, bool shares)
{
    const struct fm_shown *shown = fm_shown_find(c, s->id, p->batch, p->val_batch, p->launch);
    const struct fm_shown *first = !shown && p->launch > 1 ? fm_shown_find(c, s->id, p->batch, p->val_batch, 1) : NULL;
    if (first && first->unfinished) shown = first;
    if (!shown && shares && (shown = fm_shown_shared(c, s, p->batch)) != NULL) c->totals.shared++;
    return shown;
}

/* Runs a search to its end, or until there is no more time. train_batch 0: the training batch is searched, validation
 * follows by the cell's rule; otherwise the validation batch is searched beside that training batch. */
static fm_status search_batches(struct fm_campaign *c, size_t index, struct fm_search *search, int64_t train_batch, struct fm_err *err)
{
    struct fm_cell_state *s = &c->state[index];
    fm_status status = FM_OK;
    int64_t batch;
    uint32_t launch = 1;
    while (status == FM_OK && (batch = fm_search_next(search)) != FM_SEARCH_DONE) {
        struct fm_probe p = { .cell = index, .role = FM_ROLE_BOUNDARY, .batch = train_batch ? train_batch : batch, .launch = launch };
        p.val_batch = train_batch ? batch : fm_cell_val_batch(&c->config.cell[index], batch);
        p.timed = !train_batch && !fm_shown_timed(c, s->train_id, p.batch, 1);
        struct fm_shown fresh;
        const struct fm_shown *shown = known(c, s, &p, !train_batch);
        if (!shown) {
            if (!fm_campaign_has_time(c)) {
                s->skipped = true;
                return FM_OK;
            }
            status = fm_campaign_execute(c, &p, &fresh, err);
            shown = &fresh;
        }
        if (status != FM_OK) break;
        bool tried = shown->outcome == FM_OUTCOME_timeout || shown->outcome == FM_OUTCOME_crash || shown->outcome == FM_OUTCOME_protocol;
        launch = tried || shown->disturbed ? launch + 1 : 1;
        s->dirty = true;
        if (shown->outcome != FM_OUTCOME_ok && shown->outcome != FM_OUTCOME_oom_device)
            (void)snprintf(s->reason, sizeof s->reason, "%s", shown->reason);
        status = fm_search_tell(search, &(struct fm_search_probe){ batch, to_search(shown->outcome), shown->disturbed }, err);
    }
    return status;
}

/* does this misfit hold for the cell, whoever met it? */
static bool holds_for(const struct fm_campaign *c, size_t index, const struct fm_shown *shown)
{
    const struct fm_cell_state *s = &c->state[index];
    if (shown->outcome != FM_OUTCOME_oom_device || shown->disturbed || shown->unfinished || shown->batch > c->config.max_batch) return false;
    if (shown->train_id == s->train_id && !shown->reached_val) return true;
    return shown->cell_id == s->id && shown->val_batch == fm_cell_val_batch(&c->config.cell[index], shown->batch);
}

fm_status fm_campaign_search_on(struct fm_campaign *c, size_t index, struct fm_err *err)
{
    struct fm_cell_state *s = &c->state[index];
    struct fm_search_result before, after;
    fm_status status = FM_OK;
    fm_search_result(&s->search, &before);
    if (before.state == FM_SEARCH_RUNNING) return FM_OK;
    for (size_t i = 0; i < c->shown_count && status == FM_OK; i++) {
        if (!holds_for(c, index, &c->shown[i])) continue;
        status = fm_search_note(&s->search, &(struct fm_search_probe){ .batch = c->shown[i].batch, .outcome = FM_SEARCH_OOM_DEVICE }, err);
    }
    if (status == FM_OK) status = search_batches(c, index, &s->search, 0, err);
    fm_search_result(&s->search, &after);
    bool same = before.state == after.state && before.fits_batch == after.fits_batch && before.non_monotone == after.non_monotone;
    if (!same) s->dirty = true;
    return status;
}

/* of a validation batch searched alone, beside the largest training batch */
static fm_status search_validation(struct fm_campaign *c, size_t index, int64_t train_batch, struct fm_err *err)
{
    struct fm_cell_state *s = &c->state[index];
    struct fm_search_config config = { .method = c->config.search, .max_batch = c->config.max_batch, .finish = true,
                                       .planned_batch = FM_SEARCH_UNKNOWN };
    struct fm_plan_max_answer plan = { .max_batch = FM_SEARCH_UNKNOWN };
    struct fm_err why = { 0 };
    s->val_searched = true;
    fm_status status = fm_session_max_batch(c->config.session, &c->config.cell[index], c->config.max_batch, train_batch, &plan, &why);
    if (status != FM_OK && fm_campaign_plan_outcome(c, status) == FM_OUTCOME_COUNT) return FM_FAIL(err, status, "%s", why.text);
    /* where it cannot be planned it is searched without a plan */
    if (status == FM_OK && c->config.search == FM_SEARCH_PLAN) config.planned_batch = plan.max_batch;
    status = fm_search_init(&s->val_search, &config, err);
    return status == FM_OK ? search_batches(c, index, &s->val_search, train_batch, err) : status;
}

static fm_status search_cell(struct fm_campaign *c, size_t index, struct fm_err *err)
{
    const struct fm_cell *cell = &c->config.cell[index];
    struct fm_cell_state *s = &c->state[index];
    struct fm_search_config config = { .method = c->config.search, .max_batch = c->config.max_batch, .finish = true,
                                       .planned_batch = FM_SEARCH_UNKNOWN };
    struct fm_plan_max_answer plan = { .max_batch = FM_SEARCH_UNKNOWN };
    struct fm_err why = { 0 };
    /* planning takes time too: none is spent on a cell of which no probe could follow */
    if (!fm_shown_any(c, s->train_id) && !fm_campaign_has_time(c)) {
        s->skipped = true;
        return FM_OK;
    }
    fm_status status = fm_session_max_batch(c->config.session, cell, c->config.max_batch, 0, &plan, &why);
    if (status != FM_OK) {
        s->early = fm_campaign_plan_outcome(c, status);
        if (s->early == FM_OUTCOME_COUNT) return FM_FAIL(err, status, "%s", why.text);
        (void)snprintf(s->reason, sizeof s->reason, "%.230s", why.text);
        s->searched = true;
        return FM_OK;
    }
    s->planned_batch = plan.max_batch;
    s->planned_gap = plan.misfit_below > 0;
    if (c->config.search == FM_SEARCH_PLAN) config.planned_batch = plan.max_batch;
    status = fm_search_init(&s->search, &config, err);
    s->begun = status == FM_OK;
    if (status == FM_OK) status = search_batches(c, index, &s->search, 0, err);
    if (status == FM_OK && !s->skipped) status = fm_campaign_search_on(c, index, err);
    struct fm_search_result r;
    fm_search_result(&s->search, &r);
    if (status != FM_OK || s->skipped) return status;
    if (strcmp(cell->value[FM_STRATEGY_VAL_BATCH], "max") == 0 && r.state == FM_SEARCH_CERTIFIED && r.max_batch > 0)
        status = search_validation(c, index, r.max_batch, err);
    s->searched = status == FM_OK && !s->skipped;
    return status;
}

/* was it validation that did not fit just above the boundary? */
static bool limited_by_val(const struct fm_campaign *c, const struct fm_cell_state *s, int64_t fails_batch)
{
    for (size_t i = c->shown_count; i-- > 0;) {
        const struct fm_shown *shown = &c->shown[i];
        if (shown->cell_id == s->id && shown->batch == fails_batch && shown->outcome == FM_OUTCOME_oom_device) return shown->failed_in_val;
    }
    return false;
}

/* was the search ended by what neither fits nor not, or is there something to say of what fits? */
static bool has_reason(const struct fm_search_result *r)
{
    return r->nonfinite || (r->outcome != FM_SEARCH_FIT && r->outcome != FM_SEARCH_OOM_DEVICE && r->outcome != FM_SEARCH_UNTESTED);
}

static const char *reason_of(const struct fm_cell_state *s, const struct fm_verdict *v)
{
    if (s->early != FM_OUTCOME_ok) return s->reason;
    if (v->train.state == FM_SEARCH_RUNNING || (v->val_searched && v->val.state == FM_SEARCH_RUNNING)) return FM_NO_TIME;
    if (has_reason(&v->train) || (v->val_searched && has_reason(&v->val))) return s->reason;
    if (v->train.disturbed || v->val.disturbed) return "the device had no room although the limit had: what others hold of it grew";
    return v->train.flaky || v->val.flaky ? "a batch fitted once and once did not: it counts as one that does not fit" : "";
}

fm_status fm_campaign_put_verdict(struct fm_campaign *c, size_t index, struct fm_err *err)
{
    struct fm_cell_state *s = &c->state[index];
    struct fm_verdict v = { .cell = &c->config.cell[index], .val_searched = s->val_searched, .planned_batch = s->planned_batch,
                            .planned_gap = s->planned_gap, .search = fm_search_method_name(c->config.search), .mistrusted = s->mistrusted };
    memcpy(v.probes, s->probes, sizeof v.probes);
    if (s->early != FM_OUTCOME_ok) {
        v.train = (struct fm_search_result){ .state = FM_SEARCH_UNCERTIFIED, .outcome = to_search(s->early), .fits_batch = FM_SEARCH_UNKNOWN,
                                             .max_batch = FM_SEARCH_UNKNOWN, .raw_answer = FM_SEARCH_UNKNOWN };
    } else {
        fm_search_result(&s->search, &v.train);
        v.limited_by_val = limited_by_val(c, s, v.train.fails_batch);
        if (s->val_searched) fm_search_result(&s->val_search, &v.val);
    }
    v.reason = reason_of(s, &v);
    s->dirty = false;
    return fm_campaign_put(c, fm_record_verdict(&v), err);
}

/* no time to end the search: what is known to fit is a lower bound, and told as one that is not certified */
static fm_status put_unfinished(struct fm_campaign *c, size_t index, struct fm_err *err)
{
    const struct fm_cell_state *s = &c->state[index];
    struct fm_search_result r = { .fits_batch = FM_SEARCH_UNKNOWN };
    if (s->begun) fm_search_result(&s->search, &r);
    if (!s->begun || r.outcome == FM_SEARCH_UNTESTED) return fm_campaign_skip(c, index, fm_role_name[FM_ROLE_BOUNDARY], FM_NO_TIME, err);
    fm_status status = r.fits_batch > 0 ? fm_campaign_put_verdict(c, index, err) : FM_OK;
    return status == FM_OK ? fm_campaign_skip(c, index, FM_UNCERTIFIED, FM_NO_TIME, err) : status;
}

/* All cells, before anything of them begins: a run that is cut short still says what it was to do. */
static fm_status put_cells(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
        if (c->state[i].recorded) continue;
        status = fm_campaign_put(c, fm_record_cell(c->config.session, &c->config.cell[i], c->config.reproduce[i], err), err);
        c->state[i].recorded = true;
    }
    return status;
}

static fm_status boundaries(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = put_cells(c, err);
    c->progress.stage = fm_role_name[FM_ROLE_BOUNDARY];
    for (size_t i = 0; i < c->config.cells && status == FM_OK; i++) {
        if (fm_campaign_cancelled(c)) return FM_FAIL(err, FM_INTERRUPTED, "interrupted");
        status = search_cell(c, i, err);
        if (status == FM_OK) status = c->state[i].searched ? fm_campaign_put_verdict(c, i, err) : put_unfinished(c, i, err);
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

/* verdicts again, where later stages added to what they say */
static fm_status last_verdicts(struct fm_campaign *c, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < c->config.cells && status == FM_OK; i++)
        if (c->state[i].searched && c->state[i].dirty) status = fm_campaign_put_verdict(c, i, err);
    return status;
}

fm_status fm_campaign_run(struct fm_campaign *c, struct fm_err *err)
{
    c->start_ns = fm_now_ns(c->config.clock);
    fm_status status = boundaries(c, err);
    if (status == FM_OK) status = fm_campaign_learning(c, err);
    if (status == FM_OK) status = fm_campaign_ladders(c, err);
    if (status == FM_OK) status = fm_campaign_replications(c, err);
    if (status == FM_OK) status = last_verdicts(c, err);
    c->totals.wall_ns = fm_now_ns(c->config.clock) - c->start_ns;
    return status;
}

struct fm_campaign_totals fm_campaign_totals(const struct fm_campaign *c) { return c->totals; }
