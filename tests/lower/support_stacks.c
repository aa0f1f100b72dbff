#include "tests/lower/support_stacks.h"

#include "workloads/graph/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define CHANNELS 32
#define GROUPS 8
#define EDGE 64                     /* of the volume the norm stacks are given */
#define LOSS_EDGE 128
#define CLASSES 4
#define MATRICES 32                 /* of 1024 x 1024: what the optimizers step */
#define WIDTH 1024

struct stack {
    struct fm_build *b;
    struct fm_module module[64];
    uint32_t modules;
};

static bool has(const char *name, const char *part) { return strstr(name, part) != NULL; }

static struct fm_module *next(struct stack *s)
{
    assert_true(s->modules < sizeof s->module / sizeof s->module[0]);
    return &s->module[s->modules++];
}

static fm_value volume(struct stack *s, int64_t channels, int64_t edge)
{
    return fm_input(s->b, "x", FM_INPUT_VOLUME, CLASSES, (struct fm_shape){ 5, { 1, channels, edge, edge, edge } });
}

static void mean_loss(struct stack *s, fm_value y)
{
    fm_body_output(s->b, y);
    fm_body_loss(s->b, fm_mean(s->b, "mean", y));
}

/* ---- 2 x (conv, norm, leaky relu) ---- */

static const struct fm_conv conv3 = {
    .dims = 3, .in = CHANNELS, .out = CHANNELS, .kernel = 3, .padding = 1, .bias = true
};

static void conv_norm_leaky(struct stack *s, const char *name)
{
    struct fm_norm norm = { .channels = CHANNELS, .groups = GROUPS };
    for (int i = 0; i < 2; i++) {
        *next(s) = fm_new_conv(s->b, "conv", conv3);
        *next(s) =
            has(name, "batchnorm") ? fm_new_batch_norm(s->b, "norm", norm) : fm_new_group_norm(s->b, "norm", norm);
    }
    fm_build_body(s->b, FM_BODY_TRAIN, 1);
    fm_value x = volume(s, CHANNELS, EDGE), y = x;
    FM_SCOPE(s->b, x) {
        for (uint32_t i = 0; i < s->modules; i += 2) {
            fm_rebind(s->b, &y, fm_apply(s->b, &s->module[i], y));
            fm_rebind(s->b, &y, fm_apply(s->b, &s->module[i + 1], y));
            fm_rebind(s->b, &y,
                      has(name, "inplace") ? fm_leaky_relu_(s->b, "leaky", y, 0.01)
                                           : fm_leaky_relu(s->b, "leaky", y, 0.01));
        }
    }
    mean_loss(s, y);
}

/* ---- 4 blocks of 2 x (conv, batch norm, relu in place) ---- */

static void blocks4(struct stack *s)
{
    for (int i = 0; i < 8; i++) {
        *next(s) = fm_new_conv(s->b, "conv", conv3);
        *next(s) = fm_new_batch_norm(s->b, "norm", (struct fm_norm){ .channels = CHANNELS });
    }
    fm_build_body(s->b, FM_BODY_TRAIN, 1);
    fm_value x = volume(s, CHANNELS, EDGE), y = x;
    FM_SCOPE(s->b, x) {
        for (uint32_t block = 0; block < 4; block++) {
            fm_block_begin(s->b, "block%u", block);
            fm_value inner = y;
            FM_SCOPE(s->b, y) {
                for (uint32_t i = block * 4; i < block * 4 + 4; i += 2) {
                    fm_rebind(s->b, &inner, fm_apply(s->b, &s->module[i], inner));
                    fm_rebind(s->b, &inner, fm_apply(s->b, &s->module[i + 1], inner));
                    fm_rebind(s->b, &inner, fm_relu_(s->b, "relu", inner));
                }
            }
            fm_rebind(s->b, &y, fm_block_end(s->b, inner));
        }
    }
    mean_loss(s, y);
}

/* ---- 2 x (x + 2 x (group norm, silu, conv)) ---- */

