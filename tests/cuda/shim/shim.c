/* Fibers for the CUDA shim. */
#include "tests/cuda/shim/shim.h"

#include "tuner/base/memory.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FM_ASAN 1
#endif
#endif
#ifdef FM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define MOST_THREADS 1024
#define WARP 32
#define STACK_BYTES 65536
#define SHARED_SITES 16
#define SHARED_BYTES 49152
#define ERROR_REFUSED 1000      /* above CUDA's own numbers here: a fault of the kernel */

enum state { READY, AT_BARRIER, AT_SHUFFLE, DONE };

struct fiber {
    ucontext_t context;         /* only its stack pointer matters where switching is our own */
    void *stack_pointer;
    struct fm_shim_index index;
    enum state state;
    uint32_t shuffles;          /* its parity says which half of the exchange is in use */
    void *fake_stack;
};

struct shared { void *site; char *memory; size_t bytes; uint64_t block; };

struct fm_shim_block_state fm_shim_block;

/* touched only as far as blocks need it */
static char stacks[MOST_THREADS][STACK_BYTES] __attribute__((aligned(64)));

static struct {
    struct fiber fiber[MOST_THREADS];
    uint32_t order[MOST_THREADS];
    uint64_t exchange[2][MOST_THREADS];
    struct shared shared[SHARED_SITES];
    uint32_t count, current, seed, random;
    uint64_t launches, blocks;
    void (*body)(void *);
    void *argument;
    ucontext_t main;
    void *main_pointer;
    void *main_fake_stack;
    const void *main_bottom;
    size_t main_bytes;
    size_t shared_bytes;
    int error, refuse;
    char text[200];
} shim;

static void fault(const char *text)
{
    if (shim.error) return;
    shim.error = ERROR_REFUSED;
    (void)snprintf(shim.text, sizeof shim.text, "%s", text);
}

/* ---- switching ---- */

#if defined(__x86_64__)
void fm_shim_switch(void **save, void *to);
/* saves what a called function must keep, and the other's stack takes over */
__asm__(".text\n.globl fm_shim_switch\n.type fm_shim_switch,@function\nfm_shim_switch:\n"
        " pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        " movq %rsp,(%rdi)\n movq %rsi,%rsp\n"
        " popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n"
        ".size fm_shim_switch,.-fm_shim_switch\n.section .note.GNU-stack,\"\",@progbits\n.text\n");
#endif

static void to_main(enum state state)
{
    struct fiber *f = &shim.fiber[shim.current];
    f->state = state;
#ifdef FM_ASAN
    __sanitizer_start_switch_fiber(state == DONE ? NULL : &f->fake_stack, shim.main_bottom, shim.main_bytes);
#endif
#if defined(__x86_64__)
    fm_shim_switch(&f->stack_pointer, shim.main_pointer);
#else
    swapcontext(&f->context, &shim.main);
#endif
#ifdef FM_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, &shim.main_bottom, &shim.main_bytes);
#endif
}

static void entry(void)
{
#ifdef FM_ASAN
    __sanitizer_finish_switch_fiber(NULL, &shim.main_bottom, &shim.main_bytes);
#endif
    shim.body(shim.argument);
    to_main(DONE);
}

static void resume(uint32_t i)
{
    struct fiber *f = &shim.fiber[i];
    shim.current = i;
#ifdef FM_ASAN
    __sanitizer_start_switch_fiber(&shim.main_fake_stack, stacks[i], STACK_BYTES);
#endif
#if defined(__x86_64__)
    fm_shim_switch(&shim.main_pointer, f->stack_pointer);
#else
    swapcontext(&shim.main, &f->context);
#endif
#ifdef FM_ASAN
    __sanitizer_finish_switch_fiber(shim.main_fake_stack, NULL, NULL);
#endif
}

