#include "results/compare.h"

#include <math.h>
#include <string.h>

#include "results/grid.h"
#include "results/json.h"
#include "results/keys.h"
#include "results/numbers.h"

/* ---- text ---- */

static void put_figure(struct fm_buf *out, const struct fm_compared *row, double value)
{
    if (strcmp(row->what, "samples/s") == 0) fm_put_f64(out, value);
    else if (strcmp(row->what, "peak") == 0) fm_put_gib(out, isnan(value) ? -1 : (int64_t)value);
    else fm_put_count(out, isnan(value) ? -1 : (int64_t)value);
}

static void put_what(struct fm_buf *out, const struct fm_compared *row)
{
    fm_buf_puts(out, row->what);
    if (strcmp(row->what, "peak") == 0) fm_buf_puts(out, " GiB");
    if (row->batch >= 0) fm_buf_printf(out, " at batch %lld", (long long)row->batch);
}

#define CELLS_MAX 1024

/* "05936945 segformer precision=bf16": id, workload, and what tells the cell from the workload's others */
static void put_cell(struct fm_buf *out, const struct fm_result *result, const struct fm_result_cell *cell)
{
    size_t cells[CELLS_MAX] = { 0 }, n = 0;
    struct fm_keys keys;
    for (size_t i = 0; i < result->cell_count && n < CELLS_MAX; i++)
        if (strcmp(result->cells[i].workload, cell->workload) == 0) cells[n++] = i;
    fm_keys_of(result, cells, n, &keys);
    fm_buf_printf(out, "%.8s ", cell->id);
    fm_put_plain(out, cell->workload);
    for (size_t k = 0; k < keys.count; k++) {
        const char *value = fm_keys_value(&keys, k, cell);
        if (!keys.key[k].varies || !value) continue;
        fm_buf_printf(out, " %s=", keys.key[k].name);
        fm_put_plain(out, value);
    }
}

static void put_text(struct fm_grid *grid, size_t column, struct fm_buf *text)
{
    if (fm_buf_ok(text)) fm_grid_put(grid, column, fm_buf_text(text));
    else grid->failed = true;
    fm_buf_release(text);
}

static void put_ratio(struct fm_buf *out, const struct fm_compared *row)
{
    if (row->ratio.interval_known)
        fm_buf_printf(out, "%+.1f %% (%+.1f ... %+.1f)", 100 * (row->ratio.point - 1), 100 * (row->ratio.lo - 1), 100 * (row->ratio.hi - 1));
    else if (row->was > 0 && isfinite(row->is))
        fm_buf_printf(out, "%+.1f %%", 100 * (row->is / row->was - 1));
}

static void add_row(struct fm_grid *grid, const struct fm_result *base, const struct fm_compared *row)
{
    struct fm_buf text[6];
    for (size_t i = 0; i < 6; i++) text[i] = FM_BUF(4096);
    put_cell(&text[0], base, row->base);
    put_what(&text[1], row);
    put_figure(&text[2], row, row->was);
    put_figure(&text[3], row, row->is);
    put_ratio(&text[4], row);
    fm_buf_puts(&text[5], row->note);
    fm_grid_row(grid);
    fm_grid_put(grid, 0, row->base->device);
    for (size_t i = 0; i < 6; i++) put_text(grid, i + 1, &text[i]);
}

static fm_status put_changes(const struct fm_comparison *c, enum fm_change change, struct fm_buf *out, struct fm_err *err)
{
    static const char *const title[] = { "device", "cell", "figure", "was", "is", "change", "" };
    struct fm_grid grid = { 0 };
    bool any = false;
    for (size_t i = 0; i < sizeof title / sizeof *title; i++) (void)fm_grid_column(&grid, NULL, title[i], i == 3 || i == 4);
    for (size_t i = 0; i < c->count; i++) {
        if (c->item[i].change != change) continue;
        add_row(&grid, c->base, &c->item[i]);
        any = true;
    }
    if (any) {
        fm_buf_printf(out, "%s\n", fm_change_name(change));
        fm_grid_text(&grid, 2, out);
        fm_buf_putc(out, '\n');
    }
    bool failed = grid.failed;
    fm_grid_release(&grid);
    return failed ? FM_FAIL(err, FM_NOMEM, "the comparison's table") : FM_OK;
}

