/* Layer tables against the published ones, byte by byte, and their counts against the graph's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/base/memory.h"
#include "workloads/nets/layers.h"

#define TABLE_BYTES ((size_t)1 << 20)

struct published {
    const char *file, *workload, *set[4]; /* key=value */
};

static const struct published tables[] = {
    { "a_denseunet3d_c8", "denseunet3d", { "base_channels=8" } },
    { "a_denseunet3d_c16", "denseunet3d", { "base_channels=16" } },
    { "a_denseunet3d_c32", "denseunet3d", { "base_channels=32" } },
    { "a_denseunet3d_c8_light", "denseunet3d", { "base_channels=8", "levels=3" } },
    { "a_denseunet3d_c16_light", "denseunet3d", { "levels=3" } },
    { "a_denseunet3d_c16_128x128x192", "denseunet3d", { "input=128x128x192" } },
    { "d_segformer_b0_288_4", "segformer", { "variant=b0" } },
    { "d_segformer_b1_288_4", "segformer", { "variant=b1" } },
    { "d_segformer_b2_288_4", "segformer", { "variant=b2" } },
    { "d_segformer_b3_288_4", "segformer", { "variant=b3" } },
    { "d_segformer_b4_288_4", "segformer", { "variant=b4" } },
    { "d_segformer_b5_288_4", "segformer", { "variant=b5" } },
    { "d_segformer_b0_224_4", "segformer", { "variant=b0", "input=224x224" } },
    { "d_segformer_b2_256_4", "segformer", { "variant=b2", "input=256x256" } },
    { "chk_segformer_b0_ade", "segformer", { "variant=b0", "input=512x512", "classes=150" } },
    { "chk_segformer_b1_ade", "segformer", { "variant=b1", "input=512x512", "classes=150" } },
    { "chk_segformer_b2_ade", "segformer", { "variant=b2", "input=512x512", "classes=150" } },
    { "chk_segformer_b3_ade", "segformer", { "variant=b3", "input=512x512", "classes=150" } },
    { "chk_segformer_b4_ade", "segformer", { "variant=b4", "input=512x512", "classes=150" } },
    { "chk_segformer_b5_ade", "segformer", { "variant=b5", "input=512x512", "classes=150" } },
};

static struct fm_settings settings_of(const struct published *p)
{
    struct fm_settings settings;
    struct fm_err err = { 0 };
    fm_settings_default(&settings, fm_workload_find(p->workload, &err));
    for (size_t i = 0; i < 4 && p->set[i]; i++) {
        char key[32];
        const char *equals = strchr(p->set[i], '=');
        (void)snprintf(key, sizeof key, "%.*s", (int)(equals - p->set[i]), p->set[i]);
        assert_int_equal(fm_settings_set(&settings, key, equals + 1, &err), FM_OK);
    }
    return settings;
}

/* the bytes of a file below tests/data/layers, NUL-terminated; fm_free them */
static char *published_text(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/layers/%s.tsv", FM_TEST_DATA_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = fm_calloc(TABLE_BYTES, 1);
    assert_non_null(text);
    size_t n = fread(text, 1, TABLE_BYTES - 1, file);
    assert_true(n > 0 && n < TABLE_BYTES - 1);
    (void)fclose(file);
    return text;
}

/* the first line that differs, so that a failure tells what is wrong */
static void assert_same(const char *name, const char *got, const char *want)
{
    if (strcmp(got, want) == 0) return;
    size_t line = 1, start = 0, i = 0;
    for (; got[i] == want[i]; i++) {
        if (got[i] != '\n') continue;
        line++;
        start = i + 1;
    }
    fail_msg("%s:%zu:\n got  %.*s\n want %.*s", name, line, (int)strcspn(got + start, "\n"), got + start,
             (int)strcspn(want + start, "\n"), want + start);
}

static void test_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct fm_settings settings = settings_of(&tables[i]);
        struct fm_buf out = FM_BUF(TABLE_BYTES);
        struct fm_err err = { 0 };
        if (fm_layers_write(&settings, &out, &err) != FM_OK) fail_msg("%s: %s", tables[i].file, err.text);
        char *want = published_text(tables[i].file);
        assert_same(tables[i].file, fm_buf_text(&out), want);
        fm_free(want);
        fm_buf_release(&out);
        assert_int_equal(fm_memory_live, 0);
    }
}

/* Attention in one kernel has the same rows. What is kept is less by the softmax of each block, counted here from the
 * table; its output is kept either way, by the projection after it. */
