#include "tuner/explain/scan.h"

#include <math.h>
#include <string.h>

#define DIGITS_MAX 18
#define DECIMALS_MAX 9
#define SIZE_MAX_BYTES (INT64_C(1) << 60)

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static size_t skip_blanks(const struct fm_scan *s, size_t at)
{
    while (at < s->bytes && blank(s->text[at])) at++;
    return at;
}

bool fm_scan_words(struct fm_scan *s, const char *literal)
{
    size_t at = s->at;
    for (const char *c = literal; *c; c++) {
        if (at == s->bytes) {
            if (at > s->at) s->cut = true;
            return false;
        }
        if (*c == ' ') {
            size_t next = skip_blanks(s, at);
            if (next == at) return false;
            at = next;
        } else if (s->text[at++] != *c) {
            return false;
        }
    }
    s->at = at;
    return true;
}

bool fm_scan_next(struct fm_scan *s, const char *literal)
{
    size_t start = s->at;
    s->at = skip_blanks(s, s->at);
    if (s->at == s->bytes) s->cut = true;
    else if (fm_scan_words(s, literal)) return true;
    s->at = start;
    return false;
}

/* digits into *value; their number; stops the size of what fits */
static size_t digits(const struct fm_scan *s, size_t at, size_t most, uint64_t *value)
{
    size_t n = 0;
    for (; at + n < s->bytes && digit(s->text[at + n]) && n < most; n++) *value = *value * 10 + (uint64_t)(s->text[at + n] - '0');
    return n;
}

bool fm_scan_integer(struct fm_scan *s, int64_t *out)
{
    uint64_t value = 0;
    size_t at = skip_blanks(s, s->at), n = digits(s, at, DIGITS_MAX, &value);
    if (at + n == s->bytes) s->cut = true;          /* more digits may have followed */
    if (!n || at + n == s->bytes || digit(s->text[at + n])) return false;
    s->at = at + n;
    *out = (int64_t)value;
    return true;
}

/* the unit at a place: its bytes, 0 if there is none; *length of its text */
static int64_t unit(const struct fm_scan *s, size_t at, size_t *length)
{
    static const struct { const char *text; int shift; } units[] = {
        { "bytes", 0 }, { "byte", 0 }, { "Bytes", 0 }, { "B", 0 },
        { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "TiB", 40 },
        { "KB", 10 }, { "kB", 10 }, { "MB", 20 }, { "GB", 30 }, { "TB", 40 },
        { "K", 10 }, { "M", 20 }, { "G", 30 }, { "T", 40 },
    };
    size_t n = 0;
    while (at + n < s->bytes && letter(s->text[at + n])) n++;
    *length = n;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strlen(units[i].text) == n && memcmp(units[i].text, s->text + at, n) == 0) return INT64_C(1) << units[i].shift;
    /* "2415919104)requested by op" and "1.00GiBrequested" were printed without a blank */
    for (size_t i = 4; i < 8; i++)
        if (n > 3 && memcmp(units[i].text, s->text + at, 3) == 0 && s->text[at + 3] == 'r') {
            *length = 3;
            return INT64_C(1) << units[i].shift;
        }
    return 0;
}

static void set_size(struct fm_scan *s, uint64_t number, size_t decimals, int64_t bytes_per_unit, struct fm_oom_size *out)
{
    long double scale = (long double)bytes_per_unit, value, half;
    for (size_t i = 0; i < decimals; i++) scale /= 10;
    value = (long double)number * scale;
    half = bytes_per_unit == 1 ? 0 : scale / 2;
    *out = (struct fm_oom_size){ 0 };
    if (value >= (long double)SIZE_MAX_BYTES) {
        s->overflowed = true;
        return;
    }
    *out = (struct fm_oom_size){ .known = true, .bytes = (int64_t)floorl(value + 0.5L), .lo_bytes = (int64_t)ceill(value - half),
                                 .hi_bytes = (int64_t)floorl(value + half) };
    if (out->hi_bytes < out->lo_bytes) out->lo_bytes = out->hi_bytes = out->bytes;     /* more decimals than bytes */
    if (out->lo_bytes < 0) out->lo_bytes = 0;
}

bool fm_scan_size(struct fm_scan *s, struct fm_oom_size *out)
{
    uint64_t number = 0;
    size_t at = skip_blanks(s, s->at), decimals = 0, length = 0, n = digits(s, at, DIGITS_MAX, &number);
    if (at == s->bytes) s->cut = true;
    if (!n) return false;
    at += n;
    if (at < s->bytes && s->text[at] == '.') {
        at++;
        decimals = digits(s, at, n + DECIMALS_MAX < DIGITS_MAX ? DECIMALS_MAX : DIGITS_MAX - n, &number);
        if (at + decimals == s->bytes) s->cut = true;
        if (!decimals) return false;
        at += decimals;
    }
    if (at < s->bytes && digit(s->text[at])) return false;
    at = skip_blanks(s, at);
    int64_t bytes = unit(s, at, &length);
    if (at + length == s->bytes) s->cut = true;
    if (!bytes || (bytes == 1 && decimals)) return false;
    s->at = at + length;
    set_size(s, number, decimals, bytes, out);
    return true;
}

bool fm_scan_bytes(struct fm_scan *s, struct fm_oom_size *out)
{
    int64_t bytes = 0;
    if (fm_scan_size(s, out)) return true;
    if (!fm_scan_integer(s, &bytes)) return false;
    *out = (struct fm_oom_size){ .known = true, .bytes = bytes, .lo_bytes = bytes, .hi_bytes = bytes };
    return true;
}
