/* Messages against step programs: a message made from any allocation of a step is traced back to it; one of real life comes
 * out as its audit by hand has it; accounts in closed form; planned changes do what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "probes/memory/planner.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "tuner/explain/explain.h"

#define GIB (INT64_C(1) << 30)
#define MIB (INT64_C(1) << 20)

static void set(struct fm_cell *cell, const char *key, const char *value)
{
    struct fm_err err = { 0 };
    if (fm_settings_set(&cell->settings, key, value, &err) != FM_OK) fail_msg("%s", err.text);
}

static struct fm_cell small_unet(void)
{
    struct fm_cell cell;
    fm_cell_default(&cell, &fm_denseunet3d);
    set(&cell, "base_channels", "4"), set(&cell, "levels", "2"), set(&cell, "classes", "5"), set(&cell, "input", "96x96x96");
    return cell;
}

static struct fm_explanation explain(const char *text, const struct fm_cell *cell, size_t cells)
{
    struct fm_explanation *x = fm_calloc(1, sizeof *x), out;
    struct fm_err err = { 0 };
    struct fm_explain_query q = { .text = text, .bytes = strlen(text), .cell = cell, .cells = cells, .batch_max = 16 };
    assert_non_null(x);
    if (fm_explain(&q, x, &err) != FM_OK) fail_msg("%s", err.text);
    out = *x;
    fm_free(x);
    return out;
}

static bool within(const struct fm_range *r, double lo_gib, double hi_gib)
{
    return r->known && (double)r->lo_bytes >= lo_gib * (double)GIB && (double)r->hi_bytes <= hi_gib * (double)GIB;
}

/* 1.5625 GiB is 2 x 32 x 6,553,600 x 4 bytes. Alive then: parameters and the buckets of DistributedDataParallel (0.0640 GiB
 * each), input and labels, the logits and probabilities of the first pass, and what the second has made so far: 9.29 GiB. */
static void test_published_message(void **state)
{
    (void)state;
    static const char text[] = "Tried to allocate 1.56 GiB (GPU 0; 31.73 GiB total capacity; 9.29 GiB already allocated; 892.25 MiB free)";
    static const char *const forms[] = { "running", "sum", "keep_all" };
    struct fm_cell cell[3];
    for (int i = 0; i < 3; i++) {
        fm_cell_default(&cell[i], &fm_denseunet3d);
        set(&cell[i], "n_infers", "3"), set(&cell[i], "ensemble", forms[i]);
    }
    struct fm_explanation x = explain(text, cell, 3);
    assert_true(fm_match_exact(&x.matches, &x.oom));
    for (size_t i = 0; i < x.matches.count && !x.matches.item[i].off_bytes; i++) {
        const struct fm_match *m = &x.matches.item[i];
        assert_string_equal(m->label, "dec1.cat");
        assert_int_equal(m->batch, 2);
        assert_int_equal(m->scene, FM_SCENE_VAL_FIRST);
        assert_int_equal(m->nth, 2), assert_int_equal(m->of, 3);
        assert_int_equal(m->tensor_bytes, INT64_C(2) * 32 * 6553600 * 4);
        assert_true(m->ddp && m->confirmed && m->scales);
        assert_string_not_equal(forms[m->cell], "running");         /* it would hold half as much */
        assert_in_range(m->unused_bytes, GIB / 4, GIB / 3);
    }
    assert_true(within(&x.account.outside, 21.5, 21.65));
    assert_true(within(&x.account.others, 19.5, 21.2));
    struct fm_buf out = FM_BUF(1 << 16);
    fm_explain_text(&x, &out);
    assert_true(fm_buf_ok(&out));
    assert_non_null(strstr(fm_buf_text(&out), "dec1.cat at batch 2 on that device, in validation"));
    assert_non_null(strstr(fm_buf_text(&out), "about 20 GiB"));
    assert_non_null(strstr(fm_buf_text(&out), "Free the device"));
    fm_buf_release(&out);
    cJSON *tree = fm_explain_json(&x);
    assert_non_null(tree);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(tree, "matches")), x.matches.count);
    cJSON_Delete(tree);
}

/* A training step replayed here, apart from what is tested: sizes and what is alive just before. */
struct allocation { char label[64]; int64_t segment_bytes, live_bytes, free_bytes; };

