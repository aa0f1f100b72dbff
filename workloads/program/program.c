#include "workloads/program/program.h"

#include "tuner/base/memory.h"

#include <assert.h>
#include <string.h>

/* section[s] of a section that was not begun yet */
#define NOT_BEGUN SIZE_MAX

static const struct fm_attr zero_attr;

void fm_program_release(struct fm_program *program)
{
    fm_free(program->instr);
    fm_free(program->call);
    fm_free(program->operand);
    fm_free(program->attr);
    fm_free(program->storage);
    fm_free(program->names);
    *program = (struct fm_program){ 0 };
}

void fm_program_clear(struct fm_program *program)
{
    program->instr_count = program->call_count = program->operand_count = 0;
    program->attr_count = program->storage_count = program->name_bytes = 0;
    memset(program->section, 0, sizeof program->section);
    program->samples = 0;
    program->failed = false;
}

static void *reserve(void *items, size_t *room, size_t want, size_t item_bytes)
{
    void *grown = fm_grow(items, room, want, item_bytes);
    return grown ? grown : items;
}

void fm_program_reserve(struct fm_program *p, const struct fm_program *like)
{
    p->instr = reserve(p->instr, &p->instr_room, like->instr_count, sizeof *p->instr);
    p->call = reserve(p->call, &p->call_room, like->call_count, sizeof *p->call);
    p->operand = reserve(p->operand, &p->operand_room, like->operand_count, sizeof *p->operand);
    p->attr = reserve(p->attr, &p->attr_room, like->attr_count, sizeof *p->attr);
    p->storage = reserve(p->storage, &p->storage_room, like->storage_count, sizeof *p->storage);
    p->names = reserve(p->names, &p->name_room, like->name_bytes, 1);
}

/* room for `want` items, or NULL and a failed program; indices are 32 bits and FM_NONE is none of them */
static void *more(struct fm_program *program, void *items, size_t *room, size_t want, size_t item_bytes)
{
    void *grown = want < FM_NONE ? fm_grow(items, room, want, item_bytes) : NULL;
    if (!grown) program->failed = true;
    return grown;
}

uint32_t fm_program_storage(struct fm_program *program, struct fm_storage storage)
{
    if (program->failed) return 0;
    if (program->storage_count == program->storage_room) {
        struct fm_storage *grown = more(program, program->storage, &program->storage_room, program->storage_count + 1,
                                        sizeof *grown);
        if (!grown) return 0;
        program->storage = grown;
    }
    program->storage[program->storage_count] = storage;
    return (uint32_t)program->storage_count++;
}

static uint32_t append_name(struct fm_program *program, const char *name, size_t bytes)
{
    if (program->name_bytes + bytes > program->name_room) {
        char *grown = more(program, program->names, &program->name_room, program->name_bytes + bytes, 1);
        if (!grown) return 0;
        program->names = grown;
    }
    uint32_t at = (uint32_t)program->name_bytes;
    memcpy(program->names + at, name, bytes);
    program->name_bytes += bytes;
    return at;
}

uint32_t fm_program_name(struct fm_program *program, const char *name)
{
    if (program->failed) return 0;
    if (program->name_bytes == 0) append_name(program, "", 1);
    if (program->failed || !name || !*name) return 0;
    return append_name(program, name, strlen(name) + 1);
}

static uint32_t append_attr(struct fm_program *program, const struct fm_attr *attr)
{
    if (program->attr_count == program->attr_room) {
        struct fm_attr *grown = more(program, program->attr, &program->attr_room, program->attr_count + 1,
                                    sizeof *grown);
        if (!grown) return 0;
        program->attr = grown;
    }
    program->attr[program->attr_count] = *attr;
    return (uint32_t)program->attr_count++;
}

uint32_t fm_program_attr(struct fm_program *program, const struct fm_attr *attr)
{
    if (program->failed) return 0;
    if (program->attr_count == 0) append_attr(program, &zero_attr);
    if (program->failed || !attr || memcmp(attr, &zero_attr, sizeof *attr) == 0) return 0;
    if (memcmp(attr, &program->attr[program->attr_count - 1], sizeof *attr) == 0)
        return (uint32_t)program->attr_count - 1;
    return append_attr(program, attr);
}

