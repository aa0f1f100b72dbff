#include "results/plan_table.h"

#include "results/grid.h"
#include "results/json.h"
#include "results/keys.h"
#include "results/numbers.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <string.h>

#define FIGURES 10
#define CALIBRATED 8                /* a column where there is something in it */
#define ID_CHARS 8

struct section {
    const struct fm_result *result;
    struct fm_buf *out;
    struct fm_plan_form form;
    struct fm_keys keys;
    size_t *cell;               /* indices */
    size_t count;
};

static const struct fm_result_row *row_of(const struct fm_result *result, size_t cell, bool val)
{
    for (size_t i = 0; i < result->row_count; i++)
        if (result->rows[i].cell == cell && result->rows[i].val == val) return &result->rows[i];
    return NULL;
}

static void put(const struct section *s, const char *text)
{
    if (s->form.markdown) fm_put_markdown(s->out, text);
    else fm_put_plain(s->out, text);
}

static void put_size(const struct section *s, const char *before, int64_t bytes)
{
    fm_buf_puts(s->out, before);
    fm_put_size(s->out, bytes);
}

/* a line of its own below the heading; each is a paragraph in Markdown */
static const char *line_start(const struct section *s) { return s->form.markdown ? "\n\n" : "\n  "; }

static void begin_note(const struct section *s) { fm_buf_puts(s->out, s->form.markdown ? "- " : "  "); }

static void put_device(const struct section *s, const char *id)
{
    const cJSON *device = fm_result_device(s->result, id);
    static const char *const texts[] = { "name", "isa", "library", "driver" };
    int64_t bytes;
    put(s, id);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *text = fm_json_text(device, texts[i]);
        if (!text || !*text) continue;
        fm_buf_puts(s->out, " · ");
        put(s, text);
    }
    if (fm_json_i64(device, "total_bytes", &bytes)) put_size(s, " · ", bytes);
    if (fm_json_i64(device, "capacity_bytes", &bytes)) put_size(s, " · limit ", bytes);
    if (fm_json_i64(device, "framework_bytes", &bytes)) {
        fm_buf_puts(s->out, line_start(s));
        put_size(s, "assumed: ", bytes);
        fm_buf_puts(s->out, " for what PyTorch's context and libraries hold beside its allocator");
    }
    const char *note = fm_json_text(device, "note");
    if (!note || !*note) return;
    fm_buf_puts(s->out, line_start(s));
    put(s, note);
}

/* "precision fp32 · ...": what all cells of the section share */
static void put_shared(const struct section *s)
{
    const char *between = s->form.markdown ? "\n\nAll cells: " : "\n  all cells: ";
    for (size_t k = 0; k < s->keys.count; k++) {
        const char *value = fm_keys_value(&s->keys, k, &s->result->cells[s->cell[0]]);
        if (s->keys.key[k].varies || !value) continue;
        fm_buf_puts(s->out, between);
        put(s, s->keys.key[k].name);
        fm_buf_putc(s->out, ' ');
        put(s, value);
        between = " · ";
    }
    fm_buf_puts(s->out, "\n\n");
}

/* of a row's plan; NaN: unknown */
static double speed_of(const struct fm_result_row *row, const char *key)
{
    double value = NAN;
    (void)fm_json_f64(row ? fm_json_object(row->record, "planned") : NULL, key, &value);
    return value;
}

static double bound_of(const struct fm_result_row *row) { return speed_of(row, "bound_samples_per_s"); }
static double calibrated_of(const struct fm_result_row *row) { return speed_of(row, "calibrated_samples_per_s"); }

static const char *basis_of(const struct section *s, size_t cell)
{
    const struct fm_result_row *row = row_of(s->result, cell, false);
    return row ? fm_json_text(fm_json_object(row->record, "planned"), "speed_basis") : NULL;
}

static void put_figure(const struct section *s, size_t index, int column, struct fm_buf *text)
{
    const struct fm_result_cell *cell = &s->result->cells[index];
    const struct fm_result_row *train = row_of(s->result, index, false), *val = row_of(s->result, index, true);
    switch (column) {
    case 0: fm_put_count(text, cell->max_train); break;
    case 1: fm_put_count(text, cell->max_val); break;
    case 2: fm_put_count(text, train->batch); break;
    case 3: fm_put_gib(text, train->planned.allocated_bytes); break;
    case 4: fm_put_gib(text, train->planned.reserved_bytes); break;
    case 5: fm_put_gib(text, val ? val->planned.reserved_bytes : -1); break;
    case 6: fm_put_gib(text, train->planned.workspace_bytes); break;
    case 7: fm_put_f64(text, bound_of(train)); break;
    case 8: fm_put_f64(text, calibrated_of(train)); break;
    default: fm_buf_printf(text, "%.*s", ID_CHARS, cell->id); break;
    }
}

