/* fillmark compare: is a new run worse than an earlier one? */
#include "tuner/commands.h"

#include "results/compare.h"

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
    case FM_CHANGE_UNDECIDED: return FM_FAIL(err, FM_UNDECIDED, "%u figures are undecided; more launches would tell", c->undecided);
    case FM_CHANGE_INCOMPARABLE: return FM_FAIL(err, FM_INCOMPARABLE, "no cell of the two runs can be compared");
    case FM_CHANGE_SAME: case FM_CHANGE_BETTER: break;
    }
    return FM_OK;
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
    if (status == FM_OK) {
        status = fm_compare(&base, &now, &limits, &c, err);
        if (status == FM_OK) {
            status = print(&c, o->json, err);
            if (status == FM_OK) status = exit_status(&c, err);
            fm_comparison_release(&c);
        }
        fm_result_release(&now);
    }
    fm_result_release(&base);
    return status;
}