static int64_t segment(int64_t bytes)
{
    int64_t rounded = (bytes + 511) / 512 * 512;
    return rounded <= MIB ? 2 * MIB : rounded < 10 * MIB ? 20 * MIB : (rounded + 2 * MIB - 1) / (2 * MIB) * 2 * MIB;
}

static size_t collect(const struct fm_cell *cell, int64_t batch, struct allocation *out, size_t room)
{
    struct fm_program p = { 0 };
    struct fm_err err = { 0 };
    size_t n = 0;
    int64_t live = 0, *held = NULL;
    struct fm_allocator a;
    struct fm_arithmetic_source source;
    struct fm_allocator_config config = fm_allocator_config_default();
    uint32_t *block = NULL;
    fm_arithmetic_source_init(&source, INT64_MAX);
    assert_int_equal(fm_allocator_init(&a, &config, fm_arithmetic_source_interface(&source), &err), FM_OK);
    assert_int_equal(fm_cell_lower(cell, (struct fm_cell_batch){ .train = batch }, &p, &err), FM_OK);
    block = fm_calloc(p.storage_count + 1, sizeof *block);
    held = fm_calloc(p.storage_count + 1, sizeof *held);
    assert_true(block && held);
    for (size_t i = 0; i < p.section[FM_SECTION_VAL_FIRST]; i++) {
        const struct fm_instr *in = &p.instr[i];
        if (in->kind == FM_ALLOC) {
            int64_t bytes = p.storage[in->a].bytes;
            if (n < room && i >= p.section[FM_SECTION_TRAIN_FIRST] && bytes > 12 * MIB) {
                out[n].segment_bytes = segment(bytes), out[n].live_bytes = live;
                (void)snprintf(out[n++].label, sizeof out[0].label, "%s", p.names + p.storage[in->a].label);
            }
            assert_int_equal(fm_allocator_alloc(&a, bytes, 0, &block[in->a], &err), FM_OK);
            held[in->a] = fm_allocator_block_bytes(&a, block[in->a]);
            live += held[in->a];
        } else if (in->kind == FM_FREE) {
            fm_allocator_free(&a, block[in->a]);
            live -= held[in->a];
        } else if (in->kind == FM_MOVE) {
            block[in->a] = block[in->b], held[in->a] = held[in->b];
        }
    }
    fm_free(block);
    fm_free(held);
    fm_program_release(&p);
    fm_allocator_release(&a);
    fm_arithmetic_source_release(&source);
    return n;
}

/* 2.1's words, with sizes of our own */
static void write_message(char *text, size_t bytes, const struct allocation *a)
{
    (void)snprintf(text, bytes, "CUDA out of memory. Tried to allocate %.2f MiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 MiB is free. "
                   "Including non-PyTorch memory, this process has 7.90 GiB memory in use. Of the allocated memory %.2f MiB is allocated by PyTorch, "
                   "and 3.00 MiB is reserved by PyTorch but unallocated.", (double)a->segment_bytes / (double)MIB, (double)a->live_bytes / (double)MIB);
}

static void test_any_allocation(void **state)
{
    (void)state;
    static struct allocation all[4096];
    struct fm_cell cell = small_unet();
    char text[600];
    for (int64_t batch = 1; batch <= 7; batch += 3) {
        size_t n = collect(&cell, batch * 2, all, sizeof all / sizeof all[0]);
        assert_true(n > 5);
        for (size_t i = 0; i < 6; i++) {
            const struct allocation *a = &all[fm_rng_u64(3, (uint64_t)batch, i) % n];
            write_message(text, sizeof text, a);
            struct fm_explanation x = explain(text, &cell, 1);
            bool found = false;
            for (size_t k = 0; k < x.matches.count; k++) {
                const struct fm_match *m = &x.matches.item[k];
                assert_int_equal(m->segment_bytes, a->segment_bytes);
                if (k) assert_true(llabs(m->off_bytes) >= llabs(x.matches.item[k - 1].off_bytes));
                found |= m->batch == batch * 2 && m->scene == FM_SCENE_TRAIN && !m->off_bytes && strcmp(m->label, a->label) == 0;
            }
            if (!found) fail_msg("%s at batch %lld is not found", a->label, (long long)batch * 2);
        }
    }
}

