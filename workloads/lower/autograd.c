/* The autograd engine: nodes, fan-in, accumulation (rules 13-18, 52-58). */
#include "workloads/lower/internal.h"

#include "tuner/base/memory.h"

#include <string.h>

struct node *new_node(struct lower *l, backward_fn fn, struct var *const *input, uint32_t n)
{
    bool any = false;
    for (uint32_t i = 0; i < n; i++) any |= needs(input[i]);
    if (!any || !l->grad || failed(l)) return NULL;
    struct node *node = lower_alloc(l, &l->arena, sizeof *node);
    struct meta *meta = lower_alloc(l, &l->arena, n * sizeof *meta);
    struct edge *edge = lower_alloc(l, &l->arena, n * sizeof *edge);
    struct node **grown = fm_grow(l->node, &l->node_room, l->node_count + 1, sizeof *grown);
    if (grown) l->node = grown;
    if (!grown || n > MAX_EDGES) lower_fail(l, grown ? FM_UNSUPPORTED : FM_NOMEM, "an operator of %u inputs", n);
    if (failed(l)) return NULL;
    l->node[l->node_count++] = node;
    node->backward = fn;
    node->op = &l->body->node[l->op_index];
    node->label = l->label;
    node->edges = n;
    node->meta = meta;
    node->edge = edge;
    for (uint32_t i = 0; i < n; i++) {
        struct var *v = input[i];
        if (!v) continue;
        struct meta *m = &meta[i];
        m->dtype = v->x->dtype;
        m->ndim = v->x->ndim;
        m->need = v->requires_grad;
        m->channels = v->x->store->channels;
        m->spatial = v->x->store->spatial;
        memcpy(m->size, v->x->size, sizeof m->size);
        memcpy(m->stride, v->x->stride, sizeof m->stride);
        if (!v->requires_grad) continue;
        if (v->fn) edge[i].fn = v->fn;
        else edge[i].leaf = v;
    }
    return node;
}

void save(struct lower *l, struct node *n, struct tensor *x)
{
    if (!n || !x || failed(l)) return;
    if (n->saved_count == MAX_SAVED) {
        lower_fail(l, FM_UNSUPPORTED, "%s saves more than %d tensors", n->op->name, MAX_SAVED);
        return;
    }
    if (!n->saved) n->saved = lower_alloc(l, &l->arena, MAX_SAVED * sizeof *n->saved);
    if (!n->saved) return;
    struct saved *s = &n->saved[n->saved_count++];
    if (!l->frame) {
        s->x = keep(x);
    } else if (!l->recomputing) {                   /* packed: only a slot is kept */
        *s = (struct saved){ .frame = l->frame, .slot = l->frame->slots++, .packed = true };
        l->frame->unreleased++;
    } else if (!l->stopped) {
        l->frame->recomputed[l->recomputed++] = keep(x);
        l->stopped = l->recomputed == l->frame->slots;      /* early stop (rule 32) */
    }
}

void set_attr(struct lower *l, struct node *n, const struct fm_attr *attr)
{
    struct fm_attr *copy = n ? lower_alloc(l, &l->arena, sizeof *copy) : NULL;
    if (!copy) return;
    *copy = *attr;
    n->attr = copy;
}

struct var *result(struct lower *l, struct tensor *x, struct node *n)
{
    struct var *v = new_var(l, x);
    if (!v) return NULL;
    v->fn = n;
    v->requires_grad = n != NULL;
    return v;
}

/* at::sum_to: undoes broadcasting; takes g */
static struct tensor *sum_to(struct lower *l, struct tensor *g, const struct meta *m)
{
    uint32_t dims = 0, lead = g->ndim - m->ndim;
    for (uint32_t d = 0; d < g->ndim; d++)
        if (d < lead || (m->size[d - lead] == 1 && g->size[d] != 1)) dims |= 1u << d;
    if (!dims) return g;
    int64_t size[FM_RANK], stride[FM_RANK];
    for (uint32_t d = 0; d < g->ndim; d++) size[d] = dims >> d & 1 ? 1 : g->size[d];
    struct tensor *sum = new_tensor(l, size, g->ndim, g->dtype, PLAIN);
    record_sum(l, 1, sum, g, dims);
    contiguous_strides(m->size, m->ndim, stride);
    struct tensor *out = new_view(l, sum, m->size, stride, m->ndim, 0);
    drop(l, sum);
    drop(l, g);
    return out;
}

/* What the engine makes of a gradient that a function returned (validate_outputs): the input's sizes and dtype.
 * Takes g. */
