/* GPUs that can be planned for: the built-in table with the user's own, for commands. */
#ifndef FM_TUNER_DEVICE_TABLE_H
#define FM_TUNER_DEVICE_TABLE_H

#include "probes/devices/devices.h"
#include "tuner/options/options.h"

/* a value of --device that is a name of the table, not of a backend's device */
bool fm_device_is_planned_for(const char *device);
/* built-in and --device-file; release it in any case */
fm_status fm_device_table(const struct fm_options *options, struct fm_gpus *out, struct fm_err *err) FM_MUST_USE;
/* fillmark show devices */
fm_status fm_device_table_show(const struct fm_options *options, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
