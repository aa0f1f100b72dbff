/* Reading a text piece by piece: literals and sizes. Within tuner/explain. */
#ifndef FM_TUNER_EXPLAIN_SCAN_H
#define FM_TUNER_EXPLAIN_SCAN_H

#include "tuner/explain/message.h"

struct fm_scan {
    const char *text;
    size_t bytes, at;
    bool cut;                       /* the text ended in the middle of something that was being read */
    bool overflowed;
};

/* Each moves on and returns true if it is there, else leaves the place. A blank of a literal is any number of blanks and
 * line breaks, at least one. */
bool fm_scan_words(struct fm_scan *scan, const char *literal);
/* the same where blanks may come first */
bool fm_scan_next(struct fm_scan *scan, const char *literal);
bool fm_scan_integer(struct fm_scan *scan, int64_t *out);
/* "1.56 GiB", "2.25GiB", "384.0KiB", "2.20G", "0 bytes", "768.00 MB", "123B"; *out is unknown if it is too large */
bool fm_scan_size(struct fm_scan *scan, struct fm_oom_size *out);
/* a size whose unit is bytes and may be left out */
bool fm_scan_bytes(struct fm_scan *scan, struct fm_oom_size *out);

#endif
