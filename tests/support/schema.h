/* Does a JSON value satisfy a JSON Schema? The part of draft 2020-12 that docs/schema uses: type, const, enum, required,
 * properties, additionalProperties, items, pattern (POSIX extended), minimum, $ref within the document. A schema that
 * uses another keyword is refused, so that nothing is passed over. */
#ifndef FM_TESTS_SUPPORT_SCHEMA_H
#define FM_TESTS_SUPPORT_SCHEMA_H

#include <cjson/cJSON.h>

#include "tuner/base/status.h"

/* INVALID: names the place and the keyword */
fm_status fm_schema_check(const cJSON *schema, const cJSON *value, struct fm_err *err) FM_MUST_USE;
/* the parsed file, under the source tree; NULL if it cannot be read; cJSON_Delete */
cJSON *fm_schema_load(const char *path);

#endif
