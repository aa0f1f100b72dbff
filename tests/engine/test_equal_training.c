/* Strategies that only change how a network is trained change no gradient.
 *
 * Where the operations are the same (recomputation with the same dropout masks, the forms of loop and zero_grad) not a
 * bit may differ; where sums are taken in another order, only rounding. Accumulation is the mean over micro-batches. */
#include "probes/backends/cpu/cpu.h"
#include "probes/backends/ref/ref.h"
#include "tests/engine/support_session.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "workloads/graph/build.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define UNET "denseunet3d base_channels=2 levels=2 classes=3 input=8x4x8 dropout=on "
#define DEEP "denseunet3d base_channels=4 levels=3 classes=3 input=16x8x8 dropout=on "
#define SEGFORMER "segformer input=32x32 drop_path=0.3 +channels=1/8 "
#define WIDER "segformer input=64x32 drop_path=0.3 +channels=1/4 "

static void open_cell(struct fm_session *s, const struct fm_backend_ops *device, const char *words, int64_t batch)
{
    struct fm_cell cell;
    fm_session_cell(&cell, words);
    *s = (struct fm_session){ .device = device };
    fm_session_lower(s, &cell, (struct fm_cell_batch){ .train = batch });
    fm_session_open(s);
}

/* Trains both for three steps; exact: every bit of losses, gradients and parameters is the same. Returns the difference of
 * the first gradients. */
static double compare(const struct fm_backend_ops *device, const char *words, const char *one, const char *other, bool exact)
{
    static struct fm_session a, b;
    char text[2][384];
    (void)snprintf(text[0], sizeof text[0], "%s %s", words, one);
    (void)snprintf(text[1], sizeof text[1], "%s %s", words, other);
    open_cell(&a, device, text[0], 2);
    open_cell(&b, device, text[1], 2);
    fm_session_steps(&a, 1);
    fm_session_steps(&b, 1);
    double difference = fm_session_gradient_difference(&a, &b);
    for (int i = 0; i < 3 && exact; i++) {
        double gradients = fm_session_gradient_difference(&a, &b), parameters = fm_session_parameter_difference(&a, &b);
        if (gradients > 0 || parameters > 0 || fabs(a.loss[i] - b.loss[i]) > 0)
            fail_msg("%s: %s and %s on %s: step %d: gradients differ by %.3g, parameters by %.3g, loss by %.3g", words, one, other,
                     device->name, i, gradients, parameters, fabs(a.loss[i] - b.loss[i]));
        fm_session_steps(&a, 1);
        fm_session_steps(&b, 1);
    }
    fm_session_close(&a);
    fm_session_close(&b);
    return difference;
}

/* ---- checkpointing ---- */

static uint64_t draws;

/* "+checkpoint=" with about half of the blocks, at least one */
static void random_blocks(const char *words, char *text, size_t room)
{
    struct fm_cell cell;
    struct fm_graph graph = { 0 };
    struct fm_err err = { 0 };
    fm_session_cell(&cell, words);
    if (fm_cell_graph(&cell, 1, 0, &graph, &err) != FM_OK) fail_msg("%s", err.text);
    const struct fm_body *body = &graph.body[FM_BODY_TRAIN];
    size_t used = (size_t)snprintf(text, room, "+checkpoint="), named = 0;
    for (size_t i = 0; i < body->block_count; i++) {
        bool last = i + 1 == body->block_count;
        if (!(fm_rng_u64(3, 2, draws++) & 1) && (named || !last)) continue;
        used += (size_t)snprintf(text + used, room - used, "%s%s", named++ ? "+" : "", body->block[i].name);
    }
    assert_true(named > 0 && used < room);
    fm_graph_release(&graph);
}

static void recomputation_changes_nothing(void **state)
{
    (void)state;
    char blocks[128];
    (void)compare(&fm_backend_ref, UNET, "", "+checkpoint=blocks", true);
    (void)compare(&fm_backend_ref, SEGFORMER, "", "+checkpoint=blocks", true);
    (void)compare(&fm_backend_ref, UNET "+precision=fp16", "", "+checkpoint=blocks", true);
    (void)compare(&fm_backend_ref, SEGFORMER "+precision=bf16", "", "+checkpoint=blocks", true);
    (void)compare(&fm_backend_cpu, DEEP, "", "+checkpoint=blocks", true);
    (void)compare(&fm_backend_cpu, WIDER, "", "+checkpoint=blocks", true);
    for (int i = 0; i < 6; i++) {
        const char *words = i % 2 ? WIDER : DEEP;
        random_blocks(words, blocks, sizeof blocks);
        (void)compare(&fm_backend_cpu, words, i < 3 ? "+checkpoint=blocks" : "", blocks, true);
    }
}

