#include "probes/backends/attention_graph.h"

#include <string.h>

#define ALIGN 256
#define NAMED(name) FM_ATTENTION_##name

enum uid { UID_NONE, UID_Y, UID_LSE, UID_Q, UID_K, UID_V, UID_G, UID_DQ, UID_DK, UID_DV, UID_INNER, UID_SUM, UID_SCALE, UID_ONE,
           UID_VIRTUAL };
enum { IN_MEMORY, VIRTUAL, BY_VALUE };

/* which operand of the call is what; -1: none */
static const int forward_operand[UID_VIRTUAL] = {
    [UID_NONE] = -1, [UID_Y] = 0, [UID_LSE] = 1, [UID_Q] = 2, [UID_K] = 3, [UID_V] = 4, [UID_G] = -1, [UID_DQ] = -1, [UID_DK] = -1,
    [UID_DV] = -1, [UID_INNER] = -1, [UID_SUM] = -1, [UID_SCALE] = -1, [UID_ONE] = -1,
};
static const int backward_operand[UID_VIRTUAL] = {
    [UID_NONE] = -1, [UID_Y] = 7, [UID_LSE] = 8, [UID_Q] = 4, [UID_K] = 5, [UID_V] = 6, [UID_G] = 3, [UID_DQ] = 0, [UID_DK] = 1,
    [UID_DV] = 2, [UID_INNER] = -1, [UID_SUM] = -1, [UID_SCALE] = -1, [UID_ONE] = -1,
};

static const int *operands_of(const struct fm_problem *p)
{
    return p->kernel == FM_K_SDPA ? forward_operand : backward_operand;
}

struct builder {
    const struct fm_attention_api *api;
    const struct fm_problem *problem;
    const int *operand;
    struct fm_attention_graph *out;
    int64_t batch, heads, queries, keys, depth, next_uid;
    int type;                           /* of elements */
    void *op[24];
    int64_t ops;
};

/* ---- descriptors ---- */

static void *make(struct builder *b, int type, const char *at)
{
    struct fm_attention_graph *o = b->out;
    void *d = NULL;
    if (o->status) return NULL;
    o->at = at;
    if (o->parts == FM_ATTENTION_PARTS) o->status = -1;
    else o->status = b->api->create(type, &d);
    if (o->status) return NULL;
    o->part[o->parts++] = d;
    return d;
}

static void set(struct builder *b, void *d, int attribute, int type, int64_t count, const void *values)
{
    if (!b->out->status) b->out->status = b->api->set(d, attribute, type, count, values);
}

static void put(struct builder *b, void *d, int attribute, void *value)
{
    set(b, d, attribute, NAMED(TYPE_BACKEND_DESCRIPTOR), 1, &value);
}

static void finish(struct builder *b, void *d)
{
    if (!b->out->status) b->out->status = b->api->finalize(d);
}

struct shape { int64_t uid, size[4], stride[4]; int type, kind; };

static void *tensor(struct builder *b, const struct shape *s)
{
    const int64_t align = 16;
    const bool yes = true;
    void *d = make(b, NAMED(BACKEND_TENSOR_DESCRIPTOR), "a tensor of attention");
    set(b, d, NAMED(ATTR_TENSOR_UNIQUE_ID), NAMED(TYPE_INT64), 1, &s->uid);
    set(b, d, NAMED(ATTR_TENSOR_DATA_TYPE), NAMED(TYPE_DATA_TYPE), 1, &s->type);
    set(b, d, NAMED(ATTR_TENSOR_DIMENSIONS), NAMED(TYPE_INT64), 4, s->size);
    set(b, d, NAMED(ATTR_TENSOR_STRIDES), NAMED(TYPE_INT64), 4, s->stride);
    set(b, d, NAMED(ATTR_TENSOR_BYTE_ALIGNMENT), NAMED(TYPE_INT64), 1, &align);
    if (s->kind == VIRTUAL) set(b, d, NAMED(ATTR_TENSOR_IS_VIRTUAL), NAMED(TYPE_BOOLEAN), 1, &yes);
    if (s->kind == BY_VALUE) set(b, d, NAMED(ATTR_TENSOR_IS_BY_VALUE), NAMED(TYPE_BOOLEAN), 1, &yes);
    finish(b, d);
    return d;
}

static void transpose(struct shape *s)
{
    int64_t size = s->size[2], stride = s->stride[2];
    s->size[2] = s->size[3], s->stride[2] = s->stride[3];
    s->size[3] = size, s->stride[3] = stride;
}

