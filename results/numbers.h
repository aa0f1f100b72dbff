/* Figures as people read them. Each function appends to a buffer; what is not known is "–". */
#ifndef FM_RESULTS_NUMBERS_H
#define FM_RESULTS_NUMBERS_H

#include <stdint.h>

#include "probes/measure/interval.h"
#include "tuner/base/buf.h"

void fm_put_count(struct fm_buf *out, int64_t count);               /* 17; negative: unknown */
void fm_put_gib(struct fm_buf *out, int64_t bytes);                 /* 0.613; negative: unknown */
void fm_put_size(struct fm_buf *out, int64_t bytes);                /* with its unit: 1.500 GiB, 4.0 MiB, 12.5 KiB, 7 bytes; negative: unknown */
void fm_put_gib_range(struct fm_buf *out, int64_t lo, int64_t hi);  /* 0.613–0.702, or one if equal as shown */
/* four digits: 2.134, 21.34, 2134; not finite: unknown */
void fm_put_f64(struct fm_buf *out, double value);
/* 2.134 ± 0.031: the larger side of the interval, as many decimals */
void fm_put_interval(struct fm_buf *out, const struct fm_interval *interval);
/* 17.2 Mthing, 123 thing: with k, M, G, T, P for thousands */
void fm_put_scaled(struct fm_buf *out, double value, const char *unit);
void fm_put_duration(struct fm_buf *out, int64_t ns);               /* 94.1 s, 4 min 12 s */

#endif
