#include "probes/backends/cuda/conv_internal.h"

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "workloads/program/pytorch.h"

#include <stdio.h>
#include <string.h>

#define CONFIGS 64                      /* of one list; mode A gives 40 at most */
#define SCRATCH_ALIGN 256

/* ---- errors ---- */

static fm_status check(struct fm_cuda_conv *v, int status, const char *what, struct fm_err *err)
{
    const struct fm_cudnn_api *dnn = &v->cuda->lib.cudnn;
    char text[200] = "";
    if (status == 0) return FM_OK;
    if (dnn->last_error) dnn->last_error(text, sizeof text);
    text[sizeof text - 1] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = ' ';
    if (status == FM_CUDNN_STATUS_HOST_ALLOCATION) return FM_FAIL(err, FM_NOMEM, "cuDNN, %s: no host memory", what);
    if (status == FM_CUDNN_STATUS_DEVICE_ALLOCATION) return FM_OOM;
    if (status / 1000 == 3) return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN, %s: %d %s", what, status, text);
    /* it may be the messenger of an error that ended the context */
    fm_status alive = fm_cuda_alive(v->cuda, what, err);
    return alive == FM_OK ? FM_FAIL(err, FM_FAILED, "cuDNN, %s: %d %s", what, status, text) : alive;
}

/* ---- opening ---- */

fm_status fm_cuda_conv_open(struct fm_cuda *cuda, struct fm_cuda_conv **out, struct fm_err *err)
{
    *out = fm_calloc(1, sizeof **out);
    if (!*out) return FM_FAIL(err, FM_NOMEM, "convolutions");
    (*out)->cuda = cuda;
    return FM_OK;
}

static void drop(struct fm_cuda_conv *v, fm_cudnn_descriptor *descriptor)
{
    if (*descriptor) (void)v->cuda->lib.cudnn.destroy_descriptor(*descriptor);
    *descriptor = NULL;
}

static void release(struct fm_cuda_conv *v, struct entry *e)
{
    for (uint32_t i = 0; i < e->count; i++) {
        drop(v, &e->item[i].plan);
        drop(v, &e->item[i].config);
    }
    while (e->parts) drop(v, &e->part[--e->parts]);
    e->count = 0;
    if (e->attention) {
        const struct fm_attention_api api = fm_cuda_attention_api(v);
        fm_attention_release(&api, e->attention);
    }
    fm_free(e->attention);
    e->attention = NULL;
}

void fm_cuda_conv_close(struct fm_cuda_conv *v)
{
    if (!v) return;
    for (size_t i = 0; i < v->capacity; i++) release(v, &v->table[i]);
    drop(v, &v->device);
    if (v->handle && !v->cuda->dead[0]) (void)v->cuda->lib.cudnn.destroy(v->handle);
    fm_free(v->table);
    fm_free(v);
}

static fm_status need_handle(struct fm_cuda_conv *v, struct fm_err *err)
{
    fm_status status = FM_OK;
    if (v->handle) return FM_OK;
    FM_TRY(fm_cuda_use(v->cuda, err));
    FM_TRY(check(v, v->cuda->lib.cudnn.create(&v->handle), "making a handle", err));
    FM_TRY(check(v, v->cuda->lib.cudnn.set_stream(v->handle, v->cuda->stream), "giving it a stream", err));
out:
    return status;
}

/* who the questions are about: a description of the device, or else a handle */
static fm_status need_device(struct fm_cuda_conv *v, struct fm_err *err)
{
    const struct fm_cudnn_api *dnn = &v->cuda->lib.cudnn;
    if (!v->asked_device) {
        int32_t ordinal = v->cuda->ordinal;
        v->asked_device = true;
        if (dnn->create_descriptor(FM_CUDNN_DEVICEPROP, &v->device) != 0) v->device = NULL;
        if (v->device && (dnn->set(v->device, FM_CUDNN_ATTR_DEVICEPROP_DEVICE_ID, FM_CUDNN_TYPE_INT32, 1, &ordinal) != 0 ||
                          dnn->finalize(v->device) != 0))
            drop(v, &v->device);
    }
    return v->device ? FM_OK : need_handle(v, err);
}

