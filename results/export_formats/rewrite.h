/* Replacing a file's content as a whole: a reader sees the old or the new, whatever happens. Every system call here is a
 * fault point (tuner/base/memory.h). */
#ifndef FM_RESULTS_EXPORT_FORMATS_REWRITE_H
#define FM_RESULTS_EXPORT_FORMATS_REWRITE_H

#include <sys/types.h>
#include <time.h>

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

/* which state of the file was read */
struct fm_file_state {
    dev_t device;
    ino_t inode;
    off_t bytes;
    mode_t mode;
    struct timespec changed;
};

/* The whole of a regular file. IO; INVALID: not a regular file, or more than the buffer takes; NOMEM */
fm_status fm_file_take(const char *path, struct fm_buf *out, struct fm_file_state *state, struct fm_err *err) FM_MUST_USE;
/* A temporary file beside it with the same mode, fsync, rename, fsync of the folder. A link is followed: what it points to
 * is replaced. MISMATCH: the file is no longer as it was taken; IO */
fm_status fm_file_rewrite(const char *path, const struct fm_file_state *state, const struct fm_buf *text, struct fm_err *err) FM_MUST_USE;

#endif
