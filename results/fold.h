/* A journal's records folded into what they say: cells, rows, measured points, knees, fronts and ranks.
 *
 * Pure, so it can always be done again: the same records give the same result, bit by bit.
 *
 *   row      one phase of one probe. A row is superseded if its probe was tried again (same cell, batch, val_batch, phase,
 *            role and launch): it is still listed, and takes part in nothing.
 *   point    a cell at a batch with timed training steps. Its samples/s is the median over worker launches with the
 *            95 % interval of probes/measure/interval.h; cells that differ only in validation (one train_id) share them.
 *            No point: a batch above the cell's max batch or at which the cell ran out of device memory; and a shared one
 *            of which the cell itself has shown nothing (no verdict, no row of its own).
 *   peak     of a point, device bytes: the larger of training's and validation's measured reserved bytes. Where the cell's
 *            validation was not run at that batch, training's is a lower bound, and the peak at its nearest larger batch
 *            with validation is the upper one; without either the peak is not known.
 *   planned  the same of planned reserved bytes: bounds, and one figure where they are equal
 *   knee     the smallest batch whose samples/s is within 5 % of the cell's best (probes/measure/knee.h)
 *   fronts   and ranks: results/pareto.h
 *   relative_speed  samples/s at the knee over that of rank 1 among the cells of the unchanged model (same device, workload
 *            and settings), or of its own model_id if there are none
 *
 * Unknown: -1 for integers, NaN for doubles, NULL for texts, FM_NO_POINT for points. Texts and JSON are borrowed from the
 * records, which must outlive the result (fm_result_read() keeps them itself). */
#ifndef FM_RESULTS_FOLD_H
#define FM_RESULTS_FOLD_H

#include "probes/measure/interval.h"
#include "probes/protocol/protocol.h"
#include "results/journal.h"
#include "results/pareto.h"
#include "tuner/base/buf.h"

#define FM_NO_POINT SIZE_MAX

struct fm_result_memory {
    bool known;                 /* there is such an object; each figure may still be -1 */
    int64_t allocated_bytes, reserved_bytes, workspace_bytes;
};

struct fm_result_row {
    const cJSON *record;
    size_t cell;
    int64_t batch, val_batch, launch;
    bool val, superseded;
    enum fm_outcome outcome;
    const char *role, *reason;
    struct fm_result_memory planned, measured;
    const char *untimed;        /* why its steps were not timed, though they were to be */
    int64_t timed_steps, throttled_steps;       /* 0 where nothing was timed; -1 unknown */
    int shared;                 /* timed while others used the device: 1, 0 no, -1 unknown */
    size_t point;               /* of its cell and batch */
};

struct fm_result_point {
    size_t cell;
    int64_t batch;
    struct fm_interval samples_per_s;           /* point_known always; without throttled steps */
    double throttled_share;                     /* of the timed steps of its launches; NaN: unknown for one of them */
    int shared;                                 /* 1: a launch was timed while others used the device; 0: none; -1 unknown */
    int64_t peak_lo_bytes, peak_hi_bytes;       /* both known or both -1 */
    int64_t planned_peak_bytes;                 /* the planned peak where its bounds are one figure, else -1 */
    int64_t planned_lo_bytes, planned_hi_bytes; /* likewise of what was planned */
    struct fm_pareto_front front, model_front;
};

/* something of a cell that the run did not do, as its records say */
struct fm_result_left_out {
    size_t cell;
    const char *what, *reason;
};

struct fm_result_cell {
    const cJSON *record, *verdict;              /* verdict NULL: none */
    const char *id, *train_id, *device, *workload, *model_id, *reproduce;
    const char *outcome;                        /* the verdict's; else "skipped", "unfinished" (has rows), "untested" */
    const char *reason, *limited_by, *skipped;  /* skipped: why something was left out */
    const char *learn_outcome;                  /* of the last check that its training learns; NULL: no record of one */
    const cJSON *set, *strategies, *changes_model;
    bool changes, validates, certified, non_monotone, mistrusted;
    bool at_limit;                              /* certified, as the limit that was given: no larger batch was asked */
    bool planned;                               /* nothing ran: max_train and max_val are plans */
    int64_t parameters, capacity_bytes, max_train, max_val, planned_batch, samples_per_batch;
    double flops_per_sample, relative_speed;
    uint32_t suspects;                          /* probes that died with the process and were not tried again */
    size_t first_point, points;                 /* ascending in batch */
    size_t knee, best;                          /* indices into fm_result.points */
    size_t rank;                                /* 0: none */
    struct fm_pareto_front front, model_front;
};

struct fm_result {
    struct fm_records own;
    const cJSON *run;           /* its first record */
    const char *tool;
    struct fm_result_cell *cells;
    struct fm_result_row *rows;
    struct fm_result_point *points;
    struct fm_result_left_out *left_out;        /* by the last run that went on */
    size_t cell_count, row_count, point_count, left_out_count;
    size_t cell_capacity, row_capacity, point_capacity, left_out_capacity;
    bool torn;                  /* the journal ends in a line that is not whole */
    bool complete;              /* the last run ended by itself */
    int64_t wall_ns, measured_ns, overhead_ns;  /* summed over the runs that ended; -1 unknown */
};

/* INVALID: a record that cannot be understood, by its number; NOMEM. On failure there is nothing to release. */
fm_status fm_result_fold(const struct fm_records *records, struct fm_result *out, struct fm_err *err) FM_MUST_USE;
/* of the journal in a folder; as fm_journal_read() and fm_result_fold() */
fm_status fm_result_read(const char *folder, struct fm_result *out, struct fm_err *err) FM_MUST_USE;
void fm_result_release(struct fm_result *result);

/* Plans, of which nothing was run: there are cells, and each was planned, or found unsupported without being tried. */
bool fm_result_is_plan(const struct fm_result *result);
/* the run's device of that id, NULL if it is not listed */
const cJSON *fm_result_device(const struct fm_result *result, const char *id);
/* "time budget: boundary not certified; replications of batch 8": all that was left out of a cell, by reason; "" if nothing */
void fm_result_put_left_out(const struct fm_result *result, size_t cell, struct fm_buf *out);
/* Why a mistrusted cell is: it did not learn, or the check did not get so far. NULL for the others. */
const char *fm_result_mistrust(const struct fm_result_cell *cell);
/* Planned minus counted bytes of a row that ran and whose figures are both known; false if they agree or are not known, or
 * if the cell times its convolutions (cudnn_benchmark), whose engines no plan knows. `what`: "allocated" or "reserved". A
 * difference is a bug of fillmark. */
bool fm_result_differs(const struct fm_result *result, const struct fm_result_row *row, const char **what, int64_t *planned_bytes,
                       int64_t *counted_bytes);

#endif
