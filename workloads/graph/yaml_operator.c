/* One operator of a graph's YAML: its inputs by name, its attributes by the table. */
#include "workloads/graph/yaml_internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"
#include "workloads/graph/attributes.h"

#include <inttypes.h>
#include <string.h>

#define MAX_KEYS 16

/* ---- values ---- */

/* notes what the builder made since the last time */
static fm_status note_values(struct fm_reader *r, uint32_t node)
{
    size_t count = r->b->body->value_count;
    struct fm_known *grown = fm_grow(r->known, &r->known_room, count, sizeof *grown);
    if (!grown) return fm_read_no_memory(r);
    r->known = grown;
    while (r->known_count < count) r->known[r->known_count++] = (struct fm_known){ .made = node };
    return FM_OK;
}

fm_status fm_find_value(struct fm_reader *r, uint32_t node, bool alive, fm_value *out)
{
    const char *name = NULL;
    fm_status status = fm_read_name(r, node, FM_ID_BYTES, &name);
    if (status != FM_OK) return status;
    uint32_t value = fm_names_find(&r->values, name), param = fm_names_find(&r->params, name);
    if (value == FM_NO_NUMBER && param == FM_NO_NUMBER) {
        const char *near = fm_names_nearest(&r->values, name);
        if (!*near) near = fm_names_nearest(&r->params, name);
        return BAD(r, node, "no value or parameter has the name '%s' here%s%s%s", name, *near ? "; did you mean '" : "",
                   near, *near ? "'?" : "");
    }
    if (value == FM_NO_NUMBER)
        value = fm_build_param(r->b, param);
    else if (alive && r->known[value].dropped)
        return BAD(r, node, "'%s' was dropped on line %" PRIu32 "; drop it later", name,
                   r->document.node[r->known[value].dropped].line);
    *out = value;
    return fm_read_builder_says(r, node);
}

/* ---- operators ---- */

struct call {
    uint32_t node; /* the statement */
    enum fm_op op;
    const char *name, *id;
    fm_value in[FM_GRAPH_MAX_INPUTS];
    uint32_t n_in;
    struct fm_op_attr attr;
};

static const struct fm_shape *input_shape(const struct fm_reader *r, const struct call *c, uint32_t i)
{
    static const struct fm_shape none = { 0 };
    return i < c->n_in ? &r->b->body->value[c->in[i]].shape : &none;
}

static fm_status read_spatial(struct fm_reader *r, const struct call *c, uint32_t node, const struct fm_attribute *row,
                              int32_t *out)
{
    uint32_t weight = input_shape(r, c, 1)->ndim, dims = weight == 4 ? 2 : 3, item = node;
    int64_t number = (int64_t)row->preset;
    fm_status status = FM_OK;
    if (node && is_a(r, node, FM_DOCUMENT_SEQUENCE)) status = fm_read_list(r, node, dims, dims, &item);
    for (uint32_t d = 0; d < dims && status == FM_OK; d++) {
        if (item) status = fm_read_integer(r, item, row->lo, row->hi, &number);
        out[d] = (int32_t)number;
        if (item != node) item = next_of(r, item);
    }
    return status;
}

/* a list of dimensions of the first input */
static fm_status read_dims(struct fm_reader *r, const struct call *c, uint32_t node, uint32_t n_least, uint32_t *out,
                           uint32_t *n)
{
    uint32_t ndim = input_shape(r, c, 0)->ndim, item = 0;
    fm_status status = ndim ? fm_read_list(r, node, n_least, ndim, &item) : BAD(r, node, "the input has no dimensions");
    for (*n = 0; status == FM_OK && item; item = fm_read_next_item(r, node, item)) {
        int64_t dim = 0;
        status = fm_read_integer(r, item, 0, ndim - 1.0, &dim);
        out[(*n)++] = (uint32_t)dim;
    }
    return status;
}

static fm_status read_plane(struct fm_reader *r, struct call *c, uint32_t node)
{
    struct fm_shape plane = { 0 };
    fm_status status = fm_read_shape(r, node, fm_build_batch(r->b), &plane, NULL);
    if (status != FM_OK) return status;
    if (plane.ndim != 2 || input_shape(r, c, 0)->ndim != 4)
        return BAD(r, node, "interpolate takes (B, C, H, W) and size: [H, W]");
    c->attr.shape = *input_shape(r, c, 0);
    c->attr.shape.size[2] = plane.size[0];
    c->attr.shape.size[3] = plane.size[1];
    return FM_OK;
}

