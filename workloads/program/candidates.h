/* Workspaces are chosen, not given: the ordered ways to run a call, and a table of them by problem.
 *
 * A backend answers for a problem (fm_problem_key) once; planner and worker then take the first candidate whose
 * workspace can be allocated, as PyTorch retreats near the limit (rules 39-41). */
#ifndef FM_WORKLOADS_PROGRAM_CANDIDATES_H
#define FM_WORKLOADS_PROGRAM_CANDIDATES_H

#include "tuner/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_MAX_CANDIDATES 10            /* what PyTorch times with cudnn.benchmark */

#define FM_WORKSPACE_REASON_BYTES 160

struct fm_candidate {
    int64_t workspace_bytes;
    char what[48];                      /* implementation, for people: "jit:avx512_core" */
};

struct fm_candidates {
    uint32_t count;                     /* 0: needs no workspace of its own and no choice */
    /* What a library keeps for each thread that calls it, from the first call on: one block for forward (and the optimizer),
     * one for backward. A call without candidates of its own computes in it. 0: nothing (rule 46). */
    int64_t kept_bytes;
    struct fm_candidate item[FM_MAX_CANDIDATES];
};

/* candidates of one problem, the fastest first */
struct fm_ranking { uint32_t count; uint8_t candidate[FM_MAX_CANDIDATES]; };

/* What a device answered, by problem key. Owns its entries; pointers stay valid until it changes. */
struct fm_workspaces {
    struct fm_workspace_entry *entry;
    uint32_t *slot;                     /* open addressing: index + 1, 0 empty */
    size_t count, room, slots;
};

struct fm_workspace_entry {
    uint64_t key;
    struct fm_candidates candidates;
    bool unsupported;
    char reason[FM_WORKSPACE_REASON_BYTES];     /* why unsupported */
};

void fm_workspaces_release(struct fm_workspaces *table);
/* NULL if the key was never asked */
const struct fm_workspace_entry *fm_workspaces_find(const struct fm_workspaces *table, uint64_t key);
/* replaces an entry with the same key */
fm_status fm_workspaces_add(struct fm_workspaces *table, const struct fm_workspace_entry *entry, struct fm_err *err) FM_MUST_USE;

#endif
