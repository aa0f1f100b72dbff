/* Graphs as YAML: what is written reads back as the same program, at any batch; and the documented example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/graph/support_yaml.h"
#include "tuner/base/memory.h"
#include "workloads/graph/build.h"
#include "workloads/graph/yaml.h"
#include "workloads/nets/nets.h"

static const struct net {
    const char *workload, *set[4][2];
} nets[] = {
    { "denseunet3d", { { "input", "32x32x48" }, { "base_channels", "4" } } },
    { "denseunet3d", { { "input", "16x16x16" }, { "levels", "3" }, { "dropout", "on" }, { "classes", "5" } } },
    { "denseunet3d", { { "input", "32x32x32" }, { "n_infers", "3" }, { "ensemble", "keep_all" }, { "classes", "3" } } },
    { "denseunet3d", { { "input", "32x32x32" }, { "n_infers", "2" }, { "ensemble", "sum" }, { "classes", "3" } } },
    { "segformer", { { "variant", "b0" }, { "input", "64x96" } } },
    { "segformer", { { "variant", "b2" }, { "input", "64x64" }, { "drop_path", "0.1" }, { "dropout", "0" } } },
};
#define FLASH_POLICY 2 /* the first in half precision, which flash attention needs */

static struct fm_graph build(const struct net *net, int64_t train, int64_t val)
{
    struct fm_settings settings;
    struct fm_graph graph;
    struct fm_err err = { 0 };
    fm_settings_default(&settings, fm_workload_find(net->workload, &err));
    for (int i = 0; i < 4 && net->set[i][0]; i++)
        assert_int_equal(fm_settings_set(&settings, net->set[i][0], net->set[i][1], &err), FM_OK);
    if (fm_settings_build(&settings, train, val, &graph, &err) != FM_OK) fail_msg("%s", err.text);
    return graph;
}

static struct fm_buf written(const struct fm_graph *a, const struct fm_graph *b)
{
    struct fm_buf out = FM_BUF(FM_GRAPH_FILE_BYTES);
    struct fm_err err = { 0 };
    if (fm_graph_write(a, b, &out, &err) != FM_OK) fail_msg("%s", err.text);
    return out;
}

static struct fm_graph read_back(const char *text, int64_t train, int64_t val)
{
    struct fm_graph graph;
    struct fm_err err = { 0 };
    if (fm_graph_read("g.yaml", text, strlen(text), (const int64_t[]){ train, val }, &graph, &err) != FM_OK)
        fail_msg("%s", err.text);
    return graph;
}

static void test_round_trip(void **state)
{
    static const int64_t batches[][2] = { { 1, 1 }, { 1, 3 }, { 5, 2 }, { 4, 0 }, { 0, 7 } };
    (void)state;
    for (size_t n = 0; n < sizeof nets / sizeof nets[0]; n++) {
        struct fm_graph a = build(&nets[n], 2, 3), b = build(&nets[n], 3, 2);
        struct fm_buf text = written(&a, &b);
        fm_graph_release(&a);
        fm_graph_release(&b);
        a = read_back(fm_buf_text(&text), 6, 1);
        b = read_back(fm_buf_text(&text), 1, 4);
        struct fm_buf again = written(&a, &b);
        assert_string_equal(fm_buf_text(&again), fm_buf_text(&text));
        fm_graph_release(&a);
        fm_graph_release(&b);
        for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
            a = build(&nets[n], batches[i][0], batches[i][1]);
            b = read_back(fm_buf_text(&text), batches[i][0], batches[i][1]);
            for (int policy = 0; policy < POLICIES; policy++)
                assert_int_equal(lowering_hash(&a, policy), lowering_hash(&b, policy));
            fm_graph_release(&a);
            fm_graph_release(&b);
        }
        fm_buf_release(&text);
        fm_buf_release(&again);
        assert_int_equal(fm_memory_live, 0);
    }
}

