#include "probes/memory/allocator_internal.h"

#include <stdio.h>

static void note_violation(struct fm_allocator *a, const char *what, uint64_t address, int64_t bytes)
{
    if (a->guard_violations++ == 0)
        snprintf(a->guard_text, sizeof a->guard_text, "%s, within %lld bytes at 0x%llx", what, (long long)bytes,
                 (unsigned long long)address);
}

static void check_canary(struct fm_allocator *a, const struct fm_block *block)
{
    int64_t slack_bytes = block->bytes - block->requested_bytes;
    if (slack_bytes == 0) return;
    uint64_t address = fm_block_address(a, block) + (uint64_t)block->requested_bytes;
    if (!a->source.holds(a->source.context, address, slack_bytes, FM_GUARD_CANARY))
        note_violation(a, "something was written behind the end of a live block", address, slack_bytes);
}

static void check_free(struct fm_allocator *a, uint64_t address, int64_t bytes)
{
    if (!a->source.holds(a->source.context, address, bytes, FM_GUARD_POISON))
        note_violation(a, "something was written to free memory", address, bytes);
}

void fm_guard_new_memory(struct fm_allocator *a, uint64_t address, int64_t bytes)
{
    a->source.fill(a->source.context, address, bytes, FM_GUARD_POISON);
}

void fm_guard_alloc(struct fm_allocator *a, uint32_t handle)
{
    const struct fm_block *block = &a->blocks[handle];
    uint64_t address = fm_block_address(a, block);
    check_free(a, address, block->bytes);
    if (block->bytes > block->requested_bytes)
        a->source.fill(a->source.context, address + (uint64_t)block->requested_bytes,
                       block->bytes - block->requested_bytes, FM_GUARD_CANARY);
}

void fm_guard_free(struct fm_allocator *a, uint32_t handle)
{
    const struct fm_block *block = &a->blocks[handle];
    check_canary(a, block);
    a->source.fill(a->source.context, fm_block_address(a, block), block->bytes, FM_GUARD_POISON);
}

fm_status fm_allocator_guard_check(struct fm_allocator *a, struct fm_err *err)
{
    for (uint32_t s = a->segment_first; a->config.guard && s; s = a->segments[s].next) {
        for (uint32_t b = a->segments[s].first; b; b = a->blocks[b].next) {
            const struct fm_block *block = &a->blocks[b];
            if (block->state == FM_BLOCK_USED)
                check_canary(a, block);
            else if (block->state == FM_BLOCK_FREE)
                check_free(a, fm_block_address(a, block), block->bytes);
        }
    }
    if (a->guard_violations == 0) return FM_OK;
    return FM_FAIL(err, FM_MISMATCH, "memory guard: %s (%lld violations)", a->guard_text,
                   (long long)a->guard_violations);
}
