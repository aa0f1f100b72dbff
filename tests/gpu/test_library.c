/* Convolutions and products on a GPU against ref: each pass, every candidate, 2-D and 3-D, transposed, grouped, any order of
 * matrices, at sizes that the libraries' own kernels are made for. */
#include "tests/cuda/support_cuda.h"
#include "tests/gpu/support_gpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct conv {
    int dims;
    int64_t in, out, size, kernel;
    int32_t stride, padding, dilation, groups;
    bool transposed, bias;
};

static int64_t out_size(const struct conv *v, int64_t size)
{
    int64_t reach = v->dilation * (v->kernel - 1);
    return v->transposed ? (size - 1) * v->stride - 2 * v->padding + reach + 1 : (size + 2 * v->padding - reach - 1) / v->stride + 1;
}

/* how a call computes */
struct arithmetic { enum fm_dtype dtype; bool tf32; };
static const struct arithmetic arithmetics[] = { { FM_F32, false }, { FM_F32, true }, { FM_F16, false }, { FM_BF16, false } };

static void conv_case(const struct conv *v, enum fm_kernel kernel, struct arithmetic how)
{
    int64_t x[5] = { 2, v->in }, y[5] = { 2, v->out };
    int64_t w[5] = { v->transposed ? v->in : v->out, (v->transposed ? v->out : v->in) / v->groups };
    int ndim = v->dims + 2;
    enum fm_dtype dtype = how.dtype;
    struct fm_case c;
    for (int d = 0; d < v->dims; d++) {
        /* not a cube, so that an order of dimensions that is wrong shows */
        x[2 + d] = v->size + d;
        y[2 + d] = out_size(v, x[2 + d]);
        w[2 + d] = v->kernel;
    }
    fm_case_init(&c, kernel);
    fm_case_out(&c, dtype, ndim, kernel == FM_K_CONV ? y : kernel == FM_K_CONV_DGRAD ? x : w);
    fm_case_in(&c, dtype, ndim, kernel == FM_K_CONV ? x : y);
    fm_case_in(&c, dtype, ndim, kernel == FM_K_CONV_WGRAD ? x : w);
    if (v->bias && kernel == FM_K_CONV) fm_case_in(&c, dtype, 1, &v->out);
    for (int d = 0; d < v->dims; d++) c.attr.stride[d] = v->stride, c.attr.padding[d] = v->padding, c.attr.dilation[d] = v->dilation;
    c.attr.groups = v->groups;
    c.attr.transposed = v->transposed;
    c.attr.tf32 = how.tf32;
    for (uint32_t i = 0; i < 3; i++) fm_case_image(&c, i);
    for (uint32_t i = 1; i < c.n_out + c.n_in; i++) fm_case_random(&c, i, -1, 1, 10 + i);
    struct fm_problem problem = fm_case_problem(&c);
    struct fm_candidates list;
    struct fm_err err = { 0 };
    if (fm_backend_cuda.candidates(fm_gpu(), &problem, &list, &err) != FM_OK) {
        /* bf16 and TF32 on Turing, and 3-D with a cuDNN that is wrong there */
        print_message("skipped: %s %s: %s\n", fm_kernel_name(kernel), fm_dtype_name(dtype), err.text);
        fm_case_release(&c);
        return;
    }
    /* layouts have candidates of their own: the first is always there */
    fm_expect_as_ref(&c, 1e-4);
    for (uint32_t i = 0; i < 3; i++) c.operand[i].channels = c.operand[i].spatial = 0;
    for (c.candidate = 1; c.candidate < list.count; c.candidate++)
        if (list.item[c.candidate].workspace_bytes < INT64_C(1) << 28) fm_expect_as_ref(&c, 1e-4);
    fm_case_release(&c);
}

