/* Rule 9: one range of 1 1/8 times the device's memory a stream and pool, memory mapped under it in
 * pages of 2 MiB (small pool) or 20 MiB (large), so that it grows as one segment. */
#include "probes/memory/allocator_internal.h"

static int64_t page_bytes_of(const struct fm_allocator *a, uint32_t list)
{
    return a->lists[list].small ? FM_SMALL_SEGMENT_BYTES : FM_LARGE_SEGMENT_BYTES;
}

static int64_t min_bytes(int64_t x, int64_t y)
{
    return x < y ? x : y;
}

static uint32_t new_neighbour(struct fm_allocator *a, uint32_t list, uint32_t previous, uint32_t next)
{
    uint32_t handle = fm_record_take(a, list);
    struct fm_block *block = &a->blocks[handle];
    block->segment = a->blocks[previous ? previous : next].segment;
    block->previous = previous;
    block->next = next;
    if (previous)
        a->blocks[previous].next = handle;
    else
        a->segments[block->segment].first = handle;
    if (next) a->blocks[next].previous = handle;
    return handle;
}

/* block takes in its neighbour if both are free or both are unmapped; block itself is in no list */
static void try_merge(struct fm_allocator *a, uint32_t handle, uint32_t neighbour)
{
    struct fm_block *block = &a->blocks[handle];
    const struct fm_block *other = &a->blocks[neighbour];
    if (!neighbour || other->state != block->state) return;
    if (other->state == FM_BLOCK_FREE) fm_list_remove(a, &a->lists[block->list], neighbour);
    if (block->previous == neighbour) {
        block->offset_bytes = other->offset_bytes;
        block->previous = other->previous;
        if (block->previous)
            a->blocks[block->previous].next = handle;
        else
            a->segments[block->segment].first = handle;
    } else {
        block->next = other->next;
        if (block->next) a->blocks[block->next].previous = handle;
    }
    block->bytes += other->bytes;
    fm_record_drop(a, neighbour);
}

static int64_t room_from(const struct fm_allocator *a, uint32_t handle, int64_t enough_bytes)
{
    int64_t bytes = 0;
    for (; handle && bytes < enough_bytes && a->blocks[handle].state != FM_BLOCK_USED; handle = a->blocks[handle].next)
        bytes += a->blocks[handle].bytes;
    return bytes;
}

/* the lowest run of unmapped and free blocks with room for `bytes`, or a new range of addresses */
static fm_status find_range(struct fm_allocator *a, uint32_t list, int64_t bytes, uint32_t *block, struct fm_err *err)
{
    for (uint32_t s = a->segment_first; s; s = a->segments[s].next) {
        if (a->segments[s].list != list) continue;
        for (uint32_t b = a->segments[s].first; b; b = a->blocks[b].next) {
            if (a->blocks[b].state != FM_BLOCK_UNMAPPED) continue;
            uint32_t previous = a->blocks[b].previous;
            *block = previous && a->blocks[previous].state != FM_BLOCK_USED ? previous : b;
            if (room_from(a, *block, bytes) >= bytes) return FM_OK;
        }
    }
    int64_t page_bytes = page_bytes_of(a, list), device_bytes = a->config.device_bytes;
    int64_t range_bytes = (device_bytes + device_bytes / 8 + page_bytes - 1) / page_bytes * page_bytes;
    if (range_bytes < bytes) return FM_OOM; /* more than the device has */
    uint64_t address = 0;
    fm_status status = a->source.range_reserve(a->source.context, range_bytes, &address, err);
    if (status != FM_OK) return status;
    *block = fm_segment_create(a, list, address, range_bytes);
    a->segments[a->blocks[*block].segment].expandable = true;
    a->blocks[*block].state = FM_BLOCK_UNMAPPED;
    return FM_OK;
}

static fm_status map_block(struct fm_allocator *a, uint32_t list, uint32_t handle, int64_t bytes, struct fm_err *err)
{
    struct fm_block *block = &a->blocks[handle];
    int64_t page_bytes = page_bytes_of(a, list);
    int64_t mapped_bytes = (bytes + page_bytes - 1) / page_bytes * page_bytes;
    uint64_t address = fm_block_address(a, block);
    assert(block->state == FM_BLOCK_UNMAPPED && mapped_bytes <= block->bytes);
    fm_status status = a->source.range_map(a->source.context, address, mapped_bytes, err);
    if (status != FM_OK) return status;
    block->state = FM_BLOCK_FREE;
    if (mapped_bytes < block->bytes) {
        uint32_t rest = new_neighbour(a, list, handle, block->next);
        a->blocks[rest].offset_bytes = block->offset_bytes + mapped_bytes;
        a->blocks[rest].bytes = block->bytes - mapped_bytes;
        a->blocks[rest].state = FM_BLOCK_UNMAPPED;
        block->bytes = mapped_bytes;
    }
    try_merge(a, handle, block->previous);
    try_merge(a, handle, block->next);
    fm_list_insert(a, &a->lists[list], handle);
    fm_raise(&a->stats.reserved_bytes, &a->stats.reserved_peak_bytes, mapped_bytes);
    a->stats.segment_allocs++;
    fm_observe(a, FM_EVENT_SEGMENT_MAP, a->lists[list].stream, address, mapped_bytes);
    if (a->config.guard) fm_guard_new_memory(a, address, mapped_bytes);
    return FM_OK;
}

