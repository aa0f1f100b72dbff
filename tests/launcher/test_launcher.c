/* Workers that die, hang, babble and lie: each is one outcome, soon, and leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/launcher/support_bad_worker.h"
#include "tuner/base/clock.h"
#include "tuner/base/memory.h"
#include "tuner/launcher/internal.h"
#include "tuner/launcher/launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SELF "/proc/self/exe"
#define MS INT64_C(1000000)

/* large: kept off the stack */
static struct fm_reply reply;

static int64_t now_ns(void) { return fm_now_ns(fm_clock_system()); }
static int64_t in_ms(int64_t ms) { return now_ns() + ms * MS; }

static int count_fds(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir)) count++;
    (void)closedir(dir);
    return count;
}

/* what a test began with, which it must leave */
static int fds_before;
static int setup(void **state)
{
    (void)state;
    (void)setenv("FM_TEST_WORKER", "told", 1);
    fds_before = count_fds();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(fm_memory_live, 0);
    assert_int_equal(count_fds(), fds_before);
    /* no child, not even a dead one */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

static bool runs(long pid)
{
    char path[64], state = 'X';
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    if (fscanf(file, "%*d %*s %c", &state) != 1) state = 'X';
    (void)fclose(file);
    return state != 'Z' && state != 'X';
}

/* a killed process takes a moment to go */
static void assert_ends(long pid)
{
    int64_t until = in_ms(2000);
    while (runs(pid) && now_ns() < until) (void)poll(NULL, 0, 2);
    assert_false(runs(pid));
}

static struct fm_request probe(const char *how)
{
    struct fm_request request = { .id = 41, .kind = FM_REQUEST_PROBE, .batch = 1, .memory_bytes = 1, .program = 77 };
    (void)snprintf(request.cell.workload, sizeof request.cell.workload, "%s", how);
    return request;
}

static struct fm_worker *start(void)
{
    struct fm_worker *worker = NULL;
    struct fm_err err = { 0 };
    if (fm_worker_start(SELF, NULL, &worker, &err) != FM_OK) fail_msg("%s", err.text);
    return worker;
}

static void call(struct fm_worker *worker, const struct fm_request *request, int64_t ms)
{
    struct fm_err err = { 0 };
    if (fm_worker_call(worker, request, in_ms(ms), NULL, &reply, &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(reply.id, request->id);
    assert_int_equal(reply.kind, request->kind);
}

/* ---- one that behaves ---- */

static void answers_and_stays(void **state)
{
    (void)state;
    struct fm_worker *worker = start();
    struct fm_request request = { .id = 1 };
    for (; request.id < 20; request.id++) {
        call(worker, &request, 20000);
        assert_int_equal(reply.outcome, FM_OUTCOME_ok);
        assert_string_equal(reply.device_name, "a bad worker");
        assert_true(fm_worker_alive(worker));
    }
    struct fm_request probes = probe("ok");
    call(worker, &probes, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_ok);
    assert_true(reply.train.known);
    uint64_t keys[] = { 5, 6, 7 };
    struct fm_request workspaces = probe("ok");
    workspaces.kind = FM_REQUEST_WORKSPACES, workspaces.key = keys, workspaces.keys = 3;
    call(worker, &workspaces, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_ok);
    assert_int_equal(reply.answers, 3);
    fm_reply_release(&reply);
    /* its stdin closed, it ends by itself, at once */
    int64_t began = now_ns();
    fm_worker_stop(worker);
    assert_true(now_ns() - began < 1900 * MS);
    fm_worker_stop(NULL);
}

static void slow_but_in_time(void **state)
{
    (void)state;
    struct fm_worker *worker = start();
    struct fm_request request = probe("slow");
    int64_t began = now_ns();
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_ok);
    assert_true(now_ns() - began >= 300 * MS);
    fm_worker_stop(worker);
}

static void threads_are_passed(void **state)
{
    (void)state;
    /* cat prints what it cannot open, `--threads` among it, as an option that it does not know */
    struct fm_worker *worker = NULL;
    struct fm_request request = probe("ok");
    assert_int_equal(fm_worker_start("/bin/cat", &(struct fm_worker_options){ .threads = 3 }, &worker, NULL), FM_OK);
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_crash);
    if (!strstr(reply.reason, "--threads")) fail_msg("%s", reply.reason);
    fm_worker_stop(worker);
}

static void the_device_is_passed(void **state)
{
    (void)state;
    struct fm_worker *worker = NULL;
    struct fm_request request = probe("ok");
    assert_int_equal(fm_worker_start("/bin/cat", &(struct fm_worker_options){ .device = "cuda:1" }, &worker, NULL), FM_OK);
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_crash);
    if (!strstr(reply.reason, "--device")) fail_msg("%s", reply.reason);
    fm_worker_stop(worker);
}

