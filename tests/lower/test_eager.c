/* What only the device sees, and no dispatch mode can record: gradients added in place, copies inside kernels, the
 * order in which module.to(device) moves parameters. Small graphs whose answer follows from the rules. */
#include "workloads/graph/build.h"
#include "workloads/lower/lower.h"
#include "workloads/nets/nets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* u = conv(x), (batch, 4, 2, 2, 2), and what is made of it; the loss is the mean of what `rest` returns */
typedef fm_value (*rest_fn)(struct fm_build *b, fm_value u, fm_value v);

static void lower(rest_fn rest, int64_t batch, enum fm_accounting accounting, struct fm_program *program)
{
    struct fm_err err = { 0 };
    struct fm_graph graph;
    struct fm_build *b = fm_build_new("graph", &err);
    struct fm_conv conv = { .dims = 3, .in = 1, .out = 4, .kernel = 1 };
    struct fm_module u = fm_new_conv(b, "u", conv), v = fm_new_conv(b, "v", conv);
    fm_build_body(b, FM_BODY_TRAIN, batch);
    fm_value x = fm_input(b, "x", FM_INPUT_VOLUME, 2, (struct fm_shape){ 5, { batch, 1, 2, 2, 2 } });
    fm_value y = rest(b, fm_apply(b, &u, x), fm_apply(b, &v, x));
    fm_body_output(b, y);
    fm_body_loss(b, y);
    if (fm_build_finish(b, &graph, &err) != FM_OK) fail_msg("%s", err.text);
    fm_build_free(b);
    struct fm_policy policy = fm_policy_default();
    policy.accounting = accounting;
    if (fm_lower(&graph, &policy, program, &err) != FM_OK) fail_msg("%s", err.text);
    if (fm_program_check(program, &err) != FM_OK) fail_msg("%s", err.text);
    fm_graph_release(&graph);
}

/* of one step: calls of a kernel under a label, and how many of them write where they read first */
struct count { int calls, in_place; };

static struct count count_calls(const struct fm_program *p, enum fm_kernel kernel, const char *label)
{
    struct count n = { 0 };
    for (size_t i = p->section[FM_SECTION_TRAIN]; i < p->section[FM_SECTION_TRAIN + 1]; i++) {
        if (p->instr[i].kind != FM_CALL) continue;
        const struct fm_call *c = &p->call[p->instr[i].a];
        if (c->kernel != kernel || strcmp(p->names + c->label, label) != 0) continue;
        const struct fm_operand *o = &p->operand[c->operand];
        n.calls++;
        n.in_place += o[0].storage == o[c->n_out].storage;
    }
    return n;
}

/* gradients that meet at u's convolution: one addition, in place or not */
static void assert_fan_in(rest_fn rest, int64_t batch, bool in_place, const char *what)
{
    struct fm_program program = { 0 };
    lower(rest, batch, FM_ACCOUNTING_EAGER, &program);
    struct count eager = count_calls(&program, FM_K_BINARY, "u");
    if (eager.calls != 1 || eager.in_place != in_place)
        fail_msg("%s: %d additions, %d in place", what, eager.calls, eager.in_place);
    lower(rest, batch, FM_ACCOUNTING_DISPATCH, &program);
    struct count dispatch = count_calls(&program, FM_K_BINARY, "u");
    assert_int_equal(dispatch.calls, 1);
    assert_int_equal(dispatch.in_place, 0);
    fm_program_release(&program);
}

/* both gradients are fresh tensors */
static fm_value two_fresh(struct fm_build *b, fm_value u, fm_value v)
{
    fm_value s = fm_silu(b, "s", u), t = fm_gelu(b, "t", u);
    return fm_mean(b, "mean", fm_binary(b, FM_OP_add, "v", fm_binary(b, FM_OP_add, "st", s, t), v));
}

/* the addition is last, so its gradient is first at u; v's buffer holds the same tensor */
static fm_value shared_first(struct fm_build *b, fm_value u, fm_value v)
{
    fm_value s = fm_silu(b, "s", u), t = fm_binary(b, FM_OP_add, "t", u, v);
    return fm_mean(b, "mean", fm_binary(b, FM_OP_mul, "st", s, t));
}

/* the same the other way round: silu's gradient, which is u's own, is first */
static fm_value shared_second(struct fm_build *b, fm_value u, fm_value v)
{
    fm_value t = fm_binary(b, FM_OP_add, "t", u, v), s = fm_silu(b, "s", u);
    return fm_mean(b, "mean", fm_binary(b, FM_OP_mul, "st", s, t));
}

