/* A graph as YAML: the door for users' own networks. The format, with an example, is docs/graph-yaml.md.
 *
 * In a file the batch is the letter B: sizes are numbers, B, or a multiple such as 2B, so that one file serves any batch.
 * A writer therefore needs the same network at two batch sizes, to see which sizes scale. Reading checks everything:
 * syntax, unknown and repeated keys, names, sizes, limits, lifetimes, and at last fm_graph_check. */
#ifndef FM_WORKLOADS_GRAPH_YAML_H
#define FM_WORKLOADS_GRAPH_YAML_H

#include "tuner/base/buf.h"
#include "workloads/graph/graph.h"

#define FM_GRAPH_FILE_BYTES ((size_t)16 << 20)      /* the longest file that is read */
#define FM_GRAPH_MAX_INPUTS 64                      /* of an operator */

/* Appends `graph` to `out`; `other` is the same network at other batch sizes (of each body that it has).
 * FM_UNSUPPORTED names a size that is neither constant nor a multiple of the batch, an attribute that changes with it, or
 * a name the format cannot hold; FM_INVALID: the two are not one network at two batches; FM_NOMEM, also when out is full. */
fm_status fm_graph_write(const struct fm_graph *graph, const struct fm_graph *other, struct fm_buf *out, struct fm_err *err)
    FM_MUST_USE;

/* `text` of `bytes` bytes as a graph for the batches; 0: without that body, which is checked all the same. `path` names it
 * in errors, which begin "path:line:column: ". The caller releases `out`, which is empty after an error: FM_INVALID, or
 * FM_NOMEM. */
fm_status fm_graph_read(const char *path, const char *text, size_t bytes, const int64_t batch[FM_BODY_COUNT],
                        struct fm_graph *out, struct fm_err *err) FM_MUST_USE;
/* likewise of a file; FM_IO when it cannot be read */
fm_status fm_graph_read_file(const char *path, int64_t train_batch, int64_t val_batch, struct fm_graph *out,
                             struct fm_err *err) FM_MUST_USE;

#endif
