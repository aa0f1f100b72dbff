/* NVIDIA's software that is here, for people: driver, CUDA's runtime, cuDNN, cuBLASLt, NCCL, and whether they fit.
 *
 * CUDA's runtime and NCCL are opened for their versions alone, which takes no GPU: fillmark uses neither, programs beside
 * it do. What fits what (CUDA Compatibility, NVIDIA):
 *   a library made for a newer major version of CUDA than the driver knows does not run: CUDA 12 needs driver 525, CUDA 13
 *   needs 580
 *   one for a newer minor version runs, but for what is compiled at run time from PTX
 *   libraries for different major versions of CUDA do not belong into one program */
#ifndef FM_PROBES_BACKENDS_CUDA_SOFTWARE_H
#define FM_PROBES_BACKENDS_CUDA_SOFTWARE_H

#include "probes/backends/backend.h"
#include "probes/backends/cuda/library.h"

/* adds to the software and findings of *out; driver: its own version, "" unknown */
void fm_cuda_software(const struct fm_cuda_libraries *libraries, const char *driver, struct fm_device_info *out);

/* The CUDA that a libnccl file was made for, 13000 of 13.0, from the text that it prints when it starts
 * ("NCCL version 2.28.9+cuda13.0"), which stands in the section .rodata: NCCL has no function that tells. 0: unknown. */
size_t fm_nccl_cuda(const char *path);

#endif
