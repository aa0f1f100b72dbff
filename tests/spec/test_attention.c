/* Attention in one kernel on GPUs that are not here, by the real cuDNN: which have engines, and what workspace these take.
 *
 * The answers are those that cuDNN 9.19 gave when they were written down; others may differ where it says "9.19". Skipped
 * where no cuDNN was built in, or the toolkit's stub of the driver is not there. Nothing was compared with a GPU. */
#ifdef FM_HAVE_CUDNN
#include "probes/backends/attention_graph.h"
#include "probes/backends/spec/spec.h"
#endif
#include "probes/devices/devices.h"
#include "tuner/base/memory.h"
#include "workloads/program/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#ifndef FM_HAVE_CUDNN
int main(void)
{
    (void)printf("skipped: built without cuDNN\n");
    return 77;
}
#else

struct attention { int64_t batch, heads, queries, keys, depth; bool by_token; enum fm_dtype dtype; };

static struct fm_operand tensor(const struct attention *a, int64_t rows)
{
    struct fm_operand o = { .dtype = (uint8_t)a->dtype, .ndim = 4, .size = { a->batch, a->heads, rows, a->depth } };
    int64_t h = a->heads, d = a->depth;
    const int64_t by_token[] = { rows * h * d, d, h * d, 1 }, by_head[] = { h * rows * d, rows * d, d, 1 };
    memcpy(o.stride, a->by_token ? by_token : by_head, sizeof by_token);
    return o;
}

static void problem_of(const struct attention *a, bool backward, struct fm_operand operand[9], struct fm_problem *out)
{
    static const struct fm_attr attr = { .alpha = 0.125 };
    struct fm_operand q = tensor(a, a->queries), k = tensor(a, a->keys);
    struct fm_operand lse = { .dtype = FM_F32, .ndim = 3, .size = { a->batch, a->heads, a->queries },
                              .stride = { a->heads * a->queries, a->queries, 1 } };
    const struct fm_operand forwards[] = { q, lse, q, k, k }, backwards[] = { q, k, k, q, q, k, k, q, lse };
    memcpy(operand, backward ? backwards : forwards, backward ? sizeof backwards : sizeof forwards);
    *out = (struct fm_problem){ .kernel = backward ? FM_K_SDPA_BWD : FM_K_SDPA, .n_out = backward ? 3 : 2, .n_in = backward ? 6 : 3,
                                .operand = operand, .attr = &attr };
}

static struct fm_backend *open_for(const char *name)
{
    struct fm_gpus gpus = { 0 };
    struct fm_err err = { 0 };
    struct fm_buf json = FM_BUF(4096);
    struct fm_backend *backend = NULL;
    assert_int_equal(fm_gpus_builtin(&gpus, &err), FM_OK);
    const struct fm_gpu *gpu = fm_gpus_find(&gpus, name);
    assert_non_null(gpu);
    fm_gpu_cudnn_json(gpu, &json);
    struct fm_backend_config config = { .device = fm_buf_text(&json) };
    if (fm_backend_spec.open(&config, &backend, &err) != FM_OK) fail_msg("%s: %s", name, err.text);
    fm_buf_release(&json);
    fm_gpus_release(&gpus);
    return backend;
}

static const struct attention shapes[] = {
    { 2, 1, 1024, 64, 32, true, FM_BF16 },  { 2, 8, 343, 343, 32, true, FM_F16 }, { 1, 5, 256, 64, 32, false, FM_BF16 },
    { 2, 2, 100, 36, 64, true, FM_BF16 },   { 1, 8, 81, 81, 8, false, FM_F16 },   { 2, 4, 200, 200, 128, true, FM_BF16 },
};

/* workspace of an engine besides the scratch: forward next to none, nor backward on sm_90 and sm_100; on the others as
 * much as the sum of dq once more, for up to a tile more of queries (9.19) */
