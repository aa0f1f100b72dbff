/* A network as data: parameters, and one body each for a training and a validation step.
 *
 * A body is a list of statements in the order Python would execute them: operators, and what decides how long a
 * value lives (rule 70): DROP where the last Python reference dies, BIND where a variable of the loop around the step
 * is rebound, BLOCK_BEGIN / BLOCK_END around what checkpointing may recompute. Values are written once (in-place
 * operators give a new value that aliases their input). Shapes hold the batch; float values are written as F32:
 * autocast is the lowering's business.
 *
 * Made by the builder (build.h) or read from YAML (yaml.h); checked by fm_graph_check. A graph owns its arrays. */
#ifndef FM_WORKLOADS_GRAPH_GRAPH_H
#define FM_WORKLOADS_GRAPH_GRAPH_H

#include "tuner/base/status.h"
#include "workloads/program/dtype.h"
#include "workloads/program/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_RANK 6                   /* most dimensions of a tensor */
#define FM_NAME_BYTES 56
#define FM_NO_VALUE UINT32_MAX
#define FM_GRAPH_MAX_NODES 100000
#define FM_GRAPH_MAX_NUMEL (INT64_C(1) << 45)

typedef uint32_t fm_value;          /* index into a body's values */

#define OP(name, inputs, autocast, in_place) FM_OP_##name,
enum fm_op {
#include "workloads/graph/ops.def"
    FM_OP_COUNT
};
#undef OP

enum fm_autocast { FM_AUTOCAST_NONE, FM_AUTOCAST_LOW, FM_AUTOCAST_F32, FM_AUTOCAST_INPUT, FM_AUTOCAST_PROMOTE };

struct fm_op_row {
    const char *name;
    uint32_t inputs;
    enum fm_autocast autocast;
    bool in_place;
};
const struct fm_op_row *fm_op_row(enum fm_op op);
enum fm_op fm_op_parse(const char *name);           /* FM_OP_COUNT if unknown */

struct fm_shape {
    uint32_t ndim;
    int64_t size[FM_RANK];
};
int64_t fm_shape_numel(const struct fm_shape *shape);
bool fm_shape_equal(const struct fm_shape *a, const struct fm_shape *b);

/* what INIT writes; uniform draws from (-bound, bound) */
enum fm_init { FM_INIT_CONSTANT, FM_INIT_UNIFORM, FM_INIT_NORMAL };

struct fm_param {
    char name[FM_NAME_BYTES];       /* "stem.conv.weight" */
    struct fm_shape shape;
    enum fm_dtype dtype;            /* F32, or I64 for counters */
    enum fm_init init;
    double value;                   /* constant, bound or standard deviation */
    uint32_t order;                 /* optimizer order: by (order, index); rule 67 */
    bool buffer;                    /* no gradient */
};

/* per-op attributes; what an op does not use is 0 */
struct fm_op_attr {
    int32_t kernel[3], stride[3], padding[3], dilation[3];     /* spatial order; unused 0 */
    int32_t groups;                 /* conv, group_norm */
    int32_t dim, dim2;              /* softmax, cat, argmax: dim; transpose: dim and dim2 */
    uint32_t dims;                  /* sum, mean: bit d set = dimension d reduced */
    uint32_t order[FM_RANK];        /* permute */
    bool keepdim, all;              /* all: mean over everything */
    double alpha, beta;             /* affine; leaky_relu slope; dropout probability; equal_scalar value; sdpa scale; log: log(x + beta) */
    double eps, momentum;
    int64_t ignore_index;
    int64_t classes;                /* one_hot, input labels */
    enum fm_input input;
    struct fm_shape shape;          /* reshape, interpolate: the result's; input: likewise */
};

struct fm_node {
    enum fm_op op;
    uint32_t in, n_in;              /* body->arg[in .. in + n_in) */
    fm_value out;
    char name[FM_NAME_BYTES];       /* the layer's, as the published tables name it */
    struct fm_op_attr attr;
};

enum fm_value_role { FM_ROLE_PARAM, FM_ROLE_RESULT };

struct fm_value_info {
    struct fm_shape shape;
    enum fm_dtype dtype;            /* F32, I64, BOOL */
    enum fm_value_role role;
    uint32_t index;                 /* of the parameter, or of the node that makes it */
    fm_value alias;                 /* in-place result: the value it overwrote; else FM_NO_VALUE */
};

enum fm_stmt_kind { FM_STMT_OP, FM_STMT_DROP, FM_STMT_BIND, FM_STMT_BLOCK_BEGIN, FM_STMT_BLOCK_END };
/* OP a = node; DROP a = value; BIND a = loop variable, b = value; BLOCK_* a = block */
struct fm_stmt {
    enum fm_stmt_kind kind;
    uint32_t a, b;
};

struct fm_block {
    char name[FM_NAME_BYTES];
    uint32_t first, last;           /* statements: BLOCK_BEGIN and BLOCK_END */
    fm_value result;
};

#define FM_MAX_LOOP_VARIABLES 16

struct fm_body {
    struct fm_value_info *value;
    struct fm_node *node;
    fm_value *arg;
    struct fm_stmt *stmt;
    struct fm_block *block;
    size_t value_count, node_count, arg_count, stmt_count, block_count;
    size_t value_room, node_room, arg_room, stmt_room, block_room;
    char loop_variable[FM_MAX_LOOP_VARIABLES][FM_NAME_BYTES];
    uint32_t loop_variable_count;
    fm_value output;                /* the logits */
    fm_value loss;                  /* training: what backward starts from; validation: FM_NO_VALUE */
};

enum fm_body_kind { FM_BODY_TRAIN, FM_BODY_VAL, FM_BODY_COUNT };

struct fm_graph {
    char name[FM_NAME_BYTES];
    int64_t batch[FM_BODY_COUNT];
    struct fm_param *param;
    size_t param_count, param_room;
    struct fm_body body[FM_BODY_COUNT];
};

void fm_graph_release(struct fm_graph *graph);

/* Everything the lowering relies on: indices, shapes re-inferred and equal, values written before they are read and
 * not read after they are dropped, blocks nested properly with one result, limits. FM_INVALID names node and remedy. */
fm_status fm_graph_check(const struct fm_graph *graph, struct fm_err *err) FM_MUST_USE;

/* the shape and dtype of a node's result, from its inputs; FM_INVALID names the node */
fm_status fm_infer(const struct fm_graph *graph, const struct fm_body *body, const struct fm_node *node,
                   struct fm_value_info *out, struct fm_err *err) FM_MUST_USE;

int64_t fm_graph_parameters(const struct fm_graph *graph);          /* elements, buffers left out */
double fm_node_macs(const struct fm_body *body, const struct fm_node *node);
/* multiply-adds of a forward pass of the training body without its loss, for the whole batch */
double fm_graph_macs(const struct fm_graph *graph);

#endif
