#include "tuner/campaign/cache.h"

#include "tuner/base/buf.h"
#include "tuner/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 1024

/* makes the folder and its parents; false if it cannot be */
static bool make_folder(const char *path)
{
    char part[512];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return false;
        *slash = '/';
    }
    return mkdir(part, 0777) == 0 || errno == EEXIST;
}

static bool folder_of(char *folder, size_t bytes)
{
    const char *own = getenv("FILLMARK_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = own && *own   ? snprintf(folder, bytes, "%s", own)
            : xdg && *xdg ? snprintf(folder, bytes, "%s/fillmark", xdg)
            : home        ? snprintf(folder, bytes, "%s/.cache/fillmark", home)
                          : -1;
    return n > 0 && (size_t)n < bytes;
}

/* a device's text: what would end the field or the line becomes a blank */
static void write_text(const char *text, struct fm_buf *out)
{
    for (; *text; text++) fm_buf_putc(out, (unsigned char)*text < ' ' ? ' ' : *text);
}

/* key u reason | key w kept n bytes what bytes what ... (tab between) */
static void write_entry(const struct fm_workspace_entry *entry, struct fm_buf *out)
{
    fm_buf_printf(out, "%016" PRIx64, entry->key);
    if (entry->unsupported) {
        fm_buf_puts(out, "\tu\t");
        write_text(entry->reason, out);
        return;
    }
    fm_buf_printf(out, "\tw\t%" PRId64 "\t%u", entry->candidates.kept_bytes, entry->candidates.count);
    for (uint32_t i = 0; i < entry->candidates.count; i++) {
        fm_buf_printf(out, "\t%" PRId64 "\t", entry->candidates.item[i].workspace_bytes);
        write_text(entry->candidates.item[i].what, out);
    }
}

/* the field up to the next tab, which is cut off; NULL when there is none left */
static char *field(char **at)
{
    char *start = *at;
    if (!start) return NULL;
    char *tab = strchr(start, '\t');
    if (tab) *tab++ = '\0';
    *at = tab;
    return start;
}

/* a whole number from 0 to most, and nothing else */
static bool read_count(const char *text, int64_t most, int64_t *out)
{
    char *end = NULL;
    if (!text || text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return !errno && !*end && *out <= most;
}

static bool read_key(const char *text, uint64_t *out)
{
    if (!text || strlen(text) != 16 || text[strspn(text, "0123456789abcdef")]) return false;
    *out = strtoull(text, NULL, 16);
    return true;
}

/* strict: a line whose checksum is right may still be another version's */
static bool read_entry(char *line, struct fm_workspace_entry *out)
{
    char *at = line, *sum = field(&at), *rest = at;
    char want[FM_HASH_TEXT_BYTES];
    int64_t count;
    if (!rest) return false;
    fm_hash_print(fm_hash_add(FM_HASH_INIT, rest, strlen(rest)), want);
    if (strcmp(sum, want) != 0) return false;
    *out = (struct fm_workspace_entry){ 0 };
    char *key = field(&at), *kind = field(&at), *value = field(&at);
    if (!read_key(key, &out->key) || !kind || !value) return false;
    out->unsupported = strcmp(kind, "u") == 0;
    if (out->unsupported) {
        (void)snprintf(out->reason, sizeof out->reason, "%s", value);
        return !at;
    }
    if (strcmp(kind, "w") != 0 || !read_count(value, INT64_MAX, &out->candidates.kept_bytes)) return false;
    if (!read_count(field(&at), FM_MAX_CANDIDATES, &count)) return false;
    out->candidates.count = (uint32_t)count;
    for (uint32_t i = 0; i < out->candidates.count; i++) {
        char *bytes = field(&at), *what = field(&at);
        if (!what || !read_count(bytes, INT64_MAX, &out->candidates.item[i].workspace_bytes)) return false;
        (void)snprintf(out->candidates.item[i].what, sizeof out->candidates.item[i].what, "%s", what);
    }
    return !at;
}

static fm_status read_file(const char *path, struct fm_workspaces *table, struct fm_err *err)
{
    FILE *file = fopen(path, "re");
    char line[LINE_BYTES];
    fm_status status = FM_OK;
    if (!file) return FM_OK;
    while (status == FM_OK && fgets(line, sizeof line, file)) {
        char *end = strchr(line, '\n');
        struct fm_workspace_entry entry;
        if (!end) continue;
        *end = '\0';
        if (read_entry(line, &entry)) status = fm_workspaces_add(table, &entry, err);
    }
    (void)fclose(file);
    return status;
}

fm_status fm_cache_open(struct fm_cache *cache, uint64_t fingerprint, struct fm_workspaces *table, struct fm_err *err)
{
    char folder[400];
    *cache = (struct fm_cache){ .fd = -1 };
    if (!folder_of(folder, sizeof folder) || !make_folder(folder)) return FM_OK;
    (void)snprintf(cache->path, sizeof cache->path, "%s/workspaces-%016" PRIx64 ".tsv", folder, fingerprint);
    return read_file(cache->path, table, err);
}

/* opened when first needed; a torn line that someone left at the end is ended, so that what follows is not lost with it */
static bool ready(struct fm_cache *cache)
{
    if (cache->fd >= 0) return true;
    if (!cache->path[0]) return false;
    cache->fd = open(cache->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    char last = '\n';
    off_t bytes = cache->fd < 0 ? 0 : lseek(cache->fd, 0, SEEK_END);
    bool good = cache->fd >= 0;
    if (good && bytes > 0 && pread(cache->fd, &last, 1, bytes - 1) == 1 && last != '\n') good = write(cache->fd, "\n", 1) == 1;
    if (!good) cache->path[0] = '\0';
    return good;
}

void fm_cache_append(struct fm_cache *cache, const struct fm_workspace_entry *entry)
{
    if (!cache->path[0] || !ready(cache)) return;
    struct fm_buf body = FM_BUF(LINE_BYTES), line = FM_BUF(LINE_BYTES);
    char sum[FM_HASH_TEXT_BYTES];
    write_entry(entry, &body);
    fm_hash_print(fm_hash_add(FM_HASH_INIT, fm_buf_text(&body), body.bytes), sum);
    fm_buf_printf(&line, "%s\t%s\n", sum, fm_buf_text(&body));
    /* a disk that is full: nothing more is kept */
    if (fm_buf_ok(&body) && fm_buf_ok(&line) && write(cache->fd, fm_buf_text(&line), line.bytes) != (ssize_t)line.bytes)
        cache->path[0] = '\0';
    fm_buf_release(&body);
    fm_buf_release(&line);
}

void fm_cache_close(struct fm_cache *cache)
{
    if (cache->fd >= 0) (void)close(cache->fd);
    *cache = (struct fm_cache){ .fd = -1 };
}
