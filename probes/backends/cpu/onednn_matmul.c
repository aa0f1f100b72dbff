/* Matrix products. oneDNN's blocked implementation ("brg") reads and writes matrices whose rows or columns are dense,
 * any distance apart, and states all of its scratch; its other one ("gemm") packs into buffers of its own, outside our
 * account. So an operand is copied when that makes the blocked one possible. */
#include "probes/backends/cpu/onednn_internal.h"

#include <stdio.h>
#include <string.h>

enum { Y, A, B, BIAS, OPERANDS };

struct product {
    struct fm_dnn *dnn;
    const struct fm_problem *problem;
    struct fm_dnn_plan *plan;
    struct fm_dnn_place place[OPERANDS];        /* of the operands as they are given */
    enum fm_dtype compute, result;
    bool late_bias;                             /* added to the stored y instead */
    unsigned copies;                            /* bit i: operand i is copied */
    struct fm_operand want[OPERANDS];
    struct fm_dnn_desc desc[OPERANDS];
    dnnl_primitive_desc_t pd;
};

static bool has_bias(const struct product *p)
{
    return p->problem->n_in > 2;
}

static enum fm_dtype wanted_dtype(const struct product *p, int i)
{
    enum fm_dtype own = (enum fm_dtype)p->problem->operand[i].dtype;
    if (i == Y) return p->result;
    if (i == BIAS) return own == p->compute ? own : FM_F32;
    return p->compute;
}

/* can the blocked implementation address it? Rows (of y) or rows or columns dense, no two elements in one place */
static bool addressable(const struct fm_operand *o, int i)
{
    int row = o->ndim - 2, column = o->ndim - 1;
    int64_t rows = o->size[row], columns = o->size[column];
    bool row_dense = columns == 1 || o->stride[column] == 1, column_dense = rows == 1 || o->stride[row] == 1;
    bool by_row = row_dense && (rows == 1 || o->stride[row] >= columns);
    bool by_column = i != Y && column_dense && (columns == 1 || o->stride[column] >= rows);
    bool batched = o->ndim == 2 || o->size[0] == 1 || o->stride[0] > 0 || i != Y;
    return (by_row || by_column) && batched;
}

/* the bias is expanded over all but the last dimension */
static bool is_row(const struct fm_operand *o)
{
    for (int d = 0; d < o->ndim - 1; d++)
        if (o->size[d] > 1 && o->stride[d] != 0) return false;
    return true;
}

static void make_dense(struct fm_operand *o)
{
    int64_t stride = 1;
    for (int d = o->ndim - 1; d >= 0; d--) {
        o->stride[d] = stride;
        stride *= o->size[d];
    }
}

/* strides of dimensions of size 1 mean nothing: give them those that a dense matrix has */
static void tidy(struct fm_operand *o)
{
    int row = o->ndim - 2, column = o->ndim - 1;
    if (o->size[column] == 1) o->stride[column] = o->size[row] > 1 && o->stride[row] == 1 ? o->size[row] : 1;
    if (o->size[row] == 1) o->stride[row] = o->stride[column] == 1 ? o->size[column] : 1;
    if (o->ndim == 3 && o->size[0] == 1) o->stride[0] = o->size[row] * o->size[column];
}

/* what the primitive gets of operand i, given which ones are copied */
static void want(struct product *p, int i)
{
    struct fm_operand *o = &p->want[i];
    *o = p->problem->operand[i];
    o->dtype = (uint8_t)wanted_dtype(p, i);
    if (i == BIAS)
        for (int d = 0; d < o->ndim - 1; d++) o->size[d] = 1;
    if (i != Y && i != BIAS && o->ndim == 3 && o->stride[0] == 0) o->size[0] = 1;
    if (p->copies >> i & 1 || i == BIAS) make_dense(o);
    else tidy(o);
}

static fm_status describe(struct fm_dnn_desc *desc, const struct fm_operand *o, struct fm_err *err)
{
    struct fm_dnn_shape shape = { .ndim = o->ndim, .type = fm_dnn_type((enum fm_dtype)o->dtype) };
    for (int d = 0; d < o->ndim; d++) {
        shape.size[d] = o->size[d];
        shape.stride[d] = o->stride[d];
    }
    return fm_dnn_check(fm_dnn_desc_init(desc, &shape), "matmul operand", err);
}

static void release(struct product *p)
{
    for (int i = 0; i < OPERANDS; i++) fm_dnn_desc_release(&p->desc[i]);
    if (p->pd) dnnl_primitive_desc_destroy(p->pd);
    p->pd = NULL;
}

static fm_status choose(struct product *p, unsigned copies, struct fm_err *err)
{
    fm_status status = FM_OK;
    bool bias = has_bias(p) && !p->late_bias;
    release(p);
    p->copies = copies;
    for (int i = Y; i <= (bias ? BIAS : B); i++) {
        want(p, i);
        FM_TRY(describe(&p->desc[i], &p->want[i], err));
    }
    struct fm_dnn_matmul matmul = { &p->desc[A], &p->desc[B], bias ? &p->desc[BIAS] : NULL, &p->desc[Y],
                                    p->problem->attr->alpha };
    dnnl_status_t created = fm_dnn_matmul_create(&p->pd, &matmul, p->dnn->engine);
    if (created == dnnl_success) {
        snprintf(p->plan->what, sizeof p->plan->what, "%s", fm_dnn_implementation(p->pd));
        return FM_OK;
    }
    p->pd = NULL;
    if (created == dnnl_unimplemented) return fm_dnn_unsupported(p->problem, p->compute, err);
    return fm_dnn_check(created, "matmul", err);
out:
    return status;
}

