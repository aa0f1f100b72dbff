/* What `fillmark show workloads` and `show workload` say: texts for people, JSON for programs.
 *
 * Parameters are trained elements; MACs are a training sample's forward pass; shapes are a sample's. JSON:
 *   workloads: [ {"workload": .., "title": .., "parameters": .., "macs": .., "settings": <how many>}, .. ]
 *   workload:  {"workload": .., "title": .., "sample": .., "parameters": .., "macs": .., "optimizer": {..},
 *               "settings": { name: {"value", "default", "kind", "min", "max" | "choices", "help", "validation_only"} },
 *               "inputs": [ {"name", "shape", "dtype"} ], "output": {"shape"}, "blocks": [ .. ]}
 * Each function appends to `out`; FM_NOMEM also when out is full, FM_INVALID what building the network says. */
#ifndef FM_WORKLOADS_NETS_SHOW_H
#define FM_WORKLOADS_NETS_SHOW_H

#include "workloads/nets/nets.h"

/* all workloads, at their default settings */
fm_status fm_show_workloads(struct fm_buf *out, bool json, struct fm_err *err) FM_MUST_USE;
/* one workload at its settings */
fm_status fm_show_workload(const struct fm_settings *settings, struct fm_buf *out, bool json, struct fm_err *err) FM_MUST_USE;
/* a graph with a training body for one sample, such as one read from a file: the same without settings */
fm_status fm_show_graph(const struct fm_graph *graph, struct fm_buf *out, bool json, struct fm_err *err) FM_MUST_USE;
/* the workload's graph as YAML (workloads/graph/yaml.h) */
fm_status fm_show_yaml(const struct fm_settings *settings, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
