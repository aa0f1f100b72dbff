/* The space of cells: the whole product, each cell once, plain ones first; and each cell's command gives that cell alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/options/space.h"

#define MAX_WORDS 64
#define MEMORY INT64_C(123456789)

/* The words of a line as a shell has them: blanks between, '...' as it is, a backslash for one character. Anything else that
 * means something to a shell must not be there. Returns how many. */
static int words_of(const char *line, char *copy, char **word)
{
    int count = 0;
    for (const char *at = line; *at;) {
        if (*at == ' ') {
            at++;
            continue;
        }
        assert_true(count < MAX_WORDS);
        word[count++] = copy;
        for (bool quoted = false; *at && (quoted || *at != ' '); at++) {
            if (*at == '\'') {
                quoted = !quoted;
                continue;
            }
            if (!quoted) assert_null(strchr("\"$`();&|<>*?~#[]{}!\n\t", *at));
            if (!quoted && *at == '\\') assert_true(*++at != '\0');
            *copy++ = *at;
        }
        *copy++ = '\0';
    }
    return count;
}

/* `fillmark LINE`; asserts */
static void parse(const char *line, struct fm_options *out)
{
    static char copy[8192];
    char *word[MAX_WORDS + 1] = { "fillmark" };
    struct fm_err err = { 0 };
    assert_true(strlen(line) < sizeof copy / 2);
    int count = 1 + words_of(line, copy, word + 1);
    if (fm_options_parse(count, word, out, &err) != FM_OK) fail_msg("%s: %s", line, err.text);
}

static void build(const struct fm_options *o, struct fm_space *space)
{
    struct fm_err err = { 0 };
    if (fm_space_build(o, "cpu", MEMORY, space, &err) != FM_OK) fail_msg("%s", err.text);
}

static const char *const lines[] = {
    "run",
    "run --workload denseunet3d",
    "run --workload segformer,denseunet3d --precision fp32,bf16 --checkpoint none,blocks",
    "run --workload denseunet3d --set input=16x16x16,32x32x32 --channels 1,1/2,3/4 --val-batch same,half,max",
    "run --workload segformer --set variant=b0,b1 --optimizer adamw,sgd --optimizer-form foreach,for-loop --accumulate 1,4",
    "run --workload segformer --checkpoint none,s1.b0+s2.b1 --loop plain --accounting dispatch --threads 2 --seed 7",
    "run --workload denseunet3d --precision bf16 --zero-grad none,keep",
    "run --workload segformer --precision fp16 --attention math,flash --search binsearch --max-batch 64 --deadline 90s --launches 5 --poison --shared",
    "plan --workload segformer --batch 3 --memory-format contiguous,channels_last --calibrate 'last night/$HOME/it'\\''s' --json",
    "plan --workload segformer --max-batch none --only 0123,4,5,6,7,8,9,a,b,c,d,e,f,0,1,2,3 --out somewhere",
};
#define LINES (sizeof lines / sizeof lines[0])

/* how many axes of the options are not at their first value in this cell */
static size_t changes_of(const struct fm_options *o, const struct fm_cell *cell)
{
    size_t changes = 0;
    for (int i = 0; i < FM_STRATEGY_COUNT; i++)
        changes += o->strategy[i].count && strcmp(cell->value[i], o->strategy[i].item[0]) != 0;
    for (size_t i = 0; i < o->set_count; i++)
        if (o->set[i].workload == cell->settings.workload)
            changes += strcmp(fm_setting_get(&cell->settings, o->set[i].key)->text, o->set[i].values.item[0]) != 0;
    return changes;
}

static size_t product_of(const struct fm_options *o)
{
    size_t sum = 0;
    for (size_t w = 0; w < o->workload.count; w++) {
        size_t product = 1;
        for (int i = 0; i < FM_STRATEGY_COUNT; i++) product *= o->strategy[i].count ? o->strategy[i].count : 1;
        for (size_t i = 0; i < o->set_count; i++)
            if (strcmp(o->set[i].workload->name, o->workload.item[w]) == 0) product *= o->set[i].values.count;
        sum += product;
    }
    return sum;
}

static void the_whole_product_plain_first(void **state)
{
    (void)state;
    for (size_t k = 0; k < LINES; k++) {
        struct fm_options o;
        struct fm_space space;
        parse(lines[k], &o);
        build(&o, &space);
        assert_int_equal(space.count, product_of(&o));
        for (size_t i = 0; i < space.count; i++) {
            for (size_t j = 0; j < i; j++) assert_true(fm_cell_id(&space.cell[i]) != fm_cell_id(&space.cell[j]));
            if (i) assert_true(changes_of(&o, &space.cell[i]) >= changes_of(&o, &space.cell[i - 1]));
        }
        /* the plain cell of each workload, then all else */
        for (size_t i = 0; i < o.workload.count; i++) {
            assert_string_equal(space.cell[i].settings.workload->name, o.workload.item[i]);
            assert_int_equal(changes_of(&o, &space.cell[i]), 0);
        }
        /* again, it is the same */
        struct fm_space again;
        build(&o, &again);
        for (size_t i = 0; i < space.count; i++) assert_true(fm_cell_id(&space.cell[i]) == fm_cell_id(&again.cell[i]));
        fm_space_release(&again);
        fm_space_release(&space);
        fm_options_release(&o);
    }
}