static bool is_blocked(const struct product *p)
{
    return strncmp(p->plan->what, "brg", 3) == 0;
}

static fm_status choose_best(struct product *p, struct fm_err *err)
{
    unsigned needed = 0;
    for (int i = Y; i <= B; i++) {
        const struct fm_operand *o = &p->problem->operand[i];
        if (!addressable(o, i) || (enum fm_dtype)o->dtype != wanted_dtype(p, i)) needed |= 1u << i;
    }
    const unsigned more[] = { 0, 1u << A, 1u << B, 1u << Y, 1u << A | 1u << B, 1u << Y | 1u << A | 1u << B };
    for (size_t k = 0; k < sizeof more / sizeof *more; k++)
        if (choose(p, needed | more[k], NULL) == FM_OK && is_blocked(p)) return FM_OK;
    fm_status status = choose(p, needed, err);
    if (status != FM_OK) return status;
    if (fm_dnn_is_reference(p->plan->what) && p->compute != FM_F32) return fm_dnn_unsupported(p->problem, p->compute, err);
    return FM_OK;
}

static fm_status build(struct product *p, struct fm_err *err)
{
    static const int ids[] = { [Y] = DNNL_ARG_DST, [A] = DNNL_ARG_SRC, [B] = DNNL_ARG_WEIGHTS, [BIAS] = DNNL_ARG_BIAS };
    struct fm_dnn_binding binding[OPERANDS];
    struct fm_dnn_tensor outer, inner, y_inner = { 0 };
    int count = has_bias(p) && !p->late_bias ? 4 : 3;
    for (int i = 0; i < count; i++) {
        outer = (struct fm_dnn_tensor){ p->problem->operand[i], p->place[i], { 0 } };
        inner = outer;
        inner.operand = p->want[i];
        bool copy = p->copies >> i & 1;
        if (i == BIAS) {
            const struct fm_operand *o = &outer.operand;
            copy = o->dtype != inner.operand.dtype || (o->size[o->ndim - 1] > 1 && o->stride[o->ndim - 1] != 1);
        }
        if (copy) {
            size_t bytes = (size_t)(fm_operand_numel(&inner.operand) * fm_dtype_bytes((enum fm_dtype)inner.operand.dtype));
            inner.place = fm_dnn_take(p->plan, bytes);
            memcpy(outer.operand.size, inner.operand.size, sizeof outer.operand.size);
            if (i != Y) fm_dnn_add_own(p->plan, &inner, &outer, NULL);
        }
        if (i == Y) y_inner = inner;
        binding[i] = (struct fm_dnn_binding){ ids[i], inner.place, &p->desc[i] };
    }
    dnnl_primitive_desc_t pd = p->pd;
    p->pd = NULL;
    fm_status status = fm_dnn_add_primitive(p->dnn, p->plan, pd, binding, count, err);
    if (status != FM_OK) return status;
    struct fm_dnn_tensor y = { p->problem->operand[Y], p->place[Y], { 0 } };
    if (p->copies >> Y & 1) fm_dnn_add_own(p->plan, &y, &y_inner, NULL);
    if (p->late_bias) {
        struct fm_dnn_tensor bias = { p->problem->operand[BIAS], p->place[BIAS], { 0 } };
        fm_dnn_add_own(p->plan, &y, &y, &bias);
    }
    return FM_OK;
}

static fm_status check_sizes(const struct fm_problem *problem, struct fm_err *err)
{
    const struct fm_operand *y = &problem->operand[Y], *a = &problem->operand[A], *b = &problem->operand[B];
    int n = y->ndim;
    bool fits = (n == 2 || n == 3) && a->ndim == n && b->ndim == n && a->size[n - 1] == b->size[n - 2] &&
                a->size[n - 2] == y->size[n - 2] && b->size[n - 1] == y->size[n - 1];
    if (fits && n == 3) fits = a->size[0] == y->size[0] && b->size[0] == y->size[0];
    for (int d = 0; fits && problem->n_in > 2 && d < n; d++)
        fits = problem->operand[BIAS].ndim == n && problem->operand[BIAS].size[d] == y->size[d];
    if (!fits) return FM_FAIL(err, FM_INVALID, "MATMUL: sizes of the operands do not fit together");
    return FM_OK;
}

fm_status fm_dnn_plan_matmul(struct fm_dnn *dnn, const struct fm_problem *problem, const struct fm_dnn_place *place,
                             struct fm_dnn_plan *plan, struct fm_err *err)
{
    fm_status status = FM_OK;
    const struct fm_operand *y = &problem->operand[Y], *a = &problem->operand[A], *b = &problem->operand[B];
    struct product p = { .dnn = dnn, .problem = problem, .plan = plan };
    for (int i = 0; i < OPERANDS; i++) p.place[i] = place ? place[i] : (struct fm_dnn_place){ i, 0 };
    p.compute = a->dtype == b->dtype ? (enum fm_dtype)a->dtype : FM_F32;
    p.result = y->dtype == FM_F32 ? FM_F32 : (enum fm_dtype)y->dtype == p.compute ? p.compute : FM_F32;
    FM_TRY(check_sizes(problem, err));
    /* the primitive scales its bias too */
    p.late_bias = has_bias(&p) && (problem->attr->alpha != 1 || !is_row(&problem->operand[BIAS]));
    FM_TRY(choose_best(&p, err));
    FM_TRY(build(&p, err));
out:
    release(&p);
    return status;
}
