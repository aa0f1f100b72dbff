/* The law of memory on the cuda backend's host code: what is planned is what execution takes of the GPU, to the byte.
 *
 * Over stand-ins for NVIDIA's libraries: convolutions of which the best engine wants much workspace, products with
 * PyTorch's, kernels with scratch. Cells run without a limit, under the exact peak, one byte less, and less; with a GPU
 * that is smaller than the limit; and with single allocations refused. */
#include "probes/memory/planner.h"
#include "probes/worker/engine.h"
#include "tests/cuda_host/support_host.h"
#include "tests/cuda_host/support_kernels.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define MIB (INT64_C(1) << 20)
#define UNLIMITED (INT64_C(3) << 30)

static const char *const words[] = {
    "denseunet3d base_channels=4 levels=3 classes=3 input=32x32x16 dropout=on n_infers=2 +val_batch=half",
    "denseunet3d base_channels=8 levels=2 classes=2 input=32x32x32 +precision=fp16 +checkpoint=blocks",
    "segformer input=96x64 classes=3 +channels=1/4 +optimizer_form=fused",
    "segformer input=64x96 classes=3 +channels=1/4 +precision=bf16 +attention=flash",
    "segformer input=64x64 classes=2 +channels=1/8 +precision=fp16 +attention=flash +checkpoint=blocks",
    "segformer input=64x64 classes=2 drop_path=0.2 +channels=1/8 +precision=bf16 +checkpoint=blocks +accumulate=2",
};

static struct fm_engine engine;
static struct fm_planner planner;
static struct fm_program program;

static void lower(const char *text)
{
    struct fm_cell cell;
    struct fm_err err = { 0 };
    fm_host_cell(&cell, text);
    if (fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 2, .val = fm_cell_val_batch(&cell, 2) }, &program, &err) != FM_OK)
        fail_msg("%s: %s", text, err.text);
}

static fm_status execute(struct fm_engine *e, struct fm_err *err)
{
    fm_status status = FM_OK;
    FM_TRY(fm_engine_run(e, FM_SECTION_INIT, NULL, err));
    FM_TRY(fm_engine_run(e, FM_SECTION_TRAIN_FIRST, NULL, err));
    FM_TRY(fm_engine_settle(e, FM_SECTION_TRAIN, 1, err));
    FM_TRY(fm_engine_run(e, FM_SECTION_VAL_FIRST, NULL, err));
    FM_TRY(fm_engine_settle(e, FM_SECTION_VAL, 1, err));
    FM_TRY(fm_engine_run(e, FM_SECTION_VAL_EXIT, NULL, err));
    FM_TRY(fm_engine_settle(e, FM_SECTION_TRAIN, 1, err));
out:
    return status;
}

static void same_peak(const char *text, const struct fm_peak *planned, const struct fm_peak *measured)
{
    if (planned->allocated_bytes != measured->allocated_bytes || planned->reserved_bytes != measured->reserved_bytes ||
        planned->counted_bytes != measured->counted_bytes || planned->workspace_bytes != measured->workspace_bytes)
        fail_msg("%s: planned %lld, %lld, %lld, %lld, measured %lld, %lld, %lld, %lld", text, (long long)planned->allocated_bytes,
                 (long long)planned->reserved_bytes, (long long)planned->counted_bytes, (long long)planned->workspace_bytes,
                 (long long)measured->allocated_bytes, (long long)measured->reserved_bytes, (long long)measured->counted_bytes,
                 (long long)measured->workspace_bytes);
}

static void open_engine(struct fm_backend *backend, int64_t capacity)
{
    struct fm_err err = { 0 };
    struct fm_engine_config config = { .ops = &fm_backend_cuda, .backend = backend, .program = &program, .memory_bytes = capacity, .seed = 5 };
    if (fm_engine_open(&engine, &config, &err) != FM_OK) fail_msg("%s", err.text);
}

