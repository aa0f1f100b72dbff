/* The cuda backend's kernels, run on the CPU through the shim (support_shim.c) or on a GPU (tests/gpu), as a backend;
 * random problems; comparison with ref. */
#ifndef FM_TESTS_CUDA_SUPPORT_CUDA_H
#define FM_TESTS_CUDA_SUPPORT_CUDA_H

#include "tests/support/case.h"

/* as tensors lie in PyTorch: contiguous; and image-like ones channels-last */
extern const struct fm_backend_ops fm_cuda_shim, fm_cuda_shim_channels_last;

/* a stream of choices; draw() is in [low, high] */
struct fm_draw { uint64_t seed, drawn; };
int64_t fm_draw(struct fm_draw *draw, int64_t low, int64_t high);
/* f32, f16 or bf16 */
enum fm_dtype fm_draw_float(struct fm_draw *draw);
/* up to 5 dimensions, now and then long ones; returns their number */
int fm_draw_sizes(struct fm_draw *draw, int64_t size[FM_MAX_DIMS]);
/* (B, C, ...) of 2 to 5 dimensions, with channel counts of networks */
int fm_draw_image(struct fm_draw *draw, int64_t size[FM_MAX_DIMS]);
/* A layout for operand i before its values are set: plain, image-like, a slice of either (misaligned, gaps between
 * rows), transposed, and, for an input, expanded along a dimension (kept: one that must not be, or -1). */
void fm_draw_layout(struct fm_draw *draw, struct fm_case *c, uint32_t i, int kept);
/* output 0 in place of an input, unless dtypes differ or the input is expanded */
void fm_draw_share(struct fm_case *c, uint32_t with);
/* all inputs (and, if `all`, outputs) random in [low, high) */
void fm_case_randomize(struct fm_case *c, double low, double high, uint64_t seed, bool all);

/* relative L2 that rounding explains: 1e-5 for f32; one step of f16 or bf16 where either occurs */
double fm_cuda_tolerance(const struct fm_case *c);

/* Runs the case on ref and on the kernels: both layouts, threads and blocks in three orders. Fails the test where an
 * output differs from ref's by more than the tolerance (relative L2), or between orders by a bit. */
void fm_expect_as_ref(const struct fm_case *c, double tolerance);
/* fails the test where an output of got differs from wanted's, which is what `against` calls it */
void fm_compare(const struct fm_case *got, const struct fm_case *wanted, double tolerance, const char *against);
/* sizes, strides and types of the operands, as messages of the test */
void fm_describe(const struct fm_case *c);
/* one run through the shim (on a GPU, where the tests are built for one), contiguous; the status, with the outputs in *c */
fm_status fm_run_shim(struct fm_case *c, struct fm_err *err);

#endif
