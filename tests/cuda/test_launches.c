/* How many launches the multi-tensor optimizers take: more tensors than one launch has room for. */
#include "probes/backends/cuda/kernels.h"
#include "tests/cuda/shim/shim.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* more tensors than one launch takes, of one block and of several: a closed form, every bias-corrected step of Adam
 * with a constant gradient is lr (eps 0) */
static void test_adam_many(void **state)
{
    (void)state;
    enum { TENSORS = 130, LARGE = 9000 };
    float *memory = fm_calloc(TENSORS * 4 + 4 * LARGE, sizeof *memory), *next = memory;
    static struct fm_operand operand[TENSORS * 6];
    static void *data[TENSORS * 6];
    assert_non_null(memory);
    for (int t = 0; t < TENSORS; t++) {
        int64_t n = t == 77 ? LARGE : 1;
        for (int i = 0; i < 6; i++) {
            operand[t * 6 + i] = (struct fm_operand){ .dtype = FM_F32, .ndim = 1, .size = { n }, .stride = { 1 } };
            if (i == 3 || i == 4) continue;
            data[t * 6 + i] = next;
            for (int64_t k = 0; k < n && (i == 0 || i == 5); k++) next[k] = i == 0 ? 1 : 0.25f;
            next += n;
        }
    }
    struct fm_attr attr = { .alpha = 0.9, .beta = 0.999, .lr = 0.01 };
    struct fm_cuda_call call = { .problem = { FM_K_ADAM, TENSORS * 6, 0, operand, &attr }, .data = data };
    uint64_t launches = fm_shim_launches();
    for (call.step = 0; call.step < 5; call.step++) {
        fm_shim_order((uint32_t)call.step);
        assert_int_equal(fm_cuda_launch_adam(&call, NULL, NULL), FM_OK);
        for (int t = 0; t < TENSORS; t++)
            for (int64_t k = 0; k < operand[t * 6].size[0]; k++)
                assert_true(fabs((double)((float *)data[t * 6])[k] - (1 - 0.01 * (double)(call.step + 1))) < 2e-6);
    }
    assert_int_equal(fm_shim_launches() - launches, 5 * 3);
    fm_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_adam_many) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