/* what it computes wrongly is not computed in another type under the same name */
static fm_status check_version(const struct fm_cuda_conv *v, const struct shape *s, struct fm_err *err)
{
    size_t version = v->cuda->lib.found[FM_CUDA_CUDNN].version;
    char text[24];
    bool half = s->type != FM_CUDNN_FLOAT;
    if (!fm_cuda_conv_is_3d(s) || !(half ? fm_cudnn_wrong_half_conv3d(version) : s->attr->tf32 && fm_cudnn_wrong_tf32_conv3d(version)))
        return FM_OK;
    fm_cudnn_version_text(version, text);
    return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN %s computes 3-D convolutions in %s wrongly: install 9.16 or later", text,
                   half ? "fp16 and bf16" : "TF32");
}

/* ---- engines ---- */

/* index of its engine and a bit for each numerical note; false: not told */
static bool notes_of(const struct fm_cudnn_api *dnn, fm_cudnn_descriptor config, int64_t *index, uint32_t *notes)
{
    int note[FM_CUDNN_NOTE_COUNT];
    int64_t n = 0;
    fm_cudnn_descriptor engine = NULL;
    *notes = 0;
    bool good = dnn->create_descriptor(FM_CUDNN_ENGINE, &engine) == 0 &&
                dnn->get(config, FM_CUDNN_ATTR_ENGINECFG_ENGINE, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) == 0 &&
                dnn->get(engine, FM_CUDNN_ATTR_ENGINE_GLOBAL_INDEX, FM_CUDNN_TYPE_INT64, 1, &n, index) == 0 &&
                dnn->get(engine, FM_CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, FM_CUDNN_TYPE_NUMERICAL_NOTE, FM_CUDNN_NOTE_COUNT, &n, note) == 0;
    for (int64_t i = 0; good && i < n && i < FM_CUDNN_NOTE_COUNT; i++)
        if (note[i] >= 0 && note[i] < 32) *notes |= 1u << note[i];
    if (engine) (void)dnn->destroy_descriptor(engine);
    return good;
}

/* a plan of the configuration; status != 0: it does not build */
static int build_plan(struct fm_cuda_conv *v, struct config *c)
{
    const struct fm_cudnn_api *dnn = &v->cuda->lib.cudnn;
    int64_t n = 0;
    int status = dnn->create_descriptor(FM_CUDNN_EXECUTION_PLAN, &c->plan);
    if (status) return status;
    status = dnn->set(c->plan, FM_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &c->config);
    if (!status && v->device)
        status = dnn->set(c->plan, FM_CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &v->device);
    if (!status && !v->device) status = dnn->set(c->plan, FM_CUDNN_ATTR_EXECUTION_PLAN_HANDLE, FM_CUDNN_TYPE_HANDLE, 1, &v->handle);
    if (!status) status = dnn->finalize(c->plan);
    if (!status)
        status = dnn->get(c->plan, FM_CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, FM_CUDNN_TYPE_INT64, 1, &n, &c->workspace_bytes);
    return status;
}

static bool wanted(const struct shape *s, uint32_t notes)
{
    bool fp32 = s->type == FM_CUDNN_FLOAT && !s->attr->tf32;
    if (notes >> FM_CUDNN_NOTE_DOWN_CONVERT & 1) return false;
    return !(fp32 && notes >> FM_CUDNN_NOTE_TENSOR_CORE & 1);
}

/* keeps a configuration if it builds and needs less workspace than all before it, or is to be timed */
static void consider(struct build *b, const struct shape *s, fm_cudnn_descriptor config)
{
    struct fm_cuda_conv *v = b->conv;
    struct entry *e = b->entry;
    struct config c = { .config = config };
    int64_t engine = -1;
    uint32_t notes = 0;
    int64_t n = 0;
    bool good = notes_of(&v->cuda->lib.cudnn, config, &engine, &notes) && wanted(s, notes);
    if (good && b->only_asked && s->attention)
        good = v->cuda->lib.cudnn.get(config, FM_CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, FM_CUDNN_TYPE_INT64, 1, &n, &c.workspace_bytes) == 0;
    else if (good) good = build_plan(v, &c) == 0;
    int64_t least_bytes = INT64_MAX;
    for (uint32_t i = 0; i < e->count; i++)
        if (e->item[i].workspace_bytes < least_bytes) least_bytes = e->item[i].workspace_bytes;
    /* to be timed are the first ones, whatever they need */
    if (good) good = c.workspace_bytes < least_bytes || (s->attr->benchmark && e->count < FM_MAX_CANDIDATES);
    if (!good) {
        drop(v, &c.plan);
        drop(v, &c.config);
        return;
    }
    bool tf32 = s->type == FM_CUDNN_FLOAT && notes >> FM_CUDNN_NOTE_TENSOR_CORE & 1;
    (void)snprintf(c.what, sizeof c.what, "cudnn engine %lld%s", (long long)engine, tf32 ? " tf32" : "");
    if (e->count == FM_MAX_CANDIDATES) {
        drop(v, &e->item[e->count - 1].plan);
        drop(v, &e->item[e->count - 1].config);
        e->count--;
    }
    e->item[e->count++] = c;
}

