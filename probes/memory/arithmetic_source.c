#include "probes/memory/arithmetic_source.h"

#include <assert.h>
#include <string.h>

#include "tuner/base/memory.h"

#define ALIGN_BYTES INT64_C(2097152)

static fm_status take_range(struct fm_arithmetic_source *s, int64_t bytes, uint64_t *address, struct fm_err *err)
{
    struct fm_address_range *taken = fm_grow(s->taken, &s->taken_capacity, s->taken_count + 1, sizeof *taken);
    if (!taken) return FM_FAIL(err, FM_NOMEM, "%zu segments of the arithmetic source", s->taken_count + 1);
    s->taken = taken;
    bytes = (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    uint64_t lowest = FM_ARITHMETIC_BASE;
    size_t at = 0;
    for (; at < s->taken_count && taken[at].address - lowest < (uint64_t)bytes; at++)
        lowest = taken[at].address + (uint64_t)taken[at].bytes;
    memmove(taken + at + 1, taken + at, (s->taken_count - at) * sizeof *taken);
    taken[at] = (struct fm_address_range){ .address = lowest, .bytes = bytes };
    s->taken_count++;
    *address = lowest;
    return FM_OK;
}

static void give_range(struct fm_arithmetic_source *s, uint64_t address)
{
    size_t at = 0;
    while (at < s->taken_count && s->taken[at].address != address) at++;
    assert(at < s->taken_count);
    s->taken_count--;
    memmove(s->taken + at, s->taken + at + 1, (s->taken_count - at) * sizeof *s->taken);
}

static fm_status range_map(void *context, uint64_t address, int64_t bytes, struct fm_err *err)
{
    struct fm_arithmetic_source *s = context;
    (void)address;
    (void)err;
    if (bytes > s->budget_bytes - s->used_bytes) return FM_OOM;
    s->used_bytes += bytes;
    return FM_OK;
}

static void range_unmap(void *context, uint64_t address, int64_t bytes)
{
    struct fm_arithmetic_source *s = context;
    (void)address;
    s->used_bytes -= bytes;
    assert(s->used_bytes >= 0);
}

static fm_status segment_alloc(void *context, int64_t bytes, uint64_t *address, struct fm_err *err)
{
    struct fm_arithmetic_source *s = context;
    if (bytes > s->budget_bytes - s->used_bytes) return FM_OOM;
    fm_status status = take_range(s, bytes, address, err);
    if (status == FM_OK) s->used_bytes += bytes;
    return status;
}

static void segment_free(void *context, uint64_t address, int64_t bytes)
{
    give_range(context, address);
    range_unmap(context, address, bytes);
}

static fm_status range_reserve(void *context, int64_t bytes, uint64_t *address, struct fm_err *err)
{
    return take_range(context, bytes, address, err);
}

static void range_release(void *context, uint64_t address, int64_t bytes)
{
    (void)bytes;
    give_range(context, address);
}

static int64_t free_bytes(void *context)
{
    const struct fm_arithmetic_source *s = context;
    return s->budget_bytes - s->used_bytes;
}

void fm_arithmetic_source_init(struct fm_arithmetic_source *s, int64_t budget_bytes)
{
    *s = (struct fm_arithmetic_source){ .budget_bytes = budget_bytes };
}

void fm_arithmetic_source_release(struct fm_arithmetic_source *s)
{
    fm_free(s->taken);
    *s = (struct fm_arithmetic_source){ 0 };
}

struct fm_segment_source fm_arithmetic_source_interface(struct fm_arithmetic_source *s)
{
    return (struct fm_segment_source){
        .segment_alloc = segment_alloc,
        .segment_free = segment_free,
        .range_reserve = range_reserve,
        .range_release = range_release,
        .range_map = range_map,
        .range_unmap = range_unmap,
        .free_bytes = free_bytes,
        .context = s,
    };
}
