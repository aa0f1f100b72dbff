/* One problem with its operands' values, run on any backend whose memory the host can address.
 *
 * Operands are added outputs first. Each has a storage of its own (unless shared), whose values are kept as doubles in
 * logical order; running encodes them (channels-last where the backend keeps image-like storages so), runs, and decodes
 * them again. A run fails with FM_MISMATCH if the backend wrote outside the views of its outputs: into an input, beside
 * a view, around a storage or around its workspace.
 *
 *     struct fm_case c;
 *     fm_case_init(&c, FM_K_SOFTMAX);
 *     fm_case_out(&c, FM_F32, 3, (int64_t[]){ 2, 4, 9 });
 *     fm_case_in(&c, FM_F32, 3, (int64_t[]){ 2, 4, 9 });
 *     fm_case_image(&c, 0), fm_case_image(&c, 1);
 *     c.attr.dim = 1;
 *     fm_case_random(&c, 1, -2, 2, 7);
 *     status = fm_case_run(&c, &fm_backend_ref, backend, &err);
 *     double *y = fm_case_get(&c, 0);         // logical order; fm_free()
 *     fm_case_release(&c);
 */
#ifndef FM_TESTS_SUPPORT_CASE_H
#define FM_TESTS_SUPPORT_CASE_H

#include "probes/backends/backend.h"

#define FM_CASE_OPERANDS 24

struct fm_case {
    enum fm_kernel kernel;
    uint32_t n_out, n_in;
    struct fm_operand operand[FM_CASE_OPERANDS];    /* .storage: index into the two below */
    double *values[FM_CASE_OPERANDS];               /* of each storage, owned; outputs begin as NaN (integers: 77) */
    int64_t elements[FM_CASE_OPERANDS];
    struct fm_attr attr;
    uint64_t seed, step;
    uint32_t candidate;                             /* which of the backend's candidates to run; default the first */
    int64_t workspace_bytes;                        /* of the last run */
    char what[48];                                  /* implementation of the last run */
};

void fm_case_init(struct fm_case *c, enum fm_kernel kernel);
void fm_case_release(struct fm_case *c);
/* deep: both can run apart */
void fm_case_copy(struct fm_case *to, const struct fm_case *from);
struct fm_problem fm_case_problem(const struct fm_case *c);

/* append a dense plain operand */
void fm_case_out(struct fm_case *c, enum fm_dtype dtype, int ndim, const int64_t *size);
void fm_case_in(struct fm_case *c, enum fm_dtype dtype, int ndim, const int64_t *size);
void fm_case_absent(struct fm_case *c, bool output);

/* Layout of operand i, before its values are set. */
void fm_case_image(struct fm_case *c, uint32_t i);      /* dense (B, C, spatial...): channels-last where kept so */
/* operand i is the part [start, start + its size) of a tensor with `full` in dimension dim (image-like if i was) */
void fm_case_slice(struct fm_case *c, uint32_t i, int dim, int64_t start, int64_t full);
void fm_case_expand(struct fm_case *c, uint32_t i, int dim);                /* stride 0 */
void fm_case_swap(struct fm_case *c, uint32_t i, int dim_a, int dim_b);     /* transposed in memory; plain */
void fm_case_share(struct fm_case *c, uint32_t i, uint32_t with);           /* in place: the same storage and view */

/* Values of operand i, rounded to its dtype. Random ones are in [low, high) and fill its whole storage. */
void fm_case_random(struct fm_case *c, uint32_t i, double low, double high, uint64_t seed);
void fm_case_set(struct fm_case *c, uint32_t i, const double *values);      /* logical order of the view */
void fm_case_set_one(struct fm_case *c, uint32_t i, int64_t logical, double value);
double fm_case_get_one(const struct fm_case *c, uint32_t i, int64_t logical);
double *fm_case_get(const struct fm_case *c, uint32_t i);                   /* logical order; caller fm_free()s */

fm_status fm_case_run(struct fm_case *c, const struct fm_backend_ops *ops, struct fm_backend *backend,
                      struct fm_err *err) FM_MUST_USE;

/* |a - b| / |b| in L2 over the view of operand i (absolute where |b| = 0); NaN and infinity must agree in place,
 * else infinite */
double fm_case_difference(const struct fm_case *a, const struct fm_case *b, uint32_t i);

#endif
