#include "probes/memory/allocator_internal.h"

static bool is_releasable(const struct fm_allocator *a, uint32_t handle)
{
    const struct fm_block *block = &a->blocks[handle];
    return !fm_block_is_split(block) && !a->segments[block->segment].expandable;
}

/* cudaFree of an unsplit cached block */
static void release_block(struct fm_allocator *a, struct fm_free_list *list, uint32_t handle)
{
    fm_list_remove(a, list, handle);
    const struct fm_block *block = &a->blocks[handle];
    uint32_t index = block->segment;
    const struct fm_segment *segment = &a->segments[index];
    a->stats.segment_frees++;
    a->stats.segments--;
    a->stats.reserved_bytes -= segment->bytes;
    fm_observe(a, FM_EVENT_SEGMENT_FREE, a->lists[segment->list].stream, segment->address, segment->bytes);
    a->source.segment_free(a->source.context, segment->address, segment->bytes);
    fm_record_drop(a, handle);
    fm_segment_drop(a, index);
}

static void release_list(struct fm_allocator *a, uint32_t index)
{
    struct fm_free_list *list = &a->lists[index];
    for (uint32_t b = fm_list_first(list), next; b; b = next) {
        next = fm_list_next(a, list, b);
        if (is_releasable(a, b)) release_block(a, list, b);
    }
    if (a->config.expandable_segments) fm_expandable_release_list(a, index);
}

void fm_allocator_empty_cache(struct fm_allocator *a)
{
    for (uint32_t i = 1; i < a->list_count; i += 2) release_list(a, i); /* large pools first, as torch */
    for (uint32_t i = 0; i < a->list_count; i += 2) release_list(a, i);
}

/* Rule 8's second step, with max_split only: gives back one oversize block that is large enough, or the
 * largest ones until their sum is. */
bool fm_allocator_release_available(struct fm_allocator *a, struct fm_free_list *list, int64_t bytes)
{
    if (a->max_split_bytes == INT64_MAX) return false;
    int64_t key_bytes = bytes < a->max_split_bytes ? a->max_split_bytes : bytes;
    uint32_t found = fm_list_find_bytes(a, list, key_bytes);
    if (found) {
        release_block(a, list, found);
        return true;
    }
    int64_t released_bytes = 0;
    for (uint32_t last; released_bytes < key_bytes && (last = fm_list_last(a, list)) != 0;) {
        if (a->blocks[last].bytes < a->max_split_bytes) break;
        released_bytes += a->blocks[last].bytes;
        release_block(a, list, last);
    }
    return released_bytes >= key_bytes;
}

static int64_t age_of(const struct fm_allocator *a, uint32_t handle)
{
    return a->gc_calls[1] - a->blocks[handle].gc_base;
}

/* frees the unsplit blocks of at least `age` in one large list; returns their bytes */
static int64_t collect_list(struct fm_allocator *a, struct fm_free_list *list, double age, int64_t *total_age,
                            int64_t *left)
{
    int64_t freed_bytes = 0;
    for (uint32_t b = fm_list_first(list), next; b; b = next) {
        next = fm_list_next(a, list, b);
        if (!is_releasable(a, b) || (double)age_of(a, b) < age) continue;
        freed_bytes += a->blocks[b].bytes;
        *total_age -= age_of(a, b);
        *left -= 1;
        release_block(a, list, b);
    }
    return freed_bytes;
}

/* Rule 8's first step: large unsplit blocks of at least average age, until enough is given back */
void fm_allocator_collect_garbage(struct fm_allocator *a)
{
    int64_t threshold_bytes = (int64_t)(a->config.garbage_collection_threshold * (double)a->config.capacity_bytes);
    if (a->stats.reserved_bytes <= threshold_bytes) return;
    int64_t target_bytes = a->stats.reserved_bytes - threshold_bytes, freed_bytes = 0, total_age = 0, left = 0;
    for (uint32_t i = 1; i < a->list_count; i += 2) {
        for (uint32_t b = fm_list_first(&a->lists[i]); b; b = fm_list_next(a, &a->lists[i], b)) {
            if (!is_releasable(a, b)) continue;
            total_age += age_of(a, b);
            left++;
        }
    }
    int64_t round_bytes = 1;
    while (left > 0 && freed_bytes < target_bytes && round_bytes > 0) {
        double age = (double)total_age / (double)left;
        round_bytes = 0;
        for (uint32_t i = 1; i < a->list_count; i += 2)
            round_bytes += collect_list(a, &a->lists[i], age, &total_age, &left);
        freed_bytes += round_bytes;
    }
}
