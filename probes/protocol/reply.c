#include "probes/protocol/protocol.h"

#include "probes/protocol/fields.h"
#include "probes/protocol/message.h"
#include "tuner/base/memory.h"

#include <string.h>

/* A reply that is not `ok` has nothing of its kind to tell, but for a probe, and for an inventory without a device, which
 * tells of software. */
enum { IN_BARE = 1, IN_DEVICE = 2, IN_ANSWERS = 4, IN_PROBE = 8, IN_REFUSED = 16 };

static uint32_t kind_of(const struct fm_reply *reply)
{
    if (reply->kind == FM_REQUEST_PROBE) return IN_PROBE;
    if (reply->outcome != FM_OUTCOME_ok) return reply->kind == FM_REQUEST_INVENTORY ? IN_REFUSED : IN_BARE;
    return reply->kind == FM_REQUEST_INVENTORY ? IN_DEVICE : IN_ANSWERS;
}

/* ---- device ---- */

#define AT(member) offsetof(struct fm_reply, member)
#define ROOM(member) .offset = AT(member), .bytes = sizeof ((struct fm_reply *)0)->member
static const struct fm_field device_fields[] = {
    { "id", FM_FIELD_TEXT, .in = FM_FIELD_IN_ALL, ROOM(device_id) },
    { "name", FM_FIELD_TEXT, .in = FM_FIELD_IN_ALL, ROOM(device_name) },
    { "isa", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, ROOM(device_isa) },
    { "library", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, ROOM(device_library) },
    { "driver", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, ROOM(device_driver) },
    { "uuid", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, ROOM(device_uuid) },
    { "total_bytes", FM_FIELD_I64, true, .in = FM_FIELD_IN_ALL, .offset = AT(device_total_bytes), .max = INT64_MAX },
    { "free_bytes", FM_FIELD_I64, true, .in = FM_FIELD_IN_ALL, .offset = AT(device_free_bytes), .max = INT64_MAX },
    { "threads", FM_FIELD_I32, .in = FM_FIELD_IN_ALL, .offset = AT(device_threads), .max = INT32_MAX },
    { "count", FM_FIELD_I32, true, .in = FM_FIELD_IN_ALL, .offset = AT(device_count), .max = INT32_MAX },
    { "framework_bytes", FM_FIELD_I64, true, .in = FM_FIELD_IN_ALL, .offset = AT(device_framework_bytes), .max = INT64_MAX },
    { "facts", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, ROOM(device_facts) },
    { "software", FM_FIELD_OTHER, true, .in = FM_FIELD_IN_ALL, .other = &fm_software_field },
    { "findings", FM_FIELD_OTHER, true, .in = FM_FIELD_IN_ALL, .other = &fm_findings_field },
    { "holders", FM_FIELD_OTHER, true, .in = FM_FIELD_IN_ALL, .other = &fm_holders_field },
    { .name = NULL },
};

static void write_device(struct fm_coding *coding, const void *base)
{
    fm_fields_write(coding, device_fields, FM_FIELD_IN_ALL, base);
}

static fm_status read_device(struct fm_coding *coding, const cJSON *item, void *base)
{
    return fm_fields_read(coding, item, device_fields, FM_FIELD_IN_ALL, base);
}

/* ---- answers ---- */

static void write_candidates(struct fm_coding *coding, const void *base)
{
    const struct fm_answer *answer = base;
    uint32_t count = answer->count;
    if (count > FM_ANSWER_CANDIDATES) {
        (void)fm_coding_fail(coding, FM_INVALID, "%u candidates, at most %d are sent", count, FM_ANSWER_CANDIDATES);
        count = 0;
    }
    fm_buf_putc(coding->out, '[');
    for (uint32_t i = 0; i < count; i++) {
        fm_buf_puts(coding->out, i ? ",{\"bytes\":" : "{\"bytes\":");
        fm_write_int(coding, answer->candidate[i].bytes, 0, INT64_MAX);
        fm_buf_puts(coding->out, ",\"what\":");
        fm_write_text(coding, answer->candidate[i].what, sizeof answer->candidate[i].what);
        fm_buf_putc(coding->out, '}');
    }
    fm_buf_putc(coding->out, ']');
}

