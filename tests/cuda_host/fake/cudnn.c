/* libcudnn.so.9: the backend API for convolutions, which are the ref backend's. The list of engines has, in order: one that
 * converts down, one whose workspace is four times x, one that does not build, one that needs x, one that needs no less,
 * one that needs 5000 bytes; the fallback list one that needs none. Graphs of attention are run by cudnn_attention.c. */
#include "tests/cuda_host/fake/cudnn.h"
#include "tests/cuda_host/fake/fake.h"

#include "probes/backends/attention_graph.h"
#include "probes/backends/cuda/abi.h"
#include "probes/backends/ref/ref.h"
#include "tuner/base/memory.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define FUNCTION(name, ...)       \
    EXPORT int name(__VA_ARGS__); \
    int name(__VA_ARGS__)
#define BAD 2000

static const int width[] = { [FM_CUDNN_TYPE_HANDLE] = 8, [FM_CUDNN_TYPE_DATA_TYPE] = 4, [FM_CUDNN_TYPE_INT64] = 8,
                             [FM_CUDNN_TYPE_FLOAT] = 4, [FM_CUDNN_TYPE_VOID_PTR] = 8, [FM_CUDNN_TYPE_CONVOLUTION_MODE] = 4,
                             [FM_CUDNN_TYPE_HEUR_MODE] = 4, [FM_CUDNN_TYPE_BACKEND_DESCRIPTOR] = 8, [FM_CUDNN_TYPE_INT32] = 4,
                             [FM_ATTENTION_TYPE_BOOLEAN] = 1, [FM_ATTENTION_TYPE_POINTWISE_MODE] = 4,
                             [FM_ATTENTION_TYPE_REDUCTION_OPERATOR_TYPE] = 4 };
static int objects;
static long engine_ran = -1, executions;

EXPORT int fake_cudnn_objects(void);
EXPORT long fake_cudnn_engine(void);
int fake_cudnn_objects(void) { return objects; }
EXPORT long fake_cudnn_executions(void);
long fake_cudnn_engine(void) { return engine_ran; }
long fake_cudnn_executions(void) { return executions; }

EXPORT size_t cudnnGetVersion(void);
EXPORT size_t cudnnGetCudartVersion(void);
EXPORT void cudnnGetLastErrorString(char *text, size_t bytes);
size_t cudnnGetVersion(void) { return (size_t)fake_option("cudnn", 91900); }
size_t cudnnGetCudartVersion(void) { return (size_t)fake_option("cudart", 13000); }
void cudnnGetLastErrorString(char *text, size_t bytes) { (void)snprintf(text, bytes, "a scheduled\nfailure"); }

FUNCTION(cudnnCreate, void **handle)
{
    *handle = &objects;
    return 0;
}

FUNCTION(cudnnDestroy, void *handle)
{
    return handle ? 0 : BAD;
}

FUNCTION(cudnnSetStream, void *handle, void *stream) { return handle && stream ? 0 : BAD; }

FUNCTION(cudnnBackendCreateDescriptor, int type, void **out)
{
    if (type == FM_CUDNN_DEVICEPROP && !fake_option("devprop", 1)) return 3000;
    struct descriptor *d = fm_calloc(1, sizeof *d);
    d->type = type;
    d->engine = -1;
    objects++;
    *out = d;
    return 0;
}

FUNCTION(cudnnBackendDestroyDescriptor, void *descriptor)
{
    objects--;
    fm_free(descriptor);
    return 0;
}

FUNCTION(cudnnBackendSetAttribute, struct descriptor *d, int attribute, int type, int64_t count, const void *values)
{
    if (!d || d->final || d->values == VALUES || count <= 0 || type < 0 || (size_t)type >= sizeof width / sizeof *width || !width[type] ||
        count * width[type] > (int64_t)sizeof d->value[0].data)
        return BAD;
    struct value *v = &d->value[d->values++];
    *v = (struct value){ .attribute = attribute, .type = type, .count = count };
    memcpy(v->data, values, (size_t)(count * width[type]));
    return 0;
}

const struct value *fake_value(const struct descriptor *d, int attribute)
{
    for (int i = 0; d && i < d->values; i++)
        if (d->value[i].attribute == attribute) return &d->value[i];
    return NULL;
}

void *fake_pointer(const struct descriptor *d, int attribute)
{
    const struct value *v = fake_value(d, attribute);
    void *out = NULL;
    if (v) memcpy(&out, v->data, sizeof out);
    return out;
}

int fake_int(const struct descriptor *d, int attribute)
{
    const struct value *v = fake_value(d, attribute);
    int out = 0;
    if (v) memcpy(&out, v->data, sizeof out);
    return out;
}

