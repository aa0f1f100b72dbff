/* Every way a graph's YAML can be wrong is an error that says where and what; limits; faults; mutated files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/graph/support_yaml.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "workloads/graph/yaml.h"

static fm_status read_text(const char *text, size_t bytes, struct fm_graph *graph, struct fm_err *err)
{
    *err = (struct fm_err){ 0 };
    return fm_graph_read("g.yaml", text, bytes, (const int64_t[]){ 2, 3 }, graph, err);
}

/* the documented example with one piece replaced, and the error that this must give */
static const struct change {
    const char *old, *new, *error;
} changes[] = {
    /* the document */
    { "fillmark_graph: 1", "fillmark_graph: 2", "g.yaml:1:17: a whole number from 1 to 1, please, not '2'" },
    { "fillmark_graph: 1", "graph: 1", "g.yaml:1:1: this is no graph: it must say 'fillmark_graph: 1'" },
    { "name: tiny", "nmae: tiny", "g.yaml:2:1: unknown key 'nmae'; did you mean 'name'?" },
    { "name: tiny", "name: tiny\nname: tiny", "g.yaml:3:1: key 'name' is here twice; the first is on line 2" },
    { "name: tiny", "name: &a tiny", "g.yaml:2:7: anchors are not read here" },
    { "name: tiny", "name: *a", "g.yaml:2:7: aliases are not read here" },
    { "name: tiny", "name: !!str tiny", "g.yaml:2:7: tags are not read here" },
    { "name: tiny", "name:", "something is missing here" },
    { "name: tiny", "name: {a: b}", "g.yaml:2:7: a name, please" },
    { "name: tiny", "[a]: tiny", "g.yaml:2:1: a key must be a word" },
    { "name: tiny", "name: t\xc3\xafny", "g.yaml:2:7: only printable ASCII is read here" },
    { "name: tiny", "name: [", "this is not YAML" },
    { "fillmark_graph: 1", "%TAG ! tag:x,2000:\n---\nfillmark_graph: 1", "tags are not read here; leave %TAG out" },
    { "validation:", "---\nvalidation:", "a second document; a file holds one graph" },
    { "validation:", "validating:", "unknown key 'validating'; did you mean 'validation'?" },
    { "name: tiny", "name: [[[[[[[[[[a]]]]]]]]]]", "this is nested too deep" },
    /* parameters */
    { "constant: 1}", "constnat: 1}", "g.yaml:5:35: unknown key 'constnat'; did you mean 'constant'?" },
    { "uniform: 0.19", "uniform: -0.19", "g.yaml:4:58: a number from 0 to 1e+30, please, not '-0.19'" },
    { "uniform: 0.19", "uniform: 0.19, normal: 1", "one of constant, uniform and normal is enough" },
    { ", uniform: 0.19", "", "g.yaml:4:5: what are its first values?" },
    { "bn.bias, shape: [8]", "bn.weight, shape: [8]", "g.yaml:6:5: there is a parameter 'bn.weight' already" },
    { "shape: [8, 1, 3, 3, 3]", "shape: [8B, 1, 3, 3, 3]", "a parameter's size cannot depend on the batch" },
    { "shape: [8, 1, 3, 3, 3]", "shape: [8, 0, 3, 3, 3]", "a size is a number from 1 to 2^45, not '0'" },
    { "shape: [8, 1, 3, 3, 3]", "shape: [8, 1.5, 3, 3, 3]", "not '1.5'" },
    { "shape: [8, 1, 3, 3, 3]", "shape: [35184372088832, 35184372088832]", "this has more than 2^45 elements" },
    { "shape: [8, 1, 3, 3, 3]", "shape: [1, 1, 1, 1, 1, 1, 1]", "a list of 0 to 6 items" },
    { "shape: [8, 1, 3, 3, 3]", "shape: 8", "a shape is a list of sizes" },
    { "dtype: i64, constant: 0, buffer: true", "dtype: i64, constant: 0", "whole numbers are not trained" },
    { "dtype: i64", "dtype: f16", "f32 or i64, please" },
    { "constant: 0, buffer: true}", "constant: 0, buffer: yes}", "true or false, please" },
    { "name: conv.weight", "name: a23456789b123456789c123456789d123456789e123456789f123456",
      "a name of at most 55 characters" },
    /* operators */
    { "op: relu_", "op: rleu_", "g.yaml:21:12: unknown op 'rleu_'; did you mean 'relu_'?" },
    { "in: bn}", "in: bm}", "g.yaml:21:35: no value or parameter has the name 'bm' here; did you mean 'bn'?" },
    { "in: bn}", "in: bn, groups: 1}", "unknown key 'groups'; here are known: op, name, out, in" },
    { "in: bn}", "in: []}", "a list of 1 to 64 items" },
    { "in: bn}", "in: [bn, bn]}", "relu_ takes 1 to 1 inputs, not 2" },
    { "in: bn}", "in: bn.weight}", "a parameter is not changed in place" },
    { "in: bn}", "in: y}", "input 0 of relu_ must be f32, not i64" },
    { ", in: bn}", "}", "relu_ needs 'in'" },
    { "padding: 1", "padding: -1", "a whole number from 0 to 16384, please, not '-1'" },
    { "padding: 1", "padding: [1, 1]", "a list of 3 to 3 items" },
    { "padding: 1", "padding: 1, groups: 3", "3 groups do not divide the weight's 8 channels" },
    { "padding: 1", "dilation: 64", "nothing is left of dimension" },
    { "in: [x, conv.weight]", "in: [x, head.weight]",
      "g.yaml:19:7: conv: the input has 1 channels, the weight wants 8" },
    { "in: [x, conv.weight]", "in: [x]", "conv takes 2 to 3 inputs, not 1" },
    { "in: [relu, head.weight, head.bias]", "in: [relu, head.weight, bn.bias]",
      "input 2 of conv must be a vector of 4 elements" },
    { "bn.bias, bn.running_mean", "bn.bias, bn.weight", "input 3 of batch_norm must be a buffer" },
    { "dim: 1}", "dim: 5}", "no dimension 5" },
    { ", dim: 1}", "}", "log_softmax needs 'dim'" },
    { "name: relu,", "name: bn,", "there is a value 'bn' already, from line 20; name this result with out:" },
    { "name: relu,", "name: bn.bias,", "there is a parameter 'bn.bias'; name this result with out:" },
    { "name: relu, ", "", "an operator needs a name" },
    { "shape: [B, 1, 16, 16, 16]", "shape: [1.5B, 1, 16, 16, 16]",
      "B (the batch) or a multiple such as 2B, not '1.5B'" },
    { "shape: [B, 1, 16, 16, 16]", "shape: [99999999999999B, 1, 16, 16, 16]", "not '99999999999999B'" },
    { "shape: [B, 1, 16, 16, 16]", "shape: [B, 1000000000, 16, 1000, 1000]", "this has more than 2^45 elements" },
    { "input: volume,", "input: vol,", "an input is volume, image, volume_labels or image_labels, not 'vol'" },
    { "classes: 4", "classes: 0", "a whole number from 1 to 1000000, please, not '0'" },
    /* statements and bodies */
    { "{bind: x, to: x}", "{bind: x}", "bind needs 'to'" },
    { "{bind: x, to: x}", "{bnid: x, to: x}", "a step has one of these: op, drop, bind, block, end" },
    { "{bind: x, to: x}", "x", "a step is a mapping" },
    { "{bind: x, to: x}", "{bind: x, to: bn.bias}", "'bn.bias' is a parameter, which no variable holds" },
    { "{end: relu}", "{end: x}", "'x' was not made in the block" },
    { "{end: relu}", "{block: more}", "blocks do not nest; end the one from line 18 first" },
    { "{end: relu}", "{bind: r, to: relu}", "a variable of the loop cannot be bound within a block" },
    { "    - {end: relu}\n", "", "g.yaml:23:7: a variable of the loop cannot be bound within a block" },
    { "    - {block: stem}\n", "", "no block is open here" },
    { "{end: relu}", "{end: relu}\n    - {drop: x}\n    - {drop: x}",
      "g.yaml:24:14: 'x' was dropped on line 23; drop it later" },
    { "{end: relu}", "{end: relu}\n    - {drop: x}", "this result is never dropped" },
    { "{end: relu}", "{end: relu}\n    - {drop: bn.bias}", "'bn.bias' is a parameter, which lives on" },
    { "  output: head\n  loss: loss", "  output: head", "training needs 'loss'" },
    { "  output: head\n  loss: loss", "  loss: loss", "a body needs 'output'" },
    { "loss: loss\n", "loss: head\n", "the loss must be one f32 element" },
    { "output: head\n  loss", "output: bn.bias\n  loss", "the output is a parameter" },
    { "in: [loss.log_softmax, y]", "in: [head, y]",
      "g.yaml:25:7: this result needs a gradient, but does not lead to the loss" },
    { "in: [relu, head.weight, head.bias]", "in: [bn, head.weight, head.bias]",
      "'bn' was overwritten in place on line 21" },
    { "  steps:\n", "  stpes:\n", "unknown key 'stpes'; did you mean 'steps'?" },
    { "validation:", "validation: as training\nvalidating:", "unknown key" },
};