/* a mask that is drawn twice would show: with other masks gradients are far apart */
static void dropout_has_an_effect(void **state)
{
    (void)state;
    assert_true(compare(&fm_backend_cpu, DEEP, "", "dropout=off", false) > 0.05);
    assert_true(compare(&fm_backend_cpu, WIDER, "", "drop_path=0", false) > 0.05);
}

/* ---- loops and forms ---- */

static void forms_change_nothing(void **state)
{
    (void)state;
    static const char *const exact[] = { "+loop=plain", "+zero_grad=keep", "+optimizer_form=fused", "+optimizer_form=for-loop",
                                         "+loop=plain +zero_grad=keep +checkpoint=blocks" };
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
        (void)compare(&fm_backend_cpu, DEEP, "", exact[i], true);
        (void)compare(&fm_backend_cpu, WIDER, "", exact[i], true);
        (void)compare(&fm_backend_cpu, DEEP "+optimizer=sgd +accumulate=2", "", exact[i], true);
    }
    (void)compare(&fm_backend_ref, UNET, "", "+loop=plain +zero_grad=keep", true);
    (void)compare(&fm_backend_ref, SEGFORMER, "", "+optimizer_form=for-loop", true);
    /* adds what the eager form adds in place, and a bias after its product */
    assert_true(compare(&fm_backend_ref, UNET, "", "+accounting=dispatch", false) < 1e-6);
    assert_true(compare(&fm_backend_ref, SEGFORMER, "", "+accounting=dispatch", false) < 1e-5);
    assert_true(compare(&fm_backend_cpu, WIDER, "", "+accounting=dispatch", false) < 1e-5);
}

/* ---- accumulation ---- */

/* lr 0: later steps see the parameters of the first */
static void open_still(struct fm_session *s, const struct fm_backend_ops *device, const char *words, uint32_t accumulate)
{
    struct fm_cell cell;
    struct fm_recipe recipe;
    struct fm_graph graph = { 0 };
    struct fm_err err = { 0 };
    fm_session_cell(&cell, words);
    assert_int_equal(fm_cell_recipe(&cell, &recipe, &err), FM_OK);
    recipe.policy.optimizer.lr = 0;
    recipe.policy.accumulate = accumulate;
    assert_int_equal(fm_settings_build(&recipe.settings, 2, 0, &graph, &err), FM_OK);
    *s = (struct fm_session){ .device = device };
    assert_int_equal(fm_lower(&graph, &recipe.policy, &s->program, &err), FM_OK);
    fm_graph_release(&graph);
    fm_session_open(s);
}

/* N micro-batches against the mean of N steps that see one each: the data set gives both the same examples */
static void accumulates_the_mean(const struct fm_backend_ops *device, const char *words, uint32_t accumulate, double bound)
{
    static struct fm_session together, apart;
    static double *mean[FM_SESSION_TENSORS];
    open_still(&together, device, words, accumulate);
    open_still(&apart, device, words, 1);
    fm_session_steps(&together, 1);
    for (uint32_t n = 0; n < accumulate; n++) {
        fm_session_steps(&apart, 1);
        for (uint32_t i = 0; i < apart.tensors; i++) {
            int64_t count = fm_operand_numel(&apart.tensor[i].operand);
            if (apart.tensor[i].buffer) continue;
            if (!mean[i]) mean[i] = fm_calloc((size_t)count, sizeof(double));
            for (int64_t k = 0; k < count; k++) mean[i][k] += apart.tensor[i].gradient[k] / accumulate;
        }
    }
    assert_true(fabs(apart.loss[0] - apart.loss[1]) > 1e-6);        /* not one batch twice */
    for (uint32_t i = 0; i < apart.tensors; i++) {
        if (apart.tensor[i].buffer) continue;
        fm_free(apart.tensor[i].gradient);
        apart.tensor[i].gradient = mean[i];
        mean[i] = NULL;
    }
    double difference = fm_session_gradient_difference(&together, &apart);
    if (!(difference <= bound)) fail_msg("%s: %u micro-batches on %s: off by %.3g", words, accumulate, device->name, difference);
    fm_session_close(&together);
    fm_session_close(&apart);
}

