/* Where the caching allocator's segments come from: cudaMalloc in the CUDA worker, mmap under a byte
 * budget in the CPU worker, arithmetic in the planner. The policy never looks behind this interface,
 * and none of its decisions depends on the addresses it returns.
 *
 * Units: bytes. Errors: segment_alloc and range_map return FM_OK, FM_OOM (the device is exhausted: the
 * allocator then walks its retry ladder) or any other status, which ends the allocation at once, as
 * PyTorch does with CUDA errors that are not about memory. An FM_OOM return leaves *err untouched. */
#ifndef FM_PROBES_MEMORY_SEGMENT_SOURCE_H
#define FM_PROBES_MEMORY_SEGMENT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "tuner/base/status.h"

struct fm_segment_source {
    fm_status (*segment_alloc)(void *context, int64_t bytes, uint64_t *address, struct fm_err *err);
    void (*segment_free)(void *context, uint64_t address, int64_t bytes);

    /* (optional, all four or none) for expandable segments: a range of addresses without memory,
     * and memory put under parts of it. A failed range_map maps nothing. */
    fm_status (*range_reserve)(void *context, int64_t bytes, uint64_t *address, struct fm_err *err);
    void (*range_release)(void *context, uint64_t address, int64_t bytes);
    fm_status (*range_map)(void *context, uint64_t address, int64_t bytes, struct fm_err *err);
    void (*range_unmap)(void *context, uint64_t address, int64_t bytes);

    /* (optional, both or none) for the guard mode: real memory can be filled and compared */
    void (*fill)(void *context, uint64_t address, int64_t bytes, uint8_t value);
    bool (*holds)(void *context, uint64_t address, int64_t bytes, uint8_t value); /* every byte == value? */

    /* (optional) what segments could still take; NULL: unknown */
    int64_t (*free_bytes)(void *context);

    void *context; /* borrowed */
};

#endif
