#include "results/json.h"

#include <math.h>
#include <string.h>

#include "tuner/base/text.h"

const cJSON *fm_json_get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
    return cJSON_IsNull(item) ? NULL : item;
}

const char *fm_json_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(fm_json_get(object, key));
}

const cJSON *fm_json_object(const cJSON *object, const char *key)
{
    const cJSON *item = fm_json_get(object, key);
    return cJSON_IsObject(item) ? item : NULL;
}

const cJSON *fm_json_array(const cJSON *object, const char *key)
{
    const cJSON *item = fm_json_get(object, key);
    return cJSON_IsArray(item) ? item : NULL;
}

bool fm_json_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(fm_json_get(object, key));
}

bool fm_json_i64(const cJSON *object, const char *key, int64_t *out)
{
    const cJSON *item = fm_json_get(object, key);
    if (cJSON_IsString(item) || cJSON_IsRaw(item)) return fm_parse_i64(item->valuestring, out);
    if (!cJSON_IsNumber(item)) return false;
    double value = item->valuedouble;
    if (!isfinite(value) || fabs(value) > (double)FM_JSON_EXACT_MAX || value != floor(value)) return false;
    *out = (int64_t)value;
    return true;
}

bool fm_json_f64(const cJSON *object, const char *key, double *out)
{
    const cJSON *item = fm_json_get(object, key);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)) return false;
    *out = item->valuedouble;
    return true;
}

bool fm_json_whole(const cJSON *object, const char *key, double *out)
{
    const cJSON *item = fm_json_get(object, key);
    const char *digits = cJSON_IsString(item) || cJSON_IsRaw(item) ? item->valuestring : NULL;
    if (!digits) return fm_json_f64(object, key, out);
    return *digits && !digits[strspn(digits, "0123456789")] && fm_parse_f64(digits, out);
}

bool fm_json_put(cJSON *object, const char *key, cJSON *item)
{
    if (item && cJSON_AddItemToObject(object, key, item)) return true;
    cJSON_Delete(item);
    return false;
}

bool fm_json_push(cJSON *array, cJSON *item)
{
    if (item && cJSON_AddItemToArray(array, item)) return true;
    cJSON_Delete(item);
    return false;
}

bool fm_json_put_copy(cJSON *object, const char *key, const cJSON *item)
{
    return fm_json_put(object, key, item ? cJSON_Duplicate(item, true) : cJSON_CreateNull());
}

fm_status fm_json_print(const cJSON *item, struct fm_buf *out, struct fm_err *err)
{
    char *text = cJSON_PrintUnformatted(item);
    if (text) fm_buf_puts(out, text);
    cJSON_free(text);
    if (!text || !fm_buf_ok(out)) return FM_FAIL(err, FM_NOMEM, "JSON of more than %zu bytes, or no memory", out->max_bytes);
    return FM_OK;
}
