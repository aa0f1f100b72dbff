/* A result as one page that needs no network: charts, a table that sorts and filters, facts of device and run.
 *
 * The page holds result.json (results/export.h) as it is, its own script and style (results/report/), and D3, all compiled
 * into fillmark; what it shows, it makes from that JSON. '<' in the JSON is written as \u003c, so that no text of a journal
 * can end the element it stands in. Where scripts are off it shows the chart of results/report_svg.h. */
#ifndef FM_RESULTS_REPORT_HTML_H
#define FM_RESULTS_REPORT_HTML_H

#include "results/fold.h"
#include "tuner/base/buf.h"

/* Appends the page. UNSUPPORTED: fillmark was built without D3; NOMEM */
fm_status fm_report_html(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
