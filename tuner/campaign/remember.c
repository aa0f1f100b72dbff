/* What probes showed: in this run, and, from the journal, in those that it resumes. */
#include "tuner/campaign/campaign_internal.h"

#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TRIES 2                     /* a probe during which fillmark itself died is tried once more, then it counts as a crash */

fm_status fm_shown_add(struct fm_campaign *c, const struct fm_shown *s, struct fm_err *err)
{
    struct fm_shown *grown = fm_grow(c->shown, &c->shown_room, c->shown_count + 1, sizeof *grown);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "probes");
    c->shown = grown;
    c->shown[c->shown_count++] = *s;
    return FM_OK;
}

const struct fm_shown *fm_shown_find(const struct fm_campaign *c, uint64_t id, int64_t batch, int64_t val_batch, uint32_t launch)
{
    for (size_t i = 0; i < c->shown_count; i++) {
        const struct fm_shown *s = &c->shown[i];
        bool same = s->cell_id == id && s->batch == batch && s->val_batch == val_batch && s->launch == launch;
        if (same && (!s->unfinished || s->unfinished >= TRIES)) return s;
    }
    return NULL;
}

const struct fm_shown *fm_shown_shared(const struct fm_campaign *c, const struct fm_cell_state *cell, int64_t batch)
{
    for (size_t i = 0; i < c->shown_count; i++) {
        const struct fm_shown *s = &c->shown[i];
        if (s->train_id != cell->train_id || s->batch != batch || s->cell_id == cell->id) continue;
        if (s->outcome == FM_OUTCOME_oom_device && !s->reached_val && !s->disturbed) return s;
    }
    return NULL;
}

bool fm_shown_timed(const struct fm_campaign *c, uint64_t train_id, int64_t batch, uint32_t launch)
{
    for (size_t i = 0; i < c->shown_count; i++) {
        const struct fm_shown *s = &c->shown[i];
        if (s->train_id == train_id && s->batch == batch && s->launch == launch && isfinite(s->samples_per_s)) return true;
    }
    return false;
}

bool fm_shown_any(const struct fm_campaign *c, uint64_t train_id)
{
    for (size_t i = 0; i < c->shown_count; i++)
        if (c->shown[i].train_id == train_id) return true;
    return false;
}

/* ---- from the journal ---- */

static double field(const cJSON *o, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* the probe that a start or a row speaks of */
static fm_status read_probe(const struct fm_campaign *c, const cJSON *record, size_t index, struct fm_shown *out, struct fm_err *err)
{
    double batch = field(record, "batch"), val_batch = field(record, "val_batch"), launch = field(record, "launch");
    if (!(batch >= 0 && batch <= FM_MAX_BATCH && val_batch >= 0 && val_batch <= FM_MAX_BATCH && launch >= 1 && launch <= UINT32_MAX))
        return FM_FAIL(err, FM_MISMATCH, "a record of the journal has no batch, val_batch or launch");
    *out = (struct fm_shown){ .cell_id = c->state[index].id, .train_id = c->state[index].train_id, .batch = (int64_t)batch,
                           .val_batch = (int64_t)val_batch, .launch = (uint32_t)launch, .samples_per_s = NAN };
    return FM_OK;
}

static bool same_probe(const struct fm_shown *a, const struct fm_shown *b)
{
    return a->cell_id == b->cell_id && a->batch == b->batch && a->val_batch == b->val_batch && a->launch == b->launch;
}

/* the same probe, started and without a row so far */
static struct fm_shown *find_started(struct fm_campaign *c, const struct fm_shown *s)
{
    for (size_t i = 0; i < c->shown_count; i++)
        if (c->shown[i].unfinished && same_probe(&c->shown[i], s)) return &c->shown[i];
    return NULL;
}

/* a probe began; unless its row follows, fillmark died during it */
static fm_status remember_start(struct fm_campaign *c, const cJSON *start, size_t index, struct fm_err *err)
{
    struct fm_shown s;
    fm_status status = read_probe(c, start, index, &s, err);
    if (status != FM_OK) return status;
    s.outcome = FM_OUTCOME_crash;
    s.unfinished = 1;
    s.open = true;
    (void)snprintf(s.reason, sizeof s.reason, "fillmark itself ended twice while it ran");
    struct fm_shown *before = find_started(c, &s);
    if (!before) return fm_shown_add(c, &s, err);
    before->unfinished++;
    before->open = true;
    return FM_OK;
}

/* a run that ended by itself, be it interrupted, did not die of the probe it had started */
static void forgive_open(struct fm_campaign *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->shown_count; i++) {
        struct fm_shown *s = &c->shown[i];
        if (s->unfinished && s->open && --s->unfinished == 0) continue;
        s->open = false;
        c->shown[kept++] = *s;
    }
    c->shown_count = kept;
}

