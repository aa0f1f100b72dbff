#include "results/report_ci.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results/grid.h"
#include "results/json.h"
#include "results/keys.h"
#include "results/numbers.h"
#include "results/xml.h"

#define CELLS_MAX 1024

/* "segformer precision=bf16 checkpoint=none": what tells a cell from the others of its workload */
static void put_name(const struct fm_result *r, const struct fm_result_cell *cell, struct fm_buf *out)
{
    size_t cells[CELLS_MAX] = { 0 }, n = 0;
    struct fm_keys keys;
    for (size_t i = 0; i < r->cell_count && n < CELLS_MAX; i++)
        if (strcmp(r->cells[i].workload, cell->workload) == 0) cells[n++] = i;
    fm_keys_of(r, cells, n, &keys);
    fm_put_plain(out, cell->workload);
    for (size_t k = 0; k < keys.count; k++) {
        const char *value = fm_keys_value(&keys, k, cell);
        if (!keys.key[k].varies || !value) continue;
        fm_buf_putc(out, ' ');
        fm_put_plain(out, keys.key[k].name);
        fm_buf_putc(out, '=');
        fm_put_plain(out, value);
    }
    if (n == 1) fm_buf_printf(out, " %.8s", cell->id);
}

/* ---- JUnit ---- */

struct verdict { const char *failure, *skipped; };

static struct verdict judge(const struct fm_result *r, size_t index)
{
    const struct fm_result_cell *cell = &r->cells[index];
    const char *what;
    int64_t planned, counted;
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i].cell == index && fm_result_differs(r, &r->rows[i], &what, &planned, &counted))
            return (struct verdict){ .failure = "planned and counted memory differ" };
    if (strcmp(cell->outcome, "unsupported") == 0) return (struct verdict){ .skipped = cell->reason ? cell->reason : "unsupported" };
    if (strcmp(cell->outcome, "skipped") == 0) return (struct verdict){ .skipped = cell->skipped ? cell->skipped : "left out" };
    if (cell->planned) return (struct verdict){ .skipped = "planned, not run" };
    if (strcmp(cell->outcome, "ok") != 0) return (struct verdict){ .failure = cell->outcome };
    if (cell->mistrusted) return (struct verdict){ .failure = fm_result_mistrust(cell) };
    if (!cell->certified) return (struct verdict){ .failure = "its max batch is not certified" };
    return (struct verdict){ 0 };
}

static void put_properties(const struct fm_result *r, const struct fm_result_cell *cell, struct fm_buf *out)
{
    fm_buf_printf(out, "      <properties>\n        <property name=\"cell\" value=\"%s\"/>\n", cell->id);
    if (cell->max_train >= 0) fm_buf_printf(out, "        <property name=\"max_batch_train\" value=\"%lld\"/>\n", (long long)cell->max_train);
    if (cell->max_val >= 0) fm_buf_printf(out, "        <property name=\"max_batch_val\" value=\"%lld\"/>\n", (long long)cell->max_val);
    if (cell->knee != FM_NO_POINT) {
        const struct fm_result_point *p = &r->points[cell->knee];
        fm_buf_printf(out, "        <property name=\"knee_batch\" value=\"%lld\"/>\n", (long long)p->batch);
        fm_buf_printf(out, "        <property name=\"samples_per_s\" value=\"%.6g\"/>\n", p->samples_per_s.point);
        if (p->peak_hi_bytes >= 0) fm_buf_printf(out, "        <property name=\"peak_bytes\" value=\"%lld\"/>\n", (long long)p->peak_hi_bytes);
    }
    fm_buf_puts(out, "      </properties>\n");
}

static double seconds_of(const struct fm_result *r, size_t cell)
{
    double ns = 0, value;
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i].cell == cell && !r->rows[i].val && fm_json_f64(r->rows[i].record, "wall_ns", &value)) ns += value;
    return ns / 1e9;
}

static void put_case(const struct fm_result *r, size_t index, const struct verdict *verdict, struct fm_buf *out)
{
    const struct fm_result_cell *cell = &r->cells[index];
    struct fm_buf name = FM_BUF(1 << 14);
    put_name(r, cell, &name);
    fm_buf_puts(out, "    <testcase classname=\"fillmark.");
    fm_put_xml(out, cell->device);
    fm_buf_puts(out, "\" name=\"");
    fm_put_xml(out, fm_buf_text(&name));
    fm_buf_printf(out, "\" time=\"%.3f\">\n", seconds_of(r, index));
    put_properties(r, cell, out);
    if (verdict->failure || verdict->skipped) {
        fm_buf_printf(out, "      <%s message=\"", verdict->failure ? "failure" : "skipped");
        fm_put_xml(out, verdict->failure ? verdict->failure : verdict->skipped);
        if (verdict->failure && cell->reason && *cell->reason) {
            fm_buf_puts(out, ": ");
            fm_put_xml(out, cell->reason);
        }
        fm_buf_puts(out, "\"/>\n");
    }
    fm_buf_puts(out, "    </testcase>\n");
    if (!fm_buf_ok(&name)) out->failed = true;
    fm_buf_release(&name);
}

static bool same_suite(const struct fm_result_cell *a, const struct fm_result_cell *b)
{
    return strcmp(a->device, b->device) == 0 && strcmp(a->workload, b->workload) == 0;
}

