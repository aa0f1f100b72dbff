/* Names of the settings and strategies of some cells, and which of them tell these cells apart. */
#ifndef FM_RESULTS_KEYS_H
#define FM_RESULTS_KEYS_H

#include "results/fold.h"

#define FM_KEYS_MAX (2 * FM_MAX_PAIRS)

struct fm_keys {
    struct {
        const char *name;       /* borrowed from the records */
        bool strategy, varies;
    } key[FM_KEYS_MAX];
    size_t count;
};

/* settings first, then strategies, each in the order of their first appearance; beyond FM_KEYS_MAX they are left out */
void fm_keys_of(const struct fm_result *result, const size_t *cells, size_t count, struct fm_keys *keys);
/* the cell's value; NULL if it has no such setting or strategy */
const char *fm_keys_value(const struct fm_keys *keys, size_t key, const struct fm_result_cell *cell);

#endif
