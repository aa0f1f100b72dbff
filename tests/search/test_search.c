/* The search against closed-form costs, stepped and non-monotone ones among them, and against Lightning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/search/lightning_reference.h"
#include "tuner/base/rng.h"
#include "tuner/search/ladder.h"
#include "tuner/search/search.h"

#define LIMIT 600

/* a cost: fits[b] for b = 1 ... LIMIT + 1 */
struct model {
    bool fits[LIMIT + 2];
    int64_t max_batch;          /* of the search */
    bool monotone;
};

struct run {
    int64_t asked[FM_SEARCH_CAPACITY];
    size_t count;
    struct fm_search_result result;
};

static bool was_asked(const struct run *run, int64_t batch)
{
    for (size_t i = 0; i < run->count; i++)
        if (run->asked[i] == batch) return true;
    return false;
}

static void drive(struct fm_search *search, const struct model *model, struct run *run)
{
    int64_t batch;
    while ((batch = fm_search_next(search)) != FM_SEARCH_DONE) {
        assert_in_range(batch, 1, model->max_batch);
        assert_true(run->count < FM_SEARCH_CAPACITY);
        fm_search_result(search, &run->result);
        assert_int_equal(run->result.state, FM_SEARCH_RUNNING);
        assert_int_equal(run->result.max_batch, FM_SEARCH_UNKNOWN);
        run->asked[run->count++] = batch;
        struct fm_search_probe probe = { batch, model->fits[batch] ? FM_SEARCH_FIT : FM_SEARCH_OOM_DEVICE, false };
        assert_int_equal(fm_search_tell(search, &probe, NULL), FM_OK);
    }
    fm_search_result(search, &run->result);
}

static struct run search_model(const struct model *model, enum fm_search_method method, int64_t planned, bool finish)
{
    struct fm_search search;
    struct run run = { .count = 0 };
    struct fm_search_config config = { method, planned, model->max_batch, finish };
    assert_int_equal(fm_search_init(&search, &config, NULL), FM_OK);
    drive(&search, model, &run);
    assert_int_equal(run.result.probes, run.count);
    return run;
}

static struct model step_model(int64_t true_max, int64_t max_batch)
{
    struct model model = { .max_batch = max_batch, .monotone = true };
    for (int64_t b = 1; b <= LIMIT + 1; b++) model.fits[b] = b <= true_max;
    return model;
}

/* largest true boundary: fits at b, and b is the limit or b + 1 does not fit */
static bool is_true_boundary(const struct model *model, int64_t b)
{
    bool fits = b == 0 || model->fits[b];
    return fits && (b == model->max_batch || !model->fits[b + 1]);
}

static void check_certified(const struct model *model, const struct run *run)
{
    const struct fm_search_result *r = &run->result;
    assert_int_equal(r->state, FM_SEARCH_CERTIFIED);
    assert_true(is_true_boundary(model, r->max_batch));
    assert_int_equal(r->at_limit, r->max_batch == model->max_batch);
    assert_int_equal(r->outcome, r->max_batch ? FM_SEARCH_FIT : FM_SEARCH_OOM_DEVICE);
    assert_int_equal(r->fits_batch, r->max_batch);
    /* never an untested answer */
    if (r->max_batch) assert_true(was_asked(run, r->max_batch));
    if (!r->at_limit) assert_true(was_asked(run, r->max_batch + 1));
    if (model->monotone) {
        int64_t truth = 0;
        while (truth < model->max_batch && model->fits[truth + 1]) truth++;
        assert_int_equal(r->max_batch, truth);
        assert_false(r->non_monotone);
    }
}

/* affine, stepped (rounding up to segments) and non-monotone (a workspace that some batches need) */
struct draws {
    uint64_t seed, index;
};

static int64_t draw(struct draws *d, int64_t below)
{
    return (int64_t)(fm_rng_u64(d->seed, 7, d->index++) % (uint64_t)below);
}

static struct model random_model(uint64_t seed)
{
    struct model model = { .monotone = true };
    struct draws d = { seed, 0 };
    int64_t kind = draw(&d, 3), slope = 1 + draw(&d, 40), fixed = draw(&d, 400), segment = 1 + draw(&d, 60);
    int64_t largest = draw(&d, draw(&d, 2) ? LIMIT : 40);
    int64_t capacity = fixed + slope * largest + draw(&d, 100);
    for (int64_t b = 1; b <= LIMIT + 1; b++) {
        int64_t bytes = fixed + slope * b;
        if (kind == 1) bytes = (bytes + segment - 1) / segment * segment;
        if (kind == 2 && draw(&d, 3) == 0) bytes += slope * draw(&d, 1 + b);
        model.fits[b] = bytes <= capacity;
        if (b > 1 && model.fits[b] && !model.fits[b - 1]) model.monotone = false;
    }
    model.max_batch = draw(&d, 4) ? LIMIT : 1 + draw(&d, LIMIT);
    return model;
}

