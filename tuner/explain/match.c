#include "tuner/explain/match.h"

#include "probes/memory/arithmetic_source.h"
#include "probes/memory/caching_allocator.h"
#include "tuner/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *fm_scene_text(enum fm_scene scene)
{
    static const char *const texts[] = { "training", "validation before any training step", "validation after training" };
    return scene < FM_SCENE_COUNT ? texts[scene] : "?";
}

struct walk {
    const struct fm_program *program;
    struct fm_allocator *allocator;
    uint32_t *block;                /* per storage */
    uint32_t failed;                /* instruction of an FM_OOM */
};

struct finder {
    const struct fm_match_query *query;
    struct fm_matches *out;
    struct fm_program program;
    struct fm_arithmetic_source source;
    struct fm_allocator allocator;
    size_t cell;
    int64_t batch, ddp_bytes;
    enum fm_scene scene;
};

static int64_t segment_of(const struct fm_allocator *a, int64_t bytes)
{
    return bytes > 0 ? fm_allocator_segment_bytes(fm_allocator_round_bytes(a, bytes)) : 0;
}

/* ---- better and worse matches ---- */

static int64_t outside(const struct fm_oom_size *size, int64_t bytes)
{
    if (!size->known || (bytes >= size->lo_bytes && bytes <= size->hi_bytes)) return 0;
    return bytes < size->lo_bytes ? bytes - size->lo_bytes : bytes - size->hi_bytes;
}

static int compare(const struct fm_match *a, const struct fm_match *b)
{
    int64_t x = llabs(a->off_bytes), y = llabs(b->off_bytes);
    if (x != y) return x < y ? -1 : 1;
    if (a->confirmed != b->confirmed) return a->confirmed ? -1 : 1;
    if (a->ddp != b->ddp) return a->ddp ? 1 : -1;
    if (a->batch != b->batch) return a->batch < b->batch ? -1 : 1;
    if (a->scene != b->scene) return a->scene < b->scene ? -1 : 1;
    return a->cell < b->cell ? -1 : a->cell > b->cell;
}

static void keep(struct fm_matches *m, const struct fm_match *match)
{
    size_t at = m->count;
    m->total++;
    while (at && compare(match, &m->item[at - 1]) < 0) at--;
    if (at == FM_MATCHES_MAX) return;
    if (m->count < FM_MATCHES_MAX) m->count++;
    memmove(&m->item[at + 1], &m->item[at], (m->count - 1 - at) * sizeof m->item[0]);
    m->item[at] = *match;
}

/* ---- walking ---- */

/* which of how many like it: the second of three passes */
static void count_alike(const struct fm_program *p, enum fm_section section, uint32_t at, struct fm_match *m)
{
    const struct fm_storage *s = &p->storage[p->instr[at].a];
    for (size_t i = p->section[section]; i < p->section[section + 1]; i++) {
        const struct fm_storage *other = &p->storage[p->instr[i].a];
        if (p->instr[i].kind != FM_ALLOC || other->bytes != s->bytes || other->dtype != s->dtype ||
            strcmp(p->names + other->label, p->names + s->label) != 0)
            continue;
        m->of++;
        if (i <= at) m->nth++;
    }
}

static void look(struct finder *f, enum fm_section section, uint32_t at)
{
    const struct fm_oom *oom = f->query->oom;
    const struct fm_storage *s = &f->program.storage[f->program.instr[at].a];
    int64_t segment = segment_of(&f->allocator, s->bytes), live = fm_allocator_get_stats(&f->allocator)->allocated_bytes;
    bool tensor = oom->kind == FM_OOM_PYTORCH_CPU || oom->dims;
    if (outside(&oom->requested, tensor ? s->bytes : segment) != 0) return;
    struct fm_match m = { .cell = f->cell, .batch = f->batch, .scene = f->scene, .section = section, .kind = (enum fm_storage_kind)s->kind,
                          .dtype = (enum fm_dtype)s->dtype, .tensor_bytes = s->bytes, .segment_bytes = segment, .live_bytes = live };
    m.off_bytes = outside(&oom->allocated, live);
    (void)snprintf(m.label, sizeof m.label, "%s", f->program.names + s->label);
    count_alike(&f->program, section, at, &m);
    keep(f->out, &m);
    if (!m.off_bytes || !oom->allocated.known) return;
    m.ddp = true;
    m.live_bytes = live + f->ddp_bytes;
    m.off_bytes = outside(&oom->allocated, m.live_bytes);
    if (m.off_bytes == 0) keep(f->out, &m);
}

