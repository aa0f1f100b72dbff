/* Reports for continuous integration: well-formed, each cell there once, and no failure that looks like a pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "results/report_ci.h"
#include "tests/results/support_journal.h"
#include "tests/results/support_xml.h"
#include "tuner/base/memory.h"

#define MAX ((size_t)1 << 20)

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

#define HEAD "{'kind':'run','v':1,'tool':'1','devices':[{'id':'cpu','name':'X'}]}\n"
#define CELL(id, precision)                                                                                                      \
    "{'kind':'cell','v':1,'id':'" id "','train_id':'" id "','device':'cpu','workload':'a<b>&c','set':{},'strategies':{'precision':'" \
    precision "'},'model_id':'m','changes_model':[],'parameters':7,'flops_per_sample':10}\n"
#define VERDICT(cell, outcome, rest) "{'kind':'verdict','v':1,'cell':'" cell "','outcome':'" outcome "','max_batch':{'train':4,'val':0}," rest "}\n"
#define ROW(cell, reserved) \
    "{'kind':'row','v':1,'cell':'" cell "','batch':4,'val_batch':0,'phase':'train','role':'boundary','launch':1,'outcome':'ok'," \
    "'wall_ns':1500000000,'planned':{'reserved_bytes':100},'measured':{'reserved_bytes':" reserved ",'step_ns':[1000000000]}}\n"

static void test_junit(void **state)
{
    static const char journal[] = HEAD CELL("good", "fp32") CELL("open", "bf16") CELL("oom", "x") CELL("unsu", "fp16") CELL("left", "y")
        CELL("bug", "z") CELL("dumb", "w")
        ROW("good", "100") VERDICT("good", "ok", "'certified':true") ROW("open", "100") VERDICT("open", "ok", "'certified':false")
        VERDICT("oom", "crash", "'certified':false,'reason':'signal <11> & \\\"more\\\"'") VERDICT("unsu", "unsupported", "'reason':'no f16'")
        "{'kind':'skipped','v':1,'cell':'left','what':'boundary','reason':'time budget'}\n"
        ROW("bug", "101") VERDICT("bug", "ok", "'certified':true") ROW("dumb", "100") VERDICT("dumb", "ok", "'certified':true,'mistrusted':true");
    struct fm_records records;
    struct fm_result result;
    struct fm_buf out = FM_BUF(MAX);
    (void)state;
    of_text(journal, &records, &result);
    assert_int_equal(fm_report_junit(&result, &out, NULL), FM_OK);
    const char *text = fm_buf_text(&out);
    fm_test_xml(text);
    assert_int_equal(count(text, "<testsuite "), 1);
    assert_int_equal(count(text, "<testcase "), 7);
    assert_non_null(strstr(text, "tests=\"7\" failures=\"4\" errors=\"0\" skipped=\"2\""));
    assert_int_equal(count(text, "<failure "), 4);
    assert_int_equal(count(text, "<skipped "), 2);
    assert_non_null(strstr(text, "a&lt;b&gt;&amp;c precision=fp32"));
    assert_non_null(strstr(text, "signal &lt;11&gt; &amp; &quot;more&quot;"));
    assert_non_null(strstr(text, "planned and counted memory differ"));
    assert_non_null(strstr(text, "time=\"1.500\""));
    fm_buf_release(&out);
    fm_result_release(&result);
    fm_records_release(&records);
}

static void test_empty_is_a_failure(void **state)
{
    struct fm_records records;
    struct fm_result result;
    struct fm_buf out = FM_BUF(MAX);
    (void)state;
    of_text(HEAD, &records, &result);
    assert_int_equal(fm_report_junit(&result, &out, NULL), FM_OK);
    fm_test_xml(fm_buf_text(&out));
    assert_int_equal(count(fm_buf_text(&out), "<failure "), 1);
    fm_buf_release(&out);
    fm_result_release(&result);
    fm_records_release(&records);
}

static void test_benchmark(void **state)
{
    struct fm_records records;
    struct fm_result result;
    (void)state;
    of_text(HEAD CELL("good", "fp32") CELL("bad", "bf16") ROW("good", "100") VERDICT("good", "ok", "'certified':true") ROW("bad", "100")
            VERDICT("bad", "crash", "'certified':false"), &records, &result);
    for (int bigger = 0; bigger < 2; bigger++) {
        struct fm_buf out = FM_BUF(MAX);
        assert_int_equal((bigger ? fm_report_bigger : fm_report_smaller)(&result, &out, NULL), FM_OK);
        cJSON *array = cJSON_Parse(fm_buf_text(&out)), *one = NULL;
        assert_int_equal(cJSON_GetArraySize(array), bigger ? 2 : 1);
        cJSON_ArrayForEach(one, array) {
            assert_non_null(strstr(cJSON_GetObjectItem(one, "name")->valuestring, "precision=fp32"));
            assert_true(cJSON_IsString(cJSON_GetObjectItem(one, "unit")) && cJSON_IsString(cJSON_GetObjectItem(one, "extra")));
        }
        double first = cJSON_GetObjectItem(cJSON_GetArrayItem(array, 0), "value")->valuedouble;
        assert_true(fabs(first - (bigger ? 4.0 : 100.0)) < 1e-9);
        cJSON_Delete(array);
        fm_buf_release(&out);
    }
    fm_result_release(&result);
    fm_records_release(&records);
}

static void test_faults(void **state)
{
    typedef fm_status writer(const struct fm_result *, struct fm_buf *, struct fm_err *);
    static writer *const writers[] = { fm_report_junit, fm_report_bigger, fm_report_smaller };
    struct fm_records records;
    struct fm_result result;
    (void)state;
    of_text(HEAD CELL("good", "fp32") ROW("good", "100") VERDICT("good", "ok", "'certified':true"), &records, &result);
    long before = fm_memory_live;
    for (size_t w = 0; w < 3; w++) {
        for (long n = 0;; n++) {
            struct fm_buf out = FM_BUF(MAX);
            fm_fault = (struct fm_fault){ .left = n, .armed = true };
            fm_status status = writers[w](&result, &out, NULL);
            long hits = fm_fault.hits;
            fm_fault = (struct fm_fault){ 0 };
            fm_buf_release(&out);
            assert_int_equal(fm_memory_live, before);
            assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
            if (!hits) break;
        }
    }
    fm_result_release(&result);
    fm_records_release(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_junit), cmocka_unit_test(test_empty_is_a_failure), cmocka_unit_test(test_benchmark),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests_name("report_ci", tests, NULL, NULL);
}
