/* Formats of trainers: Lightning, Hugging Face's TrainingArguments and Accelerate, DeepSpeed, nnU-Net. */
#include "results/export_formats/rows.h"

#include <stdio.h>
#include <string.h>

#define ACCEPTS(kind) (1u << (kind))

static fm_status needs(const struct fm_choice *c, const char *format, struct fm_err *err)
{
    fm_status status = fm_need_precision(c, format, err);
    return status == FM_OK ? fm_need_accumulation(c, format, err) : status;
}

static void note_val_batch(const struct fm_choice *c, struct fm_entries *out)
{
    if (c->val_batch > 0 && c->val_batch != c->batch)
        fm_entries_note(out, "validation was %s at batch %lld: your val_dataloader's", fm_choice_basis(c), (long long)c->val_batch);
    else if (c->val_batch < 0) fm_entries_note(out, "validation batch: not known");
}

/* ---- Lightning 2 ---- */

static fm_status fill_lightning(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "lightning", err);
    if (status != FM_OK) return status;
    struct fm_entry *precision = fm_entries_add(out, "trainer.precision", fm_value_text(fm_lightning_precision(c)));
    precision->accepts = ACCEPTS(FM_VALUE_INT);         /* 16 and 32 are its older words */
    (void)fm_entries_add(out, "trainer.accumulate_grad_batches", fm_value_int(c->accumulation));
    if (c->devices > 1) fm_entries_add(out, "trainer.devices", fm_value_int(c->devices))->word = "auto";
    struct fm_entry *batch = fm_entries_add(out, "data.batch_size", fm_value_int(c->batch));
    batch->instead = "data.init_args.batch_size";       /* where the DataModule is named by class_path */
    note_val_batch(c, out);
    fm_note_learning_rate(c, out);
    fm_note_model(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_lightning = {
    .name = "lightning", .help = "PyTorch Lightning 2: LightningCLI's YAML", .kind = FM_EXPORT_YAML, .edits = true,
    .fill = fill_lightning,
};

static fm_status fill_lightning_python(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "lightning-python", err);
    if (status != FM_OK) return status;
    (void)fm_entries_add(out, "batch_size", fm_value_int(c->batch));
    fm_add_val_batch(c, "val_batch_size", out);
    (void)fm_entries_add(out, "trainer_arguments.precision", fm_value_text(fm_lightning_precision(c)));
    (void)fm_entries_add(out, "trainer_arguments.accumulate_grad_batches", fm_value_int(c->accumulation));
    if (c->devices > 1) (void)fm_entries_add(out, "trainer_arguments.devices", fm_value_int(c->devices));
    fm_add_learning_rate(c, "learning_rate", out);
    fm_note_model(c, out);
    fm_entries_note(out, "Trainer(**trainer_arguments)");
    return FM_OK;
}

const struct fm_export_format fm_format_lightning_python = {
    .name = "lightning-python", .help = "the same as Python: Trainer's arguments", .kind = FM_EXPORT_PYTHON,
    .fill = fill_lightning_python,
};

/* ---- Hugging Face ---- */

/* the Trainer's name of the optimizer; NULL: it has none */
static const char *hf_optimizer(const struct fm_choice *c)
{
    struct { const char *ours, *theirs; } const rows[] = { { "adamw", "adamw_torch" }, { "sgd", "sgd" } };
    for (size_t i = 0; c->optimizer && i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].ours, c->optimizer) == 0) return rows[i].theirs;
    return NULL;
}

