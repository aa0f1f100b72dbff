/* A probe in the order that certifies it, which is the planner's: model, training until memory settles, validation until it
 * settles, training again. The timed training steps come last, so that their number cannot change what was certified. */
#include "probes/worker/probe.h"

#include "probes/measure/stopping.h"
#include "probes/worker/cell_spec.h"
#include "probes/worker/engine.h"
#include "probes/worker/watch.h"
#include "tuner/base/clock.h"
#include "tuner/base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum fm_outcome fm_outcome_of(fm_status status)
{
    switch (status) {
    case FM_OK: return FM_OUTCOME_ok;
    case FM_OOM: return FM_OUTCOME_oom_device;
    case FM_NOMEM: return FM_OUTCOME_oom_host;
    case FM_UNSUPPORTED: return FM_OUTCOME_unsupported;
    case FM_TIMEOUT: return FM_OUTCOME_timeout;
    case FM_PROTOCOL: case FM_INVALID: case FM_MISMATCH: return FM_OUTCOME_protocol;
    default: return FM_OUTCOME_crash;
    }
}

static void set_failure(struct fm_reply *reply, fm_status status, const struct fm_err *err)
{
    reply->outcome = fm_outcome_of(status);
    (void)snprintf(reply->reason, sizeof reply->reason, "%.230s", err->text);
}

static void copy_notes(const struct fm_device_info *info, struct fm_reply *reply)
{
    (void)snprintf(reply->device_facts, sizeof reply->device_facts, "%s", info->facts);
    for (uint32_t i = 0; i < info->findings && i < FM_MAX_REPLY_FINDINGS; i++) {
        struct fm_reply_finding *f = &reply->finding[reply->findings++];
        (void)snprintf(f->what, sizeof f->what, "%s", info->finding[i].what);
        (void)snprintf(f->remedy, sizeof f->remedy, "%s", info->finding[i].remedy);
    }
    for (uint32_t i = 0; i < info->softwares && i < FM_MAX_REPLY_SOFTWARE; i++) {
        struct fm_reply_software *s = &reply->software[reply->softwares++];
        (void)snprintf(s->name, sizeof s->name, "%s", info->software[i].name);
        (void)snprintf(s->version, sizeof s->version, "%s", info->software[i].version);
        (void)snprintf(s->cuda, sizeof s->cuda, "%s", info->software[i].cuda);
        (void)snprintf(s->path, sizeof s->path, "%s", info->software[i].path);
        (void)snprintf(s->absent, sizeof s->absent, "%s", info->software[i].absent);
    }
    for (uint32_t i = 0; i < info->holders && i < FM_MAX_REPLY_HOLDERS; i++) {
        struct fm_reply_holder *h = &reply->holder[reply->holders++];
        h->pid = info->holder[i].pid;
        h->bytes = info->holder[i].bytes;
        (void)snprintf(h->name, sizeof h->name, "%s", info->holder[i].name);
    }
}

void fm_worker_refuse(const struct fm_backend_ops *ops, const struct fm_err *why, struct fm_reply *reply)
{
    struct fm_device_info info = { 0 };
    set_failure(reply, why->status == FM_NOMEM ? FM_NOMEM : FM_UNSUPPORTED, why);
    if (reply->kind != FM_REQUEST_INVENTORY || !ops->software) return;
    ops->software(&info);
    copy_notes(&info, reply);
}

void fm_worker_inventory(const struct fm_backend_ops *ops, struct fm_backend *backend, struct fm_reply *reply)
{
    struct fm_device_info info = { 0 };
    struct fm_err err = { 0 };
    fm_status status = ops->info(backend, &info, &err);
    if (status != FM_OK) {
        set_failure(reply, status, &err);
        return;
    }
    (void)snprintf(reply->device_id, sizeof reply->device_id, "%s", info.id);
    (void)snprintf(reply->device_name, sizeof reply->device_name, "%s", info.name);
    (void)snprintf(reply->device_isa, sizeof reply->device_isa, "%s", info.isa);
    (void)snprintf(reply->device_library, sizeof reply->device_library, "%s", info.library);
    (void)snprintf(reply->device_driver, sizeof reply->device_driver, "%s", info.driver);
    (void)snprintf(reply->device_uuid, sizeof reply->device_uuid, "%s", info.uuid);
    reply->device_total_bytes = info.total_bytes;
    reply->device_free_bytes = info.free_bytes;
    reply->device_threads = info.threads;
    reply->device_count = info.count > 0 ? info.count : -1;
    reply->device_framework_bytes = info.framework_bytes > 0 ? info.framework_bytes : -1;
    copy_notes(&info, reply);
}

