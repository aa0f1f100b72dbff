/* Plan against process, independently of the list that planner and worker share: what the process itself takes.
 *
 * This program's malloc and mmap stand before the C library's for all that is linked to it, oneDNN and OpenMP included.
 * During steady steps less than 1 MiB comes and goes outside fillmark's allocator, its segments are all that is mapped, and
 * when every page of them was written the resident set is that much larger than it was before. */
#include "probes/backends/cpu/cpu.h"
#include "probes/memory/planner.h"
#include "tests/engine/support_session.h"
#include "tuner/base/memory.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#define MIB (INT64_C(1) << 20)
#define PAGE 4096

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

#ifndef SANITIZED

/* ---- the interposed allocator ---- */

static _Atomic int64_t heap_bytes, heap_peak, heap_calls, mapped_bytes;

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);
extern void __libc_free(void *block);

static void *count(void *block)
{
    int64_t bytes = (int64_t)malloc_usable_size(block), now = atomic_fetch_add(&heap_bytes, bytes) + bytes, peak = heap_peak;
    heap_calls++;
    while (now > peak && !atomic_compare_exchange_weak(&heap_peak, &peak, now)) continue;
    return block;
}

void *malloc(size_t bytes) { return count(__libc_malloc(bytes)); }
void *calloc(size_t n, size_t bytes) { return count(__libc_calloc(n, bytes)); }
void *memalign(size_t align, size_t bytes) { return count(__libc_memalign(align, bytes)); }
void *aligned_alloc(size_t align, size_t bytes) { return count(__libc_memalign(align, bytes)); }

int posix_memalign(void **block, size_t align, size_t bytes)
{
    *block = count(__libc_memalign(align, bytes));
    return *block ? 0 : ENOMEM;
}

void *realloc(void *block, size_t bytes)
{
    int64_t before = (int64_t)malloc_usable_size(block);
    void *moved = __libc_realloc(block, bytes);
    if (moved || !bytes) heap_bytes -= before;
    return moved ? count(moved) : NULL;
}

void free(void *block)
{
    heap_bytes -= (int64_t)malloc_usable_size(block);
    __libc_free(block);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    void *pages = (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
    if (pages != MAP_FAILED) mapped_bytes += (int64_t)bytes;
    return pages;
}

int munmap(void *address, size_t bytes)
{
    int failed = (int)syscall(SYS_munmap, address, bytes);
    if (!failed) mapped_bytes -= (int64_t)bytes;
    return failed;
}

/* ---- what the kernel says ---- */

/* the line of a file that begins with the name, in bytes */
static int64_t kernel_bytes(const char *path, const char *name)
{
    char line[128];
    long long kib = -1;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (kib < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) kib = strtoll(strchr(line, ':') + 1, NULL, 10);
    (void)fclose(file);
    assert_true(kib > 0);
    return kib * 1024;
}

static int64_t resident_bytes(void) { return kernel_bytes("/proc/self/smaps_rollup", "Rss:"); }

/* the peak starts anew (proc(5)) */
static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    assert_non_null(file);
    assert_true(fputs("5", file) >= 0 && fclose(file) == 0);
}

static int64_t peak_resident_bytes(void) { return kernel_bytes("/proc/self/status", "VmHWM:"); }

/* Pages that were reserved and never written are not resident: rounding, and free ends of segments. Writes them; a free
 * block may hold anything. */
static void touch_free_blocks(const struct fm_allocator *allocator)
{
    struct fm_segment_view segment;
    struct fm_block_view block;
    for (uint32_t i = 0; fm_allocator_next_segment(allocator, &i, &segment);)
        for (uint32_t k = 0; fm_allocator_next_block(allocator, segment.index, &k, &block);) {
            if (block.state != FM_BLOCK_FREE) continue;
            volatile char *first = fm_mmap_pointer(block.address);
            for (int64_t at = 0; at < block.bytes; at += PAGE) first[at] = 0;
            first[block.bytes - 1] = 0;
        }
}

/* ---- the laws ---- */

static struct fm_session s;

static int64_t reserved(void)
{
    return fm_allocator_get_stats(&s.engine.allocator)->reserved_bytes;
}

