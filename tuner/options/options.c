/* The command line: its words, as what was given. */
#include "tuner/options/internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

struct line {
    int count, next;            /* arguments; the next one to read */
    int operands;               /* read so far */
    char **argument;
    struct fm_options *options;
    struct fm_givens givens;
    struct fm_err *err;
};

static const char *command_name(enum fm_command command)
{
    return fm_commands[command].name;
}

/* ---- the command ---- */

/* the command of "run" or of "show" and "workload"; FM_COMMAND_COUNT if there is none */
static enum fm_command find_command(const char *first, const char *second)
{
    char both[64];
    (void)snprintf(both, sizeof both, "%.20s%s%.20s", first, second ? " " : "", second ? second : "");
    for (int i = 0; i < FM_COMMAND_COUNT; i++)
        if (fm_commands[i].name && strcmp(fm_commands[i].name, both) == 0) return (enum fm_command)i;
    return FM_COMMAND_COUNT;
}

static fm_status no_command(const struct line *l, const char *word)
{
    const char *names[FM_COMMAND_COUNT];
    char words[FM_COMMAND_COUNT][16];
    const char *near = word ? fm_nearest(word, names, fm_command_names(names, words)) : NULL;
    struct fm_buf list = FM_BUF(256);
    fm_command_words(&list);
    fm_status status;
    if (!fm_buf_ok(&list)) status = FM_OPTIONS_NOMEM(l->err);
    else if (!word) status = FM_FAIL(l->err, FM_INVALID, "no command (%s; fillmark --help)", fm_buf_text(&list));
    else
        status = FM_FAIL(l->err, FM_INVALID, "unknown command '%.60s'%s%s%s (%s)", word, near ? "; did you mean '" : "",
                         near ? near : "", near ? "'?" : "", fm_buf_text(&list));
    fm_buf_release(&list);
    return status;
}

