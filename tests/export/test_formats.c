/* Formats: what each says of a choice, word by word; what it refuses; that nothing unknown is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "results/export_formats/edit.h"
#include "results/export_formats/formats.h"
#include "results/export_formats/names.h"
#include "results/export_formats/template.h"
#include "tests/export/support_yaml.h"
#include "tests/support/schema.h"
#include "tuner/base/memory.h"

struct made {
    struct fm_choice choice;
    cJSON *set, *strategies;
};

/* a choice as the fold would make it; the caller may change it */
static void make(struct made *m, const char *set, const char *strategies)
{
    m->set = cJSON_Parse(set);
    m->strategies = cJSON_Parse(strategies);
    assert_non_null(m->set);
    assert_non_null(m->strategies);
    m->choice = (struct fm_choice){
        .tool = "1.2.3", .workload = "denseunet3d", .cell = "0123456789abcdef", .device = "cuda:0", .device_name = "A GPU",
        .certified = true, .batch = 8, .val_batch = 4, .max_batch = 9, .max_val_batch = 4, .accumulation = 4, .devices = 1,
        .global_batch = 32, .precision = "bf16", .checkpoint = "blocks", .channels = "1/2", .optimizer = "adamw",
        .input = { 160, 160, 256 }, .input_dims = 3, .learning_rate = 3e-4, .samples_per_s = 12.5, .peak_bytes = 1 << 30,
        .planned_peak_bytes = 1 << 30, .capacity_bytes = INT64_C(2) << 30, .set = m->set, .strategies = m->strategies,
    };
}

static void make_default(struct made *m)
{
    make(m, "{\"base_channels\":\"16\",\"n_infers\":\"3\",\"input\":\"160x160x256\"}",
         "{\"precision\":\"bf16\",\"checkpoint\":\"blocks\",\"accumulate\":\"4\"}");
}

static void drop(struct made *m)
{
    cJSON_Delete(m->set);
    cJSON_Delete(m->strategies);
}

static void text_of(const char *name, const struct fm_choice *choice, struct fm_buf *out)
{
    struct fm_err err = { 0 };
    struct fm_entries entries;
    const struct fm_export_format *format = fm_export_find(name, &err);
    if (!format || fm_export_entries(format, choice, &entries, &err) != FM_OK || fm_export_new(format, choice, &entries, out, &err) != FM_OK)
        fail_msg("%s: %s", name, err.text);
}

/* the lines that are no comments */
static void assert_body(const char *name, const struct fm_choice *choice, const char *want)
{
    struct fm_buf text = FM_BUF(1 << 16), body = FM_BUF(1 << 16);
    text_of(name, choice, &text);
    for (const char *at = fm_buf_text(&text); *at;) {
        size_t n = strcspn(at, "\n") + 1;
        if (*at != '#') fm_buf_add(&body, at, n);
        at += n;
    }
    if (strcmp(fm_buf_text(&body), want) != 0) fail_msg("%s is\n%s\nnot\n%s", name, fm_buf_text(&body), want);
    fm_buf_release(&text);
    fm_buf_release(&body);
}

