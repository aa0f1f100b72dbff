/* What fillmark and its workers say to each other: one JSON object a line, requests down, replies up.
 *
 *   inventory    what device is there                               -> device
 *   workspaces   the problems of a cell at a batch (by key)         -> for each the ordered candidates, or unsupported
 *   probe        execute a cell at a batch                          -> outcome and what was measured
 *
 * A worker builds its own step program from the cell and echoes its hash: a difference is outcome `protocol`.
 * Outcomes are set by status codes, never by matching texts; only allocation failures are OOM. A field that is unknown
 * is absent. 64-bit hashes, keys and seeds are strings of 16 hexadecimal digits (JSON numbers hold 53 bits). */
#ifndef FM_PROBES_PROTOCOL_PROTOCOL_H
#define FM_PROBES_PROTOCOL_PROTOCOL_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_PROTOCOL_VERSION 1
#define FM_PAIR_BYTES 96
#define FM_MAX_PAIRS 24
#define FM_MAX_STEPS_KEPT 4096
#define FM_MAX_KEYS 16384               /* problems in one request */
#define FM_MAX_BATCH INT32_MAX
#define FM_BREAKDOWN_ROWS 8
#define FM_LINE_MAX_BYTES ((size_t)16 << 20)
#define FM_MAX_REPLY_FINDINGS 12
#define FM_MAX_REPLY_HOLDERS 8
#define FM_MAX_REPLY_SOFTWARE 8

/* name, text for people */
#define FM_OUTCOME_LIST(X)                                                         \
    X(ok, "ran and fits")                                                          \
    X(oom_device, "the device's memory is exhausted")                              \
    X(oom_host, "the host's memory is exhausted")                                  \
    X(unsupported, "the device or its library cannot run it")                      \
    X(timeout, "the deadline passed")                                              \
    X(crash, "the worker died")                                                    \
    X(nonfinite, "a loss was not finite")                                          \
    X(protocol, "the worker's answer was not understood")                          \
    X(planned, "planned, not run")

enum fm_outcome {
#define X(name, text) FM_OUTCOME_##name,
    FM_OUTCOME_LIST(X)
#undef X
    FM_OUTCOME_COUNT
};
const char *fm_outcome_name(enum fm_outcome outcome);
const char *fm_outcome_text(enum fm_outcome outcome);
enum fm_outcome fm_outcome_parse(const char *name);         /* FM_OUTCOME_COUNT if unknown */

struct fm_pair { char key[40], value[FM_PAIR_BYTES]; };
struct fm_pairs { struct fm_pair item[FM_MAX_PAIRS]; uint32_t count; };
/* replaces; false when full or too long */
bool fm_pairs_set(struct fm_pairs *pairs, const char *key, const char *value);
const char *fm_pairs_get(const struct fm_pairs *pairs, const char *key);    /* NULL if absent */

/* a cell in words: the worker makes a struct fm_cell of it */
struct fm_cell_spec {
    char workload[256];             /* name, or path of a graph file */
    struct fm_pairs set, strategies;
};

enum fm_request_kind { FM_REQUEST_INVENTORY, FM_REQUEST_WORKSPACES, FM_REQUEST_PROBE, FM_REQUEST_COUNT };
/* as the field "req" has it */
const char *fm_request_kind_name(enum fm_request_kind kind);

struct fm_request {
    int64_t id;
    enum fm_request_kind kind;
    struct fm_cell_spec cell;
    int64_t batch, val_batch;       /* 0: no training, no validation */
    /* workspaces */
    uint64_t *key;                  /* owned; which problems are asked about */
    size_t keys;
    /* probe */
    uint64_t program;               /* hash of the step program */
    int64_t memory_bytes;           /* what reserved may reach */
    uint64_t seed;
    int64_t deadline_ms;            /* for the log: the parent enforces it */
    uint32_t train_steps, val_steps;        /* planned to settle in: run at least as many */
    uint32_t tail_steps;                    /* of training after that, until its planned peaks are reached */
    uint32_t measured_min, measured_max;    /* timed training steps; max 0: time nothing */
    int64_t measured_max_ms;
    double relative_error;          /* stop when the standard error is below this share of the mean */
    bool fixed_batch;               /* learn one batch by heart, dropout off */
    bool poison;                    /* freed memory becomes NaN, slack becomes canaries */
    bool shared;                    /* time also while other processes compute on the device */
};

