#include "probes/backends/spec/query.h"

#include "probes/backends/attention_graph.h"

#include "tuner/base/memory.h"

#include <cudnn.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIGS_MAX 128
#define BYTE_ALIGNMENT 16               /* of PyTorch's storages 32 and more; 16 and 32 get the same answers */

struct fm_spec_device {
    cudnnBackendDescriptor_t description;
    bool driver;                        /* libcuda.so.1 or its stub is loaded */
};

/* descriptors of one question, and the first thing that went wrong with it */
struct question {
    cudnnBackendDescriptor_t owned[16];
    size_t count;
    cudnnStatus_t status;
    const char *at;
};

void fm_spec_cudnn_version(char *text, size_t bytes)
{
    size_t v = cudnnGetVersion();
    (void)snprintf(text, bytes, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
}

static fm_status told(const char *at, cudnnStatus_t status, fm_status code, struct fm_err *err)
{
    char text[200] = "";
    cudnnGetLastErrorString(text, sizeof text);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\t') *c = ' ';
    return FM_FAIL(err, code, "cuDNN: %s: %d %.150s", at, (int)status, text);
}

/* Without a device cuDNN leaves handles of cuBLASLt behind that failed to open: not ours, told to leak checkers. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libcublasLt\nleak:libcudnn\n"; }

/* ---- building descriptors ---- */

static void note(struct question *q, cudnnStatus_t status, const char *at)
{
    if (status == CUDNN_STATUS_SUCCESS || q->status != CUDNN_STATUS_SUCCESS) return;
    q->status = status;
    q->at = at;
}

static cudnnBackendDescriptor_t make(struct question *q, cudnnBackendDescriptorType_t type, const char *at)
{
    cudnnBackendDescriptor_t d = NULL;
    if (q->status != CUDNN_STATUS_SUCCESS) return NULL;
    note(q, cudnnBackendCreateDescriptor(type, &d), at);
    if (d) q->owned[q->count++] = d;
    return d;
}

static void set(struct question *q, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                int64_t count, const void *value)
{
    if (q->status == CUDNN_STATUS_SUCCESS) note(q, cudnnBackendSetAttribute(d, name, type, count, value), "an attribute");
}

static void put(struct question *q, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    set(q, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finish(struct question *q, cudnnBackendDescriptor_t d, const char *at)
{
    if (q->status == CUDNN_STATUS_SUCCESS) note(q, cudnnBackendFinalize(d), at);
}

static void release(struct question *q)
{
    while (q->count) (void)cudnnBackendDestroyDescriptor(q->owned[--q->count]);
}

/* ---- the graph of a convolution ---- */

static cudnnDataType_t data_type(enum fm_dtype dtype)
{
    return dtype == FM_F16 ? CUDNN_DATA_HALF : dtype == FM_BF16 ? CUDNN_DATA_BFLOAT16
           : dtype == FM_F64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
}

static cudnnBackendDescriptor_t tensor(struct question *q, const struct fm_spec_conv *c, int64_t id, const int64_t *size,
                                       const int64_t *stride)
{
    cudnnDataType_t type = data_type(c->dtype);
    int64_t alignment = BYTE_ALIGNMENT;
    cudnnBackendDescriptor_t d = make(q, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "a tensor");
    set(q, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(q, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(q, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, c->dims, size);
    set(q, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, c->dims, stride);
    set(q, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    finish(q, d, "a tensor");
    return d;
}

static cudnnBackendDescriptor_t convolution(struct question *q, const struct fm_spec_conv *c)
{
    cudnnDataType_t sum = c->dtype == FM_F64 ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t dims = c->dims - 2;
    cudnnBackendDescriptor_t d = make(q, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "the convolution");
    set(q, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dims);
    set(q, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sum);
    set(q, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(q, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, dims, c->padding);
    set(q, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, dims, c->padding);
    set(q, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, dims, c->dilation);
    set(q, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, dims, c->stride);
    finish(q, d, "the convolution");
    return d;
}

static cudnnBackendDescriptor_t operation(struct question *q, const struct fm_spec_conv *c)
{
    static const struct {
        cudnnBackendDescriptorType_t type;
        cudnnBackendAttributeName_t x, w, y, convolution, alpha, beta;
    } names[] = {
        [FM_SPEC_FORWARD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
        [FM_SPEC_DGRAD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
        [FM_SPEC_WGRAD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
    };
    cudnnBackendDescriptor_t x = tensor(q, c, 'x', c->x, c->x_stride), w = tensor(q, c, 'w', c->w, c->w_stride);
    cudnnBackendDescriptor_t y = tensor(q, c, 'y', c->y, c->y_stride), how = convolution(q, c);
    cudnnBackendDescriptor_t d = make(q, names[c->pass].type, "the operation");
    const float one[] = { 1, 0 };
    const double one_f64[] = { 1, 0 };
    bool f64 = c->dtype == FM_F64;
    cudnnBackendAttributeType_t scalar = f64 ? CUDNN_TYPE_DOUBLE : CUDNN_TYPE_FLOAT;
    put(q, d, names[c->pass].x, x);
    put(q, d, names[c->pass].w, w);
    put(q, d, names[c->pass].y, y);
    put(q, d, names[c->pass].convolution, how);
    set(q, d, names[c->pass].alpha, scalar, 1, f64 ? (const void *)&one_f64[0] : &one[0]);
    set(q, d, names[c->pass].beta, scalar, 1, f64 ? (const void *)&one_f64[1] : &one[1]);
    finish(q, d, "the operation");
    return d;
}

static cudnnBackendDescriptor_t graph_of(struct question *q, const struct fm_spec_conv *c)
{
    cudnnBackendDescriptor_t op = operation(q, c), d = make(q, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "the graph");
    put(q, d, CUDNN_ATTR_OPERATIONGRAPH_OPS, op);
    finish(q, d, "the graph");
    return d;
}

/* ---- engines ---- */

struct list {
    const struct fm_spec_device *device;
    cudnnBackendDescriptor_t graph;
    bool no_tensor_cores, benchmark, compiled;     /* compiled: engines that are compiled when they are built, and only these */
    struct fm_candidates *out;
    int64_t least_bytes;                /* of those taken so far; INT64_MAX: none */
};

struct engine { int64_t index, bytes; bool down_convert, tensor_core, compiled, builds; };

/* Engines that are compiled at run time do not build without a driver, not even beside its stub; how much workspace
 * they take their configuration knows. */
static bool configured_bytes(cudnnBackendDescriptor_t config, int64_t *bytes)
{
    int64_t n = 0;
    return cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, bytes) == CUDNN_STATUS_SUCCESS;
}

static bool is_compiled(cudnnBackendDescriptor_t engine)
{
    cudnnBackendBehaviorNote_t notes[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t n = 0;
    if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &n,
                                 notes) != CUDNN_STATUS_SUCCESS) return false;
    for (int64_t i = 0; i < n; i++)
        if (notes[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) return true;
    return false;
}

static struct engine look_at(const struct list *l, cudnnBackendDescriptor_t config)
{
    struct question q = { 0 };
    struct engine e = { .index = -1 };
    int64_t n = 0;
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendDescriptor_t engine = make(&q, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "an engine");
    cudnnBackendDescriptor_t plan = make(&q, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "a plan");
    if (engine && cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine) ==
                      CUDNN_STATUS_SUCCESS) {
        (void)cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n, &e.index);
        n = 0;
        (void)cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                       CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, notes);
        for (int64_t i = 0; i < n; i++) {
            e.down_convert |= notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
            e.tensor_core |= notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
        }
        e.compiled = is_compiled(engine);
    }
    if (e.compiled || l->compiled) {
        e.builds = e.compiled && l->compiled && configured_bytes(config, &e.bytes);
        release(&q);
        return e;
    }
    put(&q, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    put(&q, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, l->device->description);
    finish(&q, plan, "a plan");
    e.builds = q.status == CUDNN_STATUS_SUCCESS &&
               cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, &e.bytes) ==
                   CUDNN_STATUS_SUCCESS;
    release(&q);
    return e;
}

/* Those that need less than all before them; to be timed: the first ones, whatever they need. The last place is kept for the
 * least of all. */
static void take(struct list *l, const struct engine *e, char list_name, int64_t rank)
{
    if (!e->builds || e->down_convert || (e->tensor_core && l->no_tensor_cores) || e->bytes < 0) return;
    bool room = l->out->count < FM_MAX_CANDIDATES, less = e->bytes < l->least_bytes;
    if (!less && !(l->benchmark && room)) return;
    uint32_t at = room ? l->out->count++ : FM_MAX_CANDIDATES - 1;
    struct fm_candidate *c = &l->out->item[at];
    c->workspace_bytes = e->bytes;
    if (less) l->least_bytes = e->bytes;
    (void)snprintf(c->what, sizeof c->what, "cudnn:%c%lld:engine%lld", list_name, (long long)rank, (long long)e->index);
}

static bool wants_more(const struct list *l)
{
    return l->least_bytes > 0 || (l->benchmark && l->out->count < FM_MAX_CANDIDATES);
}

/* a heuristic that knows no engine says so by an empty list or by CUDNN_STATUS_NOT_SUPPORTED */
static fm_status take_list(struct list *l, cudnnBackendHeurMode_t mode, char name, struct fm_err *err)
{
    static const int not_supported_first = CUDNN_STATUS_NOT_SUPPORTED, not_supported_end = not_supported_first + 1000;
    cudnnBackendDescriptor_t config[CONFIGS_MAX];
    struct question q = { 0 };
    int64_t made = 0, found = 0, got = 0;
    cudnnBackendDescriptor_t h = make(&q, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics");
    put(&q, h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, l->graph);
    set(&q, h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    put(&q, h, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, l->device->description);
    finish(&q, h, "heuristics");
    if ((int)q.status >= not_supported_first && (int)q.status < not_supported_end) {
        release(&q);
        return FM_OK;
    }
    if (q.status == CUDNN_STATUS_SUCCESS)
        note(&q, cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &found, NULL), "its results");
    if (found > CONFIGS_MAX) found = CONFIGS_MAX;
    while (q.status == CUDNN_STATUS_SUCCESS && made < found) {
        note(&q, cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[made]), "a configuration");
        if (q.status == CUDNN_STATUS_SUCCESS) made++;
    }
    if (q.status == CUDNN_STATUS_SUCCESS && made)
        note(&q, cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, made, &got, config), "its results");
    for (int64_t i = 0; i < got && q.status == CUDNN_STATUS_SUCCESS && wants_more(l); i++) {
        struct engine e = look_at(l, config[i]);
        take(l, &e, name, i);
    }
    fm_status status = q.status == CUDNN_STATUS_SUCCESS ? FM_OK : told(q.at, q.status, FM_FAILED, err);
    while (made) (void)cudnnBackendDestroyDescriptor(config[--made]);
    release(&q);
    return status;
}

fm_status fm_spec_conv_candidates(const struct fm_spec_device *device, const struct fm_spec_conv *conv,
                                  struct fm_candidates *out, struct fm_err *err)
{
    struct question q = { 0 };
    *out = (struct fm_candidates){ 0 };
    struct list l = { .device = device, .graph = graph_of(&q, conv), .no_tensor_cores = conv->fp32, .benchmark = conv->benchmark, .out = out,
                      .least_bytes = INT64_MAX };
    fm_status status = q.status == CUDNN_STATUS_SUCCESS ? FM_OK : told(q.at, q.status, FM_FAILED, err);
    if (status == FM_OK) status = take_list(&l, CUDNN_HEUR_MODE_A, 'A', err);
    if (status == FM_OK && wants_more(&l)) status = take_list(&l, CUDNN_HEUR_MODE_FALLBACK, 'F', err);
    release(&q);
    return status;
}

/* ---- attention in one kernel ---- */

static int create_any(int type, void **descriptor)
{
    return (int)cudnnBackendCreateDescriptor((cudnnBackendDescriptorType_t)type, descriptor);
}

static int set_any(void *descriptor, int attribute, int type, int64_t count, const void *values)
{
    return (int)cudnnBackendSetAttribute(descriptor, (cudnnBackendAttributeName_t)attribute, (cudnnBackendAttributeType_t)type, count,
                                         values);
}

static int finalize_any(void *descriptor) { return (int)cudnnBackendFinalize(descriptor); }
static int destroy_any(void *descriptor) { return (int)cudnnBackendDestroyDescriptor(descriptor); }

/* its engines exist beside a driver alone, be it the toolkit's stub (hold_driver) */
fm_status fm_spec_attention_candidates(const struct fm_spec_device *device, const struct fm_problem *problem,
                                       struct fm_candidates *out, struct fm_err *err)
{
    static const struct fm_attention_api api = { create_any, set_any, finalize_any, destroy_any };
    struct fm_attention_graph graph;
    *out = (struct fm_candidates){ 0 };
    if (!device->driver)
        return FM_FAIL(err, FM_UNSUPPORTED, "flash attention of an absent GPU needs stubs/libcuda.so of the CUDA toolkit");
    fm_status status = fm_attention_check(problem, err);
    if (status != FM_OK) return status;
    fm_attention_build(&api, problem, NULL, &graph);
    if (graph.status) {
        status = told(graph.at, (cudnnStatus_t)graph.status, FM_FAILED, err);
    } else {
        struct list l = { .device = device, .graph = graph.graph, .out = out, .compiled = true, .least_bytes = INT64_MAX };
        status = take_list(&l, CUDNN_HEUR_MODE_A, 'A', err);
        if (status == FM_OK && l.least_bytes > 0) status = take_list(&l, CUDNN_HEUR_MODE_FALLBACK, 'F', err);
    }
    fm_attention_release(&api, &graph);
    int64_t scratch_bytes = fm_attention_scratch(problem).bytes;
    for (uint32_t i = 0; i < out->count; i++) out->item[i].workspace_bytes = (out->item[i].workspace_bytes + 255) / 256 * 256 + scratch_bytes;
    return status;
}

/* ---- the device ---- */

/* Runtime-compiled engines are listed only where libcuda.so.1 can be loaded: the driver's, or else the toolkit's stub, of
 * which nothing is run. Before cuDNN's first question, since it looks once. false: neither is there. */
static bool hold_driver(void)
{
    static const char *const folders[] = {
        "/usr/local/cuda/lib64/stubs", "/usr/local/cuda/targets/x86_64-linux/lib/stubs", "/usr/lib/x86_64-linux-gnu/stubs",
    };
    static void *held;
    char path[512];
    const char *home = getenv("CUDA_HOME");
    if (!held) held = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!held && home && snprintf(path, sizeof path, "%s/lib64/stubs/libcuda.so", home) < (int)sizeof path)
        held = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
#ifdef FM_CUDA_STUB
    if (!held) held = dlopen(FM_CUDA_STUB, RTLD_NOW | RTLD_GLOBAL);
#endif
    for (size_t i = 0; !held && i < sizeof folders / sizeof *folders; i++) {
        (void)snprintf(path, sizeof path, "%s/libcuda.so", folders[i]);
        held = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    }
    return held != NULL;
}

/* Each question for the fallback list loads the run-time compiler, looks for a driver and unloads it again, which takes most
 * of the question's time. Held open, it is loaded once. Answers are the same; without it they only take longer. */
static void hold_compiler(void)
{
    static void *held;
    char name[32];
    if (held) return;
    (void)snprintf(name, sizeof name, "libnvrtc.so.%zu", cudnnGetCudartVersion() / 1000);
    held = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
}

fm_status fm_spec_device_open(const char *json, struct fm_spec_device **out, struct fm_err *err)
{
    *out = NULL;
    struct fm_spec_device *device = fm_calloc(1, sizeof *device);
    if (!device) return FM_FAIL(err, FM_NOMEM, "a device's description");
    device->driver = hold_driver();
    cudnnStatus_t status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device->description);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(device->description, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                          (int64_t)strlen(json) + 1, json);
    if (status == CUDNN_STATUS_SUCCESS) status = cudnnBackendFinalize(device->description);
    if (status == CUDNN_STATUS_SUCCESS) {
        hold_compiler();
        *out = device;
        return FM_OK;
    }
    fm_spec_device_close(device);
    return told("the device's description", status, FM_UNSUPPORTED, err);
}

void fm_spec_device_close(struct fm_spec_device *device)
{
    if (!device) return;
    if (device->description) (void)cudnnBackendDestroyDescriptor(device->description);
    fm_free(device);
}