static fm_status no_show(const struct line *l, const char *word)
{
    static const char *const names[] = { "workloads", "workload", "devices" };
    const char *near = word ? fm_nearest(word, names, 3) : NULL;
    if (!word) return FM_FAIL(l->err, FM_INVALID, "show: what? (fillmark show workloads, workload NAME, devices)");
    return FM_FAIL(l->err, FM_INVALID, "show: unknown '%.60s'%s%s%s (workloads, workload NAME, devices)", word,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* "help [COMMAND [workload]]" */
static fm_status read_topic(struct line *l)
{
    const char *first = l->next < l->count ? l->argument[l->next++] : NULL;
    const char *second = l->next < l->count ? l->argument[l->next++] : NULL;
    l->options->command = l->options->topic = FM_COMMAND_HELP;
    if (!first || (is_help(first) && !second)) return FM_OK;
    l->options->topic = find_command(first, second);
    if (strcmp(first, "show") == 0 && !second) l->options->topic = FM_COMMAND_SHOW_WORKLOAD;
    if (l->options->topic == FM_COMMAND_COUNT) {
        l->options->topic = FM_COMMAND_HELP;
        if (second && find_command(first, NULL) == FM_COMMAND_COUNT && strcmp(first, "show") == 0)
            return no_show(l, second);
        if (find_command(first, NULL) == FM_COMMAND_COUNT) return no_command(l, first);
        return FM_FAIL(l->err, FM_INVALID, "help: unexpected argument '%.60s'", second ? second : first);
    }
    if (l->next < l->count)
        return FM_FAIL(l->err, FM_INVALID, "help: unexpected argument '%.60s'", l->argument[l->next]);
    return FM_OK;
}

/* "--man [COMMAND]": a page has the first command of its word as topic */
static fm_status read_page(struct line *l, const char *word)
{
    struct fm_options *o = l->options;
    o->command = FM_COMMAND_MAN;
    o->topic = FM_COMMAND_HELP;
    if (!word) return FM_OK;
    for (int i = 0; i < FM_COMMAND_HELP && o->topic == FM_COMMAND_HELP; i++) {
        const char *name = fm_commands[i].name;
        if (name && strcspn(name, " ") == strlen(word) && strncmp(name, word, strlen(word)) == 0) o->topic = (enum fm_command)i;
    }
    if (o->topic == FM_COMMAND_HELP && strcmp(word, "help") != 0) return no_command(l, word);
    if (l->count > 3) return FM_FAIL(l->err, FM_INVALID, "--man: unexpected argument '%.60s'", l->argument[3]);
    return FM_OK;
}

static fm_status read_command(struct line *l)
{
    struct fm_options *o = l->options;
    if (l->count < 2) return no_command(l, NULL);
    const char *word = l->argument[1], *second = l->count > 2 ? l->argument[2] : NULL;
    l->next = 2;
    if (is_help(word) || strcmp(word, "help") == 0) return read_topic(l);
    if (strcmp(word, "--version") == 0) {
        o->command = FM_COMMAND_VERSION;
        if (second) return FM_FAIL(l->err, FM_INVALID, "%s: unexpected argument '%.60s'", word, second);
        return FM_OK;
    }
    if (strcmp(word, "--man") == 0) return read_page(l, second);
    if (strcmp(word, "--completion") == 0) {
        o->command = FM_COMMAND_COMPLETION;
        for (int i = 0; second && i < FM_COMPLETION_COUNT; i++) {
            o->shell = (enum fm_completion)i;
            if (strcmp(second, fm_completion_shells[i]) == 0 && l->count == 3) return FM_OK;
        }
        return FM_FAIL(l->err, FM_INVALID, "--completion: of which shell? (bash, zsh, fish)");
    }
    if (word[0] == '-')
        return FM_FAIL(l->err, FM_INVALID, "%.60s: a command comes first (fillmark run %.60s)", word, word);
    if (strcmp(word, "show") == 0) {
        l->next = 3;
        if (second && is_help(second)) {
            o->command = FM_COMMAND_HELP, o->topic = FM_COMMAND_SHOW_WORKLOAD;
            return FM_OK;
        }
        o->command = second ? find_command(word, second) : FM_COMMAND_COUNT;
        if (o->command == FM_COMMAND_COUNT) {
            o->command = FM_COMMAND_HELP;
            return no_show(l, second);
        }
        return FM_OK;
    }
    o->command = find_command(word, NULL);
    if (o->command == FM_COMMAND_COUNT) {
        o->command = FM_COMMAND_HELP;
        return no_command(l, word);
    }
    return FM_OK;
}

/* ---- flags ---- */

/* "an option of fillmark plan, not of fillmark run" or the nearest name */
static fm_status no_option(const struct line *l, const char *name, size_t bytes)
{
    enum fm_command command = l->givens.command;
    enum fm_option_id id = fm_option_find(name, bytes);
    char text[64];
    (void)snprintf(text, sizeof text, "%.*s", bytes > 60 ? 60 : (int)bytes, name);
    if (id != FM_OPTION_COUNT) {
        int other = 0;
        while (!fm_option_of(id, (enum fm_command)other)) other++;
        return FM_FAIL(l->err, FM_INVALID, "--%s: an option of 'fillmark %s', not of 'fillmark %s'", text,
                       command_name((enum fm_command)other), command_name(command));
    }
    const char *near = fm_option_nearest(text, command);
    return FM_FAIL(l->err, FM_INVALID, "--%s: unknown option%s%s%s (fillmark %s --help)", text,
                   near ? "; did you mean '--" : "", near ? near : "", near ? "'?" : "", command_name(command));
}

static fm_status twice(const struct line *l, enum fm_option_id id)
{
    const struct fm_givens *givens = &l->givens;
    for (size_t i = 0; i + 1 < givens->count; i++)
        if (givens->item[i].id == id && givens->item[i].origin == FM_ORIGIN_FLAG && id != FM_OPTION_SET)
            return fm_given_fail(givens, &givens->item[i], FM_AT_KEY, l->err, "given twice%s",
                                 fm_option_is_list(id) ? "; several values are a comma list" : "");
    return FM_OK;
}

/* The value, or NULL where there is none: behind '=', or the next argument unless it is another flag. */
static const char *flag_value(struct line *l, const char *equals)
{
    if (equals) return equals + 1;
    if (l->next >= l->count || strncmp(l->argument[l->next], "--", 2) == 0) return NULL;
    return l->argument[l->next++];
}

/* "key=8,16" of --set; `set` itself has taken no value yet */
static fm_status read_setting(struct line *l, struct fm_given *g, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return fm_given_fail(&l->givens, g, FM_AT_KEY, l->err, "'%.60s' is not KEY=VALUE or WORKLOAD.KEY=VALUE", text);
    if (!fm_given_key(g, text, (size_t)(equals - text))) return FM_OPTIONS_NOMEM(l->err);
    struct fm_given_value raw = { .text = fm_strdup(equals + 1) };
    if (!raw.text) return FM_OPTIONS_NOMEM(l->err);
    fm_status status = fm_given_split(&l->givens, g, &raw, l->err);
    fm_free(raw.text);
    return status;
}

static fm_status read_flag(struct line *l, const char *word)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t bytes = equals ? (size_t)(equals - name) : strlen(name);
    enum fm_option_id id = fm_option_find(name, bytes);
    if (id == FM_OPTION_COUNT || !fm_option_of(id, l->givens.command)) return no_option(l, name, bytes);
    struct fm_given *g = fm_givens_add(&l->givens, id, FM_ORIGIN_FLAG);
    if (!g) return FM_OPTIONS_NOMEM(l->err);
    fm_status status = twice(l, id);
    if (status != FM_OK) return status;
    if (fm_option_table[id].kind == FM_OPTION_SWITCH) {
        if (equals) return fm_given_fail(&l->givens, g, FM_AT_KEY, l->err, "takes no value");
        return fm_given_add(g, "true", 4, 0, 0) ? FM_OK : FM_OPTIONS_NOMEM(l->err);
    }
    const char *text = flag_value(l, equals);
    if (!text) return fm_given_fail(&l->givens, g, FM_AT_KEY, l->err, "its value is missing");
    if (id == FM_OPTION_SET) return read_setting(l, g, text);
    struct fm_given_value raw = { .text = fm_strdup(text) };
    if (!raw.text) return FM_OPTIONS_NOMEM(l->err);
    status = fm_given_split(&l->givens, g, &raw, l->err);
    fm_free(raw.text);
    return status;
}

/* ---- arguments that are not flags ---- */

static fm_status read_operand(struct line *l, const char *word)
{
    struct fm_options *o = l->options;
    const struct fm_command_row *row = &fm_commands[o->command];
    char **place = l->operands >= row->operands_max ? NULL : o->command == FM_COMMAND_RUN || o->command == FM_COMMAND_PLAN
                   ? &o->config : &o->operand[l->operands];
    if (!place) return FM_FAIL(l->err, FM_INVALID, "%s: unexpected argument '%.60s'", row->name, word);
    l->operands++;
    if (o->command == FM_COMMAND_SHOW_WORKLOAD) {
        if (!fm_workload_find(word, l->err)) return FM_INVALID;
        o->origin[FM_OPTION_WORKLOAD] = FM_ORIGIN_FLAG;
        return fm_texts_add(&o->workload, word) ? FM_OK : FM_OPTIONS_NOMEM(l->err);
    }
    if (!*word || strlen(word) > FM_PATH_TEXT_BYTES)
        return FM_FAIL(l->err, FM_INVALID, "%s: a path of %zu bytes", row->name, strlen(word));
    *place = fm_strdup(word);
    return *place ? FM_OK : FM_OPTIONS_NOMEM(l->err);
}

static fm_status read_arguments(struct line *l)
{
    struct fm_options *o = l->options;
    bool flags = true;
    while (l->next < l->count) {
        const char *word = l->argument[l->next++];
        fm_status status;
        if (flags && is_help(word)) {
            o->topic = o->command;
            o->command = FM_COMMAND_HELP;
            return FM_OK;
        }
        if (flags && strcmp(word, "--") == 0) {
            flags = false;
            continue;
        }
        if (flags && strncmp(word, "--", 2) == 0) status = read_flag(l, word);
        else if (flags && word[0] == '-' && word[1])
            status = FM_FAIL(l->err, FM_INVALID, "%.60s: unknown option; options begin with '--' (fillmark %s --help)",
                             word, command_name(o->command));
        else status = read_operand(l, word);
        if (status != FM_OK) return status;
    }
    const struct fm_command_row *row = &fm_commands[o->command];
    if (l->operands < row->operands_min)
        return FM_FAIL(l->err, FM_INVALID, "%s: %s", row->name, row->missing);
    return FM_OK;
}

fm_status fm_options_parse(int argc, char **argv, struct fm_options *out, struct fm_err *err)
{
    struct line l = { .count = argc, .argument = argv, .options = out, .err = err };
    fm_status status = FM_OK;
    *out =
        (struct fm_options){ .command = FM_COMMAND_HELP, .topic = FM_COMMAND_HELP, .max_batch = FM_SEARCH_BATCH_LIMIT };
    FM_TRY(read_command(&l));
    if (fm_options_prints(out->command)) goto out;
    l.givens.command = out->command;
    FM_TRY(read_arguments(&l));
    if (fm_options_prints(out->command)) goto out;
    if (out->config) FM_TRY(fm_config_read(out->config, &l.givens, err));
    FM_TRY(fm_recorded_read(&l.givens, err));
    FM_TRY(fm_options_resolve(&l.givens, out, err));
out:
    fm_givens_release(&l.givens);
    return status;
}

void fm_options_release(struct fm_options *options)
{
    fm_free(options->config);
    for (int i = 0; i < FM_OPERANDS_MAX; i++) fm_free(options->operand[i]);
    fm_free(options->history);
    fm_free(options->add);
    fm_free(options->verdict);
    fm_free(options->out);
    fm_free(options->headroom);
    fm_free(options->allow);
    fm_free(options->objective);
    fm_free(options->base_lr);
    fm_free(options->lr_rule);
    fm_free(options->device_file);
    fm_free(options->calibrate);
    fm_free(options->format);
    fm_free(options->into);
    fm_free(options->template);
    fm_texts_release(&options->workload);
    fm_texts_release(&options->device);
    fm_texts_release(&options->only);
    for (int i = 0; i < FM_STRATEGY_COUNT; i++) fm_texts_release(&options->strategy[i]);
    for (size_t i = 0; i < options->set_count; i++) fm_texts_release(&options->set[i].values);
    fm_free(options->set);
    *options = (struct fm_options){ .command = FM_COMMAND_HELP, .topic = FM_COMMAND_HELP };
}

bool fm_options_prints(enum fm_command command)
{
    return command == FM_COMMAND_HELP || command == FM_COMMAND_VERSION || command == FM_COMMAND_MAN ||
           command == FM_COMMAND_COMPLETION;
}
