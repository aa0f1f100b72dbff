#include "results/history.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "results/grid.h"
#include "results/json.h"
#include "results/keys.h"
#include "results/numbers.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"

#define APPLICATION 0x666d6869  /* "fmhi": PRAGMA application_id */
#define VERSION 1
#define CELLS_MAX 1024

struct fm_history { sqlite3 *db; char path[512]; };

static const char schema[] =
    "CREATE TABLE night(id INTEGER PRIMARY KEY, identity TEXT UNIQUE NOT NULL, started TEXT NOT NULL, tool TEXT NOT NULL,"
    " folder TEXT NOT NULL, verdict TEXT NOT NULL);"
    "CREATE TABLE figure(night INTEGER NOT NULL REFERENCES night(id) ON DELETE CASCADE, device TEXT NOT NULL, device_key TEXT NOT NULL,"
    " cell TEXT NOT NULL, label TEXT NOT NULL, what TEXT NOT NULL, batch INTEGER NOT NULL, value REAL NOT NULL);"
    "CREATE INDEX figure_series ON figure(device_key, cell, what, batch, night);";

/* ---- the file ---- */

static fm_status fail(const struct fm_history *h, const char *doing, struct fm_err *err)
{
    int code = sqlite3_errcode(h->db);
    if (code == SQLITE_NOMEM) return FM_FAIL(err, FM_NOMEM, "%s: %s", h->path, doing);
    if (code == SQLITE_NOTADB) return FM_FAIL(err, FM_MISMATCH, "%s: this is no history of fillmark", h->path);
    return FM_FAIL(err, FM_IO, "%s: %s: %s", h->path, doing, sqlite3_errmsg(h->db));
}

static fm_status run_sql(struct fm_history *h, const char *sql, struct fm_err *err)
{
    if (fm_fault_here()) return FM_FAIL(err, FM_IO, "%s: cannot be written", h->path);
    return sqlite3_exec(h->db, sql, NULL, NULL, NULL) == SQLITE_OK ? FM_OK : fail(h, "cannot be written", err);
}

static fm_status prepare(struct fm_history *h, const char *sql, sqlite3_stmt **out, struct fm_err *err)
{
    if (fm_fault_here()) return FM_FAIL(err, FM_IO, "%s: cannot be read", h->path);
    return sqlite3_prepare_v2(h->db, sql, -1, out, NULL) == SQLITE_OK ? FM_OK : fail(h, "cannot be read", err);
}

static fm_status pragma(struct fm_history *h, const char *sql, int64_t *out, struct fm_err *err)
{
    sqlite3_stmt *s = NULL;
    fm_status status = prepare(h, sql, &s, err);
    if (status == FM_OK && sqlite3_step(s) != SQLITE_ROW) status = fail(h, "cannot be read", err);
    if (status == FM_OK) *out = sqlite3_column_int64(s, 0);
    (void)sqlite3_finalize(s);
    return status;
}

/* makes the tables of a new file, or checks whose they are */
static fm_status adopt(struct fm_history *h, bool create, struct fm_err *err)
{
    int64_t application = 0, version = 0, tables = 0;
    char sql[96];
    fm_status status = FM_OK;
    FM_TRY(pragma(h, "PRAGMA application_id", &application, err));
    FM_TRY(pragma(h, "PRAGMA user_version", &version, err));
    FM_TRY(pragma(h, "SELECT count(*) FROM sqlite_master", &tables, err));
    if (!application && !tables && create) {
        FM_TRY(run_sql(h, "BEGIN IMMEDIATE", err));
        (void)snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION, VERSION);
        status = run_sql(h, schema, err);
        if (status == FM_OK) status = run_sql(h, sql, err);
        if (status == FM_OK) status = run_sql(h, "COMMIT", err);
        if (status != FM_OK) (void)sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
        return status;
    }
    if (application != APPLICATION) return FM_FAIL(err, FM_MISMATCH, "%s: this is no history of fillmark", h->path);
    if (version != VERSION)
        return FM_FAIL(err, FM_MISMATCH, "%s: a history of version %lld; this fillmark reads %d", h->path, (long long)version, VERSION);
