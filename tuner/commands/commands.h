/* The commands of fillmark, one file each. What they print goes to stdout, what they do to stderr. */
#ifndef FM_TUNER_COMMANDS_H
#define FM_TUNER_COMMANDS_H

#include "results/fold.h"
#include "tuner/options/options.h"

fm_status fm_command(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;

fm_status fm_command_run(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
fm_status fm_command_plan(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
fm_status fm_command_show(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
fm_status fm_command_report(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
fm_status fm_command_export(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
/* FM_REGRESSION, FM_UNDECIDED, FM_INCOMPARABLE: what was found, for the exit code */
fm_status fm_command_compare(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
fm_status fm_command_history(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
fm_status fm_command_advise(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;
fm_status fm_command_explain(const struct fm_options *options, struct fm_err *err) FM_MUST_USE;

/* what a plan says, as records of a run; empty after a failure, else the caller releases them */
fm_status fm_plan_records(const struct fm_options *options, struct fm_records *out, struct fm_err *err) FM_MUST_USE;
/* the ranked table, or the result as JSON, on stdout */
fm_status fm_print_result(const struct fm_result *result, bool json, struct fm_err *err) FM_MUST_USE;

#endif
