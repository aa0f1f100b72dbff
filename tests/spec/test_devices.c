/* The device table: the built-in figures hang together, and a wrong file is told where it is wrong. */
#include "probes/devices/devices.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void load(struct fm_gpus *gpus)
{
    struct fm_err err = { 0 };
    *gpus = (struct fm_gpus){ 0 };
    if (fm_gpus_builtin(gpus, &err) != FM_OK) fail_msg("%s", err.text);
}

static void all_promised_devices_are_there(void **state)
{
    (void)state;
    static const struct { const char *name; int capability, sms; } want[] = {
        { "gtx1650", 75, 14 }, { "rtx2060", 75, 30 }, { "t4", 75, 40 }, { "rtx3050", 86, 20 }, { "rtx3060", 86, 28 },
        { "rtx3070", 86, 46 }, { "rtx3080", 86, 68 }, { "rtx3080ti", 86, 80 }, { "rtx3090", 86, 82 }, { "rtx4070", 89, 46 },
        { "rtx4090", 89, 128 }, { "rtx5090", 120, 170 }, { "a10", 86, 72 }, { "a100-40g", 80, 108 }, { "a100-80g", 80, 108 },
        { "l4", 89, 58 }, { "l40s", 89, 142 }, { "h100", 90, 132 }, { "h200", 90, 132 }, { "b200", 100, 148 },
        { "v100-16g", 70, 80 }, { "v100-32g", 70, 80 },
    };
    struct fm_gpus gpus;
    load(&gpus);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const struct fm_gpu *gpu = fm_gpus_find(&gpus, want[i].name);
        if (!gpu) fail_msg("no %s", want[i].name);
        assert_int_equal(gpu->capability, want[i].capability);
        assert_int_equal((int)fm_gpu_value(gpu, FM_GPU_SMS), want[i].sms);
    }
    assert_null(fm_gpus_find(&gpus, "rtx409"));
    assert_string_equal(fm_gpus_nearest(&gpus, "rtx409"), "rtx4090");
    fm_gpus_release(&gpus);
    assert_int_equal(fm_memory_live, 0);
}

/* 64 fp32 lanes an SM in sm_70, 75 and 80, 128 in the others: peak = lanes x 2 x clock (vendors round, and state their
 * peaks at one clock and their boost at another by a few percent) */
static void figures_hang_together(void **state)
{
    (void)state;
    struct fm_gpus gpus;
    load(&gpus);
    for (size_t i = 0; i < gpus.count; i++) {
        const struct fm_gpu *g = &gpus.item[i];
        double lanes = g->capability == 70 || g->capability == 75 || g->capability == 80 ? 64 : 128;
        double peak = fm_gpu_value(g, FM_GPU_SMS) * lanes * 2 * fm_gpu_value(g, FM_GPU_BOOST_MHZ) * 1e-6;
        double ratio = fm_gpu_value(g, FM_GPU_FP32_TFLOPS) / peak;
        if (!(ratio > 0.97 && ratio < 1.03)) fail_msg("%s: fp32 is %.3f of lanes x 2 x clock", g->name, ratio);
        double pin = fm_gpu_value(g, FM_GPU_BANDWIDTH_GBS) * 8 / fm_gpu_value(g, FM_GPU_BUS_BITS);
        if (!(pin > 1.5 && pin < 30)) fail_msg("%s: %.2f Gbit/s a pin", g->name, pin);
        if (fm_gpu_has(g, FM_GPU_TOTAL_MIB)) {
            double part = fm_gpu_value(g, FM_GPU_TOTAL_MIB) / 1024 / fm_gpu_value(g, FM_GPU_MEMORY_GIB);
            if (!(part > 0.9 && part <= 1.02)) fail_msg("%s: the driver's total is %.3f of what is sold", g->name, part);
        }
        if (g->capability >= 80) {
            assert_true(fm_gpu_has(g, FM_GPU_BF16_TFLOPS));
            double tensor = fm_gpu_value(g, FM_GPU_FP16_TFLOPS) / fm_gpu_value(g, FM_GPU_TF32_TFLOPS);
            if (!(tensor > 1.9 && tensor < 2.1)) fail_msg("%s: fp16 is %.2f of tf32", g->name, tensor);
        } else {
            assert_false(fm_gpu_has(g, FM_GPU_BF16_TFLOPS));
            assert_true(isnan(fm_gpu_value(g, FM_GPU_TF32_TFLOPS)));
        }
        for (int f = 0; f < FM_GPU_FIELD_COUNT; f++) assert_true(g->figure[f].source <= gpus.sources);
    }
    fm_gpus_release(&gpus);
}

