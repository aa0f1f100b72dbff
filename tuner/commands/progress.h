/* What a person sees while a campaign runs, on stderr: one live line a device on a terminal, plain lines in a pipe. */
#ifndef FM_TUNER_PROGRESS_H
#define FM_TUNER_PROGRESS_H

#include "tuner/campaign/campaign.h"

struct fm_progress_view {
    bool terminal;                  /* stderr is one */
    bool line_open;                 /* a live line stands unfinished */
};

void fm_progress_show(struct fm_progress_view *view, const struct fm_progress *progress);
/* ends a live line, so that other text can follow */
void fm_progress_end(struct fm_progress_view *view);

#endif
