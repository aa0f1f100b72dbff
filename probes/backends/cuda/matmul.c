#include "probes/backends/cuda/matmul.h"

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "workloads/program/pytorch.h"

#include <stdio.h>
#include <string.h>

#define ALIGN_MAX 256

enum { OUT, LEFT, RIGHT, BIAS };

/* a matrix as cuBLAS has it: column-major */
struct matrix { uint64_t rows, columns; int64_t leading, batch_stride; int op, type; };

struct product { struct matrix d, a, b; int left, right, compute; int32_t batch; };

struct entry { uint64_t key; struct fm_lt_algo algo; };

struct fm_cuda_matmul {
    struct fm_cuda *cuda;
    struct cublasLtContext *handle;     /* NULL until something runs */
    struct entry *table;                /* algorithms by problem; open addressing, capacity a power of two */
    size_t used, capacity;
};

fm_status fm_cuda_matmul_open(struct fm_cuda *cuda, struct fm_cuda_matmul **out, struct fm_err *err)
{
    *out = fm_calloc(1, sizeof **out);
    if (!*out) return FM_FAIL(err, FM_NOMEM, "products");
    (*out)->cuda = cuda;
    return FM_OK;
}

void fm_cuda_matmul_close(struct fm_cuda_matmul *m)
{
    if (!m) return;
    if (m->handle && !m->cuda->dead[0]) (void)m->cuda->lib.lt.destroy(m->handle);
    fm_free(m->table);
    fm_free(m);
}

static fm_status check(struct fm_cuda_matmul *m, int status, const char *what, struct fm_err *err)
{
    if (status == 0) return FM_OK;
    if (status == FM_LT_NOT_SUPPORTED) return FM_FAIL(err, FM_UNSUPPORTED, "cuBLASLt, %s: not supported", what);
    /* of the host's memory: the device's is given to it */
    if (status == FM_LT_ALLOC_FAILED) return FM_FAIL(err, FM_NOMEM, "cuBLASLt, %s: no memory for its own", what);
    fm_status alive = fm_cuda_alive(m->cuda, what, err);
    return alive == FM_OK ? FM_FAIL(err, FM_FAILED, "cuBLASLt, %s: status %d", what, status) : alive;
}

static fm_status need_handle(struct fm_cuda_matmul *m, struct fm_err *err)
{
    if (m->handle) return FM_OK;
    fm_status status = fm_cuda_use(m->cuda, err);
    return status == FM_OK ? check(m, m->cuda->lib.lt.create(&m->handle), "making a handle", err) : status;
}

/* ---- the problem ---- */

static int type_of(uint8_t dtype)
{
    switch ((enum fm_dtype)dtype) {
    case FM_F32: return FM_LT_R_32F;
    case FM_F16: return FM_LT_R_16F;
    case FM_BF16: return FM_LT_R_16BF;
    default: return -1;
    }
}

/* The operand, or its transpose if `flip`, as a column-major matrix of the wanted sizes; false: no such. */
static bool matrix_of(const struct fm_operand *o, bool flip, bool output, struct matrix *out)
{
    int row = o->ndim - (flip ? 1 : 2), column = o->ndim - (flip ? 2 : 1);
    int64_t rows = o->size[row], columns = o->size[column], down = o->stride[row], across = o->stride[column];
    *out = (struct matrix){ .type = type_of(o->dtype), .batch_stride = o->ndim == 3 ? o->stride[0] : 0 };
    if ((rows == 1 || down == 1) && (columns == 1 || across >= rows)) {
        out->op = FM_LT_OP_N;
        out->rows = (uint64_t)rows, out->columns = (uint64_t)columns;
        out->leading = columns == 1 ? rows : across;
    } else if (!output && (columns == 1 || across == 1) && (rows == 1 || down >= columns)) {
        out->op = FM_LT_OP_T;
        out->rows = (uint64_t)columns, out->columns = (uint64_t)rows;
        out->leading = rows == 1 ? columns : down;
    } else {
        return false;
    }
    return true;
}

