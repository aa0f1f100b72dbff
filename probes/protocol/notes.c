#include "probes/protocol/fields.h"
#include "probes/protocol/protocol.h"

#define IN(type, member) .in = FM_FIELD_IN_ALL, .offset = offsetof(struct type, member)
#define TEXT(type, member) IN(type, member), .bytes = sizeof ((struct type *)0)->member

static const struct fm_field finding_fields[] = {
    { "what", FM_FIELD_TEXT, TEXT(fm_reply_finding, what) },
    { "remedy", FM_FIELD_TEXT, true, TEXT(fm_reply_finding, remedy) },
    { .name = NULL },
};

static const struct fm_field holder_fields[] = {
    { "pid", FM_FIELD_I64, IN(fm_reply_holder, pid), .max = INT64_MAX },
    { "bytes", FM_FIELD_I64, true, IN(fm_reply_holder, bytes), .max = INT64_MAX },
    { "name", FM_FIELD_TEXT, true, TEXT(fm_reply_holder, name) },
    { .name = NULL },
};

static const struct fm_field software_fields[] = {
    { "name", FM_FIELD_TEXT, TEXT(fm_reply_software, name) },
    { "version", FM_FIELD_TEXT, true, TEXT(fm_reply_software, version) },
    { "cuda", FM_FIELD_TEXT, true, TEXT(fm_reply_software, cuda) },
    { "path", FM_FIELD_TEXT, true, TEXT(fm_reply_software, path) },
    { "absent", FM_FIELD_TEXT, true, TEXT(fm_reply_software, absent) },
    { .name = NULL },
};

/* an array of the reply: its items, how many there are, how many there may be */
struct list {
    const struct fm_field *fields;
    const char *base;
    size_t item_bytes, count, max;
};

static void write_list(struct fm_coding *coding, struct list list)
{
    if (list.count > list.max) {
        (void)fm_coding_fail(coding, FM_INVALID, "%zu items, at most %zu are sent", list.count, list.max);
        list.count = 0;
    }
    fm_buf_putc(coding->out, '[');
    for (size_t i = 0; i < list.count; i++) {
        size_t mark = fm_coding_push_index(coding, i);
        if (i) fm_buf_putc(coding->out, ',');
        fm_fields_write(coding, list.fields, FM_FIELD_IN_ALL, list.base + i * list.item_bytes);
        fm_coding_pop(coding, mark);
    }
    fm_buf_putc(coding->out, ']');
}

static fm_status read_list(struct fm_coding *coding, const cJSON *array, const struct list *list, void *items, uint32_t *count)
{
    size_t n = 0, i = 0;
    fm_status status = fm_read_array(coding, array, list->max, &n);
    if (status != FM_OK) return status;
    for (const cJSON *item = array->child; item; item = item->next, i++) {
        size_t mark = fm_coding_push_index(coding, i);
        fm_fields_clear(list->fields, (char *)items + i * list->item_bytes);
        status = fm_fields_read(coding, item, list->fields, FM_FIELD_IN_ALL, (char *)items + i * list->item_bytes);
        if (status != FM_OK) return status;
        fm_coding_pop(coding, mark);
    }
    *count = (uint32_t)n;
    return FM_OK;
}

static struct list findings_of(const struct fm_reply *r)
{
    return (struct list){ finding_fields, (const char *)r->finding, sizeof r->finding[0], r->findings, FM_MAX_REPLY_FINDINGS };
}

static struct list holders_of(const struct fm_reply *r)
{
    return (struct list){ holder_fields, (const char *)r->holder, sizeof r->holder[0], r->holders, FM_MAX_REPLY_HOLDERS };
}

static struct list software_of(const struct fm_reply *r)
{
    return (struct list){ software_fields, (const char *)r->software, sizeof r->software[0], r->softwares, FM_MAX_REPLY_SOFTWARE };
}

static bool any_software(const void *base) { return ((const struct fm_reply *)base)->softwares > 0; }
static void write_software(struct fm_coding *coding, const void *base) { write_list(coding, software_of(base)); }

static fm_status read_software(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_reply *r = base;
    struct list list = software_of(r);
    return read_list(coding, item, &list, r->software, &r->softwares);
}

static bool any_finding(const void *base) { return ((const struct fm_reply *)base)->findings > 0; }
static bool any_holder(const void *base) { return ((const struct fm_reply *)base)->holders > 0; }
static void write_findings(struct fm_coding *coding, const void *base) { write_list(coding, findings_of(base)); }
static void write_holders(struct fm_coding *coding, const void *base) { write_list(coding, holders_of(base)); }

static fm_status read_findings(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_reply *r = base;
    struct list list = findings_of(r);
    return read_list(coding, item, &list, r->finding, &r->findings);
}

static fm_status read_holders(struct fm_coding *coding, const cJSON *item, void *base)
{
    struct fm_reply *r = base;
    struct list list = holders_of(r);
    return read_list(coding, item, &list, r->holder, &r->holders);
}

const struct fm_field_other fm_findings_field = { any_finding, write_findings, read_findings };
const struct fm_field_other fm_holders_field = { any_holder, write_holders, read_holders };
const struct fm_field_other fm_software_field = { any_software, write_software, read_software };
