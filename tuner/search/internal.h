/* Within tuner/search only: Lightning's loops, one trial at a time. */
#ifndef FM_TUNER_SEARCH_INTERNAL_H
#define FM_TUNER_SEARCH_INTERNAL_H

#include "tuner/search/search.h"

void fm_search_lightning_start(struct fm_search *search);
/* the batch of its next trial, or FM_SEARCH_DONE */
int64_t fm_search_lightning_next(const struct fm_search *search);
void fm_search_lightning_tell(struct fm_search *search, bool fits);

#endif
