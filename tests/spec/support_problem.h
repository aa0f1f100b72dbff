/* Convolution problems without data, as lowering would write them. */
#ifndef FM_TESTS_SPEC_SUPPORT_PROBLEM_H
#define FM_TESTS_SPEC_SUPPORT_PROBLEM_H

#include "workloads/program/program.h"

struct fm_test_conv {
    enum fm_kernel kernel;
    enum fm_dtype dtype;
    int dims;                           /* spatial */
    bool channels_last, transposed, tf32, benchmark;
    int64_t batch, in, out, size[3];    /* of the operation's own input */
    int32_t kernel_size, stride, padding, dilation, groups;
};

struct fm_test_problem {
    struct fm_operand operand[3];
    struct fm_attr attr;
    struct fm_problem problem;          /* points into this struct: do not copy it */
};

/* the sizes of the operation's output */
void fm_test_conv_output(const struct fm_test_conv *c, int64_t size[5]);
void fm_test_conv_problem(const struct fm_test_conv *c, struct fm_test_problem *out);
void fm_test_strides(struct fm_operand *o, bool channels_last);

#endif
