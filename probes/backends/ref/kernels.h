/* The ref backend's kernels: plain C, one thread, arithmetic in double, stored once. Semantics: program/kernels.h.
 *
 * The common loop runs over an operand's indices in row-major order, i being the logical index:
 *     struct fm_index x = { { 0 } };
 *     for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &x)) ... */
#ifndef FM_PROBES_BACKENDS_REF_KERNELS_H
#define FM_PROBES_BACKENDS_REF_KERNELS_H

#include "probes/backends/backend.h"
#include "probes/backends/ref/element.h"

typedef fm_status fm_ref_kernel(const struct fm_launch *launch, struct fm_err *err);

/* by the names of FM_KERNEL_LIST */
fm_ref_kernel fm_ref_fill, fm_ref_copy, fm_ref_unary, fm_ref_unary_bwd, fm_ref_binary, fm_ref_cat, fm_ref_sum,
              fm_ref_arange, fm_ref_argmax;                                                     /* elementwise.c */
fm_ref_kernel fm_ref_softmax, fm_ref_softmax_bwd, fm_ref_nll, fm_ref_nll_bwd;                   /* loss.c */
fm_ref_kernel fm_ref_matmul;                                                                    /* matmul.c */
fm_ref_kernel fm_ref_sdpa, fm_ref_sdpa_bwd;                                                     /* attention.c */
fm_ref_kernel fm_ref_conv, fm_ref_conv_dgrad, fm_ref_conv_wgrad;                                /* conv.c */
fm_ref_kernel fm_ref_batch_norm, fm_ref_batch_norm_eval, fm_ref_batch_norm_bwd, fm_ref_group_norm,
              fm_ref_group_norm_bwd, fm_ref_layer_norm, fm_ref_layer_norm_bwd;                  /* norm.c */
fm_ref_kernel fm_ref_interpolate, fm_ref_interpolate_bwd;                                       /* resample.c */
fm_ref_kernel fm_ref_dropout, fm_ref_dropout_bwd, fm_ref_bernoulli, fm_ref_input, fm_ref_init;  /* random.c */
fm_ref_kernel fm_ref_sgd, fm_ref_adam, fm_ref_amp_unscale, fm_ref_amp_update;                   /* optimizer.c */

/* view of output i, of input i (the i-th after the outputs); .first is NULL if absent or beyond the count */
struct fm_view fm_ref_out(const struct fm_launch *launch, uint32_t i);
struct fm_view fm_ref_in(const struct fm_launch *launch, uint32_t i);

#endif
