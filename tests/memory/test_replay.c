/* Replay and planner on programs made by hand: peaks by arithmetic, workspaces that retreat, when a section has
 * settled. */
#include "probes/memory/planner.h"
#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define MIB (INT64_C(1) << 20)

static uint32_t storage(struct fm_program *p, const char *name, enum fm_storage_kind kind, int64_t bytes)
{
    return fm_program_storage(
        p, (struct fm_storage){ .bytes = bytes, .kind = (uint8_t)kind, .label = fm_program_name(p, name) });
}

static uint32_t alloc(struct fm_program *p, const char *name, enum fm_storage_kind kind, int64_t bytes)
{
    uint32_t s = storage(p, name, kind, bytes);
    fm_program_instr(p, FM_ALLOC, s, 0);
    return s;
}

/* a call that takes workspace: y = a @ b, n x n, all in one storage */
static uint64_t matmul(struct fm_program *p, uint32_t s, int64_t n)
{
    struct fm_operand o = { .storage = s, .ndim = 2, .size = { n, n }, .stride = { n, 1 } };
    struct fm_call c = { .kernel = FM_K_MATMUL, .n_out = 1, .n_in = 2, .label = fm_program_name(p, "product") };
    uint32_t index = fm_program_call(p, &c, (struct fm_operand[]){ o, o, o });
    return p->call[index].key;
}

static void finish(struct fm_program *p)
{
    struct fm_err err = { 0 };
    if (fm_program_finish(p, &err) != FM_OK || fm_program_check(p, &err) != FM_OK) fail_msg("%s", err.text);
}

static void release(struct fm_program *p, struct fm_planner *planner, struct fm_workspaces *table)
{
    fm_program_release(p);
    fm_planner_release(planner);
    fm_workspaces_release(table);
}

/* a parameter of 3 MiB and one of 300 bytes; a step holds 5 MiB and 9 MiB together, and then takes a workspace */
static uint64_t small_program(struct fm_program *p)
{
    fm_program_begin(p, FM_SECTION_INIT);
    (void)alloc(p, "weight", FM_STORAGE_PARAMETER, 3 * MIB);
    (void)alloc(p, "bias", FM_STORAGE_PARAMETER, 300);
    uint64_t key = 0;
    for (int s = FM_SECTION_TRAIN_FIRST; s <= FM_SECTION_TRAIN; s++) {
        fm_program_begin(p, (enum fm_section)s);
        uint32_t x = alloc(p, "x", FM_STORAGE_INPUT, 5 * MIB), y = alloc(p, "y", FM_STORAGE_ACTIVATION, 9 * MIB);
        key = matmul(p, y, 8);
        fm_program_instr(p, FM_FREE, x, 0);
        fm_program_instr(p, FM_FREE, y, 0);
    }
    finish(p);
    return key;
}

static struct fm_workspace_entry entry_of(uint64_t key, uint32_t count, const int64_t *bytes)
{
    struct fm_workspace_entry e = { .key = key, .candidates.count = count };
    for (uint32_t i = 0; i < count; i++) e.candidates.item[i].workspace_bytes = bytes[i];
    return e;
}

