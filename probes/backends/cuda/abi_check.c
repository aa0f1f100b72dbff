/* abi.h against NVIDIA's own headers, where they are there: nothing of it is in the program. */
#include "probes/backends/attention_graph.h"
#include "probes/backends/cuda/abi.h"

#if defined(__has_include)
#pragma GCC diagnostic ignored "-Wenum-compare"
#if __has_include(<cuda.h>)
#include <cuda.h>
#define X(name, number) _Static_assert(CUDA_ERROR_##name == (number), "CUDA_ERROR_" #name);
FM_CU_LIST(X)
#undef X
_Static_assert(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT == FM_CU_SM_COUNT, "SM count");
_Static_assert(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR == FM_CU_SM_MAJOR, "major");
_Static_assert(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR == FM_CU_SM_MINOR, "minor");
_Static_assert(CU_STREAM_NON_BLOCKING == FM_CU_STREAM_NON_BLOCKING, "stream flag");
_Static_assert(sizeof(CUdeviceptr) == sizeof(uint64_t) && sizeof(CUuuid) == sizeof(struct fm_cu_uuid), "sizes");
#endif

#if __has_include(<cudnn_graph.h>) && __has_include(<cuda_runtime_api.h>)
/* its headers use enumerators that it has deprecated */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <cudnn_graph.h>
#pragma GCC diagnostic pop
#define X(name, number) _Static_assert(CUDNN_BACKEND_##name##_DESCRIPTOR == (number), #name);
FM_CUDNN_DESCRIPTOR_LIST(X)
#undef X
#define X(name, number) _Static_assert(CUDNN_ATTR_##name == (number), #name);
FM_CUDNN_ATTRIBUTE_LIST(X)
#undef X
#define X(name, number) _Static_assert(CUDNN_TYPE_##name == (number), #name);
FM_CUDNN_TYPE_LIST(X)
#undef X
#define CONV(pass, x, w, y)                                                                                              \
    _Static_assert(CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_BETA - CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_ALPHA      \
                       == FM_CUDNN_CONV_BETA, "beta");                                                                   \
    _Static_assert(CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_CONV_DESC -                                                 \
                       CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_ALPHA == FM_CUDNN_CONV_DESC, "descriptor");             \
    _Static_assert(CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_##w - CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_ALPHA       \
                       == FM_CUDNN_CONV_W, "w");                                                                         \
    _Static_assert(CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_##x - CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_ALPHA       \
                       == FM_CUDNN_CONV_X, "x");                                                                         \
    _Static_assert(CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_##y - CUDNN_ATTR_OPERATION_CONVOLUTION_##pass##_ALPHA       \
                       == FM_CUDNN_CONV_Y, "y");
CONV(FORWARD, X, W, Y)
CONV(BWD_DATA, DX, W, DY)
CONV(BWD_FILTER, X, DW, DY)
#undef CONV
#define X(name, number) _Static_assert((int)CUDNN_##name == (number), #name);
FM_ATTENTION_CUDNN_LIST(X)
#undef X
_Static_assert(CUDNN_DATA_FLOAT == FM_CUDNN_FLOAT && CUDNN_DATA_HALF == FM_CUDNN_HALF &&
                   CUDNN_DATA_BFLOAT16 == FM_CUDNN_BFLOAT16, "types");
_Static_assert(CUDNN_CROSS_CORRELATION == FM_CUDNN_CROSS_CORRELATION, "mode");
_Static_assert(CUDNN_HEUR_MODE_INSTANT == FM_CUDNN_HEUR_INSTANT && CUDNN_HEUR_MODE_FALLBACK == FM_CUDNN_HEUR_FALLBACK, "modes");
_Static_assert(CUDNN_NUMERICAL_NOTE_TENSOR_CORE == FM_CUDNN_NOTE_TENSOR_CORE &&
                   CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS == FM_CUDNN_NOTE_DOWN_CONVERT &&
                   CUDNN_NUMERICAL_NOTE_TYPE_COUNT <= FM_CUDNN_NOTE_COUNT, "notes");
_Static_assert(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED == FM_CUDNN_STATUS_HOST_ALLOCATION &&
                   CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED == FM_CUDNN_STATUS_DEVICE_ALLOCATION, "statuses");
#endif

#if __has_include(<cublasLt.h>)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#include <cublasLt.h>
#pragma GCC diagnostic pop
_Static_assert(CUBLAS_STATUS_ALLOC_FAILED == FM_LT_ALLOC_FAILED && CUBLAS_STATUS_NOT_SUPPORTED == FM_LT_NOT_SUPPORTED, "status");
_Static_assert(CUDA_R_32F == FM_LT_R_32F && CUDA_R_16F == FM_LT_R_16F && CUDA_R_16BF == FM_LT_R_16BF, "types");
_Static_assert(CUBLAS_COMPUTE_32F_FAST_TF32 == FM_LT_COMPUTE_32F_FAST_TF32, "compute in TF32");
_Static_assert(CUBLAS_COMPUTE_32F == FM_LT_COMPUTE_32F && CUBLAS_OP_N == FM_LT_OP_N && CUBLAS_OP_T == FM_LT_OP_T, "compute");
_Static_assert(CUBLASLT_MATMUL_DESC_TRANSA == FM_LT_DESC_TRANSA && CUBLASLT_MATMUL_DESC_TRANSB == FM_LT_DESC_TRANSB &&
                   CUBLASLT_MATMUL_DESC_EPILOGUE == FM_LT_DESC_EPILOGUE &&
                   CUBLASLT_MATMUL_DESC_BIAS_POINTER == FM_LT_DESC_BIAS_POINTER &&
                   CUBLASLT_EPILOGUE_BIAS == FM_LT_EPILOGUE_BIAS, "desc");
_Static_assert(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT == FM_LT_LAYOUT_BATCH_COUNT &&
                   CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET == FM_LT_LAYOUT_BATCH_STRIDE, "layout");
_Static_assert(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES == FM_LT_PREF_WORKSPACE &&
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES == FM_LT_PREF_ALIGN_A &&
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES == FM_LT_PREF_ALIGN_B &&
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES == FM_LT_PREF_ALIGN_C &&
                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES == FM_LT_PREF_ALIGN_D, "preference");
_Static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(struct fm_lt_algo) &&
                   sizeof(cublasLtMatmulHeuristicResult_t) == sizeof(struct fm_lt_result), "sizes");
#endif
#endif

extern const char fm_cuda_abi_checked[];
const char fm_cuda_abi_checked[] = "abi";
