#include "probes/backends/cuda/conv_internal.h"

#include "tuner/base/memory.h"

/* ---- the problem ---- */

static bool is_attention(enum fm_kernel kernel)
{
    return kernel == FM_K_SDPA || kernel == FM_K_SDPA_BWD;
}

bool fm_cuda_conv_serves(enum fm_kernel kernel)
{
    return is_attention(kernel) || kernel == FM_K_CONV || kernel == FM_K_CONV_DGRAD || kernel == FM_K_CONV_WGRAD;
}

static int type_of(const struct fm_operand *o)
{
    switch ((enum fm_dtype)o->dtype) {
    case FM_F32: return FM_CUDNN_FLOAT;
    case FM_F16: return FM_CUDNN_HALF;
    case FM_BF16: return FM_CUDNN_BFLOAT16;
    default: return -1;
    }
}

/* strides of dimensions of size 1 mean nothing to PyTorch but something to cuDNN: those that the dense order gives */
static void tidy(struct fm_operand *o)
{
    bool last = o->size[1] > 1 && o->stride[1] == 1 && fm_operand_numel(o) > o->size[1];
    int64_t dense[FM_MAX_DIMS], step = last ? o->size[1] : 1;
    for (int d = o->ndim - 1; d >= 0; d--) {
        if (d == 1 && last) continue;
        dense[d] = step;
        step *= o->size[d];
    }
    if (last) dense[1] = 1;
    for (int d = 0; d < o->ndim; d++)
        if (o->size[d] == 1) o->stride[d] = dense[d];
}

/* A transposed convolution is the gradient of a plain one by its input, and its gradients change places likewise. */
fm_status fm_cuda_conv_shape(const struct fm_problem *p, struct shape *s, struct fm_err *err)
{
    /* by kernel: CONV, CONV_DGRAD, CONV_WGRAD; transposed or not: which operand is x, w, y */
    static const struct { enum pass pass; uint32_t index[3]; } row[3][2] = {
        { { FORWARD, { 1, 2, 0 } }, { DGRAD, { 0, 2, 1 } } },
        { { DGRAD, { 0, 2, 1 } }, { FORWARD, { 1, 2, 0 } } },
        { { WGRAD, { 2, 0, 1 } }, { WGRAD, { 1, 0, 2 } } },
    };
    if (is_attention(p->kernel)) {
        *s = (struct shape){ .attention = p, .attr = p->attr, .type = type_of(&p->operand[0]) };
        for (int i = 0; i < 3; i++) s->index[i] = (uint32_t)i, s->operand[i] = p->operand[i], s->align[i] = ALIGNED;
        return fm_attention_check(p, err);
    }
    int kernel = p->kernel == FM_K_CONV ? 0 : p->kernel == FM_K_CONV_DGRAD ? 1 : 2, transposed = p->attr->transposed != 0;
    *s = (struct shape){ .pass = row[kernel][transposed].pass, .attr = p->attr };
    for (int i = 0; i < 3; i++) {
        s->index[i] = row[kernel][transposed].index[i];
        s->operand[i] = p->operand[s->index[i]];
        s->align[i] = ALIGNED;
        if (s->operand[i].ndim < 4 || s->operand[i].ndim > 5 || s->operand[i].ndim != s->operand[0].ndim)
            return FM_FAIL(err, FM_INVALID, "%s: operand %u has %d dimensions", fm_kernel_name(p->kernel), s->index[i], s->operand[i].ndim);
        tidy(&s->operand[i]);
        if (s->operand[i].dtype != s->operand[0].dtype)
            return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN convolves tensors of one element type, not %s with %s",
                           fm_dtype_name((enum fm_dtype)s->operand[0].dtype), fm_dtype_name((enum fm_dtype)s->operand[i].dtype));
    }
    s->type = type_of(&s->operand[0]);
    if (s->type < 0) return FM_FAIL(err, FM_UNSUPPORTED, "no convolution of %s", fm_dtype_name((enum fm_dtype)s->operand[0].dtype));
    return FM_OK;
}

bool fm_cuda_conv_is_3d(const struct shape *s)
{
    const struct fm_operand *w = &s->operand[W];
    return !s->attention && w->ndim == 5 && (w->size[2] > 1 || w->size[3] > 1 || w->size[4] > 1);
}

/* ---- descriptors ---- */

fm_cudnn_descriptor fm_cudnn_make(struct build *b, int type, const char *what)
{
    fm_cudnn_descriptor out = NULL;
    if (b->status) return NULL;
    b->what = what;
    b->status = b->conv->cuda->lib.cudnn.create_descriptor(type, &out);
    if (b->status) return NULL;
    b->entry->part[b->entry->parts++] = out;
    return out;
}

void fm_cudnn_set(struct build *b, fm_cudnn_descriptor d, int attribute, int type, int64_t count, const void *values)
{
    if (!b->status) b->status = b->conv->cuda->lib.cudnn.set(d, attribute, type, count, values);
}

void fm_cudnn_finish(struct build *b, fm_cudnn_descriptor d)
{
    if (!b->status) b->status = b->conv->cuda->lib.cudnn.finalize(d);
}

