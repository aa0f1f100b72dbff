/* The cache of what devices answered: what is damaged, of another device or half written is asked again, never believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/base/buf.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "tuner/campaign/cache.h"

#define PRINT 7

static char folder[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/fillmark-cache-XXXXXX");
    return mkdtemp(folder) && setenv("FILLMARK_CACHE_DIR", folder, 1) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(fm_memory_live, 0);
    return system(command);
}

static struct fm_workspace_entry entry_of(uint64_t key)
{
    struct fm_workspace_entry e = { .key = fm_rng_u64(1, 0, key), .unsupported = key % 5 == 4 };
    if (e.unsupported) {
        (void)snprintf(e.reason, sizeof e.reason, "no %d of this", (int)key);
        return e;
    }
    e.candidates.kept_bytes = (int64_t)(fm_rng_u64(1, 99, key) >> (key % 64));
    if (e.candidates.kept_bytes < 0) e.candidates.kept_bytes = 0;
    e.candidates.count = (uint32_t)(key % (FM_MAX_CANDIDATES + 1));
    for (uint32_t i = 0; i < e.candidates.count; i++) {
        e.candidates.item[i].workspace_bytes = (int64_t)(fm_rng_u64(1, 1 + i, key) >> 2);
        /* as long as it may be, or empty */
        memset(e.candidates.item[i].what, 'a' + (int)i, i % 2 ? sizeof e.candidates.item[i].what - 1 : 0);
    }
    return e;
}

static void assert_entry(const struct fm_workspaces *table, const struct fm_workspace_entry *e)
{
    const struct fm_workspace_entry *found = fm_workspaces_find(table, e->key);
    assert_non_null(found);
    assert_int_equal(found->unsupported, e->unsupported);
    assert_string_equal(found->reason, e->reason);
    assert_true(found->candidates.kept_bytes == e->candidates.kept_bytes);
    assert_int_equal(found->candidates.count, e->candidates.count);
    for (uint32_t i = 0; i < e->candidates.count; i++) {
        assert_int_equal(found->candidates.item[i].workspace_bytes, e->candidates.item[i].workspace_bytes);
        assert_string_equal(found->candidates.item[i].what, e->candidates.item[i].what);
    }
}

static void write_entries(uint64_t fingerprint, uint64_t from, uint64_t to)
{
    struct fm_cache cache;
    assert_int_equal(fm_cache_open(&cache, fingerprint, NULL), FM_OK);
    for (uint64_t key = from; key < to; key++) {
        struct fm_workspace_entry e = entry_of(key);
        fm_cache_append(&cache, &e);
    }
    fm_cache_close(&cache);
}

/* all that is believed of the file's lines */
static fm_status read_all(const struct fm_cache *cache, struct fm_workspaces *table)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < cache->lines && status == FM_OK; i++) {
        struct fm_workspace_entry entry;
        if (!fm_cache_find(cache, cache->line[i].key, &entry)) continue;
        assert_true(entry.key == cache->line[i].key);
        status = fm_workspaces_add(table, &entry, NULL);
    }
    return status;
}

static void read_entries(uint64_t fingerprint, struct fm_workspaces *table)
{
    struct fm_cache cache;
    *table = (struct fm_workspaces){ 0 };
    assert_int_equal(fm_cache_open(&cache, fingerprint, NULL), FM_OK);
    assert_int_equal(read_all(&cache, table), FM_OK);
    fm_cache_close(&cache);
}

static struct fm_cache_max max_of(uint64_t key)
{
    struct fm_cache_max m = { .key = fm_rng_u64(1, 0, key), .program = fm_rng_u64(2, 0, key) };
    m.answer = (struct fm_plan_max_answer){ .max_batch = (int64_t)(key * key % (1 << 30)), .bytes = fm_rng_u64(2, 1, key) >> 1, .at_limit = key % 2,
                                            .non_monotone = key % 3 == 0, .misfit_below = (int64_t)(key % 7) };
    return m;
}

