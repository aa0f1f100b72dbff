/* fillmark explain: an out-of-memory message, from a file or standard input; with a workload also which tensor it was. */
#include "tuner/commands/commands.h"

#include "tuner/base/memory.h"
#include "tuner/explain/explain.h"
#include "tuner/options/space.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CELLS_MAX 256
#define BATCH_MAX 128

static fm_status read_all(FILE *file, const char *name, struct fm_buf *text, struct fm_err *err)
{
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, file)) > 0) fm_buf_add(text, block, n);
    if (ferror(file)) return FM_FAIL(err, FM_IO, "%s: %s", name, strerror(errno));
    if (!fm_buf_ok(text) && text->bytes + sizeof block > text->max_bytes)
        return FM_FAIL(err, FM_INVALID, "%s: more than %zu MiB; give the part with the message", name, text->max_bytes >> 20);
    return fm_buf_ok(text) ? FM_OK : FM_FAIL(err, FM_NOMEM, "%s", name);
}

static fm_status read_message(const char *path, struct fm_buf *text, struct fm_err *err)
{
    if (!path || strcmp(path, "-") == 0) return read_all(stdin, "standard input", text, err);
    FILE *file = fopen(path, "rb");
    if (!file) return FM_FAIL(err, FM_IO, "%s: %s", path, strerror(errno));
    fm_status status = read_all(file, path, text, err);
    (void)fclose(file);
    return status;
}

struct cells { struct fm_cell *item; size_t count, room; };

static fm_status add(struct cells *cells, const struct fm_cell *cell, struct fm_err *err)
{
    if (cells->count == CELLS_MAX) return FM_FAIL(err, FM_INVALID, "more than %d cells to look through; give fewer values", CELLS_MAX);
    struct fm_cell *grown = fm_grow(cells->item, &cells->room, cells->count + 1, sizeof *grown);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "%zu cells", cells->count);
    cells->item = grown;
    cells->item[cells->count++] = *cell;
    return FM_OK;
}

static bool chosen(const struct fm_options *o, const struct fm_workload *w, const char *key)
{
    for (size_t i = 0; i < o->set_count; i++)
        if (o->set[i].workload == w && strcmp(o->set[i].key, key) == 0) return true;
    return false;
}

/* What validation keeps is seldom known to who reads the message: where it was not said, every way of it is looked at. */
static fm_status add_forms(const struct fm_options *o, const struct fm_cell *cell, struct cells *cells, struct fm_err *err)
{
    const struct fm_workload *w = cell->settings.workload;
    for (uint32_t i = 0; i < w->settings; i++) {
        const struct fm_setting *s = &w->setting[i];
        if (!s->validation_only || s->kind != FM_SETTING_CHOICE || chosen(o, w, s->name)) continue;
        fm_status status = FM_OK;
        for (const char *at = s->choices; *at && status == FM_OK; at += strcspn(at, ","), at += *at == ',') {
            char value[FM_SETTING_TEXT_BYTES];
            struct fm_cell other = *cell;
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at, ","), at);
            status = fm_settings_set(&other.settings, s->name, value, err);
            if (status == FM_OK) status = add(cells, &other, err);
        }
        return status;
    }
    return add(cells, cell, err);
}

static fm_status choose_cells(const struct fm_options *o, struct cells *cells, struct fm_err *err)
{
    struct fm_space space;
    if (!o->workload.count) {
        for (int id = 0; id < FM_OPTION_COUNT; id++)
            if (o->origin[id] == FM_ORIGIN_FLAG && id != FM_OPTION_JSON)
                return FM_FAIL(err, FM_INVALID, "explain: options of a network without one; give --workload NAME");
        return FM_OK;
    }
    fm_status status = fm_space_build(o, "none", 0, &space, err);
    for (size_t i = 0; status == FM_OK && i < space.count; i++) status = add_forms(o, &space.cell[i], cells, err);
    fm_space_release(&space);
    return status;
}

static fm_status print(const struct fm_explanation *x, bool json, struct fm_err *err)
{
    struct fm_buf text = FM_BUF((size_t)16 << 20);
    fm_status status = FM_OK;
    cJSON *tree = NULL;
    if (!json) {
        fm_explain_text(x, &text);
    } else {
        tree = fm_explain_json(x);
        char *printed = tree ? cJSON_Print(tree) : NULL;
        if (printed) fm_buf_printf(&text, "%s\n", printed);
        else text.failed = true;
        cJSON_free(printed);
        cJSON_Delete(tree);
    }
    if (!fm_buf_ok(&text)) status = FM_FAIL(err, FM_NOMEM, "the explanation");
    else if (fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes) status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    return status;
}

fm_status fm_command_explain(const struct fm_options *o, struct fm_err *err)
{
    struct fm_buf text = FM_BUF(FM_OOM_TEXT_MAX_BYTES);
    struct cells cells = { 0 };
    struct fm_explanation *x = fm_calloc(1, sizeof *x);
    fm_status status = x ? choose_cells(o, &cells, err) : FM_FAIL(err, FM_NOMEM, "an explanation");
    if (status == FM_OK) status = read_message(o->operand[0], &text, err);
    if (status == FM_OK) {
        struct fm_explain_query query = { .text = fm_buf_text(&text), .bytes = text.bytes, .cell = cells.item, .cells = cells.count,
                                          .batch = o->batch, .batch_max = BATCH_MAX };
        status = fm_explain(&query, x, err);
    }
    if (status == FM_OK) status = print(x, o->json, err);
    fm_free(x);
    fm_free(cells.item);
    fm_buf_release(&text);
    return status;
}
