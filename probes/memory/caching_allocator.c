#include "probes/memory/caching_allocator.h"

#include "probes/memory/allocator_internal.h"

struct fm_allocator_config fm_allocator_config_default(void)
{
    return (struct fm_allocator_config){ .capacity_bytes = INT64_MAX };
}

void fm_allocator_config_set_divisions(struct fm_allocator_config *config, uint32_t divisions)
{
    for (int i = 0; i < FM_ROUNDUP_OCTAVES; i++) config->roundup_power2_divisions[i] = divisions;
}

static fm_status check_config(const struct fm_allocator_config *config, struct fm_err *err)
{
    if (config->capacity_bytes < 0)
        return FM_FAIL(err, FM_INVALID, "capacity_bytes %lld is negative: give INT64_MAX for no limit",
                       (long long)config->capacity_bytes);
    if (config->max_split_bytes != 0 && config->max_split_bytes <= FM_LARGE_SEGMENT_BYTES)
        return FM_FAIL(err, FM_INVALID, "max_split_bytes %lld: give 0 for no limit or more than 20 MiB",
                       (long long)config->max_split_bytes);
    for (int i = 0; i < FM_ROUNDUP_OCTAVES; i++) {
        uint32_t divisions = config->roundup_power2_divisions[i];
        if (divisions & (divisions - 1))
            return FM_FAIL(err, FM_INVALID, "roundup_power2_divisions[%d] = %u: give 0 or a power of two", i,
                           divisions);
    }
    if (!(config->garbage_collection_threshold >= 0 && config->garbage_collection_threshold < 1))
        return FM_FAIL(err, FM_INVALID, "garbage_collection_threshold %g: give 0 (off) or a value below 1",
                       config->garbage_collection_threshold);
    if (config->expandable_segments && (config->device_bytes <= 0 || config->device_bytes > FM_SEGMENT_MAX_BYTES))
        return FM_FAIL(err, FM_INVALID,
                       "device_bytes %lld: expandable segments need the device's total memory, at most 1 TiB",
                       (long long)config->device_bytes);
    return FM_OK;
}

static fm_status check_source(const struct fm_allocator_config *config, const struct fm_segment_source *source,
                              struct fm_err *err)
{
    if (!source->segment_alloc || !source->segment_free)
        return FM_FAIL(err, FM_INVALID, "the segment source has no segment_alloc or segment_free");
    if (config->expandable_segments &&
        (!source->range_reserve || !source->range_release || !source->range_map || !source->range_unmap))
        return FM_FAIL(err, FM_UNSUPPORTED, "expandable segments: this device cannot map memory into a range");
    if (config->guard && (!source->fill || !source->holds))
        return FM_FAIL(err, FM_UNSUPPORTED, "guard mode: this segment source has no real memory to fill");
    return FM_OK;
}

fm_status fm_allocator_init(struct fm_allocator *a, const struct fm_allocator_config *config,
                            struct fm_segment_source source, struct fm_err *err)
{
    fm_status status = FM_OK;
    *a = (struct fm_allocator){ 0 };
    FM_TRY(check_config(config, err));
    FM_TRY(check_source(config, &source, err));
    a->config = *config;
    a->source = source;
    a->max_split_bytes = config->max_split_bytes ? config->max_split_bytes : INT64_MAX;
    a->gc_on = config->capacity_bytes != INT64_MAX && config->garbage_collection_threshold > 0;
    for (int i = 0; i < FM_ROUNDUP_OCTAVES; i++) a->roundup_on |= config->roundup_power2_divisions[i] > 1;
    FM_TRY(fm_allocator_make_room(a, err));
out:
    if (status != FM_OK) fm_allocator_release(a);
    return status;
}

static int log2_floor(uint64_t value)
{
    return 63 - __builtin_clzll(value);
}

