/* A second caching allocator, written from the rules and not from the first: no free lists, no links.
 * A segment is its sorted used intervals and, if expandable, its mapped pages; every question is answered
 * by scanning everything. Free blocks are what lies between: maximal runs, since coalescing is complete. */
#ifndef FM_TESTS_MEMORY_NAIVE_ALLOCATOR_H
#define FM_TESTS_MEMORY_NAIVE_ALLOCATOR_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "probes/memory/arithmetic_source.h"
#include "probes/memory/caching_allocator.h"

enum { NAIVE_SEGMENTS = 400, NAIVE_USED = 600, NAIVE_PAGES = 300, NAIVE_RUNS = 1300 };
#define MIB INT64_C(1048576)

struct naive_used {
    int64_t offset, bytes, requested;
};

struct naive_segment {
    uint64_t address;
    int64_t bytes, page_bytes, whole_since;
    uint32_t stream;
    bool small, expandable;
    bool mapped[NAIVE_PAGES];
    int used_count;
    struct naive_used used[NAIVE_USED];
};

struct naive_run {
    int segment;
    int64_t offset, bytes;
    bool unmapped;
};

struct naive {
    struct fm_allocator_config config;
    struct fm_segment_source source;
    int count;
    struct naive_segment *segments; /* NAIVE_SEGMENTS, in order of creation */
    int64_t gc_calls, reserved, reserved_peak, ooms;
};

static int64_t naive_round(const struct naive *n, int64_t bytes)
{
    int octave = 0;
    while (octave < 15 && bytes >= (MIB << (octave + 1))) octave++;
    int64_t d = n->config.roundup_power2_divisions[octave];
    if (bytes >= 512 && d > 1 && bytes > 512 * d) {
        int64_t floor = 1;
        while (floor * 2 <= bytes) floor *= 2;
        for (int64_t k = 0; k <= d; k++)
            if (floor + k * (floor / d) >= bytes) return floor + k * (floor / d);
    }
    return (bytes + 511) / 512 * 512;
}

static int64_t naive_segment_bytes(int64_t bytes)
{
    if (bytes <= MIB) return 2 * MIB;
    if (bytes < 10 * MIB) return 20 * MIB;
    int64_t odd = bytes % (2 * MIB);
    return odd ? bytes + 2 * MIB - odd : bytes;
}

/* the free and unmapped runs of a segment, ascending */
static int naive_runs(const struct naive *n, int s, struct naive_run *runs)
{
    const struct naive_segment *g = &n->segments[s];
    int count = 0, u = 0;
    for (int64_t at = 0; at < g->bytes;) {
        if (u < g->used_count && g->used[u].offset == at) {
            at += g->used[u++].bytes;
            continue;
        }
        int64_t end = u < g->used_count ? g->used[u].offset : g->bytes;
        bool unmapped = false;
        if (g->expandable) {
            unmapped = !g->mapped[at / g->page_bytes];
            int64_t page = at / g->page_bytes;
            while (page * g->page_bytes < end && !g->mapped[page] == unmapped) page++;
            end = page * g->page_bytes < end ? page * g->page_bytes : end;
        }
        assert(count < NAIVE_RUNS);
        runs[count++] = (struct naive_run){ s, at, end - at, unmapped };
        at = end;
    }
    return count;
}

static void naive_drop(struct naive *n, int s)
{
    memmove(n->segments + s, n->segments + s + 1, (size_t)(n->count - s - 1) * sizeof *n->segments);
    n->count--;
}

static void naive_give_back(struct naive *n, int s)
{
    n->source.segment_free(n->source.context, n->segments[s].address, n->segments[s].bytes);
    n->reserved -= n->segments[s].bytes;
    naive_drop(n, s);
}

static bool naive_is_whole(const struct naive *n, int s, bool large_only)
{
    const struct naive_segment *g = &n->segments[s];
    return !g->expandable && g->used_count == 0 && !(large_only && g->small);
}

static bool naive_unmap(struct naive *n, int s)
{
    struct naive_segment *g = &n->segments[s];
    bool any = false;
    for (int64_t p = 0; p < g->bytes / g->page_bytes; p++) {
        bool empty = g->mapped[p];
        for (int u = 0; u < g->used_count; u++)
            empty &= g->used[u].offset >= (p + 1) * g->page_bytes ||
                     g->used[u].offset + g->used[u].bytes <= p * g->page_bytes;
        if (!empty) continue;
        g->mapped[p] = false;
        n->source.range_unmap(n->source.context, g->address + (uint64_t)(p * g->page_bytes), g->page_bytes);
        n->reserved -= g->page_bytes;
        any = true;
    }
    for (int64_t p = 0; p < g->bytes / g->page_bytes; p++) any &= !g->mapped[p];
    return any; /* something was unmapped and nothing is mapped now */
}

