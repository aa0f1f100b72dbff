/* The caching allocator's rules, one closed-form case each; sizes are worked out from the rules by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/base/rng.h"

#include "probes/memory/arithmetic_source.h"
#include "probes/memory/caching_allocator.h"

#define KIB INT64_C(1024)
#define MIB INT64_C(1048576)

struct fixture {
    struct fm_arithmetic_source source;
    struct fm_allocator a;
};

static void open_with(struct fixture *f, const struct fm_allocator_config *config, int64_t budget_bytes)
{
    fm_arithmetic_source_init(&f->source, budget_bytes);
    assert_int_equal(fm_allocator_init(&f->a, config, fm_arithmetic_source_interface(&f->source), NULL), FM_OK);
}

static void open_default(struct fixture *f)
{
    struct fm_allocator_config config = fm_allocator_config_default();
    open_with(f, &config, INT64_MAX);
}

static void shut(struct fixture *f)
{
    fm_allocator_release(&f->a);
    assert_int_equal(f->source.used_bytes, 0);
    fm_arithmetic_source_release(&f->source);
}

static uint32_t take_on(struct fixture *f, int64_t bytes, uint32_t stream)
{
    uint32_t block = FM_BLOCK_NONE;
    assert_int_equal(fm_allocator_alloc(&f->a, bytes, stream, &block, NULL), FM_OK);
    return block;
}

static uint32_t take(struct fixture *f, int64_t bytes)
{
    return take_on(f, bytes, 0);
}
static void give(struct fixture *f, uint32_t block)
{
    fm_allocator_free(&f->a, block);
}
static uint64_t at(const struct fixture *f, uint32_t block)
{
    return fm_allocator_address(&f->a, block) - FM_ARITHMETIC_BASE;
}
static int64_t size_of(const struct fixture *f, uint32_t block)
{
    return fm_allocator_block_bytes(&f->a, block);
}
static int64_t reserved(const struct fixture *f)
{
    return fm_allocator_get_stats(&f->a)->reserved_bytes;
}

/* rules 1, 2, 3, 5: what one request makes of an empty allocator */
static void test_first_request(void **state)
{
    static const struct {
        int64_t bytes, block, segment;
    } rows[] = {
        { 1, 512, 2 * MIB },
        { 512, 512, 2 * MIB },
        { 513, 1024, 2 * MIB },
        { 1025, 1536, 2 * MIB },
        { MIB, MIB, 2 * MIB },
        { MIB - 1, MIB, 2 * MIB },
        { MIB + 1, MIB + 512, 20 * MIB },
        { 10 * MIB - 512, 10 * MIB - 512, 20 * MIB },
        { 10 * MIB - 1, 10 * MIB, 10 * MIB }, /* rounded first: no longer below 10 MiB */
        { 10 * MIB, 10 * MIB, 10 * MIB },
        { 10 * MIB + 1, 10 * MIB + 512, 12 * MIB },   /* split: the rest is 2 MiB - 512 */
        { 11 * MIB, 12 * MIB, 12 * MIB },             /* rest of exactly 1 MiB: not split */
        { 11 * MIB - 512, 11 * MIB - 512, 12 * MIB }, /* rest of 1 MiB + 512: split */
        { 100 * MIB + 1, 100 * MIB + 512, 102 * MIB },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        open_default(&f);
        uint32_t block = take(&f, rows[i].bytes);
        const struct fm_allocator_stats *stats = fm_allocator_get_stats(&f.a);
        int64_t block_bytes = rows[i].block;
        assert_int_equal(size_of(&f, block), block_bytes);
        assert_int_equal(stats->allocated_bytes, block_bytes);
        assert_int_equal(stats->requested_bytes, rows[i].bytes);
        assert_int_equal(stats->reserved_bytes, rows[i].segment);
        assert_int_equal(stats->inactive_split_bytes, rows[i].segment - block_bytes);
        assert_int_equal(stats->segments, 1);
        give(&f, block);
        assert_int_equal(stats->allocated_bytes, 0);
        assert_int_equal(stats->inactive_split_bytes, 0);
        assert_int_equal(stats->reserved_bytes, rows[i].segment);
        assert_int_equal(stats->allocated_peak_bytes, block_bytes);
        fm_allocator_reset_peaks(&f.a);
        assert_int_equal(stats->allocated_peak_bytes, 0);
        assert_int_equal(stats->reserved_peak_bytes, rows[i].segment);
        shut(&f);
    }
}