/* to the next 1/d step of the octave; PyTorch does not round to 512 here: with size > 512 d a step is >= 512 */
static int64_t round_to_division(const struct fm_allocator *a, int64_t bytes)
{
    int octave = log2_floor((uint64_t)bytes) - 20;
    octave = octave < 0 ? 0 : octave > FM_ROUNDUP_OCTAVES - 1 ? FM_ROUNDUP_OCTAVES - 1 : octave;
    int64_t divisions = a->config.roundup_power2_divisions[octave];
    if (divisions <= 1 || bytes <= FM_BLOCK_MIN_BYTES * divisions) return 0;
    if ((bytes & (bytes - 1)) == 0) return bytes;
    int64_t step = (INT64_C(1) << log2_floor((uint64_t)bytes)) >> log2_floor((uint64_t)divisions);
    return (bytes + step - 1) & ~(step - 1);
}

static inline int64_t round_bytes(const struct fm_allocator *a, int64_t bytes)
{
    if (a->roundup_on && bytes >= FM_BLOCK_MIN_BYTES) {
        int64_t rounded = round_to_division(a, bytes);
        if (rounded) return rounded;
    }
    return (bytes + FM_BLOCK_MIN_BYTES - 1) & ~(FM_BLOCK_MIN_BYTES - 1);
}

int64_t fm_allocator_round_bytes(const struct fm_allocator *a, int64_t bytes)
{
    assert(bytes > 0 && bytes <= FM_SEGMENT_MAX_BYTES);
    return round_bytes(a, bytes);
}

int64_t fm_allocator_segment_bytes(int64_t rounded_bytes)
{
    if (rounded_bytes <= FM_SMALL_MAX_BYTES) return FM_SMALL_SEGMENT_BYTES;
    if (rounded_bytes < FM_LARGE_MIN_BYTES) return FM_LARGE_SEGMENT_BYTES;
    return (rounded_bytes + FM_LARGE_ROUND_BYTES - 1) / FM_LARGE_ROUND_BYTES * FM_LARGE_ROUND_BYTES;
}

/* rules 4 and 6: the free block to hand out, or FM_BLOCK_NONE */
static inline uint32_t find_block(const struct fm_allocator *a, const struct fm_free_list *list, int64_t bytes)
{
    uint32_t found = fm_list_find_bytes(a, list, bytes);
    if (!found) return FM_BLOCK_NONE;
    if (a->config.expandable_segments) found = fm_expandable_best_block(a, list, found);
    int64_t found_bytes = a->blocks[found].bytes;
    bool too_large = bytes < a->max_split_bytes ? found_bytes >= a->max_split_bytes
                                                : found_bytes >= bytes + FM_LARGE_SEGMENT_BYTES;
    return too_large ? FM_BLOCK_NONE : found;
}

/* cudaMalloc of one segment; its block is in no list yet */
static fm_status alloc_segment(struct fm_allocator *a, uint32_t list, int64_t bytes, uint32_t *block,
                               struct fm_err *err)
{
    int64_t segment_bytes = fm_allocator_segment_bytes(bytes);
    if (segment_bytes > FM_SEGMENT_MAX_BYTES || a->stats.reserved_bytes > a->config.capacity_bytes - segment_bytes)
        return FM_OOM;
    if (a->config.expandable_segments) return fm_expandable_alloc(a, list, bytes, block, err);
    uint64_t address = 0;
    fm_status status = a->source.segment_alloc(a->source.context, segment_bytes, &address, err);
    if (status != FM_OK) return status;
    *block = fm_segment_create(a, list, address, segment_bytes);
    fm_raise(&a->stats.segments, &a->stats.segments_peak, 1);
    fm_raise(&a->stats.reserved_bytes, &a->stats.reserved_peak_bytes, segment_bytes);
    a->stats.segment_allocs++;
    fm_observe(a, FM_EVENT_SEGMENT_ALLOC, a->lists[list].stream, address, segment_bytes);
    if (a->config.guard) fm_guard_new_memory(a, address, segment_bytes);
    return FM_OK;
}

/* rule 8, after the search found nothing */
static fm_status alloc_by_ladder(struct fm_allocator *a, uint32_t list, int64_t bytes, uint32_t *block,
                                 struct fm_err *err)
{
    fm_status status = fm_allocator_make_room(a, err);
    if (status != FM_OK) return status;
    if (a->gc_on) fm_allocator_collect_garbage(a);
    status = alloc_segment(a, list, bytes, block, err);
    if (status == FM_OOM && fm_allocator_release_available(a, &a->lists[list], bytes))
        status = alloc_segment(a, list, bytes, block, err);
    if (status == FM_OOM) {
        fm_allocator_empty_cache(a);
        a->stats.retries++;
        status = alloc_segment(a, list, bytes, block, err);
    }
    return status;
}

