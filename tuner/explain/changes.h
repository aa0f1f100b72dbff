/* What could be changed so that a cell takes less memory, and what each change costs: by plans, nothing is executed.
 *
 * Each change is one step (or two together) away from the cell. needed_bytes is the reserved peak of training and
 * validation at the changed batches, planned without workspaces. What it costs is told in compute: FLOPs of training a
 * sample against the unchanged cell's (recomputation raises it), and for changes of the model the FLOPs of its forward
 * and backward pass without recomputation, as a measure of what the network can learn. Whether a precision is faster on a
 * device is not planned. */
#ifndef FM_TUNER_EXPLAIN_CHANGES_H
#define FM_TUNER_EXPLAIN_CHANGES_H

#include "workloads/strategies/strategies.h"

#define FM_CHANGES_MAX 48

enum fm_change_class {
    FM_CHANGE_VALIDATION,           /* neither training nor the model */
    FM_CHANGE_EXECUTION,            /* the same arithmetic in another order or form */
    FM_CHANGE_BATCH,                /* a smaller batch, accumulated: the same global batch (batch norm sees fewer samples) */
    FM_CHANGE_PRECISION,
    FM_CHANGE_MODEL,
    FM_CHANGE_CLASS_COUNT
};
const char *fm_change_class_text(enum fm_change_class kind);

struct fm_change {
    enum fm_change_class kind;      /* of its costlier part */
    char text[128];                 /* "checkpoint=blocks, precision=bf16" */
    char option[32];                /* what --allow must name; "" unless it changes the model */
    struct fm_cell cell;
    struct fm_cell_batch batch;
    bool fits;                      /* needed_bytes <= the capacity that was asked about */
    int64_t needed_bytes;
    double compute;                 /* FLOPs of training a sample, as a share of the unchanged cell's; 1: the same */
    double capacity;                /* the same of the model, its recomputation left out */
};

struct fm_change_query {
    const struct fm_cell *cell;     /* borrowed */
    struct fm_cell_batch batch;     /* .val 0: without validation */
    int64_t capacity_bytes;
};

struct fm_changes {
    /* those that fit first; changes of the model last, by the capacity they keep; then by compute, class and need */
    struct fm_change item[FM_CHANGES_MAX];
    size_t count;
    int64_t needed_bytes;           /* of the unchanged cell */
};

/* changes that need no less memory than the unchanged cell are left out. INVALID, UNSUPPORTED: the cell itself; NOMEM */
fm_status fm_changes_plan(const struct fm_change_query *query, struct fm_changes *out, struct fm_err *err) FM_MUST_USE;

#endif
