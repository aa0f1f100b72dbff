/* An explanation for programs: {"schema", "kind", "message"{}, "account"{}, "matches"[], "changes"{}}. null: not known. */
#include "tuner/explain/explain.h"

#include "results/json.h"
#include "tuner/base/hash.h"
#include "workloads/program/dtype.h"


static bool put_bytes(cJSON *object, const char *key, int64_t bytes)
{
    return fm_json_put(object, key, fm_json_new_i64(bytes));
}

static bool put_size(cJSON *object, const char *key, const struct fm_oom_size *size)
{
    if (!size->known) return fm_json_put(object, key, cJSON_CreateNull());
    cJSON *o = cJSON_CreateObject();
    bool good = o && put_bytes(o, "bytes", size->bytes) && put_bytes(o, "lo_bytes", size->lo_bytes) && put_bytes(o, "hi_bytes", size->hi_bytes);
    if (!good) {
        cJSON_Delete(o);
        return false;
    }
    return fm_json_put(object, key, o);
}

static bool put_range(cJSON *object, const char *key, const struct fm_range *range)
{
    struct fm_oom_size size = { .known = range->known, .bytes = range->lo_bytes + (range->hi_bytes - range->lo_bytes) / 2,
                                .lo_bytes = range->lo_bytes, .hi_bytes = range->hi_bytes };
    return put_size(object, key, &size);
}