/* an operand, or a view of it with its last two dimensions exchanged */
static struct shape shape_of(const struct builder *b, enum uid uid, bool transposed)
{
    const struct fm_operand *o = &b->problem->operand[b->operand[uid]];
    struct shape s = { .uid = uid, .type = uid == UID_LSE ? NAMED(DATA_FLOAT) : b->type };
    memcpy(s.size, o->size, sizeof s.size);
    memcpy(s.stride, o->stride, sizeof s.stride);
    if (uid == UID_LSE) s.size[3] = s.stride[3] = 1;
    if (transposed) transpose(&s);
    return s;
}

static void *operand(struct builder *b, enum uid uid)
{
    struct shape s = shape_of(b, uid, false);
    return tensor(b, &s);
}

static void *operand_transposed(struct builder *b, enum uid uid)
{
    struct shape s = shape_of(b, uid, true);
    return tensor(b, &s);
}

/* (batch, heads, rows, columns), dense */
static struct shape dense(struct builder *b, int64_t rows, int64_t columns, int type, int kind)
{
    return (struct shape){ .uid = b->next_uid++, .type = type, .kind = kind, .size = { b->batch, b->heads, rows, columns },
                           .stride = { b->heads * rows * columns, rows * columns, columns, 1 } };
}

static void *score(struct builder *b, int type)
{
    struct shape s = dense(b, b->queries, b->keys, type, VIRTUAL);
    return tensor(b, &s);
}

/* one number a query */
static void *column(struct builder *b)
{
    struct shape s = dense(b, b->queries, 1, NAMED(DATA_FLOAT), VIRTUAL);
    return tensor(b, &s);
}

static void *scalar(struct builder *b, enum uid uid)
{
    struct shape s = { .uid = uid, .type = NAMED(DATA_FLOAT), .kind = BY_VALUE, .size = { 1, 1, 1, 1 }, .stride = { 1, 1, 1, 1 } };
    return tensor(b, &s);
}

/* ---- operations ---- */

static void add(struct builder *b, void *op)
{
    finish(b, op);
    if (!b->out->status) b->op[b->ops++] = op;
}

static void *product(struct builder *b, void *left, void *right, void *result)
{
    const int type = NAMED(DATA_FLOAT);
    void *how = make(b, NAMED(BACKEND_MATMUL_DESCRIPTOR), "a product of attention");
    set(b, how, NAMED(ATTR_MATMUL_COMP_TYPE), NAMED(TYPE_DATA_TYPE), 1, &type);
    finish(b, how);
    void *op = make(b, NAMED(BACKEND_OPERATION_MATMUL_DESCRIPTOR), "a product of attention");
    put(b, op, NAMED(ATTR_OPERATION_MATMUL_ADESC), left);
    put(b, op, NAMED(ATTR_OPERATION_MATMUL_BDESC), right);
    put(b, op, NAMED(ATTR_OPERATION_MATMUL_CDESC), result);
    put(b, op, NAMED(ATTR_OPERATION_MATMUL_DESC), how);
    add(b, op);
    return result;
}

/* second NULL: of one tensor */
static void *pointwise(struct builder *b, int mode, void *first, void *second, void *result)
{
    const int type = NAMED(DATA_FLOAT);
    void *how = make(b, NAMED(BACKEND_POINTWISE_DESCRIPTOR), "arithmetic of attention");
    set(b, how, NAMED(ATTR_POINTWISE_MODE), NAMED(TYPE_POINTWISE_MODE), 1, &mode);
    set(b, how, NAMED(ATTR_POINTWISE_MATH_PREC), NAMED(TYPE_DATA_TYPE), 1, &type);
    finish(b, how);
    void *op = make(b, NAMED(BACKEND_OPERATION_POINTWISE_DESCRIPTOR), "arithmetic of attention");
    put(b, op, NAMED(ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR), how);
    put(b, op, NAMED(ATTR_OPERATION_POINTWISE_XDESC), first);
    if (second) put(b, op, NAMED(ATTR_OPERATION_POINTWISE_BDESC), second);
    put(b, op, NAMED(ATTR_OPERATION_POINTWISE_YDESC), result);
    add(b, op);
    return result;
}

