#include "probes/protocol/fields.h"

#include "probes/protocol/json.h"
#include "probes/protocol/protocol.h"
#include "tuner/base/hash.h"
#include "tuner/base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- where we are ---- */

static size_t push(struct fm_coding *coding, const char *format, ...) __attribute__((format(printf, 2, 3)));
static size_t push(struct fm_coding *coding, const char *format, ...)
{
    size_t mark = coding->path_bytes, room = sizeof coding->path - mark;
    va_list args;
    va_start(args, format);
    int need = vsnprintf(coding->path + mark, room, format, args);
    va_end(args);
    if (need > 0) coding->path_bytes += (size_t)need < room ? (size_t)need : room - 1;
    return mark;
}

size_t fm_coding_push(struct fm_coding *coding, const char *name)
{
    /* a name may come from the line: its start says enough */
    return push(coding, "%s%.48s", coding->path_bytes ? "." : "", name);
}

size_t fm_coding_push_index(struct fm_coding *coding, size_t index)
{
    return push(coding, "[%zu]", index);
}

void fm_coding_pop(struct fm_coding *coding, size_t mark)
{
    coding->path_bytes = mark;
    coding->path[mark] = '\0';
}

fm_status fm_coding_fail(struct fm_coding *coding, fm_status status, const char *format, ...)
{
    char text[240];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (coding->status == FM_OK) coding->status = status;
    return FM_FAIL(coding->err, status, "%s: %s%s%s", coding->message, coding->path, coding->path_bytes ? ": " : "",
                   text);
}

/* ---- reading ---- */

fm_status fm_read_int(struct fm_coding *coding, const cJSON *item, int64_t min, int64_t max, int64_t *out)
{
    int64_t value;
    if (cJSON_IsNumber(item)) {
        double number = item->valuedouble;
        /* infinity and NaN fail here as well */
        if (!(fabs(number) <= (double)FM_JSON_EXACT) || floor(number) < number)
            return fm_coding_fail(coding, FM_PROTOCOL, "%.17g is no integer, or one beyond 2^53 that is not a text",
                                  number);
        value = (int64_t)number;
    } else {
        if (!cJSON_IsString(item) || !fm_parse_i64(item->valuestring, &value))
            return fm_coding_fail(coding, FM_PROTOCOL, "not an integer");
        char again[24];
        (void)snprintf(again, sizeof again, "%" PRId64, value);
        if ((value >= -FM_JSON_EXACT && value <= FM_JSON_EXACT) || strcmp(again, item->valuestring) != 0)
            return fm_coding_fail(coding, FM_PROTOCOL, "\"%.24s\": integers are texts only beyond 2^53",
                                  item->valuestring);
    }
    if (value < min || value > max)
        return fm_coding_fail(coding, FM_PROTOCOL, "%" PRId64 " is not in %" PRId64 " ... %" PRId64, value, min, max);
    *out = value;
    return FM_OK;
}

fm_status fm_read_text(struct fm_coding *coding, const cJSON *item, char *out, size_t bytes)
{
    if (!cJSON_IsString(item)) return fm_coding_fail(coding, FM_PROTOCOL, "not a text");
    size_t n = strlen(item->valuestring);
    if (n >= bytes)
        return fm_coding_fail(coding, FM_PROTOCOL, "a text of %zu bytes, at most %zu are read", n, bytes - 1);
    memcpy(out, item->valuestring, n + 1);
    return FM_OK;
}

fm_status fm_read_hash(struct fm_coding *coding, const cJSON *item, uint64_t *out)
{
    uint64_t value = 0;
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    size_t n = 0;
    for (; text[n]; n++) {
        char c = text[n];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) break;
        value = value << 4 | (uint64_t)digit;
    }
    if (n != 16 || text[n]) return fm_coding_fail(coding, FM_PROTOCOL, "not a text of 16 hexadecimal digits");
    *out = value;
    return FM_OK;
}

fm_status fm_read_array(struct fm_coding *coding, const cJSON *item, size_t max, size_t *count)
{
    if (!cJSON_IsArray(item)) return fm_coding_fail(coding, FM_PROTOCOL, "not an array");
    size_t n = (size_t)cJSON_GetArraySize(item);
    if (n > max) return fm_coding_fail(coding, FM_PROTOCOL, "%zu items, at most %zu are read", n, max);
    *count = n;
    return FM_OK;
}

static fm_status read_f64(struct fm_coding *coding, const cJSON *item, const struct fm_field *field, double *out)
{
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return fm_coding_fail(coding, FM_PROTOCOL, "not a finite number");
    double value = item->valuedouble;
    if (field->min < field->max && (value < (double)field->min || value > (double)field->max))
        return fm_coding_fail(coding, FM_PROTOCOL, "%.17g is not in %" PRId64 " ... %" PRId64, value, field->min,
                              field->max);
    *out = value;
    return FM_OK;
}

