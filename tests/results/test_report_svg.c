/* The chart: well-formed, and each mark where its figures are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "results/report_svg.h"
#include "tests/results/support_journal.h"
#include "tests/results/support_xml.h"
#include "tuner/base/memory.h"

#define MAX ((size_t)1 << 22)

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what)) n++;
    return n;
}

static void of_text(const char *journal, struct fm_records *records, struct fm_result *result)
{
    struct fm_err err = { 0 };
    fm_test_records(journal, records);
    if (fm_result_fold(records, result, &err) != FM_OK) fail_msg("%s", err.text);
}

#define HEAD "{'kind':'run','v':1,'tool':'1','devices':[{'id':'cpu','name':'X <&> \\\"Y\\\"'}]}\n"
#define CELL(id, precision, model, changes)                                                                                             \
    "{'kind':'cell','v':1,'id':'" id "','train_id':'" id "','device':'cpu','workload':'a<b>&c','set':{},'strategies':{'precision':'" \
    precision "'},'model_id':" model ",'changes_model':[" changes "],'parameters':7,'flops_per_sample':10}\n"
#define VERDICT(cell, rest) "{'kind':'verdict','v':1,'cell':'" cell "','outcome':'ok','max_batch':{'train':8,'val':0}," rest "}\n"
#define ROW(cell, batch, launch, bytes, ns)                                                                                          \
    "{'kind':'row','v':1,'cell':'" cell "','batch':" batch ",'val_batch':0,'phase':'train','role':'ladder','launch':" launch ",'outcome':'ok'," \
    "'wall_ns':1500000000,'planned':{'reserved_bytes':" bytes "},'measured':{'reserved_bytes':" bytes ",'step_ns':[" ns "]}}\n"
#define PLAN(cell, batch, bytes, fits)                                                                                                \
    "{'kind':'row','v':1,'cell':'" cell "','batch':" batch ",'val_batch':0,'phase':'train','role':'plan','launch':1,'outcome':'planned'," \
    "'planned':{'reserved_bytes':" bytes ",'fits':" fits "}}\n"

static const char journal[] = HEAD CELL("one", "fp32", "'m'", "") CELL("two", "bf16", "'m'", "") CELL("half", "fp32", "'n'", "'channels'") CELL("plan", "fp16", "'m'", "")
    ROW("one", "4", "1", "400000000", "1000000000") ROW("one", "4", "2", "400000000", "1100000000") ROW("one", "8", "1", "800000000", "1500000000")
    ROW("two", "4", "1", "300000000", "500000000") ROW("half", "4", "1", "200000000", "250000000") PLAN("plan", "2", "123456789", "true")
    PLAN("plan", "3", "999999999999", "false") VERDICT("one", "'certified':true") VERDICT("two", "'certified':true")
    VERDICT("half", "'certified':true");

/* the value of an attribute behind `at`, within the same tag */
static double number(const char *at, const char *name)
{
    char key[64];
    (void)snprintf(key, sizeof key, " %s=\"", name);
    const char *value = strstr(at, key), *end = strchr(at, '>');
    if (!value || value > end) fail_msg("no %s in %.60s", name, at);
    return strtod(value + strlen(key), NULL);
}

static bool close_to(double a, double b)
{
    return fabs(a - b) < 0.01;
}

static void check_panel(const char *panel, const struct fm_result *result, size_t *seen)
{
    double x_max = number(panel, "data-x-max"), y_max = number(panel, "data-y-max"), box[4];
    const char *at = strstr(panel, "data-box=\"") + strlen("data-box=\""), *next = strstr(panel + 1, "<g class=\"o");
    for (size_t i = 0; i < 4; i++) {
        char *end;
        box[i] = strtod(at, &end);
        at = end;
    }
    for (at = strstr(panel, "class=\"pt\""); at && (!next || at < next); at = strstr(at + 1, "class=\"pt\""), (*seen)++) {
        double bytes = number(at, "data-peak-lo"), rate = number(at, "data-rate"), batch = number(at, "data-batch");
        bool found = false;
        for (size_t i = 0; i < result->point_count; i++) {
            const struct fm_result_point *p = &result->points[i];
            found = found || (close_to((double)p->peak_lo_bytes, bytes) && close_to((double)p->batch, batch) &&
                              fabs(p->samples_per_s.point - rate) < 1e-12 * rate);
        }
        assert_true(found);
        double x = box[0] + box[2] * bytes / x_max, y = box[1] + box[3] * (1 - rate / y_max);
        assert_true(bytes <= x_max && rate <= y_max);
        if (strncmp(at - strlen("<circle "), "<circle", 7) == 0) {
            assert_true(close_to(number(at, "cx"), x) && close_to(number(at, "cy"), y));
        } else {
            char *end;
            double px = strtod(strstr(at, " d=\"M") + 5, &end), py = strtod(end, &end), rise = 0;
            (void)strtod(strchr(end, 'l') + 1, &end);
            rise = strtod(end, &end);
            assert_true(close_to(px, x) && fabs(py + rise - y) < 0.02);
        }
    }
}

