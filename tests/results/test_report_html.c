/* The page: whole, holding the result as it is, with nothing of a journal able to end the element it stands in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "results/export.h"
#include "results/report_assets.h"
#include "results/report_html.h"
#include "tests/results/support_journal.h"
#include "tuner/base/memory.h"

#define MAX ((size_t)1 << 24)

static const char journal[] =
    "{'kind':'run','v':1,'tool':'1<2','started':'2026-01-01T00:00:00Z','host':'</title><b>&','seed':'1','devices':[{'id':'cpu','name':'</script>'}]}\n"
    "{'kind':'cell','v':1,'id':'one','train_id':'one','device':'cpu','workload':'<!--<script>','set':{'a':'{{d3}}'},'strategies':{},"
    "'model_id':'m','changes_model':[],'parameters':7,'flops_per_sample':10}\n"
    "{'kind':'row','v':1,'cell':'one','batch':4,'val_batch':0,'phase':'train','role':'ladder','launch':1,'outcome':'ok',"
    "'planned':{'reserved_bytes':100},'measured':{'reserved_bytes':100,'step_ns':[1000000000]}}\n";

static void fold(struct fm_records *records, struct fm_result *result)
{
    struct fm_err err = { 0 };
    fm_test_records(journal, records);
    if (fm_result_fold(records, result, &err) != FM_OK) fail_msg("%s", err.text);
}

static void test_page(void **state)
{
    static const char before[] = "<script id=\"result\" type=\"application/json\">";
    struct fm_records records;
    struct fm_result result;
    struct fm_buf out = FM_BUF(MAX), held = FM_BUF(MAX);
    struct fm_err err = { 0 };
    (void)state;
    fold(&records, &result);
    fm_status status = fm_report_html(&result, &out, &err);
    if (!fm_report_d3_bytes) {
        assert_int_equal(status, FM_UNSUPPORTED);
        assert_non_null(strstr(err.text, "node-d3"));
    } else {
        assert_int_equal(status, FM_OK);
        const char *text = fm_buf_text(&out), *json = strstr(text, before), *end = NULL;
        assert_non_null(json);
        json += strlen(before);
        end = strstr(json, "</script>");
        assert_non_null(end);
        assert_null(memchr(json, '<', (size_t)(end - json)));
        fm_buf_add(&held, json, (size_t)(end - json));
        cJSON *a = cJSON_Parse(fm_buf_text(&held)), *b = NULL;
        assert_int_equal(fm_result_json(&result, &b, &err), FM_OK);
        assert_non_null(a);
        assert_true(cJSON_Compare(a, b, true));
        cJSON_Delete(a);
        cJSON_Delete(b);
        assert_non_null(strstr(text, "<title>fillmark · &lt;/title&gt;&lt;b&gt;&amp;"));
        assert_null(strstr(text, "{{result}}"));
        assert_null(strstr(text, "{{script}}"));
        assert_non_null(strstr(text, "{{d3}}"));        /* of the journal: data, not a part of the page */
        assert_string_equal(text + out.bytes - strlen("</html>\n"), "</html>\n");
        assert_int_equal(strlen(text), out.bytes);
    }
    fm_buf_release(&held);
    fm_buf_release(&out);
    fm_result_release(&result);
    fm_records_release(&records);
}

/* what is embedded cannot end its own element */
static void test_assets(void **state)
{
    (void)state;
    assert_true(fm_report_script_bytes > 1000 && fm_report_style_bytes > 1000 && fm_report_page_bytes > 1000);
    assert_null(strstr((const char *)fm_report_script_text, "</script"));
    assert_null(strstr((const char *)fm_report_d3_text, "</script"));
    assert_null(strstr((const char *)fm_report_style_text, "</style"));
    assert_int_equal(strlen((const char *)fm_report_script_text), fm_report_script_bytes);
    assert_int_equal(strlen((const char *)fm_report_d3_text), fm_report_d3_bytes);
}

static void test_faults(void **state)
{
    struct fm_records records;
    struct fm_result result;
    (void)state;
    fold(&records, &result);
    fm_test_hook_cjson(true);
    long before = fm_memory_live;
    for (long n = 0; fm_report_d3_bytes; n++) {
        struct fm_buf out = FM_BUF(MAX);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_report_html(&result, &out, NULL);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_buf_release(&out);
        assert_int_equal(fm_memory_live, before);
        assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
        if (!hits) break;
    }
    fm_test_hook_cjson(false);
    fm_result_release(&result);
    fm_records_release(&records);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_page), cmocka_unit_test(test_assets), cmocka_unit_test(test_faults) };
    return cmocka_run_group_tests_name("report_html", tests, NULL, NULL);
}
