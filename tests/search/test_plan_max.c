/* The largest batch of a plan: exact on closed-form costs, in few evaluations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/base/rng.h"
#include "tuner/search/plan_max.h"
#include "tuner/search/search.h"

#define MIB UINT64_C(1048576)

enum shape { AFFINE, STEPPED, CONVEX, CONCAVE, JUMP, NOISY, MUTE, SHAPES, SHARE, WILD };

struct cost {
    enum shape shape;
    uint64_t fixed, slope, segment, capacity, seed;
    int64_t jump_at;
    double share;               /* of fragments */
    bool assumes;               /* and leaves it at that where it may */
    bool least;                 /* says what never shrinks: fixed + slope * batch */
    struct { int64_t batch; bool fits, assumed; } seen[1024];
    int count;
    int fail_at;                /* the evaluation that fails; -1: none */
};

static uint64_t bytes_at(const struct cost *c, int64_t b)
{
    uint64_t n = (uint64_t)b, bytes = c->fixed + c->slope * n;
    switch (c->shape) {
    case AFFINE: case MUTE: case SHAPES: break;
    case WILD: bytes += (uint64_t)((double)bytes * c->share * fm_rng_uniform_f64(c->seed, 6, n)); break;
    case SHARE: bytes += (uint64_t)(c->share * (double)bytes); break;
    case STEPPED: bytes = (bytes + c->segment - 1) / c->segment * c->segment; break;
    case CONVEX: bytes += c->slope * n * n / 64; break;
    case CONCAVE:       /* ever flatter up to batch 64, constant beyond */
        bytes = c->fixed;
        for (uint64_t k = 64; k; k /= 2) bytes += c->slope * (n < 64 / k ? n : 64 / k);
        break;
    case JUMP: if (b >= c->jump_at) bytes += 40 * c->slope; break;
    case NOISY: bytes += fm_rng_u64(c->seed, 5, n) % (4 * c->slope); break;
    }
    return bytes;
}

static fm_status need(void *context, int64_t batch, struct fm_plan_need *out, struct fm_err *err)
{
    struct cost *c = context;
    if (c->count == c->fail_at) return FM_FAIL(err, FM_NOMEM, "evaluation %d", c->count);
    out->bytes = bytes_at(c, batch);
    out->fits = out->bytes <= c->capacity;
    if (c->shape == MUTE || (out->verdict_only && !out->fits)) out->bytes = 0;
    if (c->least) out->least_bytes = c->fixed + c->slope * (uint64_t)batch;
    if (c->assumes && (out->least_only || out->least_bytes > c->capacity)) {
        out->fits = out->least_bytes <= c->capacity;
        out->assumed = out->fits;
        out->bytes = 0;
    }
    assert_true(c->count < 1024);
    for (int i = 0; i < c->count; i++) assert_true(c->seen[i].batch != batch || (c->seen[i].assumed && !out->least_only));
    c->seen[c->count].batch = batch;
    c->seen[c->count].assumed = out->assumed;
    c->seen[c->count++].fits = out->fits;
    return FM_OK;
}

static struct fm_plan_max_answer find(struct cost *c, int64_t limit)
{
    struct fm_plan_max_query query = { need, c, c->capacity, limit };
    struct fm_plan_max_answer answer;
    c->count = 0;
    c->fail_at = -1;
    assert_int_equal(fm_plan_max_batch(&query, &answer, NULL), FM_OK);
    assert_int_equal(answer.evaluations, c->count);
    return answer;
}

static bool saw(const struct cost *c, int64_t batch, bool fits)
{
    for (int i = 0; i < c->count; i++)
        if (c->seen[i].batch == batch && !c->seen[i].assumed) return c->seen[i].fits == fits;
    return false;
}

static void check(const struct cost *c, int64_t limit, const struct fm_plan_max_answer *a)
{
    assert_in_range(a->max_batch, 0, limit);
    if (a->max_batch) assert_true(saw(c, a->max_batch, true));
    if (a->max_batch < limit) assert_true(saw(c, a->max_batch + 1, false));
    assert_int_equal(a->at_limit, a->max_batch == limit);
    if (a->max_batch && c->shape != MUTE) assert_int_equal(a->bytes, bytes_at(c, a->max_batch));
    if (c->shape != NOISY) {
        assert_false(a->non_monotone);
        /* monotone: the only boundary there is */
        if (c->shape == AFFINE && c->capacity >= c->fixed + c->slope) {
            uint64_t truth = (c->capacity - c->fixed) / c->slope;
            assert_int_equal(a->max_batch, truth < (uint64_t)limit ? truth : (uint64_t)limit);
        }
    }
}

