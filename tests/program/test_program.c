/* Step programs: building, sections, reuse, faults, the checker, the hash and the text. */
#include "tuner/base/memory.h"
#include "workloads/program/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct fm_operand vector(uint32_t storage, int64_t size)
{
    return (struct fm_operand){ .storage = storage, .ndim = 1, .size = { size }, .stride = { 1 } };
}

static void call(struct fm_program *p, enum fm_kernel kernel, const struct fm_operand *operands, uint32_t n_in,
                 const struct fm_attr *attr)
{
    struct fm_call c = { .kernel = (uint16_t)kernel, .n_out = 1, .n_in = n_in, .attr = fm_program_attr(p, attr),
                         .label = fm_program_name(p, fm_kernel_name(kernel)) };
    fm_program_call(p, &c, operands);
}

/* storage 0: a parameter; 1: an activation of every step; 2: a state that the first step makes; 3: takes 1's place */
static void build(struct fm_program *p)
{
    static const enum fm_storage_kind kinds[] = { FM_STORAGE_PARAMETER, FM_STORAGE_ACTIVATION, FM_STORAGE_OPTIMIZER,
                                                  FM_STORAGE_ACTIVATION };
    for (int i = 0; i < 4; i++)
        fm_program_storage(p, (struct fm_storage){ .bytes = 32, .kind = (uint8_t)kinds[i],
                                                   .label = fm_program_name(p, i ? "other" : "weight") });
    struct fm_attr scale = { .mode = FM_SCALE, .alpha = 2, .beta = 0.5 }, ones = { .alpha = 1 };
    struct fm_operand w = vector(0, 8), x = vector(1, 8), one = vector(1, 1), moved = vector(3, 8);
    fm_program_begin(p, FM_SECTION_INIT);
    fm_program_instr(p, FM_ALLOC, 0, 0);
    call(p, FM_K_FILL, &w, 0, &ones);
    for (int s = FM_SECTION_TRAIN_FIRST; s <= FM_SECTION_TRAIN; s++) {
        fm_program_begin(p, (enum fm_section)s);
        fm_program_instr(p, FM_PHASE, FM_PHASE_FORWARD, 0);
        fm_program_instr(p, FM_ALLOC, 1, 0);
        call(p, FM_K_UNARY, (struct fm_operand[]){ x, w }, 1, &scale);
        call(p, FM_K_SUM, (struct fm_operand[]){ one, w }, 1, &ones);
        fm_program_instr(p, FM_MOVE, 3, 1);
        call(p, FM_K_COPY, (struct fm_operand[]){ w, moved }, 1, NULL);
        if (s == FM_SECTION_TRAIN_FIRST) fm_program_instr(p, FM_ALLOC, 2, 0);
        fm_program_instr(p, FM_FREE, 3, 0);
    }
    fm_program_begin(p, FM_SECTION_VAL_FIRST);
    fm_program_instr(p, FM_ALLOC, 1, 0);
    fm_program_begin(p, FM_SECTION_VAL_EXIT);
    fm_program_instr(p, FM_FREE, 1, 0);
    p->samples = 4;
}

static void built(struct fm_program *p)
{
    struct fm_err err = { 0 };
    *p = (struct fm_program){ 0 };
    build(p);
    assert_int_equal(fm_program_finish(p, &err), FM_OK);
    if (fm_program_check(p, &err) != FM_OK) fail_msg("%s", err.text);
}

static void sections_cover_the_instructions(void **state)
{
    (void)state;
    struct fm_program p;
    built(&p);
    const size_t expected[FM_SECTION_COUNT + 1] = { 0, 2, 10, 17, 18, 18, 19 };
    for (int s = 0; s <= FM_SECTION_COUNT; s++) assert_int_equal(p.section[s], expected[s]);
    fm_program_release(&p);

    struct fm_program late = { 0 };     /* only the last section has instructions */
    struct fm_err err = { 0 };
    fm_program_begin(&late, FM_SECTION_VAL_EXIT);
    fm_program_instr(&late, FM_PHASE, 0, 0);
    assert_int_equal(fm_program_finish(&late, &err), FM_OK);
    assert_int_equal(late.section[FM_SECTION_VAL_EXIT], 0);
    assert_int_equal(late.section[FM_SECTION_COUNT], 1);
    fm_program_clear(&late);
    fm_program_instr(&late, FM_PHASE, 0, 0);
    assert_int_equal(fm_program_finish(&late, &err), FM_INVALID);
    fm_program_release(&late);
    assert_int_equal(fm_memory_live, 0);
}

static void an_empty_program_is_one(void **state)
{
    (void)state;
    struct fm_program p = { 0 };
    struct fm_err err = { 0 };
    assert_int_equal(fm_program_finish(&p, &err), FM_OK);
    assert_int_equal(fm_program_check(&p, &err), FM_OK);
    fm_program_release(&p);
}

