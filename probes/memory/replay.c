#include "probes/memory/replay.h"

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"

#include <assert.h>
#include <string.h>

const char *fm_breakdown_name(int kind)
{
    return kind == FM_BREAKDOWN_WORKSPACE ? "workspace" : fm_storage_kind_name((enum fm_storage_kind)kind);
}

bool fm_section_is_val(enum fm_section section)
{
    return section == FM_SECTION_VAL_FIRST || section == FM_SECTION_VAL || section == FM_SECTION_VAL_EXIT;
}

fm_status fm_replay_init(struct fm_replay *r, struct fm_err *err)
{
    r->block = fm_calloc(r->program->storage_count + 1, sizeof *r->block);
    r->entry = fm_calloc(r->program->call_count + 1, sizeof *r->entry);
    r->chosen = fm_calloc((r->workspaces ? r->workspaces->count : 0) + 1, sizeof *r->chosen);
    if (r->block && r->entry && r->chosen) return FM_OK;
    fm_replay_release(r);
    return FM_FAIL(err, FM_NOMEM, "replay of %zu storages", r->program->storage_count);
}

void fm_replay_release(struct fm_replay *r)
{
    fm_free(r->block);
    fm_free(r->entry);
    fm_free(r->chosen);
    r->block = r->entry = NULL;
    r->chosen = NULL;
}

uint64_t fm_replay_address(const struct fm_replay *r, uint32_t storage)
{
    return fm_allocator_address(r->allocator, r->block[storage]);
}

/* after an allocation; `stats` are the allocator's, `more_bytes` what is handed out besides */
static inline void note_peak(const struct fm_replay *r, const struct fm_allocator_stats *stats, int64_t more_bytes, struct fm_peak *peak,
                             uint32_t instr)
{
    int64_t allocated_bytes = stats->allocated_bytes + more_bytes;
    if (stats->reserved_bytes > peak->reserved_bytes) peak->reserved_bytes = stats->reserved_bytes;
    if (allocated_bytes <= peak->allocated_bytes) return;
    peak->allocated_bytes = allocated_bytes;
    memcpy(peak->breakdown_bytes, r->live_bytes, sizeof peak->breakdown_bytes);
    peak->instr = instr;
}

static fm_status oom(struct fm_replay *r, uint32_t instr, int64_t bytes, fm_status status)
{
    if (status == FM_OOM) {
        r->oom_instr = instr;
        r->oom_bytes = bytes;
    }
    return status;
}

static inline fm_status replay_alloc(struct fm_replay *r, const struct fm_allocator_stats *stats, uint32_t instr,
                                     struct fm_peak *peak, struct fm_err *err)
{
    uint32_t storage = r->program->instr[instr].a;
    const struct fm_storage *s = &r->program->storage[storage];
    int64_t before_bytes = stats->allocated_bytes, bytes = fm_handicap_bytes(s->bytes);
    fm_status status = fm_allocator_alloc(r->allocator, bytes, 0, &r->block[storage], err);
    if (status != FM_OK) return oom(r, instr, bytes, status);
    r->live_bytes[s->kind] += stats->allocated_bytes - before_bytes;
    r->counted_bytes += fm_counted_bytes(s);
    if (r->counted_bytes > peak->counted_bytes) peak->counted_bytes = r->counted_bytes;
    note_peak(r, stats, 0, peak, instr);
    return FM_OK;
}

static inline void replay_free(struct fm_replay *r, const struct fm_allocator_stats *stats, uint32_t storage)
{
    const struct fm_storage *s = &r->program->storage[storage];
    int64_t before_bytes = stats->allocated_bytes;
    fm_allocator_free(r->allocator, r->block[storage]);
    r->block[storage] = FM_BLOCK_NONE;
    r->counted_bytes -= fm_counted_bytes(s);
    r->live_bytes[s->kind] -= before_bytes - stats->allocated_bytes;
}

static void replay_move(struct fm_replay *r, uint32_t to, uint32_t from)
{
    r->block[to] = r->block[from];
    r->block[from] = FM_BLOCK_NONE;
}

