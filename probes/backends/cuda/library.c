#include "probes/backends/cuda/library.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUDA_MIN 12040                  /* written for; older drivers and libraries were never tried */
#define CUDNN_MIN 90000
#define ENV "FILLMARK_CUDA_LIBS"

/* a function of a library: newest name first */
struct symbol {
    const char *name[2];
    size_t offset;
    bool optional;
};

#define CU(member, ...) { { __VA_ARGS__ }, offsetof(struct fm_cu_api, member), false }
static const struct symbol driver_symbols[] = {
    CU(init, "cuInit"), CU(driver_version, "cuDriverGetVersion"), CU(device_count, "cuDeviceGetCount"),
    CU(device, "cuDeviceGet"), CU(device_name, "cuDeviceGetName"), CU(device_uuid, "cuDeviceGetUuid_v2", "cuDeviceGetUuid"),
    CU(device_total, "cuDeviceTotalMem_v2"), CU(device_attribute, "cuDeviceGetAttribute"),
    CU(device_pci, "cuDeviceGetPCIBusId"), CU(context_retain, "cuDevicePrimaryCtxRetain"),
    CU(context_release, "cuDevicePrimaryCtxRelease_v2"), CU(context_set, "cuCtxSetCurrent"),
    CU(memory_info, "cuMemGetInfo_v2"), CU(memory_alloc, "cuMemAlloc_v2"), CU(memory_free, "cuMemFree_v2"),
    CU(memset_async, "cuMemsetD8Async"), CU(to_host, "cuMemcpyDtoHAsync_v2"), CU(to_device, "cuMemcpyHtoDAsync_v2"),
    CU(stream_create, "cuStreamCreate"), CU(stream_destroy, "cuStreamDestroy_v2"),
    CU(stream_synchronize, "cuStreamSynchronize"), CU(event_create, "cuEventCreate"),
    CU(event_destroy, "cuEventDestroy_v2"), CU(event_record, "cuEventRecord"),
    CU(event_synchronize, "cuEventSynchronize"), CU(event_elapsed, "cuEventElapsedTime"),
    CU(error_name, "cuGetErrorName"), CU(error_text, "cuGetErrorString"),
};

