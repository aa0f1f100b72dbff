#include "tuner/campaign/session.h"

#include "probes/worker/cell_spec.h"
#include "tuner/base/clock.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/absent.h"

#include <stdio.h>
#include <string.h>

#define ANSWERS "2"                     /* what the cached answers of workers mean: counts up when that changes */
#define SPEC_ANSWERS "3"                /* likewise of the spec worker alone */
#define ANSWERS_OF_SEARCH "1"           /* likewise of the largest batches */
#define QUESTION_DEADLINE_NS INT64_C(120000000000)

/* the largest batch that a search replayed and found to fit: its answer, as a rule, which is planned whole next */
struct fm_best_fit {
    uint64_t cell_id;
    struct fm_cell_batch batch;
    int64_t capacity_bytes;
    bool known;
    struct fm_planned planned;
    struct fm_program program;
};

static bool is_none(const struct fm_session *s) { return strcmp(s->backend, "none") == 0; }

/* a GPU's UUID, or that of a part of it, names the cuda backend's device; else the name of the backend comes first */
static void name_backend(struct fm_session *s)
{
    const char *device = s->config.device;
    if (s->config.gpu) {
        (void)snprintf(s->backend, sizeof s->backend, "spec");
        return;
    }
    bool uuid = strncmp(device, "GPU-", 4) == 0 || strncmp(device, "MIG-", 4) == 0;
    (void)snprintf(s->backend, sizeof s->backend, "%.*s", uuid ? 4 : (int)strcspn(device, ":"), uuid ? "cuda" : device);
}

fm_status fm_session_worker(const struct fm_session *s, struct fm_worker **out, struct fm_err *err)
{
    struct fm_worker_options options = { .threads = s->config.threads };
    if (s->config.gpu) options.device = s->description;
    else if (strcmp(s->backend, s->config.device) != 0) options.device = s->config.device;
    return fm_worker_start(s->worker_path, &options, out, err);
}

/* asks the session's own worker; starts it if need be */
static fm_status ask(struct fm_session *s, struct fm_request *request, struct fm_reply *reply, struct fm_err *err)
{
    bool fresh = !s->worker;
    fm_status status = fresh ? fm_session_worker(s, &s->worker, err) : FM_OK;
    if (status != FM_OK) return status;
    request->id = ++s->requests;
    status = fm_worker_call(s->worker, request, fm_now_ns(fm_clock_system()) + QUESTION_DEADLINE_NS, s->config.cancel, reply, err);
    if (status == FM_OK && reply->outcome == FM_OUTCOME_ok) return FM_OK;
    fm_worker_stop(s->worker);
    s->worker = NULL;
    if (status != FM_OK) return status;
    /* one that answered before may have died of something else meanwhile */
    if (!fresh && reply->outcome != FM_OUTCOME_unsupported) {
        fm_reply_release(reply);
        return ask(s, request, reply, err);
    }
    s->question_outcome = reply->outcome;
    if (reply->outcome == FM_OUTCOME_unsupported && reply->reason[0]) return FM_FAIL(err, FM_UNSUPPORTED, "%s", reply->reason);
    fm_status code = reply->outcome == FM_OUTCOME_unsupported ? FM_UNSUPPORTED : FM_FAILED;
    return FM_FAIL(err, code, "the worker of %s: %s%s%s", s->config.device, fm_outcome_name(reply->outcome),
                   reply->reason[0] ? ": " : "", reply->reason);
}

static uint64_t fingerprint_of(const struct fm_reply *d)
{
    char threads[16];
    (void)snprintf(threads, sizeof threads, "%d", d->device_threads);
    const char *const parts[] = { d->device_name, d->device_isa, d->device_library, d->device_driver, threads, FILLMARK_VERSION, ANSWERS };
    uint64_t hash = FM_HASH_INIT;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) hash = fm_hash_text(hash, parts[i]);
    return hash;
}

