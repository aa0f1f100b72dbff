/* What `show` says: counts equal the graph's, JSON is JSON with the promised members, texts name every setting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tuner/base/memory.h"
#include "workloads/graph/yaml.h"
#include "workloads/nets/show.h"

static cJSON *parsed(const struct fm_buf *out)
{
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithOpts(fm_buf_text(out), &end, 0);
    if (!json) fail_msg("not JSON: %s", fm_buf_text(out));
    assert_string_equal(end, "\n");
    return json;
}

static double number(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    if (!cJSON_IsNumber(item)) fail_msg("%s is no number", key);
    return item->valuedouble;
}

static const char *string(const cJSON *json, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, key));
    if (!text) fail_msg("%s is no string", key);
    return text;
}

static const cJSON *member(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    if (!item) fail_msg("%s is not there", key);
    return item;
}

static struct fm_settings defaults(const char *workload)
{
    struct fm_settings settings;
    struct fm_err err = { 0 };
    fm_settings_default(&settings, fm_workload_find(workload, &err));
    return settings;
}

static void test_list(void **state)
{
    struct fm_buf out = FM_BUF(1 << 16);
    struct fm_err err = { 0 };
    (void)state;
    assert_int_equal(fm_show_workloads(&out, true, &err), FM_OK);
    cJSON *json = parsed(&out);
    assert_int_equal(cJSON_GetArraySize(json), fm_workload_count);
    const cJSON *unet = cJSON_GetArrayItem(json, 0);
    assert_string_equal(string(unet, "workload"), "denseunet3d");
    assert_true(number(unet, "parameters") == 17184967); /* as published */
    assert_true(number(unet, "macs") == 798595481600.0);
    cJSON_Delete(json);
    fm_buf_clear(&out);
    assert_int_equal(fm_show_workloads(&out, false, &err), FM_OK);
    for (size_t i = 0; i < fm_workload_count; i++) {
        assert_non_null(strstr(fm_buf_text(&out), fm_workloads[i]->name));
        assert_non_null(strstr(fm_buf_text(&out), fm_workloads[i]->title));
    }
    assert_non_null(strstr(fm_buf_text(&out), " 17184967 "));
    fm_buf_release(&out);
}

static void test_workloads(void **state)
{
    (void)state;
    for (size_t i = 0; i < fm_workload_count; i++) {
        const struct fm_workload *w = fm_workloads[i];
        struct fm_settings settings = defaults(w->name);
        struct fm_graph graph;
        struct fm_buf out = FM_BUF(1 << 16);
        struct fm_err err = { 0 };
        assert_int_equal(fm_settings_build(&settings, 1, 0, &graph, &err), FM_OK);
        assert_int_equal(fm_show_workload(&settings, &out, true, &err), FM_OK);
        cJSON *json = parsed(&out);
        assert_string_equal(string(json, "workload"), w->name);
        assert_string_equal(string(json, "title"), w->title);
        assert_true(number(json, "parameters") == (double)fm_graph_parameters(&graph));
        assert_true(number(json, "macs") == fm_graph_macs(&graph));
        assert_int_equal(cJSON_GetArraySize(member(json, "settings")), w->settings);
        for (uint32_t s = 0; s < w->settings; s++) {
            const cJSON *setting = member(member(json, "settings"), w->setting[s].name);
            assert_string_equal(string(setting, "help"), w->setting[s].help);
            assert_true(cJSON_Compare(member(setting, "value"), member(setting, "default"), 1));
        }
        const struct fm_body *body = &graph.body[FM_BODY_TRAIN];
        assert_int_equal(cJSON_GetArraySize(member(json, "blocks")), body->block_count);
        for (size_t k = 0; k < body->block_count; k++)
            assert_string_equal(cJSON_GetStringValue(cJSON_GetArrayItem(member(json, "blocks"), (int)k)),
                                body->block[k].name);
        assert_int_equal(cJSON_GetArraySize(member(json, "inputs")), 2);
        cJSON_Delete(json);
        fm_buf_clear(&out);
        assert_int_equal(fm_show_workload(&settings, &out, false, &err), FM_OK);
        for (uint32_t s = 0; s < w->settings; s++) {
            assert_non_null(strstr(fm_buf_text(&out), w->setting[s].name));
            assert_non_null(strstr(fm_buf_text(&out), w->setting[s].help));
        }
        for (size_t k = 0; k < body->block_count; k++) assert_non_null(strstr(fm_buf_text(&out), body->block[k].name));
        fm_buf_release(&out);
        fm_graph_release(&graph);
        assert_int_equal(fm_memory_live, 0);
    }
}

