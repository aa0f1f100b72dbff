/* Private to the caching allocator: records, free lists and the primitives its files share.
 *
 * Free lists are sorted arrays of 16-byte entries: a pool holds tens of free blocks, and a binary search
 * plus a short memmove beats any tree there. An entry is its own sort key:
 *     high = size / 512 (36 bits) | segment ordinal (28 bits)
 *     low  = offset / 512 (32 bits) | block handle (32 bits, never decides)
 * Room for every entry that a free could need is made when blocks are created, so that frees cannot fail. */
#ifndef FM_PROBES_MEMORY_ALLOCATOR_INTERNAL_H
#define FM_PROBES_MEMORY_ALLOCATOR_INTERNAL_H

#include <assert.h>
#include <string.h>

#include "probes/memory/caching_allocator.h"

#define FM_ORDINAL_BITS 28

struct fm_block {
    int64_t bytes, requested_bytes;
    int64_t offset_bytes;             /* in its segment */
    int64_t gc_base;                  /* the pool's searches when it was last inserted */
    uint32_t segment, previous, next; /* next also chains spare records */
    uint32_t tag;
    uint32_t list;
    uint8_t state; /* enum fm_block_state */
};

struct fm_segment {
    uint64_t address;
    int64_t bytes;
    uint32_t ordinal, list;
    uint32_t first;          /* its lowest block */
    uint32_t previous, next; /* by creation; next also chains spare records */
    bool expandable;
};

struct fm_entry {
    uint64_t high, low;
};

struct fm_free_list {
    struct fm_entry *entries; /* ascending */
    size_t capacity;          /* never below the number of block records */
    uint32_t count;
    uint32_t stream;
    bool small;
};

static inline struct fm_entry fm_entry_of(const struct fm_allocator *a, uint32_t handle)
{
    const struct fm_block *block = &a->blocks[handle];
    uint64_t units = (uint64_t)block->bytes / 512;
    uint64_t offset = (uint64_t)block->offset_bytes / 512;
    return (struct fm_entry){
        .high = units << FM_ORDINAL_BITS | a->segments[block->segment].ordinal,
        .low = offset << 32 | handle,
    };
}

static inline uint32_t fm_entry_block(struct fm_entry entry)
{
    return (uint32_t)entry.low;
}

static inline int64_t fm_entry_bytes(struct fm_entry entry)
{
    return (int64_t)(entry.high >> FM_ORDINAL_BITS) * 512;
}

static inline bool fm_entry_less(struct fm_entry x, struct fm_entry y)
{
    return (x.high < y.high) | ((x.high == y.high) & (x.low < y.low));
}

/* Index in [from, to] of the first entry that is not less than key. Steps are branches on purpose: programs repeat
 * themselves, so most are predicted (measured: 25 ns an operation, 35 with steps by arithmetic). */
static inline uint32_t fm_list_bound(const struct fm_free_list *list, struct fm_entry key, uint32_t from, uint32_t to)
{
    if (from == to) return from;
    const struct fm_entry *base = list->entries + from;
    for (uint32_t left = to - from; left > 1;) {
        uint32_t half = left / 2;
        base = fm_entry_less(base[half - 1], key) ? base + half : base;
        left -= half;
    }
    return (uint32_t)(base - list->entries) + fm_entry_less(*base, key);
}

static inline uint32_t fm_list_lower_bound(const struct fm_free_list *list, struct fm_entry key)
{
    return fm_list_bound(list, key, 0, list->count);
}

/* the first entry of at least `bytes` */
static inline uint32_t fm_list_find_bytes(const struct fm_free_list *list, int64_t bytes)
{
    return fm_list_lower_bound(list, (struct fm_entry){ .high = (uint64_t)bytes / 512 << FM_ORDINAL_BITS });
}

static inline void fm_list_insert(struct fm_allocator *a, struct fm_free_list *list, uint32_t handle)
{
    struct fm_entry key = fm_entry_of(a, handle);
    uint32_t at = fm_list_lower_bound(list, key);
    assert(list->count < list->capacity);
    memmove(list->entries + at + 1, list->entries + at, (list->count - at) * sizeof key);
    list->entries[at] = key;
    list->count++;
    a->blocks[handle].state = FM_BLOCK_FREE;
    a->blocks[handle].gc_base = a->gc_calls[!list->small];
}