static inline bool should_split(const struct fm_allocator *a, const struct fm_free_list *list, int64_t found_bytes,
                                int64_t bytes)
{
    int64_t remaining_bytes = found_bytes - bytes;
    if (list->small || a->config.expandable_segments) return remaining_bytes >= FM_BLOCK_MIN_BYTES;
    return bytes < a->max_split_bytes && remaining_bytes > FM_SMALL_MAX_BYTES;
}

/* Cuts the lower `bytes` off block `rest`, which is in no list; the rest goes into it. */
static inline uint32_t split(struct fm_allocator *a, struct fm_free_list *list, uint32_t rest, int64_t bytes)
{
    uint32_t handle = fm_record_take(a, a->blocks[rest].list);
    struct fm_block *block = &a->blocks[handle], *remaining = &a->blocks[rest];
    bool was_split = fm_block_is_split(remaining);
    block->bytes = bytes;
    block->offset_bytes = remaining->offset_bytes;
    block->segment = remaining->segment;
    block->previous = remaining->previous;
    block->next = rest;
    if (block->previous)
        a->blocks[block->previous].next = handle;
    else
        a->segments[block->segment].first = handle;
    remaining->previous = handle;
    remaining->offset_bytes += bytes;
    remaining->bytes -= bytes;
    fm_list_insert(a, list, rest);
    if (!a->config.expandable_segments)
        fm_raise(&a->stats.inactive_split_bytes, &a->stats.inactive_split_peak_bytes,
                 was_split ? -bytes : remaining->bytes);
    return handle;
}

static fm_status fail_oom(struct fm_allocator *a, int64_t bytes, uint32_t stream, struct fm_err *err)
{
    a->stats.ooms++;
    fm_observe(a, FM_EVENT_OOM, stream, 0, bytes);
    return FM_FAIL(err, FM_OOM,
                   "%lld bytes on stream %u do not fit: %lld allocated, %lld reserved, largest cached block %lld",
                   (long long)bytes, stream, (long long)a->stats.allocated_bytes, (long long)a->stats.reserved_bytes,
                   (long long)fm_allocator_largest_free_bytes(a));
}

static void hand_out(struct fm_allocator *a, uint32_t handle, int64_t requested_bytes, uint32_t stream)
{
    struct fm_block *block = &a->blocks[handle];
    block->state = FM_BLOCK_USED;
    block->requested_bytes = requested_bytes;
    block->tag = 0;
    a->stats.allocs++;
    fm_raise(&a->stats.allocated_bytes, &a->stats.allocated_peak_bytes, block->bytes);
    fm_raise(&a->stats.requested_bytes, &a->stats.requested_peak_bytes, requested_bytes);
    fm_observe(a, FM_EVENT_ALLOC, stream, fm_block_address(a, block), requested_bytes);
    if (a->config.guard) fm_guard_alloc(a, handle);
}

fm_status fm_allocator_alloc(struct fm_allocator *a, int64_t bytes, uint32_t stream, uint32_t *block,
                             struct fm_err *err)
{
    *block = FM_BLOCK_NONE;
    if (bytes <= 0) {
        if (bytes == 0) return FM_OK;
        return FM_FAIL(err, FM_INVALID, "a request of %lld bytes", (long long)bytes);
    }
    if (bytes > FM_SEGMENT_MAX_BYTES) return fail_oom(a, bytes, stream, err);
    int64_t rounded_bytes = round_bytes(a, bytes);
    fm_status status = FM_OK;
    uint32_t index = 0;
    while (index < a->list_count && a->lists[index].stream != stream) index += 2;
    if (index == a->list_count) status = fm_allocator_add_lists(a, stream, err);
    if (status != FM_OK) return status;
    index += rounded_bytes > FM_SMALL_MAX_BYTES;
    if (a->block_spare_count < 2 || a->config.expandable_segments) {
        status = fm_allocator_make_room(a, err);
        if (status != FM_OK) return status;
    }
    struct fm_free_list *list = &a->lists[index];
    a->gc_calls[!list->small] += a->gc_on;
    uint32_t handle = find_block(a, list, rounded_bytes);
    if (handle != FM_BLOCK_NONE) {
        fm_list_remove(a, list, handle);
    } else {
        status = alloc_by_ladder(a, index, rounded_bytes, &handle, err);
        if (status == FM_OOM) return fail_oom(a, bytes, stream, err);
        if (status != FM_OK) return status;
    }
    const struct fm_block *found = &a->blocks[handle];
    if (should_split(a, list, found->bytes, rounded_bytes))
        handle = split(a, list, handle, rounded_bytes);
    else if (fm_block_is_split(found) && !a->config.expandable_segments)
        a->stats.inactive_split_bytes -= found->bytes;
    hand_out(a, handle, bytes, stream);
    *block = handle;
    return FM_OK;
}

