/* fillmark export: the best cell of a workload, in the words of a training framework: on stdout, or into a file. */
#include "tuner/commands/commands.h"

#include "results/export_formats/diff.h"
#include "results/export_formats/edit.h"
#include "results/export_formats/formats.h"
#include "results/export_formats/rewrite.h"
#include "results/export_formats/template.h"
#include "tuner/commands/advise_query.h"
#include "tuner/base/log.h"
#include "tuner/base/memory.h"
#include "tuner/options/table.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)8 << 20)

static fm_status print(const struct fm_buf *text, struct fm_err *err)
{
    if (fwrite(fm_buf_text(text), 1, text->bytes, stdout) == text->bytes && fflush(stdout) == 0) return FM_OK;
    return FM_FAIL(err, FM_IO, "writing to standard output failed");
}

/* ---- what is to be exported ---- */

/* a cell that is named, or the largest batch, leaves nothing to be advised */
static fm_status check_named(const struct fm_options *o, struct fm_err *err)
{
    if (!o->only.count && !o->largest) return FM_OK;
    for (int id = 0; id < FM_OPTION_COUNT; id++) {
        const struct fm_option *option = &fm_option_table[id];
        bool asks = option->group == FM_GROUP_ADVICE || option->group == FM_GROUP_STRATEGIES || option->kind == FM_OPTION_SETTING;
        if (asks && o->origin[id] == FM_ORIGIN_FLAG)
            return FM_FAIL(err, FM_INVALID, "--%s: not with --%s, which already says what to export", option->name, o->largest ? "largest" : "only");
    }
    return FM_OK;
}

static fm_status check_options(const struct fm_options *o, const struct fm_export_format **format, struct fm_err *err)
{
    struct fm_err cause = { 0 };
    *format = fm_export_find(o->format ? o->format : "", &cause);
    if (!*format) return FM_FAIL(err, FM_INVALID, "--format: %s", cause.text);
    bool template = (*format)->kind == FM_EXPORT_TEMPLATE;
    if (template != (o->template != NULL))
        return FM_FAIL(err, FM_INVALID, "%s", template ? "--format template: which file? (--template FILE)" : "--template: for --format template alone");
    if (o->into && !(*format)->edits)
        return FM_FAIL(err, FM_INVALID, "--into: '%s' is no YAML or JSON that keys could be set in; without --into it is printed", (*format)->name);
    if (o->dry_run && !o->into) return FM_FAIL(err, FM_INVALID, "--dry-run: for --into alone; without it no file is changed anyway");
    if (o->workload.count > 1 || o->device.count > 1 || o->only.count > 1)
        return FM_FAIL(err, FM_INVALID, "--%s: one, please; one configuration is exported",
                       o->workload.count > 1 ? "workload" : o->device.count > 1 ? "device" : "only");
    return check_named(o, err);
}

/* the run's workload, if it has but one; else it must be named */
static fm_status only_workload(const struct fm_result *result, const char **name, struct fm_err *err)
{
    *name = result->cell_count ? result->cells[0].workload : NULL;
    if (!*name) return FM_FAIL(err, FM_INVALID, "the run has no cell yet; there is nothing to export");
    for (size_t i = 1; i < result->cell_count; i++)
        if (strcmp(result->cells[i].workload, *name) != 0)
            return FM_FAIL(err, FM_INVALID, "--workload: which? the run has %s, %s, ...", *name, result->cells[i].workload);
    return FM_OK;
}

/* as fillmark advise does; the choice borrows from *result */
static fm_status choose_advised(const struct fm_options *o, const struct fm_result *result, struct fm_advise_query *query,
                                struct fm_choice *choice, struct fm_err *err)
{
    struct fm_advice *advice = fm_calloc(1, sizeof *advice);
    if (!advice) return FM_FAIL(err, FM_NOMEM, "advice");
    fm_status status = fm_advise(result, query, advice, err);
    if (status == FM_OK && !advice->found)
        status = FM_FAIL(err, FM_OOM, "%s: nothing of what was asked for fits; 'fillmark advise' with the same options says what would",
                         o->workload.item[0]);
    if (status == FM_OK) *choice = advice->best.choice;
    fm_free(advice);
    return status;
}

static fm_status choose_named(const struct fm_options *o, const struct fm_result *result, struct fm_choice *choice, struct fm_err *err)
{
    struct fm_choice_query query = { .largest = o->largest, .workload = o->workload.item[0] };
    if (strcmp(o->device.item[0], "all") != 0) query.device = o->device.item[0];
    if (o->only.count) query.only = o->only.item[0];
    return fm_choice_best(result, &query, choice, err);
}

/* ---- where it goes ---- */

/* what the file has no room for */
static void log_notes(const struct fm_choice *choice, const struct fm_entries *entries)
{
    struct fm_buf about = FM_BUF(4096);
    fm_export_about(choice, &about);
    fm_log(FM_LOG_INFO, "%s", fm_buf_text(&about));
    fm_buf_release(&about);
    for (size_t i = 0; i < entries->notes; i++) fm_log(FM_LOG_INFO, "%s", entries->note[i]);
}