/* both kinds of lines, of the same keys too; the last of each kind holds; whatever is damaged is not believed */
static void answers_of_searches(void **state)
{
    (void)state;
    struct fm_cache cache;
    struct fm_cache_max got;
    struct fm_workspace_entry entry;
    assert_int_equal(fm_cache_open(&cache, 77, NULL), FM_OK);
    for (uint64_t key = 0; key < 40; key++) {
        struct fm_cache_max m = max_of(key), older = m;
        struct fm_workspace_entry e = entry_of(key);
        older.answer.max_batch++;
        fm_cache_append_max(&cache, &older);
        if (key % 2) fm_cache_append(&cache, &e);
        fm_cache_append_max(&cache, &m);
    }
    fm_cache_close(&cache);
    assert_int_equal(fm_cache_open(&cache, 77, NULL), FM_OK);
    for (uint64_t key = 0; key < 40; key++) {
        struct fm_cache_max m = max_of(key);
        assert_true(fm_cache_find_max(&cache, m.key, &got));
        assert_true(got.key == m.key && got.program == m.program);
        assert_int_equal(got.answer.max_batch, m.answer.max_batch);
        assert_true(got.answer.bytes == m.answer.bytes);
        assert_int_equal(got.answer.at_limit, m.answer.at_limit);
        assert_int_equal(got.answer.non_monotone, m.answer.non_monotone);
        assert_int_equal(got.answer.misfit_below, m.answer.misfit_below);
        assert_int_equal(fm_cache_find(&cache, m.key, &entry), key % 2);
    }
    assert_false(fm_cache_find_max(&cache, 1, &got));
    /* one bit of a line: that line is not believed, be it the last or the first of its key */
    for (size_t bit = 0; bit < 8 * (size_t)cache.line[0].bytes; bit++) {
        char *at = &cache.text[cache.line[0].at + bit / 8];
        struct fm_cache_max m = max_of(0);
        *at ^= (char)(1 << bit % 8);
        if (fm_cache_find_max(&cache, m.key, &got)) assert_int_equal(got.answer.max_batch, m.answer.max_batch);
        *at ^= (char)(1 << bit % 8);
    }
    fm_cache_close(&cache);
}

static void path_of(uint64_t fingerprint, char path[128])
{
    (void)snprintf(path, 128, "%s/workspaces-%016llx.tsv", folder, (unsigned long long)fingerprint);
}

static size_t load(uint64_t fingerprint, char *data, size_t room)
{
    char path[128];
    path_of(fingerprint, path);
    FILE *file = fopen(path, "rbe");
    assert_non_null(file);
    size_t n = fread(data, 1, room, file);
    (void)fclose(file);
    assert_true(n < room);
    return n;
}

