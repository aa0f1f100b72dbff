/* SegFormer b0..b5: hierarchical transformer encoder (MiT) with an all-MLP head (Xie et al. 2021), trained with
 * soft Dice + cross entropy. Checkpoint blocks: the transformer blocks, s1.b0, s1.b1, ...
 *
 *   stage i  overlapping patch embedding (conv 7/4, then 3/2) + LN, depth x block, LN
 *   block    x + attn(LN x);  x + fc2(gelu(dwconv3(fc1(LN x))))
 *   attn     q from x; k, v from conv(k = s = sr) + LN of x where sr > 1; softmax(q k^T / sqrt d) v; proj
 *   head     linear per stage -> bilinear to the first stage's grid, cat, conv1-bn-relu, dropout, conv1, bilinear
 *
 * Attention is matmuls and a softmax, which is how this network is published; with the attention strategy it is one call
 * of F.scaled_dot_product_attention. */
#include "workloads/graph/build.h"
#include "workloads/nets/nets.h"

#include <math.h>
#include <stdio.h>

#define STAGES 4
#define MAX_DEPTH 40
#define NORM_EPS 1e-6
#define DICE_EPS 1e-8

static const struct variant { int dim[STAGES], depth[STAGES], decoder; } variants[] = {
    { { 32, 64, 160, 256 }, { 2, 2, 2, 2 }, 256 },   { { 64, 128, 320, 512 }, { 2, 2, 2, 2 }, 256 },
    { { 64, 128, 320, 512 }, { 3, 4, 6, 3 }, 768 },  { { 64, 128, 320, 512 }, { 3, 4, 18, 3 }, 768 },
    { { 64, 128, 320, 512 }, { 3, 8, 27, 3 }, 768 }, { { 64, 128, 320, 512 }, { 3, 6, 40, 3 }, 768 },
};
static const int heads[STAGES] = { 1, 2, 5, 8 }, reduction[STAGES] = { 8, 4, 2, 1 };

struct block {
    struct fm_module norm1, q, k, v, proj, reduce, reduce_norm, norm2, fc1, dwconv, fc2;
    double drop_path;
    struct fm_name name;
};

struct segformer {
    struct fm_build *b;
    const struct variant *variant;
    int dim[STAGES], decoder, classes;
    double drop_path, dropout;
    bool flash;
    const int64_t *size;
    struct fm_module embed[STAGES], embed_norm[STAGES], norm[STAGES], linear[STAGES], fuse, fuse_norm, classifier;
    struct block block[STAGES][MAX_DEPTH];
};

/* ---- modules ---- */

static struct fm_module linear(struct fm_build *b, const char *prefix, const char *part, int in, int out)
{
    return fm_new_linear(b, fm_part(prefix, part).text, (struct fm_linear){ in, out });
}

static struct fm_module layer_norm(struct fm_build *b, const char *prefix, const char *part, int channels)
{
    return fm_new_layer_norm(b, fm_part(prefix, part).text, (struct fm_norm){ .channels = channels, .eps = NORM_EPS });
}

static struct fm_module conv2d(struct fm_build *b, const char *prefix, const char *part, struct fm_conv c)
{
    c.dims = 2;
    return fm_new_conv(b, fm_part(prefix, part).text, c);
}

static struct block new_block(struct fm_build *b, const char *prefix, int c, int sr)
{
    struct block m = { .name = fm_name("%s", prefix) };
    m.norm1 = layer_norm(b, prefix, "ln1", c);
    m.q = linear(b, prefix, "q", c, c);
    m.k = linear(b, prefix, "k", c, c);
    m.v = linear(b, prefix, "v", c, c);
    m.proj = linear(b, prefix, "proj", c, c);
    if (sr > 1) {
        m.reduce = conv2d(b, prefix, "sr", (struct fm_conv){ .in = c, .out = c, .kernel = sr, .stride = sr, .bias = true });
        m.reduce_norm = layer_norm(b, prefix, "sr.ln", c);
    }
    m.norm2 = layer_norm(b, prefix, "ln2", c);
    m.fc1 = linear(b, prefix, "fc1", c, 4 * c);
    m.dwconv = conv2d(b, prefix, "dwconv", (struct fm_conv){ .in = 4 * c, .out = 4 * c, .kernel = 3, .padding = 1, .groups = 4 * c, .bias = true });
    m.fc2 = linear(b, prefix, "fc2", 4 * c, c);
    return m;
}

