/* The command line and the configuration file: what good ones mean. What is said to bad ones: test_errors.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "results/journal.h"
#include "tests/options/support_options.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* the value of a key in an echo, or NULL; static */
static const char *value_of(const char *echo, const char *key)
{
    static char value[4096];
    size_t n = strlen(key);
    for (const char *at = echo; *at; at = strchr(at, '\n') + 1) {
        if (strncmp(at, key, n) != 0 || at[n] != '=') continue;
        (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at + n + 1, "\n"), at + n + 1);
        return value;
    }
    return NULL;
}

/* "precision=fp32 memory=2GiB -batch": each is in the echo; with '-' the key is not */
static void check_echo(const char *line, const struct fm_options *o, const char *expected)
{
    char *echo = fm_test_echo(o);
    for (const char *at = expected; *at; at += strcspn(at, " ") + (at[strcspn(at, " ")] != '\0')) {
        char word[256], *equals;
        (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(at, " "), at);
        if (word[0] == '-') {
            if (value_of(echo, word + 1)) fail_msg("%s: %s is set", line, word + 1);
            continue;
        }
        equals = strchr(word, '=');
        assert_non_null(equals);
        *equals = '\0';
        const char *value = value_of(echo, word);
        if (!value || strcmp(value, equals + 1) != 0)
            fail_msg("%s: %s is %s, not %s", line, word, value ? value : "(absent)", equals + 1);
    }
    fm_free(echo);
}

