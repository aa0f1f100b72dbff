/* Autocast: casts as autograd operators, and the cache of weight casts (rules 23-29, 59, 60). */
#include "workloads/lower/internal.h"

static void cast_backward(struct lower *l, struct node *n, struct tensor *g, struct tensor **out)
{
    out[0] = new_like(l, g, (enum fm_dtype)n->meta[0].dtype);
    record_copy(l, out[0], g);
}

/* aten::_to_copy, recorded by autograd; saves nothing */
static struct var *to_copy(struct lower *l, struct var *v, enum fm_dtype dtype)
{
    struct node *n = new_node(l, cast_backward, &v, 1);
    struct tensor *y = new_like(l, v->x, dtype);
    record_copy(l, y, v->x);
    return result(l, y, n);
}

static bool is_float(const struct var *v)
{
    return v->x->dtype != FM_I64 && v->x->dtype != FM_BOOL;
}

struct var *cast_to(struct lower *l, struct var *v, enum fm_dtype dtype)
{
    if (!v || failed(l)) return NULL;
    if ((enum fm_dtype)v->x->dtype == dtype || !is_float(v)) return keep_var(v);
    bool cached = l->autocast && v->param >= 0 && v->requires_grad && dtype == l->policy->autocast;
    if (!cached) return to_copy(l, v, dtype);
    if (!l->cast_cache[v->param]) l->cast_cache[v->param] = to_copy(l, v, dtype);
    return keep_var(l->cast_cache[v->param]);
}

struct var *cast_low(struct lower *l, struct var *v)
{
    return l->autocast ? cast_to(l, v, l->policy->autocast) : keep_var(v);
}

struct var *cast_f32(struct lower *l, struct var *v)
{
    return l->autocast ? cast_to(l, v, FM_F32) : keep_var(v);
}

void autocast_enter(struct lower *l)
{
    l->autocast = l->policy->autocast != l->policy->base;
}

void autocast_exit(struct lower *l)
{
    if (!l->autocast) return;
    l->autocast = false;
    for (size_t p = 0; p < l->graph->param_count; p++) {
        drop_var(l, l->cast_cache[p]);
        l->cast_cache[p] = NULL;
    }
}