struct fm_operand fake_tensor(const struct descriptor *d)
{
    const struct value *size = fake_value(d, FM_CUDNN_ATTR_TENSOR_DIMENSIONS), *stride = fake_value(d, FM_CUDNN_ATTR_TENSOR_STRIDES);
    int type = fake_int(d, FM_CUDNN_ATTR_TENSOR_DATA_TYPE);
    struct fm_operand o = { .dtype = (uint8_t)(type == FM_CUDNN_FLOAT ? FM_F32 : type == FM_CUDNN_HALF ? FM_F16 : FM_BF16),
                            .ndim = (uint8_t)size->count };
    memcpy(o.size, size->data, (size_t)size->count * 8);
    memcpy(o.stride, stride->data, (size_t)stride->count * 8);
    return o;
}

static int first_of(int type)
{
    return type == FM_CUDNN_OPERATION_CONVOLUTION_FORWARD ? FM_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA
           : type == FM_CUDNN_OPERATION_CONVOLUTION_BACKWARD_DATA ? FM_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA
                                                                  : FM_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA;
}

static struct descriptor *operand_of(const struct descriptor *graph, int which)
{
    struct descriptor *op = fake_pointer(graph, FM_CUDNN_ATTR_OPERATIONGRAPH_OPS);
    return op ? fake_pointer(op, first_of(op->type) + which) : NULL;
}