out:
    return status;
}

fm_status fm_history_open(struct fm_history **out, const char *path, bool create, struct fm_err *err)
{
    struct fm_history *h = fm_calloc(1, sizeof *h);
    *out = NULL;
    if (!h) return FM_FAIL(err, FM_NOMEM, "%s", path);
    (void)snprintf(h->path, sizeof h->path, "%s", path);
    int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    fm_status status = FM_OK;
    if (fm_fault_here() || sqlite3_open_v2(path, &h->db, flags, NULL) != SQLITE_OK)
        status = FM_FAIL(err, FM_IO, "%s: cannot be opened: %s", path, h->db ? sqlite3_errmsg(h->db) : "no memory");
    if (status == FM_OK) {
        (void)sqlite3_busy_timeout(h->db, 10000);
        status = adopt(h, create, err);
    }
    if (status == FM_OK) *out = h;
    else fm_history_close(h);
    return status;
}

void fm_history_close(struct fm_history *history)
{
    if (!history) return;
    (void)sqlite3_close(history->db);
    fm_free(history);
}

/* ---- a night ---- */

static const char *text_of(const cJSON *o, const char *name, char number[32])
{
    const cJSON *value = fm_json_get(o, name);
    if (cJSON_IsString(value)) return value->valuestring;
    if (!cJSON_IsNumber(value)) return "";
    (void)snprintf(number, 32, "%.15g", value->valuedouble);
    return number;
}

/* what must be equal for figures to be of one series */
static void device_key(const struct fm_result *r, const char *device, char key[FM_HASH_TEXT_BYTES])
{
    static const char *const parts[] = { "name", "isa", "threads", "capacity_bytes" };
    uint64_t hash = fm_hash_text(FM_HASH_INIT, device);
    char number[32];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        hash = fm_hash_text(hash, text_of(fm_result_device(r, device), parts[i], number));
    fm_hash_print(hash, key);
}

static fm_status identity_of(const struct fm_result *r, char key[FM_HASH_TEXT_BYTES], struct fm_err *err)
{
    struct fm_buf text = FM_BUF(1 << 20);
    fm_status status = r->run ? fm_json_print(r->run, &text, err) : FM_FAIL(err, FM_INVALID, "the journal has no run record");
    if (status == FM_OK) fm_hash_print(fm_hash_text(FM_HASH_INIT, fm_buf_text(&text)), key);
    fm_buf_release(&text);
    return status;
}

static void label_of(const struct fm_result *r, const struct fm_result_cell *cell, struct fm_buf *out)
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
        fm_buf_printf(out, " %s=", keys.key[k].name);
        fm_put_plain(out, value);
    }
}

struct insert { struct fm_history *h; sqlite3_stmt *s; int64_t night; const struct fm_result_cell *cell; const char *key, *label; };

