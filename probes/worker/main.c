/* fillmark-worker-NAME [--threads N] [--device ID]: started by fillmark, not by people. */
#include "probes/worker/serve.h"

#include "tuner/base/log.h"
#include "tuner/base/text.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static bool parse(int argc, char **argv, struct fm_backend_config *config)
{
    int64_t threads = 0;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) return false;
        if (strcmp(argv[i], "--device") == 0) config->device = argv[i + 1];
        else if (strcmp(argv[i], "--threads") != 0 || !fm_parse_i64(argv[i + 1], &threads)) return false;
    }
    if (threads < 0 || threads > 4096) return false;
    config->threads = (int32_t)threads;
    return true;
}

int main(int argc, char **argv)
{
    struct fm_backend_config config = { 0 };
    if (!parse(argc, argv, &config)) {
        fm_log(FM_LOG_ERROR, "usage: %s [--threads N] [--device ID]; it speaks fillmark's protocol on stdin and stdout", argv[0]);
        return FM_INVALID;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return fm_worker_serve(fm_worker_backend(), STDIN_FILENO, STDOUT_FILENO, &config);
}
