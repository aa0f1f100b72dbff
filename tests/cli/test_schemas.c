/* What the command prints as JSON is as docs/schema says, and would not be if a key were missing or one too many. Runs are
 * recorded ones and plans: nothing is measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "results/json.h"
#include "tests/support/schema.h"
#include "tuner/base/buf.h"

#define SCHEMAS FM_SOURCE_DIR "/docs/schema/"
#define NET "--workload denseunet3d --device none "
#define OOM "CUDA out of memory. Tried to allocate 1.56 GiB (GPU 0; 31.73 GiB total capacity; 9.29 GiB already allocated; 892.25 MiB free)"

struct output { const char *schema, *command; int code; };

static const struct output outputs[] = {
    { "result", "report run --json", 0 },
    { "result", "plan " NET "--memory 24GiB --precision fp32,bf16 --json", 0 },
    { "result", "plan " NET "--memory 1GiB --batch 3 --json", 0 },
    { "result", "plan --device none --workload segformer --batch 2 --json", 0 },
    { "choice", "export run --workload denseunet3d --format json", 0 },
    { "choice", "export " NET "--memory 24GiB --format json", 0 },
    { "advice", "advise run --workload denseunet3d --json", 0 },
    { "advice", "advise run --workload denseunet3d --target-global-batch 6 --devices 2 --base-lr 1e-4 --base-batch 8 --lr-rule linear "
                "--samples-per-epoch 1000 --json", 0 },
    { "advice", "advise run --workload denseunet3d --max-memory 1MiB --json", 10 },
    { "advice", "advise " NET "--memory 24GiB --json", 0 },
    { "advice", "advise " NET "--set base_channels=8 --set levels=3 --set input=64x64x64 --memory 200MiB --json", 10 },
    { "explain", "explain oom.txt --json", 0 },
    { "explain", "explain shape.txt --json", 0 },
    { "explain", "explain oom.txt --workload denseunet3d --set n_infers=3 --json", 0 },
    { "comparison", "compare run run --json", 31 },         /* too few launches in that run */
    { "comparison", "compare run plans --json", 32 },
    { "comparison", "compare plans run --json", 32 },
    { "history", "history none.sqlite --json", 0 },
    { "history", "history nights.sqlite --json", 0 },
    { "known_devices", "show devices --json", 0 },
    { "workload", "show workload segformer --json", 0 },
    { "workload", "show workload denseunet3d --set base_channels=8 --json", 0 },
    { "workload", "show workload denseunet3d --set input=4096x4096x4096 --set base_channels=256 --json", 0 },
    { "result", "plan " NET "--set input=4096x4096x4096 --set base_channels=256 --batch 1 --memory 1024TiB --json", 0 },
    { "workloads", "show workloads --json", 0 },
    { "devices", "devices --json", 0 },
};
#define OUTPUTS (sizeof outputs / sizeof outputs[0])

static char folder[] = "/tmp/fillmark-schemas-XXXXXX";

/* the exit code of a shell's command line; what it prints to standard output is added to `out` (NULL: nothing is kept) */
static int shell(const char *line, struct fm_buf *out)
{
    char part[4096];
    size_t n;
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    while ((n = fread(part, 1, sizeof part, pipe)) > 0)
        if (out) fm_buf_add(out, part, n);
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static cJSON *schema_of(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, SCHEMAS "%s.schema.json", name);
    cJSON *schema = fm_schema_load(path);
    if (!schema) fail_msg("%s cannot be read", path);
    return schema;
}

static cJSON *output_of(const struct output *o)
{
    struct fm_buf text = FM_BUF((size_t)16 << 20);
    char line[1024];
    (void)snprintf(line, sizeof line, "cd %s && \"$FILLMARK\" %s 2>err.txt", folder, o->command);
    int code = shell(line, &text);
    if (code != o->code) fail_msg("exit code %d, not %d: fillmark %s", code, o->code, o->command);
    assert_true(fm_buf_ok(&text));
    cJSON *json = cJSON_ParseWithOpts(fm_buf_text(&text), NULL, 1);
    if (!json) fail_msg("no JSON: fillmark %s", o->command);
    fm_buf_release(&text);
    return json;
}

