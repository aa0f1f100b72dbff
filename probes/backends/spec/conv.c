#include "probes/backends/spec/conv.h"

#include <string.h>

bool fm_spec_like_channels_last(const struct fm_operand *o)
{
    int64_t least = 0;
    if (o->ndim < 4 || o->stride[1] == 0) return false;
    for (int i = 0; i < o->ndim; i++) {
        int d = i == 0 ? 1 : i == o->ndim - 1 ? 0 : o->ndim - i;    /* channels, space from the last, batch */
        if (o->size[d] == 0 || o->stride[d] < least) return false;
        if (d == 0 && least == o->stride[1]) return false;
        least = o->stride[d];
        if (o->size[d] > 1) least *= o->size[d];
    }
    return true;
}

/* dense in the format; a dimension of size 1 has the stride it would have if it grew, as PyTorch tells cuDNN */
static void dense_strides(const int64_t *size, int dims, bool channels_last, int64_t *stride)
{
    int64_t next = 1;
    if (channels_last) stride[1] = next, next *= size[1];
    for (int d = dims - 1; d >= 2; d--) stride[d] = next, next *= size[d];
    if (!channels_last) stride[1] = next, next *= size[1];
    stride[0] = next;
}

static void sizes_of(const struct fm_operand *o, int64_t *size) { memcpy(size, o->size, 5 * sizeof *size); }

void fm_spec_conv(const struct fm_problem *p, struct fm_spec_conv *out)
{
    const struct fm_operand *result = &p->operand[0], *a = &p->operand[p->n_out], *b = a + 1;
    const struct fm_operand *x = a, *w = b, *y = result;
    bool transposed = p->attr->transposed;
    *out = (struct fm_spec_conv){ .dtype = (enum fm_dtype)a->dtype, .dims = a->ndim };
    out->fp32 = out->dtype == FM_F32 && !p->attr->tf32;
    switch (p->kernel) {
    case FM_K_CONV_DGRAD:           /* dx from g, w */
        out->pass = transposed ? FM_SPEC_FORWARD : FM_SPEC_DGRAD;
        if (!transposed) x = result, y = a;
        break;
    case FM_K_CONV_WGRAD:           /* dw from g, x */
        out->pass = FM_SPEC_WGRAD;
        w = result;
        x = transposed ? a : b, y = transposed ? b : a;
        break;
    default:                        /* y from x, w */
        out->pass = transposed ? FM_SPEC_DGRAD : FM_SPEC_FORWARD;
        if (transposed) x = result, y = a;
    }
    sizes_of(x, out->x), sizes_of(w, out->w), sizes_of(y, out->y);
    out->channels_last = fm_spec_like_channels_last(a) || fm_spec_like_channels_last(b);
    dense_strides(out->x, out->dims, out->channels_last, out->x_stride);
    dense_strides(out->w, out->dims, out->channels_last, out->w_stride);
    dense_strides(out->y, out->dims, out->channels_last, out->y_stride);
    for (int i = 0; i < out->dims - 2; i++) {
        out->stride[i] = p->attr->stride[i];
        out->padding[i] = p->attr->padding[i];
        out->dilation[i] = p->attr->dilation[i];
    }
}

/* the sizes at which PyTorch takes cuDNN's fp16 depthwise engines all the same (check_cudnn_depthwise_workload_with_filter) */
static bool cudnn_depthwise_sizes(const struct fm_spec_conv *c)
{
    int64_t batch = c->x[0], channels = c->x[1], width = c->x[3], filter = c->w[3], step = c->stride[1];
    if (c->x[2] == 1 && step == 1) return true;
    if (c->w[2] != filter || (filter != 1 && filter != 3 && filter != 5) || width < 7) return false;
    if (step == 1) return true;
    if (step != 2) return false;
    if (batch == 1) return filter != 1 || width <= 28;
    if (filter == 1) return batch <= 16 && channels >= 128 && width <= 7;
    return channels >= 512 || (channels >= 256 && width >= 28);
}

bool fm_spec_is_depthwise_kernel(const struct fm_problem *p)
{
    struct fm_spec_conv c;
    fm_spec_conv(p, &c);
    int64_t groups = p->attr->groups;
    if (p->attr->transposed || groups <= 1 || c.x[1] != groups || c.w[0] % c.x[1] != 0 || c.channels_last) return false;
    /* its kernels index with 32 bits */
    int64_t elements = 1;
    for (int d = 0; d < c.dims; d++) elements *= c.x[d];
    if (elements > INT32_MAX) return false;
    bool dilated = c.dilation[0] > 1 || c.dilation[1] > 1 || c.dilation[2] > 1;
    bool half_engine = c.dtype == FM_F16 && c.dims == 4 && !dilated && (c.stride[0] == c.stride[1] || c.x[2] == 1) &&
                       c.x[1] >= 32 && cudnn_depthwise_sizes(&c);
    return !half_engine;
}
