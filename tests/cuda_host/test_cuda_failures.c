/* What goes wrong with GPUs and NVIDIA's libraries, each as what it is: an outcome, and a sentence with a remedy. */
#include "probes/backends/cuda/library.h"
#include "probes/backends/cuda/software.h"
#include "probes/worker/engine.h"
#include "tests/cuda_host/support_host.h"
#include "tests/cuda_host/support_kernels.h"
#include "tuner/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct fm_engine engine;
static struct fm_program program;
static uint32_t oom_instr;              /* where the last probe ran out of memory */

static void contains(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("'%s' is not in: %s", part, text);
}

/* ---- opening ---- */

static void refuses(const char *options, const char *device, fm_status status, const char *part)
{
    struct fm_backend *backend = NULL;
    struct fm_err err = { 0 };
    fm_fake(options);
    assert_int_equal(fm_backend_cuda.open(&(struct fm_backend_config){ .device = device }, &backend, &err), status);
    assert_null(backend);
    contains(err.text, part);
    assert_int_equal(fm_memory_live, 0);
}

static void drivers(void **state)
{
    (void)state;
    refuses("init=100", NULL, FM_UNSUPPORTED, "no GPU");
    refuses("devices=0", NULL, FM_UNSUPPORTED, "no GPU");
    refuses("init=34", NULL, FM_UNSUPPORTED, "stub");
    refuses("init=803", NULL, FM_UNSUPPORTED, "reboot");
    refuses("init=999", NULL, FM_UNSUPPORTED, "CUDA_ERROR_UNKNOWN (999)");
    refuses("driver=11080", NULL, FM_UNSUPPORTED, "knows CUDA up to 11.8, fillmark needs 12.4; install a newer driver (CUDA 12.4: 550 or later)");
    refuses("driver=12080,cudart=13000", NULL, FM_UNSUPPORTED, "knows CUDA up to 12.8, cuDNN needs 13.0");
    refuses("cudnn=8904", NULL, FM_UNSUPPORTED, "is too old");
    /* within one major version the driver may be older */
    fm_backend_cuda.close(fm_fake_open("driver=13000,cudart=13020"));
    fm_backend_cuda.close(fm_fake_open("driver=13000,cudart=12090"));
}

static void no_gpu_is_visible(void **state)
{
    (void)state;
    assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "7", 1), 0);
    refuses("devices=0", NULL, FM_UNSUPPORTED, "CUDA_VISIBLE_DEVICES is '7'");
    assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
}