/* construction stage by stage; optimizer order by kind, as PyTorch's ModuleLists register it */
static void construct(struct segformer *net)
{
    struct fm_build *b = net->b;
    int total = 0, index = 0;
    for (int i = 0; i < STAGES; i++) total += net->variant->depth[i];
    for (int i = 0, in = 3; i < STAGES; in = net->dim[i++]) {
        int c = net->dim[i];
        fm_parameter_group(b, 0);
        net->embed[i] = conv2d(b, fm_name("s%d", i + 1).text, "patch_embed", (struct fm_conv){ .in = in, .out = c, .kernel = i ? 3 : 7, .stride = i ? 2 : 4,
                                                                           .padding = i ? 1 : 3, .bias = true });
        fm_parameter_group(b, 1);
        net->embed_norm[i] = layer_norm(b, fm_name("s%d", i + 1).text, "patch_norm", c);
        fm_parameter_group(b, 2);
        for (int j = 0; j < net->variant->depth[i]; j++, index++) {
            net->block[i][j] = new_block(b, fm_name("s%d.b%d", i + 1, j).text, c, reduction[i]);
            net->block[i][j].drop_path = total > 1 ? net->drop_path * index / (total - 1) : 0;
        }
        fm_parameter_group(b, 3);
        net->norm[i] = layer_norm(b, fm_name("s%d", i + 1).text, "norm", c);
    }
    fm_parameter_group(b, 4);
    for (int i = 0; i < STAGES; i++) {
        net->linear[i] = linear(b, "head", fm_name("linear_c%d", i + 1).text, net->dim[i], net->decoder);
    }
    net->fuse = conv2d(b, "head", "fuse", (struct fm_conv){ .in = STAGES * net->decoder, .out = net->decoder, .kernel = 1 });
    net->fuse_norm = fm_new_batch_norm(b, "head.bn", (struct fm_norm){ .channels = net->decoder });
    net->classifier = conv2d(b, "head", "classifier", (struct fm_conv){ .in = net->decoder, .out = net->classes, .kernel = 1, .bias = true });
}

/* ---- forward ---- */

/* (B, C, H, W) -> (B, H*W, C): views */
static fm_value to_tokens(struct fm_build *b, fm_value x)
{
    struct fm_shape s = fm_shape_of(b, x);
    return fm_transpose(b, fm_reshape(b, x, 3, (int64_t[]){ s.size[0], s.size[1], -1 }), 1, 2);
}

/* (B, N, C) -> (B, C, H, W): a channels-last view */
static fm_value to_grid(struct fm_build *b, fm_value x, int64_t h, int64_t w)
{
    struct fm_shape s = fm_shape_of(b, x);
    return fm_reshape(b, fm_transpose(b, x, 1, 2), 4, (int64_t[]){ s.size[0], s.size[2], h, w });
}

/* (B, N, C) -> (B, heads, N, C / heads): a view */
static fm_value split_heads(struct fm_build *b, fm_value x, int n_heads)
{
    struct fm_shape s = fm_shape_of(b, x);
    return fm_transpose(b, fm_reshape(b, x, 4, (int64_t[]){ s.size[0], s.size[1], n_heads, s.size[2] / n_heads }), 1, 2);
}

