/* --set: which values each setting of each chosen workload takes. */
#include "tuner/options/internal.h"

#include "tuner/base/memory.h"
#include "tuner/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sets {
    const struct fm_givens *givens;
    struct fm_options *options;
    struct fm_err *err;
};

static const struct fm_setting *find_setting(const struct fm_workload *w, const char *key)
{
    for (uint32_t i = 0; i < w->settings; i++)
        if (strcmp(w->setting[i].name, key) == 0) return &w->setting[i];
    return NULL;
}

static bool chosen(const struct sets *s, const struct fm_workload *w)
{
    return fm_texts_has(&s->options->workload, w->name);
}

/* Does a file speak of this workload, by its own `workload` or for want of one? A flag that chooses fewer for once makes
 * no setting of the file wrong. */
static bool file_chose(const struct sets *s, const struct fm_workload *w)
{
    for (size_t i = 0; i < s->givens->count; i++) {
        const struct fm_given *g = &s->givens->item[i];
        if (g->id != FM_OPTION_WORKLOAD || g->origin != FM_ORIGIN_FILE) continue;
        for (size_t k = 0; k < g->count; k++)
            if (strcmp(g->value[k].text, w->name) == 0) return true;
        return false;
    }
    return true;
}

/* may `g` speak of it? What a journal recorded was right then. */
static bool within(const struct sets *s, const struct fm_given *g, const struct fm_workload *w)
{
    if (chosen(s, w)) return true;
    return g->origin == FM_ORIGIN_RECORD || (g->origin == FM_ORIGIN_FILE && file_chose(s, w));
}

/* "08" is "8", "0.10" is "0.1": one text a value */
static void canonical(const struct fm_setting *setting, const struct fm_setting_value *v, char *text, size_t bytes)
{
    switch (setting->kind) {
    case FM_SETTING_INT: (void)snprintf(text, bytes, "%lld", (long long)v->number); return;
    case FM_SETTING_CHOICE: (void)snprintf(text, bytes, "%s", v->text); return;
    case FM_SETTING_REAL:
        (void)snprintf(text, bytes, "%.15g", v->real);
        if (strtod(text, NULL) != v->real) (void)snprintf(text, bytes, "%.17g", v->real);
        return;
    case FM_SETTING_SIZE:
        for (uint32_t d = 0, n = 0; d < setting->dims && n < bytes; d++)
            n += (uint32_t)snprintf(text + n, bytes - n, "%s%lld", d ? "x" : "", (long long)v->size[d]);
        return;
    }
}

/* each value is one that `w` takes; into `out`, canonical, unless it is NULL */
static fm_status check_values(const struct sets *s, const struct fm_given *g, const struct fm_workload *w,
                              struct fm_texts *out)
{
    const struct fm_setting *setting = find_setting(w, g->key);
    struct fm_settings settings;
    fm_settings_default(&settings, w);
    for (size_t i = 0; i < g->count; i++) {
        struct fm_err inner = { 0 };
        char text[64] = "";
        if (fm_settings_set(&settings, g->key, g->value[i].text, &inner) != FM_OK) {
            if (inner.status == FM_INVALID && i && g->origin == FM_ORIGIN_FLAG && strchr(g->value[i].text, '='))
                return fm_given_fail(s->givens, g, i, s->err, "'%s' is not a value of %s: commas part values of one key; for another "
                                     "key: --set %s", g->value[i].text, g->key, g->value[i].text);
            if (inner.status == FM_INVALID && !g->workload && fm_workload_count > 1) {
                size_t n = strlen(inner.text);
                (void)snprintf(inner.text + n, sizeof inner.text - n, " (%s's; for one workload alone: %s.%s)", w->name,
                               w->name, g->key);
            }
            return fm_given_pass(s->givens, g, setting ? i : FM_AT_KEY, s->err, &inner, g->key);
        }
        if (!out) continue;
        canonical(setting, fm_setting_get(&settings, g->key), text, sizeof text);
        if (fm_texts_has(out, text)) return fm_given_fail(s->givens, g, i, s->err, "'%s' is there twice", text);
        if (!fm_texts_add(out, text)) return FM_OPTIONS_NOMEM(s->err);
    }
    return FM_OK;
}

