#include "tuner/commands/plan_cell.h"

#include "probes/protocol/json.h"
#include "tuner/campaign/record.h"
#include "workloads/program/pytorch.h"

#include <math.h>
#include <string.h>

struct planning {
    const struct fm_options *options;
    const struct fm_plan_device *device;
    struct fm_session *session;         /* the device's, or a branch of it */
    struct fm_records *records;
};

static fm_status put(struct planning *p, cJSON *record, struct fm_err *err)
{
    if (!record) return FM_FAIL(err, FM_NOMEM, "a record");
    if (!cJSON_GetObjectItemCaseSensitive(record, "device"))
        (void)cJSON_AddStringToObject(record, "device", p->session->device->device_id);
    return fm_records_add(p->records, record, err);
}

/* Speed by the table of devices: the bound, what a run makes of it, and the basis. The session's program is that of the row. */
static bool add_speed(const struct planning *p, const struct fm_cell *cell, cJSON *row)
{
    struct fm_roofline bound = { .seconds = { NAN } };
    if (p->device->gpu) bound = fm_roofline_step(p->device->gpu, &p->session->program);
    double least = fm_roofline_seconds(&bound), samples = (double)p->session->program.samples;
    if (!(least > 0)) return true;              /* unknown is absent */
    struct fm_buf basis = FM_BUF(2048);
    double seconds = fm_calibrated_seconds(p->options->calibrate ? &p->device->calibrated : NULL, cell, &bound, &basis);
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
    return pytorch_bytes < 0 || (fm_json_add_i64(planned, "pytorch_flash_temporaries_bytes", pytorch_bytes) &&
                                 (planned_bytes < 0 || fm_json_add_i64(planned, "flash_workspace_bytes", planned_bytes)));
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
        good = max && fm_json_add_i64(max, "train", train) && (val < 0 || fm_json_add_i64(max, "val", val)) &&
               fm_json_add_i64(o, "planned_batch", train);
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

/* The smaller batches that a target for the global batch can be made of, so that what they take is planned and not bounded. One
 * that the device cannot run is left out: the cell's own batch stands. */
static fm_status plan_shares(struct planning *p, const struct fm_cell *cell, struct fm_cell_batch top, struct fm_err *err)
{
    int64_t devices = p->options->devices > 0 ? p->options->devices : 1, share = p->options->target_global_batch / devices;
    bool own_val = strcmp(cell->value[FM_STRATEGY_VAL_BATCH], "max") != 0;
    if (p->options->target_global_batch % devices) return FM_OK;
    for (int64_t b = 1; b < top.train && b <= share; b++) {
        struct fm_err why = { 0 };
        if (share % b) continue;
        fm_status status = plan_batch(p, cell, (struct fm_cell_batch){ .train = b, .val = own_val ? fm_cell_val_batch(cell, b) : top.val }, &why);
        if (status != FM_OK && status != FM_UNSUPPORTED && status != FM_INVALID) return FM_FAIL(err, status, "%s", why.text);
    }
    return FM_OK;
}

static fm_status plan_cell(struct planning *p, size_t index, struct fm_err *err)
{
    const struct fm_cell *cell = &p->device->space.cell[index];
    struct fm_plan_max_answer answer = { 0 };
    struct fm_err why = { 0 };
    fm_status status = put(p, fm_record_cell(p->session, cell, p->device->space.reproduce[index], err), err);
    if (status != FM_OK) return status;
    bool limited = p->session->capacity_bytes != INT64_MAX || p->options->max_batch != FM_SEARCH_BATCH_LIMIT;
    if (limited) status = fm_session_max_batch(p->session, cell, p->options->max_batch, 0, &answer, &why);
    int64_t batch = p->options->batch ? p->options->batch : limited && answer.max_batch ? answer.max_batch : 1;
    int64_t val = 0;
    if (status == FM_OK) status = val_batch_of(p, cell, batch, &val, &why);
    const struct fm_cell_batch top = { .train = batch, .val = val };
    if (status == FM_OK) status = plan_batch(p, cell, top, &why);
    if (status == FM_OK) status = plan_shares(p, cell, top, &why);
    if (status == FM_UNSUPPORTED || status == FM_INVALID) return put_verdict(p, cell, "unsupported", why.text, -1, -1, err);
    if (status != FM_OK) return FM_FAIL(err, status, "%s", why.text);
    int64_t top_val = limited && answer.max_batch ? p->options->batch ? fm_cell_val_batch(cell, answer.max_batch) : val : -1;
    return put_verdict(p, cell, "planned", "", limited ? answer.max_batch : -1, top_val, err);
}

fm_status fm_plan_cell(const struct fm_plan_device *device, const struct fm_options *options, struct fm_session *session, size_t index,
                       struct fm_records *out, struct fm_err *err)
{
    struct planning p = { .options = options, .device = device, .session = session, .records = out };
    return plan_cell(&p, index, err);
}
