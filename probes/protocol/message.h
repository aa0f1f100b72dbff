/* What requests and replies have in common: "v" and "req". */
#ifndef FM_PROBES_PROTOCOL_MESSAGE_H
#define FM_PROBES_PROTOCOL_MESSAGE_H

#include "probes/protocol/fields.h"
#include "probes/protocol/protocol.h"

void fm_version_write(struct fm_coding *coding, const void *base);
/* of a field that was read before the others */
fm_status fm_checked_read(struct fm_coding *coding, const cJSON *item, void *base) FM_MUST_USE;
fm_status fm_kind_of(struct fm_coding *coding, const cJSON *object, enum fm_request_kind *out) FM_MUST_USE;

#endif
