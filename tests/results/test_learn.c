/* A training that did not learn marks all rows of all its cells; what a resumed run completes is not skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "results/export.h"
#include "results/fold.h"
#include "results/table.h"
#include "tests/results/support_journal.h"
#include "tuner/base/memory.h"

#define RUN "{'kind':'run','v':1,'tool':'0.1.0','started':'2026-01-31T12:34:56Z','host':'box','devices':[],'config':{},'seed':'1'}\n"
#define CELL(id, train, device)                                                                                                  \
    "{'kind':'cell','v':1,'id':'" id "','train_id':'" train "','device':'" device "','workload':'toy','set':{},'strategies':{}," \
    "'model_id':'1','changes_model':[],'reproduce':'fillmark run'}\n"
#define ROW(id, device, batch)                                                                                                       \
    "{'kind':'row','v':1,'cell':'" id "','device':'" device "','batch':" batch ",'val_batch':0,'phase':'train','role':'boundary'," \
    "'launch':1,'outcome':'ok'}\n"
#define VERDICT(id, device, mistrusted)                                                                                              \
    "{'kind':'verdict','v':1,'cell':'" id "','device':'" device "','outcome':'ok','reason':'','max_batch':{'train':2}," \
    "'certified':true,'limited_by':'train','non_monotone':false,'mistrusted':" mistrusted "}\n"
#define LEARN(id, device, learned)                                                                                                   \
    "{'kind':'learn','v':1,'cell':'" id "','device':'" device "','batch':2,'outcome':'ok','learned':" learned "}\n"
#define SKIPPED(id, device) "{'kind':'skipped','v':1,'cell':'" id "','device':'" device "','what':'boundary','reason':'time budget'}\n"

/* a and b share a training, c does not; d is a's on another device */
#define CELLS CELL("a", "t", "cpu") CELL("b", "t", "cpu") CELL("c", "u", "cpu") CELL("a", "t", "gpu")
#define ROWS ROW("a", "cpu", "1") ROW("a", "cpu", "2") ROW("b", "cpu", "2") ROW("c", "cpu", "2") ROW("a", "gpu", "2")
#define VERDICTS VERDICT("a", "cpu", "false") VERDICT("b", "cpu", "false") VERDICT("c", "cpu", "false") VERDICT("a", "gpu", "false")

/* which cells and rows are mistrusted, as "a b a2 b2" in the order of the journal */
static void assert_mistrusted(const char *journal, const char *want)
{
    struct fm_records records;
    struct fm_result result;
    struct fm_err err = { 0 };
    struct fm_buf text = FM_BUF(1 << 16), rows = FM_BUF(1 << 20);
    fm_test_records(journal, &records);
    if (fm_result_fold(&records, &result, &err) != FM_OK) fail_msg("%s", err.text);
    for (size_t i = 0; i < result.cell_count; i++)
        if (result.cells[i].mistrusted) fm_buf_printf(&text, " %s/%s", result.cells[i].id, result.cells[i].device);
    assert_int_equal(fm_result_rows_text(&result, &rows, &err), FM_OK);
    char *at = rows.data;
    for (char *line = at; line && *line; line = at) {
        at = strchr(line, '\n');
        if (at) *at++ = '\0';
        cJSON *row = cJSON_Parse(line);
        assert_non_null(row);
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row, "mistrusted")))
            fm_buf_printf(&text, " %s/%s:%d", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "cell")),
                          cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "device")),
                          cJSON_GetObjectItemCaseSensitive(row, "batch")->valueint);
        cJSON_Delete(row);
    }
    assert_string_equal(fm_buf_text(&text), want);
    fm_buf_release(&text);
    fm_buf_release(&rows);
    fm_result_release(&result);
    fm_records_release(&records);
}

static void rows_of_what_did_not_learn(void **state)
{
    (void)state;
    static const char *const marked = " a/cpu b/cpu a/cpu:1 a/cpu:2 b/cpu:2";
    assert_mistrusted(RUN CELLS ROWS VERDICTS, "");
    assert_mistrusted(RUN CELLS ROWS VERDICTS LEARN("a", "cpu", "true"), "");
    /* the run ended between the check and the verdicts that would have said it */
    assert_mistrusted(RUN CELLS ROWS VERDICTS LEARN("a", "cpu", "false"), marked);
    assert_mistrusted(RUN CELLS ROWS VERDICTS LEARN("a", "cpu", "false") VERDICT("a", "cpu", "true"), marked);
    /* resumed: verdicts again, cells after the check */
    assert_mistrusted(RUN CELL("a", "t", "cpu") ROW("a", "cpu", "1") LEARN("a", "cpu", "false") CELL("b", "t", "cpu") ROW("b", "cpu", "2")
                      VERDICT("b", "cpu", "false"), " a/cpu b/cpu a/cpu:1 b/cpu:2");
    /* without the record of a check the verdict holds; the last check does */
    assert_mistrusted(RUN CELLS ROWS VERDICT("c", "cpu", "true"), " c/cpu c/cpu:2");
    assert_mistrusted(RUN CELLS ROWS VERDICTS LEARN("a", "cpu", "false") LEARN("a", "cpu", "true"), "");
    assert_mistrusted(RUN CELLS ROWS VERDICTS LEARN("a", "gpu", "false"), " a/gpu a/gpu:2");
}

