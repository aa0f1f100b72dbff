/* The fold on synthetic journals whose answers are known in closed form; broken records; faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "results/fold.h"
#include "results/table.h"
#include "results/json.h"
#include "tests/results/support_journal.h"
#include "tuner/base/buf.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define MIB INT64_C(1048576)
#define HEAD "{'kind':'run','v':1,'tool':'t','seed':'5','devices':[{'id':'cpu','name':'x'}]}\n"
#define CELL(id, train, model, changes, strategies)                                                                          \
    "{'kind':'cell','v':1,'id':'" id "','train_id':'" train "','device':'cpu','workload':'w','set':{},'strategies':{"        \
    strategies "},'model_id':'" model "','changes_model':[" changes "],'parameters':7,'flops_per_sample':10}\n"
#define ROW(cell, batch, val_batch, phase, launch, outcome, rest)                                                            \
    "{'kind':'row','v':1,'cell':'" cell "','batch':" #batch ",'val_batch':" #val_batch ",'phase':'" phase                     \
    "','role':'r','launch':" #launch ",'outcome':'" outcome "'" rest "}\n"
#define RAN(reserved, steps) ",'measured':{'reserved_bytes':" #reserved ",'step_ns':[" steps "]}"
#define HELD(reserved) ",'measured':{'reserved_bytes':" #reserved "}"
#define VERDICT(cell, train, val)                                                                                            \
    "{'kind':'verdict','v':1,'cell':'" cell "','outcome':'ok','max_batch':{'train':" #train ",'val':" #val "},'certified':true}\n"

/* records and their fold */
struct folded {
    struct fm_records records;
    struct fm_result result;
};

static void fold(struct folded *f, const char *text)
{
    struct fm_err err = { 0 };
    fm_test_records(text, &f->records);
    if (fm_result_fold(&f->records, &f->result, &err) != FM_OK) fail_msg("%s", err.text);
}

static void release(struct folded *f)
{
    fm_result_release(&f->result);
    fm_records_release(&f->records);
}

static const struct fm_result_point *point_of(const struct fm_result *r, size_t cell, int64_t batch)
{
    for (size_t i = 0; i < r->cells[cell].points; i++) {
        const struct fm_result_point *p = &r->points[r->cells[cell].first_point + i];
        assert_int_equal(p->cell, cell);
        if (p->batch == batch) return p;
    }
    return NULL;
}

static void assert_near(double value, double want)
{
    if (!(fabs(value - want) <= 1e-9 * fabs(want))) fail_msg("%.17g is not %.17g", value, want);
}

static void test_throughput(void **state)
{
    (void)state;
    struct folded f;
    /* medians of launches 1, 2, 4 s: median 2 s; 3 batches of 4 samples a step */
    fold(&f, HEAD CELL("c", "t", "m", "", "'accumulate':'3'")
         ROW("c", 4, 0, "train", 1, "ok", RAN(100, "1000000000,900000000,5000000000"))
         ROW("c", 4, 0, "train", 2, "ok", RAN(90, "4000000000"))
         ROW("c", 4, 0, "train", 3, "ok", RAN(95, "1000000000,3000000000"))
         ROW("c", 8, 0, "train", 1, "oom_device", RAN(200, "1")) ROW("c", 2, 0, "train", 1, "nonfinite", RAN(50, "1"))
         ROW("c", 3, 0, "train", 1, "ok", HELD(70)) VERDICT("c", 4, 0));
    assert_int_equal(f.result.cells[0].points, 1);
    const struct fm_result_point *p = point_of(&f.result, 0, 4);
    assert_near(p->samples_per_s.point, 6);
    assert_int_equal(p->samples_per_s.launches, 3);
    assert_true(p->samples_per_s.interval_known && p->samples_per_s.lo < 6 && p->samples_per_s.hi > 6);
    assert_int_equal(p->peak_lo_bytes, 100);
    assert_int_equal(p->peak_hi_bytes, 100);
    assert_int_equal(p->planned_peak_bytes, -1);
    assert_int_equal(f.result.cells[0].knee, 0);
    assert_int_equal(f.result.cells[0].rank, 1);
    assert_near(f.result.cells[0].relative_speed, 1);
    assert_true(f.result.cells[0].front.member);
    assert_int_equal(f.result.rows[0].point, 0);
    assert_true(f.result.rows[3].point == FM_NO_POINT);
    release(&f);
}

