/* Shared by build.c (tracing, lifetimes), build_modules.c and build_ops.c; not for others. */
#ifndef FM_WORKLOADS_GRAPH_BUILD_INTERNAL_H
#define FM_WORKLOADS_GRAPH_BUILD_INTERNAL_H

#include "workloads/graph/build.h"

#define MAX_SCOPES 64
#define MAX_HELD 4096

struct fm_build {
    struct fm_graph graph;
    struct fm_body *body;               /* the one being traced */
    enum fm_body_kind kind;
    uint32_t order;                     /* optimizer group of new parameters */
    uint32_t *last_use, *hold_end;      /* per value: statement after which it may die */
    size_t last_use_room, hold_end_room;
    fm_value *param_value;              /* per parameter: its value in this body, or FM_NO_VALUE */
    size_t param_value_room;
    fm_value held[MAX_HELD];            /* values held by open scopes */
    uint32_t held_count, scope_first[MAX_SCOPES], scope_locals[MAX_SCOPES], scope_count;    /* arguments, then locals */
    bool in_block;
    bool drops_given;                   /* the body holds its DROP statements already */
    struct fm_err err;
};

/* Appends an operator and returns its result; inputs that are FM_NO_VALUE break the build. */
fm_value fm_build_emit(struct fm_build *b, enum fm_op op, const char *name, const fm_value *in, uint32_t n_in,
                       const struct fm_op_attr *attr);
/* room for one more item of an array, zeroed; NULL and a recorded error when memory is exhausted */
void *fm_build_append(struct fm_build *b, void *array, size_t *count, size_t *room, size_t item_bytes);
/* the value a parameter has in the current body */
fm_value fm_build_param(struct fm_build *b, uint32_t param);
static inline bool fm_build_broken(const struct fm_build *b) { return b->err.status != FM_OK; }

#endif
