/* The caching allocator against a naive second one: the same addresses, block sizes, statistics and
 * layout at every operation of long random sequences; and what must hold of any allocator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "probes/memory/allocator_internal.h"
#include "tests/memory/naive_allocator.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

enum { LIVE = 160 };

struct live {
    uint32_t block;
    uint64_t address;
};

struct scenario {
    const char *name;
    struct fm_allocator_config config;
    int64_t budget_bytes, largest_bytes;
    int operations, streams;
};

static struct naive naive;

/* sizes that matter: the thresholds and their neighbours, and powers with noise */
static int64_t pick_bytes(uint64_t seed, uint64_t i, int64_t largest)
{
    static const int64_t edges[] = { 1,        511,          512,      513,      1024,     4096,           MIB - 512,
                                     MIB - 1,  MIB,          MIB + 1,  2 * MIB,  4 * MIB,  10 * MIB - 512, 10 * MIB - 1,
                                     10 * MIB, 10 * MIB + 1, 19 * MIB, 20 * MIB, 21 * MIB, 22 * MIB + 5,   40 * MIB,
                                     41 * MIB };
    uint64_t r = fm_rng_u64(seed, 11, i);
    int64_t bytes = (r & 3) ? (INT64_C(1) << (r >> 8) % 27) + (int64_t)((r >> 16) % 3001) * ((r & 4) ? 1 : 4096)
                            : edges[(r >> 8) % (sizeof edges / sizeof *edges)];
    return bytes > largest ? bytes % largest + 1 : bytes;
}

static void compare_layout(const struct fm_allocator *a)
{
    struct fm_segment_view segment;
    struct fm_block_view block;
    struct naive_run runs[NAIVE_RUNS];
    int64_t allocated = 0, requested = 0, inactive = 0, reserved = 0, largest = 0;
    int s = 0;
    for (uint32_t sc = 0; fm_allocator_next_segment(a, &sc, &segment); s++) {
        assert_true(s < naive.count);
        const struct naive_segment *g = &naive.segments[s];
        assert_int_equal(segment.address, g->address);
        assert_int_equal(segment.bytes, g->bytes);
        assert_int_equal(segment.stream, g->stream);
        assert_int_equal(segment.small, g->small);
        int count = naive_runs(&naive, s, runs), run = 0, used = 0;
        uint64_t at = segment.address;
        bool was_free = false;
        for (uint32_t bc = 0; fm_allocator_next_block(a, segment.index, &bc, &block);) {
            assert_int_equal(block.address, at); /* blocks tile the segment */
            assert_true(block.bytes > 0 && block.bytes % 512 == 0);
            at += (uint64_t)block.bytes;
            if (block.state == FM_BLOCK_USED) {
                assert_true(used < g->used_count);
                assert_int_equal(block.bytes, g->used[used].bytes);
                assert_int_equal(block.requested_bytes, g->used[used++].requested);
                allocated += block.bytes;
                requested += block.requested_bytes;
            } else {
                assert_true(run < count);
                assert_int_equal(block.bytes, runs[run].bytes);
                assert_int_equal(block.state == FM_BLOCK_UNMAPPED, runs[run].unmapped);
                run++;
                if (block.state == FM_BLOCK_FREE && !segment.expandable && g->used_count) inactive += block.bytes;
                if (block.state == FM_BLOCK_FREE && block.bytes > largest) largest = block.bytes;
            }
            assert_false(block.state == FM_BLOCK_FREE && was_free);
            was_free = block.state == FM_BLOCK_FREE;
            if (block.state != FM_BLOCK_UNMAPPED) reserved += block.bytes;
        }
        assert_int_equal(at, segment.address + (uint64_t)segment.bytes);
        assert_int_equal(run, count);
        assert_int_equal(used, g->used_count);
    }
    assert_int_equal(s, naive.count);
    const struct fm_allocator_stats *stats = fm_allocator_get_stats(a);
    assert_int_equal(stats->allocated_bytes, allocated);
    assert_int_equal(stats->requested_bytes, requested);
    assert_int_equal(stats->reserved_bytes, reserved);
    assert_int_equal(stats->inactive_split_bytes, inactive);
    assert_int_equal(fm_allocator_largest_free_bytes(a), largest);
}