static void put_grid(const struct section *s)
{
    static const struct { const char *above, *title; bool right; } after[FIGURES] = {
        { "max batch", "train", true },        { "max batch", "val", true },           { "planned", "batch", true },
        { "planned", "allocated GiB", true },  { "planned", "reserved GiB", true },    { "planned", "val reserved", true },
        { "largest", "workspace GiB", true },  { "bound", "samples/s", true },
        { "calibrated", "samples/s", true },   { NULL, "cell", false },
    };
    struct fm_grid grid = { 0 };
    struct fm_buf text = FM_BUF(4096);
    for (size_t k = 0; k < s->keys.count; k++)
        if (s->keys.key[k].varies && grid.columns + FIGURES < FM_GRID_COLUMNS) (void)fm_grid_column(&grid, NULL, s->keys.key[k].name, false);
    size_t keys = grid.columns;
    bool calibrated = false;
    for (size_t i = 0; i < s->count; i++) calibrated = calibrated || !isnan(calibrated_of(row_of(s->result, s->cell[i], false)));
    for (size_t i = 0; i < FIGURES; i++)
        if (i != CALIBRATED || calibrated) (void)fm_grid_column(&grid, after[i].above, after[i].title, after[i].right);
    for (size_t i = 0; i < s->count; i++) {
        if (!row_of(s->result, s->cell[i], false)) continue;
        fm_grid_row(&grid);
        size_t column = 0;
        for (size_t k = 0; k < s->keys.count && column < keys; k++) {
            const char *value = fm_keys_value(&s->keys, k, &s->result->cells[s->cell[i]]);
            if (s->keys.key[k].varies) fm_grid_put(&grid, column++, value ? value : FM_UNKNOWN_TEXT);
        }
        for (int f = 0; f < FIGURES; f++) {
            if (f == CALIBRATED && !calibrated) continue;
            fm_buf_clear(&text);
            put_figure(s, s->cell[i], f, &text);
            fm_grid_put(&grid, column++, fm_buf_text(&text));
        }
    }
    if (grid.rows && s->form.markdown) fm_grid_markdown(&grid, s->out), fm_buf_putc(s->out, '\n');
    else if (grid.rows) fm_grid_text(&grid, 2, s->out);
    if (grid.failed || !fm_buf_ok(&text)) s->out->failed = true;
    fm_buf_release(&text);
    fm_grid_release(&grid);
}

/* by the plan; where there is no limit it is not said */
static bool does_not_fit(const struct fm_result_row *row)
{
    return cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(row->record, "planned"), "fits"));
}

static bool is_timed(const struct fm_result_cell *cell)
{
    const char *value = fm_json_text(cell->strategies, "cudnn_benchmark");
    return value && strcmp(value, "on") == 0;
}

/* what was alive at each peak, and why some cells have none */
static void put_notes(const struct section *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct fm_result_cell *cell = &s->result->cells[s->cell[i]];
        const struct fm_result_row *row = row_of(s->result, s->cell[i], false);
        const cJSON *part = NULL, *planned = row ? cJSON_GetObjectItemCaseSensitive(row->record, "planned") : NULL;
        const char *between = " at the peak: ";
        begin_note(s);
        fm_buf_printf(s->out, "cell %.*s:", ID_CHARS, cell->id);
        if (!row) {
            fm_buf_putc(s->out, ' ');
            put(s, cell->outcome);
            if (cell->reason && *cell->reason) fm_buf_puts(s->out, ": "), put(s, cell->reason);
            for (size_t k = 0; k < s->keys.count; k++) {
                const char *value = fm_keys_value(&s->keys, k, cell);
                if (!s->keys.key[k].varies || !value) continue;
                fm_buf_puts(s->out, " · "), put(s, s->keys.key[k].name);
                fm_buf_putc(s->out, ' '), put(s, value);
            }
        }
        cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(planned, "breakdown")) {
            int64_t bytes = 0;
            if (!fm_json_i64(fm_json_object(planned, "breakdown"), part->string, &bytes) || bytes <= 0) continue;
            fm_buf_puts(s->out, between);
            put(s, part->string);
            fm_buf_printf(s->out, " %.1f MiB", (double)bytes / (1024.0 * 1024));
            between = ", ";
        }
        fm_buf_putc(s->out, '\n');
        int64_t pytorch_bytes, own_bytes;
        if (fm_json_i64(planned, "pytorch_flash_temporaries_bytes", &pytorch_bytes)) {
            begin_note(s);
            fm_buf_printf(s->out, "cell %.*s: flash attention's backward would hold %.1f MiB of temporaries in PyTorch's kernel, which no "
                          "figure here counts", ID_CHARS, cell->id, (double)pytorch_bytes / (1024.0 * 1024));
            if (fm_json_i64(planned, "flash_workspace_bytes", &own_bytes))
                fm_buf_printf(s->out, "; its workspace here has %.1f MiB", (double)own_bytes / (1024.0 * 1024));
            fm_buf_putc(s->out, '\n');
        }
        if (row && is_timed(cell)) {
            begin_note(s);
            fm_buf_printf(s->out, "cell %.*s: which engine is fastest is known only when they are timed: its peaks are those of the one "
                          "that needs most\n", ID_CHARS, cell->id);
        }
        if (row && does_not_fit(row)) {
            begin_note(s);
            fm_buf_printf(s->out, "cell %.*s: batch %lld does not fit: its peaks are those before the allocation that fails\n", ID_CHARS,
                          cell->id, (long long)row->batch);
        }
    }
}