/* what a library keeps for the thread, at its first call */
static fm_status keep_workspace(struct fm_replay *r, uint32_t instr, int64_t bytes, struct fm_peak *peak, struct fm_err *err)
{
    const struct fm_allocator_stats *stats = fm_allocator_get_stats(r->allocator);
    uint32_t *block = &r->kept[r->autograd].block;
    if (r->kept[r->autograd].bytes >= bytes) return FM_OK;
    r->live_bytes[FM_BREAKDOWN_WORKSPACE] -= fm_allocator_block_bytes(r->allocator, *block);
    fm_allocator_free(r->allocator, *block);
    r->kept[r->autograd].bytes = 0;
    fm_status status = fm_allocator_alloc(r->allocator, bytes, 0, block, err);
    if (status != FM_OK) return oom(r, instr, bytes, status);
    r->kept[r->autograd].bytes = bytes;
    r->live_bytes[FM_BREAKDOWN_WORKSPACE] += fm_allocator_block_bytes(r->allocator, *block);
    note_peak(r, stats, 0, peak, instr);
    return FM_OK;
}

/* one candidate for one call: FM_OOM if it does not fit */
static fm_status take_candidate(struct fm_replay *r, const struct fm_workspace_entry *entry, uint32_t candidate,
                                struct fm_replay_launch *launch, uint32_t *block, struct fm_err *err)
{
    int64_t bytes = entry->candidates.item[candidate].workspace_bytes;
    fm_status status = fm_allocator_alloc(r->allocator, bytes, 0, block, err);
    if (status != FM_OK) return status;
    launch->candidate = candidate;
    launch->workspace_bytes = bytes;
    launch->workspace_address = fm_allocator_address(r->allocator, *block);
    r->chosen[entry - r->workspaces->entry] = (uint8_t)(candidate + 1);
    return FM_OK;
}

static int64_t bytes_of(const struct fm_workspace_entry *entry, uint32_t candidate)
{
    return entry->candidates.item[candidate].workspace_bytes;
}

/* those that need most come first: what is planned where no one can time them */
static void rank_by_bytes(const struct fm_workspace_entry *entry, uint32_t valid, struct fm_ranking *out)
{
    for (uint32_t i = 0; i < entry->candidates.count; i++) {
        if (!(valid >> i & 1)) continue;
        uint32_t at = out->count++;
        for (; at && bytes_of(entry, out->candidate[at - 1]) < bytes_of(entry, i); at--) out->candidate[at] = out->candidate[at - 1];
        out->candidate[at] = (uint8_t)i;
    }
}

/* Rule 40: of the candidates that free memory or the largest cached block would hold, the largest workspace is allocated
 * once, halved until it fits; they are timed in it; then the cache is emptied. */
static fm_status find_fastest(struct fm_replay *r, const struct fm_workspace_entry *entry, const struct fm_replay_launch *launch,
                              struct fm_ranking *out, struct fm_err *err)
{
    const struct fm_segment_source *source = &r->allocator->source;
    int64_t cached_bytes = fm_allocator_largest_free_bytes(r->allocator), most_bytes = 0;
    int64_t room_bytes = source->free_bytes ? source->free_bytes(source->context) : INT64_MAX;
    if (cached_bytes > room_bytes) room_bytes = cached_bytes;
    uint32_t valid = 0, block = FM_BLOCK_NONE;
    for (uint32_t i = 0; i < entry->candidates.count; i++) {
        if (bytes_of(entry, i) > room_bytes) continue;
        valid |= 1u << i;
        if (bytes_of(entry, i) > most_bytes) most_bytes = bytes_of(entry, i);
    }
    fm_status status = FM_OK;
    while (most_bytes && (status = fm_allocator_alloc(r->allocator, most_bytes, 0, &block, NULL)) == FM_OOM) most_bytes /= 2;
    if (status != FM_OK && status != FM_OOM) return FM_FAIL(err, status, "a workspace to time convolutions in");
    for (uint32_t i = 0; i < entry->candidates.count; i++)
        if (bytes_of(entry, i) > most_bytes) valid &= ~(1u << i);
    struct fm_replay_launch timed = { .call = launch->call, .workspace_bytes = most_bytes,
                                      .workspace_address = fm_allocator_address(r->allocator, block) };
    *out = (struct fm_ranking){ 0 };
    status = FM_OK;
    if (r->rank) status = r->rank(r->context, r, &timed, valid, out, err);
    else rank_by_bytes(entry, valid, out);
    fm_allocator_free(r->allocator, block);
    fm_allocator_empty_cache(r->allocator);
    if (status == FM_OK && valid && !out->count) status = FM_FAIL(err, FM_UNSUPPORTED, "none of its engines ran when they were timed");
    return status;
}