/* a GPU with these options, its program's run compared with the plan for `planned_capacity` */
static struct fm_plan agree(const char *text, const char *options, int64_t capacity, int64_t planned_capacity)
{
    struct fm_plan plan;
    struct fm_err err = { 0 };
    struct fm_backend *backend = fm_fake_open(options);
    open_engine(backend, capacity);
    if (fm_planner_run(&planner, &program, &engine.workspaces, planned_capacity, &plan, &err) != FM_OK) fail_msg("%s", err.text);
    fm_status status = execute(&engine, &err);
    if (status != FM_OK && status != FM_OOM) fail_msg("%s: %s", text, err.text);
    if (plan.fits != (status == FM_OK)) fail_msg("%s in %lld bytes: planned to %s", text, (long long)capacity, plan.fits ? "fit" : "fail");
    same_peak(text, &plan.train, &engine.replay.peak[0]);
    same_peak(text, &plan.val, &engine.replay.peak[1]);
    if (status == FM_OOM) assert_int_equal(plan.oom_bytes, engine.replay.oom_bytes);
    /* what the GPU's own count says is reserved */
    assert_int_equal(fm_fake_size("libcuda.so.1", "fake_cuda_used"), fm_allocator_get_stats(&engine.allocator)->reserved_bytes);
    fm_engine_close(&engine);
    assert_int_equal(fm_fake_size("libcuda.so.1", "fake_cuda_used"), 0);
    fm_backend_cuda.close(backend);
    fm_planner_release(&planner);
    assert_int_equal(fm_fake_int("libcuda.so.1", "fake_cuda_contexts"), 0);
    assert_int_equal(fm_fake_int("libcudnn.so.9", "fake_cudnn_objects"), 0);
    assert_int_equal(fm_fake_int("libcublasLt.so.13", "fake_lt_objects"), 0);
    return plan;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static void planned_is_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        lower(words[i]);
        struct fm_plan plan = agree(words[i], "idle=1", UNLIMITED, UNLIMITED);
        assert_true(plan.fits && plan.train.workspace_bytes > 0);
        int64_t peak = larger(plan.train.reserved_bytes, plan.val.reserved_bytes);
        assert_true(agree(words[i], "idle=1", peak, peak).fits);
        (void)agree(words[i], "idle=1", peak - 1, peak - 1);
        (void)agree(words[i], "idle=1", peak * 6 / 10, peak * 6 / 10);
    }
}

/* the limit is the GPU's own: what others hold and the context take theirs of it */
static void a_full_gpu_is_out_of_memory(void **state)
{
    (void)state;
    char options[96];
    lower(words[1]);
    struct fm_plan plan = agree(words[1], "idle=1", UNLIMITED, UNLIMITED);
    int64_t peak_mib = larger(plan.train.reserved_bytes, plan.val.reserved_bytes) / MIB;
    assert_true(peak_mib >= 4 && peak_mib % 2 == 0);
    for (int64_t room_mib = peak_mib; room_mib > 0 && room_mib > peak_mib - 6; room_mib -= 2) {
        (void)snprintf(options, sizeof options, "idle=1,memory=%lld,held=200,context=300", (long long)room_mib + 500);
        plan = agree(words[1], options, UNLIMITED, room_mib * MIB);
        assert_int_equal(plan.fits, room_mib == peak_mib);
    }
}

/* Each single cudaMalloc refused once: the allocator frees what it holds and asks again, so the step goes on. */
static void one_refusal_is_retried(void **state)
{
    (void)state;
    char options[64];
    lower(words[0]);
    for (int n = 1; n < 12; n++) {
        struct fm_err err = { 0 };
        (void)snprintf(options, sizeof options, "idle=1,oom_at=%d", n);
        struct fm_backend *backend = fm_fake_open(options);
        open_engine(backend, UNLIMITED);
        fm_status status = execute(&engine, &err);
        if (status != FM_OK) fail_msg("refused at %d: %s %s", n, fm_status_name(status), err.text);
        fm_engine_close(&engine);
        fm_backend_cuda.close(backend);
        assert_int_equal(fm_fake_size("libcuda.so.1", "fake_cuda_used"), 0);
    }
}

/* ---- benchmark on (rule 40) ---- */

static const char *const timed_words = "denseunet3d base_channels=4 levels=2 classes=2 input=32x32x16 +cudnn_benchmark=on";

/* which candidate each convolution ran with; -1 if not all the same */
static int64_t all_chose(const char *what)
{
    long same = 0, convs = 0;
    for (uint32_t i = 0; i < program.call_count; i++) {
        enum fm_kernel kernel = (enum fm_kernel)program.call[i].kernel;
        if (kernel != FM_K_CONV && kernel != FM_K_CONV_DGRAD && kernel != FM_K_CONV_WGRAD) continue;
        const struct fm_workspace_entry *entry = fm_workspaces_find(&engine.workspaces, program.call[i].key);
        convs++;
        uint8_t chosen = engine.replay.chosen[entry - engine.workspaces.entry];
        assert_true(chosen > 0);
        same += strcmp(entry->candidates.item[chosen - 1].what, what) == 0;
    }
    assert_true(convs > 10);
    return same == convs ? same : -1;
}

