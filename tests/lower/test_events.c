/* The lowering against PyTorch, event by event: every allocation and every free of the recorded steps, in order.
 *
 * Storages are known by the order of their birth. Frees that follow each other are compared as a set: their order
 * changes nothing in an allocator, and that of autocast's cache is a hash order (rule 60).
 *
 * Where the recorded script and our networks differ on purpose, the part that is the same is compared:
 *   accumulate  our loss is divided by the number of passes, the script's is not: the two scalars a pass that the
 *               division takes are left out of our list
 *   val         the script keeps its output until the step ends, our plain loop until its last use: where the output
 *               dies is left out of both lists. SegFormer's metric there is the loss, ours is F1 beside it: what F1
 *               takes is left out of ours
 *   loader      the script's function ends after the last step and frees its variables; a program has no end: what is
 *               then alive and not the model's is added to our list as freed */
#include "tests/lower/support_torch.h"

#include "tuner/base/memory.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ROUND 512
#define MAX_OUTPUTS 2               /* one a step */

struct event {
    bool birth;
    uint32_t id;                    /* storage, by order of birth */
    int64_t bytes;                  /* births */
    char what[64];                  /* births: who made it */
};

struct events {
    struct event *item;
    size_t count, room;
    struct torch_case options;
    uint32_t output[MAX_OUTPUTS], outputs;      /* storages whose death is left out */
};

static struct event *append(struct events *e)
{
    struct event *grown = fm_grow(e->item, &e->room, e->count + 1, sizeof *grown);
    assert_non_null(grown);
    e->item = grown;
    e->item[e->count] = (struct event){ 0 };
    return &e->item[e->count++];
}

/* ---- PyTorch's list ---- */

static void read_line(const char *line, bool deletes_output, struct events *out)
{
    uint32_t id = 0;
    int64_t bytes = 0;
    char what[64] = "";
    if (sscanf(line, "A %" SCNu32 " %" SCNd64 " %63s", &id, &bytes, what) == 3) {
        struct event *e = append(out);
        *e = (struct event){ .birth = true, .id = id, .bytes = bytes };
        memcpy(e->what, what, sizeof e->what);
    } else if (sscanf(line, "F %" SCNu32, &id) == 1) {
        if (!deletes_output) {
            append(out)->id = id;
        } else {
            assert_true(out->outputs < MAX_OUTPUTS);
            out->output[out->outputs++] = id;
        }
    } else if (line[0] != '#') {
        fail_msg("no event: %s", line);
    }
}

static void read_torch(const char *name, struct events *out)
{
    char path[512], line[1024];
    (void)snprintf(path, sizeof path, "%s/torch_events_%s.txt", FM_TEST_DATA_DIR, name);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("no %s", path);
    bool deletes_output = false;
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        if (number == 2) torch_case_parse(&out->options, line);
        if (line[0] == '#') deletes_output = strncmp(line, "# delete out", 12) == 0;
        read_line(line, deletes_output, out);
    }
    (void)fclose(file);
}

/* ---- ours ---- */

static bool left_out(const struct torch_case *options, const char *what)
{
    if (torch_case_is(options, "network", "segformer") && strncmp(what, "val.", 4) == 0) return true;
    return strcmp(what, "accumulate.divide") == 0;
}

static bool is_output(const struct events *torch, uint32_t id)
{
    for (uint32_t i = 0; i < torch->outputs; i++)
        if (torch->output[i] == id) return true;
    return false;
}

/* storages of the loop around the steps: what lives after them and is not the model's */
static bool is_variable(const struct fm_storage *s)
{
    return s->kind == FM_STORAGE_ACTIVATION || s->kind == FM_STORAGE_INPUT;
}

