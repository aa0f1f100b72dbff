/* Edits: what a reader sees afterwards is what was there plus what was asked for, and no other byte moved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "results/export_formats/diff.h"
#include "results/export_formats/doc.h"
#include "results/export_formats/edit.h"
#include "tests/export/support_yaml.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

static const char *name_of(const struct fm_random_text *t)
{
    return t->json ? "file.json" : "file.yaml";
}

static void edit_or_fail(const char *name, const struct fm_buf *text, const struct fm_entries *entries, struct fm_buf *out)
{
    struct fm_err err = { 0 };
    if (fm_edit(name, fm_buf_text(text), text->bytes, entries, out, &err) != FM_OK) fail_msg("%s\n%s\n%s", err.text, name, fm_buf_text(text));
}

/* "a/b/" of "a.b" */
static void seen_path(const char *path, char out[64])
{
    size_t i = 0;
    for (; path[i]; i++) out[i] = path[i] == '.' ? '/' : path[i];
    out[i] = '/';
    out[i + 1] = '\0';
}

static void assert_value(const struct fm_seen *seen, const char *path, const char *want, const struct fm_buf *text)
{
    const char *value = fm_test_seen_value(seen, path);
    if (!value || strcmp(value, want) != 0) fail_msg("%s is '%s', not '%s', in\n%s", path, value ? value : "(not there)", want, fm_buf_text(text));
}

static void assert_entry(const struct fm_seen *seen, const struct fm_entry *e, const struct fm_buf *text)
{
    struct fm_buf want = FM_BUF(256);
    char path[64], item[96];
    seen_path(e->path, path);
    if (e->value.kind == FM_VALUE_INTS) {
        for (uint32_t i = 0; i < e->value.items; i++) {
            char number[32];
            (void)snprintf(item, sizeof item, "%s%u/", path, i);
            (void)snprintf(number, sizeof number, "%lld", (long long)e->value.item[i]);
            assert_value(seen, item, number, text);
        }
    } else if (e->value.kind == FM_VALUE_BOOL) {
        const char *value = fm_test_seen_value(seen, path);
        if (!value) fail_msg("%s is not there in\n%s", path, fm_buf_text(text));
        bool on = strchr("tTyY", *value) || strcmp(value, "on") == 0;
        if (on != e->value.on) fail_msg("%s is '%s' in\n%s", path, value, fm_buf_text(text));
    } else if (e->value.kind == FM_VALUE_TEXT) {
        assert_value(seen, path, e->value.text, text);
    } else {
        fm_put_value(&want, &e->value, FM_NOTATION_YAML);
        const char *value = fm_test_seen_value(seen, path);
        if (value && *value == '+') value++;
        if (!value || strcmp(value, fm_buf_text(&want)) != 0) fail_msg("%s is '%s' in\n%s", path, value ? value : "(not there)", fm_buf_text(text));
    }
    fm_buf_release(&want);
}

/* does the edit concern that line of the seen: a target, or a parent that was null or empty? */
static bool concerns(const char *line, const struct fm_entries *entries)
{
    static const char *const parents[] = { "a/", "d/", "d/e/", "" };
    size_t bytes = (size_t)(strchr(line, '=') - line);
    for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++)
        if (strlen(parents[i]) == bytes && memcmp(parents[i], line, bytes) == 0) return true;
    for (size_t i = 0; i < entries->count; i++) {
        char path[64];
        seen_path(entries->entry[i].path, path);
        if (strncmp(line, path, strlen(path)) == 0) return true;
    }
    return false;
}

/* all else is as it was, in the same order */
static void assert_rest(const struct fm_seen *before, const struct fm_seen *after, const struct fm_entries *entries, const struct fm_buf *text)
{
    size_t k = 0;
    for (size_t i = 0; i < before->count; i++) {
        if (concerns(before->line[i], entries)) continue;
        while (k < after->count && concerns(after->line[k], entries)) k++;
        if (k == after->count || strcmp(before->line[i], after->line[k]) != 0)
            fail_msg("'%s' became '%s' in\n%s", before->line[i], k < after->count ? after->line[k] : "(nothing)", fm_buf_text(text));
        k++;
    }
    while (k < after->count && concerns(after->line[k], entries)) k++;
    if (k != after->count) fail_msg("'%s' came in\n%s", after->line[k], fm_buf_text(text));
}

/* every byte of `before` is in `after`, in its order */
static bool is_subsequence(const struct fm_buf *before, const struct fm_buf *after)
{
    const char *b = fm_buf_text(before), *a = fm_buf_text(after);
    size_t i = 0;
    for (size_t k = 0; k < after->bytes && i < before->bytes; k++) i += b[i] == a[k];
    return i == before->bytes;
}

