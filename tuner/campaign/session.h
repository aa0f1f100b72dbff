/* A device as the tuner sees it: its inventory, what it answered about workspaces, and plans for it.
 *
 * Planning is arithmetic in this process; a worker is only asked for workspaces that no one has asked for before. The
 * device "none" has no worker: plans are made without workspaces. One session a device; further threads take a branch of
 * it each. */
#ifndef FM_TUNER_CAMPAIGN_SESSION_H
#define FM_TUNER_CAMPAIGN_SESSION_H

#include "probes/devices/devices.h"
#include "probes/memory/planner.h"
#include "probes/protocol/protocol.h"
#include "tuner/campaign/cache.h"
#include "tuner/launcher/launcher.h"
#include "tuner/search/plan_max.h"
#include "workloads/strategies/strategies.h"

#include <pthread.h>
#include <stdatomic.h>

struct fm_session_config {
    const char *device;             /* "cpu", "ref", "none", "cuda:0", "GPU-..." */
    const struct fm_gpu *gpu;       /* plan for this one, which is not here; NULL: the device is. Borrowed */
    int32_t threads;                /* 0: all */
    int64_t memory_bytes;           /* 0: a GPU's free memory less framework_bytes; of the host's a quarter, at most memory_auto_bytes */
    int64_t memory_auto_bytes;
    const atomic_bool *cancel;       /* NULL: never */
};

struct fm_session {
    struct fm_session_config config;
    char backend[16], worker_path[512];
    struct fm_reply *device;        /* inventory; owned */
    struct fm_worker *worker;       /* for workspaces; started when first needed */
    struct fm_session *base;        /* of a branch: it asks, and has the device and the cache. NULL: it is no branch */
    pthread_mutex_t asking;         /* held by the branch that asks: no problem is asked about twice */
    pthread_mutex_t learning;       /* held while a branch looks into or adds to `workspaces` of its base */
    struct fm_workspaces workspaces;        /* those that came up so far */
    struct fm_cache cache;
    struct fm_planner planner;
    struct fm_program program;      /* the last one planned; after a search any */
    struct fm_best_fit *best;       /* of the search that was just made: whole, if the next plan is that. NULL: none yet */
    int64_t capacity_bytes;         /* what reserved may reach */
    uint64_t fingerprint;
    int64_t requests;               /* numbers them */
    enum fm_outcome question_outcome;       /* what the last plan's question ended with: not ok explains its FM_FAILED */
    bool without_workspaces;        /* no one knows them: plans take none */
    int64_t framework_bytes;        /* kept out of the capacity for what PyTorch holds beside it, assumed; 0: nothing */
    char description[1024];         /* of a GPU that is not here, as its worker is told */
    char note[320];                 /* what a plan for it rests on, or lacks; "" otherwise */
    uint64_t workspace_questions;   /* asked of the device, not found in the cache; of all branches */
};

/* FM_UNSUPPORTED: no such device here, with what there is, or no worker for it (which is named). FM_FAILED: its worker does not start. */
fm_status fm_session_open(struct fm_session *session, const struct fm_session_config *config, struct fm_err *err) FM_MUST_USE;
void fm_session_close(struct fm_session *session);
/* What a device's worker says of it, and no session. FM_UNSUPPORTED: no such device here; *out then may tell of the software
 * there is, with findings. *out is initialized before, and released by the caller in any case. */
fm_status fm_session_inventory(const struct fm_session_config *config, struct fm_reply *out, struct fm_err *err) FM_MUST_USE;
/* A session for plans in another thread: a table, program and planner of its own; what is in no table yet, one branch at a
 * time asks through the base. That one must outlive it, and is not planned with meanwhile. Ends with fm_session_close. */
void fm_session_branch(struct fm_session *base, struct fm_session *out);

/* is the worker of that device's backend installed? */
bool fm_session_has_worker(const char *device);
/* a worker of its own for the session's device, for the caller to stop */
fm_status fm_session_worker(const struct fm_session *session, struct fm_worker **out, struct fm_err *err) FM_MUST_USE;

struct fm_planned {
    struct fm_plan plan;            /* within the capacity; an OOM is data */
    int64_t needed_bytes;           /* reserved if there were no capacity; = the plan's when it fits */
    int64_t least_bytes;            /* fm_plan_least_bytes: no fragmentation, so it grows with the batch */
    bool assumed;                   /* within a search: nothing was replayed, least_bytes alone decided that it fits */
    uint64_t program;               /* hash of the step program */
    uint64_t keys;                  /* problems in it */
};
/* FM_UNSUPPORTED with the reason if the device cannot run the cell; FM_INVALID if there is no such graph; FM_FAILED with
 * session->question_outcome if the worker did not answer about workspaces */
fm_status fm_session_plan(struct fm_session *session, const struct fm_cell *cell, struct fm_cell_batch batch, struct fm_planned *out,
                          struct fm_err *err) FM_MUST_USE;
/* The largest training batch (with validation as the cell says), or with train_batch given the largest validation batch.
 * A batch above 1 that cannot be built at all is one that does not fit. Errors as of fm_session_plan. */
fm_status fm_session_max_batch(struct fm_session *session, const struct fm_cell *cell, int64_t limit, int64_t train_batch,
                               struct fm_plan_max_answer *out, struct fm_err *err) FM_MUST_USE;

#endif
