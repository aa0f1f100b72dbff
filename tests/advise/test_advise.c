/* Advice over synthetic runs whose answers are known in closed form, and against a search that tries everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "results/advise.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#define MIB INT64_C(1048576)
#define HEAD "{'kind':'run','v':1,'tool':'t','seed':'5','devices':[{'id':'cpu','name':'x'},{'id':'gpu','name':'y'}]}\n"
#define CELL_ON(device, id, model, changes, flops, set, strategies)                                                          \
    "{'kind':'cell','v':1,'id':'" id "','train_id':'" id "','device':'" device "','workload':'w','set':{" set "},'strategies':{" \
    strategies "},'model_id':'" model "','changes_model':[" changes "],'parameters':1048576,'flops_per_sample':" #flops         \
    ",'capacity_bytes':1048576000}\n"
#define CELL(id, model, changes, flops, strategies) CELL_ON("cpu", id, model, changes, flops, "", strategies)
#define PLAIN "'accumulate':'1','checkpoint':'none','val_batch':'same'"
#define BLOCKS "'accumulate':'1','checkpoint':'blocks','val_batch':'same'"
#define TRAIN(cell, batch, bytes, ns)                                                                                        \
    "{'kind':'row','v':1,'cell':'" cell "','batch':" #batch ",'val_batch':0,'phase':'train','role':'r','launch':1,"            \
    "'outcome':'ok','measured':{'reserved_bytes':" #bytes ",'step_ns':[" #ns "]}}\n"
#define VERDICT(cell, max) "{'kind':'verdict','v':1,'cell':'" cell "','outcome':'ok','max_batch':{'train':" #max "},'certified':true}\n"

struct folded { struct fm_records records; struct fm_result result; };

static void fold(struct folded *f, const char *text)
{
    struct fm_err err = { 0 };
    *f = (struct folded){ 0 };
    char *copy = fm_strdup(text);
    assert_non_null(copy);
    for (char *c = copy; *c; c++)
        if (*c == '\'') *c = '"';
    for (char *line = copy, *end; *line; line = end) {
        end = strchr(line, '\n');
        *end++ = '\0';
        cJSON *record = cJSON_Parse(line);
        if (!record) fail_msg("no JSON: %s", line);
        assert_int_equal(fm_records_add(&f->records, record, &err), FM_OK);
    }
    fm_free(copy);
    if (fm_result_fold(&f->records, &f->result, &err) != FM_OK) fail_msg("%s", err.text);
}

static void release(struct folded *f)
{
    fm_result_release(&f->result);
    fm_records_release(&f->records);
}

static struct fm_advise_query query(void)
{
    return (struct fm_advise_query){ .workload = "w", .devices = 1, .base_lr = NAN, .objective = FM_OBJECTIVE_KNEE };
}

static struct fm_advice advise(const struct folded *f, const struct fm_advise_query *q)
{
    struct fm_advice a;
    struct fm_err err = { 0 };
    if (fm_advise(&f->result, q, &a, &err) != FM_OK) fail_msg("%s", err.text);
    return a;
}

static void assert_near(double value, double want)
{
    if (!(fabs(value - want) <= 1e-9 * fabs(want))) fail_msg("%.17g is not %.17g", value, want);
}

/* 2, 3.9, 4 and 4 samples/s at 100 to 400 MiB; with recomputation half of the memory and 3/4 of the speed; half the model */
static const char run[] =
    HEAD CELL("plain", "m", "", 100, PLAIN)
    TRAIN("plain", 1, 104857600, 500000000) TRAIN("plain", 2, 157286400, 512820513) TRAIN("plain", 4, 209715200, 1000000000)
    TRAIN("plain", 8, 419430400, 2000000000) VERDICT("plain", 8)
    CELL("again", "m", "", 100, BLOCKS)
    TRAIN("again", 1, 52428800, 666666667) TRAIN("again", 4, 104857600, 1333333333) TRAIN("again", 16, 419430400, 5333333333)
    VERDICT("again", 16)
    CELL("small", "h", "'channels'", 25, PLAIN)
    TRAIN("small", 4, 20971520, 400000000) VERDICT("small", 4);

