/* A thread that looks at the device while steps are timed, and what it saw.
 *
 *     fm_watch_start(&watch, device, err);             before the device is used: the thread starts and looks once
 *     fm_watch_look(watch, &sample);                   now, processes included
 *     fm_watch_begin(watch); ... fm_watch_step(...)    looks every FM_WATCH_PERIOD_NS, until
 *     fm_watch_end(watch, &seen);
 *     fm_watch_stop(watch);
 *
 * It reads and sets nothing. A look costs what the driver takes for it: the pause after one is at least nine times as
 * long, so that looking takes at most a tenth of one of the host's cores; processes, which cost more, are asked for in
 * every tenth look. What is seen is bounded too: when FM_WATCH_LOOKS are full, neighbours become one.
 * A look that does not return is waited for FM_WATCH_PATIENCE_NS once, and left behind with its thread: the probe goes
 * on without. A thread that cannot be had is the same. */
#ifndef FM_PROBES_WORKER_WATCH_H
#define FM_PROBES_WORKER_WATCH_H

#include "probes/backends/backend.h"
#include "probes/measure/throttle.h"
#include "tuner/base/status.h"

#define FM_WATCH_PERIOD_NS INT64_C(20000000)
#define FM_WATCH_PATIENCE_NS INT64_C(1000000000)
#define FM_WATCH_LOOKS 2048

struct fm_watch;

struct fm_watch_range { int32_t min, median, max; };            /* -1: unknown */

/* over the looks between begin and end */
struct fm_watched {
    uint32_t looks;
    struct fm_watch_range sm_mhz, memory_mhz, temperature_c, power_mw;
    int32_t slow;                       /* all reasons that were seen; -1 unknown */
    int32_t others;                     /* the most other processes that were seen; -1 unknown */
    struct fm_holder other[FM_MAX_HOLDERS];
    uint32_t others_listed;
    bool marked;                        /* which steps were throttled is known */
};

/* Takes device, in any case. NOMEM; a device that does not answer is no failure. */
fm_status fm_watch_start(struct fm_watch **out, const struct fm_device_watch *device, struct fm_err *err) FM_MUST_USE;
/* false: it did not answer */
bool fm_watch_look(struct fm_watch *watch, struct fm_device_sample *out);
void fm_watch_begin(struct fm_watch *watch);
/* did the last look see throttling? */
bool fm_watch_throttled(struct fm_watch *watch);
/* *throttled[i] of step[i], where seen->marked */
void fm_watch_end(struct fm_watch *watch, const struct fm_span *step, size_t steps, bool *throttled, struct fm_watched *seen);
void fm_watch_stop(struct fm_watch *watch);         /* NULL is fine */

#endif
