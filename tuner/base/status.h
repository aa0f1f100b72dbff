/* Outcome of a fallible call, and the cause that travels with it.
 *
 * Every function that can fail returns fm_status and takes a struct fm_err * (may be NULL).
 * The first cause wins: FM_FAIL never overwrites an error that is already set.
 * Expected outcomes of a probe (OOM, unsupported, ...) are data: see probes/protocol. */
#ifndef FM_TUNER_BASE_STATUS_H
#define FM_TUNER_BASE_STATUS_H

/* name, exit code of the command, text */
#define FM_STATUS_LIST(X)                                              \
    X(OK, 0, "ok")                                                     \
    X(FAILED, 1, "failed")                                             \
    X(INVALID, 2, "invalid argument, option or configuration")         \
    X(OOM, 10, "the device's memory is exhausted")                     \
    X(UNSUPPORTED, 11, "not supported here")                           \
    X(TIMEOUT, 12, "deadline passed")                                  \
    X(PROTOCOL, 14, "malformed message")                               \
    X(IO, 20, "input or output failed")                                \
    X(NOMEM, 21, "host memory exhausted")                              \
    X(MISMATCH, 22, "does not match what was recorded")                \
    X(REGRESSION, 30, "the new run is worse")                          \
    X(UNDECIDED, 31, "too few launches to tell whether the new run is worse") \
    X(INCOMPARABLE, 32, "nothing in the two runs can be compared")     \
    X(INTERRUPTED, 130, "interrupted")

#define X(name, code, text) FM_##name = (code),
enum fm_status_code { FM_STATUS_LIST(X) };
#undef X
typedef enum fm_status_code fm_status;

#define FM_ERR_TEXT_BYTES 480

struct fm_err {
    fm_status status;
    const char *file;          /* of fillmark's source, for bug reports */
    int line;
    char text[FM_ERR_TEXT_BYTES];
};

/* "OK", "OOM", ... never NULL */
const char *fm_status_name(fm_status status);
const char *fm_status_text(fm_status status);

fm_status fm_fail_at(struct fm_err *err, fm_status status, const char *file, int line,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

#define FM_FAIL(err, status, ...) fm_fail_at((err), (status), __FILE__, __LINE__, __VA_ARGS__)

/* in a function with `fm_status status` and a label `out` that releases */
#define FM_TRY(expression)                                             \
    do {                                                               \
        status = (expression);                                         \
        if (status != FM_OK) goto out;                                 \
    } while (0)

#define FM_MUST_USE __attribute__((warn_unused_result))

#endif