static void test_affine_takes_four(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint64_t r = fm_rng_u64(seed, 1, 0);
        struct cost c = { .shape = AFFINE, .fixed = r % (3000 * MIB), .slope = 1 + (r >> 20) % (900 * MIB) };
        uint64_t truth = fm_rng_u64(seed, 1, 1) % ((fm_rng_u64(seed, 1, 2) & 1) ? 40 : 5000);
        c.capacity = c.fixed + c.slope * truth + fm_rng_u64(seed, 1, 3) % c.slope;
        struct fm_plan_max_answer a = find(&c, FM_SEARCH_BATCH_LIMIT);
        check(&c, FM_SEARCH_BATCH_LIMIT, &a);
        assert_int_equal(a.max_batch, truth);
        assert_in_range(a.evaluations, 1, 5);
    }
}

static void test_random_shapes(void **state)
{
    int64_t stepped = 0, stepped_count = 0, flagged = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint64_t r = fm_rng_u64(seed, 2, 0), s = fm_rng_u64(seed, 2, 1);
        struct cost c = {
            .shape = (enum shape)(r % SHAPES), .seed = seed,
            .fixed = (r >> 8) % (500 * MIB), .slope = 1 + (r >> 24) % (60 * MIB),
            .segment = (r >> 60) & 1 ? 2 * MIB : 20 * MIB, .jump_at = 1 + (int64_t)(s % 60),
        };
        int64_t limit = s >> 60 < 4 ? 1 + (int64_t)((s >> 8) % 50) : 1 << 20;
        c.capacity = c.fixed + c.slope * ((s >> 20) % 100);
        struct fm_plan_max_answer a = find(&c, limit);
        check(&c, limit, &a);
        assert_in_range(a.evaluations, 1, 44);
        flagged += a.non_monotone;
        if (c.shape == STEPPED && c.slope > MIB) {
            assert_in_range(a.evaluations, 1, 20);
            stepped += a.evaluations;
            stepped_count++;
        }
    }
    assert_true(flagged > 0);
    assert_true(stepped <= 6 * stepped_count);
}

/* Told what never shrinks, it finds the largest batch that fits, and not only a boundary. */
static void test_largest_of_several(void **state)
{
    int64_t several = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint64_t r = fm_rng_u64(seed, 3, 0);
        struct cost c = { .shape = NOISY, .seed = seed, .least = true, .fixed = r % (500 * MIB), .slope = 1 + (r >> 24) % (60 * MIB) };
        int64_t limit = r >> 60 < 4 ? 1 + (int64_t)((r >> 8) % 50) : 1 << 20, truth = 0, below = 0;
        c.capacity = c.fixed + c.slope * ((r >> 20) % 200);
        c.assumes = seed % 2;
        struct fm_plan_max_answer a = find(&c, limit);
        for (int64_t b = 1; b <= limit && c.fixed + c.slope * (uint64_t)b <= c.capacity; b++)
            if (bytes_at(&c, b) <= c.capacity) truth = b;
        for (int64_t b = 1; b < truth; b++)
            if (bytes_at(&c, b) > c.capacity) below = b;
        /* noise of 4 samples is less than it looks ahead; batch 1 that does not fit ends the search */
        if (saw(&c, 1, false)) truth = below = 0;
        assert_int_equal(a.max_batch, truth);
        if (a.max_batch) assert_true(saw(&c, a.max_batch, true));
        if (a.max_batch < limit) assert_true(saw(&c, a.max_batch + 1, false));
        assert_in_range(a.evaluations, 1, 44);
        if (!saw(&c, below, false)) below = 0;
        assert_int_equal(a.misfit_below, below);
        several += below > 0;
    }
    assert_in_range(several, 1000, 19000);
}

/* Where fragments take a share, from nothing to a third, few evaluations find the answer, however large it is. */
static void test_share_of_fragments(void **state)
{
    int64_t sum = 0, count = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++, count++) {
        uint64_t r = fm_rng_u64(seed, 4, 0);
        struct cost c = { .shape = SHARE, .least = true, .assumes = true, .fixed = r % (3000 * MIB), .slope = MIB + (r >> 20) % (200 * MIB) };
        c.share = (double)(fm_rng_u64(seed, 4, 1) % 1000) / 3000;
        uint64_t most = 5 + fm_rng_u64(seed, 4, 2) % ((fm_rng_u64(seed, 4, 3) & 1) ? 40 : 5000);
        c.capacity = c.fixed + c.slope * most;
        struct fm_plan_max_answer a = find(&c, FM_SEARCH_BATCH_LIMIT);
        check(&c, FM_SEARCH_BATCH_LIMIT, &a);
        if (a.max_batch) assert_true(bytes_at(&c, a.max_batch) <= c.capacity && bytes_at(&c, a.max_batch + 1) > c.capacity);
        assert_in_range(a.evaluations, 1, 16);
        sum += a.evaluations;
    }
    assert_true(sum <= 10 * count);
}

