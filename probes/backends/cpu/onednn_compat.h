/* oneDNN's C API in the few forms that the cpu backend uses, the same over versions 2 (from 2.6, Debian 12's)
 * and 3: descriptors are values to the caller, primitive descriptors come ready with a user-managed scratchpad.
 *
 * Sizes and strides are in elements, in oneDNN's order of dimensions. Functions return oneDNN's own status;
 * dnnl_unimplemented means that neither the CPU nor the library has it. A zeroed descriptor is empty and may be
 * released. Source: oneDNN developer guide 2.6 and 3.x, "Transition from v2.x to v3.x". */
#ifndef FM_PROBES_BACKENDS_CPU_ONEDNN_COMPAT_H
#define FM_PROBES_BACKENDS_CPU_ONEDNN_COMPAT_H

#include <oneapi/dnnl/dnnl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* a dense or strided tensor, or one whose layout oneDNN shall choose */
struct fm_dnn_shape {
    int ndim;
    bool any;
    dnnl_data_type_t type;
    dnnl_dims_t size, stride;
};

struct fm_dnn_desc {
    bool filled;
    dnnl_memory_desc_t desc;
};

enum fm_dnn_direction { FM_DNN_FORWARD, FM_DNN_DGRAD, FM_DNN_WGRAD };

/* descriptors are borrowed; bias may be NULL. Dilation as oneDNN counts: 0 is none. */
struct fm_dnn_conv {
    enum fm_dnn_direction direction;
    const struct fm_dnn_desc *src, *weights, *bias, *dst;
    dnnl_dims_t stride, dilation, padding_left, padding_right;
};

/* y = alpha * (a @ b + bias); bias may be NULL */
struct fm_dnn_matmul {
    const struct fm_dnn_desc *a, *b, *bias, *y;
    double alpha;
};

dnnl_status_t fm_dnn_desc_init(struct fm_dnn_desc *desc, const struct fm_dnn_shape *shape);
void fm_dnn_desc_release(struct fm_dnn_desc *desc);
size_t fm_dnn_desc_bytes(const struct fm_dnn_desc *desc);
bool fm_dnn_desc_equal(const struct fm_dnn_desc *a, const struct fm_dnn_desc *b);
/* what a primitive descriptor wants as dnnl_query_src_md, ..._scratchpad_md; the caller releases it */
dnnl_status_t fm_dnn_desc_query(struct fm_dnn_desc *desc, const_dnnl_primitive_desc_t pd, dnnl_query_t what);

/* memory without a buffer: dnnl_memory_set_data_handle() before each use */
dnnl_status_t fm_dnn_memory_create(dnnl_memory_t *memory, const struct fm_dnn_desc *desc, dnnl_engine_t engine);

dnnl_status_t fm_dnn_conv_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_conv *conv, dnnl_engine_t engine);
dnnl_status_t fm_dnn_matmul_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_matmul *matmul, dnnl_engine_t engine);
dnnl_status_t fm_dnn_reorder_create(dnnl_primitive_desc_t *pd, const struct fm_dnn_desc *from,
                                    const struct fm_dnn_desc *to, dnnl_engine_t engine);
/* "jit:avx512_core"; "" if unknown; lives as long as pd */
const char *fm_dnn_implementation(const_dnnl_primitive_desc_t pd);

/* "avx512_core_bf16": what the library uses of this CPU */
const char *fm_dnn_isa(void);

#endif