static void start(uint32_t i)
{
    struct fiber *f = &shim.fiber[i];
#ifdef FM_ASAN
    /* what fibers that never ended have left */
    __asan_unpoison_memory_region(stacks[i], STACK_BYTES);
#endif
    const struct fm_shim_index *n = &fm_shim_block.threads;
    f->index = (struct fm_shim_index){ i % n->x, i / n->x % n->y, i / n->x / n->y };
    f->state = READY;
    f->shuffles = 0;
    f->fake_stack = NULL;
#if defined(__x86_64__)
    void (*first)(void) = entry;
    uintptr_t top = ((uintptr_t)stacks[i] + STACK_BYTES - 64) & ~(uintptr_t)15;
    void **p = (void **)top;
    *--p = NULL;                            /* what entry() would return to */
    *--p = NULL;
    memcpy(p, &first, sizeof first);
    for (int k = 0; k < 6; k++) *--p = NULL;
    f->stack_pointer = p;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stacks[i];
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = NULL;
    makecontext(&f->context, entry, 0);
#endif
}

/* ---- scheduling ---- */

static uint32_t next_random(uint32_t below)
{
    shim.random = shim.random * 1664525u + 1013904223u;
    return (shim.random >> 8) % below;
}

static void arrange(void)
{
    for (uint32_t i = 0; i < shim.count; i++) shim.order[i] = shim.seed == 1 ? shim.count - 1 - i : i;
    for (uint32_t i = shim.count; shim.seed > 1 && i-- > 1;) {
        uint32_t k = next_random(i + 1), kept = shim.order[i];
        shim.order[i] = shim.order[k];
        shim.order[k] = kept;
    }
}

static bool release_warp(uint32_t first)
{
    uint32_t end = first + WARP < shim.count ? first + WARP : shim.count;
    for (uint32_t i = first; i < end; i++)
        if (shim.fiber[i].state != AT_SHUFFLE) return false;
    for (uint32_t i = first; i < end; i++) shim.fiber[i].state = READY;
    return true;
}

/* lets those go on that have all met; false: none can */
static bool release(void)
{
    uint32_t count[DONE + 1] = { 0 };
    bool any = false;
    for (uint32_t first = 0; first < shim.count; first += WARP) any = release_warp(first) || any;
    if (any) return true;
    for (uint32_t i = 0; i < shim.count; i++) count[shim.fiber[i].state]++;
    if (count[AT_BARRIER] == shim.count) {
        for (uint32_t i = 0; i < shim.count; i++) shim.fiber[i].state = READY;
        return true;
    }
    if (count[DONE] < shim.count) {
        char text[200];
        (void)snprintf(text, sizeof text, "threads diverge: %u at a barrier, %u at a shuffle, %u done of %u",
                       count[AT_BARRIER], count[AT_SHUFFLE], count[DONE], shim.count);
        fault(text);
    }
    return false;
}

static void run_ready(uint32_t i)
{
    if (shim.fiber[i].state == READY) resume(i);
}

/* lets one warp go on through its shuffles to the next barrier while others wait: as far apart as warps can be */
static void run_ahead(uint32_t first)
{
    while (release_warp(first))
        for (uint32_t i = 0; i < shim.count; i++)
            if (shim.order[i] / WARP * WARP == first) run_ready(shim.order[i]);
}

static void run_block(void)
{
    shim.blocks++;
    shim.shared_bytes = 0;
    for (uint32_t i = 0; i < shim.count; i++) start(i);
    do {
        arrange();
        for (uint32_t i = 0; i < shim.count; i++) {
            run_ready(shim.order[i]);
            if (shim.seed) run_ahead(shim.order[i] / WARP * WARP);
        }
    } while (release());
}

static bool acceptable(const struct fm_shim_launch_shape *s)
{
    const struct fm_shim_index *g = &s->grid, *t = &s->threads;
    uint64_t threads = (uint64_t)t->x * t->y * t->z;
    return threads >= 1 && threads <= MOST_THREADS && t->z <= 64 && g->x >= 1 && g->x < INT32_MAX && g->y >= 1 &&
           g->y <= 65535 && g->z >= 1 && g->z <= 65535;
}