/* the example of docs/graph-yaml.md is the network one would build, lifetimes and all */
static struct fm_graph build_tiny(int64_t train, int64_t val)
{
    struct fm_err err = { 0 };
    struct fm_graph graph;
    struct fm_build *b = fm_build_new("tiny", &err);
    struct fm_module conv =
        fm_new_conv(b, "conv", (struct fm_conv){ .dims = 3, .in = 1, .out = 8, .kernel = 3, .padding = 1 });
    struct fm_module norm = fm_new_batch_norm(b, "bn", (struct fm_norm){ .channels = 8 });
    struct fm_module head =
        fm_new_conv(b, "head", (struct fm_conv){ .dims = 3, .in = 8, .out = 4, .kernel = 1, .bias = true });
    fm_build_body(b, FM_BODY_TRAIN, train);
    fm_value x = fm_input(b, "x", FM_INPUT_VOLUME, 4, (struct fm_shape){ 5, { train, 1, 16, 16, 16 } });
    fm_bind_loop(b, "x", x);
    fm_value y = fm_input(b, "y", FM_INPUT_VOLUME_LABELS, 4, (struct fm_shape){ 4, { train, 16, 16, 16 } });
    fm_bind_loop(b, "y", y);
    fm_block_begin(b, "stem");
    fm_value h = fm_block_end(b, fm_relu_(b, "relu", fm_apply(b, &norm, fm_apply(b, &conv, x))));
    fm_value out = fm_apply(b, &head, h);
    fm_bind_loop(b, "out", out);
    fm_body_output(b, out);
    fm_value logp = fm_log_softmax(b, "loss.log_softmax", out, 1), loss = fm_nll_loss(b, "loss", logp, y, 255);
    fm_bind_loop(b, "loss", loss);
    fm_body_loss(b, loss);
    fm_build_body(b, FM_BODY_VAL, val);
    x = fm_input(b, "x", FM_INPUT_VOLUME, 4, (struct fm_shape){ 5, { val, 1, 16, 16, 16 } });
    out = fm_apply(b, &head, fm_relu_(b, "relu", fm_apply(b, &norm, fm_apply(b, &conv, x))));
    fm_body_output(b, out);
    (void)fm_argmax(b, "prediction", out, 1);
    if (fm_build_finish(b, &graph, &err) != FM_OK) fail_msg("%s", err.text);
    fm_build_free(b);
    for (size_t i = 0; i < graph.param_count; i++) { /* as the example rounds and names them */
        struct fm_param *p = &graph.param[i];
        if (p->init == FM_INIT_UNIFORM) p->value = p->name[0] == 'c' ? 0.19 : 0.35;
        if (p->dtype == FM_I64) (void)snprintf(p->name, sizeof p->name, "bn.count");
    }
    return graph;
}

static void test_documented_example(void **state)
{
    (void)state;
    char *text = example_text();
    for (int64_t batch = 1; batch < 4; batch++) {
        struct fm_graph want = build_tiny(batch, batch + 1), got = read_back(text, batch, batch + 1);
        for (int policy = 0; policy < POLICIES; policy++)
            assert_int_equal(lowering_hash(&got, policy), lowering_hash(&want, policy));
        fm_graph_release(&want);
        fm_graph_release(&got);
    }
    struct fm_graph a = read_back(text, 2, 2), b = read_back(text, 3, 3);
    struct fm_graph c = build_tiny(2, 2), d = build_tiny(3, 3);
    struct fm_buf one = written(&a, &b), two = written(&c, &d);
    assert_string_equal(fm_buf_text(&one), fm_buf_text(&two));
    fm_buf_release(&one);
    fm_buf_release(&two);
    fm_graph_release(&a);
    fm_graph_release(&b);
    fm_graph_release(&c);
    fm_graph_release(&d);
    fm_free(text);
}

/* every operator with every key reads, lowers, and comes back */
static void test_all_ops(void **state)
{
    (void)state;
    char *text = data_text("graph_all_ops.yaml");
    struct fm_graph a = read_back(text, 2, 2), b = read_back(text, 3, 3);
    bool seen[FM_OP_COUNT] = { false };
    for (int k = 0; k < FM_BODY_COUNT; k++)
        for (size_t i = 0; i < a.body[k].node_count; i++) seen[a.body[k].node[i].op] = true;
    for (int op = 0; op < FM_OP_COUNT; op++)
        if (!seen[op]) fail_msg("%s is not in graph_all_ops.yaml", fm_op_row((enum fm_op)op)->name);
    struct fm_buf once = written(&a, &b);
    struct fm_graph c = read_back(fm_buf_text(&once), 2, 2), d = read_back(fm_buf_text(&once), 3, 3);
    struct fm_buf twice = written(&c, &d);
    assert_string_equal(fm_buf_text(&twice), fm_buf_text(&once));
    for (int policy = FLASH_POLICY; policy < POLICIES; policy++) {
        assert_int_equal(lowering_hash(&a, policy), lowering_hash(&c, policy));
        assert_int_equal(lowering_hash(&b, policy), lowering_hash(&d, policy));
    }
    fm_buf_release(&once);
    fm_buf_release(&twice);
    fm_graph_release(&a);
    fm_graph_release(&b);
    fm_graph_release(&c);
    fm_graph_release(&d);
    fm_free(text);
}