/* ---- each misbehaviour, one outcome ---- */

struct behaviour {
    const char *how;
    enum fm_outcome outcome;
    const char *reason;             /* a part of it */
    int64_t deadline_ms, most_ms;   /* what the call may take in all */
};

static void behave(const struct behaviour *b)
{
    struct fm_worker *worker = start();
    long pid = worker->pid;
    struct fm_request request = probe(b->how);
    uint64_t keys[] = { 5, 6, 7 };
    if (strcmp(b->how, "fewer") == 0 || strcmp(b->how, "other") == 0)
        request.kind = FM_REQUEST_WORKSPACES, request.key = keys, request.keys = 3;
    int64_t began = now_ns();
    call(worker, &request, b->deadline_ms);
    int64_t took = now_ns() - began;
    if (reply.outcome != b->outcome || !strstr(reply.reason, b->reason))
        fail_msg("%s: %s: %s", b->how, fm_outcome_name(reply.outcome), reply.reason);
    if (took > b->most_ms * MS) fail_msg("%s: %lld ms", b->how, (long long)(took / MS));
    assert_false(reply.train.known);
    assert_int_equal(reply.answers, 0);
    assert_false(fm_worker_alive(worker));
    assert_false(runs(pid));
    /* it is gone: asking again is our mistake */
    assert_int_equal(fm_worker_call(worker, &request, in_ms(100), NULL, &reply, NULL), FM_INVALID);
    fm_worker_stop(worker);
}

static void deaths(void **state)
{
    (void)state;
    static const struct behaviour all[] = {
        { "exit10", FM_OUTCOME_crash, "exited with code 10", 20000, 10000 },
        { "exit127", FM_OUTCOME_crash, "exited with code 127", 20000, 10000 },
        { "exit0", FM_OUTCOME_protocol, "ended without an answer", 20000, 10000 },
        { "exit11", FM_OUTCOME_unsupported, "exited with code 11", 20000, 10000 },
        { "exit14", FM_OUTCOME_protocol, "exited with code 14", 20000, 10000 },
        { "segv", FM_OUTCOME_crash, "killed by SIGSEGV (signal 11)", 20000, 10000 },
        { "abort", FM_OUTCOME_crash, "killed by SIGABRT", 20000, 10000 },
        { "kill", FM_OUTCOME_oom_host, "killed by SIGKILL", 20000, 10000 },
        { "whisper", FM_OUTCOME_crash, "caf\xc3\xa9 ?  last words", 20000, 10000 },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) behave(&all[i]);
}

static void hangs(void **state)
{
    (void)state;
    static const struct behaviour all[] = {
        { "hang", FM_OUTCOME_timeout, "no answer until the deadline", 100, 5000 },
        { "deaf", FM_OUTCOME_timeout, "no answer", 100, 5000 },
        { "halfhang", FM_OUTCOME_timeout, "no answer", 100, 5000 },
        { "shout", FM_OUTCOME_timeout, "no answer until the deadline", 300, 5000 },
        { "closed", FM_OUTCOME_protocol, "closed its stdout", 20000, 10000 },
        { "hang", FM_OUTCOME_timeout, "no answer", -1000, 5000 },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) behave(&all[i]);
}

