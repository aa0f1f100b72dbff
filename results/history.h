/* Nights in one SQLite file: what each run measured, and which were good.
 *
 * A night is one run's journal, added once (its first record identifies it). Its figures are, a cell: samples/s at the knee
 * and at the largest batch, largest batches, measured peak at the knee. A series is one figure of one cell on one device
 * (name, instruction set, threads and memory limit; drivers and libraries may change: that is what is watched).
 *
 * The file is made by the first add. Several processes may use it (SQLite's own locking; waits up to 10 s).
 * IO: not there, not readable, locked; MISMATCH: no history, or of a later version; NOMEM. */
#ifndef FM_RESULTS_HISTORY_H
#define FM_RESULTS_HISTORY_H

#include "results/fold.h"
#include "results/trends.h"
#include "tuner/base/buf.h"

struct fm_history;

fm_status fm_history_open(struct fm_history **out, const char *path, bool create, struct fm_err *err) FM_MUST_USE;
void fm_history_close(struct fm_history *history);

/* `verdict`: what compare said of it ("same", "better", "undecided", "incomparable", "worse"), or "first". `folder` is where
 * it lies, from anywhere. *added false: it is there already, only the verdict is set. One transaction. INVALID: plans, of
 * which nothing was measured. */
fm_status fm_history_add(struct fm_history *history, const struct fm_result *night, const char *folder, const char *verdict,
                         bool *added, struct fm_err *err) FM_MUST_USE;
/* folder of the latest night whose verdict was first, same or better; false: there is none, *folder is empty */
fm_status fm_history_last_good(struct fm_history *history, struct fm_buf *folder, bool *found, struct fm_err *err) FM_MUST_USE;

/* The night-to-night error of samples/s of a cell at a batch on a device of `run`; unknown if too few nights tell. */
fm_status fm_history_night_error(struct fm_history *history, const struct fm_result *run, const struct fm_result_cell *cell,
                                 int64_t batch, struct fm_night_error *error, struct fm_err *err) FM_MUST_USE;

/* A table of all series: nights, first, last, and where the figure changed; the changed ones first. `json`: as an object. */
fm_status fm_history_list(struct fm_history *history, bool json, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