/* A device with memory of its own is filled, but for what PyTorch holds beside its allocator; the host's is shared. */
static int64_t default_memory(struct fm_session *s, int64_t most)
{
    const struct fm_reply *device = s->device;
    if (device->device_framework_bytes > 0) {
        int64_t room = device->device_free_bytes >= 0 ? device->device_free_bytes : device->device_total_bytes;
        s->framework_bytes = device->device_framework_bytes;
        return room > s->framework_bytes ? room - s->framework_bytes : 0;
    }
    int64_t quarter = device->device_free_bytes > 0 ? device->device_free_bytes / 4 : most;
    return quarter < most ? quarter : most;
}

/* a build without that worker is a machine without that device */
static fm_status find_worker(struct fm_session *s, struct fm_err *err)
{
    struct fm_err why = { 0 };
    fm_status status = fm_worker_path(s->backend, s->worker_path, sizeof s->worker_path, &why);
    if (status == FM_OK) return FM_OK;
    return FM_FAIL(err, status == FM_INVALID ? FM_UNSUPPORTED : status, "--device %s: %s", s->config.device, why.text);
}

static fm_status open_device(struct fm_session *s, struct fm_err *err)
{
    struct fm_request request = { .kind = FM_REQUEST_INVENTORY };
    fm_status status = find_worker(s, err);
    if (status == FM_OK) status = ask(s, &request, s->device, err);
    if (status != FM_OK) return status;
    s->fingerprint = fingerprint_of(s->device);
    if (!s->capacity_bytes) s->capacity_bytes = default_memory(s, s->config.memory_auto_bytes);
    if (!s->capacity_bytes && s->framework_bytes)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s has no memory left: others hold it (fillmark devices lists them)", s->device->device_name);
    if (s->device->device_total_bytes > 0 && s->capacity_bytes > s->device->device_total_bytes)
        return FM_FAIL(err, FM_INVALID, "--memory: %lld bytes are more than the %lld of %s", (long long)s->capacity_bytes,
                       (long long)s->device->device_total_bytes, s->device->device_name);
    return fm_cache_open(&s->cache, s->fingerprint, err);
}

/* a GPU that is not here: its worker says what cuDNN there is to ask; where there is none, plans do without */
static fm_status open_absent(struct fm_session *s, struct fm_err *err)
{
    struct fm_request request = { .kind = FM_REQUEST_INVENTORY };
    struct fm_err why = { 0 };
    struct fm_reply *inventory = fm_calloc(1, sizeof *inventory);
    if (!inventory) return FM_FAIL(err, FM_NOMEM, "a session");
    fm_status status = fm_absent_describe(s, err);
    if (status == FM_OK) {
        fm_status asked = fm_worker_path(s->backend, s->worker_path, sizeof s->worker_path, &why);
        if (asked == FM_INVALID) asked = FM_UNSUPPORTED;
        else if (asked == FM_OK) asked = ask(s, &request, inventory, &why);
        if (asked != FM_OK && asked != FM_UNSUPPORTED) status = FM_FAIL(err, asked, "%s", why.text);
        else fm_absent_answered(s, inventory, asked, &why);
    }
    fm_reply_release(inventory);
    fm_free(inventory);
    if (status != FM_OK || s->without_workspaces) return status;
    s->fingerprint = fm_hash_text(fm_hash_text(fingerprint_of(s->device), s->description), SPEC_ANSWERS);
    return fm_cache_open(&s->cache, s->fingerprint, err);
}

fm_status fm_session_inventory(const struct fm_session_config *config, struct fm_reply *out, struct fm_err *err)
{
    struct fm_session s = { .config = *config, .cache = { .fd = -1 } };
    struct fm_request request = { .kind = FM_REQUEST_INVENTORY };
    name_backend(&s);
    fm_status status = fm_worker_path(s.backend, s.worker_path, sizeof s.worker_path, err);
    if (status == FM_OK) status = ask(&s, &request, out, err);
    fm_session_close(&s);
    return status;
}