static const struct { const char *name, *want; } bodies[] = {
    { "lightning", "trainer:\n  precision: bf16-mixed\n  accumulate_grad_batches: 4\ndata:\n  batch_size: 8\n" },
    { "lightning-python", "batch_size = 8\nval_batch_size = 4\ntrainer_arguments = dict(precision=\"bf16-mixed\", accumulate_grad_batches=4)\n"
                          "learning_rate = 0.0003\n" },
    { "monai", "device:\n  mixed_precision: true\nautoencoder:\n  training:\n    batch_size: 8\n    gradient_accumulation_steps: 4\n"
               "    use_gradient_checkpointing: true\n" },
    { "argparse", "--batch_size 8 --val_batch_size 4 --precision bf16 --base_channels 8 --n_infers 3 --target_size 160 160 256\n" },
    { "dataclass", "from dataclasses import dataclass\n\n\n@dataclass\nclass TrainingConfig:\n    BATCH_SIZE: int = 8\n    INIT_LR: float = 0.0003\n\n\n"
                   "TRAINER_ARGUMENTS = dict(precision=\"bf16-mixed\", accumulate_grad_batches=4)\n" },
    { "mmengine", "train_dataloader = dict(batch_size=8)\nval_dataloader = dict(batch_size=4)\n"
                  "optim_wrapper = dict(type=\"AmpOptimWrapper\", dtype=\"bfloat16\", accumulative_counts=4, optimizer=dict(lr=0.0003))\n" },
    { "hydra", "data.batch_size=8 trainer.precision=bf16-mixed ++train.accumulate_grad_batches=4\n" },
    { "hf", "{\n  \"per_device_train_batch_size\": 8,\n  \"per_device_eval_batch_size\": 4,\n  \"gradient_accumulation_steps\": 4,\n"
            "  \"fp16\": false,\n  \"bf16\": true,\n  \"gradient_checkpointing\": true,\n  \"optim\": \"adamw_torch\",\n  \"learning_rate\": 0.0003\n}\n" },
    { "accelerate", "compute_environment: LOCAL_MACHINE\ndistributed_type: \"NO\"\nmixed_precision: bf16\nnum_machines: 1\nnum_processes: 1\nuse_cpu: false\n" },
    { "deepspeed", "{\n  \"train_batch_size\": 32,\n  \"train_micro_batch_size_per_gpu\": 8,\n  \"gradient_accumulation_steps\": 4,\n"
                   "  \"torch_autocast\": {\n    \"enabled\": true,\n    \"dtype\": \"bfloat16\"\n  },\n  \"bf16\": {\n    \"enabled\": false\n  },\n"
                   "  \"fp16\": {\n    \"enabled\": false\n  }\n}\n" },
};

static void test_bodies(void **state)
{
    struct made m;
    (void)state;
    make_default(&m);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) assert_body(bodies[i].name, &m.choice, bodies[i].want);
    drop(&m);
}

static void test_precisions(void **state)
{
    struct made m;
    (void)state;
    make_default(&m);
    m.choice.learning_rate = NAN;
    m.choice.val_batch = 0;
    /* with accumulation the hook is named, and `fp16` would name another */
    m.choice.precision = "fp16";
    assert_body("mmcv", &m.choice, "data = dict(samples_per_gpu=8)\noptimizer_config = dict(type=\"GradientCumulativeFp16OptimizerHook\", "
                "cumulative_iters=4, loss_scale=\"dynamic\")\nfp16 = None\n");
    m.choice.accumulation = 1;
    assert_body("mmcv", &m.choice, "data = dict(samples_per_gpu=8)\nfp16 = dict(loss_scale=\"dynamic\")\n");
    assert_body("argparse", &m.choice, "--batch_size 8 --precision 16 --base_channels 8 --n_infers 3 --target_size 160 160 256\n");
    assert_body("nnunet", &m.choice, "{\n  \"configurations\": {\n    \"3d_fullres_fillmark\": {\n      \"inherits_from\": \"3d_fullres\",\n"
                "      \"batch_size\": 8,\n      \"patch_size\": [160, 160, 256]\n    }\n  }\n}\n");
    m.choice.precision = "fp32";
    assert_body("accelerate", &m.choice, "compute_environment: LOCAL_MACHINE\ndistributed_type: \"NO\"\nmixed_precision: \"no\"\nnum_machines: 1\n"
                "num_processes: 1\nuse_cpu: false\n");
    for (int tf32 = 0; tf32 < 2; tf32++) {
        m.choice.precision = tf32 ? "tf32" : "fp32";
        assert_body("mmcv", &m.choice, "data = dict(samples_per_gpu=8)\nfp16 = None\n");
        struct fm_entries entries;
        struct fm_err err = { 0 };
        assert_int_equal(fm_export_entries(fm_export_find("mmcv", &err), &m.choice, &entries, &err), FM_OK);
        assert_non_null(strstr(entries.note[entries.notes - 1], tf32 ? "allow_tf32 = True" : "allow_tf32 = False"));
    }
    assert_body("mmengine", &m.choice, "train_dataloader = dict(batch_size=8)\noptim_wrapper = dict(type=\"OptimWrapper\", accumulative_counts=1)\n");
    m.choice.input_dims = 2;
    m.choice.input[0] = 288, m.choice.input[1] = 320;
    assert_body("dataclass", &m.choice, "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass DatasetConfig:\n"
                "    IMAGE_SIZE: tuple = (288, 320)\n\n\n@dataclass\nclass TrainingConfig:\n    BATCH_SIZE: int = 8\n\n\n"
                "TRAINER_ARGUMENTS = dict(precision=\"32-true\", accumulate_grad_batches=1)\n");
    assert_body("hydra", &m.choice, "data.batch_size=8 trainer.precision=32-true ++train.accumulate_grad_batches=1 '++data.img_size=[288,320]'\n");
    drop(&m);
}

