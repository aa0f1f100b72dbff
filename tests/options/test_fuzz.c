/* Random command lines and mutated files: never a crash, a leak or an error without a text; what is taken can be said
 * again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/options/support_options.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

struct dice { uint64_t stream, next; };

static size_t roll(struct dice *d, size_t n)
{
    return (size_t)(fm_rng_u64(7, d->stream, d->next++) % n);
}

/* counts what is taken */
static bool check(const char *line)
{
    struct fm_options o, again;
    struct fm_err err = { 0 };
    fm_status status = fm_test_parse(line, &o, &err);
    assert_true(status == FM_OK || status == FM_INVALID || status == FM_IO);
    assert_int_equal(err.status, status);
    assert_int_equal(err.text[0] != '\0', status != FM_OK);
    if (status == FM_OK && (o.command == FM_COMMAND_RUN || o.command == FM_COMMAND_PLAN) &&
        !(o.out && strpbrk(o.out, " -"))) {
        if (fm_test_again(&o, &again, &err) != FM_OK) fail_msg("%s: again: %s", line, err.text);
        char *p = fm_test_echo(&o), *q = fm_test_echo(&again);
        assert_string_equal(p, q);
        fm_free(p), fm_free(q);
        fm_options_release(&again);
    }
    fm_options_release(&o);
    assert_int_equal(fm_memory_live, 0);
    return status == FM_OK;
}

static void test_random_lines(void **state)
{
    static const char *const words[] = {
        "run", "plan", "show", "workload", "workloads", "devices", "report", "help", "--help", "--version", "--man", "--completion",
        "-h", "--", "-", "", "--precision", "fp32", "fp32,bf16", "--channels", "1/2", "0.5,1", "--set", "classes=4",
        "segformer.variant=b1,b2", "=", "a=b=c", "--workload", "segformer", "denseunet3d", "--memory", "2GiB",
        "--memory=1k", "--seed", "--seed=3", "18446744073709551616", "--out", "x", "--json", "--resume", "--device",
        "cpu", "none", "all", "--batch=4", "--only", "ab", "--checkpoint", "blocks", "enc1+enc2", "--threads=2",
        "--loop=plain", "--accumulate=1,2", "--time-budget=4m", "--deadline", "1s", "--launches=3", "--\xff\xfe",
        ",,,", "--optimizer", "sgd", "--val-batch=half", "--zero-grad=keep", "--poison", "nan", "1e999",
        "--max-batch=inf", "missing.yaml",
    };
    size_t taken = 0;
    (void)state;
    for (uint64_t run = 0; run < 20000; run++) {
        struct dice d = { run, 0 };
        char line[2048];
        size_t at = (size_t)snprintf(line, sizeof line, "%s",
                                     roll(&d, 3) ? (roll(&d, 2) ? "run" : "plan") : words[roll(&d, COUNT(words))]);
        for (size_t n = roll(&d, 6); n; n--)
            at += (size_t)snprintf(line + at, sizeof line - at, " %s", words[roll(&d, COUNT(words))]);
        taken += check(line);
    }
    assert_true(taken > 500);       /* else it tests nothing but refusals */
}

static const char *const seeds[] = {
    ("workload: [denseunet3d, segformer]\nprecision: fp32,bf16\ncheckpoint: [none, blocks]\nmemory: 2GiB\nset:\n  "
     "classes: 5\n"
     "  segformer: {variant: [b0, b1], input: 64x64}\nseed: 12\n"),
    "# comment\nchannels: [1, '1/2', \"0.25\"]\ntime-budget: 4m\ndeadline: 90s\njson: true\nonly: [ab, cd]\n",
    "set: {denseunet3d: {levels: [3, 4], input: 32x32x32}, drop_path: 0.5}\nval-batch:\n- same\n- max\nout: "
    "x\nlaunches: 2\n",
};
static const char *const parts[] = {
    "seed: 1\n", "[", "]", "{", "}", ": ", ",", "\n", "  ", "&a ", "*a", "!x ", "---\n", "...\n", "'", "\"", "set:",
    "~", "null", "|\n", ">\n", "\xc2\xbd", "\xff", "\t", "#", "- ", "? ", "%YAML 1.1\n", "segformer", "variant", "1/2",
    "fp16", "<<", "\\0",
};

static size_t mutate(struct dice *d, char *text, size_t bytes, size_t room)
{
    for (size_t n = 1 + roll(d, 4); n; n--) {
        size_t at = roll(d, bytes + 1), cut = roll(d, 12), add = 0;
        const char *part = parts[roll(d, COUNT(parts))];
        char one = (char)roll(d, 256);
        if (cut > bytes - at) cut = bytes - at;
        switch (roll(d, 4)) {
        case 0: add = strlen(part), cut = 0; break;
        case 1: add = strlen(part); break;
        case 2: part = &one, add = 1, cut = cut > 0; break;
        default: break;
        }
        if (bytes - cut + add > room) continue;
        memmove(text + at + add, text + at + cut, bytes - at - cut);
        memcpy(text + at, part, add);
        bytes += add - cut;
    }
    return bytes;
}

static void test_mutated_files(void **state)
{
    size_t taken = 0;
    (void)state;
    for (uint64_t run = 0; run < 12000; run++) {
        struct dice d = { run, 0 };
        char text[2048];
        const char *seed = seeds[roll(&d, COUNT(seeds))];
        memcpy(text, seed, strlen(seed));
        size_t bytes = mutate(&d, text, strlen(seed), sizeof text);
        fm_test_write("config.yaml", text, bytes);
        taken += check("plan config.yaml");
    }
    assert_true(taken > 200);
}

/* cut at every byte: a prefix is a configuration or an error */
static void test_cut_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(seeds); i++)
        for (size_t bytes = 0; bytes <= strlen(seeds[i]); bytes++) {
            fm_test_write("config.yaml", seeds[i], bytes);
            bool taken = check("plan config.yaml");
            if (bytes == 0) assert_false(taken);
            if (bytes == strlen(seeds[i])) assert_true(taken);
        }
}

/* deep nesting costs nothing: the shape is fixed */
static void test_deep_files(void **state)
{
    static char text[1 << 20];
    static const char *const starts[] = { "", "seed: ", "precision: ", "set: {segformer: ", "set: " };
    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++)
        for (int kind = 0; kind < 2; kind++) {
            size_t n = strlen(starts[i]);
            memset(text, kind ? '{' : '[', sizeof text);
            memcpy(text, starts[i], n);
            fm_test_write("config.yaml", text, sizeof text);
            assert_false(check("plan config.yaml"));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lines), cmocka_unit_test(test_mutated_files), cmocka_unit_test(test_cut_files),
        cmocka_unit_test(test_deep_files),
    };
    return cmocka_run_group_tests(tests, fm_test_enter, fm_test_leave);
}
