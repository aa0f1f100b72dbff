#include "workloads/program/program.h"

#include "tuner/base/hash.h"

#include <string.h>

static uint64_t hash_operand(uint64_t hash, const struct fm_operand *o)
{
    hash = fm_hash_word(hash, (uint64_t)o->storage << 16 | (uint64_t)o->dtype << 8 | o->ndim);
    hash = fm_hash_word(hash, (uint64_t)o->channels << 32 | o->spatial);
    hash = fm_hash_word(hash, (uint64_t)o->offset);
    for (int d = 0; d < o->ndim; d++)
        hash = fm_hash_word(fm_hash_word(hash, (uint64_t)o->size[d]), (uint64_t)o->stride[d]);
    return hash;
}

static uint64_t hash_attr(uint64_t hash, const struct fm_attr *attr)
{
    uint64_t words[sizeof *attr / 8];
    memcpy(words, attr, sizeof words);
    for (size_t i = 0; i < sizeof words / 8; i++) hash = fm_hash_word(hash, words[i]);
    return hash;
}

/* Names are for people and stay out; attributes go in by value, so that their numbering does not matter. */
uint64_t fm_program_hash(const struct fm_program *program)
{
    uint64_t hash = fm_hash_word(FM_HASH_INIT, (uint64_t)program->samples);
    for (int s = 0; s <= FM_SECTION_COUNT; s++) hash = fm_hash_word(hash, program->section[s]);
    for (size_t i = 0; i < program->storage_count; i++) {
        const struct fm_storage *s = &program->storage[i];
        hash = fm_hash_word(fm_hash_word(hash, (uint64_t)s->bytes), (uint64_t)s->kind << 8 | s->dtype);
    }
    for (size_t i = 0; i < program->call_count; i++) {
        const struct fm_call *c = &program->call[i];
        hash = fm_hash_word(hash, (uint64_t)c->kernel << 48 | (uint64_t)c->n_out << 24 | c->n_in);
        hash = hash_attr(hash, &program->attr[c->attr]);
        for (uint32_t k = 0; k < c->n_out + c->n_in; k++) hash = hash_operand(hash, &program->operand[c->operand + k]);
    }
    for (size_t i = 0; i < program->instr_count; i++) {
        const struct fm_instr *in = &program->instr[i];
        hash = fm_hash_word(hash, (uint64_t)in->kind << 32 | in->a);
        if (in->kind == FM_MOVE) hash = fm_hash_word(hash, in->b);
    }
    return hash;
}

static void write_operand(const struct fm_operand *o, struct fm_buf *out)
{
    if (o->storage == FM_NONE) {
        fm_buf_puts(out, " none");
        return;
    }
    fm_buf_printf(out, " %%%u:%s[", o->storage, fm_dtype_name((enum fm_dtype)o->dtype));
    for (int d = 0; d < o->ndim; d++) fm_buf_printf(out, "%s%lld", d ? "," : "", (long long)o->size[d]);
    fm_buf_putc(out, ']');
    if (!fm_operand_contiguous(o)) {
        fm_buf_puts(out, "/(");
        for (int d = 0; d < o->ndim; d++) fm_buf_printf(out, "%s%lld", d ? "," : "", (long long)o->stride[d]);
        fm_buf_putc(out, ')');
    }
    if (o->offset) fm_buf_printf(out, "+%lld", (long long)o->offset);
}

static void write_int(struct fm_buf *out, const char *name, long long value)
{
    if (value) fm_buf_printf(out, " %s=%lld", name, value);
}

static void write_triple(struct fm_buf *out, const char *name, const int32_t v[3])
{
    if (v[0] || v[1] || v[2]) fm_buf_printf(out, " %s=%d,%d,%d", name, v[0], v[1], v[2]);
}

static void write_real(struct fm_buf *out, const char *name, double value)
{
    if (value < 0 || value > 0) fm_buf_printf(out, " %s=%.17g", name, value);
}

/* only what is not zero */
static void write_attr(const struct fm_attr *a, struct fm_buf *out)
{
    write_triple(out, "stride", a->stride);
    write_triple(out, "padding", a->padding);
    write_triple(out, "dilation", a->dilation);
    write_int(out, "groups", a->groups);
    write_int(out, "transposed", a->transposed);
    write_int(out, "mode", a->mode);
    write_int(out, "dim", a->dim);
    write_int(out, "amsgrad", a->amsgrad);
    write_int(out, "decoupled", a->decoupled);
    write_int(out, "nesterov", a->nesterov);
    write_int(out, "tf32", a->tf32);
    write_int(out, "benchmark", a->benchmark);
    write_real(out, "alpha", a->alpha);
    write_real(out, "beta", a->beta);
    write_real(out, "eps", a->eps);
    write_real(out, "momentum", a->momentum);
    write_real(out, "lr", a->lr);
    write_real(out, "weight_decay", a->weight_decay);
    write_int(out, "ignore_index", (long long)a->ignore_index);
    write_int(out, "stream", (long long)a->stream);
}

static void write_call(const struct fm_program *program, uint32_t index, struct fm_buf *out)
{
    const struct fm_call *c = &program->call[index];
    fm_buf_printf(out, "call  %s", fm_kernel_name((enum fm_kernel)c->kernel));
    for (uint32_t k = 0; k < c->n_out + c->n_in; k++) {
        if (k == c->n_out) fm_buf_puts(out, " <-");
        write_operand(&program->operand[c->operand + k], out);
    }
    write_attr(&program->attr[c->attr], out);
    if (c->label) fm_buf_printf(out, " ; %s", program->names + c->label);
    fm_buf_putc(out, '\n');
}

void fm_program_write(const struct fm_program *program, struct fm_buf *out)
{
    static const char *const phases[] = { "forward", "backward", "optimizer" };
    for (int s = 0; s < FM_SECTION_COUNT; s++) {
        if (program->section[s] == program->section[s + 1]) continue;
        fm_buf_printf(out, "section %s\n", fm_section_name((enum fm_section)s));
        for (size_t i = program->section[s]; i < program->section[s + 1] && fm_buf_ok(out); i++) {
            const struct fm_instr *in = &program->instr[i];
            const struct fm_storage *storage = in->kind == FM_ALLOC ? &program->storage[in->a] : NULL;
            switch (in->kind) {
            case FM_ALLOC:
                fm_buf_printf(out, "alloc %%%u %lld %s ; %s\n", in->a, (long long)storage->bytes,
                              fm_storage_kind_name((enum fm_storage_kind)storage->kind),
                              program->names + storage->label);
                break;
            case FM_FREE: fm_buf_printf(out, "free  %%%u\n", in->a); break;
            case FM_MOVE: fm_buf_printf(out, "move  %%%u <- %%%u\n", in->a, in->b); break;
            case FM_CALL: write_call(program, in->a, out); break;
            case FM_LOSS: fm_buf_printf(out, "loss  %%%u\n", in->a); break;
            default: fm_buf_printf(out, "phase %s\n", in->a < FM_PHASE_COUNT ? phases[in->a] : "?"); break;
            }
        }
    }
}