bool fm_session_has_worker(const char *device)
{
    struct fm_session s = { .config = { .device = device } };
    name_backend(&s);
    return fm_worker_path(s.backend, s.worker_path, sizeof s.worker_path, NULL) == FM_OK;
}

fm_status fm_session_open(struct fm_session *s, const struct fm_session_config *config, struct fm_err *err)
{
    *s = (struct fm_session){ .config = *config, .capacity_bytes = config->memory_bytes, .cache = { .fd = -1 },
                              .asking = PTHREAD_MUTEX_INITIALIZER, .learning = PTHREAD_MUTEX_INITIALIZER };
    name_backend(s);
    s->device = fm_calloc(1, sizeof *s->device);
    if (!s->device) return FM_FAIL(err, FM_NOMEM, "a session");
    if (is_none(s)) {
        (void)snprintf(s->device->device_id, sizeof s->device->device_id, "none");
        (void)snprintf(s->device->device_name, sizeof s->device->device_name, "no device (workspace 0)");
        s->device->device_total_bytes = s->device->device_free_bytes = -1;
        if (!s->capacity_bytes) s->capacity_bytes = INT64_MAX;
        return FM_OK;
    }
    fm_status status = config->gpu ? open_absent(s, err) : open_device(s, err);
    if (status != FM_OK) fm_session_close(s);
    return status;
}

void fm_session_close(struct fm_session *s)
{
    if (s->worker) fm_worker_stop(s->worker);
    if (s->device && !s->base) {
        fm_reply_release(s->device);
        fm_free(s->device);
    }
    fm_cache_close(&s->cache);
    fm_workspaces_release(&s->workspaces);
    fm_planner_release(&s->planner);
    fm_program_release(&s->program);
    if (s->best) fm_program_release(&s->best->program);
    fm_free(s->best);
    *s = (struct fm_session){ .cache = { .fd = -1 } };
}

void fm_session_branch(struct fm_session *base, struct fm_session *out)
{
    *out = (struct fm_session){ .config = base->config, .base = base, .device = base->device, .capacity_bytes = base->capacity_bytes,
                                .fingerprint = base->fingerprint, .without_workspaces = base->without_workspaces,
                                .framework_bytes = base->framework_bytes, .cache = { .fd = -1 } };
    memcpy(out->backend, base->backend, sizeof out->backend);
}

/* ---- workspaces ---- */

static fm_status store_answer(struct fm_session *root, const struct fm_answer *a, struct fm_err *err)
{
    struct fm_workspace_entry entry = { .key = a->key, .unsupported = a->unsupported,
                                        .candidates = { .count = a->count, .kept_bytes = a->kept_bytes } };
    (void)snprintf(entry.reason, sizeof entry.reason, "%s", a->reason);
    for (uint32_t k = 0; k < a->count && k < FM_MAX_CANDIDATES; k++) {
        entry.candidates.item[k].workspace_bytes = a->candidate[k].bytes;
        (void)snprintf(entry.candidates.item[k].what, sizeof entry.candidates.item[k].what, "%s", a->candidate[k].what);
    }
    (void)pthread_mutex_lock(&root->learning);
    fm_status status = fm_workspaces_add(&root->workspaces, &entry, err);
    if (status == FM_OK) fm_cache_append(&root->cache, &entry);
    (void)pthread_mutex_unlock(&root->learning);
    return status;
}

/* into the session's own table, if the cache or another branch knows it */
static fm_status recall(struct fm_session *s, uint64_t key, bool *known, struct fm_err *err)
{
    struct fm_session *root = s->base ? s->base : s;
    struct fm_workspace_entry entry;
    *known = fm_workspaces_find(&s->workspaces, key) != NULL;
    if (*known) return FM_OK;
    *known = fm_cache_find(&root->cache, key, &entry);
    if (!*known && s->base) {
        (void)pthread_mutex_lock(&root->learning);
        const struct fm_workspace_entry *learned = fm_workspaces_find(&root->workspaces, key);
        *known = learned != NULL;
        if (learned) entry = *learned;
        (void)pthread_mutex_unlock(&root->learning);
    }
    return *known ? fm_workspaces_add(&s->workspaces, &entry, err) : FM_OK;
}

