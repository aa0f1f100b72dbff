#include "tuner/explain/changes.h"

#include "probes/memory/planner.h"
#include "tuner/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *fm_change_class_text(enum fm_change_class kind)
{
    static const char *const texts[] = { "validation only", "execution", "batch", "precision", "the model" };
    return kind < FM_CHANGE_CLASS_COUNT ? texts[kind] : "?";
}

/* what is planned with; its program is the last one lowered */
struct plans {
    struct fm_planner planner;
    struct fm_program program;
    const struct fm_change_query *query;
    struct fm_changes *out;
    double flops;                   /* of training a sample, unchanged cell */
};

static double train_flops(const struct fm_program *p)
{
    double flops = 0;
    for (size_t i = p->section[FM_SECTION_TRAIN]; i < p->section[FM_SECTION_TRAIN + 1]; i++) {
        if (p->instr[i].kind != FM_CALL) continue;
        struct fm_problem problem = fm_program_problem(p, p->instr[i].a);
        flops += fm_problem_flops(&problem);
    }
    return p->samples > 0 ? flops / (double)p->samples : 0;
}

static fm_status plan(struct plans *s, const struct fm_cell *cell, struct fm_cell_batch batch, int64_t *needed_bytes, double *flops,
                      struct fm_err *err)
{
    struct fm_plan plan;
    fm_status status = fm_cell_lower(cell, batch, &s->program, err);
    if (status == FM_OK) status = fm_planner_run(&s->planner, &s->program, NULL, INT64_MAX, &plan, err);
    if (status != FM_OK) return status;
    *needed_bytes = plan.train.reserved_bytes > plan.val.reserved_bytes ? plan.train.reserved_bytes : plan.val.reserved_bytes;
    *flops = batch.train ? train_flops(&s->program) : 0;
    return FM_OK;
}

/* FLOPs of the network itself against the unchanged network's */
static fm_status model_share(struct plans *s, const struct fm_change *c, double *share, struct fm_err *err)
{
    struct fm_cell cell[2] = { *s->query->cell, c->cell };
    double flops[2] = { 0, 0 };
    fm_status status = FM_OK;
    for (int i = 0; i < 2 && status == FM_OK; i++) {
        status = fm_cell_set(&cell[i], FM_STRATEGY_CHECKPOINT, "none", err);
        if (status == FM_OK) status = fm_cell_lower(&cell[i], (struct fm_cell_batch){ .train = 1 }, &s->program, err);
        if (status == FM_OK) flops[i] = train_flops(&s->program);
    }
    *share = flops[0] > 0 ? flops[1] / flops[0] : 1;
    return status;
}

/* keeps a change that helps; one that the network cannot have (sizes, blocks) is left out */
static fm_status offer(struct plans *s, struct fm_change *c, struct fm_err *err)
{
    struct fm_err why = { 0 };
    double flops = 0;
    if (s->out->count == FM_CHANGES_MAX) return FM_OK;
    c->compute = c->capacity = 1;
    fm_status status = plan(s, &c->cell, c->batch, &c->needed_bytes, &flops, &why);
    if (status == FM_INVALID || status == FM_UNSUPPORTED) return FM_OK;
    if (status == FM_OK && s->flops > 0 && flops > 0) c->compute = flops / s->flops;
    if (status == FM_OK && c->kind == FM_CHANGE_MODEL) status = model_share(s, c, &c->capacity, &why);
    if (status != FM_OK) return FM_FAIL(err, status, "%s", why.text);
    c->fits = c->needed_bytes <= s->query->capacity_bytes;
    if (c->needed_bytes < s->out->needed_bytes) s->out->item[s->out->count++] = *c;
    return FM_OK;
}

/* ---- the steps ---- */

struct step {
    enum fm_change_class kind;
    const char *strategy, *value;   /* a strategy, or a setting */
    const char *setting;
};

