/* Runs a graph of operations from its description alone, in double; what is stored is rounded to the tensor's type. A
 * product whose result lies in memory in f32 would be added to what is there, as engines of attention do: that is not a
 * number here unless it is zero. */
#include "tests/cuda_host/fake/cudnn.h"

#include "probes/backends/attention_graph.h"
#include "probes/backends/ref/element.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <string.h>

#define TENSORS 64

struct tensor { const struct descriptor *d; struct fm_operand o; double *value; };      /* row-major */
struct run { struct tensor tensor[TENSORS]; int tensors; const struct value *uids, *pointers; bool good; };

static int64_t offset_of(const struct fm_operand *o, int64_t i)
{
    int64_t at = 0;
    for (int d = 3; d >= 0; d--) at += i % o->size[d] * o->stride[d], i /= o->size[d];
    return at;
}

/* of the tensor that a result index belongs to: sizes 1 are broadcast */
static int64_t index_in(const struct fm_operand *o, const struct fm_operand *result, int64_t i)
{
    int64_t at[4], flat = 0;
    for (int d = 3; d >= 0; d--) at[d] = i % result->size[d], i /= result->size[d];
    for (int d = 0; d < 4; d++) flat = flat * o->size[d] + (o->size[d] == 1 ? 0 : at[d]);
    return flat;
}

static char *memory_of(struct run *r, const struct descriptor *d)
{
    const struct value *uid = fake_value(d, FM_ATTENTION_ATTR_TENSOR_UNIQUE_ID);
    void *out = NULL;
    for (int64_t i = 0; i < r->uids->count; i++)
        if (memcmp(r->uids->data + 8 * i, uid->data, 8) == 0) memcpy(&out, r->pointers->data + 8 * i, 8);
    return out;
}

static struct tensor *tensor_of(struct run *r, const struct descriptor *d, bool result)
{
    for (int i = 0; i < r->tensors; i++)
        if (r->tensor[i].d == d) return &r->tensor[i];
    struct tensor *t = &r->tensor[r->tensors++];
    *t = (struct tensor){ .d = d, .o = fake_tensor(d) };
    int64_t n = fm_operand_numel(&t->o);
    t->value = fm_calloc((size_t)n, sizeof *t->value);
    if (result) return t;
    const char *from = fake_value(d, FM_ATTENTION_ATTR_TENSOR_IS_VIRTUAL) ? NULL : memory_of(r, d);
    r->good = r->good && from;          /* a virtual tensor is made before it is read */
    for (int64_t i = 0; from && i < n; i++) t->value[i] = fm_element_load(from, (enum fm_dtype)t->o.dtype, offset_of(&t->o, i));
    return t;
}

static void keep(struct run *r, struct tensor *t, bool add)
{
    bool is_virtual = fake_value(t->d, FM_ATTENTION_ATTR_TENSOR_IS_VIRTUAL) != NULL;
    char *to = is_virtual ? NULL : memory_of(r, t->d);
    r->good = r->good && (is_virtual || to);
    for (int64_t i = 0; i < fm_operand_numel(&t->o); i++) {
        double rounded = 0;
        int64_t at = to ? offset_of(&t->o, i) : 0;
        void *place = to ? (void *)to : &rounded;
        /* however little is there already: a stray number must show */
        if (to && add && t->o.dtype == FM_F32 && fabs(fm_element_load(to, FM_F32, at)) > 0) t->value[i] = NAN;
        fm_element_store(place, (enum fm_dtype)t->o.dtype, at, t->value[i]);
        t->value[i] = fm_element_load(place, (enum fm_dtype)t->o.dtype, at);
    }
}

static void product(struct run *r, const struct descriptor *op)
{
    struct tensor *a = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_MATMUL_ADESC), false);
    struct tensor *b = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_MATMUL_BDESC), false);
    struct tensor *c = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_MATMUL_CDESC), true);
    int64_t m = c->o.size[2], n = c->o.size[3], k = a->o.size[3];
    r->good = r->good && a->o.size[2] == m && b->o.size[3] == n && b->o.size[2] == k;
    for (int64_t i = 0; r->good && i < fm_operand_numel(&c->o); i++) {
        int64_t batch = i / (m * n), row = i / n % m, column = i % n;
        double sum = 0;
        for (int64_t j = 0; j < k; j++) sum += a->value[(batch * m + row) * k + j] * b->value[(batch * k + j) * n + column];
        c->value[i] = sum;
    }
    keep(r, c, true);
}

static double apply(int mode, double x, double y)
{
    switch (mode) {
    case FM_ATTENTION_POINTWISE_ADD: return x + y;
    case FM_ATTENTION_POINTWISE_MUL: return x * y;
    case FM_ATTENTION_POINTWISE_DIV: return x / y;
    case FM_ATTENTION_POINTWISE_SUB: return x - y;
    case FM_ATTENTION_POINTWISE_EXP: return exp(x);
    case FM_ATTENTION_POINTWISE_LOG: return log(x);
    case FM_ATTENTION_POINTWISE_IDENTITY: return x;
    default: return NAN;
    }
}

