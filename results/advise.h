/* Which configuration to train with: chosen from what a run measured, or, where nothing was run, from what was planned.
 *
 * Pure over a result: the same result and query give the same advice. Nothing is interpolated into a figure:
 *   a measured batch has its measured peak and samples/s;
 *   a batch between measured ones (a divisor that keeps the global batch exact) has the peak of the next larger one as an
 *   upper bound, and the samples/s of the next smaller one, or where there is none of the next larger one, named as
 *   such (speed_batch);
 *   a planned cell has its planned peak at the planned batch, as an upper bound for smaller ones, and no speed.
 * Accumulating over k > 1 passes keeps the gradients while the next pass runs. A cell that was run without accumulation
 * did not hold them then: 4 bytes a parameter are added (accumulation_bytes, by calculation).
 *
 * Who may be chosen: cells of the workload and device whose outcome is not in doubt (not mistrusted) and whose memory fits
 * into limit = min(capacity, max_memory) - headroom. The unchanged model comes first; a model that a strategy or an allowed
 * setting changed is chosen only where nothing of the unchanged one fits, and may be the runner-up. Where several settings
 * of one workload were run, the unchanged model is the one with most FLOPs a sample; the others are allowed by the names of
 * the settings in which they differ.
 *
 * Order, among what fits:
 *   1 the unchanged model; 2 measured before planned; 3 the global batch exact, else the nearest
 *   then the objective: THROUGHPUT most samples/s; MEMORY least memory; KNEE the least memory within 5 % of the most
 *   samples/s. Planned ones have no speed: without recomputation first, then the largest batch (MEMORY: least memory). */
#ifndef FM_RESULTS_ADVISE_H
#define FM_RESULTS_ADVISE_H

#include "results/choice.h"
#include "tuner/base/buf.h"

#define FM_ADVISE_ALLOW_MAX 16
#define FM_ADVISE_LADDER_MAX 8
#define FM_ADVISE_WANT_MAX 32

#define FM_OBJECTIVE_LIST(X) X(KNEE, "knee") X(THROUGHPUT, "throughput") X(MEMORY, "memory")
#define X(name, text) FM_OBJECTIVE_##name,
enum fm_objective { FM_OBJECTIVE_LIST(X) FM_OBJECTIVE_COUNT };
#undef X
#define FM_LR_RULE_LIST(X) X(NONE, "none") X(LINEAR, "linear") X(SQRT, "sqrt")
#define X(name, text) FM_LR_##name,
enum fm_lr_rule { FM_LR_RULE_LIST(X) FM_LR_RULE_COUNT };
#undef X
const char *fm_objective_name(enum fm_objective objective);
const char *fm_lr_rule_name(enum fm_lr_rule rule);

struct fm_advise_query {
    const char *workload;
    const char *device;                 /* NULL: any */
    const char *allow[FM_ADVISE_ALLOW_MAX];     /* strategies and settings that may change the model */
    size_t allows;
    enum fm_objective objective;
    int64_t target_global_batch;        /* 0: none */
    int64_t devices;                    /* at least 1 */
    int64_t headroom_bytes;             /* to be left free; with headroom_ppm the larger of both */
    int64_t headroom_ppm;               /* the same as a share of the capacity, in millionths */
    int64_t max_memory_bytes;           /* 0: the capacity */
    double base_lr;                     /* NaN: none */
    int64_t base_batch;                 /* the global batch that base_lr is for */
    enum fm_lr_rule lr_rule;
    int64_t samples_per_epoch;          /* 0: not asked for */
    struct { const char *name, *value; } want[FM_ADVISE_WANT_MAX];     /* settings and strategies that a cell must have */
    size_t wants;
};

struct fm_advised {
    struct fm_choice choice;            /* accumulation, devices, global_batch and learning_rate as advised */
    size_t cell;
    int64_t memory_bytes;               /* measured or planned, accumulation_bytes included; -1: unknown */
    int64_t accumulation_bytes;
    bool memory_bound;                  /* an upper bound: the batch itself was not run or planned */
    int64_t speed_batch;                /* the batch of samples_per_s; 0: no speed is known */
    double samples_per_s;               /* of one device; NaN: unknown */
    bool exact;                         /* the global batch is the target (or there is none) */
    bool unchanged;                     /* the workload's own model */
    double model_share;                 /* FLOPs a sample against the unchanged model; NaN: unknown */
    double epoch_s;                     /* NaN: unknown; devices without communication */
    int64_t epoch_steps;                /* -1: unknown */
    int64_t limit_bytes;                /* that it fits into; -1: none is known */
};

struct fm_advice {
    bool found, has_runner_up, planned;         /* planned: nothing of the workload was run */
    struct fm_advised best, runner_up;
    size_t candidates, over_limit;              /* looked at; too large */
    int64_t least_bytes;                        /* of the unchanged model's; -1: unknown */
    int64_t limit_bytes;                        /* the largest over the cells; -1: none */
    /* where nothing is found: what was run (or planned), fits, and would have to be allowed; the largest model first */
    struct fm_advised ladder[FM_ADVISE_LADDER_MAX];
    size_t ladder_count;
};

/* INVALID: no such workload or device in the result, several devices, a query that cannot be; NOMEM */
fm_status fm_advise(const struct fm_result *result, const struct fm_advise_query *query, struct fm_advice *out,
                    struct fm_err *err) FM_MUST_USE;

/* the names by which cell `a` differs in its model from cell `b`: "channels", "input"; at most FM_ADVISE_ALLOW_MAX */
size_t fm_advise_differences(const struct fm_result_cell *a, const struct fm_result_cell *b, const char *names[FM_ADVISE_ALLOW_MAX]);
double fm_lr_scaled(double base_lr, int64_t base_batch, int64_t global_batch, enum fm_lr_rule rule);

void fm_advice_text(const struct fm_result *result, const struct fm_advise_query *query, const struct fm_advice *advice, struct fm_buf *out);
/* caller deletes; NULL: memory */
cJSON *fm_advice_json(const struct fm_result *result, const struct fm_advise_query *query, const struct fm_advice *advice);

#endif
