/* Second half of the fold: from cells and rows to points, fronts and ranks. */
#ifndef FM_RESULTS_FOLD_INTERNAL_H
#define FM_RESULTS_FOLD_INTERNAL_H

#include "results/fold.h"

/* sets points and all that rests on them. INVALID, NOMEM */
fm_status fm_fold_points(struct fm_result *result, uint64_t seed, struct fm_err *err) FM_MUST_USE;

#endif