static void put_suite(const struct fm_result *r, size_t first, struct fm_buf *out)
{
    uint32_t tests = 0, failures = 0, skipped = 0;
    double seconds = 0;
    for (size_t i = first; i < r->cell_count; i++) {
        if (!same_suite(&r->cells[i], &r->cells[first])) continue;
        struct verdict v = judge(r, i);
        tests++;
        failures += v.failure != NULL;
        skipped += v.skipped != NULL;
        seconds += seconds_of(r, i);
    }
    fm_buf_puts(out, "  <testsuite name=\"");
    fm_put_xml(out, r->cells[first].workload);
    fm_buf_puts(out, " on ");
    fm_put_xml(out, r->cells[first].device);
    fm_buf_printf(out, "\" tests=\"%u\" failures=\"%u\" errors=\"0\" skipped=\"%u\" time=\"%.3f\">\n", tests, failures, skipped, seconds);
    for (size_t i = first; i < r->cell_count; i++) {
        if (!same_suite(&r->cells[i], &r->cells[first])) continue;
        struct verdict v = judge(r, i);
        put_case(r, i, &v, out);
    }
    fm_buf_puts(out, "  </testsuite>\n");
}

fm_status fm_report_junit(const struct fm_result *r, struct fm_buf *out, struct fm_err *err)
{
    fm_buf_puts(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"fillmark\">\n");
    if (!r->cell_count)
        fm_buf_puts(out, "  <testsuite name=\"fillmark\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\">\n"
                         "    <testcase classname=\"fillmark\" name=\"run\">\n      <failure message=\"no cell was run\"/>\n"
                         "    </testcase>\n  </testsuite>\n");
    for (size_t i = 0; i < r->cell_count; i++) {
        bool begun = false;
        for (size_t k = 0; k < i; k++) begun |= same_suite(&r->cells[k], &r->cells[i]);
        if (!begun) put_suite(r, i, out);
    }
    fm_buf_puts(out, "</testsuites>\n");
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "the JUnit report");
}

/* ---- benchmark JSON ---- */

struct figure { const char *what, *unit; double value; char range[48]; };

static bool push_figure(cJSON *array, const struct fm_result *r, const struct fm_result_cell *cell, const struct figure *f)
{
    struct fm_buf name = FM_BUF(1 << 14), extra = FM_BUF(1 << 14);
    cJSON *o = cJSON_CreateObject();
    put_name(r, cell, &name);
    fm_buf_printf(&name, " on %s: %s", cell->device, f->what);
    fm_buf_printf(&extra, "cell %s", cell->id);
    if (cell->reproduce) fm_buf_printf(&extra, "\n%s", cell->reproduce);
    bool good = o && fm_buf_ok(&name) && fm_buf_ok(&extra) && fm_json_put(o, "name", cJSON_CreateString(fm_buf_text(&name))) &&
                fm_json_put(o, "unit", cJSON_CreateString(f->unit)) && fm_json_put(o, "value", cJSON_CreateNumber(f->value)) &&
                (!f->range[0] || fm_json_put(o, "range", cJSON_CreateString(f->range))) &&
                fm_json_put(o, "extra", cJSON_CreateString(fm_buf_text(&extra)));
    fm_buf_release(&name);
    fm_buf_release(&extra);
    if (good) return fm_json_push(array, o);
    cJSON_Delete(o);
    return false;
}

static bool push_bigger(cJSON *array, const struct fm_result *r, const struct fm_result_cell *cell)
{
    if (cell->knee != FM_NO_POINT) {
        const struct fm_interval *rate = &r->points[cell->knee].samples_per_s;
        struct figure f = { .what = "samples/s at the knee", .unit = "samples/s", .value = rate->point };
        if (rate->interval_known) (void)snprintf(f.range, sizeof f.range, "%.4g ... %.4g", rate->lo, rate->hi);
        if (!push_figure(array, r, cell, &f)) return false;
    }
    if (cell->max_train < 0 || !cell->certified) return true;
    struct figure f = { .what = "max batch", .unit = "samples", .value = (double)cell->max_train };
    return push_figure(array, r, cell, &f);
}

static bool push_smaller(cJSON *array, const struct fm_result *r, const struct fm_result_cell *cell)
{
    if (cell->knee == FM_NO_POINT || r->points[cell->knee].peak_hi_bytes < 0) return true;
    struct figure f = { .what = "peak memory at the knee", .unit = "bytes", .value = (double)r->points[cell->knee].peak_hi_bytes };
    return push_figure(array, r, cell, &f);
}

static fm_status benchmark(const struct fm_result *r, bool bigger, struct fm_buf *out, struct fm_err *err)
{
    cJSON *array = cJSON_CreateArray();
    bool good = array != NULL;
    for (size_t i = 0; good && i < r->cell_count; i++) {
        const struct fm_result_cell *cell = &r->cells[i];
        if (cell->planned || strcmp(cell->outcome, "ok") != 0 || cell->mistrusted) continue;
        good = bigger ? push_bigger(array, r, cell) : push_smaller(array, r, cell);
    }
    fm_status status = good ? fm_json_print(array, out, err) : FM_FAIL(err, FM_NOMEM, "the benchmark report");
    cJSON_Delete(array);
    if (status == FM_OK) fm_buf_putc(out, '\n');
    return status == FM_OK && !fm_buf_ok(out) ? FM_FAIL(err, FM_NOMEM, "the benchmark report") : status;
}

fm_status fm_report_bigger(const struct fm_result *r, struct fm_buf *out, struct fm_err *err) { return benchmark(r, true, out, err); }
fm_status fm_report_smaller(const struct fm_result *r, struct fm_buf *out, struct fm_err *err) { return benchmark(r, false, out, err); }
