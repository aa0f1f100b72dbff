#include "tests/spec/support_problem.h"

#include <string.h>

void fm_test_strides(struct fm_operand *o, bool channels_last)
{
    int64_t next = 1;
    if (channels_last) o->stride[1] = 1, next = o->size[1];
    for (int d = o->ndim - 1; d >= 0; d--) {
        if (channels_last && d == 1) continue;
        o->stride[d] = next;
        next *= o->size[d];
    }
}

void fm_test_conv_output(const struct fm_test_conv *c, int64_t size[5])
{
    int64_t reach = (int64_t)c->dilation * (c->kernel_size - 1);
    size[0] = c->batch;
    size[1] = c->out;
    for (int d = 0; d < c->dims; d++)
        size[2 + d] = c->transposed ? (c->size[d] - 1) * c->stride - 2 * c->padding + reach + 1
                                    : (c->size[d] + 2 * c->padding - reach - 1) / c->stride + 1;
}

void fm_test_conv_problem(const struct fm_test_conv *c, struct fm_test_problem *out)
{
    int64_t x[5] = { c->batch, c->in }, y[5], w[5];
    memcpy(x + 2, c->size, sizeof c->size);
    fm_test_conv_output(c, y);
    w[0] = c->transposed ? c->in : c->out;
    w[1] = (c->transposed ? c->out : c->in) / c->groups;
    w[2] = w[3] = w[4] = c->kernel_size;
    const int64_t *order[] = { y, x, w };
    if (c->kernel == FM_K_CONV_DGRAD) order[0] = x, order[1] = y;
    if (c->kernel == FM_K_CONV_WGRAD) order[0] = w, order[1] = y, order[2] = x;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < 3; i++) {
        struct fm_operand *o = &out->operand[i];
        o->storage = (uint32_t)i;
        o->dtype = (uint8_t)c->dtype;
        o->ndim = (uint8_t)(c->dims + 2);
        memcpy(o->size, order[i], 5 * sizeof *o->size);
        fm_test_strides(o, c->channels_last);
    }
    for (int d = 0; d < c->dims; d++) {
        out->attr.stride[d] = c->stride;
        out->attr.padding[d] = c->padding;
        out->attr.dilation[d] = c->dilation;
    }
    out->attr.groups = c->groups;
    out->attr.transposed = c->transposed;
    out->attr.tf32 = c->tf32;
    out->attr.benchmark = c->benchmark;
    out->problem = (struct fm_problem){ c->kernel, 1, 2, out->operand, &out->attr };
}