/* a folder with some of the libraries */
static void with_libraries(const char *const *file, const char *part)
{
    char folder[] = "/tmp/fm-libraries-XXXXXX", from[600], to[600];
    struct fm_backend *backend = NULL;
    struct fm_err err = { 0 };
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; file[i]; i++) {
        (void)snprintf(from, sizeof from, "%s/fake_cuda/%s", FM_BINARY_DIR, file[i]);
        (void)snprintf(to, sizeof to, "%s/%s", folder, strrchr(from, '/') + 1);
        assert_int_equal(symlink(from, to), 0);
    }
    assert_int_equal(setenv("FILLMARK_CUDA_LIBS", folder, 1), 0);
    assert_int_equal(setenv("FAKE_CUDA", "", 1), 0);
    fm_status status = fm_backend_cuda.open(&(struct fm_backend_config){ 0 }, &backend, &err);
    for (size_t i = 0; file[i]; i++) {
        const char *name = strrchr(file[i], '/');
        (void)snprintf(to, sizeof to, "%s/%s", folder, name ? name + 1 : file[i]);
        assert_int_equal(unlink(to), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    if (part) {
        assert_int_equal(status, FM_UNSUPPORTED);
        contains(err.text, part);
    } else {
        struct fm_device_info info;
        assert_int_equal(status, FM_OK);
        assert_int_equal(fm_backend_cuda.info(backend, &info, NULL), FM_OK);
        assert_int_equal(info.free_bytes, -1);
        assert_int_equal(info.findings, 1);
        contains(info.finding[0].what, "NVML");
        /* what no one needs here is told and no finding */
        assert_string_equal(info.software[4].name, "NCCL");
        contains(info.software[4].absent, "several GPUs");
        assert_string_equal(info.software[4].version, "");
        fm_backend_cuda.close(backend);
    }
}

#define WITH(...) (const char *const[]){ __VA_ARGS__, NULL }

static void libraries_that_are_missing(void **state)
{
    (void)state;
    with_libraries(WITH("libnvidia-ml.so.1"), "NVIDIA's driver (libcuda.so.1) is not here: install");
    with_libraries(WITH("libcuda.so.1"), "install cuDNN 9.16");
    with_libraries(WITH("libcuda.so.1"), "; and cuBLASLt (libcublasLt.so.13) is not here: install cuBLAS");
    with_libraries(WITH("libcuda.so.1", "libcublasLt.so.13"), "cuDNN (libcudnn.so.9) is not here: install cuDNN 9.16");
    with_libraries(WITH("libcuda.so.1", "libcudnn.so.9"), "cuBLASLt (libcublasLt.so.13) is not here: install cuBLAS");
    with_libraries(WITH("partial/libcuda.so.1", "libcudnn.so.9", "libcublasLt.so.13"), "has no cuGetErrorString: it is too old or incomplete");
    /* without NVML little is known, but all runs */
    with_libraries(WITH("libcuda.so.1", "libcudnn.so.9", "libcublasLt.so.13"), NULL);
}

#define UUID_1 "01112131-4151-6171-8191-a1b1c1d1e1f1"
#define GPU_0 "GPU-00102030-4050-6070-8090-a0b0c0d0e0f0"
#define GPU_1 "GPU-" UUID_1

static void choosing(void **state)
{
    (void)state;
    static const struct { const char *options, *device, *id, *uuid; } good[] = {
        { "", NULL, "cuda:0", GPU_0 }, { "", "cuda", "cuda:0", GPU_0 }, { "", "cuda:1", "cuda:1", GPU_1 },
        { "devices=3,uuid=5", "cuda:2", "cuda:2", "GPU-02172232-4252-6272-8292-a2b2c2d2e2f2" }, { "", GPU_1, "cuda:1", GPU_1 },
        { "", "GPU-00102030", "cuda:0", GPU_0 }, { "mig=1", "MIG-" UUID_1, "cuda:1", "MIG-" UUID_1 },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct fm_backend *backend = NULL;
        struct fm_err err = { 0 };
        struct fm_device_info info;
        fm_fake(good[i].options);
        if (fm_backend_cuda.open(&(struct fm_backend_config){ .device = good[i].device }, &backend, &err) != FM_OK) fail_msg("%s", err.text);
        assert_int_equal(fm_backend_cuda.info(backend, &info, &err), FM_OK);
        assert_string_equal(info.id, good[i].id);
        assert_string_equal(info.isa, "sm_90");
        assert_string_equal(info.uuid, good[i].uuid);
        assert_int_equal(info.total_bytes, INT64_C(4096) << 20);
        /* nothing of the GPU was taken for it */
        assert_int_equal(fm_fake_int("libcuda.so.1", "fake_cuda_contexts"), 0);
        fm_backend_cuda.close(backend);
        assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
    }
    refuses("", "cuda:2", FM_UNSUPPORTED, "no GPU 'cuda:2' here; there are 2: cuda:0 Fake GPU GPU-0010");
    refuses("devices=1", "GPU-99112131-4151-6171-8191-a1b1c1d1e1f1", FM_UNSUPPORTED, "there is 1: cuda:0");
    assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
    refuses("", "cuda:x", FM_INVALID, "names no GPU");
    refuses("", "cuda:-1", FM_UNSUPPORTED, "no GPU 'cuda:-1'");
}

/* a device named by UUID is shown to CUDA by that name, unless the user has said what is visible */
static void uuids_are_made_visible(void **state)
{
    (void)state;
    struct fm_backend *backend = NULL;
    const char *name = "GPU-01112131-4151-6171-8191-a1b1c1d1e1f1";
    fm_fake("");
    assert_int_equal(fm_backend_cuda.open(&(struct fm_backend_config){ .device = name }, &backend, NULL), FM_OK);
    assert_string_equal(getenv("CUDA_VISIBLE_DEVICES"), name);
    fm_backend_cuda.close(backend);
    assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "0,1", 1), 0);
    assert_int_equal(fm_backend_cuda.open(&(struct fm_backend_config){ .device = name }, &backend, NULL), FM_OK);
    assert_string_equal(getenv("CUDA_VISIBLE_DEVICES"), "0,1");
    fm_backend_cuda.close(backend);
    assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
}

