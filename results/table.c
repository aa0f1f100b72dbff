#include "results/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results/grid.h"
#include "results/json.h"
#include "results/keys.h"
#include "results/numbers.h"
#include "results/plan_table.h"
#include "tuner/base/memory.h"

#define SHORT_ID_CHARS 8
#define THROTTLED "†"           /* marks of samples/s */
#define SHARED "‡"
#define FIGURES 9             /* columns after those of keys */

struct table {
    const struct fm_result *result;
    struct fm_buf *out;
    bool markdown;
    struct fm_keys keys;        /* of the section */
    size_t *section, *group;    /* indices of cells */
    size_t section_count, group_count;
    bool several_models;
};

/* ---- lines ---- */

static void put(struct table *t, const char *text)
{
    if (t->markdown) fm_put_markdown(t->out, text);
    else fm_put_plain(t->out, text);
}

static void begin_note(struct table *t)
{
    fm_buf_puts(t->out, t->markdown ? "- " : "  ");
}

static void end_line(struct table *t)
{
    fm_buf_putc(t->out, '\n');
}

/* " · text", without the dot at the start of a line */
static void put_part(struct table *t, const char *before, const char *text, bool *first)
{
    if (!text || !*text) return;
    if (!*first) fm_buf_puts(t->out, " · ");
    *first = false;
    fm_buf_puts(t->out, before);
    put(t, text);
}

static const char *short_id(const struct fm_result_cell *cell, char text[SHORT_ID_CHARS + 1])
{
    size_t n = 0;
    for (; n < SHORT_ID_CHARS && cell->id[n]; n++) text[n] = cell->id[n];
    text[n] = '\0';
    return text;
}

/* what tells a cell from the others of its section; its id if nothing does */
static void put_label(struct table *t, const struct fm_result_cell *cell)
{
    bool first = true;
    for (size_t k = 0; k < t->keys.count; k++) {
        const char *value = fm_keys_value(&t->keys, k, cell);
        if (!t->keys.key[k].varies) continue;
        if (!first) fm_buf_putc(t->out, ' ');
        first = false;
        put(t, t->keys.key[k].name);
        fm_buf_putc(t->out, '=');
        if (value) put(t, value);
        else fm_buf_puts(t->out, FM_UNKNOWN_TEXT);
    }
    char id[SHORT_ID_CHARS + 1];
    if (first) put(t, short_id(cell, id));
}

/* ---- headings ---- */

static void put_device(struct table *t, const char *id)
{
    const cJSON *device = fm_result_device(t->result, id);
    const struct fm_result_cell *cell = &t->result->cells[t->section[0]];
    bool first = true;
    int64_t value;
    put_part(t, "", id, &first);
    put_part(t, "", fm_json_text(device, "name"), &first);
    put_part(t, "", fm_json_text(device, "isa"), &first);
    put_part(t, "", fm_json_text(device, "library"), &first);
    put_part(t, "driver ", fm_json_text(device, "driver"), &first);
    if (fm_json_i64(device, "threads", &value) && value > 0)
        fm_buf_printf(t->out, " · %lld thread%s", (long long)value, value == 1 ? "" : "s");
    if (fm_json_i64(device, "total_bytes", &value)) {
        fm_buf_puts(t->out, " · ");
        fm_put_size(t->out, value);
    }
    if (cell->capacity_bytes >= 0) {
        fm_buf_puts(t->out, " · limit ");
        fm_put_size(t->out, cell->capacity_bytes);
    }
}

/* "input 64x64x64 · base_channels 16": the keys that vary or do not among the section's cells, of one cell */
static void put_values(struct table *t, const struct fm_result_cell *cell, const struct fm_keys *keys, bool varying, bool *first)
{
    for (size_t k = 0; k < keys->count; k++) {
        const char *value = fm_keys_value(keys, k, cell);
        if (keys->key[k].varies != varying || !value) continue;
        if (!*first) fm_buf_puts(t->out, " · ");
        *first = false;
        put(t, keys->key[k].name);
        fm_buf_putc(t->out, ' ');
        put(t, value);
    }
}

