/* Help and man page: made from the same table as the parser, so that each option is there,
 * and only where it is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/options/support_options.h"
#include "tuner/base/memory.h"
#include "tuner/options/table.h"

static const enum fm_command topics[] = {
    FM_COMMAND_RUN,     FM_COMMAND_PLAN,   FM_COMMAND_SHOW_WORKLOADS, FM_COMMAND_SHOW_WORKLOAD,
    FM_COMMAND_SHOW_DEVICES, FM_COMMAND_DEVICES, FM_COMMAND_REPORT, FM_COMMAND_COMPARE, FM_COMMAND_HISTORY,
    FM_COMMAND_EXPORT,
    FM_COMMAND_ADVISE, FM_COMMAND_EXPLAIN, FM_COMMAND_HELP,
};
#define TOPICS (sizeof topics / sizeof topics[0])

static size_t columns(const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

/* lines, each within 100 columns, without a blank at its end */
static size_t check_lines(const char *text)
{
    size_t lines = 0;
    for (const char *at = text; *at; lines++) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        if (columns(at, (size_t)(end - at)) > 100 || (end > at && end[-1] == ' '))
            fail_msg("'%.*s'", (int)(end - at), at);
        at = end + 1;
    }
    return lines;
}

static void test_each_option_is_in_help(void **state)
{
    (void)state;
    for (size_t t = 0; t < TOPICS; t++) {
        struct fm_buf text = FM_BUF(1 << 16);
        fm_options_help(topics[t], &text);
        assert_true(fm_buf_ok(&text));
        for (int id = 0; id < FM_OPTION_COUNT && topics[t] != FM_COMMAND_HELP; id++) {
            const struct fm_option *o = &fm_option_table[id];
            char flag[80];
            (void)snprintf(flag, sizeof flag, "\n  --%s%s%s", o->name, o->argument ? " " : "",
                           o->argument ? o->argument : "");
            bool there = strstr(fm_buf_text(&text), flag) != NULL;
            if (there != fm_option_of((enum fm_option_id)id, topics[t]))
                fail_msg("%s: --%s", fm_commands[topics[t]].name, o->name);
        }
        size_t lines = check_lines(fm_buf_text(&text));
        assert_in_range(lines, 5, 90);      /* two screens */
        fm_buf_release(&text);
    }
    assert_int_equal(fm_memory_live, 0);
}

/* a command that takes the option, with the operands that it needs */
static const char *command_of(enum fm_option_id id)
{
    static char line[80];
    int command = FM_COMMAND_PLAN;
    if (!fm_option_of(id, FM_COMMAND_PLAN))
        for (command = 0; command + 1 < FM_COMMAND_COUNT && !fm_option_of(id, (enum fm_command)command);) command++;
    (void)snprintf(line, sizeof line, "%s%s%s", fm_commands[command].name, fm_commands[command].operands_min > 0 ? " a" : "",
                   fm_commands[command].operands_min > 1 ? " b" : "");
    return line;
}

/* what help says is taken: each default, and each value of a strategy that is a list of words */
static void test_defaults_and_values_parse(void **state)
{
    (void)state;
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *o = &fm_option_table[id];
        const char *text = fm_option_default((enum fm_option_id)id);
        char line[256];
        struct fm_options options;
        struct fm_err err = { 0 };
        if (*text) {
            (void)snprintf(line, sizeof line, "%s --%s %s", command_of((enum fm_option_id)id), o->name, text);
            if (fm_test_parse(line, &options, &err) != FM_OK) fail_msg("%s: %s", line, err.text);
            fm_options_release(&options);
        }
        if (o->kind != FM_OPTION_STRATEGY || strchr(fm_strategies[o->strategy]->values, ' ')) continue;
        for (const char *at = fm_strategies[o->strategy]->values; *at;
             at += strcspn(at, ",") + (at[strcspn(at, ",")] != '\0')) {
            (void)snprintf(line, sizeof line, "plan --%s %.*s", o->name, (int)strcspn(at, ","), at);
            if (fm_test_parse(line, &options, &err) != FM_OK) fail_msg("%s: %s", line, err.text);
            fm_options_release(&options);
        }
    }
}