/* what was chosen before, else the first candidate whose workspace can be allocated (rules 39, 41) */
static fm_status choose(struct fm_replay *r, const struct fm_workspace_entry *entry, struct fm_replay_launch *launch, uint32_t *block,
                        struct fm_err *err)
{
    uint8_t *chosen = &r->chosen[entry - r->workspaces->entry];
    fm_status status = FM_OOM;
    if (*chosen) status = take_candidate(r, entry, *chosen - 1u, launch, block, NULL);
    if (status != FM_OOM) return status;
    *chosen = 0;
    struct fm_ranking order = { .count = entry->candidates.count };
    assert(order.count <= FM_MAX_CANDIDATES);
    for (uint32_t i = 0; i < order.count; i++) order.candidate[i] = (uint8_t)i;
    if (r->program->attr[r->program->call[launch->call].attr].benchmark) {
        status = find_fastest(r, entry, launch, &order, err);
        if (status != FM_OK) return status;
        status = order.count ? FM_OOM : FM_FAIL(err, FM_OOM, "no engine's workspace fits");
    }
    for (uint32_t i = 0; i < order.count && status == FM_OOM; i++)
        status = take_candidate(r, entry, order.candidate[i], launch, block, i + 1 == order.count ? err : NULL);
    return status;
}

/* its entry in the table, NULL if there is none */
static inline const struct fm_workspace_entry *entry_of(struct fm_replay *r, uint32_t call)
{
    if (!r->entry[call]) {
        const struct fm_workspace_entry *found = fm_workspaces_find(r->workspaces, r->program->call[call].key);
        if (!found) return NULL;
        r->entry[call] = (uint32_t)(found - r->workspaces->entry) + 1;
    }
    return &r->workspaces->entry[r->entry[call] - 1];
}

/* Where nothing is executed and a cached block serves, a workspace leaves no trace but in the peaks. */
static bool pass_workspace(struct fm_replay *r, uint32_t instr, const struct fm_workspace_entry *entry, struct fm_peak *peak)
{
    uint8_t chosen = r->chosen[entry - r->workspaces->entry];
    if (r->launch || !chosen) return false;
    int64_t bytes = bytes_of(entry, chosen - 1u), block_bytes = fm_allocator_cached_bytes(r->allocator, bytes, 0);
    if (!block_bytes) return false;
    r->live_bytes[FM_BREAKDOWN_WORKSPACE] += block_bytes;
    note_peak(r, fm_allocator_get_stats(r->allocator), block_bytes, peak, instr);
    r->live_bytes[FM_BREAKDOWN_WORKSPACE] -= block_bytes;
    if (bytes > peak->workspace_bytes) peak->workspace_bytes = bytes;
    return true;
}

/* the call's workspace: what a library keeps, one of its own, or none */
static fm_status take_workspace(struct fm_replay *r, uint32_t instr, struct fm_replay_launch *launch, uint32_t *block,
                                struct fm_peak *peak, struct fm_err *err)
{
    const struct fm_call *call = &r->program->call[launch->call];
    *block = FM_BLOCK_NONE;
    if (!call->key || !r->workspaces) return FM_OK;
    const struct fm_workspace_entry *entry = entry_of(r, launch->call);
    if (!entry)
        return FM_FAIL(err, FM_FAILED, "workspaces of %s (%s) were never asked for", r->program->names + call->label,
                       fm_kernel_name((enum fm_kernel)call->kernel));
    if (entry->unsupported)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s: %s", r->program->names + call->label, entry->reason);
    uint32_t count = entry->candidates.count;
    int64_t kept_bytes = entry->candidates.kept_bytes;
    fm_status status = kept_bytes > 0 ? keep_workspace(r, instr, kept_bytes, peak, err) : FM_OK;
    if (status != FM_OK) return status;
    if (count && pass_workspace(r, instr, entry, peak)) return FM_OK;
    if (count) {
        status = choose(r, entry, launch, block, err);
        if (status != FM_OK) return oom(r, instr, entry->candidates.item[count - 1].workspace_bytes, status);
        r->live_bytes[FM_BREAKDOWN_WORKSPACE] += fm_allocator_block_bytes(r->allocator, *block);
        note_peak(r, fm_allocator_get_stats(r->allocator), 0, peak, instr);
    } else if (kept_bytes > 0) {
        launch->workspace_bytes = kept_bytes;
        launch->workspace_address = fm_allocator_address(r->allocator, r->kept[r->autograd].block);
    }
    if (launch->workspace_bytes > peak->workspace_bytes) peak->workspace_bytes = launch->workspace_bytes;
    return FM_OK;
}

