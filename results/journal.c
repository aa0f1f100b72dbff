#include "results/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probes/protocol/json.h"
#include "results/files.h"
#include "results/json.h"
#include "tuner/base/buf.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"

#define DIGITS (FM_HASH_TEXT_BYTES - 1)

struct fm_journal {
    pthread_mutex_t lock;
    int fd;
    off_t bytes;                /* of whole lines */
    uint64_t hash;              /* of the last one */
    bool broken;                /* what the file holds after them is not sure */
    char path[FM_PATH_BYTES];
};

/* ---- records ---- */

void fm_records_release(struct fm_records *records)
{
    for (size_t i = 0; i < records->count; i++) cJSON_Delete(records->item[i]);
    fm_free(records->item);
    *records = (struct fm_records){ 0 };
}

fm_status fm_records_add(struct fm_records *records, cJSON *record, struct fm_err *err)
{
    cJSON **item = record ? fm_grow(records->item, &records->capacity, records->count + 1, sizeof *item) : NULL;
    if (!item) {
        cJSON_Delete(record);
        return FM_FAIL(err, FM_NOMEM, "no memory for record %zu", records->count + 1);
    }
    records->item = item;
    item[records->count++] = record;
    return FM_OK;
}

const char *fm_record_kind(const cJSON *record)
{
    const char *kind = fm_json_text(record, "kind");
    return kind ? kind : "";
}

static fm_status check_record(const cJSON *record, struct fm_err *err)
{
    int64_t version;
    if (!cJSON_IsObject(record) || !*fm_record_kind(record) || !fm_json_i64(record, "v", &version))
        return FM_FAIL(err, FM_INVALID, "a record is an object with a kind and a version");
    if (version != FM_JOURNAL_VERSION)
        return FM_FAIL(err, FM_INVALID, "a '%s' record of version %lld; this fillmark reads version %d", fm_record_kind(record),
                       (long long)version, FM_JOURNAL_VERSION);
    return FM_OK;
}

/* an object, or an array of at least one */
static fm_status check_line(const cJSON *line, struct fm_err *err)
{
    fm_status status = FM_OK;
    if (!cJSON_IsArray(line)) return check_record(line, err);
    if (!line->child) return FM_FAIL(err, FM_INVALID, "a line without a record");
    for (const cJSON *item = line->child; item; item = item->next) FM_TRY(check_record(item, err));
out:
    return status;
}

/* takes the line */
static fm_status keep_line(struct fm_records *records, cJSON *line, struct fm_err *err)
{
    fm_status status = FM_OK;
    if (!cJSON_IsArray(line)) return fm_records_add(records, line, err);
    while (line->child && status == FM_OK)
        status = fm_records_add(records, cJSON_DetachItemViaPointer(line, line->child), err);
    cJSON_Delete(line);
    return status;
}

/* ---- lines ---- */

static bool is_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* could data[bytes] be the beginning of a line? What a crash leaves may also be nothing but zeros. */
static bool begins_line(const char *data, size_t bytes)
{
    bool zeros = true;
    for (size_t i = 0; i < bytes && zeros; i++) zeros = data[i] == '\0';
    if (zeros) return true;
    for (size_t i = 0; i < bytes && i < DIGITS; i++)
        if (!is_digit(data[i])) return false;
    if (bytes > DIGITS && data[DIGITS] != ' ') return false;
    return bytes <= DIGITS + 1 || data[DIGITS + 1] == '{' || data[DIGITS + 1] == '[';
}

/* data[bytes]: without the newline */
static fm_status read_line(const char *data, size_t bytes, uint64_t *hash, struct fm_records *records, struct fm_err *err)
{
    char want[FM_HASH_TEXT_BYTES];
    if (bytes <= DIGITS + 1 || !begins_line(data, bytes) || data[0] == '\0')
        return FM_FAIL(err, FM_INVALID, "not a journal's line");
    const char *json = data + DIGITS + 1;
    size_t json_bytes = bytes - DIGITS - 1;
    uint64_t next = fm_hash_add(*hash, json, json_bytes);
    fm_hash_print(next, want);
    if (memcmp(want, data, DIGITS) != 0)
        return FM_FAIL(err, FM_INVALID, "its checksum says that it was changed, or that a line before it is missing");
    cJSON *line = NULL;
    struct fm_err cause = { 0 };
    fm_status status = fm_json_parse(json, json_bytes, &line, &cause);
    if (status != FM_OK) return FM_FAIL(err, status == FM_NOMEM ? status : FM_INVALID, "%s", cause.text);
    status = check_line(line, err);
    if (status != FM_OK || !records) {
        cJSON_Delete(line);
    } else {
        size_t before = records->count;
        status = keep_line(records, line, err);
        while (status != FM_OK && records->count > before) cJSON_Delete(records->item[--records->count]);
    }
    if (status == FM_OK) *hash = next;
    return status;
}

