/* Writing a graph as YAML: one line a statement, sizes that scale with the batch as multiples of B. */
#include "workloads/graph/yaml.h"

#include "tuner/base/memory.h"
#include "workloads/graph/attributes.h"
#include "workloads/graph/names.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ID_BYTES (FM_NAME_BYTES + 16)

struct writer {
    const struct fm_graph *graph, *other;
    const struct fm_body *body, *other_body;
    int64_t batch, other_batch;
    struct fm_names params, used; /* names of parameters; of the body's values, each with its last suffix */
    struct fm_buf id_text;
    size_t *id; /* per value of the body: where its name begins in id_text */
    struct fm_buf *out;
    struct fm_err *err;
};

#define UNSUPPORTED(w, ...) FM_FAIL((w)->err, FM_UNSUPPORTED, __VA_ARGS__)

/* ---- are these one network at two batch sizes? ---- */

static bool value_matches(const struct fm_value_info *a, const struct fm_value_info *b)
{
    return a->dtype == b->dtype && a->role == b->role && a->index == b->index && a->alias == b->alias &&
           a->shape.ndim == b->shape.ndim;
}

static fm_status match_nodes(struct writer *w)
{
    const struct fm_body *a = w->body, *b = w->other_body;
    for (size_t i = 0; i < a->node_count; i++) {
        const struct fm_node *x = &a->node[i], *y = &b->node[i];
        if (x->op != y->op || x->in != y->in || x->n_in != y->n_in || x->out != y->out || strcmp(x->name, y->name) != 0)
            return FM_FAIL(w->err, FM_INVALID, "%s: operator %s at one batch is %s at the other", w->graph->name,
                           x->name, y->name);
        if (!fm_attr_equal(&x->attr, &y->attr))
            return UNSUPPORTED(w, "%s: an attribute of %s changes with the batch", w->graph->name, x->name);
    }
    return FM_OK;
}

static fm_status match_bodies(struct writer *w)
{
    const struct fm_body *a = w->body, *b = w->other_body;
    bool same = a->value_count == b->value_count && a->node_count == b->node_count && a->arg_count == b->arg_count &&
                a->stmt_count == b->stmt_count && a->block_count == b->block_count && a->output == b->output &&
                a->loss == b->loss && a->loop_variable_count == b->loop_variable_count;
    for (size_t i = 0; same && i < a->value_count; i++) same = value_matches(&a->value[i], &b->value[i]);
    for (size_t i = 0; same && i < a->arg_count; i++) same = a->arg[i] == b->arg[i];
    for (size_t i = 0; same && i < a->stmt_count; i++)
        same = a->stmt[i].kind == b->stmt[i].kind && a->stmt[i].a == b->stmt[i].a && a->stmt[i].b == b->stmt[i].b;
    for (size_t i = 0; same && i < a->block_count; i++)
        same = a->block[i].result == b->block[i].result && strcmp(a->block[i].name, b->block[i].name) == 0;
    for (size_t i = 0; same && i < a->loop_variable_count; i++)
        same = strcmp(a->loop_variable[i], b->loop_variable[i]) == 0;
    if (!same || w->batch == w->other_batch)
        return FM_FAIL(w->err, FM_INVALID, "%s: to write it, the same network is needed at two different batch sizes",
                       w->graph->name);
    return match_nodes(w);
}

static fm_status match_params(struct writer *w)
{
    if (w->graph->param_count != w->other->param_count)
        return FM_FAIL(w->err, FM_INVALID, "%s: %zu parameters at one batch, %zu at the other", w->graph->name,
                       w->graph->param_count, w->other->param_count);
    for (size_t i = 0; i < w->graph->param_count; i++) {
        const struct fm_param *a = &w->graph->param[i], *b = &w->other->param[i];
        bool same = strcmp(a->name, b->name) == 0 && fm_shape_equal(&a->shape, &b->shape) && a->dtype == b->dtype &&
                    a->init == b->init && !(a->value < b->value) && !(a->value > b->value) && a->order == b->order &&
                    a->buffer == b->buffer;
        if (!same) return UNSUPPORTED(w, "%s: parameter %s changes with the batch", w->graph->name, a->name);
    }
    return FM_OK;
}

