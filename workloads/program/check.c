#include "workloads/program/program.h"

#include "tuner/base/memory.h"

#include <string.h>

static const char *name_at(const struct fm_program *program, uint32_t label)
{
    return label < program->name_bytes ? program->names + label : "?";
}

/* last element of a view, -1 if it has none; false: negative or overflowing */
static bool view_last(const struct fm_operand *o, int64_t *last)
{
    int64_t at = o->offset;
    bool empty = false;
    if (o->offset < 0) return false;
    for (int d = 0; d < o->ndim; d++) {
        int64_t step;
        if (o->size[d] < 0 || o->stride[d] < 0) return false;
        if (o->size[d] == 0) empty = true;
        else if (__builtin_mul_overflow(o->size[d] - 1, o->stride[d], &step) || __builtin_add_overflow(at, step, &at))
            return false;
    }
    *last = empty ? -1 : at;
    return true;
}

static fm_status check_operand(const struct fm_program *program, const struct fm_call *call, uint32_t index,
                               struct fm_err *err)
{
    const struct fm_operand *o = &program->operand[call->operand + index];
    const char *label = name_at(program, call->label), *kernel = fm_kernel_name((enum fm_kernel)call->kernel);
    if (o->dtype >= FM_DTYPE_COUNT || o->ndim > FM_MAX_DIMS)
        return FM_FAIL(err, FM_INVALID, "%s '%s', operand %u: dtype %u or %u dimensions (at most %d) out of range",
                       kernel, label, index, o->dtype, o->ndim, FM_MAX_DIMS);
    if (o->storage == FM_NONE) return FM_OK;
    if (o->storage >= program->storage_count)
        return FM_FAIL(err, FM_INVALID, "%s '%s', operand %u: storage %u of %zu", kernel, label, index, o->storage,
                       program->storage_count);
    const struct fm_storage *storage = &program->storage[o->storage];
    int64_t width = fm_dtype_bytes((enum fm_dtype)o->dtype), last;
    if (width != fm_dtype_bytes((enum fm_dtype)storage->dtype))
        return FM_FAIL(err, FM_INVALID, "%s '%s', operand %u: %s view of a storage of %s", kernel, label, index,
                       fm_dtype_name((enum fm_dtype)o->dtype), fm_dtype_name((enum fm_dtype)storage->dtype));
    if (!view_last(o, &last) || last >= storage->bytes / width)
        return FM_FAIL(err, FM_INVALID, "%s '%s', operand %u: the view leaves its storage %u of %lld bytes", kernel,
                       label, index, o->storage, (long long)storage->bytes);
    uint64_t image = (uint64_t)o->channels * o->spatial, elements = (uint64_t)(storage->bytes / width);
    if ((o->channels == 0) != (o->spatial == 0) || (image && elements % image))
        return FM_FAIL(err, FM_INVALID, "%s '%s', operand %u: storage %u is no whole number of %u x %u images", kernel,
                       label, index, o->storage, o->channels, o->spatial);
    return FM_OK;
}

static fm_status check_tables(const struct fm_program *program, struct fm_err *err)
{
    fm_status status = FM_OK;
    if (program->failed) return FM_FAIL(err, FM_INVALID, "step program: it was never finished, host memory ran out");
    if (!program->name_bytes || program->names[0] || program->names[program->name_bytes - 1])
        return FM_FAIL(err, FM_INVALID, "step program: its names do not begin with the empty one or are cut off");
    static const struct fm_attr zero;
    if (!program->attr_count || memcmp(program->attr, &zero, sizeof zero))
        return FM_FAIL(err, FM_INVALID, "step program: attribute 0 is missing or not zero");
    for (size_t i = 0; i < program->storage_count; i++) {
        const struct fm_storage *s = &program->storage[i];
        if (s->bytes < 0 || s->kind >= FM_STORAGE_KIND_COUNT || s->dtype >= FM_DTYPE_COUNT ||
            s->label >= program->name_bytes)
            return FM_FAIL(err, FM_INVALID, "storage %zu: bytes %lld, kind %u, dtype %u or label %u out of range", i,
                           (long long)s->bytes, s->kind, s->dtype, s->label);
    }
    for (size_t i = 0; i < program->call_count; i++) {
        const struct fm_call *c = &program->call[i];
        uint64_t end = (uint64_t)c->operand + c->n_out + c->n_in;
        if (c->kernel >= FM_KERNEL_COUNT || c->attr >= program->attr_count || c->label >= program->name_bytes ||
            end > program->operand_count)
            return FM_FAIL(err, FM_INVALID, "call %zu: kernel %u, attribute %u, label %u, operands %u+%u out of range",
                           i, c->kernel, c->attr, c->label, c->n_out, c->n_in);
        for (uint32_t k = 0; k < c->n_out + c->n_in; k++) FM_TRY(check_operand(program, c, k, err));
        struct fm_problem problem = fm_program_problem(program, (uint32_t)i);
        if (c->key != (fm_kernel_scratch(problem.kernel) ? fm_problem_key(&problem) : 0))
            return FM_FAIL(err, FM_INVALID, "call %zu (%s '%s'): its key is not that of its problem", i,
                           fm_kernel_name(problem.kernel), name_at(program, c->label));
    }
out:
    return status;
}