static void test_objectives(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    fold(&f, run);
    struct fm_advice a = advise(&f, &q);
    assert_true(a.found);
    assert_string_equal(a.best.choice.cell, "plain");
    assert_int_equal(a.best.choice.batch, 2);          /* 3.9 of 4 is within 5 %, and takes least */
    assert_int_equal(a.best.memory_bytes, 150 * MIB);
    assert_int_equal(a.best.speed_batch, 2);
    assert_true(a.best.unchanged && a.best.exact && !a.best.memory_bound);
    assert_true(a.has_runner_up);
    assert_string_equal(a.runner_up.choice.cell, "again");
    q.objective = FM_OBJECTIVE_THROUGHPUT;
    a = advise(&f, &q);
    assert_int_equal(a.best.choice.batch, 4);          /* as fast as 8, with less memory */
    assert_near(a.best.samples_per_s, 4);
    q.objective = FM_OBJECTIVE_MEMORY;
    a = advise(&f, &q);
    assert_string_equal(a.best.choice.cell, "again");
    assert_int_equal(a.best.choice.batch, 1);
    release(&f);
}

static void test_limits(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    fold(&f, run);
    struct fm_advice a = advise(&f, &q);
    assert_int_equal(a.limit_bytes, 1000 * MIB);
    q.headroom_bytes = 200 * MIB, q.headroom_ppm = 100000;          /* the larger of both */
    a = advise(&f, &q);
    assert_int_equal(a.limit_bytes, 800 * MIB);
    q.headroom_ppm = 500000;
    a = advise(&f, &q);
    assert_int_equal(a.limit_bytes, 500 * MIB);
    q.max_memory_bytes = 100 * MIB, q.headroom_bytes = 0, q.headroom_ppm = 0;
    a = advise(&f, &q);                                             /* exactly as much as there may be */
    assert_string_equal(a.best.choice.cell, "again");
    assert_int_equal(a.best.choice.batch, 4);                       /* 3 of 3 samples/s; plain has 2 at batch 1 */
    assert_int_equal(a.best.limit_bytes, 100 * MIB);
    q.max_memory_bytes = 100 * MIB - 1;
    a = advise(&f, &q);
    assert_int_equal(a.best.choice.batch, 1);
    release(&f);
}

static void test_allow(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    fold(&f, run);
    q.max_memory_bytes = 49 * MIB;
    struct fm_advice a = advise(&f, &q);
    assert_false(a.found || a.has_runner_up);
    assert_int_equal(a.least_bytes, 50 * MIB);
    assert_int_equal(a.ladder_count, 1);
    assert_string_equal(a.ladder[0].choice.cell, "small");
    assert_near(a.ladder[0].model_share, 0.25);
    q.allow[q.allows++] = "input";
    assert_false(advise(&f, &q).found);
    q.allow[q.allows++] = "channels";
    a = advise(&f, &q);
    assert_true(a.found && !a.best.unchanged);
    assert_string_equal(a.best.choice.cell, "small");
    /* it is faster, but where the model itself fits it is only the runner-up */
    q.max_memory_bytes = 0;
    a = advise(&f, &q);
    assert_true(a.best.unchanged);
    q.want[0].name = "checkpoint", q.want[0].value = "none", q.wants = 1;
    a = advise(&f, &q);
    assert_string_equal(a.runner_up.choice.cell, "small");
    release(&f);
}

static void test_global_batch(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    fold(&f, run);
    q.target_global_batch = 48, q.devices = 2, q.max_memory_bytes = 208 * MIB;      /* 24 a device */
    q.base_lr = 1e-3, q.base_batch = 12, q.lr_rule = FM_LR_LINEAR, q.samples_per_epoch = 1001;
    struct fm_advice a = advise(&f, &q);
    const struct fm_choice *c = &a.best.choice;
    assert_true(a.best.exact);
    assert_int_equal(c->batch, 2);
    assert_int_equal(c->accumulation, 12);
    assert_int_equal(c->global_batch, 48);
    assert_int_equal(a.best.accumulation_bytes, 4 * MIB);           /* the gradients of 2^20 parameters */
    assert_int_equal(a.best.memory_bytes, 154 * MIB);
    assert_near(c->learning_rate, 4e-3);
    assert_int_equal(a.best.epoch_steps, 21);
    assert_near(a.best.epoch_s, 1001 / (2 * a.best.samples_per_s));
    q.lr_rule = FM_LR_SQRT;
    assert_near(advise(&f, &q).best.choice.learning_rate, 2e-3);
    q.lr_rule = FM_LR_NONE;
    assert_near(advise(&f, &q).best.choice.learning_rate, 1e-3);
    /* 4 bytes a parameter too much */
    q.max_memory_bytes = 154 * MIB - 1;
    assert_int_not_equal(advise(&f, &q).best.choice.batch, 2);
    /* no even share: the nearest multiple, and said so */
    q.target_global_batch = 49, q.max_memory_bytes = 0;
    a = advise(&f, &q);
    assert_false(a.best.exact);
    assert_int_equal(llabs(a.best.choice.global_batch - 49), 1);
    release(&f);
}