static void clearing_keeps_the_memory(void **state)
{
    (void)state;
    struct fm_program p;
    built(&p);
    uint64_t hash = fm_program_hash(&p);
    fm_fault = (struct fm_fault){ .armed = true, .sticky = true };  /* no further allocation succeeds */
    fm_program_clear(&p);
    build(&p);
    fm_status status = fm_program_finish(&p, NULL);
    fm_fault = (struct fm_fault){ 0 };
    assert_int_equal(status, FM_OK);
    assert_true(fm_program_hash(&p) == hash);
    fm_program_release(&p);
    assert_int_equal(fm_memory_live, 0);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct fm_program p = { 0 };
        struct fm_err err = { 0 };
        fm_fault = (struct fm_fault){ .armed = true, .left = n };
        build(&p);
        fm_status status = fm_program_finish(&p, &err);
        if (status == FM_OK) status = fm_program_check(&p, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        fm_program_release(&p);
        assert_int_equal(fm_memory_live, 0);
        if (!hits) {
            assert_int_equal(status, FM_OK);
            assert_true(n >= 6);
            return;
        }
        assert_int_equal(status, FM_NOMEM);
    }
}

/* one way to spoil a program, and a word of the message that must come */
struct spoiled { const char *says; void (*spoil)(struct fm_program *p); };

static void s_order(struct fm_program *p) { p->section[2] = 19; }
static void s_cover(struct fm_program *p) { p->section[FM_SECTION_COUNT]--; }
static void s_kind(struct fm_program *p) { p->instr[0].kind = 9; }
static void s_phase(struct fm_program *p) { p->instr[2].a = FM_PHASE_COUNT; }
static void s_storage(struct fm_program *p) { p->instr[0].a = 4; }
static void s_move_from(struct fm_program *p) { p->instr[6].b = FM_NONE; }
static void s_twice(struct fm_program *p) { p->instr[3].a = 0; }
static void s_unread(struct fm_program *p) { p->instr[0] = p->instr[2]; }
static void s_free_empty(struct fm_program *p) { p->instr[9].a = 1; }
static void s_move_empty(struct fm_program *p) { p->instr[6].b = 2; }
static void s_move_size(struct fm_program *p) { p->storage[3].bytes = 64; }
static void s_call(struct fm_program *p) { p->instr[1].a = 99; }
static void s_leak(struct fm_program *p) { p->instr[16] = p->instr[2]; }
static void s_val_leak(struct fm_program *p) { p->instr[18] = p->instr[2]; }
static void s_first(struct fm_program *p) { p->instr[9] = p->instr[2]; }
static void s_kernel(struct fm_program *p) { p->call[1].kernel = FM_KERNEL_COUNT; }
static void s_attr(struct fm_program *p) { p->call[1].attr = 77; }
static void s_operands(struct fm_program *p) { p->call[1].n_in = 1000; }
static void s_label(struct fm_program *p) { p->call[1].label = 100000; }
static void s_key(struct fm_program *p) { p->call[2].key ^= 1; }
static void s_key_none(struct fm_program *p) { p->call[1].key = 1; }
static void s_view(struct fm_program *p) { p->operand[1].size[0] = 9; }
static void s_offset(struct fm_program *p) { p->operand[1].offset = 1; }
static void s_negative(struct fm_program *p) { p->operand[1].stride[0] = -1; }
static void s_huge(struct fm_program *p) { p->operand[1].stride[0] = INT64_MAX; }
static void s_ndim(struct fm_program *p) { p->operand[1].ndim = FM_MAX_DIMS + 1; }
static void s_dtype(struct fm_program *p) { p->operand[1].dtype = FM_DTYPE_COUNT; }
static void s_width(struct fm_program *p) { p->operand[1].dtype = FM_F16; }
static void s_nowhere(struct fm_program *p) { p->operand[1].storage = 4; }
static void s_image(struct fm_program *p) { p->operand[1].channels = 3, p->operand[1].spatial = 1; }
static void s_half_image(struct fm_program *p) { p->operand[1].channels = 2; }
static void s_bytes(struct fm_program *p) { p->storage[2].bytes = -1; }
static void s_store_kind(struct fm_program *p) { p->storage[2].kind = FM_STORAGE_KIND_COUNT; }
static void s_names(struct fm_program *p) { p->names[p->name_bytes - 1] = 'x'; }
static void s_attr_zero(struct fm_program *p) { p->attr[0].alpha = 1; }
static void s_failed(struct fm_program *p) { p->failed = true; }

static const struct spoiled spoiled[] = {
    { "ends before", s_order }, { "cover", s_cover }, { "no such instruction", s_kind }, { "phase", s_phase },
    { "storage 4", s_storage }, { "of 4", s_move_from }, { "filled already", s_twice }, { "which is empty", s_unread },
    { "freed while empty", s_free_empty }, { "cannot take", s_move_empty }, { "one size", s_move_size },
    { "call 99", s_call }, { "train cannot follow", s_leak }, { "train after val_exit", s_val_leak },
    { "cannot take", s_first }, { "kernel", s_kernel }, { "attribute 77", s_attr }, { "operands", s_operands },
    { "label", s_label }, { "key", s_key }, { "key", s_key_none }, { "leaves its storage", s_view },
    { "leaves its storage", s_offset }, { "leaves its storage", s_negative }, { "leaves its storage", s_huge },
    { "dimensions", s_ndim }, { "dtype", s_dtype }, { "f16 view", s_width }, { "storage 4 of 4", s_nowhere },
    { "images", s_image }, { "images", s_half_image }, { "bytes -1", s_bytes }, { "kind", s_store_kind },
    { "names", s_names }, { "attribute 0", s_attr_zero }, { "never finished", s_failed },
};

