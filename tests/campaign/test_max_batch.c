/* The largest batch of a plan, with plans cut short where that will do, is that of whole plans: over random cells, capacities and
 * workspaces, against the same search on whole plans and against every batch up to a limit. */
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "tuner/campaign/session.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CELLS 40
#define LIMIT 14
#define MIB (INT64_C(1) << 20)

static uint64_t draw(uint64_t seed, uint64_t index, uint64_t end) { return fm_rng_u64(7, seed, index) % end; }

static void choose(uint64_t seed, struct fm_cell *cell)
{
    static const char *const precision[] = { "fp32", "bf16", "fp16" }, *const checkpoint[] = { "none", "blocks" },
                      *const val[] = { "same", "half" }, *const format[] = { "contiguous", "channels_last" },
                      *const accumulate[] = { "1", "2" };
    struct fm_err err = { 0 };
    bool unet = draw(seed, 0, 2);
    const struct fm_workload *w = fm_workload_find(unet ? "denseunet3d" : "segformer", &err);
    fm_cell_default(cell, w);
    assert_int_equal(fm_settings_set(&cell->settings, "input", unet ? "16x16x16" : "32x32", &err), FM_OK);
    if (unet) assert_int_equal(fm_settings_set(&cell->settings, "levels", "2", &err), FM_OK);
    if (unet) assert_int_equal(fm_settings_set(&cell->settings, "base_channels", draw(seed, 1, 2) ? "4" : "8", &err), FM_OK);
    assert_int_equal(fm_cell_set(cell, FM_STRATEGY_PRECISION, precision[draw(seed, 2, 3)], &err), FM_OK);
    assert_int_equal(fm_cell_set(cell, FM_STRATEGY_CHECKPOINT, checkpoint[draw(seed, 3, 2)], &err), FM_OK);
    assert_int_equal(fm_cell_set(cell, FM_STRATEGY_VAL_BATCH, val[draw(seed, 4, 2)], &err), FM_OK);
    assert_int_equal(fm_cell_set(cell, FM_STRATEGY_MEMORY_FORMAT, format[draw(seed, 5, 2)], &err), FM_OK);
    assert_int_equal(fm_cell_set(cell, FM_STRATEGY_ACCUMULATE, accumulate[draw(seed, 6, 2)], &err), FM_OK);
}

/* a device that is never asked: it would answer with up to three candidates, the last without workspace half the time */
static void open_table(struct fm_session *s, const struct fm_cell *cell, uint64_t seed)
{
    struct fm_err err = { 0 };
    *s = (struct fm_session){ .backend = "table", .capacity_bytes = INT64_MAX, .cache = { .fd = -1 } };
    for (int64_t batch = 1; batch <= LIMIT; batch++) {
        struct fm_cell_batch at = { .train = batch, .val = fm_cell_val_batch(cell, batch) };
        if (fm_cell_lower(cell, at, &s->program, &err) != FM_OK) fail_msg("%s", err.text);
        for (size_t i = 0; i < s->program.call_count; i++) {
            struct fm_workspace_entry entry = { .key = s->program.call[i].key };
            if (!entry.key || fm_workspaces_find(&s->workspaces, entry.key)) continue;
            entry.candidates.count = 1 + (uint32_t)(fm_rng_u64(seed, 1, entry.key) % 3);
            for (uint32_t k = 0; k < entry.candidates.count; k++) {
                bool none = k + 1 == entry.candidates.count && fm_rng_u64(seed, 2, entry.key) % 2;
                entry.candidates.item[k].workspace_bytes = none ? 0 : (int64_t)(fm_rng_u64(seed, 3 + k, entry.key) % (uint64_t)(4 * MIB));
            }
            if (fm_workspaces_add(&s->workspaces, &entry, &err) != FM_OK) fail_msg("%s", err.text);
        }
    }
}

struct plain { struct fm_session *session; const struct fm_cell *cell; int whole; };

