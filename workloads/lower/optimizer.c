/* The optimizer's step with its state and temporaries, the loss scaler, and zero_grad (rules 29, 33-35, 67). */
#include "workloads/lower/internal.h"

#include "tuner/base/memory.h"

#include <string.h>

/* lower than torch's 65536: high enough to keep small gradients, low enough that the first steps do not overflow */
#define INITIAL_SCALE 1024.0

enum { MOMENTS = 3, STEP = 3 };     /* exp_avg or momentum buffer, exp_avg_sq, max_exp_avg_sq; then the fused form's step counter */

static bool adaptive(const struct lower *l) { return l->policy->optimizer.kind != FM_OPTIMIZER_SGD; }

static struct tensor *zeros_like_state(struct lower *l, const struct tensor *p)
{
    struct tensor *t = new_like(l, p, (enum fm_dtype)p->dtype);
    set_kind(l, t, FM_STORAGE_OPTIMIZER);
    record_fill(l, t, 0);
    return t;
}

/* state appears parameter by parameter in the first step (rules 34, 67); momentum buffers are made inside the step */
static void make_state(struct lower *l)
{
    const struct fm_optimizer *o = &l->policy->optimizer;
    for (uint32_t i = 0; i < l->trained && !failed(l); i++) {
        uint32_t p = l->order[i];
        struct tensor **state = &l->state[(size_t)p * FM_OPTIMIZER_STATES];
        if (state[0] || !l->param[p]->grad) continue;
        if (o->form == FM_FORM_FUSED) {         /* on the device; the other forms keep it on the host (rule 34) */
            state[STEP] = new_scalar(l, FM_F32);
            set_kind(l, state[STEP], FM_STORAGE_OPTIMIZER);
            record_fill(l, state[STEP], 0);
        }
        for (int k = 0; k < (o->amsgrad ? 3 : 2); k++) state[k] = zeros_like_state(l, l->param[p]->x);
    }
}

static struct fm_attr step_attr(const struct lower *l)
{
    const struct fm_optimizer *o = &l->policy->optimizer;
    return (struct fm_attr){ .lr = o->lr, .weight_decay = o->weight_decay, .momentum = o->momentum, .alpha = o->beta1,
                             .beta = o->beta2, .eps = o->eps, .amsgrad = o->amsgrad, .nesterov = o->nesterov,
                             .decoupled = o->kind == FM_OPTIMIZER_ADAMW };
}

/* one call over `count` parameters from `first`, temporaries by index (NULL: none) */
static void record_step(struct lower *l, uint32_t first, uint32_t count, struct tensor **temp)
{
    bool adam = adaptive(l);
    uint32_t each = adam ? FM_ADAM_OPERANDS : FM_SGD_OPERANDS, n = 0;
    struct fm_operand *operand = scratch_operands(l, (size_t)count * each + 1);
    if (!operand) return;
    for (uint32_t i = first; i < first + count; i++) {
        uint32_t p = l->order[i];
        struct tensor **state = &l->state[(size_t)p * FM_OPTIMIZER_STATES];
        if (!l->param[p]->grad) continue;
        operand[n++] = operand_of(l->param[p]->x);
        if (adam) {
            for (int k = 0; k < MOMENTS; k++) operand[n++] = operand_of(state[k]);
            operand[n++] = operand_of(temp ? temp[i - first] : NULL);
        }
        operand[n++] = operand_of(l->param[p]->grad);
        if (!adam) operand[n++] = operand_of(state[0]);
    }
    uint32_t outs = n;
    if (l->found_inf) operand[n++] = operand_of(l->found_inf);
    struct fm_attr attr = step_attr(l);
    if (outs) record_operands(l, adam ? FM_K_ADAM : FM_K_SGD, &attr, operand, outs, n - outs);
}

/* a list of temporaries like the parameters (torch._foreach_*); dies last to first, as a Python list does */
static void make_list(struct lower *l, struct tensor **list)
{
    for (uint32_t i = 0; i < l->trained; i++) {
        const struct var *p = l->param[l->order[i]];
        list[i] = p->grad ? new_like(l, p->x, (enum fm_dtype)p->x->dtype) : NULL;
    }
}

