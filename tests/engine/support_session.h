/* A step program executed on a backend with its insides in reach: parameters, gradients, logits, losses.
 *
 * Between engine and backend stands a tap: it may write what INPUT and the initial values draw, and it copies the
 * gradients that the optimizer is given and the logits that the loss and the prediction are made of. All values are
 * doubles in logical (row-major) order, whatever the backend's layout. Failures fail the test.
 *
 *     static struct fm_session s;
 *     s = (struct fm_session){ .device = &fm_backend_ref };
 *     fm_session_lower(&s, &cell, (struct fm_cell_batch){ .train = 2 });
 *     fm_session_open(&s);
 *     fm_session_steps(&s, 3);
 *     fm_session_close(&s); */
#ifndef FM_TESTS_ENGINE_SUPPORT_SESSION_H
#define FM_TESTS_ENGINE_SUPPORT_SESSION_H

#include "probes/worker/engine.h"
#include "workloads/strategies/strategies.h"

#define FM_SESSION_TENSORS 512
#define FM_SESSION_STEPS 256

struct fm_session_tensor {
    struct fm_operand operand;
    const char *name;                   /* borrowed from the program */
    bool buffer;
    double *gradient;                   /* of the last step; NULL: none */
};

struct fm_session_values { double *value; int64_t count; };

struct fm_session {
    /* given */
    const struct fm_backend_ops *device;
    int64_t memory_bytes;               /* 0: 4 GiB */
    uint64_t seed;                      /* 0: 1 */
    int32_t threads;                    /* 0: 1, as oneDNN threads that wait spin, and tests run side by side */
    bool poison;
    bool blind;                         /* copies no gradients and no logits: many steps, or memory watched */
    /* overwrites what was drawn for a parameter, a buffer (index: of its own kind) or an input; NULL: nothing does */
    void (*parameter)(const struct fm_session_tensor *tensor, uint32_t index, double *value);
    void (*input)(const struct fm_operand *operand, enum fm_input input, double *value);
    /* kept */
    struct fm_program program;
    struct fm_engine engine;
    struct fm_backend_ops tap;
    struct fm_backend *backend;
    struct fm_session_tensor tensor[FM_SESSION_TENSORS];
    uint32_t tensors, parameters;       /* all in order of registration; those that are trained */
    struct fm_session_values logits[2]; /* last ones of training, of validation */
    double loss[FM_SESSION_STEPS];      /* of each step's last micro-batch */
    uint32_t steps;
};

/* "segformer input=32x32 +precision=bf16": a workload, its settings, strategies after a plus sign */
void fm_session_cell(struct fm_cell *cell, const char *words);
void fm_session_lower(struct fm_session *s, const struct fm_cell *cell, struct fm_cell_batch batch);
/* opens backend and engine and runs INIT; s->program is filled */
void fm_session_open(struct fm_session *s);
void fm_session_close(struct fm_session *s);
/* so many training steps; the first of all is TRAIN_FIRST */
void fm_session_steps(struct fm_session *s, uint32_t steps);
/* VAL_FIRST, steps - 1 times VAL, VAL_EXIT */
void fm_session_validate(struct fm_session *s, uint32_t steps);
/* the k-th tensor's values now; caller fm_free()s */
double *fm_session_read(const struct fm_session *s, const struct fm_session_tensor *tensor);
/* of the bytes of parameters, buffers and optimizer state, in order; equal programs on equal backends only */
uint64_t fm_session_hash(const struct fm_session *s);
/* of the gradients of the last step, over all trained parameters */
uint64_t fm_session_gradient_hash(const struct fm_session *s);
/* |a - b| / |b| in L2 over the gradients of all parameters; NaN anywhere: infinity */
double fm_session_gradient_difference(const struct fm_session *a, const struct fm_session *b);
/* the same over the trained parameters' values now */
double fm_session_parameter_difference(const struct fm_session *a, const struct fm_session *b);

/* whether the cpu backend can run a dtype here, e.g. bf16 */
bool fm_session_supported(const struct fm_backend_ops *device, const struct fm_cell *cell);

#endif
