/* A growing byte buffer with a mandatory maximum, always NUL-terminated.
 *
 * Errors are sticky: after a failed append every later append does nothing and fm_buf_ok() is false,
 * so that a writer checks once, at the end. */
#ifndef FM_TUNER_BASE_BUF_H
#define FM_TUNER_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct fm_buf {
    char *data;        /* owned; NULL until the first append: use fm_buf_text() */
    size_t bytes;      /* without the NUL */
    size_t capacity;
    size_t max_bytes;
    bool failed;
};

/* for use as: struct fm_buf b = FM_BUF(1 << 20); */
#define FM_BUF(max) ((struct fm_buf){ .max_bytes = (max) })

void fm_buf_release(struct fm_buf *buf);
void fm_buf_clear(struct fm_buf *buf);                  /* keeps the memory, forgets a failure */
bool fm_buf_ok(const struct fm_buf *buf);
const char *fm_buf_text(const struct fm_buf *buf);      /* "" if empty; borrowed */
void fm_buf_add(struct fm_buf *buf, const void *data, size_t bytes);
void fm_buf_puts(struct fm_buf *buf, const char *text);
void fm_buf_putc(struct fm_buf *buf, char c);
void fm_buf_printf(struct fm_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fm_buf_vprintf(struct fm_buf *buf, const char *format, va_list args);

#endif
