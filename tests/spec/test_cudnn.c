/* Planning for GPUs that are not here, by the real cuDNN: known answers, and properties over random convolutions.
 *
 * Where no cuDNN was built in, or another than the answers are of, the tests that need it are skipped and say so. */
#ifdef FM_HAVE_CUDNN
#include "probes/backends/spec/conv.h"
#include "probes/backends/spec/spec.h"
#endif
#include "probes/devices/devices.h"
#include "tests/spec/support_problem.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "workloads/program/pytorch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifndef FM_HAVE_CUDNN
int main(void)
{
    (void)printf("skipped: built without cuDNN\n");
    return 77;
}
#else

static const char *const device_names[] = { "t4", "a100-40g", "rtx3060", "rtx4090", "h100", "b200", "rtx5090" };
#define DEVICES (sizeof device_names / sizeof device_names[0])

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

/* ---- known answers ---- */

static const struct fm_test_conv shapes[] = {
    { .dims = 3, .batch = 2, .in = 32, .out = 32, .size = { 64, 64, 64 }, .kernel_size = 3, .stride = 1, .padding = 1, .dilation = 1, .groups = 1 },
    { .dims = 3, .batch = 2, .in = 71, .out = 71, .size = { 32, 32, 32 }, .kernel_size = 3, .stride = 1, .padding = 1, .dilation = 1, .groups = 1 },
    { .dims = 3, .batch = 2, .in = 64, .out = 128, .size = { 32, 32, 32 }, .kernel_size = 2, .stride = 2, .padding = 0, .dilation = 1, .groups = 1 },
};
static const char *const shape_names[] = { "conv32", "conv71", "strided" };

static int index_of(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0) return i;
    fail_msg("'%s' in the data", text);
    return 0;
}

/* the candidates that "a,b,c" or "none" stand for */
static size_t parse_bytes(char *text, int64_t *bytes, size_t room)
{
    size_t n = 0;
    if (strcmp(text, "none") == 0) return 0;
    for (char *at = text; at; at = strchr(at, ',')) {
        if (*at == ',') at++;
        assert_true(n < room);
        bytes[n++] = strtoll(at, NULL, 10);
    }
    return n;
}

static void expect(struct fm_backend *backend, const struct fm_test_conv *conv, const int64_t *bytes, size_t count, const char *line)
{
    struct fm_test_problem p;
    struct fm_candidates got;
    struct fm_err err = { 0 };
    fm_test_conv_problem(conv, &p);
    fm_status status = fm_backend_spec.candidates(backend, &p.problem, &got, &err);
    if (status != (count ? FM_OK : FM_UNSUPPORTED)) fail_msg("%s: status %d %s", line, status, err.text);
    if (!count) {
        if (!strstr(err.text, "has no engine")) fail_msg("%s: %s", line, err.text);
        return;
    }
    /* of more than fit, the least is the last */
    size_t kept = count < FM_MAX_CANDIDATES ? count : FM_MAX_CANDIDATES;
    assert_int_equal(got.count, kept);
    for (size_t i = 0; i < kept; i++) {
        int64_t want = bytes[i + 1 == kept ? count - 1 : i];
        if (got.item[i].workspace_bytes != want)
            fail_msg("%s: candidate %zu (%s) takes %lld, not %lld", line, i, got.item[i].what, (long long)got.item[i].workspace_bytes, (long long)want);
    }
}

