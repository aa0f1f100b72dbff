/* Parsing what people type: whole strings only, and the nearest valid name when a name is wrong. */
#ifndef FM_TUNER_BASE_TEXT_H
#define FM_TUNER_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* decimal; no sign but '-', no blanks, nothing after; false leaves *out */
bool fm_parse_i64(const char *text, int64_t *out);
/* a finite decimal number, nothing after it */
bool fm_parse_f64(const char *text, double *out);
/* "2GiB", "512MiB", "1.5GB", "1048576" (bytes); k, M, G, T with B (1000) or iB (1024) */
bool fm_parse_bytes(const char *text, int64_t *out);
/* a size in that form that is more than an int64_t holds: it is no typing error */
bool fm_bytes_too_many(const char *text);
/* the text of a size that fm_parse_bytes() reads as the same: "2GiB", "1536MiB", "1000" */
#define FM_BYTES_TEXT_BYTES 32
void fm_bytes_print(int64_t bytes, char text[FM_BYTES_TEXT_BYTES]);
/* "90s", "4m", "1.5h", "250ms" */
bool fm_parse_duration_ns(const char *text, int64_t *out);
/* "5%", "0.25%": parts per million, rounded; nothing negative */
bool fm_parse_share_ppm(const char *text, int64_t *out);
/* "160x160x256": exactly n positive sizes */
bool fm_parse_sizes(const char *text, int64_t *size, uint32_t n);
/* copies what fits and ends it; returns the bytes of `text`: room or more if it did not fit */
size_t fm_text_copy(char *to, size_t room, const char *text);
/* The name of names[count] that text most likely means, in upper or lower case: the shortest that begins with it, else the
 * nearest by edit distance; NULL if none is near (distance > 1 + length / 3). Of equals the first. */
const char *fm_nearest(const char *text, const char *const *names, size_t count);

#endif
