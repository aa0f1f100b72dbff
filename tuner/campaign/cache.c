#include "tuner/campaign/cache.h"

#include "tuner/base/buf.h"
#include "tuner/base/hash.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/search/search.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define HEX_BYTES 16
#define KIND_AT (2 * (HEX_BYTES + 1))       /* after the checksum, the key and their tabs */

/* where a search for the key begins */
static size_t slot_of(const struct fm_cache *cache, uint64_t key)
{
    return (size_t)(key ^ (key >> 32)) & (cache->slots - 1);
}

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

/* Nothing is wrong with what is planned then, it only takes longer: said once. */
static void warn_once(const char *folder, int why)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&said)) return;
    fm_log(FM_LOG_WARN, "%s: %s; answers about workspaces are not kept. FILLMARK_CACHE_DIR names another folder", folder, strerror(why));
}

/* is it a folder that something can be kept in? */
static bool takes_files(const char *folder)
{
    struct stat file;
    if (!make_folder(folder) || stat(folder, &file) != 0) return false;
    if (!S_ISDIR(file.st_mode)) errno = ENOTDIR;
    return S_ISDIR(file.st_mode) && access(folder, W_OK | X_OK) == 0;
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

/* key m batch bytes limit non-monotone misfit program */
static void write_max(const struct fm_cache_max *max, struct fm_buf *out)
{
    const struct fm_plan_max_answer *a = &max->answer;
    fm_buf_printf(out, "%016" PRIx64 "\tm\t%" PRId64 "\t%" PRIu64 "\t%d\t%d\t%" PRId64 "\t%016" PRIx64, max->key, a->max_batch, a->bytes, a->at_limit,
                  a->non_monotone, a->misfit_below, max->program);
}

/* ---- reading: lines are found at once, and read when one is asked for ---- */

struct span { const char *at, *end; };

/* cuts the field up to the next tab off the front; false when there is none left (at NULL) */
static bool field(struct span *line, struct span *out)
{
    if (!line->at) return false;
    const char *tab = memchr(line->at, '\t', (size_t)(line->end - line->at));
    *out = (struct span){ line->at, tab ? tab : line->end };
    line->at = tab ? tab + 1 : NULL;
    return true;
}

/* a whole number from 0 to most, and nothing else */
static bool read_count(struct span text, int64_t most, int64_t *out)
{
    int64_t value = 0;
    if (text.at == text.end) return false;
    for (const char *c = text.at; c < text.end; c++) {
        if (*c < '0' || *c > '9' || value > (most - (*c - '0')) / 10) return false;
        value = value * 10 + (*c - '0');
    }
    *out = value;
    return true;
}

/* 16 hexadecimal digits, small ones */
static bool read_hex(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    for (int i = 0; i < HEX_BYTES; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9') value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f') value = value << 4 | (uint64_t)(c - 'a' + 10);
        else return false;
    }
    *out = value;
    return true;
}

/* as much as fits */
static void copy_text(struct span from, char *to, size_t room)
{
    size_t bytes = (size_t)(from.end - from.at);
    if (bytes > room - 1) bytes = room - 1;
    memcpy(to, from.at, bytes);
    to[bytes] = '\0';
}

static bool read_candidates(struct span *rest, struct fm_candidates *out)
{
    struct span value, bytes, what;
    int64_t count;
    if (!field(rest, &value) || !read_count(value, INT64_MAX, &out->kept_bytes)) return false;
    if (!field(rest, &value) || !read_count(value, FM_MAX_CANDIDATES, &count)) return false;
    out->count = (uint32_t)count;
    for (uint32_t i = 0; i < out->count; i++) {
        if (!field(rest, &bytes) || !field(rest, &what)) return false;
        if (!read_count(bytes, INT64_MAX, &out->item[i].workspace_bytes)) return false;
        copy_text(what, out->item[i].what, sizeof out->item[i].what);
    }
    return true;
}