static void drop_list(struct lower *l, struct tensor **list)
{
    for (uint32_t i = l->trained; i-- > 0;) {
        drop(l, list[i]);
        list[i] = NULL;
    }
}

/* for loop: each parameter's temporaries alone; the last denominator lives until the next one is bound (rule 70) */
static void adam_loop(struct lower *l)
{
    const struct fm_optimizer *o = &l->policy->optimizer;
    struct tensor *denominator = NULL, *decayed = NULL;
    for (uint32_t i = 0; i < l->trained && !failed(l); i++) {
        struct var *p = l->param[l->order[i]];
        if (!p->grad) continue;
        enum fm_dtype dtype = (enum fm_dtype)p->x->dtype;
        if (o->kind == FM_OPTIMIZER_ADAM && o->weight_decay != 0) {
            drop(l, decayed);
            decayed = new_like(l, p->x, dtype);
        }
        struct tensor *root = new_like(l, p->x, dtype), *next = new_like(l, p->x, dtype);
        drop(l, root);
        drop(l, denominator);
        denominator = next;
        record_step(l, i, 1, &denominator);
    }
    drop(l, decayed);
    drop(l, denominator);
}

static void adam_foreach(struct lower *l, struct tensor **list)
{
    const struct fm_optimizer *o = &l->policy->optimizer;
    if (o->kind == FM_OPTIMIZER_ADAM && o->weight_decay != 0) {     /* grads + wd * params, gone before the roots */
        make_list(l, list);
        drop_list(l, list);
    }
    make_list(l, list);
    record_step(l, 0, l->trained, list);
    drop_list(l, list);
}

static void momentum_buffers(struct lower *l, uint32_t first, uint32_t count)
{
    if (l->policy->optimizer.momentum == 0) return;
    for (uint32_t i = first; i < first + count && !failed(l); i++) {
        uint32_t p = l->order[i];
        struct tensor **buffer = &l->state[(size_t)p * FM_OPTIMIZER_STATES];
        if (*buffer || !l->param[p]->grad) continue;
        *buffer = new_like(l, l->param[p]->x, (enum fm_dtype)l->param[p]->x->dtype);
        set_kind(l, *buffer, FM_STORAGE_OPTIMIZER);
    }
}

/* For each parameter: grad = grads[i]; decay: grad = grad + decay * p; nesterov: grad = grad + momentum * buffer, else
 * grad = buffer. `sum` is what grad owns. */
static void sgd_loop(struct lower *l)
{
    const struct fm_optimizer *o = &l->policy->optimizer;
    struct tensor *sum = NULL;
    for (uint32_t i = 0; i < l->trained && !failed(l); i++) {
        const struct var *p = l->param[l->order[i]];
        if (!p->grad) continue;
        enum fm_dtype dtype = (enum fm_dtype)p->x->dtype;
        drop(l, sum);
        sum = o->weight_decay != 0 ? new_like(l, p->x, dtype) : NULL;
        momentum_buffers(l, i, 1);
        if (o->momentum != 0) {
            struct tensor *next = o->nesterov ? new_like(l, p->x, dtype) : NULL;
            drop(l, sum);
            sum = next;
        }
        record_step(l, i, 1, NULL);
    }
    drop(l, sum);
}

static void sgd(struct lower *l, struct tensor **list)
{
    const struct fm_optimizer *o = &l->policy->optimizer;
    if (o->form == FM_FORM_LOOP) {
        sgd_loop(l);
        return;
    }
    if (o->weight_decay != 0 && o->form == FM_FORM_FOREACH) make_list(l, list);
    momentum_buffers(l, 0, l->trained);
    record_step(l, 0, l->trained, NULL);
    drop_list(l, list);
}

/* ---- loss scaler (torch.amp.GradScaler) ---- */

static void divide_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = new_like(l, g, (enum fm_dtype)g->dtype);
    record_unary(l, FM_SCALE, n->attr->alpha, 0, out[0], g);
}

static void scale_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = new_like(l, g, (enum fm_dtype)g->dtype);
    record_binary(l, FM_MUL, 0, out[0], g, n->unpacked[0]);
}

