/* What the stages of a campaign share: the cells' states, probes, and the memory of probes. Within tuner/campaign. */
#ifndef FM_TUNER_CAMPAIGN_CAMPAIGN_INTERNAL_H
#define FM_TUNER_CAMPAIGN_CAMPAIGN_INTERNAL_H

#include "tuner/campaign/campaign.h"

#define FM_REASON_BYTES 240
/* of records of what was left out */
#define FM_NO_TIME "time budget"
#define FM_UNCERTIFIED "boundary not certified"

enum fm_role { FM_ROLE_BOUNDARY, FM_ROLE_LADDER, FM_ROLE_REPLICATE, FM_ROLE_COUNT };
extern const char *const fm_role_name[FM_ROLE_COUNT];

/* what a probe showed; the journal's rows come back as these */
struct fm_shown {
    uint64_t cell_id, train_id;
    int64_t batch, val_batch;
    uint32_t launch;
    enum fm_outcome outcome;
    bool failed_in_val;
    bool disturbed;                 /* the device had not what its limit promised: others hold more than when it was set */
    bool reached_val;               /* what failed after that says nothing of training alone */
    double samples_per_s;           /* NaN: not timed */
    uint32_t unfinished;            /* of an earlier run: times it was started and the process died before its row; 0: it has one */
    bool open;                      /* unfinished, and that run has no end so far */
    char reason[FM_REASON_BYTES];
};

/* a cell's state through the stages */
struct fm_cell_state {
    uint64_t id, train_id;
    size_t leader;                  /* first cell with this train_id: throughput is measured there */
    bool recorded, searched, skipped;
    bool begun;                     /* `search` is: what it knows may be told, though it did not end */
    struct fm_search search, val_search;
    bool val_searched, mistrusted;
    bool learn_checked;             /* also by an earlier run of this campaign */
    bool dirty;                     /* something of its verdict changed since that was recorded */
    int64_t planned_batch;
    bool planned_gap;               /* by the plan, a batch below it does not fit */
    enum fm_outcome early;          /* ended before a search: unsupported, ... */
    char reason[FM_REASON_BYTES];
    uint32_t probes[FM_ROLE_COUNT]; /* also of earlier runs of this campaign */
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
/* is anything known of this training? */
bool fm_shown_any(const struct fm_campaign *c, uint64_t train_id);

/* ---- probe.c: one probe, and its records ---- */

struct fm_probe {
    size_t cell;
    int64_t batch, val_batch;
    enum fm_role role;
    uint32_t launch;
    bool timed;
};

bool fm_campaign_cancelled(const struct fm_campaign *c);
/* is there time for one more probe of about this length? */
bool fm_campaign_has_time(struct fm_campaign *c);
/* takes the record, or an array of records that belong together */
fm_status fm_campaign_put(struct fm_campaign *c, cJSON *record, struct fm_err *err) FM_MUST_USE;
fm_status fm_campaign_skip(struct fm_campaign *c, size_t index, const char *what, const char *reason, struct fm_err *err) FM_MUST_USE;
void fm_campaign_request(const struct fm_campaign *c, const struct fm_probe *p, const struct fm_planned *planned, struct fm_request *q);
/* asks a fresh worker; one that does not start is a crash */
fm_status fm_campaign_call(struct fm_campaign *c, const struct fm_request *request, struct fm_reply *reply, struct fm_err *err) FM_MUST_USE;
/* What a plan that could not be made says of its cell: unsupported, or what became of the worker that was asked about
 * workspaces. FM_OUTCOME_COUNT: nothing, the error is ours. */
enum fm_outcome fm_campaign_plan_outcome(const struct fm_campaign *c, fm_status status);
/* Plans, records the start, runs and records the rows. A probe that cannot be planned is not run and leaves no record. */
fm_status fm_campaign_execute(struct fm_campaign *c, const struct fm_probe *p, struct fm_shown *out, struct fm_err *err) FM_MUST_USE;

/* ---- campaign.c: boundaries ---- */

fm_status fm_campaign_put_verdict(struct fm_campaign *c, size_t index, struct fm_err *err) FM_MUST_USE;
/* Misfits that other cells, the ladder or replications met count for this cell's boundary too: where they refute it, the
 * search goes on. */
fm_status fm_campaign_search_on(struct fm_campaign *c, size_t index, struct fm_err *err) FM_MUST_USE;

/* ---- curve.c: each a stage over all cells ---- */

fm_status fm_campaign_learning(struct fm_campaign *c, struct fm_err *err) FM_MUST_USE;
fm_status fm_campaign_ladders(struct fm_campaign *c, struct fm_err *err) FM_MUST_USE;
fm_status fm_campaign_replications(struct fm_campaign *c, struct fm_err *err) FM_MUST_USE;

#endif
