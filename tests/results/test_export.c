/* Tables against golden texts, CSV against RFC 4180, JSON against the published schema, files whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>

#include "results/export.h"
#include "results/grid.h"
#include "results/json.h"
#include "results/numbers.h"
#include "results/table.h"
#include "tests/results/support_journal.h"
#include "tests/support/schema.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define SCHEMA FM_SOURCE_DIR "/docs/schema/result.schema.json"
#define GOLDEN FM_TEST_DATA_DIR "/results"
#define MAX ((size_t)1 << 24)

typedef fm_status writer(const struct fm_result *result, struct fm_buf *out, struct fm_err *err);

static struct fm_records records;
static struct fm_result result;

static int set_up(void **state)
{
    (void)state;
    fm_test_records_of("campaign.jsonl", &records);
    return fm_result_fold(&records, &result, NULL) == FM_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    fm_result_release(&result);
    fm_records_release(&records);
    fm_test_folder_remove();
    return 0;
}

/* FM_UPDATE_GOLDEN=1 writes them anew, for review */
static void against_golden(writer *write, const char *name)
{
    struct fm_buf text = FM_BUF(MAX), golden = FM_BUF(MAX);
    assert_int_equal(write(&result, &text, NULL), FM_OK);
    if (getenv("FM_UPDATE_GOLDEN")) fm_test_write(GOLDEN, name, text.data, text.bytes);
    fm_test_read(GOLDEN, name, &golden);
    assert_string_equal(fm_buf_text(&text), fm_buf_text(&golden));
    fm_buf_release(&text);
    fm_buf_release(&golden);
}

static void test_golden(void **state)
{
    (void)state;
    against_golden(fm_table_text, "table.txt");
    against_golden(fm_table_markdown, "table.md");
    against_golden(fm_table_csv, "table.csv");
}

/* a strict reader: fields of a line, or -1 */
static int csv_line(const char **at)
{
    int fields = 1;
    for (const char *c = *at;; c++) {
        if (*c == '"') {
            if (c != *at && c[-1] != ',') return -1;
            for (c++; *c && !(*c == '"' && c[1] != '"'); c += *c == '"' ? 2 : 1) continue;
            if (!*c) return -1;
            c++;
            if (*c != ',' && *c != '\r') return -1;
        }
        if (*c == ',') fields++;
        if (*c == '\r') {
            *at = c + 2;
            return c[1] == '\n' ? fields : -1;
        }
        if (*c == '\0' || *c == '\n') return -1;
    }
}

static void test_csv_escapes(void **state)
{
    (void)state;
    struct fm_records odd;
    struct fm_result folded;
    struct fm_buf text = FM_BUF(MAX);
    fm_test_records("{'kind':'run','v':1,'tool':'t','devices':[]}\n"
                    "{'kind':'cell','v':1,'id':'c','train_id':'t','device':'cpu','workload':'a,b \\\"c\\\"\\nd','set':{'x':'1,2'},"
                    "'strategies':{'x':'\\r'},'model_id':'m','changes_model':['p','q'],'reproduce':'\\\"'}\n", &odd);
    assert_int_equal(fm_result_fold(&odd, &folded, NULL), FM_OK);
    assert_int_equal(fm_table_csv(&folded, &text, NULL), FM_OK);
    const char *at = fm_buf_text(&text);
    int columns = csv_line(&at);
    assert_true(columns > 30);
    assert_ptr_equal(strstr(at, "cpu,,\"a,b \"\"c\"\"\nd\",c,\"1,2\",\"\r\",m,p q,untested,,"), at);
    assert_int_equal(csv_line(&at), columns);
    assert_string_equal(at, "");
    fm_buf_release(&text);
    fm_result_release(&folded);
    fm_records_release(&odd);
}

/* rows.jsonl's lines satisfy the row part of the schema */
static void check_rows(cJSON *schema)
{
    struct fm_buf text = FM_BUF(MAX);
    struct fm_err err = { 0 };
    size_t lines = 0;
    cJSON *rows = cJSON_CreateObject();
    assert_true(fm_json_put(rows, "$ref", cJSON_CreateString("#/$defs/row")) &&
                fm_json_put_copy(rows, "$defs", cJSON_GetObjectItemCaseSensitive(schema, "$defs")));
    assert_int_equal(fm_result_rows_text(&result, &text, NULL), FM_OK);
    for (const char *line = fm_buf_text(&text), *end; *line; line = end + 1, lines++) {
        end = strchr(line, '\n');
        cJSON *row = cJSON_ParseWithLength(line, (size_t)(end - line));
        if (fm_schema_check(rows, row, &err) != FM_OK) fail_msg("line %zu: %s", lines + 1, err.text);
        assert_string_equal(fm_json_text(row, "schema"), FM_ROW_SCHEMA);
        assert_non_null(fm_json_object(row, "fingerprint"));
        cJSON_Delete(row);
    }
    assert_int_equal(lines, result.row_count);
    cJSON_Delete(rows);
    fm_buf_release(&text);
}