static void store(uint64_t fingerprint, const char *data, size_t bytes)
{
    char path[128];
    path_of(fingerprint, path);
    FILE *file = fopen(path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct fm_workspaces table;
    write_entries(PRINT, 0, 40);
    read_entries(PRINT, &table);
    assert_int_equal(table.count, 40);
    for (uint64_t key = 0; key < 40; key++) {
        struct fm_workspace_entry e = entry_of(key);
        assert_entry(&table, &e);
    }
    fm_workspaces_release(&table);
    /* another device, library or version is another fingerprint */
    read_entries(PRINT + 1, &table);
    assert_int_equal(table.count, 0);
    fm_workspaces_release(&table);
}

static void a_file_that_was_cut_anywhere(void **state)
{
    (void)state;
    static char data[8192];
    struct fm_workspaces table;
    write_entries(20, 0, 6);
    size_t bytes = load(20, data, sizeof data);
    for (size_t cut = 0; cut <= bytes; cut++) {
        size_t whole = 0;
        for (size_t i = 0; i < cut; i++) whole += data[i] == '\n';
        store(20, data, cut);
        read_entries(20, &table);
        assert_int_equal(table.count, whole);
        fm_workspaces_release(&table);
        /* what is added after a torn line is not lost with it; one that lacked only its end is whole then */
        write_entries(20, 6, 8);
        read_entries(20, &table);
        assert_int_equal(table.count, whole + 2 + (cut < bytes && data[cut] == '\n'));
        for (uint64_t key = 6; key < 8; key++) {
            struct fm_workspace_entry e = entry_of(key);
            assert_entry(&table, &e);
        }
        fm_workspaces_release(&table);
    }
}

static void a_byte_that_changed_costs_its_line(void **state)
{
    (void)state;
    static char data[8192];
    struct fm_workspaces table;
    write_entries(30, 0, 6);
    size_t bytes = load(30, data, sizeof data);
    for (size_t i = 0; i < bytes; i += 3) {
        char was = data[i];
        data[i] ^= 1;
        store(30, data, bytes);
        data[i] = was;
        read_entries(30, &table);
        assert_in_range(table.count, 4, 5);     /* a newline that is gone costs two */
        for (size_t k = 0; k < table.count; k++) {
            bool known = false;
            for (uint64_t key = 0; key < 6; key++) known = known || entry_of(key).key == table.entry[k].key;
            assert_true(known);
        }
        fm_workspaces_release(&table);
    }
}

/* whole lines, with a right checksum, that this version does not write */
static void lines_of_another_version(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "0000000000000001", "0000000000000001\tw", "0000000000000001\tx\t0", "0000000000000001\tww\t0\t0", "0000000000000001\tw\t0\t-1",
        "0000000000000001\tw\t0\t11\t1\ta", "0000000000000001\tw\t0\t1\t-5\ta", "0000000000000001\tw\t0\t1\t5", "0000000000000001\tw\t0\t1\tfive\ta",
        "0000000000000001\tw\t0\t1\t5\ta\tmore", "0000000000000001\tw\t0\tone", "1\tw\t0\t0", "000000000000000g\tw\t0\t0", "0000000000000001\tu", "",
        "0000000000000001\tw\t0\t1\t99999999999999999999\ta", "0000000000000001\tu\ta\tb", "0000000000000001\tw\t-1\t0", "0000000000000001\tw\t0", "0000000000000001\tc\t0", "{\"key\":1}",
    };
    struct fm_buf text = FM_BUF(1 << 16);
    struct fm_workspaces table;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char sum[FM_HASH_TEXT_BYTES];
        fm_hash_print(fm_hash_add(FM_HASH_INIT, bodies[i], strlen(bodies[i])), sum);
        fm_buf_printf(&text, "%s\t%s\n", sum, bodies[i]);
    }
    for (int i = 0; i < 5000; i++) fm_buf_putc(&text, 'x');         /* longer than any line */
    fm_buf_puts(&text, "\n");
    fm_buf_add(&text, "a\0b\n", 4);
    store(40, fm_buf_text(&text), text.bytes);
    fm_buf_release(&text);
    write_entries(40, 0, 2);
    read_entries(40, &table);
    assert_int_equal(table.count, 2);
    fm_workspaces_release(&table);
}

/* of lines of one problem the last that is whole holds; what is appended is not seen before the file is opened again */
static void lines_of_one_problem(void **state)
{
    (void)state;
    static char data[8192];
    struct fm_cache cache;
    struct fm_workspace_entry e = { .key = 9, .candidates = { .count = 1 } }, found;
    assert_int_equal(fm_cache_open(&cache, 80, NULL), FM_OK);
    for (int64_t bytes = 1; bytes <= 3; bytes++) {
        e.candidates.item[0].workspace_bytes = bytes;
        fm_cache_append(&cache, &e);
    }
    assert_false(fm_cache_find(&cache, 9, &found));
    fm_cache_close(&cache);
    size_t bytes = load(80, data, sizeof data);
    for (int64_t whole = 3; whole >= 0; whole--) {
        assert_int_equal(fm_cache_open(&cache, 80, NULL), FM_OK);
        assert_int_equal(fm_cache_find(&cache, 9, &found), whole > 0);
        if (whole) assert_int_equal(found.candidates.item[0].workspace_bytes, whole);
        assert_false(fm_cache_find(&cache, 10, &found));
        fm_cache_close(&cache);
        if (whole) data[bytes * (size_t)whole / 3 - 3] ^= 1;        /* lines of one length: within the last whole one */
        store(80, data, bytes);
    }
}