static void test_good(void **state)
{
    static const struct { const char *line, *expected;
    } rows[] = {
        { "run",
          "workload=denseunet3d,segformer precision=fp32,bf16 checkpoint=none,blocks channels=1,1/2 "
          "val-batch=same,half "
          "accumulate=1 optimizer-form=foreach zero-grad=none cudnn-benchmark=off loop=loader accounting=eager device=all memory=auto "
          "threads=auto search=plan max-batch=none time-budget=180s deadline=120s launches=3 seed=1 -optimizer -out "
          "-resume -json -poison -only -batch set.denseunet3d.input=32x32x32 -set.denseunet3d.classes" },
        { "plan", "batch=none precision=fp32,bf16" },
        /* a strategy's list ends the default campaign, not the default sizes; --loop and --seed end neither */
        { "run --precision bf16", "precision=bf16 checkpoint=none channels=1 val-batch=same set.denseunet3d.levels=3" },
        { "run --precision fp32,bf16 --checkpoint none,blocks", "channels=1 val-batch=same checkpoint=none,blocks" },
        { "run --loop plain --seed 4", "loop=plain precision=fp32,bf16 seed=4" },
        /* a workload that is named has its published sizes */
        { "run --workload segformer", "workload=segformer precision=fp32 -set.segformer.input" },
        { "run --workload=segformer,denseunet3d", "workload=segformer,denseunet3d -set.denseunet3d.levels" },
        { "run --set classes=5",
          "set.segformer.classes=5 set.denseunet3d.classes=5 set.denseunet3d.levels=3 precision=fp32" },
        { "run --set denseunet3d.levels=4", "set.denseunet3d.levels=4 set.denseunet3d.base_channels=4" },
        { "run --set base_channels=08,16 --set segformer.drop_path=0.10,0.2", "set.denseunet3d.base_channels=8,16 "
                                                                              "set.segformer.drop_path=0.1,0.2" },
        { "run --set classes=5 --set segformer.classes=6,7", "set.segformer.classes=6,7 set.denseunet3d.classes=5" },
        { "run --set input=64x64 --workload segformer", "set.segformer.input=64x64" },
        { "run --channels 0.5,3/4,\xc2\xbc,1.0,1.5", "channels=1/2,3/4,1/4,1,3/2" },
        { "run --channels 2/4,4/2", "channels=1/2,2" },
        { "run --accumulate 1,02,1024", "accumulate=1,2,1024" },
        { "run --workload denseunet3d --checkpoint enc1+enc2,blocks", "checkpoint=enc1+enc2,blocks" },
        { "run --optimizer adamw-amsgrad,sgd --optimizer-form for-loop,fused --zero-grad none,keep --val-batch max",
          "optimizer=adamw-amsgrad,sgd optimizer-form=for-loop,fused zero-grad=none,keep val-batch=max" },
        { "plan --accounting dispatch --device none --batch 3", "accounting=dispatch device=none batch=3" },
        { "run --memory 2GiB", "memory=2GiB" },
        { "run --memory 1.5GB", "memory=1500000000" },
        { "run --memory 2097152", "memory=2MiB" },
        { "run --memory 3146752", "memory=3073KiB" },
        { "run --memory auto --threads auto --time-budget none --max-batch none",
          "memory=auto threads=auto time-budget=none max-batch=none" },
        { "run --time-budget 1.5h --deadline 250ms", "time-budget=5400s deadline=250ms" },
        { "run --threads 2 --launches 1 --max-batch 8 --seed 9223372036854775807 --search binsearch",
          "threads=2 launches=1 max-batch=8 seed=9223372036854775807 search=binsearch" },
        { "run --device cpu,cuda:0,cuda:12,GPU-01234567-89ab-cdef-0123-456789abcdef",
          "device=cpu,cuda:0,cuda:12,GPU-01234567-89ab-cdef-0123-456789abcdef" },
        { "run --only 3F2a,b --poison --json --out some/dir",
          "only=3f2a,b poison=true json=true out=some/dir -resume" },
        { "run --out a,b", "out=a,b" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fm_options o;
        struct fm_err err = { 0 };
        if (fm_test_parse(rows[i].line, &o, &err) != FM_OK) fail_msg("%s: %s", rows[i].line, err.text);
        check_echo(rows[i].line, &o, rows[i].expected);
        fm_options_release(&o);
    }
    assert_int_equal(fm_memory_live, 0);
}

static void test_fields(void **state)
{
    struct fm_options o;
    (void)state;
    assert_int_equal(
        fm_test_parse("run --memory 2GiB --time-budget 4m --search binsearch --set variant=b1,b2 --json", &o, NULL),
        FM_OK);
    assert_int_equal(o.memory_bytes, INT64_C(2) << 30);
    assert_int_equal(o.time_budget_ns, INT64_C(240000000000));
    assert_int_equal(o.deadline_ns, INT64_C(120000000000));
    assert_int_equal(o.max_batch, FM_SEARCH_BATCH_LIMIT);
    assert_int_equal(o.threads, 0);
    assert_int_equal(o.search, FM_SEARCH_BINSEARCH);
    assert_true(o.json && !o.resume && !o.poison);
    assert_int_equal(o.origin[FM_OPTION_MEMORY], FM_ORIGIN_FLAG);
    assert_int_equal(o.origin[FM_OPTION_SET], FM_ORIGIN_FLAG);
    assert_int_equal(o.origin[FM_OPTION_SEED], FM_ORIGIN_DEFAULT);
    assert_int_equal(o.origin[FM_OPTION_PRECISION], FM_ORIGIN_DEFAULT);
    assert_int_equal(o.strategy[FM_STRATEGY_OPTIMIZER].count, 0);
    /* by workload, in its table's order */
    assert_int_equal(o.set_count, 5);
    assert_string_equal(o.set[3].key, "variant");
    assert_string_equal(o.set[3].values.item[1], "b2");
    assert_ptr_equal(o.set[3].workload, &fm_segformer);
    fm_options_release(&o);
}

static void test_commands(void **state)
{
    static const struct { const char *line; enum fm_command command, topic;
    } rows[] = {
        { "run", FM_COMMAND_RUN, FM_COMMAND_HELP },
        { "plan --batch 2", FM_COMMAND_PLAN, FM_COMMAND_HELP },
        { "show workloads --json", FM_COMMAND_SHOW_WORKLOADS, FM_COMMAND_HELP },
        { "show workload segformer --layers --yaml --set variant=b5", FM_COMMAND_SHOW_WORKLOAD, FM_COMMAND_HELP },
        { "show devices --json", FM_COMMAND_SHOW_DEVICES, FM_COMMAND_HELP },
        { "devices", FM_COMMAND_DEVICES, FM_COMMAND_HELP },
        { "report -- --dir", FM_COMMAND_REPORT, FM_COMMAND_HELP },
        { "compare a b --max-slowdown 0.5% --max-memory-growth 0%", FM_COMMAND_COMPARE, FM_COMMAND_HELP },
        { "export d --workload segformer --format hf --into a.json --dry-run --only 12ab --device cpu --largest --template t",
          FM_COMMAND_EXPORT, FM_COMMAND_HELP },
        { "--help", FM_COMMAND_HELP, FM_COMMAND_HELP },
        { "-h", FM_COMMAND_HELP, FM_COMMAND_HELP },
        { "help", FM_COMMAND_HELP, FM_COMMAND_HELP },
        { "help plan", FM_COMMAND_HELP, FM_COMMAND_PLAN },
        { "help show", FM_COMMAND_HELP, FM_COMMAND_SHOW_WORKLOAD },
        { "help help", FM_COMMAND_HELP, FM_COMMAND_HELP },
        { "help show workloads", FM_COMMAND_HELP, FM_COMMAND_SHOW_WORKLOADS },
        { "run --seed 1 --help --nonsense", FM_COMMAND_HELP, FM_COMMAND_RUN },
        { "show --help", FM_COMMAND_HELP, FM_COMMAND_SHOW_WORKLOAD },
        { "show workload -h", FM_COMMAND_HELP, FM_COMMAND_SHOW_WORKLOAD },
        { "--version", FM_COMMAND_VERSION, FM_COMMAND_HELP },
        { "--man", FM_COMMAND_MAN, FM_COMMAND_HELP },
        { "--completion fish", FM_COMMAND_COMPLETION, FM_COMMAND_HELP },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fm_options o;
        struct fm_err err = { 0 };
        if (fm_test_parse(rows[i].line, &o, &err) != FM_OK) fail_msg("%s: %s", rows[i].line, err.text);
        assert_int_equal(o.command, rows[i].command);
        assert_int_equal(o.topic, rows[i].topic);
        if (o.command == FM_COMMAND_COMPARE) {
            assert_string_equal(o.operand[0], "a");
            assert_string_equal(o.operand[1], "b");
            assert_int_equal(o.max_slowdown_ppm, 5000);
            assert_int_equal(o.max_memory_growth_ppm, 0);
        }
        if (o.command == FM_COMMAND_REPORT) assert_string_equal(o.operand[0], "--dir");
        if (o.command == FM_COMMAND_SHOW_WORKLOAD) assert_string_equal(o.workload.item[0], "segformer");
        fm_options_release(&o);
    }
}

static void test_files_that_cannot_be_read(void **state)
{
    struct fm_options o;
    struct fm_err err = { 0 };
    static char big[(1 << 20) + 2];
    (void)state;
    assert_int_equal(fm_test_parse("run missing.yaml", &o, &err), FM_IO);
    assert_string_equal(err.text, "missing.yaml: cannot be opened: No such file or directory");
    fm_options_release(&o);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_test_parse("run .", &o, &err), FM_IO);
    assert_string_equal(err.text, ".: cannot be read: Is a directory");
    fm_options_release(&o);
    /* exactly the limit is read; one byte more is refused */
    memset(big, '#', sizeof big);
    memcpy(big, "seed: 1 ", 8);
    fm_test_write("config.yaml", big, 1 << 20);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_test_parse("run config.yaml", &o, &err), FM_OK);
    fm_options_release(&o);
    fm_test_write("config.yaml", big, (1 << 20) + 1);
    assert_int_equal(fm_test_parse("run config.yaml", &o, &err), FM_INVALID);
    assert_string_equal(err.text, "config.yaml: longer than 1048576 bytes; is it a configuration?");
    fm_options_release(&o);
}