fm_status fm_journal_scan(const char *data, size_t bytes, struct fm_records *records, struct fm_journal_extent *extent,
                          struct fm_err *err)
{
    *extent = (struct fm_journal_extent){ .hash = FM_HASH_INIT };
    while (extent->valid_bytes < bytes) {
        const char *line = data + extent->valid_bytes;
        size_t left = bytes - extent->valid_bytes;
        const char *end = memchr(line, '\n', left);
        struct fm_err cause = { 0 };
        if (!end && begins_line(line, left)) {
            extent->torn = true;
            return FM_OK;
        }
        fm_status status = end ? read_line(line, (size_t)(end - line), &extent->hash, records, &cause)
                               : FM_FAIL(&cause, FM_INVALID, "not a journal's line");
        if (status == FM_NOMEM) return FM_FAIL(err, status, "line %zu: %s", extent->lines + 1, cause.text);
        if (status != FM_OK && !extent->lines)
            return FM_FAIL(err, status, "line 1: %s; nothing of it is whole: start anew in another folder", cause.text);
        if (status != FM_OK)
            return FM_FAIL(err, status, "line %zu: %s; to go on from the %zu lines before it, keep only those "
                           "(head -n %zu), or start anew in another folder", extent->lines + 1, cause.text, extent->lines,
                           extent->lines);
        extent->lines++;
        extent->valid_bytes += (size_t)(end - line) + 1;
    }
    return FM_OK;
}

/* ---- files ---- */

static fm_status scan_file(int fd, const char *path, struct fm_records *records, struct fm_journal_extent *extent,
                           struct fm_err *err)
{
    struct fm_buf data = FM_BUF(FM_JOURNAL_MAX_BYTES);
    struct fm_err cause = { 0 };
    fm_status status = fm_file_read_all(fd, path, &data, err);
    if (status == FM_OK) {
        status = fm_journal_scan(fm_buf_text(&data), data.bytes, records, extent, &cause);
        if (status != FM_OK) status = FM_FAIL(err, status, "%s: %s", path, cause.text);
    }
    fm_buf_release(&data);
    return status;
}

fm_status fm_journal_read(const char *folder, struct fm_records *records, bool *torn, struct fm_err *err)
{
    char path[FM_PATH_BYTES];
    struct fm_journal_extent extent = { 0 };
    fm_status status = fm_path_join(path, folder, FM_JOURNAL_FILE, err);
    if (status != FM_OK) return status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FM_FAIL(err, FM_IO, "%s: %s; results are in the folder that fillmark run --out names", path, strerror(errno));
    status = scan_file(fd, path, records, &extent, err);
    (void)close(fd);
    if (torn) *torn = extent.torn;
    return status;
}

/* the file, locked for this process */
static fm_status open_locked(struct fm_journal *j, const char *folder, bool resume, struct fm_err *err)
{
    int flags = O_RDWR | O_APPEND | O_CLOEXEC | (resume ? 0 : O_CREAT);
    if (fm_fault_here()) errno = EMFILE;
    else j->fd = open(j->path, flags, 0666);
    if (j->fd < 0) {
        bool missing = resume && errno == ENOENT;
        return FM_FAIL(err, FM_IO, "%s: %s%s", j->path, strerror(errno), missing ? "; nothing to resume there" : "");
    }
    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return FM_FAIL(err, FM_IO, "%s: flock: %s", j->path, strerror(errno));
        return FM_FAIL(err, FM_MISMATCH, "%s: another fillmark is writing it; wait for it, or choose another --out", j->path);
    }
    return resume ? FM_OK : fm_folder_sync(folder, err);
}

