/* A new run against an earlier one: what is worse, what only might be, and that noise alone is neither. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "results/compare.h"
#include "tests/results/support_journal.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define CELLS 8
#define LAUNCHES 5
#define NIGHTS 20

struct cell_text {
    const char *outcome;        /* of the verdict; NULL: no cell */
    int max_batch, peak_mib;
    double step_ms[LAUNCHES];   /* a launch each, 0 ends */
    bool uncertified, learned_not;
    bool shared;                /* others used the device while it was timed, or kept it from being */
};

struct run_text {
    const char *library, *name, *tool;
    struct cell_text cell[CELLS];
    int cells;
};

static void write_cell(struct fm_buf *out, int id, const struct cell_text *c)
{
    if (!c->outcome) return;
    fm_buf_printf(out, "{'kind':'cell','v':1,'id':'c%d','train_id':'t%d','device':'cpu','workload':'w','set':{},'strategies':{},"
                  "'model_id':'m','changes_model':[],'parameters':7,'flops_per_sample':10}\n", id, id);
    if (c->shared && !(c->step_ms[0] > 0))
        fm_buf_printf(out, "{'kind':'row','v':1,'cell':'c%d','batch':%d,'val_batch':0,'phase':'train','role':'boundary','launch':1,"
                      "'outcome':'ok','untimed':'other (pid 4)','measured':{'reserved_bytes':%lld}}\n", id, c->max_batch, (long long)c->peak_mib << 20);
    for (int l = 0; l < LAUNCHES && c->step_ms[l] > 0; l++)
        fm_buf_printf(out, "{'kind':'row','v':1,'cell':'c%d','batch':%d,'val_batch':0,'phase':'train','role':'boundary','launch':%d,"
                      "'outcome':'ok',%s'measured':{'reserved_bytes':%lld,'step_ns':[%.0f]}}\n", id, c->max_batch, l + 1,
                      c->shared && l == 0 ? "'shared':true," : "", (long long)c->peak_mib << 20, c->step_ms[l] * 1e6);
    fm_buf_printf(out, "{'kind':'verdict','v':1,'cell':'c%d','outcome':'%s','max_batch':{'train':%d,'val':0},'certified':%s,"
                  "'mistrusted':%s}\n", id, c->outcome, c->max_batch, c->uncertified ? "false" : "true", c->learned_not ? "true" : "false");
}

struct run { struct fm_records records; struct fm_result result; };

static void make(const struct run_text *text, struct run *run)
{
    struct fm_buf out = FM_BUF(1 << 20);
    struct fm_err err = { 0 };
    fm_buf_printf(&out, "{'kind':'run','v':1,'tool':'%s','seed':'1','devices':[{'id':'cpu','name':'%s','library':'%s','threads':2}]}\n",
                  text->tool ? text->tool : "1", text->name ? text->name : "X", text->library ? text->library : "L");
    for (int i = 0; i < text->cells; i++) write_cell(&out, i, &text->cell[i]);
    assert_true(fm_buf_ok(&out));
    fm_test_records(fm_buf_text(&out), &run->records);
    if (fm_result_fold(&run->records, &run->result, &err) != FM_OK) fail_msg("%s", err.text);
    fm_buf_release(&out);
}

static void end(struct run *run)
{
    fm_result_release(&run->result);
    fm_records_release(&run->records);
}

static const struct fm_compare_limits limits = { .max_slowdown = 0.05, .max_memory_growth = 0.02 };

struct judged { enum fm_change all, figure; uint32_t worse; size_t differences; };

/* one comparison; figure: the verdict of `what`, of the first cell */
static struct judged judge(const struct run_text *was, const struct run_text *is, const char *what, const struct fm_compare_limits *l)
{
    struct run a, b;
    struct fm_comparison c;
    struct judged out = { .figure = FM_CHANGE_INCOMPARABLE };
    make(was, &a), make(is, &b);
    assert_int_equal(fm_compare(&a.result, &b.result, l, &c, NULL), FM_OK);
    for (size_t i = c.count; i-- > 0;)
        if (strcmp(c.item[i].what, what) == 0) out.figure = c.item[i].change;
    out.all = c.change;
    out.worse = c.worse;
    out.differences = c.differences;
    struct fm_buf text = FM_BUF(1 << 20), json = FM_BUF(1 << 20);
    assert_int_equal(fm_comparison_text(&c, &text, NULL), FM_OK);
    assert_int_equal(fm_comparison_json(&c, &json, NULL), FM_OK);
    assert_non_null(strstr(fm_buf_text(&text), fm_change_name(c.change)));
    cJSON *read = cJSON_Parse(fm_buf_text(&json));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(read, "figures")), c.count);
    cJSON_Delete(read);
    fm_buf_release(&text), fm_buf_release(&json);
    fm_comparison_release(&c);
    end(&a), end(&b);
    return out;
}

