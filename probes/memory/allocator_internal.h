/* Private to the caching allocator: records, free lists and the primitives its files share.
 *
 * A free list is ordered by size, then age of the segment, then offset. It is cut into bins by size: a bin is a size
 * below 64 blocks of 512 bytes, and a 32nd of an octave above, so that it holds few blocks, chained in order as a ring.
 * The first bin that is not empty is found in two words of bits. No operation on a list needs host memory. */
#ifndef FM_PROBES_MEMORY_ALLOCATOR_INTERNAL_H
#define FM_PROBES_MEMORY_ALLOCATOR_INTERNAL_H

#include <assert.h>
#include <string.h>

#include "probes/memory/caching_allocator.h"

#define FM_BIN_BITS  5 /* bins an octave, as a power of two */
#define FM_BIN_WORDS 16
#define FM_BINS      (64 * FM_BIN_WORDS)

struct fm_block {
    int64_t bytes, requested_bytes;
    int64_t offset_bytes;             /* in its segment */
    int64_t gc_base;                  /* the pool's searches when it was last inserted */
    uint32_t segment, previous, next; /* next also chains spare records */
    uint32_t tag;
    uint32_t list, smaller, larger; /* free: its neighbours in the ring of its bin */
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

struct fm_free_list {
    uint64_t words;                /* bit w: used[w] is not 0 */
    uint64_t used[FM_BIN_WORDS];   /* bit b of word w: bin 64 w + b is not empty */
    uint32_t first[FM_BINS];       /* the smallest block of a bin; 0: none */
    uint32_t stream;
    bool small;
};

/* below FM_BINS up to 32 TiB (2^36 blocks of 512 bytes): no segment or range is as large */
static inline uint32_t fm_bin_of(int64_t bytes)
{
    uint64_t units = (uint64_t)bytes / 512;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(units | 1 << FM_BIN_BITS) - FM_BIN_BITS;
    return (shift << FM_BIN_BITS) + (uint32_t)(units >> shift);
}

static inline bool fm_block_less(const struct fm_allocator *a, const struct fm_block *x, const struct fm_block *y)
{
    if (x->bytes != y->bytes) return x->bytes < y->bytes;
    if (x->segment == y->segment) return x->offset_bytes < y->offset_bytes;
    return a->segments[x->segment].ordinal < a->segments[y->segment].ordinal;
}

/* the smallest block in bin `bin` or above; 0: none */
static inline uint32_t fm_list_from_bin(const struct fm_free_list *list, uint32_t bin)
{
    uint32_t word = bin / 64;
    if (word >= FM_BIN_WORDS) return 0;
    uint64_t bits = list->used[word] & UINT64_MAX << bin % 64;
    if (!bits) {
        uint64_t words = list->words & ~UINT64_C(1) << word;
        if (!words) return 0;
        word = (uint32_t)__builtin_ctzll(words);
        bits = list->used[word];
    }
    return list->first[64 * word + (uint32_t)__builtin_ctzll(bits)];
}

static inline uint32_t fm_list_first(const struct fm_free_list *list)
{
    return fm_list_from_bin(list, 0);
}

/* 0: it was the last one */
static inline uint32_t fm_list_next(const struct fm_allocator *a, const struct fm_free_list *list, uint32_t handle)
{
    uint32_t bin = fm_bin_of(a->blocks[handle].bytes), next = a->blocks[handle].larger;
    return next != list->first[bin] ? next : fm_list_from_bin(list, bin + 1);
}

/* 0: the list is empty */
static inline uint32_t fm_list_last(const struct fm_allocator *a, const struct fm_free_list *list)
{
    if (!list->words) return 0;
    uint32_t word = 63 - (uint32_t)__builtin_clzll(list->words);
    return a->blocks[list->first[64 * word + 63 - (uint32_t)__builtin_clzll(list->used[word])]].smaller;
}

/* the first block of at least `bytes`; 0: none */
static inline uint32_t fm_list_find_bytes(const struct fm_allocator *a, const struct fm_free_list *list, int64_t bytes)
{
    uint32_t at = fm_list_from_bin(list, fm_bin_of(bytes));
    while (at && a->blocks[at].bytes < bytes) at = fm_list_next(a, list, at);
    return at;
}

static inline void fm_list_insert(struct fm_allocator *a, struct fm_free_list *list, uint32_t handle)
{
    struct fm_block *block = &a->blocks[handle];
    uint32_t bin = fm_bin_of(block->bytes), first = list->first[bin], next = first;
    block->state = FM_BLOCK_FREE;
    block->gc_base = a->gc_calls[!list->small];
    if (!first) {
        list->used[bin / 64] |= UINT64_C(1) << bin % 64;
        list->words |= UINT64_C(1) << bin / 64;
        list->first[bin] = block->smaller = block->larger = handle;
        return;
    }
    if (!fm_block_less(a, &a->blocks[a->blocks[first].smaller], block)) {
        while (fm_block_less(a, &a->blocks[next], block)) next = a->blocks[next].larger;
        if (next == first) list->first[bin] = handle;
    }
    block->larger = next;
    block->smaller = a->blocks[next].smaller;
    a->blocks[block->smaller].larger = handle;
    a->blocks[next].smaller = handle;
}

/* call it before the block's size or offset changes */
static inline void fm_list_remove(struct fm_allocator *a, struct fm_free_list *list, uint32_t handle)
{
    const struct fm_block *block = &a->blocks[handle];
    uint32_t bin = fm_bin_of(block->bytes);
    a->blocks[block->smaller].larger = block->larger;
    a->blocks[block->larger].smaller = block->smaller;
    if (list->first[bin] != handle) return;
    list->first[bin] = block->larger != handle ? block->larger : 0;
    if (list->first[bin]) return;
    list->used[bin / 64] &= ~(UINT64_C(1) << bin % 64);
    if (!list->used[bin / 64]) list->words &= ~(UINT64_C(1) << bin / 64);
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
/* the small and the large pool of a new stream, after those that are there */
fm_status fm_allocator_add_lists(struct fm_allocator *a, uint32_t stream, struct fm_err *err);
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
/* the best block from `at` on, a block counting as what it can grow to */
uint32_t fm_expandable_best_block(const struct fm_allocator *a, const struct fm_free_list *list, uint32_t at);

/* allocator_guard.c */
void fm_guard_new_memory(struct fm_allocator *a, uint64_t address, int64_t bytes);
void fm_guard_alloc(struct fm_allocator *a, uint32_t block);
void fm_guard_free(struct fm_allocator *a, uint32_t block);

#endif
