/* The least time a training step can take on a GPU of the device table: each kernel at the peak rate of its type or at the
 * memory's bandwidth, whichever takes longer, and nothing between kernels. A bound, not a prediction: no kernel reaches it.
 * calibration.h makes a prediction of it, where there are measured runs.
 *
 * Rates: convolutions and products in TF32 and in half precision those of the tensor cores; all else fp32. Units: seconds;
 * unknown is NaN. Source: Williams, Waterman, Patterson, Roofline, 2009. */
#ifndef FM_TUNER_CAMPAIGN_ROOFLINE_H
#define FM_TUNER_CAMPAIGN_ROOFLINE_H

#include "probes/devices/devices.h"
#include "workloads/program/program.h"

/* What bounds a kernel: the arithmetic of convolutions and products, by the type they compute in, or (all others, and those
 * too that move more than they compute) mostly the memory. Kernels of a class are taken to reach a like share of the bound. */
#define FM_ROOFLINE_CLASSES(X)                                                                              \
    X(CONV_FP32, "fp32 convolutions") X(CONV_TF32, "tf32 convolutions") X(CONV_FP16, "fp16 convolutions")   \
    X(CONV_BF16, "bf16 convolutions") X(MATMUL_FP32, "fp32 products") X(MATMUL_TF32, "tf32 products")       \
    X(MATMUL_FP16, "fp16 products") X(MATMUL_BF16, "bf16 products") X(REST, "kernels bound by memory")
#define X(name, text) FM_ROOFLINE_##name,
enum fm_roofline_class { FM_ROOFLINE_CLASSES(X) FM_ROOFLINE_CLASS_COUNT };
#undef X
const char *fm_roofline_class_name(enum fm_roofline_class class);

/* the bound of a step, by class */
struct fm_roofline { double seconds[FM_ROOFLINE_CLASS_COUNT]; };

/* of a later step (section TRAIN); NaN in a class where the table lacks a rate that a kernel needs, or there is no training */
struct fm_roofline fm_roofline_step(const struct fm_gpu *gpu, const struct fm_program *program);
double fm_roofline_seconds(const struct fm_roofline *bound);
double fm_roofline_step_seconds(const struct fm_gpu *gpu, const struct fm_program *program);

#endif
