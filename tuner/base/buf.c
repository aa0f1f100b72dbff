#include "tuner/base/buf.h"

#include "tuner/base/memory.h"

#include <stdio.h>
#include <string.h>

void fm_buf_release(struct fm_buf *buf)
{
    if (!buf) return;
    fm_free(buf->data);
    *buf = FM_BUF(buf->max_bytes);
}

void fm_buf_clear(struct fm_buf *buf)
{
    buf->bytes = 0;
    buf->failed = false;
    if (buf->data) buf->data[0] = '\0';
}

bool fm_buf_ok(const struct fm_buf *buf)
{
    return !buf->failed;
}

const char *fm_buf_text(const struct fm_buf *buf)
{
    return buf->data ? buf->data : "";
}

/* room for `more` bytes and the NUL */
static bool reserve(struct fm_buf *buf, size_t more)
{
    if (buf->failed) return false;
    if (more > buf->max_bytes || buf->bytes > buf->max_bytes - more) {
        buf->failed = true;
        return false;
    }
    char *data = fm_grow(buf->data, &buf->capacity, buf->bytes + more + 1, 1);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    return true;
}

void fm_buf_add(struct fm_buf *buf, const void *data, size_t bytes)
{
    if (!reserve(buf, bytes)) return;
    if (bytes) memcpy(buf->data + buf->bytes, data, bytes);
    buf->bytes += bytes;
    buf->data[buf->bytes] = '\0';
}

void fm_buf_puts(struct fm_buf *buf, const char *text)
{
    fm_buf_add(buf, text, strlen(text));
}

void fm_buf_putc(struct fm_buf *buf, char c)
{
    fm_buf_add(buf, &c, 1);
}

void fm_buf_vprintf(struct fm_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    if (need < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)need)) {
        (void)vsnprintf(buf->data + buf->bytes, (size_t)need + 1, format, again);
        buf->bytes += (size_t)need;
    }
    va_end(again);
}

void fm_buf_printf(struct fm_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fm_buf_vprintf(buf, format, args);
    va_end(args);
}
