/* What operators are called with in YAML, and where struct fm_op_attr keeps it: one row a key. Shared by yaml_*.c. */
#ifndef FM_WORKLOADS_GRAPH_ATTRIBUTES_H
#define FM_WORKLOADS_GRAPH_ATTRIBUTES_H

#include "workloads/graph/graph.h"

enum fm_attribute_kind {
    FM_ATTRIBUTE_INT,          /* int32_t */
    FM_ATTRIBUTE_I64,
    FM_ATTRIBUTE_REAL,         /* double */
    FM_ATTRIBUTE_FLAG,         /* bool: true or false */
    FM_ATTRIBUTE_SPATIAL,      /* int32_t[3], one a spatial dimension of the weight; one number stands for all */
    FM_ATTRIBUTE_DIMS,         /* a list of dimensions, as bits */
    FM_ATTRIBUTE_PAIR,         /* two dimensions: dim, dim2 */
    FM_ATTRIBUTE_ORDER,        /* uint32_t[]: a permutation */
    FM_ATTRIBUTE_SHAPE,        /* struct fm_shape, sizes with B */
    FM_ATTRIBUTE_PLANE,        /* the last two sizes of a struct fm_shape; the others are the input's */
    FM_ATTRIBUTE_INPUT         /* enum fm_input by name */
};

struct fm_attribute {
    enum fm_op op;
    const char *key;
    enum fm_attribute_kind kind;
    size_t offset;          /* in struct fm_op_attr */
    double lo, hi;          /* INT, I64, REAL, SPATIAL */
    bool required;
    double preset;          /* what holds when the key is left out: PyTorch's */
};

extern const struct fm_attribute fm_attributes[];
extern const size_t fm_attribute_count;

/* FM_INPUT_* by name: "volume", "image", "volume_labels", "image_labels" */
extern const char *const fm_input_names[4];

/* every field equal; of shapes only how many dimensions */
bool fm_attr_equal(const struct fm_op_attr *a, const struct fm_op_attr *b);
/* sets what the rows of `op` cover to 0 */
void fm_attr_clear_known(enum fm_op op, struct fm_op_attr *attr);

#endif
