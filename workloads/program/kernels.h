/* The kernels a step program calls: what every backend implements, and nothing else.
 *
 * Operands are strided views (struct fm_operand), outputs first. Sizes of all operands of one call agree as
 * the table says; broadcasting is written as stride 0 by the lowering, so a backend never infers it.
 * Unless said otherwise any dtype mix may occur and arithmetic is done in at least f32 (f64 for f64 operands),
 * rounded once on store. "in/out" operands stand among the outputs and are read too. An output may be the same
 * storage and view as an input (in place) for UNARY, UNARY_BWD, BINARY, COPY, FILL and DROPOUT_BWD; no other
 * overlap occurs. Attributes are fields of struct fm_attr (program.h). [x] = optional operand: recognise by count.
 *
 * name             outputs                 inputs                    meaning
 * ---------------- ----------------------- ------------------------- -----------------------------------------
 * FILL             y                                                 y = alpha
 * COPY             y                       x                         y = x, cast; x may be expanded (stride 0)
 * UNARY            y                       x                         y = f(x), f by attr.mode (enum fm_unary)
 * UNARY_BWD        dx                      g, s                      dx = g * f'(s); s is what f's row in rule
 *                                                                    "saved per op" keeps: RELU: output,
 *                                                                    GELU, SILU: input, LEAKY_RELU: either
 *                                                                    (slope alpha > 0: the sign is the same)
 * BINARY           y                       a, b                      by attr.mode (enum fm_binary);
 *                                                                    ADD: a + alpha*b, SUB: a - alpha*b
 * CAT              y                       x0, x1, ...               along dimension attr.dim
 * SUM              y                       x                         y = alpha * sum of x over the dimensions
 *                                                                    where y has size 1 and x has not (same
 *                                                                    ndim). bool and i64 sums are exact in i64
 * SOFTMAX          y                       x                         along attr.dim; attr.mode 1: log_softmax
 * SOFTMAX_BWD      dx                      g, y                      dx = (g - sum(g*y)) * y, or with mode 1
 *                                                                    g - exp(y) * sum(g)
 * NLL              loss, total_weight      logp, target, [weight]    logp (B, C, ...), target i64 (B, ...):
 *                                                                    mean over elements whose target is not
 *                                                                    attr.ignore_index; loss, total_weight: one
 *                                                                    element. total 0: loss is NaN, as torch
 * NLL_BWD          dx                      g, target, total_weight,  dx (B, C, ...) = -g*w/total at the target's
 *                                          [weight]                  class, 0 elsewhere and where ignored
 * ARANGE           y                                                 y_i = i
 * ARGMAX           y (i64)                 x                         along attr.dim (y has size 1 there); first
 *                                                                    of equals
 * MATMUL           y                       a, b, [bias]              y (.., M, N) = alpha * a (.., M, K) @
 *                                                                    b (.., K, N) [+ bias (.., M, N) expanded];
 *                                                                    2-D or 3-D with equal leading size; any
 *                                                                    strides; f32 accumulation
 * SDPA             y, lse                  q, k, v                   attention of q, y (B, H, L, D) to k, v
 *                                                                    (B, H, M, D): s = alpha * q @ k^T,
 *                                                                    lse (B, H, L) = log sum exp(s) over M,
 *                                                                    f32 (f64 where q is), y = exp(s - lse) @ v
 * SDPA_BWD         dq, dk, dv              g, q, k, v, y, lse        p = exp(s - lse): dv = p^T @ g,
 *                                                                    ds = p * (g @ v^T - sum(g * y)),
 *                                                                    dq = alpha * ds @ k, dk = alpha * ds^T @ q
 * CONV             y                       x, w, [bias]              x (B, C, spatial), 2 or 3 spatial dims;
 *                                                                    attr.stride/padding/dilation (in the order
 *                                                                    of the spatial dims), groups. transposed 0:
 *                                                                    w (O, C/groups, k..); 1: w (C, O/groups, k..)
 * CONV_DGRAD       dx                      g, w                      gradient of CONV (same attr) by x
 * CONV_WGRAD       dw                      g, x                      gradient of CONV (same attr) by w
 * BATCH_NORM       y, mean, invstd,        x, weight, bias           training: batch statistics over all but
 *                  running_mean in/out,                              dim 1; running = (1-momentum)*running +
 *                  running_var in/out                                momentum*(mean | unbiased variance);
 *                                                                    invstd = 1/sqrt(biased var + eps)
 * BATCH_NORM_EVAL  y                       x, weight, bias,          with the running statistics
 *                                          running_mean, running_var
 * BATCH_NORM_BWD   dx, dweight, dbias      g, x, weight, mean, invstd
 * GROUP_NORM       y, mean, rstd           x, weight, bias           attr.groups; mean, rstd (B, groups)
 * GROUP_NORM_BWD   dx, dweight, dbias      g, x, weight, mean, rstd
 * LAYER_NORM       y, mean, rstd           x, weight, bias           over the last dimension; mean, rstd
 *                                                                    (.., 1)
 * LAYER_NORM_BWD   dx, dweight, dbias      g, x, weight, mean, rstd
 * INTERPOLATE      y                       x                         (B, C, H, W), bilinear, align_corners
 *                                                                    False, scale = in/out sizes, as
 *                                                                    F.interpolate(size=...)
 * INTERPOLATE_BWD  dx                      g
 * DROPOUT          y, mask (bool)          x                         keep where uniform(seed, stream', i) >=
 *                                                                    alpha; y = x/(1-alpha) kept, else 0; i is
 *                                                                    the logical row-major index; stream' =
 *                                                                    attr.stream + step * FM_STREAMS_PER_STEP
 * DROPOUT_BWD      dx                      g, mask                   dx = g * mask / (1-alpha)
 * BERNOULLI        y                                                 y_i = 1/alpha where uniform < alpha else 0
 *                                                                    (drop path: alpha = keep probability)
 * INPUT            y                                                 a batch of the data set: attr.mode
 *                                                                    (enum fm_input); see probes/backends/data.h
 * INIT             y                                                 initial value of a parameter: mode 0:
 *                                                                    alpha; 1: uniform in (-alpha, alpha) from
 *                                                                    (seed, attr.stream, i); 2: normal * alpha
 * SGD              per tensor:             -                         list call, FM_SGD_OPERANDS apart: param
 *                  p in/out, g in/out, buf in/out                    torch's: g += wd*p; buf = first step ? g :
 *                                                                    momentum*buf + g; nesterov: g += m*buf;
 *                                                                    p -= lr * (nesterov ? g : buf). momentum 0:
 *                                                                    the buf operand has ndim 0 and no storage
 * ADAM             per tensor: p, m, v,    -                         list call, FM_ADAM_OPERANDS apart; torch's
 *                  vmax, temp (in/out), g                            Adam (decoupled 0: g += wd*p, in f32 on the
 *                                                                    fly) or AdamW (1: p *= 1 - lr*wd first);
 *                                                                    amsgrad 1: vmax = max(vmax, v); temp may be
 *                                                                    overwritten; absent vmax or temp: storage
 *                                                                    FM_NONE. Bias corrections by the optimizer
 *                                                                    step count (from 1)
 * AMP_UNSCALE      found_inf (f32, 1),     scale (f32, 1)            found_inf = any not finite ? 1 : 0; each
 *                  g0, g1, ... in/out                                g *= 1/scale
 * AMP_UPDATE       scale, growth_tracker   found_inf                 torch's GradScaler.update: found: scale *=
 *                  in/out                                            0.5, tracker = 0; else tracker++ and every
 *                                                                    2000th: scale *= 2
 *
 * SGD and ADAM take one more input when the program has a loss scaler: found_inf; if it is not 0 they do nothing.
 * Source of semantics: ATen's documented operators of the same names (torch 2.6). */
