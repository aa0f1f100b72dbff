/* Segments that are only numbers: the planner's device.
 *
 * A byte budget, and addresses by first fit: the lowest hole that is large enough, so that addresses ascend
 * from FM_ARITHMETIC_BASE as long as nothing is freed, and a freed range is the first to be used again.
 * All addresses are multiples of 2 MiB, as cudaMalloc's of this size are. The same calls always give
 * the same addresses. Supports expandable segments, not the guard mode. */
#ifndef FM_PROBES_MEMORY_ARITHMETIC_SOURCE_H
#define FM_PROBES_MEMORY_ARITHMETIC_SOURCE_H

#include <stddef.h>

#include "probes/memory/segment_source.h"

#define FM_ARITHMETIC_BASE UINT64_C(0x7f0000000000)

struct fm_address_range {
    uint64_t address;
    int64_t bytes;
};

struct fm_arithmetic_source { /* fields are private but budget_bytes and used_bytes */
    int64_t budget_bytes;     /* INT64_MAX: unlimited */
    int64_t used_bytes;
    struct fm_address_range *taken; /* ascending */
    size_t taken_count, taken_capacity;
};

/* cannot fail: nothing is allocated before the first segment */
void fm_arithmetic_source_init(struct fm_arithmetic_source *s, int64_t budget_bytes);
void fm_arithmetic_source_release(struct fm_arithmetic_source *s);
/* borrows s, which must not move while the interface is used */
struct fm_segment_source fm_arithmetic_source_interface(struct fm_arithmetic_source *s);

#endif
