#include "tuner/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME 64

bool fm_parse_i64(const char *text, int64_t *out)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (digits[0] < '0' || digits[0] > '9') return false;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end) return false;
    *out = value;
    return true;
}

/* a decimal number at the start of text; NULL if there is none */
static const char *number(const char *text, double *out)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if ((digits[0] < '0' || digits[0] > '9') && digits[0] != '.') return NULL;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) return NULL;
    char *end = NULL;
    *out = strtod(text, &end);
    return end == text || !isfinite(*out) ? NULL : end;
}

bool fm_parse_f64(const char *text, double *out)
{
    double value;
    const char *end = number(text, &value);
    if (!end || *end) return false;
    *out = value;
    return true;
}

/* false: not a size */
static bool bytes_of(const char *text, double *out)
{
    static const char units[] = "kMGT";
    double value;
    const char *end = number(text, &value);
    if (!end || value < 0) return false;
    if (*end) {
        const char *unit = *end == 'K' ? units : *end == 'B' ? NULL : strchr(units, *end);
        double scale = 1;
        if (*end != 'B') {
            if (!unit) return false;
            end++;
            double base = *end == 'i' ? 1024.0 : 1000.0;
            if (*end == 'i') end++;
            scale = pow(base, (double)(unit - units + 1));
        }
        if (end[0] != 'B' || end[1]) return false;
        value *= scale;
    }
    *out = value;
    return true;
}

#define MOST_BYTES 9e18

bool fm_parse_bytes(const char *text, int64_t *out)
{
    double value;
    if (!bytes_of(text, &value) || value > MOST_BYTES) return false;
    *out = (int64_t)value;
    return true;
}

bool fm_bytes_too_many(const char *text)
{
    double value;
    return bytes_of(text, &value) && value > MOST_BYTES;
}

void fm_bytes_print(int64_t bytes, char text[FM_BYTES_TEXT_BYTES])
{
    static const struct { int64_t unit; const char *name; } sizes[] = {
        { INT64_C(1) << 30, "GiB" }, { INT64_C(1) << 20, "MiB" }, { INT64_C(1) << 10, "KiB" }, { 1, "" },
    };
    size_t i = 0;
    while (bytes % sizes[i].unit) i++;
    (void)snprintf(text, FM_BYTES_TEXT_BYTES, "%" PRId64 "%s", bytes / sizes[i].unit, sizes[i].name);
}

bool fm_parse_duration_ns(const char *text, int64_t *out)
{
    static const struct { const char *unit; double ns; } units[] = {
        { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "min", 60e9 }, { "h", 3600e9 },
    };
    double value;
    const char *end = number(text, &value);
    if (!end || value < 0) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        if (value * units[i].ns > 9e18) return false;
        *out = (int64_t)(value * units[i].ns);
        return true;
    }
    return false;
}

bool fm_parse_share_ppm(const char *text, int64_t *out)
{
    double percent;
    const char *end = number(text, &percent);
    if (!end || strcmp(end, "%") != 0 || percent < 0 || percent > 1e9) return false;
    *out = llround(percent * 10000);
    return true;
}

bool fm_parse_sizes(const char *text, int64_t *size, uint32_t n)
{
    for (uint32_t d = 0; d < n; d++) {
        if (text[0] < '1' || text[0] > '9') return false;
        char *end = NULL;
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (errno || value > (1LL << 32) || *end != (d + 1 < n ? 'x' : '\0')) return false;
        size[d] = value;
        text = end + 1;
    }
    return true;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* does `name` begin with `text`? */
static bool begins(const char *name, const char *text)
{
    while (*text && lower(*name) == lower(*text)) name++, text++;
    return !*text;
}

/* Levenshtein's distance, one row at a time; upper and lower case are the same */
static size_t distance(const char *a, const char *b)
{
    size_t row[MAX_NAME + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t corner = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = corner + (lower(a[i]) != lower(b[j]));
            corner = row[j + 1];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (corner + 1 < best) best = corner + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

const char *fm_nearest(const char *text, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t length = strlen(text), limit = 2 + length / 3;
    if (length > MAX_NAME) return NULL;
    /* who stops early means the name, however much is missing */
    for (size_t i = 0; i < count && length; i++)
        if (begins(names[i], text) && (!best || strlen(names[i]) < strlen(best))) best = names[i];
    if (best) return best;
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) > MAX_NAME) continue;
        size_t d = distance(text, names[i]);
        if (d < limit) {
            limit = d;
            best = names[i];
        }
    }
    return best;
}

size_t fm_text_copy(char *to, size_t room, const char *text)
{
    size_t bytes = strlen(text);
    if (!room) return bytes;
    size_t kept = bytes < room ? bytes : room - 1;
    memcpy(to, text, kept);
    to[kept] = '\0';
    return bytes;
}
