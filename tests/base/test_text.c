/* The nearest name: who stops early, or types in capitals, means the name; else the edit distance decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/base/rng.h"
#include "tuner/base/text.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define NAMES 6
#define ROOM 12

static void test_known(void **state)
{
    static const char *const names[] = { "a10", "a100-40g", "a100-80g", "h100", "t4", "v100-16g", "v100-32g" };
    static const struct { const char *text, *near; } rows[] = {
        { "a100", "a100-40g" }, { "a10", "a10" }, { "A100", "a100-40g" }, { "v100", "v100-16g" }, { "T4", "t4" }, { "H100", "h100" },
        { "a100-80", "a100-80g" }, { "h10", "h100" }, { "h1000", "h100" }, { "xyzzy", NULL }, { "", NULL },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *near = fm_nearest(rows[i].text, names, COUNT(names));
        if (rows[i].near) assert_non_null(near), assert_string_equal(near, rows[i].near);
        else assert_null(near);
    }
}

/* Three letters and few names, so that prefixes and near misses are common. */
static void draw(uint64_t run, uint64_t what, char *text)
{
    size_t n = (size_t)(fm_rng_u64(run, what, 0) % (ROOM - 2)) + 1;
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + fm_rng_u64(run, what, i + 1) % 3);
    text[n] = '\0';
}

static void capitals(uint64_t run, const char *text, char *out)
{
    size_t n = strlen(text);
    for (size_t i = 0; i <= n; i++) out[i] = (char)(i < n && fm_rng_u64(run, 99, i) % 2 ? text[i] - 'a' + 'A' : text[i]);
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* by its definition over the whole table; both in small letters */
static size_t distance(const char *a, const char *b)
{
    size_t table[ROOM + 1][ROOM + 1];
    for (size_t i = 0; i <= strlen(a); i++)
        for (size_t j = 0; j <= strlen(b); j++) {
            table[i][j] = i + j;
            if (i && j) table[i][j] = least(least(table[i - 1][j], table[i][j - 1]) + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
        }
    return table[strlen(a)][strlen(b)];
}

static void test_random(void **state)
{
    size_t begun = 0, near_misses = 0, none = 0;
    (void)state;
    for (uint64_t run = 0; run < 20000; run++) {
        char name[NAMES][ROOM], text[ROOM], typed[ROOM];
        const char *names[NAMES], *want = NULL;
        for (size_t i = 0; i < NAMES; i++) draw(run, i, name[i]), names[i] = name[i];
        draw(run, NAMES, text);
        if (run % 4 == 0) text[0] = 'z';
        for (size_t i = 0; i < NAMES; i++)
            if (strncmp(name[i], text, strlen(text)) == 0 && (!want || strlen(name[i]) < strlen(want))) want = name[i];
        begun += want != NULL;
        size_t best = 2 + strlen(text) / 3;
        for (size_t i = 0; i < NAMES && !(want && strncmp(want, text, strlen(text)) == 0); i++)
            if (distance(text, name[i]) < best) want = name[i], best = distance(text, name[i]), near_misses++;
        none += want == NULL;
        assert_ptr_equal(fm_nearest(text, names, NAMES), want);
        capitals(run, text, typed);
        assert_ptr_equal(fm_nearest(typed, names, NAMES), want);
    }
    assert_true(begun > 1000 && near_misses > 1000 && none > 1000);
}

static void test_sizes(void **state)
{
    static const struct { const char *text; bool size, too_many; } rows[] = {
        { "2GiB", true, false }, { "9999999TiB", false, true }, { "8191PiB", false, false }, { "9e18", true, false }, { "9.1e18", false, true },
        { "1e300TiB", false, true }, { "-1", false, false }, { "", false, false }, { "9999999TiBs", false, false },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t bytes = -7;
        if (fm_parse_bytes(rows[i].text, &bytes) != rows[i].size) fail_msg("%s", rows[i].text);
        if (fm_bytes_too_many(rows[i].text) != rows[i].too_many) fail_msg("%s", rows[i].text);
        assert_true(rows[i].size || bytes == -7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_known), cmocka_unit_test(test_random), cmocka_unit_test(test_sizes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
