/* Index spaces: how the views of a call lie beside each other. Plain C, shared by the host code that plans a launch and
 * the device code that walks it (a space travels as a kernel argument).
 *
 * A space is built in logical order (dimension 0 outermost), then joined: sizes of 1 are dropped, dimensions sorted
 * innermost first by the strides of the first view that tells them apart, and merged where every view allows it.
 * Strides are in elements; 0 where a view stands still. */
#ifndef FM_PROBES_BACKENDS_CUDA_KERNELS_SPACE_H
#define FM_PROBES_BACKENDS_CUDA_KERNELS_SPACE_H

#include "workloads/program/program.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FM_SPACE_DIMS 8     /* FM_MAX_DIMS and one more for the groups of a norm; 8 for alignment's sake */
#define FM_SPACE_VIEWS 8

struct fm_cuda_space {
    int32_t ndim, views;
    int64_t numel;                                          /* elements: points of the space */
    int64_t size[FM_SPACE_DIMS];
    int64_t stride[FM_SPACE_DIMS][FM_SPACE_VIEWS];
    /* set by fm_cuda_space_vectorize() */
    int64_t steps;                                          /* points, each a vector of `width` elements */
    int64_t step[FM_SPACE_VIEWS];                           /* from element to element within a vector */
    int32_t width;
    int32_t narrow;                                         /* steps < 2^31: the divisors below are good */
    uint32_t magic[FM_SPACE_DIMS], shift[FM_SPACE_DIMS];    /* quotient = (high(n * magic) + n) >> shift */
};

/* what a call's kernel reads and writes: a space and where its views are */
struct fm_cuda_views {
    struct fm_cuda_space space;
    void *data[FM_SPACE_VIEWS];
    uint8_t dtype[FM_SPACE_VIEWS];                          /* FM_DTYPE_COUNT: an index, no memory */
};

/* an empty set of views over the sizes of an operand */
void fm_cuda_views_begin(struct fm_cuda_views *views, const struct fm_operand *like);
/* Each returns the number of its view. Dimensions where the operand has another size stand still. */
int fm_cuda_views_add(struct fm_cuda_views *views, const struct fm_operand *operand, void *data);
/* an operand of one dimension along dimension dim; data NULL: it still takes a view, of no memory */
int fm_cuda_views_along(struct fm_cuda_views *views, int dim, const struct fm_operand *operand, void *data);
/* given strides */
int fm_cuda_views_strided(struct fm_cuda_views *views, const int64_t *stride, enum fm_dtype dtype, void *data);
/* the logical row-major index as if it were memory: its "offset" is the index */
int fm_cuda_views_index(struct fm_cuda_views *views);
/* dimension dim becomes two: groups x size / groups */
void fm_cuda_views_group(struct fm_cuda_views *views, int dim, int64_t groups);
/* sorts, merges, and makes vectors of one element */
void fm_cuda_space_join(struct fm_cuda_space *space);
/* the dimensions of an unjoined space whose bit in `reduced` is 0, and the others; both joined */
void fm_cuda_space_split(const struct fm_cuda_space *all, uint32_t reduced, struct fm_cuda_space *kept,
                         struct fm_cuda_space *rest);

/* Largest width of 8, 4, 1 <= most with which every view in `mask` can be read as aligned vectors along the innermost
 * dimension (stride 1, or 0 throughout). ragged: the last vector may be cut short, possible in one dimension. Alignment
 * of data[] counts only if data is given. */
int fm_cuda_views_width(const struct fm_cuda_space *space, const struct fm_cuda_views *of, uint32_t mask, int most,
                        bool ragged);
/* the same where vectors lie in one part of a split space: the other part's strides keep them aligned, too */
int fm_cuda_parts_width(const struct fm_cuda_space *vectors, const struct fm_cuda_space *other,
                        const struct fm_cuda_views *of, uint32_t mask, int most);
/* 8 if a view of 2 bytes an element is among those of `mask`, else 4: what 16-byte accesses want */
int fm_cuda_views_widest(const struct fm_cuda_views *views, uint32_t mask);
/* counts the innermost dimension in vectors; once, after joining */
void fm_cuda_space_vectorize(struct fm_cuda_space *space, int width);

#ifdef __cplusplus
}
#endif

#endif
