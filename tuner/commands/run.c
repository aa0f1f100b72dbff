/* fillmark run: one campaign a device, all into one journal; then the tables. */
#include "tuner/commands/commands.h"

#include "results/export.h"
#include "results/journal.h"
#include "results/numbers.h"
#include "results/resume.h"
#include "results/table.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/commands/progress.h"
#include "tuner/commands/records.h"
#include "tuner/options/space.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEVICES 16
#define MEASURED_NS INT64_C(500000000)

static atomic_bool cancel;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    atomic_store(&cancel, true);
    (void)signal(SIGINT, SIG_DFL);          /* a second one ends at once */
}

struct device_run {
    char name[64];                      /* as it was asked for */
    struct run *run;
    struct fm_session session;
    struct fm_space space;
    struct fm_campaign *campaign;
    fm_status status;
    struct fm_err err;
};

struct run {
    const struct fm_options *options;
    struct fm_journal *journal;
    struct fm_records records;              /* what an earlier run left */
    char folder[512];
    struct device_run device[MAX_DEVICES];
    size_t devices;
    struct fm_progress_view view;
    pthread_mutex_t screen;
};

/* ---- folders and devices ---- */

static void name_folder(const struct fm_options *o, char *folder, size_t bytes)
{
    char when[32] = "run";
    time_t now = time(NULL);
    struct tm local;
    if (o->out) {
        (void)snprintf(folder, bytes, "%s", o->out);
        return;
    }
    if (localtime_r(&now, &local)) (void)strftime(when, sizeof when, "%Y%m%d-%H%M%S", &local);
    (void)snprintf(folder, bytes, "results-%s", when);
}

static fm_status open_device(struct run *r, const char *name, struct fm_err *err)
{
    const struct fm_options *o = r->options;
    if (r->devices == MAX_DEVICES) return FM_FAIL(err, FM_INVALID, "more than %d devices", MAX_DEVICES);
    struct device_run *d = &r->device[r->devices];
    d->run = r;
    (void)snprintf(d->name, sizeof d->name, "%.*s", (int)sizeof d->name - 1, name);
    struct fm_session_config config = { .device = d->name, .threads = (int32_t)o->threads, .memory_bytes = o->memory_bytes,
                                         .memory_auto_bytes = fm_options_memory_auto(o), .cancel = &cancel };
    fm_status status = fm_session_open(&d->session, &config, err);
    if (status == FM_OK) r->devices++;
    return status;
}

/* every GPU, or the CPU where there is none */
static fm_status open_all(struct run *r, struct fm_err *err)
{
    struct fm_err why = { 0 };
    char name[32];
    fm_status status = open_device(r, "cuda:0", &why);
    if (status == FM_UNSUPPORTED) {
        /* without a worker it is not known whether there is one */
        fm_log(FM_LOG_INFO, "the CPU is taken, as %s: %s", fm_session_has_worker("cuda:0") ? "there is no GPU" : "no GPU can be used", why.text);
        return open_device(r, "cpu", err);
    }
    if (status != FM_OK) return FM_FAIL(err, status, "%s", why.text);
    int32_t count = r->device[r->devices - 1].session.device->device_count;
    for (int32_t i = 1; i < count && status == FM_OK; i++) {
        (void)snprintf(name, sizeof name, "cuda:%d", i);
        status = open_device(r, name, err);
    }
    return status;
}

static fm_status open_devices(struct run *r, struct fm_err *err)
{
    const struct fm_options *o = r->options;
    fm_status status = FM_OK;
    for (size_t i = 0; i < o->device.count && status == FM_OK; i++) {
        const char *name = o->device.item[i];
        status = strcmp(name, "all") == 0 ? open_all(r, err) : open_device(r, name, err);
    }
    return status;
}

/* ---- the campaigns' hooks ---- */

static fm_status append(void *context, const cJSON *record, struct fm_err *err)
{
    const struct device_run *d = context;
    return fm_journal_append(d->run->journal, record, err);
}