/* texts of a device are its own: they may hold what parts fields and lines */
static void odd_texts(void **state)
{
    (void)state;
    struct fm_cache cache;
    struct fm_workspaces table;
    assert_int_equal(fm_cache_open(&cache, 50, NULL), FM_OK);
    struct fm_workspace_entry e = { .key = 5, .unsupported = true, .reason = "first\nsecond\tthird" };
    struct fm_workspace_entry f = { .key = 6, .candidates = { .count = 1, .item = { { 7, "a\tb\nc" } } } };
    /* as long as one can be, and not a byte less */
    struct fm_workspace_entry g = { .key = 7, .unsupported = true };
    memset(g.reason, 'r', sizeof g.reason - 1);
    assert_true(sizeof g.reason >= 160);
    fm_cache_append(&cache, &e);
    fm_cache_append(&cache, &f);
    fm_cache_append(&cache, &g);
    fm_cache_close(&cache);
    read_entries(50, &table);
    assert_int_equal(table.count, 3);
    assert_string_equal(fm_workspaces_find(&table, 7)->reason, g.reason);
    assert_string_equal(fm_workspaces_find(&table, 5)->reason, "first second third");
    assert_string_equal(fm_workspaces_find(&table, 6)->candidates.item[0].what, "a b c");
    fm_workspaces_release(&table);
}

static void two_writers(void **state)
{
    (void)state;
    struct fm_workspaces table;
    pid_t child[3];
    for (uint64_t c = 0; c < 3; c++) {
        child[c] = fork();
        assert_true(child[c] >= 0);
        if (child[c]) continue;
        write_entries(60, c * 200, c * 200 + 250);      /* some of them both */
        _exit(0);
    }
    for (int c = 0; c < 3; c++) {
        int status = -1;
        assert_int_equal(waitpid(child[c], &status, 0), child[c]);
        assert_int_equal(status, 0);
    }
    read_entries(60, &table);
    assert_int_equal(table.count, 650);
    for (uint64_t key = 0; key < 650; key++) {
        struct fm_workspace_entry e = entry_of(key);
        assert_entry(&table, &e);
    }
    fm_workspaces_release(&table);
}

static void a_folder_that_cannot_be(void **state)
{
    (void)state;
    struct fm_cache cache;
    assert_int_equal(setenv("FILLMARK_CACHE_DIR", "/dev/null/none", 1), 0);
    assert_int_equal(fm_cache_open(&cache, PRINT, NULL), FM_OK);
    struct fm_workspace_entry e = entry_of(1);
    fm_cache_append(&cache, &e);
    assert_false(fm_cache_find(&cache, e.key, &e));
    fm_cache_close(&cache);
    /* $XDG_CACHE_HOME, else $HOME, where no folder of its own is named */
    char deep[80], path[160];
    (void)snprintf(deep, sizeof deep, "%s/a/b", folder);
    (void)unsetenv("FILLMARK_CACHE_DIR");
    assert_int_equal(setenv("XDG_CACHE_HOME", deep, 1), 0);
    write_entries(PRINT, 0, 1);
    (void)snprintf(path, sizeof path, "%s/fillmark/workspaces-%016x.tsv", deep, PRINT);
    assert_int_equal(access(path, R_OK), 0);
    assert_int_equal(setenv("XDG_CACHE_HOME", "", 1), 0);
    assert_int_equal(setenv("HOME", deep, 1), 0);
    write_entries(PRINT, 0, 1);
    (void)snprintf(path, sizeof path, "%s/.cache/fillmark/workspaces-%016x.tsv", deep, PRINT);
    assert_int_equal(access(path, R_OK), 0);
    (void)unsetenv("HOME");
    write_entries(PRINT, 0, 1);
    assert_int_equal(setenv("FILLMARK_CACHE_DIR", folder, 1), 0);
}

static void memory_runs_out(void **state)
{
    (void)state;
    write_entries(70, 0, 20);
    for (long n = 0;; n++) {
        struct fm_cache cache;
        struct fm_workspaces table = { 0 };
        struct fm_err err = { 0 };
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_cache_open(&cache, 70, &err);
        if (status == FM_OK) status = read_all(&cache, &table);
        struct fm_workspace_entry e = entry_of(3);
        fm_cache_append(&cache, &e);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_cache_close(&cache);
        if (status == FM_OK) assert_int_equal(table.count, 20);
        else assert_int_equal(status, FM_NOMEM);
        fm_workspaces_release(&table);
        assert_int_equal(fm_memory_live, 0);
        if (!hits) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(answers_of_searches),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_file_that_was_cut_anywhere),
        cmocka_unit_test(a_byte_that_changed_costs_its_line),
        cmocka_unit_test(lines_of_another_version),
        cmocka_unit_test(lines_of_one_problem),
        cmocka_unit_test(odd_texts),
        cmocka_unit_test(two_writers),
        cmocka_unit_test(a_folder_that_cannot_be),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