/* the step program that a request means */
static fm_status lower_request(const struct fm_request *request, struct fm_program *program, struct fm_err *err)
{
    struct fm_cell cell;
    fm_status status = fm_cell_from_spec(&request->cell, &cell, err);
    if (status != FM_OK) return status;
    struct fm_cell_batch batch = { .train = request->batch, .val = request->val_batch, .fixed_batch = request->fixed_batch };
    return fm_cell_lower(&cell, batch, program, err);
}

/* ---- workspaces ---- */

static void copy_answer(const struct fm_workspace_entry *entry, struct fm_answer *out)
{
    *out = (struct fm_answer){ .key = entry->key, .unsupported = entry->unsupported, .count = entry->candidates.count,
                               .kept_bytes = entry->candidates.kept_bytes };
    (void)snprintf(out->reason, sizeof out->reason, "%s", entry->reason);
    for (uint32_t i = 0; i < entry->candidates.count; i++) {
        out->candidate[i].bytes = entry->candidates.item[i].workspace_bytes;
        (void)snprintf(out->candidate[i].what, sizeof out->candidate[i].what, "%s", entry->candidates.item[i].what);
    }
}

static fm_status answer_keys(const struct fm_request *request, const struct fm_workspaces *table, struct fm_reply *reply, struct fm_err *err)
{
    reply->answer = fm_calloc(request->keys, sizeof *reply->answer);
    if (!reply->answer) return FM_FAIL(err, FM_NOMEM, "%zu answers", request->keys);
    for (size_t i = 0; i < request->keys; i++) {
        const struct fm_workspace_entry *entry = fm_workspaces_find(table, request->key[i]);
        if (!entry)
            return FM_FAIL(err, FM_MISMATCH, "problem %016" PRIx64 " is not in this cell's program", request->key[i]);
        copy_answer(entry, &reply->answer[reply->answers++]);
    }
    return FM_OK;
}

void fm_worker_workspaces(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_request *request,
                          struct fm_reply *reply)
{
    struct fm_program program = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_err err = { 0 };
    fm_status status = lower_request(request, &program, &err);
    if (status == FM_OK) status = fm_engine_workspaces(ops, backend, &program, &table, &err);
    if (status == FM_OK) status = answer_keys(request, &table, reply, &err);
    if (status != FM_OK) set_failure(reply, status, &err);
    fm_workspaces_release(&table);
    fm_program_release(&program);
}

/* ---- probe ---- */

struct probe {
    const struct fm_request *request;
    struct fm_reply *reply;
    struct fm_engine engine;
    struct fm_program program;
    struct fm_watch *watch;             /* NULL: the backend has none, or nothing is to be timed */
    struct fm_span *span;               /* of the timed steps, by the host's clock */
    bool *throttled;
    int32_t others_before;              /* other processes on the device before steps were timed; -1 unknown */
    bool in_val, after_val;
};

/* ---- who else ---- */

#define LEAVE_LOOKS 5               /* one that ended may be listed a moment longer: so often it is looked for again */
#define LEAVE_NS 100000000

static void list_others(const struct probe *p, const struct fm_holder *other, uint32_t listed, int32_t others)
{
    struct fm_reply *reply = p->reply;
    char who[140] = "";
    size_t used = 0;
    reply->holders = 0;
    for (uint32_t i = 0; i < listed && i < FM_MAX_REPLY_HOLDERS; i++) {
        struct fm_reply_holder *h = &reply->holder[reply->holders++];
        *h = (struct fm_reply_holder){ .pid = other[i].pid, .bytes = other[i].bytes };
        (void)snprintf(h->name, sizeof h->name, "%s", other[i].name);
        if (used < sizeof who)
            used += (size_t)snprintf(who + used, sizeof who - used, "%s%.20s (pid %lld)", i ? ", " : "", h->name[0] ? h->name : "unnamed", (long long)h->pid);
    }
    if (p->request->shared) return;
    (void)snprintf(reply->untimed, sizeof reply->untimed, "%d other process%s computed on this device%s%s; stop %s, or time all the same with --shared",
                   others, others == 1 ? "" : "es", who[0] ? ": " : "", who, others == 1 ? "it" : "them");
}