static void findings(void **state)
{
    (void)state;
    static const struct { const char *options, *what; } row[] = {
        { "held=100", "1 other process on this GPU, 100 MiB in use" }, { "slow=4", "power limit" }, { "slow=32", "it is hot" },
        { "slow=64", "too hot" }, { "slow=128", "power supply" }, { "ecc=3", "3 uncorrected ECC errors" }, { "width=4", "PCIe x4 of x16" },
        /* the driver is older than a library beside it; of another minor version of CUDA */
        { "driver=12090,cudart=12090,runtime=12090", "NCCL is made for CUDA 13.0, the driver knows CUDA up to 12.9: it does not run" },
        { "runtime=13020", "CUDA's runtime is made for CUDA 13.2, the driver knows CUDA up to 13.0: it runs, but" },
        { "runtime=12080", "cuDNN is for CUDA 13, CUDA's runtime for CUDA 12" },
        { "cudnn=90900", "fp16 and bf16 wrongly" }, { "cudnn=91501", "TF32 wrongly" }, { "nvml=0", "NVML" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fm_device_info info;
        struct fm_backend *backend = fm_fake_open(row[i].options);
        assert_int_equal(fm_backend_cuda.info(backend, &info, NULL), FM_OK);
        if (info.findings != 1) fail_msg("%s: %u findings, the first: %s", row[i].options, info.findings, info.finding[0].what);
        contains(info.finding[0].what, row[i].what);
        assert_true(info.finding[0].remedy[0] != '\0');
        if (strstr(row[i].what, "NCCL is made"))
            assert_string_equal(info.finding[0].remedy, "install a newer driver (CUDA 13.0: 580 or later), or this library for an older CUDA");
        fm_backend_cuda.close(backend);
    }
    struct fm_device_info info;
    struct fm_backend *backend = fm_fake_open("held=100");
    assert_int_equal(fm_backend_cuda.info(backend, &info, NULL), FM_OK);
    assert_int_equal(info.holders, 1);
    assert_int_equal(info.holder[0].pid, 4242);
    assert_int_equal(info.holder[0].bytes, INT64_C(100) << 20);
    assert_string_equal(info.holder[0].name, "other4242");
    assert_int_equal(info.free_bytes, INT64_C(3996) << 20);
    fm_backend_cuda.close(backend);
    backend = fm_fake_open("");
    assert_int_equal(fm_backend_cuda.info(backend, &info, NULL), FM_OK);
    assert_int_equal(info.findings, 0);
    fm_backend_cuda.close(backend);
}

static void software(void **state)
{
    (void)state;
    static const struct fm_software want[] = {
        { .name = "driver", .version = "580.65.06", .cuda = "13.0" }, { .name = "CUDA's runtime", .version = "13.0", .cuda = "13.0" },
        { .name = "cuDNN", .version = "9.19.0", .cuda = "13.0" }, { .name = "cuBLASLt", .version = "13.0.1", .cuda = "13.0" },
        { .name = "NCCL", .version = "2.28.9", .cuda = "13.0" },
    };
    struct fm_device_info info;
    struct fm_backend *backend = fm_fake_open("");
    assert_int_equal(fm_backend_cuda.info(backend, &info, NULL), FM_OK);
    assert_int_equal(info.softwares, sizeof want / sizeof *want);
    for (uint32_t i = 0; i < info.softwares; i++) {
        assert_string_equal(info.software[i].name, want[i].name);
        assert_string_equal(info.software[i].version, want[i].version);
        assert_string_equal(info.software[i].cuda, want[i].cuda);
        contains(info.software[i].path, "/fake_cuda/lib");
        assert_string_equal(info.software[i].absent, "");
    }
    contains(info.facts, "1500 of 1980 MHz");
    contains(info.facts, "MIG off");
    contains(info.facts, "unknown: power");         /* the stand-in does not tell the limit */
    fm_backend_cuda.close(backend);
    backend = fm_fake_open("link=3");
    assert_int_equal(fm_backend_cuda.info(backend, &info, NULL), FM_OK);
    contains(info.facts, "PCIe 3 x16 (generation 5 under load)");
    fm_backend_cuda.close(backend);
}

/* read from the file: another CUDA's NCCL, no NCCL, no ELF, cut short */
static void nccl_files(void **state)
{
    (void)state;
    char path[64] = "/tmp/fm-nccl-XXXXXX", bytes[20000];
    assert_int_equal(fm_nccl_cuda(FM_BINARY_DIR "/fake_cuda/libnccl.so.2"), 13000);
    assert_int_equal(fm_nccl_cuda(FM_BINARY_DIR "/fake_cuda/nccl12/libnccl.so.2"), 12080);
    assert_int_equal(fm_nccl_cuda(FM_BINARY_DIR "/fake_cuda/libcudart.so.13"), 0);
    assert_int_equal(fm_nccl_cuda(FM_SOURCE_DIR "/README.md"), 0);
    assert_int_equal(fm_nccl_cuda("/nowhere"), 0);
    FILE *whole = fopen(FM_BINARY_DIR "/fake_cuda/libnccl.so.2", "re");
    assert_non_null(whole);
    size_t n = fread(bytes, 1, sizeof bytes, whole);
    (void)fclose(whole);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t cut = 0; cut < n; cut += 61) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, bytes, cut, 0), cut);
        size_t cuda = fm_nccl_cuda(path);
        assert_true(cuda == 0 || cuda == 13000);
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

