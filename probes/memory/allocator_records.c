#include "probes/memory/allocator_internal.h"

#include "tuner/base/memory.h"

enum { FIRST_RECORDS = 128, RECORDS_MAX = 1 << 30 };

/* Records that one request can need. An ordinary one: the new segment's block and the split. With
 * expandable segments, unmapping cuts a free block into up to three, for every block. */
static size_t records_needed(const struct fm_allocator *a)
{
    return a->config.expandable_segments ? (size_t)a->block_count * 2 + 16 : 2;
}

static void chain_spare_blocks(struct fm_allocator *a, size_t from)
{
    for (size_t i = a->block_capacity; i-- > from;) {
        a->blocks[i] = (struct fm_block){ .next = a->block_spare };
        a->block_spare = (uint32_t)i;
        a->block_spare_count++;
    }
}

static fm_status grow_blocks(struct fm_allocator *a, size_t need, struct fm_err *err)
{
    size_t old = a->block_capacity;
    size_t want = old ? old * 2 : FIRST_RECORDS;
    while (want - old + a->block_spare_count < need + 1) want *= 2;
    if (want > RECORDS_MAX) return FM_FAIL(err, FM_NOMEM, "the caching allocator would need %zu block records", want);
    struct fm_block *blocks = fm_grow(a->blocks, &a->block_capacity, want, sizeof *blocks);
    if (!blocks) return FM_FAIL(err, FM_NOMEM, "%zu block records", want);
    a->blocks = blocks;
    if (old == 0) a->blocks[0] = (struct fm_block){ 0 };
    chain_spare_blocks(a, old ? old : 1);
    return FM_OK;
}

/* Orders only matter relative to each other: numbers them from 0 again. */
static void renumber_segments(struct fm_allocator *a)
{
    a->ordinal_next = 0;
    for (uint32_t s = a->segment_first; s; s = a->segments[s].next) a->segments[s].ordinal = a->ordinal_next++;
}

static fm_status make_segment_room(struct fm_allocator *a, struct fm_err *err)
{
    if (a->ordinal_next == UINT32_MAX) renumber_segments(a);
    if (a->segment_spare || (a->segment_high && a->segment_high < a->segment_capacity)) return FM_OK;
    size_t want = a->segment_capacity ? a->segment_capacity * 2 : FIRST_RECORDS;
    struct fm_segment *segments = fm_grow(a->segments, &a->segment_capacity, want, sizeof *segments);
    if (!segments) return FM_FAIL(err, FM_NOMEM, "%zu segment records", want);
    a->segments = segments;
    if (a->segment_high == 0) a->segments[a->segment_high++] = (struct fm_segment){ 0 };
    return FM_OK;
}

fm_status fm_allocator_make_room(struct fm_allocator *a, struct fm_err *err)
{
    size_t need = records_needed(a);
    fm_status status = FM_OK;
    if (a->block_spare_count < need) FM_TRY(grow_blocks(a, need, err));
    FM_TRY(make_segment_room(a, err));
out:
    return status;
}

fm_status fm_allocator_add_lists(struct fm_allocator *a, uint32_t stream, struct fm_err *err)
{
    struct fm_free_list *lists = fm_grow(a->lists, &a->list_capacity, (size_t)a->list_count + 2, sizeof *lists);
    if (!lists) return FM_FAIL(err, FM_NOMEM, "free lists of stream %u", stream);
    a->lists = lists;
    for (uint32_t i = 0; i < 2; i++) {
        struct fm_free_list *added = &lists[a->list_count + i];
        memset(added, 0, sizeof *added);
        added->stream = stream;
        added->small = i == 0;
    }
    a->list_count += 2;
    return FM_OK;
}

uint32_t fm_segment_create(struct fm_allocator *a, uint32_t list, uint64_t address, int64_t bytes)
{
    uint32_t index = a->segment_spare;
    if (index) {
        a->segment_spare = a->segments[index].next;
    } else {
        assert(a->segment_high < a->segment_capacity);
        index = a->segment_high++;
    }
    uint32_t handle = fm_record_take(a, list);
    a->segments[index] = (struct fm_segment){
        .address = address,
        .bytes = bytes,
        .ordinal = a->ordinal_next++,
        .list = list,
        .first = handle,
        .previous = a->segment_last,
    };
    if (a->segment_last)
        a->segments[a->segment_last].next = index;
    else
        a->segment_first = index;
    a->segment_last = index;
    struct fm_block *block = &a->blocks[handle];
    block->bytes = bytes;
    block->offset_bytes = 0;
    block->segment = index;
    block->previous = block->next = 0;
    return handle;
}

void fm_segment_drop(struct fm_allocator *a, uint32_t index)
{
    struct fm_segment *segment = &a->segments[index];
    if (segment->previous)
        a->segments[segment->previous].next = segment->next;
    else
        a->segment_first = segment->next;
    if (segment->next)
        a->segments[segment->next].previous = segment->previous;
    else
        a->segment_last = segment->previous;
    segment->next = a->segment_spare;
    a->segment_spare = index;
}

static void give_segments_back(struct fm_allocator *a)
{
    for (uint32_t s = a->segment_first; s; s = a->segments[s].next) {
        const struct fm_segment *segment = &a->segments[s];
        if (!segment->expandable) {
            a->source.segment_free(a->source.context, segment->address, segment->bytes);
            continue;
        }
        for (uint32_t b = segment->first; b; b = a->blocks[b].next)
            if (a->blocks[b].state != FM_BLOCK_UNMAPPED)
                a->source.range_unmap(a->source.context, fm_block_address(a, &a->blocks[b]), a->blocks[b].bytes);
        a->source.range_release(a->source.context, segment->address, segment->bytes);
    }
}

void fm_allocator_clear(struct fm_allocator *a)
{
    give_segments_back(a);
    a->segment_first = a->segment_last = a->segment_spare = 0;
    a->segment_high = a->segment_capacity ? 1 : 0;
    a->ordinal_next = 0;
    a->block_spare = a->block_spare_count = a->block_count = 0;
    if (a->block_capacity) chain_spare_blocks(a, 1);
    for (uint32_t i = 0; i < a->list_count; i++) memset(&a->lists[i], 0, offsetof(struct fm_free_list, stream));
    a->stats = (struct fm_allocator_stats){ 0 };
    a->gc_calls[0] = a->gc_calls[1] = 0;
    a->guard_violations = 0;
    a->guard_text[0] = '\0';
}

void fm_allocator_release(struct fm_allocator *a)
{
    give_segments_back(a);
    fm_free(a->lists);
    fm_free(a->blocks);
    fm_free(a->segments);
    *a = (struct fm_allocator){ 0 };
}
