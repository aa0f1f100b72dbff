#include "tuner/base/clock.h"

#include <time.h>

static int64_t system_now_ns(void *context)
{
    (void)context;
    struct timespec now = { 0 };
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct fm_clock fm_clock_system(void)
{
    return (struct fm_clock){ .now_ns = system_now_ns };
}

void fm_timestamp(char text[FM_TIMESTAMP_BYTES])
{
    time_t now = time(NULL);
    struct tm utc;
    if (!gmtime_r(&now, &utc) || !strftime(text, FM_TIMESTAMP_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc)) text[0] = '\0';
}
