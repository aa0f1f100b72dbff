#include "tests/cuda_host/support_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

void fm_host_cell(struct fm_cell *cell, const char *words)
{
    struct fm_err err = { 0 };
    char text[512], *save = NULL;
    (void)snprintf(text, sizeof text, "%s", words);
    const struct fm_workload *workload = fm_workload_find(strtok_r(text, " ", &save), &err);
    if (!workload) fail_msg("%s", err.text);
    fm_cell_default(cell, workload);
    for (char *word; (word = strtok_r(NULL, " ", &save));) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = 0;
        fm_status status = *word == '+' ? fm_cell_set(cell, fm_strategy_find(word + 1), value, &err)
                                        : fm_settings_set(&cell->settings, word, value, &err);
        if (status != FM_OK) fail_msg("%s", err.text);
    }
}