static void known_answers(void **state)
{
    (void)state;
    static const char *const types[] = { "f32", "tf32", "f16", "bf16" }, *const passes[] = { "forward", "dgrad", "wgrad" };
    static const enum fm_kernel kernels[] = { FM_K_CONV, FM_K_CONV_DGRAD, FM_K_CONV_WGRAD };
    struct fm_backend *backend[DEVICES];
    struct fm_device_info info;
    char line[512];
    size_t rows = 0;
    for (size_t d = 0; d < DEVICES; d++) backend[d] = open_for(device_names[d]);
    assert_int_equal(fm_backend_spec.info(backend[0], &info, NULL), FM_OK);
    bool same = strstr(info.library, "cuDNN 9.19.0") != NULL;
    FILE *file = same ? fopen(FM_TEST_DATA_DIR "/cudnn_9_19.tsv", "re") : NULL;
    assert_true(!same || file);
    while (file && fgets(line, sizeof line, file)) {
        char device[32], shape[32], type[8], layout[32], pass[16], list[256];
        int64_t bytes[16];
        if (line[0] == '#') continue;
        assert_int_equal(sscanf(line, "%31s %31s %7s %31s %15s %255s", device, shape, type, layout, pass, list), 6);
        size_t count = parse_bytes(list, bytes, 16);
        struct fm_test_conv conv = shapes[index_of(shape, shape_names, 3)];
        int d = index_of(device, device_names, DEVICES), which = index_of(pass, passes, 3);
        conv.dtype = (enum fm_dtype[]){ FM_F32, FM_F32, FM_F16, FM_BF16 }[index_of(type, types, 4)];
        conv.tf32 = strcmp(type, "tf32") == 0;
        conv.channels_last = strcmp(layout, "channels_last") == 0;
        conv.kernel = kernels[which];
        expect(backend[d], &conv, bytes, count, line);
        rows++;
        if (strcmp(shape, "strided") != 0) continue;
        /* the transposed convolution of the same weight: forward and data gradient change places */
        struct fm_test_conv back = conv;
        int64_t y[5];
        fm_test_conv_output(&conv, y);
        back.transposed = true;
        back.in = conv.out, back.out = conv.in;
        memcpy(back.size, y + 2, sizeof back.size);
        back.kernel = kernels[which == 0 ? 1 : which == 1 ? 0 : 2];
        expect(backend[d], &back, bytes, count, line);
    }
    if (file) (void)fclose(file);
    for (size_t d = 0; d < DEVICES; d++) fm_backend_spec.close(backend[d]);
    assert_int_equal(fm_memory_live, 0);
    if (!same) {
        print_message("skipped: the answers are those of cuDNN 9.19.0, this is %s\n", info.library);
        skip();
    }
    /* TF32 on all but the first */
    assert_int_equal(rows, (4 * DEVICES - 1) * 3 * 2 * 3);
}

/* ---- properties ---- */

static uint64_t draws;
static int64_t pick(int64_t low, int64_t high) { return low + (int64_t)(fm_rng_u64(11, 1, draws++) % (uint64_t)(high - low + 1)); }

static struct fm_test_conv random_conv(void)
{
    static const enum fm_dtype types[] = { FM_F32, FM_F16, FM_BF16 };
    static const enum fm_kernel kernels[] = { FM_K_CONV, FM_K_CONV_DGRAD, FM_K_CONV_WGRAD };
    struct fm_test_conv c = { .dims = (int)pick(2, 3), .dtype = types[pick(0, 2)], .kernel = kernels[pick(0, 2)], .batch = pick(1, 5),
                              .in = pick(1, 40), .out = pick(1, 40), .kernel_size = (int32_t)pick(1, 3), .stride = (int32_t)pick(1, 2),
                              .dilation = 1, .groups = 1, .channels_last = pick(0, 1), .transposed = pick(0, 3) == 0 };
    c.padding = (int32_t)pick(0, c.kernel_size / 2);
    for (int d = 0; d < c.dims; d++) c.size[d] = pick(3, 40);
    if (pick(0, 4) == 0) c.in = c.out = c.groups = (int32_t)pick(2, 64), c.transposed = false;
    return c;
}

/* ordered, strictly less workspace, and independent of what was asked before */
static void answers_are_ordered_and_repeatable(void **state)
{
    (void)state;
    struct fm_backend *old = open_for("rtx4090");
    for (int i = 0; i < 120; i++) {
        struct fm_test_conv conv = random_conv();
        struct fm_test_problem p;
        struct fm_candidates a, b, again;
        struct fm_err err = { 0 };
        fm_test_conv_problem(&conv, &p);
        fm_status status = fm_backend_spec.candidates(old, &p.problem, &a, &err);
        if (status != FM_OK && status != FM_UNSUPPORTED) fail_msg("problem %d: %s", i, err.text);
        for (uint32_t k = 0; k < a.count; k++) {
            assert_true(a.item[k].workspace_bytes >= 0 && a.item[k].what[0]);
            if (k) assert_true(a.item[k].workspace_bytes < a.item[k - 1].workspace_bytes);
        }
        assert_int_equal(fm_backend_spec.candidates(old, &p.problem, &again, NULL), status);
        assert_memory_equal(&a, &again, sizeof a);
        if (i % 8) continue;
        struct fm_backend *fresh = open_for("rtx4090");
        assert_int_equal(fm_backend_spec.candidates(fresh, &p.problem, &b, NULL), status);
        assert_memory_equal(&a, &b, sizeof a);
        fm_backend_spec.close(fresh);
    }
    fm_backend_spec.close(old);
    assert_int_equal(fm_memory_live, 0);
}

/* What would be timed: the first ones whatever they need, with all that would be gone through without timing but those that a
 * smaller one stands for, and the least of all. */
