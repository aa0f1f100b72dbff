/* DenseUNet3D: the 3-D U-Net of PaSCo-Body (body_net.py of HyperBody), residual blocks and skip connections by
 * concatenation. Checkpoint blocks: init, enc1.., bottleneck, dec4.. (the part after the concatenation).
 *
 *   stem   conv3-bn-relu(1 -> c), residual(c)                                          = e0
 *   enc i  conv2 stride 2-bn-relu(c 2^(i-1) -> c 2^i), 2 x residual                    = e_i,  i = 1 .. levels
 *   bottom 2 x conv3-bn-relu
 *   dec i  convT2 stride 2-bn-relu, cat[up, e_(i-1)], conv3-bn-relu, 2 x residual      i = levels .. 1
 *   head   conv1 with bias -> classes
 *
 * Validation (MIMO): n_infers passes of the same network; with more than one the softmaxes are averaged, as ensemble
 * says: keep_all keeps every pass's logits and probabilities, sum keeps the probabilities and a running sum, running
 * keeps the sum alone. Then entropy, argmax, and the intersection over union of every class. */
#include "workloads/graph/build.h"
#include "workloads/nets/nets.h"

#include <stdio.h>

#define MAX_LEVELS 4
#define RESIDUALS 2
#define IGNORE_INDEX 255
#define MAX_INFERS 16

struct cbr { struct fm_module conv, norm; };
struct residual { struct fm_module conv1, norm1, conv2, norm2; };
struct stage { struct cbr down; struct residual res[RESIDUALS]; };
struct up { struct cbr up, conv; struct residual res[RESIDUALS]; };

struct denseunet3d {
    struct fm_build *b;
    int base, levels, classes, infers;
    enum { KEEP_ALL, SUM, RUNNING } ensemble;
    bool dropout;
    const int64_t *size;
    struct cbr stem;
    struct residual stem_res;
    struct stage enc[MAX_LEVELS + 1];
    struct cbr bottom[2];
    struct up dec[MAX_LEVELS + 1];
    struct fm_module head;
};

/* ---- modules ---- */

static struct cbr new_cbr(struct fm_build *b, const char *conv, const char *norm, struct fm_conv c)
{
    c.dims = 3;
    return (struct cbr){ .conv = fm_new_conv(b, conv, c),
                         .norm = fm_new_batch_norm(b, norm, (struct fm_norm){ .channels = c.out }) };
}

static struct cbr new_cbr_at(struct fm_build *b, const char *prefix, struct fm_conv c)
{
    return new_cbr(b, fm_part(prefix, "conv").text, fm_part(prefix, "bn").text, c);
}

static struct residual new_residual(struct fm_build *b, const char *prefix, int c)
{
    struct residual r;
    struct fm_conv conv = { .dims = 3, .in = c, .out = c, .kernel = 3, .padding = 1 };
    r.conv1 = fm_new_conv(b, fm_part(prefix, "conv1").text, conv);
    r.norm1 = fm_new_batch_norm(b, fm_part(prefix, "bn1").text, (struct fm_norm){ .channels = c });
    r.conv2 = fm_new_conv(b, fm_part(prefix, "conv2").text, conv);
    r.norm2 = fm_new_batch_norm(b, fm_part(prefix, "bn2").text, (struct fm_norm){ .channels = c });
    return r;
}

static void construct(struct denseunet3d *net)
{
    struct fm_build *b = net->b;
    int c = net->base;
    net->stem = new_cbr_at(b, "init.cbr", (struct fm_conv){ .in = 1, .out = c, .kernel = 3, .padding = 1 });
    net->stem_res = new_residual(b, "init.res", c);
    for (int i = 1; i <= net->levels; i++) {
        net->enc[i].down = new_cbr_at(b, fm_name("enc%d.down", i).text, (struct fm_conv){ .in = c << (i - 1), .out = c << i, .kernel = 2, .stride = 2 });
        for (int r = 0; r < RESIDUALS; r++) {
            net->enc[i].res[r] = new_residual(b, fm_name("enc%d.res%d", i, r).text, c << i);
        }
    }
    for (int j = 0; j < 2; j++) {
        int wide = c << net->levels;
        net->bottom[j] = new_cbr_at(b, fm_name("bottleneck%d", j).text, (struct fm_conv){ .in = wide, .out = wide, .kernel = 3, .padding = 1 });
    }
    for (int i = net->levels; i >= 1; i--) {
        net->dec[i].up = new_cbr(b, fm_name("dec%d.up", i).text, fm_name("dec%d.upbn", i).text, (struct fm_conv){ .in = c << i, .out = c << (i - 1), .kernel = 2, .stride = 2,
                                                                  .transposed = true });
    }
    for (int i = net->levels; i >= 1; i--) {
        net->dec[i].conv = new_cbr_at(b, fm_name("dec%d.conv", i).text, (struct fm_conv){ .in = c << i, .out = c << (i - 1), .kernel = 3, .padding = 1 });
        for (int r = 0; r < RESIDUALS; r++) {
            net->dec[i].res[r] = new_residual(b, fm_name("dec%d.res%d", i, r).text, c << (i - 1));
        }
    }
    net->head = fm_new_conv(b, "out_conv", (struct fm_conv){ .dims = 3, .in = c, .out = net->classes, .kernel = 1, .bias = true });
}