static void test_schema(void **state)
{
    (void)state;
    struct fm_buf text = FM_BUF(MAX);
    struct fm_err err = { 0 };
    cJSON *schema = fm_schema_load(SCHEMA);
    assert_non_null(schema);
    assert_int_equal(fm_result_json_text(&result, true, &text, NULL), FM_OK);
    assert_null(memchr(text.data, '\n', text.bytes - 1));
    cJSON *json = cJSON_ParseWithOpts(text.data, NULL, 0);
    if (fm_schema_check(schema, json, &err) != FM_OK) fail_msg("%s", err.text);
    check_rows(schema);
    cJSON *row = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "rows"), 0);
    cJSON *cell = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "cells"), 4);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(cell, "knee_batch")));
    /* and the check can fail: each of these breaks it, by name */
    static const char *const names[] = { "device", "batch", "phase", "outcome", "pareto", "planned", "measured" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(row, names[i]);
        err = (struct fm_err){ 0 };
        assert_int_equal(fm_schema_check(schema, json, &err), FM_INVALID);
        assert_non_null(strstr(err.text, "$.rows[0]: required"));
        assert_true(fm_json_put(row, names[i], cJSON_CreateString("?")));
        assert_int_equal(fm_schema_check(schema, json, NULL), strcmp(names[i], "device") == 0 ? FM_OK : FM_INVALID);
        cJSON_DeleteItemFromObjectCaseSensitive(row, names[i]);
        assert_true(fm_json_put(row, names[i], value));
    }
    assert_int_equal(fm_schema_check(schema, json, NULL), FM_OK);
    assert_true(fm_json_put(row, "surprise", cJSON_CreateTrue()));
    assert_int_equal(fm_schema_check(schema, json, NULL), FM_INVALID);
    cJSON_Delete(json);
    cJSON_Delete(schema);
    fm_buf_release(&text);
}

static int files_in(const char *folder)
{
    int files = 0;
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (const struct dirent *entry; (entry = readdir(list));)
        files += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    (void)closedir(list);
    return files;
}

/* every fault in fillmark's own calls; with cJSON's, which are many more, one in fifty */
static void write_sweep(bool with_cjson)
{
    static const char *const names[] = { "rows.jsonl", "table.csv", "table.md", "result.json" };
    long n = 0;
    fm_test_hook_cjson(with_cjson);
    for (bool clean = false; !clean; n += with_cjson ? 1 + n / 50 : 1) {
        const char *folder = fm_test_folder();
        long live = fm_memory_live;
        for (size_t i = 0; i < 4; i++) fm_test_write(folder, names[i], "old\n", 4);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_result_write(&result, folder, NULL);
        clean = fm_fault.hits == 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(fm_memory_live, live);
        if (clean) assert_int_equal(status, FM_OK);
        else assert_true(status == FM_NOMEM || status == FM_IO);
        assert_int_equal(files_in(folder), 4);      /* and nothing beside them */
        /* each is the old one or a whole new one */
        for (size_t i = 0; i < 4; i++) {
            struct fm_buf text = FM_BUF(MAX);
            fm_test_read(folder, names[i], &text);
            assert_true(text.bytes > 0 && text.data[text.bytes - 1] == '\n');
            if (clean) assert_true(text.bytes > 1000);
            if (text.bytes != 4 && i == 3) {
                cJSON *json = cJSON_ParseWithOpts(text.data, NULL, 0);
                assert_non_null(json);
                cJSON_Delete(json);
            }
            fm_buf_release(&text);
        }
    }
    assert_true(n > (with_cjson ? 1000 : 60));
    fm_test_hook_cjson(false);
}

static void test_write(void **state)
{
    (void)state;
    write_sweep(false);
    write_sweep(true);
}

/* `report`: from the journal to the same files */
static void test_report(void **state)
{
    (void)state;
    const char *folder = fm_test_folder();
    struct fm_journal *journal;
    struct fm_result again;
    struct fm_buf a = FM_BUF(MAX), b = FM_BUF(MAX);
    assert_int_equal(fm_journal_open(&journal, folder, false, NULL, NULL), FM_OK);
    for (size_t i = 0; i < records.count; i++) assert_int_equal(fm_journal_append(journal, records.item[i], NULL), FM_OK);
    fm_journal_close(journal);
    assert_int_equal(fm_result_read(folder, &again, NULL), FM_OK);
    assert_int_equal(fm_result_json_text(&result, true, &a, NULL), FM_OK);
    assert_int_equal(fm_result_json_text(&again, true, &b, NULL), FM_OK);
    assert_string_equal(fm_buf_text(&a), fm_buf_text(&b));
    assert_int_equal(fm_result_write(&again, folder, NULL), FM_OK);
    fm_result_release(&again);
    fm_buf_release(&a);
    fm_buf_release(&b);
}