static fm_status insert_figure(const struct insert *i, const char *what, int64_t batch, double value, struct fm_err *err)
{
    if (!isfinite(value) || value < 0) return FM_OK;
    (void)sqlite3_reset(i->s);
    bool good = !fm_fault_here() && sqlite3_bind_int64(i->s, 1, i->night) == SQLITE_OK &&
                sqlite3_bind_text(i->s, 2, i->cell->device, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(i->s, 3, i->key, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(i->s, 4, i->cell->id, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(i->s, 5, i->label, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(i->s, 6, what, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_bind_int64(i->s, 7, batch) == SQLITE_OK &&
                sqlite3_bind_double(i->s, 8, value) == SQLITE_OK && sqlite3_step(i->s) == SQLITE_DONE;
    return good ? FM_OK : fail(i->h, "cannot be written", err);
}

static fm_status insert_cell(const struct insert *i, const struct fm_result *r, struct fm_err *err)
{
    const struct fm_result_cell *cell = i->cell;
    fm_status status = FM_OK;
    if (cell->certified) FM_TRY(insert_figure(i, "max batch", 0, (double)cell->max_train, err));
    if (cell->certified && cell->validates) FM_TRY(insert_figure(i, "max val batch", 0, (double)cell->max_val, err));
    for (size_t k = 0; k < cell->points; k++) {
        const struct fm_result_point *p = &r->points[cell->first_point + k];
        bool knee = cell->knee == cell->first_point + k;
        if (!knee && p->batch != cell->max_train) continue;
        /* of a shared device they say what others did */
        if (p->shared != 1) FM_TRY(insert_figure(i, "samples/s", p->batch, p->samples_per_s.point, err));
        if (p->peak_lo_bytes == p->peak_hi_bytes) FM_TRY(insert_figure(i, "peak bytes", p->batch, (double)p->peak_lo_bytes, err));
    }
out:
    return status;
}

static fm_status insert_figures(struct fm_history *h, const struct fm_result *r, int64_t night, struct fm_err *err)
{
    struct insert i = { .h = h, .night = night };
    fm_status status = prepare(h, "INSERT INTO figure VALUES(?,?,?,?,?,?,?,?)", &i.s, err);
    for (size_t c = 0; c < r->cell_count && status == FM_OK; c++) {
        char key[FM_HASH_TEXT_BYTES];
        struct fm_buf label = FM_BUF(1 << 14);
        if (r->cells[c].planned || r->cells[c].mistrusted) continue;
        label_of(r, &r->cells[c], &label);
        device_key(r, r->cells[c].device, key);
        i.cell = &r->cells[c];
        i.key = key;
        i.label = fm_buf_text(&label);
        status = fm_buf_ok(&label) ? insert_cell(&i, r, err) : FM_FAIL(err, FM_NOMEM, "a night of %s", h->path);
        fm_buf_release(&label);
    }
    (void)sqlite3_finalize(i.s);
    return status;
}

/* the night's row, new or with its verdict set */
static fm_status put_night(struct fm_history *h, const struct fm_result *r, const char *folder, const char *verdict, bool *added,
                           struct fm_err *err)
{
    char identity[FM_HASH_TEXT_BYTES];
    sqlite3_stmt *s = NULL;
    const char *started = fm_json_text(r->run, "started");
    fm_status status = identity_of(r, identity, err);
    if (status == FM_OK)
        status = prepare(h, "INSERT INTO night(identity, started, tool, folder, verdict) VALUES(?,?,?,?,?) ON CONFLICT(identity) DO UPDATE "
                         "SET verdict=excluded.verdict, folder=excluded.folder RETURNING id, (SELECT count(*) FROM figure WHERE "
                         "night=night.id)", &s, err);
    if (status != FM_OK) return status;
    const char *const texts[] = { identity, started ? started : "", r->tool ? r->tool : "", folder, verdict };
    bool good = true;
    for (int i = 0; i < 5; i++) good = good && sqlite3_bind_text(s, i + 1, texts[i], -1, SQLITE_STATIC) == SQLITE_OK;
    good = good && !fm_fault_here() && sqlite3_step(s) == SQLITE_ROW;
    int64_t id = good ? sqlite3_column_int64(s, 0) : 0, figures = good ? sqlite3_column_int64(s, 1) : 0;
    status = good && sqlite3_step(s) == SQLITE_DONE ? FM_OK : fail(h, "cannot be written", err);
    (void)sqlite3_finalize(s);
    *added = figures == 0;
    return status == FM_OK && *added ? insert_figures(h, r, id, err) : status;
}

fm_status fm_history_add(struct fm_history *h, const struct fm_result *night, const char *folder, const char *verdict, bool *added,
                         struct fm_err *err)
{
    *added = false;
    if (fm_result_is_plan(night)) return FM_FAIL(err, FM_INVALID, "%s: plans, of which nothing was measured, are no night; add a run's folder", folder);
    fm_status status = run_sql(h, "BEGIN IMMEDIATE", err);
    if (status != FM_OK) return status;
    status = put_night(h, night, folder, verdict, added, err);
    if (status == FM_OK) status = run_sql(h, "COMMIT", err);
    if (status != FM_OK) {
        *added = false;
        (void)sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

fm_status fm_history_last_good(struct fm_history *h, struct fm_buf *folder, bool *found, struct fm_err *err)
{
    sqlite3_stmt *s = NULL;
    fm_status status = prepare(h, "SELECT folder FROM night WHERE verdict IN ('first','same','better') ORDER BY id DESC LIMIT 1", &s, err);
    *found = false;
    if (status != FM_OK) return status;
    int step = sqlite3_step(s);
    if (step == SQLITE_ROW) {
        fm_buf_puts(folder, (const char *)sqlite3_column_text(s, 0));
        *found = true;
    } else if (step != SQLITE_DONE) {
        status = fail(h, "cannot be read", err);
    }
    (void)sqlite3_finalize(s);
    return status == FM_OK && !fm_buf_ok(folder) ? FM_FAIL(err, FM_NOMEM, "a folder of %s", h->path) : status;
}

/* ---- series ---- */

static bool is_exact(const char *what) { return strcmp(what, "samples/s") != 0; }

static fm_status add_value(double **value, size_t *count, size_t *capacity, double x, struct fm_err *err)
{
    double *grown = *count < FM_TREND_NIGHTS_MAX ? fm_grow(*value, capacity, *count + 1, sizeof *grown) : NULL;
    if (!grown) return FM_FAIL(err, FM_NOMEM, "a series of %zu nights", *count);
    *value = grown;
    grown[(*count)++] = x;
    return FM_OK;
}

fm_status fm_history_night_error(struct fm_history *h, const struct fm_result *run, const struct fm_result_cell *cell, int64_t batch,
                                 struct fm_night_error *error, struct fm_err *err)
{
    sqlite3_stmt *s = NULL;
    char key[FM_HASH_TEXT_BYTES];
    double *value = NULL;
    size_t count = 0, capacity = 0;
    struct fm_trend trend;
    *error = FM_NIGHT_ERROR_UNKNOWN;
    device_key(run, cell->device, key);
    fm_status status = prepare(h, "SELECT value FROM figure WHERE device_key=? AND cell=? AND what='samples/s' AND batch=? ORDER BY night DESC "
                               "LIMIT 60", &s, err);
    if (status != FM_OK) return status;
    bool good = sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(s, 2, cell->id, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_bind_int64(s, 3, batch) == SQLITE_OK;
    int step = SQLITE_DONE;
    while (good && status == FM_OK && (step = sqlite3_step(s)) == SQLITE_ROW)
        status = add_value(&value, &count, &capacity, sqlite3_column_double(s, 0), err);
    if (status == FM_OK && (!good || step != SQLITE_DONE)) status = fail(h, "cannot be read", err);
    (void)sqlite3_finalize(s);
    if (status == FM_OK && count) {
        status = fm_trend_of(value, count, false, 1, &trend, err);
        if (status == FM_OK) *error = trend.night_error;
    }
    fm_free(value);
    return status;
}

struct series {
    char device[64], label[480], what[24], cell[20], change_started[32];
    int64_t batch;
    struct fm_trend trend;
};

struct list { struct series *item; size_t count, capacity; };

static void copy_text(char *out, size_t bytes, sqlite3_stmt *s, int column)
{
    const unsigned char *text = sqlite3_column_text(s, column);
    (void)snprintf(out, bytes, "%s", text ? (const char *)text : "");
}

/* the rows of one series, from the current one on; *more: another series follows */
static fm_status read_series(sqlite3_stmt *s, struct list *list, bool *more, struct fm_err *err)
{
    struct series one = { 0 };
    double *value = NULL;
    char (*started)[32] = NULL;
    size_t count = 0, capacity = 0, started_capacity = 0;
    fm_status status = FM_OK;
    char key[40], next_key[40];
    copy_text(key, sizeof key, s, 0);
    copy_text(one.cell, sizeof one.cell, s, 1);
    copy_text(one.what, sizeof one.what, s, 2);
    one.batch = sqlite3_column_int64(s, 3);
    bool same = true;
    while (same && status == FM_OK) {
        copy_text(one.device, sizeof one.device, s, 5);
        copy_text(one.label, sizeof one.label, s, 6);
        char (*grown)[32] = fm_grow(started, &started_capacity, count + 1, sizeof *grown);
        if (!grown) {
            status = FM_FAIL(err, FM_NOMEM, "a series of %zu nights", count);
            break;
        }
        started = grown;
        copy_text(started[count], sizeof started[count], s, 7);
        status = add_value(&value, &count, &capacity, sqlite3_column_double(s, 4), err);
        *more = sqlite3_step(s) == SQLITE_ROW;
        if (*more) copy_text(next_key, sizeof next_key, s, 0);
        same = *more && strcmp(key, next_key) == 0 && strcmp(one.cell, (const char *)sqlite3_column_text(s, 1)) == 0 &&
               strcmp(one.what, (const char *)sqlite3_column_text(s, 2)) == 0 && one.batch == sqlite3_column_int64(s, 3);
    }
    if (status == FM_OK) status = fm_trend_of(value, count, is_exact(one.what), 1, &one.trend, err);
    if (status == FM_OK) {
        if (one.trend.changed) (void)snprintf(one.change_started, sizeof one.change_started, "%s", started[one.trend.change]);
        struct series *grown = fm_grow(list->item, &list->capacity, list->count + 1, sizeof *grown);
        if (grown) list->item = grown, grown[list->count++] = one;
        else status = FM_FAIL(err, FM_NOMEM, "%zu series", list->count);
    }
    fm_free(value);
    fm_free(started);
    return status;
}

static fm_status read_all(struct fm_history *h, struct list *list, struct fm_err *err)
{
    sqlite3_stmt *s = NULL;
    bool more = false;
    fm_status status = prepare(h, "SELECT device_key, cell, what, batch, value, device, label, started FROM figure JOIN night ON night.id=night "
                               "ORDER BY device_key, cell, what, batch, night.id", &s, err);
    if (status != FM_OK) return status;
    int step = sqlite3_step(s);
    if (step != SQLITE_ROW && step != SQLITE_DONE) status = fail(h, "cannot be read", err);
    more = step == SQLITE_ROW;
    while (more && status == FM_OK) status = read_series(s, list, &more, err);
    (void)sqlite3_finalize(s);
    return status;
}

static void put_value(struct fm_buf *out, const struct series *s, double value)
{
    if (strcmp(s->what, "samples/s") == 0) fm_put_f64(out, value);
    else if (strcmp(s->what, "peak bytes") == 0) fm_put_gib(out, (int64_t)value);
    else fm_put_count(out, (int64_t)value);
}

static void put_row(struct fm_grid *grid, const struct series *s)
{
    struct fm_buf text[6];
    for (size_t i = 0; i < 6; i++) text[i] = FM_BUF(4096);
    fm_buf_puts(&text[0], strcmp(s->what, "peak bytes") == 0 ? "peak GiB" : s->what);
    if (s->batch) fm_buf_printf(&text[0], " at batch %lld", (long long)s->batch);
    fm_buf_printf(&text[1], "%zu", s->trend.nights);
    put_value(&text[2], s, s->trend.first);
    put_value(&text[3], s, s->trend.last);
    if (isfinite(s->trend.night_error.error)) fm_buf_printf(&text[4], "%.1f %%", 100 * s->trend.night_error.error);
    else fm_buf_puts(&text[4], is_exact(s->what) ? "" : FM_UNKNOWN_TEXT);
    if (s->trend.changed) {
        fm_buf_printf(&text[5], "%s: ", s->change_started);
        put_value(&text[5], s, s->trend.before);
        fm_buf_puts(&text[5], " -> ");
        put_value(&text[5], s, s->trend.after);
        fm_buf_printf(&text[5], " (%+.1f %%)", 100 * (s->trend.after / s->trend.before - 1));
    }
    fm_grid_row(grid);
    fm_grid_put(grid, 0, s->device);
    fm_grid_put(grid, 1, s->label);
    for (size_t i = 0; i < 6; i++) {
        if (fm_buf_ok(&text[i])) fm_grid_put(grid, i + 2, fm_buf_text(&text[i]));
        else grid->failed = true;
        fm_buf_release(&text[i]);
    }
}

static fm_status list_text(const struct list *list, struct fm_buf *out, struct fm_err *err)
{
    static const char *const title[] = { "device", "cell", "figure", "nights", "first", "last", "night to night", "changed" };
    struct fm_grid grid = { 0 };
    for (size_t i = 0; i < sizeof title / sizeof *title; i++) (void)fm_grid_column(&grid, NULL, title[i], i >= 3 && i <= 6);
    for (int changed = 1; changed >= 0; changed--)
        for (size_t i = 0; i < list->count; i++)
            if (list->item[i].trend.changed == (changed == 1)) put_row(&grid, &list->item[i]);
    fm_grid_text(&grid, 0, out);
    bool failed = grid.failed || !fm_buf_ok(out);
    fm_grid_release(&grid);
    return failed ? FM_FAIL(err, FM_NOMEM, "the history's table") : FM_OK;
}

static bool put_number(cJSON *o, const char *key, double value)
{
    return fm_json_put(o, key, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static cJSON *series_json(const struct series *s)
{
    cJSON *o = cJSON_CreateObject();
    const struct fm_trend *t = &s->trend;
    bool good = o && fm_json_put(o, "device", cJSON_CreateString(s->device)) && fm_json_put(o, "cell", cJSON_CreateString(s->cell)) &&
                fm_json_put(o, "label", cJSON_CreateString(s->label)) && fm_json_put(o, "figure", cJSON_CreateString(s->what)) &&
                fm_json_put(o, "batch", s->batch ? fm_json_new_i64(s->batch) : cJSON_CreateNull()) &&
                put_number(o, "nights", (double)t->nights) && put_number(o, "first", t->first) && put_number(o, "last", t->last) &&
                put_number(o, "lowest", t->lowest) && put_number(o, "highest", t->highest) && put_number(o, "night_error", t->night_error.error) &&
                fm_json_put(o, "changed", t->changed ? cJSON_CreateString(s->change_started) : cJSON_CreateNull()) &&
                put_number(o, "before", t->changed ? t->before : NAN) && put_number(o, "after", t->changed ? t->after : NAN) &&
                put_number(o, "p", t->p);
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}

static fm_status list_json(const struct list *list, struct fm_buf *out, struct fm_err *err)
{
    cJSON *o = cJSON_CreateObject(), *array = o ? cJSON_AddArrayToObject(o, "series") : NULL;
    bool good = array && fm_json_put(o, "schema", cJSON_CreateString("fillmark.history/1"));
    for (size_t i = 0; good && i < list->count; i++) good = fm_json_push(array, series_json(&list->item[i]));
    fm_status status = good ? fm_json_print(o, out, err) : FM_FAIL(err, FM_NOMEM, "the history's JSON");
    cJSON_Delete(o);
    if (status == FM_OK) fm_buf_putc(out, '\n');
    return status;
}

fm_status fm_history_list(struct fm_history *h, bool json, struct fm_buf *out, struct fm_err *err)
{
    struct list list = { 0 };
    fm_status status = read_all(h, &list, err);
    if (status == FM_OK) status = json ? list_json(&list, out, err) : list_text(&list, out, err);
    fm_free(list.item);
    return status;
}
