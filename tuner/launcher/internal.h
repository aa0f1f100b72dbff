/* A worker's process, without what is said over its pipes. */
#ifndef FM_TUNER_LAUNCHER_INTERNAL_H
#define FM_TUNER_LAUNCHER_INTERNAL_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FM_WORKER_TAIL_BYTES 4096

struct fm_worker {
    pid_t pid;                      /* also its group's; 0: reaped, nothing is left to kill */
    int in_fd, out_fd, err_fd;      /* our ends, not blocking; -1 closed */
    bool exited;                    /* it ended, by itself or killed; wait_status is set */
    bool status_known;
    bool answered;                  /* the last request */
    int wait_status;
    struct fm_buf received;         /* of stdout, not yet answered */
    char tail[FM_WORKER_TAIL_BYTES + 1];    /* of stderr */
    size_t tail_bytes;
};

/* fork and exec with the three pipes; the worker's fields are set */
fm_status fm_process_start(struct fm_worker *worker, char *const argv[], struct fm_err *err) FM_MUST_USE;
/* what there is of stderr, into the tail; never blocks */
void fm_process_drain(struct fm_worker *worker);
/* stderr so far is of no interest any more */
void fm_process_forget(struct fm_worker *worker);
/* closes its stdin and stdout */
void fm_process_hang_up(struct fm_worker *worker);
/* has it ended? Not reaped yet: its id stays ours, so that its group can be killed */
bool fm_process_ended(struct fm_worker *worker);
/* true if it ended until then */
bool fm_process_wait(struct fm_worker *worker, int64_t until_ns);
/* SIGTERM to the group if the process still runs, after grace_ns SIGKILL, reap, close all: at most 10 s longer */
void fm_process_kill(struct fm_worker *worker, int64_t grace_ns);

#endif
