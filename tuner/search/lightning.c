#include "tuner/search/internal.h"

/* PyTorch Lightning 2.6, tuner/batch_size_scaling.py: its order of tests is kept, the faults too. */
#define INIT_SIZE 2
#define MAX_TRIALS 25
#define DEFAULT_MAX_SIZE 8192       /* where it forgets to pass max_val on (power, and after a failure) this caps */

static void finish(struct fm_search *search)
{
    struct fm_search_lightning *l = &search->lightning;
    l->done = true;
    if (search->config.method == FM_SEARCH_BINSEARCH) {
        int64_t reduced = (int64_t)((double)l->size * (1 - 0.05));
        l->size = reduced < 1 ? 1 : reduced;
    }
    search->raw_answer = l->size;
}

/* the check that precedes each trial, so that a size can be the answer without a trial */
static void before_trial(struct fm_search *search)
{
    struct fm_search_lightning *l = &search->lightning;
    if (search->config.method == FM_SEARCH_POWER && l->trials >= MAX_TRIALS) {
        finish(search);
    } else if (l->size >= search->config.max_batch) {
        finish(search);
    } else if (l->size < 1) {
        /* batch 1 failed and power halved it: the data loader refuses 0, there is no answer */
        l->done = true;
    }
}

void fm_search_lightning_start(struct fm_search *search)
{
    search->lightning = (struct fm_search_lightning){ .size = INIT_SIZE, .low = 1 };
    before_trial(search);
}

int64_t fm_search_lightning_next(const struct fm_search *search)
{
    return search->lightning.done ? FM_SEARCH_DONE : search->lightning.size;
}

static int64_t at_most(int64_t size, int64_t limit)
{
    return size < limit ? size : limit;
}

static void tell_power(struct fm_search *search, bool fits)
{
    struct fm_search_lightning *l = &search->lightning;
    l->trials++;
    if (!fits) {
        l->size /= 2;
        if (l->any_success) {
            finish(search);
            return;
        }
    } else {
        int64_t doubled = at_most(2 * l->size, DEFAULT_MAX_SIZE);
        if (l->trials >= MAX_TRIALS || doubled == l->size) {
            finish(search);
            return;
        }
        l->size = doubled;
        l->any_success = true;
    }
    before_trial(search);
}

static void tell_binsearch(struct fm_search *search, bool fits)
{
    struct fm_search_lightning *l = &search->lightning;
    if (fits) {
        if (++l->trials >= MAX_TRIALS) {
            finish(search);
            return;
        }
        l->low = l->size;
        if (l->high && l->high - l->low <= 1) {
            finish(search);
            return;
        }
        int64_t size = l->high ? (l->high + l->low) / 2 : 2 * l->size;
        size = at_most(size, search->config.max_batch);
        if (size == l->size) {
            finish(search);
            return;
        }
        l->size = size;
    } else {
        l->high = l->size;
        l->size = at_most((l->high + l->low) / 2, DEFAULT_MAX_SIZE);
        if (l->high - l->low <= 1) {
            finish(search);
            return;
        }
    }
    before_trial(search);
}

void fm_search_lightning_tell(struct fm_search *search, bool fits)
{
    search->raw_probes++;
    if (search->config.method == FM_SEARCH_POWER) tell_power(search, fits);
    else tell_binsearch(search, fits);
}
