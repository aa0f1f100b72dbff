/* SGD, ADAM and the loss scaler. A list of tensors is one range of elements, so that threads share it evenly whatever
 * the sizes of its tensors. */
#include "probes/backends/cpu/kernels_internal.h"

#include <stdatomic.h>

#define MAX_LIST_VIEWS 5 /* operands of a tensor that are read or written */

struct optimizer {
    const struct fm_cpu_call *call;
    const struct fm_attr *attr;
    uint32_t first, apart, tensors; /* operands of tensor t from first + t * apart */
    const int *role;                /* which of them become views */
    int roles;
    void (*update)(const struct optimizer *s, float *const *x, int64_t n);
    /* Adam */
    float lr, decay, beta1, beta2, step_size, root_bias, eps;
    bool has[MAX_LIST_VIEWS]; /* set for each tensor */
    bool first_step;
    float inverse_scale;
    atomic_bool *not_finite;
};

/* elements [begin, end) of one tensor */
static void run_tensor(struct optimizer *s, uint32_t tensor, int64_t begin, int64_t end)
{
    const struct fm_operand *operand[MAX_LIST_VIEWS];
    struct fm_cpu_view view[MAX_LIST_VIEWS], all[MAX_LIST_VIEWS];
    void *data[MAX_LIST_VIEWS];
    float buffer[MAX_LIST_VIEWS][FM_TILE], *x[MAX_LIST_VIEWS] = { 0 };
    int count = 0;
    for (int k = 0; k < s->roles; k++) {
        uint32_t i = s->first + tensor * s->apart + (uint32_t)s->role[k];
        s->has[k] = s->call->data[i] != NULL;
        if (s->has[k]) operand[count] = &s->call->problem.operand[i], data[count++] = s->call->data[i];
    }
    fm_cpu_join(all, operand, data, count, -1);
    for (int k = 0, at = 0; k < s->roles; k++) {
        if (s->has[k]) view[k] = all[at++];
    }
    for (int64_t i = begin; i < end; i += FM_TILE) {
        int64_t n = fm_min_i64(FM_TILE, end - i);
        for (int k = 0; k < s->roles; k++) {
            if (!s->has[k]) continue;
            /* read and written at one place: the storage itself, or the buffer */
            x[k] = fm_cpu_view_open(&view[k], i, n, buffer[k]);
            fm_cpu_view_load(&view[k], i, n, buffer[k]);
        }
        s->update(s, x, n);
        for (int k = 0; k < s->roles; k++) {
            if (s->has[k]) fm_cpu_view_close(&view[k], i, n, x[k]);
        }
    }
}

static void run_range(void *context, int64_t begin, int64_t end, int part)
{
    struct optimizer s = *(const struct optimizer *)context;
    int64_t start = 0;
    (void)part;
    for (uint32_t t = 0; t < s.tensors && start < end; t++) {
        int64_t numel = fm_operand_numel(&s.call->problem.operand[s.first + t * s.apart]);
        int64_t from = fm_max_i64(begin - start, 0), to = fm_min_i64(end - start, numel);
        if (from < to) run_tensor(&s, t, from, to);
        start += numel;
    }
}

static fm_status run_list(struct optimizer *s, struct fm_err *err)
{
    const struct fm_cpu_call *call = s->call;
    int64_t total = 0;
    for (uint32_t t = 0; t < s->tensors; t++) {
        for (int k = 0; k < s->roles; k++) {
            uint32_t i = s->first + t * s->apart + (uint32_t)s->role[k];
            enum fm_dtype dtype = call->problem.operand[i].dtype;
            if (call->data[i] && dtype != FM_F32 && dtype != FM_BF16 && dtype != FM_F16)
                return fm_cpu_unsupported(call, (int)i, "lists hold f32, bf16 and f16", err);
        }
        total += fm_operand_numel(&call->problem.operand[s->first + t * s->apart]);
    }
    fm_cpu_parallel(call->threads, total, FM_SMALL, run_range, s);
    return FM_OK;
}

/* found_inf is set: the step is skipped */
static bool skipped(const struct fm_cpu_call *call)
{
    float found = 0;
    if (call->problem.n_in > 0 && fm_cpu_in_data(call, 0))
        fm_cpu_row_load(&found, fm_cpu_in_data(call, 0), fm_cpu_in(call, 0)->dtype, 1, 1);
    return found != 0.0f;
}

enum { SGD_PARAM, SGD_GRAD, SGD_BUF };

FM_CLONES static void sgd_loop(const struct optimizer *s, float *p, float *g, float *buf, int64_t n)
{
    float lr = s->lr, decay = s->decay, momentum = s->beta1;
    bool first = s->first_step, nesterov = s->attr->nesterov;
    if (!buf) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            g[i] += decay * p[i];
            p[i] -= lr * g[i];
        }
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] + decay * p[i];
        float moved = momentum * buf[i] + grad;
        float b = first ? grad : moved;
        float ahead = grad + momentum * b;
        g[i] = nesterov ? ahead : grad;
        p[i] -= lr * (nesterov ? ahead : b);
        buf[i] = b;
    }
}

static void sgd_update(const struct optimizer *s, float *const *x, int64_t n)
{
    sgd_loop(s, x[SGD_PARAM], x[SGD_GRAD], s->has[SGD_BUF] ? x[SGD_BUF] : NULL, n);
}

fm_status fm_cpu_sgd(const struct fm_cpu_call *call, struct fm_err *err)
{
    static const int role[] = { SGD_PARAM, SGD_GRAD, SGD_BUF };
    const struct fm_attr *attr = call->problem.attr;
    struct optimizer s = { .call = call,
                           .attr = attr,
                           .apart = FM_SGD_OPERANDS,
                           .tensors = call->problem.n_out / FM_SGD_OPERANDS,
                           .role = role,
                           .roles = 3,
                           .update = sgd_update,
                           .lr = (float)attr->lr,
                           .decay = (float)attr->weight_decay,
                           .beta1 = (float)attr->momentum,
                           .first_step = call->step == 0 };
    return skipped(call) ? FM_OK : run_list(&s, err);
}

