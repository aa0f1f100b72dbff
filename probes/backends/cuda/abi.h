/* The parts of NVIDIA's binary interfaces that the cuda backend calls: driver, NVML, cuDNN's backend (graph) API and
 * cuBLASLt, as tables of pointers that library.c fills from the libraries found at run time.
 *
 * Declared here and not taken from NVIDIA's headers, so that the host code is built and tested where no toolkit is.
 * abi_check.c compares every constant with the headers where they are there. Names and numbers are those of CUDA 12.4 to
 * 13.0 and cuDNN 9 (vendor documentation: CUDA Driver API, cuDNN Backend API, cuBLAS Library, NVML API Reference). */
#ifndef FM_PROBES_BACKENDS_CUDA_ABI_H
#define FM_PROBES_BACKENDS_CUDA_ABI_H

#include <stddef.h>
#include <stdint.h>

/* ---- driver ---- */

struct CUctx_st;
struct CUstream_st;
struct CUevent_st;

#define FM_CU_LIST(X)                                                                                                     \
    X(OUT_OF_MEMORY, 2) X(DEINITIALIZED, 4) X(STUB_LIBRARY, 34) X(DEVICE_UNAVAILABLE, 46) X(NO_DEVICE, 100)               \
    X(INVALID_DEVICE, 101) X(NO_BINARY_FOR_GPU, 209) X(ECC_UNCORRECTABLE, 214) X(NVLINK_UNCORRECTABLE, 220)               \
    X(UNSUPPORTED_PTX_VERSION, 222) X(CONTAINED, 226) X(ILLEGAL_ADDRESS, 700) X(LAUNCH_TIMEOUT, 702) X(ASSERT, 710)       \
    X(HARDWARE_STACK_ERROR, 714) X(LAUNCH_FAILED, 719) X(NOT_SUPPORTED, 801) X(SYSTEM_NOT_READY, 802)                     \
    X(SYSTEM_DRIVER_MISMATCH, 803) X(UNKNOWN, 999)
enum fm_cu_result {
    FM_CU_SUCCESS = 0,
#define X(name, number) FM_CU_##name = (number),
    FM_CU_LIST(X)
#undef X
};

enum { FM_CU_SM_COUNT = 16, FM_CU_SM_MAJOR = 75, FM_CU_SM_MINOR = 76 };         /* CUdevice_attribute */

struct fm_cu_uuid { unsigned char byte[16]; };

struct fm_cu_api {
    int (*init)(unsigned flags);
    int (*driver_version)(int *version);
    int (*device_count)(int *count);
    int (*device)(int *device, int ordinal);
    int (*device_name)(char *name, int bytes, int device);
    int (*device_uuid)(struct fm_cu_uuid *uuid, int device);
    int (*device_total)(size_t *bytes, int device);
    int (*device_attribute)(int *value, int attribute, int device);
    int (*device_pci)(char *id, int bytes, int device);
    int (*context_retain)(struct CUctx_st **context, int device);
    int (*context_release)(int device);
    int (*context_set)(struct CUctx_st *context);
    int (*memory_info)(size_t *free_bytes, size_t *total_bytes);
    int (*memory_alloc)(uint64_t *address, size_t bytes);
    int (*memory_free)(uint64_t address);
    int (*memset_async)(uint64_t address, unsigned char value, size_t bytes, struct CUstream_st *stream);
    int (*to_host)(void *host, uint64_t address, size_t bytes, struct CUstream_st *stream);
    int (*to_device)(uint64_t address, const void *host, size_t bytes, struct CUstream_st *stream);
    int (*stream_create)(struct CUstream_st **stream, unsigned flags);
    int (*stream_destroy)(struct CUstream_st *stream);
    int (*stream_synchronize)(struct CUstream_st *stream);
    int (*event_create)(struct CUevent_st **event, unsigned flags);
    int (*event_destroy)(struct CUevent_st *event);
    int (*event_record)(struct CUevent_st *event, struct CUstream_st *stream);
    int (*event_synchronize)(struct CUevent_st *event);
    int (*event_elapsed)(float *ms, struct CUevent_st *start, struct CUevent_st *end);
    int (*error_name)(int result, const char **name);
    int (*error_text)(int result, const char **text);
};