#define NVML(member, ...) { { __VA_ARGS__ }, offsetof(struct fm_nvml_api, member), true }
static const struct symbol nvml_symbols[] = {
    { { "nvmlInit_v2" }, offsetof(struct fm_nvml_api, init), false }, NVML(shutdown, "nvmlShutdown"),
    NVML(system_driver, "nvmlSystemGetDriverVersion"), NVML(device_count, "nvmlDeviceGetCount_v2"),
    NVML(by_index, "nvmlDeviceGetHandleByIndex_v2"), NVML(by_uuid, "nvmlDeviceGetHandleByUUID"),
    NVML(by_pci, "nvmlDeviceGetHandleByPciBusId_v2"), NVML(name, "nvmlDeviceGetName"),
    NVML(memory, "nvmlDeviceGetMemoryInfo"), NVML(processes, "nvmlDeviceGetComputeRunningProcesses_v3"),
    NVML(process_name, "nvmlSystemGetProcessName"), NVML(clock, "nvmlDeviceGetClockInfo"),
    NVML(clock_max, "nvmlDeviceGetMaxClockInfo"),
    NVML(slow_reasons, "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
    NVML(mig_parent, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle"),
    NVML(temperature, "nvmlDeviceGetTemperature"), NVML(power, "nvmlDeviceGetPowerUsage"),
    NVML(power_limit, "nvmlDeviceGetEnforcedPowerLimit"), NVML(ecc_errors, "nvmlDeviceGetTotalEccErrors"),
    NVML(ecc_mode, "nvmlDeviceGetEccMode"), NVML(mig_mode, "nvmlDeviceGetMigMode"),
    NVML(persistence, "nvmlDeviceGetPersistenceMode"), NVML(link_generation, "nvmlDeviceGetCurrPcieLinkGeneration"),
    NVML(link_generation_max, "nvmlDeviceGetMaxPcieLinkGeneration"), NVML(link_width, "nvmlDeviceGetCurrPcieLinkWidth"),
    NVML(link_width_max, "nvmlDeviceGetMaxPcieLinkWidth"),
};

#define DNN(member, ...) { { __VA_ARGS__ }, offsetof(struct fm_cudnn_api, member), false }
static const struct symbol cudnn_symbols[] = {
    DNN(version, "cudnnGetVersion"), DNN(cudart_version, "cudnnGetCudartVersion"),
    { { "cudnnGetLastErrorString" }, offsetof(struct fm_cudnn_api, last_error), true }, DNN(create, "cudnnCreate"),
    DNN(destroy, "cudnnDestroy"), DNN(set_stream, "cudnnSetStream"),
    DNN(create_descriptor, "cudnnBackendCreateDescriptor"), DNN(destroy_descriptor, "cudnnBackendDestroyDescriptor"),
    DNN(set, "cudnnBackendSetAttribute"), DNN(get, "cudnnBackendGetAttribute"), DNN(finalize, "cudnnBackendFinalize"),
    DNN(execute, "cudnnBackendExecute"),
};

#define LT(member, ...) { { __VA_ARGS__ }, offsetof(struct fm_lt_api, member), false }
static const struct symbol lt_symbols[] = {
    LT(version, "cublasLtGetVersion"), LT(cudart_version, "cublasLtGetCudartVersion"), LT(create, "cublasLtCreate"),
    LT(destroy, "cublasLtDestroy"), LT(desc_create, "cublasLtMatmulDescCreate"), LT(desc_destroy, "cublasLtMatmulDescDestroy"),
    LT(desc_set, "cublasLtMatmulDescSetAttribute"), LT(layout_create, "cublasLtMatrixLayoutCreate"),
    LT(layout_destroy, "cublasLtMatrixLayoutDestroy"), LT(layout_set, "cublasLtMatrixLayoutSetAttribute"),
    LT(preference_create, "cublasLtMatmulPreferenceCreate"), LT(preference_destroy, "cublasLtMatmulPreferenceDestroy"),
    LT(preference_set, "cublasLtMatmulPreferenceSetAttribute"), LT(heuristic, "cublasLtMatmulAlgoGetHeuristic"),
    LT(matmul, "cublasLtMatmul"),
};

#define COUNT(array) (sizeof(array) / sizeof *(array))
static const struct library {
    const char *what;
    const char *file[2];                /* newest first */
    const char *wheel;                  /* folder below site-packages/nvidia; NULL: the driver's */
    const char *remedy;
    const struct symbol *symbol;
    size_t symbols, api;
} libraries[FM_CUDA_LIBRARIES] = {
    [FM_CUDA_DRIVER] = { "NVIDIA's driver", { "libcuda.so.1", NULL }, NULL,
        "install NVIDIA's driver, or in a container start it with its GPUs (--gpus all)", driver_symbols,
        COUNT(driver_symbols), offsetof(struct fm_cuda_libraries, cu) },
    [FM_CUDA_NVML] = { "NVML", { "libnvidia-ml.so.1", NULL }, NULL,
        "it comes with the driver; without it free memory, clocks and other processes are unknown", nvml_symbols,
        COUNT(nvml_symbols), offsetof(struct fm_cuda_libraries, nvml) },
    [FM_CUDA_CUDNN] = { "cuDNN", { "libcudnn.so.9", NULL }, "cudnn",
        "install cuDNN 9.16 or later (pip install nvidia-cudnn-cu13, or the package libcudnn9-cuda-13), or name its folder in " ENV,
        cudnn_symbols, COUNT(cudnn_symbols), offsetof(struct fm_cuda_libraries, cudnn) },
    [FM_CUDA_LT] = { "cuBLASLt", { "libcublasLt.so.13", "libcublasLt.so.12" }, "c*",
        "install cuBLAS (pip install nvidia-cublas, or the package libcublas-13-0), or name its folder in " ENV, lt_symbols,
        COUNT(lt_symbols), offsetof(struct fm_cuda_libraries, lt) },
};

/* ---- finding ---- */

static void *open_at(const char *folder, const char *file)
{
    char path[512];
    int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    return n > 0 && (size_t)n < sizeof path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

static void *open_listed(const char *file)
{
    const char *list = getenv(ENV);
    while (list && *list) {
        char folder[400];
        size_t n = strcspn(list, ":");
        if (n && n < sizeof folder) {
            memcpy(folder, list, n);
            folder[n] = '\0';
            void *handle = open_at(folder, file);
            if (handle) return handle;
        }
        list += n + (list[n] == ':');
    }
    return NULL;
}

/* pip's nvidia-* wheels below a prefix */
static void *open_wheel(const char *prefix, const char *wheel, const char *file)
{
    static const char *const site[] = { "site-packages", "dist-packages" };
    void *handle = NULL;
    for (size_t i = 0; prefix && *prefix && i < COUNT(site) && !handle; i++) {
        char pattern[600];
        glob_t found = { 0 };
        int n = snprintf(pattern, sizeof pattern, "%s/lib/python3*/%s/nvidia/%s/lib/%s", prefix, site[i], wheel, file);
        if (n < 0 || (size_t)n >= sizeof pattern || glob(pattern, 0, NULL, &found) != 0) continue;
        for (size_t k = 0; k < found.gl_pathc && !handle; k++) handle = dlopen(found.gl_pathv[k], RTLD_NOW | RTLD_LOCAL);
        globfree(&found);
    }
    return handle;
}

static void *open_toolkit(const char *prefix, const char *file)
{
    char folder[400];
    if (!prefix || !*prefix) return NULL;
    int n = snprintf(folder, sizeof folder, "%s/lib64", prefix);
    return n > 0 && (size_t)n < sizeof folder ? open_at(folder, file) : NULL;
}

static void *open_anywhere(const struct library *library, const char *file)
{
    if (getenv(ENV)) return open_listed(file);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle || !library->wheel) return handle;
    char local[400] = "";
    const char *home = getenv("HOME");
    if (home) (void)snprintf(local, sizeof local, "%.380s/.local", home);
    const char *const prefix[] = { getenv("VIRTUAL_ENV"), getenv("CONDA_PREFIX"), local, "/usr/local", "/usr" };
    handle = open_toolkit(getenv("CUDA_HOME"), file);
    if (!handle) handle = open_toolkit("/usr/local/cuda", file);
    for (size_t i = 0; i < COUNT(prefix) && !handle; i++) handle = open_wheel(prefix[i], library->wheel, file);
    return handle;
}

void *fm_cuda_open_file(const char *const file[2], const char *wheel, bool older)
{
    const struct library library = { .wheel = wheel };
    void *handle = NULL;
    for (int i = 0; i < 2 && !handle; i++)
        if (file[older ? 1 - i : i]) handle = open_anywhere(&library, file[older ? 1 - i : i]);
    return handle;
}

/* fills the table; the name of a function that is missing, or NULL */
static const char *resolve(const struct library *library, void *handle, void *api)
{
    for (size_t i = 0; i < library->symbols; i++) {
        const struct symbol *s = &library->symbol[i];
        void *function = dlsym(handle, s->name[0]);
        if (!function && s->name[1]) function = dlsym(handle, s->name[1]);
        if (!function && !s->optional) return s->name[0];
        memcpy((char *)api + s->offset, &function, sizeof function);
    }
    return NULL;
}

static void note_path(void *function, struct fm_cuda_found *found)
{
    Dl_info info;
    if (function && dladdr(function, &info) && info.dli_fname)
        (void)snprintf(found->path, sizeof found->path, "%.250s", info.dli_fname);
}

/* older: of an older CUDA's libraries first, as the driver is one */
static void load(const struct library *library, struct fm_cuda_libraries *all, struct fm_cuda_found *found, bool older)
{
    void *handle = NULL, *first = NULL, *api = (char *)all + library->api;
    for (size_t i = 0; i < COUNT(library->file) && !handle; i++) {
        const char *file = library->file[older ? COUNT(library->file) - 1 - i : i];
        if (file) handle = open_anywhere(library, file);
    }
    if (!handle) {
        (void)snprintf(found->why, sizeof found->why, "%s (%s) is not here: %s", library->what, library->file[0], library->remedy);
        return;
    }
    const char *missing = resolve(library, handle, api);
    memcpy(&first, (char *)api + library->symbol[0].offset, sizeof first);
    note_path(first, found);
    if (missing)
        (void)snprintf(found->why, sizeof found->why, "%.80s has no %s: it is too old or incomplete; %s",
                       found->path[0] ? found->path : library->file[0], missing, library->remedy);
    found->here = !missing;
}

void fm_cuda_libraries_load(struct fm_cuda_libraries *out)
{
    *out = (struct fm_cuda_libraries){ 0 };
    struct fm_cuda_found *found = out->found;
    int driver = 0;
    load(&libraries[FM_CUDA_DRIVER], out, &found[FM_CUDA_DRIVER], false);
    if (found[FM_CUDA_DRIVER].here && out->cu.driver_version(&driver) == FM_CU_SUCCESS && driver > 0)
        found[FM_CUDA_DRIVER].version = found[FM_CUDA_DRIVER].cudart = (size_t)driver;
    for (int i = FM_CUDA_DRIVER + 1; i < FM_CUDA_LIBRARIES; i++) load(&libraries[i], out, &found[i], driver > 0 && driver < 13000);
    if (found[FM_CUDA_CUDNN].here) {
        found[FM_CUDA_CUDNN].version = out->cudnn.version();
        found[FM_CUDA_CUDNN].cudart = out->cudnn.cudart_version();
    }
    if (found[FM_CUDA_LT].here) {
        found[FM_CUDA_LT].version = out->lt.version();
        found[FM_CUDA_LT].cudart = out->lt.cudart_version();
    }
}

/* ---- do they fit? ---- */

bool fm_cudnn_wrong_half_conv3d(size_t version) { return version >= 90800 && version < 91500; }
bool fm_cudnn_wrong_tf32_conv3d(size_t version) { return version >= 91002 && version < 91600; }

void fm_cuda_version_text(size_t version, char text[24])
{
    (void)snprintf(text, 24, "%zu.%zu", version / 1000 % 1000, version % 1000 / 10);
}

void fm_cudnn_version_text(size_t version, char text[24])
{
    (void)snprintf(text, 24, "%zu.%zu.%zu", version / 10000 % 1000, version / 100 % 100, version % 100);
}

void fm_cuda_driver_text(size_t version, char text[48])
{
    static const struct { size_t cuda; int driver; } known[] = { { 12000, 525 }, { 12040, 550 }, { 13000, 580 } };
    char cuda[24];
    fm_cuda_version_text(version, cuda);
    (void)snprintf(text, 48, "CUDA %s", cuda);
    for (size_t i = 0; i < COUNT(known); i++)
        if (known[i].cuda == version) (void)snprintf(text, 48, "CUDA %s: %d or later", cuda, known[i].driver);
}

static fm_status old_driver(const struct fm_cuda_libraries *l, const char *what, size_t needs, struct fm_err *err)
{
    char has[24], wants[24], driver[48];
    fm_cuda_version_text(l->found[FM_CUDA_DRIVER].version, has);
    fm_cuda_version_text(needs, wants);
    fm_cuda_driver_text(needs, driver);
    return FM_FAIL(err, FM_UNSUPPORTED, "NVIDIA's driver is too old: it knows CUDA up to %s, %s needs %s; install a newer "
                   "driver (%s)", has, what, wants, driver);
}

fm_status fm_cuda_driver_check(const struct fm_cuda_libraries *l, struct fm_err *err)
{
    const struct fm_cuda_found *driver = &l->found[FM_CUDA_DRIVER];
    const char *name = NULL, *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!driver->here) return FM_FAIL(err, FM_UNSUPPORTED, "%s", driver->why);
    int result = l->cu.init(0), count = 0;
    if (result == FM_CU_STUB_LIBRARY)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s is the toolkit's stub, not a driver: take it off LD_LIBRARY_PATH, install the driver",
                       driver->path);
    if (result == FM_CU_SYSTEM_DRIVER_MISMATCH)
        return FM_FAIL(err, FM_UNSUPPORTED, "NVIDIA's kernel module and libcuda are of different versions: reboot, or load the new module");
    if (result == FM_CU_NO_DEVICE || (result == FM_CU_SUCCESS && l->cu.device_count(&count) == FM_CU_SUCCESS && !count))
        return FM_FAIL(err, FM_UNSUPPORTED, "NVIDIA's driver is here, but no GPU%s%s%s", visible ? ": CUDA_VISIBLE_DEVICES is '" : "",
                       visible ? visible : " that it can use: nvidia-smi says why", visible ? "', unset it or name one" : "");
    if (result != FM_CU_SUCCESS) {
        (void)l->cu.error_name(result, &name);
        return FM_FAIL(err, FM_UNSUPPORTED, "NVIDIA's driver does not start: %s (%d); nvidia-smi and dmesg may say why",
                       name ? name : "unknown error", result);
    }
    if (driver->version < CUDA_MIN) return old_driver(l, "fillmark", CUDA_MIN, err);
    return FM_OK;
}