/* some true boundary of the model: the largest, or one a plan could have found */
static int64_t pick_boundary(const struct model *model, uint64_t seed)
{
    int64_t found[LIMIT + 1];
    size_t count = 0;
    for (int64_t b = 0; b <= model->max_batch; b++)
        if (is_true_boundary(model, b)) found[count++] = b;
    return found[fm_rng_u64(seed, 8, 0) % count];
}

static void test_random_models(void **state)
{
    enum { MODELS = 10000 };
    int64_t right = 0, binsearch = 0, off = 0, non_monotone = 0;
    (void)state;
    for (uint64_t seed = 0; seed < MODELS; seed++) {
        struct model model = random_model(seed);
        int64_t planned = pick_boundary(&model, seed);
        non_monotone += !model.monotone;

        struct run plan = search_model(&model, FM_SEARCH_PLAN, planned, false);
        check_certified(&model, &plan);
        assert_int_equal(plan.result.max_batch, planned);
        assert_true(plan.count <= 2);
        if (planned == 0 || planned == model.max_batch) assert_int_equal(plan.count, 1);
        right += (int64_t)plan.count;

        struct run bisected = search_model(&model, FM_SEARCH_BINSEARCH, FM_SEARCH_UNKNOWN, true);
        check_certified(&model, &bisected);
        assert_true(plan.count <= bisected.count);
        binsearch += (int64_t)bisected.count;
        /* where Lightning itself saw both sides of a boundary it never needed less either */
        struct run raw = search_model(&model, FM_SEARCH_BINSEARCH, FM_SEARCH_UNKNOWN, false);
        assert_int_equal(raw.result.raw_probes, bisected.result.raw_probes);
        if (raw.result.state == FM_SEARCH_CERTIFIED) {
            check_certified(&model, &raw);
            assert_true(plan.count <= raw.count);
        }

        /* the plan off by up to a quarter, and a plan that knows nothing at all */
        int64_t wrong = planned + (int64_t)((double)planned / 2 * (fm_rng_uniform_f64(seed, 9, 0) - 0.5));
        struct run near = search_model(&model, FM_SEARCH_PLAN, wrong, false);
        check_certified(&model, &near);
        off += (int64_t)near.count;
        wrong = (int64_t)(fm_rng_u64(seed, 9, 1) % 1000) - 1;
        struct run far = search_model(&model, FM_SEARCH_PLAN, wrong, false);
        check_certified(&model, &far);
        assert_true(far.count <= 24);
        struct run power = search_model(&model, FM_SEARCH_POWER, FM_SEARCH_UNKNOWN, true);
        check_certified(&model, &power);
    }
    assert_in_range(non_monotone, MODELS / 20, MODELS);
    const double models = MODELS;
    print_message("boundary probes a cell: %.2f where the plan is right, %.2f where it is off by up to a quarter, "
                  "%.2f with binsearch\n", (double)right / models, (double)off / models, (double)binsearch / models);
    assert_true((double)right / models <= 2.1);
    assert_true(off < binsearch);
}

static void test_every_plan_of_every_max(void **state)
{
    (void)state;
    for (int64_t truth = 0; truth <= 40; truth++)
        for (int64_t max_batch = 1; max_batch <= 41; max_batch += 4)
            for (int64_t planned = -1; planned <= 45; planned++) {
                struct model model = step_model(truth, max_batch);
                struct run run = search_model(&model, FM_SEARCH_PLAN, planned, false);
                check_certified(&model, &run);
                for (size_t i = 0; i < run.count; i++)          /* no batch twice */
                    for (size_t j = 0; j < i; j++) assert_int_not_equal(run.asked[i], run.asked[j]);
                int64_t reachable = truth < max_batch ? truth : max_batch;
                if (planned == reachable) assert_true(run.count <= 2);
                if (planned == reachable + 1 && reachable < max_batch) assert_true(run.count <= 2);
            }
}

