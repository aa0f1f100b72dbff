/* Names of parts: joined, and cut where they do not fit. */
#include "tuner/base/text.h"
#include "workloads/graph/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define LONGEST 80

/* as printf would */
static void parts_are_joined(void **state)
{
    (void)state;
    char owner[LONGEST + 1] = "", part[LONGEST + 1] = "", want[FM_NAME_BYTES];
    for (size_t i = 0; i <= LONGEST; i++) {
        memset(owner, 'o', i);
        owner[i] = '\0';
        for (size_t k = 0; k <= LONGEST; k++) {
            memset(part, 'p', k);
            part[k] = '\0';
            int length = snprintf(want, sizeof want, "%s.%s", owner, part);
            assert_int_equal(length, i + 1 + k);
            assert_string_equal(fm_part(owner, part).text, want);
        }
    }
}

static void copies_end(void **state)
{
    (void)state;
    char to[8] = "1234567";
    assert_int_equal(fm_text_copy(to, sizeof to, "abcdefg"), 7);
    assert_string_equal(to, "abcdefg");
    assert_int_equal(fm_text_copy(to, sizeof to, "abcdefgh"), 8);
    assert_string_equal(to, "abcdefg");
    assert_int_equal(fm_text_copy(to, 1, "xyz"), 3);
    assert_string_equal(to, "");
    to[0] = '!';
    assert_int_equal(fm_text_copy(to, 0, "xyz"), 3);        /* no room at all: nothing is written */
    assert_int_equal(to[0], '!');
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(parts_are_joined), cmocka_unit_test(copies_end) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