/* what cuDNN would refuse: parts that are missing or not finalized, a plan of the engine that does not build */
FUNCTION(cudnnBackendFinalize, struct descriptor *d)
{
    static const int part[] = { FM_CUDNN_CONV_DESC, FM_CUDNN_CONV_X, FM_CUDNN_CONV_W, FM_CUDNN_CONV_Y };
    if (!d || d->final) return BAD;
    if (d->type == FM_CUDNN_OPERATIONGRAPH && fake_attention_serves(d)) {
        if (!fake_attention_final(d)) return BAD;
    } else if (d->type == FM_CUDNN_OPERATIONGRAPH)
        for (int i = 0; i < 4; i++)
            if (!operand_of(d, part[i]) || !operand_of(d, part[i])->final) return BAD;
    if (d->type == FM_CUDNN_ENGINEHEUR && !fake_value(d, FM_CUDNN_ATTR_ENGINEHEUR_DEVICEPROP) &&
        !fake_value(fake_pointer(d, FM_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH), FM_CUDNN_ATTR_OPERATIONGRAPH_HANDLE))
        return BAD;
    if (d->type == FM_CUDNN_EXECUTION_PLAN) {
        struct descriptor *config = fake_pointer(d, FM_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
        if (!config || config->engine == 11) return 3000;
        d->engine = config->engine;
        d->bytes = config->bytes;
        d->graph = config->graph;
    }
    d->final = true;
    return 0;
}

/* engines of attention: one that does not build, one that needs 5000 bytes, one that needs none */
static int64_t attention_list(const struct descriptor *heur, struct descriptor *graph, int64_t room, struct descriptor **out)
{
    static const struct { int64_t engine, bytes; } instant[] = { { 11, 9000 }, { 30, 5000 }, { 31, 0 } };
    if (fake_int(heur, FM_CUDNN_ATTR_ENGINEHEUR_MODE) == FM_CUDNN_HEUR_FALLBACK || fake_option("attention", 1) == 0) return 0;
    for (int64_t i = 0; i < 3 && i < room; i++) {
        out[i]->engine = instant[i].engine;
        out[i]->bytes = instant[i].bytes;
        out[i]->graph = graph;
        out[i]->final = true;
    }
    return 3;
}

static int64_t list(const struct descriptor *heur, int64_t room, struct descriptor **out)
{
    struct descriptor *graph = fake_pointer(heur, FM_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    if (fake_attention_serves(graph)) return attention_list(heur, graph, room, out);
    struct fm_operand x = fake_tensor(operand_of(graph, FM_CUDNN_CONV_X));
    int64_t need = fm_operand_numel(&x) * fm_dtype_bytes((enum fm_dtype)x.dtype);
    const struct { int64_t engine, bytes; } instant[] = { { 1, 0 }, { 10, 4 * need }, { 11, 2 * need }, { 12, need }, { 13, need }, { 14, 5000 } },
                                            fallback[] = { { 20, 0 } };
    bool last = fake_int(heur, FM_CUDNN_ATTR_ENGINEHEUR_MODE) == FM_CUDNN_HEUR_FALLBACK;
    int64_t count = last ? 1 : 6;
    if (x.dtype == FM_BF16 && fake_option("sm", 90) < 80) count = 0;
    for (int64_t i = 0; i < count && i < room; i++) {
        out[i]->engine = last ? fallback[i].engine : instant[i].engine;
        out[i]->bytes = last ? fallback[i].bytes : instant[i].bytes;
        out[i]->graph = graph;
        out[i]->final = true;
    }
    return count;
}

FUNCTION(cudnnBackendGetAttribute, struct descriptor *d, int attribute, int type, int64_t room, int64_t *count, void *values)
{
    if (!d || !d->final || !width[type < 24 ? type : 0]) {
        /* numerical notes have a type of their own */
        if (type != FM_CUDNN_TYPE_NUMERICAL_NOTE) return BAD;
    }
    *count = 1;
    if (attribute == FM_CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        *count = list(d, room, values);
    } else if (attribute == FM_CUDNN_ATTR_ENGINECFG_ENGINE) {
        struct descriptor *engine = *(struct descriptor **)values;
        engine->engine = d->engine;
        engine->final = true;
    } else if (attribute == FM_CUDNN_ATTR_ENGINE_GLOBAL_INDEX) {
        *(int64_t *)values = d->engine;
    } else if (attribute == FM_CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) {
        int *note = values;
        *count = d->engine == 1 || d->engine == 10 ? 1 : 0;
        if (*count) note[0] = d->engine == 1 ? FM_CUDNN_NOTE_DOWN_CONVERT : FM_CUDNN_NOTE_TENSOR_CORE;
    } else if (attribute == FM_CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE || attribute == FM_CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE) {
        *(int64_t *)values = d->bytes;
    } else {
        return BAD;
    }
    return 0;
}

/* ---- running ---- */

static void numbers(const struct descriptor *d, int attribute, int32_t out[3])
{
    const struct value *v = fake_value(d, attribute);
    for (int64_t i = 0; v && i < v->count; i++) {
        int64_t number;
        memcpy(&number, v->data + 8 * i, 8);
        out[i] = (int32_t)number;
    }
}

static bool convolve(const struct descriptor *graph, void *const data[3])
{
    const struct descriptor *op = fake_pointer(graph, FM_CUDNN_ATTR_OPERATIONGRAPH_OPS), *conv = operand_of(graph, FM_CUDNN_CONV_DESC);
    struct fm_operand x = fake_tensor(operand_of(graph, FM_CUDNN_CONV_X)), w = fake_tensor(operand_of(graph, FM_CUDNN_CONV_W)),
                      y = fake_tensor(operand_of(graph, FM_CUDNN_CONV_Y)), operand[3];
    struct fm_attr attr = { .groups = (int32_t)(x.size[1] / w.size[1]) };
    void *address[3];
    numbers(conv, FM_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, attr.padding);
    numbers(conv, FM_CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, attr.stride);
    numbers(conv, FM_CUDNN_ATTR_CONVOLUTION_DILATIONS, attr.dilation);
    bool forward = op->type == FM_CUDNN_OPERATION_CONVOLUTION_FORWARD, filter = op->type == FM_CUDNN_OPERATION_CONVOLUTION_BACKWARD_FILTER;
    operand[0] = forward ? y : filter ? w : x;
    operand[1] = forward ? x : y;
    operand[2] = filter ? x : w;
    address[0] = data[forward ? 2 : filter ? 1 : 0];
    address[1] = data[forward ? 0 : 2];
    address[2] = data[filter ? 0 : 1];
    for (uint32_t i = 0; i < 3; i++) operand[i].storage = i;
    struct fm_launch launch = { .problem = { .kernel = forward ? FM_K_CONV : filter ? FM_K_CONV_WGRAD : FM_K_CONV_DGRAD, .n_out = 1,
                                             .n_in = 2, .operand = operand, .attr = &attr }, .address = address };
    return fm_backend_ref.run(NULL, &launch, NULL) == FM_OK;
}

/* lets time pass on the clock of the driver that lies beside this library */
static void work(int64_t ns)
{
    Dl_info self;
    char path[512];
    if (!dladdr((void *)width, &self)) return;
    (void)snprintf(path, sizeof path, "%.*s/libcuda.so.1", (int)(strrchr(self.dli_fname, '/') - self.dli_fname), self.dli_fname);
    void *driver = dlopen(path, RTLD_NOW | RTLD_NOLOAD), *found = driver ? dlsym(driver, "fake_cuda_pass") : NULL;
    void (*pass)(int64_t);
    memcpy(&pass, &found, sizeof pass);
    if (pass) pass(ns);
    if (driver) (void)dlclose(driver);
}

FUNCTION(cudnnBackendExecute, void *handle, struct descriptor *plan, struct descriptor *pack)
{
    const struct value *pointers = fake_value(pack, FM_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    char *workspace = fake_pointer(pack, FM_CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    void *data[3];
    long fail = fake_option("conv_fail", 0);
    if (!handle || !plan->final || !pack->final || !pointers) return BAD;
    bool attention = fake_attention_serves(plan->graph);
    if (!attention && pointers->count != 3) return BAD;
    if (fail == 3000 ? plan->engine < 20 || plan->engine == 30 : fail != 0) return (int)fail;
    if (plan->bytes && !workspace) return BAD;
    if (plan->bytes) workspace[0] = workspace[plan->bytes - 1] = 0x5A;
    engine_ran = (long)plan->engine;
    executions++;
    if (fake_option("fast", -1) >= 0) work(fake_option("fast", -1) == engine_ran ? 1000 : 500000);
    if (attention && !fake_option("idle", 0))
        return fake_attention_run(plan->graph, fake_value(pack, FM_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS), pointers) ? 0 : 5000;
    memcpy(data, pointers->data, sizeof data);
    return fake_option("idle", 0) || convolve(plan->graph, data) ? 0 : 5000;
}