static void pointwise(struct run *r, const struct descriptor *op)
{
    int mode = fake_int(fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR), FM_ATTENTION_ATTR_POINTWISE_MODE);
    const struct descriptor *second = fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_POINTWISE_BDESC);
    struct tensor *x = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_POINTWISE_XDESC), false);
    struct tensor *b = second ? tensor_of(r, second, false) : x;
    struct tensor *y = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_POINTWISE_YDESC), true);
    for (int64_t i = 0; i < fm_operand_numel(&y->o); i++)
        y->value[i] = apply(mode, x->value[index_in(&x->o, &y->o, i)], b->value[index_in(&b->o, &y->o, i)]);
    keep(r, y, false);
}

static void reduction(struct run *r, const struct descriptor *op)
{
    int mode = fake_int(fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_REDUCTION_DESC), FM_ATTENTION_ATTR_REDUCTION_OPERATOR);
    struct tensor *x = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_REDUCTION_XDESC), false);
    struct tensor *y = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_REDUCTION_YDESC), true);
    bool most = mode == FM_ATTENTION_REDUCE_TENSOR_MAX;
    for (int64_t i = 0; i < fm_operand_numel(&y->o); i++) y->value[i] = most ? -INFINITY : 0;
    for (int64_t i = 0; i < fm_operand_numel(&x->o); i++) {
        double *to = &y->value[index_in(&y->o, &x->o, i)];
        *to = most ? fmax(*to, x->value[i]) : *to + x->value[i];
    }
    keep(r, y, false);
}

/* the same places, seen by other sizes and strides */
static void reshape(struct run *r, const struct descriptor *op)
{
    struct tensor *x = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_RESHAPE_XDESC), false);
    struct tensor *y = tensor_of(r, fake_pointer(op, FM_ATTENTION_ATTR_OPERATION_RESHAPE_YDESC), true);
    int64_t last = 0, n = fm_operand_numel(&x->o);
    for (int64_t i = 0; i < n; i++) last = offset_of(&x->o, i) > last ? offset_of(&x->o, i) : last;
    double *place = fm_calloc((size_t)last + 1, sizeof *place);
    for (int64_t i = 0; i < n; i++) place[offset_of(&x->o, i)] = x->value[i];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = offset_of(&y->o, i);
        r->good = r->good && at <= last;
        y->value[i] = at <= last ? place[at] : 0;
    }
    fm_free(place);
    keep(r, y, false);
}

static int64_t ops_of(const struct descriptor *graph, struct descriptor *op[32])
{
    const struct value *ops = fake_value(graph, FM_ATTENTION_ATTR_OPERATIONGRAPH_OPS);
    if (!ops || ops->count > 32) return 0;
    memcpy(op, ops->data, (size_t)ops->count * sizeof *op);
    return ops->count;
}

bool fake_attention_serves(const struct descriptor *graph)
{
    struct descriptor *op[32];
    return ops_of(graph, op) > 1;
}

bool fake_attention_final(const struct descriptor *graph)
{
    struct descriptor *op[32];
    int64_t n = ops_of(graph, op);
    for (int64_t i = 0; i < n; i++) {
        if (!op[i] || !op[i]->final) return false;
        for (int k = 0; k < op[i]->values; k++) {
            struct descriptor *part = fake_pointer(op[i], op[i]->value[k].attribute);
            if (!part || !part->final) return false;
        }
    }
    return n > 0;
}

bool fake_attention_run(const struct descriptor *graph, const struct value *uids, const struct value *pointers)
{
    struct run r = { .uids = uids, .pointers = pointers, .good = uids && pointers && uids->count == pointers->count };
    struct descriptor *op[32];
    int64_t n = r.good ? ops_of(graph, op) : 0;
    for (int64_t i = 0; i < n && r.good && r.tensors < TENSORS - 3; i++) {
        if (op[i]->type == FM_ATTENTION_BACKEND_OPERATION_MATMUL_DESCRIPTOR) product(&r, op[i]);
        else if (op[i]->type == FM_ATTENTION_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) pointwise(&r, op[i]);
        else if (op[i]->type == FM_ATTENTION_BACKEND_OPERATION_REDUCTION_DESCRIPTOR) reduction(&r, op[i]);
        else if (op[i]->type == FM_ATTENTION_BACKEND_OPERATION_RESHAPE_DESCRIPTOR) reshape(&r, op[i]);
        else r.good = false;
    }
    while (r.tensors) fm_free(r.tensor[--r.tensors].value);
    return r.good && n > 0;
}
