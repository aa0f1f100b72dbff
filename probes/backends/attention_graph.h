/* Attention in one kernel as cuDNN's graph API has it: a graph of products, element-wise operations and reductions that
 * its engines fuse. Shared by the backend that runs it and by the one that asks for a GPU that is not there, which call
 * cuDNN by different ways; the functions are given.
 *
 * Forward:  s = scale * q k^T;  top = max s;  e = exp(s - top);  total = sum e;  lse = top + log total;  y = e / total v
 * Backward: inner = sum(g * y);  p = exp(scale * q k^T - lse);  dv = p^T g;
 *           ds = scale * p * (g v^T - inner);  dk = ds^T q;  dq = ds k
 * Intermediate tensors are virtual, in f32; p and ds are rounded to the element type before products. Backward has two
 * tensors in memory that the caller gives as scratch: inner, and the sum of dq in f32, which must be zero before the
 * graph runs: engines add to it, and only from cuDNN 9.6 on do they zero it themselves. It is zeroed for all.
 *
 * The order of operations, the two tensors in memory and who zeroes which are those of NVIDIA's cudnn-frontend
 * (node/scaled_dot_product_flash_attention.h, compared at commit 3929da2), which cuDNN 9's engines match (vendor
 * documentation: cuDNN Graph API, "Fused Attention fprop / bprop"). Engines exist from FM_FLASH_CAPABILITY_MIN on
 * (pytorch.h), for f16 and bf16, heads of a multiple of 8 channels. */
#ifndef FM_PROBES_BACKENDS_ATTENTION_GRAPH_H
#define FM_PROBES_BACKENDS_ATTENTION_GRAPH_H

#include "tuner/base/status.h"
#include "workloads/program/program.h"

#define FM_ATTENTION_PARTS 80
#define FM_ATTENTION_TENSORS 13         /* most that lie in memory */

/* cuDNN's backend functions; each returns its status, 0 is success */
struct fm_attention_api {
    int (*create)(int type, void **descriptor);
    int (*set)(void *descriptor, int attribute, int type, int64_t count, const void *values);
    int (*finalize)(void *descriptor);
    int (*destroy)(void *descriptor);
};

