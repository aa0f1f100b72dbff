/* NVIDIA's libraries, found at run time: the driver's libcuda and NVML, cuDNN, cuBLASLt.
 *
 * Nothing of them is linked, so that a worker starts everywhere and says in one sentence what is missing. cuDNN and
 * cuBLASLt are looked for where the system's loader looks, then in $CUDA_HOME, /usr/local/cuda, and in the nvidia-* wheels
 * of pip: $VIRTUAL_ENV, $CONDA_PREFIX, ~/.local, /usr/local, /usr. The driver's two are where the loader finds them.
 * $FILLMARK_CUDA_LIBS, a list of folders, replaces all of these places.
 *
 * Once loaded a library stays: cuDNN and the driver keep threads and handlers of their own.
 *
 * Versions that are known to be wrong (PyTorch's issue 163539, pull requests 166480 and 167024):
 *   cuDNN 9.8 to 9.14       3-D convolutions in fp16 and bf16 give wrong values without saying so
 *   cuDNN 9.10.2 to 9.15    3-D convolutions in TF32 do */
#ifndef FM_PROBES_BACKENDS_CUDA_LIBRARY_H
#define FM_PROBES_BACKENDS_CUDA_LIBRARY_H

#include "probes/backends/cuda/abi.h"
#include "tuner/base/status.h"

#include <stdbool.h>

enum fm_cuda_library { FM_CUDA_DRIVER, FM_CUDA_NVML, FM_CUDA_CUDNN, FM_CUDA_LT, FM_CUDA_LIBRARIES };

struct fm_cuda_found {
    bool here;                          /* loaded, with every function that is called */
    char path[256];                     /* of the file; "" unknown */
    char why[240];                      /* why not, and what to do; "" if it is */
    size_t version;                     /* its own: 12080 (driver), 91900 (cuDNN), 130000 (cuBLASLt); 0 unknown */
    size_t cudart;                      /* CUDA it is made for: 13000; 0 unknown */
};

struct fm_cuda_libraries {
    struct fm_cuda_found found[FM_CUDA_LIBRARIES];
    struct fm_cu_api cu;
    struct fm_nvml_api nvml;
    struct fm_cudnn_api cudnn;
    struct fm_lt_api lt;
};

/* Loads what there is; what is missing has its reason. Never fails. */
void fm_cuda_libraries_load(struct fm_cuda_libraries *out);
/* FM_UNSUPPORTED with the reason: a library that the backend cannot do without is not there or does not fit the driver */
fm_status fm_cuda_libraries_check(const struct fm_cuda_libraries *libraries, struct fm_err *err) FM_MUST_USE;
/* the same for the driver alone, initialized: FM_UNSUPPORTED if there is none, an old one, or no GPU */
fm_status fm_cuda_driver_check(const struct fm_cuda_libraries *libraries, struct fm_err *err) FM_MUST_USE;

/* Opens the first of these files that is there, where cuDNN is looked for too; older: the last one first. NULL: none.
 * wheel: folder below site-packages/nvidia. */
void *fm_cuda_open_file(const char *const file[2], const char *wheel, bool older);

/* cuDNN versions, as cudnnGetVersion() numbers them */
bool fm_cudnn_wrong_half_conv3d(size_t version);
bool fm_cudnn_wrong_tf32_conv3d(size_t version);

/* "13.0" of 13000, "9.19.0" of 91900 (cuDNN) */
void fm_cuda_version_text(size_t version, char text[24]);
/* the driver that a version of CUDA takes, for people: "CUDA 12.4: 550 or later", "CUDA 12.6" where it is not listed here
 * (CUDA Toolkit release notes, NVIDIA: CUDA Toolkit and corresponding driver versions, Linux) */
void fm_cuda_driver_text(size_t version, char text[48]);
void fm_cudnn_version_text(size_t version, char text[24]);

#endif
