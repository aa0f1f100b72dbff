#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/graph/support_yaml.h"
#include "tuner/base/memory.h"

fm_status lower_with(const struct fm_graph *graph, int policy, struct fm_program *program, struct fm_err *err)
{
    static uint8_t blocks[512];
    struct fm_policy p = fm_policy_default();
    memset(blocks, 1, sizeof blocks);
    if (policy == 1) p.checkpoint = blocks;
    if (policy == 3) {
        p.checkpoint = blocks;
        p.autocast = FM_BF16;
    }
    if (policy == 2) {
        p.autocast = FM_F16;
        p.loss_scaler = true;
        p.loop = FM_LOOP_PLAIN;
    }
    fm_status status = fm_lower(graph, &p, program, err);
    return status == FM_OK ? fm_program_check(program, err) : status;
}

uint64_t lowering_hash(const struct fm_graph *graph, int policy)
{
    struct fm_program program = { 0 };
    struct fm_err err = { 0 };
    if (lower_with(graph, policy, &program, &err) != FM_OK) fail_msg("policy %d: %s", policy, err.text);
    uint64_t hash = fm_program_hash(&program);
    fm_program_release(&program);
    return hash;
}

static char *file_text(const char *path)
{
    enum { MOST = 1 << 16 };
    char *text = fm_calloc(MOST, 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(text);
    assert_non_null(file);
    size_t n = fread(text, 1, MOST, file);
    assert_true(n > 0 && n < MOST);
    (void)fclose(file);
    return text;
}

char *data_text(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", FM_TEST_DATA_DIR, name);
    return file_text(path);
}

char *example_text(void)
{
    static const char fence[] = "```yaml\n";
    char *all = file_text(FM_SOURCE_DIR "/docs/graph-yaml.md");
    char *begin = strstr(all, fence), *end = begin ? strstr(begin + sizeof fence - 1, "```") : NULL;
    assert_non_null(end);
    begin += sizeof fence - 1;
    char *text = fm_strndup(begin, (size_t)(end - begin));
    assert_non_null(text);
    fm_free(all);
    return text;
}
