#include "probes/backends/cpu/onednn_compat.h"

#include <string.h>

#define V3 (DNNL_VERSION_MAJOR >= 3)

dnnl_status_t fm_dnn_desc_init(struct fm_dnn_desc *desc, const struct fm_dnn_shape *shape)
{
    memset(desc, 0, sizeof *desc);
    dnnl_status_t status;
#if V3
    if (shape->any)
        status = dnnl_memory_desc_create_with_tag(&desc->desc, shape->ndim, shape->size, shape->type, dnnl_format_tag_any);
    else
        status = dnnl_memory_desc_create_with_strides(&desc->desc, shape->ndim, shape->size, shape->type, shape->stride);
#else
    if (shape->any)
        status = dnnl_memory_desc_init_by_tag(&desc->desc, shape->ndim, shape->size, shape->type, dnnl_format_tag_any);
    else
        status = dnnl_memory_desc_init_by_strides(&desc->desc, shape->ndim, shape->size, shape->type, shape->stride);
#endif
    desc->filled = status == dnnl_success;
    return status;
}

void fm_dnn_desc_release(struct fm_dnn_desc *desc)
{
#if V3
    if (desc->filled) dnnl_memory_desc_destroy(desc->desc);
#endif
    memset(desc, 0, sizeof *desc);
}

#if V3
static const_dnnl_memory_desc_t borrowed(const struct fm_dnn_desc *desc)
{
    return desc && desc->filled ? desc->desc : NULL;
}
#else
static const dnnl_memory_desc_t *borrowed(const struct fm_dnn_desc *desc)
{
    return desc && desc->filled ? &desc->desc : NULL;
}
#endif

size_t fm_dnn_desc_bytes(const struct fm_dnn_desc *desc)
{
    return desc->filled ? dnnl_memory_desc_get_size(borrowed(desc)) : 0;
}

bool fm_dnn_desc_equal(const struct fm_dnn_desc *a, const struct fm_dnn_desc *b)
{
    return a->filled && b->filled && dnnl_memory_desc_equal(borrowed(a), borrowed(b));
}

dnnl_status_t fm_dnn_desc_query(struct fm_dnn_desc *desc, const_dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    memset(desc, 0, sizeof *desc);
    dnnl_status_t status = dnnl_success;
#if V3
    const_dnnl_memory_desc_t found = dnnl_primitive_desc_query_md(pd, what, 0);
    if (found) status = dnnl_memory_desc_clone(&desc->desc, found);
#else
    const dnnl_memory_desc_t *found = dnnl_primitive_desc_query_md(pd, what, 0);
    if (found) desc->desc = *found;
#endif
    desc->filled = found && status == dnnl_success;
    return status;
}

dnnl_status_t fm_dnn_memory_create(dnnl_memory_t *memory, const struct fm_dnn_desc *desc, dnnl_engine_t engine)
{
    return dnnl_memory_create(memory, borrowed(desc), engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t append_linear(dnnl_post_ops_t ops, double alpha)
{
#if V3
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_linear, (float)alpha, 0.0f);
#else
    return dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_linear, (float)alpha, 0.0f);
#endif
}

static dnnl_status_t attributes(dnnl_primitive_attr_t *attr, double alpha)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    /* not what ONEDNN_DEFAULT_FPMATH_MODE in the environment says */
    if (status == dnnl_success) status = dnnl_primitive_attr_set_fpmath_mode(*attr, dnnl_fpmath_mode_strict);
    if (status == dnnl_success && alpha != 1) {
        status = dnnl_post_ops_create(&ops);
        if (status == dnnl_success) status = append_linear(ops, alpha);
        if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
        if (ops) dnnl_post_ops_destroy(ops);
    }
    if (status != dnnl_success) dnnl_primitive_attr_destroy(*attr);
    return status;
}

