/* The Pareto chart of a result as a static SVG: for READMEs, pull requests and pages without scripts.
 *
 * A row a device and workload; models that a strategy changed stand in a panel of their own beside the unchanged ones, on
 * the same scales. Across: peak device bytes; up: samples/s. A point is a cell at a batch: filled where both were measured,
 * with bars for the interval over launches and for peaks that are only known between bounds; hollow at the planned peak.
 * Plans of what was not run have no throughput and stand below the axis. The line is the front of each model: the best
 * median rate of the front's points at or below that much memory, at the points' lower bounds.
 *
 * Colours follow the reader's light or dark preference; fonts are the reader's own. Points carry their figures as title and
 * as data-cell, data-batch, data-peak-lo, data-peak-hi, data-planned and data-rate attributes; panels as data-x-max (bytes)
 * and data-y-max (samples/s), each at the right and upper end of the plot's data-box (left, top, width, height). */
#ifndef FM_RESULTS_REPORT_SVG_H
#define FM_RESULTS_REPORT_SVG_H

#include "results/fold.h"
#include "tuner/base/buf.h"

/* Appends one whole <svg> document. NOMEM */
fm_status fm_report_svg(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