/* attention in one kernel comes back as such, with its scale */
static void test_flash(void **state)
{
    (void)state;
    struct fm_settings settings;
    struct fm_graph graph[2], back[2];
    struct fm_err err = { 0 };
    fm_settings_default(&settings, &fm_segformer);
    assert_int_equal(fm_settings_set(&settings, "input", "64x96", &err), FM_OK);
    settings.flash_attention = true;
    for (int i = 0; i < 2; i++)
        if (fm_settings_build(&settings, 2 + i, 1 + i, &graph[i], &err) != FM_OK) fail_msg("%s", err.text);
    struct fm_buf text = written(&graph[0], &graph[1]);
    assert_non_null(strstr(fm_buf_text(&text), "op: sdpa"));
    for (int i = 0; i < 2; i++) back[i] = read_back(fm_buf_text(&text), 2 + i, 1 + i);
    for (int i = 0; i < 2; i++)
        for (int policy = FLASH_POLICY; policy < POLICIES; policy++)
            assert_int_equal(lowering_hash(&graph[i], policy), lowering_hash(&back[i], policy));
    struct fm_program program = { 0 };
    assert_int_equal(lower_with(&graph[0], 0, &program, &err), FM_UNSUPPORTED); /* fp32 */
    assert_non_null(strstr(err.text, "fp16 and bf16"));
    fm_program_release(&program);
    for (int i = 0; i < 2; i++) {
        fm_graph_release(&graph[i]);
        fm_graph_release(&back[i]);
    }
    fm_buf_release(&text);
    assert_int_equal(fm_memory_live, 0);
}

/* "as training" is the training body without a loss */
static void test_validation_as_training(void **state)
{
    (void)state;
    char *text = example_text();
    char *validation = strstr(text, "validation:");
    assert_non_null(validation);
    (void)snprintf(validation, strlen(validation) + 1, "validation: as training\n");
    struct fm_graph graph = read_back(text, 2, 3);
    const struct fm_body *train = &graph.body[FM_BODY_TRAIN], *val = &graph.body[FM_BODY_VAL];
    assert_int_equal(val->node_count, train->node_count);
    assert_int_equal(val->stmt_count, train->stmt_count);
    assert_int_equal(val->loss, FM_NO_VALUE);
    assert_int_equal(val->value[val->output].shape.size[0], 3);
    assert_int_equal(train->value[train->output].shape.size[0], 2);
    assert_int_not_equal(lowering_hash(&graph, 0), 0);
    fm_graph_release(&graph);
    fm_free(text);
}

/* ---- what cannot be written ---- */

static struct fm_graph build_odd(int64_t batch, int64_t extra, double alpha)
{
    struct fm_err err = { 0 };
    struct fm_graph graph;
    struct fm_build *b = fm_build_new("odd", &err);
    struct fm_module linear = fm_new_linear(b, "linear", (struct fm_linear){ 4, 4 });
    fm_build_body(b, FM_BODY_TRAIN, batch);
    fm_value x = fm_input(b, "x", FM_INPUT_IMAGE, 4, (struct fm_shape){ 3, { batch, extra, 4 } });
    fm_value y = fm_mean(b, "mean", fm_affine(b, "odd \"scale\"", fm_apply(b, &linear, x), alpha, 0));
    fm_body_output(b, y);
    fm_body_loss(b, y);
    if (fm_build_finish(b, &graph, &err) != FM_OK) fail_msg("%s", err.text);
    fm_build_free(b);
    return graph;
}