/* p, m, v, vmax, g: temp (operand 4) is not used */
enum { ADAM_PARAM, ADAM_M, ADAM_V, ADAM_VMAX, ADAM_GRAD };

FM_CLONES static void adam_loop(const struct optimizer *s, float *const *x, float *greatest, int64_t n)
{
    float *p = x[ADAM_PARAM], *m = x[ADAM_M], *v = x[ADAM_V];
    const float *g = x[ADAM_GRAD];
    float l2 = s->attr->decoupled ? 0.0f : s->decay, keep = s->attr->decoupled ? 1.0f - s->lr * s->decay : 1.0f;
    float beta1 = s->beta1, beta2 = s->beta2, step = s->step_size, root = s->root_bias, eps = s->eps;
    if (!greatest) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float grad = g[i] + l2 * p[i];
            float first = m[i] + (grad - m[i]) * beta1;
            float second = v[i] + (grad * grad - v[i]) * beta2;
            m[i] = first;
            v[i] = second;
            p[i] = p[i] * keep - step * first / (sqrtf(second) * root + eps);
        }
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float grad = g[i] + l2 * p[i];
        float first = m[i] + (grad - m[i]) * beta1;
        float second = v[i] + (grad * grad - v[i]) * beta2;
        float most = greatest[i] > second ? greatest[i] : second;
        m[i] = first;
        v[i] = second;
        greatest[i] = most;
        p[i] = p[i] * keep - step * first / (sqrtf(most) * root + eps);
    }
}

static void adam_update(const struct optimizer *s, float *const *x, int64_t n)
{
    adam_loop(s, x, s->attr->amsgrad && s->has[ADAM_VMAX] ? x[ADAM_VMAX] : NULL, n);
}

fm_status fm_cpu_adam(const struct fm_cpu_call *call, struct fm_err *err)
{
    static const int role[] = { 0, 1, 2, 3, 5 };
    const struct fm_attr *attr = call->problem.attr;
    double t = (double)call->step + 1;
    /* beta1 and beta2 here are what the new value weighs */
    struct optimizer s = { .call = call,
                           .attr = attr,
                           .apart = FM_ADAM_OPERANDS,
                           .tensors = call->problem.n_out / FM_ADAM_OPERANDS,
                           .role = role,
                           .roles = 5,
                           .update = adam_update,
                           .lr = (float)attr->lr,
                           .decay = (float)attr->weight_decay,
                           .beta1 = (float)(1 - attr->alpha),
                           .beta2 = (float)(1 - attr->beta),
                           .step_size = (float)(attr->lr / (1 - pow(attr->alpha, t))),
                           .root_bias = (float)(1 / sqrt(1 - pow(attr->beta, t))),
                           .eps = (float)attr->eps };
    return skipped(call) ? FM_OK : run_list(&s, err);
}

FM_CLONES static bool unscale_loop(float *g, float scale, int64_t n)
{
    uint32_t bad = 0;
#pragma omp simd reduction(| : bad)
    for (int64_t i = 0; i < n; i++) {
        union fm_bits bits = { .f = g[i] };
        bad |= (uint32_t)((bits.u & 0x7f800000u) == 0x7f800000u);
        g[i] *= scale;
    }
    return bad != 0;
}

static void unscale_update(const struct optimizer *s, float *const *x, int64_t n)
{
    if (unscale_loop(x[0], s->inverse_scale, n)) atomic_store(s->not_finite, true);
}

fm_status fm_cpu_amp_unscale(const struct fm_cpu_call *call, struct fm_err *err)
{
    static const int role[] = { 0 };
    atomic_bool not_finite = false;
    float scale;
    struct optimizer s = { .call = call,
                           .attr = call->problem.attr,
                           .first = 1,
                           .apart = 1,
                           .tensors = call->problem.n_out - 1,
                           .role = role,
                           .roles = 1,
                           .update = unscale_update,
                           .not_finite = &not_finite };
    fm_cpu_row_load(&scale, fm_cpu_in_data(call, 0), fm_cpu_in(call, 0)->dtype, 1, 1);
    s.inverse_scale = (float)(1 / (double)scale);
    fm_status status = run_list(&s, err);
    float found = atomic_load(&not_finite) ? 1.0f : 0.0f;
    if (status == FM_OK) fm_cpu_row_store(call->data[0], &found, call->problem.operand[0].dtype, 1, 1);
    return status;
}

fm_status fm_cpu_amp_update(const struct fm_cpu_call *call, struct fm_err *err)
{
    const double backoff = 0.5, growth = 2, interval = 2000;
    const struct fm_operand *operand[3] = { &call->problem.operand[0], &call->problem.operand[1], fm_cpu_in(call, 0) };
    void *data[3] = { call->data[0], call->data[1], fm_cpu_in_data(call, 0) };
    struct fm_cpu_view view[3];
    double value[3];
    (void)err;
    for (int k = 0; k < 3; k++) {
        fm_cpu_join(&view[k], &operand[k], &data[k], 1, -1);
        fm_cpu_view_load_f64(&view[k], 0, 1, &value[k]);
    }
    value[1] = value[2] != 0 ? 0 : value[1] + 1;
    if (value[2] != 0) value[0] *= backoff;
    if (value[1] == interval) value[0] *= growth, value[1] = 0;
    for (int k = 0; k < 2; k++) fm_cpu_view_store_f64(&view[k], 0, 1, &value[k]);
    return FM_OK;
}
