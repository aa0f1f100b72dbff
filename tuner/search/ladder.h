/* The batches that give the throughput curve below a cell's largest batch, and the curve's knee. */
#ifndef FM_TUNER_SEARCH_LADDER_H
#define FM_TUNER_SEARCH_LADDER_H

#include <stddef.h>
#include <stdint.h>

#define FM_LADDER_CAPACITY 32
#define FM_KNEE_TOLERANCE 0.05

/* Powers of two below max_batch, then max_batch itself, ascending, those in `measured` (any order)
 * left out. max_batch 0 ... FM_SEARCH_BATCH_LIMIT. Returns how many were written. */
size_t fm_ladder(int64_t max_batch, const int64_t *measured, size_t measured_count,
                 int64_t batches[FM_LADDER_CAPACITY]);

struct fm_knee_point {
    int64_t batch;
    double samples_per_s;       /* NAN or not positive: not measured, left out */
};

/* The smallest batch whose samples/s is at least (1 - tolerance) of the best; 0: none was measured.
 * Points in any order; tolerance in [0, 1). */
int64_t fm_knee(const struct fm_knee_point *points, size_t count, double tolerance);

#endif