/* whole plans, whatever would do */
static fm_status need(void *context, int64_t batch, struct fm_plan_need *out, struct fm_err *err)
{
    struct plain *p = context;
    struct fm_planned planned;
    struct fm_cell_batch at = { .train = batch, .val = fm_cell_val_batch(p->cell, batch) };
    fm_status status = fm_session_plan(p->session, p->cell, at, &planned, err);
    if (status != FM_OK) return status;
    out->fits = planned.plan.fits;
    out->bytes = (uint64_t)planned.needed_bytes;
    out->least_bytes = (uint64_t)planned.least_bytes;
    p->whole++;
    return FM_OK;
}

/* directly after the search its answer need not be planned again: but it is what it would be */
static void assert_answer_whole(struct fm_session *s, const struct fm_cell *cell, int64_t batch)
{
    struct fm_planned kept, again;
    struct fm_err err = { 0 };
    struct fm_cell_batch at = { .train = batch, .val = fm_cell_val_batch(cell, batch) };
    if (!batch) return;
    if (fm_session_plan(s, cell, at, &kept, &err) != FM_OK) fail_msg("%s", err.text);
    uint64_t program = fm_program_hash(&s->program);
    if (fm_session_plan(s, cell, at, &again, &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(program, fm_program_hash(&s->program));
    assert_int_equal(kept.program, program);
    assert_int_equal(kept.program, again.program);
    assert_int_equal(kept.needed_bytes, again.needed_bytes);
    assert_int_equal(kept.least_bytes, again.least_bytes);
    assert_true(kept.plan.fits && again.plan.fits && !kept.assumed && !again.assumed);
    assert_int_equal(kept.plan.train_steps, again.plan.train_steps);
    assert_int_equal(kept.plan.val_steps, again.plan.val_steps);
    assert_memory_equal(&kept.plan.train, &again.plan.train, sizeof again.plan.train);
    assert_memory_equal(&kept.plan.val, &again.plan.val, sizeof again.plan.val);
}

static void check(uint64_t seed, int *interesting)
{
    struct fm_cell cell;
    struct fm_session s;
    struct fm_plan_max_answer got, want;
    struct fm_planned planned;
    struct fm_err err = { 0 };
    bool fits[LIMIT + 1] = { false };
    choose(seed, &cell);
    open_table(&s, &cell, seed);
    struct fm_cell_batch one = { .train = 1, .val = 1 }, most = { .train = LIMIT, .val = fm_cell_val_batch(&cell, LIMIT) };
    if (fm_session_plan(&s, &cell, most, &planned, &err) != FM_OK) fail_msg("%s", err.text);
    int64_t high = planned.needed_bytes;
    if (fm_session_plan(&s, &cell, one, &planned, &err) != FM_OK) fail_msg("%s", err.text);
    int64_t low = planned.needed_bytes;
    /* from less than one sample takes to more than the limit does */
    s.capacity_bytes = low * 9 / 10 + (int64_t)draw(seed, 7, (uint64_t)(high > low ? high - low : 1) + (uint64_t)low / 8);
    if (fm_session_max_batch(&s, &cell, LIMIT, 0, &got, &err) != FM_OK) fail_msg("%s", err.text);
    assert_answer_whole(&s, &cell, got.max_batch);
    for (int64_t b = 1; b <= LIMIT; b++) {
        struct fm_cell_batch at = { .train = b, .val = fm_cell_val_batch(&cell, b) };
        if (fm_session_plan(&s, &cell, at, &planned, &err) != FM_OK) fail_msg("%s", err.text);
        fits[b] = planned.plan.fits;
        if (b == got.max_batch) assert_int_equal(got.bytes, planned.needed_bytes);
    }
    struct plain plain = { &s, &cell, 0 };
    struct fm_plan_max_query query = { need, &plain, (uint64_t)s.capacity_bytes, LIMIT };
    if (fm_plan_max_batch(&query, &want, &err) != FM_OK) fail_msg("%s", err.text);
    /* the search on whole plans ends where batch 1 does not fit, though a larger one may */
    if (fits[1] && got.max_batch != want.max_batch)
        fail_msg("seed %" PRIu64 ": %" PRId64 ", by whole plans %" PRId64, seed, got.max_batch, want.max_batch);
    assert_true(got.max_batch == 0 || fits[got.max_batch]);
    for (int64_t b = got.max_batch + 1; b <= LIMIT && b <= got.max_batch + 1 + (got.max_batch ? FM_PLAN_MAX_AHEAD : 0); b++) assert_false(fits[b]);
    assert_int_equal(got.at_limit, got.max_batch == LIMIT);
    *interesting += got.max_batch > 1 && got.max_batch < LIMIT;
    fm_session_close(&s);
}

static void as_by_whole_plans(void **state)
{
    (void)state;
    int interesting = 0;
    for (uint64_t seed = 0; seed < CELLS; seed++) check(seed, &interesting);
    assert_true(interesting > CELLS / 2);
    assert_int_equal(fm_memory_live, 0);
}

static fm_status launch_nothing(void *context, const struct fm_replay *replay, const struct fm_replay_launch *launch, struct fm_err *err)
{
    (void)context, (void)replay, (void)launch, (void)err;
    return FM_OK;
}

struct outcome {
    fm_status status;
    struct fm_peak peak[2];
    uint64_t state;
};

/* some steps of everything; status: where it ended */
static struct outcome some_steps(const struct fm_session *s, int64_t capacity_bytes, bool launches)
{
    static const enum fm_section order[] = { FM_SECTION_INIT, FM_SECTION_TRAIN_FIRST, FM_SECTION_TRAIN, FM_SECTION_TRAIN, FM_SECTION_TRAIN,
                                             FM_SECTION_VAL_FIRST, FM_SECTION_VAL, FM_SECTION_VAL, FM_SECTION_VAL_EXIT, FM_SECTION_TRAIN };
    struct fm_arithmetic_source source;
    struct fm_allocator allocator;
    struct fm_allocator_config config = fm_allocator_config_default();
    struct fm_replay r = { .program = &s->program, .allocator = &allocator, .workspaces = &s->workspaces, .launch = launches ? launch_nothing : NULL };
    struct outcome out = { 0 };
    fm_arithmetic_source_init(&source, capacity_bytes);
    assert_int_equal(fm_allocator_init(&allocator, &config, fm_arithmetic_source_interface(&source), NULL), FM_OK);
    assert_int_equal(fm_replay_init(&r, NULL), FM_OK);
    for (size_t i = 0; i < sizeof order / sizeof order[0] && out.status == FM_OK; i++) out.status = fm_replay_section(&r, order[i], NULL);
    memcpy(out.peak, r.peak, sizeof out.peak);
    out.state = fm_replay_state_hash(&r);
    fm_replay_release(&r);
    fm_allocator_release(&allocator);
    fm_arithmetic_source_release(&source);
    return out;
}

/* A plan does not hand out workspaces that cached memory would serve: it ends as if it did, wherever memory ends. */
static void workspaces_leave_no_trace(void **state)
{
    (void)state;
    long ended[2] = { 0 };
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct fm_cell cell;
        struct fm_session s;
        struct fm_planned planned;
        struct fm_err err = { 0 };
        choose(seed, &cell);
        open_table(&s, &cell, seed);
        struct fm_cell_batch at = { .train = 4, .val = fm_cell_val_batch(&cell, 4) };
        if (fm_session_plan(&s, &cell, at, &planned, &err) != FM_OK) fail_msg("%s", err.text);
        for (uint64_t i = 0; i < 24; i++) {
            int64_t capacity_bytes = planned.needed_bytes - (int64_t)draw(seed, 100 + i, (uint64_t)planned.needed_bytes / 3) + 2 * MIB;
            struct outcome with = some_steps(&s, capacity_bytes, true), without = some_steps(&s, capacity_bytes, false);
            assert_int_equal(with.status, without.status);
            assert_memory_equal(with.peak, without.peak, sizeof with.peak);
            assert_int_equal(with.state, without.state);
            ended[with.status == FM_OK]++;
        }
        fm_session_close(&s);
    }
    assert_true(ended[0] > 20 && ended[1] > 20);
}

static void assert_same_answer(const struct fm_plan_max_answer *a, const struct fm_plan_max_answer *b)
{
    assert_int_equal(a->max_batch, b->max_batch);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->at_limit, b->at_limit);
    assert_int_equal(a->non_monotone, b->non_monotone);
    assert_int_equal(a->misfit_below, b->misfit_below);
}