fm_status fm_comparison_text(const struct fm_comparison *c, struct fm_buf *out, struct fm_err *err)
{
    static const enum fm_change order[] = { FM_CHANGE_WORSE, FM_CHANGE_UNDECIDED, FM_CHANGE_INCOMPARABLE, FM_CHANGE_BETTER };
    fm_status status = FM_OK;
    for (size_t i = 0; i < c->differences; i++) fm_buf_printf(out, "changed: %s\n", c->difference[i]);
    if (c->differences) fm_buf_putc(out, '\n');
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) FM_TRY(put_changes(c, order[i], out, err));
    fm_buf_printf(out, "%s: %zu figures compared, %u worse, %u undecided, %u better, %u not comparable", fm_change_name(c->change),
                  c->count - c->incomparable, c->worse, c->undecided, c->better, c->incomparable);
    fm_buf_printf(out, " (tolerated: %g %% slower, %g %% more memory)\n", 100 * c->limits.max_slowdown, 100 * c->limits.max_memory_growth);
    size_t assumed = 0, tested = 0;
    for (size_t i = 0; i < c->count; i++) {
        tested += !isnan(c->item[i].p);
        assumed += c->item[i].night_assumed;
    }
    if (assumed)
        fm_buf_printf(out, "of %zu of %zu samples/s it is not known how much they move from night to night: %g %% is assumed\n", assumed, tested,
                      100 * FM_NIGHT_ERROR_ASSUMED);
    if (!fm_buf_ok(out)) status = FM_FAIL(err, FM_NOMEM, "the comparison's text");
out:
    return status;
}

/* ---- JSON ---- */

static bool put_number(cJSON *o, const char *key, double value)
{
    return fm_json_put(o, key, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static cJSON *row_json(const struct fm_compared *row)
{
    cJSON *o = cJSON_CreateObject();
    bool good = o && fm_json_put(o, "device", cJSON_CreateString(row->base->device)) &&
                fm_json_put(o, "workload", cJSON_CreateString(row->base->workload)) &&
                fm_json_put(o, "cell", cJSON_CreateString(row->base->id)) && fm_json_put(o, "figure", cJSON_CreateString(row->what)) &&
                fm_json_put(o, "batch", row->batch < 0 ? cJSON_CreateNull() : fm_json_new_i64(row->batch)) &&
                put_number(o, "was", row->was) && put_number(o, "is", row->is) &&
                put_number(o, "ratio", row->ratio.point_known ? row->ratio.point : NAN) &&
                put_number(o, "ratio_lo", row->ratio.interval_known ? row->ratio.lo : NAN) &&
                put_number(o, "ratio_hi", row->ratio.interval_known ? row->ratio.hi : NAN) && put_number(o, "night_error", row->night_error) &&
                fm_json_put(o, "night_error_assumed", isnan(row->night_error) ? cJSON_CreateNull() : cJSON_CreateBool(row->night_assumed)) &&
                put_number(o, "p", row->p) &&
                fm_json_put(o, "change", cJSON_CreateString(fm_change_name(row->change))) &&
                fm_json_put(o, "note", cJSON_CreateString(row->note));
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}

fm_status fm_comparison_json(const struct fm_comparison *c, struct fm_buf *out, struct fm_err *err)
{
    cJSON *o = cJSON_CreateObject(), *changed = cJSON_CreateArray(), *rows = cJSON_CreateArray();
    fm_status status = FM_OK;
    bool good = o && changed && rows;
    for (size_t i = 0; good && i < c->differences; i++) good = fm_json_push(changed, cJSON_CreateString(c->difference[i]));
    for (size_t i = 0; good && i < c->count; i++) good = fm_json_push(rows, row_json(&c->item[i]));
    good = good && fm_json_put(o, "schema", cJSON_CreateString("fillmark.comparison/1")) &&
           fm_json_put(o, "change", cJSON_CreateString(fm_change_name(c->change))) &&
           put_number(o, "max_slowdown", c->limits.max_slowdown) && put_number(o, "max_memory_growth", c->limits.max_memory_growth);
    if (good) {
        good = fm_json_put(o, "changed", changed);
        changed = NULL;
    }
    if (good) {
        good = fm_json_put(o, "figures", rows);
        rows = NULL;
    }
    status = good ? fm_json_print(o, out, err) : FM_FAIL(err, FM_NOMEM, "the comparison's JSON");
    cJSON_Delete(changed);
    cJSON_Delete(rows);
    cJSON_Delete(o);
    return status;
}