void fm_program_instr(struct fm_program *program, enum fm_instr_kind kind, uint32_t a, uint32_t b)
{
    if (program->failed) return;
    if (program->instr_count == program->instr_room) {
        struct fm_instr *grown = more(program, program->instr, &program->instr_room, program->instr_count + 1,
                                      sizeof *grown);
        if (!grown) return;
        program->instr = grown;
    }
    program->instr[program->instr_count++] = (struct fm_instr){ (uint32_t)kind, a, b };
}

struct fm_operand *fm_program_operands(struct fm_program *program, size_t count)
{
    if (program->failed) return NULL;
    if (program->operand_count + count > program->operand_room) {
        struct fm_operand *grown = more(program, program->operand, &program->operand_room, program->operand_count + count, sizeof *grown);
        if (!grown) return NULL;
        program->operand = grown;
    }
    return program->operand + program->operand_count;
}

uint32_t fm_program_call(struct fm_program *program, const struct fm_call *call, const struct fm_operand *operands)
{
    if (program->failed) return 0;
    if (program->attr_count == 0) append_attr(program, &zero_attr);
    if (program->call_count == program->call_room) {
        struct fm_call *grown = more(program, program->call, &program->call_room, program->call_count + 1,
                                    sizeof *grown);
        if (!grown) return 0;
        program->call = grown;
    }
    size_t count = (size_t)call->n_out + call->n_in;
    bool in_place = operands == program->operand + program->operand_count;
    struct fm_operand *room = in_place ? program->operand + program->operand_count : fm_program_operands(program, count);
    if (program->failed) return 0;
    uint32_t index = (uint32_t)program->call_count;
    struct fm_call *added = &program->call[index];
    *added = *call;
    added->operand = (uint32_t)program->operand_count;
    if (count && !in_place) memcpy(room, operands, count * sizeof *operands);
    program->operand_count += count;
    program->call_count++;
    assert(added->attr < program->attr_count);
    struct fm_problem problem = fm_program_problem(program, index);
    added->key = fm_kernel_scratch((enum fm_kernel)call->kernel) ? fm_problem_key(&problem) : 0;
    fm_program_instr(program, FM_CALL, index, 0);
    return index;
}

void fm_program_begin(struct fm_program *program, enum fm_section section)
{
    assert(section < FM_SECTION_COUNT);
    assert(program->instr_count == 0 || program->section[section] == NOT_BEGUN || program->failed);
    program->section[section] = program->instr_count;
    for (int s = (int)section - 1; s >= 0 && program->section[s] == NOT_BEGUN; s--)
        program->section[s] = program->instr_count;
    for (int s = (int)section + 1; s <= FM_SECTION_COUNT; s++) program->section[s] = NOT_BEGUN;
}

fm_status fm_program_finish(struct fm_program *program, struct fm_err *err)
{
    (void)fm_program_name(program, NULL);       /* offset 0 and attr 0 exist in every finished program */
    (void)fm_program_attr(program, NULL);
    if (program->failed)
        return FM_FAIL(err, FM_NOMEM, "step program: no host memory after %zu instructions", program->instr_count);
    if (program->instr_count && program->section[FM_SECTION_COUNT] != NOT_BEGUN)
        return FM_FAIL(err, FM_INVALID, "step program: instructions were added before any section was begun");
    for (int s = FM_SECTION_COUNT; s >= 0 && program->section[s] == NOT_BEGUN; s--)
        program->section[s] = program->instr_count;
    return FM_OK;
}

struct fm_problem fm_program_problem(const struct fm_program *program, uint32_t call)
{
    const struct fm_call *c = &program->call[call];
    return (struct fm_problem){ .kernel = (enum fm_kernel)c->kernel, .n_out = c->n_out, .n_in = c->n_in,
                                .operand = program->operand + c->operand, .attr = program->attr + c->attr };
}
