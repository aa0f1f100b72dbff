#include "probes/protocol/json.h"

#include "probes/protocol/protocol.h"
#include "tuner/base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* cJSON prints 15 digits where they come close enough: larger integers are given to it as they are to be printed */
#define PRINTED_MAX INT64_C(1000000000000000)

size_t fm_utf8_length(const char *text, size_t bytes)
{
    const unsigned char *s = (const unsigned char *)text;
    if (!bytes) return 0;
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    if (!n || n > bytes) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    /* longer than needed, surrogates, beyond the last code point */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return n;
}

static size_t digits(const char *text, size_t bytes)
{
    size_t n = 0;
    while (n < bytes && text[n] >= '0' && text[n] <= '9') n++;
    return n;
}

/* bytes of the number that text begins with, 0 if it is none of JSON's */
static size_t number_length(const char *text, size_t bytes)
{
    size_t i = text[0] == '-', n = digits(text + i, bytes - i);
    if (!n || (n > 1 && text[i] == '0')) return 0;
    i += n;
    if (i < bytes && text[i] == '.') {
        n = digits(text + i + 1, bytes - i - 1);
        if (!n) return 0;
        i += 1 + n;
    }
    if (i < bytes && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < bytes && (text[i] == '+' || text[i] == '-')) i++;
        n = digits(text + i, bytes - i);
        if (!n) return 0;
        i += n;
    }
    return i;
}

/* NULL if the text can be handed to cJSON, else what is wrong at *at; brackets and names are cJSON's to check */
static const char *check(const char *s, size_t bytes, size_t *at)
{
    bool quoted = false;
    size_t values = 1, step;
    for (size_t i = 0; i < bytes; i += step) {
        char c = s[i];
        *at = i;
        step = 1;
        if ((unsigned char)c < 0x20) return "a control character";
        if (c == '"') {
            quoted = !quoted;
        } else if (quoted && c == '\\') {
            if (bytes - i > 5 && memcmp(s + i, "\\u0000", 6) == 0) return "a NUL within a text";
            step = bytes - i > 1 && (unsigned char)s[i + 1] >= 0x20 ? 2 : 1;
        } else if (quoted) {
            step = fm_utf8_length(s + i, bytes - i);
            if (!step) return "not UTF-8";
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            step = number_length(s + i, bytes - i);
            if (!step) return "not a number of JSON";
        } else if (c == ',' || c == '[' || c == '{') {
            if (++values > FM_JSON_MAX_VALUES) return "more values than any message has";
        } else if ((unsigned char)c >= 0x80) {
            return "outside of a text";     /* a byte order mark, which cJSON would skip */
        }
    }
    return NULL;
}

fm_status fm_json_parse(const char *line, size_t bytes, cJSON **out, struct fm_err *err)
{
    *out = NULL;
    if (bytes > FM_LINE_MAX_BYTES)
        return FM_FAIL(err, FM_PROTOCOL, "a line of %zu bytes, at most %zu are read", bytes, FM_LINE_MAX_BYTES);
    if (bytes && line[bytes - 1] == '\n') bytes--;
    size_t at = 0;
    const char *fault = check(line, bytes, &at);
    if (fault) return FM_FAIL(err, FM_PROTOCOL, "not a line of JSON: byte %zu of %zu is %s", at + 1, bytes, fault);

    /* versions of cJSON before 1.7.18 read past the end of text that ends within an object: give it a NUL to meet */
    char *copy = fm_strndup(line, bytes);
    if (!copy) return FM_FAIL(err, FM_NOMEM, "a line of %zu bytes", bytes);
    const char *end = copy;
    cJSON *root = cJSON_ParseWithLengthOpts(copy, bytes + 1, &end, true);
    size_t stop = (size_t)(end - copy);
    fm_free(copy);
    if (!root) return FM_FAIL(err, FM_PROTOCOL, "not a line of JSON: stopped at byte %zu of %zu", stop + 1, bytes);
    *out = root;
    return FM_OK;
}

void fm_json_put_text(struct fm_buf *out, const char *text, size_t bytes)
{
    fm_buf_putc(out, '"');
    size_t step;
    for (size_t i = 0; i < bytes; i += step) {
        char c = text[i];
        step = fm_utf8_length(text + i, bytes - i);
        if (!step) {
            fm_buf_putc(out, '?');
            step = 1;
        } else if (c == '"' || c == '\\') {
            fm_buf_printf(out, "\\%c", c);
        } else if ((unsigned char)c < 0x20) {
            fm_buf_printf(out, "\\u%04x", (unsigned)c);
        } else {
            fm_buf_add(out, text + i, step);
        }
    }
    fm_buf_putc(out, '"');
}

void fm_json_put_int(struct fm_buf *out, int64_t value)
{
    bool exact = value >= -FM_JSON_EXACT && value <= FM_JSON_EXACT;
    fm_buf_printf(out, exact ? "%" PRId64 : "\"%" PRId64 "\"", value);
}

cJSON *fm_json_new_i64(int64_t value)
{
    char text[24];
    if (value > -PRINTED_MAX && value < PRINTED_MAX) return cJSON_CreateNumber((double)value);
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    return value >= -FM_JSON_EXACT && value <= FM_JSON_EXACT ? cJSON_CreateRaw(text) : cJSON_CreateString(text);
}

cJSON *fm_json_new_whole(double value)
{
    char text[320];
    if (!isfinite(value)) return cJSON_CreateNull();
    if (value != floor(value)) return cJSON_CreateNumber(value);
    if (fabs(value) < 0x1p63) return fm_json_new_i64((int64_t)value);
    (void)snprintf(text, sizeof text, "%.0f", value);
    return cJSON_CreateString(text);
}

static bool add(cJSON *object, const char *key, cJSON *item)
{
    if (item && cJSON_AddItemToObject(object, key, item)) return true;
    cJSON_Delete(item);
    return false;
}

bool fm_json_add_i64(cJSON *object, const char *key, int64_t value)
{
    return add(object, key, fm_json_new_i64(value));
}

bool fm_json_add_whole(cJSON *object, const char *key, double value)
{
    return add(object, key, fm_json_new_whole(value));
}