static void peaks_by_arithmetic(void **state)
{
    (void)state;
    struct fm_program p = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_plan plan;
    struct fm_err err = { 0 };
    uint64_t key = small_program(&p);
    assert_int_equal(fm_planner_run(&planner, &p, NULL, INT64_MAX, &plan, &err), FM_OK);
    assert_true(plan.fits);
    assert_int_equal(plan.train.counted_bytes, 17 * MIB + 512);
    assert_int_equal(plan.train.allocated_bytes, 17 * MIB + 512);
    assert_int_equal(plan.train.workspace_bytes, 0);
    assert_int_equal(plan.train_steps, 1);                          /* nothing is left over: settled at once */
    struct fm_workspace_entry e = entry_of(key, 1, (int64_t[]){ 4 * MIB });
    assert_int_equal(fm_workspaces_add(&table, &e, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &p, &table, INT64_MAX, &plan, &err), FM_OK);
    assert_int_equal(plan.train.counted_bytes, 17 * MIB + 512);     /* tensors alone */
    assert_int_equal(plan.train.allocated_bytes, 21 * MIB + 512);
    assert_int_equal(plan.train.workspace_bytes, 4 * MIB);
    assert_int_equal(plan.train.breakdown_bytes[FM_STORAGE_PARAMETER], 3 * MIB + 512);
    assert_int_equal(plan.train.breakdown_bytes[FM_STORAGE_INPUT], 5 * MIB);
    assert_int_equal(plan.train.breakdown_bytes[FM_STORAGE_ACTIVATION], 9 * MIB);
    assert_int_equal(plan.train.breakdown_bytes[FM_BREAKDOWN_WORKSPACE], 4 * MIB);
    release(&p, &planner, &table);
}

