/* How a plan is put together; see onednn.h for what it is. */
#ifndef FM_PROBES_BACKENDS_CPU_ONEDNN_INTERNAL_H
#define FM_PROBES_BACKENDS_CPU_ONEDNN_INTERNAL_H

#include "probes/backends/cpu/onednn.h"
#include "probes/backends/cpu/onednn_compat.h"

#define FM_DNN_STEPS 12
#define FM_DNN_ARGS 6

struct fm_dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int threads;
    char version[32];
};

/* where a step finds a tensor: an operand of the problem, or a part of the workspace */
struct fm_dnn_place {
    int operand;                /* -1: workspace */
    int64_t offset;             /* bytes into the workspace */
};

struct fm_dnn_arg {
    int id;                     /* DNNL_ARG_... */
    struct fm_dnn_place place;
    dnnl_memory_t memory;
};

struct fm_dnn_step {
    enum { FM_DNN_PRIMITIVE, FM_DNN_OWN, FM_DNN_FLIP } kind;
    /* a primitive; its descriptor is dropped once the code is generated */
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive;
    struct fm_dnn_arg arg[FM_DNN_ARGS];
    int args;
    /* one of the backend's own kernels, or a flip: output first */
    enum fm_kernel kernel;
    struct fm_operand operand[3];
    struct fm_dnn_place place[3];
    int operands;
};

struct fm_dnn_plan {
    struct fm_dnn_step step[FM_DNN_STEPS];
    int steps;
    int64_t workspace_bytes;
    char what[48];
};

/* A tensor on its way to or from a primitive. */
struct fm_dnn_tensor {
    struct fm_operand operand;          /* view of it as it lies now */
    struct fm_dnn_place place;
    struct fm_dnn_desc desc;            /* the same to oneDNN; released by the caller */
};

dnnl_data_type_t fm_dnn_type(enum fm_dtype dtype);      /* dnnl_data_type_undef if there is none */
fm_status fm_dnn_check(dnnl_status_t status, const char *doing, struct fm_err *err) FM_MUST_USE;
/* gives (B, C, spatial...) dense channels-last strides */
void fm_dnn_channels_last(struct fm_operand *o);
/* a plan's next part of the workspace */
struct fm_dnn_place fm_dnn_take(struct fm_dnn_plan *plan, size_t bytes);

/* out = a (cast); with b, out = a + b; with neither, out = 0 */
void fm_dnn_add_own(struct fm_dnn_plan *plan, const struct fm_dnn_tensor *out, const struct fm_dnn_tensor *a,
                    const struct fm_dnn_tensor *b);
/* out (dense) = in with all dimensions but the first two reversed; the same type */
void fm_dnn_add_flip(struct fm_dnn_plan *plan, const struct fm_dnn_tensor *out, const struct fm_dnn_tensor *in);
/* takes pd over, also on failure; adds the scratchpad. Arguments' memory is made here from `desc`. */
struct fm_dnn_binding { int id; struct fm_dnn_place place; const struct fm_dnn_desc *desc; };
fm_status fm_dnn_add_primitive(struct fm_dnn *dnn, struct fm_dnn_plan *plan, dnnl_primitive_desc_t pd,
                               const struct fm_dnn_binding *binding, int bindings, struct fm_err *err) FM_MUST_USE;
/* *at lies as `from` says; makes it lie as `to` wants, in the workspace unless it does already */
fm_status fm_dnn_add_reorder(struct fm_dnn *dnn, struct fm_dnn_plan *plan, const struct fm_dnn_binding *from,
                             const struct fm_dnn_binding *to, struct fm_err *err) FM_MUST_USE;

fm_status fm_dnn_plan_conv(struct fm_dnn *dnn, const struct fm_problem *problem, struct fm_dnn_plan *plan,
                           struct fm_err *err) FM_MUST_USE;
/* place: where each operand lies; NULL: operand i is operand i of the plan */
fm_status fm_dnn_plan_matmul(struct fm_dnn *dnn, const struct fm_problem *problem, const struct fm_dnn_place *place,
                             struct fm_dnn_plan *plan, struct fm_err *err) FM_MUST_USE;
/* a convolution that is a matrix product over positions */
bool fm_dnn_is_pointwise(const struct fm_problem *problem);
fm_status fm_dnn_plan_pointwise(struct fm_dnn *dnn, const struct fm_problem *problem, struct fm_dnn_plan *plan,
                                struct fm_err *err) FM_MUST_USE;
/* is this implementation one of oneDNN's slow reference loops? */
bool fm_dnn_is_reference(const char *implementation);
/* the reason why there is nothing for `dtype` here */
fm_status fm_dnn_unsupported(const struct fm_problem *problem, enum fm_dtype dtype, struct fm_err *err);

#endif
