/* fillmark history: nights in one file. */
#include "tuner/commands/commands.h"

#include "results/history.h"
#include "tuner/base/log.h"
#include "tuner/base/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static fm_status check_verdict(const char *verdict, struct fm_err *err)
{
    static const char *const words[] = { "first", "same", "better", "worse", "undecided", "incomparable" };
    if (!verdict) return FM_FAIL(err, FM_INVALID, "--add: what did compare say? give --verdict (first: there was nothing to compare with)");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], verdict) == 0) return FM_OK;
    const char *near = fm_nearest(verdict, words, sizeof words / sizeof *words);
    return FM_FAIL(err, FM_INVALID, "--verdict: unknown value '%.60s'%s%s%s (first, same, better, worse, undecided, incomparable)", verdict,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static fm_status add(const struct fm_options *o, struct fm_err *err)
{
    struct fm_result night;
    struct fm_history *history = NULL;
    bool added = false;
    char folder[PATH_MAX];          /* the next night may be run from elsewhere */
    fm_status status = check_verdict(o->verdict, err);
    if (status == FM_OK) status = fm_result_read(o->add, &night, err);
    if (status != FM_OK) return status;
    status = realpath(o->add, folder) ? FM_OK : FM_FAIL(err, FM_IO, "%s: %s", o->add, strerror(errno));
    if (status == FM_OK) status = fm_history_open(&history, o->operand[0], true, err);
    if (status == FM_OK) status = fm_history_add(history, &night, folder, o->verdict, &added, err);
    if (status == FM_OK) fm_log(FM_LOG_INFO, "%s: %s %s as %s", o->operand[0], o->add, added ? "added" : "was there; its verdict is set", o->verdict);
    fm_history_close(history);
    fm_result_release(&night);
    return status;
}

fm_status fm_command_history(const struct fm_options *o, struct fm_err *err)
{
    struct fm_history *history = NULL;
    struct fm_buf text = FM_BUF((size_t)64 << 20);
    bool found = true;
    if (o->add) return add(o, err);
    if (o->verdict) return FM_FAIL(err, FM_INVALID, "--verdict: of which run? give its folder with --add");
    fm_status status = fm_history_open(&history, o->operand[0], false, err);
    if (status != FM_OK) return status;
    if (!o->last_good) {
        status = fm_history_list(history, o->json, &text, err);
    } else {
        status = fm_history_last_good(history, &text, &found, err);
        if (status == FM_OK && !found) status = FM_FAIL(err, FM_INCOMPARABLE, "%s: no night was good so far", o->operand[0]);
        fm_buf_putc(&text, '\n');
    }
    if (status == FM_OK && (!fm_buf_ok(&text) || fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes || fflush(stdout) != 0))
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    fm_history_close(history);
    return status;
}
