/* What fillmark plan prints: the form of a run's table, one section a device and workload, every figure planned. */
#ifndef FM_RESULTS_PLAN_TABLE_H
#define FM_RESULTS_PLAN_TABLE_H

#include "results/fold.h"
#include "tuner/base/buf.h"

struct fm_plan_form {
    bool markdown;
    bool again;             /* how each cell is planned again, below */
};

/* Appends. NOMEM: no memory, or more than the buffer takes */
fm_status fm_plan_table(const struct fm_result *result, struct fm_plan_form form, struct fm_buf *out, struct fm_err *err) FM_MUST_USE;

#endif