static void accumulation_is_the_mean_of_its_micro_batches(void **state)
{
    (void)state;
    accumulates_the_mean(&fm_backend_ref, "denseunet3d base_channels=2 levels=2 classes=3 input=8x4x8", 2, 1e-6);
    accumulates_the_mean(&fm_backend_ref, "segformer input=32x32 dropout=0 +channels=1/8", 3, 1e-6);
    accumulates_the_mean(&fm_backend_cpu, "denseunet3d base_channels=4 levels=3 classes=3 input=16x8x8", 3, 1e-5);
    accumulates_the_mean(&fm_backend_cpu, "denseunet3d base_channels=4 levels=3 classes=3 input=16x8x8 +zero_grad=keep", 2, 1e-5);
    accumulates_the_mean(&fm_backend_cpu, "segformer input=64x32 dropout=0 +channels=1/4 +checkpoint=none", 4, 1e-5);
}

/* no batch statistics: convolution, group norm, GELU, dense layer; so that micro-batches make one large batch */
static void build_without_batch_norm(struct fm_graph *graph, int64_t batch)
{
    struct fm_err err = { 0 };
    struct fm_build *b = fm_build_new("plain", &err);
    assert_non_null(b);
    struct fm_module stem = fm_new_conv(b, "stem", (struct fm_conv){ .dims = 2, .in = 3, .out = 8, .kernel = 3, .padding = 1, .bias = true });
    struct fm_module norm = fm_new_group_norm(b, "norm", (struct fm_norm){ .channels = 8, .groups = 4 });
    struct fm_module head = fm_new_conv(b, "head", (struct fm_conv){ .dims = 2, .in = 8, .out = 4, .kernel = 1, .bias = true });
    fm_build_body(b, FM_BODY_TRAIN, batch);
    fm_value x = fm_input(b, "x", FM_INPUT_IMAGE, 4, (struct fm_shape){ .ndim = 4, .size = { batch, 3, 16, 12 } });
    fm_value y = fm_input(b, "y", FM_INPUT_IMAGE_LABELS, 4, (struct fm_shape){ .ndim = 3, .size = { batch, 16, 12 } });
    fm_bind_loop(b, "x", x);
    fm_bind_loop(b, "y", y);
    fm_block_begin(b, "middle");
    fm_value m = fm_block_end(b, fm_gelu(b, "gelu", fm_apply(b, &norm, fm_apply(b, &stem, x))));
    fm_value out = fm_apply(b, &head, m);
    fm_body_output(b, out);
    fm_value loss = fm_cross_entropy(b, "loss", out, y, -100);
    fm_bind_loop(b, "loss", loss);
    fm_body_loss(b, loss);
    if (fm_build_finish(b, graph, &err) != FM_OK) fail_msg("%s", err.text);
    fm_build_free(b);
}

static void open_plain(struct fm_session *s, const struct fm_backend_ops *device, uint32_t accumulate, int64_t batch)
{
    struct fm_graph graph = { 0 };
    struct fm_err err = { 0 };
    struct fm_policy policy = fm_policy_default();
    const uint8_t all[1] = { 1 };
    policy.accumulate = accumulate;
    policy.checkpoint = accumulate == 3 ? all : NULL;
    build_without_batch_norm(&graph, batch);
    *s = (struct fm_session){ .device = device };
    if (fm_lower(&graph, &policy, &s->program, &err) != FM_OK) fail_msg("%s", err.text);
    fm_graph_release(&graph);
    fm_session_open(s);
}

static void micro_batches_make_one_batch(void **state)
{
    (void)state;
    static struct fm_session micro, whole;
    const struct fm_backend_ops *const devices[] = { &fm_backend_ref, &fm_backend_cpu };
    for (int n = 0; n < 4; n++) {
        uint32_t accumulate = n < 2 ? 2 : 3;
        open_plain(&micro, devices[n % 2], accumulate, 2);
        open_plain(&whole, devices[n % 2], 1, 2 * accumulate);
        assert_int_equal(micro.program.samples, whole.program.samples);
        for (int step = 0; step < 3; step++) {
            fm_session_steps(&micro, 1);
            fm_session_steps(&whole, 1);
            double difference = fm_session_gradient_difference(&micro, &whole);
            if (!(difference < 2e-6 * pow(10, step)))
                fail_msg("%u micro-batches on %s: step %d off by %.3g", accumulate, devices[n % 2]->name, step, difference);
        }
        fm_session_close(&micro);
        fm_session_close(&whole);
    }
}

static int balanced(void **state)
{
    (void)state;
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recomputation_changes_nothing),
        cmocka_unit_test(dropout_has_an_effect),
        cmocka_unit_test(forms_change_nothing),
        cmocka_unit_test(accumulation_is_the_mean_of_its_micro_batches),
        cmocka_unit_test(micro_batches_make_one_batch),
    };
    return cmocka_run_group_tests(tests, NULL, balanced);
}