static const struct step steps[] = {
    { FM_CHANGE_VALIDATION, .setting = "ensemble", .value = "running" },
    { FM_CHANGE_EXECUTION, "optimizer_form", "fused", NULL },
    { FM_CHANGE_EXECUTION, "checkpoint", "blocks", NULL },
    { FM_CHANGE_EXECUTION, "attention", "flash", NULL },        /* in half precision only */
    { FM_CHANGE_PRECISION, "precision", "bf16", NULL },
    { FM_CHANGE_MODEL, "channels", "3/4", NULL },
    { FM_CHANGE_MODEL, "channels", "1/2", NULL },
};
enum { STEPS = sizeof steps / sizeof steps[0] };

static void say(struct fm_change *c, const char *name, const char *value)
{
    size_t n = strlen(c->text);
    (void)snprintf(c->text + n, sizeof c->text - n, "%s%s=%s", n ? ", " : "", name, value);
}

/* false: the cell has it already, or has no such thing */
static bool take(const struct step *step, struct fm_change *c)
{
    fm_status status;
    if (step->setting) {
        const struct fm_setting_value *now = fm_setting_get(&c->cell.settings, step->setting);
        if (!now || strcmp(now->text, step->value) == 0) return false;
        status = fm_settings_set(&c->cell.settings, step->setting, step->value, NULL);
    } else {
        enum fm_strategy_id id = fm_strategy_find(step->strategy);
        const char *plain = id < FM_STRATEGY_COUNT ? fm_strategies[id]->text : NULL;
        /* one that was chosen stays: only what has its default is changed */
        if (!plain || strcmp(c->cell.value[id], plain) != 0) return false;
        status = fm_cell_set(&c->cell, id, step->value, NULL);
    }
    if (step->kind > c->kind) c->kind = step->kind;
    if (step->kind == FM_CHANGE_MODEL) (void)snprintf(c->option, sizeof c->option, "%s", step->setting ? step->setting : step->strategy);
    say(c, step->setting ? step->setting : step->strategy, step->value);
    return status == FM_OK;
}

static struct fm_change unchanged(const struct plans *s)
{
    return (struct fm_change){ .cell = *s->query->cell, .batch = s->query->batch };
}

static int64_t accumulation_of(const struct fm_cell *cell)
{
    int64_t n = 0;
    return fm_parse_i64(cell->value[FM_STRATEGY_ACCUMULATE], &n) ? n : 0;
}

/* the batch halved so often, accumulated as often */
static bool smaller_batch(struct fm_change *c, int64_t batch)
{
    char value[24];
    int64_t b = c->batch.train, parts = batch > 0 ? b / batch : 0, was = accumulation_of(&c->cell);
    if (batch < 1 || b <= batch || b % batch != 0 || was < 1) return false;
    (void)snprintf(value, sizeof value, "%" PRId64, parts * was);
    if (fm_cell_set(&c->cell, FM_STRATEGY_ACCUMULATE, value, NULL) != FM_OK) return false;
    if (c->batch.val > batch) c->batch.val = batch;
    c->batch.train = batch;
    if (c->kind < FM_CHANGE_BATCH) c->kind = FM_CHANGE_BATCH;
    size_t n = strlen(c->text);
    (void)snprintf(c->text + n, sizeof c->text - n, "%sbatch %" PRId64 " with accumulate=%s", n ? ", " : "", batch, value);
    return true;
}

static fm_status offer_batches(struct plans *s, struct fm_err *err)
{
    struct fm_change c = unchanged(s);
    fm_status status = FM_OK;
    if (c.batch.val > 1) {
        c.batch.val = c.batch.val / 2;
        (void)snprintf(c.text, sizeof c.text, "validation batch %" PRId64, c.batch.val);
        status = offer(s, &c, err);
    }
    for (int64_t b = s->query->batch.train / 2; b >= 1 && status == FM_OK; b = b == 1 ? 0 : b / 2) {
        c = unchanged(s);
        if (smaller_batch(&c, b)) status = offer(s, &c, err);
        c = unchanged(s);
        if (status == FM_OK && take(&steps[0], &c) && smaller_batch(&c, b)) status = offer(s, &c, err);     /* validation too */
    }
    return status;
}

/* the model is changed by one step alone, and so is the optimizer's form, which saves little */
static bool goes_with_others(const struct step *step)
{
    return step->kind != FM_CHANGE_MODEL && (!step->strategy || strcmp(step->strategy, "optimizer_form") != 0);
}

