/* fillmark plan: the same cells by arithmetic alone. Its records are those of a run, kept in memory and folded likewise. */
#include "tuner/commands.h"

#include "results/export.h"
#include "results/fold.h"
#include "results/journal.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"
#include "tuner/campaign/roofline.h"
#include "tuner/device_table.h"
#include "tuner/plan_table.h"
#include "tuner/records.h"
#include "tuner/space.h"

#include <stdio.h>
#include <string.h>

struct planning {
    const struct fm_options *options;
    struct fm_session *session;
    struct fm_space space;
    struct fm_records records;
};

static fm_status put(struct planning *p, cJSON *record, struct fm_err *err)
{
    if (!record) return FM_FAIL(err, FM_NOMEM, "a record");
    if (!cJSON_GetObjectItemCaseSensitive(record, "device"))
        (void)cJSON_AddStringToObject(record, "device", p->session->device->device_id);
    return fm_records_add(&p->records, record, err);
}

/* of a GPU that is not here: what its table bounds the speed by; the session's program is that of the row */
static bool add_bound(const struct fm_session *s, cJSON *row)
{
    double seconds = s->config.gpu ? fm_roofline_step_seconds(s->config.gpu, &s->program) : 0;
    if (!(seconds > 0)) return true;        /* unknown is absent */
    return cJSON_AddNumberToObject(cJSON_GetObjectItemCaseSensitive(row, "planned"), "bound_samples_per_s",
                                   (double)s->program.samples / seconds) != NULL;
}

/* the rows of one batch */
static fm_status plan_batch(struct planning *p, const struct fm_cell *cell, struct fm_cell_batch batch, struct fm_err *err)
{
    struct fm_planned planned;
    fm_status status = fm_session_plan(p->session, cell, batch, &planned, err);
    if (status != FM_OK) return status;
    struct fm_row row = { .cell = cell, .batch = batch.train, .val_batch = batch.val, .role = "plan", .launch = 1, .planned = &planned,
                          .outcome = FM_OUTCOME_planned };
    cJSON *train = fm_record_row(&row);
    if (train && !add_bound(p->session, train)) {
        cJSON_Delete(train);
        train = NULL;
    }
    status = put(p, train, err);
    if (status != FM_OK || !batch.val || !planned.plan.val.reserved_bytes) return status;
    row.val = true;
    return put(p, fm_record_row(&row), err);
}

/* what a plan decides: a verdict that is no measurement */
static fm_status put_verdict(struct planning *p, const struct fm_cell *cell, const char *outcome, const char *reason, int64_t train,
                             int64_t val, struct fm_err *err)
{
    char id[17];
    cJSON *o = cJSON_CreateObject(), *max = NULL;
    fm_cell_id_text(cell, id);
    bool good = o && cJSON_AddStringToObject(o, "kind", "verdict") && cJSON_AddNumberToObject(o, "v", 1) &&
                cJSON_AddStringToObject(o, "cell", id) && cJSON_AddStringToObject(o, "outcome", outcome) &&
                cJSON_AddStringToObject(o, "reason", reason) && cJSON_AddBoolToObject(o, "certified", 0);
    if (good && train >= 0) {
        max = cJSON_AddObjectToObject(o, "max_batch");
        good = max && cJSON_AddNumberToObject(max, "train", (double)train) && (val < 0 || cJSON_AddNumberToObject(max, "val", (double)val)) &&
               cJSON_AddNumberToObject(o, "planned_batch", (double)train);
    }
    if (good) return put(p, o, err);
    cJSON_Delete(o);
    return FM_FAIL(err, FM_NOMEM, "a record");
}

/* val=max: the largest validation batch beside the training batch */
static fm_status val_batch_of(struct planning *p, const struct fm_cell *cell, int64_t train, int64_t *val, struct fm_err *err)
{
    struct fm_plan_max_answer answer;
    *val = fm_cell_val_batch(cell, train);
    if (strcmp(cell->value[FM_STRATEGY_VAL_BATCH], "max") != 0 || p->options->batch) return FM_OK;
    fm_status status = fm_session_max_batch(p->session, cell, p->options->max_batch, train, &answer, err);
    if (status == FM_OK) *val = answer.max_batch;
    return status;
}

