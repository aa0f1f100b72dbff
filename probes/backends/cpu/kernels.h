/* The cpu backend's own kernels (OpenMP, vectorized): whatever oneDNN has no primitive for, or a slower one.
 *
 * A call arrives resolved: strides and offsets of image-like operands are already channels-last
 * (fm_operand_channels_last), data[i] points at operand i's first element. Kernels have a fast path for dense operands
 * of equal layout and a general strided one; both give the same values. No kernel allocates: scratch is what
 * workspace_bytes() said, and depends on nothing but the problem and the thread count. */
#ifndef FM_PROBES_BACKENDS_CPU_KERNELS_H
#define FM_PROBES_BACKENDS_CPU_KERNELS_H

#include "probes/backends/backend.h"

struct fm_cpu_call {
    struct fm_problem problem;      /* physical strides; offsets already applied to data[] */
    void *const *data;              /* n_out + n_in pointers; NULL where absent */
    void *workspace;                /* 64-byte aligned */
    uint64_t seed, step;
    int threads;
};

struct fm_cpu_kernel {
    fm_status (*run)(const struct fm_cpu_call *call, struct fm_err *err);   /* NULL: served elsewhere (oneDNN) */
    int64_t (*workspace_bytes)(const struct fm_problem *physical, int threads);   /* NULL: none */
};

extern const struct fm_cpu_kernel fm_cpu_kernels[FM_KERNEL_COUNT];

#endif