static fm_status write_odd(const double a[3], const double b[3], struct fm_err *err)
{
    struct fm_graph x = build_odd((int64_t)a[0], (int64_t)a[1], a[2]),
                    y = build_odd((int64_t)b[0], (int64_t)b[1], b[2]);
    struct fm_buf out = FM_BUF(1 << 16);
    *err = (struct fm_err){ 0 };
    fm_status status = fm_graph_write(&x, &y, &out, err);
    fm_buf_release(&out);
    fm_graph_release(&x);
    fm_graph_release(&y);
    return status;
}

static void test_not_writable(void **state)
{
    struct fm_err err;
    (void)state;
    /* batch, a size, a factor: at two batches */
    assert_int_equal(write_odd((double[]){ 2, 5, 1 }, (double[]){ 3, 5, 1 }, &err), FM_OK);
    assert_int_equal(write_odd((double[]){ 2, 4, 1 }, (double[]){ 3, 6, 1 }, &err), FM_OK);
    assert_int_equal(write_odd((double[]){ 2, 5, 1 }, (double[]){ 3, 6, 1 }, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "a size of x is 5 at batch 2 and 6 at batch 3"));
    assert_int_equal(write_odd((double[]){ 2, 4, 1 }, (double[]){ 3, 9, 1 }, &err), FM_UNSUPPORTED);
    assert_int_equal(write_odd((double[]){ 2, 5, 0.5 }, (double[]){ 3, 5, 0.25 }, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "odd \"scale\""));
    assert_int_equal(write_odd((double[]){ 2, 5, 1 }, (double[]){ 2, 5, 1 }, &err), FM_INVALID);
    struct fm_graph a = build(&nets[0], 2, 0), b = build(&nets[4], 3, 0);
    struct fm_buf out = FM_BUF(FM_GRAPH_FILE_BYTES);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_graph_write(&a, &b, &out, &err), FM_INVALID);
    fm_graph_release(&b);
    b = build(&nets[0], 3, 0);
    (void)snprintf(a.body[0].node[3].name, FM_NAME_BYTES, "tab\there");
    (void)snprintf(b.body[0].node[3].name, FM_NAME_BYTES, "tab\there");
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_graph_write(&a, &b, &out, &err), FM_UNSUPPORTED);
    fm_buf_release(&out);
    out = FM_BUF(100); /* too small: said, not cut */
    (void)snprintf(a.body[0].node[3].name, FM_NAME_BYTES, "fine");
    (void)snprintf(b.body[0].node[3].name, FM_NAME_BYTES, "fine");
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_graph_write(&a, &b, &out, &err), FM_NOMEM);
    fm_buf_release(&out);
    fm_graph_release(&a);
    fm_graph_release(&b);
    assert_int_equal(fm_memory_live, 0);
}

/* names that YAML would take for something else come back as they were */
static void test_names(void **state)
{
    static const char *const names[] = {
        "true", "12", "a: b", "- x", "#no", "x,y", "[z]", "it's \"q\" \\ {}", "~", "s1.b0.add1(droppath)", "B"
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct fm_graph a = build_odd(2, 5, 0.1), b = build_odd(3, 5, 0.1);
        for (size_t n = 0; n < a.body[0].node_count; n++) { /* all of one name: told apart by their results' names */
            (void)snprintf(a.body[0].node[n].name, FM_NAME_BYTES, "%s", names[i]);
            (void)snprintf(b.body[0].node[n].name, FM_NAME_BYTES, "%s", names[i]);
        }
        (void)snprintf(a.param[0].name, FM_NAME_BYTES, "%s", names[i]);
        (void)snprintf(b.param[0].name, FM_NAME_BYTES, "%s", names[i]);
        struct fm_buf text = written(&a, &b);
        struct fm_graph c = read_back(fm_buf_text(&text), 2, 0);
        assert_int_equal(lowering_hash(&a, 0), lowering_hash(&c, 0));
        for (size_t n = 0; n < a.body[0].node_count; n++) assert_string_equal(c.body[0].node[n].name, names[i]);
        assert_string_equal(c.param[0].name, names[i]);
        fm_buf_release(&text);
        fm_graph_release(&a);
        fm_graph_release(&b);
        fm_graph_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_documented_example),
        cmocka_unit_test(test_all_ops),      cmocka_unit_test(test_validation_as_training),
        cmocka_unit_test(test_not_writable), cmocka_unit_test(test_flash), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
