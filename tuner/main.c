#include "tuner/commands/commands.h"

#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/options/options.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Workers inherit it: OpenMP threads spin for some 20 microseconds at a barrier, then sleep. Longer spinning, libgomp's
 * default, makes steps ten times as long whenever something else takes a core. The user's own settings stand. */
static void let_threads_sleep(void)
{
    if (!getenv("OMP_WAIT_POLICY")) (void)setenv("GOMP_SPINCOUNT", "20000", 0);
}

/* A file that is opened where a standard stream was closed would get what is printed: a journal, the progress. Such a stream
 * is held open, and a stdout so that writing to it fails. */
static void hold_streams(void)
{
    static const int mode[] = { [STDIN_FILENO] = O_RDONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_WRONLY };
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode[fd]) != fd) _Exit(FM_IO);
}

#define KEPT_BYTES ((size_t)64 << 20)       /* more than the graph, program and lowering of a plan take */

int main(int argc, char **argv)
{
    struct fm_options options;
    struct fm_err err = { 0 };
    hold_streams();
    (void)signal(SIGPIPE, SIG_IGN);
    let_threads_sleep();
    fm_memory_keep(KEPT_BYTES);
    fm_status status = fm_options_parse(argc, argv, &options, &err);
    if (status == FM_OK) status = fm_command(&options, &err);
    if (status != FM_OK) fm_log(status == FM_INTERRUPTED ? FM_LOG_WARN : FM_LOG_ERROR, "%s", err.text[0] ? err.text : fm_status_text(status));
    fm_options_release(&options);
    bool written = fflush(stdout) == 0;
    if (!written && status == FM_OK) {
        fm_log(FM_LOG_ERROR, "writing to standard output failed: %s", strerror(errno));
        status = FM_IO;
    }
    return (int)status;
}