static char *changed(const char *text, const struct change *change)
{
    const char *at = strstr(text, change->old);
    if (!at) fail_msg("the example has no '%s'", change->old);
    size_t size = strlen(text) + strlen(change->new) + 1;
    char *out = fm_calloc(size, 1);
    assert_non_null(out);
    (void)snprintf(out, size, "%.*s%s%s", (int)(at - text), text, change->new, at + strlen(change->old));
    return out;
}

static void test_errors(void **state)
{
    char *example = example_text();
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char *text = changed(example, &changes[i]);
        struct fm_graph graph;
        struct fm_err err;
        fm_status status = read_text(text, strlen(text), &graph, &err);
        if (status != FM_INVALID || !strstr(err.text, changes[i].error) || strncmp(err.text, "g.yaml:", 7) != 0)
            fail_msg("'%s' for '%s': wanted '%s', got %s: %s", changes[i].new, changes[i].old, changes[i].error,
                     fm_status_name(status), err.text);
        fm_free(text);
        assert_null(graph.param);
    }
    fm_free(example);
    assert_int_equal(fm_memory_live, 0);
}

static void expect(const char *text, size_t bytes, const char *error)
{
    struct fm_graph graph;
    struct fm_err err;
    assert_int_equal(read_text(text, bytes, &graph, &err), FM_INVALID);
    if (!strstr(err.text, error)) fail_msg("wanted '%s', got '%s'", error, err.text);
}

