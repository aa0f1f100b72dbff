/* What devices answered about workspaces, and which largest batches were planned with that, kept on disk: one file a device
 * fingerprint, one line an answer.
 *
 * A line is a checksum, a key, and a problem's candidates (or why it is unsupported), or a search's answer. The file is read whole when it is
 * opened; a line is only read when its problem comes up, so that what other networks left costs next to nothing. A torn or
 * damaged line is skipped: it is asked again. Several processes may append to one file; each line is one write. */
#ifndef FM_TUNER_CAMPAIGN_CACHE_H
#define FM_TUNER_CAMPAIGN_CACHE_H

#include "tuner/search/plan_max.h"
#include "workloads/program/candidates.h"

#define FM_CACHE_MAX_BYTES ((size_t)1 << 30)        /* of a larger file the rest is not read */

struct fm_cache_line {
    uint64_t key;
    uint32_t at, bytes;         /* in the text, without its newline */
};

/* Owns its arrays. Once open, any thread may search it, while one appends. */
struct fm_cache {
    char path[512];             /* "" : not kept */
    int fd;                     /* -1 until something is appended */
    char *text;                 /* the file as it was when it was opened */
    struct fm_cache_line *line;
    uint32_t *slot;             /* open addressing: index of a line + 1, 0 empty; lines of one key in their order */
    size_t bytes, lines, slots;
};

/* $FILLMARK_CACHE_DIR, else $XDG_CACHE_HOME/fillmark, else ~/.cache/fillmark; the fingerprint names the file. A folder that
 * cannot be made or written is no error: nothing is kept then, and one warning of the process says so. NOMEM: close it all the same. */
fm_status fm_cache_open(struct fm_cache *cache, uint64_t fingerprint, struct fm_err *err) FM_MUST_USE;
/* what the file said of the problem when it was opened; false: nothing that can be believed */
bool fm_cache_find(const struct fm_cache *cache, uint64_t key, struct fm_workspace_entry *out);
void fm_cache_append(struct fm_cache *cache, const struct fm_workspace_entry *entry);

/* what a search ended with */
struct fm_cache_max {
    uint64_t key;               /* of the question: everything it depends on beside the fingerprint */
    uint64_t program;           /* hash of the step program at the answer; 0 where batch 1 does not fit */
    struct fm_plan_max_answer answer;       /* evaluations are not kept */
};
bool fm_cache_find_max(const struct fm_cache *cache, uint64_t key, struct fm_cache_max *out);
void fm_cache_append_max(struct fm_cache *cache, const struct fm_cache_max *max);
void fm_cache_close(struct fm_cache *cache);

#endif
