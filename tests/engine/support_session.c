#include "tests/engine/support_session.h"

#include "probes/backends/ref/element.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void must(fm_status status, const struct fm_err *err)
{
    if (status != FM_OK) fail_msg("%s: %s", fm_status_name(status), err->text);
}

/* ---- values of views ---- */

static struct fm_operand physical(const struct fm_session *s, const struct fm_operand *operand)
{
    struct fm_operand o = *operand;
    if (s->device->channels_last) assert_true(fm_operand_channels_last(&o));
    return o;
}

static struct fm_view view_of(const struct fm_operand *o, void *storage)
{
    return (struct fm_view){ o, (char *)storage + o->offset * fm_dtype_bytes((enum fm_dtype)o->dtype) };
}

static double *read_view(const struct fm_session *s, const struct fm_operand *operand, void *storage)
{
    struct fm_operand o = physical(s, operand);
    struct fm_view view = view_of(&o, storage);
    struct fm_index at = { { 0 } };
    int64_t count = fm_operand_numel(&o);
    double *value = fm_calloc((size_t)count, sizeof *value);
    assert_non_null(value);
    for (int64_t i = 0; i < count; i++, fm_view_next(&view, &at)) value[i] = fm_view_load(&view, fm_view_distance(&view, &at));
    return value;
}

static void write_view(const struct fm_session *s, const struct fm_operand *operand, void *storage, const double *value)
{
    struct fm_operand o = physical(s, operand);
    struct fm_view view = view_of(&o, storage);
    struct fm_index at = { { 0 } };
    int64_t count = fm_operand_numel(&o);
    for (int64_t i = 0; i < count; i++, fm_view_next(&view, &at)) fm_view_store(&view, fm_view_distance(&view, &at), value[i]);
}

/* ---- the tap ---- */

static fm_status tap_candidates(struct fm_backend *tapped, const struct fm_problem *problem, struct fm_candidates *out,
                                struct fm_err *err)
{
    struct fm_session *s = (void *)tapped;
    return s->device->candidates(s->backend, problem, out, err);
}

static fm_status tap_synchronize(struct fm_backend *tapped, struct fm_err *err)
{
    struct fm_session *s = (void *)tapped;
    return s->device->synchronize(s->backend, err);
}

static fm_status tap_read(struct fm_backend *tapped, void *host, const void *device, int64_t bytes, struct fm_err *err)
{
    struct fm_session *s = (void *)tapped;
    return s->device->read(s->backend, host, device, bytes, err);
}

static fm_status tap_write(struct fm_backend *tapped, void *device, const void *host, int64_t bytes, struct fm_err *err)
{
    struct fm_session *s = (void *)tapped;
    return s->device->write(s->backend, device, host, bytes, err);
}

static struct fm_session_tensor *tensor_at(struct fm_session *s, uint32_t storage)
{
    for (uint32_t i = 0; i < s->tensors; i++)
        if (s->tensor[i].operand.storage == storage) return &s->tensor[i];
    return NULL;
}

/* the gradients that the optimizer is about to apply, or an optimizer's call over some of the parameters */
static void take_gradients(struct fm_session *s, const struct fm_launch *l)
{
    bool adam = l->problem.kernel == FM_K_ADAM;
    uint32_t apart = adam ? FM_ADAM_OPERANDS : FM_SGD_OPERANDS, gradient = adam ? 5 : 1;
    for (uint32_t i = 0; i + apart <= l->problem.n_out; i += apart) {
        struct fm_session_tensor *t = tensor_at(s, l->problem.operand[i].storage);
        assert_non_null(t);
        fm_free(t->gradient);
        t->gradient = read_view(s, &l->problem.operand[i + gradient], l->address[i + gradient]);
    }
}

static void take_logits(struct fm_session *s, const struct fm_launch *l)
{
    struct fm_session_values *logits = &s->logits[s->engine.validating];
    fm_free(logits->value);
    logits->value = read_view(s, &l->problem.operand[1], l->address[1]);
    logits->count = fm_operand_numel(&l->problem.operand[1]);
}

static void replace_input(const struct fm_session *s, const struct fm_launch *l)
{
    double *value = read_view(s, &l->problem.operand[0], l->address[0]);
    s->input(&l->problem.operand[0], (enum fm_input)l->problem.attr->mode, value);
    write_view(s, &l->problem.operand[0], l->address[0], value);
    fm_free(value);
}

