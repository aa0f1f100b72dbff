/* What the cpu backend answers about a problem does not depend on what it ran before.
 *
 * oneDNN keeps a cache of primitives for the whole process, in which layouts that differ only in the strides of dimensions
 * of size 1 are the same: an answer from it may have another workspace than the one the problem itself would get. A plan
 * made in one process must hold in another. */
#include "probes/backends/cpu/cpu.h"
#include "tests/support/case.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define PROBLEMS 300

static uint64_t draws;

static int64_t pick(int64_t low, int64_t high)
{
    return low + (int64_t)(fm_rng_u64(5, 1, draws++) % (uint64_t)(high - low + 1));
}

static int64_t pick_size(void)
{
    static const int64_t sizes[] = { 1, 1, 1, 2, 4, 8, 16, 33 };
    return sizes[pick(0, 7)];
}

/* y (G, M, N) = a (G, M, K) @ b (G, K, N), each side perhaps transposed in memory, many sizes 1 */
static void random_matmul(struct fm_case *c, enum fm_dtype dtype)
{
    int64_t g = pick_size(), m = pick_size(), n = pick_size(), k = pick_size();
    fm_case_init(c, FM_K_MATMUL);
    c->attr.alpha = 1;
    fm_case_out(c, dtype, 3, (int64_t[]){ g, m, n });
    fm_case_in(c, dtype, 3, (int64_t[]){ g, m, k });
    fm_case_in(c, dtype, 3, (int64_t[]){ g, k, n });
    for (uint32_t i = 1; i < 3; i++) {
        if (pick(0, 1)) fm_case_swap(c, i, 1, 2);
        fm_case_random(c, i, -1, 1, draws);
    }
}

/* x (B, C, H, W), sizes and channels of 1 among them */
static void random_conv(struct fm_case *c, enum fm_dtype dtype)
{
    int64_t b = pick(1, 2), in = pick_size(), out = pick_size(), h = pick_size(), w = pick_size(), k = pick(0, 1) ? 3 : 1;
    fm_case_init(c, FM_K_CONV);
    c->attr.groups = 1;
    for (int d = 0; d < 2; d++) c->attr.stride[d] = c->attr.dilation[d] = 1, c->attr.padding[d] = (int32_t)(k / 2);
    fm_case_out(c, dtype, 4, (int64_t[]){ b, out, h, w });
    fm_case_in(c, dtype, 4, (int64_t[]){ b, in, h, w });
    fm_case_in(c, dtype, 4, (int64_t[]){ out, in, k, k });
    for (uint32_t i = 0; i < 3; i++) {
        fm_case_image(c, i);
        if (i) fm_case_random(c, i, -1, 1, draws);
    }
}

/* false: not supported here */
static bool ask(const struct fm_case *c, struct fm_candidates *out)
{
    struct fm_backend *fresh = NULL;
    struct fm_err err = { 0 };
    assert_int_equal(fm_backend_cpu.open(&(struct fm_backend_config){ .threads = 1 }, &fresh, &err), FM_OK);
    struct fm_problem problem = fm_case_problem(c);
    fm_status status = fm_backend_cpu.candidates(fresh, &problem, out, &err);
    if (status != FM_OK && status != FM_UNSUPPORTED) fail_msg("%s", err.text);
    fm_backend_cpu.close(fresh);
    return status == FM_OK;
}

static void answers_do_not_depend_on_what_ran(void **state)
{
    (void)state;
    static struct fm_case c[PROBLEMS];
    static struct fm_candidates before[PROBLEMS], after;
    static bool supported[PROBLEMS];
    struct fm_backend *backend = NULL;
    struct fm_err err = { 0 };
    for (int i = 0; i < PROBLEMS; i++) {
        enum fm_dtype dtype = i % 2 ? FM_BF16 : FM_F32;
        if (i % 3) random_matmul(&c[i], dtype);
        else random_conv(&c[i], dtype);
        supported[i] = ask(&c[i], &before[i]);
    }
    assert_int_equal(fm_backend_cpu.open(&(struct fm_backend_config){ .threads = 1 }, &backend, &err), FM_OK);
    for (int i = 0; i < PROBLEMS; i++)
        if (supported[i] && fm_case_run(&c[i], &fm_backend_cpu, backend, &err) != FM_OK) fail_msg("problem %d: %s", i, err.text);
    for (int i = 0; i < PROBLEMS; i++) {
        assert_int_equal(ask(&c[i], &after), supported[i]);
        if (supported[i] && memcmp(&before[i], &after, sizeof after) != 0)
            fail_msg("problem %d (%s): %lld bytes (%s) before anything ran, %lld (%s) after", i, fm_kernel_name(c[i].kernel),
                     (long long)before[i].item[0].workspace_bytes, before[i].item[0].what,
                     (long long)after.item[0].workspace_bytes, after.item[0].what);
        fm_case_release(&c[i]);
    }
    fm_backend_cpu.close(backend);
    assert_int_equal(fm_memory_live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(answers_do_not_depend_on_what_ran) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
