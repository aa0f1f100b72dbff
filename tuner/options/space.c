#include "tuner/options/space.h"

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/options/internal.h"

#include <stdlib.h>
#include <string.h>

/* an axis of one workload: values of a setting, or of a strategy */
struct axis {
    const struct fm_texts *values;
    const char *setting;            /* NULL: a strategy */
    enum fm_strategy_id strategy;
};

#define MAX_AXES (FM_MAX_SETTINGS + FM_STRATEGY_COUNT)

struct ranked {
    struct fm_cell cell;
    size_t changes, index;          /* axes not at their first value; order among equals: workloads take turns */
};

static size_t axes_of(const struct fm_options *o, const struct fm_workload *w, struct axis *axis)
{
    size_t n = 0;
    for (size_t i = 0; i < o->set_count; i++)
        if (o->set[i].workload == w) axis[n++] = (struct axis){ .values = &o->set[i].values, .setting = o->set[i].key };
    for (int i = 0; i < FM_STRATEGY_COUNT; i++)
        if (o->strategy[i].count) axis[n++] = (struct axis){ .values = &o->strategy[i], .strategy = (enum fm_strategy_id)i };
    return n;
}

static fm_status apply(struct fm_cell *cell, const struct axis *axis, size_t value, struct fm_err *err)
{
    const char *text = axis->values->item[value];
    return axis->setting ? fm_settings_set(&cell->settings, axis->setting, text, err) : fm_cell_set(cell, axis->strategy, text, err);
}

static bool chosen(const struct fm_options *o, const struct fm_cell *cell)
{
    char id[FM_HASH_TEXT_BYTES];
    fm_hash_print(fm_cell_id(cell), id);
    for (size_t i = 0; i < o->only.count; i++)
        if (strncmp(id, o->only.item[i], strlen(o->only.item[i])) == 0) return true;
    return o->only.count == 0;
}

struct list { struct ranked *item; size_t count, room; };

static fm_status add(struct list *list, const struct ranked *r, struct fm_err *err)
{
    struct ranked *grown = fm_grow(list->item, &list->room, list->count + 1, sizeof *grown);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "%zu cells", list->count);
    list->item = grown;
    list->item[list->count++] = *r;
    return FM_OK;
}

/* every combination of one workload's axes */
static fm_status enumerate(const struct fm_options *o, size_t workload, const struct fm_workload *w, struct list *list, struct fm_err *err)
{
    struct axis axis[MAX_AXES];
    size_t n = axes_of(o, w, axis), total = 1;
    for (size_t a = 0; a < n; a++) {
        total *= axis[a].values->count;
        if (total > FM_CELLS_MAX)
            return FM_FAIL(err, FM_INVALID, "more than %d cells of %s; give fewer values", FM_CELLS_MAX, w->name);
    }
    for (size_t k = 0; k < total; k++) {
        struct ranked r = { .index = k * o->workload.count + workload };
        size_t rest = k;
        fm_cell_default(&r.cell, w);
        for (size_t a = n; a-- > 0;) {
            size_t value = rest % axis[a].values->count;
            rest /= axis[a].values->count;
            r.changes += value != 0;
            fm_status status = apply(&r.cell, &axis[a], value, err);
            if (status != FM_OK) return status;
        }
        fm_status status = chosen(o, &r.cell) ? add(list, &r, err) : FM_OK;
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

static int by_worth(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->changes != y->changes) return x->changes < y->changes ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* options of the same command where nothing is given */
static fm_status plain_options(enum fm_command command, struct fm_options *out, struct fm_err *err)
{
    char program[] = "fillmark", run[] = "run", plan[] = "plan";
    char *words[] = { program, command == FM_COMMAND_PLAN ? plan : run };
    return fm_options_parse(2, words, out, err);
}

static fm_status write_commands(const struct fm_again *of, struct fm_space *out, const struct list *list, struct fm_err *err)
{
    struct fm_options plain = { 0 };
    struct fm_again again = *of;
    bool resumed = false;
    fm_status status = FM_OK;
    for (int i = 0; i < FM_OPTION_COUNT; i++) resumed |= again.options->origin[i] == FM_ORIGIN_RECORD;
    if (resumed) status = plain_options(again.options->command, &plain, err);
    again.plain = &plain;
    for (size_t i = 0; i < list->count && status == FM_OK; i++) {
        out->cell[i] = list->item[i].cell;
        out->reproduce[i] = fm_again_command(&again, &out->cell[i]);
        out->count++;
        if (!out->reproduce[i]) status = FM_FAIL(err, FM_NOMEM, "%zu cells", list->count);
    }
    if (resumed) fm_options_release(&plain);
    return status;
}

fm_status fm_space_build(const struct fm_options *o, const char *device, int64_t memory_bytes, struct fm_space *out,
                         struct fm_err *err)
{
    struct list list = { 0 };
    fm_status status = FM_OK;
    *out = (struct fm_space){ 0 };
    for (size_t i = 0; i < o->workload.count && status == FM_OK; i++) {
        const struct fm_workload *w = fm_workload_find(o->workload.item[i], err);
        status = w ? enumerate(o, i, w, &list, err) : FM_INVALID;
    }
    if (status == FM_OK && !list.count) status = FM_FAIL(err, FM_INVALID, "--only: no cell has an id that begins so");
    if (status == FM_OK) {
        qsort(list.item, list.count, sizeof *list.item, by_worth);
        out->cell = fm_calloc(list.count, sizeof *out->cell);
        out->reproduce = fm_calloc(list.count, sizeof *out->reproduce);
        if (!out->cell || !out->reproduce) status = FM_FAIL(err, FM_NOMEM, "%zu cells", list.count);
    }
    const struct fm_again again = { .options = o, .device = device, .memory_bytes = memory_bytes };
    if (status == FM_OK) status = write_commands(&again, out, &list, err);
    fm_free(list.item);
    if (status != FM_OK) fm_space_release(out);
    return status;
}

void fm_space_release(struct fm_space *space)
{
    for (size_t i = 0; i < space->count; i++) fm_free(space->reproduce[i]);
    fm_free(space->reproduce);
    fm_free(space->cell);
    *space = (struct fm_space){ 0 };
}
