/* The layer table of a network: one row an operator of the training body's forward pass, tab separated.
 *
 *   # name op Cin Cout k stride pad groups bias norm/extra out(CxSp) params MAC
 *
 * Shapes and multiply-adds are a sample's. Space that was flattened to tokens is written as the grid it came from.
 * Silent: inputs, views, interpolations that change nothing, and everything after the logits. A matmul, scale, softmax,
 * matmul is one row, as attention. The last line sums up; its parameters are the network's (a parameter that two
 * operators use counts once), and saved_fp32_bytes/sample is what autograd keeps of activations in fp32: every storage
 * once, masks, parameters and statistics vectors left out (rules 13-21 of docs/memory-model.md). */
#ifndef FM_WORKLOADS_NETS_LAYERS_H
#define FM_WORKLOADS_NETS_LAYERS_H

#include "workloads/nets/nets.h"

/* builds the network at batch 1; FM_INVALID, FM_NOMEM (also when `out` is full) */
fm_status fm_layers_write(const struct fm_settings *settings, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;
/* the same of a graph with a training body for one sample; FM_INVALID otherwise */
fm_status fm_layers_write_graph(const struct fm_graph *graph, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

/* bytes that autograd keeps, as the last line says; -1 when memory is exhausted */
int64_t fm_saved_bytes(const struct fm_graph *graph);

#endif
