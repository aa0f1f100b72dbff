/* --help and the man page, from the option table. */
#include "tuner/options_table.h"

#include <stdio.h>
#include <string.h>

#define COLUMN 30                       /* where help begins */
#define WIDTH 100

static const char summary[] = "how full a GPU can be filled, with which strategy, and how fast it is there";

/* what every page says about lists and cells */
static const char *const about_cells[] = {
    "LIST is one value or several with commas: an axis. Cells are the product of all axes: --precision fp32,bf16 "
    "--checkpoint none,blocks makes four of each workload.",
    "CONFIG.yaml holds the same words as keys, 'val-batch: [same, half]'; settings below 'set:', there also by "
    "workload, "
    "'set: {segformer: {variant: b1}}'. A flag overrides the same key.",
};

/* ---- plain text ---- */

/* the words of `text` from `column` on, wrapped, further lines at `indent`, and a newline */
static void wrap(struct fm_buf *out, const char *text, size_t column, size_t indent)
{
    bool first = true;
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, " ");
        if (!first && column + 1 + n > WIDTH) {
            fm_buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        if (!first) fm_buf_putc(out, ' '), column++;
        fm_buf_add(out, at, n);
        column += n;
        first = false;
        at += n + strspn(at + n, " ");
    }
    fm_buf_putc(out, '\n');
}

static void pad(struct fm_buf *out, size_t from, size_t to)
{
    fm_buf_printf(out, "%*s", (int)(to > from ? to - from : 0), "");
}

/* "  left      text" */
static void row(struct fm_buf *out, const char *left, const char *text, size_t column)
{
    size_t n = 2 + strlen(left);
    fm_buf_printf(out, "  %s", left);
    if (n + 1 > column) {
        fm_buf_putc(out, '\n');
        n = 0;
    }
    pad(out, n, column);
    wrap(out, text, column, column);
}

/* "text [values or range; default x]" */
static void describe(enum fm_option_id id, struct fm_buf *out)
{
    const struct fm_option *o = &fm_option_table[id];
    const char *text = fm_option_default(id), *open = " [";
    fm_buf_puts(out, o->kind == FM_OPTION_STRATEGY ? fm_strategies[o->strategy]->help : o->help);
    if (o->kind == FM_OPTION_STRATEGY) {
        fm_buf_printf(out, "%s%s", open, fm_strategies[o->strategy]->values);
        open = "; ";
    } else if (o->kind == FM_OPTION_INTEGER && !o->no_range) {
        fm_buf_printf(out, "%s%lld to %lld", open, (long long)o->lo, (long long)o->hi);
        open = "; ";
    }
    if (*text) {
        fm_buf_printf(out, "%sdefault %s", open, text);
        open = "; ";
    }
    if (*open == ';') fm_buf_putc(out, ']');
}

static void flag(const struct fm_option *o, char *text, size_t bytes)
{
    (void)snprintf(text, bytes, "--%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
}

static void options_of(enum fm_command command, struct fm_buf *out)
{
    struct fm_buf text = FM_BUF(4096);
    for (int group = 0; group < FM_GROUP_COUNT; group++) {
        bool titled = false;
        for (int id = 0; id < FM_OPTION_COUNT; id++) {
            const struct fm_option *o = &fm_option_table[id];
            char left[64];
            if (o->group != (enum fm_option_group)group || !fm_option_of((enum fm_option_id)id, command)) continue;
            if (!titled) fm_buf_printf(out, "\n%s:\n", fm_option_groups[group]);
            titled = true;
            fm_buf_clear(&text);
            describe((enum fm_option_id)id, &text);
            if (!fm_buf_ok(&text)) out->failed = true;
            flag(o, left, sizeof left);
            row(out, left, fm_buf_text(&text), COLUMN);
        }
    }
    fm_buf_release(&text);
}

/* "precision fp32,bf16; checkpoint none,blocks; ..." and the sizes */
static void campaign_text(struct fm_buf *out)
{
    const char *between = "";
    fm_buf_puts(out, "Without --workload, --set and a strategy's LIST, the default campaign: ");
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *o = &fm_option_table[id];
        if (!o->campaign) continue;
        fm_buf_printf(out, "%s%s %s", between, o->name, o->campaign);
        between = "; ";
    }
    fm_buf_puts(out, ". Without --workload, sizes are: ");
    between = "";
    for (size_t i = 0; i < fm_default_set_count; i++) {
        fm_buf_printf(out, "%s%s.%s=%s", between, fm_default_sets[i].workload, fm_default_sets[i].key,
                      fm_default_sets[i].values);
        between = ", ";
    }
    fm_buf_putc(out, '.');
}

