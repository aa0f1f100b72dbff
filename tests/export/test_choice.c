/* Which cell is exported: rank 1 of the unchanged model at its knee, nothing made up; and files replaced whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <math.h>

#include "results/choice.h"
#include "results/export_formats/rewrite.h"
#include "tuner/base/memory.h"

#define HEAD "{'kind':'run','v':1,'tool':'t','seed':'5','devices':[{'id':'cpu','name':'A CPU'},{'id':'cuda:0','name':'A GPU'}]}\n"
#define CELL_ON(device, id, model, changes, set, strategies)                                                                  \
    "{'kind':'cell','v':1,'id':'" id "','train_id':'" id "','device':'" device "','workload':'w','set':{" set "},'strategies':{" \
    strategies "},'model_id':'" model "','changes_model':[" changes "],'parameters':7,'flops_per_sample':10,'capacity_bytes':500}\n"
#define CELL(id, strategies) CELL_ON("cpu", id, "m", "", "'input':'8x9x10'", strategies)
#define RUN(id, batch, ns, bytes)                                                                                             \
    "{'kind':'row','v':1,'cell':'" id "','batch':" #batch ",'val_batch':0,'phase':'train','role':'r','launch':1,'outcome':'ok',"  \
    "'measured':{'reserved_bytes':" #bytes ",'step_ns':[" #ns "]}}\n"
#define VERDICT(id, train, val)                                                                                               \
    "{'kind':'verdict','v':1,'cell':'" id "','outcome':'ok','max_batch':{'train':" #train ",'val':" #val "},'certified':true}\n"

struct folded {
    struct fm_records records;
    struct fm_result result;
};

static void fold(struct folded *f, const char *text)
{
    struct fm_err err = { 0 };
    char *copy = fm_strdup(text);
    f->records = (struct fm_records){ 0 };
    for (char *c = copy; *c; c++)
        if (*c == '\'') *c = '"';
    for (char *line = copy, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        cJSON *record = cJSON_Parse(line);
        if (!record) fail_msg("not JSON: %s", line);
        assert_int_equal(fm_records_add(&f->records, record, NULL), FM_OK);
    }
    fm_free(copy);
    if (fm_result_fold(&f->records, &f->result, &err) != FM_OK) fail_msg("%s", err.text);
}

static void drop(struct folded *f)
{
    fm_result_release(&f->result);
    fm_records_release(&f->records);
}

static void choose(const struct folded *f, const struct fm_choice_query *query, struct fm_choice *out)
{
    struct fm_err err = { 0 };
    if (fm_choice_best(&f->result, query, out, &err) != FM_OK) fail_msg("%s", err.text);
}

static void assert_refused(const struct folded *f, const struct fm_choice_query *query, const char *text)
{
    struct fm_choice choice;
    struct fm_err err = { 0 };
    assert_int_equal(fm_choice_best(&f->result, query, &choice, &err), FM_INVALID);
    if (!strstr(err.text, text)) fail_msg("'%s' does not say '%s'", err.text, text);
}

static void test_best(void **state)
{
    struct folded f;
    struct fm_choice c;
    (void)state;
    /* samples/s: a 4 at 4, 8 at 8, 8.1 at 9 (knee 8); b 10 at 2; the changed model is faster still, and is not taken */
    fold(&f, HEAD CELL("aa", "'precision':'fp32','val_batch':'half','accumulate':'2'") CELL("bb", "'precision':'bf16','accumulate':'3'")
         CELL_ON("cpu", "cc", "n", "'channels'", "", "'channels':'1/2'")
         RUN("aa", 4, 2000000000, 100) RUN("aa", 8, 2000000000, 200) RUN("bb", 2, 600000000, 150) RUN("cc", 50, 1, 10)
         VERDICT("aa", 8, 4) VERDICT("bb", 5, 0) VERDICT("cc", 50, 0));
    choose(&f, &(struct fm_choice_query){ .workload = "w" }, &c);
    assert_string_equal(c.cell, "bb");
    assert_int_equal(c.batch, 2);
    assert_int_equal(c.max_batch, 5);
    assert_int_equal(c.accumulation, 3);
    assert_int_equal(c.global_batch, 6);
    assert_string_equal(c.precision, "bf16");
    assert_string_equal(c.device_name, "A CPU");
    assert_int_equal(c.input_dims, 3);
    assert_int_equal(c.input[1], 9);
    assert_true(fabs(c.samples_per_s - 10) < 1e-9);
    assert_true(c.peak_bytes == 150 || c.peak_bytes == -1);
    assert_true(isnan(c.learning_rate));
    assert_null(c.checkpoint);
    assert_null(c.memory_format);
    assert_false(c.planned);
    /* the largest batch instead; a cell by its id */
    choose(&f, &(struct fm_choice_query){ .workload = "w", .largest = true }, &c);
    assert_int_equal(c.batch, 5);
    assert_true(isnan(c.samples_per_s));        /* batch 5 was not timed */
    choose(&f, &(struct fm_choice_query){ .workload = "w", .only = "a" }, &c);
    assert_int_equal(c.batch, 8);
    assert_int_equal(c.val_batch, 4);
    choose(&f, &(struct fm_choice_query){ .workload = "w", .only = "cc" }, &c);
    assert_true(c.changes_model);
    assert_refused(&f, &(struct fm_choice_query){ .workload = "v" }, "no such workload (it has w)");
    assert_refused(&f, &(struct fm_choice_query){ .workload = "w", .device = "cuda:0" }, "no cell of the run is of the asked device");
    drop(&f);
}

