/* The cases that tests/reference/memory_events.py and memory_peaks.py recorded, and the same cases lowered here.
 *
 * A case is a list of KEY=VALUE, the fields of training.Case (tests/reference/training.py). */
#ifndef FM_TESTS_LOWER_SUPPORT_TORCH_H
#define FM_TESTS_LOWER_SUPPORT_TORCH_H

#include "workloads/lower/lower.h"
#include "workloads/nets/nets.h"

#define TORCH_FIELDS 32
#define TORCH_BLOCKS 128            /* most blocks of a network: b5 has 52 */

struct torch_case {
    uint32_t fields;
    struct { char key[24], value[160]; } field[TORCH_FIELDS];
};

/* "network=segformer size=64x64 ...", words that are no KEY=VALUE are passed over */
void torch_case_parse(struct torch_case *c, const char *line);
/* a row of a table under its header, both split by tabs */
void torch_case_row(struct torch_case *c, const char *header, const char *row);
/* the test fails if the case has no such field */
const char *torch_case_text(const struct torch_case *c, const char *key);
int64_t torch_case_number(const struct torch_case *c, const char *key);
bool torch_case_is(const struct torch_case *c, const char *key, const char *value);

/* The same network with the same settings. Trains or validates, as the case's phase says. */
void torch_case_build(const struct torch_case *c, struct fm_graph *graph);
/* what PyTorch's accounting under a dispatch mode sees; no loss scaler. Valid until the process ends. */
struct fm_policy torch_case_policy(const struct torch_case *c);
/* both, into *program, which the test must accept with fm_program_check */
void torch_case_lower(const struct torch_case *c, struct fm_program *program);

#endif