/* attention in one kernel is in no framework's config: every format says what the code must call */
static void test_attention(void **state)
{
    (void)state;
    for (int flash = 0; flash < 2; flash++)
        for (size_t i = 0; i < fm_export_format_count; i++) {
            struct made m;
            struct fm_entries entries;
            struct fm_err err = { 0 };
            size_t said = 0;
            make(&m, "{\"base_channels\":\"16\",\"n_infers\":\"3\",\"input\":\"160x160x256\"}", flash ? "{\"attention\":\"flash\"}" : "{\"attention\":\"math\"}");
            m.choice.precision = "fp16";    /* not every format has bf16, or several passes */
            m.choice.accumulation = 1;
            if (fm_export_entries(fm_export_formats[i], &m.choice, &entries, &err) != FM_OK) fail_msg("%s: %s", fm_export_formats[i]->name, err.text);
            for (size_t k = 0; k < entries.notes; k++) said += strstr(entries.note[k], "scaled_dot_product_attention") != NULL;
            assert_int_equal(said, flash);
            drop(&m);
        }
}

/* all that an export says: what it prints, and what it has no room for */
static void said_of(const struct fm_export_format *format, const struct fm_choice *choice, struct fm_buf *out)
{
    struct fm_entries entries;
    struct fm_err err = { 0 };
    if (fm_export_entries(format, choice, &entries, &err) != FM_OK) fail_msg("%s: %s", format->name, err.text);
    if (format->kind != FM_EXPORT_TEMPLATE && fm_export_new(format, choice, &entries, out, &err) != FM_OK) fail_msg("%s: %s", format->name, err.text);
    if (!fm_export_has_comments(format)) fm_export_about(choice, out);
    for (size_t k = 0; k < entries.notes; k++) fm_buf_printf(out, "%s\n", entries.note[k]);
    assert_true(fm_buf_ok(out));
}

/* Planned is never called measured, in any format; the note of what the plan lacks is in each. What was measured is. */
static void test_planned_words(void **state)
{
    (void)state;
    for (int planned = 0; planned < 2; planned++)
        for (size_t i = 0; i < fm_export_format_count; i++) {
            struct made m;
            struct fm_buf text = FM_BUF(1 << 16);
            make(&m, "{\"input\":\"160x160\"}", "{\"attention\":\"flash\",\"cudnn_benchmark\":\"on\"}");
            m.choice.precision = fm_export_formats[i] == fm_export_find("mmcv", NULL) ? "fp16" : "bf16";
            m.choice.accumulation = 1;
            m.choice.checkpoint = "enc1+enc2";
            m.choice.memory_format = "channels_last";
            m.choice.optimizer = "adamw-amsgrad";
            m.choice.input_dims = 2;
            if (planned) {
                m.choice.planned = true, m.choice.certified = false, m.choice.note = "PLANNEDLACKS";
                m.choice.samples_per_s = NAN, m.choice.peak_bytes = -1;
            }
            said_of(fm_export_formats[i], &m.choice, &text);
            bool measured = strstr(fm_buf_text(&text), "measured") != NULL;
            if (measured == planned) fail_msg("%s, %s: %s", fm_export_formats[i]->name, planned ? "planned" : "measured", fm_buf_text(&text));
            if (planned) assert_non_null(strstr(fm_buf_text(&text), "PLANNEDLACKS"));
            if (planned && strcmp(fm_export_formats[i]->name, "hf") == 0) assert_non_null(strstr(fm_buf_text(&text), "planned with inputs of 160x160"));
            fm_buf_release(&text);
            drop(&m);
        }
}

