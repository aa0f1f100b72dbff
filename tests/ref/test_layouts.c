/* Strides do not matter: every kernel gives bitwise the same values for dense operands and for parts, transposed and
 * expanded views, in logical and in channels-last order. And the test support itself sees stray writes. */
#include "probes/backends/ref/ref.h"
#include "tests/support/case.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct fm_backend *backend;
static uint64_t draws;

static int64_t draw(int64_t low, int64_t high)
{
    return low + (int64_t)(fm_rng_u64(5, 0, draws++) % (uint64_t)(high - low + 1));
}

/* the ref backend behind a channels-last memory, as the cpu and cuda backends have it */
static fm_status run_channels_last(struct fm_backend *ref, const struct fm_launch *launch, struct fm_err *err)
{
    struct fm_operand operands[FM_CASE_OPERANDS];
    struct fm_launch moved = *launch;
    uint32_t count = launch->problem.n_out + launch->problem.n_in;
    memcpy(operands, launch->problem.operand, count * sizeof *operands);
    for (uint32_t i = 0; i < count; i++) assert_true(fm_operand_channels_last(&operands[i]));
    moved.problem.operand = operands;
    return fm_backend_ref.run(ref, &moved, err);
}

/* kernel, attributes and operands; sizes end at the first 0 */
struct shape { enum fm_dtype dtype; int64_t size[5]; };
struct row {
    enum fm_kernel kernel;
    uint32_t n_out, n_in;
    struct shape operand[9];
    struct fm_attr attr;
};

