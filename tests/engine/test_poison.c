/* Lifetimes: fresh and freed memory filled with NaN, canaries between blocks, and not a bit changes.
 *
 * A lifetime too short, a kernel that reads what it did not write, or writes beyond what it has, would show as a NaN, as
 * other bits, or as a canary overwritten. Two runs that differ in poison alone must agree in every loss, parameter,
 * buffer and optimizer state. */
#include "probes/backends/cpu/cpu.h"
#include "probes/backends/ref/ref.h"
#include "tests/engine/support_session.h"
#include "tuner/base/hash.h"
#include "tuner/base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define STEPS 3

struct result {
    uint64_t state, gradients, logits;
    double loss[STEPS + 1];
};

static struct result run(const struct fm_backend_ops *device, const struct fm_cell *cell, int32_t threads, bool poison)
{
    static struct fm_session s;
    struct result r = { 0 };
    s = (struct fm_session){ .device = device, .threads = threads, .poison = poison };
    fm_session_lower(&s, cell, (struct fm_cell_batch){ .train = 2, .val = fm_cell_val_batch(cell, 2) });
    fm_session_open(&s);
    fm_session_steps(&s, STEPS);
    fm_session_validate(&s, 2);
    fm_session_steps(&s, 1);            /* validation must have left training's memory alone */
    r.state = fm_session_hash(&s);
    r.gradients = fm_session_gradient_hash(&s);
    assert_true(s.logits[1].count > 0);
    for (int64_t i = 0; i < s.logits[1].count; i++) assert_true(isfinite(s.logits[1].value[i]));
    r.logits = fm_hash_add(FM_HASH_INIT, s.logits[1].value, (size_t)s.logits[1].count * sizeof(double));
    memcpy(r.loss, s.loss, sizeof r.loss);
    fm_session_close(&s);
    return r;
}

static void changes_nothing(const struct fm_backend_ops *device, const char *words, int32_t threads)
{
    struct fm_cell cell;
    fm_session_cell(&cell, words);
    if (!fm_session_supported(device, &cell)) return;
    struct result clean = run(device, &cell, threads, false), poisoned = run(device, &cell, threads, true);
    for (int i = 0; i <= STEPS; i++) {
        if (!isfinite(clean.loss[i])) fail_msg("%s on %s: loss %d is %g", words, device->name, i, clean.loss[i]);
        if (memcmp(&clean.loss[i], &poisoned.loss[i], sizeof(double)) != 0)
            fail_msg("%s on %s: loss %d is %.17g, with poison %.17g", words, device->name, i, clean.loss[i], poisoned.loss[i]);
    }
    if (clean.logits != poisoned.logits) fail_msg("%s on %s: validation's logits differ with poison", words, device->name);
    if (clean.gradients != poisoned.gradients) fail_msg("%s on %s: gradients differ with poison", words, device->name);
    if (clean.state != poisoned.state)
        fail_msg("%s on %s: parameters, buffers or optimizer state differ with poison", words, device->name);
}

#define UNET "denseunet3d base_channels=3 levels=3 classes=5 input=8x16x8 "
#define SMALL "denseunet3d base_channels=2 levels=2 classes=3 input=8x4x8 "
#define SEGFORMER "segformer input=32x64 classes=5 +channels=1/4 "

static void on_cpu(void **state)
{
    (void)state;
    static const char *const cells[] = {
        UNET "", UNET "+precision=bf16", UNET "+checkpoint=blocks", UNET "dropout=on +checkpoint=blocks +precision=bf16",
        UNET "+accumulate=3 +zero_grad=keep", UNET "+accumulate=2 +precision=bf16 +checkpoint=enc1+dec2",
        UNET "n_infers=3 ensemble=keep_all +val_batch=half", UNET "n_infers=2 ensemble=sum +optimizer=sgd",
        UNET "n_infers=3 ensemble=running dropout=on +optimizer=adam +optimizer_form=for-loop +loop=plain",
        UNET "+optimizer_form=fused +accounting=dispatch",
        SEGFORMER "", SEGFORMER "+precision=bf16", SEGFORMER "+checkpoint=blocks", SEGFORMER "drop_path=0.3 +checkpoint=blocks +precision=bf16",
        SEGFORMER "+accumulate=3 +zero_grad=keep", SEGFORMER "+accumulate=2 +precision=bf16 +checkpoint=blocks +loop=plain",
        SEGFORMER "+optimizer=sgd +optimizer_form=for-loop +val_batch=half", SEGFORMER "+accounting=dispatch drop_path=0.1",
    };
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) changes_nothing(&fm_backend_cpu, cells[i], i == 0 ? 2 : 1);
}

static void on_ref(void **state)
{
    (void)state;
    static const char *const cells[] = {
        SMALL "dropout=on +checkpoint=blocks +accumulate=2", SMALL "+precision=fp16 n_infers=2 ensemble=keep_all",
        "segformer input=32x32 drop_path=0.2 +channels=1/8 +checkpoint=blocks +precision=fp16 +accumulate=2",
    };
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) changes_nothing(&fm_backend_ref, cells[i], 1);
}

/* the test can fail: a kernel that writes nothing leaves poison behind */
static fm_status run_but_cat(struct fm_backend *backend, const struct fm_launch *launch, struct fm_err *err)
{
    return launch->problem.kernel == FM_K_CAT ? FM_OK : fm_backend_cpu.run(backend, launch, err);
}

static void what_is_not_written_is_seen(void **state)
{
    (void)state;
    static struct fm_session s;
    struct fm_backend_ops lazy = fm_backend_cpu;
    struct fm_cell cell;
    lazy.run = run_but_cat;
    fm_session_cell(&cell, SMALL);
    for (int poison = 0; poison < 2; poison++) {
        s = (struct fm_session){ .device = &lazy, .poison = poison };
        fm_session_lower(&s, &cell, (struct fm_cell_batch){ .train = 2 });
        fm_session_open(&s);
        fm_session_steps(&s, 1);
        assert_int_equal(!isfinite(s.loss[0]), poison);
        fm_session_close(&s);
    }
}

static int balanced(void **state)
{
    (void)state;
    return fm_memory_live != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(on_cpu), cmocka_unit_test(on_ref),
                                        cmocka_unit_test(what_is_not_written_is_seen) };
    return cmocka_run_group_tests(tests, NULL, balanced);
}
