/* Time. A clock is a value, so that searches, deadlines and campaigns run on a virtual one in tests. */
#ifndef FM_TUNER_BASE_CLOCK_H
#define FM_TUNER_BASE_CLOCK_H

#include <stdint.h>

struct fm_clock {
    int64_t (*now_ns)(void *context);        /* monotonic */
    void *context;
};

struct fm_clock fm_clock_system(void);
static inline int64_t fm_now_ns(struct fm_clock clock) { return clock.now_ns(clock.context); }

#define FM_TIMESTAMP_BYTES 32
/* UTC, "2026-01-31T12:34:56Z" */
void fm_timestamp(char text[FM_TIMESTAMP_BYTES]);

#endif