static void test_flash(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct fm_settings settings = settings_of(&tables[i]);
        struct fm_buf out = FM_BUF(TABLE_BYTES);
        struct fm_err err = { 0 };
        if (!settings.workload->attention) continue;
        settings.flash_attention = true;
        if (fm_layers_write(&settings, &out, &err) != FM_OK) fail_msg("%s: %s", tables[i].file, err.text);
        char *want = published_text(tables[i].file), *got = fm_strdup(fm_buf_text(&out)), *at = want;
        long long less = 0;
        while ((at = strstr(at, "heads=")) != NULL) {
            long long heads, depth, queries, keys;
            assert_int_equal(sscanf(at++, "heads=%lld hd=%lld Nq=%lld Nk=%lld", &heads, &depth, &queries, &keys), 4);
            less += 4 * heads * queries * keys;
        }
        char *kept[2] = { strstr(want, "saved_fp32_bytes/sample "), strstr(got, "saved_fp32_bytes/sample ") };
        assert_true(less > 0 && kept[0] && kept[1]);
        long long bytes[2];
        for (int k = 0; k < 2; k++) {
            bytes[k] = strtoll(kept[k] + strlen("saved_fp32_bytes/sample "), NULL, 10);
            *kept[k] = '\0';
        }
        assert_same(tables[i].file, got, want);
        assert_true(bytes[0] - bytes[1] == less);
        fm_free(want);
        fm_free(got);
        fm_buf_release(&out);
        assert_int_equal(fm_memory_live, 0);
    }
}

/* the counts that everything else uses are the tables' */
static void test_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        struct fm_settings settings = settings_of(&tables[i]);
        struct fm_graph graph;
        struct fm_err err = { 0 };
        char *want = published_text(tables[i].file);
        const char *total = strstr(want, "# total params ");
        assert_non_null(total);
        char *end = NULL;
        long long params = strtoll(total + strlen("# total params "), &end, 10);
        double macs = strtod(strstr(end, "MAC ") + 4, NULL);
        for (int64_t batch = 1; batch <= 3; batch += 2) {
            assert_int_equal(fm_settings_build(&settings, batch, 0, &graph, &err), FM_OK);
            assert_int_equal(fm_graph_parameters(&graph), params);
            assert_true(fm_graph_macs(&graph) == macs * (double)batch);
            fm_graph_release(&graph);
        }
        fm_free(want);
    }
}

/* settings that the tables do not have show in the rows, and nowhere else */
static void test_settings_show(void **state)
{
    (void)state;
    const struct published other = { .workload = "segformer", .set = { "dropout=0", "drop_path=0.1" } };
    struct fm_settings settings = settings_of(&other);
    struct fm_buf out = FM_BUF(TABLE_BYTES);
    struct fm_err err = { 0 };
    assert_int_equal(fm_layers_write(&settings, &out, &err), FM_OK);
    assert_null(strstr(fm_buf_text(&out), "head.dropout"));
    assert_non_null(strstr(fm_buf_text(&out), "\tdrop_path\tdrop_path\t32\t32\t"));
    fm_buf_release(&out);
}

static void test_refused(void **state)
{
    (void)state;
    struct fm_settings settings = settings_of(&tables[0]);
    struct fm_graph graph;
    struct fm_buf out = FM_BUF(TABLE_BYTES);
    struct fm_err err = { 0 };
    assert_int_equal(fm_settings_build(&settings, 2, 1, &graph, &err), FM_OK);
    assert_int_equal(fm_layers_write_graph(&graph, &out, &err), FM_INVALID);
    fm_graph_release(&graph);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_settings_build(&settings, 1, 0, &graph, &err), FM_OK);
    graph.body[FM_BODY_TRAIN].output = FM_NO_VALUE;
    assert_int_equal(fm_layers_write_graph(&graph, &out, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "output"));
    fm_graph_release(&graph);
    fm_buf_release(&out);
}

static void test_faults(void **state)
{
    (void)state;
    struct fm_settings settings = settings_of(&tables[6]);
    for (long n = 0;; n++) {
        struct fm_buf out = FM_BUF(TABLE_BYTES);
        struct fm_err err = { 0 };
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_layers_write(&settings, &out, &err);
        bool hit = fm_fault.hits > 0;
        fm_fault = (struct fm_fault){ 0 };
        fm_buf_release(&out);
        assert_int_equal(fm_memory_live, 0);
        assert_int_equal(status, hit ? FM_NOMEM : FM_OK);
        if (!hit) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_flash), cmocka_unit_test(test_counts), cmocka_unit_test(test_settings_show),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