struct fm_measured {
    bool known;                     /* the phase was reached */
    int64_t allocated_bytes, reserved_bytes, counted_bytes, workspace_bytes;
    int64_t breakdown_bytes[FM_BREAKDOWN_ROWS];     /* by fm_breakdown_name's order */
    uint32_t steps;                 /* executed, warm-up included */
    int64_t step_ns[FM_MAX_STEPS_KEPT];
    uint32_t step_count;            /* timed ones */
    bool marked;                    /* which of them were throttled is known: */
    int64_t throttled[FM_MAX_STEPS_KEPT];           /* indices of step_ns, ascending */
    uint32_t throttled_count;
    double loss_first, loss_last;   /* NaN: unknown */
};

/* the device while steps were timed: over `looks` looks at it; -1: unknown */
struct fm_reply_state {
    uint32_t looks;
    int32_t sm_mhz_min, sm_mhz_median, memory_mhz_min, memory_mhz_median;
    int32_t power_mw_median, power_mw_max, temperature_c_median, temperature_c_max;
    int32_t others;                 /* the most other processes that computed on it */
    char slow[112];                 /* what held its clocks down, by commas; "none"; "" unknown */
    char note[112];                 /* why it is unknown; "" */
};

struct fm_reply {
    int64_t id;
    enum fm_request_kind kind;
    enum fm_outcome outcome;
    char reason[240];               /* "" if there is nothing to say */
    /* inventory */
    char device_id[32], device_name[128], device_isa[64], device_library[128], device_driver[128];
    char device_uuid[48];           /* which one of its kind it is: "GPU-..."; "" unknown, or none */
    int64_t device_total_bytes, device_free_bytes;          /* -1 unknown */
    int32_t device_threads, device_count;                   /* count of the backend's devices; -1 unknown */
    int64_t device_framework_bytes;                         /* held beside the allocator's segments; -1: host memory */
    char device_facts[400];                                 /* for people */
    struct fm_reply_software { char name[24], version[24], cuda[24], path[256], absent[112]; } software[FM_MAX_REPLY_SOFTWARE];
    uint32_t softwares;             /* drivers and libraries; absent: not here, and who needs it. With findings also where the
                                     * device is unsupported */
    struct fm_reply_finding { char what[160], remedy[160]; } finding[FM_MAX_REPLY_FINDINGS];
    struct fm_reply_holder { int64_t pid, bytes; char name[64]; } holder[FM_MAX_REPLY_HOLDERS];   /* bytes -1: unknown */
    uint32_t findings, holders;                             /* of a probe: other processes on the device */
    /* workspaces */
    struct fm_answer *answer;       /* owned */
    size_t answers;
    /* probe */
    uint64_t program;
    struct fm_measured train, val;
    bool failed_in_val;
    char at_op[64];                 /* oom: what was being allocated */
    int64_t at_bytes;
    bool below_limit;               /* the request's limit had room for it: the device refused, so others hold more than was known */
    int64_t setup_ns, wall_ns;      /* worker's own time before the first step; in all */
    int64_t rss_peak_bytes;         /* -1 unknown */
    char stop_reason[24];           /* why timing stopped */
    char untimed[240];              /* why what was to be timed was not, and what to do; "" */
    bool watched;                   /* the device was looked at: state holds */
    struct fm_reply_state state;
};

#define FM_ANSWER_CANDIDATES 10
/* in the order of the request's keys */
struct fm_answer {
    uint64_t key;
    bool unsupported;
    char reason[160];
    int64_t kept_bytes;             /* by the library, for each thread */
    uint32_t count;
    struct { int64_t bytes; char what[48]; } candidate[FM_ANSWER_CANDIDATES];
};

/* all unknown: 0, but for -1 and NaN where that is what unknown is. struct fm_reply is large: keep it on the heap. */
void fm_reply_init(struct fm_reply *reply);
void fm_request_release(struct fm_request *request);
void fm_reply_release(struct fm_reply *reply);

/* Append one line, newline included, at most FM_LINE_MAX_BYTES; nothing on failure. Only what the request's kind needs
 * and the reply's kind and outcome allow is written. FM_INVALID names the field that is out of range; FM_NOMEM. What is
 * not UTF-8 is FM_INVALID in a request; in a reply, whose texts are for people, it is written as '?'. */
fm_status fm_request_write(const struct fm_request *request, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
fm_status fm_reply_write(const struct fm_reply *reply, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
/* *out need not be set before, and is to be released after success. FM_PROTOCOL: not one JSON object of this version
 * with the fields its kind needs, each once and in range, and no other; FM_NOMEM. The line's newline may be absent. */
fm_status fm_request_read(const char *line, size_t bytes, struct fm_request *out, struct fm_err *err) FM_MUST_USE;
fm_status fm_reply_read(const char *line, size_t bytes, struct fm_reply *out, struct fm_err *err) FM_MUST_USE;

#endif
