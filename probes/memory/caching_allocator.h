/* PyTorch's CUDACachingAllocator as a value: the same decisions, request by request.
 *
 * Source: c10/cuda/CUDACachingAllocator.cpp and CUDAAllocatorConfig.cpp of torch 2.6; rules 1-11 of the
 * memory model (docs). The planner replays a step program through it over an arithmetic source, a
 * worker executes the same program through it over real memory: same requests, same decisions.
 *
 * Order of equals. PyTorch takes the smallest sufficient free block and, among equals, the lowest
 * address. Addresses of different segments are an accident of the device, so here equals are ordered by
 * (segment's creation, offset in it): this is PyTorch's order whenever addresses ascend with creation.
 *
 * Not modelled: record_stream (a freed block is reusable at once), CUDA graph pools, free-memory
 * callbacks. One thread at a time.
 *
 * Example:
 *     struct fm_allocator a;
 *     struct fm_allocator_config config = fm_allocator_config_default();
 *     if (fm_allocator_init(&a, &config, source, &err) != FM_OK) ...
 *     uint32_t block;
 *     status = fm_allocator_alloc(&a, bytes, 0, &block, &err);      // FM_OOM: does not fit
 *     fm_allocator_free(&a, block);
 *     fm_allocator_release(&a);
 */
#ifndef FM_PROBES_MEMORY_CACHING_ALLOCATOR_H
#define FM_PROBES_MEMORY_CACHING_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probes/memory/segment_source.h"
#include "tuner/base/status.h"

#define FM_BLOCK_NONE 0U /* the block of a request of 0 bytes; free accepts it */

#define FM_BLOCK_MIN_BYTES     INT64_C(512)
#define FM_SMALL_MAX_BYTES     INT64_C(1048576) /* largest request of the small pool */
#define FM_SMALL_SEGMENT_BYTES INT64_C(2097152)
#define FM_LARGE_SEGMENT_BYTES INT64_C(20971520)
#define FM_LARGE_MIN_BYTES     INT64_C(10485760) /* from here a segment is the request rounded up */
#define FM_LARGE_ROUND_BYTES   INT64_C(2097152)
/* no device has it: a larger request is FM_OOM without asking the source */
#define FM_SEGMENT_MAX_BYTES (INT64_C(1) << 40)
#define FM_ROUNDUP_OCTAVES   16 /* [1 MiB, 2 MiB) ... [32 GiB, ...): the outer two are open */

enum fm_allocator_event_kind {
    FM_EVENT_ALLOC,
    FM_EVENT_FREE, /* bytes as requested */
    FM_EVENT_SEGMENT_ALLOC,
    FM_EVENT_SEGMENT_FREE, /* bytes of the segment */
    FM_EVENT_SEGMENT_MAP,
    FM_EVENT_SEGMENT_UNMAP, /* part of an expandable segment */
    FM_EVENT_OOM            /* bytes as requested, address 0 */
};

struct fm_allocator_event {
    enum fm_allocator_event_kind kind;
    uint32_t stream;
    uint64_t address;
    int64_t bytes;
};

struct fm_allocator_observer {
    void (*event)(void *context, const struct fm_allocator_event *event); /* NULL: none */
    void *context;                                                        /* borrowed */
};

struct fm_allocator_config {
    int64_t capacity_bytes;  /* rule 11: reserved + segment > capacity fails; INT64_MAX: no limit */
    int64_t max_split_bytes; /* 0: unlimited, else > 20 MiB (rule 6) */
    uint32_t roundup_power2_divisions[FM_ROUNDUP_OCTAVES]; /* 0: off, else a power of two (rule 1) */
    double garbage_collection_threshold; /* 0: off, else below 1; as in torch only with a capacity (rule 8) */
    bool expandable_segments;            /* rule 9; needs device_bytes and a source with ranges */
    int64_t device_bytes;                /* the device's total memory; only read for expandable segments */
    bool guard;                          /* poison and canaries; needs a source that can fill */
    struct fm_allocator_observer observer;
};

struct fm_allocator_stats {                        /* rule 10; *_peak_bytes since init, clear or reset_peaks */
    int64_t allocated_bytes, allocated_peak_bytes; /* blocks handed out */
    int64_t requested_bytes, requested_peak_bytes; /* the same as asked for */
    int64_t reserved_bytes, reserved_peak_bytes;   /* segments */
    int64_t inactive_split_bytes, inactive_split_peak_bytes; /* free parts of partly used segments; 0 if expandable */
    int64_t segments, segments_peak;                         /* as torch counts: without expandable ones */
    int64_t allocs, frees;                                   /* of at least one byte */
    int64_t segment_allocs, segment_frees;                   /* also maps and unmaps */
    int64_t retries, ooms;
};

struct fm_block; /* private */
struct fm_segment;
struct fm_free_list;

