/* fillmark devices: what this machine has, and what would spoil a measurement. */
#ifndef FM_TUNER_DEVICES_H
#define FM_TUNER_DEVICES_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

#include <stdbool.h>
#include <stdint.h>

fm_status fm_devices_show(int64_t threads, bool json, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
