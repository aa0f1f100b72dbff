/* What several formats say alike. */
#include "results/export_formats/rows.h"

#include "results/json.h"
#include "results/numbers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COMMENT_COLUMNS 110

const char *fm_choice_basis(const struct fm_choice *choice)
{
    return choice->planned ? "planned" : "measured";
}

bool fm_choice_is_precision(const struct fm_choice *choice, const char *precision)
{
    return choice->precision && strcmp(choice->precision, precision) == 0;
}

bool fm_choice_is_low(const struct fm_choice *choice)
{
    return fm_choice_is_precision(choice, "fp16") || fm_choice_is_precision(choice, "bf16");
}

fm_status fm_need_precision(const struct fm_choice *choice, const char *format, struct fm_err *err)
{
    if (fm_choice_is_precision(choice, "fp32") || fm_choice_is_precision(choice, "tf32") || fm_choice_is_low(choice)) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "%s: cell %.8s has precision '%s'; fp32, tf32, fp16 and bf16 can be exported", format, choice->cell,
                   choice->precision ? choice->precision : "(not recorded)");
}

fm_status fm_need_accumulation(const struct fm_choice *choice, const char *format, struct fm_err *err)
{
    if (choice->accumulation > 0 && choice->devices > 0) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "%s: cell %.8s does not say how many passes an optimizer step accumulates", format, choice->cell);
}

const char *fm_lightning_precision(const struct fm_choice *choice)
{
    if (fm_choice_is_precision(choice, "fp16")) return "16-mixed";
    return fm_choice_is_precision(choice, "bf16") ? "bf16-mixed" : "32-true";
}

void fm_add_val_batch(const struct fm_choice *choice, const char *path, struct fm_entries *out)
{
    if (choice->val_batch > 0) (void)fm_entries_add(out, path, fm_value_int(choice->val_batch));
    else if (choice->val_batch < 0) fm_entries_note(out, "%s: left out, the run does not know the validation batch", path);
    else fm_entries_note(out, "%s: left out, validation was not part of what was %s", path, choice->planned ? "planned" : "run");
}

void fm_add_learning_rate(const struct fm_choice *choice, const char *path, struct fm_entries *out)
{
    if (isfinite(choice->learning_rate)) (void)fm_entries_add(out, path, fm_value_rounded(choice->learning_rate));
    else fm_note_learning_rate(choice, out);
}

void fm_note_learning_rate(const struct fm_choice *choice, struct fm_entries *out)
{
    if (isfinite(choice->learning_rate)) fm_entries_note(out, "learning rate for this global batch: %g", choice->learning_rate);
    else if (choice->global_batch > 0)
        fm_entries_note(out, "learning rate: not chosen here; the global batch is now %lld, yours may have been for another",
                        (long long)choice->global_batch);
    else fm_entries_note(out, "learning rate: not chosen here");
}

void fm_note_checkpoint(const struct fm_choice *choice, struct fm_entries *out)
{
    const char *value = choice->checkpoint;
    if (!value) fm_entries_note(out, "checkpointing: not recorded");
    else if (strcmp(value, "none") == 0) return;
    else if (strcmp(value, "blocks") == 0)
        fm_entries_note(out, "%s with torch.utils.checkpoint around each block of the network (fillmark show workload %s); "
                        "that is the model's own code or option", fm_choice_basis(choice), choice->workload);
    else fm_entries_note(out, "%s with torch.utils.checkpoint around: %s; that is the model's own code or option",
                         fm_choice_basis(choice), value);
}

void fm_note_input(const struct fm_choice *choice, struct fm_entries *out)
{
    char text[80] = "";
    for (uint32_t i = 0; i < choice->input_dims; i++) {
        size_t n = strlen(text);
        (void)snprintf(text + n, sizeof text - n, "%s%lld", i ? "x" : "", (long long)choice->input[i]);
    }
    if (choice->input_dims) fm_entries_note(out, "%s with inputs of %s; a larger input takes more memory", fm_choice_basis(choice), text);
    else fm_entries_note(out, "input size: not recorded");
}

void fm_note_cudnn_benchmark(const struct fm_choice *choice, struct fm_entries *out)
{
    const char *value = fm_json_text(choice->strategies, "cudnn_benchmark");
    if (value && strcmp(value, "on") == 0)
        fm_entries_note(out, "%s with torch.backends.cudnn.benchmark = True in your code", fm_choice_basis(choice));
}

