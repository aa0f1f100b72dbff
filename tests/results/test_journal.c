/* The journal's laws: cut anywhere it is its longest whole prefix; changed anywhere it says so; what was acknowledged is
 * there after faults and kills; and a resumed journal is byte by byte the one that was never interrupted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "results/json.h"
#include "tests/results/support_journal.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

static const char sample[] =
    "{'kind':'run','v':1,'tool':'0.1.0','seed':'18446744073709551615'}\n"
    "{'kind':'start','v':1,'cell':'00000000000000aa','batch':3}\n"
    "{'kind':'row','v':1,'reason':'a \\u0001 \\n line | \xc3\xa9','measured':{'step_ns':[1,2,3]}}\n"
    "{'kind':'other','v':1,'a':[],'b':{},'c':null,'d':1.5e300}\n"
    "{'kind':'end','v':1,'wall_ns':123456789012}\n";

static void append(struct fm_journal *journal, const struct fm_records *records, size_t from)
{
    for (size_t i = from; i < records->count; i++)
        assert_int_equal(fm_journal_append(journal, records->item[i], NULL), FM_OK);
}

/* the sample as a journal in the folder; its bytes */
static void make(const char *folder, struct fm_records *records, struct fm_buf *bytes)
{
    struct fm_journal *journal;
    fm_test_records(sample, records);
    assert_int_equal(fm_journal_open(&journal, folder, false, NULL, NULL), FM_OK);
    append(journal, records, 0);
    fm_journal_close(journal);
    fm_test_read(folder, FM_JOURNAL_FILE, bytes);
}

static bool is_prefix(const struct fm_records *part, const struct fm_records *whole)
{
    if (part->count > whole->count) return false;
    for (size_t i = 0; i < part->count; i++)
        if (!cJSON_Compare(part->item[i], whole->item[i], true)) return false;
    return true;
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    const char *folder = fm_test_folder();
    struct fm_records records;
    struct fm_buf bytes = FM_BUF(1 << 16);
    size_t whole = 0, lines = 0;
    make(folder, &records, &bytes);
    for (size_t cut = 0; cut <= bytes.bytes; cut++) {
        struct fm_records found = { 0 };
        struct fm_journal_extent extent;
        struct fm_journal *journal;
        struct fm_buf again = FM_BUF(1 << 16);
        bool torn = false;
        if (cut && bytes.data[cut - 1] == '\n') whole = cut, lines++;
        assert_int_equal(fm_journal_scan(bytes.data, cut, &found, &extent, NULL), FM_OK);
        assert_int_equal(extent.valid_bytes, whole);
        assert_int_equal(extent.lines, lines);
        assert_int_equal(found.count, lines);
        assert_int_equal(extent.torn, whole != cut);
        assert_true(is_prefix(&found, &records));
        fm_records_release(&found);
        fm_test_write(folder, FM_JOURNAL_FILE, bytes.data, cut);
        assert_int_equal(fm_journal_read(folder, &found, &torn, NULL), FM_OK);
        assert_int_equal(torn, whole != cut);
        fm_records_release(&found);
        assert_int_equal(fm_journal_open(&journal, folder, true, &found, NULL), FM_OK);
        assert_int_equal(found.count, lines);
        append(journal, &records, lines);
        fm_journal_close(journal);
        fm_test_read(folder, FM_JOURNAL_FILE, &again);
        assert_int_equal(again.bytes, bytes.bytes);
        assert_memory_equal(again.data, bytes.data, bytes.bytes);
        fm_buf_release(&again);
        fm_records_release(&found);
    }
    assert_int_equal(lines, 5);
    fm_buf_release(&bytes);
    fm_records_release(&records);
}

static void test_zeros_after_a_crash(void **state)
{
    (void)state;
    struct fm_records records;
    struct fm_buf bytes = FM_BUF(1 << 16);
    struct fm_journal_extent extent;
    make(fm_test_folder(), &records, &bytes);
    size_t whole = bytes.bytes;
    fm_buf_add(&bytes, (const char[300]){ 0 }, 300);
    assert_int_equal(fm_journal_scan(bytes.data, bytes.bytes, NULL, &extent, NULL), FM_OK);
    assert_int_equal(extent.valid_bytes, whole);
    assert_true(extent.torn);
    fm_buf_release(&bytes);
    fm_records_release(&records);
}

