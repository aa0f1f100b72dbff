/* The ref backend against PyTorch's own values in double, forward and backward (tests/reference/op_values.py). */
#include "probes/backends/ref/ref.h"
#include "tests/support/case.h"
#include "tests/support/values.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define TOLERANCE 1e-9

typedef const struct fm_values_tensor tensor;

static struct fm_backend *backend;
static const struct fm_values_case *v;      /* the case being checked */
static long checked;

static tensor *get(const char *role)
{
    tensor *t = fm_values_tensor(v, role);
    if (!t) fail_msg("case %s: no %s", v->name, role);
    return t;
}

static bool has(const char *role)
{
    return fm_values_tensor(v, role) != NULL;
}

static void run(struct fm_case *c)
{
    struct fm_err err = { 0 };
    if (fm_case_run(c, &fm_backend_ref, backend, &err) != FM_OK) fail_msg("case %s: %s", v->name, err.text);
}

static void in(struct fm_case *c, tensor *t)
{
    fm_case_in(c, t->dtype, t->ndim, t->size);
    fm_case_set(c, c->n_out + c->n_in - 1, t->values);
}

static void out_like(struct fm_case *c, tensor *t)
{
    fm_case_out(c, t->dtype, t->ndim, t->size);
}

/* operand i, read flat, has the recorded values */
static void expect(const struct fm_case *c, uint32_t i, tensor *t)
{
    double error = 0, norm = 0;
    assert_int_equal(fm_operand_numel(&c->operand[i]), t->count);
    for (int64_t k = 0; k < t->count; k++) {
        double found = fm_case_get_one(c, i, k), right = t->values[k];
        if (isnan(right) && isnan(found)) continue;
        error += (found - right) * (found - right);
        norm += right * right;
    }
    if (!(sqrt(error) <= TOLERANCE * sqrt(norm) + 1e-13))
        fail_msg("case %s, %s by %s: error %g of %g", v->name, t->role, fm_kernel_name(c->kernel), sqrt(error),
                 sqrt(norm));
    checked++;
}

static double attr(const char *key)
{
    double value = fm_values_attr(v, key, 0, NAN);
    if (isnan(value)) fail_msg("case %s: no attribute %s", v->name, key);
    return value;
}

/* y of y's size = kernel(the inputs named, space-separated), compared with the tensor of the role */
static void simple(enum fm_kernel kernel, struct fm_attr attributes, const char *out_role, const char *inputs)
{
    struct fm_case c;
    char role[32];
    int used = 0;
    fm_case_init(&c, kernel);
    c.attr = attributes;
    out_like(&c, get(out_role));
    for (; sscanf(inputs, " %31s%n", role, &used) == 1; inputs += used) in(&c, get(role));
    run(&c);
    expect(&c, 0, get(out_role));
    fm_case_release(&c);
}

/* sum of `from` down to the sizes given, times alpha */
static void summed(const char *from, const int64_t *size, double alpha, const char *to)
{
    struct fm_case c;
    fm_case_init(&c, FM_K_SUM);
    c.attr.alpha = alpha;
    fm_case_out(&c, get(from)->dtype, get(from)->ndim, size);
    in(&c, get(from));
    run(&c);
    expect(&c, 0, get(to));
    fm_case_release(&c);
}

static void conv(void)
{
    struct fm_attr a = { .groups = (int32_t)attr("groups"), .transposed = (uint8_t)attr("transposed") };
    for (int d = 0; d < get("in.x")->ndim - 2; d++) {
        a.stride[d] = (int32_t)fm_values_attr(v, "stride", d, 0);
        a.padding[d] = (int32_t)fm_values_attr(v, "padding", d, 0);
        a.dilation[d] = (int32_t)fm_values_attr(v, "dilation", d, 0);
    }
    simple(FM_K_CONV, a, "out.y", has("in.bias") ? "in.x in.weight in.bias" : "in.x in.weight");
    simple(FM_K_CONV_DGRAD, a, "grad.x", "up.y in.weight");
    simple(FM_K_CONV_WGRAD, a, "grad.weight", "up.y in.x");
    int64_t size[FM_MAX_DIMS] = { 1, get("out.y")->size[1], 1, 1, 1, 1 };
    if (has("in.bias")) summed("up.y", size, 1, "grad.bias");
}