/* ---- forward ---- */

/* x (B, C, D, H, W) -> conv -> norm -> relu in place */
static fm_value cbr(struct fm_build *b, const struct cbr *m, const char *relu, fm_value x)
{
    FM_SCOPE(b, x) {
        fm_rebind(b, &x, fm_apply(b, &m->conv, x));
        fm_rebind(b, &x, fm_apply(b, &m->norm, x));
        x = fm_relu_(b, relu, x);
    }
    return x;
}

static fm_value cbr_at(struct fm_build *b, const struct cbr *m, const char *prefix, fm_value x)
{
    return cbr(b, m, fm_part(prefix, "relu").text, x);
}

static fm_value residual(struct fm_build *b, const struct residual *m, const char *prefix, fm_value x)
{
    fm_value o = FM_NO_VALUE;
    FM_SCOPE(b, x) {
        fm_rebind(b, &o, fm_relu_(b, fm_part(prefix, "relu1").text, fm_apply(b, &m->norm1, fm_apply(b, &m->conv1, x))));
        fm_rebind(b, &o, fm_apply(b, &m->norm2, fm_apply(b, &m->conv2, o)));
        fm_rebind(b, &o, fm_binary(b, FM_OP_add, fm_part(prefix, "add").text, o, x));
        o = fm_relu_(b, fm_part(prefix, "relu2").text, o);
    }
    return o;
}

/* the dropout sites of the published training strategy; parameter-free (the site's kind was never published) */
static fm_value dropout_site(struct denseunet3d *net, const char *name, fm_value x, double p)
{
    return net->dropout && p > 0 ? fm_dropout(net->b, name, x, p) : x;
}

static fm_value residuals(struct denseunet3d *net, const struct residual *res, const char *prefix, fm_value x)
{
    for (int r = 0; r < RESIDUALS; r++) {
        fm_rebind(net->b, &x, residual(net->b, &res[r], fm_name("%s.res%d", prefix, r).text, x));
    }
    return x;
}

static fm_value encoder(struct denseunet3d *net, int i, fm_value x)
{
    static const double p[MAX_LEVELS + 1] = { 0, 0, 0, 0.1, 0.1 };
    FM_SCOPE(net->b, x) {
        fm_rebind(net->b, &x, cbr_at(net->b, &net->enc[i].down, fm_name("enc%d.down", i).text, x));
        x = residuals(net, net->enc[i].res, fm_name("enc%d", i).text, x);
        x = dropout_site(net, fm_name("enc%d.dropout", i).text, x, p[i]);
    }
    return x;
}

static fm_value bottleneck(struct denseunet3d *net, fm_value x)
{
    FM_SCOPE(net->b, x) {
        fm_rebind(net->b, &x, cbr_at(net->b, &net->bottom[0], "bottleneck0", x));
        fm_rebind(net->b, &x, cbr_at(net->b, &net->bottom[1], "bottleneck1", x));
        x = dropout_site(net, "bottleneck.dropout", x, 0.2);
    }
    return x;
}

static fm_value decoder(struct denseunet3d *net, int i, fm_value x)
{
    static const double p[MAX_LEVELS + 1] = { 0, 0, 0, 0.1, 0.1 };
    FM_SCOPE(net->b, x) {
        fm_rebind(net->b, &x, cbr_at(net->b, &net->dec[i].conv, fm_name("dec%d.conv", i).text, x));
        x = residuals(net, net->dec[i].res, fm_name("dec%d", i).text, x);
        x = dropout_site(net, fm_name("dec%d.dropout", i).text, x, p[i]);
    }
    return x;
}

