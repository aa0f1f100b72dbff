/* Dominance is a strict partial order; fronts and ranks against brute force and under permutation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "results/pareto.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define CELLS 12
#define POINTS 40

/* few distinct values, so that ties and touching intervals are common */
static struct fm_pareto_bounds random_bounds(uint64_t seed)
{
    uint64_t r = fm_rng_u64(seed, 3, 0);
    struct fm_pareto_bounds b = {
        .bytes_lo = r % 4, .samples_per_s_lo = (double)(r >> 8 & 3), .flops_per_sample = (double)(r >> 16 & 1),
    };
    b.bytes_hi = b.bytes_lo + (r >> 24 & 1);
    b.samples_per_s_hi = b.samples_per_s_lo + (double)(r >> 32 & 1);
    return b;
}

static void test_strict_partial_order(void **state)
{
    uint64_t pairs = 0, chains = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 300000; seed += 3) {
        struct fm_pareto_bounds a = random_bounds(seed), b = random_bounds(seed + 1), c = random_bounds(seed + 2);
        bool ab = fm_pareto_dominates(&a, &b), bc = fm_pareto_dominates(&b, &c);
        assert_false(fm_pareto_dominates(&a, &a));
        if (ab) assert_false(fm_pareto_dominates(&b, &a));
        if (ab && bc) assert_true(fm_pareto_dominates(&a, &c));
        pairs += ab;
        chains += ab && bc;
    }
    assert_true(pairs > 1000 && chains > 100);
}

/* whatever lies within the intervals, an exact A beats an exact B: and only then */
static void test_dominance_means_every_value(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100000; seed += 2) {
        struct fm_pareto_bounds a = random_bounds(seed), b = random_bounds(seed + 1);
        bool always = true;
        for (unsigned corner = 0; corner < 16; corner++) {
            uint64_t ab = corner & 1 ? a.bytes_hi : a.bytes_lo, bb = corner & 2 ? b.bytes_hi : b.bytes_lo;
            double ar = corner & 4 ? a.samples_per_s_hi : a.samples_per_s_lo;
            double br = corner & 8 ? b.samples_per_s_hi : b.samples_per_s_lo;
            bool as_good = ab <= bb && ar >= br && a.flops_per_sample >= b.flops_per_sample;
            bool better = ab < bb || ar > br || a.flops_per_sample > b.flops_per_sample;
            always = always && as_good && better;
        }
        assert_int_equal(fm_pareto_dominates(&a, &b), always);
    }
}

struct table {
    struct fm_pareto_cell cells[CELLS];
    struct fm_pareto_point points[POINTS];
    size_t point_count;
};

static void random_table(struct table *t, uint64_t seed)
{
    static const char *const devices[] = { "cpu", "cuda:0" }, *const workloads[] = { "unet", "segformer" };
    static const char *const models[2][3] = { { "u1", "u2", "u3" }, { "s1", "s2", "s3" } };
    static const double flops[] = { 1e9, 2e9, 2e9 };
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < CELLS; i++) {
        uint64_t r = fm_rng_u64(seed, 4, i);
        t->cells[i] = (struct fm_pareto_cell){
            .device = devices[r & 1], .workload = workloads[r >> 1 & 1],
            .model_id = models[r >> 1 & 1][(r >> 2) % 3], .flops_per_sample = flops[(r >> 2) % 3],
            .flops_known = (r >> 2) % 3 != 2 || (seed & 1), .knee_batch = (int64_t)((r >> 24) % 4),
        };
    }
    for (size_t i = 0; i < POINTS; i++) {
        uint64_t r = fm_rng_u64(seed, 5, i);
        struct fm_pareto_bounds b = random_bounds(r);
        struct fm_pareto_point p = {
            .cell = (r >> 8) % CELLS, .batch = 1 + (int64_t)((r >> 16) % 4),
            .bytes_lo = b.bytes_lo, .bytes_hi = b.bytes_hi, .interval_known = (r >> 20 & 3) != 0,
            .samples_per_s_lo = 1 + b.samples_per_s_lo, .samples_per_s_hi = 1 + b.samples_per_s_hi,
        };
        p.samples_per_s = (p.samples_per_s_lo + p.samples_per_s_hi) / 2;
        bool twice = false;
        for (size_t j = 0; j < t->point_count; j++)
            twice = twice || (t->points[j].cell == p.cell && t->points[j].batch == p.batch);
        if (!twice) t->points[t->point_count++] = p;
    }
}

static void solve(struct table *t)
{
    assert_int_equal(fm_pareto(t->cells, CELLS, t->points, t->point_count, NULL), FM_OK);
}