static void max_of(struct fm_session *s, const struct fm_cell *cell, struct fm_plan_max_answer *out)
{
    struct fm_err err = { 0 };
    if (fm_session_max_batch(s, cell, LIMIT, 0, out, &err) != FM_OK) fail_msg("%s", err.text);
}

static void open_again(struct fm_session *s)
{
    fm_cache_close(&s->cache);
    assert_int_equal(fm_cache_open(&s->cache, s->fingerprint, NULL), FM_OK);
}

/* The answer of a search is kept, and looked at on both sides when it is asked for again; what does not hold any more, or was
 * of another question, is searched for. */
static void answers_are_remembered(void **state)
{
    (void)state;
    char folder[] = "/tmp/fillmark-max-XXXXXX", command[64];
    long short_ways = 0, wrong = 0;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("FILLMARK_CACHE_DIR", folder, 1), 0);
    for (uint64_t seed = 0; seed < 16; seed++) {
        struct fm_cell cell;
        struct fm_session s;
        struct fm_plan_max_answer first, again;
        struct fm_planned planned;
        struct fm_err err = { 0 };
        choose(seed, &cell);
        open_table(&s, &cell, seed);
        struct fm_cell_batch at = { .train = 6, .val = fm_cell_val_batch(&cell, 6) };
        if (fm_session_plan(&s, &cell, at, &planned, &err) != FM_OK) fail_msg("%s", err.text);
        s.capacity_bytes = seed % 8 == 7 ? MIB : planned.needed_bytes * (int64_t)(40 + draw(seed, 200, 120)) / 100;
        s.fingerprint = 1000 + seed;
        assert_int_equal(fm_cache_open(&s.cache, s.fingerprint, NULL), FM_OK);
        max_of(&s, &cell, &first);
        open_again(&s);
        max_of(&s, &cell, &again);
        assert_same_answer(&first, &again);
        assert_true(again.evaluations <= 2);
        assert_answer_whole(&s, &cell, again.max_batch);
        short_ways += again.evaluations < first.evaluations;
        /* another capacity is another question */
        s.capacity_bytes -= s.capacity_bytes / 3;
        max_of(&s, &cell, &again);
        assert_true(again.max_batch <= first.max_batch);
        s.capacity_bytes = planned.needed_bytes;
        max_of(&s, &cell, &first);
        open_again(&s);
        /* and where devices answer otherwise than they did, it does not hold */
        for (size_t i = 0; i < s.workspaces.count; i++)
            for (uint32_t k = 0; k < s.workspaces.entry[i].candidates.count; k++) s.workspaces.entry[i].candidates.item[k].workspace_bytes += 6 * MIB;
        max_of(&s, &cell, &again);
        struct plain plain = { &s, &cell, 0 };
        struct fm_plan_max_query query = { need, &plain, (uint64_t)s.capacity_bytes, LIMIT };
        struct fm_plan_max_answer want;
        if (fm_plan_max_batch(&query, &want, &err) != FM_OK) fail_msg("%s", err.text);
        if (want.max_batch) assert_int_equal(again.max_batch, want.max_batch);
        wrong += want.max_batch != first.max_batch;
        fm_session_close(&s);
    }
    assert_true(short_ways > 8 && wrong > 2);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

/* what a device cannot run is found before any verdict */
static void unsupported_is_found(void **state)
{
    (void)state;
    struct fm_cell cell;
    struct fm_session s;
    struct fm_plan_max_answer got;
    struct fm_err err = { 0 };
    choose(1, &cell);
    open_table(&s, &cell, 1);
    for (size_t i = 0; i < s.workspaces.count; i++) {
        s.workspaces.entry[i].unsupported = true;
        (void)snprintf(s.workspaces.entry[i].reason, sizeof s.workspaces.entry[i].reason, "no engine");
    }
    for (int64_t capacity = MIB; capacity <= 4096 * MIB; capacity *= 64) {
        s.capacity_bytes = capacity;
        fm_status status = fm_session_max_batch(&s, &cell, LIMIT, 0, &got, &err);
        assert_true(status == FM_UNSUPPORTED || (status == FM_OK && capacity == MIB && got.max_batch == 0));
    }
    fm_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(as_by_whole_plans), cmocka_unit_test(workspaces_leave_no_trace),
                                        cmocka_unit_test(answers_are_remembered), cmocka_unit_test(unsupported_is_found) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
