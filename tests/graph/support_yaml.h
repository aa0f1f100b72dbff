/* For the tests of graphs as YAML: lowering under several policies, and the documented example. */
#ifndef FM_TESTS_GRAPH_SUPPORT_YAML_H
#define FM_TESTS_GRAPH_SUPPORT_YAML_H

#include "workloads/lower/lower.h"

enum { POLICIES = 4 };

/* lowers under plain fp32, with every block recomputed, with autocast to fp16, and with both in bf16; checks the program too. FM_OK, or what failed */
fm_status lower_with(const struct fm_graph *graph, int policy, struct fm_program *program, struct fm_err *err);
/* the hash of the program; fails the test if there is none */
uint64_t lowering_hash(const struct fm_graph *graph, int policy);
/* a file of tests/data; fm_free it */
char *data_text(const char *name);
/* the YAML block of docs/graph-yaml.md; fm_free it */
char *example_text(void);

#endif