static fm_status write_or_diff(const struct fm_options *o, const struct fm_buf *before, const struct fm_file_state *state,
                               const struct fm_buf *after, struct fm_err *err)
{
    struct fm_buf diff = FM_BUF(TEXT_MAX);
    if (before->bytes == after->bytes && memcmp(fm_buf_text(before), fm_buf_text(after), after->bytes) == 0) {
        fm_log(FM_LOG_INFO, "%s says all of this already", o->into);
        return FM_OK;
    }
    if (!o->dry_run) {
        fm_status status = fm_file_rewrite(o->into, state, after, err);
        if (status == FM_OK) fm_log(FM_LOG_INFO, "%s is changed", o->into);
        return status;
    }
    fm_status status = fm_diff_unified(o->into, before, after, &diff, err);
    if (status == FM_OK) status = print(&diff, err);
    fm_buf_release(&diff);
    return status;
}

static fm_status edit_file(const struct fm_options *o, const struct fm_entries *entries, struct fm_err *err)
{
    struct fm_buf before = FM_BUF(TEXT_MAX), after = FM_BUF(TEXT_MAX);
    struct fm_file_state state;
    fm_status status = FM_OK;
    FM_TRY(fm_file_take(o->into, &before, &state, err));
    FM_TRY(fm_edit(o->into, fm_buf_text(&before), before.bytes, entries, &after, err));
    FM_TRY(write_or_diff(o, &before, &state, &after, err));
out:
    fm_buf_release(&before);
    fm_buf_release(&after);
    return status;
}

static fm_status fill_template(const struct fm_options *o, const struct fm_choice *choice, struct fm_buf *text, struct fm_err *err)
{
    struct fm_buf given = FM_BUF(TEXT_MAX);
    struct fm_file_state state;
    fm_status status = fm_file_take(o->template, &given, &state, err);
    if (status == FM_OK) status = fm_template_fill(o->template, fm_buf_text(&given), given.bytes, choice, text, err);
    fm_buf_release(&given);
    return status;
}

static fm_status export_choice(const struct fm_options *o, const struct fm_export_format *format, const struct fm_choice *choice,
                               struct fm_err *err)
{
    struct fm_buf text = FM_BUF(TEXT_MAX);
    struct fm_entries *entries = fm_calloc(1, sizeof *entries);
    fm_status status = FM_OK;
    if (!entries) return FM_FAIL(err, FM_NOMEM, "no memory for an export");
    FM_TRY(fm_export_entries(format, choice, entries, err));
    if (o->into) {
        FM_TRY(edit_file(o, entries, err));
    } else {
        FM_TRY(o->template ? fill_template(o, choice, &text, err) : fm_export_new(format, choice, entries, &text, err));
        FM_TRY(print(&text, err));
    }
    if (o->into || (!fm_export_has_comments(format) && !o->template)) log_notes(choice, entries);
    else if (o->template && choice->note) fm_log(FM_LOG_INFO, "%s", choice->note);
out:
    fm_buf_release(&text);
    fm_free(entries);
    return status;
}

/* the options are those of one workload */
static fm_status export_one(const struct fm_options *o, const struct fm_export_format *format, struct fm_err *err)
{
    struct fm_advise_query query;
    struct fm_records planned = { 0 };
    struct fm_result result;
    struct fm_choice choice;
    char *allow = o->allow ? fm_strdup(o->allow) : NULL;
    fm_status status = o->allow && !allow ? FM_FAIL(err, FM_NOMEM, "the options") : fm_advise_query_of(o, allow, &query, err);
    if (status == FM_OK) status = fm_advise_result(o, &query, &planned, &result, err);
    if (status == FM_OK) {
        status = o->only.count || o->largest ? choose_named(o, &result, &choice, err) : choose_advised(o, &result, &query, &choice, err);
        if (status == FM_OK) status = export_choice(o, format, &choice, err);
        fm_result_release(&result);
        fm_records_release(&planned);
    }
    fm_free(allow);
    return status;
}

/* without --workload: the run's, if it has but one */
static fm_status export_only(const struct fm_options *o, const struct fm_export_format *format, struct fm_err *err)
{
    struct fm_options own = *o;
    struct fm_result result;
    const char *name;
    if (!o->operand[0]) return FM_FAIL(err, FM_INVALID, "export: which run, or, for plans, which --workload?");
    fm_status status = fm_result_read(o->operand[0], &result, err);
    if (status != FM_OK) return status;
    status = only_workload(&result, &name, err);
    char *copy = status == FM_OK ? fm_strdup(name) : NULL;
    if (status == FM_OK && !copy) status = FM_FAIL(err, FM_NOMEM, "the options");
    fm_result_release(&result);
    own.workload = (struct fm_texts){ .item = &copy, .count = 1 };
    if (status == FM_OK) status = export_one(&own, format, err);
    fm_free(copy);
    return status;
}

fm_status fm_command_export(const struct fm_options *o, struct fm_err *err)
{
    const struct fm_export_format *format;
    fm_status status = check_options(o, &format, err);
    if (status != FM_OK) return status;
    return o->workload.count ? export_one(o, format, err) : export_only(o, format, err);
}