/* problems that no one here knows yet, as keys of a request; those of `of` that are recalled are left out */
static fm_status collect(struct fm_session *s, const struct fm_workspaces *of, struct fm_request *request, struct fm_err *err)
{
    fm_status status = FM_OK;
    request->keys = 0;
    for (size_t i = 0; i < of->count && status == FM_OK; i++) {
        bool known;
        status = recall(s, of->entry[i].key, &known, err);
        if (!known) request->key[request->keys++] = of->entry[i].key;
    }
    return status;
}

/* asks about those of `unknown` that another branch did not learn while this one waited for its turn */
static fm_status ask_about(struct fm_session *s, const struct fm_workspaces *unknown, struct fm_request *request, struct fm_err *err)
{
    struct fm_session *root = s->base ? s->base : s;
    struct fm_reply *reply = fm_calloc(1, sizeof *reply);
    request->key = fm_calloc(unknown->count, sizeof *request->key);
    if (!reply || !request->key) {
        fm_free(reply);
        return FM_FAIL(err, FM_NOMEM, "%zu questions", unknown->count);
    }
    (void)pthread_mutex_lock(&root->asking);
    fm_status status = collect(s, unknown, request, err);
    if (status == FM_OK && request->keys) {
        root->workspace_questions += request->keys;
        root->question_outcome = FM_OUTCOME_ok;
        status = ask(root, request, reply, err);
        s->question_outcome = root->question_outcome;
        for (size_t i = 0; i < reply->answers && status == FM_OK; i++) status = store_answer(root, &reply->answer[i], err);
    }
    (void)pthread_mutex_unlock(&root->asking);
    if (status == FM_OK) status = collect(s, unknown, request, err);
    fm_reply_release(reply);
    fm_free(reply);
    return status;
}

/* asks the device about the problems of the last program that it was never asked about */
static fm_status learn_workspaces(struct fm_session *s, const struct fm_cell *cell, struct fm_cell_batch batch, struct fm_err *err)
{
    struct fm_workspaces unknown = { 0 };
    fm_status status = FM_OK;
    for (size_t i = 0; i < s->program.call_count && status == FM_OK; i++) {
        struct fm_workspace_entry entry = { .key = s->program.call[i].key };
        bool known = !entry.key || fm_workspaces_find(&unknown, entry.key);
        if (!known) status = recall(s, entry.key, &known, err);
        if (status == FM_OK && !known) status = fm_workspaces_add(&unknown, &entry, err);
    }
    if (status == FM_OK && unknown.count) {
        struct fm_request request = { .kind = FM_REQUEST_WORKSPACES, .batch = batch.train, .val_batch = batch.val,
                                      .fixed_batch = batch.fixed_batch };
        fm_cell_to_spec(cell, &request.cell);
        status = ask_about(s, &unknown, &request, err);
        fm_request_release(&request);
    }
    fm_workspaces_release(&unknown);
    return status;
}

/* ---- plans ---- */

/* how much of a plan is wanted: what is needed at least; the verdict; all, the program's hash and needed_bytes included,
 * which is a plan of its own where it does not fit */
enum depth { PLAN_LEAST, PLAN_VERDICT, PLAN_WHOLE };

/* every call has answers: a replay would not fail for want of one */
static bool is_answered(const struct fm_program *p, const struct fm_workspaces *workspaces)
{
    for (size_t i = 0; workspaces && i < p->call_count; i++) {
        const struct fm_workspace_entry *entry = p->call[i].key ? fm_workspaces_find(workspaces, p->call[i].key) : NULL;
        if (p->call[i].key && (!entry || entry->unsupported)) return false;
    }
    return true;
}

static void swap_program(struct fm_session *s)
{
    struct fm_program program = s->program;
    s->program = s->best->program;
    s->best->program = program;
}