static void test_ambiguous(void **state)
{
    struct folded f;
    struct fm_choice c;
    (void)state;
    /* two sizes of a network, and two devices: the best of what, is not for us to say */
    fold(&f, HEAD CELL_ON("cpu", "aa", "m", "", "'v':'b0'", "") CELL_ON("cpu", "bb", "n", "", "'v':'b1'", "")
         RUN("aa", 4, 1000000000, 100) RUN("bb", 4, 2000000000, 100) VERDICT("aa", 4, 0) VERDICT("bb", 4, 0));
    assert_refused(&f, &(struct fm_choice_query){ .workload = "w" }, "aa on cpu (v=b0); bb on cpu (v=b1)");
    choose(&f, &(struct fm_choice_query){ .workload = "w", .only = "b" }, &c);
    assert_string_equal(c.cell, "bb");
    drop(&f);
    fold(&f, HEAD CELL_ON("cpu", "aa", "m", "", "", "") CELL_ON("cuda:0", "bb", "m", "", "", "")
         RUN("aa", 4, 1000000000, 100) RUN("bb", 4, 2000000000, 100) VERDICT("aa", 4, 0) VERDICT("bb", 4, 0));
    assert_refused(&f, &(struct fm_choice_query){ .workload = "w" }, "--device");
    choose(&f, &(struct fm_choice_query){ .workload = "w", .device = "cuda:0" }, &c);
    assert_string_equal(c.device_name, "A GPU");
    drop(&f);
}

static void test_none(void **state)
{
    struct folded f;
    struct fm_choice c;
    (void)state;
    /* nothing fits but a changed model */
    fold(&f, HEAD CELL("aa", "") CELL_ON("cpu", "bb", "n", "'channels'", "", "") VERDICT("aa", 0, 0) RUN("bb", 4, 1000000000, 100) VERDICT("bb", 4, 0));
    assert_refused(&f, &(struct fm_choice_query){ .workload = "w" }, "a changed model has: name its cell with --only");
    drop(&f);
    /* planned alone: taken if it is the only one, and called planned */
    fold(&f, HEAD CELL("aa", "'val_batch':'same'") "{'kind':'verdict','v':1,'cell':'aa','outcome':'planned','max_batch':{'train':7,'val':7},'certified':false}\n");
    choose(&f, &(struct fm_choice_query){ .workload = "w" }, &c);
    assert_int_equal(c.batch, 7);
    assert_true(c.planned);
    assert_int_equal(c.peak_bytes, -1);
    drop(&f);
    assert_int_equal(fm_memory_live, 0);
}

