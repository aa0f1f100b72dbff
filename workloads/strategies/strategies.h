/* Strategies: one file each, in a fixed order, so that a set of them has one meaning.
 *
 * A strategy turns a value ("bf16", "1/2", "blocks") into a change of the model's settings or of the lowering policy.
 * A cell is a workload, its settings and one value a strategy; what a cell means is here and nowhere else: planner and
 * worker both come through fm_cell_lower. */
#ifndef FM_WORKLOADS_STRATEGIES_STRATEGIES_H
#define FM_WORKLOADS_STRATEGIES_STRATEGIES_H

#include "tuner/base/buf.h"
#include "workloads/lower/lower.h"
#include "workloads/nets/nets.h"

#define FM_VALUE_BYTES 96
#define FM_MAX_BLOCKS 512
#define FM_SMALL_BATCH 2            /* of the check that a network learns */

/* in the order they are applied: model, precision, memory format, attention, accumulation, checkpointing, validation, execution */
enum fm_strategy_id {
    FM_STRATEGY_CHANNELS, FM_STRATEGY_PRECISION, FM_STRATEGY_MEMORY_FORMAT, FM_STRATEGY_ATTENTION,
    FM_STRATEGY_OPTIMIZER, FM_STRATEGY_OPTIMIZER_FORM,
    FM_STRATEGY_ACCUMULATE,
    FM_STRATEGY_CHECKPOINT, FM_STRATEGY_ZERO_GRAD, FM_STRATEGY_CUDNN_BENCHMARK, FM_STRATEGY_VAL_BATCH, FM_STRATEGY_LOOP, FM_STRATEGY_ACCOUNTING,
    FM_STRATEGY_COUNT
};

enum fm_val_batch { FM_VAL_SAME, FM_VAL_HALF, FM_VAL_MAX };

/* what the strategies of a cell amount to */
struct fm_recipe {
    struct fm_settings settings;
    struct fm_policy policy;        /* policy.checkpoint is filled by the lowering of the cell */
    char checkpoint[FM_VALUE_BYTES];
    enum fm_val_batch val_batch;
};

struct fm_strategy {
    const char *name;               /* flag and key: "val-batch" is written "val_batch" here */
    const char *help, *values, *text;       /* text: the default; NULL: the workload decides */
    bool changes_model;
    /* FM_INVALID with the nearest value */
    fm_status (*apply)(struct fm_recipe *recipe, const char *value, struct fm_err *err);
};

extern const struct fm_strategy *const fm_strategies[FM_STRATEGY_COUNT];
/* FM_STRATEGY_COUNT if unknown; '-' and '_' are the same */
enum fm_strategy_id fm_strategy_find(const char *name);

struct fm_cell {
    struct fm_settings settings;    /* before the strategies */
    char value[FM_STRATEGY_COUNT][FM_VALUE_BYTES];
};

void fm_cell_default(struct fm_cell *cell, const struct fm_workload *workload);
/* checks the value and stores its canonical text */
fm_status fm_cell_set(struct fm_cell *cell, enum fm_strategy_id id, const char *value, struct fm_err *err) FM_MUST_USE;
fm_status fm_cell_recipe(const struct fm_cell *cell, struct fm_recipe *recipe, struct fm_err *err) FM_MUST_USE;
/* validation's batch for a training batch; for FM_VAL_MAX it is searched alone: 0 */
int64_t fm_cell_val_batch(const struct fm_cell *cell, int64_t train_batch);
/* "denseunet3d bf16 checkpoint=blocks channels=1/2": precision, then what is not the default */
void fm_cell_describe(const struct fm_cell *cell, struct fm_buf *out);
bool fm_cell_changes_model(const struct fm_cell *cell);
/* everything that changes the model; what only validation or training do is left out */
uint64_t fm_cell_model_id(const struct fm_cell *cell);
/* identity of the cell, and of its training alone (cells that differ only in validation share it) */
uint64_t fm_cell_id(const struct fm_cell *cell);
uint64_t fm_cell_train_id(const struct fm_cell *cell);

struct fm_cell_batch {
    int64_t train, val;             /* 0: no such body */
    bool fixed_batch;               /* one batch again and again, dropout off: to see that it learns */
};
/* Builds the graph, applies the policy and lowers into `program`, which keeps its arrays. */
fm_status fm_cell_lower(const struct fm_cell *cell, struct fm_cell_batch batch, struct fm_program *program, struct fm_err *err)
    FM_MUST_USE;
/* the cell's graph at a batch, for counts and layers; caller releases */
fm_status fm_cell_graph(const struct fm_cell *cell, int64_t train_batch, int64_t val_batch, struct fm_graph *out, struct fm_err *err)
    FM_MUST_USE;

/* for strategies whose values are a list: index of `value` in "a,b,c", or FM_INVALID naming the nearest */
fm_status fm_strategy_choice(const char *strategy, const char *choices, const char *value, int *index, struct fm_err *err) FM_MUST_USE;

#endif
