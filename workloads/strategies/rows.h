/* The rows of the registry, one a file of this room. */
#ifndef FM_WORKLOADS_STRATEGIES_ROWS_H
#define FM_WORKLOADS_STRATEGIES_ROWS_H

#include "workloads/strategies/strategies.h"

extern const struct fm_strategy fm_strategy_channels, fm_strategy_precision, fm_strategy_optimizer, fm_strategy_optimizer_form,
    fm_strategy_accumulate, fm_strategy_checkpoint, fm_strategy_zero_grad, fm_strategy_val_batch, fm_strategy_loop,
    fm_strategy_accounting, fm_strategy_memory_format, fm_strategy_attention, fm_strategy_cudnn_benchmark;

#endif