static void put_section_head(struct table *t)
{
    const struct fm_result_cell *cell = &t->result->cells[t->section[0]];
    bool first = false;
    fm_buf_puts(t->out, t->markdown ? "\n## " : "\n");
    put(t, cell->workload);
    fm_buf_puts(t->out, t->markdown ? " on " : "  on  ");
    put_device(t, cell->device);
    fm_buf_puts(t->out, t->markdown ? "\n\nAll cells: " : "\n  all cells: ");
    first = true;
    put_values(t, cell, &t->keys, false, &first);
    end_line(t);
}

/* the values that tell this model from the section's others, and its size */
static void put_group_head(struct table *t)
{
    const struct fm_result_cell *cell = &t->result->cells[t->group[0]];
    struct fm_keys own;
    bool first = true;
    fm_keys_of(t->result, t->group, t->group_count, &own);
    for (size_t k = 0; k < own.count; k++)      /* said above already */
        for (size_t s = 0; s < t->keys.count; s++)
            if (t->keys.key[s].strategy == own.key[k].strategy && strcmp(t->keys.key[s].name, own.key[k].name) == 0 &&
                !t->keys.key[s].varies)
                own.key[k].varies = true;
    fm_buf_puts(t->out, t->markdown ? "\n### " : "\n  ");
    if (cell->changes) fm_buf_puts(t->out, t->markdown ? "Changes the model: " : "changes the model: ");
    put_values(t, cell, &own, false, &first);
    if (!first) fm_buf_puts(t->out, " · ");
    fm_put_scaled(t->out, cell->parameters >= 0 ? (double)cell->parameters : NAN, " parameters · ");
    fm_put_scaled(t->out, cell->flops_per_sample, "FLOPs a sample");
    fm_buf_puts(t->out, t->markdown ? "\n\n" : "\n");
}

/* ---- a model's table ---- */

/* a line of the table, and not of "not run" */
static bool is_listed(const struct fm_result_cell *cell)
{
    return cell->rank > 0 || cell->points > 0 || (!cell->planned && cell->max_train > 0);
}

static void put_mark(const struct table *t, const struct fm_result_cell *cell, struct fm_buf *text)
{
    if (cell->front.member) fm_buf_puts(text, "*");
    else if (cell->front.tentative) fm_buf_puts(text, "?");
    if (t->several_models && cell->model_front.member) fm_buf_puts(text, "+");
}

/* 17 where certified, >=17 where nothing above was to be tried, 17? where the search did not end */
static void put_max(const struct fm_result_cell *cell, int64_t batch, struct fm_buf *text)
{
    if (batch >= 0 && cell->limited_by && strcmp(cell->limited_by, "max_batch") == 0) fm_buf_puts(text, "≥");
    fm_put_count(text, batch);
    if (batch >= 0 && !cell->certified) fm_buf_puts(text, "?");
}

static void put_figure(const struct table *t, const struct fm_result_cell *cell, int column, struct fm_buf *text)
{
    const struct fm_result_point *p = cell->knee == FM_NO_POINT ? NULL : &t->result->points[cell->knee];
    static const struct fm_interval unknown = { .point_known = false };
    char id[SHORT_ID_CHARS + 1];
    switch (column) {
    case 0: put_max(cell, cell->max_train, text); break;
    case 1: put_max(cell, cell->max_val, text); break;
    case 2: fm_buf_puts(text, cell->limited_by ? cell->limited_by : FM_UNKNOWN_TEXT); break;
    case 3: fm_put_count(text, p ? p->batch : -1); break;
    case 4:
        fm_put_interval(text, p ? &p->samples_per_s : &unknown);
        if (p && p->throttled_share > 0) fm_buf_puts(text, " " THROTTLED);
        if (p && p->shared == 1) fm_buf_puts(text, " " SHARED);
        break;
    case 5:
        if (isfinite(cell->relative_speed)) fm_buf_printf(text, "%.3f", cell->relative_speed);
        else fm_buf_puts(text, FM_UNKNOWN_TEXT);
        break;
    case 6: fm_put_gib_range(text, p ? p->peak_lo_bytes : -1, p ? p->peak_hi_bytes : -1); break;
    case 7: fm_put_gib_range(text, p ? p->planned_lo_bytes : -1, p ? p->planned_hi_bytes : -1); break;
    default: fm_buf_puts(text, short_id(cell, id)); break;
    }
}