/* a changed bit is an error, or, in the last line, at most a torn end: never another record */
static void test_bit_flips(void **state)
{
    (void)state;
    struct fm_records records;
    struct fm_buf bytes = FM_BUF(1 << 16);
    make(fm_test_folder(), &records, &bytes);
    size_t last = bytes.bytes - 1;
    while (bytes.data[last - 1] != '\n') last--;
    for (size_t i = 0; i < 8 * bytes.bytes; i++) {
        struct fm_records found = { 0 };
        struct fm_journal_extent extent;
        struct fm_err err = { 0 };
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ 1 << i % 8);
        fm_status status = fm_journal_scan(bytes.data, bytes.bytes, &found, &extent, &err);
        if (status == FM_OK) {
            assert_true(i / 8 == bytes.bytes - 1 && extent.torn && extent.valid_bytes == last);
        } else {
            assert_int_equal(status, FM_INVALID);
            char line[32];
            (void)snprintf(line, sizeof line, "line %zu: ", extent.lines + 1);
            assert_ptr_equal(strstr(err.text, line), err.text);
            assert_non_null(strstr(err.text, extent.lines ? "head -n" : "nothing of it is whole: start anew in another folder"));
            assert_null(strstr(err.text, "head -n 0"));
        }
        assert_true(found.count < records.count && is_prefix(&found, &records));
        fm_records_release(&found);
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ 1 << i % 8);
    }
    fm_buf_release(&bytes);
    fm_records_release(&records);
}

/* a line that is lost, doubled or elsewhere is seen, though each line is as it was written */
static void test_order_of_lines(void **state)
{
    (void)state;
    struct fm_records records;
    struct fm_buf bytes = FM_BUF(1 << 16), changed = FM_BUF(1 << 16);
    const char *line[6];
    make(fm_test_folder(), &records, &bytes);
    line[0] = bytes.data;
    for (int i = 0; i < 5; i++) line[i + 1] = strchr(line[i], '\n') + 1;
    static const int orders[][6] = { { 1, 2, 3, 4, -1 }, { 0, 2, 3, 4, -1 }, { 0, 1, 1, 2, -1 }, { 0, 2, 1, 3, -1 }, { 0, 0, -1 } };
    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        struct fm_journal_extent extent;
        fm_buf_clear(&changed);
        for (const int *i = orders[o]; *i >= 0; i++) fm_buf_add(&changed, line[*i], (size_t)(line[*i + 1] - line[*i]));
        assert_int_equal(fm_journal_scan(changed.data, changed.bytes, NULL, &extent, NULL), FM_INVALID);
    }
    fm_buf_release(&changed);
    fm_buf_release(&bytes);
    fm_records_release(&records);
}

static void mutate(char *data, size_t *bytes, size_t capacity, uint64_t seed)
{
    uint64_t r = fm_rng_u64(seed, 1, 0);
    size_t at = *bytes ? r % *bytes : 0, n = 1 + (r >> 32) % 40;
    if (at + n > *bytes) n = *bytes - at;
    switch (r >> 60) {
    case 0: case 1: case 2: case 3: data[at] = (char)(r >> 40); break;
    case 4: case 5: case 6: memmove(data + at, data + at + n, *bytes - at - n), *bytes -= n; break;
    case 7: case 8: *bytes = at; break;
    default:
        if (*bytes + n > capacity) return;
        memmove(data + at + n, data + at, *bytes - at);
        *bytes += n;
    }
}

/* whatever is there: no crash, records a prefix, and what is valid is valid again */
static void test_mutations(void **state)
{
    (void)state;
    struct fm_records records;
    struct fm_buf bytes = FM_BUF(1 << 16);
    make(fm_test_folder(), &records, &bytes);
    size_t capacity = bytes.bytes + 1000, torn = 0, refused = 0;
    char *data = fm_calloc(capacity, 1);
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct fm_records found = { 0 };
        struct fm_journal_extent extent, again;
        size_t n = bytes.bytes;
        memcpy(data, bytes.data, n);
        for (uint64_t i = 0; i <= seed % 3; i++) mutate(data, &n, capacity, 4 * seed + i);
        fm_status status = fm_journal_scan(data, n, &found, &extent, NULL);
        assert_true(extent.valid_bytes <= n && is_prefix(&found, &records));
        assert_int_equal(fm_journal_scan(data, extent.valid_bytes, NULL, &again, NULL), FM_OK);
        assert_true(again.valid_bytes == extent.valid_bytes && again.lines == extent.lines && !again.torn);
        torn += status == FM_OK && extent.torn;
        refused += status != FM_OK;
        fm_records_release(&found);
    }
    assert_true(torn > 100 && refused > 1000);
    fm_free(data);
    fm_buf_release(&bytes);
    fm_records_release(&records);
}