/* a largest batch that is the limit that was given: the next one was not run, and no format says so */
static void test_at_limit(void **state)
{
    struct made m;
    (void)state;
    for (int at_limit = 0; at_limit < 2; at_limit++) {
        struct fm_buf about = FM_BUF(1 << 12);
        struct fm_value value;
        make_default(&m);
        m.choice.at_limit = at_limit;
        fm_export_about(&m.choice, &about);
        assert_int_equal(strstr(fm_buf_text(&about), "certified") != NULL, !at_limit);
        assert_int_equal(strstr(fm_buf_text(&about), "the limit that was given") != NULL, at_limit);
        assert_int_equal(fm_choice_get(&m.choice, "certified", &value), FM_NAME_KNOWN);
        assert_int_equal(value.on, !at_limit);
        assert_int_equal(fm_choice_get(&m.choice, "at_limit", &value), FM_NAME_KNOWN);
        assert_int_equal(value.on, at_limit);
        fm_buf_release(&about);
        drop(&m);
    }
}

/* channels that the fraction does not divide have no flag */
static void test_channels(void **state)
{
    struct made m;
    (void)state;
    make(&m, "{\"base_channels\":\"5\"}", "{}");
    m.choice.input_dims = 0;
    assert_body("argparse", &m.choice, "--batch_size 8 --val_batch_size 4 --precision bf16\n");
    m.choice.channels = "3/5";
    assert_body("argparse", &m.choice, "--batch_size 8 --val_batch_size 4 --precision bf16 --base_channels 3\n");
    drop(&m);
}

static void test_refusals(void **state)
{
    struct made m;
    struct fm_entries entries;
    (void)state;
    static const char *const all[] = { "lightning", "lightning-python", "monai", "argparse", "dataclass", "mmcv", "mmengine", "hydra", "hf",
                                       "accelerate", "deepspeed", "nnunet" };
    make_default(&m);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int what = 0; what < 3; what++) {
            struct fm_choice c = m.choice;
            struct fm_err err = { 0 };
            if (what == 0) c.precision = "fp8";
            else if (what == 1) c.precision = NULL;
            else c.accumulation = -1;
            assert_int_equal(fm_export_entries(fm_export_find(all[i], &err), &c, &entries, &err), FM_INVALID);
            assert_non_null(strstr(err.text, all[i]));
        }
    struct fm_err err = { 0 };
    assert_int_equal(fm_export_entries(fm_export_find("mmcv", &err), &m.choice, &entries, &err), FM_UNSUPPORTED);     /* bf16 */
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_export_entries(fm_export_find("nnunet", &err), &m.choice, &entries, &err), FM_UNSUPPORTED);   /* accumulation */
    err = (struct fm_err){ 0 };
    assert_null(fm_export_find("lightnin", &err));
    assert_non_null(strstr(err.text, "did you mean 'lightning'?"));
    drop(&m);
}