/* ---- words and numbers ---- */

static bool is_plain(const char *word)
{
    static const char *const taken[] = { "true", "false", "null", "yes", "no", "on", "off" };
    if (!isalpha((unsigned char)word[0]) && word[0] != '_') return false;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (strcasecmp(word, taken[i]) == 0) return false;
    for (; *word; word++)
        if (!isalnum((unsigned char)*word) && !strchr("_.()/+~-", *word)) return false;
    return true;
}

static void put_word(struct writer *w, const char *word)
{
    if (is_plain(word)) {
        fm_buf_puts(w->out, word);
        return;
    }
    fm_buf_putc(w->out, '"');
    for (; *word; word++) {
        if (*word == '"' || *word == '\\') fm_buf_putc(w->out, '\\');
        fm_buf_putc(w->out, *word);
    }
    fm_buf_putc(w->out, '"');
}

static fm_status check_word(struct writer *w, const char *what, const char *word)
{
    const char *c = word;
    while (*c >= ' ' && *c <= '~') c++;
    if (*c || !*word)
        return UNSUPPORTED(w, "%s: %s '%s' cannot be written: printable ASCII, please", w->graph->name, what, word);
    return FM_OK;
}

/* the fewest digits that read back as the same number */
static void put_real(struct writer *w, double x)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, x);
        double back = strtod(text, NULL);
        if (!(back < x) && !(back > x)) break;
    }
    fm_buf_puts(w->out, text);
}

static fm_status put_size(struct writer *w, const char *where, int64_t size, int64_t other)
{
    if (size == other) {
        fm_buf_printf(w->out, "%" PRId64, size);
        return FM_OK;
    }
    int64_t times = size / w->batch;
    if (times < 1 || times * w->batch != size || times != other / w->other_batch || other % w->other_batch)
        return UNSUPPORTED(w,
                           "%s: a size of %s is %" PRId64 " at batch %" PRId64 " and %" PRId64 " at batch %" PRId64
                           ": neither constant nor a multiple of the batch",
                           w->graph->name, where, size, w->batch, other, w->other_batch);
    if (times > 1) fm_buf_printf(w->out, "%" PRId64, times);
    fm_buf_putc(w->out, 'B');
    return FM_OK;
}

/* sizes from..ndim of a shape, in brackets */
static fm_status put_shape(struct writer *w, const char *where, const struct fm_shape *a, const struct fm_shape *b,
                           uint32_t from)
{
    fm_buf_putc(w->out, '[');
    for (uint32_t d = from; d < a->ndim && d < FM_RANK; d++) {
        if (d > from) fm_buf_puts(w->out, ", ");
        fm_status status = put_size(w, where, a->size[d], b->size[d]);
        if (status != FM_OK) return status;
    }
    fm_buf_putc(w->out, ']');
    return FM_OK;
}

/* ---- parameters ---- */

static fm_status put_param(struct writer *w, const struct fm_param *p)
{
    static const char *const init[] = {
        [FM_INIT_CONSTANT] = "constant", [FM_INIT_UNIFORM] = "uniform", [FM_INIT_NORMAL] = "normal"
    };
    fm_status status = check_word(w, "parameter", p->name);
    if (status != FM_OK) return status;
    if (fm_names_find(&w->params, p->name) != FM_NO_NUMBER)
        return UNSUPPORTED(w, "%s: two parameters have the name %s", w->graph->name, p->name);
    if (p->dtype != FM_F32 && p->dtype != FM_I64)
        return UNSUPPORTED(w, "%s: parameter %s is neither f32 nor i64", w->graph->name, p->name);
    fm_names_add(&w->params, p->name, 1);
    fm_buf_puts(w->out, "  - {name: ");
    put_word(w, p->name);
    fm_buf_puts(w->out, ", shape: ");
    status = put_shape(w, p->name, &p->shape, &p->shape, 0);
    if (p->dtype == FM_I64) fm_buf_puts(w->out, ", dtype: i64");
    fm_buf_printf(w->out, ", %s: ", init[p->init]);
    put_real(w, p->value);
    if (p->buffer) fm_buf_puts(w->out, ", buffer: true");
    if (p->order) fm_buf_printf(w->out, ", order: %" PRIu32, p->order);
    fm_buf_puts(w->out, "}\n");
    return status;
}