#define FM_CU_STREAM_NON_BLOCKING 1u

/* ---- NVML; every function may be absent in an old driver ---- */

struct nvmlDevice_st;

enum { FM_NVML_SUCCESS = 0, FM_NVML_NOT_SUPPORTED = 3, FM_NVML_INSUFFICIENT_SIZE = 7, FM_NVML_GPU_IS_LOST = 15 };
enum { FM_NVML_CLOCK_SM = 1, FM_NVML_CLOCK_MEMORY = 2 };
/* nvmlClocksThrottleReason*: what holds the clocks down, but for idleness and settings of applications */
enum {
    FM_NVML_SLOW_SW_POWER = 0x4, FM_NVML_SLOW_HW = 0x8, FM_NVML_SLOW_SYNC = 0x10, FM_NVML_SLOW_SW_THERMAL = 0x20,
    FM_NVML_SLOW_HW_THERMAL = 0x40, FM_NVML_SLOW_HW_POWER = 0x80,
};

struct fm_nvml_memory { unsigned long long total, free, used; };
/* nvmlProcessInfo_t of nvmlDeviceGetComputeRunningProcesses_v3 */
struct fm_nvml_process { unsigned pid; unsigned long long used_bytes; unsigned gpu_instance, compute_instance; };

struct fm_nvml_api {
    int (*init)(void);
    int (*shutdown)(void);
    int (*system_driver)(char *text, unsigned bytes);
    int (*device_count)(unsigned *count);
    int (*by_index)(unsigned index, struct nvmlDevice_st **device);
    int (*by_uuid)(const char *uuid, struct nvmlDevice_st **device);
    int (*by_pci)(const char *id, struct nvmlDevice_st **device);
    int (*name)(struct nvmlDevice_st *device, char *text, unsigned bytes);
    int (*memory)(struct nvmlDevice_st *device, struct fm_nvml_memory *memory);
    int (*processes)(struct nvmlDevice_st *device, unsigned *count, struct fm_nvml_process *process);
    int (*process_name)(unsigned pid, char *text, unsigned bytes);
    int (*clock)(struct nvmlDevice_st *device, unsigned kind, unsigned *mhz);
    int (*clock_max)(struct nvmlDevice_st *device, unsigned kind, unsigned *mhz);
    int (*slow_reasons)(struct nvmlDevice_st *device, unsigned long long *bits);
    int (*temperature)(struct nvmlDevice_st *device, unsigned sensor, unsigned *celsius);
    int (*mig_parent)(struct nvmlDevice_st *mig, struct nvmlDevice_st **device);
    int (*power)(struct nvmlDevice_st *device, unsigned *milliwatts);
    int (*power_limit)(struct nvmlDevice_st *device, unsigned *milliwatts);
    int (*ecc_errors)(struct nvmlDevice_st *device, unsigned type, unsigned counter, unsigned long long *count);
    int (*ecc_mode)(struct nvmlDevice_st *device, unsigned *current, unsigned *pending);
    int (*mig_mode)(struct nvmlDevice_st *device, unsigned *current, unsigned *pending);
    int (*persistence)(struct nvmlDevice_st *device, unsigned *mode);
    int (*link_generation)(struct nvmlDevice_st *device, unsigned *value);
    int (*link_generation_max)(struct nvmlDevice_st *device, unsigned *value);
    int (*link_width)(struct nvmlDevice_st *device, unsigned *value);
    int (*link_width_max)(struct nvmlDevice_st *device, unsigned *value);
};

/* ---- cuDNN's backend API ---- */

typedef void *fm_cudnn_descriptor;
struct cudnnContext;

/* of cudnnBackendDescriptorType_t */
#define FM_CUDNN_DESCRIPTOR_LIST(X)                                                                                       \
    X(CONVOLUTION, 1) X(ENGINE, 2) X(ENGINECFG, 3) X(ENGINEHEUR, 4) X(EXECUTION_PLAN, 5)                                  \
    X(OPERATION_CONVOLUTION_FORWARD, 10) X(OPERATION_CONVOLUTION_BACKWARD_FILTER, 11)                                     \
    X(OPERATION_CONVOLUTION_BACKWARD_DATA, 12) X(OPERATIONGRAPH, 15) X(VARIANT_PACK, 16) X(TENSOR, 17) X(DEVICEPROP, 38)
