#include "tests/campaign/support_fake_worker.h"

#include "tuner/base/buf.h"
#include "tuner/base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static struct fm_fake_script script;
static struct fm_request request;
static struct fm_reply reply;
static char folder[400];

static bool is_special(const struct fm_fake_script *s, const struct fm_cell_spec *cell)
{
    const char *value = s->special_key[0] ? fm_pairs_get(&cell->strategies, s->special_key) : NULL;
    return value && strcmp(value, s->special_value) == 0;
}

static bool train_fits(const struct fm_fake_script *s, const struct fm_cell_spec *cell, int64_t batch)
{
    for (int i = 0; i < FM_FAKE_MISFITS; i++)
        if (batch && s->misfit_batch[i] == batch) return false;
    return batch <= (is_special(s, cell) && s->special_fits_batch >= 0 ? s->special_fits_batch : s->fits_batch);
}

bool fm_fake_fits(const struct fm_fake_script *s, const struct fm_cell_spec *cell, int64_t batch, int64_t val_batch)
{
    if (!train_fits(s, cell, batch)) return false;
    if (!val_batch) return true;
    return (!s->val_fits_batch || val_batch <= s->val_fits_batch) && (!s->after_val_batch || batch < s->after_val_batch);
}

static bool read_whole(const char *name, void *data, size_t bytes)
{
    char path[500];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && read(fd, data, bytes) == (ssize_t)bytes;
    if (fd >= 0) (void)close(fd);
    return good;
}

/* one more entry; how many of that kind there are now, the learning check apart, and how many of them at that batch */
static int64_t log_request(int64_t *of_batch)
{
    static struct fm_fake_entry entry[4096];
    char path[500];
    struct fm_fake_entry now = { request.kind, request.fixed_batch, request.batch, request.val_batch };
    (void)snprintf(path, sizeof path, "%s/log", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, &now, sizeof now) != (ssize_t)sizeof now || lseek(fd, 0, SEEK_SET) != 0) _exit(93);
    ssize_t got = read(fd, entry, sizeof entry);
    int64_t count = 0;
    *of_batch = 0;
    for (size_t i = 0; got > 0 && i < (size_t)got / sizeof now; i++) {
        bool alike = entry[i].kind == now.kind && entry[i].learn == now.learn;
        count += alike;
        *of_batch += alike && entry[i].batch == now.batch;
    }
    (void)close(fd);
    return count;
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

static void fail_with(enum fm_outcome outcome, const char *reason)
{
    reply.outcome = outcome;
    (void)snprintf(reply.reason, sizeof reply.reason, "%s", reason);
}

static void act(enum fm_fake_act how)
{
    switch (how) {
    case FM_FAKE_ANSWER: break;
    case FM_FAKE_CRASH: (void)signal(SIGSEGV, SIG_DFL), (void)raise(SIGSEGV); break;
    case FM_FAKE_HANG: for (;;) (void)pause();
    case FM_FAKE_BABBLE: say("Hello, world!\n", 14); break;
    case FM_FAKE_KILLED: (void)raise(SIGKILL); break;
    case FM_FAKE_SLOW: (void)poll(NULL, 0, 150); break;
    case FM_FAKE_OOM_HOST: fail_with(FM_OUTCOME_oom_host, "scripted"); break;
    case FM_FAKE_UNSUPPORTED: fail_with(FM_OUTCOME_unsupported, "scripted"); break;
    case FM_FAKE_NONFINITE: fail_with(FM_OUTCOME_nonfinite, "the loss was not finite"); break;
    case FM_FAKE_OOM_DEVICE: fail_with(FM_OUTCOME_oom_device, "scripted"); break;
    case FM_FAKE_REFUSED: fail_with(FM_OUTCOME_oom_device, "scripted"), reply.below_limit = true; break;
    }
}

static void answer_inventory(void)
{
    (void)snprintf(reply.device_id, sizeof reply.device_id, "fake");
    (void)snprintf(reply.device_name, sizeof reply.device_name, "a scripted device");
    reply.device_threads = 1;
}

