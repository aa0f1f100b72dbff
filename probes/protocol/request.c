#include "probes/protocol/protocol.h"

#include "probes/protocol/fields.h"
#include "probes/protocol/message.h"
#include "tuner/base/memory.h"

#include <string.h>

enum {
    IN_WORKSPACES = 1 << FM_REQUEST_WORKSPACES,
    IN_PROBE = 1 << FM_REQUEST_PROBE,
    IN_CELL = IN_WORKSPACES | IN_PROBE
};

/* a duration from milliseconds to nanoseconds without overflow */
#define MAX_MS INT64_C(1000000000000)
#define MAX_STEPS 1000000

const char *fm_request_kind_name(enum fm_request_kind kind)
{
    switch (kind) {
    case FM_REQUEST_INVENTORY: return "inventory";
    case FM_REQUEST_WORKSPACES: return "workspaces";
    case FM_REQUEST_PROBE: return "probe";
    case FM_REQUEST_COUNT: break;
    }
    return "unknown";
}

void fm_version_write(struct fm_coding *coding, const void *base)
{
    (void)base;
    fm_buf_printf(coding->out, "%d", FM_PROTOCOL_VERSION);
}

fm_status fm_checked_read(struct fm_coding *coding, const cJSON *item, void *base)
{
    (void)coding, (void)item, (void)base;
    return FM_OK;
}

fm_status fm_kind_of(struct fm_coding *coding, const cJSON *object, enum fm_request_kind *out)
{
    const char *name = fm_message_text(object, "req");
    for (int kind = 0; kind < FM_REQUEST_COUNT; kind++) {
        *out = (enum fm_request_kind)kind;
        if (strcmp(name, fm_request_kind_name(*out)) == 0) return FM_OK;
    }
    return fm_coding_fail(coding, FM_PROTOCOL, "req: '%.32s' is none of inventory, workspaces, probe", name);
}

/* ---- pairs ---- */

static void write_pairs(struct fm_coding *coding, const struct fm_pairs *pairs)
{
    uint32_t count = pairs->count;
    if (count > FM_MAX_PAIRS) {
        (void)fm_coding_fail(coding, FM_INVALID, "%u pairs, at most %d are sent", count, FM_MAX_PAIRS);
        count = 0;
    }
    fm_buf_putc(coding->out, '{');
    for (uint32_t i = 0; i < count; i++) {
        const struct fm_pair *pair = &pairs->item[i];
        if (i) fm_buf_putc(coding->out, ',');
        fm_write_text(coding, pair->key, sizeof pair->key);
        fm_buf_putc(coding->out, ':');
        fm_write_text(coding, pair->value, sizeof pair->value);
    }
    fm_buf_putc(coding->out, '}');
}

static fm_status read_pairs(struct fm_coding *coding, const cJSON *object, struct fm_pairs *pairs)
{
    if (!cJSON_IsObject(object)) return fm_coding_fail(coding, FM_PROTOCOL, "not an object");
    for (const cJSON *item = object->child; item; item = item->next) {
        char value[FM_PAIR_BYTES];
        size_t mark = fm_coding_push(coding, item->string);
        fm_status status = fm_read_text(coding, item, value, sizeof value);
        if (status != FM_OK) return status;
        if (fm_pairs_get(pairs, item->string)) return fm_coding_fail(coding, FM_PROTOCOL, "there twice");
        if (!fm_pairs_set(pairs, item->string, value))
            return fm_coding_fail(coding, FM_PROTOCOL, "an empty or long name, or more than %d of them", FM_MAX_PAIRS);
        fm_coding_pop(coding, mark);
    }
    return FM_OK;
}

static void write_set(struct fm_coding *coding, const void *base)
{
    write_pairs(coding, &((const struct fm_request *)base)->cell.set);
}

static fm_status read_set(struct fm_coding *coding, const cJSON *item, void *base)
{
    return read_pairs(coding, item, &((struct fm_request *)base)->cell.set);
}

static void write_strategies(struct fm_coding *coding, const void *base)
{
    write_pairs(coding, &((const struct fm_request *)base)->cell.strategies);
}

static fm_status read_strategies(struct fm_coding *coding, const cJSON *item, void *base)
{
    return read_pairs(coding, item, &((struct fm_request *)base)->cell.strategies);
}

/* ---- keys ---- */

static void write_keys(struct fm_coding *coding, const void *base)
{
    const struct fm_request *request = base;
    size_t count = request->keys;
    if (count > FM_MAX_KEYS) {
        (void)fm_coding_fail(coding, FM_INVALID, "%zu keys, at most %d are sent", count, FM_MAX_KEYS);
        count = 0;
    }
    fm_buf_putc(coding->out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i) fm_buf_putc(coding->out, ',');
        fm_write_hash(coding, request->key[i]);
    }
    fm_buf_putc(coding->out, ']');
}

static fm_status read_keys(struct fm_coding *coding, const cJSON *array, void *base)
{
    struct fm_request *request = base;
    size_t count = 0;
    fm_status status = fm_read_array(coding, array, FM_MAX_KEYS, &count);
    if (status != FM_OK) return status;
    request->key = fm_calloc(count, sizeof *request->key);
    if (!request->key) return fm_coding_fail(coding, FM_NOMEM, "%zu keys", count);
    for (const cJSON *item = array->child; item; item = item->next) {
        size_t mark = fm_coding_push_index(coding, request->keys);
        status = fm_read_hash(coding, item, &request->key[request->keys]);
        if (status != FM_OK) return status;
        request->keys++;
        fm_coding_pop(coding, mark);
    }
    return FM_OK;
}