static void read_program(const struct fm_program *p, const struct events *torch, struct events *out)
{
    uint32_t *birth = fm_calloc(p->storage_count + 1, sizeof *birth), next = 1;    /* 0: empty */
    assert_non_null(birth);
    for (size_t i = 0; i < p->section[FM_SECTION_VAL_EXIT]; i++) {
        const struct fm_instr *instr = &p->instr[i];
        if (instr->kind == FM_MOVE) {
            birth[instr->a] = birth[instr->b];
            birth[instr->b] = 0;
        }
        if (instr->kind != FM_ALLOC && instr->kind != FM_FREE) continue;
        const struct fm_storage *s = &p->storage[instr->a];
        if (left_out(&torch->options, p->names + s->label)) continue;
        struct event e = { .birth = instr->kind == FM_ALLOC };
        if (e.birth) birth[instr->a] = next++;
        e.id = birth[instr->a] - 1;
        e.bytes = e.birth ? (s->bytes + ROUND - 1) / ROUND * ROUND : 0;
        (void)snprintf(e.what, sizeof e.what, "%s", p->names + s->label);
        if (!e.birth) birth[instr->a] = 0;
        if (e.birth || !is_output(torch, e.id)) *append(out) = e;
    }
    for (size_t i = 0; i < p->storage_count; i++)
        if (birth[i] && torch_case_is(&torch->options, "loop", "loader") && is_variable(&p->storage[i]))
            append(out)->id = birth[i] - 1;
    fm_free(birth);
}

/* ---- comparison ---- */

