#include "tuner/explain/explain.h"

static struct fm_range range_of(const struct fm_oom_size *size)
{
    return (struct fm_range){ size->known, size->lo_bytes, size->hi_bytes };
}

static int64_t not_negative(int64_t bytes) { return bytes > 0 ? bytes : 0; }

static struct fm_range minus(struct fm_range a, struct fm_range b)
{
    if (!a.known || !b.known) return (struct fm_range){ 0 };
    return (struct fm_range){ true, not_negative(a.lo_bytes - b.hi_bytes), not_negative(a.hi_bytes - b.lo_bytes) };
}

static struct fm_range plus(struct fm_range a, struct fm_range b)
{
    if (!a.known || !b.known) return (struct fm_range){ 0 };
    return (struct fm_range){ true, a.lo_bytes + b.lo_bytes, a.hi_bytes + b.hi_bytes };
}

/* what the message says of processes */
static void take_processes(const struct fm_oom *oom, struct fm_account *a)
{
    struct fm_range own = { 0 }, others = { 0 };
    for (size_t i = 0; i < oom->processes; i++) {
        struct fm_range used = range_of(&oom->process[i].used);
        if (oom->process[i].pid < 0) own = used;
        else others = others.known ? plus(others, used) : used;
    }
    a->process_known = own.known && oom->reserved.known;
    if (a->process_known) a->context = minus(own, range_of(&oom->reserved));
    if (own.known && oom->capacity.known && oom->free.known) a->others = minus(minus(range_of(&oom->capacity), range_of(&oom->free)), own);
    a->others_listed = others.known && own.known;
    if (a->others_listed) a->others = others;
}

/* where a device's memory is; `m` NULL: no match */
static struct fm_account account_of(const struct fm_oom *oom, const struct fm_match *m)
{
    struct fm_account a = { .unused = range_of(&oom->unused) };
    if (!a.unused.known && m && m->confirmed) {
        a.unused = (struct fm_range){ true, m->unused_bytes, m->unused_bytes };
        a.unused_planned = true;
    }
    struct fm_range used = range_of(oom->reserved.known ? &oom->reserved : &oom->allocated);
    a.outside = minus(minus(range_of(&oom->capacity), range_of(&oom->free)), used);
    take_processes(oom, &a);
    if (a.process_known || !a.outside.known) return a;
    a.context = (struct fm_range){ true, FM_CONTEXT_LO_BYTES, FM_CONTEXT_HI_BYTES };
    if (a.context.hi_bytes > a.outside.hi_bytes) a.context.hi_bytes = a.outside.hi_bytes;
    if (a.context.lo_bytes > a.context.hi_bytes) a.context.lo_bytes = 0;
    if (a.others.known) return a;
    struct fm_range rest = a.outside;
    if (a.unused_planned) rest = minus(rest, a.unused);
    else if (!oom->reserved.known) rest.lo_bytes = not_negative(rest.lo_bytes - not_negative(oom->requested.known ? oom->requested.hi_bytes : rest.lo_bytes));
    a.others = minus(rest, a.context);
    return a;
}

/* batches of the match in both phases */
static struct fm_cell_batch batches_of(const struct fm_match *m)
{
    return (struct fm_cell_batch){ .train = m->batch, .val = m->batch };
}

static fm_status plan_changes(struct fm_explanation *x, struct fm_err *err)
{
    const struct fm_match *m = &x->matches.item[0];
    struct fm_changes *changes = &x->changes;
    struct fm_change_query query = { .cell = &x->cell[m->cell], .batch = batches_of(m) };
    x->alone_bytes = x->oom.capacity.known ? not_negative(x->oom.capacity.bytes - FM_CONTEXT_HI_BYTES) : -1;
    query.capacity_bytes = x->alone_bytes >= 0 ? x->alone_bytes : INT64_MAX;
    fm_status status = fm_changes_plan(&query, changes, err);
    x->planned = status == FM_OK;
    return status;
}

fm_status fm_explain(const struct fm_explain_query *query, struct fm_explanation *out, struct fm_err *err)
{
    *out = (struct fm_explanation){ .cell = query->cell, .cells = query->cells, .alone_bytes = -1 };
    fm_status status = fm_oom_read(query->text, query->bytes, &out->oom, err);
    if (status != FM_OK) return status;
    if (query->cells && out->oom.requested.known) {
        struct fm_match_query find = { .cell = query->cell, .cells = query->cells, .oom = &out->oom, .batch = query->batch,
                                       .batch_max = query->batch_max };
        status = fm_match_find(&find, &out->matches, err);
        out->searched = status == FM_OK;
        if (status == FM_OK && out->matches.count) status = plan_changes(out, err);
    }
    if (status == FM_OK) out->account = account_of(&out->oom, out->matches.count && !out->matches.item[0].off_bytes ? &out->matches.item[0] : NULL);
    return status;
}
