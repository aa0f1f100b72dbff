/* Random cells, small enough to lower by the hundred: a network with its settings, batches and a policy. */
#ifndef FM_TESTS_LOWER_SUPPORT_RANDOM_H
#define FM_TESTS_LOWER_SUPPORT_RANDOM_H

#include "workloads/lower/lower.h"
#include "workloads/nets/nets.h"

#define RANDOM_BLOCKS 64

struct random_cell {
    struct fm_settings settings;
    int64_t train_batch, val_batch;         /* one of them may be 0: that body does not exist */
    struct fm_policy policy;
    uint8_t checkpoint[RANDOM_BLOCKS];      /* what policy.checkpoint points to, unless that is NULL */
    char text[256];                         /* for messages */
};

/* the cell is a function of the seed; it must not move afterwards */
void random_cell(struct random_cell *cell, uint64_t seed);
/* the test fails where that fails */
void random_cell_build(const struct random_cell *cell, struct fm_graph *graph);

#endif
