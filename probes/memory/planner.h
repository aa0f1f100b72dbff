/* Planning: what a step program would take, by arithmetic; nothing is executed.
 *
 * The order is that of a certified probe: model, training until the allocator's state repeats, validation likewise,
 * training again, all in one process. Where training does not settle within FM_REPLAY_MAX_STEPS, more steps follow, up to
 * FM_PLAN_MAX_TAIL, until a state comes back: what is timed later must not need more than was planned. */
#ifndef FM_PROBES_MEMORY_PLANNER_H
#define FM_PROBES_MEMORY_PLANNER_H

#include "probes/memory/arithmetic_source.h"
#include "probes/memory/replay.h"

#define FM_PLAN_MAX_TAIL 256

struct fm_plan {
    bool fits;                          /* in the capacity that was given */
    bool limited_by_val;                /* where it did not fit */
    struct fm_peak train, val;          /* as far as the replay came */
    uint32_t train_steps, val_steps;    /* until the state repeated: a worker runs at least as many */
    uint32_t tail_steps;                /* then, if training's did not repeat: further ones until its peaks were reached, or it failed */
    char oom_at[64];                    /* what was being allocated when it did not fit: "dec1.cat" */
    int64_t oom_bytes;
};

/* Reusable: keeps its allocator's arrays between plans. */
struct fm_planner {
    struct fm_arithmetic_source source;
    struct fm_allocator allocator;
    bool ready;
};

void fm_planner_release(struct fm_planner *planner);
/* capacity_bytes: what reserved may reach (INT64_MAX: see how far it goes). An OOM is data: FM_OK with fits false.
 * FM_UNSUPPORTED with the reason where the device cannot run a call. workspaces NULL: plan without any. */
fm_status fm_planner_run(struct fm_planner *planner, const struct fm_program *program, const struct fm_workspaces *workspaces,
                         int64_t capacity_bytes, struct fm_plan *out, struct fm_err *err) FM_MUST_USE;

/* What no allocator can do without: the most bytes of storages alive at once, each rounded up to a block, with the smallest
 * workspace of the call they are for. Never more than an allocator reserves where the program fits; nothing is replayed. */
int64_t fm_plan_least_bytes(const struct fm_program *program, const struct fm_workspaces *workspaces);

#endif
