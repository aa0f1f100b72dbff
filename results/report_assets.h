/* The sources of report.html, compiled in: results/report/ and D3. Each text ends in a NUL that its size leaves out. */
#ifndef FM_RESULTS_REPORT_ASSETS_H
#define FM_RESULTS_REPORT_ASSETS_H

#include <stddef.h>

extern const unsigned char fm_report_page_text[], fm_report_style_text[], fm_report_script_text[], fm_report_d3_text[];
extern const size_t fm_report_page_bytes, fm_report_style_bytes, fm_report_script_bytes;
extern const size_t fm_report_d3_bytes;     /* 0: there was no D3 when fillmark was built */

#endif