/* to = a @ b [+ bias], as batches of matrices; transposed ones are views of the recorded memory */
static void product(const char *to, const char *a, bool a_transposed, const char *b, bool b_transposed,
                    const char *bias)
{
    struct fm_case c;
    tensor *operand[] = { get(to), get(a), get(b) };
    bool swap[] = { false, a_transposed, b_transposed };
    bool batched = get(a)->ndim > 2 && get(b)->ndim > 2;
    fm_case_init(&c, FM_K_MATMUL);
    c.attr.alpha = 1;
    for (int i = 0; i < 3; i++) {
        tensor *t = operand[i];
        int64_t columns = t->size[t->ndim - 1], rows = batched ? t->size[t->ndim - 2] : t->count / columns;
        int64_t size[3] = { t->count / rows / columns, swap[i] ? columns : rows, swap[i] ? rows : columns };
        int ndim = batched ? 3 : 2;
        if (i == 0) fm_case_out(&c, FM_F64, ndim, size + 3 - ndim);
        else fm_case_in(&c, FM_F64, ndim, size + 3 - ndim);
        if (swap[i]) fm_case_swap(&c, (uint32_t)i, ndim - 2, ndim - 1);
        memcpy(c.values[i], t->values, (size_t)t->count * sizeof(double));
    }
    if (bias) {
        fm_case_in(&c, FM_F64, 2, c.operand[0].size);
        fm_case_expand(&c, 3, 0);
        memcpy(c.values[3], get(bias)->values, (size_t)get(bias)->count * sizeof(double));
    }
    run(&c);
    expect(&c, 0, operand[0]);
    fm_case_release(&c);
}

static void linear(void)
{
    product("out.y", "in.input", false, "in.weight", true, has("in.bias") ? "in.bias" : NULL);
    product("grad.input", "up.y", false, "in.weight", false, NULL);
    struct fm_case c;       /* (N, M) @ (M, K), both flattened over the leading dimensions */
    tensor *g = get("up.y"), *x = get("in.input");
    int64_t n = g->size[g->ndim - 1], m = g->count / n, k = x->size[x->ndim - 1];
    fm_case_init(&c, FM_K_MATMUL);
    c.attr.alpha = 1;
    fm_case_out(&c, FM_F64, 2, (int64_t[]){ n, k }), fm_case_in(&c, FM_F64, 2, (int64_t[]){ n, m });
    fm_case_in(&c, FM_F64, 2, (int64_t[]){ m, k });
    fm_case_swap(&c, 1, 0, 1);
    memcpy(c.values[1], g->values, (size_t)g->count * sizeof(double)), fm_case_set(&c, 2, x->values);
    run(&c);
    expect(&c, 0, get("grad.weight"));
    fm_case_release(&c);
    int64_t size[FM_MAX_DIMS] = { 1, 1, 1, 1, 1, 1 };
    size[g->ndim - 1] = n;
    if (has("in.bias")) summed("up.y", size, 1, "grad.bias");
}

static void matmul(void)
{
    product("out.y", "in.a", false, "in.b", false, NULL);
    product("grad.a", "up.y", false, "in.b", true, NULL);
    product("grad.b", "in.a", true, "up.y", false, NULL);
}

/* recorded from the products and the softmax, and once more from F.scaled_dot_product_attention */
static void attention(void)
{
    static const char *const ups[] = { "up.y", "in.q", "in.k", "in.v", "out.y" }, *const grads[] = { "grad.q", "grad.k", "grad.v" };
    struct fm_case f, b;
    tensor *q = get("in.q");
    fm_case_init(&f, FM_K_SDPA), fm_case_init(&b, FM_K_SDPA_BWD);
    f.attr.alpha = b.attr.alpha = attr("scale");
    out_like(&f, get("out.y")), fm_case_out(&f, FM_F64, 3, q->size);
    in(&f, q), in(&f, get("in.k")), in(&f, get("in.v"));
    run(&f);
    expect(&f, 0, get("out.y"));
    if (has("out.lse")) expect(&f, 1, get("out.lse"));
    for (int i = 0; i < 3; i++) out_like(&b, get(grads[i]));
    for (int i = 0; i < 5; i++) in(&b, get(ups[i]));
    fm_case_in(&b, FM_F64, 3, q->size);
    for (int64_t i = 0; i < q->count / q->size[3]; i++) fm_case_set_one(&b, 8, i, fm_case_get_one(&f, 1, i));
    run(&b);
    for (uint32_t i = 0; i < 3; i++) expect(&b, i, get(grads[i]));
    fm_case_release(&f), fm_case_release(&b);
}

