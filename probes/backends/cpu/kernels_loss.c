/* NLL and its gradient: a gather by target, and a scatter into rows of zeros. */
#include "probes/backends/cpu/kernels_internal.h"

#define NLL_SUMS 8 /* doubles a part: weighted sum, weights, targets out of range; a cache line apart */

struct nll {
    struct fm_cpu_view view[2]; /* target, logp at class 0 | dx with classes innermost, target expanded */
    int64_t classes, class_stride, ignore;
    const char *weight; /* NULL: 1 */
    enum fm_dtype weight_dtype;
    int64_t weight_stride;
    double *sums;
    float scale; /* of the gradient: -g / total */
};

static float weight_of(const struct nll *s, int64_t class)
{
    float weight = 1.0f;
    if (s->weight)
        fm_cpu_row_load(&weight, s->weight + class * s->weight_stride * fm_dtype_bytes(s->weight_dtype),
                        s->weight_dtype, 1, 1);
    return weight;
}

static void set_weight(struct nll *s, const struct fm_cpu_call *call, uint32_t index)
{
    if (call->problem.n_in <= index) return;
    s->weight = fm_cpu_in_data(call, index);
    s->weight_dtype = fm_cpu_in(call, index)->dtype;
    s->weight_stride = fm_cpu_in(call, index)->stride[0];
}

static void nll_part(void *context, int64_t begin, int64_t end, int part)
{
    const struct nll *s = context;
    const struct fm_cpu_view *target = &s->view[0], *logp = &s->view[1];
    int64_t bytes = fm_dtype_bytes(logp->dtype), at = 0, from = 0, n, bad = 0;
    double sum = 0, total = 0;
    struct fm_cpu_runs targets, rows;
    fm_cpu_runs_begin(&targets, target, begin, end - begin);
    fm_cpu_runs_begin(&rows, logp, begin, end - begin);
    while ((n = fm_cpu_runs_next(&targets, &at)) > 0 && fm_cpu_runs_next(&rows, &from) == n) {
        const int64_t *class = (const int64_t *)(const void *)target->data + at;
        for (int64_t i = 0; i < n; i++) {
            int64_t k = class[i * target->stride[0]];
            float value;
            if (k == s->ignore) continue;
            if (k < 0 || k >= s->classes) {
                bad++;
                continue;
            }
            int64_t place = from + i * logp->stride[0] + k * s->class_stride;
            /* one element a cache line: a call would cost as much as the miss */
            if (logp->dtype == FM_F32)
                value = ((const float *)(const void *)logp->data)[place];
            else if (logp->dtype == FM_BF16)
                value = fm_from_bf16(((const uint16_t *)(const void *)logp->data)[place]);
            else
                fm_cpu_row_load(&value, logp->data + place * bytes, logp->dtype, 1, 1);
            float weight = weight_of(s, k);
            sum -= (double)(weight * value);
            total += (double)weight;
        }
    }
    s->sums[part * NLL_SUMS] = sum;
    s->sums[part * NLL_SUMS + 1] = total;
    s->sums[part * NLL_SUMS + 2] = (double)bad;
}

int64_t fm_cpu_nll_bytes(const struct fm_problem *problem, int threads)
{
    const struct fm_operand *target = &problem->operand[problem->n_out + 1];
    return (int64_t)sizeof(double) * NLL_SUMS * fm_cpu_parts(threads, fm_operand_numel(target), FM_SMALL);
}