/* on what calibrated speeds, or their absence, rest: each basis once, with its cells where there are several */
static void put_bases(const struct section *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const char *basis = basis_of(s, s->cell[i]), *other;
        bool all = true, before = false;
        for (size_t k = 0; basis && k < s->count; k++) {
            other = basis_of(s, s->cell[k]);
            bool same = other && strcmp(other, basis) == 0;
            all = all && same;
            before = before || (same && k < i);
        }
        if (!basis || before || strcmp(basis, "bound (uncalibrated)") == 0) continue;
        begin_note(s);
        fm_buf_puts(s->out, "speed");
        for (size_t k = i; !all && k < s->count; k++) {
            other = basis_of(s, s->cell[k]);
            if (other && strcmp(other, basis) == 0) fm_buf_printf(s->out, " %.*s", ID_CHARS, s->result->cells[s->cell[k]].id);
        }
        fm_buf_puts(s->out, ": ");
        put(s, basis);
        fm_buf_putc(s->out, '\n');
    }
}

static void put_again(const struct section *s)
{
    bool any = false;
    for (size_t i = 0; i < s->count; i++) {
        const struct fm_result_cell *cell = &s->result->cells[s->cell[i]];
        if (!cell->reproduce) continue;
        if (!any) fm_buf_puts(s->out, s->form.markdown ? "\nAgain:\n\n" : "  again:\n");
        any = true;
        fm_buf_printf(s->out, "    %.*s  ", ID_CHARS, cell->id);
        fm_put_plain(s->out, cell->reproduce);
        fm_buf_putc(s->out, '\n');
    }
}

static void put_section(struct section *s)
{
    const struct fm_result_cell *cell = &s->result->cells[s->cell[0]];
    fm_keys_of(s->result, s->cell, s->count, &s->keys);
    fm_buf_puts(s->out, s->form.markdown ? "\n## " : "\n");
    put(s, cell->workload);
    fm_buf_puts(s->out, s->form.markdown ? " on " : "  on  ");
    put_device(s, cell->device);
    put_shared(s);
    put_grid(s);
    put_notes(s);
    put_bases(s);
    if (s->form.again) put_again(s);
}

static bool together(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    return strcmp(a->device, b->device) == 0 && strcmp(a->workload, b->workload) == 0;
}

fm_status fm_plan_table(const struct fm_result *result, struct fm_plan_form form, struct fm_buf *out, struct fm_err *err)
{
    size_t *index = fm_calloc(result->cell_count ? result->cell_count : 1, sizeof *index);
    if (!index) return FM_FAIL(err, FM_NOMEM, "the table");
    if (form.markdown) fm_buf_puts(out, "# fillmark "), fm_put_markdown(out, result->tool ? result->tool : ""), fm_buf_puts(out, "\n\n");
    fm_buf_puts(out, "planned, nothing was run; peaks at the planned batch\n");
    for (size_t i = 0; i < result->cell_count; i++) {
        struct section s = { .result = result, .out = out, .form = form, .cell = index };
        bool begun = false;
        for (size_t j = 0; j < result->cell_count; j++) {
            if (!together(&result->cells[i], &result->cells[j])) continue;
            begun = begun || j < i;
            index[s.count++] = j;
        }
        if (!begun) put_section(&s);
    }
    bool bounded = false, calibrated = false;
    for (size_t i = 0; i < result->row_count; i++) {
        bounded = bounded || !isnan(bound_of(&result->rows[i]));
        calibrated = calibrated || !isnan(calibrated_of(&result->rows[i]));
    }
    if (bounded)
        fm_buf_puts(out, "\nbound: at most so fast, by the table's peak rates and bandwidth alone (a roofline over the step's kernels, "
                         "efficiency 1); no prediction\n");
    if (calibrated)
        fm_buf_puts(out, "calibrated: planned as well, by the share of the bound that kernels of each kind reached in a measured run; "
                         "nothing was run at these batches\n");
    fm_free(index);
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "the table");
}