/* a sum's gradient is one element seen everywhere: nothing can be added into it (rule 58) */
static fm_value expanded_first(struct fm_build *b, fm_value u, fm_value v)
{
    fm_value s = fm_mean(b, "s", fm_binary(b, FM_OP_add, "uv", fm_silu(b, "silu", u), v));
    return fm_binary(b, FM_OP_add, "loss", s, fm_mean(b, "t", fm_sum(b, "sum", u, 4 | 8 | 16, false)));
}

/* a slice of a concatenation's gradient: dense for one sample, but the other slice is in the same memory */
static fm_value slice_first(struct fm_build *b, fm_value u, fm_value v)
{
    fm_value s = fm_mean(b, "s", fm_silu(b, "silu", u));
    return fm_binary(b, FM_OP_add, "loss", s, fm_mean(b, "t", fm_cat(b, "cat", (fm_value[]){ u, v }, 2, 1)));
}

static void fan_in(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= 2; batch++) {
        assert_fan_in(two_fresh, batch, true, "two fresh gradients");
        assert_fan_in(shared_first, batch, false, "a shared gradient first");
        assert_fan_in(shared_second, batch, true, "a shared gradient second");
        assert_fan_in(expanded_first, batch, false, "an expanded gradient first");
        assert_fan_in(slice_first, batch, false, "a slice first");
    }
}

/* slices of a concatenation's gradient are dense for one sample alone: else a convolution copies them (rule 15) */
static fm_value concatenated(struct fm_build *b, fm_value u, fm_value v)
{
    return fm_mean(b, "mean", fm_silu(b, "silu", fm_cat(b, "cat", (fm_value[]){ u, v }, 2, 1)));
}

static void slices(void **state)
{
    (void)state;
    struct fm_program program = { 0 };
    for (int64_t batch = 1; batch <= 3; batch++) {
        lower(concatenated, batch, FM_ACCOUNTING_EAGER, &program);
        assert_int_equal(count_calls(&program, FM_K_COPY, "u").calls, batch > 1);
        assert_int_equal(count_calls(&program, FM_K_COPY, "v").calls, batch > 1);
        lower(concatenated, batch, FM_ACCOUNTING_DISPATCH, &program);
        assert_int_equal(count_calls(&program, FM_K_COPY, "u").calls, 0);
    }
    fm_program_release(&program);
}

/* module.to(device) moves parameters in the order in which the optimizer has them; a script that constructs them on the
 * device, in theirs. SegFormer's lists of modules make the difference (rule 67). */
static void order_of_parameters(void **state)
{
    (void)state;
    struct fm_program program = { 0 };
    struct fm_settings settings;
    struct fm_graph graph;
    struct fm_err err = { 0 };
    struct fm_policy policy = fm_policy_default();
    fm_settings_default(&settings, &fm_segformer);
    assert_int_equal(fm_settings_build(&settings, 1, 0, &graph, &err), FM_OK);
    for (int dispatch = 0; dispatch < 2; dispatch++) {
        policy.accounting = dispatch ? FM_ACCOUNTING_DISPATCH : FM_ACCOUNTING_EAGER;
        if (fm_lower(&graph, &policy, &program, &err) != FM_OK) fail_msg("%s", err.text);
        const struct fm_operand *operand = NULL;
        uint32_t count = 0, k = 0;
        bool same = true;
        for (size_t i = 0; i < program.call_count; i++) {
            if (program.call[i].kernel != FM_K_ADAM) continue;
            operand = &program.operand[program.call[i].operand];
            count = program.call[i].n_out / FM_ADAM_OPERANDS;
        }
        assert_true(count > 100);
        for (size_t i = 0; i < program.section[FM_SECTION_TRAIN_FIRST]; i++) {
            const struct fm_instr *instr = &program.instr[i];
            if (instr->kind != FM_ALLOC || program.storage[instr->a].kind != FM_STORAGE_PARAMETER) continue;
            assert_true(k < count);
            same &= operand[FM_ADAM_OPERANDS * k++].storage == instr->a;
        }
        assert_int_equal(k, count);
        assert_int_equal(same, !dispatch);
    }
    fm_graph_release(&graph);
    fm_program_release(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(fan_in), cmocka_unit_test(slices),
                                        cmocka_unit_test(order_of_parameters) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
