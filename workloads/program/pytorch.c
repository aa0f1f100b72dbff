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
