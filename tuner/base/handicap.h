/* A build that is worse on purpose, to show that the nightly gate catches one (ci/gate-check.sh). CMake's variables
 * FILLMARK_HANDICAP_SLOWDOWN_PERCENT and FILLMARK_HANDICAP_MEMORY_PERCENT set it; 0, the default, compiles to nothing.
 *
 *   slowdown   each section of a step program waits, busily, until it has taken that many percent longer
 *   memory     each tensor takes that many percent more bytes, of the planner's memory and of the worker's alike
 *
 * `fillmark --version` and the run record of a journal ("handicap") say it, so that no figure of such a build passes for
 * another's. `compare` does not look: it must find it in the figures, as it would a real regression. */
#ifndef FM_HANDICAP_H
#define FM_HANDICAP_H

#include <stdint.h>

#ifndef FM_HANDICAP_SLOWDOWN_PERCENT
#define FM_HANDICAP_SLOWDOWN_PERCENT 0
#endif
#ifndef FM_HANDICAP_MEMORY_PERCENT
#define FM_HANDICAP_MEMORY_PERCENT 0
#endif

#define FM_HANDICAP_WORD_(percent) #percent
#define FM_HANDICAP_WORD(percent)  FM_HANDICAP_WORD_(percent)
#define FM_HANDICAP_ANY            (FM_HANDICAP_SLOWDOWN_PERCENT > 0 || FM_HANDICAP_MEMORY_PERCENT > 0)
#define FM_HANDICAP_TEXT                                                                                      \
    "steps take " FM_HANDICAP_WORD(FM_HANDICAP_SLOWDOWN_PERCENT) " % longer, tensors take "                    \
    FM_HANDICAP_WORD(FM_HANDICAP_MEMORY_PERCENT) " % more bytes"

/* what a tensor of this size takes */
static inline int64_t fm_handicap_bytes(int64_t bytes)
{
    return bytes + bytes * FM_HANDICAP_MEMORY_PERCENT / 100;
}

/* when what began at start_ns and is done at now_ns may end */
static inline int64_t fm_handicap_end_ns(int64_t start_ns, int64_t now_ns)
{
    return now_ns + (now_ns - start_ns) * FM_HANDICAP_SLOWDOWN_PERCENT / 100;
}

#endif