static fm_status tap_run(struct fm_backend *tapped, const struct fm_launch *l, struct fm_err *err)
{
    struct fm_session *s = (void *)tapped;
    enum fm_kernel kernel = l->problem.kernel;
    if (!s->blind && (kernel == FM_K_ADAM || kernel == FM_K_SGD)) take_gradients(s, l);
    fm_status status = s->device->run(s->backend, l, err);
    if (status != FM_OK) return status;
    bool logits = s->engine.validating ? kernel == FM_K_ARGMAX : kernel == FM_K_SOFTMAX && l->problem.attr->mode == 1;
    if (logits && !s->blind) take_logits(s, l);
    if (kernel == FM_K_INPUT && s->input) replace_input(s, l);
    return FM_OK;
}

/* ---- cells ---- */

void fm_session_cell(struct fm_cell *cell, const char *words)
{
    struct fm_err err = { 0 };
    char text[512], *save = NULL;
    (void)snprintf(text, sizeof text, "%s", words);
    const struct fm_workload *workload = fm_workload_find(strtok_r(text, " ", &save), &err);
    if (!workload) fail_msg("%s", err.text);
    fm_cell_default(cell, workload);
    for (char *word; (word = strtok_r(NULL, " ", &save));) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = 0;
        if (*word == '+') must(fm_cell_set(cell, fm_strategy_find(word + 1), value, &err), &err);
        else must(fm_settings_set(&cell->settings, word, value, &err), &err);
    }
}

void fm_session_lower(struct fm_session *s, const struct fm_cell *cell, struct fm_cell_batch batch)
{
    struct fm_err err = { 0 };
    must(fm_cell_lower(cell, batch, &s->program, &err), &err);
    must(fm_program_check(&s->program, &err), &err);
}

bool fm_session_supported(const struct fm_backend_ops *device, const struct fm_cell *cell)
{
    struct fm_err err = { 0 };
    struct fm_program program = { 0 };
    struct fm_workspaces table = { 0 };
    struct fm_backend *backend = NULL;
    must(fm_cell_lower(cell, (struct fm_cell_batch){ .train = 1, .val = 1 }, &program, &err), &err);
    must(device->open(&(struct fm_backend_config){ .threads = 1 }, &backend, &err), &err);
    must(fm_engine_workspaces(device, backend, &program, &table, &err), &err);
    bool all = true;
    for (size_t i = 0; i < table.count; i++) all = all && !table.entry[i].unsupported;
    fm_workspaces_release(&table);
    device->close(backend);
    fm_program_release(&program);
    return all;
}

/* ---- the session ---- */

/* parameters and buffers are what INIT fills, in the order of registration */
static void find_tensors(struct fm_session *s)
{
    const struct fm_program *p = &s->program;
    for (size_t i = p->section[FM_SECTION_INIT]; i < p->section[FM_SECTION_INIT + 1]; i++) {
        if (p->instr[i].kind != FM_CALL) continue;
        const struct fm_operand *o = &p->operand[p->call[p->instr[i].a].operand];
        uint8_t kind = p->storage[o->storage].kind;
        if (kind != FM_STORAGE_PARAMETER && kind != FM_STORAGE_BUFFER) continue;
        assert_true(s->tensors < FM_SESSION_TENSORS);
        s->tensor[s->tensors++] = (struct fm_session_tensor){ .operand = *o, .buffer = kind == FM_STORAGE_BUFFER,
                                                              .name = p->names + p->storage[o->storage].label };
        s->parameters += kind == FM_STORAGE_PARAMETER;
    }
    assert_true(s->parameters > 0);
}

static void *storage_address(const struct fm_session *s, uint32_t storage)
{
    return fm_mmap_pointer(fm_replay_address(&s->engine.replay, storage));
}

static void replace_parameters(struct fm_session *s)
{
    uint32_t index[2] = { 0, 0 };
    for (uint32_t i = 0; i < s->tensors; i++) {
        struct fm_session_tensor *t = &s->tensor[i];
        double *value = fm_session_read(s, t);
        s->parameter(t, index[t->buffer]++, value);
        write_view(s, &t->operand, storage_address(s, t->operand.storage), value);
        fm_free(value);
    }
}

void fm_session_open(struct fm_session *s)
{
    struct fm_err err = { 0 };
    s->tap = *s->device;
    s->tap.candidates = tap_candidates;
    s->tap.run = tap_run;
    s->tap.synchronize = tap_synchronize;
    s->tap.read = tap_read;
    s->tap.write = tap_write;
    must(s->device->open(&(struct fm_backend_config){ .threads = s->threads ? s->threads : 1 }, &s->backend, &err), &err);
    struct fm_engine_config config = { .ops = &s->tap, .backend = (void *)s, .program = &s->program, .poison = s->poison,
                                       .memory_bytes = s->memory_bytes ? s->memory_bytes : INT64_C(4) << 30,
                                       .seed = s->seed ? s->seed : 1 };
    must(fm_engine_open(&s->engine, &config, &err), &err);
    find_tensors(s);
    must(fm_engine_run(&s->engine, FM_SECTION_INIT, NULL, &err), &err);
    if (s->parameter) replace_parameters(s);
}