/* a batch between measured ones has bounds, and they are named */
static void test_between(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    fold(&f, run);
    q.want[0].name = "checkpoint", q.want[0].value = "none", q.wants = 1;
    q.target_global_batch = 7;
    struct fm_advice a = advise(&f, &q);
    assert_true(a.best.exact);
    q.objective = FM_OBJECTIVE_THROUGHPUT;
    a = advise(&f, &q);
    assert_int_equal(a.best.choice.batch, 7);
    assert_int_equal(a.best.memory_bytes, 400 * MIB);
    assert_true(a.best.memory_bound);
    assert_int_equal(a.best.speed_batch, 4);
    assert_near(a.best.samples_per_s, 4);
    release(&f);
}

static void test_plans(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
#define PLAN(cell, batch, bytes, needed, fits)                                                                               \
    "{'kind':'row','v':1,'cell':'" cell "','batch':" #batch ",'val_batch':0,'phase':'train','role':'plan','launch':1,"         \
    "'outcome':'planned','planned':{'fits':" fits ",'reserved_bytes':" #bytes ",'needed_bytes':" #needed "}}\n"
#define PLANNED(cell, max) "{'kind':'verdict','v':1,'cell':'" cell "','outcome':'planned','max_batch':{'train':" #max "},'certified':false}\n"
    fold(&f, HEAD CELL("a", "m", "", 100, BLOCKS) PLAN("a", 9, 900000000, 900000000, "true") PLANNED("a", 9)
         CELL("b", "m", "", 100, PLAIN) PLAN("b", 3, 700000000, 700000000, "true") PLANNED("b", 3));
    struct fm_advice a = advise(&f, &q);
    assert_true(a.found && a.planned && a.best.choice.planned);
    assert_string_equal(a.best.choice.cell, "b");       /* without recomputation first */
    assert_int_equal(a.best.choice.batch, 3);
    assert_true(isnan(a.best.samples_per_s) && a.best.speed_batch == 0);
    q.target_global_batch = 6;
    a = advise(&f, &q);
    assert_int_equal(a.best.choice.accumulation, 2);
    q.target_global_batch = 2;
    a = advise(&f, &q);
    assert_int_equal(a.best.choice.batch, 2);
    assert_true(a.best.memory_bound);
    assert_int_equal(a.best.memory_bytes, 700000000);
    release(&f);
    /* where batch 1 does not fit, what it needs counts, not how far the plan came */
    fold(&f, HEAD CELL("a", "m", "", 100, PLAIN) PLAN("a", 1, 1000000000, 2000000000, "false") PLANNED("a", 0));
    a = advise(&f, &(struct fm_advise_query){ .workload = "w", .devices = 1, .base_lr = NAN });
    assert_false(a.found);
    assert_int_equal(a.least_bytes, 2000000000);
    release(&f);
}

static void refuses(const struct folded *f, const struct fm_advise_query *q, const char *text)
{
    struct fm_advice a;
    struct fm_err err = { 0 };
    assert_int_equal(fm_advise(&f->result, q, &a, &err), FM_INVALID);
    if (!strstr(err.text, text)) fail_msg("'%s' does not say '%s'", err.text, text);
}