/* changed settings change what is said, with values typed as people type them */
static void test_settings(void **state)
{
    struct fm_settings settings = defaults("segformer");
    struct fm_buf out = FM_BUF(1 << 16);
    struct fm_err err = { 0 };
    (void)state;
    assert_int_equal(fm_settings_set(&settings, "variant", "b4", &err), FM_OK);
    assert_int_equal(fm_settings_set(&settings, "drop_path", ".5", &err), FM_OK);
    assert_int_equal(fm_settings_set(&settings, "classes", "007", &err), FM_OK);
    assert_int_equal(fm_settings_set(&settings, "input", "64x96", &err), FM_OK);
    assert_int_equal(fm_show_workload(&settings, &out, true, &err), FM_OK);
    cJSON *json = parsed(&out);
    const cJSON *set = member(json, "settings"), *shape = member(member(json, "output"), "shape");
    assert_string_equal(string(member(set, "variant"), "value"), "b4");
    assert_string_equal(string(member(set, "variant"), "default"), "b0");
    assert_true(number(member(set, "drop_path"), "value") == 0.5);
    assert_true(number(member(set, "classes"), "value") == 7);
    assert_true(number(member(set, "classes"), "min") == 2);
    assert_int_equal(cJSON_GetArraySize(member(member(set, "variant"), "choices")), 6);
    assert_int_equal(cJSON_GetArraySize(shape), 3);
    assert_true(cJSON_GetArrayItem(shape, 0)->valuedouble == 7);
    assert_true(cJSON_GetArrayItem(shape, 1)->valuedouble == 64);
    assert_true(cJSON_GetArrayItem(shape, 2)->valuedouble == 96);
    cJSON_Delete(json);
    /* what cannot be built says why */
    assert_int_equal(fm_settings_set(&settings, "input", "65x96", &err), FM_OK);
    assert_int_equal(fm_show_workload(&settings, &out, true, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "multiples of 32"));
    fm_buf_release(&out);
    assert_int_equal(fm_memory_live, 0);
}

/* a graph that came from a file is shown like the workload it was written from */
static void test_graph(void **state)
{
    struct fm_settings settings = defaults("segformer");
    struct fm_buf yaml = FM_BUF(FM_GRAPH_FILE_BYTES), one = FM_BUF(1 << 16), two = FM_BUF(1 << 16);
    struct fm_graph graph;
    struct fm_err err = { 0 };
    (void)state;
    assert_int_equal(fm_show_yaml(&settings, &yaml, &err), FM_OK);
    assert_int_equal(fm_graph_read("g", fm_buf_text(&yaml), yaml.bytes, (const int64_t[]){ 1, 0 }, &graph, &err),
                     FM_OK);
    assert_int_equal(fm_show_graph(&graph, &one, true, &err), FM_OK);
    assert_int_equal(fm_show_workload(&settings, &two, true, &err), FM_OK);
    cJSON *a = parsed(&one), *b = parsed(&two);
    static const char *const keys[] = { "workload", "parameters", "macs", "inputs", "output", "blocks" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_true(cJSON_Compare(member(a, keys[i]), member(b, keys[i]), 1));
    cJSON_Delete(a);
    cJSON_Delete(b);
    fm_buf_clear(&one);
    assert_int_equal(fm_show_graph(&graph, &one, false, &err), FM_OK);
    assert_non_null(strstr(fm_buf_text(&one), "output      4x288x288 f32\n"));
    fm_graph_release(&graph);
    assert_int_equal(fm_graph_read("g", fm_buf_text(&yaml), yaml.bytes, (const int64_t[]){ 2, 0 }, &graph, &err),
                     FM_OK);
    assert_int_equal(fm_show_graph(&graph, &one, false, &err), FM_INVALID);
    fm_graph_release(&graph);
    fm_buf_release(&yaml);
    fm_buf_release(&one);
    fm_buf_release(&two);
    assert_int_equal(fm_memory_live, 0);
}

enum shown { LIST, WORKLOAD, YAML, SHOWN };

static fm_status show(enum shown what, const struct fm_settings *settings, struct fm_buf *out, struct fm_err *err)
{
    if (what == LIST) return fm_show_workloads(out, true, err);
    return what == WORKLOAD ? fm_show_workload(settings, out, true, err) : fm_show_yaml(settings, out, err);
}

static void test_faults(void **state)
{
    struct fm_settings settings = defaults("denseunet3d");
    (void)state;
    for (int what = 0; what < SHOWN; what++) {
        for (long n = 0;; n++) {
            struct fm_buf out = FM_BUF(1 << 20);
            struct fm_err err = { 0 };
            fm_fault = (struct fm_fault){ .left = n, .armed = true };
            fm_status status = show((enum shown)what, &settings, &out, &err);
            bool hit = fm_fault.hits > 0;
            fm_fault = (struct fm_fault){ 0 };
            fm_buf_release(&out);
            assert_int_equal(fm_memory_live, 0);
            assert_int_equal(status, hit ? FM_NOMEM : FM_OK);
            if (!hit) break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),  cmocka_unit_test(test_workloads), cmocka_unit_test(test_settings),
        cmocka_unit_test(test_graph), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
