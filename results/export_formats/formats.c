#include "results/export_formats/rows.h"

#include <stdio.h>
#include <string.h>

#include "results/export_formats/names.h"
#include "results/export_formats/tree.h"
#include "tuner/base/text.h"

#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=+,@%"

/* ---- our own: env, json, template ---- */

static fm_status add_name(const struct fm_choice *choice, const char *name, struct fm_entries *out)
{
    struct fm_value value;
    (void)fm_choice_get(choice, name, &value);
    (void)fm_entries_add(out, name, value);
    return FM_OK;
}

static void add_recorded(const cJSON *object, const char *below, struct fm_entries *out)
{
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object) {
        char path[FM_ENTRY_PATH_BYTES];
        int n = snprintf(path, sizeof path, "%s.%s", below, item->string);
        bool fits = n > 0 && (size_t)n < sizeof path && out->count < FM_ENTRIES_MAX && !strchr(item->string, '.');
        if (fits && cJSON_IsString(item)) (void)fm_entries_add(out, path, fm_value_text(item->valuestring));
        else if (out->notes < FM_NOTES_MAX) fm_entries_note(out, "left out: %s.%.60s", below, item->string);
    }
}

static fm_status fill_names(const struct fm_choice *choice, struct fm_entries *out, struct fm_err *err)
{
    (void)err;
    for (size_t i = 0; i < fm_choice_name_count; i++) (void)add_name(choice, fm_choice_names[i], out);
    add_recorded(choice->set, "set", out);
    add_recorded(choice->strategies, "strategy", out);
    return FM_OK;
}

static fm_status fill_json(const struct fm_choice *choice, struct fm_entries *out, struct fm_err *err)
{
    (void)fm_entries_add(out, "schema", fm_value_text("fillmark.choice/1"));
    return fill_names(choice, out, err);
}

const struct fm_export_format fm_format_json = {
    .name = "json", .help = "all that is known, as JSON (docs/schema/choice.schema.json)", .kind = FM_EXPORT_JSON, .fill = fill_json,
};

const struct fm_export_format fm_format_env = {
    .name = "env", .help = "the same as FILLMARK_NAME=value lines for a shell", .kind = FM_EXPORT_ENV, .fill = fill_names,
};

const struct fm_export_format fm_format_template = {
    .name = "template", .help = "a file of your own (--template) with {{names}}", .kind = FM_EXPORT_TEMPLATE, .fill = fill_names,
};

/* ---- the table ---- */

const struct fm_export_format *const fm_export_formats[] = {
    &fm_format_lightning, &fm_format_lightning_python, &fm_format_monai, &fm_format_argparse, &fm_format_dataclass,
    &fm_format_mmcv, &fm_format_mmengine, &fm_format_hydra, &fm_format_hf, &fm_format_accelerate, &fm_format_deepspeed,
    &fm_format_nnunet, &fm_format_env, &fm_format_json, &fm_format_template,
};
const size_t fm_export_format_count = sizeof fm_export_formats / sizeof fm_export_formats[0];

const struct fm_export_format *fm_export_find(const char *name, struct fm_err *err)
{
    const char *names[sizeof fm_export_formats / sizeof fm_export_formats[0]];
    struct fm_buf list = FM_BUF(1024);
    for (size_t i = 0; i < fm_export_format_count; i++) {
        names[i] = fm_export_formats[i]->name;
        if (strcmp(names[i], name) == 0) return fm_export_formats[i];
    }
    for (size_t i = 0; i < fm_export_format_count; i++) fm_buf_printf(&list, "%s%s", i ? "," : "", names[i]);
    const char *near = fm_nearest(name, names, fm_export_format_count);
    if (!*name) (void)FM_FAIL(err, FM_INVALID, "which? (%s)", fm_buf_text(&list));
    else (void)FM_FAIL(err, FM_INVALID, "unknown value '%.60s'%s%s%s (%s)", name, near ? "; did you mean '" : "", near ? near : "",
                  near ? "'?" : "", fm_buf_text(&list));
    fm_buf_release(&list);
    return NULL;
}

fm_status fm_export_entries(const struct fm_export_format *format, const struct fm_choice *choice, struct fm_entries *out,
                            struct fm_err *err)
{
    memset(out, 0, sizeof *out);
    fm_status status = format->fill(choice, out, err);
    if (status == FM_OK) fm_note_tf32(choice, out);
    if (status == FM_OK) fm_note_cudnn_benchmark(choice, out);
    if (status == FM_OK) fm_note_attention(choice, out);
    return status;
}

/* ---- how a new file is written ---- */

static void put_word(struct fm_buf *out, const char *text)
{
    if (*text && strspn(text, PLAIN) == strlen(text)) {
        fm_buf_puts(out, text);
        return;
    }
    fm_buf_putc(out, '\'');
    for (const char *c = text; *c; c++) {
        if (*c == '\'') fm_buf_puts(out, "'\\''");
        else fm_buf_putc(out, *c);
    }
    fm_buf_putc(out, '\'');
}