/* y = a b, column-major as it is, or as y^T = b^T a^T where y's rows are dense */
static fm_status product_of(const struct fm_problem *p, struct product *out, struct fm_err *err)
{
    const struct fm_operand *y = &p->operand[OUT];
    const char *name = fm_kernel_name(p->kernel);
    for (int i = OUT; i <= RIGHT; i++) {
        const struct fm_operand *o = &p->operand[i];
        if (o->ndim != y->ndim || o->ndim < 2 || o->ndim > 3 || (o->ndim == 3 && o->size[0] != y->size[0]))
            return FM_FAIL(err, FM_INVALID, "%s: operand %d has %d dimensions", name, i, o->ndim);
        if (type_of(o->dtype) < 0) return FM_FAIL(err, FM_UNSUPPORTED, "%s of %s", name, fm_dtype_name((enum fm_dtype)o->dtype));
    }
    if (p->operand[LEFT].dtype != p->operand[RIGHT].dtype)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s of %s by %s", name, fm_dtype_name((enum fm_dtype)p->operand[LEFT].dtype),
                       fm_dtype_name((enum fm_dtype)p->operand[RIGHT].dtype));
    for (int flip = 1; flip >= 0; flip--) {
        int left = flip ? RIGHT : LEFT, right = flip ? LEFT : RIGHT;
        *out = (struct product){ .left = left, .right = right, .batch = y->ndim == 3 ? (int32_t)y->size[0] : 1,
                                 .compute = p->attr->tf32 ? FM_LT_COMPUTE_32F_FAST_TF32 : FM_LT_COMPUTE_32F };
        if (matrix_of(y, flip, true, &out->d) && matrix_of(&p->operand[left], flip, false, &out->a) &&
            matrix_of(&p->operand[right], flip, false, &out->b))
            return FM_OK;
    }
    return FM_FAIL(err, FM_UNSUPPORTED, "%s: an operand is dense neither by row nor by column", name);
}

fm_status fm_cuda_matmul_candidates(const struct fm_cuda *c, const struct fm_problem *p, struct fm_candidates *out, struct fm_err *err)
{
    struct product product;
    *out = (struct fm_candidates){ 0 };
    fm_status status = product_of(p, &product, err);
    if (status != FM_OK) return status;
    fm_pytorch_product(p, c->sm, out);
    return FM_OK;
}

/* ---- running ---- */

/* what a call hands to cuBLASLt; all of it is dropped after the call */
struct objects { fm_lt_object desc, a, b, d, preference; };

static int layout(const struct fm_lt_api *lt, const struct matrix *m, int32_t batch, fm_lt_object *out)
{
    int status = lt->layout_create(out, m->type, m->rows, m->columns, m->leading);
    if (status || batch == 1) return status;
    status = lt->layout_set(*out, FM_LT_LAYOUT_BATCH_COUNT, &batch, sizeof batch);
    return status ? status : lt->layout_set(*out, FM_LT_LAYOUT_BATCH_STRIDE, &m->batch_stride, sizeof m->batch_stride);
}

static int describe(const struct fm_lt_api *lt, const struct product *p, const void *bias, struct objects *o)
{
    static const int32_t epilogue = FM_LT_EPILOGUE_BIAS;
    int32_t op_a = p->a.op, op_b = p->b.op;
    int status = lt->desc_create(&o->desc, p->compute, FM_LT_R_32F);
    if (!status) status = lt->desc_set(o->desc, FM_LT_DESC_TRANSA, &op_a, sizeof op_a);
    if (!status) status = lt->desc_set(o->desc, FM_LT_DESC_TRANSB, &op_b, sizeof op_b);
    if (!status && bias) status = lt->desc_set(o->desc, FM_LT_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!status && bias) status = lt->desc_set(o->desc, FM_LT_DESC_BIAS_POINTER, &bias, sizeof bias);
    if (!status) status = layout(lt, &p->a, p->batch, &o->a);
    if (!status) status = layout(lt, &p->b, p->batch, &o->b);
    if (!status) status = layout(lt, &p->d, p->batch, &o->d);
    return status;
}

static void drop(const struct fm_lt_api *lt, struct objects *o)
{
    if (o->preference) (void)lt->preference_destroy(o->preference);
    if (o->d) (void)lt->layout_destroy(o->d);
    if (o->b) (void)lt->layout_destroy(o->b);
    if (o->a) (void)lt->layout_destroy(o->a);
    if (o->desc) (void)lt->desc_destroy(o->desc);
}

static uint32_t alignment(const void *pointer)
{
    uintptr_t address = (uintptr_t)pointer;
    return address % ALIGN_MAX ? (uint32_t)(address & -address) : ALIGN_MAX;
}

