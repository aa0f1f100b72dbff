/* channels_last changes where values lie and what is copied, never the values: gradients, parameters and losses agree with
 * contiguous training, and every convolution works on dense channels-last tensors, as PyTorch gives them to cuDNN. */
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

#define UNET "denseunet3d base_channels=2 levels=2 classes=3 input=8x4x8 dropout=on "
#define DEEP "denseunet3d base_channels=4 levels=3 classes=3 input=16x8x8 "
#define SEGFORMER "segformer input=32x32 drop_path=0.3 +channels=1/8 "

static void lower(struct fm_session *s, const char *words, const char *more)
{
    struct fm_cell cell;
    char text[384];
    (void)snprintf(text, sizeof text, "%s%s", words, more);
    fm_session_cell(&cell, text);
    fm_session_lower(s, &cell, (struct fm_cell_batch){ .train = 2, .val = 2 });
}

static void training_is_the_same(void **state)
{
    (void)state;
    static const struct { const char *words, *more; } cases[] = {
        { UNET, "" }, { DEEP, "+checkpoint=blocks" }, { SEGFORMER, "" }, { SEGFORMER, "+checkpoint=blocks" },
    };
    static struct fm_session a, b;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        const struct fm_backend_ops *device = i % 2 ? &fm_backend_cpu : &fm_backend_ref;
        const char *words = cases[i / 2].words;
        char more[64];
        (void)snprintf(more, sizeof more, "%s +memory_format=channels_last", cases[i / 2].more);
        a = (struct fm_session){ .device = device };
        b = (struct fm_session){ .device = device };
        lower(&a, words, cases[i / 2].more);
        lower(&b, words, more);
        fm_session_open(&a);
        fm_session_open(&b);
        fm_session_steps(&a, 1);
        fm_session_steps(&b, 1);
        double gradients = fm_session_gradient_difference(&a, &b);
        if (!(gradients < 1e-4)) fail_msg("%s%s on %s: gradients differ by %.3g", words, more, device->name, gradients);
        fm_session_steps(&a, 2);
        fm_session_steps(&b, 2);
        for (uint32_t k = 0; k < 3; k++)
            if (!(fabs(a.loss[k] - b.loss[k]) < 1e-3 * (1 + fabs(a.loss[k]))))
                fail_msg("%s on %s: loss %u is %.6g, not %.6g", words, device->name, k, b.loss[k], a.loss[k]);
        fm_session_close(&a);
        fm_session_close(&b);
    }
    assert_int_equal(fm_memory_live, 0);
}

static bool dense_channels_last(const struct fm_operand *o)
{
    int64_t next = o->size[1];
    if (o->size[1] != 1 && o->stride[1] != 1) return false;
    for (int d = o->ndim - 1; d >= 2; d--) {
        if (o->size[d] != 1 && o->stride[d] != next) return false;
        next *= o->size[d];
    }
    return o->size[0] == 1 || o->stride[0] == next;
}

/* both arguments of a convolution, and its result, are in one format */
static void convolutions_see_one_format(void **state)
{
    (void)state;
    static const char *const words[] = { UNET, DEEP, SEGFORMER };
    static struct fm_session s;
    for (size_t w = 0; w < 3; w++) {
        size_t seen = 0;
        s = (struct fm_session){ .device = &fm_backend_ref };
        lower(&s, words[w], "+memory_format=channels_last");
        for (uint32_t i = 0; i < s.program.call_count; i++) {
            struct fm_problem p = fm_program_problem(&s.program, i);
            if (p.kernel != FM_K_CONV && p.kernel != FM_K_CONV_DGRAD && p.kernel != FM_K_CONV_WGRAD) continue;
            seen++;
            for (uint32_t k = 0; k < p.n_out + 2; k++)
                if (!dense_channels_last(&p.operand[k])) fail_msg("%s: operand %u of %s", words[w], k, s.program.names + s.program.call[i].label);
        }
        assert_true(seen > 5);
        fm_session_close(&s);
    }
}

/* the state takes the same bytes in both formats: parameters, buffers, optimizer, gradients of it */
static void state_takes_the_same(void **state)
{
    (void)state;
    static const char *const words[] = { UNET, DEEP, SEGFORMER };
    static struct fm_session a, b;
    for (size_t w = 0; w < 3; w++) {
        int64_t bytes[2][FM_STORAGE_KIND_COUNT] = { { 0 } };
        a = (struct fm_session){ .device = &fm_backend_ref };
        b = (struct fm_session){ .device = &fm_backend_ref };
        lower(&a, words[w], "");
        lower(&b, words[w], "+memory_format=channels_last");
        const struct fm_program *of[2] = { &a.program, &b.program };
        for (int k = 0; k < 2; k++)
            for (size_t i = 0; i < of[k]->storage_count; i++) bytes[k][of[k]->storage[i].kind] += of[k]->storage[i].bytes;
        for (int kind = 0; kind < FM_STORAGE_KIND_COUNT; kind++)
            if (kind != FM_STORAGE_ACTIVATION) assert_true(bytes[0][kind] == bytes[1][kind]);
        assert_true(fm_program_hash(of[0]) != fm_program_hash(of[1]));
        fm_session_close(&a);
        fm_session_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_is_the_same),
        cmocka_unit_test(convolutions_see_one_format),
        cmocka_unit_test(state_takes_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