/* one section; `f` NULL: nothing is looked for */
static fm_status walk_section(struct walk *w, struct finder *f, enum fm_section section, struct fm_err *err)
{
    const struct fm_program *p = w->program;
    for (size_t i = p->section[section]; i < p->section[section + 1]; i++) {
        const struct fm_instr *in = &p->instr[i];
        fm_status status = FM_OK;
        if (in->kind == FM_ALLOC) {
            if (f) look(f, section, (uint32_t)i);
            status = fm_allocator_alloc(w->allocator, p->storage[in->a].bytes, 0, &w->block[in->a], err);
            if (status == FM_OOM) w->failed = (uint32_t)i;
            if (status != FM_OK) return status;
        } else if (in->kind == FM_FREE) {
            fm_allocator_free(w->allocator, w->block[in->a]);
            w->block[in->a] = FM_BLOCK_NONE;
        } else if (in->kind == FM_MOVE) {
            w->block[in->a] = w->block[in->b];
            w->block[in->b] = FM_BLOCK_NONE;
        }
    }
    return FM_OK;
}

static fm_status walk_begin(struct finder *f, struct walk *w, int64_t budget_bytes, struct fm_err *err)
{
    fm_allocator_clear(&f->allocator);
    f->source.budget_bytes = budget_bytes;
    *w = (struct walk){ .program = &f->program, .allocator = &f->allocator, .failed = FM_NONE };
    w->block = fm_calloc(f->program.storage_count + 1, sizeof *w->block);
    return w->block ? FM_OK : FM_FAIL(err, FM_NOMEM, "a walk of %zu storages", f->program.storage_count);
}

/* the sections of a scene in their order; looks in those that the scene is about */
static fm_status walk_scene(struct walk *w, struct finder *f, enum fm_scene scene, enum fm_section *at, struct fm_err *err)
{
    static const enum fm_section order[] = { FM_SECTION_INIT, FM_SECTION_TRAIN_FIRST, FM_SECTION_TRAIN, FM_SECTION_VAL_FIRST,
                                             FM_SECTION_VAL };
    fm_status status = FM_OK;
    for (size_t i = 0; i < sizeof order / sizeof order[0] && status == FM_OK; i++) {
        bool val = order[i] >= FM_SECTION_VAL_FIRST, about = scene == FM_SCENE_TRAIN ? !val : val || scene == FM_SCENE_VAL_FIRST;
        *at = order[i];
        if (val && scene == FM_SCENE_TRAIN) break;
        status = walk_section(w, about ? f : NULL, order[i], err);
    }
    return status;
}

static struct fm_cell_batch batch_of(enum fm_scene scene, int64_t batch)
{
    return (struct fm_cell_batch){ .train = scene == FM_SCENE_VAL_FIRST ? 0 : batch, .val = scene == FM_SCENE_TRAIN ? 0 : batch };
}

static int64_t parameter_bytes(const struct fm_program *p)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < p->storage_count; i++)
        if (p->storage[i].kind == FM_STORAGE_PARAMETER) bytes += p->storage[i].bytes;
    return bytes;
}

/* every allocation of one cell, batch and scene */
static fm_status look_at(struct finder *f, enum fm_scene scene, struct fm_err *err)
{
    struct walk w = { 0 };
    enum fm_section at;
    f->scene = scene;
    fm_status status = fm_cell_lower(&f->query->cell[f->cell], batch_of(scene, f->batch), &f->program, err);
    if (status == FM_OK) f->ddp_bytes = parameter_bytes(&f->program);
    if (status == FM_OK) status = walk_begin(f, &w, INT64_MAX, err);
    if (status == FM_OK) status = walk_scene(&w, f, scene, &at, err);
    if (status == FM_OOM) status = FM_OK;       /* a segment that no device has: later ones cannot match */
    fm_free(w.block);
    return status;
}

/* ---- confirming ---- */

/* Fails the walk just there with so much memory? */
static fm_status fails_at(struct finder *f, struct fm_match *m, int64_t budget_bytes, struct fm_err *err)
{
    struct walk w = { 0 };
    struct fm_err why = { 0 };
    struct fm_match here = *m;
    enum fm_section at = FM_SECTION_INIT;
    fm_status status = walk_begin(f, &w, budget_bytes, err);
    if (status != FM_OK) return status;
    status = walk_scene(&w, NULL, m->scene, &at, &why);
    if (status == FM_OOM && at == m->section) {
        const struct fm_storage *s = &f->program.storage[f->program.instr[w.failed].a];
        const struct fm_allocator_stats *stats = fm_allocator_get_stats(&f->allocator);
        here.nth = here.of = 0;
        count_alike(&f->program, at, w.failed, &here);
        m->confirmed = s->bytes == m->tensor_bytes && here.nth == m->nth && strcmp(f->program.names + s->label, m->label) == 0;
        m->unused_bytes = stats->reserved_bytes - stats->allocated_bytes;
    }
    fm_free(w.block);
    return status == FM_OOM || status == FM_OK ? FM_OK : FM_FAIL(err, status, "%s", why.text);
}

/* What the process could reserve: what it had reserved and what was free. Where the message does not say what was reserved
 * but unused, it is less than the request, or the request would have been served from it: some values are tried. */