static fm_value forward(struct denseunet3d *net, fm_value x)
{
    struct fm_build *b = net->b;
    fm_value skip[MAX_LEVELS + 1], logits = FM_NO_VALUE;
    FM_SCOPE(b, x) {
        fm_block_begin(b, "init");
        fm_value e = FM_NO_VALUE;
        FM_SCOPE(b, x) e = residual(b, &net->stem_res, "init.res", cbr_at(b, &net->stem, "init.cbr", x));
        skip[0] = fm_block_end(b, e);
        fm_hold(b, skip[0]);
        for (int i = 1; i <= net->levels; i++) {
            fm_block_begin(b, "enc%d", i);
            skip[i] = fm_block_end(b, encoder(net, i, skip[i - 1]));
            fm_hold(b, skip[i]);
        }
        fm_block_begin(b, "bottleneck");
        fm_value y = fm_block_end(b, bottleneck(net, skip[net->levels]));
        fm_hold(b, y);          /* b, d4, d3, ...: a name each, until forward returns */
        for (int i = net->levels; i >= 1; i--) {
            fm_value up = cbr(b, &net->dec[i].up, fm_name("dec%d.uprelu", i).text, y);
            fm_value joined = fm_cat(b, fm_name("dec%d.cat", i).text, (fm_value[]){ up, skip[i - 1] }, 2, 1);
            fm_block_begin(b, "dec%d", i);
            y = fm_block_end(b, decoder(net, i, joined));
            fm_hold(b, y);
        }
        logits = fm_apply(b, &net->head, y);
    }
    return logits;
}

static fm_value load(struct denseunet3d *net, bool labels)
{
    struct fm_shape shape = { .ndim = 0 };
    shape.size[shape.ndim++] = fm_build_batch(net->b);
    if (!labels) shape.size[shape.ndim++] = 1;
    for (int d = 0; d < 3; d++) shape.size[shape.ndim++] = net->size[d];
    return labels ? fm_input(net->b, "y", FM_INPUT_VOLUME_LABELS, net->classes, shape)
                  : fm_input(net->b, "x", FM_INPUT_VOLUME, net->classes, shape);
}

static void train_body(struct denseunet3d *net)
{
    struct fm_build *b = net->b;
    fm_value x = load(net, false), y = load(net, true);     /* the new batch is there before the old one goes */
    fm_bind_loop(b, "x", x);
    fm_bind_loop(b, "y", y);
    fm_value out = forward(net, x);
    fm_bind_loop(b, "out", out);
    fm_body_output(b, out);
    fm_value loss = FM_NO_VALUE;
    FM_SCOPE(b, out, y) loss = fm_cross_entropy(b, "loss", out, y, IGNORE_INDEX);
    fm_bind_loop(b, "loss", loss);
    fm_body_loss(b, loss);
}

/* ---- validation ---- */

/* probabilities of the ensemble; its lists and sums die when it returns */
static fm_value ensemble(struct denseunet3d *net, fm_value x)
{
    struct fm_build *b = net->b;
    fm_value probs[MAX_INFERS], sum = FM_NO_VALUE, mean = FM_NO_VALUE;
    FM_SCOPE(b, x) {
        for (int i = 0; i < net->infers; i++) {
            fm_value logits = forward(net, x);
            if (!i) fm_body_output(b, logits);
            probs[i] = fm_softmax(b, "val.softmax", logits, 1);
            if (net->ensemble == KEEP_ALL) fm_hold(b, logits);
            if (net->ensemble != RUNNING) fm_hold(b, probs[i]);
            if (net->ensemble == KEEP_ALL) continue;
            sum = i ? fm_binary(b, FM_OP_add_, "val.sum", sum, probs[i]) : fm_clone(b, "val.sum", probs[i]);
        }
        mean = net->ensemble == KEEP_ALL ? fm_mean_dims(b, "val.mean", fm_stack(b, "val.stack", probs, (uint32_t)net->infers), 1, false)
                                         : fm_affine(b, "val.mean", sum, 1.0 / net->infers, 0);
    }
    return mean;
}

/* intersection over union of each class, as a loop over boolean masks */
static void class_iou(struct denseunet3d *net, fm_value pred, fm_value y)
{
    struct fm_build *b = net->b;
    FM_SCOPE(b, pred, y) {
        fm_value p = FM_NO_VALUE, t = FM_NO_VALUE;
        for (int c = 0; c < net->classes; c++) {
            fm_value is_pred = fm_equal_scalar(b, "val.pred_is", pred, c), is_target = fm_equal_scalar(b, "val.target_is", y, c);
            fm_rebind(b, &p, is_pred);
            fm_rebind(b, &t, is_target);
            (void)fm_sum(b, "val.intersection", fm_binary(b, FM_OP_logical_and, "val.and", p, t), 15, false);
            (void)fm_sum(b, "val.union", fm_binary(b, FM_OP_logical_or, "val.or", p, t), 15, false);
        }
    }
}