#if V3
static dnnl_status_t conv_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_conv *c, dnnl_engine_t engine,
                                 const_dnnl_primitive_attr_t attr)
{
    const_dnnl_memory_desc_t s = borrowed(c->src), w = borrowed(c->weights), b = borrowed(c->bias), d = borrowed(c->dst);
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    switch (c->direction) {
    case FM_DNN_FORWARD:
        return dnnl_convolution_forward_primitive_desc_create(pd, engine, dnnl_forward_training, direct, s, w, b, d, c->stride,
                                                              c->dilation, c->padding_left, c->padding_right, attr);
    case FM_DNN_DGRAD:
        return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, direct, s, w, d, c->stride, c->dilation,
                                                                    c->padding_left, c->padding_right, NULL, attr);
    case FM_DNN_WGRAD:
        return dnnl_convolution_backward_weights_primitive_desc_create(pd, engine, direct, s, w, b, d, c->stride, c->dilation,
                                                                       c->padding_left, c->padding_right, NULL, attr);
    }
    return dnnl_invalid_arguments;
}

static dnnl_status_t matmul_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_matmul *m, dnnl_engine_t engine,
                                   const_dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, borrowed(m->a), borrowed(m->b), borrowed(m->bias), borrowed(m->y), attr);
}
#else
static dnnl_status_t conv_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_conv *c, dnnl_engine_t engine,
                                 const_dnnl_primitive_attr_t attr)
{
    const dnnl_memory_desc_t *s = borrowed(c->src), *w = borrowed(c->weights), *b = borrowed(c->bias), *d = borrowed(c->dst);
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    dnnl_convolution_desc_t desc;
    dnnl_status_t status = dnnl_invalid_arguments;
    switch (c->direction) {
    case FM_DNN_FORWARD:
        status = dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_training, direct, s, w, b, d, c->stride,
                                                            c->dilation, c->padding_left, c->padding_right);
        break;
    case FM_DNN_DGRAD:
        status = dnnl_dilated_convolution_backward_data_desc_init(&desc, direct, s, w, d, c->stride, c->dilation,
                                                                  c->padding_left, c->padding_right);
        break;
    case FM_DNN_WGRAD:
        status = dnnl_dilated_convolution_backward_weights_desc_init(&desc, direct, s, w, b, d, c->stride, c->dilation,
                                                                     c->padding_left, c->padding_right);
        break;
    }
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : status;
}

static dnnl_status_t matmul_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_matmul *m, dnnl_engine_t engine,
                                   const_dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, borrowed(m->a), borrowed(m->b), borrowed(m->bias), borrowed(m->y));
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL) : status;
}
#endif

dnnl_status_t fm_dnn_conv_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_conv *conv, dnnl_engine_t engine)
{
    dnnl_primitive_attr_t attr;
    dnnl_status_t status = attributes(&attr, 1);
    if (status != dnnl_success) return status;
    status = conv_create(pd, conv, engine, attr);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

dnnl_status_t fm_dnn_matmul_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_matmul *matmul, dnnl_engine_t engine)
{
    dnnl_primitive_attr_t attr;
    dnnl_status_t status = attributes(&attr, matmul->alpha);
    if (status != dnnl_success) return status;
    status = matmul_create(pd, matmul, engine, attr);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

dnnl_status_t fm_dnn_reorder_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_desc *from,
                                    const struct fm_dnn_desc *to, dnnl_engine_t engine)
{
    dnnl_primitive_attr_t attr;
    dnnl_status_t status = attributes(&attr, 1);
    if (status != dnnl_success) return status;
    status = dnnl_reorder_primitive_desc_create(pd, borrowed(from), engine, borrowed(to), engine, attr);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

const char *fm_dnn_implementation(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    return status == dnnl_success && name ? name : "";
}

const char *fm_dnn_isa(void)
{
    static const struct { dnnl_cpu_isa_t isa; const char *name; } names[] = {
        { dnnl_cpu_isa_sse41, "sse41" },
        { dnnl_cpu_isa_avx, "avx" },
        { dnnl_cpu_isa_avx2, "avx2" },
        { dnnl_cpu_isa_avx2_vnni, "avx2_vnni" },
        { dnnl_cpu_isa_avx512_core, "avx512_core" },
        { dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni" },
        { dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16" },
        { dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx" },
#if V3
        { dnnl_cpu_isa_avx512_core_fp16, "avx512_core_fp16" },
        { dnnl_cpu_isa_avx2_vnni_2, "avx2_vnni_2" },
        { dnnl_cpu_isa_avx512_core_amx_fp16, "avx512_core_amx_fp16" },
#endif
    };
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].isa == isa) return names[i].name;
    return "unknown";
}