static void write_kind(struct fm_coding *coding, const void *base)
{
    fm_buf_printf(coding->out, "\"%s\"", fm_request_kind_name(((const struct fm_request *)base)->kind));
}

static const struct fm_field_other version_field = { NULL, fm_version_write, fm_checked_read };
static const struct fm_field_other kind_field = { NULL, write_kind, fm_checked_read };
static const struct fm_field_other set_field = { NULL, write_set, read_set };
static const struct fm_field_other strategies_field = { NULL, write_strategies, read_strategies };
static const struct fm_field_other keys_field = { NULL, write_keys, read_keys };

#define AT(member) offsetof(struct fm_request, member)
static const struct fm_field fields[] = {
    { "v", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &version_field },
    { "id", FM_FIELD_I64, .in = FM_FIELD_IN_ALL, .offset = AT(id), .max = INT64_MAX },
    { "req", FM_FIELD_OTHER, .in = FM_FIELD_IN_ALL, .other = &kind_field },
    { "workload", FM_FIELD_TEXT, .in = IN_CELL, .offset = AT(cell.workload),
      .bytes = sizeof((struct fm_cell_spec *)0)->workload },
    { "set", FM_FIELD_OTHER, .in = IN_CELL, .other = &set_field },
    { "strategies", FM_FIELD_OTHER, .in = IN_CELL, .other = &strategies_field },
    { "batch", FM_FIELD_I64, .in = IN_CELL, .offset = AT(batch), .max = FM_MAX_BATCH },
    { "val_batch", FM_FIELD_I64, .in = IN_CELL, .offset = AT(val_batch), .max = FM_MAX_BATCH },
    { "keys", FM_FIELD_OTHER, .in = IN_WORKSPACES, .other = &keys_field },
    { "program", FM_FIELD_HASH, .in = IN_PROBE, .offset = AT(program) },
    { "memory_bytes", FM_FIELD_I64, .in = IN_PROBE, .offset = AT(memory_bytes), .min = 1, .max = INT64_MAX },
    { "seed", FM_FIELD_HASH, .in = IN_PROBE, .offset = AT(seed) },
    { "deadline_ms", FM_FIELD_I64, .in = IN_PROBE, .offset = AT(deadline_ms), .max = MAX_MS },
    { "train_steps", FM_FIELD_U32, .in = IN_PROBE, .offset = AT(train_steps), .max = MAX_STEPS },
    { "val_steps", FM_FIELD_U32, .in = IN_PROBE, .offset = AT(val_steps), .max = MAX_STEPS },
    { "tail_steps", FM_FIELD_U32, .in = IN_PROBE, .offset = AT(tail_steps), .max = MAX_STEPS },
    { "measured_min", FM_FIELD_U32, .in = IN_PROBE, .offset = AT(measured_min), .max = FM_MAX_STEPS_KEPT },
    { "measured_max", FM_FIELD_U32, .in = IN_PROBE, .offset = AT(measured_max), .max = FM_MAX_STEPS_KEPT },
    { "measured_max_ms", FM_FIELD_I64, .in = IN_PROBE, .offset = AT(measured_max_ms), .max = MAX_MS },
    { "relative_error", FM_FIELD_F64, .in = IN_PROBE, .offset = AT(relative_error), .max = 1 },
    { "fixed_batch", FM_FIELD_BOOL, .in = IN_PROBE, .offset = AT(fixed_batch) },
    { "poison", FM_FIELD_BOOL, .in = IN_PROBE, .offset = AT(poison) },
    { "shared", FM_FIELD_BOOL, .in = IN_PROBE, .offset = AT(shared) },
    { .name = NULL },
};

void fm_request_release(struct fm_request *request)
{
    fm_free(request->key);
    request->key = NULL;
    request->keys = 0;
}

/* what no single field shows */
static fm_status check(struct fm_coding *coding, const struct fm_request *request, fm_status fault)
{
    if (request->kind != FM_REQUEST_INVENTORY && !request->batch && !request->val_batch)
        return fm_coding_fail(coding, fault, "batch: 0, and so is val_batch: there is nothing to run");
    return FM_OK;
}

fm_status fm_request_write(const struct fm_request *request, struct fm_buf *out, struct fm_err *err)
{
    struct fm_coding coding = { .message = "request", .err = err, .out = out };
    size_t start = out->bytes;
    if ((unsigned)request->kind >= FM_REQUEST_COUNT)
        return fm_coding_fail(&coding, FM_INVALID, "req: kind %d", (int)request->kind);
    fm_status status = check(&coding, request, FM_INVALID);
    if (status != FM_OK) return status;
    fm_fields_write(&coding, fields, UINT32_C(1) << request->kind, request);
    return fm_message_end(&coding, start);
}

fm_status fm_request_read(const char *line, size_t bytes, struct fm_request *out, struct fm_err *err)
{
    struct fm_coding coding = { .message = "request", .err = err };
    cJSON *object = NULL;
    memset(out, 0, sizeof *out);
    fm_status status = fm_message_parse(&coding, line, bytes, &object);
    if (status != FM_OK) return status;
    status = fm_kind_of(&coding, object, &out->kind);
    if (status == FM_OK) status = fm_fields_read(&coding, object, fields, UINT32_C(1) << out->kind, out);
    if (status == FM_OK) status = check(&coding, out, FM_PROTOCOL);
    if (status != FM_OK) fm_request_release(out);
    cJSON_Delete(object);
    return status;
}