static void check_asked(int64_t truth, int64_t planned, const int64_t *want, size_t count)
{
    struct model model = step_model(truth, LIMIT);
    struct run run = search_model(&model, FM_SEARCH_PLAN, planned, false);
    assert_int_equal(run.count, count);
    for (size_t i = 0; i < count; i++) assert_int_equal(run.asked[i], want[i]);
}

static void test_gallops_away_from_a_wrong_plan(void **state)
{
    (void)state;
    check_asked(12, 12, (int64_t[]){ 12, 13 }, 2);
    check_asked(0, 0, (int64_t[]){ 1 }, 1);
    check_asked(105, 100, (int64_t[]){ 100, 101, 102, 104, 108, 106, 105 }, 7);
    check_asked(95, 100, (int64_t[]){ 100, 99, 98, 96, 92, 94, 95 }, 7);
    check_asked(5, FM_SEARCH_UNKNOWN, (int64_t[]){ 1, 2, 4, 8, 6, 5 }, 6);
    check_asked(0, 6, (int64_t[]){ 6, 5, 4, 2, 1 }, 5);
}

static uint64_t fold_word(uint64_t fold, int64_t word)
{
    return (fold ^ (uint32_t)word) * UINT64_C(0x100000001b3);
}

/* Lightning alone, without a table of what fits: true maxes go beyond any table */
static void run_lightning(enum fm_search_method method, int64_t truth, int64_t max_batch, struct run *run)
{
    struct fm_search search;
    struct fm_search_config config = { method, FM_SEARCH_UNKNOWN, max_batch, false };
    int64_t batch;
    assert_int_equal(fm_search_init(&search, &config, NULL), FM_OK);
    run->count = 0;
    while ((batch = fm_search_next(&search)) != FM_SEARCH_DONE) {
        struct fm_search_probe probe = { batch, batch <= truth ? FM_SEARCH_FIT : FM_SEARCH_OOM_DEVICE, false };
        assert_int_equal(fm_search_tell(&search, &probe, NULL), FM_OK);
        run->asked[run->count++] = batch;
    }
    fm_search_result(&search, &run->result);
    assert_int_equal(run->result.raw_probes, run->count);
    /* whatever its raw answer, an untested or wrong one is not certified */
    if (run->result.state == FM_SEARCH_CERTIFIED) {
        assert_int_equal(run->result.max_batch, truth < max_batch ? truth : max_batch);
        if (run->result.max_batch) assert_true(was_asked(run, run->result.max_batch));
    }
}

static void test_lightning_as_it_is(void **state)
{
    (void)state;
    struct run run;
    for (size_t i = 0; i < sizeof lightning_answers / sizeof *lightning_answers; i++) {
        const int64_t *row = lightning_answers[i];
        run_lightning(FM_SEARCH_BINSEARCH, row[0], row[1], &run);
        assert_int_equal(run.result.raw_answer, row[2]);
        assert_int_equal(run.count, row[3]);
        run_lightning(FM_SEARCH_POWER, row[0], row[1], &run);
        assert_int_equal(run.result.raw_answer, row[4]);
        assert_int_equal(run.count, row[5]);
    }
    uint64_t fold = UINT64_C(0xcbf29ce484222325);
    for (int64_t truth = 0; truth <= 200; truth++)
        for (int64_t max_batch = 1; max_batch <= 40; max_batch++)
            for (int power = 0; power <= 1; power++) {
                run_lightning(power ? FM_SEARCH_POWER : FM_SEARCH_BINSEARCH, truth, max_batch, &run);
                fold = fold_word(fold_word(fold, run.result.raw_answer), (int64_t)run.count);
                for (size_t i = 0; i < run.count; i++) fold = fold_word(fold, run.asked[i]);
            }
    assert_true(fold == lightning_fold);
}

/* --- outcomes other than fit and oom ------------------------------------------------------------- */

static void tell(struct fm_search *search, int64_t batch, enum fm_search_outcome outcome, bool disturbed)
{
    struct fm_err err = { .status = FM_OK };
    assert_int_equal(fm_search_next(search), batch);
    assert_int_equal(fm_search_tell(search, &(struct fm_search_probe){ batch, outcome, disturbed }, &err), FM_OK);
}

static struct fm_search start(int64_t planned, int64_t max_batch)
{
    struct fm_search search;
    struct fm_search_config config = { FM_SEARCH_PLAN, planned, max_batch, false };
    assert_int_equal(fm_search_init(&search, &config, NULL), FM_OK);
    return search;
}