static void json_for_cudnn(void **state)
{
    (void)state;
    struct fm_gpus gpus;
    struct fm_buf json = FM_BUF(4096);
    load(&gpus);
    fm_gpu_cudnn_json(fm_gpus_find(&gpus, "a100-80g"), &json);
    assert_true(fm_buf_ok(&json));
    const char *const parts[] = { "\"deviceName\":\"NVIDIA A100-SXM4-80GB\"", "\"deviceVer\":800,", "\"multiProcessorCount\":108,",
                                  "\"totalGlobalMem\":85167439872,", "\"maxSharedMemoryPerBlockOptin\":166912,",
                                  "\"smClockRateKHz\":1410000,", "\"memClockRateKHz\":1592969,", "\"l2CacheSize\":41943040}" };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!strstr(fm_buf_text(&json), parts[i])) fail_msg("no %s in %s", parts[i], fm_buf_text(&json));
    fm_buf_release(&json);
    fm_gpus_release(&gpus);
}

#define FIGURES                                                                                                          \
    "    sms: [10, s]\n    memory_gib: [8, s]\n    bus_bits: [128, s]\n    bandwidth_gbs: [200.5, s]\n    boost_mhz: [1500, s]\n" \
    "    l2_kib: [2048, s]\n    fp32_tflops: [3, s]\n"
#define HEAD "sources:\n  s: a source\n"
#define CARD HEAD "devices:\n  x1:\n    name: X One\n    capability: [8.6, s]\n"