static fm_status confirm(struct finder *f, struct fm_match *m, struct fm_err *err)
{
    const struct fm_oom *oom = f->query->oom;
    int64_t had = oom->allocated.bytes + oom->free.bytes - (m->ddp ? f->ddp_bytes : 0);
    fm_status status = fm_cell_lower(&f->query->cell[m->cell], batch_of(m->scene, m->batch), &f->program, err);
    if (status == FM_OK && oom->unused.known) return fails_at(f, m, had + oom->unused.bytes, err);
    for (int64_t k = 0; k <= 8 && status == FM_OK && !m->confirmed; k++) status = fails_at(f, m, had + oom->requested.bytes * k / 8, err);
    return status;
}

static fm_status confirm_all(struct finder *f, struct fm_err *err)
{
    struct fm_matches *m = f->out;
    if (!f->query->oom->allocated.known || !f->query->oom->free.known) return FM_OK;
    for (size_t i = 0; i < m->count; i++) {
        if (m->item[i].off_bytes) continue;
        f->ddp_bytes = 0;
        struct fm_match match = m->item[i];
        if (match.ddp) {
            fm_status lowered = fm_cell_lower(&f->query->cell[match.cell], batch_of(match.scene, match.batch), &f->program, err);
            if (lowered != FM_OK) return lowered;
            f->ddp_bytes = parameter_bytes(&f->program);
        }
        fm_status status = confirm(f, &match, err);
        if (status != FM_OK) return status;
        m->item[i] = match;
    }
    for (size_t i = 1; i < m->count; i++)
        for (size_t k = i; k && compare(&m->item[k], &m->item[k - 1]) < 0; k--) {
            struct fm_match other = m->item[k];
            m->item[k] = m->item[k - 1];
            m->item[k - 1] = other;
        }
    return FM_OK;
}

/* ---- all batches ---- */

/* even the inputs of this batch are more than the device has, or was tried: larger ones cannot be it */
static bool hopeless(const struct finder *f)
{
    const struct fm_oom *oom = f->query->oom;
    int64_t input = 0, least = INT64_MAX;
    for (size_t i = 0; i < f->program.storage_count; i++)
        if (f->program.storage[i].kind == FM_STORAGE_INPUT) {
            int64_t bytes = f->program.storage[i].bytes;
            input += bytes;
            if (bytes < least) least = bytes;
        }
    if (oom->capacity.known && input > oom->capacity.hi_bytes) return true;
    return oom->allocated.known && input > oom->allocated.hi_bytes && least > oom->requested.hi_bytes;
}

static fm_status find_in_cell(struct finder *f, struct fm_err *err)
{
    const struct fm_match_query *q = f->query;
    struct fm_err why = { 0 };
    for (int64_t b = q->batch ? q->batch : 1; b <= (q->batch ? q->batch : q->batch_max); b++) {
        f->batch = b;
        for (int scene = 0; scene < FM_SCENE_COUNT; scene++) {
            fm_status status = look_at(f, (enum fm_scene)scene, &why);
            if (status == FM_INVALID || status == FM_UNSUPPORTED) {
                if (!f->out->unsupported++) (void)snprintf(f->out->reason, sizeof f->out->reason, "%.150s", why.text);
                return FM_OK;
            }
            if (status != FM_OK) return FM_FAIL(err, status, "%s", why.text);
        }
        f->out->batches++;
        if (hopeless(f)) break;
    }
    return FM_OK;
}

/* sets whether the tensor is larger at another batch */
static fm_status see_scaling(struct finder *f, struct fm_match *m, struct fm_err *err)
{
    fm_status status = fm_cell_lower(&f->query->cell[m->cell], batch_of(m->scene, m->batch + 1), &f->program, err);
    m->scales = true;
    for (size_t i = 0; i < f->program.storage_count && status == FM_OK; i++)
        if (f->program.storage[i].bytes == m->tensor_bytes && strcmp(f->program.names + f->program.storage[i].label, m->label) == 0)
            m->scales = false;
    return status;
}

fm_status fm_match_find(const struct fm_match_query *query, struct fm_matches *out, struct fm_err *err)
{
    struct fm_allocator_config config = fm_allocator_config_default();
    struct finder f = { .query = query, .out = out };
    *out = (struct fm_matches){ 0 };
    if (!query->oom->requested.known)
        return FM_FAIL(err, FM_INVALID, "the message does not say how much was requested: no tensor can be found by its size");
    fm_arithmetic_source_init(&f.source, INT64_MAX);
    fm_status status = fm_allocator_init(&f.allocator, &config, fm_arithmetic_source_interface(&f.source), err);
    if (status != FM_OK) return status;
    for (f.cell = 0; f.cell < query->cells && status == FM_OK; f.cell++) status = find_in_cell(&f, err);
    if (status == FM_OK) status = confirm_all(&f, err);
    for (size_t i = 0; i < out->count && status == FM_OK; i++) status = see_scaling(&f, &out->item[i], err);
    fm_program_release(&f.program);
    fm_allocator_release(&f.allocator);
    fm_arithmetic_source_release(&f.source);
    return status;
}

bool fm_match_exact(const struct fm_matches *matches, const struct fm_oom *oom)
{
    return matches->count && oom->allocated.known && matches->item[0].off_bytes == 0;
}
