#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/results/support_xml.h"

#define DEPTH 16

void fm_test_xml(const char *text)
{
    const char *open[DEPTH];
    size_t bytes[DEPTH], depth = 0;
    for (const char *at = text; *at; at++) {
        if (*at == '&' && strncmp(at, "&amp;", 5) && strncmp(at, "&lt;", 4) && strncmp(at, "&gt;", 4) && strncmp(at, "&quot;", 6) &&
            strncmp(at, "&apos;", 6))
            fail_msg("a bare ampersand: %.30s", at);
        if (*at != '<') continue;
        const char *name = at + 1 + (at[1] == '/'), *end = name;
        size_t n = strcspn(name, " />\n");
        for (bool quoted = false; *end && (quoted || *end != '>'); end++) {
            if (*end == '"') quoted = !quoted;
            if (*end == '<') fail_msg("'<' within a tag: %.40s", at);
        }
        assert_int_equal(*end, '>');
        if (at[1] == '/') {
            assert_true(depth > 0);
            depth--;
            if (bytes[depth] != n || memcmp(open[depth], name, n) != 0) fail_msg("%.*s closes %.*s", (int)n, name, (int)bytes[depth], open[depth]);
        } else if (end[-1] != '/' && at[1] != '?') {
            assert_true(depth < DEPTH);
            open[depth] = name;
            bytes[depth++] = n;
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}
