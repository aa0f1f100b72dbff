#include "tests/options/support_options.h"

#include "tuner/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_WORDS 512

static char folder[64], before[4096];

int fm_test_enter(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/fillmark-options-XXXXXX");
    if (!getcwd(before, sizeof before) || !mkdtemp(folder)) return -1;
    return chdir(folder);
}

int fm_test_leave(void **state)
{
    (void)state;
    (void)unlink("config.yaml");
    return chdir(before) != 0 || rmdir(folder) != 0 ? -1 : 0;
}

void fm_test_write(const char *path, const char *text, size_t bytes)
{
    (void)unlink(path);         /* a file that is written over is flushed by some file systems: slow */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

fm_status fm_test_parse(const char *line, struct fm_options *out, struct fm_err *err)
{
    static char copy[65536];
    char *word[MAX_WORDS] = { "fillmark" };
    int count = 1;
    assert_true(strlen(line) < sizeof copy);
    memcpy(copy, line, strlen(line) + 1);
    for (char *at = copy; at && *line;) {
        char *blank = strchr(at, ' ');
        if (blank) *blank++ = '\0';
        assert_true(count < MAX_WORDS);
        word[count++] = at;
        at = blank;
    }
    return fm_options_parse(count, word, out, err);
}

static fm_status add_line(void *context, const char *key, const char *value)
{
    fm_buf_printf(context, "%s=%s\n", key, value);
    return FM_OK;
}

char *fm_test_echo(const struct fm_options *options)
{
    struct fm_buf text = FM_BUF(1 << 20);
    assert_int_equal(fm_options_echo(options, add_line, &text), FM_OK);
    assert_true(fm_buf_ok(&text));
    char *copy = fm_strdup(fm_buf_text(&text));
    assert_non_null(copy);
    fm_buf_release(&text);
    return copy;
}

/* a pair as a flag; texts of the tests hold no blanks */
static fm_status add_flag(void *context, const char *key, const char *value)
{
    if (strncmp(key, "set.", 4) == 0) fm_buf_printf(context, " --set %s=%s", key + 4, value);
    else if (strcmp(value, "true") == 0) fm_buf_printf(context, " --%s", key);
    else fm_buf_printf(context, " --%s %s", key, value);
    return FM_OK;
}

fm_status fm_test_again(const struct fm_options *options, struct fm_options *out, struct fm_err *err)
{
    struct fm_buf line = FM_BUF(60000);
    fm_buf_puts(&line, options->command == FM_COMMAND_PLAN ? "plan" : "run");
    assert_int_equal(fm_options_echo(options, add_flag, &line), FM_OK);
    assert_true(fm_buf_ok(&line));
    fm_status status = fm_test_parse(fm_buf_text(&line), out, err);
    fm_buf_release(&line);
    return status;
}