static fm_status read_field(struct fm_coding *coding, const cJSON *item, const struct fm_field *field, void *base)
{
    char *at = (char *)base + field->offset;
    int64_t value = 0;
    fm_status status = FM_OK;
    switch (field->type) {
    case FM_FIELD_I64:
        return fm_read_int(coding, item, field->min, field->max, (int64_t *)(void *)at);
    case FM_FIELD_I32:
        status = fm_read_int(coding, item, field->min, field->max, &value);
        if (status == FM_OK) *(int32_t *)(void *)at = (int32_t)value;
        return status;
    case FM_FIELD_U32:
        status = fm_read_int(coding, item, field->min, field->max, &value);
        if (status == FM_OK) *(uint32_t *)(void *)at = (uint32_t)value;
        return status;
    case FM_FIELD_F64:
        return read_f64(coding, item, field, (double *)(void *)at);
    case FM_FIELD_BOOL:
        if (!cJSON_IsBool(item)) return fm_coding_fail(coding, FM_PROTOCOL, "neither true nor false");
        *(bool *)(void *)at = cJSON_IsTrue(item);
        return FM_OK;
    case FM_FIELD_TEXT:
        status = fm_read_text(coding, item, at, field->bytes);
        if (status == FM_OK && !at[0]) status = fm_coding_fail(coding, FM_PROTOCOL, "empty");
        return status;
    case FM_FIELD_HASH:
        return fm_read_hash(coding, item, (uint64_t *)(void *)at);
    case FM_FIELD_OTHER:
        break;
    }
    return field->other->read(coding, item, base);
}

static const struct fm_field *find(const struct fm_field *table, uint32_t kind, const char *name)
{
    for (; table->name; table++)
        if (table->in & kind && strcmp(table->name, name) == 0) return table;
    return NULL;
}

fm_status fm_fields_read(struct fm_coding *coding, const cJSON *object, const struct fm_field *table, uint32_t kind,
                         void *base)
{
    uint32_t seen = 0;
    if (!cJSON_IsObject(object)) return fm_coding_fail(coding, FM_PROTOCOL, "not an object");
    for (const cJSON *item = object->child; item; item = item->next) {
        const struct fm_field *field = find(table, kind, item->string);
        size_t mark = fm_coding_push(coding, item->string);
        if (!field) return fm_coding_fail(coding, FM_PROTOCOL, "a field that this message does not have");
        uint32_t bit = UINT32_C(1) << (field - table);
        if (seen & bit) return fm_coding_fail(coding, FM_PROTOCOL, "there twice");
        seen |= bit;
        fm_status status = read_field(coding, item, field, base);
        if (status != FM_OK) return status;
        fm_coding_pop(coding, mark);
    }
    for (uint32_t i = 0; table[i].name; i++) {
        assert(i < FM_FIELDS_MAX);
        if (!(table[i].in & kind) || table[i].optional || seen & UINT32_C(1) << i) continue;
        (void)fm_coding_push(coding, table[i].name);
        return fm_coding_fail(coding, FM_PROTOCOL, "missing");
    }
    return FM_OK;
}

void fm_fields_clear(const struct fm_field *table, void *base)
{
    for (; table->name; table++) {
        char *at = (char *)base + table->offset;
        if (!table->optional) continue;
        if (table->type == FM_FIELD_I64) *(int64_t *)(void *)at = -1;
        if (table->type == FM_FIELD_I32) *(int32_t *)(void *)at = -1;
        if (table->type == FM_FIELD_F64) *(double *)(void *)at = NAN;
        if (table->type == FM_FIELD_HASH) *(uint64_t *)(void *)at = 0;
        if (table->type == FM_FIELD_TEXT) at[0] = '\0';
    }
}

/* ---- writing ---- */

void fm_write_int(struct fm_coding *coding, int64_t value, int64_t min, int64_t max)
{
    if (value < min || value > max)
        (void)fm_coding_fail(coding, FM_INVALID, "%" PRId64 " is not in %" PRId64 " ... %" PRId64, value, min, max);
    fm_json_put_int(coding->out, value);
}

void fm_write_text(struct fm_coding *coding, const char *text, size_t bytes)
{
    size_t n = strnlen(text, bytes), step;
    if (n == bytes) {
        (void)fm_coding_fail(coding, FM_INVALID, "a text without an end");
        return;
    }
    for (size_t i = 0; !coding->lenient && i < n; i += step) {
        step = fm_utf8_length(text + i, n - i);
        if (step) continue;
        (void)fm_coding_fail(coding, FM_INVALID, "byte %zu is not UTF-8; use a name that is", i + 1);
        return;
    }
    fm_json_put_text(coding->out, text, n);
}

void fm_write_hash(struct fm_coding *coding, uint64_t value)
{
    char text[FM_HASH_TEXT_BYTES];
    fm_hash_print(value, text);
    fm_buf_printf(coding->out, "\"%s\"", text);
}

