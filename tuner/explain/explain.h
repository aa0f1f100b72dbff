/* What an out-of-memory message says, as text and as JSON: what each number means, what must belong to others, which
 * allocation of a workload's step it was, and what to change first.
 *
 * What is not in the message is not made up: a figure is printed, planned (by a walk through the step program), assumed
 * (the context, see below) or not known, and the text says which. */
#ifndef FM_TUNER_EXPLAIN_EXPLAIN_H
#define FM_TUNER_EXPLAIN_EXPLAIN_H

#include <cjson/cJSON.h>

#include "tuner/base/buf.h"
#include "tuner/explain/changes.h"
#include "tuner/explain/match.h"

/* What a CUDA context with cuDNN, cuBLAS and perhaps NCCL takes of a device beyond the allocator: from some 300 MiB to some
 * 1.5 GiB by driver, GPU and libraries. Assumed wherever the message does not say what the process holds. */
#define FM_CONTEXT_LO_BYTES (INT64_C(300) << 20)
#define FM_CONTEXT_HI_BYTES (INT64_C(1536) << 20)

/* bounds of what a number can have been */
struct fm_range { bool known; int64_t lo_bytes, hi_bytes; };

/* where the device's memory is */
struct fm_account {
    struct fm_range outside;        /* capacity - free - reserved (- allocated where reserved is not known) */
    struct fm_range context;        /* of this process, beyond the allocator; assumed unless `process_known` */
    struct fm_range others;         /* other processes */
    struct fm_range unused;         /* reserved but not allocated */
    bool process_known;             /* the message says what this process holds */
    bool unused_planned;            /* `unused` is from the walk, not from the message */
    bool others_listed;             /* the message names them */
};

struct fm_explanation {
    struct fm_oom oom;
    const struct fm_cell *cell;     /* borrowed; NULL: no workload was given */
    size_t cells;
    bool searched;
    struct fm_matches matches;
    struct fm_account account;
    bool planned;
    struct fm_changes changes;      /* of the matched cell, against what this process could have alone */
    int64_t alone_bytes;            /* that: capacity - the assumed context; -1 not known */
};

struct fm_explain_query {
    const char *text;
    size_t bytes;
    const struct fm_cell *cell;     /* borrowed by the explanation */
    size_t cells;                   /* 0: the numbers alone */
    int64_t batch, batch_max;       /* as of fm_match_query */
};

/* INVALID: no message; NOMEM. A workload that does not match is data. */
fm_status fm_explain(const struct fm_explain_query *query, struct fm_explanation *out, struct fm_err *err) FM_MUST_USE;
void fm_explain_text(const struct fm_explanation *explanation, struct fm_buf *out);
/* caller deletes; NULL: memory */
cJSON *fm_explain_json(const struct fm_explanation *explanation);

#endif