/* numbers of cuDNN's interface that are used here alone (cudnn_graph.h); checked where its headers are */
#define FM_ATTENTION_CUDNN_LIST(X)                                                                                         \
    X(BACKEND_POINTWISE_DESCRIPTOR, 0) X(BACKEND_OPERATION_POINTWISE_DESCRIPTOR, 13) X(BACKEND_OPERATIONGRAPH_DESCRIPTOR, 15) \
    X(BACKEND_TENSOR_DESCRIPTOR, 17) X(BACKEND_MATMUL_DESCRIPTOR, 18) X(BACKEND_OPERATION_MATMUL_DESCRIPTOR, 19)           \
    X(BACKEND_REDUCTION_DESCRIPTOR, 21) X(BACKEND_OPERATION_REDUCTION_DESCRIPTOR, 22)                                      \
    X(BACKEND_OPERATION_RESHAPE_DESCRIPTOR, 31)                                                                            \
    X(ATTR_POINTWISE_MODE, 0) X(ATTR_POINTWISE_MATH_PREC, 1) X(ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, 750)                \
    X(ATTR_OPERATION_POINTWISE_XDESC, 751) X(ATTR_OPERATION_POINTWISE_BDESC, 752) X(ATTR_OPERATION_POINTWISE_YDESC, 753)   \
    X(ATTR_OPERATIONGRAPH_HANDLE, 800) X(ATTR_OPERATIONGRAPH_OPS, 801)                                                     \
    X(ATTR_TENSOR_BYTE_ALIGNMENT, 900) X(ATTR_TENSOR_DATA_TYPE, 901) X(ATTR_TENSOR_DIMENSIONS, 902)                        \
    X(ATTR_TENSOR_STRIDES, 903) X(ATTR_TENSOR_UNIQUE_ID, 906) X(ATTR_TENSOR_IS_VIRTUAL, 907) X(ATTR_TENSOR_IS_BY_VALUE, 908) \
    X(ATTR_MATMUL_COMP_TYPE, 1500) X(ATTR_OPERATION_MATMUL_ADESC, 1520) X(ATTR_OPERATION_MATMUL_BDESC, 1521)               \
    X(ATTR_OPERATION_MATMUL_CDESC, 1522) X(ATTR_OPERATION_MATMUL_DESC, 1523)                                               \
    X(ATTR_REDUCTION_OPERATOR, 1600) X(ATTR_REDUCTION_COMP_TYPE, 1601) X(ATTR_OPERATION_REDUCTION_XDESC, 1610)             \
    X(ATTR_OPERATION_REDUCTION_YDESC, 1611) X(ATTR_OPERATION_REDUCTION_DESC, 1612)                                         \
    X(ATTR_OPERATION_RESHAPE_XDESC, 2200) X(ATTR_OPERATION_RESHAPE_YDESC, 2201)                                            \
    X(TYPE_HANDLE, 0) X(TYPE_DATA_TYPE, 1) X(TYPE_BOOLEAN, 2) X(TYPE_INT64, 3) X(TYPE_POINTWISE_MODE, 14)                  \
    X(TYPE_BACKEND_DESCRIPTOR, 15) X(TYPE_REDUCTION_OPERATOR_TYPE, 18)                                                     \
    X(DATA_FLOAT, 0) X(DATA_HALF, 2) X(DATA_BFLOAT16, 9)                                                                   \
    X(POINTWISE_ADD, 0) X(POINTWISE_MUL, 1) X(POINTWISE_DIV, 6) X(POINTWISE_SUB, 9) X(POINTWISE_EXP, 13)                   \
    X(POINTWISE_LOG, 15) X(POINTWISE_IDENTITY, 21) X(REDUCE_TENSOR_ADD, 0) X(REDUCE_TENSOR_MAX, 3)
#define X(name, number) FM_ATTENTION_##name = (number),
enum fm_attention_cudnn { FM_ATTENTION_CUDNN_LIST(X) };
#undef X

struct fm_attention_graph {
    void *part[FM_ATTENTION_PARTS];     /* descriptors, the last of them the graph's */
    uint32_t parts;
    void *graph;
    int status;                         /* cuDNN's first failure; 0: none */
    const char *at;                     /* what failed */
};

/* FM_UNSUPPORTED with the reason: element types or sizes that no engine takes, told without asking */
fm_status fm_attention_check(const struct fm_problem *problem, struct fm_err *err) FM_MUST_USE;
/* SDPA or SDPA_BWD; handle: NULL where the device is described elsewhere. Fails as out->status says. Pointers to memory
 * of tensors are multiples of 16. */
void fm_attention_build(const struct fm_attention_api *api, const struct fm_problem *problem, void *handle,
                        struct fm_attention_graph *out);
void fm_attention_release(const struct fm_attention_api *api, struct fm_attention_graph *graph);

/* Scratch that the caller gives besides the engine's workspace, which comes first: bytes of it, and those from its end
 * that must be zero. 0 forward. */
struct fm_attention_scratch { int64_t bytes, zero_bytes; };
struct fm_attention_scratch fm_attention_scratch(const struct fm_problem *problem);

/* what a graph is run with: identifiers of tensors and their memory. Scalars point into the struct: do not copy it. */
struct fm_attention_pack {
    int64_t uid[FM_ATTENTION_TENSORS];
    void *data[FM_ATTENTION_TENSORS];
    int64_t count;
    float scale, one;
};
/* data: of the problem's operands; scratch: fm_attention_scratch bytes, 256-byte aligned */
void fm_attention_bind(const struct fm_problem *problem, void *const *data, void *scratch, struct fm_attention_pack *out);

#endif