/* the texts' lines of `before` are all in `after`, whole and in their order */
static bool lines_are_kept(const struct fm_buf *before, const struct fm_buf *after)
{
    const char *b = fm_buf_text(before), *a = fm_buf_text(after);
    while (*b) {
        size_t n = strcspn(b, "\r\n"), m = strcspn(a, "\r\n");
        if (n == m && memcmp(a, b, n) == 0) b += n + strspn(b + n, "\r\n");
        else if (!*a) return false;
        a += m + strspn(a + m, "\r\n");
    }
    return true;
}

static void check_random(struct fm_random_text *t)
{
    struct fm_entries entries;
    struct fm_seen before, after;
    struct fm_buf made = FM_BUF(1 << 16), again = FM_BUF(1 << 16);
    fm_test_random_text(t);
    fm_test_entries((int)(t->seed % 2), &entries);
    if (!fm_test_see(fm_buf_text(&t->out), t->out.bytes, &before)) fail_msg("the test's own text is no YAML:\n%s", fm_buf_text(&t->out));
    edit_or_fail(name_of(t), &t->out, &entries, &made);
    assert_true(fm_test_see(fm_buf_text(&made), made.bytes, &after));
    for (size_t i = 0; i < entries.count; i++) assert_entry(&after, &entries.entry[i], &made);
    assert_rest(&before, &after, &entries, &made);
    /* what is there already is not touched again */
    edit_or_fail(name_of(t), &made, &entries, &again);
    assert_int_equal(made.bytes, again.bytes);
    assert_memory_equal(fm_buf_text(&made), fm_buf_text(&again), made.bytes);
    /* line ends stay of one kind */
    if (strstr(fm_buf_text(&t->out), "\r\n"))
        for (const char *c = fm_buf_text(&made); (c = strchr(c, '\n')); c++) assert_int_equal(c[-1], '\r');
    fm_test_seen_release(&before);
    fm_test_seen_release(&after);
    fm_buf_release(&made);
    fm_buf_release(&again);
    fm_buf_release(&t->out);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4000; seed++)
        check_random(&(struct fm_random_text){ .seed = seed, .flow = seed & 1, .nulls = seed & 2, .canonical = seed & 4 });
    for (uint64_t seed = 0; seed < 4000; seed++)
        check_random(&(struct fm_random_text){ .seed = seed, .json = true, .flow = true, .nulls = seed & 2, .canonical = seed & 4 });
    assert_int_equal(fm_memory_live, 0);
}

/* to other values and back: the same bytes again */
static void test_there_and_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct fm_random_text t = { .seed = seed, .json = seed % 3 == 0, .flow = true, .all = true, .canonical = true };
        struct fm_entries there, back;
        struct fm_buf made = FM_BUF(1 << 16), again = FM_BUF(1 << 16);
        fm_test_random_text(&t);
        fm_test_entries(1, &there);
        fm_test_entries(0, &back);
        edit_or_fail(name_of(&t), &t.out, &there, &made);
        assert_false(made.bytes == t.out.bytes && memcmp(fm_buf_text(&made), fm_buf_text(&t.out), made.bytes) == 0);
        edit_or_fail(name_of(&t), &made, &back, &again);
        if (again.bytes != t.out.bytes || memcmp(fm_buf_text(&again), fm_buf_text(&t.out), again.bytes) != 0)
            fail_msg("before\n%s\nafter\n%s", fm_buf_text(&t.out), fm_buf_text(&again));
        fm_buf_release(&made);
        fm_buf_release(&again);
        fm_buf_release(&t.out);
    }
}

/* where keys are only added, nothing that was there goes, and in blocks whole lines stay */
static void test_only_added(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct fm_random_text t = { .seed = seed, .json = seed % 3 == 0, .flow = seed % 3 == 1, .canonical = true };
        struct fm_entries entries;
        struct fm_buf made = FM_BUF(1 << 16);
        fm_test_random_text(&t);
        fm_test_entries(0, &entries);
        edit_or_fail(name_of(&t), &t.out, &entries, &made);
        if (!is_subsequence(&t.out, &made) || (seed % 3 == 2 && !lines_are_kept(&t.out, &made)))
            fail_msg("before\n%s\nafter\n%s", fm_buf_text(&t.out), fm_buf_text(&made));
        fm_buf_release(&made);
        fm_buf_release(&t.out);
    }
}