static void babblings(void **state)
{
    (void)state;
    static const struct behaviour all[] = {
        { "endless", FM_OUTCOME_protocol, "too long", 30000, 15000 },
        { "lines", FM_OUTCOME_protocol, "not a line of JSON", 20000, 10000 },
        { "garbage", FM_OUTCOME_protocol, "not a line of JSON", 20000, 10000 },
        { "half", FM_OUTCOME_protocol, "ended in the middle of its answer", 20000, 10000 },
        { "halfcrash", FM_OUTCOME_crash, "exited with code 5", 20000, 10000 },
        { "twice", FM_OUTCOME_protocol, "not version 1", 20000, 10000 },
        { "both", FM_OUTCOME_protocol, "went on talking", 20000, 10000 },
        /* another process holds its stdout open */
        { "orphan", FM_OUTCOME_crash, "exited with code 6", 20000, 10000 },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) behave(&all[i]);
}

static void lies(void **state)
{
    (void)state;
    static const struct behaviour all[] = {
        { "program", FM_OUTCOME_protocol, "ran program 000000000000004e, not 000000000000004d", 20000, 10000 },
        { "id", FM_OUTCOME_protocol, "answered request 42, not 41", 20000, 10000 },
        { "kind", FM_OUTCOME_protocol, "answered 'inventory', not 'probe'", 20000, 10000 },
        { "fewer", FM_OUTCOME_protocol, "answered 2 problems of 3", 20000, 10000 },
        { "other", FM_OUTCOME_protocol, "answered problem 0000000000000007 in place of 0000000000000006", 20000,
          10000 },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) behave(&all[i]);
}

/* what a worker says of itself stands, and it can be asked again */
static void own_words_stand(void **state)
{
    (void)state;
    struct fm_worker *worker = start();
    struct fm_request request = probe("refused");
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_protocol);
    assert_string_equal(reply.reason, "");
    assert_true(fm_worker_alive(worker));
    request = probe("unbuilt");
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_unsupported);
    assert_true(fm_worker_alive(worker));
    fm_worker_stop(worker);
}

/* ---- the rest of its life ---- */

static void killed_from_outside(void **state)
{
    (void)state;
    struct fm_worker *worker = start();
    struct fm_request request = probe("ok");
    call(worker, &request, 20000);
    assert_int_equal(kill(worker->pid, SIGKILL), 0);
    assert_true(fm_process_wait(worker, in_ms(5000)));
    assert_false(fm_worker_alive(worker));
    /* no SIGPIPE either */
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_oom_host);
    fm_worker_stop(worker);
}

static void gone_before_it_is_asked(void **state)
{
    (void)state;
    (void)setenv("FM_TEST_WORKER", "whisper", 1);
    struct fm_worker *worker = start();
    (void)setenv("FM_TEST_WORKER", "told", 1);
    /* its log is more than a pipe holds: it waits to be read, then dies */
    struct fm_request request = probe("ok");
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_crash);
    assert_non_null(strstr(reply.reason, "exited with code 3"));
    assert_non_null(strstr(fm_worker_stderr(worker), "last words"));
    assert_true(strlen(fm_worker_stderr(worker)) <= FM_WORKER_TAIL_BYTES);
    fm_worker_stop(worker);
}

static void does_not_read(void **state)
{
    (void)state;
    static uint64_t keys[FM_MAX_KEYS];
    (void)setenv("FM_TEST_WORKER", "hang", 1);
    struct fm_worker *worker = start();
    (void)setenv("FM_TEST_WORKER", "told", 1);
    /* more than the system takes before it is read */
    struct fm_request request = probe("ok");
    request.kind = FM_REQUEST_WORKSPACES, request.key = keys, request.keys = FM_MAX_KEYS;
    int64_t began = now_ns();
    call(worker, &request, 200);
    assert_int_equal(reply.outcome, FM_OUTCOME_timeout);
    assert_true(now_ns() - began < 10000 * MS);
    fm_worker_stop(worker);
}

static void stopped_while_it_hangs(void **state)
{
    (void)state;
    (void)setenv("FM_TEST_WORKER", "deaf", 1);
    struct fm_worker *worker = start();
    (void)setenv("FM_TEST_WORKER", "told", 1);
    long pid = worker->pid;
    int64_t began = now_ns();
    fm_worker_stop(worker);
    assert_true(now_ns() - began < 5000 * MS);
    assert_false(runs(pid));
}

