/* Random messages, valid ones, and whether two are equal in all that a line carries. */
#ifndef FM_TESTS_PROTOCOL_SUPPORT_MESSAGES_H
#define FM_TESTS_PROTOCOL_SUPPORT_MESSAGES_H

#include "probes/protocol/protocol.h"

#include <stdbool.h>
#include <stdint.h>

struct fm_draw { uint64_t seed, index; };
uint64_t fm_draw_u64(struct fm_draw *draw);
/* 0 ... limit - 1 */
uint64_t fm_draw_below(struct fm_draw *draw, uint64_t limit);

/* owned arrays are fm_calloc()ed: release the messages */
void fm_random_request(struct fm_draw *draw, enum fm_request_kind kind, struct fm_request *out);
void fm_random_reply(struct fm_draw *draw, enum fm_request_kind kind, enum fm_outcome outcome, struct fm_reply *out);
bool fm_request_equal(const struct fm_request *a, const struct fm_request *b);
bool fm_reply_equal(const struct fm_reply *a, const struct fm_reply *b);

#endif
