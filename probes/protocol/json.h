/* Lines of JSON, read more strictly than cJSON does. It takes what is not UTF-8, raw control characters, numbers such
 * as 01, and an escaped NUL, at which it would cut a text short; and it would make gigabytes of nodes from a line of
 * commas.
 * Source: RFC 8259. */
#ifndef FM_PROBES_PROTOCOL_JSON_H
#define FM_PROBES_PROTOCOL_JSON_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* values in one line: what cJSON may allocate stays below some 150 MB */
#define FM_JSON_MAX_VALUES ((size_t)1 << 20)
/* integers up to here are exact as JSON numbers; beyond, they are written as strings of decimal digits */
#define FM_JSON_EXACT (INT64_C(1) << 53)

/* One whole line, one newline at its end allowed. The caller deletes *out with cJSON_Delete. FM_PROTOCOL with the
 * place and the fault, FM_NOMEM. (cJSON does not tell a want of memory from bad text: that is FM_PROTOCOL, too.) */
fm_status fm_json_parse(const char *line, size_t bytes, cJSON **out, struct fm_err *err) FM_MUST_USE;

/* bytes of the first character of text, 0 if it is not UTF-8 (RFC 3629) */
size_t fm_utf8_length(const char *text, size_t bytes);

/* text[bytes] in quotes; what is not UTF-8 becomes '?' */
void fm_json_put_text(struct fm_buf *out, const char *text, size_t bytes);
void fm_json_put_int(struct fm_buf *out, int64_t value);

/* The same for trees: a JSON number, all of whose digits are printed, or a decimal string beyond FM_JSON_EXACT; NULL: memory. */
cJSON *fm_json_new_i64(int64_t value);
/* of a count that is held in a double, which may be beyond int64_t; what is no whole number is a number, not finite: null */
cJSON *fm_json_new_whole(double value);
/* false: memory */
bool fm_json_add_i64(cJSON *object, const char *key, int64_t value);
bool fm_json_add_whole(cJSON *object, const char *key, double value);

#endif
