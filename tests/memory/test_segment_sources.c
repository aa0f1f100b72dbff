/* Where segments come from, and that the allocator does not care; the guard; the state hash; host faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "probes/memory/arithmetic_source.h"
#include "probes/memory/caching_allocator.h"
#include "probes/memory/mmap_source.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define MIB INT64_C(1048576)

enum { LIVE = 120 };

static int64_t pick_bytes(uint64_t seed, uint64_t i)
{
    uint64_t r = fm_rng_u64(seed, 1, i);
    return (INT64_C(1) << r % 25) + (int64_t)((r >> 8) % 5000);
}

/* first fit, checked against a map of 2 MiB cells */
static void test_arithmetic_first_fit(void **state)
{
    enum { CELLS = 256, SEGMENTS = 40 };
    struct fm_arithmetic_source source;
    bool taken[CELLS] = { false };
    struct {
        uint64_t cell;
        int64_t cells;
    } live[SEGMENTS];
    int count = 0;
    (void)state;
    fm_arithmetic_source_init(&source, INT64_MAX);
    struct fm_segment_source s = fm_arithmetic_source_interface(&source);
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t r = fm_rng_u64(1, 2, i);
        if (count < SEGMENTS && r % 16 < 9) {
            uint64_t address = 0, cell = 0;
            int64_t cells = (int64_t)(r >> 8) % 6 + 1;
            assert_int_equal(s.segment_alloc(s.context, cells * 2 * MIB, &address, NULL), FM_OK);
            for (int64_t run = 0; run < cells; cell++) run = taken[cell] ? 0 : run + 1;
            cell -= (uint64_t)cells;
            assert_int_equal(address, FM_ARITHMETIC_BASE + cell * 2 * (uint64_t)MIB);
            for (int64_t k = 0; k < cells; k++) taken[(int64_t)cell + k] = true;
            live[count].cell = cell;
            live[count++].cells = cells;
        } else if (count > 0) {
            int victim = (int)((r >> 16) % (uint64_t)count);
            s.segment_free(s.context, FM_ARITHMETIC_BASE + live[victim].cell * 2 * (uint64_t)MIB,
                           live[victim].cells * 2 * MIB);
            for (int64_t k = 0; k < live[victim].cells; k++) taken[(int64_t)live[victim].cell + k] = false;
            live[victim] = live[--count];
        }
    }
    fm_arithmetic_source_release(&source);
}

static void test_budget_to_the_byte(void **state)
{
    struct fm_arithmetic_source arithmetic;
    struct fm_mmap_source mapped;
    (void)state;
    fm_arithmetic_source_init(&arithmetic, 22 * MIB - 1);
    fm_mmap_source_init(&mapped, 22 * MIB - 1);
    struct fm_segment_source sources[] = { fm_arithmetic_source_interface(&arithmetic),
                                           fm_mmap_source_interface(&mapped) };
    int64_t *budgets[] = { &arithmetic.budget_bytes, &mapped.budget_bytes };
    for (int i = 0; i < 2; i++) {
        struct fm_segment_source s = sources[i];
        struct fm_err err = { 0 };
        uint64_t first = 0, second = 0;
        assert_int_equal(s.segment_alloc(s.context, 20 * MIB, &first, &err), FM_OK);
        assert_int_equal(s.segment_alloc(s.context, 2 * MIB, &second, &err), FM_OOM);
        assert_int_equal(err.status, FM_OK);
        ++*budgets[i];
        assert_int_equal(s.segment_alloc(s.context, 2 * MIB, &second, &err), FM_OK);
        s.segment_free(s.context, first, 20 * MIB);
        assert_int_equal(s.segment_alloc(s.context, 20 * MIB, &first, &err), FM_OK);
        s.segment_free(s.context, first, 20 * MIB);
        s.segment_free(s.context, second, 2 * MIB);
    }
    assert_int_equal(arithmetic.used_bytes, 0);
    assert_int_equal(mapped.used_bytes, 0);
    fm_arithmetic_source_release(&arithmetic);
}

struct pair {
    struct fm_allocator a, b;
    uint32_t in_a[LIVE], in_b[LIVE];
    int count;
};