/* rules 39-41: the first candidate that can be allocated; the last one's failure is the call's */
static void workspaces_retreat(void **state)
{
    (void)state;
    struct fm_program p = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_plan plan;
    struct fm_err err = { 0 };
    struct fm_workspace_entry e = entry_of(small_program(&p), 3, (int64_t[]){ 1024 * MIB, 64 * MIB, 2 * MIB });
    assert_int_equal(fm_workspaces_add(&table, &e, &err), FM_OK);
    assert_int_equal(fm_plan_least_bytes(&p, &table), 19 * MIB + 512);      /* with the smallest one */
    static const struct { int64_t capacity, workspace; } rows[] = { { 2048, 1024 }, { 128, 64 }, { 48, 2 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(fm_planner_run(&planner, &p, &table, rows[i].capacity * MIB, &plan, &err), FM_OK);
        assert_true(plan.fits);
        assert_int_equal(plan.train.workspace_bytes, rows[i].workspace * MIB);
        assert_true(plan.train.reserved_bytes <= rows[i].capacity * MIB);
    }
    e = entry_of(e.key, 2, (int64_t[]){ 1024 * MIB, 512 * MIB });
    assert_int_equal(fm_workspaces_add(&table, &e, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &p, &table, 48 * MIB, &plan, &err), FM_OK);
    assert_false(plan.fits);
    assert_false(plan.limited_by_val);
    assert_string_equal(plan.oom_at, "product");
    assert_int_equal(plan.oom_bytes, 512 * MIB);
    assert_int_equal(fm_planner_run(&planner, &p, NULL, 10 * MIB, &plan, &err), FM_OK);
    assert_false(plan.fits);
    release(&p, &planner, &table);
}

struct taken { int64_t bytes[16]; size_t count; };

static fm_status note_taken(void *context, const struct fm_replay *r, const struct fm_replay_launch *l, struct fm_err *err)
{
    struct taken *t = context;
    (void)r, (void)err;
    t->bytes[t->count++] = l->workspace_bytes;
    return FM_OK;
}

/* rule 41: what was chosen stays, also when there is more room again; what no longer fits is chosen anew, from the first.
 * Steps of one problem with so many MiB alive beside it, under 128 MiB, for candidates of 64, 16 and a half. */
static void choices_stay_until_they_do_not_fit(void **state)
{
    (void)state;
    static const int64_t beside[] = { 0, 90, 0, 112, 0, 90 }, wanted[] = { 64 * MIB, 16 * MIB, 16 * MIB, MIB / 2, MIB / 2, MIB / 2 };
    struct fm_program p = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_arithmetic_source source;
    struct fm_allocator allocator;
    struct fm_err err = { 0 };
    struct taken taken = { .count = 0 };
    uint64_t key = 0;
    fm_program_begin(&p, FM_SECTION_INIT);
    uint32_t w = alloc(&p, "weight", FM_STORAGE_PARAMETER, 64 * 4);
    fm_program_begin(&p, FM_SECTION_TRAIN_FIRST);
    for (size_t i = 0; i < 6; i++) {
        uint32_t x = beside[i] ? alloc(&p, "x", FM_STORAGE_ACTIVATION, beside[i] * MIB) : FM_NONE;
        key = matmul(&p, w, 8);
        if (x != FM_NONE) fm_program_instr(&p, FM_FREE, x, 0);
    }
    finish(&p);
    struct fm_workspace_entry e = entry_of(key, 3, (int64_t[]){ 64 * MIB, 16 * MIB, MIB / 2 });
    assert_int_equal(fm_workspaces_add(&table, &e, &err), FM_OK);
    fm_arithmetic_source_init(&source, 128 * MIB);
    struct fm_allocator_config config = fm_allocator_config_default();
    assert_int_equal(fm_allocator_init(&allocator, &config, fm_arithmetic_source_interface(&source), &err), FM_OK);
    struct fm_replay r = { .program = &p, .allocator = &allocator, .workspaces = &table, .launch = note_taken, .context = &taken };
    assert_int_equal(fm_replay_init(&r, &err), FM_OK);
    assert_int_equal(fm_replay_section(&r, FM_SECTION_INIT, &err), FM_OK);
    uint64_t before = fm_replay_state_hash(&r);
    assert_int_equal(fm_replay_section(&r, FM_SECTION_TRAIN_FIRST, &err), FM_OK);
    assert_int_equal(taken.count, 6);
    for (size_t i = 0; i < 6; i++) assert_true(taken.bytes[i] == wanted[i]);
    /* what will be chosen belongs to the state */
    fm_allocator_empty_cache(&allocator);
    assert_true(fm_replay_state_hash(&r) != before);
    fm_replay_release(&r);
    fm_allocator_release(&allocator);
    fm_arithmetic_source_release(&source);
    release(&p, &(struct fm_planner){ 0 }, &table);
}

struct timed { uint32_t valid; int64_t bytes; long calls; struct fm_ranking say; struct taken taken; };

static fm_status note_timed_launch(void *context, const struct fm_replay *r, const struct fm_replay_launch *l, struct fm_err *err)
{
    return note_taken(&((struct timed *)context)->taken, r, l, err);
}

static fm_status rank_as_told(void *context, const struct fm_replay *r, const struct fm_replay_launch *l, uint32_t valid,
                              struct fm_ranking *out, struct fm_err *err)
{
    struct timed *t = context;
    (void)r, (void)err;
    t->valid = valid;
    t->bytes = l->workspace_bytes;
    t->calls++;
    *out = t->say;
    return FM_OK;
}

/* Rule 40. Candidates of a half, 39.5 and 16 MiB, beside a weight in a segment of 2 MiB; with so much memory. */
static void timed_in_what_fits(void **state)
{
    (void)state;
    static const struct {
        int64_t budget;             /* 512 KiB each */
        uint32_t valid;
        int64_t timed;              /* bytes */
        struct fm_ranking say;
        int64_t taken;
    } rows[] = {
        { 400, 7, 79 * MIB / 2, { 3, { 2, 1, 0 } }, 16 * MIB },
        { 400, 7, 79 * MIB / 2, { 3, { 1, 0, 2 } }, 79 * MIB / 2 },
        /* 39.5 MiB are free, but a segment of them takes 40: halved */
        { 83, 5, 79 * MIB / 4, { 2, { 2, 0 } }, 16 * MIB },
        { 60, 5, 16 * MIB, { 2, { 0, 2 } }, MIB / 2 },
        /* the fastest does not fit: the next */
        { 60, 5, 16 * MIB, { 3, { 1, 2, 0 } }, 16 * MIB },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fm_program p = { 0 };
        struct fm_workspaces table = { 0 };
        struct fm_arithmetic_source source;
        struct fm_allocator allocator;
        struct fm_err err = { 0 };
        struct timed timed = { .say = rows[i].say };
        struct fm_attr attr = { .benchmark = 1 };
        fm_program_begin(&p, FM_SECTION_INIT);
        uint32_t w = alloc(&p, "weight", FM_STORAGE_PARAMETER, 64 * 4);
        fm_program_begin(&p, FM_SECTION_TRAIN_FIRST);
        struct fm_operand o = { .storage = w, .ndim = 2, .size = { 8, 8 }, .stride = { 8, 1 } };
        struct fm_call c = { .kernel = FM_K_MATMUL, .n_out = 1, .n_in = 2, .attr = fm_program_attr(&p, &attr) };
        uint64_t key = 0;
        for (int k = 0; k < 3; k++) {
            uint32_t index = fm_program_call(&p, &c, (struct fm_operand[]){ o, o, o });
            key = p.call[index].key;
        }
        finish(&p);
        struct fm_workspace_entry e = entry_of(key, 3, (int64_t[]){ MIB / 2, 79 * MIB / 2, 16 * MIB });
        assert_int_equal(fm_workspaces_add(&table, &e, &err), FM_OK);
        fm_arithmetic_source_init(&source, rows[i].budget * MIB / 2);
        struct fm_allocator_config config = fm_allocator_config_default();
        assert_int_equal(fm_allocator_init(&allocator, &config, fm_arithmetic_source_interface(&source), &err), FM_OK);
        struct fm_replay r = { .program = &p, .allocator = &allocator, .workspaces = &table, .launch = note_timed_launch,
                               .rank = rank_as_told, .context = &timed };
        assert_int_equal(fm_replay_init(&r, &err), FM_OK);
        assert_int_equal(fm_replay_section(&r, FM_SECTION_INIT, &err), FM_OK);
        assert_int_equal(fm_replay_section(&r, FM_SECTION_TRAIN_FIRST, &err), FM_OK);
        /* once, and what was only for timing is in no peak */
        assert_int_equal(timed.calls, 1);
        assert_int_equal(timed.valid, rows[i].valid);
        assert_true(timed.bytes == rows[i].timed);
        for (size_t k = 0; k < 3; k++) assert_true(timed.taken.bytes[k] == rows[i].taken);
        assert_true(r.peak[0].workspace_bytes == rows[i].taken && r.peak[0].allocated_bytes <= rows[i].taken + MIB);
        assert_true(r.peak[0].reserved_bytes <= rows[i].taken + 4 * MIB);
        fm_replay_release(&r);
        /* nothing ran: told as that */
        timed = (struct timed){ .calls = 0 };
        fm_allocator_clear(&allocator);
        struct fm_replay none = { .program = &p, .allocator = &allocator, .workspaces = &table, .launch = note_timed_launch,
                                  .rank = rank_as_told, .context = &timed };
        assert_int_equal(fm_replay_init(&none, &err), FM_OK);
        assert_int_equal(fm_replay_section(&none, FM_SECTION_INIT, &err), FM_OK);
        assert_int_equal(fm_replay_section(&none, FM_SECTION_TRAIN_FIRST, &err), FM_UNSUPPORTED);
        fm_replay_release(&none);
        fm_allocator_release(&allocator);
        fm_arithmetic_source_release(&source);
        release(&p, &(struct fm_planner){ 0 }, &table);
    }
}

static void answers_that_are_none(void **state)
{
    (void)state;
    struct fm_program p = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_plan plan;
    struct fm_err err = { 0 };
    struct fm_workspace_entry e = { .key = small_program(&p), .unsupported = true, .reason = "no such engine" };
    assert_int_equal(fm_planner_run(&planner, &p, &table, INT64_MAX, &plan, &err), FM_FAILED);
    assert_non_null(strstr(err.text, "never asked"));
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_workspaces_add(&table, &e, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &p, &table, INT64_MAX, &plan, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "no such engine"));
    release(&p, &planner, &table);
}

