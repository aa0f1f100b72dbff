#include "tests/support/schema.h"

#include <math.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tuner/base/buf.h"
#include "tuner/base/memory.h"

#define PATH_BYTES 256

struct check {
    const cJSON *root;
    struct fm_err *err;
    int depth;
};

static fm_status check(struct check *c, const cJSON *schema, const cJSON *value, const char *path);

static bool has_type(const cJSON *value, const char *type)
{
    if (strcmp(type, "null") == 0) return cJSON_IsNull(value);
    if (strcmp(type, "boolean") == 0) return cJSON_IsBool(value);
    if (strcmp(type, "string") == 0) return cJSON_IsString(value);
    if (strcmp(type, "array") == 0) return cJSON_IsArray(value);
    if (strcmp(type, "object") == 0) return cJSON_IsObject(value);
    if (strcmp(type, "number") == 0) return cJSON_IsNumber(value);
    return strcmp(type, "integer") == 0 && cJSON_IsNumber(value) && value->valuedouble == floor(value->valuedouble);
}

static bool is_of_types(const cJSON *types, const cJSON *value)
{
    const cJSON *type = NULL;
    if (cJSON_IsString(types)) return has_type(value, types->valuestring);
    cJSON_ArrayForEach(type, types)
        if (has_type(value, type->valuestring)) return true;
    return false;
}

static bool is_one_of(const cJSON *values, const cJSON *value)
{
    const cJSON *one = NULL;
    cJSON_ArrayForEach(one, values)
        if (cJSON_Compare(one, value, true)) return true;
    return false;
}

static bool matches(const char *pattern, const char *text)
{
    regex_t regex;
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0) return false;
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static fm_status check_object(struct check *c, const cJSON *schema, const cJSON *object, const char *path)
{
    const cJSON *required = cJSON_GetObjectItemCaseSensitive(schema, "required"), *name = NULL, *member = NULL;
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties");
    const cJSON *additional = cJSON_GetObjectItemCaseSensitive(schema, "additionalProperties");
    fm_status status = FM_OK;
    cJSON_ArrayForEach(name, required)
        if (!cJSON_GetObjectItemCaseSensitive(object, name->valuestring))
            return FM_FAIL(c->err, FM_INVALID, "%s: required '%s' is missing", path, name->valuestring);
    cJSON_ArrayForEach(member, object) {
        char below[PATH_BYTES];
        (void)snprintf(below, sizeof below, "%.180s.%.60s", path, member->string);
        const cJSON *own = properties ? cJSON_GetObjectItemCaseSensitive(properties, member->string) : NULL;
        if (own) FM_TRY(check(c, own, member, below));
        else if (cJSON_IsFalse(additional)) return FM_FAIL(c->err, FM_INVALID, "%s: not in the schema", below);
        else if (cJSON_IsObject(additional)) FM_TRY(check(c, additional, member, below));
    }
out:
    return status;
}

static fm_status check_array(struct check *c, const cJSON *schema, const cJSON *array, const char *path)
{
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items"), *item = NULL;
    fm_status status = FM_OK;
    int index = 0;
    if (!items) return FM_OK;
    cJSON_ArrayForEach(item, array) {
        char below[PATH_BYTES];
        (void)snprintf(below, sizeof below, "%.200s[%d]", path, index++);
        FM_TRY(check(c, items, item, below));
    }
out:
    return status;
}

static fm_status check_keyword(struct check *c, const cJSON *keyword, const cJSON *value, const char *path)
{
    const char *name = keyword->string;
    static const char *const elsewhere[] = { "$schema", "$id", "title", "description", "$defs", "required", "properties",
                                             "additionalProperties", "items" };
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        if (strcmp(name, elsewhere[i]) == 0) return FM_OK;
    bool good;
    if (strcmp(name, "type") == 0) good = is_of_types(keyword, value);
    else if (strcmp(name, "const") == 0) good = cJSON_Compare(keyword, value, true);
    else if (strcmp(name, "enum") == 0) good = is_one_of(keyword, value);
    else if (strcmp(name, "pattern") == 0) good = !cJSON_IsString(value) || matches(keyword->valuestring, value->valuestring);
    else if (strcmp(name, "minimum") == 0) good = !cJSON_IsNumber(value) || value->valuedouble >= keyword->valuedouble;
    else if (strcmp(name, "$ref") == 0) {
        const cJSON *defs = cJSON_GetObjectItemCaseSensitive(c->root, "$defs");
        const char *prefix = "#/$defs/";
        bool local = strncmp(keyword->valuestring, prefix, strlen(prefix)) == 0;
        const cJSON *target = local ? cJSON_GetObjectItemCaseSensitive(defs, keyword->valuestring + strlen(prefix)) : NULL;
        if (!target) return FM_FAIL(c->err, FM_INVALID, "%s: $ref '%s' leads nowhere", path, keyword->valuestring);
        return check(c, target, value, path);
    } else {
        return FM_FAIL(c->err, FM_INVALID, "%s: the schema uses '%s', which is not supported here", path, name);
    }
    return good ? FM_OK : FM_FAIL(c->err, FM_INVALID, "%s: violates '%s'", path, name);
}

static fm_status check(struct check *c, const cJSON *schema, const cJSON *value, const char *path)
{
    const cJSON *keyword = NULL;
    fm_status status = FM_OK;
    if (!cJSON_IsObject(schema)) return FM_FAIL(c->err, FM_INVALID, "%s: its schema is no object", path);
    if (++c->depth > 64) return FM_FAIL(c->err, FM_INVALID, "%s: too deep", path);
    cJSON_ArrayForEach(keyword, schema) FM_TRY(check_keyword(c, keyword, value, path));
    if (cJSON_IsObject(value)) FM_TRY(check_object(c, schema, value, path));
    if (cJSON_IsArray(value)) FM_TRY(check_array(c, schema, value, path));
out:
    c->depth--;
    return status;
}

fm_status fm_schema_check(const cJSON *schema, const cJSON *value, struct fm_err *err)
{
    struct check c = { .root = schema, .err = err };
    return check(&c, schema, value, "$");
}

cJSON *fm_schema_load(const char *path)
{
    struct fm_buf text = FM_BUF((size_t)4 << 20);
    char part[4096];
    size_t n;
    FILE *file = fopen(path, "re");
    if (!file) return NULL;
    while ((n = fread(part, 1, sizeof part, file)) > 0) fm_buf_add(&text, part, n);
    (void)fclose(file);
    cJSON *json = fm_buf_ok(&text) ? cJSON_ParseWithOpts(fm_buf_text(&text), NULL, 1) : NULL;
    fm_buf_release(&text);
    return json;
}