static void test_limits(void **state)
{
    struct fm_err err = { 0 };
    struct fm_graph graph;
    char *example = example_text();
    (void)state;
    expect("", 0, "g.yaml:1:1: the file is empty");
    expect("# nothing\n", 10, "the file is empty");
    expect("a\0b: c", 6, "this is not YAML");
    char *large = fm_calloc(FM_GRAPH_FILE_BYTES + 2, 1);
    assert_non_null(large);
    memset(large, ' ', FM_GRAPH_FILE_BYTES + 1);
    expect(large, FM_GRAPH_FILE_BYTES + 1, "at most 16 MiB");
    memset(large, '[', 1 << 20);
    expect(large, 1 << 20, "nested too deep");
    for (size_t i = 0; i < 1 << 20; i++) large[i] = i % 2 ? ',' : 'a';
    large[0] = '[';
    expect(large, 1 << 20, "");
    fm_free(large);
    /* batches */
    for (int64_t batch = -1; batch < 2; batch += 2) {
        err = (struct fm_err){ 0 };
        fm_status status =
            fm_graph_read("g.yaml", example, strlen(example), (const int64_t[]){ batch, 0 }, &graph, &err);
        assert_int_equal(status, batch < 0 ? FM_INVALID : FM_OK);
        fm_graph_release(&graph);
    }
    err = (struct fm_err){ 0 };
    assert_int_equal(
        fm_graph_read("g.yaml", example, strlen(example), (const int64_t[]){ INT64_C(1) << 32, 0 }, &graph, &err),
        FM_INVALID);
    assert_non_null(strstr(err.text, "g.yaml:19:"));
    /* a body that is not there is missed only when it is asked for; one that is wrong is always said to be */
    char *validation = strstr(example, "validation:");
    char kept = *validation;
    *validation = '\0';
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_graph_read("g.yaml", example, strlen(example), (const int64_t[]){ 2, 0 }, &graph, &err), FM_OK);
    fm_graph_release(&graph);
    expect(example, strlen(example), "there is no validation body; write 'validation: as training'");
    *validation = kept;
    *strstr(validation, "argmax") = 'x';
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_graph_read("g.yaml", example, strlen(example), (const int64_t[]){ 2, 0 }, &graph, &err),
                     FM_INVALID);
    assert_non_null(strstr(err.text, "unknown op 'xrgmax'; did you mean 'argmax'?"));
    fm_free(example);
    assert_int_equal(fm_memory_live, 0);
}