static void batch_norm(void)
{
    struct fm_case c;
    fm_case_init(&c, FM_K_BATCH_NORM);
    c.attr = (struct fm_attr){ .eps = attr("eps"), .momentum = attr("momentum") };
    const char *outs[] = { "out.y", "out.mean", "out.invstd", "out.running_mean", "out.running_var" };
    for (int i = 0; i < 5; i++) out_like(&c, get(outs[i]));
    fm_case_set(&c, 3, get("in.running_mean")->values), fm_case_set(&c, 4, get("in.running_var")->values);
    in(&c, get("in.x")), in(&c, get("in.weight")), in(&c, get("in.bias"));
    run(&c);
    for (uint32_t i = 0; i < 5; i++) expect(&c, i, get(outs[i]));
    fm_case_release(&c);
}

static void norm_backward(enum fm_kernel kernel, struct fm_attr a, const char *rstd, tensor *statistic)
{
    struct fm_case c;
    fm_case_init(&c, kernel);
    c.attr = a;
    out_like(&c, get("grad.x")), out_like(&c, get("grad.weight")), out_like(&c, get("grad.bias"));
    in(&c, get("up.y")), in(&c, get("in.x")), in(&c, get("in.weight"));
    for (int i = 0; i < 2; i++) {
        fm_case_in(&c, FM_F64, statistic->ndim, statistic->size);
        fm_case_set(&c, c.n_out + c.n_in - 1, get(i ? rstd : "out.mean")->values);
    }
    run(&c);
    expect(&c, 0, get("grad.x")), expect(&c, 1, get("grad.weight")), expect(&c, 2, get("grad.bias"));
    fm_case_release(&c);
}

static void batch_norm_both(void)
{
    batch_norm();
    norm_backward(FM_K_BATCH_NORM_BWD, (struct fm_attr){ 0 }, "out.invstd", get("out.mean"));
}

static void batch_norm_eval(void)
{
    simple(FM_K_BATCH_NORM_EVAL, (struct fm_attr){ .eps = attr("eps") }, "out.y",
           "in.x in.weight in.bias in.running_mean in.running_var");
}

static void group_or_layer_norm(void)
{
    bool group = strcmp(v->operator, "group_norm") == 0;
    struct fm_attr a = { .eps = attr("eps"), .groups = (int32_t)fm_values_attr(v, "groups", 0, 0) };
    struct fm_values_tensor statistic = *get("in.x");     /* (B, groups) or (..., 1) */
    if (group) statistic.ndim = 2, statistic.size[1] = a.groups;
    else statistic.size[statistic.ndim - 1] = 1;
    struct fm_case c;
    fm_case_init(&c, group ? FM_K_GROUP_NORM : FM_K_LAYER_NORM);
    c.attr = a;
    out_like(&c, get("out.y")), out_like(&c, &statistic), out_like(&c, &statistic);
    in(&c, get("in.x")), in(&c, get("in.weight")), in(&c, get("in.bias"));
    run(&c);
    expect(&c, 0, get("out.y")), expect(&c, 1, get("out.mean")), expect(&c, 2, get("out.rstd"));
    fm_case_release(&c);
    norm_backward(group ? FM_K_GROUP_NORM_BWD : FM_K_LAYER_NORM_BWD, a, "out.rstd", &statistic);
}

static void unary(void)
{
    const struct { const char *name; enum fm_unary mode; const char *saved; } rows[] = {
        { "relu", FM_RELU, "out.y" }, { "leaky_relu", FM_LEAKY_RELU, "in.x" }, { "gelu", FM_GELU, "in.x" },
        { "silu", FM_SILU, "in.x" }, { "affine", FM_SCALE, "in.x" }, { "exp", FM_EXP, "out.y" },
        { "log", FM_LOG, "in.x" }, { "sqrt", FM_SQRT, "out.y" }, { "equal_scalar", FM_EQUAL, NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, v->operator) != 0) continue;
        double alpha = fm_values_attr(v, rows[i].mode == FM_LEAKY_RELU ? "slope" : "alpha", 0, 0);
        struct fm_attr a = { .mode = (uint8_t)rows[i].mode, .alpha = alpha, .beta = fm_values_attr(v, "beta", 0, 0) };
        char inputs[32];
        simple(FM_K_UNARY, a, "out.y", "in.x");
        if (!rows[i].saved) return;
        (void)snprintf(inputs, sizeof inputs, "up.y %s", rows[i].saved);
        simple(FM_K_UNARY_BWD, a, "grad.x", inputs);
        return;
    }
    fail_msg("no unary function %s", v->operator);
}