/* ---- running ---- */

static fm_status probe(const char *options, int64_t memory_bytes, struct fm_err *err)
{
    struct fm_backend *backend = fm_fake_open(options);
    struct fm_engine_config config = { .ops = &fm_backend_cuda, .backend = backend, .program = &program, .memory_bytes = memory_bytes };
    fm_status status = fm_engine_open(&engine, &config, err);
    if (status == FM_OK) status = fm_engine_run(&engine, FM_SECTION_INIT, NULL, err);
    if (status == FM_OK) status = fm_engine_run(&engine, FM_SECTION_TRAIN_FIRST, NULL, err);
    if (status == FM_OK) status = fm_engine_run(&engine, FM_SECTION_TRAIN, NULL, err);
    oom_instr = engine.replay.oom_instr;
    fm_engine_close(&engine);
    fm_backend_cuda.close(backend);
    assert_int_equal(fm_fake_int("libcudnn.so.9", "fake_cudnn_objects"), 0);
    assert_int_equal(fm_fake_int("libcublasLt.so.13", "fake_lt_objects"), 0);
    return status;
}

static void lower(const char *words)
{
    struct fm_cell cell;
    struct fm_err err = { 0 };
    fm_host_cell(&cell, words);
    if (fm_cell_lower(&cell, (struct fm_cell_batch){ .train = 1, .val = 1 }, &program, &err) != FM_OK) fail_msg("%s", err.text);
}

#define UNET "denseunet3d base_channels=2 levels=2 classes=2 input=8x8x8"
#define FORMER "segformer input=32x32 classes=2 +channels=1/8"

/* An error that ends the context is a crash whatever was going on, is never taken for a lack of memory, and stays. */
static void deadly_errors(void **state)
{
    (void)state;
    static const struct { int error; const char *part; } row[] = {
        { 700, "a kernel failed" }, { 716, "a kernel failed" }, { 719, "CUDA_ERROR_LAUNCH_FAILED (719)" }, { 214, "ECC" },
        { 702, "watchdog" }, { 999, "lost" }, { 46, "exclusive" }, { 226, "contained" },
    };
    char options[96];
    lower(UNET);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fm_err err = { 0 };
        (void)snprintf(options, sizeof options, "idle=1,sync_at=2,sync_fail=%d", row[i].error);
        assert_int_equal(probe(options, INT64_MAX, &err), FM_FAILED);
        contains(err.text, row[i].part);
        err = (struct fm_err){ 0 };
        (void)snprintf(options, sizeof options, "idle=1,oom_at=1,alloc_fail=%d", row[i].error);
        assert_int_equal(probe(options, INT64_MAX, &err), FM_FAILED);
        contains(err.text, row[i].part);
    }
}