/* one instruction over the set of filled storages; FM_INVALID with the reason, without saying where */
static fm_status step(const struct fm_program *program, const struct fm_instr *instr, uint8_t *live,
                      struct fm_err *why)
{
    uint32_t a = instr->a, b = instr->b;
    bool of_storage = instr->kind <= FM_MOVE;
    if (of_storage && (a >= program->storage_count || (instr->kind == FM_MOVE && b >= program->storage_count)))
        return FM_FAIL(why, FM_INVALID, "storage %u or %u of %zu", a, b, program->storage_count);
    switch (instr->kind) {
    case FM_ALLOC:
        if (live[a]) return FM_FAIL(why, FM_INVALID, "storage %u is filled already", a);
        live[a] = 1;
        return FM_OK;
    case FM_FREE:
        if (!live[a]) return FM_FAIL(why, FM_INVALID, "storage %u is freed while empty", a);
        live[a] = 0;
        return FM_OK;
    case FM_MOVE:
        if (live[a] || !live[b] || program->storage[a].bytes != program->storage[b].bytes)
            return FM_FAIL(why, FM_INVALID, "storage %u cannot take what %u holds: it must be empty, the other filled, "
                           "and both of one size", a, b);
        live[a] = 1;
        live[b] = 0;
        return FM_OK;
    case FM_CALL:
        if (a >= program->call_count)
            return FM_FAIL(why, FM_INVALID, "call %u of %zu", a, program->call_count);
        for (uint32_t k = 0; k < program->call[a].n_out + program->call[a].n_in; k++) {
            uint32_t s = program->operand[program->call[a].operand + k].storage;
            if (s != FM_NONE && !live[s])
                return FM_FAIL(why, FM_INVALID, "%s '%.60s' uses storage %u (operand %u), which is empty",
                           fm_kernel_name((enum fm_kernel)program->call[a].kernel),
                           name_at(program, program->call[a].label), s, k);
        }
        return FM_OK;
    case FM_LOSS:
        if (a >= program->storage_count || !live[a])
            return FM_FAIL(why, FM_INVALID, "the loss is read from storage %u, which is empty", a);
        return FM_OK;
    case FM_PHASE:
        return a < FM_PHASE_COUNT ? FM_OK : FM_FAIL(why, FM_INVALID, "phase %u", a);
    default:
        return FM_FAIL(why, FM_INVALID, "no such instruction: %u", instr->kind);
    }
}

static fm_status check_same(const struct fm_program *program, const uint8_t *before, const uint8_t *after,
                            const char *what, struct fm_err *err)
{
    for (size_t i = 0; i < program->storage_count; i++)
        if (before[i] != after[i])
            return FM_FAIL(err, FM_INVALID, "%s cannot follow: storage %zu ('%s') was %s and is now %s", what, i,
                           name_at(program, program->storage[i].label), before[i] ? "filled" : "empty",
                           after[i] ? "filled" : "empty");
    return FM_OK;
}

/* live, then what was live when the repeated section and TRAIN began: three rows of storage_count */
static fm_status check_walk(const struct fm_program *program, uint8_t *live, struct fm_err *err)
{
    size_t count = program->storage_count;
    uint8_t *start = live + count, *train = start + count;
    for (int s = 0; s < FM_SECTION_COUNT; s++) {
        const char *name = fm_section_name((enum fm_section)s);
        if (count) memcpy(start, live, count);
        if (s == FM_SECTION_TRAIN && count) memcpy(train, live, count);
        for (size_t i = program->section[s]; i < program->section[s + 1]; i++) {
            struct fm_err why = { 0 };
            if (step(program, &program->instr[i], live, &why) != FM_OK)
                return FM_FAIL(err, FM_INVALID, "step program, section %s, instruction %zu: %.300s", name, i, why.text);
        }
        bool repeated = s == FM_SECTION_TRAIN || s == FM_SECTION_VAL;
        if (repeated && check_same(program, start, live, name, err) != FM_OK) return FM_INVALID;
    }
    return check_same(program, train, live, "train after val_exit", err);
}

fm_status fm_program_check(const struct fm_program *program, struct fm_err *err)
{
    fm_status status = check_tables(program, err);
    if (status != FM_OK) return status;
    if (program->section[0] != 0 || program->section[FM_SECTION_COUNT] != program->instr_count)
        return FM_FAIL(err, FM_INVALID, "step program: its sections do not cover its %zu instructions",
                       program->instr_count);
    for (int s = 0; s < FM_SECTION_COUNT; s++)
        if (program->section[s] > program->section[s + 1])
            return FM_FAIL(err, FM_INVALID, "step program: section %s ends before it begins",
                           fm_section_name((enum fm_section)s));
    uint8_t *live = fm_calloc(program->storage_count, 3);
    if (!live)
        return FM_FAIL(err, FM_NOMEM, "step program: no host memory to check %zu storages", program->storage_count);
    status = check_walk(program, live, err);
    fm_free(live);
    return status;
}
