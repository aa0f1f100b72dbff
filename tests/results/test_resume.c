/* Which records are of one probe, and on which machines a run may go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

static void test_keys(void **state)
{
    (void)state;
    struct fm_records records;
    fm_test_records(START ROW("train", "ok") ROW("val", "ok"), &records);
    struct fm_probe_key others[] = { key, key, key, key, key }, any = key;
    others[0].cell = "d";
    others[1].batch = 5;
    others[2].val_batch = 4;
    others[3].role = "ladder";
    others[4].launch = 2;
    any.role = NULL;
    any.device = "cpu";         /* the records name none: they are of the only one */
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 5; k++) assert_false(fm_probe_has(&others[k], records.item[i]));
        assert_true(fm_probe_has(&key, records.item[i]));
        assert_true(fm_probe_has(&any, records.item[i]));
        assert_true(fm_json_put(records.item[i], "device", cJSON_CreateString("cuda:0")));
        assert_false(fm_probe_has(&any, records.item[i]));
    }
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
        { "{'kind':'resume','v':1,'tool':'0.1.0','seed':'2','devices':[{" DEVICE "}]}", "seed: recorded with unknown, now '2'" },
        { "{'kind':'resume','v':1,'tool':'0.1.0','devices':[{" DEVICE ",'capacity_bytes':5}]}", "capacity_bytes: recorded with unknown, now 5" },
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

#define GPU(more) "'v':1,'tool':'0.1.0','devices':[{'id':'cuda:0','name':'H200'" more "}]}"
#define MEMORY ",'total_bytes':150000000000"

/* a GPU of the same name is another one if its UUID or its memory is; what an earlier version did not record is not asked */
static void test_identity(void **state)
{
    (void)state;
    static const struct { const char *then, *now, *message; } cases[] = {
        { GPU(MEMORY ",'uuid':'GPU-1'"), GPU(MEMORY ",'uuid':'GPU-1'"), NULL },
        { GPU(MEMORY), GPU(MEMORY ",'uuid':'GPU-1'"), NULL },
        { GPU(""), GPU(MEMORY ",'uuid':'GPU-1'"), NULL },
        { GPU(MEMORY ",'uuid':'GPU-1'"), GPU(MEMORY ",'uuid':'GPU-2'"),
          "device cuda:0: uuid: recorded with 'GPU-1', now 'GPU-2'; results of both do not compare: run with another --out" },
        { GPU(MEMORY ",'uuid':'GPU-1'"), GPU(MEMORY), "device cuda:0: uuid: recorded with 'GPU-1', now unknown" },
        { GPU(MEMORY), GPU(",'total_bytes':85899345920,'uuid':'GPU-2'"),
          "device cuda:0: total_bytes: recorded with 150000000000, now 85899345920" },
        { GPU(MEMORY), GPU(""), "device cuda:0: total_bytes: recorded with 150000000000, now unknown" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fm_records records;
        struct fm_err err = { 0 };
        char text[512];
        (void)snprintf(text, sizeof text, "{'kind':'run',%s\n{'kind':'resume',%s\n", cases[i].then, cases[i].now);
        fm_test_records(text, &records);
        assert_int_equal(fm_resume_check(records.item[0], records.item[1], &err), cases[i].message ? FM_MISMATCH : FM_OK);
        if (cases[i].message && !strstr(err.text, cases[i].message)) fail_msg("'%s' does not say '%s'", err.text, cases[i].message);
        fm_records_release(&records);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_keys), cmocka_unit_test(test_fingerprint),
                                        cmocka_unit_test(test_identity) };
    return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