static void pair_step(struct pair *p, uint64_t i, bool write)
{
    uint64_t r = fm_rng_u64(4, 5, i);
    if (p->count < LIVE && r % 8 < 4 + (i / 256) % 2) {
        int64_t bytes = pick_bytes(6, i);
        fm_status status = fm_allocator_alloc(&p->a, bytes, 0, &p->in_a[p->count], NULL);
        assert_int_equal(fm_allocator_alloc(&p->b, bytes, 0, &p->in_b[p->count], NULL), status);
        if (status == FM_OK && write)
            memset(fm_mmap_pointer(fm_allocator_address(&p->b, p->in_b[p->count])), 1, (size_t)bytes);
        p->count += status == FM_OK;
    } else if (p->count > 0) {
        int victim = (int)((r >> 8) % (uint64_t)p->count);
        fm_allocator_free(&p->a, p->in_a[victim]);
        fm_allocator_free(&p->b, p->in_b[victim]);
        p->in_a[victim] = p->in_a[--p->count];
        p->in_b[victim] = p->in_b[p->count];
    }
    assert_memory_equal(fm_allocator_get_stats(&p->a), fm_allocator_get_stats(&p->b),
                        sizeof(struct fm_allocator_stats));
    assert_int_equal(fm_allocator_state_hash(&p->a), fm_allocator_state_hash(&p->b));
}

/* the planner's numbers are the worker's, whatever addresses the system gives */
static void test_planner_equals_worker(void **state)
{
    (void)state;
    for (int expandable = 0; expandable < 2; expandable++) {
        struct fm_arithmetic_source arithmetic;
        struct fm_mmap_source mapped;
        struct pair p = { .count = 0 };
        struct fm_allocator_config config = fm_allocator_config_default();
        config.expandable_segments = expandable;
        config.device_bytes = 300 * MIB;
        fm_arithmetic_source_init(&arithmetic, 300 * MIB);
        fm_mmap_source_init(&mapped, 300 * MIB);
        assert_int_equal(fm_allocator_init(&p.a, &config, fm_arithmetic_source_interface(&arithmetic), NULL), FM_OK);
        assert_int_equal(fm_allocator_init(&p.b, &config, fm_mmap_source_interface(&mapped), NULL), FM_OK);
        for (uint64_t i = 0; i < 20000; i++) pair_step(&p, i, false);
        assert_true(fm_allocator_get_stats(&p.a)->ooms > 0);
        assert_int_equal(arithmetic.used_bytes, mapped.used_bytes);
        fm_allocator_release(&p.a);
        fm_allocator_release(&p.b);
        assert_int_equal(mapped.used_bytes, 0);
        fm_arithmetic_source_release(&arithmetic);
    }
}

/* the guard changes nothing that is counted, and finds nothing where nothing is wrong */
static void test_guard_is_transparent(void **state)
{
    (void)state;
    for (int expandable = 0; expandable < 2; expandable++) {
        struct fm_arithmetic_source arithmetic;
        struct fm_mmap_source mapped;
        struct pair p = { .count = 0 };
        struct fm_allocator_config config = fm_allocator_config_default();
        config.expandable_segments = expandable;
        config.device_bytes = 120 * MIB;
        fm_arithmetic_source_init(&arithmetic, 120 * MIB);
        fm_mmap_source_init(&mapped, 120 * MIB);
        assert_int_equal(fm_allocator_init(&p.a, &config, fm_arithmetic_source_interface(&arithmetic), NULL), FM_OK);
        config.guard = true;
        assert_int_equal(fm_allocator_init(&p.b, &config, fm_mmap_source_interface(&mapped), NULL), FM_OK);
        for (uint64_t i = 0; i < 600; i++) pair_step(&p, i, true);
        assert_int_equal(fm_allocator_guard_check(&p.b, NULL), FM_OK);
        fm_allocator_release(&p.a);
        fm_allocator_release(&p.b);
        fm_arithmetic_source_release(&arithmetic);
    }
}