static void dead_is_dead(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    struct fm_segment_source source;
    uint64_t address;
    float value = 0;
    struct fm_backend *b = fm_fake_open("sync_at=1,sync_fail=719");
    assert_int_equal(fm_backend_cuda.source(b, INT64_MAX, &source, &err), FM_OK);
    assert_int_equal(source.segment_alloc(source.context, 4096, &address, &err), FM_OK);
    assert_int_equal(fm_backend_cuda.synchronize(b, &err), FM_FAILED);
    source.segment_free(source.context, address, 4096);
    for (int i = 0; i < 3; i++) {
        err = (struct fm_err){ 0 };
        fm_status status = i == 0 ? source.segment_alloc(source.context, 4096, &address, &err)
                           : i == 1 ? fm_backend_cuda.synchronize(b, &err)
                                    : fm_backend_cuda.read(b, &value, &value, 4, &err);
        assert_int_equal(status, FM_FAILED);
        contains(err.text, "CUDA_ERROR_LAUNCH_FAILED (719)");
    }
    fm_backend_cuda.close(b);
}

static void a_full_gpu_has_no_room_for_a_context(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    lower(UNET);
    assert_int_equal(probe("held=4000", INT64_MAX, &err), FM_UNSUPPORTED);
    contains(err.text, "other processes hold it");
}

static void library_failures(void **state)
{
    (void)state;
    static const struct { const char *words, *options; fm_status status; const char *part; } row[] = {
        { UNET, "idle=1,conv_fail=5000", FM_FAILED, "cuDNN, CONV: 5000 a scheduled failure" },
        { UNET, "idle=1,conv_fail=4003", FM_NOMEM, "no host memory" },
        { UNET, "idle=1,conv_fail=3001", FM_UNSUPPORTED, "3001" },
        { UNET, "idle=1,conv_fail=4004", FM_OOM, "the device's memory is exhausted" },
        { FORMER, "idle=1,lt_fail=15", FM_UNSUPPORTED, "not supported" },
        { FORMER, "idle=1,lt_fail=13", FM_FAILED, "status 13" },
        { FORMER, "idle=1,lt_fail=3", FM_NOMEM, "no memory" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fm_err err = { 0 };
        lower(row[i].words);
        assert_int_equal(probe(row[i].options, INT64_MAX, &err), row[i].status);
        contains(err.text, row[i].part);
        if (row[i].status == FM_OOM) assert_int_equal(program.instr[oom_instr].kind, FM_CALL);
    }
}

/* an engine that builds but does not run makes way for the next one that needs no more */
static void engines_that_do_not_run(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    lower(UNET);
    if (probe("idle=1,conv_fail=3000", INT64_MAX, &err) != FM_OK) fail_msg("%s", err.text);
    assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), 20);
    assert_int_equal(probe("idle=1", INT64_MAX, &err), FM_OK);
    assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), 12);
}

static void a_kernel_that_does_not_launch(void **state)
{
    (void)state;
    lower(UNET);
    for (long n = 1; n < 200; n += 37) {
        struct fm_err err = { 0 };
        fm_fake_kernels_run = 0;
        fm_fake_kernels_fail_at = n;
        assert_int_equal(probe("idle=1", INT64_MAX, &err), FM_FAILED);
        contains(err.text, "a scheduled failure");
    }
    fm_fake_kernels_fail_at = 0;
}

static void unsupported_problems(void **state)
{
    (void)state;
    static const struct { const char *words, *options, *part; } row[] = {
        { UNET " +precision=bf16", "idle=1,sm=75", "no engine for this bf16 convolution on sm_75" },
        { UNET " +precision=tf32", "idle=1,sm=75", "TF32 needs compute capability 8.0; this is sm_75" },
        { UNET " +precision=fp16", "idle=1,cudnn=91200", "cuDNN 9.12.0 computes 3-D convolutions in fp16 and bf16 wrongly: install 9.16 or later" },
        { UNET " +precision=tf32", "idle=1,cudnn=91002", "cuDNN 9.10.2 computes 3-D convolutions in TF32 wrongly: install 9.16 or later" },
        { UNET " +precision=tf32", "idle=1,cudnn=91501", "cuDNN 9.15.1 computes 3-D convolutions in TF32 wrongly: install 9.16 or later" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct fm_err err = { 0 };
        lower(row[i].words);
        assert_int_equal(probe(row[i].options, INT64_MAX, &err), FM_UNSUPPORTED);
        contains(err.text, row[i].part);
    }
    struct fm_err err = { 0 };
    lower(UNET " +precision=fp16");
    assert_int_equal(probe("idle=1,cudnn=91500", INT64_MAX, &err), FM_OK);
    /* where TF32 is wrong in 3-D, it is not in 2-D, and fp32 never is; nor before and after those versions */
    lower(UNET);
    assert_int_equal(probe("idle=1,cudnn=91002", INT64_MAX, &err), FM_OK);
    assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), 12);
    lower(FORMER " +precision=tf32");
    assert_int_equal(probe("idle=1,cudnn=91002", INT64_MAX, &err), FM_OK);
    assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), 10);
    lower(UNET " +precision=tf32");
    assert_int_equal(probe("idle=1,cudnn=91001", INT64_MAX, &err), FM_OK);
    assert_int_equal(probe("idle=1,cudnn=91600", INT64_MAX, &err), FM_OK);
    assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), 10);
    assert_int_equal(probe("idle=1,cudnn=91900", INT64_MAX, &err), FM_OK);
    assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), 10);
    /* and in fp32 everywhere */
    lower(UNET);
    assert_int_equal(probe("idle=1,cudnn=91900", INT64_MAX, &err), FM_OK);
    assert_int_equal(fm_fake_size("libcudnn.so.9", "fake_cudnn_engine"), 12);
}