static void exit_codes(struct fm_buf *out)
{
    static const struct { fm_status status; const char *text; } rows[] = {
#define X(name, code, text) { FM_##name, text },
        FM_STATUS_LIST(X)
#undef X
    };
    fm_buf_puts(out, "\nexit codes:\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        fm_buf_printf(out, "  %3d  %s\n", (int)rows[i].status, rows[i].text);
}

static void program_help(struct fm_buf *out)
{
    fm_buf_printf(out, "fillmark: %s\n\nusage: fillmark COMMAND [OPTIONS]\n\ncommands:\n", summary);
    for (int i = 0; i < FM_COMMAND_COUNT; i++) {
        char left[64];
        if (!fm_commands[i].name) continue;
        (void)snprintf(left, sizeof left, "%s %s", fm_commands[i].name, fm_commands[i].arguments);
        row(out, left, fm_commands[i].help, COLUMN);
    }
    fm_buf_puts(out, "\n  fillmark COMMAND --help       the options of a command\n"
                     "  fillmark --version            the version\n\n");
    for (size_t i = 0; i < sizeof about_cells / sizeof about_cells[0]; i++) wrap(out, about_cells[i], 0, 0);
    exit_codes(out);
}

void fm_options_help(enum fm_command command, struct fm_buf *out)
{
    struct fm_buf text = FM_BUF(4096);
    const struct fm_command_row *c = &fm_commands[command];
    if (command == FM_COMMAND_HELP || !c->name) {
        program_help(out);
        return;
    }
    bool measures = command == FM_COMMAND_RUN || command == FM_COMMAND_PLAN;
    fm_buf_printf(out, "usage: fillmark %s%s%s [OPTIONS]\n", c->name, *c->arguments ? " " : "", c->arguments);
    if (command == FM_COMMAND_SHOW_WORKLOAD) fm_buf_puts(out, "       fillmark show workloads [--json]\n");
    fm_buf_putc(out, '\n');
    wrap(out, c->help, 0, 0);
    if (measures) {
        fm_buf_putc(out, '\n');
        for (size_t i = 0; i < sizeof about_cells / sizeof about_cells[0]; i++) wrap(out, about_cells[i], 0, 0);
        campaign_text(&text);
        if (!fm_buf_ok(&text)) out->failed = true;
        wrap(out, fm_buf_text(&text), 0, 0);
    }
    options_of(command, out);
    fm_buf_puts(out, "\nexit codes: fillmark --help\n");
    fm_buf_release(&text);
}

/* ---- man page ---- */

/* text with roff's own characters escaped, as one line */
static void roff(struct fm_buf *out, const char *text)
{
    if (*text == '.' || *text == '\'') fm_buf_puts(out, "\\&");
    for (; *text; text++) {
        if (*text == '\\') fm_buf_puts(out, "\\e");
        else if (*text == '-') fm_buf_puts(out, "\\-");
        else if (*text == '\'') fm_buf_puts(out, "\\(aq");
        else fm_buf_putc(out, *text);
    }
}

static void roff_line(struct fm_buf *out, const char *before, const char *text, const char *after)
{
    fm_buf_puts(out, before);
    roff(out, text);
    fm_buf_puts(out, after);
}

/* ".TP", "\fB--name\fR \fIARGUMENT\fR", text */
static void roff_entry(struct fm_buf *out, const char *bold, const char *italic, const char *text)
{
    roff_line(out, ".TP\n\\fB", bold, "\\fR");
    if (italic && *italic) roff_line(out, " \\fI", italic, "\\fR");
    roff_line(out, "\n", text, "\n");
}

static void roff_commands_of(enum fm_option_id id, struct fm_buf *text)
{
    const char *between = "";
    for (int i = 0; i < FM_COMMAND_COUNT; i++) {
        if (!fm_option_of(id, (enum fm_command)i)) continue;
        fm_buf_printf(text, "%s%s", between, fm_commands[i].name);
        between = ", ";
    }
}

static void roff_options(struct fm_buf *out, struct fm_buf *text)
{
    for (int group = 0; group < FM_GROUP_COUNT; group++) {
        roff_line(out, ".SS ", fm_option_groups[group], "\n");
        for (int id = 0; id < FM_OPTION_COUNT; id++) {
            const struct fm_option *o = &fm_option_table[id];
            char name[40];
            if (o->group != (enum fm_option_group)group) continue;
            fm_buf_clear(text);
            describe((enum fm_option_id)id, text);
            (void)snprintf(name, sizeof name, "--%s", o->name);
            if (!fm_buf_ok(text)) out->failed = true;
            roff_entry(out, name, o->argument, fm_buf_text(text));
            fm_buf_clear(text);
            roff_commands_of((enum fm_option_id)id, text);
            roff_line(out, ".br\n.I ", fm_buf_text(text), "\n");
            if (!fm_buf_ok(text)) out->failed = true;
        }
    }
}

static void roff_examples(struct fm_buf *out)
{
    static const char *const rows[][2] = {
        { "fillmark run", "The default campaign on what is here." },
        { "fillmark run --workload segformer --set variant=b0,b2 --precision fp32,bf16 --memory 8GiB --out results-b",
          "Four cells, within 8 GiB." },
        { "fillmark run --resume --out results-b", "Goes on after an interruption; nothing is measured twice." },
        { "fillmark plan --device none --workload denseunet3d --precision fp16 --batch 1",
          "The memory of one training step of the published network." },
    };
    fm_buf_puts(out, ".SH EXAMPLES\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) roff_entry(out, rows[i][0], NULL, rows[i][1]);
    fm_buf_puts(out, ".PP\nA configuration file:\n.PP\n.nf\n"
                     "workload: [denseunet3d, segformer]\nprecision: [fp32, bf16]\nmemory: 2GiB\nset:\n"
                     "  denseunet3d: {base_channels: 8, input: 64x64x64}\n  segformer: {variant: [b0, b1]}\n.fi\n");
}

void fm_options_man(struct fm_buf *out)
{
    struct fm_buf text = FM_BUF(4096);
    fm_buf_printf(out, ".TH FILLMARK 1 \"\" \"fillmark %s\" \"User Commands\"\n.SH NAME\nfillmark \\- ",
                  FILLMARK_VERSION);
    roff(out, summary);
    fm_buf_puts(out, "\n.SH SYNOPSIS\n.nf\n");
    for (int i = 0; i < FM_COMMAND_COUNT; i++) {
        if (!fm_commands[i].name) continue;
        fm_buf_printf(out, "\\fBfillmark %s\\fR %s%s[OPTIONS]\n", fm_commands[i].name, fm_commands[i].arguments,
                      *fm_commands[i].arguments ? " " : "");
    }
    fm_buf_puts(out, ".fi\n.SH COMMANDS\n");
    for (int i = 0; i < FM_COMMAND_COUNT; i++)
        if (fm_commands[i].name) roff_entry(out, fm_commands[i].name, fm_commands[i].arguments, fm_commands[i].help);
    fm_buf_puts(out, ".SH CELLS AND CONFIGURATION\n");
    for (size_t i = 0; i < sizeof about_cells / sizeof about_cells[0]; i++)
        roff_line(out, ".PP\n", about_cells[i], "\n");
    campaign_text(&text);
    if (!fm_buf_ok(&text)) out->failed = true;
    roff_line(out, ".PP\n", fm_buf_text(&text), "\n");
    fm_buf_puts(out, ".SH OPTIONS\nThe last line of each names the commands that take it.\n");
    roff_options(out, &text);
    fm_buf_puts(out, ".SH EXIT STATUS\n");
#define X(name, code, words) roff_entry(out, #code, NULL, words);
    FM_STATUS_LIST(X)
#undef X
    roff_examples(out);
    fm_buf_release(&text);
}

fm_status fm_options_print(const struct fm_options *options, struct fm_buf *out, struct fm_err *err)
{
    if (options->command == FM_COMMAND_COMPLETION) fm_options_completion(options->shell, out);
    else if (options->command == FM_COMMAND_MAN) fm_options_man(out);
    else if (options->command == FM_COMMAND_VERSION) fm_buf_printf(out, "fillmark %s\n", FILLMARK_VERSION);
    else fm_options_help(options->topic, out);
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "host memory exhausted while writing help");
}
