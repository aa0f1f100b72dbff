/* Attention in one kernel trains the same network: losses and gradients are those of products and softmax within half
 * precision's rounding, with heads that are padded and heads that are not, recomputed blocks and several passes a step. */
#include "probes/backends/cpu/cpu.h"
#include "probes/backends/ref/ref.h"
#include "tests/engine/support_session.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define SEGFORMER "segformer input=32x32 dropout=0 "

static void open_session(struct fm_session *s, const struct fm_backend_ops *device, const char *words)
{
    struct fm_cell cell;
    *s = (struct fm_session){ .device = device };
    fm_session_cell(&cell, words);
    fm_session_lower(s, &cell, (struct fm_cell_batch){ .train = 2, .val = 1 });
    fm_session_open(s);
}

static void compare(const struct fm_backend_ops *device, const char *words)
{
    static struct fm_session math, flash;
    char text[256];
    struct fm_cell cell;
    (void)snprintf(text, sizeof text, SEGFORMER "%s +attention=flash", words);
    fm_session_cell(&cell, text);
    if (!fm_session_supported(device, &cell)) {
        print_message("%s on %s: not supported here\n", words, device->name);
        return;
    }
    open_session(&flash, device, text);
    (void)snprintf(text, sizeof text, SEGFORMER "%s", words);
    open_session(&math, device, text);
    fm_session_steps(&math, 1);
    fm_session_steps(&flash, 1);
    double gradients = fm_session_gradient_difference(&flash, &math);
    double losses = fabs(flash.loss[0] - math.loss[0]) / fabs(math.loss[0]);
    print_message("%s on %s: loss off by %.2g, gradients by %.2g\n", words, device->name, losses, gradients);
    assert_true(losses < 2e-3 && gradients < 3e-2);
    fm_session_steps(&flash, 2);
    fm_session_validate(&flash, 2);
    assert_true(isfinite(flash.loss[2]));
    fm_session_close(&math);
    fm_session_close(&flash);
}

static void training_is_the_same(void **state)
{
    (void)state;
    static const char *const words[] = {
        "+channels=1/8 +precision=bf16", "+channels=1/4 +precision=fp16", "+channels=1/8 +precision=bf16 +checkpoint=blocks",
        "+channels=1/4 +precision=bf16 +accumulate=2",
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        compare(&fm_backend_ref, words[i]);
        compare(&fm_backend_cpu, words[i]);
    }
    assert_int_equal(fm_memory_live, 0);
}

/* what PyTorch's kernel does not take is refused with the reason */
static void refusals(void **state)
{
    (void)state;
    static const struct { const char *words, *why; } rows[] = {
        { SEGFORMER "+attention=flash", "fp16 and bf16" },
        { "denseunet3d input=16x16x16 +precision=bf16 +attention=flash", "has no attention" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fm_program program = { 0 };
        struct fm_cell cell;
        struct fm_err err = { 0 };
        fm_session_cell(&cell, rows[i].words);
        assert_int_equal(fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 1 }, &program, &err), FM_UNSUPPORTED);
        if (!strstr(err.text, rows[i].why)) fail_msg("%s", err.text);
        fm_program_release(&program);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(training_is_the_same), cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