#ifndef FM_WORKLOADS_PROGRAM_KERNELS_H
#define FM_WORKLOADS_PROGRAM_KERNELS_H

/* name, whether a backend may ask for workspace */
#define FM_KERNEL_LIST(X)                                                                        \
    X(FILL, 0) X(COPY, 0) X(UNARY, 0) X(UNARY_BWD, 0) X(BINARY, 0) X(CAT, 0) X(SUM, 1)           \
    X(SOFTMAX, 0) X(SOFTMAX_BWD, 0) X(NLL, 1) X(NLL_BWD, 0) X(ARANGE, 0) X(ARGMAX, 0)            \
    X(MATMUL, 1) X(CONV, 1) X(CONV_DGRAD, 1) X(CONV_WGRAD, 1)                                    \
    X(BATCH_NORM, 1) X(BATCH_NORM_EVAL, 0) X(BATCH_NORM_BWD, 1)                                  \
    X(GROUP_NORM, 1) X(GROUP_NORM_BWD, 1) X(LAYER_NORM, 0) X(LAYER_NORM_BWD, 1)                  \
    X(INTERPOLATE, 0) X(INTERPOLATE_BWD, 1) X(DROPOUT, 0) X(DROPOUT_BWD, 0) X(BERNOULLI, 0)      \
    X(INPUT, 0) X(INIT, 0) X(SGD, 0) X(ADAM, 0) X(AMP_UNSCALE, 0) X(AMP_UPDATE, 0)          \
    X(SDPA, 1) X(SDPA_BWD, 1)

#define X(name, scratch) FM_K_##name,
enum fm_kernel { FM_KERNEL_LIST(X) FM_KERNEL_COUNT };
#undef X

/* SCALE: alpha*x + beta; EQUAL: x == alpha (y bool) */
enum fm_unary { FM_RELU, FM_LEAKY_RELU, FM_GELU, FM_SILU, FM_SCALE, FM_LOG, FM_EXP, FM_EQUAL, FM_SQRT, FM_UNARY_COUNT };
enum fm_binary { FM_ADD, FM_SUB, FM_MUL, FM_DIV, FM_AND, FM_EQ, FM_OR, FM_MAX, FM_BINARY_COUNT };
/* what INPUT draws: a volume of occupancy, an image, their label maps */
enum fm_input { FM_INPUT_VOLUME, FM_INPUT_IMAGE, FM_INPUT_VOLUME_LABELS, FM_INPUT_IMAGE_LABELS };

#define FM_SGD_OPERANDS 3
#define FM_ADAM_OPERANDS 6
#define FM_STREAMS_PER_STEP 65536u

const char *fm_kernel_name(enum fm_kernel kernel);
/* may a backend need workspace for this kernel? */
int fm_kernel_scratch(enum fm_kernel kernel);

#endif