static void test_nothing_and_nonsense(void **state)
{
    struct fixture f;
    uint32_t block = 99;
    struct fm_err err = { 0 };
    (void)state;
    open_default(&f);
    assert_int_equal(fm_allocator_alloc(&f.a, 0, 0, &block, &err), FM_OK);
    assert_int_equal(block, FM_BLOCK_NONE);
    fm_allocator_free(&f.a, block);
    assert_int_equal(fm_allocator_address(&f.a, block), 0);
    assert_int_equal(fm_allocator_get_stats(&f.a)->allocs, 0);
    assert_int_equal(fm_allocator_alloc(&f.a, -1, 0, &block, &err), FM_INVALID);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_allocator_alloc(&f.a, INT64_MAX, 0, &block, &err), FM_OOM);
    assert_int_equal(err.status, FM_OOM);
    assert_int_equal(fm_allocator_alloc(&f.a, FM_SEGMENT_MAX_BYTES, 0, &block, NULL), FM_OK);
    shut(&f);
}

/* rule 4: the smallest that suffices, of equals the first; rule 7: neighbours merge */
static void test_best_fit_and_coalescing(void **state)
{
    struct fixture f;
    uint32_t b[6];
    (void)state;
    open_default(&f);
    static const int64_t sizes[6] = { 4 * KIB, KIB, 2 * KIB, KIB, 2 * KIB, KIB };
    uint64_t expected = 0;
    for (int i = 0; i < 6; i++) {
        b[i] = take(&f, sizes[i]);
        assert_int_equal(at(&f, b[i]), expected);
        expected += (uint64_t)sizes[i];
    }
    give(&f, b[0]);
    give(&f, b[4]);
    give(&f, b[2]);
    uint32_t c = take(&f, 1536);
    assert_int_equal(at(&f, c), 5 * KIB); /* b[2]: best fit, lowest of the two */
    uint32_t d = take(&f, 3 * KIB);
    assert_int_equal(at(&f, d), 0); /* 4 KiB at 0 rather than the 2 MiB tail */
    uint32_t e = take(&f, 512);
    assert_int_equal(at(&f, e), 5 * KIB + 1536); /* the remainder of c's split: smallest */
    give(&f, e);
    give(&f, c);
    give(&f, b[1]); /* between the rest of d's split (1 KiB) and b[2] */
    assert_int_equal(at(&f, take(&f, 4 * KIB)), 3 * KIB);
    assert_int_equal(reserved(&f), 2 * MIB);
    shut(&f);
}

/* small and large blocks never mix, nor do streams (rules 2, 4) */
static void test_pools_are_apart(void **state)
{
    struct fixture f;
    (void)state;
    open_default(&f);
    give(&f, take(&f, 10 * MIB));
    uint32_t small = take(&f, MIB);
    assert_int_equal(reserved(&f), 12 * MIB);
    give(&f, small);
    uint32_t other = take_on(&f, MIB, 1);
    assert_int_equal(reserved(&f), 14 * MIB);
    give(&f, take_on(&f, 10 * MIB, 1));
    assert_int_equal(reserved(&f), 24 * MIB);
    give(&f, other);
    fm_allocator_empty_cache(&f.a);
    assert_int_equal(reserved(&f), 0);
    shut(&f);
}

/* equals in different segments: the older segment first, whatever their addresses */
static void test_ties_by_creation(void **state)
{
    struct fixture f;
    (void)state;
    open_default(&f);
    uint32_t low = take(&f, 20 * MIB), pin = take(&f, 20 * MIB);
    give(&f, low);
    fm_allocator_empty_cache(&f.a); /* a hole at 0 */
    uint32_t young = take(&f, 20 * MIB);
    assert_int_equal(at(&f, young), 0);
    give(&f, young);
    give(&f, pin);
    assert_int_equal(at(&f, take(&f, 20 * MIB)), 20 * MIB);
    shut(&f);
}