static void convolutions(void **state)
{
    (void)state;
    static const struct conv rows[] = {
        { 3, 16, 16, 4, 3, 1, 1, 1, 1, false, true },  { 3, 8, 16, 6, 2, 2, 0, 1, 1, false, false }, { 3, 16, 71, 5, 1, 1, 0, 1, 1, false, true },
        { 3, 16, 8, 4, 2, 2, 0, 1, 1, true, true },    { 3, 1, 16, 5, 3, 1, 1, 1, 1, false, false }, { 2, 3, 32, 15, 7, 4, 3, 1, 1, false, true },
        { 2, 32, 32, 12, 3, 1, 1, 1, 32, false, true }, { 2, 32, 64, 7, 3, 2, 1, 1, 1, false, true }, { 2, 32, 32, 16, 8, 8, 0, 1, 1, false, true },
        { 2, 64, 4, 9, 1, 1, 0, 1, 1, false, true },   { 2, 8, 12, 9, 3, 1, 2, 2, 2, false, false }, { 2, 6, 4, 5, 4, 2, 1, 1, 2, true, true },
    };
    static const enum fm_kernel passes[] = { FM_K_CONV, FM_K_CONV_DGRAD, FM_K_CONV_WGRAD };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < 12; k++) conv_case(&rows[i], passes[k % 3], arithmetics[k / 3]);
}

enum order { DENSE, SWAPPED, PART };

static void order_operand(struct fm_case *c, uint32_t i, enum order order, int ndim, const int64_t *size)
{
    if (order == SWAPPED) fm_case_swap(c, i, ndim - 2, ndim - 1);
    if (order == PART) fm_case_slice(c, i, ndim - 1, 1, size[ndim - 1] + 3);
}

static void product(int64_t batch, const int64_t mnk[3], const enum order order[3], int bias, struct arithmetic how)
{
    int ndim = batch ? 3 : 2, at = batch ? 0 : 1;
    const int64_t y[] = { batch, mnk[0], mnk[1] }, a[] = { batch, mnk[0], mnk[2] }, b[] = { batch, mnk[2], mnk[1] };
    enum fm_dtype dtype = how.dtype;
    struct fm_case c;
    fm_case_init(&c, FM_K_MATMUL);
    fm_case_out(&c, dtype, ndim, y + at);
    fm_case_in(&c, dtype, ndim, a + at);
    fm_case_in(&c, dtype, ndim, b + at);
    order_operand(&c, 0, order[0], ndim, y + at);
    order_operand(&c, 1, order[1], ndim, a + at);
    order_operand(&c, 2, order[2], ndim, b + at);
    if (bias) {
        fm_case_in(&c, dtype, ndim, y + at);
        for (int d = 0; bias == 1 && d < ndim - 1; d++) fm_case_expand(&c, 3, d);
    }
    c.attr.alpha = bias == 1 ? 1 : 0.5;
    c.attr.tf32 = how.tf32;
    for (uint32_t i = 1; i < c.n_out + c.n_in; i++) fm_case_random(&c, i, -1, 1, 20 + i);
    struct fm_problem problem = fm_case_problem(&c);
    struct fm_candidates list;
    /* TF32 on Turing is unsupported */
    if (!how.tf32 || fm_backend_cuda.candidates(fm_gpu(), &problem, &list, NULL) == FM_OK) fm_expect_as_ref(&c, 1e-4);
    fm_case_release(&c);
}

static void products(void **state)
{
    (void)state;
    static const int64_t mnk[][3] = { { 5, 7, 3 }, { 1, 6, 4 }, { 6, 1, 4 }, { 1, 1, 1 }, { 32, 64, 32 }, { 33, 65, 48 } };
    for (size_t s = 0; s < sizeof mnk / sizeof *mnk; s++)
        for (int k = 0; k < 27; k++)
            for (int bias = 0; bias < 3; bias++) {
                const enum order order[] = { (enum order)(k % 3), (enum order)(k / 3 % 3), (enum order)(k / 9) };
                product((k + bias) % 2 ? 3 : 0, mnk[s], order, bias, arithmetics[(k + bias + (int)s) % 4]);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(convolutions), cmocka_unit_test(products) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