static void steady_steps(const char *words, bool val)
{
    struct fm_err err = { 0 };
    int64_t mapped_before = mapped_bytes, reserved_before = reserved();
    heap_peak = heap_bytes;
    int64_t start = heap_bytes;
    for (int i = 0; i < 3; i++) {
        fm_status status = fm_engine_run(&s.engine, val ? FM_SECTION_VAL : FM_SECTION_TRAIN, NULL, &err);
        if (status != FM_OK) fail_msg("%s: %s", words, err.text);
        int64_t outside = mapped_bytes - mapped_before - (reserved() - reserved_before);
        if (outside != 0) fail_msg("%s: %lld bytes mapped beside the allocator's segments", words, (long long)outside);
    }
    if (heap_peak - start >= MIB || heap_bytes - start >= MIB / 16)
        fail_msg("%s: %lld bytes came from malloc during steady %s steps, %lld of them stayed", words, (long long)(heap_peak - start),
                 val ? "validation" : "training", (long long)(heap_bytes - start));
}

static void opened(const char *words, int64_t batch, int32_t threads)
{
    struct fm_cell cell;
    fm_session_cell(&cell, words);
    s = (struct fm_session){ .device = &fm_backend_cpu, .blind = true, .threads = threads };
    fm_session_lower(&s, &cell, (struct fm_cell_batch){ .train = batch, .val = fm_cell_val_batch(&cell, batch) });
}

static void little_comes_and_goes(void **state)
{
    (void)state;
    static const struct { const char *words; int32_t threads; } row[] = {
        { "denseunet3d base_channels=4 levels=2 classes=71 input=8x8x8", 2 },
        { "denseunet3d base_channels=8 levels=3 classes=71 input=16x24x16 +precision=bf16 +checkpoint=blocks", 1 },
        { "segformer input=96x64", 1 },
        { "segformer variant=b1 input=64x64 +precision=bf16 +accumulate=2 +optimizer_form=for-loop", 1 },
    };
    struct fm_err err = { 0 };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fm_cell cell;
        fm_session_cell(&cell, row[i].words);
        if (!fm_session_supported(&fm_backend_cpu, &cell)) continue;
        opened(row[i].words, 2, row[i].threads);
        int64_t mapped = mapped_bytes;
        fm_session_open(&s);
        if (mapped_bytes - mapped < reserved()) fail_msg("%s: segments are not mapped", row[i].words);
        fm_session_steps(&s, 1);
        assert_int_equal(fm_engine_settle(&s.engine, FM_SECTION_TRAIN, 2, &err), FM_OK);
        assert_true(heap_calls > 100);          /* the interposed functions are the ones in use */
        steady_steps(row[i].words, false);
        assert_int_equal(fm_engine_run(&s.engine, FM_SECTION_VAL_FIRST, NULL, &err), FM_OK);
        assert_int_equal(fm_engine_settle(&s.engine, FM_SECTION_VAL, 2, &err), FM_OK);
        steady_steps(row[i].words, true);
        assert_int_equal(fm_engine_run(&s.engine, FM_SECTION_VAL_EXIT, NULL, &err), FM_OK);
        fm_session_close(&s);
    }
}

static void resident_is_reserved(void **state)
{
    (void)state;
    static const struct { const char *words; int64_t batch; } row[] = {
        { "denseunet3d base_channels=8 levels=3 classes=20 input=32x32x32", 4 },
        { "segformer input=160x160 +checkpoint=blocks", 6 },
    };
    struct fm_err err = { 0 };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        static struct fm_planner planner;
        struct fm_plan plan;
        opened(row[i].words, row[i].batch, 1);
        forget_peak();
        int64_t own = resident_bytes();
        fm_session_open(&s);
        fm_session_steps(&s, 1);
        assert_int_equal(fm_engine_settle(&s.engine, FM_SECTION_TRAIN, 1, &err), FM_OK);
        if (fm_planner_run(&planner, &s.program, &s.engine.workspaces, INT64_MAX, &plan, &err) != FM_OK) fail_msg("%s", err.text);
        assert_int_equal(reserved(), plan.train.reserved_bytes);
        int64_t law = own + plan.train.reserved_bytes, written = own + plan.train.allocated_bytes;
        int64_t stepped = resident_bytes(), peak = peak_resident_bytes();
        /* all that the peak held was written; the rest of the segments perhaps */
        if (stepped < written - law / 50 || peak > law + law / 50)
            fail_msg("%s: %lld bytes resident, at most %lld, where %lld to %lld are planned", row[i].words, (long long)stepped,
                     (long long)peak, (long long)written, (long long)law);
        touch_free_blocks(&s.engine.allocator);
        int64_t full = resident_bytes();
        if (llabs(full - law) > law / 50)
            fail_msg("%s: %lld bytes resident when all is written, where %lld are planned", row[i].words, (long long)full, (long long)law);
        fm_planner_release(&planner);
        fm_session_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_comes_and_goes),
        cmocka_unit_test(resident_is_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void) { return 0; }            /* a sanitizer has an allocator of its own */

#endif
