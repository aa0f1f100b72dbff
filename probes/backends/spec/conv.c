#include "probes/backends/spec/conv.h"

#include "workloads/program/pytorch.h"

#include <string.h>

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
    out->benchmark = p->attr->benchmark;
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
    out->channels_last = fm_pytorch_is_channels_last(a) || fm_pytorch_is_channels_last(b);
    dense_strides(out->x, out->dims, out->channels_last, out->x_stride);
    dense_strides(out->w, out->dims, out->channels_last, out->w_stride);
    dense_strides(out->y, out->dims, out->channels_last, out->y_stride);
    for (int i = 0; i < out->dims - 2; i++) {
        out->stride[i] = p->attr->stride[i];
        out->padding[i] = p->attr->padding[i];
        out->dilation[i] = p->attr->dilation[i];
    }
}
