#include "tests/launcher/support_bad_worker.h"

#include "probes/protocol/protocol.h"
#include "tuner/base/buf.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct fm_request request;
static struct fm_reply reply;

_Noreturn static void hang(void)
{
    for (;;) (void)pause();
}

static void say(const char *text, size_t bytes)
{
    while (bytes) {
        ssize_t done = write(STDOUT_FILENO, text, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) _exit(90);
        text += done;
        bytes -= (size_t)done;
    }
}

static void warn(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static void read_request(void)
{
    static struct fm_buf line = { .max_bytes = FM_LINE_MAX_BYTES };
    fm_buf_clear(&line);
    for (;;) {
        char c;
        ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) _exit(0);
        if (c == '\n') break;
        fm_buf_putc(&line, c);
    }
    fm_request_release(&request);
    if (fm_request_read(fm_buf_text(&line), line.bytes, &request, NULL) != FM_OK) _exit(FM_PROTOCOL);
}

/* a good answer; `bytes` of it, or all if 0 */
static void say_reply(size_t bytes)
{
    static struct fm_buf out = { .max_bytes = FM_LINE_MAX_BYTES };
    fm_buf_clear(&out);
    if (fm_reply_write(&reply, &out, NULL) != FM_OK) _exit(91);
    say(fm_buf_text(&out), bytes ? bytes : out.bytes);
}

/* a child that lives on, holding stdout, stderr and stdin, and is deaf to SIGTERM */
static void leave_behind(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGTERM, SIG_IGN);
        hang();
    }
    (void)snprintf(reply.reason, sizeof reply.reason, "%ld", (long)pid);
}

static void prepare_reply(void)
{
    fm_reply_release(&reply);
    fm_reply_init(&reply);
    reply.id = request.id;
    reply.kind = request.kind;
    reply.program = request.program;
    reply.train.known = true;
    (void)snprintf(reply.device_id, sizeof reply.device_id, "bad");
    (void)snprintf(reply.device_name, sizeof reply.device_name, "a bad worker");
    static struct fm_answer answer[4];
    if (request.kind == FM_REQUEST_WORKSPACES && request.keys <= 4) {
        for (size_t i = 0; i < request.keys; i++) answer[i].key = request.key[i];
        /* static: not the reply's to release */
        reply.answer = answer;
        reply.answers = request.keys;
    }
}

static void die(const char *how)
{
    int code = 0;
    /* the sanitizers catch it otherwise */
    if (strcmp(how, "segv") == 0) (void)signal(SIGSEGV, SIG_DFL), (void)raise(SIGSEGV);
    if (strcmp(how, "abort") == 0) (void)signal(SIGABRT, SIG_DFL), (void)raise(SIGABRT);
    if (strcmp(how, "kill") == 0) (void)raise(SIGKILL);
    if (sscanf(how, "exit%d", &code) == 1) _exit(code);
    if (strcmp(how, "deaf") == 0) (void)signal(SIGTERM, SIG_IGN), hang();
    if (strcmp(how, "hang") == 0) hang();
    if (strcmp(how, "whisper") == 0) {
        for (int i = 0; i < 2000; i++) warn("an early line that nobody needs\n");
        warn("caf\xc3\xa9 \xff\x01 last words\n\n");
        _exit(3);
    }
    if (strcmp(how, "shout") == 0)
        for (;;) warn("a line of its log, and another one, without end\n");
}

static void babble(const char *how)
{
    static char block[65536];
    if (strcmp(how, "endless") == 0) {
        memset(block, 'x', sizeof block);
        for (;;) say(block, sizeof block);
    }
    if (strcmp(how, "lines") == 0)
        for (;;) say("\n", 1);
    if (strcmp(how, "garbage") == 0) say("Hello, world!\n", 14), hang();
    if (strcmp(how, "half") == 0) say_reply(20), _exit(0);
    if (strcmp(how, "halfhang") == 0) say_reply(20), hang();
    if (strcmp(how, "halfcrash") == 0) say_reply(20), _exit(5);
    if (strcmp(how, "closed") == 0) (void)close(STDOUT_FILENO), hang();
    if (strcmp(how, "twice") == 0) say("{}\n{}\n", 6), hang();
    if (strcmp(how, "orphan") == 0) leave_behind(), _exit(6);
}

/* something else than the answer, which follows */
static void twist(const char *how)
{
    static struct fm_buf two = { .max_bytes = FM_LINE_MAX_BYTES };
    if (strcmp(how, "program") == 0) reply.program++;
    if (strcmp(how, "refused") == 0) reply.program++, reply.outcome = FM_OUTCOME_protocol;
    if (strcmp(how, "unbuilt") == 0)
        reply.program = 0, reply.outcome = FM_OUTCOME_unsupported, reply.train.known = false;
    if (strcmp(how, "id") == 0) reply.id++;
    if (strcmp(how, "kind") == 0) reply.kind = FM_REQUEST_INVENTORY;
    if (strcmp(how, "fewer") == 0) reply.answers--;
    if (strcmp(how, "other") == 0) reply.answer[1].key ^= 1;
    if (strcmp(how, "slow") == 0) (void)poll(NULL, 0, 300);
    if (strcmp(how, "child") == 0) leave_behind();
    if (strcmp(how, "both") == 0) {
        fm_buf_clear(&two);
        if (fm_reply_write(&reply, &two, NULL) != FM_OK || fm_reply_write(&reply, &two, NULL) != FM_OK) _exit(92);
        say(fm_buf_text(&two), two.bytes);
        hang();
    }
}

_Noreturn void fm_bad_worker(const char *how)
{
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    if (strcmp(how, "told") != 0) die(how);
    for (;;) {
        read_request();
        prepare_reply();
        how = request.cell.workload;
        die(how);
        babble(how);
        twist(how);
        say_reply(0);
        reply.answer = NULL;
    }
}