#define IMAGE 2, 3, 4, 5
#define F32(...) { FM_F32, { __VA_ARGS__ } }
#define F16(...) { FM_F16, { __VA_ARGS__ } }
#define BF16(...) { FM_BF16, { __VA_ARGS__ } }
#define I64(...) { FM_I64, { __VA_ARGS__ } }
#define BOOL(...) { FM_BOOL, { __VA_ARGS__ } }
static const struct row rows[] = {
    { FM_K_FILL, 1, 0, { BF16(IMAGE) }, { .alpha = 0.3 } },
    { FM_K_COPY, 1, 1, { F16(IMAGE), F32(IMAGE) }, { .mode = 0 } },
    { FM_K_COPY, 1, 1, { I64(IMAGE), I64(IMAGE) }, { .mode = 0 } },
    { FM_K_UNARY, 1, 1, { F32(IMAGE), BF16(IMAGE) }, { .mode = FM_GELU } },
    { FM_K_UNARY_BWD, 1, 2, { F32(IMAGE), F32(IMAGE), F32(IMAGE) }, { .mode = FM_SILU } },
    { FM_K_BINARY, 1, 2, { F32(IMAGE), F32(IMAGE), BF16(IMAGE) }, { .mode = FM_ADD, .alpha = -2 } },
    { FM_K_CAT, 1, 2, { F32(2, 7, 3, 2), F32(2, 3, 3, 2), F32(2, 4, 3, 2) }, { .dim = 1 } },
    { FM_K_SUM, 1, 1, { F32(1, 3, 1, 1), F32(IMAGE) }, { .alpha = 0.5 } },
    { FM_K_SOFTMAX, 1, 1, { F32(IMAGE), F32(IMAGE) }, { .dim = 1 } },
    { FM_K_SOFTMAX_BWD, 1, 2, { F32(IMAGE), F32(IMAGE), F32(IMAGE) }, { .dim = 3, .mode = 1 } },
    { FM_K_NLL, 2, 2, { F32(1), F32(1), F32(IMAGE), I64(2, 4, 5) }, { .ignore_index = 1 } },
    { FM_K_NLL_BWD, 1, 3, { F32(IMAGE), F32(1), I64(2, 4, 5), F32(1) }, { .mode = 0 } },
    { FM_K_ARANGE, 1, 0, { I64(9) }, { .mode = 0 } },
    { FM_K_ARGMAX, 1, 1, { I64(2, 1, 4, 5), F32(IMAGE) }, { .dim = 1 } },
    { FM_K_MATMUL, 1, 3, { F32(2, 3, 4), F32(2, 3, 5), F32(2, 5, 4), F32(2, 3, 4) }, { .alpha = 0.7 } },
    { FM_K_SDPA, 2, 3, { BF16(2, 3, 4, 5), F32(2, 3, 4), BF16(2, 3, 4, 5), BF16(2, 3, 6, 5), BF16(2, 3, 6, 5) }, { .alpha = 0.4 } },
    { FM_K_SDPA_BWD, 3, 6, { F32(2, 3, 4, 5), F32(2, 3, 6, 5), F32(2, 3, 6, 5), F32(2, 3, 4, 5), F32(2, 3, 4, 5), F32(2, 3, 6, 5),
      F32(2, 3, 6, 5), F32(2, 3, 4, 5), F32(2, 3, 4) }, { .alpha = 0.4 } },
    { FM_K_CONV, 1, 3, { F32(2, 4, 3, 5), F32(2, 6, 5, 5), F32(4, 3, 3, 3), F32(4) },
      { .stride = { 2, 1 }, .padding = { 1, 1 }, .dilation = { 1, 1 }, .groups = 2 } },
    { FM_K_CONV_DGRAD, 1, 2, { F32(2, 6, 5, 5), F32(2, 4, 3, 5), F32(4, 3, 3, 3) },
      { .stride = { 2, 1 }, .padding = { 1, 1 }, .dilation = { 1, 1 }, .groups = 2 } },
    { FM_K_CONV_WGRAD, 1, 2, { F32(4, 3, 3, 3), F32(2, 4, 3, 5), F32(2, 6, 5, 5) },
      { .stride = { 2, 1 }, .padding = { 1, 1 }, .dilation = { 1, 1 }, .groups = 2 } },
    { FM_K_BATCH_NORM, 5, 3, { F32(IMAGE), F32(3), F32(3), F32(3), F32(3), F32(IMAGE), F32(3), F32(3) },
      { .eps = 1e-5, .momentum = 0.1 } },
    { FM_K_BATCH_NORM_EVAL, 1, 5, { F32(IMAGE), F32(IMAGE), F32(3), F32(3), F32(3), F32(3) }, { .eps = 4 } },
    { FM_K_BATCH_NORM_BWD, 3, 5, { F32(IMAGE), F32(3), F32(3), F32(IMAGE), F32(IMAGE), F32(3), F32(3), F32(3) },
      { .mode = 0 } },
    { FM_K_GROUP_NORM, 3, 3, { F32(2, 4, 3, 2), F32(2, 2), F32(2, 2), F32(2, 4, 3, 2), F32(4), F32(4) },
      { .eps = 1e-5, .groups = 2 } },
    { FM_K_GROUP_NORM_BWD, 3, 5, { F32(2, 4, 3, 2), F32(4), F32(4), F32(2, 4, 3, 2), F32(2, 4, 3, 2), F32(4),
      F32(2, 2), F32(2, 2) }, { .groups = 2 } },
    { FM_K_LAYER_NORM, 3, 3, { F32(2, 3, 5), F32(2, 3, 1), F32(2, 3, 1), F32(2, 3, 5), F32(5), F32(5) },
      { .eps = 1e-5 } },
    { FM_K_LAYER_NORM_BWD, 3, 5, { F32(2, 3, 5), F32(5), F32(5), F32(2, 3, 5), F32(2, 3, 5), F32(5),
      F32(2, 3, 1), F32(2, 3, 1) }, { .mode = 0 } },
    { FM_K_INTERPOLATE, 1, 1, { F32(2, 3, 7, 4), F32(IMAGE) }, { .mode = 0 } },
    { FM_K_INTERPOLATE_BWD, 1, 1, { F32(IMAGE), F32(2, 3, 7, 4) }, { .mode = 0 } },
    { FM_K_DROPOUT, 2, 1, { F32(IMAGE), BOOL(IMAGE), F32(IMAGE) }, { .alpha = 0.4, .stream = 3 } },
    { FM_K_DROPOUT_BWD, 1, 2, { F32(IMAGE), F32(IMAGE), BOOL(IMAGE) }, { .alpha = 0.4 } },
    { FM_K_BERNOULLI, 1, 0, { F32(2, 1, 3) }, { .alpha = 0.5 } },
    { FM_K_INPUT, 1, 0, { F32(2, 3, 6, 5) }, { .mode = FM_INPUT_IMAGE, .alpha = 4, .groups = 2, .stream = 1 } },
    { FM_K_INPUT, 1, 0, { I64(2, 6, 5, 4) }, { .mode = FM_INPUT_VOLUME_LABELS, .alpha = 4, .groups = 1 } },
    { FM_K_INIT, 1, 0, { F32(3, 4, 2) }, { .mode = 2, .alpha = 0.1, .stream = 8 } },
    { FM_K_SGD, 3, 0, { F32(3, 4), F32(3, 4), F32(3, 4) },
      { .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = 1 } },
    { FM_K_ADAM, 6, 0, { F32(3, 4), F32(3, 4), F32(3, 4), F32(3, 4), F32(3, 4), F32(3, 4) },
      { .lr = 0.1, .alpha = 0.9, .beta = 0.99, .eps = 1e-8, .amsgrad = 1, .weight_decay = 0.1 } },
    { FM_K_AMP_UNSCALE, 3, 1, { F32(1), F32(3, 4), F16(5), F32(1) }, { .mode = 0 } },
    { FM_K_AMP_UPDATE, 2, 1, { F32(1), I64(1), F32(1) }, { .mode = 0 } },
};

