#include "probes/memory/allocator_internal.h"

#include "tuner/base/hash.h"

static const struct fm_block *used_block(const struct fm_allocator *a, uint32_t handle)
{
    assert(handle < a->block_capacity && a->blocks[handle].state == FM_BLOCK_USED);
    return &a->blocks[handle];
}

uint64_t fm_allocator_address(const struct fm_allocator *a, uint32_t block)
{
    return block == FM_BLOCK_NONE ? 0 : fm_block_address(a, used_block(a, block));
}

int64_t fm_allocator_block_bytes(const struct fm_allocator *a, uint32_t block)
{
    return block == FM_BLOCK_NONE ? 0 : used_block(a, block)->bytes;
}

int64_t fm_allocator_requested_bytes(const struct fm_allocator *a, uint32_t block)
{
    return block == FM_BLOCK_NONE ? 0 : used_block(a, block)->requested_bytes;
}

void fm_allocator_set_tag(struct fm_allocator *a, uint32_t block, uint32_t tag)
{
    if (block == FM_BLOCK_NONE) return;
    (void)used_block(a, block);
    a->blocks[block].tag = tag;
}

const struct fm_allocator_stats *fm_allocator_get_stats(const struct fm_allocator *a)
{
    return &a->stats;
}

void fm_allocator_reset_peaks(struct fm_allocator *a)
{
    a->stats.allocated_peak_bytes = a->stats.allocated_bytes;
    a->stats.requested_peak_bytes = a->stats.requested_bytes;
    a->stats.reserved_peak_bytes = a->stats.reserved_bytes;
    a->stats.inactive_split_peak_bytes = a->stats.inactive_split_bytes;
    a->stats.segments_peak = a->stats.segments;
}

int64_t fm_allocator_largest_free_bytes(const struct fm_allocator *a)
{
    int64_t largest_bytes = 0;
    for (uint32_t i = 0; i < a->list_count; i++) {
        uint32_t last = fm_list_last(a, &a->lists[i]);
        if (!last) continue;
        int64_t bytes = a->blocks[last].bytes;
        largest_bytes = bytes > largest_bytes ? bytes : largest_bytes;
    }
    return largest_bytes;
}

uint64_t fm_allocator_state_hash(const struct fm_allocator *a)
{
    uint64_t hash = FM_HASH_INIT;
    for (uint32_t s = a->segment_first; s; s = a->segments[s].next) {
        const struct fm_segment *segment = &a->segments[s];
        const struct fm_free_list *list = &a->lists[segment->list];
        hash = fm_hash_word(hash, (uint64_t)segment->bytes << 2 | (uint64_t)list->small << 1 | segment->expandable);
        hash = fm_hash_word(hash, list->stream);
        for (uint32_t b = segment->first; b; b = a->blocks[b].next) {
            const struct fm_block *block = &a->blocks[b];
            hash = fm_hash_word(hash, (uint64_t)block->bytes << 2 | block->state);
            if (block->state == FM_BLOCK_USED) {
                hash = fm_hash_word(hash, (uint64_t)block->requested_bytes);
                hash = fm_hash_word(hash, block->tag);
            } else if (a->gc_on) { /* ages decide what is collected */
                hash = fm_hash_word(hash, (uint64_t)(a->gc_calls[!list->small] - block->gc_base));
            }
        }
    }
    return hash;
}

bool fm_allocator_next_segment(const struct fm_allocator *a, uint32_t *cursor, struct fm_segment_view *view)
{
    uint32_t index = *cursor ? a->segments[*cursor].next : a->segment_first;
    if (!index) return false;
    const struct fm_segment *segment = &a->segments[index];
    *cursor = index;
    *view = (struct fm_segment_view){
        .index = index,
        .stream = a->lists[segment->list].stream,
        .small = a->lists[segment->list].small,
        .expandable = segment->expandable,
        .address = segment->address,
        .bytes = segment->bytes,
    };
    return true;
}

bool fm_allocator_next_block(const struct fm_allocator *a, uint32_t segment, uint32_t *cursor,
                             struct fm_block_view *view)
{
    uint32_t handle = *cursor ? a->blocks[*cursor].next : a->segments[segment].first;
    if (!handle) return false;
    const struct fm_block *block = &a->blocks[handle];
    *cursor = handle;
    *view = (struct fm_block_view){
        .block = handle,
        .tag = block->tag,
        .state = (enum fm_block_state)block->state,
        .address = fm_block_address(a, block),
        .bytes = block->bytes,
        .requested_bytes = block->requested_bytes,
    };
    return true;
}