static fm_status read_candidate(struct fm_coding *coding, const cJSON *object, struct fm_answer *answer)
{
    const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(object, "bytes");
    const cJSON *what = cJSON_GetObjectItemCaseSensitive(object, "what");
    if (!cJSON_IsObject(object) || cJSON_GetArraySize(object) != 2 || !bytes || !what)
        return fm_coding_fail(coding, FM_PROTOCOL, "not an object of bytes and what");
    size_t mark = fm_coding_push(coding, "bytes");
    fm_status status = fm_read_int(coding, bytes, 0, INT64_MAX, &answer->candidate[answer->count].bytes);
    if (status != FM_OK) return status;
    fm_coding_pop(coding, mark);
    mark = fm_coding_push(coding, "what");
    status = fm_read_text(coding, what, answer->candidate[answer->count].what, sizeof answer->candidate[0].what);
    if (status != FM_OK) return status;
    fm_coding_pop(coding, mark);
    return FM_OK;
}

static fm_status read_candidates(struct fm_coding *coding, const cJSON *array, void *base)
{
    struct fm_answer *answer = base;
    size_t count = 0;
    fm_status status = fm_read_array(coding, array, FM_ANSWER_CANDIDATES, &count);
    if (status != FM_OK) return status;
    for (const cJSON *item = array->child; item; item = item->next, answer->count++) {
        size_t mark = fm_coding_push_index(coding, answer->count);
        status = read_candidate(coding, item, answer);
        if (status != FM_OK) return status;
        fm_coding_pop(coding, mark);
    }
    return FM_OK;
}

static const struct fm_field_other candidates_field = { NULL, write_candidates, read_candidates };
static const struct fm_field answer_fields[] = {
    { "key", FM_FIELD_HASH, .in = FM_FIELD_IN_ALL, .offset = offsetof(struct fm_answer, key) },
    { "unsupported", FM_FIELD_BOOL, .in = FM_FIELD_IN_ALL, .offset = offsetof(struct fm_answer, unsupported) },
    { "reason", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, .offset = offsetof(struct fm_answer, reason),
      .bytes = sizeof ((struct fm_answer *)0)->reason },
    { "kept_bytes", FM_FIELD_I64, .in = FM_FIELD_IN_ALL, .offset = offsetof(struct fm_answer, kept_bytes), .max = INT64_MAX },
    { "candidates", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &candidates_field },
    { .name = NULL },
};

static void write_answers(struct fm_coding *coding, const void *base)
{
    const struct fm_reply *reply = base;
    size_t count = reply->answers;
    if (count > FM_MAX_KEYS) {
        (void)fm_coding_fail(coding, FM_INVALID, "%zu answers, at most %d are sent", count, FM_MAX_KEYS);
        count = 0;
    }
    fm_buf_putc(coding->out, '[');
    for (size_t i = 0; i < count; i++) {
        size_t mark = fm_coding_push_index(coding, i);
        if (i) fm_buf_putc(coding->out, ',');
        fm_fields_write(coding, answer_fields, FM_FIELD_IN_ALL, &reply->answer[i]);
        fm_coding_pop(coding, mark);
    }
    fm_buf_putc(coding->out, ']');
}