static void test_accounts(void **state)
{
    (void)state;
    /* 24 - 2 free - 10 reserved = 12 outside; the process says 11 of them: 1 of context, 11 of others */
    struct fm_explanation x = explain("CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has a total capacity of 24.00 GiB of which 2.00 GiB is "
                                      "free. Including non-PyTorch memory, this process has 11.00 GiB memory in use. Of the allocated memory 7.00 GiB "
                                      "is allocated by PyTorch, and 3.00 GiB is reserved by PyTorch but unallocated.", NULL, 0);
    const struct fm_account *a = &x.account;
    assert_true(a->process_known && !a->others_listed && !x.searched);
    assert_true(within(&a->outside, 11.97, 12.03) && within(&a->context, 0.98, 1.02) && within(&a->others, 10.98, 11.02));
    assert_true(within(&a->unused, 2.99, 3.01));
    /* listed ones count */
    x = explain("CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has a total capacity of 24.00 GiB of which 2.00 GiB is free. Process 7 has "
                "4.00 GiB memory in use. Process 8 has 5.00 GiB memory in use. Including non-PyTorch memory, this process has 11.00 GiB memory in "
                "use. Of the allocated memory 7.00 GiB is allocated by PyTorch, and 3.00 GiB is reserved by PyTorch but unallocated.", NULL, 0);
    assert_true(x.account.others_listed && within(&x.account.others, 8.98, 9.02));
    /* nobody else can be there: nothing is left to be explained */
    x = explain("CUDA out of memory. Tried to allocate 1.00 GiB (GPU 0; 8.00 GiB total capacity; 6.90 GiB already allocated; 256.00 MiB free; 7.25 "
                "GiB reserved in total by PyTorch)", NULL, 0);
    assert_true(within(&x.account.outside, 0.4, 0.6));
    assert_true(within(&x.account.others, 0, 0.3));
    /* more allocated than there is (a driver that pages): nothing is below zero */
    x = explain("CUDA out of memory. Tried to allocate 10.73 GiB (GPU 0; 8.00 GiB total capacity; 17.20 GiB already allocated; 0 bytes free; 19.15 "
                "GiB reserved in total by PyTorch)", NULL, 0);
    assert_int_equal(x.account.outside.hi_bytes, 0);
    /* without numbers nothing is claimed */
    x = explain("cudaErrorMemoryAllocation", NULL, 0);
    assert_false(x.account.outside.known || x.account.others.known || x.account.context.known);
    struct fm_buf out = FM_BUF(1 << 14);
    fm_explain_text(&x, &out);
    assert_non_null(strstr(fm_buf_text(&out), "no numbers"));
    fm_buf_release(&out);
}

static void test_no_match(void **state)
{
    (void)state;
    struct fm_cell cell = small_unet();
    struct fm_explanation x = explain("Tried to allocate 7.77 TiB (GPU 0; 8.00 GiB total capacity; 1.00 GiB already allocated; 1.00 GiB free)", &cell, 1);
    assert_true(x.searched && !x.planned);
    assert_int_equal(x.matches.count, 0);
    struct fm_buf out = FM_BUF(1 << 14);
    fm_explain_text(&x, &out);
    assert_non_null(strstr(fm_buf_text(&out), "No tensor of this workload"));
    fm_buf_release(&out);
    x = explain("CUDA error: out of memory", &cell, 1);
    assert_false(x.searched);
}

/* what a planner of this test's own says of a cell */
static int64_t planned_bytes(const struct fm_cell *cell, struct fm_cell_batch batch)
{
    struct fm_program p = { 0 };
    struct fm_planner planner = { 0 };
    struct fm_plan plan;
    struct fm_err err = { 0 };
    assert_int_equal(fm_cell_lower(cell, batch, &p, &err), FM_OK);
    assert_int_equal(fm_planner_run(&planner, &p, NULL, INT64_MAX, &plan, &err), FM_OK);
    fm_program_release(&p);
    fm_planner_release(&planner);
    return plan.train.reserved_bytes > plan.val.reserved_bytes ? plan.train.reserved_bytes : plan.val.reserved_bytes;
}

