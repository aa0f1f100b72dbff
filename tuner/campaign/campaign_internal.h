/* What the stages of a campaign share: the cells' states, and the memory of probes. Within tuner/campaign. */
#ifndef FM_TUNER_CAMPAIGN_CAMPAIGN_INTERNAL_H
#define FM_TUNER_CAMPAIGN_CAMPAIGN_INTERNAL_H

#include "tuner/campaign/campaign.h"

/* what a probe showed; the journal's rows come back as these */
struct fm_shown {
    uint64_t cell_id, train_id;
    int64_t batch, val_batch;
    uint32_t launch;
    enum fm_outcome outcome;
    bool failed_in_val;
    double samples_per_s;           /* NaN: not timed */
    uint32_t unfinished;            /* of an earlier run: times it was started and the process died before its row; 0: it has one */
};

/* a cell's state through the stages */
struct fm_cell_state {
    uint64_t id, train_id;
    size_t leader;                  /* first cell with this train_id: throughput is measured there */
    bool recorded, searched, skipped;
    struct fm_search search, val_search;
    bool val_searched, limited_by_val, mistrusted;
    bool learn_checked;             /* also by an earlier run of this campaign */
    int64_t planned_batch;
    bool planned_gap;               /* by the plan, a batch below it does not fit */
    enum fm_outcome early;          /* ended before a search: unsupported, ... */
    char reason[240];
    uint32_t probes[3];
};

struct fm_campaign {
    struct fm_campaign_config config;
    struct fm_cell_state *state;
    struct fm_shown *shown;
    size_t shown_count, shown_room;
    struct fm_campaign_totals totals;
    struct fm_progress progress;
    int64_t start_ns;
    double probe_ns_mean;           /* of executed probes: what the next may take */
    bool out_of_time;
};

/* ---- remember.c: the memory of probes, of this run and of those that it resumes ---- */

fm_status fm_shown_add(struct fm_campaign *c, const struct fm_shown *s, struct fm_err *err) FM_MUST_USE;
/* the same probe, already run (now, or before an interruption) */
const struct fm_shown *fm_shown_find(const struct fm_campaign *c, uint64_t id, int64_t batch, int64_t val_batch, uint32_t launch);
/* another cell's probe that says the same: training, before any validation, did not fit */
const struct fm_shown *fm_shown_shared(const struct fm_campaign *c, const struct fm_cell_state *cell, int64_t batch);
bool fm_shown_timed(const struct fm_campaign *c, uint64_t train_id, int64_t batch, uint32_t launch);

#endif
