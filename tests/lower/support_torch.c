#include "tests/lower/support_torch.h"

#include "tuner/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void add_field(struct torch_case *c, const char *key, size_t key_length, const char *value, size_t value_length)
{
    if (c->fields == TORCH_FIELDS || key_length >= sizeof c->field[0].key || value_length >= sizeof c->field[0].value)
        fail_msg("a case with too many fields, or too long: %.*s", (int)key_length, key);
    memcpy(c->field[c->fields].key, key, key_length);
    memcpy(c->field[c->fields++].value, value, value_length);
}

void torch_case_parse(struct torch_case *c, const char *line)
{
    *c = (struct torch_case){ 0 };
    for (const char *word = line; *word; word += strcspn(word, " \n"), word += strspn(word, " \n")) {
        size_t length = strcspn(word, " \n"), key = strcspn(word, "= \n");
        if (key < length) add_field(c, word, key, word + key + 1, length - key - 1);
    }
}

void torch_case_row(struct torch_case *c, const char *header, const char *row)
{
    *c = (struct torch_case){ 0 };
    while (*header && *row) {
        size_t key = strcspn(header, "\t\n"), value = strcspn(row, "\t\n");
        add_field(c, header, key, row, value);
        header += key + (header[key] != '\0');
        row += value + (row[value] != '\0');
    }
    if (*header || *row) fail_msg("a row does not fit its header: %s", row);
}

const char *torch_case_text(const struct torch_case *c, const char *key)
{
    for (uint32_t i = 0; i < c->fields; i++)
        if (strcmp(c->field[i].key, key) == 0) return c->field[i].value;
    fail_msg("the case has no field %s", key);
    return "";
}

int64_t torch_case_number(const struct torch_case *c, const char *key)
{
    int64_t number = 0;
    const char *text = torch_case_text(c, key);
    if (!fm_parse_i64(text, &number)) fail_msg("%s=%s is no number", key, text);
    return number;
}

bool torch_case_is(const struct torch_case *c, const char *key, const char *value)
{
    return strcmp(torch_case_text(c, key), value) == 0;
}

static double real(const struct torch_case *c, const char *key)
{
    double number = 0;
    const char *text = torch_case_text(c, key);
    if (!fm_parse_f64(text, &number)) fail_msg("%s=%s is no number", key, text);
    return number;
}

/* index of the value among the choices; the test fails if it is none */
static int choice(const struct torch_case *c, const char *key, const char *const *choices, int count)
{
    for (int i = 0; i < count; i++)
        if (torch_case_is(c, key, choices[i])) return i;
    fail_msg("%s=%s: unknown value", key, torch_case_text(c, key));
    return 0;
}
#define CHOICE(c, key, ...) choice((c), (key), (const char *const[]){ __VA_ARGS__ }, \
                                   (int)(sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *)))

static void set(struct fm_settings *s, const char *key, const char *value)
{
    struct fm_err err = { 0 };
    if (fm_settings_set(s, key, value, &err) != FM_OK) fail_msg("%s", err.text);
}

static bool has(const struct torch_case *c, const char *key)
{
    for (uint32_t i = 0; i < c->fields; i++)
        if (strcmp(c->field[i].key, key) == 0) return true;
    return false;
}

void torch_case_build(const struct torch_case *c, struct fm_graph *graph)
{
    struct fm_err err = { 0 };
    const struct fm_workload *workload = fm_workload_find(torch_case_text(c, "network"), &err);
    if (!workload) fail_msg("%s", err.text);
    struct fm_settings settings;
    fm_settings_default(&settings, workload);
    set(&settings, "input", torch_case_text(c, "size"));
    set(&settings, "classes", torch_case_text(c, "classes"));
    if (workload == &fm_denseunet3d) {
        set(&settings, "base_channels", torch_case_text(c, "base"));
        set(&settings, "levels", torch_case_text(c, "levels"));
        set(&settings, "dropout", "off");
    } else {
        set(&settings, "variant", torch_case_text(c, "variant"));
        set(&settings, "drop_path", "0");
        set(&settings, "dropout", "0.1");
        settings.flash_attention = has(c, "attention") && CHOICE(c, "attention", "math", "flash") == 1;
    }
    int64_t batch = torch_case_number(c, "batch");
    bool val = CHOICE(c, "phase", "train", "val") == 1;
    if (fm_settings_build(&settings, val ? 0 : batch, val ? batch : 0, graph, &err) != FM_OK) fail_msg("%s", err.text);
}

struct fm_policy torch_case_policy(const struct torch_case *c)
{
    static uint8_t all[TORCH_BLOCKS];
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F16, FM_BF16 };
    static const enum fm_optimizer_kind kinds[] = { FM_OPTIMIZER_ADAMW, FM_OPTIMIZER_ADAM, FM_OPTIMIZER_SGD };
    static const enum fm_optimizer_form forms[] = { FM_FORM_FOREACH, FM_FORM_LOOP, FM_FORM_FUSED };
    struct fm_policy p = fm_policy_default();
    memset(all, 1, sizeof all);
    p.accounting = FM_ACCOUNTING_DISPATCH;
    p.autocast = dtypes[CHOICE(c, "precision", "fp32", "fp16", "bf16")];
    /* cases that do not name it are contiguous */
    p.channels_last = has(c, "memory_format") && CHOICE(c, "memory_format", "contiguous", "channels_last") == 1;
    p.checkpoint = CHOICE(c, "checkpoint", "none", "blocks") == 1 ? all : NULL;
    p.accumulate = (uint32_t)torch_case_number(c, "accumulate");
    p.loop = CHOICE(c, "loop", "loader", "plain") == 1 ? FM_LOOP_PLAIN : FM_LOOP_LOADER;
    p.keep_grads = CHOICE(c, "zero_grad", "none", "keep") == 1;
    p.optimizer.kind = kinds[CHOICE(c, "optimizer", "adamw", "adam", "sgd")];
    p.optimizer.form = forms[CHOICE(c, "implementation", "foreach", "forloop", "fused")];
    p.optimizer.amsgrad = torch_case_number(c, "amsgrad") != 0;
    p.optimizer.nesterov = torch_case_number(c, "nesterov") != 0;
    p.optimizer.momentum = real(c, "momentum");
    p.optimizer.weight_decay = real(c, "weight_decay");
    return p;
}

void torch_case_lower(const struct torch_case *c, struct fm_program *program)
{
    struct fm_graph graph;
    struct fm_err err = { 0 };
    torch_case_build(c, &graph);
    struct fm_policy policy = torch_case_policy(c);
    for (int b = 0; b < FM_BODY_COUNT; b++) assert_true(graph.body[b].block_count <= TORCH_BLOCKS);
    if (fm_lower(&graph, &policy, program, &err) != FM_OK) fail_msg("%s", err.text);
    if (fm_program_check(program, &err) != FM_OK) fail_msg("%s", err.text);
    fm_graph_release(&graph);
}
