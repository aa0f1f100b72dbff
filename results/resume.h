/* Probes in a journal, and whether a run may go on from it.
 *
 * A probe is one start record; its rows, which come after it, have the same cell, device (if named), batch, val_batch, role
 * and launch. Pure; everything is borrowed from the records. */
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

/* Are these the same tool and devices? Compares the records `run` or `resume` of then and now: tool, and of each device
 * name, isa, library, driver, threads, capacity_bytes, and of one that is not the host uuid and total_bytes where they were
 * recorded (older journals have no uuid); the seed. What the host has in all may change from boot to boot: its limit
 * counts. MISMATCH: names the first difference. Unknown on both sides is the same. */
fm_status fm_resume_check(const cJSON *then, const cJSON *now, struct fm_err *err) FM_MUST_USE;
/* the limit that the recorded run had on that device; `otherwise` if it does not say */
int64_t fm_resume_capacity(const cJSON *run, const char *device, int64_t otherwise);
/* the journal's `run` record; INVALID if it does not begin with one */
fm_status fm_resume_run(const struct fm_records *records, const cJSON **run, struct fm_err *err) FM_MUST_USE;

#endif
