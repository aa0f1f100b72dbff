/* The configuration of a run that is resumed: what its journal recorded, unless it is given again. */
#include "tuner/options/internal.h"

#include "results/journal.h"
#include "results/resume.h"
#include "tuner/base/memory.h"

#include <string.h>

static const char *value_of(const struct fm_givens *givens, enum fm_option_id id)
{
    const struct fm_given *best = NULL;
    for (size_t i = 0; i < givens->count; i++)
        if (givens->item[i].id == id && (!best || givens->item[i].origin > best->origin)) best = &givens->item[i];
    return best && best->count ? best->value[0].text : NULL;
}

/* one pair of fm_options_echo(); a key that this version does not have is left to the check of versions */
static fm_status add_pair(struct fm_givens *givens, const char *key, const char *value, struct fm_err *err)
{
    bool set = strncmp(key, "set.", 4) == 0;
    enum fm_option_id id = set ? FM_OPTION_SET : fm_option_find(key, strlen(key));
    if (id == FM_OPTION_COUNT || !fm_option_of(id, givens->command)) return FM_OK;
    if (id == FM_OPTION_OUT || id == FM_OPTION_RESUME || id == FM_OPTION_JSON) return FM_OK;
    struct fm_given *g = fm_givens_add(givens, id, FM_ORIGIN_RECORD);
    if (!g || (set && !fm_given_key(g, key + 4, strlen(key + 4)))) return FM_OPTIONS_NOMEM(err);
    struct fm_given_value raw = { .text = fm_strdup(value) };
    if (!raw.text) return FM_OPTIONS_NOMEM(err);
    fm_status status = fm_given_split(givens, g, &raw, err);
    fm_free(raw.text);
    return status;
}

fm_status fm_recorded_read(struct fm_givens *givens, struct fm_err *err)
{
    const char *resume = value_of(givens, FM_OPTION_RESUME), *out = value_of(givens, FM_OPTION_OUT);
    struct fm_records records = { 0 };
    const cJSON *run = NULL, *pair = NULL;
    bool torn;
    if (!resume || strcmp(resume, "true") != 0 || !out) return FM_OK;
    struct fm_err why = { 0 };
    fm_status status = fm_journal_read(out, &records, &torn, &why);
    if (status != FM_OK)
        FM_FAIL(err, status, "%s%s", why.text, status == FM_IO ? "; without --resume a new run begins there" : "");
    if (status == FM_OK && !records.count)
        status = FM_FAIL(err, FM_INVALID, "--resume: the run in %s ended before its options were written, so there is nothing to go on "
                         "with; begin it again: give its options without --resume, or delete that folder", out);
    if (status == FM_OK) status = fm_resume_run(&records, &run, err);
    cJSON_ArrayForEach(pair, cJSON_GetObjectItemCaseSensitive(run, "config")) {
        if (status != FM_OK) break;
        if (cJSON_IsString(pair)) status = add_pair(givens, pair->string, pair->valuestring, err);
    }
    fm_records_release(&records);
    return status;
}
