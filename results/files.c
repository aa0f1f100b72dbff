#include "results/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

fm_status fm_path_join(char path[FM_PATH_BYTES], const char *folder, const char *name, struct fm_err *err)
{
    int n = snprintf(path, FM_PATH_BYTES, "%s/%s", folder, name);
    if (n < 0 || n >= FM_PATH_BYTES)
        return FM_FAIL(err, FM_INVALID, "%.80s...: the path is longer than %d bytes", folder, FM_PATH_BYTES - 1);
    return FM_OK;
}

bool fm_file_write(int fd, const char *data, size_t bytes)
{
    size_t done = 0;
    bool cut = fm_fault_here();
    size_t want = cut ? bytes / 2 : bytes;
    while (done < want) {
        ssize_t n = write(fd, data + done, want - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        done += (size_t)n;
    }
    errno = cut ? ENOSPC : 0;
    return !cut;
}

bool fm_file_sync(int fd)
{
    return !fault(EIO) && fsync(fd) == 0;
}

fm_status fm_folder_sync(const char *folder, struct fm_err *err)
{
    int fd = fault(EMFILE) ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(err, folder, "open");
    /* a file system that has no such thing as syncing a folder says EINVAL */
    bool good = fm_file_sync(fd) || errno == EINVAL;
    int code = errno;
    (void)close(fd);
    errno = code;
    return good ? FM_OK : fail(err, folder, "fsync");
}

/* mkdir of one level, and its parent's entry is on the disk */
static fm_status make_level(char *path, struct fm_err *err)
{
    if (!fault(EACCES) && mkdir(path, 0777) == 0) {
        char *slash = strrchr(path, '/');
        if (!slash) return fm_folder_sync(".", err);
        if (slash == path) return fm_folder_sync("/", err);
        *slash = '\0';
        fm_status status = fm_folder_sync(path, err);
        *slash = '/';
        return status;
    }
    struct stat about;
    if (errno == EEXIST && stat(path, &about) == 0) {
        if (S_ISDIR(about.st_mode)) return FM_OK;
        errno = ENOTDIR;
    }
    return fail(err, path, "cannot be made a folder");
}

fm_status fm_folder_make(const char *folder, struct fm_err *err)
{
    char path[FM_PATH_BYTES];
    size_t bytes = strlen(folder);
    if (!bytes || bytes >= sizeof path)
        return FM_FAIL(err, FM_INVALID, "'%.80s': a folder's path has 1 to %d bytes", folder, FM_PATH_BYTES - 1);
    memcpy(path, folder, bytes + 1);
    while (bytes > 1 && path[bytes - 1] == '/') path[--bytes] = '\0';
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        fm_status status = make_level(path, err);
        *slash = '/';
        if (status != FM_OK) return status;
    }
    return make_level(path, err);
}

fm_status fm_file_read_all(int fd, const char *path, struct fm_buf *out, struct fm_err *err)
{
    char part[1 << 14];
    off_t at = 0;
    for (;;) {
        ssize_t n = fault(EIO) ? -1 : pread(fd, part, sizeof part, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(err, path, "read");
        if (n == 0) return FM_OK;
        at += n;
        fm_buf_add(out, part, (size_t)n);
        if (fm_buf_ok(out)) continue;
        if ((size_t)at > out->max_bytes)
            return FM_FAIL(err, FM_INVALID, "%s: has more than %zu bytes", path, out->max_bytes);
        return FM_FAIL(err, FM_NOMEM, "%s: no memory for its %lld bytes", path, (long long)at);
    }
}

fm_status fm_file_replace(const char *folder, const char *name, const struct fm_buf *text, struct fm_err *err)
{
    char path[FM_PATH_BYTES], beside[FM_PATH_BYTES], hidden[128];
    fm_status status = FM_OK;
    (void)snprintf(hidden, sizeof hidden, ".%s.%ld", name, (long)getpid());
    FM_TRY(fm_path_join(path, folder, name, err));
    FM_TRY(fm_path_join(beside, folder, hidden, err));
    int fd = fault(EACCES) ? -1 : open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return fail(err, beside, "open");
    if (!fm_file_write(fd, fm_buf_text(text), text->bytes)) status = fail(err, beside, "write");
    else if (!fm_file_sync(fd)) status = fail(err, beside, "fsync");
    if (close(fd) != 0 && status == FM_OK) status = fail(err, beside, "close");
    if (status == FM_OK && (fault(EIO) || rename(beside, path) != 0)) status = fail(err, path, "rename");
    if (status != FM_OK) (void)unlink(beside);
    else status = fm_folder_sync(folder, err);
out:
    return status;
}