/* a run began: what an earlier one left open has no end any more */
static void close_open(struct fm_campaign *c)
{
    for (size_t i = 0; i < c->shown_count; i++) c->shown[i].open = false;
}

static void count_probe(struct fm_campaign *c, const cJSON *row, size_t index)
{
    const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "role"));
    for (int i = 0; role && i < FM_ROLE_COUNT; i++) c->state[index].probes[i] += strcmp(role, fm_role_name[i]) == 0;
}

/* the validation row of a probe amends its training row */
static void amend(struct fm_campaign *c, const struct fm_shown *s)
{
    for (size_t i = c->shown_count; i-- > 0;) {
        struct fm_shown *t = &c->shown[i];
        if (!same_probe(t, s)) continue;
        t->reached_val = true;
        if (s->outcome == FM_OUTCOME_ok) return;
        t->outcome = s->outcome;
        t->failed_in_val = true;
        t->disturbed = s->disturbed;
        memcpy(t->reason, s->reason, sizeof t->reason);
        return;
    }
}

static fm_status remember_row(struct fm_campaign *c, const cJSON *row, size_t index, struct fm_err *err)
{
    const char *outcome = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "outcome"));
    const char *phase = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "phase"));
    const char *reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "reason"));
    struct fm_shown s;
    fm_status status = read_probe(c, row, index, &s, err);
    if (status != FM_OK) return status;
    s.outcome = outcome ? fm_outcome_parse(outcome) : FM_OUTCOME_COUNT;
    s.samples_per_s = field(cJSON_GetObjectItemCaseSensitive(row, "measured"), "samples_per_s");
    if (s.outcome == FM_OUTCOME_COUNT || !phase) return FM_FAIL(err, FM_MISMATCH, "a row of the journal has no outcome or phase");
    s.disturbed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(row, "at"), "below_limit"));
    if (reason) (void)snprintf(s.reason, sizeof s.reason, "%s", reason);
    if (strcmp(phase, "train") != 0) {
        amend(c, &s);
        return FM_OK;
    }
    count_probe(c, row, index);
    struct fm_shown *started = find_started(c, &s);
    if (!started) return fm_shown_add(c, &s, err);
    *started = s;
    return FM_OK;
}

static void remember_learn(struct fm_campaign *c, const cJSON *learn, size_t index)
{
    for (size_t k = index; k < c->config.cells; k++) {
        if (c->state[k].leader != index) continue;
        c->state[k].learn_checked = true;
        c->state[k].mistrusted = !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(learn, "learned"));
    }
}

fm_status fm_campaign_remember(struct fm_campaign *c, const cJSON *record, struct fm_err *err)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "kind")), *kind = text ? text : "";
    bool cell = strcmp(kind, "cell") == 0, row = strcmp(kind, "row") == 0, learn = strcmp(kind, "learn") == 0;
    bool start = strcmp(kind, "start") == 0;
    if (strcmp(kind, "end") == 0) forgive_open(c);
    if (strcmp(kind, "run") == 0 || strcmp(kind, "resume") == 0) close_open(c);
    if (!cell && !row && !learn && !start) return FM_OK;
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, cell ? "id" : "cell"));
    for (size_t i = 0; id && i < c->config.cells; i++) {
        char own[17];
        fm_cell_id_text(&c->config.cell[i], own);
        if (strcmp(own, id) != 0) continue;
        if (row) return remember_row(c, record, i, err);
        if (start) return remember_start(c, record, i, err);
        if (cell) c->state[i].recorded = true;
        if (learn) remember_learn(c, record, i);
    }
    return FM_OK;
}
