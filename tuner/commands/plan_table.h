/* What fillmark plan prints: the form of a run's table, one section a device and workload, every figure planned. */
#ifndef FM_TUNER_PLAN_TABLE_H
#define FM_TUNER_PLAN_TABLE_H

#include "results/fold.h"
#include "tuner/base/buf.h"

fm_status fm_plan_table(const struct fm_result *result, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