static fm_status read_op_shape(struct fm_reader *r, struct call *c, uint32_t node)
{
    int hole = -1;
    bool reshape = c->op == FM_OP_reshape;
    fm_status status = fm_read_shape(r, node, fm_build_batch(r->b), &c->attr.shape, reshape ? &hole : NULL);
    if (status == FM_OK && hole >= 0)
        c->attr.shape.size[hole] = fm_shape_numel(input_shape(r, c, 0)) / fm_shape_numel(&c->attr.shape);
    return status;
}

static fm_status read_input_kind(struct fm_reader *r, uint32_t node, enum fm_input *out)
{
    size_t i = 0;
    while (i < 4 && strcmp(text(r, node), fm_input_names[i]) != 0) i++;
    *out = (enum fm_input)i;
    return i < 4 ? FM_OK
                 : BAD(r, node, "an input is volume, image, volume_labels or image_labels, not '%s'", text(r, node));
}

static fm_status read_dim_lists(struct fm_reader *r, struct call *c, uint32_t node, const struct fm_attribute *row)
{
    uint32_t dim[FM_RANK] = { 0 }, n = 0;
    fm_status status = read_dims(r, c, node, row->kind == FM_ATTRIBUTE_PAIR ? 2 : 1, dim, &n);
    if (status != FM_OK) return status;
    switch (row->kind) {
    case FM_ATTRIBUTE_DIMS:
        for (uint32_t i = 0; i < n; i++) {
            if (c->attr.dims >> dim[i] & 1) return BAD(r, node, "dimension %" PRIu32 " is here twice", dim[i]);
            c->attr.dims |= 1u << dim[i];
        }
        return FM_OK;
    case FM_ATTRIBUTE_PAIR:
        if (n != 2) return BAD(r, node, "two dimensions to swap, please");
        c->attr.dim = (int32_t)dim[0];
        c->attr.dim2 = (int32_t)dim[1];
        return FM_OK;
    default:
        if (n != input_shape(r, c, 0)->ndim)
            return BAD(r, node, "all %" PRIu32 " dimensions in their new order, please", input_shape(r, c, 0)->ndim);
        memcpy(c->attr.order, dim, sizeof dim);
        return FM_OK;
    }
}

static fm_status read_attribute(struct fm_reader *r, struct call *c, const struct fm_attribute *row)
{
    uint32_t node = get(r, c->node, row->key);
    void *at = (char *)&c->attr + row->offset;
    int64_t number = (int64_t)row->preset;
    fm_status status = FM_OK;
    if (!node && row->required) return BAD(r, c->node, "%s needs '%s'", fm_op_row(row->op)->name, row->key);
    switch (row->kind) {
    case FM_ATTRIBUTE_INT:
        if (node) status = fm_read_integer(r, node, row->lo, row->hi, &number);
        *(int32_t *)at = (int32_t)number;
        return status;
    case FM_ATTRIBUTE_I64:
        if (node) status = fm_read_integer(r, node, row->lo, row->hi, &number);
        *(int64_t *)at = number;
        return status;
    case FM_ATTRIBUTE_REAL:
        *(double *)at = row->preset;
        return node ? fm_read_real(r, node, row->lo, row->hi, at) : FM_OK;
    case FM_ATTRIBUTE_FLAG: return node ? fm_read_flag(r, node, at) : FM_OK;
    case FM_ATTRIBUTE_SPATIAL: return read_spatial(r, c, node, row, at);
    case FM_ATTRIBUTE_SHAPE: return read_op_shape(r, c, node);
    case FM_ATTRIBUTE_PLANE: return read_plane(r, c, node);
    case FM_ATTRIBUTE_INPUT: return read_input_kind(r, node, at);
    default: break;
    }
    if (!node) { /* a mean without dims is over everything */
        c->attr.all = true;
        return FM_OK;
    }
    return read_dim_lists(r, c, node, row);
}

static fm_status read_call_keys(struct fm_reader *r, struct call *c)
{
    const char *keys[MAX_KEYS] = { "op", "name", "out", "in" };
    size_t count = fm_op_row(c->op)->inputs ? 4 : 3;
    for (size_t i = 0; i < fm_attribute_count && count < MAX_KEYS; i++)
        if (fm_attributes[i].op == c->op) keys[count++] = fm_attributes[i].key;
    return fm_document_check_keys(&r->document, c->node, keys, count, r->err);
}

