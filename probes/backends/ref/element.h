/* Elements of every dtype as doubles, and walking through strided views: the ref backend's alphabet.
 *
 * A view borrows an operand and points at its first element. Distances are in elements. Stores round once, to nearest
 * even; i64 truncates towards zero, bool stores "not zero", as torch casts. i64 beyond 2^53 needs
 * fm_view_load_i64(). */
#ifndef FM_PROBES_BACKENDS_REF_ELEMENT_H
#define FM_PROBES_BACKENDS_REF_ELEMENT_H

#include "workloads/program/program.h"

double fm_element_load(const void *elements, enum fm_dtype dtype, int64_t index);
void fm_element_store(void *elements, enum fm_dtype dtype, int64_t index, double value);

struct fm_view {
    const struct fm_operand *o;
    char *first;                    /* NULL: absent */
};

/* a multi-index; the last entries are unused */
struct fm_index { int64_t at[FM_MAX_DIMS]; };

static inline double fm_view_load(const struct fm_view *view, int64_t distance)
{
    return fm_element_load(view->first, (enum fm_dtype)view->o->dtype, distance);
}

static inline void fm_view_store(const struct fm_view *view, int64_t distance, double value)
{
    fm_element_store(view->first, (enum fm_dtype)view->o->dtype, distance, value);
}

/* of i64 and bool, exact */
int64_t fm_view_load_i64(const struct fm_view *view, int64_t distance);
void fm_view_store_i64(const struct fm_view *view, int64_t distance, int64_t value);

/* distance of an index from the first element; a dimension of size 1 is read at 0 whatever the index says */
int64_t fm_view_distance(const struct fm_view *view, const struct fm_index *index);
/* row-major successor within the view's sizes; wraps to zero after the last */
void fm_view_next(const struct fm_view *view, struct fm_index *index);

#endif
