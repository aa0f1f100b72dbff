/* Convolutions and products through the cuda backend's host code are those of the kernels' table: each pass, transposed or
 * not, 2-D and 3-D, with bias, views, any order of matrices. The stand-ins of cuDNN and cuBLASLt compute with the ref
 * backend from what they were told alone, so a wrong description gives wrong values. */
#include "probes/backends/ref/ref.h"
#include "tests/cuda_host/support_host.h"
#include "tests/support/case.h"
#include "tuner/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct fm_backend *cuda;

/* runs it on both, compares all outputs, and releases it */
static void same(struct fm_case *c, const char *what)
{
    struct fm_case wanted;
    struct fm_err err = { 0 };
    fm_case_copy(&wanted, c);
    wanted.attr.tf32 = 0;       /* which ref has not; nor have the stand-ins, who only note it */
    if (fm_case_run(&wanted, &fm_backend_ref, NULL, &err) != FM_OK) fail_msg("%s on ref: %s", what, err.text);
    if (fm_case_run(c, &fm_backend_cuda, cuda, &err) != FM_OK) fail_msg("%s on cuda: %s", what, err.text);
    double difference = fm_case_difference(c, &wanted, 0);
    /* the bias may be added to a rounded result */
    if (!(difference <= 2e-3)) fail_msg("%s: off by %g", what, difference);
    fm_case_release(&wanted);
    fm_case_release(c);
}

struct conv {
    int dims;
    int64_t in, out, size, kernel;
    int32_t stride, padding, dilation, groups;
    bool transposed, bias;
};

static int64_t out_size(const struct conv *v)
{
    int64_t reach = v->dilation * (v->kernel - 1);
    return v->transposed ? (v->size - 1) * v->stride - 2 * v->padding + reach + 1
                         : (v->size + 2 * v->padding - reach - 1) / v->stride + 1;
}

/* sizes of x, w, y */
static void sizes(const struct conv *v, int64_t x[5], int64_t w[5], int64_t y[5])
{
    x[0] = y[0] = 2;
    x[1] = v->in, y[1] = v->out;
    w[0] = v->transposed ? v->in : v->out;
    w[1] = (v->transposed ? v->out : v->in) / v->groups;
    for (int d = 0; d < v->dims; d++) {
        /* not a cube, so that an order of dimensions that is wrong shows */
        struct conv one = *v;
        one.size = v->size + d;
        x[2 + d] = one.size, y[2 + d] = out_size(&one), w[2 + d] = v->kernel;
    }
}

static void conv_case(const struct conv *v, enum fm_kernel kernel, enum fm_dtype dtype)
{
    int64_t x[5], w[5], y[5];
    int ndim = v->dims + 2;
    char what[160];
    struct fm_case c;
    sizes(v, x, w, y);
    fm_case_init(&c, kernel);
    fm_case_out(&c, dtype, ndim, kernel == FM_K_CONV ? y : kernel == FM_K_CONV_DGRAD ? x : w);
    fm_case_in(&c, dtype, ndim, kernel == FM_K_CONV ? x : y);
    fm_case_in(&c, dtype, ndim, kernel == FM_K_CONV_WGRAD ? x : w);
    if (v->bias && kernel == FM_K_CONV) fm_case_in(&c, dtype, 1, &v->out);
    for (int d = 0; d < v->dims; d++) c.attr.stride[d] = v->stride, c.attr.padding[d] = v->padding, c.attr.dilation[d] = v->dilation;
    c.attr.groups = v->groups;
    c.attr.transposed = v->transposed;
    for (uint32_t i = 1; i < c.n_out + c.n_in; i++) fm_case_random(&c, i, -1, 1, 10 + i);
    (void)snprintf(what, sizeof what, "%s %d-D %lld to %lld, k%lld s%d p%d d%d g%d%s %s", fm_kernel_name(kernel), v->dims, (long long)v->in,
                   (long long)v->out, (long long)v->kernel, v->stride, v->padding, v->dilation, v->groups, v->transposed ? " transposed" : "",
                   fm_dtype_name(dtype));
    same(&c, what);
}

