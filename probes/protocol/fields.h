/* One table of fields for each JSON object: it is written from it and read by it, so that both cannot drift apart.
 *
 * Reading is strict: every field that is not optional must be there, no other may be, none twice, each in its range.
 * An optional field that is unknown is absent: integers -1, doubles not finite (read back: NaN), texts "", hashes 0.
 * Errors name the field by its path, such as `answers[3].candidates[0].bytes`. */
#ifndef FM_PROBES_PROTOCOL_FIELDS_H
#define FM_PROBES_PROTOCOL_FIELDS_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fm_coding {
    const char *message;            /* "request" or "reply" */
    struct fm_err *err;
    struct fm_buf *out;             /* writing */
    fm_status status;               /* writing: the first failure */
    bool lenient;                   /* writing: texts are for people, what is not UTF-8 becomes '?' */
    char path[160];
    size_t path_bytes;
};

enum fm_field_type {
    FM_FIELD_I64, FM_FIELD_I32, FM_FIELD_U32, FM_FIELD_F64, FM_FIELD_BOOL, FM_FIELD_TEXT, FM_FIELD_HASH, FM_FIELD_OTHER
};

/* how a field is coded that is an object or an array; base is the struct whose table has the field */
struct fm_field_other {
    bool (*present)(const void *base);                                          /* NULL: always */
    void (*write)(struct fm_coding *coding, const void *base);
    fm_status (*read)(struct fm_coding *coding, const cJSON *item, void *base);
};

struct fm_field {
    const char *name;
    enum fm_field_type type;
    bool optional;
    uint32_t in;                    /* the kinds of messages that have it, a bit each */
    size_t offset, bytes;           /* bytes: of a text's array */
    int64_t min, max;
    const struct fm_field_other *other;
};

#define FM_FIELD_IN_ALL UINT32_MAX
#define FM_FIELDS_MAX 32            /* rows of a table */

/* tables end with a row without a name; kind: one bit */
void fm_fields_write(struct fm_coding *coding, const struct fm_field *table, uint32_t kind, const void *base);
/* on failure what was read stays in *base, for its release */
fm_status fm_fields_read(struct fm_coding *coding, const cJSON *object, const struct fm_field *table, uint32_t kind,
                         void *base) FM_MUST_USE;
/* every optional field of the table to unknown, whatever its kind */
void fm_fields_clear(const struct fm_field *table, void *base);

/* the path of what is coded: pop what push returned */
size_t fm_coding_push(struct fm_coding *coding, const char *name);
size_t fm_coding_push_index(struct fm_coding *coding, size_t index);
void fm_coding_pop(struct fm_coding *coding, size_t mark);
/* an error with the path before it; writing also keeps it as the status */
fm_status fm_coding_fail(struct fm_coding *coding, fm_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* one value, named by the coding's path */
fm_status fm_read_int(struct fm_coding *coding, const cJSON *item, int64_t min, int64_t max, int64_t *out) FM_MUST_USE;
fm_status fm_read_text(struct fm_coding *coding, const cJSON *item, char *out, size_t bytes) FM_MUST_USE;
fm_status fm_read_hash(struct fm_coding *coding, const cJSON *item, uint64_t *out) FM_MUST_USE;
/* an array of at most max items */
fm_status fm_read_array(struct fm_coding *coding, const cJSON *item, size_t max, size_t *count) FM_MUST_USE;
void fm_write_int(struct fm_coding *coding, int64_t value, int64_t min, int64_t max);
void fm_write_text(struct fm_coding *coding, const char *text, size_t bytes);
void fm_write_hash(struct fm_coding *coding, uint64_t value);

/* of a reply's device: what would spoil a measurement, and who else holds memory (notes.c); absent if there are none */
extern const struct fm_field_other fm_findings_field, fm_holders_field, fm_software_field;

/* {"v":1 ... : the object of a line, its version and kind of message checked, for the caller to delete. */
fm_status fm_message_parse(struct fm_coding *coding, const char *line, size_t bytes, cJSON **out) FM_MUST_USE;
/* the text of a field of the object, "" if it is none */
const char *fm_message_text(const cJSON *object, const char *name);
/* ends the line that began at start; on failure takes it out again */
fm_status fm_message_end(struct fm_coding *coding, size_t start) FM_MUST_USE;

#endif
