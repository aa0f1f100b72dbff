#include "workloads/nets/layers.h"

#include "tuner/base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES 64

/* the grid a value's positions lie on, also after they were flattened to tokens */
struct space {
    uint32_t ndim;
    int64_t size[FM_RANK];
};

struct table {
    const struct fm_graph *graph;
    const struct fm_body *body;
    struct space *space; /* per value */
    struct fm_buf *out;
    uint32_t rows;
    double macs;
};

struct row {
    const struct fm_node *node;
    fm_value result;
    int64_t in, out;        /* channels */
    bool has_bias, spatial; /* spatial: kernel, stride and padding are written */
    double macs;
    char op[TEXT_BYTES], extra[2 * TEXT_BYTES];
};

static fm_value input(const struct table *t, const struct fm_node *node, uint32_t i)
{
    return t->body->arg[node->in + i];
}

static const struct fm_shape *input_shape(const struct table *t, const struct fm_node *node, uint32_t i)
{
    return &t->body->value[input(t, node, i)].shape;
}

/* what has no row: inputs, views, and an interpolation to the size that is there already */
static bool is_silent(const struct table *t, const struct fm_node *node)
{
    if (node->op == FM_OP_interpolate) return fm_shape_equal(input_shape(t, node, 0), &node->attr.shape);
    return node->op == FM_OP_input || node->op == FM_OP_reshape || node->op == FM_OP_transpose ||
           node->op == FM_OP_permute;
}

static void find_space(struct table *t, const struct fm_node *node)
{
    const struct fm_shape *shape = &t->body->value[node->out].shape;
    struct space *s = &t->space[node->out];
    switch (node->op) {
    case FM_OP_input:
    case FM_OP_conv:
    case FM_OP_conv_transpose:
    case FM_OP_interpolate:
        for (uint32_t d = 2; d < shape->ndim; d++) s->size[s->ndim++] = shape->size[d];
        break;
    default:
        if (node->n_in) *s = t->space[input(t, node, 0)];
    }
}

/* channels of a value: its elements over those of its grid; 0 if they do not divide */
static int64_t channels_of(const struct table *t, fm_value v)
{
    const struct space *s = &t->space[v];
    int64_t n = fm_shape_numel(&t->body->value[v].shape), grid = 1;
    for (uint32_t d = 0; d < s->ndim; d++) grid *= s->size[d];
    return n % grid ? 0 : n / grid;
}

static void put_shape(struct table *t, fm_value v)
{
    const struct fm_shape *shape = &t->body->value[v].shape;
    const struct space *s = &t->space[v];
    int64_t channels = channels_of(t, v);
    if (channels) {
        fm_buf_printf(t->out, "%" PRId64, channels);
        for (uint32_t d = 0; d < s->ndim; d++) fm_buf_printf(t->out, "x%" PRId64, s->size[d]);
        return;
    }
    for (uint32_t d = 0; d < shape->ndim; d++) fm_buf_printf(t->out, d ? "x%" PRId64 : "%" PRId64, shape->size[d]);
}

/* trained parameters and the bias among a layer's inputs */
static int64_t parameters_of(const struct table *t, const struct fm_node *node)
{
    int64_t n = 0;
    for (uint32_t i = 0; i < node->n_in; i++) {
        const struct fm_value_info *info = &t->body->value[input(t, node, i)];
        if (info->role == FM_ROLE_PARAM && !t->graph->param[info->index].buffer) n += fm_shape_numel(&info->shape);
    }
    return n;
}

/* 7x7 for all, or one number where the published tables have one */
static void put_sizes(struct table *t, const int32_t *size, uint32_t ndim)
{
    for (uint32_t d = 0; d < ndim; d++) fm_buf_printf(t->out, d ? "x%d" : "%d", size[d]);
    fm_buf_putc(t->out, '\t');
}

static void put_kernel(struct table *t, const struct row *r)
{
    const struct fm_op_attr *a = &r->node->attr;
    if (!r->spatial) {
        fm_buf_puts(t->out, "\t\t\t1\t\t");
    } else if (r->node->op == FM_OP_linear) {
        fm_buf_printf(t->out, "1\t1\t0\t1\t%d\t", r->has_bias);
    } else {
        uint32_t dims = t->body->value[r->result].shape.ndim - 2;
        bool cubic = r->node->op == FM_OP_conv_transpose; /* written once, where all dimensions agree */
        for (uint32_t d = 1; d < dims; d++)
            cubic =
                cubic && a->kernel[d] == a->kernel[0] && a->stride[d] == a->stride[0] && a->padding[d] == a->padding[0];
        put_sizes(t, a->kernel, cubic ? 1 : dims);
        put_sizes(t, a->stride, cubic ? 1 : dims);
        put_sizes(t, a->padding, cubic ? 1 : dims);
        fm_buf_printf(t->out, "%d\t%d\t", a->groups, r->has_bias);
    }
}