static fm_status read_answers(struct fm_coding *coding, const cJSON *array, void *base)
{
    struct fm_reply *reply = base;
    size_t count = 0;
    fm_status status = fm_read_array(coding, array, FM_MAX_KEYS, &count);
    if (status != FM_OK) return status;
    reply->answer = fm_calloc(count, sizeof *reply->answer);
    if (!reply->answer) return fm_coding_fail(coding, FM_NOMEM, "%zu answers", count);
    for (const cJSON *item = array->child; item; item = item->next) {
        size_t mark = fm_coding_push_index(coding, reply->answers);
        status = fm_fields_read(coding, item, answer_fields, FM_FIELD_IN_ALL, &reply->answer[reply->answers]);
        if (status != FM_OK) return status;
        reply->answers++;
        fm_coding_pop(coding, mark);
    }
    return FM_OK;
}

/* ---- what was measured ---- */

static void write_ints(struct fm_coding *coding, const int64_t *value, size_t count, size_t max)
{
    if (count > max) {
        (void)fm_coding_fail(coding, FM_INVALID, "%zu items, at most %zu are sent", count, max);
        count = 0;
    }
    fm_buf_putc(coding->out, '[');
    for (size_t i = 0; i < count; i++) {
        size_t mark = fm_coding_push_index(coding, i);
        if (i) fm_buf_putc(coding->out, ',');
        fm_write_int(coding, value[i], 0, INT64_MAX);
        fm_coding_pop(coding, mark);
    }
    fm_buf_putc(coding->out, ']');
}

static fm_status read_ints(struct fm_coding *coding, const cJSON *array, int64_t *value, size_t max, size_t *count)
{
    fm_status status = fm_read_array(coding, array, max, count);
    if (status != FM_OK) return status;
    size_t i = 0;
    for (const cJSON *item = array->child; item; item = item->next, i++) {
        size_t mark = fm_coding_push_index(coding, i);
        status = fm_read_int(coding, item, 0, INT64_MAX, &value[i]);
        if (status != FM_OK) return status;
        fm_coding_pop(coding, mark);
    }
    return FM_OK;
}

static void write_breakdown(struct fm_coding *coding, const void *base)
{
    write_ints(coding, ((const struct fm_measured *)base)->breakdown_bytes, FM_BREAKDOWN_ROWS, FM_BREAKDOWN_ROWS);
}

static fm_status read_breakdown(struct fm_coding *coding, const cJSON *item, void *base)
{
    size_t count = 0;
    fm_status status =
        read_ints(coding, item, ((struct fm_measured *)base)->breakdown_bytes, FM_BREAKDOWN_ROWS, &count);
    if (status == FM_OK && count != FM_BREAKDOWN_ROWS)
        status = fm_coding_fail(coding, FM_PROTOCOL, "%zu items, not %d", count, FM_BREAKDOWN_ROWS);
    return status;
}

static void write_steps(struct fm_coding *coding, const void *base)
{
    const struct fm_measured *measured = base;
    write_ints(coding, measured->step_ns, measured->step_count, FM_MAX_STEPS_KEPT);
}

static fm_status read_steps(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_measured *measured = base;
    size_t count = 0;
    fm_status status = read_ints(coding, item, measured->step_ns, FM_MAX_STEPS_KEPT, &count);
    measured->step_count = status == FM_OK ? (uint32_t)count : 0;
    return status;
}

static bool marks_known(const void *base) { return ((const struct fm_measured *)base)->marked; }

static void write_throttled(struct fm_coding *coding, const void *base)
{
    const struct fm_measured *measured = base;
    write_ints(coding, measured->throttled, measured->throttled_count, FM_MAX_STEPS_KEPT);
}

static fm_status read_throttled(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_measured *measured = base;
    size_t count = 0;
    fm_status status = read_ints(coding, item, measured->throttled, FM_MAX_STEPS_KEPT, &count);
    measured->marked = status == FM_OK;
    measured->throttled_count = status == FM_OK ? (uint32_t)count : 0;
    return status;
}