static void check(struct fm_backend *b, const char *device, const struct attention *a, bool adds)
{
    struct fm_operand operand[9];
    struct fm_problem problem;
    struct fm_candidates list;
    struct fm_err err = { 0 };
    for (int backward = 0; backward < 2; backward++) {
        problem_of(a, backward, operand, &problem);
        fm_status status = fm_backend_spec.candidates(b, &problem, &list, &err);
        if (status != FM_OK) fail_msg("%s: %s", device, err.text);
        int64_t scratch_bytes = fm_attention_scratch(&problem).bytes, sum_bytes = a->batch * a->heads * a->queries * a->depth * 4;
        assert_true(list.count >= 1);
        print_message("%-10s %s %s %lldx%lldx%lldx%lldx%lld: %u candidates, first %lld bytes of workspace and %lld of scratch\n", device,
                      backward ? "backward" : "forward", fm_dtype_name(a->dtype), (long long)a->batch, (long long)a->heads,
                      (long long)a->queries, (long long)a->keys, (long long)a->depth, list.count,
                      (long long)(list.item[0].workspace_bytes - scratch_bytes), (long long)scratch_bytes);
        assert_true(backward ? scratch_bytes >= sum_bytes : scratch_bytes == 0);
        assert_true(list.item[0].workspace_bytes >= scratch_bytes);
        for (uint32_t i = 1; i < list.count; i++) assert_true(list.item[i].workspace_bytes < list.item[i - 1].workspace_bytes);
        int64_t least_bytes = list.item[list.count - 1].workspace_bytes - scratch_bytes;
        if (backward && adds) assert_true(least_bytes >= sum_bytes && least_bytes < sum_bytes + sum_bytes / 8 + 16384);
        else assert_true(least_bytes < 4096);
    }
}

static void devices_with_engines(void **state)
{
    (void)state;
    static const struct { const char *name; bool adds; } rows[] = {
        { "a100-40g", true }, { "rtx3060", true }, { "rtx4090", true }, { "h100", false }, { "b200", false }, { "rtx5090", true },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct fm_backend *b = open_for(rows[r].name);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) check(b, rows[r].name, &shapes[i], rows[r].adds);
        fm_backend_spec.close(b);
    }
}

/* what cannot run says why */
static void refusals(void **state)
{
    (void)state;
    static const struct { const char *device; struct attention a; bool backward; const char *why; } rows[] = {
        { "t4", { 2, 8, 343, 343, 32, true, FM_F16 }, false, "compute capability 8.0" },
        { "h100", { 2, 8, 64, 64, 20, true, FM_F16 }, false, "multiple of 8" },
        { "h100", { 2, 8, 64, 64, 32, true, FM_F32 }, false, "fp16 and bf16" },
        { "a100-40g", { 2, 8, 64, 64, 256, true, FM_F16 }, true, "no engine" },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct fm_operand operand[9];
        struct fm_problem problem;
        struct fm_candidates list;
        struct fm_err err = { 0 };
        struct fm_backend *b = open_for(rows[r].device);
        problem_of(&rows[r].a, rows[r].backward, operand, &problem);
        for (int again = 0; again < 2; again++) {   /* once more from what is remembered */
            err = (struct fm_err){ 0 };
            assert_int_equal(fm_backend_spec.candidates(b, &problem, &list, &err), FM_UNSUPPORTED);
            if (!strstr(err.text, rows[r].why)) fail_msg("row %zu: %s", r, err.text);
        }
        fm_backend_spec.close(b);
    }
}

/* engines of attention exist beside a driver or its stub alone */
static int need_stub(void **state)
{
    (void)state;
    struct fm_operand operand[9];
    struct fm_problem problem;
    struct fm_candidates list;
    struct fm_err err = { 0 };
    struct fm_backend *b = open_for("a100-40g");
    problem_of(&shapes[0], false, operand, &problem);
    bool here = fm_backend_spec.candidates(b, &problem, &list, &err) == FM_OK || !strstr(err.text, "stubs/libcuda.so");
    fm_backend_spec.close(b);
    if (!here) print_message("skipped: %s\n", err.text);
    return here ? 0 : -1;
}

int main(void)
{
    void *state = NULL;
    const struct CMUnitTest tests[] = { cmocka_unit_test(devices_with_engines), cmocka_unit_test(refusals) };
    if (need_stub(&state)) return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