void fm_shim_run(const struct fm_shim_launch_shape *shape, void (*body)(void *), void *context)
{
    shim.launches++;
    if (shim.refuse) {
        shim.error = shim.refuse;
        (void)snprintf(shim.text, sizeof shim.text, "refused");
        shim.refuse = 0;
        return;
    }
    if (!acceptable(shape)) {
        fault("invalid configuration argument");
        return;
    }
    shim.count = shape->threads.x * shape->threads.y * shape->threads.z;
    shim.body = body;
    shim.argument = context;
    fm_shim_block.grid = shape->grid;
    fm_shim_block.threads = shape->threads;
    uint64_t blocks = (uint64_t)shape->grid.x * shape->grid.y * shape->grid.z;
    for (uint64_t b = 0; b < blocks && !shim.error; b++) {
        uint64_t at = shim.seed % 2 ? blocks - 1 - b : b;
        fm_shim_block.block.x = (uint32_t)(at % shape->grid.x);
        fm_shim_block.block.y = (uint32_t)(at / shape->grid.x % shape->grid.y);
        fm_shim_block.block.z = (uint32_t)(at / shape->grid.x / shape->grid.y);
        run_block();
    }
    for (int s = 0; s < SHARED_SITES; s++) {
        fm_free(shim.shared[s].memory);
        shim.shared[s] = (struct shared){ 0 };
    }
}

/* ---- what kernels call ---- */

struct fm_shim_index fm_shim_thread_index(void)
{
    return shim.fiber[shim.current].index;
}

void fm_shim_barrier(void)
{
    to_main(AT_BARRIER);
}

uint64_t fm_shim_shuffle(uint32_t mask, uint64_t value, int away)
{
    struct fiber *f = &shim.fiber[shim.current];
    uint32_t me = shim.current, half = f->shuffles++ % 2, other = me ^ (uint32_t)away;
    if (mask != UINT32_MAX) fault("a shuffle by part of a warp");
    shim.exchange[half][me] = value;
    to_main(AT_SHUFFLE);
    return other < shim.count ? shim.exchange[half][other] : UINT64_MAX;
}

void *fm_shim_shared(void *site, size_t bytes)
{
    struct shared *s = shim.shared;
    while (s < shim.shared + SHARED_SITES - 1 && s->site && s->site != site) s++;
    if (!s->site) {
        s->site = site;
        s->bytes = bytes;
        s->memory = fm_calloc(bytes, 1);
    }
    if (s->block != shim.blocks) {
        memset(s->memory, 0xff, s->bytes);      /* NaN, and no plausible integer */
        s->block = shim.blocks;
        shim.shared_bytes += bytes;
        if (shim.shared_bytes > SHARED_BYTES) fault("more than 48 KiB of shared memory");
    }
    return s->memory;
}

/* ---- what tests call ---- */

void fm_shim_order(uint32_t seed)
{
    shim.seed = seed;
    shim.random = seed;
}

void fm_shim_refuse(int error)
{
    shim.refuse = error;
}

uint64_t fm_shim_launches(void)
{
    return shim.launches;
}

int fm_shim_last_error(void)
{
    int error = shim.error;
    shim.error = 0;
    return error;
}

const char *fm_shim_error_text(int error)
{
    return error ? shim.text : "no error";
}

uint16_t fm_shim_narrow(double value, int fraction, int least)
{
    unsigned sign = signbit(value) ? 0x8000u : 0, infinity = (0x7fffu >> fraction) << fraction;
    if (isnan(value)) return (uint16_t)(sign | infinity | 1u << (fraction - 1));
    int exponent = 0;
    (void)frexp(value, &exponent);
    bool normal = isfinite(value) && fabs(value) >= ldexp(1, least);
    exponent = normal ? exponent - 1 : least;
    double bits = ldexp(exponent - least, fraction) + nearbyint(ldexp(fabs(value), fraction - exponent));
    return (uint16_t)(sign | (bits < infinity ? (unsigned)bits : infinity));
}

float fm_shim_widen_f16(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent ? ldexpf((float)(fraction + 1024), exponent - 25)
                                 : ldexpf((float)fraction, -24);
    return bits & 0x8000 ? -magnitude : magnitude;
}
