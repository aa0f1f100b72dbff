#include "workloads/program/pytorch.h"

#include <stdio.h>

#define LT_BYTES INT64_C(1048576)       /* CUBLASLT_WORKSPACE_SIZE's default */
/* CUBLAS_WORKSPACE_CONFIG's defaults: :4096:8 on sm_90, :4096:2:16:8 elsewhere */
#define CUBLAS_BYTES_SM90 (INT64_C(4096) * 8 * 1024)
#define CUBLAS_BYTES (INT64_C(4096) * 2 * 1024 + INT64_C(16) * 8 * 1024)

/* the same row vector for every row */
static bool is_row(const struct fm_operand *o)
{
    for (int d = 0; d < o->ndim - 1; d++)
        if (o->size[d] > 1 && o->stride[d] != 0) return false;
    return o->size[o->ndim - 1] <= 1 || o->stride[o->ndim - 1] == 1;
}

bool fm_pytorch_bias_in_epilogue(const struct fm_problem *p)
{
    const struct fm_operand *y = &p->operand[0], *b = &p->operand[p->n_out + 1], *bias = b + 1;
    if (p->n_in < 3 || bias->storage == FM_NONE || y->ndim != 2 || b->size[0] <= 1 || b->size[1] <= 1) return false;
    return y->stride[1] == 1 && is_row(bias) && bias->dtype == y->dtype;
}

void fm_pytorch_product(const struct fm_problem *p, int capability, struct fm_candidates *out)
{
    *out = (struct fm_candidates){ 0 };
    if (fm_operand_numel(&p->operand[0]) == 0) return;
    out->kept_bytes = capability == 90 ? CUBLAS_BYTES_SM90 : CUBLAS_BYTES;
    if (!fm_pytorch_bias_in_epilogue(p)) return;
    out->count = 1;
    out->item[0].workspace_bytes = LT_BYTES;
    (void)snprintf(out->item[0].what, sizeof out->item[0].what, "cublasLt");
}

/* ---- convolutions ---- */

bool fm_pytorch_is_channels_last(const struct fm_operand *o)
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

/* the sizes at which PyTorch takes cuDNN's fp16 depthwise engines all the same (check_cudnn_depthwise_workload_with_filter) */
static bool cudnn_depthwise_sizes(const int64_t *x, const int64_t *w, int32_t step)
{
    int64_t batch = x[0], channels = x[1], width = x[3], filter = w[3];
    if (x[2] == 1 && step == 1) return true;
    if (w[2] != filter || (filter != 1 && filter != 3 && filter != 5) || width < 7) return false;
    if (step == 1) return true;
    if (step != 2) return false;
    if (batch == 1) return filter != 1 || width <= 28;
    if (filter == 1) return batch <= 16 && channels >= 128 && width <= 7;
    return channels >= 512 || (channels >= 256 && width >= 28);
}

bool fm_pytorch_is_depthwise(const struct fm_problem *p)
{
    const struct fm_operand *out = &p->operand[0], *a = &p->operand[p->n_out], *b = a + 1;
    const struct fm_operand *x = p->kernel == FM_K_CONV ? a : p->kernel == FM_K_CONV_DGRAD ? out : b;
    const struct fm_operand *w = p->kernel == FM_K_CONV_WGRAD ? out : b;
    const struct fm_attr *attr = p->attr;
    if (attr->transposed || attr->groups <= 1 || x->ndim < 4 || x->ndim > 5 || x->size[1] != attr->groups) return false;
    if (w->size[0] % x->size[1] != 0 || fm_pytorch_is_channels_last(a) || fm_pytorch_is_channels_last(b)) return false;
    /* its kernels index with 32 bits */
    if (fm_operand_numel(x) > INT32_MAX) return false;
    bool dilated = attr->dilation[0] > 1 || attr->dilation[1] > 1 || attr->dilation[2] > 1;
    bool half_engine = a->dtype == FM_F16 && x->ndim == 4 && !dilated && (attr->stride[0] == attr->stride[1] || x->size[2] == 1) &&
                       x->size[1] >= 32 && cudnn_depthwise_sizes(x->size, w->size, attr->stride[1]);
    return !half_engine;
}

static int64_t rounded(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

fm_status fm_pytorch_flash_check(int capability, struct fm_err *err)
{
    if (capability >= FM_FLASH_CAPABILITY_MIN) return FM_OK;
    return FM_FAIL(err, FM_UNSUPPORTED, "flash attention needs compute capability %d.%d; this is sm_%d", FM_FLASH_CAPABILITY_MIN / 10,
                   FM_FLASH_CAPABILITY_MIN % 10, capability);
}

int64_t fm_pytorch_flash_temporaries_bytes(const struct fm_problem *p)
{
    const int64_t *q = p->operand[p->n_out + 1].size;
    int64_t rows = q[0] * q[1] * rounded(q[2], 128);
    return rounded(rows * 4, 512) + rounded(rows * rounded(q[3], 32) * 4, 512);
}
