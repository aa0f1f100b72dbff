#include "results/report_html.h"

#include <string.h>

#include "results/export.h"
#include "results/json.h"
#include "results/report_assets.h"
#include "results/report_svg.h"
#include "results/xml.h"

static void put_bytes(struct fm_buf *out, const unsigned char *text, size_t bytes)
{
    fm_buf_add(out, text, bytes);
}

/* '<' stands in JSON only within texts, where \u003c is the same character */
static fm_status put_result(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    struct fm_buf json = FM_BUF(out->max_bytes);
    fm_status status = fm_result_json_text(result, true, &json, err);
    const char *at = fm_buf_text(&json);
    while (status == FM_OK && *at) {
        size_t n = strcspn(at, "<");
        fm_buf_add(out, at, n);
        at += n;
        if (*at == '<') fm_buf_puts(out, "\\u003c");
        if (*at == '<') at++;
    }
    fm_buf_release(&json);
    return status;
}

static void put_title(const struct fm_result *result, struct fm_buf *out)
{
    const char *host = fm_json_text(result->run, "host"), *started = fm_json_text(result->run, "started");
    fm_buf_puts(out, "fillmark");
    if (host) fm_buf_puts(out, " · ");
    if (host) fm_put_xml(out, host);
    if (started) fm_buf_puts(out, " · ");
    if (started) fm_put_xml(out, started);
}

/* what a {{name}} of the page stands for */
static fm_status put_part(const struct fm_result *result, const char *name, size_t bytes, struct fm_buf *out, struct fm_err *err)
{
    static const char *const names[] = { "style", "script", "d3", "title", "version", "result", "chart" };
    size_t i = 0;
    while (i < sizeof names / sizeof *names && (strlen(names[i]) != bytes || memcmp(names[i], name, bytes) != 0)) i++;
    switch (i) {
    case 0: put_bytes(out, fm_report_style_text, fm_report_style_bytes); return FM_OK;
    case 1: put_bytes(out, fm_report_script_text, fm_report_script_bytes); return FM_OK;
    case 2: put_bytes(out, fm_report_d3_text, fm_report_d3_bytes); return FM_OK;
    case 3: put_title(result, out); return FM_OK;
    case 4: fm_put_xml(out, result->tool ? result->tool : ""); return FM_OK;
    case 5: return put_result(result, out, err);
    case 6: return fm_report_svg(result, out, err);
    default: return FM_FAIL(err, FM_FAILED, "report.html: unknown part '%.*s'", (int)bytes, name);
    }
}

fm_status fm_report_html(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    const char *at = (const char *)fm_report_page_text, *open = NULL;
    fm_status status = FM_OK;
    if (!fm_report_d3_bytes)
        return FM_FAIL(err, FM_UNSUPPORTED, "--format html: fillmark was built without D3; install node-d3 (ci/setup.sh does) and build it again");
    while (status == FM_OK && (open = strstr(at, "{{")) != NULL) {
        const char *close = strstr(open, "}}");
        if (!close) return FM_FAIL(err, FM_FAILED, "report.html: a part does not end");
        fm_buf_add(out, at, (size_t)(open - at));
        status = put_part(result, open + 2, (size_t)(close - open) - 2, out, err);
        at = close + 2;
    }
    if (status != FM_OK) return status;
    fm_buf_puts(out, at);
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "a page of more than %zu bytes, or no memory", out->max_bytes);
}
