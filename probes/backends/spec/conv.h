/* Which convolution PyTorch asks cuDNN for: the three tensors of a problem by their roles and their format. Pure; no library.
 *
 * Source: aten/src/ATen/native/Convolution.cpp, ConvUtils.h, cudnn/Conv_v8.cpp and c10/core/MemoryFormat.h of torch 2.6;
 * rule 42. */
#ifndef FM_PROBES_BACKENDS_SPEC_CONV_H
#define FM_PROBES_BACKENDS_SPEC_CONV_H

#include "workloads/program/program.h"

enum fm_spec_pass { FM_SPEC_FORWARD, FM_SPEC_DGRAD, FM_SPEC_WGRAD };

struct fm_spec_conv {
    enum fm_spec_pass pass;             /* cuDNN's: a transposed convolution runs forward as a data gradient */
    enum fm_dtype dtype;
    int dims;                           /* 4 or 5 */
    bool channels_last;
    bool benchmark;                     /* all that would be timed are wanted */
    bool fp32;                          /* of f32, without TF32 */
    int64_t x[5], w[5], y[5];           /* sizes: input side, weight (out, in / groups, ...), output side */
    int64_t x_stride[5], w_stride[5], y_stride[5];
    int64_t stride[3], padding[3], dilation[3];
};

/* the problem is a CONV, CONV_DGRAD or CONV_WGRAD */
void fm_spec_conv(const struct fm_problem *problem, struct fm_spec_conv *out);

#endif
