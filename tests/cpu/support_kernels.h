/* The cpu backend's own kernels alone, as a backend, and random problems for them. */
#ifndef FM_TESTS_CPU_SUPPORT_KERNELS_H
#define FM_TESTS_CPU_SUPPORT_KERNELS_H

#include "tests/support/case.h"

/* runs fm_cpu_kernels[] without oneDNN; the backend is a struct fm_backend from fm_own_open() */
extern const struct fm_backend_ops fm_own_ops;

/* a stream of choices: pick() is in [low, high] */
struct fm_choice {
    uint64_t seed, drawn;
};
int64_t fm_choose(struct fm_choice *choice, int64_t low, int64_t high);

/* a random layout for operand i before its values are set: plain, image-like, a slice of either, transposed, and, for
 * an input, expanded along a dimension (kept: one that must not be, or -1) */
void fm_random_layout(struct fm_choice *choice, struct fm_case *c, uint32_t i, int kept);
/* output 0 in place of an input, unless dtypes differ or the input is expanded */
void fm_share_if_possible(struct fm_case *c, uint32_t with);
/* f32 or bf16 */
enum fm_dtype fm_random_float(struct fm_choice *choice);
/* 1e-6 where all floats of the case are f32, 1e-2 otherwise */
double fm_tolerance(const struct fm_case *c);

/* Runs the case on the oracle and on the kernels with 1, 2 and 3 threads; fails the test where an output differs by
 * more than the tolerance (relative L2), or a run repeated with the same threads by a bit. */
void fm_expect_same(const struct fm_case *c, double tolerance);
/* the status that the kernels give */
fm_status fm_own_status(const struct fm_case *c, struct fm_err *err);

#endif