/* ---- operators ---- */

static const char *id_of(const struct writer *w, fm_value v)
{
    const struct fm_value_info *info = &w->body->value[v];
    return info->role == FM_ROLE_PARAM ? w->graph->param[info->index].name : fm_buf_text(&w->id_text) + w->id[v];
}

static bool is_used(const struct writer *w, const char *id)
{
    return fm_names_find(&w->used, id) != FM_NO_NUMBER || fm_names_find(&w->params, id) != FM_NO_NUMBER;
}

/* a value is named after its operator; the second of a name is name~2 */
static fm_status name_value(struct writer *w, const struct fm_node *node)
{
    char id[ID_BYTES];
    fm_status status = check_word(w, "operator", node->name);
    if (status != FM_OK) return status;
    (void)snprintf(id, sizeof id, "%s", node->name);
    uint32_t last = fm_names_find(&w->used, node->name), n = last == FM_NO_NUMBER ? 1 : last;
    while (is_used(w, id)) (void)snprintf(id, sizeof id, "%s~%" PRIu32, node->name, ++n);
    fm_names_add(&w->used, id, 1);
    if (last != FM_NO_NUMBER) fm_names_set(&w->used, node->name, n);
    w->id[node->out] = w->id_text.bytes;
    fm_buf_add(&w->id_text, id, strlen(id) + 1);
    if (w->used.failed || w->params.failed || !fm_buf_ok(&w->id_text))
        return FM_FAIL(w->err, FM_NOMEM, "writing %s", w->graph->name);
    return FM_OK;
}

static void put_spatial(struct writer *w, const char *key, const int32_t *size, uint32_t dims, int32_t preset)
{
    bool equal = true;
    for (uint32_t d = 1; d < dims; d++) equal = equal && size[d] == size[0];
    if (equal && size[0] == preset) return;
    fm_buf_printf(w->out, equal ? ", %s: %" PRId32 : ", %s: [%" PRId32, key, size[0]);
    if (equal) return;
    for (uint32_t d = 1; d < dims; d++) fm_buf_printf(w->out, ", %" PRId32, size[d]);
    fm_buf_putc(w->out, ']');
}

static void put_bits(struct writer *w, const char *key, uint32_t bits)
{
    const char *between = "";
    fm_buf_printf(w->out, ", %s: [", key);
    for (uint32_t d = 0; d < FM_RANK; d++) {
        if (!(bits >> d & 1)) continue;
        fm_buf_printf(w->out, "%s%" PRIu32, between, d);
        between = ", ";
    }
    fm_buf_putc(w->out, ']');
}

static fm_status put_sizes(struct writer *w, const struct fm_node *node, const struct fm_attribute *row)
{
    const struct fm_node *other = &w->other_body->node[node - w->body->node];
    fm_buf_printf(w->out, ", %s: ", row->key);
    return put_shape(w, node->name, &node->attr.shape, &other->attr.shape, row->kind == FM_ATTRIBUTE_PLANE ? 2 : 0);
}