static void test_open(void **state)
{
    (void)state;
    struct fm_journal *journal, *second;
    struct fm_records records, found = { 0 };
    struct fm_err err = { 0 };
    char deep[400];
    (void)snprintf(deep, sizeof deep, "%s/a/b", fm_test_folder());
    fm_test_records(sample, &records);
    assert_int_equal(fm_journal_open(&journal, deep, true, &found, &err), FM_IO);
    assert_non_null(strstr(err.text, "nothing to resume"));
    assert_int_equal(fm_journal_open(&journal, deep, false, NULL, NULL), FM_OK);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_journal_open(&second, deep, true, &found, &err), FM_MISMATCH);
    assert_null(second);
    assert_non_null(strstr(err.text, "another fillmark"));
    fm_journal_close(journal);
    /* nothing was recorded: it may begin anew, or go on */
    assert_int_equal(fm_journal_open(&journal, deep, true, &found, NULL), FM_OK);
    fm_journal_close(journal);
    assert_int_equal(fm_journal_open(&journal, deep, false, NULL, NULL), FM_OK);
    append(journal, &records, 0);
    fm_journal_close(journal);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_journal_open(&journal, deep, false, NULL, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "--resume"));
    assert_int_equal(found.count, 0);
    fm_test_write(deep, FM_JOURNAL_FILE, "my diary", 8);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_journal_open(&journal, deep, false, NULL, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "journal.jsonl: line 1: not a journal's line"));
    fm_records_release(&records);
}

/* counts in doubles: what is written is read as the same number, and as digits where a number of JSON would lose some */
static void test_counts(void **state)
{
    static const struct { double value; const char *text; } row[] = {
        { 0, "0" }, { 798595481600, "798595481600" }, { 999999999999999, "999999999999999" }, { 4503599627370497, "4503599627370497" },
        { 0x1p53, "9007199254740992" }, { 0x1p53 + 2, "\"9007199254740994\"" }, { 0x1p62, "\"4611686018427387904\"" },
        { 0x1p63, "\"9223372036854775808\"" }, { 0x1p70, "\"1180591620717411303424\"" }, { 0.5, "0.5" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fm_buf text = FM_BUF(256);
        double read = -1;
        cJSON *o = cJSON_CreateObject();
        assert_true(fm_json_add_whole(o, "n", row[i].value) && fm_json_whole(o, "n", &read) && read == row[i].value);
        assert_int_equal(fm_json_print(fm_json_get(o, "n"), &text, NULL), FM_OK);
        assert_string_equal(fm_buf_text(&text), row[i].text);
        cJSON *again = cJSON_Parse(fm_buf_text(&text));
        assert_non_null(again);
        cJSON_DeleteItemFromObject(o, "n");
        assert_true(fm_json_put(o, "n", again) && fm_json_whole(o, "n", &read) && read == row[i].value);
        cJSON_Delete(o);
        fm_buf_release(&text);
    }
    cJSON *o = cJSON_Parse("{\"empty\": \"\", \"text\": \"12x\", \"below\": \"-1\", \"real\": \"1e9\", \"list\": []}");
    static const char *const none[] = { "empty", "text", "below", "real", "list", "absent" };
    double value = 7;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) assert_false(fm_json_whole(o, none[i], &value));
    assert_true(value == 7);
    cJSON_Delete(o);
}

