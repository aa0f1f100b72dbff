#include "probes/measure/throttle.h"

/* the first known look that ends at or after `ns`, from `at` on; looks if there is none */
static size_t next_known(const struct fm_look *look, size_t looks, size_t at, int64_t ns)
{
    while (at < looks && (!look[at].known || look[at].span.end_ns < ns)) at++;
    return at;
}

bool fm_throttled_steps(const struct fm_look *look, size_t looks, const struct fm_span *step, size_t steps, bool *throttled)
{
    size_t at = next_known(look, looks, 0, INT64_MIN), before = looks;      /* before: the last known one that is over; looks: none */
    if (at == looks) return false;
    for (size_t i = 0; i < steps; i++) {
        bool seen = false;
        for (; at < looks && look[at].span.end_ns < step[i].begin_ns; at = next_known(look, looks, at + 1, INT64_MIN)) before = at;
        throttled[i] = false;
        size_t k = at;
        for (; k < looks && look[k].span.begin_ns <= step[i].end_ns; k = next_known(look, looks, k + 1, INT64_MIN)) {
            seen = true;
            throttled[i] = throttled[i] || look[k].throttled;
        }
        if (!seen) throttled[i] = (before < looks && look[before].throttled) || (k < looks && look[k].throttled);
    }
    return true;
}
