#include "tests/support/case.h"

#include "probes/backends/ref/element.h"
#include "tuner/base/memory.h"
#include "tuner/base/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define GUARD 64
#define CANARY 0xA5

void fm_case_init(struct fm_case *c, enum fm_kernel kernel)
{
    *c = (struct fm_case){ .kernel = kernel, .seed = 1 };
}

void fm_case_release(struct fm_case *c)
{
    for (int i = 0; i < FM_CASE_OPERANDS; i++) fm_free(c->values[i]);
    *c = (struct fm_case){ 0 };
}

void fm_case_copy(struct fm_case *to, const struct fm_case *from)
{
    *to = *from;
    for (int i = 0; i < FM_CASE_OPERANDS; i++) {
        if (!from->values[i]) continue;
        to->values[i] = fm_calloc((size_t)from->elements[i], sizeof(double));
        assert(to->values[i]);
        memcpy(to->values[i], from->values[i], (size_t)from->elements[i] * sizeof(double));
    }
}

struct fm_problem fm_case_problem(const struct fm_case *c)
{
    return (struct fm_problem){ c->kernel, c->n_out, c->n_in, c->operand, &c->attr };
}

/* a fresh storage of so many elements for operand i */
static void resize(struct fm_case *c, uint32_t i, int64_t elements)
{
    bool integer = c->operand[i].dtype == FM_I64 || c->operand[i].dtype == FM_BOOL;
    fm_free(c->values[i]);
    c->values[i] = fm_calloc((size_t)elements, sizeof(double));
    assert(c->values[i]);
    c->elements[i] = elements;
    c->operand[i].storage = i;
    double unset = !integer ? (double)NAN : c->operand[i].dtype == FM_I64 ? 77 : 1;
    for (int64_t k = 0; k < elements; k++) c->values[i][k] = unset;
}

static void dense(struct fm_operand *o)
{
    int64_t stride = 1;
    for (int d = o->ndim - 1; d >= 0; d--) {
        o->stride[d] = stride;
        stride *= o->size[d];
    }
}

static uint32_t append(struct fm_case *c, bool output)
{
    assert(!output || c->n_in == 0);
    uint32_t i = c->n_out + c->n_in;
    assert(i < FM_CASE_OPERANDS);
    *(output ? &c->n_out : &c->n_in) += 1;
    c->operand[i] = (struct fm_operand){ .storage = FM_NONE };
    return i;
}

static void append_dense(struct fm_case *c, bool output, enum fm_dtype dtype, int ndim, const int64_t *size)
{
    uint32_t i = append(c, output);
    struct fm_operand *o = &c->operand[i];
    o->dtype = (uint8_t)dtype;
    o->ndim = (uint8_t)ndim;
    for (int d = 0; d < ndim; d++) o->size[d] = size[d];
    dense(o);
    resize(c, i, fm_operand_numel(o));
}

void fm_case_out(struct fm_case *c, enum fm_dtype dtype, int ndim, const int64_t *size)
{
    append_dense(c, true, dtype, ndim, size);
}

void fm_case_in(struct fm_case *c, enum fm_dtype dtype, int ndim, const int64_t *size)
{
    append_dense(c, false, dtype, ndim, size);
}

void fm_case_absent(struct fm_case *c, bool output)
{
    (void)append(c, output);
}

void fm_case_image(struct fm_case *c, uint32_t i)
{
    struct fm_operand *o = &c->operand[i];
    assert(o->ndim >= 3);
    int64_t spatial = 1;
    for (int d = 2; d < o->ndim; d++) spatial *= o->size[d];
    o->channels = (uint32_t)o->size[1];
    o->spatial = (uint32_t)spatial;
}

void fm_case_slice(struct fm_case *c, uint32_t i, int dim, int64_t start, int64_t full)
{
    struct fm_operand *o = &c->operand[i];
    assert(start + o->size[dim] <= full && o->offset == 0);
    int64_t size = o->size[dim];
    o->size[dim] = full;
    dense(o);
    if (o->channels) fm_case_image(c, i);
    resize(c, i, fm_operand_numel(o));
    o->size[dim] = size;
    o->offset = start * o->stride[dim];
}

void fm_case_expand(struct fm_case *c, uint32_t i, int dim)
{
    struct fm_operand *o = &c->operand[i];
    int64_t size = o->size[dim];
    assert(o->offset == 0);
    o->size[dim] = 1;
    int64_t stride = 1;
    for (int d = o->ndim - 1; d >= 0; d--) {
        if (o->stride[d] == 0 && d != dim) continue;    /* expanded before */
        o->stride[d] = stride;
        stride *= o->size[d];
    }
    resize(c, i, stride);
    o->size[dim] = size;
    o->stride[dim] = 0;
}

