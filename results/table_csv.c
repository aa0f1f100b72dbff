#include "results/table.h"

#include <math.h>
#include <string.h>

#include "results/json.h"
#include "results/keys.h"
#include "tuner/base/memory.h"

/* a field, quoted where it must be */
static void field(struct fm_buf *out, const char *text)
{
    if (!text) text = "";
    if (strpbrk(text, ",\"\r\n")) {
        fm_buf_putc(out, '"');
        for (; *text; text++) {
            if (*text == '"') fm_buf_putc(out, '"');
            fm_buf_putc(out, *text);
        }
        fm_buf_putc(out, '"');
    } else {
        fm_buf_puts(out, text);
    }
    fm_buf_putc(out, ',');
}

static void truth(struct fm_buf *out, bool value)
{
    field(out, value ? "true" : "false");
}

static void count(struct fm_buf *out, int64_t value)
{
    if (value >= 0) fm_buf_printf(out, "%lld", (long long)value);
    fm_buf_putc(out, ',');
}

static void number(struct fm_buf *out, double value)
{
    if (isfinite(value)) fm_buf_printf(out, "%.9g", value);
    fm_buf_putc(out, ',');
}

/* the last comma of a line becomes its end */
static void end_line(struct fm_buf *out)
{
    if (fm_buf_ok(out) && out->bytes) out->data[--out->bytes] = '\0';
    fm_buf_puts(out, "\r\n");
}

static void header(const struct fm_keys *keys, struct fm_buf *out)
{
    static const char *const before[] = { "device", "device_name", "workload", "cell" };
    static const char *const after[] = {
        "model_id", "changes_model", "outcome", "reason", "planned_batch", "max_batch_train", "max_batch_val", "certified",
        "limited_by", "non_monotone", "mistrusted", "left_out", "rank", "pareto", "pareto_tentative", "model_front", "knee_batch", "knee_samples_per_s",
        "knee_samples_per_s_lo", "knee_samples_per_s_hi", "knee_launches", "knee_throttled_share", "knee_shared", "knee_peak_bytes_lo", "knee_peak_bytes_hi",
        "knee_planned_peak_bytes_lo", "knee_planned_peak_bytes_hi", "relative_speed", "best_batch", "best_samples_per_s", "parameters", "flops_per_sample",
        "capacity_bytes", "reproduce",
    };
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) field(out, before[i]);
    for (size_t i = 0; i < keys->count; i++) {
        struct fm_buf name = FM_BUF(256);
        fm_buf_printf(&name, "%s.%s", keys->key[i].strategy ? "strategy" : "set", keys->key[i].name);
        field(out, fm_buf_text(&name));
        if (!fm_buf_ok(&name)) out->failed = true;
        fm_buf_release(&name);
    }
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) field(out, after[i]);
    end_line(out);
}

static void changes(const struct fm_result_cell *cell, struct fm_buf *out)
{
    struct fm_buf names = FM_BUF(1024);
    const cJSON *name = NULL;
    cJSON_ArrayForEach(name, cell->changes_model)
        if (cJSON_IsString(name)) fm_buf_printf(&names, "%s%s", names.bytes ? " " : "", name->valuestring);
    field(out, fm_buf_text(&names));
    if (!fm_buf_ok(&names)) out->failed = true;
    fm_buf_release(&names);
}

static void left_out(const struct fm_result *result, const struct fm_result_cell *cell, struct fm_buf *out)
{
    struct fm_buf text = FM_BUF(1 << 16);
    fm_result_put_left_out(result, (size_t)(cell - result->cells), &text);
    field(out, fm_buf_text(&text));
    if (!fm_buf_ok(&text)) out->failed = true;
    fm_buf_release(&text);
}

static void point_fields(const struct fm_result_point *p, struct fm_buf *out)
{
    const struct fm_interval *rate = p ? &p->samples_per_s : NULL;
    bool known = rate && rate->interval_known;
    count(out, p ? p->batch : -1);
    number(out, rate ? rate->point : NAN);
    number(out, known ? rate->lo : NAN);
    number(out, known ? rate->hi : NAN);
    count(out, rate ? (int64_t)rate->launches : -1);
    number(out, p ? p->throttled_share : NAN);
    field(out, p && p->shared >= 0 ? p->shared ? "true" : "false" : NULL);
    count(out, p ? p->peak_lo_bytes : -1);
    count(out, p ? p->peak_hi_bytes : -1);
    count(out, p ? p->planned_lo_bytes : -1);
    count(out, p ? p->planned_hi_bytes : -1);
}

static void line(const struct fm_result *result, const struct fm_keys *keys, const struct fm_result_cell *cell,
                 struct fm_buf *out)
{
    const struct fm_result_point *knee = cell->knee == FM_NO_POINT ? NULL : &result->points[cell->knee];
    const struct fm_result_point *best = cell->best == FM_NO_POINT ? NULL : &result->points[cell->best];
    field(out, cell->device);
    field(out, fm_json_text(fm_result_device(result, cell->device), "name"));
    field(out, cell->workload);
    field(out, cell->id);
    for (size_t i = 0; i < keys->count; i++) field(out, fm_keys_value(keys, i, cell));
    field(out, cell->model_id);
    changes(cell, out);
    field(out, cell->outcome);
    field(out, cell->reason);
    count(out, cell->planned_batch);
    count(out, cell->planned ? -1 : cell->max_train);
    count(out, cell->planned ? -1 : cell->max_val);
    truth(out, cell->certified);
    field(out, cell->limited_by);
    truth(out, cell->non_monotone);
    truth(out, cell->mistrusted);
    left_out(result, cell, out);
    count(out, cell->rank ? (int64_t)cell->rank : -1);
    truth(out, cell->front.member);
    truth(out, cell->front.tentative);
    truth(out, cell->model_front.member);
    point_fields(knee, out);
    number(out, cell->relative_speed);
    count(out, best ? best->batch : -1);
    number(out, best ? best->samples_per_s.point : NAN);
    count(out, cell->parameters);
    number(out, cell->flops_per_sample);
    count(out, cell->capacity_bytes);
    field(out, cell->reproduce);
    end_line(out);
}

fm_status fm_table_csv(const struct fm_result *result, struct fm_buf *out, struct fm_err *err)
{
    struct fm_keys keys;
    size_t *cells = fm_calloc(result->cell_count, sizeof *cells);
    if (!cells) return FM_FAIL(err, FM_NOMEM, "no memory for a table of %zu cells", result->cell_count);
    for (size_t i = 0; i < result->cell_count; i++) cells[i] = i;
    fm_keys_of(result, cells, result->cell_count, &keys);
    fm_free(cells);
    header(&keys, out);
    for (size_t i = 0; i < result->cell_count; i++) line(result, &keys, &result->cells[i], out);
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "a table of more than %zu bytes, or no memory", out->max_bytes);
}