/* Is the device this probe's alone? Unknown counts as that: the row says that it is unknown. */
static bool is_alone(struct probe *p)
{
    struct fm_device_sample now;
    for (int i = 0; i < LEAVE_LOOKS; i++) {
        if (i) (void)nanosleep(&(struct timespec){ .tv_nsec = LEAVE_NS }, NULL);
        if (!fm_watch_look(p->watch, &now) || now.others <= 0) return true;
    }
    p->others_before = now.others;
    list_others(p, now.other, now.others_listed, now.others);
    return false;
}

/* ---- what the device did meanwhile ---- */

static fm_status start_watch(struct probe *p, const struct fm_backend_ops *ops, struct fm_backend *backend, struct fm_err *err)
{
    const struct fm_request *q = p->request;
    struct fm_device_watch device;
    /* learning is checked whoever else is there: it is not timed */
    if (!ops->watch || !q->batch || !q->measured_max || q->fixed_batch) return FM_OK;
    p->span = fm_calloc(FM_MAX_STEPS_KEPT, sizeof *p->span);
    p->throttled = fm_calloc(FM_MAX_STEPS_KEPT, sizeof *p->throttled);
    if (!p->span || !p->throttled) return FM_FAIL(err, FM_NOMEM, "a watch of the device");
    fm_status status = ops->watch(backend, &device, err);
    return status == FM_OK ? fm_watch_start(&p->watch, &device, err) : status;
}

static void name_reasons(int32_t slow, char *text, size_t bytes)
{
    static const struct { int32_t bit; const char *name; } reason[] = {
#define X(name, bit, throttles) { FM_SLOW_##name, #name },
        FM_SLOW_LIST(X)
#undef X
    };
    size_t used = 0;
    text[0] = '\0';
    if (slow == 0) (void)snprintf(text, bytes, "none");
    for (size_t i = 0; slow > 0 && i < sizeof reason / sizeof *reason && used < bytes; i++)
        if (slow & reason[i].bit) used += (size_t)snprintf(text + used, bytes - used, "%s%s", used ? "," : "", reason[i].name);
}

static void take_state(const struct probe *p, const struct fm_watched *seen)
{
    struct fm_reply *reply = p->reply;
    reply->watched = true;
    reply->state = (struct fm_reply_state){
        .looks = seen->looks, .sm_mhz_min = seen->sm_mhz.min, .sm_mhz_median = seen->sm_mhz.median,
        .memory_mhz_min = seen->memory_mhz.min, .memory_mhz_median = seen->memory_mhz.median,
        .power_mw_median = seen->power_mw.median, .power_mw_max = seen->power_mw.max,
        .temperature_c_median = seen->temperature_c.median, .temperature_c_max = seen->temperature_c.max,
        .others = seen->others > p->others_before ? seen->others : p->others_before,
    };
    name_reasons(seen->slow, reply->state.slow, sizeof reply->state.slow);
    bool told = seen->slow >= 0 || seen->sm_mhz.min >= 0 || seen->others >= 0;
    if (!seen->looks || !told)
        (void)snprintf(reply->state.note, sizeof reply->state.note, "clocks, heat and other processes are unknown: NVML %s",
                       seen->looks ? "does not tell" : "did not answer within a second");
}

static void end_watch(struct probe *p)
{
    struct fm_reply *reply = p->reply;
    struct fm_measured *m = &reply->train;
    struct fm_watched seen;
    fm_watch_end(p->watch, p->span, m->step_count, p->throttled, &seen);
    take_state(p, &seen);
    m->marked = seen.marked;
    for (uint32_t i = 0; seen.marked && i < m->step_count; i++)
        if (p->throttled[i]) m->throttled[m->throttled_count++] = i;
    if (seen.others <= 0) return;
    list_others(p, seen.other, seen.others_listed, seen.others);
    if (p->request->shared) return;
    /* their times are neither this device's nor those of a known share of it */
    m->step_count = m->throttled_count = 0;
    m->marked = false;
}