static void grandchildren_die_with_it(void **state)
{
    (void)state;
    struct fm_worker *worker = start();
    struct fm_request request = probe("child");
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_ok);
    long pid = strtol(reply.reason, NULL, 10);
    assert_true(pid > 1 && runs(pid));
    int64_t began = now_ns();
    fm_worker_stop(worker);
    assert_true(now_ns() - began < 5000 * MS);
    assert_ends(pid);
}

static void *raise_flag(void *flag)
{
    (void)poll(NULL, 0, 100);
    atomic_store((atomic_bool *)flag, true);
    return NULL;
}

static void interrupted(void **state)
{
    (void)state;
    atomic_bool cancel = false;
    pthread_t thread;
    struct fm_worker *worker = start();
    struct fm_request request = probe("hang");
    struct fm_err err = { 0 };
    int64_t began = now_ns();
    assert_int_equal(pthread_create(&thread, NULL, raise_flag, &cancel), 0);
    assert_int_equal(fm_worker_call(worker, &request, in_ms(20000), &cancel, &reply, &err), FM_INTERRUPTED);
    assert_true(now_ns() - began < 10000 * MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(fm_worker_alive(worker));
    fm_worker_stop(worker);
}

static void does_not_start(void **state)
{
    (void)state;
    struct fm_worker *worker = NULL;
    struct fm_err err = { 0 };
    assert_int_equal(fm_worker_start("/nowhere/fillmark-worker-x", NULL, &worker, &err), FM_IO);
    assert_null(worker);
    assert_string_equal(err.text, "/nowhere/fillmark-worker-x does not start: No such file or directory");
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_worker_start("/", NULL, &worker, &err), FM_IO);
    assert_non_null(strstr(err.text, "Permission denied"));
}

/* our own standard streams closed: its pipes must not be taken for them */
static void without_our_stdin(void **state)
{
    (void)state;
    int kept = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
    (void)close(STDIN_FILENO);
    struct fm_worker *worker = start();
    struct fm_request request = probe("ok");
    call(worker, &request, 20000);
    assert_int_equal(reply.outcome, FM_OUTCOME_ok);
    fm_worker_stop(worker);
    if (kept >= 0) {
        assert_int_equal(dup2(kept, STDIN_FILENO), STDIN_FILENO);
        (void)close(kept);
    }
}

/* fillmark killed: its worker must not go on using the device */
static void dies_with_its_parent(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct fm_worker *worker = NULL;
        struct fm_request request = probe("hang");
        if (fm_worker_start(SELF, NULL, &worker, NULL) != FM_OK) _exit(1);
        if (write(ends[1], &worker->pid, sizeof worker->pid) != sizeof worker->pid) _exit(1);
        _exit(fm_worker_call(worker, &request, in_ms(20000), NULL, &reply, NULL) == FM_OK);
    }
    pid_t pid = 0;
    assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
    assert_true(runs(pid));
    (void)kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_ends(pid);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* ---- several at once ---- */

#define THREADS 8

static void *campaign(void *number)
{
    static const struct { const char *how; enum fm_outcome outcome;
    } plan[] = {
        { "ok", FM_OUTCOME_ok },        { "segv", FM_OUTCOME_crash },    { "half", FM_OUTCOME_protocol },
        { "hang", FM_OUTCOME_timeout }, { "kill", FM_OUTCOME_oom_host }, { "ok", FM_OUTCOME_ok },
    };
    long *faults = number, first = *faults;
    struct fm_reply *mine = fm_calloc(1, sizeof *mine);
    *faults = mine ? 0 : 1;
    for (long i = 0; mine && i < 6; i++) {
        struct fm_worker *worker = NULL;
        struct fm_request request = probe(plan[(i + first) % 6].how);
        request.id = first * 100 + i;
        bool hang = strcmp(request.cell.workload, "hang") == 0;
        if (fm_worker_start(SELF, NULL, &worker, NULL) != FM_OK ||
            fm_worker_call(worker, &request, in_ms(hang ? 100 : 30000), NULL, mine, NULL) != FM_OK ||
            mine->outcome != plan[(i + first) % 6].outcome || mine->id != request.id)
            ++*faults;
        fm_worker_stop(worker);
    }
    fm_free(mine);
    if (fm_memory_live) ++*faults;
    return NULL;
}

