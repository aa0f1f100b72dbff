/* What `fillmark advise` and `fillmark export` ask of results/advise.h, from their options. */
#ifndef FM_TUNER_ADVISE_QUERY_H
#define FM_TUNER_ADVISE_QUERY_H

#include "results/advise.h"
#include "tuner/options/options.h"

/* `allow` is a copy of options->allow, or NULL; it is cut into names, and must live as long as the query, as the options
 * must. INVALID: an option's value is wrong; the text names it. */
fm_status fm_advise_query_of(const struct fm_options *options, char *allow, struct fm_advise_query *out, struct fm_err *err) FM_MUST_USE;

/* The run in options->operand[0]; where there is none, plans within the query's limits, which are then taken off it. On
 * success the caller releases the result, then the records. */
fm_status fm_advise_result(const struct fm_options *options, struct fm_advise_query *query, struct fm_records *planned,
                           struct fm_result *out, struct fm_err *err) FM_MUST_USE;

#endif
