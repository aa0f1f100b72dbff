#include "tuner/campaign/roofline.h"

#include <math.h>

#define X(name, text) text,
static const char *const class_names[FM_ROOFLINE_CLASS_COUNT] = { FM_ROOFLINE_CLASSES(X) };
#undef X

const char *fm_roofline_class_name(enum fm_roofline_class class) { return class_names[class]; }

/* the table's rate for the arithmetic of a class, in 1e12 operations a second */
static const enum fm_gpu_field rate_of[FM_ROOFLINE_CLASS_COUNT] = {
    [FM_ROOFLINE_CONV_FP32] = FM_GPU_FP32_TFLOPS, [FM_ROOFLINE_MATMUL_FP32] = FM_GPU_FP32_TFLOPS,
    [FM_ROOFLINE_CONV_TF32] = FM_GPU_TF32_TFLOPS, [FM_ROOFLINE_MATMUL_TF32] = FM_GPU_TF32_TFLOPS,
    [FM_ROOFLINE_CONV_FP16] = FM_GPU_FP16_TFLOPS, [FM_ROOFLINE_MATMUL_FP16] = FM_GPU_FP16_TFLOPS,
    [FM_ROOFLINE_CONV_BF16] = FM_GPU_BF16_TFLOPS, [FM_ROOFLINE_MATMUL_BF16] = FM_GPU_BF16_TFLOPS,
    [FM_ROOFLINE_REST] = FM_GPU_FP32_TFLOPS,
};

/* of a kernel, if its arithmetic bounds it */
static enum fm_roofline_class class_of(const struct fm_problem *problem)
{
    bool conv = problem->kernel == FM_K_CONV || problem->kernel == FM_K_CONV_DGRAD || problem->kernel == FM_K_CONV_WGRAD;
    /* attention in one kernel is products for the most part */
    bool product = problem->kernel == FM_K_MATMUL || problem->kernel == FM_K_SDPA || problem->kernel == FM_K_SDPA_BWD;
    if (!conv && !product) return FM_ROOFLINE_REST;
    switch ((enum fm_dtype)problem->operand[problem->n_out].dtype) {
    case FM_F16: return conv ? FM_ROOFLINE_CONV_FP16 : FM_ROOFLINE_MATMUL_FP16;
    case FM_BF16: return conv ? FM_ROOFLINE_CONV_BF16 : FM_ROOFLINE_MATMUL_BF16;
    default: break;
    }
    if (problem->attr->tf32) return conv ? FM_ROOFLINE_CONV_TF32 : FM_ROOFLINE_MATMUL_TF32;
    return conv ? FM_ROOFLINE_CONV_FP32 : FM_ROOFLINE_MATMUL_FP32;
}

struct fm_roofline fm_roofline_step(const struct fm_gpu *gpu, const struct fm_program *program)
{
    size_t begin = program->section[FM_SECTION_TRAIN], end = program->section[FM_SECTION_TRAIN + 1];
    double bandwidth = fm_gpu_value(gpu, FM_GPU_BANDWIDTH_GBS) * 1e9;
    struct fm_roofline out = { .seconds = { 0 } };
    if (begin == end) out.seconds[FM_ROOFLINE_REST] = NAN;
    for (size_t i = begin; i < end; i++) {
        if (program->instr[i].kind != FM_CALL) continue;
        struct fm_problem problem = fm_program_problem(program, program->instr[i].a);
        enum fm_roofline_class class = class_of(&problem);
        double flops = fm_problem_flops(&problem), moved = fm_problem_bytes(&problem) / bandwidth;
        double computed = flops > 0 ? flops / (fm_gpu_value(gpu, rate_of[class]) * 1e12) : 0;
        if (computed <= moved) out.seconds[FM_ROOFLINE_REST] += moved;
        else out.seconds[class] += computed;            /* NaN too: it stays unknown */
    }
    return out;
}

double fm_roofline_seconds(const struct fm_roofline *bound)
{
    double total = 0;
    for (int c = 0; c < FM_ROOFLINE_CLASS_COUNT; c++) total += bound->seconds[c];
    return total;
}

double fm_roofline_step_seconds(const struct fm_gpu *gpu, const struct fm_program *program)
{
    struct fm_roofline bound = fm_roofline_step(gpu, program);
    return fm_roofline_seconds(&bound);
}