/* ---- fixed cases ---- */

struct fixed { const char *name, *before, *after; };

static void check_fixed(const struct fixed *f)
{
    struct fm_entries entries = { 0 };
    struct fm_buf text = FM_BUF(1 << 16), made = FM_BUF(1 << 16);
    fm_entries_add(&entries, "trainer.precision", fm_value_text("bf16-mixed"))->accepts = 1u << FM_VALUE_INT;
    fm_entries_add(&entries, "trainer.accumulate_grad_batches", fm_value_int(4))->word = "auto";
    fm_entries_add(&entries, "data.batch_size", fm_value_int(8))->instead = "data.init_args.batch_size";
    (void)fm_entries_add(&entries, "lr", fm_value_real(1e-4));
    fm_entries_add(&entries, "keep", fm_value_text("ours"))->keep = true;
    fm_buf_puts(&text, f->before);
    edit_or_fail(f->name, &text, &entries, &made);
    assert_string_equal(fm_buf_text(&made), f->after);
    fm_buf_release(&text);
    fm_buf_release(&made);
}

static const struct fixed fixed[] = {
    { "a.yaml", "", "trainer:\n  precision: bf16-mixed\n  accumulate_grad_batches: 4\ndata:\n  batch_size: 8\nlr: 0.0001\nkeep: ours\n" },
    { "a.yaml", "# only a comment", "# only a comment\ntrainer:\n  precision: bf16-mixed\n  accumulate_grad_batches: 4\ndata:\n  batch_size: 8\nlr: 0.0001\nkeep: ours" },
    /* quotes, comments and order stay; an integer precision is an older word for the same */
    { "a.yaml", "lr: 3e-4  # tuned\nkeep: [theirs]\ntrainer:\n    precision: 32 # or 16\n    accumulate_grad_batches: auto\ndata: {batch_size: 2}\n",
      "lr: 0.0001  # tuned\nkeep: [theirs]\ntrainer:\n    precision: bf16-mixed # or 16\n    accumulate_grad_batches: 4\ndata: {batch_size: 8}\n" },
    { "a.yaml", "trainer: {precision: '32-true'}\nkeep: 1\ndata:\n  class_path: my.Data\n  init_args:\n    batch_size: 2\n    workers: 4\nlr: 1.0e-4\n",
      "trainer: {precision: 'bf16-mixed', accumulate_grad_batches: 4}\nkeep: 1\ndata:\n  class_path: my.Data\n  init_args:\n    batch_size: 8\n    workers: 4\nlr: 1.0e-4\n" },
    /* a parent that is there but empty; an anchor elsewhere is no matter */
    { "a.yaml", "x: &x 1\ny: *x\ntrainer:\n# precision: 16\ndata: ~\nlr: 1\nkeep: k",
      "x: &x 1\ny: *x\ntrainer: {precision: bf16-mixed, accumulate_grad_batches: 4}\n# precision: 16\ndata: {batch_size: 8}\nlr: 0.0001\nkeep: k" },
    /* a merge key may bring the value; a direct key goes before it */
    { "a.yaml", "base: &base {precision: 32}\ntrainer:\n  <<: *base\ndata: {batch_size: 8}\nlr: 0.0001\nkeep: k\n",
      "base: &base {precision: 32}\ntrainer:\n  <<: *base\n  precision: bf16-mixed\n  accumulate_grad_batches: 4\ndata: {batch_size: 8}\nlr: 0.0001\nkeep: k\n" },
    { "a.json", "{}", "{\"trainer\": {\"precision\": \"bf16-mixed\", \"accumulate_grad_batches\": 4}, \"data\": {\"batch_size\": 8}, \"lr\": 0.0001, \"keep\": \"ours\"}" },
    { "a.json", "{\n\t\"trainer\": {\n\t\t\"precision\": \"32\"\n\t},\n\t\"lr\": null\n}\n",
      "{\n\t\"trainer\": {\n\t\t\"precision\": \"bf16-mixed\",\n\t\t\"accumulate_grad_batches\": 4\n\t},\n\t\"lr\": 0.0001,\n\t\"data\": {\n\t\t\"batch_size\": 8\n\t},\n\t\"keep\": \"ours\"\n}\n" },
    /* a comment without a blank before it */
    { "a.yaml", "trainer: {z: []# c\n}\ndata: {# d\n}\nlr: 0.0001\nkeep: k\n",
      "trainer: {z: [], precision: bf16-mixed, accumulate_grad_batches: 4 # c\n}\ndata: {batch_size: 8 # d\n}\nlr: 0.0001\nkeep: k\n" },
    /* no ending says so, but the text is JSON */
    { "config", "{\"trainer\":{\"precision\":16,\"accumulate_grad_batches\":1},\"data\":{\"batch_size\":1},\"lr\":1,\"keep\":0}",
      "{\"trainer\":{\"precision\":\"bf16-mixed\",\"accumulate_grad_batches\":4},\"data\":{\"batch_size\":8},\"lr\":0.0001,\"keep\":0}" },
};

