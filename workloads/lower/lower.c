/* The sections of a step program: model, training steps, validation. */
#include "workloads/lower/internal.h"

#include "tuner/base/memory.h"

#include <stdlib.h>
#include <string.h>


struct fm_policy fm_policy_default(void)
{
    return (struct fm_policy){
        .base = FM_F32, .autocast = FM_F32, .accumulate = 1,
        .optimizer = { .kind = FM_OPTIMIZER_ADAMW, .form = FM_FORM_FOREACH, .lr = 1e-4, .momentum = 0.9, .beta1 = 0.9,
                       .beta2 = 0.999, .eps = 1e-8 },
    };
}

/* of images and of weights with spatial dimensions */
enum layout image_layout(const struct lower *l) { return l->policy->channels_last ? CHANNELS_LAST : IMAGE; }

/* ---- parameters ---- */

static void make_parameter(struct lower *l, size_t index)
{
    const struct fm_param *p = &l->graph->param[index];
    enum fm_dtype dtype = p->dtype == FM_F32 ? l->policy->base : p->dtype;
    l->label = fm_program_name(l->program, p->name);
    struct tensor *x = new_tensor(l, p->shape.size, p->shape.ndim, dtype, image_layout(l));
    if (!x) return;
    set_kind(l, x, p->buffer ? FM_STORAGE_BUFFER : FM_STORAGE_PARAMETER);
    struct fm_attr attr = { .mode = (uint8_t)p->init, .alpha = p->value, .stream = index };
    if (p->init == FM_INIT_CONSTANT) record_fill(l, x, p->value);
    else record(l, FM_K_INIT, &attr, &x, 1, NULL, 0);
    struct var *v = new_var(l, x);
    if (!v) return;
    v->param = (int32_t)index;
    v->requires_grad = !p->buffer;
    l->param[index] = v;
}

struct ranked { uint32_t order, index; };

