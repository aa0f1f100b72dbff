#include "tuner/commands/calibrate.h"

#include "results/json.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/commands/recorded_cell.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct gathering {
    const struct fm_result *run;
    const struct fm_gpu *gpu;
    struct fm_calibrated *out;
    struct fm_program program;
    struct fm_calibration_point *point;
    size_t count, room;
};

static bool same_training(const struct gathering *g, size_t a, size_t b)
{
    const struct fm_result_cell *x = &g->run->cells[a], *y = &g->run->cells[b];
    return strcmp(x->train_id, y->train_id) == 0 && strcmp(x->device, y->device) == 0;
}

/* a training row behind a point, of this cell or of another with the same training */
static const struct fm_result_row *row_of(const struct gathering *g, const struct fm_result_point *p)
{
    for (size_t i = 0; i < g->run->row_count; i++) {
        const struct fm_result_row *row = &g->run->rows[i];
        if (row->batch == p->batch && !row->val && !row->superseded && row->outcome == FM_OUTCOME_ok && same_training(g, row->cell, p->cell) &&
            fm_json_array(fm_json_object(row->record, "measured"), "step_ns")) return row;
    }
    return NULL;
}

/* the program that ran, lowered again; false: this build makes another of it */
static fm_status lower(struct gathering *g, const struct fm_result_row *row, bool *same, struct fm_err *err)
{
    const char *ran = fm_json_text(row->record, "program");
    char now[FM_HASH_TEXT_BYTES];
    struct fm_cell cell;
    struct fm_cell_batch batch = { .train = row->batch, .val = row->val_batch > 0 ? row->val_batch : 0 };
    struct fm_err why = { 0 };
    *same = false;
    if (!ran || !fm_recorded_cell(&g->run->cells[row->cell], &cell)) return FM_OK;
    fm_status status = fm_cell_lower(&cell, batch, &g->program, &why);
    if (status == FM_NOMEM) return FM_FAIL(err, status, "%s", why.text);
    if (status != FM_OK) return FM_OK;
    fm_hash_print(fm_program_hash(&g->program), now);
    *same = strcmp(ran, now) == 0;
    return FM_OK;
}

static fm_status add_point(struct gathering *g, const struct fm_result_point *p, struct fm_err *err)
{
    const struct fm_result_row *row = row_of(g, p);
    bool same = false;
    if (!row || !(p->samples_per_s.point > 0)) return FM_OK;
    fm_status status = lower(g, row, &same, err);
    if (status != FM_OK) return status;
    g->out->other_programs += !same;
    if (!same) return FM_OK;
    struct fm_calibration_point point = { .bound = fm_roofline_step(g->gpu, &g->program), .cell = (uint32_t)p->cell,
                                          .seconds = (double)g->program.samples / p->samples_per_s.point };
    if (!(fm_roofline_seconds(&point.bound) > 0)) return FM_OK;         /* the table lacks a rate */
    struct fm_calibration_point *grown = fm_grow(g->point, &g->room, g->count + 1, sizeof *grown);
    if (!grown) return FM_FAIL(err, FM_NOMEM, "%zu measured points", g->count);
    g->point = grown;
    g->point[g->count++] = point;
    return FM_OK;
}

static void note_workload(struct fm_calibrated *out, const char *name)
{
    const struct fm_workload *w = fm_workload_find(name, NULL);
    for (size_t i = 0; i < out->workloads; i++)
        if (out->workload[i] == w) return;
    if (w && out->workloads < FM_CALIBRATED_WORKLOADS) out->workload[out->workloads++] = w;
}

/* points are shared by cells that differ only in validation: they count once */
static fm_status add_cell(struct gathering *g, size_t index, struct fm_err *err)
{
    const struct fm_result_cell *from = &g->run->cells[index];
    const char *name = fm_json_text(fm_result_device(g->run, from->device), "name");
    size_t before = g->count;
    if (!name || strcmp(name, g->gpu->title) != 0 || from->planned || from->mistrusted) return FM_OK;
    for (size_t i = 0; i < index; i++)
        if (same_training(g, i, index) && !g->run->cells[i].mistrusted) return FM_OK;
    for (size_t i = 0; i < from->points; i++) {
        fm_status status = add_point(g, &g->run->points[from->first_point + i], err);
        if (status != FM_OK) return status;
    }
    if (g->count == before) return FM_OK;
    g->out->cells++;
    note_workload(g->out, from->workload);
    return FM_OK;
}

fm_status fm_calibrate(const struct fm_result *run, const char *folder, const struct fm_gpu *gpu, struct fm_calibrated *out,
                       struct fm_err *err)
{
    *out = (struct fm_calibrated){ 0 };
    struct gathering g = { .run = run, .gpu = gpu, .out = out };
    fm_status status = FM_OK;
    (void)snprintf(out->source, sizeof out->source, "%.120s on %.100s", folder, gpu->title);
    for (size_t i = 0; i < run->cell_count && status == FM_OK; i++) status = add_cell(&g, i, err);
    if (status == FM_OK && g.count) status = fm_calibration_fit(g.point, g.count, &out->fit, err);
    out->known = status == FM_OK && g.count;
    if (!g.count && out->other_programs)
        (void)snprintf(out->why, sizeof out->why, "the steps measured in %.120s are of another version of fillmark", folder);
    else if (!g.count)
        (void)snprintf(out->why, sizeof out->why, "%.120s has no measured steps of %.100s", folder, gpu->title);
    fm_free(g.point);
    fm_program_release(&g.program);
    return status;
}

static bool has_workload(const struct fm_calibrated *c, const struct fm_workload *w)
{
    for (size_t i = 0; i < c->workloads; i++)
        if (c->workload[i] == w) return true;
    return false;
}

double fm_calibrated_seconds(const struct fm_calibrated *c, const struct fm_cell *cell, const struct fm_roofline *bound, struct fm_buf *basis)
{
    enum fm_roofline_class missing = FM_ROOFLINE_REST;
    double seconds = c && c->known ? fm_calibration_seconds(&c->fit, bound, &missing) : NAN;
    if (!c) {
        fm_buf_puts(basis, "bound (uncalibrated)");
    } else if (!c->known) {
        fm_buf_printf(basis, "bound (uncalibrated: %s)", c->why);
    } else if (isnan(seconds)) {
        fm_buf_printf(basis, "bound (uncalibrated: no %s in %s)", fm_roofline_class_name(missing), c->source);
    } else {
        fm_buf_printf(basis, "calibrated from %zu cell%s of %s", c->cells, c->cells == 1 ? "" : "s", c->source);
        if (isnan(c->fit.error)) fm_buf_puts(basis, "; too few cells to tell how well");
        else fm_buf_printf(basis, "; a cell left out of the fit is off by %.0f %% (median)", 100 * c->fit.error);
        if (c->other_programs) fm_buf_printf(basis, "; %zu points of another version left out", c->other_programs);
        if (!has_workload(c, cell->settings.workload))
            fm_buf_printf(basis, "; extrapolated: no %s in it", cell->settings.workload->name);
    }
    return seconds;
}