static void test_append(void **state)
{
    (void)state;
    const char *folder = fm_test_folder();
    struct fm_journal *journal;
    struct fm_records records, found = { 0 };
    fm_test_records("{'kind':'row','v':2}\n{'kind':'row'}\n{'v':1}\n[1]\n[]\n7\n[{'kind':'a','v':1},{'kind':'b','v':1}]", &records);
    assert_int_equal(fm_journal_open(&journal, folder, false, NULL, NULL), FM_OK);
    for (size_t i = 0; i < 6; i++) assert_int_equal(fm_journal_append(journal, records.item[i], NULL), FM_INVALID);
    assert_int_equal(fm_journal_append(journal, records.item[6], NULL), FM_OK);
    cJSON *odd = cJSON_CreateObject();
    assert_true(fm_json_put(odd, "kind", cJSON_CreateString("odd \xff\xc3 text")) && fm_json_put(odd, "v", cJSON_CreateNumber(1)) &&
                fm_json_put(odd, "big", fm_json_new_i64(INT64_MAX)) && fm_json_put(odd, "exact", fm_json_new_i64(FM_JSON_EXACT_MAX)));
    assert_int_equal(fm_journal_append(journal, odd, NULL), FM_OK);
    fm_journal_close(journal);
    assert_int_equal(fm_journal_read(folder, &found, NULL, NULL), FM_OK);
    assert_int_equal(found.count, 3);
    assert_string_equal(fm_record_kind(found.item[1]), "b");
    assert_string_equal(fm_record_kind(found.item[2]), "odd ?? text");
    int64_t value = 0;
    assert_true(fm_json_i64(found.item[2], "big", &value) && value == INT64_MAX);
    assert_string_equal(fm_json_text(found.item[2], "big"), "9223372036854775807");
    assert_true(fm_json_i64(found.item[2], "exact", &value) && value == FM_JSON_EXACT_MAX);
    cJSON_Delete(odd);
    fm_records_release(&found);
    fm_records_release(&records);
}

/* a journal of another version, whole as it is, is refused by its version */
static void test_version(void **state)
{
    (void)state;
    struct fm_buf line = FM_BUF(1000);
    struct fm_journal_extent extent;
    struct fm_err err = { 0 };
    static const char json[] = " {\"kind\":\"run\",\"v\":7}";
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *c = json + 1; *c; c++) hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    fm_buf_printf(&line, "%016llx%s\n", (unsigned long long)hash, json);
    assert_int_equal(fm_journal_scan(line.data, line.bytes, NULL, &extent, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "version 7"));
    fm_buf_release(&line);
}

/* every fault, once and for good: what was acknowledged is there afterwards, what was not is not, or is the last */
static void sweep(bool sticky, bool resume)
{
    struct fm_records records;
    fm_test_records(sample, &records);
    long n = 0;
    for (bool clean = false; !clean; n++) {
        const char *folder = fm_test_folder();
        struct fm_journal *journal = NULL;
        struct fm_records found = { 0 };
        size_t acknowledged = 0, tried = 0;
        if (resume) {
            assert_int_equal(fm_journal_open(&journal, folder, false, NULL, NULL), FM_OK);
            assert_int_equal(fm_journal_append(journal, records.item[0], NULL), FM_OK);
            fm_journal_close(journal);
            acknowledged = tried = 1;
        }
        fm_test_hook_cjson(true);
        long live = fm_memory_live;
        fm_fault = (struct fm_fault){ .left = n, .armed = true, .sticky = sticky };
        fm_status status = fm_journal_open(&journal, folder, resume, &found, NULL);
        bool all = status == FM_OK;
        for (; status == FM_OK && tried < records.count; tried++) {
            bool done = fm_journal_append(journal, records.item[tried], NULL) == FM_OK;
            acknowledged += done;
            all = all && done;
            if (!done) break;
        }
        if (tried < records.count) tried++;
        fm_journal_close(journal);
        clean = fm_fault.hits == 0;
        fm_fault = (struct fm_fault){ 0 };
        fm_records_release(&found);
        assert_int_equal(fm_memory_live, live);
        fm_test_hook_cjson(false);
        assert_int_equal(all, clean);
        bool torn;
        if (acknowledged || fm_test_exists(folder, FM_JOURNAL_FILE))
            assert_int_equal(fm_journal_read(folder, &found, &torn, NULL), FM_OK);
        assert_true(is_prefix(&found, &records));
        assert_true(found.count >= acknowledged && found.count <= tried);
        /* where the disk failed but once, the end was mended */
        if (!sticky) assert_true(found.count == acknowledged || !clean);
        fm_records_release(&found);
    }
    assert_true(n > 30);
    fm_records_release(&records);
}

static void test_faults(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) sweep(i & 1, i & 2);
}

