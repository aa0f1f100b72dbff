/* Convolutions at the edge of what makes sense, by random trials against the ref backend: volumes narrower than their
 * kernel, so that padding is most of what it sees, strides that leave one position, one channel. Deep levels of small
 * networks have such shapes, and vendor libraries have their errors there. What is run must be right and stay within its
 * memory; a shape that is refused must be a rare one. */
#include "probes/backends/cpu/backend.h"
#include "probes/backends/ref/ref.h"
#include "tests/support/case.h"
#include "tuner/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TRIALS 1500

static struct fm_backend *cpu, *ref;
static uint64_t draws;

static int64_t draw(int64_t below)
{
    return (int64_t)(fm_rng_u64(411, 1, draws++) % (uint64_t)below);
}

struct shape {
    enum fm_kernel kernel;
    enum fm_dtype dtype;
    int space;
    int64_t x[5], y[5], w[5];
    struct fm_attr attr;
};

/* one dimension; false: nothing comes out */
static bool draw_dimension(struct shape *s, int d)
{
    static const int64_t most_kernel[] = { 7, 5, 5 }, most_size[] = { 9, 6, 6 };
    int64_t kernel = draw(2) ? 3 : 1 + draw(most_kernel[d]), size = 1 + draw(most_size[d]);
    int64_t padding = draw((kernel + 1) / 2), stride = draw(4) ? 1 : 2, room = size + 2 * padding - kernel;
    if (room < 0) return false;
    s->x[2 + d] = size;
    s->w[2 + d] = kernel;
    s->y[2 + d] = room / stride + 1;
    s->attr.stride[d] = (int32_t)stride;
    s->attr.padding[d] = (int32_t)padding;
    s->attr.dilation[d] = 1;
    return true;
}

static bool draw_shape(struct shape *s)
{
    static const int64_t channels[] = { 1, 1, 3, 8, 12, 16, 24, 33 };
    enum { CHANNELS = sizeof channels / sizeof *channels };
    bool fits = true;
    *s = (struct shape){ .kernel = FM_K_CONV, .dtype = FM_F32 };
    s->kernel = (enum fm_kernel)(FM_K_CONV + draw(3));
    s->dtype = draw(2) ? FM_F32 : FM_BF16;
    s->space = 2 + (draw(3) > 0);
    int64_t groups = draw(5) ? 1 : 2, in = channels[draw(CHANNELS)], out = groups * channels[draw(CHANNELS)];
    s->x[0] = s->y[0] = 1 + draw(2);
    s->x[1] = groups * in;
    s->y[1] = s->w[0] = out;
    s->w[1] = in;
    s->attr.groups = (int32_t)groups;
    for (int d = 0; d < s->space; d++) fits &= draw_dimension(s, d);
    return fits;
}

static void build(struct fm_case *c, const struct shape *s)
{
    const int64_t *all[3][3] = { { s->y, s->x, s->w }, { s->x, s->y, s->w }, { s->w, s->y, s->x } };
    const int64_t *const *size = all[s->kernel - FM_K_CONV];
    fm_case_init(c, s->kernel);
    c->attr = s->attr;
    fm_case_out(c, s->dtype, s->space + 2, size[0]);
    fm_case_in(c, s->dtype, s->space + 2, size[1]);
    fm_case_in(c, s->dtype, s->space + 2, size[2]);
    for (uint32_t i = 0; i < 3; i++)
        if (size[i] != s->w) fm_case_image(c, i);
    for (uint32_t i = 1; i < 3; i++) fm_case_random(c, i, -1, 1, i);
}

static void print(char *text, size_t room, const struct shape *s)
{
    int used = snprintf(text, room, "%s %s, %lld to %lld in %d groups, batch %lld", fm_kernel_name(s->kernel),
                        fm_dtype_name(s->dtype), (long long)s->x[1], (long long)s->y[1], s->attr.groups, (long long)s->x[0]);
    for (int d = 0; d < s->space; d++)
        used += snprintf(text + used, room - (size_t)used, "; size %lld kernel %lld stride %d padding %d", (long long)s->x[2 + d],
                         (long long)s->w[2 + d], s->attr.stride[d], s->attr.padding[d]);
}

/* FM_OK or FM_UNSUPPORTED */
static fm_status agree(const struct shape *s)
{
    struct fm_case c, expected;
    struct fm_err err = { 0 };
    char text[512];
    print(text, sizeof text, s);
    build(&c, s);
    fm_case_copy(&expected, &c);
    if (fm_case_run(&expected, &fm_backend_ref, ref, &err) != FM_OK) fail_msg("ref: %s: %s", text, err.text);
    fm_status status = fm_case_run(&c, &fm_backend_cpu, cpu, &err);
    if (status != FM_OK && status != FM_UNSUPPORTED) fail_msg("%s: %s", text, err.text);
    double difference = status == FM_OK ? fm_case_difference(&c, &expected, 0) : 0;
    if (!(difference <= (s->dtype == FM_F32 ? 1e-5 : 2e-2))) fail_msg("%s (%s): difference %g", text, c.what, difference);
    fm_case_release(&expected);
    fm_case_release(&c);
    return status;
}

static void convolutions_at_the_edge(void **state)
{
    (void)state;
    int tried[2] = { 0 }, refused[2] = { 0 };
    for (int i = 0; i < TRIALS; i++) {
        struct shape shape;
        if (!draw_shape(&shape)) continue;
        bool low = shape.dtype != FM_F32;
        tried[low]++;
        refused[low] += agree(&shape) == FM_UNSUPPORTED;
    }
    assert_true(tried[0] > TRIALS / 5 && tried[1] > TRIALS / 5);
    if (refused[0] > tried[0] / 50) fail_msg("%d of %d refused in f32", refused[0], tried[0]);
    /* a CPU without bf16 refuses all of those */
    if (refused[1] > tried[1] / 20 && refused[1] < tried[1]) fail_msg("%d of %d refused in bf16", refused[1], tried[1]);
}

int main(void)
{
    struct fm_err err = { 0 };
    if (fm_backend_cpu.open(&(struct fm_backend_config){ .threads = 1 }, &cpu, &err) != FM_OK ||
        fm_backend_ref.open(&(struct fm_backend_config){ .threads = 0 }, &ref, &err) != FM_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(convolutions_at_the_edge) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fm_backend_cpu.close(cpu);
    fm_backend_ref.close(ref);
    return failed;
}
