/* Non-reentrant checkpointing (rules 31, 32, 55): a block under it saves slots instead of tensors; the first unpack
 * in backward runs the block again, up to the last tensor it needs. */
#include "workloads/lower/internal.h"

#include "tuner/base/memory.h"

static void hold_input(struct lower *l, struct frame *f, fm_value v)
{
    for (uint32_t i = 0; i < f->inputs; i++)
        if (f->input[i].value == v) return;
    f->input[f->inputs].value = v;
    f->input[f->inputs++].var = keep_var(l->value[v]);
}

struct frame *checkpoint_begin(struct lower *l, const struct fm_block *block)
{
    const struct fm_body *body = l->body;
    struct frame *f = lower_alloc(l, &l->arena, sizeof *f);
    if (!f) return NULL;
    f->block = block;
    f->autocast = l->autocast;
    f->input = lower_alloc(l, &l->arena, MAX_EDGES * sizeof *f->input);
    uint32_t mark = (uint32_t)(block - body->block) + 1;
    for (size_t s = block->first; s <= block->last && !failed(l); s++) {
        if (body->stmt[s].kind != FM_STMT_OP) continue;
        const struct fm_node *op = &body->node[body->stmt[s].a];
        l->made_in[op->out] = mark;
        for (uint32_t i = 0; i < op->n_in; i++) {
            fm_value v = body->arg[op->in + i];
            if (body->value[v].role == FM_ROLE_PARAM || l->made_in[v] == mark) continue;
            if (f->inputs == MAX_EDGES) {
                lower_fail(l, FM_UNSUPPORTED, "block %s reads more than %d outer values", block->name, MAX_EDGES);
                return NULL;
            }
            hold_input(l, f, v);
        }
    }
    return failed(l) ? NULL : f;
}

void frame_release_slot(struct lower *l, struct frame *f)
{
    if (--f->unreleased) return;
    for (uint32_t i = 0; i < f->inputs; i++) drop_var(l, f->input[i].var);
    f->inputs = 0;
}

static void drop_local(struct lower *l, fm_value v)
{
    drop_var(l, l->local[v]);
    l->local[v] = NULL;
}

void recompute(struct lower *l, struct frame *f)
{
    const struct fm_body *body = l->body;
    f->recomputed = lower_alloc(l, &l->arena, (f->slots + 1) * sizeof *f->recomputed);
    if (failed(l)) return;
    struct frame *outer_frame = l->frame;
    uint32_t outer_label = l->label, outer_op = l->op_index, outer_count = l->recomputed;
    size_t outer_nodes = l->node_count;
    bool outer_autocast = l->autocast;
    l->frame = f;
    l->recomputing = true;
    l->stopped = f->slots == 0;
    l->recomputed = 0;
    if (f->autocast) autocast_enter(l);
    for (uint32_t i = 0; i < f->inputs; i++) l->local[f->input[i].value] = keep_var(f->input[i].var);
    run_statements(l, f->block->first + 1, f->block->last, l->local);
    for (uint32_t i = 0; i < f->inputs; i++) drop_local(l, f->input[i].value);
    for (size_t s = f->block->first; s <= f->block->last; s++)
        if (body->stmt[s].kind == FM_STMT_OP) drop_local(l, body->node[body->stmt[s].a].out);
    if (f->autocast) autocast_exit(l);
    if (!failed(l) && l->recomputed != f->slots)
        lower_fail(l, FM_FAILED, "block %s saved %u tensors and recomputed %u", f->block->name, f->slots,
                   l->recomputed);
    l->autocast = outer_autocast;
    l->frame = outer_frame;
    l->recomputing = l->stopped = false;
    l->recomputed = outer_count;
    l->node_count = outer_nodes;
    l->label = outer_label;
    l->op_index = outer_op;
}
