#include "results/report_svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results/json.h"
#include "results/keys.h"
#include "results/numbers.h"
#include "results/xml.h"
#include "tuner/base/memory.h"

/* all in pixels of a drawing that is as wide as a README */
#define WIDTH 960.0
#define GAP 24.0
#define LEFT 62.0
#define RIGHT 14.0
#define PLOT_HEIGHT 250.0
#define AXIS_HEIGHT 44.0
#define STRIP_HEIGHT 34.0
#define LINE_HEIGHT 18.0
#define HEAD_HEIGHT 34.0
#define PANEL_HEAD 26.0
#define COLOURS 8               /* cells beyond these are grey */
#define LABEL_BYTES 76

/* a section: cells of one device and workload; a panel: those whose model is changed, or is not */
struct chart {
    const struct fm_result *result;
    struct fm_buf *out;
    size_t *section, *series;   /* indices of cells; of series the first, the best ranked, of each train_id */
    size_t section_count, series_count;
    struct fm_keys keys;        /* of the panel's series */
    double x_max, y_max;        /* bytes, samples/s; 0: nothing to show */
    double left, top, width, height;
    bool has_plans, changes;
};

static const char style[] =
    "<style>\n"
    "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#334155}\n"
    ".bg{fill:#fff}.h{font-size:16px;font-weight:600;fill:#0f172a}.p{font-weight:600;fill:#0f172a}.e{text-anchor:end}"
    ".m{text-anchor:middle}.n{font-weight:700;font-size:11px}\n"
    ".grid{stroke:#e2e8f0}.axis{stroke:#64748b}.limit{stroke:#64748b;stroke-dasharray:2 4}\n"
    ".pt,.plan,.bar,.front{stroke:currentColor;stroke-width:1.5}.pt{fill:currentColor}.plan,.front{fill:none}"
    ".bar{opacity:.6}.bound{stroke:currentColor;opacity:.22}.front{stroke-width:2.5}.other .front{stroke-dasharray:6 4}\n"
    ".n{fill:currentColor}\n"
    ".s0{color:#0b62a8}.s1{color:#b93c0a}.s2{color:#0f766e}.s3{color:#a21caf}.s4{color:#7c5e10}.s5{color:#4338ca}"
    ".s6{color:#15803d}.s7{color:#9f1239}.s8{color:#64748b}.line{color:#475569}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#cbd5e1}.bg{fill:#0f172a}.h,.p{fill:#f1f5f9}.grid{stroke:#273449}.axis,.limit{stroke:#94a3b8}.n{fill:currentColor}\n"
    ".s0{color:#60a5fa}.s1{color:#fb923c}.s2{color:#2dd4bf}.s3{color:#e879f9}.s4{color:#eab308}.s5{color:#a5b4fc}"
    ".s6{color:#4ade80}.s7{color:#fb7185}.s8{color:#94a3b8}.line{color:#94a3b8}}\n"
    "</style>\n";

/* ---- cells ---- */

static bool same_section(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    return strcmp(a->device, b->device) == 0 && strcmp(a->workload, b->workload) == 0;
}

/* the plan of a row that was not run; false if it does not fit or is not known */
static bool planned_row(const struct fm_result_row *row)
{
    return row->outcome == FM_OUTCOME_planned && !row->superseded && row->planned.known && row->planned.reserved_bytes >= 0 &&
           !cJSON_IsFalse(fm_json_get(fm_json_object(row->record, "planned"), "fits"));
}

static bool has_plan(const struct chart *c, size_t cell)
{
    for (size_t i = 0; i < c->result->row_count; i++)
        if (c->result->rows[i].cell == cell && planned_row(&c->result->rows[i])) return true;
    return false;
}

static double rate_hi(const struct fm_result_point *p)
{
    return p->samples_per_s.interval_known ? p->samples_per_s.hi : p->samples_per_s.point;
}