/* dominance written out anew, over the exact or stretched rate of each */
static bool beats(const struct table *t, const struct fm_pareto_point *a, const struct fm_pareto_point *b, bool three)
{
    const struct fm_pareto_cell *ca = &t->cells[a->cell], *cb = &t->cells[b->cell];
    double worst = a->interval_known ? a->samples_per_s_lo : a->samples_per_s;
    double best = b->interval_known ? b->samples_per_s_hi : b->samples_per_s;
    if (strcmp(ca->device, cb->device)) return false;
    if (three ? strcmp(ca->workload, cb->workload) : strcmp(ca->model_id, cb->model_id)) return false;
    if (three && (!ca->flops_known || !cb->flops_known || ca->flops_per_sample < cb->flops_per_sample)) return false;
    bool larger = three && ca->flops_per_sample > cb->flops_per_sample;
    return a->bytes_hi <= b->bytes_lo && worst >= best && (larger || a->bytes_hi < b->bytes_lo || worst > best);
}

static void check_point_front(const struct table *t, size_t i, bool three, uint64_t *tentative)
{
    const struct fm_pareto_point *p = &t->points[i];
    struct fm_pareto_front front = three ? p->model_front : p->front;
    bool beaten = false, surely = false;
    for (size_t j = 0; j < t->point_count; j++)
        if (beats(t, &t->points[j], p, three)) {
            beaten = true;
            surely = surely || (p->interval_known && t->points[j].interval_known);
        }
    bool takes_part = !three || t->cells[p->cell].flops_known;
    assert_int_equal(front.member, takes_part && !beaten);
    assert_int_equal(front.tentative, beaten && !surely);
    *tentative += front.tentative;
}

static void test_fronts_by_brute_force(void **state)
{
    uint64_t members = 0, tentative = 0, points = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        struct table t;
        random_table(&t, seed);
        solve(&t);
        for (size_t i = 0; i < t.point_count; i++) {
            check_point_front(&t, i, false, &tentative);
            check_point_front(&t, i, true, &tentative);
            members += t.points[i].front.member;
            points++;
            /* the third objective is equal within a model: it cannot save a dominated point */
            if (t.points[i].model_front.member) assert_true(t.points[i].front.member);
        }
        for (size_t c = 0; c < CELLS; c++) {
            bool any = false;
            for (size_t i = 0; i < t.point_count; i++)
                any = any || (t.points[i].cell == c && t.points[i].front.member);
            assert_int_equal(t.cells[c].front.member, any);
            if (any) assert_false(t.cells[c].front.tentative);
        }
    }
    assert_true(members > points / 10 && members < points * 9 / 10 && tentative > 100);
}

static void test_permutation_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct table t, u;
        size_t cell_to[CELLS], point_to[POINTS];
        random_table(&t, seed);
        u = t;
        for (size_t i = 0; i < CELLS; i++) cell_to[i] = (i * 5 + seed) % CELLS;
        for (size_t i = 0; i < CELLS; i++) u.cells[cell_to[i]] = t.cells[i];
        for (size_t i = 0; i < t.point_count; i++) {
            point_to[i] = t.point_count - 1 - i;
            u.points[point_to[i]] = t.points[i];
            u.points[point_to[i]].cell = cell_to[t.points[i].cell];
        }
        solve(&t);
        solve(&u);
        for (size_t i = 0; i < CELLS; i++) {
            const struct fm_pareto_cell *a = &t.cells[i], *b = &u.cells[cell_to[i]];
            assert_int_equal(a->rank, b->rank);
            assert_int_equal(a->front.member, b->front.member);
            assert_int_equal(a->front.tentative, b->front.tentative);
            assert_int_equal(a->model_front.member, b->model_front.member);
        }
        for (size_t i = 0; i < t.point_count; i++) {
            assert_int_equal(t.points[i].front.member, u.points[point_to[i]].front.member);
            assert_int_equal(t.points[i].model_front.tentative, u.points[point_to[i]].model_front.tentative);
        }
    }
}