static void *reduction(struct builder *b, int mode, void *from, void *result)
{
    const int type = NAMED(DATA_FLOAT);
    void *how = make(b, NAMED(BACKEND_REDUCTION_DESCRIPTOR), "a reduction of attention");
    set(b, how, NAMED(ATTR_REDUCTION_OPERATOR), NAMED(TYPE_REDUCTION_OPERATOR_TYPE), 1, &mode);
    set(b, how, NAMED(ATTR_REDUCTION_COMP_TYPE), NAMED(TYPE_DATA_TYPE), 1, &type);
    finish(b, how);
    void *op = make(b, NAMED(BACKEND_OPERATION_REDUCTION_DESCRIPTOR), "a reduction of attention");
    put(b, op, NAMED(ATTR_OPERATION_REDUCTION_XDESC), from);
    put(b, op, NAMED(ATTR_OPERATION_REDUCTION_YDESC), result);
    put(b, op, NAMED(ATTR_OPERATION_REDUCTION_DESC), how);
    add(b, op);
    return result;
}

/* the same memory seen transposed */
static void *reshape(struct builder *b, void *from, void *result)
{
    void *op = make(b, NAMED(BACKEND_OPERATION_RESHAPE_DESCRIPTOR), "a view of attention");
    put(b, op, NAMED(ATTR_OPERATION_RESHAPE_XDESC), from);
    put(b, op, NAMED(ATTR_OPERATION_RESHAPE_YDESC), result);
    add(b, op);
    return result;
}

static void *scores_transposed(struct builder *b, void *from)
{
    struct shape s = dense(b, b->queries, b->keys, b->type, VIRTUAL);
    transpose(&s);
    return reshape(b, from, tensor(b, &s));
}

/* ---- the two graphs ---- */

static void *scaled_scores(struct builder *b, void *q, void *k_transposed, void *scale)
{
    void *s = product(b, q, k_transposed, score(b, NAMED(DATA_FLOAT)));
    return pointwise(b, NAMED(POINTWISE_MUL), s, scale, score(b, NAMED(DATA_FLOAT)));
}

static void forward(struct builder *b)
{
    void *q = operand(b, UID_Q), *v = operand(b, UID_V);
    void *s = scaled_scores(b, q, operand_transposed(b, UID_K), scalar(b, UID_SCALE));
    void *top = reduction(b, NAMED(REDUCE_TENSOR_MAX), s, column(b));
    void *less = pointwise(b, NAMED(POINTWISE_SUB), s, top, score(b, NAMED(DATA_FLOAT)));
    void *e = pointwise(b, NAMED(POINTWISE_EXP), less, NULL, score(b, NAMED(DATA_FLOAT)));
    void *total = reduction(b, NAMED(REDUCE_TENSOR_ADD), e, column(b));
    void *log_total = pointwise(b, NAMED(POINTWISE_LOG), total, NULL, column(b));
    (void)pointwise(b, NAMED(POINTWISE_ADD), top, log_total, operand(b, UID_LSE));
    void *p = pointwise(b, NAMED(POINTWISE_DIV), e, total, score(b, b->type));
    (void)product(b, p, v, operand(b, UID_Y));
}

static void backward(struct builder *b)
{
    const int f32 = NAMED(DATA_FLOAT);
    void *q = operand(b, UID_Q), *g = operand(b, UID_G), *k_transposed = operand_transposed(b, UID_K), *scale = scalar(b, UID_SCALE);
    struct shape s = dense(b, b->queries, b->depth, f32, VIRTUAL);
    void *gy = pointwise(b, NAMED(POINTWISE_MUL), g, operand(b, UID_Y), tensor(b, &s));
    void *sum = reduction(b, NAMED(REDUCE_TENSOR_ADD), gy, column(b));
    s = dense(b, b->queries, 1, f32, IN_MEMORY);
    s.uid = UID_INNER;
    void *inner = pointwise(b, NAMED(POINTWISE_MUL), sum, scalar(b, UID_ONE), tensor(b, &s));
    void *scores = scaled_scores(b, q, k_transposed, scale);
    void *less = pointwise(b, NAMED(POINTWISE_SUB), scores, operand(b, UID_LSE), score(b, f32));
    void *p = pointwise(b, NAMED(POINTWISE_EXP), less, NULL, score(b, f32));
    (void)product(b, scores_transposed(b, p), g, operand(b, UID_DV));
    void *dp = product(b, g, operand_transposed(b, UID_V), score(b, f32));
    dp = pointwise(b, NAMED(POINTWISE_SUB), dp, inner, score(b, f32));
    dp = pointwise(b, NAMED(POINTWISE_MUL), dp, p, score(b, f32));
    void *ds = pointwise(b, NAMED(POINTWISE_MUL), dp, scale, score(b, f32));
    (void)product(b, scores_transposed(b, ds), q, operand(b, UID_DK));
    s = shape_of(b, UID_K, false);
    s.uid = b->next_uid++;
    s.kind = VIRTUAL;
    void *k = reshape(b, k_transposed, tensor(b, &s));
    s = dense(b, b->queries, b->depth, f32, IN_MEMORY);
    s.uid = UID_SUM;
    sum = product(b, ds, k, tensor(b, &s));
    (void)pointwise(b, NAMED(POINTWISE_IDENTITY), sum, NULL, operand(b, UID_DQ));
}