/* what backward starts from: divided by the accumulation, times the loss scale; owned */
struct var *scale_loss(struct lower *l, struct var *loss)
{
    struct var *v = keep_var(loss);
    if (failed(l)) return v;
    uint32_t label = l->label;
    if (l->policy->accumulate > 1) {
        l->label = fm_program_name(l->program, "accumulate.divide");
        double share = 1.0 / l->policy->accumulate;
        struct node *n = new_node(l, divide_backward, &v, 1);
        set_attr(l, n, &(struct fm_attr){ .alpha = share });
        struct tensor *y = new_scalar(l, (enum fm_dtype)v->x->dtype);
        record_unary(l, FM_SCALE, share, 0, y, v->x);
        drop_var(l, v);
        v = result(l, y, n);
    }
    if (l->policy->loss_scaler && v) {
        l->label = fm_program_name(l->program, "loss_scaler");
        if (!l->scale) {
            l->scale = new_vector(l, 1, FM_F32);
            record_fill(l, l->scale, INITIAL_SCALE);
            l->growth_tracker = new_vector(l, 1, FM_F32);
            record_fill(l, l->growth_tracker, 0);
            set_kind(l, l->scale, FM_STORAGE_OPTIMIZER);
            set_kind(l, l->growth_tracker, FM_STORAGE_OPTIMIZER);
        }
        struct node *n = new_node(l, scale_backward, &v, 1);
        save(l, n, l->scale);
        struct tensor *y = new_scalar(l, (enum fm_dtype)v->x->dtype);
        record_binary(l, FM_MUL, 0, y, v->x, l->scale);
        drop_var(l, v);
        v = result(l, y, n);
    }
    l->label = label;
    return v;
}

static void unscale(struct lower *l)
{
    l->found_inf = new_scalar(l, FM_F32);
    record_fill(l, l->found_inf, 0);
    struct tensor *wide = new_scalar(l, FM_F64);            /* scale.double().reciprocal().float() */
    struct tensor *reciprocal = new_scalar(l, FM_F64);
    drop(l, wide);
    struct tensor *inverse = new_scalar(l, FM_F32);
    drop(l, reciprocal);
    struct fm_operand *operand = scratch_operands(l, (size_t)l->trained + 2);
    uint32_t n = 0;
    if (operand) {
        operand[n++] = operand_of(l->found_inf);
        for (uint32_t i = 0; i < l->trained; i++)
            if (l->param[l->order[i]]->grad) operand[n++] = operand_of(l->param[l->order[i]]->grad);
        operand[n] = operand_of(l->scale);
        record_operands(l, FM_K_AMP_UNSCALE, NULL, operand, n, 1);
    }
    drop(l, inverse);
}

void optimizer_step(struct lower *l)
{
    const struct fm_optimizer *o = &l->policy->optimizer;
    if (failed(l)) return;
    l->label = fm_program_name(l->program, "optimizer");
    struct tensor **list = fm_calloc((size_t)l->trained + 1, sizeof *list);
    if (!list) {
        lower_fail(l, FM_NOMEM, "lowering");
        return;
    }
    if (l->policy->loss_scaler) unscale(l);
    if (!adaptive(l)) {
        sgd(l, list);
    } else {
        make_state(l);
        if (o->form == FM_FORM_FOREACH) adam_foreach(l, list);
        else if (o->form == FM_FORM_LOOP) adam_loop(l);
        else record_step(l, 0, l->trained, NULL);
    }
    if (l->found_inf) {
        record(l, FM_K_AMP_UPDATE, NULL, (struct tensor *[]){ l->scale, l->growth_tracker }, 2, &l->found_inf, 1);
        drop(l, l->found_inf);
        l->found_inf = NULL;
    }
    for (uint32_t i = 0; i < l->trained && !failed(l); i++) {       /* zero_grad, in parameter order */
        struct var *p = l->param[l->order[i]];
        if (!p->grad) continue;
        if (l->policy->keep_grads) {
            record_fill(l, p->grad, 0);
        } else {
            drop(l, p->grad);
            p->grad = NULL;
        }
    }
    fm_free(list);
}