static void naive_empty_cache(struct naive *n)
{
    for (int s = n->count; s-- > 0;) {
        if (naive_is_whole(n, s, false))
            naive_give_back(n, s);
        else if (n->segments[s].expandable && naive_unmap(n, s)) {
            n->source.range_release(n->source.context, n->segments[s].address, n->segments[s].bytes);
            naive_drop(n, s);
        }
    }
}

static void naive_collect(struct naive *n)
{
    int64_t limit = (int64_t)(n->config.garbage_collection_threshold * (double)n->config.capacity_bytes);
    int64_t target = n->reserved - limit, freed = 0;
    bool progress = true;
    while (progress && freed < target) {
        double ages = 0;
        int wholes = 0;
        for (int s = 0; s < n->count; s++) {
            if (!naive_is_whole(n, s, true)) continue;
            ages += (double)(n->gc_calls - n->segments[s].whole_since);
            wholes++;
        }
        progress = false;
        for (int s = n->count; s-- > 0 && wholes > 0;) {
            if (!naive_is_whole(n, s, true)) continue;
            if ((double)(n->gc_calls - n->segments[s].whole_since) < ages / wholes) continue;
            freed += n->segments[s].bytes;
            naive_give_back(n, s);
            progress = true;
        }
    }
}

/* candidates of one pool, by (bytes, segment, offset) */
static int naive_candidates(const struct naive *n, uint32_t stream, bool small, int64_t at_least,
                            struct naive_run *sorted)
{
    struct naive_run runs[NAIVE_RUNS];
    int count = 0;
    for (int s = 0; s < n->count; s++) {
        if (n->segments[s].stream != stream || n->segments[s].small != small) continue;
        int found = naive_runs(n, s, runs);
        for (int i = 0; i < found; i++) {
            if (runs[i].unmapped || runs[i].bytes < at_least) continue;
            assert(count < NAIVE_RUNS);
            int at = count++;
            for (; at > 0 && sorted[at - 1].bytes > runs[i].bytes; at--) sorted[at] = sorted[at - 1];
            sorted[at] = runs[i];
        }
    }
    return count;
}

static int64_t naive_growable(const struct naive *n, struct naive_run run)
{
    struct naive_run runs[NAIVE_RUNS];
    int count = naive_runs(n, run.segment, runs);
    for (int i = 0; i < count; i++)
        if (runs[i].unmapped && runs[i].offset == run.offset + run.bytes) return run.bytes + runs[i].bytes;
    return run.bytes;
}

static bool naive_search(const struct naive *n, uint32_t stream, bool small, int64_t bytes, struct naive_run *run)
{
    struct naive_run sorted[NAIVE_RUNS];
    int count = naive_candidates(n, stream, small, bytes, sorted), at = 0;
    if (count == 0) return false;
    if (n->config.expandable_segments)
        while (at + 1 < count && naive_growable(n, sorted[at + 1]) < naive_growable(n, sorted[at])) at++;
    int64_t max_split = n->config.max_split_bytes;
    if (max_split && bytes < max_split && sorted[at].bytes >= max_split) return false;
    if (max_split && bytes >= max_split && sorted[at].bytes >= bytes + 20 * MIB) return false;
    *run = sorted[at];
    return true;
}

static bool naive_release_available(struct naive *n, uint32_t stream, int64_t bytes)
{
    struct naive_run sorted[NAIVE_RUNS];
    int64_t max_split = n->config.max_split_bytes, key = bytes > max_split ? bytes : max_split, sum = 0;
    if (!max_split || bytes <= MIB) return false; /* no small block is oversize */
    int count = naive_candidates(n, stream, false, key, sorted);
    if (count > 0) {
        naive_give_back(n, sorted[0].segment);
        return true;
    }
    while (sum < key && (count = naive_candidates(n, stream, false, max_split, sorted)) > 0) {
        sum += sorted[count - 1].bytes;
        naive_give_back(n, sorted[count - 1].segment);
    }
    return sum >= key;
}

static void naive_grow_reserved(struct naive *n, int64_t bytes)
{
    n->reserved += bytes;
    if (n->reserved > n->reserved_peak) n->reserved_peak = n->reserved;
}

/* the run of the segment that starts at offset */
static struct naive_run naive_run_at(const struct naive *n, int s, int64_t offset)
{
    struct naive_run runs[NAIVE_RUNS];
    int count = naive_runs(n, s, runs);
    for (int i = 0; i < count; i++)
        if (runs[i].offset <= offset && offset < runs[i].offset + runs[i].bytes) return runs[i];
    return (struct naive_run){ .segment = -1 };
}

/* maps pages behind `start` until one free run there holds `bytes` */
static bool naive_fill(struct naive *n, int s, int64_t start, int64_t bytes, struct naive_run *run)
{
    struct naive_segment *g = &n->segments[s];
    for (;;) {
        struct naive_run here = naive_run_at(n, s, start);
        if (!here.unmapped && here.offset + here.bytes - start >= bytes) {
            *run = here;
            return true;
        }
        struct naive_run gap = here.unmapped ? here : naive_run_at(n, s, here.offset + here.bytes);
        int64_t missing = bytes - (gap.offset - start);
        missing = missing < gap.bytes ? missing : gap.bytes;
        int64_t pages = (missing + g->page_bytes - 1) / g->page_bytes;
        if (n->source.range_map(n->source.context, g->address + (uint64_t)gap.offset, pages * g->page_bytes, NULL) !=
            FM_OK)
            return false;
        for (int64_t p = 0; p < pages; p++) g->mapped[gap.offset / g->page_bytes + p] = true;
        naive_grow_reserved(n, pages * g->page_bytes);
    }
}