/* objects of the value in which the schema does not take a key that it lacks; counted */
static size_t refuses(const cJSON *schema, const cJSON *root, cJSON *value, const char *what)
{
    size_t objects = 0;
    int index = 0;
    cJSON *member = NULL;
    if (cJSON_IsObject(value)) {
        cJSON_AddItemToObject(value, "nonsense", cJSON_CreateTrue());
        objects += fm_schema_check(schema, root, NULL) == FM_INVALID;
        cJSON_DeleteItemFromObjectCaseSensitive(value, "nonsense");
    }
    if (fm_schema_check(schema, root, NULL) != FM_OK) fail_msg("%s: changed by the test", what);
    cJSON_ArrayForEach(member, value) {
        if (cJSON_IsArray(value) && index++ > 1) break;
        objects += refuses(schema, root, member, what);
    }
    return objects;
}

static void check_output(const struct output *o)
{
    struct fm_err err = { 0 };
    const cJSON *name = NULL;
    cJSON *schema = schema_of(o->schema), *json = output_of(o);
    if (fm_schema_check(schema, json, &err) != FM_OK) fail_msg("%s: %s", o->command, err.text);
    if (refuses(schema, json, json, o->command) == 0) fail_msg("%s: takes any key", o->schema);
    cJSON_ArrayForEach(name, cJSON_GetObjectItemCaseSensitive(schema, "required")) {
        cJSON *less = cJSON_Duplicate(json, 1);
        cJSON_DeleteItemFromObjectCaseSensitive(less, name->valuestring);
        if (fm_schema_check(schema, less, NULL) != FM_INVALID) fail_msg("%s: does not miss %s", o->schema, name->valuestring);
        cJSON_Delete(less);
    }
    cJSON_Delete(json);
    cJSON_Delete(schema);
}

static void test_outputs(void **state)
{
    (void)state;
    for (size_t i = 0; i < OUTPUTS; i++) {
        /* not built where oneDNN is too old */
        if (strcmp(outputs[i].schema, "devices") == 0 && access(FM_BINARY_DIR "/fillmark-worker-cpu", X_OK) != 0) continue;
        check_output(&outputs[i]);
    }
}

/* no schema is without an output, and each says of itself what it is */
static void test_each_schema_is_used(void **state)
{
    (void)state;
    DIR *dir = opendir(SCHEMAS);
    assert_non_null(dir);
    size_t count = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char name[64], id[96];
        bool used = false;
        const char *end = strstr(entry->d_name, ".schema.json");
        if (!end) continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)(end - entry->d_name), entry->d_name);
        for (size_t i = 0; i < OUTPUTS; i++) used = used || strcmp(outputs[i].schema, name) == 0;
        if (!used) fail_msg("%s: no output is held against it", entry->d_name);
        cJSON *schema = schema_of(name);
        (void)snprintf(id, sizeof id, "urn:fillmark:%s:1", name);
        assert_string_equal(fm_json_text(schema, "$id"), id);
        cJSON_Delete(schema);
        count++;
    }
    (void)closedir(dir);
    assert_true(count >= 10);
}

static void test_one_form_at_a_time(void **state)
{
    (void)state;
    char line[512];
    (void)snprintf(line, sizeof line, "cd %s && \"$FILLMARK\" show workload segformer --json --layers 2>err.txt", folder);
    assert_int_equal(shell(line, NULL), FM_INVALID);
}

static int enter(void **state)
{
    static const char *const lines[] = {
        "mkdir begun && sed '/\"kind\":\"start\"/q' " FM_TEST_DATA_DIR "/results/recorded.journal >begun/journal.jsonl",
        "mkdir run && cp " FM_TEST_DATA_DIR "/results/recorded.journal run/journal.jsonl",
        "echo '" OOM "' >oom.txt",
        "echo 'OOM when allocating tensor with shape[8,64,128,128] and type float on "
        "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc' >shape.txt",
        "\"$FILLMARK\" plan " NET "--memory 24GiB --out plans >out.txt",
        "\"$FILLMARK\" history none.sqlite --add begun --verdict first",
        "\"$FILLMARK\" history nights.sqlite --add run --verdict first",
    };
    (void)state;
    if (!getenv("FILLMARK") || !mkdtemp(folder)) return -1;
    (void)setenv("FILLMARK_CACHE_DIR", folder, 1);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char line[1024];
        (void)snprintf(line, sizeof line, "cd %s && { %s; } 2>>err.txt", folder, lines[i]);
        if (shell(line, NULL) != 0) {
            (void)fprintf(stderr, "failed: %s\n", lines[i]);
            return -1;
        }
    }
    return 0;
}

static int leave(void **state)
{
    char line[128];
    (void)state;
    (void)snprintf(line, sizeof line, "rm -rf %s", folder);
    return shell(line, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_each_schema_is_used),
        cmocka_unit_test(test_one_form_at_a_time),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