static void grid_columns(const struct fm_keys *keys, struct fm_grid *grid)
{
    static const struct { const char *above, *title; bool right; } after[FIGURES] = {
        { "max batch", "train", true }, { "max batch", "val", true }, { "limited", "by", false }, { "knee", "batch", true },
        { "knee", "samples/s", true }, { "relative", "speed", true }, { "measured", "peak GiB", true },
        { "planned", "peak GiB", true }, { NULL, "cell", false },
    };
    (void)fm_grid_column(grid, NULL, "rank", true);
    (void)fm_grid_column(grid, NULL, "pareto", false);
    for (size_t k = 0; k < keys->count; k++)
        if (keys->key[k].varies && grid->columns + FIGURES < FM_GRID_COLUMNS)
            (void)fm_grid_column(grid, NULL, keys->key[k].name, false);
    for (size_t i = 0; i < FIGURES; i++)
        (void)fm_grid_column(grid, after[i].above, after[i].title, after[i].right);
}

static void grid_line(const struct table *t, const struct fm_keys *keys, const struct fm_result_cell *cell, struct fm_grid *grid)
{
    struct fm_buf text = FM_BUF(4096);
    size_t column = 0, last = grid->columns - FIGURES;
    fm_grid_row(grid);
    fm_put_count(&text, cell->rank ? (int64_t)cell->rank : -1);
    fm_grid_put(grid, column++, fm_buf_text(&text));
    if (!fm_buf_ok(&text)) grid->failed = true;
    fm_buf_clear(&text);
    put_mark(t, cell, &text);
    fm_grid_put(grid, column++, fm_buf_text(&text));
    for (size_t k = 0; k < keys->count && column < last; k++) {
        const char *value = fm_keys_value(keys, k, cell);
        if (keys->key[k].varies) fm_grid_put(grid, column++, value ? value : FM_UNKNOWN_TEXT);
    }
    for (int i = 0; column < grid->columns; i++) {
        if (!fm_buf_ok(&text)) grid->failed = true;
        fm_buf_clear(&text);
        put_figure(t, cell, i, &text);
        fm_grid_put(grid, column++, fm_buf_text(&text));
    }
    if (!fm_buf_ok(&text)) grid->failed = true;
    fm_buf_release(&text);
}

/* the group's cells by rank, those without one last */
static void sort_group(struct table *t)
{
    const struct fm_result_cell *cells = t->result->cells;
    for (size_t i = 1; i < t->group_count; i++)
        for (size_t j = i; j > 0; j--) {
            size_t a = cells[t->group[j - 1]].rank, b = cells[t->group[j]].rank;
            if (b == 0 || (a != 0 && a <= b)) break;
            size_t swap = t->group[j - 1];
            t->group[j - 1] = t->group[j];
            t->group[j] = swap;
        }
}

static void put_group(struct table *t)
{
    struct fm_grid grid = { 0 };
    struct fm_keys keys;
    bool listed = false;
    for (size_t i = 0; i < t->group_count; i++) listed = listed || is_listed(&t->result->cells[t->group[i]]);
    if (!listed) return;
    put_group_head(t);
    sort_group(t);
    fm_keys_of(t->result, t->group, t->group_count, &keys);
    grid_columns(&keys, &grid);
    for (size_t i = 0; i < t->group_count; i++)
        if (is_listed(&t->result->cells[t->group[i]])) grid_line(t, &keys, &t->result->cells[t->group[i]], &grid);
    if (t->markdown) fm_grid_markdown(&grid, t->out);
    else fm_grid_text(&grid, 2, t->out);
    fm_grid_release(&grid);
}

/* ---- what is below the tables ---- */

static const char *why(const struct fm_result_cell *cell)
{
    return cell->reason && *cell->reason ? cell->reason : NULL;
}

static const char *fate(const struct fm_result_cell *cell)
{
    static const struct { const char *outcome, *text; } table[] = {
        { "oom_device", "batch 1 does not fit" }, { "planned", "planned, not run" }, { "skipped", "not run" },
        { "untested", "not begun" },                { "unfinished", "not finished" }, { "ok", "no step was timed" },
    };
    if (strcmp(cell->outcome, "untested") == 0 && cell->suspects) return "not finished";    /* its first probe never ended */
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(cell->outcome, table[i].outcome) == 0) return table[i].text;
    return cell->outcome;
}

