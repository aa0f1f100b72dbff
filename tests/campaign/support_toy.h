/* A network of one convolution, lowered in microseconds: what a campaign does with it costs next to nothing.
 *
 * Its settings: edge, of the volume; infers, passes of validation (validation only); broken, from which batch on its graph
 * cannot be built (0: never). */
#ifndef FM_TESTS_CAMPAIGN_SUPPORT_TOY_H
#define FM_TESTS_CAMPAIGN_SUPPORT_TOY_H

#include "workloads/strategies/strategies.h"

extern const struct fm_workload fm_toy;

/* the toy with strategies and settings, as "val_batch=half edge=8"; asserts */
struct fm_cell fm_toy_cell(const char *words);

#endif
