#include "tuner/launcher/launcher.h"

#include "probes/protocol/json.h"
#include "tuner/base/clock.h"
#include "tuner/base/memory.h"
#include "tuner/launcher/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS_NS INT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)
/* how often the cancel flag and the process' end are looked at */
#define SLICE_NS (50 * MS_NS)
#define TERM_GRACE_NS SECOND_NS
#define STOP_GRACE_NS (2 * SECOND_NS)

/* ---- start and stop ---- */

fm_status fm_worker_start(const char *path, const struct fm_worker_options *options, struct fm_worker **out, struct fm_err *err)
{
    char name[4096], count[16], device[1024], threads_option[] = "--threads", device_option[] = "--device", *argv[6];
    size_t n = 0;
    *out = NULL;
    if (strlen(path) >= sizeof name)
        return FM_FAIL(err, FM_INVALID, "a worker's path of more than %zu bytes", sizeof name - 1);
    (void)snprintf(name, sizeof name, "%s", path);
    argv[n++] = name;
    if (options && options->threads > 0) {
        (void)snprintf(count, sizeof count, "%" PRId32, options->threads);
        argv[n++] = threads_option;
        argv[n++] = count;
    }
    if (options && options->device) {
        if (strlen(options->device) >= sizeof device)
            return FM_FAIL(err, FM_INVALID, "a device's name of more than %zu bytes", sizeof device - 1);
        (void)snprintf(device, sizeof device, "%s", options->device);
        argv[n++] = device_option;
        argv[n++] = device;
    }
    argv[n] = NULL;
    struct fm_worker *worker = fm_calloc(1, sizeof *worker);
    if (!worker) return FM_FAIL(err, FM_NOMEM, "a worker");
    worker->received = FM_BUF(FM_LINE_MAX_BYTES);
    fm_status status = fm_process_start(worker, argv, err);
    if (status != FM_OK) fm_free(worker);
    else *out = worker;
    return status;
}

void fm_worker_stop(struct fm_worker *worker)
{
    if (!worker) return;
    /* the end of its stdin is its sign; a reply nobody waits for shall not hold it up */
    fm_process_hang_up(worker);
    (void)fm_process_wait(worker, fm_now_ns(fm_clock_system()) + STOP_GRACE_NS);
    fm_process_kill(worker, TERM_GRACE_NS);
    fm_buf_release(&worker->received);
    fm_free(worker);
}

bool fm_worker_alive(struct fm_worker *worker)
{
    return worker->in_fd >= 0 && worker->out_fd >= 0 && !fm_process_ended(worker);
}

const char *fm_worker_stderr(const struct fm_worker *worker)
{
    return worker->tail;
}

/* ---- talking ---- */

enum heard { HEARD_NOTHING, HEARD_LINE, HEARD_TOO_MUCH, HEARD_END, HEARD_DEADLINE, HEARD_CANCEL, HEARD_NOMEM };

struct talk {
    struct fm_worker *worker;
    const char *request;            /* what is left of it to send */
    size_t left;
    size_t scanned;                 /* received bytes without a newline */
    int64_t deadline_ns;
    const atomic_bool *cancel;
};

static void send_some(struct talk *talk)
{
    while (talk->left) {
        ssize_t sent = send(talk->worker->in_fd, talk->request, talk->left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) {
            /* it does not read any more: its end, or its answer all the same, is seen on the other side */
            talk->left = 0;
            return;
        }
        talk->request += sent;
        talk->left -= (size_t)sent;
    }
}