static void test_crash_is_no_evidence(void **state)
{
    static const enum fm_search_outcome soft[] = { FM_SEARCH_TIMEOUT, FM_SEARCH_CRASH, FM_SEARCH_PROTOCOL };
    struct fm_search_result r;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct fm_search search = start(8, 100);
        tell(&search, 8, soft[i], false);
        tell(&search, 8, FM_SEARCH_FIT, false);         /* the second try counts */
        tell(&search, 9, soft[(i + 1) % 3], false);
        fm_search_result(&search, &r);
        assert_int_equal(r.state, FM_SEARCH_RUNNING);
        tell(&search, 9, soft[i], false);
        assert_int_equal(fm_search_next(&search), FM_SEARCH_DONE);
        fm_search_result(&search, &r);
        assert_int_equal(r.state, FM_SEARCH_UNCERTIFIED);
        assert_int_equal(r.outcome, soft[i]);
        assert_int_equal(r.max_batch, FM_SEARCH_UNKNOWN);
        assert_int_equal(r.fits_batch, 8);
        assert_int_equal(r.fails_batch, FM_SEARCH_UNKNOWN);
        assert_int_equal(r.probes, 4);
    }
}

static void test_final_outcomes(void **state)
{
    static const enum fm_search_outcome final[] = { FM_SEARCH_UNSUPPORTED, FM_SEARCH_OOM_HOST };
    struct fm_search_result r;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fm_search search = start(8, 100);
        fm_search_result(&search, &r);
        assert_int_equal(r.outcome, FM_SEARCH_UNTESTED);
        tell(&search, 8, FM_SEARCH_OOM_DEVICE, false);
        tell(&search, 7, final[i], false);
        assert_int_equal(fm_search_next(&search), FM_SEARCH_DONE);
        fm_search_result(&search, &r);
        assert_int_equal(r.state, FM_SEARCH_UNCERTIFIED);
        assert_int_equal(r.outcome, final[i]);
        assert_int_equal(r.fits_batch, 0);
        assert_int_equal(r.fails_batch, 8);
    }
}

static void test_nonfinite_fits_and_is_recorded(void **state)
{
    struct fm_search_result r;
    (void)state;
    struct fm_search search = start(8, 100);
    tell(&search, 8, FM_SEARCH_NONFINITE, false);
    tell(&search, 9, FM_SEARCH_OOM_DEVICE, false);
    fm_search_result(&search, &r);
    assert_int_equal(r.state, FM_SEARCH_CERTIFIED);
    assert_int_equal(r.max_batch, 8);
    assert_true(r.nonfinite);
}

static void test_disturbed_boundary_is_not_certified(void **state)
{
    struct fm_search_result r;
    (void)state;
    struct fm_search search = start(8, 100);
    tell(&search, 8, FM_SEARCH_OOM_DEVICE, true);       /* forgotten: the second try counts */
    tell(&search, 8, FM_SEARCH_FIT, false);
    tell(&search, 9, FM_SEARCH_OOM_DEVICE, false);
    fm_search_result(&search, &r);
    assert_int_equal(r.state, FM_SEARCH_CERTIFIED);
    assert_false(r.flaky);

    search = start(8, 100);
    tell(&search, 8, FM_SEARCH_FIT, false);
    tell(&search, 9, FM_SEARCH_OOM_DEVICE, true);
    tell(&search, 9, FM_SEARCH_OOM_DEVICE, true);
    assert_int_equal(fm_search_next(&search), FM_SEARCH_DONE);
    fm_search_result(&search, &r);
    assert_int_equal(r.state, FM_SEARCH_UNCERTIFIED);
    assert_true(r.disturbed);
    assert_int_equal(r.fits_batch, 8);
    assert_int_equal(r.fails_batch, 9);
}

static void note(struct fm_search *search, int64_t batch, enum fm_search_outcome outcome)
{
    assert_int_equal(fm_search_note(search, &(struct fm_search_probe){ batch, outcome, false }, NULL), FM_OK);
}