static inline void fm_list_remove_at(struct fm_free_list *list, uint32_t at)
{
    list->count--;
    memmove(list->entries + at, list->entries + at + 1, (list->count - at) * sizeof *list->entries);
}

/* call it before the block's size or offset changes */
static inline uint32_t fm_list_position(const struct fm_allocator *a, const struct fm_free_list *list, uint32_t handle)
{
    uint32_t at = fm_list_lower_bound(list, fm_entry_of(a, handle));
    assert(at < list->count && fm_entry_block(list->entries[at]) == handle);
    return at;
}

static inline void fm_list_remove(const struct fm_allocator *a, struct fm_free_list *list, uint32_t handle)
{
    fm_list_remove_at(list, fm_list_position(a, list, handle));
}

/* takes a spare record: room was made before */
static inline uint32_t fm_record_take(struct fm_allocator *a, uint32_t list)
{
    assert(a->block_spare_count > 0);
    uint32_t handle = a->block_spare;
    a->block_spare = a->blocks[handle].next;
    a->block_spare_count--;
    a->block_count++;
    a->blocks[handle].list = list;
    a->blocks[handle].tag = 0;
    a->blocks[handle].requested_bytes = 0;
    return handle;
}

static inline void fm_record_drop(struct fm_allocator *a, uint32_t handle)
{
    struct fm_block *block = &a->blocks[handle];
    a->block_count--;
    block->state = FM_BLOCK_SPARE;
    block->next = a->block_spare;
    a->block_spare = handle;
    a->block_spare_count++;
}

static inline bool fm_block_is_split(const struct fm_block *block)
{
    return (block->previous | block->next) != 0;
}

static inline uint64_t fm_block_address(const struct fm_allocator *a, const struct fm_block *block)
{
    return a->segments[block->segment].address + (uint64_t)block->offset_bytes;
}

static inline void fm_observe(const struct fm_allocator *a, enum fm_allocator_event_kind kind, uint32_t stream,
                              uint64_t address, int64_t bytes)
{
    if (!a->config.observer.event) return;
    struct fm_allocator_event event = { .kind = kind, .stream = stream, .address = address, .bytes = bytes };
    a->config.observer.event(a->config.observer.context, &event);
}

static inline void fm_raise(int64_t *current, int64_t *peak, int64_t bytes)
{
    *current += bytes;
    *peak = *current > *peak ? *current : *peak;
}

/* allocator_records.c: makes room so that nothing later in one request needs host memory */
fm_status fm_allocator_make_room(struct fm_allocator *a, struct fm_err *err);
fm_status fm_allocator_find_list(struct fm_allocator *a, uint32_t stream, bool small, uint32_t *list,
                                 struct fm_err *err);
/* a new segment with one block, in no free list; room was made. Returns the block. */
uint32_t fm_segment_create(struct fm_allocator *a, uint32_t list, uint64_t address, int64_t bytes);
void fm_segment_drop(struct fm_allocator *a, uint32_t segment);

/* allocator_release.c: rule 8 */
void fm_allocator_collect_garbage(struct fm_allocator *a);
bool fm_allocator_release_available(struct fm_allocator *a, struct fm_free_list *list, int64_t bytes);

/* allocator_expandable.c: rule 9 */
fm_status fm_expandable_alloc(struct fm_allocator *a, uint32_t list, int64_t bytes, uint32_t *block,
                              struct fm_err *err);
void fm_expandable_release_list(struct fm_allocator *a, uint32_t list);
/* the best entry from `at` on, a block counting as what it can grow to; list->count if none */
uint32_t fm_expandable_best_entry(const struct fm_allocator *a, const struct fm_free_list *list, uint32_t at);

/* allocator_guard.c */
void fm_guard_new_memory(struct fm_allocator *a, uint64_t address, int64_t bytes);
void fm_guard_alloc(struct fm_allocator *a, uint32_t block);
void fm_guard_free(struct fm_allocator *a, uint32_t block);

#endif