static const struct fm_field_other throttled_field = { marks_known, write_throttled, read_throttled };
static const struct fm_field_other breakdown_field = { NULL, write_breakdown, read_breakdown };
static const struct fm_field_other steps_field = { NULL, write_steps, read_steps };
#define IN_MEASURED(member) .in = FM_FIELD_IN_ALL, .offset = offsetof(struct fm_measured, member)
static const struct fm_field measured_fields[] = {
    { "allocated_bytes", FM_FIELD_I64, IN_MEASURED(allocated_bytes), .max = INT64_MAX },
    { "reserved_bytes", FM_FIELD_I64, IN_MEASURED(reserved_bytes), .max = INT64_MAX },
    { "counted_bytes", FM_FIELD_I64, IN_MEASURED(counted_bytes), .max = INT64_MAX },
    { "workspace_bytes", FM_FIELD_I64, IN_MEASURED(workspace_bytes), .max = INT64_MAX },
    { "breakdown_bytes", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &breakdown_field },
    { "steps", FM_FIELD_U32, IN_MEASURED(steps), .max = UINT32_MAX },
    { "step_ns", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &steps_field },
    { "throttled", FM_FIELD_OTHER, true, .in = FM_FIELD_IN_ALL, .other = &throttled_field },
    { "loss_first", FM_FIELD_F64, true, IN_MEASURED(loss_first) },
    { "loss_last", FM_FIELD_F64, true, IN_MEASURED(loss_last) },
    { .name = NULL },
};

static bool train_known(const void *base) { return ((const struct fm_reply *)base)->train.known; }
static bool val_known(const void *base) { return ((const struct fm_reply *)base)->val.known; }

static void write_train(struct fm_coding *coding, const void *base)
{
    fm_fields_write(coding, measured_fields, FM_FIELD_IN_ALL, &((const struct fm_reply *)base)->train);
}

static void write_val(struct fm_coding *coding, const void *base)
{
    fm_fields_write(coding, measured_fields, FM_FIELD_IN_ALL, &((const struct fm_reply *)base)->val);
}

static fm_status read_train(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_measured *measured = &((struct fm_reply *)base)->train;
    measured->known = true;
    return fm_fields_read(coding, item, measured_fields, FM_FIELD_IN_ALL, measured);
}

static fm_status read_val(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_measured *measured = &((struct fm_reply *)base)->val;
    measured->known = true;
    return fm_fields_read(coding, item, measured_fields, FM_FIELD_IN_ALL, measured);
}

/* ---- where it failed ---- */

static const struct fm_field at_fields[] = {
    { "op", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, ROOM(at_op) },
    { "wanted_bytes", FM_FIELD_I64, .in = FM_FIELD_IN_ALL, .offset = AT(at_bytes), .max = INT64_MAX },
    { "below_limit", FM_FIELD_BOOL, .in = FM_FIELD_IN_ALL, .offset = AT(below_limit) },
    { .name = NULL },
};

static bool at_known(const void *base)
{
    const struct fm_reply *reply = base;
    return reply->at_op[0] || reply->at_bytes || reply->below_limit;
}

static void write_at(struct fm_coding *coding, const void *base)
{
    fm_fields_write(coding, at_fields, FM_FIELD_IN_ALL, base);
}

static fm_status read_at(struct fm_coding *coding, const cJSON *item, void *base)
{
    return fm_fields_read(coding, item, at_fields, FM_FIELD_IN_ALL, base);
}

/* ---- the device meanwhile ---- */

