/* The command that runs or plans one cell again: the cell itself, and of the option table what was given. */
#include "tuner/options/internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"
#include "tuner/options/device_table.h"

#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES (4 * FM_PATH_TEXT_BYTES)

/* as a shell reads it back: in '...' where it needs that */
static void put_word(struct fm_buf *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    if (*text && !text[strspn(text, plain)]) {
        fm_buf_puts(out, text);
        return;
    }
    fm_buf_putc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'') fm_buf_puts(out, "'\\''");
        else fm_buf_putc(out, *text);
    }
    fm_buf_putc(out, '\'');
}

static void put_option(struct fm_buf *out, const struct fm_option *o, const char *value)
{
    fm_buf_printf(out, " --%s", o->name);
    if (o->kind == FM_OPTION_SWITCH) return;
    fm_buf_putc(out, ' ');
    put_word(out, value);
}

/* what fm_options_echo_one() says, as an option of a command line */
static fm_status put_pair(void *context, const char *key, const char *value)
{
    put_option(context, &fm_option_table[fm_option_find(key, strlen(key))], value);
    return FM_OK;
}

static void put_cell_option(struct fm_buf *out, const struct fm_option *o, const struct fm_cell *cell)
{
    const struct fm_workload *w = cell->settings.workload;
    char pair[2 * FM_VALUE_TEXT_BYTES];
    if (o->kind == FM_OPTION_WORKLOADS) put_option(out, o, w->name);
    for (uint32_t i = 0; o->kind == FM_OPTION_SETTING && i < w->settings; i++) {
        if (strcmp(cell->settings.value[i].text, w->setting[i].text) == 0) continue;
        (void)snprintf(pair, sizeof pair, "%s=%s", w->setting[i].name, cell->settings.value[i].text);
        put_option(out, o, pair);
    }
    if (o->kind != FM_OPTION_STRATEGY) return;
    const char *normal = fm_strategies[o->strategy]->text ? fm_strategies[o->strategy]->text : w->optimizer;
    if (strcmp(cell->value[o->strategy], normal) != 0) put_option(out, o, cell->value[o->strategy]);
}

/* The journal of a run that is resumed records all options: those that are not as they are without it were given to it. */
static bool differs(const struct fm_again *a, enum fm_option_id id, struct fm_buf *out)
{
    struct fm_buf here = FM_BUF(LINE_MAX_BYTES), there = FM_BUF(LINE_MAX_BYTES);
    fm_status status = fm_options_echo_one(a->options, id, put_pair, &here);
    if (status == FM_OK) status = fm_options_echo_one(a->plain, id, put_pair, &there);
    if (status != FM_OK || !fm_buf_ok(&here) || !fm_buf_ok(&there)) out->failed = true;
    bool same = strcmp(fm_buf_text(&here), fm_buf_text(&there)) == 0;
    fm_buf_release(&here);
    fm_buf_release(&there);
    return !same;
}

static void put_given(struct fm_buf *out, const struct fm_again *a, enum fm_option_id id)
{
    enum fm_origin origin = a->options->origin[id];
    /* the seed of a figure is said whether it was chosen or not */
    bool said = origin >= FM_ORIGIN_FILE || id == FM_OPTION_SEED;
    if (!said && origin == FM_ORIGIN_RECORD) said = differs(a, id, out);
    if (said && fm_options_echo_one(a->options, id, put_pair, out) != FM_OK) out->failed = true;
}

char *fm_again_command(const struct fm_again *a, const struct fm_cell *cell)
{
    const struct fm_options *o = a->options;
    struct fm_buf text = FM_BUF(LINE_MAX_BYTES);
    char size[FM_BYTES_TEXT_BYTES];
    bool plans = o->command == FM_COMMAND_PLAN || fm_device_is_planned_for(a->device) || strcmp(a->device, "none") == 0;
    enum fm_command command = plans ? FM_COMMAND_PLAN : FM_COMMAND_RUN;
    fm_bytes_print(a->memory_bytes, size);
    fm_buf_printf(&text, "fillmark %s", fm_commands[command].name);
    for (int i = 0; i < FM_OPTION_COUNT; i++) {
        enum fm_option_id id = (enum fm_option_id)i;
        const struct fm_option *row = &fm_option_table[i];
        if (!fm_option_of(id, command) || row->group == FM_GROUP_OUTPUT || row->of_the_run) continue;
        if (row->group == FM_GROUP_WORKLOADS || row->group == FM_GROUP_STRATEGIES) put_cell_option(&text, row, cell);
        else if (id == FM_OPTION_DEVICE) put_option(&text, row, a->device);
        else if (id == FM_OPTION_MEMORY && a->memory_bytes) put_option(&text, row, size);
        else if (id != FM_OPTION_MEMORY && fm_option_of(id, o->command)) put_given(&text, a, id);
    }
    char *copy = fm_buf_ok(&text) ? fm_strdup(fm_buf_text(&text)) : NULL;
    fm_buf_release(&text);
    return copy;
}