/* what a cell with more validation took bounds the one with less */
static void test_peak_of_less_validation(void **state)
{
    static const struct { int64_t lo, hi; } want[] = { { 100, 100 }, { 100, 120 } };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char text[4096];
        struct folded f;
        (void)snprintf(text, sizeof text, "%s%s%s%s", HEAD CELL("a", "t", "m", "", "'val_batch':'same'") CELL("b", "t", "m", "", "'val_batch':'half'")
                       ROW("a", 4, 4, "train", 1, "ok", RAN(100, "1000000000")),
                       i ? ROW("a", 4, 4, "val", 1, "ok", HELD(120)) : ROW("a", 4, 4, "val", 1, "ok", HELD(90)),
                       ROW("b", 8, 4, "train", 1, "ok", RAN(200, "2000000000")) ROW("b", 8, 4, "val", 1, "ok", HELD(200)),
                       VERDICT("a", 8, 8) VERDICT("b", 8, 4));
        fold(&f, text);
        const struct fm_result_point *p = point_of(&f.result, 1, 4);
        assert_int_equal(p->peak_lo_bytes, want[i].lo);
        assert_int_equal(p->peak_hi_bytes, want[i].hi);
        assert_int_equal(point_of(&f.result, 0, 4)->peak_hi_bytes, want[i].hi);
        release(&f);
    }
}

/* a probe that was tried again counts by its last try; throttled steps do not count */
static void test_second_try_and_throttling(void **state)
{
    (void)state;
    struct folded f;
    fold(&f, HEAD CELL("c", "t", "m", "", "")
         ROW("c", 4, 0, "train", 1, "ok", RAN(100, "1000000000"))
         ROW("c", 4, 0, "train", 1, "ok", ",'measured':{'reserved_bytes':10,'step_ns':[9000000000,2000000000,7000000000],'throttled':[0,2]}")
         ROW("c", 2, 0, "train", 1, "ok", ",'measured':{'reserved_bytes':10,'step_ns':[9000000000],'throttled':[0]}"));
    assert_true(f.result.rows[0].superseded && !f.result.rows[1].superseded);
    assert_int_equal(f.result.point_count, 1);
    assert_near(f.result.points[0].samples_per_s.point, 2);
    assert_false(f.result.points[0].samples_per_s.interval_known);
    assert_int_equal(f.result.points[0].peak_hi_bytes, 10);
    assert_string_equal(f.result.cells[0].outcome, "unfinished");
    release(&f);
}

/* what the times of a point are worth: the worst that is known of its launches; and the table says it */
static void test_worth(void **state)
{
    (void)state;
    struct folded f;
    struct fm_buf text = FM_BUF(1 << 16);
    fold(&f, HEAD CELL("c", "t", "m", "", "") CELL("d", "u", "m", "", "") CELL("e", "v", "m", "", "")
         ROW("c", 4, 0, "train", 1, "ok", ",'shared':false,'measured':{'reserved_bytes':10,'step_ns':[1000000000,1000000000,4000000000],'throttled':[2]}")
         ROW("c", 4, 0, "train", 2, "ok", ",'shared':true,'measured':{'reserved_bytes':10,'step_ns':[1000000000],'throttled':[]}")
         ROW("d", 4, 0, "train", 1, "ok", RAN(10, "1000000000"))
         ROW("d", 4, 0, "train", 2, "ok", ",'shared':false,'measured':{'reserved_bytes':10,'step_ns':[1000000000],'throttled':[]}")
         ROW("e", 4, 0, "train", 1, "ok", ",'untimed':'another is there','measured':{'reserved_bytes':10}")
         ROW("e", 4, 0, "train", 2, "ok", ",'shared':false,'measured':{'reserved_bytes':10,'step_ns':[1000000000],'throttled':[0]}")
         VERDICT("c", 4, 0) VERDICT("d", 4, 0) VERDICT("e", 4, 0));
    assert_int_equal(f.result.point_count, 2);
    const struct fm_result_point *c = &f.result.points[0], *d = &f.result.points[1];
    assert_near(c->samples_per_s.point, 4);
    assert_near(c->throttled_share, 0.25);
    assert_int_equal(c->shared, 1);
    assert_true(isnan(d->throttled_share));
    assert_int_equal(d->shared, -1);
    assert_int_equal(fm_table_text(&f.result, &text, NULL), FM_OK);
    assert_non_null(strstr(fm_buf_text(&text), " † ‡"));
    assert_non_null(strstr(fm_buf_text(&text), "samples/s: † heat or power throttled some steps, which are left out, ‡ others used the device meanwhile\n"));
    assert_non_null(strstr(fm_buf_text(&text), "1 launch without a time: another is there"));
    assert_non_null(strstr(fm_buf_text(&text), "1 launch without a time: every timed step was throttled"));
    fm_buf_release(&text);
    release(&f);
}

