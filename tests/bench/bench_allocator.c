/* Nanoseconds per allocation or free of the caching allocator over an arithmetic source.
 *
 *     gcc -std=c11 -D_GNU_SOURCE -O2 -DNDEBUG -I. tests/bench/bench_allocator.c probes/memory/[a-z]*.c
 *         tuner/base/[a-z]*.c -lm -o bench && ./bench
 *
 * "random": 200 live blocks, a random one replaced each time. "step": allocations of a forward pass, each
 * with a temporary, freed in reverse with gradients between, as a training step does. */
#include <math.h>
#include <stdio.h>

#include "probes/memory/arithmetic_source.h"
#include "probes/memory/caching_allocator.h"
#include "tuner/base/clock.h"
#include "tuner/base/rng.h"

enum { OPERATIONS = 8192, SLOTS = 512, ROUNDS = 400 };

struct operation {
    int64_t bytes;
    uint32_t slot;
}; /* bytes < 0: free */

static struct operation operations[OPERATIONS];
static uint32_t slots[SLOTS];

static int64_t random_bytes(uint64_t index)
{
    return (int64_t)exp2(6 + 21 * fm_rng_uniform_f64(7, 1, index));
}

static int make_random(int live)
{
    int n = 0;
    for (uint64_t i = 0; n + 2 < OPERATIONS - live; i++) {
        uint32_t slot = (uint32_t)(i < (uint64_t)live ? i : fm_rng_u64(7, 2, i) % (uint64_t)live);
        if (i >= (uint64_t)live) operations[n++] = (struct operation){ -1, slot };
        operations[n++] = (struct operation){ random_bytes(i), slot };
    }
    for (int i = 0; i < live; i++) operations[n++] = (struct operation){ -1, (uint32_t)i };
    return n;
}

static int add_step(int layers, int n, uint64_t seed)
{
    for (int i = 0; i < layers; i++) {
        operations[n++] = (struct operation){ random_bytes(seed + (uint64_t)i), (uint32_t)i };
        operations[n++] = (struct operation){ random_bytes(seed + (uint64_t)i + 1000), 500 };
        operations[n++] = (struct operation){ -1, 500 };
    }
    for (int i = layers; i-- > 0;) {
        operations[n++] = (struct operation){ random_bytes(seed + (uint64_t)i), (uint32_t)(501 + i % 2) };
        if (i + 1 < layers) operations[n++] = (struct operation){ -1, (uint32_t)(501 + (i + 1) % 2) };
        operations[n++] = (struct operation){ -1, (uint32_t)i };
    }
    operations[n++] = (struct operation){ -1, 501 };
    return n;
}

/* `count` different steps one after the other, so that the processor cannot learn one by heart */
static int make_steps(int layers, int count)
{
    int n = 0;
    for (int k = 0; k < count; k++) n = add_step(layers, n, (uint64_t)k * 5000);
    return n;
}

static uint32_t count_free(const struct fm_allocator *a)
{
    struct fm_segment_view segment;
    struct fm_block_view block;
    uint32_t n = 0;
    for (uint32_t s = 0; fm_allocator_next_segment(a, &s, &segment);)
        for (uint32_t b = 0; fm_allocator_next_block(a, s, &b, &block);) n += block.state == FM_BLOCK_FREE;
    return n;
}

static bool replay(struct fm_allocator *a, int n, uint32_t *free_blocks)
{
    struct fm_err err = { 0 };
    for (int i = 0; i < n; i++) {
        struct operation op = operations[i];
        if (op.bytes < 0)
            fm_allocator_free(a, slots[op.slot]);
        else if (fm_allocator_alloc(a, op.bytes, 0, &slots[op.slot], &err) != FM_OK)
            return false;
        if (free_blocks && i == n / 2) *free_blocks = count_free(a);
    }
    return true;
}

static int run(const char *name, int n)
{
    struct fm_arithmetic_source source;
    struct fm_allocator_config config = fm_allocator_config_default();
    struct fm_allocator a;
    uint32_t free_blocks = 0;
    fm_arithmetic_source_init(&source, INT64_MAX);
    if (fm_allocator_init(&a, &config, fm_arithmetic_source_interface(&source), NULL) != FM_OK) return 1;
    if (!replay(&a, n, &free_blocks) || !replay(&a, n, &free_blocks)) return 1;
    int64_t start_ns = fm_now_ns(fm_clock_system());
    for (int i = 0; i < ROUNDS; i++)
        if (!replay(&a, n, NULL)) return 1;
    double ns = (double)(fm_now_ns(fm_clock_system()) - start_ns);
    uint64_t hash = 0;
    start_ns = fm_now_ns(fm_clock_system());
    for (int i = 0; i < ROUNDS; i++) hash ^= fm_allocator_state_hash(&a);
    double hash_ns = (double)(fm_now_ns(fm_clock_system()) - start_ns) / ROUNDS;
    printf("%-7s %6.1f ns per operation, %d operations, %u free blocks midway; hash %.0f ns (%llx)\n", name,
           ns / ROUNDS / n, n, free_blocks, hash_ns, (unsigned long long)hash);
    fm_allocator_release(&a);
    fm_arithmetic_source_release(&source);
    return 0;
}

int main(void)
{
    return run("random", make_random(200)) | run("step", make_steps(200, 1)) | run("steps", make_steps(200, 6));
}
