/* What an interrupted run has done already, so that nothing is measured twice.
 *
 * A probe is one start record; its rows have the same cell, device (if named), batch, val_batch, role and launch. Rows come
 * after their start: a start that is there again begins a second try, and what the first left counts no more.
 * Pure; everything is borrowed from the records. */
#ifndef FM_RESULTS_RESUME_H
#define FM_RESULTS_RESUME_H

#include "results/journal.h"

struct fm_probe_key {
    const char *cell;           /* 16 hexadecimal digits */
    const char *device;         /* NULL: any */
    int64_t batch, val_batch;   /* 0: no such phase */
    const char *role;           /* NULL: any */
    int64_t launch;
};

/* is this start or row of that probe? */
bool fm_probe_has(const struct fm_probe_key *key, const cJSON *record);

enum fm_probe_state {
    FM_PROBE_ABSENT,            /* never started */
    FM_PROBE_SUSPECT,           /* started, and the process died: its fault, perhaps; to be tried once more */
    FM_PROBE_CONDEMNED,         /* tried twice, died twice: its outcome is crash */
    FM_PROBE_DONE
};

struct fm_probe_found {
    enum fm_probe_state state;
    const cJSON *train, *val;   /* rows of the last try, NULL if there is none */
    uint32_t tries;             /* starts */
};

/* Done: there is a row whose outcome is not ok, or one for each phase that the key has. */
struct fm_probe_found fm_resume_find(const struct fm_records *records, const struct fm_probe_key *key);

/* Are these the same tool and devices? Compares the records `run` or `resume` of then and now: tool, and of each device
 * name, isa, library, driver, threads. MISMATCH: names the first difference. Unknown on both sides is the same. */
fm_status fm_resume_check(const cJSON *then, const cJSON *now, struct fm_err *err) FM_MUST_USE;
/* the journal's `run` record; INVALID if it does not begin with one */
fm_status fm_resume_run(const struct fm_records *records, const cJSON **run, struct fm_err *err) FM_MUST_USE;

#endif
