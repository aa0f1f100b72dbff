/* fillmark plan: the same cells by arithmetic alone. Its records are those of a run, kept in memory and folded likewise. */
#include "tuner/commands/commands.h"

#include "results/export.h"
#include "results/fold.h"
#include "results/journal.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/commands/calibrate.h"
#include "tuner/campaign/record.h"
#include "tuner/campaign/roofline.h"
#include "tuner/options/device_table.h"
#include "tuner/commands/plan_table.h"
#include "tuner/commands/records.h"
#include "tuner/options/space.h"
#include "workloads/program/pytorch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct planning {
    const struct fm_options *options;
    struct fm_session *session;
    const struct fm_gpu *gpu;           /* the session's device in the table; NULL: it is not there */
    struct fm_result run;               /* --calibrate's */
    struct fm_calibrated calibrated;    /* of the session's device */
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

/* Speed by the table of devices: the bound, what a run makes of it, and the basis. The session's program is that of the row. */
static bool add_speed(const struct planning *p, const struct fm_cell *cell, cJSON *row)
{
    struct fm_roofline bound = { .seconds = { NAN } };
    if (p->gpu) bound = fm_roofline_step(p->gpu, &p->session->program);
    double least = fm_roofline_seconds(&bound), samples = (double)p->session->program.samples;
    if (!(least > 0)) return true;              /* unknown is absent */
    struct fm_buf basis = FM_BUF(2048);
    double seconds = fm_calibrated_seconds(p->options->calibrate ? &p->calibrated : NULL, cell, &bound, &basis);
    cJSON *planned = cJSON_GetObjectItemCaseSensitive(row, "planned");
    bool good = fm_buf_ok(&basis) && cJSON_AddNumberToObject(planned, "bound_samples_per_s", samples / least) &&
                (!(seconds > 0) || cJSON_AddNumberToObject(planned, "calibrated_samples_per_s", samples / seconds)) &&
                cJSON_AddStringToObject(planned, "speed_basis", fm_buf_text(&basis));
    fm_buf_release(&basis);
    return good;
}

/* Scratch of attention in one kernel, where it is most: what is planned, and what PyTorch's own kernel would hold instead.
 * The latter is in no peak. */
static bool add_flash(const struct planning *p, cJSON *row)
{
    const struct fm_program *program = &p->session->program;
    int64_t pytorch_bytes = -1, planned_bytes = -1;
    for (size_t i = program->section[FM_SECTION_TRAIN]; i < program->section[FM_SECTION_TRAIN + 1]; i++) {
        const struct fm_instr *instr = &program->instr[i];
        if (instr->kind != FM_CALL || program->call[instr->a].kernel != FM_K_SDPA_BWD) continue;
        struct fm_problem problem = fm_program_problem(program, instr->a);
        int64_t bytes = fm_pytorch_flash_temporaries_bytes(&problem);
        if (bytes <= pytorch_bytes) continue;
        const struct fm_workspace_entry *known = fm_workspaces_find(&p->session->workspaces, program->call[instr->a].key);
        pytorch_bytes = bytes;
        planned_bytes = known && known->candidates.count ? known->candidates.item[0].workspace_bytes : known ? 0 : -1;
    }
    cJSON *planned = cJSON_GetObjectItemCaseSensitive(row, "planned");
    return pytorch_bytes < 0 || (cJSON_AddNumberToObject(planned, "pytorch_flash_temporaries_bytes", (double)pytorch_bytes) &&
                                 (planned_bytes < 0 || cJSON_AddNumberToObject(planned, "flash_workspace_bytes", (double)planned_bytes)));
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
    if (train && (!add_speed(p, cell, train) || !add_flash(p, train))) {
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

/* the table's device that the driver calls so */
static const struct fm_gpu *gpu_titled(const struct fm_gpus *gpus, const char *title)
{
    for (size_t i = gpus->count; i-- > 0;)          /* a user's own come last, and first here */
        if (strcmp(gpus->item[i].title, title) == 0) return &gpus->item[i];
    return NULL;
}

/* what the run says of this device, if one was given */
static fm_status calibrate_device(struct planning *p, const struct fm_gpus *gpus, struct fm_err *err)
{
    const struct fm_session *s = p->session;
    p->gpu = s->config.gpu ? s->config.gpu : gpu_titled(gpus, s->device->device_name);
    p->calibrated = (struct fm_calibrated){ 0 };
    if (!p->options->calibrate) return FM_OK;
    if (p->gpu) return fm_calibrate(&p->run, p->options->calibrate, p->gpu, &p->calibrated, err);
    (void)snprintf(p->calibrated.why, sizeof p->calibrated.why, "the table of devices has no %.100s, so its peak rates are not known",
                   s->device->device_name[0] ? s->device->device_name : s->config.device);
    return FM_OK;
}

/* a run that calibrates none of the devices was given by mistake */
static fm_status calibrate_devices(struct planning *p, struct fm_session *session, size_t devices, const struct fm_gpus *gpus,
                                   struct fm_err *err)
{
    char first[sizeof p->calibrated.why] = "";
    if (!p->options->calibrate) return FM_OK;
    for (size_t i = 0; i < devices; i++) {
        p->session = &session[i];
        fm_status status = calibrate_device(p, gpus, err);
        if (status != FM_OK || p->calibrated.known) return status;
        if (!first[0]) memcpy(first, p->calibrated.why, sizeof first);
    }
    return FM_FAIL(err, FM_INVALID, "--calibrate: %s; fillmark show devices lists the table, --device-file adds to it", first);
}

static fm_status plan_device(struct planning *p, const struct fm_gpus *gpus, struct fm_err *err)
{
    const struct fm_session *s = p->session;
    fm_status status = calibrate_device(p, gpus, err);
    if (status == FM_OK)
        status = fm_space_build(p->options, s->config.device, s->capacity_bytes == INT64_MAX ? 0 : s->capacity_bytes, &p->space, err);
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
    bool calibrates = status == FM_OK && o->calibrate;
    if (calibrates) status = fm_result_read(o->calibrate, &p.run, err);
    bool read = calibrates && status == FM_OK;
    if (read) status = calibrate_devices(&p, session, devices, &gpus, err);
    if (status == FM_OK) {
        p.session = session;
        status = put(&p, fm_record_run("run", o, session, devices), err);
    }
    for (size_t i = 0; i < devices && status == FM_OK; i++) {
        p.session = &session[i];
        status = plan_device(&p, &gpus, err);
    }
    cJSON *end = status == FM_OK ? fm_record_end(&(struct fm_campaign_totals){ 0 }, false) : NULL;
    if (status == FM_OK) status = end ? fm_records_add(&p.records, end, err) : FM_FAIL(err, FM_NOMEM, "a record");
    while (opened) fm_session_close(&session[--opened]);
    fm_free(session);
    fm_gpus_release(&gpus);
    if (read) fm_result_release(&p.run);
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
