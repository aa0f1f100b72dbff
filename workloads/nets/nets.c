#include "workloads/nets/nets.h"

#include "tuner/base/text.h"

#include <stdio.h>
#include <string.h>

const struct fm_workload *const fm_workloads[] = { &fm_denseunet3d, &fm_segformer };
const size_t fm_workload_count = sizeof fm_workloads / sizeof fm_workloads[0];

const struct fm_workload *fm_workload_find(const char *name, struct fm_err *err)
{
    const char *names[16];
    for (size_t i = 0; i < fm_workload_count; i++) {
        if (strcmp(fm_workloads[i]->name, name) == 0) return fm_workloads[i];
        names[i] = fm_workloads[i]->name;
    }
    const char *near = fm_nearest(name, names, fm_workload_count);
    (void)FM_FAIL(err, FM_INVALID, "unknown workload '%s'%s%s%s (fillmark show workloads lists them)", name,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

/* index of a choice in "a,b,c", or -1 */
static int choice_index(const char *choices, const char *value)
{
    size_t n = strlen(value);
    int index = 0;
    for (const char *c = choices; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL, index++)
        if (n && strncmp(c, value, n) == 0 && (c[n] == ',' || c[n] == '\0')) return index;
    return -1;
}

static fm_status no_choice(const struct fm_setting *s, const char *value, struct fm_err *err)
{
    char text[160];
    const char *name[16], *near;
    size_t n = 0;
    (void)snprintf(text, sizeof text, "%s", s->choices);
    for (char *at = text; at && n < 16;) {
        char *comma = strchr(at, ',');
        if (comma) *comma++ = '\0';
        name[n++] = at;
        at = comma;
    }
    near = fm_nearest(value, name, n);
    return FM_FAIL(err, FM_INVALID, "%s: unknown value '%s'%s%s%s (%s)", s->name, value, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "", s->choices);
}

static fm_status set_value(const struct fm_setting *s, const char *text, struct fm_setting_value *v, struct fm_err *err)
{
    switch (s->kind) {
    case FM_SETTING_INT:
        if (!fm_parse_i64(text, &v->number) || (double)v->number < s->lo || (double)v->number > s->hi)
            return FM_FAIL(err, FM_INVALID, "%s: '%s' is not a whole number from %.0f to %.0f", s->name, text, s->lo, s->hi);
        break;
    case FM_SETTING_REAL:
        if (!fm_parse_f64(text, &v->real) || v->real < s->lo || v->real > s->hi)
            return FM_FAIL(err, FM_INVALID, "%s: '%s' is not a number from %g to %g", s->name, text, s->lo, s->hi);
        break;
    case FM_SETTING_CHOICE:
        v->number = choice_index(s->choices, text);
        if (v->number < 0) return no_choice(s, text, err);
        break;
    case FM_SETTING_SIZE:
        if (!fm_parse_sizes(text, v->size, s->dims))
            return FM_FAIL(err, FM_INVALID, "%s: '%s' is not %s", s->name, text, s->dims == 3 ? "DxHxW" : "HxW");
        for (uint32_t d = 0; d < s->dims; d++)
            if ((double)v->size[d] < s->lo || (double)v->size[d] > s->hi)
                return FM_FAIL(err, FM_INVALID, "%s: sizes from %.0f to %.0f, not '%s'", s->name, s->lo, s->hi, text);
        break;
    }
    if (strlen(text) >= sizeof v->text) return FM_FAIL(err, FM_INVALID, "%s: value too long", s->name);
    (void)snprintf(v->text, sizeof v->text, "%s", text);
    return FM_OK;
}

void fm_settings_default(struct fm_settings *settings, const struct fm_workload *workload)
{
    *settings = (struct fm_settings){ .workload = workload, .channels_numerator = 1, .channels_denominator = 1 };
    for (uint32_t i = 0; i < workload->settings; i++)
        (void)set_value(&workload->setting[i], workload->setting[i].text, &settings->value[i], NULL);
}

fm_status fm_settings_set(struct fm_settings *settings, const char *key, const char *value, struct fm_err *err)
{
    const struct fm_workload *w = settings->workload;
    const char *names[FM_MAX_SETTINGS];
    for (uint32_t i = 0; i < w->settings; i++) {
        if (strcmp(w->setting[i].name, key) == 0) return set_value(&w->setting[i], value, &settings->value[i], err);
        names[i] = w->setting[i].name;
    }
    const char *near = fm_nearest(key, names, w->settings);
    return FM_FAIL(err, FM_INVALID, "%s has no setting '%s'%s%s%s (fillmark show workload %s lists them)", w->name, key,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", w->name);
}

const struct fm_setting_value *fm_setting_get(const struct fm_settings *settings, const char *key)
{
    for (uint32_t i = 0; i < settings->workload->settings; i++)
        if (strcmp(settings->workload->setting[i].name, key) == 0) return &settings->value[i];
    return NULL;
}

int fm_settings_channels(const struct fm_settings *settings, int channels)
{
    return channels * settings->channels_numerator / settings->channels_denominator;
}

void fm_settings_model(const struct fm_settings *settings, struct fm_buf *out)
{
    const struct fm_workload *w = settings->workload;
    fm_buf_puts(out, w->name);
    for (uint32_t i = 0; i < w->settings; i++)
        if (!w->setting[i].validation_only) fm_buf_printf(out, " %s=%s", w->setting[i].name, settings->value[i].text);
    if (settings->channels_numerator != settings->channels_denominator)
        fm_buf_printf(out, " channels=%d/%d", settings->channels_numerator, settings->channels_denominator);
}

fm_status fm_settings_build(const struct fm_settings *settings, int64_t train_batch, int64_t val_batch, struct fm_graph *out,
                            struct fm_err *err)
{
    return settings->workload->build(settings, train_batch, val_batch, out, err);
}