static int by_id(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* frees that follow each other: sorted */
static void settle(struct events *e)
{
    for (size_t i = 0; i < e->count;) {
        size_t end = i;
        while (end < e->count && !e->item[end].birth) end++;
        qsort(e->item + i, end - i, sizeof *e->item, by_id);
        i = end + 1;
    }
}

static bool same(const struct event *a, const struct event *b)
{
    return a->birth == b->birth && a->id == b->id && a->bytes == b->bytes;
}

static const struct event *birth_of(const struct events *e, uint32_t id)
{
    for (size_t i = 0; i < e->count; i++)
        if (e->item[i].birth && e->item[i].id == id) return &e->item[i];
    return NULL;
}

static void print_event(const struct events *list, size_t i)
{
    if (i >= list->count) {
        print_error("%-44s", "-");
        return;
    }
    const struct event *e = &list->item[i], *made = birth_of(list, e->id);
    char text[128];
    (void)snprintf(text, sizeof text, "%s %u %" PRId64 " %s", e->birth ? "+" : "-", e->id, e->bytes,
                   made ? made->what : "?");
    print_error("%-44s", text);
}

static void compare(const char *name, struct events *torch, struct events *ours)
{
    settle(torch);
    settle(ours);
    size_t i = 0;
    while (i < torch->count && i < ours->count && same(&torch->item[i], &ours->item[i])) i++;
    if (i == torch->count && i == ours->count) {
        print_message("%-28s %zu events\n", name, i);
        return;
    }
    print_error("%s: first difference at event %zu of %zu (torch) and %zu (ours)\n", name, i, torch->count,
                ours->count);
    for (size_t k = i > 8 ? i - 8 : 0; k < i + 16; k++) {
        print_error(k == i ? "> " : "  ");
        print_event(torch, k);
        print_event(ours, k);
        print_error("\n");
    }
    fail_msg("%s differs from PyTorch", name);
}

static void release(struct events *e)
{
    fm_free(e->item);
    *e = (struct events){ 0 };
}

static void check_case(const char *name)
{
    struct events torch = { 0 }, ours = { 0 };
    struct fm_program program = { 0 };
    read_torch(name, &torch);
    torch_case_lower(&torch.options, &program);
    read_program(&program, &torch, &ours);
    compare(name, &torch, &ours);
    release(&torch);
    release(&ours);
    fm_program_release(&program);
}

/* ---- layouts ---- */

#define LAYOUTS_BYTES 8192

/* how the image-like result lies that a call writes first: tests/reference/fake_device.py, layout_of; '-' otherwise */
static char layout_of(const struct fm_operand *o)
{
    int64_t next = 1, last = o->ndim > 1 ? o->size[1] : 0;
    bool contiguous = true, channels_last = o->ndim > 3 && (o->size[1] == 1 || o->stride[1] == 1);
    if (o->ndim < 4) return '-';
    for (int d = o->ndim - 1; d >= 0; d--) {
        contiguous = contiguous && (o->size[d] == 1 || o->stride[d] == next);
        next *= o->size[d];
        if (d == 1) continue;
        channels_last = channels_last && (o->size[d] == 1 || o->stride[d] == last);
        last *= o->size[d];
    }
    return "oclb"[contiguous + 2 * channels_last];
}

/* by order of birth: of the first call that writes the storage */
static size_t layouts_of(const struct fm_program *p, char out[LAYOUTS_BYTES])
{
    size_t births = 0, *birth = fm_calloc(p->storage_count + 1, sizeof *birth);
    assert_non_null(birth);
    for (size_t i = 0; i < p->section[FM_SECTION_VAL_EXIT]; i++) {
        const struct fm_instr *instr = &p->instr[i];
        if (instr->kind == FM_MOVE) birth[instr->a] = birth[instr->b];
        if (instr->kind == FM_ALLOC) {
            assert_true(births < LAYOUTS_BYTES);
            out[births++] = 0;
            birth[instr->a] = births;
        }
        if (instr->kind != FM_CALL) continue;
        const struct fm_call *call = &p->call[instr->a];
        for (uint32_t k = 0; k < call->n_out; k++) {
            const struct fm_operand *o = &p->operand[call->operand + k];
            if (o->storage == FM_NONE || !birth[o->storage] || out[birth[o->storage] - 1]) continue;
            /* fake tensors make this one contiguous by a rule of the compiler's decompositions, not of the kernel */
            bool other = call->kernel == FM_K_INTERPOLATE && o->size[1] < 16;
            out[birth[o->storage] - 1] = other ? '-' : layout_of(o);
        }
    }
    fm_free(birth);
    return births;
}

/* Strides decide what kernels copy (rule 42), which no event shows: so they are compared too, where both sides see an image. */
static void check_layouts(const char *name, const char *torch, size_t *compared)
{
    static char ours[LAYOUTS_BYTES];
    struct events events = { 0 };
    struct fm_program program = { 0 };
    read_torch(name, &events);
    torch_case_lower(&events.options, &program);
    size_t births = layouts_of(&program, ours);
    for (size_t i = 0; i < births && i < strcspn(torch, "\n"); i++) {
        bool image = ours[i] && ours[i] != '-' && torch[i] != '-';
        *compared += image && torch[i] != 'b';
        if (image && ours[i] != torch[i]) fail_msg("%s: storage %zu is '%c', in PyTorch '%c'", name, i, ours[i], torch[i]);
    }
    release(&events);
    fm_program_release(&program);
}

static void layouts(void **state)
{
    (void)state;
    char line[LAYOUTS_BYTES], name[64];
    int cases = 0, at = 0;
    FILE *file = fopen(FM_TEST_DATA_DIR "/torch_layouts.txt", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        size_t compared = 0;
        assert_int_equal(sscanf(line, "%63s %n", name, &at), 1);
        if (!strstr(name, "_val_")) check_layouts(name, line + at, &compared);      /* of val, events differ in the metrics */
        print_message("%-40s %zu layouts\n", name, compared);
        assert_true(compared > 100 || strstr(name, "_val_"));
        cases++;
    }
    (void)fclose(file);
    assert_int_equal(cases, 7);
}

#define CASES(X) X(unet_fp32) X(unet_fp16) X(unet_bf16) X(unet_fp32_checkpoint) X(unet_fp16_checkpoint) \
    X(unet_fp32_accumulate) X(unet_fp32_fused) X(unet_fp32_batch1) X(unet_fp32_loader) X(segformer_fp32) X(segformer_fp16) \
    X(segformer_bf16) X(segformer_fp32_checkpoint) X(segformer_fp16_checkpoint) X(segformer_fp32_accumulate) \
    X(segformer_fp32_fused) X(segformer_fp32_batch1) X(segformer_fp32_loader) X(unet_fp32_val) X(unet_fp16_val) \
    X(segformer_fp32_val) X(segformer_fp16_val) X(unet_bf16_channels_last) \
    X(unet_fp16_checkpoint_channels_last) X(segformer_fp32_channels_last) X(segformer_bf16_channels_last) \
    X(segformer_fp32_batch1_channels_last) X(segformer_fp16_checkpoint_channels_last) X(segformer_fp32_val_channels_last) \
    X(segformer_fp16_flash) X(segformer_bf16_flash_checkpoint) X(segformer_bf16_flash_loader) X(segformer_fp16_flash_batch1) \
    X(segformer_fp16_flash_accumulate) X(segformer_fp16_flash_val)
#define X(name) static void name(void **state) { (void)state; check_case(#name); }
CASES(X)
#undef X

int main(void)
{
#define X(name) cmocka_unit_test(name),
    const struct CMUnitTest tests[] = { CASES(X) cmocka_unit_test(layouts) };
#undef X
    return cmocka_run_group_tests(tests, NULL, NULL);
}
