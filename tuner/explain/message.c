#include "tuner/explain/message.h"

#include "tuner/explain/scan.h"

#include <stdio.h>
#include <string.h>

const char *fm_oom_kind_name(enum fm_oom_kind kind)
{
    static const char *const names[] = {
#define X(name, text, title) text,
        FM_OOM_KIND_LIST(X)
#undef X
    };
    return kind < FM_OOM_KIND_COUNT ? names[kind] : "?";
}

const char *fm_oom_kind_title(enum fm_oom_kind kind)
{
    static const char *const titles[] = {
#define X(name, text, title) title,
        FM_OOM_KIND_LIST(X)
#undef X
    };
    return kind < FM_OOM_KIND_COUNT ? titles[kind] : "?";
}

/* the first one counts */
static void keep(struct fm_oom_size *have, const struct fm_oom_size *size)
{
    if (!have->known) *have = *size;
}

/* "1.56 GiB free" */
static bool size_then(struct fm_scan *s, const char *words, struct fm_oom_size *out)
{
    struct fm_oom_size size;
    size_t start = s->at;
    if (fm_scan_size(s, &size) && fm_scan_next(s, words)) {
        keep(out, &size);
        return true;
    }
    s->at = start;
    return false;
}

/* "of which 892.25 MiB" after the words */
static bool then_size(struct fm_scan *s, const char *words, struct fm_oom_size *out)
{
    struct fm_oom_size size;
    size_t start = s->at;
    if (fm_scan_next(s, words) && fm_scan_size(s, &size)) {
        keep(out, &size);
        return true;
    }
    s->at = start;
    return false;
}

/* ---- PyTorch ---- */

/* after "(": "GPU 0; 31.73 GiB total capacity; ...)" */
static void pytorch_list(struct fm_scan *s, struct fm_oom *m)
{
    int64_t device;
    struct fm_oom_size cached = { 0 };
    if (!fm_scan_next(s, "GPU ") || !fm_scan_integer(s, &device)) return;
    m->device = device;
    bool more = true, whole = false;
    while (more && fm_scan_next(s, ";")) {
        more = size_then(s, "total capacity", &m->capacity) || size_then(s, "already allocated", &m->allocated) ||
               size_then(s, "free", &m->free) || size_then(s, "allowed", &m->allowed) ||
               size_then(s, "reserved in total by PyTorch", &m->reserved) || size_then(s, "cached", &cached);
    }
    whole = fm_scan_next(s, ")");
    keep(&m->unused, &cached);
    if (whole) s->cut = false;
}

static void pytorch_process(struct fm_scan *s, struct fm_oom *m, int64_t pid)
{
    struct fm_oom_process p = { .pid = pid };
    if (fm_scan_size(s, &p.used) && fm_scan_next(s, "memory in use.") && m->processes < FM_OOM_PROCESSES_MAX) m->process[m->processes++] = p;
}

/* after "GPU": "0 has a total capacity of ... Of the allocated memory ..." */
static void pytorch_sentences(struct fm_scan *s, struct fm_oom *m)
{
    int64_t number;
    if (!fm_scan_integer(s, &number)) return;
    m->device = number;
    if (!then_size(s, "has a total capacty of", &m->capacity)) (void)then_size(s, "has a total capacity of", &m->capacity);
    if (then_size(s, "of which", &m->free)) (void)fm_scan_next(s, "is free.");
    else (void)fm_scan_next(s, ".");
    for (bool more = true; more;) {
        if (fm_scan_next(s, "Process ") && fm_scan_integer(s, &number)) more = fm_scan_next(s, "has");
        else more = fm_scan_next(s, "Including non-PyTorch memory, this process has"), number = -1;
        if (more) pytorch_process(s, m, number);
    }
    if (size_then(s, "allowed;", &m->allowed)) s->cut = false;
    if (!then_size(s, "Of the allocated memory", &m->allocated)) return;
    if (then_size(s, "is allocated by PyTorch, with", &m->private_pools)) (void)fm_scan_next(s, "allocated in private pools (e.g., CUDA Graphs),");
    else (void)fm_scan_next(s, "is allocated by PyTorch,");
    if (then_size(s, "and", &m->unused) && fm_scan_next(s, "is reserved by PyTorch but unallocated")) s->cut = false;
}