static fm_status plan_cell(struct planning *p, size_t index, struct fm_err *err)
{
    const struct fm_cell *cell = &p->space.cell[index];
    struct fm_plan_max_answer answer = { 0 };
    struct fm_err why = { 0 };
    fm_status status = put(p, fm_record_cell(p->session, cell, p->space.reproduce[index], err), err);
    if (status != FM_OK) return status;
    bool limited = p->session->capacity_bytes != INT64_MAX || p->options->max_batch != FM_SEARCH_BATCH_LIMIT;
    if (limited) status = fm_session_max_batch(p->session, cell, p->options->max_batch, 0, &answer, &why);
    int64_t batch = p->options->batch ? p->options->batch : limited && answer.max_batch ? answer.max_batch : 1;
    int64_t val = 0;
    if (status == FM_OK) status = val_batch_of(p, cell, batch, &val, &why);
    if (status == FM_OK) status = plan_batch(p, cell, (struct fm_cell_batch){ .train = batch, .val = val }, &why);
    if (status == FM_UNSUPPORTED || status == FM_INVALID) return put_verdict(p, cell, "unsupported", why.text, -1, -1, err);
    if (status != FM_OK) return FM_FAIL(err, status, "%s", why.text);
    int64_t top_val = limited && answer.max_batch ? p->options->batch ? fm_cell_val_batch(cell, answer.max_batch) : val : -1;
    return put_verdict(p, cell, "planned", "", limited ? answer.max_batch : -1, top_val, err);
}

/* opens what --device names, here or of the table */
static fm_status open_device(const struct fm_options *o, const char *device, const struct fm_gpus *gpus, struct fm_session *out,
                             struct fm_err *err)
{
    struct fm_session_config config = { .device = strcmp(device, "all") == 0 ? "cpu" : device, .threads = (int32_t)o->threads,
                                        .memory_bytes = o->memory_bytes, .memory_auto_bytes = fm_options_memory_auto(o) };
    if (fm_device_is_planned_for(config.device)) config.gpu = fm_gpus_find(gpus, config.device);
    return fm_session_open(out, &config, err);
}

static fm_status plan_device(struct planning *p, struct fm_err *err)
{
    const struct fm_session *s = p->session;
    fm_status status = fm_space_build(p->options, s->config.device, s->capacity_bytes == INT64_MAX ? 0 : s->capacity_bytes, &p->space, err);
    for (size_t i = 0; i < p->space.count && status == FM_OK; i++) status = plan_cell(p, i, err);
    fm_space_release(&p->space);
    return status;
}

static fm_status print_plans(const struct fm_result *result, struct fm_err *err)
{
    struct fm_buf text = FM_BUF((size_t)64 << 20);
    fm_status status = fm_plan_table(result, &text, err);
    if (status == FM_OK && fwrite(fm_buf_text(&text), 1, text.bytes, stdout) != text.bytes)
        status = FM_FAIL(err, FM_IO, "writing to standard output failed");
    fm_buf_release(&text);
    return status;
}

fm_status fm_plan_records(const struct fm_options *o, struct fm_records *out, struct fm_err *err)
{
    struct planning p = { .options = o };
    struct fm_gpus gpus = { 0 };
    size_t opened = 0, devices = o->device.count;
    struct fm_session *session = fm_calloc(devices, sizeof *session);
    fm_status status = session ? fm_device_table(o, &gpus, err) : FM_FAIL(err, FM_NOMEM, "%zu devices", devices);
    while (status == FM_OK && opened < devices) {
        status = open_device(o, o->device.item[opened], &gpus, &session[opened], err);
        if (status == FM_OK) opened++;
    }
    if (status == FM_OK) {
        p.session = session;
        status = put(&p, fm_record_run("run", o, session, devices), err);
    }
    for (size_t i = 0; i < devices && status == FM_OK; i++) {
        p.session = &session[i];
        status = plan_device(&p, err);
    }
    cJSON *end = status == FM_OK ? fm_record_end(&(struct fm_campaign_totals){ 0 }, false) : NULL;
    if (status == FM_OK) status = end ? fm_records_add(&p.records, end, err) : FM_FAIL(err, FM_NOMEM, "a record");
    while (opened) fm_session_close(&session[--opened]);
    fm_free(session);
    fm_gpus_release(&gpus);
    if (status != FM_OK) fm_records_release(&p.records);
    *out = p.records;
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
