#include "probes/memory/planner.h"

#include <stdio.h>

void fm_planner_release(struct fm_planner *p)
{
    if (p->ready) fm_allocator_release(&p->allocator);
    fm_arithmetic_source_release(&p->source);
    p->ready = false;
}

static fm_status prepare(struct fm_planner *p, int64_t capacity_bytes, struct fm_err *err)
{
    struct fm_allocator_config config = fm_allocator_config_default();
    if (!p->ready) {
        fm_arithmetic_source_init(&p->source, capacity_bytes);
        fm_status status = fm_allocator_init(&p->allocator, &config, fm_arithmetic_source_interface(&p->source), err);
        if (status != FM_OK) return status;
        p->ready = true;
    }
    fm_allocator_clear(&p->allocator);
    p->source.budget_bytes = capacity_bytes;
    return FM_OK;
}

static bool has(const struct fm_program *p, enum fm_section s)
{
    return p->section[s + 1] > p->section[s];
}

static bool same_peak(const struct fm_peak *a, const struct fm_peak *b)
{
    return a->allocated_bytes == b->allocated_bytes && a->reserved_bytes == b->reserved_bytes &&
           a->counted_bytes == b->counted_bytes && a->workspace_bytes == b->workspace_bytes;
}

/* training from here on, where `settled` did not end in a state that came back */
static fm_status replay_tail(struct fm_replay *r, const struct fm_settle *settled, struct fm_plan *out, struct fm_err *err)
{
    uint64_t seen[FM_PLAN_MAX_TAIL + 1] = { fm_replay_state_hash(r) };
    for (uint32_t step = 1; !settled->repeats && step <= FM_PLAN_MAX_TAIL; step++) {
        struct fm_peak before = r->peak[0];
        fm_status status = fm_replay_section(r, FM_SECTION_TRAIN, err);
        if (status != FM_OK || !same_peak(&before, &r->peak[0])) out->tail_steps = step;
        if (status != FM_OK) return status;
        seen[step] = fm_replay_state_hash(r);
        for (uint32_t i = 0; i < step; i++)
            if (seen[i] == seen[step]) return FM_OK;
        if (fm_settle_knows(settled, r)) return FM_OK;
    }
    return FM_OK;
}

/* One whole probe; *val tells where a failure happened. Where validation leaves a state that training went on from before,
 * training again would only do what it did, and is left out. */
static fm_status replay_all(struct fm_replay *r, struct fm_plan *out, bool *val, struct fm_err *err)
{
    const struct fm_program *p = r->program;
    struct fm_settle train = { .at_least = 1 }, validate = train, again = train;
    bool any_train = has(p, FM_SECTION_TRAIN);
    fm_status status = fm_replay_section(r, FM_SECTION_INIT, err);
    if (status == FM_OK && any_train) status = fm_replay_section(r, FM_SECTION_TRAIN_FIRST, err);
    if (status == FM_OK && any_train) status = fm_replay_settle(r, FM_SECTION_TRAIN, &train, err);
    out->train_steps = train.steps;
    if (status != FM_OK) return status;
    if (!has(p, FM_SECTION_VAL)) return any_train ? replay_tail(r, &train, out, err) : FM_OK;
    *val = true;
    status = fm_replay_section(r, FM_SECTION_VAL_FIRST, err);
    if (status == FM_OK) status = fm_replay_settle(r, FM_SECTION_VAL, &validate, err);
    out->val_steps = validate.steps;
    if (status == FM_OK) status = fm_replay_section(r, FM_SECTION_VAL_EXIT, err);
    if (status != FM_OK || !any_train) return status;
    *val = false;
    if (train.repeats && fm_settle_knows(&train, r)) return FM_OK;
    status = fm_replay_settle(r, FM_SECTION_TRAIN, &again, err);
    return status == FM_OK ? replay_tail(r, &again, out, err) : status;
}

/* the name of what instruction `at` belongs to */
static const char *name_at(const struct fm_program *p, uint32_t at)
{
    const struct fm_instr *i = &p->instr[at];
    uint32_t label = i->kind == FM_ALLOC ? p->storage[i->a].label : i->kind == FM_CALL ? p->call[i->a].label : 0;
    return p->names + label;
}

fm_status fm_planner_run(struct fm_planner *planner, const struct fm_program *program, const struct fm_workspaces *workspaces,
                         int64_t capacity_bytes, struct fm_plan *out, struct fm_err *err)
{
    *out = (struct fm_plan){ 0 };
    fm_status status = prepare(planner, capacity_bytes, err);
    if (status != FM_OK) return status;
    struct fm_replay r = { .program = program, .allocator = &planner->allocator, .workspaces = workspaces };
    status = fm_replay_init(&r, err);
    if (status != FM_OK) return status;
    bool val = false;
    struct fm_err cause = { 0 };
    status = replay_all(&r, out, &val, &cause);
    out->train = r.peak[0];
    out->val = r.peak[1];
    out->fits = status == FM_OK;
    if (status == FM_OOM) {
        out->limited_by_val = val;
        out->oom_bytes = r.oom_bytes;
        (void)snprintf(out->oom_at, sizeof out->oom_at, "%s", name_at(program, r.oom_instr));
        status = FM_OK;
    } else if (status != FM_OK) {
        (void)FM_FAIL(err, status, "%s", cause.text);
    }
    fm_replay_release(&r);
    return status;
}

/* the smallest that the call can take; *kept_bytes: what stays after it */
static int64_t call_workspace(const struct fm_workspaces *workspaces, uint64_t key, int64_t *kept_bytes)
{
    const struct fm_workspace_entry *entry = workspaces && key ? fm_workspaces_find(workspaces, key) : NULL;
    if (entry && entry->candidates.kept_bytes > *kept_bytes) *kept_bytes = entry->candidates.kept_bytes;
    if (!entry || !entry->candidates.count) return 0;
    int64_t least_bytes = INT64_MAX;
    for (uint32_t i = 0; i < entry->candidates.count; i++)
        if (entry->candidates.item[i].workspace_bytes < least_bytes) least_bytes = entry->candidates.item[i].workspace_bytes;
    return least_bytes;
}

int64_t fm_plan_least_bytes(const struct fm_program *p, const struct fm_workspaces *workspaces)
{
    int64_t live_bytes = 0, least_bytes = 0, kept_bytes[2] = { 0 };
    bool autograd = false;
    for (size_t i = 0; i < p->instr_count; i++) {
        const struct fm_instr *instr = &p->instr[i];
        int64_t call_bytes = 0;
        if (instr->kind == FM_ALLOC) live_bytes += fm_counted_bytes(&p->storage[instr->a]);
        else if (instr->kind == FM_FREE) live_bytes -= fm_counted_bytes(&p->storage[instr->a]);
        else if (instr->kind == FM_PHASE) autograd = instr->a == FM_PHASE_BACKWARD;
        else if (instr->kind == FM_CALL) call_bytes = call_workspace(workspaces, p->call[instr->a].key, &kept_bytes[autograd]);
        call_bytes += kept_bytes[0] + kept_bytes[1];
        if (live_bytes + call_bytes > least_bytes) least_bytes = live_bytes + call_bytes;
    }
    return least_bytes;
}