/* Nothing that is not known is written: no format says a negative number, "nan" or a null where a value would be. */
static void test_unknown(void **state)
{
    struct made m;
    (void)state;
    make(&m, "{}", "{}");
    struct fm_choice *c = &m.choice;
    c->val_batch = c->max_batch = c->max_val_batch = c->peak_bytes = c->planned_peak_bytes = c->capacity_bytes = -1;
    c->learning_rate = c->samples_per_s = NAN;
    c->checkpoint = c->channels = c->optimizer = c->device_name = NULL;
    c->input_dims = 0;
    c->precision = "fp16";
    c->accumulation = 1;
    for (size_t i = 0; i < fm_export_format_count; i++) {
        struct fm_buf text = FM_BUF(1 << 16);
        const char *name = fm_export_formats[i]->name;
        struct fm_entries entries;
        if (strcmp(name, "nnunet") == 0) {
            assert_int_equal(fm_export_entries(fm_export_formats[i], c, &entries, NULL), FM_INVALID);     /* needs a patch size */
            continue;
        }
        text_of(name, c, &text);
        assert_null(strstr(fm_buf_text(&text), "nan"));
        assert_null(strstr(fm_buf_text(&text), "-1"));
        assert_null(strstr(fm_buf_text(&text), "(null)"));
        if (strcmp(name, "json") != 0) assert_null(strstr(fm_buf_text(&text), "null"));
        fm_buf_release(&text);
    }
    drop(&m);
}

/* every format that edits: into an empty file and into its own output it writes the same as a new file */
static void test_edits_agree(void **state)
{
    struct made m;
    (void)state;
    make_default(&m);
    m.choice.precision = "fp16";
    m.choice.accumulation = 1;
    for (size_t i = 0; i < fm_export_format_count; i++) {
        const struct fm_export_format *format = fm_export_formats[i];
        if (!format->edits) continue;
        struct fm_buf text = FM_BUF(1 << 16), again = FM_BUF(1 << 16);
        struct fm_entries entries;
        struct fm_err err = { 0 };
        const char *file = format->kind == FM_EXPORT_JSON ? "f.json" : "f.yaml", *empty = format->kind == FM_EXPORT_JSON ? "{\n}\n" : "";
        assert_int_equal(fm_export_entries(format, &m.choice, &entries, &err), FM_OK);
        if (fm_edit(file, empty, strlen(empty), &entries, &text, &err) != FM_OK) fail_msg("%s: %s", format->name, err.text);
        if (fm_edit(file, fm_buf_text(&text), text.bytes, &entries, &again, &err) != FM_OK) fail_msg("%s: %s", format->name, err.text);
        assert_string_equal(fm_buf_text(&text), fm_buf_text(&again));
        struct fm_buf whole = FM_BUF(1 << 16);
        struct fm_seen edited, made;
        if (format->kind != FM_EXPORT_OVERRIDES) {
            assert_int_equal(fm_export_new(format, &m.choice, &entries, &whole, &err), FM_OK);
            assert_true(fm_test_see(fm_buf_text(&text), text.bytes, &edited));
            assert_true(fm_test_see(fm_buf_text(&whole), whole.bytes, &made));
            assert_int_equal(edited.count, made.count);
            for (size_t k = 0; k < made.count; k++) assert_string_equal(edited.line[k], made.line[k]);
            fm_test_seen_release(&edited);
            fm_test_seen_release(&made);
        }
        fm_buf_release(&whole);
        fm_buf_release(&text);
        fm_buf_release(&again);
    }
    drop(&m);
    assert_int_equal(fm_memory_live, 0);
}

/* ---- templates ---- */