/* training is shared, what a cell shows of its own validation is not */
static void test_shared_training(void **state)
{
    (void)state;
    struct folded f;
    fold(&f, HEAD CELL("a", "t", "m", "", "'val_batch':'same'") CELL("b", "t", "m", "", "'val_batch':'half'")
         CELL("n", "t", "m", "", "'val_batch':'max'") CELL("x", "u", "m", "", "")
         ROW("a", 8, 8, "train", 1, "ok", RAN(500, "1000000000")) ROW("a", 8, 8, "val", 1, "ok", HELD(900))
         ROW("a", 2, 2, "train", 1, "ok", RAN(200, "500000000")) ROW("a", 2, 2, "val", 1, "ok", HELD(150))
         ROW("a", 16, 16, "train", 1, "ok", RAN(950, "2000000000")) ROW("a", 16, 16, "val", 1, "oom_device", HELD(990))
         ROW("b", 16, 8, "train", 1, "ok", RAN(950, "2000000000")) ROW("b", 16, 8, "val", 1, "ok", HELD(700))
         ROW("b", 17, 8, "train", 1, "oom_device", HELD(999)) VERDICT("a", 8, 8) VERDICT("b", 16, 8));
    const struct fm_result *r = &f.result;
    assert_int_equal(r->cells[0].points, 2);
    assert_int_equal(r->cells[1].points, 3);
    assert_int_equal(r->cells[2].points, 0);        /* it has shown nothing of its own */
    assert_int_equal(r->cells[3].points, 0);
    assert_int_equal(point_of(r, 0, 8)->peak_hi_bytes, 900);
    assert_int_equal(point_of(r, 0, 2)->peak_hi_bytes, 200);
    assert_int_equal(point_of(r, 1, 16)->samples_per_s.launches, 2);
    assert_int_equal(point_of(r, 1, 16)->peak_lo_bytes, 950);
    assert_int_equal(point_of(r, 1, 16)->peak_hi_bytes, 950);
    /* b's validation at 8 was not run: at least training's 500, at most its 700 at batch 16 */
    assert_int_equal(point_of(r, 1, 8)->peak_lo_bytes, 500);
    assert_int_equal(point_of(r, 1, 8)->peak_hi_bytes, 700);
    assert_near(point_of(r, 1, 2)->samples_per_s.point, 4);
    release(&f);
}

/* where validation is searched alone, its misfit above says nothing against the training batch */
static void test_validation_searched_alone(void **state)
{
    (void)state;
    struct folded f;
    fold(&f, HEAD CELL("a", "t", "m", "", "")
         ROW("a", 8, 30, "train", 1, "ok", RAN(500, "1000000000")) ROW("a", 8, 30, "val", 1, "ok", HELD(900))
         ROW("a", 8, 31, "train", 1, "ok", RAN(500, "1000000000")) ROW("a", 8, 31, "val", 1, "oom_device", HELD(990))
         VERDICT("a", 8, 30));
    assert_int_equal(f.result.point_count, 1);
    assert_int_equal(f.result.points[0].peak_hi_bytes, 900);
    assert_int_equal(f.result.points[0].samples_per_s.launches, 2);
    release(&f);
}