/* after "Tried to allocate" */
static void pytorch_body(struct fm_scan *s, struct fm_oom *m)
{
    if (!fm_scan_size(s, &m->requested)) return;
    if (fm_scan_next(s, "(")) pytorch_list(s, m);
    else if (fm_scan_next(s, ". GPU ")) pytorch_sentences(s, m);
}

static void pytorch(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_PYTORCH;
    if (fm_scan_next(s, "Tried to allocate")) pytorch_body(s, m);
}

static void pytorch_bare(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_PYTORCH;
    pytorch_body(s, m);
}

/* "(MPS allocated: 17.52 GB, other allocations: 380.22 MB, max allowed: 18.13 GB). Tried to allocate 320.31 MB on" */
static void pytorch_mps(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_PYTORCH_MPS;
    if (!then_size(s, "(MPS allocated:", &m->allocated)) return;
    if (!then_size(s, ", other allocations:", &m->other)) return;
    if (!then_size(s, ", max allowed:", &m->allowed) || !fm_scan_next(s, ").")) return;
    if (then_size(s, "Tried to allocate", &m->requested)) s->cut = false;
}

static void pytorch_cpu(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_PYTORCH_CPU;
    if (!fm_scan_next(s, "can't allocate memory:") && !fm_scan_next(s, "not enough memory:")) return;
    if (fm_scan_next(s, "you tried to allocate") && fm_scan_bytes(s, &m->requested)) s->cut = false;
}

/* ---- TensorFlow ---- */

static int64_t element_bytes(const char *dtype)
{
    static const struct { const char *name; int64_t bytes; } types[] = {
        { "float", 4 }, { "double", 8 }, { "half", 2 }, { "bfloat16", 2 }, { "int8", 1 }, { "uint8", 1 }, { "bool", 1 },
        { "int16", 2 }, { "int32", 4 }, { "int64", 8 }, { "complex64", 8 },
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(dtype, types[i].name) == 0) return types[i].bytes;
    return 0;
}

/* what the shape and type amount to; unknown if that is no size */
static void size_of_shape(struct fm_oom *m)
{
    int64_t bytes = element_bytes(m->dtype);
    for (uint32_t i = 0; i < m->dims && bytes; i++) {
        if (m->shape[i] && bytes > (INT64_C(1) << 60) / m->shape[i]) return;
        bytes *= m->shape[i];
    }
    if (bytes) m->requested = (struct fm_oom_size){ .known = true, .bytes = bytes, .lo_bytes = bytes, .hi_bytes = bytes };
}

/* "[32,64,112,112] and type float on /job:localhost/.../device:GPU:0 by allocator" */
static void tensorflow_shape(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_TENSORFLOW;
    if (!fm_scan_next(s, "[")) return;
    while (m->dims < FM_OOM_DIMS_MAX && fm_scan_integer(s, &m->shape[m->dims])) {
        m->dims++;
        if (!fm_scan_next(s, ",")) break;
    }
    if (!fm_scan_next(s, "]")) {
        m->dims = 0;
        return;
    }
    if (!fm_scan_next(s, "and type ")) return;
    size_t n = 0;
    while (s->at + n < s->bytes && s->text[s->at + n] > ' ' && n + 1 < sizeof m->dtype) n++;
    if (s->at + n == s->bytes) return;
    (void)snprintf(m->dtype, sizeof m->dtype, "%.*s", (int)n, s->text + s->at);
    s->at += n;
    s->cut = false;
    size_of_shape(m);
}

/* "1.17GiB (rounded to 1258291200)requested by op" or "1.17GiB with freed_by_count=0." */
static void tensorflow_allocator(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_TENSORFLOW;
    if (!fm_scan_size(s, &m->requested)) return;
    struct fm_oom_size rounded = { 0 };
    if (fm_scan_next(s, "(rounded to") && fm_scan_bytes(s, &rounded)) m->requested = rounded;
    s->cut = false;
}