static void test_template(void **state)
{
    static const struct { const char *text, *want; } rows[] = {
        { "", "" },
        { "no names { } {x}\n", "no names { } {x}\n" },
        { "b={{batch}} {{ val_batch }}\n{{input}} {{input.3}} {{set.n_infers}} {{strategy.precision}} {{learning_rate}} {{planned}}",
          "b=8 4\n160x160x256 256 3 bf16 0.0003 false" },
        { "{{{{ literal }} {{cell}}", "{{ literal }} 0123456789abcdef" },
        { "\xc3\xa4{{\tbatch\t}}", "\xc3\xa4" "8" },
    };
    static const struct { const char *text, *error; } bad[] = {
        { "x\n  {{batchs}}", "t:2:3: unknown name 'batchs'; did you mean 'batch'?" },
        { "{{ }}", "t:1:1: no name" }, { "{{batch", "t:1:1: '{{' without" }, { "{{batch}", "t:1:1: '{{' without" }, { "{{ba tch}}", "t:1:1: '{{' without" },
        { "{{", "t:1:1: '{{' without" }, { "\xc3\xa4 {{memory_format}}", "t:1:3: the run does not know 'memory_format'" },
        { "{{set.nothing}}", "t:1:1: unknown name 'set.nothing'" }, { "{{input.4}}", "t:1:1: unknown name" }, { "{{batch.1}}", "t:1:1: unknown name" },
    };
    struct made m;
    (void)state;
    make_default(&m);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fm_buf out = FM_BUF(1 << 12);
        struct fm_err err = { 0 };
        assert_int_equal(fm_template_fill("t", rows[i].text, strlen(rows[i].text), &m.choice, &out, &err), FM_OK);
        assert_string_equal(fm_buf_text(&out), rows[i].want);
        fm_buf_release(&out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fm_buf out = FM_BUF(1 << 12);
        struct fm_err err = { 0 };
        assert_int_equal(fm_template_fill("t", bad[i].text, strlen(bad[i].text), &m.choice, &out, &err), FM_INVALID);
        if (!strstr(err.text, bad[i].error)) fail_msg("'%s', not '%s'", err.text, bad[i].error);
        fm_buf_release(&out);
    }
    drop(&m);
}

/* each name is known to the table, and json says each */
static void test_names(void **state)
{
    struct made m;
    struct fm_buf text = FM_BUF(1 << 16);
    (void)state;
    make_default(&m);
    text_of("json", &m.choice, &text);
    cJSON *json = cJSON_Parse(fm_buf_text(&text));
    assert_non_null(json);
    for (size_t i = 0; fm_choice_names[i]; i++) {
        struct fm_value value;
        enum fm_name_state known = fm_choice_get(&m.choice, fm_choice_names[i], &value);
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, fm_choice_names[i]);
        assert_int_not_equal(known, FM_NAME_NONE);
        assert_non_null(item);
        assert_int_equal(cJSON_IsNull(item), known == FM_NAME_UNKNOWN);
    }
    struct fm_err err = { 0 };
    cJSON *schema = fm_schema_load(FM_SOURCE_DIR "/docs/schema/choice.schema.json");
    assert_non_null(schema);
    if (fm_schema_check(schema, json, &err) != FM_OK) fail_msg("%s", err.text);
    cJSON_Delete(schema);
    cJSON_Delete(json);
    fm_buf_release(&text);
    drop(&m);
}

/* numbers are read back as the same by everyone: a point always, and the exponent's sign */
static void test_reals(void **state)
{
    static const struct { double real; const char *text; } rows[] = {
        { 1e-4, "0.0001" }, { 1e-5, "1.0e-05" }, { 3.25e-7, "3.25e-07" }, { 1, "1.0" }, { 1e22, "1.0e+22" }, { 0.1, "0.1" }, { 2.0 / 3, "0.6666666666666666" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fm_buf text = FM_BUF(64);
        fm_put_real(&text, rows[i].real);
        assert_string_equal(fm_buf_text(&text), rows[i].text);
        fm_buf_release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies), cmocka_unit_test(test_precisions), cmocka_unit_test(test_attention), cmocka_unit_test(test_planned_words), cmocka_unit_test(test_at_limit), cmocka_unit_test(test_channels), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unknown), cmocka_unit_test(test_edits_agree), cmocka_unit_test(test_template), cmocka_unit_test(test_names),
        cmocka_unit_test(test_reals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
