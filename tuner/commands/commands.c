#include "tuner/commands/commands.h"

#include "tuner/options/device_table.h"
#include "tuner/commands/devices.h"

#include <stdio.h>

#define TEXT_MAX ((size_t)64 << 20)

static fm_status print(struct fm_buf *text, fm_status status, struct fm_err *err)
{
    if (status == FM_OK && !fm_buf_ok(text)) status = FM_FAIL(err, FM_NOMEM, "the text to print");
    if (status == FM_OK && fwrite(fm_buf_text(text), 1, text->bytes, stdout) != text->bytes)
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(text);
    return status;
}

fm_status fm_command(const struct fm_options *o, struct fm_err *err)
{
    struct fm_buf text = FM_BUF(TEXT_MAX);
    if (fm_options_prints(o->command)) return print(&text, fm_options_print(o, &text, err), err);
    switch (o->command) {
    case FM_COMMAND_RUN: return fm_command_run(o, err);
    case FM_COMMAND_PLAN: return fm_command_plan(o, err);
    case FM_COMMAND_SHOW_WORKLOADS: case FM_COMMAND_SHOW_WORKLOAD: return fm_command_show(o, err);
    case FM_COMMAND_REPORT: return fm_command_report(o, err);
    case FM_COMMAND_COMPARE: return fm_command_compare(o, err);
    case FM_COMMAND_HISTORY: return fm_command_history(o, err);
    case FM_COMMAND_EXPORT: return fm_command_export(o, err);
    case FM_COMMAND_ADVISE: return fm_command_advise(o, err);
    case FM_COMMAND_EXPLAIN: return fm_command_explain(o, err);
    case FM_COMMAND_SHOW_DEVICES: return print(&text, fm_device_table_show(o, &text, err), err);
    case FM_COMMAND_DEVICES: return print(&text, fm_devices_show(o->threads, o->json, &text, err), err);
    default: return FM_FAIL(err, FM_INVALID, "no command; see fillmark --help");
    }
}