static fm_status fill_hf(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "hf", err);
    if (status != FM_OK) return status;
    (void)fm_entries_add(out, "per_device_train_batch_size", fm_value_int(c->batch));
    fm_add_val_batch(c, "per_device_eval_batch_size", out);
    (void)fm_entries_add(out, "gradient_accumulation_steps", fm_value_int(c->accumulation));
    (void)fm_entries_add(out, "fp16", fm_value_bool(fm_choice_is_precision(c, "fp16")));
    (void)fm_entries_add(out, "bf16", fm_value_bool(fm_choice_is_precision(c, "bf16")));
    if (fm_choice_is_precision(c, "tf32")) (void)fm_entries_add(out, "tf32", fm_value_bool(true));
    if (c->checkpoint) (void)fm_entries_add(out, "gradient_checkpointing", fm_value_bool(strcmp(c->checkpoint, "none") != 0));
    if (!c->checkpoint || strchr(c->checkpoint, '+')) fm_note_checkpoint(c, out);
    if (hf_optimizer(c)) (void)fm_entries_add(out, "optim", fm_value_text(hf_optimizer(c)));
    else if (c->optimizer) fm_entries_note(out, "optim: left out, it has no name for the optimizer that was %s, %s", fm_choice_basis(c), c->optimizer);
    fm_add_learning_rate(c, "learning_rate", out);
    fm_note_input(c, out);
    fm_note_channels(c, out);
    fm_note_memory_format(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_hf = {
    .name = "hf", .help = "Hugging Face transformers: TrainingArguments as JSON", .kind = FM_EXPORT_JSON, .edits = true,
    .fill = fill_hf,
};

/* The file's keys are fixed: one that it does not know is an error when it is read, and neither the batch nor, but for
 * DeepSpeed, accumulation is among them. */
static fm_status fill_accelerate(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "accelerate", err);
    if (status != FM_OK) return status;
    bool cpu = c->device && strcmp(c->device, "cpu") == 0;
    fm_entries_add(out, "compute_environment", fm_value_text("LOCAL_MACHINE"))->keep = true;
    fm_entries_add(out, "distributed_type", fm_value_text(c->devices <= 1 ? "NO" : cpu ? "MULTI_CPU" : "MULTI_GPU"))->keep = true;
    struct fm_entry *precision = fm_entries_add(out, "mixed_precision", fm_value_text(fm_choice_is_low(c) ? c->precision : "no"));
    precision->accepts = ACCEPTS(FM_VALUE_BOOL);        /* an unquoted no */
    fm_entries_add(out, "num_machines", fm_value_int(1))->keep = true;
    fm_entries_add(out, "num_processes", fm_value_int(c->devices))->keep = c->devices <= 1;
    fm_entries_add(out, "use_cpu", fm_value_bool(cpu))->keep = true;
    fm_entries_note(out, "batch %lld: your DataLoader's batch_size", (long long)c->batch);
    note_val_batch(c, out);
    if (c->accumulation > 1)
        fm_entries_note(out, "accumulation: Accelerator(gradient_accumulation_steps=%lld) or "
                        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=%lld, for which this file has no key",
                        (long long)c->accumulation, (long long)c->accumulation);
    fm_note_learning_rate(c, out);
    fm_note_model(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_accelerate = {
    .name = "accelerate", .help = "Hugging Face accelerate: its configuration YAML", .kind = FM_EXPORT_YAML, .edits = true,
    .fill = fill_accelerate,
};

/* ---- DeepSpeed ---- */

/* What was measured is autocast over fp32 weights, which is `torch_autocast`; `bf16` and `fp16` hold the weights
 * themselves in that type, which takes other memory. */
static fm_status fill_deepspeed(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "deepspeed", err);
    if (status != FM_OK) return status;
    bool low = fm_choice_is_low(c);
    fm_entries_add(out, "train_batch_size", fm_value_int(c->batch * c->accumulation * c->devices))->word = "auto";
    fm_entries_add(out, "train_micro_batch_size_per_gpu", fm_value_int(c->batch))->word = "auto";
    fm_entries_add(out, "gradient_accumulation_steps", fm_value_int(c->accumulation))->word = "auto";
    (void)fm_entries_add(out, "torch_autocast.enabled", fm_value_bool(low));
    if (low)
        (void)fm_entries_add(out, "torch_autocast.dtype", fm_value_text(fm_choice_is_precision(c, "bf16") ? "bfloat16" : "float16"));
    fm_entries_add(out, "bf16.enabled", fm_value_bool(false))->word = "auto";
    fm_entries_add(out, "fp16.enabled", fm_value_bool(false))->word = "auto";
    fm_entries_note(out, "train_batch_size is for %lld device%s; more devices make it larger", (long long)c->devices,
                    c->devices == 1 ? "" : "s");
    if (low) fm_entries_note(out, "%s was autocast over fp32 weights: torch_autocast (DeepSpeed 0.17 or later), not bf16 or fp16",
                             fm_choice_basis(c));
    note_val_batch(c, out);
    fm_note_learning_rate(c, out);
    fm_note_model(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_deepspeed = {
    .name = "deepspeed", .help = "DeepSpeed: its configuration JSON", .kind = FM_EXPORT_JSON, .edits = true, .fill = fill_deepspeed,
};

/* ---- nnU-Net 2 ---- */

static fm_status fill_nnunet(const struct fm_choice *c, struct fm_entries *out, struct fm_err *err)
{
    fm_status status = needs(c, "nnunet", err);
    if (status != FM_OK) return status;
    if (c->input_dims < 2)
        return FM_FAIL(err, FM_INVALID, "nnunet: cell %.8s has no input size of two or three dimensions for patch_size", c->cell);
    if (c->accumulation > 1)
        return FM_FAIL(err, FM_UNSUPPORTED, "nnunet: cell %.8s accumulates %lld passes a step, which nnU-Net cannot; choose a cell "
                       "with accumulate=1 (--only CELL)", c->cell, (long long)c->accumulation);
    const char *from = c->input_dims == 3 ? "3d_fullres" : "2d";
    char path[FM_ENTRY_PATH_BYTES];
    (void)snprintf(path, sizeof path, "configurations.%s_fillmark.inherits_from", from);
    fm_entries_add(out, path, fm_value_text(from))->keep = true;
    (void)snprintf(path, sizeof path, "configurations.%s_fillmark.batch_size", from);
    (void)fm_entries_add(out, path, fm_value_int(c->batch * c->devices));       /* nnU-Net divides it among its devices */
    (void)snprintf(path, sizeof path, "configurations.%s_fillmark.patch_size", from);
    (void)fm_entries_add(out, path, fm_value_ints(c->input, c->input_dims));
    fm_entries_note(out, "train it with: nnUNetv2_train DATASET %s_fillmark FOLD", from);
    if (!fm_choice_is_precision(c, "fp16"))
        fm_entries_note(out, "%s in %s; nnU-Net trains with autocast to fp16 on a GPU, whatever the plan says", fm_choice_basis(c), c->precision);
    fm_entries_note(out, "%s was %s, not nnU-Net's own network: its memory may differ", fm_choice_basis(c), c->workload);
    note_val_batch(c, out);
    fm_note_learning_rate(c, out);
    fm_note_checkpoint(c, out);
    return FM_OK;
}

const struct fm_export_format fm_format_nnunet = {
    .name = "nnunet", .help = "nnU-Net 2: a configuration of plans.json", .kind = FM_EXPORT_JSON, .edits = true, .fill = fill_nnunet,
};