struct fm_allocator { /* fields are private */
    struct fm_allocator_config config;
    struct fm_segment_source source;
    struct fm_allocator_stats stats;
    struct fm_block *blocks; /* records by handle; [0] unused */
    size_t block_capacity;
    uint32_t block_spare, block_spare_count, block_count;
    struct fm_segment *segments; /* by index; [0] unused */
    size_t segment_capacity;
    uint32_t segment_high, segment_spare, segment_first, segment_last;
    uint32_t ordinal_next;
    struct fm_free_list *lists; /* two a stream: small, large */
    size_t list_capacity;
    uint32_t list_count;
    int64_t max_split_bytes; /* INT64_MAX when unlimited */
    int64_t gc_calls[2];     /* searches of the small and of the large pool */
    bool gc_on, roundup_on;
    int64_t guard_violations;
    char guard_text[160]; /* the first violation */
};

struct fm_allocator_config fm_allocator_config_default(void);
/* the same number of divisions in every octave */
void fm_allocator_config_set_divisions(struct fm_allocator_config *config, uint32_t divisions);

/* FM_INVALID: a setting PyTorch would refuse; FM_UNSUPPORTED: the source cannot do what is asked.
 * The source's context is borrowed until release. After a failure release is legal, not needed. */
FM_MUST_USE fm_status fm_allocator_init(struct fm_allocator *a, const struct fm_allocator_config *config,
                                        struct fm_segment_source source, struct fm_err *err);
/* gives every segment back to the source, live blocks or not */
void fm_allocator_release(struct fm_allocator *a);
/* the state after init, peaks and counters included, but keeps the internal arrays */
void fm_allocator_clear(struct fm_allocator *a);

/* FM_OOM when rule 8's whole ladder failed: nothing changed but released caches (and, as in PyTorch,
 * what an expandable segment had mapped before it failed). FM_NOMEM: host memory. FM_INVALID: bytes < 0.
 * *block is FM_BLOCK_NONE then. Handles are reused after free. */
FM_MUST_USE fm_status fm_allocator_alloc(struct fm_allocator *a, int64_t bytes, uint32_t stream, uint32_t *block,
                                         struct fm_err *err);
void fm_allocator_free(struct fm_allocator *a, uint32_t block);
/* torch.cuda.empty_cache(): every unsplit cached block goes back to the source */
void fm_allocator_empty_cache(struct fm_allocator *a);

/* Bytes of the block that the next alloc would hand out of what is cached, when freeing it again leaves everything as it was
 * but for peaks and counters. 0: it needs a segment, or it may leave more behind (expandable segments, garbage collection,
 * guard, an observer). */
int64_t fm_allocator_cached_bytes(const struct fm_allocator *a, int64_t bytes, uint32_t stream);

uint64_t fm_allocator_address(const struct fm_allocator *a, uint32_t block);    /* 0 of FM_BLOCK_NONE */
int64_t fm_allocator_block_bytes(const struct fm_allocator *a, uint32_t block); /* rounded; 0 of NONE */
int64_t fm_allocator_requested_bytes(const struct fm_allocator *a, uint32_t block);
/* who lives in a block, for the state hash: 0 until set. Set it if blocks outlive the step. */
void fm_allocator_set_tag(struct fm_allocator *a, uint32_t block, uint32_t tag);

const struct fm_allocator_stats *fm_allocator_get_stats(const struct fm_allocator *a);
void fm_allocator_reset_peaks(struct fm_allocator *a);
/* largest cached block of any pool and stream, 0 if none (rule 40) */
int64_t fm_allocator_largest_free_bytes(const struct fm_allocator *a);

/* Segments in order of creation, their blocks with size, state, requested bytes and tag; not addresses,
 * counters or handles. Equal hashes at two moments mean that the same requests (and frees of the
 * same tags) are answered alike from there on. O(blocks). */
uint64_t fm_allocator_state_hash(const struct fm_allocator *a);

/* rule 1 (with the config's divisions) and rule 3; bytes > 0 */
int64_t fm_allocator_round_bytes(const struct fm_allocator *a, int64_t bytes);
int64_t fm_allocator_segment_bytes(int64_t rounded_bytes);

/* Snapshot: segments in order of creation, blocks in order of address. */
enum fm_block_state { FM_BLOCK_SPARE, FM_BLOCK_FREE, FM_BLOCK_USED, FM_BLOCK_UNMAPPED };

struct fm_segment_view {
    uint32_t index, stream;
    bool small, expandable;
    uint64_t address;
    int64_t bytes; /* of an expandable one: the range of addresses */
};

struct fm_block_view {
    uint32_t block, tag;
    enum fm_block_state state;
    uint64_t address;
    int64_t bytes, requested_bytes; /* requested: of a used block, else 0 */
};

/* start with *cursor = 0; false at the end. The allocator must not change meanwhile. */
bool fm_allocator_next_segment(const struct fm_allocator *a, uint32_t *cursor, struct fm_segment_view *view);
bool fm_allocator_next_block(const struct fm_allocator *a, uint32_t segment, uint32_t *cursor,
                             struct fm_block_view *view);

/* Guard mode: free memory and fresh blocks hold 0xFF (a NaN in f64, f32, f16 and bf16); what rounding
 * adds behind a request holds a canary byte, compared at free; free memory is compared when it is handed out.
 * A violation is counted and kept, not fatal: ask here. */
#define FM_GUARD_POISON 0xFFU
#define FM_GUARD_CANARY 0xC5U
/* compares every live canary and free block now; FM_MISMATCH if there is or was a violation */
FM_MUST_USE fm_status fm_allocator_guard_check(struct fm_allocator *a, struct fm_err *err);

#endif
