/* What a resumed run takes as done, and on which machines it may go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "results/json.h"
#include "results/resume.h"
#include "tests/results/support_journal.h"

#define START "{'kind':'start','v':1,'cell':'c','batch':4,'val_batch':2,'role':'boundary','launch':1}\n"
#define ROW(phase, outcome)                                                                                                  \
    "{'kind':'row','v':1,'cell':'c','batch':4,'val_batch':2,'role':'boundary','launch':1,'phase':'" phase "','outcome':'" outcome \
    "'}\n"

static const struct fm_probe_key key = { .cell = "c", .batch = 4, .val_batch = 2, .role = "boundary", .launch = 1 };

static void test_states(void **state)
{
    (void)state;
    static const struct { const char *text; enum fm_probe_state state; uint32_t tries; bool train, val; } cases[] = {
        { "", FM_PROBE_ABSENT, 0, false, false },
        { START, FM_PROBE_SUSPECT, 1, false, false },
        { START START, FM_PROBE_CONDEMNED, 2, false, false },
        { START ROW("train", "ok"), FM_PROBE_SUSPECT, 1, true, false },
        { START ROW("train", "ok") ROW("val", "ok"), FM_PROBE_DONE, 1, true, true },
        { START ROW("train", "oom_device"), FM_PROBE_DONE, 1, true, false },
        { START ROW("train", "ok") ROW("val", "oom_device"), FM_PROBE_DONE, 1, true, true },
        { START START ROW("train", "crash"), FM_PROBE_DONE, 2, true, false },
        /* what the first try left does not count for the second */
        { START ROW("train", "ok") START ROW("val", "ok"), FM_PROBE_CONDEMNED, 2, false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fm_records records;
        fm_test_records(cases[i].text, &records);
        struct fm_probe_found found = fm_resume_find(&records, &key);
        assert_int_equal(found.state, cases[i].state);
        assert_int_equal(found.tries, cases[i].tries);
        assert_int_equal(found.train != NULL, cases[i].train);
        assert_int_equal(found.val != NULL, cases[i].val);
        fm_records_release(&records);
    }
}

static void test_keys(void **state)
{
    (void)state;
    struct fm_records records;
    fm_test_records(START ROW("train", "ok") ROW("val", "ok"), &records);
    struct fm_probe_key others[] = { key, key, key, key, key };
    others[0].cell = "d";
    others[1].batch = 5;
    others[2].val_batch = 4;
    others[3].role = "ladder";
    others[4].launch = 2;
    for (size_t i = 0; i < 5; i++) assert_int_equal(fm_resume_find(&records, &others[i]).state, FM_PROBE_ABSENT);
    struct fm_probe_key any = key;
    any.role = NULL;
    any.device = "cpu";         /* the records name none: they are of the only one */
    assert_int_equal(fm_resume_find(&records, &any).state, FM_PROBE_DONE);
    for (size_t i = 0; i < 3; i++) assert_true(fm_json_put(records.item[i], "device", cJSON_CreateString("cuda:0")));
    assert_int_equal(fm_resume_find(&records, &any).state, FM_PROBE_ABSENT);
    fm_records_release(&records);
}

#define DEVICE "'id':'cpu','name':'Xeon','isa':'avx512','library':'oneDNN 2.6','threads':2"

static void test_fingerprint(void **state)
{
    (void)state;
    static const char then[] = "{'kind':'run','v':1,'tool':'0.1.0','devices':[{" DEVICE ",'total_bytes':1}]}";
    static const struct { const char *now, *message; } cases[] = {
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[{" DEVICE ",'total_bytes':2}]}", NULL },
        { "{'kind':'resume','v':1,'tool':'0.2.0','devices':[{" DEVICE "}]}", "tool: recorded with '0.1.0', now '0.2.0'" },
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[{'id':'cpu','name':'Xeon','isa':'avx512','library':'oneDNN 3.1','threads':2}]}",
          "device cpu: library: recorded with 'oneDNN 2.6', now 'oneDNN 3.1'" },
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[{'id':'cpu','name':'Xeon','isa':'avx512','library':'oneDNN 2.6','threads':4}]}",
          "device cpu: threads: recorded with 2, now 4" },
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[{'id':'cpu','name':'Xeon','library':'oneDNN 2.6','threads':2}]}",
          "device cpu: isa: recorded with 'avx512', now unknown" },
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[{" DEVICE ",'driver':'570'}]}", "driver: recorded with unknown, now '570'" },
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[]}", "device cpu: the recorded run used it" },
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[{" DEVICE "},{'id':'cuda:0'}]}", "device cuda:0: the recorded run did not" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fm_records a, b;
        struct fm_err err = { 0 };
        fm_test_records(then, &a);
        fm_test_records(cases[i].now, &b);
        assert_int_equal(fm_resume_check(a.item[0], b.item[0], &err), cases[i].message ? FM_MISMATCH : FM_OK);
        if (cases[i].message && !strstr(err.text, cases[i].message)) fail_msg("'%s' does not say '%s'", err.text, cases[i].message);
        fm_records_release(&a);
        fm_records_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_states), cmocka_unit_test(test_keys), cmocka_unit_test(test_fingerprint) };
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