void fm_case_swap(struct fm_case *c, uint32_t i, int dim_a, int dim_b)
{
    struct fm_operand *o = &c->operand[i];
    int64_t size_a = o->size[dim_a], size_b = o->size[dim_b];
    o->size[dim_a] = size_b, o->size[dim_b] = size_a;
    dense(o);
    o->size[dim_a] = size_a, o->size[dim_b] = size_b;
    int64_t stride = o->stride[dim_a];
    o->stride[dim_a] = o->stride[dim_b], o->stride[dim_b] = stride;
}

void fm_case_share(struct fm_case *c, uint32_t i, uint32_t with)
{
    fm_free(c->values[i]);
    c->values[i] = NULL;
    c->operand[i] = c->operand[with];
}

static double rounded(enum fm_dtype dtype, double value)
{
    uint64_t element = 0;
    fm_element_store(&element, dtype, 0, value);
    return fm_element_load(&element, dtype, 0);
}

static int64_t element_of(const struct fm_operand *o, int64_t logical)
{
    int64_t at = o->offset;
    for (int d = o->ndim - 1; d >= 0; d--) {
        at += logical % o->size[d] * o->stride[d];
        logical /= o->size[d];
    }
    return at;
}

void fm_case_random(struct fm_case *c, uint32_t i, double low, double high, uint64_t seed)
{
    uint32_t s = c->operand[i].storage;
    enum fm_dtype dtype = (enum fm_dtype)c->operand[i].dtype;
    for (int64_t k = 0; k < c->elements[s]; k++) {
        double value = low + (high - low) * fm_rng_uniform_f64(seed, i, (uint64_t)k);
        c->values[s][k] = rounded(dtype, dtype == FM_BOOL ? value >= 0 : value);
    }
}

void fm_case_set_one(struct fm_case *c, uint32_t i, int64_t logical, double value)
{
    const struct fm_operand *o = &c->operand[i];
    c->values[o->storage][element_of(o, logical)] = rounded((enum fm_dtype)o->dtype, value);
}

void fm_case_set(struct fm_case *c, uint32_t i, const double *values)
{
    int64_t count = fm_operand_numel(&c->operand[i]);
    for (int64_t k = 0; k < count; k++) fm_case_set_one(c, i, k, values[k]);
}

double fm_case_get_one(const struct fm_case *c, uint32_t i, int64_t logical)
{
    return c->values[c->operand[i].storage][element_of(&c->operand[i], logical)];
}

double *fm_case_get(const struct fm_case *c, uint32_t i)
{
    int64_t count = fm_operand_numel(&c->operand[i]);
    double *values = fm_calloc((size_t)count, sizeof *values);
    for (int64_t k = 0; values && k < count; k++) values[k] = fm_case_get_one(c, i, k);
    return values;
}

/* device memory of one storage or workspace between two guards */
struct block { char *whole, *first; int64_t bytes; };

static bool block_open(struct block *block, int64_t bytes)
{
    block->whole = fm_calloc((size_t)bytes + 3 * GUARD, 1);
    if (!block->whole) return false;
    block->bytes = bytes;
    uintptr_t at = (uintptr_t)block->whole + GUARD;
    block->first = block->whole + GUARD + (GUARD - at % GUARD) % GUARD;
    memset(block->first - GUARD, CANARY, (size_t)bytes + 2 * GUARD);
    return true;
}

static bool block_intact(const struct block *block)
{
    for (int i = 0; i < GUARD; i++)
        if ((uint8_t)block->first[-1 - i] != CANARY || (uint8_t)block->first[block->bytes + i] != CANARY) return false;
    return true;
}

/* where a backend keeps element `logical` of a storage; channels 0: as it is */
static int64_t physical(const struct fm_operand *o, bool channels_last, int64_t logical)
{
    if (!channels_last || !o->channels) return logical;
    int64_t s = o->spatial, image = (int64_t)o->channels * s, within = logical % image;
    return logical - within + within % s * o->channels + within / s;
}

