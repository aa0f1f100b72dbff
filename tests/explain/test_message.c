/* Out-of-memory messages: each form over the years with sizes of our own, cut at every byte, and garbage. The expected
 * numbers are computed here from what was printed, not by the reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tuner/base/memory.h"
#include "tuner/base/rng.h"
#include "tuner/explain/message.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KIB (INT64_C(1) << 10)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static struct fm_oom read(const char *text)
{
    struct fm_oom m;
    struct fm_err err = { 0 };
    fm_status status = fm_oom_read(text, strlen(text), &m, &err);
    if (status != FM_OK) fail_msg("'%s': %s", text, err.text);
    return m;
}

/* hundredths of a unit, as "%.2f" prints them: half a hundredth on each side */
static void is(const struct fm_oom_size *size, int64_t hundredths, int64_t unit)
{
    assert_true(size->known);
    assert_in_range(size->bytes, (hundredths * unit) / 100, (hundredths * unit) / 100 + 1);
    assert_int_equal(size->lo_bytes, ((2 * hundredths - 1) * unit + 199) / 200);
    assert_int_equal(size->hi_bytes, (2 * hundredths + 1) * unit / 200);
}

static void is_exact(const struct fm_oom_size *size, int64_t bytes)
{
    assert_true(size->known);
    assert_int_equal(size->lo_bytes, bytes);
    assert_int_equal(size->hi_bytes, bytes);
    assert_int_equal(size->bytes, bytes);
}

static const char old[] = "RuntimeError: CUDA out of memory. Tried to allocate 1.56 GiB (GPU 3; 31.73 GiB total capacity; 9.29 GiB already "
                          "allocated; 892.25 MiB free; 10.02 GiB reserved in total by PyTorch)";
static const char oldest[] = "RuntimeError: CUDA out of memory. Tried to allocate 12.50 MiB (GPU 0; 10.92 GiB total capacity; 8.57 MiB already "
                             "allocated; 9.28 GiB free; 4.68 MiB cached)";
static const char limited[] = "CUDA out of memory. Tried to allocate 768.00 MiB (GPU 0; 11.17 GiB total capacity; 5.01 GiB already allocated; "
                              "10.44 GiB free; 5.58 GiB allowed; 5.12 GiB reserved in total by PyTorch) If reserved memory is >> allocated "
                              "memory try setting max_split_size_mb to avoid fragmentation.";
static const char modern[] = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.25 GiB. GPU 1 has a total capacity of 23.65 GiB of "
                             "which 1.66 GiB is free. Process 2392 has 700.50 MiB memory in use. Including non-PyTorch memory, this process has "
                             "20.81 GiB memory in use. 22.00 GiB allowed; Of the allocated memory 12.09 GiB is allocated by PyTorch, with 44.00 "
                             "MiB allocated in private pools (e.g., CUDA Graphs), and 4.84 GiB is reserved by PyTorch but unallocated. If "
                             "reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True";
static const char typo[] = "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 496.00 MiB. GPU 0 has a total capacty of 14.75 GiB "
                           "of which 235.06 MiB is free. Process 20398 has 14.52 GiB memory in use. Of the allocated memory 14.06 GiB is "
                           "allocated by PyTorch, and 330.42 MiB is reserved by PyTorch but unallocated.";
static const char mps[] = "RuntimeError: MPS backend out of memory (MPS allocated: 5.56 GB, other allocations: 1.10 GB, max allowed: 6.80 GB). "
                          "Tried to allocate 768.00 MB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0";
static const char host[] = "RuntimeError: [enforce fail at alloc_cpu.cpp:64] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
                           "838860800 bytes. Error code 12 (Cannot allocate memory)";
static const char flow[] = "2024-01-01 W bfc_allocator.cc:497] Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.25GiB (rounded to "
                           "2415919104)requested by op model/conv\nStats: \nLimit:                     11330115994\nInUse:   9330115994\n"
                           "MaxInUse:  11229834752\nOOM when allocating tensor with shape[32,128,112,96] and type half on "
                           "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc";
static const char jax[] = "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 6291456 bytes.\n"
                          "BufferAssignment OOM Debugging.\nBufferAssignment stats:\n             parameter allocation:    1.25GiB\n"
                          "              constant allocation:         0B\n        maybe_live_out allocation:    6.00MiB\n"
                          "     preallocated temp allocation:    384.0KiB\n                 total allocation:   12.50MiB\n";