static void group_silu_residual(struct stack *s)
{
    for (int i = 0; i < 4; i++) {
        *next(s) = fm_new_group_norm(s->b, "norm", (struct fm_norm){ .channels = CHANNELS, .groups = GROUPS });
        *next(s) = fm_new_conv(s->b, "conv", conv3);
    }
    fm_build_body(s->b, FM_BODY_TRAIN, 1);
    fm_value x = volume(s, CHANNELS, EDGE), y = x;
    FM_SCOPE(s->b, x) {
        for (uint32_t half = 0; half < 2; half++) {
            fm_value inner = y, sum = FM_NO_VALUE;
            FM_SCOPE(s->b, y) {
                for (uint32_t i = half * 4; i < half * 4 + 4; i += 2) {
                    fm_rebind(s->b, &inner, fm_apply(s->b, &s->module[i], inner));
                    fm_rebind(s->b, &inner, fm_silu(s->b, "silu", inner));
                    fm_rebind(s->b, &inner, fm_apply(s->b, &s->module[i + 1], inner));
                }
                sum = fm_binary(s->b, FM_OP_add, "residual", y, inner);
            }
            fm_rebind(s->b, &y, sum);
        }
    }
    mean_loss(s, y);
}

/* ---- losses of Conv3d(1, 4, 1)(x) ---- */

static fm_value dice_and_cross_entropy(struct fm_build *b, fm_value logits, fm_value target)
{
    uint32_t space = 4 | 8 | 16;
    fm_value loss = FM_NO_VALUE;
    FM_SCOPE(b, logits, target) {
        fm_value p = fm_softmax(b, "softmax", logits, 1);
        fm_hold(b, p);
        fm_value y = fm_permute(b, fm_one_hot(b, "one_hot", target, CLASSES), (uint32_t[]){ 0, 4, 1, 2, 3 });
        fm_hold(b, y);
        fm_value overlap = fm_sum(b, "overlap", fm_binary(b, FM_OP_mul, "mul", p, y), space, false);
        fm_hold(b, overlap);
        fm_value p_sum = fm_sum(b, "p_sum", p, space, false);
        fm_value total = fm_binary(b, FM_OP_add, "total", p_sum, fm_sum(b, "y_sum", y, space, false));
        fm_hold(b, total);
        fm_value entropy = fm_affine(b, "plus_one", fm_cross_entropy(b, "ce", logits, target, -100), 1, 1);
        fm_value top = fm_affine(b, "top", fm_affine(b, "twice", overlap, 2, 0), 1, 1e-8);
        fm_value dice =
            fm_mean(b, "dice", fm_binary(b, FM_OP_div, "ratio", top, fm_affine(b, "bottom", total, 1, 1e-8)));
        loss = fm_binary(b, FM_OP_sub, "loss", entropy, dice);
    }
    return loss;
}

static void criterion(struct stack *s, bool dice)
{
    *next(s) =
        fm_new_conv(s->b, "conv", (struct fm_conv){ .dims = 3, .in = 1, .out = CLASSES, .kernel = 1, .bias = true });
    fm_build_body(s->b, FM_BODY_TRAIN, 1);
    fm_value x = volume(s, 1, LOSS_EDGE), loss = FM_NO_VALUE;
    fm_value y = fm_input(s->b, "y", FM_INPUT_VOLUME_LABELS, CLASSES,
                          (struct fm_shape){ 4, { 1, LOSS_EDGE, LOSS_EDGE, LOSS_EDGE } });
    fm_value logits = fm_apply(s->b, &s->module[0], x);
    fm_body_output(s->b, logits);
    if (dice) loss = dice_and_cross_entropy(s->b, logits, y);
    else FM_SCOPE(s->b, logits, y) loss = fm_cross_entropy(s->b, "ce", logits, y, -100);
    fm_body_loss(s->b, loss);
}

/* ---- 2 x (attention of 1024 tokens in 2 heads by one kernel) ---- */

#define TOKENS 1024
#define HEADS 2

static fm_value split_heads(struct fm_build *b, fm_value x, int64_t depth)
{
    return fm_transpose(b, fm_reshape(b, x, 4, (int64_t[]){ 2, TOKENS, HEADS, depth }), 1, 2);
}

