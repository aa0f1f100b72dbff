#include "results/resume.h"

#include <stdio.h>
#include <string.h>

#include "results/json.h"

static bool same_text(const cJSON *record, const char *name, const char *want)
{
    const char *text = fm_json_text(record, name);
    return text && strcmp(text, want) == 0;
}

static bool same_number(const cJSON *record, const char *name, int64_t want)
{
    int64_t value;
    return fm_json_i64(record, name, &value) && value == want;
}

bool fm_probe_has(const struct fm_probe_key *key, const cJSON *record)
{
    if (!same_text(record, "cell", key->cell) || !same_number(record, "batch", key->batch) ||
        !same_number(record, "val_batch", key->val_batch) || !same_number(record, "launch", key->launch))
        return false;
    /* a record without a device is of the only one there is */
    if (key->device && fm_json_get(record, "device") && !same_text(record, "device", key->device)) return false;
    return !key->role || same_text(record, "role", key->role);
}

#define VALUE_BYTES 160

/* for people; "unknown" if absent */
static void describe(const cJSON *object, const char *name, char text[VALUE_BYTES])
{
    const cJSON *value = fm_json_get(object, name);
    if (cJSON_IsString(value)) (void)snprintf(text, VALUE_BYTES, "'%s'", value->valuestring);
    else if (cJSON_IsNumber(value)) (void)snprintf(text, VALUE_BYTES, "%.15g", value->valuedouble);
    else (void)snprintf(text, VALUE_BYTES, "unknown");
}

static fm_status compare(const char *what, const cJSON *then, const cJSON *now, const char *name, struct fm_err *err)
{
    char was[VALUE_BYTES], is[VALUE_BYTES];
    const cJSON *a = fm_json_get(then, name), *b = fm_json_get(now, name);
    int64_t i, j;       /* one was printed and read, the other was not */
    bool equal = fm_json_i64(then, name, &i) && fm_json_i64(now, name, &j) && i == j;
    if (equal || (!a && !b) || (a && b && cJSON_Compare(a, b, true))) return FM_OK;
    describe(then, name, was);
    describe(now, name, is);
    return FM_FAIL(err, FM_MISMATCH, "%s%s: recorded with %s, now %s; results of both do not compare: run with another --out",
                   what, name, was, is);
}

static bool is_host(const char *id)
{
    return strcmp(id, "cpu") == 0 || strcmp(id, "ref") == 0;
}

/* is it the same one of its kind? A journal of an earlier version says less, and is compared on what it says. */
static fm_status compare_identity(const char *what, const cJSON *then, const cJSON *now, struct fm_err *err)
{
    static const char *const names[] = { "uuid", "total_bytes" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fm_status status = fm_json_get(then, names[i]) ? compare(what, then, now, names[i], err) : FM_OK;
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

static const cJSON *device_of(const cJSON *run, const char *id)
{
    const cJSON *device = NULL;
    cJSON_ArrayForEach(device, fm_json_array(run, "devices"))
        if (same_text(device, "id", id)) return device;
    return NULL;
}

int64_t fm_resume_capacity(const cJSON *run, const char *device, int64_t otherwise)
{
    int64_t bytes;
    const cJSON *then = run ? device_of(run, device) : NULL;
    return then && fm_json_i64(then, "capacity_bytes", &bytes) ? bytes : otherwise;
}

fm_status fm_resume_check(const cJSON *then, const cJSON *now, struct fm_err *err)
{
    static const char *const names[] = { "name", "isa", "library", "driver", "threads", "capacity_bytes" };
    fm_status status = FM_OK;
    const cJSON *device = NULL;
    FM_TRY(compare("", then, now, "tool", err));
    FM_TRY(compare("", then, now, "seed", err));
    cJSON_ArrayForEach(device, fm_json_array(now, "devices")) {
        const char *id = fm_json_text(device, "id");
        const cJSON *old = id ? device_of(then, id) : NULL;
        char what[80];
        if (!old)
            return FM_FAIL(err, FM_MISMATCH, "device %s: the recorded run did not use it; run with another --out", id ? id : "?");
        (void)snprintf(what, sizeof what, "device %.64s: ", id);
        if (!is_host(id)) FM_TRY(compare_identity(what, old, device, err));
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) FM_TRY(compare(what, old, device, names[i], err));
    }
    cJSON_ArrayForEach(device, fm_json_array(then, "devices")) {
        const char *id = fm_json_text(device, "id");
        if (!id || !device_of(now, id))
            return FM_FAIL(err, FM_MISMATCH, "device %s: the recorded run used it, this one does not; give the same --device",
                           id ? id : "?");
    }
out:
    return status;
}

fm_status fm_resume_run(const struct fm_records *records, const cJSON **run, struct fm_err *err)
{
    *run = records->count ? records->item[0] : NULL;
    if (*run && strcmp(fm_record_kind(*run), "run") == 0) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "the journal does not begin with a run record: %s",
                   records->count ? "it is not one of fillmark run" : "it is empty, so there is nothing to resume or report");
}
