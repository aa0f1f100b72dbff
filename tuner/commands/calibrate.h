/* fillmark plan --calibrate DIR: from the measured steps of a run, how fast planned ones will be on the same device.
 *
 * A run's device is the same if the driver calls it what the table of devices does (title). Its cells are lowered again; a
 * point whose program is no longer the one that ran is left out. Several launches of a point count as their median. Cells that
 * did not learn when they were checked, and points that only fit in part, are left out.
 *
 * Ownership: fm_calibrated is a value. Source: calibration.h. */
#ifndef FM_TUNER_CALIBRATE_H
#define FM_TUNER_CALIBRATE_H

#include "results/fold.h"
#include "tuner/campaign/calibration.h"
#include "workloads/strategies/strategies.h"

#define FM_CALIBRATED_WORKLOADS 8

struct fm_calibrated {
    bool known;                     /* false: `why` says what is missing */
    struct fm_calibration fit;
    size_t cells, other_programs;   /* that took part; points of another build, left out */
    const struct fm_workload *workload[FM_CALIBRATED_WORKLOADS];    /* of those cells */
    size_t workloads;
    char source[256], why[256];     /* "DIR on NVIDIA ..."; both for people */
};

/* A run without such points is no error: `known` is false. INVALID: the fit's, NOMEM. */
fm_status fm_calibrate(const struct fm_result *run, const char *folder, const struct fm_gpu *gpu, struct fm_calibrated *out,
                       struct fm_err *err) FM_MUST_USE;

/* What a step of the cell takes by it, NaN if not known, and on what that rests: "calibrated from 8 cells of DIR on ..." or
 * "bound (uncalibrated: ...)". `calibrated` NULL: no run was given. */
double fm_calibrated_seconds(const struct fm_calibrated *calibrated, const struct fm_cell *cell, const struct fm_roofline *bound,
                             struct fm_buf *basis);

#endif
