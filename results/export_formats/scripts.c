/* Formats of training scripts and of mmcv's and mmengine's configurations. */
#include "results/export_formats/rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results/json.h"
#include "tuner/base/text.h"

#define ACCEPTS(kind) (1u << (kind))

static fm_status needs(const struct fm_choice *c, const char *format, struct fm_err *err)
{
    fm_status status = fm_need_precision(c, format, err);
    return status == FM_OK ? fm_need_accumulation(c, format, err) : status;
}

/* ---- MONAI's script for AutoencoderKL ---- */

static fm_status fill_monai(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "monai", err);
    if (status != FM_OK) return status;
    (void)fm_entries_add(out, "device.mixed_precision", fm_value_bool(fm_choice_is_low(c)));
    (void)fm_entries_add(out, "autoencoder.training.batch_size", fm_value_int(c->batch));
    (void)fm_entries_add(out, "autoencoder.training.gradient_accumulation_steps", fm_value_int(c->accumulation));
    if (c->checkpoint)
        (void)fm_entries_add(out, "autoencoder.training.use_gradient_checkpointing",
                             fm_value_bool(strcmp(c->checkpoint, "none") != 0));
    if (!c->checkpoint || strchr(c->checkpoint, '+')) fm_note_checkpoint(c, out);
    if (fm_choice_is_precision(c, "bf16")) fm_entries_note(out, "%s in bf16: autocast(dtype=torch.bfloat16) where the script enters it", fm_choice_basis(c));
    if (c->val_batch > 0 && c->val_batch != c->batch)
        fm_entries_note(out, "validation was %s at batch %lld", fm_choice_basis(c), (long long)c->val_batch);
    fm_note_learning_rate(c, out);
    fm_note_input(c, out);
    fm_note_channels(c, out);
    fm_note_memory_format(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_monai = {
    .name = "monai", .help = "YAML of the MONAI AutoencoderKL training script", .kind = FM_EXPORT_YAML, .edits = true, .fill = fill_monai,
};

/* ---- flags of the 3-D scripts ---- */

/* the setting times the channels strategy, where that is a whole number; -1: there is no such setting, 0: no whole number */
static int64_t scaled_channels(const struct fm_choice *c, const char *setting)
{
    const char *text = fm_json_text(c->set, setting), *share = c->channels ? c->channels : "1";
    int64_t channels, up = 1, down = 1;
    char number[16];
    if (!text || !fm_parse_i64(text, &channels)) return -1;
    const char *slash = strchr(share, '/');
    size_t bytes = slash ? (size_t)(slash - share) : strlen(share);
    if (bytes >= sizeof number) return 0;
    memcpy(number, share, bytes);
    number[bytes] = '\0';
    if (!fm_parse_i64(number, &up) || (slash && !fm_parse_i64(slash + 1, &down)) || up < 1 || down < 1) return 0;
    return channels * up % down == 0 ? channels * up / down : 0;
}

static fm_status fill_argparse(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    int64_t infers, channels = scaled_channels(c, "base_channels");
    const char *text = fm_json_text(c->set, "n_infers");
    fm_status status = needs(c, "argparse", err);
    if (status != FM_OK) return status;
    (void)fm_entries_add(out, "batch_size", fm_value_int(c->batch));
    fm_add_val_batch(c, "val_batch_size", out);
    (void)fm_entries_add(out, "precision", fm_value_text(fm_choice_is_precision(c, "fp16") ? "16" :
                                                         fm_choice_is_precision(c, "bf16") ? "bf16" : "32"));
    if (channels > 0) (void)fm_entries_add(out, "base_channels", fm_value_int(channels));
    else if (channels == 0) fm_note_channels(c, out);
    if (text && fm_parse_i64(text, &infers)) (void)fm_entries_add(out, "n_infers", fm_value_int(infers));
    if (c->input_dims == 3) (void)fm_entries_add(out, "target_size", fm_value_ints(c->input, 3));
    else fm_note_input(c, out);
    if (c->accumulation > 1)
        fm_entries_note(out, "accumulation has no flag: pl.Trainer(accumulate_grad_batches=%lld)", (long long)c->accumulation);
    fm_note_learning_rate(c, out);
    fm_note_checkpoint(c, out);
    fm_note_memory_format(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_argparse = {
    .name = "argparse", .help = "flags of a training script: --batch_size N --val_batch_size N ...", .kind = FM_EXPORT_FLAGS,
    .fill = fill_argparse,
};

/* ---- dataclasses of the SegFormer script ---- */

static fm_status fill_dataclass(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    const char *variant = fm_json_text(c->set, "variant");
    fm_status status = needs(c, "dataclass", err);
    if (status != FM_OK) return status;
    if (c->input_dims == 2) (void)fm_entries_add(out, "DatasetConfig.IMAGE_SIZE", fm_value_ints(c->input, 2));
    else fm_note_input(c, out);
    (void)fm_entries_add(out, "TrainingConfig.BATCH_SIZE", fm_value_int(c->batch));
    fm_add_learning_rate(c, "TrainingConfig.INIT_LR", out);
    (void)fm_entries_add(out, "TRAINER_ARGUMENTS.precision", fm_value_text(fm_lightning_precision(c)));
    (void)fm_entries_add(out, "TRAINER_ARGUMENTS.accumulate_grad_batches", fm_value_int(c->accumulation));
    if (variant) fm_entries_note(out, "MODEL_NAME: left out, the run knows the variant, %s, not the name of your weights", variant);
    fm_entries_note(out, "NUM_EPOCHS, USE_SCHEDULER, NUM_WORKERS: left out, no matter of memory; keep yours");
    if (c->val_batch > 0 && c->val_batch != c->batch)
        fm_entries_note(out, "validation was %s at batch %lld", fm_choice_basis(c), (long long)c->val_batch);
    fm_note_checkpoint(c, out);
    fm_note_channels(c, out);
    fm_note_memory_format(c, out);
    return FM_OK;
}

static const char *python_type(const struct fm_value *value)
{
    switch (value->kind) {
    case FM_VALUE_INTS: return "tuple";
    case FM_VALUE_REAL: return "float";
    case FM_VALUE_TEXT: return "str";
    default: return "int";
    }
}

/* the entries below `name` as fields of a class */
static void put_class(const struct fm_entries *entries, const char *name, const char *decorator, struct fm_buf *out)
{
    size_t bytes = strlen(name);
    bool any = false;
    for (size_t i = 0; i < entries->count; i++) {
        const struct fm_entry *e = &entries->entry[i];
        if (strncmp(e->path, name, bytes) != 0 || e->path[bytes] != '.') continue;
        if (!any) fm_buf_printf(out, "\n\n%s\nclass %s:\n", decorator, name);
        any = true;
        fm_buf_printf(out, "    %s: %s = ", e->path + bytes + 1, python_type(&e->value));
        if (e->value.kind == FM_VALUE_INTS) {
            for (uint32_t k = 0; k < e->value.items; k++) fm_buf_printf(out, "%s%lld", k ? ", " : "(", (long long)e->value.item[k]);
            fm_buf_putc(out, ')');
        } else {
            fm_put_value(out, &e->value, FM_NOTATION_PYTHON);
        }
        fm_buf_putc(out, '\n');
    }
}

static void write_dataclass(const struct fm_choice *choice, const struct fm_entries *entries, struct fm_buf *out)
{
    const char *between = "";
    fm_put_head(choice, entries, out);
    fm_buf_puts(out, "from dataclasses import dataclass\n");
    put_class(entries, "DatasetConfig", "@dataclass(frozen=True)", out);
    put_class(entries, "TrainingConfig", "@dataclass", out);
    fm_buf_puts(out, "\n\nTRAINER_ARGUMENTS = dict(");
    for (size_t i = 0; i < entries->count; i++) {
        const struct fm_entry *e = &entries->entry[i];
        if (strncmp(e->path, "TRAINER_ARGUMENTS.", 18) != 0) continue;
        fm_buf_printf(out, "%s%s=", between, e->path + 18);
        fm_put_value(out, &e->value, FM_NOTATION_PYTHON);
        between = ", ";
    }
    fm_buf_puts(out, ")\n");
}

const struct fm_export_format fm_format_dataclass = {
    .name = "dataclass", .help = "Python dataclasses of the SegFormer training script", .kind = FM_EXPORT_PYTHON,
    .fill = fill_dataclass, .write = write_dataclass,
};

/* ---- OpenMMLab ---- */

/* mmcv 1: train_detector and its kin build Fp16OptimizerHook from `fp16`, which knows nothing of accumulation and chokes
 * on a `type`; so with accumulation fp16 is None, and the hook that accumulates in fp16 is named. */
static fm_status fill_mmcv(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    bool fp16 = fm_choice_is_precision(c, "fp16");
    fm_status status = needs(c, "mmcv", err);
    if (status != FM_OK) return status;
    if (fm_choice_is_precision(c, "bf16"))
        return FM_FAIL(err, FM_UNSUPPORTED, "mmcv: cell %.8s trains in bf16, which mmcv 1 cannot; choose a cell in fp16 or fp32 "
                       "(--only CELL), or --format mmengine", c->cell);
    (void)fm_entries_add(out, "data.samples_per_gpu", fm_value_int(c->batch));
    fm_add_val_batch(c, "data.val_dataloader.samples_per_gpu", out);
    if (c->accumulation > 1) {
        (void)fm_entries_add(out, "optimizer_config.type",
                             fm_value_text(fp16 ? "GradientCumulativeFp16OptimizerHook" : "GradientCumulativeOptimizerHook"));
        (void)fm_entries_add(out, "optimizer_config.cumulative_iters", fm_value_int(c->accumulation));
        if (fp16) (void)fm_entries_add(out, "optimizer_config.loss_scale", fm_value_text("dynamic"));
        fm_entries_note(out, "iterations (max_iters, schedules) count forward passes: multiply them by %lld", (long long)c->accumulation);
    }
    if (fp16 && c->accumulation == 1) (void)fm_entries_add(out, "fp16.loss_scale", fm_value_text("dynamic"));
    else (void)fm_entries_add(out, "fp16", fm_value_null());
    if (isfinite(c->learning_rate)) (void)fm_entries_add(out, "optimizer.lr", fm_value_rounded(c->learning_rate));
    else fm_note_learning_rate(c, out);
    fm_entries_note(out, "to be put behind _base_ = [...] of your configuration");
    fm_note_model(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_mmcv = {
    .name = "mmcv", .help = "mmcv 1: a Python configuration", .kind = FM_EXPORT_PYTHON, .fill = fill_mmcv,
};

static fm_status fill_mmengine(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    bool low = fm_choice_is_low(c);
    fm_status status = needs(c, "mmengine", err);
    if (status != FM_OK) return status;
    (void)fm_entries_add(out, "train_dataloader.batch_size", fm_value_int(c->batch));
    fm_add_val_batch(c, "val_dataloader.batch_size", out);
    (void)fm_entries_add(out, "optim_wrapper.type", fm_value_text(low ? "AmpOptimWrapper" : "OptimWrapper"));
    if (low) (void)fm_entries_add(out, "optim_wrapper.dtype", fm_value_text(fm_choice_is_precision(c, "bf16") ? "bfloat16" : "float16"));
    (void)fm_entries_add(out, "optim_wrapper.accumulative_counts", fm_value_int(c->accumulation));
    if (isfinite(c->learning_rate)) (void)fm_entries_add(out, "optim_wrapper.optimizer.lr", fm_value_rounded(c->learning_rate));
    else fm_note_learning_rate(c, out);
    if (c->accumulation > 1)
        fm_entries_note(out, "iterations (max_iters, schedules) count forward passes: multiply them by %lld", (long long)c->accumulation);
    fm_entries_note(out, "to be put behind _base_ = [...] of your configuration");
    if (c->checkpoint && strcmp(c->checkpoint, "none") != 0)
        fm_entries_note(out, "checkpointing: activation_checkpointing = ['names', 'of your modules']");
    fm_note_model(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_mmengine = {
    .name = "mmengine", .help = "mmengine: a Python configuration", .kind = FM_EXPORT_PYTHON, .fill = fill_mmengine,
};

/* ---- Hydra ---- */

static fm_status fill_hydra(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "hydra", err);
    if (status != FM_OK) return status;
    (void)fm_entries_add(out, "data.batch_size", fm_value_int(c->batch));
    fm_entries_add(out, "trainer.precision", fm_value_text(fm_lightning_precision(c)))->accepts = ACCEPTS(FM_VALUE_INT);
    fm_entries_add(out, "train.accumulate_grad_batches", fm_value_int(c->accumulation))->may_be_new = true;
    if (c->input_dims == 2) fm_entries_add(out, "data.img_size", fm_value_ints(c->input, 2))->may_be_new = true;
    else fm_note_input(c, out);
    if (c->val_batch > 0 && c->val_batch != c->batch)
        fm_entries_note(out, "validation was %s at batch %lld", fm_choice_basis(c), (long long)c->val_batch);
    fm_note_learning_rate(c, out);
    fm_note_checkpoint(c, out);
    fm_note_channels(c, out);
    fm_note_memory_format(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_hydra = {
    .name = "hydra", .help = "overrides of a Hydra command line: data.batch_size=N ...", .kind = FM_EXPORT_OVERRIDES, .edits = true,
    .fill = fill_hydra,
};