/* Takes what the device holds into the case; FM_MISMATCH if it changed where no output's view is. */
static fm_status take_back(struct fm_case *c, uint32_t s, const struct block *block, bool channels_last,
                           struct fm_err *err)
{
    const struct fm_operand *of = &c->operand[s];
    if (!block_intact(block)) return FM_FAIL(err, FM_MISMATCH, "wrote beyond the storage of operand %u", s);
    bool *writable = fm_calloc((size_t)c->elements[s], sizeof *writable);
    if (!writable) return FM_FAIL(err, FM_NOMEM, "operand %u: %lld elements", s, (long long)c->elements[s]);
    for (uint32_t i = 0; i < c->n_out; i++) {
        if (c->operand[i].storage != s) continue;
        int64_t count = fm_operand_numel(&c->operand[i]);
        for (int64_t k = 0; k < count; k++) writable[element_of(&c->operand[i], k)] = true;
    }
    int64_t bad = -1;
    for (int64_t k = 0; k < c->elements[s]; k++) {
        double value = fm_element_load(block->first, (enum fm_dtype)of->dtype, physical(of, channels_last, k));
        double old = c->values[s][k];
        bool same = (value <= old && value >= old) || (isnan(value) && isnan(old));
        if (!writable[k] && !same) bad = k;
        c->values[s][k] = value;
    }
    fm_free(writable);
    if (bad < 0) return FM_OK;
    return FM_FAIL(err, FM_MISMATCH, "wrote element %lld of operand %u's storage, which no output views",
                   (long long)bad, s);
}

static fm_status launch(struct fm_case *c, const struct fm_backend_ops *ops, struct fm_backend *backend,
                        struct block *blocks, struct fm_err *err)
{
    fm_status status = FM_OK;
    void *address[FM_CASE_OPERANDS] = { 0 };
    uint32_t count = c->n_out + c->n_in;
    struct block *workspace = &blocks[FM_CASE_OPERANDS];
    struct fm_candidates candidates = { 0 };
    struct fm_launch run = { .problem = fm_case_problem(c), .address = address, .seed = c->seed, .step = c->step };
    FM_TRY(ops->candidates(backend, &run.problem, &candidates, err));
    if (candidates.count) {
        if (c->candidate >= candidates.count)
            return FM_FAIL(err, FM_INVALID, "candidate %u of %u", c->candidate, candidates.count);
        run.candidate = c->candidate;
        run.workspace_bytes = candidates.item[c->candidate].workspace_bytes;
        memcpy(c->what, candidates.item[c->candidate].what, sizeof c->what);
    } else {
        run.workspace_bytes = candidates.kept_bytes;
    }
    c->workspace_bytes = run.workspace_bytes;
    if (!block_open(workspace, run.workspace_bytes)) return FM_FAIL(err, FM_NOMEM, "workspace");
    run.workspace = run.workspace_bytes ? workspace->first : NULL;
    for (uint32_t i = 0; i < count; i++)
        if (c->operand[i].storage != FM_NONE) address[i] = blocks[c->operand[i].storage].first;
    FM_TRY(ops->run(backend, &run, err));
    FM_TRY(ops->synchronize(backend, err));
    if (!block_intact(workspace)) status = FM_FAIL(err, FM_MISMATCH, "wrote beyond its workspace");
out:
    return status;
}

fm_status fm_case_run(struct fm_case *c, const struct fm_backend_ops *ops, struct fm_backend *backend,
                      struct fm_err *err)
{
    fm_status status = FM_OK;
    struct block blocks[FM_CASE_OPERANDS + 1] = { 0 };
    uint32_t count = c->n_out + c->n_in;
    for (uint32_t s = 0; s < count; s++) {
        const struct fm_operand *o = &c->operand[s];
        if (o->storage != s) continue;
        if (!block_open(&blocks[s], c->elements[s] * fm_dtype_bytes((enum fm_dtype)o->dtype)))
            FM_TRY(FM_FAIL(err, FM_NOMEM, "operand %u", s));
        for (int64_t k = 0; k < c->elements[s]; k++)
            fm_element_store(blocks[s].first, (enum fm_dtype)o->dtype, physical(o, ops->channels_last, k),
                             c->values[s][k]);
    }
    FM_TRY(launch(c, ops, backend, blocks, err));
    for (uint32_t s = 0; s < count; s++)
        if (c->operand[s].storage == s) FM_TRY(take_back(c, s, &blocks[s], ops->channels_last, err));
out:
    for (int i = 0; i <= FM_CASE_OPERANDS; i++) fm_free(blocks[i].whole);
    return status;
}

double fm_case_difference(const struct fm_case *a, const struct fm_case *b, uint32_t i)
{
    double error = 0, norm = 0;
    int64_t count = fm_operand_numel(&b->operand[i]);
    for (int64_t k = 0; k < count; k++) {
        double x = fm_case_get_one(a, i, k), y = fm_case_get_one(b, i, k);
        if (isnan(x) && isnan(y)) continue;
        if (x <= y && x >= y) {
            norm += isfinite(y) ? y * y : 0;
            continue;
        }
        if (!isfinite(x) || !isfinite(y)) return INFINITY;
        error += (x - y) * (x - y);
        norm += y * y;
    }
    return norm > 0 ? sqrt(error / norm) : sqrt(error);
}