/* all configurations of one list; none is not an error */
static void look_through(struct build *b, const struct shape *s, fm_cudnn_descriptor g, int mode)
{
    struct fm_cuda_conv *v = b->conv;
    const struct fm_cudnn_api *dnn = &v->cuda->lib.cudnn;
    fm_cudnn_descriptor config[CONFIGS] = { 0 }, list = fm_cudnn_make(b, FM_CUDNN_ENGINEHEUR, "a list of engines");
    int64_t count = 0, got = 0;
    fm_cudnn_set(b, list, FM_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g);
    fm_cudnn_set(b, list, FM_CUDNN_ATTR_ENGINEHEUR_MODE, FM_CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (v->device) fm_cudnn_set(b, list, FM_CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &v->device);
    /* some graphs without an engine are refused here, others have an empty list */
    if (b->status || dnn->finalize(list) != 0) return;
    if (dnn->get(list, FM_CUDNN_ATTR_ENGINEHEUR_RESULTS, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, NULL) != 0 || count <= 0) return;
    if (count > CONFIGS) count = CONFIGS;
    for (int64_t i = 0; i < count; i++)
        if (dnn->create_descriptor(FM_CUDNN_ENGINECFG, &config[i]) != 0) count = i;
    if (count && dnn->get(list, FM_CUDNN_ATTR_ENGINEHEUR_RESULTS, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &got, config) != 0) got = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i < got) consider(b, s, config[i]);
        else drop(v, &config[i]);
    }
}

/* all that can run the problem; an entry without items: nothing can */
static fm_status build_entry(struct fm_cuda_conv *v, const struct shape *s, bool only_asked, struct entry *e, struct fm_err *err)
{
    struct build b = { .conv = v, .entry = e, .only_asked = only_asked };
    fm_status status = s->attention ? fm_pytorch_flash_check(v->cuda->sm, err) : FM_OK;
    if (status == FM_OK) status = need_device(v, err);
    if (status != FM_OK) return status;
    fm_cudnn_descriptor g = fm_cudnn_graph(&b, s);
    look_through(&b, s, g, FM_CUDNN_HEUR_INSTANT);
    look_through(&b, s, g, FM_CUDNN_HEUR_FALLBACK);
    status = check(v, b.status, b.what, err);
    if (status == FM_OK && !e->count)
        status = FM_FAIL(err, FM_UNSUPPORTED, "cuDNN has no engine for this %s %s on sm_%d", fm_dtype_name((enum fm_dtype)s->operand[0].dtype),
                         s->attention ? "attention" : "convolution", v->cuda->sm);
    if (status != FM_OK) release(v, e);
    return status;
}

