/* What an operator may read: how many values, of which dtypes, and sizes that its shape rule does not look at.
 * For infer.c alone. */
#ifndef FM_WORKLOADS_GRAPH_OPERANDS_H
#define FM_WORKLOADS_GRAPH_OPERANDS_H

#include "workloads/graph/graph.h"

fm_status fm_operands_check(const struct fm_graph *graph, const struct fm_body *body, const struct fm_node *node,
                            struct fm_err *err) FM_MUST_USE;

#endif
