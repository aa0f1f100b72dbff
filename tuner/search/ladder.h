/* The batches that give the throughput curve below a cell's largest batch. */
#ifndef FM_TUNER_SEARCH_LADDER_H
#define FM_TUNER_SEARCH_LADDER_H

#include <stddef.h>
#include <stdint.h>

#define FM_LADDER_CAPACITY 32

/* Powers of two below max_batch, then max_batch itself, ascending, those in `measured` (any order)
 * left out. max_batch 0 ... FM_SEARCH_BATCH_LIMIT. Returns how many were written. */
size_t fm_ladder(int64_t max_batch, const int64_t *measured, size_t measured_count,
                 int64_t batches[FM_LADDER_CAPACITY]);

#endif