static void val_body(struct denseunet3d *net)
{
    struct fm_build *b = net->b;
    fm_value x = load(net, false), y = load(net, true);     /* the new batch is there before the old one goes */
    fm_bind_loop(b, "x", x);
    fm_bind_loop(b, "y", y);
    fm_value out = FM_NO_VALUE;
    if (net->infers == 1) {
        out = forward(net, x);
        fm_body_output(b, out);
        fm_bind_loop(b, "out", out);
    } else {
        out = ensemble(net, x);
        fm_bind_loop(b, "out", out);
        fm_value entropy = FM_NO_VALUE;
        FM_SCOPE(b, out) entropy = fm_affine(b, "val.entropy", fm_sum(b, "val.entropy.sum",
            fm_binary(b, FM_OP_mul, "val.entropy.mul", out, fm_log_plus(b, "val.entropy.log", out, 1e-8)), 2, false), -1, 0);
        fm_bind_loop(b, "entropy", entropy);
    }
    fm_value pred = fm_argmax(b, "val.argmax", out, 1);
    fm_bind_loop(b, "pred", pred);
    class_iou(net, pred, y);
}

/* ---- the workload ---- */

static const struct fm_setting settings[] = {
    { .name = "base_channels", .kind = FM_SETTING_INT, .text = "16", .lo = 1, .hi = 256, .help = "channels of the first level" },
    { .name = "levels", .kind = FM_SETTING_INT, .text = "4", .lo = 1, .hi = 4, .help = "encoder levels: 4, or 3 for the light model" },
    { .name = "classes", .kind = FM_SETTING_INT, .text = "71", .lo = 2, .hi = 254, .help = "classes of the segmentation" },
    { .name = "input", .kind = FM_SETTING_SIZE, .dims = 3, .text = "160x160x256", .lo = 2, .hi = 4096, .help = "volume, DxHxW" },
    { .name = "dropout", .kind = FM_SETTING_CHOICE, .choices = "off,on", .text = "off", .help = "dropout at enc3, enc4, bottleneck, dec4, dec3" },
    { .name = "n_infers", .kind = FM_SETTING_INT, .text = "1", .lo = 1, .hi = MAX_INFERS, .validation_only = true, .help = "passes of MIMO validation" },
    { .name = "ensemble", .kind = FM_SETTING_CHOICE, .choices = "keep_all,sum,running", .text = "running", .validation_only = true,
      .help = "what validation keeps of its passes" },
};

static fm_status build(const struct fm_settings *s, int64_t train_batch, int64_t val_batch, struct fm_graph *out, struct fm_err *err)
{
    *out = (struct fm_graph){ 0 };
    struct denseunet3d net = { .b = fm_build_new("denseunet3d", err) };
    if (!net.b) return FM_NOMEM;
    net.base = fm_settings_channels(s, (int)fm_setting_get(s, "base_channels")->number);
    if (!net.base)
        fm_build_fail(net.b, "denseunet3d: %d/%d of %d base channels is less than one; use another channels scale", s->channels_numerator,
                      s->channels_denominator, (int)fm_setting_get(s, "base_channels")->number);
    net.levels = (int)fm_setting_get(s, "levels")->number;
    net.classes = (int)fm_setting_get(s, "classes")->number;
    net.size = fm_setting_get(s, "input")->size;
    net.dropout = fm_setting_get(s, "dropout")->number == 1;
    net.infers = (int)fm_setting_get(s, "n_infers")->number;
    net.ensemble = fm_setting_get(s, "ensemble")->number == 0 ? KEEP_ALL : fm_setting_get(s, "ensemble")->number == 1 ? SUM : RUNNING;
    for (int d = 0; d < 3; d++)
        if (net.size[d] % (1 << net.levels))
            fm_build_fail(net.b, "denseunet3d: input sizes must be multiples of %d (2^levels), not %lld", 1 << net.levels,
                          (long long)net.size[d]);
    construct(&net);
    if (train_batch) {
        fm_build_body(net.b, FM_BODY_TRAIN, train_batch);
        train_body(&net);
    }
    if (val_batch) {
        fm_build_body(net.b, FM_BODY_VAL, val_batch);
        val_body(&net);
    }
    fm_status status = fm_build_finish(net.b, out, err);
    fm_build_free(net.b);
    return status;
}

const struct fm_workload fm_denseunet3d = {
    .name = "denseunet3d", .title = "DenseUNet3D (PaSCo-Body 3-D U-Net)", .sample = "volume",
    .setting = settings, .settings = sizeof settings / sizeof settings[0], .build = build,
    .optimizer = "adamw", .lr = 1e-4,
};
