/* One cell planned: the records of it that `fillmark plan` keeps, those of a run that was not made. */
#ifndef FM_TUNER_COMMANDS_PLAN_CELL_H
#define FM_TUNER_COMMANDS_PLAN_CELL_H

#include "results/journal.h"
#include "tuner/commands/calibrate.h"
#include "tuner/campaign/session.h"
#include "tuner/options/options.h"
#include "tuner/options/space.h"

struct fm_plan_device {
    struct fm_session *session;         /* borrowed */
    const struct fm_gpu *gpu;           /* the device in the table, borrowed; NULL: it is not there */
    struct fm_calibrated calibrated;    /* --calibrate's */
    struct fm_space space;
};

/* Adds to `out`, which the caller releases in any case. session: the device's, or a branch of it. A cell that the device cannot
 * run is a verdict; errors are those of fm_session_plan that are none. */
fm_status fm_plan_cell(const struct fm_plan_device *device, const struct fm_options *options, struct fm_session *session, size_t index,
                       struct fm_records *out, struct fm_err *err) FM_MUST_USE;

#endif
