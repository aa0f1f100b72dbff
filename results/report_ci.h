/* A result in the words of continuous integration.
 *
 * JUnit XML: a suite a device and workload, a case a cell. A cell that is not certified, crashed, was not finished or is
 * mistrusted, and one whose planned and counted bytes differ, is a failure; what is unsupported or was left out for time is
 * skipped, with the reason. Never a pass by absence: a result without cells has a failing case that says so.
 *
 * Benchmark JSON: the array of {name, unit, value, range, extra} that github-action-benchmark reads with its tools
 * customBiggerIsBetter (samples/s at the knee, largest batch) and customSmallerIsBetter (measured peak bytes at the knee).
 * Only measured figures; what is unknown is left out. */
#ifndef FM_RESULTS_REPORT_CI_H
#define FM_RESULTS_REPORT_CI_H

#include "results/fold.h"
#include "tuner/base/buf.h"

/* Each appends. NOMEM */
fm_status fm_report_junit(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
fm_status fm_report_bigger(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
fm_status fm_report_smaller(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