static void binary(void)
{
    const char *const names[] = { "add", "sub", "mul", "div", "and", "eq", "or", "max" };
    struct fm_case c;
    uint8_t mode = 0;
    while (strcmp(names[mode], v->operator) != 0) mode++;
    fm_case_init(&c, FM_K_BINARY);
    c.attr = (struct fm_attr){ .mode = mode, .alpha = fm_values_attr(v, "alpha", 0, 0) };
    tensor *y = get("out.y"), *b = get("in.b");
    out_like(&c, y), in(&c, get("in.a"));
    fm_case_in(&c, b->dtype, y->ndim, y->size);
    for (int d = 0; d < y->ndim; d++)
        if (b->size[d] != y->size[d]) fm_case_expand(&c, 2, d);
    memcpy(c.values[2], b->values, (size_t)b->count * sizeof(double));
    run(&c);
    expect(&c, 0, y);
    fm_case_release(&c);
    bool multiplied = mode == FM_MUL && b->count == y->count;
    if (multiplied && has("grad.a")) simple(FM_K_BINARY, (struct fm_attr){ .mode = mode }, "grad.a", "up.y in.b");
    if (multiplied && has("grad.b")) simple(FM_K_BINARY, (struct fm_attr){ .mode = mode }, "grad.b", "up.y in.a");
}

/* cat, and stack as a cat of tensors with one more dimension of size 1 */
static void cat(void)
{
    struct fm_case c;
    bool stacked = strcmp(v->operator, "stack") == 0;
    fm_case_init(&c, FM_K_CAT);
    c.attr.dim = (uint8_t)attr("dim");
    if (stacked) assert_int_equal(c.attr.dim, 0);
    out_like(&c, get("out.y"));
    char role[] = "in.x0";
    for (; has(role); role[4]++) {
        struct fm_values_tensor part = *get(role);
        if (stacked) {
            memmove(part.size + 1, part.size, (size_t)part.ndim * sizeof *part.size);
            part.size[0] = 1;
            part.ndim++;
        }
        in(&c, &part);
    }
    run(&c);
    expect(&c, 0, get("out.y"));
    fm_case_release(&c);
}

static void sum_or_mean(void)
{
    tensor *x = get("in.x");
    int64_t size[FM_MAX_DIMS], reduced = 1;
    memcpy(size, x->size, sizeof size);
    for (int i = 0, d; (d = (int)fm_values_attr(v, "dims", i, -1)) >= 0; i++) {
        reduced *= size[d];
        size[d] = 1;
    }
    summed("in.x", size, strcmp(v->operator, "mean") == 0 ? 1.0 / (double)reduced : 1, "out.y");
}

static void argmax(void)
{
    struct fm_case c;
    tensor *x = get("in.x");
    int64_t size[FM_MAX_DIMS];
    fm_case_init(&c, FM_K_ARGMAX);
    c.attr.dim = (uint8_t)attr("dim");
    memcpy(size, x->size, sizeof size);
    size[c.attr.dim] = 1;
    fm_case_out(&c, FM_I64, x->ndim, size), in(&c, x);
    run(&c);
    expect(&c, 0, get("out.y"));
    fm_case_release(&c);
}

/* label == 0, 1, ... with both expanded */
static void one_hot(void)
{
    struct fm_case c;
    tensor *x = get("in.x"), *y = get("out.y");
    fm_case_init(&c, FM_K_BINARY);
    c.attr.mode = FM_EQ;
    out_like(&c, y);
    fm_case_in(&c, FM_I64, y->ndim, y->size), fm_case_expand(&c, 1, y->ndim - 1);
    memcpy(c.values[1], x->values, (size_t)x->count * sizeof(double));
    fm_case_in(&c, FM_I64, y->ndim, y->size);
    for (int d = 0; d < y->ndim - 1; d++) fm_case_expand(&c, 2, d);
    for (int64_t k = 0; k < c.elements[2]; k++) c.values[2][k] = (double)k;
    run(&c);
    expect(&c, 0, y);
    fm_case_release(&c);
}