static void same_options(const char *a, const char *b)
{
    struct fm_options x, y;
    struct fm_err err = { 0 };
    if (fm_test_parse(a, &x, &err) != FM_OK) fail_msg("%s: %s", a, err.text);
    if (fm_test_parse(b, &y, &err) != FM_OK) fail_msg("%s: %s", b, err.text);
    char *p = fm_test_echo(&x), *q = fm_test_echo(&y);
    assert_int_equal(x.command, y.command);
    assert_string_equal(p, q);
    fm_free(p), fm_free(q);
    fm_options_release(&x), fm_options_release(&y);
}

/* The same words, in a file and as flags, are the same options. */
static void test_file_and_flags(void **state)
{
    static const struct { const char *file, *flags;
    } rows[] = {
        { "# nothing\n---\n{}\n", "run" },
        { "seed: 7\n", "run --seed 7" },
        { "precision: fp32,bf16\ncheckpoint: [none, blocks]\nval-batch:\n  - same\n  - half\n",
          "run --precision fp32,bf16 --checkpoint none,blocks --val-batch same,half" },
        { "\"memory\": '2GiB'\nresume: false\njson: true\nout: 'x'\n", "run --memory 2GiB --json --out x" },
        { "workload: segformer\nset: {variant: [b0, b1], input: 64x64}\n",
          "run --workload segformer --set input=64x64 --set variant=b0,b1" },
        { "set:\n  classes: 5\n  denseunet3d:\n    input: 32x32x32\n    levels: 3,4\n  segformer: {variant: b1}\n"
          "  segformer.dropout: 0.5\n",
          "run --set classes=5 --set denseunet3d.input=32x32x32 --set denseunet3d.levels=3,4 --set "
          "segformer.variant=b1 "
          "--set segformer.dropout=0.50" },
        { "channels: [\xc2\xbd, 1]\naccumulate: 4\noptimizer: sgd\noptimizer-form: fused\nzero-grad: keep\nloop: "
          "plain\n"
          "accounting: dispatch\ndevice: cpu\nthreads: 2\nsearch: binsearch\nmax-batch: 9\ntime-budget: 90s\ndeadline: "
          "1m\n"
          "launches: 5\npoison: true\nonly: [ab, cd]\n",
          "run --channels 1/2,1 --accumulate 4 --optimizer sgd --optimizer-form fused --zero-grad keep --loop plain "
          "--accounting "
          "dispatch --device cpu --threads 2 --search binsearch --max-batch 9 --time-budget 90s --deadline 60s "
          "--launches 5 "
          "--poison --only ab,cd" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        fm_test_write("config.yaml", rows[i].file, strlen(rows[i].file));
        same_options("run config.yaml", rows[i].flags);
    }
}

/* One file for run and plan: what is only for running says nothing to a plan, but is checked. */
static void test_file_for_plan_too(void **state)
{
    static const char *const runs[] = { "search: power", "time-budget: 90s", "deadline: 1m", "launches: 5", "poison: true", "shared: true" };
    (void)state;
    for (size_t i = 0; i < COUNT(runs); i++) {
        char file[80], said[160];
        struct fm_options o;
        struct fm_err err = { 0 };
        fm_test_write("config.yaml", file, (size_t)snprintf(file, sizeof file, "seed: 4\n%s\n", runs[i]));
        same_options("plan config.yaml", "plan --seed 4");
        fm_test_write("config.yaml", file, (size_t)snprintf(file, sizeof file, "%.*s: -1\n", (int)strcspn(runs[i], ":"), runs[i]));
        assert_int_equal(fm_test_parse("plan config.yaml", &o, &err), FM_INVALID);
        fm_options_release(&o);
        err = (struct fm_err){ 0 };
        (void)snprintf(file, sizeof file, "plan --%.*s", (int)strcspn(runs[i], ":"), runs[i]);
        (void)snprintf(said, sizeof said, "%s: an option of 'fillmark run', not of 'fillmark plan'", file + 5);
        assert_int_equal(fm_test_parse(file, &o, &err), FM_INVALID);
        assert_string_equal(err.text, said);
        fm_options_release(&o);
    }
}

static void test_flags_override(void **state)
{
    static const char file[] =
        "precision: [fp32, bf16]\nmemory: 1GiB\nseed: 5\nset:\n  classes: 6\n  segformer: {classes: 7, variant: b3}\n";
    struct fm_options o;
    (void)state;
    fm_test_write("config.yaml", file, strlen(file));
    assert_int_equal(fm_test_parse("run --seed 6 config.yaml --precision fp16 --set segformer.variant=b1", &o, NULL),
                     FM_OK);
    check_echo(
        "override", &o,
        "precision=fp16 memory=1GiB seed=6 set.segformer.variant=b1 set.segformer.classes=7 set.denseunet3d.classes=6");
    assert_int_equal(o.origin[FM_OPTION_SEED], FM_ORIGIN_FLAG);
    assert_int_equal(o.origin[FM_OPTION_MEMORY], FM_ORIGIN_FILE);
    assert_string_equal(o.config, "config.yaml");
    fm_options_release(&o);
    /* a flag for all overrides even what the file says of one */
    assert_int_equal(fm_test_parse("run config.yaml --set classes=9", &o, NULL), FM_OK);
    check_echo("override", &o, "set.segformer.classes=9 set.denseunet3d.classes=9 set.segformer.variant=b3");
    fm_options_release(&o);
}

/* Flags that choose fewer or other workloads for once make no setting of the file wrong. */
static void test_file_for_others(void **state)
{
    static const struct { const char *file, *flags, *same; } narrowed[] = {
        { "set: {denseunet3d: {levels: 3}, base_channels: 8}\n", "run config.yaml --workload segformer", "run --workload segformer" },
        { "workload: [segformer, denseunet3d]\nset: {denseunet3d: {levels: 3}, base_channels: 8}\n",
          "run config.yaml --workload segformer", "run --workload segformer" },
        { "workload: [segformer]\nset: {denseunet3d: {levels: 3}, segformer: {variant: b1}}\n", "run config.yaml --workload denseunet3d",
          "run --workload denseunet3d --set levels=3" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(narrowed); i++) {
        fm_test_write("config.yaml", narrowed[i].file, strlen(narrowed[i].file));
        same_options(narrowed[i].flags, narrowed[i].same);
    }
}

/* Echo, parsed again, is the same: over random good command lines. */
static void test_echo_again(void **state)
{
    static const char *const words[] = {
        "--precision fp32,fp16",
        "--precision bf16",
        "--checkpoint none,blocks",
        "--channels 0.25,1",
        "--channels 3/4",
        "--accumulate 4,8",
        "--val-batch max,half",
        "--optimizer adam,sgd",
        "--optimizer-form fused",
        "--zero-grad keep,none",
        "--loop plain",
        "--accounting dispatch",
        "--device cpu,cuda:1",
        "--memory 1.7GB",
        "--memory 12MiB",
        "--threads 3",
        "--search power",
        "--max-batch 77",
        "--time-budget 1234ms",
        "--time-budget none",
        "--deadline 0.7m",
        "--launches 9",
        "--seed 123456789012",
        "--poison",
        "--only aB,c0",
        "--out o",
        "--json",
        "--set classes=3,4",
        "--set base_channels=4",
        "--set segformer.drop_path=0.1,0.3333333333333333",
        "--set ensemble=sum,running",
        "--set denseunet3d.input=32x48x64",
    };
    (void)state;
    for (uint64_t run = 0; run < 300; run++) {
        char line[4096] = "run";
        struct fm_options o, again;
        struct fm_err err = { 0 };
        for (size_t i = 0; i < COUNT(words); i++) {
            char name[32];
            size_t n = strcspn(words[i], strncmp(words[i], "--set", 5) == 0 ? "=" : " ");
            (void)snprintf(name, sizeof name, " %.*s", (int)n, words[i]);
            if (fm_rng_u64(1, run, i) % 4 || strstr(line, name)) continue;
            (void)snprintf(line + strlen(line), sizeof line - strlen(line), " %s", words[i]);
        }
        if (fm_test_parse(line, &o, &err) != FM_OK) fail_msg("%s: %s", line, err.text);
        if (fm_test_again(&o, &again, &err) != FM_OK) fail_msg("%s: again: %s", line, err.text);
        char *p = fm_test_echo(&o), *q = fm_test_echo(&again);
        assert_string_equal(p, q);
        fm_free(p), fm_free(q);
        fm_options_release(&o), fm_options_release(&again);
    }
    assert_int_equal(fm_memory_live, 0);
}

static fm_status add_config(void *context, const char *key, const char *value)
{
    return cJSON_AddStringToObject(context, key, value) ? FM_OK : FM_NOMEM;
}

/* the journal of a run with these options, as far as its first record */
static void record_run(const char *folder, const char *line)
{
    struct fm_options o;
    struct fm_journal *journal = NULL;
    cJSON *run = cJSON_CreateObject();
    assert_int_equal(fm_test_parse(line, &o, NULL), FM_OK);
    assert_true(cJSON_AddStringToObject(run, "kind", "run") && cJSON_AddNumberToObject(run, "v", 1));
    assert_int_equal(fm_options_echo(&o, add_config, cJSON_AddObjectToObject(run, "config")), FM_OK);
    assert_int_equal(fm_journal_open(&journal, folder, false, NULL, NULL), FM_OK);
    assert_int_equal(fm_journal_append(journal, run, NULL), FM_OK);
    fm_journal_close(journal);
    cJSON_Delete(run);
    fm_options_release(&o);
}

/* --resume: what the journal recorded holds, below file and flags. */
static void test_recorded(void **state)
{
    static const struct { const char *line, *expected; } rows[] = {
        { "run --resume --out r", "workload=segformer set.segformer.input=64x64 precision=bf16,fp32 memory=3MiB seed=9 out=r resume=true "
                                  "time-budget=none -json -set.denseunet3d.levels" },
        { "run --resume --out r --precision fp16 --time-budget 9s --json",
          "workload=segformer set.segformer.input=64x64 precision=fp16 memory=3MiB time-budget=9s json=true" },
        { "run --resume --out r --set input=32x32 --memory auto", "set.segformer.input=32x32 precision=bf16,fp32 memory=auto" },
        { "run config.yaml --seed 4", "workload=segformer precision=bf16,fp32 seed=4 launches=7 resume=true" },
    };
    (void)state;
    record_run("r", "run --workload segformer --set input=64x64 --precision bf16,fp32 --memory 3MiB --seed 9 --json --out r --time-budget "
                    "none");
    fm_test_write("config.yaml", "resume: true\nout: r\nlaunches: 7\nseed: 3\n", 40);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fm_options o;
        struct fm_err err = { 0 };
        if (fm_test_parse(rows[i].line, &o, &err) != FM_OK) fail_msg("%s: %s", rows[i].line, err.text);
        check_echo(rows[i].line, &o, rows[i].expected);
        fm_options_release(&o);
    }
    struct fm_options o;
    struct fm_err err = { 0 };
    assert_int_equal(fm_test_parse("run --resume --out nowhere", &o, &err), FM_IO);
    assert_non_null(strstr(err.text, "nowhere"));
    fm_options_release(&o);
    assert_int_equal(unlink("r/journal.jsonl"), 0);
    assert_int_equal(rmdir("r"), 0);
    assert_int_equal(fm_memory_live, 0);
}

/* A journal cut within its first line, at every byte: the options are lost, so --resume has nothing to go on with. */
static void test_unrecorded(void **state)
{
    (void)state;
    record_run("r", "run --workload segformer --memory 3MiB");
    char bytes[8192];
    FILE *file = fopen("r/journal.jsonl", "rbe");
    assert_non_null(file);
    size_t count = fread(bytes, 1, sizeof bytes, file);
    assert_int_equal(fclose(file), 0);
    assert_true(count > 100 && count < sizeof bytes && memchr(bytes, '\n', count) == bytes + count - 1);
    for (size_t n = 0; n <= count; n++) {
        struct fm_options o;
        struct fm_err err = { 0 };
        struct stat now;
        fm_test_write("r/journal.jsonl", bytes, n);
        fm_status status = fm_test_parse("run --resume --out r", &o, &err);
        assert_int_equal(status, n == count ? FM_OK : FM_INVALID);
        if (n < count && strcmp(err.text, "--resume: the run in r ended before its options were written, so there is nothing to go on with; "
                                          "begin it again: give its options without --resume, or delete that folder") != 0)
            fail_msg("%zu bytes: %s", n, err.text);
        fm_options_release(&o);
        assert_int_equal(stat("r/journal.jsonl", &now), 0);
        assert_int_equal(now.st_size, n);
        /* without --resume the folder is as an empty one */
        struct fm_journal *journal = NULL;
        assert_int_equal(fm_journal_open(&journal, "r", false, NULL, NULL), n == count ? FM_INVALID : FM_OK);
        fm_journal_close(journal);
    }
    assert_int_equal(unlink("r/journal.jsonl"), 0);
    assert_int_equal(rmdir("r"), 0);
    assert_int_equal(fm_memory_live, 0);
}

/* The n-th operation fails, for every n: an error that says so, nothing kept. */
static void test_faults(void **state)
{
    static const char file[] =
        "precision: [fp32, bf16]\nset: {classes: 5, segformer: {variant: [b0, b1]}}\ncheckpoint: none,blocks\n";
    static const char *const lines[] = {
        "run config.yaml --memory 2GiB --device cpu,ref --out x --only ab",
        "show workload segformer --set variant=b1 --json",
        "report dir",
        "plan --workload denseunet3d --set base_channels=1,2 --checkpoint enc1+enc2",
        "run --precision fp23",
        "run config.yaml --set classes=1",
    };
    (void)state;
    fm_test_write("config.yaml", file, strlen(file));
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct fm_options o;
        fm_status expected = fm_test_parse(lines[i], &o, NULL);
        fm_options_release(&o);
        assert_int_equal(expected, i < 4 ? FM_OK : FM_INVALID);
        for (long n = 0; ; n++) {
            struct fm_err err = { 0 };
            fm_fault = (struct fm_fault){ .left = n, .armed = true };
            fm_status status = fm_test_parse(lines[i], &o, &err);
            long hits = fm_fault.hits;
            fm_fault = (struct fm_fault){ 0 };
            fm_options_release(&o);
            assert_int_equal(fm_memory_live, 0);
            if (!hits) {
                assert_int_equal(status, expected);
                break;
            }
            if (status != FM_NOMEM && status != FM_IO)
                fail_msg("%s: fault %ld: status %d, %s", lines[i], n, (int)status, err.text);
            assert_int_equal(err.status, status);
            assert_true(err.text[0]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_fields), cmocka_unit_test(test_commands),
        cmocka_unit_test(test_files_that_cannot_be_read),
        cmocka_unit_test(test_file_and_flags), cmocka_unit_test(test_file_for_plan_too), cmocka_unit_test(test_flags_override),
        cmocka_unit_test(test_file_for_others), cmocka_unit_test(test_echo_again),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_unrecorded), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, fm_test_enter, fm_test_leave);
}
