/* Options from a line of words, and as a text. Files are written to a folder of the test's own, the working folder. */
#ifndef FM_TESTS_OPTIONS_SUPPORT_OPTIONS_H
#define FM_TESTS_OPTIONS_SUPPORT_OPTIONS_H

#include "tuner/options/options.h"

/* a new working folder, and back with all in it removed; of a cmocka group */
int fm_test_enter(void **state);
int fm_test_leave(void **state);
void fm_test_write(const char *path, const char *text, size_t bytes);

/* `fillmark LINE`, words parted by one blank; release in every case */
fm_status fm_test_parse(const char *line, struct fm_options *out, struct fm_err *err);
/* the echo as lines "key=value"; fm_free() it */
char *fm_test_echo(const struct fm_options *options);
/* parses the echo again, as flags of the same command */
fm_status fm_test_again(const struct fm_options *options, struct fm_options *out, struct fm_err *err);

#endif