/* every step alone, then all combinations of those that go together */
static fm_status offer_steps(struct plans *s, struct fm_err *err)
{
    fm_status status = FM_OK;
    for (unsigned set = 1; set < 1u << STEPS && status == FM_OK; set++) {
        struct fm_change c = unchanged(s);
        bool alone = !(set & (set - 1)), good = true;
        for (int i = 0; i < STEPS && good; i++)
            if (set >> i & 1) good = (alone || goes_with_others(&steps[i])) && take(&steps[i], &c);
        if (good) status = offer(s, &c, err);
    }
    return status;
}

/* half of each side of the input; the next smaller of a network's variants; one level less */
static fm_status offer_models(struct plans *s, struct fm_err *err)
{
    const struct fm_settings *now = &s->query->cell->settings;
    fm_status status = FM_OK;
    for (uint32_t i = 0; i < now->workload->settings && status == FM_OK; i++) {
        const struct fm_setting *what = &now->workload->setting[i];
        const struct fm_setting_value *value = &now->value[i];
        struct fm_change c = unchanged(s);
        char text[FM_SETTING_TEXT_BYTES] = "";
        if (what->validation_only) continue;
        if (what->kind == FM_SETTING_SIZE) {
            for (uint32_t d = 0; d < what->dims; d++) {
                size_t n = strlen(text);
                (void)snprintf(text + n, sizeof text - n, "%s%" PRId64, d ? "x" : "", value->size[d] / 2);
            }
        } else if (what->kind == FM_SETTING_CHOICE && strcmp(what->name, "variant") == 0 && value->number > 0) {
            const char *at = what->choices;
            for (int64_t k = 1; k < value->number; k++) at = strchr(at, ',') + 1;
            (void)snprintf(text, sizeof text, "%.*s", (int)strcspn(at, ","), at);
        } else if (strcmp(what->name, "levels") == 0 && value->number > 1) {
            (void)snprintf(text, sizeof text, "%" PRId64, value->number - 1);
        }
        if (!text[0] || fm_settings_set(&c.cell.settings, what->name, text, NULL) != FM_OK) continue;
        c.kind = FM_CHANGE_MODEL;
        (void)snprintf(c.option, sizeof c.option, "%s", what->name);
        say(&c, what->name, text);
        status = offer(s, &c, err);
    }
    return status;
}

/* ---- their order ---- */

/* half a per cent is no difference */
static int compare_shares(double a, double b)
{
    double d = a - b;
    return d > 0.005 ? 1 : d < -0.005 ? -1 : 0;
}

static int by_cost(const void *a, const void *b)
{
    const struct fm_change *x = a, *y = b;
    if (x->fits != y->fits) return x->fits ? -1 : 1;
    if ((x->kind == FM_CHANGE_MODEL) != (y->kind == FM_CHANGE_MODEL)) return x->kind == FM_CHANGE_MODEL ? 1 : -1;
    int order = -compare_shares(x->capacity, y->capacity);
    if (!order) order = compare_shares(x->compute, y->compute);
    if (order) return order;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    /* the least change that is enough comes before one that takes still less */
    if (x->needed_bytes != y->needed_bytes) return (x->needed_bytes > y->needed_bytes) == x->fits ? -1 : 1;
    return strcmp(x->text, y->text);
}

fm_status fm_changes_plan(const struct fm_change_query *query, struct fm_changes *out, struct fm_err *err)
{
    struct plans s = { .query = query, .out = out };
    *out = (struct fm_changes){ 0 };
    fm_status status = plan(&s, query->cell, query->batch, &out->needed_bytes, &s.flops, err);
    if (status == FM_OK) status = offer_batches(&s, err);
    if (status == FM_OK) status = offer_models(&s, err);
    if (status == FM_OK) status = offer_steps(&s, err);
    if (status == FM_OK) qsort(out->item, out->count, sizeof out->item[0], by_cost);
    fm_program_release(&s.program);
    fm_planner_release(&s.planner);
    return status;
}
