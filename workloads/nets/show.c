#include "workloads/nets/show.h"

#include "tuner/base/text.h"
#include "workloads/graph/yaml.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LINE_CHARS 100

static fm_status finish(const struct fm_buf *out, struct fm_err *err)
{
    return fm_buf_ok(out) ? FM_OK : FM_FAIL(err, FM_NOMEM, "showing workloads");
}

/* ---- JSON ---- */

static void put_string(struct fm_buf *out, const char *text)
{
    fm_buf_putc(out, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') fm_buf_putc(out, '\\');
        if (c < ' ')
            fm_buf_printf(out, "\\u%04x", c);
        else
            fm_buf_putc(out, (char)c);
    }
    fm_buf_putc(out, '"');
}

static void put_key(struct fm_buf *out, const char *key, const char *text)
{
    put_string(out, key);
    fm_buf_puts(out, ": ");
    put_string(out, text);
}

/* a count: beyond 2^53, where readers of JSON lose digits, as a string */
static void put_count(struct fm_buf *out, const char *key, double value)
{
    fm_buf_printf(out, value > 0x1p53 ? "\"%s\": \"%.0f\"" : "\"%s\": %.0f", key, value);
}

static const char *kind_name(enum fm_setting_kind kind)
{
    static const char *const names[] = {
        [FM_SETTING_INT] = "int", [FM_SETTING_REAL] = "real", [FM_SETTING_CHOICE] = "choice", [FM_SETTING_SIZE] = "size"
    };
    return names[kind];
}

/* numbers as numbers, whatever JSON thinks of how they were typed ("007", ".5") */
static void put_value(struct fm_buf *out, const struct fm_setting *s, const char *text)
{
    double real = 0;
    int64_t whole = 0;
    if (s->kind == FM_SETTING_INT && fm_parse_i64(text, &whole))
        fm_buf_printf(out, "%" PRId64, whole);
    else if (s->kind == FM_SETTING_REAL && fm_parse_f64(text, &real))
        fm_buf_printf(out, "%.15g", real);
    else
        put_string(out, text);
}

static void put_setting_json(struct fm_buf *out, const struct fm_setting *s, const char *value)
{
    put_string(out, s->name);
    fm_buf_puts(out, ": {\"value\": ");
    put_value(out, s, value);
    fm_buf_puts(out, ", \"default\": ");
    put_value(out, s, s->text);
    fm_buf_puts(out, ", ");
    put_key(out, "kind", kind_name(s->kind));
    if (s->kind == FM_SETTING_CHOICE) {
        fm_buf_puts(out, ", \"choices\": [");
        for (const char *c = s->choices; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL) {
            char choice[64];
            (void)snprintf(choice, sizeof choice, "%.*s", (int)strcspn(c, ","), c);
            if (c != s->choices) fm_buf_puts(out, ", ");
            put_string(out, choice);
        }
        fm_buf_putc(out, ']');
    } else {
        fm_buf_printf(out, ", \"min\": %.15g, \"max\": %.15g", s->lo, s->hi);
    }
    fm_buf_puts(out, ", ");
    put_key(out, "help", s->help);
    fm_buf_printf(out, ", \"validation_only\": %s}", s->validation_only ? "true" : "false");
}

static void put_settings_json(struct fm_buf *out, const struct fm_settings *settings)
{
    const struct fm_workload *w = settings->workload;
    put_key(out, "title", w->title);
    fm_buf_puts(out, ", ");
    put_key(out, "sample", w->sample);
    fm_buf_puts(out, ", \"optimizer\": {");
    put_key(out, "name", w->optimizer);
    fm_buf_printf(out, ", \"lr\": %.15g, \"weight_decay\": %.15g}, \"channels\": \"%d/%d\", \"settings\": {", w->lr,
                  w->weight_decay, settings->channels_numerator, settings->channels_denominator);
    for (uint32_t i = 0; i < w->settings; i++) {
        if (i) fm_buf_puts(out, ", ");
        put_setting_json(out, &w->setting[i], settings->value[i].text);
    }
    fm_buf_puts(out, "}, ");
}

/* a sample's sizes: the batch left out */
static void put_sample(struct fm_buf *out, const struct fm_shape *shape, const char *between)
{
    for (uint32_t d = 1; d < shape->ndim; d++) fm_buf_printf(out, "%s%" PRId64, d > 1 ? between : "", shape->size[d]);
}