static void test_guard_finds(void **state)
{
    (void)state;
    for (int crime = 0; crime < 3; crime++) {
        struct fm_mmap_source mapped;
        struct fm_allocator a;
        struct fm_allocator_config config = fm_allocator_config_default();
        struct fm_err err = { 0 };
        uint32_t block, other;
        config.guard = true;
        fm_mmap_source_init(&mapped, INT64_MAX);
        assert_int_equal(fm_allocator_init(&a, &config, fm_mmap_source_interface(&mapped), NULL), FM_OK);
        assert_int_equal(fm_allocator_alloc(&a, 1000, 0, &block, NULL), FM_OK);
        assert_int_equal(fm_allocator_alloc(&a, 5000, 0, &other, NULL), FM_OK);
        uint8_t *data = fm_mmap_pointer(fm_allocator_address(&a, block));
        uint32_t word;
        memcpy(&word, data, sizeof word);
        assert_int_equal(word, UINT32_MAX); /* a NaN */
        memset(data, 0, 1000);
        assert_int_equal(fm_allocator_guard_check(&a, NULL), FM_OK);
        if (crime == 0) data[1000] = 0; /* behind the end: seen at free */
        fm_allocator_free(&a, block);
        if (crime == 1) data[1023] = 0; /* after the free: seen when handed out again */
        if (crime == 2) data[4] = 0;    /* seen by the check alone */
        if (crime == 1) assert_int_equal(fm_allocator_alloc(&a, 1000, 0, &block, NULL), FM_OK);
        assert_int_equal(a.guard_violations, crime < 2);
        assert_int_equal(fm_allocator_guard_check(&a, &err), FM_MISMATCH);
        assert_non_null(strstr(err.text, crime == 0 ? "behind the end" : "free memory"));
        fm_allocator_release(&a);
        assert_int_equal(mapped.used_bytes, 0);
    }
}

/* One allocator reaches a layout from any history, another is driven alike from there: equal hashes, and they
 * stay equal; a different layout, request or tag differs. */
static void test_state_hash(void **state)
{
    struct fm_arithmetic_source sources[2];
    struct fm_allocator a[2];
    struct fm_allocator_config config = fm_allocator_config_default();
    uint32_t block[2][3], extra;
    (void)state;
    for (int i = 0; i < 2; i++) {
        fm_arithmetic_source_init(&sources[i], INT64_MAX);
        assert_int_equal(fm_allocator_init(&a[i], &config, fm_arithmetic_source_interface(&sources[i]), NULL), FM_OK);
    }
    uint64_t empty = fm_allocator_state_hash(&a[0]);
    for (uint64_t i = 0; i < 50; i++) { /* a past that leaves no trace */
        assert_int_equal(fm_allocator_alloc(&a[1], pick_bytes(9, i), 0, &extra, NULL), FM_OK);
        fm_allocator_free(&a[1], extra);
        if (i % 3 == 0) fm_allocator_empty_cache(&a[1]);
    }
    fm_allocator_empty_cache(&a[1]);
    assert_int_equal(fm_allocator_state_hash(&a[1]), empty);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++) assert_int_equal(fm_allocator_alloc(&a[i], 3000 + k, 0, &block[i][k], NULL), FM_OK);
    uint64_t three = fm_allocator_state_hash(&a[0]);
    assert_int_equal(fm_allocator_state_hash(&a[1]), three);
    for (int k = 0; k < 3; k++) { /* which block is free, and who lives in it, are part of the state */
        fm_allocator_free(&a[0], block[0][k]);
        assert_int_not_equal(fm_allocator_state_hash(&a[0]), three);
        assert_int_equal(fm_allocator_alloc(&a[0], 3000 + k, 0, &block[0][k], NULL), FM_OK);
        assert_int_equal(fm_allocator_state_hash(&a[0]), three);
        fm_allocator_set_tag(&a[0], block[0][k], 5);
        assert_int_not_equal(fm_allocator_state_hash(&a[0]), three);
        fm_allocator_set_tag(&a[0], block[0][k], 0);
    }
    fm_allocator_free(&a[0], block[0][1]);
    uint64_t hole = fm_allocator_state_hash(&a[0]);
    fm_allocator_free(&a[1], block[1][0]);
    assert_int_not_equal(fm_allocator_state_hash(&a[1]), hole);
    assert_int_equal(fm_allocator_alloc(&a[1], 3000, 0, &block[1][0], NULL), FM_OK);
    fm_allocator_free(&a[1], block[1][1]);
    assert_int_equal(fm_allocator_state_hash(&a[1]), hole);
    assert_int_equal(fm_allocator_alloc(&a[1], 2999, 0, &extra, NULL), FM_OK); /* same block, other request */
    assert_int_not_equal(fm_allocator_state_hash(&a[1]), three);
    for (int i = 0; i < 2; i++) {
        fm_allocator_clear(&a[i]);
        assert_int_equal(fm_allocator_state_hash(&a[i]), empty);
        assert_int_equal(sources[i].used_bytes, 0);
        fm_allocator_release(&a[i]);
        fm_arithmetic_source_release(&sources[i]);
    }
}