/* `places` storages of one size, each step hands them round: the allocator's blocks look the same every time, but who
 * lives in them comes back only after as many steps */
static void settled_when_everyone_is_home(void **state)
{
    (void)state;
    for (uint32_t places = 1; places <= 12; places++) {
        struct fm_program p = { 0 };
        struct fm_planner planner = { 0 };
        struct fm_plan plan;
        struct fm_err err = { 0 };
        uint32_t s[12], spare;
        fm_program_begin(&p, FM_SECTION_INIT);
        for (uint32_t i = 0; i < places; i++) s[i] = alloc(&p, "state", FM_STORAGE_OPTIMIZER, MIB);
        spare = storage(&p, "spare", FM_STORAGE_OPTIMIZER, MIB);
        for (int section = FM_SECTION_TRAIN_FIRST; section <= FM_SECTION_TRAIN; section++) {
            fm_program_begin(&p, (enum fm_section)section);
            fm_program_instr(&p, FM_MOVE, spare, s[0]);
            for (uint32_t i = 0; i + 1 < places; i++) fm_program_instr(&p, FM_MOVE, s[i], s[i + 1]);
            fm_program_instr(&p, FM_MOVE, s[places - 1], spare);
        }
        finish(&p);
        assert_int_equal(fm_planner_run(&planner, &p, NULL, INT64_MAX, &plan, &err), FM_OK);
        assert_int_equal(plan.train_steps, places < FM_REPLAY_MAX_STEPS ? places : FM_REPLAY_MAX_STEPS);
        fm_program_release(&p);
        fm_planner_release(&planner);
    }
}

