/* A worker that executes nothing and answers by a script with a closed form: the test program itself, run under the name
 * of a worker. The script is the file "script" beside that name; each request is added to the file "log" there. */
#ifndef FM_TESTS_CAMPAIGN_SUPPORT_FAKE_WORKER_H
#define FM_TESTS_CAMPAIGN_SUPPORT_FAKE_WORKER_H

#include "probes/protocol/protocol.h"

#include <stdbool.h>
#include <stdint.h>

#define FM_FAKE_NAME "fillmark-worker-fake"
#define FM_FAKE_MISFITS 8

enum fm_fake_act {
    FM_FAKE_ANSWER,                 /* by the closed form */
    FM_FAKE_CRASH, FM_FAKE_HANG, FM_FAKE_BABBLE, FM_FAKE_KILLED, FM_FAKE_SLOW,
    FM_FAKE_OOM_HOST, FM_FAKE_UNSUPPORTED, FM_FAKE_NONFINITE, FM_FAKE_OOM_DEVICE,
    FM_FAKE_REFUSED                 /* oom_device below the limit */
};

/* batches from 1; 0 in a field "batch" or "probe": never */
struct fm_fake_script {
    int64_t fits_batch;             /* training fits up to this one, */
    int64_t misfit_batch[FM_FAKE_MISFITS];      /* but for these */
    int64_t val_fits_batch;         /* validation does; 0: always */
    int64_t after_val_batch;        /* from this one on training fails once validation ran */
    /* cells of which a strategy has this value have another limit, */
    char special_key[40], special_value[40];
    int64_t special_fits_batch;
    /* or act otherwise, always */
    enum fm_fake_act act;           /* at a batch, or at the n-th probe of all (from 1), act_count times */
    int64_t act_batch, act_probe, act_count;
    bool act_special;               /* only in the special cells; without batch and probe: always */
    enum fm_fake_act question_act;  /* at questions about workspaces with a training batch of at least this */
    int64_t question_batch;
    int64_t step_fixed_ns, step_sample_ns;      /* a step's time, */
    int64_t noise_percent;          /* slower by up to this much, by batch and how often it was probed before */
    uint64_t noise_seed;
    bool unlearned;                 /* the loss of the learning check rises */
    enum fm_fake_act learn_act;
};

struct fm_fake_entry {
    enum fm_request_kind kind;
    bool learn;
    int64_t batch, val_batch;
};

/* does training alone, or with validation, fit by the script? */
bool fm_fake_fits(const struct fm_fake_script *script, const struct fm_cell_spec *cell, int64_t batch, int64_t val_batch);
/* first in main(): where argv[0] is the worker's name it never returns */
void fm_fake_worker(const char *name);

#endif