static void step(const struct scenario *sc, struct fm_allocator *a, struct live *live, int *count, uint64_t i)
{
    uint64_t r = fm_rng_u64(3, 5, i);
    /* the aim for live blocks drifts, so that whole segments come free at times */
    int aim = (int)((r & 63) ? (i / 512 % 4) * LIVE / 4 + 10 : 0);
    if (r % 4001 == 0) {
        fm_allocator_empty_cache(a);
        naive_empty_cache(&naive);
    } else if (*count < LIVE && (*count == 0 || (int)((r >> 8) % (uint64_t)(aim + LIVE)) >= *count)) {
        int64_t bytes = pick_bytes(17, i, sc->largest_bytes), block_bytes = 0;
        uint32_t stream = (uint32_t)((r >> 40) % (uint64_t)sc->streams) * 7;
        struct live *slot = &live[*count];
        struct fm_err err = { 0 };
        fm_status status = fm_allocator_alloc(a, bytes, stream, &slot->block, &err);
        slot->address = naive_alloc(&naive, bytes, stream, &block_bytes);
        assert_int_equal(status, slot->address ? FM_OK : FM_OOM);
        assert_int_equal(err.status, status);
        if (status == FM_OK) {
            assert_int_equal(fm_allocator_address(a, slot->block), slot->address);
            assert_int_equal(fm_allocator_block_bytes(a, slot->block), block_bytes);
            assert_int_equal(fm_allocator_requested_bytes(a, slot->block), bytes);
            ++*count;
        } else {
            assert_int_equal(slot->block, FM_BLOCK_NONE);
        }
    } else if (*count > 0) {
        int victim = (int)((r >> 20) % (uint64_t)*count);
        fm_allocator_free(a, live[victim].block);
        naive_free(&naive, live[victim].address);
        live[victim] = live[--*count];
    }
    assert_int_equal(fm_allocator_get_stats(a)->reserved_bytes, naive.reserved);
    assert_int_equal(fm_allocator_get_stats(a)->reserved_peak_bytes, naive.reserved_peak);
    assert_int_equal(fm_allocator_get_stats(a)->ooms, naive.ooms);
}

static void run_scenario(const struct scenario *sc)
{
    struct fm_arithmetic_source source, naive_source;
    struct fm_allocator a;
    struct live live[LIVE] = { { 0 } };
    int count = 0;
    long before = fm_memory_live;
    fm_arithmetic_source_init(&source, sc->budget_bytes);
    fm_arithmetic_source_init(&naive_source, sc->budget_bytes);
    struct naive_segment *segments = fm_calloc(NAIVE_SEGMENTS, sizeof *segments);
    naive = (struct naive){ .config = sc->config,
                            .segments = segments,
                            .source = fm_arithmetic_source_interface(&naive_source) };
    assert_int_equal(fm_allocator_init(&a, &sc->config, fm_arithmetic_source_interface(&source), NULL), FM_OK);
    for (int i = 0; i < sc->operations; i++) {
        step(sc, &a, live, &count, (uint64_t)i);
        if (i % 5000 == 2500) a.ordinal_next = UINT32_MAX - 3; /* segments will be renumbered */
        if (i % 32 == 0) compare_layout(&a);
        assert_int_equal(source.used_bytes, naive_source.used_bytes);
    }
    compare_layout(&a);
    const struct fm_allocator_stats *stats = fm_allocator_get_stats(&a);
    print_message("%s: %d operations, %lld ooms, %lld segment frees, peak %lld MiB\n", sc->name, sc->operations,
                  (long long)stats->ooms, (long long)stats->segment_frees,
                  (long long)(stats->reserved_peak_bytes / MIB));
    while (count > 0) fm_allocator_free(&a, live[--count].block);
    assert_int_equal(stats->allocated_bytes, 0);
    assert_int_equal(stats->requested_bytes, 0);
    assert_int_equal(stats->inactive_split_bytes, 0);
    assert_int_equal(stats->allocs, stats->frees);
    fm_allocator_empty_cache(&a);
    assert_int_equal(stats->reserved_bytes, 0);
    assert_int_equal(source.used_bytes, 0);
    fm_allocator_release(&a);
    fm_arithmetic_source_release(&source);
    fm_arithmetic_source_release(&naive_source);
    fm_free(segments);
    assert_int_equal(fm_memory_live, before);
}