static void candidates_to_be_timed(void **state)
{
    (void)state;
    struct fm_backend *backend = open_for("h100");
    long more = 0;
    for (int i = 0; i < 60; i++) {
        struct fm_test_conv conv = random_conv();
        struct fm_test_problem p;
        struct fm_candidates off, on;
        fm_test_conv_problem(&conv, &p);
        fm_status status = fm_backend_spec.candidates(backend, &p.problem, &off, NULL);
        p.attr.benchmark = 1;
        assert_int_equal(fm_backend_spec.candidates(backend, &p.problem, &on, NULL), status);
        if (status != FM_OK || !off.count) {
            assert_int_equal(on.count, off.count);
            continue;
        }
        assert_true(on.count >= off.count && on.count <= FM_MAX_CANDIDATES);
        assert_memory_equal(&on.item[0], &off.item[0], sizeof on.item[0]);
        int64_t least = INT64_MAX;
        for (uint32_t k = 0; k < on.count; k++) {
            if (on.item[k].workspace_bytes < least) least = on.item[k].workspace_bytes;
            for (uint32_t j = 0; j < k; j++) assert_string_not_equal(on.item[j].what, on.item[k].what);
        }
        assert_true(least == off.item[off.count - 1].workspace_bytes);
        more += on.count > off.count;
    }
    assert_true(more > 20);
    fm_backend_spec.close(backend);
    assert_int_equal(fm_memory_live, 0);
}

/* the three problems of one convolution name the same three tensors, and these make a convolution */
static void roles_agree_between_passes(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++) {
        struct fm_test_conv conv = random_conv();
        struct fm_spec_conv of[3];
        for (int k = 0; k < 3; k++) {
            struct fm_test_problem p;
            conv.kernel = (enum fm_kernel[]){ FM_K_CONV, FM_K_CONV_DGRAD, FM_K_CONV_WGRAD }[k];
            fm_test_conv_problem(&conv, &p);
            fm_spec_conv(&p.problem, &of[k]);
            assert_memory_equal(of[k].x, of[0].x, sizeof of[0].x);
            assert_memory_equal(of[k].w, of[0].w, sizeof of[0].w);
            assert_memory_equal(of[k].y, of[0].y, sizeof of[0].y);
        }
        assert_int_equal(of[0].pass, conv.transposed ? FM_SPEC_DGRAD : FM_SPEC_FORWARD);
        assert_int_equal(of[1].pass, conv.transposed ? FM_SPEC_FORWARD : FM_SPEC_DGRAD);
        assert_int_equal(of[2].pass, FM_SPEC_WGRAD);
        assert_true(of[0].w[0] == of[0].y[1] && of[0].w[1] * conv.groups == of[0].x[1]);
        for (int d = 0; d < conv.dims; d++) {
            int64_t reach = conv.dilation * (of[0].w[2 + d] - 1);
            int64_t steps = (of[0].x[2 + d] + 2 * conv.padding - reach - 1) / conv.stride + 1;
            assert_int_equal(of[0].y[2 + d], steps);
        }
    }
}