/* "Limit: 11330115994 InUse: 11329834752 MaxInUse: ..." */
static void tensorflow_stats(struct fm_scan *s, struct fm_oom *m)
{
    struct fm_oom_size size = { 0 };
    m->kind = FM_OOM_TENSORFLOW;
    if (fm_scan_bytes(s, &size)) m->allowed = size;
    if (fm_scan_next(s, "InUse:") && fm_scan_bytes(s, &size)) m->allocated = size, s->cut = false;
}

/* ---- XLA ---- */

static void xla(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_XLA;
    if (fm_scan_bytes(s, &m->requested)) s->cut = false;
}

/* "2.20G (2362232012 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY", "8.00GiB (8589934592B) on device ordinal 0" */
static void xla_device(struct fm_scan *s, struct fm_oom *m)
{
    struct fm_oom_size exact = { 0 };
    int64_t device;
    m->kind = FM_OOM_XLA;
    if (!fm_scan_size(s, &m->requested)) return;
    if (fm_scan_next(s, "(") && fm_scan_size(s, &exact) && exact.known) m->requested = exact;
    (void)fm_scan_next(s, ")");
    if (fm_scan_next(s, "on device ordinal ") && fm_scan_integer(s, &device)) m->device = device;
    s->cut = false;
}

static void xla_parameters(struct fm_scan *s, struct fm_oom *m)
{
    struct fm_oom_size skipped = { 0 };
    m->kind = FM_OOM_XLA;
    if (!fm_scan_size(s, &m->parameters)) return;
    (void)then_size(s, "constant allocation:", &skipped);
    (void)then_size(s, "maybe_live_out allocation:", &skipped);
    (void)then_size(s, "preallocated temp allocation:", &m->temporaries);
    if (then_size(s, "total allocation:", &m->total)) s->cut = false;
}

/* "Used 17.3G of 15.48G hbm." */
static void xla_hbm(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_XLA;
    if (then_size(s, "Used", &m->total) && then_size(s, "of", &m->capacity)) s->cut = false;
}

static void bare(struct fm_scan *s, struct fm_oom *m)
{
    m->kind = FM_OOM_BARE;
    s->cut = false;
}

/* ---- where a message begins ---- */

static const struct form {
    const char *begins;
    void (*read)(struct fm_scan *scan, struct fm_oom *message);
} forms[] = {
    { "CUDA out of memory.", pytorch }, { "HIP out of memory.", pytorch }, { "XPU out of memory.", pytorch },
    { "NPU out of memory.", pytorch }, { "MPS backend out of memory", pytorch_mps },
    { "Tried to allocate", pytorch_bare }, { "DefaultCPUAllocator:", pytorch_cpu },
    { "OOM when allocating tensor with shape", tensorflow_shape }, { "ran out of memory trying to allocate", tensorflow_allocator },
    { "Ran out of memory trying to allocate", tensorflow_allocator }, { "Stats: Limit:", tensorflow_stats },
    { "Out of memory while trying to allocate", xla }, { "Out of memory allocating", xla },
    { "Failed to allocate request for", xla_device }, { "ailed to allocate", xla_device },
    { "parameter allocation:", xla_parameters }, { "Ran out of memory in memory space hbm.", xla_hbm },
    { "cudaErrorMemoryAllocation", bare }, { "hipErrorOutOfMemory", bare }, { "CUDA error: out of memory", bare },
    { "HIP error: out of memory", bare }, { "cuda runtime error (2)", bare }, { "CUDA_ERROR_OUT_OF_MEMORY", bare },
    { "CUDNN_STATUS_ALLOC_FAILED", bare }, { "CUBLAS_STATUS_ALLOC_FAILED", bare },
};

static bool numbered(const struct fm_oom *m)
{
    return m->requested.known || m->allocated.known || m->capacity.known || m->total.known || m->dims || m->parameters.known;
}

