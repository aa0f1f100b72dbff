/* libcublasLt.so.13: products by the ref backend */
#include "tests/cuda_host/fake/fake.h"

#include "probes/backends/cuda/abi.h"
#include "probes/backends/ref/ref.h"
#include "tuner/base/memory.h"

#define EXPORT __attribute__((visibility("default")))
#define FUNCTION(name, ...)       \
    EXPORT int name(__VA_ARGS__); \
    int name(__VA_ARGS__)

struct desc { int32_t op[2], epilogue; const void *bias; };
struct layout { int type; uint64_t rows, columns; int64_t leading, stride; int32_t batch; };
struct preference { uint64_t bytes; };

EXPORT size_t cublasLtGetVersion(void);
EXPORT size_t cublasLtGetCudartVersion(void);
size_t cublasLtGetVersion(void) { return 130001; }
size_t cublasLtGetCudartVersion(void) { return (size_t)fake_option("cudart", 13000); }

static int objects;     /* alive */
static int compute_asked;
EXPORT int fake_lt_compute(void);
int fake_lt_compute(void) { return compute_asked; }
EXPORT int fake_lt_objects(void);
int fake_lt_objects(void) { return objects; }

static void *make(size_t bytes)
{
    objects++;
    return fm_calloc(1, bytes);
}

static int drop(void *object)
{
    objects--;
    fm_free(object);
    return 0;
}

FUNCTION(cublasLtCreate, void **handle)
{
    *handle = &objects;
    return 0;
}

FUNCTION(cublasLtDestroy, void *handle) { return handle ? 0 : 7; }

FUNCTION(cublasLtMatmulDescCreate, void **out, int compute, int scale)
{
    if ((compute != FM_LT_COMPUTE_32F && compute != FM_LT_COMPUTE_32F_FAST_TF32) || scale != FM_LT_R_32F) return FM_LT_NOT_SUPPORTED;
    compute_asked = compute;
    *out = make(sizeof(struct desc));
    return 0;
}

FUNCTION(cublasLtMatmulDescDestroy, void *object) { return drop(object); }

FUNCTION(cublasLtMatmulDescSetAttribute, struct desc *d, int attribute, const void *value, size_t bytes)
{
    void *at = attribute == FM_LT_DESC_TRANSA ? (void *)&d->op[0] : attribute == FM_LT_DESC_TRANSB ? (void *)&d->op[1]
               : attribute == FM_LT_DESC_EPILOGUE ? (void *)&d->epilogue : (void *)&d->bias;
    if (bytes != (attribute == FM_LT_DESC_BIAS_POINTER ? sizeof d->bias : sizeof(int32_t))) return 7;
    memcpy(at, value, bytes);
    return 0;
}

FUNCTION(cublasLtMatrixLayoutCreate, void **out, int type, uint64_t rows, uint64_t columns, int64_t leading)
{
    if (leading < (int64_t)rows) return 7;
    struct layout *l = make(sizeof *l);
    *l = (struct layout){ type, rows, columns, leading, 0, 1 };
    *out = l;
    return 0;
}

FUNCTION(cublasLtMatrixLayoutDestroy, void *object) { return drop(object); }

FUNCTION(cublasLtMatrixLayoutSetAttribute, struct layout *l, int attribute, const void *value, size_t bytes)
{
    if (attribute == FM_LT_LAYOUT_BATCH_COUNT && bytes == sizeof l->batch) memcpy(&l->batch, value, bytes);
    else if (attribute == FM_LT_LAYOUT_BATCH_STRIDE && bytes == sizeof l->stride) memcpy(&l->stride, value, bytes);
    else return 7;
    return 0;
}

FUNCTION(cublasLtMatmulPreferenceCreate, void **out)
{
    *out = make(sizeof(struct preference));
    return 0;
}

FUNCTION(cublasLtMatmulPreferenceDestroy, void *object) { return drop(object); }

FUNCTION(cublasLtMatmulPreferenceSetAttribute, struct preference *p, int attribute, const void *value, size_t bytes)
{
    if (attribute == FM_LT_PREF_WORKSPACE && bytes == sizeof p->bytes) memcpy(&p->bytes, value, bytes);
    return attribute == FM_LT_PREF_WORKSPACE || bytes == sizeof(uint32_t) ? 0 : 7;
}

FUNCTION(cublasLtMatmulAlgoGetHeuristic, void *handle, void *desc, void *a, void *b, void *c, void *d, struct preference *p,
         int wanted, struct fm_lt_result *result, int *found)
{
    if (!handle || !desc || !a || !b || !c || !d || wanted != 1) return 7;
    /* an algorithm that uses all of its workspace */
    *result = (struct fm_lt_result){ .algo.data = { 77, p->bytes }, .workspace_bytes = p->bytes };
    *found = 1;
    return 0;
}

static struct fm_operand view(const struct layout *l, int transposed)
{
    enum fm_dtype dtype = l->type == FM_LT_R_32F ? FM_F32 : l->type == FM_LT_R_16F ? FM_F16 : FM_BF16;
    int64_t rows = (int64_t)l->rows, columns = (int64_t)l->columns;
    return (struct fm_operand){ .dtype = (uint8_t)dtype, .ndim = 3,
        .size = { l->batch, transposed ? columns : rows, transposed ? rows : columns },
        .stride = { l->stride, transposed ? l->leading : 1, transposed ? 1 : l->leading } };
}

FUNCTION(cublasLtMatmul, void *handle, const struct desc *desc, const float *alpha, const void *a, const struct layout *la, const void *b,
         const struct layout *lb, const float *beta, const void *c, const struct layout *lc, void *d, const struct layout *ld,
         const struct fm_lt_algo *algo, char *workspace, size_t bytes, void *stream)
{
    long fail = fake_option("lt_fail", 0);
    if (fail) return (int)fail;
    if (!handle || !stream || *beta != 0 || c != d || lc != ld || algo->data[0] != 77 || algo->data[1] != bytes) return 7;
    if (bytes) workspace[0] = workspace[bytes - 1] = 0x5A;
    if (fake_option("idle", 0)) return 0;
    struct fm_attr attr = { .alpha = *alpha };
    struct fm_operand o[4] = { view(ld, 0), view(la, desc->op[0]), view(lb, desc->op[1]), view(ld, 0) };
    for (int i = 0; i < 4; i++) o[i].storage = (uint32_t)i;
    o[3].stride[0] = o[3].stride[2] = 0;
    o[3].stride[1] = 1;
    void *const address[4] = { d, (void *)(uintptr_t)a, (void *)(uintptr_t)b, (void *)(uintptr_t)desc->bias };
    bool bias = desc->epilogue == FM_LT_EPILOGUE_BIAS;
    struct fm_launch launch = { .problem = { .kernel = FM_K_MATMUL, .n_out = 1, .n_in = bias ? 3 : 2, .operand = o, .attr = &attr },
                                .address = address };
    return fm_backend_ref.run(NULL, &launch, NULL) == FM_OK ? 0 : 13;
}
