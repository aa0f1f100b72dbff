/* Journal records of a campaign, as JSON objects; NULL when memory is exhausted. The formats: results/journal.h. */
#ifndef FM_TUNER_CAMPAIGN_RECORD_H
#define FM_TUNER_CAMPAIGN_RECORD_H

#include "tuner/campaign/session.h"
#include "tuner/search/search.h"

#include <cjson/cJSON.h>

struct fm_row {
    const struct fm_cell *cell;
    int64_t batch, val_batch;
    bool val;                       /* the validation row of the probe */
    const char *role;
    uint32_t launch;
    const struct fm_planned *planned;
    const struct fm_reply *reply;   /* NULL: planned only */
    enum fm_outcome outcome;
};

struct fm_verdict {
    const struct fm_cell *cell;
    struct fm_search_result train, val;     /* val: of a validation batch searched alone */
    bool val_searched, limited_by_val;
    int64_t planned_batch;          /* FM_SEARCH_UNKNOWN: no plan */
    bool planned_gap;               /* by the plan, a batch below planned_batch does not fit */
    const char *search, *reason;
    uint32_t probes[3];             /* boundary, ladder, replicate */
    bool mistrusted;
};

cJSON *fm_record_cell(const struct fm_session *session, const struct fm_cell *cell, const char *reproduce, struct fm_err *err);
cJSON *fm_record_start(const struct fm_cell *cell, int64_t batch, int64_t val_batch, const char *role, uint32_t launch);
cJSON *fm_record_row(const struct fm_row *row);
cJSON *fm_record_verdict(const struct fm_verdict *verdict);
cJSON *fm_record_skipped(const struct fm_cell *cell, const char *what, const char *reason);
/* the check that a network learns: one batch again and again, dropout off */
cJSON *fm_record_learn(const struct fm_cell *cell, int64_t batch, const struct fm_reply *reply, bool learned);
/* "3f2a.." of a cell */
void fm_cell_id_text(const struct fm_cell *cell, char text[17]);
/* samples/s of a reply's timed steps: median; NaN without any */
double fm_reply_samples_per_s(const struct fm_reply *reply, int64_t samples);
int64_t fm_cell_samples(const struct fm_cell *cell, int64_t batch);     /* an optimizer step takes */

#endif
