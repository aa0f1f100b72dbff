/* fillmark compare: is a new run worse than an earlier one? */
#include "tuner/commands/commands.h"

#include "results/compare.h"
#include "results/history.h"
#include "tuner/base/log.h"

#include <stdio.h>

static fm_status print(const struct fm_comparison *c, bool json, struct fm_err *err)
{
    struct fm_buf text = FM_BUF((size_t)64 << 20);
    fm_status status = json ? fm_comparison_json(c, &text, err) : fm_comparison_text(c, &text, err);
    if (status == FM_OK && json) fm_buf_putc(&text, '\n');
    if (status == FM_OK && (fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes || fflush(stdout) != 0))
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    return status;
}

static fm_status exit_status(const struct fm_comparison *c, struct fm_err *err)
{
    switch (c->change) {
    case FM_CHANGE_WORSE: return FM_FAIL(err, FM_REGRESSION, "%u figures are worse", c->worse);
    case FM_CHANGE_UNDECIDED: return FM_FAIL(err, FM_UNDECIDED, "%u figures are undecided; more launches, or nights in a --history, would tell", c->undecided);
    case FM_CHANGE_INCOMPARABLE: return FM_FAIL(err, FM_INCOMPARABLE, "no cell of the two runs can be compared");
    case FM_CHANGE_SAME: case FM_CHANGE_BETTER: break;
    }
    return FM_OK;
}

struct nights { struct fm_history *history; const struct fm_result *base; };

static struct fm_night_error night_error(void *context, const struct fm_result_cell *cell, int64_t batch)
{
    const struct nights *n = context;
    struct fm_err err = { 0 };
    struct fm_night_error error;
    if (fm_history_night_error(n->history, n->base, cell, batch, &error, &err) == FM_OK) return error;
    fm_log(FM_LOG_WARN, "%s; compared without what history knows", err.text);
    return FM_NIGHT_ERROR_UNKNOWN;
}

fm_status fm_command_compare(const struct fm_options *o, struct fm_err *err)
{
    struct fm_result base, now;
    struct fm_comparison c;
    struct fm_compare_limits limits = { .max_slowdown = (double)o->max_slowdown_ppm / 1e6,
                                        .max_memory_growth = (double)o->max_memory_growth_ppm / 1e6 };
    fm_status status = fm_result_read(o->operand[0], &base, err);
    if (status != FM_OK) return status;
    status = fm_result_read(o->operand[1], &now, err);
    struct nights nights = { .base = &base };
    if (status == FM_OK && o->history) {
        status = fm_history_open(&nights.history, o->history, false, err);
        if (status != FM_OK) fm_result_release(&now);
        limits.night_error = night_error;
        limits.context = &nights;
    }
    if (status == FM_OK) {
        status = fm_compare(&base, &now, &limits, &c, err);
        if (status == FM_OK) {
            status = print(&c, o->json, err);
            if (status == FM_OK) status = exit_status(&c, err);
            fm_comparison_release(&c);
        }
        fm_result_release(&now);
    }
    fm_history_close(nights.history);
    fm_result_release(&base);
    return status;
}
