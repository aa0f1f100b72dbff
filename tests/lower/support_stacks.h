/* The small stacks of tests/reference/memory_peaks.py, by their names in torch_peaks_blocks.tsv. */
#ifndef FM_TESTS_LOWER_SUPPORT_STACKS_H
#define FM_TESTS_LOWER_SUPPORT_STACKS_H

#include "workloads/lower/lower.h"

/* Lowers a row; false, with the reason, if no operator here can say what it does. *extra_bytes: what ours may hold
 * beyond the script's. The test fails if the name is unknown. */
bool torch_stack_lower(const char *name, struct fm_program *program, int64_t *extra_bytes, const char **reason);

#endif