static void test_refusals(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    fold(&f, HEAD CELL("a", "m", "", 100, PLAIN) TRAIN("a", 1, 100, 1) CELL_ON("gpu", "b", "m", "", 100, "'input':'8'", PLAIN)
         "{'kind':'row','v':1,'cell':'b','device':'gpu','batch':1,'val_batch':0,'phase':'train','role':'r','launch':1,'outcome':'ok',"
         "'measured':{'reserved_bytes':7,'step_ns':[1]}}\n");
    refuses(&f, &q, "several devices: cpu, gpu");
    q.device = "gpu";
    assert_string_equal(advise(&f, &q).best.choice.cell, "b");
    q.want[0].name = "input", q.want[0].value = "9", q.wants = 1;
    refuses(&f, &q, "no cell of w on gpu with these settings");
    q = query(), q.workload = "x";
    refuses(&f, &q, "no cell of x");
    q = query(), q.device = "cpu", q.lr_rule = FM_LR_SQRT;
    refuses(&f, &q, "learning rate");
    q = query(), q.device = "cpu", q.devices = 4, q.target_global_batch = 3;
    refuses(&f, &q, "less than one sample");
    release(&f);
}

/* Random runs of one cell: an exact global batch is advised exactly when one exists, and the advice is never beaten by any
 * measured batch that is as exact. */
static void test_against_everything(void **state)
{
    (void)state;
    size_t exact = 0, inexact = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct folded f;
        struct fm_buf text = FM_BUF(1 << 16);
        int64_t batch[4], bytes[4], limit = (int64_t)(fm_rng_u64(seed, 9, 0) % 90 + 10) * 10 * MIB, top = 0;
        double speed[4], best = -1;
        fm_buf_puts(&text, HEAD CELL("c", "m", "", 100, PLAIN));
        for (int i = 0; i < 4; i++) {
            batch[i] = (i ? batch[i - 1] : 0) + 1 + (int64_t)(fm_rng_u64(seed, 1, (uint64_t)i) % 4);
            bytes[i] = 40 * MIB * batch[i];
            int64_t ns = 1000000 * (int64_t)(10 + fm_rng_u64(seed, 2, (uint64_t)i) % 90) * batch[i];
            speed[i] = (double)batch[i] * 1e9 / (double)ns;
            fm_buf_printf(&text, "{'kind':'row','v':1,'cell':'c','batch':%lld,'val_batch':0,'phase':'train','role':'r','launch':1,'outcome':'ok',"
                          "'measured':{'reserved_bytes':%lld,'step_ns':[%lld]}}\n", (long long)batch[i], (long long)bytes[i], (long long)ns);
        }
        fm_buf_printf(&text, "{'kind':'verdict','v':1,'cell':'c','outcome':'ok','max_batch':{'train':%lld},'certified':true}\n", (long long)batch[3]);
        fold(&f, fm_buf_text(&text));
        struct fm_advise_query q = query();
        q.objective = FM_OBJECTIVE_THROUGHPUT, q.max_memory_bytes = limit;
        q.devices = 1 + (int64_t)(fm_rng_u64(seed, 3, 0) % 3);
        q.target_global_batch = q.devices + (int64_t)(fm_rng_u64(seed, 4, 0) % 60);
        /* which exact batches there are: any divisor of the share up to the largest batch that fits */
        int64_t share = q.target_global_batch % q.devices ? 0 : q.target_global_batch / q.devices;
        bool possible = false;
        for (int64_t b = 1; share && b <= batch[3]; b++) {
            int i = 0;
            while (batch[i] < b) i++;
            int64_t extra = share / b > 1 ? 4 * MIB : 0;
            if (share % b == 0 && bytes[i] + extra <= limit) possible = true;
            if (share % b == 0 && batch[i] == b && bytes[i] + extra <= limit && speed[i] > best) best = speed[i];
        }
        for (int i = 0; i < 4; i++)
            if (bytes[i] <= limit - 4 * MIB) top = batch[i];
        struct fm_advice a = advise(&f, &q);
        if (possible) {
            assert_true(a.found && a.best.exact);
            assert_int_equal(a.best.choice.global_batch, q.target_global_batch);
            assert_true(a.best.samples_per_s >= best * (1 - 1e-9));
            exact++;
        } else if (top) {
            assert_true(a.found && !a.best.exact);
            inexact++;
        }
        if (a.found) {
            assert_true(a.best.memory_bytes <= limit);
            assert_int_equal(a.best.choice.batch * a.best.choice.accumulation * q.devices, a.best.choice.global_batch);
        }
        release(&f);
        fm_buf_release(&text);
    }
    assert_true(exact > 50 && inexact > 50);
}

