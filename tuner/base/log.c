#include "tuner/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int max_level = FM_LOG_INFO;

void fm_log_set_level(enum fm_log_level level)
{
    atomic_store(&max_level, (int)level);
}

void fm_log(enum fm_log_level level, const char *format, ...)
{
    static const char *const prefix[] = { "error: ", "warning: ", "", "" };
    if ((int)level > atomic_load(&max_level)) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)fprintf(stderr, "fillmark: %s%s\n", prefix[level], text);
}