static fm_status put_attribute(struct writer *w, const struct fm_node *node, const struct fm_attribute *row)
{
    const void *at = (const char *)&node->attr + row->offset;
    const fm_value *in = &w->body->arg[node->in];
    uint32_t ndim = node->n_in ? w->body->value[in[0]].shape.ndim : 0;
    switch (row->kind) {
    case FM_ATTRIBUTE_INT:
        if (row->required || *(const int32_t *)at != (int32_t)row->preset)
            fm_buf_printf(w->out, ", %s: %" PRId32, row->key, *(const int32_t *)at);
        break;
    case FM_ATTRIBUTE_I64:
        if (row->required || *(const int64_t *)at != (int64_t)row->preset)
            fm_buf_printf(w->out, ", %s: %" PRId64, row->key, *(const int64_t *)at);
        break;
    case FM_ATTRIBUTE_REAL: {
        double x = *(const double *)at;
        if (!row->required && !(x < row->preset) && !(x > row->preset)) break;
        fm_buf_printf(w->out, ", %s: ", row->key);
        put_real(w, x);
        break;
    }
    case FM_ATTRIBUTE_FLAG:
        if (*(const bool *)at) fm_buf_printf(w->out, ", %s: true", row->key);
        break;
    case FM_ATTRIBUTE_SPATIAL: put_spatial(w, row->key, at, ndim - 2, (int32_t)row->preset); break;
    case FM_ATTRIBUTE_DIMS:
        if (row->required || !node->attr.all) put_bits(w, row->key, *(const uint32_t *)at);
        break;
    case FM_ATTRIBUTE_PAIR:
        fm_buf_printf(w->out, ", %s: [%" PRId32 ", %" PRId32 "]", row->key, node->attr.dim, node->attr.dim2);
        break;
    case FM_ATTRIBUTE_ORDER:
        fm_buf_printf(w->out, ", %s: [", row->key);
        for (uint32_t d = 0; d < ndim; d++)
            fm_buf_printf(w->out, d ? ", %" PRIu32 : "%" PRIu32, ((const uint32_t *)at)[d]);
        fm_buf_putc(w->out, ']');
        break;
    case FM_ATTRIBUTE_SHAPE:
    case FM_ATTRIBUTE_PLANE: return put_sizes(w, node, row);
    case FM_ATTRIBUTE_INPUT:
        fm_buf_printf(w->out, ", %s: %s", row->key, fm_input_names[*(const enum fm_input *)at]);
        break;
    }
    return FM_OK;
}

static fm_status put_op(struct writer *w, const struct fm_node *node)
{
    static const struct fm_op_attr none = { 0 };
    struct fm_op_attr rest = node->attr;
    fm_attr_clear_known(node->op, &rest);
    if (!fm_attr_equal(&rest, &none))
        return UNSUPPORTED(w, "%s: %s has an attribute that %s does not take", w->graph->name, node->name,
                           fm_op_row(node->op)->name);
    fm_status status = name_value(w, node);
    if (status != FM_OK) return status;
    fm_buf_printf(w->out, "    - {op: %s, name: ", fm_op_row(node->op)->name);
    put_word(w, node->name);
    for (uint32_t i = 0; i < node->n_in; i++) {
        fm_buf_puts(w->out, i ? ", " : ", in: [");
        put_word(w, id_of(w, w->body->arg[node->in + i]));
    }
    if (node->n_in) fm_buf_putc(w->out, ']');
    if (strcmp(id_of(w, node->out), node->name) != 0) {
        fm_buf_puts(w->out, ", out: ");
        put_word(w, id_of(w, node->out));
    }
    for (size_t i = 0; i < fm_attribute_count && status == FM_OK; i++)
        if (fm_attributes[i].op == node->op) status = put_attribute(w, node, &fm_attributes[i]);
    if (status != FM_OK) return status;
    fm_buf_puts(w->out, "}  # ");
    status = put_shape(w, node->name, &w->body->value[node->out].shape, &w->other_body->value[node->out].shape, 0);
    fm_buf_putc(w->out, '\n');
    return status;
}

/* ---- bodies ---- */

/* a run of drops is one line; returns how many statements it took */
static size_t put_drops(struct writer *w, size_t first)
{
    size_t n = 0;
    fm_buf_puts(w->out, "    - {drop: [");
    for (; first + n < w->body->stmt_count && w->body->stmt[first + n].kind == FM_STMT_DROP; n++) {
        if (n) fm_buf_puts(w->out, ", ");
        put_word(w, id_of(w, w->body->stmt[first + n].a));
    }
    fm_buf_puts(w->out, "]}\n");
    return n;
}

