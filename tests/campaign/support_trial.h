/* A campaign on the scripted device, its records kept as the journal would keep them, on a clock that counts probes. */
#ifndef FM_TESTS_CAMPAIGN_SUPPORT_TRIAL_H
#define FM_TESTS_CAMPAIGN_SUPPORT_TRIAL_H

#include "tests/campaign/support_fake_worker.h"
#include "tests/campaign/support_toy.h"
#include "tuner/campaign/campaign.h"

#define FM_TRIAL_CELLS 8

/* of sweeps: each step starts processes, which takes long where sanitizers are in them */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FM_TRIAL_STRIDE 7
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FM_TRIAL_STRIDE 7
#endif
#endif
#ifndef FM_TRIAL_STRIDE
#define FM_TRIAL_STRIDE 1
#endif

struct fm_trial {
    struct fm_session session;
    struct fm_cell cell[FM_TRIAL_CELLS];
    const char *reproduce[FM_TRIAL_CELLS];
    size_t cells;
    struct fm_campaign_config config;       /* may be changed between opening and running */
    struct fm_fake_script script;           /* likewise */
    int64_t planned_batch;                  /* of the first cell */
    int64_t probe_ns;                       /* what a probe takes on the virtual clock */
    atomic_bool cancel;
    int64_t cancel_at;                      /* the n-th record (from 1) cancels; 0: never */
    cJSON **line;                           /* what was recorded: objects or arrays, as they came */
    size_t lines, room, remembered;         /* the first `remembered` are of an earlier campaign */
    struct fm_campaign_totals totals;
};

/* words: one cell each, as of fm_toy_cell; ends with NULL. Sets the script to "the plan is right". Asserts. */
void fm_trial_open(struct fm_trial *trial, const char *const *words);
void fm_trial_close(struct fm_trial *trial);
/* a new campaign remembers all lines so far and runs */
fm_status fm_trial_run(struct fm_trial *trial, struct fm_err *err);
/* forgets the lines from the n-th on */
void fm_trial_cut(struct fm_trial *trial, size_t lines);
/* a line of one's own */
void fm_trial_add(struct fm_trial *trial, const char *json);

/* the cell's last verdict; NULL: none */
const cJSON *fm_trial_verdict(const struct fm_trial *trial, size_t cell);
/* records of a kind, of a cell (or FM_TRIAL_CELLS: any) */
size_t fm_trial_count(const struct fm_trial *trial, const char *kind, size_t cell);
/* calls back with each record */
void fm_trial_each(const struct fm_trial *trial, void (*f)(void *context, const cJSON *record), void *context);
double fm_number(const cJSON *object, const char *key);         /* NaN: none */
const char *fm_words(const cJSON *object, const char *key);     /* "": none */
bool fm_truth(const cJSON *object, const char *key);
/* probes the device was asked for, the learning check left out */
size_t fm_trial_probes(struct fm_fake_entry entry[4096]);
size_t fm_trial_requests(enum fm_request_kind kind);
/* start, end: of a cmocka group; a folder with the worker */
int fm_trial_setup(void **state);
int fm_trial_teardown(void **state);
const char *fm_trial_folder(void);

#endif