static void convolutions(void **state)
{
    (void)state;
    static const struct conv rows[] = {
        { 3, 3, 4, 5, 3, 1, 1, 1, 1, false, true }, { 3, 2, 6, 6, 3, 2, 1, 1, 2, false, false }, { 3, 4, 4, 5, 1, 1, 0, 1, 1, false, true },
        { 3, 3, 2, 4, 2, 2, 0, 1, 1, true, true },  { 2, 3, 5, 9, 3, 1, 2, 2, 1, false, true },  { 2, 4, 4, 7, 3, 1, 1, 1, 4, false, false },
        { 2, 6, 4, 5, 4, 2, 1, 1, 2, true, true },  { 2, 3, 8, 13, 7, 4, 3, 1, 1, false, true }, { 2, 1, 1, 3, 3, 1, 1, 1, 1, false, false },
    };
    static const enum fm_dtype dtypes[] = { FM_F32, FM_F16, FM_BF16 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t t = 0; t < 3; t++) {
            /* a bias added to bf16 is rounded twice */
            struct conv v = rows[i];
            if (dtypes[t] == FM_BF16) v.bias = false;
            conv_case(&v, FM_K_CONV, dtypes[t]);
            conv_case(&v, FM_K_CONV_DGRAD, dtypes[t]);
            conv_case(&v, FM_K_CONV_WGRAD, dtypes[t]);
        }
}

/* every candidate gives the same values, and what each says it needs is enough for it */
static void candidates(void **state)
{
    (void)state;
    struct fm_candidates list;
    struct fm_case c;
    struct fm_err err = { 0 };
    const int64_t x[] = { 2, 3, 6, 5 }, w[] = { 4, 3, 3, 3 }, y[] = { 2, 4, 6, 5 };
    for (uint32_t k = 0; k < 5; k++) {
        bool tf32 = k < 4;
        fm_case_init(&c, FM_K_CONV);
        fm_case_out(&c, FM_F32, 4, y);
        fm_case_in(&c, FM_F32, 4, x);
        fm_case_in(&c, FM_F32, 4, w);
        c.attr = (struct fm_attr){ .stride = { 1, 1 }, .padding = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1, .tf32 = tf32 };
        fm_case_random(&c, 1, -1, 1, 3);
        fm_case_random(&c, 2, -1, 1, 4);
        struct fm_problem problem = fm_case_problem(&c);
        assert_int_equal(fm_backend_cuda.candidates(cuda, &problem, &list, &err), FM_OK);
        /* of the seven that are listed: 4x (on tensor cores: not in fp32), x, (5000 is more than x here), none */
        assert_int_equal(list.count, 2 + tf32);
        if (tf32) assert_int_equal(list.item[0].workspace_bytes, 4 * 180 * 4);
        assert_int_equal(list.item[tf32].workspace_bytes, 180 * 4);
        assert_int_equal(list.item[tf32 + 1].workspace_bytes, 0);
        assert_string_equal(list.item[0].what, tf32 ? "cudnn engine 10 tf32" : "cudnn engine 12");
        c.candidate = k < 3 ? k : 0;
        same(&c, "a candidate");
        assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), k == 1 || k == 4 ? 12 : k == 2 ? 20 : 10);
    }
}

/* ---- attention ---- */

/* (B, H, L, D) as (B, L, H, D) lies in memory */
static void by_token(struct fm_case *c, uint32_t i, bool wanted)
{
    if (wanted) fm_case_swap(c, i, 1, 2);
}

/* each engine, which the stand-in runs operation by operation from the graph that it was given; backward's sum of dq begins
 * with what was in its memory, unless that was zeroed */