static int by_order(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Registration order is the optimizer's, and that of module.to(device); under a dispatch mode parameters are made on
 * the device as they are constructed. */
static void make_parameters(struct lower *l)
{
    size_t count = l->graph->param_count;
    struct ranked *rank = fm_calloc(count + 1, sizeof *rank);
    if (!rank) {
        lower_fail(l, FM_NOMEM, "lowering");
        return;
    }
    for (size_t i = 0; i < count; i++) rank[i] = (struct ranked){ l->graph->param[i].order, (uint32_t)i };
    qsort(rank, count, sizeof *rank, by_order);
    for (size_t i = 0; i < count && !failed(l); i++)
        make_parameter(l, l->policy->accounting == FM_ACCOUNTING_DISPATCH ? i : rank[i].index);
    for (size_t i = 0; i < count; i++)
        if (!l->graph->param[rank[i].index].buffer) l->order[l->trained++] = rank[i].index;
    fm_free(rank);
}

/* ---- bodies ---- */

static void leave_body(struct lower *l)
{
    fm_free(l->value);
    fm_free(l->local);
    fm_free(l->made_in);
    fm_free(l->resident);
    fm_free(l->node_label);
    l->value = l->local = NULL;
    l->made_in = l->node_label = NULL;
    l->resident = NULL;
}

static fm_status enter_body(struct lower *l, enum fm_body_kind kind)
{
    l->body = &l->graph->body[kind];
    l->training = l->grad = kind == FM_BODY_TRAIN;
    leave_body(l);
    size_t values = l->body->value_count + 1;
    l->value = fm_calloc(values, sizeof *l->value);
    l->local = fm_calloc(values, sizeof *l->local);
    l->made_in = fm_calloc(values, sizeof *l->made_in);
    l->resident = fm_calloc(values, sizeof *l->resident);
    l->node_label = fm_calloc(l->body->node_count + 1, sizeof *l->node_label);
    if (!l->value || !l->local || !l->made_in || !l->resident || !l->node_label) lower_fail(l, FM_NOMEM, "lowering");
    return l->status;
}

/* plain loop: the inputs exist once, before the steps */
static void make_resident(struct lower *l)
{
    if (l->policy->loop != FM_LOOP_PLAIN) return;
    for (size_t i = 0; i < l->body->node_count && !failed(l); i++) {
        const struct fm_node *op = &l->body->node[i];
        if (op->op != FM_OP_input) continue;
        l->label = fm_program_name(l->program, op->name);
        bool labels = l->body->value[op->out].dtype == FM_I64;
        l->resident[op->out] = new_tensor(l, op->attr.shape.size, op->attr.shape.ndim,
                                          labels ? FM_I64 : l->policy->base, labels ? PLAIN : image_layout(l));
        set_kind(l, l->resident[op->out], FM_STORAGE_INPUT);
    }
}

static void drop_resident(struct lower *l)
{
    for (size_t v = 0; v < l->body->value_count; v++) {
        drop(l, l->resident[v]);
        l->resident[v] = NULL;
    }
}

/* the variables of the loop move to storages that the next iteration knows them by */
static void carry_loop_variables(struct lower *l, uint32_t *reg)
{
    for (uint32_t i = 0; i < l->body->loop_variable_count && !failed(l); i++) {
        struct var *v = l->loop_var[i];
        if (!v || l->policy->loop == FM_LOOP_PLAIN) continue;
        struct store *s = v->x->store;
        if (reg[i] == FM_NONE) {
            struct fm_storage copy = l->program->storage[s->id];
            reg[i] = fm_program_storage(l->program, copy);
        }
        if (s->id == reg[i]) continue;
        fm_program_instr(l->program, FM_MOVE, reg[i], s->id);
        s->id = reg[i];
    }
}

static void phase(struct lower *l, enum fm_phase p)
{
    fm_program_instr(l->program, FM_PHASE, p, 0);
}

static void train_step(struct lower *l, uint32_t *reg)
{
    for (l->micro = 0; l->micro < l->policy->accumulate && !failed(l); l->micro++) {
        phase(l, FM_PHASE_FORWARD);
        /* the loss outlives its last use in the body: backward starts from it */
        struct var *loss = NULL;
        autocast_enter(l);
        for (size_t s = 0; s < l->body->stmt_count && !failed(l); s++) {
            const struct fm_stmt *stmt = &l->body->stmt[s];
            if (stmt->kind == FM_STMT_DROP && stmt->a == l->body->loss) loss = keep_var(l->value[stmt->a]);
            size_t next = stmt->kind == FM_STMT_BLOCK_BEGIN ? l->body->block[stmt->a].last + 1 : s + 1;
            run_statements(l, s, next, l->value);
            s = next - 1;
        }
        autocast_exit(l);
        if (loss && !failed(l)) fm_program_instr(l->program, FM_LOSS, loss->x->store->id, 0);
        struct var *scaled = scale_loss(l, loss);
        phase(l, FM_PHASE_BACKWARD);
        backward(l, scaled);
        drop_var(l, scaled);
        drop_var(l, loss);
    }
    l->micro = 0;
    phase(l, FM_PHASE_OPTIMIZER);
    optimizer_step(l);
    carry_loop_variables(l, reg);
}

static void val_step(struct lower *l, uint32_t *reg)
{
    phase(l, FM_PHASE_FORWARD);
    autocast_enter(l);
    run_statements(l, 0, l->body->stmt_count, l->value);
    autocast_exit(l);
    carry_loop_variables(l, reg);
}

static void no_registers(uint32_t *reg)
{
    for (int i = 0; i < FM_MAX_LOOP_VARIABLES; i++) reg[i] = FM_NONE;
}

/* validation runs in a function of its own: its variables die when it returns, those of training live on */
static void validation(struct lower *l)
{
    uint32_t reg[FM_MAX_LOOP_VARIABLES];
    struct var *outer[FM_MAX_LOOP_VARIABLES];
    no_registers(reg);
    memcpy(outer, l->loop_var, sizeof outer);
    memset(l->loop_var, 0, sizeof l->loop_var);
    fm_program_begin(l->program, FM_SECTION_VAL_FIRST);
    make_resident(l);
    val_step(l, reg);
    fm_program_begin(l->program, FM_SECTION_VAL);
    val_step(l, reg);
    fm_program_begin(l->program, FM_SECTION_VAL_EXIT);
    for (uint32_t i = 0; i < l->body->loop_variable_count; i++) drop_var(l, l->loop_var[i]);
    drop_resident(l);
    memcpy(l->loop_var, outer, sizeof outer);
}

/* views may have taken a store's image layout away after operands were recorded: make them agree */
static void settle_layouts(struct lower *l)
{
    if (!l->any_image_plain) return;
    for (size_t i = 0; i < l->program->operand_count; i++) {
        struct fm_operand *o = &l->program->operand[i];
        if (o->storage == FM_NONE || o->storage >= l->plain_room || !l->plain[o->storage]) continue;
        o->channels = o->spatial = 0;
    }
    for (uint32_t i = 0; i < l->program->call_count; i++) {     /* a problem's key knows its operands' layout */
        struct fm_problem problem = fm_program_problem(l->program, i);
        if (l->program->call[i].key) l->program->call[i].key = fm_problem_key(&problem);
    }
}

static void release(struct lower *l)
{
    arena_release(&l->arena);
    pool_release(&l->stores);
    pool_release(&l->tensors);
    pool_release(&l->vars);
    fm_free(l->node);
    fm_free(l->param);
    fm_free(l->state);
    fm_free(l->cast_cache);
    leave_body(l);
    fm_free(l->scratch);
    fm_free(l->order);
    fm_free(l->plain);
}

static fm_status check_policy(const struct fm_graph *graph, const struct fm_policy *p, struct fm_err *err)
{
    if (p->accumulate < 1 || p->accumulate > 1024)
        return FM_FAIL(err, FM_INVALID, "accumulate must be from 1 to 1024, not %u", p->accumulate);
    if (!graph->body[FM_BODY_TRAIN].stmt_count && !graph->body[FM_BODY_VAL].stmt_count)
        return FM_FAIL(err, FM_INVALID, "graph %s has neither a training nor a validation body", graph->name);
    return FM_OK;
}

static void lower_sections(struct lower *l)
{
    uint32_t reg[FM_MAX_LOOP_VARIABLES];
    no_registers(reg);
    fm_program_begin(l->program, FM_SECTION_INIT);
    make_parameters(l);
    if (l->graph->body[FM_BODY_TRAIN].stmt_count && enter_body(l, FM_BODY_TRAIN) == FM_OK) {
        make_resident(l);
        fm_program_begin(l->program, FM_SECTION_TRAIN_FIRST);
        train_step(l, reg);
        fm_program_begin(l->program, FM_SECTION_TRAIN);
        if (!failed(l)) train_step(l, reg);
    }
    if (!failed(l) && l->graph->body[FM_BODY_VAL].stmt_count && enter_body(l, FM_BODY_VAL) == FM_OK) validation(l);
}

fm_status fm_lower(const struct fm_graph *graph, const struct fm_policy *policy, struct fm_program *program,
                   struct fm_err *err)
{
    fm_status status = check_policy(graph, policy, err);
    if (status != FM_OK) return status;
    size_t count = graph->param_count + 1;
    struct lower l = { .graph = graph, .policy = policy, .program = program, .err = err };
    fm_program_clear(program);
    l.param = fm_calloc(count, sizeof *l.param);
    l.state = fm_calloc(count * FM_OPTIMIZER_STATES, sizeof *l.state);
    l.cast_cache = fm_calloc(count, sizeof *l.cast_cache);
    l.order = fm_calloc(count, sizeof *l.order);
    if (!l.param || !l.state || !l.cast_cache || !l.order) lower_fail(&l, FM_NOMEM, "lowering");
    else lower_sections(&l);
    settle_layouts(&l);
    release(&l);
    if (l.status != FM_OK) return l.status;
    int64_t batch = graph->batch[graph->body[FM_BODY_TRAIN].stmt_count ? FM_BODY_TRAIN : FM_BODY_VAL];
    program->samples = batch * policy->accumulate;
    return fm_program_finish(program, err);
}