/* ---- timed steps ---- */

static fm_status run_timed(struct probe *p, const struct fm_stop_rule *rule, struct fm_err *err)
{
    struct fm_measured *m = &p->reply->train;
    struct fm_clock clock = fm_clock_system();
    struct fm_stop stop;
    fm_status status = fm_stop_init(&stop, rule, err);
    while (status == FM_OK && fm_stop_reason(&stop) == FM_STOP_RUNNING && m->step_count < FM_MAX_STEPS_KEPT) {
        int64_t ns = 0, begin_ns = fm_now_ns(clock);
        status = fm_engine_run(&p->engine, FM_SECTION_TRAIN, &ns, err);
        if (status != FM_OK) break;
        if (p->watch) p->span[m->step_count] = (struct fm_span){ begin_ns, fm_now_ns(clock) };
        m->step_ns[m->step_count++] = ns;
        fm_stop_add(&stop, (struct fm_sample){ .step_ns = ns, .throttled = p->watch && fm_watch_throttled(p->watch) });
    }
    (void)snprintf(p->reply->stop_reason, sizeof p->reply->stop_reason, "%s", fm_stop_reason_name(fm_stop_reason(&stop)));
    return status;
}

/* until they are precise, settled, many or long enough; the steps that settled memory were the warm-up */
static fm_status timed_steps(struct probe *p, struct fm_err *err)
{
    const struct fm_request *q = p->request;
    if (!q->measured_max) return FM_OK;
    struct fm_stop_rule rule = FM_STOP_RULE_DEFAULT;
    rule.warmup_count = 0;
    rule.min_count = q->measured_min < 2 ? 2 : q->measured_min;
    rule.max_count = q->measured_max < rule.min_count ? rule.min_count : q->measured_max;
    rule.max_relative_error = q->relative_error;
    rule.max_total_ns = q->measured_max_ms * 1000000;
    if (!p->watch) return run_timed(p, &rule, err);
    if (!is_alone(p) && !q->shared) return FM_OK;
    fm_watch_begin(p->watch);
    fm_status status = run_timed(p, &rule, err);
    end_watch(p);
    return status;
}

static fm_status run_training(struct probe *p, struct fm_err *err)
{
    fm_status status = fm_engine_run(&p->engine, FM_SECTION_INIT, NULL, err);
    if (status != FM_OK || !p->request->batch) return status;
    status = fm_engine_run(&p->engine, FM_SECTION_TRAIN_FIRST, NULL, err);
    return status == FM_OK ? fm_engine_settle(&p->engine, FM_SECTION_TRAIN, p->request->train_steps, err) : status;
}

static fm_status run_validation(struct probe *p, struct fm_err *err)
{
    if (!p->request->val_batch) return FM_OK;
    p->in_val = true;
    fm_status status = fm_engine_run(&p->engine, FM_SECTION_VAL_FIRST, NULL, err);
    if (status == FM_OK) status = fm_engine_settle(&p->engine, FM_SECTION_VAL, p->request->val_steps, err);
    if (status == FM_OK) status = fm_engine_run(&p->engine, FM_SECTION_VAL_EXIT, NULL, err);
    if (status != FM_OK) return status;
    p->in_val = false;
    p->after_val = true;
    return p->request->batch ? fm_engine_settle(&p->engine, FM_SECTION_TRAIN, 1, err) : FM_OK;
}

static void copy_peak(const struct fm_peak *peak, struct fm_measured *m)
{
    m->allocated_bytes = peak->allocated_bytes;
    m->reserved_bytes = peak->reserved_bytes;
    m->counted_bytes = peak->counted_bytes;
    m->workspace_bytes = peak->workspace_bytes;
    for (int i = 0; i < FM_BREAKDOWN_COUNT && i < FM_BREAKDOWN_ROWS; i++) m->breakdown_bytes[i] = peak->breakdown_bytes[i];
}