#define SCENARIO(...) run_scenario(&(struct scenario){ __VA_ARGS__ })

static void test_default(void **state)
{
    (void)state;
    SCENARIO("unlimited", { .capacity_bytes = INT64_MAX }, INT64_MAX, 64 * MIB, 30000, 1);
    SCENARIO("budget", { .capacity_bytes = INT64_MAX }, 900 * MIB, 64 * MIB, 30000, 1);
    SCENARIO("small only", { .capacity_bytes = INT64_MAX }, 40 * MIB, MIB, 20000, 1);
    SCENARIO("streams", { .capacity_bytes = 1200 * MIB }, INT64_MAX, 64 * MIB, 20000, 3);
}

static void test_max_split(void **state)
{
    (void)state;
    struct fm_allocator_config config = { .capacity_bytes = 1000 * MIB + 17, .max_split_bytes = 24 * MIB };
    SCENARIO("max_split", config, INT64_MAX, 96 * MIB, 20000, 1);
    config.max_split_bytes += 100; /* no multiple of 512 */
    SCENARIO("max_split, streams", config, 800 * MIB, 96 * MIB, 20000, 2);
}

static void test_garbage_collection(void **state)
{
    (void)state;
    struct fm_allocator_config config = { .capacity_bytes = 1100 * MIB, .garbage_collection_threshold = 0.6 };
    SCENARIO("gc", config, INT64_MAX, 80 * MIB, 20000, 2);
    config.max_split_bytes = 30 * MIB;
    SCENARIO("gc, max_split", config, INT64_MAX, 80 * MIB, 20000, 1);
}

static void test_divisions(void **state)
{
    (void)state;
    struct fm_allocator_config config = { .capacity_bytes = 1000 * MIB };
    fm_allocator_config_set_divisions(&config, 8);
    SCENARIO("8 divisions", config, INT64_MAX, 64 * MIB, 15000, 1);
    for (int i = 0; i < FM_ROUNDUP_OCTAVES; i++) config.roundup_power2_divisions[i] = i % 2 ? 0 : 1U << (i % 5);
    SCENARIO("mixed divisions", config, INT64_MAX, 64 * MIB, 15000, 1);
}

static void test_expandable(void **state)
{
    (void)state;
    struct fm_allocator_config config = { .capacity_bytes = INT64_MAX,
                                          .expandable_segments = true,
                                          .device_bytes = 500 * MIB };
    SCENARIO("expandable", config, 500 * MIB, 64 * MIB, 20000, 1);
    config.capacity_bytes = 450 * MIB;
    SCENARIO("expandable, streams", config, 500 * MIB, 64 * MIB, 20000, 2);
    config.device_bytes = 300 * MIB; /* ranges run out before the memory */
    config.capacity_bytes = INT64_MAX;
    SCENARIO("expandable, short ranges", config, 2000 * MIB, 90 * MIB, 20000, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),   cmocka_unit_test(test_max_split),  cmocka_unit_test(test_garbage_collection),
        cmocka_unit_test(test_divisions), cmocka_unit_test(test_expandable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