/* the session's program fits; without memory to note it, it is planned again */
static void note_fit(struct fm_session *s, const struct fm_cell *cell, struct fm_cell_batch batch, const struct fm_planned *planned)
{
    if (!s->best) s->best = fm_calloc(1, sizeof *s->best);
    struct fm_best_fit *best = s->best;
    if (!best || (best->known && (batch.train < best->batch.train || batch.val < best->batch.val))) return;
    best->cell_id = fm_cell_id(cell);
    best->batch = batch;
    best->capacity_bytes = s->capacity_bytes;
    best->planned = *planned;
    best->known = true;
    swap_program(s);
    fm_program_reserve(&s->program, &best->program);
}

/* the plan as the search before left it */
static bool take_fit(struct fm_session *s, const struct fm_cell *cell, struct fm_cell_batch batch, struct fm_planned *out)
{
    struct fm_best_fit *best = s->best;
    bool known = best && best->known && best->batch.train == batch.train && best->batch.val == batch.val && !batch.fixed_batch &&
                 best->capacity_bytes == s->capacity_bytes && best->cell_id == fm_cell_id(cell);
    if (best) best->known = false;
    if (!known) return false;
    swap_program(s);
    *out = best->planned;
    out->program = fm_program_hash(&s->program);
    return true;
}

static fm_status plan(struct fm_session *s, const struct fm_cell *cell, struct fm_cell_batch batch, enum depth depth,
                      struct fm_planned *out, struct fm_err *err)
{
    *out = (struct fm_planned){ 0 };
    s->question_outcome = FM_OUTCOME_ok;
    fm_status status = s->config.gpu && s->without_workspaces ? fm_absent_can_train(s->config.gpu, cell, err) : FM_OK;
    if (status == FM_OK) status = fm_cell_lower(cell, batch, &s->program, err);
    bool bare = is_none(s) || s->without_workspaces;
    if (status == FM_OK && !bare) status = learn_workspaces(s, cell, batch, err);
    if (status == FM_OK && depth == PLAN_WHOLE) out->program = fm_program_hash(&s->program);
    if (status == FM_OK && s->without_workspaces) status = fm_absent_workspaces(&s->program, s->config.gpu, &s->workspaces, err);
    if (status != FM_OK) return status;
    const struct fm_workspaces *workspaces = is_none(s) ? NULL : &s->workspaces;
    out->least_bytes = fm_plan_least_bytes(&s->program, workspaces);
    bool within = out->least_bytes <= s->capacity_bytes;
    if (depth != PLAN_WHOLE && (!within || depth == PLAN_LEAST) && is_answered(&s->program, workspaces)) {
        out->plan.fits = out->assumed = within;
        return FM_OK;
    }
    status = fm_planner_run(&s->planner, &s->program, workspaces, s->capacity_bytes, &out->plan, err);
    if (status != FM_OK) return status;
    struct fm_plan unlimited = out->plan;
    if (!out->plan.fits && depth != PLAN_WHOLE) return FM_OK;
    if (!out->plan.fits) status = fm_planner_run(&s->planner, &s->program, workspaces, INT64_MAX, &unlimited, err);
    const struct fm_peak *train = &unlimited.train, *val = &unlimited.val;
    out->needed_bytes = val->reserved_bytes > train->reserved_bytes ? val->reserved_bytes : train->reserved_bytes;
    return status;
}

fm_status fm_session_plan(struct fm_session *s, const struct fm_cell *cell, struct fm_cell_batch batch, struct fm_planned *out,
                          struct fm_err *err)
{
    return take_fit(s, cell, batch, out) ? FM_OK : plan(s, cell, batch, PLAN_WHOLE, out, err);
}

struct query {
    struct fm_session *session;
    const struct fm_cell *cell;
    int64_t train_batch;            /* 0: the training batch is what is searched */
};