static fm_status read_call_op(struct fm_reader *r, struct call *c)
{
    const char *names[FM_OP_COUNT];
    uint32_t node = get(r, c->node, "op");
    c->op = fm_op_parse(text(r, node));
    if (c->op != FM_OP_COUNT) return read_call_keys(r, c);
    for (int i = 0; i < FM_OP_COUNT; i++) names[i] = fm_op_row((enum fm_op)i)->name;
    const char *near = fm_nearest(text(r, node), names, FM_OP_COUNT);
    return BAD(r, node, "unknown op '%s'%s%s%s (docs/graph-yaml.md lists them)", text(r, node),
               near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static fm_status read_call_names(struct fm_reader *r, struct call *c)
{
    uint32_t name = get(r, c->node, "name"), id = get(r, c->node, "out");
    if (!name && !id) return BAD(r, c->node, "an operator needs a name");
    fm_status status = fm_read_name(r, name ? name : id, FM_NAME_BYTES, &c->name);
    if (status == FM_OK) status = fm_read_name(r, id ? id : name, FM_ID_BYTES, &c->id);
    if (status != FM_OK) return status;
    uint32_t old = fm_names_find(&r->values, c->id);
    if (old != FM_NO_NUMBER)
        return BAD(r, id ? id : name,
                   "there is a value '%s' already, from line %" PRIu32 "; name this result with out:", c->id,
                   r->document.node[r->known[old].made].line);
    if (fm_names_find(&r->params, c->id) != FM_NO_NUMBER)
        return BAD(r, id ? id : name, "there is a parameter '%s'; name this result with out:", c->id);
    return FM_OK;
}

static fm_status read_call_inputs(struct fm_reader *r, struct call *c)
{
    uint32_t in = get(r, c->node, "in"), item = 0;
    if (!fm_op_row(c->op)->inputs) return FM_OK;
    if (!in) return BAD(r, c->node, "%s needs 'in': the values it reads", fm_op_row(c->op)->name);
    fm_status status = fm_read_list(r, in, 1, FM_GRAPH_MAX_INPUTS, &item);
    for (; status == FM_OK && item; item = fm_read_next_item(r, in, item)) {
        fm_value v = FM_NO_VALUE;
        status = fm_find_value(r, item, true, &v);
        if (status != FM_OK) return status;
        if (r->b->body->value[v].role == FM_ROLE_RESULT && r->known[v].overwritten)
            return BAD(r, item, "'%s' was overwritten in place on line %" PRIu32 "; read that result", text(r, item),
                       r->document.node[r->known[v].overwritten].line);
        c->in[c->n_in++] = v;
    }
    return status;
}

/* kernels are the weights' sizes */
static void fill_kernel(const struct fm_reader *r, struct call *c)
{
    const struct fm_shape *weight = input_shape(r, c, 1);
    if (c->op != FM_OP_conv && c->op != FM_OP_conv_transpose) return;
    for (uint32_t d = 2; d < weight->ndim && d < 5; d++)
        c->attr.kernel[d - 2] = weight->size[d] > INT32_MAX ? INT32_MAX : (int32_t)weight->size[d];
}

fm_status fm_read_call(struct fm_reader *r, uint32_t node)
{
    struct call c = { .node = node };
    fm_status status;
    FM_TRY(read_call_op(r, &c));
    FM_TRY(read_call_names(r, &c));
    FM_TRY(read_call_inputs(r, &c));
    for (size_t i = 0; i < fm_attribute_count; i++)
        if (fm_attributes[i].op == c.op) FM_TRY(read_attribute(r, &c, &fm_attributes[i]));
    fill_kernel(r, &c);
    if (r->b->body->node_count >= FM_GRAPH_MAX_NODES) return BAD(r, node, "more than %d operators", FM_GRAPH_MAX_NODES);
    fm_value out = fm_build_emit(r->b, c.op, c.name, c.in, c.n_in, &c.attr);
    FM_TRY(fm_read_builder_says(r, node));
    fm_names_add(&r->values, c.id, out);
    if (r->values.failed) return fm_read_no_memory(r);
    FM_TRY(note_values(r, node));
    if (fm_op_row(c.op)->in_place) r->known[c.in[0]].overwritten = node;
out:
    return status;
}