static fm_status no_such_key(const struct sets *s, const struct fm_given *g)
{
    const char *names[64] = { NULL };
    size_t n = 0;
    bool any = g->origin != FM_ORIGIN_FLAG;
    for (size_t i = 0; i < fm_workload_count; i++) any = any && within(s, g, fm_workloads[i]);
    for (size_t i = 0; i < fm_workload_count; i++)
        for (uint32_t k = 0; k < fm_workloads[i]->settings && n < 64; k++)
            if (within(s, g, fm_workloads[i])) names[n++] = fm_workloads[i]->setting[k].name;
    const char *near = fm_nearest(g->key, names, n);
    return fm_given_fail(s->givens, g, FM_AT_KEY, s->err,
                         "no %sworkload has such a setting%s%s%s (fillmark show workload NAME)", any ? "" : "chosen ",
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* a setting is for a workload that is chosen, by what gives it or for this run */
static fm_status check_given(const struct sets *s, const struct fm_given *g)
{
    bool found = false;
    if (!*g->key) return fm_given_fail(s->givens, g, FM_AT_KEY, s->err, "a setting's name is missing: KEY=VALUE");
    if (!g->count) return fm_given_fail(s->givens, g, FM_AT_KEY, s->err, "an empty list; leave it out for the default");
    if (g->count > FM_LIST_MAX)
        return fm_given_fail(s->givens, g, FM_LIST_MAX, s->err, "more than %d values", FM_LIST_MAX);
    if (g->count > 1 && s->givens->command == FM_COMMAND_SHOW_WORKLOAD)
        return fm_given_fail(s->givens, g, 1, s->err, "one value here, not a list");
    for (size_t i = 0; i < g->count; i++) {
        size_t n = strlen(g->value[i].text);
        if (!n) return fm_given_fail(s->givens, g, i, s->err, "its value is missing");
        if (n >= FM_SETTING_TEXT_BYTES)
            return fm_given_fail(s->givens, g, i, s->err, "a value of %zu bytes is too long (at most %d)", n,
                                 FM_SETTING_TEXT_BYTES - 1);
    }
    if (g->workload) {
        struct fm_err inner = { 0 };
        const struct fm_workload *w = fm_workload_find(g->workload, &inner);
        if (!w) return fm_given_pass(s->givens, g, FM_AT_KEY, s->err, &inner, "workload");
        if (!within(s, g, w))
            return fm_given_fail(s->givens, g, FM_AT_KEY, s->err, "%s is not among the workloads chosen", w->name);
        return check_values(s, g, w, NULL);
    }
    for (size_t i = 0; i < fm_workload_count; i++) {
        if (!find_setting(fm_workloads[i], g->key)) continue;
        /* a file's general setting is checked by the workloads that will take it */
        if (chosen(s, fm_workloads[i])) {
            fm_status status = check_values(s, g, fm_workloads[i], NULL);
            if (status != FM_OK) return status;
        } else if (!within(s, g, fm_workloads[i])) {
            continue;
        }
        found = true;
    }
    return found ? FM_OK : no_such_key(s, g);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The same setting twice in the file, or twice on the command line. */
static fm_status check_twice(const struct sets *s, size_t index)
{
    const struct fm_given *g = &s->givens->item[index];
    for (size_t i = 0; i < index; i++) {
        const struct fm_given *other = &s->givens->item[i];
        if (other->id != FM_OPTION_SET || other->origin != g->origin) continue;
        if (same(other->workload, g->workload) && same(other->key, g->key))
            return fm_given_fail(s->givens, g, FM_AT_KEY, s->err, "given twice; several values are a comma list");
    }
    return FM_OK;
}

/* what decides a setting: a flag before the file, and there WORKLOAD.KEY before KEY */
static const struct fm_given *strongest(const struct sets *s, const struct fm_workload *w, const char *key)
{
    const struct fm_given *best = NULL;
    int strength = -1;
    for (size_t i = 0; i < s->givens->count; i++) {
        const struct fm_given *g = &s->givens->item[i];
        if (g->id != FM_OPTION_SET || strcmp(g->key, key) != 0 || (g->workload && strcmp(g->workload, w->name) != 0))
            continue;
        int mine = 2 * (int)g->origin + (g->workload != NULL);
        if (mine > strength) best = g, strength = mine;
    }
    return best;
}

static fm_status add_set(const struct sets *s, const struct fm_workload *w, const struct fm_setting *setting)
{
    struct fm_options *o = s->options;
    const struct fm_given *g = strongest(s, w, setting->name);
    const char *values = NULL;
    if (!g && o->origin[FM_OPTION_WORKLOAD] == FM_ORIGIN_DEFAULT)
        for (size_t i = 0; i < fm_default_set_count; i++)
            if (strcmp(fm_default_sets[i].workload, w->name) == 0 && strcmp(fm_default_sets[i].key, setting->name) == 0)
                values = fm_default_sets[i].values;
    if (!g && !values) return FM_OK;
    struct fm_set *set = fm_grow(o->set, &o->set_capacity, o->set_count + 1, sizeof *set);
    if (!set) return FM_OPTIONS_NOMEM(s->err);
    o->set = set;
    set = &o->set[o->set_count++];
    *set = (struct fm_set){ .workload = w, .key = setting->name };
    if (g) return check_values(s, g, w, &set->values);
    return fm_texts_add(&set->values, values) ? FM_OK : FM_OPTIONS_NOMEM(s->err);
}

fm_status fm_options_resolve_sets(const struct fm_givens *givens, struct fm_options *options, struct fm_err *err)
{
    const struct sets s = { givens, options, err };
    fm_status status = FM_OK;
    for (size_t i = 0; i < givens->count; i++) {
        if (givens->item[i].id != FM_OPTION_SET) continue;
        FM_TRY(check_given(&s, &givens->item[i]));
        FM_TRY(check_twice(&s, i));
        if (options->origin[FM_OPTION_SET] < givens->item[i].origin)
            options->origin[FM_OPTION_SET] = givens->item[i].origin;
    }
    for (size_t i = 0; i < options->workload.count; i++) {
        const struct fm_workload *w = fm_workload_find(options->workload.item[i], NULL);
        for (uint32_t k = 0; k < w->settings; k++) FM_TRY(add_set(&s, w, &w->setting[k]));
    }
out:
    return status;
}