static void attend(const int64_t bhlmd[5], enum fm_dtype dtype, bool tokens, uint32_t candidate)
{
    const int64_t q[] = { bhlmd[0], bhlmd[1], bhlmd[2], bhlmd[4] }, k[] = { bhlmd[0], bhlmd[1], bhlmd[3], bhlmd[4] };
    struct fm_case f, b, done;
    struct fm_err err = { 0 };
    fm_case_init(&f, FM_K_SDPA), fm_case_init(&b, FM_K_SDPA_BWD);
    f.attr.alpha = b.attr.alpha = 0.3;
    fm_case_out(&f, dtype, 4, q), fm_case_out(&f, FM_F32, 3, q);
    fm_case_in(&f, dtype, 4, q), fm_case_in(&f, dtype, 4, k), fm_case_in(&f, dtype, 4, k);
    fm_case_out(&b, dtype, 4, q), fm_case_out(&b, dtype, 4, k), fm_case_out(&b, dtype, 4, k);
    for (int n = 0; n < 6; n++) fm_case_in(&b, n == 5 ? FM_F32 : dtype, n == 5 ? 3 : 4, n == 2 || n == 3 ? k : q);
    by_token(&f, 0, tokens);
    for (uint32_t n = 2; n < 5; n++) by_token(&f, n, tokens), fm_case_random(&f, n, -2, 2, 50 + n);
    for (uint32_t n = 0; n < 8; n++) by_token(&b, n, tokens || n == 3);
    f.candidate = b.candidate = candidate;
    fm_case_copy(&done, &f);
    if (fm_case_run(&done, &fm_backend_ref, NULL, &err) != FM_OK) fail_msg("%s", err.text);
    fm_case_random(&b, 3, -1, 1, 60);
    static const uint32_t from[] = { 2, 3, 4, 0, 1 };
    for (uint32_t n = 0; n < 5; n++)
        for (int64_t i = 0; i < fm_operand_numel(&b.operand[4 + n]); i++) fm_case_set_one(&b, 4 + n, i, fm_case_get_one(&done, from[n], i));
    struct fm_case *both[] = { &f, &b };
    for (int pass = 0; pass < 2; pass++) {
        if (fm_case_run(both[pass], &fm_backend_cuda, cuda, &err) != FM_OK) fail_msg("%s", err.text);
        assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), candidate == 2 ? 31 : 30);
        struct fm_case wanted;
        fm_case_copy(&wanted, both[pass]);
        wanted.candidate = 0;
        if (fm_case_run(&wanted, &fm_backend_ref, NULL, &err) != FM_OK) fail_msg("%s", err.text);
        for (uint32_t n = 0; n < wanted.n_out; n++) {
            /* probabilities are rounded to the type before a product */
            double difference = fm_case_difference(both[pass], &wanted, n);
            if (!(difference < (dtype == FM_F16 ? 2e-3 : 1.5e-2))) fail_msg("pass %d, output %u: off by %g", pass, n, difference);
        }
        fm_case_release(&wanted);
    }
    fm_case_release(&f), fm_case_release(&b), fm_case_release(&done);
}

