/* Lowering: a graph and a policy become a step program.
 *
 * A miniature eager and autograd engine runs the graph's bodies with tensors that have no data, only storages, strides
 * and reference counts, and records every kernel call, allocation and free in the order PyTorch eager makes them:
 * forward, the backward nodes in reverse creation order with their fan-in, casts, recomputation, optimizer.
 * Rules 13-35, 47 and 52-70 of docs/memory-model.md; numbers in the sources are theirs. */
#ifndef FM_WORKLOADS_LOWER_LOWER_H
#define FM_WORKLOADS_LOWER_LOWER_H

#include "workloads/graph/graph.h"
#include "workloads/program/program.h"

enum fm_loop { FM_LOOP_LOADER, FM_LOOP_PLAIN };
/* EAGER: what the device sees. DISPATCH: what PyTorch's own accounting under a dispatch mode sees (rule 50: fan-in and
 * linear's bias out of place, no copies inside kernels, convolutions always contiguous). */
enum fm_accounting { FM_ACCOUNTING_EAGER, FM_ACCOUNTING_DISPATCH };
enum fm_optimizer_kind { FM_OPTIMIZER_ADAMW, FM_OPTIMIZER_ADAM, FM_OPTIMIZER_SGD };
enum fm_optimizer_form { FM_FORM_FOREACH, FM_FORM_FUSED, FM_FORM_LOOP };

struct fm_optimizer {
    enum fm_optimizer_kind kind;
    enum fm_optimizer_form form;
    bool amsgrad, nesterov;
    double lr, weight_decay, momentum, beta1, beta2, eps;
};

/* What changes how a network is trained, not what it computes. */
struct fm_policy {
    enum fm_dtype base;             /* F32; F64 for the oracle */
    enum fm_dtype autocast;         /* F16 or BF16; equal to base: no autocast */
    bool loss_scaler;               /* GradScaler, for f16 */
    bool tf32;                      /* convolutions and products of f32 may use TF32 tensor cores */
    bool cudnn_benchmark;           /* convolutions by the fastest engine, timed, instead of the first */
    const uint8_t *checkpoint;      /* per block of the training body: 1 = recompute it; NULL: none */
    uint32_t accumulate;            /* forward-backward passes a step, at least 1 */
    struct fm_optimizer optimizer;
    enum fm_loop loop;
    enum fm_accounting accounting;
    bool channels_last;             /* images and the weights of convolutions, as model.to(memory_format=...) */
    bool keep_grads;                /* zero_grad(set_to_none=False) */
    bool fixed_batch;               /* every step draws the same batch: to see that a network learns */
};

/* AdamW (lr 1e-4, no weight decay), foreach, loader, eager, no autocast */
struct fm_policy fm_policy_default(void);

/* Lowers both bodies that the graph has (training; validation if it has a body) into `program`, which is cleared first
 * and keeps its arrays. FM_UNSUPPORTED names what has no lowering; FM_NOMEM. */
fm_status fm_lower(const struct fm_graph *graph, const struct fm_policy *policy, struct fm_program *program,
                   struct fm_err *err) FM_MUST_USE;

#endif