static void test_numbers(void **state)
{
    struct fm_records records;
    struct fm_result result;
    struct fm_buf out = FM_BUF(MAX);
    size_t seen = 0;
    (void)state;
    of_text(journal, &records, &result);
    assert_int_equal(result.point_count, 4);
    assert_int_equal(fm_report_svg(&result, &out, NULL), FM_OK);
    const char *text = fm_buf_text(&out);
    fm_test_xml(text);
    assert_int_equal(count(text, "data-panel=\"unchanged\""), 1);
    assert_int_equal(count(text, "data-panel=\"changed\""), 1);
    for (const char *at = strstr(text, "<g class=\"o"); at; at = strstr(at + 1, "<g class=\"o")) check_panel(at, &result, &seen);
    assert_int_equal(seen, result.point_count);
    const char *changed = strstr(text, "data-panel=\"changed\"");
    assert_true(strstr(text, "data-cell=\"half\"") > changed && strstr(text, "data-cell=\"two\"") < changed);
    assert_non_null(strstr(text, "a&lt;b&gt;&amp;c on cpu"));
    assert_int_equal(count(text, "class=\"front line\""), 2);
    /* four that ran, with their plans; of the two that did not run only what fits; never a filled mark for a plan */
    assert_int_equal(count(text, "class=\"plan\""), result.point_count + 1);
    assert_int_equal(count(text, "data-planned=\"123456789\""), 1);
    assert_null(strstr(text, "data-planned=\"999999999999\""));
    assert_non_null(strstr(text, "planned, not run"));
    assert_int_equal(count(text, "class=\"pt\""), result.point_count);
    fm_buf_release(&out);
    fm_result_release(&result);
    fm_records_release(&records);
}

static void test_nothing(void **state)
{
    static const char *const journals[] = { HEAD, HEAD CELL("one", "fp32", "'m'", ""), HEAD CELL("plan", "fp32", "'m'", "") PLAN("plan", "2", "1000", "true") };
    (void)state;
    for (size_t i = 0; i < sizeof journals / sizeof *journals; i++) {
        struct fm_records records;
        struct fm_result result;
        struct fm_buf out = FM_BUF(MAX);
        of_text(journals[i], &records, &result);
        assert_int_equal(fm_report_svg(&result, &out, NULL), FM_OK);
        fm_test_xml(fm_buf_text(&out));
        assert_null(strstr(fm_buf_text(&out), "nan"));
        assert_null(strstr(fm_buf_text(&out), "inf"));
        assert_non_null(strstr(fm_buf_text(&out), i == 0 ? "no cell was run" : i == 1 ? "nothing was measured" : "planned, not run"));
        fm_buf_release(&out);
        fm_result_release(&result);
        fm_records_release(&records);
    }
}

static void test_faults(void **state)
{
    struct fm_records records;
    struct fm_result result;
    (void)state;
    of_text(journal, &records, &result);
    long before = fm_memory_live;
    for (long n = 0;; n++) {
        struct fm_buf out = FM_BUF(MAX);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_report_svg(&result, &out, NULL);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_buf_release(&out);
        assert_int_equal(fm_memory_live, before);
        assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
        if (!hits) break;
    }
    fm_result_release(&result);
    fm_records_release(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_numbers), cmocka_unit_test(test_nothing), cmocka_unit_test(test_faults) };
    return cmocka_run_group_tests_name("report_svg", tests, NULL, NULL);
}
