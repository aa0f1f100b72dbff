/* Man pages, from the option table: fillmark(1), and one a command, as fillmark-run(1). */
#include "tuner/options/table.h"

#include <stdio.h>
#include <string.h>

/* text with roff's own characters escaped, as one line */
static void roff(struct fm_buf *out, const char *text)
{
    if (*text == '.' || *text == '\'') fm_buf_puts(out, "\\&");
    for (; *text; text++) {
        if (*text == '\\') fm_buf_puts(out, "\\e");
        else if (*text == '-') fm_buf_puts(out, "\\-");
        else if (*text == '\'') fm_buf_puts(out, "\\(aq");
        else if (*text == '~') fm_buf_puts(out, "\\(ti");
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

/* is it a command of that page? */
static bool of_word(int command, const char *word)
{
    const char *name = fm_commands[command].name;
    return name && strcspn(name, " ") == strlen(word) && strncmp(name, word, strlen(word)) == 0;
}

/* the commands of a page (word) or all (NULL) that take an option; returns how many of them do not */
static size_t takers(enum fm_option_id id, const char *word, struct fm_buf *text)
{
    const char *between = "";
    size_t others = 0;
    for (int i = 0; i < FM_COMMAND_HELP; i++) {
        if (word && !of_word(i, word)) continue;
        if (!fm_option_of(id, (enum fm_command)i)) {
            others += fm_commands[i].name != NULL;
            continue;
        }
        fm_buf_printf(text, "%s%s", between, fm_commands[i].name);
        between = ", ";
    }
    return others;
}

/* options of a page's commands; where only some of them take one, it says which */
static void put_options(struct fm_buf *out, const char *word, struct fm_buf *text)
{
    for (int group = 0; group < FM_GROUP_COUNT; group++) {
        bool titled = false;
        for (int id = 0; id < FM_OPTION_COUNT; id++) {
            const struct fm_option *o = &fm_option_table[id];
            char name[40];
            if (o->group != (enum fm_option_group)group) continue;
            fm_buf_clear(text);
            size_t others = takers((enum fm_option_id)id, word, text);
            if (!fm_buf_ok(text)) out->failed = true;
            if (!text->bytes) continue;
            if (!titled) roff_line(out, ".SS ", fm_option_groups[group], "\n");
            titled = true;
            struct fm_buf help = FM_BUF(4096);
            fm_option_describe((enum fm_option_id)id, &help);
            (void)snprintf(name, sizeof name, "--%s", o->name);
            roff_entry(out, name, o->argument, fm_buf_text(&help));
            if (others) roff_line(out, ".br\n.I ", fm_buf_text(text), "\n");
            if (!fm_buf_ok(&help)) out->failed = true;
            fm_buf_release(&help);
        }
    }
}

static void put_examples(struct fm_buf *out, const char *const rows[][2], size_t count)
{
    fm_buf_puts(out, ".SH EXAMPLES\n");
    for (size_t i = 0; i < count && rows[i][0]; i++) roff_entry(out, rows[i][0], NULL, rows[i][1]);
}

static void put_about_cells(struct fm_buf *out, struct fm_buf *text)
{
    for (size_t i = 0; i < FM_ABOUT_CELLS; i++) roff_line(out, i ? ".PP\n" : "", fm_about_cells[i], "\n");
    fm_buf_clear(text);
    fm_campaign_text(text);
    if (!fm_buf_ok(text)) out->failed = true;
    roff_line(out, ".PP\n", fm_buf_text(text), "\n");
}

static void put_synopsis(struct fm_buf *out, const char *word)
{
    fm_buf_puts(out, ".SH SYNOPSIS\n.nf\n");
    for (int i = 0; i < FM_COMMAND_COUNT; i++) {
        const struct fm_command_row *c = &fm_commands[i];
        if (!c->name || (word && !of_word(i, word))) continue;
        bool plain = i == FM_COMMAND_HELP;
        fm_buf_printf(out, "\\fBfillmark %s\\fR %s%s%s\n", c->name, c->arguments, *c->arguments && !plain ? " " : "",
                      plain ? "" : "[OPTIONS]");
    }
    fm_buf_puts(out, ".fi\n");
}

static void put_title(struct fm_buf *out, const char *dash, const char *word)
{
    fm_buf_puts(out, ".TH FILLMARK");
    for (const char *c = dash; *c; c++) fm_buf_puts(out, "\\-");
    for (const char *c = word; *c; c++) fm_buf_putc(out, (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c));
    fm_buf_printf(out, " 1 \"\" \"fillmark %s\" \"User Commands\"\n.SH NAME\nfillmark%s%s \\- ", FILLMARK_VERSION, *dash ? "\\-" : "",
                  word);
}

/* ".BR fillmark (1)," ... but for the page itself */
static void put_see_also(struct fm_buf *out, const char *word)
{
    fm_buf_puts(out, ".SH SEE ALSO\n");
    bool first = true;
    if (word) {
        fm_buf_puts(out, ".BR fillmark (1)");
        first = false;
    }
    for (size_t i = 0; i < fm_page_count; i++) {
        if (word && strcmp(fm_pages[i].word, word) == 0) continue;
        fm_buf_printf(out, "%s.BR fillmark\\-%s (1)", first ? "" : ",\n", fm_pages[i].word);
        first = false;
    }
    fm_buf_putc(out, '\n');
}

/* ---- fillmark(1) ---- */

static void put_environment(struct fm_buf *out)
{
    static const char *const rows[][2] = {
        { "FILLMARK_CACHE_DIR", "folder of the cache of workspaces; else $XDG_CACHE_HOME/fillmark, else ~/.cache/fillmark" },
        { "FILLMARK_WORKER_DIR", "folder of the worker executables; else beside fillmark, or in ../libexec/fillmark" },
        { "FILLMARK_CUDA_LIBS", "folders of NVIDIA's libraries, colon between; else the places where pip, conda and CUDA put them" },
        { "CUDA_VISIBLE_DEVICES", "which GPUs are seen, and what cuda:0 is" },
        { "OMP_WAIT_POLICY", "how threads of the cpu worker wait; without it they soon sleep" },
    };
    fm_buf_puts(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) roff_entry(out, rows[i][0], NULL, rows[i][1]);
}

static void overview(struct fm_buf *out, struct fm_buf *text)
{
    static const char *const examples[][2] = {
        { "fillmark run", "The default campaign on what is here." },
        { "fillmark run --workload segformer --set variant=b0,b2 --precision fp32,bf16 --memory 8GiB --out results-b",
          "Four cells, within 8 GiB." },
        { "fillmark run --resume --out results-b", "Goes on after an interruption; nothing is measured twice." },
        { "fillmark plan --device none --workload denseunet3d --precision fp16 --batch 1",
          "The memory of one training step of the published network." },
    };
    put_title(out, "", "");
    roff(out, fm_summary);
    fm_buf_putc(out, '\n');
    put_synopsis(out, NULL);
    fm_buf_puts(out, ".SH COMMANDS\n");
    for (int i = 0; i < FM_COMMAND_COUNT; i++)
        if (fm_commands[i].name) roff_entry(out, fm_commands[i].name, fm_commands[i].arguments, fm_commands[i].help);
    fm_buf_puts(out, ".SH CELLS AND CONFIGURATION\n");
    put_about_cells(out, text);
    fm_buf_puts(out, ".SH OPTIONS\nThe last line of each names the commands that take it.\n");
    put_options(out, NULL, text);
    fm_buf_puts(out, ".SH EXIT STATUS\n");
#define X(name, code, words) roff_entry(out, #code, NULL, words);
    FM_STATUS_LIST(X)
#undef X
    put_environment(out);
    put_examples(out, examples, sizeof examples / sizeof examples[0]);
    fm_buf_puts(out, ".PP\nA configuration file:\n.PP\n.nf\n"
                     "workload: [denseunet3d, segformer]\nprecision: [fp32, bf16]\nmemory: 2GiB\nset:\n"
                     "  denseunet3d: {base_channels: 8, input: 64x64x64}\n  segformer: {variant: [b0, b1]}\n.fi\n");
    put_see_also(out, NULL);
}

/* ---- one command ---- */

/* the page's own meaning of a code, or NULL */
static const char *meaning(const struct fm_page *page, const char *code)
{
    for (size_t i = 0; i < FM_PAGE_ITEMS && page->codes[i][0]; i++)
        if (strcmp(page->codes[i][0], code) == 0) return page->codes[i][1];
    return NULL;
}

/* those that any command can end with, and those that this page gives a meaning */
static void put_codes(struct fm_buf *out, const struct fm_page *page)
{
    fm_buf_puts(out, ".SH EXIT STATUS\n");
#define X(name, code, words)                                                                                                  \
    if (meaning(page, #code) || FM_##name == FM_OK || FM_##name == FM_FAILED || FM_##name == FM_INVALID || FM_##name == FM_IO || \
        FM_##name == FM_NOMEM)                                                                                                 \
        roff_entry(out, #code, NULL, meaning(page, #code) ? meaning(page, #code) : words);
    FM_STATUS_LIST(X)
#undef X
    fm_buf_puts(out, ".PP\nThe others are those of\n.BR fillmark (1).\n");
}

static void put_page(const struct fm_page *page, enum fm_command first, struct fm_buf *out, struct fm_buf *text)
{
    put_title(out, "-", page->word);
    roff(out, page->name ? page->name : fm_commands[first].help);
    fm_buf_putc(out, '\n');
    put_synopsis(out, page->word);
    fm_buf_puts(out, ".SH DESCRIPTION\n");
    for (size_t i = 0; i < FM_PAGE_ITEMS && page->about[i]; i++) roff_line(out, i ? ".PP\n" : "", page->about[i], "\n");
    for (int i = 0; strcmp(page->word, "show") == 0 && i < FM_COMMAND_COUNT; i++)
        if (of_word(i, page->word)) roff_entry(out, fm_commands[i].name, fm_commands[i].arguments, fm_commands[i].help);
    if (first == FM_COMMAND_RUN || first == FM_COMMAND_PLAN) {
        fm_buf_puts(out, ".SH CELLS AND CONFIGURATION\n");
        put_about_cells(out, text);
    }
    fm_buf_puts(out, ".SH OPTIONS\n");
    put_options(out, page->word, text);
    put_codes(out, page);
    if (page->files[0][0]) fm_buf_puts(out, ".SH FILES\n");
    for (size_t i = 0; i < FM_PAGE_ITEMS && page->files[i][0]; i++) roff_entry(out, page->files[i][0], NULL, page->files[i][1]);
    put_examples(out, page->examples, FM_PAGE_ITEMS);
    put_see_also(out, page->word);
}

void fm_options_man(enum fm_command topic, struct fm_buf *out)
{
    struct fm_buf text = FM_BUF(4096);
    const struct fm_page *page = NULL;
    for (size_t i = 0; i < fm_page_count; i++)
        if (topic != FM_COMMAND_HELP && of_word((int)topic, fm_pages[i].word)) page = &fm_pages[i];
    if (page) put_page(page, topic, out, &text);
    else overview(out, &text);
    fm_buf_release(&text);
}