/* Where fragments take anything, there are many boundaries: one of them is found, each that is looked at in no more plans than
 * bisection and the look ahead need. */
static void test_wild_fragments(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct cost c = { .shape = WILD, .seed = seed, .least = true, .assumes = seed % 2, .fixed = fm_rng_u64(seed, 5, 0) % (300 * MIB), .slope = MIB };
        uint64_t most = 2 + fm_rng_u64(seed, 5, 1) % 100000;
        c.share = (double)(1 + seed % 100) / 100;
        c.capacity = c.fixed + c.slope * most;
        struct fm_plan_max_answer a = find(&c, FM_SEARCH_BATCH_LIMIT);
        assert_in_range(a.max_batch, 0, most);
        if (a.max_batch) assert_true(saw(&c, a.max_batch, true));
        assert_true(saw(&c, a.max_batch + 1, false));
        assert_in_range(a.evaluations, 1, 8 * (17 + FM_PLAN_MAX_AHEAD));
    }
}

/* samples of a few bytes in segments of 2 or 20 MiB: thousands of batches need the same */
static void test_tiny_samples(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        uint64_t r = fm_rng_u64(seed, 8, 0);
        struct cost c = { .shape = STEPPED, .least = true, .assumes = seed % 2, .fixed = r % (60 * MIB), .slope = 1 + (r >> 30) % 4096,
                          .segment = (r >> 60) & 1 ? 2 * MIB : 20 * MIB };
        c.capacity = c.fixed + fm_rng_u64(seed, 8, 1) % (24 * 1024 * MIB);
        uint64_t room = c.capacity / c.segment * c.segment, truth = room < c.fixed ? 0 : (room - c.fixed) / c.slope;
        struct fm_plan_max_answer a = find(&c, FM_SEARCH_BATCH_LIMIT);
        assert_int_equal(a.max_batch, truth < (uint64_t)FM_SEARCH_BATCH_LIMIT ? (int64_t)truth : FM_SEARCH_BATCH_LIMIT);
        if (a.max_batch) assert_true(saw(&c, a.max_batch, true));
        assert_in_range(a.evaluations, 1, 64);
    }
}

static void test_edges(void **state)
{
    (void)state;
    struct cost c = { .shape = AFFINE, .fixed = 100, .slope = 10, .capacity = 109 };
    struct fm_plan_max_answer a = find(&c, 1000);       /* batch 1 does not fit: one evaluation */
    assert_int_equal(a.max_batch, 0);
    assert_int_equal(a.bytes, 0);
    assert_int_equal(a.evaluations, 1);
    c.capacity = 110;
    a = find(&c, 1000);
    assert_int_equal(a.max_batch, 1);
    assert_int_equal(a.evaluations, 2);
    a = find(&c, 1);                                    /* the limit: nothing above it */
    assert_true(a.at_limit);
    assert_int_equal(a.evaluations, 1);
    c.slope = 0;                                        /* memory that does not grow ends at the limit */
    a = find(&c, FM_SEARCH_BATCH_LIMIT);
    assert_int_equal(a.max_batch, FM_SEARCH_BATCH_LIMIT);
    assert_in_range(a.evaluations, 2, 31);
}

static void test_errors(void **state)
{
    (void)state;
    struct cost c = { .shape = AFFINE, .fixed = 100, .slope = 10, .capacity = 10000 };
    struct fm_plan_max_query query = { need, &c, c.capacity, 1000 };
    struct fm_plan_max_answer a;
    for (c.fail_at = 0; ; c.fail_at++) {
        struct fm_err err = { .status = FM_OK };
        c.count = 0;
        fm_status status = fm_plan_max_batch(&query, &a, &err);
        if (status == FM_OK) break;
        assert_int_equal(status, FM_NOMEM);
        assert_int_equal(a.evaluations, c.fail_at);
        assert_int_equal(a.max_batch, 0);
    }
    assert_in_range(c.fail_at, 3, 5);
    query.max_batch = 0;
    assert_int_equal(fm_plan_max_batch(&query, &a, NULL), FM_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_affine_takes_four),
        cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_largest_of_several),
        cmocka_unit_test(test_share_of_fragments), cmocka_unit_test(test_wild_fragments), cmocka_unit_test(test_tiny_samples),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
