/* The search for a cell's largest batch: give it outcomes, it names the next batch.
 *
 * Pure: no clock, no device, no allocation. A struct fm_search is a value (about 5 KB); what it names
 * next is a function of its configuration and of what it was told, so a resumed run replays the
 * recorded outcomes and goes on where it stopped.
 *
 *     fm_search_init(&search, &config, err);
 *     while ((batch = fm_search_next(&search)) != FM_SEARCH_DONE)
 *         fm_search_tell(&search, &(struct fm_search_probe){ batch, outcome, disturbed }, err);
 *     fm_search_result(&search, &result);
 *
 * Units: batches in samples, 1 ... FM_SEARCH_BATCH_LIMIT. Nothing is owned, nothing to release.
 *
 * PLAN probes the planned batch b*, then b* + 1: two probes where the plan is right, one where b* is
 * 0 (batch 1 is probed) or the limit. Where it was wrong it goes b* +- 1, 2, 4, ... and bisects.
 * BINSEARCH and POWER are what PyTorch Lightning 2.6 does (tuner/batch_size_scaling.py: init_val 2,
 * max_trials 25, max_val = max_batch; binsearch's margin of 5 %): `raw_answer` and `raw_probes` are
 * its answer, tested or not. With `finish` the search then goes on, from what was measured, to a
 * boundary of its own. Only such a boundary is ever certified.
 *
 * What an outcome means:
 *   fit                       the batch fits
 *   nonfinite                 it fits; `nonfinite` is set
 *   oom_device                it does not fit
 *   unsupported, oom_host     the cell ends with this outcome; `fits_batch` keeps what is known
 *   timeout, crash, protocol  no evidence about memory: the batch is tried once more, then the cell
 *                             ends uncertified with this outcome
 * A disturbed probe (what others held of the device changed meanwhile) is tried once more; if it is
 * disturbed again its outcome steers the search, but a boundary that rests on it is not certified.
 *
 * A batch that both fitted and did not is one that does not fit, and sets `flaky`. If memory is not
 * monotone in the batch, the certified boundary is one of several: `non_monotone` is set when a
 * batch was seen to fail below one that was seen to fit. */
#ifndef FM_TUNER_SEARCH_SEARCH_H
#define FM_TUNER_SEARCH_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tuner/base/status.h"

#define FM_SEARCH_DONE 0
#define FM_SEARCH_UNKNOWN (-1)                  /* of a planned batch or an answer */
#define FM_SEARCH_BATCH_LIMIT (INT64_C(1) << 30)
#define FM_SEARCH_CAPACITY 256                  /* distinct batches one search can be told of */

#define FM_SEARCH_METHOD_LIST(X) X(PLAN, "plan") X(BINSEARCH, "binsearch") X(POWER, "power")
#define X(name, text) FM_SEARCH_##name,
enum fm_search_method { FM_SEARCH_METHOD_LIST(X) };
#undef X

#define FM_SEARCH_OUTCOME_LIST(X)                                                        \
    X(FIT, "ok") X(NONFINITE, "nonfinite") X(OOM_DEVICE, "oom_device")                   \
    X(OOM_HOST, "oom_host") X(UNSUPPORTED, "unsupported") X(TIMEOUT, "timeout")          \
    X(CRASH, "crash") X(PROTOCOL, "protocol")                                            \
    X(UNTESTED, "untested")     /* only in a result: no probe says whether anything fits */
#define X(name, text) FM_SEARCH_##name,
enum fm_search_outcome { FM_SEARCH_OUTCOME_LIST(X) };
#undef X

struct fm_search_config {
    enum fm_search_method method;
    int64_t planned_batch;      /* PLAN: b*, 0 if not even batch 1 is planned to fit, or FM_SEARCH_UNKNOWN */
    int64_t max_batch;          /* no batch above this is probed; FM_SEARCH_BATCH_LIMIT if not limited */
    bool finish;                /* BINSEARCH and POWER: go on to a certified boundary */
};

struct fm_search_probe {
    int64_t batch;
    enum fm_search_outcome outcome;
    bool disturbed;
};

/* what is known of one batch; clean = not disturbed */
struct fm_search_evidence {
    int64_t batch;
    uint16_t fits, clean_fits;
    uint16_t ooms, clean_ooms;
};

struct fm_search_lightning {
    int64_t size;               /* what it tries next, in the end its answer */
    int64_t low, high;          /* high 0: none yet */
    int trials;                 /* POWER: all of them; BINSEARCH: those that fitted */
    bool any_success;
    bool done;
};

struct fm_search {                              /* private: use the functions below */
    struct fm_search_config config;
    struct fm_search_evidence evidence[FM_SEARCH_CAPACITY];     /* ascending in batch */
    size_t evidence_count;
    int64_t probes;
    struct fm_search_lightning lightning;
    int64_t raw_answer, raw_probes;
    int64_t retry_batch;                        /* 0: no second try is due or running */
    bool nonfinite;
    bool ended;                                 /* by an outcome that is neither a fit nor a misfit */
    enum fm_search_outcome end_outcome;
};

enum fm_search_state {
    FM_SEARCH_RUNNING,          /* fm_search_next() names a batch */
    FM_SEARCH_CERTIFIED,        /* `max_batch` holds */
    FM_SEARCH_UNCERTIFIED       /* over without a boundary: `fits_batch` and `fails_batch` are what is known */
};

struct fm_search_result {
    enum fm_search_state state;
    int64_t max_batch;          /* FM_SEARCH_UNKNOWN unless certified; 0: batch 1 does not fit */
    bool at_limit;              /* certified because it fits at the limit; nothing above was tried */
    int64_t fits_batch;         /* largest seen to fit, 0: none */
    int64_t fails_batch;        /* smallest above it seen not to fit; FM_SEARCH_UNKNOWN: none */
    enum fm_search_outcome outcome;     /* of the cell so far: fit, oom_device (nothing fits), what ended it */
    bool non_monotone, flaky, nonfinite;
    bool disturbed;             /* over, and its boundary rests on a disturbed probe */
    int64_t probes;             /* told, second tries included */
    int64_t raw_answer;         /* Lightning's; FM_SEARCH_UNKNOWN: not over, or it ends in an error */
    int64_t raw_probes;
};

const char *fm_search_method_name(enum fm_search_method method);
const char *fm_search_outcome_name(enum fm_search_outcome outcome);

/* INVALID: a batch out of range */
FM_MUST_USE fm_status fm_search_init(struct fm_search *search, const struct fm_search_config *config,
                                     struct fm_err *err);
/* the batch to probe now, or FM_SEARCH_DONE */
int64_t fm_search_next(const struct fm_search *search);
/* the outcome of the batch that fm_search_next() named. INVALID: another batch; FAILED: too many */
FM_MUST_USE fm_status fm_search_tell(struct fm_search *search, const struct fm_search_probe *probe,
                                     struct fm_err *err);
/* an outcome that was not asked for: of a probe shared with another cell, of the ladder, of a
 * replication. Only fits and misfits count. May reopen a search that was done: when a replication at
 * the max batch does not fit, fm_search_next() names batches until there is a boundary again. */
FM_MUST_USE fm_status fm_search_note(struct fm_search *search, const struct fm_search_probe *probe,
                                     struct fm_err *err);
void fm_search_result(const struct fm_search *search, struct fm_search_result *result);

#endif