#define STEADY { 100, 101, 99 }
static const struct run_text base = { .cells = 1, .cell = { { "ok", 8, 1000, STEADY, false, false, false } } };

static void test_cases(void **state)
{
    static const struct { const char *name; struct cell_text is; const char *what; enum fm_change figure, all; } rows[] = {
        { "equal", { "ok", 8, 1000, STEADY, 0, 0, 0 }, "samples/s", FM_CHANGE_SAME, FM_CHANGE_SAME },
        { "4 % slower", { "ok", 8, 1000, { 104, 105, 103 }, 0, 0, 0 }, "samples/s", FM_CHANGE_SAME, FM_CHANGE_SAME },
        { "20 % slower", { "ok", 8, 1000, { 125, 126, 124 }, 0, 0, 0 }, "samples/s", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
        { "6 % slower, within noise", { "ok", 8, 1000, { 106.5, 113, 100 }, 0, 0, 0 }, "samples/s", FM_CHANGE_UNDECIDED, FM_CHANGE_UNDECIDED },
        { "one launch", { "ok", 8, 1000, { 100 }, 0, 0, 0 }, "samples/s", FM_CHANGE_UNDECIDED, FM_CHANGE_UNDECIDED },
        { "20 % faster", { "ok", 8, 1000, { 80, 81, 79 }, 0, 0, 0 }, "samples/s", FM_CHANGE_BETTER, FM_CHANGE_BETTER },
        { "1 % more memory", { "ok", 8, 1010, STEADY, 0, 0, 0 }, "peak", FM_CHANGE_SAME, FM_CHANGE_SAME },
        { "3 % more memory", { "ok", 8, 1030, STEADY, 0, 0, 0 }, "peak", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
        { "3 % less memory", { "ok", 8, 970, STEADY, 0, 0, 0 }, "peak", FM_CHANGE_BETTER, FM_CHANGE_BETTER },
        { "smaller batch", { "ok", 7, 1000, STEADY, 0, 0, 0 }, "max batch", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
        { "out of memory", { "oom_device", 0, 0, { 0 }, 0, 0, 0 }, "outcome", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
        { "not certified", { "ok", 8, 1000, STEADY, true, 0, 0 }, "outcome", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
        { "mistrusted", { "ok", 8, 1000, STEADY, 0, true, 0 }, "outcome", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
        /* slower or faster: who else used the device is not known to be the same */
        { "20 % slower, shared", { "ok", 8, 1000, { 125, 126, 124 }, 0, 0, true }, "samples/s", FM_CHANGE_INCOMPARABLE, FM_CHANGE_SAME },
        { "20 % faster, shared", { "ok", 8, 1000, { 80, 81, 79 }, 0, 0, true }, "samples/s", FM_CHANGE_INCOMPARABLE, FM_CHANGE_SAME },
        { "3 % more memory, shared", { "ok", 8, 1030, STEADY, 0, 0, true }, "peak", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
        { "not timed for others", { "ok", 8, 1000, { 0 }, 0, 0, true }, "samples/s", FM_CHANGE_UNDECIDED, FM_CHANGE_UNDECIDED },
        { "missing", { 0 }, "outcome", FM_CHANGE_WORSE, FM_CHANGE_WORSE },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct run_text is = { .cells = 1, .cell = { rows[i].is } };
        struct judged j = judge(&base, &is, rows[i].what, &limits);
        if (j.figure != rows[i].figure || j.all != rows[i].all)
            fail_msg("%s: %s, in all %s", rows[i].name, fm_change_name(j.figure), fm_change_name(j.all));
    }
    assert_int_equal(fm_memory_live, 0);
}

static void test_devices(void **state)
{
    (void)state;
    struct run_text other = base;
    other.library = "L 2", other.tool = "2";                /* what a comparison is for */
    struct judged j = judge(&base, &other, "samples/s", &limits);
    assert_int_equal(j.all, FM_CHANGE_SAME);
    assert_int_equal(j.differences, 2);
    other.name = "Y";                                       /* another machine says nothing */
    j = judge(&base, &other, "outcome", &limits);
    assert_int_equal(j.figure, FM_CHANGE_INCOMPARABLE);
    assert_int_equal(j.all, FM_CHANGE_INCOMPARABLE);
    struct run_text bad = base;                             /* what was broken before can only get better */
    bad.cell[0].outcome = "crash";
    assert_int_equal(judge(&bad, &bad, "outcome", &limits).all, FM_CHANGE_INCOMPARABLE);
    assert_int_equal(judge(&bad, &base, "outcome", &limits).all, FM_CHANGE_BETTER);
}

/* Noise moves the knee to a batch that the other run launched once: what both launched often enough still decides. */
static void test_moved_knee(void **state)
{
#define POINT(batch, launch, ms) "{'kind':'row','v':1,'cell':'c','batch':" #batch ",'val_batch':0,'phase':'train','role':'ladder','launch':" #launch \
        ",'outcome':'ok','measured':{'reserved_bytes':" #batch "000,'step_ns':[" #ms "000000]}}\n"
    static const char head[] = "{'kind':'run','v':1,'tool':'1','devices':[{'id':'cpu','name':'X'}]}\n{'kind':'cell','v':1,'id':'c','train_id':'t',"
        "'device':'cpu','workload':'w','set':{},'strategies':{},'model_id':'m','changes_model':[],'parameters':7,'flops_per_sample':10}\n";
    static const char tail[] = "{'kind':'verdict','v':1,'cell':'c','outcome':'ok','max_batch':{'train':8,'val':0},'certified':true}\n";
    static const char max[] = POINT(8, 1, 800) POINT(8, 2, 801);
    static const char *const points[2] = { POINT(2, 1, 205) POINT(2, 2, 206) POINT(4, 1, 430), POINT(2, 1, 230) POINT(4, 1, 405) POINT(4, 2, 406) };
    struct run run[2];
    struct fm_comparison c;
    (void)state;
    for (int i = 0; i < 2; i++) {
        char text[4096];
        (void)snprintf(text, sizeof text, "%s%s%s%s", head, max, points[i], tail);
        fm_test_records(text, &run[i].records);
        assert_int_equal(fm_result_fold(&run[i].records, &run[i].result, NULL), FM_OK);
    }
    assert_int_equal(run[0].result.points[run[0].result.cells[0].knee].batch, 2);
    assert_int_equal(run[1].result.points[run[1].result.cells[0].knee].batch, 4);
    assert_int_equal(fm_compare(&run[0].result, &run[1].result, &limits, &c, NULL), FM_OK);
    assert_int_equal(c.change, FM_CHANGE_SAME);
    fm_comparison_release(&c);
    end(&run[0]), end(&run[1]);
}

static struct fm_night_error nights(void *context, const struct fm_result_cell *cell, int64_t batch)
{
    (void)cell;
    assert_int_equal(batch, 8);
    return *(struct fm_night_error *)context;
}

static void test_history(void **state)
{
    struct fm_night_error error = FM_NIGHT_ERROR_UNKNOWN;
    struct fm_compare_limits l = limits;
    struct run_text is = base;
    (void)state;
    for (int i = 0; i < 3; i++) is.cell[0].step_ms[i] *= 1.12;
    l.night_error = nights;
    l.context = &error;
    /* how much nights move is assumed, and could be all of it */
    assert_int_equal(judge(&base, &is, "samples/s", &limits).figure, FM_CHANGE_UNDECIDED);
    assert_int_equal(judge(&base, &is, "samples/s", &l).figure, FM_CHANGE_UNDECIDED);
    error = (struct fm_night_error){ 0.001, 18 };
    assert_int_equal(judge(&base, &is, "samples/s", &l).figure, FM_CHANGE_WORSE);
    error.error = 0.1;                                      /* it moves more than that in any night */
    assert_int_equal(judge(&base, &is, "samples/s", &l).figure, FM_CHANGE_UNDECIDED);
}

/* between the assumption and what is known, the nearer to it the more nights there were */
static void test_moderated(void **state)
{
    (void)state;
    struct fm_night_error none = fm_night_error_moderated(FM_NIGHT_ERROR_UNKNOWN);
    assert_true(none.error == FM_NIGHT_ERROR_ASSUMED && none.freedom == FM_NIGHT_FREEDOM_ASSUMED);
    for (double known = 0; known < 0.1; known += 0.007) {
        double last = none.error, freedom = none.freedom;
        for (double f = 1; f < 1e6; f *= 3) {
            struct fm_night_error m = fm_night_error_moderated((struct fm_night_error){ known, f });
            assert_true(fabs(m.error - known) <= fabs(last - known) && (m.error - known) * (none.error - known) >= 0);
            assert_true(m.freedom > freedom);
            last = m.error, freedom = m.freedom;
        }
        assert_true(fabs(last - known) < 1e-4);
    }
}

static struct run_text random_run(uint64_t seed, double noise, double slower)
{
    struct run_text run = { .cells = CELLS };
    for (int i = 0; i < CELLS; i++) {
        run.cell[i] = (struct cell_text){ .outcome = "ok", .max_batch = 8, .peak_mib = 1000 };
        for (int l = 0; l < 3; l++)
            run.cell[i].step_ms[l] = 100 * (i ? 1 : 1 + slower) * exp(noise * fm_rng_normal(seed, 11, (uint64_t)(i * 3 + l)));
    }
    return run;
}

/* Noise alone raises no alarm, at the limit itself it does in at most 2.5 % of all comparisons, and a real slowdown is found. */
static void test_alarms(void **state)
{
    int noise = 0, at_limit = 0, found = 0;
    const int runs = 400;
    struct fm_compare_limits strict = limits;
    strict.max_slowdown = 0;
    (void)state;
    for (uint64_t seed = 0; seed < (uint64_t)runs; seed++) {
        struct run_text a = random_run(2 * seed, 0.02, 0), b = random_run(2 * seed + 1, 0.02, 0), c = random_run(2 * seed + 1, 0.01, 0.3);
        noise += judge(&a, &b, "samples/s", &limits).worse > 0;
        at_limit += judge(&a, &b, "samples/s", &strict).worse > 0;
        found += judge(&a, &c, "samples/s", &limits).worse > 0;
    }
    assert_in_range(noise, 0, runs / 100);
    assert_in_range(at_limit, 0, runs * 8 / 100);           /* 2.5 %, and the bootstrap's own error with 3 launches */
    assert_in_range(found, runs * 7 / 10, runs);
}

/* Runs of one and the same build in nights that move, all cells together and each for itself. */
static struct run_text night_run(uint64_t seed, double moves, double slower)
{
    struct run_text run = { .cells = CELLS / 2 };
    double common = moves * sqrt(0.5) * fm_rng_normal(seed, 12, 0);
    for (int i = 0; i < run.cells; i++) {
        double own = moves * sqrt(0.5) * fm_rng_normal(seed, 13, (uint64_t)i);
        run.cell[i] = (struct cell_text){ .outcome = "ok", .max_batch = 8, .peak_mib = 1000 };
        for (int l = 0; l < LAUNCHES; l++)
            run.cell[i].step_ms[l] = 100 * (1 + slower) * exp(common + own + 0.01 * fm_rng_normal(seed, 14, (uint64_t)(i * LAUNCHES + l)));
    }
    return run;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct known_nights { double rate[CELLS][NIGHTS + 1]; size_t count; };

static void remember(struct known_nights *known, const struct run_text *night)
{
    for (int i = 0; i < night->cells; i++) {
        double ms[LAUNCHES];
        memcpy(ms, night->cell[i].step_ms, sizeof ms);
        qsort(ms, LAUNCHES, sizeof *ms, ascending);
        known->rate[i][known->count] = 1 / ms[LAUNCHES / 2];
    }
    known->count++;
}

static struct fm_night_error known_error(void *context, const struct fm_result_cell *cell, int64_t batch)
{
    const struct known_nights *known = context;
    struct fm_trend trend;
    (void)batch;
    assert_int_equal(fm_trend_of(known->rate[cell->id[1] - '0'], known->count, false, 1, &trend, NULL), FM_OK);
    return trend.night_error;
}

struct series { int alarmed, first, last; };

/* `series` times: a base, then twenty nights of the same build, each added to the history; then one that is a quarter slower,
 * in the first night and in the last */
static struct series simulate(double moves, int series, uint64_t seed)
{
    struct series out = { 0 };
    for (int s = 0; s < series; s++, seed += 100) {
        struct known_nights known = { .count = 0 };
        struct fm_compare_limits l = limits;
        struct run_text first = night_run(seed, moves, 0), slow = night_run(seed + 90, moves, 0.25);
        uint32_t worse = 0;
        l.night_error = known_error;
        l.context = &known;
        remember(&known, &first);
        out.first += judge(&first, &slow, "samples/s", &l).all == FM_CHANGE_WORSE;
        for (uint64_t night = 1; night <= NIGHTS; night++) {
            struct run_text is = night_run(seed + night, moves, 0);
            worse += judge(&first, &is, "samples/s", &l).worse;
            remember(&known, &is);
        }
        out.alarmed += worse > 0;
        out.last += judge(&first, &slow, "samples/s", &l).all == FM_CHANGE_WORSE;
    }
    return out;
}

/* A machine that is 2 or 3 % faster or slower each night raises no alarm, from the first night on, though launches of one
 * night agree within 1 %; and what a build loses is found all the same. */
static void test_nights(void **state)
{
    const int few = 4, series = 15;
    (void)state;
    struct series quiet = simulate(0.005, few, 1000), usual = simulate(0.02, series, 10000), wild = simulate(0.03, series, 20000);
    print_message("of %d series of %d nights alarmed: %d where nights move by 2 %%, %d by 3 %%; 25 %% slower was found %d, %d times\n", series,
                  NIGHTS, usual.alarmed, wild.alarmed, usual.first, usual.last);
    assert_int_equal(quiet.alarmed, 0);
    assert_in_range(usual.alarmed, 0, 1);
    assert_in_range(wild.alarmed, 0, 2);                    /* without the assumption it is a third of them */
    assert_int_equal(quiet.first, few);
    assert_int_equal(quiet.last, few);
    assert_in_range(usual.first, series * 8 / 10, series);
    assert_in_range(usual.last, series * 8 / 10, series);
}

static void test_student(void **state)
{
    (void)state;
    for (double t = -30; t <= 30; t += 0.37) {
        assert_true(fabs(fm_student_cdf(t, 1) - (0.5 + atan(t) / 3.14159265358979323846)) < 1e-12);
        assert_true(fabs(fm_student_cdf(t, 2) - (0.5 + t / (2 * sqrt(2 + t * t)))) < 1e-12);
        assert_true(fabs(fm_student_cdf(t, 3.7) + fm_student_cdf(-t, 3.7) - 1) < 1e-12);
        assert_true(fabs(fm_student_cdf(t, 1e7) - erfc(-t / sqrt(2)) / 2) < 1e-6);
    }
    for (double n = 1; n < 60; n++) assert_true(fabs(fm_student_cdf(fm_student_975(n), n) - 0.975) < 1e-5);
    assert_true(fm_student_cdf(INFINITY, 4) == 1 && fm_student_cdf(-INFINITY, 4) == 0 && isnan(fm_student_cdf(NAN, 4)));
}

static void test_limits_and_faults(void **state)
{
    struct run a, b;
    struct fm_comparison c;
    struct fm_compare_limits l = limits;
    (void)state;
    make(&base, &a), make(&base, &b);
    l.max_slowdown = 1;
    assert_int_equal(fm_compare(&a.result, &b.result, &l, &c, NULL), FM_INVALID);
    l = limits;
    l.max_memory_growth = NAN;
    assert_int_equal(fm_compare(&a.result, &b.result, &l, &c, NULL), FM_INVALID);
    long before = fm_memory_live;
    for (long n = 0;; n++) {
        struct fm_buf text = FM_BUF(1 << 20);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_compare(&a.result, &b.result, &limits, &c, NULL);
        if (status == FM_OK) status = fm_comparison_text(&c, &text, NULL);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_comparison_release(&c);
        fm_buf_release(&text);
        assert_int_equal(fm_memory_live, before);
        if (!hits) {
            assert_int_equal(status, FM_OK);
            break;
        }
        assert_int_equal(status, FM_NOMEM);
    }
    end(&a), end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases), cmocka_unit_test(test_devices), cmocka_unit_test(test_moved_knee),
        cmocka_unit_test(test_history), cmocka_unit_test(test_moderated), cmocka_unit_test(test_alarms),
        cmocka_unit_test(test_nights),
        cmocka_unit_test(test_student), cmocka_unit_test(test_limits_and_faults),
    };
    return cmocka_run_group_tests_name("compare", tests, NULL, NULL);
}