/* below the largest batch its validation was not run: what was planned has bounds as what was measured has */
static void test_bounds_of_plans(void **state)
{
    (void)state;
#define PLANNED(bytes) ",'planned':{'reserved_bytes':" #bytes "}"
    struct folded f;
    fold(&f, HEAD CELL("a", "t", "m", "", "'val_batch':'max'")
         ROW("a", 4, 0, "train", 1, "ok", PLANNED(100) RAN(100, "1000000000"))
         ROW("a", 8, 0, "train", 1, "ok", PLANNED(500) RAN(500, "9000000000"))
         ROW("a", 8, 30, "train", 1, "ok", PLANNED(500) HELD(500)) ROW("a", 8, 30, "val", 1, "ok", PLANNED(900) HELD(900))
         VERDICT("a", 8, 30));
    const struct fm_result_point *below = point_of(&f.result, 0, 4), *top = point_of(&f.result, 0, 8);
    assert_int_equal(below->peak_lo_bytes, 100);
    assert_int_equal(below->peak_hi_bytes, 900);
    assert_int_equal(below->planned_lo_bytes, 100);
    assert_int_equal(below->planned_hi_bytes, 900);
    assert_int_equal(below->planned_peak_bytes, -1);
    assert_int_equal(top->planned_lo_bytes, 900);
    assert_int_equal(top->planned_hi_bytes, 900);
    assert_int_equal(top->planned_peak_bytes, 900);
    release(&f);
}

/* rate at batch b: b / (1 + b) within 5 % of the best at the knee; against the definition, by brute force */
static void test_knee(void **state)
{
    (void)state;
    for (int max = 1; max <= 64; max *= 2) {
        struct fm_buf text = FM_BUF(1 << 20);
        struct folded f;
        int knee = 0;
        fm_buf_puts(&text, HEAD CELL("c", "t", "m", "", ""));
        for (int b = max; b >= 1; b /= 2)
            fm_buf_printf(&text, ROW("c", %d, 0, "train", 1, "ok", ",'measured':{'reserved_bytes':%d,'step_ns':[%lld]}"), b, 100 + b,
                          1000000000LL + b * 1000000000LL);
        for (int b = max; b >= 1; b /= 2)
            if (b / (1.0 + b) >= 0.95 * max / (1.0 + max)) knee = b;
        fold(&f, fm_buf_text(&text));
        assert_int_equal(f.result.points[f.result.cells[0].knee].batch, knee);
        assert_int_equal(f.result.points[f.result.cells[0].best].batch, max);
        for (size_t i = 1; i < f.result.point_count; i++) assert_true(f.result.points[i - 1].batch < f.result.points[i].batch);
        release(&f);
        fm_buf_release(&text);
    }
}