/* text as it is, all else as YAML has it */
static void put_bare(struct fm_buf *out, const struct fm_value *value)
{
    if (value->kind == FM_VALUE_TEXT) fm_buf_puts(out, value->text);
    else fm_put_value(out, value, FM_NOTATION_YAML);
}

static void write_flags(const struct fm_entries *entries, struct fm_buf *out)
{
    for (size_t i = 0; i < entries->count; i++) {
        const struct fm_entry *e = &entries->entry[i];
        fm_buf_printf(out, "%s--%s", i ? " " : "", e->path);
        if (e->value.kind == FM_VALUE_INTS) {
            for (uint32_t k = 0; k < e->value.items; k++) fm_buf_printf(out, " %lld", (long long)e->value.item[k]);
        } else {
            struct fm_buf text = FM_BUF(1024);
            put_bare(&text, &e->value);
            fm_buf_putc(out, ' ');
            put_word(out, fm_buf_text(&text));
            if (!fm_buf_ok(&text)) out->failed = true;
            fm_buf_release(&text);
        }
    }
    fm_buf_putc(out, '\n');
}

static void write_overrides(const struct fm_entries *entries, struct fm_buf *out)
{
    for (size_t i = 0; i < entries->count; i++) {
        const struct fm_entry *e = &entries->entry[i];
        struct fm_buf text = FM_BUF(1024);
        fm_buf_printf(&text, "%s%s=", e->may_be_new ? "++" : "", e->path);
        if (e->value.kind == FM_VALUE_INTS)
            for (uint32_t k = 0; k < e->value.items; k++) fm_buf_printf(&text, "%s%lld%s", k ? "," : "[", (long long)e->value.item[k],
                                                                        k + 1 < e->value.items ? "" : "]");
        else put_bare(&text, &e->value);
        if (i) fm_buf_putc(out, ' ');
        put_word(out, fm_buf_text(&text));
        if (!fm_buf_ok(&text)) out->failed = true;
        fm_buf_release(&text);
    }
    fm_buf_putc(out, '\n');
}

/* FILLMARK_SET_BASE_CHANNELS for set.base_channels; sizes as fillmark itself takes them, 160x160x256 */
static void write_env(const struct fm_entries *entries, struct fm_buf *out)
{
    for (size_t i = 0; i < entries->count; i++) {
        const struct fm_entry *e = &entries->entry[i];
        struct fm_buf text = FM_BUF(1024);
        if (e->value.kind == FM_VALUE_NULL) fm_buf_puts(out, "# not known: ");
        fm_buf_puts(out, "FILLMARK_");
        for (const char *c = e->path; *c; c++) {
            bool letter = *c >= 'a' && *c <= 'z', other = (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
            fm_buf_putc(out, letter ? (char)(*c - 'a' + 'A') : other ? *c : '_');
        }
        if (e->value.kind == FM_VALUE_INTS)
            for (uint32_t k = 0; k < e->value.items; k++) fm_buf_printf(&text, "%s%lld", k ? "x" : "", (long long)e->value.item[k]);
        else if (e->value.kind != FM_VALUE_NULL) put_bare(&text, &e->value);
        if (e->value.kind != FM_VALUE_NULL) {
            fm_buf_putc(out, '=');
            put_word(out, fm_buf_text(&text));
        }
        fm_buf_putc(out, '\n');
        if (!fm_buf_ok(&text)) out->failed = true;
        fm_buf_release(&text);
    }
}

bool fm_export_has_comments(const struct fm_export_format *format)
{
    return format->kind == FM_EXPORT_YAML || format->kind == FM_EXPORT_PYTHON || format->kind == FM_EXPORT_ENV;
}

static void write_json(const struct fm_tree *tree, struct fm_buf *out)
{
    const struct fm_layout layout = { .indent = 2, .step = 2, .blank = ' ', .newline = "\n" };
    fm_buf_puts(out, "{\n  ");
    fm_tree_flow(tree, 0, &layout, true, out);
    fm_buf_puts(out, "\n}\n");
}

fm_status fm_export_new(const struct fm_export_format *format, const struct fm_choice *choice, const struct fm_entries *entries,
                        struct fm_buf *out, struct fm_err *err)
{
    const struct fm_layout layout = { .step = 2, .blank = ' ', .newline = "\n" };
    struct fm_tree tree;
    fm_tree_of(entries, NULL, NULL, &tree);
    if (format->write) format->write(choice, entries, out);
    else if (fm_export_has_comments(format)) fm_put_head(choice, entries, out);
    switch (format->write ? FM_EXPORT_TEMPLATE : format->kind) {
    case FM_EXPORT_YAML: fm_tree_yaml(&tree, 0, &layout, out); break;
    case FM_EXPORT_JSON: write_json(&tree, out); break;
    case FM_EXPORT_PYTHON: fm_tree_python(&tree, out); break;
    case FM_EXPORT_FLAGS: write_flags(entries, out); break;
    case FM_EXPORT_OVERRIDES: write_overrides(entries, out); break;
    case FM_EXPORT_ENV: write_env(entries, out); break;
    case FM_EXPORT_TEMPLATE: break;
    }
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "no memory for the text of a configuration");
}
