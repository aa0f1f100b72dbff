/* --help, from the option table. */
#include "tuner/options/table.h"
#include "tuner/base/handicap.h"

#include <stdio.h>
#include <string.h>

#define COLUMN 30                       /* where help begins */
#define WIDTH 100

const char fm_summary[] = "how full a GPU can be filled, with which strategy, and how fast it is there";

const char *const fm_about_cells[FM_ABOUT_CELLS] = {
    "LIST is one value or several with commas: an axis. Cells are the product of all axes: --precision fp32,bf16 "
    "--checkpoint none,blocks makes four of each workload.",
    "CONFIG.yaml holds the same words as keys, 'val-batch: [same, half]'; settings below 'set:', there also by "
    "workload, "
    "'set: {segformer: {variant: b1}}'. A flag overrides the same key. run and plan can share a file: plan makes nothing of what is only for running.",
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

void fm_option_describe(enum fm_option_id id, struct fm_buf *out)
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
            fm_option_describe((enum fm_option_id)id, &text);
            if (!fm_buf_ok(&text)) out->failed = true;
            flag(o, left, sizeof left);
            row(out, left, fm_buf_text(&text), COLUMN);
        }
    }
    fm_buf_release(&text);
}

void fm_campaign_text(struct fm_buf *out)
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
    fm_buf_printf(out, "fillmark: %s\n\nusage: fillmark COMMAND [OPTIONS]\n\ncommands:\n", fm_summary);
    for (int i = 0; i < FM_COMMAND_COUNT; i++) {
        char left[64];
        if (!fm_commands[i].name) continue;
        (void)snprintf(left, sizeof left, "%s %s", fm_commands[i].name, fm_commands[i].arguments);
        row(out, left, fm_commands[i].help, COLUMN);
    }
    fm_buf_puts(out, "\n  fillmark COMMAND --help       the options of a command\n"
                     "  fillmark --man [COMMAND]      the man page, fillmark(1) or that of a command\n"
                     "  fillmark --completion SHELL   completion for bash, zsh or fish\n"
                     "  fillmark --version            the version\n\n");
    for (size_t i = 0; i < FM_ABOUT_CELLS; i++) wrap(out, fm_about_cells[i], 0, 0);
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
        for (size_t i = 0; i < FM_ABOUT_CELLS; i++) wrap(out, fm_about_cells[i], 0, 0);
        fm_campaign_text(&text);
        if (!fm_buf_ok(&text)) out->failed = true;
        wrap(out, fm_buf_text(&text), 0, 0);
    }
    options_of(command, out);
    fm_buf_printf(out, "\nmore: man fillmark-%.*s; exit codes: fillmark --help\n", (int)strcspn(c->name, " "), c->name);
    fm_buf_release(&text);
}

fm_status fm_options_print(const struct fm_options *options, struct fm_buf *out, struct fm_err *err)
{
    if (options->command == FM_COMMAND_COMPLETION) fm_options_completion(options->shell, out);
    else if (options->command == FM_COMMAND_MAN) fm_options_man(options->topic, out);
    else if (options->command == FM_COMMAND_VERSION)
        fm_buf_printf(out, "fillmark %s\n%s", FILLMARK_VERSION, FM_HANDICAP_ANY ? "handicapped on purpose: " FM_HANDICAP_TEXT "\n" : "");
    else fm_options_help(options->topic, out);
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "host memory exhausted while writing help");
}