static void test_ranks(void **state)
{
    struct fm_pareto_cell c[] = {
        { .device = "cpu", .workload = "w", .model_id = "m", .knee_batch = 2 },
        { .device = "cpu", .workload = "w", .model_id = "m", .knee_batch = 2 },
        { .device = "cpu", .workload = "w", .model_id = "m", .knee_batch = 1 },
        { .device = "cpu", .workload = "w", .model_id = "m", .knee_batch = 1 },
        { .device = "cpu", .workload = "w", .model_id = "m", .knee_batch = 0 },
        { .device = "cpu", .workload = "w", .model_id = "m", .knee_batch = 7 },
        { .device = "cpu", .workload = "w", .model_id = "small", .knee_batch = 1 },
    };
    struct fm_pareto_point p[] = {
        { .cell = 0, .batch = 2, .bytes_lo = 50, .bytes_hi = 50, .samples_per_s = 10 },
        { .cell = 0, .batch = 4, .bytes_lo = 90, .bytes_hi = 90, .samples_per_s = 99 },     /* not the knee */
        { .cell = 1, .batch = 2, .bytes_lo = 40, .bytes_hi = 40, .samples_per_s = 10 },
        { .cell = 2, .batch = 1, .bytes_lo = 40, .bytes_hi = 40, .samples_per_s = 10 },
        { .cell = 3, .batch = 1, .bytes_lo = 99, .bytes_hi = 99, .samples_per_s = 11 },
        { .cell = 4, .batch = 1, .bytes_lo = 1, .bytes_hi = 1, .samples_per_s = 1 },
        { .cell = 6, .batch = 1, .bytes_lo = 2, .bytes_hi = 2, .samples_per_s = 500 },      /* another model */
    };
    const size_t want[] = { 4, 2, 2, 1, 0, 0, 1 };
    (void)state;
    assert_int_equal(fm_pareto(c, 7, p, 7, NULL), FM_OK);
    for (size_t i = 0; i < 7; i++) assert_int_equal(c[i].rank, want[i]);
    assert_true(c[0].front.member);             /* by its batch 4 */
    assert_false(p[0].front.member);
    assert_false(c[3].front.member);            /* slower and larger than batch 4 of cell 0 */
    assert_true(c[3].front.tentative);          /* ... but no one has an interval yet */
    assert_true(c[6].front.member);
    assert_false(c[5].front.member || c[5].front.tentative);
    assert_false(c[0].model_front.member);      /* FLOPs not known */
}

static struct fm_pareto_point measured(size_t cell, uint64_t bytes, double rate, double more_or_less)
{
    return (struct fm_pareto_point){
        .cell = cell, .batch = 1, .bytes_lo = bytes, .bytes_hi = bytes, .samples_per_s = rate,
        .samples_per_s_lo = rate - more_or_less, .samples_per_s_hi = rate + more_or_less, .interval_known = true,
    };
}

static void test_larger_model_stays_on_the_model_front(void **state)
{
    struct fm_pareto_cell c[] = {
        { .device = "cpu", .workload = "w", .model_id = "full", .flops_per_sample = 8e9, .flops_known = true },
        { .device = "cpu", .workload = "w", .model_id = "half", .flops_per_sample = 2e9, .flops_known = true },
        { .device = "cpu", .workload = "w", .model_id = "bad", .flops_per_sample = 1e9, .flops_known = true },
    };
    struct fm_pareto_point p[] = {
        measured(0, 100, 5, 1),
        measured(1, 50, 20, 1),
        measured(2, 50, 15, 4),
    };
    (void)state;
    assert_int_equal(fm_pareto(c, 3, p, 3, NULL), FM_OK);
    assert_true(c[0].front.member && c[1].front.member && c[2].front.member);
    assert_true(c[0].model_front.member && c[1].model_front.member);
    assert_false(c[2].model_front.member || c[2].model_front.tentative);
}

static void test_errors(void **state)
{
    (void)state;
    for (int fault = 0; fault <= 9; fault++) {
        struct fm_err err = { .status = FM_OK };
        struct fm_pareto_cell c = { .device = "cpu", .workload = "w", .model_id = "m", .flops_known = true };
        struct fm_pareto_point p[2] = {
            { .cell = 0, .batch = 3, .bytes_hi = 1, .samples_per_s = 2,
              .samples_per_s_lo = 1, .samples_per_s_hi = 3, .interval_known = true },
            { .cell = 0, .batch = 4, .bytes_hi = 1, .samples_per_s = 2 },
        };
        if (fault == 0) p[1].cell = 1;
        if (fault == 1) p[1].batch = 0;
        if (fault == 2) p[1].bytes_lo = 2;
        if (fault == 3) p[1].samples_per_s = NAN;
        if (fault == 4) p[1].samples_per_s = 0;
        if (fault == 5) p[0].samples_per_s_lo = 2.5;
        if (fault == 6) p[0].samples_per_s_hi = NAN;
        if (fault == 7) p[1].batch = 3;
        if (fault == 8) c.flops_per_sample = INFINITY;
        fm_status status = fm_pareto(&c, 1, p, 2, &err);
        assert_int_equal(status, fault == 9 ? FM_OK : FM_INVALID);
    }
    assert_int_equal(fm_pareto(NULL, 0, NULL, 0, NULL), FM_OK);
    struct table t;
    random_table(&t, 1);
    for (long n = 0;; n++) {
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_pareto(t.cells, CELLS, t.points, t.point_count, NULL);
        assert_int_equal(status, fm_fault.hits ? FM_NOMEM : FM_OK);
        assert_int_equal(fm_memory_live, 0);
        if (!fm_fault.hits) break;
    }
    fm_fault = (struct fm_fault){0};
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strict_partial_order),
        cmocka_unit_test(test_dominance_means_every_value),
        cmocka_unit_test(test_fronts_by_brute_force),
        cmocka_unit_test(test_permutation_changes_nothing),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_larger_model_stays_on_the_model_front),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