/* cuDNN of before 9.8 describes no device: it is asked by its handle */
static void without_a_description_of_the_device(void **state)
{
    (void)state;
    struct fm_err err = { 0 };
    lower(UNET);
    if (probe("idle=1,devprop=0,cudnn=90100", INT64_MAX, &err) != FM_OK) fail_msg("%s", err.text);
}

/* ---- faults of ours ---- */

static void every_fault_of_ours(void **state)
{
    (void)state;
    lower(UNET);
    assert_int_equal(probe("idle=1", INT64_MAX, NULL), FM_OK);
    /* what died before kept its segments */
    size_t used = fm_fake_size("libcuda.so.1", "fake_cuda_used");
    long n = 0;
    for (;; n++) {
        struct fm_err err = { 0 };
        struct fm_backend *b = NULL;
        fm_status status;
        fm_fake("idle=1");
        long live = fm_memory_live;
        fm_fault = (struct fm_fault){ .left = n, .armed = true };
        status = fm_backend_cuda.open(&(struct fm_backend_config){ 0 }, &b, &err);
        if (status == FM_OK) {
            struct fm_engine_config config = { .ops = &fm_backend_cuda, .backend = b, .program = &program, .memory_bytes = INT64_MAX };
            status = fm_engine_open(&engine, &config, &err);
            if (status == FM_OK) status = fm_engine_run(&engine, FM_SECTION_INIT, NULL, &err);
            if (status == FM_OK) status = fm_engine_run(&engine, FM_SECTION_TRAIN_FIRST, NULL, &err);
            fm_engine_close(&engine);
        }
        fm_backend_cuda.close(b);
        bool hit = fm_fault.hits > 0;
        fm_fault = (struct fm_fault){ 0 };
        assert_int_equal(fm_memory_live, live);
        assert_int_equal(fm_fake_size("libcuda.so.1", "fake_cuda_used"), used);
        if (!hit) break;
        if (status != FM_NOMEM) fail_msg("fault %ld: %s %s", n, fm_status_name(status), err.text);
    }
    if (n < 10) fail_msg("only %ld faults", n);
}

static int leave(void **state)
{
    (void)state;
    fm_program_release(&program);
    return fm_memory_live != 0;
}

int main(void)
{
    (void)unsetenv("CUDA_VISIBLE_DEVICES");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drivers),
        cmocka_unit_test(no_gpu_is_visible),
        cmocka_unit_test(libraries_that_are_missing),
        cmocka_unit_test(choosing),
        cmocka_unit_test(uuids_are_made_visible),
        cmocka_unit_test(findings),
        cmocka_unit_test(software),
        cmocka_unit_test(nccl_files),
        cmocka_unit_test(deadly_errors),
        cmocka_unit_test(dead_is_dead),
        cmocka_unit_test(a_full_gpu_has_no_room_for_a_context),
        cmocka_unit_test(library_failures),
        cmocka_unit_test(engines_that_do_not_run),
        cmocka_unit_test(a_kernel_that_does_not_launch),
        cmocka_unit_test(unsupported_problems),
        cmocka_unit_test(without_a_description_of_the_device),
        cmocka_unit_test(every_fault_of_ours),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