static bool same_fate(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    const char *x = why(a), *y = why(b);
    return strcmp(fate(a), fate(b)) == 0 && (x == y || (x && y && strcmp(x, y) == 0));
}

/* cells without a line of the table, those of one outcome and reason together */
static void put_not_run(struct table *t)
{
    const struct fm_result_cell *cells = t->result->cells;
    for (size_t i = 0; i < t->section_count; i++) {
        const struct fm_result_cell *cell = &cells[t->section[i]];
        bool said = is_listed(cell);
        for (size_t j = 0; j < i && !said; j++) said = !is_listed(&cells[t->section[j]]) && same_fate(&cells[t->section[j]], cell);
        if (said) continue;
        begin_note(t);
        put(t, fate(cell));
        if (why(cell)) {
            fm_buf_puts(t->out, " (");
            put(t, why(cell));
            fm_buf_putc(t->out, ')');
        }
        for (size_t j = i, n = 0; j < t->section_count; j++) {
            const struct fm_result_cell *other = &cells[t->section[j]];
            if (is_listed(other) || !same_fate(cell, other)) continue;
            fm_buf_puts(t->out, n++ ? "; " : ": ");
            put_label(t, other);
            if (other->planned && other->max_train >= 0)
                fm_buf_printf(t->out, " planned max batch %lld", (long long)other->max_train);
        }
        end_line(t);
    }
}

static void put_doubt(struct table *t, const struct fm_result_cell *cell, const char *text)
{
    char id[SHORT_ID_CHARS + 1];
    begin_note(t);
    fm_buf_printf(t->out, "cell %s: ", short_id(cell, id));
    put(t, text);
    end_line(t);
}

static void put_left_out(struct table *t, size_t cell)
{
    struct fm_buf text = FM_BUF(1 << 16);
    fm_result_put_left_out(t->result, cell, &text);
    if (!fm_buf_ok(&text)) t->out->failed = true;
    else if (text.bytes) put_doubt(t, &t->result->cells[cell], fm_buf_text(&text));
    fm_buf_release(&text);
}

static void put_doubts(struct table *t)
{
    for (size_t i = 0; i < t->section_count; i++) {
        const struct fm_result_cell *cell = &t->result->cells[t->section[i]];
        if (cell->mistrusted) {
            char text[120];
            (void)snprintf(text, sizeof text, "mistrusted: %s", fm_result_mistrust(cell));
            put_doubt(t, cell, text);
        }
        if (cell->non_monotone)
            put_doubt(t, cell, "memory does not only grow with the batch: a smaller one than the max batch may not fit");
        /* a boundary that was left out is named below */
        bool cut = cell->skipped && why(cell) && strcmp(cell->skipped, why(cell)) == 0;
        if (is_listed(cell) && cell->verdict && !cell->certified && !cut)
            put_doubt(t, cell, why(cell) ? why(cell) : "its max batch is not certified");
        if (is_listed(cell)) put_left_out(t, t->section[i]);
        if (cell->suspects)
            put_doubt(t, cell, t->result->complete ? "fillmark ended while a probe of it ran, which was not tried again"
                                                   : "fillmark ended while a probe of it ran; --resume goes on with it");
    }
}

static bool in_section(const struct table *t, size_t cell)
{
    for (size_t i = 0; i < t->section_count; i++)
        if (t->section[i] == cell) return true;
    return false;
}

/* why a row gives no figure of speed, though it was to; NULL: it was not to, or it does */
static const char *no_time(const struct fm_result_row *row)
{
    if (row->superseded || row->val) return NULL;
    if (row->untimed) return row->untimed;
    return row->timed_steps && row->throttled_steps == row->timed_steps ? "every timed step was throttled: heat or power" : NULL;
}