/* rule 8: a partly used segment stays, whole cached ones go, then the request fits; else FM_OOM */
static void test_retry_ladder(void **state)
{
    struct fixture f;
    struct fm_allocator_config config = fm_allocator_config_default();
    struct fm_err err = { 0 };
    uint32_t block = 1;
    (void)state;
    open_with(&f, &config, 64 * MIB);
    uint32_t half = take(&f, 5 * MIB), whole = take(&f, 30 * MIB); /* 20 + 30 */
    give(&f, whole);
    uint32_t big = take(&f, 40 * MIB); /* 50 + 40 > 64: the 30 are given back */
    assert_int_equal(reserved(&f), 60 * MIB);
    const struct fm_allocator_stats *stats = fm_allocator_get_stats(&f.a);
    assert_int_equal(stats->segment_frees, 1);
    assert_int_equal(stats->retries, 1);
    give(&f, big);
    assert_int_equal(fm_allocator_alloc(&f.a, 46 * MIB, 0, &block, &err), FM_OOM); /* 20 + 46 > 64 */
    assert_int_equal(block, FM_BLOCK_NONE);
    assert_int_equal(err.status, FM_OOM);
    assert_int_equal(reserved(&f), 20 * MIB); /* the caches are gone all the same */
    assert_int_equal(stats->ooms, 1);
    assert_int_equal(stats->allocated_bytes, 5 * MIB);
    assert_int_equal(size_of(&f, take(&f, 44 * MIB)), 44 * MIB); /* 64 exactly */
    give(&f, half);
    shut(&f);
}

/* rule 11 and the budget agree: one byte decides */
static void test_one_byte_over(void **state)
{
    (void)state;
    for (int by_source = 0; by_source < 2; by_source++) {
        for (int64_t missing = 0; missing < 2; missing++) {
            struct fixture f;
            struct fm_allocator_config config = fm_allocator_config_default();
            int64_t limit = 22 * MIB - missing;
            uint32_t block;
            if (!by_source) config.capacity_bytes = limit;
            open_with(&f, &config, by_source ? limit : INT64_MAX);
            take(&f, 20 * MIB);
            assert_int_equal(fm_allocator_alloc(&f.a, 1, 0, &block, NULL), missing ? FM_OOM : FM_OK);
            shut(&f);
        }
    }
}

/* rule 6 and the oversize step of rule 8 */
static void test_max_split(void **state)
{
    struct fixture f;
    struct fm_allocator_config config = fm_allocator_config_default();
    (void)state;
    config.max_split_bytes = 32 * MIB;
    open_with(&f, &config, 150 * MIB);
    uint32_t big = take(&f, 60 * MIB);
    give(&f, big);
    uint32_t below = take(&f, 20 * MIB); /* never from an oversize block */
    assert_int_equal(reserved(&f), 80 * MIB);
    big = take(&f, 41 * MIB); /* 60 < 41 + 20: taken whole, not split */
    assert_int_equal(size_of(&f, big), 60 * MIB);
    give(&f, big);
    uint32_t other = take(&f, 40 * MIB); /* 60 >= 40 + 20: rejected */
    assert_int_equal(reserved(&f), 120 * MIB);
    give(&f, below);
    uint32_t third = take(&f, 40 * MIB); /* 120 + 40 > 150: the oversize 60 goes, the cached 20 stays */
    const struct fm_allocator_stats *stats = fm_allocator_get_stats(&f.a);
    assert_int_equal(stats->segment_frees, 1);
    assert_int_equal(stats->retries, 0);
    assert_int_equal(reserved(&f), 100 * MIB);
    give(&f, other);
    give(&f, third);
    give(&f, take(&f, 101 * MIB)); /* all 80 MiB of oversize blocks are less than 101: the last step */
    assert_int_equal(stats->retries, 1);
    assert_int_equal(reserved(&f), 102 * MIB);
    shut(&f);
}