static bool naive_expand(struct naive *n, uint32_t stream, bool small, int64_t bytes, struct naive_run *run)
{
    struct naive_run runs[NAIVE_RUNS];
    for (int s = 0; s < n->count; s++) {
        if (n->segments[s].stream != stream || n->segments[s].small != small) continue;
        int count = naive_runs(n, s, runs);
        for (int i = 0; i < count; i++) {
            if (!runs[i].unmapped) continue;
            int from = i > 0 && runs[i - 1].offset + runs[i - 1].bytes == runs[i].offset ? i - 1 : i;
            int64_t room = 0;
            for (int k = from; k < count && runs[k].offset == runs[from].offset + room; k++) room += runs[k].bytes;
            if (room >= bytes) return naive_fill(n, s, runs[from].offset, bytes, run);
        }
    }
    assert(n->count < NAIVE_SEGMENTS);
    struct naive_segment *g = &n->segments[n->count];
    memset(g, 0, sizeof *g);
    g->stream = stream;
    g->small = small;
    g->expandable = true;
    g->page_bytes = small ? 2 * MIB : 20 * MIB;
    while (g->bytes < n->config.device_bytes + n->config.device_bytes / 8) g->bytes += g->page_bytes;
    if (g->bytes < bytes) return false;
    if (n->source.range_reserve(n->source.context, g->bytes, &g->address, NULL) != FM_OK) return false;
    return naive_fill(n, n->count++, 0, bytes, run);
}

static bool naive_new_segment(struct naive *n, uint32_t stream, int64_t bytes, struct naive_run *run)
{
    int64_t size = naive_segment_bytes(bytes);
    if (n->config.capacity_bytes - n->reserved < size) return false;
    if (n->config.expandable_segments) return naive_expand(n, stream, bytes <= MIB, bytes, run);
    assert(n->count < NAIVE_SEGMENTS);
    struct naive_segment *g = &n->segments[n->count];
    memset(g, 0, sizeof *g);
    if (n->source.segment_alloc(n->source.context, size, &g->address, NULL) != FM_OK) return false;
    g->bytes = size;
    g->stream = stream;
    g->small = bytes <= MIB;
    naive_grow_reserved(n, size);
    *run = (struct naive_run){ n->count++, 0, size, false };
    return true;
}

/* address, 0 when out of memory */
static uint64_t naive_alloc(struct naive *n, int64_t requested, uint32_t stream, int64_t *block_bytes)
{
    int64_t bytes = naive_round(n, requested), max_split = n->config.max_split_bytes;
    bool small = bytes <= MIB;
    struct naive_run run = { 0 };
    if (!small) n->gc_calls++;
    bool found = naive_search(n, stream, small, bytes, &run);
    if (!found) {
        bool limited = n->config.capacity_bytes != INT64_MAX;
        if (limited && n->config.garbage_collection_threshold > 0) naive_collect(n);
        found = naive_new_segment(n, stream, bytes, &run);
        if (!found && naive_release_available(n, stream, bytes)) found = naive_new_segment(n, stream, bytes, &run);
        if (!found) {
            naive_empty_cache(n);
            found = naive_new_segment(n, stream, bytes, &run);
        }
    }
    if (!found) {
        n->ooms++;
        return 0;
    }
    int64_t rest = run.bytes - bytes;
    bool cut = small || n->config.expandable_segments ? rest >= 512 : (!max_split || bytes < max_split) && rest > MIB;
    struct naive_segment *g = &n->segments[run.segment];
    assert(g->used_count < NAIVE_USED);
    int at = g->used_count++;
    for (; at > 0 && g->used[at - 1].offset > run.offset; at--) g->used[at] = g->used[at - 1];
    *block_bytes = cut ? bytes : run.bytes;
    g->used[at] = (struct naive_used){ run.offset, *block_bytes, requested };
    return g->address + (uint64_t)run.offset;
}

static void naive_free(struct naive *n, uint64_t address)
{
    for (int s = 0; s < n->count; s++) {
        struct naive_segment *g = &n->segments[s];
        for (int u = 0; u < g->used_count; u++) {
            if (g->address + (uint64_t)g->used[u].offset != address) continue;
            g->used_count--;
            memmove(g->used + u, g->used + u + 1, (size_t)(g->used_count - u) * sizeof *g->used);
            if (g->used_count == 0) g->whole_since = n->gc_calls;
            return;
        }
    }
    abort(); /* not in use */
}

#endif
