#include "probes/worker/engine.h"

#include "tuner/base/clock.h"
#include "tuner/base/handicap.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

fm_status fm_engine_workspaces(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_program *program,
                               struct fm_workspaces *table, struct fm_err *err)
{
    for (uint32_t i = 0; i < program->call_count; i++) {
        uint64_t key = program->call[i].key;
        if (!key || fm_workspaces_find(table, key)) continue;
        struct fm_problem problem = fm_program_problem(program, i);
        struct fm_workspace_entry entry = { .key = key };
        struct fm_err why = { 0 };
        fm_status status = ops->candidates(backend, &problem, &entry.candidates, &why);
        if (status == FM_UNSUPPORTED) {
            entry.unsupported = true;
            (void)snprintf(entry.reason, sizeof entry.reason, "%.*s", (int)sizeof entry.reason - 1, why.text);
        } else if (status != FM_OK) {
            return FM_FAIL(err, status, "%s: %.300s", program->names + program->call[i].label, why.text);
        }
        status = fm_workspaces_add(table, &entry, err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

/* ---- hooks of the replay ---- */

/* the call as a backend runs it; its addresses are the engine's until the next */
static fm_status launch_of(struct fm_engine *e, const struct fm_replay *replay, const struct fm_replay_launch *what, struct fm_launch *out,
                           struct fm_err *err)
{
    struct fm_problem problem = fm_program_problem(replay->program, what->call);
    size_t n = (size_t)problem.n_out + problem.n_in;
    void **grown = fm_grow(e->address, &e->address_room, n, sizeof *grown);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "a call of %zu operands", n);
    e->address = grown;
    for (size_t i = 0; i < n; i++) {
        uint32_t storage = problem.operand[i].storage;
        e->address[i] = storage == FM_NONE ? NULL : fm_mmap_pointer(fm_replay_address(replay, storage));
    }
    *out = (struct fm_launch){
        .problem = problem, .address = e->address, .workspace = fm_mmap_pointer(what->workspace_address),
        .workspace_bytes = what->workspace_bytes, .candidate = what->candidate, .seed = e->seed,
        .step = e->validating ? e->val_steps : e->train_steps,
    };
    return FM_OK;
}

static fm_status launch(void *context, const struct fm_replay *replay, const struct fm_replay_launch *what, struct fm_err *err)
{
    struct fm_engine *e = context;
    struct fm_launch l;
    fm_status status = launch_of(e, replay, what, &l, err);
    if (status == FM_OK) status = e->ops->run(e->backend, &l, err);
    if (status != FM_OK && err && err->status == FM_OK)
        return FM_FAIL(err, status, "%s: %s", replay->program->names + replay->program->call[what->call].label, fm_status_text(status));
    return status;
}

static fm_status rank(void *context, const struct fm_replay *replay, const struct fm_replay_launch *what, uint32_t valid,
                      struct fm_ranking *out, struct fm_err *err)
{
    struct fm_engine *e = context;
    struct fm_launch l;
    fm_status status = launch_of(e, replay, what, &l, err);
    return status == FM_OK ? e->ops->rank(e->backend, &l, valid, out, err) : status;
}

static fm_status loss(void *context, const struct fm_replay *replay, uint32_t storage, struct fm_err *err)
{
    struct fm_engine *e = context;
    enum fm_dtype dtype = (enum fm_dtype)replay->program->storage[storage].dtype;
    union { float f32; double f64; unsigned char byte[8]; } raw = { .f64 = 0 };
    if (e->validating || (dtype != FM_F32 && dtype != FM_F64)) return FM_OK;
    fm_status status = e->ops->synchronize(e->backend, err);
    if (status == FM_OK)
        status = e->ops->read(e->backend, &raw, fm_mmap_pointer(fm_replay_address(replay, storage)), fm_dtype_bytes(dtype), err);
    if (status != FM_OK) return status;
    double value = dtype == FM_F32 ? (double)raw.f32 : raw.f64;
    if (!isfinite(value)) e->nonfinite = true;
    if (isnan(e->loss_first)) e->loss_first = value;
    e->loss_last = value;
    return FM_OK;
}

/* ---- the engine ---- */

fm_status fm_engine_open(struct fm_engine *e, const struct fm_engine_config *config, struct fm_err *err)
{
    *e = (struct fm_engine){ .ops = config->ops, .backend = config->backend, .seed = config->seed, .loss_first = NAN, .loss_last = NAN };
    fm_status status = fm_engine_workspaces(config->ops, config->backend, config->program, &e->workspaces, err);
    if (status != FM_OK) return status;
    struct fm_allocator_config allocator = fm_allocator_config_default();
    allocator.guard = config->poison;
    struct fm_segment_source source;
    fm_mmap_source_init(&e->source, config->memory_bytes);
    if (config->ops->source) status = config->ops->source(config->backend, config->memory_bytes, &source, err);
    else source = fm_mmap_source_interface(&e->source);
    if (status == FM_OK) status = fm_allocator_init(&e->allocator, &allocator, source, err);
    if (status != FM_OK) return status;
    e->ready = true;
    e->replay = (struct fm_replay){ .program = config->program, .allocator = &e->allocator, .workspaces = &e->workspaces,
                                    .launch = launch, .rank = config->ops->rank ? rank : NULL, .loss = loss, .context = e };
    return fm_replay_init(&e->replay, err);
}

void fm_engine_close(struct fm_engine *e)
{
    fm_replay_release(&e->replay);
    if (e->ready) fm_allocator_release(&e->allocator);
    fm_workspaces_release(&e->workspaces);
    fm_free(e->address);
    *e = (struct fm_engine){ 0 };
}

/* one section between two readings of the device's clock, or else of the host's */
static fm_status run_timed(struct fm_engine *e, enum fm_section section, int64_t *ns, struct fm_err *err)
{
    const struct fm_backend_ops *ops = e->ops;
    struct fm_clock clock = fm_clock_system();
    int64_t start = fm_now_ns(clock);
    bool own_clock = ops->time_begin && ops->time_end;
    fm_status status = own_clock ? ops->time_begin(e->backend, err) : FM_OK;
    if (status == FM_OK) status = fm_replay_section(&e->replay, section, err);
    if (status == FM_OK && FM_HANDICAP_SLOWDOWN_PERCENT > 0) {
        status = ops->synchronize(e->backend, err);
        int64_t end = fm_handicap_end_ns(start, fm_now_ns(clock));
        while (fm_now_ns(clock) < end) continue;
    }
    if (status == FM_OK) status = own_clock ? ops->time_end(e->backend, ns, err) : ops->synchronize(e->backend, err);
    if (!own_clock) *ns = fm_now_ns(clock) - start;
    return status;
}

fm_status fm_engine_run(struct fm_engine *e, enum fm_section section, int64_t *ns, struct fm_err *err)
{
    int64_t took = 0;
    e->validating = fm_section_is_val(section);
    fm_status status = run_timed(e, section, &took, err);
    if (ns) *ns = took;
    if (status != FM_OK) return status;
    if (section == FM_SECTION_TRAIN_FIRST || section == FM_SECTION_TRAIN) e->train_steps++;
    if (section == FM_SECTION_VAL_FIRST || section == FM_SECTION_VAL) e->val_steps++;
    return FM_OK;
}

fm_status fm_engine_settle(struct fm_engine *e, enum fm_section section, uint32_t at_least, struct fm_err *err)
{
    struct fm_settle settle = { .at_least = at_least };
    fm_status status = FM_OK;
    while (status == FM_OK && fm_settle_more(&settle, &e->replay)) status = fm_engine_run(e, section, NULL, err);
    return status;
}

fm_status fm_engine_check(struct fm_engine *e, struct fm_err *err)
{
    return e->allocator.config.guard ? fm_allocator_guard_check(&e->allocator, err) : FM_OK;
}