static void test_campaign(void **state)
{
    (void)state;
    struct folded f;
    struct fm_err err = { 0 };
    const char *what;
    int64_t planned, counted;
    size_t differences = 0;
    fm_test_records_of("campaign.jsonl", &f.records);
    if (fm_result_fold(&f.records, &f.result, &err) != FM_OK) fail_msg("%s", err.text);
    const struct fm_result *r = &f.result;
    assert_int_equal(r->cell_count, 7);
    static const struct { int64_t max_train, max_val, knee, best; size_t rank; double speed, relative; const char *outcome; } want[] = {
        { 8, 8, 2, 4, 2, 4, 0.75, "ok" }, { 10, 5, 2, 4, 2, 4, 0.75, "ok" }, { 16, 16, 16, 16, 1, 16 / 3.0, 1, "ok" },
        { 8, 8, 8, 8, 1, 8, 1.5, "ok" }, { -1, -1, -1, -1, 0, NAN, NAN, "unsupported" },
        { -1, -1, -1, -1, 0, NAN, NAN, "skipped" }, { -1, -1, -1, -1, 0, NAN, NAN, "untested" },
    };
    for (size_t i = 0; i < r->cell_count; i++) {
        const struct fm_result_cell *c = &r->cells[i];
        assert_int_equal(c->max_train, want[i].max_train);
        assert_int_equal(c->max_val, want[i].max_val);
        assert_int_equal(c->knee == FM_NO_POINT ? -1 : r->points[c->knee].batch, want[i].knee);
        assert_int_equal(c->best == FM_NO_POINT ? -1 : r->points[c->best].batch, want[i].best);
        assert_int_equal(c->rank, want[i].rank);
        assert_string_equal(c->outcome, want[i].outcome);
        if (c->knee != FM_NO_POINT) assert_near(r->points[c->knee].samples_per_s.point, want[i].speed);
        if (c->rank) assert_near(c->relative_speed, want[i].relative);
        else assert_true(isnan(c->relative_speed));
    }
    assert_int_equal(point_of(r, 0, 8)->peak_hi_bytes, 1792 * MIB);
    assert_int_equal(point_of(r, 0, 8)->planned_peak_bytes, 1792 * MIB);
    for (size_t i = 0; i < r->row_count; i++)
        if (fm_result_differs(r, &r->rows[i], &what, &planned, &counted)) {
            differences++;
            assert_int_equal(counted - planned, 4096);
        }
    assert_int_equal(differences, 1);
    assert_int_equal(r->cells[6].suspects, 1);
    assert_false(r->complete);
    assert_string_equal(fm_json_text(fm_result_device(r, "cpu"), "isa"), "avx512_core_bf16");
    assert_null(fm_result_device(r, "cuda:0"));
    release(&f);
}