/* q (B, heads, N, d), k and v (B, heads, M, d) -> (B, heads, N, d) */
static fm_value mix(struct segformer *net, const struct block *m, const fm_value qkv[3], double scale)
{
    struct fm_build *b = net->b;
    struct fm_name name = fm_part(m->name.text, "sdpa");
    if (net->flash) return fm_sdpa(b, name.text, qkv, scale);
    fm_value a = FM_NO_VALUE, scores = fm_matmul(b, name.text, qkv[0], fm_transpose(b, qkv[1], 2, 3));
    fm_rebind(b, &a, fm_affine(b, name.text, scores, scale, 0));
    fm_rebind(b, &a, fm_softmax(b, name.text, a, 3));
    return fm_matmul(b, name.text, a, qkv[2]);
}

/* x (B, N, C), grid h x w -> (B, N, C) */
static fm_value attention(struct segformer *net, const struct block *m, int stage, fm_value x, const int64_t grid[2])
{
    struct fm_build *b = net->b;
    struct fm_shape s = fm_shape_of(b, x);
    fm_value out = FM_NO_VALUE;
    FM_SCOPE(b, x) {
        fm_value q = split_heads(b, fm_apply(b, &m->q, x), heads[stage]);
        fm_hold(b, q);
        fm_value source = x;
        if (reduction[stage] > 1) {
            source = fm_apply(b, &m->reduce_norm, to_tokens(b, fm_apply(b, &m->reduce, to_grid(b, x, grid[0], grid[1]))));
            fm_hold(b, source);
        }
        fm_value k = split_heads(b, fm_apply(b, &m->k, source), heads[stage]);
        fm_hold(b, k);
        fm_value v = split_heads(b, fm_apply(b, &m->v, source), heads[stage]);
        fm_hold(b, v);
        double scale = 1.0 / sqrt((double)s.size[2] / heads[stage]);
        fm_value mixed = fm_transpose(b, mix(net, m, (const fm_value[]){ q, k, v }, scale), 1, 2);
        out = fm_apply(b, &m->proj, fm_reshape(b, mixed, 3, s.size));
    }
    return out;
}

static fm_value transformer_block(struct segformer *net, const struct block *m, int stage, fm_value x, const int64_t grid[2])
{
    struct fm_build *b = net->b;
    FM_SCOPE(b, x) {
        fm_value a = attention(net, m, stage, fm_apply(b, &m->norm1, x), grid);
        if (m->drop_path > 0) a = fm_drop_path(b, "drop_path", a, m->drop_path);
        fm_rebind(b, &x, fm_binary(b, FM_OP_add, fm_part(m->name.text, "add1(droppath)").text, x, a));
        fm_value y = FM_NO_VALUE;
        fm_rebind(b, &y, fm_apply(b, &m->fc1, fm_apply(b, &m->norm2, x)));
        fm_rebind(b, &y, to_tokens(b, fm_apply(b, &m->dwconv, to_grid(b, y, grid[0], grid[1]))));
        fm_value f = fm_apply(b, &m->fc2, fm_gelu(b, fm_part(m->name.text, "gelu").text, y));
        if (m->drop_path > 0) f = fm_drop_path(b, "drop_path", f, m->drop_path);
        x = fm_binary(b, FM_OP_add, fm_part(m->name.text, "add2(droppath)").text, x, f);
    }
    return x;
}

static fm_value head(struct segformer *net, const fm_value *feature)
{
    struct fm_build *b = net->b;
    struct fm_shape first = fm_shape_of(b, feature[0]);
    fm_value up[STAGES], y = FM_NO_VALUE;
    for (int i = STAGES - 1; i >= 0; i--) {
        struct fm_shape s = fm_shape_of(b, feature[i]);
        fm_value tokens = fm_apply(b, &net->linear[i], to_tokens(b, feature[i]));
        fm_rebind(b, &y, fm_reshape(b, fm_transpose(b, tokens, 1, 2), 4, (int64_t[]){ s.size[0], net->decoder, s.size[2], s.size[3] }));
        up[STAGES - 1 - i] = fm_interpolate(b, fm_name("head.up%d", i + 1).text, y, first.size[2], first.size[3]);
        fm_hold(b, up[STAGES - 1 - i]);
    }
    return fm_relu(b, "head.relu", fm_apply(b, &net->fuse_norm,
                   fm_apply(b, &net->fuse, fm_cat(b, "head.cat[c4,c3,c2,c1]", up, STAGES, 1))));
}