static void build(struct fm_case *c, const struct row *r)
{
    fm_case_init(c, r->kernel);
    c->attr = r->attr;
    c->step = 3;
    for (uint32_t i = 0; i < r->n_out + r->n_in; i++) {
        int ndim = 0;
        while (ndim < 5 && r->operand[i].size[ndim]) ndim++;
        if (i < r->n_out) fm_case_out(c, r->operand[i].dtype, ndim, r->operand[i].size);
        else fm_case_in(c, r->operand[i].dtype, ndim, r->operand[i].size);
        /* in/out operands too; targets are classes 0 to 2, masks of both kinds */
        double low = r->operand[i].dtype == FM_F32 ? 0.1 : r->operand[i].dtype == FM_BOOL ? -2.9 : 0;
        fm_case_random(c, i, low, 2.9, 77 + i);
    }
}

/* another layout for operand i of `to`, the values of `from` */
static void relayout(struct fm_case *to, uint32_t i, const struct fm_case *from)
{
    const struct fm_operand *o = &from->operand[i];
    bool image = o->ndim >= 3;
    int dim = (int)draw(0, o->ndim - 1), other = (int)draw(0, o->ndim - 1);
    int64_t start = draw(0, 2), full = start + o->size[dim] + draw(0, 2);
    switch (draw(0, 3)) {
    case 0:
        fm_case_swap(to, i, dim, other);
        break;
    case 1:
        if (image) fm_case_image(to, i);
        fm_case_slice(to, i, dim, start, full);
        break;
    case 2:
        if (image) fm_case_image(to, i);
        break;
    default:
        fm_case_slice(to, i, dim, start, full);
    }
    for (int64_t k = 0; k < fm_operand_numel(o); k++) fm_case_set_one(to, i, k, fm_case_get_one(from, i, k));
}

static void run(struct fm_case *c, const struct fm_backend_ops *ops)
{
    struct fm_err err = { 0 };
    if (fm_case_run(c, ops, backend, &err) != FM_OK) fail_msg("%s: %s", fm_kernel_name(c->kernel), err.text);
}

static void layouts_do_not_matter(void **state)
{
    (void)state;
    struct fm_backend_ops channels_last = fm_backend_ref;
    channels_last.channels_last = true;
    channels_last.run = run_channels_last;
    bool seen[FM_KERNEL_COUNT] = { false };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        seen[rows[r].kernel] = true;
        for (int round = 0; round < 40; round++) {
            struct fm_case plain, other;
            build(&plain, &rows[r]);
            fm_case_copy(&other, &plain);
            for (uint32_t i = 0; i < rows[r].n_out + rows[r].n_in; i++) relayout(&other, i, &plain);
            run(&plain, &fm_backend_ref);
            run(&other, round % 2 ? &channels_last : &fm_backend_ref);
            for (uint32_t i = 0; i < rows[r].n_out; i++)
                if (!(fm_case_difference(&other, &plain, i) <= 0))
                    fail_msg("row %zu (%s): output %u depends on the layout", r, fm_kernel_name(rows[r].kernel), i);
            fm_case_release(&plain), fm_case_release(&other);
        }
    }
    for (int k = 0; k < FM_KERNEL_COUNT; k++)
        if (!seen[k]) fail_msg("no row for %s", fm_kernel_name((enum fm_kernel)k));
}

