#include "probes/backends/ref/kernels.h"

fm_status fm_ref_matmul(const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_view y = fm_ref_out(launch, 0), a = fm_ref_in(launch, 0), b = fm_ref_in(launch, 1);
    struct fm_view bias = fm_ref_in(launch, 2);
    int n = y.o->ndim, row = n - 2, column = n - 1;
    if ((n != 2 && n != 3) || a.o->ndim != n || b.o->ndim != n)
        return FM_FAIL(err, FM_INVALID, "MATMUL: operands of %u, %u and %u dimensions (2 or 3, all the same)",
                       y.o->ndim, a.o->ndim, b.o->ndim);
    int64_t depth = a.o->size[column];
    if (b.o->size[row] != depth)
        return FM_FAIL(err, FM_INVALID, "MATMUL: a has %lld columns, b %lld rows", (long long)depth,
                       (long long)b.o->size[row]);
    struct fm_index at = { { 0 } };
    for (int64_t i = 0; i < fm_operand_numel(y.o); i++, fm_view_next(&y, &at)) {
        struct fm_index of_a = at, of_b = at;
        of_a.at[column] = 0;
        of_b.at[row] = 0;
        int64_t da = fm_view_distance(&a, &of_a), db = fm_view_distance(&b, &of_b);
        double sum = 0;
        for (int64_t k = 0; k < depth; k++)
            sum += fm_view_load(&a, da + k * a.o->stride[column]) * fm_view_load(&b, db + k * b.o->stride[row]);
        sum *= launch->problem.attr->alpha;
        if (bias.first) sum += fm_view_load(&bias, fm_view_distance(&bias, &at));
        fm_view_store(&y, fm_view_distance(&y, &at), sum);
    }
    return FM_OK;
}
