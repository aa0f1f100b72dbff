/* Files that are there whole or not at all. Every system call here is a fault point (tuner/base/memory.h). */
#ifndef FM_RESULTS_FILES_H
#define FM_RESULTS_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#define FM_PATH_BYTES 1024

/* folder/name; INVALID if it is too long */
fm_status fm_path_join(char path[FM_PATH_BYTES], const char *folder, const char *name, struct fm_err *err) FM_MUST_USE;
/* the folder and its parents, where they are missing, and the entries made are on the disk. IO */
fm_status fm_folder_make(const char *folder, struct fm_err *err) FM_MUST_USE;
/* what the folder lists is on the disk. IO */
fm_status fm_folder_sync(const char *folder, struct fm_err *err) FM_MUST_USE;
/* fd's bytes from the start, at most as many as the buffer takes. IO, NOMEM; INVALID: more than the buffer takes */
fm_status fm_file_read_all(int fd, const char *path, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
/* Writes folder/name through a temporary file beside it, fsync and rename: a reader sees the old or the new. IO */
fm_status fm_file_replace(const char *folder, const char *name, const struct fm_buf *text, struct fm_err *err) FM_MUST_USE;
/* write(2) of all bytes; false with errno. A fault leaves half of them, as a full disk may. */
bool fm_file_write(int fd, const char *data, size_t bytes);
/* fsync(2); false with errno */
bool fm_file_sync(int fd);

#endif