static void test_changes(void **state)
{
    (void)state;
    static struct fm_changes c;
    struct fm_cell cell = small_unet();
    struct fm_err err = { 0 };
    struct fm_change_query q = { .cell = &cell, .batch = { .train = 8, .val = 8 } };
    int64_t all = planned_bytes(&cell, q.batch);
    q.capacity_bytes = all * 6 / 10;
    assert_int_equal(fm_changes_plan(&q, &c, &err), FM_OK);
    assert_int_equal(c.needed_bytes, all);
    assert_true(c.count > 4);
    bool checkpoint = false, batch = false, model = false;
    for (size_t i = 0; i < c.count; i++) {
        const struct fm_change *x = &c.item[i];
        assert_int_equal(x->needed_bytes, planned_bytes(&x->cell, x->batch));
        assert_true(x->needed_bytes < all);
        assert_int_equal(x->fits, x->needed_bytes <= q.capacity_bytes);
        assert_int_equal(x->kind == FM_CHANGE_MODEL, fm_cell_model_id(&x->cell) != fm_cell_model_id(&cell));
        assert_int_equal(x->kind == FM_CHANGE_MODEL, x->option[0] != '\0');
        if (i && c.item[i - 1].fits == x->fits && c.item[i - 1].kind == FM_CHANGE_MODEL) assert_int_equal(x->kind, FM_CHANGE_MODEL);
        if (i) assert_true(c.item[i - 1].fits >= x->fits);
        if (strcmp(x->text, "checkpoint=blocks") == 0) {
            checkpoint = true;
            assert_true(x->compute > 1.2 && x->compute < 1.4);      /* the forward pass of the blocks again: about a third */
        }
        if (strcmp(x->text, "batch 4 with accumulate=2") == 0) {
            batch = true;
            assert_true(x->compute > 0.999 && x->compute < 1.001);
        }
        if (strcmp(x->text, "channels=1/2") == 0) {
            model = true;
            assert_true(x->capacity > 0.2 && x->capacity < 0.6);
        }
    }
    assert_true(checkpoint && batch && model);
}

/* attention in one kernel is for half precision: in fp32 it is offered together with that, where there is attention at all */
static void test_changes_of_attention(void **state)
{
    (void)state;
    static struct fm_changes c;
    struct fm_cell cell;
    struct fm_err err = { 0 };
    fm_cell_default(&cell, &fm_segformer);
    set(&cell, "input", "256x256");
    struct fm_change_query q = { .cell = &cell, .batch = { .train = 2 }, .capacity_bytes = GIB };
    int64_t half = 0, flash = 0;
    assert_int_equal(fm_changes_plan(&q, &c, &err), FM_OK);
    for (size_t i = 0; i < c.count; i++) {
        const struct fm_change *x = &c.item[i];
        if (strcmp(x->text, "precision=bf16") == 0) half = x->needed_bytes;
        if (strcmp(x->text, "attention=flash, precision=bf16") == 0) flash = x->needed_bytes;
        assert_string_not_equal(x->text, "attention=flash");
    }
    assert_true(flash > 0 && half > flash);
    struct fm_cell unet = small_unet();
    q = (struct fm_change_query){ .cell = &unet, .batch = { .train = 2 }, .capacity_bytes = GIB };
    assert_int_equal(fm_changes_plan(&q, &c, &err), FM_OK);
    for (size_t i = 0; i < c.count; i++) assert_null(strstr(c.item[i].text, "attention"));
}

/* host memory that runs out anywhere is an error, and nothing is left behind */
static void test_faults(void **state)
{
    (void)state;
    struct fm_cell cell;
    fm_cell_default(&cell, &fm_segformer);
    set(&cell, "input", "32x32");
    static const char text[] = "Tried to allocate 2.00 MiB (GPU 0; 1.00 GiB total capacity; 50.00 MiB already allocated; 0 bytes free)";
    static struct fm_explanation x;
    struct fm_explain_query q = { .text = text, .bytes = sizeof text - 1, .cell = &cell, .cells = 1, .batch = 1 };
    long faults = 0;
    for (long n = 0;; n += 1 + n / 3) {         /* ever larger steps: there are thousands */
        struct fm_err err = { 0 };
        long live = fm_memory_live;
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        fm_status status = fm_explain(&q, &x, &err);
        long hits = fm_fault.hits;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(fm_memory_live, live);
        if (!hits) {
            assert_int_equal(status, FM_OK);
            break;
        }
        assert_int_equal(status, FM_NOMEM);
        faults++;
    }
    assert_true(faults > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_message), cmocka_unit_test(test_any_allocation), cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_no_match), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_changes_of_attention), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