fm_status fm_cuda_libraries_check(const struct fm_cuda_libraries *l, struct fm_err *err)
{
    static const int needed[] = { FM_CUDA_CUDNN, FM_CUDA_LT };
    fm_status status = fm_cuda_driver_check(l, err);
    if (status != FM_OK) return status;
    if (!l->found[FM_CUDA_CUDNN].here && !l->found[FM_CUDA_LT].here)
        return FM_FAIL(err, FM_UNSUPPORTED, "%s; and %s", l->found[FM_CUDA_CUDNN].why, l->found[FM_CUDA_LT].why);
    for (size_t i = 0; i < COUNT(needed); i++) {
        const struct fm_cuda_found *f = &l->found[needed[i]];
        if (!f->here) return FM_FAIL(err, FM_UNSUPPORTED, "%s", f->why);
        /* within one major version newer libraries run on older drivers */
        if (f->cudart / 1000 > l->found[FM_CUDA_DRIVER].version / 1000)
            return old_driver(l, libraries[needed[i]].what, f->cudart / 1000 * 1000, err);
    }
    if (l->found[FM_CUDA_CUDNN].version < CUDNN_MIN) {
        char text[24];
        fm_cudnn_version_text(l->found[FM_CUDA_CUDNN].version, text);
        return FM_FAIL(err, FM_UNSUPPORTED, "cuDNN %s is too old: %s", text, libraries[FM_CUDA_CUDNN].remedy);
    }
    return FM_OK;
}