/* of cudnnBackendAttributeName_t */
#define FM_CUDNN_ATTRIBUTE_LIST(X)                                                                                        \
    X(CONVOLUTION_COMP_TYPE, 100) X(CONVOLUTION_CONV_MODE, 101) X(CONVOLUTION_DILATIONS, 102)                             \
    X(CONVOLUTION_FILTER_STRIDES, 103) X(CONVOLUTION_POST_PADDINGS, 104) X(CONVOLUTION_PRE_PADDINGS, 105)                 \
    X(CONVOLUTION_SPATIAL_DIMS, 106) X(ENGINEHEUR_MODE, 200) X(ENGINEHEUR_OPERATION_GRAPH, 201)                           \
    X(ENGINEHEUR_RESULTS, 202) X(ENGINEHEUR_DEVICEPROP, 204) X(ENGINECFG_ENGINE, 300) X(ENGINECFG_WORKSPACE_SIZE, 303) X(EXECUTION_PLAN_HANDLE, 400)       \
    X(EXECUTION_PLAN_ENGINE_CONFIG, 401) X(EXECUTION_PLAN_WORKSPACE_SIZE, 402) X(EXECUTION_PLAN_DEVICEPROP, 407)          \
    X(OPERATION_CONVOLUTION_FORWARD_ALPHA, 700) X(OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 706)                              \
    X(OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 712) X(OPERATIONGRAPH_HANDLE, 800) X(OPERATIONGRAPH_OPS, 801)               \
    X(TENSOR_BYTE_ALIGNMENT, 900) X(TENSOR_DATA_TYPE, 901) X(TENSOR_DIMENSIONS, 902) X(TENSOR_STRIDES, 903)               \
    X(TENSOR_UNIQUE_ID, 906) X(VARIANT_PACK_UNIQUE_IDS, 1000) X(VARIANT_PACK_DATA_POINTERS, 1001)                         \
    X(VARIANT_PACK_WORKSPACE, 1003) X(ENGINE_GLOBAL_INDEX, 1301) X(ENGINE_NUMERICAL_NOTE, 1303)                           \
    X(DEVICEPROP_DEVICE_ID, 2700)
/* of cudnnBackendAttributeType_t */
#define FM_CUDNN_TYPE_LIST(X)                                                                                             \
    X(HANDLE, 0) X(DATA_TYPE, 1) X(INT64, 3) X(FLOAT, 4) X(VOID_PTR, 6) X(CONVOLUTION_MODE, 7) X(HEUR_MODE, 8)            \
    X(NUMERICAL_NOTE, 11) X(BACKEND_DESCRIPTOR, 15) X(INT32, 23)

#define X(name, number) FM_CUDNN_##name = (number),
enum fm_cudnn_descriptor_type { FM_CUDNN_DESCRIPTOR_LIST(X) };
#undef X
#define X(name, number) FM_CUDNN_ATTR_##name = (number),
enum fm_cudnn_attribute { FM_CUDNN_ATTRIBUTE_LIST(X) };
#undef X
#define X(name, number) FM_CUDNN_TYPE_##name = (number),
enum fm_cudnn_type { FM_CUDNN_TYPE_LIST(X) };
#undef X

/* The operands of the three convolutions have the same attributes in the same order: alpha + these. */
enum { FM_CUDNN_CONV_BETA = 1, FM_CUDNN_CONV_DESC = 2, FM_CUDNN_CONV_W = 3, FM_CUDNN_CONV_X = 4, FM_CUDNN_CONV_Y = 5 };

enum { FM_CUDNN_FLOAT = 0, FM_CUDNN_HALF = 2, FM_CUDNN_BFLOAT16 = 9 };
enum { FM_CUDNN_CROSS_CORRELATION = 1 };
enum { FM_CUDNN_HEUR_INSTANT = 0, FM_CUDNN_HEUR_FALLBACK = 2 };
enum { FM_CUDNN_NOTE_TENSOR_CORE = 0, FM_CUDNN_NOTE_DOWN_CONVERT = 1, FM_CUDNN_NOTE_COUNT = 32 };
/* classes of cudnnStatus_t are its thousands */
enum { FM_CUDNN_STATUS_HOST_ALLOCATION = 4003, FM_CUDNN_STATUS_DEVICE_ALLOCATION = 4004 };