void fm_note_attention(const struct fm_choice *choice, struct fm_entries *out)
{
    const char *value = fm_json_text(choice->strategies, "attention");
    if (value && strcmp(value, "flash") == 0)
        fm_entries_note(out, "%s with attention by F.scaled_dot_product_attention, flash backend, in your code", fm_choice_basis(choice));
}

/* PyTorch's own default is neither: convolutions in TF32, products in fp32 */
void fm_note_tf32(const struct fm_choice *choice, struct fm_entries *out)
{
    bool tf32 = fm_choice_is_precision(choice, "tf32"), here = !choice->device || strcmp(choice->device, "cpu") == 0 ||
                strcmp(choice->device, "ref") == 0 || strcmp(choice->device, "none") == 0;
    if (!tf32 && (here || !fm_choice_is_precision(choice, "fp32"))) return;
    fm_entries_note(out, "%s in %s: torch.backends.cudnn.allow_tf32 = %s and torch.backends.cuda.matmul.allow_tf32 = %s in your code "
                    "(PyTorch's defaults: True and False)", fm_choice_basis(choice), choice->precision,
                    tf32 ? "True" : "False", tf32 ? "True" : "False");
}

void fm_note_memory_format(const struct fm_choice *choice, struct fm_entries *out)
{
    if (choice->memory_format && strcmp(choice->memory_format, "contiguous") != 0)
        fm_entries_note(out, "%s with memory format %s: model.to(memory_format=...) in your code", fm_choice_basis(choice),
                        choice->memory_format);
}

void fm_note_channels(const struct fm_choice *choice, struct fm_entries *out)
{
    if (choice->channels && strcmp(choice->channels, "1") != 0)
        fm_entries_note(out, "%s with %s of the network's channels: another model, that your code has to build", fm_choice_basis(choice),
                        choice->channels);
}

void fm_note_model(const struct fm_choice *choice, struct fm_entries *out)
{
    fm_note_checkpoint(choice, out);
    fm_note_input(choice, out);
    fm_note_channels(choice, out);
    fm_note_memory_format(choice, out);
}

/* ---- about a choice ---- */

void fm_export_about(const struct fm_choice *c, struct fm_buf *out)
{
    const char *device = c->device_name ? c->device_name : c->device;
    fm_buf_printf(out, "fillmark %s: %s on %s, cell %.8s, batch %lld", c->tool, c->workload, device ? device : "an unnamed device",
                  c->cell, (long long)c->batch);
    if (c->max_batch >= 0)
        fm_buf_printf(out, " (largest %lld, %s)", (long long)c->max_batch,
                      c->planned ? "planned" : c->at_limit ? "the limit that was given: larger ones were not tried"
                      : c->certified ? "certified" : "not certified");
    if (c->planned) fm_buf_puts(out, "; planned, nothing was run");
    if (c->note) fm_buf_printf(out, "; %s", c->note);
    if (isfinite(c->samples_per_s)) fm_buf_printf(out, "; %.4g samples/s measured", c->samples_per_s);
    if (c->peak_bytes >= 0) {
        fm_buf_puts(out, "; ");
        fm_put_size(out, c->peak_bytes);
        fm_buf_puts(out, " reserved, measured");
    } else if (c->planned_peak_bytes >= 0) {
        fm_buf_puts(out, "; ");
        fm_put_size(out, c->planned_peak_bytes);
        fm_buf_puts(out, " reserved, planned");
    }
    if (c->changes_model) fm_buf_puts(out, "; NOT the published model");
}

void fm_put_comment(struct fm_buf *out, const char *text)
{
    size_t column = 0;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, " ");
        if (column && column + 1 + n > COMMENT_COLUMNS) {
            fm_buf_putc(out, '\n');
            column = 0;
        }
        fm_buf_puts(out, column ? " " : "# ");
        for (size_t i = 0; i < n; i++) fm_buf_putc(out, (unsigned char)at[i] < 0x20 ? '?' : at[i]);
        column += 1 + n;
        at += n + strspn(at + n, " ");
    }
    fm_buf_putc(out, '\n');
}

void fm_put_head(const struct fm_choice *choice, const struct fm_entries *entries, struct fm_buf *out)
{
    struct fm_buf about = FM_BUF(4096);
    fm_export_about(choice, &about);
    fm_put_comment(out, fm_buf_text(&about));
    if (!fm_buf_ok(&about)) out->failed = true;
    fm_buf_release(&about);
    for (size_t i = 0; i < entries->notes; i++) fm_put_comment(out, entries->note[i]);
}