/* launches that were to be timed and gave no time, those of one reason together */
static void put_untimed(struct table *t)
{
    const struct fm_result *r = t->result;
    for (size_t i = 0; i < r->row_count; i++) {
        const char *reason = in_section(t, r->rows[i].cell) ? no_time(&r->rows[i]) : NULL;
        size_t launches = 0;
        bool said = !reason;
        for (size_t j = 0; j < r->row_count && !said; j++) {
            const char *other = in_section(t, r->rows[j].cell) ? no_time(&r->rows[j]) : NULL;
            bool same = other && strcmp(other, reason) == 0;
            said = same && j < i;
            launches += same;
        }
        if (said) continue;
        begin_note(t);
        fm_buf_printf(t->out, "%zu launch%s without a time: ", launches, launches == 1 ? "" : "es");
        put(t, reason);
        end_line(t);
    }
}

static void put_bugs(struct table *t)
{
    for (size_t i = 0; i < t->result->row_count; i++) {
        const struct fm_result_row *row = &t->result->rows[i];
        const struct fm_result_cell *cell = &t->result->cells[row->cell];
        const char *what;
        int64_t planned, counted;
        char id[SHORT_ID_CHARS + 1];
        if (!in_section(t, row->cell) || row->superseded || !fm_result_differs(t->result, row, &what, &planned, &counted)) continue;
        begin_note(t);
        fm_buf_printf(t->out, "cell %s, batch %lld, %s: planned and counted memory differ by %lld bytes (%s: planned %lld, "
                      "counted %lld): this is a bug\n", short_id(cell, id), (long long)(row->val ? row->val_batch : row->batch),
                      row->val ? "val" : "train", (long long)(planned > counted ? planned - counted : counted - planned), what,
                      (long long)planned, (long long)counted);
    }
}

static void put_again(struct table *t)
{
    bool any = false;
    for (size_t i = 0; i < t->section_count; i++) {
        const struct fm_result_cell *cell = &t->result->cells[t->section[i]];
        char id[SHORT_ID_CHARS + 1];
        if (!cell->reproduce) continue;
        if (!any) fm_buf_puts(t->out, t->markdown ? "\nAgain:\n\n" : "  again:\n");
        any = true;
        fm_buf_printf(t->out, "    %s  ", short_id(cell, id));
        fm_put_plain(t->out, cell->reproduce);      /* an indented block is Markdown's for text as it is */
        end_line(t);
    }
}

/* ---- sections ---- */

static bool same_section(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    return strcmp(a->device, b->device) == 0 && strcmp(a->workload, b->workload) == 0;
}

/* the section's cells of the model of its i-th cell; 0 if one before it has that model */
static size_t take_group(struct table *t, size_t i)
{
    const struct fm_result_cell *cells = t->result->cells;
    t->group_count = 0;
    for (size_t j = 0; j < t->section_count; j++) {
        if (strcmp(cells[t->section[i]].model_id, cells[t->section[j]].model_id) != 0) continue;
        if (j < i) return 0;
        t->group[t->group_count++] = t->section[j];
    }
    return t->group_count;
}

static void put_section(struct table *t)
{
    const struct fm_result_cell *cells = t->result->cells;
    size_t start;
    fm_keys_of(t->result, t->section, t->section_count, &t->keys);
    t->several_models = false;
    for (size_t i = 1; i < t->section_count; i++)
        t->several_models = t->several_models || strcmp(cells[t->section[0]].model_id, cells[t->section[i]].model_id) != 0;
    put_section_head(t);
    for (int changes = 0; changes < 2; changes++)
        for (size_t i = 0; i < t->section_count; i++)
            if (cells[t->section[i]].changes == (changes == 1) && take_group(t, i)) put_group(t);
    start = t->out->bytes;
    if (t->markdown) end_line(t);
    put_not_run(t);
    put_doubts(t);
    put_untimed(t);
    put_bugs(t);
    if (t->markdown && fm_buf_ok(t->out) && t->out->bytes == start + 1) t->out->data[--t->out->bytes] = '\0';
    put_again(t);
}

static void put_head(struct table *t)
{
    const struct fm_result *r = t->result;
    bool first = true;
    if (t->markdown) fm_buf_puts(t->out, "# ");
    put_part(t, "fillmark ", r->tool, &first);
    put_part(t, "", fm_json_text(r->run, "started"), &first);
    put_part(t, "", fm_json_text(r->run, "host"), &first);
    put_part(t, "seed ", fm_json_text(r->run, "seed"), &first);
    end_line(t);
    if (!r->complete) fm_buf_puts(t->out, t->markdown ? "\nThis run did not end; `--resume` goes on with it.\n"
                                                      : "this run did not end; --resume goes on with it\n");
}