/* a cleared allocator answers as a new one, and needs no host memory to do so */
static void test_clear(void **state)
{
    struct fm_arithmetic_source source;
    struct fm_allocator a;
    struct fm_allocator_config config = fm_allocator_config_default();
    struct fm_allocator_stats first = { 0 };
    uint64_t hash = 0;
    (void)state;
    fm_arithmetic_source_init(&source, 400 * MIB);
    config.garbage_collection_threshold = 0.5;
    config.capacity_bytes = 390 * MIB;
    assert_int_equal(fm_allocator_init(&a, &config, fm_arithmetic_source_interface(&source), NULL), FM_OK);
    for (int round = 0; round < 3; round++) {
        uint32_t live[LIVE], count = 0;
        if (round) fm_fault = (struct fm_fault){ .left = 0, .armed = true, .sticky = true };
        for (uint64_t i = 0; i < 3000; i++) {
            uint64_t r = fm_rng_u64(8, 8, i);
            if (count < LIVE && r % 2) {
                if (fm_allocator_alloc(&a, pick_bytes(10, i), 0, &live[count], NULL) == FM_OK) count++;
            } else if (count) {
                uint32_t victim = (uint32_t)((r >> 8) % count);
                fm_allocator_free(&a, live[victim]);
                live[victim] = live[--count];
            }
        }
        assert_int_equal(fm_fault.hits, 0);
        fm_fault = (struct fm_fault){ 0 };
        if (round == 0) {
            first = *fm_allocator_get_stats(&a);
            hash = fm_allocator_state_hash(&a);
        }
        assert_memory_equal(fm_allocator_get_stats(&a), &first, sizeof first);
        assert_int_equal(fm_allocator_state_hash(&a), hash);
        fm_allocator_clear(&a);
    }
    fm_allocator_release(&a);
    fm_arithmetic_source_release(&source);
}

/* every request either succeeds or fails with FM_NOMEM and has changed nothing that is handed out */
static fm_status faulty_run(bool real, bool expandable)
{
    struct fm_arithmetic_source arithmetic;
    struct fm_mmap_source mapped;
    struct fm_allocator a = { .stats = { 0 } };
    struct fm_allocator_config config = fm_allocator_config_default();
    struct fm_err err = { 0 };
    uint32_t live[400];
    int count = 0;
    config.expandable_segments = expandable;
    config.device_bytes = 2000 * MIB;
    fm_arithmetic_source_init(&arithmetic, INT64_MAX);
    fm_mmap_source_init(&mapped, INT64_MAX);
    fm_status status = fm_allocator_init(
        &a, &config, real ? fm_mmap_source_interface(&mapped) : fm_arithmetic_source_interface(&arithmetic), &err);
    for (uint64_t i = 0; status == FM_OK && i < 330; i++) {
        int64_t before_bytes = fm_allocator_get_stats(&a)->allocated_bytes;
        uint64_t hash = fm_allocator_state_hash(&a);
        status = fm_allocator_alloc(&a, i % 5 ? pick_bytes(12, i) / 4 + 1 : 30 * MIB, (uint32_t)(i / 80), &live[count],
                                    &err);
        if (status == FM_OK) {
            count++;
        } else {
            assert_int_equal(fm_allocator_get_stats(&a)->allocated_bytes, before_bytes);
            if (!expandable) assert_int_equal(fm_allocator_state_hash(&a), hash);
        }
    }
    assert_int_equal(err.status, status);
    while (count > 0) fm_allocator_free(&a, live[--count]);
    if (a.blocks) fm_allocator_empty_cache(&a);
    assert_int_equal(real ? mapped.used_bytes : arithmetic.used_bytes, 0);
    fm_allocator_release(&a);
    fm_arithmetic_source_release(&arithmetic);
    return status;
}

static void test_host_faults(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        long hits = 1, most = 0;
        for (long n = 0; hits; n++, most = n) {
            long before = fm_memory_live;
            fm_fault = (struct fm_fault){ .left = n, .armed = true };
            fm_status status = faulty_run(kind & 1, kind & 2);
            hits = fm_fault.hits;
            fm_fault = (struct fm_fault){ 0 };
            assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
            assert_int_equal(fm_memory_live, before);
        }
        assert_true(most > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic_first_fit),
        cmocka_unit_test(test_budget_to_the_byte),
        cmocka_unit_test(test_planner_equals_worker),
        cmocka_unit_test(test_guard_is_transparent),
        cmocka_unit_test(test_guard_finds),
        cmocka_unit_test(test_state_hash),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_host_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
