/* Journals and folders for tests of results. */
#ifndef FM_TESTS_RESULTS_SUPPORT_JOURNAL_H
#define FM_TESTS_RESULTS_SUPPORT_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "results/journal.h"
#include "tuner/base/buf.h"

/* an empty folder of this process; in memory where there is such a file system */
const char *fm_test_folder(void);
void fm_test_folder_remove(void);
/* folder/name: its bytes; asserts */
void fm_test_read(const char *folder, const char *name, struct fm_buf *out);
void fm_test_write(const char *folder, const char *name, const char *data, size_t bytes);
bool fm_test_exists(const char *folder, const char *name);

/* records of a text: one JSON object a line; ' may stand for ". Asserts. */
void fm_test_records(const char *text, struct fm_records *out);
/* ... of a file of tests/data/results */
void fm_test_records_of(const char *name, struct fm_records *out);

/* cJSON's memory becomes fillmark's, so that faults meet it too */
void fm_test_hook_cjson(bool on);

#endif