static fm_status put_stmt(struct writer *w, const struct fm_stmt *stmt)
{
    fm_status status = FM_OK;
    switch (stmt->kind) {
    case FM_STMT_OP: return put_op(w, &w->body->node[stmt->a]);
    case FM_STMT_BIND:
        status = check_word(w, "variable", w->body->loop_variable[stmt->a]);
        fm_buf_puts(w->out, "    - {bind: ");
        put_word(w, w->body->loop_variable[stmt->a]);
        fm_buf_puts(w->out, ", to: ");
        put_word(w, id_of(w, stmt->b));
        break;
    case FM_STMT_BLOCK_BEGIN:
        status = check_word(w, "block", w->body->block[stmt->a].name);
        fm_buf_puts(w->out, "    - {block: ");
        put_word(w, w->body->block[stmt->a].name);
        break;
    case FM_STMT_BLOCK_END:
        fm_buf_puts(w->out, "    - {end: ");
        put_word(w, id_of(w, w->body->block[stmt->a].result));
        break;
    case FM_STMT_DROP: break;
    }
    fm_buf_puts(w->out, "}\n");
    return status;
}

static fm_status put_body(struct writer *w, enum fm_body_kind kind)
{
    const struct fm_body *body = w->body = &w->graph->body[kind];
    w->other_body = &w->other->body[kind];
    w->batch = w->graph->batch[kind];
    w->other_batch = w->other->batch[kind];
    if (!body->stmt_count && !w->other_body->stmt_count) return FM_OK;
    fm_names_clear(&w->used);
    fm_buf_clear(&w->id_text);
    fm_status status = match_bodies(w);
    if (status != FM_OK) return status;
    if (body->output >= body->value_count) return UNSUPPORTED(w, "%s: a body without an output", w->graph->name);
    fm_buf_printf(w->out, "%s:\n  steps:\n", kind == FM_BODY_TRAIN ? "training" : "validation");
    for (size_t s = 0; s < body->stmt_count && status == FM_OK;) {
        if (body->stmt[s].kind == FM_STMT_DROP)
            s += put_drops(w, s);
        else
            status = put_stmt(w, &body->stmt[s++]);
    }
    if (status != FM_OK) return status;
    fm_buf_puts(w->out, "  output: ");
    put_word(w, id_of(w, body->output));
    if (kind == FM_BODY_TRAIN) {
        fm_buf_puts(w->out, "\n  loss: ");
        put_word(w, id_of(w, body->loss));
    }
    fm_buf_putc(w->out, '\n');
    return FM_OK;
}

static fm_status put_graph(struct writer *w)
{
    fm_status status = check_word(w, "graph", w->graph->name);
    if (status == FM_OK) status = match_params(w);
    if (status != FM_OK) return status;
    fm_buf_printf(w->out, "# %" PRId64 " parameters. B is the batch; what follows a step is the shape of its result.\n",
                  fm_graph_parameters(w->graph));
    fm_buf_puts(w->out, "fillmark_graph: 1\nname: ");
    put_word(w, w->graph->name);
    fm_buf_puts(w->out, w->graph->param_count ? "\nparameters:\n" : "\nparameters: []\n");
    for (size_t i = 0; i < w->graph->param_count && status == FM_OK; i++) status = put_param(w, &w->graph->param[i]);
    for (int kind = 0; kind < FM_BODY_COUNT && status == FM_OK; kind++) status = put_body(w, (enum fm_body_kind)kind);
    return status;
}

fm_status fm_graph_write(const struct fm_graph *graph, const struct fm_graph *other, struct fm_buf *out,
                         struct fm_err *err)
{
    struct writer w = { .graph = graph, .other = other, .id_text = FM_BUF((size_t)64 << 20), .out = out, .err = err };
    fm_status status = fm_graph_check(graph, err);
    if (status == FM_OK) status = fm_graph_check(other, err);
    if (status != FM_OK) return status;
    size_t values = graph->body[FM_BODY_TRAIN].value_count;
    if (graph->body[FM_BODY_VAL].value_count > values) values = graph->body[FM_BODY_VAL].value_count;
    w.id = fm_calloc(values + 1, sizeof *w.id);
    if (w.id) status = put_graph(&w);
    fm_free(w.id);
    fm_buf_release(&w.id_text);
    fm_names_release(&w.params);
    fm_names_release(&w.used);
    if (status != FM_OK) return status;
    return w.id && fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "writing %s", graph->name);
}