static bool put_text(cJSON *object, const char *key, const char *text)
{
    return fm_json_put(object, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}

static bool put_flag(cJSON *object, const char *key, bool flag) { return fm_json_put(object, key, cJSON_CreateBool(flag)); }

static bool put_message(cJSON *o, const struct fm_oom *m)
{
    cJSON *shape = m->dims ? cJSON_AddArrayToObject(o, "shape") : NULL, *processes = cJSON_AddArrayToObject(o, "processes");
    bool good = processes && (!m->dims || shape);
    for (uint32_t i = 0; i < m->dims && good; i++) good = fm_json_push(shape, fm_json_new_i64(m->shape[i]));
    for (size_t i = 0; i < m->processes && good; i++) {
        cJSON *p = cJSON_CreateObject();
        good = fm_json_push(processes, p) && put_size(p, "used", &m->process[i].used) &&
               fm_json_put(p, "pid", m->process[i].pid < 0 ? cJSON_CreateNull() : fm_json_new_i64(m->process[i].pid));
    }
    return good && put_bytes(o, "line", (int64_t)m->line) && put_bytes(o, "column", (int64_t)m->column) &&
           put_bytes(o, "further_messages", (int64_t)m->more) && put_flag(o, "cut", m->cut) &&
           fm_json_put(o, "device", m->device < 0 ? cJSON_CreateNull() : fm_json_new_i64(m->device)) &&
           put_text(o, "dtype", m->dtype[0] ? m->dtype : NULL) && put_size(o, "requested", &m->requested) &&
           put_size(o, "capacity", &m->capacity) && put_size(o, "free", &m->free) && put_size(o, "allocated", &m->allocated) &&
           put_size(o, "reserved", &m->reserved) && put_size(o, "unused", &m->unused) && put_size(o, "allowed", &m->allowed) &&
           put_size(o, "private_pools", &m->private_pools) && put_size(o, "other_allocations", &m->other) &&
           put_size(o, "parameters", &m->parameters) && put_size(o, "temporaries", &m->temporaries) && put_size(o, "total", &m->total);
}

static bool put_account(cJSON *o, const struct fm_account *a)
{
    return put_range(o, "outside", &a->outside) && put_range(o, "context", &a->context) && put_flag(o, "context_assumed", !a->process_known) &&
           put_range(o, "others", &a->others) && put_flag(o, "others_listed", a->others_listed) && put_range(o, "unused", &a->unused) &&
           put_flag(o, "unused_planned", a->unused_planned);
}

static bool put_cell(cJSON *o, const struct fm_cell *cell)
{
    const struct fm_workload *w = cell->settings.workload;
    char id[FM_HASH_TEXT_BYTES];
    fm_hash_print(fm_cell_id(cell), id);
    cJSON *set = cJSON_AddObjectToObject(o, "set"), *strategies = cJSON_AddObjectToObject(o, "strategies");
    bool good = set && strategies && put_text(o, "workload", w->name) && put_text(o, "cell", id);
    for (uint32_t i = 0; i < w->settings && good; i++) good = put_text(set, w->setting[i].name, cell->settings.value[i].text);
    for (int i = 0; i < FM_STRATEGY_COUNT && good; i++) good = put_text(strategies, fm_strategies[i]->name, cell->value[i]);
    return good;
}

static bool put_match(cJSON *o, const struct fm_explanation *x, const struct fm_match *m)
{
    return put_cell(o, &x->cell[m->cell]) && put_bytes(o, "batch", m->batch) && put_text(o, "phase", m->scene == FM_SCENE_TRAIN ? "train" : "val") &&
           put_text(o, "scene", fm_scene_text(m->scene)) && put_text(o, "section", fm_section_name(m->section)) &&
           put_text(o, "tensor", m->label) && put_bytes(o, "occurrence", m->nth) && put_bytes(o, "occurrences", m->of) &&
           put_text(o, "dtype", fm_dtype_name(m->dtype)) && put_text(o, "kind", fm_storage_kind_name(m->kind)) &&
           put_bytes(o, "tensor_bytes", m->tensor_bytes) && put_bytes(o, "segment_bytes", m->segment_bytes) &&
           put_bytes(o, "allocated_before_bytes", m->live_bytes) && put_bytes(o, "off_bytes", m->off_bytes) && put_flag(o, "ddp", m->ddp) &&
           put_flag(o, "confirmed", m->confirmed) && put_flag(o, "grows_with_batch", m->scales);
}

static bool put_changes(cJSON *o, const struct fm_explanation *x)
{
    cJSON *items = cJSON_AddArrayToObject(o, "items");
    bool good = items && put_text(o, "origin", "planned") && put_bytes(o, "needed_bytes", x->changes.needed_bytes) &&
                fm_json_put(o, "capacity_bytes", x->alone_bytes < 0 ? cJSON_CreateNull() : fm_json_new_i64(x->alone_bytes));
    for (size_t i = 0; i < x->changes.count && good; i++) {
        const struct fm_change *c = &x->changes.item[i];
        cJSON *item = cJSON_CreateObject();
        good = fm_json_push(items, item) && put_text(item, "change", c->text) && put_text(item, "class", fm_change_class_text(c->kind)) &&
               put_flag(item, "changes_model", c->kind == FM_CHANGE_MODEL) && put_flag(item, "fits", c->fits) &&
               put_bytes(item, "needed_bytes", c->needed_bytes) && fm_json_put(item, "compute_share", cJSON_CreateNumber(c->compute)) &&
               fm_json_put(item, "model_share", cJSON_CreateNumber(c->capacity));
    }
    return good;
}

cJSON *fm_explain_json(const struct fm_explanation *x)
{
    cJSON *o = cJSON_CreateObject();
    cJSON *message = o ? cJSON_AddObjectToObject(o, "message") : NULL, *account = o ? cJSON_AddObjectToObject(o, "account") : NULL;
    bool good = message && account && put_text(o, "schema", "fillmark.explain/1") && put_text(o, "kind", fm_oom_kind_name(x->oom.kind)) &&
                put_message(message, &x->oom) && put_account(account, &x->account);
    cJSON *matches = good && x->searched ? cJSON_AddArrayToObject(o, "matches") : NULL;
    if (good && x->searched) good = matches && put_bytes(o, "matches_by_size", (int64_t)x->matches.total);
    for (size_t i = 0; i < x->matches.count && good && matches; i++) {
        cJSON *item = cJSON_CreateObject();
        good = fm_json_push(matches, item) && put_match(item, x, &x->matches.item[i]);
    }
    if (good && x->planned) {
        cJSON *changes = cJSON_AddObjectToObject(o, "changes");
        good = changes && put_changes(changes, x);
    }
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}
