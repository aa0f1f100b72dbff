/* Records that a command writes itself, around those of its campaigns. NULL when memory is exhausted. */
#ifndef FM_TUNER_RECORDS_H
#define FM_TUNER_RECORDS_H

#include "tuner/campaign/campaign.h"
#include "tuner/options/options.h"

/* kind "run", or "resume" where a run goes on */
cJSON *fm_record_run(const char *kind, const struct fm_options *options, const struct fm_session *session, size_t sessions);
cJSON *fm_record_end(const struct fm_campaign_totals *totals, bool interrupted);

#endif