static void put_graph_json(struct fm_buf *out, const struct fm_graph *graph)
{
    const struct fm_body *body = &graph->body[FM_BODY_TRAIN];
    const char *between = "";
    fm_buf_printf(out, "\"parameters\": %" PRId64 ", ", fm_graph_parameters(graph));
    put_count(out, "macs", fm_graph_macs(graph));
    fm_buf_puts(out, ", \"inputs\": [");
    for (size_t i = 0; i < body->node_count; i++) {
        const struct fm_node *node = &body->node[i];
        if (node->op != FM_OP_input) continue;
        fm_buf_printf(out, "%s{", between);
        put_key(out, "name", node->name);
        fm_buf_puts(out, ", \"shape\": [");
        put_sample(out, &body->value[node->out].shape, ", ");
        fm_buf_printf(out, "], \"dtype\": \"%s\"}", fm_dtype_name(body->value[node->out].dtype));
        between = ", ";
    }
    fm_buf_puts(out, "], \"output\": {\"shape\": [");
    put_sample(out, &body->value[body->output].shape, ", ");
    fm_buf_puts(out, "]}, \"blocks\": [");
    for (size_t i = 0; i < body->block_count; i++) {
        if (i) fm_buf_puts(out, ", ");
        put_string(out, body->block[i].name);
    }
    fm_buf_puts(out, "]");
}

/* ---- text ---- */

static void put_range(char *text, size_t bytes, const struct fm_setting *s)
{
    if (s->kind == FM_SETTING_CHOICE)
        (void)snprintf(text, bytes, "%s", s->choices);
    else if (s->kind == FM_SETTING_SIZE)
        (void)snprintf(text, bytes, "%s, %g to %g each", s->dims == 3 ? "DxHxW" : "HxW", s->lo, s->hi);
    else
        (void)snprintf(text, bytes, "%g to %g", s->lo, s->hi);
}

static void put_settings_text(struct fm_buf *out, const struct fm_settings *settings)
{
    const struct fm_workload *w = settings->workload;
    fm_buf_printf(out, "\n%-15s %-13s %-13s %-26s %s\n", "setting", "value", "default", "range", "meaning");
    for (uint32_t i = 0; i < w->settings; i++) {
        const struct fm_setting *s = &w->setting[i];
        char range[64];
        put_range(range, sizeof range, s);
        fm_buf_printf(out, "%-15s %-13s %-13s %-26s %s%s\n", s->name, settings->value[i].text, s->text, range, s->help,
                      s->validation_only ? " (validation only)" : "");
    }
}

static void put_blocks_text(struct fm_buf *out, const struct fm_body *body)
{
    size_t column = 0;
    fm_buf_printf(out, "blocks      %zu for checkpointing", body->block_count);
    for (size_t i = 0; i < body->block_count; i++) {
        size_t length = strlen(body->block[i].name) + 1;
        bool turn = i == 0 || column + length > LINE_CHARS;
        fm_buf_printf(out, turn ? "\n            %s" : " %s", body->block[i].name);
        column = turn ? 12 + length : column + length;
    }
    fm_buf_putc(out, '\n');
}

static void put_graph_text(struct fm_buf *out, const struct fm_graph *graph, const char *sample)
{
    const struct fm_body *body = &graph->body[FM_BODY_TRAIN];
    fm_buf_printf(out, "parameters  %" PRId64 "\nMACs        %.0f a %s, forward\n", fm_graph_parameters(graph),
                  fm_graph_macs(graph), sample);
    for (size_t i = 0; i < body->node_count; i++) {
        const struct fm_node *node = &body->node[i];
        if (node->op != FM_OP_input) continue;
        fm_buf_printf(out, "input       %s ", node->name);
        put_sample(out, &body->value[node->out].shape, "x");
        fm_buf_printf(out, " %s\n", fm_dtype_name(body->value[node->out].dtype));
    }
    fm_buf_puts(out, "output      ");
    put_sample(out, &body->value[body->output].shape, "x");
    fm_buf_printf(out, " %s\n", fm_dtype_name(body->value[body->output].dtype));
    put_blocks_text(out, body);
}

/* ---- what is shown ---- */

static fm_status check_shown(const struct fm_graph *graph, struct fm_err *err)
{
    const struct fm_body *body = &graph->body[FM_BODY_TRAIN];
    if (!body->node_count || graph->batch[FM_BODY_TRAIN] != 1 || body->output >= body->value_count)
        return FM_FAIL(err, FM_INVALID,
                       "%s: to be shown, a graph needs a training body for one sample, with its output", graph->name);
    return FM_OK;
}

