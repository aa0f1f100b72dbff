/* Index spaces against brute force: a joined space visits the same places, whichever way its points are counted. */
#include "probes/backends/cuda/kernels.h"
#include "probes/backends/cuda/kernels/reduction.h"
#include "tests/cuda/shim/locate.h"
#include "tests/cuda/support_cuda.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VIEWS 3

/* a permuted, sliced or expanded dense operand */
static struct fm_operand draw_operand(struct fm_draw *draw, int ndim, const int64_t *size, bool output)
{
    struct fm_operand o = { .dtype = FM_F32, .ndim = (uint8_t)ndim };
    int order[FM_MAX_DIMS];
    for (int d = 0; d < ndim; d++) order[d] = d, o.size[d] = size[d];
    for (int d = ndim - 1; d > 0 && fm_draw(draw, 0, 1); d--) {
        int k = (int)fm_draw(draw, 0, d), kept = order[d];
        order[d] = order[k];
        order[k] = kept;
    }
    int64_t stride = 1;
    for (int d = ndim - 1; d >= 0; d--) {
        o.stride[order[d]] = stride;
        stride *= size[order[d]] + (fm_draw(draw, 0, 5) == 0);
        if (!output && fm_draw(draw, 0, 5) == 0) o.stride[order[d]] = 0;
    }
    return o;
}

struct place { int64_t offset[VIEWS]; };

static int by_offsets(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    for (int v = 0; v < VIEWS; v++)
        if (x->offset[v] != y->offset[v]) return x->offset[v] < y->offset[v] ? -1 : 1;
    return 0;
}

/* every place of the views, as nested loops over the logical sizes find them */
static void nested(const struct fm_operand *o, int64_t count, struct place *out)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t left = i;
        out[i] = (struct place){ { 0 } };
        for (int d = o[0].ndim - 1; d >= 0; d--) {
            for (int v = 0; v < VIEWS; v++) out[i].offset[v] += left % o[0].size[d] * o[v].stride[d];
            left /= o[0].size[d];
        }
    }
}

static void visited(const struct fm_cuda_space *space, struct place *out)
{
    for (int64_t i = 0; i < space->steps; i++) {
        int64_t at[FM_SPACE_VIEWS];
        fm_locate(space, i, at);
        for (int k = 0; k < space->width && i * space->width + k < space->numel; k++)
            for (int v = 0; v < VIEWS; v++) out[i * space->width + k].offset[v] = at[v] + k * space->step[v];
    }
}

static void test_join(void **state)
{
    (void)state;
    struct fm_draw draw = { 91, 0 };
    int wide = 0, merged = 0;
    for (int round = 0; round < 400; round++) {
        int64_t size[FM_MAX_DIMS], count = 1;
        int ndim = fm_draw_image(&draw, size);
        struct fm_operand o[VIEWS];
        struct fm_cuda_views views;
        for (int d = 0; d < ndim; d++) count *= size[d];
        for (int v = 0; v < VIEWS; v++) o[v] = draw_operand(&draw, ndim, size, v == 0);
        fm_cuda_views_begin(&views, &o[0]);
        for (int v = 0; v < VIEWS; v++) assert_int_equal(fm_cuda_views_add(&views, &o[v], NULL), v);
        fm_cuda_space_join(&views.space);
        int width = fm_cuda_views_width(&views.space, &views, 7, fm_draw(&draw, 0, 1) ? 8 : 4, true);
        fm_cuda_space_vectorize(&views.space, width);
        assert_int_equal(views.space.numel, count);
        wide += width > 1;
        merged += views.space.ndim < ndim;
        struct place *wanted = fm_calloc((size_t)count, sizeof *wanted), *got = fm_calloc((size_t)count, sizeof *got);
        assert_true(wanted && got);
        nested(o, count, wanted);
        qsort(wanted, (size_t)count, sizeof *wanted, by_offsets);
        for (int narrow = 0; narrow < 2; narrow++) {
            views.space.narrow = narrow;
            visited(&views.space, got);
            qsort(got, (size_t)count, sizeof *got, by_offsets);
            assert_memory_equal(got, wanted, (size_t)count * sizeof *got);
        }
        fm_free(wanted);
        fm_free(got);
    }
    assert_true(wide > 50 && merged > 50);      /* or this test would say little */
}

