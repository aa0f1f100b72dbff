/* Replaying a step program through the caching allocator: the one loop that planner and worker share.
 *
 * The planner replays over arithmetic; the worker gives a hook that executes each call at the addresses that the same
 * allocator handed out. A workspace is allocated around its call: the first candidate that fits is taken, and stays the choice
 * for its problem until it does not fit, when all are gone through again (PyTorch's cache of plans, rule 41). With
 * fm_attr.benchmark they are timed first, as PyTorch does, in memory that no peak counts (rule 40). What a library keeps
 * for each thread is allocated before the first call of forward and of backward that asks for it, and stays (rule 46).
 * Peaks, and what was alive at the peak, are kept per phase group (training, validation). */
#ifndef FM_PROBES_MEMORY_REPLAY_H
#define FM_PROBES_MEMORY_REPLAY_H

#include "probes/memory/caching_allocator.h"
#include "tuner/base/handicap.h"
#include "workloads/program/candidates.h"
#include "workloads/program/program.h"

#define FM_REPLAY_MAX_STEPS 8           /* steps until the allocator's state repeats (fragmentation settles) */

/* bytes alive, by what they are for; workspace last */
enum { FM_BREAKDOWN_WORKSPACE = FM_STORAGE_KIND_COUNT, FM_BREAKDOWN_COUNT };
const char *fm_breakdown_name(int kind);

/* a storage rounded up to a block: what PyTorch's own accounting counts (rule 48) */
static inline int64_t fm_counted_bytes(const struct fm_storage *storage)
{
    return (fm_handicap_bytes(storage->bytes) + FM_BLOCK_MIN_BYTES - 1) & ~(FM_BLOCK_MIN_BYTES - 1);
}

struct fm_peak {
    int64_t allocated_bytes, reserved_bytes;        /* the allocator's: whole blocks, segments */
    int64_t counted_bytes;                          /* storages: fm_counted_bytes */
    int64_t workspace_bytes;                        /* largest workspace taken */
    int64_t breakdown_bytes[FM_BREAKDOWN_COUNT];    /* at the peak of allocated */
    uint32_t instr;                                 /* where allocated peaked */
};

struct fm_replay_launch {
    uint32_t call;
    uint64_t workspace_address;
    int64_t workspace_bytes;
    uint32_t candidate;                             /* index; 0 if the call has no candidates */
};

struct fm_replay {
    /* given */
    const struct fm_program *program;               /* borrowed */
    struct fm_allocator *allocator;                 /* borrowed */
    const struct fm_workspaces *workspaces;         /* borrowed; NULL: no call takes any */
    /* executes a call; NULL in the planner */
    fm_status (*launch)(void *context, const struct fm_replay *replay, const struct fm_replay_launch *launch,
                        struct fm_err *err);
    /* Times candidates of a call whose problem says so (fm_attr.benchmark), in the workspace of the launch; NULL, as in the
     * planner, which cannot know: those that need most come first. */
    fm_status (*rank)(void *context, const struct fm_replay *replay, const struct fm_replay_launch *launch, uint32_t valid,
                      struct fm_ranking *out, struct fm_err *err);
    void (*phase)(void *context, enum fm_phase phase);      /* NULL: not told */
    /* the loss of a micro-batch is in this storage now; NULL: not told */
    fm_status (*loss)(void *context, const struct fm_replay *replay, uint32_t storage, struct fm_err *err);
    void *context;
    /* kept */
    uint32_t *block;                                /* per storage: allocator's handle */
    int64_t live_bytes[FM_BREAKDOWN_COUNT];
    int64_t counted_bytes;
    struct fm_peak peak[2];                         /* training (and model), validation */
    uint32_t *entry;                                /* per call: 1 + its entry of workspaces, once it was looked for */
    uint8_t *chosen;                                /* per entry of workspaces: 1 + the candidate that stays; 0: none yet */
    bool autograd;                                  /* in backward, which another thread runs */
    struct { uint32_t block; int64_t bytes; } kept[2];      /* by a library, of each thread */
    uint32_t oom_instr;                             /* where FM_OOM happened */
    int64_t oom_bytes;
};

/* FM_NOMEM. `program` .. `context` must be set, the rest zero. */
fm_status fm_replay_init(struct fm_replay *replay, struct fm_err *err) FM_MUST_USE;
void fm_replay_release(struct fm_replay *replay);           /* frees its arrays, not the allocator's blocks */
/* One section, once. FM_OOM: where and how much in oom_*; FM_UNSUPPORTED: the device cannot run a call, with the
 * reason; FM_FAILED: a workspace was never asked for. */
fm_status fm_replay_section(struct fm_replay *replay, enum fm_section section, struct fm_err *err) FM_MUST_USE;
/* The allocator's state and which storage lives where: equal at two moments, a section does the same from there. */
uint64_t fm_replay_state_hash(const struct fm_replay *replay);

/* How often a section is repeated: until its end finds the state that it, or any earlier end, left before (with a
 * loader a batch and its predecessor take turns in two places), at least `at_least` times, at most
 * max(at_least, FM_REPLAY_MAX_STEPS).
 *
 *     struct fm_settle settle = { .at_least = 1 };
 *     while (fm_settle_more(&settle, replay)) ... run the section ...
 */
struct fm_settle {
    uint32_t at_least, steps;                       /* given; steps run so far */
    bool begun, repeats;
    uint64_t seen[FM_REPLAY_MAX_STEPS + 1];
};
bool fm_settle_more(struct fm_settle *settle, const struct fm_replay *replay);
/* is this a state that the section was run from? */
bool fm_settle_knows(const struct fm_settle *settle, const struct fm_replay *replay);
/* that loop */
fm_status fm_replay_settle(struct fm_replay *replay, enum fm_section section, struct fm_settle *settle, struct fm_err *err) FM_MUST_USE;
uint64_t fm_replay_address(const struct fm_replay *replay, uint32_t storage);
bool fm_section_is_val(enum fm_section section);

#endif
