/* Progress lines, from a list of events: in a pipe a line a probe, on a terminal one live line that never wraps. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/campaign/support_toy.h"
#include "tuner/base/memory.h"
#include "tuner/commands/progress.h"

static struct fm_cell plain, other;

/* what a campaign tells: a start and an end of each probe */
static const struct fm_progress events[] = {
    { .device = "cpu", .stage = "boundary", .cell = &plain, .cell_index = 0, .cells = 12, .batch = 8, .left_ns = -1 },
    { .device = "cpu", .stage = "boundary", .cell = &plain, .cell_index = 0, .cells = 12, .batch = 8, .probes = 1, .left_ns = -1, .last = "ok" },
    { .device = "cpu", .stage = "boundary", .cell = &plain, .cell_index = 0, .cells = 12, .batch = 9, .probes = 1, .left_ns = 59999999999 },
    { .device = "cpu", .stage = "boundary", .cell = &plain, .cell_index = 0, .cells = 12, .batch = 9, .probes = 2, .ooms = 1,
      .left_ns = 59999999999, .last = "oom_device" },
    { .device = "cpu", .stage = "ladder", .cell = &other, .cell_index = 11, .cells = 12, .batch = 4, .probes = 2, .ooms = 1, .left_ns = 3661000000000 },
    { .device = "cpu", .stage = "ladder", .cell = &other, .cell_index = 11, .cells = 12, .batch = 4, .probes = 3, .ooms = 1, .failures = 1,
      .left_ns = 0, .last = "crash" },
};
#define EVENTS (sizeof events / sizeof events[0])

/* shows all events with stderr at fd; what stderr was is back afterwards */
static void show(int fd, struct fm_progress_view *view, bool end)
{
    int before = dup(STDERR_FILENO);
    assert_true(before >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    for (size_t i = 0; i < EVENTS; i++) fm_progress_show(view, &events[i]);
    if (end) fm_progress_end(view);
    (void)fflush(stderr);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
}

static size_t drain(int fd, char *text, size_t room)
{
    size_t got = 0;
    ssize_t n;
    while (got + 1 < room && (n = read(fd, text + got, room - 1 - got)) > 0) got += (size_t)n;
    text[got] = '\0';
    return got;
}

static void in_a_pipe(void **state)
{
    (void)state;
    int fd[2];
    char text[4096];
    struct fm_progress_view view = { .terminal = false };
    assert_int_equal(pipe(fd), 0);
    show(fd[1], &view, true);
    (void)close(fd[1]);
    (void)drain(fd[0], text, sizeof text);
    (void)close(fd[0]);
    assert_string_equal(text, "cpu  boundary 1/12  toy fp32  batch 8 ok  (1 probes, 0 did not fit)\n"
                              "cpu  boundary 1/12  toy fp32  batch 9 oom_device  (2 probes, 1 did not fit, 59s left)\n"
                              "cpu  ladder 12/12  toy bf16 accumulate=4  batch 4 crash  (3 probes, 1 did not fit, 1 failed, 0s left)\n");
}

/* how many columns stand after the last "\r\033[K"; escapes and controls are not columns */
static size_t columns_of(const char *line)
{
    size_t n = 0;
    for (const char *c = line; *c && *c != '\r' && *c != '\n'; c++) n += (unsigned char)*c >= ' ' && (*c & 0xc0) != 0x80;
    return n;
}

static void on_a_terminal_of(unsigned short columns)
{
    static char text[8192];
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    int user = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(user >= 0);
    struct winsize size = { .ws_row = 24, .ws_col = columns };
    assert_int_equal(ioctl(user, TIOCSWINSZ, &size), 0);
    struct fm_progress_view view = { .terminal = true };
    show(user, &view, true);
    assert_false(view.line_open);
    (void)fcntl(terminal, F_SETFL, O_NONBLOCK);
    size_t bytes = drain(terminal, text, sizeof text);
    (void)close(user);
    (void)close(terminal);
    /* each event begins by clearing the line; the only newline is the last thing (a terminal makes \r\n of it) */
    size_t cleared = 0;
    for (char *at = text; (at = strstr(at, "\r\033[K")); at += 4) {
        size_t n = columns_of(at + 4);
        assert_true(columns == 0 || n < columns);
        assert_true(n > 0);
        cleared++;
    }
    assert_int_equal(cleared, EVENTS);
    assert_ptr_equal(strchr(text, '\n'), text + bytes - 1);
    /* what happens comes first in the line */
    if (columns != 1) assert_non_null(strstr(text, columns && columns < 12 ? "\r\033[Kcp" : "\r\033[Kcpu  ladder"));
}

static void on_terminals(void **state)
{
    (void)state;
    static const unsigned short widths[] = { 200, 101, 80, 79, 40, 20, 3, 0 };
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) on_a_terminal_of(widths[i]);
}

static void nothing_is_ended_that_was_not_begun(void **state)
{
    (void)state;
    int fd[2], before = dup(STDERR_FILENO);
    char text[64];
    assert_int_equal(pipe(fd), 0);
    assert_true(dup2(fd[1], STDERR_FILENO) >= 0);
    struct fm_progress_view view = { .terminal = true };
    fm_progress_end(&view);
    (void)fflush(stderr);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    (void)close(fd[1]);
    assert_int_equal(drain(fd[0], text, sizeof text), 0);
    (void)close(fd[0]);
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    plain = fm_toy_cell("");
    other = fm_toy_cell("precision=bf16 accumulate=4");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_pipe),
        cmocka_unit_test(on_terminals),
        cmocka_unit_test(nothing_is_ended_that_was_not_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