/* what follows the whole lines goes */
static bool cut(struct fm_journal *j)
{
    if (fm_fault_here()) {
        errno = EIO;
        return false;
    }
    return ftruncate(j->fd, j->bytes) == 0 && fm_file_sync(j->fd);
}

fm_status fm_journal_open(struct fm_journal **out, const char *folder, bool resume, struct fm_records *records,
                          struct fm_err *err)
{
    fm_status status = FM_OK;
    struct fm_journal_extent extent = { 0 };
    *out = NULL;
    struct fm_journal *j = fm_calloc(1, sizeof *j);
    if (!j) return FM_FAIL(err, FM_NOMEM, "no memory to open a journal");
    j->fd = -1;
    (void)pthread_mutex_init(&j->lock, NULL);
    if (!resume) FM_TRY(fm_folder_make(folder, err));
    FM_TRY(fm_path_join(j->path, folder, FM_JOURNAL_FILE, err));
    FM_TRY(open_locked(j, folder, resume, err));
    FM_TRY(scan_file(j->fd, j->path, resume ? records : NULL, &extent, err));
    if (!resume && extent.lines) {
        status = FM_FAIL(err, FM_INVALID, "%s: holds a run already; --resume goes on with it, another --out leaves it alone",
                         j->path);
        goto out;
    }
    j->bytes = (off_t)extent.valid_bytes;
    j->hash = extent.hash;
    if (extent.torn && !cut(j)) status = FM_FAIL(err, FM_IO, "%s: cutting off its torn end: %s", j->path, strerror(errno));
out:
    if (status != FM_OK) fm_journal_close(j);
    else *out = j;
    return status;
}

void fm_journal_close(struct fm_journal *journal)
{
    if (!journal) return;
    if (journal->fd >= 0) (void)close(journal->fd);
    (void)pthread_mutex_destroy(&journal->lock);
    fm_free(journal);
}

/* texts come from workers and systems: what is not UTF-8 would make a line that cannot be read again */
static void mend_utf8(char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        size_t n = fm_utf8_length(text + i, bytes - i);
        if (n == 0) text[i++] = '?';
        else i += n;
    }
}

/* under the lock; line: 17 bytes of room, the JSON, a newline */
static fm_status append_line(struct fm_journal *j, struct fm_buf *line, struct fm_err *err)
{
    char digits[FM_HASH_TEXT_BYTES];
    if (j->broken) return FM_FAIL(err, FM_IO, "%s: an earlier failure left its end unsure; resume to go on", j->path);
    uint64_t hash = fm_hash_add(j->hash, line->data + DIGITS + 1, line->bytes - DIGITS - 2);
    fm_hash_print(hash, digits);
    memcpy(line->data, digits, DIGITS);
    bool written = fm_file_write(j->fd, line->data, line->bytes);
    if (written && fm_file_sync(j->fd)) {
        j->bytes += (off_t)line->bytes;
        j->hash = hash;
        return FM_OK;
    }
    fm_status status = FM_FAIL(err, FM_IO, "%s: %s: %s", j->path, written ? "fsync" : "write", strerror(errno));
    j->broken = !cut(j);
    return status;
}

fm_status fm_journal_append(struct fm_journal *journal, const cJSON *record, struct fm_err *err)
{
    struct fm_buf line = FM_BUF(FM_JOURNAL_LINE_MAX_BYTES);
    fm_status status = FM_OK;
    FM_TRY(check_line(record, err));
    fm_buf_printf(&line, "%*s", DIGITS + 1, "");
    FM_TRY(fm_json_print(record, &line, err));
    mend_utf8(line.data, line.bytes);
    fm_buf_putc(&line, '\n');
    if (!fm_buf_ok(&line)) {
        status = FM_FAIL(err, FM_NOMEM, "%s: a line of more than %zu bytes, or no memory", journal->path, line.max_bytes);
        goto out;
    }
    (void)pthread_mutex_lock(&journal->lock);
    status = append_line(journal, &line, err);
    (void)pthread_mutex_unlock(&journal->lock);
out:
    fm_buf_release(&line);
    return status;
}
