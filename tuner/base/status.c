#include "tuner/base/status.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

const char *fm_status_name(fm_status status)
{
    switch (status) {
#define X(name, code, text) case FM_##name: return #name;
        FM_STATUS_LIST(X)
#undef X
    }
    return "UNKNOWN";
}

const char *fm_status_text(fm_status status)
{
    switch (status) {
#define X(name, code, text) case FM_##name: return text;
        FM_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

fm_status fm_fail_at(struct fm_err *err, fm_status status, const char *file, int line,
                     const char *format, ...)
{
    assert(status != FM_OK);
    if (err && err->status == FM_OK) {
        va_list ap;
        err->status = status;
        err->file = file;
        err->line = line;
        va_start(ap, format);
        (void)vsnprintf(err->text, sizeof err->text, format, ap);
        va_end(ap);
    }
    return status;
}
