#include "tuner/commands/records.h"

#include "probes/protocol/json.h"
#include "probes/protocol/protocol.h"
#include "tuner/base/clock.h"
#include "tuner/base/handicap.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static fm_status add_pair(void *context, const char *key, const char *value)
{
    return cJSON_AddStringToObject(context, key, value) ? FM_OK : FM_NOMEM;
}

static bool add_device(cJSON *list, const struct fm_session *s)
{
    const struct fm_reply *d = s->device;
    int64_t capacity_bytes = s->capacity_bytes;
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(list, o)) return false;
    bool good = cJSON_AddStringToObject(o, "id", d->device_id) && cJSON_AddStringToObject(o, "name", d->device_name);
    if (good && d->device_isa[0]) good = cJSON_AddStringToObject(o, "isa", d->device_isa) != NULL;
    if (good && d->device_library[0]) good = cJSON_AddStringToObject(o, "library", d->device_library) != NULL;
    if (good && d->device_driver[0]) good = cJSON_AddStringToObject(o, "driver", d->device_driver) != NULL;
    if (good && d->device_threads > 0) good = cJSON_AddNumberToObject(o, "threads", d->device_threads) != NULL;
    if (good && d->device_uuid[0]) good = cJSON_AddStringToObject(o, "uuid", d->device_uuid) != NULL;
    if (good && d->device_total_bytes >= 0) good = fm_json_add_i64(o, "total_bytes", d->device_total_bytes);
    if (good && capacity_bytes > 0 && capacity_bytes != INT64_MAX) good = fm_json_add_i64(o, "capacity_bytes", capacity_bytes);
    if (good && s->framework_bytes) good = fm_json_add_i64(o, "framework_bytes", s->framework_bytes);
    if (good && s->note[0]) good = cJSON_AddStringToObject(o, "note", s->note) != NULL;
    return good;
}

cJSON *fm_record_run(const char *kind, const struct fm_options *options, const struct fm_session *session, size_t sessions)
{
    cJSON *o = cJSON_CreateObject();
    char started[FM_TIMESTAMP_BYTES], host[128] = "", seed[32];
    fm_timestamp(started);
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    (void)snprintf(seed, sizeof seed, "%" PRId64, options->seed);
    bool good = o && cJSON_AddStringToObject(o, "kind", kind) && cJSON_AddNumberToObject(o, "v", 1) &&
                cJSON_AddStringToObject(o, "tool", FILLMARK_VERSION) && cJSON_AddStringToObject(o, "started", started) &&
                cJSON_AddStringToObject(o, "host", host) && cJSON_AddStringToObject(o, "seed", seed) &&
                (!FM_HANDICAP_ANY || cJSON_AddStringToObject(o, "handicap", FM_HANDICAP_TEXT));
    cJSON *devices = good ? cJSON_AddArrayToObject(o, "devices") : NULL, *config = good ? cJSON_AddObjectToObject(o, "config") : NULL;
    good = devices && config && fm_options_echo(options, add_pair, config) == FM_OK;
    for (size_t i = 0; good && i < sessions; i++) good = add_device(devices, &session[i]);
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}

cJSON *fm_record_end(const struct fm_campaign_totals *totals, bool interrupted)
{
    cJSON *o = cJSON_CreateObject();
    bool good = o && cJSON_AddStringToObject(o, "kind", "end") && cJSON_AddNumberToObject(o, "v", 1) &&
                fm_json_add_i64(o, "wall_ns", totals->wall_ns) &&
                fm_json_add_i64(o, "measured_ns", totals->steps_ns) &&
                fm_json_add_i64(o, "overhead_ns", (totals->wall_ns - totals->steps_ns)) &&
                cJSON_AddBoolToObject(o, "interrupted", interrupted);
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}
