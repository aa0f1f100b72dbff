/* Modules: their parameters in construction order, initialised as PyTorch does. */
#include "workloads/graph/build_internal.h"

#include "tuner/base/text.h"

#include <math.h>
#include <string.h>

void fm_parameter_group(struct fm_build *b, uint32_t order) { b->order = order; }

static void new_param(struct fm_build *b, struct fm_module *m, const char *suffix, struct fm_param param)
{
    struct fm_graph *g = &b->graph;
    if (b->body) fm_build_fail(b, "%s: modules are declared before a body is traced", m->name);
    struct fm_param *slot = fm_build_append(b, &g->param, &g->param_count, &g->param_room, sizeof *slot);
    if (!slot) return;
    param.order = b->order;
    (void)fm_text_copy(param.name, sizeof param.name, fm_part(m->name, suffix).text);
    if (strlen(m->name) + 1 + strlen(suffix) >= sizeof param.name)
        fm_build_fail(b, "%s.%s: a parameter's name has at most %zu bytes", m->name, suffix, sizeof param.name - 1);
    *slot = param;
    m->params++;
}

static struct fm_module new_module(struct fm_build *b, enum fm_op op, const char *name)
{
    struct fm_module m = { .op = op, .param = (uint32_t)b->graph.param_count };
    (void)fm_text_copy(m.name, sizeof m.name, name);
    return m;
}

struct fm_module fm_new_conv(struct fm_build *b, const char *name, struct fm_conv c)
{
    struct fm_module m = new_module(b, c.transposed ? FM_OP_conv_transpose : FM_OP_conv, name);
    int groups = c.groups ? c.groups : 1, stride = c.stride ? c.stride : 1;
    if (c.dims < 2 || c.dims > 3 || c.in < 1 || c.out < 1 || c.kernel < 1 || c.in % groups || c.out % groups) {
        fm_build_fail(b, "%s: a conv of %d dims, %d to %d channels, kernel %d, %d groups cannot be", name, c.dims, c.in,
                      c.out, c.kernel, groups);
        return m;
    }
    m.attr.groups = groups;
    struct fm_shape w = { .ndim = (uint32_t)c.dims + 2 };
    w.size[0] = c.transposed ? c.in : c.out;
    w.size[1] = (c.transposed ? c.out : c.in) / groups;
    double taps = 1;
    for (int d = 0; d < c.dims; d++) {
        m.attr.kernel[d] = c.kernel;
        m.attr.stride[d] = stride;
        m.attr.padding[d] = c.padding;
        m.attr.dilation[d] = 1;
        w.size[d + 2] = c.kernel;
        taps *= c.kernel;
    }
    double bound = 1.0 / sqrt(taps * (double)w.size[1]);      /* kaiming_uniform(a = sqrt 5) over fan-in */
    new_param(b, &m, "weight", (struct fm_param){ .shape = w, .init = FM_INIT_UNIFORM, .value = bound });
    if (c.bias)
        new_param(b, &m, "bias", (struct fm_param){ .shape = { 1, { c.out } }, .init = FM_INIT_UNIFORM, .value = bound });
    return m;
}

static void affine_params(struct fm_build *b, struct fm_module *m, struct fm_norm n)
{
    if (n.channels < 1) fm_build_fail(b, "%s: no channels", m->name);
    m->attr.eps = n.eps > 0 ? n.eps : 1e-5;
    struct fm_shape c = { 1, { n.channels } };
    new_param(b, m, "weight", (struct fm_param){ .shape = c, .value = 1 });
    new_param(b, m, "bias", (struct fm_param){ .shape = c });
}

struct fm_module fm_new_batch_norm(struct fm_build *b, const char *name, struct fm_norm norm)
{
    struct fm_module m = new_module(b, FM_OP_batch_norm, name);
    struct fm_shape c = { 1, { norm.channels } };
    affine_params(b, &m, norm);
    m.attr.momentum = 0.1;
    new_param(b, &m, "running_mean", (struct fm_param){ .shape = c, .buffer = true });
    new_param(b, &m, "running_var", (struct fm_param){ .shape = c, .buffer = true, .value = 1 });
    new_param(b, &m, "num_batches_tracked", (struct fm_param){ .dtype = FM_I64, .buffer = true });
    return m;
}

struct fm_module fm_new_group_norm(struct fm_build *b, const char *name, struct fm_norm norm)
{
    struct fm_module m = new_module(b, FM_OP_group_norm, name);
    affine_params(b, &m, norm);
    m.attr.groups = norm.groups;
    return m;
}

struct fm_module fm_new_layer_norm(struct fm_build *b, const char *name, struct fm_norm norm)
{
    struct fm_module m = new_module(b, FM_OP_layer_norm, name);
    affine_params(b, &m, norm);
    return m;
}

struct fm_module fm_new_linear(struct fm_build *b, const char *name, struct fm_linear l)
{
    struct fm_module m = new_module(b, FM_OP_linear, name);
    double bound = 1.0 / sqrt((double)l.in);
    new_param(b, &m, "weight", (struct fm_param){ .shape = { 2, { l.out, l.in } }, .init = FM_INIT_UNIFORM, .value = bound });
    new_param(b, &m, "bias", (struct fm_param){ .shape = { 1, { l.out } }, .init = FM_INIT_UNIFORM, .value = bound });
    return m;
}

fm_value fm_apply(struct fm_build *b, const struct fm_module *module, fm_value x)
{
    fm_value in[8] = { x };
    uint32_t n = 1;
    for (uint32_t i = 0; i < module->params && n < 8; i++) in[n++] = fm_build_param(b, module->param + i);
    return fm_build_emit(b, module->op, module->name, in, n, &module->attr);
}
