/* Which allocation of a training or validation step an out-of-memory message speaks of.
 *
 * For each cell and batch the step program is lowered and its allocations are walked through a caching allocator
 * (probes/memory), without workspaces. An allocation is a match if the segment that it would ask for is as large as what
 * the message says was tried; where the message also says what was allocated, that tells apart the matches.
 *
 * Scenes: training; validation as the first thing a process does (a trainer's sanity check: no gradients, no optimizer
 * state); validation after training. `ddp`: the allocated bytes agree once a copy of all gradients is added, as the
 * buckets of DistributedDataParallel are (allocated when it wraps the model). */
#ifndef FM_TUNER_EXPLAIN_MATCH_H
#define FM_TUNER_EXPLAIN_MATCH_H

#include "tuner/explain/message.h"
#include "workloads/strategies/strategies.h"

#define FM_MATCHES_MAX 16

enum fm_scene { FM_SCENE_TRAIN, FM_SCENE_VAL_FIRST, FM_SCENE_VAL, FM_SCENE_COUNT };
const char *fm_scene_text(enum fm_scene scene);         /* "training", "validation before any training step", ... */

struct fm_match {
    size_t cell;                    /* index */
    int64_t batch;                  /* of the pass that failed */
    enum fm_scene scene;
    enum fm_section section;
    bool ddp;
    char label[64];                 /* "dec1.cat" */
    uint32_t nth, of;               /* of the allocations of that label, type and size in the section, from 1 */
    enum fm_storage_kind kind;
    enum fm_dtype dtype;
    int64_t tensor_bytes, segment_bytes;
    int64_t live_bytes;             /* allocated just before; DistributedDataParallel's buckets included if ddp */
    int64_t off_bytes;              /* live_bytes minus the nearest that the message allows; 0 where it says nothing */
    bool confirmed;                 /* a walk with the memory that was to be had fails just here */
    int64_t unused_bytes;           /* if confirmed: reserved but not allocated there */
    bool scales;                    /* the tensor grows with the batch */
};

struct fm_match_query {
    const struct fm_cell *cell;     /* borrowed */
    size_t cells;
    const struct fm_oom *oom;       /* requested must be known */
    int64_t batch;                  /* 0: all up to batch_max */
    int64_t batch_max;
};

struct fm_matches {
    struct fm_match item[FM_MATCHES_MAX];       /* best first: agreement of allocated, confirmed, without ddp, batch */
    size_t count;
    size_t total;                   /* matches by size */
    int64_t batches;                /* batches walked */
    size_t unsupported;             /* cells that cannot be lowered, the reason of the first in `reason` */
    char reason[160];
};

/* INVALID: nothing to look for; NOMEM */
fm_status fm_match_find(const struct fm_match_query *query, struct fm_matches *out, struct fm_err *err) FM_MUST_USE;
/* whether the first match's allocated bytes are within what the message printed */
bool fm_match_exact(const struct fm_matches *matches, const struct fm_oom *oom);

#endif
