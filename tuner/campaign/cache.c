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

/* key u reason | key c n bytes what bytes what ... (tab between) */
static void write_entry(const struct fm_workspace_entry *entry, struct fm_buf *out)
{
    fm_buf_printf(out, "%016" PRIx64, entry->key);
    if (entry->unsupported) {
        fm_buf_printf(out, "\tu\t%s", entry->reason);
        return;
    }
    fm_buf_printf(out, "\tc\t%u", entry->candidates.count);
    for (uint32_t i = 0; i < entry->candidates.count; i++)
        fm_buf_printf(out, "\t%" PRId64 "\t%s", entry->candidates.item[i].workspace_bytes, entry->candidates.item[i].what);
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

static bool read_entry(char *line, struct fm_workspace_entry *out)
{
    char *at = line, *sum = field(&at), *rest = at;
    char want[FM_HASH_TEXT_BYTES];
    if (!rest) return false;
    fm_hash_print(fm_hash_add(FM_HASH_INIT, rest, strlen(rest)), want);
    if (strcmp(sum, want) != 0) return false;
    *out = (struct fm_workspace_entry){ 0 };
    char *key = field(&at), *kind = field(&at), *value = field(&at);
    if (!key || !kind || !value) return false;
    out->key = strtoull(key, NULL, 16);
    out->unsupported = kind[0] == 'u';
    if (out->unsupported) {
        (void)snprintf(out->reason, sizeof out->reason, "%s", value);
        return true;
    }
    out->candidates.count = (uint32_t)strtoul(value, NULL, 10);
    if (out->candidates.count > FM_MAX_CANDIDATES) return false;
    for (uint32_t i = 0; i < out->candidates.count; i++) {
        char *bytes = field(&at), *what = field(&at);
        if (!bytes || !what) return false;
        out->candidates.item[i].workspace_bytes = strtoll(bytes, NULL, 10);
        (void)snprintf(out->candidates.item[i].what, sizeof out->candidates.item[i].what, "%s", what);
    }
    return true;
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

void fm_cache_append(struct fm_cache *cache, const struct fm_workspace_entry *entry)
{
    if (!cache->path[0]) return;
    if (cache->fd < 0) cache->fd = open(cache->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (cache->fd < 0) {
        cache->path[0] = '\0';
        return;
    }
    struct fm_buf body = FM_BUF(LINE_BYTES), line = FM_BUF(LINE_BYTES);
    char sum[FM_HASH_TEXT_BYTES];
    write_entry(entry, &body);
    fm_hash_print(fm_hash_add(FM_HASH_INIT, fm_buf_text(&body), body.bytes), sum);
    fm_buf_printf(&line, "%s\t%s\n", sum, fm_buf_text(&body));
    if (fm_buf_ok(&body) && fm_buf_ok(&line) && write(cache->fd, fm_buf_text(&line), line.bytes) < 0) cache->path[0] = '\0';
    fm_buf_release(&body);
    fm_buf_release(&line);
}

void fm_cache_close(struct fm_cache *cache)
{
    if (cache->fd >= 0) (void)close(cache->fd);
    *cache = (struct fm_cache){ .fd = -1 };
}