/* an integer field's value, whatever its width */
static int64_t int_of(const struct fm_field *field, const void *at)
{
    if (field->type == FM_FIELD_I64) return *(const int64_t *)at;
    return field->type == FM_FIELD_I32 ? *(const int32_t *)at : (int64_t)*(const uint32_t *)at;
}

static bool is_known(const struct fm_field *field, const void *base)
{
    const void *at = (const char *)base + field->offset;
    switch (field->type) {
    case FM_FIELD_I64: case FM_FIELD_I32: return int_of(field, at) != -1;
    case FM_FIELD_U32: case FM_FIELD_BOOL: return true;
    case FM_FIELD_F64: return isfinite(*(const double *)at);
    case FM_FIELD_TEXT: return *(const char *)at != '\0';
    case FM_FIELD_HASH: return *(const uint64_t *)at != 0;
    case FM_FIELD_OTHER: break;
    }
    return !field->other->present || field->other->present(base);
}

static void write_f64(struct fm_coding *coding, const struct fm_field *field, double value)
{
    bool bounded = field->min < field->max;
    if (!isfinite(value) || (bounded && (value < (double)field->min || value > (double)field->max)))
        (void)fm_coding_fail(coding, FM_INVALID, "%.17g is not finite or out of range", value);
    fm_buf_printf(coding->out, "%.17g", value);
}

static void write_value(struct fm_coding *coding, const struct fm_field *field, const void *base)
{
    const void *at = (const char *)base + field->offset;
    switch (field->type) {
    case FM_FIELD_I64: case FM_FIELD_I32: case FM_FIELD_U32:
        fm_write_int(coding, int_of(field, at), field->min, field->max);
        break;
    case FM_FIELD_F64: write_f64(coding, field, *(const double *)at); break;
    case FM_FIELD_BOOL: fm_buf_puts(coding->out, *(const bool *)at ? "true" : "false"); break;
    case FM_FIELD_TEXT:
        if (!*(const char *)at) (void)fm_coding_fail(coding, FM_INVALID, "empty");
        fm_write_text(coding, at, field->bytes);
        break;
    case FM_FIELD_HASH: fm_write_hash(coding, *(const uint64_t *)at); break;
    case FM_FIELD_OTHER: field->other->write(coding, base); break;
    }
}

void fm_fields_write(struct fm_coding *coding, const struct fm_field *table, uint32_t kind, const void *base)
{
    bool first = true;
    fm_buf_putc(coding->out, '{');
    for (; table->name; table++) {
        if (!(table->in & kind) || (table->optional && !is_known(table, base))) continue;
        size_t mark = fm_coding_push(coding, table->name);
        fm_buf_printf(coding->out, first ? "\"%s\":" : ",\"%s\":", table->name);
        write_value(coding, table, base);
        fm_coding_pop(coding, mark);
        first = false;
    }
    fm_buf_putc(coding->out, '}');
}

/* ---- lines ---- */

fm_status fm_message_parse(struct fm_coding *coding, const char *line, size_t bytes, cJSON **out)
{
    struct fm_err cause = { 0 };
    cJSON *object = NULL;
    fm_status status = fm_json_parse(line, bytes, &object, &cause);
    if (status != FM_OK) return fm_coding_fail(coding, status, "%s", cause.text);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(object, "v");
    if (!cJSON_IsObject(object)) {
        status = fm_coding_fail(coding, FM_PROTOCOL, "not an object");
    } else if (!cJSON_IsNumber(version) || version->valuedouble < FM_PROTOCOL_VERSION ||
               version->valuedouble > FM_PROTOCOL_VERSION) {
        status = fm_coding_fail(coding, FM_PROTOCOL,
                                "v: not version %d of the protocol; fillmark and its workers must be of one build",
                                FM_PROTOCOL_VERSION);
    }
    if (status != FM_OK) cJSON_Delete(object);
    else *out = object;
    return status;
}

const char *fm_message_text(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text ? text : "";
}

fm_status fm_message_end(struct fm_coding *coding, size_t start)
{
    struct fm_buf *out = coding->out;
    fm_buf_putc(out, '\n');
    if (coding->status == FM_OK && !fm_buf_ok(out))
        (void)fm_coding_fail(coding, FM_NOMEM, "a line beyond %zu bytes, or no memory for it", out->max_bytes);
    if (coding->status == FM_OK && out->bytes - start > FM_LINE_MAX_BYTES)
        (void)fm_coding_fail(coding, FM_INVALID, "a line of %zu bytes, at most %zu are sent", out->bytes - start,
                             FM_LINE_MAX_BYTES);
    if (coding->status != FM_OK && out->data && out->bytes > start) {
        out->bytes = start;
        out->data[start] = '\0';
    }
    return coding->status;
}
