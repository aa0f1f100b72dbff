#include "tuner/commands/progress.h"

#include "tuner/base/buf.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void left(struct fm_buf *out, int64_t ns)
{
    if (ns < 0) return;
    int64_t s = ns / 1000000000;
    if (s >= 60) fm_buf_printf(out, ", %lldm%02llds left", (long long)(s / 60), (long long)(s % 60));
    else fm_buf_printf(out, ", %llds left", (long long)s);
}

/* bytes of the line that fit before the terminal's last column: a line that wraps could not be replaced by the next */
static int visible_bytes(const char *line, size_t bytes)
{
    struct winsize size = { 0 };
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_col) return (int)bytes;
    size_t n = 0;
    for (unsigned columns = 0; n < bytes; n++) {
        bool starts = ((unsigned char)line[n] & 0xc0) != 0x80;
        if (starts && ++columns >= size.ws_col) break;
    }
    return (int)n;
}

void fm_progress_show(struct fm_progress_view *view, const struct fm_progress *p)
{
    struct fm_buf line = FM_BUF(1024);
    if (!view->terminal && !p->last) return;            /* in a pipe: a line when a probe has ended */
    fm_buf_printf(&line, "%s  %s %zu/%zu  ", p->device, p->stage, p->cell_index + 1, p->cells);
    fm_cell_describe(p->cell, &line);
    fm_buf_printf(&line, "  batch %lld", (long long)p->batch);
    if (p->last) fm_buf_printf(&line, " %s", p->last);
    fm_buf_printf(&line, "  (%u probes, %u did not fit", p->probes, p->ooms);
    if (p->failures) fm_buf_printf(&line, ", %u failed", p->failures);
    left(&line, p->left_ns);
    fm_buf_puts(&line, ")");
    if (view->terminal) (void)fprintf(stderr, "\r\033[K%.*s", visible_bytes(fm_buf_text(&line), line.bytes), fm_buf_text(&line));
    else (void)fprintf(stderr, "%s\n", fm_buf_text(&line));
    (void)fflush(stderr);
    view->line_open = view->terminal;
    fm_buf_release(&line);
}

void fm_progress_end(struct fm_progress_view *view)
{
    if (view->line_open) (void)fprintf(stderr, "\n");
    view->line_open = false;
}