static void own_file_adds(void **state)
{
    (void)state;
    struct fm_gpus gpus;
    struct fm_err err = { 0 };
    char path[] = "/tmp/fm_devices_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, CARD FIGURES, strlen(CARD FIGURES)) > 0);
    (void)close(fd);
    load(&gpus);
    size_t before = gpus.count;
    if (fm_gpus_read(&gpus, path, &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(gpus.count, before + 1);
    const struct fm_gpu *gpu = fm_gpus_find(&gpus, "x1");
    assert_non_null(gpu);
    assert_true(gpu->own);
    assert_false(fm_gpus_find(&gpus, "t4")->own);
    assert_true(fm_gpu_value(gpu, FM_GPU_BANDWIDTH_GBS) == 200.5);
    assert_int_equal((int)fm_gpu_value(gpu, FM_GPU_THREADS_PER_SM), 1536);      /* of capability 8.6 */
    assert_false(fm_gpu_has(gpu, FM_GPU_TF32_TFLOPS));
    bool known = true;
    assert_true(fm_gpu_total_bytes(gpu, &known) == INT64_C(8) << 30);
    assert_false(known);
    (void)unlink(path);
    assert_int_equal(fm_gpus_read(&gpus, path, &err), FM_IO);
    fm_gpus_release(&gpus);
    assert_int_equal(fm_memory_live, 0);
}

/* each wrong file, and the place and words its message has */
static void errors_name_the_place(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } cases[] = {
        { "", "f.yaml:1:1: the file is empty" },
        { "- a\n", "f.yaml:1:1: the file: lines of 'key: value'" },
        { HEAD, "f.yaml:3:1: 'devices' is missing" },
        { "device:\n  t: 1\n", "f.yaml:1:1: unknown key 'device' (sources, capabilities, devices)" },
        { "devices: {}\nsources: {}\n", "f.yaml:2:1: sources: once, and before 'devices'" },
        { "sources: {}\nsources: {}\n", "f.yaml:2:1: sources: once, and before 'sources'" },
        { "sources:\n  turing: x\n", "f.yaml:2:3: sources: 'turing' is there already" },
        { "sources:\n  s: [a]\n", "f.yaml:2:6: s: one value is wanted here" },
        { "capabilities:\n  8.6: {}\n", "f.yaml:2:3: capabilities: '8.6' is there already" },
        { "capabilities:\n  86: {}\n", "f.yaml:2:3: capabilities: '86' is not like 8.9" },
        { CARD "    sms: 10\n", "f.yaml:7:10: devices.x1.sms: [VALUE, SOURCE] is wanted here" },
        { CARD "    sms: [10]\n", "f.yaml:7:11: devices.x1.sms: the source is missing: [10, SOURCE]" },
        { CARD "    sms: [10, t]\n", "f.yaml:7:15: devices.x1.sms: 't' is not among the sources above" },
        { CARD "    sms: [10, s, s]\n", "f.yaml:7:18: devices.x1.sms: more than [VALUE, SOURCE]" },
        { CARD "    sms: [1.5, s]\n", "f.yaml:7:10: devices.x1.sms: '1.5' is not a whole number" },
        { CARD "    sms: [10x, s]\n", "f.yaml:7:10: devices.x1.sms: '10x' is not a whole number" },
        { CARD "    sms: [-3, s]\n", "f.yaml:7:10: devices.x1.sms: '-3' is not from 1 to 1000" },
        { CARD "    bandwidth_gbs: [nan, s]\n", "f.yaml:7:20: devices.x1.bandwidth_gbs: 'nan' is not a number" },
        { CARD "    sms: [1, s]\n    sms: [1, s]\n", "f.yaml:8:5: devices.x1.sms: the key is there twice" },
        { CARD "    name: Y\n", "f.yaml:7:5: devices.x1.name: the key is there twice" },
        { CARD "    capability: [8.6, s]\n", "f.yaml:7:5: devices.x1.capability: the key is there twice" },
        { CARD "    bus_bit: [1, s]\n", "f.yaml:7:5: devices.x1: unknown key 'bus_bit'; did you mean 'bus_bits'?" },
        { CARD "    sms: &a [1, s]\n", "f.yaml:7:10: anchors (&name)" },
        { CARD, "f.yaml:4:3: devices.x1: 'sms' is missing, here and under capabilities" },
        { HEAD "devices:\n  x1:\n    name: X\n" FIGURES, "f.yaml:4:3: devices.x1: 'capability' is missing" },
        { HEAD "devices:\n  x1:\n    capability: [8.6, s]\n" FIGURES, "f.yaml:4:3: devices.x1: 'name' is missing" },
        { HEAD "devices:\n  x1:\n    name: X\n    capability: [13.0, s]\n" FIGURES,
          "f.yaml:4:3: devices.x1: 'threads_per_sm' is missing, here and under capabilities" },
        { HEAD "devices:\n  x1:\n    capability: [8, s]\n", "f.yaml:5:17: devices.x1.capability: '8' is not like 8.9" },
        { HEAD "devices:\n  t4:\n    name: X\n", "f.yaml:4:3: devices: 't4' is there already" },
        { HEAD "devices:\n  cpu:\n    name: X\n", "f.yaml:4:3: devices: 'cpu' is no name for a device" },
        { HEAD "devices:\n  X1:\n    name: X\n", "f.yaml:4:3: devices: 'X1' is no name for a device" },
        { HEAD "devices:\n  x1: 3\n", "f.yaml:4:7: devices.x1: lines of 'key: value'" },
        { CARD FIGURES "---\na: b\n", "f.yaml:14:1: a second document" },
        { "a: [\n", "f.yaml:" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_gpus gpus;
        struct fm_err err = { 0 };
        load(&gpus);
        assert_int_equal(fm_gpus_parse(&gpus, "f.yaml", cases[i].text, strlen(cases[i].text), &err), FM_INVALID);
        if (strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0) fail_msg("wanted [%s], got [%s]", cases[i].want, err.text);
        fm_gpus_release(&gpus);
    }
    assert_int_equal(fm_memory_live, 0);
}

static void every_refused_allocation_is_told(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct fm_gpus gpus = { 0 };
        struct fm_err err = { 0 };
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_gpus_builtin(&gpus, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_gpus_release(&gpus);
        assert_int_equal(fm_memory_live, 0);
        if (!hits) {
            assert_int_equal(status, FM_OK);
            assert_true(n > 3);
            return;
        }
        assert_int_equal(status, FM_NOMEM);
    }
}

/* the built-in file cut anywhere, and with a byte changed, is read or refused, never worse */
static void cut_files_are_refused(void **state)
{
    (void)state;
    static const char text[] = CARD FIGURES;
    char copy[sizeof text];
    for (size_t n = 0; n < sizeof text; n++) {
        struct fm_gpus gpus;
        struct fm_err err = { 0 };
        load(&gpus);
        fm_status status = fm_gpus_parse(&gpus, "f.yaml", text, n, &err);
        assert_true(status == FM_OK || (status == FM_INVALID && strncmp(err.text, "f.yaml:", 7) == 0));
        fm_gpus_release(&gpus);
        load(&gpus);
        memcpy(copy, text, sizeof text);
        copy[n ? n - 1 : 0] ^= 0x55;
        err = (struct fm_err){ 0 };
        status = fm_gpus_parse(&gpus, "f.yaml", copy, sizeof text - 1, &err);
        assert_true(status == FM_OK || (status == FM_INVALID && strncmp(err.text, "f.yaml:", 7) == 0));
        fm_gpus_release(&gpus);
    }
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_promised_devices_are_there), cmocka_unit_test(figures_hang_together),
        cmocka_unit_test(json_for_cudnn),                 cmocka_unit_test(own_file_adds),
        cmocka_unit_test(errors_name_the_place),          cmocka_unit_test(every_refused_allocation_is_told),
        cmocka_unit_test(cut_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