/* too many operators: said after a hundred thousand, not after memory is gone */
static void test_too_many(void **state)
{
    static const char head[] = "fillmark_graph: 1\nname: many\nparameters: []\ntraining:\n  steps:\n"
                               "    - {op: input, name: x, input: image, classes: 1, shape: [B, 1]}\n";
    struct fm_buf text = FM_BUF(FM_GRAPH_FILE_BYTES);
    (void)state;
    fm_buf_puts(&text, head);
    for (int i = 0; i < FM_GRAPH_MAX_NODES; i++) fm_buf_printf(&text, "    - {op: relu, name: r%d, in: x}\n", i);
    expect(fm_buf_text(&text), text.bytes, "g.yaml:100006:7: more than 100000 operators");
    fm_buf_clear(&text);
    fm_buf_puts(&text, "fillmark_graph: 1\nname: many\nparameters:\n");
    for (int i = 0; i < 100001; i++) fm_buf_printf(&text, "  - {name: p%d, shape: [1], constant: 0}\n", i);
    expect(fm_buf_text(&text), text.bytes, "g.yaml:100004:5: more than 100000 parameters");
    fm_buf_release(&text);
    assert_int_equal(fm_memory_live, 0);
}

static void test_files(void **state)
{
    char path[] = "/tmp/fm-graph-XXXXXX";
    struct fm_graph graph;
    struct fm_err err = { 0 };
    char *example = example_text();
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, example, strlen(example)), (ssize_t)strlen(example));
    assert_int_equal(close(fd), 0);
    assert_int_equal(fm_graph_read_file(path, 2, 1, &graph, &err), FM_OK);
    assert_string_equal(graph.name, "tiny");
    assert_int_equal(graph.batch[FM_BODY_TRAIN], 2);
    assert_int_equal(graph.batch[FM_BODY_VAL], 1);
    fm_graph_release(&graph);
    assert_int_equal(truncate(path, (off_t)FM_GRAPH_FILE_BYTES * 4), 0);
    assert_int_equal(fm_graph_read_file(path, 2, 1, &graph, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "at most 16 MiB"));
    assert_int_equal(unlink(path), 0);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_graph_read_file(path, 2, 1, &graph, &err), FM_IO);
    assert_non_null(strstr(err.text, path));
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_graph_read_file("/tmp", 2, 1, &graph, &err), FM_IO);
    fm_free(example);
    assert_int_equal(fm_memory_live, 0);
}

static void test_faults(void **state)
{
    char *example = example_text();
    struct fm_graph a, b;
    struct fm_err err;
    long base = fm_memory_live;
    (void)state;
    for (long n = 0, sticky = 0; sticky < 2; n++) {
        err = (struct fm_err){ 0 };
        fm_fault = (struct fm_fault){ .left = n, .armed = true, .sticky = sticky };
        fm_status status = read_text(example, strlen(example), &a, &err);
        bool hit = fm_fault.hits > 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status, hit ? FM_NOMEM : FM_OK);
        fm_graph_release(&a);
        assert_int_equal(fm_memory_live, base);
        if (hit) continue;
        sticky++;
        n = -1;
    }
    assert_int_equal(fm_graph_read("g.yaml", example, strlen(example), (const int64_t[]){ 2, 2 }, &a, &err), FM_OK);
    assert_int_equal(fm_graph_read("g.yaml", example, strlen(example), (const int64_t[]){ 3, 3 }, &b, &err), FM_OK);
    for (long n = 0, live = fm_memory_live;; n++) {
        struct fm_buf out = FM_BUF(1 << 16);
        err = (struct fm_err){ 0 };
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_graph_write(&a, &b, &out, &err);
        bool hit = fm_fault.hits > 0;
        fm_fault = (struct fm_fault){ 0 };
        fm_buf_release(&out);
        assert_int_equal(status, hit ? FM_NOMEM : FM_OK);
        assert_int_equal(fm_memory_live, live);
        if (!hit) break;
    }
    fm_graph_release(&a);
    fm_graph_release(&b);
    fm_free(example);
    assert_int_equal(fm_memory_live, 0);
}

/* ---- mutations ---- */

/* where the unit begins that holds position `at`, and where it ends: a word, or a line */
static size_t unit_begin(const char *text, size_t at, const char *marks)
{
    while (at > 0 && !strchr(marks, text[at - 1])) at--;
    return at;
}

static size_t unit_end(const char *text, size_t at, const char *marks)
{
    size_t n = strcspn(text + at, marks);
    return at + n + (n == 0 || *marks == '\n');
}

/* Writes what stands at from..to over what stands at at..end. `text` has room for a few more KiB. */
static void overwrite(char *text, size_t at, size_t end, size_t from, size_t to)
{
    char piece[256];
    size_t length = strlen(text);
    end = end < length ? end : length;
    to = to < length ? to : length;
    (void)snprintf(piece, sizeof piece, "%.*s", (int)(to - from), text + from);
    memmove(text + at + strlen(piece), text + end, length - end + 1);
    memcpy(text + at, piece, strlen(piece));
}

