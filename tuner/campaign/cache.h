/* What devices answered about workspaces, kept on disk: one file a device fingerprint, one line an answer.
 *
 * A line is a checksum, the problem's key, and the candidates (or why it is unsupported). A torn or damaged line is
 * skipped: it is asked again. Several processes may append to one file; each line is one write. */
#ifndef FM_TUNER_CAMPAIGN_CACHE_H
#define FM_TUNER_CAMPAIGN_CACHE_H

#include "workloads/program/candidates.h"

struct fm_cache {
    char path[512];             /* "" : not kept */
    int fd;                     /* -1 until something is appended */
};

/* $FILLMARK_CACHE_DIR, else $XDG_CACHE_HOME/fillmark, else ~/.cache/fillmark; the fingerprint names the file. Reads what is
 * there into `table`. A folder that cannot be made is no error: nothing is kept then. */
fm_status fm_cache_open(struct fm_cache *cache, uint64_t fingerprint, struct fm_workspaces *table, struct fm_err *err) FM_MUST_USE;
void fm_cache_append(struct fm_cache *cache, const struct fm_workspace_entry *entry);
void fm_cache_close(struct fm_cache *cache);

#endif