/* would the limit have allowed what did not fit? */
static bool below_limit(const struct fm_replay *replay, int64_t memory_bytes)
{
    const struct fm_allocator *a = replay->allocator;
    if (!replay->oom_bytes) return true;        /* a library of the device's own */
    return a->stats.reserved_bytes <= memory_bytes - fm_allocator_segment_bytes(fm_allocator_round_bytes(a, replay->oom_bytes));
}

static void report(struct probe *p, fm_status status)
{
    struct fm_reply *reply = p->reply;
    const struct fm_replay *replay = &p->engine.replay;
    reply->train.known = true;
    copy_peak(&replay->peak[0], &reply->train);
    reply->train.steps = (uint32_t)p->engine.train_steps;
    reply->train.loss_first = p->engine.loss_first;
    reply->train.loss_last = p->engine.loss_last;
    reply->val.known = p->in_val || p->after_val;
    copy_peak(&replay->peak[1], &reply->val);
    reply->val.steps = (uint32_t)p->engine.val_steps;
    reply->val.loss_first = reply->val.loss_last = NAN;
    reply->failed_in_val = status != FM_OK && p->in_val;
    if (status == FM_OOM) {
        const struct fm_instr *at = &p->program.instr[replay->oom_instr];
        uint32_t label = at->kind == FM_CALL ? p->program.call[at->a].label : p->program.storage[at->a].label;
        (void)snprintf(reply->at_op, sizeof reply->at_op, "%.60s", p->program.names + label);
        reply->at_bytes = replay->oom_bytes;
        reply->below_limit = below_limit(replay, p->request->memory_bytes);
    }
    if (status == FM_OK && p->engine.nonfinite) {
        reply->outcome = FM_OUTCOME_nonfinite;
        (void)snprintf(reply->reason, sizeof reply->reason, "the loss was not finite within %u steps", reply->train.steps);
    }
}

static fm_status open_probe(struct probe *p, const struct fm_backend_ops *ops, struct fm_backend *backend, struct fm_err *err)
{
    const struct fm_request *q = p->request;
    fm_status status = lower_request(q, &p->program, err);
    if (status != FM_OK) return status;
    p->reply->program = fm_program_hash(&p->program);
    if (p->reply->program != q->program)
        return FM_FAIL(err, FM_MISMATCH, "this worker's step program is another: %016" PRIx64 ", not %016" PRIx64
                       "; fillmark and its workers must be of one build", p->reply->program, q->program);
    return fm_engine_open(&p->engine, &(struct fm_engine_config){ .ops = ops, .backend = backend, .program = &p->program,
                          .memory_bytes = q->memory_bytes, .seed = q->seed, .poison = q->poison }, err);
}

void fm_worker_probe(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_request *request,
                     struct fm_reply *reply)
{
    struct probe p = { .request = request, .reply = reply, .others_before = -1 };
    struct fm_err err = { 0 };
    struct fm_clock clock = fm_clock_system();
    int64_t start = fm_now_ns(clock);
    fm_status status = start_watch(&p, ops, backend, &err);
    if (status == FM_OK) status = open_probe(&p, ops, backend, &err);
    reply->setup_ns = fm_now_ns(clock) - start;
    if (status == FM_OK) {
        status = run_training(&p, &err);
        if (status == FM_OK) status = run_validation(&p, &err);
        for (uint32_t i = 0; request->batch && i < request->tail_steps && status == FM_OK; i++)
            status = fm_engine_run(&p.engine, FM_SECTION_TRAIN, NULL, &err);
        if (status == FM_OK && request->batch) status = timed_steps(&p, &err);
        if (status == FM_OK) status = fm_engine_check(&p.engine, &err);
        report(&p, status);
    }
    if (status != FM_OK) set_failure(reply, status, &err);
    struct rusage usage;
    reply->rss_peak_bytes = getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : -1;
    reply->wall_ns = fm_now_ns(clock) - start;
    fm_watch_stop(p.watch);
    fm_free(p.throttled);
    fm_free(p.span);
    fm_engine_close(&p.engine);
    fm_program_release(&p.program);
}