/* one failure, several lines */
static void fill(struct fm_oom *have, const struct fm_oom *m)
{
    keep(&have->requested, &m->requested);
    keep(&have->capacity, &m->capacity);
    keep(&have->allocated, &m->allocated);
    keep(&have->allowed, &m->allowed);
    keep(&have->parameters, &m->parameters);
    keep(&have->temporaries, &m->temporaries);
    keep(&have->total, &m->total);
    if (have->device < 0) have->device = m->device;
    if (!have->dims && m->dims) {
        have->dims = m->dims;
        memcpy(have->shape, m->shape, sizeof have->shape);
        (void)snprintf(have->dtype, sizeof have->dtype, "%s", m->dtype);
    }
    have->cut = m->cut && have->cut;
    have->overflowed = have->overflowed || m->overflowed;
}

static void merge(struct fm_oom *have, const struct fm_oom *m, bool first)
{
    bool together = have->kind == m->kind && (m->kind == FM_OOM_TENSORFLOW || m->kind == FM_OOM_XLA);
    size_t more = have->more;
    if (first) *have = *m;
    else if (together) fill(have, m);
    else if (!numbered(have) && (numbered(m) || (have->kind == FM_OOM_BARE && m->kind != FM_OOM_BARE))) *have = *m, have->more = more;
    else if (m->kind != FM_OOM_BARE || have->kind == FM_OOM_BARE) have->more++;
}

/* reserved = allocated + unused, with the bounds of what was printed */
static void complete(struct fm_oom *m)
{
    const struct fm_oom_size *a = &m->allocated, *r = &m->reserved, *u = &m->unused;
    if (a->known && u->known && !r->known)
        m->reserved = (struct fm_oom_size){ true, a->bytes + u->bytes, a->lo_bytes + u->lo_bytes, a->hi_bytes + u->hi_bytes };
    else if (a->known && r->known && !u->known && r->hi_bytes >= a->lo_bytes)
        m->unused = (struct fm_oom_size){ true, r->bytes > a->bytes ? r->bytes - a->bytes : 0,
                                          r->lo_bytes > a->hi_bytes ? r->lo_bytes - a->hi_bytes : 0, r->hi_bytes - a->lo_bytes };
}

static bool read_at(struct fm_scan *s, const struct form *form, struct fm_oom *m)
{
    size_t start = s->at;
    if (!fm_scan_words(s, form->begins)) return false;
    *m = (struct fm_oom){ .device = -1, .line = start };
    s->cut = s->overflowed = false;
    form->read(s, m);
    m->cut = s->cut;
    m->overflowed = s->overflowed;
    (void)snprintf(m->phrase, sizeof m->phrase, "%s", form->begins);
    /* TensorFlow and XLA say "failed to allocate" of much that is no device's memory */
    return form->read != xla_device || m->requested.known;
}

static void place(const char *text, struct fm_oom *m)
{
    size_t at = m->line;
    m->line = m->column = 1;
    for (size_t i = 0; i < at; i++, m->column++)
        if (text[i] == '\n') m->line++, m->column = 0;
}

fm_status fm_oom_read(const char *text, size_t bytes, struct fm_oom *out, struct fm_err *err)
{
    struct fm_scan s = { .text = text, .bytes = bytes };
    bool found = false;
    *out = (struct fm_oom){ .device = -1 };
    if (bytes > FM_OOM_TEXT_MAX_BYTES)
        return FM_FAIL(err, FM_INVALID, "%zu bytes are more than the %zu that are read; give the part with the message", bytes,
                       FM_OOM_TEXT_MAX_BYTES);
    while (s.at < bytes) {
        size_t start = s.at;
        struct fm_oom m;
        bool here = false;
        for (size_t i = 0; i < sizeof forms / sizeof forms[0] && !here; i++) {
            if (forms[i].begins[0] != text[start]) continue;
            here = read_at(&s, &forms[i], &m);
            if (!here) s.at = start;
        }
        if (here) merge(out, &m, !found), found = true;
        if (s.at == start) s.at++;
    }
    if (!found)
        return FM_FAIL(err, FM_INVALID, "no out-of-memory message in %zu bytes; known are PyTorch's (\"CUDA out of memory. Tried to "
                       "allocate ...\"), TensorFlow's, JAX's and CUDA's own", bytes);
    complete(out);
    place(text, out);
    return FM_OK;
}