/* ---- files ---- */

static char folder[64], path[128], link_path[128];

static void write_file(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void assert_file(const char *text)
{
    struct fm_buf got = FM_BUF(1 << 12);
    struct fm_file_state state;
    assert_int_equal(fm_file_take(path, &got, &state, NULL), FM_OK);
    assert_string_equal(fm_buf_text(&got), text);
    fm_buf_release(&got);
}

/* how many entries the folder has: nothing is left lying about */
static int entries(void)
{
    char command[160], text[16] = "";
    (void)snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(text, sizeof text, pipe));
    assert_int_equal(pclose(pipe), 0);
    return (int)strtol(text, NULL, 10);
}

static int enter(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/fillmark-export-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(path, sizeof path, "%s/config.yaml", folder);
    (void)snprintf(link_path, sizeof link_path, "%s/link.yaml", folder);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    (void)unlink(link_path);
    (void)unlink(path);
    return rmdir(folder);
}

static void test_rewrite(void **state)
{
    struct fm_buf got = FM_BUF(1 << 12), text = FM_BUF(1 << 12);
    struct fm_file_state then;
    struct stat about;
    struct fm_err err = { 0 };
    (void)state;
    fm_buf_puts(&text, "new\n");
    write_file("old\n", 0640);
    assert_int_equal(symlink("config.yaml", link_path), 0);
    assert_int_equal(fm_file_take(link_path, &got, &then, &err), FM_OK);
    assert_string_equal(fm_buf_text(&got), "old\n");
    assert_int_equal(fm_file_rewrite(link_path, &then, &text, &err), FM_OK);
    assert_file("new\n");
    assert_int_equal(lstat(link_path, &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0640);
    /* changed by somebody else meanwhile: theirs stays */
    write_file("theirs, longer\n", 0640);
    assert_int_equal(fm_file_rewrite(path, &then, &text, &err), FM_MISMATCH);
    assert_file("theirs, longer\n");
    assert_int_equal(entries(), 2);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_file_take(folder, &got, &then, &err), FM_INVALID);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_file_take("/nowhere/x", &got, &then, &err), FM_IO);
    (void)unlink(link_path);
    fm_buf_release(&got);
    fm_buf_release(&text);
}

static void test_rewrite_faults(void **state)
{
    bool clean = false;
    (void)state;
    for (long n = 0; !clean; n++) {
        struct fm_buf got = FM_BUF(1 << 12), text = FM_BUF(1 << 12);
        struct fm_file_state then;
        struct fm_err err = { 0 };
        fm_buf_puts(&text, "new text of the file\n");
        write_file("old\n", 0600);
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_file_take(path, &got, &then, &err);
        bool taken = status == FM_OK;
        if (taken) status = fm_file_rewrite(path, &then, &text, &err);
        clean = fm_fault.hits == 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(status == FM_OK, clean);
        /* the old or the new, whole; the new only where nothing but the folder's sync is left to fail */
        fm_buf_clear(&got);
        assert_int_equal(fm_file_take(path, &got, &then, &err), FM_OK);
        assert_true(strcmp(fm_buf_text(&got), "old\n") == 0 || strcmp(fm_buf_text(&got), "new text of the file\n") == 0);
        if (clean) assert_string_equal(fm_buf_text(&got), "new text of the file\n");
        assert_int_equal(entries(), 1);
        fm_buf_release(&got);
        fm_buf_release(&text);
        assert_int_equal(fm_memory_live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best), cmocka_unit_test(test_ambiguous), cmocka_unit_test(test_none),
        cmocka_unit_test(test_rewrite), cmocka_unit_test(test_rewrite_faults),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