void fm_attention_build(const struct fm_attention_api *api, const struct fm_problem *problem, void *handle,
                        struct fm_attention_graph *out)
{
    *out = (struct fm_attention_graph){ 0 };
    struct builder b = { .api = api, .problem = problem, .operand = operands_of(problem), .out = out, .next_uid = UID_VIRTUAL };
    const struct fm_operand *q = &problem->operand[b.operand[UID_Q]], *k = &problem->operand[b.operand[UID_K]];
    b.batch = q->size[0], b.heads = q->size[1], b.queries = q->size[2], b.depth = q->size[3], b.keys = k->size[2];
    b.type = q->dtype == FM_F16 ? NAMED(DATA_HALF) : NAMED(DATA_BFLOAT16);
    if (problem->kernel == FM_K_SDPA) forward(&b);
    else backward(&b);
    void *graph = make(&b, NAMED(BACKEND_OPERATIONGRAPH_DESCRIPTOR), "the graph of attention");
    if (handle) set(&b, graph, NAMED(ATTR_OPERATIONGRAPH_HANDLE), NAMED(TYPE_HANDLE), 1, &handle);
    set(&b, graph, NAMED(ATTR_OPERATIONGRAPH_OPS), NAMED(TYPE_BACKEND_DESCRIPTOR), b.ops, b.op);
    finish(&b, graph);
    if (!out->status) out->graph = graph;
}

void fm_attention_release(const struct fm_attention_api *api, struct fm_attention_graph *graph)
{
    while (graph->parts) (void)api->destroy(graph->part[--graph->parts]);
    graph->graph = NULL;
}

/* ---- what it takes ---- */

fm_status fm_attention_check(const struct fm_problem *p, struct fm_err *err)
{
    const int *index = operands_of(p);
    const struct fm_operand *q = &p->operand[index[UID_Q]];
    if (q->dtype != FM_F16 && q->dtype != FM_BF16)
        return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN: attention in one kernel is for fp16 and bf16, not %s",
                       fm_dtype_name((enum fm_dtype)q->dtype));
    if (q->size[3] % 8)
        return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN: heads of a multiple of 8 channels, not %lld", (long long)q->size[3]);
    for (enum uid uid = UID_Y; uid < UID_INNER; uid++) {
        const struct fm_operand *o = index[uid] < 0 ? NULL : &p->operand[index[uid]];
        bool fits = !o || (uid == UID_LSE ? o->ndim == 3 && o->dtype == FM_F32
                                          : o->ndim == 4 && o->dtype == q->dtype && o->stride[3] == 1);
        if (!fits) return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN: attention of tensors of one type whose heads' channels lie side by side");
    }
    return FM_OK;
}

static int64_t aligned(int64_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

struct fm_attention_scratch fm_attention_scratch(const struct fm_problem *p)
{
    if (p->kernel == FM_K_SDPA) return (struct fm_attention_scratch){ 0, 0 };
    const int64_t *q = p->operand[backward_operand[UID_Q]].size;
    int64_t rows = q[0] * q[1] * q[2] * 4, sum_bytes = aligned(rows * q[3]);
    return (struct fm_attention_scratch){ aligned(rows) + sum_bytes, sum_bytes };
}

void fm_attention_bind(const struct fm_problem *p, void *const *data, void *scratch, struct fm_attention_pack *out)
{
    const int *index = operands_of(p);
    struct fm_attention_scratch size = fm_attention_scratch(p);
    *out = (struct fm_attention_pack){ .scale = (float)p->attr->alpha, .one = 1 };
    for (enum uid uid = UID_Y; uid < UID_VIRTUAL; uid++) {
        void *at = index[uid] >= 0 ? data[index[uid]] : NULL;
        if (uid == UID_SCALE) at = &out->scale;
        if (p->kernel != FM_K_SDPA && uid == UID_ONE) at = &out->one;
        if (size.bytes && uid == UID_INNER) at = scratch;
        if (size.bytes && uid == UID_SUM) at = (char *)scratch + (size.bytes - size.zero_bytes);
        if (!at) continue;
        out->uid[out->count] = uid;
        out->data[out->count++] = at;
    }
}