#define ENDED(outcome) "{'kind':'learn','v':1,'cell':'a','device':'cpu','batch':2,'outcome':'" outcome "','learned':false}\n"

static void assert_why(const char *journal, const char *want)
{
    struct fm_records records;
    struct fm_result result;
    struct fm_buf table = FM_BUF(1 << 20);
    struct fm_err err = { 0 };
    fm_test_records(journal, &records);
    if (fm_result_fold(&records, &result, &err) != FM_OK) fail_msg("%s", err.text);
    const char *why = fm_result_mistrust(&result.cells[0]);
    assert_int_equal(why != NULL, want != NULL);
    assert_int_equal(fm_table_text(&result, &table, &err), FM_OK);
    if (want) {
        if (!strstr(why, want)) fail_msg("'%s', not '%s'", why, want);
        assert_non_null(strstr(fm_buf_text(&table), why));
    } else {
        assert_null(strstr(fm_buf_text(&table), "mistrusted"));
    }
    fm_buf_release(&table);
    fm_result_release(&result);
    fm_records_release(&records);
}

/* a check whose worker died says nothing about learning */
static void why_it_is_mistrusted(void **state)
{
    (void)state;
    assert_why(RUN CELLS ROWS VERDICTS, NULL);
    assert_why(RUN CELLS ROWS VERDICTS ENDED("ok"), "it did not learn when it was checked");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("nonfinite"), "loss was not finite");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("crash"), "the worker died in the check");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("timeout"), "the deadline passed in the check");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("protocol"), "not understood");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("oom_device"), "the device's memory");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("oom_host"), "the host's memory");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("unsupported"), "not supported");
    /* the last check is the one that counts; a verdict alone does not say how its check ended */
    assert_why(RUN CELLS ROWS VERDICTS ENDED("ok") ENDED("crash"), "the worker died");
    assert_why(RUN CELLS ROWS VERDICTS ENDED("crash") LEARN("a", "cpu", "true"), NULL);
    assert_why(RUN CELLS ROWS VERDICT("a", "cpu", "true"), "did not pass");
    assert_int_equal(fm_memory_live, 0);
}

static void assert_skipped(const char *journal, bool skipped)
{
    struct fm_records records;
    struct fm_result result;
    struct fm_err err = { 0 };
    fm_test_records(journal, &records);
    if (fm_result_fold(&records, &result, &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(result.cells[0].skipped != NULL, skipped);
    if (skipped && !result.cells[0].verdict) assert_string_equal(result.cells[0].outcome, "skipped");
    fm_result_release(&result);
    fm_records_release(&records);
}

static void what_was_skipped_and_done_later(void **state)
{
    (void)state;
#define RESUME "{'kind':'resume','v':1,'tool':'0.1.0','devices':[],'config':{},'seed':'1'}\n"
    assert_skipped(RUN CELL("a", "t", "cpu") SKIPPED("a", "cpu"), true);
    assert_skipped(RUN CELL("a", "t", "cpu") SKIPPED("a", "cpu") RESUME ROW("a", "cpu", "2") VERDICT("a", "cpu", "false"), false);
    assert_skipped(RUN CELL("a", "t", "cpu") SKIPPED("a", "cpu") RESUME SKIPPED("a", "cpu"), true);
    assert_int_equal(fm_memory_live, 0);
}

/* by reason, each once; another cell's and what a resumed run had said before are not among it */
static void what_was_left_out_is_told(void **state)
{
    (void)state;
#define LEFT(id, what, reason) "{'kind':'skipped','v':1,'cell':'" id "','device':'cpu','what':'" what "','reason':'" reason "'}\n"
#define TWO RUN CELL("a", "t", "cpu") CELL("c", "u", "cpu")
    static const struct { const char *journal, *text; } cases[] = {
        { TWO ROW("a", "cpu", "2"), "" },
        { TWO LEFT("a", "boundary not certified", "time budget") LEFT("c", "ladder", "time budget") LEFT("a", "ladder at batch 1, 2", "time budget")
          LEFT("a", "learning check", "too large") LEFT("a", "boundary not certified", "time budget"),
          "time budget: boundary not certified; ladder at batch 1, 2 · too large: learning check" },
        { TWO LEFT("a", "ladder at batch 1, 2", "time budget") RESUME LEFT("a", "replications of batch 2", "time budget"),
          "time budget: replications of batch 2" },
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct fm_records records;
        struct fm_result result;
        struct fm_err err = { 0 };
        struct fm_buf text = FM_BUF(1 << 12), csv = FM_BUF(1 << 16);
        fm_test_records(cases[k].journal, &records);
        if (fm_result_fold(&records, &result, &err) != FM_OK) fail_msg("%s", err.text);
        fm_result_put_left_out(&result, 0, &text);
        assert_string_equal(fm_buf_text(&text), cases[k].text);
        assert_int_equal(fm_table_csv(&result, &csv, &err), FM_OK);
        assert_non_null(strstr(fm_buf_text(&csv), cases[k].text));
        fm_buf_release(&text);
        fm_buf_release(&csv);
        fm_result_release(&result);
        fm_records_release(&records);
    }
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_what_did_not_learn),
        cmocka_unit_test(why_it_is_mistrusted),
        cmocka_unit_test(what_was_skipped_and_done_later),
        cmocka_unit_test(what_was_left_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
