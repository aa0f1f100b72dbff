#include "tuner/campaign/roofline.h"

#include <math.h>

/* operations a second, in 1e12 */
static double rate(const struct fm_gpu *gpu, const struct fm_problem *problem)
{
    bool conv = problem->kernel == FM_K_CONV || problem->kernel == FM_K_CONV_DGRAD || problem->kernel == FM_K_CONV_WGRAD;
    enum fm_dtype dtype = (enum fm_dtype)problem->operand[problem->n_out].dtype;
    if (!conv && problem->kernel != FM_K_MATMUL) return fm_gpu_value(gpu, FM_GPU_FP32_TFLOPS);
    if (dtype == FM_F16) return fm_gpu_value(gpu, FM_GPU_FP16_TFLOPS);
    if (dtype == FM_BF16) return fm_gpu_value(gpu, FM_GPU_BF16_TFLOPS);
    if (problem->attr->tf32) return fm_gpu_value(gpu, FM_GPU_TF32_TFLOPS);
    return fm_gpu_value(gpu, FM_GPU_FP32_TFLOPS);
}

double fm_roofline_step_seconds(const struct fm_gpu *gpu, const struct fm_program *program)
{
    size_t begin = program->section[FM_SECTION_TRAIN], end = program->section[FM_SECTION_TRAIN + 1];
    double bandwidth = fm_gpu_value(gpu, FM_GPU_BANDWIDTH_GBS) * 1e9, total = 0;
    if (begin == end) return NAN;
    for (size_t i = begin; i < end; i++) {
        if (program->instr[i].kind != FM_CALL) continue;
        struct fm_problem problem = fm_program_problem(program, program->instr[i].a);
        double flops = fm_problem_flops(&problem), moved = fm_problem_bytes(&problem) / bandwidth;
        double computed = flops > 0 ? flops / (rate(gpu, &problem) * 1e12) : 0;
        if (isnan(computed)) return NAN;
        total += computed > moved ? computed : moved;
    }
    return total;
}