static void test_runs(void **state)
{
    (void)state;
    struct folded f;
    fold(&f, HEAD "{'kind':'end','v':1,'wall_ns':100,'measured_ns':70,'interrupted':true}\n{'kind':'resume','v':1}\n"
         "{'kind':'novelty','v':1}\n{'kind':'end','v':1,'wall_ns':10,'measured_ns':9}\n");
    assert_true(f.result.complete);
    assert_int_equal(f.result.wall_ns, 110);
    assert_int_equal(f.result.measured_ns, 79);
    assert_int_equal(f.result.overhead_ns, -1);
    release(&f);
    fold(&f, HEAD "{'kind':'end','v':1,'interrupted':true}\n");
    assert_false(f.result.complete);
    release(&f);
    /* one cell on two devices: records say which */
    fold(&f, HEAD CELL("c", "t", "m", "", "")
         "{'kind':'cell','v':1,'id':'c','train_id':'t','device':'gpu','workload':'w','set':{},'strategies':{},'model_id':'m','changes_model':[]}\n"
         "{'kind':'verdict','v':1,'cell':'c','device':'gpu','outcome':'ok','max_batch':{'train':9}}\n");
    assert_int_equal(f.result.cells[0].max_train, -1);
    assert_int_equal(f.result.cells[1].max_train, 9);
    assert_int_equal(f.result.cells[1].max_val, -1);
    release(&f);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct { const char *text, *message; } cases[] = {
        { "", "empty" },
        { "{'kind':'end','v':1}\n", "does not begin with a run" },
        { "{'kind':'run','v':1}\n", "'tool' is missing" },
        { "{'kind':'run','v':1,'tool':'t','seed':'18446744073709551616'}\n", "'seed' is no integer" },
        { HEAD VERDICT("c", 1, 1), "record 2 (verdict): cell c was not described before" },
        { HEAD "{'kind':'cell','v':1,'id':'c'}\n", "'train_id' is missing" },
        { HEAD CELL("c", "t", "m", "", "'accumulate':'none'"), "accumulate" },
        { HEAD CELL("c", "t", "m", "", "") CELL("c", "t", "n", "", ""), "described otherwise" },
        { HEAD CELL("c", "t", "m", "", "") ROW("c", -4, 0, "train", 1, "ok", ""), "'batch'" },
        { HEAD CELL("c", "t", "m", "", "") ROW("c", 4.5, 0, "train", 1, "ok", ""), "'batch'" },
        { HEAD CELL("c", "t", "m", "", "") ROW("c", 4, 0, "test", 1, "ok", ""), "phase 'test'" },
        { HEAD CELL("c", "t", "m", "", "") ROW("c", 4, 0, "val", 1, "fine", ""), "record 3 (row): unknown outcome 'fine'" },
        { HEAD CELL("c", "t", "m", "", "") ROW("c", 4, 0, "train", 1, "ok", RAN(1, "5,-5")), "cell c: batch 4: step_ns[1]" },
        { HEAD CELL("c", "t", "m", "", "") ROW("c", 4, 0, "train", 1, "ok", RAN(1, "5,'a'")), "step_ns[1]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fm_records records;
        struct fm_result result;
        struct fm_err err = { 0 };
        long live = fm_memory_live;
        fm_test_records(cases[i].text, &records);
        assert_int_equal(fm_result_fold(&records, &result, &err), FM_INVALID);
        if (!strstr(err.text, cases[i].message)) fail_msg("'%s' does not say '%s'", err.text, cases[i].message);
        fm_records_release(&records);
        assert_int_equal(fm_memory_live, live);
    }
}

/* the n-th member or item below an object, and what holds it */
static cJSON *pick(cJSON *item, size_t *n, cJSON **parent)
{
    for (cJSON *child = item->child; child; child = child->next) {
        if ((*n)-- == 0) {
            *parent = item;
            return child;
        }
        cJSON *found = pick(child, n, parent);
        if (found) return found;
    }
    return NULL;
}

/* records with fields taken out or made something else: folded or refused, never a crash, and nothing leaks */
static void test_mutations(void **state)
{
    (void)state;
    size_t refused = 0, folded = 0;
    long live = fm_memory_live;
    struct fm_records records;
    fm_test_records_of("campaign.jsonl", &records);
    for (uint64_t seed = 0; seed < 3000; seed++) {
        static const char *const values[] = { "null", "-1", "1e300", "\"\"", "[]", "{}", "true", "\"bbbbbbbbbbbbbbbb\"", "0" };
        uint64_t r = fm_rng_u64(seed, 3, 0);
        struct fm_result result;
        cJSON **slot = &records.item[r % records.count], *whole = *slot, *parent = NULL;
        size_t n = (r >> 20) % 40;
        *slot = cJSON_Duplicate(whole, true);
        cJSON *victim = pick(*slot, &n, &parent);
        if (victim && (r >> 50) % 3 == 0)
            cJSON_Delete(cJSON_DetachItemViaPointer(parent, victim));
        else if (victim && cJSON_IsObject(parent))
            assert_true(cJSON_ReplaceItemInObjectCaseSensitive(parent, victim->string, cJSON_Parse(values[(r >> 40) % 9])));
        if (fm_result_fold(&records, &result, NULL) == FM_OK) {
            folded++;
            fm_result_release(&result);
        } else {
            refused++;
        }
        cJSON_Delete(*slot);
        *slot = whole;
    }
    if (folded < 300 || refused < 100) fail_msg("%zu folded, %zu refused", folded, refused);
    fm_records_release(&records);
    assert_int_equal(fm_memory_live, live);
}

static void test_faults(void **state)
{
    (void)state;
    struct fm_records records;
    long n = 0;
    fm_test_records_of("campaign.jsonl", &records);
    for (bool clean = false; !clean; n++) {
        struct fm_result result;
        long live = fm_memory_live;
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_result_fold(&records, &result, NULL);
        clean = fm_fault.hits == 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status, clean ? FM_OK : FM_NOMEM);
        fm_result_release(&result);
        assert_int_equal(fm_memory_live, live);
    }
    assert_true(n > 20);
    fm_records_release(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_throughput), cmocka_unit_test(test_peak_of_less_validation),
        cmocka_unit_test(test_second_try_and_throttling),
        cmocka_unit_test(test_worth),
        cmocka_unit_test(test_shared_training), cmocka_unit_test(test_validation_searched_alone),
        cmocka_unit_test(test_bounds_of_plans), cmocka_unit_test(test_knee), cmocka_unit_test(test_campaign), cmocka_unit_test(test_runs),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_mutations), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests_name("fold", tests, NULL, NULL);
}