static void attention(void **state)
{
    (void)state;
    static const int64_t rows[][5] = { { 2, 2, 5, 7, 8 }, { 1, 1, 9, 3, 16 }, { 1, 3, 4, 4, 8 }, { 2, 1, 1, 6, 24 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (uint32_t variant = 0; variant < 12; variant++)
            attend(rows[i], variant % 2 ? FM_F16 : FM_BF16, variant / 2 % 2, variant / 4);
}

/* the candidates' workspaces hold the engine's and the graph's scratch; what cannot run says why */
static void attention_candidates(void **state)
{
    (void)state;
    static const struct { const char *options; enum fm_dtype dtype; int64_t depth; const char *why; } rows[] = {
        { "sm=80", FM_BF16, 8, NULL }, { "sm=75", FM_F16, 8, "compute capability 8.0" }, { "sm=80", FM_F32, 8, "fp16 and bf16" },
        { "sm=80", FM_F16, 12, "multiple of 8" }, { "sm=80,attention=0", FM_F16, 8, "no engine" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fm_candidates list;
        struct fm_case c;
        struct fm_err err = { 0 };
        const int64_t q[] = { 2, 3, 10, rows[i].depth };
        struct fm_backend *backend = fm_fake_open(rows[i].options);
        fm_case_init(&c, FM_K_SDPA_BWD);
        for (int n = 0; n < 3; n++) fm_case_out(&c, rows[i].dtype, 4, q);
        for (int n = 0; n < 6; n++) fm_case_in(&c, n == 5 ? FM_F32 : rows[i].dtype, n == 5 ? 3 : 4, q);
        struct fm_problem problem = fm_case_problem(&c);
        fm_status status = fm_backend_cuda.candidates(backend, &problem, &list, &err);
        if (rows[i].why) {
            assert_int_equal(status, FM_UNSUPPORTED);
            if (!strstr(err.text, rows[i].why)) fail_msg("%s", err.text);
        } else {
            /* 60 rows: 240 bytes to 256, the sum 1920 to 2048; engines' 9000 to 9216, 5000 to 5120, 0 */
            assert_int_equal(status, FM_OK);
            assert_int_equal(list.count, 3);
            assert_int_equal(list.item[0].workspace_bytes, 9216 + 256 + 2048);
            assert_int_equal(list.item[1].workspace_bytes, 5120 + 256 + 2048);
            assert_int_equal(list.item[2].workspace_bytes, 256 + 2048);
        }
        assert_int_equal(fm_fake_int("libcuda.so.1", "fake_cuda_contexts"), 0);
        fm_case_release(&c);
        fm_backend_cuda.close(backend);
    }
}

/* ---- products ---- */

enum order { DENSE, SWAPPED, PART };

static void order_operand(struct fm_case *c, uint32_t i, enum order order, int ndim, const int64_t *size)
{
    if (order == SWAPPED) fm_case_swap(c, i, ndim - 2, ndim - 1);
    if (order == PART) fm_case_slice(c, i, ndim - 1, 1, size[ndim - 1] + 3);
}

static void product(int64_t batch, const int64_t mnk[3], const enum order order[3], int bias, enum fm_dtype dtype)
{
    int ndim = batch ? 3 : 2, at = batch ? 0 : 1;
    const int64_t y[] = { batch, mnk[0], mnk[1] }, a[] = { batch, mnk[0], mnk[2] }, b[] = { batch, mnk[2], mnk[1] };
    char what[120];
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
    for (uint32_t i = 1; i < c.n_out + c.n_in; i++) fm_case_random(&c, i, -1, 1, 20 + i);
    (void)snprintf(what, sizeof what, "MATMUL %lld x (%lld %lld %lld), orders %d %d %d, bias %d, %s", (long long)batch, (long long)mnk[0],
                   (long long)mnk[1], (long long)mnk[2], (int)order[0], (int)order[1], (int)order[2], bias, fm_dtype_name(dtype));
    same(&c, what);
}

static void products(void **state)
{
    (void)state;
    static const int64_t mnk[][3] = { { 5, 7, 3 }, { 1, 6, 4 }, { 6, 1, 4 }, { 3, 4, 1 }, { 1, 1, 1 } };
    for (size_t s = 0; s < sizeof mnk / sizeof *mnk; s++)
        for (int k = 0; k < 27; k++)
            for (int bias = 0; bias < 3; bias++) {
                const enum order order[] = { (enum order)(k % 3), (enum order)(k / 3 % 3), (enum order)(k / 9) };
                product(0, mnk[s], order, bias, FM_F32);
                if (s < 2) product(3, mnk[s], order, bias, FM_F32);
                if (!bias && s < 2) product(2, mnk[s], order, bias, k % 2 ? FM_F16 : FM_BF16);
            }
}

/* the switch reaches the library, and a GPU without the means says so */
static void tf32_products(void **state)
{
    (void)state;
    const int64_t y[] = { 4, 5 }, a[] = { 4, 3 }, b[] = { 3, 5 };
    for (int tf32 = 0; tf32 < 2; tf32++) {
        struct fm_case c;
        fm_case_init(&c, FM_K_MATMUL);
        fm_case_out(&c, FM_F32, 2, y);
        fm_case_in(&c, FM_F32, 2, a);
        fm_case_in(&c, FM_F32, 2, b);
        c.attr.alpha = 1;
        c.attr.tf32 = (uint8_t)tf32;
        fm_case_random(&c, 1, -1, 1, 3);
        fm_case_random(&c, 2, -1, 1, 4);
        struct fm_problem problem = fm_case_problem(&c);
        struct fm_candidates list;
        struct fm_err err = { 0 };
        struct fm_backend *turing = fm_fake_open("sm=75");
        assert_int_equal(fm_backend_cuda.candidates(turing, &problem, &list, &err), tf32 ? FM_UNSUPPORTED : FM_OK);
        if (tf32) assert_non_null(strstr(err.text, "TF32 needs compute capability 8.0; this is sm_75"));
        fm_backend_cuda.close(turing);
        fm_fake("sm=80");
        same(&c, "a product");
        assert_int_equal(fm_fake_int("libcublasLt.so.13", "fake_lt_compute"), tf32 ? 77 : 68);
    }
}

static void workspaces_of_products(void **state)
{
    (void)state;
    static const struct { const char *options; bool bias; int64_t kept; } row[] = {
        { "sm=90", false, 33554432 }, { "sm=90", true, 33554432 }, { "sm=80", false, 8519680 }, { "sm=120", false, 8519680 },
        { "sm=75", true, 8519680 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fm_candidates list;
        struct fm_case c;
        const int64_t y[] = { 4, 5 }, a[] = { 4, 3 }, b[] = { 3, 5 };
        struct fm_backend *backend = fm_fake_open(row[i].options);
        fm_case_init(&c, FM_K_MATMUL);
        fm_case_out(&c, FM_F32, 2, y);
        fm_case_in(&c, FM_F32, 2, a);
        fm_case_in(&c, FM_F32, 2, b);
        if (row[i].bias) fm_case_in(&c, FM_F32, 2, y), fm_case_expand(&c, 3, 0);
        c.attr.alpha = 1;
        struct fm_problem problem = fm_case_problem(&c);
        assert_int_equal(fm_backend_cuda.candidates(backend, &problem, &list, NULL), FM_OK);
        assert_int_equal(list.count, row[i].bias);
        assert_true(list.kept_bytes == row[i].kept);
        if (row[i].bias) assert_int_equal(list.item[0].workspace_bytes, 1048576);
        /* asking takes nothing of the GPU */
        assert_int_equal(fm_fake_int("libcuda.so.1", "fake_cuda_contexts"), 0);
        fm_case_release(&c);
        fm_backend_cuda.close(backend);
    }
}

static int open_cuda(void **state)
{
    (void)state;
    /* the architecture whose products ask for less workspace */
    cuda = fm_fake_open("sm=80");
    return 0;
}

static int close_cuda(void **state)
{
    (void)state;
    fm_backend_cuda.close(cuda);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(convolutions, open_cuda, close_cuda),
        cmocka_unit_test_setup_teardown(candidates, open_cuda, close_cuda),
        cmocka_unit_test_setup_teardown(attention, open_cuda, close_cuda),
        cmocka_unit_test(attention_candidates),
        cmocka_unit_test_setup_teardown(products, open_cuda, close_cuda),
        cmocka_unit_test_setup_teardown(tf32_products, open_cuda, close_cuda),
        cmocka_unit_test(workspaces_of_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