static void expanded_and_shared_operands(void **state)
{
    (void)state;
    const int64_t size[] = { 2, 3, 4 };
    struct fm_case wide, full;
    fm_case_init(&wide, FM_K_BINARY);
    wide.attr = (struct fm_attr){ .mode = FM_MUL };
    fm_case_out(&wide, FM_F32, 3, size), fm_case_in(&wide, FM_F32, 3, size), fm_case_in(&wide, FM_F32, 3, size);
    fm_case_copy(&full, &wide);
    fm_case_expand(&wide, 2, 0), fm_case_expand(&wide, 2, 2);
    assert_int_equal(wide.elements[2], 3);
    fm_case_random(&wide, 1, -1, 1, 1), fm_case_random(&wide, 2, -1, 1, 2);
    for (uint32_t i = 1; i < 3; i++)
        for (int64_t k = 0; k < 24; k++) fm_case_set_one(&full, i, k, fm_case_get_one(&wide, i, k));
    fm_case_share(&full, 0, 1);     /* in place */
    run(&wide, &fm_backend_ref), run(&full, &fm_backend_ref);
    assert_true(fm_case_difference(&wide, &full, 0) <= 0);
    fm_case_release(&wide), fm_case_release(&full);
}

/* Backends that write where they must not. */
static fm_status stray_into_input(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    (void)b, (void)err;
    ((float *)l->address[1])[0] = 9;
    return FM_OK;
}

static fm_status stray_beside_view(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    (void)b, (void)err;
    ((float *)l->address[0])[0] = 9;
    return FM_OK;
}

static fm_status stray_behind(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    (void)b, (void)err;
    ((float *)l->address[0])[9] = 9;
    return FM_OK;
}

static fm_status stray_before(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    (void)b, (void)err;
    ((char *)l->address[0])[-1] = 9;
    return FM_OK;
}

static fm_status some_workspace(struct fm_backend *b, const struct fm_problem *p, struct fm_candidates *out,
                                struct fm_err *err)
{
    (void)b, (void)p, (void)err;
    *out = (struct fm_candidates){ .count = 1, .item = { { 10, "ten" } } };
    return FM_OK;
}

static fm_status stray_workspace(struct fm_backend *b, const struct fm_launch *l, struct fm_err *err)
{
    (void)b, (void)err;
    assert_int_equal((uintptr_t)l->workspace % 64, 0);
    ((char *)l->workspace)[l->workspace_bytes] = 9;
    return FM_OK;
}

static void stray_writes_are_seen(void **state)
{
    (void)state;
    fm_status (*const runs[])(struct fm_backend *, const struct fm_launch *, struct fm_err *) = {
        stray_into_input, stray_beside_view, stray_behind, stray_before, stray_workspace,
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct fm_backend_ops ops = fm_backend_ref;
        struct fm_case c;
        ops.candidates = some_workspace;
        ops.run = runs[i];
        fm_case_init(&c, FM_K_COPY);
        fm_case_out(&c, FM_F32, 1, (int64_t[]){ 8 }), fm_case_in(&c, FM_F32, 1, (int64_t[]){ 8 });
        fm_case_slice(&c, 0, 0, 1, 9);
        fm_case_random(&c, 1, -1, 1, 1);
        assert_int_equal(fm_case_run(&c, &ops, backend, NULL), FM_MISMATCH);
        assert_string_equal(c.what, "ten");
        fm_case_release(&c);
    }
}

static int open_backend(void **state)
{
    (void)state;
    return fm_backend_ref.open(NULL, &backend, NULL);
}

static int close_backend(void **state)
{
    (void)state;
    fm_backend_ref.close(backend);
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_do_not_matter), cmocka_unit_test(expanded_and_shared_operands),
        cmocka_unit_test(stray_writes_are_seen),
    };
    return cmocka_run_group_tests(tests, open_backend, close_backend);
}