static void test_pytorch_1(void **state)
{
    (void)state;
    struct fm_oom m = read(old);
    assert_int_equal(m.kind, FM_OOM_PYTORCH);
    assert_int_equal(m.device, 3);
    assert_false(m.cut);
    is(&m.requested, 156, GIB), is(&m.capacity, 3173, GIB), is(&m.allocated, 929, GIB), is(&m.free, 89225, MIB), is(&m.reserved, 1002, GIB);
    assert_int_equal(m.unused.bytes, m.reserved.bytes - m.allocated.bytes);
    assert_int_equal(m.unused.lo_bytes, m.reserved.lo_bytes - m.allocated.hi_bytes);
    assert_int_equal(m.unused.hi_bytes, m.reserved.hi_bytes - m.allocated.lo_bytes);
    m = read(oldest);
    is(&m.unused, 468, MIB);
    is(&m.allocated, 857, MIB);
    assert_int_equal(m.reserved.bytes, m.allocated.bytes + m.unused.bytes);
    m = read(limited);
    is(&m.allowed, 558, GIB), is(&m.reserved, 512, GIB), is(&m.requested, 76800, MIB);
    m = read("RuntimeError: CUDA out of memory. Tried to allocate 2.00 MiB (GPU 0; 6.00 GiB total capacity; 4.88 GiB already allocated; 0 bytes "
             "free; 4.96 GiB reserved in total by PyTorch)");
    is_exact(&m.free, 0);
    m = read("Tried to allocate 1.56 GiB (GPU 0; 31.73 GiB total capacity; 9.29 GiB already allocated; 892.25 MiB free)");
    assert_false(m.cut || m.reserved.known || m.unused.known);
    /* 1.555 to 1.565 GiB */
    assert_int_equal(m.requested.lo_bytes, 1669668537);
    assert_int_equal(m.requested.hi_bytes, 1680405954);
}

static void test_pytorch_2(void **state)
{
    (void)state;
    struct fm_oom m = read(modern);
    assert_int_equal(m.device, 1);
    is(&m.requested, 325, GIB), is(&m.capacity, 2365, GIB), is(&m.free, 166, GIB), is(&m.allocated, 1209, GIB), is(&m.unused, 484, GIB);
    is(&m.private_pools, 4400, MIB), is(&m.allowed, 2200, GIB);
    assert_int_equal(m.reserved.bytes, m.allocated.bytes + m.unused.bytes);
    assert_int_equal(m.processes, 2);
    assert_int_equal(m.process[0].pid, 2392);
    is(&m.process[0].used, 70050, MIB);
    assert_int_equal(m.process[1].pid, -1);
    is(&m.process[1].used, 2081, GIB);
    assert_false(m.cut);
    m = read(typo);
    is(&m.capacity, 1475, GIB), is(&m.unused, 33042, MIB);
    assert_int_equal(m.processes, 1);
    m = read("torch.OutOfMemoryError: XPU out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.59 GiB. Of the allocated "
             "memory 9.00 GiB is allocated by PyTorch, and 1.00 GiB is reserved by PyTorch but unallocated.");
    is(&m.capacity, 1559, GIB), is(&m.allocated, 900, GIB), is(&m.unused, 100, GIB);
    assert_false(m.free.known);
    m = read("HIP out of memory. Tried to allocate 128.00 MiB. GPU 0 has a total capacity of 15.98 GiB of which 98.00 MiB is free. Of the "
             "allocated memory 15.00 GiB is allocated by PyTorch, and 300.00 KiB is reserved by PyTorch but unallocated.");
    is(&m.unused, 30000, KIB);
}

/* a size below zero that was printed as an unsigned one is not a size */
static void test_underflow(void **state)
{
    (void)state;
    struct fm_oom m = read("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 8.00 GiB of which 0 bytes is free. "
                           "Including non-PyTorch memory, this process has 17179869184.00 GiB memory in use. Of the allocated memory 6.50 GiB is "
                           "allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated.");
    assert_true(m.overflowed);
    assert_int_equal(m.processes, 1);
    assert_false(m.process[0].used.known);
    is(&m.allocated, 650, GIB);
}

static void test_other_pytorch(void **state)
{
    (void)state;
    struct fm_oom m = read(mps);
    assert_int_equal(m.kind, FM_OOM_PYTORCH_MPS);
    is(&m.allocated, 556, GIB), is(&m.other, 110, GIB), is(&m.allowed, 680, GIB), is(&m.requested, 76800, MIB);
    m = read("MPS backend out of memory (MPS allocated: 9.57 GiB, other allocations: 17.35 GiB, max allowed: 27.20 GiB). Tried to allocate 256 "
             "bytes on shared pool.");
    is_exact(&m.requested, 256);
    m = read(host);
    assert_int_equal(m.kind, FM_OOM_PYTORCH_CPU);
    is_exact(&m.requested, 838860800);
    m = read("DefaultCPUAllocator: not enough memory: you tried to allocate 4096 bytes.");
    is_exact(&m.requested, 4096);
}

