/* The difference of two texts as a unified diff with three lines of context, as patch(1) takes it.
 *
 * The shortest edit script (Myers, "An O(ND) Difference Algorithm", 1986); made for texts that differ in few lines. */
#ifndef FM_RESULTS_EXPORT_FORMATS_DIFF_H
#define FM_RESULTS_EXPORT_FORMATS_DIFF_H

#include "tuner/base/buf.h"
#include "tuner/base/status.h"

/* Appends "--- name", "+++ name" and the hunks; nothing if the texts are equal. NOMEM */
fm_status fm_diff_unified(const char *name, const struct fm_buf *before, const struct fm_buf *after, struct fm_buf *out,
                          struct fm_err *err) FM_MUST_USE;

#endif