static void show_progress(void *context, const struct fm_progress *progress)
{
    struct device_run *d = context;
    (void)pthread_mutex_lock(&d->run->screen);
    fm_progress_show(&d->run->view, progress);
    (void)pthread_mutex_unlock(&d->run->screen);
}

static fm_status prepare(struct run *r, struct device_run *d, struct fm_err *err)
{
    const struct fm_options *o = r->options;
    fm_status status = fm_space_build(o, d->session.config.device, d->session.capacity_bytes, &d->space, err);
    if (status != FM_OK) return status;
    struct fm_campaign_config config = {
        .session = &d->session, .cell = d->space.cell, .reproduce = (const char *const *)d->space.reproduce, .cells = d->space.count,
        .search = o->search, .max_batch = o->max_batch, .time_budget_ns = o->time_budget_ns, .deadline_ns = o->deadline_ns,
        .measured_ns = MEASURED_NS, .launches = (uint32_t)o->launches, .seed = (uint64_t)o->seed, .poison = o->poison, .shared = o->shared, .learn = true,
        .record = append, .progress = show_progress, .context = d, .clock = fm_clock_system(),
    };
    d->campaign = fm_campaign_new(&config, err);
    if (!d->campaign) return FM_NOMEM;
    for (size_t i = 0; i < r->records.count; i++) {
        const char *device = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(r->records.item[i], "device"));
        if (device && strcmp(device, d->session.device->device_id) != 0) continue;
        status = fm_campaign_remember(d->campaign, r->records.item[i], err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

static void *campaign_thread(void *context)
{
    struct device_run *d = context;
    d->status = fm_campaign_run(d->campaign, &d->err);
    return NULL;
}

static fm_status run_campaigns(struct run *r, struct fm_err *err)
{
    pthread_t thread[MAX_DEVICES];
    fm_status status = FM_OK;
    size_t started = 0;
    for (; started < r->devices && status == FM_OK; started++) {
        if (pthread_create(&thread[started], NULL, campaign_thread, &r->device[started]) == 0) continue;
        status = FM_FAIL(err, FM_NOMEM, "a thread for %s", r->device[started].session.device->device_id);
        break;
    }
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(thread[i], NULL);
        if (r->device[i].status != FM_OK && status == FM_OK) status = FM_FAIL(err, r->device[i].status, "%s", r->device[i].err.text);
    }
    fm_progress_end(&r->view);
    return status;
}

/* ---- the journal around them ---- */

static fm_status put(struct run *r, cJSON *record, struct fm_err *err)
{
    fm_status status = record ? fm_journal_append(r->journal, record, err) : FM_FAIL(err, FM_NOMEM, "a journal record");
    cJSON_Delete(record);
    return status;
}

static fm_status begin_journal(struct run *r, struct fm_err *err)
{
    const struct fm_options *o = r->options;
    struct fm_session sessions[MAX_DEVICES];
    const cJSON *then = NULL;
    fm_status status = fm_journal_open(&r->journal, r->folder, o->resume, &r->records, err);
    bool again = status == FM_OK && r->records.count > 0;
    if (again) status = fm_resume_run(&r->records, &then, err);
    if (status != FM_OK) return status;
    for (size_t i = 0; i < r->devices; i++) {
        struct fm_session *s = &r->device[i].session;
        /* a quarter of what is free now may be another than it was */
        if (!o->memory_bytes) s->capacity_bytes = fm_resume_capacity(then, s->device->device_id, s->capacity_bytes);
        sessions[i] = *s;
    }
    cJSON *now = fm_record_run(again ? "resume" : "run", o, sessions, r->devices);
    if (again && now) status = fm_resume_check(then, now, err);
    if (status == FM_OK) return put(r, now, err);
    cJSON_Delete(now);
    return status;
}

static fm_status end_journal(struct run *r, bool interrupted, struct fm_err *err)
{
    struct fm_campaign_totals sum = { 0 };
    for (size_t i = 0; i < r->devices; i++) {
        struct fm_campaign_totals t = fm_campaign_totals(r->device[i].campaign);
        if (t.wall_ns > sum.wall_ns) sum.wall_ns = t.wall_ns;
        sum.steps_ns += t.steps_ns;
        sum.probes += t.probes;
    }
    return put(r, fm_record_end(&sum, interrupted), err);
}

/* ---- what is left behind ---- */

fm_status fm_print_result(const struct fm_result *result, bool json, struct fm_err *err)
{
    struct fm_buf text = FM_BUF((size_t)256 << 20);
    fm_status status = json ? fm_result_json_text(result, false, &text, err) : fm_table_text(result, &text, err);
    if (status == FM_OK && fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes)
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    return status;
}

static fm_status write_results(struct run *r, struct fm_err *err)
{
    struct fm_result result;
    fm_status status = fm_result_read(r->folder, &result, err);
    if (status != FM_OK) return status;
    status = fm_result_write(&result, r->folder, err);
    if (status == FM_OK) status = fm_print_result(&result, r->options->json, err);
    /* now, so that the table stands before what follows, and its loss is told */
    if (fflush(stdout) != 0 && status == FM_OK) status = FM_FAIL(err, FM_IO, "writing to standard output failed: %s", strerror(errno));
    fm_log(FM_LOG_INFO, "results are in %s: table.md, table.csv, rows.jsonl, result.json, journal.jsonl", r->folder);
    fm_result_release(&result);
    return status;
}

static void say_device(const struct run *r, const struct fm_session *s, size_t cells)
{
    struct fm_buf size = FM_BUF(64);
    fm_put_size(&size, s->capacity_bytes);
    fm_log(FM_LOG_INFO, "%s: %s, %zu cells within %s; journal in %s", s->device->device_id, s->device->device_name, cells, fm_buf_text(&size),
           r->folder);
    fm_buf_release(&size);
}

static fm_status run_all(struct run *r, struct fm_err *err)
{
    fm_status status = open_devices(r, err);
    if (status == FM_OK) status = begin_journal(r, err);
    for (size_t i = 0; i < r->devices && status == FM_OK; i++) status = prepare(r, &r->device[i], err);
    if (status != FM_OK) return status;
    for (size_t i = 0; i < r->devices; i++)
        say_device(r, &r->device[i].session, r->device[i].space.count);
    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    status = run_campaigns(r, err);
    if (status != FM_OK && status != FM_INTERRUPTED) return status;
    struct fm_err late = { 0 };
    fm_status done = end_journal(r, status == FM_INTERRUPTED, &late);
    if (done == FM_OK) done = write_results(r, &late);
    if (status == FM_INTERRUPTED) {
        *err = (struct fm_err){ 0 };
        return FM_FAIL(err, FM_INTERRUPTED, "interrupted; go on with: fillmark run --resume --out %s", r->folder);
    }
    return done == FM_OK ? FM_OK : FM_FAIL(err, done, "%s", late.text);
}

fm_status fm_command_run(const struct fm_options *o, struct fm_err *err)
{
    struct run *r = fm_calloc(1, sizeof *r);
    if (!r) return FM_FAIL(err, FM_NOMEM, "a run");
    r->options = o;
    r->view.terminal = isatty(STDERR_FILENO) == 1;
    (void)pthread_mutex_init(&r->screen, NULL);
    name_folder(o, r->folder, sizeof r->folder);
    fm_status status = o->resume && !o->out ? FM_FAIL(err, FM_INVALID, "--resume: which run? give its folder with --out") : run_all(r, err);
    for (size_t i = 0; i < r->devices; i++) {
        fm_campaign_free(r->device[i].campaign);
        fm_space_release(&r->device[i].space);
        fm_session_close(&r->device[i].session);
    }
    fm_journal_close(r->journal);
    fm_records_release(&r->records);
    (void)pthread_mutex_destroy(&r->screen);
    fm_free(r);
    return status;
}