static fm_status need(void *context, int64_t batch, struct fm_plan_need *out, struct fm_err *err)
{
    const struct query *q = context;
    struct fm_planned planned;
    struct fm_cell_batch b = { .train = q->train_batch ? q->train_batch : batch };
    b.val = q->train_batch ? batch : fm_cell_val_batch(q->cell, batch);
    struct fm_err why = { 0 };
    fm_status status = plan(q->session, q->cell, b, out->least_only ? PLAN_LEAST : PLAN_VERDICT, &planned, &why);
    /* too large for the network or the device to be built at all: smaller batches may be fine */
    if (batch > 1 && (status == FM_UNSUPPORTED || status == FM_INVALID)) {
        *out = (struct fm_plan_need){ .fits = false };
        return FM_OK;
    }
    if (status != FM_OK) return FM_FAIL(err, status, "%s", why.text);
    if (planned.plan.fits && !planned.assumed) note_fit(q->session, q->cell, b, &planned);
    out->fits = planned.plan.fits;
    out->assumed = planned.assumed;
    out->bytes = (uint64_t)planned.needed_bytes;
    out->least_bytes = (uint64_t)planned.least_bytes;
    return FM_OK;
}

/* ---- answers of searches, kept with the workspaces that they rest on ---- */

static uint64_t program_of_best(const struct query *q, int64_t batch)
{
    const struct fm_best_fit *best = q->session->best;
    int64_t found = !best || !best->known ? 0 : q->train_batch ? best->batch.val : best->batch.train;
    return found && found == batch ? fm_program_hash(&best->program) : 0;
}

/* An answer that was kept holds if both its sides are still what they were: the same program fits and needs as much, and the
 * next batch does not fit. Else it is searched for again. */
static bool remembered(struct query *q, uint64_t key, int64_t limit, struct fm_plan_max_answer *out)
{
    const struct fm_session *root = q->session->base ? q->session->base : q->session;
    struct fm_plan_need fits = { .verdict_only = true }, next = fits;
    struct fm_cache_max max;
    if (!fm_cache_find_max(&root->cache, key, &max) || max.answer.max_batch > limit) return false;
    int64_t batch = max.answer.max_batch;
    if (max.answer.at_limit != (batch == limit)) return false;
    if (batch && (need(q, batch, &fits, NULL) != FM_OK || !fits.fits || fits.bytes != max.answer.bytes)) return false;
    if (batch && program_of_best(q, batch) != max.program) return false;
    if (batch < limit && (need(q, batch + 1, &next, NULL) != FM_OK || next.fits)) return false;
    *out = max.answer;
    out->evaluations = (batch > 0) + (batch < limit);
    return true;
}

static void remember(const struct query *q, uint64_t key, const struct fm_plan_max_answer *answer)
{
    struct fm_session *root = q->session->base ? q->session->base : q->session;
    struct fm_cache_max max = { .key = key, .answer = *answer };
    if (!root->fingerprint) return;             /* nothing is kept */
    if (answer->max_batch) max.program = program_of_best(q, answer->max_batch);
    if (answer->max_batch && !max.program) return;
    (void)pthread_mutex_lock(&root->learning);
    fm_cache_append_max(&root->cache, &max);
    (void)pthread_mutex_unlock(&root->learning);
}

fm_status fm_session_max_batch(struct fm_session *s, const struct fm_cell *cell, int64_t limit, int64_t train_batch,
                               struct fm_plan_max_answer *out, struct fm_err *err)
{
    struct query q = { s, cell, train_batch };
    if (s->best) s->best->known = false;
    const uint64_t parts[] = { fm_cell_id(cell), (uint64_t)s->capacity_bytes, (uint64_t)limit, (uint64_t)train_batch };
    uint64_t key = fm_hash_text(FM_HASH_INIT, ANSWERS_OF_SEARCH);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) key = fm_hash_word(key, parts[i]);
    if (remembered(&q, key, limit, out)) return FM_OK;
    struct fm_plan_max_query query = { .need = need, .context = &q, .capacity_bytes = (uint64_t)s->capacity_bytes, .max_batch = limit };
    if (s->best) s->best->known = false;
    fm_status status = fm_plan_max_batch(&query, out, err);
    if (status == FM_OK) remember(&q, key, out);
    return status;
}