static void from_many_threads(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    long number[THREADS];
    for (long i = 0; i < THREADS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&thread[i], NULL, campaign, &number[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(number[i], 0);
    }
}

/* each pipe, process and allocation of ours may be refused */
static void every_fault_of_ours(void **state)
{
    (void)state;
    struct fm_request request = probe("ok");
    long faults = 0;
    for (long n = 0;; n++) {
        struct fm_worker *worker = NULL;
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_worker_start(SELF, NULL, &worker, NULL);
        if (status == FM_OK) status = fm_worker_call(worker, &request, in_ms(20000), NULL, &reply, NULL);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_worker_stop(worker);
        assert_int_equal(teardown(state), 0);
        if (!hits) {
            assert_int_equal(status, FM_OK);
            assert_int_equal(reply.outcome, FM_OUTCOME_ok);
            break;
        }
        assert_true(status == FM_NOMEM || status == FM_IO);
        faults++;
    }
    assert_true(faults >= 8);
}

/* ---- where workers are ---- */

static void paths(void **state)
{
    (void)state;
    char folder[] = "/tmp/fillmark-test-XXXXXX", file[128], path[256];
    struct fm_err err = { 0 };
    assert_non_null(mkdtemp(folder));
    (void)snprintf(file, sizeof file, "%s/fillmark-worker-some_1", folder);
    (void)setenv("FILLMARK_WORKER_DIR", folder, 1);
    assert_int_equal(fm_worker_path("some_1", path, sizeof path, &err), FM_INVALID);
    assert_non_null(strstr(err.text, folder));
    int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    /* there, but it cannot be run; root may run anything that has a bit set */
    assert_int_equal(fm_worker_path("some_1", path, sizeof path, NULL), FM_INVALID);
    assert_int_equal(fchmod(fd, 0700), 0);
    assert_int_equal(fm_worker_path("some_1", path, sizeof path, NULL), FM_OK);
    assert_string_equal(path, file);
    assert_int_equal(fm_worker_path("some_1", path, strlen(file), NULL), FM_INVALID);
    assert_int_equal(fm_worker_path("some_1", path, strlen(file) + 1, NULL), FM_OK);
    (void)close(fd);
    (void)unlink(file);
    (void)rmdir(folder);
    (void)unsetenv("FILLMARK_WORKER_DIR");
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_worker_path("some_1", path, sizeof path, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "../libexec/fillmark"));
    assert_int_equal(fm_worker_path("../x", path, sizeof path, NULL), FM_INVALID);
    assert_int_equal(fm_worker_path("", path, sizeof path, NULL), FM_INVALID);
}

/* beside the executable */
static void path_beside_it(void **state)
{
    (void)state;
    char file[600], path[600];
    ssize_t n = readlink(SELF, file, sizeof file - 64);
    assert_true(n > 0);
    file[n] = '\0';
    (void)snprintf(strrchr(file, '/'), 64, "/fillmark-worker-test%ld", (long)getpid());
    int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    (void)close(fd);
    fm_status status = fm_worker_path(strrchr(file, '-') + 1, path, sizeof path, NULL);
    (void)unlink(file);
    assert_int_equal(status, FM_OK);
    assert_string_equal(path, file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const char *how = getenv("FM_TEST_WORKER");
    if (how) fm_bad_worker(how);
    const struct CMUnitTest tests[] = {
        TEST(answers_and_stays),
        TEST(slow_but_in_time),
        TEST(threads_are_passed),
        TEST(the_device_is_passed),
        TEST(deaths),
        TEST(hangs),
        TEST(babblings),
        TEST(lies),
        TEST(own_words_stand),
        TEST(killed_from_outside),
        TEST(gone_before_it_is_asked),
        TEST(does_not_read),
        TEST(stopped_while_it_hangs),
        TEST(grandchildren_die_with_it),
        TEST(interrupted),
        TEST(does_not_start),
        TEST(without_our_stdin),
        TEST(dies_with_its_parent),
        TEST(from_many_threads),
        TEST(every_fault_of_ours),
        TEST(paths),
        TEST(path_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
