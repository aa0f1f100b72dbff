/* Whole training on the cuda backend, as far as it goes without a GPU: its host code with its own kernels, which the shim
 * runs on the CPU, over stand-ins for NVIDIA's libraries that compute convolutions and products with the ref backend.
 * Losses and parameters must be those of training on ref. */
#include "probes/backends/ref/ref.h"
#include "probes/worker/engine.h"
#include "tests/cuda_host/support_host.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define STEPS 2

struct trained {
    double loss[2];
    float *value;                   /* of all f32 parameters, buffers and optimizer state, in order */
    size_t count, room;
};

static void keep(struct trained *t, const struct fm_engine *e, const struct fm_backend_ops *ops, struct fm_backend *backend)
{
    const struct fm_program *p = e->replay.program;
    for (uint32_t i = 0; i < p->storage_count; i++) {
        const struct fm_storage *s = &p->storage[i];
        bool kept = s->kind == FM_STORAGE_PARAMETER || s->kind == FM_STORAGE_BUFFER || s->kind == FM_STORAGE_OPTIMIZER;
        if (!kept || s->dtype != FM_F32 || !fm_replay_address(&e->replay, i)) continue;
        size_t n = (size_t)s->bytes / sizeof *t->value;
        float *grown = fm_grow(t->value, &t->room, t->count + n, sizeof *grown);
        assert_non_null(grown);
        t->value = grown;
        const void *address = (const void *)(uintptr_t)fm_replay_address(&e->replay, i);
        assert_int_equal(ops->read(backend, t->value + t->count, address, s->bytes, NULL), FM_OK);
        t->count += n;
    }
}

static struct trained train(const struct fm_program *program, const struct fm_backend_ops *ops, struct fm_backend *backend)
{
    static struct fm_engine engine;
    struct trained t = { .count = 0 };
    struct fm_err err = { 0 };
    struct fm_engine_config config = { .ops = ops, .backend = backend, .program = program, .memory_bytes = INT64_C(2) << 30, .seed = 9 };
    fm_status status = fm_engine_open(&engine, &config, &err);
    if (status == FM_OK) status = fm_engine_run(&engine, FM_SECTION_INIT, NULL, &err);
    if (status == FM_OK) status = fm_engine_run(&engine, FM_SECTION_TRAIN_FIRST, NULL, &err);
    for (int i = 1; i < STEPS && status == FM_OK; i++) status = fm_engine_run(&engine, FM_SECTION_TRAIN, NULL, &err);
    if (status != FM_OK) fail_msg("%s: %s", ops->name, err.text);
    t.loss[0] = engine.loss_first;
    t.loss[1] = engine.loss_last;
    keep(&t, &engine, ops, backend);
    fm_engine_close(&engine);
    return t;
}

static void same(const char *words, double most)
{
    struct fm_program program = { 0 }, exact = { 0 };
    struct fm_cell cell;
    struct fm_err err = { 0 };
    most = fm_host_tolerance(most);
    fm_host_cell(&cell, words);
    if (fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 2 }, &program, &err) != FM_OK) fail_msg("%s", err.text);
    /* ref has no TF32: fp32 is what it comes from */
    if (strcmp(cell.value[FM_STRATEGY_PRECISION], "tf32") == 0)
        assert_int_equal(fm_cell_set(&cell, FM_STRATEGY_PRECISION, "fp32", NULL), FM_OK);
    assert_int_equal(fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 2 }, &exact, NULL), FM_OK);
    struct fm_backend *ref = NULL, *cuda = fm_fake_open("sm=80");
    assert_int_equal(fm_backend_ref.open(&(struct fm_backend_config){ .threads = 1 }, &ref, NULL), FM_OK);
    struct trained wanted = train(&exact, &fm_backend_ref, ref), got = train(&program, &fm_backend_cuda, cuda);
    double difference = 0, size = 0;
    assert_int_equal(wanted.count, got.count);
    assert_true(wanted.count > 1000);
    for (size_t i = 0; i < wanted.count; i++) {
        difference += ((double)got.value[i] - (double)wanted.value[i]) * ((double)got.value[i] - (double)wanted.value[i]);
        size += (double)wanted.value[i] * (double)wanted.value[i];
    }
    difference = sqrt(difference / size);
    for (int i = 0; i < 2; i++)
        if (!(fabs(got.loss[i] - wanted.loss[i]) <= most * fabs(wanted.loss[i])))
            fail_msg("%s: loss %d is %.9g on cuda, %.9g on ref", words, i, got.loss[i], wanted.loss[i]);
    if (!(difference <= 10 * most)) fail_msg("%s: parameters are off by %g", words, difference);
    fm_free(wanted.value);
    fm_free(got.value);
    fm_backend_cuda.close(cuda);
    fm_backend_ref.close(ref);
    fm_program_release(&program);
    fm_program_release(&exact);
    assert_int_equal(fm_memory_live, 0);
}

static void training_is_that_of_ref(void **state)
{
    (void)state;
    same("denseunet3d base_channels=2 levels=2 classes=3 input=8x8x8 dropout=on", 1e-5);
    same("segformer input=32x32 classes=3 drop_path=0.2 +channels=1/8", 1e-5);
    same("segformer input=32x32 classes=3 drop_path=0.2 +channels=1/8 +precision=tf32", 1e-5);
}

static void training_in_half_precision_is_that_of_ref(void **state)
{
    (void)state;
    same("denseunet3d base_channels=2 levels=2 classes=2 input=8x8x8 +precision=fp16 +optimizer=sgd", 5e-3);
    same("segformer input=32x32 classes=2 +channels=1/8 +precision=bf16 +checkpoint=blocks +optimizer_form=fused", 2e-2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_is_that_of_ref),
        cmocka_unit_test(training_in_half_precision_is_that_of_ref),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