static void interpolate(void)
{
    simple(FM_K_INTERPOLATE, (struct fm_attr){ 0 }, "out.y", "in.x");
    simple(FM_K_INTERPOLATE_BWD, (struct fm_attr){ 0 }, "grad.x", "up.y");
}

static void softmax(void)
{
    struct fm_attr a = { .dim = (uint8_t)attr("dim"), .mode = strcmp(v->operator, "log_softmax") == 0 };
    simple(FM_K_SOFTMAX, a, "out.y", "in.x");
    simple(FM_K_SOFTMAX_BWD, a, "grad.x", "up.y out.y");
}

/* log_softmax of logits first, if they are what is given */
static void nll(void)
{
    bool logits = strcmp(v->operator, "cross_entropy") == 0;
    tensor *scores = get(logits ? "in.logits" : "in.logp");
    struct fm_case soft, c, back, soft_back;
    fm_case_init(&soft, FM_K_SOFTMAX), fm_case_init(&c, FM_K_NLL);
    soft.attr = (struct fm_attr){ .mode = 1, .dim = 1 };
    out_like(&soft, scores), in(&soft, scores);
    run(&soft);
    struct fm_values_tensor logp = *scores;
    if (logits) logp.values = soft.values[0];
    c.attr.ignore_index = (int64_t)attr("ignore_index");
    out_like(&c, get("out.loss")), out_like(&c, get("out.total_weight"));
    in(&c, &logp), in(&c, get("in.target"));
    if (has("in.weight")) in(&c, get("in.weight"));
    run(&c);
    expect(&c, 0, get("out.loss")), expect(&c, 1, get("out.total_weight"));
    fm_case_release(&c);
    if (has("up.loss")) {
        fm_case_init(&back, FM_K_NLL_BWD), fm_case_init(&soft_back, FM_K_SOFTMAX_BWD);
        back.attr.ignore_index = (int64_t)attr("ignore_index");
        out_like(&back, scores);
        in(&back, get("up.loss")), in(&back, get("in.target")), in(&back, get("out.total_weight"));
        if (has("in.weight")) in(&back, get("in.weight"));
        run(&back);
        if (!logits) expect(&back, 0, get("grad.logp"));
        soft_back.attr = soft.attr;
        struct fm_values_tensor g = *scores;
        g.values = back.values[0];
        out_like(&soft_back, scores), in(&soft_back, &g), in(&soft_back, &logp);
        run(&soft_back);
        if (logits) expect(&soft_back, 0, get("grad.logits"));
        fm_case_release(&back), fm_case_release(&soft_back);
    }
    fm_case_release(&soft);
}

/* both parameters in one list call, step after step */
static void optimizer(void)
{
    bool sgd = strcmp(v->operator, "sgd") == 0, amsgrad = fm_values_attr(v, "amsgrad", 0, 0) > 0;
    uint32_t apart = sgd ? FM_SGD_OPERANDS : FM_ADAM_OPERANDS, gradient = sgd ? 1 : 5;
    struct fm_case c;
    char role[32];
    fm_case_init(&c, sgd ? FM_K_SGD : FM_K_ADAM);
    c.attr = (struct fm_attr){ .lr = attr("lr"), .weight_decay = attr("weight_decay"), .amsgrad = amsgrad };
    c.attr.momentum = fm_values_attr(v, "momentum", 0, 0);
    c.attr.nesterov = fm_values_attr(v, "nesterov", 0, 0) > 0;
    c.attr.decoupled = strcmp(v->operator, "adamw") == 0;
    c.attr.alpha = fm_values_attr(v, "betas", 0, 0), c.attr.beta = fm_values_attr(v, "betas", 1, 0);
    c.attr.eps = fm_values_attr(v, "eps", 0, 0);
    for (uint32_t p = 0; p < 2; p++) {
        tensor *param = get(p ? "in.p1" : "in.p0");
        for (uint32_t i = 0; i < apart; i++) {
            bool absent = sgd ? i == 2 && !(c.attr.momentum > 0) : (i == 3 && !amsgrad) || i == 4;
            if (absent) fm_case_absent(&c, true);
            else out_like(&c, param);
            if (!absent && !sgd) fm_case_random(&c, p * apart + i, 0, 0, 1);
        }
        fm_case_set(&c, p * apart, param->values);
    }
    for (int step = 1; step <= (int)attr("steps"); step++, c.step++) {
        for (uint32_t p = 0; p < 2; p++) {
            (void)snprintf(role, sizeof role, "in.p%u.grad%d", p, step);
            fm_case_set(&c, p * apart + gradient, get(role)->values);
        }
        run(&c);
        for (uint32_t p = 0; p < 2; p++) {
            (void)snprintf(role, sizeof role, "out.p%u.step%d", p, step);
            expect(&c, p * apart, get(role));
        }
    }
    const struct { const char *state; uint32_t at; } states[] = {
        { "momentum_buffer", 2 }, { "exp_avg", 1 }, { "exp_avg_sq", 2 }, { "max_exp_avg_sq", 3 },
    };
    for (uint32_t p = 0; p < 2; p++)
        for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
            (void)snprintf(role, sizeof role, "out.p%u.%s", p, states[i].state);
            if (has(role)) expect(&c, p * apart + states[i].at, get(role));
        }
    fm_case_release(&c);
}