static fm_status only_of(const char *what, struct fm_workspaces *out)
{
    struct fm_err err = { 0 };
    for (size_t i = 0; i < engine.workspaces.count; i++) {
        struct fm_workspace_entry e = engine.workspaces.entry[i];
        for (uint32_t k = 0; k < e.candidates.count; k++) {
            if (strcmp(e.candidates.item[k].what, what) != 0) continue;
            e.candidates.item[0] = e.candidates.item[k];
            e.candidates.count = 1;
        }
        fm_status status = fm_workspaces_add(out, &e, &err);
        if (status != FM_OK) return status;
    }
    return FM_OK;
}

/* The fastest engine is found and stays, whichever it is; what it takes is, to the byte, what a plan takes that knows it; a plan
 * that does not know it takes no less. A later step times nothing. */
static void the_fastest_engine_stays(void **state)
{
    (void)state;
    static const struct { const char *options, *what; } rows[] = {
        { "fast=12,idle=1", "cudnn engine 12" }, { "fast=20,idle=1", "cudnn engine 20" }, { "fast=13,idle=1", "cudnn engine 13" },
    };
    lower(timed_words);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fm_workspaces known = { 0 };
        struct fm_plan exact, bound;
        struct fm_err err = { 0 };
        struct fm_backend *backend = fm_fake_open(rows[i].options);
        open_engine(backend, UNLIMITED);
        if (execute(&engine, &err) != FM_OK) fail_msg("%s", err.text);
        assert_true(all_chose(rows[i].what) > 0);
        size_t before = fm_fake_size("libcudnn.so.9", "fake_cudnn_executions");
        assert_int_equal(fm_engine_run(&engine, FM_SECTION_TRAIN, NULL, &err), FM_OK);
        size_t step = fm_fake_size("libcudnn.so.9", "fake_cudnn_executions") - before;
        assert_int_equal(fm_engine_run(&engine, FM_SECTION_TRAIN, NULL, &err), FM_OK);
        assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_executions"), before + 2 * step);
        assert_true(step > 5);
        assert_int_equal(only_of(rows[i].what, &known), FM_OK);
        assert_int_equal(fm_planner_run(&planner, &program, &known, UNLIMITED, &exact, &err), FM_OK);
        same_peak(rows[i].what, &exact.train, &engine.replay.peak[0]);
        same_peak(rows[i].what, &exact.val, &engine.replay.peak[1]);
        assert_int_equal(fm_planner_run(&planner, &program, &engine.workspaces, UNLIMITED, &bound, &err), FM_OK);
        assert_true(bound.train.workspace_bytes >= exact.train.workspace_bytes && bound.train.allocated_bytes >= exact.train.allocated_bytes);
        fm_engine_close(&engine);
        fm_backend_cuda.close(backend);
        fm_workspaces_release(&known);
        fm_planner_release(&planner);
        assert_int_equal(fm_fake_int("libcuda.so.1", "fake_cuda_contexts"), 0);
    }
}

/* with ever less memory: what is planned to fit does, and no peak passes the limit */
static void timing_keeps_to_the_limit(void **state)
{
    (void)state;
    struct fm_plan plan;
    struct fm_err err = { 0 };
    lower(timed_words);
    struct fm_backend *backend = fm_fake_open("idle=1");
    open_engine(backend, UNLIMITED);
    assert_int_equal(fm_planner_run(&planner, &program, &engine.workspaces, UNLIMITED, &plan, &err), FM_OK);
    int64_t peak = larger(plan.train.reserved_bytes, plan.val.reserved_bytes);
    fm_engine_close(&engine);
    long fitted = 0, failed = 0;
    for (int64_t room = peak; room > peak / 3; room -= peak / 8) {
        open_engine(backend, room);
        err = (struct fm_err){ 0 };
        fm_status status = execute(&engine, &err);
        if (status != FM_OK && status != FM_OOM) fail_msg("%s", err.text);
        assert_true(engine.replay.peak[0].reserved_bytes <= room && fm_fake_size("libcuda.so.1", "fake_cuda_used") <= (size_t)room);
        fitted += status == FM_OK, failed += status == FM_OOM;
        fm_engine_close(&engine);
    }
    assert_true(fitted > 0 && failed > 0);
    fm_backend_cuda.close(backend);
    fm_planner_release(&planner);
}

static int leave(void **state)
{
    (void)state;
    fm_program_release(&program);
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_is_counted),
        cmocka_unit_test(a_full_gpu_is_out_of_memory),
        cmocka_unit_test(one_refusal_is_retried),
        cmocka_unit_test(the_fastest_engine_stays),
        cmocka_unit_test(timing_keeps_to_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
