/* The bound of a step: exact where only one of bandwidth and rates counts, between the two otherwise. */
#include "tuner/base/memory.h"
#include "tuner/campaign/roofline.h"
#include "workloads/strategies/strategies.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void lower(const char *workload, const char *precision, struct fm_program *program)
{
    struct fm_cell cell;
    struct fm_err err = { 0 };
    const struct fm_workload *w = fm_workload_find(workload, &err);
    assert_non_null(w);
    fm_cell_default(&cell, w);
    assert_int_equal(fm_settings_set(&cell.settings, "input", strcmp(workload, "segformer") == 0 ? "64x64" : "32x32x32", &err), FM_OK);
    assert_int_equal(fm_cell_set(&cell, FM_STRATEGY_PRECISION, precision, &err), FM_OK);
    if (fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 2 }, program, &err) != FM_OK) fail_msg("%s", err.text);
}

static struct fm_gpu gpu_of(double fp32, double tf32, double fp16, double bandwidth)
{
    struct fm_gpu gpu = { .capability = 80 };
    gpu.figure[FM_GPU_FP32_TFLOPS] = (struct fm_gpu_figure){ fp32, 1 };
    gpu.figure[FM_GPU_TF32_TFLOPS] = (struct fm_gpu_figure){ tf32, 1 };
    gpu.figure[FM_GPU_FP16_TFLOPS] = (struct fm_gpu_figure){ fp16, 1 };
    gpu.figure[FM_GPU_BANDWIDTH_GBS] = (struct fm_gpu_figure){ bandwidth, 1 };
    return gpu;
}

struct sums { double bytes, flops, tf32, half, rest; };

static struct sums sum(const struct fm_program *p, bool tf32)
{
    struct sums s = { 0 };
    for (size_t i = p->section[FM_SECTION_TRAIN]; i < p->section[FM_SECTION_TRAIN + 1]; i++) {
        if (p->instr[i].kind != FM_CALL) continue;
        struct fm_problem problem = fm_program_problem(p, p->instr[i].a);
        double flops = fm_problem_flops(&problem);
        bool product = problem.kernel == FM_K_MATMUL || problem.kernel == FM_K_SDPA || problem.kernel == FM_K_SDPA_BWD;
        bool conv = problem.kernel == FM_K_CONV || problem.kernel == FM_K_CONV_DGRAD || problem.kernel == FM_K_CONV_WGRAD;
        s.bytes += fm_problem_bytes(&problem);
        s.flops += flops;
        if ((product || conv) && problem.operand[problem.n_out].dtype == FM_F16) s.half += flops;
        else if ((product || conv) && tf32) s.tf32 += flops;
        else s.rest += flops;
    }
    return s;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * want)) fail_msg("%.12g, not %.12g", got, want);
}

static void exact_at_both_ends(void **state)
{
    (void)state;
    static const char *const cases[][2] = { { "denseunet3d", "fp32" }, { "denseunet3d", "fp16" }, { "segformer", "fp32" }, { "segformer", "fp16" },
                                             { "denseunet3d", "tf32" }, { "segformer", "tf32" } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fm_program program = { 0 };
        lower(cases[i][0], cases[i][1], &program);
        bool tf32 = strcmp(cases[i][1], "tf32") == 0;
        struct sums s = sum(&program, tf32);
        struct fm_gpu moves = gpu_of(1e12, 1e12, 1e12, 1000), computes = gpu_of(20, 150, 300, 1e15), both = gpu_of(20, 150, 300, 1000);
        near(fm_roofline_step_seconds(&moves, &program), s.bytes / 1e12);
        double most = s.tf32 / 150e12 + s.rest / 20e12 + s.half / 300e12;
        near(fm_roofline_step_seconds(&computes, &program), most);
        double got = fm_roofline_step_seconds(&both, &program);
        assert_true(got >= s.bytes / 1e12 && got >= most && got <= s.bytes / 1e12 + most);
        assert_true(s.rest > 0 && s.bytes > 0 && (s.tf32 > 0) == tf32 && (s.half > 0) == (strcmp(cases[i][1], "fp16") == 0));
        fm_program_release(&program);
    }
    assert_int_equal(fm_memory_live, 0);
}

static void unknown_stays_unknown(void **state)
{
    (void)state;
    struct fm_program program = { 0 }, empty = { 0 };
    struct fm_gpu gpu = gpu_of(20, 150, 300, 1000);
    lower("denseunet3d", "bf16", &program);
    assert_true(isnan(fm_roofline_step_seconds(&gpu, &program)));       /* no bf16 in this one */
    assert_true(isnan(fm_roofline_step_seconds(&gpu, &empty)));
    gpu.figure[FM_GPU_TF32_TFLOPS].source = 0;                          /* none of TF32 */
    fm_program_release(&program);
    lower("denseunet3d", "fp32", &program);
    assert_true(fm_roofline_step_seconds(&gpu, &program) > 0);
    lower("denseunet3d", "tf32", &program);
    assert_true(isnan(fm_roofline_step_seconds(&gpu, &program)));
    fm_program_release(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(exact_at_both_ends), cmocka_unit_test(unknown_stays_unknown) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