/* The block comes out of its list. What was mapped before a failure stays mapped and free, as in torch. */
fm_status fm_expandable_alloc(struct fm_allocator *a, uint32_t list, int64_t bytes, uint32_t *block, struct fm_err *err)
{
    uint32_t candidate = FM_BLOCK_NONE;
    fm_status status = FM_OK;
    FM_TRY(find_range(a, list, bytes, &candidate, err));
    if (a->blocks[candidate].state == FM_BLOCK_UNMAPPED)
        FM_TRY(map_block(a, list, candidate, min_bytes(a->blocks[candidate].bytes, bytes), err));
    while (a->blocks[candidate].bytes < bytes) {
        int64_t missing_bytes = bytes - a->blocks[candidate].bytes;
        uint32_t next = a->blocks[candidate].next;
        FM_TRY(map_block(a, list, next, min_bytes(missing_bytes, a->blocks[next].bytes), err));
        candidate = next; /* it took in the old candidate */
    }
    fm_list_remove(a, &a->lists[list], candidate);
    *block = candidate;
out:
    return status;
}

/* unmaps the whole pages within a free block; what is before and after them stays free */
static bool unmap_block(struct fm_allocator *a, uint32_t list, uint32_t handle)
{
    struct fm_block *block = &a->blocks[handle];
    int64_t page_bytes = page_bytes_of(a, list), end_bytes = block->offset_bytes + block->bytes;
    int64_t from_bytes = (block->offset_bytes + page_bytes - 1) / page_bytes * page_bytes;
    int64_t to_bytes = end_bytes / page_bytes * page_bytes;
    if (from_bytes >= to_bytes) return false;
    fm_list_remove(a, &a->lists[list], handle);
    if (from_bytes > block->offset_bytes) {
        uint32_t before = new_neighbour(a, list, block->previous, handle);
        a->blocks[before].offset_bytes = block->offset_bytes;
        a->blocks[before].bytes = from_bytes - block->offset_bytes;
        fm_list_insert(a, &a->lists[list], before);
    }
    if (end_bytes > to_bytes) {
        uint32_t after = new_neighbour(a, list, handle, block->next);
        a->blocks[after].offset_bytes = to_bytes;
        a->blocks[after].bytes = end_bytes - to_bytes;
        fm_list_insert(a, &a->lists[list], after);
    }
    block->offset_bytes = from_bytes;
    block->bytes = to_bytes - from_bytes;
    block->state = FM_BLOCK_UNMAPPED;
    uint64_t address = fm_block_address(a, block);
    int64_t unmapped_bytes = block->bytes;
    a->source.range_unmap(a->source.context, address, unmapped_bytes);
    try_merge(a, handle, block->previous);
    try_merge(a, handle, block->next);
    a->stats.reserved_bytes -= unmapped_bytes;
    a->stats.segment_frees++;
    fm_observe(a, FM_EVENT_SEGMENT_UNMAP, a->lists[list].stream, address, unmapped_bytes);
    return true;
}

/* torch goes by size, here by address: blocks are unmapped independently, so the outcome is the same */
void fm_expandable_release_list(struct fm_allocator *a, uint32_t list)
{
    for (uint32_t s = a->segment_first, following; s; s = following) {
        following = a->segments[s].next;
        if (a->segments[s].list != list || !a->segments[s].expandable) continue;
        bool any = false;
        for (uint32_t b = a->segments[s].first; b; b = a->blocks[b].next)
            if (a->blocks[b].state == FM_BLOCK_FREE) any |= unmap_block(a, list, b);
        uint32_t first = a->segments[s].first;
        if (!any || a->blocks[first].state != FM_BLOCK_UNMAPPED || a->blocks[first].next) continue;
        a->source.range_release(a->source.context, a->segments[s].address, a->segments[s].bytes);
        fm_record_drop(a, first);
        fm_segment_drop(a, s);
    }
}

static int64_t growable_bytes(const struct fm_allocator *a, uint32_t handle)
{
    const struct fm_block *block = &a->blocks[handle];
    const struct fm_block *next = &a->blocks[block->next];
    return block->bytes + (block->next && next->state == FM_BLOCK_UNMAPPED ? next->bytes : 0);
}

uint32_t fm_expandable_best_block(const struct fm_allocator *a, const struct fm_free_list *list, uint32_t at)
{
    for (uint32_t next; (next = fm_list_next(a, list, at)) != 0; at = next)
        if (growable_bytes(a, next) >= growable_bytes(a, at)) break;
    return at;
}