/* the scales of a section, which both of its panels share */
static void set_scales(struct chart *c)
{
    int64_t most = 0;
    c->y_max = 0;
    c->has_plans = false;
    for (size_t i = 0; i < c->section_count; i++) {
        const struct fm_result_cell *cell = &c->result->cells[c->section[i]];
        for (size_t k = cell->first_point; k < cell->first_point + cell->points; k++) {
            const struct fm_result_point *p = &c->result->points[k];
            int64_t bytes = p->peak_hi_bytes > p->planned_peak_bytes ? p->peak_hi_bytes : p->planned_peak_bytes;
            if (bytes > most) most = bytes;
            if (bytes >= 0 && rate_hi(p) > c->y_max) c->y_max = rate_hi(p);
        }
    }
    for (size_t i = 0; i < c->result->row_count; i++) {
        const struct fm_result_row *row = &c->result->rows[i];
        if (!planned_row(row) || !same_section(&c->result->cells[row->cell], &c->result->cells[c->section[0]])) continue;
        c->has_plans = true;
        if (row->planned.reserved_bytes > most) most = row->planned.reserved_bytes;
    }
    c->x_max = 1.04 * (double)most;
    c->y_max *= 1.06;
}

static bool before(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    return a->rank && (!b->rank || a->rank < b->rank);
}

/* one series a train_id, by rank: cells that differ only in validation share points and a colour */
static void set_series(struct chart *c)
{
    const struct fm_result_cell *cells = c->result->cells;
    c->series_count = 0;
    for (size_t i = 0; i < c->section_count; i++) {
        size_t cell = c->section[i], k = 0, at = 0;
        if (cells[cell].changes != c->changes || (!cells[cell].points && !has_plan(c, cell))) continue;
        for (; k < c->series_count && strcmp(cells[c->series[k]].train_id, cells[cell].train_id) != 0; k++) { }
        if (k < c->series_count) continue;
        for (at = c->series_count++; at > 0 && before(&cells[cell], &cells[c->series[at - 1]]); at--) c->series[at] = c->series[at - 1];
        c->series[at] = cell;
    }
    fm_keys_of(c->result, c->series, c->series_count, &c->keys);
}

static size_t colour_of(const struct chart *c, const struct fm_result_cell *cell)
{
    for (size_t k = 0; k < c->series_count && k < COLOURS; k++)
        if (strcmp(c->result->cells[c->series[k]].train_id, cell->train_id) == 0) return k;
    return COLOURS;
}

/* ---- texts ---- */

static void label_of(const struct chart *c, const struct fm_result_cell *cell, struct fm_buf *out)
{
    for (size_t k = 0; k < c->keys.count; k++) {
        const char *value = fm_keys_value(&c->keys, k, cell);
        if (!c->keys.key[k].varies) continue;
        fm_buf_printf(out, "%s%s %s", out->bytes ? " · " : "", c->keys.key[k].name, value ? value : "–");
    }
    if (!out->bytes) fm_buf_printf(out, "cell %.8s", cell->id);
}

/* cut at a character, where it is too long for its place */
static void put_short(struct chart *c, const char *text)
{
    char cut[LABEL_BYTES + 8];
    size_t bytes = strlen(text);
    if (bytes <= LABEL_BYTES) {
        fm_put_xml(c->out, text);
        return;
    }
    for (bytes = LABEL_BYTES; bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80; bytes--) { }
    memcpy(cut, text, bytes);
    memcpy(cut + bytes, "…", sizeof "…");
    fm_put_xml(c->out, cut);
}

/* "checkpoint none, batch 4: 0.141–0.248 GiB measured, 84.92 ± 1.20 samples/s, on the front" */
static void put_title(struct chart *c, const struct fm_result_cell *cell, const struct fm_result_point *p, bool planned)
{
    struct fm_buf text = FM_BUF(1 << 16);
    label_of(c, cell, &text);
    fm_buf_printf(&text, ", batch %lld: ", (long long)p->batch);
    if (planned) fm_put_gib(&text, p->planned_peak_bytes);
    else fm_put_gib_range(&text, p->peak_lo_bytes, p->peak_hi_bytes);
    fm_buf_printf(&text, " GiB %s, ", planned ? "planned" : "measured");
    fm_put_interval(&text, &p->samples_per_s);
    fm_buf_printf(&text, " samples/s%s%s", p->front.member ? ", on the front" : "", cell->mistrusted ? ", mistrusted" : "");
    fm_buf_puts(c->out, "<title>");
    fm_put_xml(c->out, fm_buf_text(&text));
    fm_buf_puts(c->out, "</title>");
    if (!fm_buf_ok(&text)) c->out->failed = true;
    fm_buf_release(&text);
}

