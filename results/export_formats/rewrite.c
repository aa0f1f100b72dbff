#include "results/export_formats/rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "results/files.h"
#include "tuner/base/memory.h"

static bool fault(int code)
{
    if (!fm_fault_here()) return false;
    errno = code;
    return true;
}

static fm_status fail(struct fm_err *err, const char *path, const char *what)
{
    return FM_FAIL(err, FM_IO, "%s: %s: %s", path, what, strerror(errno));
}

static struct fm_file_state state_of(const struct stat *about)
{
    return (struct fm_file_state){ about->st_dev, about->st_ino, about->st_size, about->st_mode, about->st_mtim };
}

fm_status fm_file_take(const char *path, struct fm_buf *out, struct fm_file_state *state, struct fm_err *err)
{
    struct stat about;
    int fd = fault(EACCES) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail(err, path, "cannot be opened");
    fm_status status = FM_OK;
    if (fault(EIO) || fstat(fd, &about) != 0) status = fail(err, path, "stat");
    else if (!S_ISREG(about.st_mode)) status = FM_FAIL(err, FM_INVALID, "%s: not a file", path);
    else {
        *state = state_of(&about);
        status = fm_file_read_all(fd, path, out, err);
    }
    (void)close(fd);
    return status;
}

static bool is_as_taken(const char *path, const struct fm_file_state *then)
{
    struct stat about;
    if (stat(path, &about) != 0) return false;
    struct fm_file_state now = state_of(&about);
    return now.device == then->device && now.inode == then->inode && now.bytes == then->bytes &&
           now.changed.tv_sec == then->changed.tv_sec && now.changed.tv_nsec == then->changed.tv_nsec;
}

/* the temporary file, whole and on the disk */
static fm_status write_beside(const char *beside, mode_t mode, const struct fm_buf *text, struct fm_err *err)
{
    fm_status status = FM_OK;
    int fd = fault(EACCES) ? -1 : open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return fail(err, beside, "cannot be made");
    if (fault(EPERM) || fchmod(fd, mode & 07777) != 0) status = fail(err, beside, "chmod");
    else if (!fm_file_write(fd, fm_buf_text(text), text->bytes)) status = fail(err, beside, "write");
    else if (!fm_file_sync(fd)) status = fail(err, beside, "fsync");
    if (close(fd) != 0 && status == FM_OK) status = fail(err, beside, "close");
    if (status != FM_OK) (void)unlink(beside);
    return status;
}

fm_status fm_file_rewrite(const char *path, const struct fm_file_state *state, const struct fm_buf *text, struct fm_err *err)
{
    char real[PATH_MAX], beside[PATH_MAX + 40], folder[PATH_MAX];
    if (fault(EACCES) || !realpath(path, real)) return fail(err, path, "cannot be found");
    const char *name = strrchr(real, '/') + 1;
    (void)snprintf(folder, sizeof folder, "%.*s", name - real > 1 ? (int)(name - real - 1) : 1, real);
    (void)snprintf(beside, sizeof beside, "%.*s.fillmark.%ld", (int)(name - real), real, (long)getpid());
    fm_status status = write_beside(beside, state->mode, text, err);
    if (status != FM_OK) return status;
    if (!is_as_taken(real, state)) status = FM_FAIL(err, FM_MISMATCH, "%s: was changed meanwhile; nothing was written", path);
    else if (fault(EIO) || rename(beside, real) != 0) status = fail(err, path, "rename");
    if (status != FM_OK) {
        (void)unlink(beside);
        return status;
    }
    return fm_folder_sync(folder, err);
}