/* a failed write leaves the journal as it was, and the next record follows */
static void test_goes_on_after_a_full_disk(void **state)
{
    (void)state;
    const char *folder = fm_test_folder();
    struct fm_journal *journal;
    struct fm_records records, found = { 0 };
    bool torn;
    fm_test_records(sample, &records);
    for (long n = 0, failed = 0; n < 12 || failed == 0; n++) {
        folder = fm_test_folder();
        assert_int_equal(fm_journal_open(&journal, folder, false, NULL, NULL), FM_OK);
        assert_int_equal(fm_journal_append(journal, records.item[0], NULL), FM_OK);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        bool lost = fm_journal_append(journal, records.item[1], NULL) != FM_OK;
        fm_fault = (struct fm_fault){ 0 };
        failed += lost;
        assert_int_equal(fm_journal_append(journal, records.item[lost ? 1 : 2], NULL), FM_OK);
        fm_journal_close(journal);
        assert_int_equal(fm_journal_read(folder, &found, &torn, NULL), FM_OK);
        assert_true(!torn && found.count == (lost ? 2 : 3) && is_prefix(&found, &records));
        fm_records_release(&found);
        assert_true(n < 100);
    }
    fm_records_release(&records);
}

static cJSON *numbered(size_t index)
{
    char text[80];
    (void)snprintf(text, sizeof text, "{\"kind\":\"row\",\"v\":1,\"n\":%zu,\"pad\":\"%0*d\"}", index, (int)(index % 40), 0);
    return cJSON_Parse(text);
}

/* appends from `index` on, telling each record acknowledged, until it is killed */
static void write_for_ever(const char *folder, int out)
{
    struct fm_journal *journal;
    struct fm_records records = { 0 };
    if (fm_journal_open(&journal, folder, fm_test_exists(folder, FM_JOURNAL_FILE), &records, NULL) != FM_OK) _exit(1);
    for (size_t i = records.count;; i++) {
        cJSON *record = numbered(i);
        if (fm_journal_append(journal, record, NULL) != FM_OK || write(out, &i, sizeof i) != sizeof i) _exit(2);
        cJSON_Delete(record);
    }
}

static void test_kill(void **state)
{
    (void)state;
    const char *folder = fm_test_folder();
    size_t acknowledged = 0, i;
    for (uint64_t round = 0; round < 40; round++) {
        int ends[2], status;
        struct fm_records found = { 0 };
        bool torn;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) write_for_ever(folder, ends[1]);
        (void)close(ends[1]);
        assert_int_equal(read(ends[0], &i, sizeof i), sizeof i);    /* it has begun */
        (void)usleep((unsigned)(fm_rng_u64(7, 2, round) % 4000));
        assert_int_equal(kill(child, SIGKILL), 0);
        do acknowledged = i + 1;
        while (read(ends[0], &i, sizeof i) == sizeof i);
        (void)close(ends[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(fm_journal_read(folder, &found, &torn, NULL), FM_OK);
        assert_in_range(found.count, acknowledged, acknowledged + 1);
        for (size_t k = 0; k < found.count; k++) {
            int64_t n = -1;
            assert_true(fm_json_i64(found.item[k], "n", &n) && n == (int64_t)k);
        }
        fm_records_release(&found);
    }
    assert_true(acknowledged > 40);
}

#define THREADS 4
#define EACH 1000

static void *append_some(void *context)
{
    cJSON *record = numbered(0);
    fm_status status = FM_OK;
    for (size_t i = 0; i < EACH && status == FM_OK; i++) {
        cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(record, "n"), (double)i);
        status = fm_journal_append(context, record, NULL);
    }
    cJSON_Delete(record);
    return status == FM_OK ? NULL : context;
}

static void test_threads(void **state)
{
    (void)state;
    const char *folder = fm_test_folder();
    struct fm_journal *journal;
    struct fm_records found = { 0 };
    pthread_t threads[THREADS];
    size_t seen[EACH] = { 0 };
    assert_int_equal(fm_journal_open(&journal, folder, false, NULL, NULL), FM_OK);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, append_some, journal), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    fm_journal_close(journal);
    assert_int_equal(fm_journal_read(folder, &found, NULL, NULL), FM_OK);
    for (size_t i = 0; i < found.count; i++) {
        int64_t n = -1;
        assert_true(fm_json_i64(found.item[i], "n", &n) && n < EACH);
        seen[n]++;
    }
    for (size_t i = 0; i < EACH; i++) assert_int_equal(seen[i], THREADS);
    fm_records_release(&found);
}

static int clean_up(void **state)
{
    (void)state;
    fm_test_folder_remove();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_zeros_after_a_crash),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_order_of_lines),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_goes_on_after_a_full_disk),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, clean_up);
}