/* the line's kind and what follows it; '\0': it is damaged. Its key was read when it was found. */
static char open_line(const struct fm_cache *cache, const struct fm_cache_line *found, struct span *rest)
{
    const char *at = cache->text + found->at, *end = at + found->bytes;
    uint64_t want, sum = fm_hash_add(FM_HASH_INIT, at + HEX_BYTES + 1, (size_t)found->bytes - HEX_BYTES - 1);
    struct span kind;
    *rest = (struct span){ at + KIND_AT, end };
    if (!read_hex(at, &want) || want != sum || memchr(at, '\0', found->bytes)) return '\0';
    return field(rest, &kind) && kind.end - kind.at == 1 ? *kind.at : '\0';
}

/* strict: a line whose checksum is right may still be another version's */
static bool read_entry(char kind, struct span rest, struct fm_workspace_entry *out)
{
    struct span reason;
    out->unsupported = kind == 'u';
    if (!out->unsupported) return kind == 'w' && read_candidates(&rest, &out->candidates) && !rest.at;
    if (!field(&rest, &reason)) return false;
    copy_text(reason, out->reason, sizeof out->reason);
    return !rest.at;
}

static bool read_max(char kind, struct span rest, struct fm_cache_max *out)
{
    struct span text[6];
    int64_t bytes, limit, non_monotone;
    for (int i = 0; i < 6; i++)
        if (!field(&rest, &text[i])) return false;
    bool good = kind == 'm' && !rest.at && read_count(text[0], FM_SEARCH_BATCH_LIMIT, &out->answer.max_batch) &&
                read_count(text[1], INT64_MAX, &bytes) && read_count(text[2], 1, &limit) && read_count(text[3], 1, &non_monotone) &&
                read_count(text[4], FM_SEARCH_BATCH_LIMIT, &out->answer.misfit_below) && text[5].end - text[5].at == HEX_BYTES &&
                read_hex(text[5].at, &out->program);
    if (!good) return false;
    out->answer.bytes = (uint64_t)bytes;
    out->answer.at_limit = limit;
    out->answer.non_monotone = non_monotone;
    return true;
}

/* the key's line after *at, in their order; *at: -1 before the first. NULL: no more */
static const struct fm_cache_line *next_line(const struct fm_cache *cache, uint64_t key, int64_t *at)
{
    if (!cache->slots) return NULL;
    for (size_t i = *at < 0 ? slot_of(cache, key) : ((size_t)*at + 1) & (cache->slots - 1); cache->slot[i]; i = (i + 1) & (cache->slots - 1)) {
        *at = (int64_t)i;
        if (cache->line[cache->slot[i] - 1].key == key) return &cache->line[cache->slot[i] - 1];
    }
    return NULL;
}

bool fm_cache_find(const struct fm_cache *cache, uint64_t key, struct fm_workspace_entry *out)
{
    bool found = false;
    int64_t at = -1;
    for (const struct fm_cache_line *line; (line = next_line(cache, key, &at));) {
        struct fm_workspace_entry entry = { .key = key };
        struct span rest;
        char kind = open_line(cache, line, &rest);
        if (!read_entry(kind, rest, &entry)) continue;
        *out = entry;               /* the last one holds */
        found = true;
    }
    return found;
}

bool fm_cache_find_max(const struct fm_cache *cache, uint64_t key, struct fm_cache_max *out)
{
    bool found = false;
    int64_t at = -1;
    for (const struct fm_cache_line *line; (line = next_line(cache, key, &at));) {
        struct fm_cache_max max = { .key = key };
        struct span rest;
        char kind = open_line(cache, line, &rest);
        if (!read_max(kind, rest, &max)) continue;
        *out = max;
        found = true;
    }
    return found;
}