static fm_value forward(struct segformer *net, fm_value x)
{
    struct fm_build *b = net->b;
    fm_value feature[STAGES], logits = FM_NO_VALUE;
    FM_SCOPE(b, x) {
        for (int i = 0; i < STAGES; i++) {
            fm_rebind(b, &x, fm_apply(b, &net->embed[i], x));
            int64_t grid[2] = { fm_shape_of(b, x).size[2], fm_shape_of(b, x).size[3] };
            fm_rebind(b, &x, fm_apply(b, &net->embed_norm[i], to_tokens(b, x)));
            for (int j = 0; j < net->variant->depth[i]; j++) {
                fm_block_begin(b, "s%d.b%d", i + 1, j);
                fm_rebind(b, &x, fm_block_end(b, transformer_block(net, &net->block[i][j], i, x, grid)));
            }
            fm_rebind(b, &x, to_grid(b, fm_apply(b, &net->norm[i], x), grid[0], grid[1]));
            fm_hold(b, feature[i] = x);
        }
        fm_rebind(b, &x, head(net, feature));
        if (net->dropout > 0) fm_rebind(b, &x, fm_dropout(b, "head.dropout.1", x, net->dropout));
        logits = fm_interpolate(b, "logits.up", fm_apply(b, &net->classifier, x), net->size[0], net->size[1]);
    }
    return logits;
}

/* cross entropy + 1 - mean soft Dice over (sample, class) */
static fm_value loss(struct segformer *net, fm_value out, fm_value target)
{
    struct fm_build *b = net->b;
    fm_value result = FM_NO_VALUE;
    FM_SCOPE(b, out, target) {
        fm_value p = fm_softmax(b, "loss.softmax", out, 1);
        fm_hold(b, p);
        fm_value y = fm_permute(b, fm_one_hot(b, "loss.one_hot", target, net->classes), (uint32_t[]){ 0, 3, 1, 2 });
        fm_hold(b, y);
        fm_value i = fm_sum(b, "loss.intersection", fm_binary(b, FM_OP_mul, "loss.mul", p, y), 12, false);
        fm_hold(b, i);
        fm_value p_sum = fm_sum(b, "loss.p_sum", p, 12, false);
        fm_value d = fm_binary(b, FM_OP_add, "loss.union", p_sum, fm_sum(b, "loss.y_sum", y, 12, false));
        fm_hold(b, d);
        fm_value ce = fm_affine(b, "loss.ce+1", fm_cross_entropy(b, "loss.ce", out, target, -100), 1, 1);
        fm_value top = fm_affine(b, "loss.top", fm_affine(b, "loss.double", i, 2, 0), 1, DICE_EPS);
        fm_value dice = fm_mean(b, "loss.dice", fm_binary(b, FM_OP_div, "loss.ratio", top, fm_affine(b, "loss.bottom", d, 1, DICE_EPS)));
        result = fm_binary(b, FM_OP_sub, "loss", ce, dice);
    }
    return result;
}

static fm_value load(struct segformer *net, bool labels)
{
    struct fm_shape shape = { .ndim = 0 };
    shape.size[shape.ndim++] = fm_build_batch(net->b);
    if (!labels) shape.size[shape.ndim++] = 3;
    for (int d = 0; d < 2; d++) shape.size[shape.ndim++] = net->size[d];
    return labels ? fm_input(net->b, "y", FM_INPUT_IMAGE_LABELS, net->classes, shape)
                  : fm_input(net->b, "x", FM_INPUT_IMAGE, net->classes, shape);
}