/* at_least is kept, whatever repeats */
static void at_least_so_many_steps(void **state)
{
    (void)state;
    struct fm_program p = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_plan plan;
    struct fm_err err = { 0 };
    (void)small_program(&p);
    assert_int_equal(fm_planner_run(&planner, &p, NULL, INT64_MAX, &plan, &err), FM_OK);
    fm_allocator_clear(&planner.allocator);
    struct fm_replay r = { .program = &p, .allocator = &planner.allocator };
    assert_int_equal(fm_replay_init(&r, &err), FM_OK);
    assert_int_equal(fm_replay_section(&r, FM_SECTION_INIT, &err), FM_OK);
    for (uint32_t at_least = 1; at_least <= 3 * FM_REPLAY_MAX_STEPS; at_least++) {
        struct fm_settle settle = { .at_least = at_least };
        assert_int_equal(fm_replay_settle(&r, FM_SECTION_TRAIN, &settle, &err), FM_OK);
        assert_in_range(settle.steps, at_least, at_least + 1);     /* one more at first: the step makes its segments */
    }
    fm_replay_release(&r);
    fm_program_release(&p);
    fm_planner_release(&planner);
}

/* random allocations; frees among them, and of all at the end but for one that the next time frees first */
static void random_section(struct fm_program *p, enum fm_section section, uint64_t seed, uint32_t kept, bool drop)
{
    uint32_t live[40];
    size_t count = 0;
    fm_program_begin(p, section);
    if (drop) fm_program_instr(p, FM_FREE, kept, 0);
    for (uint64_t i = 0; i < 30; i++) {
        int64_t bytes = INT64_C(1) << (10 + fm_rng_u64(seed, 1, i) % 15);
        live[count++] = alloc(p, "x", FM_STORAGE_ACTIVATION, bytes + (int64_t)(fm_rng_u64(seed, 2, i) % (uint64_t)bytes));
        if (i == 7 && section != FM_SECTION_VAL_EXIT) fm_program_instr(p, FM_ALLOC, kept, 0);
        if (fm_rng_u64(seed, 3, i) % 3) continue;
        size_t which = fm_rng_u64(seed, 4, i) % count;
        fm_program_instr(p, FM_FREE, live[which], 0);
        live[which] = live[--count];
    }
    while (count) fm_program_instr(p, FM_FREE, live[--count], 0);
}

