/* Runs statements of a body: operators, and the ends of Python references. */
#include "workloads/lower/internal.h"

#include <stdio.h>

struct var *value_of(struct lower *l, struct var **value, fm_value v)
{
    const struct fm_value_info *info = &l->body->value[v];
    return info->role == FM_ROLE_PARAM ? l->param[info->index] : value[v];
}

static uint32_t label_of(struct lower *l, uint32_t index)
{
    if (!l->node_label[index]) l->node_label[index] = fm_program_name(l->program, l->body->node[index].name);
    return l->node_label[index];
}

static void run_op(struct lower *l, uint32_t index, struct var **value)
{
    const struct fm_node *op = &l->body->node[index];
    struct var *in[64];
    if (op->n_in > 64) {
        lower_fail(l, FM_UNSUPPORTED, "%s has %u inputs", op->name, op->n_in);
        return;
    }
    for (uint32_t i = 0; i < op->n_in; i++) in[i] = value_of(l, value, l->body->arg[op->in + i]);
    l->label = label_of(l, index);
    l->op_index = index;
    op_fn run = lower_ops[op->op];
    struct var *out = run(l, op, in);
    if (failed(l) || l->stopped) drop_var(l, out);      /* early stop: the operator gave nothing */
    else value[op->out] = out;
}

/* a variable of the loop around the step is assigned: its last value dies */
static void bind(struct lower *l, uint32_t variable, struct var *v)
{
    if (l->policy->loop == FM_LOOP_PLAIN) return;
    struct var *old = l->loop_var[variable];
    l->loop_var[variable] = keep_var(v);
    drop_var(l, old);
}

/* Runs a block under checkpointing the first time: what it saves becomes slots of a frame. */
static size_t run_block(struct lower *l, const struct fm_block *block, struct var **value)
{
    struct frame *frame = checkpoint_begin(l, block);
    if (!frame) return block->last;
    l->frame = frame;
    run_statements(l, block->first + 1, block->last, value);
    l->frame = NULL;
    if (!frame->slots) {                                /* nothing in it needs a gradient */
        frame->unreleased = 1;
        frame_release_slot(l, frame);
    }
    return block->last;
}

void run_statements(struct lower *l, size_t first, size_t last, struct var **value)
{
    const struct fm_body *body = l->body;
    for (size_t s = first; s < last && !failed(l) && !l->stopped; s++) {
        const struct fm_stmt *stmt = &body->stmt[s];
        switch (stmt->kind) {
        case FM_STMT_OP:
            run_op(l, stmt->a, value);
            break;
        case FM_STMT_DROP:
            drop_var(l, value[stmt->a]);
            value[stmt->a] = NULL;
            break;
        case FM_STMT_BIND:
            bind(l, stmt->a, value[stmt->b]);
            break;
        case FM_STMT_BLOCK_BEGIN:
            if (l->grad && l->policy->checkpoint && l->policy->checkpoint[stmt->a])
                s = run_block(l, &body->block[stmt->a], value);
            break;
        case FM_STMT_BLOCK_END:
            break;
        }
    }
}