static void spoiled_programs_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
        struct fm_program p;
        struct fm_err err = { 0 };
        built(&p);
        spoiled[i].spoil(&p);
        if (fm_program_check(&p, &err) != FM_INVALID) fail_msg("case %zu (%s) passed", i, spoiled[i].says);
        if (!strstr(err.text, spoiled[i].says)) fail_msg("case %zu: no '%s' in: %s", i, spoiled[i].says, err.text);
        fm_program_release(&p);
    }
    assert_int_equal(fm_memory_live, 0);
}

static void the_hash_sees_what_matters(void **state)
{
    (void)state;
    struct fm_program p;
    built(&p);
    uint64_t hash = fm_program_hash(&p);
    p.names[1] = 'W';
    p.call[0].label = p.storage[0].label = 0;
    assert_true(fm_program_hash(&p) == hash);
    struct { void *at; size_t bytes; } fields[] = {
        { &p.samples, 8 }, { &p.section[3], 8 }, { &p.storage[1].bytes, 8 }, { &p.storage[1].kind, 1 },
        { &p.storage[1].dtype, 1 }, { &p.call[1].kernel, 2 }, { &p.attr[p.call[1].attr].alpha, 8 },
        { &p.attr[p.call[1].attr].stream, 8 }, { &p.operand[1].storage, 4 }, { &p.operand[1].offset, 8 },
        { &p.operand[1].dtype, 1 }, { &p.operand[1].size[0], 8 }, { &p.operand[1].stride[0], 8 },
        { &p.operand[1].channels, 4 }, { &p.operand[1].spatial, 4 }, { &p.instr[3].kind, 4 }, { &p.instr[3].a, 4 },
        { &p.instr[6].b, 4 },
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *(uint8_t *)fields[i].at ^= 1;
        if (fm_program_hash(&p) == hash) fail_msg("the hash misses field %zu", i);
        *(uint8_t *)fields[i].at ^= 1;
    }
    assert_true(fm_program_hash(&p) == hash);
    fm_program_release(&p);
}

static void the_text_is_one_line_an_instruction(void **state)
{
    (void)state;
    struct fm_program p;
    built(&p);
    struct fm_buf out = FM_BUF(1 << 16);
    fm_program_write(&p, &out);
    const char *begins = "section init\nalloc %0 32 parameters ; weight\ncall  FILL %0:f32[8] alpha=1 ; FILL\n"
                         "section train_first\nphase forward\nalloc %1 32 activations ; other\n"
                         "call  UNARY %1:f32[8] <- %0:f32[8] mode=4 alpha=2 beta=0.5 ; UNARY\n"
                         "call  SUM %1:f32[1] <- %0:f32[8] alpha=1 ; SUM\nmove  %3 <- %1\n";
    assert_true(fm_buf_ok(&out));
    assert_memory_equal(fm_buf_text(&out), begins, strlen(begins));
    size_t lines = 0;
    for (const char *c = fm_buf_text(&out); *c; c++) lines += *c == '\n';
    assert_int_equal(lines, p.instr_count + 5);     /* and five sections that are not empty */
    fm_buf_release(&out);
    fm_program_release(&p);
    assert_int_equal(fm_memory_live, 0);
}

static void names_have_values_both_ways(void **state)
{
    (void)state;
    for (int d = 0; d < FM_DTYPE_COUNT; d++) assert_int_equal(fm_dtype_parse(fm_dtype_name((enum fm_dtype)d)), d);
    assert_int_equal(fm_dtype_parse("f8"), FM_DTYPE_COUNT);
    assert_string_equal(fm_kernel_name(FM_K_AMP_UPDATE), "AMP_UPDATE");
    assert_string_equal(fm_kernel_name(FM_KERNEL_COUNT), "?");
    assert_true(fm_kernel_scratch(FM_K_CONV) && !fm_kernel_scratch(FM_K_COPY));
    assert_string_equal(fm_section_name(FM_SECTION_VAL_EXIT), "val_exit");
    assert_string_equal(fm_storage_kind_name(FM_STORAGE_INPUT), "inputs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_cover_the_instructions), cmocka_unit_test(an_empty_program_is_one),
        cmocka_unit_test(clearing_keeps_the_memory), cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(spoiled_programs_are_refused), cmocka_unit_test(the_hash_sees_what_matters),
        cmocka_unit_test(the_text_is_one_line_an_instruction), cmocka_unit_test(names_have_values_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
