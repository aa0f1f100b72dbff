/* fillmark-worker-NAME [--threads N]: started by fillmark, not by people. */
#include "probes/worker/serve.h"

#include "tuner/base/log.h"
#include "tuner/base/text.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int64_t threads = 0;
    bool good = argc == 1 || (argc == 3 && strcmp(argv[1], "--threads") == 0 && fm_parse_i64(argv[2], &threads) &&
                              threads >= 0 && threads <= 4096);
    if (!good) {
        fm_log(FM_LOG_ERROR, "usage: %s [--threads N]; it speaks fillmark's protocol on stdin and stdout", argv[0]);
        return FM_INVALID;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return fm_worker_serve(fm_worker_backend(), STDIN_FILENO, STDOUT_FILENO, (int32_t)threads);
}