static void answer_workspaces(void)
{
    static struct fm_answer answer[FM_MAX_KEYS];
    if (script.question_batch && request.batch >= script.question_batch) act(script.question_act);
    if (reply.outcome != FM_OUTCOME_ok) return;
    for (size_t i = 0; i < request.keys; i++) answer[i] = (struct fm_answer){ .key = request.key[i] };
    reply.answer = answer;          /* static: not the reply's to release */
    reply.answers = request.keys;
}

static int64_t noisy(int64_t ns, int64_t nth_of_batch)
{
    if (!script.noise_percent) return ns;
    uint64_t drawn = fm_rng_u64(script.noise_seed, (uint64_t)request.batch, (uint64_t)nth_of_batch);
    return ns + ns / 100 * (int64_t)(drawn % (uint64_t)(script.noise_percent + 1));
}

static void measure(int64_t nth_of_batch)
{
    int64_t accumulate = strtoll(fm_pairs_get(&request.cell.strategies, "accumulate"), NULL, 10);
    reply.train.known = true;
    reply.train.steps = 5;
    reply.train.loss_first = 1;
    reply.train.loss_last = request.fixed_batch && script.unlearned ? 2 : 0.5;
    reply.val.known = request.val_batch > 0;
    if (!request.measured_max || (reply.outcome != FM_OUTCOME_ok && reply.outcome != FM_OUTCOME_nonfinite)) return;
    reply.train.step_count = 5;
    for (int i = 0; i < 5; i++)
        reply.train.step_ns[i] = noisy(script.step_fixed_ns + script.step_sample_ns * request.batch * accumulate, nth_of_batch);
}

static bool acts_here(int64_t nth)
{
    static const int64_t always = INT64_MAX;
    if (script.act_special && !is_special(&script, &request.cell)) return false;
    int64_t count = script.act_count ? script.act_count : always;
    if (script.act_probe) return nth >= script.act_probe && nth - script.act_probe < count;
    return script.act_batch ? request.batch == script.act_batch : script.act_special;
}

static void answer_probe(int64_t nth, int64_t nth_of_batch)
{
    reply.program = request.program;
    reply.setup_ns = 1000;
    reply.wall_ns = 2000;
    if (request.fixed_batch) act(script.learn_act);
    else if (acts_here(nth)) act(script.act);
    if (reply.outcome != FM_OUTCOME_ok && reply.outcome != FM_OUTCOME_nonfinite) return;
    if (!fm_fake_fits(&script, &request.cell, request.batch, request.val_batch)) {
        fail_with(FM_OUTCOME_oom_device, "scripted");
        reply.at_bytes = 1;
        measure(nth_of_batch);
        bool train = train_fits(&script, &request.cell, request.batch);
        reply.val.known = train && request.val_batch;
        reply.failed_in_val = reply.val.known && script.val_fits_batch && request.val_batch > script.val_fits_batch;
        return;
    }
    measure(nth_of_batch);
}

void fm_fake_worker(const char *name)
{
    static struct fm_buf out = { .max_bytes = FM_LINE_MAX_BYTES };
    const char *slash = strrchr(name, '/');
    if (!slash || strcmp(slash + 1, FM_FAKE_NAME) != 0) return;
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - name), name);
    for (;;) {
        read_request();
        if (!read_whole("script", &script, sizeof script)) _exit(94);
        int64_t nth_of_batch, nth = log_request(&nth_of_batch);
        fm_reply_init(&reply);
        reply.id = request.id;
        reply.kind = request.kind;
        if (request.kind == FM_REQUEST_INVENTORY) answer_inventory();
        if (request.kind == FM_REQUEST_WORKSPACES) answer_workspaces();
        if (request.kind == FM_REQUEST_PROBE) answer_probe(nth, nth_of_batch);
        fm_buf_clear(&out);
        if (fm_reply_write(&reply, &out, NULL) != FM_OK) _exit(91);
        say(fm_buf_text(&out), out.bytes);
    }
}