#define STATE(member) offsetof(struct fm_reply_state, member)
#define STATE_I32(name) { #name, FM_FIELD_I32, true, .in = FM_FIELD_IN_ALL, .offset = STATE(name), .max = INT32_MAX }
#define STATE_TEXT(name) \
    { #name, FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, .offset = STATE(name), .bytes = sizeof ((struct fm_reply_state *)0)->name }
static const struct fm_field state_fields[] = {
    { "looks", FM_FIELD_U32, .in = FM_FIELD_IN_ALL, .offset = STATE(looks), .max = UINT32_MAX },
    STATE_I32(sm_mhz_min), STATE_I32(sm_mhz_median), STATE_I32(memory_mhz_min), STATE_I32(memory_mhz_median),
    STATE_I32(power_mw_median), STATE_I32(power_mw_max), STATE_I32(temperature_c_median), STATE_I32(temperature_c_max),
    STATE_I32(others), STATE_TEXT(slow), STATE_TEXT(note),
    { .name = NULL },
};

static bool was_watched(const void *base) { return ((const struct fm_reply *)base)->watched; }

static void write_state(struct fm_coding *coding, const void *base)
{
    fm_fields_write(coding, state_fields, FM_FIELD_IN_ALL, &((const struct fm_reply *)base)->state);
}

static fm_status read_state(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_reply *reply = base;
    reply->watched = true;
    return fm_fields_read(coding, item, state_fields, FM_FIELD_IN_ALL, &reply->state);
}

/* ---- the whole ---- */

static void write_kind(struct fm_coding *coding, const void *base)
{
    fm_buf_printf(coding->out, "\"%s\"", fm_request_kind_name(((const struct fm_reply *)base)->kind));
}

static void write_outcome(struct fm_coding *coding, const void *base)
{
    fm_buf_printf(coding->out, "\"%s\"", fm_outcome_name(((const struct fm_reply *)base)->outcome));
}

static const struct fm_field_other version_field = { NULL, fm_version_write, fm_checked_read };
static const struct fm_field_other kind_field = { NULL, write_kind, fm_checked_read };
static const struct fm_field_other outcome_field = { NULL, write_outcome, fm_checked_read };
static const struct fm_field_other device_field = { NULL, write_device, read_device };
static const struct fm_field_other answers_field = { NULL, write_answers, read_answers };
static const struct fm_field_other train_field = { train_known, write_train, read_train };
static const struct fm_field_other val_field = { val_known, write_val, read_val };
static const struct fm_field_other state_field = { was_watched, write_state, read_state };
static const struct fm_field_other at_field = { at_known, write_at, read_at };

static const struct fm_field fields[] = {
    { "v", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &version_field },
    { "id", FM_FIELD_I64, .in = FM_FIELD_IN_ALL, .offset = AT(id), .max = INT64_MAX },
    { "req", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &kind_field },
    { "outcome", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &outcome_field },
    { "reason", FM_FIELD_TEXT, true, .in = FM_FIELD_IN_ALL, ROOM(reason) },
    { "device", FM_FIELD_OTHER, .in = IN_DEVICE, .other = &device_field },
    { "software", FM_FIELD_OTHER, true, .in = IN_REFUSED, .other = &fm_software_field },
    { "findings", FM_FIELD_OTHER, true, .in = IN_REFUSED, .other = &fm_findings_field },
    { "answers", FM_FIELD_OTHER, .in = IN_ANSWERS, .other = &answers_field },
    { "program", FM_FIELD_HASH, true, .in = IN_PROBE, .offset = AT(program) },
    { "train", FM_FIELD_OTHER, true, .in = IN_PROBE, .other = &train_field },
    { "val", FM_FIELD_OTHER, true, .in = IN_PROBE, .other = &val_field },
    { "failed_in_val", FM_FIELD_BOOL, .in = IN_PROBE, .offset = AT(failed_in_val) },
    { "at", FM_FIELD_OTHER, true, .in = IN_PROBE, .other = &at_field },
    { "setup_ns", FM_FIELD_I64, .in = IN_PROBE, .offset = AT(setup_ns), .max = INT64_MAX },
    { "wall_ns", FM_FIELD_I64, .in = IN_PROBE, .offset = AT(wall_ns), .max = INT64_MAX },
    { "rss_peak_bytes", FM_FIELD_I64, true, .in = IN_PROBE, .offset = AT(rss_peak_bytes), .max = INT64_MAX },
    { "stop_reason", FM_FIELD_TEXT, true, .in = IN_PROBE, ROOM(stop_reason) },
    { "untimed", FM_FIELD_TEXT, true, .in = IN_PROBE, ROOM(untimed) },
    { "state", FM_FIELD_OTHER, true, .in = IN_PROBE, .other = &state_field },
    { "others", FM_FIELD_OTHER, true, .in = IN_PROBE, .other = &fm_holders_field },
    { .name = NULL },
};

void fm_reply_init(struct fm_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    fm_fields_clear(fields, reply);
    fm_fields_clear(device_fields, reply);
    fm_fields_clear(state_fields, &reply->state);
    fm_fields_clear(measured_fields, &reply->train);
    fm_fields_clear(measured_fields, &reply->val);
}

void fm_reply_release(struct fm_reply *reply)
{
    fm_free(reply->answer);
    reply->answer = NULL;
    reply->answers = 0;
}

static fm_status check_marks(struct fm_coding *coding, const char *phase, const struct fm_measured *m)
{
    for (uint32_t i = 0; i < m->throttled_count; i++)
        if (m->throttled[i] >= m->step_count || (i && m->throttled[i] <= m->throttled[i - 1]))
            return fm_coding_fail(coding, FM_PROTOCOL, "%s.throttled[%u]: no step, or not after the one before it", phase, i);
    return FM_OK;
}

/* what no single field shows */
static fm_status check(struct fm_coding *coding, const struct fm_reply *reply)
{
    enum fm_outcome outcome = reply->outcome;
    bool ran = outcome == FM_OUTCOME_ok || outcome == FM_OUTCOME_oom_device || outcome == FM_OUTCOME_nonfinite;
    if (reply->kind != FM_REQUEST_PROBE) return FM_OK;
    if (ran && !reply->program) return fm_coding_fail(coding, FM_PROTOCOL, "program: missing");
    if (outcome == FM_OUTCOME_ok && !reply->train.known && !reply->val.known)
        return fm_coding_fail(coding, FM_PROTOCOL, "train: missing, and so is val: what ran is not known");
    fm_status status = check_marks(coding, "train", &reply->train);
    return status == FM_OK ? check_marks(coding, "val", &reply->val) : status;
}

fm_status fm_reply_write(const struct fm_reply *reply, struct fm_buf *out, struct fm_err *err)
{
    struct fm_coding coding = { .message = "reply", .err = err, .out = out, .lenient = true };
    size_t start = out->bytes;
    if ((unsigned)reply->kind >= FM_REQUEST_COUNT)
        return fm_coding_fail(&coding, FM_INVALID, "req: kind %d", (int)reply->kind);
    if ((unsigned)reply->outcome >= FM_OUTCOME_planned)
        return fm_coding_fail(&coding, FM_INVALID, "outcome: %s is none of a worker's",
                              fm_outcome_name(reply->outcome));
    fm_fields_write(&coding, fields, kind_of(reply), reply);
    return fm_message_end(&coding, start);
}

fm_status fm_reply_read(const char *line, size_t bytes, struct fm_reply *out, struct fm_err *err)
{
    struct fm_coding coding = { .message = "reply", .err = err };
    cJSON *object = NULL;
    fm_reply_init(out);
    fm_status status = fm_message_parse(&coding, line, bytes, &object);
    if (status != FM_OK) return status;
    status = fm_kind_of(&coding, object, &out->kind);
    out->outcome = fm_outcome_parse(fm_message_text(object, "outcome"));
    if (status == FM_OK && out->outcome >= FM_OUTCOME_planned)
        status = fm_coding_fail(&coding, FM_PROTOCOL, "outcome: '%.32s' is none of a worker's",
                                fm_message_text(object, "outcome"));
    if (status == FM_OK) status = fm_fields_read(&coding, object, fields, kind_of(out), out);
    if (status == FM_OK) status = check(&coding, out);
    if (status != FM_OK) fm_reply_release(out);
    cJSON_Delete(object);
    return status;
}