/* of marks that are in the tables */
static void put_marks(struct table *t)
{
    bool throttled = false, shared = false;
    for (size_t i = 0; i < t->result->cell_count; i++) {
        const struct fm_result_cell *cell = &t->result->cells[i];
        if (cell->knee == FM_NO_POINT) continue;
        throttled = throttled || t->result->points[cell->knee].throttled_share > 0;
        shared = shared || t->result->points[cell->knee].shared == 1;
    }
    if (!throttled && !shared) return;
    fm_buf_puts(t->out, t->markdown ? "\nSamples/s: " : "samples/s: ");
    if (throttled) fm_buf_puts(t->out, THROTTLED " heat or power throttled some steps, which are left out");
    if (shared) fm_buf_printf(t->out, "%s" SHARED " others used the device meanwhile", throttled ? ", " : "");
    fm_buf_puts(t->out, t->markdown ? ".\n" : "\n");
}

static void put_foot(struct table *t)
{
    const struct fm_result *r = t->result;
    end_line(t);
    if (r->wall_ns >= 0) {
        fm_buf_puts(t->out, t->markdown ? "Time: " : "time: ");
        fm_put_duration(t->out, r->wall_ns);
        fm_buf_puts(t->out, ", in training and validation steps ");
        fm_put_duration(t->out, r->measured_ns);
        if (r->overhead_ns >= 0 && r->wall_ns > 0)
            fm_buf_printf(t->out, ", other %.1f %%", 100 * (double)r->overhead_ns / (double)r->wall_ns);
        fm_buf_puts(t->out, t->markdown ? ".\n\n" : "\n");
    }
    if (t->markdown) {
        fm_buf_puts(t->out,
                    "Peaks are reserved bytes, the larger of training and validation, at the knee: the smallest batch within 5 % "
                    "of the cell's best samples/s (median, 95 % interval over launches). Pareto: \\* on the front of its model, "
                    "? perhaps, an interval is missing, + on the front across models. Max batch: ? not certified, ≥ limited by "
                    "`--max-batch`. " FM_UNKNOWN_TEXT " is not known.\n");
    } else {
        fm_buf_puts(t->out, "pareto: * on the front of its model, ? perhaps (an interval is missing), + on the front across models\n"
                            "knee: smallest batch within 5 % of the best samples/s (median, 95 % interval over launches)\n"
                            "peak: reserved, the larger of training and validation, at the knee; max batch: ? not certified, "
                            "≥ limited by --max-batch\n");
    }
    put_marks(t);
}

static fm_status put_table(const struct fm_result *result, bool markdown, struct fm_buf *out, struct fm_err *err)
{
    if (fm_result_is_plan(result)) return fm_plan_table(result, (struct fm_plan_form){ .markdown = markdown, .again = true }, out, err);
    struct table *t = fm_calloc(1, sizeof *t);
    size_t *indices = fm_calloc(2 * result->cell_count, sizeof *indices);
    if (!t || !indices) {
        out->failed = true;
        goto out;
    }
    *t = (struct table){ .result = result, .out = out, .markdown = markdown, .section = indices,
                         .group = indices + result->cell_count };
    put_head(t);
    for (size_t i = 0; i < result->cell_count; i++) {
        bool begun = false;
        t->section_count = 0;
        for (size_t j = 0; j < result->cell_count; j++) {
            if (!same_section(&result->cells[i], &result->cells[j])) continue;
            begun = begun || j < i;
            t->section[t->section_count++] = j;
        }
        if (!begun) put_section(t);
    }
    put_foot(t);
out:
    fm_free(indices);
    fm_free(t);
    if (fm_buf_ok(out)) return FM_OK;
    return FM_FAIL(err, FM_NOMEM, "a table of more than %zu bytes, or no memory", out->max_bytes);
}

fm_status fm_table_text(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    return put_table(result, false, out, err);
}

fm_status fm_table_markdown(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    return put_table(result, true, out, err);
}