void fm_session_close(struct fm_session *s)
{
    fm_engine_close(&s->engine);
    if (s->backend) s->device->close(s->backend);
    for (uint32_t i = 0; i < s->tensors; i++) fm_free(s->tensor[i].gradient);
    for (int i = 0; i < 2; i++) fm_free(s->logits[i].value);
    fm_program_release(&s->program);
    *s = (struct fm_session){ 0 };
}

static void run(struct fm_session *s, enum fm_section section)
{
    struct fm_err err = { 0 };
    must(fm_engine_run(&s->engine, section, NULL, &err), &err);
    if (s->poison) must(fm_engine_check(&s->engine, &err), &err);
}

void fm_session_steps(struct fm_session *s, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        run(s, s->engine.train_steps ? FM_SECTION_TRAIN : FM_SECTION_TRAIN_FIRST);
        assert_true(s->steps < FM_SESSION_STEPS);
        s->loss[s->steps++] = s->engine.loss_last;
    }
}

void fm_session_validate(struct fm_session *s, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) run(s, i ? FM_SECTION_VAL : FM_SECTION_VAL_FIRST);
    run(s, FM_SECTION_VAL_EXIT);
}

double *fm_session_read(const struct fm_session *s, const struct fm_session_tensor *tensor)
{
    return read_view(s, &tensor->operand, storage_address(s, tensor->operand.storage));
}

uint64_t fm_session_hash(const struct fm_session *s)
{
    uint64_t hash = FM_HASH_INIT;
    for (uint32_t i = 0; i < s->program.storage_count; i++) {
        const struct fm_storage *storage = &s->program.storage[i];
        bool state = storage->kind == FM_STORAGE_PARAMETER || storage->kind == FM_STORAGE_BUFFER ||
                     storage->kind == FM_STORAGE_OPTIMIZER;
        if (!state || s->engine.replay.block[i] == FM_BLOCK_NONE) continue;
        hash = fm_hash_add(hash, storage_address(s, i), (size_t)storage->bytes);
    }
    return hash;
}

uint64_t fm_session_gradient_hash(const struct fm_session *s)
{
    uint64_t hash = FM_HASH_INIT;
    for (uint32_t i = 0; i < s->tensors; i++) {
        if (s->tensor[i].buffer) continue;
        assert_non_null(s->tensor[i].gradient);
        hash = fm_hash_add(hash, s->tensor[i].gradient, (size_t)fm_operand_numel(&s->tensor[i].operand) * sizeof(double));
    }
    return hash;
}

struct difference { double error, norm; };

static void add_difference(struct difference *d, const double *x, const double *y, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        d->error += (x[k] - y[k]) * (x[k] - y[k]);
        d->norm += y[k] * y[k];
    }
}

static double relative(const struct difference *d)
{
    return isfinite(d->error) && d->norm > 0 ? sqrt(d->error / d->norm) : (double)INFINITY;
}

/* by name: forms of accounting register in different orders */
static const struct fm_session_tensor *counterpart(const struct fm_session *b, const struct fm_session_tensor *t)
{
    for (uint32_t i = 0; i < b->tensors; i++) {
        if (strcmp(b->tensor[i].name, t->name) != 0) continue;
        assert_int_equal(fm_operand_numel(&b->tensor[i].operand), fm_operand_numel(&t->operand));
        return &b->tensor[i];
    }
    fail_msg("%s is in one network alone", t->name);
    return NULL;
}

double fm_session_gradient_difference(const struct fm_session *a, const struct fm_session *b)
{
    struct difference d = { 0 };
    assert_int_equal(a->tensors, b->tensors);
    for (uint32_t i = 0; i < a->tensors; i++) {
        const struct fm_session_tensor *x = &a->tensor[i], *y = counterpart(b, x);
        if (x->buffer) continue;
        assert_true(x->gradient && y->gradient);
        add_difference(&d, x->gradient, y->gradient, fm_operand_numel(&x->operand));
    }
    return relative(&d);
}

double fm_session_parameter_difference(const struct fm_session *a, const struct fm_session *b)
{
    struct difference d = { 0 };
    assert_int_equal(a->tensors, b->tensors);
    for (uint32_t i = 0; i < a->tensors; i++) {
        if (a->tensor[i].buffer) continue;
        double *x = fm_session_read(a, &a->tensor[i]), *y = fm_session_read(b, counterpart(b, &a->tensor[i]));
        add_difference(&d, x, y, fm_operand_numel(&a->tensor[i].operand));
        fm_free(x);
        fm_free(y);
    }
    return relative(&d);
}
