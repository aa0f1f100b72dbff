/* What probes showed: in this run, and, from the journal, in those that it resumes. */
#include "tuner/campaign/campaign_internal.h"

#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"

#include <math.h>
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
        if (s->outcome == FM_OUTCOME_oom_device && !s->failed_in_val) return s;
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

/* ---- from the journal ---- */

static double field(const cJSON *o, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

/* the same probe, started and without a row so far */
static struct fm_shown *find_started(struct fm_campaign *c, const struct fm_shown *s)
{
    for (size_t i = 0; i < c->shown_count; i++) {
        struct fm_shown *t = &c->shown[i];
        if (t->unfinished && t->cell_id == s->cell_id && t->batch == s->batch && t->val_batch == s->val_batch && t->launch == s->launch)
            return t;
    }
    return NULL;
}

/* a probe began; unless its row follows, fillmark died during it */
static fm_status remember_start(struct fm_campaign *c, const cJSON *start, size_t index, struct fm_err *err)
{
    struct fm_shown s = { .cell_id = c->state[index].id, .train_id = c->state[index].train_id, .batch = (int64_t)field(start, "batch"),
                       .val_batch = (int64_t)field(start, "val_batch"), .launch = (uint32_t)field(start, "launch"),
                       .outcome = FM_OUTCOME_crash, .samples_per_s = NAN, .unfinished = 1 };
    struct fm_shown *before = find_started(c, &s);
    if (!before) return fm_shown_add(c, &s, err);
    before->unfinished++;
    return FM_OK;
}

/* a journal row: the validation row of a probe amends its training row */
static fm_status remember_row(struct fm_campaign *c, const cJSON *row, size_t index, struct fm_err *err)
{
    const char *outcome = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "outcome"));
    const char *phase = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "phase"));
    struct fm_shown s = { .cell_id = c->state[index].id, .train_id = c->state[index].train_id, .batch = (int64_t)field(row, "batch"),
                       .val_batch = (int64_t)field(row, "val_batch"), .launch = (uint32_t)field(row, "launch"),
                       .outcome = outcome ? fm_outcome_parse(outcome) : FM_OUTCOME_COUNT,
                       .samples_per_s = field(cJSON_GetObjectItemCaseSensitive(row, "measured"), "samples_per_s") };
    if (s.outcome == FM_OUTCOME_COUNT || !phase) return FM_FAIL(err, FM_MISMATCH, "a row of the journal has no outcome or phase");
    struct fm_shown *started = find_started(c, &s);
    if (started && strcmp(phase, "train") == 0) *started = s;
    if (strcmp(phase, "train") == 0) return started ? FM_OK : fm_shown_add(c, &s, err);
    for (size_t i = c->shown_count; i-- > 0;) {
        struct fm_shown *t = &c->shown[i];
        if (t->cell_id != s.cell_id || t->batch != s.batch || t->val_batch != s.val_batch || t->launch != s.launch) continue;
        if (s.outcome != FM_OUTCOME_ok) {
            t->outcome = s.outcome;
            t->failed_in_val = true;
        }
        break;
    }
    return FM_OK;
}

fm_status fm_campaign_remember(struct fm_campaign *c, const cJSON *record, struct fm_err *err)
{
    const char *kind = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, "kind"));
    bool cell = kind && strcmp(kind, "cell") == 0, row = kind && strcmp(kind, "row") == 0, learn = kind && strcmp(kind, "learn") == 0;
    bool start = kind && strcmp(kind, "start") == 0;
    if (!cell && !row && !learn && !start) return FM_OK;
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, cell ? "id" : "cell"));
    for (size_t i = 0; id && i < c->config.cells; i++) {
        char text[17];
        fm_cell_id_text(&c->config.cell[i], text);
        if (strcmp(text, id) != 0) continue;
        if (row) return remember_row(c, record, i, err);
        if (start) return remember_start(c, record, i, err);
        if (cell) c->state[i].recorded = true;
        for (size_t k = i; learn && k < c->config.cells; k++) {
            if (c->state[k].leader != i) continue;
            c->state[k].learn_checked = true;
            c->state[k].mistrusted = !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(record, "learned"));
        }
    }
    return FM_OK;
}
