#include "tests/campaign/support_trial.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tuner/base/hash.h"
#include "tuner/base/memory.h"
#include "tuner/campaign/record.h"

#define CAPACITY ((int64_t)64 << 20)

static char folder[256];

const char *fm_trial_folder(void) { return folder; }

static void path_of(char path[400], const char *name) { (void)snprintf(path, 400, "%s/%s", folder, name); }

int fm_trial_setup(void **state)
{
    (void)state;
    struct stat about;
    char path[400], self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    (void)snprintf(folder, sizeof folder, "%s/fillmark-campaign-XXXXXX", stat("/dev/shm", &about) == 0 && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (n < 0 || !mkdtemp(folder)) return -1;
    self[n] = '\0';
    path_of(path, FM_FAKE_NAME);
    if (symlink(self, path) != 0) return -1;
    path_of(path, "cache");
    return setenv("FILLMARK_WORKER_DIR", folder, 1) || setenv("FILLMARK_CACHE_DIR", path, 1);
}

int fm_trial_teardown(void **state)
{
    (void)state;
    char command[400];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* ---- the device's side ---- */

size_t fm_trial_probes(struct fm_fake_entry entry[4096])
{
    char path[400];
    size_t count = 0, kept = 0;
    path_of(path, "log");
    FILE *file = fopen(path, "rbe");
    if (!file) return 0;
    count = fread(entry, sizeof *entry, 4096, file);
    (void)fclose(file);
    for (size_t i = 0; i < count; i++)
        if (entry[i].kind == FM_REQUEST_PROBE && !entry[i].learn) entry[kept++] = entry[i];
    return kept;
}

size_t fm_trial_requests(enum fm_request_kind kind)
{
    static struct fm_fake_entry entry[4096];
    char path[400];
    size_t count = 0, kept = 0;
    path_of(path, "log");
    FILE *file = fopen(path, "rbe");
    if (!file) return 0;
    count = fread(entry, sizeof *entry, 4096, file);
    (void)fclose(file);
    for (size_t i = 0; i < count; i++) kept += entry[i].kind == kind;
    return kept;
}

/* a probe takes probe_ns, all else no time */
static int64_t virtual_now(void *context)
{
    const struct fm_trial *t = context;
    return t->probe_ns ? (int64_t)fm_trial_requests(FM_REQUEST_PROBE) * t->probe_ns : 0;
}

static void write_script(const struct fm_trial *t)
{
    char path[400];
    path_of(path, "script");
    FILE *file = fopen(path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(&t->script, sizeof t->script, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

/* ---- the journal's side ---- */

static fm_status keep(struct fm_trial *t, cJSON *line, struct fm_err *err)
{
    cJSON **grown = line ? fm_grow(t->line, &t->room, t->lines + 1, sizeof *grown) : NULL;
    if (!grown) {
        cJSON_Delete(line);
        return FM_FAIL(err, FM_NOMEM, "a line");
    }
    t->line = grown;
    t->line[t->lines++] = line;
    return FM_OK;
}

static fm_status record(void *context, const cJSON *line, struct fm_err *err)
{
    struct fm_trial *t = context;
    fm_status status = keep(t, cJSON_Duplicate(line, 1), err);
    if (t->cancel_at && t->lines - t->remembered == (size_t)t->cancel_at) atomic_store(&t->cancel, true);
    return status;
}

void fm_trial_add(struct fm_trial *t, const char *json)
{
    assert_int_equal(keep(t, cJSON_Parse(json), NULL), FM_OK);
}

void fm_trial_cut(struct fm_trial *t, size_t lines)
{
    while (t->lines > lines) cJSON_Delete(t->line[--t->lines]);
}

void fm_trial_each(const struct fm_trial *t, void (*f)(void *context, const cJSON *record), void *context)
{
    for (size_t i = 0; i < t->lines; i++) {
        const cJSON *one = NULL;
        if (!cJSON_IsArray(t->line[i])) f(context, t->line[i]);
        else cJSON_ArrayForEach(one, t->line[i]) f(context, one);
    }
}

double fm_number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

const char *fm_words(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text ? text : "";
}

bool fm_truth(const cJSON *object, const char *key) { return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key)); }

struct pick {
    const char *kind;
    char id[17];
    bool any;
    size_t count;
    const cJSON *last;
};

static void pick_one(void *context, const cJSON *one)
{
    struct pick *p = context;
    if (strcmp(fm_words(one, "kind"), p->kind) != 0) return;
    if (!p->any && strcmp(fm_words(one, strcmp(p->kind, "cell") == 0 ? "id" : "cell"), p->id) != 0) return;
    p->count++;
    p->last = one;
}

static struct pick pick(const struct fm_trial *t, const char *kind, size_t cell)
{
    struct pick p = { .kind = kind, .any = cell >= t->cells };
    if (!p.any) fm_cell_id_text(&t->cell[cell], p.id);
    fm_trial_each(t, pick_one, &p);
    return p;
}

const cJSON *fm_trial_verdict(const struct fm_trial *t, size_t cell) { return pick(t, "verdict", cell).last; }
size_t fm_trial_count(const struct fm_trial *t, const char *kind, size_t cell) { return pick(t, kind, cell).count; }

/* ---- the campaign ---- */

void fm_trial_open(struct fm_trial *t, const char *const *words)
{
    struct fm_err err = { 0 };
    char path[400];
    *t = (struct fm_trial){ .probe_ns = 0 };
    path_of(path, "log");
    (void)unlink(path);
    for (; *words; words++) {
        assert_true(t->cells < FM_TRIAL_CELLS);
        t->cell[t->cells] = fm_toy_cell(*words);
        t->reproduce[t->cells++] = "reproduce";
    }
    write_script(t);
    struct fm_session_config config = { .device = "fake", .memory_bytes = CAPACITY, .cancel = &t->cancel };
    if (fm_session_open(&t->session, &config, &err) != FM_OK) fail_msg("%s", err.text);
    t->config = (struct fm_campaign_config){
        .session = &t->session, .cell = t->cell, .reproduce = t->reproduce, .cells = t->cells, .search = FM_SEARCH_PLAN,
        .max_batch = FM_SEARCH_BATCH_LIMIT, .deadline_ns = INT64_C(60000000000), .measured_ns = 1000000, .launches = 1, .seed = 1,
        .record = record, .context = t, .clock = { virtual_now, t },
    };
    struct fm_plan_max_answer plan = { .max_batch = -1 };
    if (fm_session_max_batch(&t->session, &t->cell[0], FM_SEARCH_BATCH_LIMIT, 0, &plan, &err) == FM_OK) t->planned_batch = plan.max_batch;
    t->script = (struct fm_fake_script){ .fits_batch = t->planned_batch, .special_fits_batch = -1, .step_fixed_ns = 1000000, .step_sample_ns = 100000 };
}

void fm_trial_close(struct fm_trial *t)
{
    fm_trial_cut(t, 0);
    fm_free(t->line);
    fm_session_close(&t->session);
}

struct remembering { struct fm_campaign *campaign; fm_status status; struct fm_err *err; };

static void remember(void *context, const cJSON *one)
{
    struct remembering *r = context;
    if (r->status == FM_OK) r->status = fm_campaign_remember(r->campaign, one, r->err);
}

fm_status fm_trial_run(struct fm_trial *t, struct fm_err *err)
{
    write_script(t);
    t->remembered = t->lines;
    atomic_store(&t->cancel, false);
    struct fm_campaign *campaign = fm_campaign_new(&t->config, err);
    if (!campaign) return FM_NOMEM;
    struct remembering r = { campaign, FM_OK, err };
    fm_trial_each(t, remember, &r);
    fm_status status = r.status == FM_OK ? fm_campaign_run(campaign, err) : r.status;
    t->totals = fm_campaign_totals(campaign);
    fm_campaign_free(campaign);
    return status;
}
