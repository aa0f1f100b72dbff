/* One GPU in one process: which it is, its context, stream and events, what its errors mean, and its memory as a source
 * of segments.
 *
 * Choosing makes no context and takes no memory of the device; the first use does (fm_cuda_use).
 *
 * Errors: only a refused allocation of device memory is FM_OOM. What the device or a library cannot do is
 * FM_UNSUPPORTED. An error after which CUDA answers nothing else in this process (an illegal address, an uncorrectable
 * ECC error, a device that fell off the bus, ...) is FM_FAILED: the probe's outcome is a crash, and every later call
 * fails with the same words, since whatever CUDA says then says nothing about that call. */
#ifndef FM_PROBES_BACKENDS_CUDA_CONTEXT_H
#define FM_PROBES_BACKENDS_CUDA_CONTEXT_H

#include "probes/backends/cuda/library.h"
#include "probes/memory/segment_source.h"
#include "tuner/base/status.h"

#include <stdint.h>

#define FM_CUDA_EVENTS 4

struct fm_cuda {
    struct fm_cuda_libraries lib;
    int ordinal, device;                /* ordinal among those that CUDA_VISIBLE_DEVICES shows; CUDA's handle */
    char uuid[48];                      /* "GPU-..." or "MIG-..."; "" unknown */
    char name[128];
    char pci[32];
    int sm;                             /* 90 of compute capability 9.0 */
    int sm_count;
    int64_t total_bytes;
    struct CUctx_st *context;           /* NULL until it is used */
    struct CUstream_st *stream;
    struct CUevent_st *event[FM_CUDA_EVENTS];   /* around what is timed; the last two around single calls within it */
    char dead[240];                     /* why nothing works any more; "" while it does */
    int64_t budget_bytes, used_bytes;   /* of the source */
};

/* name: "cuda:1" (of the visible ones), "GPU-<uuid>", "MIG-<uuid>", "GPU-" and the beginning of a UUID; NULL or "cuda":
 * the first. FM_UNSUPPORTED: no driver, no GPU, no such GPU (which there are is said), or a library is missing. */
fm_status fm_cuda_choose(struct fm_cuda *cuda, const char *name, struct fm_err *err) FM_MUST_USE;
void fm_cuda_release(struct fm_cuda *cuda);
/* makes context, stream and events the first time; FM_UNSUPPORTED: others hold the device or all its memory */
fm_status fm_cuda_use(struct fm_cuda *cuda, struct fm_err *err) FM_MUST_USE;

/* what a driver call's result means; `what` was tried */
fm_status fm_cuda_result(struct fm_cuda *cuda, int result, const char *what, struct fm_err *err) FM_MUST_USE;
/* the same of a library's call that failed with no result of the driver: has the device died of it? FM_OK if not */
fm_status fm_cuda_alive(struct fm_cuda *cuda, const char *what, struct fm_err *err) FM_MUST_USE;
fm_status fm_cuda_synchronize(struct fm_cuda *cuda, struct fm_err *err) FM_MUST_USE;
fm_status fm_cuda_time_begin(struct fm_cuda *cuda, struct fm_err *err) FM_MUST_USE;
fm_status fm_cuda_time_end(struct fm_cuda *cuda, int64_t *ns, struct fm_err *err) FM_MUST_USE;
/* to or from host memory, done when it returns */
fm_status fm_cuda_read(struct fm_cuda *cuda, void *host, const void *device, int64_t bytes, struct fm_err *err) FM_MUST_USE;
fm_status fm_cuda_write(struct fm_cuda *cuda, void *device, const void *host, int64_t bytes, struct fm_err *err) FM_MUST_USE;

/* Segments by cudaMalloc and cudaFree (rules 3 and 8), at most memory_bytes in all. Never managed memory. Borrows cuda. */
struct fm_segment_source fm_cuda_source(struct fm_cuda *cuda, int64_t memory_bytes);

#endif
