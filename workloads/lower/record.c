/* Recording of kernel calls. */
#include "workloads/lower/internal.h"

#include "tuner/base/memory.h"

#include <string.h>

/* field by field into its place: a temporary would be read back in wider pieces than it was written, which stalls */
static inline void fill_operand(struct fm_operand *o, const struct tensor *x)
{
    if (!x) {
        *o = (struct fm_operand){ .storage = FM_NONE };
        return;
    }
    o->storage = x->store->id;
    o->dtype = x->dtype;
    o->ndim = x->ndim;
    o->reserved = 0;
    o->channels = x->store->channels;
    o->spatial = x->store->spatial;
    o->offset = x->offset;
    memcpy(o->size, x->size, sizeof o->size);
    memcpy(o->stride, x->stride, sizeof o->stride);
}

struct fm_operand operand_of(const struct tensor *x)
{
    struct fm_operand o;
    fill_operand(&o, x);
    return o;
}

/* what a policy lets tensor cores do in another precision */
static bool is_product(enum fm_kernel kernel)
{
    return kernel == FM_K_MATMUL || kernel == FM_K_CONV || kernel == FM_K_CONV_DGRAD || kernel == FM_K_CONV_WGRAD;
}

void record_operands(struct lower *l, enum fm_kernel kernel, const struct fm_attr *attr,
                     const struct fm_operand *operand, uint32_t n_out, uint32_t n_in)
{
    if (failed(l)) return;
    struct fm_call call = { .kernel = (uint16_t)kernel, .n_out = n_out, .n_in = n_in, .label = l->label };
    struct fm_attr own = { 0 };
    if (is_product(kernel)) {
        if (attr) own = *attr;
        own.tf32 = l->policy->tf32 && operand[n_out].dtype == FM_F32;
        own.benchmark = l->policy->cudnn_benchmark && kernel != FM_K_MATMUL;
        attr = &own;
    }
    if (attr) call.attr = fm_program_attr(l->program, attr);
    (void)fm_program_call(l->program, &call, operand);
}

struct fm_operand *scratch_operands(struct lower *l, size_t count)
{
    struct fm_operand *grown = fm_grow(l->scratch, &l->scratch_room, count, sizeof *grown);
    if (!grown) {
        lower_fail(l, FM_NOMEM, "lowering");
        return NULL;
    }
    l->scratch = grown;
    return grown;
}

void record(struct lower *l, enum fm_kernel kernel, const struct fm_attr *attr, struct tensor *const *out,
            uint32_t n_out, struct tensor *const *in, uint32_t n_in)
{
    struct fm_operand *operand = failed(l) ? NULL : fm_program_operands(l->program, (size_t)n_out + n_in);
    if (!operand) return;
    for (uint32_t i = 0; i < n_out; i++) fill_operand(&operand[i], out[i]);
    for (uint32_t i = 0; i < n_in; i++) fill_operand(&operand[n_out + i], in[i]);
    record_operands(l, kernel, attr, operand, n_out, n_in);
}

void record_copy(struct lower *l, struct tensor *y, struct tensor *x)
{
    record(l, FM_K_COPY, NULL, &y, 1, &x, 1);
}

void record_fill(struct lower *l, struct tensor *y, double value)
{
    record(l, FM_K_FILL, &(struct fm_attr){ .alpha = value }, &y, 1, NULL, 0);
}

void record_unary(struct lower *l, enum fm_unary mode, double alpha, double beta, struct tensor *y, struct tensor *x)
{
    record(l, FM_K_UNARY, &(struct fm_attr){ .mode = (uint8_t)mode, .alpha = alpha, .beta = beta }, &y, 1, &x, 1);
}

/* the operand as seen by a result of these sizes: missing and size-1 dimensions get stride 0 */
static inline void fill_broadcast(struct fm_operand *o, const struct tensor *x, const struct tensor *y)
{
    uint32_t lead = y->ndim - x->ndim;
    fill_operand(o, x);
    o->ndim = y->ndim;
    for (uint32_t d = 0; d < y->ndim; d++) {
        bool there = d >= lead && (x->size[d - lead] != 1 || y->size[d] == 1);
        o->size[d] = y->size[d];
        o->stride[d] = there ? x->stride[d - lead] : 0;
    }
}

void record_binary(struct lower *l, enum fm_binary mode, double alpha, struct tensor *y, struct tensor *a,
                   struct tensor *b)
{
    struct fm_attr attr = { .mode = (uint8_t)mode, .alpha = alpha };
    struct fm_operand *operand = failed(l) || !y || !a || !b ? NULL : fm_program_operands(l->program, 3);
    if (!operand) return;
    fill_operand(&operand[0], y);
    fill_broadcast(&operand[1], a, y);
    fill_broadcast(&operand[2], b, y);
    record_operands(l, FM_K_BINARY, &attr, operand, 1, 2);
}

void record_sum(struct lower *l, double alpha, struct tensor *y, const struct tensor *x, uint32_t dims)
{
    if (failed(l) || !y || !x) return;
    struct fm_operand operand[2], *out = &operand[0];
    uint32_t k = 0;
    bool keepdim = y->ndim == x->ndim;
    fill_operand(out, y);
    fill_operand(&operand[1], x);
    out->ndim = x->ndim;
    for (uint32_t d = 0; d < x->ndim; d++) {
        bool reduced = dims >> d & 1;
        out->size[d] = reduced ? 1 : x->size[d];
        out->stride[d] = reduced ? 0 : y->stride[keepdim ? d : k];
        if (!reduced || keepdim) k++;
    }
    record_operands(l, FM_K_SUM, &(struct fm_attr){ .alpha = alpha }, operand, 1, 1);
}
