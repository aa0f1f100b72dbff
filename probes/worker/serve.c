#include "probes/worker/serve.h"

#include "probes/worker/probe.h"
#include "tuner/base/buf.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* a whole line in *line (without its end), or false at the end of input */
static bool read_line(int fd, struct fm_buf *pending, struct fm_buf *line)
{
    for (;;) {
        const char *text = fm_buf_text(pending);
        const char *end = memchr(text, '\n', pending->bytes);
        if (end) {
            size_t n = (size_t)(end - text);
            fm_buf_clear(line);
            fm_buf_add(line, text, n);
            memmove(pending->data, end + 1, pending->bytes - n - 1);
            pending->bytes -= n + 1;
            pending->data[pending->bytes] = '\0';
            return fm_buf_ok(line);
        }
        char chunk[65536];
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        fm_buf_add(pending, chunk, (size_t)got);
        if (!fm_buf_ok(pending)) return false;
    }
}

static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        ssize_t done = write(fd, data, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        data += done;
        bytes -= (size_t)done;
    }
    return true;
}

/* closed: why the backend did not open; NULL: it did */
static void answer(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_err *closed,
                   const struct fm_request *request, struct fm_reply *reply)
{
    reply->id = request->id;
    reply->kind = request->kind;
    if (closed) {
        fm_worker_refuse(ops, closed, reply);
        return;
    }
    switch (request->kind) {
    case FM_REQUEST_INVENTORY: fm_worker_inventory(ops, backend, reply); break;
    case FM_REQUEST_WORKSPACES: fm_worker_workspaces(ops, backend, request, reply); break;
    case FM_REQUEST_PROBE: fm_worker_probe(ops, backend, request, reply); break;
    default: break;
    }
}

/* false: the parent is gone, or nothing can be said any more */
static bool serve_one(const struct fm_backend_ops *ops, struct fm_backend *backend, const struct fm_err *closed, const struct fm_buf *line,
                      int out_fd)
{
    struct fm_request request = { 0 };
    struct fm_err err = { 0 };
    struct fm_buf out = FM_BUF(FM_LINE_MAX_BYTES);
    struct fm_reply *reply = fm_calloc(1, sizeof *reply);
    bool good = reply != NULL;
    if (good && fm_request_read(fm_buf_text(line), line->bytes, &request, &err) != FM_OK) {
        fm_log(FM_LOG_ERROR, "worker: %s", err.text);
        good = false;
    }
    if (good) {
        answer(ops, backend, closed, &request, reply);
        good = fm_reply_write(reply, &out, &err) == FM_OK && write_all(out_fd, fm_buf_text(&out), out.bytes);
    }
    if (reply) fm_reply_release(reply);
    fm_free(reply);
    fm_request_release(&request);
    fm_buf_release(&out);
    return good;
}

int fm_worker_serve(const struct fm_backend_ops *ops, int in_fd, int out_fd, const struct fm_backend_config *config)
{
    struct fm_backend *backend = NULL;
    struct fm_err err = { 0 };
    if (ops->abi != FM_BACKEND_ABI) {
        fm_log(FM_LOG_ERROR, "worker: %s backend is of another version", ops->name);
        return FM_UNSUPPORTED;
    }
    const struct fm_err *closed = ops->open(config, &backend, &err) == FM_OK ? NULL : &err;
    struct fm_buf pending = FM_BUF(FM_LINE_MAX_BYTES), line = FM_BUF(FM_LINE_MAX_BYTES);
    bool good = true;
    while (good && read_line(in_fd, &pending, &line)) good = serve_one(ops, backend, closed, &line, out_fd);
    fm_buf_release(&line);
    fm_buf_release(&pending);
    if (!closed) ops->close(backend);
    return good ? 0 : FM_PROTOCOL;
}
