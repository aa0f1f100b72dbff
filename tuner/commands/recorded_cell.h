/* Cells of a recorded run, as workloads and strategies of this build understand them. */
#ifndef FM_TUNER_RECORDED_CELL_H
#define FM_TUNER_RECORDED_CELL_H

#include "results/fold.h"
#include "workloads/strategies/strategies.h"

/* False: the record names what this build does not know. Strategies that the record does not name keep their defaults. */
bool fm_recorded_cell(const struct fm_result_cell *from, struct fm_cell *out) FM_MUST_USE;

#endif