static void test_tensorflow(void **state)
{
    (void)state;
    struct fm_oom m = read(flow);
    assert_int_equal(m.kind, FM_OOM_TENSORFLOW);
    is_exact(&m.requested, 2415919104);
    is_exact(&m.allowed, 11330115994);
    is_exact(&m.allocated, 9330115994);
    assert_int_equal(m.dims, 4);
    assert_int_equal(m.shape[3], 96);
    assert_string_equal(m.dtype, "half");
    m = read("ResourceExhaustedError: OOM when allocating tensor with shape[3,3,512,1024] and type float on /device:GPU:0 by allocator");
    is_exact(&m.requested, INT64_C(3) * 3 * 512 * 1024 * 4);
    m = read("W bfc_allocator.cc:275] Ran out of memory trying to allocate 24.38MiB.  See logs for memory state.");
    is(&m.requested, 2438, MIB);
    m = read("OOM when allocating tensor with shape[] and type int64 on x");
    assert_int_equal(m.dims, 0);
}

static void test_xla(void **state)
{
    (void)state;
    struct fm_oom m = read(jax);
    assert_int_equal(m.kind, FM_OOM_XLA);
    is_exact(&m.requested, 6291456);
    is(&m.parameters, 125, GIB), is(&m.total, 1250, MIB);
    /* one decimal: half a tenth on each side */
    assert_int_equal(m.temporaries.lo_bytes, 393165);
    assert_int_equal(m.temporaries.hi_bytes, 393267);
    m = read("RESOURCE_EXHAUSTED: Failed to allocate request for 8.00GiB (8589934592B) on device ordinal 2\n");
    is_exact(&m.requested, 8 * GIB);
    assert_int_equal(m.device, 2);
    m = read("failed to allocate 2.20G (2362232012 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY: out of memory");
    is_exact(&m.requested, 2362232012);
    m = read("XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 17.3G of 15.48G hbm. Exceeded hbm capacity by 1.9G.");
    is(&m.capacity, 1548, GIB);
    assert_true(m.total.known && !m.requested.known);
    m = read("Out of memory allocating 1073741824 bytes.");
    is_exact(&m.requested, GIB);
}

static void test_bare(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "cudaErrorMemoryAllocation", "RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "RuntimeError: cuda runtime error (2) : out of memory at /opt/THC/generic/THCStorage.cu:66", "CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        "RuntimeError: HIP error: out of memory", "hipErrorOutOfMemory",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fm_oom m = read(texts[i]);
        assert_int_equal(m.kind, FM_OOM_BARE);
        assert_false(m.requested.known || m.cut);
    }
    /* the same failure told twice: the one with numbers counts */
    char text[1024];
    (void)snprintf(text, sizeof text, "cudaErrorMemoryAllocation\n\n%s\n%s", old, modern);
    struct fm_oom m = read(text);
    is(&m.requested, 156, GIB);
    assert_int_equal(m.line, 3);
    assert_int_equal(m.column, 15);
    assert_int_equal(m.more, 1);
}

/* a terminal breaks lines anywhere between words */
static void test_wrapped(void **state)
{
    (void)state;
    char text[sizeof modern];
    for (size_t step = 1; step < 6; step++) {
        memcpy(text, modern, sizeof text);
        size_t n = 0;
        for (char *c = text; *c; c++)
            if (*c == ' ' && ++n % step == 0) *c = '\n';
        struct fm_oom m = read(text), want = read(modern);
        want.line = m.line, want.column = m.column;
        assert_memory_equal(&m, &want, sizeof m);
    }
}

static void subset(const struct fm_oom_size *part, const struct fm_oom_size *whole)
{
    if (part->known) assert_true(whole->known && part->bytes == whole->bytes && part->lo_bytes == whole->lo_bytes && part->hi_bytes == whole->hi_bytes);
}

