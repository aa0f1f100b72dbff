/* fillmark plan: the same cells by arithmetic alone. Its records are those of a run, kept in memory and folded likewise. */
#include "tuner/commands/commands.h"

#include "results/export.h"
#include "results/fold.h"
#include "results/journal.h"
#include "results/plan_table.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/commands/plan_cells.h"
#include "tuner/commands/records.h"
#include "tuner/options/device_table.h"

#include <stdio.h>
#include <string.h>

/* opens what --device names, here or of the table */
static fm_status open_device(const struct fm_options *o, const char *device, const struct fm_gpus *gpus, struct fm_session *out,
                             struct fm_err *err)
{
    struct fm_session_config config = { .device = strcmp(device, "all") == 0 ? "cpu" : device, .threads = (int32_t)o->threads,
                                        .memory_bytes = o->memory_bytes, .memory_auto_bytes = fm_options_memory_auto(o) };
    if (fm_device_is_planned_for(config.device)) config.gpu = fm_gpus_find(gpus, config.device);
    return fm_session_open(out, &config, err);
}

/* the table's device that the driver calls so */
static const struct fm_gpu *gpu_titled(const struct fm_gpus *gpus, const char *title)
{
    for (size_t i = gpus->count; i-- > 0;)          /* a user's own come last, and first here */
        if (strcmp(gpus->item[i].title, title) == 0) return &gpus->item[i];
    return NULL;
}

struct planning {
    const struct fm_options *options;
    struct fm_gpus gpus;
    struct fm_result run;               /* --calibrate's */
    struct fm_session *session;         /* one a device; fm_record_run wants them in a row */
    struct fm_plan_device *device;
    size_t devices, opened;
};

/* what the run says of this device, if one was given */
static fm_status calibrate_device(struct planning *p, struct fm_plan_device *d, struct fm_err *err)
{
    const struct fm_session *s = d->session;
    d->gpu = s->config.gpu ? s->config.gpu : gpu_titled(&p->gpus, s->device->device_name);
    if (!p->options->calibrate) return FM_OK;
    if (d->gpu) return fm_calibrate(&p->run, p->options->calibrate, d->gpu, &d->calibrated, err);
    (void)snprintf(d->calibrated.why, sizeof d->calibrated.why, "the table of devices has no %.100s, so its peak rates are not known",
                   s->device->device_name[0] ? s->device->device_name : s->config.device);
    return FM_OK;
}

/* a run that calibrates none of the devices was given by mistake */
static fm_status calibrate_devices(struct planning *p, struct fm_err *err)
{
    bool known = false;
    for (size_t i = 0; i < p->devices; i++) {
        fm_status status = calibrate_device(p, &p->device[i], err);
        if (status != FM_OK) return status;
        known = known || p->device[i].calibrated.known;
    }
    if (!p->options->calibrate || known) return FM_OK;
    return FM_FAIL(err, FM_INVALID, "--calibrate: %s; fillmark show devices lists the table, --device-file adds to it",
                   p->device[0].calibrated.why);
}

static fm_status open_devices(struct planning *p, struct fm_err *err)
{
    fm_status status = fm_device_table(p->options, &p->gpus, err);
    while (status == FM_OK && p->opened < p->devices) {
        struct fm_session *s = &p->session[p->opened];
        status = open_device(p->options, p->options->device.item[p->opened], &p->gpus, s, err);
        if (status != FM_OK) break;
        p->device[p->opened++].session = s;
    }
    return status;
}

static fm_status build_spaces(struct planning *p, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < p->devices && status == FM_OK; i++) {
        const struct fm_session *s = &p->session[i];
        int64_t memory_bytes = s->capacity_bytes == INT64_MAX ? 0 : s->capacity_bytes;
        status = fm_space_build(p->options, s->config.device, memory_bytes, &p->device[i].space, err);
    }
    return status;
}

static fm_status add_record(struct fm_records *records, cJSON *record, struct fm_err *err)
{
    return record ? fm_records_add(records, record, err) : FM_FAIL(err, FM_NOMEM, "a record");
}

static fm_status plan_all(struct planning *p, struct fm_records *out, struct fm_err *err)
{
    fm_status status = open_devices(p, err);
    if (status == FM_OK && p->options->calibrate) status = fm_result_read(p->options->calibrate, &p->run, err);
    bool read = status == FM_OK && p->options->calibrate;
    if (status == FM_OK) status = calibrate_devices(p, err);
    if (status == FM_OK) status = build_spaces(p, err);
    if (status == FM_OK) status = add_record(out, fm_record_run("run", p->options, p->session, p->devices), err);
    if (status == FM_OK) status = fm_plan_cells(p->options, p->device, p->devices, 0, out, err);
    if (status == FM_OK) status = add_record(out, fm_record_end(&(struct fm_campaign_totals){ 0 }, false), err);
    for (size_t i = 0; i < p->devices; i++) fm_space_release(&p->device[i].space);
    while (p->opened) fm_session_close(&p->session[--p->opened]);
    fm_gpus_release(&p->gpus);
    if (read) fm_result_release(&p->run);
    return status;
}

fm_status fm_plan_records(const struct fm_options *o, struct fm_records *out, struct fm_err *err)
{
    struct planning p = { .options = o, .devices = o->device.count };
    p.session = fm_calloc(p.devices, sizeof *p.session);
    p.device = fm_calloc(p.devices, sizeof *p.device);
    *out = (struct fm_records){ 0 };
    fm_status status = p.session && p.device ? plan_all(&p, out, err) : FM_FAIL(err, FM_NOMEM, "%zu devices", p.devices);
    fm_free(p.session);
    fm_free(p.device);
    if (status != FM_OK) fm_records_release(out);
    return status;
}

static fm_status print_plans(const struct fm_result *result, struct fm_err *err)
{
    struct fm_buf text = FM_BUF((size_t)64 << 20);
    fm_status status = fm_plan_table(result, (struct fm_plan_form){ 0 }, &text, err);
    if (status == FM_OK && fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes)
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    return status;
}

/* --out on the command line; a configuration file's is that of the run it is for */
static bool keeps(const struct fm_options *o)
{
    return o->out && o->origin[FM_OPTION_OUT] == FM_ORIGIN_FLAG && !o->resume;
}

/* the plans as a run's folder, for report */
static fm_status keep(struct fm_journal *journal, const struct fm_records *records, const struct fm_result *result, const char *folder,
                      struct fm_err *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < records->count && status == FM_OK; i++) status = fm_journal_append(journal, records->item[i], err);
    if (status == FM_OK) status = fm_result_write(result, folder, err);
    if (status == FM_OK) fm_log(FM_LOG_INFO, "plans are in %s: table.md, table.csv, rows.jsonl, result.json, journal.jsonl", folder);
    return status;
}

fm_status fm_command_plan(const struct fm_options *o, struct fm_err *err)
{
    struct fm_records records = { 0 }, before = { 0 };
    struct fm_result result;
    struct fm_journal *journal = NULL;
    fm_status status = keeps(o) ? fm_journal_open(&journal, o->out, false, &before, err) : FM_OK;
    if (status == FM_OK) status = fm_plan_records(o, &records, err);
    if (status == FM_OK) status = fm_result_fold(&records, &result, err);
    if (status == FM_OK) {
        status = o->json ? fm_print_result(&result, true, err) : print_plans(&result, err);
        if (status == FM_OK && journal) status = keep(journal, &records, &result, o->out, err);
        fm_result_release(&result);
    }
    fm_journal_close(journal);
    fm_records_release(&before);
    fm_records_release(&records);
    return status;
}
