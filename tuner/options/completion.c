/* Completions for shells, from the option table. */
#include "tuner/options/table.h"

#include "tuner/base/text.h"
#include "workloads/nets/nets.h"

#include <stdio.h>
#include <string.h>

const char *const fm_completion_shells[FM_COMPLETION_COUNT] = {
    [FM_COMPLETION_BASH] = "bash", [FM_COMPLETION_ZSH] = "zsh", [FM_COMPLETION_FISH] = "fish",
};

/* values that can be listed, blank between: words of a strategy, workloads, search methods; "" if there are none */
static void put_values(const struct fm_option *o, struct fm_buf *out)
{
    const char *values = NULL;
    switch (o->kind) {
    case FM_OPTION_STRATEGY: values = strchr(fm_strategies[o->strategy]->values, ' ') ? NULL : fm_strategies[o->strategy]->values; break;
    case FM_OPTION_METHOD: values = "plan,binsearch,power"; break;
    case FM_OPTION_DEVICES: values = "cpu,cuda:0,all"; break;
    case FM_OPTION_WORKLOADS:
        for (size_t i = 0; i < fm_workload_count; i++) fm_buf_printf(out, "%s%s", i ? " " : "", fm_workloads[i]->name);
        return;
    default: break;
    }
    for (const char *c = values; c && *c; c++) fm_buf_putc(out, *c == ',' ? ' ' : *c);
}

static bool is_path(const struct fm_option *o) { return o->kind == FM_OPTION_PATH; }

/* help without what quotes and brackets mean to a shell */
static void put_help(const char *text, struct fm_buf *out)
{
    for (const char *c = text; *c && strncmp(c, "; ", 2) != 0; c++)
        if (!strchr("'\"[]\\`$:", *c)) fm_buf_putc(out, *c);
}

static const char *help_of(const struct fm_option *o)
{
    return o->kind == FM_OPTION_STRATEGY ? fm_strategies[o->strategy]->help : o->help;
}

/* a command's words with an underscore between, as functions and conditions name it */
static void put_name(const char *name, struct fm_buf *out)
{
    for (const char *c = name; *c; c++) fm_buf_putc(out, *c == ' ' ? '_' : *c);
}

static void put_words(struct fm_buf *out)
{
    const char *names[FM_COMMAND_COUNT];
    char words[FM_COMMAND_COUNT][16];
    size_t n = fm_command_names(names, words);
    for (size_t i = 0; i < n; i++) fm_buf_printf(out, "%s%s", i ? " " : "", names[i]);
}

/* ---- bash ---- */

static void put_flags(int command, struct fm_buf *out)
{
    for (int id = 0; id < FM_OPTION_COUNT; id++)
        if (fm_option_of((enum fm_option_id)id, (enum fm_command)command)) fm_buf_printf(out, "--%s ", fm_option_table[id].name);
    fm_buf_puts(out, "--help");
}

static void bash(struct fm_buf *out)
{
    fm_buf_puts(out, "# bash completion of fillmark\n_fillmark() {\n    local word=${COMP_WORDS[COMP_CWORD]} before= command=${COMP_WORDS[1]} words=\n"
                     "    ((COMP_CWORD > 0)) && before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                     "    [ \"$command\" = show ] && command=\"show_${COMP_WORDS[2]}\"\n    COMPREPLY=()\n    case $before in\n");
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *o = &fm_option_table[id];
        if (o->kind == FM_OPTION_SWITCH) continue;
        fm_buf_printf(out, "    --%s) ", o->name);
        if (is_path(o)) {
            fm_buf_puts(out, "COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n");
            continue;
        }
        fm_buf_puts(out, "COMPREPLY=($(compgen -W '");
        put_values(o, out);
        fm_buf_puts(out, "' -- \"$word\")); return ;;\n");
    }
    fm_buf_puts(out, "    esac\n    if ((COMP_CWORD == 1)); then\n        words='");
    put_words(out);
    fm_buf_puts(out, " --help --version'\n    elif [ \"${COMP_WORDS[1]}\" = show ] && ((COMP_CWORD == 2)); then\n        words='workloads workload devices'\n"
                     "    else\n        case $command in\n");
    for (int c = 0; c < FM_COMMAND_COUNT; c++) {
        if (!fm_commands[c].name) continue;
        fm_buf_puts(out, "        ");
        put_name(fm_commands[c].name, out);
        fm_buf_puts(out, ") words='");
        put_flags(c, out);
        fm_buf_puts(out, "' ;;\n");
    }
    fm_buf_puts(out, "        esac\n        if [[ $word != -* ]]; then COMPREPLY=($(compgen -f -- \"$word\")); return; fi\n    fi\n"
                     "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o filenames -F _fillmark fillmark\n");
}

