/* Worker processes: started, asked, timed, killed, and their death turned into data.
 *
 * A worker is a child in a process group of its own, with a socket as its stdin, pipes as its stdout and stderr. The
 * last 4 KiB of its stderr are kept for people. Threads may use different workers at once, but only one
 * thread a worker at a time. The thread that starts a worker must live longer than it: if that thread or the whole
 * process dies, the kernel kills the worker (PR_SET_PDEATHSIG).
 *
 *     fm_status status = fm_worker_path("cpu", path, sizeof path, err);
 *     if (status == FM_OK) status = fm_worker_start(path, NULL, &worker, err);
 *     int64_t deadline_ns = fm_now_ns(fm_clock_system()) + 60 * INT64_C(1000000000);
 *     if (status == FM_OK) status = fm_worker_call(worker, &request, deadline_ns, &cancel, reply, err);
 *     fm_worker_stop(worker);
 *
 * What a call's reply->outcome is:
 *   as replied   a whole line, of the request's id, kind, keys and program
 *   timeout      the deadline passed: the group was sent SIGTERM, after 1 s SIGKILL
 *   crash        it exited or was killed by a signal without an answer; the reason has which, and the end of its stderr
 *   oom_host     it was killed by a SIGKILL that was not ours: most likely the kernel's OOM killer
 *   unsupported  it exited with FM_UNSUPPORTED's code: it is of another version
 *   protocol     anything else on its stdout, a closed stdout, or exit with FM_PROTOCOL's code
 * The worker is gone after each of them but the first. */
#ifndef FM_TUNER_LAUNCHER_LAUNCHER_H
#define FM_TUNER_LAUNCHER_LAUNCHER_H

#include "probes/protocol/protocol.h"
#include "tuner/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fm_worker;

/* Where the worker of a backend is: $FILLMARK_WORKER_DIR if that is set, else beside this executable, else in
 * ../libexec/fillmark. FM_INVALID: it is in none of them, or the path is longer than `bytes`. */
fm_status fm_worker_path(const char *backend, char *path, size_t bytes, struct fm_err *err) FM_MUST_USE;

struct fm_worker_options {
    int32_t threads;                /* 0: the worker's own choice */
    const char *device;             /* "cuda:1"; NULL: the worker's first. Borrowed while it starts */
};
/* options NULL: none. FM_IO: it does not start, with the system's reason; FM_NOMEM. */
fm_status fm_worker_start(const char *path, const struct fm_worker_options *options, struct fm_worker **out, struct fm_err *err) FM_MUST_USE;

/* One request, one reply. deadline_ns is of fm_clock_system(). The call returns soon after it, come what may: within
 * 1 s for SIGTERM, then 10 s for SIGKILL (the kernel frees a large worker's memory for a while; one that it cannot end
 * is left).
 * *cancel (may be NULL) is looked at 20 times a second.
 * FM_OK: *out is filled, whatever the outcome, to be released by the caller. FM_INTERRUPTED: cancelled, the worker is
 * killed. FM_INVALID: the worker is gone already, or the request cannot be written. FM_NOMEM. */
fm_status fm_worker_call(struct fm_worker *worker, const struct fm_request *request, int64_t deadline_ns,
                         const atomic_bool *cancel, struct fm_reply *out, struct fm_err *err) FM_MUST_USE;

bool fm_worker_alive(struct fm_worker *worker);         /* can still be asked */
/* the end of it since the last call began; borrowed */
const char *fm_worker_stderr(const struct fm_worker *worker);

/* Lets it end by itself for 2 s (its stdin is closed), then kills its group and releases. NULL is fine. */
void fm_worker_stop(struct fm_worker *worker);

#endif