/* a vector never crosses a gap and is aligned wherever it starts */
static void test_alignment(void **state)
{
    (void)state;
    struct fm_draw draw = { 92, 0 };
    static _Alignas(16) char memory[16];
    for (int round = 0; round < 400; round++) {
        int64_t size[FM_MAX_DIMS];
        int ndim = fm_draw_image(&draw, size);
        struct fm_operand o = draw_operand(&draw, ndim, size, true);
        struct fm_cuda_views views;
        o.dtype = (uint8_t)fm_draw_float(&draw);
        int64_t bytes = fm_dtype_bytes((enum fm_dtype)o.dtype), start = fm_draw(&draw, 0, 2) ? 0 : fm_draw(&draw, 0, 3);
        fm_cuda_views_begin(&views, &o);
        fm_cuda_views_add(&views, &o, memory + start * bytes);
        fm_cuda_space_join(&views.space);
        int width = fm_cuda_views_width(&views.space, &views, 1, 8, true);
        fm_cuda_space_vectorize(&views.space, width);
        int64_t line = bytes * width < 16 ? bytes * width : 16;
        for (int64_t i = 0; width > 1 && i < views.space.steps; i++) {
            int64_t at[FM_SPACE_VIEWS];
            fm_locate(&views.space, i, at);
            assert_int_equal(views.space.step[0], 1);
            assert_int_equal((start + at[0]) * bytes % line, 0);
        }
    }
}

/* division by multiplication up to its limit */
static void test_divisors(void **state)
{
    (void)state;
    for (uint64_t k = 0; k < 20000; k++) {
        int64_t divisor = (int64_t)(fm_rng_u64(1, 2, k) >> (33 + k % 31)) + 1, other = INT32_MAX / divisor;
        struct fm_cuda_space space = { .ndim = 2, .views = 2, .size = { divisor, other }, .stride = { { 1 }, { 0, 1 } } };
        space.numel = divisor * other;
        if (other < 2 || space.numel >= INT32_MAX) continue;
        fm_cuda_space_vectorize(&space, 1);
        assert_true(space.narrow);
        for (int64_t j = 0; j < 8; j++) {
            int64_t at[FM_SPACE_VIEWS], n = j < 4 ? space.numel - 1 - j % space.numel
                                                  : (int64_t)(fm_rng_u64(3, k, (uint64_t)j) % (uint64_t)space.numel);
            fm_locate(&space, n, at);
            assert_int_equal(at[0], n % divisor);
            assert_int_equal(at[1], n / divisor);
        }
    }
}

/* scratch stays small, and no other kernel asks for any */
static void test_workspace(void **state)
{
    (void)state;
    struct fm_draw draw = { 93, 0 };
    int asked = 0;
    for (int round = 0; round < 2000; round++) {
        struct fm_operand operand[2] = { { .dtype = FM_F32, .ndim = 5 }, { .dtype = FM_F16, .ndim = 5 } };
        struct fm_attr attr = { .alpha = 1, .groups = 1 };
        int64_t stride = 1, reduced = fm_draw(&draw, 0, 31);
        for (int d = 4; d >= 0; d--) {
            operand[1].size[d] = fm_draw(&draw, 1, d < 2 ? 64 : 128);
            operand[0].size[d] = reduced >> d & 1 ? 1 : operand[1].size[d];
            operand[1].stride[d] = stride;
            stride *= operand[1].size[d];
        }
        struct fm_problem problem = { FM_K_SUM, 1, 1, operand, &attr };
        int64_t bytes = fm_cuda_workspace_bytes(&problem);
        assert_in_range(bytes, 0, 1 << 20);
        asked += bytes > 0;
        problem.kernel = FM_K_UNARY;
        assert_int_equal(fm_cuda_workspace_bytes(&problem), 0);
    }
    assert_true(asked > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_divisors),
        cmocka_unit_test(test_workspace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