/* rule 8, first step: beyond 0.5 of the capacity, whole large blocks of at least average age go */
static void test_garbage_collection(void **state)
{
    struct fixture f;
    struct fm_allocator_config config = fm_allocator_config_default();
    (void)state;
    config.capacity_bytes = 200 * MIB;
    config.garbage_collection_threshold = 0.5;
    open_with(&f, &config, INT64_MAX);
    uint32_t old = take(&f, 40 * MIB), young = take(&f, 60 * MIB), pin = take(&f, 24 * MIB);
    give(&f, old);
    give(&f, take(&f, 16 * MIB + 512)); /* one search later: from the 40 MiB block, which is inserted anew */
    give(&f, take(&f, 62 * MIB));       /* 124 > 100 reserved: old is of average age, being alone */
    assert_int_equal(fm_allocator_get_stats(&f.a)->segment_frees, 1);
    assert_int_equal(reserved(&f), (60 + 24 + 62) * MIB);
    give(&f, young);
    take(&f, 62 * MIB + 1); /* no fit: target 46, ages 62: 1, 60: 1 -> both go */
    assert_int_equal(reserved(&f), (24 + 64) * MIB);
    give(&f, pin);
    shut(&f);
}

/* rule 1: 4 divisions of [1024, 2048) are 1024, 1280, ...; below 512 d and at powers of two nothing changes */
static void test_divisions(void **state)
{
    static const struct {
        int64_t bytes, rounded;
        uint32_t divisions;
    } rows[] = {
        { 1200, 1536, 4 },
        { 2048, 2048, 4 },
        { 2049, 2560, 4 },
        { 2561, 3072, 4 },
        { 3 * MIB, 3 * MIB, 2 },
        { 3 * MIB + 1, 4 * MIB, 2 },
        { 4 * MIB, 4 * MIB, 2 },
        { 4 * MIB + 1, 6 * MIB, 2 },
        { 100 * MIB, 104 * MIB, 8 },
        { 100 * MIB, 100 * MIB, 16 },
        { 100 * MIB, 100 * MIB, 0 },
        { 100 * MIB + 1, 100 * MIB + 512, 1 },
        { 511, 512, 8 },
        { 4097, 4608, 8 },
        { 4095, 4096, 8 },
        { 5000, 5120, 8 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f;
        struct fm_allocator_config config = fm_allocator_config_default();
        fm_allocator_config_set_divisions(&config, rows[i].divisions);
        open_with(&f, &config, INT64_MAX);
        assert_int_equal(fm_allocator_round_bytes(&f.a, rows[i].bytes), rows[i].rounded);
        shut(&f);
    }
    struct fixture f; /* chosen by octave, both ends open */
    struct fm_allocator_config config = fm_allocator_config_default();
    config.roundup_power2_divisions[0] = 2;
    config.roundup_power2_divisions[15] = 2;
    open_with(&f, &config, INT64_MAX);
    assert_int_equal(fm_allocator_round_bytes(&f.a, 5 * KIB), 6 * KIB);
    assert_int_equal(fm_allocator_round_bytes(&f.a, 5 * MIB), 5 * MIB);
    assert_int_equal(fm_allocator_round_bytes(&f.a, 33 * 1024 * MIB), 48 * 1024 * MIB);
    assert_int_equal(fm_allocator_round_bytes(&f.a, 65 * 1024 * MIB), 96 * 1024 * MIB);
    shut(&f);
}

/* rule 9: one segment that grows by pages and gives empty pages back */
static void test_expandable(void **state)
{
    struct fixture f;
    struct fm_allocator_config config = fm_allocator_config_default();
    (void)state;
    config.expandable_segments = true;
    config.device_bytes = 160 * MIB;
    open_with(&f, &config, 160 * MIB);
    uint32_t a = take(&f, 30 * MIB), b = take(&f, 30 * MIB);
    assert_int_equal(reserved(&f), 60 * MIB); /* 40 for a; 10 of them and one page more for b */
    assert_int_equal(at(&f, b), 30 * MIB);
    uint32_t c = take(&f, 30 * MIB + 512);
    assert_int_equal(at(&f, c), 60 * MIB);
    assert_int_equal(reserved(&f), 100 * MIB);
    give(&f, b); /* free: 30..60, whole pages: 40..60 */
    fm_allocator_empty_cache(&f.a);
    assert_int_equal(reserved(&f), 80 * MIB); /* the tail behind c, 90 MiB + 512, has no whole page */
    uint32_t d = take(&f, 12 * MIB);          /* neither the tail nor 30..40 has it: the latter grows */
    assert_int_equal(at(&f, d), 30 * MIB);
    assert_int_equal(reserved(&f), 100 * MIB);
    assert_int_equal(fm_allocator_get_stats(&f.a)->inactive_split_bytes, 0);
    give(&f, a);
    give(&f, c);
    give(&f, d);
    fm_allocator_empty_cache(&f.a);
    assert_int_equal(reserved(&f), 0);
    shut(&f);
}

/* Unmapping cuts a free block into up to three: records for it are there whatever their number is. Blocks
 * of 30 MiB from 0, every other one free: each frees the whole 20 MiB pages within it. */
static void test_expandable_fragments(void **state)
{
    (void)state;
    for (int n = 60; n < 260; n += 3) {
        struct fixture f;
        struct fm_allocator_config config = fm_allocator_config_default();
        uint32_t blocks[260];
        config.expandable_segments = true;
        config.device_bytes = 16384 * MIB;
        open_with(&f, &config, INT64_MAX);
        for (int i = 0; i < n; i++) blocks[i] = take(&f, 30 * MIB);
        for (int i = 0; i < n; i += 2) give(&f, blocks[i]);
        fm_allocator_empty_cache(&f.a);
        bool used[500] = { false };
        int64_t pages = 0;
        for (int i = 1; i < n; i += 2)
            for (int page = i * 30 / 20; page * 20 < i * 30 + 30; page++) used[page] = true;
        for (int page = 0; page < 500; page++) pages += used[page];
        assert_int_equal(reserved(&f), pages * 20 * MIB);
        shut(&f);
    }
}

static void test_bad_configurations(void **state)
{
    struct fm_arithmetic_source source;
    struct fm_allocator a;
    (void)state;
    fm_arithmetic_source_init(&source, INT64_MAX);
    struct fm_segment_source interface = fm_arithmetic_source_interface(&source);
    struct fm_allocator_config good = fm_allocator_config_default(), config[7];
    for (int i = 0; i < 7; i++) config[i] = good;
    config[0].capacity_bytes = -1;
    config[1].max_split_bytes = 20 * MIB;
    config[2].roundup_power2_divisions[3] = 3;
    config[3].garbage_collection_threshold = 1;
    config[4].garbage_collection_threshold = -0.1;
    config[5].expandable_segments = true;
    config[6].guard = true;
    for (int i = 0; i < 7; i++) {
        struct fm_err err = { 0 };
        assert_int_equal(fm_allocator_init(&a, &config[i], interface, &err), i == 6 ? FM_UNSUPPORTED : FM_INVALID);
        assert_true(strlen(err.text) > 10);
    }
    good.expandable_segments = true;
    good.device_bytes = MIB;
    interface.range_map = NULL;
    assert_int_equal(fm_allocator_init(&a, &good, interface, NULL), FM_UNSUPPORTED);
}

struct log {
    int count;
    struct fm_allocator_event events[16];
};

static void record(void *context, const struct fm_allocator_event *event)
{
    struct log *log = context;
    assert_true(log->count < 16);
    log->events[log->count++] = *event;
}

static void test_observer(void **state)
{
    static const enum fm_allocator_event_kind kinds[] = { FM_EVENT_SEGMENT_ALLOC, FM_EVENT_ALLOC, FM_EVENT_FREE,
                                                          FM_EVENT_SEGMENT_FREE, FM_EVENT_OOM };
    struct fixture f;
    struct log log = { 0 };
    struct fm_allocator_config config = fm_allocator_config_default();
    uint32_t block;
    (void)state;
    config.observer = (struct fm_allocator_observer){ record, &log };
    open_with(&f, &config, 20 * MIB);
    give(&f, take_on(&f, 3 * MIB + 5, 2));
    assert_int_equal(fm_allocator_alloc(&f.a, 30 * MIB, 2, &block, NULL), FM_OOM);
    assert_int_equal(log.count, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(log.events[i].kind, kinds[i]);
        assert_int_equal(log.events[i].stream, 2);
        assert_int_equal(log.events[i].bytes, i == 4 ? 30 * MIB : i == 0 || i == 3 ? 20 * MIB : 3 * MIB + 5);
        assert_int_equal(log.events[i].address, i == 4 ? 0 : FM_ARITHMETIC_BASE);
    }
    shut(&f);
}

/* What is said of the next request is what it gets; freed at once it leaves no trace. Where nothing is said it needs a segment. */
static void test_cached_bytes(void **state)
{
    long said[2] = { 0 };
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct fixture f;
        struct fm_allocator_config config = fm_allocator_config_default();
        uint32_t live[64];
        size_t count = 0;
        if (seed % 3 == 1) config.max_split_bytes = 64 * MIB;
        if (seed % 3 == 2) fm_allocator_config_set_divisions(&config, 8);
        open_with(&f, &config, INT64_MAX);
        assert_int_equal(fm_allocator_cached_bytes(&f.a, MIB, 0), 0);
        for (uint64_t i = 0; i < 300; i++) {
            int64_t bytes = 1 + (int64_t)(fm_rng_u64(seed, 1, i) % (UINT64_C(1) << (9 + fm_rng_u64(seed, 2, i) % 19)));
            int64_t cached_bytes = fm_allocator_cached_bytes(&f.a, bytes, 0), segments = fm_allocator_get_stats(&f.a)->segment_allocs;
            uint64_t before = fm_allocator_state_hash(&f.a);
            uint32_t block = take(&f, bytes);
            said[cached_bytes > 0]++;
            assert_int_equal(fm_allocator_get_stats(&f.a)->segment_allocs, segments + !cached_bytes);
            if (cached_bytes) assert_int_equal(size_of(&f, block), cached_bytes);
            give(&f, block);
            if (cached_bytes) assert_int_equal(fm_allocator_state_hash(&f.a), before);
            if (count == 64 || (count && fm_rng_u64(seed, 3, i) % 3 == 0)) {
                size_t which = fm_rng_u64(seed, 4, i) % count;
                give(&f, live[which]);
                live[which] = live[--count];
            } else {
                live[count++] = take(&f, bytes);
            }
        }
        assert_int_equal(fm_allocator_cached_bytes(&f.a, 0, 0), 0);
        assert_int_equal(fm_allocator_cached_bytes(&f.a, MIB, 7), 0);       /* a stream that was never used */
        shut(&f);
    }
    assert_true(said[0] > 500 && said[1] > 5000);
    struct fixture f;
    struct fm_allocator_config config = fm_allocator_config_default();
    config.expandable_segments = true;
    config.device_bytes = 1024 * MIB;
    open_with(&f, &config, INT64_MAX);
    give(&f, take(&f, 30 * MIB));
    assert_int_equal(fm_allocator_cached_bytes(&f.a, 20 * MIB, 0), 0);      /* it might grow instead */
    shut(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_request),
        cmocka_unit_test(test_nothing_and_nonsense),
        cmocka_unit_test(test_best_fit_and_coalescing),
        cmocka_unit_test(test_pools_are_apart),
        cmocka_unit_test(test_ties_by_creation),
        cmocka_unit_test(test_retry_ladder),
        cmocka_unit_test(test_one_byte_over),
        cmocka_unit_test(test_max_split),
        cmocka_unit_test(test_garbage_collection),
        cmocka_unit_test(test_divisions),
        cmocka_unit_test(test_expandable),
        cmocka_unit_test(test_expandable_fragments),
        cmocka_unit_test(test_bad_configurations),
        cmocka_unit_test(test_observer),
        cmocka_unit_test(test_cached_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