/* all that decides what a cell does, how it is measured and planned; and where its output goes is not among it */
static void same_choices(const struct fm_options *a, const struct fm_options *b)
{
    assert_int_equal(a->command, b->command);
    assert_int_equal(a->search, b->search);
    assert_int_equal(a->max_batch, b->max_batch);
    assert_int_equal(a->batch, b->batch);
    assert_int_equal(a->deadline_ns, b->deadline_ns);
    assert_int_equal(a->launches, b->launches);
    assert_int_equal(a->poison, b->poison);
    assert_int_equal(a->shared, b->shared);
    assert_int_equal(a->calibrate != NULL, b->calibrate != NULL);
    if (b->calibrate) assert_string_equal(a->calibrate, b->calibrate);
    assert_int_equal(a->device_file != NULL, b->device_file != NULL);
    if (b->device_file) assert_string_equal(a->device_file, b->device_file);
    assert_false(a->json || a->resume || a->out || a->only.count);
    assert_int_equal(a->origin[FM_OPTION_TIME_BUDGET], FM_ORIGIN_DEFAULT);
}

/* each option of the table that was given, in its order, each once */
static void in_the_order_of_the_table(void **state)
{
    (void)state;
    struct fm_options o;
    struct fm_space space;
    parse("plan --seed 9 --batch 3 --device cpu --precision bf16 --set levels=3 --workload denseunet3d", &o);
    build(&o, &space);
    assert_int_equal(space.count, 1);
    assert_string_equal(space.reproduce[0], "fillmark plan --workload denseunet3d --set levels=3 --precision bf16 --device cpu "
                                            "--memory 123456789 --batch 3 --seed 9");
    fm_space_release(&space);
    fm_options_release(&o);
    parse("run --launches 4 --poison --device cpu --precision bf16 --set levels=3 --workload denseunet3d --seed 9", &o);
    build(&o, &space);
    assert_int_equal(space.count, 1);
    assert_string_equal(space.reproduce[0], "fillmark run --workload denseunet3d --set levels=3 --precision bf16 --device cpu "
                                            "--memory 123456789 --launches 4 --seed 9 --poison");
    fm_space_release(&space);
    fm_options_release(&o);
}

static void commands_reproduce(void **state)
{
    (void)state;
    for (size_t k = 0; k < LINES; k++) {
        struct fm_options o;
        struct fm_space space;
        parse(lines[k], &o);
        build(&o, &space);
        for (size_t i = 0; i < space.count; i++) {
            struct fm_options alone;
            struct fm_space one;
            assert_true(strncmp(space.reproduce[i], "fillmark ", 9) == 0);
            parse(space.reproduce[i] + 9, &alone);
            build(&alone, &one);
            assert_int_equal(one.count, 1);
            assert_true(fm_cell_id(&one.cell[0]) == fm_cell_id(&space.cell[i]));
            assert_int_equal(alone.memory_bytes, MEMORY);
            assert_int_equal(alone.seed, o.seed);
            assert_int_equal(alone.threads, o.threads);
            assert_string_equal(alone.device.item[0], "cpu");
            same_choices(&alone, &o);
            assert_string_equal(one.reproduce[0], space.reproduce[i]);
            fm_space_release(&one);
            fm_options_release(&alone);
        }
        fm_space_release(&space);
        fm_options_release(&o);
    }
}

static void only_chooses_by_the_beginning_of_ids(void **state)
{
    (void)state;
    struct fm_options o;
    struct fm_space all, some;
    struct fm_err err = { 0 };
    parse(lines[3], &o);
    build(&o, &all);
    for (size_t i = 0; i < all.count; i++) {
        char line[512], id[FM_HASH_TEXT_BYTES];
        struct fm_options chosen;
        fm_hash_print(fm_cell_id(&all.cell[i]), id);
        (void)snprintf(line, sizeof line, "%s --only %.12s", lines[3], id);
        parse(line, &chosen);
        build(&chosen, &some);
        assert_int_equal(some.count, 1);
        assert_true(fm_cell_id(&some.cell[0]) == fm_cell_id(&all.cell[i]));
        fm_space_release(&some);
        fm_options_release(&chosen);
    }
    fm_space_release(&all);
    fm_options_release(&o);
    parse("run --workload segformer --only 0123456789abcdef", &o);
    assert_int_equal(fm_space_build(&o, "cpu", 0, &some, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "--only"));
    fm_options_release(&o);
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct fm_options o;
    parse(lines[2], &o);
    long live = fm_memory_live;
    for (long n = 0;; n++) {
        struct fm_space space;
        struct fm_err err = { 0 };
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_space_build(&o, "cpu", MEMORY, &space, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
        if (hits) assert_int_equal(space.count, 0);
        fm_space_release(&space);
        assert_int_equal(fm_memory_live, live);
        if (!hits) break;
    }
    fm_options_release(&o);
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_product_plain_first),
        cmocka_unit_test(commands_reproduce),
        cmocka_unit_test(in_the_order_of_the_table),
        cmocka_unit_test(only_chooses_by_the_beginning_of_ids),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