/* every strategy of the registry is an option, with its own name */
static void test_each_strategy_is_an_option(void **state)
{
    bool seen[FM_STRATEGY_COUNT] = { false };
    (void)state;
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *o = &fm_option_table[id];
        assert_non_null(o->name);
        assert_int_not_equal(o->commands, 0);
        if (o->kind != FM_OPTION_STRATEGY) continue;
        assert_int_equal(fm_strategy_find(o->name), o->strategy);
        assert_false(seen[o->strategy]);
        seen[o->strategy] = true;
    }
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) assert_true(seen[i]);
}

/* the documented exit codes are those of the table, in help and man page */
static void test_exit_codes(void **state)
{
    struct fm_buf help = FM_BUF(1 << 16), man = FM_BUF(1 << 18);
    char line[120];
    (void)state;
    fm_options_help(FM_COMMAND_HELP, &help);
    fm_options_man(FM_COMMAND_HELP, &man);
#define X(name, code, text)                                                            \
    (void)snprintf(line, sizeof line, "\n  %3d  %s\n", code, text);                    \
    if (!strstr(fm_buf_text(&help), line)) fail_msg("help lacks%s", line);             \
    (void)snprintf(line, sizeof line, "\n.TP\n\\fB%d\\fR\n", code);                    \
    if (!strstr(fm_buf_text(&man), line)) fail_msg("man page lacks %d", code);
    FM_STATUS_LIST(X)
#undef X
    for (size_t t = 0; t < TOPICS; t++) {
        (void)snprintf(line, sizeof line, "\n  %s", fm_commands[topics[t]].name);
        assert_non_null(strstr(fm_buf_text(&help), line));
    }
    fm_buf_release(&help), fm_buf_release(&man);
}

/* "max-batch" as roff has it */
static void escaped(const char *name, char *out, size_t bytes)
{
    size_t n = 0;
    for (; *name && n + 3 < bytes; name++) {
        if (*name == '-') out[n++] = '\\';
        out[n++] = *name;
    }
    out[n] = '\0';
}

/* its options and no others, nothing that roff would take for a request; left in `file` for the linter */
static void check_page(enum fm_command topic, const char *file)
{
    struct fm_buf man = FM_BUF(1 << 18);
    fm_options_man(topic, &man);
    assert_true(fm_buf_ok(&man));
    assert_memory_equal(fm_buf_text(&man), ".TH FILLMARK", 12);
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        char name[80], entry[100];
        bool takes = topic == FM_COMMAND_HELP || fm_option_of((enum fm_option_id)id, topic);
        if (topic == FM_COMMAND_SHOW_WORKLOADS)         /* the page of "show" */
            takes = takes || fm_option_of((enum fm_option_id)id, FM_COMMAND_SHOW_WORKLOAD) ||
                    fm_option_of((enum fm_option_id)id, FM_COMMAND_SHOW_DEVICES);
        escaped(fm_option_table[id].name, name, sizeof name);
        (void)snprintf(entry, sizeof entry, "\n.TP\n\\fB\\-\\-%s\\fR", name);
        bool there = strstr(fm_buf_text(&man), entry) != NULL;
        if (there != takes) fail_msg("%s %s --%s", file, there ? "has" : "lacks", fm_option_table[id].name);
    }
    /* text that begins a line with a dot or quote would be a request */
    for (const char *at = fm_buf_text(&man); *at; at = strchr(at, '\n') + 1) {
        assert_int_not_equal(*at, '\'');
        assert_int_not_equal(*at, '\n');
        if (*at == '.') assert_non_null(strchr("TSPnfbIB", at[1]));
    }
    assert_non_null(strstr(fm_buf_text(&man), "\n.SH EXAMPLES\n.TP\n\\fBfillmark "));
    assert_non_null(strstr(fm_buf_text(&man), "\n.SH EXIT STATUS\n.TP\n\\fB0\\fR\n"));
    fm_test_write(file, fm_buf_text(&man), man.bytes);
    fm_buf_release(&man);
}