/* records with one field of another kind: whatever folds, can be written */
static void test_odd_records(void **state)
{
    (void)state;
    static writer *const writers[] = { fm_table_text, fm_table_markdown, fm_table_csv, fm_result_rows_text };
    static const char *const values[] = { "null", "{}", "[]", "1e300", "-3", "\"\\u001b[2J|`\"", "[{}]", "true" };
    size_t written = 0;
    for (uint64_t seed = 0; seed < 600; seed++) {
        uint64_t r = fm_rng_u64(seed, 9, 0);
        cJSON **slot = &records.item[r % records.count], *whole = *slot;
        struct fm_result odd;
        *slot = cJSON_Duplicate(whole, true);
        cJSON *member = cJSON_GetArrayItem(*slot, (int)((r >> 20) % (uint64_t)cJSON_GetArraySize(*slot)));
        if (member->child && (r >> 60) % 2) member = member->child;
        cJSON *holder = member->string && fm_json_get(*slot, member->string) == member ? *slot : NULL;
        if (holder) assert_true(cJSON_ReplaceItemInObjectCaseSensitive(holder, member->string, cJSON_Parse(values[(r >> 40) % 8])));
        if (fm_result_fold(&records, &odd, NULL) == FM_OK) {
            for (size_t i = 0; i < 4; i++) {
                struct fm_buf text = FM_BUF(MAX);
                assert_int_equal(writers[i](&odd, &text, NULL), FM_OK);
                assert_null(memchr(text.data, '\x1b', text.bytes * (i != 2)));
                fm_buf_release(&text);
            }
            fm_result_release(&odd);
            written++;
        }
        cJSON_Delete(*slot);
        *slot = whole;
    }
    assert_true(written > 100);
}

static void check_text(struct fm_buf *text, const char *want)
{
    assert_true(fm_buf_ok(text));
    assert_string_equal(fm_buf_text(text), want);
    fm_buf_clear(text);
}

static void test_numbers(void **state)
{
    (void)state;
    struct fm_buf t = FM_BUF(1000);
    static const struct { double value; const char *text; } f64[] = {
        { 2.1344, "2.134" }, { 21.344, "21.34" }, { 2134.4, "2134" }, { 213440, "213440" }, { 0.021344, "0.02134" }, { 0, "0.000" },
        { -1.0 / 0.0, "–" },
    }, scaled[] = { { 17.2e6, "17.2 Mx" }, { 999, "999 x" }, { 999.99e6, "1.00 Gx" }, { 1.234e12, "1.23 Tx" }, { 5e17, "500.0 Px" } };
    for (size_t i = 0; i < sizeof f64 / sizeof *f64; i++) {
        fm_put_f64(&t, f64[i].value);
        check_text(&t, f64[i].text);
    }
    for (size_t i = 0; i < sizeof scaled / sizeof *scaled; i++) {
        fm_put_scaled(&t, scaled[i].value, "x");
        check_text(&t, scaled[i].text);
    }
    fm_put_interval(&t, &(struct fm_interval){ .point_known = true, .interval_known = true, .point = 20, .lo = 19.5, .hi = 20.25 });
    check_text(&t, "20.00 ± 0.50");
    static const struct { int64_t bytes; const char *text; } sizes[] = {
        { -1, "–" }, { 0, "0 bytes" }, { 1023, "1023 bytes" }, { 1536, "1.5 KiB" }, { 4 << 20, "4.0 MiB" }, { (1 << 30) - 1, "1024.0 MiB" },
        { 1 << 30, "1.000 GiB" }, { INT64_C(80) << 30, "80.000 GiB" },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fm_put_size(&t, sizes[i].bytes);
        check_text(&t, sizes[i].text);
    }
    fm_put_gib_range(&t, 1 << 30, (1 << 30) + 1);
    check_text(&t, "1.000");
    fm_put_gib_range(&t, 1 << 29, 1 << 30);
    check_text(&t, "0.500–1.000");
    fm_put_count(&t, -1);
    check_text(&t, "–");
    fm_put_duration(&t, INT64_C(252000000000));
    check_text(&t, "4 min 12 s");
    fm_put_duration(&t, INT64_C(94120000000));
    check_text(&t, "94.1 s");
    fm_put_markdown(&t, "a|b\x1b\xc2\x9b\xff`é");
    check_text(&t, "a\\|b???\\`é");
    fm_buf_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_csv_escapes), cmocka_unit_test(test_schema),
        cmocka_unit_test(test_write),  cmocka_unit_test(test_report),      cmocka_unit_test(test_odd_records),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests_name("export", tests, set_up, tear_down);
}