static struct tensor *fit(struct lower *l, struct tensor *g, const struct meta *m)
{
    if (!g || failed(l)) return g;
    struct tensor *sum = sum_to(l, g, m);
    if (!sum || sum->dtype == m->dtype) return sum;
    struct tensor *cast = new_like(l, sum, (enum fm_dtype)m->dtype);
    record_copy(l, cast, sum);
    drop(l, sum);
    return cast;
}

/* ---- the engine ---- */

/* fan-in (rules 14, 52, 58): in place iff the first gradient is dense and only the buffer holds it */
static void accumulate_buffer(struct lower *l, struct node *n, struct tensor *g)
{
    struct tensor *old = n->grad;
    if (!old) {
        n->grad = g;
        return;
    }
    l->label = n->label;
    bool in_place =
        l->policy->accounting == FM_ACCOUNTING_EAGER && is_dense(old) && old->refs == 1 && old->store->refs == 1;
    if (in_place) {
        record_binary(l, FM_ADD, 1, old, old, g);
        drop(l, g);
        return;
    }
    struct tensor *sum = new_like(l, !is_dense(old) && is_dense(g) ? g : old, old->dtype);
    record_binary(l, FM_ADD, 1, sum, old, g);
    n->grad = sum;
    drop(l, old);
    drop(l, g);
}

/* the layout contract of AccumulateGrad (rule 18) */
static bool stealable(const struct var *leaf, const struct tensor *g)
{
    if (g->refs != 1 || !is_dense(g)) return false;
    for (uint32_t d = 0; d < g->ndim; d++)
        if (g->size[d] != 1 && g->stride[d] != leaf->x->stride[d]) return false;
    return true;
}

static void accumulate_leaf(struct lower *l, struct var *leaf, struct tensor *g)
{
    if (leaf->grad) {
        record_binary(l, FM_ADD, 1, leaf->grad, leaf->grad, g);
        drop(l, g);
    } else if (stealable(leaf, g)) {
        leaf->grad = g;
    } else {
        leaf->grad = new_like(l, leaf->x, g->dtype);
        record_copy(l, leaf->grad, g);
        drop(l, g);
    }
    if (leaf->grad && leaf->param >= 0) set_kind(l, leaf->grad, FM_STORAGE_GRADIENT);
}

static void unpack(struct lower *l, struct node *n)
{
    for (uint32_t i = 0; i < n->saved_count && !failed(l); i++) {
        struct saved *s = &n->saved[i];
        if (!s->packed) {
            n->unpacked[i] = s->x;
            continue;
        }
        if (!s->frame->recomputed) recompute(l, s->frame);
        if (failed(l)) return;
        n->unpacked[i] = s->frame->recomputed[s->slot];
        s->frame->recomputed[s->slot] = NULL;
    }
}

/* rules 52 and 55: what was recomputed dies first, gradients are fitted to the inputs, grad_out and the saved tensors
 * die; then gradients move on */
static void run_node(struct lower *l, struct node *n)
{
    struct tensor *out[MAX_EDGES] = { 0 }, *unpacked[MAX_SAVED] = { 0 };
    n->unpacked = unpacked;
    l->label = n->label;
    l->op_index = (uint32_t)(n->op - l->body->node);
    unpack(l, n);
    if (failed(l)) return;
    l->label = n->label;
    n->backward(l, n, n->grad, out);
    for (uint32_t i = n->saved_count; i-- > 0;)
        if (n->saved[i].packed) drop(l, unpacked[i]);
    for (uint32_t i = 0; i < n->edges; i++) out[i] = fit(l, out[i], &n->meta[i]);
    drop(l, n->grad);
    n->grad = NULL;
    for (uint32_t i = 0; i < n->saved_count; i++) {
        if (n->saved[i].packed) frame_release_slot(l, n->saved[i].frame);
        else drop(l, n->saved[i].x);
    }
    for (uint32_t i = 0; i < n->edges && !failed(l); i++) {
        if (!out[i]) continue;
        l->label = n->label;
        if (n->edge[i].fn) accumulate_buffer(l, n->edge[i].fn, out[i]);
        else if (n->edge[i].leaf) accumulate_leaf(l, n->edge[i].leaf, out[i]);
        else drop(l, out[i]);
    }
}

void backward(struct lower *l, struct var *loss)
{
    if (failed(l) || !loss) return;
    if (!loss->fn) {
        lower_fail(l, FM_INVALID, "%s: the loss depends on no parameter", l->graph->name);
        return;
    }
    struct tensor *root = new_scalar(l, (enum fm_dtype)loss->x->dtype); /* held until backward() returns (rule 56) */
    record_fill(l, root, 1);
    loss->fn->grad = keep(root);
    for (size_t i = l->node_count; i-- > 0 && !failed(l);)
        if (l->node[i]->grad) run_node(l, l->node[i]);
    drop(l, root);
    l->node_count = 0;
    if (!failed(l)) arena_reset(&l->arena);
}
