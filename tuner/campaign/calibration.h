/* How much of the roofline's bound kernels reach on a device, from measured steps, and what that predicts for others.
 *
 * Model: a step takes the sum over classes of kernels of (bound of the class) / (its efficiency). Few parameters: a class
 * is fitted if it makes up FM_CALIBRATION_SHARE of some measured step's bound, the others count as the rest. Each fit is
 * least squares of relative errors in 1 / efficiency, with efficiency <= 1, and a weak pull towards the one efficiency
 * that suits all points (a normal prior of 50 %), so that what the points cannot tell apart is treated alike. Points far
 * from the others are left out (Tukey's biweight, a fixed number of rounds); with fewer than two points a parameter none
 * can be told to be far, and all count.
 *
 *     status = fm_calibration_fit(points, count, &calibration, &err);
 *     if (status == FM_OK) seconds = fm_calibration_seconds(&calibration, &bound, &missing);
 *
 * Pure and deterministic; no ownership. Units: seconds, shares. Source: Beaton, Tukey, 1974 (biweight). */
#ifndef FM_TUNER_CAMPAIGN_CALIBRATION_H
#define FM_TUNER_CAMPAIGN_CALIBRATION_H

#include "tuner/base/status.h"
#include "tuner/campaign/roofline.h"

#define FM_CALIBRATION_SHARE 0.05

struct fm_calibration_point {
    struct fm_roofline bound;
    double seconds;                 /* measured */
    uint32_t cell;                  /* points of one cell are left out together where the error of others is estimated */
};

struct fm_calibration {
    bool known[FM_ROOFLINE_CLASS_COUNT];
    double efficiency[FM_ROOFLINE_CLASS_COUNT];     /* in (0, 1]; NaN where not known */
    size_t points, left_out;        /* left_out: far from the rest, without weight */
    double error;                   /* median relative error of a cell that takes no part in the fit; NaN below three cells */
};

/* INVALID: no points, a time or bound that is not positive. NOMEM. */
fm_status fm_calibration_fit(const struct fm_calibration_point *point, size_t count, struct fm_calibration *out, struct fm_err *err)
    FM_MUST_USE;
/* NaN where a class that matters (FM_CALIBRATION_SHARE of the bound) was not measured; *missing is then that class */
double fm_calibration_seconds(const struct fm_calibration *calibration, const struct fm_roofline *bound, enum fm_roofline_class *missing);

#endif
