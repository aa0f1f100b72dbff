#include "tuner/launcher/internal.h"

#include "tuner/base/clock.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* how long SIGKILL may take: the memory of a large process is freed first */
#define SIGKILL_GRACE_NS INT64_C(10000000000)

/* both ends of each; [0] is read from */
struct pipes { int in[2], out[2], err[2], exec[2]; };

static void close_fd(int *fd)
{
    if (*fd >= 0) (void)close(*fd);
    *fd = -1;
}

static void close_pair(int fd[2])
{
    close_fd(&fd[0]);
    close_fd(&fd[1]);
}

static void close_pipes(struct pipes *p)
{
    close_pair(p->in);
    close_pair(p->out);
    close_pair(p->err);
    close_pair(p->exec);
}

/* close-on-exec, and beyond the standard three, which the child's own are copied onto */
static bool open_pair(int fd[2], bool is_socket)
{
    if (fm_fault_here()) {
        errno = EMFILE;
        return false;
    }
    int made = is_socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) : pipe2(fd, O_CLOEXEC);
    if (made != 0) {
        fd[0] = fd[1] = -1;
        return false;
    }
    for (int i = 0; i < 2; i++) {
        if (fd[i] > STDERR_FILENO) continue;
        int moved = fcntl(fd[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (moved < 0) return false;
        (void)close(fd[i]);
        fd[i] = moved;
    }
    return true;
}

/* In the child, between fork and exec: only calls that are safe after a fork of a process with threads. */
_Noreturn static void become_worker(const struct pipes *p, char *const argv[], pid_t parent)
{
    int fault = 0;
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigaction(SIGPIPE, &standard, NULL);
    (void)sigaction(SIGINT, &standard, NULL);
    (void)sigaction(SIGTERM, &standard, NULL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    /* if fillmark is killed, its workers shall not go on using the device */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    /* if the host's memory runs out, the kernel shall choose the worker, not fillmark */
    int adjust = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (adjust >= 0) {
        ssize_t ignored = write(adjust, "500", 3);
        (void)ignored;
        (void)close(adjust);
    }
    if (setpgid(0, 0) != 0 || dup2(p->in[0], STDIN_FILENO) < 0 || dup2(p->out[1], STDOUT_FILENO) < 0 ||
        dup2(p->err[1], STDERR_FILENO) < 0) {
        fault = errno;
    } else {
#ifdef SYS_close_range
        /* what a library of ours opened without close-on-exec */
        (void)syscall(SYS_close_range, (unsigned)STDERR_FILENO + 1, (unsigned)p->exec[1] - 1, 0);
        (void)syscall(SYS_close_range, (unsigned)p->exec[1] + 1, ~0U, 0);
#endif
        (void)execv(argv[0], argv);
        fault = errno;
    }
    ssize_t ignored = write(p->exec[1], &fault, sizeof fault);
    (void)ignored;
    _exit(127);
}

/* the errno of an exec that failed, 0 once it succeeded: the pipe's other end is closed by it */
static int exec_fault(int fd)
{
    int fault = 0;
    ssize_t got;
    do got = read(fd, &fault, sizeof fault);
    while (got < 0 && errno == EINTR);
    return got == sizeof fault ? fault : 0;
}

static void reap_failed(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
}

static pid_t fork_worker(struct pipes *p, char *const argv[])
{
    if (fm_fault_here()) {
        errno = EAGAIN;
        return -1;
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become_worker(p, argv, parent);
    return pid;
}

fm_status fm_process_start(struct fm_worker *worker, char *const argv[], struct fm_err *err)
{
    struct pipes p = { { -1, -1 }, { -1, -1 }, { -1, -1 }, { -1, -1 } };
    worker->in_fd = worker->out_fd = worker->err_fd = -1;
    /* stdin is a socket, since writing to one whose reader died can be done without SIGPIPE */
    if (!open_pair(p.in, true) || !open_pair(p.out, false) || !open_pair(p.err, false) || !open_pair(p.exec, false)) {
        int fault = errno;
        close_pipes(&p);
        return FM_FAIL(err, FM_IO, "%s: no pipes for it: %s", argv[0], strerror(fault));
    }
    pid_t pid = fork_worker(&p, argv);
    if (pid < 0) {
        int fault = errno;
        close_pipes(&p);
        return FM_FAIL(err, FM_IO, "%s: no process for it: %s", argv[0], strerror(fault));
    }
    close_fd(&p.in[0]);
    close_fd(&p.out[1]);
    close_fd(&p.err[1]);
    close_fd(&p.exec[1]);
    int fault = exec_fault(p.exec[0]);
    if (fault) {
        reap_failed(pid);
        close_pipes(&p);
        return FM_FAIL(err, FM_IO, "%s does not start: %s", argv[0], strerror(fault));
    }
    close_fd(&p.exec[0]);
    worker->pid = pid;
    worker->in_fd = p.in[1];
    worker->out_fd = p.out[0];
    worker->err_fd = p.err[0];
    (void)fcntl(worker->in_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(worker->out_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(worker->err_fd, F_SETFL, O_NONBLOCK);
    return FM_OK;
}

static void keep_tail(struct fm_worker *worker, const char *text, size_t bytes)
{
    if (bytes > FM_WORKER_TAIL_BYTES) {
        text += bytes - FM_WORKER_TAIL_BYTES;
        bytes = FM_WORKER_TAIL_BYTES;
    }
    size_t kept = worker->tail_bytes < FM_WORKER_TAIL_BYTES - bytes ? worker->tail_bytes : FM_WORKER_TAIL_BYTES - bytes;
    memmove(worker->tail, worker->tail + worker->tail_bytes - kept, kept);
    memcpy(worker->tail + kept, text, bytes);
    worker->tail_bytes = kept + bytes;
    worker->tail[worker->tail_bytes] = '\0';
}

void fm_process_drain(struct fm_worker *worker)
{
    char chunk[16384];
    /* a bounded number at a time: one that writes without end must not keep us */
    for (int i = 0; i < 16 && worker->err_fd >= 0; i++) {
        ssize_t got = read(worker->err_fd, chunk, sizeof chunk);
        if (got > 0) keep_tail(worker, chunk, (size_t)got);
        else if (got < 0 && errno == EINTR) continue;
        else if (got < 0 && errno == EAGAIN) break;
        else close_fd(&worker->err_fd);
    }
}

void fm_process_forget(struct fm_worker *worker)
{
    fm_process_drain(worker);
    worker->tail_bytes = 0;
    worker->tail[0] = '\0';
}

void fm_process_hang_up(struct fm_worker *worker)
{
    close_fd(&worker->in_fd);
    close_fd(&worker->out_fd);
}

bool fm_process_ended(struct fm_worker *worker)
{
    if (worker->exited || !worker->pid) return true;
    siginfo_t info = { 0 };
    int result = waitid(P_PID, (id_t)worker->pid, &info, WEXITED | WNOHANG | WNOWAIT);
    if (result == 0 && info.si_pid != worker->pid) return false;
    if (result != 0 && errno == EINTR) return false;
    worker->exited = true;
    if (result != 0) {
        /* ECHILD: whoever ignores SIGCHLD in this process reaped it, its id may be another's by now */
        worker->pid = 0;
        return true;
    }
    worker->status_known = true;
    worker->wait_status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f;
    return true;
}

bool fm_process_wait(struct fm_worker *worker, int64_t until_ns)
{
    struct fm_clock clock = fm_clock_system();
    for (;;) {
        fm_process_drain(worker);
        if (fm_process_ended(worker)) return true;
        if (fm_now_ns(clock) >= until_ns) return false;
        struct timespec nap = { .tv_nsec = 2000000 };
        (void)nanosleep(&nap, NULL);
    }
}

void fm_process_kill(struct fm_worker *worker, int64_t grace_ns)
{
    struct fm_clock clock = fm_clock_system();
    close_fd(&worker->in_fd);
    if (!fm_process_ended(worker)) {
        (void)kill(-worker->pid, SIGTERM);
        (void)fm_process_wait(worker, fm_now_ns(clock) + grace_ns);
    }
    if (worker->pid) {
        /* its group even if it ended: what it started may outlive it */
        (void)kill(-worker->pid, SIGKILL);
        if (fm_process_wait(worker, fm_now_ns(clock) + SIGKILL_GRACE_NS) && worker->pid) {
            while (waitpid(worker->pid, NULL, 0) < 0 && errno == EINTR) continue;
        } else if (worker->pid) {
            /* within the kernel, where a device's driver hangs: waiting would hang us as well */
            fm_log(FM_LOG_ERROR, "worker process %ld cannot be killed, it may hold its device", (long)worker->pid);
        }
        worker->pid = 0;
    }
    fm_process_drain(worker);
    close_fd(&worker->err_fd);
    fm_process_hang_up(worker);
}