/* the heuristic's first algorithm within the workspace */
static int ask(struct fm_cuda_matmul *m, const struct fm_cuda_matmul_run *run, const struct product *p, struct objects *o,
               struct fm_lt_algo *algo)
{
    const struct fm_lt_api *lt = &m->cuda->lib.lt;
    struct fm_lt_result result = { .state = 0 };
    uint64_t bytes = (uint64_t)run->workspace_bytes;
    uint32_t align[] = { alignment(run->data[p->left]), alignment(run->data[p->right]), alignment(run->data[OUT]) };
    int found = 0, status = lt->preference_create(&o->preference);
    if (!status) status = lt->preference_set(o->preference, FM_LT_PREF_WORKSPACE, &bytes, sizeof bytes);
    if (!status) status = lt->preference_set(o->preference, FM_LT_PREF_ALIGN_A, &align[0], sizeof align[0]);
    if (!status) status = lt->preference_set(o->preference, FM_LT_PREF_ALIGN_B, &align[1], sizeof align[1]);
    if (!status) status = lt->preference_set(o->preference, FM_LT_PREF_ALIGN_C, &align[2], sizeof align[2]);
    if (!status) status = lt->preference_set(o->preference, FM_LT_PREF_ALIGN_D, &align[2], sizeof align[2]);
    if (!status) status = lt->heuristic(m->handle, o->desc, o->a, o->b, o->d, o->d, o->preference, 1, &result, &found);
    if (!status && (!found || result.state)) status = result.state ? result.state : FM_LT_NOT_SUPPORTED;
    *algo = result.algo;
    return status;
}

static struct entry *find(struct entry *table, size_t capacity, uint64_t key)
{
    size_t i = (size_t)fm_hash_word(key, 0) & (capacity - 1);
    while (table[i].key != 0 && table[i].key != key) i = (i + 1) & (capacity - 1);
    return &table[i];
}

static fm_status make_room(struct fm_cuda_matmul *m, struct fm_err *err)
{
    if (2 * (m->used + 1) <= m->capacity) return FM_OK;
    size_t capacity = m->capacity ? 2 * m->capacity : 64;
    struct entry *table = fm_calloc(capacity, sizeof *table);
    if (!table) return FM_FAIL(err, FM_NOMEM, "a table of %zu products", capacity);
    for (size_t i = 0; i < m->capacity; i++)
        if (m->table[i].key) *find(table, capacity, m->table[i].key) = m->table[i];
    fm_free(m->table);
    m->table = table;
    m->capacity = capacity;
    return FM_OK;
}

static uint64_t key_of(const struct fm_cuda_matmul_run *run)
{
    uint64_t key = fm_hash_word(fm_problem_key(&run->problem), (uint64_t)run->workspace_bytes);
    for (int i = OUT; i <= RIGHT; i++) key = fm_hash_word(key, alignment(run->data[i]));
    return key ? key : 1;
}

fm_status fm_cuda_matmul_execute(struct fm_cuda_matmul *m, const struct fm_cuda_matmul_run *run, bool *bias_added, struct fm_err *err)
{
    const struct fm_lt_api *lt = &m->cuda->lib.lt;
    struct product p;
    struct objects o = { 0 };
    float alpha = (float)run->problem.attr->alpha, beta = 0;
    fm_status status;
    bool epilogue = fm_pytorch_bias_in_epilogue(&run->problem);
    *bias_added = epilogue || run->problem.n_in < 3;
    FM_TRY(product_of(&run->problem, &p, err));
    FM_TRY(need_handle(m, err));
    FM_TRY(make_room(m, err));
    FM_TRY(check(m, describe(lt, &p, epilogue ? run->data[BIAS] : NULL, &o), "describing a product", err));
    uint64_t key = key_of(run);
    struct entry *e = find(m->table, m->capacity, key);
    if (!e->key) {
        FM_TRY(check(m, ask(m, run, &p, &o, &e->algo), "choosing an algorithm", err));
        e->key = key;
        m->used++;
    }
    int done = lt->matmul(m->handle, o.desc, &alpha, run->data[p.left], o.a, run->data[p.right], o.b, &beta, run->data[OUT], o.d,
                          run->data[OUT], o.d, &e->algo, run->workspace, (size_t)run->workspace_bytes, m->cuda->stream);
    status = check(m, done, "a product", err);
out:
    drop(lt, &o);
    return status;
}