static void test_fixed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) check_fixed(&fixed[i]);
}

/* ---- refusals ---- */

static const struct { const char *name, *text, *error; } refused[] = {
    { "a.yaml", "a:\n  b: [4]\n", "a.yaml:2:6: a.b: is a list, not an integer" },
    { "a.yaml", "a:\n  b: {x: 1}\n", "a.yaml:2:6: a.b: is a mapping, not an integer" },
    { "a.yaml", "a:\n  b: four\n", "a.yaml:2:6: a.b: is text ('four'), not an integer" },
    { "a.yaml", "a:\n  b: '4'\n", "a.yaml:2:6: a.b: is text ('4'), not an integer" },
    { "a.yaml", "a:\n  b: 4.0\n", "a.yaml:2:6: a.b: is a number ('4.0'), not an integer" },
    { "a.yaml", "a:\n  b: yes\n", "a.yaml:2:6: a.b: is true or false ('yes'), not an integer" },
    { "a.yaml", "a:\n  c: 32\n", "a.yaml:2:6: a.c: is an integer ('32'), not text" },
    { "a.yaml", "a: 5\n", "a.yaml:1:4: a: is an integer, not a mapping" },
    { "a.yaml", "a: [1]\n", "a.yaml:1:4: a: is a list, not a mapping" },
    { "a.yaml", "d: {list: [1, 2]}\n", "a.yaml:1:11: d.list: is a list of 2, not of 3" },
    { "a.yaml", "d: {list: [1, x, 2]}\n", "a.yaml:1:15: d.list: is text ('x'), not an integer" },
    { "a.yaml", "d: {list: 3}\n", "a.yaml:1:11: d.list: is an integer ('3'), not a list of integers" },
    { "a.yaml", "x: &x 1\na: {b: *x}\n", "a.yaml:2:8: a.b: is an alias" },
    { "a.yaml", "a: {b: &x 1}\ny: *x\n", "a.yaml:1:8: a.b: has an anchor" },
    { "a.yaml", "a: &x {b: 1}\ny: *x\n", "a.yaml:1:4: a: has an anchor" },
    { "a.yaml", "x: &x {b: 1}\na: *x\n", "a.yaml:2:4: a: is an alias" },
    { "a.yaml", "a: {b: !!int 1}\n", "a.yaml:1:8: a.b: has a tag" },
    { "a.yaml", "x: &x {a: {b: 1}}\n<<: *x\n", "a.yaml:2:5: a: may come from here (<<)" },
    { "a.yaml", "a: {b: 1}\na: {b: 2}\n", "a.yaml:2:1: a: the key is there twice" },
    { "a.yaml", "a: {b: 1, b: 2}\n", "a.yaml:1:11: a.b: the key is there twice" },
    { "a.yaml", "a:\n  c: |\n    x\n", "a.yaml:2:6: a.c: is a block of text" },
    { "a.yaml", "? a\n: {b: 1}\n", "nothing can be added to" },
    { "a.yaml", "a: 1\n---\na: 2\n", "a.yaml:2:1: a second document" },
    { "a.yaml", "- a\n- b\n", "a.yaml:1:1: the file is not a mapping" },
    { "a.yaml", "just text\n", "a.yaml:1:1: the file is not a mapping" },
    { "a.yaml", "a:\n\tb: 1\n", "a.yaml:2:1: found character that cannot start any token (a tab as indentation?)" },
    { "a.yaml", "a: {b: 1\n", "a.yaml:2:1: " },
    { "a.yaml", "\xff\xfe" "a", "a.yaml: UTF-16" },
    { "a.yaml", "a: \xc3(\n", "the file must be UTF-8" },
    { "a.yaml", "---\n...\n", "a.yaml: ends with '...'" },
    { "a.yaml", "x: |\n  text", "a.yaml:1:4: the file ends within this block of text" },
    { "a.json", "", "a.json:1:1: not JSON" },
    { "a.json", "{\"a\": 1,}", "not JSON from here on" },
    { "a.json", "a: 1\n", "a.json:1:1: not JSON" },
    { "a.json", "[1]", "a.json:1:1: the file is not a mapping" },
    { "a.json", "{\n\"a\": {\"b\": \"4\"}}", "a.json:2:12: a.b: is text ('4'), not an integer" },
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct fm_entries entries;
        struct fm_buf out = FM_BUF(1 << 16);
        struct fm_err err = { 0 };
        fm_test_entries(1, &entries);
        fm_status status = fm_edit(refused[i].name, refused[i].text, strlen(refused[i].text), &entries, &out, &err);
        if (status != FM_INVALID || !strstr(err.text, refused[i].error)) fail_msg("%s\n%d '%s', not '%s'", refused[i].text, status, err.text, refused[i].error);
        assert_int_equal(out.bytes, 0);
        fm_buf_release(&out);
    }
    assert_int_equal(fm_memory_live, 0);
}