static fm_cudnn_descriptor tensor(struct build *b, const struct shape *s, int which)
{
    static const int64_t uid[] = { [X] = UID_X, [W] = UID_W, [Y] = UID_Y };
    const struct fm_operand *o = &s->operand[which];
    fm_cudnn_descriptor d = fm_cudnn_make(b, FM_CUDNN_TENSOR, "a tensor");
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_TENSOR_UNIQUE_ID, FM_CUDNN_TYPE_INT64, 1, &uid[which]);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_TENSOR_DATA_TYPE, FM_CUDNN_TYPE_DATA_TYPE, 1, &s->type);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_TENSOR_DIMENSIONS, FM_CUDNN_TYPE_INT64, o->ndim, o->size);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_TENSOR_STRIDES, FM_CUDNN_TYPE_INT64, o->ndim, o->stride);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, FM_CUDNN_TYPE_INT64, 1, &s->align[which]);
    fm_cudnn_finish(b, d);
    return d;
}

static fm_cudnn_descriptor convolution(struct build *b, const struct shape *s)
{
    int64_t dims = s->operand[0].ndim - 2, padding[3], stride[3], dilation[3];
    int compute = FM_CUDNN_FLOAT, mode = FM_CUDNN_CROSS_CORRELATION;
    for (int i = 0; i < 3; i++) {
        padding[i] = s->attr->padding[i];
        stride[i] = s->attr->stride[i];
        dilation[i] = s->attr->dilation[i];
    }
    fm_cudnn_descriptor d = fm_cudnn_make(b, FM_CUDNN_CONVOLUTION, "a convolution");
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, FM_CUDNN_TYPE_INT64, 1, &dims);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_CONVOLUTION_COMP_TYPE, FM_CUDNN_TYPE_DATA_TYPE, 1, &compute);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_CONVOLUTION_CONV_MODE, FM_CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, FM_CUDNN_TYPE_INT64, dims, padding);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, FM_CUDNN_TYPE_INT64, dims, padding);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_CONVOLUTION_DILATIONS, FM_CUDNN_TYPE_INT64, dims, dilation);
    fm_cudnn_set(b, d, FM_CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, FM_CUDNN_TYPE_INT64, dims, stride);
    fm_cudnn_finish(b, d);
    return d;
}

static fm_cudnn_descriptor conv_graph(struct build *b, const struct shape *s)
{
    static const struct { int type, first; } row[] = {
        [FORWARD] = { FM_CUDNN_OPERATION_CONVOLUTION_FORWARD, FM_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA },
        [DGRAD] = { FM_CUDNN_OPERATION_CONVOLUTION_BACKWARD_DATA, FM_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA },
        [WGRAD] = { FM_CUDNN_OPERATION_CONVOLUTION_BACKWARD_FILTER, FM_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA },
    };
    float one = 1, zero = 0;
    int first = row[s->pass].first;
    fm_cudnn_descriptor part[3];
    for (int i = 0; i < 3; i++) part[i] = tensor(b, s, i);
    fm_cudnn_descriptor conv = convolution(b, s), op = fm_cudnn_make(b, row[s->pass].type, "an operation");
    fm_cudnn_set(b, op, first, FM_CUDNN_TYPE_FLOAT, 1, &one);
    fm_cudnn_set(b, op, first + FM_CUDNN_CONV_BETA, FM_CUDNN_TYPE_FLOAT, 1, &zero);
    fm_cudnn_set(b, op, first + FM_CUDNN_CONV_DESC, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &conv);
    fm_cudnn_set(b, op, first + FM_CUDNN_CONV_X, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part[X]);
    fm_cudnn_set(b, op, first + FM_CUDNN_CONV_W, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part[W]);
    fm_cudnn_set(b, op, first + FM_CUDNN_CONV_Y, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part[Y]);
    fm_cudnn_finish(b, op);
    fm_cudnn_descriptor g = fm_cudnn_make(b, FM_CUDNN_OPERATIONGRAPH, "a graph");
    if (!b->conv->device) fm_cudnn_set(b, g, FM_CUDNN_ATTR_OPERATIONGRAPH_HANDLE, FM_CUDNN_TYPE_HANDLE, 1, &b->conv->handle);
    fm_cudnn_set(b, g, FM_CUDNN_ATTR_OPERATIONGRAPH_OPS, FM_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &op);
    fm_cudnn_finish(b, g);
    return g;
}

struct fm_attention_api fm_cuda_attention_api(const struct fm_cuda_conv *v)
{
    const struct fm_cudnn_api *dnn = &v->cuda->lib.cudnn;
    return (struct fm_attention_api){ dnn->create_descriptor, dnn->set, dnn->finalize, dnn->destroy_descriptor };
}

static fm_cudnn_descriptor attention_graph(struct build *b, const struct shape *s)
{
    const struct fm_attention_api api = fm_cuda_attention_api(b->conv);
    struct fm_attention_graph *g = b->entry->attention = fm_calloc(1, sizeof *g);
    if (!g) b->status = FM_CUDNN_STATUS_HOST_ALLOCATION, b->what = "the graph of attention";
    if (!g) return NULL;
    fm_attention_build(&api, s->attention, b->conv->device ? NULL : b->conv->handle, g);
    b->status = g->status;
    b->what = g->at;
    return g->graph;
}

fm_cudnn_descriptor fm_cudnn_graph(struct build *b, const struct shape *s)
{
    return s->attention ? attention_graph(b, s) : conv_graph(b, s);
}