/* Those without a check are made of the others; whole networks check them. */
static const struct { const char *operator; void (*check)(void); int cases; } checks[] = {
    { "conv", conv, 20 }, { "linear", linear, 2 }, { "matmul", matmul, 3 }, { "batch_norm", batch_norm_both, 3 },
    { "batch_norm_eval", batch_norm_eval, 3 }, { "group_norm", group_or_layer_norm, 3 },
    { "layer_norm", group_or_layer_norm, 3 }, { "relu", unary, 1 }, { "leaky_relu", unary, 2 }, { "gelu", unary, 1 },
    { "silu", unary, 1 }, { "affine", unary, 1 }, { "exp", unary, 1 }, { "log", unary, 1 }, { "sqrt", unary, 1 },
    { "equal_scalar", unary, 1 }, { "add", binary, 2 }, { "sub", binary, 1 }, { "mul", binary, 3 },
    { "div", binary, 1 }, { "max", binary, 1 }, { "cat", cat, 1 }, { "stack", cat, 1 }, { "sum", sum_or_mean, 4 },
    { "mean", sum_or_mean, 2 },
    { "argmax", argmax, 1 }, { "one_hot", one_hot, 1 }, { "interpolate", interpolate, 9 }, { "softmax", softmax, 3 },
    { "log_softmax", softmax, 4 }, { "nll_loss", nll, 5 }, { "cross_entropy", nll, 4 }, { "adamw", optimizer, 2 },
    { "adam", optimizer, 3 }, { "sgd", optimizer, 5 }, { "attention", attention, 1 }, { "sdpa", attention, 4 },
    { "dice_and_cross_entropy", NULL, 2 },
};
#define CHECKS (sizeof checks / sizeof *checks)

static void values_are_those_of_torch(void **state)
{
    (void)state;
    FILE *file = fopen(FM_TEST_DATA_DIR "/op_values.txt", "r");
    assert_non_null(file);
    struct fm_err err = { 0 };
    static struct fm_values_case c;
    int seen[CHECKS] = { 0 };
    for (bool found = true; found;) {
        if (fm_values_next(file, &c, &found, &err) != FM_OK) fail_msg("%s", err.text);
        size_t i = 0;
        while (found && i < CHECKS && strcmp(checks[i].operator, c.operator) != 0) i++;
        if (i == CHECKS) fail_msg("case %s: no check for the operator %s", c.name, c.operator);
        if (found) {
            v = &c;
            if (checks[i].check) checks[i].check();
            seen[i]++;
        }
        fm_values_release(&c);
    }
    assert_int_equal(fclose(file), 0);
    for (size_t i = 0; i < CHECKS; i++)         /* a file that lost cases is not a pass */
        if (seen[i] < checks[i].cases) fail_msg("%s: %d cases of %d", checks[i].operator, seen[i], checks[i].cases);
    print_message("%ld tensors compared\n", checked);
}

static int open_backend(void **state)
{
    (void)state;
    return fm_backend_ref.open(NULL, &backend, NULL);
}

static int close_backend(void **state)
{
    (void)state;
    fm_backend_ref.close(backend);
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(values_are_those_of_torch) };
    return cmocka_run_group_tests(tests, open_backend, close_backend);
}
