/* The least time a training step can take on a GPU of the device table: each kernel at the peak rate of its type or at the
 * memory's bandwidth, whichever takes longer, and nothing between kernels. A bound, not a prediction: no kernel reaches it, and
 * no efficiency was measured on a GPU.
 *
 * Rates: convolutions and products in TF32 and in half precision those of the tensor cores; all else fp32. Source: Williams, Waterman, Patterson, Roofline, 2009. */
#ifndef FM_TUNER_CAMPAIGN_ROOFLINE_H
#define FM_TUNER_CAMPAIGN_ROOFLINE_H

#include "probes/devices/devices.h"
#include "workloads/program/program.h"

/* of a later step (section TRAIN); NaN where the table lacks a rate that a kernel needs, or there is no training */
double fm_roofline_step_seconds(const struct fm_gpu *gpu, const struct fm_program *program);

#endif