/* ---- zsh ---- */

static void zsh_option(const struct fm_option *o, struct fm_buf *out)
{
    fm_buf_printf(out, " \\\n            '--%s[", o->name);
    put_help(help_of(o), out);
    fm_buf_putc(out, ']');
    if (o->kind != FM_OPTION_SWITCH) {
        fm_buf_printf(out, ":%s:", o->name);
        if (is_path(o)) {
            fm_buf_puts(out, "_files");
        } else {
            fm_buf_putc(out, '(');
            put_values(o, out);
            fm_buf_putc(out, ')');
        }
    }
    fm_buf_putc(out, '\'');
}

static void zsh(struct fm_buf *out)
{
    fm_buf_puts(out, "#compdef fillmark\n# zsh completion of fillmark\n_fillmark() {\n    local command=${words[2]}\n"
                     "    [[ $command = show ]] && command=\"show_${words[3]}\"\n    if ((CURRENT == 2)); then\n        compadd ");
    put_words(out);
    fm_buf_puts(out, "\n        return\n    fi\n    if [[ ${words[2]} = show ]] && ((CURRENT == 3)); then\n        compadd workloads workload devices\n"
                     "        return\n    fi\n    case $command in\n");
    for (int c = 0; c < FM_COMMAND_COUNT; c++) {
        if (!fm_commands[c].name) continue;
        fm_buf_puts(out, "    ");
        put_name(fm_commands[c].name, out);
        fm_buf_puts(out, ")\n        _arguments");
        for (int id = 0; id < FM_OPTION_COUNT; id++)
            if (fm_option_of((enum fm_option_id)id, (enum fm_command)c)) zsh_option(&fm_option_table[id], out);
        fm_buf_puts(out, " \\\n            '*:file:_files' ;;\n");
    }
    fm_buf_puts(out, "    esac\n}\n_fillmark \"$@\"\n");
}

/* ---- fish ---- */

static void fish(struct fm_buf *out)
{
    const char *names[FM_COMMAND_COUNT];
    char words[FM_COMMAND_COUNT][16];
    size_t n = fm_command_names(names, words);
    fm_buf_puts(out, "# fish completion of fillmark\n");
    for (size_t i = 0; i < n; i++) fm_buf_printf(out, "complete -c fillmark -n __fish_use_subcommand -f -a %s\n", names[i]);
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *o = &fm_option_table[id];
        fm_buf_puts(out, "complete -c fillmark -n '__fish_seen_subcommand_from");
        for (size_t i = 0; i < n; i++) {
            bool takes = false;
            for (int c = 0; c < FM_COMMAND_COUNT; c++)
                takes |= fm_commands[c].name && strncmp(fm_commands[c].name, names[i], strlen(names[i])) == 0 &&
                         fm_option_of((enum fm_option_id)id, (enum fm_command)c);
            if (takes) fm_buf_printf(out, " %s", names[i]);
        }
        fm_buf_printf(out, "' -l %s", o->name);
        if (o->kind != FM_OPTION_SWITCH) {
            fm_buf_puts(out, is_path(o) ? " -r -F" : " -x -a '");
            if (!is_path(o)) {
                put_values(o, out);
                fm_buf_putc(out, '\'');
            }
        }
        fm_buf_puts(out, " -d '");
        put_help(help_of(o), out);
        fm_buf_puts(out, "'\n");
    }
}

void fm_options_completion(enum fm_completion shell, struct fm_buf *out)
{
    switch (shell) {
    case FM_COMPLETION_BASH: bash(out); break;
    case FM_COMPLETION_ZSH: zsh(out); break;
    case FM_COMPLETION_FISH: fish(out); break;
    case FM_COMPLETION_COUNT: break;
    }
}
