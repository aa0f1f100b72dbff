/* The space of cells: workloads x settings x strategies, in the order they are worth running.
 *
 * First the cells that take every axis' first value, then those that differ in one axis, and so on: a run cut by its
 * time budget has seen the plain cells of every workload and each strategy alone before their combinations. */
#ifndef FM_TUNER_SPACE_H
#define FM_TUNER_SPACE_H

#include "tuner/options/options.h"

struct fm_space {
    struct fm_cell *cell;
    char **reproduce;               /* per cell: the command that runs it alone, for a shell */
    size_t count;
};

/* FM_INVALID: no cell is left (--only), or too many */
/* memory_bytes: the limit that holds, for the commands; 0: none */
fm_status fm_space_build(const struct fm_options *options, const char *device, int64_t memory_bytes, struct fm_space *out,
                         struct fm_err *err) FM_MUST_USE;
void fm_space_release(struct fm_space *space);

#endif