/* what the engine takes, and after it what the graph of attention is given */
static int64_t workspace_of(const struct shape *s, const struct config *c)
{
    if (!s->attention) return c->workspace_bytes;
    return (c->workspace_bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN + fm_attention_scratch(s->attention).bytes;
}

fm_status fm_cuda_conv_candidates(struct fm_cuda_conv *v, const struct fm_problem *problem, struct fm_candidates *out, struct fm_err *err)
{
    struct shape s;
    struct entry e = { 0 };
    *out = (struct fm_candidates){ 0 };
    fm_status status = fm_cuda_conv_shape(problem, &s, err);
    if (status == FM_OK) status = check_version(v, &s, err);
    if (status == FM_OK) status = build_entry(v, &s, true, &e, err);
    if (status != FM_OK) return status;
    out->count = e.count;
    for (uint32_t i = 0; i < e.count; i++) {
        out->item[i].workspace_bytes = workspace_of(&s, &e.item[i]);
        memcpy(out->item[i].what, e.item[i].what, sizeof out->item[i].what);
    }
    /* not kept: a planner asks about many problems of which few will run */
    release(v, &e);
    return FM_OK;
}

/* ---- running ---- */

static struct entry *find(struct entry *table, size_t capacity, uint64_t key)
{
    size_t i = (size_t)fm_hash_word(key, 0) & (capacity - 1);
    while (table[i].key != 0 && table[i].key != key) i = (i + 1) & (capacity - 1);
    return &table[i];
}

static fm_status make_room(struct fm_cuda_conv *v, struct fm_err *err)
{
    if (2 * (v->used + 1) <= v->capacity) return FM_OK;
    size_t capacity = v->capacity ? 2 * v->capacity : 64;
    struct entry *table = fm_calloc(capacity, sizeof *table);
    if (!table) return FM_FAIL(err, FM_NOMEM, "a table of %zu convolutions", capacity);
    for (size_t i = 0; i < v->capacity; i++)
        if (v->table[i].key) *find(table, capacity, v->table[i].key) = v->table[i];
    fm_free(v->table);
    v->table = table;
    v->capacity = capacity;
    return FM_OK;
}

/* plans are made for alignments too (rule 41) */
static fm_status entry_of(struct fm_cuda_conv *v, const struct fm_cuda_conv_run *run, struct shape *s, struct entry **out, struct fm_err *err)
{
    uint64_t key = fm_problem_key(&run->problem);
    for (int i = 0; i < 3; i++) {
        uintptr_t address = (uintptr_t)run->data[s->index[i]];
        s->align[i] = address % ALIGNED ? (int64_t)(address & -address) : ALIGNED;
        key = fm_hash_word(key, (uint64_t)s->align[i]);
    }
    if (!key) key = 1;
    fm_status status = make_room(v, err);
    if (status != FM_OK) return status;
    *out = find(v->table, v->capacity, key);
    if ((*out)->key) return FM_OK;
    status = build_entry(v, s, false, *out, err);
    if (status != FM_OK) return status;
    (*out)->key = key;
    v->used++;
    return FM_OK;
}

/* tensors and their memory, for a variant pack; the sum that attention's engines add to is zeroed */
static void bind(const struct fm_cuda_conv_run *run, const struct shape *s, const struct config *c, struct fm_attention_pack *out)
{
    static const int64_t uid[] = { UID_X, UID_W, UID_Y };
    if (s->attention) {
        int64_t scratch_at = workspace_of(s, c) - fm_attention_scratch(s->attention).bytes;
        fm_attention_bind(s->attention, run->data, run->workspace ? (char *)run->workspace + scratch_at : NULL, out);
        return;
    }
    *out = (struct fm_attention_pack){ .count = 3 };
    for (int i = 0; i < 3; i++) out->uid[i] = uid[i], out->data[i] = run->data[s->index[i]];
}

static fm_status zero_scratch(struct fm_cuda_conv *v, const struct fm_cuda_conv_run *run, const struct shape *s, const struct config *c,
                              struct fm_err *err)
{
    struct fm_attention_scratch scratch = s->attention ? fm_attention_scratch(s->attention) : (struct fm_attention_scratch){ 0, 0 };
    if (!scratch.zero_bytes) return FM_OK;
    uint64_t at = (uint64_t)(uintptr_t)run->workspace + (uint64_t)(workspace_of(s, c) - scratch.zero_bytes);
    int done = v->cuda->lib.cu.memset_async(at, 0, (size_t)scratch.zero_bytes, v->cuda->stream);
    return fm_cuda_result(v->cuda, done, "zeroing scratch of attention", err);
}

static int execute(struct fm_cuda_conv *v, const struct fm_cuda_conv_run *run, const struct shape *s, const struct config *c)
{
    const struct fm_cudnn_api *dnn = &v->cuda->lib.cudnn;
    struct fm_attention_pack bound;
    void *workspace = c->workspace_bytes ? run->workspace : NULL;
    fm_cudnn_descriptor pack = NULL;
    bind(run, s, c, &bound);
    int status = dnn->create_descriptor(FM_CUDNN_VARIANT_PACK, &pack);
    if (status) return status;
    status = dnn->set(pack, FM_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, FM_CUDNN_TYPE_INT64, bound.count, bound.uid);
    if (!status) status = dnn->set(pack, FM_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, FM_CUDNN_TYPE_VOID_PTR, bound.count, bound.data);
    if (!status) status = dnn->set(pack, FM_CUDNN_ATTR_VARIANT_PACK_WORKSPACE, FM_CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (!status) status = dnn->finalize(pack);
    if (!status) status = dnn->execute(v->handle, c->plan, pack);
    (void)dnn->destroy_descriptor(pack);
    return status;
}

fm_status fm_cuda_conv_execute(struct fm_cuda_conv *v, const struct fm_cuda_conv_run *run, struct fm_err *err)
{
    struct shape s;
    struct entry *e = NULL;
    fm_status status;
    FM_TRY(fm_cuda_conv_shape(&run->problem, &s, err));
    FM_TRY(check_version(v, &s, err));
    FM_TRY(need_handle(v, err));
    FM_TRY(entry_of(v, run, &s, &e, err));
    int last = 0;
    bool tried = false;
    /* the one that was chosen; the lists of other alignments of pointers, or of what builds, may be others */
    bool exact = run->candidate < e->count && workspace_of(&s, &e->item[run->candidate]) == run->workspace_bytes;
    for (uint32_t k = 0; k <= e->count; k++) {
        uint32_t i = k ? k - 1 : run->candidate;
        if (k ? (exact && i == run->candidate) || workspace_of(&s, &e->item[i]) > run->workspace_bytes : !exact) continue;
        FM_TRY(zero_scratch(v, run, &s, &e->item[i], err));
        tried = true;
        last = execute(v, run, &s, &e->item[i]);
        if (last / 1000 != 3) break;
    }
    if (!tried)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s: no engine runs in %lld bytes of workspace at these addresses",
                       fm_kernel_name(run->problem.kernel), (long long)run->workspace_bytes);
    status = check(v, last, fm_kernel_name(run->problem.kernel), err);
out:
    return status;
}

/* ---- timing ---- */

/* milliseconds of one call after another one; negative: it does not run */
static fm_status time_one(struct fm_cuda_conv *v, const struct fm_cuda_conv_run *run, const struct shape *s, const struct config *c,
                          float *ms, struct fm_err *err)
{
    const struct fm_cu_api *cu = &v->cuda->lib.cu;
    struct CUevent_st *begin = v->cuda->event[2], *end = v->cuda->event[3];
    fm_status status = FM_OK;
    *ms = -1;
    if (execute(v, run, s, c) != 0) return fm_cuda_alive(v->cuda, "timing an engine", err);
    FM_TRY(fm_cuda_synchronize(v->cuda, err));
    FM_TRY(fm_cuda_result(v->cuda, cu->event_record(begin, v->cuda->stream), "timing an engine", err));
    if (execute(v, run, s, c) != 0) return fm_cuda_alive(v->cuda, "timing an engine", err);
    FM_TRY(fm_cuda_result(v->cuda, cu->event_record(end, v->cuda->stream), "timing an engine", err));
    FM_TRY(fm_cuda_result(v->cuda, cu->event_synchronize(end), "timing an engine", err));
    FM_TRY(fm_cuda_result(v->cuda, cu->event_elapsed(ms, begin, end), "timing an engine", err));
out:
    return status;
}

fm_status fm_cuda_conv_rank(struct fm_cuda_conv *v, const struct fm_cuda_conv_run *run, uint32_t valid, struct fm_ranking *out,
                            struct fm_err *err)
{
    struct shape s;
    struct entry *e = NULL;
    float ms[FM_MAX_CANDIDATES];
    fm_status status;
    out->count = 0;
    FM_TRY(fm_cuda_conv_shape(&run->problem, &s, err));
    FM_TRY(check_version(v, &s, err));
    FM_TRY(need_handle(v, err));
    FM_TRY(entry_of(v, run, &s, &e, err));
    for (uint32_t i = 0; i < e->count; i++) {
        float took;
        if (!(valid >> i & 1) || e->item[i].workspace_bytes > run->workspace_bytes) continue;
        FM_TRY(time_one(v, run, &s, &e->item[i], &took, err));
        if (took < 0) continue;
        uint32_t at = out->count++;
        for (; at && ms[at - 1] > took; at--) {
            ms[at] = ms[at - 1];
            out->candidate[at] = out->candidate[at - 1];
        }
        ms[at] = took;
        out->candidate[at] = (uint8_t)i;
    }
out:
    return status;
}
