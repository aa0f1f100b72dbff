/* Executes a step program on a backend: the planner's replay, with each call run at the addresses the allocator gave. */
#ifndef FM_PROBES_WORKER_ENGINE_H
#define FM_PROBES_WORKER_ENGINE_H

#include "probes/backends/backend.h"
#include "probes/memory/mmap_source.h"
#include "probes/memory/replay.h"
#include "workloads/program/program.h"

struct fm_engine {
    const struct fm_backend_ops *ops;       /* borrowed */
    struct fm_backend *backend;             /* borrowed */
    struct fm_mmap_source source;           /* where the backend has no source of its own */
    struct fm_allocator allocator;
    struct fm_workspaces workspaces;        /* what the backend answered for this program's problems */
    struct fm_replay replay;
    uint64_t seed;
    uint64_t train_steps, val_steps;        /* executed */
    bool validating;
    double loss_first, loss_last;           /* of training; NaN until there is one */
    bool nonfinite;
    void **address;                         /* scratch: of a call's operands */
    size_t address_room;
    bool ready;                             /* the allocator is there */
};

struct fm_engine_config {
    const struct fm_backend_ops *ops;
    struct fm_backend *backend;
    const struct fm_program *program;       /* borrowed until the engine is closed */
    int64_t memory_bytes;                   /* what reserved may reach */
    uint64_t seed;
    bool poison;
};

/* asks the backend about every problem of the program that the table has not; FM_UNSUPPORTED answers are kept as entries */
fm_status fm_engine_workspaces(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_program *program,
                               struct fm_workspaces *table, struct fm_err *err) FM_MUST_USE;
/* FM_NOMEM, FM_OOM (host refuses), or what the backend says. Close it also after a failure. */
fm_status fm_engine_open(struct fm_engine *engine, const struct fm_engine_config *config, struct fm_err *err) FM_MUST_USE;
void fm_engine_close(struct fm_engine *engine);
/* one section, finished when it returns; *ns: how long (may be NULL) */
fm_status fm_engine_run(struct fm_engine *engine, enum fm_section section, int64_t *ns, struct fm_err *err) FM_MUST_USE;
/* again and again until the allocator's state repeats, at least `at_least` times */
fm_status fm_engine_settle(struct fm_engine *engine, enum fm_section section, uint32_t at_least, struct fm_err *err) FM_MUST_USE;
/* FM_MISMATCH: a canary or poisoned memory was overwritten (poison mode) */
fm_status fm_engine_check(struct fm_engine *engine, struct fm_err *err) FM_MUST_USE;

#endif