/* macro F1: true positives and sizes of each class from one-hot maps */
static void macro_f1(struct segformer *net, fm_value out, fm_value target)
{
    struct fm_build *b = net->b;
    FM_SCOPE(b, out, target) {
        fm_value pred = fm_one_hot(b, "val.pred", fm_argmax(b, "val.argmax", out, 1), net->classes);
        fm_hold(b, pred);
        fm_value y = fm_one_hot(b, "val.target", target, net->classes);
        fm_hold(b, y);
        (void)fm_sum(b, "val.true_positive", fm_binary(b, FM_OP_mul, "val.mul", pred, y), 7, false);
        (void)fm_sum(b, "val.predicted", pred, 7, false);
        (void)fm_sum(b, "val.actual", y, 7, false);
    }
}

static void body(struct segformer *net)
{
    struct fm_build *b = net->b;
    fm_value x = load(net, false), y = load(net, true);     /* the new batch is there before the old one goes */
    fm_bind_loop(b, "x", x);
    fm_bind_loop(b, "y", y);
    fm_value out = forward(net, x);
    fm_bind_loop(b, "out", out);
    fm_body_output(b, out);
    fm_value l = loss(net, out, y);
    fm_bind_loop(b, "loss", l);
    if (fm_build_training(b)) fm_body_loss(b, l);
    else macro_f1(net, out, y);
}

/* ---- the workload ---- */

static const struct fm_setting settings[] = {
    { .name = "variant", .kind = FM_SETTING_CHOICE, .choices = "b0,b1,b2,b3,b4,b5", .text = "b0", .help = "size of the encoder" },
    { .name = "input", .kind = FM_SETTING_SIZE, .dims = 2, .text = "288x288", .lo = 32, .hi = 8192, .help = "image, HxW" },
    { .name = "classes", .kind = FM_SETTING_INT, .text = "4", .lo = 2, .hi = 1000, .help = "classes of the segmentation" },
    { .name = "drop_path", .kind = FM_SETTING_REAL, .text = "0", .lo = 0, .hi = 0.9, .help = "stochastic depth of the last block, from 0 in the first" },
    { .name = "dropout", .kind = FM_SETTING_REAL, .text = "0.1", .lo = 0, .hi = 0.9, .help = "dropout before the classifier" },
};

static fm_status build(const struct fm_settings *s, int64_t train_batch, int64_t val_batch, struct fm_graph *out, struct fm_err *err)
{
    *out = (struct fm_graph){ 0 };
    struct segformer net = { .b = fm_build_new("segformer", err) };
    if (!net.b) return FM_NOMEM;
    net.variant = &variants[fm_setting_get(s, "variant")->number];
    net.size = fm_setting_get(s, "input")->size;
    net.classes = (int)fm_setting_get(s, "classes")->number;
    net.drop_path = fm_setting_get(s, "drop_path")->real;
    net.dropout = fm_setting_get(s, "dropout")->real;
    net.flash = s->flash_attention;
    net.decoder = fm_settings_channels(s, net.variant->decoder);
    for (int i = 0; i < STAGES; i++) {
        net.dim[i] = fm_settings_channels(s, net.variant->dim[i]);
        if (net.dim[i] % heads[i])
            fm_build_fail(net.b, "segformer: stage %d has %d channels, which %d heads do not divide; use another channels scale",
                          i + 1, net.dim[i], heads[i]);
    }
    for (int d = 0; d < 2; d++)
        if (net.size[d] % 32) fm_build_fail(net.b, "segformer: input sizes must be multiples of 32, not %lld", (long long)net.size[d]);
    construct(&net);
    if (train_batch) {
        fm_build_body(net.b, FM_BODY_TRAIN, train_batch);
        body(&net);
    }
    if (val_batch) {
        fm_build_body(net.b, FM_BODY_VAL, val_batch);
        body(&net);
    }
    fm_status status = fm_build_finish(net.b, out, err);
    fm_build_free(net.b);
    return status;
}

const struct fm_workload fm_segformer = {
    .name = "segformer", .title = "SegFormer (MiT encoder, all-MLP head)", .sample = "image",
    .setting = settings, .settings = sizeof settings / sizeof settings[0], .build = build,
    .attention = true, .optimizer = "adamw-amsgrad", .lr = 3e-4, .weight_decay = 1e-4,
};
