/* Both networks learn a batch by heart, at their own learning rates: forward, backward, optimizer and data fit together.
 *
 * The batch is the same in every step and dropout is off, as in the check that every run makes of its cells. */
#include "probes/backends/cpu/cpu.h"
#include "probes/backends/ref/ref.h"
#include "tests/engine/support_session.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define STEPS 100
#define CHECKED 20                  /* of the check in the product */

#define UNET "denseunet3d base_channels=8 levels=3 classes=4 input=16x8x8 "
#define SEGFORMER "segformer input=32x32 +channels=1/4 "

struct course { double loss[STEPS]; bool supported; };

static struct course course(const struct fm_backend_ops *device, const char *words, uint32_t steps)
{
    static struct fm_session s;
    struct course c = { 0 };
    struct fm_cell cell;
    fm_session_cell(&cell, words);
    c.supported = fm_session_supported(device, &cell);
    if (!c.supported) return c;
    s = (struct fm_session){ .device = device, .blind = true };
    fm_session_lower(&s, &cell, (struct fm_cell_batch){ .train = FM_SMALL_BATCH, .fixed_batch = true });
    fm_session_open(&s);
    fm_session_steps(&s, steps);
    memcpy(c.loss, s.loss, steps * sizeof *c.loss);
    fm_session_close(&s);
    return c;
}

static double last_mean(const struct course *c)
{
    double sum = 0;
    for (int i = STEPS - 5; i < STEPS; i++) sum += c->loss[i];
    return sum / 5;
}

/* fraction: of the first loss that may be left */
static struct course learns(const char *words, double fraction)
{
    struct course c = course(&fm_backend_cpu, words, STEPS);
    if (!c.supported) return c;
    for (int i = 0; i < STEPS; i++)
        if (!isfinite(c.loss[i])) fail_msg("%s: loss %g in step %d", words, c.loss[i], i);
    if (!(c.loss[CHECKED - 1] < 0.93 * c.loss[0]))
        fail_msg("%s: after %d steps the loss is %g, first it was %g", words, CHECKED, c.loss[CHECKED - 1], c.loss[0]);
    if (!(last_mean(&c) < fraction * c.loss[0]))
        fail_msg("%s: after %d steps the loss is %g, first it was %g", words, STEPS, last_mean(&c), c.loss[0]);
    return c;
}

/* bf16 keeps its master weights in float: it learns as float does */
static void both_precisions(const char *float_words, const char *bf16_words, double fraction)
{
    struct course wide = learns(float_words, fraction), narrow = learns(bf16_words, fraction);
    assert_true(wide.supported);
    if (narrow.supported && fabs(last_mean(&narrow) - last_mean(&wide)) > 0.1 * last_mean(&wide))
        fail_msg("%s: after %d steps the loss is %g, in float %g", bf16_words, STEPS, last_mean(&narrow), last_mean(&wide));
}

static void denseunet3d_learns(void **state)
{
    (void)state;
    both_precisions(UNET, UNET "+precision=bf16", 0.7);
    (void)learns(UNET "+checkpoint=blocks +accumulate=2 +optimizer=adam", 0.75);
}

static void segformer_learns(void **state)
{
    (void)state;
    both_precisions(SEGFORMER, SEGFORMER "+precision=bf16", 0.4);
    (void)learns(SEGFORMER "+checkpoint=blocks +zero_grad=keep +optimizer_form=for-loop", 0.4);
}

/* the oracle goes the same way, for as long as rounding allows; in fp16 with the loss scaler too */
static void ref_learns_alike(void **state)
{
    (void)state;
    static const char *const words[][2] = {
        { "denseunet3d base_channels=4 levels=2 classes=3 input=8x8x8", "denseunet3d base_channels=4 levels=2 classes=3 input=8x8x8 +precision=fp16" },
        { "segformer input=32x32 +channels=1/8", "segformer input=32x32 +channels=1/8 +precision=fp16" },
    };
    enum { FEW = 10 };
    for (int n = 0; n < 2; n++) {
        struct course ref = course(&fm_backend_ref, words[n][0], FEW), cpu = course(&fm_backend_cpu, words[n][0], FEW),
                      half = course(&fm_backend_ref, words[n][1], FEW);
        assert_true(ref.supported && cpu.supported && half.supported);
        assert_true(ref.loss[FEW - 1] < 0.97 * ref.loss[0]);
        for (int i = 0; i < FEW; i++) {
            if (fabs(ref.loss[i] - cpu.loss[i]) > 2e-4 * ref.loss[i])
                fail_msg("%s: step %d: %.9g on ref, %.9g on cpu", words[n][0], i, ref.loss[i], cpu.loss[i]);
            if (fabs(ref.loss[i] - half.loss[i]) > 0.02 * ref.loss[i])
                fail_msg("%s: step %d: %.9g in fp32, %.9g in fp16", words[n][0], i, ref.loss[i], half.loss[i]);
        }
    }
}

static int balanced(void **state)
{
    (void)state;
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(denseunet3d_learns),
        cmocka_unit_test(segformer_learns),
        cmocka_unit_test(ref_learns_alike),
    };
    return cmocka_run_group_tests(tests, NULL, balanced);
}
