/* The configuration that a training script is told to use: one cell at one batch, in a trainer's words.
 *
 * Pure over a result. What the journal does not say is unknown: -1 for integers, NaN for doubles, NULL for texts; never a
 * guess. Texts and JSON are borrowed from the result, which must outlive the choice; there is nothing to release.
 *
 * batch is what one device sees in a forward pass; global_batch = batch * accumulation * devices. Memory is reserved bytes,
 * the larger of training and validation; measured and planned figures are kept apart. */
#ifndef FM_RESULTS_CHOICE_H
#define FM_RESULTS_CHOICE_H

#include "results/fold.h"

#define FM_CHOICE_DIMS 3

struct fm_choice {
    const char *tool, *workload, *cell, *device, *device_name;  /* cell: its id */
    bool planned;                   /* nothing of it ran: batches are plans, there is no measured figure */
    bool certified;                 /* max_batch is */
    bool at_limit;                  /* certified, as the limit that was given (--max-batch): the next one was not run */
    bool changes_model;             /* a strategy made it another model than the workload's */
    int64_t batch, val_batch;       /* val_batch 0: the cell has no validation */
    int64_t max_batch, max_val_batch;
    int64_t accumulation, devices, global_batch;
    const char *precision;          /* fp32, tf32, fp16, bf16 */
    const char *checkpoint;         /* none, blocks, or names joined by '+' */
    const char *channels;           /* "1", "1/2": share of the published channels */
    const char *memory_format;      /* contiguous, channels_last */
    const char *optimizer;
    int64_t input[FM_CHOICE_DIMS];  /* of the setting "input", in its order */
    uint32_t input_dims;            /* 0: unknown */
    double learning_rate;
    double samples_per_s;           /* measured, at batch */
    int64_t peak_bytes;             /* measured, at batch; where only bounds are known, the upper one */
    int64_t planned_peak_bytes;
    int64_t capacity_bytes;
    const char *note;               /* planned: what the plans for its device rest on, or lack; NULL: nothing */
    const cJSON *set, *strategies;  /* all of the cell's, as recorded */
};

/* what to choose from */
struct fm_choice_query {
    const char *workload;
    const char *device;             /* NULL: any, if the run has one */
    const char *only;               /* beginning of a cell's id; NULL: any */
    bool largest;                   /* the max batch instead of the knee */
};

/* The cell at a batch, as it is recorded: accumulation from its strategies, one device, no learning rate. */
void fm_choice_of(const struct fm_result *result, size_t cell, int64_t batch, struct fm_choice *out);
/* Rank 1 of the model that no strategy changed, at its knee (or its max batch). Cells that were only planned have no rank:
 * one is chosen if it is the only one, at its planned largest batch. INVALID: there is none, or more than one model or
 * device to choose from; the text names them and how to say which. */
fm_status fm_choice_best(const struct fm_result *result, const struct fm_choice_query *query, struct fm_choice *out,
                         struct fm_err *err) FM_MUST_USE;

#endif
