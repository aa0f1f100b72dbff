/* Cells in words and cells in deed: what a request says, as workloads and strategies understand it, and back. */
#ifndef FM_PROBES_WORKER_CELL_SPEC_H
#define FM_PROBES_WORKER_CELL_SPEC_H

#include "probes/protocol/protocol.h"
#include "workloads/strategies/strategies.h"

/* FM_INVALID names what is unknown; strategies that are not named keep their defaults */
fm_status fm_cell_from_spec(const struct fm_cell_spec *spec, struct fm_cell *out, struct fm_err *err) FM_MUST_USE;
/* every setting and strategy written out */
void fm_cell_to_spec(const struct fm_cell *cell, struct fm_cell_spec *out);

#endif