fm_status fm_show_graph(const struct fm_graph *graph, struct fm_buf *out, bool json, struct fm_err *err)
{
    fm_status status = check_shown(graph, err);
    if (status != FM_OK) return status;
    if (json) {
        fm_buf_putc(out, '{');
        put_key(out, "workload", graph->name);
        fm_buf_puts(out, ", ");
        put_graph_json(out, graph);
        fm_buf_puts(out, "}\n");
    } else {
        fm_buf_printf(out, "%s\n\n", graph->name);
        put_graph_text(out, graph, "sample");
    }
    return finish(out, err);
}

fm_status fm_show_workload(const struct fm_settings *settings, struct fm_buf *out, bool json, struct fm_err *err)
{
    const struct fm_workload *w = settings->workload;
    struct fm_graph graph = { 0 };
    fm_status status = fm_settings_build(settings, 1, 0, &graph, err);
    if (status == FM_OK) status = check_shown(&graph, err);
    if (status == FM_OK && json) {
        fm_buf_puts(out, "{\"schema\": \"fillmark.workload/1\", ");
        put_key(out, "workload", w->name);
        fm_buf_puts(out, ", ");
        put_settings_json(out, settings);
        put_graph_json(out, &graph);
        fm_buf_puts(out, "}\n");
    } else if (status == FM_OK) {
        fm_buf_printf(out, "%s: %s\n\n", w->name, w->title);
        put_graph_text(out, &graph, w->sample);
        fm_buf_printf(out, "optimizer   %s, learning rate %g, weight decay %g\n", w->optimizer, w->lr, w->weight_decay);
        if (settings->channels_numerator != settings->channels_denominator)
            fm_buf_printf(out, "channels    %d/%d\n", settings->channels_numerator, settings->channels_denominator);
        put_settings_text(out, settings);
    }
    fm_graph_release(&graph);
    return status == FM_OK ? finish(out, err) : status;
}

static fm_status put_listed(struct fm_buf *out, const struct fm_workload *w, bool json, struct fm_err *err)
{
    struct fm_settings settings;
    struct fm_graph graph = { 0 };
    fm_settings_default(&settings, w);
    fm_status status = fm_settings_build(&settings, 1, 0, &graph, err);
    if (status != FM_OK) return status;
    int64_t parameters = fm_graph_parameters(&graph);
    double macs = fm_graph_macs(&graph);
    fm_graph_release(&graph);
    if (!json) {
        fm_buf_printf(out, "%-14s %12" PRId64 " %16.0f %8" PRIu32 "  %s\n", w->name, parameters, macs, w->settings,
                      w->title);
        return FM_OK;
    }
    fm_buf_putc(out, '{');
    put_key(out, "workload", w->name);
    fm_buf_puts(out, ", ");
    put_key(out, "title", w->title);
    fm_buf_printf(out, ", \"parameters\": %" PRId64 ", ", parameters);
    put_count(out, "macs", macs);
    fm_buf_printf(out, ", \"settings\": %" PRIu32 "}", w->settings);
    return FM_OK;
}

fm_status fm_show_workloads(struct fm_buf *out, bool json, struct fm_err *err)
{
    if (json)
        fm_buf_putc(out, '[');
    else
        fm_buf_printf(out, "%-14s %12s %16s %8s  %s\n", "workload", "parameters", "MACs a sample", "settings", "title");
    for (size_t i = 0; i < fm_workload_count; i++) {
        if (json && i) fm_buf_puts(out, ", ");
        fm_status status = put_listed(out, fm_workloads[i], json, err);
        if (status != FM_OK) return status;
    }
    if (json) fm_buf_puts(out, "]\n");
    return finish(out, err);
}

fm_status fm_show_yaml(const struct fm_settings *settings, struct fm_buf *out, struct fm_err *err)
{
    struct fm_graph a = { 0 }, b = { 0 };
    fm_status status = fm_settings_build(settings, 2, 2, &a, err);
    if (status == FM_OK) status = fm_settings_build(settings, 3, 3, &b, err);
    if (status == FM_OK) status = fm_graph_write(&a, &b, out, err);
    fm_graph_release(&a);
    fm_graph_release(&b);
    return status;
}