/* ---- a plot ---- */

static double x_of(const struct chart *c, double bytes) { return c->left + c->width * bytes / c->x_max; }
static double y_of(const struct chart *c, double rate) { return c->top + c->height - c->height * rate / c->y_max; }

/* 1, 2 or 5 times a power of ten: about `count` of them in `range` */
static double step_of(double range, int count)
{
    double rough = range / count, power = pow(10, floor(log10(rough))), m = rough / power;
    return power * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

static void put_x_axis(struct chart *c)
{
    bool mib = c->x_max < 0x1p30;
    double unit = mib ? 0x1p20 : 0x1p30, step = step_of(c->x_max / unit, 6), bottom = c->top + c->height;
    for (int i = 0; i * step * unit <= c->x_max; i++) {
        double x = x_of(c, i * step * unit);
        fm_buf_printf(c->out, "<path class=\"grid\" d=\"M%.2f %.2fV%.2f\"/><text class=\"m\" x=\"%.2f\" y=\"%.2f\">%g</text>\n", x, c->top,
                      bottom, x, bottom + 16, i * step);
    }
    fm_buf_printf(c->out, "<path class=\"axis\" d=\"M%.2f %.2fH%.2f\"/><text class=\"e\" x=\"%.2f\" y=\"%.2f\">peak memory, %s</text>\n",
                  c->left, bottom, c->left + c->width, c->left + c->width, bottom + 34, mib ? "MiB" : "GiB");
}

static void put_y_axis(struct chart *c)
{
    double step = step_of(c->y_max, 5);
    for (int i = 0; i * step <= c->y_max; i++) {
        double y = y_of(c, i * step);
        fm_buf_printf(c->out, "<path class=\"grid\" d=\"M%.2f %.2fH%.2f\"/><text class=\"e\" x=\"%.2f\" y=\"%.2f\">%g</text>\n", c->left, y,
                      c->left + c->width, c->left - 6, y + 4, i * step);
    }
    fm_buf_printf(c->out, "<text x=\"%.2f\" y=\"%.2f\">samples/s</text>\n", c->left + 4, c->top + 12);
}

static void put_limit(struct chart *c)
{
    int64_t bytes = c->result->cells[c->section[0]].capacity_bytes;
    for (size_t i = 1; i < c->section_count; i++)
        if (c->result->cells[c->section[i]].capacity_bytes != bytes) return;
    if (bytes <= 0 || (double)bytes > c->x_max) return;
    fm_buf_printf(c->out, "<path class=\"limit\" d=\"M%.2f %.2fV%.2f\"><title>limit</title></path>\n", x_of(c, (double)bytes), c->top,
                  c->top + c->height);
}

struct corner { double bytes, rate; };

static int by_bytes(const void *a, const void *b)
{
    const struct corner *x = a, *y = b;
    if (x->bytes < y->bytes || x->bytes > y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return x->rate < y->rate ? -1 : x->rate > y->rate;
}

/* the front of the model of a cell */
static void put_front(struct chart *c, const char *model_id, struct corner *corners)
{
    size_t n = 0;
    double best = 0;
    for (size_t i = 0; i < c->section_count; i++) {
        const struct fm_result_cell *cell = &c->result->cells[c->section[i]];
        if (cell->changes != c->changes || strcmp(cell->model_id, model_id) != 0) continue;
        for (size_t k = cell->first_point; k < cell->first_point + cell->points; k++) {
            const struct fm_result_point *p = &c->result->points[k];
            if (p->front.member && p->peak_lo_bytes >= 0)
                corners[n++] = (struct corner){ (double)p->peak_lo_bytes, p->samples_per_s.point };
        }
    }
    if (!n) return;
    qsort(corners, n, sizeof *corners, by_bytes);
    fm_buf_puts(c->out, "<path class=\"front line\" d=\"");
    for (size_t i = 0; i < n; i++) {
        if (corners[i].rate <= best) continue;
        if (best <= 0) fm_buf_printf(c->out, "M%.2f %.2f", x_of(c, corners[i].bytes), y_of(c, corners[i].rate));
        else fm_buf_printf(c->out, "H%.2fV%.2f", x_of(c, corners[i].bytes), y_of(c, corners[i].rate));
        best = corners[i].rate;
    }
    fm_buf_puts(c->out, "\"><title>front</title></path>\n");
}

static void put_fronts(struct chart *c)
{
    struct corner *corners = fm_calloc(c->result->point_count + 1, sizeof *corners);
    if (!corners) c->out->failed = true;
    for (size_t i = 0; i < c->series_count && corners; i++) {
        const char *model = c->result->cells[c->series[i]].model_id;
        bool drawn = false;
        for (size_t k = 0; k < i; k++) drawn = drawn || strcmp(model, c->result->cells[c->series[k]].model_id) == 0;
        if (!drawn) put_front(c, model, corners);
    }
    fm_free(corners);
}

/* a circle; a diamond for a changed model: colour is never the only mark */
static void put_mark(struct chart *c, const char *class, double x, double y, double r)
{
    if (c->changes)
        fm_buf_printf(c->out, "<path class=\"%s\" d=\"M%.2f %.2fl%.2f %.2fl%.2f %.2fl%.2f %.2fz\"", class, x, y - 1.25 * r, 1.25 * r, 1.25 * r,
                      -1.25 * r, 1.25 * r, -1.25 * r, -1.25 * r);
    else fm_buf_printf(c->out, "<circle class=\"%s\" cx=\"%.2f\" cy=\"%.2f\" r=\"%.1f\"", class, x, y, r);
}

static void put_point(struct chart *c, const struct fm_result_cell *cell, const struct fm_result_point *p)
{
    double rate = p->samples_per_s.point, y = y_of(c, rate);
    if (p->peak_lo_bytes >= 0) {
        double lo = x_of(c, (double)p->peak_lo_bytes), hi = x_of(c, (double)p->peak_hi_bytes);
        if (p->peak_hi_bytes > p->peak_lo_bytes) fm_buf_printf(c->out, "<path class=\"bound\" d=\"M%.2f %.2fH%.2f\"/>", lo, y, hi);
        if (p->samples_per_s.interval_known)
            fm_buf_printf(c->out, "<path class=\"bar\" d=\"M%.2f %.2fV%.2f\"/>", lo, y_of(c, fmax(p->samples_per_s.lo, 0)),
                          y_of(c, p->samples_per_s.hi));
        put_mark(c, "pt", lo, y, p->front.member ? 4.0 : 2.5);
        fm_buf_printf(c->out, " data-cell=\"%s\" data-batch=\"%lld\" data-peak-lo=\"%lld\" data-peak-hi=\"%lld\" data-rate=\"%.17g\">",
                      cell->id, (long long)p->batch, (long long)p->peak_lo_bytes, (long long)p->peak_hi_bytes, rate);
        put_title(c, cell, p, false);
        fm_buf_puts(c->out, c->changes ? "</path>\n" : "</circle>\n");
    }
    if (p->planned_peak_bytes < 0) return;
    put_mark(c, "plan", x_of(c, (double)p->planned_peak_bytes), y, 7.0);
    fm_buf_printf(c->out, " data-cell=\"%s\" data-batch=\"%lld\" data-planned=\"%lld\">", cell->id, (long long)p->batch,
                  (long long)p->planned_peak_bytes);
    put_title(c, cell, p, true);
    fm_buf_puts(c->out, c->changes ? "</path>\n" : "</circle>\n");
}

/* plans of what was not run, below the axis; training's and validation's of a batch are two marks */
static void put_plans(struct chart *c, size_t index)
{
    const struct fm_result_cell *cell = &c->result->cells[index];
    double y = c->top + c->height + AXIS_HEIGHT + 8;
    for (size_t i = 0; i < c->result->row_count; i++) {
        const struct fm_result_row *row = &c->result->rows[i];
        if (row->cell != index || !planned_row(row)) continue;
        put_mark(c, "plan", x_of(c, (double)row->planned.reserved_bytes), y, 5.0);
        fm_buf_printf(c->out, " data-cell=\"%s\" data-batch=\"%lld\" data-planned=\"%lld\"><title>%s, batch %lld: planned, not run</title>",
                      cell->id, (long long)row->batch, (long long)row->planned.reserved_bytes, row->val ? "validation" : "training",
                      (long long)(row->val ? row->val_batch : row->batch));
        fm_buf_puts(c->out, c->changes ? "</path>\n" : "</circle>\n");
    }
}

static void put_cells(struct chart *c)
{
    const struct fm_result_cell *cells = c->result->cells;
    for (size_t i = 0; i < c->section_count; i++) {
        const struct fm_result_cell *cell = &cells[c->section[i]];
        if (cell->changes != c->changes) continue;
        fm_buf_printf(c->out, "<g class=\"s%zu\">\n", colour_of(c, cell));
        for (size_t k = cell->first_point; k < cell->first_point + cell->points; k++)
            if (c->y_max > 0) put_point(c, cell, &c->result->points[k]);
        if (c->has_plans) put_plans(c, c->section[i]);
        fm_buf_puts(c->out, "</g>\n");
    }
    for (size_t k = 0; k < c->series_count && k < COLOURS; k++) {
        const struct fm_result_cell *cell = &cells[c->series[k]];
        const struct fm_result_point *p = cell->knee == FM_NO_POINT ? NULL : &c->result->points[cell->knee];
        if (!p || p->peak_lo_bytes < 0 || c->y_max <= 0) continue;
        fm_buf_printf(c->out, "<text class=\"n s%zu\" x=\"%.2f\" y=\"%.2f\">%zu</text>\n", k, x_of(c, (double)p->peak_lo_bytes) + 7,
                      y_of(c, p->samples_per_s.point) - 7, k + 1);
    }
}

static void put_legend(struct chart *c, double y)
{
    for (size_t k = 0; k < c->series_count && k < COLOURS; k++, y += LINE_HEIGHT) {
        struct fm_buf label = FM_BUF(1 << 16);
        label_of(c, &c->result->cells[c->series[k]], &label);
        fm_buf_printf(c->out, "<text class=\"n s%zu\" x=\"%.2f\" y=\"%.2f\">%zu</text><text x=\"%.2f\" y=\"%.2f\">", k, c->left, y, k + 1,
                      c->left + 16, y);
        put_short(c, fm_buf_text(&label));
        fm_buf_puts(c->out, "</text>\n");
        if (!fm_buf_ok(&label)) c->out->failed = true;
        fm_buf_release(&label);
    }
    if (c->series_count > COLOURS)
        fm_buf_printf(c->out, "<text class=\"s8\" x=\"%.2f\" y=\"%.2f\">and %zu more, grey</text>\n", c->left + 16, y, c->series_count - COLOURS);
}

static size_t legend_lines(const struct chart *c)
{
    return c->series_count <= COLOURS ? c->series_count : COLOURS + 1;
}

/* at x, of that width, below the section's heading; c->series is set */
static void put_panel(struct chart *c, double x, double y, double width)
{
    c->left = x + LEFT;
    c->width = width - LEFT - RIGHT;
    c->top = y + PANEL_HEAD;
    c->height = c->y_max > 0 ? PLOT_HEIGHT : 8;
    fm_buf_printf(c->out, "<g class=\"%s\" data-panel=\"%s\" data-x-max=\"%.17g\" data-y-max=\"%.17g\" data-box=\"%.2f %.2f %.2f %.2f\">\n",
                  c->changes ? "other" : "own", c->changes ? "changed" : "unchanged", c->x_max, c->y_max, c->left, c->top, c->width, c->height);
    fm_buf_printf(c->out, "<text class=\"p\" x=\"%.2f\" y=\"%.2f\">%s</text>\n", c->left, y + 16,
                  c->changes ? "Strategies that change the model" : "The model as it is");
    put_x_axis(c);
    if (c->y_max > 0) put_y_axis(c);
    put_limit(c);
    if (c->has_plans)
        fm_buf_printf(c->out, "<text x=\"%.2f\" y=\"%.2f\">planned, not run: throughput not known</text>\n", c->left,
                      c->top + c->height + AXIS_HEIGHT + 28);
    if (c->y_max > 0) put_fronts(c);
    put_cells(c);
    put_legend(c, c->top + c->height + AXIS_HEIGHT + (c->has_plans ? STRIP_HEIGHT : 0) + 16);
    fm_buf_puts(c->out, "</g>\n");
}

/* its height; draws if `draw` */
static double section(struct chart *c, double y, bool draw)
{
    const struct fm_result_cell *first = &c->result->cells[c->section[0]];
    const char *name = fm_json_text(fm_result_device(c->result, first->device), "name");
    size_t panels = 0, lines = 0;
    set_scales(c);
    for (int k = 0; k < 2; k++) {
        c->changes = k == 1;
        set_series(c);
        panels += c->series_count > 0;
        if (legend_lines(c) > lines) lines = legend_lines(c);
    }
    if (draw) {
        fm_buf_printf(c->out, "<text class=\"h\" x=\"%.0f\" y=\"%.2f\">", GAP, y + 22);
        put_short(c, first->workload);
        fm_buf_puts(c->out, " on ");
        put_short(c, first->device);
        if (name) fm_buf_puts(c->out, " · ");
        if (name) put_short(c, name);
        fm_buf_puts(c->out, "</text>\n");
    }
    if (!panels || c->x_max <= 0) {
        if (draw) fm_buf_printf(c->out, "<text x=\"%.0f\" y=\"%.2f\">nothing was measured or planned here</text>\n", GAP, y + HEAD_HEIGHT + 14);
        return HEAD_HEIGHT + 2 * LINE_HEIGHT;
    }
    double x = 0, width = WIDTH / (double)panels;
    for (int k = 0; k < 2 && draw; k++) {
        c->changes = k == 1;
        set_series(c);
        if (!c->series_count) continue;
        put_panel(c, x, y + HEAD_HEIGHT, width);
        x += width;
    }
    return HEAD_HEIGHT + PANEL_HEAD + (c->y_max > 0 ? PLOT_HEIGHT : 8) + AXIS_HEIGHT + (c->has_plans ? STRIP_HEIGHT : 0) +
           LINE_HEIGHT * (double)lines + 2 * LINE_HEIGHT;
}

/* ---- the whole ---- */

static double all_sections(struct chart *c, bool draw)
{
    double y = 0;
    for (size_t i = 0; i < c->result->cell_count; i++) {
        bool begun = false;
        c->section_count = 0;
        for (size_t j = 0; j < c->result->cell_count; j++) {
            if (!same_section(&c->result->cells[i], &c->result->cells[j])) continue;
            begun = begun || j < i;
            c->section[c->section_count++] = j;
        }
        if (!begun) y += section(c, y, draw);
    }
    return y;
}

static void put_note(struct chart *c, double y)
{
    static const char *const lines[] = {
        "Filled: measured (large: on its model’s Pareto front, which the line joins). Hollow: planned. Number: the knee. Dotted: "
        "the memory limit.",
        "Upright bars: 95 % interval over launches. Faint bars: up to the bound on the peak where validation was not run at that "
        "batch.",
    };
    for (size_t i = 0; i < 2; i++)
        fm_buf_printf(c->out, "<text x=\"%.0f\" y=\"%.2f\">%s</text>\n", GAP, y + LINE_HEIGHT * (double)i, lines[i]);
}

fm_status fm_report_svg(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    struct chart *c = fm_calloc(1, sizeof *c);
    size_t *indices = fm_calloc(2 * result->cell_count + 1, sizeof *indices);
    if (c && indices) {
        *c = (struct chart){ .result = result, .out = out, .section = indices, .series = indices + result->cell_count };
        double height = all_sections(c, false);
        if (!result->cell_count) height = 2 * LINE_HEIGHT;
        fm_buf_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" role=\"img\" "
                           "aria-labelledby=\"fm-title fm-desc\">\n<title id=\"fm-title\">Pareto chart: memory against throughput</title>\n"
                           "<desc id=\"fm-desc\">%zu cells, %zu measured points; peak device memory across, samples a second up. "
                           "The table of the same run has every figure.</desc>\n",
                      WIDTH, height + 54, WIDTH, height + 54, result->cell_count, result->point_count);
        fm_buf_puts(out, style);
        fm_buf_puts(out, "<rect class=\"bg\" width=\"100%\" height=\"100%\"/>\n");
        if (!result->cell_count) fm_buf_printf(out, "<text x=\"%.0f\" y=\"22\">no cell was run</text>\n", GAP);
        (void)all_sections(c, true);
        put_note(c, height + 14);
        fm_buf_puts(out, "</svg>\n");
    } else {
        out->failed = true;
    }
    fm_free(indices);
    fm_free(c);
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "the chart");
}