/* the whole file, as much of it as there is now */
static fm_status read_text(struct fm_cache *cache, struct fm_err *err)
{
    struct stat file;
    int fd = open(cache->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return FM_OK;
    size_t room = fstat(fd, &file) == 0 && file.st_size > 0 ? (size_t)file.st_size : 0;
    if (room > FM_CACHE_MAX_BYTES) room = FM_CACHE_MAX_BYTES;
    cache->text = room ? fm_realloc(NULL, room, 1) : NULL;
    while (cache->text && cache->bytes < room) {
        ssize_t got = read(fd, cache->text + cache->bytes, room - cache->bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        cache->bytes += (size_t)got;
    }
    (void)close(fd);
    if (room && !cache->text) return FM_FAIL(err, FM_NOMEM, "a cache of %zu bytes", room);
    return FM_OK;
}

/* where each line is and its key; what is too short or too long to be one is none */
static void find_lines(struct fm_cache *cache)
{
    const char *at = cache->text, *end = cache->text + cache->bytes, *newline;
    for (; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        size_t bytes = (size_t)(newline - at);
        struct fm_cache_line line = { .at = (uint32_t)(at - cache->text), .bytes = (uint32_t)bytes };
        if (bytes < KIND_AT || bytes >= LINE_BYTES || at[HEX_BYTES] != '\t' || at[KIND_AT - 1] != '\t') continue;
        if (!read_hex(at + HEX_BYTES + 1, &line.key)) continue;
        size_t i = slot_of(cache, line.key);
        while (cache->slot[i]) i = (i + 1) & (cache->slots - 1);
        cache->line[cache->lines++] = line;
        cache->slot[i] = (uint32_t)cache->lines;
    }
}

fm_status fm_cache_open(struct fm_cache *cache, uint64_t fingerprint, struct fm_err *err)
{
    char folder[400];
    *cache = (struct fm_cache){ .fd = -1 };
    if (!folder_of(folder, sizeof folder)) return FM_OK;
    if (!takes_files(folder)) warn_once(folder, errno);
    (void)snprintf(cache->path, sizeof cache->path, "%s/workspaces-%016" PRIx64 ".tsv", folder, fingerprint);
    fm_status status = read_text(cache, err);
    if (status != FM_OK || !cache->bytes) return status;
    size_t most = 0, slots = 16;
    for (const char *at = cache->text, *end = at + cache->bytes; at && (at = memchr(at, '\n', (size_t)(end - at))); at++) most++;
    while (slots < 2 * most) slots *= 2;
    cache->line = fm_realloc(NULL, most, sizeof *cache->line);
    cache->slot = fm_calloc(slots, sizeof *cache->slot);
    if (!cache->line || !cache->slot) return FM_FAIL(err, FM_NOMEM, "a cache of %zu lines", most);
    cache->slots = slots;
    find_lines(cache);
    return FM_OK;
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
    if (good) return true;
    warn_once(cache->path, errno);
    cache->path[0] = '\0';
    return false;
}

static void append(struct fm_cache *cache, const struct fm_buf *body)
{
    struct fm_buf line = FM_BUF(LINE_BYTES);
    char sum[FM_HASH_TEXT_BYTES];
    if (!fm_buf_ok(body) || !cache->path[0] || !ready(cache)) return;
    fm_hash_print(fm_hash_add(FM_HASH_INIT, fm_buf_text(body), body->bytes), sum);
    fm_buf_printf(&line, "%s\t%s\n", sum, fm_buf_text(body));
    /* a disk that is full: nothing more is kept */
    if (fm_buf_ok(&line) && write(cache->fd, fm_buf_text(&line), line.bytes) != (ssize_t)line.bytes) cache->path[0] = '\0';
    fm_buf_release(&line);
}

void fm_cache_append(struct fm_cache *cache, const struct fm_workspace_entry *entry)
{
    struct fm_buf body = FM_BUF(LINE_BYTES);
    if (!cache->path[0]) return;
    write_entry(entry, &body);
    append(cache, &body);
    fm_buf_release(&body);
}

void fm_cache_append_max(struct fm_cache *cache, const struct fm_cache_max *max)
{
    struct fm_buf body = FM_BUF(LINE_BYTES);
    if (!cache->path[0]) return;
    write_max(max, &body);
    append(cache, &body);
    fm_buf_release(&body);
}

void fm_cache_close(struct fm_cache *cache)
{
    if (cache->fd >= 0) (void)close(cache->fd);
    fm_free(cache->text);
    fm_free(cache->line);
    fm_free(cache->slot);
    *cache = (struct fm_cache){ .fd = -1 };
}
