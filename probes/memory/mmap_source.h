/* Segments of host memory under a byte budget: the CPU worker's device.
 *
 * Each segment is an anonymous private mapping, so that memory which is never touched costs nothing and a
 * freed segment really goes back. One byte over the budget is FM_OOM (the device is full); the
 * system's own refusal is FM_NOMEM (the host is). Supports expandable segments and the guard mode. */
#ifndef FM_PROBES_MEMORY_MMAP_SOURCE_H
#define FM_PROBES_MEMORY_MMAP_SOURCE_H

#include "probes/memory/segment_source.h"

struct fm_mmap_source {
    int64_t budget_bytes; /* INT64_MAX: unlimited */
    int64_t used_bytes;
};

void fm_mmap_source_init(struct fm_mmap_source *s, int64_t budget_bytes);
/* borrows s, which must not move while the interface is used; nothing to release */
struct fm_segment_source fm_mmap_source_interface(struct fm_mmap_source *s);

static inline void *fm_mmap_pointer(uint64_t address)
{
    return (void *)(uintptr_t)address;
}

#endif
