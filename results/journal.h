/* The journal of a run: what happened, line by line, kept whatever happens next.
 *
 * One line:   <16 hexadecimal digits> <JSON><newline>
 * The JSON is one record (an object), or an array of records that belong together and are there all or none.
 * The digits are FNV-1a, 64 bits, of the JSON's bytes, begun with the digits' value of the line before (FM_HASH_INIT for
 * the first): a line that is changed, lost, doubled or out of its place is seen. No newline is within the JSON.
 *
 * Each line is one write(2), followed by fsync(2), before fm_journal_append() returns; so a run that is killed can at
 * most leave the last line torn. A torn tail is what comes after the last newline: it is not a record yet. It is left out
 * when read and cut off when the journal is opened again. Anything else that is wrong is an error that names the line.
 * One process at a time may write (flock); any may read meanwhile.
 *
 * Records, `kind` and `v` (FM_JOURNAL_VERSION) in each; unknown is absent; integers beyond 2^53, hashes and seeds are
 * strings; bytes are int64. A kind that is not known is kept and skipped.
 *   run      tool, started, host, devices[{id, name, isa, library, driver, uuid, threads, total_bytes,
 *            capacity_bytes}], config{}, seed
 *            the first record; `resume` is the same, where a run goes on
 *   cell     id, train_id, device, workload, set{}, strategies{}, model_id, changes_model[], parameters,
 *            flops_per_sample, capacity_bytes, reproduce
 *            cells that differ only in validation have one train_id
 *   start    cell, batch, val_batch, role "boundary"|"ladder"|"replicate", launch: this probe begins
 *   row      cell, batch, val_batch, phase "train"|"val", role, launch, outcome, reason, program, wall_ns,
 *            planned{fits, allocated_bytes, reserved_bytes, workspace_bytes, needed_bytes, breakdown{}},
 *            measured{allocated_bytes, reserved_bytes, workspace_bytes, breakdown{}, step_ns[], throttled[], steps,
 *            samples_per_s, ...} (absent if nothing was measured; throttled: indices into step_ns), at{op, wanted_bytes},
 *            untimed "why it was not timed", shared (others computed on the device while it was timed), others[{pid, name,
 *            bytes}]
 *            measured, where the device was looked at while steps were timed: looks, sm_clock_mhz{min, median},
 *            memory_clock_mhz{min, median}, power_w{median, max}, temperature_c{median, max}, throttle_reasons[],
 *            throttled_share (of the timed steps), state_unknown "why"
 *   verdict  cell, outcome, reason, max_batch{train, val}, certified, limited_by, non_monotone, mistrusted,
 *            probes{boundary, ladder, replicate}, search, planned_batch, raw_answer, raw_probes
 *   learn    cell, batch, outcome, loss_first, loss_last, steps, learned: the check that the network learns one batch
 *   skipped  cell, what ("boundary": all of it; "boundary not certified", "ladder at batch 1, 2", "replications of batch 8", ...),
 *            reason
 *   end      wall_ns, measured_ns, overhead_ns, interrupted
 * Where two devices run the same cell, records that name a cell also name its `device`.
 * A `start` without a row of its probe: the probe that ran when the process died (see resume.h). */
#ifndef FM_RESULTS_JOURNAL_H
#define FM_RESULTS_JOURNAL_H

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tuner/base/status.h"

#define FM_JOURNAL_VERSION 1
#define FM_JOURNAL_FILE "journal.jsonl"
#define FM_JOURNAL_LINE_MAX_BYTES ((size_t)16 << 20)
#define FM_JOURNAL_MAX_BYTES ((size_t)1 << 30)

struct fm_records {
    cJSON **item;               /* owned; each an object with "kind" and "v" */
    size_t count, capacity;
};

void fm_records_release(struct fm_records *records);
/* takes the record, in any case. NOMEM */
fm_status fm_records_add(struct fm_records *records, cJSON *record, struct fm_err *err) FM_MUST_USE;
/* the record's kind; "" if it is none */
const char *fm_record_kind(const cJSON *record);

struct fm_journal_extent {
    size_t valid_bytes;         /* of the longest whole prefix */
    size_t lines;
    uint64_t hash;              /* of the last line */
    bool torn;                  /* something follows that is not a whole line */
};

/* Adds the records of data[bytes] to *records (NULL: they are only checked). On failure *extent is the prefix before the
 * bad line. INVALID: damaged, or no journal, or of another version; naming the line. NOMEM */
fm_status fm_journal_scan(const char *data, size_t bytes, struct fm_records *records, struct fm_journal_extent *extent,
                          struct fm_err *err) FM_MUST_USE;
/* The journal in a folder, as it is now. IO: not there, not readable; INVALID, NOMEM */
fm_status fm_journal_read(const char *folder, struct fm_records *records, bool *torn, struct fm_err *err) FM_MUST_USE;

struct fm_journal;

/* Opens a folder's journal for writing.
 * resume false: makes the folder and its parents; INVALID if it holds a record already.
 * resume true: its records are added to *records, a torn tail is cut off. A journal without a record yet is fine, one that
 * is not there is IO. Else IO, INVALID (damaged), NOMEM; MISMATCH: another process writes it. */
fm_status fm_journal_open(struct fm_journal **out, const char *folder, bool resume, struct fm_records *records,
                          struct fm_err *err) FM_MUST_USE;
/* Returns when the line is on the disk. The record (an object, or an array of objects) stays the caller's. Any thread.
 * After a failure the journal is as before, or, if that is not sure, refuses every further record. IO, NOMEM; INVALID: no
 * record. */
fm_status fm_journal_append(struct fm_journal *journal, const cJSON *record, struct fm_err *err) FM_MUST_USE;
void fm_journal_close(struct fm_journal *journal);      /* NULL ok */

#endif
