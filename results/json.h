/* Reading fields of JSON objects, and why a field is not as it should be.
 *
 * Names are compared with their case. A number is exact or refused: integers are JSON numbers up to 2^53, beyond that
 * decimal strings. Absent and null are the same: not known. Texts and objects are borrowed from the record. */
#ifndef FM_RESULTS_JSON_H
#define FM_RESULTS_JSON_H

#include <cjson/cJSON.h>

#include <stdbool.h>
#include <stdint.h>

#include "probes/protocol/json.h"
#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#define FM_JSON_EXACT_MAX FM_JSON_EXACT

/* NULL if absent or null, or if the object is NULL or none */
const cJSON *fm_json_get(const cJSON *object, const char *key);
/* as above, and if it is no text / object / array */
const char *fm_json_text(const cJSON *object, const char *key);
const cJSON *fm_json_object(const cJSON *object, const char *key);
const cJSON *fm_json_array(const cJSON *object, const char *key);
bool fm_json_true(const cJSON *object, const char *key);
/* false, *out untouched: absent, or no integer that a double or a decimal string holds exactly */
bool fm_json_i64(const cJSON *object, const char *key, int64_t *out);
/* a count that a double holds: a number, or decimal digits beyond 2^53; else false, *out untouched */
bool fm_json_whole(const cJSON *object, const char *key, double *out);
/* false, *out untouched: absent or not finite */
bool fm_json_f64(const cJSON *object, const char *key, double *out);

/* takes the item, which may be NULL; false: memory (the item is deleted) */
bool fm_json_put(cJSON *object, const char *key, cJSON *item);
bool fm_json_push(cJSON *array, cJSON *item);
/* a copy of the item; null if it is NULL */
bool fm_json_put_copy(cJSON *object, const char *key, const cJSON *item);
/* on one line, no newline. NOMEM */
fm_status fm_json_print(const cJSON *item, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