fm_status fm_cpu_nll(const struct fm_cpu_call *call, struct fm_err *err)
{
    const struct fm_operand *target = fm_cpu_in(call, 1);
    struct fm_operand logp = *fm_cpu_in(call, 0);
    const struct fm_operand *operand[2] = { target, &logp };
    void *data[2] = { fm_cpu_in_data(call, 1), fm_cpu_in_data(call, 0) };
    struct nll s = { .classes = logp.size[1],
                     .class_stride = logp.stride[1],
                     .ignore = call->problem.attr->ignore_index,
                     .sums = call->workspace };
    double sum = 0, total = 0, bad = 0;
    if (target->dtype != FM_I64) return fm_cpu_unsupported(call, 3, "targets are i64", err);
    if (logp.dtype == FM_F64) return fm_cpu_unsupported(call, 2, "f64 is the oracle's", err);
    for (int d = 1; d + 1 < logp.ndim; d++) logp.size[d] = logp.size[d + 1], logp.stride[d] = logp.stride[d + 1];
    logp.ndim--;
    set_weight(&s, call, 2);
    int64_t numel = fm_cpu_join(s.view, operand, data, 2, -1);
    fm_cpu_parallel(call->threads, numel, FM_SMALL, nll_part, &s);
    for (int p = 0; numel && p < fm_cpu_parts(call->threads, numel, FM_SMALL); p++) {
        sum += s.sums[p * NLL_SUMS];
        total += s.sums[p * NLL_SUMS + 1];
        bad += s.sums[p * NLL_SUMS + 2];
    }
    if (bad > 0)
        return FM_FAIL(err, FM_INVALID, "cpu NLL: %.0f targets are neither ignored (%lld) nor in [0, %lld)", bad,
                       (long long)s.ignore, (long long)s.classes);
    float loss = (float)(sum / total), weight = (float)total;
    fm_cpu_row_store(call->data[0], &loss, call->problem.operand[0].dtype, 1, 1);
    fm_cpu_row_store(call->data[1], &weight, call->problem.operand[1].dtype, 1, 1);
    return FM_OK;
}

/* rows [row, row + rows), classes [first, first + n) */
static void scatter(const struct nll *s, float *place, struct fm_cpu_runs *targets, int64_t rows, int64_t first,
                    int64_t n)
{
    int64_t at = 0;
    memset(place, 0, (size_t)(rows * n) * sizeof *place);
    for (int64_t r = 0; r < rows; r++) {
        fm_cpu_runs_next(targets, &at);
        int64_t k = ((const int64_t *)(const void *)s->view[1].data)[at];
        if (k == s->ignore || k < first || k >= first + n) continue;
        place[r * n + k - first] = s->scale * weight_of(s, k);
    }
}

static void nll_bwd_rows(void *context, int64_t begin, int64_t end, int part)
{
    const struct nll *s = context;
    float buffer[FM_TILE];
    int64_t piece = fm_min_i64(s->classes, FM_TILE), block = FM_TILE / piece;
    (void)part;
    for (int64_t row = begin; row < end; row += block) {
        int64_t rows = fm_min_i64(block, end - row);
        for (int64_t first = 0; first < s->classes; first += piece) {
            int64_t n = fm_min_i64(piece, s->classes - first), at = row * s->classes + first;
            struct fm_cpu_runs targets;
            fm_cpu_runs_begin(&targets, &s->view[1], row * s->classes, rows * s->classes);
            float *place = fm_cpu_view_open(&s->view[0], at, rows * n, buffer);
            scatter(s, place, &targets, rows, first, n);
            fm_cpu_view_close(&s->view[0], at, rows * n, place);
        }
    }
}

fm_status fm_cpu_nll_bwd(const struct fm_cpu_call *call, struct fm_err *err)
{
    const struct fm_operand *dx = &call->problem.operand[0];
    struct fm_operand target = *fm_cpu_in(call, 1);
    const struct fm_operand *operand[2] = { dx, &target };
    void *data[2] = { call->data[0], fm_cpu_in_data(call, 1) };
    struct nll s = { .classes = dx->size[1], .ignore = call->problem.attr->ignore_index };
    float g, total;
    if (target.dtype != FM_I64) return fm_cpu_unsupported(call, 2, "targets are i64", err);
    if (dx->dtype == FM_F64) return fm_cpu_unsupported(call, 0, "f64 is the oracle's", err);
    for (int d = target.ndim; d > 1; d--) target.size[d] = target.size[d - 1], target.stride[d] = target.stride[d - 1];
    target.ndim++;
    target.size[1] = dx->size[1];
    target.stride[1] = 0;
    set_weight(&s, call, 3);
    fm_cpu_row_load(&g, fm_cpu_in_data(call, 0), fm_cpu_in(call, 0)->dtype, 1, 1);
    fm_cpu_row_load(&total, fm_cpu_in_data(call, 2), fm_cpu_in(call, 2)->dtype, 1, 1);
    s.scale = -g / total;
    int64_t numel = fm_cpu_join(s.view, operand, data, 2, 1);
    if (numel) fm_cpu_parallel(call->threads, numel / s.classes, fm_max_i64(1, FM_SMALL / s.classes), nll_bwd_rows, &s);
    return FM_OK;
}