static void test_man_pages(void **state)
{
    (void)state;
    check_page(FM_COMMAND_HELP, "fillmark.1");
    size_t pages = 0;
    for (int i = 0; i < FM_COMMAND_HELP; i++) {
        const char *name = fm_commands[i].name;
        char file[64], page[48];
        struct fm_options o;
        (void)snprintf(page, sizeof page, "--man %.*s", (int)strcspn(name, " "), name);
        assert_int_equal(fm_test_parse(page, &o, NULL), FM_OK);
        assert_int_equal(o.command, FM_COMMAND_MAN);
        if (o.topic == (enum fm_command)i) {
            (void)snprintf(file, sizeof file, "fillmark-%s.1", page + 6);
            check_page(o.topic, file);
            pages++;
        } else {                    /* the second of "show" */
            assert_memory_equal(fm_commands[o.topic].name, name, strcspn(name, " ") + 1);
        }
        fm_options_release(&o);
    }
    assert_int_equal(pages, fm_page_count);
    /* a code is one of the table */
    for (size_t p = 0; p < fm_page_count; p++)
        for (size_t c = 0; c < FM_PAGE_ITEMS && fm_pages[p].codes[c][0]; c++) {
            bool known = false;
#define X(name, code, text) known |= strcmp(fm_pages[p].codes[c][0], #code) == 0;
            FM_STATUS_LIST(X)
#undef X
            if (!known) fail_msg("%s: no code %s", fm_pages[p].word, fm_pages[p].codes[c][0]);
        }
}

/* what `command` says of the pages; skipped where its program is not installed */
static void lint(const char *program, const char *command)
{
    char said[1024] = "", line[512];
    (void)snprintf(line, sizeof line, "command -v %s >/dev/null || exit 77; { %s; } 2>&1", program, command);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t n = fread(said, 1, sizeof said - 1, pipe);
    said[n] = '\0';
    int ended = pclose(pipe);
    if (ended == 77 << 8) skip();
    if (ended != 0 || n) fail_msg("%s", said);
}

static void test_man_pages_groff(void **state)
{
    (void)state;
    lint("groff", "for page in fillmark*.1; do groff -ww -man -Tutf8 -z $page; done");
}

/* the date of a build would make every build another; all else counts */
static void test_man_pages_mandoc(void **state)
{
    (void)state;
    lint("mandoc", "mandoc -T lint -W warning fillmark*.1 | sed '/missing date/d'");
}

static int remove_pages(void **state)
{
    return system("rm -f fillmark.1 fillmark-*.1") == 0 ? fm_test_leave(state) : -1;
}

static void test_print(void **state)
{
    struct fm_buf out = FM_BUF(1 << 18);
    struct fm_options o;
    (void)state;
    assert_int_equal(fm_test_parse("--version", &o, NULL), FM_OK);
    assert_true(fm_options_prints(o.command));
    assert_int_equal(fm_options_print(&o, &out, NULL), FM_OK);
    assert_string_equal(fm_buf_text(&out), "fillmark " FILLMARK_VERSION "\n");
    fm_options_release(&o);
    fm_buf_clear(&out);
    assert_int_equal(fm_test_parse("plan --help", &o, NULL), FM_OK);
    assert_int_equal(fm_options_print(&o, &out, NULL), FM_OK);
    assert_memory_equal(fm_buf_text(&out), "usage: fillmark plan [CONFIG.yaml] [OPTIONS]\n", 45);
    fm_options_release(&o);
    fm_buf_release(&out);
}

/* The n-th allocation fails: the text fails as a whole, never a shorter one. */
static void test_faults(void **state)
{
    static const char *const lines[] = { "--help", "run --help", "show --help", "--man", "--man run", "--man show" };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        for (long n = 0; ; n++) {
            struct fm_options o;
            struct fm_buf out = FM_BUF(1 << 18);
            struct fm_err err = { 0 };
            assert_int_equal(fm_test_parse(lines[i], &o, NULL), FM_OK);
            fm_fault = (struct fm_fault){ .left = n, .armed = true };
            fm_status status = fm_options_print(&o, &out, &err);
            long hits = fm_fault.hits;
            fm_fault = (struct fm_fault){ 0 };
            fm_options_release(&o);
            fm_buf_release(&out);
            assert_int_equal(fm_memory_live, 0);
            assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
            if (!hits) break;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_option_is_in_help),
        cmocka_unit_test(test_defaults_and_values_parse),
        cmocka_unit_test(test_each_strategy_is_an_option),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_man_pages),
        cmocka_unit_test(test_man_pages_groff),
        cmocka_unit_test(test_man_pages_mandoc),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, fm_test_enter, remove_pages);
}