static void put_row(struct table *t, const struct row *r)
{
    const struct fm_node *node = r->node;
    fm_buf_printf(t->out, "%" PRIu32 "\t%s\t%s\t", t->rows++, node->name, r->op);
    fm_buf_printf(t->out, "%" PRId64, r->in);
    bool joins = node->op == FM_OP_cat || node->op == FM_OP_stack;
    for (uint32_t i = 1; joins && i < node->n_in; i++)
        fm_buf_printf(t->out, "+%" PRId64, channels_of(t, input(t, node, i)));
    fm_buf_printf(t->out, "\t%" PRId64 "\t", r->out);
    put_kernel(t, r);
    fm_buf_printf(t->out, "%s\t", r->extra);
    put_shape(t, r->result);
    fm_buf_printf(t->out, "\t%" PRId64 "\t%.0f\n", parameters_of(t, node), r->macs);
    t->macs += r->macs;
}

/* ---- attention ---- */

static const struct fm_node *next_loud(const struct table *t, const struct fm_node *node)
{
    const struct fm_node *end = t->body->node + t->body->node_count;
    do node++;
    while (node < end && is_silent(t, node));
    return node < end ? node : NULL;
}

/* softmax(q k^T * scale) v from `q k^T`: the last matmul; of sdpa itself; or NULL if this is none */
static const struct fm_node *attention_end(const struct table *t, const struct fm_node *scores)
{
    if (scores->op == FM_OP_sdpa) return scores;
    const struct fm_node *scale = scores->op == FM_OP_matmul ? next_loud(t, scores) : NULL;
    const struct fm_node *softmax = scale && scale->op == FM_OP_affine ? next_loud(t, scale) : scale;
    const struct fm_node *mixed = softmax && softmax->op == FM_OP_softmax ? next_loud(t, softmax) : NULL;
    if (!mixed || mixed->op != FM_OP_matmul || t->body->value[scores->out].shape.ndim != 4) return NULL;
    bool chained =
        input(t, softmax, 0) == (scale == softmax ? scores->out : scale->out) && input(t, mixed, 0) == softmax->out;
    if (scale != softmax) chained = chained && input(t, scale, 0) == scores->out;
    return chained ? mixed : NULL;
}

/* scores and mixed are one node where one kernel does it all */
static void put_attention(struct table *t, const struct fm_node *scores, const struct fm_node *mixed)
{
    const struct fm_shape *q = input_shape(t, scores, 0), *k = input_shape(t, scores, 1); /* (B, heads, N, d) */
    int64_t keys = k->size[scores == mixed ? 2 : 3];                                      /* (.., M, d), (.., d, M) */
    struct row r = { .node = scores, .result = mixed->out, .in = q->size[1] * q->size[3] };
    r.out = q->size[1] * t->body->value[mixed->out].shape.size[3];
    r.macs = fm_node_macs(t->body, mixed) + (scores == mixed ? 0 : fm_node_macs(t->body, scores));
    (void)snprintf(r.op, sizeof r.op, "softmax(qk^T*scale)v");
    (void)snprintf(r.extra, sizeof r.extra, "heads=%" PRId64 " hd=%" PRId64 " Nq=%" PRId64 " Nk=%" PRId64 " windows=1 ",
                   q->size[1], q->size[3], q->size[2], keys);
    put_row(t, &r);
}

/* ---- single operators ---- */

/* 1e-5, .1: without the zeros that %g writes */
static void short_number(char *text, size_t bytes, double x)
{
    char full[32];
    (void)snprintf(full, sizeof full, "%g", x);
    const char *from = strncmp(full, "0.", 2) == 0 ? full + 1 : full;
    char *zero = strstr(full, "e-0");
    if (zero) memmove(zero + 2, zero + 3, strlen(zero + 3) + 1);
    (void)snprintf(text, bytes, "%s", from);
}

static void describe_norm(struct row *r)
{
    const struct fm_op_attr *a = &r->node->attr;
    if (r->node->op == FM_OP_batch_norm) {
        char eps[32], momentum[32];
        short_number(eps, sizeof eps, a->eps);
        short_number(momentum, sizeof momentum, a->momentum);
        (void)snprintf(r->op, sizeof r->op, "batchnorm");
        (void)snprintf(r->extra, sizeof r->extra, "eps%s mom%s", eps, momentum);
    } else if (r->node->op == FM_OP_group_norm) {
        (void)snprintf(r->op, sizeof r->op, "groupnorm");
        (void)snprintf(r->extra, sizeof r->extra, "groups=%d eps=%g", a->groups, a->eps);
    } else {
        (void)snprintf(r->op, sizeof r->op, "layernorm(C)");
        (void)snprintf(r->extra, sizeof r->extra, "eps=%g", a->eps);
    }
}