static void test_notes(void **state)
{
    struct fm_search_result r;
    (void)state;
    struct fm_search search = start(8, 100);
    note(&search, 8, FM_SEARCH_FIT);                    /* shared with another cell */
    tell(&search, 9, FM_SEARCH_OOM_DEVICE, false);
    note(&search, 4, FM_SEARCH_CRASH);                  /* says nothing */
    fm_search_result(&search, &r);
    assert_int_equal(r.max_batch, 8);
    assert_int_equal(r.probes, 1);
    assert_false(r.non_monotone);

    note(&search, 4, FM_SEARCH_OOM_DEVICE);             /* the ladder */
    fm_search_result(&search, &r);
    assert_int_equal(r.state, FM_SEARCH_CERTIFIED);
    assert_int_equal(r.max_batch, 8);
    assert_true(r.non_monotone);

    note(&search, 8, FM_SEARCH_OOM_DEVICE);             /* a replication: 8 fitted by luck */
    fm_search_result(&search, &r);
    assert_int_equal(r.state, FM_SEARCH_RUNNING);
    assert_int_equal(r.max_batch, FM_SEARCH_UNKNOWN);
    assert_true(r.flaky);
    tell(&search, 2, FM_SEARCH_FIT, false);             /* 4 was seen to fail */
    tell(&search, 3, FM_SEARCH_FIT, false);
    fm_search_result(&search, &r);
    assert_int_equal(r.state, FM_SEARCH_CERTIFIED);
    assert_int_equal(r.max_batch, 3);
}

static void test_bad_arguments(void **state)
{
    struct fm_search search;
    struct fm_err err = { .status = FM_OK };
    (void)state;
    const struct fm_search_config no_batch = { FM_SEARCH_PLAN, 3, 0, false }, no_plan = { FM_SEARCH_PLAN, -2, 9, false };
    assert_int_equal(fm_search_init(&search, &no_batch, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "max batch 0"));
    assert_int_equal(fm_search_init(&search, &no_plan, NULL), FM_INVALID);
    search = start(3, 9);
    assert_int_equal(fm_search_tell(&search, &(struct fm_search_probe){ 4, FM_SEARCH_FIT, false }, NULL), FM_INVALID);
    assert_int_equal(fm_search_tell(&search, &(struct fm_search_probe){ 10, FM_SEARCH_FIT, false }, NULL), FM_INVALID);
    assert_int_equal(fm_search_note(&search, &(struct fm_search_probe){ 0, FM_SEARCH_FIT, false }, NULL), FM_INVALID);
    const struct fm_search_probe untested = { 3, FM_SEARCH_UNTESTED, false };
    assert_int_equal(fm_search_note(&search, &untested, NULL), FM_INVALID);
    assert_int_equal(fm_search_next(&search), 3);
    assert_string_equal(fm_search_method_name(FM_SEARCH_BINSEARCH), "binsearch");
    assert_string_equal(fm_search_outcome_name(FM_SEARCH_FIT), "ok");
    search = start(FM_SEARCH_UNKNOWN, FM_SEARCH_BATCH_LIMIT);   /* more than it can remember is an error */
    for (int64_t b = 1; b <= FM_SEARCH_CAPACITY; b++) note(&search, 3 * b, FM_SEARCH_FIT);
    assert_int_equal(fm_search_note(&search, &(struct fm_search_probe){ 2, FM_SEARCH_FIT, false }, NULL), FM_FAILED);
}

/* --- the ladder and the knee ---------------------------------------------------------------------- */

static void test_ladder(void **state)
{
    int64_t b[FM_LADDER_CAPACITY];
    (void)state;
    assert_int_equal(fm_ladder(0, NULL, 0, b), 0);
    assert_int_equal(fm_ladder(1, NULL, 0, b), 1);
    assert_int_equal(b[0], 1);
    assert_int_equal(fm_ladder(8, NULL, 0, b), 4);
    assert_int_equal(b[2], 4);
    assert_int_equal(b[3], 8);
    assert_int_equal(fm_ladder(13, (int64_t[]){ 13, 2, 5 }, 3, b), 3);
    assert_int_equal(b[0], 1);
    assert_int_equal(b[1], 4);
    assert_int_equal(b[2], 8);
    assert_int_equal(fm_ladder(FM_SEARCH_BATCH_LIMIT, NULL, 0, b), 31);
    assert_int_equal(b[30], FM_SEARCH_BATCH_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_models),
        cmocka_unit_test(test_every_plan_of_every_max),
        cmocka_unit_test(test_gallops_away_from_a_wrong_plan),
        cmocka_unit_test(test_lightning_as_it_is),
        cmocka_unit_test(test_crash_is_no_evidence),
        cmocka_unit_test(test_final_outcomes),
        cmocka_unit_test(test_nonfinite_fits_and_is_recorded),
        cmocka_unit_test(test_disturbed_boundary_is_not_certified),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_ladder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
