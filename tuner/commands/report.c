/* fillmark report: a finished or interrupted run again, from its journal. */
#include "tuner/commands/commands.h"

#include "results/export.h"
#include "results/report_ci.h"
#include "results/report_html.h"
#include "results/report_svg.h"
#include "results/table.h"
#include "tuner/base/log.h"
#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

typedef fm_status report_writer(const struct fm_result *result, struct fm_buf *out, struct fm_err *err);

static fm_status indented_json(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    return fm_result_json_text(result, false, out, err);
}

static const struct { const char *name; report_writer *write; } formats[] = {
    { "text", fm_table_text }, { "markdown", fm_table_markdown }, { "csv", fm_table_csv }, { "json", indented_json },
    { "junit", fm_report_junit }, { "bigger", fm_report_bigger }, { "smaller", fm_report_smaller },
    { "svg", fm_report_svg }, { "html", fm_report_html },
};
#define FORMATS (sizeof formats / sizeof formats[0])

static report_writer *find(const char *name, struct fm_err *err)
{
    const char *names[FORMATS];
    for (size_t i = 0; i < FORMATS; i++) {
        names[i] = formats[i].name;
        if (strcmp(formats[i].name, name) == 0) return formats[i].write;
    }
    const char *near = fm_nearest(name, names, FORMATS);
    (void)FM_FAIL(err, FM_INVALID, "--format: unknown value '%.60s'%s%s%s (text, markdown, csv, json, junit, bigger, smaller, svg, html)", name,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

fm_status fm_command_report(const struct fm_options *o, struct fm_err *err)
{
    struct fm_result result;
    struct fm_buf text = FM_BUF((size_t)256 << 20);
    report_writer *write = find(o->json ? "json" : o->format ? o->format : "text", err);
    if (!write) return FM_INVALID;
    fm_status status = fm_result_read(o->operand[0], &result, err);
    if (status != FM_OK) return status;
    struct fm_err unwritten = { 0 };
    status = fm_result_write(&result, o->operand[0], &unwritten);
    if (status == FM_IO) {          /* a folder that may only be read: what was asked for can be printed all the same */
        fm_log(FM_LOG_WARN, "the files of the run were not made again: %s", unwritten.text);
        status = FM_OK;
    } else if (status != FM_OK) {
        *err = unwritten;
    }
    if (status == FM_OK) status = write(&result, &text, err);
    if (status == FM_OK && (fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes || fflush(stdout) != 0))
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    fm_result_release(&result);
    return status;
}