/* what there is of stdout; a bounded number of reads, so that deadline and cancel are seen */
static enum heard receive_some(struct talk *talk)
{
    struct fm_worker *worker = talk->worker;
    struct fm_buf *received = &worker->received;
    char chunk[65536];
    for (int i = 0; i < 16; i++) {
        if (memchr(fm_buf_text(received) + talk->scanned, '\n', received->bytes - talk->scanned)) return HEARD_LINE;
        talk->scanned = received->bytes;
        if (worker->out_fd < 0) return HEARD_END;
        ssize_t got = read(worker->out_fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return HEARD_NOTHING;
        if (got <= 0) {
            (void)close(worker->out_fd);
            worker->out_fd = -1;
            return HEARD_END;
        }
        if (received->bytes + (size_t)got > received->max_bytes) return HEARD_TOO_MUCH;
        fm_buf_add(received, chunk, (size_t)got);
        if (!fm_buf_ok(received)) return HEARD_NOMEM;
    }
    return HEARD_NOTHING;
}

/* until something is heard; HEARD_END: its stdout is closed, or it ended while another process holds that open */
static enum heard listen_to(struct talk *talk)
{
    struct fm_worker *worker = talk->worker;
    struct fm_clock clock = fm_clock_system();
    for (;;) {
        send_some(talk);
        bool ended = fm_process_ended(worker);
        enum heard heard = receive_some(talk);
        fm_process_drain(worker);
        if (heard != HEARD_NOTHING) return heard;
        int64_t left_ns = talk->deadline_ns - fm_now_ns(clock);
        if (talk->cancel && atomic_load(talk->cancel)) return HEARD_CANCEL;
        if (left_ns <= 0) return HEARD_DEADLINE;
        /* it ended before we read and there was nothing left, though perhaps more than one reading's worth */
        struct pollfd fds[] = { { .fd = worker->out_fd, .events = POLLIN }, { .fd = worker->err_fd, .events = POLLIN },
                                { .fd = talk->left ? worker->in_fd : -1, .events = POLLOUT } };
        if (ended && poll(fds, 1, 0) == 0) return HEARD_END;
        int64_t slice_ns = left_ns < SLICE_NS ? left_ns : SLICE_NS;
        (void)poll(fds, 3, (int)((slice_ns + MS_NS - 1) / MS_NS));
    }
}

/* ---- what it means ---- */

/* the reason, then as much of the end of stderr as fits */
static void set_reason(struct fm_worker *worker, struct fm_reply *out, const char *text)
{
    static const char between[] = "; stderr: ";
    size_t n = strnlen(text, sizeof out->reason - 1), end = worker->tail_bytes;
    memcpy(out->reason, text, n);
    out->reason[n] = '\0';
    while (end && (unsigned char)worker->tail[end - 1] <= ' ') end--;
    if (!end || n + sizeof between + 8 > sizeof out->reason) return;
    memcpy(out->reason + n, between, sizeof between - 1);
    n += sizeof between - 1;
    size_t room = sizeof out->reason - 1 - n, start = end > room ? end - room : 0;
    /* a NUL would end the reason; not from the middle of a character */
    const char *nul = memrchr(worker->tail + start, '\0', end - start);
    if (nul) start = (size_t)(nul - worker->tail) + 1;
    while (start && start < end && ((unsigned char)worker->tail[start] & 0xc0) == 0x80) start++;
    memcpy(out->reason + n, worker->tail + start, end - start);
    out->reason[n + end - start] = '\0';
}

/* a worker that dies may say anything: controls become spaces, what is not UTF-8 '?' */
static void clean(char *text)
{
    size_t bytes = strlen(text), step;
    for (size_t i = 0; i < bytes; i += step) {
        step = fm_utf8_length(text + i, bytes - i);
        if ((unsigned char)text[i] < ' ') text[i] = ' ';
        else if (!step) text[i] = '?';
        if (!step) step = 1;
    }
}

static void set_outcome(struct fm_worker *worker, struct fm_reply *out, enum fm_outcome outcome, const char *text)
{
    int64_t id = out->id;
    enum fm_request_kind kind = out->kind;
    fm_reply_release(out);
    fm_reply_init(out);
    out->id = id;
    out->kind = kind;
    out->outcome = outcome;
    set_reason(worker, out, text);
    clean(out->reason);
}

static void classify_exit(struct fm_worker *worker, struct fm_reply *out, bool half)
{
    char text[96];
    int code = WEXITSTATUS(worker->wait_status);
    if (code == 0) {
        set_outcome(worker, out, FM_OUTCOME_protocol,
                    half ? "the worker ended in the middle of its answer" : "the worker ended without an answer");
        return;
    }
    (void)snprintf(text, sizeof text, "the worker exited with code %d", code);
    set_outcome(worker, out,
                code == FM_UNSUPPORTED ? FM_OUTCOME_unsupported
                : code == FM_PROTOCOL  ? FM_OUTCOME_protocol
                                       : FM_OUTCOME_crash,
                text);
}

static void classify_signal(struct fm_worker *worker, struct fm_reply *out)
{
    char text[96];
    int number = WTERMSIG(worker->wait_status);
    const char *name = sigabbrev_np(number);
    if (number == SIGKILL) {
        set_outcome(worker, out, FM_OUTCOME_oom_host,
                    "the worker was killed by SIGKILL: most likely the host's memory ran out");
        return;
    }
    (void)snprintf(text, sizeof text, "the worker was killed by SIG%s (signal %d)", name ? name : "?", number);
    set_outcome(worker, out, FM_OUTCOME_crash, text);
}

/* its stdout ended before there was an answer */
static void classify_end(struct talk *talk, struct fm_reply *out)
{
    struct fm_worker *worker = talk->worker;
    bool half = worker->received.bytes > 0;
    /* a process that dies closes its files a moment before it can be waited for, be it that the deadline is near */
    bool ended = fm_process_wait(worker, fm_now_ns(fm_clock_system()) + SECOND_NS);
    fm_process_kill(worker, TERM_GRACE_NS);
    if (!ended)
        set_outcome(worker, out, FM_OUTCOME_protocol,
                    "the worker closed its stdout without an answer and went on running");
    else if (!worker->status_known)
        set_outcome(worker, out, FM_OUTCOME_crash, "the worker ended without an answer, its exit status is not known");
    else if (WIFSIGNALED(worker->wait_status))
        classify_signal(worker, out);
    else
        classify_exit(worker, out, half);
}

/* is this reply the request's? */
static fm_status check_reply(const struct fm_request *request, const struct fm_reply *reply, struct fm_err *err)
{
    if (reply->id != request->id)
        return FM_FAIL(err, FM_PROTOCOL, "the worker answered request %" PRId64 ", not %" PRId64, reply->id,
                       request->id);
    if (reply->kind != request->kind)
        return FM_FAIL(err, FM_PROTOCOL, "the worker answered '%s', not '%s'", fm_request_kind_name(reply->kind),
                       fm_request_kind_name(request->kind));
    /* the worker itself says that it does not agree */
    if (reply->outcome == FM_OUTCOME_protocol) return FM_OK;
    if (reply->kind == FM_REQUEST_PROBE && reply->program && reply->program != request->program)
        return FM_FAIL(err, FM_PROTOCOL, "the worker ran program %016" PRIx64 ", not %016" PRIx64
                       "; fillmark and its workers must be of one build", reply->program, request->program);
    if (reply->kind != FM_REQUEST_WORKSPACES || reply->outcome != FM_OUTCOME_ok) return FM_OK;
    if (reply->answers != request->keys)
        return FM_FAIL(err, FM_PROTOCOL, "the worker answered %zu problems of %zu", reply->answers, request->keys);
    for (size_t i = 0; i < reply->answers; i++)
        if (reply->answer[i].key != request->key[i])
            return FM_FAIL(err, FM_PROTOCOL, "the worker answered problem %016" PRIx64 " in place of %016" PRIx64,
                           reply->answer[i].key, request->key[i]);
    return FM_OK;
}

static fm_status classify_line(struct talk *talk, const struct fm_request *request, struct fm_reply *out,
                               struct fm_err *err)
{
    struct fm_worker *worker = talk->worker;
    struct fm_buf *received = &worker->received;
    struct fm_err cause = { 0 };
    const char *line = fm_buf_text(received);
    size_t bytes = (size_t)((const char *)memchr(line, '\n', received->bytes) - line) + 1;
    fm_status status = fm_reply_read(line, bytes, out, &cause);
    if (status == FM_OK) status = check_reply(request, out, &cause);
    if (status == FM_OK && bytes < received->bytes) {
        status = FM_FAIL(&cause, FM_PROTOCOL, "the worker went on talking after its answer");
    }
    fm_buf_clear(received);
    worker->answered = status == FM_OK;
    if (status == FM_OK) return FM_OK;
    fm_process_kill(worker, TERM_GRACE_NS);
    out->id = request->id;
    out->kind = request->kind;
    set_outcome(worker, out, FM_OUTCOME_protocol, cause.text);
    return status == FM_PROTOCOL ? FM_OK : FM_FAIL(err, status, "%s", cause.text);
}

static fm_status conclude(struct talk *talk, enum heard heard, const struct fm_request *request, struct fm_reply *out,
                          struct fm_err *err)
{
    struct fm_worker *worker = talk->worker;
    switch (heard) {
    case HEARD_LINE:
        return classify_line(talk, request, out, err);
    case HEARD_END:
        classify_end(talk, out);
        return FM_OK;
    case HEARD_TOO_MUCH:
        fm_process_kill(worker, TERM_GRACE_NS);
        set_outcome(worker, out, FM_OUTCOME_protocol, "the worker's answer is too long");
        return FM_OK;
    case HEARD_CANCEL:
        fm_process_kill(worker, TERM_GRACE_NS);
        return FM_FAIL(err, FM_INTERRUPTED, "interrupted while a worker ran");
    case HEARD_NOMEM:
        fm_process_kill(worker, TERM_GRACE_NS);
        return FM_FAIL(err, FM_NOMEM, "a worker's answer of more than %zu bytes", worker->received.bytes);
    case HEARD_DEADLINE: case HEARD_NOTHING:
        break;
    }
    fm_process_kill(worker, TERM_GRACE_NS);
    set_outcome(worker, out, FM_OUTCOME_timeout, "no answer until the deadline");
    return FM_OK;
}

fm_status fm_worker_call(struct fm_worker *worker, const struct fm_request *request, int64_t deadline_ns,
                         const atomic_bool *cancel, struct fm_reply *out, struct fm_err *err)
{
    struct fm_buf line = FM_BUF(FM_LINE_MAX_BYTES);
    fm_reply_init(out);
    out->id = request->id;
    out->kind = request->kind;
    out->outcome = FM_OUTCOME_crash;
    if (worker->in_fd < 0 || worker->out_fd < 0) return FM_FAIL(err, FM_INVALID, "this worker is gone; start another");
    fm_status status = fm_request_write(request, &line, err);
    if (worker->answered) fm_process_forget(worker);
    if (status == FM_OK) {
        struct talk talk = { .worker = worker,
                             .request = fm_buf_text(&line),
                             .left = line.bytes,
                             .deadline_ns = deadline_ns,
                             .cancel = cancel };
        status = conclude(&talk, listen_to(&talk), request, out, err);
    }
    fm_buf_release(&line);
    return status;
}

/* ---- where it is ---- */

static bool try_path(const char *folder, const char *more, const char *backend, char *path, size_t bytes)
{
    int need = snprintf(path, bytes, "%s%s/fillmark-worker-%s", folder, more, backend);
    return need > 0 && (size_t)need < bytes && access(path, X_OK) == 0;
}

/* the one worker that a build may leave out */
static const char *how_to_build(const char *backend)
{
    return strcmp(backend, "cuda") == 0 ? " (cmake -DFILLMARK_CUDA=ON; it needs nvcc)" : "";
}

fm_status fm_worker_path(const char *backend, char *path, size_t bytes, struct fm_err *err)
{
    char own[4096];
    const char *folder = getenv("FILLMARK_WORKER_DIR");
    if (!backend[0] || backend[strspn(backend, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        return FM_FAIL(err, FM_INVALID, "'%.32s' is no backend's name", backend);
    if (folder && folder[0]) {
        if (try_path(folder, "", backend, path, bytes)) return FM_OK;
        return FM_FAIL(
            err, FM_INVALID,
            "FILLMARK_WORKER_DIR: no fillmark-worker-%s that can be run in %.260s; unset it, or build the worker%s",
            backend, folder, how_to_build(backend));
    }
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    char *slash = NULL;
    if (n > 0) {
        own[n] = '\0';
        slash = strrchr(own, '/');
    }
    if (!slash)
        return FM_FAIL(err, FM_IO, "/proc/self/exe: %s; set FILLMARK_WORKER_DIR", strerror(n < 0 ? errno : ENOENT));
    *slash = '\0';
    if (try_path(own, "", backend, path, bytes) || try_path(own, "/../libexec/fillmark", backend, path, bytes))
        return FM_OK;
    return FM_FAIL(
        err, FM_INVALID,
        "no fillmark-worker-%s in %.240s or its ../libexec/fillmark; build or install it%s, or set FILLMARK_WORKER_DIR",
        backend, own, how_to_build(backend));
}
