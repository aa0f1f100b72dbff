#include "tests/results/support_journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/base/memory.h"

static char folder[256];

const char *fm_test_folder(void)
{
    struct stat about;
    const char *tmp = getenv("TMPDIR");
    if (folder[0]) fm_test_folder_remove();
    if (!tmp) tmp = stat("/dev/shm", &about) == 0 && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    (void)snprintf(folder, sizeof folder, "%s/fillmark-test-XXXXXX", tmp);
    assert_non_null(mkdtemp(folder));
    return folder;
}

void fm_test_folder_remove(void)
{
    char command[300];
    if (!folder[0]) return;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    folder[0] = '\0';
}

static void path_of(char path[512], const char *in, const char *name)
{
    (void)snprintf(path, 512, "%s/%s", in, name);
}

void fm_test_read(const char *in, const char *name, struct fm_buf *out)
{
    char path[512], part[4096];
    size_t n;
    path_of(path, in, name);
    FILE *file = fopen(path, "re");
    if (!file) fail_msg("cannot read %s", path);
    while ((n = fread(part, 1, sizeof part, file)) > 0) fm_buf_add(out, part, n);
    (void)fclose(file);
    assert_true(fm_buf_ok(out));
}

void fm_test_write(const char *in, const char *name, const char *data, size_t bytes)
{
    char path[512];
    path_of(path, in, name);
    FILE *file = fopen(path, "we");
    if (!file) fail_msg("cannot write %s", path);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

bool fm_test_exists(const char *in, const char *name)
{
    char path[512];
    path_of(path, in, name);
    return access(path, F_OK) == 0;
}

void fm_test_records(const char *text, struct fm_records *out)
{
    *out = (struct fm_records){ 0 };
    char *copy = fm_strdup(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'') *c = '"';
    for (char *line = copy, *end; *line; line = end) {
        end = strchr(line, '\n');
        if (end) *end++ = '\0';
        else end = line + strlen(line);
        if (!*line) continue;
        cJSON *record = cJSON_ParseWithOpts(line, NULL, 1);
        if (!record) fail_msg("not JSON: %s", line);
        assert_int_equal(fm_records_add(out, record, NULL), FM_OK);
    }
    fm_free(copy);
}

void fm_test_records_of(const char *name, struct fm_records *out)
{
    struct fm_buf text = FM_BUF(1 << 20);
    fm_test_read(FM_TEST_DATA_DIR "/results", name, &text);
    fm_test_records(fm_buf_text(&text), out);
    fm_buf_release(&text);
}

static void *allocate(size_t bytes)
{
    return fm_calloc(1, bytes);
}

void fm_test_hook_cjson(bool on)
{
    cJSON_Hooks hooks = { .malloc_fn = allocate, .free_fn = fm_free };
    cJSON_InitHooks(on ? &hooks : NULL);
}