static void describe_conv(const struct table *t, struct row *r)
{
    const struct fm_shape *w = input_shape(t, r->node, 1);
    r->spatial = true;
    r->has_bias = r->node->n_in > 2;
    r->in = input_shape(t, r->node, 0)->size[1];
    r->out = t->body->value[r->result].shape.size[1];
    (void)snprintf(r->op, sizeof r->op, r->node->op == FM_OP_conv ? "conv%" PRIu32 "d" : "convT%" PRIu32 "d",
                   w->ndim - 2);
}

static void describe(const struct table *t, struct row *r)
{
    const struct fm_op_attr *a = &r->node->attr;
    const char *op = fm_op_row(r->node->op)->name;
    switch (r->node->op) {
    case FM_OP_conv:
    case FM_OP_conv_transpose: describe_conv(t, r); return;
    case FM_OP_linear:
        r->spatial = true;
        r->has_bias = r->node->n_in > 2;
        r->in = input_shape(t, r->node, 1)->size[1];
        r->out = input_shape(t, r->node, 1)->size[0];
        break;
    case FM_OP_batch_norm:
    case FM_OP_group_norm:
    case FM_OP_layer_norm: describe_norm(r); return;
    case FM_OP_leaky_relu:
    case FM_OP_leaky_relu_:
        (void)snprintf(r->op, sizeof r->op, "leakyrelu%g%s", a->alpha,
                       r->node->op == FM_OP_leaky_relu ? "" : "(in-place)");
        return;
    case FM_OP_relu_: op = "relu(in-place)"; break;
    case FM_OP_gelu: op = "gelu(erf)"; break;
    case FM_OP_cat: op = a->dim == 1 ? "concat(C)" : "concat"; break;
    case FM_OP_interpolate: op = "bilinear align_corners=0"; break;
    default: break;
    }
    (void)snprintf(r->op, sizeof r->op, "%s", op);
}

static void put_node(struct table *t, const struct fm_node *node)
{
    struct row r = { .node = node, .result = node->out, .macs = fm_node_macs(t->body, node) };
    r.in = node->n_in ? channels_of(t, input(t, node, 0)) : 0;
    r.out = channels_of(t, node->out);
    describe(t, &r);
    put_row(t, &r);
}

static void put_rows(struct table *t)
{
    const struct fm_body *body = t->body;
    const struct fm_node *last = &body->node[body->value[body->output].index];
    fm_buf_puts(t->out, "#\tname\top\tCin\tCout\tk\tstride\tpad\tgroups\tbias\tnorm/extra\tout(CxSp)\tparams\tMAC\n");
    for (const struct fm_node *node = body->node; node <= last; node++) find_space(t, node);
    for (const struct fm_node *node = body->node; node <= last; node++) {
        if (is_silent(t, node)) continue;
        const struct fm_node *mixed = attention_end(t, node);
        if (mixed && mixed <= last) {
            put_attention(t, node, mixed);
            node = mixed;
        } else {
            put_node(t, node);
        }
    }
}

fm_status fm_layers_write_graph(const struct fm_graph *graph, struct fm_buf *out, struct fm_err *err)
{
    struct table t = { .graph = graph, .body = &graph->body[FM_BODY_TRAIN], .out = out };
    if (!t.body->node_count || graph->batch[FM_BODY_TRAIN] != 1)
        return FM_FAIL(err, FM_INVALID, "%s: a layer table needs a training body for one sample", graph->name);
    if (t.body->output >= t.body->value_count || t.body->value[t.body->output].role != FM_ROLE_RESULT)
        return FM_FAIL(err, FM_INVALID, "%s: a layer table ends with the training body's output, which is not set",
                       graph->name);
    t.space = fm_calloc(t.body->value_count, sizeof *t.space);
    int64_t saved = fm_saved_bytes(graph);
    if (!t.space || saved < 0) {
        fm_free(t.space);
        return FM_FAIL(err, FM_NOMEM, "layers of %s", graph->name);
    }
    put_rows(&t);
    fm_free(t.space);
    fm_buf_printf(out, "# total params %" PRId64 "  MAC %.0f  FLOPs(2*MAC) %.0f  saved_fp32_bytes/sample %" PRId64 "\n",
                  fm_graph_parameters(graph), t.macs, 2 * t.macs, saved);
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "layers of %s", graph->name);
}

fm_status fm_layers_write(const struct fm_settings *settings, struct fm_buf *out, struct fm_err *err)
{
    struct fm_graph graph = { 0 };
    fm_status status = fm_settings_build(settings, 1, 0, &graph, err);
    if (status == FM_OK) status = fm_layers_write_graph(&graph, out, err);
    fm_graph_release(&graph);
    return status;
}