/* Cut anywhere, a message says less, never something else. */
static void test_cut_at_every_byte(void **state)
{
    (void)state;
    static const char *const texts[] = { old, oldest, limited, modern, typo, mps, host };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fm_oom whole = read(texts[i]);
        for (size_t n = 0; n <= strlen(texts[i]); n++) {
            struct fm_oom m;
            struct fm_err err = { 0 };
            char *part = fm_calloc(n ? n : 1, 1);         /* of just that size, so that a sanitizer sees one byte too far */
            assert_non_null(part);
            memcpy(part, texts[i], n);
            fm_status status = fm_oom_read(part, n, &m, &err);
            fm_free(part);
            if (status != FM_OK) {
                assert_int_equal(status, FM_INVALID);
                assert_true(n < strlen(texts[i]) && err.text[0]);
                continue;
            }
            subset(&m.requested, &whole.requested), subset(&m.capacity, &whole.capacity), subset(&m.free, &whole.free);
            subset(&m.allocated, &whole.allocated), subset(&m.allowed, &whole.allowed), subset(&m.other, &whole.other);
            subset(&m.private_pools, &whole.private_pools);
            if (m.unused.known) subset(&m.unused, &whole.unused);
            if (m.device >= 0) assert_int_equal(m.device, whole.device);
            assert_true(m.processes <= whole.processes);
            if (!m.capacity.known && whole.capacity.known) assert_true(m.cut);
        }
    }
}

static void test_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "out of memory", "CUDA out of memor", "Tried", "loss nan", "failed to allocate a worker", "Tried to allocat 1.56 GiB",
        "RuntimeError: shape mismatch", "Stats:", "\n\n\n",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fm_oom m;
        struct fm_err err = { 0 };
        assert_int_equal(fm_oom_read(texts[i], strlen(texts[i]), &m, &err), FM_INVALID);
        assert_non_null(strstr(err.text, "no out-of-memory message"));
    }
    static const char *const sizeless[] = {
        "Tried to allocate 1.x GiB", "Tried to allocate -1 GiB", "Tried to allocate 1.56 QiB", "Tried to allocate 1..5 GiB",
        "Tried to allocate 99999999999999999999999 GiB (", "Tried to allocate 1.56", "Tried to allocate GiB", "Tried to allocate 1.56 GiBs",
    };
    for (size_t i = 0; i < COUNT(sizeless); i++) assert_false(read(sizeless[i]).requested.known);
}

/* pieces of messages and rubbish in any order: it ends, allocates nothing, and sizes are ordered */
static void test_fuzz(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "CUDA out of memory.", " Tried to allocate ", "1.56 GiB", " 892.25 MiB ", "(GPU 0; ", " total capacity; ", "already allocated; ", " free)",
        ". GPU 1 has a total capacity of ", " of which ", " is free. ", "Process 12 has ", " memory in use.", "Of the allocated memory ",
        "Stats: Limit: ", "123456", "OOM when allocating tensor with shape", "[1,2,", "3]", " and type ", "float ", "MPS backend out of memory",
        "parameter allocation: ", "\n", " ", "\xff", "17179869184.00 GiB", "999999999999999999", ".", "0 bytes", ";", ")", "[", "failed to allocate ",
        "is allocated by PyTorch, and ", "Including non-PyTorch memory, this process has ",
    };
    size_t found = 0;
    for (uint64_t run = 0; run < 20000; run++) {
        char text[512];
        size_t at = 0, n = fm_rng_u64(5, run, 0) % 14;
        for (size_t i = 0; i < n; i++) {
            uint64_t dice = fm_rng_u64(6, run, i);
            const char *piece = pieces[dice % COUNT(pieces)];
            size_t bytes = dice >> 40 & 7 ? strlen(piece) : (size_t)(dice >> 48) % (strlen(piece) + 1);
            memcpy(text + at, piece, bytes);
            at += bytes;
        }
        struct fm_oom m;
        long live = fm_memory_live;
        fm_status status = fm_oom_read(text, at, &m, NULL);
        assert_true(status == FM_OK || status == FM_INVALID);
        assert_int_equal(fm_memory_live, live);
        const struct fm_oom_size *sizes[] = { &m.requested, &m.capacity, &m.free, &m.allocated, &m.reserved, &m.unused, &m.allowed };
        for (size_t i = 0; i < COUNT(sizes); i++)
            if (sizes[i]->known) assert_true(sizes[i]->lo_bytes >= 0 && sizes[i]->lo_bytes <= sizes[i]->hi_bytes);
        found += status == FM_OK;
    }
    assert_in_range(found, 1000, 19999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pytorch_1), cmocka_unit_test(test_pytorch_2), cmocka_unit_test(test_underflow), cmocka_unit_test(test_other_pytorch),
        cmocka_unit_test(test_tensorflow), cmocka_unit_test(test_xla), cmocka_unit_test(test_bare), cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_cut_at_every_byte), cmocka_unit_test(test_nothing), cmocka_unit_test(test_fuzz),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
