/* Which steps were throttled, from looks at the device that were taken meanwhile. Pure functions.
 *
 * A look takes time: what it saw was so at some moment between its begin and its end. A step is throttled if a look that
 * overlaps it saw throttling; a step between two looks, if the last one before it or the first one after it did. So a
 * step that is not marked was seen, or lies between two looks that saw nothing. Looks and steps ascend in time, and
 * neither overlap their own kind. Times: ns of one clock. */
#ifndef FM_PROBES_MEASURE_THROTTLE_H
#define FM_PROBES_MEASURE_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fm_span { int64_t begin_ns, end_ns; };

struct fm_look {
    struct fm_span span;
    bool known;                 /* what holds the clocks down was told; others count for nothing */
    bool throttled;
};

/* throttled[i] of step[i]. False: no look was told of, so nothing is known and nothing is written. */
bool fm_throttled_steps(const struct fm_look *look, size_t looks, const struct fm_span *step, size_t steps, bool *throttled);

#endif