struct fm_cudnn_api {
    size_t (*version)(void);
    size_t (*cudart_version)(void);
    void (*last_error)(char *text, size_t bytes);
    int (*create)(struct cudnnContext **handle);
    int (*destroy)(struct cudnnContext *handle);
    int (*set_stream)(struct cudnnContext *handle, struct CUstream_st *stream);
    int (*create_descriptor)(int type, fm_cudnn_descriptor *out);
    int (*destroy_descriptor)(fm_cudnn_descriptor descriptor);
    int (*set)(fm_cudnn_descriptor descriptor, int attribute, int type, int64_t count, const void *values);
    int (*get)(fm_cudnn_descriptor descriptor, int attribute, int type, int64_t room, int64_t *count, void *values);
    int (*finalize)(fm_cudnn_descriptor descriptor);
    int (*execute)(struct cudnnContext *handle, fm_cudnn_descriptor plan, fm_cudnn_descriptor variant_pack);
};

/* ---- cuBLASLt ---- */

struct cublasLtContext;
typedef void *fm_lt_object;

enum { FM_LT_ALLOC_FAILED = 3, FM_LT_NOT_SUPPORTED = 15 };             /* cublasStatus_t */
enum { FM_LT_R_32F = 0, FM_LT_R_16F = 2, FM_LT_R_16BF = 14 };          /* cudaDataType_t */
enum { FM_LT_COMPUTE_32F = 68, FM_LT_COMPUTE_32F_FAST_TF32 = 77 };
enum { FM_LT_DESC_TRANSA = 3, FM_LT_DESC_TRANSB = 4, FM_LT_DESC_EPILOGUE = 7, FM_LT_DESC_BIAS_POINTER = 8 };
enum { FM_LT_OP_N = 0, FM_LT_OP_T = 1, FM_LT_EPILOGUE_BIAS = 4 };
enum { FM_LT_LAYOUT_BATCH_COUNT = 5, FM_LT_LAYOUT_BATCH_STRIDE = 6 };
enum { FM_LT_PREF_WORKSPACE = 1, FM_LT_PREF_ALIGN_A = 5, FM_LT_PREF_ALIGN_B = 6, FM_LT_PREF_ALIGN_C = 7, FM_LT_PREF_ALIGN_D = 8 };

struct fm_lt_algo { uint64_t data[8]; };
struct fm_lt_result { struct fm_lt_algo algo; size_t workspace_bytes; int state; float waves; int reserved[4]; };

struct fm_lt_api {
    size_t (*version)(void);
    size_t (*cudart_version)(void);
    int (*create)(struct cublasLtContext **handle);
    int (*destroy)(struct cublasLtContext *handle);
    int (*desc_create)(fm_lt_object *desc, int compute, int scale);
    int (*desc_destroy)(fm_lt_object desc);
    int (*desc_set)(fm_lt_object desc, int attribute, const void *value, size_t bytes);
    int (*layout_create)(fm_lt_object *layout, int type, uint64_t rows, uint64_t columns, int64_t leading);
    int (*layout_destroy)(fm_lt_object layout);
    int (*layout_set)(fm_lt_object layout, int attribute, const void *value, size_t bytes);
    int (*preference_create)(fm_lt_object *preference);
    int (*preference_destroy)(fm_lt_object preference);
    int (*preference_set)(fm_lt_object preference, int attribute, const void *value, size_t bytes);
    int (*heuristic)(struct cublasLtContext *handle, fm_lt_object desc, fm_lt_object a, fm_lt_object b, fm_lt_object c,
                     fm_lt_object d, fm_lt_object preference, int wanted, struct fm_lt_result *result, int *found);
    int (*matmul)(struct cublasLtContext *handle, fm_lt_object desc, const void *alpha, const void *a, fm_lt_object a_layout,
                  const void *b, fm_lt_object b_layout, const void *beta, const void *c, fm_lt_object c_layout, void *d,
                  fm_lt_object d_layout, const struct fm_lt_algo *algo, void *workspace, size_t bytes,
                  struct CUstream_st *stream);
};

#endif