/* a head is not as long as its kernel wants it: padded there, cut here */
static void flash(struct stack *s, int depth)
{
    struct fm_build *b = s->b;
    int width = HEADS * depth;
    for (int i = 0; i < 8; i++) *next(s) = fm_new_linear(b, "linear", (struct fm_linear){ width, width });
    fm_build_body(b, FM_BODY_TRAIN, 2);
    fm_value x = fm_input(b, "x", FM_INPUT_IMAGE, CLASSES, (struct fm_shape){ 3, { 2, TOKENS, width } }), y = x;
    FM_SCOPE(b, x) {
        for (uint32_t layer = 0; layer < 8; layer += 4) {
            fm_value out = FM_NO_VALUE;
            FM_SCOPE(b, y) {
                fm_value qkv[3];
                for (uint32_t i = 0; i < 3; i++)
                    fm_hold(b, qkv[i] = split_heads(b, fm_apply(b, &s->module[layer + i], y), depth));
                fm_value mixed = fm_transpose(b, fm_sdpa(b, "flash", qkv, 1.0 / depth), 1, 2);
                out = fm_apply(b, &s->module[layer + 3], fm_reshape(b, mixed, 3, (int64_t[]){ 2, TOKENS, width }));
            }
            fm_rebind(b, &y, out);
        }
    }
    mean_loss(s, y);
}

/* ---- optimizers: the smallest network whose parameters are 32 matrices ---- */

static void matrices(struct stack *s)
{
    for (int i = 0; i < MATRICES; i++)
        *next(s) = fm_new_conv(s->b, "conv", (struct fm_conv){ .dims = 2, .in = WIDTH, .out = WIDTH, .kernel = 1 });
    fm_build_body(s->b, FM_BODY_TRAIN, 1);
    fm_value y = fm_input(s->b, "x", FM_INPUT_IMAGE, CLASSES, (struct fm_shape){ 4, { 1, WIDTH, 1, 1 } });
    for (uint32_t i = 0; i < s->modules; i++) y = fm_apply(s->b, &s->module[i], y);
    mean_loss(s, y);
}

static void set_optimizer(struct fm_optimizer *o, const char *name)
{
    o->kind = has(name, "adamw") ? FM_OPTIMIZER_ADAMW : has(name, "adam") ? FM_OPTIMIZER_ADAM : FM_OPTIMIZER_SGD;
    o->form = has(name, "forloop") ? FM_FORM_LOOP : FM_FORM_FOREACH;
    o->amsgrad = has(name, "amsgrad");
    o->nesterov = has(name, "nesterov");
    o->weight_decay = has(name, "decay") || has(name, "adamw") ? 0.01 : 0;
    o->momentum = 0.9;
}

/* ---- all ---- */

bool torch_stack_lower(const char *name, struct fm_program *program, int64_t *extra_bytes, const char **reason)
{
    static const uint8_t all[4] = { 1, 1, 1, 1 };
    struct fm_err err = { 0 };
    struct fm_graph graph;
    struct stack s = { .b = fm_build_new(name, &err) };
    struct fm_policy policy = fm_policy_default();
    policy.accounting = FM_ACCOUNTING_DISPATCH;
    policy.loop = FM_LOOP_PLAIN;
    policy.autocast = has(name, "_fp16") ? FM_F16 : has(name, "_bf16") ? FM_BF16 : FM_F32;
    policy.optimizer = (struct fm_optimizer){ .kind = FM_OPTIMIZER_SGD };      /* takes no memory */
    *extra_bytes = 0;
    *reason = has(name, "instancenorm") ? "there is no instance norm"
              : has(name, "dice") && has(name, "float32") ? "no operator casts labels" : NULL;
    if (*reason) {
        fm_build_free(s.b);
        return false;
    }
    if (has(name, "_leaky_")) conv_norm_leaky(&s, name);
    else if (has(name, "blocks4")) blocks4(&s);
    else if (has(name, "group_silu")) group_silu_residual(&s);
    else if (has(name, "cross_entropy")) criterion(&s, has(name, "dice"));
    else if (has(name, "flash_d20")) flash(&s, 20);
    else if (has(name, "flash_d24")) flash(&s, 24);
    else if (has(name, "optimizer_")) matrices(&s);
    else fail_msg("unknown stack %s", name);
    if (has(name, "_checkpoint")) policy.checkpoint = all;
    if (has(name, "optimizer_")) {
        set_optimizer(&policy.optimizer, name);
        *extra_bytes = 3 * WIDTH * (int64_t)sizeof(float);  /* our activations; the script steps without a network */
    }
    if (fm_build_finish(s.b, &graph, &err) != FM_OK) fail_msg("%s: %s", name, err.text);
    fm_build_free(s.b);
    if (fm_lower(&graph, &policy, program, &err) != FM_OK) fail_msg("%s: %s", name, err.text);
    if (fm_program_check(program, &err) != FM_OK) fail_msg("%s: %s", name, err.text);
    fm_graph_release(&graph);
    return true;
}
