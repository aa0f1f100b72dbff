/* The cells of all devices planned, side by side on the cores there are.
 *
 * As many threads as are worth it take them, the calling one among them; each has a branch of the device's session. The
 * records stand in the cells' order: however many threads, they are the same. */
#ifndef FM_TUNER_COMMANDS_PLAN_CELLS_H
#define FM_TUNER_COMMANDS_PLAN_CELLS_H

#include "tuner/commands/plan_cell.h"

/* threads 0: one a core that this process may use. Adds the records of device 0's cells to `out`, then device 1's, ...
 * The error is that of the first cell in this order that fails; `out` has the records of those before it then. */
fm_status fm_plan_cells(const struct fm_options *options, const struct fm_plan_device *device, size_t devices, size_t threads,
                        struct fm_records *out, struct fm_err *err) FM_MUST_USE;

#endif
