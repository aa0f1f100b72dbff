/* The rows of the table of formats, and what they share. Within this folder. */
#ifndef FM_RESULTS_EXPORT_FORMATS_ROWS_H
#define FM_RESULTS_EXPORT_FORMATS_ROWS_H

#include "results/export_formats/formats.h"

extern const struct fm_export_format fm_format_lightning, fm_format_lightning_python, fm_format_monai, fm_format_argparse,
    fm_format_dataclass, fm_format_mmcv, fm_format_mmengine, fm_format_hydra, fm_format_hf, fm_format_accelerate,
    fm_format_deepspeed, fm_format_nnunet, fm_format_env, fm_format_json, fm_format_template;

/* "planned" or "measured" */
const char *fm_choice_basis(const struct fm_choice *choice);
/* Is the precision that text? */
bool fm_choice_is_precision(const struct fm_choice *choice, const char *precision);
/* autocast to fp16 or bf16? */
bool fm_choice_is_low(const struct fm_choice *choice);
/* INVALID if the precision is none of fp32, tf32, fp16, bf16 */
fm_status fm_need_precision(const struct fm_choice *choice, const char *format, struct fm_err *err) FM_MUST_USE;
/* INVALID if the run does not say how many passes a step accumulates */
fm_status fm_need_accumulation(const struct fm_choice *choice, const char *format, struct fm_err *err) FM_MUST_USE;
/* precision in Lightning 2's words */
const char *fm_lightning_precision(const struct fm_choice *choice);
/* an entry "path: val_batch", or a note that it is not known; neither without validation */
void fm_add_val_batch(const struct fm_choice *choice, const char *path, struct fm_entries *out);
/* an entry "path: learning rate", or a note */
void fm_add_learning_rate(const struct fm_choice *choice, const char *path, struct fm_entries *out);
/* notes on what the format has no key for: each says what was measured, or planned, and where to say it */
void fm_note_learning_rate(const struct fm_choice *choice, struct fm_entries *out);
void fm_note_checkpoint(const struct fm_choice *choice, struct fm_entries *out);
void fm_note_input(const struct fm_choice *choice, struct fm_entries *out);
void fm_note_memory_format(const struct fm_choice *choice, struct fm_entries *out);
/* cudnn.benchmark, where it was on */
void fm_note_cudnn_benchmark(const struct fm_choice *choice, struct fm_entries *out);
/* attention in one kernel, where it was */
void fm_note_attention(const struct fm_choice *choice, struct fm_entries *out);
/* TF32 on or off, where that makes a difference */
void fm_note_tf32(const struct fm_choice *choice, struct fm_entries *out);
void fm_note_channels(const struct fm_choice *choice, struct fm_entries *out);
/* the last three and checkpointing */
void fm_note_model(const struct fm_choice *choice, struct fm_entries *out);

/* "# text" lines, wrapped */
void fm_put_comment(struct fm_buf *out, const char *text);
/* about the choice, then each note */
void fm_put_head(const struct fm_choice *choice, const struct fm_entries *entries, struct fm_buf *out);

#endif
