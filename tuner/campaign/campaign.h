/* A campaign on one device: the boundary of every cell, its throughput curve, replications; every probe a journal line.
 *
 * Stages, each over all cells in their order, so that a run cut by its time budget has told the most:
 *   1 boundary   plan, probe b*, probe b*+1 (search.h); what a cell that differs only in validation already showed of
 *                training is shared, not run again
 *   2 ladder     powers of two below the boundary: the throughput curve and its knee
 *   3 replicate  knee and largest batch again, in interleaved order, until each has the launches that were asked for
 * What did not fit into the time is recorded as skipped, with the reason. A cancelled campaign ends cleanly. */
#ifndef FM_TUNER_CAMPAIGN_CAMPAIGN_H
#define FM_TUNER_CAMPAIGN_CAMPAIGN_H

#include "tuner/base/clock.h"
#include "tuner/campaign/session.h"
#include "tuner/search/search.h"

#include <cjson/cJSON.h>

/* what is happening, for the progress line */
struct fm_progress {
    const char *device, *stage;     /* "boundary", "ladder", "replicate" */
    const struct fm_cell *cell;
    size_t cell_index, cells;
    int64_t batch;
    uint32_t probes, ooms, failures;        /* so far */
    int64_t left_ns;                /* of the time budget; -1: none was given */
    const char *last;               /* outcome of the probe that ended; NULL when one starts */
};

struct fm_campaign_config {
    struct fm_session *session;     /* borrowed */
    const struct fm_cell *cell;     /* borrowed */
    const char *const *reproduce;   /* per cell: the command that runs it alone */
    size_t cells;
    enum fm_search_method search;
    int64_t max_batch;
    int64_t time_budget_ns;         /* 0: none */
    int64_t deadline_ns;            /* of a probe */
    int64_t measured_ns;            /* timed steps of a launch */
    uint32_t launches;
    uint64_t seed;
    bool poison, learn;
    bool shared;                    /* time also where others use the device */
    /* appends a record (or an array of records, all or none) to the journal; borrowed */
    fm_status (*record)(void *context, const cJSON *record, struct fm_err *err);
    void (*progress)(void *context, const struct fm_progress *progress);    /* NULL: silent */
    void *context;
    struct fm_clock clock;
};

struct fm_campaign;

struct fm_campaign *fm_campaign_new(const struct fm_campaign_config *config, struct fm_err *err);
void fm_campaign_free(struct fm_campaign *campaign);
/* a record of an earlier, interrupted run of the same campaign, in order: nothing measured is measured again */
fm_status fm_campaign_remember(struct fm_campaign *campaign, const cJSON *record, struct fm_err *err) FM_MUST_USE;
/* FM_INTERRUPTED when cancelled; failures of probes are rows, not errors */
fm_status fm_campaign_run(struct fm_campaign *campaign, struct fm_err *err) FM_MUST_USE;

struct fm_campaign_totals {
    uint32_t probes, shared;        /* executed; answered by another cell's */
    int64_t wall_ns, steps_ns;      /* of the run; of executed steps, warm-up included */
    uint32_t skipped;               /* cells or points left out for time */
};
struct fm_campaign_totals fm_campaign_totals(const struct fm_campaign *campaign);

#endif