int64_t fm_allocator_cached_bytes(const struct fm_allocator *a, int64_t bytes, uint32_t stream)
{
    const struct fm_allocator_config *c = &a->config;
    if (bytes <= 0 || bytes > FM_SEGMENT_MAX_BYTES || c->expandable_segments || a->gc_on || c->guard || c->observer.event) return 0;
    int64_t rounded_bytes = round_bytes(a, bytes);
    uint32_t index = 0;
    while (index < a->list_count && a->lists[index].stream != stream) index += 2;
    if (index == a->list_count) return 0;
    const struct fm_free_list *list = &a->lists[index + (rounded_bytes > FM_SMALL_MAX_BYTES)];
    uint32_t handle = find_block(a, list, rounded_bytes);
    if (handle == FM_BLOCK_NONE) return 0;
    int64_t found_bytes = a->blocks[handle].bytes;
    return should_split(a, list, found_bytes, rounded_bytes) ? rounded_bytes : found_bytes;
}

/* Merges the free neighbours into the block (rule 7) and puts it into the list. */
static inline void coalesce(struct fm_allocator *a, uint32_t handle)
{
    struct fm_block *block = &a->blocks[handle];
    struct fm_free_list *list = &a->lists[block->list];
    uint32_t previous = block->previous, next = block->next;
    if (next && a->blocks[next].state == FM_BLOCK_FREE) {
        fm_list_remove(a, list, next);
        block->bytes += a->blocks[next].bytes;
        block->next = a->blocks[next].next;
        if (block->next) a->blocks[block->next].previous = handle;
        fm_record_drop(a, next);
    }
    if (previous && a->blocks[previous].state == FM_BLOCK_FREE) {
        fm_list_remove(a, list, previous);
        block->offset_bytes = a->blocks[previous].offset_bytes;
        block->bytes += a->blocks[previous].bytes;
        block->previous = a->blocks[previous].previous;
        if (block->previous)
            a->blocks[block->previous].next = handle;
        else
            a->segments[block->segment].first = handle;
        fm_record_drop(a, previous);
    }
    fm_list_insert(a, list, handle);
}

void fm_allocator_free(struct fm_allocator *a, uint32_t handle)
{
    if (handle == FM_BLOCK_NONE) return;
    assert(handle < a->block_capacity && a->blocks[handle].state == FM_BLOCK_USED);
    struct fm_block *block = &a->blocks[handle];
    fm_observe(a, FM_EVENT_FREE, a->lists[block->list].stream, fm_block_address(a, block), block->requested_bytes);
    if (a->config.guard) fm_guard_free(a, handle);
    int64_t freed_bytes = block->bytes;
    a->stats.frees++;
    a->stats.allocated_bytes -= freed_bytes;
    a->stats.requested_bytes -= block->requested_bytes;
    block->requested_bytes = 0;
    coalesce(a, handle);
    if (a->config.expandable_segments) return;
    /* what was merged was split and counted already, so the change is the block itself unless all is whole again */
    int64_t change_bytes = fm_block_is_split(block) ? freed_bytes : freed_bytes - block->bytes;
    fm_raise(&a->stats.inactive_split_bytes, &a->stats.inactive_split_peak_bytes, change_bytes);
}