static fm_status replay_call(struct fm_replay *r, uint32_t instr, uint32_t call, struct fm_peak *peak,
                             struct fm_err *err)
{
    struct fm_replay_launch launch = { .call = call };
    uint32_t block;
    fm_status status = take_workspace(r, instr, &launch, &block, peak, err);
    /* a library may want memory of the device besides its workspace: how much is not told */
    if (status == FM_OK && r->launch) status = oom(r, instr, 0, r->launch(r->context, r, &launch, err));
    if (block != FM_BLOCK_NONE) {
        r->live_bytes[FM_BREAKDOWN_WORKSPACE] -= fm_allocator_block_bytes(r->allocator, block);
        fm_allocator_free(r->allocator, block);
    }
    return status;
}

fm_status fm_replay_section(struct fm_replay *r, enum fm_section section, struct fm_err *err)
{
    const struct fm_program *p = r->program;
    const struct fm_allocator_stats *stats = fm_allocator_get_stats(r->allocator);
    struct fm_peak *peak = &r->peak[fm_section_is_val(section)];
    bool any_call = r->launch || r->workspaces;         /* else no call matters, and none is looked at */
    fm_status status = FM_OK;
    for (size_t i = p->section[section]; i < p->section[section + 1] && status == FM_OK; i++) {
        const struct fm_instr *instr = &p->instr[i];
        switch ((enum fm_instr_kind)instr->kind) {
        case FM_ALLOC:
            status = replay_alloc(r, stats, (uint32_t)i, peak, err);
            break;
        case FM_FREE:
            replay_free(r, stats, instr->a);
            break;
        case FM_MOVE:
            replay_move(r, instr->a, instr->b);
            break;
        case FM_CALL:
            if (any_call && (r->launch || p->call[instr->a].key))
                status = replay_call(r, (uint32_t)i, instr->a, peak, err);
            break;
        case FM_LOSS:
            if (r->loss) status = r->loss(r->context, r, instr->a, err);
            break;
        case FM_PHASE:
            r->autograd = instr->a == FM_PHASE_BACKWARD;
            if (r->phase) r->phase(r->context, (enum fm_phase)instr->a);
            break;
        }
    }
    return status;
}

uint64_t fm_replay_state_hash(const struct fm_replay *r)
{
    for (size_t s = 0; s < r->program->storage_count; s++)
        if (r->block[s] != FM_BLOCK_NONE) fm_allocator_set_tag(r->allocator, r->block[s], (uint32_t)s + 1);
    for (uint32_t k = 0; k < 2; k++)
        if (r->kept[k].bytes) fm_allocator_set_tag(r->allocator, r->kept[k].block, (uint32_t)r->program->storage_count + 1 + k);
    uint64_t hash = fm_allocator_state_hash(r->allocator);
    for (size_t i = 0; r->workspaces && i < r->workspaces->count; i++)
        if (r->chosen[i]) hash = fm_hash_word(hash, i << 8 | r->chosen[i]);        /* most were never chosen */
    return hash;
}

bool fm_settle_more(struct fm_settle *s, const struct fm_replay *r)
{
    uint32_t most = s->at_least > FM_REPLAY_MAX_STEPS ? s->at_least : FM_REPLAY_MAX_STEPS;
    if (s->begun) s->steps++;
    s->begun = true;
    if (!s->repeats && s->steps <= FM_REPLAY_MAX_STEPS) {
        s->seen[s->steps] = fm_replay_state_hash(r);
        for (uint32_t i = 0; i < s->steps; i++) s->repeats |= s->seen[i] == s->seen[s->steps];
    }
    return s->steps < s->at_least || (s->steps < most && !s->repeats);
}

bool fm_settle_knows(const struct fm_settle *s, const struct fm_replay *r)
{
    uint64_t now = fm_replay_state_hash(r);
    for (uint32_t i = 0; i < s->steps && i <= FM_REPLAY_MAX_STEPS; i++)
        if (s->seen[i] == now) return true;
    return false;
}

fm_status fm_replay_settle(struct fm_replay *r, enum fm_section section, struct fm_settle *settle, struct fm_err *err)
{
    fm_status status = FM_OK;
    while (status == FM_OK && fm_settle_more(settle, r)) status = fm_replay_section(r, section, err);
    return status;
}