static void test_printed(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    struct fm_buf text = FM_BUF(1 << 16);
    fold(&f, run);
    q.target_global_batch = 24, q.base_lr = 1e-3;
    for (int pass = 0; pass < 2; pass++) {
        struct fm_advice a = advise(&f, &q);
        fm_buf_clear(&text);
        fm_advice_text(&f.result, &q, &a, &text);
        assert_true(fm_buf_ok(&text));
        assert_non_null(strstr(fm_buf_text(&text), pass ? "nothing fits into" : "global batch 24, as asked"));
        assert_non_null(strstr(fm_buf_text(&text), pass ? "--allow channels" : "by calculation"));
        cJSON *tree = fm_advice_json(&f.result, &q, &a);
        assert_non_null(tree);
        assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItem(tree, "found")), !pass);
        assert_int_equal(cJSON_IsNull(cJSON_GetObjectItem(tree, "best")), pass);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(tree, "ladder")), pass);
        cJSON_Delete(tree);
        q.max_memory_bytes = 49 * MIB;
    }
    fm_buf_release(&text);
    release(&f);
}

/* the largest batch in words: what ran, what did not, and what was not asked */
static void test_largest_words(void **state)
{
    static const struct { const char *verdict, *says; bool at_limit, certified; } rows[] = {
        { "'certified':true,'limited_by':'train'", "4 (certified: it ran, the next did not)", false, true },
        { "'certified':true,'limited_by':'max_batch'", "4 (it ran; it is the limit that was given, larger ones were not tried)", true, true },
        { "'certified':false,'limited_by':'max_batch'", "4 (not certified)", false, false },
        { "'certified':false,'limited_by':'train'", "4 (not certified)", false, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct folded f;
        struct fm_advise_query q = query();
        struct fm_buf text = FM_BUF(1 << 16), journal = FM_BUF(1 << 16);
        fm_buf_printf(&journal, HEAD CELL("c", "m", "", 100, PLAIN)
                      "{'kind':'row','v':1,'cell':'c','batch':4,'val_batch':0,'phase':'train','role':'r','launch':1,'outcome':'ok',"
                      "'measured':{'reserved_bytes':1048576,'step_ns':[1000]}}\n"
                      "{'kind':'verdict','v':1,'cell':'c','outcome':'ok','max_batch':{'train':4},%s}\n", rows[i].verdict);
        fold(&f, fm_buf_text(&journal));
        struct fm_advice a = advise(&f, &q);
        assert_true(a.found);
        assert_int_equal(a.best.choice.at_limit, rows[i].at_limit);
        fm_advice_text(&f.result, &q, &a, &text);
        if (!strstr(fm_buf_text(&text), rows[i].says)) fail_msg("no '%s' in %s", rows[i].says, fm_buf_text(&text));
        cJSON *tree = fm_advice_json(&f.result, &q, &a), *best = cJSON_GetObjectItem(tree, "best");
        assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItem(best, "certified")), rows[i].certified);
        assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItem(best, "at_limit")), rows[i].at_limit);
        assert_non_null(strstr(fm_buf_text(&text), "1.0 MiB reserved, measured"));      /* not 0.001 GiB */
        cJSON_Delete(tree);
        release(&f);
        fm_buf_release(&text);
        fm_buf_release(&journal);
    }
}

static void test_faults(void **state)
{
    (void)state;
    struct folded f;
    struct fm_advise_query q = query();
    fold(&f, run);
    q.target_global_batch = 24;
    for (long n = 0;; n++) {
        struct fm_advice a;
        struct fm_err err = { 0 };
        long live = fm_memory_live;
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_advise(&f.result, &q, &a, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(fm_memory_live, live);
        assert_int_equal(status, hits ? FM_NOMEM : FM_OK);
        if (!hits) break;
    }
    release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objectives), cmocka_unit_test(test_limits), cmocka_unit_test(test_allow), cmocka_unit_test(test_global_batch),
        cmocka_unit_test(test_between), cmocka_unit_test(test_plans), cmocka_unit_test(test_refusals), cmocka_unit_test(test_against_everything),
        cmocka_unit_test(test_printed), cmocka_unit_test(test_largest_words), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