/* one small change: of a byte, a digit, a word or a line; removed, doubled, replaced by another of the text */
static void mutate(char *text, uint64_t seed, uint64_t i)
{
    uint64_t r = fm_rng_u64(seed, 2, i), s = fm_rng_u64(seed, 3, i);
    const char *marks = r & 8 ? " ,[]{}:\n" : "\n";
    size_t length = strlen(text), any = (r >> 8) % length, other = s % length;
    size_t at = unit_begin(text, any, marks), from = unit_begin(text, other, marks);
    switch (r % 8) {
    case 0: text[any] = (char)(r >> 56); break;
    case 1: overwrite(text, at, unit_end(text, at, marks), 0, 0); break;
    case 2: overwrite(text, at, at, from, unit_end(text, from, marks)); break;
    case 3: overwrite(text, any, any + (r >> 40) % 30, other, other + (s >> 40) % 30); break;
    case 4: overwrite(text, at, unit_end(text, at, marks), from, unit_end(text, from, marks)); break;
    default: /* a digit of a step: most of these make sense */
        any += strcspn(text + any, "0123456789");
        if (any < length) text[any] = (char)('0' + s % 10);
        break;
    }
}

/* what was read can be written, and that reads back */
static void write_again(const char *text, const struct fm_graph *graph)
{
    struct fm_graph other, back;
    struct fm_err err = { 0 };
    struct fm_buf out = FM_BUF(1 << 20);
    if (fm_graph_read("g.yaml", text, strlen(text), (const int64_t[]){ 5, 4 }, &other, &err) != FM_OK) return;
    fm_status status = fm_graph_write(graph, &other, &out, &err);
    if (status == FM_OK && read_text(fm_buf_text(&out), out.bytes, &back, &err) != FM_OK)
        fail_msg("%s\n%s", err.text, fm_buf_text(&out));
    if (status == FM_OK)
        fm_graph_release(&back);
    else if (status != FM_UNSUPPORTED)
        fail_msg("%s\n%s", err.text, text);
    fm_buf_release(&out);
    fm_graph_release(&other);
}

/* rounds of 1 to 3 mutations of a text; how many of the graphs were valid, and of their lowerings done */
static void mutations(const char *base, int rounds, uint64_t seed, long done[2])
{
    size_t room = strlen(base) + 8192;
    char *text = fm_calloc(room, 1);
    struct fm_program program = { 0 };
    assert_non_null(text);
    for (int i = 0; i < rounds; i++) {
        (void)snprintf(text, room, "%s", base);
        for (uint64_t m = 0; m <= (uint64_t)i % 3; m++) mutate(text, seed + m, (uint64_t)i);
        struct fm_graph graph;
        struct fm_err err;
        fm_status status = read_text(text, strlen(text), &graph, &err);
        if (status != FM_OK && (status != FM_INVALID || strncmp(err.text, "g.yaml:", 7) != 0))
            fail_msg("round %d: %s %s", i, fm_status_name(status), err.text);
        if (status != FM_OK) continue;
        done[0]++;
        /* what the reader lets through can be lowered, or the lowering says why not */
        for (int policy = 0; policy < POLICIES; policy++) {
            err = (struct fm_err){ 0 };
            status = lower_with(&graph, policy, &program, &err);
            if (status != FM_OK && status != FM_UNSUPPORTED) {
                print_error("%s", text);
                fail_msg("round %d, policy %d: %s %s", i, policy, fm_status_name(status), err.text);
            }
            done[1] += status == FM_OK;
        }
        write_again(text, &graph);
        fm_graph_release(&graph);
    }
    fm_program_release(&program);
    fm_free(text);
}

/* FM_MUTATIONS and FM_SEED: more rounds, other ones */
static void test_mutations(void **state)
{
    enum { ROUNDS = 4000 };
    char *text[2] = { example_text(), data_text("graph_all_ops.yaml") };
    const char *rounds = getenv("FM_MUTATIONS"), *seed = getenv("FM_SEED");
    (void)state;
    for (int i = 0; i < 2; i++) {
        long done[2] = { 0, 0 };
        int n = rounds ? (int)strtol(rounds, NULL, 10) : ROUNDS;
        mutations(text[i], n, seed ? strtoull(seed, NULL, 10) : 20, done);
        assert_true(done[0] > n / 50 && done[1] > done[0]); /* else only refusals are tested */
        fm_free(text[i]);
    }
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors), cmocka_unit_test(test_limits), cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_files),  cmocka_unit_test(test_faults), cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