/* deep nesting ends in an error, not in a long wait or a full stack */
static void test_deep(void **state)
{
    struct fm_buf text = FM_BUF(1 << 20), out = FM_BUF(1 << 20);
    struct fm_entries entries;
    struct fm_err err = { 0 };
    (void)state;
    fm_test_entries(0, &entries);
    fm_buf_puts(&text, "z: ");
    for (int i = 0; i < 50000; i++) fm_buf_putc(&text, '[');
    assert_int_equal(fm_edit("a.yaml", fm_buf_text(&text), text.bytes, &entries, &out, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "nested deeper"));
    fm_buf_release(&text);
    fm_buf_release(&out);
}

/* texts with a byte changed, gone or doubled: an error or a right edit, never anything else */
static void test_mutations(void **state)
{
    (void)state;
    size_t edited = 0;
    for (uint64_t seed = 0; seed < 6000; seed++) {
        struct fm_random_text t = { .seed = seed, .json = seed % 4 == 0, .flow = true, .nulls = true };
        struct fm_entries entries;
        struct fm_seen after;
        struct fm_buf cut = FM_BUF(1 << 16), out = FM_BUF(1 << 16);
        struct fm_err err = { 0 };
        fm_test_random_text(&t);
        fm_test_entries(1, &entries);
        size_t at = (size_t)(fm_rng_u64(seed, 1, 0) % t.out.bytes);
        fm_buf_add(&cut, fm_buf_text(&t.out), at);
        if (seed % 3 == 0) fm_buf_putc(&cut, "{}[]:,#&*!|>'\"%@`\n\t -?~x7"[fm_rng_u64(seed, 1, 1) % 26]);
        if (seed % 5) fm_buf_add(&cut, fm_buf_text(&t.out) + at + (seed % 3 != 1), t.out.bytes - at - (seed % 3 != 1));
        fm_status status = fm_edit(name_of(&t), fm_buf_text(&cut), cut.bytes, &entries, &out, &err);
        if (status != FM_OK && status != FM_INVALID) fail_msg("%s\n%s", err.text, fm_buf_text(&cut));
        if (status == FM_OK) {
            assert_true(fm_test_see(fm_buf_text(&out), out.bytes, &after));
            for (size_t i = 0; i < entries.count; i++) assert_entry(&after, &entries.entry[i], &out);
            fm_test_seen_release(&after);
            edited++;
        }
        fm_buf_release(&t.out);
        fm_buf_release(&cut);
        fm_buf_release(&out);
    }
    assert_in_range(edited, 1000, 5900);
    assert_int_equal(fm_memory_live, 0);
}

static void test_faults(void **state)
{
    static const char text[] = "a: {b: 1}\nd:\n  e:\nlist: [1, 2]\nx: |\n  y\n";
    (void)state;
    bool clean = false;
    for (long n = 0; !clean; n++) {
        struct fm_entries entries;
        struct fm_buf out = FM_BUF(1 << 16), before = FM_BUF(1 << 12), diff = FM_BUF(1 << 16);
        struct fm_err err = { 0 };
        fm_test_entries(1, &entries);
        fm_buf_puts(&before, text);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_edit("a.yaml", text, sizeof text - 1, &entries, &out, &err);
        if (status == FM_OK) status = fm_diff_unified("a.yaml", &before, &out, &diff, &err);
        clean = fm_fault.hits == 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status, clean ? FM_OK : FM_NOMEM);
        fm_buf_release(&out);
        fm_buf_release(&before);
        fm_buf_release(&diff);
        assert_int_equal(fm_memory_live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed), cmocka_unit_test(test_refusals), cmocka_unit_test(test_random), cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_only_added), cmocka_unit_test(test_deep), cmocka_unit_test(test_mutations), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
