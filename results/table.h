/* A result for people: ranked tables for a terminal and in Markdown, and one line a cell as CSV.
 *
 * One section a device and network, in it one table for each model (model_id): the unchanged model first, then those that
 * a strategy changed, ranked apart. What all cells of a section have in common is said once, above; what differs is a
 * column. The figures of a line are those at the cell's knee (results/fold.h). "–" is unknown; planned figures stand in
 * planned columns alone. Below: what was not run and why, what is doubtful, and the command that runs a cell again. Plans,
 * of which nothing was run, have the table of results/plan_table.h instead.
 * A row whose planned and counted bytes differ is shown as the bug that it is. */
#ifndef FM_RESULTS_TABLE_H
#define FM_RESULTS_TABLE_H

#include "results/fold.h"
#include "tuner/base/buf.h"

/* Appends. NOMEM: no memory, or more than the buffer takes */
fm_status fm_table_text(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
fm_status fm_table_markdown(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
/* RFC 4180: a header, then one line a cell; lines end in CR LF; unknown is empty. Columns: set.NAME and strategy.NAME for
 * every name that any cell has, the others fixed. */
fm_status fm_table_csv(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