/* every step that a probe runs, none left out */
static bool whole_probe(struct fm_replay *r)
{
    struct fm_err err = { 0 };
    struct fm_settle train = { .at_least = FM_REPLAY_MAX_STEPS }, val = train, again = train, known = { .at_least = 1 };
    assert_int_equal(fm_replay_init(r, &err), FM_OK);
    assert_int_equal(fm_replay_section(r, FM_SECTION_INIT, &err), FM_OK);
    assert_int_equal(fm_replay_section(r, FM_SECTION_TRAIN_FIRST, &err), FM_OK);
    assert_int_equal(fm_replay_settle(r, FM_SECTION_TRAIN, &known, &err), FM_OK);
    assert_int_equal(fm_replay_settle(r, FM_SECTION_TRAIN, &train, &err), FM_OK);
    assert_int_equal(fm_replay_section(r, FM_SECTION_VAL_FIRST, &err), FM_OK);
    assert_int_equal(fm_replay_settle(r, FM_SECTION_VAL, &val, &err), FM_OK);
    assert_int_equal(fm_replay_section(r, FM_SECTION_VAL_EXIT, &err), FM_OK);
    bool knows = fm_settle_knows(&known, r);
    assert_int_equal(fm_replay_settle(r, FM_SECTION_TRAIN, &again, &err), FM_OK);
    fm_replay_release(r);
    return knows;
}

/* what the planner leaves out because training was in that state before would not have raised a peak */
static void known_states_are_left_out(void **state)
{
    (void)state;
    long knew[2] = { 0 };
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fm_program p = { 0 };
        struct fm_planner planner = { 0 };
        struct fm_plan plan;
        struct fm_err err = { 0 };
        fm_program_begin(&p, FM_SECTION_INIT);
        (void)alloc(&p, "weight", FM_STORAGE_PARAMETER, 3 * MIB);
        uint32_t kept = storage(&p, "kept", FM_STORAGE_INPUT, 2 * MIB), kept_val = storage(&p, "kept", FM_STORAGE_INPUT, MIB);
        random_section(&p, FM_SECTION_TRAIN_FIRST, seed, kept, false);
        random_section(&p, FM_SECTION_TRAIN, seed, kept, true);
        random_section(&p, FM_SECTION_VAL_FIRST, seed + 1000, kept_val, false);
        random_section(&p, FM_SECTION_VAL, seed + 1000, kept_val, true);
        random_section(&p, FM_SECTION_VAL_EXIT, seed + 1000, kept_val, true);
        finish(&p);
        assert_int_equal(fm_planner_run(&planner, &p, NULL, INT64_MAX, &plan, &err), FM_OK);
        int64_t train_bytes = plan.train.counted_bytes, val_bytes = plan.val.counted_bytes;
        assert_int_equal(fm_plan_least_bytes(&p, NULL), train_bytes > val_bytes ? train_bytes : val_bytes);
        fm_allocator_clear(&planner.allocator);
        struct fm_replay r = { .program = &p, .allocator = &planner.allocator };
        knew[whole_probe(&r)]++;
        /* where the state never repeats in 8 steps, more steps can raise a peak */
        if (plan.train_steps < FM_REPLAY_MAX_STEPS && plan.val_steps < FM_REPLAY_MAX_STEPS) {
            assert_memory_equal(&plan.train, &r.peak[0], offsetof(struct fm_peak, instr));
            assert_memory_equal(&plan.val, &r.peak[1], offsetof(struct fm_peak, instr));
        }
        fm_program_release(&p);
        fm_planner_release(&planner);
    }
    assert_true(knew[0] > 5 && knew[1] > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peaks_by_arithmetic),           cmocka_unit_test(workspaces_retreat),
        cmocka_unit_test(choices_stay_until_they_do_not_fit),
        cmocka_unit_test(timed_in_what_fits),
        cmocka_unit_test(answers_that_are_none),         cmocka_unit_test(settled_when_everyone_is_home),
        cmocka_unit_test(at_least_so_many_steps),        cmocka_unit_test(known_states_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