/* torch: x.suggest_memory_format() of these sizes and strides */
static void formats_are_recognised_as_torch_does(void **state)
{
    (void)state;
    static const struct { int ndim; int64_t size[5], stride[5]; bool channels_last; } cases[] = {
        { 4, { 2, 3, 4, 5 }, { 60, 20, 5, 1 }, false },         { 4, { 2, 3, 4, 5 }, { 60, 1, 15, 3 }, true },
        { 5, { 2, 3, 4, 5, 6 }, { 360, 1, 90, 18, 3 }, true },  { 5, { 2, 3, 4, 5, 6 }, { 360, 120, 30, 6, 1 }, false },
        { 4, { 2, 1, 4, 5 }, { 20, 20, 5, 1 }, false },         { 4, { 2, 1, 4, 5 }, { 20, 1, 5, 1 }, true },
        { 4, { 2, 3, 1, 1 }, { 3, 1, 1, 1 }, false },           { 4, { 2, 3, 1, 1 }, { 3, 1, 3, 3 }, true },
        { 4, { 8, 1, 1, 1 }, { 1, 1, 1, 1 }, false },           { 4, { 1, 3, 4, 5 }, { 60, 1, 15, 3 }, true },
        { 4, { 2, 3, 4, 5 }, { 0, 0, 0, 0 }, false },           { 4, { 2, 3, 4, 5 }, { 120, 1, 30, 6 }, true },
        { 3, { 2, 3, 4 }, { 12, 1, 3 }, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_operand o = { .ndim = (uint8_t)cases[i].ndim };
        memcpy(o.size, cases[i].size, sizeof cases[i].size);
        memcpy(o.stride, cases[i].stride, sizeof cases[i].stride);
        if (fm_pytorch_is_channels_last(&o) != cases[i].channels_last) fail_msg("case %zu", i);
    }
}

/* rule 44: PyTorch's own kernels, no workspace, but for channels-last and some fp16 sizes */
static void depthwise_goes_past_cudnn(void **state)
{
    (void)state;
    struct fm_test_conv dw = { .kernel = FM_K_CONV, .dims = 3, .dtype = FM_F32, .batch = 2, .in = 32, .out = 32, .size = { 16, 16, 16 },
                               .kernel_size = 3, .stride = 1, .padding = 1, .dilation = 1, .groups = 32 };
    struct fm_test_problem p;
    fm_test_conv_problem(&dw, &p);
    assert_true(fm_pytorch_is_depthwise(&p.problem));
    dw.channels_last = true;
    fm_test_conv_problem(&dw, &p);
    assert_false(fm_pytorch_is_depthwise(&p.problem));
    dw.channels_last = false, dw.groups = 4;
    fm_test_conv_problem(&dw, &p);
    assert_false(fm_pytorch_is_depthwise(&p.problem));
    dw.groups = 32, dw.dims = 2, dw.dtype = FM_F16;
    fm_test_conv_problem(&dw, &p);
    assert_false(fm_pytorch_is_depthwise(&p.problem));      /* fp16, 3x3, stride 1, width 16: cuDNN */
    dw.size[1] = 6;
    fm_test_conv_problem(&dw, &p);
    assert_true(fm_pytorch_is_depthwise(&p.problem));       /* narrower than 7 */
}

/* ---- errors ---- */

static void what_cannot_be_planned_is_told(void **state)
{
    (void)state;
    struct fm_backend *backend = NULL;
    struct fm_err err = { 0 };
    struct fm_device_info info;
    assert_int_equal(fm_backend_spec.open(&(struct fm_backend_config){ 0 }, &backend, &err), FM_INVALID);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_backend_spec.open(&(struct fm_backend_config){ .device = "rtx4090" }, &backend, &err), FM_INVALID);
    assert_non_null(strstr(err.text, "cuDNN's description"));
    backend = open_for("v100-32g");
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_backend_spec.info(backend, &info, &err), FM_UNSUPPORTED);
    assert_non_null(strstr(err.text, "sm_70"));
    assert_non_null(strstr(err.text, "9.10"));
    struct fm_test_problem p;
    struct fm_candidates got;
    fm_test_conv_problem(&shapes[0], &p);
    p.problem.kernel = FM_K_CONV;
    assert_int_equal(fm_backend_spec.candidates(backend, &p.problem, &got, NULL), FM_UNSUPPORTED);
    err = (struct fm_err){ 0 };
    assert_int_equal(fm_backend_spec.run(backend, NULL, &err), FM_UNSUPPORTED);
    fm_backend_spec.close(backend);
    assert_int_equal(fm_memory_live, 0);
}

static void every_refused_allocation_is_told(void **state)
{
    (void)state;
    struct fm_test_conv conv = shapes[1];
    struct fm_test_problem p;
    conv.kernel = FM_K_CONV;
    fm_test_conv_problem(&conv, &p);
    const char *json = "{\"deviceName\":\"x\",\"deviceVer\":890,\"totalGlobalMem\":1000}";   /* cuDNN wants more: unsupported */
    for (long n = 0; n < 100; n++) {
        struct fm_backend *backend = NULL;
        struct fm_err err = { 0 };
        struct fm_candidates got;
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_backend_spec.open(&(struct fm_backend_config){ .device = json }, &backend, &err);
        if (status == FM_OK) status = fm_backend_spec.candidates(backend, &p.problem, &got, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_backend_spec.close(backend);
        assert_int_equal(fm_memory_live, 0);
        if (!hits) {
            assert_int_equal(status, FM_UNSUPPORTED);
            assert_true(n >= 3);
            return;
        }
        assert_int_equal(status, FM_NOMEM);
    }
    fail_msg("no run without a fault");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(answers_are_ordered_and_repeatable),
        cmocka_unit_test(candidates_to_be_timed),
        cmocka_unit_test(roles_agree_between_passes),
        cmocka_unit_test(formats_are_recognised_as_torch_does),
        cmocka_unit_test(depthwise_goes_past_cudnn),
        cmocka_unit_test(what_cannot_be_planned_is_told),
        cmocka_unit_test(every_refused_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
